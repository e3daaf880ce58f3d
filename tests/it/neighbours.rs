//! The hostile neighbour: one organization does its worst, in many ways, and another's tickets are
//! created beside it, each within a second by an optimised program, and every outcome right.
//!
//! The amounts are those that a debug build bears on a machine that runs other tests, too. With
//! `TICKETWIRE_TEST_PROGRAM` set to an optimised program and `TICKETWIRE_TEST_HARM` to a factor,
//! they are as many times as large.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{FileServer, Message, World, command, wait_for};

/// Creates of the neighbour once all harm is done, at this pace.
const CREATES: usize = 40;
/// And as many at most in all.
const CREATES_MAX: usize = 400;
const PACE: Duration = Duration::from_millis(50);
/// The neighbour's creates are done in this time, all but one in a hundred.
const P99_MAX: Duration = Duration::from_secs(1);
/// The same of a debug build, on a machine that runs other tests, too. What these tests were
/// written for took it 8 to 60 s.
const P99_MAX_DEBUG: Duration = Duration::from_secs(5);

/// The last of them ends so long after it was published, or somebody keeps it waiting.
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// What hangs goes on hanging for longer than anybody waits here.
const PATIENT: [(&str, &str); 3] = [
    ("TICKETWIRE__DISPATCH__REQUEST_TIMEOUT", "40s"),
    ("TICKETWIRE__DISPATCH__ATTEMPT_TIMEOUT", "60s"),
    ("TICKETWIRE__DISPATCH__LEASE", "70s"),
];

/// One at a time: they do each other harm, too.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// By how much more harm is done than a debug build bears.
fn harm() -> usize {
    std::env::var("TICKETWIRE_TEST_HARM").map_or(1, |factor| factor.parse().unwrap())
}

/// A platform that accepts connections and never answers.
async fn silent_host() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    format!("http://{address}")
}

/// What the hostile organization has to work with.
struct Hostile<'a> {
    world: &'a World,
    organization: Uuid,
}

impl Hostile<'_> {
    fn command(&self, kind: &str, data: &Value) -> Message {
        Message::of(&command(kind, Uuid::now_v7(), self.organization, data))
    }

    async fn send(&self, kind: &str, all: impl IntoIterator<Item = Value>) {
        let all: Vec<Value> = all.into_iter().collect();
        let messages: Vec<Message> = (0..harm())
            .flat_map(|_| all.iter())
            .map(|data| self.command(kind, data))
            .collect();
        for part in messages.chunks(200) {
            self.world.send(part).await;
        }
    }

    /// An integration that is active whatever its platform answers.
    async fn integration(&self, mut data: Value) -> Uuid {
        data["name"] = "Hostile".into();
        let id = Uuid::now_v7();
        let create = command("integration.create", id, self.organization, &data);
        self.world.send(&[Message::of(&create)]).await;
        let made = self.world.succeeds(id).await;
        let made: Uuid = made["data"]["result"]["integration_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let active = "UPDATE integrations SET status = 'active' WHERE id = $1";
        self.world.query(active, &[&made]).await;
        made
    }

    async fn jira(&self, base_url: &str) -> Uuid {
        self.integration(json!({
            "platform_name": "jira", "base_url": base_url, "settings": { "project_key": "SUP" },
            "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" },
        }))
        .await
    }

    /// As many integrations with a platform that never answers. All of them before anything is sent
    /// there: its own integrations wait for room as well.
    async fn silent(&self, count: usize) -> Vec<Uuid> {
        let silent = silent_host().await;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.jira(&silent).await);
        }
        all
    }

    fn site(&self) -> String {
        self.world.sandbox.url("hostile")
    }

    /// As many creates at one integration.
    async fn creates(&self, integration: Uuid, count: usize, description: &str) {
        let data = (0..count).map(|number| {
            json!({ "title": format!("h{number}"), "description": description,
                "integration_id": integration })
        });
        self.send("ticket.create", data).await;
    }
}

/// One way of doing harm.
type Way = for<'a> fn(Hostile<'a>) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

