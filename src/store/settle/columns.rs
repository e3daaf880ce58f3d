//! A batch turned on its side: one array a column, as `unnest` takes them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Params, Settlement, UsageTally};
use crate::domain::{IntegrationId, TicketCategory, TicketStatus};
use crate::store::Words;

/// The columns of `sql/settle.sql`, one vector each.
#[derive(Default)]
pub(super) struct SettleColumns<'a> {
    ids: Vec<Uuid>,
    takes: Vec<i32>,
    states: Vec<&'a str>,
    attempts: Vec<i32>,
    events: Vec<i32>,
    due: Vec<Option<DateTime<Utc>>>,
    decided: Vec<Option<&'a str>>,
    codes: Vec<Option<&'a str>>,
    errors: Vec<Option<&'a str>>,
    doubts: Vec<Option<DateTime<Utc>>>,
    lookups: Vec<i32>,
    finals: Vec<Option<&'a str>>,
    final_keys: Vec<Option<&'a str>>,
    finished: Vec<bool>,
    waits: Vec<bool>,
    ran: Vec<bool>,
    integrations: Vec<Option<Uuid>>,
    /// Whether it has had events before these.
    earlier: Vec<bool>,
    /// Whether its event is the command's only one: see [`Settlement::is_sole`].
    sole: Vec<bool>,
    batch: Uuid,
    usage: UsageColumns<'a>,
    a_ids: Vec<Uuid>,
    a_runs: Vec<i32>,
    a_attempts: Vec<i32>,
    a_started: Vec<DateTime<Utc>>,
    a_durations: Vec<i64>,
    a_outcomes: Vec<&'a str>,
    a_codes: Vec<Option<&'a str>>,
    a_messages: Vec<Option<&'a str>>,
    a_statuses: Vec<Option<i32>>,
    a_retries: Vec<Option<DateTime<Utc>>>,
    a_decided: Vec<Option<&'a str>>,
    e_ids: Vec<Uuid>,
    e_numbers: Vec<i32>,
    e_keys: Vec<&'a str>,
    e_bodies: Vec<&'a str>,
    tickets: InsertColumns<'a>,
}

impl<'a> SettleColumns<'a> {
    /// `id` names the row of `outbox_batches`.
    pub(super) fn of(
        batch: &'a [Settlement],
        id: Uuid,
        usage: &'a [(IntegrationId, UsageTally)],
    ) -> Self {
        let mut c = Self {
            batch: id,
            usage: UsageColumns::of(usage),
            tickets: InsertColumns::of(batch),
            ..Self::default()
        };
        for s in batch {
            c.ids.push(s.id.uuid());
            c.takes.push(s.take);
            c.states.push(s.state);
            c.attempts.push(s.attempt);
            c.events.push(s.events_after);
            c.due.push(s.due_at);
            c.decided.push(s.decided_by.as_deref());
            c.codes.push(s.error_code);
            c.errors.push(s.error.as_deref());
            c.doubts.push(s.doubt_since);
            c.lookups.push(s.lookups);
            let last = s.final_event();
            c.finals.push(last.map(|event| event.body.as_str()));
            c.final_keys
                .push(last.map(|event| event.routing_key.as_str()));
            let before = usize::try_from(s.events_after).unwrap_or(0);
            c.earlier.push(before > s.events.len());
            c.sole.push(s.is_sole());
            c.finished.push(s.finished);
            c.waits.push(s.waits);
            c.ran.push(s.ran);
            c.integrations
                .push(s.integration_id.map(IntegrationId::uuid));
            if let Some(a) = &s.attempt_record {
                c.a_ids.push(s.id.uuid());
                c.a_runs.push(a.run);
                c.a_attempts.push(s.attempt);
                c.a_started.push(a.started_at);
                c.a_durations.push(a.duration_ms);
                c.a_outcomes.push(a.outcome);
                c.a_codes.push(s.error_code);
                c.a_messages.push(a.message.as_deref());
                c.a_statuses.push(a.http_status);
                c.a_retries.push(if s.finished { None } else { s.due_at });
                c.a_decided.push(s.decided_by.as_deref());
            }
            let apart = if s.is_sole() {
                &[]
            } else {
                s.events.as_slice()
            };
            for e in apart {
                c.e_ids.push(s.id.uuid());
                c.e_numbers.push(e.number);
                c.e_keys.push(&e.routing_key);
                c.e_bodies.push(&e.body);
            }
        }
        c
    }

