//! Schema migrations: refinery, under an advisory lock, each with a way back.
//!
//! The files are named one by one rather than embedded by refinery's macro, which walks `migrations/` recursively and
//! would take the scripts in `migrations/rollback/` for migrations.

use std::time::Duration;

use refinery::{Migration, Runner};
use tokio_postgres::Client;

use super::ticket_search::INDEXES;

/// A migration and the way back.
struct Step {
    version: i32,
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

macro_rules! step {
    ($version:literal, $name:literal) => {
        Step {
            version: $version,
            name: $name,
            up: include_str!(concat!("../../migrations/V", $version, "__", $name, ".sql")),
            down: include_str!(concat!(
                "../../migrations/rollback/V",
                $version,
                "__",
                $name,
                ".sql"
            )),
        }
    };
}

const STEPS: [Step; 4] = [
    step!(1, "legacy_shape"),
    step!(2, "integration_refactor"),
    step!(3, "ledger"),
    step!(5, "ticket_search"),
];

/// Concurrent runners wait for each other here: refinery itself takes no lock. They ask again and again instead of waiting
/// in the statement, which would hold a snapshot that the holder's concurrent index build waits for in turn.
const LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended('ticketwire migrate', 0))";
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const UNLOCK: &str = "SELECT pg_advisory_unlock(hashtextextended('ticketwire migrate', 0))";

/// What can go wrong with a migration.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The schema is older than this version needs.
    #[error(
        "the database schema is at version {found}, this program needs {needed}; run `ticketwire migrate up`"
    )]
    OlderSchema {
        /// Where the database is; 0 is nothing at all.
        found: i32,
        /// Where it must be.
        needed: i32,
    },
    /// The schema is newer than this version knows.
    #[error(
        "the database schema is at version {found}, this program knows only {known}; run a newer ticketwire, or take \
         the schema back with the newer one's `ticketwire migrate rollback --to {known}`"
    )]
    NewerSchema {
        /// Where the database is.
        found: i32,
        /// The latest this version knows.
        known: i32,
    },
    /// There is no such version to go back to.
    #[error(
        "there is no version {0}; `ticketwire migrate status` lists them, 0 is an empty database"
    )]
    NoSuchVersion(i32),
    /// A migration failed; its transaction was rolled back.
    #[error("a migration failed and changed nothing: {0}")]
    Refinery(#[from] refinery::Error),
    /// A statement failed; its transaction was rolled back.
    #[error("the database refused: {}", describe(.0))]
    Sql(#[from] tokio_postgres::Error),
}

fn describe(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |db| db.message().to_owned())
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Versions that were applied, with their names.
    pub applied: Vec<(i32, String)>,
    /// Versions that `up` would apply.
    pub pending: Vec<(i32, String)>,
}

/// The latest version this program knows.
#[must_use]
pub fn latest() -> i32 {
    STEPS.iter().map(|step| step.version).max().unwrap_or(0)
}

/// Applies what is pending, each version in its transaction. Returns their names. Safe to run concurrently.
///
/// # Errors
/// [`MigrateError::Refinery`] with the statement's fault.
pub async fn up(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    let migrations = STEPS
        .iter()
        .map(|step| Migration::unapplied(&format!("V{}__{}", step.version, step.name), step.up))
        .collect::<Result<Vec<_>, _>>()?;
    lock(client).await?;
    let result = apply(client, &migrations).await;
    client.batch_execute(UNLOCK).await?;
    Ok(result?
        .applied_migrations()
        .iter()
        .map(|applied| format!("V{}__{}", applied.version(), applied.name()))
        .collect())
}

async fn lock(client: &Client) -> Result<(), MigrateError> {
    while !client.query_one(LOCK, &[]).await?.get::<_, bool>(0) {
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(())
}

async fn apply(
    client: &mut Client,
    migrations: &[Migration],
) -> Result<refinery::Report, MigrateError> {
    let report = Runner::new(migrations).run_async(client).await?;
    build_indexes(client).await?;
    Ok(report)
}

/// Builds what is missing of the indexes that must not lock their table, each outside of a transaction. One that was
/// left invalid by a build that was broken off is dropped first.
async fn build_indexes(client: &Client) -> Result<(), MigrateError> {
    const VALID: &str = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1::text)";
    for (name, create) in INDEXES {
        let found = client.query_opt(VALID, &[name]).await?;
        match found.map(|row| row.get::<_, bool>(0)) {
            Some(true) => continue,
            Some(false) => {
                let drop_it = format!("DROP INDEX CONCURRENTLY {name}");
                client.batch_execute(&drop_it).await?;
            }
            None => {}
        }
        client.batch_execute(create).await?;
    }
    Ok(())
}

