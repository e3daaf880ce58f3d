//! What a platform gave back.

use serde_json::{Map, Value};

use super::change::{Facts, Moment};

/// What the platform gave back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What a person would quote (the Jira key). Only a create sets it, or a move that changed it.
    pub external_id: Option<String>,
    /// The page a person would open.
    pub external_url: Option<String>,
    /// What the adapter wants to see again in [`crate::domain::TicketView::external_ref`]; members
    /// are merged.
    pub external_ref: Map<String, Value>,
    /// The id of a comment just made.
    pub external_comment_id: Option<String>,
    /// The id of a file just attached.
    pub external_attachment_id: Option<String>,
    /// For the event's `integration_result.details`: what was left out, what was found already
    /// done.
    pub details: Map<String, Value>,
    /// What was set, in the platform's words, where that is not what is sent of the ticket
    /// ([`super::Driver::wrote`]): what comes back unchanged is an echo of it.
    pub wrote: Facts,
    /// When it was set, by the platform's clock; `None`: its answer does not tell. The driver reads
    /// it off the answer's `Date` where the adapter does not.
    pub written: Option<Moment>,
}
