//! What follows when an integration fails again and again: its circuit opens, and with
//! `auto_disable_on_error` it goes to `error` in the end, after two warnings.

use std::sync::Arc;

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use crate::contract::{Notice, Subject, notice};
use crate::domain::{IntegrationId, LifeEvent};
use crate::pipeline::context::Core;
use crate::store::{CircuitChange, OutboxRow, StateChange, StateChanged, chain};

/// Of `failure_threshold`, in percent.
const WARNINGS: [i32; 2] = [50, 80];

/// Tells the world what changed, and changes the integration's state where that follows.
pub(in crate::pipeline) async fn follow(core: &Arc<Core>, change: &CircuitChange) {
    if let Some(open) = change.open {
        circuit(core, change.integration_id, open).await;
    }
    if let Some(paused) = change.paused {
        rate_limit(core, change, paused).await;
    }
    let (before, now) = change.errors;
    let Some(limit) = change.limit.filter(|_| now > before) else {
        return;
    };
    if now >= limit {
        too_many(core, change.integration_id, now, limit).await;
        return;
    }
    for percent in WARNINGS {
        // Rounded up: of five, half is three.
        let at = (limit * percent + 99) / 100;
        if before < at && at <= now {
            let facts = json!({
                "failures": now, "failure_threshold": limit, "percent": percent,
                "message": format!("{now} failures in a row; at {limit} the integration goes to \
                                    error"),
            });
            tracing::warn!(integration_id = %change.integration_id, failures = now, limit,
                "an integration fails again and again");
            announce(
                core,
                change.integration_id,
                "integration.failures.warning",
                facts,
            )
            .await;
        }
    }
}

async fn circuit(core: &Arc<Core>, id: IntegrationId, open: bool) {
    let state = if open { "opened" } else { "closed" };
    if open {
        tracing::warn!(integration_id = %id, "circuit opened: its platform fails; commands wait");
    } else {
        tracing::info!(integration_id = %id, "circuit closed: its platform answers again");
    }
    let facts = json!({
        "state": state,
        "failure_threshold": core.config.circuit.failure_threshold,
        "open_for_ms": u64::try_from(core.config.circuit.open_for.as_millis()).unwrap_or(u64::MAX),
    });
    announce(core, id, &format!("integration.circuit.{state}"), facts).await;
}

async fn rate_limit(core: &Arc<Core>, change: &CircuitChange, paused: bool) {
    let id = change.integration_id;
    let (state, message) = if paused {
        tracing::warn!(integration_id = %id,
            "paused: its platform refuses by budget; commands wait");
        let text = "the platform's rate limit is reached; the integration's commands wait";
        ("reached", text)
    } else {
        tracing::info!(integration_id = %id, "goes on: its platform takes requests again");
        ("reset", "the platform takes requests again")
    };
    let facts = json!({
        "state": state, "message": message,
        "paused_until": change.paused_until.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis,
            true)),
    });
    announce(core, id, &format!("integration.rate_limit.{state}"), facts).await;
}

async fn too_many(core: &Arc<Core>, id: IntegrationId, failures: i32, limit: i32) {
    let reason = format!("{failures} failures in a row reached failure_threshold {limit}");
    let change = StateChange {
        reason: Some(reason),
        ..StateChange::of(id, LifeEvent::TooManyFailures)
    };
    change_state_now(core, &change).await;
}

/// Makes a change that no command asked for; what fails here is tried again by whatever saw the
/// reason.
pub(in crate::pipeline) async fn change_state_now(core: &Arc<Core>, change: &StateChange) {
    match core.store.change_state(change, Some(core.me.id)).await {
        Ok(StateChanged::Done(rows)) => core.relay.offer(rows),
        Ok(StateChanged::Gone | StateChanged::Moved) => {}
        Err(error) => tracing::warn!(
            integration_id = %change.id, error = chain(&error),
            "could not change an integration's state"
        ),
    }
}

async fn announce(core: &Arc<Core>, id: IntegrationId, event_type: &str, facts: Value) {
    let loaded = core
        .store
        .integrations(&[id.uuid()])
        .await
        .unwrap_or_default();
    let row = loaded.first().map(|loaded| &loaded.integration);
    let subject = Subject {
        id,
        organization_id: row.and_then(|row| row.organization_id),
        category: row.and_then(|row| row.category),
        platform: row.and_then(|row| row.platform),
    };
    let facts = match facts {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let told: Notice = notice(event_type, &subject, None, facts);
    let event = OutboxRow::from(told);
    match core
        .store
        .add_events(std::slice::from_ref(&event), core.me.id)
        .await
    {
        Ok(()) => core.relay.offer(vec![event]),
        Err(error) => tracing::warn!(
            error = chain(&error),
            "could not announce a change of an integration"
        ),
    }
}
