//! The events of what happened on a platform: `ticket.external.…`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::decide::News;
use crate::contract::routing_key;
use crate::domain::{CommandId, Integration, TicketId, TicketView};
use crate::platforms::{Actor, Change, ChangeKind, ExternalComment, ExternalFile, ItemRef};
use crate::store::{OutboxKey, OutboxRow};

/// Longest text of a comment in an event, in bytes; the rest is in `ticket_comments`.
const BODY_MAX: usize = 64 << 10;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Kind {
    Created,
    Updated,
    Commented,
    Deleted,
}

impl Kind {
    const fn event_type(self) -> &'static str {
        match self {
            Self::Created => "ticket.external.created",
            Self::Updated => "ticket.external.updated",
            Self::Commented => "ticket.external.commented",
            Self::Deleted => "ticket.external.deleted",
        }
    }
}

/// A comment in an event.
#[derive(Debug)]
pub(in crate::pipeline) struct Commented<'a> {
    pub(in crate::pipeline) comment: &'a ExternalComment,
    pub(in crate::pipeline) action: &'static str,
    pub(in crate::pipeline) before: Option<&'a str>,
    pub(in crate::pipeline) via_ticketwire: bool,
}

/// All that an event tells.
#[derive(Debug)]
pub(in crate::pipeline) struct Told<'a> {
    pub(in crate::pipeline) kind: Kind,
    pub(in crate::pipeline) integration: &'a Integration,
    pub(in crate::pipeline) command_id: CommandId,
    pub(in crate::pipeline) change: &'a Change,
    pub(in crate::pipeline) ticket_id: Option<TicketId>,
    /// The row as it was.
    pub(in crate::pipeline) row: Option<&'a TicketView>,
    pub(in crate::pipeline) imported: bool,
    pub(in crate::pipeline) unsigned: bool,
    pub(in crate::pipeline) news: &'a [News],
    /// The item's name before, where it has another one now.
    pub(in crate::pipeline) moved: Option<&'a str>,
    /// The row, and the item's name and page, as they are now.
    pub(in crate::pipeline) now: Now,
    pub(in crate::pipeline) comment: Option<Commented<'a>>,
    pub(in crate::pipeline) deleted: Option<(&'static str, Option<&'a ItemRef>)>,
}

/// What is so now.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Now {
    pub(in crate::pipeline) external_id: String,
    pub(in crate::pipeline) url: Option<String>,
    pub(in crate::pipeline) title: Option<String>,
    pub(in crate::pipeline) status: Option<&'static str>,
    pub(in crate::pipeline) priority: Option<&'static str>,
}

/// The event, ready to be published. Its id follows from the change and the ticket, so that it is
/// the same however often, and by whichever way, the change is told.
pub(in crate::pipeline) fn event(told: &Told<'_>, now: DateTime<Utc>) -> OutboxRow {
    let integration = told.integration;
    let ticket = told.ticket_id.map(|id| id.to_string());
    let name = format!(
        "{} {}",
        told.change.id,
        ticket.as_deref().unwrap_or_default()
    );
    // An import tells two things of one change: that the item is there, and what was said.
    let name = match (told.kind, &told.change.kind) {
        (Kind::Created, ChangeKind::Created) => name,
        (Kind::Created, _) => format!("created {name}"),
        (Kind::Updated | Kind::Commented | Kind::Deleted, _) => name,
    };
    let id = Uuid::new_v5(&integration.id.uuid(), name.as_bytes());
    let event_type = told.kind.event_type();
    let changed_at = told.change.at.map(|at| text(at.low));
    let mut changes: Vec<Value> = told.news.iter().map(news).collect();
    if let Some(from) = told.moved {
        let to = &told.now.external_id;
        changes.push(json!({
            "field": "external_ticket_id", "before": from, "after": to,
            "external_before": from, "external_after": to, "applied": true,
        }));
    }
    let mut data = json!({
        "integration_id": integration.id, "integration_category": integration.category,
        "platform_name": integration.platform, "caused_by": told.command_id,
        "origin": "webhook", "ticket_id": told.ticket_id, "imported": told.imported,
        "external_ticket_id": told.now.external_id, "external_ticket_url": told.now.url,
        "changed_at": changed_at, "changed_by": told.change.by.as_ref().map(actor),
        "unsigned": told.unsigned,
        "changes": changes,
        "title": told.now.title, "status": told.now.status, "priority": told.now.priority,
        "updated_at": changed_at,
    });
    data["old_status"] = json!(told.row.map(|row| row.status));
    data["old_priority"] = json!(told.row.map(|row| row.priority));
    data["comment"] = told.comment.as_ref().map_or(Value::Null, comment);
    data["attachments"] = told.change.files.iter().map(file).collect();
    data["deleted"] = told.deleted.map_or(
        Value::Null,
        |(kind, into)| json!({ "kind": kind, "into": into.map(|into| &into.external_id) }),
    );
    let subject = ticket.unwrap_or_else(|| integration.id.to_string());
    let mut event = Map::from_iter([
        ("specversion".to_owned(), json!("1.0")),
        ("id".to_owned(), json!(id)),
        ("source".to_owned(), json!("/ticketwire")),
        ("type".to_owned(), json!(event_type)),
        ("time".to_owned(), json!(text(now))),
        ("datacontenttype".to_owned(), json!("application/json")),
        ("subject".to_owned(), json!(subject)),
        ("data".to_owned(), data),
    ]);
    if let Some(organization) = integration.organization_id {
        event.insert("organizationid".to_owned(), json!(organization));
    }
    OutboxRow {
        key: OutboxKey {
            command_id: id,
            number: 0,
            target: String::new(),
            correlation_id: String::new(),
        },
        routing_key: routing_key(event_type, integration.platform),
        body: Value::Object(event).to_string().into(),
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn actor(actor: &Actor) -> Value {
    json!({ "id": actor.id, "name": actor.name })
}

fn news(news: &News) -> Value {
    let mut told = json!({
        "field": news.field.name(), "before": news.before, "after": news.after,
        "external_before": news.external_before, "external_after": news.external_after,
        "applied": news.reason.is_none(),
    });
    if let Some(reason) = news.reason {
        told["reason"] = reason.into();
    }
    told
}

fn comment(told: &Commented<'_>) -> Value {
    let comment = told.comment;
    let (body, truncated) = cut(&comment.body);
    json!({
        "id": comment.id, "action": told.action, "body": body,
        "before": told.before.map(|before| cut(before).0), "public": comment.public,
        "author": comment.author.as_ref().map(actor),
        "created_at": comment.created_at.map(text), "via_ticketwire": told.via_ticketwire,
        "truncated": truncated,
    })
}

fn file(file: &ExternalFile) -> Value {
    json!({
        "id": file.id, "name": file.name, "type": file.content_type, "size": file.size,
        "url": file.url, "carried": false,
    })
}

fn cut(body: &str) -> (&str, bool) {
    if body.len() <= BODY_MAX {
        return (body, false);
    }
    let end = (0..=BODY_MAX).rev().find(|at| body.is_char_boundary(*at));
    (&body[..end.unwrap_or(0)], true)
}
