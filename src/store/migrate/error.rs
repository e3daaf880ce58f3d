//! What can go wrong with a migration, and what to do then.

use tokio_postgres::error::SqlState;

use super::Refusal;

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
        "there is no version {0}; `ticketwire migrate status` lists them, 0 is the database as it was before"
    )]
    NoSuchVersion(i32),
    /// Something is in the way; nothing was changed.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// A migration failed; its transaction was rolled back, the versions before it stay.
    #[error("a migration failed and changed nothing, those before it stay: {0}{advice}", advice = advice(.0))]
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

const BUSY: &str = " (other sessions hold locks on the tables: pg_stat_activity and pg_locks show them; run it again)";

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
            | Self::Refused(_) => false,
        }
    }
}
