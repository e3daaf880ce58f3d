//! Indexes on tables that grow: which there are, and how they are built. That is done concurrently,
//! after the migrations, as a migration's transaction would lock their table for as long as it
//! takes.

use tokio_postgres::{Client, GenericClient};

/// An index and the version whose columns it needs.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    /// Built after this version, dropped when that is taken back.
    pub version: i32,
    /// Its name.
    pub name: &'static str,
    /// `CREATE INDEX CONCURRENTLY IF NOT EXISTS <name> …`
    pub sql: &'static str,
}

/// The version that replaces nine legacy indexes by sparse ones (`migrate::sparse`).
pub(super) const SPARSE_VERSION: i32 = 6;

/// What is searched of a ticket's text: the words that the worker has split where they are plain,
/// else PostgreSQL's (see [`super::words`]). Splitting costs 0.1 µs a character at every write of a
/// ticket, so the description counts up to here; and `to_tsvector` refuses what makes a megabyte of
/// words, which would be an insert refused. The organization is one more word, so that a small
/// tenant's common words cost what the tenant has, not what all have.
macro_rules! words {
    () => {
        "COALESCE(words, array_to_tsvector(ARRAY[organization_id::text]) \
         || to_tsvector('simple'::regconfig, title || ' ' || left(description, 1000)))"
    };
}
pub(super) use words;

/// The index of an order, which carries every filter behind its key: PostgreSQL checks such a
/// condition inside the index and visits the table for tickets that match and for no others,
/// however rare they are.
const CREATED_INDEX: Index = Index {
    version: 4,
    name: "tickets_search_created",
    sql: "CREATE INDEX CONCURRENTLY IF NOT EXISTS tickets_search_created \
          ON tickets (organization_id, created_at, id, \
          status, priority, urgency, category, integration_id, department, updated_at) \
          WHERE NOT is_deleted",
};

/// The same of the other order.
const UPDATED_INDEX: Index = Index {
    version: 4,
    name: "tickets_search_updated",
    sql: "CREATE INDEX CONCURRENTLY IF NOT EXISTS tickets_search_updated \
          ON tickets (organization_id, updated_at, id, \
          status, priority, urgency, category, integration_id, department, created_at) \
          WHERE NOT is_deleted",
};

/// The words of title and description.
const WORDS_INDEX: Index = Index {
    version: 5,
    name: "tickets_search_words",
    sql: concat!(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS tickets_search_words ON tickets USING gin ((",
        words!(),
        ")) WHERE NOT is_deleted"
    ),
};

/// What an earlier version built, dropped once its successor is there.
pub(super) const RETIRED_INDEXES: &[&str] = &["tickets_search_text"];

/// A legacy index on a column that is empty in most tickets, without these.
macro_rules! sparse {
    ($suffix:literal, $column:literal, $condition:literal) => {
        Index {
            version: SPARSE_VERSION,
            name: concat!("ix_tickets_", $column, $suffix),
            sql: concat!(
                "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_tickets_",
                $column,
                $suffix,
                " ON tickets (",
                $column,
                ") WHERE ",
                $condition
            ),
        }
    };
}

macro_rules! all {
    ($(($column:literal, $condition:literal),)+) => {
        /// All of them.
        pub const INDEXES: &[Index] = &[
            CREATED_INDEX,
            UPDATED_INDEX,
            WORDS_INDEX,
            $(sparse!("", $column, $condition),)+
        ];

        /// The sparse ones, in the same order, under the names that they have until they take the
        /// legacy ones' place.
        pub(super) const SUCCESSORS: &[Index] = &[$(sparse!("_sparse", $column, $condition),)+];
    };
}

all! {
    ("assigned_to_id", "assigned_to_id IS NOT NULL"),
    ("closed_at", "closed_at IS NOT NULL"),
    ("created_by_id", "created_by_id IS NOT NULL"),
    ("deleted_at", "deleted_at IS NOT NULL"),
    ("department", "department IS NOT NULL"),
    ("first_response_at", "first_response_at IS NOT NULL"),
    ("is_deleted", "is_deleted"),
    ("resolved_at", "resolved_at IS NOT NULL"),
    ("sla_due_date", "sla_due_date IS NOT NULL"),
}

/// How an index stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexState {
    /// Ready for use.
    Valid,
    /// What an interrupted build left: it costs writes and serves no query.
    Invalid,
    /// Not there.
    Missing,
}

/// How each of these indexes stands.
///
/// # Errors
/// As the connection's.
pub async fn index_states(
    client: &Client,
    indexes: &[Index],
) -> Result<Vec<(&'static str, IndexState)>, tokio_postgres::Error> {
    const SQL: &str = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)";
    let mut states = Vec::with_capacity(indexes.len());
    for index in indexes {
        let row = client.query_opt(SQL, &[&index.name]).await?;
        let state = match row.map(|row| row.get::<_, bool>(0)) {
            Some(true) => IndexState::Valid,
            Some(false) => IndexState::Invalid,
            None => IndexState::Missing,
        };
        states.push((index.name, state));
    }
    Ok(states)
}

/// Builds those that are missing, what an interrupted build left first dropped. Returns their
/// names. Neither readers nor writers wait for it; it waits for the transactions that were open
/// when it began.
///
/// # Errors
/// As the connection's: what was built stays, and a second call goes on.
pub async fn build_indexes(
    client: &Client,
    indexes: &[Index],
) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut built = Vec::new();
    for (index, (name, state)) in indexes.iter().zip(index_states(client, indexes).await?) {
        if state == IndexState::Invalid {
            let drop_it = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
            client.batch_execute(&drop_it).await?;
        }
        if state != IndexState::Valid {
            client.batch_execute(index.sql).await?;
            built.push(name.to_owned());
        }
    }
    Ok(built)
}

/// Drops those that were built after a version, in the transaction that takes it back.
pub(super) async fn drop_indexes(
    client: &impl GenericClient,
    indexes: &[Index],
    version: i32,
) -> Result<(), tokio_postgres::Error> {
    for index in indexes.iter().filter(|index| index.version == version) {
        let drop_it = format!("DROP INDEX IF EXISTS {}", index.name);
        client.batch_execute(&drop_it).await?;
    }
    Ok(())
}
