//! Runs one command: gates, look-up if there is doubt, the platform, and what follows from how it came out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde_json::{Map, Value, json};

use super::core::Core;
use super::gates::{self, Verdict};
use super::integrations::Handle;
use super::job::{Done, Job};
use super::own;
use super::policy::{self, Next, after};
use super::tokens::TokenCache;
use crate::contract::{Command, Event, EventData, IntegrationResult, Outcome, TicketCreate};
use crate::domain::{ErrorCode, Failure, IntegrationId, TicketStatus, TicketView, UserRef};
use crate::platforms::{
    Adapter, AdapterError, ErrorClass, Exchange, Operation, OperationKind, Protection, Receipt,
};
use crate::store::{
    AttemptRecord, CircuitTally, EventRecord, OwnEffect, Settlement, TicketChange, TicketInsert,
    UsageTally,
};
use crate::telemetry::{failpoint, metrics};

/// A wait longer than this is announced by an event.
const ANNOUNCED_WAIT: Duration = Duration::from_secs(60);
/// How long an outcome stays `outcome_unknown` before nobody looks any more.
const DOUBT_MAX: Duration = Duration::from_secs(86_400);
/// How long a command in doubt waits when something keeps it from being looked up.
const DOUBT_PAUSE: Duration = Duration::from_secs(30);

/// Runs a job to its settlement. Never fails: whatever happens is an outcome.
pub(super) async fn run(core: &Arc<Core>, job: Job) -> Done {
    let mut run = Run::new(core, job);
    // A bug in one command must not take its neighbours down.
    match AssertUnwindSafe(run.conduct()).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(
                command_id = %run.job.id, command_type = %run.job.command_type, error = text, "a command panicked"
            );
            // Whether something was sent before the panic is unknown.
            let failure = Failure::new(
                ErrorCode::Internal,
                "an internal error; the worker's log has the details",
            );
            run.doubt_from(Utc::now());
            run.after_failure(&failure, None, None)
        }
    }
}

/// A job being run.
struct Run<'a> {
    core: &'a Arc<Core>,
    job: Job,
    started: Instant,
    started_at: DateTime<Utc>,
    /// The integration that the command was resolved to.
    handle: Option<Arc<Handle>>,
    /// Whether an attempt is spent on this.
    spent: bool,
    /// What the circuit learns.
    circuit: Option<CircuitTally>,
    usage: Option<UsageTally>,
}

impl<'a> Run<'a> {
    fn new(core: &'a Arc<Core>, job: Job) -> Self {
        Self {
            core,
            job,
            started: Instant::now(),
            started_at: Utc::now(),
            handle: None,
            spent: false,
            circuit: None,
            usage: None,
        }
    }

    /// The life of a command, in one screen.
    async fn conduct(&mut self) -> Done {
        match &*self.job.command {
            Command::Unwritten(command_type) => {
                let text =
                    format!("this version of Ticketwire does not carry out {command_type} yet");
                return self.refused(Failure::new(ErrorCode::UnsupportedOperation, text));
            }
            Command::IntegrationCreate(_)
            | Command::IntegrationStatus(_)
            | Command::IntegrationTest(_)
            | Command::IntegrationGet(_)
            | Command::IntegrationList(_) => return self.conduct_own().await,
            Command::TicketCreate(_)
            | Command::TicketUpdate(_)
            | Command::TicketStatus(_)
            | Command::TicketAssign(_)
            | Command::TicketComment(_) => {}
        }
        match gates::ticket(&self.job, self.started_at) {
            Verdict::Refuse(failure) => self.refused(failure),
            Verdict::Wait(until) => self.waits(until),
            Verdict::Later(next, failure) => self.deferred(&next, &failure),
            Verdict::Own => {
                self.spent = true;
                self.succeeded(None)
            }
            Verdict::Call(handle, adapter) => {
                self.handle = Some(handle);
                self.call(adapter.as_ref()).await
            }
        }
    }

