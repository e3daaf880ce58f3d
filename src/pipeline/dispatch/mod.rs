//! Runs one command: gates, look-up if there is doubt, the platform, and what follows from how it came out.

mod look_up;
mod outcome;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde_json::Map;

use self::look_up::{LookedUp, unknown_for_good};
use self::outcome::exhausted;
use super::core::Core;
use super::gates::{self, Verdict};
use super::integrations::Handle;
use super::job::{Done, Job};
use super::own;
use super::policy::{self, Next, after};
use super::tokens::TokenCache;
use crate::contract::{Command, Outcome, TicketCreate};
use crate::domain::{ErrorCode, Failure, TicketStatus, TicketView, UserRef};
use crate::platforms::{
    Adapter, AdapterError, Cause, ErrorClass, Exchange, Operation, OperationKind, Protection,
    Receipt,
};
use crate::store::{CircuitTally, OwnEffect, Settlement, UsageTally};
use crate::telemetry::failpoint;

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
            | Command::TicketGet(_)
            | Command::TicketSearch(_)
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
        let cause = Cause {
            mark: &mark,
            at: self.job.received_at,
        };
        let operation = match operation(&command, &ticket, cause) {
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
            ErrorClass::Gone => self.gone(failure),
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

    /// The endpoint wants to hear no more: the command fails, and its integration is disabled with it.
    fn gone(&mut self, failure: Failure) -> Done {
        let mut done = self.finished(Outcome::Failed, failure);
        done.effect = self.handle.as_ref().map(|handle| OwnEffect::SetEnabled {
            id: handle.row.id,
            enabled: false,
            reason: Some("the platform answered that the endpoint is gone for good".into()),
        });
        // Where it cannot be disabled, the command has failed all the same.
        done.instead = Some(Box::new(done.settlement.clone()));
        done
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
            | Command::TicketGet(_)
            | Command::TicketSearch(_)
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
                    | ErrorClass::Gone
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
    cause: Cause<'b>,
) -> Result<Operation<'b>, Failure> {
    Ok(match command {
        Command::TicketCreate(_) => Operation::Create { ticket, cause },
        Command::TicketUpdate(update) => Operation::Update {
            ticket,
            patch: &update.patch,
            cause,
        },
        Command::TicketStatus(set) => Operation::Status {
            ticket,
            status: set.status,
            resolution_summary: set.resolution_summary.as_deref(),
            cause,
        },
        Command::TicketAssign(_) => Operation::Assign {
            ticket,
            assignee: ticket.assigned_to.as_ref(),
            cause,
        },
        Command::TicketComment(comment) => Operation::Comment {
            ticket,
            body: &comment.body,
            public: comment.public,
            cause,
        },
        Command::IntegrationCreate(_)
        | Command::IntegrationStatus(_)
        | Command::TicketGet(_)
        | Command::TicketSearch(_)
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