    pub(super) fn params<'b>(
        &'b self,
        owner: &'b Uuid,
        worker: &'b &'b str,
        again: &'b bool,
    ) -> Params<'b> {
        let mut params: Params<'b> = vec![
            owner,
            &self.ids,
            &self.takes,
            &self.states,
            &self.attempts,
            &self.events,
            &self.due,
            &self.decided,
            &self.codes,
            &self.errors,
            &self.doubts,
            &self.lookups,
            &self.finals,
            &self.final_keys,
            &self.finished,
            &self.waits,
            &self.ran,
            &self.integrations,
            worker,
            &self.a_ids,
            &self.a_runs,
            &self.a_attempts,
            &self.a_started,
            &self.a_durations,
            &self.a_outcomes,
            &self.a_codes,
            &self.a_messages,
            &self.a_statuses,
            &self.a_retries,
            &self.a_decided,
            &self.e_ids,
            &self.e_numbers,
            &self.e_keys,
            &self.e_bodies,
            &self.earlier,
        ];
        self.tickets.push_params(&mut params);
        params.push(&self.sole);
        params.push(&self.batch);
        self.usage.push_params(&mut params);
        params.push(again);
        params
    }
}

/// The columns of the ticket rows in `sql/settle.sql`.
#[derive(Default)]
struct InsertColumns<'a> {
    commands: Vec<Uuid>,
    ids: Vec<Uuid>,
    orgs: Vec<Uuid>,
    titles: Vec<&'a str>,
    descriptions: Vec<&'a str>,
    priorities: Vec<&'a str>,
    categories: Vec<&'a str>,
    urgencies: Vec<&'a str>,
    departments: Vec<Option<&'a str>>,
    authors: Vec<Option<Uuid>>,
    assignees: Vec<Option<Uuid>>,
    integrations: Vec<Option<Uuid>>,
    external_ids: Vec<Option<&'a str>>,
    external_urls: Vec<Option<&'a str>>,
    results: Vec<Option<String>>,
    refs: Vec<Option<String>>,
    custom: Vec<Option<String>>,
    tags: Vec<Option<String>>,
    analyses: Vec<Option<String>>,
    words: Vec<Option<Words>>,
}

impl<'a> InsertColumns<'a> {
    fn of(batch: &'a [Settlement]) -> Self {
        let mut c = Self::default();
        for (s, t) in batch
            .iter()
            .filter_map(|s| Some((s, s.ticket_insert.as_deref()?)))
        {
            c.commands.push(s.id.uuid());
            c.ids.push(t.id.uuid());
            c.orgs.push(s.organization_id.uuid());
            c.words.push(Words::of(
                s.organization_id.uuid(),
                &t.title,
                &t.description,
            ));
            c.titles.push(&t.title);
            c.descriptions.push(&t.description);
            c.priorities.push(t.priority);
            c.categories.push(t.category.as_str());
            c.urgencies.push(t.urgency);
            c.departments.push(t.department.as_deref());
            c.authors.push(t.created_by);
            c.assignees.push(t.assigned_to);
            c.integrations
                .push(t.integration_id.map(IntegrationId::uuid));
            let result = t.integration_result.as_ref();
            c.external_ids
                .push(result.and_then(|r| r.external_ticket_id.as_deref()));
            c.external_urls
                .push(result.and_then(|r| r.external_ticket_url.as_deref()));
            c.results.push(json_text(result));
            c.refs.push(map_text(&t.external_ref));
            c.custom.push(map_text(&t.custom_fields));
            c.tags.push(if t.tags.is_empty() {
                None
            } else {
                json_text(Some(&t.tags))
            });
            c.analyses.push(t.analysis.as_ref().map(|a| {
                json!({ "confidence": format!("{:.2}", a.confidence), "reasoning": a.reasoning,
                        "tags": a.tags, "keywords": a.keywords })
                .to_string()
            }));
        }
        c
    }

    fn push_params<'b>(&'b self, params: &mut Params<'b>) {
        let own: [&(dyn tokio_postgres::types::ToSql + Sync); 20] = [
            &self.commands,
            &self.ids,
            &self.orgs,
            &self.titles,
            &self.descriptions,
            &self.priorities,
            &self.categories,
            &self.urgencies,
            &self.departments,
            &self.authors,
            &self.assignees,
            &self.integrations,
            &self.external_ids,
            &self.external_urls,
            &self.results,
            &self.refs,
            &self.custom,
            &self.tags,
            &self.analyses,
            &self.words,
        ];
        params.extend(own);
    }
}