/// Applies what is pending in one transaction and rolls it back. Returns what would be applied.
///
/// # Errors
/// [`MigrateError::Sql`] with the statement's fault.
pub async fn dry_run(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    let pending = status(client).await?.pending;
    let transaction = client.transaction().await?;
    for (version, _) in &pending {
        if let Some(step) = STEPS.iter().find(|step| step.version == *version) {
            transaction.batch_execute(step.up).await?;
        }
    }
    transaction.rollback().await?;
    Ok(pending
        .into_iter()
        .map(|(version, name)| format!("V{version}__{name}"))
        .collect())
}

/// Where the database is.
///
/// # Errors
/// [`MigrateError::Sql`].
pub async fn status(client: &Client) -> Result<Status, MigrateError> {
    let history = client
        .query_one(
            "SELECT to_regclass('refinery_schema_history') IS NOT NULL",
            &[],
        )
        .await?;
    let mut applied = Vec::new();
    if history.get(0) {
        let sql = "SELECT version::int, name::text FROM refinery_schema_history ORDER BY version";
        let rows = client.query(sql, &[]).await?;
        applied = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    }
    let pending = STEPS
        .iter()
        .filter(|step| {
            !applied
                .iter()
                .any(|(version, _): &(i32, String)| *version == step.version)
        })
        .map(|step| (step.version, step.name.to_owned()))
        .collect();
    Ok(Status { applied, pending })
}

/// Takes the schema back to `to`, one transaction a version, newest first. Returns what was taken back, or would be.
///
/// # Errors
/// [`MigrateError::NoSuchVersion`], or [`MigrateError::Sql`]: that version and those below it stay.
pub async fn rollback(
    client: &mut Client,
    to: i32,
    dry_run: bool,
) -> Result<Vec<String>, MigrateError> {
    if to != 0 && !STEPS.iter().any(|step| step.version == to) {
        return Err(MigrateError::NoSuchVersion(to));
    }
    lock(client).await?;
    let result = roll_back(client, to, dry_run).await;
    client.batch_execute(UNLOCK).await?;
    result
}

async fn roll_back(
    client: &mut Client,
    to: i32,
    dry_run: bool,
) -> Result<Vec<String>, MigrateError> {
    let mut done = Vec::new();
    let applied = status(client).await?.applied;
    for (version, name) in applied
        .into_iter()
        .rev()
        .filter(|(version, _)| *version > to)
    {
        let step =
            STEPS
                .iter()
                .find(|step| step.version == version)
                .ok_or(MigrateError::NewerSchema {
                    found: version,
                    known: latest(),
                })?;
        if !dry_run {
            let transaction = client.transaction().await?;
            transaction.batch_execute(step.down).await?;
            transaction
                .execute(
                    "DELETE FROM refinery_schema_history WHERE version = $1",
                    &[&version],
                )
                .await?;
            transaction.commit().await?;
        }
        done.push(format!("V{version}__{name}"));
    }
    Ok(done)
}

/// Refuses a schema that is not exactly this version's.
///
/// # Errors
/// [`MigrateError::OlderSchema`], [`MigrateError::NewerSchema`].
pub async fn check_version(client: &Client) -> Result<(), MigrateError> {
    let status = status(client).await?;
    let found = status.applied.last().map_or(0, |(version, _)| *version);
    if found > latest() {
        return Err(MigrateError::NewerSchema {
            found,
            known: latest(),
        });
    }
    if !status.pending.is_empty() {
        return Err(MigrateError::OlderSchema {
            found,
            needed: latest(),
        });
    }
    Ok(())
}

/// What going back to `to` would lose: tables with rows in them.
///
/// # Errors
/// [`MigrateError::Sql`].
pub async fn holds_data(client: &Client, to: i32) -> Result<Vec<String>, MigrateError> {
    let mut tables = Vec::new();
    if to < 3 {
        tables.extend(["commands", "command_attempts", "dead_letters", "outbox"]);
    }
    if to < 1 {
        tables.extend(["tickets", "integrations", "users", "organizations"]);
    }
    let mut holds = Vec::new();
    for table in tables {
        let there = client
            .query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&table])
            .await?;
        if !there.get::<_, bool>(0) {
            continue;
        }
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = client.query_one(sql.as_str(), &[]).await?.get(0);
        if rows > 0 {
            holds.push(format!("{rows} rows of {table}"));
        }
    }
    Ok(holds)
}
