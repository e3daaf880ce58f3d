//! Commands that break the program itself: a panic is one command's failure, an abort is found and
//! kept from returning.

use serde_json::json;

use crate::support::{World, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_that_commands_internal_error_and_nobody_elses() {
    let world = World::new().await;
    let marker = world.marker("panicked");
    let point = format!("before_send=panic@{}", marker.display());
    let worker = world.worker_with(&[("TICKETWIRE_FAILPOINT", &point)]).await;

    let mut commands = Vec::new();
    for _ in 0..8 {
        commands.push(world.create("One of us").await.0);
    }
    world.close_the_ledger(&commands).await;

    let mut panicked = 0;
    for id in &commands {
        world.succeeds(*id).await;
        let events = world.events_of(*id);
        if events[0]["data"]["outcome"] == "deferred" {
            assert_eq!(events[0]["data"]["error"]["code"], "internal");
            panicked += 1;
        }
    }
    assert!(marker.exists());
    assert_eq!(panicked, 1);
    assert_eq!(world.jira().issues.len(), commands.len());
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_aborts_the_process_is_quarantined_and_its_neighbours_are_not() {
    let world = World::new().await;
    // The directory as a marker: this one dies every time it is run.
    let trap = world.marker("trap");
    std::fs::create_dir(&trap).unwrap();
    // Four are sent and wait for their answer when the fifth takes the process down.
    let first = format!("before_send=abort:4@{}", trap.display());
    let always = format!("before_send=abort@{}", trap.display());
    world.fault(json!({ "kind": "delay", "delay_ms": 1000, "times": 0 }));
    let mut doomed = world.worker_with(&[("TICKETWIRE_FAILPOINT", &first)]).await;
    let mut commands = Vec::new();
    for _ in 0..4 {
        commands.push(world.create("Neighbour").await.0);
    }
    wait_for("the neighbours to be sent", async || {
        (world.jira().count("create_issue").received == 4).then_some(())
    })
    .await;
    let (poison, _) = world.create("Poison").await;
    assert!(!doomed.ended().await.success());
    let running = "SELECT count(*) FROM commands WHERE state = 'running'";
    assert_eq!(world.count(running).await, 5);
    world.clear_faults();

    // The worker lives on; what dies is the process that runs the poison candidates alone. The
    // neighbours are found at the platform, so nothing of theirs is sent again.
    let mut worker = world
        .worker_with(&[("TICKETWIRE_FAILPOINT", &always)])
        .await;
    for id in &commands {
        world.succeeds(*id).await;
    }
    let event = world.fails(poison, "quarantined").await;

    assert_eq!(event["data"]["error"]["retryable"], false);
    assert!(worker.is_running());
    let deaths = "SELECT deaths FROM commands WHERE id = $1";
    let deaths = world.query(deaths, &[&poison]).await;
    assert_eq!(deaths[0].get::<_, i32>(0), 3);
    commands.push(poison);
    world.close_the_ledger(&commands).await;
    assert_eq!(world.jira().issues.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_in_a_worker_that_was_killed_is_sorted_out_together_and_none_is_sent_twice() {
    let world = World::new().await;
    // A create under way takes effect well before `dispatch.settle_after`, as it must at any real
    // site.
    let slow = |operation: &str, delay_ms: u64| {
        json!({ "kind": "delay", "delay_ms": delay_ms,
        "times": 0, "operation": operation })
    };
    world.fault(slow("create_issue", 1000));
    world.fault(slow("search", 3000));
    let killed = world.worker().await;
    let mut commands = Vec::new();
    for _ in 0..16 {
        commands.push(world.create("In flight").await.0);
    }
    wait_for("all of them to be sent", async || {
        (world.jira().count("create_issue").received == 16).then_some(())
    })
    .await;
    killed.kill();
    let running = "SELECT count(*) FROM commands WHERE state = 'running'";
    assert_eq!(world.count(running).await, 16);

    // The platform is slow: one after the other would take 16 times as long.
    let worker = world.worker().await;
    wait_for("several of them to be looked up at once", async || {
        let at_once = "SELECT count(*) FROM commands WHERE state = 'running' AND poison_candidate";
        let asked = world.jira().count("search").received > 8;
        (asked && world.count(at_once).await > 8).then_some(())
    })
    .await;
    world.clear_faults();
    world.close_the_ledger(&commands).await;

    assert_eq!(world.jira().issues.len(), commands.len());
    let blamed = "SELECT count(*) FROM commands WHERE poison_candidate OR isolated OR deaths > 0";
    assert_eq!(world.count(blamed).await, 0);
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_command_that_was_sent_is_looked_up_when_it_is_run_again() {
    let world = World::new().await;
    let trap = world.marker("trap");
    std::fs::create_dir(&trap).unwrap();
    let sent = format!("after_send=abort@{}", trap.display());
    let looking = format!("before_read=abort@{}", trap.display());
    let mut doomed = world.worker_with(&[("TICKETWIRE_FAILPOINT", &sent)]).await;
    let (poison, ticket) = world.create("Poison").await;
    assert!(!doomed.ended().await.success());
    assert_eq!(
        world.jira().issues.len(),
        1,
        "it was made, and nobody knows"
    );
    let looker = world
        .worker_with(&[("TICKETWIRE_FAILPOINT", &looking)])
        .await;
    world.fails(poison, "quarantined").await;
    drop(looker);

    let sound = world.worker().await;
    world.cli(&["command", "retry", &poison.to_string()]);

    let event = world.event(poison, "succeeded").await;
    let result = &event["data"]["result"]["integration_result"];
    assert_eq!(result["details"]["adopted"], true, "{event}");
    assert_eq!(event["data"]["run"], 2);
    let label = format!("tkt-{ticket}");
    assert_eq!(world.jira().with_label(&label).len(), 1);
    drop(sound);
}