async fn beside(way: Way, settings: &[(&str, &str)]) {
    let _turn = TURN.lock().await;
    let p99_max = if std::env::var("TICKETWIRE_TEST_PROGRAM").is_ok() {
        P99_MAX
    } else {
        P99_MAX_DEBUG
    };
    let world = World::new().await;
    let worker = world.worker_with(settings).await;
    let hostile = Hostile {
        world: &world,
        organization: Uuid::new_v4(),
    };
    let is_done = AtomicBool::new(false);
    let harm = async {
        way(hostile).await;
        is_done.store(true, Ordering::Relaxed);
    };
    let neighbour = async {
        let mut published: Vec<(Uuid, DateTime<Utc>)> = Vec::new();
        // While harm is being done, and then as many more.
        let mut behind = 0;
        while behind < CREATES && published.len() < CREATES_MAX {
            behind += usize::from(is_done.load(Ordering::Relaxed));
            let (id, _) = world.create(&format!("n{}", published.len())).await;
            published.push((id, Utc::now()));
            // The pace of a producer, not a wait for something.
            tokio::time::sleep(PACE).await;
        }
        ended(&world, published).await
    };
    // Whatever becomes of the harm: a neighbour that is kept waiting is told of at once.
    let (mut took, ()) = tokio::join!(neighbour, harm);

    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100 - 1];
    println!(
        "{} creates, p50 {:?}, p99 {p99:?}, longest {:?}",
        took.len(),
        took[took.len() / 2],
        took[took.len() - 1]
    );
    assert_eq!(world.jira().issues.len(), took.len());
    assert!(p99 < p99_max, "p99 {p99:?} of {took:?}");
    let (status, _) = crate::support::http_get(worker.address, "/health/ready")
        .await
        .unwrap();
    assert_eq!(status, 200, "the worker is not ready any more");
    drop(worker);
}

/// How long each of the neighbour's creates took, all of which succeed before long.
async fn ended(world: &World, published: Vec<(Uuid, DateTime<Utc>)>) -> Vec<Duration> {
    let ids: Vec<Uuid> = published.iter().map(|(id, _)| *id).collect();
    let began = Instant::now();
    let rows = loop {
        let sql = "SELECT id, state, finished_at FROM commands WHERE id = ANY($1) \
                   AND finished_at IS NOT NULL";
        let rows = world.try_query(sql, &[&ids]).await.unwrap_or_default();
        if rows.len() == ids.len() {
            break rows;
        }
        assert!(
            began.elapsed() < ENDED_WITHIN,
            "{} of the neighbour's {} creates did not end within {ENDED_WITHIN:?}: the other \
             organization keeps them waiting",
            ids.len() - rows.len(),
            ids.len()
        );
        tokio::time::sleep(PACE).await;
    };
    let mut took: Vec<Duration> = Vec::new();
    for row in rows {
        let (id, state, done): (Uuid, String, DateTime<Utc>) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(state, "succeeded", "{:#?}", world.events_of(id));
        let at = published.iter().find(|(other, _)| *other == id).unwrap().1;
        took.push((done - at).to_std().unwrap_or_default());
    }
    took
}