    async fn call(&mut self, adapter: &dyn Adapter) -> Done {
        let ticket = self.ticket_view();
        let mark = mark(&self.job);
        let command = Arc::clone(&self.job.command);
        let operation = match operation(&command, &ticket, &mark) {
            Ok(operation) => operation,
            Err(failure) => return self.refused(failure),
        };
        if self.job.doubt_since.is_some() {
            match self.look_up(adapter, &operation).await {
                LookedUp::Adopt(receipt) => return self.succeeded(Some(&receipt)),
                LookedUp::Nothing => {}
                LookedUp::Settled(done) => return *done,
            }
        }
        let attempts_max = self.core.config.retry.schedule.len() + 1;
        if usize::try_from(self.job.attempt).is_ok_and(|spent| spent >= attempts_max) {
            return self.refused(exhausted(&Failure::new(
                ErrorCode::OutcomeUnknown,
                "the outcome was looked up",
            )));
        }
        self.spent = true;
        let result = {
            let tokens = TokenCache::new(self.core, self.handle.as_ref());
            let exchange = self.exchange(&tokens);
            adapter.execute(&exchange, &operation).await
        };
        failpoint("after_answer").await;
        self.tally(&result);
        match result {
            Ok(receipt) => self.succeeded(Some(&receipt)),
            Err(error) => {
                tracing::info!(
                    command_id = %self.job.id, command_type = %self.job.command_type, error_code = %error.code(),
                    platform_name = self.handle.as_ref().map(|h| h.row.platform_name.as_str()),
                    attempt = self.job.attempt + 1, error = %error, "an attempt failed"
                );
                self.failed_attempt(adapter, operation.kind(), &error)
            }
        }
    }

    /// What follows from the class of a failed attempt.
    fn failed_attempt(
        &mut self,
        adapter: &dyn Adapter,
        kind: OperationKind,
        error: &AdapterError,
    ) -> Done {
        let failure = error.failure();
        match &error.class {
            ErrorClass::Transient { retry_after } | ErrorClass::RateLimited { retry_after } => {
                self.after_failure(&failure, *retry_after, None)
            }
            ErrorClass::Timeout | ErrorClass::Internal => self.after_failure(&failure, None, None),
            ErrorClass::Authentication
            | ErrorClass::Permission
            | ErrorClass::NotFound
            | ErrorClass::Validation { .. }
            | ErrorClass::Conflict
            | ErrorClass::Unsupported
            | ErrorClass::Egress => self.finished(Outcome::Failed, failure),
            ErrorClass::Unknown => match adapter.protection(kind) {
                Protection::Native => self.after_failure(&failure, None, None),
                Protection::None => {
                    self.finished(Outcome::Failed, unknown_for_good(&failure.message))
                }
                Protection::Lookup { rungs } => {
                    let now = Utc::now();
                    self.doubt_from(now);
                    let ladder = policy::ladder(rungs, self.core.config.dispatch.settle_after);
                    let first = ladder.first().copied().unwrap_or_default();
                    let next = Next {
                        at: after(now, first),
                        decided_by: self.rung_name(0),
                    };
                    self.after_failure(&failure, None, Some(next))
                }
            },
        }
    }

