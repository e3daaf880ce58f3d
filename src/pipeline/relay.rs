//! Events on their way out: from memory right after the commit, confirms pipelined, rows removed
//! once confirmed. What a crash, a full queue or an absent broker leaves is published by the outbox
//! poller, each command's oldest first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::{Link, Message, Publisher, Sent, Topology};
use crate::store::{OutboxBatch, OutboxKey, OutboxRow, Store, chain};
use crate::telemetry::{failpoint, metrics};

/// Most events a publish batch.
const BATCH_MAX: usize = 256;
/// Events in memory on their way out; beyond, they are the outbox poller's.
const MEMORY_MAX: usize = 8192;
/// How often the outbox poller looks, and how much it takes at once.
const POLL_EVERY: Duration = Duration::from_millis(250);
const POLL_MAX: i64 = 500;
/// How many batches it takes at once, of up to [`BATCH_MAX`] events each.
const POLL_BATCHES_MAX: i64 = 2;

/// How long confirmed batches gather before they are removed: nobody waits for it, and at a low
/// rate it spares PostgreSQL nine in ten of these transactions.
const REMOVE_EVERY: Duration = Duration::from_millis(50);

/// Events that were committed together.
struct Committed {
    /// Names them in `outbox_batches`; else each is a row of `outbox`.
    batch: Option<Uuid>,
    rows: Vec<OutboxRow>,
    /// Their capacity in memory, given back once the broker has answered.
    capacity: OwnedSemaphorePermit,
}

/// Where events are handed in.
#[derive(Clone)]
pub struct Relay {
    committed: mpsc::Sender<Committed>,
    capacity: Arc<Semaphore>,
}

/// What [`run_relay`] works off.
pub struct RelayQueue(mpsc::Receiver<Committed>);

impl Relay {
    /// A handle and its queue.
    #[must_use]
    pub fn new() -> (Self, RelayQueue) {
        let (committed, queue) = mpsc::channel(MEMORY_MAX);
        let capacity = Arc::new(Semaphore::new(MEMORY_MAX));
        (
            Self {
                committed,
                capacity,
            },
            RelayQueue(queue),
        )
    }

    /// Publishes rows that are committed. Where there is no capacity they are left to the outbox
    /// poller, so that a dead dashboard or an absent broker holds up nobody.
    pub fn offer(&self, rows: Vec<OutboxRow>) {
        self.hand_in(None, rows);
    }

    /// The same for the single events of a settlement.
    pub fn offer_batch(&self, batch: OutboxBatch) {
        self.hand_in(Some(batch.id), batch.rows);
    }

    fn hand_in(&self, batch: Option<Uuid>, rows: Vec<OutboxRow>) {
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return;
        }
        let handed_in = match Arc::clone(&self.capacity).try_acquire_many_owned(count) {
            Ok(capacity) => {
                let one = Committed {
                    batch,
                    rows,
                    capacity,
                };
                self.committed.try_send(one).is_ok()
            }
            Err(_) => false,
        };
        if !handed_in {
            tracing::debug!(
                events = count,
                "no capacity for events in memory; the outbox poller will publish them"
            );
        }
    }
}

/// Publishes until `stop` fires and what was handed in has been answered.
pub async fn run_relay(
    mut queue: RelayQueue,
    publisher: Publisher,
    store: Store,
    topology: Topology,
    stop: CancellationToken,
) {
    let exchange: Arc<str> = topology.events().into();
    let mut sending: JoinSet<()> = JoinSet::new();
    let (confirmed, gathering) = mpsc::channel(1024);
    let remover = remove_gathered(gathering, store.clone());
    let mut remover = JoinSet::from_iter([remover]);
    loop {
        let first = tokio::select! {
            first = queue.0.recv() => first,
            () = stop.cancelled(), if !queue.0.is_closed() => {
                queue.0.close();
                continue;
            }
        };
        let Some(first) = first else { break };
        // Small ones go together; a settlement's worth goes by itself.
        let mut count = first.rows.len();
        let mut committed = vec![first];
        while count < BATCH_MAX / 2
            && let Ok(one) = queue.0.try_recv()
        {
            count += one.rows.len();
            committed.push(one);
        }
        let began = Instant::now();
        let mut in_flight = InFlight::with_capacity(count);
        let mut capacities = Vec::with_capacity(committed.len());
        for one in committed {
            in_flight.add(one.batch, one.rows, &exchange);
            capacities.push(one.capacity);
        }
        let answer = publisher
            .submit(std::mem::take(&mut in_flight.messages))
            .await;
        let (store, confirmed) = (store.clone(), confirmed.clone());
        sending.spawn(async move {
            let sent = answer.await.unwrap_or_default();
            metrics::batch("publish", count, began.elapsed());
            drop(capacities);
            let done = in_flight.settle(&store, &sent).await;
            if !done.is_empty() && confirmed.send(done).await.is_err() {
                tracing::debug!("confirmed events are left to the outbox poller");
            }
        });
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
    drop(confirmed);
    while remover.join_next().await.is_some() {}
}

/// Removes confirmed batches, until nobody can hand in more.
async fn remove_gathered(mut gathering: mpsc::Receiver<Vec<Uuid>>, store: Store) {
    let mut ids = Vec::new();
    while let Some(first) = gathering.recv().await {
        ids.extend(first);
        // Ends at once when the last sender is gone.
        let rest = async {
            while let Some(more) = gathering.recv().await {
                ids.extend(more);
            }
        };
        drop(tokio::time::timeout(REMOVE_EVERY, rest).await);
        note(store.remove_batches(&ids).await);
        ids.clear();
    }
}

/// Publishes what memory did not, until `stop` fires.
pub async fn run_outbox_poller(
    publisher: Publisher,
    store: Store,
    topology: Topology,
    link: Link,
    stop: CancellationToken,
) {
    let exchange: Arc<str> = topology.events().into();
    let mut tick = tokio::time::interval(POLL_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        if link.is_up() {
            while poll_outbox(&publisher, &store, &exchange).await && !stop.is_cancelled() {}
        }
    }
}

/// Publishes what is left at the end of a process's life, bounded by the caller.
pub async fn flush(publisher: &Publisher, store: &Store, topology: &Topology, owner: uuid::Uuid) {
    if let Err(error) = store.disown_events(owner).await {
        tracing::debug!(error = chain(&error), "events are left to the next worker");
        return;
    }
    let exchange: Arc<str> = topology.events().into();
    while poll_outbox(publisher, store, &exchange).await {}
}

/// One round; true if there is likely more.
async fn poll_outbox(publisher: &Publisher, store: &Store, exchange: &Arc<str>) -> bool {
    let found = async {
        let rows = store.poll_events(POLL_MAX).await?;
        Ok::<_, crate::store::StoreError>((rows, store.poll_batches(POLL_BATCHES_MAX).await?))
    };
    let (rows, batches) = match found.await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(error = chain(&error), "could not look for unsent events");
            return false;
        }
    };
    if rows.is_empty() && batches.is_empty() {
        return false;
    }
    let mut in_flight = InFlight::with_capacity(rows.len());
    in_flight.add(None, rows, exchange);
    for batch in batches {
        in_flight.add(Some(batch.id), batch.rows, exchange);
    }
    let sent = publisher
        .publish(std::mem::take(&mut in_flight.messages))
        .await;
    let all = sent.iter().all(|sent| *sent == Sent::Confirmed);
    let done = in_flight.settle(store, &sent).await;
    if !done.is_empty() {
        note(store.remove_batches(&done).await);
    }
    all
}

