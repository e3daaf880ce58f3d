//! `ticketwire doctor` names each fault while it lasts, and no longer.

use serde_json::{Value, json};

use crate::support::{Message, World, free_address, output, wait_for};

/// The faults that doctor names now.
fn faults(world: &World, settings: &[(&str, &str)]) -> Vec<String> {
    let mut environment = world.environment();
    for (name, value) in settings {
        environment.insert((*name).into(), (*value).into());
    }
    let shown = output(&environment, &["--json", "doctor"]);
    let all: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let faults: Vec<String> = all["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["ok"] == false)
        .inspect(|check| assert!(!check["remedy"].as_str().unwrap().is_empty(), "{check}"))
        .map(|check| format!("{}: {}", check["check"], check["fault"]))
        .collect();
    assert_eq!(shown.status.code(), Some(i32::from(!faults.is_empty())));
    faults
}

/// Exactly one fault is named, and it says this.
#[track_caller]
fn assert_one(faults: &[String], text: &str) {
    assert!(
        faults.len() == 1 && faults[0].contains(text),
        "{text:?} in {faults:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_platform_and_an_unknown_outcome_are_named() {
    let world = World::new().await;
    let worker = world
        .worker_with(&[
            ("TICKETWIRE__CIRCUIT__FAILURE_THRESHOLD", "2"),
            ("TICKETWIRE__CIRCUIT__OPEN_FOR", "2s"),
        ])
        .await;
    let (sound, ticket) = world.create("Sound").await;
    world.succeeds(sound).await;
    assert_eq!(faults(&world, &[]), Vec::<String>::new());

    world
        .fault(json!({ "kind": "status", "status": 503, "operation": "update_issue", "times": 0 }));
    let data = json!({ "ticket_id": ticket, "title": "Sick" });
    let sick = world.publish("ticket.update", data).await;
    wait_for("the circuit to open", async || {
        let open = "SELECT count(*) FROM integration_circuits WHERE open_until IS NOT NULL";
        (world.count(open).await == 1).then_some(())
    })
    .await;
    assert_one(&faults(&world, &[]), "Jira (jira) is left alone");
    world.clear_faults();
    world.succeeds(sick).await;
    wait_for("the circuit to close", async || {
        faults(&world, &[]).is_empty().then_some(())
    })
    .await;

    // As a day in doubt ends.
    world
        .query(
            "UPDATE commands SET state = 'failed', error_code = 'outcome_unknown' WHERE id = $1",
            &[&sick],
        )
        .await;
    assert_one(&faults(&world, &[]), "1 of unknown outcome");
    world.cli(&[
        "command",
        "resolve",
        &sick.to_string(),
        "--happened",
        "SUP-1",
    ]);
    assert_eq!(faults(&world, &[]), Vec::<String>::new());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_worker_its_waiting_messages_and_overdue_commands_are_named() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.fault(json!({ "kind": "hang", "operation": "create_issue", "times": 0 }));
    let (running, _) = world.create("Held").await;
    world.state(running, "running").await;

    worker.signal("STOP");
    wait_for("the lease to run out", async || {
        let over = "SELECT count(*) FROM workers WHERE lease_until < now()";
        (world.count(over).await == 1).then_some(())
    })
    .await;
    let named = faults(&world, &[]);
    assert_one(&named, "w1 has not been heard of");
    assert!(named[0].contains("holds 1 command"), "{named:?}");
    worker.kill();

    world
        .query(
            "UPDATE commands SET state = 'deferred', due_at = now() - interval '2 minutes' WHERE id = $1",
            &[&running],
        )
        .await;
    world.query("DELETE FROM workers", &[]).await;
    world.create("Nobody is there").await;
    wait_for("the consumers to be gone", async || {
        let named = faults(&world, &[]);
        let both = named.len() == 2
            && named[0].contains("1 due for over a minute")
            && named[1].contains("wait and nobody reads them");
        both.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_a_revoked_write_and_unreadable_credentials_are_named() {
    let world = World::new().await;
    let worker = world.worker().await;
    world
        .send(&[Message::new("ticket.create", "rubbish")])
        .await;

    let other = json!([ticketwire::secrets::generate("other")]).to_string();
    let lost_key = [("TICKETWIRE__SECRETS__KEYS", other.as_str())];
    assert_one(
        &faults(&world, &lost_key),
        "1 of 1 sealed value(s) cannot be opened: Jira",
    );

    let read_only = format!(
        "ALTER DATABASE \"{}\" SET default_transaction_read_only = on",
        world.topology.prefix()
    );
    let client = world.client().await;
    client.batch_execute(&read_only).await.unwrap();
    let named = faults(&world, &[]);
    assert!(
        named.iter().any(|fault| fault.contains("takes no writes")),
        "{named:?}"
    );
    let writable = read_only.replace("= on", "= off");
    client.batch_execute(&writable).await.unwrap();

    let lock = "BEGIN; LOCK TABLE commands IN SHARE MODE";
    client.batch_execute(lock).await.unwrap();
    world.create("Waits for the lock").await;
    wait_for("somebody to have waited for five seconds", async || {
        let named = faults(&world, &[]);
        named
            .iter()
            .any(|fault| fault.contains("wait for a lock"))
            .then_some(())
    })
    .await;
    client.batch_execute("COMMIT").await.unwrap();
    wait_for("all to be well again", async || {
        faults(&world, &[]).is_empty().then_some(())
    })
    .await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_not_there_are_named_without_their_passwords() {
    let world = World::new().await;
    let nowhere = free_address();
    let amqp = format!("amqp://guest:s3cr3t@{nowhere}/%2f");
    let database = format!("postgres://postgres:s3cr3t@{nowhere}/x");
    let absent = world.database_url.replace("tw_test_", "tw_gone_");
    let wrong = world.amqp_url.replace("guest:guest", "guest:s3cr3t");

    let both = faults(&world, &[("AMQP_URL", &amqp), ("DATABASE_URL", &database)]);
    let no_database = faults(&world, &[("DATABASE_URL", &absent)]);
    let refused = faults(&world, &[("AMQP_URL", &wrong)]);

    assert!(
        both.len() == 2 && !both.concat().contains("s3cr3t"),
        "{both:?}"
    );
    assert!(
        no_database[0].contains("migrate up --create"),
        "{no_database:?}"
    );
    assert!(refused[0].contains("mend user and password"), "{refused:?}");
}
