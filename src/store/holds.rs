//! What keeps commands from running beside their own time, for people who ask.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{StoreError, limited};
use crate::domain::{Hold, IntegrationStatus, LaneState};

/// How the lanes of some commands stand, at one moment by the database's clock.
pub(super) struct Lanes {
    now: DateTime<Utc>,
    worker_lives: bool,
    states: HashMap<Uuid, LaneState>,
}

impl Lanes {
    /// Reads the integrations among these lanes; a lane of management commands is none.
    pub(super) async fn read(client: &Client, lanes: &[Uuid]) -> Result<Self, StoreError> {
        const NOW: &str = "SELECT now(), EXISTS (SELECT FROM workers WHERE lease_until > now())";
        const STATES: &str = "SELECT i.id, i.enabled \
                              AND NOT i.is_deleted, i.status::text, i.expires_at, i.parked_at, \
                              i.maintenance_window_start, i.maintenance_window_end, \
                              COALESCE(c.failures, 0), \
                              c.open_until, c.paused_until, \
                              c.paused_by FROM integrations i LEFT JOIN integration_circuits c \
                              ON c.integration_id = i.id \
                              WHERE i.id = ANY($1)";
        let row = limited(client.query_one(NOW, &[])).await?;
        let rows = limited(client.query(STATES, &[&lanes])).await?;
        let states = rows.iter().map(|row| {
            let state = LaneState {
                enabled: row.get(1),
                status: row
                    .get::<_, Option<&str>>(2)
                    .and_then(IntegrationStatus::parse),
                expires_at: row.get(3),
                parked_at: row.get(4),
                maintenance: (row.get(5), row.get(6)),
                failures: row.get(7),
                open_until: row.get(8),
                paused: row
                    .get::<_, Option<DateTime<Utc>>>(9)
                    .map(|until| (until, row.get::<_, Option<String>>(10).unwrap_or_default())),
            };
            (row.get(0), state)
        });
        Ok(Self {
            now: row.get(0),
            worker_lives: row.get(1),
            states: states.collect(),
        })
    }

    /// What holds a command of this lane that is due at `due`.
    pub(super) fn hold(&self, lane: Uuid, due: DateTime<Utc>, doubtful: bool) -> Option<Hold> {
        let state = self.states.get(&lane);
        Hold::of(state, due, self.now, doubtful, self.worker_lives)
    }
}
