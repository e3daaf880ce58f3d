//! A command in this process's hands, with everything dispatch needs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::integrations::Handle;
use super::lanes::lane_of_type;
use crate::contract::{Command, CommandType, Trace};
use crate::domain::{CommandId, IntegrationId, OrganizationId, TicketId, UserRef};
use crate::store::{AnalysisColumns, StoredTicket};

/// A command that this process runs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: CommandId,
    pub(super) command_type: StoredType,
    pub(super) organization_id: OrganizationId,
    pub(super) ticket_id: Option<TicketId>,
    pub(super) run: i32,
    pub(super) attempt: i32,
    pub(super) events: i32,
    pub(super) fencing_token: i32,
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
        self.command_type
            .known()
            .and_then(|known| lane_of_type(known, self.organization_id, self.integration_id))
            .or(self.integration_id.map(IntegrationId::uuid))
            .unwrap_or_default()
    }
}

/// The type of a stored command. A later version may have stored one that this version does not know.
#[derive(Debug, Clone)]
pub(super) enum StoredType {
    Known(CommandType),
    Unknown(Box<str>),
}

impl StoredType {
    pub(super) fn of(text: &str) -> Self {
        CommandType::parse(text).map_or_else(|| Self::Unknown(text.into()), Self::Known)
    }

    pub(super) const fn known(&self) -> Option<CommandType> {
        match self {
            Self::Known(known) => Some(*known),
            Self::Unknown(_) => None,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => known.as_str(),
            Self::Unknown(text) => text,
        }
    }

    /// For the metrics, whose labels are a closed set.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Known(known) => known.as_str(),
            Self::Unknown(_) => "unknown",
        }
    }
}

impl std::fmt::Display for StoredType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
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
