//! What is peculiar to SMS, end to end: every change is a message, which nobody changes any more.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary};
use crate::conformance::{Act, Guard, Row, SECRET, log_ins, on};
use crate::support::{FileServer, World, http_json};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const KEY: &str = "SK00000000000000000000000000000001";
const FROM: &str = "+14155550100";
const TO: &str = "+14155550199";

/// Its rows of the conformance suite: by the account's token, and by an API key and a service.
pub(super) fn rows() -> Vec<Row> {
    let refuses = |status: u16, code: u32| {
        Fault::status(status).body(json!({ "code": code, "message": "no", "status": status }))
    };
    let same = |name, fault, class| (name, fault, class, class);
    let mut strange = vec![
        ("as to a stranger", Fault::new(FaultKind::Stranger)),
        ("20005", refuses(401, 20_005)),
    ];
    strange.extend(log_ins());
    let row = |name, credentials, settings| Row {
        name,
        platform: Platform::Sms,
        auth_type: AuthType::Basic,
        credentials,
        settings,
        operations: Act::ALL
            .iter()
            .map(|act| on(*act, "send_message", Guard::Lookup))
            .collect(),
        reads_answers: true,
        blind: Some(json!({ "redacts": true })),
        reads: true,
        peculiar: vec![
            same("the recipient said STOP", refuses(400, 21_610), "gone"),
            same("no such number", refuses(400, 21_211), "validation"),
            same("a region", refuses(400, 21_408), "permission"),
            same("a full queue", refuses(400, 21_611), "rate_limited"),
            same("no service", refuses(400, 21_705), "not_found"),
        ],
        strange: strange.clone(),
    };
    vec![
        row(
            "sms",
            json!({ "account_sid": ACCOUNT, "auth_token": SECRET }),
            json!({ "from_number": FROM, "to": TO }),
        ),
        row(
            "sms-key",
            json!({ "account_sid": ACCOUNT, "api_key_sid": KEY, "api_key_secret": SECRET }),
            json!({ "messaging_service_sid": "MG00000000000000000000000000000001", "to": TO }),
        ),
    ]
}

fn integration(world: &World, site: &str, more: &Value) -> Value {
    let mut settings = json!({ "from_number": FROM, "to": TO });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    json!({
        "name": "Texts", "platform_name": "sms", "auth_type": "basic", "settings": settings,
        "credentials": { "account_sid": ACCOUNT, "auth_token": "t0ken" },
        "base_url": world.sandbox.url(site),
    })
}

async fn texting(world: &World, site: &str, more: Value) -> Uuid {
    world.integration_of(integration(world, site, &more)).await
}

/// Twilio towards the canary suite.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |method, thing, _| {
        let path = thing.split('?').next().unwrap_or_default();
        let said = if method == "GET" && path.ends_with("Messages.json") {
            json!({ "messages": [], "next_page_uri": null })
        } else if path.ends_with("IncomingPhoneNumbers.json") {
            let number = json!({ "phone_number": FROM, "capabilities": { "sms": true } });
            json!({ "incoming_phone_numbers": [number] })
        } else {
            let sid = "SM00000000000000000000000000000001";
            json!({ "sid": sid, "status": "active", "body": "x", "direction": "outbound-api" })
        };
        said.to_string()
    },
    success: |say| {
        let message = json!({ "sid": say(), "body": say(), "status": say(),
            "direction": "outbound-api",
            "error_code": say(), "error_message": say(), "from": say(), "to": say() });
        let number = json!({ "phone_number": say(), "friendly_name": say() });
        json!({
            "sid": say(), "body": say(), "status": say(), "direction": "outbound-api",
            "error_code": say(),
            "error_message": say(), "friendly_name": say(), "type": say(), "messages": [message],
            "incoming_phone_numbers": [number], "next_page_uri": say(), "code": say(),
            "message": say(),
        })
    },
    token_path: "",
    syncs: true,
};

