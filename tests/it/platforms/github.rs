//! What is peculiar to GitHub, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{World, http_json, services, wait_for};

/// A key of an application, made for tests.
const KEY: &str = include_str!("../../../src/platforms/tokens/testdata/pkcs8.pem");
const PUBLIC: &str = include_str!("../../../src/platforms/tokens/testdata/public.pem");
const SITE: &str = "github/acme";

/// What each operation sends, where files are led to.
const OPERATIONS: [Steps; 7] = [
    on(Act::Create, "create_issue", Guard::Lookup),
    on(Act::Update, "update_issue", Guard::Native),
    on(Act::Status, "update_issue", Guard::Native).before(&["get_issue"]),
    on(Act::Resolve, "add_comment", Guard::Lookup).before(&["get_issue", "update_issue"]),
    on(Act::Assign, "update_issue", Guard::Native).before(&["check_assignee"]),
    on(Act::Comment, "add_comment", Guard::Lookup),
    on(Act::Delete, "update_issue", Guard::Native).before(&["get_issue"]),
];
const LINKED: Steps = on(Act::Attach, "add_comment", Guard::Lookup);
const COMMITTED: Steps = LINKED.before(&["put_contents"]);

/// A token, whose files are led to; an application, whose files are put into the repository.
pub(super) fn rows() -> Vec<Row> {
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    strange.push(("401", Fault::status(401)));
    let says = |status, message: &str| Fault::status(status).body(json!({ "message": message }));
    let same = |name, fault, class| (name, fault, class, class);
    let peculiar = vec![
        same(
            "a secondary limit",
            says(
                403,
                "You have exceeded a secondary rate limit. Please wait a few minutes.",
            ),
            "rate_limited",
        ),
        same(
            "a limit that says when",
            says(403, "x").header("Retry-After", "47"),
            "rate_limited",
        ),
        same(
            "the primary limit",
            says(403, "API rate limit exceeded").header("x-ratelimit-remaining", "0"),
            "rate_limited",
        ),
        same(
            "spam",
            says(422, "Endpoint has been spammed"),
            "rate_limited",
        ),
        same(
            "no issues",
            says(410, "Issues are disabled for this repo"),
            "not_found",
        ),
        same("another commit", Fault::status(409), "transient"),
        same("a redirect", Fault::status(301), "validation"),
    ];
    let row = |name, auth_type, credentials, files: Steps, more: Value| {
        let mut settings = json!({
            "owner": "octo", "repository": "support", "users": { "known+ada@example.test": "ada" },
        });
        let more = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        let mut operations: Vec<_> = OPERATIONS.iter().copied().chain([files]).collect();
        if settings["use_issue_types"] == true {
            operations[0] = operations[0].before(&["issue_types"]);
        }
        Row {
            name,
            platform: Platform::Github,
            auth_type,
            credentials,
            settings,
            operations,
            reads_answers: true,
            peculiar: peculiar.clone(),
            strange: strange.clone(),
            blind: None,
            reads: true,
        }
    };
    vec![
        row(
            "github-token",
            AuthType::Bearer,
            json!({ "token": SECRET }),
            LINKED,
            json!({}),
        ),
        row(
            "github-app",
            AuthType::Custom,
            json!({ "client_id": "Iv1.x", "private_key": KEY, "installation_id": "7" }),
            COMMITTED,
            json!({ "attachments": "commit", "use_issue_types": true }),
        ),
    ]
}

async fn world() -> World {
    let (database, amqp) = services();
    World::bare(&database, &amqp).await
}

async fn integration(world: &World, settings: &Value) -> Uuid {
    integration_at(world, SITE, settings).await
}

async fn integration_at(world: &World, site: &str, settings: &Value) -> Uuid {
    let mut all = json!({ "owner": "octo", "repository": "support" });
    let more = settings.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    world
        .integration_of(json!({
            "name": "GitHub", "platform_name": "github", "auth_type": "bearer",
            "base_url": world.sandbox.url(site),
            "settings": all, "credentials": { "token": "github_pat_s3cr3t" },
        }))
        .await
}

/// The one issue there is.
fn only(world: &World) -> LedgerIssue {
    let mut issues = world.sandbox.ledger(SITE).issues;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.remove(0)
}

async fn does(world: &World, command: &str, data: Value) -> Value {
    let id = world.publish(command, data).await;
    let event = world.succeeds(id).await;
    event["data"]["result"]["integration_result"]["details"].clone()
}

