//! The event that a receiver gets, and templates that give it another shape.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::domain::{TicketView, UserRef, shown};
use crate::platforms::mapping::FieldMap;
use crate::platforms::{Facts, Holder, Operation};

/// What stands for an event's members in a template: `{{data.title}}`.
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The kind of an event that a new ticket makes.
pub(super) const CREATED: &str = "ticket.created";

/// The kind of an operation's event.
pub(super) const fn kind_of(operation: &Operation<'_>) -> &'static str {
    match operation {
        Operation::Create { .. } => CREATED,
        Operation::Update { .. } | Operation::Assign { .. } => "ticket.updated",
        Operation::Status { .. } => "ticket.status_changed",
        Operation::Comment { .. } => "ticket.comment_added",
        Operation::Attach { .. } => "ticket.attachment_added",
        Operation::Delete { .. } => "ticket.deleted",
    }
}

/// The event of an operation, as a receiver without a template gets it. Custom fields go by their
/// names there, where the integration maps them.
pub(super) fn event_of(operation: &Operation<'_>, names: &FieldMap) -> Value {
    let ticket = operation.ticket();
    let mut data = json!({
        "ticket_id": ticket.id, "title": ticket.title, "description": ticket.description,
        "status": ticket.status, "priority": ticket.priority, "urgency": ticket.urgency,
        "category": ticket.category,
        "department": ticket.department, "tags": ticket.tags, "custom_fields": renamed(ticket,
            names),
        "assignee": ticket.assigned_to.as_ref().map(user),
        "requester": ticket.created_by.as_ref().map(user),
        "external_id": ticket.external_id, "url": ticket.external_url,
    });
    match operation {
        Operation::Create { .. } | Operation::Delete { .. } => {}
        Operation::Update { patch, .. } => data["changes"] = json!(patch),
        Operation::Status {
            status,
            resolution_summary,
            ..
        } => {
            data["status"] = json!(status);
            data["resolution_summary"] = json!(resolution_summary);
        }
        Operation::Assign { assignee, .. } => {
            data["changes"] = json!({ "assignee": assignee.map(user) });
        }
        Operation::Comment { body, public, .. } => {
            data["comment"] = json!({ "body": body, "public": public });
        }
        Operation::Attach { file, .. } => {
            data["attachment"] = json!({
                "url": file.url, "name": file.name, "size": file.size,
                "content_type": file.media_type,
                "sha256": file.sha256,
            });
        }
    }
    event(kind_of(operation), operation.key().received_at, &data)
}

/// Custom fields as the receiver calls them. A name that another field of the ticket has already is
/// not given: one of the two would be lost.
fn renamed(ticket: &TicketView, names: &FieldMap) -> Map<String, Value> {
    let called = |ours: &str| names.theirs(ours).unwrap_or(ours).to_owned();
    let fields = ticket.custom_fields.iter().map(|(ours, value)| {
        let theirs = called(ours);
        let mut others = ticket.custom_fields.keys().filter(|other| *other != ours);
        let is_taken = others.any(|other| called(other) == theirs);
        (if is_taken { ours.clone() } else { theirs }, value.clone())
    });
    fields.collect()
}

/// What an event says of a ticket.
pub(super) fn facts(ticket: &TicketView, names: &FieldMap) -> Facts {
    let assignee = ticket.assigned_to.as_ref();
    let assignee = assignee.map(|user| Holder::Account(user.id.to_string()));
    Facts {
        title: Some(ticket.title.clone()),
        description: Some(ticket.description.clone()),
        status: Some(ticket.status.to_string()),
        priority: Some(ticket.priority.to_string()),
        assignee: Some(assignee.unwrap_or(Holder::Nobody)),
        tags: Some(ticket.tags.clone()),
        custom: renamed(ticket, names).into_iter().collect(),
        ..Facts::default()
    }
}

pub(super) fn event(kind: &str, at: DateTime<Utc>, data: &Value) -> Value {
    let timestamp = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({ "type": kind, "timestamp": timestamp, "data": data })
}

fn user(user: &UserRef) -> Value {
    json!({ "id": user.id, "name": user.full_name, "email": user.email })
}

/// A template with its placeholders filled. A text that is nothing but one placeholder becomes the
/// value itself, of whatever type; in a longer text a value stands as text. What is not there is
/// null, or nothing. Nothing comes of it where the values are more bytes than `left`: a template
/// may name a long text a thousand times.
pub(super) fn fill(template: &Value, event: &Value, left: &mut usize) -> Option<Value> {
    Some(match template {
        Value::String(text) => fill_text(text, event, left)?,
        Value::Array(items) => items
            .iter()
            .map(|item| fill(item, event, left))
            .collect::<Option<_>>()?,
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| Some((name.clone(), fill(value, event, left)?)))
            .collect::<Option<_>>()?,
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    })
}

