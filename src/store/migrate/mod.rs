//! Schema migrations: a database is recognised, examined, and only then changed; refinery does it,
//! under an advisory lock, and each version has a way back that names what it would lose.
//!
//! The files are named one by one rather than embedded by refinery's macro, which walks
//! `migrations/` recursively and would take the scripts in `migrations/rollback/` for migrations.

mod back;
mod checks;
mod error;
mod online;
mod recognise;
mod refusal;
mod shape;
mod sparse;

use std::time::Duration;

use chrono::Utc;
use refinery::{Migration, Runner, Target};
use tokio_postgres::Client;

pub use self::back::{Back, rollback};
use self::checks::Losses;
pub use self::error::MigrateError;
pub use self::recognise::Start;
pub use self::refusal::{Finding, Refusal};
pub use super::indexes::{INDEXES, Index, IndexState, build_indexes, index_states};
use super::indexes::{RETIRED_INDEXES, SPARSE_VERSION};

/// A migration and the way back.
struct Step {
    version: i32,
    name: &'static str,
    up: &'static str,
    down: &'static str,
    /// What going back would lose.
    losses: Losses,
}

macro_rules! step {
    ($version:literal, $name:literal, $losses:expr) => {
        Step {
            version: $version,
            name: $name,
            up: include_str!(concat!(
                "../../../migrations/V",
                $version,
                "__",
                $name,
                ".sql"
            )),
            down: include_str!(concat!(
                "../../../migrations/rollback/V",
                $version,
                "__",
                $name,
                ".sql"
            )),
            losses: $losses,
        }
    };
}

static STEPS: [Step; 12] = [
    step!(1, "legacy_shape", checks::LEGACY_SHAPE),
    step!(2, "integration_refactor", checks::REFACTOR),
    step!(3, "ledger", checks::LEDGER),
    step!(4, "integration_life", checks::INTEGRATION_LIFE),
    step!(5, "write_path", checks::WRITE_PATH),
    step!(6, "sparse_indexes", checks::SPARSE_INDEXES),
    step!(7, "row_types", checks::ROW_TYPES),
    step!(8, "shared_limits", checks::SHARED_LIMITS),
    step!(9, "field_words", checks::FIELD_WORDS),
    step!(10, "grants_and_sync", checks::GRANTS_AND_SYNC),
    step!(11, "inbound", checks::INBOUND),
    step!(12, "sync_seen", checks::SYNC_SEEN),
];

/// The version that adopts the legacy tables or makes them, and its text.
const ADOPTION: i32 = 1;
const LEGACY: &str = include_str!("../../../migrations/V1__legacy_shape.sql");
/// The version that turns `integration_type` into category and platform.
const REFACTOR: i32 = 2;

/// The version that makes the ledger.
const LEDGER: i32 = 3;
/// The version that renames columns under running workers.
const FIELD_WORDS: i32 = 9;

/// What refinery wrote of V6 while a comment of it was not ASCII: its statements are the same.
const FORMER_V6: &str = "UPDATE refinery_schema_history SET checksum = '13754046166576676517' \
                         WHERE version = 6 AND checksum = '9547204847140351593'";

/// refinery's own table, as refinery makes it: made before it, so that it can carry the mark.
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS refinery_schema_history(version INT4 PRIMARY \
                       KEY, \
                       name VARCHAR(255), applied_on VARCHAR(255), checksum VARCHAR(255))";

/// Concurrent runners wait for each other here, as refinery itself takes no lock. They ask again
/// and again: one that waited in a statement would be waited for by the index that the other builds
/// concurrently, and that is a deadlock.
const LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended('ticketwire migrate', 0))";
const UNLOCK: &str = "SELECT pg_advisory_unlock(hashtextextended('ticketwire migrate', 0))";
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A statement that waits for a table's lock holds up everybody who comes after it: it gives up
/// soon and tries again.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '2s'";
const NO_LOCK_TIMEOUT: &str = "SET lock_timeout = 0";
const TRIES: u32 = 15;
const TRY_PAUSE: Duration = Duration::from_secs(1);

