//! What is gone on the platform: told where it is sure, and of single items only.

use serde_json::{Value, json};

use crate::support::{SITE, World, http_json};
use crate::sync::{known, status};
use crate::sync_steps::{bind, sync, theirs};

async fn delete(world: &World, key: &str) {
    let url = format!("{}/rest/api/3/issue/{key}", world.sandbox.url(SITE));
    assert_eq!(http_json("DELETE", &url, &Value::Null).await.0, 204);
}

async fn full(world: &World) -> Value {
    let run = sync(world, json!({ "sync_type": "full" })).await;
    world.succeeds(run).await["data"]["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_a_thousand_are_deleted_and_six_hundred_are_not_believed() {
    let world = World::new().await;
    let worker = world.worker().await;
    let keys = theirs(&world, 1_000).await;
    bind(&world, &keys).await;
    for key in &keys[..3] {
        delete(&world, key).await;
    }
    let run = sync(&world, json!({})).await;
    let event = world.succeeds(run).await;
    let counts = &event["data"]["result"]["counts"];
    assert_eq!(
        counts["deleted"], 0,
        "an incremental one does not miss: {event:#}"
    );

    let result = full(&world).await;
    assert_eq!(result["counts"]["deleted"], 3, "{result:#}");
    assert_eq!(result["counts"]["seen"], 997, "{result:#}");
    assert_eq!(result["errors"], json!([]), "{result:#}");
    for key in &keys[..3] {
        let told = world
            .told("ticket.external.deleted", |d| {
                d["external_ticket_id"] == key.as_str()
            })
            .await;
        assert_eq!(
            told["data"]["deleted"],
            json!({ "kind": "deleted", "into": null }),
            "{told:#}"
        );
        assert!(told["data"]["ticket_id"].is_string(), "{told:#}");
        assert_eq!(told["data"]["old_status"], "new", "{told:#}");
    }
    let new = "SELECT count(*) FROM tickets WHERE status = 'new' AND NOT is_deleted";
    assert_eq!(world.count(new).await, 1_000, "they are kept as they are");
    let gone = "SELECT count(*) FROM ticket_externals \
                WHERE gone = 'deleted' AND gone_at IS NOT NULL";
    assert_eq!(world.count(gone).await, 3);
    // Once is enough.
    let result = full(&world).await;
    assert_eq!(result["counts"]["deleted"], 0, "{result:#}");

    for key in &keys[3..603] {
        delete(&world, key).await;
    }
    let asked = world.jira().count("get_issue").received;
    let result = full(&world).await;
    assert_eq!(result["counts"]["deleted"], 0, "{result:#}");
    assert_eq!(result["errors"][0]["code"], "many_missing", "{result:#}");
    let message = result["errors"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("600 of 997 items"), "{message}");
    assert_eq!(world.jira().count("get_issue").received, asked);
    assert_eq!(world.count(gone).await, 3);
    assert_eq!(world.told_count("ticket.external.deleted"), 3);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_closed_with_its_item_where_the_integration_says_so() {
    let world = World::new().await;
    let worker = world.worker().await;
    let change = |value: &str| {
        json!({ "integration_id": world.integration,
            "settings": { "on_external_delete": value } })
    };
    let wrong = world.publish("integration.update", change("burn")).await;
    let event = world.fails(wrong, "validation_failed").await;
    let text = event.to_string();
    assert!(text.contains("must be keep or close"), "{text}");
    let update = world.publish("integration.update", change("close")).await;
    world.succeeds(update).await;
    let (ticket, key) = known(&world, "Soon gone").await;
    let (other, _) = known(&world, "Stays").await;
    delete(&world, &key).await;

    let result = full(&world).await;

    assert_eq!(result["counts"]["deleted"], 1, "{result:#}");
    assert_eq!(status(&world, ticket).await, "closed");
    assert_eq!(status(&world, other).await, "new");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_whose_ticket_we_have_deleted_is_not_told_as_a_foreign_one() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (ticket, _) = known(&world, "Deleted with us").await;
    let data = json!({ "ticket_id": ticket });
    let deleted = world.publish("ticket.delete", data).await;
    world.succeeds(deleted).await;

    for kind in ["incremental", "full"] {
        let run = sync(&world, json!({ "sync_type": kind })).await;
        let event = world.succeeds(run).await;
        let counts = &event["data"]["result"]["counts"];
        assert_eq!(
            (&counts["seen"], &counts["unknown"], &counts["deleted"]),
            (&json!(1), &json!(0), &json!(0)),
            "{event:#}"
        );
    }
    assert_eq!(world.told_count("ticket.external.created"), 0);
    assert_eq!(world.told_count("ticket.external.deleted"), 0);
    drop(worker);
}
