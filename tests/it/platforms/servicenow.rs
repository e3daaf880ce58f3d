//! What is peculiar to ServiceNow, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary, oauth};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{World, http_json};

/// What each operation sends. The bench's ticket has neither requester nor assignee.
const OPERATIONS: [Steps; 8] = [
    on(Act::Create, "create_incident", Guard::Lookup).before(&["list_groups", "list_choices"]),
    on(Act::Update, "update_incident", Guard::Native),
    on(Act::Status, "set_state", Guard::Native).before(&["list_choices"]),
    on(Act::Resolve, "close_incident", Guard::Native).before(&["list_choices"]),
    on(Act::Assign, "assign", Guard::Native).before(&["search_users"]),
    on(Act::Comment, "comment", Guard::Lookup).after(&["list_journal"]),
    on(Act::Attach, "attach", Guard::Lookup),
    on(Act::Delete, "close_incident", Guard::Native).before(&["list_choices", "get_incident"]),
];

/// By a user, by an OAuth client, and by an API key.
pub(super) fn rows() -> Vec<Row> {
    let mut strange = vec![
        ("as to a stranger", Fault::new(FaultKind::Stranger)),
        ("401", Fault::status(401)),
    ];
    strange.extend(log_ins());
    let policy = json!({ "error": { "message": "Operation Failed",
        "detail": "Data Policy Exception: Resolution code is mandatory" }, "status": "failure" });
    let row = |name, auth_type, credentials| Row {
        name,
        platform: Platform::Servicenow,
        auth_type,
        credentials,
        settings: json!({ "assignment_group": "Service Desk", "close_code": "Duplicate" }),
        operations: OPERATIONS.to_vec(),
        reads_answers: true,
        blind: Some(json!({ "unreadable": ["value"] })),
        reads: true,
        peculiar: vec![
            (
                "403 by policy",
                Fault::status(403).body(policy.clone()),
                "validation",
                "validation",
            ),
            ("409", Fault::status(409), "conflict", "conflict"),
        ],
        strange: strange.clone(),
    };
    vec![
        row(
            "basic",
            AuthType::Basic,
            json!({ "username": "bot", "password": SECRET }),
        ),
        row(
            "client",
            AuthType::Oauth2,
            json!({ "client_id": "c", "client_secret": SECRET }),
        ),
        row("key", AuthType::ApiKey, json!({ "api_key": SECRET })),
    ]
}

/// An active integration at a site.
async fn instance(world: &World, site: &str, settings: Value) -> Uuid {
    let data = json!({
        "name": "Instance", "platform_name": "servicenow", "auth_type": "basic",
        "base_url": world.sandbox.url(site),
        "credentials": { "username": "bot", "password": "p4ss" }, "settings": settings,
        "custom_fields_mapping": { "plan": "u_plan", "floor": "u_floor" },
    });
    world.integration_of(data).await
}

fn details(event: &Value) -> &Value {
    &event["data"]["result"]["integration_result"]["details"]
}

/// ServiceNow towards the canary suite; it shows what was set.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |method, thing, _| {
        if thing.ends_with("attachment/file") {
            return json!({ "result": { "sys_id": "a" } }).to_string();
        }
        if method == "GET" && !thing.contains("/incident/") {
            return json!({ "result": [] }).to_string();
        }
        json!({ "result": { "sys_id": "d71f7935c0a8016700802b64c67c11c6", "number": "INC1",
            "state": "6",
                            "short_description": "changed" } })
        .to_string()
    },
    success: |say| {
        let row = json!({ "sys_id": say(), "number": say(), "state": say(),
            "short_description": say(), (say()): say() });
        json!({ "id": say(), "result": row, "error": { "message": say(), "detail": say() },
            "status": say() })
    },
    token_path: "oauth_token.do",
    syncs: true,
};

