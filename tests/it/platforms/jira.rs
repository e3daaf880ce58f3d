//! What is peculiar to Jira, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, WORD, canary, oauth};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{SITE, World, http_json, output, wait_for};

/// What each operation sends.
const OPERATIONS: [Steps; 8] = [
    on(Act::Create, "create_issue", Guard::Lookup),
    on(Act::Update, "update_issue", Guard::Native),
    on(Act::Status, "transition_issue", Guard::Native).before(&["get_issue", "get_transitions"]),
    on(Act::Resolve, "add_comment", Guard::Lookup).before(&[
        "get_issue",
        "get_transitions",
        "transition_issue",
    ]),
    on(Act::Assign, "assign_issue", Guard::Native).before(&["assignable_users"]),
    on(Act::Comment, "add_comment", Guard::Lookup),
    on(Act::Attach, "attach_file", Guard::Lookup),
    on(Act::Delete, "transition_issue", Guard::Native).before(&["get_issue", "get_transitions"]),
];

/// Cloud with an API token and by OAuth, Data Center.
pub(super) fn rows() -> Vec<Row> {
    let empty = json!({
        "issues": [], "isLast": true, "total": 0, "comments": [], "startAt": 0,
        "fields": { "attachment": [] },
        "transitions": [], "issueTypes": [], "values": [],
    });
    let says = |status, name, value| {
        Fault::status(status)
            .header(name, value)
            .body(empty.clone())
    };
    let seraph = "X-Seraph-LoginReason";
    let mut strange = vec![
        ("as to a stranger", Fault::new(FaultKind::Stranger)),
        ("200, failed", says(200, seraph, "AUTHENTICATED_FAILED")),
        ("200, denied", says(200, seraph, "AUTHENTICATION_DENIED")),
        ("404, failed", says(404, seraph, "AUTHENTICATED_FAILED")),
        ("200, logged out", says(200, seraph, "OUT")),
        ("200, nobody", says(200, "X-AUSERNAME", "anonymous")),
        (
            "a CAPTCHA",
            says(
                403,
                "X-Authentication-Denied-Reason",
                "CAPTCHA_CHALLENGE; login-url=https://x/login.jsp",
            ),
        ),
        ("401", Fault::status(401)),
    ];
    strange.extend(log_ins());
    let row = |name, auth_type, credentials, settings| Row {
        name,
        platform: Platform::Jira,
        auth_type,
        credentials,
        settings,
        operations: OPERATIONS.to_vec(),
        reads_answers: true,
        blind: Some(json!({ "comment_properties": false })),
        reads: true,
        peculiar: vec![("409", Fault::status(409), "conflict", "transient")],
        strange: strange.clone(),
    };
    vec![
        row(
            "cloud",
            AuthType::ApiKey,
            json!({ "email": "bot@example.test", "api_token": SECRET }),
            json!({ "project_key": "SUP" }),
        ),
        row(
            "oauth",
            AuthType::Oauth2,
            json!({ "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET,
                "cloud_id": "x" }),
            json!({ "project_key": "SUP", "api_url": "{base}/ex/jira/x",
                "token_url": "{base}/oauth/token" }),
        ),
        row(
            "data-center",
            AuthType::Bearer,
            json!({ "token": SECRET }),
            json!({ "project_key": "SUP" }),
        ),
    ]
}

/// What the tests ask the site with themselves, and what the worker does.
const OURS: &str = "a:b";
const THE_WORKERS: &str = "bot@example.test:s3cr3t-t0k3n";

/// The site no longer knows the worker's credential, and answers it as a stranger.
fn expire(world: &World) {
    world.configure(json!({ "answers_strangers": true, "credentials": [OURS] }));
}

fn mend(world: &World) {
    world.configure(json!({ "credentials": [OURS, THE_WORKERS] }));
}

/// So many look-ups more of a command have been made.
async fn looked_up(world: &World, command: Uuid, more: i32) {
    let sql = "SELECT (doubt_since < now() - interval '2500 milliseconds')::text FROM commands \
               WHERE id = $1";
    wait_for("the last step to have passed", async || {
        (world.text(sql, &[&command]).await.as_deref() == Some("true")).then_some(())
    })
    .await;
    let count = async || {
        let sql = "SELECT lookups FROM commands WHERE id = $1";
        world.query(sql, &[&command]).await[0].get::<_, i32>(0)
    };
    let before = count().await;
    wait_for("it to be looked up again", async || {
        (count().await >= before + more).then_some(())
    })
    .await;
}

