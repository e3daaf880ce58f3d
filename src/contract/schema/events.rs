//! What is published: the outcomes of commands, and what happens to integrations and to tickets on
//! their platforms.

use serde_json::{Map, Value, json};

use super::super::{CommandType, Outcome};
use crate::domain::{
    ErrorCode, HealthStatus, IntegrationCategory, IntegrationStatus, LifeEvent, Platform, Priority,
    TicketStatus, WebhookState,
};

/// Events that are no command's outcome.
const OTHERS: [&str; 13] = [
    "ticket.external.created",
    "ticket.external.updated",
    "ticket.external.commented",
    "ticket.external.deleted",
    "integration.status.changed",
    "integration.health.changed",
    "integration.failures.warning",
    "integration.circuit.opened",
    "integration.circuit.closed",
    "integration.webhook.failing",
    "integration.webhook.restored",
    "integration.rate_limit.reached",
    "integration.rate_limit.reset",
];

/// Every type of event, in order.
#[must_use]
pub fn event_types() -> Vec<String> {
    let outcomes = CommandType::ALL.iter().flat_map(|command| {
        Outcome::ALL
            .iter()
            .map(move |outcome| format!("{command}.{outcome}"))
    });
    outcomes
        .chain(OTHERS.iter().map(|name| (*name).to_owned()))
        .collect()
}

/// The schema of an event's whole CloudEvent.
pub(super) fn schema(event_type: &str) -> Option<Value> {
    if OTHERS.contains(&event_type) {
        return Some(envelope(event_type, &about_integration(event_type), false));
    }
    let (command, outcome) = event_type.rsplit_once('.')?;
    let command = CommandType::parse(command)?;
    let outcome = Outcome::parse(outcome)?;
    Some(envelope(event_type, &result(command, outcome), true))
}

fn envelope(event_type: &str, data: &Value, of_command: bool) -> Value {
    let mut properties = json!({
        "specversion": { "const": "1.0" },
        "id": { "type": "string", "format": "uuid",
            "description": "the same if the event is published again" },
        "source": { "const": "/ticketwire" },
        "type": { "const": event_type },
        "time": { "type": "string", "format": "date-time" },
        "datacontenttype": { "const": "application/json" },
        "subject": { "type": "string", "format": "uuid",
            "description": "the ticket, else the integration" },
        "organizationid": { "type": "string", "format": "uuid" },
        "data": data,
    });
    if of_command {
        properties["correlationid"] =
            json!({ "type": "string", "format": "uuid", "description": "the command" });
        properties["traceparent"] = json!({ "type": "string" });
        properties["tracestate"] = json!({ "type": "string" });
    }
    json!({
        "type": "object", "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": properties, "additionalProperties": false,
    })
}

