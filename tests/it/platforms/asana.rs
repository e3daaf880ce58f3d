//! What is peculiar to Asana, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary, oauth};
use crate::conformance::{Act, Guard, Row, SECRET, Steps, log_ins, on};
use crate::support::{World, http_as};

const WORKSPACE: &str = "1100000000000001";
const PROJECT: &str = "1200000000000001";
/// What no setting changes.
const COMMON: [Steps; 4] = [
    on(Act::Update, "update_task", Guard::Native),
    on(Act::Assign, "assign", Guard::Native),
    on(Act::Comment, "add_comment", Guard::Lookup),
    on(Act::Attach, "attach", Guard::Lookup),
];
/// With sections by name, and a field for the priority.
const BY_NAME: [Steps; 4] = [
    on(Act::Create, "create_task", Guard::Lookup)
        .before(&["list_fields", "list_sections"])
        .after(&["move_task"]),
    on(Act::Status, "set_completed", Guard::Native).before(&["list_sections", "move_task"]),
    on(Act::Resolve, "add_comment", Guard::Lookup).before(&[
        "list_sections",
        "move_task",
        "set_completed",
    ]),
    on(Act::Delete, "set_completed", Guard::Native).before(&["list_sections", "move_task"]),
];
/// With one section, by its gid.
const BY_GID: [Steps; 4] = [
    on(Act::Create, "create_task", Guard::Lookup),
    on(Act::Status, "set_completed", Guard::Native).before(&["move_task"]),
    on(Act::Resolve, "add_comment", Guard::Lookup).before(&["set_completed"]),
    on(Act::Delete, "set_completed", Guard::Native),
];

fn settings(more: &Value) -> Value {
    let mut all = json!({ "workspace_gid": WORKSPACE, "project_gid": PROJECT });
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

/// A personal token, whose marker is in the notes, and an app, whose marker is in `external`.
pub(super) fn rows() -> Vec<Row> {
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    strange.push(("401", Fault::status(401)));
    let same = |name, fault, class| (name, fault, class, class);
    let says = |status, message: &str| {
        Fault::status(status).body(json!({ "errors": [{ "message": message, "help": "x" }] }))
    };
    let peculiar = vec![
        same("a plan that lacks it", Fault::status(402), "permission"),
        same("a legal block", Fault::status(451), "gone"),
        same("too large a file", Fault::status(413), "validation"),
        same(
            "a field before a colon",
            says(400, "name: Too long"),
            "validation",
        ),
        same(
            "an unknown object",
            says(404, "task: Unknown object: 7"),
            "not_found",
        ),
    ];
    let row = |name, auth_type, credentials, steps: [Steps; 4], settings| Row {
        name,
        platform: Platform::Asana,
        auth_type,
        credentials,
        settings,
        operations: steps.into_iter().chain(COMMON).collect(),
        reads_answers: true,
        blind: Some(json!({ "texts": false })),
        reads: true,
        peculiar: peculiar.clone(),
        strange: strange.clone(),
    };
    let sections =
        json!({ "new": "to do", "in_progress": "Doing", "resolved": "Done", "closed": "Done" });
    vec![
        row(
            "asana-token",
            AuthType::Bearer,
            json!({ "access_token": SECRET }),
            BY_NAME,
            settings(&json!({ "priority_field": "Priority", "status_map": sections })),
        ),
        row(
            "asana-oauth",
            AuthType::Oauth2,
            json!({ "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET }),
            BY_GID,
            settings(&json!({ "status_map": { "in_progress": "1300000000000003" } })),
        ),
    ]
}

/// Asana towards the canary suite: all that it says is in `data`.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |method, thing, _| {
        let path = thing.split('?').next().unwrap_or_default();
        let lists = [
            "/tasks",
            "/stories",
            "/attachments",
            "/sections",
            "/tags",
            "_settings",
        ];
        if method == "GET" && lists.iter().any(|end| path.ends_with(end)) {
            return json!({ "data": [], "next_page": null }).to_string();
        }
        // A look-up finds what it asks for: else the command would stay in doubt for a day.
        let external = path
            .split_once("external:")
            .map(|(_, gid)| json!({ "gid": gid }));
        let task = json!({ "gid": "5", "name": "t", "tags": [], "external": external });
        json!({ "data": task }).to_string()
    },
    success: |say| {
        json!({
            "data": { "gid": say(), "name": say(), "notes": say(), "email": say(),
                "permalink_url": say(),
                "completed": false, "modified_at": say(), "assignee": { "gid": say(),
                    "name": say() },
                "tags": [{ "gid": say(), "name": say() }], "text": say(),
                "workspaces": [{ "gid": say(), "name": say() }],
                "external": { "gid": say() }, "memberships": [{ "project": { "gid": "2" },
                    "section": { "gid": say(), "name": say() } }] },
            "next_page": { "offset": say() },
        })
    },
    token_path: "-/oauth_token",
    syncs: true,
};

/// Its modes for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let data = |auth_type: &str, credentials: Value| {
        let settings = settings(&json!({ "internal_comments": true }));
        json!({ "platform_name": "asana", "auth_type": auth_type, "base_url": "{at}",
            "credentials": credentials,
                "settings": settings })
    };
    let (token, secrets) = (canary("asana-token"), oauth("asana"));
    let by_token = json!({ "access_token": token });
    let by_client =
        json!({ "client_id": "client", "client_secret": secrets[0], "refresh_token": secrets[1] });
    vec![
        Mode::new(
            BEHAVIOUR,
            "asana-token",
            data("bearer", by_token),
            &[&token],
            &[],
        ),
        Mode::oauth(
            BEHAVIOUR,
            "asana-oauth2",
            data("oauth2", by_client),
            &secrets,
        ),
    ]
}

