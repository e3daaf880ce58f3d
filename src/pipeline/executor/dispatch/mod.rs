//! Runs one command: gates, look-up if there is doubt, the platform, and what follows from how it
//! came out.

mod analyse;
mod attach;
mod children;
mod finish;
mod look_up;
mod outcome;
mod overtaken;
mod progress;
mod settlement;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde_json::Map;

pub(in crate::pipeline) use self::analyse::rehearse;
use self::look_up::{LookedUp, unknown_for_good};
use self::outcome::exhausted;
pub(in crate::pipeline) use self::settlement::settlement_of;
use crate::contract::{Command, TicketCommand, TicketCreate};
use crate::domain::routing::Traits;
use crate::domain::{
    CommandState, ErrorCode, Failure, LifeEvent, TicketStatus, TicketView, UserRef, Wait,
    WaitReason,
};
use crate::pipeline::clock;
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::disposition::{Completed, Conclusion, Disposition};
use crate::pipeline::executor::admin;
use crate::pipeline::executor::gates::{self, GateDecision};
use crate::pipeline::executor::routing::Routing;
use crate::pipeline::inbound;
use crate::pipeline::job::Job;
use crate::pipeline::retry::{self, Next, after};
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{
    AdapterError, AskedToWait, CallContext, DedupKey, Driver, ErrorClass, Facts, Operation,
    Protection, Receipt, Scope, strangers,
};
use crate::store::{CircuitTally, LedgerChange, StateChange, UsageTally};
use crate::telemetry::failpoint;

/// A wait longer than this is announced by an event.
const ANNOUNCED_WAIT: Duration = Duration::from_secs(60);
/// How long an outcome stays `outcome_unknown` before nobody looks any more.
const DOUBT_MAX: Duration = Duration::from_secs(86_400);
/// How long a command in doubt waits when something keeps it from being looked up.
const DOUBT_PAUSE: Duration = Duration::from_secs(30);

/// Runs a job to its settlement. Never fails: whatever happens is an outcome.
pub(in crate::pipeline) async fn run(core: &Arc<Core>, job: Job) -> Completed {
    let mut run = Run::new(core, job);
    // A bug in one command must not take its neighbours down.
    let conclusion = match AssertUnwindSafe(run.conduct()).catch_unwind().await {
        Ok(conclusion) => conclusion,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(
                command_id = %run.job.id, command_type = %run.job.command_type, error = text,
                "a command panicked"
            );
            // Whether something was sent before the panic is unknown.
            let failure = Failure::new(
                ErrorCode::Internal,
                "an internal error; the worker's log has the details",
            );
            run.doubt_from(clock::now());
            run.after_failure(&failure, None, None).into()
        }
    };
    run.complete(conclusion)
}

/// A job being run.
struct Run<'a> {
    core: &'a Arc<Core>,
    job: Job,
    started: Instant,
    started_at: DateTime<Utc>,
    /// The integration that the command was resolved to.
    handle: Option<Arc<ConnectedIntegration>>,
    /// Whether an attempt is spent on this.
    spent: bool,
    /// What the circuit learns.
    circuit: Option<CircuitTally>,
    usage: Option<UsageTally>,
    /// What became of its files.
    files: Option<Vec<serde_json::Value>>,
    /// What the platform's answers asked for.
    asked: AskedToWait,
    /// What it has set on the platform, in the platform's words, where that is compared with what
    /// comes back from there.
    wrote: Option<Facts>,
    /// What this attempt did before it failed.
    partly: Option<Box<Receipt>>,
}

impl<'a> Run<'a> {
    fn new(core: &'a Arc<Core>, job: Job) -> Self {
        Self {
            core,
            job,
            started: Instant::now(),
            started_at: clock::now(),
            handle: None,
            spent: false,
            circuit: None,
            usage: None,
            files: None,
            asked: AskedToWait::default(),
            wrote: None,
            partly: None,
        }
    }

