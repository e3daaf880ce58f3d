//! What `integration.sync` found, brought into our tickets.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{OutboxRow, Store, StoreError, keep_if_sound, limited};
use crate::domain::{IntegrationId, OrganizationId, Priority, TicketId, TicketStatus};

/// A ticket of ours that is bound to an item of the platform.
#[derive(Debug, Clone)]
pub struct BoundTicket {
    /// Ours.
    pub id: TicketId,
    /// What a person would quote.
    pub external_id: String,
    /// The id that survives a move, where the adapter keeps one.
    pub stable_id: Option<String>,
    /// Status of ours.
    pub status: TicketStatus,
    /// Priority of ours.
    pub priority: Priority,
    /// When its row was last written, by the database's clock; `None` where another application's
    /// clock is ahead of that.
    pub written_at: Option<DateTime<Utc>>,
    /// Whether a command of it that writes is running, or was in doubt less than two minutes ago.
    pub is_busy: bool,
}

impl BoundTicket {
    /// Whether what was asked for at this moment may be older than what we wrote since: then it
    /// says nothing.
    #[must_use]
    pub fn voids(&self, asked_at: DateTime<Utc>) -> bool {
        self.is_busy || self.written_at.is_some_and(|at| at >= asked_at)
    }
}

/// A change of a ticket's row.
#[derive(Debug, Clone)]
pub struct SyncedTicket {
    /// Ours.
    pub id: TicketId,
    /// New status.
    pub status: Option<TicketStatus>,
    /// New priority.
    pub priority: Option<Priority>,
    /// New external id, after a move.
    pub external_id: Option<String>,
    /// New page.
    pub external_url: Option<String>,
    /// What the adapter wants to see again, where the row lacks it.
    pub external_ref: Option<Map<String, Value>>,
    /// When the platform was asked for what is written, by the database's clock.
    pub asked_at: DateTime<Utc>,
}

/// What a sync writes.
#[derive(Debug, Clone)]
pub struct SyncRecord {
    /// Which integration.
    pub integration_id: IntegrationId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Up to when changes have been seen; `None` leaves it as it was.
    pub seen_until: Option<DateTime<Utc>>,
    /// Where the platform lets the next one begin; `None`: by `seen_until` alone.
    pub mark: Option<String>,
    /// The tickets.
    pub tickets: Vec<SyncedTicket>,
    /// What is told of it.
    pub events: Vec<OutboxRow>,
}

