//! `ticket.bulk_update`: one change for many tickets, carried out by a child command a ticket.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::fields::Extent;
use super::{Command, CommandType, Faults, Fields};
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

/// Reads the data. A status or an assignee is set by the command that sets it alone, so each goes by itself.
pub(super) fn read(f: &mut Fields<'_>) -> TicketBulkUpdate {
    if !f.has("ticket_ids") {
        f.fault("ticket_ids", "is required: the ids of the tickets");
    }
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
    if !f.has("updates") {
        f.fault("updates", "is required: the fields to set");
    }
    let child_data = f.object_of("updates", Extent::NESTED).unwrap_or_default();
    let reason = f.text("reason", 1, 1000);
    let child_type = if child_data.contains_key("status") {
        CommandType::TicketStatus
    } else if child_data.contains_key("assigned_to_id") {
        CommandType::TicketAssign
    } else {
        CommandType::TicketUpdate
    };
    // What a child would be refused for, the parent is refused for.
    let mut faults = Faults::new();
    let mut sample = child_data.clone();
    if let Some(own) = sample.remove("ticket_id") {
        drop(own);
        faults.insert("ticket_id".into(), "belongs into ticket_ids".into());
    }
    sample.insert("ticket_id".into(), Uuid::nil().to_string().into());
    Command::parse(child_type, sample, &mut faults);
    for (name, fault) in faults {
        let fault =
            if fault == super::fields::NOT_A_FIELD && child_type != CommandType::TicketUpdate {
                let apart = if child_type == CommandType::TicketStatus {
                    "status"
                } else {
                    "assigned_to_id"
                };
                format!("cannot be set together with {apart}; send it in a command of its own")
            } else {
                fault
            };
        f.fault(&format!("updates.{name}"), fault);
    }
    TicketBulkUpdate {
        ticket_ids,
        child_type,
        child_data,
        reason,
    }
}