    /// Looks for what an attempt of unknown outcome may have made. Spends no attempt.
    async fn look_up(&mut self, adapter: &dyn Adapter, operation: &Operation<'_>) -> LookedUp {
        let Some(doubt_since) = self.job.doubt_since else {
            return LookedUp::Nothing;
        };
        let rungs = match adapter.protection(operation.kind()) {
            Protection::Native => {
                self.job.doubt_since = None;
                return LookedUp::Nothing;
            }
            Protection::None => {
                let failure = unknown_for_good(
                    "the request may have reached the platform, which offers no way to find out",
                );
                return LookedUp::Settled(Box::new(self.finished(Outcome::Failed, failure)));
            }
            Protection::Lookup { rungs } => rungs,
        };
        let ladder = policy::ladder(rungs, self.core.config.dispatch.settle_after);
        let last = ladder.last().copied().unwrap_or_default();
        let asked_at = Utc::now();
        let elapsed = (asked_at - doubt_since).to_std().unwrap_or_default();
        let lookups = usize::try_from(self.job.lookups).unwrap_or(0);
        if let Some(rung) = ladder.get(lookups)
            && elapsed < *rung
        {
            let next = Next {
                at: after(doubt_since, *rung),
                decided_by: self.rung_name(lookups),
            };
            return LookedUp::Settled(Box::new(
                self.deferred(&next, &still_unknown("it is looked up later")),
            ));
        }
        let found = {
            let tokens = TokenCache::new(self.core, self.handle.as_ref());
            let exchange = self.exchange(&tokens);
            adapter.look_up(&exchange, operation).await
        };
        failpoint("after_answer").await;
        self.job.lookups += 1;
        match found {
            Ok(Some(mut receipt)) => {
                self.circuit = Some(CircuitTally {
                    reset: true,
                    failures: 0,
                });
                receipt.details.insert("adopted".into(), true.into());
                self.job.doubt_since = None;
                LookedUp::Adopt(Box::new(receipt))
            }
            Ok(None) if elapsed >= last => {
                self.circuit = Some(CircuitTally {
                    reset: true,
                    failures: 0,
                });
                self.job.doubt_since = None;
                self.job.lookups = 0;
                LookedUp::Nothing
            }
            Ok(None) => {
                self.circuit = Some(CircuitTally {
                    reset: true,
                    failures: 0,
                });
                let index = ladder
                    .iter()
                    .position(|rung| *rung > elapsed)
                    .unwrap_or(ladder.len() - 1);
                self.job.lookups = i32::try_from(index).unwrap_or(i32::MAX);
                let rung = ladder.get(index).copied().unwrap_or(last);
                let next = Next {
                    at: after(doubt_since, rung),
                    decided_by: self.rung_name(index),
                };
                let text = "not found so far, which proves nothing yet; it is looked up again";
                LookedUp::Settled(Box::new(self.deferred(&next, &still_unknown(text))))
            }
            Err(error) => {
                tracing::warn!(command_id = %self.job.id, error = %error, "a look-up failed");
                if let ErrorClass::Transient { .. } | ErrorClass::Timeout | ErrorClass::Unknown =
                    error.class
                {
                    self.circuit = Some(CircuitTally {
                        reset: false,
                        failures: 1,
                    });
                }
                let hint = match error.class {
                    ErrorClass::Transient { retry_after }
                    | ErrorClass::RateLimited { retry_after } => retry_after,
                    ErrorClass::Timeout
                    | ErrorClass::Authentication
                    | ErrorClass::Permission
                    | ErrorClass::NotFound
                    | ErrorClass::Validation { .. }
                    | ErrorClass::Conflict
                    | ErrorClass::Unsupported
                    | ErrorClass::Egress
                    | ErrorClass::Unknown
                    | ErrorClass::Internal => None,
                };
                LookedUp::Settled(Box::new(self.stays_in_doubt(&error.public, hint)))
            }
        }
    }

    /// A command in doubt that cannot be looked up now: it waits, and after a day ends `outcome_unknown`.
    fn stays_in_doubt(&mut self, why: &str, hint: Option<Duration>) -> Done {
        let now = Utc::now();
        let since = self.job.doubt_since.unwrap_or(now);
        if (now - since).to_std().unwrap_or_default() >= DOUBT_MAX {
            return self.finished(Outcome::Failed, unknown_for_good(why));
        }
        // Short at first, as most troubles are; a look-up costs the platform little.
        let elapsed = (now - since).to_std().unwrap_or_default();
        let pause = (elapsed / 4)
            .clamp(Duration::from_secs(1), DOUBT_PAUSE)
            .max(hint.unwrap_or_default());
        let next = Next {
            at: after(now, pause),
            decided_by: "look-up of an unknown outcome".into(),
        };
        self.deferred(
            &next,
            &still_unknown(&format!("it cannot be looked up now: {why}")),
        )
    }

