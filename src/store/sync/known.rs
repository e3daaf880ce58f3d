//! The tickets of an integration by `ticket_externals`, a part at a time: whose items are asked for
//! by id, and whose were not seen.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{CommandId, IntegrationId, TicketId};
use crate::store::{Store, StoreError, keep_if_sound, limited};

/// A ticket and how its item is called.
#[derive(Debug, Clone)]
pub struct KnownTicket {
    /// Ours.
    pub id: TicketId,
    /// What a person would quote.
    pub external_id: String,
    /// The id that survives a move, where one is known.
    pub stable_id: Option<String>,
}

/// How many tickets there are, and of how many a run saw no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen {
    /// All.
    pub all: i64,
    /// Those.
    pub missing: i64,
}

/// Tickets that end are followed for so long.
const OPEN_OR_LATE: &str = "(t.status NOT IN ('resolved', 'closed', 'cancelled') \
                            OR t.updated_at > now() - interval '30 days')";
/// Tickets whose items a run should have seen.
const EXPECTED: &str = "e.integration_id = $1 AND e.gone IS NULL AND e.written_at < $3 \
                        AND t.integration_id = $1 AND NOT t.is_deleted \
                        AND t.external_ticket_id IS NOT NULL AND t.created_at < $3";
const UNSEEN: &str = "NOT EXISTS (SELECT FROM integration_sync_seen s \
                      WHERE s.run = $2 AND s.item = uuid_send(t.id))";

impl Store {
    /// Makes `ticket_externals` rows of tickets that have none yet: of the next `limit` tickets of
    /// all by id, those that are bound in this integration. Answers with the last id that was
    /// looked at; `None`: there are no more.
    ///
    /// By the primary key of all tickets, as no index has an integration's in an order: a part is
    /// small however many there are.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn fill_externals(
        &self,
        integration: IntegrationId,
        stable_key: &str,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Option<Uuid>, StoreError> {
        const SQL: &str = "WITH part AS MATERIALIZED (SELECT id, organization_id, \
                           integration_id, external_ticket_id, is_deleted, \
                           external_ref ->> $2 AS stable, updated_at \
                           FROM tickets WHERE id > $3 ORDER BY id LIMIT $4), \
                           made AS (INSERT INTO ticket_externals (ticket_id, organization_id, \
                           integration_id, external_id, stable_id, written_at) \
                           SELECT id, organization_id, integration_id, external_ticket_id, \
                           stable, LEAST(updated_at, now()) FROM part \
                           WHERE integration_id = $1 AND organization_id IS NOT NULL \
                           AND external_ticket_id IS NOT NULL \
                           ON CONFLICT DO NOTHING) \
                           SELECT id FROM part ORDER BY id DESC LIMIT 1";
        let after = after.unwrap_or(Uuid::nil());
        let client = self.hot().await?;
        let result =
            limited(client.query_opt(SQL, &[&integration.uuid(), &stable_key, &after, &limit]))
                .await;
        let row = keep_if_sound(client, result)?;
        Ok(row.map(|row| row.get(0)))
    }