macro_rules! ways {
    ($($(#[$doc:meta])* $name:ident: |$hostile:ident| $body:block)+) => {
        $($(#[$doc])* #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            fn way<'a>($hostile: Hostile<'a>) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
                Box::pin(async move { $body })
            }
            beside(way, &[]).await;
        })+
    };
}

ways! {
    creates_at_a_platform_that_never_answers: |hostile| {
        let silent = silent_host().await;
        for _ in 0..5 {
            let id = hostile.jira(&silent).await;
            hostile.creates(id, 400, "d").await;
        }
    }

    reads_of_a_platform_that_never_answers: |hostile| {
        let silent = silent_host().await;
        let id = hostile.jira(&silent).await;
        hostile.send("integration.fields", (0..600).map(|_| json!({ "integration_id": id }))).await;
    }

    a_token_endpoint_that_never_answers: |hostile| {
        let silent = silent_host().await;
        for _ in 0..4 {
            let id = hostile.integration(json!({
                "platform_name": "jira", "auth_type": "oauth2", "base_url": hostile.site(),
                "settings": { "project_key": "SUP", "token_url": format!("{silent}/token"),
                    "api_url": hostile.site() },
                "credentials": { "client_id": "c", "client_secret": "s3cr3t-0ne",
                    "refresh_token": "r3fr3sh", "cloud_id": "x" },
            })).await;
            hostile.creates(id, 50, "d").await;
        }
    }

    a_platform_that_dribbles_its_answers: |hostile| {
        let fault = json!({ "kind": "slow_body", "delay_ms": 60_000, "times": 0 });
        let fault = serde_json::from_value(fault).unwrap();
        hostile.world.sandbox.inject("hostile", fault).unwrap();
        let id = hostile.jira(&hostile.site()).await;
        hostile.creates(id, 500, "d").await;
    }

    a_platform_that_refuses_by_budget: |hostile| {
        let fault = json!({ "kind": "status", "status": 429, "times": 0,
            "headers": { "Retry-After": "1" } });
        let fault = serde_json::from_value(fault).unwrap();
        hostile.world.sandbox.inject("hostile", fault).unwrap();
        let id = hostile.jira(&hostile.site()).await;
        hostile.creates(id, 2000, "d").await;
    }

    a_platform_whose_answers_never_end: |hostile| {
        let fault = json!({ "kind": "oversize", "bytes": 2_200_000, "times": 0 });
        let fault = serde_json::from_value(fault).unwrap();
        hostile.world.sandbox.inject("hostile", fault).unwrap();
        let id = hostile.jira(&hostile.site()).await;
        hostile.creates(id, 20, "d").await;
    }

    texts_that_are_dear_to_convert: |hostile| {
        let slack = hostile.integration(json!({
            "platform_name": "slack", "auth_type": "bearer", "settings": { "channel": "C0SUPPORT" },
            "base_url": hostile.world.sandbox.url("slack/hostile"),
            "credentials": { "bot_token": "xoxb-sandbox-0123456789" },
        })).await;
        let jira = hostile.jira(&hostile.site()).await;
        for bomb in ["- ", "> ", "* ", "[", "**", "<", "`", "![](", "| "] {
            let text = bomb.repeat(20_000 / bomb.len());
            hostile.creates(slack, 2, &text).await;
            hostile.creates(jira, 2, &text).await;
        }
    }

    large_messages: |hostile| {
        let id = hostile.jira(&hostile.site()).await;
        let text = "word ".repeat(180_000);
        hostile.creates(id, 3, &text).await;
    }

    messages_that_are_no_commands: |hostile| {
        let mut messages = Vec::new();
        for number in 0..600 {
            let mut body = String::from("{");
            write!(body, "\"specversion\": {number}, \"data\": [[[[").unwrap();
            messages.push(Message::new("ticket.create", body));
        }
        for part in messages.chunks(200) {
            hostile.world.send(part).await;
        }
    }

    commands_for_tickets_that_do_not_exist: |hostile| {
        hostile.jira(&hostile.site()).await;
        hostile.send("ticket.comment", (0..2000).map(|_| json!({ "ticket_id": Uuid::new_v4(),
            "body": "?" }))).await;
    }

    changes_of_its_own_integration: |hostile| {
        let id = hostile.jira(&hostile.site()).await;
        hostile.send("integration.status", (0..1500).map(|number| json!({ "integration_id": id,
            "enabled": number % 2 == 0 }))).await;
    }

    integrations_with_thousands_of_rules: |hostile| {
        let rule = json!({ "field": "title", "operator": "contains", "value": "x".repeat(40) });
        let rules: Vec<Value> = vec![rule; 9000];
        let data = json!({
            "name": "Rules", "platform_name": "jira", "base_url": hostile.site(),
            "settings": { "project_key": "SUP" },
            "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" },
            "routing_rules": { "conditions": rules },
        });
        hostile.send("integration.create", vec![data; 2]).await;
        let create = json!({ "title": "t", "description": "d", "route": true });
        hostile.send("ticket.create", vec![create; 200]).await;
        hostile.send("integration.route", vec![json!({ "ticket": { "title": "t" } }); 200]).await;
    }

    searches: |hostile| {
        hostile.jira(&hostile.site()).await;
        // Enough tickets for a search to be work.
        let fill = "INSERT INTO tickets (id, organization_id, title, description, status, \
                    priority, category, urgency, \
                    source_channel, business_impact, communication_count, escalation_level, \
                    sla_breached, last_activity_at, \
                    created_at, updated_at, is_deleted) SELECT gen_random_uuid(), $1, 't', \
                    repeat('word ', 200), 'new', 'low', \
                    'general', 'low', 'api', 'low', 0, 0, false, now(), now(), now(), false \
                    FROM generate_series(1, 5000)";
        hostile.world.query(fill, &[&hostile.organization]).await;
        hostile.send("ticket.search", (0..1500).map(|number| json!({ "q": format!("word -{number}"),
            "limit": 100 }))).await;
    }

    bulk_changes: |hostile| {
        let id = hostile.jira(&hostile.site()).await;
        hostile.creates(id, 1, "d").await;
        for _ in 0..8 {
            let tickets: Vec<Uuid> = (0..500).map(|_| Uuid::new_v4()).collect();
            hostile.send("ticket.bulk_update", [json!({ "ticket_ids": tickets,
                "updates": { "priority": "low" } })]).await;
        }
    }

    dry_runs_of_large_texts: |hostile| {
        let id = hostile.jira(&hostile.site()).await;
        let text = "- ".repeat(50_000);
        let data = json!({ "title": "t", "description": text, "integration_id": id });
        for _ in 0..20 {
            let mut dry = command("ticket.create", Uuid::now_v7(), hostile.organization, &data);
            dry["dryrun"] = true.into();
            hostile.world.send(&[Message::of(&dry)]).await;
        }
    }

    files_from_a_source_that_never_answers: |hostile| {
        let files = FileServer::start().await;
        let silent = silent_host().await;
        let id = hostile.jira(&hostile.site()).await;
        let create = |number: usize| {
            let url = if number.is_multiple_of(2) { format!("{silent}/file") } else {
                files.url("/away") };
            let mut data = Map::new();
            data.insert("title".into(), "t".into());
            data.insert("description".into(), "d".into());
            data.insert("integration_id".into(), json!(id));
            data.insert("attachments".into(), json!([{ "name": "a", "url": url }]));
            Value::Object(data)
        };
        hostile.send("ticket.create", (0..300).map(create)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_of_a_platform_that_never_answers() {
    fn way<'a>(hostile: Hostile<'a>) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            for id in hostile.silent(20).await {
                let tests = (0..300).map(|_| json!({ "integration_id": id }));
                hostile.send("integration.test", tests).await;
            }
        })
    }
    beside(way, &PATIENT).await;
}

