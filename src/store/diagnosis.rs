//! What is wrong in the ledger, for `ticketwire doctor`: each question one short query over a
//! connection of its own.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::Client;
use uuid::Uuid;

use super::recent::ROWS_MAX;
use super::{StoreError, limited};
use crate::telemetry::machine_clock;

/// A worker whose lease ran out.
#[derive(Debug, Clone)]
pub struct SilentWorker {
    /// Its id.
    pub id: String,
    /// How long its lease has been over.
    pub silent_seconds: i64,
    /// Commands it still holds.
    pub running: i64,
}

/// A platform that is left alone.
#[derive(Debug, Clone)]
pub struct OpenCircuit {
    /// Its integration.
    pub integration_id: Uuid,
    /// The integration's name.
    pub name: String,
    /// Its platform.
    pub platform_name: String,
    /// Failures in a row.
    pub failures: i32,
    /// Until when its circuit is open, if it is.
    pub open_until: Option<DateTime<Utc>>,
    /// That moment is over: one command at a time finds out whether the platform is back.
    pub is_half_open: bool,
    /// Until when it is paused by the platform's rate limit, if it is, and who decided that.
    pub paused: Option<(DateTime<Utc>, String)>,
    /// Commands that wait for it.
    pub waiting: i64,
}

/// How the commands stand.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Commands due for over a minute that nobody has taken.
    pub overdue: i64,
    /// Commands in doubt for over ten minutes, and not ended yet.
    pub in_doubt: i64,
    /// Commands that are not finished.
    pub unfinished: i64,
    /// Dead letters of a day.
    pub dead_letters: i64,
}

/// How the server stands.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// Whether dead rows are removed by themselves.
    pub autovacuum: bool,
    /// Sessions of this database that have waited for a lock for over five seconds.
    pub blocked: i64,
    /// Sessions idle in a transaction for over a minute.
    pub idle_in_transaction: i64,
    /// Connections in use and allowed, of the whole server.
    pub connections: (i64, i64),
    /// How far its clock is ahead of this machine's.
    pub clock_ahead: TimeDelta,
    /// Tables of ours that this role may not write.
    pub not_writable: Vec<String>,
}

/// Lets no question wait for long: a doctor that hangs tells nothing.
///
/// # Errors
/// As the connection's.
pub async fn be_impatient(client: &Client) -> Result<(), StoreError> {
    // And no walk over a whole table where an index leads to what is asked for, however few rows it
    // is thought to have.
    const SQL: &str = "SET statement_timeout = '5s'; SET lock_timeout = '2s'; \
                       SET enable_seqscan = off; SET jit = off";
    limited(client.batch_execute(SQL)).await
}

/// How the server stands.
///
/// # Errors
/// As the connection's.
pub async fn server(client: &Client) -> Result<Server, StoreError> {
    const SQL: &str = "SELECT current_setting('server_version'), \
                       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, \
                       current_setting('autovacuum')::bool, \
                       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' \
                       AND now() - query_start > interval '5 seconds'), \
                       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND state LIKE 'idle in transaction%' \
                       AND now() - state_change > interval '1 minute'), \
                       (SELECT count(*) FROM pg_stat_activity \
                       WHERE backend_type = 'client backend'), \
                       current_setting('max_connections')::bigint, clock_timestamp(), \
                       ARRAY(SELECT t.name FROM unnest(ARRAY['commands', 'command_attempts', \
                       'outbox', \
                       'outbox_batches', 'tickets', 'integrations', \
                       'dead_letters', 'workers']) AS t(name) \
                       WHERE NOT COALESCE(has_table_privilege(to_regclass(t.name)::oid, 'SELECT, \
                       INSERT, UPDATE, DELETE'), true))";
    let asked = machine_clock();
    let row = limited(client.query_one(SQL, &[])).await?;
    Ok(Server {
        version: row.get(0),
        read_only: row.get(1),
        autovacuum: row.get(2),
        blocked: row.get(3),
        idle_in_transaction: row.get(4),
        connections: (row.get(5), row.get(6)),
        clock_ahead: {
            let theirs: DateTime<Utc> = row.get(7);
            // As if it had looked in the middle of the round trip.
            theirs - (asked + (machine_clock() - asked) / 2)
        },
        not_writable: row.get(8),
    })
}

