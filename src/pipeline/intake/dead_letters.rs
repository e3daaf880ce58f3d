//! What can never be a command: kept as dead letters and told about, and the broker's own dead
//! letters drained.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::broker::{Consumer, Delivery};
use crate::config::Config;
use crate::contract::{Rejection, attribute_of, rejected_event, structured};
use crate::domain::CommandId;
use crate::pipeline::clock;
use crate::pipeline::context::Core;
use crate::pipeline::intake::kept;
use crate::pipeline::intake::parse::raw_of;
use crate::pipeline::intake::until_durable;
use crate::store::{DeadLetter, OutboxKey, OutboxRow, StoreError};

/// Keeps rejected messages and tells about them, in this order: an event without its row would
/// explain nothing.
pub(in crate::pipeline) async fn dead_letter(
    core: &Core,
    letters: &[(&Rejection, DeadLetter)],
) -> Result<(), StoreError> {
    let rows: Vec<DeadLetter> = letters.iter().map(|(_, letter)| letter.clone()).collect();
    core.store.insert_dead_letters(&rows).await?;
    let now = clock::now();
    let mut events = Vec::new();
    for (rejection, _) in letters {
        tracing::info!(
            command_id = rejection.command_id.map(|id| id.to_string()),
            error_code = %rejection.failure.code,
            fields = rejection.failure.fields.keys().cloned().collect::<Vec<_>>().join(","),
            "rejected a message"
        );
        let event = rejected_event(rejection, now);
        let body: Arc<str> = event.to_json().into();
        let row = |target: &str, correlation: &str, key: String| OutboxRow {
            key: OutboxKey {
                command_id: event.id,
                number: 0,
                target: target.to_owned(),
                correlation_id: correlation.to_owned(),
            },
            routing_key: key,
            body: Arc::clone(&body),
        };
        events.push(row("", "", event.routing_key()));
        if let Some(reply_to) = &rejection.reply_to {
            events.push(row(
                reply_to,
                rejection.correlation_id.as_deref().unwrap_or_default(),
                reply_to.clone(),
            ));
        }
    }
    core.store.add_events(&events, core.me.id).await?;
    core.relay.offer(events);
    Ok(())
}

pub(in crate::pipeline) fn of_delivery(
    rejection: &Rejection,
    delivery: &Delivery,
    config: &Config,
) -> DeadLetter {
    let prefix = &config.amqp.prefix;
    let attributes = delivery.named_headers(attribute_of);
    let raw = raw_of(delivery, &attributes);
    let body = structured(&raw, config.message_bytes_max(delivery.routing_key()));
    let reason = rejection.failure.code.as_str();
    DeadLetter {
        reason: reason.to_owned(),
        message: rejection.failure.message.clone(),
        command_id: rejection.command_id,
        organization_id: rejection.organization_id,
        origin: Some("the worker".into()),
        routing_key: kept::name(delivery.routing_key(), prefix),
        headers: kept::headers(delivery.headers_json(), prefix),
        content_type: delivery.content_type().map(|text| kept::name(text, prefix)),
        payload: payload_of(delivery, &body),
        fingerprint: DeadLetter::fingerprint(reason, delivery.routing_key(), &raw.whole()),
    }
}

fn payload_of(delivery: &Delivery, body: &[u8]) -> String {
    match delivery.oversize() {
        Some(over) => kept::beginning(delivery.body(), over.bytes, &over.sha256),
        None => kept::payload(body),
    }
}

/// Drains the broker's dead letters into the ledger: unroutable, expired, over the delivery limit.
/// Never requeues; while Postgres is away it waits with what it has in hand.
pub async fn run_dead_letters(
    core: Arc<Core>,
    consumer: Arc<Consumer>,
    mut deliveries: mpsc::Receiver<Delivery>,
) {
    let mut batch = Vec::new();
    while deliveries.recv_many(&mut batch, 100).await > 0 {
        let letters: Vec<DeadLetter> = batch
            .iter()
            .map(|delivery| broker_dead_letter(delivery, &core.config))
            .collect();
        until_durable(&core, || core.store.insert_dead_letters(&letters)).await;
        consumer.ack(&batch);
        batch.clear();
    }
}

fn broker_dead_letter(delivery: &Delivery, config: &Config) -> DeadLetter {
    let prefix = &config.amqp.prefix;
    // A producer may have written that header itself.
    let name = |text: String| kept::name(&text, prefix);
    let death = delivery.death();
    let death = death.map(|(reason, queue)| (name(reason), name(queue)));
    let (reason, message, origin) = match death {
        Some((reason, queue)) if reason == "expired" => (
            "expired".to_owned(),
            "its per-message expiration passed while it waited; use expirytime instead".to_owned(),
            Some(queue),
        ),
        Some((reason, queue)) => (
            reason.clone(),
            format!("the broker gave the message up: {reason}"),
            Some(queue),
        ),
        None => (
            "unroutable".to_owned(),
            "no queue takes this routing key; it must be a command type, e.g. ticket.create"
                .to_owned(),
            None,
        ),
    };
    let attributes = delivery.named_headers(attribute_of);
    let raw = raw_of(delivery, &attributes);
    let body = structured(&raw, config.message_bytes_max(delivery.routing_key()));
    let parsed: Option<Value> = serde_json::from_slice(&body).ok();
    let uuid = |name: &str| {
        parsed
            .as_ref()
            .and_then(|value| value.get(name))
            .and_then(Value::as_str)
            .and_then(|t| Uuid::parse_str(t).ok())
    };
    DeadLetter {
        message,
        command_id: uuid("id").map(CommandId::new),
        organization_id: uuid("organizationid").map(crate::domain::OrganizationId::new),
        origin,
        routing_key: name(delivery.routing_key().to_owned()),
        headers: kept::headers(delivery.headers_json(), prefix),
        content_type: delivery.content_type().map(|text| name(text.to_owned())),
        payload: payload_of(delivery, &body),
        fingerprint: DeadLetter::fingerprint(&reason, delivery.routing_key(), &raw.whole()),
        reason,
    }
}
