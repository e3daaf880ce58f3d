//! Events between the commit and the broker's confirm.

use ticketwire::store::Store;
use uuid::Uuid;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_retry_takes_out_of_a_batch_stays_out_when_the_rest_is_put_back() {
    let world = World::new().await;
    let store = Store::new(&world.database_url.as_str().into(), 1, "tests").unwrap();
    let (batch, owner) = (Uuid::now_v7(), Uuid::new_v4());
    let [sent, retried, unsent] = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    // Three events are on their way when `command retry` makes a row of its own of one of them.
    let ids = vec![sent, retried, unsent];
    let insert = "INSERT INTO outbox_batches (id, owner, command_ids) VALUES ($1, $2, $3)";
    world.query(insert, &[&batch, &owner, &ids]).await;
    let take = "UPDATE outbox_batches SET command_ids = array_remove(command_ids, $1)";
    world.query(take, &[&retried]).await;

    // The broker confirms the first only.
    let rest = [retried, unsent];
    store.keep_of_batch(batch, &rest).await.unwrap();

    let left = world
        .query("SELECT command_ids, owner FROM outbox_batches", &[])
        .await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].get::<_, Vec<Uuid>>(0), [unsent]);
    assert_eq!(
        left[0].get::<_, Option<Uuid>>(1),
        None,
        "it is the sweep's now"
    );
}
