//! The CloudEvents 1.0 envelope of a command; [`super::content`] reads it from either mode.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::content::{self, RawMessage};
use super::fields::{TIME, kind, time_of};
use super::webhook::LISTENER_SEAL;
use super::{Command, CommandType, Faults, Fields, numbers};
use crate::domain::{CommandId, ErrorCode, Failure, MASK, OrganizationId, nearest, shown};

/// W3C trace context, handed through to the events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`.
    pub parent: Option<String>,
    /// `tracestate`.
    pub state: Option<String>,
}

/// A valid command with its envelope.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The idempotency key.
    pub id: CommandId,
    /// The type.
    pub command_type: CommandType,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Not started by then: `expired`.
    pub expires_at: Option<DateTime<Utc>>,
    /// Validate, resolve, gate and show, but send and change nothing.
    pub dry_run: bool,
    /// Trace context.
    pub trace: Trace,
    /// Where the final event goes besides the events exchange.
    pub reply_to: Option<String>,
    /// Given back with the reply.
    pub correlation_id: Option<String>,
    /// The data as JSON with its members sorted, for storing (after sealing) and for comparing
    /// repeats.
    pub data: String,
    /// The same with its numbers by value, where they were written in another way.
    pub canonical: Option<String>,
    /// The data, validated.
    pub command: Command,
}

/// Why a message can never be a command, and what is known of it all the same.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// `invalid_command`, `unknown_type` or `idempotency_conflict`, with the faults by field.
    pub failure: Failure,
    /// The id, if it could be read.
    pub command_id: Option<CommandId>,
    /// The type as sent, if it could be read and is printable.
    pub command_type: Option<String>,
    /// The tenant, if it could be read.
    pub organization_id: Option<OrganizationId>,
    /// Trace context.
    pub trace: Trace,
    /// Whoever waits for an answer gets the rejection.
    pub reply_to: Option<String>,
    /// Given back with the reply.
    pub correlation_id: Option<String>,
    /// UUIDv5 of the message's digest: the rejected event's id, the same for a repeat.
    pub event_id: Uuid,
}

const NAMESPACE_REJECTED: Uuid = Uuid::from_u128(0x7b1f_3e6a_52d4_4a0e_9c57_6f1d_20c8_b94a);

impl Envelope {
    /// Parses and validates a message.
    ///
    /// # Errors
    /// A [`Rejection`] with all faults by field.
    pub fn parse(
        raw: &RawMessage<'_>,
        body_bytes_max: usize,
        replies: &Replies<'_>,
    ) -> Result<Self, Box<Rejection>> {
        let mut known = Known::of(raw);
        let read = known
            .check_reply_to(replies)
            .and_then(|()| content::object(raw, body_bytes_max));
        let attributes = match read {
            Ok(attributes) => attributes,
            Err((field, fault)) => {
                known.glimpse(raw, body_bytes_max);
                let faults = Faults::from([(field.to_owned(), fault)]);
                return Err(known.reject(raw, ErrorCode::InvalidCommand, faults));
            }
        };
        let mut faults = Faults::new();
        let read = Attributes::read(Fields::new(attributes, &mut faults), &mut known, raw);
        let command_type = read.command_type.known();
        let mut parsed = None;
        let mut canonical = None;
        if let (Some(command_type), Some(data)) = (command_type, read.data) {
            for field in numbers::inexact(&data) {
                let fault = "is a number that cannot be kept exactly; send it as text";
                faults.insert(field, fault.into());
            }
            canonical = numbers::canonical_members(&data).map(|map| Value::Object(map).to_string());
            match serde_json::to_string(&data) {
                Ok(text) => {
                    let command = Command::parse(command_type, data, &mut faults);
                    parsed = command.map(|command| (command_type, command, text));
                }
                Err(error) => {
                    faults.insert("data".into(), format!("cannot be stored as JSON: {error}"));
                }
            }
        }
        match (known.id, known.organization_id, parsed) {
            (Some(id), Some(organization_id), Some((command_type, command, data)))
                if faults.is_empty() =>
            {
                Ok(Self {
                    id,
                    command_type,
                    organization_id,
                    expires_at: read.expires_at,
                    dry_run: read.dry_run,
                    trace: known.trace,
                    reply_to: known.reply_to,
                    correlation_id: known.correlation_id,
                    data,
                    canonical,
                    command,
                })
            }
            _ => Err(known.reject(raw, read.command_type.code(), faults)),
        }
    }

