//! What is peculiar to Zoom Team Chat, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, oauth};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{FileServer, World, http_json};

const CHANNEL: &str = "c0ffee5upp0rt";
const OPERATIONS: [Steps; 8] = [
    on(Act::Create, "post_message", Guard::Lookup).after(&["get_message"]),
    on(Act::Update, "update_message", Guard::Native),
    on(Act::Status, "reply", Guard::Lookup).before(&["update_message"]),
    on(Act::Resolve, "reply", Guard::Lookup).before(&["update_message"]),
    on(Act::Assign, "update_message", Guard::Native),
    on(Act::Comment, "reply", Guard::Lookup),
    on(Act::Attach, "post_file", Guard::Lookup),
    on(Act::Delete, "reply", Guard::Lookup).before(&["update_message"]),
];

fn says(status: u16, code: u32, message: &str) -> Fault {
    Fault::status(status).body(json!({ "code": code, "message": message }))
}

/// An account's app, which names the user, and an app that a user consented to.
pub(super) fn rows() -> Vec<Row> {
    let same = |name, fault, class| (name, fault, class, class);
    let mut strange = vec![
        ("as to a stranger", Fault::new(FaultKind::Stranger)),
        ("124", says(401, 124, "Access token is expired.")),
        ("124 with 400", says(400, 124, "Invalid access token.")),
    ];
    strange.extend(log_ins());
    let peculiar = vec![
        same(
            "a missing scope",
            says(400, 4_711, "Invalid access token, does not contain scopes."),
            "permission",
        ),
        same(
            "another's message",
            says(400, 200, "Only the sender of this message can make updates"),
            "permission",
        ),
        same("no files", says(400, 5_403, "no"), "permission"),
        same("no such channel", says(404, 4_130, "no"), "not_found"),
        same(
            "no such message",
            says(400, 300, "Message does not exist"),
            "not_found",
        ),
        same("an archived channel", says(400, 5_420, "no"), "gone"),
        same("an encrypted channel", says(400, 5_419, "no"), "gone"),
        same("a reply to a reply", says(400, 5_402, "no"), "validation"),
        same(
            "the day's budget",
            says(429, 429, "You have reached the maximum daily rate limit"),
            "rate_limited",
        ),
        (
            "5301",
            says(400, 5_301, "Message sending failed"),
            "unknown",
            "transient",
        ),
    ];
    let row = |name, credentials, settings| Row {
        name,
        platform: Platform::Zoom,
        auth_type: AuthType::Oauth2,
        credentials,
        settings,
        operations: OPERATIONS.to_vec(),
        reads_answers: true,
        blind: Some(json!({ "texts": false })),
        reads: true,
        peculiar: peculiar.clone(),
        strange: strange.clone(),
    };
    vec![
        row(
            "zoom-account",
            json!({ "account_id": "a", "client_id": "c", "client_secret": SECRET }),
            json!({ "user_id": "desk@example.test", "channel_id": CHANNEL }),
        ),
        row(
            "zoom-user",
            json!({ "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET }),
            json!({ "channel_id": CHANNEL }),
        ),
    ]
}

/// Zoom towards the canary suite.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |_, _, _| {
        json!({ "id": "8cfaf567-0000-4000-8000-000000000001", "message": "x", "messages": [],
                "channels": [], "name": "Support", "email": "desk@example.test" })
        .to_string()
    },
    success: |say| {
        let message =
            json!({ "id": say(), "message": say(), "sender": say(), "sender_display_name": say() });
        json!({
            "id": say(), "message": say(), "message_url": say(), "email": say(), "name": say(),
            "messages": [message], "channels": [{ "id": say(), "name": say() }],
            "next_page_token": say(), "reason": say(),
        })
    },
    token_path: "oauth/token",
    syncs: true,
};

