//! The commands that change an integration, but for `integration.update`: their data and how it is
//! read.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::Fields;
use super::fields::Extent;
use super::readers::{NOTE_MAX, base_url, clock, integration_id, labels, routing_rules};
use crate::domain::{
    AuthType, IntegrationCategory, IntegrationId, Platform, Priority, TicketCategory,
    WebhookAction, shown,
};

/// `integration.create`. Credentials are sealed before anything of it is stored.
#[derive(Clone, PartialEq)]
pub struct IntegrationCreate {
    /// Display name, at most 255 characters.
    pub name: String,
    /// Which platform.
    pub platform: Platform,
    /// How to authenticate.
    pub auth_type: AuthType,
    /// As sent, or as sealed text under the one member `sealed`.
    pub credentials: Map<String, Value>,
    /// What is not secret.
    pub settings: Map<String, Value>,
    /// API base.
    pub base_url: Option<String>,
    /// API version.
    pub api_version: Option<String>,
    /// Default true.
    pub enabled: bool,
    /// Free text.
    pub description: Option<String>,
    /// OAuth scopes.
    pub oauth_scopes: Option<Vec<String>>,
    /// An object or a list, as stored by the legacy application.
    pub routing_rules: Option<Value>,
    /// 1–1000, lower is preferred.
    pub default_priority: i32,
    /// Empty means all.
    pub supports_categories: Option<Vec<String>>,
    /// Empty means all.
    pub supports_priorities: Option<Vec<String>>,
    /// Department → team or queue.
    pub department_mapping: Option<Map<String, Value>>,
    /// Our field → theirs.
    pub custom_fields_mapping: Option<Map<String, Value>>,
    /// For inbound webhooks; sealed before it is stored.
    pub webhook_secret: Option<String>,
    /// `None` and 0: no limit.
    pub rate_limit_per_hour: Option<i32>,
    /// Default false.
    pub sync_enabled: bool,
    /// Default 60.
    pub sync_frequency_minutes: i32,
    /// `HH:MM` UTC.
    pub maintenance_window_start: Option<String>,
    /// `HH:MM` UTC.
    pub maintenance_window_end: Option<String>,
    /// Default false.
    pub auto_disable_on_error: bool,
    /// Default 5.
    pub failure_threshold: i32,
    /// When the credentials expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// Names of events.
    pub notification_events: Option<Vec<String>>,
    /// Where to.
    pub notification_channels: Option<Map<String, Value>>,
    /// Default `production`.
    pub environment: String,
    /// Free text.
    pub region: Option<String>,
}

impl std::fmt::Debug for IntegrationCreate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Credentials may still be open here.
        f.debug_struct("IntegrationCreate")
            .field("name", &self.name)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// `integration.status`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationSetEnabled {
    /// Which.
    pub integration_id: IntegrationId,
    /// On or off.
    pub enabled: bool,
    /// Why.
    pub reason: Option<String>,
}

/// `integration.sync`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationSync {
    /// Which.
    pub integration_id: IntegrationId,
    /// Everything, not only what changed since the last one.
    pub full: bool,
    /// Whether ours is to be sent out, too: it goes out by commands, so this is refused.
    pub outbound: bool,
    /// Look only: nothing is written.
    pub dry_run: bool,
}

/// `integration.webhook`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationWebhook {
    /// Which.
    pub integration_id: IntegrationId,
    /// What is to be done.
    pub action: WebhookAction,
}

/// `integration.test`
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationTest {
    /// Which.
    pub integration_id: IntegrationId,
    /// What to try, in this order. Default [`IntegrationTest::USUAL`].
    pub test_types: Vec<String>,
    /// Activate a pending or failed integration when all passed.
    pub auto_activate_on_success: bool,
}

impl IntegrationTest {
    /// What is tried where nothing is named: that a ticket could be made.
    pub const USUAL: [&str; 3] = ["connection", "authentication", "permissions"];
}

