//! What is peculiar to Trello, end to end.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::canaries::{Behaviour, Mode, canary};
use crate::conformance::{Act, Guard, Row, SECRET, log_ins, on};
use crate::support::{World, http_as};

const BOARD: &str = "5f0000000000000000000b01";
const LIST: &str = "5f0000000000000000000a01";
const DONE: &str = "5f0000000000000000000a03";
const COLLEAGUE: &str = "OAuth oauth_consumer_key=\"k\", oauth_token=\"colleague\"";

fn settings(more: &Value) -> Value {
    let mut all = json!({ "board_id": BOARD, "list_id": LIST });
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

/// With lists by name, and one that closes into the archive.
pub(super) fn rows() -> Vec<Row> {
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    strange.push(("401", Fault::status(401)));
    let same = |name, fault, class| (name, fault, class, class);
    let says = |status, text: &str| Fault::status(status).body(json!(text));
    let peculiar = vec![
        same(
            "no permission",
            says(401, "unauthorized card permission requested"),
            "permission",
        ),
        same(
            "an expired token",
            says(401, "expired token"),
            "authentication",
        ),
        same("too large a file", Fault::status(413), "validation"),
        same("too long an address", Fault::status(414), "validation"),
        same("a part that failed", Fault::status(449), "transient"),
        same(
            "a parameter",
            says(400, "invalid value for name"),
            "validation",
        ),
        same(
            "not there",
            says(404, "The requested resource was not found."),
            "not_found",
        ),
        same(
            "too many cards",
            Fault::status(429).body(json!({ "error": "API_TOO_MANY_CARDS_REQUESTED" })),
            "unsupported",
        ),
    ];
    let map =
        json!({ "new": "to do", "in_progress": "Doing", "resolved": "Done", "closed": "archived" });
    vec![Row {
        name: "trello",
        platform: Platform::Trello,
        auth_type: AuthType::ApiKey,
        credentials: json!({ "api_key": "k3y", "api_token": SECRET }),
        settings: settings(
            &json!({ "status_map": map, "users": { "known+ada@example.test": "@ada" } }),
        ),
        operations: vec![
            on(Act::Create, "create_card", Guard::Lookup).before(&[
                "list_lists",
                "list_labels",
                "create_label",
            ]),
            on(Act::Update, "update_card", Guard::Native),
            on(Act::Status, "set_status", Guard::Native).before(&["list_lists"]),
            on(Act::Resolve, "add_comment", Guard::Lookup).before(&["list_lists", "set_status"]),
            on(Act::Assign, "assign", Guard::Native).before(&["list_members"]),
            on(Act::Comment, "add_comment", Guard::Lookup),
            on(Act::Attach, "attach", Guard::Lookup),
            on(Act::Delete, "set_status", Guard::Native),
        ],
        reads_answers: true,
        blind: Some(json!({ "texts": false })),
        reads: true,
        peculiar,
        strange,
    }]
}

/// Trello towards the canary suite: listings are arrays, and a batch is one of answers.
const BEHAVIOUR: Behaviour = Behaviour {
    sound: |method, thing, _| {
        let path = thing.split('?').next().unwrap_or_default();
        let lists = [
            "/lists",
            "/labels",
            "/members",
            "/customFields",
            "/actions",
            "/all",
            "/attachments",
            "/memberships",
        ];
        if method == "GET" && lists.iter().any(|end| path.ends_with(end)) {
            return "[]".to_owned();
        }
        json!({ "id": "55906023892770637b766344", "name": "t", "labels": [],
            "idMember": "5f0000000000000000000c00", "permissions": [{ "write": true }],
            "type": "commentCard" })
        .to_string()
    },
    success: |say| {
        json!({
            "id": "55906023892770637b766344", "shortLink": say(), "shortUrl": say(), "url": say(),
            "name": say(), "desc": say(), "closed": false, "idList": say(), "idMembers": [say()],
            "dateLastActivity": say(), "labels": [{ "id": say(), "name": say() }], "type": say(),
            "data": { "text": say() }, "username": say(), "fullName": say(), "idMember": say(),
            "permissions": [{ "write": true }],
        })
    },
    token_path: "",
    syncs: true,
};

/// Its modes for the canary suite.
pub(super) fn canaries() -> Vec<Mode> {
    let token = canary("trello-token");
    let data = json!({ "platform_name": "trello", "auth_type": "api_key", "base_url": "{at}",
        "credentials": { "api_key": "k3y", "api_token": token },
        "settings": settings(&json!({ "internal_comments": true })) });
    vec![Mode::new(BEHAVIOUR, "trello", data, &[&token], &[]).signed()]
}

/// An active integration at a site.
async fn board(world: &World, site: &str, more: &Value) -> Uuid {
    let data = json!({
        "name": "Board", "platform_name": "trello", "auth_type": "api_key",
        "base_url": world.sandbox.url(site), "settings": settings(more),
        "credentials": { "api_key": "k3y", "api_token": "ATTAt0k3n" },
        "custom_fields_mapping": {
            "customer": "5f0000000000000000000d01", "places": "5f0000000000000000000d02",
            "vip": "5f0000000000000000000d03", "until": "5f0000000000000000000d04",
            "product": "5f0000000000000000000d05",
        },
    });
    world.integration_of(data).await
}

/// The one card there is.
fn only(world: &World, site: &str) -> LedgerIssue {
    let mut issues = world.sandbox.ledger(site).issues;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.remove(0)
}

/// What somebody else does at the board.
async fn colleague(world: &World, site: &str, method: &str, path: &str, body: &Value) {
    let url = format!("{}/1/{path}", world.sandbox.url(site));
    let (status, said) = http_as(
        COLLEAGUE,
        method,
        &url,
        "application/json",
        &body.to_string(),
    )
    .await;
    assert_eq!(status, 200, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_at_trello() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "trello/life";
    let map = json!({ "in_progress": "Doing", "resolved": "Done", "closed": "archived" });
    let users = json!({ "ann@example.test": "ann" });
    let more = json!({ "status_map": map, "internal_comments": true, "users": users });
    let id = board(&world, site, &more).await;
    let ann = world
        .user(world.organization, "Ann", "ann@example.test")
        .await;

    let custom = json!({ "customer": "ACME", "places": 12, "vip": true, "until": "2026-02-01",
        "product": "chair", "other": 1 });
    let data = json!({ "title": "Printer on fire", "description": "Since **nine** <now> @ada",
        "integration_id": id, "priority": "high", "category": "bug", "custom_fields": custom,
        "tags": ["VIP", "Third floor"], "assigned_to_id": ann });
    let create = world.publish("ticket.create", data).await;
    let made = world.succeeds(create).await;
    let ticket = made["data"]["ticket_id"].clone();
    // A colleague's label stays, whatever is changed but tags.
    let card = only(&world, site);
    let labels = json!({ "idLabels": ["5f0000000000000000000f01", "5f0000000000000000000f02"] });
    colleague(&world, site, "PUT", &format!("cards/{}", card.id), &labels).await;
    let mut commands = Vec::new();
    for (command_type, data) in [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "low", "description": "Anew" }),
        ),
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "tags": ["Smoke"], "custom_fields": { "places": null } }),
        ),
        (
            "ticket.update",
            json!({ "ticket_id": ticket,
                "custom_fields": { "customer": "Globex", "product": "Table" } }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Do *not* tell", "public": false }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "See @ann" }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": [
                { "name": "a.txt", "content_base64": "aGVsbG8=" },
                { "name": "r\u{e9}sum\u{e9}.pdf", "content_base64": "aGVsbG8h" },
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
    let mut events = Vec::new();
    for command in &commands {
        events.push(world.succeeds(*command).await);
    }

    let item = only(&world, site);
    let external = &made["data"]["result"]["integration_result"];
    assert_eq!(external["external_ticket_id"], item.key.as_str());
    let page = format!("https://trello.com/c/{}", item.key);
    assert_eq!(external["external_ticket_url"], page);
    assert_eq!(
        external["details"]["unmapped_custom_fields"],
        json!(["other"]),
        "{made:#}"
    );
    let told =
        &events[2]["data"]["result"]["integration_result"]["details"]["refused_custom_fields"];
    assert!(
        told["product"].as_str().unwrap().contains("choices"),
        "{:#}",
        events[2]
    );
    let expected = [
        "create",
        "custom",
        "update_card",
        "update_card",
        "update_card",
        "custom",
        "custom",
        "comment",
        "comment",
        "file",
        "file",
        "set_status",
        "set_status",
        "comment",
        "set_status",
    ];
    assert_eq!(item.history, expected);
    let marker = format!("tkt-{}", ticket.as_str().unwrap());
    assert_eq!(item.description, format!("Anew\n\n[ref:{marker}]"));
    assert_eq!(
        (item.status.as_str(), item.status_category.as_str()),
        ("archived", "done")
    );
    assert_eq!(item.labels, [marker.as_str(), "Priority: Low", "Smoke"]);
    assert_eq!(item.assignee.as_deref(), Some("5f0000000000000000000c02"));
    let expected = json!({ "Customer": "Globex", "Seats": null, "VIP": "true",
        "Promised": "2026-02-01T00:00:00.000Z", "Product": "5f0000000000000000000e02" });
    assert_eq!(Value::from(item.fields), expected);
    let said: Vec<&str> = item
        .comments
        .iter()
        .map(|one| one.body.as_str().unwrap())
        .collect();
    let begins = [
        "Internal comment:\n\nDo *not* tell",
        "See @\u{2060}ann",
        "It is **out**",
    ];
    for (said, begin) in said.iter().zip(begins) {
        assert!(
            said.starts_with(begin) && said.contains("\n\n[ref:cmd-"),
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
async fn a_lost_card_is_found_among_those_of_its_name() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "trello/lost";
    let id = board(&world, site, &json!({})).await;
    // Others of the same name: more than one request can ask for.
    for _ in 0..12 {
        let card = json!({ "idList": LIST, "name": "Lost", "desc": "[ref:tkt-1] is quoted" });
        colleague(&world, site, "POST", "cards", &card).await;
    }
    let lost = Fault::new(FaultKind::ResetAfterStore).on("create_card");
    world.sandbox.inject(site, lost).unwrap();

    let (create, ticket) = world.create_at(id, "Lost").await;
    let event = world.succeeds(create).await;

    let ledger = world.sandbox.ledger(site);
    let marker = format!("tkt-{ticket}");
    let [item] = ledger.with_label(&marker)[..] else {
        panic!("{:#?}", ledger.issues)
    };
    let result = &event["data"]["result"]["integration_result"];
    assert_eq!(result["external_ticket_id"], item.key.as_str());
    assert_eq!(result["details"]["adopted"], true, "{event:#}");
    assert_eq!(ledger.issues.len(), 13);
    assert_eq!(ledger.count("create_card").received, 13);
    assert!(ledger.count("batch").received >= 2, "{:?}", ledger.calls);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_fields_that_fail_after_a_card_is_made_come_as_a_command_of_their_own() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "trello/later";
    let id = board(&world, site, &json!({})).await;
    let refused = Fault::status(503).on("set_fields").times(8);
    world.sandbox.inject(site, refused).unwrap();

    let data = json!({ "title": "Later", "description": "d", "integration_id": id,
        "custom_fields": { "places": 3 } });
    let create = world.publish("ticket.create", data).await;
    world.succeeds(create).await;
    assert_eq!(only(&world, site).fields["Seats"], Value::Null);
    world.sandbox.clear_faults(site).unwrap();
    world.quiet().await;

    let item = only(&world, site);
    assert_eq!(item.fields["Seats"], "3", "{item:#?}");
    assert_eq!(world.sandbox.ledger(site).count("create_card").received, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_costs_the_assignee_and_not_the_card() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "trello/strangers";
    let id = board(
        &world,
        site,
        &json!({ "users": { "bo@elsewhere.test": "bo" } }),
    )
    .await;
    let bo = world
        .user(world.organization, "Bo", "bo@elsewhere.test")
        .await;
    let cy = world
        .user(world.organization, "Cy", "cy@elsewhere.test")
        .await;

    let data = json!({ "title": "For Bo", "description": "d", "integration_id": id,
        "assigned_to_id": bo });
    let create = world.publish("ticket.create", data).await;
    let event = world.succeeds(create).await;

    assert_eq!(only(&world, site).assignee, None);
    let details = event["data"]["result"]["integration_result"]["details"].to_string();
    assert!(
        details.contains("no member of the board; it has: ticketwire, ada, ann"),
        "{event:#}"
    );
    let ticket = &event["data"]["ticket_id"];
    for (who, said) in [(bo, "no member of the board"), (cy, "settings.users")] {
        let data = json!({ "ticket_id": ticket, "assigned_to_id": who });
        let assign = world.publish("ticket.assign", data).await;
        let event = world.fails(assign, "validation_failed").await;
        let fault = &event["data"]["error"]["fields"]["assigned_to_id"];
        assert!(fault.as_str().unwrap().contains(said), "{event:#}");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_a_closed_board_and_a_token_that_only_reads_are_told() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "trello/rights";
    let id = board(&world, site, &json!({})).await;
    let (create, ticket) = world.create_at(id, "Ruled").await;
    world.succeeds(create).await;
    let tests = async || {
        let types = ["permissions", "create_ticket"];
        let test = world
            .publish(
                "integration.test",
                json!({ "integration_id": id, "test_types": types }),
            )
            .await;
        world.outcome(test).await["data"]["result"].to_string()
    };
    let configure = |settings: Value| world.sandbox.configure(site, settings).unwrap();
    let fine = tests().await;
    assert!(
        fine.contains("may make cards") && fine.contains("and deleted it"),
        "{fine}"
    );
    for (settings, undo, said) in [
        (
            json!({ "member_type": "observer" }),
            json!({ "member_type": "normal" }),
            "is observer of the board",
        ),
        (
            json!({ "writes": false }),
            json!({ "writes": true }),
            "no scope write",
        ),
        (
            json!({ "closed": true }),
            json!({ "closed": false }),
            "is closed at Trello",
        ),
    ] {
        configure(settings);
        let seen = tests().await;
        assert!(seen.contains(said), "{said}: {seen}");
        configure(undo);
    }
    assert_eq!(world.sandbox.ledger(site).issues.len(), 1);

    // An automation moves each card back.
    configure(json!({ "returns": true }));
    let settings = settings(&json!({ "status_map": { "cancelled": DONE } }));
    let map = json!({ "integration_id": id, "settings": settings });
    let update = world.publish("integration.update", map).await;
    world.succeeds(update).await;
    let status = world
        .publish(
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "cancelled" }),
        )
        .await;
    let event = world.fails(status, "conflict").await;
    let said = event["data"]["error"]["message"].as_str().unwrap();
    assert!(said.contains("left the card where it was"), "{said}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_replaced_is_looked_up_anew() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "trello/lists";
    let map = json!({ "status_map": { "in_progress": "Doing", "pending": "Waiting" } });
    let id = board(&world, site, &map).await;
    let (create, ticket) = world.create_at(id, "Moved").await;
    world.succeeds(create).await;
    let change = |status: &str| json!({ "ticket_id": ticket, "status": status });
    let first = world.publish("ticket.status", change("in_progress")).await;
    world.succeeds(first).await;
    let lists = json!([{ "id": LIST, "name": "To do", "closed": false },
        { "id": "5f0000000000000000000a09", "name": "Waiting", "closed": false }]);
    world
        .sandbox
        .configure(site, json!({ "lists": lists }))
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
async fn a_sync_lists_the_board_once_and_then_what_happened_there() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "trello/sync";
    let id = board(
        &world,
        site,
        &json!({ "status_map": { "resolved": "Done" } }),
    )
    .await;
    let (create, ticket) = world.create_at(id, "Ours").await;
    world.succeeds(create).await;
    let card = only(&world, site).id;
    // More than one page of the board.
    for number in 0..505 {
        let body = json!({ "idList": LIST, "name": format!("Theirs {number}") });
        colleague(&world, site, "POST", "cards", &body).await;
    }
    let sync = async |kind: &str| {
        let data = json!({ "integration_id": id, "sync_type": kind });
        let sync = world.publish("integration.sync", data).await;
        world.succeeds(sync).await["data"]["result"].clone()
    };
    let status = async || {
        let row = "SELECT status::text FROM tickets WHERE id = $1";
        world.text(row, &[&ticket]).await.unwrap()
    };
    let counted = || {
        let ledger = world.sandbox.ledger(site);
        (
            ledger.count("list_cards").received,
            ledger.count("batch").received,
        )
    };

    let all = sync("full").await;
    assert_eq!(
        (&all["counts"]["seen"], &all["complete"]),
        (&json!(506), &json!(true)),
        "{all:#}"
    );
    assert_eq!(counted(), (2, 0));
    // Too much happened within the ten seconds that a listing looks back: the board once more.
    colleague(
        &world,
        site,
        "PUT",
        &format!("cards/{card}"),
        &json!({ "idList": DONE }),
    )
    .await;
    let many = sync("incremental").await;
    assert_eq!(many["counts"]["seen"], 506, "{many:#}");
    assert_eq!(status().await, "resolved");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_sync_reads_the_cards_that_the_actions_name() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = "trello/actions";
    let id = board(
        &world,
        site,
        &json!({ "status_map": { "resolved": "Done", "closed": "archived" } }),
    )
    .await;
    let mut tickets = Vec::new();
    for number in 0..12 {
        let (create, ticket) = world.create_at(id, &format!("Ticket {number}")).await;
        world.succeeds(create).await;
        tickets.push(ticket);
    }
    let sync = async |kind: &str| {
        let data = json!({ "integration_id": id, "sync_type": kind });
        let sync = world.publish("integration.sync", data).await;
        world.succeeds(sync).await["data"]["result"]["counts"].clone()
    };
    assert_eq!(sync("full").await["seen"], 12);
    let listed = world.sandbox.ledger(site).count("list_cards").received;
    let cards = world.sandbox.ledger(site).issues;
    // A colleague drags one, archives one and deletes one.
    colleague(
        &world,
        site,
        "PUT",
        &format!("cards/{}", cards[1].id),
        &json!({ "idList": DONE }),
    )
    .await;
    colleague(
        &world,
        site,
        "PUT",
        &format!("cards/{}", cards[2].id),
        &json!({ "closed": true }),
    )
    .await;
    colleague(
        &world,
        site,
        "DELETE",
        &format!("cards/{}", cards[3].id),
        &json!({}),
    )
    .await;

    let counts = sync("incremental").await;

    assert_eq!(
        (&counts["seen"], &counts["updated"]),
        (&json!(11), &json!(2)),
        "{counts:#}"
    );
    let ledger = world.sandbox.ledger(site);
    assert_eq!(
        ledger.count("list_cards").received,
        listed,
        "the board is not listed again"
    );
    assert_eq!(ledger.count("batch").received, 2);
    for (ticket, expected) in [(1, "resolved"), (2, "closed"), (3, "new"), (4, "new")] {
        let row = "SELECT status::text FROM tickets WHERE id = $1";
        let status = world.text(row, &[&tickets[ticket]]).await;
        assert_eq!(status.as_deref(), Some(expected), "ticket {ticket}");
    }
    drop(worker);
}
