//! Events between the commit and the broker's confirm.

use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Store, StoreError, keep_if_sound, limited};

/// Names a row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutboxKey {
    /// The command, or the event's own id where there is none.
    pub command_id: Uuid,
    /// Number of the event within it.
    pub number: i32,
    /// `""`: the events exchange; else a reply queue.
    pub target: String,
    /// Of a reply.
    pub correlation_id: String,
}

/// A row of the outbox.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// Names it.
    pub key: OutboxKey,
    /// Where it is published.
    pub routing_key: String,
    /// The CloudEvent.
    pub body: Arc<str>,
}

/// Sole events of a settlement: those of a row of `outbox_batches`.
#[derive(Debug)]
pub struct OutboxBatch {
    /// Names it.
    pub id: Uuid,
    /// The events.
    pub rows: Vec<OutboxRow>,
}

/// In a transaction that changes what stands in `commands` of these (`$1`): their single events, if
/// they are unsent, become rows of their own.
pub(super) const DETACH: &str = "WITH hit AS (SELECT b.id, u.command_id FROM outbox_batches b \
                                 CROSS JOIN LATERAL unnest(b.command_ids) AS u(command_id) \
                                 WHERE u.command_id = ANY($1)), \
                                 cut AS (UPDATE outbox_batches b SET command_ids = ARRAY(SELECT x \
                                 FROM unnest(b.command_ids) AS x WHERE x <> ALL($1)) \
                                 WHERE b.id IN (SELECT id FROM hit)) \
                                 INSERT INTO outbox (command_id, number, routing_key, \
                                 body) SELECT c.id, 1, c.final_key, \
                                 c.final_event FROM hit \
                                 JOIN commands c ON c.id = hit.command_id \
                                 WHERE c.final_event IS NOT NULL \
                                 ON CONFLICT DO NOTHING";

/// In a transaction: what a process (`$1`) has not sent is the outbox poller's from now on.
pub(super) const DISOWN: [&str; 3] = [
    "UPDATE outbox SET owner = NULL WHERE owner = $1",
    "UPDATE outbox_batches SET owner = NULL WHERE owner = $1",
    // A refresh that the process had under way is another's to make.
    "DELETE FROM integration_token_leases WHERE holder = $1",
];

/// How long a row of a living process is left to it before the outbox poller looks at it.
const SWEEP_AFTER: &str = "5 seconds";

impl OutboxRow {
    /// The single event of a command.
    #[must_use]
    pub fn single_event(command_id: Uuid, routing_key: String, body: Arc<str>) -> Self {
        Self {
            key: OutboxKey {
                command_id,
                number: 1,
                target: String::new(),
                correlation_id: String::new(),
            },
            routing_key,
            body,
        }
    }
}

/// Executes a statement and commits it without waiting for the disk.
async fn without_waiting(
    client: &Object,
    statement: &Statement,
    params: &[&(dyn ToSql + Sync)],
) -> Result<(), tokio_postgres::Error> {
    let (begin, set, done, commit) = futures_util::join!(
        client.batch_execute("BEGIN"),
        client.batch_execute("SET LOCAL synchronous_commit = off"),
        client.execute(statement, params),
        client.batch_execute("COMMIT"),
    );
    begin?;
    set?;
    done?;
    commit
}

