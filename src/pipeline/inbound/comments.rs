//! What becomes of a comment that a platform tells of: pure. Ours are known by our record of them,
//! else by their mark, and while one of ours is under way nothing is decided.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::fields::digest;
use crate::domain::{CommandId, IntegrationId, OrganizationId, TicketId};
use crate::platforms::{Change, ChangeKind, ExternalComment};
use crate::store::{CommentRow, KnownComment};

/// What is known beside a comment.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Beside<'a> {
    pub(in crate::pipeline) integration_id: IntegrationId,
    pub(in crate::pipeline) organization_id: OrganizationId,
    pub(in crate::pipeline) ticket_id: TicketId,
    /// Our record of it.
    pub(in crate::pipeline) known: Option<&'a KnownComment>,
    /// The command that its mark names.
    pub(in crate::pipeline) marked_by: Option<CommandId>,
    /// Whether that command is one of this ticket's.
    pub(in crate::pipeline) mark_is_ours: bool,
    /// Whether a command of the ticket is under way, and may still be waited for.
    pub(in crate::pipeline) waits: bool,
}

/// What becomes of it.
#[derive(Debug)]
pub(in crate::pipeline) enum Comment {
    /// A command of ours is under way that may have made it.
    Hold,
    /// It is ours.
    Echo(Option<CommentRow>),
    /// It was told before.
    Repeat,
    /// Something newer is known.
    Old,
    /// It is news.
    News {
        /// Its record.
        row: CommentRow,
        /// `created`, `updated` or `deleted`.
        action: &'static str,
        /// What it said before.
        before: Option<String>,
        /// Whether another Ticketwire, or another integration, made it.
        via_ticketwire: bool,
    },
}

/// Decides it.
pub(in crate::pipeline) fn decide(
    change: &Change,
    comment: &ExternalComment,
    beside: &Beside<'_>,
) -> Comment {
    let (action, is_gone) = match change.kind {
        ChangeKind::CommentChanged => ("updated", false),
        ChangeKind::CommentDeleted => ("deleted", true),
        _ => ("created", false),
    };
    let digest = digest(&comment.body);
    let news = |origin, before: Option<String>, via_ticketwire| Comment::News {
        row: record(change, comment, beside, origin, is_gone),
        action,
        before: before.or_else(|| comment.before.clone()),
        via_ticketwire,
    };
    if let Some(known) = beside.known {
        let same_text = known.digest.as_deref().map(hex::encode).as_deref() == Some(&*digest);
        let origin = if known.is_ours { "ours" } else { "theirs" };
        return match action {
            "deleted" if known.is_deleted => Comment::Repeat,
            "deleted" => news(origin, known.body.clone(), false),
            "updated" if known.is_deleted || is_older(change, known.changed_at) => Comment::Old,
            "updated" if same_text && known.is_ours => Comment::Echo(None),
            "updated" if same_text => Comment::Repeat,
            "updated" => news(origin, known.body.clone(), false),
            _ if known.is_ours => Comment::Echo(None),
            _ => Comment::Repeat,
        };
    }
    if beside.marked_by.is_some() && beside.mark_is_ours {
        return match action {
            "created" => Comment::Echo(Some(record(change, comment, beside, "ours", false))),
            _ => news("ours", None, false),
        };
    }
    if beside.waits {
        return Comment::Hold;
    }
    // The mark of somebody else: another installation, or another integration on the same item.
    news("theirs", None, comment.marker.is_some())
}

fn is_older(change: &Change, known: Option<DateTime<Utc>>) -> bool {
    match (change.at, known) {
        (Some(at), Some(known)) => at.high < known,
        (Some(_) | None, _) => false,
    }
}

fn record(
    change: &Change,
    comment: &ExternalComment,
    beside: &Beside<'_>,
    origin: &'static str,
    deleted: bool,
) -> CommentRow {
    let is_ours = origin == "ours";
    let author = comment.author.as_ref().or(change.by.as_ref());
    let has_text = !deleted || !comment.body.is_empty();
    let command_id: Option<Uuid> = beside
        .marked_by
        .filter(|_| is_ours && beside.mark_is_ours)
        .map(CommandId::uuid);
    CommentRow {
        integration_id: beside.integration_id.uuid(),
        external_comment_id: comment.id.clone(),
        ticket_id: Some(beside.ticket_id.uuid()),
        organization_id: beside.organization_id.uuid(),
        origin,
        command_id,
        author_id: author.and_then(|author| author.id.clone()),
        author_name: author.and_then(|author| author.name.clone()),
        public: comment.public,
        body: (!is_ours && has_text).then(|| comment.body.clone()),
        digest: has_text.then(|| digest(&comment.body)),
        created_at: comment.created_at,
        changed_at: change.at.map(|at| at.low).or(comment.created_at),
        deleted,
    }
}
