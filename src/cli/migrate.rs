//! `ticketwire migrate`

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Failed, failed, output};
use crate::store::{connect, create_database, migrate};

/// The database schema.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ticketwire migrate up --dry-run\n  ticketwire migrate status --json"
)]
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
    /// Where the database is
    Status,
    /// Take the schema back
    Rollback {
        /// The version to go back to; 0 is an empty database
        #[arg(long, value_name = "VERSION")]
        to: i32,
        /// Say what would be taken back
        #[arg(long)]
        dry_run: bool,
        /// Go on although the tables taken away hold data
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
        let (mut client, _driver) = connected.map_err(|error| {
            let chain = crate::store::chain(&error);
            Failed::Operation(format!(
                "{chain}; check database.url (or DATABASE_URL) and that the database exists"
            ))
        })?;
        match self.action {
            Action::Up { dry_run, create: _ } => {
                let done = if dry_run {
                    migrate::dry_run(&mut client).await
                } else {
                    migrate::up(&mut client).await
                };
                report(
                    context,
                    if dry_run { "would apply" } else { "applied" },
                    &done.map_err(failed)?,
                )
            }
            Action::Status => {
                let status = migrate::status(&client).await.map_err(failed)?;
                if context.json {
                    let steps = |steps: &[(i32, String)]| -> Vec<serde_json::Value> {
                        let step = |(version, name): &(i32, String)| json!({ "version": version, "name": name });
                        steps.iter().map(step).collect()
                    };
                    return Ok(output::json(&json!({
                        "applied": steps(&status.applied), "pending": steps(&status.pending),
                    }))?);
                }
                let row = |state: &str, (version, name): &(i32, String)| {
                    vec![version.to_string(), name.clone(), state.to_owned()]
                };
                let mut rows: Vec<Vec<String>> = status
                    .applied
                    .iter()
                    .map(|step| row("applied", step))
                    .collect();
                rows.extend(status.pending.iter().map(|step| row("pending", step)));
                Ok(output::table(&["VERSION", "NAME", "STATE"], &rows)?)
            }
            Action::Rollback {
                to,
                dry_run,
                accept_loss,
            } => {
                if !dry_run && !accept_loss {
                    let holds = migrate::holds_data(&client, to).await.map_err(failed)?;
                    if !holds.is_empty() {
                        return Err(Failed::Operation(format!(
                            "going back to {to} would lose {}; --accept-loss goes on all the same",
                            holds.join(", ")
                        )));
                    }
                }
                let done = migrate::rollback(&mut client, to, dry_run)
                    .await
                    .map_err(failed)?;
                report(
                    context,
                    if dry_run {
                        "would take back"
                    } else {
                        "took back"
                    },
                    &done,
                )
            }
        }
    }
}

fn report(context: &Context, verb: &str, steps: &[String]) -> Result<(), Failed> {
    if context.json {
        return Ok(output::json(
            &json!({ "action": verb, "migrations": steps }),
        )?);
    }
    if steps.is_empty() {
        return Ok(output::line(
            "nothing to do: the schema is where it should be",
        )?);
    }
    for step in steps {
        output::line(&format!("{verb} {step}"))?;
    }
    Ok(())
}
