//! What is peculiar to Zendesk, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary, oauth};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::World;

/// What each operation sends. A status is named as the account calls it.
const OPERATIONS: [Steps; 8] = [
    on(Act::Create, "create_ticket", Guard::Lookup),
    on(Act::Update, "update_ticket", Guard::Native),
    on(Act::Status, "set_status", Guard::Native).before(&["list_statuses"]),
    on(Act::Resolve, "resolve", Guard::Lookup),
    on(Act::Assign, "assign", Guard::Native).before(&["search_users"]),
    on(Act::Comment, "comment", Guard::Lookup),
    on(Act::Attach, "attach", Guard::Lookup).before(&["upload"]),
    on(Act::Delete, "set_status", Guard::Native),
];

/// By an API token, by client credentials, and by a refresh token.
pub(super) fn rows() -> Vec<Row> {
    let mut strange = vec![
        ("as to a stranger", Fault::new(FaultKind::Stranger)),
        ("401", Fault::status(401)),
    ];
    strange.extend(log_ins());
    let row = |name, auth_type, credentials| Row {
        name,
        platform: Platform::Zendesk,
        auth_type,
        credentials,
        settings: json!({ "status_map": { "in_progress": "Working on it" } }),
        operations: OPERATIONS.to_vec(),
        reads_answers: true,
        blind: Some(json!({ "audit_metadata": false })),
        reads: true,
        peculiar: vec![
            ("409", Fault::status(409), "transient", "transient"),
            ("413", Fault::status(413), "validation", "validation"),
        ],
        strange: strange.clone(),
    };
    vec![
        row(
            "token",
            AuthType::ApiKey,
            json!({ "email": "bot@example.test", "api_token": SECRET }),
        ),
        row(
            "client",
            AuthType::Oauth2,
            json!({ "client_id": "c", "client_secret": SECRET }),
        ),
        row(
            "refresh",
            AuthType::Oauth2,
            json!({ "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET }),
        ),
    ]
}

/// An active integration at a site.
async fn desk(world: &World, site: &str) -> Uuid {
    let data = json!({
        "name": "Desk", "platform_name": "zendesk", "auth_type": "api_key",
        "base_url": world.sandbox.url(site),
        "credentials": { "email": "bot@example.test", "api_token": "t0k3n" },
        "custom_fields_mapping": { "plan": "27643" },
    });
    world.integration_of(data).await
}

/// Zendesk towards the canary suite.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |_, thing, _| {
        if thing.ends_with("users/me") {
            return json!({ "user": { "id": 1, "name": "bot", "role": "admin" } }).to_string();
        }
        json!({
            "ticket": { "id": 1 }, "tickets": [], "audits": [], "tags": [], "end_of_stream": true,
            "upload": { "token": "u", "attachment": { "id": 1 } },
        })
        .to_string()
    },
    success: |say| {
        json!({
            "id": say(), "url": say(), "ticket": { "id": 1, "status": say(), "subject": say() },
            "audit": { "events": [] }, "tickets": [], "audits": [], "end_of_stream": true,
            "after_cursor": say(),
            "users": [], "upload": { "token": say(), "attachment": { "id": 1 } }, "name": say(),
        })
    },
    token_path: "oauth/tokens",
    syncs: true,
};

