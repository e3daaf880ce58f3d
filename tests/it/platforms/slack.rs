//! What is peculiar to Slack, end to end.

use std::time::Duration;

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, WORD, canary, oauth, plain_canary};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{FileServer, World, wait_for};

/// What each operation sends.
const OPERATIONS: [Steps; 8] = [
    on(Act::Create, "chat.postMessage", Guard::Lookup).after(&["chat.getPermalink"]),
    on(Act::Update, "chat.update", Guard::Native),
    on(Act::Status, "chat.postMessage", Guard::Lookup).before(&["chat.update"]),
    on(Act::Resolve, "chat.postMessage", Guard::Lookup).before(&["chat.update"]),
    on(Act::Assign, "chat.update", Guard::Native),
    on(Act::Comment, "chat.postMessage", Guard::Lookup),
    on(Act::Attach, "files.completeUploadExternal", Guard::Lookup)
        .before(&["files.getUploadURLExternal", "upload"]),
    on(Act::Delete, "chat.postMessage", Guard::Lookup).before(&["chat.update"]),
];

/// Its rows of the conformance suite.
pub(super) fn rows() -> Vec<Row> {
    vec![slack(), slack_by_oauth(), slack_hook()]
}

fn slack_by_oauth() -> Row {
    Row {
        name: "slack-oauth",
        auth_type: AuthType::Oauth2,
        credentials: json!({ "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET }),
        ..slack()
    }
}

fn slack() -> Row {
    let refuses = |code: &str| Fault::status(200).body(json!({ "ok": false, "error": code }));
    let same = |name, fault, class| (name, fault, class, class);
    let mut strange: Vec<_> = [
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
    ]
    .into_iter()
    .map(|code| (code, refuses(code)))
    .collect();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    strange.extend(log_ins());
    Row {
        name: "slack",
        platform: Platform::Slack,
        auth_type: AuthType::Bearer,
        credentials: json!({ "bot_token": format!("xoxb-{SECRET}") }),
        settings: json!({ "channel": "C0SUPPORT" }),
        operations: OPERATIONS.to_vec(),
        reads_answers: true,
        blind: Some(json!({ "shows_metadata": false })),
        reads: true,
        peculiar: vec![
            same("409", Fault::status(409), "conflict"),
            same("invalid_auth", refuses("invalid_auth"), "authentication"),
            same("missing_scope", refuses("missing_scope"), "permission"),
            same("not_in_channel", refuses("not_in_channel"), "permission"),
            same(
                "channel_not_found",
                refuses("channel_not_found"),
                "not_found",
            ),
            same("is_archived", refuses("is_archived"), "not_found"),
            same("invalid_blocks", refuses("invalid_blocks"), "validation"),
            same("ratelimited", refuses("ratelimited"), "rate_limited"),
            same("request_timeout", refuses("request_timeout"), "transient"),
            same("a code nobody knows", refuses("new_in_2031"), "validation"),
            (
                "fatal_error",
                refuses("fatal_error"),
                "unknown",
                "transient",
            ),
            (
                "internal_error",
                refuses("internal_error"),
                "unknown",
                "transient",
            ),
        ],
        strange,
    }
}

/// The reduced mode: nothing comes back, and nothing can be looked up.
fn slack_hook() -> Row {
    let says = |status, text: &str| Fault::status(status).body(json!(text));
    let same = |name, fault, class| (name, fault, class, class);
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    Row {
        name: "slack-hook",
        platform: Platform::Slack,
        auth_type: AuthType::Custom,
        credentials: json!({ "webhook_url": format!("{{base}}/services/T1/B1/{SECRET}") }),
        settings: json!({}),
        operations: vec![on(Act::Create, "incoming_webhook", Guard::Nothing)],
        reads_answers: false,
        blind: None,
        reads: false,
        peculiar: vec![
            same("410", says(410, "channel_is_archived"), "gone"),
            same("no_service", says(404, "no_service"), "gone"),
            same("no_team", says(404, "no_team"), "gone"),
            same(
                "invalid_token",
                says(403, "invalid_token"),
                "authentication",
            ),
            same("no_text", says(400, "no_text"), "validation"),
            // The one answer of a success is `ok`.
            same("another word", says(200, "thanks"), "unknown"),
            same("an empty success", Fault::status(200), "unknown"),
        ],
        strange,
    }
}

const TOKEN: &str = "xoxb-s3cr3t-t0k3n";

/// An active Slack integration at a site.
async fn channel(world: &World, site: &str, settings: Value) -> Uuid {
    let mut all = json!({ "channel": "C0SUPPORT" });
    for (name, value) in settings.as_object().unwrap() {
        all[name] = value.clone();
    }
    let data = json!({
        "name": "Slack", "platform_name": "slack", "auth_type": "bearer", "settings": all,
        "base_url": world.sandbox.url(site), "credentials": { "bot_token": TOKEN },
    });
    world.integration_of(data).await
}

/// The one message of a ticket.
fn message(world: &World, site: &str, ticket: Uuid) -> LedgerIssue {
    let mut found = world
        .sandbox
        .ledger_of_label(site, &format!("tkt-{ticket}"))
        .issues;
    assert_eq!(found.len(), 1, "one message a ticket: {found:?}");
    found.remove(0)
}

/// Slack towards the canary suite.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |_, thing, at| {
        if thing.starts_with("services/") {
            return "{}".into();
        }
        let is_info = thing.ends_with("conversations.info");
        json!({
            "ok": true, "ts": "1.000001", "bot_id": "B1", "user": "bot", "team": "T",
            "messages": [],
            "channel": if is_info { json!({ "id": "C1", "is_member": true }) } else { json!("C1") },
            "permalink": "https://x.example/archives/C1/p1000001",
            "upload_url": format!("{at}/upload"),
            "file_id": "F1",
        })
        .to_string()
    },
    success: |say| {
        json!({
            "ok": true, "url": format!("https://x.example/{}", say()), "channel": say(),
            "ts": say(), "permalink": say(),
            "upload_url": "http://127.0.0.1:9/x", "file_id": say(), "bot_id": say(), "user": say(),
            "team": say(),
            "messages": [{ "ts": say() }],
        })
    },
    token_path: "oauth.v2.access",
    syncs: false,
};

