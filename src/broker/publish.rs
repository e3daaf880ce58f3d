//! The publishing connection: confirmed, pipelined, every confirm awaited by itself. A batch's fate
//! is told message by message; whatever is not surely stored is the caller's to publish again.

use std::sync::Arc;

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{BrokerError, CONFIRM_TIMEOUT, Link, SETUP_TIMEOUT, Topology, connect, pause, within};

/// Batches whose confirms may be outstanding at once.
const BATCHES_IN_FLIGHT: usize = 8;

/// A message to be published, persistent.
#[derive(Debug, Clone)]
pub struct Message {
    /// The exchange; `""` is the default exchange, whose routing key names a queue.
    pub exchange: Arc<str>,
    /// Where to.
    pub routing_key: String,
    /// JSON.
    pub body: Arc<str>,
    /// AMQP `message_id`.
    pub message_id: Option<String>,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<String>,
    /// AMQP `reply_to`.
    pub reply_to: Option<String>,
    /// Whether a message that no queue takes counts as not sent.
    pub mandatory: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The broker has it.
    Confirmed,
    /// The broker said no: a full queue.
    Refused,
    /// Nobody knows; or no queue takes it.
    Unknown,
}

type Batch = (Vec<Message>, oneshot::Sender<Vec<Sent>>);

/// The publishing side: a handle to the supervised connection.
#[derive(Debug, Clone)]
pub struct Publisher {
    batches: mpsc::Sender<Batch>,
}

impl Publisher {
    /// A handle and the queue its supervisor ([`run_publisher`](Publisher::run)) works off.
    #[must_use]
    pub fn new() -> (Self, PublisherQueue) {
        let (batches, queue) = mpsc::channel(BATCHES_IN_FLIGHT);
        (Self { batches }, PublisherQueue(queue))
    }

    /// Hands messages over, in order; the answer says what became of each. While the broker is away
    /// every one is `Unknown` at once: they are durable elsewhere, and waiting here would only pile
    /// them up.
    pub async fn submit(&self, messages: Vec<Message>) -> oneshot::Receiver<Vec<Sent>> {
        let (answer, result) = oneshot::channel();
        // A closed queue drops the answer with the batch, which the caller reads as `Unknown`.
        drop(self.batches.send((messages, answer)).await);
        result
    }

    /// The same, waiting for the answer.
    pub async fn publish(&self, messages: Vec<Message>) -> Vec<Sent> {
        let count = messages.len();
        let result = self.submit(messages).await;
        result.await.unwrap_or_else(|_| vec![Sent::Unknown; count])
    }

    /// Connects and publishes; on any failure starts again. Returns once `stop` fires and what was
    /// handed over by then has its answer.
    pub async fn run(
        mut queue: PublisherQueue,
        url: &SecretString,
        name: &str,
        topology: &Topology,
        link: &Link,
        stop: CancellationToken,
    ) {
        let mut tries = 0;
        while !stop.is_cancelled() {
            let started = tokio::time::Instant::now();
            match session(&mut queue.0, url, name, topology, link, &stop).await {
                Ok(()) => return,
                Err(error) => {
                    if link.is_up() || tries == 0 {
                        tracing::warn!(error = %error,
                            "lost the publishing connection; connecting again");
                    }
                    link.lost();
                }
            }
            if started.elapsed() > super::BACKOFF.1 {
                tries = 0;
            }
            let wait = tokio::time::sleep(pause(tries));
            tokio::pin!(wait);
            tries = tries.saturating_add(1);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    () = stop.cancelled() => break,
                    batch = queue.0.recv() => match batch {
                        Some(batch) => refuse(batch),
                        None => return,
                    },
                }
            }
        }
    }
}

/// What the supervisor works off.
#[derive(Debug)]
pub struct PublisherQueue(mpsc::Receiver<Batch>);

fn refuse((messages, answer): Batch) {
    // The caller may have stopped waiting.
    drop(answer.send(vec![Sent::Unknown; messages.len()]));
}

