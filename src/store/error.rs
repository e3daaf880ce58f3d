//! What can go wrong with Postgres, by what the caller does about it.

use std::time::Duration;

use deadpool_postgres::HookError;
use tokio_postgres::error::SqlState;

use crate::reach::Outage;

/// A failed statement or transaction.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection within the time allowed, or it broke. A commit sent over it is in doubt.
    #[error("PostgreSQL is not reachable{why}", why = why(.0.as_ref()))]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A statement did not answer in time. What it did is in doubt.
    #[error("PostgreSQL did not answer within {0:?}")]
    Timeout(Duration),
    /// The login was taken, and then nothing was answered.
    #[error(
        "PostgreSQL took the login and answered no statement within {0:?} (a pooler in front of \
         it may have no connection left: PgBouncer's default_pool_size, max_db_connections)"
    )]
    NoPlace(Duration),
    /// What answers is a pooler that hands connections out by transaction or by statement.
    #[error("{SESSIONLESS}")]
    Sessionless,
    /// It answers, and takes no writes.
    #[error(
        "PostgreSQL takes no writes (it is a standby, or default_transaction_read_only is on): \
         name the primary in database.url (DATABASE_URL), or turn that off"
    )]
    ReadOnly,
    /// Deadlock, serialisation failure or a lost race for a ticket's turn: the same again will do.
    #[error("a transaction has to be repeated")]
    Contention(#[source] tokio_postgres::Error),
    /// The data of a statement is at fault: it breaks a type, a constraint or a limit, and will
    /// again.
    #[error("PostgreSQL refused a statement's data")]
    Refused(#[source] tokio_postgres::Error),
    /// The database is there but does not serve this statement at present: a right, a table, the
    /// password or the database itself is missing, or a lock was not to be had. No command is to
    /// blame, and somebody may mend it.
    #[error("PostgreSQL does not serve this{advice}", advice = remedy(.0))]
    Unserved(#[source] tokio_postgres::Error),
}

/// How such a pooler is told, and what to do about it.
pub(super) const SESSIONLESS: &str = "database.url (DATABASE_URL) leads to a pooler that does \
                                      not keep sessions (PgBouncer: pool_mode = transaction or \
                                      statement), and the worker needs them: set pool_mode = \
                                      session for this database, or name the address of \
                                      PostgreSQL itself";

/// What PgBouncer says of a start-up parameter that it does not pass on.
const UNSUPPORTED_PARAMETER: &str = "unsupported startup parameter";
/// What PgBouncer says of a login that will fail again, under a code that says nothing (before
/// 1.20, 08P01 for all).
const LOGIN_REFUSED: [&str; 5] = [
    "no such database",
    "bouncer config error",
    "no such user",
    "password authentication failed",
    "SASL authentication failed",
];
/// What only a pooler without sessions can answer.
const NO_TRANSACTIONS: &str = "transaction blocks not allowed in statement pooling mode";

impl StoreError {
    /// Whether the data is at fault, so that the same batch will fail again and must be split.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Unavailable(_)
            | Self::Timeout(_)
            | Self::NoPlace(_)
            | Self::Sessionless
            | Self::ReadOnly
            | Self::Contention(_)
            | Self::Unserved(_) => false,
        }
    }

    /// What happened, without what to do about it.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Unavailable(error) => chain(error.as_ref()),
            Self::Timeout(_)
            | Self::NoPlace(_)
            | Self::Sessionless
            | Self::ReadOnly
            | Self::Contention(_)
            | Self::Refused(_)
            | Self::Unserved(_) => chain(self),
        }
    }

    /// The same where a session was set up: there are no data that could be at fault, but what the
    /// URL sets.
    pub(super) fn of_a_session(self) -> Self {
        match self {
            Self::Refused(error) => Self::Unserved(error),
            other => other,
        }
    }

    /// Why there is no connection, where that is known.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        match self {
            Self::Unavailable(error) => Outage::of(error.as_ref()),
            Self::Timeout(_) => Some(Outage::Silent),
            Self::NoPlace(_)
            | Self::Sessionless
            | Self::ReadOnly
            | Self::Contention(_)
            | Self::Refused(_)
            | Self::Unserved(_) => None,
        }
    }

    /// Whether waiting alone will not help a program that starts: somebody has to change something
    /// first.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unserved(_) | Self::Sessionless => true,
            Self::Unavailable(_)
            | Self::Timeout(_)
            | Self::NoPlace(_)
            | Self::ReadOnly
            | Self::Contention(_) => false,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            return Self::Unavailable(Box::new(error));
        };
        let class = &state.code()[..2.min(state.code().len())];
        let message = error.as_db_error().map_or("", |db| db.message());
        if class == "08" {
            if message.contains(NO_TRANSACTIONS) {
                return Self::Sessionless;
            }
            if message.contains(UNSUPPORTED_PARAMETER)
                || LOGIN_REFUSED.iter().any(|text| message.contains(text))
            {
                return Self::Unserved(error);
            }
        }
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
        // Cardinality, data exception, integrity constraint, view's check option, limit exceeded, a
        // trigger's RAISE (PostgreSQL, appendix A). Anything else would fail for other data just
        // the same.
        if matches!(class, "21" | "22" | "23" | "44" | "54" | "P0") {
            return Self::Refused(error);
        }
        Self::Unserved(error)
    }
}