/// Its modes for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |auth_type: &str, credentials: Value| {
        json!({ "platform_name": "slack", "auth_type": auth_type, "base_url": "{at}",
            "credentials": credentials,
                "settings": { "channel": "C1", "internal_comments": true } })
    };
    let (bot, hook) = (canary("xoxb-bot"), plain_canary("Hook"));
    let mut secrets = oauth("slack");
    secrets[0] = WORD.into();
    let by_client =
        json!({ "client_id": "client", "client_secret": secrets[0], "refresh_token": secrets[1] });
    let by_address = json!({ "webhook_url": format!("{{at}}/services/T0/B0/{hook}") });
    let mode = |name, data, sent: &String| Mode::new(BEHAVIOUR, name, data, &[sent], &[]);
    vec![
        mode(
            "slack-bot",
            data("bearer", json!({ "bot_token": bot })),
            &bot,
        ),
        Mode::oauth(
            BEHAVIOUR,
            "slack-oauth2",
            data("oauth2", by_client),
            &secrets,
        ),
        mode("slack-hook", data("custom", by_address), &hook),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_is_a_message_and_its_thread() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/life";
    let id = channel(
        &world,
        site,
        json!({ "ticket_url": "https://desk.test/t/{ticket_id}" }),
    )
    .await;
    let ticket = Uuid::new_v4();
    let data = json!({
        "ticket_id": ticket, "title": "Printer <!channel> on fire", "integration_id": id,
        "priority": "high",
        "description": "Smoke **since** [9:00](https://desk.test/a?b=1&c=2)", "tags": ["printer",
            "3rd floor"],
        "custom_fields": { "Floor": 3 },
    });

    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let changes = [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "critical" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "On my *way*" }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Put out" }),
        ),
    ];
    for (command_type, data) in changes {
        let command = world.publish(command_type, data).await;
        world.succeeds(command).await;
    }

    let message = message(&world, site, ticket);
    let external = &made["data"]["result"]["integration_result"];
    assert_eq!(external["external_ticket_id"], json!(message.key));
    let link = format!("/archives/C0SUPPORT/p{}", message.id.replace('.', ""));
    assert!(
        external["external_ticket_url"]
            .as_str()
            .unwrap()
            .ends_with(&link),
        "{external}"
    );
    assert_eq!(
        message.summary,
        "Printer &lt;!channel&gt; on fire (critical, resolved)"
    );
    let blocks = message.fields["blocks"].to_string();
    for shown in [
        "Smoke *since* <https://desk.test/a?b=1&amp;c=2|9:00>",
        "*Floor*\\n3",
        "*Priority*\\ncritical",
        "`3rd floor`",
        &format!("https://desk.test/t/{ticket}"),
    ] {
        assert!(blocks.contains(shown), "{shown} in {blocks}");
    }
    let thread: Vec<&Value> = message.comments.iter().map(|reply| &reply.body).collect();
    assert_eq!(thread, ["On my _way_", "Status: *resolved*\n\nPut out"]);
    world.quiet().await;
    assert!(!worker.log().contains(TOKEN));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_and_a_reply_whose_answers_are_lost_are_found_by_their_mark_and_stand_once() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/lossy";
    let id = channel(&world, site, json!({})).await;
    // Listings lag behind, so that the first look finds nothing.
    world
        .sandbox
        .configure(site, json!({ "history_lag_ms": 600 }))
        .unwrap();
    let lose = || {
        let lost = Fault::new(FaultKind::ResetAfterStore).on("chat.postMessage");
        world.sandbox.inject(site, lost).unwrap();
    };

    lose();
    let (create, ticket) = world.create_at(id, "Lost").await;
    let made = world.succeeds(create).await;
    lose();
    let comment = world
        .publish(
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Lost too" }),
        )
        .await;
    world.succeeds(comment).await;
    lose();
    let status = world
        .publish(
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "in_progress" }),
        )
        .await;
    world.succeeds(status).await;

    assert_eq!(
        made["data"]["result"]["integration_result"]["details"]["adopted"],
        true
    );
    let message = message(&world, site, ticket);
    assert_eq!(message.comments.len(), 2, "{:?}", message.comments);
    let posts = world.sandbox.ledger(site).count("chat.postMessage");
    assert_eq!((posts.received, posts.faulted), (3, 3));
    for command in [create, comment, status] {
        world.event(command, "deferred").await;
    }
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_another_app_with_our_mark_is_not_taken_for_ours() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/copied";
    let id = channel(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "Copied").await;
    world.succeeds(create).await;
    let acting_as = |bot: &str| {
        world
            .sandbox
            .configure(site, json!({ "bot_id": bot }))
            .unwrap();
    };

    // The first attempt's message is stored under another app's name: to whoever looks later, a
    // copy.
    acting_as("B0ANOTHER");
    let lost = Fault::new(FaultKind::ResetAfterStore).on("chat.postMessage");
    world.sandbox.inject(site, lost).unwrap();
    let data = json!({ "ticket_id": ticket, "body": "Ours" });
    let comment = world.publish("ticket.comment", data).await;
    world.event(comment, "deferred").await;
    assert_eq!(message(&world, site, ticket).comments.len(), 1);
    acting_as("B0SANDBOX");

    world.succeeds(comment).await;
    assert_eq!(
        message(&world, site, ticket).comments.len(),
        2,
        "the copy was taken for ours"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_seen_in_the_body_and_renewed_once() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/rotating";
    let data = json!({
        "name": "Slack", "platform_name": "slack", "auth_type": "oauth2",
        "settings": { "channel": "C0SUPPORT" },
        "base_url": world.sandbox.url(site),
        "credentials": { "client_id": "1.2", "client_secret": "s3cr3t",
            "refresh_token": "xoxe-1-first" },
    });
    let id = world.integration_of(data).await;
    let (first, _) = world.create_at(id, "First").await;
    world.succeeds(first).await;

    let stale = Fault::status(200).body(json!({ "ok": false, "error": "token_expired" }));
    world
        .sandbox
        .inject(site, stale.on("chat.postMessage"))
        .unwrap();
    let (second, ticket) = world.create_at(id, "Second").await;
    let event = world.succeeds(second).await;

    assert_eq!(event["data"]["attempt"], 1);
    message(&world, site, ticket);
    let refreshes = world.sandbox.ledger(site).count("oauth.v2.access");
    assert_eq!((refreshes.received, refreshes.effective), (2, 2));
    assert!(!worker.log().contains("sandbox-access-"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_with_http_200_fails_the_command_and_says_what_to_do() {
    let world = World::new().await;
    let worker = world.worker().await;
    let cases = [
        ("C0OUTSIDE", "permission_denied", "invite the bot"),
        ("C0ARCHIVED", "external_not_found", "archived"),
        ("C0NOPE", "external_not_found", "settings.channel"),
    ];
    for (name, code, advice) in cases {
        let id = channel(&world, "slack/refusing", json!({ "channel": name })).await;
        let (create, _) = world.create_at(id, "Refused").await;

        let event = world.fails(create, code).await;

        let message = event["data"]["error"]["message"].as_str().unwrap();
        assert!(message.contains(advice), "{message}");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incoming_webhook_posts_and_a_lost_answer_stays_unknown_until_somebody_settles_it() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/hook";
    let url = format!("{}/services/T0/B0/s3cr3tpath", world.sandbox.url(site));
    let data = json!({
        "name": "Hook", "platform_name": "slack", "auth_type": "custom",
        "credentials": { "webhook_url": url },
    });
    let id = world.integration_of(data).await;

    let (fine, ticket) = world.create_at(id, "Fine").await;
    world.succeeds(fine).await;
    let comment = world
        .publish(
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "No" }),
        )
        .await;
    let refused = world.fails(comment, "unsupported_operation").await;
    world
        .sandbox
        .inject(site, Fault::new(FaultKind::ResetAfterStore))
        .unwrap();
    let (lost, lost_ticket) = world.create_at(id, "Lost").await;
    let event = world.fails(lost, "outcome_unknown").await;

    assert!(
        refused["data"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("bot token")
    );
    assert_eq!(event["data"]["error"]["retryable"], false);
    assert_eq!(
        world.sandbox.ledger(site).issues.len(),
        2,
        "it was not sent again"
    );
    // Running it again would be guessing: it says so instead of posting.
    world.cli(&["command", "retry", &lost.to_string()]);
    wait_for("the second run to end", async || {
        let runs = world.events_of(lost);
        runs.iter()
            .any(|event| event["data"]["run"] == 2)
            .then_some(())
    })
    .await;
    assert_eq!(
        world.sandbox.ledger(site).issues.len(),
        2,
        "it was sent again"
    );
    world.cli(&[
        "command",
        "resolve",
        &lost.to_string(),
        "--happened",
        "seen in #support",
    ]);
    world.state(lost, "succeeded").await;
    let bound = world
        .text(
            "SELECT external_ticket_id FROM tickets WHERE id = $1",
            &[&lost_ticket],
        )
        .await;
    assert_eq!(bound.as_deref(), Some("seen in #support"));

    let never = Fault::new(FaultKind::ResetBeforeStore);
    world.sandbox.inject(site, never).unwrap();
    let (dropped, _) = world.create_at(id, "Never arrived").await;
    world.fails(dropped, "outcome_unknown").await;
    let dropped_id = dropped.to_string();
    world.cli(&["command", "resolve", &dropped_id, "--did-not-happen"]);
    world.event(dropped, "succeeded").await;
    assert_eq!(world.sandbox.ledger(site).issues.len(), 3);
    assert!(!worker.log().contains("s3cr3tpath"));
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_protects_a_lost_answer_may_be_sent_once_more_and_says_so() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/again";
    let url = format!("{}/services/T0/B0/again", world.sandbox.url(site));
    let id = world
        .integration_of(json!({
            "name": "Hook", "platform_name": "slack", "auth_type": "custom",
            "credentials": { "webhook_url": url },
            "settings": { "on_unknown": "retry" },
        }))
        .await;
    let posted = || world.sandbox.ledger(site).issues.len();

    let (fine, _) = world.create_at(id, "Fine").await;
    let event = world.succeeds(fine).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["sent_twice_perhaps"], Value::Null);
    let lose = Fault::new(FaultKind::ResetAfterStore);
    world.sandbox.inject(site, lose.clone().times(1)).unwrap();
    let (lost, _) = world.create_at(id, "Lost").await;
    let event = world.succeeds(lost).await;
    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["sent_twice_perhaps"], true, "{event}");
    assert_eq!(posted(), 3, "the first, and the lost one twice");

    // Once more is not twice more.
    world.sandbox.inject(site, lose.times(0)).unwrap();
    let (gone, _) = world.create_at(id, "Gone").await;
    world.fails(gone, "outcome_unknown").await;
    assert_eq!(posted(), 5);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_slack_removed_disables_its_integration() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/gone";
    let url = format!("{}/services/T0/B0/x", world.sandbox.url(site));
    let data = json!({
        "name": "Hook", "platform_name": "slack", "auth_type": "custom",
        "credentials": { "webhook_url": url },
    });
    let id = world.integration_of(data).await;
    let gone = Fault::status(404).body(json!("no_service")).times(0);
    world.sandbox.inject(site, gone).unwrap();

    let (first, _) = world.create_at(id, "First").await;
    world.fails(first, "external_not_found").await;
    let (second, _) = world.create_at(id, "Second").await;

    world.fails(second, "integration_disabled").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_is_not_public_needs_a_channel_where_that_is_right() {
    let world = World::new().await;
    let worker = world.worker().await;
    let open = channel(&world, "slack/open", json!({})).await;
    let internal = channel(
        &world,
        "slack/internal",
        json!({ "internal_comments": true }),
    )
    .await;
    let say = async |integration| {
        let (create, ticket) = world.create_at(integration, "Notes").await;
        world.succeeds(create).await;
        let data = json!({ "ticket_id": ticket, "body": "A note", "public": false });
        world.publish("ticket.comment", data).await
    };

    let refused = say(open).await;
    let taken = say(internal).await;

    world.fails(refused, "unsupported_operation").await;
    world.succeeds(taken).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_test_finds_a_bot_that_is_not_in_its_channel() {
    let world = World::new().await;
    let worker = world.worker().await;
    let inside = channel(&world, "slack/tests", json!({})).await;
    let outside = channel(&world, "slack/tests", json!({ "channel": "C0OUTSIDE" })).await;
    let test = async |integration| {
        let all = ["connection", "authentication", "permissions"];
        let data = json!({ "integration_id": integration, "test_types": all });
        let command = world.publish("integration.test", data).await;
        world.succeeds(command).await["data"]["result"].clone()
    };

    let good = test(inside).await;
    let bad = test(outside).await;

    assert_eq!(good["success"], true, "{good}");
    assert_eq!(bad["success"], false, "{bad}");
    assert!(bad.to_string().contains("/invite"), "{bad}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_shared_in_the_tickets_thread_once_though_the_answer_is_lost() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/files";
    let id = channel(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "With a file").await;
    world.succeeds(create).await;
    let lost = Fault::new(FaultKind::ResetAfterStore).on("files.completeUploadExternal");
    world.sandbox.inject(site, lost).unwrap();

    let data = json!({ "ticket_id": ticket, "attachments": [{ "name": "a.txt",
        "content_base64": "aGVsbG8=" }] });
    let attach = world.publish("ticket.attach", data).await;
    let event = world.succeeds(attach).await;

    assert_eq!(
        event["data"]["result"]["attachments"][0]["adopted"], true,
        "{event:#}"
    );
    let message = message(&world, site, ticket);
    assert_eq!(message.attachments.len(), 1, "{message:?}");
    assert_eq!(message.attachments[0].size, 5);
    let delete = world
        .publish("ticket.delete", json!({ "ticket_id": ticket }))
        .await;
    world.succeeds(delete).await;
    let ledger = world.sandbox.ledger(site);
    assert_eq!(
        ledger.count("chat.delete").received,
        0,
        "closed, not erased"
    );
    drop(worker);
}

/// Texts that would call somebody.
const CALLS: [&str; 14] = [
    "@here",
    "@channel",
    "@everyone now",
    "(@Here)",
    "#general",
    "<!channel>",
    "<!here|here>",
    "<@U0123ABC>",
    "<!subteam^S0123ABC>",
    "<#C0123ABC>",
    "&lt;!channel&gt;",
    "&#64;here",
    "[@here](https://x.test/@here?a=<!channel>)",
    "`@channel` **@everyone** ~~#general~~",
];

/// Whom the messages of a site called.
fn called(world: &World, site: &str) -> Vec<Value> {
    let items = world.sandbox.ledger(site).issues.into_iter();
    items
        .flat_map(|item| item.fields["mentions"].as_array().unwrap().clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_by_a_ticket_in_any_field_operation_or_mode() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (site, hook_site) = ("slack/calm", "slack/calm-hook");
    let bot = world
        .integration_of(json!({
            "name": "Bot", "platform_name": "slack", "auth_type": "bearer",
            "credentials": { "bot_token": TOKEN },
            "base_url": world.sandbox.url(site),
            "settings": { "channel": "C0SUPPORT", "broadcast_status": true,
                "internal_comments": true },
            "custom_fields_mapping": { "a": "@here", "b": "<!channel>" },
            "department_mapping": { "*": "@channel" },
        }))
        .await;
    let url = format!("{}/services/T0/B0/calm", world.sandbox.url(hook_site));
    let hook = world
        .integration_of(json!({
            "name": "Hook", "platform_name": "slack", "auth_type": "custom",
            "credentials": { "webhook_url": url },
        }))
        .await;

    let mut commands = Vec::new();
    for text in CALLS {
        let fields = |title: String| {
            json!({
                "title": title, "description": format!("{text}\n\n> {text}\n\n- {text}"),
                "department": text,
                "tags": [text], "custom_fields": { "a": text, "b": [text], text: { text: text } },
            })
        };
        let ticket = Uuid::new_v4();
        let mut create = fields(text.to_owned());
        create["integration_id"] = json!(hook);
        commands.push(world.publish("ticket.create", create.clone()).await);
        create["ticket_id"] = json!(ticket);
        create["integration_id"] = json!(bot);
        create["attachments"] =
            json!([{ "name": text.replace('/', "_"), "content_base64": "aGVsbG8=" }]);
        commands.push(world.publish("ticket.create", create).await);
        let mut update = fields(format!("{text} {text}"));
        update["ticket_id"] = json!(ticket);
        let person = Uuid::new_v4();
        for (command_type, data) in [
            ("ticket.update", update),
            (
                "ticket.comment",
                json!({ "ticket_id": ticket, "body": text }),
            ),
            (
                "ticket.comment",
                json!({ "ticket_id": ticket, "body": text, "public": false }),
            ),
            (
                "ticket.assign",
                json!({ "ticket_id": ticket, "assigned_to_id": person, "reason": text }),
            ),
            (
                "ticket.status",
                json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": text,
                    "internal_notes": text }),
            ),
            ("ticket.delete", json!({ "ticket_id": ticket })),
        ] {
            commands.push(world.publish(command_type, data).await);
        }
    }
    for command in commands {
        world.succeeds(command).await;
    }

    let posts = world
        .sandbox
        .ledger(site)
        .count("chat.postMessage")
        .effective;
    assert!(posts >= 5 * 14, "there was something to call with: {posts}");
    assert_eq!(world.sandbox.ledger(hook_site).issues.len(), CALLS.len());
    assert_eq!(called(&world, site), Vec::<Value>::new());
    assert_eq!(called(&world, hook_site), Vec::<Value>::new());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_would_take_gigabytes_is_cut_and_neighbours_do_not_wait() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = channel(&world, "slack/long", json!({})).await;
    let hostile = ["- ", "> ", "* ", "[", "![", "`", "**", "_", "<", "- > "];
    let mut commands = Vec::new();
    for piece in hostile {
        let description = format!("{}x", piece.repeat(200_000 / piece.len()));
        for integration in [id, world.integration] {
            let data = json!({ "title": piece, "description": description,
                "integration_id": integration });
            commands.push(world.publish("ticket.create", data).await);
        }
    }

    let began = std::time::Instant::now();
    let (neighbour, _) = world.create("A neighbour").await;
    world.succeeds(neighbour).await;
    let waited = began.elapsed();

    for command in commands {
        let event = world.succeeds(command).await;
        let details = &event["data"]["result"]["integration_result"]["details"];
        assert!(
            details["description"].to_string().contains("cut"),
            "{event:#}"
        );
    }
    assert!(waited.as_secs() < 10, "a neighbour waited {waited:?}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_shows_nothing_is_refused_before_anything_is_sent() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/blank";
    let id = channel(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "Blank").await;
    world.succeeds(create).await;
    let posted = world
        .sandbox
        .ledger(site)
        .count("chat.postMessage")
        .received;

    for body in ["[]()", "&nbsp;", "\u{2800}\u{3164}"] {
        let data = json!({ "ticket_id": ticket, "body": body });
        let comment = world.publish("ticket.comment", data).await;
        let event = world.fails(comment, "validation_failed").await;
        let fields = &event["data"]["error"]["fields"];
        assert!(
            fields["body"].to_string().contains("shows nothing"),
            "{event:#}"
        );
    }

    assert_eq!(
        world
            .sandbox
            .ledger(site)
            .count("chat.postMessage")
            .received,
        posted
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learned_outlives_the_row_s_version_and_ends_with_settings_or_credentials() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/learned";
    let id = channel(&world, site, json!({})).await;
    let asked = || {
        let ledger = world.sandbox.ledger(site);
        ledger.count("chat.getPermalink").received
    };
    let version = async || {
        let rows = world
            .query("SELECT xmin::text FROM integrations WHERE id = $1", &[&id])
            .await;
        rows[0].get::<_, String>(0)
    };
    // Each create sees a later version of the row than the one before: usage has been added up in
    // between.
    let create_at_a_new_version = async |title: &str| {
        let before = version().await;
        let (create, ticket) = world.create_at(id, title).await;
        let made = world.succeeds(create).await;
        let url = &made["data"]["result"]["integration_result"]["external_ticket_url"];
        let link = format!(
            "/archives/C0SUPPORT/p{}",
            message(&world, site, ticket).id.replace('.', "")
        );
        assert!(url.as_str().unwrap().ends_with(&link), "{url} {link}");
        wait_for("usage to be added up", async || {
            (version().await != before).then_some(())
        })
        .await;
    };

    for number in 0..4 {
        create_at_a_new_version(&format!("number {number}")).await;
    }
    assert_eq!(asked(), 1, "asked once, whatever the row's version");

    // Many at once, who all need what nobody knows yet.
    let broadcast = json!({ "integration_id": id, "settings": { "channel": "C0SUPPORT",
        "broadcast_status": true } });
    let update = world.publish("integration.update", broadcast).await;
    world.succeeds(update).await;
    let mut creates = Vec::new();
    for number in 0..15 {
        creates.push(world.create_at(id, &format!("at once {number}")).await.0);
    }
    for create in creates {
        world.succeeds(create).await;
    }
    assert_eq!(asked(), 2, "asked once more for new settings");

    let token =
        json!({ "integration_id": id, "credentials": { "bot_token": "xoxb-an0ther-t0k3n" } });
    let update = world.publish("integration.update", token).await;
    world.succeeds(update).await;
    create_at_a_new_version("with another token").await;
    assert_eq!(asked(), 3, "asked once more with new credentials");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_our_own_disk_lost_before_it_was_sent_leaves_nothing_in_doubt() {
    let world = World::new().await;
    let spools = tempfile::tempdir().unwrap();
    world.set("TMPDIR", spools.path().to_str().unwrap());
    let files = FileServer::start().await;
    let worker = world.worker().await;
    let site = "slack/spool";
    let id = channel(&world, site, json!({})).await;
    let slow = Fault::delay(Duration::from_secs(1)).on("files.getUploadURLExternal");
    world.sandbox.inject(site, slow).unwrap();
    let data = json!({
        "ticket_id": Uuid::new_v4(), "title": "With a file", "description": "",
        "integration_id": id,
        "attachments": [{ "name": "big.bin", "url": files.url("/big/1000") }],
    });

    // The platform has promised a place for the file when the disk loses it.
    let create = world.publish("ticket.create", data).await;
    let announced = || {
        let ledger = world.sandbox.ledger(site);
        ledger.count("files.getUploadURLExternal").received
    };
    wait_for("the file to be announced", async || {
        (announced() > 0).then_some(())
    })
    .await;
    // It has no name any more: only the worker has it open.
    let open = std::fs::read_dir(format!("/proc/{}/fd", worker.pid())).unwrap();
    let open = open.map(|file| file.unwrap().path());
    let is_spool = |file: &std::path::PathBuf| {
        std::fs::read_link(file).is_ok_and(|target| target.starts_with(spools.path()))
    };
    let lost: Vec<_> = open.filter(is_spool).collect();
    assert!(!lost.is_empty(), "there is something to lose");
    for file in lost {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_len(0).unwrap();
    }

    let event = world.succeeds(create).await;
    let later = &event["data"]["result"]["integration_result"]["details"]["attachments"][0];
    assert_eq!(later["outcome"], "deferred", "{event:#}");
    let child: Uuid = later["command_id"].as_str().unwrap().parse().unwrap();
    let sql = "SELECT (doubt_since IS NULL)::text FROM commands WHERE id = $1";
    assert_eq!(
        world.text(sql, &[&child]).await.as_deref(),
        Some("true"),
        "nothing was sent, so nothing is in doubt"
    );
    world.succeeds(child).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_id_that_names_no_message_is_said_and_nothing_is_sent() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/stored";
    let id = channel(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "Somewhere").await;
    world.succeeds(create).await;
    for (channel, ts) in [
        ("C0SUPPORT/../C0SECRET", "1700000000.000100"),
        ("C0SUPPORT&channel=C0SECRET", "1700000000.000100"),
        ("C0SUPPORT", "1700000000.000100&limit=1"),
        ("C0SUPPORT", "yesterday"),
        ("", "1700000000.000100"),
    ] {
        let sql = "UPDATE tickets SET external_ref = jsonb_build_object('channel', $2::text, \
                   'ts', $3::text) WHERE id = $1 RETURNING id";
        world.query(sql, &[&ticket, &channel, &ts]).await;
        let before = world.sandbox.ledger(site).recent.len();
        let data = json!({ "ticket_id": ticket, "body": "Where to?" });

        let comment = world.publish("ticket.comment", data).await;
        let event = world.fails(comment, "external_not_found").await;

        let message = event["data"]["error"]["message"].to_string();
        assert!(
            message.contains("names no message"),
            "{channel} {ts}: {message}"
        );
        let recent = world.sandbox.ledger(site).recent;
        assert_eq!(recent.len(), before, "{channel} {ts}: {recent:?}");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_lists_tickets_of_ours_goes_on_behind_them_and_changes_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/synced";
    let id = channel(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "Ours").await;
    world.succeeds(create).await;
    // What another app posts is no ticket of ours, whatever marker it carries.
    let acting_as = |bot: &str| {
        let settings = json!({ "bot_id": bot });
        world.sandbox.configure(site, settings).unwrap();
    };
    acting_as("B0ANOTHER");
    let (theirs, _) = world.create_at(id, "Theirs").await;
    world.succeeds(theirs).await;
    acting_as("B0SANDBOX");
    let sync = async || {
        let data = json!({ "integration_id": id });
        let command = world.publish("integration.sync", data).await;
        world.succeeds(command).await["data"]["result"].clone()
    };
    let listings = || {
        let ledger = world.sandbox.ledger(site);
        ledger.count("conversations.history").received
    };

    let first = sync().await;
    assert_eq!(first["complete"], true, "{first}");
    let counts = &first["counts"];
    assert_eq!(
        (&counts["seen"], &counts["unchanged"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&counts["updated"], &counts["unknown"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(listings(), 1);

    // The next one begins at the newest message: what it shows again is no news.
    let second = sync().await;
    assert_eq!(second["counts"]["updated"], 0, "{second}");
    assert_eq!(second["counts"]["seen"], 0, "{second}");
    let status = "SELECT status::text FROM tickets WHERE id = $1";
    assert_eq!(world.text(status, &[&ticket]).await.as_deref(), Some("new"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channels_are_listed_over_pages_and_searched_and_without_a_scope_the_public_ones() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "slack/channels";
    let id = channel(&world, site, json!({})).await;
    // The sandbox knows no such listing, so the answers are Slack's as its documentation has them.
    let answers = |body: Value| {
        let fault = Fault::status(200).body(body).on("unknown_method").times(1);
        world.sandbox.inject(site, fault).unwrap();
    };
    let page = |channels: Value, next: &str| {
        json!({ "ok": true, "channels": channels,
        "response_metadata": { "next_cursor": next } })
    };
    let ask = async |search: Value| {
        let data = json!({ "integration_id": id, "search": search });
        let answer = world.ask("integration.fields", data).await;
        let fields = answer["data"]["result"]["fields"].as_array().cloned();
        fields.unwrap_or_else(|| panic!("{answer:#} {}", worker.log()))
    };
    let support = json!({ "id": "C1", "name": "support", "is_member": true });
    let general = json!({ "id": "C2", "name": "general" });

    answers(page(json!([support]), "dGVhbQ=="));
    answers(page(json!([general]), ""));
    let all = ask(Value::Null).await;
    let named: Vec<_> = all
        .iter()
        .map(|field| (&field["id"], &field["name"]))
        .collect();
    assert_eq!(
        named,
        [
            (&json!("C1"), &json!("#support")),
            (&json!("C2"), &json!("#general"))
        ]
    );

    answers(json!({ "ok": false, "error": "missing_scope", "needed": "groups:read" }));
    answers(page(json!([support, general]), ""));
    let found = ask(json!("GENER")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&found[0]["id"], &found[0]["type"]),
        (&json!("C2"), &json!("channel"))
    );
    drop(worker);
}
