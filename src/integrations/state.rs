//! An integration is turned on, turned off, or deleted.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Planned, Requester};
use crate::domain::{Integration, LifeEvent};
use crate::store::LedgerChange;

/// Plans that an integration takes work, or none. `reason` is for its history.
#[must_use]
pub fn set_enabled(
    row: &Integration,
    enabled: bool,
    reason: Option<String>,
    requester: Requester,
    now: DateTime<Utc>,
) -> Planned {
    let event = if enabled {
        LifeEvent::Enable
    } else {
        LifeEvent::Disable
    };
    let after = row.life().after(event, row.has_expired(now));
    Planned {
        result: json!({
            "integration_id": row.id,
            "old_enabled": row.enabled, "enabled": after.enabled,
            "old_status": row.status, "status": after.status,
        }),
        change: LedgerChange::StateChange(requester.change(row, event, reason, None)),
    }
}

/// Plans that an integration is deleted. Its row stays, for the tickets that name it.
#[must_use]
pub fn delete(row: &Integration) -> Planned {
    Planned {
        result: json!({ "integration_id": row.id, "deleted": true }),
        change: LedgerChange::DeleteIntegration(row.id),
    }
}
