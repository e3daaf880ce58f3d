//! Hands deliveries to the broker, in batches that form by themselves: while one is written, the
//! next gathers.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::seal::{self, Delivered};
use crate::broker::{Link, Message, Publisher, Sent, Topology};
use crate::domain::OrganizationId;
use crate::secrets::KeyRing;

/// Type and routing key of what is published.
const RECEIVED: &str = "webhook.received";
/// What it says of where it comes from.
const SOURCE: &str = "/ticketwire/webhooks";
/// The attribute that has the listener's proof.
const SEAL: &str = "listenerseal";
/// Deliveries of a batch.
const BATCH_MAX: usize = 64;
/// Deliveries that wait for a batch.
const WAITING_MAX: usize = 256;

/// A delivery, and who waits to hear what became of it.
type Handed = (Message, oneshot::Sender<Sent>);

/// The way to the broker.
pub(super) struct Handing {
    exchange: Arc<str>,
    waiting: mpsc::Sender<Handed>,
    link: Link,
}

/// What [`run`] works off.
pub(super) struct HandingQueue(mpsc::Receiver<Handed>);

impl Handing {
    pub(super) fn new(topology: &Topology, link: Link) -> (Self, HandingQueue) {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        let handing = Self {
            exchange: topology.commands().into(),
            waiting,
            link,
        };
        (handing, HandingQueue(queue))
    }

    /// Publishes a message and waits for the broker to have it.
    pub(super) async fn hand_over(&self, body: String) -> Sent {
        // While the connection comes about, what is handed over would wait for it.
        if !self.link.is_up() {
            return Sent::Unknown;
        }
        let message = Message {
            exchange: Arc::clone(&self.exchange),
            routing_key: RECEIVED.to_owned(),
            body: body.into(),
            message_id: None,
            correlation_id: None,
            reply_to: None,
            mandatory: true,
        };
        let (answer, sent) = oneshot::channel();
        if self.waiting.send((message, answer)).await.is_err() {
            return Sent::Unknown;
        }
        sent.await.unwrap_or(Sent::Unknown)
    }
}

/// Publishes what is handed over until `stop` fires, and then what is there.
pub(super) async fn run(mut queue: HandingQueue, publisher: Publisher, stop: CancellationToken) {
    loop {
        let first = tokio::select! {
            first = queue.0.recv() => first,
            () = stop.cancelled() => queue.0.try_recv().ok(),
        };
        let Some((message, answer)) = first else {
            return;
        };
        let (mut messages, mut answers) = (vec![message], vec![answer]);
        while messages.len() < BATCH_MAX
            && let Ok((message, answer)) = queue.0.try_recv()
        {
            // Who gave up is sent to again anyway.
            if !answer.is_closed() {
                messages.push(message);
                answers.push(answer);
            }
        }
        let sent = publisher.submit(messages).await;
        tokio::task::spawn(async move {
            let sent = sent.await.unwrap_or_default();
            let sent = sent.into_iter().chain(std::iter::repeat(Sent::Unknown));
            for (answer, sent) in answers.into_iter().zip(sent) {
                if answer.send(sent).is_err() {
                    tracing::trace!("a delivery was handed over when its time was over");
                }
            }
        });
    }
}

/// A delivery as the command that it becomes. `is_proved` puts the listener's proof in.
pub(super) fn message(
    ring: &KeyRing,
    organization: Option<OrganizationId>,
    what: &Delivered<'_>,
    is_proved: bool,
) -> String {
    use base64::Engine as _;
    let mut data = json!({
        "integration_id": what.integration.uuid(),
        "headers": what.headers,
        "body": base64::engine::general_purpose::STANDARD.encode(what.body),
        "received_at": what.received_at,
        "method": what.method,
    });
    if let Some(query) = what.query {
        data["query"] = query.into();
    }
    let organization = organization.map_or(Uuid::nil(), OrganizationId::uuid);
    let mut event = Map::from_iter([
        ("specversion".to_owned(), json!("1.0")),
        ("id".to_owned(), json!(Uuid::now_v7())),
        ("source".to_owned(), json!(SOURCE)),
        ("type".to_owned(), json!(RECEIVED)),
        ("time".to_owned(), json!(what.received_at)),
        ("datacontenttype".to_owned(), json!("application/json")),
        ("organizationid".to_owned(), json!(organization)),
        ("data".to_owned(), data),
    ]);
    if let Some(seal) = seal::seal(ring, what).filter(|_| is_proved) {
        event.insert(SEAL.to_owned(), seal.into());
    }
    Value::Object(event).to_string()
}
