//! Every way in which a command's body may be written, over a real broker.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Message, World, command, wait_for};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn create(world: &World, title: &str) -> (Uuid, Value) {
    let id = Uuid::now_v7();
    let data = json!({ "title": title, "description": "d", "integration_id": world.integration });
    (id, command("ticket.create", id, world.organization, &data))
}

/// A command in structured mode, packed.
fn packed(mut message: Message) -> Message {
    message.body = gzip(&message.body);
    message.properties = message.properties.with_content_encoding("gzip".into());
    message
}

/// The same in binary mode.
fn binary(command: &Value, prefix: &str) -> Message {
    let mut headers = FieldTable::default();
    for (name, value) in command.as_object().unwrap() {
        if let Some(text) = value.as_str() {
            let name = format!("{prefix}{name}");
            headers.insert(name.into(), AMQPValue::LongString(text.into()));
        }
    }
    let kind = command["type"].as_str().unwrap();
    let mut message = Message::new(kind, command["data"].to_string());
    message.properties = lapin::BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json; charset=utf-8".into())
        .with_headers(headers);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_taken_packed_marked_and_in_binary_mode() {
    let world = World::new().await;
    let worker = world.worker().await;
    let marked = |command: &Value| {
        let mut body = b"\xef\xbb\xbf".to_vec();
        body.extend(command.to_string().into_bytes());
        Message::new("ticket.create", body)
    };
    let all: Vec<(Uuid, Message)> = [
        ("Packed", 0),
        ("Marked", 1),
        ("Both", 2),
        ("Binary", 3),
        ("Binary of JMS", 4),
        ("Binary and packed", 5),
    ]
    .into_iter()
    .map(|(title, way)| {
        let (id, command) = create(&world, title);
        let message = match way {
            0 => packed(Message::of(&command)),
            1 => marked(&command),
            2 => packed(marked(&command)),
            3 => binary(&command, "cloudEvents:"),
            4 => binary(&command, "cloudEvents_"),
            _ => packed(binary(&command, "cloudEvents:")),
        };
        (id, message)
    })
    .collect();
    let (ids, messages): (Vec<Uuid>, Vec<Message>) = all.into_iter().unzip();

    world.send(&messages).await;

    for id in ids {
        world.succeeds(id).await;
    }
    assert_eq!(world.jira().issues.len(), 6);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_in_another_mode_is_a_repeat() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (id, command) = create(&world, "Once");

    world
        .send(&[Message::of(&command), packed(Message::of(&command))])
        .await;
    world.send(&[binary(&command, "cloudEvents:")]).await;
    world.succeeds(id).await;
    world.quiet().await;

    assert_eq!(world.jira().issues.len(), 1);
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_may_write_its_numbers_in_another_way_and_a_text_may_be_cut_within_a_character() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (id, mut command) = create(&world, "Cut TITLE");
    command["data"]["custom_fields"] = json!({ "n": 1, "list": [-2, 0.5] });
    let first = command.to_string().replace("TITLE", "\\ud83d");
    let again = first
        .replace("\"n\":1", "\"n\":1.0")
        .replace("[-2,0.5]", "[-2.0,5e-1]");
    assert_ne!(first, again);
    let (cut, other) = create(&world, "Never");
    let torn = &other.to_string()[..other.to_string().len() - 3];

    for body in [&*first, &*again, torn] {
        world.send(&[Message::new("ticket.create", body)]).await;
    }

    world.succeeds(id).await;
    let event = world.outcome(cut).await;
    assert_eq!(event["data"]["outcome"], "rejected", "{event:#}");
    assert_eq!(
        event["organizationid"],
        world.organization.to_string(),
        "{event:#}"
    );
    world.quiet().await;
    assert_eq!(world.jira().issues.len(), 1);
    let title = world.text("SELECT title FROM tickets", &[]).await;
    assert_eq!(title.as_deref(), Some("Cut \u{fffd}"));
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_unpacked_is_rejected_and_what_can_be_is_kept_readable() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (_, sound) = create(&world, "Never");
    let bomb = packed(Message::new("ticket.create", vec![b' '; 3 << 20]));
    assert!(bomb.body.len() < 1 << 14);
    let mut torn = packed(Message::of(&sound));
    torn.body.truncate(torn.body.len() - 6);
    let mut brotli = Message::of(&sound);
    brotli.properties = brotli.properties.with_content_encoding("br".into());
    let (id, mut wrong) = create(&world, "Colourful");
    wrong["data"]["priority"] = json!("purple");
    // Two whose difference is in their headers alone.
    let (_, mut twin) = create(&world, "Twin");
    twin["data"]["colour"] = json!("red");
    let mut other = twin.clone();
    other["id"] = json!(Uuid::now_v7());

    world
        .send(&[bomb, torn, brotli, packed(Message::of(&wrong))])
        .await;
    let twins = [&twin, &other].map(|command| binary(command, "cloudEvents:"));
    world.send(&twins).await;

    let letters = wait_for("the dead letters", async || {
        let list = world.cli(&["dead", "list"]);
        list.as_array().filter(|rows| rows.len() == 6).cloned()
    })
    .await;
    let said: Vec<&str> = letters
        .iter()
        .map(|l| l["message"].as_str().unwrap())
        .collect();
    let says = |text: &str| said.iter().any(|message| message.contains(text));
    assert!(says("amqp.max_message_bytes"), "{said:#?}");
    assert!(says("content_encoding says gzip, but"), "{said:#?}");
    assert!(says("send the body as it is, or as gzip"), "{said:#?}");
    let kept = letters
        .iter()
        .find(|letter| letter["command_id"] == id.to_string())
        .unwrap();
    let payload: Value = serde_json::from_str(kept["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["data"]["title"], "Colourful", "{payload:#}");
    for command in [&twin, &other] {
        let id = command["id"].as_str().unwrap().parse().unwrap();
        wait_for("the rejection of a twin", async || {
            (!world.events_of(id).is_empty()).then_some(())
        })
        .await;
    }
    assert!(world.jira().issues.is_empty());
    drop(worker);
}
