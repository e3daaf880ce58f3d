//! The settlement of a disposition: what is written of the command, its attempt, its events and its
//! ticket. All of that follows from the disposition here and nowhere else.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{ANNOUNCED_WAIT, Run};
use crate::contract::{Command, Event, EventData, IntegrationResult, Outcome, TicketCommand};
use crate::domain::{CommandState, Failure, Wait, WaitReason};
use crate::pipeline::clock;
use crate::pipeline::context::Core;
use crate::pipeline::disposition::{Completed, Completion, Conclusion, Disposition, untouched};
use crate::pipeline::inbound::{InboundRun, base_of, digest};
use crate::pipeline::job::Job;
use crate::pipeline::retry::{Next, after};
use crate::platforms::{Moment, Receipt};
use crate::store::{
    AttemptRecord, EventRecord, ExternalRecord, Report, Settlement, TicketChange, TicketInsert,
};

/// How often a command that waits for its ticket is looked at.
const TICKET_LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// The settlement of a delivery, once it is decided.
pub(in crate::pipeline) fn settlement_of(
    core: &Arc<Core>,
    run: &InboundRun,
    disposition: &Disposition,
) -> Settlement {
    let settled = Run {
        started: run.started,
        started_at: run.started_at,
        handle: Some(Arc::clone(&run.handle)),
        ..Run::new(core, run.job.clone())
    };
    settled.settlement(disposition)
}