impl Store {
    /// Adds events that belong to no settlement. Idempotent.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn add_events(&self, rows: &[OutboxRow], owner: Uuid) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO outbox (command_id, number, target, correlation_id, \
                           routing_key, body, owner) \
                           SELECT u.*, $7 FROM unnest($1::uuid[], $2::int[], $3::text[], \
                           $4::text[], \
                           $5::text[], $6::text[]) AS u \
                           ON CONFLICT DO NOTHING";
        let client = self.hot().await?;
        let result = async {
            let ids: Vec<Uuid> = rows.iter().map(|r| r.key.command_id).collect();
            let numbers: Vec<i32> = rows.iter().map(|r| r.key.number).collect();
            let targets: Vec<&str> = rows.iter().map(|r| r.key.target.as_str()).collect();
            let correlations: Vec<&str> =
                rows.iter().map(|r| r.key.correlation_id.as_str()).collect();
            let keys: Vec<&str> = rows.iter().map(|r| r.routing_key.as_str()).collect();
            let bodies: Vec<&str> = rows.iter().map(|r| &*r.body).collect();
            let statement = client.prepare_cached(SQL).await?;
            limited(client.execute(
                &statement,
                &[
                    &ids,
                    &numbers,
                    &targets,
                    &correlations,
                    &keys,
                    &bodies,
                    &owner,
                ],
            ))
            .await?;
            Ok(())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Removes what the broker confirmed. Committed asynchronously: a removal lost in a crash of
    /// PostgreSQL only means that the event goes out once more under the same id.
    ///
    /// # Errors
    /// As the connection's; the rows are then published again by the outbox poller.
    pub async fn remove_events(&self, keys: &[OutboxKey]) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM outbox o USING unnest($1::uuid[], $2::int[], $3::text[], \
                           $4::text[]) \
                           AS u(command_id, number, target, correlation_id) \
                           WHERE o.command_id = u.command_id \
                           AND o.number = u.number AND o.target = u.target \
                           AND o.correlation_id = u.correlation_id";
        let client = self.hot().await?;
        let result = async {
            let ids: Vec<Uuid> = keys.iter().map(|k| k.command_id).collect();
            let numbers: Vec<i32> = keys.iter().map(|k| k.number).collect();
            let targets: Vec<&str> = keys.iter().map(|k| k.target.as_str()).collect();
            let correlations: Vec<&str> = keys.iter().map(|k| k.correlation_id.as_str()).collect();
            let statement = client.prepare_cached(SQL).await?;
            let params: [&(dyn ToSql + Sync); 4] = [&ids, &numbers, &targets, &correlations];
            limited(without_waiting(&client, &statement, &params)).await
        }
        .await;
        if result.as_ref().is_err_and(StoreError::is_refusal) {
            limited(client.batch_execute("ROLLBACK")).await?;
        }
        keep_if_sound(client, result)
    }

    /// Removes batches whose events the broker confirmed, all of them. Committed asynchronously, as
    /// in [`Store::remove_events`], and in one message.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn remove_batches(&self, ids: &[Uuid]) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM outbox_batches WHERE id = ANY($1) \
                           AND set_config('synchronous_commit', 'off', true) IS NOT NULL";
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(SQL).await?;
            limited(client.execute(&statement, &[&ids])).await?;
            Ok(())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Leaves the rest of a batch to the outbox poller: what the broker did not confirm.
    ///
    /// # Errors
    /// As the connection's; the whole batch is then published again.
    pub async fn keep_of_batch(&self, id: Uuid, commands: &[Uuid]) -> Result<(), StoreError> {
        // Of what is still in it: what a retry has taken out meanwhile is a row of its own.
        const SQL: &str = "UPDATE outbox_batches SET owner = NULL, \
                           command_ids = ARRAY(SELECT x FROM unnest(command_ids) AS x \
                           WHERE x = ANY($2)) \
                           WHERE id = $1";
        let client = self.hot().await?;
        let result = limited(client.execute(SQL, &[&id, &commands])).await;
        keep_if_sound(client, result).map(|_| ())
    }

    /// Unsent batches that no living process is publishing from memory; pushes them back as
    /// [`Store::poll_events`] does. What is gone from `commands` is gone from them.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn poll_batches(&self, limit: i64) -> Result<Vec<OutboxBatch>, StoreError> {
        const EVENTS: &str = "SELECT id, final_key, final_event FROM commands WHERE id = ANY($1) \
                              AND final_event IS NOT NULL ORDER BY arrival";
        let sql = format!(
            "UPDATE outbox_batches b SET tries = b.tries + 1, owner = NULL, \
             due_at = now() + LEAST(interval '60 seconds', interval '5 seconds' * (b.tries + 1)) \
             FROM (SELECT id FROM outbox_batches \
             WHERE due_at <= now() AND (owner IS NULL OR created_at < now() - interval \
             '{SWEEP_AFTER}') \
             ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED) p WHERE b.id = p.id \
             RETURNING b.id, b.command_ids"
        );
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(&sql).await?;
            let mut batches = Vec::new();
            for row in limited(client.query(&statement, &[&limit])).await? {
                let ids: Vec<Uuid> = row.get(1);
                let events = client.prepare_cached(EVENTS).await?;
                let events = limited(client.query(&events, &[&ids])).await?;
                batches.push(OutboxBatch {
                    id: row.get(0),
                    rows: events
                        .iter()
                        .map(|event| {
                            OutboxRow::single_event(
                                event.get(0),
                                event.get(1),
                                event.get::<_, &str>(2).into(),
                            )
                        })
                        .collect(),
                });
            }
            Ok(batches)
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Leaves a process's unsent events to the outbox poller, now.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn disown_events(&self, owner: Uuid) -> Result<(), StoreError> {
        let client = self.hot().await?;
        let result = async {
            for sql in DISOWN {
                limited(client.execute(sql, &[&owner])).await?;
            }
            Ok(())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Unsent events that no living process is publishing from memory, each command's oldest first;
    /// pushes them back by a growing delay so that the next poll takes others. `mine` is never
    /// polled while it is fresh.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn poll_events(&self, limit: i64) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = format!(
            "UPDATE outbox o SET tries = o.tries + 1, owner = NULL, \
             due_at = now() + LEAST(interval '60 seconds', interval '5 seconds' * (o.tries + 1)) \
             FROM (SELECT x.command_id, x.number, x.target, x.correlation_id FROM outbox x \
             WHERE x.due_at <= now() AND (x.owner IS NULL OR x.created_at < now() - interval \
             '{SWEEP_AFTER}') \
             AND NOT EXISTS (SELECT FROM outbox y WHERE y.command_id = x.command_id \
             AND y.target = x.target \
             AND y.correlation_id = x.correlation_id AND y.number < x.number) \
             ORDER BY x.due_at LIMIT $1 FOR UPDATE SKIP LOCKED) p \
             WHERE o.command_id = p.command_id AND o.number = p.number AND o.target = p.target \
             AND o.correlation_id = p.correlation_id \
             RETURNING o.command_id, o.number, o.target, o.correlation_id, o.routing_key, o.body"
        );
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(&sql).await?;
            let rows = limited(client.query(&statement, &[&limit])).await?;
            Ok(rows
                .iter()
                .map(|row| OutboxRow {
                    key: OutboxKey {
                        command_id: row.get(0),
                        number: row.get(1),
                        target: row.get(2),
                        correlation_id: row.get(3),
                    },
                    routing_key: row.get(4),
                    body: row.get::<_, &str>(5).into(),
                })
                .collect())
        }
        .await;
        keep_if_sound(client, result)
    }
}
