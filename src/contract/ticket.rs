//! The commands about one ticket: their data and how it is read.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Fields;
use super::attachments::{self, Attachment};
use super::readers::{TEXT_MAX, category, priority, ticket_id};
use crate::domain::{
    AnalysisInput, IntegrationId, Priority, TicketCategory, TicketId, TicketPatch, TicketStatus,
};

/// `ticket.create`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketCreate {
    /// The ticket; `None`: derived from the command's id.
    pub ticket_id: Option<TicketId>,
    /// 1–500 characters, one of them visible.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// Default `general`.
    pub category: TicketCategory,
    /// Default `medium`.
    pub priority: Priority,
    /// Default `medium`.
    pub urgency: Priority,
    /// At most 100 characters.
    pub department: Option<String>,
    /// A row of `users`, where there is one.
    pub created_by_id: Option<Uuid>,
    /// A row of `users`, where there is one.
    pub assigned_to_id: Option<Uuid>,
    /// Where to create it; without one the ticket stays with us.
    pub integration_id: Option<IntegrationId>,
    /// Let the rules choose the integration.
    pub route: bool,
    /// Default true.
    pub create_externally: bool,
    /// By our names.
    pub custom_fields: Map<String, Value>,
    /// Labels.
    pub tags: Vec<String>,
    /// Files to attach once it exists.
    pub attachments: Vec<Attachment>,
}

impl Default for TicketCreate {
    fn default() -> Self {
        Self {
            ticket_id: None,
            title: String::new(),
            description: String::new(),
            category: TicketCategory::General,
            priority: Priority::Medium,
            urgency: Priority::Medium,
            department: None,
            created_by_id: None,
            assigned_to_id: None,
            integration_id: None,
            route: false,
            create_externally: true,
            custom_fields: Map::new(),
            tags: Vec::new(),
            attachments: Vec::new(),
        }
    }
}

/// `ticket.ai_create`: the ticket's fields are found by an analysis of what a person wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketAiCreate {
    /// What the person wrote, what was said before, what they prefer.
    pub input: AnalysisInput,
    /// Files to attach once it exists.
    pub attachments: Vec<Attachment>,
    /// Where to create it; without one the ticket stays with us.
    pub integration_id: Option<IntegrationId>,
    /// Default true.
    pub create_externally: bool,
}

/// `ticket.attach`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketAttach {
    /// The ticket.
    pub ticket_id: TicketId,
    /// At least one.
    pub attachments: Vec<Attachment>,
}

/// `ticket.update`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketUpdate {
    /// The ticket.
    pub ticket_id: TicketId,
    /// What changes.
    pub patch: TicketPatch,
    /// Must be the ticket's own, if given.
    pub integration_id: Option<IntegrationId>,
}

/// `ticket.status`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketSetStatus {
    /// The ticket.
    pub ticket_id: TicketId,
    /// Where to.
    pub status: TicketStatus,
    /// Required for resolved and closed.
    pub resolution_summary: Option<String>,
    /// For our own people.
    pub internal_notes: Option<String>,
}

/// `ticket.assign`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketAssign {
    /// The ticket.
    pub ticket_id: TicketId,
    /// `None` unassigns.
    pub assigned_to_id: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
}

/// `ticket.comment`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketComment {
    /// The ticket.
    pub ticket_id: TicketId,
    /// Markdown.
    pub body: String,
    /// Default true.
    pub public: bool,
}

pub(super) fn create(f: &mut Fields<'_>) -> TicketCreate {
    f.require("description", "");
    TicketCreate {
        ticket_id: f.uuid("ticket_id").map(TicketId::new),
        title: f.required_visible("title", 500),
        description: f.text("description", 0, TEXT_MAX).unwrap_or_default(),
        category: category(f).unwrap_or(TicketCategory::General),
        priority: priority(f, "priority").unwrap_or(Priority::Medium),
        urgency: priority(f, "urgency").unwrap_or(Priority::Medium),
        department: f.text("department", 1, 100),
        created_by_id: f.uuid("created_by_id"),
        assigned_to_id: f.uuid("assigned_to_id"),
        integration_id: f.uuid("integration_id").map(IntegrationId::new),
        route: f.boolean("route", false),
        create_externally: f.boolean("create_externally", true),
        custom_fields: f.object("custom_fields").unwrap_or_default(),
        tags: f.texts("tags", 50, 100).unwrap_or_default(),
        attachments: attachments::read(f),
    }
}

