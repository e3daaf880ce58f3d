//! The commands that change something of ours: integrations, and many tickets at once. Their effect is made in the
//! transaction that settles them, so it happens exactly once.

mod bulk;
mod secrets;
mod sync;
mod test;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use self::secrets::Opened;
use crate::contract::{
    AdminCommand, Command, IntegrationCreate, IntegrationSetEnabled, IntegrationUpdate,
};
use crate::domain::{ErrorCode, Failure, Integration, IntegrationId, IntegrationStatus, LifeEvent};
use crate::pipeline::connections::{ConnectedIntegration, open_credentials};
use crate::pipeline::context::Core;
use crate::pipeline::executor::gates;
use crate::pipeline::job::{Job, Organization};
use crate::pipeline::retry::Next;
use crate::platforms::{self, Descriptor};
use crate::secrets::KeyRing;
use crate::store::{IntegrationWrite, LedgerChange, NewIntegration, StateChange};

pub(in crate::pipeline) use self::test::{Verdict, run_checks};

/// Why it is not done.
pub(in crate::pipeline) enum Refusal {
    /// For good.
    For(Failure),
    /// It may be tried again.
    Later(Failure, Option<Duration>),
    /// It waits for something of ours; no attempt is spent.
    Waits(Next),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::For(failure)
    }
}

/// How it came out.
pub(in crate::pipeline) struct AdminDone {
    pub(in crate::pipeline) handle: Option<Arc<ConnectedIntegration>>,
    pub(in crate::pipeline) spent: bool,
    pub(in crate::pipeline) result: Result<Value, Refusal>,
    pub(in crate::pipeline) effect: Option<LedgerChange>,
}

/// What a command does, and what it answers.
struct Done {
    handle: Option<Arc<ConnectedIntegration>>,
    result: Value,
    effect: Option<LedgerChange>,
}

pub(in crate::pipeline) async fn run(core: &Core, job: &Job, now: DateTime<Utc>) -> AdminDone {
    match conduct(core, job, now).await {
        Ok(done) => AdminDone {
            handle: done.handle,
            spent: true,
            result: Ok(done.result),
            effect: done.effect,
        },
        Err(refusal) => AdminDone {
            handle: gates::owned(job).ok(),
            spent: matches!(refusal, Refusal::Later(..)),
            result: Err(refusal),
            effect: None,
        },
    }
}