fn or_null(schema: impl Into<Value>) -> Value {
    let schema: Value = schema.into();
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

fn words<T: serde::Serialize>(all: &[T]) -> Value {
    json!({ "type": "string", "enum": all })
}

/// The data of a command's outcome.
fn result(command: CommandType, outcome: Outcome) -> Value {
    let members = [
        ("command_id", or_null(uuid())),
        ("command_type", json!({ "const": command })),
        ("outcome", json!({ "const": outcome })),
        ("run", json!({ "type": "integer", "minimum": 1 })),
        ("attempt", json!({ "type": "integer", "minimum": 0 })),
        ("duration_ms", json!({ "type": "integer", "minimum": 0 })),
        ("integration_id", or_null(uuid())),
        (
            "integration_category",
            or_null(words(IntegrationCategory::ALL)),
        ),
        ("platform_name", or_null(words(Platform::ALL))),
        ("ticket_id", or_null(uuid())),
        ("result", or_null(answer(command))),
        (
            "error",
            if matches!(outcome, Outcome::Succeeded) {
                json!({ "type": "null" })
            } else {
                or_null(error())
            },
        ),
        (
            "retry_at",
            or_null(json!({ "type": "string", "format": "date-time" })),
        ),
    ];
    object(members, true)
}

fn error() -> Value {
    json!({
        "type": "object", "required": ["code", "message", "retryable"],
        "additionalProperties": false,
        "properties": {
            "code": words(ErrorCode::ALL), "message": { "type": "string",
                "description": "fit to show to a person" },
            "retryable": { "type": "boolean" }, "http_status": { "type": "integer" },
            "fields": { "type": "object", "additionalProperties": { "type": "string" } },
        },
    })
}

/// The member `result`, as far as it is promised; more may stand beside it.
fn answer(command: CommandType) -> Value {
    let integration_result = or_null(json!({
        "type": "object", "required": ["success", "external_ticket_id", "external_ticket_url",
            "details"],
        "properties": {
            "success": { "type": "boolean" }, "external_ticket_id": { "type": ["string", "null"] },
            "external_ticket_url": { "type": ["string", "null"] }, "details": { "type": "object" },
        },
    }));
    let list = json!({ "type": "array", "items": { "type": "object" } });
    let text = json!({ "type": "string" });
    let count = json!({ "type": "integer", "minimum": 0 });
    let of_ticket = |more: &[(&'static str, Value)]| {
        let mut members = vec![
            ("ticket_id", uuid()),
            ("integration_result", integration_result.clone()),
        ];
        members.extend(more.iter().cloned());
        object(members, false)
    };
    match command {
        CommandType::TicketCreate | CommandType::TicketDelete => of_ticket(&[]),
        CommandType::TicketAiCreate => of_ticket(&[
            ("ai_analysis", json!({ "type": "object" })),
            (
                "confidence_score",
                json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            ),
        ]),
        CommandType::TicketUpdate => of_ticket(&[("changed_fields", json!({ "type": "array" }))]),
        CommandType::TicketStatus => of_ticket(&[("status", words(TicketStatus::ALL))]),
        CommandType::TicketAssign => of_ticket(&[("assigned_to_id", or_null(uuid()))]),
        CommandType::TicketComment => {
            of_ticket(&[("external_comment_id", json!({ "type": ["string", "null"] }))])
        }
        CommandType::TicketAttach => object([("ticket_id", uuid()), ("attachments", list)], false),
        CommandType::TicketGet => object([("ticket", json!({ "type": "object" }))], false),
        CommandType::TicketSearch => object(
            [
                ("tickets", list),
                ("next_cursor", json!({ "type": ["string", "null"] })),
            ],
            false,
        ),
        CommandType::TicketBulkUpdate => object(
            [
                ("total", count.clone()),
                ("succeeded", count.clone()),
                ("failed", count),
                ("tickets", list),
            ],
            false,
        ),
        CommandType::IntegrationCreate => object(
            [
                ("integration_id", uuid()),
                ("status", words(IntegrationStatus::ALL)),
            ],
            false,
        ),
        CommandType::IntegrationUpdate => object(
            [
                ("integration_id", uuid()),
                ("status", words(IntegrationStatus::ALL)),
                ("changed_fields", json!({ "type": "array" })),
            ],
            false,
        ),
        CommandType::IntegrationDelete => object(
            [
                ("integration_id", uuid()),
                ("deleted", json!({ "const": true })),
            ],
            false,
        ),
        CommandType::IntegrationGet => {
            object([("integration", json!({ "type": "object" }))], false)
        }
        CommandType::IntegrationList => object(
            [
                ("integrations", list),
                ("next_cursor", json!({ "type": ["string", "null"] })),
            ],
            false,
        ),
        CommandType::IntegrationStatus => object(
            [
                ("old_enabled", json!({ "type": "boolean" })),
                ("enabled", json!({ "type": "boolean" })),
                ("old_status", text.clone()),
                ("status", text),
            ],
            false,
        ),
        CommandType::IntegrationTest => object(
            [
                ("success", json!({ "type": "boolean" })),
                ("tests", list),
                ("status_before", text.clone()),
                ("status_after", text),
            ],
            false,
        ),
        CommandType::IntegrationSync => object(
            [
                ("counts", json!({ "type": "object" })),
                ("errors", json!({ "type": "array" })),
            ],
            false,
        ),
        CommandType::IntegrationWebhook => object(
            [
                ("action", text.clone()),
                ("by_interface", json!({ "type": "boolean" })),
                ("webhooks", list),
                ("instructions", json!({ "type": ["string", "null"] })),
            ],
            false,
        ),
        CommandType::IntegrationRoute => {
            object([("candidates", list.clone()), ("rejected", list)], false)
        }
        CommandType::IntegrationFields => object([("fields", list)], false),
        CommandType::WebhookReceived => object(
            [
                "changes", "applied", "told", "echoes", "repeats", "old", "unknown", "imported",
                "ignored",
            ]
            .map(|name| (name, json!({ "type": "integer" }))),
            false,
        ),
    }
}

/// A rejected or failed command's result may be less than a success's; so nothing in it is
/// required.
fn object(members: impl IntoIterator<Item = (&'static str, Value)>, strict: bool) -> Value {
    let properties: Map<String, Value> = members
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    if strict {
        let required: Vec<&String> = properties.keys().collect();
        return json!({
            "type": "object", "required": required, "properties": properties,
            "additionalProperties": false,
        });
    }
    json!({ "type": "object", "properties": properties })
}

/// The data of an event that is no command's outcome.
fn about_integration(event_type: &str) -> Value {
    let text = || json!({ "type": ["string", "null"] });
    let mut members = vec![
        ("integration_id", uuid()),
        (
            "integration_category",
            or_null(words(IntegrationCategory::ALL)),
        ),
        ("platform_name", or_null(words(Platform::ALL))),
        ("caused_by", or_null(uuid())),
    ];
    match event_type {
        "integration.status.changed" => members.extend([
            ("event", words(LifeEvent::ALL)),
            ("reason", text()),
            ("old_status", words(IntegrationStatus::ALL)),
            ("status", words(IntegrationStatus::ALL)),
            ("old_enabled", json!({ "type": "boolean" })),
            ("enabled", json!({ "type": "boolean" })),
            ("parked", json!({ "type": "boolean" })),
        ]),
        "integration.health.changed" => members.extend([
            ("event", words(LifeEvent::ALL)),
            ("reason", text()),
            ("error", text()),
            ("old_health_check_status", words(HealthStatus::ALL)),
            ("health_check_status", words(HealthStatus::ALL)),
        ]),
        "integration.failures.warning" => members.extend([
            ("failures", json!({ "type": "integer" })),
            ("failure_threshold", json!({ "type": "integer" })),
            ("percent", words(&[50, 80])),
            ("message", json!({ "type": "string" })),
        ]),
        "integration.circuit.opened" | "integration.circuit.closed" => members.extend([
            ("state", json!({ "type": "string" })),
            ("failure_threshold", json!({ "type": "integer" })),
            ("open_for_ms", json!({ "type": "integer" })),
        ]),
        "integration.webhook.failing" | "integration.webhook.restored" => members.extend([
            ("webhook_id", uuid()),
            ("external_id", text()),
            ("url", json!({ "type": "string" })),
            ("old_state", words(WebhookState::ALL)),
            ("state", words(WebhookState::ALL)),
            ("reason", text()),
        ]),
        "integration.rate_limit.reached" | "integration.rate_limit.reset" => members.extend([
            ("state", words(&["reached", "reset"])),
            ("message", json!({ "type": "string" })),
            (
                "paused_until",
                or_null(json!({ "type": "string", "format": "date-time" })),
            ),
        ]),
        _ => members.extend([
            ("ticket_id", or_null(uuid())),
            ("origin", json!({ "type": "string" })),
            ("external_ticket_id", json!({ "type": "string" })),
            ("external_ticket_url", text()),
            ("title", text()),
            ("status", or_null(words(TicketStatus::ALL))),
            ("priority", or_null(words(Priority::ALL))),
            (
                "updated_at",
                or_null(json!({ "type": "string", "format": "date-time" })),
            ),
            ("old_status", or_null(words(TicketStatus::ALL))),
            ("old_priority", or_null(words(Priority::ALL))),
        ]),
    }
    let members = members.into_iter().map(|(name, schema)| match name {
        // A list of numbers, not of texts.
        "percent" => (name, json!({ "type": "integer", "enum": [50, 80] })),
        _ => (name, schema),
    });
    object(members.collect::<Vec<_>>(), true)
}
