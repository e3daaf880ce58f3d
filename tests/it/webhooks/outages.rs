//! Services that are away, and a worker that dies.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Post, Published, SLACK_EVENT, listening, slack, slack_post, spawn, verdicts};
use crate::support::{CutProxy, World, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_deliveries_are_asked_to_come_again() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let hook = slack().secret("s").insert(&world).await;
    let (proxy, amqp) = CutProxy::through(&world.amqp_url).await;
    let (worker, address) = listening(&world, &[("AMQP_URL", &amqp)]).await;
    let send = async || slack_post(hook, "s", SLACK_EVENT).send(address).await;
    assert_eq!(send().await.status, 200);

    for silent in [false, true] {
        if silent {
            proxy.freeze(true);
        } else {
            proxy.shut();
        }
        let asked = Instant::now();
        let answered = send().await;
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
        assert_eq!(answered.status, 503);
        assert_eq!(answered.header("retry-after"), Some("5"));
        // What is wrong is refused for good all the same.
        assert_eq!(
            slack_post(hook, "x", SLACK_EVENT)
                .send(address)
                .await
                .status,
            401
        );
        if silent {
            proxy.freeze(false);
        } else {
            proxy.open();
        }
        wait_for("deliveries to be taken again", async || {
            (send().await.status == 200).then_some(())
        })
        .await;
    }
    let log = verdicts(&worker, hook);
    assert!(log.iter().any(|verdict| verdict == "broker"), "{log:?}");
    assert!(published.found(hook).len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_deliveries_are_taken_by_what_is_known() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let hook = slack().secret("s").insert(&world).await;
    let (proxy, database) = CutProxy::through(&world.database_url).await;
    let (worker, address) = listening(&world, &[("DATABASE_URL", &database)]).await;
    let send = async |hook| slack_post(hook, "s", SLACK_EVENT).send(address).await;
    wait_for("everything to be known", async || {
        (send(Uuid::new_v4()).await.status == 404).then_some(())
    })
    .await;

    proxy.shut();
    for _ in 0..5 {
        assert_eq!(send(hook).await.status, 200);
    }
    let nobody = Uuid::new_v4();
    let answered = send(nobody).await;
    assert_eq!(
        (answered.status, answered.header("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(verdicts(&worker, nobody), ["database"]);
    published.are(hook, 5).await;

    proxy.open();
    wait_for("the database to be asked again", async || {
        (send(nobody).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_listens_before_it_has_reached_the_database() {
    let world = World::new().await;
    let hook = slack().secret("s").insert(&world).await;
    let (proxy, database) = CutProxy::through(&world.database_url).await;
    proxy.shut();
    let (worker, address) = spawn(&world, &[("DATABASE_URL", &database)]);

    let answered = wait_for("an answer", async || {
        slack_post(hook, "s", SLACK_EVENT).try_send(address).await
    })
    .await;
    assert_eq!(
        (answered.status, answered.header("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(verdicts(&worker, hook), ["starting"]);
    let mut alive = Post::to(hook, "").by("GET");
    alive.path = "/health/live".to_owned();
    assert_eq!(alive.send(address).await.status, 200);

    proxy.open();
    wait_for("deliveries to be taken", async || {
        let answered = slack_post(hook, "s", SLACK_EVENT).send(address).await;
        (answered.status == 200).then_some(())
    })
    .await;
    assert!(worker.ready().await.stop().await.success());
    let gone = Post::to(hook, "").by("HEAD").try_send(address).await;
    assert!(gone.is_none(), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_before_it_answers_has_lost_nothing() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let hook = slack().secret("s").insert(&world).await;
    let marker = world.marker("confirmed").display().to_string();
    let point = format!("webhook_confirmed@{marker}");
    let (mut worker, address) = listening(&world, &[("TICKETWIRE_FAILPOINT", &point)]).await;

    let answered = slack_post(hook, "s", SLACK_EVENT).try_send(address).await;

    assert!(answered.is_none(), "{answered:?}");
    worker.ended().await;
    published.are(hook, 1).await;
}
