//! A delivery as it was understood: a command ready to be stored, a question, or a rejection.

use std::time::Instant;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::broker::Delivery;
use crate::contract::{
    AdminCommand, Command, Envelope, Headers, RawMessage, Rejection, Replies, WebhookReceived,
    attribute_of,
};
use crate::domain::IntegrationId;
use crate::inbound::seal::{Delivered, is_sealed};
use crate::pipeline::context::Core;
use crate::pipeline::lane::lane_of_type;
use crate::platforms;
use crate::secrets::{Binding, KeyRing, NOT_STORED_MEMBER, SEALED_MEMBER, mask_members};
use crate::store::NewCommand;

/// What the sealed headers of a delivery are bound to.
pub(in crate::pipeline) const HOOK_HEADERS: &str = "headers";

/// The query among them, under a name that no header can have.
pub(in crate::pipeline) const HOOK_QUERY: &str = ":query";

/// A delivery, parsed once.
pub(in crate::pipeline) struct Arrival {
    pub(in crate::pipeline) delivery: Delivery,
    pub(in crate::pipeline) at: Instant,
    pub(in crate::pipeline) kind: Kind,
    /// It names an integration of another organization.
    is_foreign: bool,
}

/// What it is.
pub(in crate::pipeline) enum Kind {
    /// Changes something: goes into the ledger.
    Command(Box<(Envelope, NewCommand)>),
    /// A read or a dry run: is answered and leaves nothing.
    Asked(Box<Envelope>),
    /// Can never be a command.
    Rejected(Box<Rejection>),
}

impl Arrival {
    pub(in crate::pipeline) fn read(core: &Core, delivery: Delivery, at: Instant) -> Self {
        let attributes = delivery.named_headers(attribute_of);
        let raw = raw_of(&delivery, &attributes);
        let amqp = &core.config.amqp;
        let replies = Replies {
            own_prefix: &amqp.prefix,
            allowed: core.config.producers.reply_to(),
        };
        let bytes_max = core.config.message_bytes_max(delivery.routing_key());
        let parsed = Envelope::parse(&raw, bytes_max, &replies).and_then(|envelope| {
            // Our own listener is no producer, and has no name at the broker.
            if let Command::Inbound(hook) = &envelope.command
                && is_vouched(&core.ring, hook)
            {
                return Ok(envelope);
            }
            let (organization, kind) = (envelope.organization_id.uuid(), envelope.command_type);
            match core
                .config
                .producers
                .check(delivery.user_id(), organization, kind.as_str())
            {
                Ok(()) => Ok(envelope),
                Err(fault) => Err(Box::new(envelope.into_forbidden(&fault, &raw.whole()))),
            }
        });
        let kind = match parsed {
            Ok(envelope) if envelope.dry_run || envelope.command.is_read() => {
                Kind::Asked(Box::new(envelope))
            }
            Ok(envelope) => Kind::Command(Box::new(command(core, envelope))),
            Err(rejection) => Kind::Rejected(rejection),
        };
        let is_foreign = match &kind {
            Kind::Command(command) => command.1.integration_id.is_some_and(|id| {
                let organization = command.0.organization_id;
                core.integrations.is_foreign(id, organization)
            }),
            Kind::Asked(_) | Kind::Rejected(_) => false,
        };
        Self {
            delivery,
            at,
            kind,
            is_foreign,
        }
    }

    /// The lane it will want, as far as the message tells; that of a change to a ticket is the
    /// ledger's to say.
    pub(in crate::pipeline) fn lane(&self) -> Option<Uuid> {
        match &self.kind {
            // What changes an integration does not wait behind its tickets.
            Kind::Command(command) if matches!(command.0.command, Command::Admin(_)) => None,
            // Nor does it wait for another organization's slots.
            Kind::Command(_) if self.is_foreign => Some(Uuid::nil()),
            Kind::Command(command) => command.1.integration_id.map(IntegrationId::uuid),
            Kind::Asked(_) | Kind::Rejected(_) => None,
        }
    }
}

