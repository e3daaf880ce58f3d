//! What is counted while the counts are being added up.

use ticketwire::domain::IntegrationId;
use ticketwire::store::{Store, UsageTally};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_goes_uncounted_while_usage_is_added_up() {
    const WRITERS: usize = 4;
    const EACH: usize = 300;
    let world = World::new().await;
    let store = Store::new(&world.database_url.as_str().into(), WRITERS + 1, "tests").unwrap();
    let usage = [(
        IntegrationId::new(world.integration),
        UsageTally {
            succeeded: 1,
            ..UsageTally::default()
        },
    )];
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (store, usage) = (store.clone(), usage.clone());
        writers.push(tokio::spawn(async move {
            let worker = format!("w{}", writer % 2);
            for _ in 0..EACH {
                let nothing = store
                    .settle(Uuid::nil(), &worker, &[], (&usage, false), async |_| ())
                    .await;
                nothing.unwrap();
            }
        }));
    }

    let mut folded_under_way = 0;
    while !writers.iter().all(JoinHandle::is_finished) {
        folded_under_way += store.fold_usage().await.unwrap();
    }

    for writer in writers {
        writer.await.unwrap();
    }
    store.fold_usage().await.unwrap();
    assert!(
        folded_under_way > 10,
        "nothing was added up while it was counted"
    );
    let counted = "SELECT total_requests::bigint FROM integrations";
    assert_eq!(
        world.count(counted).await,
        i64::try_from(WRITERS * EACH).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_again_and_was_settled_before_is_not_counted_again() {
    let world = World::new().await;
    let store = Store::new(&world.database_url.as_str().into(), 1, "tests").unwrap();
    let usage = [(
        IntegrationId::new(world.integration),
        UsageTally {
            succeeded: 1,
            ..UsageTally::default()
        },
    )];
    let counted = "SELECT COALESCE(sum(total), 0)::bigint FROM integration_usage";

    for (again, expected) in [(false, 1), (true, 1), (false, 2)] {
        // Nothing of the batch is left to settle: as after a commit whose answer was lost.
        store
            .settle(Uuid::nil(), "w1", &[], (&usage, again), async |_| ())
            .await
            .unwrap();
        assert_eq!(world.count(counted).await, expected, "again: {again}");
    }
}
