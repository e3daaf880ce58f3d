//! A batch as PostgreSQL takes it: an array a kind of row, of the types of `V7__row_types.sql`.

use chrono::{DateTime, Utc};
use postgres_types::ToSql;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Params, Settlement, UsageTally};
use crate::contract::json_text;
use crate::domain::{ErrorCode, IntegrationId, Priority, TicketCategory, TicketStatus};
use crate::store::Words;

/// What `sql/settle.sql` takes of a batch.
pub(super) struct SettleRows<'a> {
    pub(super) commands: Vec<CommandRow<'a>>,
    pub(super) attempts: Vec<AttemptRow<'a>>,
    pub(super) usage: Vec<UsageRow<'a>>,
    pub(super) events: Vec<EventRow<'a>>,
    pub(super) tickets: Vec<InsertRow<'a>>,
}

impl<'a> SettleRows<'a> {
    pub(super) fn of(batch: &'a [Settlement], usage: &'a [(IntegrationId, UsageTally)]) -> Self {
        Self {
            commands: batch.iter().map(CommandRow::of).collect(),
            attempts: batch.iter().filter_map(AttemptRow::of).collect(),
            usage: usage.iter().map(UsageRow::of).collect(),
            events: batch.iter().flat_map(EventRow::of).collect(),
            tickets: batch.iter().filter_map(InsertRow::of).collect(),
        }
    }

    /// The parameters of `sql/settle.sql`; `batch` names the row of `outbox_batches`.
    pub(super) fn params<'b>(
        &'b self,
        owner: &'b Uuid,
        worker: &'b &'b str,
        batch: &'b Uuid,
        again: &'b bool,
    ) -> Params<'b, 9> {
        [
            owner,
            worker,
            &self.commands,
            &self.attempts,
            &self.usage,
            batch,
            &self.tickets,
            &self.events,
            again,
        ]
    }
}

/// What becomes of the command's row.
#[derive(Debug, ToSql)]
#[postgres(name = "settle_command")]
pub(super) struct CommandRow<'a> {
    id: Uuid,
    fencing_token: i32,
    state: &'a str,
    attempt: i32,
    events: i32,
    due_at: Option<DateTime<Utc>>,
    wait_reason: Option<&'a str>,
    wait_detail: Option<i32>,
    error_code: Option<&'a str>,
    error: Option<&'a str>,
    doubt_since: Option<DateTime<Utc>>,
    lookups: i32,
    final_event: Option<&'a str>,
    final_key: Option<&'a str>,
    finished: bool,
    waits: bool,
    ran: bool,
    integration: Option<Uuid>,
    /// Whether it has had events before these.
    earlier: bool,
    /// Whether its event is the command's only one: see [`Settlement::is_single_event`].
    single_event: bool,
}

impl<'a> CommandRow<'a> {
    fn of(s: &'a Settlement) -> Self {
        let last = s.final_event();
        let events = usize::try_from(s.events_after).unwrap_or(0);
        Self {
            id: s.id.uuid(),
            fencing_token: s.fencing_token,
            state: s.state.as_str(),
            attempt: s.attempt,
            events: s.events_after,
            due_at: s.due_at,
            wait_reason: s.wait.map(|wait| wait.reason.as_str()),
            wait_detail: s.wait.and_then(|wait| wait.detail),
            error_code: s.error_code.map(ErrorCode::as_str),
            error: s.error.as_deref(),
            doubt_since: s.doubt_since,
            lookups: s.lookups,
            final_event: last.map(|event| &*event.body),
            final_key: last.map(|event| event.routing_key.as_str()),
            finished: s.is_finished(),
            waits: s.waits,
            ran: s.ran,
            integration: s.integration_id.map(IntegrationId::uuid),
            earlier: events > s.events.len(),
            single_event: s.is_single_event(),
        }
    }
}

