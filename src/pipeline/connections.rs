//! Integrations in memory, by id and row version: the enqueue says which version is current, so
//! what is used is never stale and costs no query while nothing changes. An adapter, and what was
//! learned of its platform, outlive a version: they end when that changes which the adapter was
//! built from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::domain::{Failure, Integration, IntegrationId, OrganizationId};
use crate::integrations;
use crate::platforms::Driver;
use crate::platforms::memory::Memory;
use crate::secrets::KeyRing;
use crate::store::{LoadedIntegration, Store, StoreError};

/// An integration at one version, with its adapter.
pub(in crate::pipeline) struct ConnectedIntegration {
    pub(in crate::pipeline) version: i64,
    pub(in crate::pipeline) row: Integration,
    pub(in crate::pipeline) is_deleted: bool,
    /// Whether we are told what happens on its platform, so that what we write there is kept to be
    /// compared with that.
    pub(in crate::pipeline) is_told: bool,
    /// About the bytes of what its tenant wrote.
    weight: usize,
    /// The adapter, or why there is none.
    pub(in crate::pipeline) adapter: Result<Arc<Driver>, Failure>,
    /// What was learned of the platform by this adapter.
    pub(in crate::pipeline) memory: Arc<Memory>,
}

impl std::fmt::Debug for ConnectedIntegration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConnectedIntegration({} v{})", self.row.id, self.version)
    }
}

/// The cache. Grows with the integrations in use, at most [`HANDLES_MAX`] and [`WEIGHT_MAX`].
pub(in crate::pipeline) struct Integrations {
    store: Store,
    ring: Arc<KeyRing>,
    handles: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    handles: HashMap<Uuid, Arc<ConnectedIntegration>>,
    /// About the bytes of what tenants wrote into them.
    weight: usize,
}

impl Cache {
    fn get(&self, id: Uuid, version: i64) -> Option<Arc<ConnectedIntegration>> {
        let handle = self.handles.get(&id)?;
        (handle.version == version).then(|| Arc::clone(handle))
    }

    /// The integration at whatever version.
    fn before(&self, id: IntegrationId) -> Option<Arc<ConnectedIntegration>> {
        self.handles.get(&id.uuid()).map(Arc::clone)
    }

    fn put(&mut self, handle: Arc<ConnectedIntegration>) {
        if self.handles.len() >= HANDLES_MAX || self.weight + handle.weight > WEIGHT_MAX {
            *self = Self::default();
        }
        self.weight += handle.weight;
        if let Some(before) = self.handles.insert(handle.row.id.uuid(), handle) {
            self.weight = self.weight.saturating_sub(before.weight);
        }
    }
}

/// Beyond so many, or so many bytes, the cache starts anew: an adapter is a few kilobytes.
const HANDLES_MAX: usize = 20_000;
const WEIGHT_MAX: usize = 128 << 20;
/// Integrations that are read at once: rows of an older application may be megabytes each.
const READ_AT_ONCE: usize = 16;

impl Integrations {
    pub(in crate::pipeline) fn new(store: Store, ring: Arc<KeyRing>) -> Self {
        Self {
            store,
            ring,
            handles: Mutex::default(),
        }
    }

    /// Every integration of an organization that is not deleted, for routing. Which there are and
    /// at which version is asked each time, as a routing that goes by what was is worse than none;
    /// what is known at its version is not read again.
    pub(in crate::pipeline) async fn of_organization(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<Arc<ConnectedIntegration>>, StoreError> {
        let wanted = self.store.integrations_of(organization).await?;
        let found = self.get(&wanted).await?;
        // One that was moved or deleted between the two reads is not this organization's any more.
        let is_there = |handle: &Arc<ConnectedIntegration>| {
            !handle.is_deleted && handle.row.organization_id == Some(organization)
        };
        Ok(wanted
            .iter()
            .filter_map(|(id, _)| found.get(&id.uuid()).map(Arc::clone))
            .filter(is_there)
            .collect())
    }

    /// Whether it is known here that an integration is another organization's.
    pub(in crate::pipeline) fn is_foreign(
        &self,
        id: IntegrationId,
        organization: OrganizationId,
    ) -> bool {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = handles
            .before(id)
            .and_then(|known| known.row.organization_id);
        owner.is_some_and(|owner| owner != organization)
    }

    /// The handles of these integrations at these versions or later; those that do not exist are
    /// missing.
    pub(in crate::pipeline) async fn get(
        &self,
        wanted: &[(IntegrationId, i64)],
    ) -> Result<HashMap<Uuid, Arc<ConnectedIntegration>>, StoreError> {
        let mut found = HashMap::with_capacity(wanted.len());
        let mut stale = Vec::new();
        {
            let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, version) in wanted {
                match handles.get(id.uuid(), *version) {
                    Some(handle) => drop(found.insert(id.uuid(), handle)),
                    None => stale.push(id.uuid()),
                }
            }
        }
        stale.sort_unstable();
        stale.dedup();
        for some in stale.chunks(READ_AT_ONCE) {
            for loaded in self.store.integrations(some).await? {
                let handle = Arc::new(self.open(loaded));
                found.insert(handle.row.id.uuid(), Arc::clone(&handle));
                let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
                handles.put(handle);
            }
        }
        Ok(found)
    }

