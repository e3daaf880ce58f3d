//! `ticketwire worker`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, Cell};
use super::{Context, Failed, failed};
use crate::store::{connect, recent};

/// The workers that share the ledger.
#[derive(Args)]
pub(super) struct Worker {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Those that are alive, and those whose lease ran out
    List,
}

impl Worker {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let Action::List = self.action;
        let (client, _driver) = connect(&context.config.database.url, "ticketwire worker")
            .await
            .map_err(failed)?;
        let workers = recent::workers(&client).await.map_err(failed)?;
        if context.json {
            let rows: Vec<Value> = workers
                .iter()
                .map(|worker| {
                    json!({
                        "id": worker.id, "version": worker.version,
                        "alive": worker.lease_seconds >= 0,
                        "up_seconds": worker.up_seconds, "lease_seconds": worker.lease_seconds,
                    })
                })
                .collect();
            return Ok(output::json(&rows.into())?);
        }
        let rows: Vec<Vec<Cell>> = workers
            .iter()
            .map(|worker| {
                let is_alive = worker.lease_seconds >= 0;
                vec![
                    Cell::from(worker.id.clone()),
                    Cell::state(if is_alive { "alive" } else { "silent" }),
                    Cell::word(&worker.version),
                    Cell::word(format!("{} s", worker.up_seconds)),
                    Cell::word(format!("{} s", worker.lease_seconds)),
                ]
            })
            .collect();
        Ok(output::table(
            &context.layout,
            &["ID", "STATE", "VERSION", "UP FOR", "LEASE LEFT"],
            &rows,
        )?)
    }
}