    /// The life of a command, in one screen.
    async fn conduct(&mut self) -> Conclusion {
        match &*self.job.command {
            Command::Unsupported(command_type) => {
                let text =
                    format!("this version of Ticketwire does not carry out {command_type} yet");
                let failure = Failure::new(ErrorCode::UnsupportedOperation, text);
                return self.refused(failure).into();
            }
            Command::Inbound(_) => return Box::pin(self.conduct_inbound()).await,
            // On the heap, as all that is rare: every attempt would keep room for it.
            Command::Admin(_) | Command::Read(_) => return Box::pin(self.conduct_admin()).await,
            Command::Ticket(_) => {}
        }
        if let Some(conclusion) = self.analyse().await {
            return conclusion;
        }
        let decision = gates::ticket(&self.job, self.started_at);
        self.follow(decision).await
    }

    /// What the gates say is done.
    async fn follow(&mut self, decision: GateDecision) -> Conclusion {
        match decision {
            GateDecision::Refuse(failure) => self.refused(failure).into(),
            GateDecision::Wait(until) => Disposition::AwaitTicket { until }.into(),
            GateDecision::Later(next, failure) => Disposition::Retry { next, failure }.into(),
            GateDecision::Local => {
                self.spent = true;
                self.succeeded(None).into()
            }
            GateDecision::Route => Box::pin(self.route()).await.into(),
            GateDecision::Call(handle, adapter) => {
                self.handle = Some(handle);
                self.call(adapter.as_ref()).await
            }
        }
    }

    /// Chooses the integration of a ticket that names none. The command then goes into that
    /// integration's lane, where it waits for a slot like any other.
    async fn route(&mut self) -> Disposition {
        let Command::Ticket(TicketCommand::Create(create)) = &*self.job.command else {
            let text = "only a create is routed";
            return self.refused(Failure::new(ErrorCode::Internal, text));
        };
        let traits = traits_of(create);
        let handles = match self
            .core
            .integrations
            .of_organization(self.job.organization_id)
            .await
        {
            Ok(handles) => handles,
            Err(error) => {
                tracing::warn!(command_id = %self.job.id, error = crate::store::chain(&error),
                    "cannot route yet");
                let failure = Failure::new(ErrorCode::Internal, "the database is not reachable");
                let next = Next::without_database();
                return Disposition::Retry { next, failure };
            }
        };
        let routing = Routing::of(handles, traits, self.started_at).await;
        match routing.candidates.first() {
            None => self.refused(routing.failure()),
            Some(chosen) => {
                self.handle = Some(Arc::clone(&chosen.handle));
                // It goes into that integration's lane.
                Disposition::Requeue {
                    next: Next::in_(Duration::ZERO, WaitReason::Routed),
                    state: CommandState::Pending,
                }
            }
        }
    }

    /// A rate-limit slot of an integration with a limit: now, or when to come back for it.
    async fn reserve_slot(&self) -> Option<(Next, Failure)> {
        let row = self.handle.as_ref().map(|handle| &handle.row)?;
        let limit = row.rate_limit_per_hour?;
        if self.job.has_rate_slot {
            return None;
        }
        let now = clock::now();
        let slot = self.core.rate_slots.next(&self.core.store, row.id, limit);
        let at = Box::pin(slot).await;
        let next = match at {
            // What is a moment off is now: the database's clock and ours are two.
            Some(at) if (at - now).num_milliseconds() < 250 => return None,
            Some(at) => Next {
                at,
                wait: Wait::of(WaitReason::RateLimitPerHour),
            },
            None => Next::without_database(),
        };
        let text = format!(
            "integration {} takes {limit} requests an hour; this one has its slot at {}",
            row.id,
            next.at.format("%H:%M:%S UTC")
        );
        Some((next, Failure::new(ErrorCode::RateLimited, text)))
    }

