//! `ticketwire demo`

mod back;

use std::collections::HashMap;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::events::detail;
use super::output::{self, Cell};
use super::{Context, Failed, failed};
use crate::app::{self, RunOptions};
use crate::broker::{self, From};
use crate::config::Config;
use crate::domain::Platform;
use crate::sandbox::{self, Example, Fault, Sandbox};
use crate::{secrets, telemetry};

/// Shows the main job on real RabbitMQ and PostgreSQL against the sandbox: commands go in, items
/// and result events come out, one of them after an answer was lost. Uses a prefix of its own and a
/// database that was migrated.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire demo                       three tickets on Jira
  ticketwire demo --platform zendesk    the same at Zendesk
  ticketwire demo --platform all        a ticket on every platform")]
pub(super) struct Demo {
    /// The platform that is shown, or `all`
    #[arg(long, value_name = "NAME", default_value = "jira")]
    platform: String,
}

/// Longest the demo waits for its events.
const PATIENCE: Duration = Duration::from_secs(60);
/// When an empty look-up proves that nothing was made. The platforms' own are up to minutes.
const SETTLE_AFTER: Duration = Duration::from_secs(2);
/// The site of the sandbox.
const SITE: &str = "demo";
/// The tickets of one platform; of all together, each gets the first.
const TITLES: [&str; 3] = [
    "Login page returns 500",
    "Export hangs at 99 %",
    "Please add dark mode",
];

impl Demo {
    /// Lets the worker's log go to a file: on the terminal it would stand in the middle of the
    /// story.
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
        let parts = self.parts(&sandbox)?;
        let config = config_of(context)?;
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
        let story = Story {
            context,
            sandbox: &sandbox,
            connection: &connection,
            topology: &topology,
            organization: Uuid::new_v4(),
        };
        // However it ends, the queues go. The losing branches may be dropped: nothing is waited
        // for any more.
        let (shown, ended) = tokio::select! {
            shown = story.tell(parts, &config) => {
                stop.cancel();
                (shown, worker.await)
            }
            signal = tokio::signal::ctrl_c() => {
                stop.cancel();
                let text = "interrupted; what it made in the database stays";
                (signal.map_err(failed).and(Err(Failed::Operation(text.into()))), worker.await)
            }
            ended = &mut worker => {
                let text = "the worker stopped by itself";
                (Err(Failed::Operation(text.into())), ended)
            }
        };
        sandbox.stop().await;
        broker::remove_prefix(&connection, &topology)
            .await
            .map_err(failed)?;
        // The error of a worker that could not go on is the demo's.
        ended.map_err(failed)?.map_err(failed)?;
        shown
    }

    /// What is shown: a platform with three tickets, or a ticket on each.
    fn parts(&self, sandbox: &Sandbox) -> Result<Vec<Part>, Failed> {
        let part = |platform, titles| Part {
            platform,
            example: sandbox.example(platform, SITE),
            titles,
        };
        if self.platform.eq_ignore_ascii_case("all") {
            let all = Platform::ALL.iter();
            return Ok(all.map(|platform| part(*platform, &TITLES[..1])).collect());
        }
        let platform = Platform::parse(&self.platform.to_lowercase()).ok_or_else(|| {
            Failed::Usage(format!(
                "--platform {:?}: must be all, or one of {}",
                self.platform,
                Platform::names()
            ))
        })?;
        Ok(vec![part(platform, &TITLES[..])])
    }
}

/// The configuration of the demo's worker.
fn config_of(context: &Context) -> Result<Config, Failed> {
    let mut config = context.config.clone();
    let loopback = "127.0.0.0/8"
        .parse()
        .map_err(|_| Failed::Operation("no loopback network".into()))?;
    config.amqp.prefix = format!("ticketwire-demo-{}", std::process::id());
    config.http.listen = None;
    config.http.webhook_listen = Some(back::free_address()?);
    config.egress.allow.push(loopback);
    config.egress.allow_http = true;
    config.dispatch.settle_after = Some(SETTLE_AFTER);
    config.retry.schedule = vec![Duration::from_secs(1); 5];
    if config.secrets.keys.is_empty() {
        config.secrets.keys = vec![secrets::generate("demo").into()];
    }
    Ok(config)
}

