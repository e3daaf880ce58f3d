//! What producers and dashboards see: the CloudEvents envelope, the commands and their data, the result events.
//!
//! Wire shapes are separate from domain types: parsing is where validation happens, and it reports all faults of a
//! message at once, by field. What is stored or dispatched has passed here.

mod commands;
mod envelope;
mod event;
mod fields;
mod ticket_search;

pub use commands::{
    Command, IntegrationCreate, IntegrationList, IntegrationSetEnabled, IntegrationTest,
    TicketAssign, TicketComment, TicketCreate, TicketSetStatus, TicketUpdate,
};
pub use envelope::{Envelope, RawMessage, Rejection, Trace};
pub use event::{Event, EventData, IntegrationResult, Outcome, rejected_event, routing_key};
pub use fields::{Faults, Fields};
pub use ticket_search::{Position, TicketFilter, TicketSearch, TicketSort};

use crate::domain::wire_enum;

wire_enum! {
    /// The type of a command: its CloudEvents `type` and its routing key.
    CommandType {
        TicketCreate = "ticket.create",
        TicketAiCreate = "ticket.ai_create",
        TicketUpdate = "ticket.update",
        TicketStatus = "ticket.status",
        TicketAssign = "ticket.assign",
        TicketComment = "ticket.comment",
        TicketAttach = "ticket.attach",
        TicketDelete = "ticket.delete",
        TicketGet = "ticket.get",
        TicketSearch = "ticket.search",
        TicketBulkUpdate = "ticket.bulk_update",
        IntegrationCreate = "integration.create",
        IntegrationUpdate = "integration.update",
        IntegrationDelete = "integration.delete",
        IntegrationGet = "integration.get",
        IntegrationList = "integration.list",
        IntegrationStatus = "integration.status",
        IntegrationTest = "integration.test",
        IntegrationSync = "integration.sync",
        IntegrationRoute = "integration.route",
        IntegrationFields = "integration.fields",
        WebhookReceived = "webhook.received",
    }
}
