//! What is peculiar to HubSpot, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary, oauth};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{World, http_as};

/// What each operation sends.
const OPERATIONS: [Steps; 7] = [
    on(Act::Update, "update_ticket", Guard::Native),
    on(Act::Status, "set_status", Guard::Native).before(&["list_pipelines"]),
    on(Act::Resolve, "add_note", Guard::Lookup).before(&["list_pipelines", "set_status"]),
    on(Act::Assign, "assign", Guard::Native).before(&["find_owner"]),
    on(Act::Comment, "add_note", Guard::Lookup),
    on(Act::Attach, "add_note", Guard::Lookup).before(&["upload"]),
    on(Act::Delete, "set_status", Guard::Native).before(&["list_pipelines"]),
];
/// A create with a unique property, and one without.
const UPSERT: Steps = on(Act::Create, "upsert_ticket", Guard::Lookup)
    .before(&["list_properties", "list_pipelines", "find_ticket"])
    .after(&["account"]);
const CREATE: Steps = on(Act::Create, "create_ticket", Guard::Lookup)
    .before(&["list_properties", "list_pipelines"])
    .after(&["account"]);

/// A service key with a unique property, and an app without one.
pub(super) fn rows() -> Vec<Row> {
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    strange.push(("401", Fault::status(401)));
    let same = |name, fault, class| (name, fault, class, class);
    let limited = |policy: &str| Fault::status(429).body(json!({ "policyName": policy }));
    let says = |status, message: &str| {
        Fault::status(status).body(json!({ "status": "error", "message": message }))
    };
    let embedded = "Property values were not valid: \
                    [{\"name\":\"x\",\"message\":\"no\",\"error\":\"INVALID_OPTION\"}]";
    let taken = "Property values were not valid: \
                 [{\"name\":\"external_ticket_id\",\"error\":\"CONFLICTING_UNIQUE_VALUE\"}]";
    let failed = json!({ "status": "COMPLETE", "numErrors": 1,
        "errors": [{ "status": "error", "category": "VALIDATION_ERROR", "message": embedded }] });
    let peculiar = vec![
        same("a locked record", Fault::status(423), "transient"),
        same(
            "a migration",
            Fault::status(477).header("Retry-After", "3600"),
            "transient",
        ),
        same(
            "the searches of a second",
            limited("SECONDLY"),
            "rate_limited",
        ),
        same("a burst", limited("TEN_SECONDLY_ROLLING"), "rate_limited"),
        same("a day", limited("DAILY"), "rate_limited"),
        same(
            "faults within the message",
            says(400, embedded),
            "validation",
        ),
        same("a value that is taken", says(400, taken), "conflict"),
        same(
            "a batch that failed",
            Fault::status(207).body(failed),
            "validation",
        ),
    ];
    let row = |name, auth_type, credentials, create: Steps, settings| Row {
        name,
        platform: Platform::Hubspot,
        auth_type,
        credentials,
        settings,
        operations: [create].into_iter().chain(OPERATIONS).collect(),
        reads_answers: true,
        blind: Some(json!({ "note_bodies": false })),
        reads: true,
        peculiar: peculiar.clone(),
        strange: strange.clone(),
    };
    vec![
        row(
            "hubspot-key",
            AuthType::Bearer,
            json!({ "access_token": SECRET }),
            UPSERT,
            json!({ "unique_property": "external_ticket_id",
                "status_map": {
                    "in_progress": "waiting on us" } }),
        ),
        row(
            "hubspot-oauth",
            AuthType::Oauth2,
            json!({ "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET }),
            CREATE,
            json!({ "pipeline": "Support Pipeline" }),
        ),
    ]
}

/// An active integration at a site.
async fn account(world: &World, site: &str, settings: Value) -> Uuid {
    let data = json!({
        "name": "CRM", "platform_name": "hubspot", "auth_type": "bearer",
        "base_url": world.sandbox.url(site),
        "credentials": { "access_token": "pat-na1-t0k3n" }, "settings": settings,
        "custom_fields_mapping": { "plan": "product_plan", "places": "seats" },
    });
    world.integration_of(data).await
}

fn unique() -> Value {
    json!({ "unique_property": "external_ticket_id" })
}

/// The one ticket there is.
fn only(world: &World, site: &str) -> LedgerIssue {
    let mut issues = world.sandbox.ledger(site).issues;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.remove(0)
}

/// HubSpot towards the canary suite; its lists are all called alike.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |_, thing, _| {
        let name = thing.rsplit('/').next().unwrap_or_default();
        let stage = |id: &str, state: &str| {
            json!({ "id": id, "label": id,
            "metadata": { "ticketState": state } })
        };
        let results = if thing.contains("/pipelines/") {
            json!([{ "id": "0", "label": "Support", "stages": [stage("1", "OPEN"), stage("4",
                "CLOSED")] }])
        } else if thing.contains("/properties/") {
            json!([{ "name": "external_ticket_id", "label": "Id", "type": "string",
                "hasUniqueValue": true }])
        } else if name == "upsert" {
            json!([{ "id": "1", "new": true }])
        } else {
            json!([])
        };
        json!({
            "id": "1", "portalId": 1, "uiDomain": "app.hubspot.com", "results": results,
            "properties": { "external_ticket_id": name, "subject": "t" },
        })
        .to_string()
    },
    success: |say| {
        json!({
            "results": [{ "id": say(), "label": say(), "name": say(),
                "properties": { (say()): say(), "hs_note_body": say() },
                          "stages": [{ "id": say(), "label": say(),
                              "metadata": { "ticketState": say() } }] }],
            "id": say(), "url": say(), "portalId": 1, "uiDomain": say(),
            "properties": { "external_ticket_id": say(), (say()): say() },
        })
    },
    token_path: "token",
    syncs: true,
};

