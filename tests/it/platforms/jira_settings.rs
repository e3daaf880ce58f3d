//! What a customer's own Jira calls things, and what `integration.test` says of it.

use serde_json::{Value, json};
use ticketwire::sandbox::{Fault, LedgerIssue};
use uuid::Uuid;

use crate::support::World;

const SITE: &str = "theirs";

/// An integration with another site of the sandbox.
async fn integration(world: &World, mut data: Value) -> Uuid {
    data["name"] = "Theirs".into();
    data["platform_name"] = "jira".into();
    data["base_url"] = world.sandbox.url(SITE).into();
    data["settings"]["project_key"] = "SUP".into();
    data["credentials"] = json!({ "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" });
    world.integration_of(data).await
}

fn only(world: &World) -> LedgerIssue {
    let mut issues = world.sandbox.ledger(SITE).issues;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_say_what_a_status_a_priority_a_category_and_a_person_is_there() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (ann, bo) = (Uuid::new_v4(), Uuid::new_v4());
    let settings = json!({
        "status_map": { "resolved": "cancelled", "pending": "Nowhere" },
        "priority_map": { "critical": "Lowest" }, "category_map": { "bug": "Story" },
        "users": { ann: "sandbox:ann", bo: "sandbox:bo" },
    });
    let id = integration(&world, json!({ "settings": settings })).await;
    let ticket = Uuid::new_v4();
    let data = json!({
        "ticket_id": ticket, "title": "Mapped", "description": "d", "integration_id": id,
        "category": "bug", "priority": "critical", "assigned_to_id": ann,
    });
    let create = world.publish("ticket.create", data).await;
    world.succeeds(create).await;
    let made = only(&world);
    assert_eq!(made.issue_type, "Story");
    assert_eq!(made.priority.as_deref(), Some("Lowest"));
    assert_eq!(made.assignee.as_deref(), Some("sandbox:ann"));

    // The screen that edits issues has no assignee, and need not have one.
    let screen = json!({ "fields_not_on_screen": ["assignee"] });
    world.sandbox.configure(SITE, screen).unwrap();
    let data = json!({ "ticket_id": ticket, "assigned_to_id": bo });
    let assign = world.publish("ticket.assign", data).await;
    world.succeeds(assign).await;
    let set = |status: &str| {
        let data = json!({ "ticket_id": ticket, "status": status, "resolution_summary": "so" });
        world.publish("ticket.status", data)
    };
    let resolved = set("resolved").await;
    world.succeeds(resolved).await;
    let changed = only(&world);
    assert_eq!(changed.assignee.as_deref(), Some("sandbox:bo"));
    assert_eq!(changed.status, "Cancelled");
    let pending = set("pending").await;
    let failed = world.fails(pending, "validation_failed").await;
    let fault = failed["data"]["error"]["fields"]["status"]
        .as_str()
        .unwrap();
    assert!(fault.contains("settings.status_transitions"), "{failed:#}");
    assert_eq!(only(&world).status, "Cancelled");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_fields_are_sent_as_jira_takes_them_and_asked_about_once() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mapping = json!({
        "Steps": "customfield_10011", "Region": "customfield_10012",
        "Seats": "customfield_10013", "Products": "customfield_10015",
    });
    let id = integration(
        &world,
        json!({ "settings": {}, "custom_fields_mapping": mapping }),
    )
    .await;
    let asked = || {
        let ledger = world.sandbox.ledger(SITE);
        ["createmeta_issue_types", "createmeta_fields"].map(|name| ledger.count(name).received)
    };
    let before = asked();
    let mut tickets = Vec::new();
    for _ in 0..3 {
        let ticket = Uuid::new_v4();
        let data = json!({
            "ticket_id": ticket, "title": "Mapped", "description": "d", "integration_id": id,
            "custom_fields": {
                "Steps": "Press *start*", "Region": "EU", "Seats": "12", "Products": ["Alpha"],
                "Colour": "red",
            },
        });
        let create = world.publish("ticket.create", data).await;
        let event = world.succeeds(create).await;
        let details = &event["data"]["result"]["integration_result"]["details"];
        assert_eq!(
            details["unmapped_custom_fields"],
            json!(["Colour"]),
            "{event:#}"
        );
        assert!(details.get("dropped_fields").is_none(), "{event:#}");
        tickets.push(ticket);
    }
    let data = json!({
        "ticket_id": tickets[0], "custom_fields": { "Region": "US", "Colour": "blue" },
    });
    let update = world.publish("ticket.update", data).await;
    let event = world.succeeds(update).await;

    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(
        details["unmapped_custom_fields"],
        json!(["Colour"]),
        "{event:#}"
    );
    let ledger = world.sandbox.ledger(SITE);
    let issue = |ticket: &Uuid| {
        let label = format!("tkt-{ticket}");
        let mut issues = ledger.issues.iter();
        issues.find(|issue| issue.labels.contains(&label)).unwrap()
    };
    let fields = &issue(&tickets[1]).fields;
    assert_eq!(fields["customfield_10011"]["type"], "doc");
    assert_eq!(fields["customfield_10012"], json!({ "value": "EU" }));
    assert_eq!(fields["customfield_10013"], 12);
    assert_eq!(fields["customfield_10015"], json!([{ "value": "Alpha" }]));
    let changed = &issue(&tickets[0]).fields;
    assert_eq!(changed["customfield_10012"], json!({ "value": "US" }));
    assert_eq!(asked(), before.map(|count| count + 1));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transition_demands_is_named_and_can_be_configured() {
    let world = World::new().await;
    let screen = json!({ "transition_required": ["customfield_10010"] });
    world.sandbox.configure(SITE, screen).unwrap();
    let worker = world.worker().await;
    let id = integration(&world, json!({ "settings": {} })).await;
    let (create, ticket) = world.create_at(id, "To be resolved").await;
    world.succeeds(create).await;
    let resolve = async || {
        let data = json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "so" });
        world.publish("ticket.status", data).await
    };

    let failed = world.fails(resolve().await, "validation_failed").await;
    let fault = failed["data"]["error"]["fields"]["settings.transition_fields"].as_str();
    assert!(
        fault.is_some_and(|fault| fault.contains("(customfield_10010)")),
        "{failed:#}"
    );
    let sent = || {
        world
            .sandbox
            .ledger(SITE)
            .count("transition_issue")
            .received
    };
    assert_eq!(sent(), 0);
    let settings = json!({ "transition_fields": { "customfield_10010": "ACME" } });
    let data = json!({ "integration_id": id, "settings": settings });
    let update = world.publish("integration.update", data).await;
    world.succeeds(update).await;

    world.succeeds(resolve().await).await;
    assert_eq!((only(&world).status.as_str(), sent()), ("Done", 1));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_leaves_nothing_behind_or_says_what() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = integration(&world, json!({ "settings": {} })).await;
    let test = async || {
        let data = json!({ "integration_id": id, "test_types": ["create_ticket"] });
        let test = world.publish("integration.test", data).await;
        let event = world.succeeds(test).await;
        let test = event["data"]["result"]["tests"][0].clone();
        assert_eq!(test["success"], true, "{event:#}");
        test["message"].as_str().unwrap().to_owned()
    };

    let message = test().await;
    assert!(message.ends_with("and deleted it"), "{message}");
    let ledger = world.sandbox.ledger(SITE);
    assert!(ledger.issues.is_empty());
    assert_eq!(ledger.count("delete_issue").effective, 1);

    let refused = Fault::status(403).on("delete_issue");
    world.sandbox.inject(SITE, refused).unwrap();
    let message = test().await;
    let stays = only(&world);
    assert!(
        message.contains(&format!("{}, which stays", stays.key)),
        "{message}"
    );
    assert!(stays.summary.contains("may be deleted"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_not_there_is_a_fault_of_its_setting() {
    let world = World::new().await;
    let worker = world.worker().await;
    let data = json!({
        "name": "Lost", "platform_name": "jira", "base_url": world.sandbox.url(SITE),
        "settings": { "project_key": "NOPE" },
        "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" },
    });
    let create = world.publish("integration.create", data).await;
    let made = world.succeeds(create).await;
    let id = made["data"]["result"]["integration_id"].clone();

    let data = json!({ "integration_id": id, "test_types": ["permissions"] });
    let test = world.publish("integration.test", data).await;
    let event = world.succeeds(test).await;

    let result = &event["data"]["result"];
    assert_eq!(result["success"], false, "{event:#}");
    let fields = &result["tests"][0]["error"]["fields"];
    assert!(fields["settings.project_key"].is_string(), "{event:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_asks_for_every_permission_that_operations_need() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = integration(&world, json!({ "settings": {} })).await;
    let test = async |lacking: Value| {
        let lacking = json!({ "lacks_permissions": lacking });
        world.sandbox.configure(SITE, lacking).unwrap();
        let data = json!({ "integration_id": id, "test_types": ["permissions"] });
        let test = world.publish("integration.test", data).await;
        world.succeeds(test).await["data"]["result"]["tests"][0].clone()
    };

    let whole = test(json!([])).await;
    assert_eq!(whole["message"], "all permissions are there", "{whole:#}");
    let some = test(json!(["ASSIGN_ISSUES", "CREATE_ATTACHMENTS"])).await;
    let lacking = json!({
        "ASSIGN_ISSUES": "issues cannot be assigned",
        "CREATE_ATTACHMENTS": "files cannot be attached",
    });
    assert_eq!(some["details"]["lacking"], lacking, "{some:#}");
    assert!(
        some["message"]
            .as_str()
            .unwrap()
            .contains("(ASSIGN_ISSUES)")
    );
    assert_eq!(some["success"], true, "tickets can be made all the same");
    let none = test(json!(["EDIT_ISSUES"])).await;
    assert_eq!(none["success"], false, "{none:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_id_leads_elsewhere_is_not_believed() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = integration(&world, json!({ "settings": {} })).await;
    let mut fault = Fault::status(201).on("create_issue");
    fault.body = Some(json!({ "id": "../x", "key": "SUP-1" }));
    world.sandbox.inject(SITE, fault).unwrap();

    let (create, ticket) = world.create_at(id, "Led astray").await;
    let event = world.event(create, "deferred").await;

    assert_eq!(
        event["data"]["error"]["code"], "outcome_unknown",
        "{event:#}"
    );
    // Nothing is there, so it is created once the look-ups have proved that.
    world.succeeds(create).await;
    let issue = only(&world);
    assert!(issue.labels.contains(&format!("tkt-{ticket}")));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_one_issue_holds_up_no_other() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = integration(&world, json!({ "settings": {} })).await;
    let (create, ticket) = world.create_at(id, "Much talked about").await;
    world.succeeds(create).await;
    let limited = Fault::status(429)
        .header("RateLimit-Reason", "jira-per-issue-on-write")
        .header("Retry-After", "600");
    world
        .sandbox
        .inject(SITE, limited.on("add_comment"))
        .unwrap();
    let data = json!({ "ticket_id": ticket, "body": "Too fast" });
    let comment = world.publish("ticket.comment", data).await;
    world.state(comment, "deferred").await;

    let (other, _) = world.create_at(id, "Another").await;

    world.succeeds(other).await;
    let paused = "SELECT count(*) FROM integration_circuits WHERE paused_until IS NOT NULL";
    assert_eq!(world.count(paused).await, 0);
    drop(worker);
}
