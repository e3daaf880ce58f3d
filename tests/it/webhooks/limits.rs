//! Whoever sends much, or slowly, or wrongly, takes nothing from anybody else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use uuid::Uuid;

use super::{Answered, Post, Published, SLACK_EVENT, listening, slack, slack_post, verdicts};
use crate::support::{World, wait_for};

/// A message of a length, as Slack sends one.
fn long_event(bytes: usize) -> String {
    let start = r#"{"type":"event_callback","event_id":"Ev1","text":""#;
    format!("{start}{}\"}}", "x".repeat(bytes - start.len() - 2))
}

/// A connection that has said so much.
fn half(address: SocketAddr, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    drop(stream.write_all(said.as_bytes()));
    stream
}

fn rest(mut stream: TcpStream) -> Option<Answered> {
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    Answered::read(&answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_delivery_is_taken_and_stored_and_no_larger_one() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let hook = slack().secret("s").insert(&world).await;
    let (worker, address) = listening(&world, &[]).await;

    let largest = slack_post(hook, "s", &long_event(1 << 20))
        .send(address)
        .await;
    assert_eq!(largest.status, 200);
    let message = published.are(hook, 1).await.remove(0);
    let id: Uuid = message["id"].as_str().unwrap().parse().unwrap();
    // A third more in its message than any other may have: the intake takes it.
    wait_for("the delivery to be stored", async || {
        world
            .text("SELECT type FROM commands WHERE id = $1", &[&id])
            .await
    })
    .await;

    let larger = slack_post(hook, "s", &long_event((1 << 20) + 1));
    assert_eq!(larger.send(address).await.status, 413);
    let mut chunked = larger.with("transfer-encoding", "chunked");
    chunked.body = format!("{:x}\r\n", chunked.body.len())
        .into_bytes()
        .into_iter()
        .chain(std::mem::take(&mut chunked.body))
        .chain(*b"\r\n0\r\n\r\n")
        .collect();
    assert_eq!(chunked.send(address).await.status, 413);
    let gigabyte =
        format!("POST /webhooks/{hook} HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\nx");
    let answered = tokio::task::spawn_blocking(move || rest(half(address, &gigabyte)));
    assert_eq!(answered.await.unwrap().unwrap().status, 413);
    assert_eq!(
        verdicts(&worker, hook),
        ["accepted", "too_large", "too_large", "too_large"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_memory_of_their_own_and_slow_ones_an_end() {
    let world = World::new().await;
    let hook = slack().secret("s").insert(&world).await;
    let settings = [("TICKETWIRE__HTTP__WEBHOOK_MEMORY", "1MiB")];
    let (worker, address) = listening(&world, &settings).await;
    let head =
        format!("POST /webhooks/{hook} HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n{{");

    let slow = half(address, &head);
    let refused = wait_for("the memory to be taken", async || {
        let answered = slack_post(hook, "s", SLACK_EVENT).send(address).await;
        (answered.status == 503).then_some(answered)
    })
    .await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    let ended = tokio::task::spawn_blocking(move || rest(slow))
        .await
        .unwrap();
    assert_eq!(ended.unwrap().status, 503);
    assert_eq!(
        slack_post(hook, "s", SLACK_EVENT)
            .send(address)
            .await
            .status,
        200
    );
    let found = verdicts(&worker, hook);
    for verdict in ["memory", "timeout", "accepted"] {
        assert!(
            found.iter().any(|one| one == verdict),
            "{verdict}: {found:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_hung_up_on_and_take_nothing_from_others() {
    // This process needs as many.
    let all = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: all.maximum,
        maximum: all.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let world = World::new().await;
    let hook = slack().secret("s").insert(&world).await;
    let (worker, address) = listening(&world, &[]).await;
    let before = worker.open_descriptors();

    let head = format!("POST /webhooks/{hook} HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    let silent: Vec<TcpStream> = (0..300).map(|_| half(address, &head)).collect();
    assert_eq!(
        slack_post(hook, "s", SLACK_EVENT)
            .send(address)
            .await
            .status,
        200
    );
    wait_for("all but 64 of an address to be closed", async || {
        (worker.open_descriptors() < before + 80).then_some(())
    })
    .await;
    let asked = Instant::now();
    wait_for("slow heads to be hung up on", async || {
        (worker.open_descriptors() < before + 10).then_some(())
    })
    .await;
    assert!(asked.elapsed() < Duration::from_secs(15));
    drop(silent);

    let long = format!(
        "POST /webhooks/{hook} HTTP/1.1\r\nX-Long: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let many = format!(
        "POST /webhooks/{hook} HTTP/1.1\r\n{}\r\n",
        "X-Many: x\r\n".repeat(70)
    );
    for head in [long, many] {
        let answered = tokio::task::spawn_blocking(move || rest(half(address, &head)));
        assert_eq!(answered.await.unwrap().unwrap().status, 431);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_ids_is_held_up_and_nobody_else_of_his_address() {
    let world = World::new().await;
    let hook = slack().secret("s").insert(&world).await;
    let (_worker, address) = listening(&world, &[]).await;
    let guess = async |from: &str| {
        let post = slack_post(Uuid::new_v4(), "s", SLACK_EVENT).with("x-forwarded-for", from);
        post.send(address).await.status
    };

    // Nobody is believed who is no proxy of ours: else each of these had fifty of its own.
    wait_for("guesses to be refused", async || {
        let names: Vec<String> = (1..=40).map(|n| format!("192.0.2.{n}")).collect();
        let found = join_all(names.iter().map(|name| guess(name))).await;
        // A database that is slow at that moment is no reason to refuse anybody for good.
        assert!(
            found.iter().all(|status| [404, 429, 503].contains(status)),
            "{found:?}"
        );
        found.contains(&429).then_some(())
    })
    .await;
    assert_eq!(
        slack_post(hook, "s", SLACK_EVENT)
            .send(address)
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_deliveries_cost_no_good_one_its_answer() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let hook = slack().secret("s").insert(&world).await;
    let (worker, address) = listening(&world, &[]).await;

    let forged = (0..40).map(|_| async {
        slack_post(hook, "forged", SLACK_EVENT)
            .send(address)
            .await
            .status
    });
    assert!(join_all(forged).await.iter().all(|status| *status == 401));
    // A long one is put off, as verifying it costs more; a short one is judged.
    let long = long_event(100_000);
    assert_eq!(
        slack_post(hook, "forged", &long).send(address).await.status,
        503
    );
    assert_eq!(
        slack_post(hook, "s", SLACK_EVENT)
            .send(address)
            .await
            .status,
        200
    );
    published.are(hook, 1).await;
    // The log has a line of them, not forty.
    let lines = worker
        .log()
        .lines()
        .filter(|line| line.contains("was not taken"))
        .count();
    assert!(lines <= 3, "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_has_its_rate_and_one_that_takes_anything_a_low_one() {
    let world = World::new().await;
    let hook = slack().secret("s").insert(&world).await;
    let mut open = slack();
    open.settings = serde_json::json!({ "accept_unsigned": true });
    let open = open.insert(&world).await;
    let settings = [("TICKETWIRE__HTTP__WEBHOOK_RATE", "2")];
    let (worker, address) = listening(&world, &settings).await;

    for (hook, at_once) in [(hook, 20), (open, 10)] {
        let all = (0..40).map(|_| async { slack_post(hook, "s", SLACK_EVENT).send(address).await });
        let all = join_all(all).await;
        let taken = all.iter().filter(|answered| answered.status == 200).count();
        assert!((at_once..40).contains(&taken), "{taken}");
        let limited = all.iter().find(|answered| answered.status == 503).unwrap();
        assert_eq!(limited.header("retry-after"), Some("5"));
    }
    assert!(verdicts(&worker, open).contains(&"unsigned_accepted".to_owned()));
    let other = Post::to(hook, "").by("HEAD").send(address).await;
    assert_eq!(other.status, 200);
}
