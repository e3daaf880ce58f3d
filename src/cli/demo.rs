//! `ticketwire demo`

use std::collections::HashSet;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::events::summary;
use super::{Context, Failed, failed, output};
use crate::app::{self, RunOptions};
use crate::broker::{self, From};
use crate::config::Config;
use crate::sandbox::{self, Fault};
use crate::{secrets, telemetry};

/// Shows the main job on real RabbitMQ and PostgreSQL against the sandbox: commands go in, Jira issues and result
/// events come out, one of them after injected faults. Uses a prefix of its own and a database that was migrated.
#[derive(Args)]
pub(super) struct Demo {}

/// Longest the demo waits for its events.
const PATIENCE: Duration = Duration::from_secs(60);

impl Demo {
    /// Lets the worker's log go to a file: on the terminal it would stand in the middle of the story.
    pub(super) fn keep_log_apart(&self) -> Result<(), Failed> {
        let name = format!("ticketwire-demo-{}.log", Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        let shown = path.display().to_string();
        telemetry::to_file(path).map_err(|error| {
            Failed::Operation(format!("{shown}: {error}; free space there, or set TMPDIR"))
        })
    }

    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let sandbox = sandbox::start(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .map_err(failed)?;
        let mut config = context.config.clone();
        let loopback = "127.0.0.0/8"
            .parse()
            .map_err(|_| Failed::Operation("no loopback network".into()))?;
        config.amqp.prefix = format!("ticketwire-demo-{}", std::process::id());
        config.http.listen = None;
        config.egress.allow.push(loopback);
        config.egress.allow_http = true;
        config.dispatch.settle_after = Some(Duration::from_secs(2));
        config.retry.schedule = vec![Duration::from_secs(1); 5];
        if config.secrets.keys.is_empty() {
            config.secrets.keys = vec![secrets::generate("demo").into()];
        }
        let say = |text: &str| -> Result<(), Failed> {
            if context.json {
                Ok(())
            } else {
                Ok(output::line(text)?)
            }
        };
        say(&format!(
            "The sandbox stands in for Jira at {}.",
            sandbox.url("demo")
        ))?;
        if let Some(path) = telemetry::log_file() {
            say(&format!("The worker's log goes to {}.", path.display()))?;
        }

        let stop = CancellationToken::new();
        let mut worker = tokio::task::spawn(app::run(
            config.clone(),
            RunOptions {
                isolated: None,
                stop: stop.clone(),
            },
        ));
        let topology = broker::Topology::new(&config.amqp.prefix);
        let connection = broker::connect_tool(&config.amqp.url, &topology)
            .await
            .map_err(failed)?;
        let shown = async {
            let organization = Uuid::new_v4();
            let command = |command_type: &str, id: Uuid, data: &Value| {
                json!({
                    "specversion": "1.0", "id": id, "source": "/demo", "type": command_type,
                    "time": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
                    "organizationid": organization, "data": data,
                })
                .to_string()
            };
            say("\n1. An integration is created and tested.")?;
            let data = json!({
                "name": "Demo Jira", "platform_name": "jira", "auth_type": "api_key",
                "base_url": sandbox.url("demo"), "settings": { "project_key": "SUP" },
                "credentials": { "email": "bot@example.test", "api_token": "demo-token" },
            });
            let body = command("integration.create", Uuid::now_v7(), &data);
            let created = ask(&connection, &topology, context, "integration.create", &body).await?;
            let integration = created["data"]["result"]["integration_id"].clone();
            let body = command(
                "integration.test",
                Uuid::now_v7(),
                &json!({ "integration_id": integration }),
            );
            ask(&connection, &topology, context, "integration.test", &body).await?;

            say(
                "\n2. Three tickets and a comment on the first. One create's answer is lost: Jira makes the issue, and \
                 the connection breaks before it says so.",
            )?;
            let fault: Fault = serde_json::from_value(
                json!({ "kind": "reset_after_store", "operation": "create_issue", "times": 1 }),
            )
            .map_err(failed)?;
            sandbox.inject("demo", fault).map_err(failed)?;
            let titles = [
                "Login page returns 500",
                "Export hangs at 99 %",
                "Please add dark mode",
            ];
            let mut expected = HashSet::new();
            let mut first_ticket = Uuid::nil();
            for (index, title) in titles.iter().enumerate() {
                let ticket = Uuid::new_v4();
                if index == 0 {
                    first_ticket = ticket;
                }
                let id = Uuid::now_v7();
                expected.insert(id.to_string());
                let data = json!({
                    "ticket_id": ticket, "title": title, "description": "Seen by **three** customers.\n\n- again and again",
                    "category": "bug", "priority": "high", "integration_id": integration,
                });
                let body = command("ticket.create", id, &data);
                publish(&connection, &topology, context, "ticket.create", id, &body).await?;
            }
            let id = Uuid::now_v7();
            expected.insert(id.to_string());
            let data = json!({ "ticket_id": first_ticket, "body": "We are looking into it." });
            publish(
                &connection,
                &topology,
                context,
                "ticket.comment",
                id,
                &command("ticket.comment", id, &data),
            )
            .await?;
            wait_for(&connection, &topology, context, &mut expected).await?;

            let ledger = sandbox.ledger("demo");
            say(
                "\n3. What Jira holds: each ticket once, the lost answer adopted and not repeated.",
            )?;
            for issue in &ledger.issues {
                say(&format!(
                    "   {}  {}  ({})",
                    issue.key,
                    issue.summary,
                    counted(issue.comments.len(), "comment")
                ))?;
            }
            if ledger.issues.len() != titles.len() {
                return Err(Failed::Operation(format!(
                    "Jira holds {} issues, not {}",
                    ledger.issues.len(),
                    titles.len()
                )));
            }
            if context.json {
                output::json(&json!({ "issues": ledger.issues.len(), "ok": true }))?;
            }
            say("\nDone: 3 tickets, 3 issues, 1 comment, nothing lost, nothing doubled.")?;
            say(&next_steps(&config, organization))
        };
        // A worker that ends by itself has said why; its error is the demo's.
        let shown = tokio::select! {
            shown = shown => shown,
            ended = &mut worker => {
                return Err(match ended {
                    Ok(Err(error)) => failed(error),
                    Ok(Ok(())) => Failed::Operation("the worker stopped by itself".into()),
                    Err(error) => failed(error),
                });
            }
        };
        stop.cancel();
        let ended = worker.await.map_err(failed)?;
        sandbox.stop().await;
        broker::remove_prefix(&connection, &topology)
            .await
            .map_err(failed)?;
        shown?;
        ended.map_err(failed)
    }
}

/// A number of things, for people.
fn counted(count: usize, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

/// What is there now, how to look at it and to remove it, and what comes next.
fn next_steps(config: &Config, organization: Uuid) -> String {
    let url = config.database.url.expose_secret();
    // Not the URL: there may be a password in it.
    let database = url::Url::parse(url).map_or_else(
        |_| "of database.url".to_owned(),
        |url| url.path().trim_start_matches('/').to_owned(),
    );
    format!(
        "\nNext, with the same DATABASE_URL:\n   \
         ticketwire command list                   the ledger; `command show ID` has every attempt and what it met\n   \
         ticketwire ticket list                    the tickets, with their Jira keys\n   \
         ticketwire sandbox, ticketwire run        the same by hand: README.md, \"Five minutes\"\n\
         The queues are gone. The demo's rows stay in the database {database}; they go with\n   \
         ticketwire erase --organization {organization}"
    )
}

async fn publish(
    connection: &broker::Connection,
    topology: &broker::Topology,
    context: &Context,
    command_type: &str,
    id: Uuid,
    body: &str,
) -> Result<(), Failed> {
    broker::publish_one(connection, topology, command_type, body)
        .await
        .map_err(failed)?;
    if context.json {
        Ok(())
    } else {
        Ok(output::line(&format!("   → {command_type} {id}"))?)
    }
}

async fn ask(
    connection: &broker::Connection,
    topology: &broker::Topology,
    context: &Context,
    command_type: &str,
    body: &str,
) -> Result<Value, Failed> {
    let answer = broker::call(connection, topology, command_type, body, PATIENCE)
        .await
        .map_err(failed)?;
    let event: Value = serde_json::from_str(&answer).map_err(failed)?;
    let text = format!(
        "   {} {}",
        command_type,
        event["data"]["outcome"].as_str().unwrap_or_default()
    );
    output::line(&if context.json { answer } else { text })?;
    if event["data"]["outcome"] == "succeeded" {
        Ok(event)
    } else {
        Err(Failed::Operation(
            event["data"]["error"]["message"]
                .as_str()
                .unwrap_or("it failed")
                .to_owned(),
        ))
    }
}

/// Reads the events log until every command has its final event, showing what belongs to them.
async fn wait_for(
    connection: &broker::Connection,
    topology: &broker::Topology,
    context: &Context,
    expected: &mut HashSet<String>,
) -> Result<(), Failed> {
    let mut wanted: HashSet<String> = expected.clone();
    let reading = broker::tail(
        connection,
        topology,
        From::First,
        Some(PATIENCE),
        |key, body| {
            let event: Value = serde_json::from_str(body).unwrap_or(Value::Null);
            let id = event["data"]["command_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if !wanted.contains(&id) {
                return true;
            }
            let text = if context.json {
                body.to_owned()
            } else {
                format!("   ← {}", summary(key, body))
            };
            if output::line(&text).is_err() {
                return false;
            }
            if event["data"]["outcome"] != "deferred" {
                wanted.remove(&id);
                expected.remove(&id);
            }
            !wanted.is_empty()
        },
    );
    reading.await.map_err(failed)?;
    if expected.is_empty() {
        Ok(())
    } else {
        Err(Failed::Operation(format!(
            "{} commands have no result after {PATIENCE:?}",
            expected.len()
        )))
    }
}
