//! An integration as the worker needs it: who may use it, whether it takes work, how to reach its
//! platform.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{IntegrationCategory, IntegrationId, OrganizationId, Platform, wire_enum};

wire_enum! {
    /// What becomes of a command of unknown outcome that nothing keeps from happening twice.
    OnUnknown {
        Fail = "fail",
        Retry = "retry",
    }
}

wire_enum! {
    /// Connection state, spelled as in the database. Only `active` (and enabled, and unexpired)
    /// takes work.
    IntegrationStatus {
        Active = "active",
        Inactive = "inactive",
        Pending = "pending",
        Error = "error",
        Expired = "expired",
        Suspended = "suspended",
    }
}

wire_enum! {
    /// How a platform is authenticated to. Which ones a platform takes is in its descriptor.
    AuthType {
        ApiKey = "api_key",
        Oauth2 = "oauth2",
        Basic = "basic",
        Bearer = "bearer",
        Custom = "custom",
    }
}

wire_enum! {
    /// The result of the last health check.
    HealthStatus {
        Healthy = "healthy",
        Unhealthy = "unhealthy",
        Unknown = "unknown",
    }
}

wire_enum! {
    /// How a webhook that is registered with a platform was when it was last looked at.
    WebhookState {
        /// The platform may give its secret right now.
        Awaiting = "awaiting",
        /// It delivers.
        Active = "active",
        /// Its deliveries fail, or nobody knows whether it is registered.
        Failing = "failing",
        /// It was switched off.
        Disabled = "disabled",
        /// The platform has it no longer.
        Gone = "gone",
    }
}

wire_enum! {
    /// What can be done to an integration's webhook.
    WebhookAction {
        /// There is one with the right address; it is made where there is none.
        Register = "register",
        /// Looks how it does, and lets it live longer where that is due.
        Check = "check",
        /// Makes a new one with a secret of its own, then removes the old.
        Rotate = "rotate",
        /// Removes it.
        Remove = "remove",
        /// Has deliveries that failed sent again.
        Redeliver = "redeliver",
    }
}

/// One integration as it stands in the database. Credentials are still sealed here.
#[derive(Debug, Clone)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Its tenant; rows of the legacy application may have none, and such an integration takes no
    /// work.
    pub organization_id: Option<OrganizationId>,
    /// Display name.
    pub name: String,
    /// The platform; `None` when the database holds a name that no adapter knows.
    pub platform: Option<Platform>,
    /// What the database says, for messages.
    pub platform_name: String,
    /// Category as stored.
    pub category: Option<IntegrationCategory>,
    /// Whether an operator wants it to work.
    pub enabled: bool,
    /// Connection state.
    pub status: IntegrationStatus,
    /// How to authenticate.
    pub auth_type: AuthType,
    /// API base, without a trailing slash.
    pub base_url: Option<String>,
    /// Overrides the API version an adapter would choose.
    pub api_version: Option<String>,
    /// What is not secret: project, channel, list.
    pub settings: Map<String, Value>,
    /// The sealed credentials, as stored.
    pub credentials_sealed: Option<String>,
    /// The sealed webhook secret, as stored.
    pub webhook_secret_sealed: Option<String>,
    /// After this moment it takes no work.
    pub expires_at: Option<DateTime<Utc>>,
    /// Ticket categories it handles; empty means all.
    pub supports_categories: Vec<String>,
    /// Ticket priorities it handles; empty means all.
    pub supports_priorities: Vec<String>,
    /// Department of ours → team or queue of theirs.
    pub department_mapping: Map<String, Value>,
    /// Field of ours → field of theirs.
    pub custom_fields_mapping: Map<String, Value>,
    /// Start of the daily maintenance window, `HH:MM` UTC.
    pub maintenance_window_start: Option<String>,
    /// End of the daily maintenance window, `HH:MM` UTC.
    pub maintenance_window_end: Option<String>,
    /// Ranks it among those that could take a ticket; lower is preferred.
    pub default_priority: i32,
    /// Adjusts that, see [`super::routing`].
    pub routing_rules: std::sync::Arc<super::routing::Rules>,
    /// What the last check said.
    pub health: HealthStatus,
    /// Since when its commands wait for its credential to be mended.
    pub parked_at: Option<DateTime<Utc>>,
    /// Goes to `error` after too many failures in a row.
    pub auto_disable_on_error: bool,
    /// How many are too many.
    pub failure_threshold: i32,
    /// When changes on its platform were last read.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// Requests an hour over all workers; `None` and 0 mean no limit.
    pub rate_limit_per_hour: Option<u32>,
}

impl Integration {
    /// Whether its credentials have expired by then.
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }

    /// What becomes of a command of unknown outcome that nothing keeps from happening twice.
    #[must_use]
    pub fn on_unknown(&self) -> OnUnknown {
        let said = self.settings.get("on_unknown").and_then(Value::as_str);
        said.and_then(OnUnknown::parse).unwrap_or(OnUnknown::Fail)
    }

    /// Whether a ticket is closed whose item was deleted on the platform
    /// (`settings.on_external_delete`, default keep).
    #[must_use]
    pub fn closes_deleted(&self) -> bool {
        self.settings
            .get("on_external_delete")
            .and_then(Value::as_str)
            == Some("close")
    }

    /// Whether a refused credential is waited for, rather than failing its commands.
    #[must_use]
    pub fn parks(&self) -> bool {
        self.settings.get("on_auth_failure").and_then(Value::as_str) == Some("park")
    }
}
