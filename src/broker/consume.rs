//! The consuming connection: a channel a queue, deliveries into one bounded queue, acknowledgements
//! back to the channel and generation they came from, `multiple`, never out of order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use lapin::message::Delivery as Raw;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{BrokerError, CONFIRM_TIMEOUT, Link, SETUP_TIMEOUT, Topology, connect, pause, within};
use crate::config::Config;

/// Which queue a delivery came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// One of the command queues, by index.
    Commands(usize),
    /// The dead-letter queue.
    Dead,
}

/// A message with what is needed to acknowledge it.
#[derive(Debug)]
pub struct Delivery {
    /// Where it came from.
    pub source: Source,
    /// Tags mean nothing outside the generation of the connection they came over.
    pub generation: u64,
    tag: u64,
    raw: Raw,
    oversize: Option<Oversize>,
}

/// A body that is larger than any that is taken: its beginning is kept, and what tells it from
/// others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversize {
    /// How long it was.
    pub bytes: usize,
    /// Of the whole, in hexadecimal.
    pub sha256: String,
}

/// So much of it is kept, for its id and for a person to see what it was.
const BEGINNING: usize = 16 << 10;

/// Lets go of a body that is too large, as soon as it is here: many of them would fill the memory
/// while they wait.
fn shrunk(body: &mut Vec<u8>, bytes_max: usize) -> Option<Oversize> {
    if body.len() <= bytes_max {
        return None;
    }
    let oversize = Oversize {
        bytes: body.len(),
        sha256: hex::encode(Sha256::digest(&*body)),
    };
    body.truncate(BEGINNING.min(bytes_max));
    body.shrink_to_fit();
    Some(oversize)
}

impl Delivery {
    /// Of a body that was too large to keep.
    #[must_use]
    pub const fn oversize(&self) -> Option<&Oversize> {
        self.oversize.as_ref()
    }

    /// Its routing key.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.raw.routing_key.as_str()
    }

    /// Its body; the beginning of it, where it was too large.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.raw.data
    }

    /// Whether it was delivered before.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.raw.redelivered
    }

    /// AMQP `content_type`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.raw
            .properties
            .content_type()
            .as_ref()
            .map(lapin::types::ShortString::as_str)
    }

    /// AMQP `content_encoding`.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&str> {
        self.raw
            .properties
            .content_encoding()
            .as_ref()
            .map(lapin::types::ShortString::as_str)
    }

    /// The headers whose names `name_of` knows, under the names it gives them, as JSON; a timestamp
    /// as text (RFC 3339).
    #[must_use]
    pub fn named_headers(
        &self,
        name_of: impl Fn(&str) -> Option<&str>,
    ) -> serde_json::Map<String, serde_json::Value> {
        let headers = self.raw.properties.headers().as_ref();
        let all = headers.into_iter().flat_map(|headers| headers.inner());
        all.filter_map(|(header, value)| {
            let name = name_of(header.as_str())?;
            let value = match value {
                AMQPValue::Timestamp(seconds) => i64::try_from(*seconds)
                    .ok()
                    .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0))
                    .map_or(serde_json::Value::Null, |at| at.to_rfc3339().into()),
                other => value_json(other),
            };
            Some((name.to_owned(), value))
        })
        .collect()
    }

    /// AMQP `reply_to`.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.raw
            .properties
            .reply_to()
            .as_ref()
            .map(lapin::types::ShortString::as_str)
    }

    /// AMQP `user_id`: the broker lets nobody set another's.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.raw
            .properties
            .user_id()
            .as_ref()
            .map(lapin::types::ShortString::as_str)
    }

    /// AMQP `correlation_id`.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.raw
            .properties
            .correlation_id()
            .as_ref()
            .map(lapin::types::ShortString::as_str)
    }

    /// A header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.raw.properties.headers().as_ref()?;
        match headers.inner().get(name)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// All headers as JSON, for the dead-letter table.
    #[must_use]
    pub fn headers_json(&self) -> serde_json::Value {
        self.raw
            .properties
            .headers()
            .as_ref()
            .map_or_else(|| serde_json::json!({}), table_json)
    }

    /// Why the broker dead-lettered it, and from which queue, if it did.
    #[must_use]
    pub fn death(&self) -> Option<(String, String)> {
        let headers = self.raw.properties.headers().as_ref()?;
        let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else {
            return None;
        };
        let AMQPValue::FieldTable(first) = deaths.as_slice().first()? else {
            return None;
        };
        let text = |name: &str| match first.inner().get(name) {
            Some(AMQPValue::LongString(text)) => {
                String::from_utf8_lossy(text.as_bytes()).into_owned()
            }
            _ => String::new(),
        };
        Some((text("reason"), text("queue")))
    }
}

