//! Refusals by budget, waits that a platform asks for, and what a command ends with.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{World, http_get, wait_for};

async fn creates(world: &World, count: usize) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(world.create(&format!("t{number}")).await.0);
    }
    ids
}

fn refusals(times: u32, headers: &Value) -> Value {
    json!({ "kind": "status", "status": 429, "operation": "create_issue", "times": times,
        "headers": headers })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_budget_spends_no_attempt_and_pauses_the_integration_for_all_workers() {
    let world = World::new().await;
    let one = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "one")])
        .await;
    let two = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "two")])
        .await;
    world.fault(refusals(0, &json!({ "Retry-After": "3" })));

    let mut commands = creates(&world, 10).await;
    world.told("integration.rate_limit.reached", |_| true).await;
    // Commands that come during the pause are stored and wait, too.
    commands.extend(creates(&world, 10).await);
    wait_for("two further pauses", async || {
        let pauses = "SELECT pauses::bigint FROM integration_circuits";
        (world.count(pauses).await >= 3).then_some(())
    })
    .await;

    // At most what was in flight when the first refusal came, and one a pause.
    let asked = world.jira().count("create_issue").received;
    assert!((1..=10 + 4).contains(&asked), "{asked} requests");
    let spent = "SELECT COALESCE(sum(attempt), 0)::bigint FROM commands";
    assert_eq!(
        world.count(spent).await,
        0,
        "a refusal by budget spent an attempt"
    );
    assert_eq!(world.told_count("integration.rate_limit.reached"), 1);

    world.clear_faults();
    world.close_the_ledger(&commands).await;

    world.told("integration.rate_limit.reset", |_| true).await;
    assert_eq!(world.jira().issues.len(), 20);
    let paused = "SELECT count(*) FROM integration_circuits WHERE paused_until IS NOT NULL";
    assert_eq!(world.count(paused).await, 0);
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_names_no_time_pauses_longer_each_time() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.fault(refusals(4, &json!({})));

    let commands = creates(&world, 1).await;
    world.close_the_ledger(&commands).await;

    // 0.2 + 0.4 + 0.8 + 1.6 s, at least; without attempts.
    let took =
        "SELECT (extract(epoch FROM finished_at - received_at) * 1000)::bigint FROM commands";
    let took = world.count(took).await;
    assert!(took >= 3000, "{took} ms");
    assert_eq!(world.count("SELECT attempt::bigint FROM commands").await, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_is_not_paused_with_it() {
    let world = World::new().await;
    let neighbour = world.add_integration("other", &json!({})).await;
    let worker = world.worker().await;
    world.fault(refusals(0, &json!({ "Retry-After": "600" })));
    let paused = creates(&world, 1).await;
    world.state(paused[0], "deferred").await;

    let (free, _) = world.create_at(neighbour, "free").await;

    world.succeeds(free).await;
    let why = "SELECT format('%s %s', wait_reason, wait_detail) FROM commands WHERE id = $1";
    assert_eq!(
        world.text(why, &[&paused[0]]).await.as_deref(),
        Some("retry_after 600")
    );
    let output = crate::support::output(&world.environment(), &["doctor"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("is paused until") && told.contains("Retry-After: 600 s"),
        "{told}"
    );
    // A person who retries it does not have to wait for that.
    world.clear_faults();
    world.cli(&["command", "retry", &paused[0].to_string()]);
    world.succeeds(paused[0]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_sooner_than_the_platform_asked_whatever_the_class() {
    // A create that fails with 503 is of unknown outcome; its look-up is held back like everything
    // else. The look-up itself is a read, which is otherwise tried again in place.
    for (case, operation, status) in [
        ("create", "create_issue", 503),
        ("create", "create_issue", 500),
        ("comment", "add_comment", 503),
        ("look-up", "search", 503),
    ] {
        let world = World::new().await;
        let worker = world.worker().await;
        let (create, ticket) = world.create("first").await;
        world.succeeds(create).await;
        let before = world.jira().recent.len();
        let asked = json!({
            "kind": "status", "status": status, "operation": operation,
            "headers": { "Retry-After": "3" },
        });
        if case == "look-up" {
            world.fault(json!({ "kind": "reset_before_store", "operation": "create_issue" }));
        }
        world.fault(asked);

        let command = match case {
            "comment" => {
                let data = json!({ "ticket_id": ticket, "body": "Seen here too." });
                world.publish("ticket.comment", data).await
            }
            _ => world.create("second").await.0,
        };
        world.close_the_ledger(&[create, command]).await;

        let calls = world.jira().recent;
        let refused = calls
            .iter()
            .skip(before)
            .position(|call| call.fault.is_some() && call.operation == operation)
            .unwrap_or_else(|| panic!("{case}: nothing was refused"));
        let sql = "SELECT (extract(epoch FROM finished_at - received_at) * 1000)::bigint::text \
                   FROM commands \
                   WHERE id = $1";
        let took: i64 = world.text(sql, &[&command]).await.unwrap().parse().unwrap();
        assert!(took >= 3000, "{case} {status}: done after {took} ms");
        assert!(calls.len() > before + refused + 1, "{case}");
        drop(worker);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ran_out_of_attempts_says_what_the_last_one_met() {
    let world = World::new().await;
    let settings = [
        ("TICKETWIRE__RETRY__SCHEDULE", r#"["100ms"]"#),
        ("TICKETWIRE__DISPATCH__SETTLE_AFTER", "200ms"),
        ("TICKETWIRE__CIRCUIT__FAILURE_THRESHOLD", "100"),
    ];
    let worker = world.worker_with(&settings).await;
    world
        .fault(json!({ "kind": "status", "status": 503, "operation": "create_issue", "times": 0 }));

    let (create, _) = world.create("never").await;
    let event = world.fails(create, "attempts_exhausted").await;

    let error = &event["data"]["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("503"), "{error}");
    assert!(!message.contains("looked up"), "{error}");
    assert_eq!(error["http_status"], 503);
    assert!(
        world.jira().count("search").received > 0,
        "it was looked up"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_counted_once_and_as_they_were_committed() {
    let world = World::new().await;
    let worker = world.worker().await;
    // Everything that has been counted too often: management commands, a routed create, a deferred
    // one.
    let data = json!({
        "name": "second", "platform_name": "jira", "base_url": world.sandbox.url("second"),
        "settings": { "project_key": "SUP" },
        "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" },
    });
    for _ in 0..3 {
        let made = world.publish("integration.create", data.clone()).await;
        world.succeeds(made).await;
    }
    let test = json!({ "integration_id": world.integration });
    let test = world.publish("integration.test", test).await;
    world.succeeds(test).await;
    let routed = json!({ "title": "routed", "description": "d", "route": true });
    let routed = world.publish("ticket.create", routed).await;
    world.succeeds(routed).await;
    world.fault(json!({ "kind": "status", "status": 503, "operation": "create_issue" }));
    let (deferred, ticket) = world.create("deferred once").await;
    world.succeeds(deferred).await;
    let refused = json!({ "ticket_id": Uuid::new_v4(), "title": "t", "description": "d",
        "integration_id": Uuid::new_v4() });
    let refused = world.publish("ticket.create", refused).await;
    world.fails(refused, "integration_not_found").await;
    let bulk = json!({ "ticket_ids": [ticket], "updates": { "priority": "low" } });
    let bulk = world.publish("ticket.bulk_update", bulk).await;
    world.succeeds(bulk).await;
    world.quiet().await;

    let (_, metrics) = http_get(worker.address, "/metrics").await.unwrap();

    let counted = |prefix: &str, outcome: &str| -> u64 {
        let lines = metrics.lines().filter(|line| {
            line.starts_with(prefix)
                && (outcome.is_empty() || line.contains(&format!("outcome=\"{outcome}\"")))
        });
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    let outcomes = "ticketwire_command_outcomes_total";
    for outcome in ["succeeded", "failed"] {
        let sql = format!("SELECT count(*) FROM commands WHERE state = '{outcome}'");
        let stored = u64::try_from(world.count(&sql).await).unwrap();
        assert!(stored > 0);
        assert_eq!(counted(outcomes, outcome), stored, "{outcome}: {metrics}");
    }
    // Every other outcome is an event of its own.
    let told = world
        .events
        .all()
        .iter()
        .filter(|(_, event)| event["data"]["outcome"] == "deferred")
        .count();
    assert!(told > 0);
    assert_eq!(counted(outcomes, "deferred"), u64::try_from(told).unwrap());
    let durations = counted("ticketwire_attempt_duration_seconds_count", "");
    assert_eq!(durations, counted(outcomes, ""), "{metrics}");
    drop(worker);
}
