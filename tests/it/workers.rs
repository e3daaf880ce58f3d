//! Several workers on one queue: order of arrival holds, and all of them carry out what one stores.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Message, OwnService, Worker, World, command, wait_for};

const COMMENTS: usize = 200;

async fn worker(world: &World, id: &str) -> Worker {
    world.worker_with(&[("TICKETWIRE__WORKER__ID", id)]).await
}

/// Publishes comments `c0`, `c1`, … of a ticket in one go, without waiting for anything.
async fn publish_comments(world: &World, ticket: Uuid, count: usize) -> Vec<Uuid> {
    let mut ids = Vec::with_capacity(count);
    let mut messages = Vec::with_capacity(count);
    for number in 0..count {
        let id = Uuid::now_v7();
        let data = json!({ "ticket_id": ticket, "body": format!("c{number}") });
        let message = command("ticket.comment", id, world.organization, &data);
        messages.push(Message::of(&message));
        ids.push(id);
    }
    world.send(&messages).await;
    ids
}

/// The comments of the only issue, in the order in which the platform took them.
fn taken(world: &World) -> Vec<String> {
    fn texts(value: &Value, found: &mut String) {
        match value {
            Value::String(text) => found.push_str(text),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(map) => {
                for (name, value) in map {
                    if name == "text" || name == "content" {
                        texts(value, found);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let ledger = world.jira();
    let comments = ledger.issues[0].comments.iter();
    comments
        .map(|comment| {
            let mut text = String::new();
            texts(&comment.body, &mut text);
            text
        })
        .collect()
}

fn in_order(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}

/// How many of the workers have carried something out.
async fn hands(world: &World) -> i64 {
    world
        .count("SELECT count(DISTINCT worker) FROM command_attempts")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_keep_the_order_of_one_tickets_commands() {
    let world = World::new().await;
    let workers = [
        worker(&world, "one").await,
        worker(&world, "two").await,
        worker(&world, "three").await,
    ];
    // The create is put off, so that the comments have to wait for it as well.
    world.fault(json!({ "kind": "status", "status": 503, "operation": "create_issue" }));
    let (create, ticket) = world.create("Order").await;

    let mut commands = publish_comments(&world, ticket, COMMENTS).await;
    commands.push(create);

    world.close_the_ledger(&commands).await;
    assert_eq!(taken(&world), in_order(COMMENTS));
    drop(workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_holds_while_the_worker_that_stores_is_killed_again_and_again() {
    let world = World::new().await;
    let mut first = worker(&world, "k0").await;
    let mut second = worker(&world, "k1").await;
    let (create, ticket) = world.create("Order").await;
    world.succeeds(create).await;

    let mut commands = vec![create];
    let mut from = 0;
    for round in 0..4u32 {
        // Whichever of the two stores, it dies now with deliveries in hand; the other takes over.
        let mut ids = Vec::new();
        let mut messages = Vec::new();
        for number in from..from + COMMENTS / 4 {
            let id = Uuid::now_v7();
            let data = json!({ "ticket_id": ticket, "body": format!("c{number}") });
            let message = command("ticket.comment", id, world.organization, &data);
            messages.push(Message::of(&message));
            ids.push(id);
        }
        from += COMMENTS / 4;
        let (half, rest) = messages.split_at(messages.len() / 2);
        world.send(half).await;
        let dying = std::mem::replace(&mut first, second);
        dying.kill();
        world.send(rest).await;
        second = worker(&world, &format!("k{}", round + 2)).await;
        commands.extend(ids);
    }

    world.close_the_ledger(&commands).await;
    assert_eq!(taken(&world), in_order(COMMENTS));
    drop((first, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_holds_while_the_worker_that_stores_is_paused_past_its_lease() {
    // Its own broker: the pause is over for the others when the broker gives the connection up.
    let broker = OwnService::rabbitmq();
    let (database, _) = crate::support::services();
    let world = World::on(&database, &broker.url).await;
    let url = format!("{}?heartbeat=2", broker.url);
    let settings = |id: &'static str| {
        [
            ("TICKETWIRE__WORKER__ID", id.to_owned()),
            ("AMQP_URL", url.clone()),
        ]
    };
    let start = async |id: &'static str| {
        let settings = settings(id);
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        world.worker_with(&settings).await
    };
    // The first that consumes is the one that stores.
    let storing = start("storing").await;
    let other = start("other").await;
    let (create, ticket) = world.create("Order").await;
    world.succeeds(create).await;

    let mut commands = vec![create];
    commands.extend(publish_comments(&world, ticket, COMMENTS / 2).await);
    storing.signal("STOP");
    let began = Instant::now();
    let last = {
        let mut ids = Vec::new();
        for number in COMMENTS / 2..COMMENTS {
            let data = json!({ "ticket_id": ticket, "body": format!("c{number}") });
            ids.push(world.publish("ticket.comment", data).await);
        }
        let last = *ids.last().unwrap();
        commands.extend(ids);
        last
    };
    // The other has taken over the queue, and in time what the paused one was running.
    wait_for("the last command to be stored", async || {
        let sql = "SELECT state FROM commands WHERE id = $1";
        world.text(sql, &[&last]).await
    })
    .await;
    println!("{:?} until another worker stores", began.elapsed());
    storing.signal("CONT");

    world.close_the_ledger(&commands).await;
    assert_eq!(taken(&world), in_order(COMMENTS));
    drop((storing, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_stores_and_all_carry_out() {
    const COMMANDS: usize = 240;
    let world = World::new().await;
    let delay =
        json!({ "kind": "delay", "delay_ms": 200, "operation": "create_issue", "times": 0 });
    world.fault(delay);
    let took = async |commands: Vec<Uuid>| {
        world.close_the_ledger(&commands).await;
        let sql = "SELECT (extract(epoch FROM max(finished_at) - min(received_at)) * \
                   1000)::bigint FROM commands \
                   WHERE id = ANY($1)";
        let took: i64 = world.query(sql, &[&commands]).await[0].get(0);
        Duration::from_millis(took.unsigned_abs())
    };
    let publish = async || {
        let mut ids = Vec::new();
        let mut messages = Vec::new();
        for number in 0..COMMANDS {
            let id = Uuid::now_v7();
            let data = json!({
                "title": format!("t{number}"), "description": "d",
                "integration_id": world.integration,
            });
            messages.push(Message::of(&command(
                "ticket.create",
                id,
                world.organization,
                &data,
            )));
            ids.push(id);
        }
        world.send(&messages).await;
        ids
    };

    let one = worker(&world, "one").await;
    let alone = took(publish().await).await;
    assert_eq!(hands(&world).await, 1);
    let two = worker(&world, "two").await;
    wait_for("the first to know of the second", async || {
        let peers = "SELECT count(*) FROM workers WHERE lease_until > now()";
        (world.count(peers).await == 2).then_some(())
    })
    .await;
    let together = took(publish().await).await;

    assert_eq!(hands(&world).await, 2, "only one worker carries out");
    println!("alone {alone:?}, together {together:?}");
    // Alone, 240 / 16 in flight × 200 ms are 3 s. How much faster two are is measured by
    // `scripts/bench`; here the machine runs other tests, too.
    let least = "SELECT min(count) FROM (SELECT count(*) FROM command_attempts \
                 WHERE started_at > (SELECT started_at \
                 FROM workers WHERE id = 'two') GROUP BY worker) AS shares";
    let least = world.count(least).await;
    assert!(least > 240 / 5, "one of the two carried out only {least}");
    assert!(together < alone, "alone {alone:?}, together {together:?}");
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_one_active_consumer_is_what_is_declared() {
    const SINGLE: &str = "x-single-active-consumer";
    let world = World::new().await;
    let worker = world.worker().await;

    // What is declared again with the very same arguments is taken, and nothing else is: the broker
    // tells true, false and absent apart, whatever this program takes them for.
    let connection = ticketwire::broker::connect(&world.amqp_url.as_str().into(), "tests")
        .await
        .unwrap();
    let text = |value: &str| lapin::types::AMQPValue::LongString(value.into());
    let number = lapin::types::AMQPValue::LongLongInt;
    let mut arguments = lapin::types::FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert(
        "x-dead-letter-exchange".into(),
        text(&world.topology.dead()),
    );
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-delivery-limit".into(), number(1000));
    for (name, _) in world.topology.command_queues() {
        let is_ordered = !name.ends_with(".webhooks");
        for (single, is_taken) in [
            (None, !is_ordered),
            (Some(false), false),
            (Some(true), is_ordered),
        ] {
            let mut arguments = arguments.clone();
            if let Some(single) = single {
                arguments.insert(SINGLE.into(), lapin::types::AMQPValue::Boolean(single));
            }
            let channel = connection.create_channel().await.unwrap();
            let declared = channel
                .queue_declare(
                    name.as_str().into(),
                    lapin::options::QueueDeclareOptions::durable(),
                    arguments,
                )
                .await;
            match declared {
                Ok(_) => assert!(is_taken, "{name} is declared with {SINGLE} {single:?}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!is_taken, "{name} with {SINGLE} {single:?}: {error}");
                    assert!(error.contains(SINGLE), "{name} {single:?}: {error}");
                }
            }
        }
    }
    drop(worker);
}