/// Its modes for the canary suite: the token verifies deliveries, too; a key does not.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |credentials: Value| {
        json!({ "platform_name": "sms", "auth_type": "basic", "base_url": "{at}",
            "credentials": credentials,
                "settings": { "from_number": FROM, "to": TO } })
    };
    let (token, secret) = (canary("sms-token"), canary("sms-key"));
    let by_token = data(json!({ "account_sid": ACCOUNT, "auth_token": token }));
    let by_key =
        data(json!({ "account_sid": ACCOUNT, "api_key_sid": KEY, "api_key_secret": secret }));
    vec![
        Mode::new(BEHAVIOUR, "sms-token", by_token, &[&token], &[]),
        Mode::new(BEHAVIOUR, "sms-key", by_key, &[&secret], &[]).signed(),
    ]
}

fn result(event: &Value) -> &Value {
    &event["data"]["result"]["integration_result"]
}

/// What was sent, in its order.
fn texts(world: &World, site: &str) -> Vec<String> {
    let issues = world.sandbox.ledger(site).issues;
    let lines = issues.iter().flat_map(|item| {
        let later = item.comments.iter();
        let later = later.map(|comment| comment.body.as_str().unwrap().to_owned());
        std::iter::once(item.summary.clone()).chain(later)
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_in_short_messages() {
    let world = World::new().await;
    let worker = world.worker().await;
    let files = FileServer::start().await;
    let site = "sms/life";
    let id = texting(&world, site, json!({})).await;
    assert!(texts(&world, site).is_empty(), "a test sends nothing");

    let ticket = Uuid::new_v4();
    let link = files.url("/big/1");
    let create = json!({
        "ticket_id": ticket, "title": "Drucker brennt – “sehr”", "description": "It **hurts**.",
        "priority": "high",
        "tags": ["printer"], "integration_id": id,
    });
    let changes = [
        ("ticket.create", create),
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "title": "Fire is out", "priority": "low" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "See [the page](https://x.test).\n\n> @all" }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": [{ "name": "big.bin", "url": link }] }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Water." }),
        ),
        ("ticket.delete", json!({ "ticket_id": ticket })),
    ];
    let mut commands = Vec::new();
    for (command_type, data) in changes {
        commands.push(world.publish(command_type, data).await);
    }
    let mut events = Vec::new();
    for command in &commands {
        events.push(world.succeeds(*command).await);
    }

    let issues = world.sandbox.ledger(site).issues;
    assert_eq!(issues.len(), 1);
    let item = &issues[0];
    let reference = format!("#{}", item.labels[0]);
    // Each ends with the ticket's reference, and what comes later with its command's, too.
    let texts = texts(&world, site);
    let mut said = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let (text, tail) = text.rsplit_once(' ').unwrap();
        assert!(tail.starts_with(&reference), "{tail}");
        let length = reference.len() + if number == 0 { 0 } else { 5 };
        assert_eq!(tail.len(), length, "{tail}");
        said.push(text);
    }
    let attached = format!("File big.bin: {link}");
    let expected = [
        "HIGH new: Drucker brennt - \"sehr\"",
        "LOW new: Fire is out",
        "Note: See the page (https://x.test). @all",
        &attached,
        "-> resolved: Fire is out - Water.",
        "-> closed: Fire is out",
    ];
    assert_eq!(said, expected);
    let made = result(&events[0]);
    assert_eq!(made["external_ticket_id"], item.id.as_str());
    assert_eq!(made["details"]["segments"], 1);
    let left_out = &made["details"]["description"];
    assert!(left_out.as_str().unwrap().contains("not sent"), "{made:#}");
    let comment = &events[2]["data"]["result"]["external_comment_id"];
    assert_eq!(*comment, item.comments[1].id.as_str());
    world.close_the_ledger(&commands).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_by_its_reference_though_the_list_lags() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "sms/lost";
    let id = texting(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "First").await;
    world.succeeds(create).await;
    world
        .sandbox
        .configure(site, json!({ "list_lag_ms": 700 }))
        .unwrap();
    let lost = Fault::new(FaultKind::ResetAfterStore).on("send_message");
    world.sandbox.inject(site, lost.times(1)).unwrap();
    let lost = json!({ "ticket_id": ticket, "body": "Only once" });

    let comment = world.publish("ticket.comment", lost).await;
    let found = world.succeeds(comment).await;

    let item = &world.sandbox.ledger(site).issues[0];
    assert_eq!(item.comments.len(), 1, "{item:#?}");
    let comment = &found["data"]["result"]["external_comment_id"];
    assert_eq!(*comment, item.comments[0].id.as_str());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sent_stop_gets_nothing_more_and_a_private_comment_is_not_sent() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "sms/stop";
    let id = texting(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "First").await;
    world.succeeds(create).await;
    let hush = json!({ "ticket_id": ticket, "body": "hush", "public": false });
    let hush = world.publish("ticket.comment", hush).await;
    let hushed = world.fails(hush, "unsupported_operation").await;
    let bytes = json!({ "ticket_id": ticket,
        "attachments": [{ "name": "a.txt", "content_base64": "aGVsbG8=" }] });
    let bytes = world.publish("ticket.attach", bytes).await;
    world.fails(bytes, "unsupported_operation").await;

    let phone = format!("{}/phone", world.sandbox.url(site));
    let stop = json!({ "from": TO, "to": FROM, "body": "Stop" });
    assert_eq!(http_json("POST", &phone, &stop).await.0, 201);
    let comment = json!({ "ticket_id": ticket, "body": "Are you there?" });
    let comment = world.publish("ticket.comment", comment).await;
    let stopped = world.fails(comment, "external_not_found").await;

    let said = |event: &Value| event["data"]["error"]["message"].to_string();
    assert!(said(&hushed).contains("settings.internal_comments"));
    assert!(said(&stopped).contains("has sent STOP"), "{stopped:#}");
    assert_eq!(texts(&world, site).len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_what_the_sender_lacks_and_a_sync_goes_over_answers() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "sms/checks";
    let id = texting(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "Watched").await;
    world.succeeds(create).await;
    let test = async |kind: &str| {
        let test = json!({ "integration_id": id, "test_types": [kind] });
        let test = world.publish("integration.test", test).await;
        world.succeeds(test).await["data"]["result"].clone()
    };

    let good = test("permissions").await;
    let sent = test("create_ticket").await;
    let deaf = json!({ "numbers": [{ "phone_number": FROM, "sms": false }] });
    world.sandbox.configure(site, deaf).unwrap();
    let deaf = test("permissions").await;
    let asked = json!({ "account_status": "suspended" });
    world.sandbox.configure(site, asked).unwrap();
    let suspended = test("authentication").await;
    world
        .sandbox
        .configure(site, json!({ "account_status": "active" }))
        .unwrap();

    assert_eq!(good["success"], true, "{good:#}");
    assert!(
        sent.to_string().contains("cannot be taken back"),
        "{sent:#}"
    );
    assert!(deaf.to_string().contains("cannot send SMS"), "{deaf:#}");
    assert!(suspended.to_string().contains("suspended"), "{suspended:#}");

    // More answers than a page has, of which none quotes the ticket.
    let phone = format!("{}/phone", world.sandbox.url(site));
    for number in 0..205 {
        let answer = json!({ "from": TO, "to": FROM, "body": format!("answer {number}") });
        assert_eq!(http_json("POST", &phone, &answer).await.0, 201);
    }
    for _ in 0..2 {
        let sync = json!({ "integration_id": id });
        let sync = world.publish("integration.sync", sync).await;
        let synced = world.succeeds(sync).await;
        assert_eq!(synced["data"]["result"]["complete"], true, "{synced:#}");
        let found = world
            .ask("ticket.get", json!({ "ticket_id": ticket }))
            .await;
        let found = &found["data"]["result"]["ticket"];
        assert_eq!(found["title"], "Watched", "{found:#}");
    }
    assert!(world.sandbox.ledger(site).count("list_messages").received >= 4);
    drop(worker);
}
