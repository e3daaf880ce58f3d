//! What is never a valid command: each is answered by a clear word, kept as a dead letter, and
//! harms no neighbour.

use lapin::BasicProperties;
use proptest::prelude::*;
use serde_json::{Value, json};
use ticketwire::contract::{Envelope, RawMessage, Replies};
use uuid::Uuid;

use crate::support::{Message, World, command, wait_for};

struct Case {
    name: &'static str,
    message: Message,
    code: &'static str,
    /// The field at fault, and what its message says.
    says: (&'static str, &'static str),
}

/// Every way in which a message was ever seen to be wrong.
fn cases(world: &World) -> Vec<Case> {
    let organization = world.organization;
    let create = json!({ "title": "T", "description": "d", "integration_id": world.integration });
    let mut cases = Vec::new();
    let mut raw = |name, message, code, says| {
        cases.push(Case {
            name,
            message,
            code,
            says,
        });
    };
    let invalid = "invalid_command";

    let sound = || command("ticket.create", Uuid::now_v7(), organization, &create);
    raw(
        "empty",
        Message::new("ticket.create", ""),
        invalid,
        ("message", "is not valid JSON"),
    );
    raw(
        "rubbish",
        Message::new("ticket.create", vec![0xff, 0, 7]),
        invalid,
        ("message", "is not valid JSON"),
    );
    raw(
        "an array",
        Message::new("ticket.create", "[]"),
        invalid,
        ("message", "must be a JSON object"),
    );
    raw(
        "cut off",
        Message::new("ticket.create", &sound().to_string()[..60]),
        invalid,
        ("message", "is not valid JSON"),
    );
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    raw(
        "deeply nested",
        Message::new("ticket.create", deep),
        invalid,
        ("message", "nested deeper than 127"),
    );
    let with_number = |digits: &str| {
        let number = format!("\"description\":\"d\",\"custom_fields\":{{\"n\":{digits}}}");
        let text = sound().to_string();
        let changed = text.replace("\"description\":\"d\"", &number);
        assert_ne!(changed, text);
        Message::new("ticket.create", changed)
    };
    raw(
        "a number beyond all others",
        with_number("1e400"),
        invalid,
        ("message", "number that is too large"),
    );
    raw(
        "a number of more than 64 bits",
        with_number("12345678901234567890123"),
        invalid,
        ("custom_fields.n", "send it as text"),
    );
    let large = format!("\"{}\"", "x".repeat(1_048_577));
    raw(
        "oversized",
        Message::new("ticket.create", large),
        invalid,
        ("message", "amqp.max_message_bytes"),
    );
    let mut text = Message::of(&sound());
    text.properties = BasicProperties::default().with_content_type("text/plain".into());
    raw(
        "another content type",
        text,
        invalid,
        ("content_type", "send application/cloudevents+json"),
    );
    let mut own_queue = Message::of(&sound());
    let queue = format!("{}.tickets", world.topology.prefix());
    own_queue.properties = own_queue.properties.with_reply_to(queue.into());
    raw(
        "our own queue as reply_to",
        own_queue,
        invalid,
        ("reply_to", "worker's own queues"),
    );

    let mut envelope = |name, change: fn(&mut Value), code, says| {
        let mut changed = command("ticket.create", Uuid::now_v7(), organization, &create);
        change(&mut changed);
        let message = Message::new("ticket.create", changed.to_string());
        raw(name, message, code, says);
    };
    envelope(
        "no specversion",
        |c| drop(c.as_object_mut().unwrap().remove("specversion")),
        invalid,
        ("specversion", "is required"),
    );
    envelope(
        "another version",
        |c| c["specversion"] = json!("0.3"),
        invalid,
        ("specversion", "must be \"1.0\""),
    );
    envelope(
        "an id that is none",
        |c| c["id"] = json!("42"),
        invalid,
        ("id", "must be a UUID"),
    );
    envelope(
        "an id of another type",
        |c| c["id"] = json!(42),
        invalid,
        ("id", "as text, not a number"),
    );
    envelope(
        "no source",
        |c| c["source"] = json!(""),
        invalid,
        ("source", "non-empty"),
    );
    envelope(
        "no organization",
        |c| drop(c.as_object_mut().unwrap().remove("organizationid")),
        invalid,
        ("organizationid", "is required"),
    );
    envelope(
        "a routing key that differs",
        |c| c["type"] = json!("ticket.comment"),
        invalid,
        ("type", "they must be equal"),
    );
    envelope(
        "an unknown type",
        |c| c["type"] = json!("ticket.explode"),
        "unknown_type",
        ("type", "is none of"),
    );
    envelope(
        "a bad expiry",
        |c| c["expirytime"] = json!("tomorrow"),
        invalid,
        ("expirytime", "RFC 3339"),
    );
    envelope(
        "a bad dryrun",
        |c| c["dryrun"] = json!("perhaps"),
        invalid,
        ("dryrun", "true or false"),
    );
    envelope(
        "data that is a list",
        |c| c["data"] = json!([]),
        invalid,
        ("data", "must be an object"),
    );
    envelope(
        "data in base64",
        |c| c["data_base64"] = json!("e30="),
        invalid,
        ("data_base64", "is not taken"),
    );

    let mut data = |name, command_type: &str, data: Value, says| {
        let message = Message::of(&command(command_type, Uuid::now_v7(), organization, &data));
        raw(name, message, invalid, says);
    };
    let ticket = Uuid::new_v4();
    data(
        "no title",
        "ticket.create",
        json!({ "description": "d" }),
        ("title", "is required"),
    );
    data(
        "a long title",
        "ticket.create",
        json!({ "title": "x".repeat(501), "description": "d" }),
        ("title", "500"),
    );
    data(
        "a title with NUL",
        "ticket.create",
        json!({ "title": "a\u{0}b", "description": "d" }),
        ("title", "NUL"),
    );
    for (kind, field, mut rest) in [
        ("ticket.create", "title", json!({ "description": "d" })),
        ("ticket.update", "title", json!({ "ticket_id": ticket })),
        ("ticket.ai_create", "user_input", json!({})),
        (
            "integration.create",
            "name",
            json!({ "platform_name": "jira" }),
        ),
    ] {
        rest[field] = "\u{a0} \u{200b}".into();
        data("nothing to see", kind, rest, (field, "visible character"));
    }
    data(
        "a title of another type",
        "ticket.create",
        json!({ "title": ["T"], "description": "d" }),
        ("title", "text"),
    );
    data(
        "a priority that is none",
        "ticket.create",
        json!({ "title": "T", "description": "d", "priority": "urgent" }),
        ("priority", "critical"),
    );
    data(
        "a typo",
        "ticket.create",
        json!({ "title": "T", "description": "d", "priorty": "high" }),
        ("priorty", "not a field"),
    );
    data(
        "a name of the legacy application",
        "ticket.create",
        json!({ "title": "T", "description": "d", "integration_name": "jira" }),
        ("integration_name", "integration_id"),
    );
    data(
        "another legacy name",
        "integration.create",
        json!({ "name": "N", "platform_name": "jira", "integration_type": "jira" }),
        ("integration_type", "integration_category"),
    );
    data(
        "the third legacy name",
        "integration.create",
        json!({ "name": "N", "platform_name": "jira", "is_enabled": true }),
        ("is_enabled", "enabled"),
    );
    data(
        "an update of nothing",
        "ticket.update",
        json!({ "ticket_id": ticket }),
        ("title", "or another field of the ticket is required"),
    );
    data(
        "no ticket",
        "ticket.comment",
        json!({ "body": "b" }),
        ("ticket_id", "is required"),
    );
    data(
        "resolved without a word",
        "ticket.status",
        json!({ "ticket_id": ticket, "status": "resolved" }),
        ("resolution_summary", "required"),
    );
    data(
        "a platform that is none",
        "integration.create",
        json!({ "name": "N", "platform_name": "jjira" }),
        ("platform_name", "jira"),
    );
    data(
        "a category that does not fit",
        "integration.create",
        json!({ "name": "N", "platform_name": "jira", "integration_category": "crm" }),
        ("integration_category", "ticketing"),
    );
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_command_is_rejected_with_a_word_and_its_neighbours_go_on() {
    let world = World::new().await;
    let worker = world.worker().await;
    let cases = cases(&world);
    let good = Uuid::now_v7();
    let data =
        json!({ "title": "Neighbour", "description": "d", "integration_id": world.integration });
    let neighbour = Message::of(&command("ticket.create", good, world.organization, &data));

    let count = cases.len();
    let mut expected = Vec::new();
    let mut messages = vec![neighbour];
    for case in cases {
        expected.push((case.name, case.code, case.says));
        messages.push(case.message);
    }
    world.send(&messages).await;

    world.succeeds(good).await;
    let rejected = wait_for("every rejection", async || {
        let all = world.events.all();
        let rejected: Vec<Value> = all
            .into_iter()
            .map(|(_, event)| event)
            .filter(|event| event["data"]["outcome"] == "rejected")
            .collect();
        (rejected.len() >= count).then_some(rejected)
    })
    .await;
    assert_eq!(rejected.len(), count);
    for (name, code, (field, words)) in expected {
        let found = rejected.iter().any(|event| {
            let error = &event["data"]["error"];
            let says = error["fields"][field].as_str();
            error["code"] == code
                && error["retryable"] == false
                && says.is_some_and(|says| says.contains(words))
        });
        let said: Vec<&Value> = rejected
            .iter()
            .map(|event| &event["data"]["error"]["fields"])
            .collect();
        assert!(
            found,
            "{name}: no {code} that says {field}: {words:?} among {said:#?}"
        );
    }
    world.quiet().await;
    let letters = world.count("SELECT count(*) FROM dead_letters").await;
    assert_eq!(usize::try_from(letters).unwrap(), count);
    let shown = world
        .text("SELECT string_agg(d::text, ' ') FROM dead_letters d", &[])
        .await
        .unwrap();
    assert!(!shown.contains("n3v3r-sh0wn"), "a secret in a dead letter");
    let events = format!("{rejected:?}");
    assert!(!events.contains("n3v3r-sh0wn"), "a secret in an event");
    assert!(!worker.log().contains("n3v3r-sh0wn"), "a secret in the log");
    assert_eq!(world.jira().issues.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_of_a_command_are_reported_at_once() {
    let world = World::new().await;
    let worker = world.worker().await;

    let id = Uuid::now_v7();
    let data = json!({ "title": "", "priority": 3, "colour": "red", "integration_id": "x" });
    let bad = command("ticket.create", id, world.organization, &data);
    world.send(&[Message::of(&bad)]).await;

    let event = world.event(id, "rejected").await;
    let fields = event["data"]["error"]["fields"].as_object().unwrap();
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "colour",
            "description",
            "integration_id",
            "priority",
            "title"
        ]
    );
    // Mended, it may be sent again: a rejected command does not own its id.
    let data = json!({ "title": "T", "description": "d", "integration_id": world.integration });
    let mended = command("ticket.create", id, world.organization, &data);
    world.send(&[Message::of(&mended)]).await;
    world.event(id, "succeeded").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_and_what_expires_in_one_becomes_a_dead_letter() {
    let world = World::new().await;
    let worker = world.worker().await;

    world.send(&[Message::new("tikcet.create", "{}")]).await;
    let letter = wait_for("the dead letter", async || {
        let rows = world
            .query("SELECT reason, routing_key FROM dead_letters", &[])
            .await;
        let row = rows.first()?;
        Some((row.get::<_, String>(0), row.get::<_, String>(1)))
    })
    .await;

    assert_eq!(letter, ("unroutable".into(), "tikcet.create".into()));
    world.quiet().await;
    let shown = world.cli(&["dead", "list"]);
    assert!(shown.to_string().contains("tikcet.create"), "{shown:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_settings_are_checked_by_the_platforms_own_list() {
    let world = World::new().await;
    let worker = world.worker().await;

    let create = world
        .publish(
            "integration.create",
            json!({ "name": "N", "platform_name": "jira", "base_url": "https://x.example",
                "credentials": { "email": "a@b.example", "api_tokn": "n3v3r-sh0wn" } }),
        )
        .await;

    // Half of what the platform wants: nothing is kept of it but sealed.
    let update = json!({ "integration_id": world.integration,
        "credentials": { "api_token": "n3v3r-sh0wn" } });
    let update = world.publish("integration.update", update).await;
    world.fails(update, "validation_failed").await;

    let event = world.fails(create, "validation_failed").await;
    let fields = event["data"]["error"]["fields"].as_object().unwrap();
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "credentials.api_token",
            "credentials.api_tokn",
            "settings.project_key"
        ]
    );
    assert!(!event.to_string().contains("n3v3r-sh0wn"));
    let stored = world
        .text("SELECT string_agg(c::text, ' ') FROM commands c", &[])
        .await
        .unwrap();
    assert!(!stored.contains("n3v3r-sh0wn"), "{stored}");
    assert!(!worker.log().contains("n3v3r-sh0wn"));
    drop(worker);
}

fn parse(body: &[u8], routing_key: &str) -> Result<Envelope, String> {
    let raw = RawMessage {
        routing_key,
        body,
        content_type: Some("application/json"),
        traceparent: Some("\u{1}"),
        ..RawMessage::default()
    };
    let replies = Replies {
        own_prefix: "ticketwire",
        allowed: &[],
    };
    match Envelope::parse(&raw, 1_048_576, &replies) {
        Ok(envelope) => Ok(envelope),
        Err(rejection) => {
            let failure = &rejection.failure;
            assert!(!failure.message.is_empty(), "a rejection without a word");
            Err(failure.message.clone())
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        Just(json!("9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10")),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,12}", inner, 0..5)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn intake_never_panics_on_bytes(body in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(parse(&body, "ticket.create").is_err());
    }

    #[test]
    fn intake_never_panics_on_any_value_in_any_place(
        kind in prop::sample::select(vec![
            "ticket.create", "ticket.update", "ticket.status", "ticket.assign", "ticket.comment",
            "integration.create",
            "integration.status", "integration.get", "integration.list", "integration.test",
            "ticket.delete",
        ]),
        place in prop::sample::select(vec![
            "id", "source", "type", "organizationid", "data", "expirytime", "dryrun", "traceparent",
            "time",
        ]),
        field in prop::sample::select(vec![
            "ticket_id", "title", "description", "priority", "status", "body", "tags",
            "custom_fields", "credentials",
            "settings", "integration_id", "enabled", "test_types", "limit", "cursor",
            "maintenance_window_start",
            "routing_rules", "expires_at", "assigned_to_id", "platform_name", "name", "base_url",
            "public",
        ]),
        value in any_json(),
        in_data in any::<bool>(),
    ) {
        let mut message = command(kind, Uuid::nil(), Uuid::max(), &json!({}));
        if in_data {
            message["data"][field] = value;
        } else {
            message[place] = value;
        }
        drop(parse(message.to_string().as_bytes(), kind));
    }
}