/// The row of `command_attempts`, if an attempt was spent.
#[derive(Debug, ToSql)]
#[postgres(name = "settle_attempt")]
pub(super) struct AttemptRow<'a> {
    id: Uuid,
    run: i32,
    attempt: i32,
    started_at: DateTime<Utc>,
    duration_ms: i64,
    outcome: &'a str,
    error_code: Option<&'a str>,
    message: Option<&'a str>,
    http_status: Option<i32>,
    retry_at: Option<DateTime<Utc>>,
    wait_reason: Option<&'a str>,
    wait_detail: Option<i32>,
}

impl<'a> AttemptRow<'a> {
    fn of(s: &'a Settlement) -> Option<Self> {
        let a = s.attempt_record.as_ref()?;
        Some(Self {
            id: s.id.uuid(),
            run: a.run,
            attempt: s.attempt,
            started_at: a.started_at,
            duration_ms: a.duration_ms,
            outcome: a.outcome.as_str(),
            error_code: s.error_code.map(ErrorCode::as_str),
            message: a.message.as_deref(),
            http_status: a.http_status,
            retry_at: s.due_at.filter(|_| !s.is_finished()),
            wait_reason: s.wait.map(|wait| wait.reason.as_str()),
            wait_detail: s.wait.and_then(|wait| wait.detail),
        })
    }
}

/// An event that is stored apart from its command.
#[derive(Debug, ToSql)]
#[postgres(name = "settle_event")]
pub(super) struct EventRow<'a> {
    id: Uuid,
    number: i32,
    routing_key: &'a str,
    body: &'a str,
}

impl<'a> EventRow<'a> {
    fn of(s: &'a Settlement) -> impl Iterator<Item = Self> {
        let apart = if s.is_single_event() { &[] } else { &*s.events };
        apart.iter().map(|event| Self {
            id: s.id.uuid(),
            number: event.number,
            routing_key: &event.routing_key,
            body: &event.body,
        })
    }
}

/// Requests to an integration.
#[derive(Debug, ToSql)]
#[postgres(name = "settle_usage")]
pub(super) struct UsageRow<'a> {
    id: Uuid,
    succeeded: i64,
    failed: i64,
    last_error: Option<&'a str>,
}

impl<'a> UsageRow<'a> {
    fn of((id, tally): &'a (IntegrationId, UsageTally)) -> Self {
        Self {
            id: id.uuid(),
            succeeded: tally.succeeded,
            failed: tally.failed,
            last_error: tally.last_error.as_deref(),
        }
    }
}

/// A ticket's row to be made.
#[derive(Debug, ToSql)]
#[postgres(name = "settle_ticket")]
pub(super) struct InsertRow<'a> {
    command_id: Uuid,
    id: Uuid,
    organization: Uuid,
    title: &'a str,
    description: &'a str,
    priority: &'a str,
    category: &'a str,
    urgency: &'a str,
    department: Option<&'a str>,
    created_by: Option<Uuid>,
    assigned_to: Option<Uuid>,
    integration: Option<Uuid>,
    external_id: Option<&'a str>,
    external_url: Option<&'a str>,
    integration_result: Option<String>,
    external_ref: Option<String>,
    custom_fields: Option<String>,
    tags: Option<String>,
    analysis: Option<String>,
    words: Option<Words>,
}

impl<'a> InsertRow<'a> {
    fn of(s: &'a Settlement) -> Option<Self> {
        let t = s.ticket_insert.as_deref()?;
        let organization = s.organization_id.uuid();
        let result = t.integration_result.as_ref();
        Some(Self {
            command_id: s.id.uuid(),
            id: t.id.uuid(),
            organization,
            title: &t.title,
            description: &t.description,
            priority: t.priority,
            category: t.category.as_str(),
            urgency: t.urgency,
            department: t.department.as_deref(),
            created_by: t.created_by,
            assigned_to: t.assigned_to,
            integration: t.integration_id.map(IntegrationId::uuid),
            external_id: result.and_then(|r| r.external_ticket_id.as_deref()),
            external_url: result.and_then(|r| r.external_ticket_url.as_deref()),
            integration_result: result.map(plain),
            external_ref: map_text(&t.external_ref),
            custom_fields: map_text(&t.custom_fields),
            tags: Some(&t.tags).filter(|tags| !tags.is_empty()).map(plain),
            analysis: t.analysis.as_ref().map(|a| {
                json!({ "confidence": format!("{:.2}", a.confidence), "reasoning": a.reasoning,
                        "tags": a.tags, "keywords": a.keywords })
                .to_string()
            }),
            words: Words::of(organization, &t.title, &t.description),
        })
    }
}

