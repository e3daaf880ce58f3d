//! Who works: worker ids, incarnations, leases, and taking over from the dead.

use std::time::Duration;

use uuid::Uuid;

use super::outbox::DISOWN;
use super::{Store, StoreError, keep_if_sound, limited};

/// A process's hold on its worker id. Random for each process: what it leaves behind can be told
/// from what it holds.
#[derive(Debug, Clone)]
pub struct Incarnation {
    /// The worker id.
    pub worker: String,
    /// This process.
    pub id: Uuid,
}

/// The key of a worker id's advisory lock.
const LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended('ticketwire worker ' || $1, 0))";

/// What a dead process leaves: its running commands are of unknown outcome and poison candidate.
/// Those that were poison candidate already run alone from now on, and a death while running one
/// alone tells on it.
const TAKE_OVER: &str = "UPDATE commands SET state = 'deferred', owner = NULL, due_at = now(), \
                         retry_at = now(), \
                         fencing_token = fencing_token + 1, doubt_since = COALESCE(doubt_since, \
                         now()), \
                         poison_candidate = true, \
                         deaths = deaths + CASE WHEN isolated THEN 1 \
                         ELSE 0 END, isolated = poison_candidate, \
                         wait_reason = 'worker_died', wait_detail = NULL, \
                         error_code = 'outcome_unknown' \
                         WHERE owner = $1 AND state = 'running' RETURNING id";

