//! `ticketwire doctor` names each fault while it lasts, and no longer.

use serde_json::{Value, json};

use crate::support::{Message, OwnService, World, free_address, output, services, wait_for};

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
    // With nobody alive, what waits is named as well, if the scheduler left something.
    let named = faults(&world, &[]);
    let asleep = named
        .iter()
        .find(|fault| fault.contains("w1 has not been heard of"));
    assert!(
        asleep.is_some_and(|fault| fault.contains("holds 1 command")),
        "{named:?}"
    );
    worker.kill();

    world
        .query(
            "UPDATE commands SET state = 'deferred', due_at = now() - interval '2 minutes' \
             WHERE id = $1",
            &[&running],
        )
        .await;
    world.query("DELETE FROM workers", &[]).await;
    world.create("Nobody is there").await;
    // The worker may have been stopped before it acknowledged the first command: that comes again.
    let waits = [1, 2].map(|messages| {
        format!("none is alive, and 1 command(s) in the ledger and {messages} message(s)")
    });
    wait_for("the consumers to be gone", async || {
        let named = faults(&world, &[]);
        let all = named.len() == 3
            && named[0].contains("1 due for over a minute")
            && waits.iter().any(|text| named[1].contains(text))
            && named[2].contains("wait and nobody reads them");
        if !all {
            println!("so far: {named:#?}");
        }
        all.then_some(())
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

/// What doctor says, as text.
fn said(world: &World) -> String {
    let shown = output(&world.environment(), &["doctor"]);
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_lately_is_named_with_the_last_message_and_the_remedy() {
    let world = World::new().await;
    let worker = world.worker().await;
    let refuse =
        json!({ "kind": "status", "status": 401, "operation": "create_issue", "times": 0 });
    world.fault(refuse);
    for title in ["One", "Two"] {
        let (create, _) = world.create(title).await;
        world.fails(create, "authentication_failed").await;
    }
    let named = faults(&world, &[]);
    assert_one(
        &named,
        "2 failed with authentication_failed within an hour (0 succeeded)",
    );
    assert!(named[0].contains("Jira (jira, "), "{named:?}");
    let text = said(&world);
    let id = world.integration.to_string();
    assert!(
        text.contains(&format!("ticketwire integration update {id} --credentials")),
        "{text}"
    );
    world.clear_faults();

    world.cli(&["integration", "disable", &id]);
    let (create, _) = world.create("Still arrives").await;
    world.fails(create, "integration_disabled").await;
    let named = faults(&world, &[]);
    assert!(
        named
            .iter()
            .any(|fault| fault.contains("1 failed with integration_disabled")),
        "{named:?}"
    );
    assert!(said(&world).contains(&format!("ticketwire integration enable {id}")));

    // What nobody who runs the worker can mend is no fault.
    world.cli(&["integration", "enable", &id]);
    world.query("DELETE FROM commands", &[]).await;
    let data = json!({ "ticket_id": uuid::Uuid::new_v4(), "title": "No such ticket" });
    world
        .query(
            "UPDATE integrations SET health_check_status = 'healthy'",
            &[],
        )
        .await;
    assert_eq!(faults(&world, &[]), Vec::<String>::new());
    let update = world.publish("ticket.update", data).await;
    world.state(update, "pending").await;

    world
        .query(
            "UPDATE integrations SET health_check_status = 'unhealthy', \
             health_check_error = 'the site is closed'",
            &[],
        )
        .await;
    let named = faults(&world, &[]);
    assert_one(&named, "is unhealthy");
    assert!(named[0].contains("the site is closed"), "{named:?}");
    let listed = output(&world.environment(), &["integration", "list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("HEALTH") && listed.contains("unhealthy"),
        "{listed}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_named_with_their_versions_and_what_waits_with_its_age() {
    let world = World::new().await;
    let worker = world.worker().await;
    world
        .query(
            "INSERT INTO workers (id, incarnation, lease_until, version) \
             VALUES ('old', gen_random_uuid(), now() + interval '1 minute', '0.0.9')",
            &[],
        )
        .await;
    let text = said(&world);
    assert!(
        text.contains("2 alive: old (version 0.0.9,") && text.contains("their versions differ"),
        "{text}"
    );

    world
        .fault(json!({ "kind": "status", "status": 503, "operation": "create_issue", "times": 0 }));
    let (create, _) = world.create("Waits").await;
    world.event(create, "deferred").await;
    world
        .query(
            "UPDATE commands SET received_at = now() - interval '3 hours', state = 'deferred', \
             owner = NULL, \
             due_at = now() + interval '1 hour' WHERE id = $1",
            &[&create],
        )
        .await;
    let text = said(&world);
    assert!(
        text.contains("1 wait for Jira (jira, ")
            && text.contains("the oldest for 3 h: outcome_unknown"),
        "{text}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_named_alone_by_doctor_and_worker() {
    let world = World::new().await;
    let connection = ticketwire::broker::connect(&world.amqp_url.as_str().into(), "tests")
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("{}.tickets", world.topology.prefix());
    channel
        .queue_delete(name.as_str().into(), Default::default())
        .await
        .unwrap();
    channel
        .queue_declare(
            name.as_str().into(),
            lapin::options::QueueDeclareOptions::durable(),
            Default::default(),
        )
        .await
        .unwrap();

    let named = faults(&world, &[]);
    assert_one(
        &named,
        &format!("{name} is there, but not as the worker declares it"),
    );
    assert!(named[0].contains("inequivalent arg"), "{named:?}");
    let text = said(&world);
    assert!(
        text.contains(&format!("rabbitmqctl delete_queue {name}")),
        "{text}"
    );
    assert!(!text.contains("not there"), "{text}");

    let worker = world.spawn_worker(&[]);
    wait_for("the worker to say so", async || {
        let log = worker.log();
        (log.contains(&format!("rabbitmqctl delete_queue {name}"))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_more_than_one_worker_may_read_at_once_is_named_with_what_differs() {
    const SINGLE: &str = "x-single-active-consumer";
    let world = World::new().await;
    let connection = ticketwire::broker::connect(&world.amqp_url.as_str().into(), "tests")
        .await
        .unwrap();
    let name = format!("{}.tickets", world.topology.prefix());
    let text = |value: &str| lapin::types::AMQPValue::LongString(value.into());
    for single in [None, Some(false), Some(true)] {
        let mut arguments = lapin::types::FieldTable::default();
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert(
            "x-dead-letter-exchange".into(),
            text(&world.topology.dead()),
        );
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        let limit = lapin::types::AMQPValue::LongLongInt(1000);
        arguments.insert("x-delivery-limit".into(), limit);
        if let Some(single) = single {
            arguments.insert(SINGLE.into(), lapin::types::AMQPValue::Boolean(single));
        }
        let channel = connection.create_channel().await.unwrap();
        channel
            .queue_delete(name.as_str().into(), Default::default())
            .await
            .unwrap();
        channel
            .queue_declare(
                name.as_str().into(),
                lapin::options::QueueDeclareOptions::durable(),
                arguments,
            )
            .await
            .unwrap();

        let named = faults(&world, &[]);

        let differs = named
            .iter()
            .any(|fault| fault.contains(&name) && fault.contains(SINGLE));
        assert_eq!(differs, single != Some(true), "{single:?}: {named:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_the_worker_lacks_are_named_with_the_line_that_grants_them() {
    let rabbitmq = OwnService::rabbitmq();
    let (database, _) = services();
    let world = World::on(&database, &rabbitmq.url).await;
    let prefix = world.topology.prefix().to_owned();
    rabbitmq.rabbitmqctl("add_user worker worker");
    let url = rabbitmq.url.replace("guest:guest", "worker:worker");
    let grant = |configure: &str, write: &str, read: &str| {
        let patterns = format!("set_permissions -p / worker '{configure}' '{write}' '{read}'");
        rabbitmq.rabbitmqctl(&patterns);
    };
    let own = format!(r"^{prefix}\.");
    let write = format!(r"^({prefix}\.|amq\.default$)");
    let line = format!("rabbitmqctl set_permissions -p / worker '{own}' '{write}' '{own}'");
    let settings = [("AMQP_URL", url.as_str())];

    for (what, patterns) in [
        ("configure on queue", ["^$", &write, &own]),
        ("read on queue", [&own, &write, "^$"]),
        ("write on exchange amq.default", [&own, &own, &own]),
        (
            "write on exchange",
            [&own, &format!(r"^{prefix}\.dead"), &own],
        ),
    ] {
        grant(patterns[0], patterns[1], patterns[2]);
        let named = faults(&world, &settings);
        assert_one(&named, what);
        let mut environment = world.environment();
        environment.insert("AMQP_URL".into(), url.clone());
        let shown = output(&environment, &["doctor"]);
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(text.contains(&line), "{line} in {text}");
    }
    // Nothing was left behind, no message lost, and with the line all is well.
    grant(&own, &write, &own);
    assert_eq!(faults(&world, &settings), Vec::<String>::new());

    grant("^$", "^$", "^$");
    let worker = world.spawn_worker(&settings);
    wait_for("the worker to name the line", async || {
        // In JSON, each backslash is two.
        worker
            .log()
            .contains(&line.replace('\\', r"\\"))
            .then_some(())
    })
    .await;

    // Before any worker declared anything.
    world.set("TICKETWIRE__AMQP__PREFIX", &format!("{prefix}.new"));
    grant("^$", &write, &own);
    let named = faults(&world, &settings);
    assert!(
        named
            .iter()
            .any(|fault| fault.contains("configure on queue")),
        "{named:?}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_really_waits_for_is_named_while_its_integration_is_held_up() {
    let world = World::new().await;
    // One attempt, so that no circuit opens by itself.
    let settings = [("TICKETWIRE__RETRY__SCHEDULE", r#"["1h"]"#)];
    let worker = world.worker_with(&settings).await;
    let (create, ticket) = world.create("Exists").await;
    world.succeeds(create).await;
    world
        .fault(json!({ "kind": "status", "status": 503, "operation": "update_issue", "times": 0 }));
    let data = json!({ "ticket_id": ticket, "title": "Changed" });
    let update = world.publish("ticket.update", data).await;
    world.event(update, "deferred").await;
    assert!(worker.stop().await.success());
    world.state(update, "deferred").await;
    let id = update.to_string();
    world
        .query(
            "UPDATE commands SET due_at = now() - interval '2 minutes', \
             retry_at = now() - interval '2 minutes', \
             received_at = now() - interval '5 minutes' WHERE id = $1",
            &[&update],
        )
        .await;
    // What `command show`, `command list` and doctor say, after a change of the integration's
    // state.
    let after = async |sql: &str| {
        world.query(sql, &[&world.integration]).await;
        let held = world.cli(&["command", "show", &id])["command"]["held"].clone();
        let run = |arguments: &[&str]| {
            let shown = output(&world.environment(), arguments);
            String::from_utf8_lossy(&shown.stdout).into_owned()
        };
        let reason = held["reason"].as_str().unwrap_or_default().to_owned();
        let text = held["text"]
            .as_str()
            .unwrap_or("nothing holds it")
            .to_owned();
        let shown = run(&["command", "show", &id]);
        assert!(shown.contains(&text), "{text:?} in {shown}");
        let waiting = said(&world);
        let line = waiting
            .lines()
            .find(|line| line.contains("1 wait for Jira"));
        let line = line.unwrap_or_else(|| panic!("nothing waits in {waiting}"));
        assert!(line.contains(&text), "{text:?} in {line}");
        let has_end = held["until"].is_string();
        assert_eq!(line.contains("the next runs at"), has_end, "{line}");
        let list = run(&["command", "list", "--state", "deferred"]);
        assert!(has_end || list.contains(&reason), "{reason} in {list}");
        if let Some(until) = held["until"].as_str() {
            let until: chrono::DateTime<chrono::Utc> = until.parse().unwrap();
            assert!(until > chrono::Utc::now(), "{held}");
        }
        (reason, text)
    };

    let (reason, _) = after("SELECT $1::uuid").await;
    assert_eq!(reason, "no_worker");
    let (reason, text) = after(
        "INSERT INTO integration_circuits (integration_id, failures, open_until) \
         VALUES ($1, 5, now() + interval '10 minutes') ON CONFLICT (integration_id) \
         DO UPDATE SET failures = 5, open_until = excluded.open_until",
    )
    .await;
    assert_eq!(reason, "circuit_open");
    assert!(text.contains("5 failures"), "{text}");
    let (reason, _) = after(
        "UPDATE integration_circuits SET open_until = now() - interval '1 second' \
         WHERE integration_id = $1",
    )
    .await;
    assert_eq!(reason, "circuit_half_open");
    let (reason, text) = after(
        "UPDATE integration_circuits SET open_until = NULL, paused_until = now() + interval '5 \
         minutes', \
         paused_by = 'Retry-After: 300 s' WHERE integration_id = $1",
    )
    .await;
    assert_eq!(reason, "paused");
    assert!(text.contains("Retry-After: 300 s"), "{text}");
    world.query("DELETE FROM integration_circuits", &[]).await;
    let (reason, _) = after(
        "UPDATE integrations SET \
         maintenance_window_start = to_char(now() AT TIME ZONE 'UTC' - interval '1 hour', \
         'HH24:MI'), \
         maintenance_window_end = to_char(now() AT TIME ZONE 'UTC' + interval '1 hour', \
         'HH24:MI') WHERE id = $1",
    )
    .await;
    assert_eq!(reason, "maintenance_window");
    let (reason, text) = after("UPDATE integrations SET enabled = false WHERE id = $1").await;
    assert_eq!(reason, "integration_disabled");
    assert!(text.contains("integration enable"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_sick_integrations_the_failing_come_first_and_all_are_counted() {
    let world = World::new().await;
    // Made like the first, and never tested with success.
    let never = "INSERT INTO integrations SELECT (jsonb_populate_record(i, \
                 jsonb_build_object('id', gen_random_uuid(), \
                 'name', 'Never ' || n, 'status', 'pending', 'health_check_status', 'unhealthy', \
                 'last_success_at', NULL))).* \
                 FROM integrations i, generate_series(1, 12) n WHERE i.id = $1";
    world.query(never, &[&world.integration]).await;
    world
        .query(
            "UPDATE integrations SET name = 'Zulu', health_check_status = 'unhealthy' \
             WHERE id = $1",
            &[&world.integration],
        )
        .await;

    let text = said(&world);

    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" integrations "))
        .collect();
    assert_eq!(lines.len(), 11, "{text}");
    assert!(lines[0].contains("Zulu (jira, "), "{text}");
    assert!(
        lines[10].contains("and 3 more: 0 that fail, 3 that were never active"),
        "{text}"
    );
    assert!(
        text.contains("`ticketwire integration list` shows all"),
        "{text}"
    );
}