/// What is known of the item that a command has written.
#[derive(Debug, ToSql)]
#[postgres(name = "settle_external")]
pub(super) struct ItemRow<'a> {
    command_id: Uuid,
    fencing_token: i32,
    ticket_id: Uuid,
    organization: Uuid,
    integration: Uuid,
    external_id: &'a str,
    stable_id: Option<&'a str>,
    base: String,
    comment_id: Option<&'a str>,
    public: Option<bool>,
    body_digest: Option<&'a [u8]>,
}

impl<'a> ItemRow<'a> {
    pub(super) fn of(s: &'a Settlement) -> Option<Self> {
        let item = s.external.as_deref()?;
        let comment = item.comment.as_ref();
        Some(Self {
            command_id: s.id.uuid(),
            fencing_token: s.fencing_token,
            ticket_id: s.ticket_id?.uuid(),
            organization: s.organization_id.uuid(),
            integration: s.integration_id?.uuid(),
            external_id: &item.external_id,
            stable_id: item.stable_id.as_deref(),
            base: plain(&item.base),
            comment_id: comment.map(|(id, _)| id.as_str()),
            public: comment.and_then(|(_, public)| *public),
            body_digest: item.comment_digest.as_deref(),
        })
    }
}

/// A change of a ticket's row, for `sql/tickets_change.sql`.
#[derive(Debug, ToSql)]
#[postgres(name = "change_ticket")]
pub(super) struct ChangeRow<'a> {
    command_id: Uuid,
    fencing_token: i32,
    id: Uuid,
    organization: Uuid,
    title: Option<&'a str>,
    description: Option<&'a str>,
    category: Option<&'a str>,
    priority: Option<&'a str>,
    urgency: Option<&'a str>,
    department: Option<&'a str>,
    custom_fields: Option<String>,
    tags: Option<String>,
    status: Option<&'a str>,
    resolution_summary: Option<&'a str>,
    internal_notes: Option<&'a str>,
    assigns: bool,
    assigned_to: Option<Uuid>,
    comments: bool,
    external_id: Option<&'a str>,
    external_url: Option<&'a str>,
    external_ref: Option<String>,
    integration_result: Option<String>,
    deletes: bool,
}

impl<'a> ChangeRow<'a> {
    pub(super) fn of(s: &'a Settlement) -> Option<Self> {
        let t = s.ticket_change.as_deref()?;
        Some(Self {
            command_id: s.id.uuid(),
            fencing_token: s.fencing_token,
            id: s.ticket_id?.uuid(),
            organization: s.organization_id.uuid(),
            title: t.patch.title.as_deref(),
            description: t.patch.description.as_deref(),
            category: t.patch.category.map(TicketCategory::as_str),
            priority: t.patch.priority.map(Priority::as_str),
            urgency: t.patch.urgency.map(Priority::as_str),
            department: t.patch.department.as_deref(),
            custom_fields: t.patch.custom_fields.as_ref().map(plain),
            tags: t.patch.tags.as_ref().map(plain),
            status: t.status.map(TicketStatus::as_str),
            resolution_summary: t.resolution_summary.as_deref(),
            internal_notes: t.internal_notes.as_deref(),
            assigns: t.assigned_to.is_some(),
            assigned_to: t.assigned_to.flatten(),
            comments: t.comments,
            external_id: t.external_id.as_deref(),
            external_url: t.external_url.as_deref(),
            external_ref: map_text(&t.external_ref),
            integration_result: t.integration_result.as_ref().map(plain),
            deletes: t.deletes,
        })
    }
}

fn map_text(map: &Map<String, Value>) -> Option<String> {
    Some(map).filter(|map| !map.is_empty()).map(plain)
}

fn plain<T: serde::Serialize + ?Sized>(value: &T) -> String {
    json_text(value, 128)
}