    fn open(&self, loaded: LoadedIntegration) -> ConnectedIntegration {
        let LoadedIntegration {
            version,
            integration,
            is_deleted,
            is_told,
            shown: _,
        } = loaded;
        let is_told = is_told || proves_by_itself(&integration);
        let before = {
            let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            handles.before(integration.id)
        };
        // What could not be built may be now: another key may be there to read the credentials.
        let kept = before
            .filter(|before| before.adapter.is_ok() && is_built_alike(&before.row, &integration));
        if let Some(before) = kept {
            return ConnectedIntegration {
                version,
                weight: weight_of(&integration),
                row: integration,
                is_deleted,
                is_told,
                adapter: before.adapter.clone(),
                memory: Arc::clone(&before.memory),
            };
        }
        let mut opened = ConnectedIntegration::open(&self.ring, version, integration, is_deleted);
        opened.is_told = is_told;
        opened
    }
}

impl ConnectedIntegration {
    fn open(ring: &KeyRing, version: i64, row: Integration, is_deleted: bool) -> Self {
        Self {
            version,
            weight: weight_of(&row),
            adapter: integrations::connect(ring, &row),
            row,
            is_deleted,
            is_told: false,
            memory: Arc::default(),
        }
    }

    /// One that is not kept, for a tool.
    pub(in crate::pipeline) fn once(ring: &KeyRing, loaded: LoadedIntegration) -> Self {
        Self::open(ring, loaded.version, loaded.integration, loaded.is_deleted)
    }
}

/// Whether its deliveries are taken without a webhook secret: by a member of the credentials, or
/// without any proof.
fn proves_by_itself(row: &Integration) -> bool {
    let secrets = row.platform.and_then(crate::platforms::hooks);
    let mut secrets = secrets.map_or(&[][..], |hooks| hooks.secrets).iter();
    secrets.any(|one| one.auth_type.is_none_or(|of| of == row.auth_type))
        || row.settings.get("accept_unsigned") == Some(&true.into())
}

/// Whether two rows make the same adapter. Every member is named, so that a new one is thought
/// about: left out are those that no adapter reads, as they decide whether and when it is used.
fn is_built_alike(one: &Integration, other: &Integration) -> bool {
    let Integration {
        id,
        organization_id,
        name,
        platform,
        platform_name,
        auth_type,
        base_url,
        api_version,
        settings,
        credentials_sealed,
        webhook_secret_sealed,
        department_mapping,
        custom_fields_mapping,
        category: _,
        enabled: _,
        status: _,
        expires_at: _,
        supports_categories: _,
        supports_priorities: _,
        maintenance_window_start: _,
        maintenance_window_end: _,
        default_priority: _,
        routing_rules: _,
        health: _,
        parked_at: _,
        auto_disable_on_error: _,
        failure_threshold: _,
        last_sync_at: _,
        rate_limit_per_hour: _,
    } = one;
    *id == other.id
        && *organization_id == other.organization_id
        && *name == other.name
        && *platform == other.platform
        && *platform_name == other.platform_name
        && *auth_type == other.auth_type
        && *base_url == other.base_url
        && *api_version == other.api_version
        && *settings == other.settings
        && *credentials_sealed == other.credentials_sealed
        && *webhook_secret_sealed == other.webhook_secret_sealed
        && *department_mapping == other.department_mapping
        && *custom_fields_mapping == other.custom_fields_mapping
}

/// About the bytes of what a tenant wrote into an integration.
fn weight_of(row: &Integration) -> usize {
    let maps = [
        &row.settings,
        &row.department_mapping,
        &row.custom_fields_mapping,
    ];
    let maps: usize = maps
        .into_iter()
        .flatten()
        .map(|(name, value)| 4 * (name.len() + value.to_string().len()))
        .sum();
    let sealed = row.credentials_sealed.as_ref().map_or(0, String::len);
    2_000 + maps + sealed + row.routing_rules.weight()
}