async fn conduct(core: &Core, job: &Job, now: DateTime<Utc>) -> Result<Done, Refusal> {
    let refuse = |code, text: &str| Err(Refusal::For(Failure::new(code, text)));
    // Of a bulk change that was taken before, children are under way.
    let started = job.attempt > 0
        || (job.fencing_token > 1
            && matches!(&*job.command, Command::Admin(AdminCommand::BulkUpdate(_))));
    if !started && job.expires_at.is_some_and(|expiry| expiry <= now) {
        return refuse(
            ErrorCode::Expired,
            "its expirytime passed before it was started",
        );
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
    match command {
        AdminCommand::CreateIntegration(new) => create(core, job, new),
        AdminCommand::UpdateIntegration(change) => update(core, job, change, now),
        AdminCommand::DeleteIntegration(id) => delete(job, *id),
        AdminCommand::SetEnabled(set) => set_enabled(job, set, now),
        AdminCommand::TestIntegration(what) => test::run(core, job, what, now).await,
        AdminCommand::SyncIntegration(what) => sync::run(core, job, what).await,
        AdminCommand::BulkUpdate(update) => bulk::run(core, job, update).await,
    }
}

fn create(core: &Core, job: &Job, create: &IntegrationCreate) -> Result<Done, Refusal> {
    let id = job.id.created_integration();
    let descriptor = platforms::descriptor(create.platform).ok_or_else(|| {
        let text = format!(
            "this version of Ticketwire has no adapter for {} yet",
            create.platform
        );
        Failure::new(ErrorCode::UnsupportedPlatform, text)
    })?;
    let opened = Opened::of(&core.ring, job.organization_id, id, &create.credentials)?;
    check(
        descriptor,
        create.auth_type,
        &opened.members,
        &create.settings,
        create.base_url.as_deref(),
    )?;
    let mapping = create.custom_fields_mapping.as_ref();
    fits_platform(descriptor, mapping)?;
    let mut new = create.clone();
    let credentials_sealed =
        opened.keep(&core.ring, descriptor, create.auth_type, &mut new.settings)?;
    let status = if create.enabled {
        IntegrationStatus::Pending
    } else {
        IntegrationStatus::Inactive
    };
    let webhook_secret_sealed = new.webhook_secret.take();
    new.credentials = Map::new();
    Ok(Done {
        handle: None,
        result: json!({ "integration_id": id, "status": status }),
        effect: Some(LedgerChange::CreateIntegration(Box::new(NewIntegration {
            id,
            organization_id: job.organization_id,
            create: new,
            credentials_sealed,
            webhook_secret_sealed,
            status,
        }))),
    })
}

/// Whether the platform has what custom fields are mapped to; every fault at once.
fn fits_platform(
    descriptor: &Descriptor,
    mapping: Option<&Map<String, Value>>,
) -> Result<(), Failure> {
    refuse_faults(mapping.map_or_else(BTreeMap::new, |mapping| {
        platforms::mapping_faults(descriptor, mapping)
    }))
}

fn refuse_faults(faults: BTreeMap<String, String>) -> Result<(), Failure> {
    if faults.is_empty() {
        return Ok(());
    }
    let text = faults
        .iter()
        .map(|(name, fault)| format!("{name} {fault}"))
        .collect::<Vec<_>>()
        .join("; ");
    Err(Failure::new(ErrorCode::ValidationFailed, text).with_fields(faults))
}

/// Whether the adapter can make something of it; every fault at once.
fn check(
    descriptor: &Descriptor,
    auth_type: crate::domain::AuthType,
    credentials: &Map<String, Value>,
    settings: &Map<String, Value>,
    base_url: Option<&str>,
) -> Result<(), Failure> {
    refuse_faults(platforms::faults(
        descriptor,
        auth_type,
        credentials,
        settings,
        base_url,
    ))
}

fn update(
    core: &Core,
    job: &Job,
    change: &IntegrationUpdate,
    now: DateTime<Utc>,
) -> Result<Done, Refusal> {
    let handle = gates::owned(job)?;
    let (mut write, result) = plan_update(&core.ring, &handle.row, change, now)?;
    write.transit.expected = Some(handle.row.life());
    write.transit.command = Some(job.id);
    Ok(Done {
        handle: Some(handle),
        result,
        effect: Some(LedgerChange::UpdateIntegration(Box::new(write))),
    })
}

/// What an update writes, and what is answered; for the command and for the command line.
///
/// # Errors
/// What is wrong with it, beside what is stored.
pub fn plan_update(
    ring: &KeyRing,
    row: &Integration,
    change: &IntegrationUpdate,
    now: DateTime<Utc>,
) -> Result<(IntegrationWrite, Value), Failure> {
    let mut write = IntegrationWrite {
        name: change.name.clone(),
        auth_type: change.auth_type,
        credentials_sealed: None,
        webhook_secret_sealed: change.webhook_secret.clone(),
        settings: change.settings.clone().unwrap_or_default(),
        base_url: change.base_url.clone(),
        expires_at: change.expires_at,
        plain: change.plain.clone(),
        transit: StateChange {
            reason: Some("integration.update".into()),
            events: Vec::new(),
            ..StateChange::of(row.id, LifeEvent::Renew)
        },
    };
    fits(row, change)?;
    if change.auth_type.is_some()
        || change.credentials.is_some()
        || change.settings.is_some()
        || change.base_url.is_some()
    {
        recheck(ring, row, change, &mut write)?;
    }
    let events = &mut write.transit.events;
    if write.credentials_sealed.is_some() {
        events.push(LifeEvent::NewCredentials);
    }
    let expires_at = change.expires_at.unwrap_or(row.expires_at);
    let expired = expires_at.is_some_and(|expiry| expiry <= now);
    if change.expires_at.is_some() {
        events.push(if expired {
            LifeEvent::Expire
        } else {
            LifeEvent::Renew
        });
    }
    match change.enabled {
        Some(true) => events.push(LifeEvent::Enable),
        Some(false) => events.push(LifeEvent::Disable),
        None => {}
    }
    let after = events
        .iter()
        .fold(row.life(), |state, event| state.after(*event, expired));
    let result = json!({
        "integration_id": row.id, "status": after.status, "enabled": after.enabled,
        "old_status": row.status, "changed_fields": changed(change),
    });
    Ok((write, result))
}

/// Whether the adapter can make something of what the integration would then be.
fn recheck(
    ring: &KeyRing,
    row: &Integration,
    change: &IntegrationUpdate,
    write: &mut IntegrationWrite,
) -> Result<(), Failure> {
    let descriptor = row
        .platform
        .and_then(platforms::descriptor)
        .ok_or_else(|| {
            let text = format!(
                "this version of Ticketwire has no adapter for {} yet",
                row.platform_name
            );
            Failure::new(ErrorCode::UnsupportedPlatform, text)
        })?;
    let auth_type = change.auth_type.unwrap_or(row.auth_type);
    let mut settings = row.settings.clone();
    for (name, value) in change.settings.iter().flatten() {
        if value.is_null() {
            settings.remove(name);
        } else {
            settings.insert(name.clone(), value.clone());
        }
    }
    let base_url = match &change.base_url {
        Some(new) => new.as_deref(),
        None => row.base_url.as_deref(),
    };
    let Some(credentials) = &change.credentials else {
        // What is stored goes nowhere that it was not given for.
        if row.credentials_sealed.is_some() {
            refuse_faults(platforms::moved(
                descriptor,
                (&row.settings, row.base_url.as_deref()),
                (&settings, base_url),
            ))?;
        }
        let credentials = open_credentials(ring, row)?;
        return check(
            descriptor,
            auth_type,
            credentials.members(),
            &settings,
            base_url,
        );
    };
    let organization = row.organization_id.ok_or_else(|| {
        let text =
            "the integration belongs to no organization, so its credentials cannot be sealed";
        Failure::new(ErrorCode::CredentialsUnreadable, text)
    })?;
    let opened = Opened::of(ring, organization, row.id, credentials)?;
    check(descriptor, auth_type, &opened.members, &settings, base_url)?;
    let sealed = opened.keep(ring, descriptor, auth_type, &mut write.settings)?;
    write.credentials_sealed = Some(sealed);
    Ok(())
}

/// What can only be judged beside what is stored.
fn fits(row: &Integration, change: &IntegrationUpdate) -> Result<(), Failure> {
    let mut faults = BTreeMap::new();
    let category = row.platform.map(crate::domain::Platform::category);
    if let (Some(given), Some(category)) = (change.category, category)
        && given != category
    {
        let fault = format!("must be {category} for {}", row.platform_name);
        faults.insert("integration_category".to_owned(), fault);
    }
    let p = &change.plain;
    let window = |given: &Option<Option<String>>, stored: &Option<String>| {
        given.clone().unwrap_or_else(|| stored.clone()).is_some()
    };
    let start = window(&p.maintenance_window_start, &row.maintenance_window_start);
    let end = window(&p.maintenance_window_end, &row.maintenance_window_end);
    if start != end {
        let missing = if start { "end" } else { "start" };
        let fault = "is required, as the other end of the window is given";
        faults.insert(format!("maintenance_window_{missing}"), fault.to_owned());
    }
    let descriptor = row.platform.and_then(platforms::descriptor);
    if let (Some(descriptor), Some(Some(mapping))) = (descriptor, &p.custom_fields_mapping) {
        faults.extend(platforms::mapping_faults(descriptor, mapping));
    }
    refuse_faults(faults)
}

/// The names of the fields it sets.
fn changed(change: &IntegrationUpdate) -> Vec<&'static str> {
    let p = &change.plain;
    [
        ("name", change.name.is_some()),
        ("integration_category", change.category.is_some()),
        ("auth_type", change.auth_type.is_some()),
        ("credentials", change.credentials.is_some()),
        ("settings", change.settings.is_some()),
        ("enabled", change.enabled.is_some()),
        ("webhook_secret", change.webhook_secret.is_some()),
        ("expires_at", change.expires_at.is_some()),
        ("base_url", change.base_url.is_some()),
        ("api_version", p.api_version.is_some()),
        ("description", p.description.is_some()),
        ("oauth_scopes", p.oauth_scopes.is_some()),
        ("routing_rules", p.routing_rules.is_some()),
        ("default_priority", p.default_priority.is_some()),
        ("supports_categories", p.supports_categories.is_some()),
        ("supports_priorities", p.supports_priorities.is_some()),
        ("department_mapping", p.department_mapping.is_some()),
        ("custom_fields_mapping", p.custom_fields_mapping.is_some()),
        ("rate_limit_per_hour", p.rate_limit_per_hour.is_some()),
        ("sync_enabled", p.sync_enabled.is_some()),
        ("sync_frequency_minutes", p.sync_frequency_minutes.is_some()),
        (
            "maintenance_window_start",
            p.maintenance_window_start.is_some(),
        ),
        ("maintenance_window_end", p.maintenance_window_end.is_some()),
        ("auto_disable_on_error", p.auto_disable_on_error.is_some()),
        ("failure_threshold", p.failure_threshold.is_some()),
        ("notification_events", p.notification_events.is_some()),
        ("notification_channels", p.notification_channels.is_some()),
        ("environment", p.environment.is_some()),
        ("region", p.region.is_some()),
    ]
    .into_iter()
    .filter(|(_, is_set)| *is_set)
    .map(|(name, _)| name)
    .collect()
}

fn delete(job: &Job, id: IntegrationId) -> Result<Done, Refusal> {
    let handle = gates::owned(job)?;
    Ok(Done {
        handle: Some(handle),
        result: json!({ "integration_id": id, "deleted": true }),
        effect: Some(LedgerChange::DeleteIntegration(id)),
    })
}

fn set_enabled(
    job: &Job,
    set: &IntegrationSetEnabled,
    now: DateTime<Utc>,
) -> Result<Done, Refusal> {
    let handle = gates::owned(job)?;
    let row = &handle.row;
    let event = if set.enabled {
        LifeEvent::Enable
    } else {
        LifeEvent::Disable
    };
    let after = row.life().after(event, row.has_expired(now));
    let result = json!({
        "integration_id": row.id,
        "old_enabled": row.enabled, "enabled": after.enabled,
        "old_status": row.status, "status": after.status,
    });
    let transit = StateChange {
        expected: Some(row.life()),
        reason: set.reason.clone(),
        command: Some(job.id),
        ..StateChange::of(row.id, event)
    };
    Ok(Done {
        handle: Some(handle),
        result,
        effect: Some(LedgerChange::StateChange(transit)),
    })
}