/// Why there is no connection, and what a person can do about it.
fn why(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    Outage::of(error).map_or_else(String::new, |outage| {
        format!(
            " ({}: {}; database.url, DATABASE_URL)",
            outage.says(),
            outage.remedy()
        )
    })
}

/// What a person can do about a statement that is not served.
fn remedy(error: &tokio_postgres::Error) -> &'static str {
    let Some(state) = error.code() else { return "" };
    let message = error.as_db_error().map_or("", |db| db.message());
    if message.contains(UNSUPPORTED_PARAMETER) {
        return " (write what the options in database.url set as `-c name=value`, which is set \
                after connecting, or add the parameter to PgBouncer's \
                ignore_startup_parameters)";
    }
    if message.contains("configuration parameter")
        || message.contains("value for parameter")
        || message.contains("set parameter")
        || message.contains("parameter \"") && message.contains("cannot be")
    {
        return " (mend the options in database.url, DATABASE_URL)";
    }
    if message.contains(LOGIN_REFUSED[0]) {
        return " (PgBouncer's [databases] does not name it: add it, or mend database.url, \
                DATABASE_URL)";
    }
    if message.contains(LOGIN_REFUSED[1]) {
        return " (PgBouncer's log says what is wrong in its configuration)";
    }
    if LOGIN_REFUSED.iter().any(|text| message.contains(text)) {
        return " (mend user and password in database.url, DATABASE_URL; a pooler knows users by \
                its auth_file)";
    }
    match state.code() {
        "3D000" => {
            " (make the database with `ticketwire migrate up --create`, or mend database.url)"
        }
        "26000" | "42P05" => {
            " (is a pooler in between that does not keep sessions? PgBouncer: set pool_mode = \
             session)"
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
            deadpool_postgres::PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::from(error).of_a_session()
            }
            deadpool_postgres::PoolError::PostCreateHook(HookError::Message(text))
                if text == SESSIONLESS =>
            {
                Self::Sessionless
            }
            deadpool_postgres::PoolError::PostCreateHook(HookError::Message(text)) => {
                Self::Unavailable(text.into())
            }
            other @ (deadpool_postgres::PoolError::Timeout(_)
            | deadpool_postgres::PoolError::Closed
            | deadpool_postgres::PoolError::NoRuntimeSpecified) => {
                Self::Unavailable(Box::new(other))
            }
        }
    }
}

/// The other way: what preparing a pool's connection failed with, as the pool carries it.
impl From<StoreError> for HookError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Contention(error)
            | StoreError::Refused(error)
            | StoreError::Unserved(error) => Self::Backend(error),
            StoreError::Unavailable(error) => match error.downcast::<tokio_postgres::Error>() {
                Ok(error) => Self::Backend(*error),
                Err(other) => Self::message(other.to_string()),
            },
            StoreError::Sessionless => Self::message(SESSIONLESS),
            StoreError::Timeout(_) | StoreError::NoPlace(_) | StoreError::ReadOnly => {
                Self::message(error.to_string())
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
