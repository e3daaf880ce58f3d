//! What is peculiar to Freshdesk, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{World, http_as};

/// What each operation sends. A status is named as the account calls it.
const OPERATIONS: [Steps; 8] = [
    on(Act::Create, "create_ticket", Guard::Lookup).before(&["list_fields"]),
    on(Act::Update, "update_ticket", Guard::Native),
    on(Act::Status, "set_status", Guard::Native).before(&["list_fields"]),
    on(Act::Resolve, "reply", Guard::Lookup).before(&["set_status"]),
    on(Act::Assign, "assign", Guard::Native).before(&["find_agent"]),
    on(Act::Comment, "reply", Guard::Lookup),
    on(Act::Attach, "attach", Guard::Lookup),
    on(Act::Delete, "set_status", Guard::Native),
];

/// With the marker in a field, and with it as a tag.
pub(super) fn rows() -> Vec<Row> {
    let mut strange = vec![
        ("as to a stranger", Fault::new(FaultKind::Stranger)),
        ("401", Fault::status(401)),
    ];
    strange.extend(log_ins());
    let row = |name, more: Value| {
        let mut settings = json!({
            "requester_email": "customers@example.test", "status_map": {
                "in_progress": "Waiting on third party" },
        });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Row {
            name,
            platform: Platform::Freshdesk,
            auth_type: AuthType::ApiKey,
            credentials: json!({ "api_key": SECRET }),
            settings,
            operations: OPERATIONS.to_vec(),
            reads_answers: true,
            blind: Some(json!({ "shows_bodies": false })),
            reads: true,
            peculiar: vec![
                ("405", Fault::status(405), "unsupported", "unsupported"),
                ("409", Fault::status(409), "conflict", "conflict"),
                ("413", Fault::status(413), "validation", "validation"),
            ],
            strange: strange.clone(),
        }
    };
    vec![
        row("field", json!({ "reference_field": "cf_external_ref" })),
        row("tag", json!({ "group_id": 156 })),
    ]
}

/// An active integration at a site.
async fn desk(world: &World, site: &str, more: Value) -> Uuid {
    let mut settings = json!({ "requester_email": "customers@example.test" });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let data = json!({
        "name": "Desk", "platform_name": "freshdesk", "auth_type": "api_key",
        "base_url": world.sandbox.url(site),
        "credentials": { "api_key": "k3y-of-an-agent" }, "settings": settings,
        "custom_fields_mapping": { "plan": "cf_plan", "seats": "cf_seats" },
    });
    world.integration_of(data).await
}

/// Freshdesk towards the canary suite; its lists are arrays.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |method, thing, _| {
        let path = thing.split('?').next().unwrap_or_default();
        if path.ends_with("search/tickets") {
            return json!({ "total": 0, "results": [] }).to_string();
        }
        let lists = ["/tickets", "/ticket_fields", "/conversations", "/agents"];
        if method == "GET" && lists.iter().any(|end| path.ends_with(end)) {
            return "[]".into();
        }
        let contact = json!({ "name": "bot", "email": "bot@example.test" });
        json!({ "id": 1, "subject": "t", "status": 2, "tags": [], "type": "support_agent",
            "contact": contact })
        .to_string()
    },
    success: |say| {
        json!({
            "id": 1, "subject": say(), "status": 2, "tags": [say()], "type": say(),
            "description_text": say(),
            "contact": { "name": say(), "email": say() }, "results": [{ "id": 1,
                "subject": say() }],
            "attachments": [{ "id": 1, "name": say(), "attachment_url": say() }],
            "custom_fields": { (say()): say() },
        })
    },
    token_path: "",
    syncs: true,
};