    /// A rejection of a command that parsed, for who sent it; `whole` is the message's
    /// ([`RawMessage::whole`]).
    #[must_use]
    pub fn into_forbidden(self, fault: &str, whole: &[u8]) -> Rejection {
        let fields = Faults::from([("user_id".to_owned(), fault.to_owned())]);
        let failure = Failure::new(ErrorCode::InvalidCommand, format!("user_id {fault}"));
        self.into_rejection(failure.with_fields(fields), whole)
    }

    /// A rejection of a command that parsed: the id belongs to another one already.
    #[must_use]
    pub fn into_conflict(self, body: &[u8]) -> Rejection {
        let message = "this id was used before with another type, organization or data; the \
                       first command is untouched. Send the new one under an id of its own";
        self.into_rejection(Failure::new(ErrorCode::IdempotencyConflict, message), body)
    }

    fn into_rejection(self, failure: Failure, body: &[u8]) -> Rejection {
        Rejection {
            failure,
            command_id: Some(self.id),
            command_type: Some(self.command_type.as_str().to_owned()),
            organization_id: Some(self.organization_id),
            trace: self.trace,
            reply_to: self.reply_to,
            correlation_id: self.correlation_id,
            event_id: digest_id(self.command_type.as_str(), body),
        }
    }
}

/// Which queues a caller may be answered in.
#[derive(Debug, Clone, Copy)]
pub struct Replies<'a> {
    /// `amqp.prefix`: the worker's own queues are none of them.
    pub own_prefix: &'a str,
    /// `producers.reply_to`: what their names begin with. Without one, all others are.
    pub allowed: &'a [String],
}

/// Queues that the broker gives names to, which nobody else's can have: direct reply-to, and
/// exclusive ones.
const NAMED_BY_THE_BROKER: [&str; 2] = ["amq.rabbitmq.reply-to", "amq.gen-"];

impl Replies<'_> {
    /// Why no answer goes there, if none does.
    fn fault(&self, queue: &str) -> Option<String> {
        const OWN: [&str; 5] = [
            ".tickets",
            ".integrations",
            ".webhooks",
            ".dead",
            ".events.log",
        ];
        let rest = queue.strip_prefix(self.own_prefix);
        if rest.is_some_and(|rest| OWN.contains(&rest)) {
            return Some("must not be one of the worker's own queues".into());
        }
        let listed = self.allowed.iter().map(String::as_str);
        let mut open = NAMED_BY_THE_BROKER.into_iter().chain(listed);
        if self.allowed.is_empty() || open.any(|prefix| queue.starts_with(prefix)) {
            return None;
        }
        Some(format!(
            "may not be answered in (setting producers.reply_to): use direct reply-to \
             (amq.rabbitmq.reply-to), or a queue whose name begins with {}",
            self.allowed.join(" or ")
        ))
    }
}

/// What is known of a message that may yet be rejected.
struct Known {
    id: Option<CommandId>,
    command_type: Option<String>,
    organization_id: Option<OrganizationId>,
    trace: Trace,
    reply_to: Option<String>,
    correlation_id: Option<String>,
}

impl Known {
    fn of(raw: &RawMessage<'_>) -> Self {
        let reply_to = raw.reply_to.filter(|name| !name.is_empty());
        Self {
            id: None,
            command_type: None,
            organization_id: None,
            trace: Trace {
                parent: raw.traceparent.and_then(trace_parent),
                state: raw.tracestate.and_then(trace_state),
            },
            reply_to: reply_to.map(str::to_owned),
            correlation_id: raw.correlation_id.map(str::to_owned),
        }
    }

    /// A queue that may not be answered in gets no rejection either.
    fn check_reply_to(&mut self, replies: &Replies<'_>) -> Result<(), content::Unreadable> {
        let fault = self
            .reply_to
            .as_deref()
            .and_then(|queue| replies.fault(queue));
        let Some(fault) = fault else { return Ok(()) };
        self.reply_to = None;
        Err(("reply_to", fault))
    }

