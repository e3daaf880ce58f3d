//! Tickets: the enumerations, what an adapter is shown of one, and what a command changes of one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{TicketId, wire_enum};

wire_enum! {
    /// Where a ticket is in its life.
    TicketStatus {
        New = "new",
        Open = "open",
        InProgress = "in_progress",
        Pending = "pending",
        Resolved = "resolved",
        Closed = "closed",
        Cancelled = "cancelled",
    }
}

wire_enum! {
    /// Priority, and urgency.
    Priority {
        Low = "low",
        Medium = "medium",
        High = "high",
        Critical = "critical",
    }
}

wire_enum! {
    /// What a ticket is about.
    TicketCategory {
        Technical = "technical",
        Billing = "billing",
        FeatureRequest = "feature_request",
        Bug = "bug",
        UserAccess = "user_access",
        General = "general",
        Integration = "integration",
        Performance = "performance",
        Security = "security",
    }
}

/// A person of ours as an adapter may look them up on its platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    /// Their id in `users`.
    pub id: uuid::Uuid,
    /// Their e-mail address, where `users` knows them; without it no platform account can be found.
    pub email: Option<String>,
    /// Their name.
    pub full_name: Option<String>,
}

/// A ticket as an adapter sees it when it creates or changes the platform's item.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketView {
    /// Our id: the duplicate-protection mark of a create is derived from it.
    pub id: TicketId,
    /// One line, 1–500 characters.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// Status of ours.
    pub status: TicketStatus,
    /// Priority.
    pub priority: Priority,
    /// Urgency.
    pub urgency: Priority,
    /// Category.
    pub category: TicketCategory,
    /// Department of ours.
    pub department: Option<String>,
    /// Who works on it.
    pub assigned_to: Option<UserRef>,
    /// Who asked for it.
    pub created_by: Option<UserRef>,
    /// Free labels.
    pub tags: Vec<String>,
    /// Fields by our name; the integration's `custom_fields_mapping` translates the names.
    pub custom_fields: Map<String, Value>,
    /// What a person would quote (the Jira key); `None` while unbound.
    pub external_id: Option<String>,
    /// The platform's page for it.
    pub external_url: Option<String>,
    /// What the adapter wants to remember of the item beside its id (the numeric Jira id).
    pub external_ref: Map<String, Value>,
}

/// The fields a command sets; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TicketPatch {
    /// New title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// New description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// New category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<TicketCategory>,
    /// New priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// New urgency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Priority>,
    /// New department.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// New custom fields, merged by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_fields: Option<Map<String, Value>>,
    /// New tags, replacing the old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

impl TicketPatch {
    /// The names of the fields it sets.
    #[must_use]
    pub fn changed(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut note = |set: bool, name| {
            if set {
                names.push(name);
            }
        };
        note(self.title.is_some(), "title");
        note(self.description.is_some(), "description");
        note(self.category.is_some(), "category");
        note(self.priority.is_some(), "priority");
        note(self.urgency.is_some(), "urgency");
        note(self.department.is_some(), "department");
        note(self.custom_fields.is_some(), "custom_fields");
        note(self.tags.is_some(), "tags");
        names
    }
}