/// GitHub towards the canary suite; its ids are numbers.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |method, thing, _| {
        let ends = |ends: &[&str]| ends.iter().any(|end| thing.ends_with(end));
        let is_list = method == "GET" && ends(&["/issues", "/comments"]);
        if is_list || ends(&["/labels", "/assignees"]) {
            return "[]".into();
        }
        json!({
            "id": 1, "number": 1, "html_url": "https://x.example/octo/support/issues/1",
            "title": "t", "body": "b",
            "state": "open", "content": { "html_url": "https://x.example/f" }, "has_issues": true,
            "permissions": { "push": true },
        })
        .to_string()
    },
    success: |say| {
        json!({
            "id": 1, "number": 1, "html_url": say(), "title": say(), "body": say(), "state": say(),
            "state_reason": say(), "content": { "html_url": say() }, "has_issues": true,
            "permissions": { "push": true }, "labels": [{ "name": say() }],
            "assignees": [{ "login": say() }],
            "node_id": say(), "login": say(), "full_name": say(),
        })
    },
    token_path: "",
    syncs: true,
};

/// Its mode for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let token = canary("github-pat");
    let data = json!({ "platform_name": "github", "auth_type": "bearer", "base_url": "{at}",
        "credentials": { "token": token },
        "settings": { "owner": "octo", "repository": "support", "attachments": "commit" } });
    vec![Mode::new(BEHAVIOUR, "github-token", data, &[&token], &[])]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_lives_from_its_creation_to_its_end() {
    let world = world().await;
    let worker = world.worker().await;
    let id = integration(&world, &json!({})).await;
    let ticket = Uuid::new_v4();

    let data = json!({
        "ticket_id": ticket, "title": "Login fails", "integration_id": id, "category": "bug",
        "priority": "high",
        "description": "Since **9:00**, says @octocat; see #12", "tags": ["vip"],
        "custom_fields": { "Floor": 3 },
    });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let result = &made["data"]["result"]["integration_result"];
    assert_eq!(result["external_ticket_id"], "1", "{made:#}");
    let page = format!("{}/octo/support/issues/1", world.sandbox.url(SITE));
    assert_eq!(result["external_ticket_url"], page.as_str());
    let issue = only(&world);
    assert_eq!(issue.labels, ["bug", "priority: high", "vip"]);
    let body = issue.description.as_str().unwrap();
    assert!(
        body.starts_with("Since **9:00**, says @\u{2060}octocat; see #\u{2060}12"),
        "{body}"
    );
    assert!(body.contains("**Floor:** 3"), "{body}");
    assert!(
        body.ends_with(&format!("\n\n<!-- tkt-{ticket} -->")),
        "{body}"
    );

    let update = json!({ "ticket_id": ticket, "title": "Log-in fails", "priority": "low",
        "description": "Again" });
    does(&world, "ticket.update", update).await;
    let progress = json!({ "ticket_id": ticket, "status": "in_progress" });
    does(&world, "ticket.status", progress).await;
    let issue = only(&world);
    assert_eq!(issue.summary, "Log-in fails");
    assert_eq!(
        issue.labels,
        ["bug", "vip", "priority: low", "status: in progress"]
    );
    let body = issue.description.as_str().unwrap();
    assert!(
        body.starts_with("Again") && body.contains(&ticket.to_string()),
        "{body}"
    );

    let comment = json!({ "ticket_id": ticket, "body": "Seen here too." });
    does(&world, "ticket.comment", comment).await;
    let hidden = json!({ "ticket_id": ticket, "body": "Between us", "public": false });
    let hidden = world.publish("ticket.comment", hidden).await;
    let refused = world.fails(hidden, "unsupported_operation").await;
    let message = refused["data"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("internal_comments"), "{message}");

    let resolve =
        json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Mended" });
    let details = does(&world, "ticket.status", resolve).await;
    assert!(details["resolution_comment"].is_string(), "{details}");
    let issue = only(&world);
    assert_eq!(
        (issue.status.as_str(), issue.resolution.as_deref()),
        ("closed", Some("completed"))
    );
    assert_eq!(issue.labels, ["bug", "vip", "priority: low"]);
    let said: Vec<&str> = issue
        .comments
        .iter()
        .filter_map(|one| one.body.as_str())
        .collect();
    assert!(
        said.len() == 2 && said[0].starts_with("Seen") && said[1].starts_with("Mended"),
        "{said:?}"
    );

    let delete = world
        .publish("ticket.delete", json!({ "ticket_id": ticket }))
        .await;
    let deleted = world.succeeds(delete).await;
    let details = deleted["data"]["result"]["integration_result"]["details"].to_string();
    assert!(details.contains("stays completed"), "{deleted:#}");
    assert_eq!(only(&world).status, "closed");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_ticket_s_issue_is_closed_as_not_planned() {
    let world = world().await;
    let worker = world.worker().await;
    let id = integration(&world, &json!({})).await;
    let (create, ticket) = world.create_at(id, "Never mind").await;
    world.succeeds(create).await;

    does(&world, "ticket.delete", json!({ "ticket_id": ticket })).await;

    let issue = only(&world);
    assert_eq!(
        (issue.status.as_str(), issue.resolution.as_deref()),
        ("closed", Some("not_planned"))
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_drops_without_a_word_is_told() {
    let world = world().await;
    let worker = world.worker().await;
    let person = Uuid::new_v4();
    let id = integration(&world, &json!({ "users": { (person.to_string()): "ada" } })).await;
    world
        .sandbox
        .configure(SITE, json!({ "push": false }))
        .unwrap();

    let (create, _) = world.create_at(id, "By a guest").await;
    let made = world.succeeds(create).await;

    let details = &made["data"]["result"]["integration_result"]["details"]["dropped_by_github"];
    assert_eq!(
        details["labels"],
        json!(["general", "priority: medium"]),
        "{made:#}"
    );
    assert!(details["why"].as_str().unwrap().contains("write access"));
    // The check says so before anything is lost.
    let test = world
        .publish("integration.test", json!({ "integration_id": id }))
        .await;
    let tested = world.succeeds(test).await;
    assert_eq!(tested["data"]["result"]["success"], false, "{tested:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_create_is_found_among_the_issues_and_made_once() {
    let world = world().await;
    let worker = world.worker().await;
    let id = integration(&world, &json!({})).await;
    let lost = json!({ "kind": "reset_after_store", "operation": "create_issue" });
    world
        .sandbox
        .inject(SITE, serde_json::from_value(lost).unwrap())
        .unwrap();

    let (create, _) = world.create_at(id, "Made, but who knows").await;
    let made = world.succeeds(create).await;

    assert_eq!(
        made["data"]["result"]["integration_result"]["external_ticket_id"],
        "1"
    );
    only(&world);
    assert_eq!(
        world.sandbox.ledger(SITE).count("create_issue").effective,
        1
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_repository_is_followed_with_method_and_body() {
    let world = world().await;
    let worker = world.worker().await;
    let id = integration(&world, &json!({})).await;
    let renamed = json!({ "renamed_from": "octo/support" });
    world.sandbox.configure(SITE, renamed).unwrap();

    let (create, ticket) = world.create_at(id, "Moved").await;
    world.succeeds(create).await;
    let pending = json!({ "ticket_id": ticket, "status": "pending" });
    does(&world, "ticket.status", pending).await;

    assert!(only(&world).labels.contains(&"status: pending".to_owned()));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_puts_files_into_the_repository_by_its_installation_s_token() {
    let world = world().await;
    let worker = world.worker().await;
    world
        .sandbox
        .configure(SITE, json!({ "public_key": PUBLIC }))
        .unwrap();
    let id = world
        .integration_of(json!({
            "name": "App", "platform_name": "github", "auth_type": "custom",
            "base_url": world.sandbox.url(SITE),
            "settings": { "organization": "octo", "repository": "support",
                "attachments": "commit" },
            "credentials": { "app_id": "42", "private_key": KEY, "installation_id": "7" },
        }))
        .await;
    let (create, ticket) = world.create_at(id, "With a file").await;
    world.succeeds(create).await;

    let files = json!([
        { "name": "a.txt", "content_base64": "aGVsbG8=" },
        { "name": "b.txt", "content_base64": "aGVsbG8h" },
    ]);
    let attach = json!({ "ticket_id": ticket, "attachments": files });
    let attach = world.publish("ticket.attach", attach).await;
    let event = world.succeeds(attach).await;

    let issue = only(&world);
    let names: Vec<&str> = issue
        .attachments
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["a.txt", "b.txt"], "{event:#}");
    let folder = format!("/octo/support/blob/attachments/{ticket}/cmd-{attach}-");
    let places = issue
        .attachments
        .iter()
        .map(|file| file.media_type.as_str());
    assert!(
        places.into_iter().all(|place| place.contains(&folder)),
        "{issue:#?}"
    );
    let ledger = world.sandbox.ledger(SITE);
    assert_eq!(ledger.count("put_contents").effective, 2);
    let stored = "SELECT string_agg(t::text, ' ') || (SELECT string_agg(i::text, ' ') \
                  FROM integrations i) FROM integration_tokens t";
    let stored = world.text(stored, &[]).await.unwrap();
    assert!(
        !stored.contains("sandbox-access") && !stored.contains("PRIVATE KEY"),
        "{stored}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_used_up_pauses_all_workers_before_anything_is_refused() {
    let world = world().await;
    let one = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "one")])
        .await;
    let two = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "two")])
        .await;
    let id = integration(&world, &json!({})).await;
    let budget = json!({ "budget": { "requests": 1, "seconds": 3 } });
    world.sandbox.configure(SITE, budget).unwrap();

    let (first, _) = world.create_at(id, "The last that fits").await;
    world.succeeds(first).await;
    let mut commands = vec![first];
    world.told("integration.rate_limit.reached", |_| true).await;
    for number in 0..4 {
        commands.push(world.create_at(id, &format!("Waits {number}")).await.0);
    }
    wait_for("the second to be made", async || {
        (world.sandbox.ledger(SITE).issues.len() >= 2).then_some(())
    })
    .await;
    let refused = world.sandbox.ledger(SITE).recent;
    let refused = refused
        .iter()
        .filter(|call| call.status == Some(403))
        .count();
    world
        .sandbox
        .configure(SITE, json!({ "budget": null }))
        .unwrap();
    world.close_the_ledger(&commands).await;

    assert_eq!(world.sandbox.ledger(SITE).issues.len(), 5);
    // After the pause one is tried before the others.
    assert_eq!(refused, 0, "a request was sent that could only be refused");
    let took = "SELECT (extract(epoch FROM min(finished_at) - (SELECT finished_at FROM commands \
                WHERE id = $1)) * 1000)::bigint::text \
                FROM commands WHERE type = 'ticket.create' AND id <> $1";
    let took: i64 = world.text(took, &[&first]).await.unwrap().parse().unwrap();
    assert!(took >= 1_900, "{took} ms");
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_a_second_apart_over_all_workers_and_hold_up_nobody_else() {
    let world = world().await;
    let one = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "one")])
        .await;
    let two = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "two")])
        .await;
    let id = integration(&world, &json!({})).await;
    let neighbour = integration_at(&world, "github/neighbour", &json!({})).await;
    let apart = json!({ "writes_apart_ms": 1_000 });
    world.sandbox.configure(SITE, apart).unwrap();

    let mut commands = Vec::new();
    for number in 0..4 {
        let (create, ticket) = world.create_at(id, &format!("Number {number}")).await;
        // Two writes of one attempt.
        let data = json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "r" });
        commands.extend([create, world.publish("ticket.status", data).await]);
    }
    let (free, _) = world.create_at(neighbour, "Free").await;
    commands.push(free);
    world.close_the_ledger(&commands).await;

    let ledger = world.sandbox.ledger(SITE);
    let refused: Vec<_> = ledger
        .recent
        .iter()
        .filter(|call| call.status == Some(403))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let writes = ["create_issue", "update_issue", "add_comment"];
    let effective = writes.map(|write| ledger.count(write).effective);
    assert_eq!(effective, [4, 4, 4]);
    // Who waits spends no attempt, and its integration is not paused.
    let spent = "SELECT max(attempt)::bigint FROM commands";
    assert_eq!(world.count(spent).await, 1);
    assert_eq!(world.told_count("integration.rate_limit.reached"), 0);
    let took = "SELECT (extract(epoch FROM finished_at - received_at) * 1000)::bigint::text \
                FROM commands WHERE id = $1";
    let took: i64 = world.text(took, &[&free]).await.unwrap().parse().unwrap();
    assert!(took < 2_000, "the neighbour waited for {took} ms");
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_brings_what_people_changed_and_no_pull_request() {
    let world = world().await;
    let worker = world.worker().await;
    let id = integration(&world, &json!({})).await;
    let (create, ticket) = world.create_at(id, "Synced").await;
    world.succeeds(create).await;
    let issues = format!("{}/repos/octo/support/issues", world.sandbox.url(SITE));
    let pulls = issues.replace("/issues", "/pulls");
    let changed =
        json!({ "title": "By a person", "state": "closed", "state_reason": "not_planned" });
    let first = format!("{issues}/1");
    assert_eq!(http_json("PATCH", &first, &changed).await.0, 200);
    let pull = json!({ "title": "A pull request" });
    assert_eq!(http_json("POST", &pulls, &pull).await.0, 201);

    let sync = json!({ "integration_id": id, "sync_type": "full" });
    let sync = world.publish("integration.sync", sync).await;
    let synced = world.succeeds(sync).await;

    let sql = "SELECT status::text FROM tickets WHERE id = $1";
    let status = world.text(sql, &[&ticket]).await;
    assert_eq!(status.as_deref(), Some("cancelled"), "{synced:#}");
    drop(worker);
}