    /// What a message says of itself that cannot be read as a whole: its sender finds the command
    /// by its id.
    fn glimpse(&mut self, raw: &RawMessage<'_>, body_bytes_max: usize) {
        for (name, text) in content::glimpse(raw, body_bytes_max) {
            match name {
                "id" => self.id = CommandId::parse(&text),
                "organizationid" => self.organization_id = OrganizationId::parse(&text),
                _ => {
                    self.command_type =
                        CommandType::parse(&text).map(|known| known.as_str().into());
                }
            }
        }
    }

    fn reject(self, raw: &RawMessage<'_>, code: ErrorCode, fields: Faults) -> Box<Rejection> {
        let listed = fields
            .iter()
            .map(|(name, fault)| format!("{name} {fault}"))
            .collect::<Vec<_>>()
            .join("; ");
        Box::new(Rejection {
            failure: Failure::new(code, listed).with_fields(fields),
            command_id: self.id,
            command_type: self.command_type,
            organization_id: self.organization_id,
            trace: self.trace,
            reply_to: self.reply_to,
            correlation_id: self.correlation_id,
            event_id: digest_id(raw.routing_key, &raw.whole()),
        })
    }
}

fn digest_id(routing_key: &str, body: &[u8]) -> Uuid {
    let digest = Sha256::new()
        .chain_update(routing_key)
        .chain_update([0])
        .chain_update(body)
        .finalize();
    Uuid::new_v5(&NAMESPACE_REJECTED, &digest)
}

/// The envelope's attributes that a rejection does not need.
struct Attributes {
    command_type: TypeRead,
    expires_at: Option<DateTime<Utc>>,
    dry_run: bool,
    data: Option<Map<String, Value>>,
}

impl Attributes {
    /// Reads all attributes, those that a rejection needs into `known`. Ones that nobody asks for
    /// are extensions, which CloudEvents allows.
    fn read(mut f: Fields<'_>, known: &mut Known, raw: &RawMessage<'_>) -> Self {
        check_specversion(&mut f);
        known.id = read_id(&mut f);
        check_source(&mut f);
        known.organization_id = read_organization(&mut f);
        let command_type = read_type(&mut f, known, raw.routing_key);
        read_trace(&mut f, &mut known.trace);
        let expires_at = f.form("expirytime", TIME, time_of);
        // When it happened, the producer says; nothing here depends on it.
        f.form("time", TIME, time_of);
        let dry_run = read_dry_run(&mut f);
        check_data_type(&mut f);
        let seal = f.text(LISTENER_SEAL, 1, 512);
        let mut data = read_data(&mut f);
        // The ledger keeps a command's data, and a delivery's seal is good for as long as that.
        if let (Some(seal), Some(data), Some(CommandType::WebhookReceived)) =
            (seal, &mut data, command_type.known())
        {
            data.insert(LISTENER_SEAL.to_owned(), Value::String(seal));
        }
        Self {
            command_type,
            expires_at,
            dry_run,
            data,
        }
    }
}

fn check_specversion(f: &mut Fields<'_>) {
    match f.take("specversion") {
        Some(Value::String(version)) if version == "1.0" => {}
        Some(_) => f.fault("specversion", "must be \"1.0\""),
        None => f.fault("specversion", "is required and must be \"1.0\""),
    }
}

fn read_id(f: &mut Fields<'_>) -> Option<CommandId> {
    f.require("id", "");
    let what = ("a UUID", "0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e");
    f.form("id", what, CommandId::parse)
}

fn check_source(f: &mut Fields<'_>) {
    match f.take("source") {
        Some(Value::String(source)) if !source.is_empty() => {}
        Some(_) => f.fault(
            "source",
            "must be a non-empty URI reference, e.g. /support-portal",
        ),
        None => f.fault("source", "is required, e.g. /support-portal"),
    }
}

fn read_organization(f: &mut Fields<'_>) -> Option<OrganizationId> {
    f.require("organizationid", "the UUID of the tenant");
    f.form("organizationid", ("a UUID", ""), OrganizationId::parse)
}