/// Its modes for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |auth_type: &str, credentials: Value| {
        json!({ "platform_name": "zendesk", "auth_type": auth_type, "base_url": "{at}",
            "credentials": credentials,
                "settings": {} })
    };
    let (token, secrets) = (canary("desk-token"), oauth("desk"));
    let by_token = json!({ "email": "bot@example.test", "api_token": token });
    let by_client =
        json!({ "client_id": "client", "client_secret": secrets[0], "refresh_token": secrets[1] });
    vec![
        Mode::new(
            BEHAVIOUR,
            "zendesk-api-key",
            data("api_key", by_token),
            &[&token],
            &[],
        ),
        Mode::oauth(
            BEHAVIOUR,
            "zendesk-oauth2",
            data("oauth2", by_client),
            &secrets,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_at_zendesk() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zendesk/life";
    let id = desk(&world, site).await;

    let data = json!({ "title": "Printer on fire", "description": "Since **nine**",
        "integration_id": id,
        "priority": "high", "category": "bug", "tags": ["Third Floor"],
        "custom_fields": {
            "plan": "Gold plan" } });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let ticket = made["data"]["ticket_id"].clone();
    let mut commands = Vec::new();
    for (command_type, data) in [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "critical", "category": "security",
                "tags": ["smoke"] }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Do not tell", "public": false }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": [
                { "name": "a.txt", "content_base64": "aGVsbG8=" }, { "name": "b.txt",
                    "content_base64": "aGVsbG8h" },
            ] }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "resolved",
                "resolution_summary": "It is **out**" }),
        ),
        ("ticket.delete", json!({ "ticket_id": ticket })),
    ] {
        commands.push(world.publish(command_type, data).await);
    }
    for command in &commands {
        world.succeeds(*command).await;
    }

    let ledger = world.sandbox.ledger(site);
    assert_eq!(ledger.issues.len(), 1);
    let item = &ledger.issues[0];
    let external = &made["data"]["result"]["integration_result"];
    assert_eq!(external["external_ticket_id"], item.id.as_str());
    let page = external["external_ticket_url"].as_str().unwrap();
    assert!(
        page.ends_with(&format!("/agent/tickets/{}", item.id)),
        "{page}"
    );
    assert_eq!(
        item.history,
        [
            "create",
            "update_ticket",
            "remove_tags",
            "add_tags",
            "comment",
            "attach",
            "attach",
            "resolve",
            "set_status",
        ]
    );
    assert_eq!(item.description, "<p>Since <strong>nine</strong></p>");
    assert_eq!(
        (item.status.as_str(), item.issue_type.as_str()),
        ("solved", "incident")
    );
    assert_eq!(item.priority.as_deref(), Some("urgent"));
    let marker = format!("tkt-{}", ticket.as_str().unwrap());
    assert_eq!(
        item.labels,
        [marker.as_str(), "third_floor", "smoke", "category_security"]
    );
    assert_eq!(item.fields["27643"], "plan_gold");
    let said: Vec<(&str, bool)> = item
        .comments
        .iter()
        .map(|comment| (comment.body.as_str().unwrap(), comment.public))
        .collect();
    let expected = [
        ("<p>Do not tell</p>", false),
        ("Attachment: a.txt", false),
        ("Attachment: b.txt", false),
        ("<p>It is <strong>out</strong></p>", true),
    ];
    assert_eq!(said, expected);
    let names: Vec<&str> = item
        .attachments
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["a.txt", "b.txt"]);
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_is_lost_is_sent_again_with_its_key_and_made_once() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zendesk/lost";
    let id = desk(&world, site).await;
    let lost = Fault::new(FaultKind::ResetAfterStore).on("create_ticket");
    world.sandbox.inject(site, lost).unwrap();

    let (create, _) = world.create_at(id, "Lost").await;
    let event = world.succeeds(create).await;

    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["replayed"], true, "{event:#}");
    let ledger = world.sandbox.ledger(site);
    assert_eq!(ledger.issues.len(), 1);
    let count = ledger.count("create_ticket");
    assert_eq!((count.received, count.effective), (2, 1));
    // The test of the integration lists tickets, and nothing looks for one: the key is enough.
    assert_eq!(ledger.count("find_tickets").received, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_used_with_other_contents_leads_to_the_ticket_that_it_made() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zendesk/other";
    let id = desk(&world, site).await;
    // The ticket is made; what comes back is what Zendesk says to a second request with another
    // body.
    let mut other = Fault::new(FaultKind::Garbage).on("create_ticket");
    other.status = Some(400);
    other.body = Some(json!(
        "{\"error\":\"IdempotentRequestError\",\"description\":\"Request parameters don't match\"}"
    ));
    world.sandbox.inject(site, other).unwrap();

    let (create, ticket) = world.create_at(id, "Changed meanwhile").await;
    let event = world.succeeds(create).await;

    assert_eq!(event["data"]["attempt"], 1);
    let ledger = world.sandbox.ledger(site);
    let made = ledger.with_label(&format!("tkt-{ticket}"));
    assert_eq!(made.len(), 1);
    let external = &event["data"]["result"]["integration_result"]["external_ticket_id"];
    assert_eq!(external, made[0].id.as_str());
    assert_eq!(ledger.count("create_ticket").received, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_was_updated_too_often_keeps_no_other_waiting() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zendesk/busy";
    let id = desk(&world, site).await;
    let (create, ticket) = world.create_at(id, "Busy").await;
    world.succeeds(create).await;
    let budget = json!({ "ticket_updates": { "requests": 1, "seconds": 3 } });
    world.sandbox.configure(site, budget).unwrap();
    let say = async |body: &str| {
        let data = json!({ "ticket_id": ticket, "body": body });
        world.publish("ticket.comment", data).await
    };

    let (first, second) = (say("One").await, say("Two").await);
    world.succeeds(first).await;
    world.state(second, "deferred").await;
    let (other, _) = world.create_at(id, "Another").await;
    world.succeeds(other).await;

    world.succeeds(second).await;
    assert_eq!(world.told_count("integration.rate_limit.reached"), 0);
    let ledger = world.sandbox.ledger(site);
    let count = ledger.count("comment");
    assert!(
        count.received > count.effective,
        "one was refused: {count:?}"
    );
    let busy = &ledger.with_label(&format!("tkt-{ticket}"))[0];
    assert_eq!(busy.comments.len(), 2);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_rotates_and_is_kept_and_a_scope_that_is_too_small_is_told() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zendesk/oauth";
    let data = |name: &str| {
        json!({ "name": name, "platform_name": "zendesk", "auth_type": "oauth2",
            "base_url": world.sandbox.url(site),
            "credentials": { "client_id": "c", "client_secret": "s3cr3t",
                "refresh_token": "r3fr3sh" } })
    };
    let id = world.integration_of(data("Desk")).await;
    world
        .sandbox
        .inject(site, Fault::status(401).on("create_ticket"))
        .unwrap();

    let (create, _) = world.create_at(id, "By token").await;
    let event = world.succeeds(create).await;

    assert_eq!(event["data"]["attempt"], 1, "{event:#}");
    // Once for the test, and once as the first was refused.
    assert_eq!(world.sandbox.ledger(site).count("token").effective, 2);
    let poor = "zendesk/poor";
    world
        .sandbox
        .configure(poor, json!({ "scope": "read" }))
        .unwrap();
    let mut small = data("Small");
    small["base_url"] = world.sandbox.url(poor).into();
    let create = world.publish("integration.create", small).await;
    let made = world.succeeds(create).await;
    let of = json!({ "integration_id": made["data"]["result"]["integration_id"] });
    let test = world.publish("integration.test", of).await;
    let tested = world.succeeds(test).await;
    let result = &tested["data"]["result"];
    assert_eq!(result["success"], false);
    assert!(result.to_string().contains("tickets:write"), "{tested:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_zendesk_cannot_do_is_refused_or_left_out_with_the_reason() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "zendesk/cannot";
    let id = desk(&world, site).await;
    let (create, ticket) = world.create_at(id, "As it was").await;
    world.succeeds(create).await;
    let update = async |data: Value| {
        let mut all = json!({ "ticket_id": ticket });
        all.as_object_mut()
            .unwrap()
            .extend(data.as_object().unwrap().clone());
        world.publish("ticket.update", all).await
    };

    let described = update(json!({ "description": "otherwise" })).await;
    let event = world.fails(described, "unsupported_operation").await;
    let chosen = update(json!({ "custom_fields": { "plan": "silver" } })).await;
    let refused = world.succeeds(chosen).await;
    let nothing = update(json!({ "urgency": "high" })).await;
    let done = world.succeeds(nothing).await;

    assert!(
        event["data"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("first comment")
    );
    let details = &refused["data"]["result"]["integration_result"]["details"];
    assert!(
        details["refused_custom_fields"]["plan"].is_string(),
        "{refused:#}"
    );
    let details = &done["data"]["result"]["integration_result"]["details"];
    assert!(details["urgency"].is_string(), "{done:#}");
    assert_eq!(world.sandbox.ledger(site).issues[0].history, ["create"]);
    drop(worker);
}
