//! Events that are about an integration rather than about a command: its status, its health, its
//! circuit.

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::routing_key;
use crate::domain::{
    CommandId, IntegrationCategory, IntegrationId, OrganizationId, Platform, Transition,
};

/// Which integration an event is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// Its id.
    pub id: IntegrationId,
    /// The tenant.
    pub organization_id: Option<OrganizationId>,
    /// Its category.
    pub category: Option<IntegrationCategory>,
    /// Its platform.
    pub platform: Option<Platform>,
}

/// An event ready to be published.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Its id.
    pub id: Uuid,
    /// Where it is published.
    pub routing_key: String,
    /// The CloudEvent.
    pub body: String,
}

/// Builds an event about an integration; `command` is the one that caused it, if one did.
#[must_use]
pub fn notice(
    event_type: &str,
    subject: &Subject,
    command: Option<CommandId>,
    facts: Map<String, Value>,
) -> Notice {
    let id = Uuid::now_v7();
    let mut data = Map::from_iter([
        ("integration_id".to_owned(), json!(subject.id)),
        ("integration_category".to_owned(), json!(subject.category)),
        ("platform_name".to_owned(), json!(subject.platform)),
        // Not `command_id`: whoever follows a command by that waits for its outcome, which this is
        // not.
        ("caused_by".to_owned(), json!(command)),
    ]);
    data.extend(facts);
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "/ticketwire", "type": event_type,
        "time": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "datacontenttype": "application/json", "subject": subject.id, "data": data,
    });
    if let Some(organization) = subject.organization_id {
        event["organizationid"] = json!(organization);
    }
    Notice {
        id,
        routing_key: routing_key(event_type, subject.platform),
        body: event.to_string(),
    }
}

/// The events of a change of state: none, or one of the status, or of the health, or both.
#[must_use]
pub fn transition_notices(
    subject: &Subject,
    change: &Transition,
    reason: Option<&str>,
    error: Option<&str>,
    command: Option<CommandId>,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let (old, new) = (&change.old, &change.new);
    if change.changes_status() {
        let facts = json!({
            "event": change.event, "reason": reason,
            "old_status": old.status, "status": new.status,
            "old_enabled": old.enabled, "enabled": new.enabled, "parked": new.parked,
        });
        notices.push(notice(
            "integration.status.changed",
            subject,
            command,
            object(facts),
        ));
    }
    if change.changes_health() {
        let facts = json!({
            "event": change.event, "reason": reason, "error": error,
            "old_health_check_status": old.health, "health_check_status": new.health,
        });
        notices.push(notice(
            "integration.health.changed",
            subject,
            command,
            object(facts),
        ));
    }
    notices
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
