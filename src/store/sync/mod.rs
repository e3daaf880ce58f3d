//! What `integration.sync` found, brought into our tickets: a page at a time (`page`), as far as
//! the run that is under way has come (`run`).

mod known;
mod page;
mod run;

use chrono::{DateTime, Utc};

use super::{Store, StoreError, keep_if_sound, limited};
use crate::domain::{IntegrationId, Priority, TicketId, TicketStatus};

pub use self::known::{KnownTicket, Unseen};
pub use self::page::{GoneTicket, MatchedItem, PageWritten, SyncPage, SyncedTicket};
pub(super) use self::run::end;
pub use self::run::{SyncEnd, SyncFence, SyncRun, SyncTaken};

/// A ticket of ours that is bound to an item of the platform.
#[derive(Debug, Clone)]
pub struct BoundTicket {
    /// Ours.
    pub id: TicketId,
    /// What a person would quote.
    pub external_id: String,
    /// The id that survives a move, where one is known.
    pub stable_id: Option<String>,
    /// Whether its `external_ref` has that id.
    pub has_stable_ref: bool,
    /// Whether `ticket_externals` has it under these ids, and as an item that is there.
    pub is_recorded: bool,
    /// Whether its item is known to be gone.
    pub is_gone: bool,
    /// Whether it is deleted with us: nothing of it is written any more.
    pub is_deleted: bool,
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

impl Store {
    /// The tickets that are bound to these items of an integration, by the id a person would quote
    /// or by the stable one. Those that are deleted with us are among them.
    ///
    /// Each way is by an index of its own: stable ids by `ticket_externals`, names by the tickets.
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
        let sql = bound_sql();
        let client = self.hot().await?;
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
                has_stable_ref: row.get(3),
                is_recorded: row.get(4),
                is_gone: row.get(5),
                is_deleted: row.get(6),
                status: TicketStatus::parse(row.get(7)).unwrap_or(TicketStatus::Open),
                priority: Priority::parse(row.get(8)).unwrap_or(Priority::Medium),
                written_at: row.get(9),
                is_busy: row.get(10),
            })
            .collect())
    }

    /// How PostgreSQL carries out [`Store::bound_tickets`] (`EXPLAIN ANALYZE`).
    ///
    /// # Errors
    /// As the connection's.
    pub async fn explain_bound_tickets(
        &self,
        integration: IntegrationId,
        external_ids: &[String],
        stable_key: &str,
        stable_ids: &[String],
    ) -> Result<String, StoreError> {
        let sql = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {}", bound_sql());
        let client = self.hot().await?;
        let result = limited(client.query(
            sql.as_str(),
            &[&integration.uuid(), &external_ids, &stable_key, &stable_ids],
        ))
        .await;
        let rows = keep_if_sound(client, result)?;
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        Ok(lines.join("\n"))
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

    /// The database's clock, by which alone it is decided what was written before or after
    /// something else; and until when the integration is paused, if it is.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn sync_clock(
        &self,
        integration: IntegrationId,
    ) -> Result<(DateTime<Utc>, Option<DateTime<Utc>>), StoreError> {
        const SQL: &str = "SELECT clock_timestamp(), (SELECT paused_until \
                           FROM integration_circuits \
                           WHERE integration_id = $1 AND paused_until > now())";
        let client = self.get().await?;
        let result = limited(client.query_one(SQL, &[&integration.uuid()])).await;
        keep_if_sound(client, result.map(|row| (row.get(0), row.get(1))))
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

/// `OFFSET 0` keeps each look-up one by its key, whatever the planner knows of the tables: of a new
/// one it knows nothing, and would rather read all of an integration's rows and compare them here.
fn bound_sql() -> String {
    format!(
        "WITH bound AS MATERIALIZED ( \
         SELECT f.id FROM unnest($4::text[]) AS u(name) \
         CROSS JOIN LATERAL (SELECT ticket_id AS id FROM ticket_externals \
         WHERE integration_id = $1 AND stable_id = u.name OFFSET 0) f \
         UNION SELECT f.id FROM unnest($2::text[]) AS u(name) \
         CROSS JOIN LATERAL (SELECT n.id FROM tickets n \
         WHERE n.external_ticket_id = u.name AND n.integration_id = $1 OFFSET 0) f) \
         SELECT t.id, t.external_ticket_id, COALESCE(t.external_ref ->> $3, e.stable_id), \
         t.external_ref ->> $3 IS NOT NULL, \
         COALESCE(e.external_id = t.external_ticket_id AND e.gone IS NULL \
         AND (e.stable_id IS NOT NULL OR t.external_ref ->> $3 IS NULL), false), \
         e.gone IS NOT NULL, t.is_deleted, t.status::text, t.priority::text, \
         CASE WHEN t.updated_at <= clock_timestamp() THEN t.updated_at END, {BUSY} \
         FROM bound b CROSS JOIN LATERAL (SELECT * FROM tickets WHERE id = b.id OFFSET 0) t \
         LEFT JOIN LATERAL (SELECT external_id, stable_id, gone FROM ticket_externals \
         WHERE ticket_id = b.id AND integration_id = $1 OFFSET 0) e ON true \
         WHERE t.integration_id = $1 AND t.external_ticket_id IS NOT NULL"
    )
}
