//! What happened lately and what waits, for `ticketwire doctor`. The ledger may hold millions of
//! commands, and has no index on when they ended: each question is bounded in rows or in time, and
//! says what it looked at.

use chrono::{DateTime, Utc};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::holds::Lanes;
use super::{StoreError, limited};
use crate::domain::{Hold, WaitReason};

/// Of more rows than this, "over so many" is all that is said.
pub const ROWS_MAX: i64 = 100_000;

/// Commands that ended alike.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Where they went.
    pub integration_id: Option<Uuid>,
    /// Its name.
    pub name: Option<String>,
    /// Its platform.
    pub platform_name: Option<String>,
    /// What they failed with; `None`: they succeeded.
    pub code: Option<String>,
    /// How many within an hour.
    pub hour: i64,
    /// How many within a day.
    pub day: i64,
    /// When the last one ended.
    pub last_at: DateTime<Utc>,
    /// What that was told.
    pub message: Option<String>,
}

/// What ended lately.
#[derive(Debug, Clone)]
pub struct Lately {
    /// Of the commands that came in since when; narrower where there are too many for a short look.
    pub received_within: &'static str,
    /// By integration and code.
    pub ended: Vec<Ended>,
}

/// From the widest window to the narrowest. A command in doubt is a day old before it ends.
const WINDOWS: [&str; 3] = ["3 days", "6 hours", "10 minutes"];

/// What ended within a day, among the commands of the widest window that can be looked at in two
/// seconds. `None`: not even the narrowest can.
///
/// # Errors
/// As the connection's.
pub async fn lately(client: &Client) -> Result<Option<Lately>, StoreError> {
    const SQL: &str = "SELECT c.integration_id, min(i.name), min(i.platform_name), \
                       CASE WHEN c.state = 'failed' THEN COALESCE(c.error_code, \
                       'internal') END AS code, \
                       count(*) FILTER (WHERE c.finished_at > now() - interval '1 hour'), \
                       count(*), \
                       max(c.finished_at), \
                       max(to_char(c.finished_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS') || \
                       left(c.error, 4000)) \
                       FROM commands c LEFT JOIN integrations i ON i.id = c.integration_id \
                       WHERE c.received_at > now() - $1::text::interval \
                       AND c.finished_at > now() - interval '1 day' \
                       AND c.state IN ('succeeded', 'failed') GROUP BY c.integration_id, code \
                       ORDER BY 6 DESC LIMIT 1000";
    for received_within in WINDOWS {
        limited(client.batch_execute("SET statement_timeout = '2s'")).await?;
        let rows = match client.query(SQL, &[&received_within]).await {
            Ok(rows) => rows,
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => continue,
            Err(error) => return Err(error.into()),
        };
        let ended = rows
            .iter()
            .map(|row| Ended {
                integration_id: row.get(0),
                name: row.get(1),
                platform_name: row.get(2),
                code: row.get(3),
                hour: row.get(4),
                day: row.get(5),
                last_at: row.get(6),
                message: row.get::<_, Option<&str>>(7).and_then(message_of),
            })
            .collect();
        return Ok(Some(Lately {
            received_within,
            ended,
        }));
    }
    Ok(None)
}

/// The message in a stored error, behind the moment by which the last one was found (20 digits).
fn message_of(stamped: &str) -> Option<String> {
    let error = stamped.get(20..)?;
    let parsed: Option<serde_json::Value> = serde_json::from_str(error).ok();
    let message = parsed.as_ref().and_then(|error| error["message"].as_str());
    Some(message.unwrap_or(error).to_owned())
}

/// Commands that wait for the same.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Where they will go; `None` where that is not known yet.
    pub integration_id: Option<Uuid>,
    /// Its name.
    pub name: Option<String>,
    /// Its platform.
    pub platform_name: Option<String>,
    /// What they last met.
    pub code: Option<String>,
    /// What decided when they run next, as people read it.
    pub decided_by: Option<String>,
    /// The same, where it is known.
    pub wait_reason: Option<WaitReason>,
    /// How many.
    pub count: i64,
    /// Since when the oldest is here, in seconds.
    pub oldest_seconds: i64,
    /// When the next runs, by its own time.
    pub next_at: Option<DateTime<Utc>>,
    /// What that really waits for, where it is something else.
    pub held: Option<Hold>,
}