/// A platform, and its tickets.
struct Part {
    platform: Platform,
    example: Example,
    titles: &'static [&'static str],
}

/// A command whose final event is waited for.
struct Sent {
    id: Uuid,
    platform: Platform,
    /// Of a create, the title.
    title: Option<&'static str>,
}

struct Story<'a> {
    context: &'a Context,
    sandbox: &'a Sandbox,
    connection: &'a broker::Connection,
    topology: &'a broker::Topology,
    organization: Uuid,
}

impl Story<'_> {
    async fn tell(&self, parts: Vec<Part>, config: &Config) -> Result<(), Failed> {
        let names: Vec<&str> = parts.iter().map(|part| part.example.name).collect();
        let names = names.join(", ");
        self.say(&format!(
            "The sandbox at http://{} stands in for {names}.",
            self.sandbox.addr()
        ))?;
        if let Some(path) = telemetry::log_file() {
            self.say(&format!("The worker's log goes to {}.", path.display()))?;
        }
        self.say(&format!(
            "An empty look-up counts as proof after {} s (dispatch.settle_after), \
             so that the demo is short.",
            SETTLE_AFTER.as_secs()
        ))?;

        let one = parts.len() == 1;
        self.say(if one {
            "\n1. An integration is created and tested."
        } else {
            "\n1. An integration with each is created and tested."
        })?;
        let mut integrations = Vec::new();
        for part in &parts {
            integrations.push(self.integrate(part).await?);
        }

        let lost = parts.iter().any(|part| part.example.creates.is_some());
        self.say(match (one, lost) {
            (true, true) => {
                "\n2. Three tickets, a comment on the first, then its status. One answer is lost:\n\
                 \x20  the item is made, and the connection breaks before the platform says so."
            }
            (true, false) => {
                "\n2. Three tickets, a comment on the first, then its status. No answer is lost:\n\
                 \x20  what was sent here cannot be found again (settings.on_unknown says what\n\
                 \x20  happens then)."
            }
            (false, _) => {
                "\n2. A ticket on each, a comment, then a status. Where an item can be found\n\
                 \x20  again, the answer to its create is lost: the item is made, and the\n\
                 \x20  connection breaks."
            }
        })?;
        let mut sent = Vec::new();
        for (part, integration) in parts.iter().zip(&integrations) {
            sent.extend(self.send(part, integration).await?);
        }
        let events = self.wait_for(&sent).await?;

        self.say(if lost {
            "\n3. What the platforms hold: each ticket once, and what a lost answer told of was \
             found."
        } else {
            "\n3. What the platform holds: each ticket once."
        })?;
        let mut rows = Vec::new();
        for part in &parts {
            rows.extend(self.held(part, &sent, &events)?);
        }
        let items = rows.len();
        if self.context.json {
            output::json(&json!({ "issues": items, "ok": true }))?;
        } else {
            let heading = ["PLATFORM", "ITEM", "TITLE", "COMMENTS", "LINK"];
            output::table(&self.context.layout, &heading, &rows)?;
        }
        if let ([part], [integration], Some(listener)) =
            (&*parts, &*integrations, config.http.webhook_listen)
            && part.platform == Platform::Jira
            && let Some(key) = back::first_key(&sent, &events)
        {
            self.comes_back(integration, &key, listener).await?;
        }
        let comments = counted(parts.len(), "comment");
        self.say(&format!(
            "\nDone: {}, {}, {comments}, nothing lost, nothing doubled.",
            counted(items, "ticket"),
            counted(items, "item"),
        ))?;
        let is_key_gone = self.context.config.secrets.keys.is_empty();
        self.say(&next_steps(config, self.organization, is_key_gone))
    }

    fn say(&self, text: &str) -> Result<(), Failed> {
        if self.context.json {
            return Ok(());
        }
        Ok(output::line(text)?)
    }

    fn command(&self, command_type: &str, id: Uuid, data: &Value) -> String {
        json!({
            "specversion": "1.0", "id": id, "source": "/demo", "type": command_type,
            "time": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            "organizationid": self.organization, "data": data,
        })
        .to_string()
    }

    /// Makes and tests an integration.
    async fn integrate(&self, part: &Part) -> Result<Value, Failed> {
        let mut data = part.example.data.clone();
        data["webhook_secret"] = back::SECRET.into();
        let created = self.ask(part, "integration.create", &data).await?;
        let integration = created["data"]["result"]["integration_id"].clone();
        let data = json!({ "integration_id": integration });
        self.ask(part, "integration.test", &data).await?;
        Ok(integration)
    }

    async fn ask(&self, part: &Part, command_type: &str, data: &Value) -> Result<Value, Failed> {
        let body = self.command(command_type, Uuid::now_v7(), data);
        let answer = broker::call(
            self.connection,
            self.topology,
            command_type,
            &body,
            PATIENCE,
        )
        .await
        .map_err(failed)?;
        let event: Value = serde_json::from_str(&answer).map_err(failed)?;
        let outcome = event["data"]["outcome"].as_str().unwrap_or_default();
        let text = format!("   {command_type} {} {outcome}", part.platform);
        if self.context.json {
            output::json_text(&answer)?;
        } else {
            output::line(&text)?;
        }
        if outcome == "succeeded" {
            return Ok(event);
        }
        let why = event["data"]["error"]["message"].as_str();
        Err(Failed::Operation(why.unwrap_or("it failed").to_owned()))
    }

    /// Sends a platform's commands, and lets the first create's answer be lost.
    async fn send(&self, part: &Part, integration: &Value) -> Result<Vec<Sent>, Failed> {
        let Part {
            platform,
            example,
            titles,
        } = part;
        if let Some(creates) = example.creates {
            let fault = json!({ "kind": "reset_after_store", "operation": creates, "times": 1 });
            let fault: Fault = serde_json::from_value(fault).map_err(failed)?;
            let site = format!("{platform}/{SITE}");
            self.sandbox.inject(&site, fault).map_err(failed)?;
        }
        let mut sent = Vec::new();
        let first = Uuid::new_v4();
        for (number, title) in titles.iter().enumerate() {
            let ticket = if number == 0 { first } else { Uuid::new_v4() };
            let data = json!({
                "ticket_id": ticket, "title": title, "integration_id": integration,
                "description": "Seen by **three** customers.\n\n- again and again",
                "category": "bug", "priority": "high",
            });
            let id = self.publish("ticket.create", &data).await?;
            sent.push(Sent {
                id,
                platform: *platform,
                title: Some(title),
            });
        }
        let comment = json!({ "ticket_id": first, "body": "We are looking into it." });
        let status = json!({ "ticket_id": first, "status": "in_progress" });
        for (command_type, data) in [("ticket.comment", comment), ("ticket.status", status)] {
            let id = self.publish(command_type, &data).await?;
            sent.push(Sent {
                id,
                platform: *platform,
                title: None,
            });
        }
        Ok(sent)
    }

    async fn publish(&self, command_type: &str, data: &Value) -> Result<Uuid, Failed> {
        let id = Uuid::now_v7();
        let body = self.command(command_type, id, data);
        broker::publish_one(self.connection, self.topology, command_type, &body)
            .await
            .map_err(failed)?;
        let what = data["title"].as_str().or(data["body"].as_str());
        let what = what.or(data["status"].as_str()).unwrap_or_default();
        self.say(&format!("   → {command_type}  {what}"))?;
        Ok(id)
    }

    /// Reads the events log until every command has its final event, showing what belongs to them.
    async fn wait_for(&self, sent: &[Sent]) -> Result<HashMap<String, Value>, Failed> {
        let wanted: Vec<String> = sent.iter().map(|sent| sent.id.to_string()).collect();
        let mut ended: HashMap<String, Value> = HashMap::new();
        let reading = broker::tail(
            self.connection,
            self.topology,
            From::First,
            Some(PATIENCE),
            |key, body| {
                let event: Value = serde_json::from_str(body).unwrap_or(Value::Null);
                let id = event["data"]["command_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if !wanted.contains(&id) || ended.contains_key(&id) {
                    return true;
                }
                let text = format!("   ← {key}  {}", detail(&event));
                let shown = if self.context.json {
                    output::json_text(body)
                } else {
                    output::line(&text)
                };
                if shown.is_err() {
                    return false;
                }
                if event["data"]["outcome"] != "deferred" {
                    ended.insert(id, event);
                }
                ended.len() < wanted.len()
            },
        );
        reading.await.map_err(failed)?;
        let missing = wanted.len() - ended.len();
        if missing > 0 {
            let text = format!(
                "{} have no result after {PATIENCE:?}",
                counted(missing, "command")
            );
            return Err(Failed::Operation(text));
        }
        let unsuccessful = ended
            .values()
            .find(|event| event["data"]["outcome"] != "succeeded");
        if let Some(event) = unsuccessful {
            let why = event["data"]["error"]["message"]
                .as_str()
                .unwrap_or("it failed");
            return Err(Failed::Operation(why.to_owned()));
        }
        Ok(ended)
    }

    /// What a platform holds: a row a ticket.
    fn held(
        &self,
        part: &Part,
        sent: &[Sent],
        events: &HashMap<String, Value>,
    ) -> Result<Vec<Vec<Cell>>, Failed> {
        let items = self
            .sandbox
            .ledger(&format!("{}/{SITE}", part.platform))
            .issues;
        let mut rows = Vec::new();
        let creates = sent.iter().filter(|sent| sent.platform == part.platform);
        for (id, title) in creates.filter_map(|sent| Some((sent.id.to_string(), sent.title?))) {
            let result = &events[&id]["data"]["result"]["integration_result"];
            let text = |name: &str| result[name].as_str().unwrap_or("-").to_owned();
            let of_ticket: Vec<_> = items
                .iter()
                .filter(|item| item.summary.contains(title))
                .collect();
            // A mail is never changed: what happens to its ticket is told by further ones.
            let comments = if part.platform == Platform::Email {
                of_ticket
                    .iter()
                    .filter(|item| item.summary.starts_with("Re:"))
                    .count()
            } else {
                if of_ticket.len() != 1 {
                    return Err(Failed::Operation(format!(
                        "{} holds {title:?} {} times",
                        part.example.name,
                        of_ticket.len()
                    )));
                }
                of_ticket.iter().map(|item| item.comments.len()).sum()
            };
            rows.push(vec![
                Cell::word(part.platform),
                text("external_ticket_id").into(),
                title.to_owned().into(),
                Cell::word(comments),
                text("external_ticket_url").into(),
            ]);
        }
        Ok(rows)
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
fn next_steps(config: &Config, organization: Uuid, is_key_gone: bool) -> String {
    let url = config.database.url.expose_secret();
    // Not the URL: there may be a password in it.
    let database = url::Url::parse(url).map_or_else(
        |_| "of database.url".to_owned(),
        |url| url.path().trim_start_matches('/').to_owned(),
    );
    let key = if is_key_gone {
        "As secrets.keys is empty, their\n\
         credentials were sealed by a key that ends with the demo: `ticketwire doctor` will say\n\
         that nothing opens them. "
    } else {
        ""
    };
    format!(
        "\nNext, with the same DATABASE_URL:\n\
         \x20  ticketwire command list             the ledger; `command show ID` has its attempts\n\
         \x20  ticketwire ticket list              the tickets, with the platforms' ids\n\
         \x20  ticketwire sandbox, ticketwire run  the same by hand: README.md, \"Five minutes\"\n\
         The queues are gone. The demo's rows stay in the database {database}. {key}They\n\
         go with\n\
         \x20  ticketwire erase --organization {organization}"
    )
}
