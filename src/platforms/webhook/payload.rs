//! The event that a receiver gets, and templates that give it another shape.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::super::Operation;
use crate::domain::{TicketView, UserRef, shown};

/// What stands for an event's members in a template: `{{data.title}}`.
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The event of an operation, as a receiver without a template gets it. Custom fields go by their names there, where the
/// integration maps them.
pub(super) fn event_of(operation: &Operation<'_>, names: &Map<String, Value>) -> Value {
    let (kind, more) = match operation {
        Operation::Create { .. } => ("ticket.created", Map::new()),
        Operation::Update { patch, .. } => (
            "ticket.updated",
            Map::from_iter([("changes".to_owned(), json!(patch))]),
        ),
        Operation::Status {
            status,
            resolution_summary,
            ..
        } => (
            "ticket.status_changed",
            Map::from_iter([
                ("status".to_owned(), json!(status)),
                ("resolution_summary".to_owned(), json!(resolution_summary)),
            ]),
        ),
        Operation::Assign { assignee, .. } => (
            "ticket.updated",
            Map::from_iter([(
                "changes".to_owned(),
                json!({ "assignee": assignee.map(person) }),
            )]),
        ),
        Operation::Comment { body, public, .. } => (
            "ticket.comment_added",
            Map::from_iter([(
                "comment".to_owned(),
                json!({ "body": body, "public": public }),
            )]),
        ),
        Operation::Attach { file, .. } => (
            "ticket.attachment_added",
            Map::from_iter([(
                "attachment".to_owned(),
                json!({ "url": file.url, "name": file.name, "size": file.size, "content_type": file.media_type,
                        "sha256": file.sha256 }),
            )]),
        ),
        Operation::Delete { .. } => ("ticket.deleted", Map::new()),
    };
    let mut data = ticket_data(operation.ticket());
    if !names.is_empty() {
        let named = operation
            .ticket()
            .custom_fields
            .iter()
            .map(|(name, value)| (renamed(name, names, operation.ticket()), value.clone()));
        data.insert("custom_fields".into(), Value::Object(named.collect()));
    }
    data.extend(more);
    event(kind, operation.key().received_at, &data)
}

/// What a custom field is called there. A name that another field of the ticket has already is not given: one of the two
/// would be lost.
fn renamed(name: &str, names: &Map<String, Value>, ticket: &TicketView) -> String {
    let theirs = names.get(name).and_then(Value::as_str).unwrap_or(name);
    let is_taken = ticket.custom_fields.keys().any(|other| {
        other != name && names.get(other).and_then(Value::as_str).unwrap_or(other) == theirs
    });
    if is_taken { name } else { theirs }.to_owned()
}

pub(super) fn event(kind: &str, at: DateTime<Utc>, data: &Map<String, Value>) -> Value {
    let timestamp = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({ "type": kind, "timestamp": timestamp, "data": data })
}

fn ticket_data(ticket: &TicketView) -> Map<String, Value> {
    let value = json!({
        "ticket_id": ticket.id, "title": ticket.title, "description": ticket.description,
        "status": ticket.status, "priority": ticket.priority, "urgency": ticket.urgency, "category": ticket.category,
        "department": ticket.department, "tags": ticket.tags, "custom_fields": ticket.custom_fields,
        "assignee": ticket.assigned_to.as_ref().map(person),
        "requester": ticket.created_by.as_ref().map(person),
        "external_id": ticket.external_id, "url": ticket.external_url,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn person(person: &UserRef) -> Value {
    json!({ "id": person.id, "name": person.full_name, "email": person.email })
}

/// A template with its placeholders filled. A text that is nothing but one placeholder becomes the value itself, of
/// whatever type; in a longer text a value stands as text. What is not there is null, or nothing. Nothing comes of it
/// where the values are more bytes than `left`: a template may name a long text a thousand times.
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
                "has {{{{{}}}}}, which no event has; there are type, timestamp and data, and of data {}",
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
mod tests {
    use super::*;

    #[test]
    fn a_custom_field_is_renamed_unless_another_has_the_name() {
        let mut ticket = TicketView {
            id: crate::domain::TicketId::new(uuid::Uuid::nil()),
            title: String::new(),
            description: String::new(),
            status: crate::domain::TicketStatus::New,
            priority: crate::domain::Priority::Low,
            urgency: crate::domain::Priority::Low,
            category: crate::domain::TicketCategory::General,
            department: None,
            assigned_to: None,
            created_by: None,
            tags: Vec::new(),
            custom_fields: Map::from_iter([("a".to_owned(), json!(1))]),
            external_id: None,
            external_url: None,
            external_ref: Map::new(),
        };
        let names = Map::from_iter([("a".to_owned(), json!("b"))]);

        assert_eq!(renamed("a", &names, &ticket), "b");
        ticket.custom_fields.insert("b".into(), json!(2));
        assert_eq!(renamed("a", &names, &ticket), "a");
        assert_eq!(renamed("b", &names, &ticket), "b");
    }

    #[test]
    fn a_template_takes_values_whole_and_in_texts() {
        let event = json!({ "type": "ticket.created", "data": { "title": "Fire \"here\"", "tags": ["a"], "n": 3, "none": null } });
        let template = json!({
            "text": "{{ data.title }} ({{data.n}}{{data.none}}) {{data.nowhere}}{{open",
            "tags": "{{data.tags}}", "none": "{{data.nowhere}}", "list": ["{{type}}", 7, true],
        });

        assert_eq!(
            fill(&template, &event, &mut 1_000).unwrap(),
            json!({
                "text": "Fire \"here\" (3) {{open", "tags": ["a"], "none": null, "list": ["ticket.created", 7, true],
            })
        );
    }

    #[test]
    fn what_a_template_makes_has_an_end() {
        let event =
            json!({ "data": { "description": "x".repeat(1 << 20), "all": ["y".repeat(1 << 20)] } });
        for placeholder in [
            "{{data.description}}",
            "a {{data.description}}",
            "{{data.all}}",
            "a {{data}}",
        ] {
            let template = json!(vec![placeholder; 3_000]);
            let began = std::time::Instant::now();

            assert_eq!(
                fill(&template, &event, &mut (8 << 20)),
                None,
                "{placeholder}"
            );
            assert!(fill(&json!([placeholder]), &event, &mut (8 << 20)).is_some());
            assert!(
                began.elapsed().as_secs() < 5,
                "{placeholder}: {:?}",
                began.elapsed()
            );
        }
        // Open and never closed: looked at once, not once for each.
        let open = json!("{{".repeat(500_000));
        let began = std::time::Instant::now();
        assert_eq!(fill(&open, &event, &mut 0), Some(open.clone()));
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
