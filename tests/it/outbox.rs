//! Events between the commit and the broker's confirm.

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use ticketwire::broker;
use ticketwire::store::Store;
use uuid::Uuid;

use crate::support::{World, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_retry_takes_out_of_a_batch_stays_out_when_the_rest_is_put_back() {
    let world = World::new().await;
    let store = Store::new(&world.database_url.as_str().into(), 1, "tests").unwrap();
    let (batch, owner) = (Uuid::now_v7(), Uuid::new_v4());
    let [sent, retried, unsent] = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    // Three events are on their way when `command retry` makes a row of its own of one of them.
    let ids = vec![sent, retried, unsent];
    let insert = "INSERT INTO outbox_batches (id, owner, command_ids) VALUES ($1, $2, $3)";
    world.query(insert, &[&batch, &owner, &ids]).await;
    let take = "UPDATE outbox_batches SET command_ids = array_remove(command_ids, $1)";
    world.query(take, &[&retried]).await;

    // The broker confirms the first only.
    let rest = [retried, unsent];
    store.keep_of_batch(batch, &rest).await.unwrap();

    let left = world
        .query("SELECT command_ids, owner FROM outbox_batches", &[])
        .await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].get::<_, Vec<Uuid>>(0), [unsent]);
    assert_eq!(
        left[0].get::<_, Option<Uuid>>(1),
        None,
        "it is the outbox poller's now"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whom_a_dead_process_left_behind_a_settlement_is_answered_by_the_next_one() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, _) = world.create("Answered late").await;
    let event = world.succeeds(create).await;
    assert!(worker.stop().await.success());
    let url = world.amqp_url.as_str().into();
    let connection = broker::connect_tool(&url, &world.topology).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let own = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("".into(), own, FieldTable::default());
    let queue = declared.await.unwrap().name().as_str().to_owned();
    // The settlement was committed, and the process died before it came to the callers.
    let insert =
        "INSERT INTO command_replies (command_id, reply_to, correlation_id) VALUES ($1, $2, 'c-1')";
    world.query(insert, &[&create, &queue]).await;

    let worker = world.worker().await;

    let answer = wait_for("the answer", async || {
        let no_ack = BasicGetOptions { no_ack: true };
        let got = channel.basic_get(queue.as_str().into(), no_ack).await;
        got.unwrap()
    })
    .await;
    let body: Value = serde_json::from_slice(&answer.data).unwrap();
    assert_eq!(body, event);
    let correlation = answer.properties.correlation_id().as_ref();
    assert_eq!(correlation.map(|id| id.as_str()), Some("c-1"));
    world.quiet().await;
    assert!(worker.stop().await.success());
}
