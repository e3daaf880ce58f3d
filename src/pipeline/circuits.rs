//! Tells the world that a circuit opened or closed.

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use serde_json::json;
use uuid::Uuid;

use super::core::Core;
use crate::contract::routing_key;
use crate::store::{CircuitChange, OutboxKey, OutboxRow, chain};

pub(super) async fn announce(core: &Arc<Core>, change: &CircuitChange) {
    let id = change.integration_id;
    let state = if change.open { "opened" } else { "closed" };
    if change.open {
        tracing::warn!(integration_id = %id, "circuit opened: its platform fails; commands wait");
    } else {
        tracing::info!(integration_id = %id, "circuit closed: its platform answers again");
    }
    let loaded = core
        .store
        .integrations(&[id.uuid()])
        .await
        .unwrap_or_default();
    let row = loaded.first().map(|loaded| &loaded.integration);
    let platform = row.and_then(|row| row.platform);
    let event_type = format!("integration.circuit.{state}");
    let event_id = Uuid::now_v7();
    let body = json!({
        "specversion": "1.0", "id": event_id, "source": "/ticketwire", "type": event_type,
        "time": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "datacontenttype": "application/json", "subject": id,
        "organizationid": row.and_then(|row| row.organization_id),
        "data": {
            "integration_id": id, "integration_category": row.and_then(|row| row.category),
            "platform_name": platform, "state": state,
            "failure_threshold": core.config.circuit.failure_threshold,
            "open_for_ms": u64::try_from(core.config.circuit.open_for.as_millis()).unwrap_or(u64::MAX),
        },
    });
    let event = OutboxRow {
        key: OutboxKey {
            command_id: event_id,
            number: 0,
            target: String::new(),
            correlation_id: String::new(),
        },
        routing_key: routing_key(&event_type, platform),
        body: body.to_string(),
    };
    match core
        .store
        .add_events(std::slice::from_ref(&event), core.me.id)
        .await
    {
        Ok(()) => core.relay.offer(vec![event]),
        Err(error) => tracing::warn!(
            error = chain(&error),
            "could not announce a circuit's change"
        ),
    }
}
