//! Integrations in memory, by id and row version: the claim says which version is current, so what is used is never
//! stale and costs no query while nothing changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::domain::{ErrorCode, Failure, Integration, IntegrationId, OrganizationId};
use crate::platforms::{self, Adapter};
use crate::secrets::{Binding, Credentials, KeyRing};
use crate::store::{LoadedIntegration, Store, StoreError};

/// An integration at one version, with its adapter.
pub(super) struct Handle {
    pub(super) version: i64,
    pub(super) row: Integration,
    pub(super) is_deleted: bool,
    /// The adapter, or why there is none.
    pub(super) adapter: Result<Arc<dyn Adapter>, Failure>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({} v{})", self.row.id, self.version)
    }
}

/// The cache. Grows with the integrations in use, at most [`HANDLES_MAX`].
pub(super) struct Integrations {
    store: Store,
    ring: Arc<KeyRing>,
    handles: Mutex<HashMap<Uuid, Arc<Handle>>>,
}

/// Beyond so many the cache starts anew: an adapter is a few kilobytes.
const HANDLES_MAX: usize = 20_000;

impl Integrations {
    pub(super) fn new(store: Store, ring: Arc<KeyRing>) -> Self {
        Self {
            store,
            ring,
            handles: Mutex::new(HashMap::new()),
        }
    }

    /// Every integration of an organization that is not deleted, for routing: read anew each time, as a routing that goes
    /// by what was is worse than none.
    pub(super) async fn of_organization(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<Arc<Handle>>, StoreError> {
        let found = self.store.integrations_of(organization).await?;
        Ok(found
            .into_iter()
            .map(|loaded| {
                let known = {
                    let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
                    handles.get(&loaded.integration.id.uuid()).map(Arc::clone)
                };
                match known {
                    Some(handle) if handle.version == loaded.version => handle,
                    Some(_) | None => Arc::new(self.open(loaded)),
                }
            })
            .collect())
    }

    /// The handles of these integrations at these versions or later; those that do not exist are missing.
    pub(super) async fn get(
        &self,
        wanted: &[(IntegrationId, i64)],
    ) -> Result<HashMap<Uuid, Arc<Handle>>, StoreError> {
        let mut found = HashMap::with_capacity(wanted.len());
        let mut stale = Vec::new();
        {
            let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, version) in wanted {
                match handles.get(&id.uuid()) {
                    Some(handle) if handle.version == *version => {
                        found.insert(id.uuid(), Arc::clone(handle));
                    }
                    Some(_) | None => stale.push(id.uuid()),
                }
            }
        }
        if stale.is_empty() {
            return Ok(found);
        }
        stale.sort_unstable();
        stale.dedup();
        for loaded in self.store.integrations(&stale).await? {
            let handle = Arc::new(self.open(loaded));
            found.insert(handle.row.id.uuid(), Arc::clone(&handle));
            let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            if handles.len() >= HANDLES_MAX {
                handles.clear();
            }
            handles.insert(handle.row.id.uuid(), handle);
        }
        Ok(found)
    }

    fn open(&self, loaded: LoadedIntegration) -> Handle {
        let LoadedIntegration {
            version,
            integration,
            is_deleted,
            ..
        } = loaded;
        let adapter = open_credentials(&self.ring, &integration).and_then(|credentials| {
            platforms::connect(&integration, &credentials).map_err(|error| {
                let failure = error.failure();
                if failure.code == ErrorCode::UnsupportedOperation {
                    Failure {
                        code: ErrorCode::UnsupportedPlatform,
                        ..failure
                    }
                } else {
                    failure
                }
            })
        });
        Handle {
            version,
            row: integration,
            is_deleted,
            adapter,
        }
    }
}

/// Opens an integration's credentials.
///
/// # Errors
/// `credentials_unreadable`, with what it lacks.
pub fn open_credentials(ring: &KeyRing, integration: &Integration) -> Result<Credentials, Failure> {
    let Some(sealed) = &integration.credentials_sealed else {
        return Ok(Credentials::default());
    };
    let binding = Binding {
        organization: integration
            .organization_id
            .unwrap_or(OrganizationId::new(Uuid::nil())),
        integration: integration.id,
        column: "credentials_encrypted",
    };
    let refuse = |why: String| Failure::new(ErrorCode::CredentialsUnreadable, why);
    let opened = ring.open(&binding, sealed).map_err(|error| {
        refuse(format!(
            "the credentials of integration {} cannot be read: {error}",
            integration.id
        ))
    })?;
    Credentials::from_json(&opened).ok_or_else(|| {
        refuse(format!(
            "the credentials of integration {} are no JSON",
            integration.id
        ))
    })
}