/// A delivery as the contract reads it; `attributes` are those of its headers.
pub(in crate::pipeline) fn raw_of<'a>(
    delivery: &'a Delivery,
    attributes: &'a Map<String, Value>,
) -> RawMessage<'a> {
    RawMessage {
        routing_key: delivery.routing_key(),
        body: delivery.body(),
        oversize: delivery
            .oversize()
            .map(|over| (over.bytes, over.sha256.as_str())),
        content_type: delivery.content_type(),
        content_encoding: delivery.content_encoding(),
        attributes: Some(attributes),
        traceparent: delivery.header("traceparent"),
        tracestate: delivery.header("tracestate"),
        reply_to: delivery.reply_to(),
        correlation_id: delivery.correlation_id(),
    }
}

/// A command as it is stored.
fn command(core: &Core, mut envelope: Envelope) -> (Envelope, NewCommand) {
    let (data, mut digests) = seal(&core.ring, &mut envelope);
    let digest = digests.remove(0);
    let row = NewCommand {
        id: envelope.id,
        command_type: envelope.command_type.as_str(),
        organization_id: envelope.organization_id,
        integration_id: envelope.command.integration_id(),
        ticket_id: envelope.command.ticket_id(envelope.id),
        lane: lane_of_type(
            envelope.command_type,
            envelope.organization_id,
            envelope.command.integration_id(),
        ),
        creates: envelope.command.creates_ticket(),
        digest,
        older_digests: digests,
        data,
        expires_at: envelope.expires_at,
        traceparent: envelope.trace.parent.clone(),
        tracestate: envelope.trace.state.clone(),
        parent: None,
        doubt_since: None,
    };
    if secret_of(&envelope).is_some() {
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

/// The integration whose secrets the command carries, if it carries any.
fn secret_of(envelope: &Envelope) -> Option<IntegrationId> {
    match &envelope.command {
        Command::Admin(AdminCommand::CreateIntegration(_)) => {
            Some(envelope.id.created_integration())
        }
        Command::Admin(AdminCommand::UpdateIntegration(update)) => Some(update.integration_id),
        Command::Admin(_)
        | Command::Ticket(_)
        | Command::Read(_)
        | Command::Inbound(_)
        | Command::Unsupported(_) => None,
    }
}

/// The data as it may be stored, and the digest that tells a repeat. Secrets are sealed in the one
/// and only present as keyed hashes in the other; so where there are several keys, there are
/// several digests, the first key's first, as the command may have come before under another one.
/// Takes the data out of the envelope.
fn seal(ring: &KeyRing, envelope: &mut Envelope) -> (String, Vec<Vec<u8>>) {
    let data = std::mem::take(&mut envelope.data);
    let (stored, mut digests) = seal_one(ring, envelope, &data);
    // As it was written is how an earlier version compared it.
    if let Some(canonical) = envelope.canonical.take() {
        let (_, by_value) = seal_one(ring, envelope, &canonical);
        digests.splice(0..0, by_value);
    }
    (stored.unwrap_or(data), digests)
}

/// The same of one way to write it; `None` where it may be stored as it came.
fn seal_one(ring: &KeyRing, envelope: &Envelope, data: &str) -> (Option<String>, Vec<Vec<u8>>) {
    let digest_of = |data: &str| {
        Sha256::new()
            .chain_update(envelope.command_type.as_str())
            .chain_update([0])
            .chain_update(envelope.organization_id.uuid().as_bytes())
            .chain_update(data)
            .finalize()
            .to_vec()
    };
    if let Some(id) = secret_of(envelope) {
        let (stored, compared) = seal_members(ring, envelope, id, data);
        let digests = compared.iter().map(|text| digest_of(text));
        return (Some(stored), digests.collect());
    }
    let without = |hide: &dyn Fn(&mut Map<String, Value>)| {
        let mut map: Map<String, Value> = serde_json::from_str(data).unwrap_or_default();
        hide(&mut map);
        Value::Object(map).to_string()
    };
    match &envelope.command {
        // What the listener sealed holds no secret any more. What a producer passes on may, in a
        // header or in its query, and is verified by them when it runs.
        Command::Inbound(hook) if !is_vouched(ring, hook) => {
            let plain: Map<String, Value> = serde_json::from_str(data).unwrap_or_default();
            let headers = plain.get("headers").and_then(Value::as_object);
            let mut proof = headers.cloned().unwrap_or_default();
            if let Some(query) = plain.get("query") {
                proof.insert(HOOK_QUERY.to_owned(), query.clone());
            }
            let proof = Value::Object(proof).to_string();
            let binding = Binding {
                organization: envelope.organization_id,
                integration: hook.integration_id,
                column: HOOK_HEADERS,
            };
            let stored = without(&|map| {
                let kept = match ring.seal(&binding, proof.as_bytes()) {
                    Ok(sealed) => json!({ SEALED_MEMBER: sealed }),
                    // Without a key nothing can be verified by them.
                    Err(_) => json!({}),
                };
                map.insert("headers".to_owned(), kept);
                map.remove("query");
            });
            let open = without(&|map| {
                map.remove("headers");
                map.remove("query");
            });
            let keyed = keyed_hashes(ring, &proof);
            let digests = keyed.iter().map(|hash| digest_of(&(open.clone() + hash)));
            (Some(stored), digests.collect())
        }
        Command::Inbound(_) => (None, vec![digest_of(data)]),
        // It fails, so its secrets are not needed any more; they are not kept.
        Command::Unsupported(_) => {
            let masked = without(&|map| mask_members(map));
            let keyed = keyed_hashes(ring, data);
            let digests = keyed.iter().map(|hash| digest_of(&(masked.clone() + hash)));
            (Some(masked.clone()), digests.collect())
        }
        // Whatever a test is given, it is not used; so it is not kept.
        Command::Admin(AdminCommand::TestIntegration(_)) => {
            let stored = without(&|map| drop(map.remove("test_data")));
            (Some(stored), vec![digest_of(data)])
        }
        Command::Ticket(_) | Command::Admin(_) | Command::Read(_) => (None, vec![digest_of(data)]),
    }
}

/// Whether our own listener has verified a delivery.
fn is_vouched(ring: &KeyRing, hook: &WebhookReceived) -> bool {
    let (Some(seal), Headers::Open(headers)) = (&hook.seal, &hook.headers) else {
        return false;
    };
    let delivered = Delivered {
        integration: hook.integration_id,
        received_at: &hook.received_at,
        method: &hook.method,
        query: hook.query.as_deref(),
        headers,
        body: &hook.body,
    };
    is_sealed(ring, &delivered, seal)
}

/// A text's keyed hash under each key.
fn keyed_hashes(ring: &KeyRing, plain: &str) -> Vec<String> {
    let hashes = ring.keyed_hashes(plain.as_bytes());
    if hashes.is_empty() {
        return vec!["unkeyed".into()];
    }
    hashes.into_iter().map(hex::encode).collect()
}

/// An integration's data with its secrets sealed, and, for each key, with them as keyed hashes.
fn seal_members(
    ring: &KeyRing,
    envelope: &Envelope,
    id: IntegrationId,
    data: &str,
) -> (String, Vec<String>) {
    let plain: Map<String, Value> = serde_json::from_str(data).unwrap_or_default();
    let mut stored = plain.clone();
    let mut compared = vec![plain.clone(); ring.ids().count().max(1)];
    // What is secret and stands where it is not sealed is refused later on, and never kept.
    if platforms::hide_misplaced(&mut stored) {
        for field in ["settings", "base_url"] {
            let Some(given) = plain
                .get(field)
                .filter(|given| stored.get(field) != Some(*given))
            else {
                continue;
            };
            let hashes = keyed_hashes(ring, &given.to_string());
            for (compared, hash) in compared.iter_mut().zip(hashes) {
                compared.insert(field.into(), Value::String(hash));
            }
        }
    }
    for (field, column) in [
        ("credentials", "credentials_encrypted"),
        ("webhook_secret", "webhook_secret_encrypted"),
    ] {
        let Some(secret) = plain.get(field).filter(|value| !value.is_null()) else {
            continue;
        };
        let plain = secret.to_string();
        for (compared, hash) in compared.iter_mut().zip(keyed_hashes(ring, &plain)) {
            compared.insert(field.into(), Value::String(hash));
        }
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
            (Ok(sealed), "credentials") => json!({ SEALED_MEMBER: sealed }),
            (Ok(sealed), _) => Value::String(sealed),
            (Err(_), "credentials") => json!({ NOT_STORED_MEMBER: true }),
            (Err(_), _) => {
                stored.insert("credentials".into(), json!({ NOT_STORED_MEMBER: true }));
                Value::Null
            }
        };
        stored.insert(field.into(), value);
    }
    let text = |map: Map<String, Value>| Value::Object(map).to_string();
    (text(stored), compared.into_iter().map(text).collect())
}