/// Where a database is.
#[derive(Debug, Clone)]
pub struct Status {
    /// What it was recognised as.
    pub found: Start,
    /// Versions that were applied, with their names.
    pub applied: Vec<(i32, String)>,
    /// Versions that `up` would apply.
    pub pending: Vec<(i32, String)>,
    /// What is in the way of that.
    pub findings: Vec<Finding>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// The indexes that are built after the migrations.
    pub indexes: Vec<(&'static str, IndexState)>,
}

/// What was done, or would be.
#[derive(Debug, Clone)]
pub struct MigrationReport {
    /// What the database was recognised as.
    pub found: Start,
    /// The versions, in the order in which they were applied or taken back.
    pub migrations: Vec<String>,
    /// The indexes that were built.
    pub indexes: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// The latest version this program knows.
#[must_use]
pub fn latest() -> i32 {
    STEPS.iter().map(|step| step.version).max().unwrap_or(0)
}

/// Applies what is pending, each version in its transaction, and builds the indexes. Safe to run
/// concurrently.
///
/// # Errors
/// [`MigrateError::Refused`] before anything is changed; [`MigrateError::Refinery`] with the
/// statement's fault.
pub async fn up(client: &mut Client) -> Result<MigrationReport, MigrateError> {
    lock(client).await?;
    let result = go_up(client).await;
    release(client, result).await
}

async fn go_up(client: &mut Client) -> Result<MigrationReport, MigrateError> {
    let status = ready(client).await?;
    let migrations = STEPS
        .iter()
        .map(|step| Migration::unapplied(&format!("V{}__{}", step.version, step.name), step.up))
        .collect::<Result<Vec<_>, _>>()?;
    if status
        .pending
        .iter()
        .any(|(version, _)| *version == ADOPTION)
    {
        Origin::of(&status.found).write(client).await?;
    }
    if holds(&status.applied, SPARSE_VERSION) {
        client.batch_execute(FORMER_V6).await?;
    }
    let refactor = migrations
        .iter()
        .find(|migration| migration.version() == REFACTOR)
        .filter(|migration| holds(&status.pending, migration.version()));
    if let Some(refactor) = refactor
        && online::is_wanted(client).await?
    {
        run(client, &migrations, Target::Version(ADOPTION)).await?;
        online::refactor(client, refactor).await?;
    }
    let replacing = migrations
        .iter()
        .find(|migration| migration.version() == SPARSE_VERSION)
        .filter(|migration| holds(&status.pending, migration.version()));
    if let Some(replacing) = replacing {
        run(client, &migrations, Target::Version(SPARSE_VERSION - 1)).await?;
        sparse::replace(client, replacing).await?;
    }
    run(client, &migrations, Target::Latest).await?;
    let indexes = build_indexes(client, INDEXES).await?;
    for name in RETIRED_INDEXES {
        let drop_it = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
        client.batch_execute(&drop_it).await?;
    }
    Ok(MigrationReport {
        migrations: status.pending.iter().map(named).collect(),
        found: status.found,
        indexes,
        notes: status.notes,
    })
}

/// Runs the migrations; tries again while others hold the tables.
async fn run(
    client: &mut Client,
    migrations: &[Migration],
    target: Target,
) -> Result<(), MigrateError> {
    client.batch_execute(LOCK_TIMEOUT).await?;
    let runner = Runner::new(migrations).set_target(target);
    let mut attempt = 1;
    while let Err(error) = runner.run_async(client).await {
        let error = MigrateError::from(error);
        if !error.is_busy() || attempt >= TRIES {
            return Err(error);
        }
        attempt += 1;
        tracing::info!(attempt, "the tables are in use; trying again");
        tokio::time::sleep(TRY_PAUSE).await;
    }
    client.batch_execute(NO_LOCK_TIMEOUT).await?;
    Ok(())
}

/// Runs statements in one transaction; tries again while others hold the table.
async fn at_once(client: &Client, sql: &str) -> Result<(), MigrateError> {
    let mut attempt = 1;
    loop {
        let error = match client.batch_execute(&format!("BEGIN; {sql}; COMMIT")).await {
            Ok(()) => return Ok(()),
            Err(error) => MigrateError::from(error),
        };
        client.batch_execute("ROLLBACK").await?;
        if !error.is_busy() || attempt >= TRIES {
            return Err(error);
        }
        attempt += 1;
        tracing::info!(attempt, "the tables are in use; trying again");
        tokio::time::sleep(TRY_PAUSE).await;
    }
}

/// A migration's own statements: the program's own files, so that none is without.
fn statements_of(migration: &Migration) -> Result<&str, MigrateError> {
    let version = migration.version();
    migration.sql().ok_or(MigrateError::NoStatements(version))
}

/// The statement that writes a migration into refinery's history, as refinery would.
fn history_of(migration: &Migration) -> String {
    format!(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
         VALUES ({}, '{}', '{}', '{}')",
        migration.version(),
        migration.name(),
        Utc::now().to_rfc3339(),
        migration.checksum()
    )
}

/// Applies what is pending in one transaction and rolls it back. Returns what would be applied.
///
/// # Errors
/// [`MigrateError::Refused`], or [`MigrateError::Sql`] with the statement's fault.
pub async fn dry_run(client: &mut Client) -> Result<MigrationReport, MigrateError> {
    let status = ready(client).await?;
    let transaction = client.transaction().await?;
    transaction
        .batch_execute("SET LOCAL lock_timeout = '2s'")
        .await?;
    if holds(&status.pending, REFACTOR) && online::is_begun(&transaction).await? {
        online::undo(&transaction).await?;
    }
    for step in STEPS
        .iter()
        .filter(|step| holds(&status.pending, step.version))
    {
        transaction.batch_execute(step.up).await?;
    }
    transaction.rollback().await?;
    let to_build = status
        .indexes
        .iter()
        .filter(|(_, state)| *state != IndexState::Valid)
        .map(|(name, _)| (*name).to_owned());
    Ok(MigrationReport {
        migrations: status.pending.iter().map(named).collect(),
        indexes: to_build.collect(),
        found: status.found,
        notes: status.notes,
    })
}

/// Where the database is, if `up` may go on from there.
async fn ready(client: &Client) -> Result<Status, MigrateError> {
    may_change(client).await?;
    let status = status(client).await?;
    if let Some((found, _)) = status.applied.last().filter(|(found, _)| *found > latest()) {
        return Err(MigrateError::NewerSchema {
            found: *found,
            known: latest(),
        });
    }
    if status.findings.is_empty() {
        return Ok(status);
    }
    Err(MigrateError::Refused(Box::new(Refusal {
        refused: format!("found {}, which cannot be migrated as it is", status.found),
        findings: status.findings,
    })))
}

/// Refuses where the schema surely cannot be changed over this connection.
async fn may_change(client: &Client) -> Result<(), MigrateError> {
    const SQL: &str = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool, \
                       current_schema() IS NULL, current_setting('search_path'), \
                       current_setting('server_encoding')";
    let row = client.query_one(SQL, &[]).await?;
    if row.get(0) {
        return Err(MigrateError::Standby);
    }
    if row.get(1) {
        return Err(MigrateError::ReadOnly);
    }
    if row.get(2) {
        return Err(MigrateError::NoSchema(row.get(3)));
    }
    let encoding: String = row.get(4);
    if encoding != "UTF8" {
        return Err(MigrateError::Encoding(encoding));
    }
    Ok(())
}

fn named((version, name): &(i32, String)) -> String {
    format!("V{version}__{name}")
}

fn holds(versions: &[(i32, String)], version: i32) -> bool {
    versions.iter().any(|(held, _)| *held == version)
}

/// Where the database is, and what is in the way of `up`. Changes nothing.
///
/// # Errors
/// [`MigrateError::Sql`].
pub async fn status(client: &Client) -> Result<Status, MigrateError> {
    let applied = applied(client).await?;
    let mut inspection = recognise::inspect(client, &applied).await?;
    if let Some((found, _)) = applied.last().filter(|(found, _)| *found > latest()) {
        let newer = MigrateError::NewerSchema {
            found: *found,
            known: latest(),
        };
        inspection.notes.push(newer.to_string());
    }
    let pending = pending(&applied);
    if holds(&pending, FIELD_WORDS) && holds(&applied, LEDGER) {
        let workers = checks::running_workers(client).await?;
        inspection.findings.extend(workers);
    }
    Ok(Status {
        found: inspection.start,
        pending,
        applied,
        findings: inspection.findings,
        notes: inspection.notes,
        indexes: index_states(client, INDEXES).await?,
    })
}

async fn applied(client: &Client) -> Result<Vec<(i32, String)>, tokio_postgres::Error> {
    let there = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
    if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let sql = "SELECT version::int, name::text FROM refinery_schema_history ORDER BY version";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn pending(applied: &[(i32, String)]) -> Vec<(i32, String)> {
    STEPS
        .iter()
        .filter(|step| !holds(applied, step.version))
        .map(|step| (step.version, step.name.to_owned()))
        .collect()
}

/// A schema with our tables in it, out of sight.
const ELSEWHERE: &str = "SELECT n.nspname::text, current_setting('search_path') FROM pg_class c \
                         JOIN pg_namespace n ON n.oid = c.relnamespace \
                         WHERE c.relname = 'refinery_schema_history' \
                         AND EXISTS \
                         (SELECT FROM pg_class t WHERE t.relnamespace = n.oid \
                         AND t.relname = 'command_attempts') LIMIT 1";

/// Refuses a schema that is not exactly this version's.
///
/// # Errors
/// [`MigrateError::OlderSchema`], [`MigrateError::NewerSchema`], [`MigrateError::Elsewhere`].
pub async fn check_version(client: &Client) -> Result<(), MigrateError> {
    let applied = applied(client).await?;
    let found = applied.last().map_or(0, |(version, _)| *version);
    if found > latest() {
        return Err(MigrateError::NewerSchema {
            found,
            known: latest(),
        });
    }
    if applied.is_empty()
        && let Some(row) = client.query_opt(ELSEWHERE, &[]).await?
    {
        return Err(MigrateError::Elsewhere {
            schema: row.get(0),
            search_path: row.get(1),
        });
    }
    if !pending(&applied).is_empty() {
        return Err(MigrateError::OlderSchema {
            found,
            needed: latest(),
        });
    }
    Ok(())
}

/// Whose the tables were before V1, kept as the comment of refinery's table: it comes and goes with
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// V1 made them.
    Made,
    /// They were there in the legacy shape, or nobody wrote down in which.
    AdoptedLegacy,
    /// They were there, refactored by the legacy application's own migration.
    AdoptedRefactored,
}

impl Origin {
    const ALL: [Self; 3] = [Self::Made, Self::AdoptedLegacy, Self::AdoptedRefactored];

