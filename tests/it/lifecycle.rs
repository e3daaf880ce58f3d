//! The life of an integration: updated, switched, deleted, expired, checked, parked; and what is
//! told of it.

use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{SITE, World, wait_for};

impl World {
    /// The commands that changes of status told so far came of, in order. The change made on the
    /// command line when the world was set up is not among them: it is published whenever the
    /// worker's outbox poller comes to it.
    fn causes_of_status(&self) -> Vec<Value> {
        let all = self.events.all().into_iter();
        all.filter(|(_, event)| event["type"] == "integration.status.changed")
            .map(|(_, event)| event["data"]["caused_by"].clone())
            .filter(|key| !key.is_null())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_what_it_mentions_and_unsets_what_it_names_null() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = world.integration;

    let first = json!({
        "integration_id": id, "name": "Support desk", "description": "ours", "region": "eu",
        "default_priority": 7,
        "settings": { "default_issue_type": "Incident", "internal_comments": "Staff" },
        "rate_limit_per_hour": 1000,
        "supports_priorities": ["high", "critical"], "maintenance_window_start": "22:00",
        "maintenance_window_end": "02:00", "sync_frequency_minutes": 5,
        "notification_events": ["a"],
    });
    let update = world.publish("integration.update", first).await;
    let event = world.succeeds(update).await;
    let changed = event["data"]["result"]["changed_fields"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(changed, 11, "{event:#}");
    let second = json!({
        "integration_id": id, "region": null, "rate_limit_per_hour": null,
        "supports_priorities": null,
        "settings": { "internal_comments": null }, "maintenance_window_start": null,
        "maintenance_window_end": null,
    });
    let update = world.publish("integration.update", second).await;
    world.succeeds(update).await;

    let row = world.integration_row(id).await;
    assert_eq!(row["name"], "Support desk");
    assert_eq!(row["default_priority"], 7);
    assert_eq!(row["description"], "ours");
    assert_eq!(row["sync_frequency_minutes"], 5);
    assert_eq!(row["settings"]["default_issue_type"], "Incident");
    for name in [
        "region",
        "rate_limit_per_hour",
        "supports_priorities",
        "maintenance_window_start",
    ] {
        assert_eq!(row[name], Value::Null, "{name}");
    }
    assert_eq!(row["settings"]["internal_comments"], Value::Null);
    assert_eq!(
        row["status"], "active",
        "nothing of this is about its state"
    );
    assert_eq!(world.causes_of_status(), Vec::<Value>::new());
    let (create, _) = world.create("Still works").await;
    world.succeeds(create).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_an_update_are_told_all_at_once_and_nothing_is_changed() {
    let world = World::new().await;
    let worker = world.worker().await;
    let before = world.integration_row(world.integration).await;

    let update = json!({
        "integration_id": world.integration, "platform_name": "slack", "name": null,
        "base_url": "ftp://x",
        "default_priority": 0, "failure_threshold": "many", "expires_at": "tomorrow",
        "colour": "red",
        "routing_rules": [{ "conditions": [{ "field": "mood", "value": 1 }] }],
    });
    let update = world.publish("integration.update", update).await;
    let event = world.outcome(update).await;
    assert_eq!(event["data"]["outcome"], "rejected", "{event:#}");
    let named: Vec<&String> = event["data"]["error"]["fields"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        named,
        [
            "base_url",
            "colour",
            "default_priority",
            "expires_at",
            "failure_threshold",
            "name",
            "platform_name",
            "routing_rules"
        ]
    );

    let half = json!({ "integration_id": world.integration, "integration_category": "crm",
                       "maintenance_window_start": "22:00" });
    let half = world.publish("integration.update", half).await;
    let event = world.fails(half, "validation_failed").await;
    let named: Vec<&String> = event["data"]["error"]["fields"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(named, ["integration_category", "maintenance_window_end"]);
    let foreign = json!({ "integration_id": Uuid::new_v4(), "name": "x" });
    let foreign = world.publish("integration.update", foreign).await;
    world.fails(foreign, "integration_not_found").await;
    assert_eq!(world.integration_row(world.integration).await, before);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_credentials_are_sealed_replace_the_old_and_wait_for_a_test_to_be_called_healthy() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = world.integration;

    let bad = json!({ "integration_id": id, "credentials": { "email": "bot@example.test",
        "api_token": "wrong" } });
    let bad = world.publish("integration.update", bad).await;
    world.succeeds(bad).await;
    let (create, _) = world.create("With the wrong token").await;
    world.fails(create, "authentication_failed").await;
    let row = world.integration_row(id).await;
    assert_eq!(row["health_check_status"], "unknown");
    assert_eq!(
        row["status"], "active",
        "a token is replaced while it is in use"
    );
    world
        .told("integration.health.changed", |d| {
            d["old_health_check_status"] == "healthy" && d["health_check_status"] == "unknown"
        })
        .await;

    let good = json!({ "integration_id": id, "credentials": { "email": "bot@example.test",
        "api_token": "n3v3r-right" } });
    let good = world.publish("integration.update", good).await;
    world.succeeds(good).await;
    let (create, _) = world.create("With the right one").await;
    world.succeeds(create).await;
    let stored = world
        .text(
            "SELECT string_agg(c::text, ' ') || (SELECT string_agg(i::text, ' ') \
               FROM integrations i) FROM commands c",
            &[],
        )
        .await
        .unwrap();
    assert!(!stored.contains("n3v3r"), "{stored}");
    assert!(!worker.log().contains("n3v3r"));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_status_is_told_with_old_new_why_and_by_which_command() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = world.integration;

    let off = json!({ "integration_id": id, "enabled": false, "reason": "spring cleaning" });
    let off = world.publish("integration.status", off).await;
    let event = world.succeeds(off).await;
    assert_eq!(event["data"]["result"]["old_status"], "active");
    assert_eq!(event["data"]["result"]["status"], "inactive");
    let told = world
        .told("integration.status.changed", |d| d["status"] == "inactive")
        .await;
    let data = &told["data"];
    assert_eq!(
        (&data["old_status"], &data["old_enabled"], &data["enabled"]),
        (&json!("active"), &json!(true), &json!(false))
    );
    assert_eq!(data["reason"], "spring cleaning");
    assert_eq!(data["caused_by"], off.to_string());
    assert_eq!(told["subject"], id.to_string());
    assert_eq!(told["organizationid"], world.organization.to_string());
    let key = world
        .events
        .all()
        .into_iter()
        .find(|(_, e)| e["id"] == told["id"])
        .unwrap()
        .0;
    assert_eq!(key, "integration.status.changed.jira");

    let on = json!({ "integration_id": id, "enabled": true });
    let on = world.publish("integration.update", on).await;
    let event = world.succeeds(on).await;
    assert_eq!(
        event["data"]["result"]["status"], "active",
        "its last check was healthy"
    );
    world
        .told("integration.status.changed", |d| {
            d["caused_by"] == on.to_string()
        })
        .await;
    let again = world
        .publish(
            "integration.status",
            json!({ "integration_id": id, "enabled": true }),
        )
        .await;
    world.succeeds(again).await;
    // What the repeat might have told would have gone out before what comes of the next one.
    let last = json!({ "integration_id": id, "enabled": false });
    let last = world.publish("integration.status", last).await;
    world
        .told("integration.status.changed", |d| {
            d["caused_by"] == last.to_string()
        })
        .await;
    assert_eq!(
        world.causes_of_status(),
        [json!(off), json!(on), json!(last)],
        "what changes nothing tells nothing"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_integration_is_not_found_and_its_tickets_stay() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Before").await;
    world.succeeds(create).await;

    let delete = world
        .publish(
            "integration.delete",
            json!({ "integration_id": world.integration }),
        )
        .await;
    let event = world.succeeds(delete).await;
    assert_eq!(event["data"]["result"]["deleted"], true);

    let (create, _) = world.create("After").await;
    world.fails(create, "integration_not_found").await;
    let comment = world
        .publish(
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Hello?" }),
        )
        .await;
    world.fails(comment, "integration_not_found").await;
    for (kind, data) in [
        (
            "integration.delete",
            json!({ "integration_id": world.integration }),
        ),
        (
            "integration.get",
            json!({ "integration_id": world.integration }),
        ),
        (
            "integration.test",
            json!({ "integration_id": world.integration }),
        ),
    ] {
        let command = world.publish(kind, data).await;
        world.fails(command, "integration_not_found").await;
    }
    let kept = world
        .count("SELECT count(*) FROM tickets WHERE integration_id IS NOT NULL AND NOT is_deleted")
        .await;
    assert_eq!(kept, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_expires_when_its_time_comes_and_is_renewed_by_a_later_one() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = world.integration;

    let soon = Utc::now() + chrono::Duration::milliseconds(1500);
    let update = json!({ "integration_id": id, "expires_at": soon.to_rfc3339() });
    let update = world.publish("integration.update", update).await;
    assert_eq!(
        world.succeeds(update).await["data"]["result"]["status"],
        "active"
    );
    let told = world
        .told("integration.status.changed", |d| d["status"] == "expired")
        .await;
    assert_eq!(told["data"]["event"], "expire");
    assert_eq!(told["data"]["caused_by"], Value::Null);
    let (create, _) = world.create("Too late").await;
    world.fails(create, "integration_expired").await;

    let later = Utc::now() + chrono::Duration::hours(1);
    let update = json!({ "integration_id": id, "expires_at": later.to_rfc3339() });
    let update = world.publish("integration.update", update).await;
    assert_eq!(
        world.succeeds(update).await["data"]["result"]["status"],
        "active"
    );
    let (create, _) = world.create("In time").await;
    world.succeeds(create).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_parks_the_work_and_a_good_test_lets_it_go_on() {
    let world = World::new().await;
    let parking = world
        .add_integration(SITE, &json!({ "on_auth_failure": "park" }))
        .await;
    let worker = world.worker().await;
    world
        .fault(json!({ "kind": "status", "status": 401, "operation": "create_issue", "times": 1 }));

    let (first, _) = world.create_at(parking, "Meets the 401").await;
    let deferred = world.event(first, "deferred").await;
    assert_eq!(deferred["data"]["error"]["code"], "authentication_failed");
    let told = world
        .told("integration.status.changed", |d| d["status"] == "error")
        .await;
    assert_eq!(told["data"]["parked"], true);
    let mut waiting = vec![first];
    for number in 0..5 {
        let (create, _) = world.create_at(parking, &format!("Waits {number}")).await;
        waiting.push(create);
    }
    for command in &waiting {
        let event = world.event(*command, "deferred").await;
        assert!(event["data"]["retry_at"].is_string(), "{event:#}");
        world.state(*command, "deferred").await;
    }
    let shown = world.cli(&["command", "show", &waiting[3].to_string()]);
    assert!(
        shown.to_string().contains("settings.on_auth_failure"),
        "{shown:#}"
    );
    assert_eq!(
        world.jira().count("create_issue").effective,
        0,
        "nothing was sent meanwhile"
    );

    let test = world
        .publish("integration.test", json!({ "integration_id": parking }))
        .await;
    let event = world.succeeds(test).await;
    assert_eq!(
        event["data"]["result"]["status_after"], "active",
        "{event:#}"
    );
    for command in &waiting {
        world.succeeds(*command).await;
    }
    assert_eq!(world.jira().issues.len(), 6);
    world.close_the_ledger(&waiting).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_work_of_an_integration_that_is_disabled_fails_as_disabled() {
    let world = World::new().await;
    let parking = world
        .add_integration(SITE, &json!({ "on_auth_failure": "park" }))
        .await;
    let worker = world.worker().await;
    world
        .fault(json!({ "kind": "status", "status": 401, "operation": "create_issue", "times": 1 }));
    let (parked, _) = world.create_at(parking, "Meets the 401").await;
    world.event(parked, "deferred").await;
    let (behind, _) = world.create_at(parking, "Behind it").await;
    world.event(behind, "deferred").await;

    let off = world
        .publish(
            "integration.status",
            json!({ "integration_id": parking, "enabled": false }),
        )
        .await;
    world.succeeds(off).await;

    world.fails(parked, "integration_disabled").await;
    world.fails(behind, "integration_disabled").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_row_warn_at_half_and_four_fifths_and_then_set_the_status_to_error() {
    let world = World::new().await;
    let worker = world
        .worker_with(&[
            ("TICKETWIRE__RETRY__SCHEDULE", r#"["1h"]"#),
            ("TICKETWIRE__CIRCUIT__FAILURE_THRESHOLD", "1000"),
        ])
        .await;
    let id = world.integration;
    let update =
        json!({ "integration_id": id, "auto_disable_on_error": true, "failure_threshold": 5 });
    let update = world.publish("integration.update", update).await;
    world.succeeds(update).await;
    world
        .fault(json!({ "kind": "status", "status": 403, "operation": "create_issue", "times": 0 }));

    let mut commands = Vec::new();
    for number in 0..5 {
        let (create, _) = world.create(&format!("Refused {number}")).await;
        world.fails(create, "permission_denied").await;
        commands.push(create);
    }

    let told = world
        .told("integration.status.changed", |d| d["status"] == "error")
        .await;
    assert_eq!(told["data"]["event"], "too_many_failures");
    let warnings: Vec<i64> = world
        .events
        .all()
        .iter()
        .filter(|(_, e)| e["type"] == "integration.failures.warning")
        .map(|(_, e)| e["data"]["failures"].as_i64().unwrap())
        .collect();
    assert_eq!(warnings, [3, 4]);
    let (create, _) = world.create("Not any more").await;
    world.fails(create, "integration_inactive").await;

    world.clear_faults();
    let test = world
        .publish("integration.test", json!({ "integration_id": id }))
        .await;
    assert_eq!(
        world.succeeds(test).await["data"]["result"]["status_after"],
        "active"
    );
    world
        .fault(json!({ "kind": "status", "status": 403, "operation": "create_issue", "times": 1 }));
    let (create, _) = world.create("One more failure").await;
    world.fails(create, "permission_denied").await;
    let (create, _) = world.create("The count began anew").await;
    world.succeeds(create).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_checked_on_a_schedule_by_one_worker_at_a_time_and_told_when_it_changes() {
    let world = World::new().await;
    world.set("TICKETWIRE__HEALTH__INTERVAL", "1s");
    world.fault(json!({ "kind": "status", "status": 401, "operation": "myself", "times": 0 }));
    let one = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "one")])
        .await;
    let two = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "two")])
        .await;

    let told = world
        .told("integration.health.changed", |d| {
            d["health_check_status"] == "unhealthy"
        })
        .await;
    assert_eq!(told["data"]["event"], "check_failed");
    assert!(told["data"]["error"].is_string(), "{told:#}");
    let row = world.integration_row(world.integration).await;
    assert_eq!(row["health_check_status"], "unhealthy");
    assert_eq!(
        row["status"], "active",
        "a failed check alone takes nothing away"
    );
    world.clear_faults();
    world
        .told("integration.health.changed", |d| {
            d["health_check_status"] == "healthy"
        })
        .await;
    let before = world.jira().count("myself").received;
    wait_for("a few more checks", async || {
        (world.jira().count("myself").received >= before + 3).then_some(())
    })
    .await;
    let all = world.events.all().into_iter();
    let by_checks = all.filter(|(_, event)| {
        event["type"] == "integration.health.changed"
            && event["data"]["reason"] == "the health check on the schedule"
    });
    assert_eq!(
        by_checks.count(),
        2,
        "an event on change, not on every check"
    );
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_in_error_recovers_by_a_health_check() {
    let world = World::new().await;
    world.set("TICKETWIRE__HEALTH__INTERVAL", "1s");
    let sql = "UPDATE integrations SET status = 'error', health_check_status = 'unhealthy' \
               WHERE id = $1 RETURNING id";
    world.query(sql, &[&world.integration]).await;
    let worker = world.worker().await;

    let told = world
        .told("integration.status.changed", |d| {
            d["event"] == "check_passed"
        })
        .await;

    assert_eq!(told["data"]["status"], "active");
    let (create, _) = world.create("Back again").await;
    world.succeeds(create).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_an_integration_does_not_wait_behind_its_tickets() {
    let world = World::new().await;
    let worker = world
        .worker_with(&[
            ("TICKETWIRE__DISPATCH__MAX_IN_FLIGHT_PER_INTEGRATION", "1"),
            ("TICKETWIRE__DISPATCH__QUEUE_PER_INTEGRATION", "0"),
        ])
        .await;
    world.fault(
        json!({ "kind": "delay", "delay_ms": 1500, "operation": "create_issue", "times": 0 }),
    );
    let mut creates = Vec::new();
    for _ in 0..20 {
        creates.push(world.create("Slow").await.0);
    }
    wait_for("the lane to be full", async || {
        let sql = "SELECT count(*) FROM commands WHERE state = 'pending'";
        (world.count(sql).await >= 10).then_some(())
    })
    .await;
    let began = std::time::Instant::now();

    let off = world
        .publish(
            "integration.status",
            json!({ "integration_id": world.integration, "enabled": false }),
        )
        .await;
    world.succeeds(off).await;

    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    world.clear_faults();
    for create in creates {
        world.outcome(create).await;
    }
    let disabled = world
        .count("SELECT count(*) FROM commands WHERE error_code = 'integration_disabled'")
        .await;
    assert!(disabled >= 10, "{disabled}");
    drop(worker);
}