pub(super) fn ai_create(f: &mut Fields<'_>) -> TicketAiCreate {
    let user_input = f.required_visible("user_input", TEXT_MAX);
    let conversation = f.value("conversation_context", || {
        let turn = json!({
            "type": "object", "required": ["content"],
            "properties": { "role": { "type": "string", "maxLength": 50 },
                "content": { "type": "string" } },
        });
        json!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "maxItems": 1000, "items": { "anyOf": [{ "type": "string" },
                turn] } },
        ] })
    });
    let preferences = f.object("user_preferences");
    let input = AnalysisInput::read(user_input, conversation.as_ref(), preferences.as_ref());
    let input = input.unwrap_or_else(|faults| {
        for (name, fault) in faults {
            f.fault(&name, fault);
        }
        AnalysisInput::default()
    });
    TicketAiCreate {
        input,
        attachments: attachments::read(f),
        integration_id: f.uuid("integration_id").map(IntegrationId::new),
        create_externally: f.boolean("create_externally", true),
    }
}

pub(super) fn update(f: &mut Fields<'_>) -> TicketUpdate {
    let update = TicketUpdate {
        ticket_id: ticket_id(f),
        patch: TicketPatch {
            title: f.visible("title", 500),
            description: f.text("description", 0, TEXT_MAX),
            category: category(f),
            priority: priority(f, "priority"),
            urgency: priority(f, "urgency"),
            department: f.text("department", 1, 100),
            custom_fields: f.object("custom_fields"),
            tags: f.texts("tags", 50, 100),
        },
        integration_id: f.uuid("integration_id").map(IntegrationId::new),
    };
    for (name, command) in [
        ("status", "ticket.status"),
        ("assigned_to_id", "ticket.assign"),
    ] {
        if f.mentions(name) {
            f.take(name);
            f.fault(name, format!("is changed by {command}"));
        }
    }
    if update.patch.changed().is_empty() {
        f.fault(
            "title",
            "or another field of the ticket is required: description, category, priority, \
             urgency, department, custom_fields, tags",
        );
    }
    update
}

pub(super) fn status(f: &mut Fields<'_>) -> TicketSetStatus {
    let status = f.required_choice("status").unwrap_or(TicketStatus::Open);
    let resolution_summary = f.text("resolution_summary", 1, TEXT_MAX);
    if resolution_summary.is_none()
        && matches!(status, TicketStatus::Resolved | TicketStatus::Closed)
    {
        f.fault(
            "resolution_summary",
            format!("is required for the status {status}"),
        );
    }
    TicketSetStatus {
        ticket_id: ticket_id(f),
        status,
        resolution_summary,
        internal_notes: f.text("internal_notes", 1, TEXT_MAX),
    }
}

pub(super) fn assign(f: &mut Fields<'_>) -> TicketAssign {
    let is_there = f.mentions("assigned_to_id");
    f.demand("assigned_to_id", is_there, "a UUID, or null to unassign");
    TicketAssign {
        ticket_id: ticket_id(f),
        assigned_to_id: f
            .change("assigned_to_id", |f| f.uuid("assigned_to_id"))
            .flatten(),
        reason: f.text("reason", 1, TEXT_MAX),
    }
}

pub(super) fn comment(f: &mut Fields<'_>) -> TicketComment {
    TicketComment {
        ticket_id: ticket_id(f),
        body: f.required_text("body", 1, TEXT_MAX),
        public: f.boolean("public", true),
    }
}

pub(super) fn attach(f: &mut Fields<'_>) -> TicketAttach {
    let ticket_id = ticket_id(f);
    let attachments = attachments::read(f);
    f.demand("attachments", !attachments.is_empty(), "at least one file");
    TicketAttach {
        ticket_id,
        attachments,
    }
}