/// Its mode for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let key = canary("fresh-key");
    let data = json!({ "platform_name": "freshdesk", "auth_type": "api_key", "base_url": "{at}",
        "credentials": { "api_key": key },
        "settings": { "requester_email": "desk@example.test" } });
    vec![Mode::new(
        BEHAVIOUR,
        "freshdesk-api-key",
        data,
        &[&key],
        &[],
    )]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_at_freshdesk() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "freshdesk/life";
    let id = desk(&world, site, json!({ "group_id": 156 })).await;

    let data = json!({ "title": "Printer on fire", "description": "Since **nine**",
        "integration_id": id,
        "priority": "high", "category": "bug", "tags": ["Third Floor"],
        "custom_fields": { "plan": "gold", "seats": 3 } });
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
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "We are on it" }),
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
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "cancelled" }),
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
    assert!(page.ends_with(&format!("/a/tickets/{}", item.id)), "{page}");
    let expected = [
        "create",
        "update_ticket",
        "add_note",
        "reply",
        "attach",
        "attach",
        "set_status",
        "reply",
        "set_status",
        "set_status",
    ];
    assert_eq!(item.history, expected);
    assert_eq!(item.description, "<p>Since <strong>nine</strong></p>");
    assert_eq!(
        (item.status.as_str(), item.issue_type.as_str()),
        ("5", "Incident")
    );
    assert_eq!(item.priority.as_deref(), Some("4"));
    assert_eq!(
        (&item.fields["cf_plan"], &item.fields["cf_seats"]),
        (&json!("Gold"), &json!(3))
    );
    // The tag that is the marker outlives a change of the tags.
    assert!(
        item.labels
            .iter()
            .any(|tag| tag.starts_with("t-") && tag.len() == 28)
    );
    for tag in ["Third Floor", "smoke", "category-security", "cancelled"] {
        assert!(
            item.labels.iter().any(|own| own == tag),
            "{:?}",
            item.labels
        );
    }
    assert!(!item.labels.iter().any(|own| own == "category-bug"));
    let said: Vec<(bool, bool)> = item
        .comments
        .iter()
        .map(|comment| {
            let body = comment.body.as_str().unwrap();
            (body.contains("[ref:cmd-"), comment.public)
        })
        .collect();
    let expected = [
        (true, false),
        (true, true),
        (true, false),
        (true, false),
        (true, true),
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
async fn an_agent_who_does_not_see_every_ticket_proves_nothing_and_is_refused() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "freshdesk/scope";
    let id = desk(&world, site, json!({})).await;
    let scope = json!({ "ticket_scope": 2, "group_ids": [156] });
    world.sandbox.configure(site, scope).unwrap();

    let test = json!({ "integration_id": id, "test_types": ["permissions"] });
    let test = world.publish("integration.test", test).await;
    let tested = world.succeeds(test).await;

    let result = &tested["data"]["result"];
    assert_eq!(result["success"], false, "{tested:#}");
    assert!(result.to_string().contains("Global Access"), "{tested:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_may_not_be_listed_keep_no_ticket_from_being_made() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "freshdesk/blind";
    let id = desk(&world, site, json!({ "category_map": { "bug": "Bug" } })).await;
    let data = |title: &str| {
        json!({ "title": title, "description": "d", "category": "bug",
        "integration_id": id })
    };
    // A type that the account does not have is left out and said.
    let known = world.publish("ticket.create", data("Known")).await;
    let known = world.succeeds(known).await;
    world
        .sandbox
        .configure(site, json!({ "shows_fields": false }))
        .unwrap();
    let other = desk(&world, site, json!({ "category_map": { "bug": "Bug" } })).await;
    let mut second = data("Unknown");
    second["integration_id"] = other.to_string().into();
    let unknown = world.publish("ticket.create", second).await;
    let unknown = world.succeeds(unknown).await;

    for event in [&known, &unknown] {
        let details = &event["data"]["result"]["integration_result"]["details"];
        assert!(
            details["category"].as_str().unwrap().contains("Bug"),
            "{event:#}"
        );
    }
    let ledger = world.sandbox.ledger(site);
    assert_eq!(ledger.issues.len(), 2);
    assert!(ledger.issues.iter().all(|item| item.issue_type.is_empty()));
    // Without the list, the first try tells.
    assert_eq!(ledger.count("create_ticket").received, 3);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_sees_what_agents_changed_and_asks_for_the_trash() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "freshdesk/sync";
    let id = desk(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "Watched").await;
    world.succeeds(create).await;
    let item = world.sandbox.ledger(site).issues[0].id.clone();
    let url = format!("{}/api/v2/tickets/{item}", world.sandbox.url(site));
    let pending = json!({ "status": 3, "priority": 4 }).to_string();
    // The time is in whole seconds: within one of our own write, it would be an echo.
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    // agent:X
    let agent = "Basic YWdlbnQ6WA==";
    let (status, _) = http_as(agent, "PUT", &url, "application/json", &pending).await;
    assert_eq!(status, 200);
    let sync = async || {
        let data = json!({ "integration_id": id });
        let sync = world.publish("integration.sync", data).await;
        world.succeeds(sync).await
    };

    let first = sync().await;
    let asked = world.sandbox.ledger(site).count("list_tickets").received;
    sync().await;

    let status = "SELECT status::text FROM tickets WHERE id = $1";
    let status = world.text(status, &[&ticket]).await;
    assert_eq!(status.as_deref(), Some("pending"), "{first:#}");
    // The second one knows since when: it asks for changes, and for the trash.
    let again = world.sandbox.ledger(site).count("list_tickets").received;
    assert_eq!(again - asked, 2);
    drop(worker);
}
