//! Nine of the legacy application's indexes on tickets, replaced by smaller ones under the same
//! names. V6 alone would drop them first, and whatever interrupts it then leaves a large table
//! without any. Here the successors are built beside them, under names of their own; V6 and the
//! change of names are one transaction, of moments.
//!
//! It may be interrupted anywhere: the old indexes serve until that transaction, `up` goes on with
//! what is built, and `rollback` takes it away.

use refinery::Migration;
use tokio_postgres::{Client, GenericClient};

use super::{LOCK_TIMEOUT, MigrateError, NO_LOCK_TIMEOUT, at_once, history_of, statements_of};
use crate::store::indexes::{INDEXES, SPARSE_VERSION, SUCCESSORS, build_indexes};

/// Builds the successors, then does V6's work and writes it into the history. All versions before
/// are applied.
pub(super) async fn replace(client: &Client, migration: &Migration) -> Result<(), MigrateError> {
    build_indexes(client, SUCCESSORS).await?;
    let names = INDEXES
        .iter()
        .filter(|index| index.version == SPARSE_VERSION);
    let rename: String = SUCCESSORS
        .iter()
        .zip(names)
        .map(|(successor, index)| {
            format!("ALTER INDEX {} RENAME TO {}; ", successor.name, index.name)
        })
        .collect();
    let all = format!(
        "{}; {rename}{}",
        statements_of(migration)?,
        history_of(migration)
    );
    client.batch_execute(LOCK_TIMEOUT).await?;
    at_once(client, &all).await?;
    client.batch_execute(NO_LOCK_TIMEOUT).await?;
    Ok(())
}

/// Whether an interrupted one left something.
pub(super) async fn is_begun(client: &impl GenericClient) -> Result<bool, tokio_postgres::Error> {
    let names: Vec<&str> = SUCCESSORS.iter().map(|index| index.name).collect();
    let sql = "SELECT EXISTS (SELECT FROM unnest($1::text[]) AS t(name) \
               WHERE to_regclass(name) IS NOT NULL)";
    Ok(client.query_one(sql, &[&names]).await?.get(0))
}

/// Takes away what an interrupted one added, in the caller's transaction.
pub(super) async fn undo(client: &impl GenericClient) -> Result<(), tokio_postgres::Error> {
    for index in SUCCESSORS {
        let drop_it = format!("DROP INDEX IF EXISTS {}", index.name);
        client.batch_execute(&drop_it).await?;
    }
    Ok(())
}
