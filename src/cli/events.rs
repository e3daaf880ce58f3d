//! `ticketwire events`

use clap::Args;
use serde_json::Value;

use super::{Context, Failed, failed, moment, output};
use crate::broker::{self, From};

/// Read the result events, as they come or from the past.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire events                             what comes from now on
  ticketwire events --from first --filter '#.failed.#'
  ticketwire events --from 2026-01-31T12:00:00Z --filter '*.*.*.jira' --json")]
pub(super) struct Events {
    /// first, last, a time, or how long ago (2h); default: from now on
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// A topic pattern over the routing key: * is a word, # any number of words
    #[arg(long, value_name = "PATTERN", default_value = "#")]
    filter: String,
    /// Stop after so many
    #[arg(long)]
    limit: Option<usize>,
    /// Stop when nothing came for so long, e.g. 2s
    #[arg(long, value_parser = humantime::parse_duration)]
    idle: Option<std::time::Duration>,
}

impl Events {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let from = match self.from.as_deref() {
            None => From::Next,
            Some("first") => From::First,
            Some("last") => From::Last,
            Some(text) => {
                let moment = moment::parse(text).map_err(|fault| {
                    Failed::Usage(format!("--from {text}: {fault}, or first, or last"))
                })?;
                From::Since(u64::try_from(moment.timestamp()).unwrap_or(0))
            }
        };
        let topology = context.topology();
        let connection = broker::connect_tool(&context.config.amqp.url, &topology)
            .await
            .map_err(failed)?;
        let mut left = self.limit.unwrap_or(usize::MAX);
        let reading = broker::tail(&connection, &topology, from, self.idle, |key, body| {
            if !matches(&self.filter, key) {
                return true;
            }
            left = left.saturating_sub(1);
            let shown = if context.json {
                output::json_text(body)
            } else {
                output::line(&summary(key, body))
            };
            shown.is_ok() && left > 0
        });
        reading.await.map_err(failed)
    }
}

/// One event on one line.
pub(super) fn summary(key: &str, body: &str) -> String {
    let event: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let data = &event["data"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{}  {key}  {}  {}",
        text(&event["time"]),
        text(&data["command_id"]),
        detail(&event)
    )
}

/// What an event says came of its command: the item, or the error and when it is tried again.
pub(super) fn detail(event: &Value) -> String {
    let data = &event["data"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let detail = match (
        &data["error"],
        data["result"]["integration_result"]["external_ticket_id"].as_str(),
    ) {
        (Value::Null, Some(external)) => external.to_owned(),
        (Value::Null, None) => by_itself(event),
        (error, _) => format!("{}: {}", text(&error["code"]), text(&error["message"])),
    };
    let retry = data["retry_at"].as_str();
    let retry = retry.map_or_else(String::new, |at| format!(" (again at {at})"));
    format!("{detail}{retry}")
}

/// The same of an event that is no command's outcome, or that of a delivery.
fn by_itself(event: &Value) -> String {
    let data = &event["data"];
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let kind = event["type"].as_str().unwrap_or_default();
    if kind.starts_with("webhook.received") {
        let counts = data["result"].as_object().into_iter().flatten();
        let counted = counts.filter(|(name, count)| *name != "changes" && count.as_u64() > Some(0));
        let counted: Vec<String> = counted.map(|(name, n)| format!("{n} {name}")).collect();
        return counted.join(", ");
    }
    if kind.starts_with("ticket.external") {
        let item = plain(&data["external_ticket_id"]);
        if let Some(said) = data["comment"]["body"].as_str() {
            let said: Vec<&str> = said.split_whitespace().collect();
            let head: String = said.join(" ").chars().take(60).collect();
            return format!("{item}  {}: {head}", plain(&data["comment"]["action"]));
        }
        let changes = data["changes"].as_array().into_iter().flatten();
        let changes: Vec<String> = changes
            .map(|one| {
                let (before, after) = (plain(&one["before"]), plain(&one["after"]));
                format!("{} {before} → {after}", plain(&one["field"]))
            })
            .collect();
        return format!("{item}  {}", changes.join(", "));
    }
    for name in ["status", "health_check_status"] {
        if let (Some(old), Some(new)) = (data[format!("old_{name}")].as_str(), data[name].as_str())
        {
            let reason = data["reason"].as_str().or_else(|| data["error"].as_str());
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            return format!("{old} → {new}{reason}");
        }
    }
    String::new()
}

/// Whether a routing key matches a topic pattern, as RabbitMQ matches it.
fn matches(pattern: &str, key: &str) -> bool {
    fn words(pattern: &[&str], key: &[&str]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&"#", rest)) => {
                (0..=key.len()).any(|skip| key.get(skip..).is_some_and(|key| words(rest, key)))
            }
            Some((word, rest)) => key
                .split_first()
                .is_some_and(|(first, key)| (*word == "*" || word == first) && words(rest, key)),
        }
    }
    words(
        &pattern.split('.').collect::<Vec<_>>(),
        &key.split('.').collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_the_broker_matches_them() {
        let key = "ticket.create.failed.jira";

        for pattern in [
            "#",
            "#.failed.#",
            "*.*.*.jira",
            "ticket.create.#",
            "ticket.#.jira",
        ] {
            assert!(matches(pattern, key), "{pattern}");
        }
        for pattern in ["*", "#.succeeded.#", "*.*.jira", "ticket.create"] {
            assert!(!matches(pattern, key), "{pattern}");
        }
    }
}
