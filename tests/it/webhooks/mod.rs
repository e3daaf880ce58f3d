//! The listener of platforms' webhooks, over HTTP against a worker with a real broker: what it
//! takes, what it answers, and what it hands on.

mod handshakes;
mod limits;
mod matrix;
mod modes;
mod outages;
mod rotation;
mod signing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use secrecy::SecretString;
use serde_json::{Value, json};
use ticketwire::broker;
use ticketwire::domain::{IntegrationId, OrganizationId};
use ticketwire::secrets::{Binding, KeyRing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::{Worker, World, free_address, wait_for};

/// Where platforms reach the listener, as far as it knows.
const PUBLIC: &str = "https://hooks.example.com/base";

/// A request.
#[derive(Clone)]
struct Post {
    method: &'static str,
    /// With its query.
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Post {
    fn to(integration: Uuid, body: &str) -> Self {
        Self {
            method: "POST",
            path: format!("/webhooks/{integration}"),
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |wanted: &str| {
            let mut names = self.headers.iter().map(|(name, _)| name);
            names.any(|name| name.eq_ignore_ascii_case(wanted))
        };
        if !has("host") {
            text.push_str("Host: hooks.example.com\r\n");
        }
        if !has("content-length") && !has("transfer-encoding") {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("Connection: close\r\n\r\n");
        [text.as_bytes(), &self.body].concat()
    }

    /// Sends it and reads the answer.
    async fn send(&self, address: SocketAddr) -> Answered {
        self.try_send(address).await.expect("an answer")
    }

    /// `None` where there is none.
    async fn try_send(&self, address: SocketAddr) -> Option<Answered> {
        let asked = async {
            let mut stream = TcpStream::connect(address).await.ok()?;
            // Who is refused early may be hung up on while it writes.
            drop(stream.write_all(&self.bytes()).await);
            let mut answer = Vec::new();
            drop(stream.read_to_end(&mut answer).await);
            Answered::read(&answer)
        };
        let asked = tokio::time::timeout(Duration::from_secs(15), asked);
        asked.await.ok().flatten()
    }
}

/// An answer.
#[derive(Debug)]
struct Answered {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answered {
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Some(Self {
            status,
            headers: headers.collect(),
            body: body.to_owned(),
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An integration as the listener sees it.
#[derive(Clone, Default)]
struct Row {
    platform: &'static str,
    category: &'static str,
    auth_type: &'static str,
    settings: Value,
    credentials: Option<Value>,
    secret: Option<String>,
    /// With the seconds until its end.
    previous: Option<(String, i64)>,
    /// A registered webhook's secret, and the one before it.
    registered: Option<(String, Option<(String, i64)>)>,
    disabled: bool,
}

impl Row {
    fn of(platform: &'static str, category: &'static str, auth_type: &'static str) -> Self {
        Self {
            platform,
            category,
            auth_type,
            settings: json!({}),
            ..Self::default()
        }
    }

    fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// Writes it into the world's database, made like the world's own integration.
    async fn insert(&self, world: &World) -> Uuid {
        let id = Uuid::new_v4();
        let text = |secret: &String| Value::String(secret.clone()).to_string();
        let secret = self.secret.as_ref();
        let previous = self.previous.as_ref();
        let seal = |column, plain: &str| sealed(world, id, column, plain);
        let changes = json!({
            "id": id, "name": format!("{} {id}", self.platform), "platform_name": self.platform,
            "integration_category": self.category, "auth_type": self.auth_type,
            "settings": self.settings, "enabled": !self.disabled, "base_url": null,
            "status": if self.disabled { "inactive" } else { "active" },
            "credentials_encrypted": self.credentials.as_ref()
                .map(|open| seal("credentials_encrypted", &open.to_string())),
            "webhook_secret_encrypted": secret
                .map(|secret| seal("webhook_secret_encrypted", &text(secret))),
            "webhook_secret_previous_encrypted": previous
                .map(|(secret, _)| seal("webhook_secret_encrypted", &text(secret))),
            "webhook_secret_previous_until": previous.map(|(_, seconds)| in_seconds(*seconds)),
            "updated_at": in_seconds(0),
        });
        let sql = "INSERT INTO integrations SELECT (jsonb_populate_record(i, $2::jsonb)).* \
                   FROM integrations i WHERE i.id = $1";
        world.query(sql, &[&world.integration, &changes]).await;
        if let Some((secret, previous)) = &self.registered {
            let secret = seal("secret_sealed", secret);
            let until = previous.as_ref().map(|(_, seconds)| in_seconds(*seconds));
            let previous = previous.as_ref().map(|(old, _)| seal("secret_sealed", old));
            register(world, id, Some(secret), previous, until, "active").await;
        }
        id
    }
}

/// A registered webhook.
async fn register(
    world: &World,
    integration: Uuid,
    secret: Option<String>,
    previous: Option<String>,
    until: Option<String>,
    state: &str,
) -> Uuid {
    let id = Uuid::new_v4();
    let url = format!("{PUBLIC}/webhooks/{integration}");
    let sql = "INSERT INTO integration_webhooks (id, integration_id, url, secret_sealed, \
               previous_sealed, previous_until, state, awaiting_until) VALUES ($1, $2, $3, $4, $5, \
               $6::text::timestamptz, $7, CASE WHEN $7 = 'awaiting' \
               THEN now() + interval '60 seconds' END)";
    let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&id, &integration, &url, &secret, &previous, &until, &state];
    world.query(sql, parameters).await;
    id
}

fn in_seconds(seconds: i64) -> String {
    (chrono::Utc::now() + chrono::TimeDelta::seconds(seconds)).to_rfc3339()
}

fn ring(world: &World) -> KeyRing {
    let keys: Vec<String> =
        serde_json::from_str(&world.environment()["TICKETWIRE__SECRETS__KEYS"]).unwrap();
    let keys: Vec<SecretString> = keys.into_iter().map(SecretString::from).collect();
    KeyRing::parse(&keys).unwrap()
}

fn sealed(world: &World, integration: Uuid, column: &'static str, plain: &str) -> String {
    let binding = Binding {
        organization: OrganizationId::new(world.organization),
        integration: IntegrationId::new(integration),
        column,
    };
    ring(world).seal(&binding, plain.as_bytes()).unwrap()
}

/// A worker that listens for webhooks, and where.
async fn listening(world: &World, settings: &[(&str, &str)]) -> (Worker, SocketAddr) {
    let (worker, address) = spawn(world, settings);
    (worker.ready().await, address)
}

/// The same that may not get ready.
fn spawn(world: &World, settings: &[(&str, &str)]) -> (Worker, SocketAddr) {
    let address = free_address();
    let listen = address.to_string();
    let mut all = vec![
        ("TICKETWIRE__HTTP__WEBHOOK_LISTEN", listen.as_str()),
        ("TICKETWIRE__HTTP__WEBHOOK_PUBLIC_URL", PUBLIC),
    ];
    all.extend(settings);
    (world.spawn_worker(&all), address)
}

/// What was published for the consumers of webhooks, in a queue of the test's own.
struct Published {
    all: Arc<Mutex<Vec<Value>>>,
    _connection: broker::Connection,
    _reading: tokio::task::JoinHandle<()>,
}

impl Published {
    async fn of(world: &World) -> Self {
        let url = world.amqp_url.as_str().into();
        let connection = broker::connect_tool(&url, &world.topology).await.unwrap();
        broker::declare_prefix(&connection, &world.topology)
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), options, FieldTable::default())
            .await
            .unwrap();
        let name = queue.name().clone();
        let bound = channel.queue_bind(
            name.clone(),
            world.topology.commands().into(),
            "webhook.received".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.unwrap();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel.basic_consume(name, "".into(), options, FieldTable::default());
        let mut consumer = consumer.await.unwrap();
        let all: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&all);
        let reading = tokio::task::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                let event = serde_json::from_slice(&delivery.data).unwrap();
                kept.lock().unwrap().push(event);
            }
        });
        Self {
            all,
            _connection: connection,
            _reading: reading,
        }
    }

    /// Those for an integration.
    fn found(&self, integration: Uuid) -> Vec<Value> {
        let all = self.all.lock().unwrap();
        let id = integration.to_string();
        let its = all
            .iter()
            .filter(|event| event["data"]["integration_id"] == id.as_str());
        its.cloned().collect()
    }

    /// Waits until there are so many for an integration; more would be a fault.
    async fn are(&self, integration: Uuid, count: usize) -> Vec<Value> {
        let found = wait_for(&format!("{count} messages for {integration}"), async || {
            let found = self.found(integration);
            (found.len() >= count).then_some(found)
        })
        .await;
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }
}

/// The verdicts over deliveries for an integration, in their order, as the log has them.
fn verdicts(worker: &Worker, integration: Uuid) -> Vec<String> {
    let id = integration.to_string();
    let log = worker.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let its = lines.filter(|line| {
        line["message"] == "a platform's delivery" && line["integration"] == id.as_str()
    });
    its.map(|line| line["verdict"].as_str().unwrap().to_owned())
        .collect()
}

/// A Slack integration, and deliveries of it.
fn slack() -> Row {
    Row::of("slack", "messaging", "bearer")
}

fn slack_post(integration: Uuid, secret: &str, body: &str) -> Post {
    let now = chrono::Utc::now().timestamp();
    let proof = signing::hex_mac(secret.as_bytes(), &format!("v0:{now}:{body}"));
    Post::to(integration, body)
        .with("content-type", "application/json")
        .with("x-slack-request-timestamp", &now.to_string())
        .with("x-slack-signature", &format!("v0={proof}"))
}

const SLACK_EVENT: &str = r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"message","channel":"C1","ts":"1.2","text":"x"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_in_the_queue_before_it_is_answered_and_carries_the_listener_s_proof() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let hook = slack().secret("slack-secret").insert(&world).await;
    let (worker, address) = listening(&world, &[]).await;

    let mut post = slack_post(hook, "slack-secret", SLACK_EVENT)
        .with("x-slack-retry-num", "1")
        .with("cookie", "a=b")
        .with("authorization", "Bearer stolen");
    post.path.push_str("?team=a%20b");
    let answered = post.send(address).await;

    assert_eq!(
        (answered.status, answered.body.as_str()),
        (200, ""),
        "{answered:?}"
    );
    let event = published.are(hook, 1).await.remove(0);
    assert_eq!(event["type"], "webhook.received");
    assert_eq!(event["organizationid"], world.organization.to_string());
    let data = &event["data"];
    let names: Vec<&String> = data["headers"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "content-type",
            "x-slack-request-timestamp",
            "x-slack-retry-num",
            "x-slack-signature",
        ]
    );
    assert_eq!(
        (&data["method"], &data["query"]),
        (&json!("POST"), &json!("team=a%20b"))
    );
    assert_eq!(signing::decoded(&data["body"]), SLACK_EVENT.as_bytes());
    assert!(signing::is_sealed(&world, &event), "{event:#}");
    assert_eq!(verdicts(&worker, hook), ["accepted"]);
    let log = worker.log();
    for secret in ["slack-secret", "stolen", "event_callback", "a%20b"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nobody_s_disabled_or_otherwise_asked_has_its_answer() {
    let world = World::new().await;
    let hook = slack().secret("s").insert(&world).await;
    let mut off = slack().secret("s");
    off.disabled = true;
    let off = off.insert(&world).await;
    let deleted = slack().secret("s").insert(&world).await;
    world
        .query(
            "UPDATE integrations SET is_deleted = true WHERE id = $1",
            &[&deleted],
        )
        .await;
    let mail = Row::of("email", "messaging", "basic")
        .secret("s")
        .insert(&world)
        .await;
    let (worker, address) = listening(&world, &[]).await;
    let status = async |post: Post| post.send(address).await.status;

    for nobody in [Uuid::new_v4(), off, deleted, mail] {
        let answered = slack_post(nobody, "s", SLACK_EVENT).send(address).await;
        assert_eq!(
            (answered.status, answered.body.as_str()),
            (404, ""),
            "{answered:?}"
        );
    }
    let mut elsewhere = slack_post(hook, "s", SLACK_EVENT);
    for path in ["/", "/health", "/metrics", "/webhooks/", "/webhooks/x"] {
        elsewhere.path = path.to_owned();
        assert_eq!(status(elsewhere.clone()).await, 404, "{path}");
    }
    elsewhere.path = format!("/webhooks/{}", hook.simple());
    assert_eq!(status(elsewhere.clone()).await, 404);
    elsewhere.path = format!("/webhooks/{hook}/");
    assert_eq!(status(elsewhere).await, 404);

    let get = slack_post(hook, "s", "").by("GET").send(address).await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST, HEAD")));
    let head = Post::to(hook, "").by("HEAD").send(address).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(status(Post::to(off, "").by("HEAD")).await, 404);
    let zipped = slack_post(hook, "s", SLACK_EVENT).with("content-encoding", "gzip");
    assert_eq!(status(zipped).await, 415);
    let mut alive = Post::to(hook, "").by("GET");
    alive.path = "/health/live".to_owned();
    assert_eq!(status(alive).await, 200);
    assert_eq!(verdicts(&worker, off), ["disabled", "disabled"]);
    assert_eq!(verdicts(&worker, mail), ["unknown"]);

    // Disabled while the worker runs: known within its two seconds.
    let disable = "UPDATE integrations SET enabled = false, updated_at = now() WHERE id = $1";
    world.query(disable, &[&hook]).await;
    wait_for("the integration to be known as disabled", async || {
        (status(slack_post(hook, "s", SLACK_EVENT)).await == 404).then_some(())
    })
    .await;
    let enable = "UPDATE integrations SET enabled = true, updated_at = now() WHERE id = $1";
    world.query(enable, &[&hook]).await;
    wait_for("the integration to be known as enabled", async || {
        (status(slack_post(hook, "s", SLACK_EVENT)).await == 200).then_some(())
    })
    .await;
}
