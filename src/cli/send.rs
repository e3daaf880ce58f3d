//! `ticketwire send`

use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use clap::Args;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Context, Failed, failed, output};
use crate::broker;
use crate::contract::{Envelope, RawMessage, Replies};

/// Publish a command.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire send ticket.create --organization $ORG --data '{\"title\":\"It is down\",\"description\":\"…\"}' --wait
  ticketwire send integration.create --organization $ORG --data @jira.json --wait --json")]
pub(super) struct Send {
    /// The command's type, e.g. ticket.create
    #[arg(value_name = "TYPE")]
    command_type: String,
    /// Its data: JSON, @file, or - for standard input
    #[arg(long, default_value = "{}")]
    data: String,
    /// The tenant
    #[arg(long, value_name = "UUID", env = "TICKETWIRE_ORGANIZATION")]
    organization: Uuid,
    /// The command's id, its idempotency key; default a new one
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// Wait for the result event, print it, and exit 0 only if it succeeded
    #[arg(long)]
    wait: bool,
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
        let data: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| Failed::Usage(format!("--data: must be a JSON object: {error}")))?;
        let id = self.id.unwrap_or_else(Uuid::now_v7);
        let mut envelope = json!({
            "specversion": "1.0", "id": id, "source": "/ticketwire/cli", "type": self.command_type,
            "time": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            "organizationid": self.organization, "datacontenttype": "application/json", "data": data,
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
            return if context.json {
                Ok(output::json(
                    &json!({ "command_id": id, "published": true }),
                )?)
            } else {
                Ok(output::line(&format!(
                    "published {} {id}",
                    self.command_type
                ))?)
            };
        }
        let answer = broker::call(
            &connection,
            &topology,
            &self.command_type,
            &body,
            self.timeout,
        )
        .await;
        let answer = answer.map_err(|error| {
            Failed::Operation(format!(
                "{error}; the command {id} goes on: `ticketwire command show {id}`"
            ))
        })?;
        let event: Value = serde_json::from_str(&answer).map_err(failed)?;
        output::line(&if context.json {
            event.to_string()
        } else {
            format!("{event:#}")
        })?;
        if event["data"]["outcome"] == "succeeded" {
            Ok(())
        } else {
            let message = event["data"]["error"]["message"]
                .as_str()
                .unwrap_or("it did not succeed");
            Err(Failed::Operation(message.to_owned()))
        }
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