/// How the commands stand: each number from an index of what is unfinished or young, and up to a
/// limit.
///
/// # Errors
/// As the connection's.
pub async fn standing(client: &Client) -> Result<Standing, StoreError> {
    const SQL: &str = "SELECT (SELECT count(*) FROM (SELECT FROM commands \
                       WHERE due_at < now() - interval '1 minute' AND NOT EXISTS \
                       (SELECT FROM integration_circuits c WHERE c.integration_id = lane \
                       AND (c.open_until IS NOT NULL OR c.paused_until IS NOT NULL)) \
                       LIMIT $1) o), \
                       (SELECT count(*) FROM (SELECT FROM commands WHERE due_at IS NOT NULL \
                       AND doubt_since < now() - interval '10 minutes' LIMIT $1) d), \
                       (SELECT count(*) FROM (SELECT FROM commands \
                       WHERE due_at IS NOT NULL LIMIT $1) a) + \
                       (SELECT count(*) FROM (SELECT FROM commands \
                       WHERE state = 'running' LIMIT $1) b) + \
                       (SELECT count(*) FROM (SELECT FROM commands WHERE state = 'pending' \
                       AND NOT turn LIMIT $1) c), \
                       (SELECT count(*) FROM (SELECT FROM dead_letters \
                       WHERE received_at > now() - interval '1 day' LIMIT $1) l)";
    let row = limited(client.query_one(SQL, &[&ROWS_MAX])).await?;
    Ok(Standing {
        overdue: row.get(0),
        in_doubt: row.get(1),
        unfinished: row.get(2),
        dead_letters: row.get(3),
    })
}

/// Workers whose lease ran out and whose work nobody has taken over.
///
/// # Errors
/// As the connection's.
pub async fn silent_workers(client: &Client) -> Result<Vec<SilentWorker>, StoreError> {
    const SQL: &str = "SELECT w.id, extract(epoch FROM now() - w.lease_until)::bigint, \
                       (SELECT count(*) FROM commands c WHERE c.owner = w.incarnation \
                       AND c.state = 'running') \
                       FROM workers w WHERE w.lease_until < now() ORDER BY w.id";
    let rows = limited(client.query(SQL, &[])).await?;
    Ok(rows
        .iter()
        .map(|row| SilentWorker {
            id: row.get(0),
            silent_seconds: row.get(1),
            running: row.get(2),
        })
        .collect())
}

/// The circuits that are open.
///
/// # Errors
/// As the connection's.
pub async fn open_circuits(client: &Client) -> Result<Vec<OpenCircuit>, StoreError> {
    const SQL: &str = "SELECT c.integration_id, i.name, i.platform_name, c.failures, c.open_until, \
                       (SELECT count(*) FROM (SELECT FROM commands w \
                       WHERE w.lane = c.integration_id \
                       AND w.due_at IS NOT NULL LIMIT 100000) w), \
                       c.paused_until, c.paused_by, COALESCE(c.open_until <= now(), false) \
                       FROM integration_circuits c JOIN integrations i ON i.id = c.integration_id \
                       WHERE c.open_until IS NOT NULL OR c.paused_until > now() ORDER BY i.name";
    let rows = limited(client.query(SQL, &[])).await?;
    Ok(rows
        .iter()
        .map(|row| OpenCircuit {
            integration_id: row.get(0),
            name: row.get(1),
            platform_name: row.get(2),
            failures: row.get(3),
            open_until: row.get(4),
            is_half_open: row.get(8),
            waiting: row.get(5),
            paused: row
                .get::<_, Option<DateTime<Utc>>>(6)
                .map(|until| (until, row.get::<_, Option<String>>(7).unwrap_or_default())),
        })
        .collect())
}

