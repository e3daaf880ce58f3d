//! `ticket.bulk_update`: one change for many tickets, carried out by a child command a ticket.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::fields::Extent;
use super::{CommandType, Fields, ticket};
use crate::domain::TicketId;

/// Most tickets of one command (contract §4).
const TICKETS_MAX: usize = 500;

/// `ticket.bulk_update`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketBulkUpdate {
    /// Which, without repeats.
    pub ticket_ids: Vec<TicketId>,
    /// The type of the child commands: by what is to be changed.
    pub child_type: CommandType,
    /// The children's data without the `ticket_id`.
    pub child_data: Map<String, Value>,
    /// Why.
    pub reason: Option<String>,
}

/// Reads the data. A status or an assignee is set by the command that sets it alone, so each goes
/// by itself.
pub(super) fn read(f: &mut Fields<'_>) -> TicketBulkUpdate {
    f.require("ticket_ids", "the ids of the tickets");
    let texts = f.texts("ticket_ids", TICKETS_MAX, 64).unwrap_or_default();
    let mut ticket_ids = Vec::with_capacity(texts.len());
    let mut seen = std::collections::HashSet::new();
    for (index, text) in texts.iter().enumerate() {
        match Uuid::parse_str(text) {
            Ok(id) if seen.insert(id) => ticket_ids.push(TicketId::new(id)),
            Ok(_) => {}
            Err(_) => f.fault(&format!("ticket_ids[{index}]"), "must be a UUID"),
        }
    }
    if texts.is_empty() {
        f.fault("ticket_ids", "must name at least one ticket");
    }
    f.require("updates", "the fields to set");
    let child_data = f.object_of("updates", Extent::NESTED).unwrap_or_default();
    let reason = f.text("reason", 1, 1000);
    let child = Child::of(&child_data);
    check(f, child, child_data.clone());
    TicketBulkUpdate {
        ticket_ids,
        child_type: child.command_type(),
        child_data,
        reason,
    }
}

/// The command that sets what is to be changed.
#[derive(Clone, Copy)]
enum Child {
    Status,
    Assign,
    Update,
}

impl Child {
    fn of(updates: &Map<String, Value>) -> Self {
        if updates.contains_key("status") {
            Self::Status
        } else if updates.contains_key("assigned_to_id") {
            Self::Assign
        } else {
            Self::Update
        }
    }

    const fn command_type(self) -> CommandType {
        match self {
            Self::Status => CommandType::TicketStatus,
            Self::Assign => CommandType::TicketAssign,
            Self::Update => CommandType::TicketUpdate,
        }
    }

    /// The field that nothing but this command sets.
    const fn field(self) -> Option<&'static str> {
        match self {
            Self::Status => Some("status"),
            Self::Assign => Some("assigned_to_id"),
            Self::Update => None,
        }
    }
}

/// What a child would be refused for, the parent is refused for.
fn check(f: &mut Fields<'_>, child: Child, mut updates: Map<String, Value>) {
    let sample = Uuid::nil().to_string();
    if updates.insert("ticket_id".into(), sample.into()).is_some() {
        f.fault("updates.ticket_id", "belongs into ticket_ids");
    }
    f.within("updates", updates, |f| {
        if let Some(field) = child.field() {
            f.explain_unknown(format!(
                "cannot be set together with {field}; send it in a command of its own"
            ));
        }
        match child {
            Child::Status => drop(ticket::status(f)),
            Child::Assign => drop(ticket::assign(f)),
            Child::Update => drop(ticket::update(f)),
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::Faults;

    #[test]
    fn what_a_child_would_be_refused_for_is_a_fault_of_the_updates() {
        let faults = |updates: Value| {
            let ids = json!(["9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10"]);
            let data = Map::from_iter([
                ("ticket_ids".to_owned(), ids),
                ("updates".to_owned(), updates),
            ]);
            let mut faults = Faults::new();
            let mut fields = Fields::new(data, &mut faults);
            read(&mut fields);
            fields.finish();
            faults
        };
        assert_eq!(faults(json!({ "priority": "high" })), Faults::new());

        let found = faults(json!({ "status": "open", "priority": "high", "ticket_id": "x" }));
        assert_eq!(
            found["updates.priority"],
            "cannot be set together with status; send it in a command of its own"
        );
        assert_eq!(found["updates.ticket_id"], "belongs into ticket_ids");
        assert_eq!(found.len(), 2, "{found:?}");

        let found = faults(json!({ "colour": "red", "assigned_to_id": null }));
        assert!(found["updates.colour"].contains("together with assigned_to_id"));
        let found = faults(json!({ "colour": "red", "priority": "high" }));
        assert_eq!(found["updates.colour"], "is not a field of this command");
        let found = faults(json!({ "status": "resolved" }));
        assert!(found["updates.resolution_summary"].starts_with("is required"));
        assert!(faults(json!({})).contains_key("updates.title"));
    }
}
