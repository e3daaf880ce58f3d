//! Result events: CloudEvents 1.0, structured JSON, published to `P.events`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Rejection, Trace, json_text};
use crate::domain::{
    CommandId, Failure, IntegrationCategory, IntegrationId, OrganizationId, Platform, TicketId,
    wire_enum,
};

wire_enum! {
    /// How a command, or one attempt of it, came out.
    Outcome {
        Succeeded = "succeeded",
        Failed = "failed",
        Deferred = "deferred",
        Rejected = "rejected",
        Cancelled = "cancelled",
    }
}

impl Outcome {
    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Rejected | Self::Cancelled => true,
            Self::Deferred => false,
        }
    }
}

/// The `result.integration_result` member.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
pub struct IntegrationResult {
    /// Whether the platform did it.
    pub success: bool,
    /// What a person would quote.
    pub external_ticket_id: Option<String>,
    /// The page a person would open.
    pub external_ticket_url: Option<String>,
    /// What was left out, found already done, adopted.
    pub details: Map<String, Value>,
}

/// The `data` of a result event.
#[derive(Debug, Clone, Serialize)]
pub struct EventData {
    /// The command; null only where a rejected message had no readable id.
    pub command_id: Option<CommandId>,
    /// Its type.
    pub command_type: String,
    /// How it came out.
    pub outcome: Outcome,
    /// Counts up when an operator retries a finished command.
    pub run: i32,
    /// Attempts spent so far.
    pub attempt: i32,
    /// From the start of this attempt to its end.
    pub duration_ms: i64,
    /// The integration, where there is one.
    pub integration_id: Option<IntegrationId>,
    /// Its category.
    pub integration_category: Option<IntegrationCategory>,
    /// Its platform.
    pub platform_name: Option<Platform>,
    /// The ticket, where there is one.
    pub ticket_id: Option<TicketId>,
    /// By command type.
    pub result: Option<Value>,
    /// What went wrong.
    pub error: Option<Failure>,
    /// When it runs again.
    #[serde(serialize_with = "time_option")]
    pub retry_at: Option<DateTime<Utc>>,
}

/// A result event.
#[derive(Debug, Clone)]
pub struct Event {
    /// UUIDv5 of the command's id and the event's number within it.
    pub id: Uuid,
    /// When it was made.
    pub time: DateTime<Utc>,
    /// The tenant.
    pub organization_id: Option<OrganizationId>,
    /// From the command.
    pub trace: Trace,
    /// The rest.
    pub data: EventData,
}

#[derive(Serialize)]
struct Wire<'a> {
    specversion: &'static str,
    id: Uuid,
    source: &'static str,
    r#type: String,
    #[serde(serialize_with = "time")]
    time: DateTime<Utc>,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organizationid: Option<OrganizationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<CommandId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    data: &'a EventData,
}

/// A success as the failure that it turned out to be: body and routing key. What was found or made
/// stays in its result. `None` where the text is no event of ours.
#[must_use]
pub fn turned_into_failure(
    body: &str,
    routing_key: &str,
    failure: &Failure,
) -> Option<(String, String)> {
    let (succeeded, failed) = (Outcome::Succeeded.as_str(), Outcome::Failed.as_str());
    let mut event: Value = serde_json::from_str(body).ok()?;
    let kind = event.get("type")?.as_str()?.strip_suffix(succeeded)?;
    event["type"] = format!("{kind}{failed}").into();
    event["data"]["outcome"] = failed.into();
    event["data"]["error"] = json!(failure);
    let key = routing_key.replace(&format!(".{succeeded}."), &format!(".{failed}."));
    Some((event.to_string(), key))
}

impl Event {
    /// The id of a command's event with this number, counted from 1.
    #[must_use]
    pub fn id_of(command_id: CommandId, number: i32) -> Uuid {
        command_id.derive(&number.to_string())
    }

    /// Its CloudEvents type.
    #[must_use]
    pub fn event_type(&self) -> String {
        format!("{}.{}", self.data.command_type, self.data.outcome)
    }

    /// Where it is published: the type and the platform.
    #[must_use]
    pub fn routing_key(&self) -> String {
        routing_key(&self.event_type(), self.data.platform_name)
    }

    /// As JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let subject = match (self.data.ticket_id, self.data.integration_id) {
            (Some(ticket), _) => Some(ticket.to_string()),
            (None, Some(integration)) => Some(integration.to_string()),
            (None, None) => None,
        };
        let wire = Wire {
            specversion: "1.0",
            id: self.id,
            source: "/ticketwire",
            r#type: self.event_type(),
            time: self.time,
            datacontenttype: "application/json",
            subject,
            organizationid: self.organization_id,
            correlationid: self.data.command_id,
            traceparent: self.trace.parent.as_deref(),
            tracestate: self.trace.state.as_deref(),
            data: &self.data,
        };
        // Made as large as most are, rather than growing to it a few times.
        json_text(&wire, 1024)
    }
}

/// The routing key of an event type.
#[must_use]
pub fn routing_key(event_type: &str, platform: Option<Platform>) -> String {
    format!("{event_type}.{}", platform.map_or("none", Platform::as_str))
}

/// The event of a message that can never be a command. An unreadable type is called `command`.
#[must_use]
pub fn rejected_event(rejection: &Rejection, now: DateTime<Utc>) -> Event {
    let sound = |text: &&String| {
        text.len() <= 100
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'_')
    };
    Event {
        id: rejection.event_id,
        time: now,
        organization_id: rejection.organization_id,
        trace: rejection.trace.clone(),
        data: EventData {
            command_id: rejection.command_id,
            command_type: rejection
                .command_type
                .as_ref()
                .filter(sound)
                .cloned()
                .unwrap_or_else(|| "command".into()),
            outcome: Outcome::Rejected,
            run: 1,
            attempt: 0,
            duration_ms: 0,
            integration_id: None,
            integration_category: None,
            platform_name: None,
            ticket_id: None,
            result: None,
            error: Some(rejection.failure.clone()),
            retry_at: None,
        },
    }
}

fn time<S: serde::Serializer>(moment: &DateTime<Utc>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn time_option<S: serde::Serializer>(
    moment: &Option<DateTime<Utc>>,
    s: S,
) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => time(moment, s),
        None => s.serialize_none(),
    }
}
