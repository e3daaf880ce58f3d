//! An integration is changed: what is mentioned, beside what is stored.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::credentials::{Opened, open_credentials};
use super::{Planned, Requester, known, refuse_faults, with_warnings};
use crate::contract::IntegrationUpdate;
use crate::domain::{ErrorCode, Failure, Integration, LifeEvent, Platform};
use crate::platforms::{self, EgressPolicy, Given};
use crate::secrets::KeyRing;
use crate::store::{IntegrationWrite, LedgerChange, StateChange};

/// Plans a change of what is mentioned. New credentials may come open or sealed, a new webhook
/// secret comes sealed (see [`seal_webhook_secret`](super::seal_webhook_secret)).
///
/// # Errors
/// `validation_failed` with the faults by field, judged beside what is stored;
/// `credentials_unreadable` where there is no key that opens or seals the credentials;
/// `unsupported_platform` where there is no adapter for what changes.
pub fn update(
    ring: &KeyRing,
    egress: &EgressPolicy,
    row: &Integration,
    change: &IntegrationUpdate,
    requester: Requester,
    now: DateTime<Utc>,
) -> Result<Planned, Failure> {
    let mut write = IntegrationWrite {
        name: change.name.clone(),
        auth_type: change.auth_type,
        credentials_sealed: None,
        webhook_secret_sealed: change.webhook_secret.clone(),
        settings: change.settings.clone().unwrap_or_default(),
        base_url: change.base_url.clone(),
        expires_at: change.expires_at,
        plain: change.plain.clone(),
        change: StateChange {
            events: Vec::new(),
            ..requester.change(row, LifeEvent::Renew, None, Some("integration.update"))
        },
    };
    let warnings = recheck(ring, egress, row, change, &mut write)?;
    let events = &mut write.change.events;
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
    Ok(Planned {
        change: LedgerChange::UpdateIntegration(Box::new(write)),
        result: with_warnings(result, warnings),
    })
}

/// Refuses what does not fit, every fault at once. Where something changes that the adapter is
/// built from, it is built from what would then be stored. Returns the warnings.
fn recheck(
    ring: &KeyRing,
    egress: &EgressPolicy,
    row: &Integration,
    change: &IntegrationUpdate,
    write: &mut IntegrationWrite,
) -> Result<Vec<String>, Failure> {
    let mut faults = fits(row, change);
    let rebuilds = change.auth_type.is_some()
        || change.credentials.is_some()
        || change.settings.is_some()
        || change.base_url.is_some()
        || change.webhook_secret.is_some()
        || change.plain.api_version.is_some();
    if !rebuilds {
        return refuse_faults(faults).map(|()| Vec::new());
    }
    let descriptor = known(row.platform.map(platforms::descriptor), &row.platform_name)?;
    platforms::trim(&mut write.settings, |name| descriptor.setting(name));
    let next = as_stored(row, change, &write.settings);
    if next.api_version != row.api_version || next.auth_type != row.auth_type {
        faults.extend(platforms::version_fault(&next));
    }
    // What is given as it is stored is not changed, and may be older than a rule.
    let mut settings = write.settings.clone();
    settings.retain(|name, value| row.settings.get(name) != Some(value));
    let given = Given {
        credentials: change.credentials.is_some(),
        settings: &settings,
        base_url: change.base_url.is_some(),
        webhook_secret: change.webhook_secret.is_some(),
        egress: Some(egress),
    };
    let Some(credentials) = &change.credentials else {
        // What is stored goes nowhere that it was not given for.
        if row.credentials_sealed.is_some() {
            faults.extend(platforms::moved(
                descriptor,
                (&row.settings, row.base_url.as_deref()),
                (&next.settings, next.base_url.as_deref()),
            ));
        }
        let credentials = open_credentials(ring, row)?;
        let more = platforms::faults(descriptor, &next, credentials.members(), &given);
        // To another address is the graver fault of one that is no good.
        more.into_iter().for_each(|(field, fault)| {
            faults.entry(field).or_insert(fault);
        });
        refuse_faults(faults)?;
        return Ok(platforms::warnings(
            descriptor,
            &next,
            credentials.members(),
            &given,
        ));
    };
    let organization = row.organization_id.ok_or_else(|| {
        let text =
            "the integration belongs to no organization, so its credentials cannot be sealed";
        Failure::new(ErrorCode::CredentialsUnreadable, text)
    })?;
    let mut opened = Opened::of(ring, organization, row.id, credentials)?;
    opened.trim(descriptor, &next);
    faults.extend(platforms::faults(
        descriptor,
        &next,
        &opened.members,
        &given,
    ));
    refuse_faults(faults)?;
    let warnings = platforms::warnings(descriptor, &next, &opened.members, &given);
    let sealed = opened.keep(ring, descriptor, next.auth_type, &mut write.settings)?;
    write.credentials_sealed = Some(sealed);
    Ok(warnings)
}

/// The integration as it will be read, as far as its adapter is built from it.
fn as_stored(
    row: &Integration,
    change: &IntegrationUpdate,
    settings: &Map<String, Value>,
) -> Integration {
    let mut next = row.clone();
    next.auth_type = change.auth_type.unwrap_or(row.auth_type);
    for (name, value) in settings {
        if value.is_null() {
            next.settings.remove(name);
        } else {
            next.settings.insert(name.clone(), value.clone());
        }
    }
    if let Some(secret) = &change.webhook_secret {
        next.webhook_secret_sealed.clone_from(secret);
    }
    if let Some(base_url) = &change.base_url {
        next.base_url.clone_from(base_url);
    }
    if let Some(api_version) = &change.plain.api_version {
        next.api_version.clone_from(api_version);
    }
    if let Some(mapping) = &change.plain.custom_fields_mapping {
        next.custom_fields_mapping = mapping.clone().unwrap_or_default();
    }
    next
}

/// What can only be judged beside what is stored.
fn fits(row: &Integration, change: &IntegrationUpdate) -> BTreeMap<String, String> {
    let mut faults = BTreeMap::new();
    let category = row.platform.map(Platform::category);
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
    let descriptor = row.platform.map(platforms::descriptor);
    if let (Some(descriptor), Some(Some(mapping))) = (descriptor, &p.custom_fields_mapping) {
        faults.extend(platforms::mapping_faults(descriptor, mapping));
    }
    faults
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