pub(super) fn create(f: &mut Fields<'_>) -> IntegrationCreate {
    let name = f.required_visible("name", 255);
    let platform: Option<Platform> = f.required_choice("platform_name");
    let category: Option<IntegrationCategory> = f.choice("integration_category");
    if let (Some(platform), Some(category)) = (platform, category)
        && platform.category() != category
    {
        f.fault(
            "integration_category",
            format!("must be {} for {platform}", platform.category()),
        );
    }
    let auth_type = f.choice("auth_type").unwrap_or(AuthType::ApiKey);
    f.require(
        "credentials",
        "an object; `ticketwire platforms NAME` lists its members",
    );
    let credentials = f.object("credentials").unwrap_or_default();
    let base_url = base_url(f);
    let routing_rules = routing_rules(f);
    let expires_at = f.moment("expires_at");
    let environment = f
        .text("environment", 1, 50)
        .unwrap_or_else(|| "production".into());
    let (start, end) = (
        clock(f, "maintenance_window_start"),
        clock(f, "maintenance_window_end"),
    );
    if start.is_some() != end.is_some() {
        let missing = if start.is_some() {
            "maintenance_window_end"
        } else {
            "maintenance_window_start"
        };
        f.fault(
            missing,
            "is required, as the other end of the window is given",
        );
    }
    IntegrationCreate {
        name,
        platform: platform.unwrap_or(Platform::Webhook),
        auth_type,
        credentials,
        settings: f
            .object_of("settings", Extent::INTEGRATION)
            .unwrap_or_default(),
        base_url,
        api_version: f.text("api_version", 1, 20),
        enabled: f.boolean("enabled", true),
        description: f.text("description", 0, NOTE_MAX),
        oauth_scopes: f.texts("oauth_scopes", 100, 255),
        routing_rules,
        default_priority: f.integer("default_priority", 1..=1000).unwrap_or(100),
        supports_categories: labels::<TicketCategory>(f, "supports_categories"),
        supports_priorities: labels::<Priority>(f, "supports_priorities"),
        department_mapping: f.object_of("department_mapping", Extent::INTEGRATION),
        custom_fields_mapping: f.object_of("custom_fields_mapping", Extent::INTEGRATION),
        webhook_secret: f.text("webhook_secret", 1, 4096),
        rate_limit_per_hour: f.integer("rate_limit_per_hour", 0..=i32::MAX),
        sync_enabled: f.boolean("sync_enabled", false),
        sync_frequency_minutes: f
            .integer("sync_frequency_minutes", 1..=525_600)
            .unwrap_or(60),
        maintenance_window_start: start,
        maintenance_window_end: end,
        auto_disable_on_error: f.boolean("auto_disable_on_error", false),
        failure_threshold: f.integer("failure_threshold", 1..=1_000_000).unwrap_or(5),
        expires_at,
        notification_events: f.texts("notification_events", 100, 255),
        notification_channels: f.object_of("notification_channels", Extent::INTEGRATION),
        environment,
        region: f.text("region", 1, 50),
    }
}

pub(super) fn set_enabled(f: &mut Fields<'_>) -> IntegrationSetEnabled {
    let integration_id = integration_id(f);
    f.require("enabled", "true or false");
    IntegrationSetEnabled {
        integration_id,
        enabled: f.boolean("enabled", false),
        reason: f.text("reason", 1, 1000),
    }
}

pub(super) fn sync(f: &mut Fields<'_>) -> IntegrationSync {
    let sync_type = f.word("sync_type", &["incremental", "full"]);
    let direction = f.word("direction", &["inbound", "outbound", "bidirectional"]);
    IntegrationSync {
        integration_id: integration_id(f),
        full: sync_type == Some("full"),
        outbound: direction.is_some_and(|direction| direction != "inbound"),
        dry_run: f.boolean("dry_run", false),
    }
}

pub(super) fn webhook(f: &mut Fields<'_>) -> IntegrationWebhook {
    IntegrationWebhook {
        integration_id: integration_id(f),
        // Without one the command is refused, whatever stands here.
        action: f.required_choice("action").unwrap_or(WebhookAction::Check),
    }
}

pub(super) fn test(f: &mut Fields<'_>) -> IntegrationTest {
    const KNOWN: [&str; 4] = [
        "connection",
        "authentication",
        "permissions",
        "create_ticket",
    ];
    let test_types = f
        .texts("test_types", 4, 32)
        .unwrap_or_else(|| IntegrationTest::USUAL.map(str::to_owned).to_vec());
    if test_types.is_empty() {
        f.fault("test_types", "must name at least one test");
    }
    if let Some(unknown) = test_types
        .iter()
        .find(|name| !KNOWN.contains(&name.as_str()))
    {
        f.fault(
            "test_types",
            format!(
                "has {:?}, which is none of {}",
                shown(unknown),
                KNOWN.join(", ")
            ),
        );
    }
    f.object("test_data");
    IntegrationTest {
        integration_id: integration_id(f),
        test_types,
        auto_activate_on_success: f.boolean("auto_activate_on_success", true),
    }
}
