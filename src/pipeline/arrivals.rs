//! A delivery as it was understood: a command ready to be stored, a question, or a rejection.

use std::time::Instant;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::core::Core;
use super::own;
use crate::broker::Delivery;
use crate::contract::{Command, Envelope, RawMessage, Rejection};
use crate::domain::IntegrationId;
use crate::secrets::{Binding, KeyRing, mask_members};
use crate::store::NewCommand;

/// A delivery, parsed once.
pub(super) struct Arrival {
    pub(super) delivery: Delivery,
    pub(super) at: Instant,
    pub(super) kind: Kind,
}

/// What it is.
pub(super) enum Kind {
    /// Changes something: goes into the ledger.
    Command(Box<(Envelope, NewCommand)>),
    /// A read or a dry run: is answered and leaves nothing.
    Asked(Box<Envelope>),
    /// Can never be a command.
    Rejected(Box<Rejection>),
}

impl Arrival {
    pub(super) fn read(core: &Core, delivery: Delivery, at: Instant) -> Self {
        let raw = RawMessage {
            routing_key: delivery.routing_key(),
            body: delivery.body(),
            content_type: delivery.content_type(),
            traceparent: delivery.header("traceparent"),
            tracestate: delivery.header("tracestate"),
            reply_to: delivery.reply_to(),
            correlation_id: delivery.correlation_id(),
        };
        let amqp = &core.config.amqp;
        let kind = match Envelope::parse(&raw, amqp.max_message_bytes, &amqp.prefix) {
            Ok(envelope) if envelope.dry_run || envelope.command.is_read() => {
                Kind::Asked(Box::new(envelope))
            }
            Ok(envelope) => Kind::Command(Box::new(command(core, envelope))),
            Err(rejection) => Kind::Rejected(rejection),
        };
        Self { delivery, at, kind }
    }

    /// The lane it will want, as far as the message tells; that of a change to a ticket is the ledger's to say.
    pub(super) fn lane(&self) -> Option<Uuid> {
        match &self.kind {
            Kind::Command(command) => command.1.integration_id.map(IntegrationId::uuid),
            Kind::Asked(_) | Kind::Rejected(_) => None,
        }
    }
}

/// A command as it is stored.
fn command(core: &Core, mut envelope: Envelope) -> (Envelope, NewCommand) {
    let (data, digest) = seal(&core.ring, &mut envelope);
    let row = NewCommand {
        id: envelope.id,
        command_type: envelope.command_type.as_str(),
        organization_id: envelope.organization_id,
        integration_id: envelope.command.integration_id(),
        ticket_id: envelope.command.ticket_id(envelope.id),
        creates: matches!(envelope.command, Command::TicketCreate(_)),
        digest,
        data,
        expires_at: envelope.expires_at,
        traceparent: envelope.trace.parent.clone(),
        tracestate: envelope.trace.state.clone(),
    };
    if matches!(envelope.command, Command::IntegrationCreate(_)) {
        // From here on the secrets exist only sealed, as they would after a restart.
        let mut faults = crate::contract::Faults::new();
        if let Ok(data) = serde_json::from_str(&row.data)
            && let Some(command) = Command::parse(envelope.command_type, data, &mut faults)
        {
            envelope.command = command;
        }
    }
    (envelope, row)
}

/// The data as it may be stored, and the digest that tells a repeat. Secrets are sealed in the one and only present as
/// keyed hashes in the other. Takes the data out of the envelope.
fn seal(ring: &KeyRing, envelope: &mut Envelope) -> (String, Vec<u8>) {
    let data = std::mem::take(&mut envelope.data);
    let digest_of = |data: &str| {
        Sha256::new()
            .chain_update(envelope.command_type.as_str())
            .chain_update([0])
            .chain_update(envelope.organization_id.uuid().as_bytes())
            .chain_update(data)
            .finalize()
            .to_vec()
    };
    let keyed = |plain: &str| {
        ring.keyed_hash(plain.as_bytes())
            .map_or_else(|| "unkeyed".into(), hex::encode)
    };
    match &envelope.command {
        Command::IntegrationCreate(_) => {
            let (stored, compared) = seal_members(ring, envelope, &data, keyed);
            (stored, digest_of(&compared))
        }
        // It fails, so its secrets are not needed any more; they are not kept.
        Command::Unwritten(_) => {
            let mut map: Map<String, Value> = serde_json::from_str(&data).unwrap_or_default();
            mask_members(&mut map);
            let masked = Value::Object(map).to_string();
            let digest = digest_of(&(masked.clone() + &keyed(&data)));
            (masked, digest)
        }
        Command::TicketCreate(_)
        | Command::TicketUpdate(_)
        | Command::TicketStatus(_)
        | Command::TicketAssign(_)
        | Command::TicketComment(_)
        | Command::IntegrationStatus(_)
        | Command::TicketGet(_)
        | Command::TicketSearch(_)
        | Command::IntegrationGet(_)
        | Command::IntegrationList(_)
        | Command::IntegrationTest(_) => {
            let digest = digest_of(&data);
            (data, digest)
        }
    }
}

/// An integration's data with its secrets sealed, and with them as keyed hashes.
fn seal_members(
    ring: &KeyRing,
    envelope: &Envelope,
    data: &str,
    keyed: impl Fn(&str) -> String,
) -> (String, String) {
    let plain: Map<String, Value> = serde_json::from_str(data).unwrap_or_default();
    let id = own::integration_id_of(envelope.id);
    let mut stored = plain.clone();
    let mut compared = plain.clone();
    for (field, column) in [
        ("credentials", "credentials_encrypted"),
        ("webhook_secret", "webhook_secret_encrypted"),
    ] {
        let Some(secret) = plain.get(field).filter(|value| !value.is_null()) else {
            continue;
        };
        let plain = secret.to_string();
        compared.insert(field.into(), Value::String(keyed(&plain)));
        if secret.as_object().is_some_and(Map::is_empty) {
            continue;
        }
        let binding = Binding {
            organization: envelope.organization_id,
            integration: id,
            column,
        };
        let sealed = ring.seal(&binding, plain.as_bytes());
        let value = match (sealed, field) {
            (Ok(sealed), "credentials") => json!({ own::SEALED: sealed }),
            (Ok(sealed), _) => Value::String(sealed),
            (Err(_), "credentials") => json!({ own::REFUSED: true }),
            (Err(_), _) => {
                stored.insert("credentials".into(), json!({ own::REFUSED: true }));
                Value::Null
            }
        };
        stored.insert(field.into(), value);
    }
    let text = |map: Map<String, Value>| Value::Object(map).to_string();
    (text(stored), text(compared))
}
