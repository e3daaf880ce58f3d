//! What is done for integrations on a schedule, each by one worker at a time; and the slots of a
//! rate limit.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError, keep_if_sound, limited};
use crate::domain::{CommandState, IntegrationId};

/// A task of an integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Its health check.
    Health,
    /// Its sync.
    Sync,
    /// A look at its webhooks.
    Webhook,
}

impl Task {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Sync => "sync",
            Self::Webhook => "webhook",
        }
    }
}

impl Store {
    /// Takes tasks that are due, at most `limit`, and sets them due again after their interval,
    /// with a tenth of it as jitter either way; nobody else takes one of them for `lease`. Those of
    /// integrations that are not to be looked at are forgotten, those of new ones begin somewhere
    /// within their first interval, looks at webhooks at once.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn claim_tasks(
        &self,
        task: Task,
        interval: Duration,
        lease: Duration,
        limit: i64,
    ) -> Result<Vec<(IntegrationId, DateTime<Utc>)>, StoreError> {
        // Who takes part, and how often in seconds.
        let wanted = match task {
            Task::Health => {
                "SELECT i.id, $1::float8 AS every FROM integrations i WHERE i.enabled \
                 AND NOT i.is_deleted \
                 AND i.monitoring_enabled AND i.status IN ('active', 'error')"
            }
            Task::Sync => {
                "SELECT i.id, i.sync_frequency_minutes * 60.0::float8 AS every FROM integrations i \
                 WHERE i.enabled AND NOT i.is_deleted AND i.sync_enabled AND i.status = 'active' \
                 AND $1::float8 IS NOT NULL"
            }
            Task::Webhook => {
                "SELECT i.id, $1::float8 AS every FROM integrations i WHERE i.enabled \
                 AND NOT i.is_deleted AND EXISTS (SELECT FROM integration_webhooks w \
                 WHERE w.integration_id = i.id)"
            }
        };
        // What is on while it should tell of changes is looked at at once.
        let first = match task {
            Task::Health | Task::Sync => "random()",
            Task::Webhook => "0.0",
        };
        let join = format!(
            "WITH wanted AS ({wanted}), \
             gone AS (DELETE FROM integration_schedule s WHERE s.task = $2 \
                      AND NOT EXISTS (SELECT FROM wanted w WHERE w.id = s.integration_id)) \
             INSERT INTO integration_schedule (integration_id, task, due_at) \
             SELECT id, $2, now() + {first} * every * interval '1 second' FROM wanted \
             ON CONFLICT DO NOTHING"
        );
        let take = format!(
            "WITH wanted AS ({wanted}) \
             UPDATE integration_schedule s SET lease_until = now() + $3::float8 * interval '1 \
             second', \
                 due_at = now() + w.every * (0.9 + random() * 0.2) * interval '1 second' \
             FROM (SELECT d.integration_id, d.due_at FROM integration_schedule d \
             WHERE d.task = $2 AND d.due_at <= now() \
                   AND (d.lease_until IS NULL OR d.lease_until <= now()) \
                   ORDER BY d.due_at LIMIT $4 \
                   FOR UPDATE SKIP LOCKED) d JOIN wanted w ON w.id = d.integration_id \
             WHERE s.integration_id = d.integration_id AND s.task = $2 \
             RETURNING s.integration_id, d.due_at"
        );
        let client = self.get().await?;
        let name = task.as_str();
        let result = async {
            limited(client.execute(join.as_str(), &[&interval.as_secs_f64(), &name])).await?;
            let rows = limited(client.query(
                take.as_str(),
                &[&interval.as_secs_f64(), &name, &lease.as_secs_f64(), &limit],
            ))
            .await?;
            Ok(rows
                .iter()
                .map(|row| (IntegrationId::new(row.get(0)), row.get(1)))
                .collect())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Gives a task's lease back.
    ///
    /// # Errors
    /// As the connection's; the lease then runs out by itself.
    pub async fn end_task(&self, task: Task, id: IntegrationId) -> Result<(), StoreError> {
        let sql = "UPDATE integration_schedule SET lease_until = NULL WHERE integration_id = $1 \
                   AND task = $2";
        let client = self.get().await?;
        let result = limited(client.execute(sql, &[&id.uuid(), &task.as_str()])).await;
        keep_if_sound(client, result).map(|_| ())
    }

    /// Hands out the next `count` slots of an integration with a limit of requests an hour: never
    /// more than `limit` in any hour, over all workers. One transaction however many slots; under a
    /// lock of the integration's own.
    ///
    /// # Errors
    /// As the connection's; slots that were handed out stay so.
    pub async fn reserve_rate_slots(
        &self,
        id: IntegrationId,
        limit: u32,
        count: usize,
    ) -> Result<Vec<DateTime<Utc>>, StoreError> {
        const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('ticketwire rate ' || \
                            $1, 0)), clock_timestamp()";
        const LAST: &str = "SELECT place, at FROM integration_places WHERE integration_id = $1 \
                            AND place > 0 ORDER BY place DESC LIMIT 1";
        const EARLIER: &str = "SELECT place, at FROM integration_places WHERE integration_id = $1 \
                               AND place > GREATEST($2::bigint, 0) AND place <= $3";
        const PUT: &str = "INSERT INTO integration_places (integration_id, place, at) \
                           SELECT $1, u.place, u.at \
                           FROM unnest($2::bigint[], $3::timestamptz[]) AS u(place, at)";
        // What no place depends on any more; the last one stays, as it carries the number.
        const FORGET: &str = "DELETE FROM integration_places WHERE integration_id = $1 AND at < $2 \
             AND place > 0 AND place < $3";
        let mut client = self.hot().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            let row = limited(transaction.query_one(LOCK, &[&id.to_string()])).await?;
            let now: DateTime<Utc> = row.get(1);
            let last = limited(transaction.query_opt(LAST, &[&id.uuid()])).await?;
            let (mut number, mut latest): (i64, DateTime<Utc>) =
                last.map_or((0, now), |row| (row.get(0), row.get(1)));
            let span = i64::from(limit);
            let wanted = i64::try_from(count).unwrap_or(i64::MAX);
            let rows = limited(transaction.query(
                EARLIER,
                &[&id.uuid(), &(number - span), &(number - span + wanted)],
            ))
            .await?;
            let mut known: std::collections::HashMap<i64, DateTime<Utc>> =
                rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            let (mut numbers, mut rate_slots) = (Vec::new(), Vec::new());
            // Who has to wait comes back at a time of their own, evenly over the hour, not all at
            // once.
            let apart = chrono::Duration::microseconds(3_600_000_000 / span.max(1));
            for _ in 0..count {
                number += 1;
                let free = known
                    .get(&(number - span))
                    .map_or(now, |at| *at + chrono::Duration::hours(1));
                latest = if free <= now && latest <= now {
                    now
                } else {
                    free.max(latest + apart)
                };
                known.insert(number, latest);
                numbers.push(number);
                rate_slots.push(latest);
            }
            limited(transaction.execute(PUT, &[&id.uuid(), &numbers, &rate_slots])).await?;
            let old = now - chrono::Duration::hours(1);
            limited(transaction.execute(FORGET, &[&id.uuid(), &old, &number])).await?;
            limited(transaction.commit()).await?;
            Ok(rate_slots)
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Takes the next turn to write of an integration whose platform wants writes `apart`, over all
    /// workers: how long it is until then. `None`: longer than `longest`, and no turn is taken. The
    /// latest turn is place 0, which no slot of a rate limit has.
    ///
    /// # Errors
    /// As the connection's; a turn that was taken is then lost.
    pub async fn take_write_turn(
        &self,
        id: IntegrationId,
        apart: Duration,
        longest: Duration,
    ) -> Result<Option<Duration>, StoreError> {
        const TAKE: &str = "INSERT INTO integration_places AS p (integration_id, place, at) \
                            VALUES ($1, 0, clock_timestamp()) \
                            ON CONFLICT (integration_id, place) DO UPDATE \
                            SET at = GREATEST(p.at + $2::float8 * interval '1 second', \
                                              clock_timestamp()) \
                            WHERE p.at + $2::float8 * interval '1 second' \
                                  <= clock_timestamp() + $3::float8 * interval '1 second' \
                            RETURNING GREATEST(extract(epoch FROM at - clock_timestamp()), \
                                               0)::float8";
        let (apart, longest) = (apart.as_secs_f64(), longest.as_secs_f64());
        let client = self.hot().await?;
        let result = limited(client.query_opt(TAKE, &[&id.uuid(), &apart, &longest])).await;
        let row = keep_if_sound(client, result)?;
        Ok(row.map(|row| Duration::try_from_secs_f64(row.get(0)).unwrap_or_default()))
    }

    /// Keeps what an attempt made ready, so that the next one goes on with the same. False: the
    /// command is somebody else's by now.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn keep_prepared(
        &self,
        command: crate::domain::CommandId,
        owner: Uuid,
        fencing_token: i32,
        prepared: &str,
    ) -> Result<bool, StoreError> {
        let sql =
            "UPDATE commands SET prepared = $4 WHERE id = $1 AND owner = $2 AND fencing_token = $3";
        let client = self.hot().await?;
        let result =
            limited(client.execute(sql, &[&command.uuid(), &owner, &fencing_token, &prepared]))
                .await;
        keep_if_sound(client, result).map(|rows| rows > 0)
    }

    /// How the children of a command stand: ticket, id, state, error.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn children(
        &self,
        parent: crate::domain::CommandId,
    ) -> Result<Vec<Child>, StoreError> {
        let sql = "SELECT id, ticket_id, state, error_code, error FROM commands WHERE parent = $1";
        let client = self.hot().await?;
        let result = limited(client.query(sql, &[&parent.uuid()])).await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows
            .iter()
            .map(|row| Child {
                id: row.get(0),
                ticket_id: row.get(1),
                // A state that this version does not know is not an end.
                state: CommandState::parse(row.get(2)).unwrap_or(CommandState::Running),
                error_code: row.get(3),
                error: row.get(4),
            })
            .collect())
    }
}

/// A child command, as its parent looks at it.
#[derive(Debug, Clone)]
pub struct Child {
    /// Its id.
    pub id: Uuid,
    /// Its ticket.
    pub ticket_id: Option<Uuid>,
    /// Its state.
    pub state: CommandState,
    /// Its error's code.
    pub error_code: Option<String>,
    /// Its error, as in its event.
    pub error: Option<String>,
}
