//! The integration commands that change something of ours: create, status, test. Their effect is made in the
//! transaction that settles them, so it happens exactly once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::core::Core;
use super::gates;
use super::integrations::Handle;
use super::job::{Job, Organization};
use super::tokens::TokenCache;
use crate::contract::{Command, IntegrationCreate, IntegrationSetEnabled, IntegrationTest};
use crate::domain::{ErrorCode, Failure, HealthStatus, IntegrationId, IntegrationStatus};
use crate::platforms::{self, ErrorClass, Exchange, TestKind};
use crate::secrets::Binding;
use crate::store::{NewIntegration, OwnEffect};

/// Why it is not done.
pub(super) enum Refusal {
    /// For good.
    For(Failure),
    /// It may be tried again.
    #[expect(dead_code, reason = "sync and fields will need it")]
    Later(Failure, Option<Duration>),
}

/// How it came out.
pub(super) struct OwnDone {
    pub(super) handle: Option<Arc<Handle>>,
    pub(super) spent: bool,
    pub(super) result: Result<Value, Refusal>,
    pub(super) effect: Option<OwnEffect>,
}

impl OwnDone {
    fn refuse(failure: Failure) -> Self {
        Self {
            handle: None,
            spent: false,
            result: Err(Refusal::For(failure)),
            effect: None,
        }
    }
}

pub(super) async fn run(core: &Core, job: &Job, now: DateTime<Utc>) -> OwnDone {
    if job.attempt == 0 && job.expires_at.is_some_and(|expiry| expiry <= now) {
        let text = "its expirytime passed before it was started";
        return OwnDone::refuse(Failure::new(ErrorCode::Expired, text));
    }
    if job.organization == Organization::Disabled {
        return OwnDone::refuse(Failure::new(
            ErrorCode::OrganizationDisabled,
            "the organization is disabled",
        ));
    }
    match &*job.command {
        Command::IntegrationCreate(create) => run_create(core, job, create),
        Command::IntegrationStatus(set) => run_status(job, set),
        Command::IntegrationTest(test) => run_test(core, job, test).await,
        Command::TicketCreate(_)
        | Command::TicketUpdate(_)
        | Command::TicketStatus(_)
        | Command::TicketAssign(_)
        | Command::TicketComment(_)
        | Command::TicketGet(_)
        | Command::TicketSearch(_)
        | Command::IntegrationGet(_)
        | Command::IntegrationList(_)
        | Command::Unwritten(_) => {
            let text = format!("{} is not carried out here", job.command_type);
            OwnDone::refuse(Failure::new(ErrorCode::Internal, text))
        }
    }
}

/// The id of an integration that a command makes: derived, so that whoever seals its credentials at the door and
/// whoever writes the row agree on it.
pub(super) fn integration_id_of(command: crate::domain::CommandId) -> IntegrationId {
    IntegrationId::new(command.derive("integration"))
}

fn run_create(core: &Core, job: &Job, create: &IntegrationCreate) -> OwnDone {
    let id = integration_id_of(job.id);
    let Some(descriptor) = platforms::descriptor(create.platform) else {
        let text = format!(
            "this version of Ticketwire has no adapter for {} yet",
            create.platform
        );
        return OwnDone::refuse(Failure::new(ErrorCode::UnsupportedPlatform, text));
    };
    let sealed = create.credentials.get(SEALED).and_then(Value::as_str);
    if create.credentials.contains_key(REFUSED) {
        let text = "no key to seal credentials with is configured; `ticketwire keys generate` makes one for \
                    secrets.keys";
        return OwnDone::refuse(Failure::new(ErrorCode::CredentialsUnreadable, text));
    }
    let mut credentials = match sealed {
        None => create.credentials.clone(),
        Some(sealed) => {
            let binding = Binding {
                organization: job.organization_id,
                integration: id,
                column: "credentials_encrypted",
            };
            let opened = core
                .ring
                .open(&binding, sealed)
                .map_err(|error| error.to_string());
            match opened
                .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
            {
                Ok(members) => members,
                Err(error) => {
                    let text = format!(
                        "the credentials of this command cannot be opened any more: {error}"
                    );
                    return OwnDone::refuse(Failure::new(ErrorCode::CredentialsUnreadable, text));
                }
            }
        }
    };
    let faults = platforms::faults(
        descriptor,
        create.auth_type,
        &credentials,
        &create.settings,
        create.base_url.as_deref(),
    );
    if !faults.is_empty() {
        let text = faults
            .iter()
            .map(|(name, fault)| format!("{name} {fault}"))
            .collect::<Vec<_>>()
            .join("; ");
        return OwnDone::refuse(
            Failure::new(ErrorCode::ValidationFailed, text).with_fields(faults),
        );
    }
    // What is known as a setting is taken as one, where a legacy producer put it among the credentials.
    let mut create = create.clone();
    let is_secret = |name: &str| {
        let schemes = descriptor
            .auth
            .iter()
            .filter(|scheme| scheme.auth_type == create.auth_type);
        schemes
            .flat_map(|s| s.alternatives.iter())
            .any(|set| set.iter().any(|member| member.name == name))
    };
    let moved: Vec<String> = descriptor
        .settings
        .iter()
        .map(|member| member.name)
        .filter(|name| credentials.contains_key(*name) && !is_secret(name))
        .map(str::to_owned)
        .collect();
    let mut resealed = sealed.map(str::to_owned);
    if !moved.is_empty() {
        for name in &moved {
            if let Some(value) = credentials.remove(name) {
                create.settings.entry(name.clone()).or_insert(value);
            }
        }
        let binding = Binding {
            organization: job.organization_id,
            integration: id,
            column: "credentials_encrypted",
        };
        resealed = serde_json::to_vec(&credentials)
            .ok()
            .and_then(|bytes| core.ring.seal(&binding, &bytes).ok());
    }
    let status = if create.enabled {
        IntegrationStatus::Pending
    } else {
        IntegrationStatus::Inactive
    };
    let webhook_secret_sealed = create.webhook_secret.take();
    create.credentials = Map::new();
    let result = json!({ "integration_id": id, "status": status });
    let new = NewIntegration {
        id,
        organization_id: job.organization_id,
        create,
        credentials_sealed: resealed,
        webhook_secret_sealed,
        status,
    };
    OwnDone {
        handle: None,
        spent: true,
        result: Ok(result),
        effect: Some(OwnEffect::CreateIntegration(Box::new(new))),
    }
}