/// What an envelope's `type` is.
#[derive(Clone, Copy)]
enum TypeRead {
    Known(CommandType),
    /// Of a later version, or misspelled.
    Unknown,
    /// Missing, or no text.
    None,
}

impl TypeRead {
    const fn known(self) -> Option<CommandType> {
        match self {
            Self::Known(command_type) => Some(command_type),
            Self::Unknown | Self::None => None,
        }
    }

    /// What a message with this type is rejected with.
    const fn code(self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::UnknownType,
            Self::Known(_) | Self::None => ErrorCode::InvalidCommand,
        }
    }
}

fn read_type(f: &mut Fields<'_>, known: &mut Known, routing_key: &str) -> TypeRead {
    let text = match f.take("type") {
        Some(Value::String(text)) => text,
        Some(other) => {
            f.fault("type", format!("must be text, not {}", kind(&other)));
            return TypeRead::None;
        }
        None => {
            f.fault("type", "is required, e.g. ticket.create");
            return TypeRead::None;
        }
    };
    known.command_type = Some(shown(&text))
        .filter(|text| *text != MASK)
        .map(str::to_owned);
    let Some(command_type) = CommandType::parse(&text) else {
        let known = CommandType::ALL.iter().map(|known| known.as_str());
        let fault = nearest(&text, known).map_or_else(
            || format!("is none of {}", CommandType::names()),
            |near| format!("is unknown; did you mean {near}?"),
        );
        f.fault("type", fault);
        return TypeRead::Unknown;
    };
    if routing_key != text {
        let fault = format!(
            "is {text:?} but the routing key is {:?}; they must be equal",
            shown(routing_key)
        );
        f.fault("type", fault);
    }
    TypeRead::Known(command_type)
}

/// The envelope's trace context goes before that of the AMQP headers; one that is malformed is
/// none.
fn read_trace(f: &mut Fields<'_>, trace: &mut Trace) {
    if let Some(Value::String(parent)) = f.take("traceparent") {
        trace.parent = trace_parent(&parent);
    }
    if let Some(Value::String(state)) = f.take("tracestate") {
        trace.state = trace_state(&state);
    }
}

fn read_dry_run(f: &mut Fields<'_>) -> bool {
    match f.take("dryrun") {
        None => false,
        Some(Value::Bool(flag)) => flag,
        // CloudEvents' own JSON mapping of booleans, and what some SDKs make of an extension.
        Some(Value::String(text)) if text == "true" => true,
        Some(Value::String(text)) if text == "false" => false,
        Some(_) => {
            f.fault("dryrun", "must be true or false");
            false
        }
    }
}

fn check_data_type(f: &mut Fields<'_>) {
    if let Some(Value::String(content_type)) = f.take("datacontenttype")
        && !content_type.to_ascii_lowercase().contains("json")
    {
        f.fault("datacontenttype", "must be application/json");
    }
    if f.mentions("data_base64") {
        f.fault(
            "data_base64",
            "is not taken; put the data as a JSON object into data",
        );
    }
}

fn read_data(f: &mut Fields<'_>) -> Option<Map<String, Value>> {
    f.require("data", "");
    match f.take("data")? {
        Value::Object(map) => Some(map),
        other => {
            f.fault("data", format!("must be an object, not {}", kind(&other)));
            None
        }
    }
}

