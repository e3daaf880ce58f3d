//! What a platform has of its own: its fields, and tickets that changed there.

use serde_json::{Value, json};

use crate::support::{SITE, World, http_json, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_a_platform_are_listed_and_searched() {
    let world = World::new().await;
    let worker = world.worker().await;

    let all = world
        .ask(
            "integration.fields",
            json!({ "integration_id": world.integration }),
        )
        .await;
    let found = world
        .ask(
            "integration.fields",
            json!({ "integration_id": world.integration, "search": "PRIOR" }),
        )
        .await;

    let ids = |answer: &Value| -> Vec<String> {
        let fields = answer["data"]["result"]["fields"].as_array();
        let fields = fields
            .unwrap_or_else(|| panic!("{answer:#} {}", worker.log()))
            .iter();
        fields
            .map(|field| field["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(ids(&all).contains(&"summary".to_owned()), "{all:#}");
    assert_eq!(ids(&found), ["priority"]);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_brings_what_changed_on_the_platform_into_our_tickets_once() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Watched").await;
    let key =
        world.succeeds(create).await["data"]["result"]["integration_result"]["external_ticket_id"]
            .clone();
    let site = world.sandbox.url(SITE);
    let issue = format!("{site}/rest/api/3/issue/{}", key.as_str().unwrap());
    let (_, transitions) = http_json("GET", &format!("{issue}/transitions"), &Value::Null).await;
    let offered = transitions["transitions"].as_array().unwrap();
    let done = offered
        .iter()
        .find(|t| t["to"]["statusCategory"]["key"] == "done")
        .unwrap();
    let body = json!({ "transition": { "id": done["id"] },
        "fields": { "resolution": { "name": "Done" } } });
    let (status, _) = http_json("POST", &format!("{issue}/transitions"), &body).await;
    assert_eq!(status, 204);
    let theirs = json!({ "fields": { "project": { "key": "SUP" }, "summary": "Theirs",
        "issuetype": { "name": "Task" } } });
    let (status, _) = http_json("POST", &format!("{site}/rest/api/3/issue"), &theirs).await;
    assert_eq!(status, 201);

    let dry = world
        .publish(
            "integration.sync",
            json!({ "integration_id": world.integration, "dry_run": true }),
        )
        .await;
    let event = world.succeeds(dry).await;
    assert_eq!(event["data"]["result"]["counts"]["updated"], 1, "{event:#}");
    assert_eq!(
        world
            .text("SELECT status::text FROM tickets WHERE id = $1", &[&ticket])
            .await
            .as_deref(),
        Some("new")
    );

    let sync = world
        .publish(
            "integration.sync",
            json!({ "integration_id": world.integration }),
        )
        .await;
    let event = world.succeeds(sync).await;
    let counts = &event["data"]["result"]["counts"];
    assert_eq!(
        (&counts["seen"], &counts["updated"], &counts["unknown"]),
        (&json!(2), &json!(1), &json!(1)),
        "{event:#}"
    );
    let status = world
        .text("SELECT status::text FROM tickets WHERE id = $1", &[&ticket])
        .await;
    assert_eq!(status.as_deref(), Some("resolved"));
    let told = world
        .told("ticket.external.updated", |d| {
            d["ticket_id"] == ticket.to_string()
        })
        .await;
    assert_eq!(told["data"]["status"], "resolved");
    world
        .told("ticket.external.created", |d| d["title"] == "Theirs")
        .await;

    let again = world
        .publish(
            "integration.sync",
            json!({ "integration_id": world.integration }),
        )
        .await;
    let event = world.succeeds(again).await;
    assert_eq!(event["data"]["result"]["counts"]["updated"], 0, "{event:#}");
    assert_eq!(world.told_count("ticket.external.updated"), 1);
    assert_eq!(
        world.told_count("ticket.external.created"),
        1,
        "the same change seen again is the same event"
    );
    let out = world
        .publish(
            "integration.sync",
            json!({ "integration_id": world.integration, "direction": "outbound" }),
        )
        .await;
    world.fails(out, "unsupported_operation").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_on_the_schedule_is_a_command_like_any_other() {
    let world = World::new().await;
    let sql = "UPDATE integrations SET sync_enabled = true RETURNING id";
    world.query(sql, &[]).await;
    world
        .query(
            "INSERT INTO integration_schedule VALUES ($1, 'sync', now()) RETURNING task",
            &[&world.integration],
        )
        .await;
    let one = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "one")])
        .await;
    let two = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "two")])
        .await;

    wait_for("the sync to have run", async || {
        let sql = "SELECT state FROM commands WHERE type = 'integration.sync'";
        (world.text(sql, &[]).await.as_deref() == Some("succeeded")).then_some(())
    })
    .await;

    assert_eq!(world.count("SELECT count(*) FROM commands").await, 1);
    let row = world.integration_row(world.integration).await;
    assert!(row["last_sync_at"].is_string(), "{row:#}");
    drop((one, two));
}

