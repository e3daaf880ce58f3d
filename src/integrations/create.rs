//! A new integration.

use serde_json::{Map, Value, json};

use super::credentials::Opened;
use super::{Planned, refuse_faults, with_warnings};
use crate::contract::IntegrationCreate;
use crate::domain::{Failure, Integration, IntegrationId, IntegrationStatus, OrganizationId};
use crate::platforms::{self, Descriptor, EgressPolicy, Given};
use crate::secrets::KeyRing;
use crate::store::{LedgerChange, NewIntegration};

/// Plans a new integration. Its credentials may come open or sealed, its webhook secret comes
/// sealed (see [`seal_webhook_secret`](super::seal_webhook_secret)). Its adapter is built, so what
/// a command would meet at sending is refused here.
///
/// # Errors
/// `credentials_unreadable` where there is no key that opens or seals the credentials;
/// `validation_failed` with every fault at once, by field.
pub fn create(
    ring: &KeyRing,
    egress: &EgressPolicy,
    organization_id: OrganizationId,
    id: IntegrationId,
    create: &IntegrationCreate,
) -> Result<Planned, Failure> {
    let descriptor = platforms::descriptor(create.platform);
    let mut new = create.clone();
    new.settings.retain(|_, value| !value.is_null());
    platforms::trim(&mut new.settings, |name| descriptor.setting(name));
    let row = as_stored(descriptor, id, organization_id, &new);
    let mut opened = Opened::of(ring, organization_id, id, &create.credentials)?;
    opened.trim(descriptor, &row);
    let given = Given {
        credentials: true,
        settings: &new.settings,
        base_url: true,
        webhook_secret: true,
        egress: Some(egress),
    };
    let mut faults = platforms::faults(descriptor, &row, &opened.members, &given);
    faults.extend(platforms::version_fault(&row));
    if let Some(mapping) = &create.custom_fields_mapping {
        faults.extend(platforms::mapping_faults(descriptor, mapping));
    }
    refuse_faults(faults)?;
    let warnings = platforms::warnings(descriptor, &row, &opened.members, &given);
    let credentials_sealed = opened.keep(ring, descriptor, create.auth_type, &mut new.settings)?;
    let webhook_secret_sealed = new.webhook_secret.take();
    new.credentials = Map::new();
    let status = row.status;
    let result = json!({ "integration_id": id, "status": status });
    Ok(Planned {
        result: with_warnings(result, warnings),
        change: LedgerChange::CreateIntegration(Box::new(NewIntegration {
            id,
            organization_id,
            create: new,
            credentials_sealed,
            webhook_secret_sealed,
            status,
        })),
    })
}

/// The integration as it will be read, as far as its adapter is built from it.
fn as_stored(
    descriptor: &Descriptor,
    id: IntegrationId,
    organization_id: OrganizationId,
    new: &IntegrationCreate,
) -> Integration {
    let mapping = |given: &Option<Map<String, Value>>| given.clone().unwrap_or_default();
    let base_url = new.base_url.as_deref();
    Integration {
        id,
        organization_id: Some(organization_id),
        name: new.name.clone(),
        enabled: new.enabled,
        status: if new.enabled {
            IntegrationStatus::Pending
        } else {
            IntegrationStatus::Inactive
        },
        api_version: new.api_version.clone(),
        webhook_secret_sealed: new.webhook_secret.clone(),
        department_mapping: mapping(&new.department_mapping),
        custom_fields_mapping: mapping(&new.custom_fields_mapping),
        ..platforms::blank(descriptor.platform, new.auth_type, &new.settings, base_url)
    }
}
