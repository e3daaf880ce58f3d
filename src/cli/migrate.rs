//! `ticketwire migrate`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, Cell};
use super::{Context, Failed, failed};
use crate::store::migrate::{self, Back, IndexState, MigrateError, MigrationReport, Status};
use crate::store::{StoreError, connect, create_database};

/// The database schema.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire migrate status                     what was found, what would run, what is in the way
  ticketwire migrate up --dry-run
  ticketwire migrate rollback --to 1            the legacy application's shape

`up` takes an empty database, one of the legacy application, also where that has refactored it
already, and one of ours at any version. Rolled back to 0, a database that was adopted is left as
it was, without anything of ours.")]
pub(super) struct Migrate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Apply what is pending
    Up {
        /// Apply it in a transaction that is rolled back
        #[arg(long)]
        dry_run: bool,
        /// Make the database first if it does not exist
        #[arg(long)]
        create: bool,
    },
    /// Where the database is, what would run, and what is in the way
    Status,
    /// Take the schema back
    Rollback {
        /// The version to go back to; 0 is the database as it was before
        #[arg(long, value_name = "VERSION")]
        to: i32,
        /// Take it back in a transaction that is rolled back
        #[arg(long)]
        dry_run: bool,
        /// Go on although rows would be lost
        #[arg(long)]
        accept_loss: bool,
    },
}

impl Migrate {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        if let Action::Up { create: true, .. } = self.action {
            create_database(&context.config.database.url)
                .await
                .map_err(failed)?;
        }
        let connected = connect(&context.config.database.url, "ticketwire migrate").await;
        let (mut client, _driver) = connected.map_err(|error| match error {
            StoreError::Sessionless => failed(error),
            other => Failed::Operation(format!(
                "{}; check database.url (or DATABASE_URL) and that the database exists",
                crate::store::chain(&other)
            )),
        })?;
        match self.action {
            Action::Up { dry_run: true, .. } => {
                let done = migrate::dry_run(&mut client).await;
                report(context, "would apply", "would build", done)
            }
            Action::Up { .. } => {
                let done = migrate::up(&mut client).await;
                report(context, "applied", "built", done)
            }
            Action::Status => show(context, &migrate::status(&client).await.map_err(failed)?),
            Action::Rollback {
                to,
                dry_run,
                accept_loss,
            } => {
                let back = Back {
                    to,
                    dry_run,
                    accept_loss,
                };
                let done = migrate::rollback(&mut client, back).await;
                let verb = if dry_run {
                    "would take back"
                } else {
                    "took back"
                };
                report(context, verb, "built", done)
            }
        }
    }
}

fn report(
    context: &Context,
    verb: &str,
    built: &str,
    done: Result<MigrationReport, MigrateError>,
) -> Result<(), Failed> {
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            if let (true, MigrateError::Refused(refusal)) = (context.json, &error) {
                output::json(&json!(refusal))?;
            }
            return Err(failed(error));
        }
    };
    if context.json {
        return Ok(output::json(&json!({
            "action": verb, "found": done.found, "migrations": done.migrations,
            "indexes": done.indexes,
            "notes": done.notes,
        }))?);
    }
    output::line(&format!("found {}", done.found))?;
    for note in &done.notes {
        output::line(&format!("note: {note}"))?;
    }
    if done.migrations.is_empty() && done.indexes.is_empty() {
        return Ok(output::line(
            "nothing to do: the schema is where it should be",
        )?);
    }
    for step in &done.migrations {
        output::line(&format!("{verb} {step}"))?;
    }
    for index in &done.indexes {
        output::line(&format!("{built} the index {index}"))?;
    }
    Ok(())
}

fn show(context: &Context, status: &Status) -> Result<(), Failed> {
    if context.json {
        let steps = |steps: &[(i32, String)]| -> Vec<Value> {
            let step =
                |(version, name): &(i32, String)| json!({ "version": version, "name": name });
            steps.iter().map(step).collect()
        };
        let indexes: Vec<Value> = status
            .indexes
            .iter()
            .map(|(name, state)| json!({ "name": name, "state": state }))
            .collect();
        return Ok(output::json(&json!({
            "found": status.found, "applied": steps(&status.applied),
            "pending": steps(&status.pending),
            "blocked": !status.findings.is_empty(), "findings": status.findings,
            "notes": status.notes,
            "indexes": indexes,
        }))?);
    }
    output::line(&format!("found {}", status.found))?;
    for note in &status.notes {
        output::line(&format!("note: {note}"))?;
    }
    let row = |state: &str, (version, name): &(i32, String)| {
        vec![Cell::word(version), name.clone().into(), Cell::state(state)]
    };
    let mut rows: Vec<Vec<Cell>> = status
        .applied
        .iter()
        .map(|step| row("applied", step))
        .collect();
    rows.extend(status.pending.iter().map(|step| row("pending", step)));
    rows.extend(status.indexes.iter().map(|(name, state)| {
        let state = match state {
            IndexState::Valid => "valid",
            IndexState::Invalid => "invalid: `migrate up` builds it anew",
            IndexState::Missing => "missing: `migrate up` builds it",
        };
        vec![
            Cell::word("index"),
            Cell::from((*name).to_owned()),
            Cell::state(state),
        ]
    }));
    output::table(&context.layout, &["VERSION", "NAME", "STATE"], &rows)?;
    for finding in &status.findings {
        output::line(&format!("in the way: {finding}"))?;
    }
    Ok(())
}
