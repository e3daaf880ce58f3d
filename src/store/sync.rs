//! What `integration.sync` found, brought into our tickets.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
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
}

/// What a sync writes.
#[derive(Debug, Clone)]
pub struct SyncRecord {
    /// Which integration.
    pub integration_id: IntegrationId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Up to when changes have been seen.
    pub seen_until: DateTime<Utc>,
    /// The tickets.
    pub tickets: Vec<SyncedTicket>,
    /// What is told of it.
    pub events: Vec<OutboxRow>,
}

impl Store {
    /// The tickets that are bound to these items of an integration, by the id a person would quote or by the stable one.
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
        const SQL: &str = "SELECT t.id, t.external_ticket_id, t.external_ref ->> $3, t.status::text, t.priority::text \
             FROM tickets t WHERE t.integration_id = $1 AND NOT t.is_deleted AND t.external_ticket_id IS NOT NULL \
             AND (t.external_ticket_id = ANY($2) OR t.external_ref ->> $3 = ANY($4))";
        let client = self.get().await?;
        let result = limited(client.query(
            SQL,
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
            })
            .collect())
    }
}

/// Inside the transaction that settles the command.
pub(super) async fn record(
    client: &Object,
    sync: &SyncRecord,
    owner: Option<Uuid>,
) -> Result<Vec<OutboxRow>, tokio_postgres::Error> {
    const TICKETS: &str = "UPDATE tickets t SET status = COALESCE(u.status::ticketstatus, t.status), \
         priority = COALESCE(u.priority::ticketpriority, t.priority), \
         external_ticket_id = COALESCE(u.external_id, t.external_ticket_id), \
         external_ticket_url = COALESCE(u.external_url, t.external_ticket_url), \
         resolved_at = CASE WHEN u.status IS NULL THEN t.resolved_at \
                            WHEN u.status IN ('resolved', 'closed') THEN COALESCE(t.resolved_at, now()) END, \
         closed_at = CASE WHEN u.status IS NULL THEN t.closed_at \
                          WHEN u.status IN ('closed', 'cancelled') THEN COALESCE(t.closed_at, now()) END, \
         last_activity_at = now(), updated_at = now() \
         FROM (SELECT * FROM unnest($1::uuid[], $3::text[], $4::text[], $5::text[], $6::text[]) \
               AS u(id, status, priority, external_id, external_url) ORDER BY id) u \
         WHERE t.id = u.id AND t.organization_id = $2 AND NOT t.is_deleted";
    const SEEN: &str =
        "UPDATE integrations SET last_sync_at = GREATEST(last_sync_at, $2) WHERE id = $1";
    if !sync.tickets.is_empty() {
        let t = &sync.tickets;
        let ids: Vec<Uuid> = t.iter().map(|t| t.id.uuid()).collect();
        let statuses: Vec<Option<&str>> = t
            .iter()
            .map(|t| t.status.map(TicketStatus::as_str))
            .collect();
        let priorities: Vec<Option<&str>> =
            t.iter().map(|t| t.priority.map(Priority::as_str)).collect();
        let external: Vec<Option<&str>> = t.iter().map(|t| t.external_id.as_deref()).collect();
        let urls: Vec<Option<&str>> = t.iter().map(|t| t.external_url.as_deref()).collect();
        client
            .execute(
                TICKETS,
                &[
                    &ids,
                    &sync.organization_id.uuid(),
                    &statuses,
                    &priorities,
                    &external,
                    &urls,
                ],
            )
            .await?;
    }
    client
        .execute(SEEN, &[&sync.integration_id.uuid(), &sync.seen_until])
        .await?;
    super::lifecycle::insert_events(client, &sync.events, owner).await?;
    Ok(sync.events.clone())
}