/// Moves an issue to a status, as a person does.
pub(crate) async fn put(world: &World, key: &str, transition: &str) {
    let url = format!(
        "{}/rest/api/3/issue/{key}/transitions",
        world.sandbox.url(SITE)
    );
    let body = match transition {
        "31" => {
            json!({ "transition": { "id": "31" }, "fields": { "resolution": { "name": "Done" } } })
        }
        _ => json!({ "transition": { "id": transition } }),
    };
    assert_eq!(http_json("POST", &url, &body).await.0, 204);
}

pub(crate) async fn status(world: &World, ticket: uuid::Uuid) -> String {
    let sql = "SELECT status::text FROM tickets WHERE id = $1";
    world.text(sql, &[&ticket]).await.unwrap()
}

/// A ticket that is known on both sides, and its key.
pub(crate) async fn known(world: &World, title: &str) -> (uuid::Uuid, String) {
    let (create, ticket) = world.create(title).await;
    let event = world.succeeds(create).await;
    let key = event["data"]["result"]["integration_result"]["external_ticket_id"].clone();
    (ticket, key.as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_on_its_way_is_not_applied_over_what_was_written_meanwhile() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (ticket, key) = known(&world, "Watched").await;
    let (other, others_key) = known(&world, "Beside it").await;
    put(&world, &key, "21").await;
    put(&world, &others_key, "21").await;
    // The page shows both in progress, and comes late.
    world.fault(
        json!({ "kind": "delay", "operation": "search", "delay_ms": 1500,
        "delay_at": "after_store" }),
    );
    let sync = world
        .publish(
            "integration.sync",
            json!({ "integration_id": world.integration }),
        )
        .await;
    wait_for("the page to be asked for", async || {
        (world.jira().count("search").received == 1).then_some(())
    })
    .await;
    let data = json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Mended" });
    let resolve = world.publish("ticket.status", data).await;
    world.succeeds(resolve).await;
    assert!(
        world.events_of(sync).is_empty(),
        "it was on its way meanwhile"
    );

    let event = world.succeeds(sync).await;

    assert_eq!(world.jira().issue(&key).unwrap().status, "Done");
    assert_eq!(status(&world, ticket).await, "resolved", "{event:#}");
    assert_eq!(
        status(&world, other).await,
        "in_progress",
        "the rest is applied: {event:#}"
    );
    world
        .told("ticket.external.updated", |d| {
            d["ticket_id"] == other.to_string()
        })
        .await;
    let told = world.events.all().into_iter().filter(|(_, told)| {
        told["type"] == "ticket.external.updated" && told["data"]["ticket_id"] == ticket.to_string()
    });
    assert_eq!(told.count(), 0, "nothing is told that was not applied");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_written_is_left_to_the_next_sync_which_sees_it() {
    let world = World::new().await;
    // Longer than a sync waits for it.
    for (name, value) in [
        ("TICKETWIRE__DISPATCH__REQUEST_TIMEOUT", "8s"),
        ("TICKETWIRE__DISPATCH__ATTEMPT_TIMEOUT", "10s"),
        ("TICKETWIRE__DISPATCH__LEASE", "12s"),
    ] {
        world.set(name, value);
    }
    let worker = world.worker().await;
    let (ticket, key) = known(&world, "Watched").await;
    put(&world, &key, "21").await;
    let mark = async || world.integration_row(world.integration).await["last_sync_at"].clone();
    let busy = json!({ "kind": "delay", "operation": "update_issue", "delay_ms": 5000 });
    world.fault(busy);
    let data = json!({ "ticket_id": ticket, "title": "Being written" });
    let update = world.publish("ticket.update", data).await;
    world.state(update, "running").await;
    let sync = || {
        world.publish(
            "integration.sync",
            json!({ "integration_id": world.integration }),
        )
    };

    let event = world.succeeds(sync().await).await;
    assert_eq!(event["data"]["result"]["counts"]["put_off"], 1, "{event:#}");
    assert_eq!(status(&world, ticket).await, "new");
    assert_eq!(world.told_count("ticket.external.updated"), 0);
    let reached: chrono::DateTime<chrono::Utc> = serde_json::from_value(mark().await).unwrap();
    world.succeeds(update).await;

    let event = world.succeeds(sync().await).await;
    assert_eq!(event["data"]["result"]["counts"]["updated"], 1, "{event:#}");
    assert_eq!(status(&world, ticket).await, "in_progress");
    let changed = event["time"]
        .as_str()
        .unwrap()
        .parse::<chrono::DateTime<chrono::Utc>>();
    assert!(reached < changed.unwrap());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_was_moved_to_another_project_is_followed() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (ticket, key) = known(&world, "On its way").await;
    let (_, gone) = known(&world, "Deleted there").await;
    let sync = || {
        world.publish(
            "integration.sync",
            json!({ "integration_id": world.integration }),
        )
    };
    world.succeeds(sync().await).await;
    let id = world.jira().issue(&key).unwrap().id.clone();
    let body = json!({ "targetToSourcesMapping": { "OPS,10003": { "issueIdsOrKeys": [id] } } });
    let url = format!("{}/rest/api/3/bulk/issues/move", world.sandbox.url(SITE));
    assert_eq!(http_json("POST", &url, &body).await.0, 201);
    put(&world, "OPS-1", "31").await;

    let event = world.succeeds(sync().await).await;

    assert_eq!(event["data"]["result"]["counts"]["updated"], 1, "{event:#}");
    let row = async || {
        let sql = "SELECT external_ticket_id || ' ' || external_ticket_url || ' ' || \
                   status::text FROM tickets WHERE id = $1";
        world.text(sql, &[&ticket]).await.unwrap()
    };
    let shown = row().await;
    assert!(
        shown.starts_with("OPS-1 ") && shown.ends_with("/browse/OPS-1 resolved"),
        "{shown}"
    );
    let told = world
        .told("ticket.external.updated", |d| {
            d["ticket_id"] == ticket.to_string()
        })
        .await;
    assert_eq!(told["data"]["external_ticket_id"], "OPS-1");

    // One of those asked for by id is gone: the others are seen all the same.
    let url = format!("{}/rest/api/3/issue/{gone}", world.sandbox.url(SITE));
    assert_eq!(http_json("DELETE", &url, &Value::Null).await.0, 204);
    put(&world, "OPS-1", "21").await;
    world.succeeds(sync().await).await;
    assert!(row().await.ends_with(" in_progress"), "{}", row().await);

    // Rows of an older application know the key alone, and an old key still leads to the issue.
    let sql = "UPDATE tickets SET external_ref = NULL, external_ticket_id = $2, \
               updated_at = now() - interval '1 hour' \
               WHERE id = $1 RETURNING id";
    world.query(sql, &[&ticket, &key]).await;
    put(&world, "OPS-1", "41").await;
    world.succeeds(sync().await).await;
    assert!(
        row().await.starts_with("OPS-1 ") && row().await.ends_with(" cancelled"),
        "{}",
        row().await
    );
    let sql = "SELECT external_ref ->> 'issue_id' FROM tickets WHERE id = $1";
    assert_eq!(world.text(sql, &[&ticket]).await, Some(id));
    drop(worker);
}
