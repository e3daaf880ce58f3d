//! What can go wrong with a migration, and what to do then.

use tokio_postgres::error::SqlState;

use super::Refusal;

/// What can go wrong with a migration.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The schema is older than this version needs.
    #[error(
        "the database schema is at version {found}, this program needs {needed}; run \
         `ticketwire migrate up`"
    )]
    OlderSchema {
        /// Where the database is; 0 is nothing at all.
        found: i32,
        /// Where it must be.
        needed: i32,
    },
    /// The schema is newer than this version knows.
    #[error(
        "the database schema is at version {found}, this program knows only {known}; run a \
         newer ticketwire, or take the schema back with the newer one's `ticketwire migrate \
         rollback --to {known}`"
    )]
    NewerSchema {
        /// Where the database is.
        found: i32,
        /// The latest this version knows.
        known: i32,
    },
    /// There is no such version to go back to.
    #[error(
        "there is no version {0}; `ticketwire migrate status` lists them, 0 is the database as \
         it was before"
    )]
    NoSuchVersion(i32),
    /// The tables are there, where this session does not look.
    #[error(
        "the tables are in the schema {schema:?}, and this session looks in {search_path:?}: add \
         `?options=-c%20search_path%3D{schema}` to database.url (DATABASE_URL), or \
         `ALTER ROLE … SET search_path = {schema}`"
    )]
    Elsewhere {
        /// Where they are.
        schema: String,
        /// Where is looked.
        search_path: String,
    },
    /// Tables would have no schema to be in.
    #[error(
        "no schema of the search path {0:?} exists, or the role may not use it, so no table can \
         be made; nothing was changed: `CREATE SCHEMA`, `GRANT USAGE, CREATE ON SCHEMA`, or \
         mend search_path"
    )]
    NoSchema(String),
    /// It is a replica.
    #[error(
        "database.url (DATABASE_URL) leads to a standby, which takes no writes; nothing was \
         changed: name the primary"
    )]
    Standby,
    /// Writing is turned off for the role, the database or the server.
    #[error(
        "default_transaction_read_only is on, for the role, the database or the server; nothing \
         was changed: `ALTER ROLE … RESET default_transaction_read_only` (or ALTER DATABASE, \
         ALTER SYSTEM), or add `?options=-c%20default_transaction_read_only%3Doff` to \
         database.url if it is meant for others"
    )]
    ReadOnly,
    /// It cannot hold every text.
    #[error(
        "the database's encoding is {0}, which cannot hold the texts of tickets; nothing was \
         changed: make one with `CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'` (move an \
         old one by pg_dump and psql) and name it in database.url (DATABASE_URL)"
    )]
    Encoding(String),
    /// This program has a migration without statements.
    #[error("migration {0} has no statements in this program, which is a bug; it was not applied")]
    NoStatements(i32),
    /// Something is in the way; nothing was changed.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// A migration failed; its transaction was rolled back, the versions before it stay.
    #[error("a migration failed and changed nothing, those before it stay: {0}{advice}",
        advice = advice(.0))]
    Refinery(#[from] refinery::Error),
    /// A statement failed; its transaction was rolled back.
    #[error("the database refused: {}", describe(.0))]
    Sql(#[from] tokio_postgres::Error),
}

fn describe(error: &tokio_postgres::Error) -> String {
    let text = error
        .as_db_error()
        .map_or_else(|| error.to_string(), |db| db.message().to_owned());
    if is_busy(error) {
        return text + BUSY;
    }
    text
}

const BUSY: &str = " (other sessions hold locks on the tables: pg_stat_activity and pg_locks \
                    show them; run it again)";

fn advice(error: &refinery::Error) -> &'static str {
    if cause(error).is_some_and(is_busy) {
        BUSY
    } else {
        ""
    }
}

fn cause(error: &refinery::Error) -> Option<&tokio_postgres::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Whether the same again may do: it waited too long for a lock, or two waited for each other.
fn is_busy(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(code)
    })
}

impl MigrateError {
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Refinery(error) => cause(error).is_some_and(is_busy),
            Self::Sql(error) => is_busy(error),
            Self::OlderSchema { .. }
            | Self::NewerSchema { .. }
            | Self::NoSuchVersion(_)
            | Self::Elsewhere { .. }
            | Self::NoSchema(_)
            | Self::Standby
            | Self::ReadOnly
            | Self::Encoding(_)
            | Self::NoStatements(_)
            | Self::Refused(_) => false,
        }
    }
}
