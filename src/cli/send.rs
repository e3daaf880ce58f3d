//! `ticketwire send`

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Context, Failed, command, failed, ids, output};
use crate::broker::{self, BrokerError, Connection, Topology};
use crate::contract::{Envelope, RawMessage, Replies};
use crate::domain::{CommandId, CommandType};
use crate::store::Named;

/// Publish a command.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire send ticket.create --organization $ORG --wait \\
    --data '{\"title\":\"It is down\",\"description\":\"…\",\"integration_id\":\"Jira\"}'
  ticketwire send ticket.comment --organization $ORG \\
    --data '{\"ticket_id\":\"9b2f1c1e\",\"body\":\"We are on it\"}'
  ticketwire send integration.create --organization $ORG --data @jira.json --wait --json")]
pub(super) struct Send {
    /// The command's type, e.g. ticket.create
    #[arg(value_name = "TYPE")]
    command_type: String,
    /// Its data: JSON, @file, or - for standard input. In it, `integration_id` may be a name of the
    /// tenant's, and it, `ticket_id` and `ticket_ids` the beginnings of ids
    #[arg(long, default_value = "{}")]
    data: String,
    /// The tenant
    #[arg(long, value_name = "UUID", env = "TICKETWIRE_ORGANIZATION")]
    organization: Uuid,
    /// The command's id, its idempotency key; default a new one
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// Wait for the result and print what was made (--json: the event); exit 0 if it succeeded
    #[arg(long)]
    wait: bool,
    /// Print the command's id alone
    #[arg(long, conflicts_with = "dry_run")]
    quiet: bool,
    /// How long --wait waits
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Validate, resolve, gate and show the request that would be sent; nothing is sent or changed
    #[arg(long)]
    dry_run: bool,
}