impl Store {
    /// Tries to hold a worker id over a connection of its own; the lock lives as long as the
    /// connection.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn try_lock_worker(
        client: &tokio_postgres::Client,
        worker: &str,
    ) -> Result<bool, StoreError> {
        Ok(limited(client.query_one(LOCK, &[&worker])).await?.get(0))
    }

    /// Who holds a worker id, for people: where its session comes from, since when, and what it
    /// registered.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn holder_of_worker(
        client: &tokio_postgres::Client,
        worker: &str,
    ) -> Result<Option<String>, StoreError> {
        // The two halves of an advisory lock's key.
        const SQL: &str = "SELECT concat_ws(', ', 'session ' || a.pid, \
                           'from ' || COALESCE(host(a.client_addr), 'this machine'), \
                           'since ' || to_char(a.backend_start AT TIME ZONE 'UTC', \
                           'YYYY-MM-DD HH24:MI:SS') || ' UTC', \
                           (SELECT 'version ' || w.version || ', lease until ' \
                           || to_char(w.lease_until AT TIME ZONE 'UTC', 'HH24:MI:SS') || ' UTC' \
                           FROM workers w WHERE w.id = $1)) \
                           FROM (SELECT hashtextextended('ticketwire worker ' || $1, 0) AS key) k \
                           JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted \
                           AND l.objsubid = 1 \
                           AND l.classid::bigint = (k.key >> 32) & 4294967295 \
                           AND l.objid::bigint = k.key & 4294967295 \
                           AND l.database = (SELECT oid FROM pg_database \
                           WHERE datname = current_database()) \
                           JOIN pg_stat_activity a ON a.pid = l.pid LIMIT 1";
        let row = limited(client.query_opt(SQL, &[&worker])).await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Registers a process under a worker id whose lock it holds, and takes over what the one
    /// before left running. Returns how many commands that were.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn register_worker(
        &self,
        me: &Incarnation,
        lease: Duration,
    ) -> Result<u64, StoreError> {
        let mut client = self.hot().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            let before = limited(transaction.query_opt(
                "SELECT incarnation FROM workers WHERE id = $1 FOR UPDATE",
                &[&me.worker],
            ))
            .await?
            .map(|row| row.get::<_, Uuid>(0))
            .filter(|before| *before != me.id);
            let mut taken = 0;
            if let Some(before) = before {
                taken = limited(transaction.execute(TAKE_OVER, &[&before])).await?;
                for sql in DISOWN {
                    limited(transaction.execute(sql, &[&before])).await?;
                }
            }
            limited(transaction.execute(
                "INSERT INTO workers (id, incarnation, lease_until, version) \
                 VALUES ($1, $2, now() + $3::float8 * interval '1 second', $4) \
                 ON CONFLICT (id) DO UPDATE SET incarnation = excluded.incarnation, \
                 started_at = now(), \
                 lease_until = excluded.lease_until, version = excluded.version",
                &[
                    &me.worker,
                    &me.id,
                    &lease.as_secs_f64(),
                    &env!("CARGO_PKG_VERSION"),
                ],
            ))
            .await?;
            limited(transaction.commit()).await?;
            Ok(taken)
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Renews the lease; returns how many other workers are alive. `None`: somebody has taken over,
    /// and nothing of this incarnation is its own any more. Processes that run commands isolated
    /// are not counted: they take none in.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn renew_lease(
        &self,
        me: &Incarnation,
        lease: Duration,
    ) -> Result<Option<usize>, StoreError> {
        let client = self.hot().await?;
        let sql = "WITH mine AS (UPDATE workers SET lease_until = now() + $3::float8 * interval \
                   '1 second' \
                   WHERE id = $1 AND incarnation = $2 RETURNING id) \
                   SELECT EXISTS (SELECT FROM mine), (SELECT count(*) FROM workers \
                   WHERE lease_until > now() AND id <> $1 AND id NOT LIKE '%/isolated')";
        let result = limited(client.query_one(sql, &[&me.worker, &me.id, &lease.as_secs_f64()]))
            .await
            .map(|row| {
                let peers = usize::try_from(row.get::<_, i64>(1)).unwrap_or(0);
                row.get::<_, bool>(0).then_some(peers)
            });
        keep_if_sound(client, result)
    }

    /// Takes over what workers whose lease ran out left running. Skips those that another worker is
    /// taking over. Returns how many commands that were.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn take_over_dead(&self, me: &Incarnation) -> Result<u64, StoreError> {
        let mut client = self.hot().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            let dead = limited(transaction.query(
                "SELECT id, incarnation FROM workers WHERE lease_until < now() \
                 AND incarnation <> $1 \
                 FOR UPDATE SKIP LOCKED",
                &[&me.id],
            ))
            .await?;
            let mut taken = 0;
            for row in &dead {
                let incarnation: Uuid = row.get(1);
                taken += limited(transaction.execute(TAKE_OVER, &[&incarnation])).await?;
                for sql in DISOWN {
                    limited(transaction.execute(sql, &[&incarnation])).await?;
                }
                limited(transaction.execute(
                    "DELETE FROM workers WHERE incarnation = $1",
                    &[&incarnation],
                ))
                .await?;
            }
            limited(transaction.commit()).await?;
            Ok(taken)
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Takes over from a process that is known to be dead: the parent's look after its child.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn retire_worker(&self, worker: &str) -> Result<u64, StoreError> {
        let mut client = self.hot().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            let row = limited(transaction.query_opt(
                "DELETE FROM workers WHERE id = $1 RETURNING incarnation",
                &[&worker],
            ))
            .await?;
            let mut taken = 0;
            if let Some(row) = row {
                let incarnation: Uuid = row.get(0);
                taken = limited(transaction.execute(TAKE_OVER, &[&incarnation])).await?;
                for sql in DISOWN {
                    limited(transaction.execute(sql, &[&incarnation])).await?;
                }
            }
            limited(transaction.commit()).await?;
            Ok(taken)
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Gives back, at the end of a drain, what this process still runs: it may have been sent, so
    /// there is doubt, but nothing died, so nothing is poison candidate. Its settlements are fenced
    /// out from here on.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn hand_back_running(&self, me: &Incarnation) -> Result<u64, StoreError> {
        let client = self.hot().await?;
        let sql = "UPDATE commands SET state = 'deferred', owner = NULL, due_at = now(), \
                   retry_at = now(), \
                   fencing_token = fencing_token + 1, doubt_since = COALESCE(doubt_since, now()), \
                   wait_reason = 'worker_stopped', wait_detail = NULL WHERE owner = $1 \
                   AND state = 'running'";
        let result = limited(client.execute(sql, &[&me.id])).await;
        keep_if_sound(client, result)
    }

    /// Forgets a worker that ended in good order.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn forget_worker(&self, me: &Incarnation) -> Result<(), StoreError> {
        let client = self.hot().await?;
        let sql = "DELETE FROM workers WHERE id = $1 AND incarnation = $2 \
                   AND NOT EXISTS (SELECT FROM commands WHERE owner = $2 AND state = 'running')";
        let result = limited(client.execute(sql, &[&me.worker, &me.id]))
            .await
            .map(|_| ());
        keep_if_sound(client, result)
    }

    /// Folds the usage rows into the wide integrations rows, without touching an indexed column.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn fold_usage(&self) -> Result<u64, StoreError> {
        // What is added up is what was locked: another look at the rows would see them as they were
        // when the statement began, without what was committed since.
        const SQL: &str = "WITH gone AS (SELECT * FROM integration_usage \
                           WHERE total > 0 ORDER BY integration_id, worker LIMIT 500 \
                           FOR UPDATE SKIP LOCKED), \
                           zero AS (UPDATE integration_usage u \
                           SET total = 0, succeeded = 0, failed = 0 \
                           FROM gone \
                           WHERE u.integration_id = gone.integration_id AND u.worker = gone.worker \
                           RETURNING gone.*), \
                           sums AS (SELECT integration_id, sum(total) AS total, \
                           sum(succeeded) AS succeeded, \
                           sum(failed) AS failed, \
                           max(last_request_at) AS at, max(last_success_at) AS success_at, \
                           max(last_error_at) AS error_at, \
                           max(last_error_message) AS error FROM zero GROUP BY 1) \
                           UPDATE integrations i SET total_requests = i.total_requests + s.total, \
                           successful_requests = i.successful_requests + s.succeeded, \
                           failed_requests = i.failed_requests + s.failed, \
                           last_request_at = GREATEST(i.last_request_at, s.at), \
                           last_success_at = GREATEST(i.last_success_at, s.success_at), \
                           last_error_at = GREATEST(i.last_error_at, s.error_at), \
                           last_error_message = COALESCE(s.error, i.last_error_message), \
                           consecutive_failures = CASE WHEN s.succeeded > 0 THEN 0 \
                           ELSE i.consecutive_failures + s.failed END \
                           FROM sums s WHERE i.id = s.integration_id";
        let client = self.hot().await?;
        let result = limited(client.execute(SQL, &[])).await;
        keep_if_sound(client, result)
    }
}
