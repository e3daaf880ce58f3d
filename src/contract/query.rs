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
    pub cursor: Option<ListPosition>,
}

/// A place in the order of a list: behind this integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPosition {
    /// What it is sorted by, as text.
    pub key: String,
    /// The integration.
    pub id: IntegrationId,
}

impl ListPosition {
    /// Reads a cursor.
    #[must_use]
    pub fn parse(cursor: &str) -> Option<Self> {
        let (key, id) = cursor.rsplit_once('|')?;
        Some(Self {
            key: key.to_owned(),
            id: IntegrationId::parse(id)?,
        })
    }
}

impl std::fmt::Display for ListPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}|{}", self.key, self.id)
    }
}

impl serde::Serialize for ListPosition {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
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
    let cursor = f.text("cursor", 1, 512).and_then(|text| {
        let position = ListPosition::parse(&text);
        if position.is_none() {
            f.fault(
                "cursor",
                "is not a cursor; take next_cursor of the page before as it is, or none for the \
                 first page",
            );
        }
        position
    });
    IntegrationList {
        q: f.text("q", 1, 255),
        category: f.choice("integration_category"),
        platform: f.choice("platform_name"),
        status: f.choice("status"),
        enabled: f.has("enabled").then(|| f.boolean("enabled", true)),
        sort_by,
        ascending: order == Some("asc"),
        limit: f.integer("limit", 1..=100).unwrap_or(20),
        cursor,
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

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::contract::Faults;

    fn listed(cursor: &str) -> Result<IntegrationList, Faults> {
        let mut faults = Faults::new();
        let data = Map::from_iter([("cursor".to_owned(), Value::from(cursor))]);
        let mut fields = Fields::new(data, &mut faults);
        let read = list(&mut fields);
        fields.finish();
        if faults.is_empty() {
            Ok(read)
        } else {
            Err(faults)
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_place_and_a_mangled_one_is_refused() {
        let end = ListPosition {
            key: "Jira | EU".into(),
            id: IntegrationId::new(uuid::Uuid::from_u128(7)),
        };
        let cursor = json!(end);
        let read = listed(cursor.as_str().unwrap()).unwrap();
        assert_eq!(read.cursor, Some(end));

        for mangled in ["Jira", "Jira|", "|x", "' OR 1=1 --"] {
            let faults = listed(mangled).unwrap_err();
            assert!(
                faults["cursor"].starts_with("is not a cursor"),
                "{faults:?}"
            );
        }
    }
}