/// What is unfinished, by what it waits for, the most first. Looks at [`ROWS_MAX`] rows at most.
///
/// # Errors
/// As the connection's.
pub async fn waiting(client: &Client) -> Result<Vec<Waiting>, StoreError> {
    const SQL: &str = "SELECT NULLIF(w.lane, '00000000-0000-0000-0000-000000000000'), \
                       min(i.name), min(i.platform_name), \
                       w.error_code, w.wait_reason, count(*), extract(epoch \
                       FROM now() - min(w.received_at))::bigint, min(w.due_at), \
                       w.wait_detail, w.doubtful \
                       FROM (SELECT lane, error_code, wait_reason, wait_detail, received_at, \
                       due_at, \
                       doubt_since IS NOT NULL AS doubtful \
                       FROM commands WHERE due_at IS NOT NULL LIMIT $1) w LEFT \
                       JOIN integrations i ON i.id = w.lane \
                       GROUP BY w.lane, w.error_code, w.wait_reason, w.wait_detail, w.doubtful \
                       ORDER BY 6 DESC LIMIT 50";
    let rows = limited(client.query(SQL, &[&(ROWS_MAX + 1)])).await?;
    let in_lane: Vec<Uuid> = rows.iter().filter_map(|row| row.get(0)).collect();
    let lanes = Lanes::read(client, &in_lane).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (lane, next_at): (Option<Uuid>, Option<DateTime<Utc>>) = (row.get(0), row.get(7));
            Waiting {
                integration_id: lane,
                name: row.get(1),
                platform_name: row.get(2),
                code: row.get(3),
                decided_by: super::queries::decided_by(row.get(4), row.get(8)),
                wait_reason: row.get::<_, Option<&str>>(4).and_then(WaitReason::parse),
                count: row.get(5),
                oldest_seconds: row.get(6),
                next_at,
                held: next_at.and_then(|due| lanes.hold(lane.unwrap_or_default(), due, row.get(9))),
            }
        })
        .collect())
}

/// A worker, as its row says.
#[derive(Debug, Clone)]
pub struct WorkerRow {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// How long it has run, in seconds.
    pub up_seconds: i64,
    /// What is left of its lease, in seconds; less than nothing where it ran out.
    pub lease_seconds: i64,
}

/// Everybody who is registered.
///
/// # Errors
/// As the connection's.
pub async fn workers(client: &Client) -> Result<Vec<WorkerRow>, StoreError> {
    const SQL: &str = "SELECT id, version, extract(epoch FROM now() - started_at)::bigint, \
                       extract(epoch FROM lease_until - now())::bigint FROM workers \
                       ORDER BY id LIMIT 1000";
    let rows = limited(client.query(SQL, &[])).await?;
    Ok(rows
        .iter()
        .map(|row| WorkerRow {
            id: row.get(0),
            version: row.get(1),
            up_seconds: row.get(2),
            lease_seconds: row.get(3),
        })
        .collect())
}

/// Events that wait for one queue or exchange.
#[derive(Debug, Clone)]
pub struct Unsent {
    /// Empty for the events exchange, else the queue of whoever asked for an answer.
    pub target: String,
    /// How many.
    pub count: i64,
    /// How many of them failed to go out more than once: a try that a start or a stop cut short is
    /// no refusal.
    pub refused: i64,
    /// Since when the oldest waits, in seconds.
    pub oldest_seconds: i64,
}

/// Events that wait for over a minute or were refused, by where they go.
///
/// # Errors
/// As the connection's.
pub async fn unsent(client: &Client) -> Result<Vec<Unsent>, StoreError> {
    const SQL: &str = "SELECT target, count(*), count(*) FILTER (WHERE tries > 1), \
                       extract(epoch FROM now() - min(created_at))::bigint \
                       FROM (SELECT target, tries, created_at FROM unsent_events \
                       WHERE created_at < now() - interval '1 minute' \
                       OR tries > 1 LIMIT $1) u GROUP BY target ORDER BY 2 DESC LIMIT 20";
    let rows = limited(client.query(SQL, &[&(ROWS_MAX + 1)])).await?;
    Ok(rows
        .iter()
        .map(|row| Unsent {
            target: row.get(0),
            count: row.get(1),
            refused: row.get(2),
            oldest_seconds: row.get(3),
        })
        .collect())
}