/// The consuming side. Deliveries go into the channels given to [`Consumer::run`] and are given
/// back with [`Consumer::ack`].
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    /// Larger bodies than it allows are let go of on receipt.
    config: Arc<Config>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Deliveries handed on and not acknowledged yet.
    outstanding: AtomicUsize,
    /// Acknowledged tags not yet sent, by source; emptied with each generation.
    done: Mutex<Acknowledged>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Acknowledged {
    generation: u64,
    tags: BTreeMap<Source, Vec<u64>>,
}

impl Consumer {
    /// Starts nothing yet: [`Consumer::run`] is the supervisor, to be owned by the caller.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            shared: Arc::new(Shared::default()),
            config,
        }
    }

    /// How many deliveries were handed on and not acknowledged yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.shared.outstanding.load(Ordering::Acquire)
    }

    /// Says that deliveries are durable. Those of a lost generation are forgotten: they come again.
    pub fn ack<'a>(&self, deliveries: impl IntoIterator<Item = &'a Delivery>) {
        let mut done = self
            .shared
            .done
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for delivery in deliveries {
            if delivery.generation == done.generation {
                self.shared.outstanding.fetch_sub(1, Ordering::AcqRel);
                done.tags
                    .entry(delivery.source)
                    .or_default()
                    .push(delivery.tag);
            }
        }
        drop(done);
        self.shared.wake.notify_one();
    }

    /// Connects, consumes, acknowledges; on any failure starts again. Returns once `stop` fires and
    /// what was acknowledged by then has been sent.
    #[expect(
        clippy::too_many_arguments,
        reason = "the composition root is the only caller"
    )]
    pub async fn run(
        &self,
        url: &SecretString,
        name: &str,
        topology: &Topology,
        prefetch: u16,
        commands: mpsc::Sender<Delivery>,
        dead: mpsc::Sender<Delivery>,
        intake: watch::Receiver<bool>,
        link: &Link,
        stop: CancellationToken,
    ) {
        let mut tries = 0;
        while !stop.is_cancelled() {
            let started = tokio::time::Instant::now();
            let session = self.session(
                url,
                name,
                topology,
                prefetch,
                &commands,
                &dead,
                intake.clone(),
                link,
                &stop,
            );
            match session.await {
                Ok(()) => return,
                Err(error) => {
                    if link.is_up() || tries == 0 {
                        tracing::warn!(error = %error,
                            "lost the consuming connection; connecting again");
                    }
                    link.lost();
                }
            }
            if started.elapsed() > super::BACKOFF.1 {
                tries = 0;
            }
            tokio::select! {
                () = tokio::time::sleep(pause(tries)) => {}
                () = stop.cancelled() => {}
            }
            tries = tries.saturating_add(1);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, a few lines above")]
    async fn session(
        &self,
        url: &SecretString,
        name: &str,
        topology: &Topology,
        prefetch: u16,
        commands: &mpsc::Sender<Delivery>,
        dead: &mpsc::Sender<Delivery>,
        intake: watch::Receiver<bool>,
        link: &Link,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let connection = connect(url, name).await?;
        let setup = within(SETUP_TIMEOUT, connection.create_channel()).await?;
        topology.declare(&setup).await?;

        let mut channels = BTreeMap::new();
        let mut streams = Vec::new();
        let sources = topology
            .command_queues()
            .into_iter()
            .enumerate()
            .map(|(index, (queue, _))| (Source::Commands(index), queue, prefetch))
            .chain([(Source::Dead, topology.dead(), 100)]);
        for (source, queue, prefetch) in sources {
            let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
            // Before consuming: only this bounds the client's own buffer.
            within(
                SETUP_TIMEOUT,
                channel.basic_qos(prefetch, BasicQosOptions::default()),
            )
            .await?;
            let tag = format!("{name}:{queue}");
            let consume = channel.basic_consume(
                queue.as_str().into(),
                tag.as_str().into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            streams.push((source, queue, within(SETUP_TIMEOUT, consume).await?));
            channels.insert(source, channel);
        }

        let generation = link.connected();
        {
            let mut done = self
                .shared
                .done
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *done = Acknowledged {
                generation,
                tags: BTreeMap::new(),
            };
            self.shared.outstanding.store(0, Ordering::Release);
        }
        tracing::info!(generation, "consuming");
        let ended = CancellationToken::new();
        let mut readers = tokio::task::JoinSet::new();
        for (source, queue, stream) in streams {
            let sink = if source == Source::Dead {
                dead.clone()
            } else {
                commands.clone()
            };
            let shared = Arc::clone(&self.shared);
            readers.spawn(read(
                source,
                queue,
                stream,
                generation,
                sink,
                intake.clone(),
                ended.clone(),
                shared,
                Arc::clone(&self.config),
            ));
        }
        let result = tokio::select! {
            // Losing branches may be dropped: unacknowledged messages are delivered again.
            Some(joined) = readers.join_next() => match joined {
                Ok(error) => Err(error),
                Err(error) => Err(BrokerError::Lost(format!("a reader ended: {error}"))),
            },
            error = self.acknowledge(generation, &channels) => Err(error),
            () = stop.cancelled() => Ok(()),
        };
        ended.cancel();
        readers.shutdown().await;
        if result.is_ok() {
            // What became durable up to now is acknowledged, so that nobody gets it again.
            let mut trackers = BTreeMap::new();
            self.flush(generation, &channels, &mut trackers).await?;
        }
        link.lost();
        close(connection).await;
        result
    }

    async fn acknowledge(
        &self,
        generation: u64,
        channels: &BTreeMap<Source, Channel>,
    ) -> BrokerError {
        let mut trackers = BTreeMap::new();
        loop {
            self.shared.wake.notified().await;
            if let Err(error) = self.flush(generation, channels, &mut trackers).await {
                return error;
            }
        }
    }

    async fn flush(
        &self,
        generation: u64,
        channels: &BTreeMap<Source, Channel>,
        trackers: &mut BTreeMap<Source, Prefix>,
    ) -> Result<(), BrokerError> {
        let tags = {
            let mut done = self
                .shared
                .done
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if done.generation != generation {
                return Ok(());
            }
            std::mem::take(&mut done.tags)
        };
        for (source, tags) in tags {
            let tracker = trackers.entry(source).or_default();
            for tag in tags {
                tracker.mark(tag);
            }
            let (Some(highest), Some(channel)) = (tracker.advance(), channels.get(&source)) else {
                continue;
            };
            within(
                CONFIRM_TIMEOUT,
                channel.basic_ack(highest, BasicAckOptions { multiple: true }),
            )
            .await?;
        }
        Ok(())
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "one caller, one place to read them"
)]
/// Moves deliveries on. Ends only on a failure: a plain end of the stream means that the broker
/// cancelled the consumer, which is how a deleted queue shows.
async fn read(
    source: Source,
    queue: String,
    mut stream: lapin::Consumer,
    generation: u64,
    sink: mpsc::Sender<Delivery>,
    mut intake: watch::Receiver<bool>,
    ended: CancellationToken,
    shared: Arc<Shared>,
    config: Arc<Config>,
) -> BrokerError {
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            // Taken from the client's buffer at once, also while nothing is handed on: there,
            // bodies are as large as they came.
            next = stream.next() => match next {
                Some(Ok(mut raw)) => {
                    let bytes_max = config.message_bytes_max(raw.routing_key.as_str());
                    waiting.push_back(Delivery {
                        source,
                        generation,
                        tag: raw.delivery_tag,
                        oversize: shrunk(&mut raw.data, bytes_max),
                        raw,
                    });
                }
                Some(Err(error)) => return BrokerError::Amqp(error),
                None => return BrokerError::Lost(
                    format!("the broker ended the consumer of {queue}")),
            },
            // Dropped and begun anew with each delivery that comes: it holds nothing yet.
            slot = next_slot(&mut intake, &sink), if !waiting.is_empty() => match slot {
                Ok(slot) => {
                    if let Some(delivery) = waiting.pop_front() {
                        shared.outstanding.fetch_add(1, Ordering::AcqRel);
                        slot.send(delivery);
                    }
                }
                Err(error) => return error,
            },
            () = ended.cancelled() => return BrokerError::Lost("the session has ended".into()),
        }
    }
}