async fn session(
    queue: &mut mpsc::Receiver<Batch>,
    url: &SecretString,
    name: &str,
    topology: &Topology,
    link: &Link,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let connection = connect(url, name).await?;
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    topology.declare(&channel).await?;
    within(
        SETUP_TIMEOUT,
        channel.confirm_select(ConfirmSelectOptions::default()),
    )
    .await?;
    let generation = link.connected();
    tracing::info!(generation, "publishing");

    let mut confirming: JoinSet<Result<(), BrokerError>> = JoinSet::new();
    let mut watch = tokio::time::interval(std::time::Duration::from_secs(1));
    let result = loop {
        tokio::select! {
            // Nothing is lost by dropping a branch: an unanswered batch is `Unknown` to its caller.
            batch = queue.recv(), if confirming.len() < BATCHES_IN_FLIGHT => {
                let Some((messages, answer)) = batch else { break Ok(()) };
                match send(&channel, &messages).await {
                    Ok(confirms) => {
                        confirming.spawn(confirm(confirms, answer));
                    }
                    Err(error) => {
                        refuse((messages, answer));
                        break Err(error);
                    }
                }
            }
            Some(joined) = confirming.join_next() => match joined {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break Err(error),
                Err(error) => break Err(BrokerError::Lost(
                    format!("awaiting confirms failed: {error}"))),
            },
            _ = watch.tick() => if !connection.status().connected()
            || !channel.status().connected() {
                break Err(BrokerError::Lost("the connection or channel is closed".into()));
            },
            () = stop.cancelled() => break Ok(()),
        }
    };
    if result.is_ok() {
        while let Ok(batch) = queue.try_recv() {
            match send(&channel, &batch.0).await {
                Ok(confirms) => drop(confirm(confirms, batch.1).await),
                Err(_) => refuse(batch),
            }
        }
        while confirming.join_next().await.is_some() {}
    }
    link.lost();
    if let Err(error) = within(SETUP_TIMEOUT, connection.close(200, "bye".into())).await {
        tracing::debug!(error = %error, "the connection was gone before it could be closed");
    }
    result
}

async fn send(
    channel: &Channel,
    messages: &[Message],
) -> Result<Vec<lapin::PublisherConfirm>, BrokerError> {
    let sends = messages.iter().map(|message| {
        let mut properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into());
        if let Some(id) = &message.message_id {
            properties = properties.with_message_id(id.as_str().into());
        }
        if let Some(id) = &message.correlation_id {
            properties = properties.with_correlation_id(id.as_str().into());
        }
        if let Some(reply_to) = &message.reply_to {
            properties = properties.with_reply_to(reply_to.as_str().into());
        }
        let options = BasicPublishOptions {
            mandatory: message.mandatory,
            immediate: false,
        };
        channel.basic_publish(
            message.exchange.as_ref().into(),
            message.routing_key.as_str().into(),
            options,
            message.body.as_bytes(),
            properties,
        )
    });
    let work = async {
        join_all(sends)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
    };
    within(CONFIRM_TIMEOUT, work).await
}

/// Awaits each confirm by itself (`wait_for_confirms` forgets nacks). A returned message may be
/// attached to another's confirm, so one return puts the whole batch in doubt.
async fn confirm(
    confirms: Vec<lapin::PublisherConfirm>,
    answer: oneshot::Sender<Vec<Sent>>,
) -> Result<(), BrokerError> {
    let count = confirms.len();
    let Ok(results) = tokio::time::timeout(CONFIRM_TIMEOUT, join_all(confirms)).await else {
        drop(answer.send(vec![Sent::Unknown; count]));
        return Err(BrokerError::Timeout(CONFIRM_TIMEOUT));
    };
    let mut failed = None;
    let mut returned = false;
    let mut sent: Vec<Sent> = results
        .into_iter()
        .map(|result| match result {
            Ok(Confirmation::Ack(None)) => Sent::Confirmed,
            Ok(Confirmation::Ack(Some(_))) => {
                returned = true;
                Sent::Unknown
            }
            Ok(Confirmation::Nack(_)) => Sent::Refused,
            Ok(Confirmation::NotRequested) => Sent::Unknown,
            Err(error) => {
                failed = Some(error);
                Sent::Unknown
            }
        })
        .collect();
    if returned {
        sent = vec![Sent::Unknown; count];
    }
    drop(answer.send(sent));
    match failed {
        Some(error) => Err(BrokerError::Amqp(error)),
        // A message that no queue takes means that the topology is gone: connecting again declares
        // it anew.
        None if returned => Err(BrokerError::Lost(
            "events came back as unroutable: their queue is gone".into(),
        )),
        None => Ok(()),
    }
}
