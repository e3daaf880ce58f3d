//! The CloudEvents 1.0 envelope of a command, in structured JSON mode.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::fields::kind;
use super::{Command, CommandType, Faults};
use crate::domain::{CommandId, ErrorCode, Failure, MASK, OrganizationId, json_fault, shown};

/// A message as it came from the broker, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct RawMessage<'a> {
    /// Its routing key: must equal the command's type.
    pub routing_key: &'a str,
    /// Its body.
    pub body: &'a [u8],
    /// AMQP `content_type`.
    pub content_type: Option<&'a str>,
    /// AMQP header `traceparent`, used where the envelope has none.
    pub traceparent: Option<&'a str>,
    /// AMQP header `tracestate`.
    pub tracestate: Option<&'a str>,
    /// AMQP `reply_to`.
    pub reply_to: Option<&'a str>,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<&'a str>,
}

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
    /// The data as JSON with its members sorted, for storing (after sealing) and for comparing repeats.
    pub data: String,
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
    /// Parses and validates a message. `own_prefix` is `amqp.prefix`: the worker's own queues are no reply address.
    ///
    /// # Errors
    /// A [`Rejection`] with all faults by field.
    pub fn parse(
        raw: &RawMessage<'_>,
        body_bytes_max: usize,
        own_prefix: &str,
    ) -> Result<Self, Box<Rejection>> {
        let mut known = Known {
            trace: Trace {
                parent: raw.traceparent.and_then(trace_parent),
                state: raw.tracestate.and_then(trace_state),
            },
            reply_to: raw
                .reply_to
                .map(str::to_owned)
                .filter(|name| !name.is_empty()),
            correlation_id: raw.correlation_id.map(str::to_owned),
            ..Known::default()
        };

        let one = |known: Known, field: &str, fault: String| {
            Err(known.reject(
                raw,
                ErrorCode::InvalidCommand,
                Faults::from([(field.to_owned(), fault)]),
            ))
        };
        if let Some(reply_to) = &known.reply_to {
            let own = reply_to.strip_prefix(own_prefix).is_some_and(|rest| {
                matches!(
                    rest,
                    ".tickets" | ".integrations" | ".webhooks" | ".dead" | ".events.log"
                )
            });
            if own {
                known.reply_to = None;
                return one(
                    known,
                    "reply_to",
                    "must not be one of the worker's own queues".into(),
                );
            }
        }
        if raw.body.len() > body_bytes_max {
            let fault = format!(
                "has {} bytes; the limit is {body_bytes_max} (setting amqp.max_message_bytes)",
                raw.body.len()
            );
            return one(known, "message", fault);
        }
        if let Some(content_type) = raw.content_type.filter(|text| !text.is_empty()) {
            let essence = content_type
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            if essence != "application/cloudevents+json" && essence != "application/json" {
                let fault = format!(
                    "is {:?}; send application/cloudevents+json or application/json",
                    shown(content_type)
                );
                return one(known, "content_type", fault);
            }
        }
        let mut attributes = match serde_json::from_slice::<Value>(raw.body) {
            Ok(Value::Object(map)) => map,
            Ok(other) => {
                return one(
                    known,
                    "message",
                    format!("must be a JSON object, not {}", kind(&other)),
                );
            }
            Err(error) => return one(known, "message", message_fault(&error)),
        };

        let mut faults = Faults::new();
        match attributes.get("specversion") {
            Some(Value::String(version)) if version == "1.0" => {}
            Some(_) => fault(&mut faults, "specversion", "must be \"1.0\""),
            None => fault(
                &mut faults,
                "specversion",
                "is required and must be \"1.0\"",
            ),
        }
        known.id = match attributes.get("id") {
            Some(Value::String(text)) => match CommandId::parse(text) {
                Some(id) => Some(id),
                None => {
                    fault(
                        &mut faults,
                        "id",
                        "must be a UUID, e.g. 0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e",
                    );
                    None
                }
            },
            Some(other) => {
                fault(
                    &mut faults,
                    "id",
                    format!("must be a UUID as text, not {}", kind(other)),
                );
                None
            }
            None => {
                fault(&mut faults, "id", "is required");
                None
            }
        };
        match attributes.get("source") {
            Some(Value::String(source)) if !source.is_empty() => {}
            Some(_) => fault(
                &mut faults,
                "source",
                "must be a non-empty URI reference, e.g. /support-portal",
            ),
            None => fault(&mut faults, "source", "is required, e.g. /support-portal"),
        }
        known.organization_id = match attributes.get("organizationid") {
            Some(Value::String(text)) => match OrganizationId::parse(text) {
                Some(id) => Some(id),
                None => {
                    fault(&mut faults, "organizationid", "must be a UUID");
                    None
                }
            },
            Some(other) => {
                fault(
                    &mut faults,
                    "organizationid",
                    format!("must be a UUID as text, not {}", kind(other)),
                );
                None
            }
            None => {
                fault(
                    &mut faults,
                    "organizationid",
                    "is required: the UUID of the tenant",
                );
                None
            }
        };
        let mut code = ErrorCode::InvalidCommand;
        let command_type = match attributes.get("type") {
            Some(Value::String(text)) => {
                known.command_type = Some(shown(text))
                    .filter(|text| *text != MASK)
                    .map(str::to_owned);
                let parsed = CommandType::parse(text);
                if parsed.is_none() {
                    code = ErrorCode::UnknownType;
                    fault(
                        &mut faults,
                        "type",
                        format!("is none of {}", CommandType::spellings()),
                    );
                } else if raw.routing_key != text {
                    let message = format!(
                        "is {text:?} but the routing key is {:?}",
                        shown(raw.routing_key)
                    );
                    fault(
                        &mut faults,
                        "type",
                        format!("{message}; they must be equal"),
                    );
                }
                parsed
            }
            Some(other) => {
                fault(
                    &mut faults,
                    "type",
                    format!("must be text, not {}", kind(other)),
                );
                None
            }
            None => {
                fault(&mut faults, "type", "is required, e.g. ticket.create");
                None
            }
        };
        if let Some(Value::String(parent)) = attributes.get("traceparent") {
            known.trace.parent = trace_parent(parent);
        }
        if let Some(Value::String(state)) = attributes.get("tracestate") {
            known.trace.state = trace_state(state);
        }
        let expires_at = moment(&attributes, "expirytime", &mut faults);
        moment(&attributes, "time", &mut faults);
        let dry_run = match attributes.get("dryrun") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            // CloudEvents' own JSON mapping of booleans, and what some SDKs make of an extension.
            Some(Value::String(text)) if text == "true" => true,
            Some(Value::String(text)) if text == "false" => false,
            Some(_) => {
                fault(&mut faults, "dryrun", "must be true or false");
                false
            }
        };
        if let Some(Value::String(content_type)) = attributes.get("datacontenttype")
            && !content_type.to_ascii_lowercase().contains("json")
        {
            fault(&mut faults, "datacontenttype", "must be application/json");
        }
        if attributes.contains_key("data_base64") {
            fault(
                &mut faults,
                "data_base64",
                "is not taken; put the data as a JSON object into data",
            );
        }
        let data = match attributes.remove("data") {
            Some(Value::Object(map)) => Some(map),
            Some(other) => {
                fault(
                    &mut faults,
                    "data",
                    format!("must be an object, not {}", kind(&other)),
                );
                None
            }
            None => {
                fault(&mut faults, "data", "is required");
                None
            }
        };
        let (command, data) = match (command_type, data) {
            (Some(command_type), Some(data)) => {
                let text = serde_json::to_string(&data).unwrap_or_default();
                (Command::parse(command_type, data, &mut faults), text)
            }
            (None, _) | (_, None) => (None, String::new()),
        };
        match (known.id, command_type, known.organization_id, command) {
            (Some(id), Some(command_type), Some(organization_id), Some(command))
                if faults.is_empty() =>
            {
                Ok(Self {
                    id,
                    command_type,
                    organization_id,
                    expires_at,
                    dry_run,
                    trace: known.trace,
                    reply_to: known.reply_to,
                    correlation_id: known.correlation_id,
                    data,
                    command,
                })
            }
            _ => Err(known.reject(raw, code, faults)),
        }
    }

    /// A rejection of a command that parsed, for who sent it.
    #[must_use]
    pub fn into_forbidden(self, fault: &str, body: &[u8]) -> Rejection {
        let fields = Faults::from([("user_id".to_owned(), fault.to_owned())]);
        let failure = Failure::new(ErrorCode::InvalidCommand, format!("user_id {fault}"));
        self.into_rejection(failure.with_fields(fields), body)
    }

    /// A rejection of a command that parsed: the id belongs to another one already.
    #[must_use]
    pub fn into_conflict(self, body: &[u8]) -> Rejection {
        let message = "this id was used before with another type, organization or data; the first command is untouched. \
                       Send the new one under an id of its own";
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

#[derive(Default)]
struct Known {
    id: Option<CommandId>,
    command_type: Option<String>,
    organization_id: Option<OrganizationId>,
    trace: Trace,
    reply_to: Option<String>,
    correlation_id: Option<String>,
}

impl Known {
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
            event_id: digest_id(raw.routing_key, raw.body),
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

fn fault(faults: &mut Faults, name: &str, text: impl Into<String>) {
    faults.insert(name.to_owned(), text.into());
}

fn moment(
    attributes: &Map<String, Value>,
    name: &str,
    faults: &mut Faults,
) -> Option<DateTime<Utc>> {
    match attributes.get(name)? {
        Value::Null => None,
        Value::String(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(moment) => Some(moment.with_timezone(&Utc)),
            Err(_) => {
                fault(
                    faults,
                    name,
                    "must be an RFC 3339 time, e.g. 2026-01-31T12:00:00Z",
                );
                None
            }
        },
        other => {
            fault(
                faults,
                name,
                format!("must be an RFC 3339 time as text, not {}", kind(other)),
            );
            None
        }
    }
}

fn message_fault(error: &serde_json::Error) -> String {
    if error.to_string().starts_with("recursion limit exceeded") {
        return "is nested deeper than 127 levels".into();
    }
    if error.is_eof() {
        return format!("is not valid JSON: it {}", json_fault(error));
    }
    json_fault(error)
}

/// Whether a text is a `traceparent` of version 00, which is handed on: anything else may be anything.
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

/// Whether a text is a `tracestate` by the W3C's grammar: members `key=value`, short, of plain characters.
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
