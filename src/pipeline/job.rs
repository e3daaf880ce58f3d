//! A command in this process's hands, with everything dispatch needs, and how it comes out.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::integrations::Handle;
use super::lanes::lane_of_type;
use crate::contract::{Command, CommandType, Trace};
use crate::domain::{CommandId, IntegrationId, OrganizationId, TicketId, UserRef};
use crate::store::{
    AnalysisColumns, CircuitTally, OwnEffect, Settlement, StoredTicket, UsageTally,
};

/// A command that this process runs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: CommandId,
    pub(super) command_type: CommandType,
    pub(super) organization_id: OrganizationId,
    pub(super) ticket_id: Option<TicketId>,
    pub(super) run: i32,
    pub(super) attempt: i32,
    pub(super) events: i32,
    pub(super) take: i32,
    pub(super) received_at: DateTime<Utc>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) doubt_since: Option<DateTime<Utc>>,
    pub(super) lookups: i32,
    pub(super) deaths: i32,
    pub(super) trace: Trace,
    pub(super) organization: Organization,
    pub(super) command: Arc<Command>,
    /// The integration the claim resolved it to, by data or ticket.
    pub(super) integration_id: Option<IntegrationId>,
    pub(super) integration: Option<Arc<Handle>>,
    pub(super) ticket: Option<Box<StoredTicket>>,
    /// People the data names, as far as `users` knows them.
    pub(super) people: Vec<UserRef>,
    /// Whose child it is.
    pub(super) parent: Option<CommandId>,
    /// What the analysis of a `ticket.ai_create` found: the command is then the create it made of it.
    pub(super) analysis: Option<Box<Analysed>>,
    /// What an earlier attempt made ready.
    pub(super) prepared: Option<String>,
    /// Whether it comes back for a place that was reserved for it.
    pub(super) has_place: bool,
}

impl Job {
    /// Whose slots it takes. What changes or tests an integration does not wait behind its tickets.
    pub(super) fn lane(&self) -> Uuid {
        lane_of_type(self.command_type, self.organization_id, self.integration_id)
            .or(self.integration_id.map(IntegrationId::uuid))
            .unwrap_or_default()
    }
}

/// What an analysis found, for the event and for the ticket's row.
#[derive(Debug, Clone)]
pub(super) struct Analysed {
    pub(super) shown: serde_json::Value,
    pub(super) columns: AnalysisColumns,
}

/// What is known of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Organization {
    Missing,
    Disabled,
    Enabled,
}

impl Organization {
    pub(super) const fn of(known: bool, enabled: bool) -> Self {
        match (known, enabled) {
            (false, _) => Self::Missing,
            (true, false) => Self::Disabled,
            (true, true) => Self::Enabled,
        }
    }
}

/// A job that is done with, on its way to be settled.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) settlement: Settlement,
    pub(super) usage: Option<(IntegrationId, UsageTally)>,
    pub(super) circuit: Option<(IntegrationId, CircuitTally)>,
    pub(super) effect: Option<OwnEffect>,
    /// What is settled instead where the database refuses the effect: a success without it would be a lie.
    pub(super) instead: Option<Box<Settlement>>,
    /// What is settled instead where the effect was decided on something that has changed since: it runs again.
    pub(super) again: Option<Box<Settlement>>,
}