/// Marks sealed credentials in stored data.
pub(super) const SEALED: &str = "$sealed";
/// Marks credentials that could not be sealed, and so were not stored.
pub(super) const REFUSED: &str = "$not_stored";

fn run_status(job: &Job, set: &IntegrationSetEnabled) -> OwnDone {
    let handle = match gates::owned(job) {
        Ok(handle) => handle,
        Err(failure) => return OwnDone::refuse(failure),
    };
    let row = &handle.row;
    let status_after = match (row.enabled == set.enabled, set.enabled) {
        (true, _) => row.status,
        (false, false) => IntegrationStatus::Inactive,
        (false, true) if handle.health == HealthStatus::Healthy => IntegrationStatus::Active,
        (false, true) => IntegrationStatus::Pending,
    };
    let result = json!({
        "integration_id": row.id,
        "old_enabled": row.enabled, "enabled": set.enabled,
        "old_status": row.status, "status": status_after,
    });
    let effect = OwnEffect::SetEnabled {
        id: row.id,
        enabled: set.enabled,
        reason: set.reason.clone(),
    };
    OwnDone {
        handle: Some(handle),
        spent: true,
        result: Ok(result),
        effect: Some(effect),
    }
}

async fn run_test(core: &Core, job: &Job, test: &IntegrationTest) -> OwnDone {
    let handle = match gates::owned(job) {
        Ok(handle) => handle,
        Err(failure) => return OwnDone::refuse(failure),
    };
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return OwnDone::refuse(failure.clone()),
    };
    let started = Instant::now();
    let mut reports = Vec::with_capacity(test.test_types.len());
    let mut first_error = None;
    for kind in test
        .test_types
        .iter()
        .filter_map(|name| TestKind::parse(name))
    {
        let began = Instant::now();
        let tokens = TokenCache::new(core, Some(&handle));
        let exchange = Exchange {
            client: &core.http,
            deadline: started + core.config.dispatch.attempt_timeout,
            permit: core.lease.as_ref(),
            tokens: &tokens,
        };
        let report = adapter.check(&exchange, kind).await;
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        reports.push(match report {
            Ok(report) => json!({
                "test": kind, "success": true, "message": report.message, "details": report.details,
                "duration_ms": duration_ms,
            }),
            Err(error) => {
                tracing::info!(command_id = %job.id, integration_id = %handle.row.id, test = %kind, error = %error, "a test failed");
                let failure = if error.class == ErrorClass::Unknown {
                    // A test is read-only but for create_ticket, and says itself what it left behind.
                    Failure::new(ErrorCode::PlatformUnavailable, error.public.clone())
                } else {
                    error.failure()
                };
                first_error.get_or_insert_with(|| failure.message.clone());
                json!({ "test": kind, "success": false, "error": failure, "duration_ms": duration_ms })
            }
        });
    }
    let success = first_error.is_none();
    let authenticated = test.test_types.iter().any(|name| name == "authentication");
    let activates = success && authenticated && test.auto_activate_on_success;
    let before = handle.row.status;
    let wakes = matches!(
        before,
        IntegrationStatus::Pending | IntegrationStatus::Error
    );
    let after = if activates && handle.row.enabled && wakes {
        IntegrationStatus::Active
    } else {
        before
    };
    let result = json!({
        "integration_id": handle.row.id, "success": success, "tests": reports,
        "status_before": before, "status_after": after,
    });
    let health = if success {
        HealthStatus::Healthy
    } else {
        HealthStatus::Unhealthy
    };
    let effect = OwnEffect::RecordTest {
        id: handle.row.id,
        health,
        error: first_error,
        activates,
    };
    OwnDone {
        handle: Some(handle),
        spent: true,
        result: Ok(result),
        effect: Some(effect),
    }
}
