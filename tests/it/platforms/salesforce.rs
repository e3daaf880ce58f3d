//! What is peculiar to Salesforce, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary, oauth};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::World;

/// A key of an application, made for tests.
const KEY: &str = include_str!("../../../src/platforms/tokens/testdata/pkcs8.pem");
const PUBLIC: &str = include_str!("../../../src/platforms/tokens/testdata/public.pem");
const EXTERNAL: &str = "External_Ticket_Id__c";

/// What each operation sends, where a field has the ticket's id.
const OPERATIONS: [Steps; 8] = [
    on(Act::Create, "upsert_case", Guard::Lookup)
        .before(&["find_case", "describe"])
        .after(&["get_case"]),
    on(Act::Update, "update_case", Guard::Native),
    on(Act::Status, "set_status", Guard::Native).before(&["describe"]),
    on(Act::Resolve, "add_comment", Guard::Lookup).before(&["describe", "set_status"]),
    on(Act::Assign, "assign_case", Guard::Native).before(&["find_users"]),
    on(Act::Comment, "add_comment", Guard::Lookup),
    on(Act::Attach, "attach_file", Guard::Lookup),
    on(Act::Delete, "set_status", Guard::Native).before(&["describe"]),
];
/// The same without such a field.
const BY_TEXT: Steps = on(Act::Create, "create_case", Guard::Lookup)
    .before(&["describe"])
    .after(&["get_case"]);

/// Client credentials, an assertion and a refresh token; the second has no field for the ticket's
/// id.
pub(super) fn rows() -> Vec<Row> {
    let mut strange = vec![
        ("as to a stranger", Fault::new(FaultKind::Stranger)),
        ("401", Fault::status(401)),
    ];
    strange.extend(log_ins());
    let says = |status, code: &str, message: &str| {
        Fault::status(status).body(json!([{ "errorCode": code, "message": message }]))
    };
    let same = |name, fault, class| (name, fault, class, class);
    let peculiar = vec![
        same(
            "a limit",
            says(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests"),
            "rate_limited",
        ),
        same(
            "a lock",
            says(400, "UNABLE_TO_LOCK_ROW", "unable to obtain"),
            "transient",
        ),
        same(
            "a lock in a trigger",
            says(
                400,
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                "X: UNABLE_TO_LOCK_ROW",
            ),
            "transient",
        ),
        same(
            "read only",
            says(400, "INSUFFICIENT_ACCESS_OR_READONLY", "no"),
            "permission",
        ),
        same(
            "deleted",
            says(404, "ENTITY_IS_DELETED", "entity is deleted"),
            "not_found",
        ),
        same(
            "several",
            Fault::status(300).body(json!(["/a", "/b"])),
            "conflict",
        ),
        same(
            "a duplicate rule",
            says(400, "DUPLICATES_DETECTED", "no"),
            "conflict",
        ),
        same("another method", Fault::status(405), "unsupported"),
        (
            "a time-out within",
            says(400, "QUERY_TIMEOUT", "x"),
            "unknown",
            "transient",
        ),
    ];
    let row = |name, credentials, external_id: bool| {
        let mut operations = OPERATIONS.to_vec();
        let mut settings = json!({ "login_url": "{base}" });
        if external_id {
            settings["external_id_field"] = EXTERNAL.into();
        } else {
            operations[0] = BY_TEXT;
        }
        Row {
            name,
            platform: Platform::Salesforce,
            auth_type: AuthType::Oauth2,
            credentials,
            settings,
            operations,
            reads_answers: true,
            blind: None,
            reads: true,
            peculiar: peculiar.clone(),
            strange: strange.clone(),
        }
    };
    let client = json!({ "client_id": "c", "client_secret": SECRET });
    let mut refresh = client.clone();
    refresh["refresh_token"] = SECRET.into();
    let assertion =
        json!({ "client_id": "c", "username": "bot@example.test", "private_key_pem": KEY });
    vec![
        row("client", client, true),
        row("assertion", assertion, false),
        row("refresh", refresh, true),
    ]
}

/// An active integration at a site; `settings` beside where it is.
async fn org(world: &World, site: &str, settings: &Value) -> Uuid {
    let credentials = json!({ "client_id": "c", "client_secret": "s3cr3t-0f-0urs" });
    org_with(world, site, settings, &credentials).await
}

async fn org_with(world: &World, site: &str, settings: &Value, credentials: &Value) -> Uuid {
    let mut all = json!({ "login_url": world.sandbox.url(site) });
    let more = settings.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    let data = json!({ "name": "Org", "platform_name": "salesforce", "auth_type": "oauth2",
        "settings": all,
        "credentials": credentials, "custom_fields_mapping": { "plan": "Plan__c",
            "seats": "Seats__c" } });
    world.integration_of(data).await
}

/// The one case there is.
fn only(world: &World, site: &str) -> LedgerIssue {
    let mut cases = world.sandbox.ledger(site).issues;
    assert_eq!(cases.len(), 1, "{cases:#?}");
    cases.remove(0)
}

fn result_of(event: &Value) -> &Value {
    &event["data"]["result"]["integration_result"]
}

/// Salesforce towards the canary suite.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |_, _, _| {
        let values =
            ["New", "Working", "Closed"].map(|value| json!({ "value": value, "active": true }));
        let field = |name: &str| json!({ "name": name, "createable": true, "updateable": true });
        let mut status = field("Status");
        status["picklistValues"] = json!(values);
        json!({
            "id": "500xx0000001026AAA", "success": true, "done": true, "records": [],
            "CaseNumber": "00001026",
            "fields": [status, field("Subject"), field("Description")],
        })
        .to_string()
    },
    success: |say| {
        json!({
            "id": say(), "success": true, "done": true, "Id": say(), "CaseNumber": say(),
            "Status": say(),
            "records": [{ "Id": say(), "Description": say(), "CommentBody": say() }],
        })
    },
    token_path: "token",
    syncs: true,
};