/// Its modes for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |auth_type: &str, credentials: Value| {
        json!({ "platform_name": "servicenow", "auth_type": auth_type, "base_url": "{at}",
            "credentials": credentials,
                "settings": { "close_code": "Done" } })
    };
    let (password, key, secrets) = (canary("now-password"), canary("now-key"), oauth("now"));
    let by_password = data("basic", json!({ "username": "bot", "password": password }));
    let by_key = data("api_key", json!({ "api_key": key }));
    let mut by_client = data(
        "oauth2",
        json!({ "client_id": "client", "client_secret": secrets[0] }),
    );
    // A client has no refresh token: its second secret is what deliveries are signed with.
    by_client["webhook_secret"] = json!(secrets[1]);
    vec![
        Mode::new(
            BEHAVIOUR,
            "servicenow-basic",
            by_password,
            &[&password],
            &[],
        ),
        Mode::new(BEHAVIOUR, "servicenow-api-key", by_key, &[&key], &[]),
        Mode::oauth(BEHAVIOUR, "servicenow-oauth2", by_client, &secrets).by_client(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_at_servicenow() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "servicenow/life";
    let settings = json!({ "close_code": "solution PROVIDED", "assignment_group": "service desk" });
    let id = instance(&world, site, settings).await;

    let data = json!({ "title": "Printer on fire",
        "description": "Since **nine** [code]<b>x</b>[/code]",
        "integration_id": id, "priority": "high", "category": "bug", "tags": ["floor 3", "code"],
        "custom_fields": { "plan": "gold" } });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let ticket = made["data"]["ticket_id"].clone();
    let mut commands = Vec::new();
    for (command_type, data) in [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "critical", "tags": ["smoke"] }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Do **not** tell", "public": false }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": [{ "name": "a^b.txt",
                "content_base64": "aGVsbG8=" }] }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "pending" }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "resolved",
                "resolution_summary": "It is *out*" }),
        ),
        ("ticket.delete", json!({ "ticket_id": ticket })),
    ] {
        commands.push(world.publish(command_type, data).await);
    }
    let mut events = Vec::new();
    for command in &commands {
        events.push(world.succeeds(*command).await);
    }

    let ledger = world.sandbox.ledger(site);
    let item = &ledger.issues[0];
    assert_eq!(ledger.issues.len(), 1);
    let external = &made["data"]["result"]["integration_result"];
    assert_eq!(external["external_ticket_id"], item.key.as_str());
    let page = external["external_ticket_url"].as_str().unwrap();
    let expected = format!("/incident.do?sys_id={}", item.id);
    assert!(page.ends_with(&expected), "{page}");
    let history = [
        "create",
        "update_incident",
        "comment",
        "attach",
        "hold",
        "close_incident",
        "close_incident",
    ];
    assert_eq!(item.history, history);
    assert_eq!(item.labels, [format!("tkt-{}", ticket.as_str().unwrap())]);
    // What an author wrote is no HTML in a journal.
    let description = item.description.as_str().unwrap();
    assert!(!description.contains("[code]"), "{description:?}");
    let fields = &item.fields;
    for (column, value) in [
        ("state", "7"),
        ("impact", "1"),
        ("urgency", "1"),
        ("category", "software"),
        ("u_plan", "gold"),
        ("close_code", "Solution provided"),
        // The deletion leaves what was written when it was resolved.
        ("close_notes", "It is out"),
        ("hold_reason", "1"),
    ] {
        assert_eq!(fields[column], value, "{column}");
    }
    let said: Vec<(String, bool)> = item
        .comments
        .iter()
        .map(|comment| (comment.body.as_str().unwrap().to_owned(), comment.public))
        .collect();
    let marked = |text: &str, command: usize| format!("{text}\n[ref:cmd-{}]", commands[command]);
    let waits = "This incident is on hold until its caller answers.";
    let expected = [
        ("[tag: floor 3]\n[tag: code]".to_owned(), false),
        (marked("Do not tell", 1), false),
        (marked(waits, 3), true),
    ];
    assert_eq!(said, expected);
    assert!(details(&events[0])["tags"].is_string(), "{:#}", events[0]);
    let comment = &events[1]["data"]["result"]["external_comment_id"];
    assert_eq!(*comment, item.comments[1].id.as_str());
    assert_eq!(item.attachments[0].name, "a^b.txt");
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_acl_drops_in_silence_is_told() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "servicenow/acl";
    let id = instance(&world, site, json!({})).await;
    let silent = json!({ "unwritable": ["category", "correlation_id", "state"] });
    world.sandbox.configure(site, silent).unwrap();

    let data = json!({ "title": "Half", "description": "d", "integration_id": id,
        "custom_fields": { "plan": "gold", "floor": "3" } });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let ticket = &made["data"]["ticket_id"];
    let update = json!({ "ticket_id": ticket, "category": "bug" });
    let update = world.publish("ticket.update", update).await;
    let nothing = world.fails(update, "permission_denied").await;
    let status = json!({ "ticket_id": ticket, "status": "in_progress" });
    let status = world.publish("ticket.status", status).await;
    let kept = world.fails(status, "permission_denied").await;
    let test = async || {
        let test = json!({ "integration_id": id, "test_types": ["create_ticket"] });
        let test = world.publish("integration.test", test).await;
        world.succeeds(test).await["data"]["result"].clone()
    };
    let tested = test().await;
    assert_eq!(
        world.sandbox.ledger(site).issues.len(),
        1,
        "the test's is gone"
    );
    let may_write = json!({ "unwritable": [], "may_delete": false });
    world.sandbox.configure(site, may_write).unwrap();
    let stays = test().await;

    let dropped = &details(&made)["dropped_by_servicenow"];
    let names: Vec<&String> = dropped.as_object().unwrap().keys().collect();
    let expected = ["category", "correlation_id", "custom_fields.floor"];
    assert_eq!(names, expected, "{dropped:#}");
    let message = |event: &Value| event["data"]["error"]["message"].to_string();
    assert!(message(&nothing).contains("did not take any of it"));
    assert!(message(&kept).contains("did not take state"), "{kept:#}");
    // Without the correlation id a lost create could not be found again: the test says so.
    assert_eq!(tested["success"], false);
    let said = tested.to_string();
    assert!(said.contains("did not keep its correlation_id"), "{said}");
    assert_eq!(stays["success"], true);
    let said = stays.to_string();
    assert!(said.contains("cancelled it; it stays there"), "{said}");
    assert_eq!(world.sandbox.ledger(site).issues[1].status, "8");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_where_no_status_could_resolve_for_want_of_a_code() {
    let world = World::new().await;
    let worker = world.worker().await;
    let tested = async |name: &str, settings: Value| {
        let site = format!("servicenow/{name}");
        let id = instance(&world, &site, settings).await;
        let data = json!({ "integration_id": id, "test_types": ["permissions"] });
        let test = world.publish("integration.test", data).await;
        let event = world.succeeds(test).await;
        assert_eq!(event["data"]["result"]["success"], true, "{event:#}");
        event["data"]["result"].to_string()
    };

    let several = tested("several", json!({})).await;
    let lacks = tested("lacks", json!({ "close_code": "Done" })).await;
    let set = tested("set", json!({ "close_code": "Workaround provided" })).await;
    let only = json!({ "choices": { "close_code": [["done", "Done"]] } });
    world.sandbox.configure("servicenow/only", only).unwrap();
    let only = tested("only", json!({})).await;

    for (said, names) in [(&several, "Workaround provided"), (&lacks, "Done")] {
        let warning = "but no status resolves or closes an incident: settings.close_code";
        assert!(said.contains(warning) && said.contains(names), "{said}");
    }
    for said in [set, only] {
        assert!(!said.contains("no status resolves"), "{said}");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_names_our_fields_and_a_choice_is_asked_for_again_when_it_is_refused() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "servicenow/policy";
    let id = instance(&world, site, json!({})).await;
    let (create, ticket) = world.create_at(id, "First").await;
    world.succeeds(create).await;
    let resolve = async || {
        let data = json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "r" });
        world.publish("ticket.status", data).await
    };

    // Of several codes it is not known which.
    let several = resolve().await;
    let several = world.fails(several, "validation_failed").await;
    let mandatory = json!({ "mandatory": ["caller_id"], "choices": { "close_code": [["done",
        "Done"]],
        "category": [["requests", "Requests"]], "state": [["6", "Resolved"]] } });
    world.sandbox.configure(site, mandatory).unwrap();
    let (create, _) = world.create_at(id, "Nobody calls").await;
    let refused = world.fails(create, "validation_failed").await;
    // An older application remembered no more than the number.
    let forget = "UPDATE tickets SET external_ref = NULL WHERE id = $1";
    world.query(forget, &[&ticket]).await;
    let only = resolve().await;
    world.succeeds(only).await;

    let fields = |event: &Value| event["data"]["error"]["fields"].clone();
    let said = fields(&several)["settings.close_code"].to_string();
    assert!(said.contains("Workaround provided"), "{several:#}");
    let said = fields(&refused)["created_by_id"].to_string();
    assert!(said.contains("mandatory: Caller"), "{refused:#}");
    let ledger = world.sandbox.ledger(site);
    assert_eq!(ledger.issues[0].fields["close_code"], "done");
    let bound = "SELECT external_ref->>'sys_id' FROM tickets WHERE id = $1";
    let bound = world.text(bound, &[&ticket]).await;
    assert_eq!(bound.as_deref(), Some(&*ledger.issues[0].id));
    // The create was refused twice: choices, group and people were looked up anew between.
    let count = ledger.count("create_incident");
    assert_eq!((count.received, count.effective), (3, 1));
    assert_eq!(ledger.count("list_choices").received, 2);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_query_that_is_ignored_gives_a_ticket_to_nobody() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "servicenow/query";
    let id = instance(&world, site, json!({ "assignment_group": "Service Desk" })).await;
    let ignored = json!({ "unqueryable": ["name", "number"], "groups": ["Managers"] });
    world.sandbox.configure(site, ignored).unwrap();

    let (create, _) = world.create_at(id, "To whom?").await;
    let event = world.fails(create, "validation_failed").await;

    let said = event["data"]["error"]["fields"]["settings.assignment_group"].to_string();
    assert!(said.contains("neither a sys_id nor the name"), "{event:#}");
    assert!(world.sandbox.ledger(site).issues.is_empty());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_finds_what_is_behind_hidden_rows_in_any_time_zone() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "servicenow/sync";
    let id = instance(&world, site, json!({})).await;
    let table = format!("{}/api/now/table/incident", world.sandbox.url(site));
    // A whole page that the account may not see, and West of Greenwich.
    let behind = json!({ "hidden_values": ["hush"], "time_zone": "US/Eastern", "zone_hours": -5 });
    world.sandbox.configure(site, behind).unwrap();
    let hidden = json!({ "short_description": "hush" });
    for _ in 0..205 {
        let (status, _) = http_json("POST", &table, &hidden).await;
        assert_eq!(status, 201);
    }
    let (create, ticket) = world.create_at(id, "Watched").await;
    world.succeeds(create).await;
    let sys_id = world
        .sandbox
        .ledger(site)
        .with_label(&format!("tkt-{ticket}"))[0]
        .id
        .clone();
    // The second change is later than all that the first sync saw, and would be behind what its
    // mark means five hours West.
    for (weight, priority) in [("1", "critical"), ("2", "medium")] {
        let change = json!({ "impact": weight, "urgency": weight });
        let (status, _) = http_json("PATCH", &format!("{table}/{sys_id}"), &change).await;
        assert_eq!(status, 200);

        let sync = json!({ "integration_id": id });
        let sync = world.publish("integration.sync", sync).await;
        world.succeeds(sync).await;

        let get = json!({ "ticket_id": ticket });
        let found = world.ask("ticket.get", get).await;
        let found = &found["data"]["result"]["ticket"];
        assert_eq!(found["priority"], priority, "{found:#}");
    }
    drop(worker);
}