    async fn call(&mut self, adapter: &Driver) -> Conclusion {
        let command = Arc::clone(&self.job.command);
        if let Command::Ticket(TicketCommand::Attach(attach)) = &*command {
            if let Some((next, failure)) = self.reserve_slot().await {
                return Disposition::Retry { next, failure }.into();
            }
            return Box::pin(self.attach(adapter, &attach.attachments)).await;
        }
        let files: &[crate::contract::Attachment] = match &*command {
            Command::Ticket(TicketCommand::Create(create)) => &create.attachments,
            Command::Ticket(_)
            | Command::Admin(_)
            | Command::Read(_)
            | Command::Inbound(_)
            | Command::Unsupported(_) => &[],
        };
        let ticket = self.ticket_view();
        let mark = mark(&self.job);
        let key = DedupKey {
            marker: &mark,
            received_at: self.job.received_at,
        };
        let operation = match operation(&command, &ticket, key) {
            Ok(operation) => operation,
            Err(failure) => return self.refused(failure).into(),
        };
        if self.job.doubt_since.is_some() {
            match Box::pin(self.look_up(adapter, &operation)).await {
                LookedUp::Adopt(mut receipt) => {
                    self.note_written(adapter, &operation, &receipt);
                    self.finish(adapter, &operation, files, &mut receipt).await;
                    return self.succeeded(Some(*receipt)).into();
                }
                LookedUp::Nothing => {}
                LookedUp::Concluded(conclusion) => return *conclusion,
            }
        }
        if !self.has_attempts_left() {
            if let Some(receipt) = Box::pin(self.partly_done(adapter, &operation)).await {
                return self.succeeded(Some(receipt)).into();
            }
            return Box::pin(self.exhausted_after_look_up()).await.into();
        }
        if let Some(conclusion) = self.overtaken(adapter, &operation).await {
            return conclusion;
        }
        if let Some((next, failure)) = self.reserve_slot().await {
            return Disposition::Retry { next, failure }.into();
        }
        self.spent = true;
        let result = {
            let tokens = TokenCache::new(&self.core.tokens, self.handle.as_ref());
            let context = self.context(&tokens);
            adapter.perform(&context, &operation).await
        };
        failpoint("after_answer").await;
        self.tally(&result);
        match result {
            Ok(mut receipt) => {
                self.note_written(adapter, &operation, &receipt);
                self.finish(adapter, &operation, files, &mut receipt).await;
                self.note_budget();
                self.succeeded(Some(receipt)).into()
            }
            Err(error) => {
                tracing::info!(
                    command_id = %self.job.id, command_type = %self.job.command_type,
                    error_code = %error.code(),
                    platform_name = self.handle.as_ref().map(|h| h.row.platform_name.as_str()),
                    attempt = self.job.attempt + 1, error = %error, "an attempt failed"
                );
                self.partly = error.done.clone();
                self.failed_attempt(&self.protection(adapter, &operation), &error)
            }
        }
    }

    /// Keeps what was written, where we are told what happens on the platform.
    fn note_written(&mut self, adapter: &Driver, operation: &Operation<'_>, receipt: &Receipt) {
        if self.handle.as_ref().is_some_and(|handle| handle.is_told) {
            self.wrote = Some(adapter.wrote(operation, receipt));
        }
    }

