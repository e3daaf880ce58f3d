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
    let body = json!({ "transition": { "id": done["id"] }, "fields": { "resolution": { "name": "Done" } } });
    let (status, _) = http_json("POST", &format!("{issue}/transitions"), &body).await;
    assert_eq!(status, 204);
    let theirs = json!({ "fields": { "project": { "key": "SUP" }, "summary": "Theirs", "issuetype": { "name": "Task" } } });
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
