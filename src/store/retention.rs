//! Removing what is finished and old. Tickets are not touched: they are the application's.

use std::time::Duration;

use super::{Store, StoreError, keep_if_sound, limited};

/// Only one process removes at a time; it keeps the others' hands off for the length of a step.
const ALONE: &str = "SELECT pg_try_advisory_xact_lock(hashtextextended('ticketwire retention', 0))";

/// Finished commands on a run of pages, with what belongs to them. A walk over the pages needs no
/// index on the moment of finishing, which every command would have to be entered into. What
/// finished so long ago may be unsent only where something has been for minutes.
const COMMANDS: &str = "WITH gone AS (DELETE FROM commands WHERE ctid >= $1::text::tid \
                        AND ctid < $2::text::tid \
                        AND state IN ('succeeded', 'failed', 'cancelled') \
                        AND finished_at < now() - $3::float8 * interval '1 second' \
                        AND NOT EXISTS (SELECT FROM outbox WHERE outbox.command_id = commands.id) \
                        AND NOT EXISTS (SELECT FROM outbox_batches \
                        WHERE created_at < now() - interval '5 minutes') RETURNING id), \
                        attempts AS (DELETE FROM command_attempts USING gone \
                        WHERE command_id = gone.id), \
                        replies AS (DELETE FROM command_replies USING gone \
                        WHERE command_id = gone.id) \
                        SELECT count(*) FROM gone";

/// Changes that platforms told, on a run of pages: by then none of them is sent again.
const INBOUND: &str = "WITH gone AS (DELETE FROM inbound_changes WHERE ctid >= $1::text::tid \
                       AND ctid < $2::text::tid \
                       AND seen_at < now() - $3::float8 * interval '1 second' RETURNING id) \
                       SELECT count(*) FROM gone";

const DEAD_LETTERS: &str = "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters \
                            WHERE received_at < now() - $1::float8 * interval '1 second' \
                            ORDER BY received_at LIMIT $2)";

/// What a step of the walk over the finished commands did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Commands removed.
    pub removed: i64,
    /// Where the next step begins; 0 after the last page.
    pub next_page: i64,
    /// Pages of the table.
    pub pages: i64,
}

impl Store {
    /// Removes the commands on the next `pages` pages that finished more than `age` ago, with their
    /// attempts. `None`: another process is at it. Locks the rows it removes.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn purge_commands(
        &self,
        from_page: i64,
        pages: i64,
        age: Duration,
    ) -> Result<Option<Swept>, StoreError> {
        self.purge(("commands", COMMANDS), from_page, pages, age)
            .await
    }

    /// The same of the changes that platforms told more than `age` ago.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn purge_inbound(
        &self,
        from_page: i64,
        pages: i64,
        age: Duration,
    ) -> Result<Option<Swept>, StoreError> {
        self.purge(("inbound_changes", INBOUND), from_page, pages, age)
            .await
    }

    async fn purge(
        &self,
        (table, sql): (&str, &str),
        from_page: i64,
        pages: i64,
        age: Duration,
    ) -> Result<Option<Swept>, StoreError> {
        let mut client = self.get().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            let alone: bool = limited(transaction.query_one(ALONE, &[])).await?.get(0);
            if !alone {
                return Ok(None);
            }
            let size = "SELECT pg_relation_size($1::text::regclass) \
                        / current_setting('block_size')::bigint";
            let total: i64 = limited(transaction.query_one(size, &[&table]))
                .await?
                .get(0);
            let end = from_page + pages;
            let place = |page: i64| format!("({page},0)");
            let row = limited(
                transaction.query_one(sql, &[&place(from_page), &place(end), &age.as_secs_f64()]),
            )
            .await?;
            limited(transaction.commit()).await?;
            Ok(Some(Swept {
                removed: row.get(0),
                next_page: if end >= total { 0 } else { end },
                pages: total,
            }))
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Removes at most `limit` dead letters that are older than `age`; how many it were.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn purge_dead_letters(&self, age: Duration, limit: i64) -> Result<u64, StoreError> {
        let client = self.get().await?;
        let result = limited(client.execute(DEAD_LETTERS, &[&age.as_secs_f64(), &limit])).await;
        keep_if_sound(client, result)
    }
}
