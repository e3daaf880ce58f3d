//! What a database may do to a worker, and what two processes may do to each other in one.

use std::time::{Duration, Instant};

use serde_json::json;
use ticketwire::store::connect;

use crate::support::{OwnService, World, http_get, services, wait_for};

/// Ends every connection to the world's database.
async fn terminate_backends(world: &World) {
    let (server, name) = world.database_url.rsplit_once('/').unwrap();
    let (client, _connection) = connect(&format!("{server}/postgres").into(), "tests")
        .await
        .unwrap();
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    client.query(all, &[&name]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_terminated_every_50_ms_leave_no_claim_in_doubt() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut commands = Vec::new();

    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        for _ in 0..4 {
            commands.push(world.create("In doubt").await.0);
        }
        terminate_backends(&world).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.close_the_ledger(&commands).await;

    let issues = world.jira().issues.len();
    assert_eq!(issues, commands.len());
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_or_is_locked_is_waited_for_and_blames_no_command() {
    let world = World::new().await;
    let worker = world.worker().await;
    let client = world.client().await;
    let (before, _) = world.create("Before").await;
    world.succeeds(before).await;
    let mut commands = vec![before];
    let waits = async |times: usize| {
        wait_for("the worker to say that it waits", async || {
            let told = worker
                .log()
                .matches("cannot make commands durable yet")
                .count();
            (told >= times).then_some(())
        })
        .await;
    };

    let name = world.topology.prefix();
    let read_only = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on");
    client.batch_execute(&read_only).await.unwrap();
    terminate_backends(&world).await;
    commands.push(world.create("Into a replica").await.0);
    waits(1).await;
    wait_for("health to say that nothing can be written", async || {
        let (status, body) = http_get(worker.address, "/health").await?;
        (status == 503 && body.contains("takes no writes")).then_some(())
    })
    .await;
    let writable = read_only.replace("= on", "= off");
    let client = world.client().await;
    let write_again = "SET default_transaction_read_only = off";
    client.batch_execute(write_again).await.unwrap();
    client.batch_execute(&writable).await.unwrap();
    terminate_backends(&world).await;
    for command in &commands {
        world.succeeds(*command).await;
    }
    wait_for("health to be well again", async || {
        let answer = http_get(worker.address, "/health").await?;
        (answer.0 == 200).then_some(())
    })
    .await;

    // Longer than any statement waits for a lock.
    let client = world.client().await;
    client
        .batch_execute("BEGIN; LOCK TABLE commands IN SHARE MODE")
        .await
        .unwrap();
    let told = worker
        .log()
        .matches("cannot make commands durable yet")
        .count();
    commands.push(world.create("Behind a lock").await.0);
    waits(told + 1).await;
    client.batch_execute("COMMIT").await.unwrap();

    world.close_the_ledger(&commands).await;
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
    assert_eq!(world.jira().issues.len(), commands.len());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_stopped_at_once_and_started_again_is_caught_up_with() {
    let mut postgres = OwnService::postgres();
    let world = World::on(&postgres.url, &services().1).await;
    world.configure(json!({ "search_lag_ms": 300 }));
    world.fault(json!({ "kind": "delay", "delay_ms": 500, "times": 0 }));
    let worker = world.worker().await;
    let mut commands = Vec::new();

    for round in 0..3 {
        for _ in 0..40 {
            commands.push(world.create("Crash").await.0);
        }
        wait_for("commands under way", async || {
            let running = world
                .text(
                    "SELECT count(*)::text FROM commands WHERE state = 'running'",
                    &[],
                )
                .await?;
            (running != "0").then_some(())
        })
        .await;
        postgres.stop("immediate");
        wait_for("the worker to say that it is not ready", async || {
            (!worker.is_ready().await).then_some(())
        })
        .await;
        commands.push(world.create(&format!("While it was away {round}")).await.0);
        postgres.start();
        wait_for("the worker to be ready again", async || {
            worker.is_ready().await.then_some(())
        })
        .await;
    }
    world.close_the_ledger(&commands).await;

    let issues = world.jira().issues.len();
    assert_eq!(issues, commands.len());
    assert!(worker.stop().await.success());
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_with_the_same_worker_id_gives_up_and_says_why() {
    let world = World::new().await;
    let worker = world.worker().await;

    let mut second = world.spawn_worker(&[
        ("TICKETWIRE__DISPATCH__REQUEST_TIMEOUT", "200ms"),
        ("TICKETWIRE__DISPATCH__ATTEMPT_TIMEOUT", "400ms"),
        ("TICKETWIRE__DISPATCH__LEASE", "1s"),
    ]);
    let status = second.ended().await;

    assert_eq!(status.code(), Some(1), "{}", second.log());
    assert!(
        second
            .log()
            .contains("worker.id \"w1\" is held by another process"),
        "{}",
        second.log()
    );
    let (create, _) = world.create("Unharmed").await;
    world.succeeds(create).await;
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_believe_to_be_the_same_worker_one_stops() {
    let world = World::new().await;
    let mut first = world.worker().await;
    // The first sends its request, and is stopped before the answer.
    world.fault(
        json!({ "kind": "delay", "delay_ms": 1500, "delay_at": "after_store",
        "operation": "create_issue" }),
    );
    let (create, _) = world.create("Twice believed").await;
    wait_for("the issue to be made", async || {
        (!world.jira().issues.is_empty()).then_some(())
    })
    .await;
    first.signal("STOP");
    terminate_backends(&world).await;
    let second = world.worker().await;
    world.state(create, "deferred").await;

    first.signal("CONT");
    let status = first.ended().await;

    assert_eq!(status.code(), Some(1), "{}", first.log());
    assert!(
        first
            .log()
            .contains("another process has taken over worker id"),
        "{}",
        first.log()
    );
    let event = world.succeeds(create).await;
    assert_eq!(
        event["data"]["result"]["integration_result"]["details"]["adopted"],
        true
    );
    world.close_the_ledger(&[create]).await;
    assert_eq!(world.jira().issues.len(), 1);
    assert!(second.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_disabled_while_an_outcome_is_unknown_ends_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.fault(json!({ "kind": "reset_after_store", "operation": "create_issue" }));
    world.fault(json!({ "kind": "status", "status": 503, "operation": "search", "times": 0 }));
    let (create, ticket) = world.create("Is it there?").await;
    world.event(create, "deferred").await;

    let id = world.integration.to_string();
    world.cli(&["integration", "disable", &id]);
    world.clear_faults();
    wait_for("the command to be kept by the gate", async || {
        let why = world
            .text("SELECT error FROM commands WHERE id = $1", &[&create])
            .await?;
        why.contains("is disabled").then_some(())
    })
    .await;
    let (refused, _) = world.create("Not while it is disabled").await;
    world.fails(refused, "integration_disabled").await;
    assert_eq!(
        world.events_of(create).len(),
        1,
        "no final word before it is known"
    );

    world.cli(&["integration", "enable", &id]);
    let event = world.succeeds(create).await;

    assert_eq!(
        event["data"]["result"]["integration_result"]["details"]["adopted"],
        true
    );
    let jira = world.jira();
    assert_eq!(jira.with_label(&format!("tkt-{ticket}")).len(), 1);
    assert_eq!(jira.issues.len(), 1);
    world.close_the_ledger(&[create, refused]).await;
    drop(worker);
}