    const fn mark(self) -> &'static str {
        match self {
            Self::Made => "ticketwire: V1 made the tables",
            Self::AdoptedLegacy => "ticketwire: V1 adopted the tables at a1b2c3d4e5f6",
            Self::AdoptedRefactored => "ticketwire: V1 adopted the tables at b2c3d4e5f6g7",
        }
    }

    const fn of(start: &Start) -> Self {
        match start {
            Start::Empty | Start::Ours { .. } | Start::Unknown => Self::Made,
            Start::Legacy => Self::AdoptedLegacy,
            Start::Refactored { .. } => Self::AdoptedRefactored,
        }
    }

    async fn write(self, client: &mut Client) -> Result<(), tokio_postgres::Error> {
        let transaction = client.transaction().await?;
        transaction.batch_execute(HISTORY).await?;
        let comment = format!(
            "COMMENT ON TABLE refinery_schema_history IS '{}'",
            self.mark()
        );
        transaction.batch_execute(&comment).await?;
        transaction.commit().await
    }

    /// Where no mark was made yet, the legacy application's other tables tell.
    async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        const SQL: &str = "SELECT obj_description(to_regclass('refinery_schema_history'), \
                           'pg_class'), \
                           EXISTS (SELECT FROM unnest(ARRAY['alembic_version', 'agents', \
                           'files', 'messages', \
                           'threads']) AS t(name) \
                           WHERE to_regclass(name) IS NOT NULL)";
        let row = client.query_one(SQL, &[]).await?;
        let mark: Option<String> = row.get(0);
        let marked = Self::ALL
            .into_iter()
            .find(|origin| mark.as_deref() == Some(origin.mark()));
        Ok(match (marked, row.get::<_, bool>(1)) {
            (Some(origin), _) => origin,
            (None, true) => Self::AdoptedLegacy,
            (None, false) => Self::Made,
        })
    }
}

async fn lock(client: &Client) -> Result<(), tokio_postgres::Error> {
    while !client.query_one(LOCK, &[]).await?.get::<_, bool>(0) {
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(())
}

/// Gives the lock back, whatever came of it.
async fn release<T>(client: &Client, result: Result<T, MigrateError>) -> Result<T, MigrateError> {
    let unlock = format!("{NO_LOCK_TIMEOUT}; {UNLOCK}");
    let released = client.batch_execute(&unlock).await;
    let value = result?;
    released?;
    Ok(value)
}
