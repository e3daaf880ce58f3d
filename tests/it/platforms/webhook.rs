//! What is peculiar to signed webhooks, end to end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary, plain_canary};
use crate::conformance::{Act, Guard, Row, SECRET, log_ins, on};
use crate::support::{World, wait_for};

/// Its rows of the conformance suite.
pub(super) fn rows() -> Vec<Row> {
    vec![row()]
}

fn row() -> Row {
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    strange.push(("401", Fault::status(401)));
    Row {
        name: "webhook",
        platform: Platform::Webhook,
        auth_type: AuthType::Custom,
        credentials: json!({
            "signing_secret": "whsec_czNjcjN0LXQwazNu",
            "headers": {
                "authorization": format!("Bearer {SECRET}") },
        }),
        settings: json!({}),
        // A receiver knows each delivery again by its id.
        operations: Act::ALL
            .iter()
            .map(|act| on(*act, "deliver", Guard::Native))
            .collect(),
        reads_answers: false,
        blind: None,
        reads: false,
        peculiar: vec![
            (
                "407",
                Fault::status(407),
                "authentication",
                "authentication",
            ),
            ("409", Fault::status(409), "conflict", "conflict"),
            ("410", Fault::status(410), "gone", "gone"),
        ],
        strange,
    }
}

const NEW: &str = "whsec_bmV3IHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVz";
const OLD: &str = "whsec_b2xkIHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVz";

/// An active webhook integration at a site.
async fn endpoint(world: &World, site: &str, more: Value) -> Uuid {
    let mut data = json!({
        "name": "Hook", "platform_name": "webhook", "auth_type": "custom",
        "settings": { "url": format!("{}/tickets", world.sandbox.url(site)) },
        "credentials": { "signing_secret": NEW },
    });
    for (name, members) in more.as_object().unwrap() {
        for (member, value) in members.as_object().unwrap() {
            data[name][member] = value.clone();
        }
    }
    world.integration_of(data).await
}

/// An endpoint towards the canary suite.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |_, _, _| "{}".into(),
    success: |say| {
        json!({ "id": say(), "key": say(), "url": say(), "external_id": say(),
        "message": say() })
    },
    token_path: "",
    syncs: false,
};