impl Run<'_> {
    /// What is written of the command that was run.
    pub(super) fn complete(mut self, conclusion: Conclusion) -> Completed {
        let completion = match conclusion {
            Conclusion::Plain(disposition) => Completion::Plain(self.settlement(&disposition)),
            Conclusion::WithChange {
                disposition,
                change,
                if_refused,
                if_stale,
            } => Completion::WithChange {
                settlement: self.settlement(&disposition),
                change,
                if_refused: Box::new(self.settlement(&if_refused)),
                if_stale: Box::new(self.settlement(&if_stale)),
            },
            Conclusion::Inbound(changes, unsigned) => match self.handle.clone() {
                Some(handle) => Completion::Inbound(Box::new(InboundRun {
                    job: self.job.clone(),
                    started: self.started,
                    started_at: self.started_at,
                    handle,
                    changes,
                    unsigned,
                })),
                // Whose delivery it is was found before its changes were.
                None => Completion::Plain(self.settlement(&Disposition::Succeeded {
                    result: json!({ "changes": 0 }),
                    receipt: None,
                })),
            },
        };
        let id = self.handle.as_ref().map(|handle| handle.row.id);
        let (usage, circuit) = (id.zip(self.usage.take()), id.zip(self.circuit.take()));
        Completed {
            completion,
            usage,
            circuit,
        }
    }

    fn settlement(&self, disposition: &Disposition) -> Settlement {
        match disposition {
            Disposition::Succeeded { result, receipt } => self.reported(
                Outcome::Succeeded,
                Some(result),
                receipt.as_deref(),
                None,
                None,
            ),
            Disposition::Failed(failure) => {
                let result = self.result_of_failure();
                self.reported(Outcome::Failed, result.as_ref(), None, Some(failure), None)
            }
            Disposition::Retry { next, failure } => {
                self.reported(Outcome::Deferred, None, None, Some(failure), Some(*next))
            }
            Disposition::Requeue { next, state } => Settlement {
                due_at: Some(next.at),
                wait: Some(next.wait),
                ..self.put_back(*state)
            },
            Disposition::GoesOn { next } => Settlement {
                due_at: Some(next.at),
                wait: Some(next.wait),
                // It did not kill its process: what it did since its last death is behind it.
                ran: true,
                ..self.put_back(CommandState::Deferred)
            },
            Disposition::AwaitTicket { until } => Settlement {
                // The scheduler looks whether the ticket is known by then.
                due_at: Some(after(clock::now(), TICKET_LOOK).min(*until)),
                wait: Some(Wait::of(WaitReason::TicketUnknown)),
                waits: true,
                ..self.put_back(CommandState::Pending)
            },
        }
    }

    /// The command goes back without a result: no attempt, no event, nothing counted.
    fn put_back(&self, state: CommandState) -> Settlement {
        Settlement {
            integration_id: self.resolved(),
            attempt: self.job.attempt + i32::from(self.spent),
            ran: self.spent,
            attempt_record: self.attempt_record(Outcome::Deferred, None),
            ..untouched(&self.job, state)
        }
    }

    /// A result: it is announced, recorded and counted.
    fn reported(
        &self,
        outcome: Outcome,
        result: Option<&Value>,
        receipt: Option<&Receipt>,
        failure: Option<&Failure>,
        next: Option<Next>,
    ) -> Settlement {
        let state = match outcome {
            Outcome::Succeeded => CommandState::Succeeded,
            Outcome::Failed | Outcome::Rejected => CommandState::Failed,
            Outcome::Cancelled => CommandState::Cancelled,
            Outcome::Deferred => CommandState::Deferred,
        };
        let events: Vec<EventRecord> = self
            .is_announced(outcome, next)
            .then(|| self.event(outcome, result, failure, next))
            .into_iter()
            .collect();
        let platform_result = receipt.map(|receipt| integration_result(&self.job, receipt));
        let receipt = receipt.zip(platform_result.as_ref());
        let is_success = outcome == Outcome::Succeeded;
        Settlement {
            attempt: self.job.attempt + i32::from(self.spent),
            events_after: self.job.events + i32::try_from(events.len()).unwrap_or(0),
            due_at: next.map(|next| next.at),
            wait: next.map(|next| next.wait),
            error_code: failure.map(|failure| failure.code),
            error: failure.and_then(|failure| serde_json::to_string(failure).ok()),
            // An end is beyond doubt.
            doubt_since: self.job.doubt_since.filter(|_| !outcome.is_final()),
            ran: self.spent || outcome.is_final(),
            integration_id: self.resolved(),
            attempt_record: self.attempt_record(outcome, failure),
            events,
            ticket_insert: self.ticket_insert(outcome, receipt),
            ticket_change: is_success.then(|| self.ticket_change(receipt)).flatten(),
            external: receipt
                .filter(|_| is_success)
                .and_then(|(receipt, result)| self.external(receipt, result)),
            forgets_files: is_success && !self.job.command.attachments().is_empty(),
            report: Some(self.report(outcome)),
            ..untouched(&self.job, state)
        }
    }

    /// What is known of the item now, where what comes back from its platform is compared with it.
    fn external(
        &self,
        receipt: &Receipt,
        result: &IntegrationResult,
    ) -> Option<Box<ExternalRecord>> {
        let (wrote, handle) = (self.wrote.as_ref()?, self.handle.as_ref()?);
        let stored = self.job.ticket.as_deref().map(|ticket| &ticket.view);
        let adapter = handle.adapter.as_ref().ok()?;
        let stable = |map: &Map<String, Value>| {
            let id = map.get(adapter.stable_ref())?;
            Some(id.as_str().map_or_else(|| id.to_string(), str::to_owned))
        };
        let known = || stored.and_then(|view| stable(&view.external_ref));
        // Without a moment of the platform's, ours bounds it: sent after the start, answered now.
        let at = receipt.written.unwrap_or(Moment {
            low: self.started_at - chrono::TimeDelta::seconds(5),
            high: clock::now() + chrono::TimeDelta::seconds(5),
        });
        let comment = match &*self.job.command {
            Command::Ticket(TicketCommand::Comment(comment)) => Some(comment),
            _ => None,
        };
        Some(Box::new(ExternalRecord {
            external_id: result.external_ticket_id.clone()?,
            stable_id: stable(&receipt.external_ref).or_else(known),
            base: base_of(wrote, at),
            comment: receipt
                .external_comment_id
                .clone()
                .map(|id| (id, comment.map(|comment| comment.public))),
            comment_digest: comment.and_then(|comment| hex::decode(digest(&comment.body)).ok()),
        }))
    }

    /// The integration that the command goes to. What comes from one stays in the lane that it has.
    fn resolved(&self) -> Option<crate::domain::IntegrationId> {
        let handle = self.handle.as_ref()?;
        let comes_in = matches!(&*self.job.command, Command::Inbound(_));
        (!comes_in).then_some(handle.row.id)
    }

    fn report(&self, outcome: Outcome) -> Report {
        let row = self.handle.as_ref().map(|handle| &handle.row);
        Report {
            command_type: self.job.command_type.label(),
            platform: row
                .and_then(|row| row.platform)
                .map_or("none", crate::domain::Platform::as_str),
            outcome,
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }

    /// Of a wait that goes on, only a long one is announced, and only its beginning.
    fn is_announced(&self, outcome: Outcome, next: Option<Next>) -> bool {
        let is_long = |next: Next| {
            let wait = (next.at - clock::now()).to_std();
            wait.is_ok_and(|wait| wait > ANNOUNCED_WAIT)
        };
        outcome.is_final() || self.spent || next.is_some_and(is_long)
    }

    fn event(
        &self,
        outcome: Outcome,
        result: Option<&Value>,
        failure: Option<&Failure>,
        next: Option<Next>,
    ) -> EventRecord {
        let number = self.job.events + 1;
        let row = self.handle.as_ref().map(|handle| &handle.row);
        let event = Event {
            id: Event::id_of(self.job.id, number),
            time: clock::now(),
            organization_id: Some(self.job.organization_id),
            trace: self.job.trace.clone(),
            data: EventData {
                command_id: Some(self.job.id),
                command_type: self.job.command_type.as_str().to_owned(),
                outcome,
                run: self.job.run,
                attempt: self.job.attempt + i32::from(self.spent),
                duration_ms: self.duration_ms(),
                integration_id: row.map(|row| row.id).or(self.job.integration_id),
                integration_category: row.and_then(|row| row.category),
                platform_name: row.and_then(|row| row.platform),
                ticket_id: self.job.ticket_id,
                result: result.cloned(),
                error: failure.cloned(),
                retry_at: next.map(|next| next.at),
            },
        };
        EventRecord {
            number,
            routing_key: event.routing_key(),
            body: event.to_json().into(),
        }
    }

    fn attempt_record(&self, outcome: Outcome, failure: Option<&Failure>) -> Option<AttemptRecord> {
        self.spent.then(|| AttemptRecord {
            run: self.job.run,
            started_at: self.started_at,
            duration_ms: self.duration_ms(),
            outcome,
            message: failure.map(|failure| failure.message.clone()),
            http_status: failure
                .and_then(|failure| failure.http_status)
                .map(i32::from),
        })
    }

    fn duration_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// What the event of a failure holds beside its error.
    fn result_of_failure(&self) -> Option<Value> {
        let mut result = if self.job.command.creates_ticket() {
            json!({ "ticket_id": self.job.ticket_id, "integration_result": no_result() })
        } else if let Some(files) = &self.files {
            json!({ "ticket_id": self.job.ticket_id, "attachments": files })
        } else if self.job.analysis.is_some() {
            json!({})
        } else {
            return None;
        };
        self.add_analysis(&mut result);
        Some(result)
    }

    /// Adds what an analysis found.
    pub(super) fn add_analysis(&self, result: &mut Value) {
        if let Some(found) = &self.job.analysis {
            result["ai_analysis"] = found.shown.clone();
            result["confidence_score"] = found.columns.confidence.into();
        }
    }

    /// The row of a create is made with its first settlement, whatever the platform said; if
    /// resolution failed, none is.
    fn ticket_insert(
        &self,
        outcome: Outcome,
        receipt: Option<(&Receipt, &IntegrationResult)>,
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
            (None, Outcome::Failed) => Some(no_result()),
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

    fn ticket_change(
        &self,
        receipt: Option<(&Receipt, &IntegrationResult)>,
    ) -> Option<Box<TicketChange>> {
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
            | Command::Admin(_)
            | Command::Read(_)
            | Command::Inbound(_)
            | Command::Unsupported(_) => return None,
        }
        Some(Box::new(change))
    }
}

fn integration_result(job: &Job, receipt: &Receipt) -> IntegrationResult {
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
            "ticket_id": job.ticket_id, "changed_fields": update.patch.changed(),
            "integration_result": platform,
        }),
        Command::Ticket(TicketCommand::Status(set)) => {
            json!({ "ticket_id": job.ticket_id, "status": set.status,
                "integration_result": platform })
        }
        Command::Ticket(TicketCommand::Assign(assign)) => json!({
            "ticket_id": job.ticket_id, "assigned_to_id": assign.assigned_to_id,
            "integration_result": platform,
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
        | Command::Admin(_)
        | Command::Read(_)
        | Command::Inbound(_)
        | Command::Unsupported(_) => {
            json!({ "ticket_id": job.ticket_id, "integration_result": platform })
        }
    }
}

fn no_result() -> IntegrationResult {
    IntegrationResult {
        success: false,
        external_ticket_id: None,
        external_ticket_url: None,
        details: Map::new(),
    }
}
