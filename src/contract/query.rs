//! The commands that ask, but for `ticket.search`: their data and how it is read.

use super::Fields;
use super::readers::{TEXT_MAX, category, integration_id, priority};
use crate::domain::routing::Traits;
use crate::domain::{
    IntegrationCategory, IntegrationId, IntegrationStatus, Platform, Priority, TicketCategory,
    TicketId,
};

/// `integration.fields`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationFields {
    /// Which.
    pub integration_id: IntegrationId,
    /// Part of a field's id or name.
    pub search: Option<String>,
}

/// `integration.list`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationList {
    /// Part of the name or description.
    pub q: Option<String>,
    /// Filter.
    pub category: Option<IntegrationCategory>,
    /// Filter.
    pub platform: Option<Platform>,
    /// Filter.
    pub status: Option<IntegrationStatus>,
    /// Filter.
    pub enabled: Option<bool>,
    /// `created_at` (default), `name`, `updated_at`.
    pub sort_by: String,
    /// Default descending.
    pub ascending: bool,
    /// 1–100, default 20.
    pub limit: i32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl IntegrationList {
    /// Everything, oldest first, by pages of 100.
    #[must_use]
    pub fn all() -> Self {
        Self {
            q: None,
            category: None,
            platform: None,
            status: None,
            enabled: None,
            sort_by: "created_at".into(),
            ascending: true,
            limit: 100,
            cursor: None,
        }
    }
}

/// `integration.route`
#[derive(Debug, Clone, PartialEq)]
pub struct RouteQuery {
    /// A ticket that exists; else `traits`.
    pub ticket_id: Option<TicketId>,
    /// What the ticket would be like.
    pub traits: Traits,
}

pub(super) fn fields(f: &mut Fields<'_>) -> IntegrationFields {
    IntegrationFields {
        integration_id: integration_id(f),
        search: f.text("search", 1, 255),
    }
}

pub(super) fn list(f: &mut Fields<'_>) -> IntegrationList {
    let sort_by = f
        .text("sort_by", 1, 32)
        .unwrap_or_else(|| "created_at".into());
    if !matches!(sort_by.as_str(), "created_at" | "updated_at" | "name") {
        f.fault("sort_by", "must be one of created_at, updated_at, name");
    }
    let order = f.word("sort_order", &["asc", "desc"]);
    IntegrationList {
        q: f.text("q", 1, 255),
        category: f.choice("integration_category"),
        platform: f.choice("platform_name"),
        status: f.choice("status"),
        enabled: f.has("enabled").then(|| f.boolean("enabled", true)),
        sort_by,
        ascending: order == Some("asc"),
        limit: f.integer("limit", 1..=100).unwrap_or(20),
        cursor: f.text("cursor", 1, 512),
    }
}

/// Reads the data of `integration.route`: `ticket` or `ticket_id`.
pub(super) fn route(f: &mut Fields<'_>) -> RouteQuery {
    let ticket_id = f.uuid("ticket_id").map(TicketId::new);
    let ticket = f.has("ticket");
    let traits = f.nested("ticket", read_traits);
    match (&ticket_id, ticket) {
        (None, false) => f.fault("ticket", "or ticket_id is required"),
        (Some(_), true) => f.fault("ticket", "and ticket_id exclude each other"),
        (None, true) | (Some(_), false) => {}
    }
    RouteQuery {
        ticket_id,
        traits: traits.unwrap_or_default(),
    }
}

fn read_traits(f: &mut Fields<'_>) -> Traits {
    Traits {
        title: f.text("title", 0, 500).unwrap_or_default(),
        description: f.text("description", 0, TEXT_MAX).unwrap_or_default(),
        category: category(f).unwrap_or(TicketCategory::General),
        priority: priority(f, "priority").unwrap_or(Priority::Medium),
        urgency: priority(f, "urgency").unwrap_or(Priority::Medium),
        department: f.text("department", 1, 100),
        tags: f.texts("tags", 50, 100).unwrap_or_default(),
        custom_fields: f.object("custom_fields").unwrap_or_default(),
    }
}