/// Messages on their way, and what is to be removed once they are confirmed.
struct InFlight {
    messages: Vec<Message>,
    /// Of the messages, in order.
    keys: Vec<OutboxKey>,
    /// The batches among them, each with its place in `keys`; what is in none is a row of `outbox`.
    batches: Vec<(Uuid, std::ops::Range<usize>)>,
}

impl InFlight {
    fn with_capacity(count: usize) -> Self {
        Self {
            messages: Vec::with_capacity(count),
            keys: Vec::with_capacity(count),
            batches: Vec::new(),
        }
    }

    fn add(&mut self, batch: Option<Uuid>, rows: Vec<OutboxRow>, exchange: &Arc<str>) {
        let first = self.keys.len();
        for row in rows {
            let reply = !row.key.target.is_empty();
            self.messages.push(Message {
                exchange: if reply {
                    Arc::from("")
                } else {
                    Arc::clone(exchange)
                },
                routing_key: row.routing_key,
                body: row.body,
                message_id: None,
                correlation_id: Some(row.key.correlation_id.clone()).filter(|id| !id.is_empty()),
                reply_to: None,
                // The log takes every event; one that nobody takes means that the topology is gone.
                // A caller that went away is no reason to keep its reply.
                mandatory: !reply,
            });
            self.keys.push(row.key);
        }
        if let Some(batch) = batch {
            self.batches.push((batch, first..self.keys.len()));
        }
    }

    /// Removes what was confirmed and leaves the rest to the outbox poller. Returns the batches
    /// that were confirmed as a whole, which are the caller's to remove.
    async fn settle(self, store: &Store, sent: &[Sent]) -> Vec<Uuid> {
        let is_sent = |index: usize| sent.get(index) == Some(&Sent::Confirmed);
        let confirmed = (0..self.keys.len()).filter(|index| is_sent(*index)).count();
        let unsent = self.keys.len() - confirmed;
        metrics::published(confirmed, unsent);
        if unsent > 0 {
            tracing::info!(
                unsent,
                "events were not confirmed; the outbox poller will publish them"
            );
        }
        if confirmed > 0 {
            failpoint("after_publish").await;
        }
        let mut done = Vec::new();
        for (batch, range) in &self.batches {
            let rest: Vec<Uuid> = range
                .clone()
                .filter(|index| !is_sent(*index))
                .filter_map(|index| Some(self.keys.get(index)?.command_id))
                .collect();
            if rest.is_empty() {
                done.push(*batch);
            } else if rest.len() < range.len() {
                note(store.keep_of_batch(*batch, &rest).await);
            }
        }
        let in_a_batch = |index: usize| self.batches.iter().any(|(_, r)| r.contains(&index));
        let rows: Vec<OutboxKey> = (0..self.keys.len())
            .filter(|index| is_sent(*index) && !in_a_batch(*index))
            .filter_map(|index| self.keys.get(index).cloned())
            .collect();
        if !rows.is_empty() {
            note(store.remove_events(&rows).await);
        }
        done
    }
}

fn note(removed: Result<(), crate::store::StoreError>) {
    if let Err(error) = removed {
        tracing::warn!(
            error = chain(&error),
            "could not mark events as sent; they go out once more"
        );
    }
}
