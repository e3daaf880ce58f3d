//! `integration.route`: which integrations could handle a ticket.

use super::{Fields, commands};
use crate::domain::routing::Traits;
use crate::domain::{Priority, TicketCategory, TicketId};

/// `integration.route`
#[derive(Debug, Clone, PartialEq)]
pub struct RouteQuery {
    /// A ticket that exists; else `traits`.
    pub ticket_id: Option<TicketId>,
    /// What the ticket would be like.
    pub traits: Traits,
}

/// Reads the data: `ticket` or `ticket_id`.
pub(super) fn read(f: &mut Fields<'_>) -> RouteQuery {
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
        description: f
            .text("description", 0, commands::TEXT_MAX)
            .unwrap_or_default(),
        category: commands::category(f).unwrap_or(TicketCategory::General),
        priority: commands::priority(f, "priority").unwrap_or(Priority::Medium),
        urgency: commands::priority(f, "urgency").unwrap_or(Priority::Medium),
        department: f.text("department", 1, 100),
        tags: f.texts("tags", 50, 100).unwrap_or_default(),
        custom_fields: f.object("custom_fields").unwrap_or_default(),
    }
}
