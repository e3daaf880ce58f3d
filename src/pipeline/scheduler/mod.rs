//! The clock: takes what is due, gives free turns away, sees to circuits, leases, usage and poison
//! candidates. Shared by all workers through `SKIP LOCKED`: one worker or fifty is the same
//! configuration.

pub mod isolation;
mod maintenance;
mod retention;
mod webhooks;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::contract::CommandType;
use crate::domain::IntegrationId;
use crate::pipeline::context::Core;
use crate::pipeline::executor::prepare;
use crate::pipeline::lane::lane_of_type;
use crate::pipeline::scheduler::isolation::Isolation;
use crate::pipeline::scheduler::maintenance::Maintenance;
use crate::pipeline::scheduler::retention::Retention;
use crate::store::{Claimed, StoreError, chain};
use crate::telemetry::metrics;

/// How often the ledger is asked for due commands when nothing wakes the clock.
const TICK: Duration = Duration::from_millis(100);
/// How often the rarer rounds run.
const ROUNDS: Duration = Duration::from_secs(1);
/// How often tables are looked at that may have outgrown their statistics.
const STATISTICS: Duration = Duration::from_millis(250);
/// How often usage is folded into the integrations.
const FOLD: Duration = Duration::from_secs(3);
/// Rows a round of the fallback clock looks at.
const WAITING_MAX: i64 = 500;

/// Runs until `stop` fires.
pub async fn run_schedule(core: Arc<Core>, mut alone: Option<Isolation>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_round = Instant::now();
    let mut last_fold = Instant::now();
    let mut last_statistics = Instant::now();
    let mut retention = Retention::new();
    let mut rounds = Maintenance::new();
    // Others are judged only after one lease of a reachable database: a long outage is no massacre.
    let mut reachable_since = Instant::now();
    let mut in_doubt = true;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = core.due.notified() => {}
            () = core.lease.work_heard_of() => {}
            () = stop.cancelled() => break,
        }
        if !core.lease.stands() {
            in_doubt = true;
            reachable_since = Instant::now();
            continue;
        }
        let mut failure: Option<StoreError> = None;
        if in_doubt {
            match adopt(&core).await {
                Ok(()) => in_doubt = false,
                Err(error) => failure = Some(error),
            }
        }
        if failure.is_none()
            && let Err(error) = claim_due(&core).await
        {
            // The claim's commit is in doubt.
            in_doubt = true;
            failure = Some(error);
        }
        if failure.is_none() && last_round.elapsed() >= ROUNDS {
            last_round = Instant::now();
            failure = round(&core, reachable_since, alone.as_mut()).await.err();
        }
        if failure.is_none() && last_statistics.elapsed() >= STATISTICS {
            last_statistics = Instant::now();
            failure = core.store.keep_statistics().await.err();
        }
        if failure.is_none() && last_fold.elapsed() >= FOLD {
            last_fold = Instant::now();
            metrics::upkeep();
            failure = core.store.fold_usage().await.err();
        }
        if failure.is_none() {
            failure = retention.step(&core).await.err();
        }
        if failure.is_none() {
            failure = rounds.step(&core).await.err();
        }
        match failure {
            Some(StoreError::Contention(error)) => {
                tracing::debug!(error = %error, "lost a race; next round");
            }
            Some(error) => {
                tracing::warn!(error = chain(&error), "the clock cannot reach the ledger");
                core.store.forget_connections();
                reachable_since = Instant::now();
                in_doubt = true;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            None => {}
        }
    }
    if let Some(alone) = alone.as_mut() {
        alone.stop().await;
    }
    rounds.end(Duration::from_secs(5)).await;
    if let Err(error) = core.store.fold_usage().await {
        tracing::debug!(
            error = chain(&error),
            "usage stays in its narrow rows for now"
        );
    }
}

/// Takes due commands while there is room and there are any.
async fn claim_due(core: &Arc<Core>) -> Result<(), StoreError> {
    loop {
        let free = core.free_memory();
        if free == 0 {
            return Ok(());
        }
        let probes: Vec<Uuid> = if core.has_degraded() {
            core.store.win_probes(core.config.dispatch.lease).await?
        } else {
            Vec::new()
        };
        let (claimed, full) = {
            let _claiming = core.claiming.lock().await;
            let capacities = core
                .lanes
                .capacities(free.min(512), core.full_organizations());
            let claimed = core.store.claim(&capacities, core.me.id, &probes).await?;
            core.hold(
                claimed
                    .iter()
                    .map(|command| (command.id, command.organization_id)),
            );
            let lanes: Vec<Uuid> = claimed.iter().map(lane_of).collect();
            core.lanes.check_backlog(&capacities, &lanes);
            let full = i64::try_from(claimed.len()).is_ok_and(|count| count >= capacities.total);
            (claimed, full)
        };
        if claimed.is_empty() {
            if !probes.is_empty() {
                core.store.return_probes(&probes).await?;
            }
            return Ok(());
        }
        let lanes: Vec<Uuid> = claimed.iter().map(lane_of).collect();
        prepare::start_claimed(core, claimed).await;
        core.lanes.expect_more(lanes);
        if !full {
            return Ok(());
        }
    }
}

fn lane_of(claimed: &Claimed) -> Uuid {
    CommandType::parse(&claimed.command_type)
        .and_then(|kind| lane_of_type(kind, claimed.organization_id, claimed.integration_id))
        .or(claimed.integration_id.map(IntegrationId::uuid))
        .unwrap_or_default()
}

/// Runs what an enqueue or claim left behind whose commit was in doubt: leased to this process, but
/// not in its hands, and so surely not begun.
async fn adopt(core: &Arc<Core>) -> Result<(), StoreError> {
    let found = {
        let _claiming = core.claiming.lock().await;
        let found = core.store.running_of(core.me.id, &core.held_ids()).await?;
        core.hold(
            found
                .iter()
                .map(|command| (command.id, command.organization_id)),
        );
        found
    };
    if !found.is_empty() {
        tracing::info!(
            commands = found.len(),
            "found commands of ours that were not in hand; running them"
        );
        prepare::start_claimed(core, found).await;
    }
    Ok(())
}

async fn round(
    core: &Arc<Core>,
    reachable_since: Instant,
    alone: Option<&mut Isolation>,
) -> Result<(), StoreError> {
    match core.store.check_waiting(WAITING_MAX).await {
        Ok(_) => {}
        Err(StoreError::Contention(error)) => {
            tracing::debug!(error = %error, "lost a race for a turn");
        }
        Err(error) => return Err(error),
    }
    let left = core.store.answer_left_callers().await?;
    if left > 0 {
        tracing::info!(callers = left, "answering callers that were left behind");
    }
    let degraded: HashSet<_> = core
        .store
        .degraded_circuits()
        .await?
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    core.set_degraded(degraded);
    if reachable_since.elapsed() >= core.config.dispatch.lease {
        let claimed = core.store.take_over_dead(&core.me).await?;
        if claimed > 0 {
            tracing::warn!(
                commands = claimed,
                "took over from workers whose lease ran out"
            );
        }
    }
    if let Some(alone) = alone {
        alone.tend(core).await?;
    }
    Ok(())
}
