//! The way back: newest first, a transaction a version, refused where rows would be lost.

use tokio_postgres::{Client, Transaction};

use super::{
    ADOPTION, Finding, INDEXES, MigrateError, MigrationReport, Origin, REFACTOR, Refusal,
    SPARSE_VERSION, STEPS, Start, Step, TRIES, TRY_PAUSE, applied, checks, latest, lock,
    may_change, online, release, sparse,
};
use crate::store::indexes;

/// How to go back.
#[derive(Debug, Clone, Copy)]
pub struct Back {
    /// The version to go back to; 0 is the database as it was before.
    pub to: i32,
    /// Prove it in a transaction that is rolled back.
    pub dry_run: bool,
    /// Go on where rows would be lost.
    pub accept_loss: bool,
}

/// Takes the schema back, one transaction a version, newest first. Safe to run concurrently.
///
/// # Errors
/// [`MigrateError::NoSuchVersion`]; [`MigrateError::Refused`] with the rows that would be lost,
/// before anything is changed; [`MigrateError::Sql`]: that version and those below it stay.
pub async fn rollback(client: &mut Client, back: Back) -> Result<MigrationReport, MigrateError> {
    if back.to != 0 && !STEPS.iter().any(|step| step.version == back.to) {
        return Err(MigrateError::NoSuchVersion(back.to));
    }
    lock(client).await?;
    let result = go_back(client, back).await;
    release(client, result).await
}

/// One step of the way back.
struct Descent {
    step: &'static Step,
    /// Takes the version out of the history and leaves the tables as they are: they were adopted
    /// like that.
    leaves: bool,
}

async fn go_back(client: &mut Client, back: Back) -> Result<MigrationReport, MigrateError> {
    let applied = applied(client).await?;
    let version = applied.last().map_or(0, |(version, _)| *version);
    let origin = Origin::read(client).await?;
    let mut descents = Vec::new();
    for (version, _) in applied
        .iter()
        .rev()
        .filter(|(version, _)| *version > back.to)
    {
        let step = STEPS.iter().find(|step| step.version == *version).ok_or(
            MigrateError::NewerSchema {
                found: *version,
                known: latest(),
            },
        )?;
        let leaves = match step.version {
            ADOPTION => origin != Origin::Made,
            REFACTOR => origin == Origin::AdoptedRefactored && back.to == 0,
            _ => false,
        };
        descents.push(Descent { step, leaves });
    }
    may_change(client).await?;
    let replacing = back.to < SPARSE_VERSION && sparse::is_begun(client).await?;
    let begun = back.to < REFACTOR && online::is_begun(client).await?;
    let mut findings = Vec::new();
    for descent in descents.iter().filter(|descent| !descent.leaves) {
        for finding in checks::findings(client, &descent.step.losses).await? {
            // What several versions ask is told once.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    refuse(findings, back)?;

    let mut done = MigrationReport {
        found: Start::Ours { version },
        migrations: Vec::new(),
        indexes: Vec::new(),
        notes: Vec::new(),
    };
    if back.dry_run {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute("SET LOCAL lock_timeout = '2s'")
            .await?;
        for descent in &descents {
            descend(&transaction, descent, back).await?;
        }
        transaction.rollback().await?;
    }
    if begun && !back.dry_run {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute("SET LOCAL lock_timeout = '2s'")
            .await?;
        online::undo(&transaction).await?;
        transaction.commit().await?;
    }
    if replacing && !back.dry_run {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute("SET LOCAL lock_timeout = '2s'")
            .await?;
        sparse::undo(&transaction).await?;
        transaction.commit().await?;
    }
    if begun {
        done.notes
            .push("what an interrupted refactoring had added is gone".to_owned());
    }
    for descent in &descents {
        if !back.dry_run {
            take_back(client, descent, back).await?;
        }
        let step = descent.step;
        done.migrations
            .push(format!("V{}__{}", step.version, step.name));
        if descent.leaves {
            done.notes.push(format!(
                "V{} left the tables as they are: the database was adopted in this shape",
                step.version
            ));
        }
    }
    if back.to == ADOPTION && origin == Origin::AdoptedRefactored && version > ADOPTION {
        done.notes.push(
            "the database was adopted in the shape that the legacy application's own migration \
             made, and has now the one before it: its alembic_version must say a1b2c3d4e5f6 \
             before that application is started"
                .to_owned(),
        );
    }
    Ok(done)
}

/// Takes a version back in its transaction; tries again while others hold the tables.
async fn take_back(client: &mut Client, descent: &Descent, back: Back) -> Result<(), MigrateError> {
    let mut attempt = 1;
    loop {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute("SET LOCAL lock_timeout = '2s'")
            .await?;
        match descend(&transaction, descent, back).await {
            Ok(()) => return Ok(transaction.commit().await?),
            Err(error) if error.is_busy() && attempt < TRIES => {
                transaction.rollback().await?;
                attempt += 1;
                tracing::info!(attempt, "the tables are in use; trying again");
                tokio::time::sleep(TRY_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn descend(
    transaction: &Transaction<'_>,
    descent: &Descent,
    back: Back,
) -> Result<(), MigrateError> {
    let step = descent.step;
    if !descent.leaves {
        let there = "SELECT string_agg(quote_ident(name), ', ') FROM unnest($1::text[]) AS t(name) \
                     WHERE to_regclass(name) IS NOT NULL";
        let tables: Option<String> = transaction
            .query_one(there, &[&step.losses.guarded])
            .await?
            .get(0);
        if let Some(tables) = tables {
            let guard = format!("LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE");
            transaction.batch_execute(&guard).await?;
        }
        refuse(checks::findings(transaction, &step.losses).await?, back)?;
        indexes::drop_indexes(transaction, INDEXES, step.version).await?;
        transaction.batch_execute(step.down).await?;
    }
    let forget = "DELETE FROM refinery_schema_history WHERE version = $1";
    transaction.execute(forget, &[&step.version]).await?;
    if step.version == ADOPTION {
        transaction
            .batch_execute("DROP TABLE refinery_schema_history")
            .await?;
    }
    Ok(())
}

fn refuse(mut findings: Vec<Finding>, back: Back) -> Result<(), MigrateError> {
    if back.accept_loss {
        findings.retain(|finding| !finding.accept_loss);
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(MigrateError::Refused(Box::new(Refusal {
        refused: format!("going back to {} would lose data", back.to),
        findings,
    })))
}