    /// No attempt is left for an operation's last step. Where the platform shows that those before
    /// it are done, they are not called undone.
    async fn partly_done(&self, adapter: &Driver, operation: &Operation<'_>) -> Option<Receipt> {
        let found = {
            let tokens = TokenCache::new(&self.core.tokens, self.handle.as_ref());
            let context = self.context(&tokens);
            adapter.partly(&context, operation).await
        };
        match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(command_id = %self.job.id, error = %error,
                    "what was done of it cannot be read");
                None
            }
        }
    }

    /// The last attempt was looked up and has made nothing: the command ends with what that attempt
    /// met.
    async fn exhausted_after_look_up(&mut self) -> Disposition {
        let last = match self.core.store.last_attempt(self.job.id).await {
            Ok(last) => last,
            Err(error) => {
                tracing::warn!(command_id = %self.job.id, error = crate::store::chain(&error),
                    "cannot read the last attempt yet");
                let next = Next::without_database();
                let failure = Failure::new(ErrorCode::Internal, "the database is not reachable");
                return Disposition::Retry { next, failure };
            }
        };
        let last = last.unwrap_or_else(|| {
            Failure::new(
                ErrorCode::OutcomeUnknown,
                "the answer was lost, and the look-up found that nothing was made",
            )
        });
        self.refused(exhausted(&last))
    }

    /// The platform refuses by budget: nothing was done, so no attempt is spent, and the
    /// integration pauses for all workers until the platform takes requests again.
    pub(in crate::pipeline) fn rate_limited(
        &mut self,
        failure: Failure,
        hint: Option<Duration>,
        budget: Option<Scope>,
    ) -> Disposition {
        self.spent = false;
        self.circuit = Self::pauses(budget).then(|| CircuitTally::paused(hint));
        let default = self.core.config.retry.schedule.first().copied();
        let pause = hint.or(default).unwrap_or_default();
        let next = Next {
            at: after(clock::now(), pause.min(retry::HINT_MAX)),
            wait: hint.map_or(Wait::of(WaitReason::PlatformRateLimit), retry::retry_after),
        };
        Disposition::Retry { next, failure }
    }

    /// Whether the whole integration waits for a budget. One of a kind of request, or of one item,
    /// holds up the command alone.
    pub(super) const fn pauses(budget: Option<Scope>) -> bool {
        match budget {
            None | Some(Scope::Integration) => true,
            Some(Scope::Endpoint | Scope::Item) => false,
        }
    }

    /// A budget that the last answer has used up: the next request would be refused, so none is
    /// sent.
    fn note_budget(&mut self) {
        let used_up = self.asked.budget();
        let Some(pause) = used_up.filter(|pause| Self::pauses(Some(pause.scope))) else {
            return;
        };
        let paused = CircuitTally::paused(Some(pause.wait));
        self.circuit.get_or_insert_default().add(&paused);
    }

    /// What follows from the class of a failed attempt. Whatever the class, nothing is sent sooner
    /// than an answer asked for.
    pub(in crate::pipeline) fn failed_attempt(
        &mut self,
        protection: &Protection,
        error: &AdapterError,
    ) -> Conclusion {
        let failure = error.failure();
        let asked = self.asked.get();
        let disposition = match &error.class {
            ErrorClass::Transient { retry_after } => {
                self.after_failure(&failure, (*retry_after).max(asked), None)
            }
            ErrorClass::RateLimited { retry_after } => {
                self.rate_limited(failure, (*retry_after).max(asked), error.budget)
            }
            ErrorClass::Timeout | ErrorClass::Internal => self.after_failure(&failure, asked, None),
            ErrorClass::Authentication if self.parks_on_refusal() => return self.parks(failure),
            ErrorClass::Authentication
            | ErrorClass::Permission
            | ErrorClass::NotFound
            | ErrorClass::Validation { .. }
            | ErrorClass::Conflict
            | ErrorClass::Unsupported
            | ErrorClass::Egress => self.failed(failure),
            ErrorClass::Gone => return self.gone(failure),
            ErrorClass::Unknown => match protection {
                Protection::Native => self.after_failure(&failure, asked, None),
                Protection::None if self.may_send_again() && self.has_attempts_left() => {
                    self.doubt_from(clock::now());
                    self.after_failure(&failure, asked, None)
                }
                Protection::None | Protection::Key { .. } => {
                    self.failed(unknown_for_good(&failure.message))
                }
                Protection::Lookup { schedule, .. } => {
                    let now = clock::now();
                    self.doubt_from(now);
                    let look_up_schedule =
                        retry::look_up_schedule(schedule, self.core.config.dispatch.settle_after);
                    let first = look_up_schedule.first().copied().unwrap_or_default();
                    let next = Next {
                        at: after(now, first),
                        wait: self.look_up_wait(0),
                    };
                    let next = retry::no_sooner(next, asked, now);
                    self.after_failure(&failure, None, Some(next))
                }
            },
        };
        disposition.into()
    }

    /// Whether the schedule allows another attempt after those that are spent, this one among them.
    fn has_attempts_left(&self) -> bool {
        let attempts_max = self.core.config.retry.schedule.len() + 1;
        let spent = self.job.attempt + i32::from(self.spent);
        !usize::try_from(spent).is_ok_and(|spent| spent >= attempts_max)
    }

    /// Whether its integration waits for a better credential where one is refused.
    pub(in crate::pipeline) fn parks_on_refusal(&self) -> bool {
        let handle = self.handle.as_ref();
        handle.is_some_and(|handle| handle.row.parks())
    }

    /// The endpoint wants to hear no more: the command fails, and its integration is disabled with
    /// it.
    fn gone(&mut self, failure: Failure) -> Conclusion {
        let disposition = self.failed(failure);
        let reason = "the platform answered that the endpoint is gone for good";
        self.with_state_change(disposition, LifeEvent::Disable, reason)
    }

    /// The credential is refused, and the integration is one that waits for a better one: so do its
    /// commands.
    pub(in crate::pipeline) fn parks(&self, failure: Failure) -> Conclusion {
        let next = Next::in_(gates::PARKED_LOOK, WaitReason::CredentialRefused);
        let reason = failure.message.clone();
        let failure = Failure {
            message: format!("{reason}; the command waits until integration.test passes"),
            retryable: true,
            ..failure
        };
        self.with_state_change(
            Disposition::Retry { next, failure },
            LifeEvent::Park,
            &reason,
        )
    }

    /// A disposition that changes its integration's state along with it. Where the state cannot be
    /// changed, the command has come out all the same.
    fn with_state_change(
        &self,
        disposition: Disposition,
        event: LifeEvent,
        reason: &str,
    ) -> Conclusion {
        let Some(handle) = &self.handle else {
            return disposition.into();
        };
        let change = StateChange {
            reason: Some(reason.to_owned()),
            error: Some(reason.to_owned()),
            command: Some(self.job.id),
            ..StateChange::of(handle.row.id, event)
        };
        Conclusion::WithChange {
            if_refused: Box::new(disposition.clone()),
            if_stale: Box::new(disposition.clone()),
            disposition,
            change: Box::new(LedgerChange::StateChange(change)),
        }
    }

    /// What follows where a command that is not about one ticket is not done.
    fn not_done(&mut self, refusal: admin::Refusal) -> Disposition {
        match refusal {
            admin::Refusal::For(failure) => self.failed(failure),
            admin::Refusal::Later(failure, hint) if failure.code == ErrorCode::RateLimited => {
                self.rate_limited(failure, hint, None)
            }
            admin::Refusal::Later(failure, hint) => self.after_failure(&failure, hint, None),
            admin::Refusal::Waits(next) => Disposition::Requeue {
                next,
                state: CommandState::Deferred,
            },
            admin::Refusal::GoesOn(next) => Disposition::GoesOn { next },
        }
    }

    async fn conduct_admin(&mut self) -> Conclusion {
        let own = admin::run(self.core, &self.job, self.started_at).await;
        self.handle = own.handle;
        self.spent = own.spent;
        let disposition = match own.result {
            Ok(result) => Disposition::Succeeded {
                result,
                receipt: None,
            },
            Err(refusal) => self.not_done(refusal),
        };
        let Some(change) = own.effect else {
            return disposition.into();
        };
        let text = "the database refused the change; the worker's log has the details";
        Conclusion::WithChange {
            disposition,
            change: Box::new(change),
            if_refused: Box::new(self.failed(Failure::new(ErrorCode::Internal, text))),
            if_stale: Box::new(Disposition::Requeue {
                next: Next::in_(Duration::ZERO, WaitReason::IntegrationChanged),
                state: CommandState::Deferred,
            }),
        }
    }

    /// What came from a platform: it is read here, and decided where the rows are locked.
    async fn conduct_inbound(&mut self) -> Conclusion {
        let command = Arc::clone(&self.job.command);
        let Command::Inbound(hook) = &*command else {
            return self
                .refused(Failure::new(ErrorCode::Internal, "it is no delivery"))
                .into();
        };
        if let Some(refusal) = gates::inbound(&self.job) {
            return self.refused(refusal).into();
        }
        match inbound::read(self.core, &self.job, hook, self.started_at).await {
            Ok(read) => {
                self.handle = Some(read.handle);
                self.asked = read.asked;
                self.note_budget();
                Conclusion::Inbound(read.changes, read.unsigned)
            }
            Err(refusal) => {
                self.handle = gates::owned(&self.job).ok();
                self.spent = matches!(refusal, admin::Refusal::Later(..));
                self.not_done(refusal).into()
            }
        }
    }

    fn context<'b>(&'b self, tokens: &'b TokenCache<'b>) -> CallContext<'b> {
        CallContext::new(
            &self.core.http,
            self.started + self.core.config.dispatch.attempt_timeout,
            self.core.lease.as_ref(),
            tokens,
            strangers(self.handle.as_ref().and_then(|handle| handle.row.platform)),
        )
        .remembering(self.handle.as_ref().map(|handle| handle.memory.as_ref()))
        .mailing(&self.core.mail)
        .taking_turns(tokens)
        .noting(&self.asked)
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
            (Command::Ticket(TicketCommand::Create(create)), _) => view_of(
                &self.job,
                create,
                person(create.assigned_to_id),
                person(create.created_by_id),
            ),
            (_, Some(stored)) => stored.view.clone(),
            (_, None) => view_of(&self.job, &TicketCreate::default(), None, None),
        };
        match &*self.job.command {
            Command::Ticket(TicketCommand::Update(update)) => {
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
            Command::Ticket(TicketCommand::Status(set)) => view.status = set.status,
            Command::Ticket(TicketCommand::Assign(assign)) => {
                view.assigned_to = person(assign.assigned_to_id);
            }
            Command::Ticket(TicketCommand::Delete(_)) => view.status = TicketStatus::Closed,
            Command::Ticket(_)
            | Command::Admin(_)
            | Command::Read(_)
            | Command::Inbound(_)
            | Command::Unsupported(_) => {}
        }
        // The platform knows its own names of departments.
        let theirs = view
            .department
            .as_deref()
            .zip(self.handle.as_ref())
            .and_then(|(department, handle)| gates::mapped_department(&handle.row, department));
        if let Some(theirs) = theirs {
            view.department = Some(match theirs {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            });
        }
        view
    }

    /// After how many failures in a row its integration goes to `error`, if it does so by itself.
    fn error_limit(&self) -> Option<i32> {
        let row = &self.handle.as_ref()?.row;
        row.auto_disable_on_error.then_some(row.failure_threshold)
    }

    fn tally(&mut self, result: &Result<Receipt, AdapterError>) {
        match result {
            Ok(_) => {
                self.circuit = Some(CircuitTally::sound());
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
                            failures: 1,
                            errors: 1,
                            limit: self.error_limit(),
                            ..CircuitTally::default()
                        })
                    }
                    // The platform answered, so it is there, but not for us.
                    ErrorClass::Authentication | ErrorClass::Permission => Some(CircuitTally {
                        reset: true,
                        errors: 1,
                        limit: self.error_limit(),
                        ..CircuitTally::default()
                    }),
                    // It answered to the ticket, not to the integration.
                    ErrorClass::NotFound
                    | ErrorClass::Gone
                    | ErrorClass::Validation { .. }
                    | ErrorClass::Conflict => Some(CircuitTally::sound()),
                    ErrorClass::RateLimited { .. }
                    | ErrorClass::Unsupported
                    | ErrorClass::Egress
                    | ErrorClass::Internal => None,
                };
            }
        }
    }
}

