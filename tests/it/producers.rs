//! Who may publish what.

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use ticketwire::broker;
use uuid::Uuid;

use crate::support::{Message, World, command, wait_for};

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

#[tokio::test(flavor = "multi_thread")]
async fn answers_go_to_listed_queues_alone_and_a_refusal_is_not_written_to_others() {
    let world = World::new().await;
    let listed = world.topology.prefix().replace("test", "portal");
    let list = json!([format!("{listed}.")]).to_string();
    let worker = world
        .worker_with(&[("TICKETWIRE__PRODUCERS__REPLY_TO", &list)])
        .await;
    let connection = broker::connect_tool(&world.amqp_url.as_str().into(), &world.topology)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let [portal, foreign] = [format!("{listed}.answers"), format!("{listed}-billing")];
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    for queue in [&portal, &foreign] {
        let declared =
            channel.queue_declare(queue.as_str().into(), exclusive, FieldTable::default());
        declared.await.unwrap();
    }
    let asks = |queue: &str| {
        let id = Uuid::now_v7();
        let data = json!({ "title": "T", "description": "D" });
        let mut message = Message::of(&command("ticket.create", id, world.organization, &data));
        message.properties = message.properties.with_reply_to(queue.into());
        (id, message)
    };

    let (answered, first) = asks(&portal);
    let (refused, second) = asks(&foreign);
    world.send(&[first, second]).await;

    world.succeeds(answered).await;
    let event = world.outcome(refused).await;
    assert_eq!(event["data"]["outcome"], "rejected", "{event:#}");
    let says = event["data"]["error"]["fields"]["reply_to"].as_str();
    assert!(says.unwrap().contains("producers.reply_to"), "{event:#}");
    let got = async |queue: &str| {
        let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
        got.await.unwrap().is_some()
    };
    wait_for("the answer", async || got(&portal).await.then_some(())).await;
    world.quiet().await;
    assert!(!got(&foreign).await);
    drop(worker);
}
