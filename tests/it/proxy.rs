//! Platforms that only a proxy reaches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::support::World;

/// An HTTP proxy for `http://` targets; its address, and how many connections it made.
async fn proxy() -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let made = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&made);
    tokio::task::spawn(async move {
        while let Ok((mut inner, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::task::spawn(async move {
                let mut first = vec![0; 16 << 10];
                let Ok(count) = inner.read(&mut first).await else {
                    return;
                };
                let text = String::from_utf8_lossy(&first[..count]).into_owned();
                let target = text.split(' ').nth(1).and_then(|url| url.split('/').nth(2));
                let Ok(mut outer) = TcpStream::connect(target.unwrap_or_default()).await else {
                    return;
                };
                counted.fetch_add(1, Ordering::Relaxed);
                drop(outer.write_all(&first[..count]).await);
                drop(copy_bidirectional(&mut inner, &mut outer).await);
            });
        }
    });
    (format!("http://{address}"), made)
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_are_reached_through_the_proxy_that_is_named_or_found_in_the_environment() {
    let world = World::new().await;
    let (address, made) = proxy().await;
    let ways = [
        vec![("TICKETWIRE__EGRESS__PROXY", address.as_str())],
        vec![
            ("TICKETWIRE__EGRESS__PROXY", "environment"),
            ("http_proxy", address.as_str()),
        ],
    ];
    for (number, way) in ways.iter().enumerate() {
        let before = made.load(Ordering::Relaxed);
        let worker = world.worker_with(way).await;
        let (create, _) = world.create(&format!("By way {number}")).await;
        world.succeeds(create).await;
        assert!(made.load(Ordering::Relaxed) > before, "{way:?}");
        assert!(worker.stop().await.success());
    }
    assert_eq!(world.jira().issues.len(), 2);

    // Not where the target is one of those that are reached directly.
    let before = made.load(Ordering::Relaxed);
    let mut direct = ways[1].clone();
    direct.push(("no_proxy", "127.0.0.1"));
    let worker = world.worker_with(&direct).await;
    let (create, _) = world.create("Directly").await;
    world.succeeds(create).await;
    assert_eq!(made.load(Ordering::Relaxed), before);
    drop(worker);
}
