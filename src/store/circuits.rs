//! Circuit state, one row an integration that failed lately, shared by all workers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError, keep_if_sound, limited};
use crate::domain::IntegrationId;

/// What one batch of attempts saw of an integration.
#[derive(Debug, Clone, Default)]
pub struct CircuitTally {
    /// An attempt reached the platform: the count starts anew.
    pub reset: bool,
    /// Attempts in a row, since then, that ended transient or unknown.
    pub failures: i32,
    /// The platform did, or refused, what was asked for a reason of the ticket's: the count of
    /// errors starts anew.
    pub sound: bool,
    /// Attempts in a row, since then, that failed for a reason of the integration's.
    pub errors: i32,
    /// After how many of those it goes to `error`, if it does.
    pub limit: Option<i32>,
    /// The platform refused by budget.
    pub paused: bool,
    /// For how long, where it said so.
    pub pause: Option<Duration>,
}

/// Longest pause of an integration: a platform that asks for more is asked again after a day.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

impl CircuitTally {
    /// All is well.
    #[must_use]
    pub fn sound() -> Self {
        Self {
            reset: true,
            sound: true,
            ..Self::default()
        }
    }

    /// The platform refused by budget, for so long where it said so.
    #[must_use]
    pub fn paused(pause: Option<Duration>) -> Self {
        Self {
            paused: true,
            pause,
            ..Self::default()
        }
    }

    /// Whether there is something to write, even of an integration that has nothing on record.
    #[must_use]
    pub const fn is_degraded(&self) -> bool {
        self.failures > 0 || self.errors > 0 || self.paused
    }

    /// Adds what was seen later.
    pub fn add(&mut self, later: &Self) {
        self.paused |= later.paused;
        self.pause = self.pause.max(later.pause);
        if later.reset {
            self.reset = true;
            self.failures = 0;
        }
        self.failures += later.failures;
        if later.sound {
            self.sound = true;
            self.errors = 0;
        }
        self.errors += later.errors;
        self.limit = later.limit.or(self.limit);
    }
}

/// A circuit that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitChange {
    /// Whose.
    pub integration_id: IntegrationId,
    /// Open now, or closed now; `None`: as before.
    pub open: Option<bool>,
    /// Paused now, or not any more; `None`: as before.
    pub paused: Option<bool>,
    /// Until when, of one that is paused.
    pub paused_until: Option<DateTime<Utc>>,
    /// Errors in a row, before and now.
    pub errors: (i32, i32),
    /// What the tally said.
    pub limit: Option<i32>,
}

