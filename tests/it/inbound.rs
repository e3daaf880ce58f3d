//! What a platform tells by itself, from the message on: verified, decided, told once. Deliveries
//! are signed here as the vendors' documents say, not by the code that verifies them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{SecondsFormat, Utc};
use ring::hmac;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{SITE, World, http_json, output, wait_for};

/// The secret that the site signs with.
const SECRET: &str = "what only the two of us know";

/// A world whose Jira tells us what happens there.
struct Told {
    world: World,
    site: String,
}

impl Told {
    async fn new(settings: Value) -> Self {
        let world = World::new().await;
        let site = world.sandbox.url(SITE);
        let told = Self { world, site };
        told.set(settings).await;
        told
    }

    /// Gives the integration the secret, and settings besides its own.
    async fn set(&self, settings: Value) {
        let id = self.world.integration.to_string();
        let mut all = json!({ "project_key": "SUP" });
        all.as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let data = json!({ "integration_id": id, "webhook_secret": SECRET, "settings": all });
        let update = self.world.publish("integration.update", data).await;
        let worker = self.world.worker().await;
        self.world.succeeds(update).await;
        assert!(worker.stop().await.success());
    }

    async fn ticket(&self, title: &str) -> (Uuid, String) {
        let (create, ticket) = self.world.create(title).await;
        let made = self.world.succeeds(create).await;
        let key = made["data"]["result"]["integration_result"]["external_ticket_id"].clone();
        (ticket, key.as_str().unwrap().to_owned())
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}/rest/api/3/{path}", self.site);
        let (status, answer) = http_json(method, &url, &body).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// A person moves the issue.
    async fn moves(&self, key: &str, category: &str) {
        let path = format!("issue/{key}/transitions");
        let offered = self.call("GET", &path, Value::Null).await;
        let offered = offered["transitions"].as_array().unwrap().clone();
        let to = offered
            .iter()
            .find(|t| t["to"]["statusCategory"]["key"] == category);
        let mut body = json!({ "transition": { "id": to.unwrap()["id"] } });
        if category == "done" {
            body["fields"] = json!({ "resolution": { "name": "Done" } });
        }
        self.call("POST", &path, body).await;
    }

    /// What Jira sends of the issue as it stands.
    async fn body(&self, key: &str, event: &str) -> Value {
        let issue = self.call("GET", &format!("issue/{key}"), Value::Null).await;
        json!({
            "timestamp": Utc::now().timestamp_millis(), "webhookEvent": event,
            "user": { "accountId": "99:27", "displayName": "Jane" }, "issue": issue,
            "changelog": { "id": "1", "items": [] },
        })
    }

    fn data(&self, id: &str, body: &str, secret: &str) -> Value {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = hex::encode(hmac::sign(&key, body.as_bytes()));
        json!({
            "integration_id": self.world.integration,
            "headers": {
                "X-Hub-Signature": format!("sha256={signature}"),
                "X-Atlassian-Webhook-Identifier": id, "Content-Type": "application/json",
            },
            "body": STANDARD.encode(body),
            "received_at": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        })
    }

    async fn delivers(&self, id: &str, body: &Value) -> Uuid {
        let data = self.data(id, &body.to_string(), SECRET);
        self.world.publish("webhook.received", data).await
    }

    /// What was told of changes there.
    fn news(&self) -> Vec<Value> {
        let all = self.world.events.all().into_iter().map(|(_, event)| event);
        all.filter(|event| {
            event["type"]
                .as_str()
                .is_some_and(|t| t.starts_with("ticket.external"))
        })
        .map(|event| event["data"]["changes"].clone())
        .collect()
    }

    async fn column(&self, column: &str, ticket: Uuid) -> Option<String> {
        let sql = format!("SELECT {column}::text FROM tickets WHERE id = $1");
        self.world.text(&sql, &[&ticket]).await
    }
}

fn counts(event: &Value) -> Vec<(String, i64)> {
    let result = event["data"]["result"].as_object().unwrap();
    let counted = result.iter().filter(|(_, count)| **count != json!(0));
    counted
        .map(|(name, count)| (name.clone(), count.as_i64().unwrap()))
        .collect()
}

