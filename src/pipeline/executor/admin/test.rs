//! `integration.test`, and the same checks on a schedule.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::{AdminOutcome, Refusal};
use crate::contract::IntegrationTest;
use crate::integrations::{self, Checks, Requester, TestOutcome};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::gates;
use crate::pipeline::job::Job;
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{self, CallContext, Driver};

/// Runs checks with this worker's client, lease and tokens, and logs what failed.
pub(in crate::pipeline) async fn run_checks(
    core: &Core,
    handle: &Arc<ConnectedIntegration>,
    adapter: &Driver,
    checks: &Checks,
) -> TestOutcome {
    let deadline = Instant::now() + core.config.dispatch.attempt_timeout;
    let tokens = TokenCache::new(&core.tokens, Some(handle));
    let outcome = integrations::run_checks(adapter, checks, || {
        CallContext::new(
            &core.http,
            deadline,
            core.lease.as_ref(),
            &tokens,
            platforms::strangers(handle.row.platform),
        )
        .remembering(handle.memory.as_ref())
        .mailing(&core.mail)
    })
    .await;
    for checked in &outcome.checks {
        if let Err(error) = &checked.outcome {
            let (integration_id, test) = (handle.row.id, checked.kind);
            tracing::info!(%integration_id, %test, %error, "a check failed");
        }
    }
    outcome
}

pub(super) async fn run(
    core: &Core,
    job: &Job,
    test: &IntegrationTest,
    now: DateTime<Utc>,
) -> Result<AdminOutcome, Refusal> {
    let handle = gates::owned(job)?;
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return Err(failure.clone().into()),
    };
    let checks = Checks::of(&test.test_types);
    let outcome = run_checks(core, &handle, adapter.as_ref(), &checks).await;
    let may_activate = test.auto_activate_on_success;
    let requester = Requester::Command(job.id);
    let planned = integrations::test(&handle.row, &outcome, may_activate, requester, now);
    Ok(AdminOutcome::of(Some(handle), planned))
}
