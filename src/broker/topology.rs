//! Exchanges, queues and bindings of contract §3, declared idempotently by whoever connects first.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ExchangeKind};

use super::{BrokerError, SETUP_TIMEOUT, within};

/// Bounds of the events log: a day, a gibibyte, segments of 16 MiB so that the bounds bite.
const LOG_MAX_AGE: &str = "1D";
const LOG_MAX_BYTES: i64 = 1 << 30;
const LOG_SEGMENT_BYTES: i64 = 16 << 20;

/// The names of everything declared, from `amqp.prefix`.
#[derive(Debug, Clone)]
pub struct Topology {
    prefix: String,
}

/// A queue as it is declared.
pub(super) struct QueueSpec {
    pub(super) name: String,
    binding: &'static str,
    exchange: String,
    pub(super) arguments: FieldTable,
}

impl QueueSpec {
    const fn new(
        name: String,
        binding: &'static str,
        exchange: String,
        arguments: FieldTable,
    ) -> Self {
        Self {
            name,
            binding,
            exchange,
            arguments,
        }
    }
}

impl Topology {
    /// The names under a prefix.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// `P`
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `P.commands`, where producers publish.
    #[must_use]
    pub fn commands(&self) -> String {
        format!("{}.commands", self.prefix)
    }

    /// `P.events`, where results go.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// `P.events.log`, the stream of all results.
    #[must_use]
    pub fn events_log(&self) -> String {
        format!("{}.events.log", self.prefix)
    }

    /// `P.dead`, exchange and queue.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// The command queues and what each is bound to.
    #[must_use]
    pub fn command_queues(&self) -> [(String, &'static str); 3] {
        [
            (format!("{}.tickets", self.prefix), "ticket.#"),
            (format!("{}.integrations", self.prefix), "integration.#"),
            (self.webhooks(), "webhook.#"),
        ]
    }

    /// The command queue that takes what is published with this routing key.
    #[must_use]
    pub fn queue_of(&self, routing_key: &str) -> Option<String> {
        let first = |words: &str| words.split('.').next().map(str::to_owned);
        let mut queues = self.command_queues().into_iter();
        let found = queues.find(|(_, pattern)| first(pattern) == first(routing_key));
        found.map(|(name, _)| name)
    }

    /// `P.webhooks`: order does not matter there, as each delivery says what it is about and when
    /// it was.
    fn webhooks(&self) -> String {
        format!("{}.webhooks", self.prefix)
    }

    /// The exchanges, all of type topic, with their arguments; each after those that it names.
    pub(super) fn exchanges(&self) -> Vec<(String, FieldTable)> {
        let mut commands_arguments = FieldTable::default();
        commands_arguments.insert("alternate-exchange".into(), text(&self.dead()));
        vec![
            (self.dead(), FieldTable::default()),
            (self.commands(), commands_arguments),
            (self.events(), FieldTable::default()),
        ]
    }

    /// The queues, with their arguments and what each is bound to.
    pub(super) fn queues(&self) -> Vec<QueueSpec> {
        let dead = self.dead();
        let mut queues = Vec::new();
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(1_000_000));
        queues.push(QueueSpec::new(dead.clone(), "#", dead.clone(), arguments));

        for (name, binding) in self.command_queues() {
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), text("quorum"));
            arguments.insert("x-dead-letter-exchange".into(), text(&dead));
            arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
            arguments.insert("x-overflow".into(), text("reject-publish"));
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(1000));
            if name != self.webhooks() {
                // With competing consumers, neighbours would be stored in either order.
                let single = AMQPValue::Boolean(true);
                arguments.insert("x-single-active-consumer".into(), single);
            }
            queues.push(QueueSpec::new(name, binding, self.commands(), arguments));
        }

        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text("stream"));
        arguments.insert("x-max-age".into(), text(LOG_MAX_AGE));
        arguments.insert(
            "x-max-length-bytes".into(),
            AMQPValue::LongLongInt(LOG_MAX_BYTES),
        );
        arguments.insert(
            "x-stream-max-segment-size-bytes".into(),
            AMQPValue::LongLongInt(LOG_SEGMENT_BYTES),
        );
        let log = QueueSpec::new(self.events_log(), "#", self.events(), arguments);
        queues.push(log);
        queues
    }

    /// Declares all of it.
    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        for (name, arguments) in self.exchanges() {
            let declare =
                channel.exchange_declare(name.into(), ExchangeKind::Topic, durable, arguments);
            within(SETUP_TIMEOUT, declare).await?;
        }
        for queue in self.queues() {
            self.queue(
                channel,
                &queue.name,
                queue.binding,
                &queue.exchange,
                queue.arguments,
            )
            .await?;
        }
        Ok(())
    }

    async fn queue(
        &self,
        channel: &Channel,
        name: &str,
        binding: &str,
        exchange: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        within(
            SETUP_TIMEOUT,
            channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments),
        )
        .await?;
        let bind = channel.queue_bind(
            name.into(),
            exchange.into(),
            binding.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        within(SETUP_TIMEOUT, bind).await
    }
}

/// Declares the topology over a connection of the caller's: for tools that run before any worker
/// has.
///
/// # Errors
/// [`BrokerError`] as the broker answers.
pub async fn declare_prefix(
    connection: &Connection,
    topology: &Topology,
) -> Result<(), BrokerError> {
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    topology.declare(&channel).await
}

/// How many messages a queue holds ready and how many consumers it has, or `None` where there is no
/// such queue.
///
/// # Errors
/// [`BrokerError`] where the connection is gone.
pub async fn queue_depth(
    connection: &Connection,
    name: &str,
) -> Result<Option<(u32, u32)>, BrokerError> {
    // A channel of its own: asking for a queue that is not there closes it.
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    match within(
        SETUP_TIMEOUT,
        channel.queue_declare(name.into(), options, FieldTable::default()),
    )
    .await
    {
        Ok(queue) => Ok(Some((queue.message_count(), queue.consumer_count()))),
        Err(BrokerError::Amqp(_)) if connection.status().connected() => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
