//! An integration is tested: its platform is asked, and the answers are a health check of it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Planned, Requester};
use crate::contract::IntegrationTest;
use crate::domain::{ErrorCode, Failure, Integration, LifeEvent};
use crate::platforms::{AdapterError, CallContext, CheckReport, Driver, ErrorClass, TestKind};
use crate::store::{LedgerChange, StateChange};

/// One check and what came of it.
#[derive(Debug)]
pub struct Checked {
    /// What was tried.
    pub kind: TestKind,
    /// What was seen, or why it failed.
    pub outcome: Result<CheckReport, AdapterError>,
    /// How long the platform took.
    pub took: Duration,
}

impl Checked {
    /// Why it failed, as it may be published.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let error = self.outcome.as_ref().err()?;
        Some(if error.class == ErrorClass::Unknown {
            // A check is read-only but for create_ticket, and says itself what it left behind.
            Failure::new(ErrorCode::PlatformUnavailable, error.public.clone())
        } else {
            error.failure()
        })
    }

    /// As the result of `integration.test` shows it.
    fn report(&self) -> Value {
        let duration_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        match &self.outcome {
            Ok(report) => json!({
                "test": self.kind, "success": true, "message": report.message,
                "details": report.details, "duration_ms": duration_ms,
            }),
            Err(_) => json!({
                "test": self.kind, "success": false, "error": self.failure(),
                "duration_ms": duration_ms,
            }),
        }
    }
}

/// What the checks saw, in the order in which they were run.
#[derive(Debug)]
pub struct TestOutcome {
    /// Each of them.
    pub checks: Vec<Checked>,
}

impl TestOutcome {
    /// Why the first that failed did, fit to show to a person; `None` where all passed.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let failure = self.checks.iter().find_map(Checked::failure);
        failure.map(|failure| failure.message)
    }
}

/// Which checks are to be run.
#[derive(Debug, Clone)]
pub enum Checks {
    /// Others than the usual, in this order. What the platform cannot be asked has failed.
    Named(Vec<TestKind>),
    /// Connection, authentication and permissions: that a ticket could be made. A platform without
    /// permissions that could be asked for passes without them.
    Usual,
}

impl Checks {
    /// By their names; those that are none are left out, which the contract has refused. The usual
    /// ones are that whether somebody named them or nobody did.
    #[must_use]
    pub fn of(names: &[String]) -> Self {
        if names == IntegrationTest::USUAL {
            return Self::Usual;
        }
        let kinds = names.iter().filter_map(|name| TestKind::parse(name));
        Self::Named(kinds.collect())
    }
}

/// Runs checks one after the other, whatever becomes of those before. `context` is asked for a way
/// to the platform for each of them.
pub async fn run_checks<'a>(
    adapter: &Driver,
    checks: &Checks,
    context: impl Fn() -> CallContext<'a>,
) -> TestOutcome {
    let (kinds, named) = match checks {
        Checks::Named(kinds) => (kinds.clone(), true),
        Checks::Usual => {
            let usual = IntegrationTest::USUAL.iter();
            let kinds = usual.filter_map(|name| TestKind::parse(name));
            (kinds.collect(), false)
        }
    };
    let mut checks = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let began = Instant::now();
        let context = context();
        let outcome = match adapter.check(&context, kind).await {
            // Only permissions: that a tool holds no token is no reason to call the others passed.
            Err(error)
                if !named
                    && kind == TestKind::Permissions
                    && error.class == ErrorClass::Unsupported =>
            {
                Ok(CheckReport {
                    message: format!("skipped: {}", error.public),
                    details: Map::from_iter([("skipped".to_owned(), true.into())]),
                })
            }
            outcome => outcome,
        };
        checks.push(Checked {
            kind,
            outcome,
            took: began.elapsed(),
        });
    }
    TestOutcome { checks }
}

/// Plans what an outcome makes of an integration. Where all that was tried passed, `authentication`
/// among it, and `may_activate`, one that is pending or failed becomes active.
#[must_use]
pub fn test(
    row: &Integration,
    outcome: &TestOutcome,
    may_activate: bool,
    requester: Requester,
    now: DateTime<Utc>,
) -> Planned {
    let error = outcome.error();
    let success = error.is_none();
    let mut tried = outcome.checks.iter().map(|checked| checked.kind);
    let activates = may_activate && tried.any(|kind| kind == TestKind::Authentication);
    let event = match (success, activates) {
        (true, true) => LifeEvent::TestActivates,
        (true, false) => LifeEvent::TestPassed,
        (false, _) => LifeEvent::TestFailed,
    };
    let after = row.life().after(event, row.has_expired(now));
    let reports: Vec<Value> = outcome.checks.iter().map(Checked::report).collect();
    let usual = if success {
        "all requested tests passed"
    } else {
        "a requested test failed"
    };
    Planned {
        result: json!({
            "integration_id": row.id, "success": success, "tests": reports,
            "status_before": row.status, "status_after": after.status,
        }),
        change: LedgerChange::StateChange(StateChange {
            error,
            ..requester.change(row, event, None, Some(usual))
        }),
    }
}