/// A slot for a delivery. While the intake is closed (Postgres away, draining) there is none, and
/// messages stay with the broker, up to the prefetch.
async fn next_slot<'a>(
    intake: &mut watch::Receiver<bool>,
    sink: &'a mpsc::Sender<Delivery>,
) -> Result<mpsc::Permit<'a, Delivery>, BrokerError> {
    if intake.wait_for(|open| *open).await.is_err() {
        return Err(BrokerError::Lost("the worker is stopping".into()));
    }
    let slot = sink.reserve().await;
    slot.map_err(|_| BrokerError::Lost("nobody takes deliveries any more".into()))
}

async fn close(connection: Connection) {
    if let Err(error) = within(SETUP_TIMEOUT, connection.close(200, "bye".into())).await {
        tracing::debug!(error = %error, "the connection was gone before it could be closed");
    }
}

/// The highest tag such that every tag up to it is done: tags finish out of order, `multiple` must
/// not run ahead.
#[derive(Debug, Default)]
struct Prefix {
    base: u64,
    done: VecDeque<bool>,
}

impl Prefix {
    fn mark(&mut self, tag: u64) {
        let Some(offset) = tag.checked_sub(self.base + 1) else {
            return;
        };
        let Ok(index) = usize::try_from(offset) else {
            return;
        };
        if self.done.len() <= index {
            self.done.resize(index + 1, false);
        }
        if let Some(slot) = self.done.get_mut(index) {
            *slot = true;
        }
    }

