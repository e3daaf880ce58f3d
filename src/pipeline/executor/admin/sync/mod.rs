//! `integration.sync`: what changed on the platform is brought into our tickets and told to the
//! world. Reads only, so it may be repeated; what was seen before changes nothing.
//!
//! A run is steps: each takes pages for a while, and each page is durable together with the place
//! where the run goes on. `walk` goes from page to page, `compare` says what is written of one,
//! `state` is what a run knows of itself between two.

mod budget;
mod compare;
mod follow;
mod liars;
mod missing;
mod settled;
mod state;
mod walk;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::state::{Noted, Phase};
use self::walk::Walk;
use super::{AdminOutcome, EXPIRED, Refusal};
use crate::contract::IntegrationSync;
use crate::domain::{ErrorCode, Failure, Wait, WaitReason};
use crate::pipeline::clock;
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::gates;
use crate::pipeline::job::Job;
use crate::pipeline::retry::{Next, after, retry_after};
use crate::store::{LedgerChange, StoreError, SyncEnd, SyncFence, SyncTaken, chain};
use crate::telemetry::{failpoint, step_length};

/// How long a step takes pages; then the others of its lane have their turn.
const STEP: Duration = Duration::from_secs(45);
/// How often a sync looks whether another one of its integration is done.
const OTHERS_LOOK: Duration = Duration::from_secs(5);
/// How long a run that has come some way rests where the platform does not answer.
const REST: Duration = Duration::from_secs(5);

pub(super) async fn run(
    core: &Core,
    job: &Job,
    what: &IntegrationSync,
) -> Result<AdminOutcome, Refusal> {
    let handle = gates::owned(job)?;
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return Err(failure.clone().into()),
    };
    if what.outbound {
        let text = "what we hold goes out by commands, each with an outcome of its own; only \
                    direction inbound is synced";
        return Err(Failure::new(ErrorCode::UnsupportedOperation, text).into());
    }
    let (result, end) = if what.dry_run {
        let place = core.store.next_sync(handle.row.id, what.full).await;
        let run = (read(job, place)?, what.full);
        let mut walk = Walk::dry(core, job, &handle, adapter.as_ref(), run);
        (rehearse(&mut walk, what).await?, None)
    } else {
        step(core, job, what, &handle, adapter.as_ref()).await?
    };
    Ok(AdminOutcome {
        handle: Some(handle),
        result,
        effect: end.map(LedgerChange::EndSync),
    })
}

/// One step of a run, or as much of it as is left.
async fn step(
    core: &Core,
    job: &Job,
    what: &IntegrationSync,
    handle: &Arc<ConnectedIntegration>,
    adapter: &crate::platforms::Driver,
) -> Result<(Value, Option<SyncEnd>), Refusal> {
    let fence = SyncFence {
        integration: handle.row.id,
        command: job.id,
        owner: core.me.id,
        fencing_token: job.fencing_token,
    };
    let run = match read(job, core.store.take_sync(&fence, what.full).await)? {
        SyncTaken::Ours(run) => *run,
        SyncTaken::Others if job.expires_at.is_some_and(|at| at <= clock::now()) => {
            return Err(Failure::new(ErrorCode::Expired, EXPIRED).into());
        }
        SyncTaken::Others => {
            let next = Next::in_(OTHERS_LOOK, WaitReason::SyncUnderWay);
            return Err(Refusal::Waits(next));
        }
        SyncTaken::Lost => return Err(Refusal::Waits(lost())),
    };
    let mut walk = Walk::new(core, job, handle, adapter, (fence, run, what.full));
    let until = Instant::now() + step_length(STEP);
    while walk.progress.phase != Phase::Done {
        walk.may_go_on()?;
        if let Err(refusal) = walk.advance().await {
            return Err(put_by(&walk, refusal));
        }
        failpoint("sync_page_committed").await;
        if walk.progress.phase != Phase::Done && (Instant::now() >= until || walk.is_sated()) {
            return Err(Refusal::GoesOn(goes_on(&walk, Duration::ZERO)));
        }
    }
    read(job, core.store.forget_seen(job.id).await)?;
    let end = SyncEnd {
        integration: handle.row.id,
        command: job.id,
        seen_until: walk.seen_until(),
        mark: walk.mark(),
    };
    Ok((result(&walk, what), Some(end)))
}

/// The same walk in one go, without a trace. What a time allows for one attempt is all it has.
async fn rehearse(walk: &mut Walk<'_>, what: &IntegrationSync) -> Result<Value, Refusal> {
    let until = Instant::now() + walk.core.config.dispatch.attempt_timeout / 2;
    while walk.progress.phase != Phase::Done {
        walk.advance().await?;
        let cut = if Instant::now() >= until {
            "a rehearsal ends after half of dispatch.attempt_timeout"
        } else if walk.may_go_on().is_err() {
            "a rehearsal ends where sync.budget is used"
        } else {
            continue;
        };
        if walk.progress.phase != Phase::Done {
            walk.progress.note(Noted::of("cut", cut));
            walk.progress.is_cut = true;
            walk.progress.phase = Phase::Done;
        }
    }
    let mut shown = result(walk, what);
    shown["changes"] = std::mem::take(&mut walk.changes).into();
    Ok(shown)
}

fn result(walk: &Walk<'_>, what: &IntegrationSync) -> Value {
    let took = clock::now() - walk.run.started_at;
    json!({
        "integration_id": walk.handle.row.id,
        "sync_type": if what.full { "full" } else { "incremental" },
        "direction": "inbound", "dry_run": what.dry_run, "counts": walk.counts,
        "errors": walk.progress.errors, "complete": !walk.progress.is_cut,
        "since": walk.run.since, "pages": walk.run.pages,
        "duration_ms": took.num_milliseconds().max(0),
    })
}

/// A run that has come some way in this step goes on from there, and no attempt is spent.
fn put_by(walk: &Walk<'_>, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Later(failure, hint)
            if walk.durable > 0 && failure.code != ErrorCode::RateLimited =>
        {
            tracing::info!(command_id = %walk.job.id, error = failure.message,
                "a sync rests, and goes on where it is");
            let mut next = goes_on(walk, hint.unwrap_or_default().max(REST));
            next.wait = hint.map_or(next.wait, retry_after);
            Refusal::GoesOn(next)
        }
        Refusal::Waits(next) if walk.durable > 0 => Refusal::GoesOn(next),
        other @ (Refusal::For(_) | Refusal::Later(..) | Refusal::Waits(_) | Refusal::GoesOn(_)) => {
            other
        }
    }
}

fn goes_on(walk: &Walk<'_>, pause: Duration) -> Next {
    Next {
        at: after(clock::now(), pause),
        wait: Wait::with(WaitReason::SyncGoesOn, walk.counts.seen),
    }
}

/// Another process has the command: what this one says of it changes nothing.
fn lost() -> Next {
    Next::in_(Duration::ZERO, WaitReason::IntegrationChanged)
}

fn read<T>(job: &Job, result: Result<T, StoreError>) -> Result<T, Refusal> {
    result.map_err(|error| {
        tracing::warn!(command_id = %job.id, error = chain(&error),
            "a sync cannot read or write our tickets");
        let failure = Failure::new(ErrorCode::Internal, "the database is not reachable");
        Refusal::Later(failure, None)
    })
}