    async fn conduct_own(&mut self) -> Done {
        let own = own::run(self.core, &self.job, self.started_at).await;
        self.handle = own.handle;
        self.spent = own.spent;
        let mut done = match own.result {
            Ok(result) => self.done(Outcome::Succeeded, Some(result), None, None, None),
            Err(own::Refusal::For(failure)) => self.finished(Outcome::Failed, failure),
            Err(own::Refusal::Later(failure, retry_after)) => {
                self.after_failure(&failure, retry_after, None)
            }
        };
        if done.settlement.finished && own.effect.is_some() {
            let text = "the database refused the change; the worker's log has the details";
            let refused = self.finished(Outcome::Failed, Failure::new(ErrorCode::Internal, text));
            done.instead = Some(Box::new(refused.settlement));
            done.effect = own.effect;
        }
        done
    }

    fn exchange<'b>(&'b self, tokens: &'b TokenCache<'b>) -> Exchange<'b> {
        Exchange {
            client: &self.core.http,
            deadline: self.started + self.core.config.dispatch.attempt_timeout,
            permit: self.core.lease.as_ref(),
            tokens,
        }
    }

    /// The ticket as the adapter sees it: the stored row with the command's change applied.
    fn ticket_view(&self) -> TicketView {
        let person = |id: Option<uuid::Uuid>| {
            id.map(|id| {
                let known = self.job.people.iter().find(|person| person.id == id);
                known.cloned().unwrap_or(UserRef {
                    id,
                    email: None,
                    full_name: None,
                })
            })
        };
        let mut view = match (&*self.job.command, &self.job.ticket) {
            (Command::TicketCreate(create), _) => view_of(
                &self.job,
                create,
                person(create.assigned_to_id),
                person(create.created_by_id),
            ),
            (_, Some(stored)) => stored.view.clone(),
            (_, None) => view_of(&self.job, &TicketCreate::default(), None, None),
        };
        match &*self.job.command {
            Command::TicketUpdate(update) => {
                let patch = update.patch.clone();
                view.title = patch.title.unwrap_or(view.title);
                view.description = patch.description.unwrap_or(view.description);
                view.category = patch.category.unwrap_or(view.category);
                view.priority = patch.priority.unwrap_or(view.priority);
                view.urgency = patch.urgency.unwrap_or(view.urgency);
                view.department = patch.department.or(view.department);
                view.custom_fields
                    .extend(patch.custom_fields.unwrap_or_default());
                view.tags = patch.tags.unwrap_or(view.tags);
            }
            Command::TicketStatus(set) => view.status = set.status,
            Command::TicketAssign(assign) => view.assigned_to = person(assign.assigned_to_id),
            Command::TicketCreate(_)
            | Command::TicketComment(_)
            | Command::IntegrationCreate(_)
            | Command::IntegrationStatus(_)
            | Command::IntegrationGet(_)
            | Command::IntegrationList(_)
            | Command::IntegrationTest(_)
            | Command::Unwritten(_) => {}
        }
        view
    }

    fn tally(&mut self, result: &Result<Receipt, AdapterError>) {
        match result {
            Ok(_) => {
                self.circuit = Some(CircuitTally {
                    reset: true,
                    failures: 0,
                });
                self.usage = Some(UsageTally {
                    succeeded: 1,
                    failed: 0,
                    last_error: None,
                });
            }
            Err(error) => {
                self.usage = Some(UsageTally {
                    succeeded: 0,
                    failed: 1,
                    last_error: Some(error.public.clone()),
                });
                self.circuit = match &error.class {
                    ErrorClass::Transient { .. } | ErrorClass::Timeout | ErrorClass::Unknown => {
                        Some(CircuitTally {
                            reset: false,
                            failures: 1,
                        })
                    }
                    // The platform answered, so it is there.
                    ErrorClass::Authentication
                    | ErrorClass::Permission
                    | ErrorClass::NotFound
                    | ErrorClass::Validation { .. }
                    | ErrorClass::Conflict => Some(CircuitTally {
                        reset: true,
                        failures: 0,
                    }),
                    ErrorClass::RateLimited { .. }
                    | ErrorClass::Unsupported
                    | ErrorClass::Egress
                    | ErrorClass::Internal => None,
                };
            }
        }
    }

    fn rung_name(&self, index: usize) -> String {
        if self.core.config.dispatch.settle_after.is_some() {
            format!("look-up {} (dispatch.settle_after)", index + 1)
        } else {
            format!("look-up {} of the platform's ladder", index + 1)
        }
    }

    fn doubt_from(&mut self, moment: DateTime<Utc>) {
        self.job.doubt_since = Some(moment);
        self.job.lookups = 0;
    }

    // --- how it comes out ---

    fn succeeded(&mut self, receipt: Option<&Receipt>) -> Done {
        self.job.doubt_since = None;
        let result = result_of(&self.job, receipt);
        let integration_result = receipt.map(|receipt| integration_result(&self.job, receipt));
        self.done(
            Outcome::Succeeded,
            Some(result),
            None,
            None,
            receipt.zip(integration_result).as_ref(),
        )
    }

    /// A refusal by a gate. With an attempt of unknown outcome behind it nothing *ends* a command here: "nothing was
    /// sent" would be a lie.
    fn refused(&mut self, failure: Failure) -> Done {
        if self.job.doubt_since.is_some()
            && failure.code != ErrorCode::Quarantined
            && self.may_have_made_something()
        {
            return self.stays_in_doubt(&failure.message, None);
        }
        self.finished(Outcome::Failed, failure)
    }

    fn may_have_made_something(&self) -> bool {
        matches!(
            *self.job.command,
            Command::TicketCreate(_) | Command::TicketComment(_)
        ) && self.job.integration_id.is_some()
    }

    fn finished(&mut self, outcome: Outcome, failure: Failure) -> Done {
        let failure = failure.finally();
        self.job.doubt_since = None;
        let result = matches!(*self.job.command, Command::TicketCreate(_)).then(|| {
            let failed = IntegrationResult {
                success: false,
                external_ticket_id: None,
                external_ticket_url: None,
                details: Map::new(),
            };
            json!({ "ticket_id": self.job.ticket_id, "integration_result": failed })
        });
        self.done(outcome, result, Some(&failure), None, None)
    }

    /// A failed attempt that may be made again: by `next` where a look-up comes first, else by schedule and hint.
    fn after_failure(
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

    fn deferred(&mut self, next: &Next, failure: &Failure) -> Done {
        self.done(Outcome::Deferred, None, Some(failure), Some(next), None)
    }

    /// Back in line without the turn: no event, no attempt.
    fn waits(&mut self, until: DateTime<Utc>) -> Done {
        let mut done = self.done(
            Outcome::Deferred,
            None,
            None,
            Some(&Next {
                at: until,
                decided_by: "the ticket is not known yet".into(),
            }),
            None,
        );
        done.settlement.events.clear();
        done.settlement.events_after = self.job.events;
        done.settlement.state = "pending";
        done.settlement.waits = true;
        // The fallback clock looks every second whether the ticket is known by then.
        done.settlement.due_at = Some(after(Utc::now(), Duration::from_secs(1)).min(until));
        done
    }

    fn done(
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
        metrics::settled(
            self.job.command_type.as_str(),
            row.and_then(|row| row.platform)
                .map_or("none", crate::domain::Platform::as_str),
            outcome.as_str(),
            failure.map(|failure| failure.code.as_str()),
            self.started.elapsed().as_secs_f64(),
        );
        let mut events = Vec::new();
        let mut final_event = None;
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
                body: event.to_json(),
            };
            if outcome.is_final() {
                final_event = Some((record.body.clone(), record.routing_key.clone()));
            }
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
            final_event,
            finished,
            waits: false,
            ran: self.spent || finished,
            integration_id: self.handle.as_ref().map(|handle| handle.row.id),
            attempt_record,
            events,
            ticket_insert: self.ticket_insert(outcome, receipt),
            ticket_change: self.ticket_change(outcome, receipt),
        };
        let id: Option<IntegrationId> = self.handle.as_ref().map(|handle| handle.row.id);
        Done {
            settlement,
            usage: id.zip(self.usage.take()),
            circuit: id.zip(self.circuit.take()),
            effect: None,
            instead: None,
        }
    }

    /// The row of a create is made with its first settlement, whatever the platform said; if resolution failed, none is.
    fn ticket_insert(
        &self,
        outcome: Outcome,
        receipt: Option<&(&Receipt, IntegrationResult)>,
    ) -> Option<Box<TicketInsert>> {
        let Command::TicketCreate(create) = &*self.job.command else {
            return None;
        };
        let own = create.integration_id.is_none() || !create.create_externally;
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
        }))
    }

    fn ticket_change(
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
            Command::TicketUpdate(update) => change.patch = update.patch.clone(),
            Command::TicketStatus(set) => {
                change.status = Some(set.status);
                change.resolution_summary = set.resolution_summary.clone();
                change.internal_notes = set.internal_notes.clone();
            }
            Command::TicketAssign(assign) => change.assigned_to = Some(assign.assigned_to_id),
            Command::TicketComment(_) => change.comments = true,
            Command::TicketCreate(_)
            | Command::IntegrationCreate(_)
            | Command::IntegrationStatus(_)
            | Command::IntegrationGet(_)
            | Command::IntegrationList(_)
            | Command::IntegrationTest(_)
            | Command::Unwritten(_) => return None,
        }
        Some(Box::new(change))
    }
}