fn one(name: &str) -> Vec<(String, i64)> {
    let mut all = vec![("changes".to_owned(), 1), (name.to_owned(), 1)];
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_there_is_in_our_ticket_and_told_once() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Watched").await;

    told.moves(&key, "indeterminate").await;
    let body = told.body(&key, "jira:issue_updated").await;
    let first = told.delivers("d-1", &body).await;
    let event = told.world.succeeds(first).await;
    assert_eq!(counts(&event), one("applied"), "{event:#}");
    assert_eq!(
        told.column("status", ticket).await.as_deref(),
        Some("in_progress")
    );
    let news = told
        .world
        .told("ticket.external.updated", |d| {
            d["ticket_id"] == ticket.to_string()
        })
        .await;
    let data = &news["data"];
    assert_eq!(data["origin"], "webhook");
    assert_eq!(data["changed_by"]["name"], "Jane");
    assert_eq!(
        (&data["status"], &data["old_status"]),
        (&json!("in_progress"), &json!("new"))
    );
    let changes = data["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{news:#}");
    assert_eq!(
        (&changes[0]["field"], &changes[0]["applied"]),
        (&json!("status"), &json!(true))
    );

    // The same delivery again, and the same change in another: nothing happens.
    let again = told.delivers("d-1", &body).await;
    let event = told.world.succeeds(again).await;
    assert_eq!(counts(&event), one("repeats"), "{event:#}");
    let other = told.delivers("d-2", &body).await;
    let event = told.world.succeeds(other).await;
    assert_eq!(counts(&event), one("echoes"), "{event:#}");
    assert_eq!(told.world.told_count("ticket.external.updated"), 1);
    let kept = "SELECT data FROM commands WHERE id = $1";
    assert_eq!(
        told.world.text(kept, &[&first]).await.as_deref(),
        Some("{}"),
        "what was taken is not kept"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_verified_is_not_believed_and_may_be_sent_again() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Watched").await;
    told.moves(&key, "indeterminate").await;
    let body = told.body(&key, "jira:issue_updated").await;
    let text = body.to_string();

    let mut unsigned = told.data("d-1", &text, SECRET);
    unsigned["headers"]
        .as_object_mut()
        .unwrap()
        .remove("X-Hub-Signature");
    let mut tampered = told.data("d-1", &text, SECRET);
    tampered["body"] = json!(STANDARD.encode(text.replace("Watched", "Touched")));
    let mut sealed = told.data("d-1", &text, "another");
    sealed["listenerseal"] = json!("one:00");
    let mut old = told.data("d-1", &text, SECRET);
    old["received_at"] = json!("2026-01-01T00:00:00Z");
    for (data, said) in [
        (unsigned, "unsigned"),
        (tampered, "bad_signature"),
        (told.data("d-1", &text, "another"), "bad_signature"),
        (sealed, "bad_signature"),
        (old, "7 days"),
    ] {
        let sent = told.world.publish("webhook.received", data).await;
        let event = told.world.fails(sent, "validation_failed").await;
        let message = event["data"]["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{said} in {message}");
    }
    assert_eq!(told.column("status", ticket).await.as_deref(), Some("new"));
    assert_eq!(told.world.told_count("ticket.external.updated"), 0);
    // Nothing of a signature, which is good for its body for ever, is in the ledger in clear.
    let clear = "SELECT count(*) FROM commands WHERE data LIKE '%sha256=%'";
    assert_eq!(told.world.count(clear).await, 0);

    let sound = told.delivers("d-1", &body).await;
    let event = told.world.succeeds(sound).await;
    assert_eq!(counts(&event), one("applied"), "{event:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_wrote_ourselves_is_no_news_before_and_after_it_is_settled() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Ours").await;
    let created = told.body(&key, "jira:issue_created").await;
    let hook = told.delivers("c-1", &created).await;
    let event = told.world.succeeds(hook).await;
    assert_eq!(counts(&event), one("echoes"), "{:#?}", told.news());

    // The answer is slow, or lost: the hook is there before our own settlement.
    for (name, delay, state, to) in [
        ("slow", 1500, "running", "in_progress"),
        ("lost", 3000, "deferred", "resolved"),
    ] {
        told.world.fault(json!({ "kind": "delay", "delay_ms": delay,
            "delay_at": "after_store", "operation": "transition_issue" }));
        let data = json!({ "ticket_id": ticket, "status": to, "resolution_summary": "Done." });
        let status = told.world.publish("ticket.status", data).await;
        let before = told.body(&key, "jira:issue_updated").await;
        let moved = wait_for("the issue to be moved", async || {
            let body = told.body(&key, "jira:issue_updated").await;
            let status = |body: &Value| body["issue"]["fields"]["status"]["name"].clone();
            (status(&body) != status(&before)).then_some(body)
        })
        .await;
        told.world.state(status, state).await;
        let early = told.delivers(&format!("{name}-1"), &moved).await;
        told.world.state(early, "deferred").await;
        let waits = "SELECT wait_reason FROM commands WHERE id = $1";
        let reason = told.world.text(waits, &[&early]).await;
        assert_eq!(
            reason.as_deref(),
            Some("own_write"),
            "there is a race to lose"
        );

        told.world.succeeds(status).await;
        let event = told.world.succeeds(early).await;
        assert_eq!(counts(&event), one("echoes"), "{name}: {:#?}", told.news());
        let late = told.delivers(&format!("{name}-2"), &moved).await;
        let event = told.world.succeeds(late).await;
        assert_eq!(counts(&event), one("echoes"), "{name}: {:#?}", told.news());
        assert_eq!(told.column("status", ticket).await.as_deref(), Some(to));
    }
    assert_eq!(told.world.told_count("ticket.external.updated"), 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_older_than_what_we_wrote_changes_nothing() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Late").await;
    told.moves(&key, "indeterminate").await;
    let late = told.body(&key, "jira:issue_updated").await;
    let data = json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Done." });
    let status = told.world.publish("ticket.status", data).await;
    told.world.succeeds(status).await;

    let hook = told.delivers("late", &late).await;
    let event = told.world.succeeds(hook).await;

    assert!(
        [one("old"), one("echoes")].contains(&counts(&event)),
        "{event:#} {:#?}",
        told.news()
    );
    assert_eq!(
        told.column("status", ticket).await.as_deref(),
        Some("resolved")
    );
    assert_eq!(told.world.told_count("ticket.external.updated"), 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_of_others_are_told_and_kept_and_ours_are_not() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Discussed").await;
    let data = json!({ "ticket_id": ticket, "body": "Ours." });
    let ours = told.world.publish("ticket.comment", data).await;
    let made = told.world.succeeds(ours).await;
    let our_id = made["data"]["result"]["external_comment_id"].clone();

    let comment = async |id: &str, text: &str, event: &str| {
        let mut body = told.body(&key, event).await;
        body["comment"] = json!({
            "id": id, "body": text, "author": { "accountId": "99:27", "displayName": "Jane" },
            "created": "2026-01-02T03:04:05.000+0000",
            "updated": Utc::now().format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string(),
        });
        body
    };
    let echo = comment(our_id.as_str().unwrap(), "Ours.", "comment_created").await;
    let echo = told.delivers("k-1", &echo).await;
    let event = told.world.succeeds(echo).await;
    assert_eq!(counts(&event), one("echoes"), "{event:#}");

    let theirs = comment("7001", "Theirs.", "comment_created").await;
    let hook = told.delivers("k-2", &theirs).await;
    let event = told.world.succeeds(hook).await;
    assert_eq!(counts(&event), one("applied"), "{event:#}");
    let news = told
        .world
        .told("ticket.external.commented", |d| {
            d["comment"]["id"] == "7001"
        })
        .await;
    let said = &news["data"]["comment"];
    assert_eq!(
        (&said["body"], &said["action"], &said["author"]["name"]),
        (&json!("Theirs."), &json!("created"), &json!("Jane"))
    );
    // The same comment by another delivery, as some sites send it twice.
    let twice = told.delivers("k-3", &theirs).await;
    let event = told.world.succeeds(twice).await;
    assert_eq!(counts(&event), one("repeats"), "{event:#}");
    assert_eq!(
        told.column("communication_count", ticket).await.as_deref(),
        Some("2"),
        "ours and theirs"
    );

    let edited = comment("7001", "Theirs, better.", "comment_updated").await;
    let hook = told.delivers("k-4", &edited).await;
    told.world.succeeds(hook).await;
    let news = told
        .world
        .told("ticket.external.commented", |d| {
            d["comment"]["action"] == "updated"
        })
        .await;
    assert_eq!(news["data"]["comment"]["before"], "Theirs.");
    let rows = told
        .world
        .text(
            "SELECT jsonb_agg(jsonb_build_object('o', origin, 'b', body) ORDER BY origin)::text \
             FROM ticket_comments WHERE ticket_id = $1",
            &[&ticket],
        )
        .await
        .unwrap();
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(
        rows,
        json!([{ "o": "ours", "b": null }, { "o": "theirs", "b": "Theirs, better." }])
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_nobody_knows_is_told_or_made_a_ticket() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let theirs = json!({ "fields": { "project": { "key": "SUP" }, "summary": "Theirs",
        "issuetype": { "name": "Task" } } });
    let made = told.call("POST", "issue", theirs).await;
    let key = made["key"].as_str().unwrap().to_owned();
    let body = told.body(&key, "jira:issue_created").await;

    let hook = told.delivers("n-1", &body).await;
    let event = told.world.succeeds(hook).await;
    assert_eq!(counts(&event), one("unknown"), "{event:#}");
    let news = told
        .world
        .told("ticket.external.created", |d| d["title"] == "Theirs")
        .await;
    assert_eq!(news["data"]["ticket_id"], Value::Null);
    assert_eq!(news["data"]["external_ticket_id"], json!(key));
    assert!(worker.stop().await.success());

    told.set(json!({ "import_unknown": true })).await;
    let worker = told.world.worker().await;
    for id in ["n-2", "n-3"] {
        let hook = told.delivers(id, &body).await;
        told.world.succeeds(hook).await;
    }
    let rows = told
        .world
        .query(
            "SELECT id, title, source_channel FROM tickets WHERE external_ticket_id = $1",
            &[&key],
        )
        .await;
    assert_eq!(rows.len(), 1, "it is made once");
    let (id, title, channel): (Uuid, String, String) =
        (rows[0].get(0), rows[0].get(1), rows[0].get(2));
    assert_eq!(
        (title.as_str(), channel.as_str()),
        ("Theirs", "integration")
    );
    let news = told
        .world
        .told("ticket.external.created", |d| d["imported"] == true)
        .await;
    assert_eq!(news["data"]["ticket_id"], id.to_string());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_carries_our_mark_does_not_take_the_ticket_over() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Original").await;
    // As a row of an older application: only the key is known.
    for sql in [
        "UPDATE tickets SET external_ref = NULL WHERE id = $1 RETURNING id",
        "DELETE FROM ticket_externals WHERE ticket_id = $1 RETURNING ticket_id",
    ] {
        told.world.query(sql, &[&ticket]).await;
    }
    let copy = json!({ "fields": { "project": { "key": "SUP" }, "summary": "Copy",
        "issuetype": { "name": "Task" }, "labels": [format!("tkt-{ticket}")] } });
    let made = told.call("POST", "issue", copy).await;
    let copy = made["key"].as_str().unwrap().to_owned();
    assert_ne!(copy, key);

    let body = told.body(&copy, "jira:issue_updated").await;
    let hook = told.delivers("copy", &body).await;
    let event = told.world.succeeds(hook).await;

    assert_eq!(counts(&event), one("unknown"), "{event:#}");
    let bound = told.column("external_ticket_id", ticket).await;
    assert_eq!(bound.as_deref(), Some(key.as_str()));
    let title = told.column("title", ticket).await;
    assert_eq!(title.as_deref(), Some("Original"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_gone_is_told_once() {
    let told = Told::new(json!({ "on_external_delete": "close" })).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Gone").await;
    let body = told.body(&key, "jira:issue_deleted").await;

    for (id, fate) in [("g-1", "applied"), ("g-2", "repeats")] {
        let hook = told.delivers(id, &body).await;
        let event = told.world.succeeds(hook).await;
        assert_eq!(counts(&event), one(fate), "{event:#}");
    }

    let news = told
        .world
        .told("ticket.external.deleted", |d| {
            d["ticket_id"] == ticket.to_string()
        })
        .await;
    assert_eq!(news["data"]["deleted"]["kind"], "deleted");
    assert_eq!(told.world.told_count("ticket.external.deleted"), 1);
    assert_eq!(
        told.column("status", ticket).await.as_deref(),
        Some("closed")
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_edit_there_is_not_overwritten_by_an_older_order() {
    let told = Told::new(json!({})).await;
    let worker = told
        .world
        .worker_with(&[("TICKETWIRE__RETRY__SCHEDULE", r#"["9s"]"#)])
        .await;
    let (ticket, key) = told.ticket("Contended").await;
    let fault = json!({ "kind": "status", "status": 503, "operation": "transition_issue" });
    told.world.fault(fault);
    let data = json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Done." });
    let order = told.world.publish("ticket.status", data).await;
    told.world.state(order, "deferred").await;
    let old = "SELECT 'yes' FROM commands WHERE id = $1 \
               AND received_at < now() - interval '6 seconds'";
    wait_for("the order to be some seconds old", async || {
        told.world.text(old, &[&order]).await
    })
    .await;

    told.moves(&key, "indeterminate").await;
    let body = told.body(&key, "jira:issue_updated").await;
    let hook = told.delivers("n-1", &body).await;
    told.world.succeeds(hook).await;
    let refused = told.world.fails(order, "conflict").await;

    let message = refused["data"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("settings.conflict"), "{message}");
    let status = told.column("status", ticket).await;
    assert_eq!(status.as_deref(), Some("in_progress"));
    let there = told.body(&key, "x").await;
    let class = &there["issue"]["fields"]["status"]["statusCategory"]["key"];
    assert_eq!(class, "indeterminate");
    // A later order is newer than the edit.
    let data = json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Done." });
    let later = told.world.publish("ticket.status", data).await;
    told.world.succeeds(later).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_came_from_there_does_not_go_back() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Mirrored").await;
    let mut body = told.body(&key, "comment_created").await;
    body["comment"] = json!({ "id": "7001", "body": "Have you tried it?\r\n",
        "created": "2026-01-02T03:04:05.000+0000" });
    let hook = told.delivers("c-1", &body).await;
    told.world.succeeds(hook).await;

    let data = json!({ "ticket_id": ticket, "body": "Have you tried it?" });
    let mirrored = told.world.publish("ticket.comment", data).await;
    let refused = told.world.fails(mirrored, "conflict").await;
    let message = refused["data"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("settings.loop_guard"), "{message}");
    let data = json!({ "ticket_id": ticket, "body": "I have." });
    let answer = told.world.publish("ticket.comment", data).await;
    told.world.succeeds(answer).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_a_delivery_would_do() {
    let told = Told::new(json!({})).await;
    let worker = told.world.worker().await;
    let (ticket, key) = told.ticket("Tried").await;
    told.moves(&key, "indeterminate").await;
    let body = told.body(&key, "jira:issue_updated").await.to_string();
    let dry = |data: Value| {
        let organization = told.world.organization.to_string();
        let data = data.to_string();
        let arguments = [
            "--json",
            "send",
            "webhook.received",
            "--organization",
            &organization,
            "--dry-run",
            "--data",
            &data,
        ];
        output(&told.world.environment(), &arguments)
    };

    let said = dry(told.data("d-1", &body, SECRET));
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let text = said.to_string();
    // It changed within the moment in which our own create was answered: then it is read first.
    let decided = [
        r#""decided":"applied""#,
        r#""decided":"waits: the item is read again"#,
    ];
    assert!(decided.iter().any(|one| text.contains(one)), "{said:#}");
    assert!(text.contains(r#""status":"In Progress""#), "{said:#}");
    assert_eq!(told.column("status", ticket).await.as_deref(), Some("new"));
    let taken = "SELECT count(*) FROM inbound_changes";
    assert_eq!(told.world.count(taken).await, 0);

    let refused = dry(told.data("d-1", &body, "another"));
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    let why = why + &String::from_utf8_lossy(&refused.stdout);
    assert!(why.contains("bad_signature"), "{why}");
    drop(worker);
}
