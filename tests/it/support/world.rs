//! A test's own world: its database, its prefix, its sandbox; removed when the test ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use serde_json::{Value, json};
use ticketwire::broker::{self, Topology};
use ticketwire::sandbox::{self, Fault, Ledger, Sandbox};
use ticketwire::store::{Client, connect, create_database, migrate};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::events::Events;
use super::{Message, PATIENCE, Worker, command, output, wait_for, wait_within};

pub(crate) const SITE: &str = "acme";

pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) organization: Uuid,
    /// An active Jira integration at the sandbox.
    pub(crate) integration: Uuid,
    pub(crate) topology: Topology,
    pub(crate) database_url: String,
    pub(crate) amqp_url: String,
    pub(crate) events: Events,
    pub(crate) directory: tempfile::TempDir,
    environment: Mutex<BTreeMap<String, String>>,
    channel: tokio::sync::Mutex<Option<(broker::Connection, Channel)>>,
    collector: tokio::task::JoinHandle<()>,
    workers: AtomicU32,
}

/// The services under test: those of the environment, or the usual addresses.
pub(crate) fn services() -> (String, String) {
    let of = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    (
        of(
            "DATABASE_URL",
            "postgres://postgres@127.0.0.1:5432/postgres",
        ),
        of("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"),
    )
}

impl World {
    /// A migrated database, a declared topology, a sandbox and an active integration. No worker
    /// yet.
    pub(crate) async fn new() -> Self {
        let (database, amqp) = services();
        Self::on(&database, &amqp).await
    }

    /// The same on services of one's own.
    pub(crate) async fn on(database: &str, amqp: &str) -> Self {
        let mut world = Self::bare(database, amqp).await;
        world.integration = world.add_integration(SITE, &json!({})).await;
        world
    }

    /// Without an integration: the organization is not known yet.
    pub(crate) async fn bare(database: &str, amqp: &str) -> Self {
        let name = format!("tw_test_{}", Uuid::new_v4().simple());
        let (server, _) = database.rsplit_once('/').unwrap();
        let database_url = format!("{server}/{name}");
        create_database(&database_url.as_str().into())
            .await
            .unwrap();
        let (mut client, connection) = connect(&database_url.as_str().into(), "tests")
            .await
            .unwrap();
        migrate::up(&mut client).await.unwrap();
        drop(client);
        connection.await.unwrap();
        let topology = Topology::new(&name);
        let sandbox = sandbox::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let events = Events::default();
        let collector = events.collect(amqp, topology.clone());
        let world = Self {
            sandbox,
            organization: Uuid::new_v4(),
            integration: Uuid::nil(),
            topology,
            database_url: database_url.clone(),
            amqp_url: amqp.into(),
            events,
            directory: tempfile::tempdir().unwrap(),
            environment: Mutex::new(BTreeMap::new()),
            channel: tokio::sync::Mutex::new(None),
            collector,
            workers: AtomicU32::new(0),
        };
        let key = ticketwire::secrets::generate("test");
        world.set("DATABASE_URL", &database_url);
        world.set("AMQP_URL", amqp);
        world.set("TICKETWIRE__AMQP__PREFIX", &name);
        world.set("TICKETWIRE__SECRETS__KEYS", &json!([key]).to_string());
        world.set("TICKETWIRE__EGRESS__ALLOW", r#"["127.0.0.0/8"]"#);
        world.set("TICKETWIRE__EGRESS__ALLOW_HTTP", "true");
        world.set("TICKETWIRE__HTTP__WEBHOOK_LISTEN", "");
        world.set("TICKETWIRE__WORKER__ID", "w1");
        world.set("TICKETWIRE__WORKER__DRAIN_TIMEOUT", "10s");
        world.set("TICKETWIRE__DATABASE__POOL_SIZE", "2");
        world.set("TICKETWIRE__DISPATCH__REQUEST_TIMEOUT", "2s");
        world.set("TICKETWIRE__DISPATCH__ATTEMPT_TIMEOUT", "4s");
        world.set("TICKETWIRE__DISPATCH__LEASE", "6s");
        world.set("TICKETWIRE__DISPATCH__SETTLE_AFTER", "2s");
        let schedule = r#"["200ms","500ms","1s","1s","1s","1s","1s","1s"]"#;
        world.set("TICKETWIRE__RETRY__SCHEDULE", schedule);
        // Checks would show among the requests; those who test them turn them on.
        world.set("TICKETWIRE__HEALTH__INTERVAL", "");
        world.set("TICKETWIRE__LOG__FILTER", "warn,ticketwire=debug");
        world
    }

    /// A setting for the processes started from now on.
    pub(crate) fn set(&self, name: &str, value: &str) {
        let mut environment = self.environment.lock().unwrap();
        environment.insert(name.into(), value.into());
    }

    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        self.environment.lock().unwrap().clone()
    }

