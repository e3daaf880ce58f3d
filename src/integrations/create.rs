//! A new integration.

use serde_json::{Map, json};

use super::credentials::Opened;
use super::{Planned, known, refuse_faults};
use crate::contract::IntegrationCreate;
use crate::domain::{Failure, IntegrationId, IntegrationStatus, OrganizationId};
use crate::platforms;
use crate::secrets::KeyRing;
use crate::store::{LedgerChange, NewIntegration};

/// Plans a new integration. Its credentials may come open or sealed, its webhook secret comes sealed
/// (see [`seal_webhook_secret`](super::seal_webhook_secret)).
///
/// # Errors
/// `unsupported_platform` where there is no adapter; `credentials_unreadable` where there is no key
/// that opens or seals the credentials; `validation_failed` with every fault at once, by field.
pub fn create(
    ring: &KeyRing,
    organization_id: OrganizationId,
    id: IntegrationId,
    create: &IntegrationCreate,
) -> Result<Planned, Failure> {
    let descriptor = known(
        platforms::descriptor(create.platform),
        create.platform.as_str(),
    )?;
    let opened = Opened::of(ring, organization_id, id, &create.credentials)?;
    let mut faults = platforms::faults(
        descriptor,
        create.auth_type,
        &opened.members,
        &create.settings,
        create.base_url.as_deref(),
    );
    if let Some(mapping) = &create.custom_fields_mapping {
        faults.extend(platforms::mapping_faults(descriptor, mapping));
    }
    refuse_faults(faults)?;
    let mut new = create.clone();
    let credentials_sealed = opened.keep(ring, descriptor, create.auth_type, &mut new.settings)?;
    let webhook_secret_sealed = new.webhook_secret.take();
    new.credentials = Map::new();
    let status = if create.enabled {
        IntegrationStatus::Pending
    } else {
        IntegrationStatus::Inactive
    };
    Ok(Planned {
        result: json!({ "integration_id": id, "status": status }),
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