/// The columns of `sql/tickets_change.sql`.
#[derive(Default)]
pub(super) struct ChangeColumns<'a> {
    commands: Vec<Uuid>,
    takes: Vec<i32>,
    ids: Vec<Uuid>,
    orgs: Vec<Uuid>,
    titles: Vec<Option<&'a str>>,
    descriptions: Vec<Option<&'a str>>,
    categories: Vec<Option<&'a str>>,
    priorities: Vec<Option<&'a str>>,
    urgencies: Vec<Option<&'a str>>,
    departments: Vec<Option<&'a str>>,
    custom: Vec<Option<String>>,
    tags: Vec<Option<String>>,
    statuses: Vec<Option<&'a str>>,
    summaries: Vec<Option<&'a str>>,
    notes: Vec<Option<&'a str>>,
    assigns: Vec<bool>,
    assignees: Vec<Option<Uuid>>,
    comments: Vec<bool>,
    external_ids: Vec<Option<&'a str>>,
    external_urls: Vec<Option<&'a str>>,
    refs: Vec<Option<String>>,
    results: Vec<Option<String>>,
    deletes: Vec<bool>,
}

impl<'a> ChangeColumns<'a> {
    pub(super) fn of(batch: &'a [Settlement]) -> Self {
        let mut c = Self::default();
        for (s, ticket, t) in batch
            .iter()
            .filter_map(|s| Some((s, s.ticket_id?, s.ticket_change.as_deref()?)))
        {
            c.commands.push(s.id.uuid());
            c.takes.push(s.take);
            c.ids.push(ticket.uuid());
            c.orgs.push(s.organization_id.uuid());
            c.titles.push(t.patch.title.as_deref());
            c.descriptions.push(t.patch.description.as_deref());
            c.categories
                .push(t.patch.category.map(TicketCategory::as_str));
            c.priorities
                .push(t.patch.priority.map(crate::domain::Priority::as_str));
            c.urgencies
                .push(t.patch.urgency.map(crate::domain::Priority::as_str));
            c.departments.push(t.patch.department.as_deref());
            c.custom.push(
                t.patch
                    .custom_fields
                    .as_ref()
                    .and_then(|map| json_text(Some(map))),
            );
            c.tags
                .push(t.patch.tags.as_ref().and_then(|tags| json_text(Some(tags))));
            c.statuses.push(t.status.map(TicketStatus::as_str));
            c.summaries.push(t.resolution_summary.as_deref());
            c.notes.push(t.internal_notes.as_deref());
            c.assigns.push(t.assigned_to.is_some());
            c.assignees.push(t.assigned_to.flatten());
            c.comments.push(t.comments);
            c.external_ids.push(t.external_id.as_deref());
            c.external_urls.push(t.external_url.as_deref());
            c.refs.push(map_text(&t.external_ref));
            c.results.push(json_text(t.integration_result.as_ref()));
            c.deletes.push(t.deletes);
        }
        c
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn params(&self) -> Params<'_> {
        vec![
            &self.commands,
            &self.takes,
            &self.ids,
            &self.orgs,
            &self.titles,
            &self.descriptions,
            &self.categories,
            &self.priorities,
            &self.urgencies,
            &self.departments,
            &self.custom,
            &self.tags,
            &self.statuses,
            &self.summaries,
            &self.notes,
            &self.assigns,
            &self.assignees,
            &self.comments,
            &self.external_ids,
            &self.external_urls,
            &self.refs,
            &self.results,
            &self.deletes,
        ]
    }
}

#[derive(Default)]
struct UsageColumns<'a> {
    ids: Vec<Uuid>,
    succeeded: Vec<i64>,
    failed: Vec<i64>,
    errors: Vec<Option<&'a str>>,
}

impl<'a> UsageColumns<'a> {
    fn of(usage: &'a [(IntegrationId, UsageTally)]) -> Self {
        let mut c = Self::default();
        for (id, tally) in usage {
            c.ids.push(id.uuid());
            c.succeeded.push(tally.succeeded);
            c.failed.push(tally.failed);
            c.errors.push(tally.last_error.as_deref());
        }
        c
    }

    fn push_params<'b>(&'b self, params: &mut Params<'b>) {
        let own: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&self.ids, &self.succeeded, &self.failed, &self.errors];
        params.extend(own);
    }
}

pub(super) fn json_text<T: serde::Serialize>(value: Option<&T>) -> Option<String> {
    // A value that cannot be written as JSON does not occur: all of these are plain data.
    value.and_then(|value| serde_json::to_string(value).ok())
}

pub(super) fn map_text(map: &Map<String, Value>) -> Option<String> {
    if map.is_empty() {
        None
    } else {
        json_text(Some(map))
    }
}
