//! The commands that change something of ours: integrations, and many tickets at once. Their effect
//! is made in the transaction that settles them, so it happens exactly once. What may be done to an
//! integration, and what is written of it, is decided in [`crate::integrations`].

mod bulk;
mod sync;
mod test;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::contract::{AdminCommand, Command};
use crate::domain::{ErrorCode, Failure};
use crate::integrations::{self, Planned, Requester};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::gates;
use crate::pipeline::job::{Job, Organization};
use crate::pipeline::retry::Next;
use crate::platforms::{AdapterError, AskedToWait, EgressPolicy, ErrorClass};
use crate::store::LedgerChange;

pub(in crate::pipeline) use self::test::run_checks;
pub(in crate::pipeline) use self::webhook::see_to_webhooks;

/// What a command is told whose time to begin has passed.
const EXPIRED: &str = "its expirytime passed before it was started";

/// Why it is not done.
pub(in crate::pipeline) enum Refusal {
    /// For good.
    For(Failure),
    /// It may be tried again.
    Later(Failure, Option<Duration>),
    /// It waits for something of ours; no attempt is spent.
    Waits(Next),
    /// A part of it is done, and durable; it goes on then, and no attempt is spent.
    GoesOn(Next),
}

impl Refusal {
    /// What follows where a platform does not answer a read as it should. `asked` is what its
    /// answers asked for.
    pub(in crate::pipeline) fn of_read(error: &AdapterError, asked: &AskedToWait) -> Self {
        let failure = error.failure();
        match error.class {
            ErrorClass::Transient { retry_after } | ErrorClass::RateLimited { retry_after } => {
                Self::Later(failure, retry_after.max(asked.get()))
            }
            ErrorClass::Timeout | ErrorClass::Unknown | ErrorClass::Internal => {
                Self::Later(failure, asked.get())
            }
            ErrorClass::Authentication
            | ErrorClass::Permission
            | ErrorClass::NotFound
            | ErrorClass::Validation { .. }
            | ErrorClass::Gone
            | ErrorClass::Conflict
            | ErrorClass::Unsupported
            | ErrorClass::Egress => Self::For(failure),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::For(failure)
    }
}

/// How it came out.
pub(in crate::pipeline) struct AdminCompletion {
    pub(in crate::pipeline) handle: Option<Arc<ConnectedIntegration>>,
    pub(in crate::pipeline) spent: bool,
    pub(in crate::pipeline) result: Result<Value, Refusal>,
    pub(in crate::pipeline) effect: Option<LedgerChange>,
}

/// What a command does, and what it answers.
struct AdminOutcome {
    handle: Option<Arc<ConnectedIntegration>>,
    result: Value,
    effect: Option<LedgerChange>,
}

impl AdminOutcome {
    fn of(handle: Option<Arc<ConnectedIntegration>>, planned: Planned) -> Self {
        Self {
            handle,
            result: planned.result,
            effect: Some(planned.change),
        }
    }
}

pub(in crate::pipeline) async fn run(
    core: &Core,
    job: &Job,
    now: DateTime<Utc>,
) -> AdminCompletion {
    match conduct(core, job, now).await {
        Ok(done) => AdminCompletion {
            handle: done.handle,
            spent: true,
            result: Ok(done.result),
            effect: done.effect,
        },
        Err(refusal) => AdminCompletion {
            handle: gates::owned(job).ok(),
            spent: matches!(refusal, Refusal::Later(..)),
            result: Err(refusal),
            effect: None,
        },
    }
}

async fn conduct(core: &Core, job: &Job, now: DateTime<Utc>) -> Result<AdminOutcome, Refusal> {
    let refuse = |code, text: &str| Err(Refusal::For(Failure::new(code, text)));
    // Of a bulk change that was taken before, children are under way; of a sync, pages are durable.
    let in_steps = matches!(
        &*job.command,
        Command::Admin(AdminCommand::BulkUpdate(_) | AdminCommand::SyncIntegration(_))
    );
    let started = job.attempt > 0 || (job.fencing_token > 1 && in_steps);
    if !started && job.expires_at.is_some_and(|expiry| expiry <= now) {
        return refuse(ErrorCode::Expired, EXPIRED);
    }
    if job.organization == Organization::Disabled {
        return refuse(
            ErrorCode::OrganizationDisabled,
            "the organization is disabled",
        );
    }
    let Command::Admin(command) = &*job.command else {
        let text = format!("{} is not carried out here", job.command_type);
        return refuse(ErrorCode::Internal, &text);
    };
    let requester = Requester::Command(job.id);
    let egress = EgressPolicy::from(&core.config.egress);
    match command {
        AdminCommand::CreateIntegration(new) => {
            let id = job.id.created_integration();
            let planned = integrations::create(&core.ring, &egress, job.organization_id, id, new)?;
            Ok(AdminOutcome::of(None, planned))
        }
        AdminCommand::UpdateIntegration(change) => {
            let handle = gates::owned(job)?;
            let planned =
                integrations::update(&core.ring, &egress, &handle.row, change, requester, now)?;
            Ok(AdminOutcome::of(Some(handle), planned))
        }
        AdminCommand::DeleteIntegration(_) => {
            let handle = gates::owned(job)?;
            let planned = integrations::delete(&handle.row);
            Ok(AdminOutcome::of(Some(handle), planned))
        }
        AdminCommand::SetEnabled(set) => {
            let handle = gates::owned(job)?;
            let reason = set.reason.clone();
            let planned =
                integrations::set_enabled(&handle.row, set.enabled, reason, requester, now);
            Ok(AdminOutcome::of(Some(handle), planned))
        }
        AdminCommand::TestIntegration(what) => test::run(core, job, what, now).await,
        AdminCommand::SyncIntegration(what) => sync::run(core, job, what).await,
        AdminCommand::Webhook(what) => webhook::run(core, job, what).await,
        AdminCommand::BulkUpdate(update) => bulk::run(core, job, update).await,
    }
}
