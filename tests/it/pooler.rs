//! Behind PgBouncer: one that keeps sessions works out of the box, any other is refused at once,
//! with the remedy.

use serde_json::json;

use crate::support::{OwnService, World, output, wait_for};

/// The world's database as its clients reach it behind a pooler.
fn behind(world: &World, pooler: &OwnService) -> String {
    let (address, _) = pooler.url.rsplit_once('/').unwrap();
    let (_, database) = world.database_url.rsplit_once('/').unwrap();
    format!("{address}/{database}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_sessions_works_for_every_door_and_may_be_restarted() {
    let Some(mut pooler) = OwnService::pgbouncer("session") else {
        return;
    };
    let world = World::new().await;
    // Of what is in the URL, PgBouncer would refuse the start-up parameter `options`.
    let url = behind(&world, &pooler) + "?options=-c%20geqo%3Doff";
    world.set("DATABASE_URL", &url);
    world.cli(&["migrate", "up"]);

    let mut worker = world.worker().await;
    let (create, _) = world.create("Pooled").await;
    world.succeeds(create).await;
    let found = world.ask("ticket.search", json!({ "q": "Pooled" })).await;
    assert_eq!(found["data"]["outcome"], "succeeded", "{found:#}");
    world.cli(&["doctor"]);
    // It is the pooler's connections that do the work, and they are set as ours.
    let settings = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                    WHERE l.locktype = 'advisory' AND a.datname = current_database() \
                    AND a.application_name = 'ticketwire w1 lock'";
    assert_eq!(world.count(settings).await, 1);

    pooler.stop("fast");
    wait_for("the worker to notice", async || {
        (!worker.is_ready().await).then_some(())
    })
    .await;
    let (waiting, _) = world.create("While it is away").await;
    pooler.start();
    world.succeeds(waiting).await;
    wait_for("the worker to be ready again", async || {
        worker.is_ready().await.then_some(())
    })
    .await;
    assert!(worker.is_running());
    world.close_the_ledger(&[create, waiting]).await;
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_without_sessions_is_refused_at_once_by_every_door() {
    for mode in ["transaction", "statement"] {
        let Some(pooler) = OwnService::pgbouncer(mode) else {
            return;
        };
        let world = World::new().await;
        world.set("DATABASE_URL", &behind(&world, &pooler));

        let mut worker = world.spawn_worker(&[]);
        assert_eq!(worker.ended().await.code(), Some(1), "{mode}");
        let log = worker.log();
        assert!(log.contains("pool_mode = session"), "{mode}: {log}");

        for arguments in [
            vec!["doctor"],
            vec!["migrate", "up"],
            vec!["migrate", "status"],
            vec!["integration", "list"],
            vec!["keys", "rotate", "--dry-run"],
        ] {
            let told = output(&world.environment(), &arguments);
            let text =
                String::from_utf8_lossy(&told.stdout) + String::from_utf8_lossy(&told.stderr);
            assert_eq!(told.status.code(), Some(1), "{mode} {arguments:?}: {text}");
            assert!(
                text.contains("pool_mode = session"),
                "{mode} {arguments:?}: {text}"
            );
        }
    }
}