impl Store {
    /// Folds what a batch saw into the circuits and pauses; returns those that changed. `pause` is
    /// the first pause for a platform that names none; it doubles with each refusal in a row, up to
    /// five minutes. Locks the rows in id order.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn tally_circuits(
        &self,
        tallies: &[(IntegrationId, CircuitTally)],
        threshold: i32,
        open_for: Duration,
        pause: Duration,
    ) -> Result<Vec<CircuitChange>, StoreError> {
        // A probe that fails opens the circuit again at once, whatever the count. A pause ends with
        // the first answer after its time; an answer to what was sent before it says nothing.
        // Refusals of one and the same pause count once.
        const SQL: &str = "WITH inp AS (SELECT * FROM unnest($1::uuid[], $2::bool[], $3::int[], \
                           $6::bool[], $7::int[], \
                           $8::bool[], $9::float8[]) AS u(id, reset, failures, sound, errors, \
                           refused, \
                           pause)), \
                           old AS (SELECT c.integration_id, c.failures, c.open_until, c.errors, \
                           c.paused_until, c.pauses \
                           FROM integration_circuits c \
                           JOIN inp ON inp.id = c.integration_id \
                           ORDER BY c.integration_id FOR UPDATE OF c), \
                           new AS (SELECT inp.id, \
                           CASE WHEN inp.reset THEN inp.failures ELSE COALESCE(old.failures, \
                           0) + inp.failures END AS failures, \
                           CASE WHEN inp.sound THEN inp.errors ELSE COALESCE(old.errors, \
                           0) + inp.errors END AS errors, \
                           COALESCE(old.errors, 0) AS errors_before, \
                           old.open_until IS NOT NULL AS was_open, old.paused_until IS NOT NULL AS \
                           was_paused, \
                           CASE WHEN inp.refused THEN GREATEST(old.paused_until, \
                           now() + interval '1 \
                           second' * COALESCE(inp.pause, \
                           LEAST($10::float8 * 2 ^ LEAST(COALESCE(old.pauses, 0), 16), 300))) \
                           WHEN inp.reset AND old.paused_until <= now() THEN NULL \
                           ELSE old.paused_until END AS paused_until, \
                           CASE WHEN inp.refused THEN COALESCE(old.pauses, 0) \
                           + CASE WHEN old.paused_until > now() THEN 0 ELSE 1 END \
                           WHEN inp.reset AND old.paused_until <= now() THEN 0 \
                           ELSE COALESCE(old.pauses, 0) END AS pauses, \
                           CASE WHEN inp.refused THEN COALESCE('Retry-After: ' || \
                           ceil(inp.pause) || ' s', \
                           'the platform''s rate limit (it named no time)') END AS paused_by \
                           FROM inp LEFT JOIN old ON old.integration_id = inp.id), \
                           put AS (INSERT INTO integration_circuits AS c (integration_id, \
                           failures, errors, \
                           open_until, probe_until, \
                           paused_until, paused_by, pauses) \
                           SELECT id, failures, errors, CASE WHEN failures > 0 \
                           AND (failures >= $4 OR was_open) \
                           THEN now() + $5::float8 * interval '1 second' END, NULL, paused_until, \
                           paused_by, pauses \
                           FROM new ORDER BY id \
                           ON CONFLICT (integration_id) DO UPDATE \
                           SET failures = excluded.failures, errors = excluded.errors, \
                           open_until = excluded.open_until, probe_until = NULL, paused_until = \
                           excluded.paused_until, \
                           paused_by = CASE WHEN excluded.paused_until IS NOT NULL \
                           THEN COALESCE(excluded.paused_by, c.paused_by) END, \
                           pauses = excluded.pauses \
                           RETURNING c.integration_id, c.open_until IS NOT NULL AS is_open, \
                           c.paused_until) \
                           SELECT put.integration_id, put.is_open, new.was_open, \
                           new.errors_before, new.errors, \
                           new.was_paused, put.paused_until \
                           FROM put JOIN new ON new.id = put.integration_id \
                           WHERE put.is_open <> new.was_open OR new.errors > new.errors_before \
                           OR (put.paused_until IS NOT NULL) <> new.was_paused";
        let client = self.hot().await?;
        let result = async {
            let ids: Vec<Uuid> = tallies.iter().map(|(id, _)| id.uuid()).collect();
            let resets: Vec<bool> = tallies.iter().map(|(_, t)| t.reset).collect();
            let failures: Vec<i32> = tallies.iter().map(|(_, t)| t.failures).collect();
            let sounds: Vec<bool> = tallies.iter().map(|(_, t)| t.sound).collect();
            let errors: Vec<i32> = tallies.iter().map(|(_, t)| t.errors).collect();
            let refused: Vec<bool> = tallies.iter().map(|(_, t)| t.paused).collect();
            let pauses: Vec<Option<f64>> = tallies
                .iter()
                .map(|(_, t)| t.pause.map(|pause| pause.min(PAUSE_MAX).as_secs_f64()))
                .collect();
            let statement = client.prepare_cached(SQL).await?;
            let rows = limited(client.query(
                &statement,
                &[
                    &ids,
                    &resets,
                    &failures,
                    &threshold,
                    &open_for.as_secs_f64(),
                    &sounds,
                    &errors,
                    &refused,
                    &pauses,
                    &pause.as_secs_f64(),
                ],
            ))
            .await?;
            Ok(rows
                .iter()
                .map(|row| {
                    let id: Uuid = row.get(0);
                    let (is_open, was_open): (bool, bool) = (row.get(1), row.get(2));
                    let paused_until: Option<DateTime<Utc>> = row.get(6);
                    let (is_paused, was_paused): (bool, bool) =
                        (paused_until.is_some(), row.get(5));
                    CircuitChange {
                        paused: (is_paused != was_paused).then_some(is_paused),
                        paused_until,
                        integration_id: IntegrationId::new(id),
                        open: (is_open != was_open).then_some(is_open),
                        errors: (row.get(3), row.get(4)),
                        limit: tallies
                            .iter()
                            .find(|(tallied, _)| tallied.uuid() == id)
                            .and_then(|(_, tally)| tally.limit),
                    }
                })
                .collect())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Wins the probe of each half-open circuit, and of each pause that is over, that nobody
    /// probes: one at a time over all workers, for `lease`.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn win_probes(&self, lease: Duration) -> Result<Vec<Uuid>, StoreError> {
        const SQL: &str = "UPDATE integration_circuits c \
                           SET probe_until = now() + $1::float8 * interval '1 second' \
                           WHERE (c.open_until IS NOT NULL OR c.paused_until IS NOT NULL) \
                           AND (c.open_until IS NULL OR c.open_until <= now()) \
                           AND (c.paused_until IS NULL OR c.paused_until <= now()) \
                           AND (c.probe_until IS NULL OR c.probe_until <= now()) \
                           AND EXISTS (SELECT FROM commands d WHERE d.lane = c.integration_id \
                           AND d.due_at <= now()) \
                           RETURNING c.integration_id";
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(SQL).await?;
            let rows = limited(client.query(&statement, &[&lease.as_secs_f64()])).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Gives probes back that found nothing to send.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn return_probes(&self, lanes: &[Uuid]) -> Result<(), StoreError> {
        let client = self.hot().await?;
        let sql =
            "UPDATE integration_circuits SET probe_until = NULL WHERE integration_id = ANY($1)";
        let result = limited(client.execute(sql, &[&lanes])).await.map(|_| ());
        keep_if_sound(client, result)
    }

    /// The integrations with failures on record, so that a success knows whether there is anything
    /// to reset.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn degraded_circuits(&self) -> Result<Vec<(IntegrationId, bool)>, StoreError> {
        let client = self.hot().await?;
        let sql = "SELECT integration_id, open_until IS NOT NULL FROM integration_circuits \
                   WHERE failures > 0 OR errors > 0 OR open_until IS NOT NULL \
                   OR paused_until IS NOT NULL";
        let result = limited(client.query(sql, &[])).await.map(|rows| {
            rows.iter()
                .map(|row| (IntegrationId::new(row.get(0)), row.get(1)))
                .collect()
        });
        keep_if_sound(client, result)
    }
}