/// Its modes for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |auth_type: &str, credentials: Value, settings: Value| {
        json!({ "platform_name": "hubspot", "auth_type": auth_type, "base_url": "{at}",
            "credentials": credentials,
                "settings": settings })
    };
    let (key, secrets) = (canary("crm-token"), oauth("crm"));
    let by_key = json!({ "access_token": key });
    let by_client =
        json!({ "client_id": "client", "client_secret": secrets[0], "refresh_token": secrets[1] });
    vec![
        Mode::new(
            BEHAVIOUR,
            "hubspot-key",
            data("bearer", by_key, json!({})),
            &[&key],
            &[],
        ),
        Mode::oauth(
            BEHAVIOUR,
            "hubspot-oauth2",
            data("oauth2", by_client, unique()),
            &secrets,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_at_hubspot() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "hubspot/life";
    let mut settings = unique();
    settings["tags_property"] = "topics".into();
    let id = account(&world, site, settings).await;
    let ann = world
        .user(world.organization, "Ann", "known+ann@example.test")
        .await;

    let data = json!({ "title": "Printer on fire", "description": "Since **nine**",
        "integration_id": id,
        "priority": "critical", "category": "bug", "tags": ["Third floor", "Smoke"],
        "created_by_id": ann,
        "assigned_to_id": ann, "custom_fields": { "plan": "Gold plan", "places": 12 } });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let ticket = made["data"]["ticket_id"].clone();
    let mut commands = Vec::new();
    for (command_type, data) in [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "low", "custom_fields": { "places": "3" } }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Do *not* tell", "public": false }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "We look", "public": true }),
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

    let item = only(&world, site);
    let external = &made["data"]["result"]["integration_result"];
    assert_eq!(external["external_ticket_id"], item.id.as_str());
    let page = format!(
        "https://app-eu1.hubspot.com/contacts/62515/record/0-5/{}",
        item.id
    );
    assert_eq!(external["external_ticket_url"], page);
    let left_out = external["details"]["tags"].as_str().unwrap();
    assert!(left_out.ends_with("no such option: Smoke"), "{left_out}");
    let expected = [
        "create",
        "associate",
        "update_ticket",
        "note",
        "note",
        "file",
        "file",
        "set_status",
        "note",
        "set_status",
    ];
    assert_eq!(item.history, expected);
    assert_eq!(item.description, "Since nine");
    assert_eq!(
        (item.status.as_str(), item.issue_type.as_str()),
        ("4", "PRODUCT_ISSUE")
    );
    assert_eq!(item.priority.as_deref(), Some("LOW"));
    assert_eq!(item.labels, [format!("tkt-{}", ticket.as_str().unwrap())]);
    assert_eq!(
        (&item.fields["product_plan"], &item.fields["seats"]),
        (&json!("gold"), &json!("3"))
    );
    assert_eq!(item.fields["topics"], "third_floor");
    let contact = item.fields["contacts"][0].as_str();
    assert!(
        contact.is_some() && contact == item.assignee.as_deref(),
        "{contact:?}"
    );
    let said: Vec<&str> = item
        .comments
        .iter()
        .map(|note| note.body.as_str().unwrap())
        .collect();
    let begins = [
        "<p>Do <em>not</em> tell</p>",
        "<p>Public comment:</p>",
        "<p>It is <strong>out</strong></p>",
    ];
    for (said, begin) in said.iter().zip(begins) {
        assert!(said.starts_with(begin) && said.ends_with("]</p>"), "{said}");
    }
    assert_eq!(said.len(), begins.len());
    let files: Vec<bool> = item
        .attachments
        .iter()
        .zip(["-a.txt", "-b.txt"])
        .map(|(file, end)| file.name.starts_with("cmd-") && file.name.ends_with(end))
        .collect();
    assert_eq!(files, [true, true], "{:?}", item.attachments);
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_upsert_is_adopted_and_what_it_cannot_be_associated_with_is_told() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "hubspot/lost";
    let id = account(&world, site, unique()).await;
    let ann = world
        .user(world.organization, "Ann", "known+ann@example.test")
        .await;
    let lost = Fault::new(FaultKind::ResetAfterStore).on("upsert_ticket");
    let forbidden = Fault::status(403).on("associate").times(0);
    for fault in [lost, forbidden] {
        world.sandbox.inject(site, fault).unwrap();
    }

    let data =
        json!({ "title": "Lost", "description": "d", "integration_id": id, "created_by_id": ann });
    let create = world.publish("ticket.create", data).await;
    let event = world.succeeds(create).await;

    let result = &event["data"]["result"]["integration_result"];
    assert_eq!(result["external_ticket_id"], only(&world, site).id.as_str());
    assert!(result["external_ticket_url"].is_string(), "{event:#}");
    let details = &result["details"];
    assert_eq!(
        (&details["adopted"], &details["partial"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        details["unfinished"]["error"]["code"], "permission_denied",
        "{event:#}"
    );
    // It would have overwritten what agents changed since.
    assert_eq!(
        world.sandbox.ledger(site).count("upsert_ticket").received,
        1
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_for_a_ticket_is_associated_later_where_it_fails_for_a_moment() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "hubspot/later";
    let id = account(&world, site, unique()).await;
    let ann = world
        .user(world.organization, "Ann", "known+ann@example.test")
        .await;
    let busy = Fault::status(503).on("associate").times(2);
    world.sandbox.inject(site, busy).unwrap();

    let data =
        json!({ "title": "Later", "description": "d", "integration_id": id, "created_by_id": ann });
    let create = world.publish("ticket.create", data).await;
    let event = world.succeeds(create).await;

    let unfinished = &event["data"]["result"]["integration_result"]["details"]["unfinished"];
    assert_eq!(unfinished["error"]["retryable"], true, "{event:#}");
    let rest: Uuid = unfinished["command_id"].as_str().unwrap().parse().unwrap();
    let event = world.succeeds(rest).await;
    assert_eq!(event["data"]["attempt"], 2, "{event:#}");
    let item = only(&world, site);
    assert_eq!(item.history, ["create", "associate"]);
    assert_eq!(item.fields["contacts"].as_array().unwrap().len(), 1);
    let ledger = world.sandbox.ledger(site);
    assert_eq!(ledger.count("update_ticket").received, 0);
    world.close_the_ledger(&[create, rest]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_refuses_with_success_is_told_by_our_names() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "hubspot/batch";
    let id = account(&world, site, unique()).await;
    let rule = json!({ "partial_failures": true, "required": ["seats"] });
    world.sandbox.configure(site, rule).unwrap();

    let (create, _) = world.create_at(id, "Without places").await;
    let event = world.fails(create, "validation_failed").await;

    let error = &event["data"]["error"];
    assert_eq!(error["http_status"], 207);
    let expected = json!({ "custom_fields.places": "seats is required" });
    assert_eq!(error["fields"], expected, "{event:#}");
    assert!(world.sandbox.ledger(site).issues.is_empty());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_was_replaced_is_looked_up_anew() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "hubspot/stages";
    let mut settings = unique();
    settings["status_map"] = json!({ "in_progress": "Waiting on us" });
    let id = account(&world, site, settings).await;
    let (create, ticket) = world.create_at(id, "Moved").await;
    world.succeeds(create).await;
    let stage = |id: &str, label: &str| {
        json!({ "id": id, "label": label,
        "metadata": { "ticketState": "OPEN" } })
    };
    let stages = [stage("1", "New"), stage("33", "Waiting on us")];
    let pipelines = json!([{ "id": "0", "label": "Support Pipeline", "stages": stages }]);
    world
        .sandbox
        .configure(site, json!({ "pipelines": pipelines }))
        .unwrap();

    let data = json!({ "ticket_id": ticket, "status": "in_progress" });
    let status = world.publish("ticket.status", data).await;
    let event = world.succeeds(status).await;

    assert_eq!(event["data"]["attempt"], 1, "{event:#}");
    assert_eq!(only(&world, site).status, "33");
    let count = world.sandbox.ledger(site).count("set_status");
    assert_eq!((count.received, count.effective), (2, 1));
    let data = json!({ "ticket_id": ticket, "status": "pending" });
    let wait = world.publish("ticket.status", data).await;
    let event = world.fails(wait, "validation_failed").await;
    let fault = event["data"]["error"]["fields"]["settings.status_map.pending"].as_str();
    assert!(fault.unwrap().contains("New, Waiting on us"), "{event:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_unique_property_a_search_that_lags_finds_what_was_made() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "hubspot/search";
    let id = account(&world, site, json!({})).await;
    world
        .sandbox
        .configure(site, json!({ "search_lag_ms": 1_000 }))
        .unwrap();
    let lost = Fault::new(FaultKind::ResetAfterStore).on("create_ticket");
    world.sandbox.inject(site, lost).unwrap();

    let (create, ticket) = world.create_at(id, "Found later").await;
    let event = world.succeeds(create).await;

    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(details["adopted"], true, "{event:#}");
    let item = only(&world, site);
    assert_eq!(item.description, format!("It hurts.\n[ref:tkt-{ticket}]"));
    assert_eq!(
        world.sandbox.ledger(site).count("create_ticket").received,
        1
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_goes_on_where_the_search_shows_no_more() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "hubspot/sync";
    let id = account(&world, site, unique()).await;
    let mut tickets = Vec::new();
    for number in 0..5 {
        let (create, ticket) = world.create_at(id, &format!("Ticket {number}")).await;
        world.succeeds(create).await;
        tickets.push(ticket);
    }
    let few = json!({ "search_page": 2, "search_cap": 3, "search_budget": null });
    world.sandbox.configure(site, few).unwrap();
    // An agent closes one.
    let item = &world.sandbox.ledger(site).issues[1];
    let url = format!(
        "{}/crm/objects/2026-09/tickets/{}",
        world.sandbox.url(site),
        item.id
    );
    let closed = json!({ "properties": { "hs_pipeline_stage": "4" } }).to_string();
    let (status, _) = http_as("Bearer agent", "PATCH", &url, "application/json", &closed).await;
    assert_eq!(status, 200);

    let data = json!({ "integration_id": id, "sync_type": "full" });
    let sync = world.publish("integration.sync", data).await;
    let event = world.succeeds(sync).await;

    assert_eq!(event["data"]["result"]["counts"]["seen"], 5, "{event:#}");
    let status = world
        .text(
            "SELECT status::text FROM tickets WHERE id = $1",
            &[&tickets[1]],
        )
        .await;
    assert_eq!(status.as_deref(), Some("closed"));
    drop(worker);
}