/// An integration whose state keeps it from its work, or soon will.
#[derive(Debug, Clone)]
pub struct Ailing {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its platform.
    pub platform_name: String,
    /// Its status.
    pub status: String,
    /// Since when its commands wait for its credential.
    pub parked_at: Option<DateTime<Utc>>,
    /// Whether the last check failed.
    pub is_unhealthy: bool,
    /// When that was.
    pub checked_at: Option<DateTime<Utc>>,
    /// When something last succeeded there.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// What the last check said went wrong.
    pub error: Option<String>,
    /// When its credentials expire, where that is within a week.
    pub expires_at: Option<DateTime<Utc>>,
    /// Commands that wait for it.
    pub waiting: i64,
}

/// Integrations whose state keeps them from their work: the worst of them, and how many there are.
#[derive(Debug, Clone, Default)]
pub struct AilingIntegrations {
    /// The worst first, at most as many as were asked for.
    pub worst: Vec<Ailing>,
    /// How many there are that fail: parked, in error, unhealthy or expired.
    pub failing: i64,
    /// How many others: about to expire, left inactive, or never active.
    pub others: i64,
}

/// The enabled integrations that take no work or soon will not: parked, in error, expired, about to
/// expire, or enabled but inactive (as the legacy application left many). What worked and fails
/// comes before what never worked.
///
/// # Errors
/// As the connection's.
pub async fn ailing_integrations(
    client: &Client,
    most: usize,
) -> Result<AilingIntegrations, StoreError> {
    const SQL: &str = "WITH ailing AS (SELECT i.id, i.name, i.platform_name, \
                       i.status::text AS status, i.parked_at, \
                       i.health_check_error, i.last_health_check_at, i.last_success_at, \
                       CASE WHEN i.expires_at < now() + interval '7 days' THEN i.expires_at END AS \
                       expires_at, \
                       COALESCE(i.health_check_status IN ('unhealthy', 'degraded'), \
                       false) AS unhealthy, \
                       CASE WHEN i.parked_at IS NOT NULL THEN 0 \
                       WHEN i.status = 'error' THEN 1 \
                       WHEN i.status = 'active' AND i.health_check_status IN ('unhealthy', \
                       'degraded') THEN 2 \
                       WHEN i.status = 'expired' OR i.expires_at <= now() THEN 3 \
                       WHEN i.status = 'pending' AND i.last_success_at IS NOT NULL THEN 4 \
                       WHEN i.status = 'active' THEN 5 \
                       WHEN i.status = 'pending' THEN 7 ELSE 6 END AS grade \
                       FROM integrations i WHERE i.enabled AND NOT i.is_deleted \
                       AND (i.parked_at IS NOT NULL \
                       OR i.health_check_status IN ('unhealthy', 'degraded') \
                       OR i.status IN ('error', 'expired', 'inactive', 'suspended') \
                       OR i.expires_at < now() + interval '7 days')), \
                       worst AS (SELECT * FROM ailing \
                       ORDER BY grade, parked_at NULLS LAST, name, id \
                       LIMIT $1) \
                       SELECT a.id, a.name, a.platform_name, a.status, a.parked_at, \
                       a.health_check_error, \
                       a.expires_at, \
                       (SELECT count(*) FROM (SELECT FROM commands w WHERE w.lane = a.id \
                       AND w.due_at IS NOT NULL LIMIT 100000) w), \
                       a.unhealthy, a.last_health_check_at, a.last_success_at, n.failing, n.others \
                       FROM worst a, (SELECT count(*) FILTER (WHERE grade < 4) AS failing, \
                       count(*) FILTER (WHERE grade >= 4) AS others \
                       FROM ailing) n ORDER BY a.grade, a.parked_at NULLS LAST, a.name, a.id";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = limited(client.query(SQL, &[&most])).await?;
    let Some(first) = rows.first() else {
        return Ok(AilingIntegrations::default());
    };
    Ok(AilingIntegrations {
        failing: first.get(11),
        others: first.get(12),
        worst: rows
            .iter()
            .map(|row| Ailing {
                id: row.get(0),
                name: row.get(1),
                platform_name: row.get(2),
                status: row.get(3),
                parked_at: row.get(4),
                error: row.get(5),
                expires_at: row.get(6),
                waiting: row.get(7),
                is_unhealthy: row.get(8),
                checked_at: row.get(9),
                succeeded_at: row.get(10),
            })
            .collect(),
    })
}