/// Its mode for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let key = |name: &str| format!("whsec_{}", STANDARD.encode(plain_canary(name)));
    let (signing, previous) = (key("Signing"), key("Previous"));
    let (header, basic) = (canary("header"), canary("basic"));
    let data = json!({ "platform_name": "webhook", "auth_type": "custom",
        "settings": { "url": "{at}/hook" },
        "credentials": {
            "signing_secret": signing, "previous_signing_secret": previous,
            "previous_valid_until": "2999-01-01T00:00:00Z", "headers": { "X-Api-Key": header },
            "basic_user": "bot",
            "basic_password": basic,
        } });
    vec![
        Mode::new(
            BEHAVIOUR,
            "webhook",
            data,
            &[&header, &basic],
            &[&signing, &previous],
        )
        .signed(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_arrives_signed_and_in_order() {
    let world = World::new().await;
    world
        .sandbox
        .configure("webhook/a", json!({ "secrets": [NEW] }))
        .unwrap();
    let worker = world.worker().await;
    let id = endpoint(&world, "webhook/a", json!({})).await;

    let (create, ticket) = world.create_at(id, "Printer on fire").await;
    let changes = [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "critical" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Smoke!", "public": false }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "in_progress" }),
        ),
    ];
    let mut commands = vec![create];
    for (command_type, data) in changes {
        commands.push(world.publish(command_type, data).await);
    }
    for command in &commands {
        world.succeeds(*command).await;
    }

    let ledger = world.sandbox.ledger("webhook/a");
    let item = ledger
        .issues
        .iter()
        .find(|item| item.project == ticket.to_string())
        .unwrap();
    assert_eq!(
        item.history,
        [
            "ticket.created",
            "ticket.updated",
            "ticket.comment_added",
            "ticket.status_changed"
        ]
    );
    assert_eq!(item.summary, "Printer on fire");
    assert_eq!(item.comments[0].body, "Smoke!");
    assert!(!item.comments[0].public);
    let made = world.succeeds(create).await;
    let external = &made["data"]["result"]["integration_result"]["external_ticket_id"];
    assert_eq!(external, &json!(format!("msg_tkt-{ticket}")));
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_secrets_change_both_sign_and_a_wrong_one_is_told() {
    let world = World::new().await;
    let worker = world.worker().await;
    let both = json!({ "credentials": { "previous_signing_secret": OLD } });
    let id = endpoint(&world, "webhook/rotating", both).await;
    let accept = |secrets: Value| {
        world
            .sandbox
            .configure("webhook/rotating", json!({ "secrets": secrets }))
            .unwrap();
    };

    accept(json!([OLD]));
    let (old, _) = world.create_at(id, "Receiver has the old secret").await;
    world.succeeds(old).await;
    accept(json!([NEW]));
    let (new, _) = world.create_at(id, "Receiver has the new secret").await;
    world.succeeds(new).await;
    accept(json!(["whsec_c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlciBoZXJl"]));
    let (wrong, _) = world.create_at(id, "Receiver has neither").await;
    let event = world.fails(wrong, "authentication_failed").await;

    assert_eq!(event["data"]["error"]["http_status"], 401);
    assert!(!worker.log().contains("c2VjcmV0"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_sent_again_under_the_same_id_and_arrives_once() {
    let world = World::new().await;
    let marker = world.marker("died");
    let plain = world.worker().await;
    let id = endpoint(&world, "webhook/lossy", json!({})).await;
    world
        .sandbox
        .inject(
            "webhook/lossy",
            Fault::new(ticketwire::sandbox::FaultKind::ResetAfterStore),
        )
        .unwrap();
    let (lossy, _) = world.create_at(id, "Lost").await;
    let event = world.event(lossy, "deferred").await;
    assert_eq!(event["data"]["error"]["retryable"], true);
    world.succeeds(lossy).await;
    assert!(plain.stop().await.success());

    // And where the worker dies between the request and its answer.
    let (killed, ticket) = world.create_at(id, "Killed").await;
    let point = format!("after_send@{}", marker.display());
    let mut doomed = world.spawn_worker(&[("TICKETWIRE_FAILPOINT", &point)]);
    assert!(!doomed.ended().await.success());
    let worker = world.worker().await;
    world.succeeds(killed).await;

    let ledger = world.sandbox.ledger("webhook/lossy");
    let items = ledger
        .issues
        .iter()
        .filter(|item| item.project == ticket.to_string());
    assert_eq!(items.count(), 1);
    // A ping of the test, and the two.
    assert_eq!(ledger.count("deliver").effective, 4, "{:#?}", ledger.recent);
    assert!(ledger.count("deliver").received >= 6);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_disables_its_integration() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = endpoint(&world, "webhook/gone", json!({})).await;
    world
        .sandbox
        .inject("webhook/gone", Fault::status(410).times(0))
        .unwrap();

    let (first, _) = world.create_at(id, "Anybody there?").await;
    let event = world.fails(first, "external_not_found").await;

    assert_eq!(event["data"]["error"]["http_status"], 410);
    let state = "SELECT enabled::text || ' ' || status::text FROM integrations WHERE id = $1";
    let state = world.text(state, &[&id]).await;
    assert_eq!(state.as_deref(), Some("false inactive"));
    let (second, _) = world.create_at(id, "And now?").await;
    world.fails(second, "integration_disabled").await;
    assert_eq!(
        world
            .sandbox
            .ledger("webhook/gone")
            .count("deliver")
            .faulted,
        1
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_shapes_the_payload_and_the_answer_names_what_was_made() {
    let world = World::new().await;
    world
        .sandbox
        .configure("webhook/shaped", json!({ "names_things": true }))
        .unwrap();
    let worker = world.worker().await;
    let template = json!({ "settings": { "payload_template": {
        "event": "{{type}}", "text": "{{data.title}} ({{data.priority}})", "tags": "{{data.tags}}",
        "data": { "ticket_id": "{{data.ticket_id}}" },
    } } });
    let id = endpoint(&world, "webhook/shaped", template).await;

    let (create, ticket) = world.create_at(id, "Shaped").await;
    let event = world.succeeds(create).await;

    let ledger = world.sandbox.ledger("webhook/shaped");
    let item = wait_for("the item", async || {
        let mut items = ledger.issues.iter();
        items.find(|item| item.project == ticket.to_string())
    })
    .await;
    assert_eq!(item.fields["event"], "ticket.created");
    assert_eq!(item.fields["text"], "Shaped (medium)");
    assert_eq!(item.fields["tags"], json!([]));
    let result = &event["data"]["result"]["integration_result"];
    assert!(
        result["external_ticket_id"]
            .as_str()
            .unwrap()
            .starts_with("EXT-")
    );
    assert!(
        result["external_ticket_url"]
            .as_str()
            .unwrap()
            .contains("/things/")
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_makes_too_much_of_a_ticket_is_refused_and_nothing_is_sent() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "webhook/large";
    let long = vec!["{{data.description}}"; 100];
    let template = json!({ "settings": { "payload_template": { "text": long } } });
    let id = endpoint(&world, site, template).await;
    let before = world.sandbox.ledger(site).count("deliver").received;
    let create = |description: String| {
        let data = json!({ "title": "Long", "description": description, "integration_id": id });
        world.publish("ticket.create", data)
    };

    // A hundred times this are 9 MB, and 8 MiB are the limit.
    let refused = create("x".repeat(90_000)).await;
    let event = world.fails(refused, "validation_failed").await;

    let fields = &event["data"]["error"]["fields"];
    let said = fields["settings.payload_template"].to_string();
    assert!(said.contains("over 8 MiB"), "{event:#}");
    let after = world.sandbox.ledger(site).count("deliver").received;
    assert_eq!(after, before, "nothing is sent");
    let short = create("x".to_owned()).await;
    world.succeeds(short).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_sign_is_refused_when_the_integration_is_made() {
    let world = World::new().await;
    let worker = world.worker().await;
    let make = async |credentials: Value, settings: Value| {
        let data = json!({ "name": "Bad", "platform_name": "webhook", "auth_type": "custom",
            "settings": settings, "credentials": credentials });
        let create = world.publish("integration.create", data).await;
        world.fails(create, "validation_failed").await["data"]["error"]["fields"].clone()
    };
    let url = json!({ "url": "https://example.org/hook" });

    let secret = make(json!({ "signing_secret": "whsec_???" }), url.clone()).await;
    let header = make(
        json!({ "signing_secret": NEW, "headers": { "webhook-id": "mine" } }),
        url,
    )
    .await;
    let nowhere = make(json!({ "signing_secret": NEW }), json!({})).await;
    let template = make(
        json!({ "signing_secret": NEW }),
        json!({ "url": "https://example.org/hook", "payload_template": "{not json" }),
    )
    .await;

    assert!(secret["credentials.signing_secret"].is_string(), "{secret}");
    assert!(header["credentials.headers"].is_string(), "{header}");
    assert!(nowhere["base_url"].is_string(), "{nowhere}");
    assert!(
        template["settings.payload_template"].is_string(),
        "{template}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_told_by_its_url_and_a_deletion_by_an_event_of_its_own() {
    let world = World::new().await;
    let files = crate::support::FileServer::start().await;
    let worker = world.worker().await;
    let id = endpoint(&world, "webhook/files", json!({})).await;
    let (create, ticket) = world.create_at(id, "With a file").await;
    world.succeeds(create).await;

    let data = json!({ "ticket_id": ticket, "attachments": [
        { "name": "a.txt", "url": files.url("/a.txt") },
        { "name": "b.txt", "content_base64": "aGVsbG8=" },
    ] });
    let attach = world.publish("ticket.attach", data).await;
    let event = world.succeeds(attach).await;
    let delete = world
        .publish("ticket.delete", json!({ "ticket_id": ticket }))
        .await;
    world.succeeds(delete).await;

    let told = &event["data"]["result"]["attachments"];
    assert_eq!(
        told[1]["error"]["code"], "unsupported_operation",
        "{event:#}"
    );
    let ledger = world.sandbox.ledger("webhook/files");
    let item = ledger
        .issues
        .iter()
        .find(|item| item.project == ticket.to_string())
        .unwrap();
    assert_eq!(
        item.history,
        [
            "ticket.created",
            "ticket.attachment_added",
            "ticket.deleted"
        ]
    );
    assert_eq!(item.attachments[0].size, 6);
    assert_eq!(item.attachments[0].sha256.len(), 64);
    drop(worker);
}