    fn advance(&mut self) -> Option<u64> {
        let before = self.base;
        while self.done.front() == Some(&true) {
            self.done.pop_front();
            self.base += 1;
        }
        (self.base > before).then_some(self.base)
    }
}

fn table_json(table: &FieldTable) -> serde_json::Value {
    let members = table
        .inner()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value_json(value)));
    serde_json::Value::Object(members.collect())
}

fn value_json(value: &AMQPValue) -> serde_json::Value {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes())
            .replace('\0', "\u{fffd}")
            .into(),
        AMQPValue::ShortString(text) => text.as_str().replace('\0', "\u{fffd}").into(),
        AMQPValue::Boolean(flag) => (*flag).into(),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::FieldTable(table) => table_json(table),
        AMQPValue::FieldArray(items) => items
            .as_slice()
            .iter()
            .map(value_json)
            .collect::<Vec<_>>()
            .into(),
        _ => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::{BEGINNING, Prefix, shrunk};

    #[test]
    fn of_a_body_that_is_too_large_its_beginning_and_its_digest_are_kept() {
        let mut body = vec![b'x'; 15 << 20];
        body[0] = b'{';

        let oversize = shrunk(&mut body, 1 << 20).unwrap();

        assert_eq!((oversize.bytes, oversize.sha256.len()), (15 << 20, 64));
        assert!(body.len() == BEGINNING && body.capacity() < 2 * BEGINNING);
        assert!(body.starts_with(b"{x"));
        assert_eq!(shrunk(&mut vec![b'x'; 1 << 20], 1 << 20), None);
    }

    #[test]
    fn an_acknowledgement_never_runs_ahead_of_an_unfinished_delivery() {
        let mut prefix = Prefix::default();

        prefix.mark(2);
        prefix.mark(3);
        assert_eq!(prefix.advance(), None);

        prefix.mark(1);
        assert_eq!(prefix.advance(), Some(3));

        prefix.mark(3);
        assert_eq!(prefix.advance(), None);
        prefix.mark(4);
        assert_eq!(prefix.advance(), Some(4));
    }
}
