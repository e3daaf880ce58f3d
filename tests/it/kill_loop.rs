//! Two workers under load, killed again and again at moments nobody chose.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use serde_json::json;

use crate::support::World;

const TICKETS: usize = 120;
const KILLS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_killed_at_random_lose_nothing_and_double_nothing() {
    let world = World::new().await;
    world.configure(json!({ "search_lag_ms": 300 }));
    // So that there is always something under way.
    world.fault(json!({ "kind": "delay", "delay_ms": 300, "times": 0 }));
    let (seed, mut random) = seeded();
    println!("seed {seed}");
    let ids = ["k1", "k2"].map(|id| [("TICKETWIRE__WORKER__ID", id)]);
    let mut workers = ids.each_ref().map(|id| Some(world.spawn_worker(id)));
    let mut commands = Vec::new();
    let mut tickets = Vec::new();

    let mut killed_at_work = 0;
    for round in 0..KILLS {
        for _ in 0..TICKETS / KILLS {
            let (create, ticket) = world.create(&format!("Ticket {}", tickets.len())).await;
            let data = json!({ "ticket_id": ticket, "body": "And again." });
            commands.push(create);
            commands.push(world.publish("ticket.comment", data).await);
            tickets.push(ticket);
        }
        // Not a wait for anything: the moment of the kill is the point.
        let until = Instant::now() + Duration::from_millis(random.random_range(50..900));
        tokio::time::sleep_until(until.into()).await;
        let victim = round % 2;
        if let Some(worker) = workers[victim].take() {
            worker.kill();
        }
        let running = world
            .count("SELECT count(*) FROM commands WHERE state = 'running'")
            .await;
        killed_at_work += usize::from(running > 0);
        workers[victim] = Some(world.spawn_worker(&ids[victim]));
    }
    assert!(
        killed_at_work >= KILLS / 4,
        "only {killed_at_work} kills met a worker at work"
    );
    world.close_the_ledger(&commands).await;

    for command in &commands {
        world.succeeds(*command).await;
    }
    let jira = world.jira();
    assert_eq!(jira.issues.len(), tickets.len());
    for ticket in &tickets {
        let issues = jira.with_label(&format!("tkt-{ticket}"));
        assert_eq!(issues.len(), 1, "issues of {ticket}");
        assert_eq!(issues[0].comments.len(), 1, "comments on {ticket}");
    }
}

fn seeded() -> (u64, rand::rngs::StdRng) {
    let seed = std::env::var("TICKETWIRE_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    (seed, rand::SeedableRng::seed_from_u64(seed))
}
