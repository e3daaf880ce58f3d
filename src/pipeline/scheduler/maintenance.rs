//! What is done for integrations by the clock: they expire, are checked, are synced. Each by one
//! worker at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::webhooks;
use crate::contract::CommandType;
use crate::domain::{CommandId, IntegrationId, LifeEvent};
use crate::integrations::Checks;
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::admin::run_checks;
use crate::pipeline::lane::check_lane;
use crate::pipeline::settle::circuits::change_state_now;
use crate::platforms::TestKind;
use crate::store::{NewCommand, StateChange, StoreError, Task, chain};

/// How often the ledger is asked what is due.
const EVERY: Duration = Duration::from_secs(1);
/// Checks of this process at once.
const CHECKS_MAX: usize = 8;

/// Looks after integrations.
pub(in crate::pipeline) struct Maintenance {
    last: Instant,
    checks: TaskTracker,
}

impl Maintenance {
    pub(in crate::pipeline) fn new() -> Self {
        Self {
            last: Instant::now(),
            checks: TaskTracker::new(),
        }
    }

    /// One round, where it is time.
    pub(in crate::pipeline) async fn step(&mut self, core: &Arc<Core>) -> Result<(), StoreError> {
        if self.last.elapsed() < EVERY {
            return Ok(());
        }
        self.last = Instant::now();
        let events = core.store.expire_integrations(core.me.id).await?;
        if !events.is_empty() {
            tracing::info!(events = events.len(), "integrations expired");
            core.relay.offer(events);
        }
        let lease = core.config.dispatch.lease;
        if let Some(interval) = core.config.health.interval {
            let free = CHECKS_MAX.saturating_sub(self.checks.len());
            if free > 0 {
                let due = core
                    .store
                    .claim_tasks(
                        Task::Health,
                        interval,
                        lease,
                        i64::try_from(free).unwrap_or(1),
                    )
                    .await?;
                for (id, _) in due {
                    let core = Arc::clone(core);
                    self.checks.spawn(async move { check(&core, id).await });
                }
            }
        }
        let free = CHECKS_MAX.saturating_sub(self.checks.len());
        if free > 0 {
            let limit = i64::try_from(free).unwrap_or(1);
            let every = webhooks::EVERY;
            for (id, _) in core
                .store
                .claim_tasks(Task::Webhook, every, lease, limit)
                .await?
            {
                let core = Arc::clone(core);
                self.checks
                    .spawn(async move { webhooks::look(&core, id).await });
            }
        }
        for (id, due_at) in core.store.claim_tasks(Task::Sync, lease, lease, 50).await? {
            sync(core, id, due_at).await?;
        }
        Ok(())
    }

    /// Waits for the checks that are under way; none is begun any more.
    pub(in crate::pipeline) async fn end(&self, limit: Duration) {
        self.checks.close();
        // A check that is cut off has changed nothing; the next one is due by its schedule.
        drop(tokio::time::timeout(limit, self.checks.wait()).await);
    }
}

/// A health check: what a test asks, without what a test would make.
async fn check(core: &Arc<Core>, id: IntegrationId) {
    let handle = match core.integrations.get(&[(id, -1)]).await {
        Ok(found) => found.into_values().next(),
        Err(error) => {
            tracing::warn!(integration_id = %id, error = chain(&error),
                "a health check waits for the database");
            return;
        }
    };
    let posts = |handle: &Arc<ConnectedIntegration>| {
        let adapter = handle.adapter.as_ref();
        adapter.is_ok_and(|adapter| adapter.posts_when_checked())
    };
    // What can only be asked by posting is not asked every few minutes.
    if let Some(handle) = handle.filter(|handle| !posts(handle)) {
        let error = match &handle.adapter {
            Ok(adapter) => {
                let kinds = vec![TestKind::Connection, TestKind::Authentication];
                run_checks(core, &handle, adapter.as_ref(), &Checks::Named(kinds))
                    .await
                    .error()
            }
            Err(failure) => Some(failure.message.clone()),
        };
        let event = if error.is_none() {
            LifeEvent::CheckPassed
        } else {
            LifeEvent::CheckFailed
        };
        let change = StateChange {
            // Somebody may have changed it while it was checked: what was seen then says nothing of
            // it now.
            expected: Some(handle.row.life()),
            reason: Some("the health check on the schedule".into()),
            error,
            ..StateChange::of(id, event)
        };
        change_state_now(core, &change).await;
    }
    if let Err(error) = core.store.end_task(Task::Health, id).await {
        tracing::debug!(integration_id = %id, error = chain(&error),
            "a check's lease runs out by itself");
    }
}

/// A sync on the schedule is a command like any other, so it can be seen and retried; its id is
/// derived from when it was due, so that it is made once.
async fn sync(
    core: &Arc<Core>,
    id: IntegrationId,
    due_at: chrono::DateTime<chrono::Utc>,
) -> Result<(), StoreError> {
    let loaded = core.store.integrations(&[id.uuid()]).await?.pop();
    let Some(organization_id) = loaded.and_then(|loaded| loaded.integration.organization_id) else {
        return Ok(());
    };
    // One that is under way sees what this one would; the next is made when it is due.
    if core.store.is_syncing(id).await? {
        tracing::info!(integration_id = %id,
            "no sync is made on the schedule, as one is under way");
        return Ok(());
    }
    let data = serde_json::json!({ "integration_id": id }).to_string();
    let name = format!("sync {}", due_at.timestamp_micros());
    let row = NewCommand {
        id: CommandId::new(Uuid::new_v5(&id.uuid(), name.as_bytes())),
        command_type: CommandType::IntegrationSync.as_str(),
        organization_id,
        integration_id: Some(id),
        ticket_id: None,
        lane: Some(check_lane(organization_id, id)),
        creates: false,
        digest: Sha256::digest(&data).to_vec(),
        older_digests: Vec::new(),
        data,
        expires_at: None,
        traceparent: None,
        doubt_since: None,
        tracestate: None,
        parent: None,
    };
    core.store.add_command(&row).await?;
    core.due.notify_one();
    Ok(())
}
