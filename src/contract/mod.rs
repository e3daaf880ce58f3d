//! What producers and dashboards see: the CloudEvents envelope, the commands and their data, the
//! result events.
//!
//! Wire shapes are separate from domain types: parsing is where validation happens, and it reports
//! all faults of a message at once, by field. What is stored or dispatched has passed here.

mod attachments;
mod bulk;
mod commands;
mod content;
mod envelope;
mod event;
mod fields;
mod integration;
mod integration_update;
mod json;
mod notice;
mod numbers;
mod query;
mod readers;
pub mod schema;
mod ticket;
mod ticket_search;
mod webhook;

pub use crate::domain::CommandType;
pub use attachments::{Attachment, AttachmentSource};
pub use bulk::TicketBulkUpdate;
pub use commands::{AdminCommand, Command, ReadCommand, TicketCommand};
pub use content::{RawMessage, attribute_of, structured};
pub use envelope::{Envelope, Rejection, Replies, Trace, is_trace_parent, is_trace_state};
pub use event::{
    Event, EventData, IntegrationResult, Outcome, rejected_event, routing_key, turned_into_failure,
};
pub use fields::{Faults, Fields};
pub use integration::{
    IntegrationCreate, IntegrationSetEnabled, IntegrationSync, IntegrationTest, IntegrationWebhook,
};
pub use integration_update::{IntegrationUpdate, PlainChanges};
pub use json::json_text;
pub use notice::{Notice, Subject, notice, transition_notices};
pub use numbers::{canonical, canonical_members};
pub use query::{IntegrationFields, IntegrationList, ListPosition, RouteQuery};
pub use ticket::{
    TicketAiCreate, TicketAssign, TicketAttach, TicketComment, TicketCreate, TicketSetStatus,
    TicketUpdate,
};
pub use ticket_search::{Position, TicketFilter, TicketSearch, TicketSort};
pub use webhook::{Headers, WebhookReceived};
