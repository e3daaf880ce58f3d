//! Who may publish what.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Message, World, command};

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_publishes_what_its_rules_allow_and_the_broker_vouches_for_its_name() {
    let world = World::new().await;
    let rules = json!([format!("guest {} ticket.*", world.organization)]).to_string();
    let worker = world
        .worker_with(&[("TICKETWIRE__PRODUCERS__ALLOW", &rules)])
        .await;
    let message = |kind: &str, organization: Uuid, data: &Value, user: Option<&str>| {
        let id = Uuid::now_v7();
        let mut message = Message::of(&command(kind, id, organization, data));
        if let Some(user) = user {
            message.properties = message.properties.with_user_id(user.into());
        }
        (id, message)
    };
    let ticket = json!({ "title": "T", "description": "D" });
    let list = json!({});

    let (allowed, first) = message("ticket.create", world.organization, &ticket, Some("guest"));
    let (nameless, second) = message("ticket.create", world.organization, &ticket, None);
    let (elsewhere, third) = message("ticket.create", Uuid::new_v4(), &ticket, Some("guest"));
    let (other, fourth) = message("integration.list", world.organization, &list, Some("guest"));
    world.send(&[first, second, third, fourth]).await;

    world.succeeds(allowed).await;
    for id in [nameless, elsewhere, other] {
        let event = world.outcome(id).await;
        assert_eq!(event["data"]["outcome"], "rejected", "{event:#}");
        assert_eq!(event["data"]["error"]["code"], "invalid_command");
        assert!(
            event["data"]["error"]["fields"]["user_id"].is_string(),
            "{event:#}"
        );
    }
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 3);
    drop(worker);
}
