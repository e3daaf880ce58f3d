//! `integration.update`: what is mentioned changes, null unsets what may be unset, everything else
//! stays.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::Fields;
use super::fields::Extent;
use super::readers::{NOTE_MAX, base_url, clock, integration_id, labels, routing_rules};
use crate::domain::{AuthType, IntegrationCategory, IntegrationId, Priority, TicketCategory};

/// `integration.update`. Credentials are sealed before anything of it is stored.
#[derive(Clone, PartialEq)]
pub struct IntegrationUpdate {
    /// Which.
    pub integration_id: IntegrationId,
    /// New name.
    pub name: Option<String>,
    /// Must fit the platform, which cannot be changed.
    pub category: Option<IntegrationCategory>,
    /// New way to authenticate.
    pub auth_type: Option<AuthType>,
    /// All of them, in place of the old ones; as sent, or sealed.
    pub credentials: Option<Map<String, Value>>,
    /// Merged into the old ones; null removes a member.
    pub settings: Option<Map<String, Value>>,
    /// On or off.
    pub enabled: Option<bool>,
    /// New webhook secret; sealed before it is stored.
    pub webhook_secret: Option<Option<String>>,
    /// When the credentials expire.
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// API base.
    pub base_url: Option<Option<String>>,
    /// Columns that are set as they are.
    pub plain: PlainChanges,
}

/// Changes that need no more thought than to be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlainChanges {
    /// API version.
    pub api_version: Option<Option<String>>,
    /// Free text.
    pub description: Option<Option<String>>,
    /// OAuth scopes.
    pub oauth_scopes: Option<Option<Vec<String>>>,
    /// An object or a list.
    pub routing_rules: Option<Option<Value>>,
    /// 1–1000, lower is preferred.
    pub default_priority: Option<i32>,
    /// Empty means all.
    pub supports_categories: Option<Option<Vec<String>>>,
    /// Empty means all.
    pub supports_priorities: Option<Option<Vec<String>>>,
    /// Department → team or queue.
    pub department_mapping: Option<Option<Map<String, Value>>>,
    /// Our field → theirs.
    pub custom_fields_mapping: Option<Option<Map<String, Value>>>,
    /// `None` and 0: no limit.
    pub rate_limit_per_hour: Option<Option<i32>>,
    /// Whether it is synced on a schedule.
    pub sync_enabled: Option<bool>,
    /// How often.
    pub sync_frequency_minutes: Option<i32>,
    /// `HH:MM` UTC.
    pub maintenance_window_start: Option<Option<String>>,
    /// `HH:MM` UTC.
    pub maintenance_window_end: Option<Option<String>>,
    /// Whether it goes to `error` after too many failures.
    pub auto_disable_on_error: Option<bool>,
    /// How many are too many.
    pub failure_threshold: Option<i32>,
    /// Names of events.
    pub notification_events: Option<Option<Vec<String>>>,
    /// Where to.
    pub notification_channels: Option<Option<Map<String, Value>>>,
    /// Free text.
    pub environment: Option<String>,
    /// Free text.
    pub region: Option<Option<String>>,
}

impl std::fmt::Debug for IntegrationUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Credentials may still be open here.
        f.debug_struct("IntegrationUpdate")
            .field("integration_id", &self.integration_id)
            .finish_non_exhaustive()
    }
}

/// Reads the data.
pub(super) fn read(f: &mut Fields<'_>) -> IntegrationUpdate {
    const NOT_NULL: [&str; 10] = [
        "name",
        "auth_type",
        "credentials",
        "settings",
        "enabled",
        "default_priority",
        "sync_enabled",
        "sync_frequency_minutes",
        "auto_disable_on_error",
        "failure_threshold",
    ];
    for name in NOT_NULL {
        if f.mentions(name) && !f.has(name) {
            f.fault(name, "cannot be null; leave it out to keep it");
        }
    }
    if f.mentions("platform_name") {
        f.take("platform_name");
        f.fault(
            "platform_name",
            "cannot be changed; make another integration and delete this one",
        );
    }
    let (start, end) = (
        f.change("maintenance_window_start", |f| {
            clock(f, "maintenance_window_start")
        }),
        f.change("maintenance_window_end", |f| {
            clock(f, "maintenance_window_end")
        }),
    );
    let flag = |f: &mut Fields<'_>, name: &str| f.has(name).then(|| f.boolean(name, false));
    IntegrationUpdate {
        integration_id: integration_id(f),
        name: f.visible("name", 255),
        category: f.choice("integration_category"),
        auth_type: f.choice("auth_type"),
        credentials: f.object("credentials"),
        settings: f.object_of("settings", Extent::INTEGRATION),
        enabled: flag(f, "enabled"),
        webhook_secret: f.change("webhook_secret", |f| f.text("webhook_secret", 1, 4096)),
        expires_at: f.change("expires_at", |f| f.moment("expires_at")),
        base_url: f.change("base_url", base_url),
        plain: PlainChanges {
            api_version: f.change("api_version", |f| f.text("api_version", 1, 20)),
            description: f.change("description", |f| f.text("description", 0, NOTE_MAX)),
            oauth_scopes: f.change("oauth_scopes", |f| f.texts("oauth_scopes", 100, 255)),
            routing_rules: f.change("routing_rules", routing_rules),
            default_priority: f.integer("default_priority", 1..=1000),
            supports_categories: f.change("supports_categories", |f| {
                labels::<TicketCategory>(f, "supports_categories")
            }),
            supports_priorities: f.change("supports_priorities", |f| {
                labels::<Priority>(f, "supports_priorities")
            }),
            department_mapping: f.change("department_mapping", |f| {
                f.object_of("department_mapping", Extent::INTEGRATION)
            }),
            custom_fields_mapping: f.change("custom_fields_mapping", |f| {
                f.object_of("custom_fields_mapping", Extent::INTEGRATION)
            }),
            rate_limit_per_hour: f.change("rate_limit_per_hour", |f| {
                f.integer("rate_limit_per_hour", 0..=i32::MAX)
            }),
            sync_enabled: flag(f, "sync_enabled"),
            sync_frequency_minutes: f.integer("sync_frequency_minutes", 1..=525_600),
            maintenance_window_start: start,
            maintenance_window_end: end,
            auto_disable_on_error: flag(f, "auto_disable_on_error"),
            failure_threshold: f.integer("failure_threshold", 1..=1_000_000),
            notification_events: f.change("notification_events", |f| {
                f.texts("notification_events", 100, 255)
            }),
            notification_channels: f.change("notification_channels", |f| {
                f.object_of("notification_channels", Extent::INTEGRATION)
            }),
            environment: f.text("environment", 1, 50),
            region: f.change("region", |f| f.text("region", 1, 50)),
        },
    }
}