enum LookedUp {
    /// An earlier attempt made it: this is its receipt.
    Adopt(Box<Receipt>),
    /// Surely nothing was made: go on.
    Nothing,
    /// Neither, so far.
    Settled(Box<Done>),
}

/// A job that was not started goes back as it came: no attempt, no event.
pub(super) fn hand_back(job: &Job) -> Done {
    let now = Utc::now();
    Done {
        settlement: Settlement {
            id: job.id,
            organization_id: job.organization_id,
            ticket_id: job.ticket_id,
            take: job.take,
            state: if job.doubt_since.is_some() || job.attempt > 0 {
                "deferred"
            } else {
                "pending"
            },
            attempt: job.attempt,
            events_after: job.events,
            due_at: Some(now),
            decided_by: Some("the worker that held it stopped".into()),
            error_code: None,
            error: None,
            doubt_since: job.doubt_since,
            lookups: job.lookups,
            final_event: None,
            finished: false,
            waits: false,
            ran: false,
            integration_id: None,
            attempt_record: None,
            events: Vec::new(),
            ticket_insert: None,
            ticket_change: None,
        },
        usage: None,
        circuit: None,
        effect: None::<OwnEffect>,
        instead: None,
    }
}

/// The mark of duplicate protection: a create's is the ticket's, everything else's the command's.
pub(super) fn mark(job: &Job) -> String {
    match (&*job.command, job.ticket_id) {
        (Command::TicketCreate(_), Some(ticket)) => format!("tkt-{ticket}"),
        _ => format!("cmd-{}", job.id),
    }
}