/// Its modes for the canary suite. An account's app has no refresh token: its second secret is what
/// deliveries are signed with.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |credentials: Value| {
        json!({ "platform_name": "zoom", "auth_type": "oauth2", "base_url": "{at}",
                "credentials": credentials,
                "settings": { "user_id": "desk@example.test", "channel_id": CHANNEL } })
    };
    let (of_account, of_user) = (oauth("zoom-account"), oauth("zoom-user"));
    let mut by_account = data(
        json!({ "account_id": "account", "client_id": "client", "client_secret": of_account[0] }),
    );
    by_account["webhook_secret"] = json!(of_account[1]);
    let by_user = data(json!({
        "client_id": "client", "client_secret": of_user[0], "refresh_token": of_user[1],
    }));
    vec![
        Mode::oauth(BEHAVIOUR, "zoom-account-oauth2", by_account, &of_account).by_client(),
        Mode::oauth(BEHAVIOUR, "zoom-user-oauth2", by_user, &of_user),
    ]
}

/// An active integration at a site.
async fn channel(world: &World, site: &str, more: &Value) -> Uuid {
    let mut settings = json!({ "user_id": "desk@example.test", "channel_id": CHANNEL });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let data = json!({
        "name": "Zoom", "platform_name": "zoom", "auth_type": "oauth2",
        "base_url": world.sandbox.url(site),
        "settings": settings,
        "credentials": { "account_id": "a", "client_id": "c", "client_secret": "s3cr3t-0f-0urs" },
    });
    world.integration_of(data).await
}

/// The one ticket there is.
fn only(world: &World, site: &str) -> LedgerIssue {
    let mut issues = world.sandbox.ledger(site).issues;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.remove(0)
}

