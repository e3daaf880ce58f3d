//! What can go wrong with Postgres, by what the caller does about it.

use std::time::Duration;

use tokio_postgres::error::SqlState;

/// A failed statement or transaction.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection within the time allowed, or it broke. A commit sent over it is in doubt.
    #[error("PostgreSQL is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A statement did not answer in time. What it did is in doubt.
    #[error("PostgreSQL did not answer within {0:?}")]
    Timeout(Duration),
    /// Deadlock, serialisation failure or a lost race for a ticket's turn: the same again will do.
    #[error("a transaction has to be repeated")]
    Contention(#[source] tokio_postgres::Error),
    /// The data of a statement is at fault: it breaks a type, a constraint or a limit, and will again.
    #[error("PostgreSQL refused a statement's data")]
    Refused(#[source] tokio_postgres::Error),
    /// The database is there but does not serve this statement at present: a right, a table, the password or the
    /// database itself is missing, or a lock was not to be had. No command is to blame, and somebody may mend it.
    #[error("PostgreSQL does not serve this{advice}", advice = remedy(.0))]
    Unserved(#[source] tokio_postgres::Error),
}

impl StoreError {
    /// Whether the data is at fault, so that the same batch will fail again and must be split.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Unavailable(_) | Self::Timeout(_) | Self::Contention(_) | Self::Unserved(_) => {
                false
            }
        }
    }

    /// Whether waiting alone will not help a program that starts: somebody has to change something first.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unserved(_) => true,
            Self::Unavailable(_) | Self::Timeout(_) | Self::Contention(_) => false,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            return Self::Unavailable(Box::new(error));
        };
        let class = &state.code()[..2.min(state.code().len())];
        if matches!(class, "08" | "57" | "53") || *state == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::Unavailable(Box::new(error));
        }
        let lost_turn = *state == SqlState::UNIQUE_VIOLATION
            && error
                .as_db_error()
                .and_then(tokio_postgres::error::DbError::constraint)
                == Some("commands_turn");
        if lost_turn
            || matches!(
                *state,
                SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED
            )
        {
            return Self::Contention(error);
        }
        // Cardinality, data exception, integrity constraint, view's check option, limit exceeded, a trigger's RAISE
        // (PostgreSQL, appendix A). Anything else would fail for other data just the same.
        if matches!(class, "21" | "22" | "23" | "44" | "54" | "P0") {
            return Self::Refused(error);
        }
        Self::Unserved(error)
    }
}

/// What a person can do about a statement that is not served.
fn remedy(error: &tokio_postgres::Error) -> &'static str {
    let Some(state) = error.code() else { return "" };
    match state.code() {
        "3D000" => {
            " (make the database with `ticketwire migrate up --create`, or mend database.url)"
        }
        "28000" | "28P01" => " (mend user and password in database.url, DATABASE_URL)",
        "42501" => " (grant the role of database.url its rights on the tables)",
        "42P01" | "42703" | "42704" | "42883" => {
            " (`ticketwire migrate status` says what the schema lacks)"
        }
        "55P03" => " (another session holds a lock: see pg_stat_activity and pg_locks)",
        _ => "",
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => Self::from(error),
            other @ (deadpool_postgres::PoolError::Timeout(_)
            | deadpool_postgres::PoolError::Closed
            | deadpool_postgres::PoolError::NoRuntimeSpecified
            | deadpool_postgres::PoolError::PostCreateHook(_)) => {
                Self::Unavailable(Box::new(other))
            }
        }
    }
}

/// The whole chain of causes on one line, for the one place that logs.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}
