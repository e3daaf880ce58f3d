//! A dry run of a delivery: it is verified and read as it tells, and what would be decided is said.
//! Nothing is stored, and no platform is asked. The way to find out why a webhook does nothing.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::batch::{Batch, Outcome, asked};
use super::run::{Heard, hear};
use super::{InboundRun, ReadChange};
use crate::contract::WebhookReceived;
use crate::domain::{ErrorCode, Failure, Wait};
use crate::pipeline::context::Core;
use crate::pipeline::executor::admin::Refusal;
use crate::pipeline::job::Job;
use crate::platforms::{Change, ChangeKind, Needs};
use crate::store::StoreError;

/// What a delivery would do.
///
/// # Errors
/// As the connection's.
pub(in crate::pipeline) async fn rehearse(
    core: &Core,
    job: Job,
    hook: &WebhookReceived,
    now: DateTime<Utc>,
) -> Result<Result<Value, Failure>, StoreError> {
    let heard = match hear(core, &job, hook, now).await {
        Ok(heard) => heard,
        Err(Refusal::For(failure) | Refusal::Later(failure, _)) => return Ok(Err(failure)),
        Err(Refusal::Waits(_) | Refusal::GoesOn(_)) => {
            let failure = Failure::new(ErrorCode::Internal, "the database is not reachable");
            return Ok(Err(failure));
        }
    };
    let Heard {
        handle,
        changes,
        unsigned,
        ..
    } = heard;
    let read = changes.iter().map(|change| ReadChange {
        change: change.clone(),
        asked_at: None,
    });
    let run = InboundRun {
        job,
        started: Instant::now(),
        started_at: now,
        handle: Arc::clone(&handle),
        changes: read.collect(),
        unsigned,
    };
    let runs = std::slice::from_ref(&run);
    let wanted = asked(runs);
    let rehearsed = core.store.rehearse_inbound(&wanted, |found| {
        let mut batch = Batch::new(found);
        let one = |n: usize| batch.decide_one(&run, &wanted, n);
        (0..changes.len()).map(one).collect::<Vec<_>>()
    });
    let outcomes = rehearsed.await?;
    let shown = changes.iter().zip(&outcomes);
    let shown: Vec<Value> = shown.map(|(change, came)| shown_of(change, came)).collect();
    Ok(Ok(json!({
        "dry_run": true, "verified": !unsigned, "changes": shown,
        "message": "nothing was stored, and the platform was not asked",
    })))
}

fn shown_of(change: &Change, outcome: &Outcome) -> Value {
    let decided = match outcome {
        Outcome::Taken(fates) => fates
            .first()
            .map_or("ignored", |fate| fate.name())
            .to_owned(),
        Outcome::Waits(reason) => format!("waits: {}", Wait::of(*reason)),
    };
    let facts = &change.facts;
    json!({
        "kind": kind(&change.kind), "id": change.id, "decided": decided,
        "external_ticket_id": change.item.external_id, "stable_id": change.item.stable_id,
        "changed_at": change.at.map(|at| at.low),
        "changed_by": change.by.as_ref().map(|by| json!({ "id": by.id, "name": by.name })),
        "title": facts.title, "status": facts.status, "priority": facts.priority,
        "comment": change.comment.as_ref().map(|comment| &comment.body),
        "is_read_first": change.needs != Needs::Nothing,
    })
}

const fn kind(kind: &ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "created",
        ChangeKind::Updated => "updated",
        ChangeKind::Commented => "commented",
        ChangeKind::CommentChanged => "comment_changed",
        ChangeKind::CommentDeleted => "comment_deleted",
        ChangeKind::Attached => "attached",
        ChangeKind::Deleted => "deleted",
        ChangeKind::Restored => "restored",
        ChangeKind::Moved { .. } => "moved",
        ChangeKind::Merged { .. } => "merged",
    }
}
