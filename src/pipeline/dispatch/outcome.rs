//! How a command comes out: its state, its events, its attempt, its ticket. What happens to row, event and ticket follows
//! from the outcome here and nowhere else.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::super::job::Job;
use super::super::policy::{self, Next, after};
use super::{ANNOUNCED_WAIT, DOUBT_PAUSE, Done, Run, mark, operation};
use crate::contract::{Command, Event, EventData, IntegrationResult, Outcome, TicketCommand};
use crate::domain::{ErrorCode, Failure, IntegrationId};
use crate::platforms::{Cause, Protection, Receipt};
use crate::store::{AttemptRecord, EventRecord, Report, Settlement, TicketChange, TicketInsert};

impl Run<'_> {
    pub(super) fn succeeded(&mut self, receipt: Option<&Receipt>) -> Done {
        self.job.doubt_since = None;
        let mut result = result_of(&self.job, receipt);
        if let Some(files) = self.files.take() {
            result["partial"] = files
                .iter()
                .any(|file| file["outcome"] != "attached")
                .into();
            result["attachments"] = files.into();
        }
        let result = self.with_analysis(Some(result)).unwrap_or_default();
        let integration_result = receipt.map(|receipt| integration_result(&self.job, receipt));
        self.done(
            Outcome::Succeeded,
            Some(result),
            None,
            None,
            receipt.zip(integration_result).as_ref(),
        )
    }

    /// Adds what an analysis found.
    fn with_analysis(&self, result: Option<Value>) -> Option<Value> {
        let Some(found) = &self.job.analysis else {
            return result;
        };
        let mut result = result.unwrap_or_else(|| json!({}));
        result["ai_analysis"] = found.shown.clone();
        result["confidence_score"] = found.columns.confidence.into();
        Some(result)
    }

    /// A refusal by a gate. With an attempt of unknown outcome behind it nothing *ends* a command here: "nothing was
    /// sent" would be a lie.
    pub(super) fn refused(&mut self, failure: Failure) -> Done {
        if self.job.doubt_since.is_some()
            && failure.code != ErrorCode::Quarantined
            && self.may_have_made_something()
        {
            return self.stays_in_doubt(&failure.message, None);
        }
        self.finished(Outcome::Failed, failure)
    }

    /// Whether an attempt behind it may have left something on the platform that was not there before.
    pub(super) fn may_have_made_something(&self) -> bool {
        if self.job.integration_id.is_none() {
            return false;
        }
        match &*self.job.command {
            Command::Ticket(
                TicketCommand::Create(_)
                | TicketCommand::AiCreate(_)
                | TicketCommand::Comment(_)
                | TicketCommand::Attach(_),
            ) => true,
            // On some platforms a change of status posts something, too.
            Command::Ticket(TicketCommand::Status(_) | TicketCommand::Delete(_)) => {
                let integration = self.job.integration.as_ref();
                let adapter = integration.and_then(|handle| handle.adapter.as_ref().ok());
                let (ticket, mark) = (self.ticket_view(), mark(&self.job));
                let cause = Cause {
                    mark: &mark,
                    at: self.job.received_at,
                };
                let operation = operation(&self.job.command, &ticket, cause);
                adapter
                    .zip(operation.ok())
                    .is_some_and(|(adapter, operation)| {
                        adapter.protection_of(&operation) != Protection::Native
                    })
            }
            Command::Ticket(TicketCommand::Update(_) | TicketCommand::Assign(_))
            | Command::Own(_)
            | Command::Read(_)
            | Command::Unwritten(_) => false,
        }
    }

    pub(super) fn finished(&mut self, outcome: Outcome, failure: Failure) -> Done {
        // What was done stays done, and the receipt says what is missing.
        if let Some(receipt) = self.partly.take() {
            return self.succeeded(Some(&receipt));
        }
        let failure = failure.finally();
        self.job.doubt_since = None;
        let result = self.job.command.creates_ticket().then(|| {
            let failed = IntegrationResult {
                success: false,
                external_ticket_id: None,
                external_ticket_url: None,
                details: Map::new(),
            };
            json!({ "ticket_id": self.job.ticket_id, "integration_result": failed })
        });
        let result = result.or_else(|| {
            let files = self.files.take()?;
            Some(json!({ "ticket_id": self.job.ticket_id, "attachments": files }))
        });
        let result = self.with_analysis(result);
        self.done(outcome, result, Some(&failure), None, None)
    }

    /// A failed attempt that may be made again: by `next` where a look-up comes first, else by schedule and hint.
    pub(super) fn after_failure(
        &mut self,
        failure: &Failure,
        hint: Option<Duration>,
        next: Option<Next>,
    ) -> Done {
        let spent = self.job.attempt + i32::from(self.spent);
        let schedule = &self.core.config.retry.schedule;
        let next = next.or_else(|| {
            let scheduled = policy::next_attempt(
                schedule,
                spent,
                hint,
                rand::random_range(0.0..=1.0),
                Utc::now(),
            );
            // The last attempt is looked up too before its command is given up.
            scheduled.or_else(|| {
                self.job.doubt_since.map(|since| Next {
                    at: after(since, DOUBT_PAUSE),
                    decided_by: "look-up of the last attempt".into(),
                })
            })
        });
        match next {
            Some(next) => self.deferred(&next, failure),
            None => self.finished(Outcome::Failed, exhausted(failure)),
        }
    }

    pub(super) fn deferred(&mut self, next: &Next, failure: &Failure) -> Done {
        self.done(Outcome::Deferred, None, Some(failure), Some(next), None)
    }

    /// Goes into the lane of the integration it was resolved to: no event, no attempt.
    pub(super) fn moves_lane(&mut self) -> Done {
        let now = Utc::now();
        let mut done = self.quiet(&Next {
            at: now,
            decided_by: "routed".into(),
        });
        done.settlement.state = "pending";
        done
    }

    /// Waits for something of ours: no event, no attempt.
    pub(super) fn waits_for_own(&mut self, next: &Next) -> Done {
        self.quiet(next)
    }

    /// Put off without a word.
    fn quiet(&mut self, next: &Next) -> Done {
        let mut done = self.done(Outcome::Deferred, None, None, Some(next), None);
        done.settlement.events.clear();
        done.settlement.events_after = self.job.events;
        done.settlement.ticket_insert = None;
        // Nothing came out, so nothing is counted.
        done.settlement.report = None;
        done
    }

    /// Back in line without the turn: no event, no attempt.
    pub(super) fn waits(&mut self, until: DateTime<Utc>) -> Done {
        let mut done = self.quiet(&Next {
            at: until,
            decided_by: "the ticket is not known yet".into(),
        });
        done.settlement.state = "pending";
        done.settlement.waits = true;
        // The fallback clock looks every second whether the ticket is known by then.
        done.settlement.due_at = Some(after(Utc::now(), Duration::from_secs(1)).min(until));
        done
    }

    pub(super) fn done(
        &mut self,
        outcome: Outcome,
        result: Option<Value>,
        failure: Option<&Failure>,
        next: Option<&Next>,
        receipt: Option<&(&Receipt, IntegrationResult)>,
    ) -> Done {
        let now = Utc::now();
        let duration_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let attempt = self.job.attempt + i32::from(self.spent);
        let announced = outcome.is_final()
            || self.spent
            || next.is_some_and(|next| {
                // Of a wait that goes on, only the beginning is announced.
                (next.at - now)
                    .to_std()
                    .is_ok_and(|wait| wait > ANNOUNCED_WAIT)
            });
        let row = self.handle.as_ref().map(|handle| &handle.row);
        let report = Report {
            command_type: self.job.command_type.as_str(),
            platform: row
                .and_then(|row| row.platform)
                .map_or("none", crate::domain::Platform::as_str),
            outcome: outcome.as_str(),
            seconds: self.started.elapsed().as_secs_f64(),
        };
        let mut events = Vec::new();
        if announced {
            let number = self.job.events + 1;
            let event = Event {
                id: Event::id_of(self.job.id, number),
                time: now,
                organization_id: Some(self.job.organization_id),
                trace: self.job.trace.clone(),
                data: EventData {
                    command_id: Some(self.job.id),
                    command_type: self.job.command_type.as_str().to_owned(),
                    outcome,
                    run: self.job.run,
                    attempt,
                    duration_ms,
                    integration_id: row.map(|row| row.id).or(self.job.integration_id),
                    integration_category: row.and_then(|row| row.category),
                    platform_name: row.and_then(|row| row.platform),
                    ticket_id: self.job.ticket_id,
                    result,
                    error: failure.cloned(),
                    retry_at: next.map(|next| next.at),
                },
            };
            let record = EventRecord {
                number,
                routing_key: event.routing_key(),
                body: event.to_json().into(),
            };
            events.push(record);
        }
        let attempt_record = self.spent.then(|| AttemptRecord {
            run: self.job.run,
            started_at: self.started_at,
            duration_ms,
            outcome: outcome.as_str(),
            message: failure.map(|failure| failure.message.clone()),
            http_status: failure
                .and_then(|failure| failure.http_status)
                .map(i32::from),
        });
        let finished = outcome.is_final();
        let settlement = Settlement {
            id: self.job.id,
            organization_id: self.job.organization_id,
            ticket_id: self.job.ticket_id,
            take: self.job.take,
            state: match outcome {
                Outcome::Succeeded => "succeeded",
                Outcome::Failed | Outcome::Rejected => "failed",
                Outcome::Cancelled => "cancelled",
                Outcome::Deferred => "deferred",
            },
            attempt,
            events_after: self.job.events + i32::try_from(events.len()).unwrap_or(0),
            due_at: next.map(|next| next.at),
            decided_by: next.map(|next| next.decided_by.clone()),
            error_code: failure.map(|failure| failure.code.as_str()),
            error: failure.and_then(|failure| serde_json::to_string(failure).ok()),
            doubt_since: self.job.doubt_since,
            lookups: self.job.lookups,
            finished,
            waits: false,
            ran: self.spent || finished,
            integration_id: self.handle.as_ref().map(|handle| handle.row.id),
            attempt_record,
            events,
            ticket_insert: self.ticket_insert(outcome, receipt),
            ticket_change: self.ticket_change(outcome, receipt),
            parent: self.job.parent,
            report: Some(report),
        };
        let id: Option<IntegrationId> = self.handle.as_ref().map(|handle| handle.row.id);
        Done {
            settlement,
            usage: id.zip(self.usage.take()),
            circuit: id.zip(self.circuit.take()),
            effect: None,
            instead: None,
            again: None,
        }
    }

    /// The row of a create is made with its first settlement, whatever the platform said; if resolution failed, none is.
    pub(super) fn ticket_insert(
        &self,
        outcome: Outcome,
        receipt: Option<&(&Receipt, IntegrationResult)>,
    ) -> Option<Box<TicketInsert>> {
        let Command::Ticket(TicketCommand::Create(create)) = &*self.job.command else {
            return None;
        };
        let own = (create.integration_id.is_none() && !create.route) || !create.create_externally;
        if self.handle.is_none() && !(own && outcome == Outcome::Succeeded) {
            return None;
        }
        let result = match (receipt, outcome) {
            (Some((_, result)), _) => Some(result.clone()),
            (None, Outcome::Failed) => Some(IntegrationResult {
                success: false,
                external_ticket_id: None,
                external_ticket_url: None,
                details: Map::new(),
            }),
            (
                None,
                Outcome::Succeeded | Outcome::Deferred | Outcome::Rejected | Outcome::Cancelled,
            ) => None,
        };
        let bound = receipt.is_some();
        Some(Box::new(TicketInsert {
            id: self.job.ticket_id?,
            title: create.title.clone(),
            description: create.description.clone(),
            priority: create.priority.as_str(),
            category: create.category,
            urgency: create.urgency.as_str(),
            department: create.department.clone(),
            created_by: create.created_by_id,
            assigned_to: create.assigned_to_id,
            integration_id: self
                .handle
                .as_ref()
                .filter(|_| bound)
                .map(|handle| handle.row.id),
            integration_result: result,
            external_ref: receipt
                .map(|(receipt, _)| receipt.external_ref.clone())
                .unwrap_or_default(),
            custom_fields: create.custom_fields.clone(),
            tags: create.tags.clone(),
            analysis: self
                .job
                .analysis
                .as_ref()
                .map(|found| found.columns.clone()),
            known: self.job.ticket.is_some(),
        }))
    }

    pub(super) fn ticket_change(
        &self,
        outcome: Outcome,
        receipt: Option<&(&Receipt, IntegrationResult)>,
    ) -> Option<Box<TicketChange>> {
        if outcome != Outcome::Succeeded {
            return None;
        }
        let mut change = TicketChange {
            external_id: receipt.and_then(|(receipt, _)| receipt.external_id.clone()),
            external_url: receipt.and_then(|(receipt, _)| receipt.external_url.clone()),
            external_ref: receipt
                .map(|(receipt, _)| receipt.external_ref.clone())
                .unwrap_or_default(),
            integration_result: receipt.map(|(_, result)| result.clone()),
            ..TicketChange::default()
        };
        match &*self.job.command {
            Command::Ticket(TicketCommand::Update(update)) => change.patch = update.patch.clone(),
            Command::Ticket(TicketCommand::Status(set)) => {
                change.status = Some(set.status);
                change.resolution_summary = set.resolution_summary.clone();
                change.internal_notes = set.internal_notes.clone();
            }
            Command::Ticket(TicketCommand::Assign(assign)) => {
                change.assigned_to = Some(assign.assigned_to_id);
            }
            Command::Ticket(TicketCommand::Comment(_)) => change.comments = true,
            Command::Ticket(TicketCommand::Attach(_)) => {}
            Command::Ticket(TicketCommand::Delete(_)) => change.deletes = true,
            Command::Ticket(TicketCommand::Create(_) | TicketCommand::AiCreate(_))
            | Command::Own(_)
            | Command::Read(_)
            | Command::Unwritten(_) => return None,
        }
        Some(Box::new(change))
    }
}