/// What routing rules may ask of a command.
pub(in crate::pipeline) fn traits_of_job(job: &Job) -> Traits {
    match &*job.command {
        Command::Ticket(TicketCommand::Create(create)) => traits_of(create),
        Command::Ticket(_)
        | Command::Admin(_)
        | Command::Read(_)
        | Command::Inbound(_)
        | Command::Unsupported(_) => Traits::default(),
    }
}

/// What routing rules may ask of a create.
fn traits_of(create: &TicketCreate) -> Traits {
    Traits {
        title: create.title.clone(),
        description: create.description.clone(),
        category: create.category,
        priority: create.priority,
        urgency: create.urgency,
        department: create.department.clone(),
        tags: create.tags.clone(),
        custom_fields: create.custom_fields.clone(),
    }
}

/// The mark of duplicate protection: a create's is the ticket's, everything else's the command's.
pub(in crate::pipeline) fn mark(job: &Job) -> String {
    match (&*job.command, job.ticket_id) {
        (command, Some(ticket)) if command.creates_ticket() => format!("tkt-{ticket}"),
        _ => format!("cmd-{}", job.id),
    }
}

/// What the adapter is asked to do.
pub(in crate::pipeline) fn operation<'b>(
    command: &'b Command,
    ticket: &'b TicketView,
    key: DedupKey<'b>,
) -> Result<Operation<'b>, Failure> {
    Ok(match command {
        Command::Ticket(TicketCommand::Create(_)) => Operation::Create { ticket, key },
        Command::Ticket(TicketCommand::Update(update)) => Operation::Update {
            ticket,
            patch: &update.patch,
            key,
        },
        Command::Ticket(TicketCommand::Status(set)) => Operation::Status {
            ticket,
            status: set.status,
            resolution_summary: set.resolution_summary.as_deref(),
            key,
        },
        Command::Ticket(TicketCommand::Assign(_)) => Operation::Assign {
            ticket,
            assignee: ticket.assigned_to.as_ref(),
            key,
        },
        Command::Ticket(TicketCommand::Comment(comment)) => Operation::Comment {
            ticket,
            body: &comment.body,
            public: comment.public,
            key,
        },
        Command::Ticket(TicketCommand::Delete(_)) => Operation::Delete { ticket, key },
        Command::Ticket(TicketCommand::AiCreate(_) | TicketCommand::Attach(_))
        | Command::Admin(_)
        | Command::Read(_)
        | Command::Inbound(_)
        | Command::Unsupported(_) => {
            return Err(Failure::new(
                ErrorCode::Internal,
                "this command calls no platform",
            ));
        }
    })
}

/// A create's data as an adapter sees it.
pub(in crate::pipeline) fn view_of(
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
pub(in crate::pipeline) fn refuse(core: &Arc<Core>, job: Job, failure: Failure) -> Completed {
    let mut run = Run::new(core, job);
    let disposition = run.failed(failure);
    run.complete(disposition.into())
}

/// The ticket as the adapter would see it, for a dry run.
pub(in crate::pipeline) fn preview_view(core: &Arc<Core>, job: Job) -> (Job, TicketView) {
    let run = Run::new(core, job);
    let view = run.ticket_view();
    (run.job, view)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run is on the heap once an attempt. What is rare in it is in a box of its own: kept in
    /// line it made each attempt three times as big, and cost a tenth of the throughput.
    #[test]
    fn a_run_keeps_no_room_for_what_is_rare() {
        fn size<A, B, F>(_: fn(A, B) -> F) -> usize {
            size_of::<F>()
        }

        let bytes = size(run as fn(&'static Arc<Core>, Job) -> _);

        assert!(bytes <= 4 << 10, "a run takes {bytes} bytes");
    }
}
