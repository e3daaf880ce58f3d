//! The ticket commands beside create, update, status, assign and comment: files, deletion, many at
//! once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{FileServer, World, wait_for};

/// Names and outcomes of an event's files.
fn outcomes(files: &Value) -> Vec<(String, String)> {
    let text = |file: &Value, name: &str| file[name].as_str().unwrap_or_default().to_owned();
    let files = files.as_array().map(Vec::as_slice).unwrap_or_default();
    files
        .iter()
        .map(|file| (text(file, "name"), text(file, "outcome")))
        .collect()
}

fn pair(name: &str, outcome: &str) -> (String, String) {
    (name.to_owned(), outcome.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_attached_by_url_and_by_content_with_an_outcome_each() {
    let world = World::new().await;
    let files = FileServer::start().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("With files").await;
    world.succeeds(create).await;

    let attach = json!({ "ticket_id": ticket, "attachments": [
        { "name": "log \"1\".txt", "content_base64": STANDARD.encode("hello"),
            "media_type": "text/x-log" },
        { "name": "big.bin", "url": files.url("/big/300000") },
        { "name": "gone.txt", "url": files.url("/missing") },
        { "name": "named.txt", "url": files.url("/some-name"), "size": 10 },
    ] });
    let attach = world.publish("ticket.attach", attach).await;
    let event = world.succeeds(attach).await;

    let result = &event["data"]["result"];
    assert_eq!(
        outcomes(&result["attachments"]),
        [
            pair("log \"1\".txt", "attached"),
            pair("big.bin", "attached"),
            pair("gone.txt", "failed"),
            pair("named.txt", "attached")
        ],
        "{event:#}"
    );
    assert_eq!(
        result["partial"], true,
        "three of four is said, never silent"
    );
    assert_eq!(
        result["attachments"][2]["error"]["code"],
        "validation_failed"
    );
    let ledger = world.jira();
    let stored = &ledger.issues[0].attachments;
    let shape: Vec<(&str, u64, &str)> = stored
        .iter()
        .map(|f| (f.name.as_str(), f.size, f.media_type.as_str()))
        .collect();
    assert_eq!(
        shape,
        [
            ("log %221%22.txt", 5, "text/x-log"),
            ("big.bin", 300_000, "text/plain"),
            ("named.txt", 10, "text/plain")
        ]
    );
    assert_eq!(
        result["attachments"][0]["external_attachment_id"],
        stored[0].id.as_str()
    );
    world.close_the_ledger(&[create, attach]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_big_somewhere_else_or_not_what_it_says_is_refused_by_name() {
    let world = World::new().await;
    let files = FileServer::start().await;
    let worker = world
        .worker_with(&[("TICKETWIRE__DISPATCH__MAX_ATTACHMENT_BYTES", "100000")])
        .await;
    let (create, ticket) = world.create("With files").await;
    world.succeeds(create).await;

    let attach = json!({ "ticket_id": ticket, "attachments": [
        { "name": "a", "url": files.url("/big/100001") },
        { "name": "b", "url": files.url("/moved") },
        { "name": "c", "url": files.url("/x"), "size": 3 },
        { "name": "d", "url": "https://10.1.2.3/secret" },
        { "name": "e", "url": files.url("/big/0") },
    ] });
    let attach = world.publish("ticket.attach", attach).await;
    let event = world.outcome(attach).await;

    assert_eq!(event["data"]["outcome"], "failed", "{event:#}");
    let named: Vec<&String> = event["data"]["error"]["fields"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(named, ["a", "b", "c", "d", "e"]);
    assert_eq!(
        event["data"]["result"]["attachments"][3]["error"]["code"],
        "egress_blocked"
    );
    assert!(world.jira().issues[0].attachments.is_empty());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_does_not_answer_is_not_held_against_the_platform() {
    let world = World::new().await;
    let files = FileServer::start().await;
    let worker = world
        .worker_with(&[("TICKETWIRE__CIRCUIT__FAILURE_THRESHOLD", "2")])
        .await;
    let (create, ticket) = world.create("With a file").await;
    world.succeeds(create).await;

    let data =
        json!({ "ticket_id": ticket, "attachments": [{ "name": "a", "url": files.url("/away") }] });
    let attach = world.publish("ticket.attach", data).await;
    let event = world.fails(attach, "attempts_exhausted").await;

    assert!(files.fetched("/away") > 3, "{event:#}");
    let opened = world
        .count("SELECT count(*) FROM integration_circuits WHERE failures > 0")
        .await;
    assert_eq!(opened, 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_attachments_are_told_by_field_before_anything_is_done() {
    let world = World::new().await;
    let worker = world.worker().await;

    let attach = json!({ "ticket_id": Uuid::new_v4(), "attachments": [
        { "name": "../etc/passwd", "content_base64": "aGk=" },
        { "name": "x" },
        { "name": "y", "url": "ftp://example.org/y", "colour": "red" },
        { "name": "z", "content_base64": "not base64" },
        { "name": "z", "content_base64": "aGk=", "size": 7, "media_type": "text" },
        "file",
    ] });
    let attach = world.publish("ticket.attach", attach).await;
    let event = world.outcome(attach).await;

    assert_eq!(event["data"]["outcome"], "rejected");
    let named: Vec<&String> = event["data"]["error"]["fields"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        named,
        [
            "attachments[0].name",
            "attachments[1].url",
            "attachments[2].colour",
            "attachments[2].url",
            "attachments[3].content_base64",
            "attachments[4].media_type",
            "attachments[4].size",
            "attachments[5]"
        ]
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_answer_is_lost_is_found_and_none_is_attached_twice() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("With files").await;
    world.succeeds(create).await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "attach_file", "times": 1 }));

    let files: Vec<Value> = (0..3)
        .map(|n| {
            json!({ "name": format!("{n}.txt"),
            "content_base64": STANDARD.encode(
                format!("file {n}")) })
        })
        .collect();
    let attach = world
        .publish(
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": files }),
        )
        .await;
    let event = world.succeeds(attach).await;

    assert_eq!(event["data"]["result"]["partial"], false, "{event:#}");
    assert_eq!(
        event["data"]["result"]["attachments"][0]["adopted"], true,
        "{event:#}"
    );
    let ledger = world.jira();
    let names: Vec<&str> = ledger.issues[0]
        .attachments
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(names, ["0.txt", "1.txt", "2.txt"]);
    assert_eq!(
        ledger.count("attach_file").faulted,
        1,
        "there was an answer to lose"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_with_files_says_which_are_there_and_attaches_the_rest_by_a_command_of_its_own() {
    let world = World::new().await;
    let files = FileServer::start().await;
    let worker = world.worker().await;
    world.fault(json!({ "kind": "status", "status": 503, "operation": "attach_file", "times": 1 }));

    let create = json!({ "title": "With files", "description": "D",
        "integration_id": world.integration, "attachments": [
        { "name": "gone.txt", "url": files.url("/missing") },
        { "name": "a.txt", "url": files.url("/a") },
        { "name": "b.txt", "url": files.url("/b") },
    ] });
    let create = world.publish("ticket.create", create).await;
    let event = world.succeeds(create).await;

    let details = &event["data"]["result"]["integration_result"]["details"];
    assert_eq!(
        outcomes(&details["attachments"]),
        [
            pair("gone.txt", "failed"),
            pair("a.txt", "deferred"),
            pair("b.txt", "deferred")
        ],
        "{event:#}"
    );
    assert_eq!(details["partial"], true);
    let child: Uuid = details["attachments"][1]["command_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let done = world.succeeds(child).await;
    assert_eq!(
        outcomes(&done["data"]["result"]["attachments"]),
        [pair("a.txt", "attached"), pair("b.txt", "attached")]
    );
    let ledger = world.jira();
    assert_eq!(ledger.issues.len(), 1);
    assert_eq!(ledger.issues[0].attachments.len(), 2);
    assert!(
        files.fetched("/a") >= 2,
        "fetched again, as nothing of it is kept"
    );
    world.close_the_ledger(&[create, child]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_create_whose_answer_is_lost_is_not_attached_twice() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "attach_file", "times": 1 }));
    // Not to be found before somebody has waited for it.
    world.fault(json!({ "kind": "status", "status": 503, "operation": "get_issue", "times": 1 }));

    let create = json!({ "title": "With a file", "description": "D",
        "integration_id": world.integration,
        "attachments": [{ "name": "a.txt", "content_base64": "aGVsbG8=" }] });
    let create = world.publish("ticket.create", create).await;
    let event = world.succeeds(create).await;
    let file = &event["data"]["result"]["integration_result"]["details"]["attachments"][0];
    assert_eq!(file["outcome"], "deferred", "{event:#}");
    let child: Uuid = file["command_id"].as_str().unwrap().parse().unwrap();
    let done = world.succeeds(child).await;

    assert_eq!(
        done["data"]["result"]["attachments"][0]["adopted"], true,
        "{done:#}"
    );
    assert_eq!(world.jira().issues[0].attachments.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_doubt_whose_storage_is_away_is_looked_for_at_a_pace() {
    let world = World::new().await;
    world.set("TICKETWIRE__RETRY__SCHEDULE", r#"["100ms","100ms"]"#);
    let worker = world.worker().await;
    let (create, ticket) = world.create("With a file").await;
    world.succeeds(create).await;
    let files = FileServer::start().await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "attach_file", "times": 1 }));
    let file = json!([{ "name": "a", "url": files.url("/a") }]);
    let attach = world
        .publish(
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": file }),
        )
        .await;
    world.state(attach, "deferred").await;
    drop(files);

    // More often than the schedule has steps, and a second apart at least.
    let late = "SELECT count(*) FROM command_attempts \
                WHERE message LIKE '%cannot be looked up now%'";
    wait_for("look-ups that cannot be made", async || {
        (world.count(late).await >= 4).then_some(())
    })
    .await;
    let hasty = "SELECT count(*) FROM command_attempts \
                 WHERE message LIKE '%cannot be looked up now%' \
                 AND retry_at < started_at + interval '900 milliseconds'";
    assert_eq!(world.count(hasty).await, 0);
    let code = "SELECT error_code FROM commands WHERE id = $1";
    let code = world.text(code, &[&attach]).await;
    assert_eq!(code.as_deref(), Some("outcome_unknown"));
    assert_eq!(world.jira().issues[0].attachments.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_on_no_platform_has_nowhere_to_put_a_file() {
    let world = World::new().await;
    let worker = world.worker().await;
    let file = json!([{ "name": "a", "content_base64": "aGk=" }]);
    let ticket = Uuid::new_v4();
    let own = world
        .publish(
            "ticket.create",
            json!({ "ticket_id": ticket, "title": "Ours", "description": "" }),
        )
        .await;
    world.succeeds(own).await;

    let attach = world
        .publish(
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": file }),
        )
        .await;
    let create = json!({ "title": "Ours", "description": "", "create_externally": false,
        "attachments": file });
    let create = world.publish("ticket.create", create).await;

    world.fails(attach, "unsupported_operation").await;
    world.fails(create, "unsupported_operation").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_ticket_is_closed_on_its_platform_and_found_no_more() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("To be deleted").await;
    world.succeeds(create).await;

    let delete = world
        .publish("ticket.delete", json!({ "ticket_id": ticket }))
        .await;
    let event = world.succeeds(delete).await;
    assert_eq!(event["data"]["result"]["deleted"], true, "{event:#}");

    let ledger = world.jira();
    assert_eq!(ledger.issues.len(), 1, "closed, not erased");
    assert_eq!(ledger.issues[0].status_category, "done");
    let row = world
        .query(
            "SELECT is_deleted, deleted_at IS NOT NULL, status::text, closed_at IS NOT NULL \
                FROM tickets",
            &[],
        )
        .await;
    assert!(row[0].get::<_, bool>(0) && row[0].get::<_, bool>(1) && row[0].get::<_, bool>(3));
    assert_eq!(row[0].get::<_, &str>(2), "closed");
    let again = json!({ "ticket_id": ticket, "title": "Again", "description": "",
        "integration_id": world.integration });
    let again = world.publish("ticket.create", again).await;
    world.fails(again, "conflict").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tickets_are_changed_by_a_child_command_each_and_summed_up_once() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut tickets = Vec::new();
    for number in 0..6 {
        let (create, ticket) = world.create(&format!("Ticket {number}")).await;
        world.succeeds(create).await;
        tickets.push(ticket);
    }
    let deleted = world
        .publish("ticket.delete", json!({ "ticket_id": tickets[5] }))
        .await;
    world.succeeds(deleted).await;
    // Nobody waits half a minute for a ticket that once was.
    world
        .query("UPDATE commands SET received_at = now() RETURNING id", &[])
        .await;

    let mut ids: Vec<String> = tickets[..5].iter().map(Uuid::to_string).collect();
    ids.push(ids[0].clone());
    let bulk = json!({ "ticket_ids": ids, "updates": { "priority": "critical", "tags": ["swept"] },
        "reason": "sweep" });
    let bulk = world.publish("ticket.bulk_update", bulk).await;
    let event = world.succeeds(bulk).await;

    let result = &event["data"]["result"];
    assert_eq!(
        (
            &result["total"],
            &result["succeeded"],
            &result["failed"],
            &result["success"]
        ),
        (&json!(5), &json!(5), &json!(0), &json!(true)),
        "{event:#}"
    );
    for (ticket, item) in tickets.iter().zip(result["tickets"].as_array().unwrap()) {
        let child = Uuid::new_v5(&bulk, ticket.to_string().as_bytes());
        assert_eq!(item["command_id"], child.to_string());
        let told = world.succeeds(child).await;
        assert_eq!(told["type"], "ticket.update.succeeded");
    }
    let swept = world
        .count("SELECT count(*) FROM tickets WHERE priority = 'critical' AND tags ? 'swept'")
        .await;
    assert_eq!(swept, 5);
    assert_eq!(
        world
            .count(
                "SELECT count(*) FROM command_attempts a JOIN commands c ON c.id = a.command_id \
                            WHERE c.type = 'ticket.bulk_update'"
            )
            .await,
        1,
        "waiting spends no attempt"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_sets_a_status_and_tells_which_tickets_it_could_not() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("There").await;
    world.succeeds(create).await;
    let nowhere = Uuid::new_v4();

    let bulk = json!({ "ticket_ids": [ticket, nowhere], "updates": { "status": "closed",
        "resolution_summary": "Done." } });
    let bulk = world.publish("ticket.bulk_update", bulk).await;
    // It would be waited for, as any ticket that is not known: made older, it is not.
    wait_for("the children to be there", async || {
        let sql = "UPDATE commands SET received_at = received_at - interval '1 minute' \
                   WHERE parent IS NOT NULL RETURNING id";
        (world.query(sql, &[]).await.len() == 2).then_some(())
    })
    .await;
    let event = world.succeeds(bulk).await;

    let result = &event["data"]["result"];
    assert_eq!(
        (&result["succeeded"], &result["failed"], &result["success"]),
        (&json!(1), &json!(1), &json!(false))
    );
    assert_eq!(
        result["tickets"][1]["error"]["code"], "ticket_not_found",
        "{event:#}"
    );
    assert_eq!(world.jira().issues[0].status_category, "done");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_that_no_child_could_carry_is_refused_as_a_whole() {
    let world = World::new().await;
    let worker = world.worker().await;
    let ids: Vec<Uuid> = (0..501).map(|_| Uuid::new_v4()).collect();

    for (data, field) in [
        (
            json!({ "ticket_ids": [], "updates": { "title": "x" } }),
            "ticket_ids",
        ),
        (
            json!({ "ticket_ids": ids, "updates": { "title": "x" } }),
            "ticket_ids",
        ),
        (
            json!({ "ticket_ids": ["x"], "updates": { "title": "x" } }),
            "ticket_ids[0]",
        ),
        (
            json!({ "ticket_ids": [ids[0]], "updates": { "priority": "urgent" } }),
            "updates.priority",
        ),
        (
            json!({ "ticket_ids": [ids[0]], "updates": { "status": "closed" } }),
            "updates.resolution_summary",
        ),
        (
            json!({ "ticket_ids": [ids[0]], "updates": { "status": "open", "title": "x" } }),
            "updates.title",
        ),
        (
            json!({ "ticket_ids": [ids[0]], "updates": { "titel": "x" } }),
            "updates.titel",
        ),
        (json!({ "ticket_ids": [ids[0]] }), "updates"),
    ] {
        let bulk = world.publish("ticket.bulk_update", data).await;
        let event = world.outcome(bulk).await;
        assert_eq!(event["data"]["outcome"], "rejected", "{event:#}");
        assert!(
            event["data"]["error"]["fields"][field].is_string(),
            "{field}: {event:#}"
        );
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_whose_worker_dies_sums_up_under_the_next_one() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut tickets = Vec::new();
    for number in 0..8 {
        let (create, ticket) = world.create(&format!("Ticket {number}")).await;
        world.succeeds(create).await;
        tickets.push(ticket);
    }
    world.fault(
        json!({ "kind": "delay", "delay_ms": 700, "operation": "update_issue", "times": 0 }),
    );
    let bulk = world
        .publish(
            "ticket.bulk_update",
            json!({ "ticket_ids": tickets, "updates": { "title": "New" } }),
        )
        .await;
    wait_for("children under way", async || {
        let sql = "SELECT count(*) FROM commands WHERE parent IS NOT NULL AND state = 'running'";
        (world.count(sql).await > 0).then_some(())
    })
    .await;
    worker.kill();
    world.clear_faults();
    let worker = world.worker().await;

    let event = world.succeeds(bulk).await;

    assert_eq!(event["data"]["result"]["succeeded"], 8, "{event:#}");
    assert_eq!(
        world
            .count("SELECT count(*) FROM commands WHERE parent IS NOT NULL")
            .await,
        8
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_somebody_else_makes_while_the_platform_is_asked_is_bound_and_not_refused() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.fault(
        json!({ "kind": "delay", "delay_ms": 1500, "delay_at": "after_store",
        "operation": "create_issue", "times": 2 }),
    );
    let (create, ticket) = world.create("Made twice").await;
    let (beside, _) = world.create("Beside it").await;
    wait_for("the platform to be asked", async || {
        (!world.jira().issues.is_empty()).then_some(())
    })
    .await;
    let made = "INSERT INTO tickets (id, organization_id, title, description, status, priority, \
                category, urgency, \
                source_channel, business_impact, communication_count, escalation_level, \
                sla_breached, \
                last_activity_at, \
                created_at, updated_at, is_deleted) VALUES ($1, $2, 'Theirs', 'd', 'new', 'low', \
                'general', 'low', 'api', 'low', \
                0, 0, false, now(), now(), now(), false)";
    world.query(made, &[&ticket, &world.organization]).await;

    world.succeeds(create).await;
    world.succeeds(beside).await;

    let rows =
        "SELECT title, external_ticket_id IS NOT NULL, integration_id FROM tickets WHERE id = $1";
    let rows = world.query(rows, &[&ticket]).await;
    assert_eq!(rows[0].get::<_, &str>(0), "Theirs", "what they wrote stays");
    assert!(rows[0].get::<_, bool>(1));
    assert_eq!(rows[0].get::<_, Uuid>(2), world.integration);
    world.close_the_ledger(&[create, beside]).await;
    assert!(worker.stop().await.success());
}