/// An active integration at a site.
async fn project(world: &World, site: &str, more: &Value) -> Uuid {
    let data = json!({
        "name": "Board", "platform_name": "asana", "auth_type": "bearer",
        "base_url": world.sandbox.url(site),
        "credentials": { "access_token": "2/1100/t0k3n" }, "settings": settings(more),
        "custom_fields_mapping": { "customer": "1400000000000003", "places": "1400000000000004",
            "topics": "1400000000000005", "until": "1400000000000006" },
    });
    world.integration_of(data).await
}

/// The same of an app.
async fn app(world: &World, site: &str) -> Uuid {
    let data = json!({
        "name": "App", "platform_name": "asana", "auth_type": "oauth2",
        "base_url": world.sandbox.url(site),
        "credentials": { "client_id": "c", "client_secret": "s3cr3t", "refresh_token": "r3fr3sh" },
        "settings": settings(&json!({})),
    });
    world.integration_of(data).await
}

/// The one task there is.
fn only(world: &World, site: &str) -> LedgerIssue {
    let mut issues = world.sandbox.ledger(site).issues;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_at_asana() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "asana/life";
    let sections =
        json!({ "new": "To do", "in_progress": "Doing", "resolved": "Done", "closed": "Done" });
    let more = json!({ "priority_field": "priority", "category_field": "Category",
        "status_map": sections,
        "internal_comments": true });
    let id = project(&world, site, &more).await;
    let ann = world
        .user(world.organization, "Ann", "known+ann@example.test")
        .await;

    let data = json!({ "title": "Printer on fire", "description": "Since **nine** <now>",
        "integration_id": id,
        "priority": "critical", "category": "bug", "tags": ["VIP", "Third floor"],
        "assigned_to_id": ann,
        "custom_fields": { "customer": "ACME", "places": "12", "topics": ["vip"],
            "until": "2026-02-01", "other": 1 } });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let ticket = made["data"]["ticket_id"].clone();
    let mut commands = Vec::new();
    for (command_type, data) in [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "low", "description": "Anew", "tags": ["vip",
                "Smoke"] }),
        ),
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "tags": ["Smoke"] }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Do *not* tell", "public": false }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket,
                "body": "See https://app.asana.com/0/profile/1100000000000099" }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": [
                { "name": "a.txt", "content_base64": "aGVsbG8=" }, { "name": "r\u{e9}sum\u{e9}.pdf",
                    "content_base64": "aGVsbG8h" },
            ] }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "in_progress" }),
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
        "https://app.asana.com/1/{WORKSPACE}/project/{PROJECT}/task/{}",
        item.id
    );
    assert_eq!(external["external_ticket_url"], page);
    let details = &external["details"];
    let instead = details["priority"].as_str().unwrap();
    assert!(instead.starts_with("High instead: "), "{instead}");
    assert_eq!(details["unmapped_custom_fields"], json!(["other"]));
    let expected = [
        "create",
        "move_task",
        "update_task",
        "add_tag",
        "remove_tag",
        "remove_tag",
        "comment",
        "comment",
        "file",
        "file",
        "move_task",
        "set_completed",
        "move_task",
        "set_completed",
        "comment",
        "move_task",
        "set_completed",
    ];
    assert_eq!(item.history, expected);
    let marker = format!("tkt-{}", ticket.as_str().unwrap());
    assert_eq!(item.description, format!("Anew\n\n[ref:{marker}]"));
    assert_eq!(
        (item.status.as_str(), item.status_category.as_str()),
        ("Done", "done")
    );
    assert_eq!(item.priority.as_deref(), Some("Low"));
    assert_eq!(item.labels, [marker.as_str(), "Smoke"]);
    assert!(item.assignee.is_some());
    let fields = &item.fields;
    assert_eq!(
        (&fields["Category"], &fields["Customer"]),
        (&json!("Bug"), &json!("ACME"))
    );
    assert_eq!(
        (&fields["Seats"], &fields["Topics"]),
        (&json!("12"), &json!("VIP"))
    );
    assert_eq!(fields["Promised"], "2026-02-01");
    let said: Vec<&str> = item
        .comments
        .iter()
        .map(|one| one.body.as_str().unwrap())
        .collect();
    let begins = [
        "<body>Internal comment:\n\nDo <em>not</em> tell",
        "<body>See <a href=\"https://app\u{2060}.asana.com/0/profile/",
        "<body>It is <strong>out</strong>",
    ];
    for (said, begin) in said.iter().zip(begins) {
        assert!(
            said.starts_with(begin) && said.ends_with("]</body>"),
            "{said}"
        );
    }
    assert_eq!(said.len(), begins.len());
    let names: Vec<&str> = item
        .attachments
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["a.txt", "r\u{e9}sum\u{e9}.pdf"]);
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_task_is_found_by_its_notes_or_by_the_name_that_the_app_gave_it() {
    let world = World::new().await;
    let worker = world.worker().await;
    let person = project(&world, "asana/person", &json!({})).await;
    let app = app(&world, "asana/app").await;
    for (site, id) in [("asana/person", person), ("asana/app", app)] {
        let lost = Fault::new(FaultKind::ResetAfterStore).on("create_task");
        world.sandbox.inject(site, lost).unwrap();

        let (create, ticket) = world.create_at(id, "Lost").await;
        let event = world.succeeds(create).await;

        let result = &event["data"]["result"]["integration_result"];
        let item = only(&world, site);
        assert_eq!(result["external_ticket_id"], item.id.as_str());
        assert_eq!(result["details"]["adopted"], true, "{event:#}");
        assert_eq!(item.labels, [format!("tkt-{ticket}")], "{site}");
        let has_line = item.description.as_str().unwrap().contains("[ref:tkt-");
        assert_eq!(has_line, site == "asana/person");
        let ledger = world.sandbox.ledger(site);
        assert_eq!(ledger.count("create_task").received, 1);
        let way = if has_line { "list_tasks" } else { "find_task" };
        assert!(ledger.count(way).received >= 1);
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_none_of_the_workspace_costs_the_assignee_and_not_the_task() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "asana/strangers";
    let id = project(&world, site, &json!({})).await;
    let bo = world
        .user(world.organization, "Bo", "bo@elsewhere.test")
        .await;

    let data = json!({ "title": "For Bo", "description": "d", "integration_id": id,
        "assigned_to_id": bo });
    let create = world.publish("ticket.create", data).await;
    let event = world.succeeds(create).await;

    assert_eq!(only(&world, site).assignee, None);
    let details = event["data"]["result"]["integration_result"]["details"].to_string();
    assert!(details.contains("Not a user in Organization"), "{event:#}");
    let ticket = &event["data"]["ticket_id"];
    let data = json!({ "ticket_id": ticket, "assigned_to_id": bo });
    let assign = world.publish("ticket.assign", data).await;
    let event = world.fails(assign, "validation_failed").await;
    let fault = &event["data"]["error"]["fields"]["assigned_to_id"];
    assert!(fault.as_str().unwrap().contains("Not a user"), "{event:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_comment_is_told_so_and_a_status_that_a_rule_takes_back_is_no_success() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "asana/rules";
    let id = project(&world, site, &json!({})).await;
    let (create, ticket) = world.create_at(id, "Ruled").await;
    world.succeeds(create).await;

    world
        .sandbox
        .configure(site, json!({ "reopens": true }))
        .unwrap();
    let data = json!({ "ticket_id": ticket, "status": "cancelled" });
    let status = world.publish("ticket.status", data).await;
    let event = world.fails(status, "conflict").await;
    let said = event["data"]["error"]["message"].as_str().unwrap();
    assert!(said.contains("left the task as it was"), "{said}");

    world
        .sandbox
        .configure(site, json!({ "comment_only": true }))
        .unwrap();
    let (create, _) = world.create_at(id, "Refused").await;
    let event = world.fails(create, "permission_denied").await;
    let said = event["data"]["error"]["message"].as_str().unwrap();
    assert!(said.contains("one who may only comment cannot"), "{said}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_was_replaced_is_looked_up_anew() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "asana/sections";
    let map = json!({ "status_map": { "in_progress": "Doing", "pending": "Waiting" } });
    let id = project(&world, site, &map).await;
    let (create, ticket) = world.create_at(id, "Moved").await;
    world.succeeds(create).await;
    let change = |status: &str| json!({ "ticket_id": ticket, "status": status });
    let first = world.publish("ticket.status", change("in_progress")).await;
    world.succeeds(first).await;
    let sections = json!([{ "gid": "1300000000000001", "name": "To do" }, { "gid": "1399",
        "name": "Waiting" }]);
    world
        .sandbox
        .configure(site, json!({ "sections": sections }))
        .unwrap();

    let wait = world.publish("ticket.status", change("pending")).await;
    world.succeeds(wait).await;

    assert_eq!(only(&world, site).status, "Waiting");
    let none = world.publish("ticket.status", change("in_progress")).await;
    let event = world.fails(none, "validation_failed").await;
    let fault = event["data"]["error"]["fields"]["settings.status_map.in_progress"].as_str();
    assert!(fault.unwrap().contains("To do, Waiting"), "{event:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_reads_all_pages_of_a_listing_without_order() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "asana/sync";
    let id = project(&world, site, &json!({})).await;
    let mut tickets = Vec::new();
    for number in 0..5 {
        let (create, ticket) = world.create_at(id, &format!("Ticket {number}")).await;
        world.succeeds(create).await;
        tickets.push(ticket);
    }
    world.sandbox.configure(site, json!({ "page": 2 })).unwrap();
    // A colleague completes one.
    let item = &world.sandbox.ledger(site).issues[1];
    let url = format!("{}/api/1.0/tasks/{}", world.sandbox.url(site), item.id);
    let done = json!({ "data": { "completed": true } }).to_string();
    let (status, _) = http_as("Bearer colleague", "PUT", &url, "application/json", &done).await;
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