/// More than the worker's memory holds, spread over so many lanes that none of them is full.
#[tokio::test(flavor = "multi_thread")]
async fn an_organization_whose_work_would_fill_the_memory_has_its_share_of_it() {
    fn way<'a>(hostile: Hostile<'a>) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            for id in hostile.silent(12).await {
                hostile.creates(id, 30, "d").await;
            }
        })
    }
    let settings = [&[("TICKETWIRE__WORKER__MEMORY", "128")], &PATIENT[..]].concat();
    beside(way, &settings).await;
}

/// More than the worker's memory holds.
const TESTS: usize = 1_300;

#[tokio::test(flavor = "multi_thread")]
async fn a_test_waits_neither_for_anothers_silent_platform_nor_behind_tickets() {
    let _turn = TURN.lock().await;
    let world = World::new().await;
    let settings = [&[("TICKETWIRE__WORKER__MEMORY", "512")], &PATIENT[..]].concat();
    let worker = world.worker_with(&settings).await;
    let hostile = Hostile {
        world: &world,
        organization: Uuid::new_v4(),
    };
    let silent = hostile.jira(&silent_host().await).await;
    let tests = (0..TESTS).map(|_| json!({ "integration_id": silent }));
    hostile.send("integration.test", tests).await;
    world.fault(json!({ "kind": "hang", "operation": "create_issue", "times": 0 }));
    for number in 0..100 {
        world.create(&format!("hangs {number}")).await;
    }
    wait_for("all to be stored", async || {
        let stored =
            "SELECT count(*) FROM commands WHERE type IN ('integration.test', 'ticket.create')";
        (world.count(stored).await >= i64::try_from(TESTS + 100).unwrap()).then_some(())
    })
    .await;

    let data = json!({ "integration_id": world.integration });
    let test = world.publish("integration.test", data).await;
    let tested = tokio::time::timeout(P99_MAX_DEBUG, world.succeeds(test)).await;

    assert!(
        tested.is_ok(),
        "a test waits for what has nothing to do with it"
    );
    drop(worker);
}
