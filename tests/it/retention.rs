//! What is finished and old goes; what is not, stays.

use serde_json::json;

use crate::support::{Message, World, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn old_finished_commands_and_dead_letters_go_and_nothing_else_does() {
    let world = World::new().await;
    let worker = world
        .worker_with(&[
            ("TICKETWIRE__RETENTION__COMMANDS", "10m"),
            ("TICKETWIRE__RETENTION__DEAD_LETTERS", "1h"),
        ])
        .await;
    let (old, old_ticket) = world.create("Old").await;
    world.succeeds(old).await;
    let (young, _) = world.create("Young").await;
    world.succeeds(young).await;
    // Older than either, but not finished.
    world
        .fault(json!({ "kind": "status", "status": 503, "operation": "update_issue", "times": 0 }));
    let update = json!({ "ticket_id": old_ticket, "title": "Still at it" });
    let unfinished = world.publish("ticket.update", update).await;
    world.event(unfinished, "deferred").await;
    world
        .send(&[Message::new("ticket.create", "rubbish")])
        .await;
    wait_for("the dead letter", async || {
        (world.count("SELECT count(*) FROM dead_letters").await == 1).then_some(())
    })
    .await;

    world
        .query(
            "UPDATE commands SET received_at = received_at - interval '1 day', \
             finished_at = finished_at - interval '11 minutes' WHERE id IN ($1, $2)",
            &[&old, &unfinished],
        )
        .await;
    world
        .query(
            "UPDATE dead_letters SET received_at = received_at - interval '61 minutes'",
            &[],
        )
        .await;

    wait_for("the old ones to go", async || {
        let left =
            "SELECT (SELECT count(*) FROM commands) + 10 * (SELECT count(*) FROM dead_letters)";
        (world.count(left).await == 2).then_some(())
    })
    .await;
    let kept = world
        .count("SELECT count(DISTINCT command_id) FROM command_attempts")
        .await;
    assert_eq!(kept, 2, "attempts go with their commands");
    assert_eq!(world.count("SELECT count(*) FROM tickets").await, 2);
    world.state(young, "succeeded").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_gets_through_a_table_of_many_pages() {
    let world = World::new().await;
    // So many rows fill several times the pages that one step looks at.
    world
        .query(
            "INSERT INTO commands (id, arrival, type, organization_id, state, turn, lane, \
             received_at, finished_at, digest, \
             data) SELECT gen_random_uuid(), n, 'ticket.create', gen_random_uuid(), 'succeeded', \
             false, \
             '00000000-0000-0000-0000-000000000000', now() - interval '31 days', \
             now() - interval '31 days', '\\x00', \
             repeat('x', 400) FROM generate_series(1, 12000) n",
            &[],
        )
        .await;
    let pages = world
        .count("SELECT pg_relation_size('commands') / current_setting('block_size')::bigint")
        .await;
    assert!(pages > 500, "{pages}");

    let worker = world.worker().await;

    wait_for("all to go", async || {
        (world.count("SELECT count(*) FROM commands").await == 0).then_some(())
    })
    .await;
    drop(worker);
}
