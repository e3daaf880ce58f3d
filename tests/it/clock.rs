//! A machine whose clock is wrong: the database's decides.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Message, World, command, http_get, output};

const AHEAD: &str = "TICKETWIRE_CLOCK_AHEAD";

#[tokio::test(flavor = "multi_thread")]
async fn waits_and_expiries_are_by_the_database_s_clock_and_the_difference_is_told() {
    let world = World::new().await;
    for ahead in ["600", "-600"] {
        let worker = world.worker_with(&[(AHEAD, ahead)]).await;
        world.fault(json!({ "kind": "status", "status": 503, "operation": "create_issue" }));
        let expiring = async |after: TimeDelta| {
            let id = Uuid::now_v7();
            let data = json!({ "title": "By whose clock?", "description": "d",
                "integration_id": world.integration });
            let mut command = command("ticket.create", id, world.organization, &data);
            command["expirytime"] = json!(Utc::now() + after);
            world.send(&[Message::of(&command)]).await;
            id
        };

        let put_off = expiring(TimeDelta::minutes(2)).await;
        let late = expiring(TimeDelta::minutes(-1)).await;

        world.succeeds(put_off).await;
        world.fails(late, "expired").await;
        let told = world.event(put_off, "deferred").await;
        let at = |text: &serde_json::Value| -> chrono::DateTime<Utc> {
            text.as_str().unwrap().parse().unwrap()
        };
        let wait = at(&told["data"]["retry_at"]) - at(&told["time"]);
        assert!(
            wait > TimeDelta::zero() && wait < TimeDelta::minutes(1),
            "{told:#}"
        );
        assert!((at(&told["time"]) - Utc::now()).abs() < TimeDelta::minutes(1));
        let (_, metrics) = http_get(worker.address, "/metrics").await.unwrap();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("ticketwire_clock_skew_seconds "));
        let skew: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        let expected: f64 = ahead.parse().unwrap();
        assert!((skew + expected).abs() < 5.0, "{skew}");
        assert!(worker.log().contains("clock and the database's differ"));

        let mut environment = world.environment();
        environment.insert(AHEAD.into(), ahead.into());
        let doctor = output(&environment, &["doctor"]);
        let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(
            text.contains("its clock is 600.") && text.contains("NTP"),
            "{text}"
        );
        assert!(worker.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_found_on_every_platform_whatever_this_machine_s_clock_shows() {
    for ahead in ["600", "-600"] {
        let world = World::new().await;
        world.set(AHEAD, ahead);
        let environment = world.environment();
        // It loses the answer to each create, and counts what there is.
        let demo = move || output(&environment, &["demo", "--platform", "all"]);
        let shown = tokio::task::spawn_blocking(demo).await.unwrap();
        let out = String::from_utf8_lossy(&shown.stdout);
        let err = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "{ahead}: {out}\n{err}");
        assert!(out.contains("15 tickets, 15 items"), "{ahead}: {out}");
    }
}