    /// A worker that is ready.
    pub(crate) async fn worker(&self) -> Worker {
        self.worker_with(&[]).await
    }

    /// A worker that is ready, with settings of its own.
    pub(crate) async fn worker_with(&self, settings: &[(&str, &str)]) -> Worker {
        self.spawn_worker(settings).ready().await
    }

    /// A worker that may not get so far.
    pub(crate) fn spawn_worker(&self, settings: &[(&str, &str)]) -> Worker {
        let mut environment = self.environment();
        for (name, value) in settings {
            environment.insert((*name).into(), (*value).into());
        }
        let number = self.workers.fetch_add(1, Ordering::SeqCst);
        Worker::spawn(
            &environment,
            self.directory.path().join(format!("worker-{number}.log")),
        )
    }

    /// A path for a fail point's marker.
    pub(crate) fn marker(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `ticketwire --json …`, which must succeed, and returns what it printed.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let output = output(&self.environment(), &all);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{out}\n{err}",
            output.status
        );
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// An active Jira integration at a site of the sandbox; `settings` beside the project.
    pub(crate) async fn add_integration(&self, site: &str, settings: &Value) -> Uuid {
        let mut all = json!({ "project_key": "SUP" });
        for (name, value) in settings.as_object().unwrap() {
            all[name] = value.clone();
        }
        let data = json!({
            "name": "Jira", "platform_name": "jira", "base_url": self.sandbox.url(site),
            "settings": all,
            "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" },
        });
        let organization = self.organization.to_string();
        let (environment, data) = (self.environment(), data.to_string());
        tokio::task::spawn_blocking(move || {
            let run = |arguments: &[&str]| -> Value {
                let output = output(&environment, arguments);
                let err = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{arguments:?}: {err}");
                serde_json::from_slice(&output.stdout).unwrap()
            };
            let added = run(&[
                "--json",
                "integration",
                "add",
                "--organization",
                &organization,
                "--data",
                &data,
            ]);
            let id = added["integration_id"].as_str().unwrap().to_owned();
            let tested = run(&["--json", "integration", "test", &id]);
            assert_eq!(tested["success"], true, "{tested}");
            id.parse().unwrap()
        })
        .await
        .unwrap()
    }

    /// A user of an organization, who may be another's.
    pub(crate) async fn user(&self, organization: Uuid, name: &str, mail: &str) -> Uuid {
        let id = Uuid::new_v4();
        let known = "INSERT INTO organizations (id, name, is_enabled, timezone, plan, \
                     created_at, updated_at, is_deleted) \
                     VALUES ($1, 'other', true, 'UTC', 'free', now(), now(), false) \
                     ON CONFLICT DO NOTHING";
        self.query(known, &[&organization]).await;
        let sql = "INSERT INTO users (id, email, full_name, is_active, is_verified, is_admin, \
                   role, login_count, \
                   failed_login_attempts, timezone, language, organization_id, created_at, \
                   updated_at, is_deleted) \
                   VALUES ($1, $2, $3, true, true, false, (enum_range(NULL::userrole))[1], '0', \
                   '0', 'UTC', 'en', $4, now(), now(), false)";
        self.query(sql, &[&id, &mail, &name, &organization]).await;
        id
    }

    // --- the producer's side ---

    /// Publishes a command under a new id and returns that.
    pub(crate) async fn publish(&self, command_type: &str, data: Value) -> Uuid {
        let id = Uuid::now_v7();
        self.send(&[Message::of(&command(
            command_type,
            id,
            self.organization,
            &data,
        ))])
        .await;
        id
    }

    /// Asks a question and returns the answer in full, as whoever gave a `reply_to` gets it.
    pub(crate) async fn ask(&self, command_type: &str, data: Value) -> Value {
        let (environment, data) = (self.environment(), data.to_string());
        let (kind, organization) = (command_type.to_owned(), self.organization.to_string());
        tokio::task::spawn_blocking(move || {
            let arguments = [
                "--json",
                "send",
                &kind,
                "--organization",
                &organization,
                "--data",
                &data,
                "--wait",
            ];
            let output = output(&environment, &arguments);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            serde_json::from_str(&text).unwrap_or_else(|error| {
                panic!(
                    "{kind}: {error}: {text} {}",
                    String::from_utf8_lossy(&output.stderr)
                )
            })
        })
        .await
        .unwrap()
    }

    /// Publishes a create at the world's integration; returns the command's and the ticket's id.
    pub(crate) async fn create(&self, title: &str) -> (Uuid, Uuid) {
        self.create_at(self.integration, title).await
    }

    pub(crate) async fn create_at(&self, integration: Uuid, title: &str) -> (Uuid, Uuid) {
        let ticket = Uuid::new_v4();
        let data = json!({
            "ticket_id": ticket, "title": title, "description": "It **hurts**.",
            "integration_id": integration,
        });
        (self.publish("ticket.create", data).await, ticket)
    }

    /// Publishes messages as they are and waits for the broker's confirms.
    pub(crate) async fn send(&self, messages: &[Message]) {
        let mut slot = self.channel.lock().await;
        wait_for("the broker to take messages", async || {
            if slot.is_none() {
                let url = self.amqp_url.as_str().into();
                let connection = broker::connect_tool(&url, &self.topology).await.ok()?;
                let channel = connection.create_channel().await.ok()?;
                channel
                    .confirm_select(ConfirmSelectOptions::default())
                    .await
                    .ok()?;
                *slot = Some((connection, channel));
            }
            let (_, channel) = slot.as_ref()?;
            match publish(channel, &self.topology, messages).await {
                Ok(()) => Some(()),
                Err(_) => {
                    *slot = None;
                    None
                }
            }
        })
        .await;
    }

    /// Makes and activates an integration by commands: what the worker checks, it checks.
    pub(crate) async fn integration_of(&self, data: Value) -> Uuid {
        let create = self.publish("integration.create", data).await;
        let made = self.succeeds(create).await;
        let id = made["data"]["result"]["integration_id"].clone();
        let test = self
            // What stands in for a platform knows no permissions.
            .publish(
                "integration.test",
                json!({ "integration_id": id, "test_types": ["connection", "authentication"] }),
            )
            .await;
        let tested = self.succeeds(test).await;
        assert_eq!(tested["data"]["result"]["success"], true, "{tested:#}");
        id.as_str().unwrap().parse().unwrap()
    }

    // --- what came of it ---

    /// The distinct events of a command, in order of publication.
    pub(crate) fn events_of(&self, command: Uuid) -> Vec<Value> {
        let id = command.to_string();
        let all = self.events.all().into_iter().map(|(_, event)| event);
        all.filter(|event| event["data"]["command_id"] == id.as_str())
            .collect()
    }

    /// Waits for a command's event of this outcome.
    pub(crate) async fn event(&self, command: Uuid, outcome: &str) -> Value {
        wait_for(&format!("the event {outcome} of {command}"), async || {
            let events = self.events_of(command);
            events
                .into_iter()
                .find(|event| event["data"]["outcome"] == outcome)
        })
        .await
    }

    /// Waits for an event about an integration that is not an outcome of a command.
    pub(crate) async fn told(&self, event_type: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("the event {event_type}"), async || {
            let all = self.events.all().into_iter();
            all.map(|(_, event)| event)
                .find(|event| event["type"] == event_type && fits(&event["data"]))
        })
        .await
    }

    /// What became of an integration's row.
    pub(crate) async fn integration_row(&self, id: Uuid) -> Value {
        let sql = "SELECT to_jsonb(i)::text FROM integrations i WHERE id = $1";
        serde_json::from_str(&self.text(sql, &[&id]).await.unwrap()).unwrap()
    }

    /// How often that was told.
    pub(crate) fn told_count(&self, event_type: &str) -> usize {
        let all = self.events.all().into_iter();
        all.filter(|(_, event)| event["type"] == event_type).count()
    }

    /// Waits for a command's final event.
    pub(crate) async fn outcome(&self, command: Uuid) -> Value {
        wait_for(&format!("the final event of {command}"), async || {
            let events = self.events_of(command);
            events
                .into_iter()
                .find(|event| event["data"]["outcome"] != "deferred")
        })
        .await
    }

    /// Waits for a command to succeed.
    pub(crate) async fn succeeds(&self, command: Uuid) -> Value {
        let event = self.outcome(command).await;
        assert_eq!(event["data"]["outcome"], "succeeded", "{event:#}");
        event
    }

    /// Waits for a command to fail for good, with this code.
    pub(crate) async fn fails(&self, command: Uuid, code: &str) -> Value {
        let event = self.outcome(command).await;
        assert_eq!(event["data"]["outcome"], "failed", "{event:#}");
        assert_eq!(event["data"]["error"]["code"], code, "{event:#}");
        event
    }

    /// Waits for a state of a command in the ledger.
    pub(crate) async fn state(&self, command: Uuid, state: &str) {
        wait_for(&format!("{command} to be {state}"), async || {
            let now = self
                .text("SELECT state FROM commands WHERE id = $1", &[&command])
                .await;
            (now.as_deref() == Some(state)).then_some(())
        })
        .await;
    }

    pub(crate) fn jira(&self) -> Ledger {
        self.sandbox.ledger(SITE)
    }

    pub(crate) fn fault(&self, fault: Value) {
        let fault: Fault = serde_json::from_value(fault).unwrap();
        self.sandbox.inject(SITE, fault).unwrap();
    }

    pub(crate) fn clear_faults(&self) {
        self.sandbox.clear_faults(SITE).unwrap();
    }

    pub(crate) fn configure(&self, changes: Value) {
        self.sandbox.configure(SITE, changes).unwrap();
    }

    // --- the ledger ---

    /// A connection to the test's database.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.database_url.as_str().into(), "tests")
            .await
            .unwrap()
            .0
    }

    /// Runs a statement on a connection of its own; `None` where the database is away.
    pub(crate) async fn try_query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Option<Vec<tokio_postgres::Row>> {
        let (client, _connection) = connect(&self.database_url.as_str().into(), "tests")
            .await
            .ok()?;
        client.query(sql, parameters).await.ok()
    }

    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Vec<tokio_postgres::Row> {
        let rows = self.try_query(sql, parameters).await;
        rows.unwrap_or_else(|| panic!("the database does not answer: {sql}"))
    }

    /// The first column of the first row as text.
    pub(crate) async fn text(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Option<String> {
        let rows = self.try_query(sql, parameters).await?;
        rows.first().and_then(|row| row.get(0))
    }

    /// The first column of the first row as a count.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.query(sql, &[])
            .await
            .first()
            .map_or(0, |row| row.get(0))
    }

    /// Waits until nothing is under way any more: every command final, every event out, every queue
    /// empty.
    pub(crate) async fn quiet(&self) {
        self.quiet_within(PATIENCE).await;
    }

    /// The same, where thousands of commands are.
    pub(crate) async fn quiet_within(&self, patience: Duration) {
        wait_within(
            patience,
            "every command final, every event out, every queue empty",
            async || {
                let left = "SELECT (SELECT count(*) FROM commands WHERE finished_at IS NULL) + \
                            (SELECT count(*) FROM unsent_events) + (SELECT count(*) \
                            FROM command_replies)";
                let rows = self.try_query(left, &[]).await?;
                let left: i64 = rows.first()?.get(0);
                (left == 0 && self.waiting_messages().await? == 0).then_some(())
            },
        )
        .await;
    }

    /// Messages in the command queues and the dead-letter queue.
    pub(crate) async fn waiting_messages(&self) -> Option<u32> {
        let connection = broker::connect_tool(&self.amqp_url.as_str().into(), &self.topology)
            .await
            .ok()?;
        let mut waiting = 0;
        let queues = self
            .topology
            .command_queues()
            .into_iter()
            .map(|(name, _)| name);
        for name in queues.chain([self.topology.dead()]) {
            waiting += broker::queue_depth(&connection, &name).await.ok()??.0;
        }
        let closing = connection.close(200, "done".into());
        drop(tokio::time::timeout(Duration::from_secs(1), closing).await);
        Some(waiting)
    }

    /// Closes the ledger: each of these commands has exactly one final event and one final row,
    /// events of a command came in order, and nothing is left anywhere.
    pub(crate) async fn close_the_ledger(&self, commands: &[Uuid]) {
        let began = Instant::now();
        for command in commands {
            self.outcome(*command).await;
        }
        self.quiet().await;
        let (took, of) = (began.elapsed().as_millis(), commands.len());
        println!("{took:>7} ms until: all {of} commands done and told");
        for command in commands {
            let events = self.events_of(*command);
            let finals = events
                .iter()
                .filter(|event| event["data"]["outcome"] != "deferred")
                .count();
            assert_eq!(finals, 1, "final events of {command}: {events:#?}");
            let last = events.last().unwrap();
            assert_ne!(
                last["data"]["outcome"], "deferred",
                "an event of {command} came after its final one: {events:#?}"
            );
            let state = self
                .text("SELECT state FROM commands WHERE id = $1", &[command])
                .await;
            assert_eq!(
                state.as_deref(),
                last["data"]["outcome"].as_str(),
                "{command}"
            );
        }
        let stored: BTreeSet<Uuid> = self
            .query("SELECT id FROM commands", &[])
            .await
            .iter()
            .map(|row| row.get(0))
            .collect();
        let known: BTreeSet<Uuid> = commands.iter().copied().collect();
        let missing: Vec<_> = known.difference(&stored).collect();
        assert!(missing.is_empty(), "commands without a row: {missing:?}");
    }
}

