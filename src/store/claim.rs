//! Taking what is due from the ledger, in full.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Capacities, Store, StoreError, keep_if_sound, limited};
use crate::domain::{CommandId, IntegrationId, OrganizationId, TicketId, WaitReason};

/// A command that this process has just claimed, as the ledger holds it.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: CommandId,
    /// Its type as stored.
    pub command_type: String,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Its integration.
    pub integration_id: Option<IntegrationId>,
    /// Its ticket.
    pub ticket_id: Option<TicketId>,
    /// Which run.
    pub run: i32,
    /// Attempts spent.
    pub attempt: i32,
    /// Events numbered.
    pub events: i32,
    /// The fence.
    pub fencing_token: i32,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// Not started by then: expired.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when an attempt of unknown outcome stands behind it.
    pub doubt_since: Option<DateTime<Utc>>,
    /// Look-ups made since.
    pub lookups: i32,
    /// Its data.
    pub data: String,
    /// Trace context.
    pub traceparent: Option<String>,
    /// Trace context.
    pub tracestate: Option<String>,
    /// The version of the integration's row, if there is one.
    pub integration_version: Option<i64>,
    /// Whether the organization exists.
    pub organization_known: bool,
    /// Whether it may work.
    pub organization_enabled: bool,
    /// How often a process died while running it alone.
    pub deaths: i32,
    /// Whose child it is.
    pub parent: Option<CommandId>,
    /// What an earlier attempt made ready: see [`Store::keep_prepared`].
    pub prepared: Option<String>,
    /// What decided when it runs now.
    pub wait_reason: Option<WaitReason>,
}

impl Store {
    /// Starts due commands (`sql/claim.sql`), at most the capacities given; returns them in full.
    /// `probes` are the half-open lanes this process won the probe of. Locks what it takes, skips
    /// what is locked.
    ///
    /// # Errors
    /// After [`StoreError::Unavailable`] or [`StoreError::Timeout`] the commit is in doubt: look
    /// for rows of this owner that are not held ([`Store::running_of`]).
    pub async fn claim(
        &self,
        capacities: &Capacities,
        owner: Uuid,
        probes: &[Uuid],
    ) -> Result<Vec<Claimed>, StoreError> {
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(include_str!("sql/claim.sql")).await?;
            let rows = limited(client.query(
                &statement,
                &[
                    &capacities.lanes,
                    &capacities.capacities,
                    &capacities.default,
                    &capacities.total,
                    &owner,
                    &probes,
                    &capacities.full_organizations,
                ],
            ))
            .await?;
            let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            load(&client, &ids, owner).await
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Starts due poison candidates, oldest first: at most `most` of those that no process died of
    /// since they became poison candidate, or, with `alone`, the one that is longest due of those
    /// that were running when the process of such a group died. Locks them, skips what is locked.
    ///
    /// # Errors
    /// As [`Store::claim`].
    pub async fn claim_candidates(
        &self,
        owner: Uuid,
        alone: bool,
        most: usize,
    ) -> Result<Vec<Claimed>, StoreError> {
        const CLAIM: &str = "UPDATE commands c SET state = 'running', owner = $1, \
                             fencing_token = c.fencing_token + 1, due_at = NULL, \
                             retry_at = NULL, wait_reason = NULL, wait_detail = NULL, \
                             started_at = now() \
                             FROM (SELECT id FROM commands WHERE poison_candidate \
                             AND due_at IS NOT NULL \
                             AND due_at <= now() AND isolated = $2 \
                             ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) p \
                             WHERE c.id = p.id RETURNING c.id";
        let most = i64::try_from(if alone { 1 } else { most }).unwrap_or(i64::MAX);
        let client = self.hot().await?;
        let result = async {
            let rows = limited(client.query(CLAIM, &[&owner, &alone, &most])).await?;
            let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            if ids.is_empty() {
                Ok(Vec::new())
            } else {
                load(&client, &ids, owner).await
            }
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Whether a poison candidate is due.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn suspect_due(&self) -> Result<bool, StoreError> {
        let client = self.hot().await?;
        let sql = "SELECT EXISTS (SELECT FROM commands WHERE poison_candidate \
                   AND due_at IS NOT NULL AND due_at <= now())";
        let result = limited(client.query_one(sql, &[]))
            .await
            .map(|row| row.get(0));
        keep_if_sound(client, result)
    }

    /// Everything that runs under an incarnation, in full, except `held`: what an enqueue or claim
    /// whose commit was in doubt left behind.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn running_of(&self, owner: Uuid, held: &[Uuid]) -> Result<Vec<Claimed>, StoreError> {
        let client = self.hot().await?;
        let result = async {
            let rows = limited(client.query(
                "SELECT id FROM commands WHERE state = 'running' AND owner = $1 \
                 AND NOT (id = ANY($2))",
                &[&owner, &held],
            ))
            .await?;
            let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            if ids.is_empty() {
                Ok(Vec::new())
            } else {
                load(&client, &ids, owner).await
            }
        }
        .await;
        keep_if_sound(client, result)
    }
}

/// Loads commands this process holds, in full.
async fn load(
    client: &deadpool_postgres::Object,
    ids: &[Uuid],
    owner: Uuid,
) -> Result<Vec<Claimed>, StoreError> {
    let statement = client.prepare_cached(include_str!("sql/load.sql")).await?;
    let rows = limited(client.query(&statement, &[&ids, &owner])).await?;
    Ok(rows
        .iter()
        .map(|row| Claimed {
            id: CommandId::new(row.get(0)),
            command_type: row.get(1),
            organization_id: OrganizationId::new(row.get(2)),
            integration_id: row.get::<_, Option<Uuid>>(3).map(IntegrationId::new),
            ticket_id: row.get::<_, Option<Uuid>>(4).map(TicketId::new),
            run: row.get(5),
            attempt: row.get(6),
            events: row.get(7),
            fencing_token: row.get(8),
            received_at: row.get(9),
            expires_at: row.get(10),
            doubt_since: row.get(11),
            lookups: row.get(12),
            data: row.get(13),
            traceparent: row.get(14),
            tracestate: row.get(15),
            integration_version: row.get(16),
            organization_known: row.get(17),
            organization_enabled: row.get(18),
            deaths: row.get(19),
            parent: row.get::<_, Option<Uuid>>(20).map(CommandId::new),
            prepared: row.get(21),
            wait_reason: row.get::<_, Option<&str>>(22).and_then(WaitReason::parse),
        })
        .collect())
}