/// Moves an issue into another project, as a person does.
async fn moved(world: &World, issue: &str, project: &str) {
    let body = json!({ "targetToSourcesMapping": { format!("{project},10003"): {
        "issueIdsOrKeys": [issue] } } });
    let url = format!("{}/rest/api/3/bulk/issues/move", world.sandbox.url(SITE));
    assert_eq!(http_json("POST", &url, &body).await.0, 201);
}

async fn row(world: &World, ticket: Uuid) -> Value {
    let sql = "SELECT to_jsonb(t)::text FROM tickets t WHERE id = $1";
    serde_json::from_str(&world.text(sql, &[&ticket]).await.unwrap()).unwrap()
}

/// The one issue there is.
fn only(world: &World) -> LedgerIssue {
    let mut issues = world.jira().issues;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.remove(0)
}

/// The marks of an issue's comments.
fn marks(issue: &LedgerIssue) -> Vec<String> {
    let comments = issue.comments.iter();
    comments
        .filter_map(|comment| comment.properties.get("ticket-dispatch"))
        .filter_map(|property| property["mark"].as_str().map(str::to_owned))
        .collect()
}

/// Jira towards the canary suite.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |_, thing, _| {
        if thing.ends_with("attachments") {
            return json!([{ "id": "7", "filename": "a.txt", "size": 3 }]).to_string();
        }
        let status = |name: &str, category: &str| {
            json!({ "name": name,
            "statusCategory": { "key": category } })
        };
        json!({
            "id": "1", "key": "SUP-1", "accountId": "a", "issues": [], "comments": [], "values": [],
            "fields": { "status": status("Open", "new"), "attachment": [] },
            "transitions": [{ "id": "1", "name": "Done", "to": status("Done", "done") }],
            "issueTypes": [{ "id": "10001", "name": "Task" }],
        })
        .to_string()
    },
    success: |say| {
        let status = json!({ "name": say(), "statusCategory": { "key": "new" } });
        json!({
            "id": say(), "key": say(), "self": say(), "accountId": say(), "displayName": say(),
            "timeZone": say(),
            "version": say(), "baseUrl": say(), "deploymentType": say(),
            "fields": { "status": status, "attachment": [{ "id": say(), "filename": say(),
                "size": 1 }] },
            "transitions": [{ "id": say(), "name": say(), "to": status }],
            "issues": [{ "id": say(), "key": say(), "fields": { "summary": say(), "status": status,
                "updated": say() } }],
            "comments": [{ "id": say(), "properties": [] }], "nextPageToken": say(),
            "issueTypes": [{ "id": "10001", "name": say() }],
            "permissions": { (say()): { "havePermission": say() } },
        })
    },
    token_path: "token",
    syncs: true,
};