pub(super) fn integration_result(job: &Job, receipt: &Receipt) -> IntegrationResult {
    let stored = job.ticket.as_deref().map(|ticket| &ticket.view);
    IntegrationResult {
        success: true,
        external_ticket_id: receipt
            .external_id
            .clone()
            .or_else(|| stored.and_then(|t| t.external_id.clone())),
        external_ticket_url: receipt
            .external_url
            .clone()
            .or_else(|| stored.and_then(|t| t.external_url.clone())),
        details: receipt.details.clone(),
    }
}

pub(super) fn result_of(job: &Job, receipt: Option<&Receipt>) -> Value {
    let platform = receipt.map(|receipt| integration_result(job, receipt));
    match &*job.command {
        Command::Ticket(TicketCommand::Update(update)) => json!({
            "ticket_id": job.ticket_id, "changed_fields": update.patch.changed(), "integration_result": platform,
        }),
        Command::Ticket(TicketCommand::Status(set)) => {
            json!({ "ticket_id": job.ticket_id, "status": set.status, "integration_result": platform })
        }
        Command::Ticket(TicketCommand::Assign(assign)) => json!({
            "ticket_id": job.ticket_id, "assigned_to_id": assign.assigned_to_id, "integration_result": platform,
        }),
        Command::Ticket(TicketCommand::Comment(_)) => json!({
            "ticket_id": job.ticket_id,
            "external_comment_id": receipt.and_then(|receipt| receipt.external_comment_id.clone()),
            "integration_result": platform,
        }),
        Command::Ticket(TicketCommand::Delete(_)) => {
            json!({ "ticket_id": job.ticket_id, "deleted": true, "integration_result": platform })
        }
        Command::Ticket(
            TicketCommand::Create(_) | TicketCommand::AiCreate(_) | TicketCommand::Attach(_),
        )
        | Command::Own(_)
        | Command::Read(_)
        | Command::Unwritten(_) => {
            json!({ "ticket_id": job.ticket_id, "integration_result": platform })
        }
    }
}

pub(super) fn exhausted(last: &Failure) -> Failure {
    Failure {
        code: ErrorCode::AttemptsExhausted,
        message: format!(
            "no attempt is left; the last one ended {}: {}",
            last.code, last.message
        ),
        retryable: false,
        http_status: last.http_status,
        fields: last.fields.clone(),
    }
}