/// What was said in its thread.
fn said(item: &LedgerIssue) -> Vec<&str> {
    let comments = item.comments.iter();
    comments.map(|one| one.body.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_in_a_channel() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zoom/life";
    let more =
        json!({ "ticket_url": "https://desk.test/t/{ticket_id}", "internal_comments": true });
    let id = channel(&world, site, &more).await;
    assert!(
        world.sandbox.ledger(site).issues.is_empty(),
        "a test posts nothing"
    );
    // Files go to another host, and ids have slashes.
    let odd = json!({ "redirects_files": true, "odd_ids": true });
    world.sandbox.configure(site, odd).unwrap();
    let ann = world
        .user(world.organization, "Ann", "ann@example.test")
        .await;

    let data = json!({
        "title": "Printer on fire",
        "description": "Since **nine**, see [the page](https://x.test/p). @all",
        "priority": "high", "category": "technical", "tags": ["printer"], "integration_id": id,
        "custom_fields": { "floor": 3 },
    });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let ticket = made["data"]["ticket_id"].clone();
    let new = only(&world, site);
    let mut commands = Vec::new();
    for (command_type, data) in [
        ("ticket.assign", json!({ "assigned_to_id": ann })),
        ("ticket.update", json!({ "title": "Fire is out" })),
        ("ticket.comment", json!({ "body": "On *it*" })),
        (
            "ticket.comment",
            json!({ "body": "Do not tell", "public": false }),
        ),
        (
            "ticket.attach",
            json!({ "attachments": [
                { "name": "a.txt", "content_base64": "aGVsbG8=" },
                { "name": "r\u{e9}sum\u{e9}.pdf", "content_base64": "aGVsbG8h" },
            ] }),
        ),
        (
            "ticket.status",
            json!({ "status": "resolved", "resolution_summary": "Water." }),
        ),
        ("ticket.delete", json!({})),
    ] {
        let mut data = data;
        data["ticket_id"] = ticket.clone();
        commands.push(world.publish(command_type, data).await);
    }
    let mut events = Vec::new();
    for command in &commands {
        events.push(world.succeeds(*command).await);
    }

    let marker = format!("[ref:tkt-{}]", ticket.as_str().unwrap());
    let link = format!("https://desk.test/t/{}", ticket.as_str().unwrap());
    let facts = "Status: new · Priority: high · Category: technical · Tags: printer";
    let shown =
        format!("Printer on fire\n{facts}\nSince nine, see the page. @all\n{link}\n{marker}");
    assert_eq!(new.summary, shown);
    let part = |range: &Value| {
        let at = |name: &str| usize::try_from(range[name].as_u64().unwrap()).unwrap();
        let (start, end) = (at("start_position"), at("end_position"));
        shown
            .chars()
            .skip(start)
            .take(end - start)
            .collect::<String>()
    };
    let formats = new.fields["rich_text"].as_array().unwrap();
    let formats: Vec<(String, &Value)> = formats
        .iter()
        .map(|range| (part(range), &range["format_type"]))
        .collect();
    let expected = [
        ("Printer on fire".to_owned(), &json!("Bold")),
        ("nine".to_owned(), &json!("Bold")),
        ("the page".to_owned(), &json!("AddLink")),
    ];
    assert_eq!(formats, expected);
    let external = &made["data"]["result"]["integration_result"];
    assert_eq!(
        external["external_ticket_id"],
        format!("{CHANNEL}:{}", new.id)
    );
    let url = external["external_ticket_url"].as_str().unwrap();
    assert!(url.starts_with("https://zoom.us/launch/chat/"), "{url}");
    let left_out = external["details"]["custom_fields"].as_str().unwrap();
    assert!(left_out.starts_with("not shown"), "{left_out}");

    // A change shows the addresses of links, as it takes no formats.
    let item = only(&world, site);
    let facts =
        "Status: closed · Priority: high · Category: technical · Assignee: Ann · Tags: printer";
    let text = "Since nine, see the page (https://x.test/p). @all";
    let shown = format!("Fire is out\n{facts}\n{text}\n{link}\n{marker}");
    assert_eq!(item.summary, shown);
    assert_eq!(item.fields["rich_text"], Value::Null);
    assert_eq!(item.fields["mentions"], 0);
    let begins = [
        "On it\n[ref:cmd-",
        "Internal comment:\nDo not tell\n[ref:cmd-",
        "Status: resolved\nWater.\n[ref:cmd-",
        "Status: closed\n[ref:cmd-",
    ];
    for (said, begin) in said(&item).iter().zip(begins) {
        assert!(said.starts_with(begin) && said.ends_with(']'), "{said}");
    }
    assert_eq!(item.comments.len(), begins.len());
    let names = item.attachments.iter().map(|file| file.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["a.txt", "r\u{e9}sum\u{e9}.pdf"]);
    let files = world.sandbox.ledger(site).count("post_elsewhere");
    assert_eq!(files.effective, 2);
    let comment = &events[2]["data"]["result"]["external_comment_id"];
    assert_eq!(*comment, item.comments[0].id.to_lowercase());
    world.close_the_ledger(&commands).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_by_its_last_line_though_the_list_lags() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zoom/lost";
    let id = channel(&world, site, &json!({})).await;
    let lose = |operation: &str| {
        let lost = Fault::new(FaultKind::ResetAfterStore).on(operation);
        world.sandbox.inject(site, lost).unwrap();
    };
    let lag = json!({ "list_lag_ms": 700 });
    world.sandbox.configure(site, lag).unwrap();

    lose("post_message");
    let (create, ticket) = world.create_at(id, "Only once").await;
    let made = world.succeeds(create).await;
    lose("reply");
    let data = json!({ "ticket_id": ticket, "body": "Only once, too" });
    let comment = world.publish("ticket.comment", data).await;
    let said_once = world.succeeds(comment).await;
    lose("post_file");
    let file = json!({ "name": "a.txt", "content_base64": "aGVsbG8=" });
    let data = json!({ "ticket_id": ticket, "attachments": [file] });
    let attach = world.publish("ticket.attach", data).await;
    world.succeeds(attach).await;

    let item = only(&world, site);
    let external = &made["data"]["result"]["integration_result"];
    assert_eq!(
        external["external_ticket_id"],
        format!("{CHANNEL}:{}", item.id)
    );
    assert_eq!((item.comments.len(), item.attachments.len()), (1, 1));
    let comment = &said_once["data"]["result"]["external_comment_id"];
    assert_eq!(*comment, item.comments[0].id.as_str());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_image_is_uploaded_first_and_found_by_the_line_that_comes_with_it() {
    let world = World::new().await;
    let worker = world.worker().await;
    let files = FileServer::start().await;
    let site = "zoom/large";
    let id = channel(&world, site, &json!({})).await;
    let (create, ticket) = world.create_at(id, "Screen").await;
    world.succeeds(create).await;
    let lost = Fault::new(FaultKind::ResetAfterStore).on("reply");
    world.sandbox.inject(site, lost).unwrap();

    let url = files.url("/big/16000001");
    let file = json!({ "name": "screen.png", "media_type": "image/png", "url": url });
    let data = json!({ "ticket_id": ticket, "attachments": [file] });
    let attach = world.publish("ticket.attach", data).await;
    world.succeeds(attach).await;

    let item = only(&world, site);
    let kept = item.attachments.iter();
    let kept: Vec<_> = kept.map(|file| (file.name.as_str(), file.size)).collect();
    assert_eq!(kept, [("screen.png", 16_000_001)]);
    let ledger = world.sandbox.ledger(site);
    assert!(ledger.count("upload_file").effective >= 1);
    assert_eq!(ledger.count("post_file").received, 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_by_another_user_is_not_taken_for_ours() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zoom/copied";
    let id = channel(&world, site, &json!({})).await;
    let (create, ticket) = world.create_at(id, "Copied").await;
    world.succeeds(create).await;
    // The request never arrives, but somebody posts what it would have said.
    let lost = Fault::new(FaultKind::ResetBeforeStore).on("reply");
    world.sandbox.inject(site, lost).unwrap();
    let data = json!({ "ticket_id": ticket, "body": "Ours" });
    let comment = world.publish("ticket.comment", data).await;
    world.event(comment, "deferred").await;
    let root = only(&world, site).id;
    let text = format!("Ours\n[ref:cmd-{comment}]");
    let copy = json!({ "channel": CHANNEL, "root": root, "message": text });
    let person = format!("{}/person", world.sandbox.url(site));
    assert_eq!(http_json("POST", &person, &copy).await.0, 201);

    world.succeeds(comment).await;

    assert_eq!(
        said(&only(&world, site)),
        [format!("Ours\n[ref:cmd-{comment}]")]
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_rotates_and_an_expired_token_is_seen_with_400() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zoom/rotating";
    // Older answers do not say where the API is.
    let silent = json!({ "says_api_url": false });
    world.sandbox.configure(site, silent).unwrap();
    let data = json!({
        "name": "Zoom", "platform_name": "zoom", "auth_type": "oauth2",
        "settings": { "channel_id": CHANNEL },
        "base_url": world.sandbox.url(site),
        "credentials": { "client_id": "c", "client_secret": "s3cr3t", "refresh_token": "first" },
    });
    let id = world.integration_of(data).await;
    let (first, _) = world.create_at(id, "First").await;
    world.succeeds(first).await;

    let stale = says(400, 124, "Access token is expired.").on("post_message");
    world.sandbox.inject(site, stale).unwrap();
    let (second, _) = world.create_at(id, "Second").await;
    let event = world.succeeds(second).await;

    assert_eq!(event["data"]["attempt"], 1);
    let refreshes = world.sandbox.ledger(site).count("token");
    assert_eq!((refreshes.received, refreshes.effective), (2, 2));
    assert!(!worker.log().contains("sandbox-access-"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_what_to_do() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zoom/refused";
    let id = channel(&world, site, &json!({})).await;
    let (create, ticket) = world.create_at(id, "First").await;
    world.succeeds(create).await;
    let message = |event: &Value| event["data"]["error"]["message"].to_string();

    let hush = json!({ "ticket_id": ticket, "body": "hush", "public": false });
    let hush = world.publish("ticket.comment", hush).await;
    let hushed = world.fails(hush, "unsupported_operation").await;
    assert!(message(&hushed).contains("settings.internal_comments"));

    // Without the scope to read who we are, comments are posted all the same.
    let scopes = json!({ "lacks_scopes": ["get_user", "get_message"] });
    world.sandbox.configure(site, scopes).unwrap();
    let (create, _) = world.create_at(id, "Without a link").await;
    let made = world.succeeds(create).await;
    let external = &made["data"]["result"]["integration_result"];
    assert!(external["external_ticket_url"].is_null(), "{made:#}");
    let scopes = json!({ "lacks_scopes": ["reply"] });
    world.sandbox.configure(site, scopes).unwrap();
    let data = json!({ "ticket_id": ticket, "body": "Hello" });
    let comment = world.publish("ticket.comment", data).await;
    let refused = world.fails(comment, "permission_denied").await;
    assert!(message(&refused).contains("lacks a scope"), "{refused:#}");

    // The status shows although it cannot be told in the thread.
    let data = json!({ "ticket_id": ticket, "status": "open" });
    let status = world.publish("ticket.status", data).await;
    let event = world.succeeds(status).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    let missing = details["status_reply"].as_str().unwrap();
    assert!(missing.starts_with("not posted"), "{event:#}");
    let shown = &world.sandbox.ledger(site).issues[0].summary;
    assert!(shown.contains("Status: open"), "{shown}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_leaves_no_message_and_a_sync_goes_over_pages() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zoom/checks";
    let id = channel(&world, site, &json!({})).await;
    let (create, _) = world.create_at(id, "Watched").await;
    world.succeeds(create).await;
    let test = async |kind: &str| {
        let test = json!({ "integration_id": id, "test_types": [kind] });
        let test = world.publish("integration.test", test).await;
        world.succeeds(test).await["data"]["result"].clone()
    };

    let posted = test("create_ticket").await;
    let good = test("permissions").await;
    assert!(
        posted.to_string().contains("removed it again"),
        "{posted:#}"
    );
    assert_eq!(good["success"], true, "{good:#}");
    only(&world, site);
    let data = json!({ "integration_id": id, "search": "other" });
    let fields = world.ask("integration.fields", data).await;
    assert!(fields.to_string().contains("c0ffee0ther"), "{fields:#}");
    assert!(!fields.to_string().contains(CHANNEL), "{fields:#}");

    // More than a page of what people say.
    let person = format!("{}/person", world.sandbox.url(site));
    for number in 0..60 {
        let says = json!({ "channel": CHANNEL, "message": format!("chat {number}") });
        assert_eq!(http_json("POST", &person, &says).await.0, 201);
    }
    for round in 0..2 {
        if round == 1 {
            // The token of the second page has ended meanwhile.
            let mut ended = says(400, 300, "Validation Failed.").on("list_messages");
            ended.skip = 1;
            world.sandbox.inject(site, ended).unwrap();
        }
        let sync = json!({ "integration_id": id });
        let sync = world.publish("integration.sync", sync).await;
        let synced = world.succeeds(sync).await;
        assert_eq!(synced["data"]["result"]["complete"], true, "{synced:#}");
        assert_eq!(synced["data"]["result"]["counts"]["seen"], 1, "{synced:#}");
    }
    assert_eq!(world.sandbox.ledger(site).faults_pending, 0);
    let gone = json!({ "channels": [{ "id": CHANNEL, "name": "Support", "archived": true }] });
    world.sandbox.configure(site, gone).unwrap();
    let archived = test("create_ticket").await;
    assert!(archived.to_string().contains("is archived"), "{archived:#}");
    drop(worker);
}