impl Store {
    /// The tickets that are bound to these items of an integration, by the id a person would quote
    /// or by the stable one.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn bound_tickets(
        &self,
        integration: IntegrationId,
        external_ids: &[String],
        stable_key: &str,
        stable_ids: &[String],
    ) -> Result<Vec<BoundTicket>, StoreError> {
        let sql = format!(
            "SELECT t.id, t.external_ticket_id, t.external_ref ->> $3, t.status::text, \
             t.priority::text, \
             CASE WHEN t.updated_at <= clock_timestamp() THEN t.updated_at END, {BUSY} \
             FROM tickets t WHERE t.integration_id = $1 AND NOT t.is_deleted \
             AND t.external_ticket_id IS NOT NULL \
             AND (t.external_ticket_id = ANY($2) OR t.external_ref ->> $3 = ANY($4))"
        );
        let client = self.get().await?;
        let result = limited(client.query(
            sql.as_str(),
            &[&integration.uuid(), &external_ids, &stable_key, &stable_ids],
        ))
        .await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows
            .iter()
            .map(|row| BoundTicket {
                id: TicketId::new(row.get(0)),
                external_id: row.get(1),
                stable_id: row.get(2),
                status: TicketStatus::parse(row.get(3)).unwrap_or(TicketStatus::Open),
                priority: Priority::parse(row.get(4)).unwrap_or(Priority::Medium),
                written_at: row.get(5),
                is_busy: row.get(6),
            })
            .collect())
    }

    /// The tickets of an integration that a move on the platform should be followed of, with their
    /// stable ids: the open ones, and those that ended within the last 30 days. The last written
    /// first.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn followed_tickets(
        &self,
        integration: IntegrationId,
        stable_key: &str,
        limit: i64,
    ) -> Result<Vec<(TicketId, String)>, StoreError> {
        const SQL: &str = "SELECT t.id, t.external_ref ->> $2 FROM tickets t \
                           WHERE t.integration_id = $1 AND NOT t.is_deleted \
                           AND t.external_ref ->> $2 IS NOT NULL \
                           AND (t.status NOT IN ('resolved', 'closed', 'cancelled') \
                           OR t.updated_at > now() - interval '30 days') \
                           ORDER BY t.updated_at DESC LIMIT $3";
        let client = self.get().await?;
        let result = limited(client.query(SQL, &[&integration.uuid(), &stable_key, &limit])).await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows
            .iter()
            .map(|row| (TicketId::new(row.get(0)), row.get(1)))
            .collect())
    }

    /// Some of an integration's open tickets of which no stable id is known, by what a person would
    /// quote: rows of an older application. Others each time, as some lead nowhere any more.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn unfollowed_tickets(
        &self,
        integration: IntegrationId,
        stable_key: &str,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        const SQL: &str = "SELECT t.external_ticket_id FROM tickets t \
                           WHERE t.integration_id = $1 AND NOT t.is_deleted \
                           AND t.external_ticket_id IS NOT NULL \
                           AND t.external_ref ->> $2 IS NULL \
                           AND t.status NOT IN ('resolved', 'closed', \
                           'cancelled') \
                           ORDER BY random() LIMIT $3";
        let client = self.get().await?;
        let result = limited(client.query(SQL, &[&integration.uuid(), &stable_key, &limit])).await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Where the last sync of an integration left off, as its platform said.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn sync_mark(
        &self,
        integration: IntegrationId,
    ) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT mark FROM integration_sync WHERE integration_id = $1";
        let client = self.get().await?;
        let result = limited(client.query_opt(SQL, &[&integration.uuid()])).await;
        let row = keep_if_sound(client, result)?;
        Ok(row.and_then(|row| row.get(0)))
    }

    /// The database's clock: what was written before or after something else is decided on it
    /// alone.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn clock(&self) -> Result<DateTime<Utc>, StoreError> {
        let client = self.get().await?;
        let result = limited(client.query_one("SELECT clock_timestamp()", &[])).await;
        keep_if_sound(client, result.map(|row| row.get(0)))
    }
}

/// Whether the command that holds a ticket's turn writes what a sync would write, and is under way.
/// One in doubt holds a sync off for two minutes; after that the sync decides without it, or
/// nothing of the ticket would be seen for a day.
const BUSY: &str = "EXISTS (SELECT FROM commands c WHERE c.organization_id = t.organization_id \
                    AND c.ticket_id = t.id \
                    AND c.turn AND c.type IN ('ticket.create', 'ticket.ai_create', \
                    'ticket.update', \
                    'ticket.status', 'ticket.delete') \
                    AND (c.state = 'running' OR c.doubt_since > now() - interval '2 minutes'))";