    /// The same of tickets that were written since a moment, at most `limit`. Answers with how many
    /// rows it made: fewer than `limit` is all of them.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn fill_new_externals(
        &self,
        integration: IntegrationId,
        stable_key: &str,
        since: DateTime<Utc>,
        limit: i64,
    ) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO ticket_externals (ticket_id, organization_id, \
                           integration_id, external_id, stable_id, written_at) \
                           SELECT t.id, t.organization_id, t.integration_id, \
                           t.external_ticket_id, t.external_ref ->> $2, \
                           LEAST(t.updated_at, now()) \
                           FROM tickets t WHERE t.updated_at >= $3 AND t.integration_id = $1 \
                           AND t.organization_id IS NOT NULL \
                           AND t.external_ticket_id IS NOT NULL AND NOT EXISTS \
                           (SELECT FROM ticket_externals e WHERE e.ticket_id = t.id) \
                           LIMIT $4 ON CONFLICT DO NOTHING";
        let client = self.hot().await?;
        let result =
            limited(client.execute(SQL, &[&integration.uuid(), &stable_key, &since, &limit])).await;
        let made = keep_if_sound(client, result)?;
        Ok(i64::try_from(made).unwrap_or(i64::MAX))
    }

    /// Tickets of an integration by their stable ids: the next `window` from `after` on, each with
    /// whether a move on the platform should be followed of it. Those are the open ones and those
    /// that ended within the last 30 days, or all; what the run has seen is left out.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn followed_tickets(
        &self,
        integration: IntegrationId,
        run: Option<CommandId>,
        after: &str,
        all: bool,
        window: i64,
    ) -> Result<Vec<(KnownTicket, bool)>, StoreError> {
        let sql = format!(
            "SELECT t.id, e.external_id, e.stable_id, e.gone IS NULL \
             AND t.integration_id = $1 AND NOT t.is_deleted \
             AND t.external_ticket_id IS NOT NULL AND ($4 OR {OPEN_OR_LATE}) AND {UNSEEN} \
             FROM (SELECT ticket_id, external_id, stable_id, gone FROM ticket_externals \
             WHERE integration_id = $1 AND stable_id > $3 ORDER BY stable_id LIMIT $5) e \
             JOIN tickets t ON t.id = e.ticket_id ORDER BY e.stable_id"
        );
        let run = run.map(CommandId::uuid);
        let client = self.hot().await?;
        let result =
            limited(client.query(&sql, &[&integration.uuid(), &run, &after, &all, &window])).await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows.iter().map(|row| (known(row), row.get(3))).collect())
    }

    /// Open tickets of which no stable id is known, by what a person would quote: of the next
    /// `window` by name from `after` on. Answers with each one's name and whether it is one.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn unfollowed_tickets(
        &self,
        integration: IntegrationId,
        after: &str,
        window: i64,
    ) -> Result<Vec<(String, bool)>, StoreError> {
        const SQL: &str = "SELECT w.external_id, w.stable_id IS NULL AND w.gone IS NULL \
                           AND t.integration_id = $1 AND NOT t.is_deleted \
                           AND t.status NOT IN ('resolved', 'closed', 'cancelled') \
                           FROM (SELECT ticket_id, external_id, stable_id, gone \
                           FROM ticket_externals WHERE integration_id = $1 AND external_id > $2 \
                           ORDER BY external_id LIMIT $3) w \
                           JOIN tickets t ON t.id = w.ticket_id ORDER BY w.external_id";
        let client = self.hot().await?;
        let result = limited(client.query(SQL, &[&integration.uuid(), &after, &window])).await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// How many tickets a run that began at `began` should have seen the items of, and how many of
    /// those it did not.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn count_unseen(
        &self,
        integration: IntegrationId,
        run: CommandId,
        began: DateTime<Utc>,
    ) -> Result<Unseen, StoreError> {
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE {UNSEEN}) FROM ticket_externals e \
             JOIN tickets t ON t.id = e.ticket_id WHERE {EXPECTED}"
        );
        let client = self.get().await?;
        let result =
            limited(client.query_one(&sql, &[&integration.uuid(), &run.uuid(), &began])).await;
        keep_if_sound(
            client,
            result.map(|row| Unseen {
                all: row.get(0),
                missing: row.get(1),
            }),
        )
    }

    /// Those tickets, by name from `after` on.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn unseen_tickets(
        &self,
        integration: IntegrationId,
        run: CommandId,
        began: DateTime<Utc>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<KnownTicket>, StoreError> {
        let sql = format!(
            "SELECT t.id, e.external_id, e.stable_id FROM ticket_externals e \
             JOIN tickets t ON t.id = e.ticket_id \
             WHERE {EXPECTED} AND e.external_id > $4 AND {UNSEEN} \
             ORDER BY e.external_id LIMIT $5"
        );
        let client = self.hot().await?;
        let result = limited(client.query(
            &sql,
            &[&integration.uuid(), &run.uuid(), &began, &after, &limit],
        ))
        .await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows.iter().map(known).collect())
    }
}

fn known(row: &tokio_postgres::Row) -> KnownTicket {
    KnownTicket {
        id: TicketId::new(row.get(0)),
        external_id: row.get(1),
        stable_id: row.get(2),
    }
}
