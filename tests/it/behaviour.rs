//! What producers and callers rely on, one sentence a test.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use ticketwire::broker;
use uuid::Uuid;

use crate::support::{Message, World, command, wait_for};

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_with_the_first_outcome_and_does_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = Uuid::now_v7();
    let data = json!({ "title": "Once", "description": "…", "integration_id": world.integration });
    let create = command("ticket.create", id, world.organization, &data);
    world
        .send(&[Message::of(&create), Message::of(&create)])
        .await;
    let first = world.succeeds(id).await;

    // Member order and an unknown extension attribute make no other command.
    let mut reordered = create.clone();
    reordered["data"] =
        json!({ "integration_id": world.integration, "description": "…", "title": "Once" });
    reordered["extension"] = json!("ignored");
    let (connection, body) = (
        broker::connect_tool(&world.amqp_url.as_str().into(), &world.topology)
            .await
            .unwrap(),
        reordered.to_string(),
    );
    let answer = broker::call(
        &connection,
        &world.topology,
        "ticket.create",
        &body,
        Duration::from_secs(20),
    )
    .await
    .unwrap();

    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer, first, "a repeat gets the same event, id and all");
    assert_eq!(world.jira().issues.len(), 1);
    world.close_the_ledger(&[id]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_command_under_a_used_id_is_rejected_and_the_first_untouched() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Mine").await;
    world.succeeds(create).await;

    let data = json!({ "ticket_id": ticket, "body": "Not mine." });
    let other = command("ticket.comment", create, world.organization, &data);
    world.send(&[Message::of(&other)]).await;

    let rejected = wait_for("the rejection", async || {
        let events = world.events_of(create);
        events
            .into_iter()
            .find(|event| event["data"]["outcome"] == "rejected")
    })
    .await;
    assert_eq!(rejected["data"]["error"]["code"], "idempotency_conflict");
    assert_eq!(rejected["type"], "ticket.comment.rejected");
    let letter = world
        .text(
            "SELECT reason FROM dead_letters WHERE command_id = $1",
            &[&create],
        )
        .await;
    assert_eq!(letter.as_deref(), Some("idempotency_conflict"));
    world.state(create, "succeeded").await;
    assert!(world.jira().issues[0].comments.is_empty());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_gets_the_final_event() {
    let world = World::new().await;
    let worker = world.worker().await;
    let url = world.amqp_url.as_str().into();
    let connection = broker::connect_tool(&url, &world.topology).await.unwrap();
    world.fault(json!({ "kind": "delay", "delay_ms": 700, "operation": "create_issue" }));
    let id = Uuid::now_v7();
    let data =
        json!({ "title": "Two ask", "description": "…", "integration_id": world.integration });
    let body = command("ticket.create", id, world.organization, &data).to_string();

    let ask = || {
        broker::call(
            &connection,
            &world.topology,
            "ticket.create",
            &body,
            Duration::from_secs(20),
        )
    };
    let (one, two) = tokio::join!(ask(), ask());

    let event = world.succeeds(id).await;
    for answer in [one, two] {
        assert_eq!(
            serde_json::from_str::<Value>(&answer.unwrap()).unwrap(),
            event
        );
    }
    world.close_the_ledger(&[id]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_answer_in_full_to_the_caller_and_leave_nothing_behind() {
    let world = World::new().await;
    let worker = world.worker().await;
    let url = world.amqp_url.as_str().into();
    let connection = broker::connect_tool(&url, &world.topology).await.unwrap();
    let ask = async |command_type: &str, data: Value| -> Value {
        let body = command(command_type, Uuid::now_v7(), world.organization, &data).to_string();
        let limit = Duration::from_secs(20);
        let answer = broker::call(&connection, &world.topology, command_type, &body, limit).await;
        serde_json::from_str(&answer.unwrap()).unwrap()
    };

    let got = ask(
        "integration.get",
        json!({ "integration_id": world.integration }),
    )
    .await;
    let listed = ask("integration.list", json!({ "platform_name": "jira" })).await;
    let missing = ask(
        "integration.get",
        json!({ "integration_id": Uuid::new_v4() }),
    )
    .await;

    assert_eq!(got["type"], "integration.get.succeeded");
    let shown = got["data"]["result"].to_string();
    assert!(
        shown.contains("SUP") && !shown.contains("s3cr3t-t0k3n"),
        "{shown}"
    );
    assert_eq!(listed["data"]["outcome"], "succeeded", "{listed:#}");
    assert!(
        listed["data"]["result"]
            .to_string()
            .contains(&world.integration.to_string())
    );
    assert_eq!(missing["data"]["error"]["code"], "integration_not_found");
    let published = wait_for("the read's event", async || {
        let all = world.events.all();
        all.into_iter()
            .map(|(_, event)| event)
            .find(|event| event["type"] == "integration.get.succeeded")
    })
    .await;
    assert_eq!(published["data"]["result"], Value::Null);
    world.quiet().await;
    assert_eq!(world.count("SELECT count(*) FROM commands").await, 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_masked_request_and_sends_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    let url = world.amqp_url.as_str().into();
    let connection = broker::connect_tool(&url, &world.topology).await.unwrap();
    let data = json!({ "title": "Try", "description": "it", "integration_id": world.integration });
    let mut dry = command("ticket.create", Uuid::now_v7(), world.organization, &data);
    dry["dryrun"] = json!(true);

    let answer = broker::call(
        &connection,
        &world.topology,
        "ticket.create",
        &dry.to_string(),
        Duration::from_secs(20),
    )
    .await
    .unwrap();

    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["data"]["outcome"], "succeeded", "{answer:#}");
    let shown = answer["data"]["result"].to_string();
    assert!(shown.contains("/rest/api/3/issue"), "{shown}");
    assert!(
        shown.contains("Try") && !shown.contains("s3cr3t"),
        "{shown}"
    );
    assert!(world.jira().issues.is_empty());
    assert_eq!(world.count("SELECT count(*) FROM commands").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM tickets").await, 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limited_create_is_deferred_until_retry_after() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.fault(
        json!({ "kind": "status", "status": 429, "operation": "create_issue",
        "headers": { "Retry-After": "4" } }),
    );
    let asked = Utc::now();

    let (create, _) = world.create("Too many").await;
    world.state(create, "deferred").await;
    let shown = world
        .cli(&["command", "show", &create.to_string()])
        .to_string();
    let sql = "SELECT to_jsonb(c)::text FROM commands c WHERE id = $1";
    let deferred = world.text(sql, &[&create]).await.unwrap();
    let deferred: Value = serde_json::from_str(&deferred).unwrap();
    let done = world.succeeds(create).await;

    assert_eq!(deferred["error_code"], "rate_limited");
    let at = time(&deferred["retry_at"]);
    assert!(at - asked >= chrono::Duration::seconds(4), "{at} {asked}");
    assert!(at - asked <= chrono::Duration::seconds(6), "{at} {asked}");
    assert!(time(&done["time"]) >= at, "never before its time");
    assert_eq!(
        done["data"]["attempt"], 1,
        "a refusal by budget spends none"
    );
    assert!(shown.contains("Retry-After"), "{shown}");
    world.close_the_ledger(&[create]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_stays_down_exhausts_the_schedule_and_says_the_last_cause() {
    let world = World::new().await;
    world.set("TICKETWIRE__RETRY__SCHEDULE", r#"["100ms","100ms"]"#);
    world.set("TICKETWIRE__CIRCUIT__FAILURE_THRESHOLD", "50");
    let worker = world.worker().await;
    let (create, ticket) = world.create("Exists").await;
    world.succeeds(create).await;
    world.fault(json!({ "kind": "status", "status": 503, "times": 0 }));

    let data = json!({ "ticket_id": ticket, "title": "Never" });
    let update = world.publish("ticket.update", data).await;
    let event = world.fails(update, "attempts_exhausted").await;

    assert_eq!(event["data"]["attempt"], 3);
    assert_eq!(event["data"]["error"]["retryable"], false);
    let message = event["data"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("503"), "{message}");
    let attempts = world
        .query(
            "SELECT attempt, outcome, error_code FROM command_attempts WHERE command_id = $1 \
             ORDER BY attempt",
            &[&update],
        )
        .await;
    let numbers: Vec<i32> = attempts.iter().map(|row| row.get(0)).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(attempts[2].get::<_, String>(1), "failed");
    world.close_the_ledger(&[create, update]).await;

    // An operator runs it again.
    world.clear_faults();
    world.cli(&["command", "retry", &update.to_string()]);
    let again = wait_for("the second run's event", async || {
        let events = world.events_of(update);
        events.into_iter().find(|event| event["data"]["run"] == 2)
    })
    .await;
    assert_eq!(again["data"]["outcome"], "succeeded", "{again:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_command_is_not_started() {
    let world = World::new().await;
    let id = Uuid::now_v7();
    let data = json!({ "title": "Late", "description": "…", "integration_id": world.integration });
    let mut late = command("ticket.create", id, world.organization, &data);
    late["expirytime"] = json!("2026-01-01T00:00:00Z");
    world.send(&[Message::of(&late)]).await;

    let worker = world.worker().await;

    world.fails(id, "expired").await;
    assert!(world.jira().issues.is_empty());
    world.close_the_ledger(&[id]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_an_unknown_ticket_waits_for_its_create() {
    let world = World::new().await;
    let worker = world.worker().await;
    let ticket = Uuid::new_v4();
    let data = json!({ "ticket_id": ticket, "body": "First here." });
    let comment = world.publish("ticket.comment", data).await;
    world.state(comment, "pending").await;

    let data = json!({ "ticket_id": ticket, "title": "Second", "description": "…",
        "integration_id": world.integration });
    let create = world.publish("ticket.create", data).await;

    world.succeeds(create).await;
    world.succeeds(comment).await;
    assert_eq!(world.jira().issues[0].comments.len(), 1);
    world.close_the_ledger(&[create, comment]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_resolved_fails_with_its_code_and_sends_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    let of = |organization: Uuid, integration: Uuid| {
        let data = json!({ "title": "No", "description": "…", "integration_id": integration });
        command("ticket.create", Uuid::now_v7(), organization, &data)
    };
    let disabled = world.add_integration("other", &json!({})).await;
    world.cli(&["integration", "disable", &disabled.to_string()]);
    let deleted = world.add_integration("third", &json!({})).await;
    world.cli(&["integration", "delete", &deleted.to_string()]);
    // Another organization with an integration of its own.
    let stranger = Uuid::new_v4();
    let own = json!({ "name": "Theirs", "platform_name": "jira", "base_url": world.sandbox.url("x"),
        "settings": { "project_key": "SUP" }, "credentials": { "email": "a@b.example",
            "api_token": "t0k3n" } });
    let made = command("integration.create", Uuid::now_v7(), stranger, &own);
    world.send(&[Message::of(&made)]).await;
    let made: Uuid = made["id"].as_str().unwrap().parse().unwrap();
    let pending = world.succeeds(made).await["data"]["result"]["integration_id"].clone();
    let pending: Uuid = pending.as_str().unwrap().parse().unwrap();

    let cases = [
        (
            of(world.organization, Uuid::new_v4()),
            "integration_not_found",
        ),
        (of(world.organization, deleted), "integration_not_found"),
        (of(stranger, world.integration), "integration_not_found"),
        (of(world.organization, disabled), "integration_disabled"),
        (of(stranger, pending), "integration_inactive"),
        (
            of(Uuid::new_v4(), world.integration),
            "organization_not_found",
        ),
    ];
    for (message, code) in &cases {
        world.send(&[Message::of(message)]).await;
        let id = message["id"].as_str().unwrap().parse().unwrap();
        let event = world.fails(id, code).await;
        assert_eq!(event["data"]["error"]["retryable"], false, "{code}");
    }
    assert!(world.jira().issues.is_empty());
    assert_eq!(world.count("SELECT count(*) FROM tickets").await, 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_for_an_integration_that_nobody_has_is_told_so() {
    let world = World::new().await;
    let worker = world.worker().await;

    let data = json!({ "integration_id": Uuid::new_v4(), "headers": {}, "body": "",
        "received_at": "2026-01-01T00:00:00Z" });
    let received = world.publish("webhook.received", data).await;

    world.fails(received, "integration_not_found").await;
    world.close_the_ledger(&[received]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_platform_starves_no_other() {
    let world = World::new().await;
    world.set("TICKETWIRE__DISPATCH__MAX_IN_FLIGHT_PER_INTEGRATION", "4");
    let quick = world.add_integration("quick", &json!({})).await;
    let worker = world.worker().await;
    world.fault(json!({ "kind": "delay", "delay_ms": 1500, "times": 0 }));
    let mut slow = Vec::new();
    for _ in 0..60 {
        slow.push(world.create("Slow").await.0);
    }
    wait_for("the slow platform's lane to be full", async || {
        (world
            .count("SELECT count(*) FROM commands WHERE state = 'running'")
            .await
            >= 4)
            .then_some(())
    })
    .await;

    let began = Instant::now();
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(world.create_at(quick, "Quick").await.0);
    }
    for id in &others {
        world.succeeds(*id).await;
    }

    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    let unfinished = "SELECT count(*) FROM commands WHERE finished_at IS NULL";
    assert!(
        world.count(unfinished).await > 30,
        "the slow ones still wait"
    );
    world.clear_faults();
    slow.extend(others);
    world.close_the_ledger(&slow).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_circuit_parks_work_and_lets_it_out_when_the_platform_is_back() {
    let world = World::new().await;
    world.set("TICKETWIRE__CIRCUIT__FAILURE_THRESHOLD", "3");
    world.set("TICKETWIRE__CIRCUIT__OPEN_FOR", "1s");
    let schedule = r#"["300ms","300ms","300ms","300ms","300ms","300ms","300ms","300ms","300ms"]"#;
    world.set("TICKETWIRE__RETRY__SCHEDULE", schedule);
    let worker = world.worker().await;
    let mut commands = Vec::new();
    let mut tickets = Vec::new();
    for _ in 0..6 {
        let (create, ticket) = world.create("Exists").await;
        world.succeeds(create).await;
        commands.push(create);
        tickets.push(ticket);
    }
    world.fault(json!({ "kind": "status", "status": 503, "times": 0 }));
    for ticket in &tickets {
        let data = json!({ "ticket_id": ticket, "title": "Changed" });
        commands.push(world.publish("ticket.update", data).await);
    }
    let opened = wait_for("the circuit to open", async || {
        let all = world.events.all();
        all.into_iter()
            .map(|(_, event)| event)
            .find(|event| event["type"] == "integration.circuit.opened")
    })
    .await;
    assert_eq!(
        opened["data"]["integration_id"],
        world.integration.to_string()
    );

    world.clear_faults();
    world.close_the_ledger(&commands).await;

    for id in &commands {
        world.succeeds(*id).await;
    }
    wait_for("the circuit to close", async || {
        let all = world.events.all();
        all.iter()
            .any(|(_, event)| event["type"] == "integration.circuit.closed")
            .then_some(())
    })
    .await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_in_flight_and_leaves_the_rest_to_the_next() {
    let world = World::new().await;
    world.set("TICKETWIRE__DISPATCH__MAX_IN_FLIGHT_PER_INTEGRATION", "2");
    let worker = world.worker().await;
    world.fault(
        json!({ "kind": "delay", "delay_ms": 800, "operation": "create_issue", "times": 0 }),
    );
    let mut commands = Vec::new();
    for _ in 0..12 {
        commands.push(world.create("In flight").await.0);
    }
    wait_for("work in flight", async || {
        (world
            .count("SELECT count(*) FROM commands WHERE state = 'running'")
            .await
            >= 2)
            .then_some(())
    })
    .await;

    assert!(worker.stop().await.success());

    let running =
        "SELECT count(*) FROM commands WHERE state = 'running' OR doubt_since IS NOT NULL";
    assert_eq!(world.count(running).await, 0);
    let made = i64::try_from(world.jira().issues.len()).unwrap();
    let done = world
        .count("SELECT count(*) FROM commands WHERE state = 'succeeded'")
        .await;
    assert_eq!((made, made < 12), (done, true), "what was sent is settled");
    assert_eq!(world.count("SELECT count(*) FROM unsent_events").await, 0);
    world.clear_faults();
    let next = world.worker().await;
    world.close_the_ledger(&commands).await;
    assert_eq!(world.jira().issues.len(), commands.len());
    drop(next);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_is_made_tested_and_switched_by_commands() {
    let world = World::bare(&crate::support::services().0, &crate::support::services().1).await;
    let worker = world.worker().await;
    let data = json!({ "name": "New", "platform_name": "jira",
        "base_url": world.sandbox.url("acme"),
        "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n",
            "project_key": "SUP" } });
    let create = world.publish("integration.create", data).await;
    let made = world.succeeds(create).await;
    assert_eq!(made["data"]["result"]["status"], "pending");
    let id = made["data"]["result"]["integration_id"].clone();

    let test = world
        .publish("integration.test", json!({ "integration_id": id }))
        .await;
    let tested = world.succeeds(test).await;
    assert_eq!(tested["data"]["result"]["success"], true, "{tested:#}");
    let off = world
        .publish(
            "integration.status",
            json!({ "integration_id": id, "enabled": false, "reason": "holiday" }),
        )
        .await;
    let off = world.succeeds(off).await;
    assert_eq!(off["data"]["result"]["status"], "inactive", "{off:#}");
    let on = world
        .publish(
            "integration.status",
            json!({ "integration_id": id, "enabled": true }),
        )
        .await;
    let on = world.succeeds(on).await;
    assert_eq!(
        on["data"]["result"]["status"], "active",
        "healthy when last looked at: {on:#}"
    );

    let dump = "SELECT string_agg(i::text, ' ') || (SELECT string_agg(c::text, ' ') \
                FROM commands c) FROM integrations i";
    let stored = world.text(dump, &[]).await.unwrap();
    assert!(!stored.contains("s3cr3t"), "{stored}");
    assert!(!worker.log().contains("s3cr3t"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_and_the_next_worker_goes_on() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    world.fault(
        json!({ "kind": "delay", "delay_ms": 1500, "delay_at": "after_store",
        "operation": "create_issue" }),
    );
    let (create, _) = world.create("Cut short").await;
    wait_for("the issue to be made", async || {
        (!world.jira().issues.is_empty()).then_some(())
    })
    .await;

    worker.signal("TERM");
    wait_for("the drain to begin", async || {
        worker.log().contains("draining").then_some(())
    })
    .await;
    worker.signal("TERM");
    let status = worker.ended().await;

    assert_eq!(status.code(), Some(1), "{}", worker.log());
    assert!(worker.log().contains("a second signal"), "{}", worker.log());
    let next = world.worker().await;
    world.close_the_ledger(&[create]).await;
    world.succeeds(create).await;
    assert_eq!(world.jira().issues.len(), 1);
    drop(next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_service_is_away_ends_all_the_same() {
    let world = World::new().await;
    let (proxy, through) = crate::support::CutProxy::through(&world.database_url).await;
    let worker = world.worker_with(&[("DATABASE_URL", &through)]).await;
    world.fault(json!({ "kind": "delay", "delay_ms": 800, "operation": "create_issue" }));
    let (create, _) = world.create("In between").await;
    world.state(create, "running").await;
    proxy.shut();

    let began = Instant::now();
    worker.stop().await;

    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    let next = world.worker().await;
    world.close_the_ledger(&[create]).await;
    assert_eq!(world.jira().issues.len(), 1);
    drop(next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_starts_before_its_services_waits_for_them() {
    let world = World::new().await;
    let (proxy, through) = crate::support::CutProxy::through(&world.database_url).await;
    proxy.shut();
    let mut worker = world.spawn_worker(&[("DATABASE_URL", &through)]);
    wait_for("the worker to say what it waits for", async || {
        worker
            .log()
            .contains("waiting for PostgreSQL")
            .then_some(())
    })
    .await;
    assert!(worker.is_running());

    proxy.open();
    let worker = worker.ready().await;

    let (create, _) = world.create("At last").await;
    world.succeeds(create).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_ticket_keep_their_order_wherever_they_meet_its_create() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut commands = Vec::new();
    let mut tickets = Vec::new();
    // One confirmed publish after the other, so that the followers arrive before, while and after
    // the create is settled.
    for _ in 0..60 {
        let (create, ticket) = world.create("Followed").await;
        commands.push(create);
        tickets.push(ticket);
        for number in 0..3 {
            let data = json!({ "ticket_id": ticket, "body": format!("Comment {number}") });
            commands.push(world.publish("ticket.comment", data).await);
        }
    }
    world.close_the_ledger(&commands).await;

    let jira = world.jira();
    for ticket in tickets {
        let issues = jira.with_label(&format!("tkt-{ticket}"));
        let said: Vec<String> = issues[0]
            .comments
            .iter()
            .map(|comment| comment.body["content"][0]["content"][0]["text"].to_string())
            .collect();
        let expected: Vec<String> = (0..3)
            .map(|number| format!("\"Comment {number}\""))
            .collect();
        assert_eq!(said, expected, "{ticket}");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_keeps_the_event_of_the_run_before_that_is_not_out_yet() {
    let world = World::new().await;
    world
        .fault(json!({ "kind": "status", "status": 422, "operation": "create_issue", "times": 0 }));
    let worker = world.worker().await;
    let (command, _) = world.create("Refused at first").await;
    world.fails(command, "validation_failed").await;
    world.quiet().await;
    assert!(worker.stop().await.success());
    // As a worker leaves it that died before the broker had it.
    let unsent = "INSERT INTO outbox_batches (id, command_ids) \
                  VALUES ($1::uuid, ARRAY[$1::uuid]) RETURNING 1::bigint";
    world.query(unsent, &[&command]).await;
    world.clear_faults();

    world.cli(&["command", "retry", &command.to_string()]);
    let kept = "SELECT count(*) FROM outbox WHERE number = 1 AND body LIKE '%\"failed\"%'";
    assert_eq!(
        world.count(kept).await,
        1,
        "the first run's event stands by itself now"
    );

    let worker = world.worker().await;
    let done = world.event(command, "succeeded").await;
    assert_eq!(done["data"]["run"], 2);
    world.quiet().await;
    drop(worker);
}
