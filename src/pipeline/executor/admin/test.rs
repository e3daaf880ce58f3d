//! `integration.test`, and the same checks on a schedule.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Done, Refusal};
use crate::contract::IntegrationTest;
use crate::domain::{ErrorCode, Failure, LifeEvent};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::gates;
use crate::pipeline::job::Job;
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{CallContext, Driver, ErrorClass, TestKind};
use crate::store::{LedgerChange, StateChange};
use std::sync::Arc;

/// What checks saw.
pub(in crate::pipeline) struct Verdict {
    pub(in crate::pipeline) reports: Vec<Value>,
    /// Of the first that failed.
    pub(in crate::pipeline) error: Option<String>,
}

/// Runs checks one after the other, whatever becomes of those before.
pub(in crate::pipeline) async fn run_checks(
    core: &Core,
    handle: &Arc<ConnectedIntegration>,
    adapter: &Driver,
    kinds: &[TestKind],
) -> Verdict {
    let started = Instant::now();
    let mut verdict = Verdict {
        reports: Vec::with_capacity(kinds.len()),
        error: None,
    };
    for kind in kinds {
        let began = Instant::now();
        let tokens = TokenCache::new(&core.tokens, Some(handle));
        let deadline = started + core.config.dispatch.attempt_timeout;
        let context = CallContext::new(
            &core.http,
            deadline,
            core.lease.as_ref(),
            &tokens,
            crate::platforms::strangers(handle.row.platform),
        )
        .remembering(handle.memory.as_ref())
        .mailing(&core.mail);
        let report = adapter.check(&context, *kind).await;
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        verdict.reports.push(match report {
            Ok(report) => json!({
                "test": kind, "success": true, "message": report.message, "details": report.details,
                "duration_ms": duration_ms,
            }),
            Err(error) => {
                tracing::info!(integration_id = %handle.row.id, test = %kind, error = %error, "a check failed");
                let failure = if error.class == ErrorClass::Unknown {
                    // A check is read-only but for create_ticket, and says itself what it left behind.
                    Failure::new(ErrorCode::PlatformUnavailable, error.public.clone())
                } else {
                    error.failure()
                };
                verdict.error.get_or_insert_with(|| failure.message.clone());
                json!({ "test": kind, "success": false, "error": failure, "duration_ms": duration_ms })
            }
        });
    }
    verdict
}

pub(super) async fn run(
    core: &Core,
    job: &Job,
    test: &IntegrationTest,
    now: DateTime<Utc>,
) -> Result<Done, Refusal> {
    let handle = gates::owned(job)?;
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return Err(failure.clone().into()),
    };
    let kinds: Vec<TestKind> = test
        .test_types
        .iter()
        .filter_map(|name| TestKind::parse(name))
        .collect();
    let verdict = run_checks(core, &handle, adapter.as_ref(), &kinds).await;
    let success = verdict.error.is_none();
    let event = match (
        success,
        kinds.contains(&TestKind::Authentication) && test.auto_activate_on_success,
    ) {
        (true, true) => LifeEvent::TestActivates,
        (true, false) => LifeEvent::TestPassed,
        (false, _) => LifeEvent::TestFailed,
    };
    let row = &handle.row;
    let after = row.life().after(event, row.has_expired(now));
    let result = json!({
        "integration_id": row.id, "success": success, "tests": verdict.reports,
        "status_before": row.status, "status_after": after.status,
    });
    let transit = StateChange {
        expected: Some(row.life()),
        reason: Some(if success {
            "all requested tests passed".into()
        } else {
            "a requested test failed".into()
        }),
        error: verdict.error,
        command: Some(job.id),
        ..StateChange::of(row.id, event)
    };
    Ok(Done {
        result,
        effect: Some(LedgerChange::StateChange(transit)),
        handle: Some(handle),
    })
}