/// Inside the transaction that settles the command. `None`: of one of the tickets something was
/// written since the platform was asked, or is being written, so nothing of this may be.
pub(super) async fn record(
    client: &Object,
    sync: &SyncRecord,
    owner: Option<Uuid>,
) -> Result<Option<Vec<OutboxRow>>, tokio_postgres::Error> {
    // Locked first and looked at in a statement of its own: a settlement that is under way is then
    // either seen, or waits and writes after this.
    const LOCK: &str = "SELECT FROM tickets t WHERE t.id = ANY($1) AND t.organization_id = $2 \
                        ORDER BY t.id \
                        FOR NO KEY UPDATE";
    const TICKETS: &str = "UPDATE tickets t SET status = COALESCE(u.status::ticketstatus, \
                           t.status), \
                           priority = COALESCE(u.priority::ticketpriority, t.priority), \
                           external_ticket_id = COALESCE(u.external_id, t.external_ticket_id), \
                           external_ticket_url = COALESCE(u.external_url, t.external_ticket_url), \
                           external_ref = CASE WHEN u.external_ref IS NULL THEN t.external_ref \
                           ELSE COALESCE(t.external_ref, '{}') || u.external_ref::jsonb END, \
                           resolved_at = CASE WHEN u.status IS NULL THEN t.resolved_at \
                           WHEN u.status IN ('resolved', 'closed') THEN COALESCE(t.resolved_at, \
                           now()) END, \
                           closed_at = CASE WHEN u.status IS NULL THEN t.closed_at \
                           WHEN u.status IN ('closed', 'cancelled') THEN COALESCE(t.closed_at, \
                           now()) END, \
                           last_activity_at = now(), updated_at = now() \
                           FROM (SELECT * FROM unnest($1::uuid[], $3::text[], $4::text[], \
                           $5::text[], $6::text[], \
                           $7::text[]) \
                           AS u(id, status, priority, external_id, external_url, external_ref) \
                           ORDER BY id) u \
                           WHERE t.id = u.id AND t.organization_id = $2 AND NOT t.is_deleted";
    const MARK: &str = "INSERT INTO integration_sync (integration_id, mark) VALUES ($1, $2) \
                        ON CONFLICT (integration_id) DO UPDATE SET mark = EXCLUDED.mark";
    const SEEN: &str =
        "UPDATE integrations SET last_sync_at = GREATEST(last_sync_at, $2) WHERE id = $1";
    if !sync.tickets.is_empty() {
        let t = &sync.tickets;
        let ids: Vec<Uuid> = t.iter().map(|t| t.id.uuid()).collect();
        let organization = sync.organization_id.uuid();
        client.execute(LOCK, &[&ids, &organization]).await?;
        let void = format!(
            "SELECT EXISTS (SELECT FROM unnest($1::uuid[], $3::timestamptz[]) AS u(id, asked_at) \
             JOIN tickets t ON t.id = u.id WHERE t.organization_id = $2 AND \
             (t.updated_at BETWEEN u.asked_at AND clock_timestamp() OR {BUSY}))"
        );
        let asked: Vec<DateTime<Utc>> = t.iter().map(|t| t.asked_at).collect();
        let row = client
            .query_one(void.as_str(), &[&ids, &organization, &asked])
            .await?;
        if row.get(0) {
            return Ok(None);
        }
        let statuses: Vec<Option<&str>> = t
            .iter()
            .map(|t| t.status.map(TicketStatus::as_str))
            .collect();
        let priorities: Vec<Option<&str>> =
            t.iter().map(|t| t.priority.map(Priority::as_str)).collect();
        let external: Vec<Option<&str>> = t.iter().map(|t| t.external_id.as_deref()).collect();
        let urls: Vec<Option<&str>> = t.iter().map(|t| t.external_url.as_deref()).collect();
        let refs: Vec<Option<String>> = t
            .iter()
            .map(|t| {
                t.external_ref
                    .clone()
                    .map(|map| Value::Object(map).to_string())
            })
            .collect();
        client
            .execute(
                TICKETS,
                &[
                    &ids,
                    &organization,
                    &statuses,
                    &priorities,
                    &external,
                    &urls,
                    &refs,
                ],
            )
            .await?;
    }
    client
        .execute(SEEN, &[&sync.integration_id.uuid(), &sync.seen_until])
        .await?;
    if let Some(mark) = &sync.mark {
        client
            .execute(MARK, &[&sync.integration_id.uuid(), mark])
            .await?;
    }
    super::lifecycle::insert_events(client, &sync.events, owner).await?;
    Ok(Some(sync.events.clone()))
}