impl Send {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let text = read_data(&self.data)?;
        let mut data: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| Failed::Usage(format!("--data: must be a JSON object: {error}")))?;
        self.write_ids_out(context, &mut data).await?;
        let id = self.id.unwrap_or_else(Uuid::now_v7);
        let mut envelope = json!({
            "specversion": "1.0", "id": id, "source": "/ticketwire/cli", "type": self.command_type,
            "time": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            "organizationid": self.organization, "datacontenttype": "application/json",
            "data": data,
        });
        if self.dry_run {
            envelope["dryrun"] = true.into();
        }
        let body = envelope.to_string();
        let raw = RawMessage {
            routing_key: &self.command_type,
            body: body.as_bytes(),
            ..RawMessage::default()
        };
        let amqp = &context.config.amqp;
        // Answers come by direct reply-to, if at all.
        let replies = Replies {
            own_prefix: &amqp.prefix,
            allowed: &[],
        };
        // What the worker would reject is said here, before anything is published.
        if let Err(rejection) = Envelope::parse(&raw, amqp.max_message_bytes, &replies) {
            return Err(Failed::Usage(rejection.failure.message));
        }
        let topology = context.topology();
        let connection = broker::connect_tool(&context.config.amqp.url, &topology)
            .await
            .map_err(failed)?;
        if !(self.wait || self.dry_run) {
            broker::publish_one(&connection, &topology, &self.command_type, &body)
                .await
                .map_err(failed)?;
            return Ok(if context.json {
                output::json(&json!({ "command_id": id, "published": true }))
            } else if self.quiet {
                output::line(&id.to_string())
            } else {
                output::line(&format!("published {} {id}", self.command_type))
            }?);
        }
        self.look_for_worker(&connection, &topology).await?;
        let answer = broker::call(
            &connection,
            &topology,
            &self.command_type,
            &body,
            self.timeout,
        )
        .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(BrokerError::NoAnswer(waited)) => {
                if self.quiet && !context.json {
                    output::line(&id.to_string())?;
                }
                let waited = humantime::format_duration(waited);
                let known = self.known(context, &connection, &topology, id).await;
                let text = format!("no result within {waited}: {known}");
                return Err(Failed::Operation(text));
            }
            Err(error) => {
                let text = format!(
                    "{error}; if the command {id} went out: `ticketwire command show {id}`"
                );
                return Err(Failed::Operation(text));
            }
        };
        let event: Value = serde_json::from_str(&answer).map_err(failed)?;
        let has_succeeded = event["data"]["outcome"] == "succeeded";
        if context.json {
            output::json(&event)?;
        } else if self.quiet {
            output::line(&id.to_string())?;
        } else if has_succeeded {
            output::line(&news(&self.command_type, &event))?;
        }
        if has_succeeded {
            return Ok(());
        }
        let error = &event["data"]["error"];
        let message = error["message"].as_str().unwrap_or("it did not succeed");
        let code = error["code"].as_str().unwrap_or_default();
        Err(Failed::Operation(if context.json {
            message.to_owned()
        } else {
            format!("{code}: {message}; `ticketwire command show {id}`")
        }))
    }

    /// Puts ids in full where names and beginnings of them stand. The database is asked only where
    /// there are any. A new ticket's own id is none: it has to be given in full.
    async fn write_ids_out(
        &self,
        context: &Context,
        data: &mut Map<String, Value>,
    ) -> Result<(), Failed> {
        let makes = match CommandType::parse(&self.command_type) {
            // What is wrong with it is said by the check of the whole command.
            None => return Ok(()),
            Some(kind) => matches!(
                kind,
                CommandType::TicketCreate | CommandType::TicketAiCreate
            ),
        };
        let mut short = Vec::new();
        for (name, value) in data {
            let named = match name.as_str() {
                "integration_id" => Named::Integration,
                "ticket_id" | "ticket_ids" if !makes => Named::Ticket,
                _ => continue,
            };
            let values: Vec<&mut Value> = match value {
                Value::Array(values) => values.iter_mut().collect(),
                one => vec![one],
            };
            let is_short = |value: &&mut Value| {
                let text = value.as_str();
                text.is_some_and(|text| text.parse::<Uuid>().is_err())
            };
            short.extend(
                values
                    .into_iter()
                    .filter(is_short)
                    .map(|value| (named, value)),
            );
        }
        if short.is_empty() {
            return Ok(());
        }
        let store = context.store()?;
        for (named, value) in short {
            let text = value.as_str().unwrap_or_default();
            let id = ids::find_of(&store, named, text, self.organization).await?;
            *value = id.to_string().into();
        }
        Ok(())
    }

    /// Says at once that nobody reads the command's queue. A command waits there until a worker
    /// starts; a dry run that nobody answers is not published at all.
    async fn look_for_worker(
        &self,
        connection: &Connection,
        topology: &Topology,
    ) -> Result<(), Failed> {
        let Some(queue) = topology.queue_of(&self.command_type) else {
            return Ok(());
        };
        let depth = broker::queue_depth(connection, &queue).await;
        if !matches!(depth, Ok(Some((_, 0)))) {
            return Ok(());
        }
        if self.dry_run {
            return Err(Failed::Operation(format!(
                "nothing was published: no worker reads the queue {queue}, so nobody would \
                 answer a dry run; start one by `ticketwire run`"
            )));
        }
        let timeout = humantime::format_duration(self.timeout);
        output::note(&format!(
            "no worker reads the queue {queue}: the command waits there until one starts \
             (`ticketwire run`); its result is awaited for {timeout}"
        ));
        Ok(())
    }

    /// What is known of a command whose result did not come in time.
    async fn known(
        &self,
        context: &Context,
        connection: &Connection,
        topology: &Topology,
        id: Uuid,
    ) -> String {
        let show = format!("`ticketwire command show {id}`");
        let found = match context.store() {
            Ok(store) => store.command(CommandId::new(id)).await.map_err(failed),
            Err(error) => Err(error),
        };
        let row = match found {
            Ok(Some((row, _))) => row,
            Ok(None) => {
                return format!(
                    "{}; it stays there: {show}",
                    self.unclaimed(connection, topology).await
                );
            }
            Err(Failed::Usage(why) | Failed::Operation(why)) => {
                return format!(
                    "the command goes on, and the ledger cannot be asked: {why}; {show}"
                );
            }
            Err(Failed::Closed) => return format!("the command goes on: {show}"),
        };
        let next = command::next_of(&row).filter(|at| *at > Utc::now());
        let next = next.map_or_else(String::new, |at| {
            format!(", next try {} (in {})", at.format("%F %TZ"), away(at))
        });
        let why = command::why(&row);
        let why = if why.is_empty() {
            why
        } else {
            format!(", {why}")
        };
        format!("the command is {}{next}{why}; {show}", row.state)
    }

    /// Why a command is not in the ledger: nobody takes what is in its queue.
    async fn unclaimed(&self, connection: &Connection, topology: &Topology) -> String {
        let Some(queue) = topology.queue_of(&self.command_type) else {
            return "no worker took it".to_owned();
        };
        match broker::queue_depth(connection, &queue).await {
            Ok(Some((messages, 0))) => format!(
                "no worker took it: nobody reads the queue {queue}, which holds {messages}; \
                 start one by `ticketwire run`"
            ),
            Ok(Some((messages, _))) => format!(
                "no worker took it yet: the queue {queue} holds {messages} more, or the worker \
                 that reads it has another database"
            ),
            Ok(None) => format!("no worker took it: there is no queue {queue}"),
            Err(error) => format!("no worker took it; its queue cannot be asked: {error}"),
        }
    }
}

/// How far away a moment is, for people.
fn away(at: DateTime<Utc>) -> String {
    let seconds = u64::try_from((at - Utc::now()).num_seconds()).unwrap_or_default();
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// What came of a command, as people want to know it: the item and its page, else the result.
fn news(command_type: &str, event: &Value) -> String {
    let result = &event["data"]["result"];
    let platform = &result["integration_result"];
    let item: Vec<&str> = ["external_ticket_id", "external_ticket_url"]
        .iter()
        .filter_map(|name| platform[name].as_str())
        .collect();
    if !item.is_empty() {
        return item.join(" ");
    }
    if command_type == "ticket.create" && platform.is_null() {
        let ticket = result["ticket_id"].as_str().unwrap_or_default();
        return format!(
            "ticket {ticket} is kept here alone: `\"route\": true` or an `integration_id` sends \
             one to a platform"
        );
    }
    match result {
        Value::Object(members) if !members.is_empty() => format!("{result:#}"),
        _ => format!("{command_type} succeeded"),
    }
}

pub(super) fn read_data(source: &str) -> Result<String, Failed> {
    let read = if source == "-" {
        std::io::read_to_string(std::io::stdin())
    } else if let Some(path) = source.strip_prefix('@') {
        std::fs::read_to_string(path)
    } else {
        return Ok(source.to_owned());
    };
    read.map_err(|error| Failed::Usage(format!("--data {source}: {error}")))
}
