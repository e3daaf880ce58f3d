//! Where a ticket goes: chosen by rules, held to a limit an hour, departments by their mapped
//! names.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{World, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_without_an_integration_is_routed_by_priority_rules_and_abilities() {
    let world = World::new().await;
    let second = world.add_integration("second", &json!({})).await;
    let third = world.add_integration("third", &json!({})).await;
    let worker = world.worker().await;
    for (id, change) in [
        (world.integration, json!({ "default_priority": 50 })),
        (
            second,
            json!({ "default_priority": 90, "routing_rules": [
            { "conditions": [{ "field": "category", "operator": "equals", "value": "bug" }],
                "priority_adjustment": -60 },
        ] }),
        ),
        (
            third,
            json!({ "default_priority": 1, "supports_categories": ["billing"] }),
        ),
    ] {
        let mut change = change;
        change["integration_id"] = json!(id);
        let update = world.publish("integration.update", change).await;
        world.succeeds(update).await;
    }
    let foreign = world
        .publish(
            "integration.status",
            json!({ "integration_id": Uuid::new_v4(), "enabled": true }),
        )
        .await;
    world.fails(foreign, "integration_not_found").await;

    let question = json!({ "ticket": { "title": "500", "category": "bug" } });
    let answer = world.ask("integration.route", question).await;
    let result = &answer["data"]["result"];
    let ranked: Vec<&str> = result["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["integration_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        ranked,
        [second.to_string(), world.integration.to_string()],
        "{result:#}"
    );
    assert_eq!(result["candidates"][0]["priority"], 30);
    assert_eq!(result["rejected"][0]["integration_id"], third.to_string());
    assert_eq!(result["rejected"][0]["code"], "integration_cannot_handle");

    let create = |category: &str| {
        json!({ "title": "T", "description": "D", "category": category,
        "route": true })
    };
    let bug = world.publish("ticket.create", create("bug")).await;
    let other = world.publish("ticket.create", create("general")).await;
    let bill = world.publish("ticket.create", create("billing")).await;
    assert_eq!(
        world.succeeds(bug).await["data"]["integration_id"],
        second.to_string()
    );
    assert_eq!(
        world.succeeds(other).await["data"]["integration_id"],
        world.integration.to_string()
    );
    assert_eq!(
        world.succeeds(bill).await["data"]["integration_id"],
        third.to_string()
    );

    for id in [world.integration, second, third] {
        let off = world
            .publish(
                "integration.status",
                json!({ "integration_id": id, "enabled": false }),
            )
            .await;
        world.succeeds(off).await;
    }
    let nobody = world.publish("ticket.create", create("bug")).await;
    let event = world.fails(nobody, "integration_cannot_handle").await;
    assert!(
        event["data"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("is disabled"),
        "{event:#}"
    );
    assert_eq!(
        world.count("SELECT count(*) FROM tickets").await,
        3,
        "nobody took it, so no row is made"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_that_is_not_mapped_is_refused_and_one_that_is_goes_out_by_its_mapped_name() {
    let world = World::new().await;
    let worker = world.worker().await;
    let hook = world
        .integration_of(json!({
            "name": "Hook", "platform_name": "webhook", "auth_type": "custom",
            "credentials": { "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
            "settings": { "url": format!("{}/hook", world.sandbox.url("webhook/departments")) },
            "department_mapping": { "IT": "team-blue", "sales": { "queue": 7 } },
            "custom_fields_mapping": { "seats": "seat_count" },
        }))
        .await;
    let create = |department: &str| {
        json!({ "title": "T", "description": "D", "integration_id": hook, "department": department,
                "custom_fields": { "seats": 3 } })
    };

    let known = world.publish("ticket.create", create("it")).await;
    let unknown = world.publish("ticket.create", create("legal")).await;

    world.succeeds(known).await;
    let event = world.fails(unknown, "integration_cannot_handle").await;
    assert!(
        event["data"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("IT, sales"),
        "{event:#}"
    );
    let sent = world.sandbox.ledger("webhook/departments");
    let data = &sent.issues.last().unwrap().fields["data"];
    assert_eq!(data["department"], "team-blue");
    assert_eq!(data["custom_fields"], json!({ "seat_count": 3 }));
    let stored = world
        .text(
            "SELECT department FROM tickets WHERE integration_id = $1",
            &[&hook],
        )
        .await;
    assert_eq!(stored.as_deref(), Some("it"), "ours keeps its own name");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_an_hour_is_kept_over_two_workers_and_gives_each_of_the_others_a_place_of_its_own()
{
    let world = World::new().await;
    let one = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "one")])
        .await;
    let two = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "two")])
        .await;
    let update = json!({ "integration_id": world.integration, "rate_limit_per_hour": 5 });
    let update = world.publish("integration.update", update).await;
    world.succeeds(update).await;

    let mut commands = Vec::new();
    for number in 0..12 {
        commands.push(world.create(&format!("Limited {number}")).await.0);
    }
    wait_for("every command to be done or put off", async || {
        let sql = "SELECT count(*) FROM commands WHERE type = 'ticket.create' \
                   AND state IN ('succeeded', 'deferred')";
        (world.count(sql).await == 12).then_some(())
    })
    .await;

    assert_eq!(world.jira().issues.len(), 5);
    let places = world
        .query(
            "SELECT EXTRACT(EPOCH FROM retry_at - now())::float8, wait_reason, error_code \
                FROM commands \
                WHERE state = 'deferred' ORDER BY retry_at",
            &[],
        )
        .await;
    assert_eq!(places.len(), 7);
    let waits: Vec<f64> = places.iter().map(|row| row.get(0)).collect();
    assert!(waits.iter().all(|wait| *wait > 3500.0), "{waits:?}");
    assert!(
        waits.windows(2).all(|pair| pair[1] - pair[0] > 700.0),
        "evenly over the hour: {waits:?}"
    );
    assert!(
        places
            .iter()
            .all(|row| row.get::<_, &str>(1) == "rate_limit_per_hour")
    );
    assert!(
        places
            .iter()
            .all(|row| row.get::<_, &str>(2) == "rate_limited")
    );

    // Their time comes: each goes on with the place it has, and takes no other.
    world
        .query(
            "UPDATE commands SET due_at = now() WHERE state = 'deferred' RETURNING id",
            &[],
        )
        .await;
    for command in &commands {
        world.succeeds(*command).await;
    }
    assert_eq!(world.jira().issues.len(), 12);
    assert_eq!(
        world.count("SELECT count(*) FROM integration_places").await,
        12
    );
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_limit_is_none_and_zero_is_none() {
    let world = World::new().await;
    let worker = world.worker().await;
    for limit in [json!(0), Value::Null] {
        let update = json!({ "integration_id": world.integration, "rate_limit_per_hour": limit });
        let update = world.publish("integration.update", update).await;
        world.succeeds(update).await;
        let (create, _) = world.create("Unlimited").await;
        world.succeeds(create).await;
    }
    assert_eq!(
        world.count("SELECT count(*) FROM integration_places").await,
        0
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rules_than_may_be_stored_are_refused_by_field_at_every_door() {
    let world = World::new().await;
    let worker = world.worker().await;
    let rule =
        json!({ "conditions": [{ "field": "title", "value": "a" }], "priority_adjustment": -1 });
    let wide: serde_json::Map<String, Value> = (0..1_001)
        .map(|number| (format!("d{number}"), json!("q")))
        .collect();
    let too_much = [
        (
            "routing_rules",
            json!(vec![rule.clone(); 9_000]),
            "at most 200 rules, not 9000",
        ),
        (
            "department_mapping",
            json!(wide),
            "at most 1000 members, not 1001",
        ),
        (
            "custom_fields_mapping",
            json!({ "a": "x".repeat(70_000) }),
            "at most 64 kB",
        ),
        (
            "settings",
            json!({ "project_key": "SUP", "x": "x".repeat(70_000) }),
            "at most 64 kB",
        ),
        (
            "notification_channels",
            json!({ "a": vec!["b"; 20_000] }),
            "at most 64 kB",
        ),
        (
            "notification_events",
            json!(vec!["a"; 101]),
            "at most 100 entries",
        ),
        (
            "description",
            json!("x".repeat(10_001)),
            "at most 10000 characters",
        ),
    ];
    for (field, value, said) in too_much {
        let update = json!({ "integration_id": world.integration, field: value });
        let id = world.publish("integration.update", update).await;
        let event = world.event(id, "rejected").await;
        let fault = event["data"]["error"]["fields"][field].to_string();
        assert!(fault.contains(said), "{field}: {event:#}");

        let file = world.directory.path().join("update.json");
        std::fs::write(&file, json!({ field: value }).to_string()).unwrap();
        let at_file = format!("@{}", file.display());
        let id = world.integration.to_string();
        let arguments = ["integration", "update", &id, "--data", &at_file];
        let output = crate::support::output(&world.environment(), &arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(said), "{field}: {err}");
    }
    let update = json!({ "integration_id": world.integration, "routing_rules": vec![rule; 200] });
    let update = world.publish("integration.update", update).await;
    world.succeeds(update).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_more_rules_than_may_be_stored_are_routed_and_neighbours_do_not_wait() {
    let world = World::new().await;
    let mut others = Vec::new();
    for number in 0..4 {
        others.push(
            world
                .add_integration(&format!("heavy-{number}"), &json!({}))
                .await,
        );
    }
    // As an older version stored them: 9,000 rules in each, of which the first decides.
    let sql = "UPDATE integrations SET default_priority = 500, routing_rules = (SELECT \
               json_agg(json_build_object( \
               'conditions', json_build_array(json_build_object('field', 'description', \
               'operator', 'contains', \
                 'value', 'needle ' || g)), 'priority_adjustment', -1)) \
                 FROM generate_series(1, 9000) g) \
               WHERE id = ANY($1) RETURNING id";
    assert_eq!(world.query(sql, &[&others]).await.len(), others.len());
    let worker = world.worker().await;
    let description = "needle 1 and hay ".repeat(30_000);
    let mut routed = Vec::new();
    for _ in 0..8 {
        let data = json!({ "title": "T", "description": description, "route": true });
        routed.push(world.publish("ticket.create", data).await);
    }

    let began = std::time::Instant::now();
    let (neighbour, _) = world.create("A neighbour").await;
    world.succeeds(neighbour).await;
    let waited = began.elapsed();

    for command in routed {
        let event = world.succeeds(command).await;
        assert_eq!(
            event["data"]["integration_id"],
            world.integration.to_string()
        );
    }
    println!("a neighbour waited {waited:?}");
    assert!(waited.as_secs() < 10, "a neighbour waited {waited:?}");
    let question = json!({ "ticket": { "title": "T", "description": "needle 1 here" } });
    let answer = world.ask("integration.route", question).await;
    let candidates = answer["data"]["result"]["candidates"].as_array().unwrap();
    let heavy = candidates
        .iter()
        .find(|c| c["default_priority"] == 500)
        .unwrap();
    assert_eq!(heavy["priority"], 499, "{heavy:#}");
    assert!(
        heavy["reasons"]
            .to_string()
            .contains("8000 rules were not looked at"),
        "{heavy:#}"
    );
    drop(worker);
}