/// Its modes for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |auth_type: &str, credentials: Value, settings: Value| {
        json!({ "platform_name": "jira", "auth_type": auth_type, "base_url": "{at}",
            "credentials": credentials,
                "settings": settings })
    };
    let plain = || json!({ "project_key": "SUP" });
    let (token, password, pat) = (canary("api-token"), WORD.to_owned(), canary("pat"));
    let secrets = oauth("jira");
    let by_token = json!({ "email": "bot@example.test", "api_token": token });
    let by_password = json!({ "username": "bot", "password": password });
    let by_client = json!({ "client_id": "client", "client_secret": secrets[0],
        "refresh_token": secrets[1],
        "cloud_id": "cloud" });
    let addresses = json!({ "project_key": "SUP", "token_url": "{at}/token", "api_url": "{at}" });
    let mode = |name, data, sent: &String| Mode::new(BEHAVIOUR, name, data, &[sent], &[]);
    vec![
        mode("jira-api-key", data("api_key", by_token, plain()), &token).signed(),
        mode("jira-basic", data("basic", by_password, plain()), &password),
        mode(
            "jira-bearer",
            data("bearer", json!({ "token": pat }), plain()),
            &pat,
        ),
        Mode::oauth(
            BEHAVIOUR,
            "jira-oauth2",
            data("oauth2", by_client, addresses),
            &secrets,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_project_refuses_is_left_out_one_refusal_after_the_other() {
    let world = World::new().await;
    // No issue type `Bug`; and Jira looks at screens only once the type is one.
    world.configure(json!({
        "issue_types": ["Sub-task", "Request"], "fields_not_on_screen": ["priority"],
    }));
    let worker = world.worker().await;
    let create = async |title: &str| {
        let data = json!({ "title": title, "description": "d", "category": "bug",
            "priority": "high",
            "integration_id": world.integration });
        world.publish("ticket.create", data).await
    };
    let details = |event: &Value| event["data"]["result"]["integration_result"]["details"].clone();

    let made = world.succeeds(create("No such field").await).await;
    let dropped = &details(&made)["dropped_fields"];
    assert!(
        dropped["issuetype"].is_string() && dropped["priority"].is_string(),
        "{made:#}"
    );
    assert_eq!(made["data"]["attempt"], 1);
    let issue = only(&world);
    assert_eq!(issue.issue_type, "Request");
    assert_eq!(issue.priority.as_deref(), Some("Medium"), "Jira's own");
    assert_eq!(world.jira().count("create_issue").received, 3);

    world.configure(json!({ "fields_not_on_screen": ["priority", "labels"] }));
    let update = async |mut data: Value| {
        data["ticket_id"] = made["data"]["ticket_id"].clone();
        world.publish("ticket.update", data).await
    };
    let changed = update(json!({ "title": "New", "priority": "low", "tags": ["vip"] })).await;
    let changed = world.succeeds(changed).await;
    let dropped = &details(&changed)["dropped_fields"];
    assert!(
        dropped["labels"].is_string() && dropped["priority"].is_string(),
        "{changed:#}"
    );
    assert_eq!(only(&world).summary, "New");
    // Nothing of it could be set.
    let refused = update(json!({ "priority": "critical" })).await;
    let refused = world.fails(refused, "validation_failed").await;
    assert!(refused["data"]["error"]["fields"]["priority"].is_string());

    // Without labels, an issue whose answer is lost could not be found again.
    let refused = world
        .fails(create("No labels").await, "validation_failed")
        .await;
    let why = refused["data"]["error"]["fields"]["settings.project_key"].as_str();
    assert!(
        why.is_some_and(|why| why.contains("the field Labels")),
        "{refused:#}"
    );
    only(&world);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_jira_demands_is_named_in_our_words() {
    let world = World::new().await;
    world.configure(json!({ "required_fields": ["customfield_10010"] }));
    let worker = world.worker().await;

    let (create, ticket) = world.create("Incomplete").await;
    let event = world.fails(create, "validation_failed").await;

    let fields = &event["data"]["error"]["fields"];
    assert!(fields["customfield_10010"].is_string(), "{event:#}");
    assert_eq!(event["data"]["error"]["http_status"], 400);
    assert_eq!(
        event["data"]["result"]["integration_result"]["success"],
        false
    );
    // The ticket's row stays, unbound: mended, the create may be sent again.
    let row = world
        .query(
            "SELECT external_ticket_id FROM tickets WHERE id = $1",
            &[&ticket],
        )
        .await;
    assert_eq!(row[0].get::<_, Option<String>>(0), None);
    world.configure(json!({ "required_fields": [] }));
    let data = json!({ "ticket_id": ticket, "title": "Complete", "description": "…",
        "integration_id": world.integration });
    let again = world.publish("ticket.create", data).await;
    world.succeeds(again).await;
    let (third, _) = (
        world
            .publish(
                "ticket.create",
                json!({ "ticket_id": ticket, "title": "Twice", "description": "…",
        "integration_id": world.integration }),
            )
            .await,
        (),
    );
    world.fails(third, "conflict").await;
    assert_eq!(world.jira().issues.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_refresh_a_rotating_token_once_for_all() {
    let world = World::new().await;
    world.configure(json!({ "access_token_seconds": 3600 }));
    let one = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "one")])
        .await;
    let two = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "two")])
        .await;
    let site = world.sandbox.url("oauth");
    let id = world
        .integration_of(json!({
            "name": "OAuth", "platform_name": "jira", "auth_type": "oauth2", "base_url": site,
            "settings": { "project_key": "SUP", "token_url": format!("{site}/oauth/token"),
                "api_url": site },
            "credentials": { "client_id": "c", "client_secret": "s3cr3t",
                "refresh_token": "r3fr3sh", "cloud_id": "x" },
        }))
        .await;

    let mut commands = Vec::new();
    for _ in 0..30 {
        commands.push(world.create_at(id, "By token").await.0);
    }
    world.close_the_ledger(&commands).await;

    for command in &commands {
        world.succeeds(*command).await;
    }
    let ledger = world.sandbox.ledger("oauth");
    assert_eq!(ledger.issues.len(), 30);
    assert_eq!(
        ledger.count("token").effective,
        1,
        "a refresh token works once"
    );
    let stored = "SELECT string_agg(t::text, ' ') || (SELECT string_agg(i::text, ' ') \
                  FROM integrations i) FROM integration_tokens t";
    let stored = world.text(stored, &[]).await.unwrap();
    assert!(
        !stored.contains("s3cr3t") && !stored.contains("sandbox"),
        "{stored}"
    );
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_has_gone_stale_is_renewed_in_the_same_attempt() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = world.sandbox.url("stale");
    let id = world
        .integration_of(json!({
            "name": "OAuth", "platform_name": "jira", "auth_type": "oauth2", "base_url": site,
            "settings": { "project_key": "SUP", "token_url": format!("{site}/oauth/token"),
                "api_url": site },
            "credentials": { "client_id": "c", "client_secret": "s3cr3t",
                "refresh_token": "r3fr3sh", "cloud_id": "x" },
        }))
        .await;
    world
        .sandbox
        .inject(
            "stale",
            serde_json::from_value(
                json!({ "kind": "status", "status": 401, "operation": "create_issue" }),
            )
            .unwrap(),
        )
        .unwrap();

    let (create, _) = world.create_at(id, "Stale").await;
    let event = world.succeeds(create).await;

    assert_eq!(event["data"]["attempt"], 1, "{event:#}");
    assert_eq!(world.sandbox.ledger("stale").count("token").effective, 2);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_center_is_spoken_to_in_its_own_version() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = world
        .integration_of(json!({
            "name": "DC", "platform_name": "jira", "auth_type": "bearer",
            "base_url": world.sandbox.url("dc"),
            "settings": { "project_key": "SUP" }, "credentials": { "token": "s3cr3t" },
        }))
        .await;

    let data = json!({ "title": "On our own machines", "integration_id": id,
        "description": "**Down** since 9: `app` of [~admin]\n\n- [ ] restart" });
    let create = world.publish("ticket.create", data).await;
    let ticket = world.succeeds(create).await["data"]["ticket_id"].clone();
    let status = world
        .publish(
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "in_progress" }),
        )
        .await;
    world.succeeds(status).await;

    let ledger = world.sandbox.ledger("dc");
    let paths: Vec<&str> = ledger
        .recent
        .iter()
        .map(|call| call.path.as_str())
        .collect();
    assert!(
        paths.iter().all(|path| path.contains("/rest/api/2/")),
        "{paths:?}"
    );
    assert_eq!(
        ledger.issues[0].description, "*Down* since 9: {{app}} of \\[\\~admin\\]\n\n* ☐ restart",
        "wiki text, not a document, and nobody is mentioned"
    );
    assert_eq!(ledger.issues[0].status, "In Progress");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_no_transition_leads_to_says_which_there_are() {
    let world = World::new().await;
    world.configure(json!({ "workflow": "locked" }));
    let worker = world.worker().await;
    let (create, ticket) = world.create("Stuck").await;
    world.succeeds(create).await;

    let data = json!({ "ticket_id": ticket, "status": "closed", "resolution_summary": "Done" });
    let status = world.publish("ticket.status", data).await;
    let event = world.outcome(status).await;

    assert_eq!(event["data"]["outcome"], "failed", "{event:#}");
    let message = event["data"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("transition"), "{message}");
    let row = world
        .query("SELECT status::text FROM tickets WHERE id = $1", &[&ticket])
        .await;
    assert_eq!(
        row[0].get::<_, String>(0),
        "new",
        "what Jira refused did not happen here either"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_fail_the_test_and_keep_the_integration_pending() {
    let world = World::new().await;
    let worker = world.worker().await;
    let data = json!({ "name": "Wrong", "platform_name": "jira",
        "base_url": world.sandbox.url("wrong"),
        "settings": { "project_key": "SUP" }, "credentials": { "email": "bot@example.test",
            "api_token": "wrong" } });
    let create = world.publish("integration.create", data).await;
    let made = world.succeeds(create).await;
    let id = made["data"]["result"]["integration_id"].clone();

    let test = world
        .publish("integration.test", json!({ "integration_id": id }))
        .await;
    let tested = world.succeeds(test).await;

    let result = &tested["data"]["result"];
    assert_eq!(
        result["success"], false,
        "a failed test is a succeeded command: {tested:#}"
    );
    let ticket = json!({ "title": "T", "description": "d", "integration_id": id });
    let create = world.publish("ticket.create", ticket).await;
    world.fails(create, "integration_inactive").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_stranger_proves_nothing_and_the_issue_is_adopted_once_the_token_is_mended()
{
    let world = World::new().await;
    let worker = world.worker().await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "create_issue" }));
    let (create, _) = world.create("Made, but who knows").await;
    world.event(create, "deferred").await;
    only(&world);

    expire(&world);
    looked_up(&world, create, 2).await;
    // Whoever looks at the command sees that nobody can find out, and why.
    let shown = world.cli(&["command", "show", &create.to_string()])["command"].clone();
    assert_eq!(shown["wait_reason"], "look_up_refused", "{shown:#}");
    let why = shown["error"]["message"].as_str().unwrap();
    assert!(
        why.contains("cannot be looked up now") && why.contains("renew"),
        "{why}"
    );
    let sick = output(&world.environment(), &["doctor"]);
    let sick = String::from_utf8_lossy(&sick.stdout).into_owned();
    assert!(
        sick.contains("FAULT   waiting       1 of unknown outcome at Jira (jira, "),
        "{sick}"
    );
    let (other, _) = world.create("Refused").await;
    let failed = world.fails(other, "authentication_failed").await;
    world.state(create, "deferred").await;
    assert_eq!(world.jira().count("create_issue").effective, 1);
    mend(&world);

    let event = world.succeeds(create).await;
    let result = &event["data"]["result"]["integration_result"];
    assert_eq!(result["details"]["adopted"], true, "{event:#}");
    assert_eq!(result["external_ticket_id"], only(&world).key);
    let message = failed["data"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("renew"), "{message}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_that_parks_does_so_on_an_answer_to_a_stranger_and_keeps_the_doubt() {
    let world = World::new().await;
    let parking = world
        .add_integration(SITE, &json!({ "on_auth_failure": "park" }))
        .await;
    let worker = world.worker().await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "create_issue" }));
    let (create, ticket) = world.create_at(parking, "In doubt").await;
    world.event(create, "deferred").await;
    expire(&world);

    // The look-up alone notices it.
    let told = world
        .told("integration.status.changed", |d| d["parked"] == true)
        .await;
    assert_eq!(told["data"]["status"], "error", "{told:#}");
    let doubt = "SELECT (doubt_since IS NOT NULL)::text FROM commands WHERE id = $1";
    assert_eq!(world.text(doubt, &[&create]).await.as_deref(), Some("true"));
    let data = json!({ "ticket_id": ticket, "body": "Behind it" });
    let comment = world.publish("ticket.comment", data).await;
    mend(&world);
    let test = world
        .publish("integration.test", json!({ "integration_id": parking }))
        .await;
    world.succeeds(test).await;

    let event = world.succeeds(create).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["adopted"], true, "{event:#}");
    world.succeeds(comment).await;
    assert_eq!(only(&world).comments.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_is_answered_ends_a_comment_as_refused_and_leaves_a_sync_where_it_was() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Watched").await;
    world.succeeds(create).await;
    let sync = || {
        world.publish(
            "integration.sync",
            json!({ "integration_id": world.integration }),
        )
    };
    world.succeeds(sync().await).await;
    let mark = async || world.integration_row(world.integration).await["last_sync_at"].clone();
    let before = mark().await;
    assert!(before.is_string());
    expire(&world);
    let theirs = json!({ "fields": { "project": { "key": "SUP" }, "summary": "Theirs",
        "issuetype": { "name": "Task" } } });
    let url = format!("{}/rest/api/3/issue", world.sandbox.url(SITE));
    assert_eq!(http_json("POST", &url, &theirs).await.0, 201);

    let data = json!({ "ticket_id": ticket, "body": "Nobody hears" });
    let comment = world.publish("ticket.comment", data).await;
    world.fails(comment, "authentication_failed").await;
    world.fails(sync().await, "authentication_failed").await;
    assert_eq!(mark().await, before);
    mend(&world);

    let event = world.succeeds(sync().await).await;
    assert_eq!(event["data"]["result"]["counts"]["unknown"], 1, "{event:#}");
    assert_ne!(mark().await, before);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_was_moved_before_it_was_looked_up_is_adopted_under_its_new_key() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.configure(json!({ "search_lag_ms": 1000 }));
    world.fault(json!({ "kind": "reset_after_store", "operation": "create_issue" }));
    let (create, ticket) = world.create("On its way").await;
    wait_for("the issue to be there", async || {
        (world.jira().issues.len() == 1).then_some(())
    })
    .await;
    moved(&world, &only(&world).id, "OPS").await;

    let event = world.succeeds(create).await;

    let result = &event["data"]["result"]["integration_result"];
    assert_eq!(result["external_ticket_id"], "OPS-1", "{event:#}");
    assert_eq!(only(&world).key, "OPS-1");
    let row = row(&world, ticket).await;
    let url = row["external_ticket_url"].as_str().unwrap();
    assert!(url.ends_with("/browse/OPS-1"), "{url}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_is_a_comment_of_its_own_and_comes_once() {
    let world = World::new().await;
    // As a new project of Jira's is: a comment in a transition is dropped without a word.
    world.configure(json!({ "transition_screens": false }));
    let worker = world.worker().await;
    let (create, ticket) = world.create("To be resolved").await;
    world.succeeds(create).await;
    let dropped = json!({ "transition": { "id": "21" }, "update": { "comment": [{ "add": { "body": {
        "type": "doc", "version": 1, "content": [{ "type": "paragraph",
            "content": [{ "type": "text", "text": "x" }] }] } } }] } });
    let url = format!(
        "{}/rest/api/3/issue/{}/transitions",
        world.sandbox.url(SITE),
        only(&world).id
    );
    assert_eq!(http_json("POST", &url, &dropped).await.0, 204);
    assert!(
        only(&world).comments.is_empty(),
        "there was something to lose"
    );

    let set = |status: &str, summary: &str| {
        let data = json!({ "ticket_id": ticket, "status": status, "resolution_summary": summary });
        world.publish("ticket.status", data)
    };
    // The answer to the comment is lost: it is found again.
    world.fault(json!({ "kind": "reset_after_store", "operation": "add_comment" }));
    let resolved = set("resolved", "Replaced the **fuser**.").await;
    let event = world.succeeds(resolved).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["adopted"], true, "{event:#}");
    // Nothing is left to move, and there is something to say.
    let closed = set("closed", "The customer agrees.").await;
    let event = world.succeeds(closed).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    assert!(details["resolution_comment"].is_string(), "{event:#}");

    let issue = only(&world);
    assert_eq!(issue.status, "Done");
    assert_eq!(
        marks(&issue),
        [format!("cmd-{resolved}"), format!("cmd-{closed}")]
    );
    assert_eq!(world.jira().count("transition_issue").effective, 2);
    assert!(issue.comments[0].body.to_string().contains("fuser"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_cannot_be_posted_does_not_undo_the_status_and_is_said() {
    let world = World::new().await;
    let worker = world
        .worker_with(&[("TICKETWIRE__RETRY__SCHEDULE", r#"["200ms"]"#)])
        .await;
    let cases = [
        // For good; and for now, until no attempt is left.
        (Fault::status(403), "not permitted"),
        (Fault::status(503), "no attempt is left"),
    ];
    for (fault, why) in cases {
        let (create, ticket) = world.create("To be resolved").await;
        let made = world.succeeds(create).await;
        let key = &made["data"]["result"]["integration_result"]["external_ticket_id"];
        world
            .sandbox
            .inject(SITE, fault.on("add_comment").times(0))
            .unwrap();
        let data =
            json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Mended" });
        let status = world.publish("ticket.status", data).await;

        let event = world.succeeds(status).await;

        let details = &event["data"]["result"]["integration_result"]["details"];
        let said = details["resolution_comment"].as_str().unwrap();
        assert!(
            said.starts_with("not posted") && said.contains(why),
            "{event:#}"
        );
        let jira = world.jira();
        let issue = jira.issue(key.as_str().unwrap()).unwrap();
        assert_eq!((issue.status.as_str(), issue.comments.len()), ("Done", 0));
        let row = row(&world, ticket).await;
        assert_eq!(row["status"], "resolved");
        assert_eq!(row["resolution_summary"], "Mended");
        world.clear_faults();
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_name_a_server_changes_is_adopted_and_not_attached_twice() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("With a file").await;
    world.succeeds(create).await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "attach_file" }));
    let name = "log \"caf\u{e9}\".txt";
    let data = json!({ "ticket_id": ticket, "attachments": [{ "name": name,
        "content_base64": "aGVsbG8=" }] });

    let attach = world.publish("ticket.attach", data).await;
    let event = world.succeeds(attach).await;

    let file = &event["data"]["result"]["attachments"][0];
    assert_eq!(
        (&file["name"], &file["adopted"]),
        (&json!(name), &json!(true)),
        "{event:#}"
    );
    let stored = only(&world).attachments;
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert_ne!(stored[0].name, name, "there was something to mistake");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_without_their_properties_prove_nothing() {
    let world = World::new().await;
    world.configure(json!({ "comment_properties": false }));
    let worker = world.worker().await;
    let (create, ticket) = world.create("Talked about").await;
    world.succeeds(create).await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "add_comment" }));
    let data = json!({ "ticket_id": ticket, "body": "Said, but who knows" });
    let comment = world.publish("ticket.comment", data).await;
    world.event(comment, "deferred").await;

    looked_up(&world, comment, 2).await;
    world.state(comment, "deferred").await;
    let events = world.events_of(comment);
    let message = events.last().unwrap()["data"]["error"]["message"].to_string();
    assert_eq!(only(&world).comments.len(), 1, "{message}");
    world.configure(json!({ "comment_properties": true }));

    let event = world.succeeds(comment).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["adopted"], true, "{event:#}");
    assert_eq!(only(&world).comments.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_shows_no_files_proves_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("With a file").await;
    world.succeeds(create).await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "attach_file" }));
    // As where attachments are switched off, or the field is hidden.
    let issue = only(&world);
    let hidden = json!({ "id": issue.id, "key": issue.key, "fields": {} });
    world.fault(
        json!({ "kind": "status", "status": 200, "body": hidden, "operation": "get_issue",
        "times": 0 }),
    );
    let data = json!({ "ticket_id": ticket, "attachments": [{ "name": "a.txt",
        "content_base64": "aGVsbG8=" }] });
    let attach = world.publish("ticket.attach", data).await;
    world.event(attach, "deferred").await;

    // Once more than a look-up that proves something would take.
    let looks = || world.jira().count("get_issue").received;
    let before = looks();
    wait_for("it to be looked up, or attached again", async || {
        let tries = world.jira().count("attach_file").received;
        (looks() >= before + 3 || tries > 1).then_some(())
    })
    .await;
    let tries = world.jira().count("attach_file").received;
    assert_eq!(tries, 1, "nothing is proved, so it is not sent again");
    world.state(attach, "deferred").await;
    assert_eq!(only(&world).attachments.len(), 1);
    world.clear_faults();

    let event = world.succeeds(attach).await;
    let file = &event["data"]["result"]["attachments"][0];
    assert_eq!(file["adopted"], true, "{event:#}");
    assert_eq!(only(&world).attachments.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_found_behind_a_hundred_newer_ones() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Much talked about").await;
    world.succeeds(create).await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "add_comment" }));
    let data = json!({ "ticket_id": ticket, "body": "First" });
    let comment = world.publish("ticket.comment", data).await;
    world.event(comment, "deferred").await;
    let url = format!(
        "{}/rest/api/3/issue/{}/comment",
        world.sandbox.url(SITE),
        only(&world).id
    );
    let body = json!({ "body": { "type": "doc", "version": 1, "content": [
        { "type": "paragraph", "content": [{ "type": "text", "text": "theirs" }] }] } });
    for _ in 0..120 {
        assert_eq!(http_json("POST", &url, &body).await.0, 201);
    }

    world.succeeds(comment).await;

    assert_eq!(marks(&only(&world)).len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lead_to_another_project_or_path_is_refused_by_name() {
    let world = World::new().await;
    let worker = world.worker().await;
    let base = world.sandbox.url("hostile");
    for (settings, credentials, field) in [
        (
            json!({ "project_key": "X\" OR project = \"SECRET" }),
            json!({}),
            "settings.project_key",
        ),
        (
            json!({ "project_key": "../../../2" }),
            json!({}),
            "settings.project_key",
        ),
        (
            json!({ "project_key": "sup" }),
            json!({}),
            "settings.project_key",
        ),
        (
            json!({ "project_key": "SUP" }),
            json!({ "cloud_id": "x/../../y" }),
            "credentials.cloud_id",
        ),
    ] {
        let mut data = json!({ "name": "Hostile", "platform_name": "jira", "base_url": base,
            "settings": settings,
            "credentials": { "email": "bot@example.test", "api_token": "s3cr3t" } });
        if credentials != json!({}) {
            data["auth_type"] = "oauth2".into();
            data["credentials"] = json!({ "client_id": "c", "client_secret": "s3cr3t",
                "refresh_token": "r3fr3sh", "cloud_id": "x/../../y" });
        }
        let create = world.publish("integration.create", data).await;
        let event = world.fails(create, "validation_failed").await;
        assert!(
            event["data"]["error"]["fields"][field].is_string(),
            "{event:#}"
        );
    }
    // A row that is older than the check, and an id that somebody wrote.
    let (create, ticket) = world.create("Here").await;
    world.succeeds(create).await;
    let sql = "UPDATE tickets SET external_ref = '{\"issue_id\": \"../../2/myself\"}', \
               external_ticket_id = '../x' \
               WHERE id = $1 RETURNING id";
    world.query(sql, &[&ticket]).await;
    let before = world.jira().recent.len();
    let data = json!({ "ticket_id": ticket, "body": "Where to?" });
    let comment = world.publish("ticket.comment", data).await;
    let event = world.fails(comment, "external_not_found").await;
    let message = event["data"]["error"]["message"].to_string();
    assert!(message.contains("no number and no key"), "{event:#}");
    let recent = world.jira().recent;
    assert_eq!(recent.len(), before, "nothing is sent: {recent:?}");
    let sql = "UPDATE integrations SET settings = '{\"project_key\": \"X\\\" \
               OR project = \\\"SECRET\"}' WHERE id = $1 RETURNING id";
    world.query(sql, &[&world.integration]).await;
    let before = world.jira().recent.len();
    wait_for("the change to be seen", async || {
        let sync = world
            .publish(
                "integration.sync",
                json!({ "integration_id": world.integration }),
            )
            .await;
        let event = world.outcome(sync).await;
        (event["data"]["error"]["code"] == "validation_failed").then_some(())
    })
    .await;
    let recent = world.jira().recent;
    assert!(
        recent
            .iter()
            .skip(before)
            .all(|call| call.operation == "search" || call.operation == "get_issue"),
        "{recent:?}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_field_cannot_take_the_place_of_what_the_worker_sets() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mapping = |theirs: &str| json!({ "Team": theirs, "Customer": "customfield_10010" });
    for theirs in [
        "labels",
        "project",
        "assignee",
        "summary",
        "priority",
        "customfield_",
        "customfield_1x",
        "parent",
    ] {
        let data = json!({ "name": "Jira", "platform_name": "jira",
            "base_url": world.sandbox.url("mapped"),
            "settings": { "project_key": "SUP" }, "custom_fields_mapping": mapping(theirs),
            "credentials": { "email": "bot@example.test", "api_token": "s3cr3t" } });
        let create = world.publish("integration.create", data).await;
        let event = world.fails(create, "validation_failed").await;
        let fault = event["data"]["error"]["fields"]["custom_fields_mapping.Team"].to_string();
        assert!(fault.contains("customfield_10010"), "{event:#}");
        let data = json!({ "integration_id": world.integration,
            "custom_fields_mapping": mapping(theirs) });
        let update = world.publish("integration.update", data).await;
        let event = world.fails(update, "validation_failed").await;
        assert!(
            event["data"]["error"]["fields"]["custom_fields_mapping.Team"].is_string(),
            "{event:#}"
        );
    }
    let twice = json!({ "integration_id": world.integration,
        "custom_fields_mapping": mapping("customfield_10010") });
    let update = world.publish("integration.update", twice).await;
    world.fails(update, "validation_failed").await;
    // A row that is older than the check: the field is left out, and that is said.
    let data = json!({ "integration_id": world.integration,
        "custom_fields_mapping": { "Customer": "customfield_10010" } });
    let update = world.publish("integration.update", data).await;
    world.succeeds(update).await;
    let sql = "UPDATE integrations SET custom_fields_mapping = $2::text::jsonb, \
               updated_at = now() WHERE id = $1 RETURNING id";
    world
        .query(sql, &[&world.integration, &mapping("labels").to_string()])
        .await;
    let seen = wait_for("the change to be seen", async || {
        let ticket = Uuid::new_v4();
        let data = json!({ "ticket_id": ticket, "title": "Mapped", "description": "…",
            "integration_id": world.integration,
            "custom_fields": { "Team": ["stolen"], "Customer": "ACME" } });
        let create = world.publish("ticket.create", data).await;
        let event = world.succeeds(create).await;
        let details = event["data"]["result"]["integration_result"]["details"].clone();
        details["refused_custom_fields"]["Team"]
            .is_string()
            .then_some(ticket)
    })
    .await;
    let marked = world
        .sandbox
        .ledger_of_label(SITE, &format!("tkt-{seen}"))
        .issues;
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0].fields["customfield_10010"], "ACME");
    let data = json!({ "ticket_id": seen, "custom_fields": { "Team": ["stolen"] } });
    let update = world.publish("ticket.update", data).await;
    let event = world.succeeds(update).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    assert!(
        details["refused_custom_fields"]["Team"].is_string(),
        "{event:#}"
    );
    let label = format!("tkt-{seen}");
    let marked = world.sandbox.ledger_of_label(SITE, &label).issues;
    assert!(
        !marked[0].labels.contains(&"stolen".to_owned()),
        "{marked:?}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_published_in_jiras_own_words_without_what_is_secret() {
    let world = World::new().await;
    let worker = world.worker().await;
    let refuse = |body: Value| {
        let fault =
            json!({ "kind": "status", "status": 400, "operation": "create_issue", "body": body });
        world.fault(fault);
    };
    let message = async |title: &str| {
        let (create, _) = world.create(title).await;
        let event = world.fails(create, "validation_failed").await;
        let message = event["data"]["error"]["message"].as_str().unwrap();
        message.to_owned()
    };

    let archived = "The project SUP is archived; token s3cr3t-t0k3n may not write to it";
    refuse(json!({ "errorMessages": [archived], "errors": {} }));
    let said = message("To an archive").await;
    assert!(said.contains("The project SUP is archived"), "{said}");
    assert!(!said.contains("s3cr3t"), "{said}");

    refuse(json!({ "errorMessages": ["Closed for the night"], "errors": { "summary": "is odd" } }));
    let said = message("Odd").await;
    assert!(
        said.contains("is odd") && said.contains("Closed for the night"),
        "{said}"
    );

    refuse(json!("Request blocked by policy 7"));
    let said = message("As text").await;
    assert!(said.contains("Request blocked by policy 7"), "{said}");

    refuse(json!("<html><title>Gateway</title></html>"));
    let said = message("As a page").await;
    assert!(!said.contains("Gateway"), "{said}");
    drop(worker);
}
