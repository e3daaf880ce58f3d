//! `http.listen` under somebody who opens connections and says nothing, or says it slowly.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use ticketwire::domain::Platform;

use crate::support::{World, http_get, wait_for};

/// So many connections are opened, more than a process may have by default.
const HALF_OPEN: usize = 1_100;

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_take_nothing_from_health_nor_from_tickets() {
    // This process needs as many.
    let all = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: all.maximum,
        maximum: all.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let world = World::new().await;
    let worker = world.worker().await;
    worker.limit_descriptors(1_024);

    let mut silent = Vec::new();
    for number in 0..HALF_OPEN {
        let mut stream = TcpStream::connect(worker.address).unwrap();
        if number.is_multiple_of(2) {
            drop(stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "));
        }
        silent.push(stream);
    }
    assert_eq!(silent.len(), HALF_OPEN, "there was something to lose");

    let asked = Instant::now();
    let answer = http_get(worker.address, "/health").await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(answer.unwrap().0, 200);
    let (create, _) = world.create("Beside it").await;
    world.succeeds(create).await;
    assert!(
        worker.open_descriptors() < 600,
        "{}",
        worker.open_descriptors()
    );

    // Those that are left are hung up on, and nothing is kept of them.
    wait_for("the half-open connections to be closed", async || {
        (worker.open_descriptors() < 100).then_some(())
    })
    .await;
    drop(silent);
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_a_stop_does_not_wait_for_who_says_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    let ask = |head: &str| {
        let mut stream = TcpStream::connect(worker.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        drop(stream.write_all(head.as_bytes()));
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer));
        answer
    };

    let body = ask("GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
    assert!(body.starts_with("HTTP/1.1 413 "), "{body}");
    let head = format!(
        "GET /health HTTP/1.1\r\nX-Long: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let head = ask(&head);
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");

    let _silent = TcpStream::connect(worker.address).unwrap();
    let asked = Instant::now();
    assert!(worker.stop().await.success());
    assert!(asked.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_is_woken_for_is_counted_from_zero() {
    let world = World::new().await;
    let worker = world.worker().await;

    let (_, metrics) = http_get(worker.address, "/metrics").await.unwrap();

    for (platform, outcome, code) in [
        ("jira", "failed", "outcome_unknown"),
        ("slack", "failed", "quarantined"),
        ("webhook", "failed", "credentials_unreadable"),
        ("jira", "failed", "permission_denied"),
        ("jira", "deferred", "authentication_failed"),
        ("none", "failed", "quarantined"),
    ] {
        let zero = metrics.lines().any(|line| {
            line.starts_with("ticketwire_command_outcomes_total{")
                && line.contains("command_type=\"ticket.create\"")
                && line.contains(&format!("platform_name=\"{platform}\""))
                && line.contains(&format!("outcome=\"{outcome}\""))
                && line.contains(&format!("error_code=\"{code}\""))
                && line.ends_with("} 0")
        });
        assert!(zero, "{platform} {outcome} {code} in {metrics}");
    }
    // Each platform has its own zeros. What is there before the first command stays small.
    let bound = 12_000 * Platform::ALL.len();
    assert!(metrics.len() < bound, "{} bytes", metrics.len());
    drop(worker);
}