/// What the adapter is asked to do.
pub(super) fn operation<'b>(
    command: &'b Command,
    ticket: &'b TicketView,
    mark: &'b str,
) -> Result<Operation<'b>, Failure> {
    Ok(match command {
        Command::TicketCreate(_) => Operation::Create { ticket, mark },
        Command::TicketUpdate(update) => Operation::Update {
            ticket,
            patch: &update.patch,
        },
        Command::TicketStatus(set) => Operation::Status {
            ticket,
            status: set.status,
            resolution_summary: set.resolution_summary.as_deref(),
        },
        Command::TicketAssign(_) => Operation::Assign {
            ticket,
            assignee: ticket.assigned_to.as_ref(),
        },
        Command::TicketComment(comment) => Operation::Comment {
            ticket,
            body: &comment.body,
            public: comment.public,
            mark,
        },
        Command::IntegrationCreate(_)
        | Command::IntegrationStatus(_)
        | Command::IntegrationGet(_)
        | Command::IntegrationList(_)
        | Command::IntegrationTest(_)
        | Command::Unwritten(_) => {
            return Err(Failure::new(
                ErrorCode::Internal,
                "this command calls no platform",
            ));
        }
    })
}

/// A create's data as an adapter sees it.
pub(super) fn view_of(
    job: &Job,
    create: &TicketCreate,
    assigned_to: Option<UserRef>,
    created_by: Option<UserRef>,
) -> TicketView {
    TicketView {
        id: job.ticket_id.unwrap_or_else(|| job.id.default_ticket()),
        title: create.title.clone(),
        description: create.description.clone(),
        status: TicketStatus::New,
        priority: create.priority,
        urgency: create.urgency,
        category: create.category,
        department: create.department.clone(),
        assigned_to,
        created_by,
        tags: create.tags.clone(),
        custom_fields: create.custom_fields.clone(),
        external_id: None,
        external_url: None,
        external_ref: Map::new(),
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

fn result_of(job: &Job, receipt: Option<&Receipt>) -> Value {
    let platform = receipt.map(|receipt| integration_result(job, receipt));
    match &*job.command {
        Command::TicketUpdate(update) => json!({
            "ticket_id": job.ticket_id, "changed_fields": update.patch.changed(), "integration_result": platform,
        }),
        Command::TicketStatus(set) => {
            json!({ "ticket_id": job.ticket_id, "status": set.status, "integration_result": platform })
        }
        Command::TicketAssign(assign) => json!({
            "ticket_id": job.ticket_id, "assigned_to_id": assign.assigned_to_id, "integration_result": platform,
        }),
        Command::TicketComment(_) => json!({
            "ticket_id": job.ticket_id,
            "external_comment_id": receipt.and_then(|receipt| receipt.external_comment_id.clone()),
            "integration_result": platform,
        }),
        Command::TicketCreate(_)
        | Command::IntegrationCreate(_)
        | Command::IntegrationStatus(_)
        | Command::IntegrationGet(_)
        | Command::IntegrationList(_)
        | Command::IntegrationTest(_)
        | Command::Unwritten(_) => {
            json!({ "ticket_id": job.ticket_id, "integration_result": platform })
        }
    }
}

fn exhausted(last: &Failure) -> Failure {
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

fn still_unknown(why: &str) -> Failure {
    Failure::new(
        ErrorCode::OutcomeUnknown,
        format!("the request may have reached the platform; {why}"),
    )
}

fn unknown_for_good(why: &str) -> Failure {
    let remedy = "look at the platform and settle it with `ticketwire command resolve`";
    Failure::new(
        ErrorCode::OutcomeUnknown,
        format!("nobody knows whether it happened: {why}; {remedy}"),
    )
    .finally()
}

/// Fails a job that cannot even be run.
pub(super) fn refuse(core: &Arc<Core>, job: Job, failure: Failure) -> Done {
    Run::new(core, job).finished(Outcome::Failed, failure)
}

/// The ticket as the adapter would see it, for a dry run.
pub(super) fn preview_view(core: &Arc<Core>, job: Job) -> (Job, TicketView) {
    let run = Run::new(core, job);
    let view = run.ticket_view();
    (run.job, view)
}
