//! What a platform gave back.

use serde_json::{Map, Value};

/// What the platform gave back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What a person would quote (the Jira key). Only a create sets it, or a move that changed it.
    pub external_id: Option<String>,
    /// The page a person would open.
    pub external_url: Option<String>,
    /// What the adapter wants to see again in [`crate::domain::TicketView::external_ref`]; members are merged.
    pub external_ref: Map<String, Value>,
    /// The id of a comment just made.
    pub external_comment_id: Option<String>,
    /// The id of a file just attached.
    pub external_attachment_id: Option<String>,
    /// For the event's `integration_result.details`: what was left out, what was found already done.
    pub details: Map<String, Value>,
}