async fn publish(
    channel: &Channel,
    topology: &Topology,
    messages: &[Message],
) -> Result<(), lapin::Error> {
    let mut confirms = Vec::with_capacity(messages.len());
    for message in messages {
        let sent = channel.basic_publish(
            topology.commands().into(),
            message.routing_key.as_str().into(),
            BasicPublishOptions::default(),
            &message.body,
            message.properties.clone(),
        );
        confirms.push(sent.await?);
    }
    for confirm in join_all(confirms).await {
        assert!(
            matches!(confirm?, Confirmation::Ack(_)),
            "the broker refused a message"
        );
    }
    Ok(())
}

impl Drop for World {
    fn drop(&mut self) {
        self.collector.abort();
        let (database_url, amqp_url) = (self.database_url.clone(), self.amqp_url.clone());
        let topology = self.topology.clone();
        // Dropping happens inside a runtime, which cannot be blocked on; a thread has its own.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                if let Ok(connection) =
                    broker::connect_tool(&amqp_url.as_str().into(), &topology).await
                {
                    drop(broker::remove_prefix(&connection, &topology).await);
                }
                let (server, name) = database_url.rsplit_once('/').unwrap();
                let postgres = format!("{server}/postgres");
                if let Ok((client, _connection)) = connect(&postgres.as_str().into(), "tests").await
                {
                    let drop_it = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                    drop(client.batch_execute(&drop_it).await);
                }
            });
        });
        drop(removal.join());
    }
}
