//! Events on their way out: from memory right after the commit, confirms pipelined, rows removed once confirmed. What
//! a crash, a full queue or an absent broker leaves is published by the sweep, each command's oldest first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::{Link, Message, Publisher, Sent, Topology};
use crate::store::{OutboxKey, OutboxRow, Store, chain};
use crate::telemetry::{failpoint, metrics};

/// Most events a publish batch.
const BATCH_MAX: usize = 256;
/// Events in memory on their way out; beyond, they are the sweep's.
const MEMORY_MAX: usize = 8192;
/// How often the sweep looks, and how much it takes at once.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
const SWEEP_MAX: i64 = 500;

/// Where events are handed in.
#[derive(Clone)]
pub struct Relay {
    rows: mpsc::Sender<OutboxRow>,
}

/// What [`run_relay`] works off.
pub struct RelayQueue(mpsc::Receiver<OutboxRow>);

impl Relay {
    /// A handle and its queue.
    #[must_use]
    pub fn new() -> (Self, RelayQueue) {
        let (rows, queue) = mpsc::channel(MEMORY_MAX);
        (Self { rows }, RelayQueue(queue))
    }

    /// Publishes rows that are committed. Where there is no room they are left to the sweep, so that a dead dashboard
    /// or an absent broker holds up nobody.
    pub fn offer(&self, rows: Vec<OutboxRow>) {
        for row in rows {
            if self.rows.try_send(row).is_err() {
                tracing::debug!("no room for an event in memory; the sweep will publish it");
            }
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
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        let received = tokio::select! {
            received = queue.0.recv_many(&mut batch, BATCH_MAX) => received,
            () = stop.cancelled(), if !queue.0.is_closed() => {
                queue.0.close();
                continue;
            }
        };
        if received == 0 {
            break;
        }
        let rows = std::mem::take(&mut batch);
        let (began, count) = (Instant::now(), rows.len());
        let (messages, keys) = messages(rows, &exchange);
        let answer = publisher.submit(messages).await;
        let store = store.clone();
        sending.spawn(async move {
            let sent = answer.await.unwrap_or_default();
            metrics::batch("publish", count, began.elapsed());
            remove(&store, keys, &sent).await;
        });
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
}

/// Publishes what memory did not, until `stop` fires.
pub async fn run_sweep(
    publisher: Publisher,
    store: Store,
    topology: Topology,
    link: Link,
    stop: CancellationToken,
) {
    let exchange: Arc<str> = topology.events().into();
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        if link.is_up() {
            while sweep(&publisher, &store, &exchange).await && !stop.is_cancelled() {}
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
    while sweep(publisher, store, &exchange).await {}
}

/// One round; true if there is likely more.
async fn sweep(publisher: &Publisher, store: &Store, exchange: &Arc<str>) -> bool {
    let rows = match store.sweep_events(SWEEP_MAX).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::debug!(error = chain(&error), "could not look for unsent events");
            return false;
        }
    };
    if rows.is_empty() {
        return false;
    }
    let (messages, keys) = messages(rows, exchange);
    let sent = publisher.publish(messages).await;
    let all = sent.iter().all(|sent| *sent == Sent::Confirmed);
    remove(store, keys, &sent).await;
    all
}

fn messages(rows: Vec<OutboxRow>, exchange: &Arc<str>) -> (Vec<Message>, Vec<OutboxKey>) {
    let mut messages = Vec::with_capacity(rows.len());
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let reply = !row.key.target.is_empty();
        messages.push(Message {
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
            // The log takes every event; one that nobody takes means that the topology is gone. A caller that went
            // away is no reason to keep its reply.
            mandatory: !reply,
        });
        keys.push(row.key);
    }
    (messages, keys)
}

async fn remove(store: &Store, keys: Vec<OutboxKey>, sent: &[Sent]) {
    let count = keys.len();
    let confirmed: Vec<OutboxKey> = keys
        .into_iter()
        .zip(sent)
        .filter(|(_, sent)| **sent == Sent::Confirmed)
        .map(|(key, _)| key)
        .collect();
    metrics::published(confirmed.len(), count - confirmed.len());
    if confirmed.len() < count {
        tracing::info!(
            unsent = count - confirmed.len(),
            "events were not confirmed; the sweep will publish them"
        );
    }
    if confirmed.is_empty() {
        return;
    }
    failpoint("after_publish").await;
    if let Err(error) = store.remove_events(&confirmed).await {
        tracing::warn!(
            error = chain(&error),
            "could not mark events as sent; they go out once more"
        );
    }
}