/// Its mode for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let (secrets, hook) = (oauth("force"), canary("force-hook"));
    let data = json!({ "platform_name": "salesforce", "auth_type": "oauth2",
        "settings": { "login_url": "{at}" },
        "webhook_secret": hook,
        "credentials": { "client_id": "client", "client_secret": secrets[0],
            "refresh_token": secrets[1] } });
    let [client, refresh, access, next] = &secrets;
    vec![Mode::new(
        BEHAVIOUR,
        "salesforce-oauth2",
        data,
        &[client, refresh, access],
        &[next, &hook],
    )]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_at_salesforce() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "salesforce/life";
    let person = Uuid::new_v4();
    // A rule of the org would take each case that is changed.
    let rule = json!({ "assignment_rule": "005xx0000000000AAA" });
    let settings = json!({ "external_id_field": EXTERNAL, "tags_field": "Tags__c",
        "users": { person.to_string(): "Second Line" } });
    let id = org(&world, site, &settings).await;

    let data = json!({ "title": "Printer on fire", "description": "Since **nine**",
        "integration_id": id,
        "priority": "critical", "category": "bug", "tags": ["Smoke", "paper"],
        "custom_fields": { "plan": "gold", "seats": "7", "colour": "red" } });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    world.sandbox.configure(site, rule).unwrap();
    let ticket = made["data"]["ticket_id"].clone();
    for (command_type, data) in [
        ("ticket.assign", json!({ "assigned_to_id": person })),
        (
            "ticket.update",
            json!({ "title": "Printer is out", "category": "feature_request" }),
        ),
        (
            "ticket.comment",
            json!({ "body": "Do not **tell**", "public": false }),
        ),
        (
            "ticket.attach",
            json!({ "attachments": [{ "name": "a.txt", "content_base64": "aGVsbG8=" }] }),
        ),
        ("ticket.status", json!({ "status": "pending" })),
        (
            "ticket.status",
            json!({ "status": "resolved", "resolution_summary": "It is out" }),
        ),
        ("ticket.delete", json!({})),
    ] {
        let mut all = data;
        all["ticket_id"] = ticket.clone();
        let command = world.publish(command_type, all).await;
        world.succeeds(command).await;
    }

    let case = only(&world, site);
    let external = result_of(&made);
    assert_eq!(external["external_ticket_id"], case.key.as_str());
    let page = external["external_ticket_url"].as_str().unwrap();
    assert!(
        page.ends_with(&format!("/lightning/r/Case/{}/view", case.id)),
        "{page}"
    );
    let details = &external["details"];
    assert_eq!(details["unmapped_custom_fields"], json!(["colour"]));
    assert!(
        details["tags"].as_str().unwrap().contains("paper"),
        "{details}"
    );
    let marker = format!("tkt-{}", ticket.as_str().unwrap());
    assert_eq!(case.labels, [marker.as_str(), "smoke"]);
    assert_eq!(
        (case.summary.as_str(), &case.description),
        ("Printer is out", &json!("Since nine"))
    );
    assert_eq!(
        (case.status.as_str(), case.issue_type.as_str()),
        ("Closed", "Feature Request")
    );
    assert_eq!(case.priority.as_deref(), Some("High"));
    assert_eq!(
        (&case.fields["Plan__c"], &case.fields["Seats__c"]),
        (&json!("Gold"), &json!(7))
    );
    assert_eq!(
        case.assignee.as_deref(),
        Some("00Gxx0000000001EAA"),
        "the rule did not run"
    );
    let said: Vec<(&str, bool)> = case
        .comments
        .iter()
        .map(|comment| {
            (
                comment.body.as_str().unwrap().lines().next().unwrap(),
                comment.public,
            )
        })
        .collect();
    assert_eq!(said, [("Do not tell", false), ("It is out", true)]);
    assert_eq!(
        (case.attachments[0].name.as_str(), case.attachments[0].size),
        ("a.txt", 5)
    );
    assert_eq!(
        case.history,
        [
            "create",
            "assign_case",
            "update_case",
            "comment",
            "attach",
            "set_status",
            "set_status",
            "comment",
            "set_status"
        ]
    );
    let ledger = world.sandbox.ledger(site);
    assert_eq!(ledger.count("describe").received, 1, "it is remembered");
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_is_there_is_adopted_and_what_agents_changed_stays() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "salesforce/there";
    let id = org(&world, site, &json!({ "external_id_field": EXTERNAL })).await;
    let lost = Fault::new(FaultKind::ResetAfterStore).on("upsert_case");
    world.sandbox.inject(site, lost).unwrap();
    // Two cases with one id, as they were before the field was unique.
    let several = Fault::status(300).body(json!(["/a", "/b"])).on("find_case");

    let (create, _) = world.create_at(id, "Lost").await;
    let event = world.succeeds(create).await;
    world.sandbox.inject(site, several).unwrap();
    let (other, _) = world.create_at(id, "Ambiguous").await;
    let refused = world.fails(other, "conflict").await;

    assert_eq!(result_of(&event)["details"]["adopted"], true, "{event:#}");
    let case = only(&world, site);
    assert_eq!(result_of(&event)["external_ticket_id"], case.key.as_str());
    assert_eq!(case.history, ["create"], "nothing was set anew");
    assert_eq!(world.sandbox.ledger(site).count("upsert_case").received, 1);
    assert!(
        refused["data"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("unique"),
        "{refused:#}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_is_signed_and_a_refresh_token_rotates() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "salesforce/oauth";
    world
        .sandbox
        .configure(site, json!({ "public_key": PUBLIC }))
        .unwrap();
    let assertion =
        json!({ "client_id": "c", "username": "bot@example.test", "private_key_pem": KEY });
    let refresh =
        json!({ "client_id": "c", "client_secret": "s3cr3t-0f-0urs", "refresh_token": "r3fr3sh" });
    for credentials in [assertion, refresh] {
        let id = org_with(&world, site, &json!({}), &credentials).await;
        let before = world.sandbox.ledger(site).count("token").effective;
        let stale = Fault::status(401).on("create_case");
        world.sandbox.inject(site, stale).unwrap();
        let (create, _) = world.create_at(id, "By token").await;
        let event = world.succeeds(create).await;

        assert_eq!(event["data"]["attempt"], 1, "{event:#}");
        let after = world.sandbox.ledger(site).count("token").effective;
        assert_eq!(
            after,
            before + 1,
            "renewed once, by what came with the one before"
        );
    }
    // What it granted was for another audience than it is asked for.
    world
        .sandbox
        .configure(site, json!({ "audience": "https://test.salesforce.com" }))
        .unwrap();
    let data = json!({ "name": "Other", "platform_name": "salesforce", "auth_type": "oauth2",
        "settings": { "login_url": world.sandbox.url(site) },
        "credentials": { "client_id": "c", "username": "bot@example.test",
            "private_key_pem": KEY } });
    let create = world.publish("integration.create", data).await;
    let made = world.succeeds(create).await;
    let of = json!({ "integration_id": made["data"]["result"]["integration_id"] });
    let test = world.publish("integration.test", of).await;
    let tested = world.succeeds(test).await;
    assert_eq!(tested["data"]["result"]["success"], false);
    assert!(
        tested.to_string().contains("let the user approve"),
        "{tested:#}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daily_allocation_that_is_used_up_pauses_the_integration_and_that_of_an_app_does_not() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "salesforce/allocation";
    let id = org(&world, site, &json!({})).await;
    let (first, _) = world.create_at(id, "Within").await;
    world.succeeds(first).await;
    assert_eq!(
        world.told_count("integration.rate_limit.reached"),
        0,
        "an app's own is not the org's"
    );

    let used = json!({ "api_usage": "api-usage=15000/15000; per-app-api-usage=17/250(appName=x)" });
    world.sandbox.configure(site, used).unwrap();
    let (last, _) = world.create_at(id, "The last").await;
    world.succeeds(last).await;
    world.told("integration.rate_limit.reached", |_| true).await;
    let (over, _) = world.create_at(id, "Over it").await;
    world.state(over, "pending").await;

    let received = world.sandbox.ledger(site).count("create_case").received;
    assert_eq!(received, 2, "nothing is sent in a pause");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_goes_on_where_an_address_has_ended_and_tells_of_comments_with_their_cases() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "salesforce/sync";
    let id = org(&world, site, &json!({ "external_id_field": EXTERNAL })).await;
    let mut tickets = Vec::new();
    for title in ["One", "Two", "Three"] {
        let (create, ticket) = world.create_at(id, title).await;
        world.succeeds(create).await;
        tickets.push(ticket);
    }
    let sync = async || {
        let data = json!({ "integration_id": id });
        let command = world.publish("integration.sync", data).await;
        world.succeeds(command).await["data"]["result"].clone()
    };

    world
        .sandbox
        .configure(site, json!({ "page_size": 2 }))
        .unwrap();
    let whole = sync().await;
    assert_eq!(
        (&whole["counts"]["seen"], &whole["complete"]),
        (&json!(3), &json!(true)),
        "{whole:#}"
    );
    assert_eq!(world.sandbox.ledger(site).count("list_more").received, 1);
    assert_eq!(
        world.sandbox.ledger(site).count("list_comments").received,
        0,
        "nobody wants the history"
    );
    let ended =
        json!([{ "errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator" }]);
    let ended = Fault::status(400).body(ended).on("list_more");
    world.sandbox.inject(site, ended).unwrap();
    let data = json!({ "ticket_id": tickets[0], "body": "Hm" });
    let comment = world.publish("ticket.comment", data).await;
    world.succeeds(comment).await;
    let again = sync().await;

    assert_eq!(again["complete"], true, "{again:#}");
    let ledger = world.sandbox.ledger(site);
    assert!(ledger.count("list_comments").received >= 1);
    assert_eq!(
        ledger.count("get_case").received,
        3,
        "each number was read, and no case for a comment"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_org_refuses_is_told_by_our_names_or_left_out() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "salesforce/refuses";
    let id = org(&world, site, &json!({ "external_id_field": EXTERNAL })).await;
    let refusal = |code: &str, field: &str| {
        let body = json!([{ "errorCode": code, "message": "bad value", "fields": [field] }]);
        Fault::status(400).body(body).on("upsert_case")
    };
    let spare = refusal("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Priority");
    world.sandbox.inject(site, spare).unwrap();
    let (create, ticket) = world.create_at(id, "Without").await;
    let event = world.succeeds(create).await;
    let details = &result_of(&event)["details"];
    assert_eq!(
        details["dropped_fields"]["Priority"], "bad value",
        "{event:#}"
    );
    assert_eq!(
        world.sandbox.ledger(site).count("describe").received,
        2,
        "it was read again"
    );
    assert_eq!(only(&world, site).priority, None);

    let missing = refusal("REQUIRED_FIELD_MISSING", "Plan__c").times(0);
    world.sandbox.inject(site, missing).unwrap();
    let (other, _) = world.create_at(id, "Needs a plan").await;
    let refused = world.fails(other, "validation_failed").await;
    let error = &refused["data"]["error"];
    assert_eq!(
        error["fields"],
        json!({ "custom_fields.plan": "bad value" }),
        "{refused:#}"
    );
    world.sandbox.clear_faults(site).unwrap();
    let nobody = json!({ "ticket_id": ticket, "assigned_to_id": null });
    let unassign = world.publish("ticket.assign", nobody).await;
    let refused = world.fails(unassign, "unsupported_operation").await;
    assert!(
        refused["data"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("queue")
    );
    drop(worker);
}