/// Whether a text is a `traceparent` of version 00, which is handed on: anything else may be
/// anything.
#[must_use]
pub fn is_trace_parent(text: &str) -> bool {
    let hex = |part: Option<&str>, length| {
        part.is_some_and(|part| {
            part.len() == length
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
    };
    let mut parts = text.split('-');
    parts.next() == Some("00")
        && hex(parts.next(), 32)
        && hex(parts.next(), 16)
        && hex(parts.next(), 2)
        && parts.next().is_none()
}

fn trace_parent(text: &str) -> Option<String> {
    is_trace_parent(text).then(|| text.to_owned())
}

fn trace_state(text: &str) -> Option<String> {
    is_trace_state(text).then(|| text.to_owned())
}

/// Whether a text is a `tracestate` by the W3C's grammar: members `key=value`, short, of plain
/// characters.
#[must_use]
pub fn is_trace_state(text: &str) -> bool {
    let key =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let value = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
    let is_member = |member: &str| {
        let halves = member.trim().split_once('=');
        halves.is_some_and(|(name, said)| {
            !name.is_empty() && name.bytes().all(key) && !said.is_empty() && said.bytes().all(value)
        })
    };
    text.len() <= 512 && text.split(',').all(is_member)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(change: impl Fn(&mut Value)) -> Result<Envelope, Box<Rejection>> {
        let mut message = json!({
            "specversion": "1.0", "id": "0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e", "source": "/portal",
            "type": "ticket.get", "organizationid": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "data": { "ticket_id": "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10" },
        });
        change(&mut message);
        let body = message.to_string();
        let raw = RawMessage {
            routing_key: "ticket.get",
            body: body.as_bytes(),
            content_type: Some("Application/CloudEvents+JSON; charset=utf-8"),
            ..RawMessage::default()
        };
        Envelope::parse(&raw, 1 << 20, &ANY)
    }

    const ANY: Replies<'static> = Replies {
        own_prefix: "ticketwire",
        allowed: &[],
    };

    #[test]
    fn answers_go_where_they_may() {
        let allowed = ["portal.".to_owned()];
        let listed = Replies {
            own_prefix: "tw",
            allowed: &allowed,
        };
        for queue in [
            "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA",
            "amq.rabbitmq.reply-to",
            "amq.gen-Xa2",
            "portal.answers",
        ] {
            assert_eq!(listed.fault(queue), None, "{queue}");
        }
        for queue in ["billing.jobs", "tw.tickets", "amq.direct", "portal"] {
            assert!(listed.fault(queue).is_some(), "{queue}");
        }
        let open = Replies {
            allowed: &[],
            ..listed
        };
        assert_eq!(open.fault("billing.jobs"), None);
        assert!(open.fault("tw.dead").is_some());
    }

    #[test]
    fn an_attribute_that_is_null_is_missing() {
        let optional = ["time", "expirytime", "dryrun", "traceparent", "subject"];
        let envelope = parse(|message| {
            for name in optional {
                message[name] = Value::Null;
            }
        });
        assert!(!envelope.unwrap().dry_run);

        let required = [
            "data",
            "id",
            "organizationid",
            "source",
            "specversion",
            "type",
        ];
        let rejection = parse(|message| {
            for name in required {
                message[name] = Value::Null;
            }
        });
        let faults = rejection.unwrap_err().failure.fields;
        assert_eq!(faults.keys().collect::<Vec<_>>(), required);
        for (name, fault) in faults {
            assert!(fault.starts_with("is required"), "{name} {fault}");
        }
    }

    #[test]
    fn the_faults_of_envelope_and_data_are_found_together() {
        let rejection = parse(|message| {
            message["id"] = json!(42);
            message["time"] = json!(42);
            message["expirytime"] = json!("tomorrow");
            message["data"] = json!({ "colour": "red" });
        });
        let rejection = rejection.unwrap_err();
        assert_eq!(rejection.failure.code, ErrorCode::InvalidCommand);
        assert!(rejection.organization_id.is_some());
        let expected = [
            ("colour", "is not a field of this command"),
            (
                "expirytime",
                "must be an RFC 3339 time, e.g. 2026-01-31T12:00:00Z",
            ),
            ("id", "must be a UUID as text, not a number"),
            ("ticket_id", "is required"),
            ("time", "must be an RFC 3339 time as text, not a number"),
        ];
        let found = rejection.failure.fields;
        let found: Vec<(&str, &str)> = found.iter().map(|(n, f)| (&**n, &**f)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_type_of_a_later_version_is_told_from_none() {
        let code = |change: fn(&mut Value)| parse(change).unwrap_err().failure.code;
        assert_eq!(
            code(|message| message["type"] = json!("ticket.merge")),
            ErrorCode::UnknownType
        );
        assert_eq!(
            code(|message| message["type"] = json!(["ticket.get"])),
            ErrorCode::InvalidCommand
        );
        assert_eq!(
            code(|message| message["type"] = json!("ticket.search")),
            ErrorCode::InvalidCommand
        );
    }
}
