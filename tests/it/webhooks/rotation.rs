//! A secret is exchanged for another, and no delivery is lost.

use serde_json::{Value, json};

use super::{SLACK_EVENT, listening, slack, slack_post};
use crate::support::{World, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_is_good_at_once_and_the_old_one_for_a_day() {
    let world = World::new().await;
    let mut row = slack().secret("first-secret");
    row.credentials = Some(json!({ "bot_token": "xoxb-1" }));
    row.settings = json!({ "channel": "C0123ABCD" });
    let hook = row.insert(&world).await;
    let (_worker, address) = listening(&world, &[]).await;
    let status = async |secret: &str| {
        slack_post(hook, secret, SLACK_EVENT)
            .send(address)
            .await
            .status
    };
    let update = async |secret: Value| {
        let data = json!({ "integration_id": hook, "webhook_secret": secret });
        let update = world.publish("integration.update", data).await;
        world.succeeds(update).await;
    };
    assert_eq!(status("first-secret").await, 200);

    for (old, new) in [
        ("first-secret", "second-secret"),
        ("second-secret", "third-secret"),
    ] {
        update(json!(new)).await;
        assert_eq!(status(new).await, 200, "{new} at once");
        assert_eq!(status(old).await, 200, "{old} for a while");
    }
    assert_eq!(
        status("first-secret").await,
        401,
        "the one before the last is gone"
    );
    let until = "SELECT (webhook_secret_previous_until - now()) BETWEEN interval '23 hours' \
                 AND interval '24 hours' FROM integrations WHERE id = $1";
    let is_a_day: bool = world.query(until, &[&hook]).await[0].get(0);
    assert!(is_a_day);

    let over = "UPDATE integrations SET webhook_secret_previous_until = now(), \
                updated_at = now() WHERE id = $1";
    world.query(over, &[&hook]).await;
    wait_for("the old secret to end", async || {
        (status("second-secret").await == 401).then_some(())
    })
    .await;
    assert_eq!(status("third-secret").await, 200);

    update(Value::Null).await;
    wait_for("no secret to be left", async || {
        (status("third-secret").await == 401).then_some(())
    })
    .await;
    let row = world.integration_row(hook).await;
    assert_eq!(row["webhook_secret_previous_encrypted"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_producers_does_not_keep_the_listener_out() {
    let world = World::new().await;
    let mut row = slack().secret("the-secret-of-the-app");
    row.credentials = Some(json!({ "bot_token": "xoxb-1" }));
    row.settings = json!({ "channel": "C0123ABCD" });
    let hook = row.insert(&world).await;
    let rules = r#"["somebody * ticket.*"]"#;
    let (_worker, address) = listening(&world, &[("TICKETWIRE__PRODUCERS__ALLOW", rules)]).await;

    let post = slack_post(hook, "the-secret-of-the-app", SLACK_EVENT);
    assert_eq!(post.send(address).await.status, 200);

    let taken = "SELECT state FROM commands WHERE type = 'webhook.received'";
    wait_for("the delivery to be carried out", async || {
        (world.text(taken, &[]).await.as_deref() == Some("succeeded")).then_some(())
    })
    .await;
    // Nobody else gets in by it.
    let data = json!({ "integration_id": hook, "headers": {}, "body": "e30=",
        "received_at": "2026-01-31T12:00:00Z", "listenerseal": "one:00" });
    let other = world.publish("webhook.received", data).await;
    let event = world.event(other, "rejected").await;
    let fields = &event["data"]["error"]["fields"];
    assert!(fields["user_id"].is_string(), "{event:#}");
}
