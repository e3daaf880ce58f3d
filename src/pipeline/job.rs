//! A command in this process's hands, with everything dispatch needs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::contract::{Command, CommandType, Trace};
use crate::domain::{CommandId, IntegrationId, OrganizationId, TicketId, UserRef};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::lane::lane_of_type;
use crate::pipeline::progress::Progress;
use crate::store::{AnalysisColumns, StoredTicket};

/// A command that this process runs.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Job {
    pub(in crate::pipeline) id: CommandId,
    pub(in crate::pipeline) command_type: StoredType,
    pub(in crate::pipeline) organization_id: OrganizationId,
    pub(in crate::pipeline) ticket_id: Option<TicketId>,
    pub(in crate::pipeline) run: i32,
    pub(in crate::pipeline) attempt: i32,
    pub(in crate::pipeline) events: i32,
    pub(in crate::pipeline) fencing_token: i32,
    pub(in crate::pipeline) received_at: DateTime<Utc>,
    pub(in crate::pipeline) expires_at: Option<DateTime<Utc>>,
    pub(in crate::pipeline) doubt_since: Option<DateTime<Utc>>,
    pub(in crate::pipeline) lookups: i32,
    pub(in crate::pipeline) deaths: i32,
    pub(in crate::pipeline) trace: Trace,
    pub(in crate::pipeline) organization: Organization,
    pub(in crate::pipeline) command: Arc<Command>,
    /// The integration the enqueue resolved it to, by data or ticket.
    pub(in crate::pipeline) integration_id: Option<IntegrationId>,
    pub(in crate::pipeline) integration: Option<Arc<ConnectedIntegration>>,
    pub(in crate::pipeline) ticket: Option<Box<StoredTicket>>,
    /// People the data names, as far as `users` knows them.
    pub(in crate::pipeline) people: Vec<UserRef>,
    /// Whose child it is.
    pub(in crate::pipeline) parent: Option<CommandId>,
    /// What the analysis of a `ticket.ai_create` found: the command is then the create it made of
    /// it.
    pub(in crate::pipeline) analysis: Option<Box<Analysed>>,
    /// What earlier attempts made ready or got done.
    pub(in crate::pipeline) progress: Progress,
    /// Whether it comes back for a slot that was reserved for it.
    pub(in crate::pipeline) has_rate_slot: bool,
    /// Whether what came from a platform is read there again before it is decided on.
    pub(in crate::pipeline) reads_again: bool,
}

impl Job {
    /// Whose slots it takes, once its integration is read. What changes or tests an integration
    /// does not wait behind its tickets. One that names no integration of its organization takes
    /// nobody's, as in the ledger (`sql/enqueue.sql`).
    pub(in crate::pipeline) fn lane(&self) -> Uuid {
        let own = self.integration.as_ref().map(|handle| handle.row.id.uuid());
        self.command_type
            .known()
            .and_then(|known| lane_of_type(known, self.organization_id, self.integration_id))
            .or(own)
            .unwrap_or_default()
    }
}

/// The type of a stored command. A later version may have stored one that this version does not
/// know.
#[derive(Debug, Clone)]
pub(in crate::pipeline) enum StoredType {
    Known(CommandType),
    Unknown(Box<str>),
}

impl StoredType {
    pub(in crate::pipeline) fn of(text: &str) -> Self {
        CommandType::parse(text).map_or_else(|| Self::Unknown(text.into()), Self::Known)
    }

    pub(in crate::pipeline) const fn known(&self) -> Option<CommandType> {
        match self {
            Self::Known(known) => Some(*known),
            Self::Unknown(_) => None,
        }
    }

    pub(in crate::pipeline) fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => known.as_str(),
            Self::Unknown(text) => text,
        }
    }

    /// For the metrics, whose labels are a closed set.
    pub(in crate::pipeline) const fn label(&self) -> &'static str {
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
pub(in crate::pipeline) struct Analysed {
    pub(in crate::pipeline) shown: serde_json::Value,
    pub(in crate::pipeline) columns: AnalysisColumns,
}

/// What is known of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Organization {
    Missing,
    Disabled,
    Enabled,
}

impl Organization {
    pub(in crate::pipeline) const fn of(known: bool, enabled: bool) -> Self {
        match (known, enabled) {
            (false, _) => Self::Missing,
            (true, false) => Self::Disabled,
            (true, true) => Self::Enabled,
        }
    }
}
