//! `ticketwire queue`, and what waits in the command queues

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, Cell};
use super::{Context, Failed, ask, failed};
use crate::broker::{self, BrokerError, Connection, Present, Topology};

/// RabbitMQ's queues and exchanges under amqp.prefix.
#[derive(Args)]
pub(super) struct Queue {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// What waits in each queue, and how many read it
    List,
    Remove(Remove),
}

/// Remove all of them from the broker
#[derive(Args)]
#[command(after_help = "\
What is there is shown first; on a terminal you are asked, elsewhere --yes is needed. It refuses
while anybody reads a queue, while commands or dead letters wait, and while queues of others are
bound to the exchange of events: a worker that starts makes ours again, but not their bindings.
The past events go, too; the ledger in the database stays. Exit status 1 where nothing is there.

Example:
  ticketwire queue remove --set amqp.prefix=ticketwire_tour --yes")]
struct Remove {
    /// Does not ask
    #[arg(long)]
    yes: bool,
    /// Also while they are in use: what waits in them is lost
    #[arg(long)]
    force: bool,
}

impl Queue {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let topology = context.topology();
        let connection = broker::connect(&context.config.amqp.url, "ticketwire tool")
            .await
            .map_err(failed)?;
        let found = broker::present(&connection, &topology)
            .await
            .map_err(failed)?;
        match self.action {
            Action::List if context.json => Ok(output::json(&as_json(&found).into())?),
            Action::List => show(context, &found),
            Action::Remove(remove) => remove.execute(context, &connection, &topology, found).await,
        }
    }
}

impl Remove {
    async fn execute(
        self,
        context: &Context,
        connection: &Connection,
        topology: &Topology,
        found: Present,
    ) -> Result<(), Failed> {
        let prefix = topology.prefix();
        if found.queues.is_empty() && found.exchanges.is_empty() {
            return Err(Failed::Operation(format!(
                "no queue or exchange under {prefix} (amqp.prefix) is at the broker"
            )));
        }
        if !context.json {
            show(context, &found)?;
        }
        self.refuse_used(topology, &found)?;
        if !self.yes {
            let question = format!("Remove all that is under {prefix}. with what is in it?");
            match ask::yes(context, &question)? {
                Some(true) => {}
                Some(false) => {
                    output::note("nothing was removed");
                    return Ok(());
                }
                None => {
                    let text = "nothing was removed: add --yes to remove it";
                    return Err(Failed::Usage(text.into()));
                }
            }
            // An answer takes its time.
            let now = broker::present(connection, topology).await;
            self.refuse_used(topology, &now.map_err(failed)?)?;
        }
        let unshared = self.force
            || broker::remove_unshared_events(connection, topology)
                .await
                .map_err(failed)?;
        if !unshared {
            return Err(Failed::Operation(format!(
                "queues of others are bound to the exchange {}, so nothing was removed\n→ unbind \
                 or delete them (`rabbitmqctl list_bindings` names them), or add --force",
                topology.events()
            )));
        }
        broker::remove_prefix(connection, topology)
            .await
            .map_err(failed)?;
        if context.json {
            let (queues, exchanges) = (as_json(&found), found.exchanges);
            let removed = json!({ "removed": true, "queues": queues, "exchanges": exchanges });
            return Ok(output::json(&removed)?);
        }
        output::note("removed");
        Ok(())
    }

    /// What is read, or holds what nobody has stored yet, is in use. The log of events holds
    /// copies.
    fn refuse_used(&self, topology: &Topology, found: &Present) -> Result<(), Failed> {
        if self.force {
            return Ok(());
        }
        let log = topology.events_log();
        let mut uses = Vec::new();
        for (queue, messages, consumers) in &found.queues {
            if *consumers > 0 {
                uses.push(format!("{consumers} read {queue}"));
            }
            if *messages > 0 && *queue != log {
                uses.push(format!("{messages} wait in {queue}"));
            }
        }
        if uses.is_empty() {
            return Ok(());
        }
        Err(Failed::Operation(format!(
            "in use, so nothing was removed: {}\n→ let the workers take what waits, then stop \
             them and what reads events; --force removes it all the same, and what waits is lost",
            uses.join(", ")
        )))
    }
}

fn show(context: &Context, found: &Present) -> Result<(), Failed> {
    let rows: Vec<Vec<Cell>> = found
        .queues
        .iter()
        .map(|(queue, messages, consumers)| {
            vec![
                Cell::word(queue),
                Cell::word(messages),
                Cell::word(consumers),
            ]
        })
        .collect();
    let heading = ["QUEUE", "READY", "CONSUMERS"];
    Ok(output::table(&context.layout, &heading, &rows)?)
}

fn as_json(found: &Present) -> Vec<Value> {
    let queues = found.queues.iter();
    queues
        .map(|(queue, ready, consumers)| {
            json!({ "queue": queue, "ready": ready, "consumers": consumers })
        })
        .collect()
}

/// Where a command may be that is not in the ledger: what the queues hold, and who reads them.
/// Nothing is declared for it.
pub(super) async fn elsewhere(context: &Context) -> String {
    match waiting(context).await {
        Err(error) => format!("whether it is queued is not known: {error}"),
        Ok(waiting) if waiting.is_empty() => format!(
            "nothing waits in the command queues under {} either",
            context.config.amqp.prefix
        ),
        Ok(waiting) => {
            let queues: Vec<String> = waiting.iter().map(told).collect();
            format!("it may still be queued: {}", queues.join("; "))
        }
    }
}

/// A queue with its ready messages and consumers.
type Waiting = (String, u32, u32);

fn told((queue, messages, consumers): &Waiting) -> String {
    match consumers {
        0 => format!(
            "nobody reads the queue {queue}, which holds {messages} (start a worker by \
             `ticketwire run`)"
        ),
        _ => format!("the queue {queue} holds {messages}, and a worker reads it"),
    }
}

/// The command queues that hold messages.
async fn waiting(context: &Context) -> Result<Vec<Waiting>, BrokerError> {
    let connection = broker::connect(&context.config.amqp.url, "ticketwire tool").await?;
    let mut found = Vec::new();
    for (queue, _) in context.topology().command_queues() {
        match broker::queue_depth(&connection, &queue).await? {
            Some((messages, consumers)) if messages > 0 => found.push((queue, messages, consumers)),
            Some(_) | None => {}
        }
    }
    Ok(found)
}
