//! What a worker says when it starts and something is not as it should be, and what it says of its
//! own machine later.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::{FileServer, World, free_address, output, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_held_is_said_at_once_with_its_holder() {
    let world = World::new().await;
    let first = world.worker().await;

    let mut second = world.spawn_worker(&[("TICKETWIRE__DISPATCH__LEASE", "8s")]);
    wait_for("the second to say so", async || {
        second
            .log()
            .contains("is held by another process")
            .then_some(())
    })
    .await;
    let log = second.log();
    assert!(second.is_running(), "it waits for one lease: {log}");
    assert!(
        log.contains("\"worker\":\"w1\"") && log.contains("session ") && log.contains("version "),
        "{log}"
    );
    assert_eq!(second.ended().await.code(), Some(1));
    assert!(second.log().contains("TICKETWIRE__WORKER__ID"));
    assert!(first.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_no_key_opens_are_said_at_the_start_with_the_key_that_is_missing() {
    let world = World::new().await;
    world.add_integration("other", &json!({})).await;
    let other = json!([ticketwire::secrets::generate("wrong")]).to_string();

    let worker = world
        .worker_with(&[("TICKETWIRE__SECRETS__KEYS", &other)])
        .await;

    wait_for("the worker to say so", async || {
        let log = worker.log();
        let said =
            log.contains("\"integrations\":2") && log.contains("\"sealed_with\":\"test (2)\"");
        said.then_some(())
    })
    .await;
    let mut environment = world.environment();
    environment.insert("TICKETWIRE__SECRETS__KEYS".into(), other);
    let shown = output(&environment, &["doctor"]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("they were sealed with test"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_directory_that_takes_nothing_is_our_fault_and_leaves_nothing_in_doubt() {
    let world = World::new().await;
    let files = FileServer::start().await;
    world.set("TMPDIR", "/nonexistent/ticketwire");
    let worker = world.worker().await;

    let data = json!({
        "ticket_id": uuid::Uuid::new_v4(), "title": "With a file", "description": "",
        "integration_id": world.integration,
        "attachments": [
            { "name": "inline.txt", "content_base64": STANDARD.encode("hello") },
            { "name": "big.bin", "url": files.url("/big/1000") },
        ],
    });
    let create = world.publish("ticket.create", data).await;
    let event = world.succeeds(create).await;
    let later = &event["data"]["result"]["integration_result"]["details"]["attachments"][1];
    assert_eq!(later["outcome"], "deferred", "{event:#}");
    let child: uuid::Uuid = later["command_id"].as_str().unwrap().parse().unwrap();
    let refused = world.event(child, "deferred").await;
    let error = &refused["data"]["error"];
    assert_eq!(error["code"], "internal", "{refused:#}");
    assert!(
        error["message"].as_str().unwrap().contains("TMPDIR"),
        "{refused:#}"
    );
    let in_doubt = "SELECT count(*) FROM commands WHERE doubt_since IS NOT NULL";
    assert_eq!(world.count(in_doubt).await, 0);
    let log = worker.log();
    assert!(
        log.contains("/nonexistent/ticketwire cannot be written to"),
        "{log}"
    );
    let shown = output(&world.environment(), &["doctor"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("name another one in TMPDIR"));
    drop(worker);

    // Mended, the file goes.
    world.set("TMPDIR", world.directory.path().to_str().unwrap());
    let worker = world.worker().await;
    world.succeeds(child).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_something_cannot_be_reached_is_said_at_once_with_the_remedy() {
    let world = World::new().await;
    let nowhere = free_address();
    let said = |settings: &[(&str, String)]| {
        let mut environment = world.environment();
        for (name, value) in settings {
            environment.insert((*name).into(), value.clone());
        }
        let shown = output(&environment, &["doctor"]);
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    let database = |host: &str| ("DATABASE_URL", format!("postgres://postgres@{host}/x"));
    let broker =
        |scheme: &str, host: &str| ("AMQP_URL", format!("{scheme}://guest:guest@{host}/%2f"));

    let unknown = said(&[database("db.invalid"), broker("amqp", "mq.invalid")]);
    let refused = said(&[
        database(&nowhere.to_string()),
        broker("amqp", &nowhere.to_string()),
    ]);
    assert_eq!(
        refused
            .matches("nothing listens at this address and port")
            .count(),
        2,
        "{refused}"
    );
    // A machine without a network has no name server either.
    let names = unknown.matches("no name server").count();
    assert_eq!(names, 2, "{unknown}");

    let plain = url::Url::parse(&world.amqp_url).unwrap();
    let plain = format!(
        "{}:{}",
        plain.host_str().unwrap(),
        plain.port().unwrap_or(5672)
    );
    let no_tls = said(&[
        (
            "DATABASE_URL",
            format!("{}?sslmode=require", world.database_url),
        ),
        broker("amqps", &plain),
    ]);
    assert!(
        no_tls
            .contains("RabbitMQ (amqp.url) cannot be reached: it does not speak TLS on this port"),
        "{no_tls}"
    );

    // Platforms.
    let worker = world.worker().await;
    let site = format!("http://{nowhere}");
    world
        .query("UPDATE integrations SET base_url = $1", &[&site])
        .await;
    let (create, _) = world.create("Nobody there").await;
    let event = world.event(create, "deferred").await;
    let message = event["data"]["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("cannot be reached: nothing listens at this address and port"),
        "{message}"
    );
    drop(worker);
}
