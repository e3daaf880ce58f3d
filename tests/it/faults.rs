//! Faults that say nothing: silence, a full queue, an alarm, a process that sleeps through its
//! lease; and storms.

use std::time::Duration;

use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use ticketwire::broker;
use uuid::Uuid;

use crate::support::{
    CutProxy, Message, OwnService, World, command, http_get, output, services, wait_for,
};

/// Short leases, so that a test need not wait for long ones.
const SHORT: [(&str, &str); 3] = [
    ("TICKETWIRE__DISPATCH__REQUEST_TIMEOUT", "400ms"),
    ("TICKETWIRE__DISPATCH__ATTEMPT_TIMEOUT", "800ms"),
    ("TICKETWIRE__DISPATCH__LEASE", "2s"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_repeats_over_two_workers_has_one_effect_each() {
    let world = World::new().await;
    let one = world.worker_with(&[("TICKETWIRE__WORKER__ID", "s1")]).await;
    let two = world.worker_with(&[("TICKETWIRE__WORKER__ID", "s2")]).await;
    world.fault(json!({ "kind": "delay", "delay_ms": 20, "times": 0 }));
    let mut messages = Vec::new();
    let mut ids = Vec::new();
    for number in 0..60 {
        let id = Uuid::now_v7();
        ids.push(id);
        let data = json!({ "title": format!("Storm {number}"), "description": "…",
            "integration_id": world.integration });
        let create = command("ticket.create", id, world.organization, &data);
        // Some next to each other, some far apart.
        messages.push(Message::of(&create));
        messages.push(Message::of(&create));
    }
    let again: Vec<Message> = messages
        .iter()
        .map(|message| Message::new(&message.routing_key, message.body.clone()))
        .collect();

    world.send(&messages).await;
    world.send(&again).await;

    world.close_the_ledger(&ids).await;
    for id in &ids {
        world.succeeds(*id).await;
    }
    assert_eq!(world.jira().issues.len(), ids.len());
    assert_eq!(world.jira().count("create_issue").effective, 60);
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_sleeps_through_its_lease_is_replaced_and_does_no_more_harm() {
    let world = World::new().await;
    for (name, value) in SHORT {
        world.set(name, value);
    }
    let mut sleeper = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "sleeper")])
        .await;
    world.fault(json!({ "kind": "delay", "delay_ms": 300, "times": 0 }));
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(world.create("Asleep").await.0);
    }
    wait_for("work in flight", async || {
        (world
            .count("SELECT count(*) FROM commands WHERE state = 'running'")
            .await
            >= 10)
            .then_some(())
    })
    .await;
    sleeper.signal("STOP");

    let other = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "other")])
        .await;
    wait_for("the sleeper's work to be taken over", async || {
        let owned = "SELECT count(*) FROM workers WHERE id = 'sleeper'";
        (world.count(owned).await == 0).then_some(())
    })
    .await;
    sleeper.signal("CONT");
    let status = sleeper.ended().await;

    assert_eq!(status.code(), Some(1), "{}", sleeper.log());
    world.clear_faults();
    world.close_the_ledger(&ids).await;
    for id in &ids {
        world.succeeds(*id).await;
    }
    assert_eq!(world.jira().issues.len(), ids.len());
    assert!(other.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_is_noticed_and_nothing_is_lost() {
    let world = World::new().await;
    let (proxy, through) = CutProxy::through(&world.database_url).await;
    let worker = world.worker_with(&[("DATABASE_URL", &through)]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.create("Before").await.0);
    }

    proxy.freeze(true);
    for _ in 0..20 {
        ids.push(world.create("Into the silence").await.0);
    }
    wait_for("the worker to say that it is not ready", async || {
        (!worker.is_ready().await).then_some(())
    })
    .await;
    let metric = async |line: &str| {
        wait_for(line, async || {
            let (_, metrics) = http_get(worker.address, "/metrics").await?;
            metrics.contains(line).then_some(())
        })
        .await;
    };
    metric("ticketwire_database_up 0").await;
    proxy.freeze(false);
    metric("ticketwire_database_up 1").await;

    world.close_the_ledger(&ids).await;
    assert_eq!(world.jira().issues.len(), ids.len());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_noticed_and_nothing_is_lost() {
    let world = World::new().await;
    let (proxy, through) = CutProxy::through(&world.amqp_url).await;
    let through = format!("{through}?heartbeat=2");
    let worker = world.worker_with(&[("AMQP_URL", &through)]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.create("Before").await.0);
    }

    proxy.freeze(true);
    for _ in 0..20 {
        ids.push(world.create("Into the silence").await.0);
    }
    wait_for("the worker to say that it is not ready", async || {
        (!worker.is_ready().await).then_some(())
    })
    .await;
    proxy.freeze(false);

    world.close_the_ledger(&ids).await;
    assert_eq!(world.jira().issues.len(), ids.len());
    assert!(worker.is_ready().await);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_a_dead_dashboard_holds_up_events_and_no_command() {
    let world = World::new().await;
    let connection = broker::connect_tool(&world.amqp_url.as_str().into(), &world.topology)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{}.dashboard", world.topology.prefix());
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(3));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    channel
        .queue_declare(
            queue.as_str().into(),
            QueueDeclareOptions::durable(),
            arguments,
        )
        .await
        .unwrap();
    channel
        .queue_bind(
            queue.as_str().into(),
            world.topology.events().into(),
            "#.succeeded.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let worker = world.worker().await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(world.create("Nobody reads").await.0);
    }

    wait_for("every command to be done all the same", async || {
        let done = "SELECT count(*) FROM commands WHERE state = 'succeeded'";
        (world.count(done).await == 30).then_some(())
    })
    .await;
    assert!(
        world.count("SELECT count(*) FROM unsent_events").await > 0,
        "the events wait"
    );
    assert!(worker.is_ready().await);

    channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    world.close_the_ledger(&ids).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_alarm_lets_commands_in_and_holds_events_back() {
    let rabbitmq = OwnService::rabbitmq();
    let world = World::on(&services().0, &rabbitmq.url).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(world.create("Alarmed").await.0);
    }
    rabbitmq.rabbitmqctl("set_vm_memory_high_watermark 0.00001");

    let worker = world.spawn_worker(&[]);
    wait_for("every command to be done all the same", async || {
        let done = "SELECT count(*) FROM commands WHERE state = 'succeeded'";
        (world.count(done).await == 30).then_some(())
    })
    .await;
    assert!(
        world.count("SELECT count(*) FROM unsent_events").await > 0,
        "the events wait"
    );
    let shown = output(&world.environment(), &["doctor"]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("alarm is on"), "{shown}");
    rabbitmq.rabbitmqctl("set_vm_memory_high_watermark 0.4");

    world.close_the_ledger(&ids).await;
    assert_eq!(world.jira().issues.len(), ids.len());
    let worker = worker.ready().await;
    assert!(
        tokio::time::timeout(Duration::from_secs(30), worker.stop())
            .await
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_away_for_a_while_is_the_databases_fault_and_no_commands() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (before, _) = world.create("Before").await;
    world.succeeds(before).await;

    // As a lock, a revoked right, a restore in progress: nothing that a command could help.
    world
        .query("ALTER TABLE commands RENAME TO commands_away", &[])
        .await;
    let (meanwhile, _) = world.create("Meanwhile").await;
    wait_for("the worker to say that it waits", async || {
        worker
            .log()
            .contains("cannot make commands durable yet")
            .then_some(())
    })
    .await;
    world
        .query("ALTER TABLE commands_away RENAME TO commands", &[])
        .await;

    world.succeeds(meanwhile).await;
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
    world.close_the_ledger(&[before, meanwhile]).await;
    drop(worker);
}
