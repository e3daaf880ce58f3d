//! What a broker may do to a worker: cut, close, cancel, go away. The worker goes on by itself.

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::json;
use ticketwire::broker;

use crate::support::{CutProxy, OwnService, World, services, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_are_made_again_and_nothing_is_lost() {
    let world = World::new().await;
    let (_, amqp) = services();
    let (proxy, through) = CutProxy::through(&amqp).await;
    let worker = world.worker_with(&[("AMQP_URL", &through)]).await;
    let mut commands = Vec::new();

    for _ in 0..8 {
        for _ in 0..15 {
            commands.push(world.create("Cut off").await.0);
        }
        proxy.cut();
    }
    proxy.shut();
    commands.push(world.create("While it was away").await.0);
    wait_for("the worker to say that it is not ready", async || {
        (!worker.is_ready().await).then_some(())
    })
    .await;
    proxy.open();
    world.close_the_ledger(&commands).await;

    assert_eq!(world.jira().issues.len(), commands.len());
    assert!(worker.is_ready().await);
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_and_consumed_again() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (first, _) = world.create("Before").await;
    world.succeeds(first).await;

    let connection = broker::connect_tool(&world.amqp_url.as_str().into(), &world.topology)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{}.tickets", world.topology.prefix());
    channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    // The server cancels the consumer without an error: the worker must notice by itself.
    wait_for("the queue to be consumed again", async || {
        let depth = broker::queue_depth(&connection, &queue).await.ok()??;
        (depth.1 > 0).then_some(())
    })
    .await;

    let (second, _) = world.create("After").await;
    world.succeeds(second).await;
    world.close_the_ledger(&[first, second]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_stopped_and_started_finds_the_worker_again() {
    let mut rabbitmq = OwnService::rabbitmq();
    let world = World::on(&services().0, &rabbitmq.url).await;
    let worker = world.worker().await;
    let mut commands = Vec::new();
    for _ in 0..30 {
        commands.push(world.create("Before the fall").await.0);
    }

    rabbitmq.rabbitmqctl("close_all_connections test");
    for _ in 0..10 {
        commands.push(world.create("In between").await.0);
    }
    rabbitmq.stop("");
    wait_for("the worker to say that it is not ready", async || {
        (!worker.is_ready().await).then_some(())
    })
    .await;
    rabbitmq.start();
    for _ in 0..10 {
        commands.push(world.create("After the rise").await.0);
    }
    world.close_the_ledger(&commands).await;

    assert_eq!(world.jira().issues.len(), commands.len());
    assert!(worker.is_ready().await);
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_paused_is_noticed_and_goes_on_where_it_was() {
    let rabbitmq = OwnService::rabbitmq();
    let world = World::on(&services().0, &rabbitmq.url).await;
    let url = format!("{}?heartbeat=2", rabbitmq.url);
    let worker = world.worker_with(&[("AMQP_URL", &url)]).await;
    world.fault(json!({ "kind": "delay", "delay_ms": 500, "times": 0 }));
    let mut commands = Vec::new();
    for _ in 0..30 {
        commands.push(world.create("Before the pause").await.0);
    }
    wait_for("commands under way", async || {
        let running = "SELECT count(*) FROM commands WHERE state = 'running'";
        (world.count(running).await > 0).then_some(())
    })
    .await;

    rabbitmq.signal("STOP");
    wait_for("the worker to say that it is not ready", async || {
        (!worker.is_ready().await).then_some(())
    })
    .await;
    // What was taken goes on without it; its events wait.
    wait_for("every command to be done all the same", async || {
        let done = "SELECT count(*) FROM commands WHERE state = 'succeeded'";
        (world.count(done).await == 30).then_some(())
    })
    .await;
    rabbitmq.signal("CONT");
    commands.push(world.create("After the pause").await.0);

    world.close_the_ledger(&commands).await;
    assert_eq!(world.jira().issues.len(), commands.len());
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_queue_takes_is_not_taken_for_sent() {
    let world = World::new().await;
    let connection = broker::connect_tool(&world.amqp_url.as_str().into(), &world.topology)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let worker = world.worker().await;
    let (before, _) = world.create("Before").await;
    world.succeeds(before).await;

    channel
        .queue_unbind(
            world.topology.events_log().as_str().into(),
            world.topology.events().into(),
            "#".into(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let (unheard, _) = world.create("Nobody hears of it").await;

    // It came back, so the topology was declared anew, and it was published again.
    world.succeeds(unheard).await;
    world.quiet().await;
    assert!(worker.log().contains("unroutable"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_deleted_closes_the_channel_softly_and_is_declared_again() {
    let world = World::new().await;
    let connection = broker::connect_tool(&world.amqp_url.as_str().into(), &world.topology)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let worker = world.worker().await;
    let (before, _) = world.create("Before").await;
    world.succeeds(before).await;
    world.quiet().await;

    // Publishing to it now is answered by closing the channel (404), not the connection.
    channel
        .exchange_delete(
            world.topology.events().into(),
            ExchangeDeleteOptions::default(),
        )
        .await
        .unwrap();
    let (after, _) = world.create("After").await;

    world.succeeds(after).await;
    world.close_the_ledger(&[before, after]).await;
    assert!(worker.is_ready().await);
    drop(worker);
}

/// A delivery that is not acknowledged within the broker's `consumer_timeout` (30 minutes unless
/// configured) costs the channel, over and over for as long as the database holds up the enqueue.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_the_broker_takes_back_for_being_held_too_long_are_done_once() {
    let rabbitmq = OwnService::rabbitmq();
    // Read when a channel is opened; the tick is how often the broker looks.
    rabbitmq.rabbitmqctl(
        "eval 'application:set_env(rabbit, consumer_timeout, 500), application:set_env(rabbit, \
         channel_tick_interval, 250).'",
    );
    let world = World::on(&services().0, &rabbitmq.url).await;
    let worker = world.worker().await;
    let (before, _) = world.create("Before").await;
    world.succeeds(before).await;
    let client = world.client().await;
    client
        .batch_execute("BEGIN; LOCK TABLE commands IN SHARE MODE")
        .await
        .unwrap();

    let mut commands = vec![before];
    for _ in 0..20 {
        commands.push(world.create("Held too long").await.0);
    }
    wait_for("the broker to take them back more than once", async || {
        let told = worker.log().matches("delivery acknowledgement").count();
        (told >= 2).then_some(())
    })
    .await;
    client.batch_execute("COMMIT").await.unwrap();
    world.close_the_ledger(&commands).await;

    assert_eq!(world.jira().issues.len(), commands.len());
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
    assert!(worker.stop().await.success());
}