/// Members of an event, and of its `data`, that some event has. What is below them is the ticket's.
const EVENT: [&str; 3] = ["type", "timestamp", "data"];
const DATA: [&str; 19] = [
    "ticket_id",
    "title",
    "description",
    "status",
    "priority",
    "urgency",
    "category",
    "department",
    "tags",
    "custom_fields",
    "assignee",
    "requester",
    "external_id",
    "url",
    "changes",
    "resolution_summary",
    "comment",
    "attachment",
    "test",
];

/// Why a template has a placeholder that no event fills, if it has one.
pub(super) fn placeholder_fault(template: &Value) -> Option<String> {
    match template {
        Value::String(text) => text_fault(text),
        Value::Array(items) => items.iter().find_map(placeholder_fault),
        Value::Object(map) => map.values().find_map(placeholder_fault),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn text_fault(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(OPEN) {
        let Some((path, behind)) = after.split_once(CLOSE) else {
            return Some("has a {{ without its }}: close it, or leave it out".to_owned());
        };
        let mut names = path.split('.').map(str::trim);
        let first = names.next().unwrap_or_default();
        let second = names.next();
        let is_known = EVENT.contains(&first)
            && match second {
                Some(name) => first == "data" && DATA.contains(&name),
                None => true,
            };
        if !is_known {
            return Some(format!(
                "has {{{{{}}}}}, which no event has; there are type, timestamp and data, and of \
                 data {}",
                shown(path.trim()),
                DATA.join(", ")
            ));
        }
        rest = behind;
    }
    None
}

fn fill_text(text: &str, event: &Value, left: &mut usize) -> Option<Value> {
    let mut spend = |bytes: usize| {
        *left = left.checked_sub(bytes)?;
        Some(())
    };
    let whole = text
        .trim()
        .strip_prefix(OPEN)
        .and_then(|rest| rest.strip_suffix(CLOSE))
        .filter(|path| !path.contains(OPEN));
    if let Some(path) = whole {
        let Some(value) = at_path(event, path) else {
            return Some(Value::Null);
        };
        match value {
            Value::String(text) => spend(text.len())?,
            other => spend(other.to_string().len())?,
        }
        return Some(value.clone());
    }
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        filled.push_str(before);
        let Some((path, behind)) = after.split_once(CLOSE) else {
            filled.push_str(OPEN);
            filled.push_str(after);
            return Some(Value::String(filled));
        };
        match at_path(event, path) {
            None | Some(Value::Null) => {}
            Some(Value::String(value)) => {
                spend(value.len())?;
                filled.push_str(value);
            }
            Some(other) => {
                let value = other.to_string();
                spend(value.len())?;
                filled.push_str(&value);
            }
        }
        rest = behind;
    }
    filled.push_str(rest);
    Some(Value::String(filled))
}

fn at_path<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    path.trim()
        .split('.')
        .try_fold(event, |value, name| value.get(name.trim()))
}

#[cfg(test)]
mod tests;
