//! What the command line does with the broker: publish one command, wait for its answer, read the
//! events log.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use secrecy::SecretString;

use super::{
    BrokerError, CONFIRM_TIMEOUT, SETUP_TIMEOUT, Topology, connect, declare_prefix, queue_depth,
    within,
};

/// Within so long a broker tells a publisher that an alarm is on.
const ALARM_TOLD: Duration = Duration::from_millis(500);

/// Where reading the events log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With what comes from now on.
    Next,
    /// With the oldest that is kept.
    First,
    /// With the last chunk.
    Last,
    /// With what was published since, in seconds since 1970.
    Since(u64),
}

/// A connection with the topology declared.
///
/// # Errors
/// As the broker answers.
pub async fn connect_tool(
    url: &SecretString,
    topology: &Topology,
) -> Result<Connection, BrokerError> {
    let connection = connect(url, "ticketwire tool").await?;
    declare_prefix(&connection, topology).await?;
    Ok(connection)
}

/// Whether an alarm keeps the broker from taking messages. It says so only to those that publish,
/// so a message goes to a queue that does not exist, where it is dropped.
///
/// # Errors
/// As the broker answers.
pub async fn is_alarmed(connection: &Connection) -> Result<bool, BrokerError> {
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    let sending = channel.basic_publish(
        "".into(),
        "ticketwire.nowhere".into(),
        BasicPublishOptions::default(),
        b"",
        BasicProperties::default(),
    );
    drop(within(SETUP_TIMEOUT, sending).await?);
    let deadline = tokio::time::Instant::now() + ALARM_TOLD;
    while tokio::time::Instant::now() < deadline {
        if connection.status().blocked() {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(false)
}

/// What of a prefix is at the broker.
#[derive(Debug, Default)]
pub struct Present {
    /// Queues with their ready messages and consumers.
    pub queues: Vec<(String, u32, u32)>,
    /// Exchanges.
    pub exchanges: Vec<String>,
}

/// What of a prefix is at the broker. Nothing is declared.
///
/// # Errors
/// [`BrokerError`] where the connection is gone.
pub async fn present(connection: &Connection, topology: &Topology) -> Result<Present, BrokerError> {
    let mut found = Present::default();
    for spec in topology.queues() {
        if let Some((messages, consumers)) = queue_depth(connection, &spec.name).await? {
            found.queues.push((spec.name, messages, consumers));
        }
    }
    for (name, _) in topology.exchanges() {
        // A channel of its own: asking for an exchange that is not there closes it.
        let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
        let options = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let asking = channel.exchange_declare(
            name.as_str().into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        );
        match within(SETUP_TIMEOUT, asking).await {
            Ok(()) => found.exchanges.push(name),
            Err(error) if error.refusal().is_some_and(|(code, _)| code == 404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Deletes the exchange of events unless queues of others are bound to it; whether it is gone. To
/// be called where no worker runs: the log misses what is published meanwhile.
///
/// # Errors
/// As the broker answers.
pub async fn remove_unshared_events(
    connection: &Connection,
    topology: &Topology,
) -> Result<bool, BrokerError> {
    let (log, events) = (topology.events_log(), topology.events());
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    let unbinding = channel.queue_unbind(
        log.as_str().into(),
        events.as_str().into(),
        "#".into(),
        FieldTable::default(),
    );
    within(SETUP_TIMEOUT, unbinding).await?;
    // Nothing else tells over AMQP whether there are further bindings.
    let options = ExchangeDeleteOptions {
        if_unused: true,
        ..ExchangeDeleteOptions::default()
    };
    let deleting = channel.exchange_delete(events.as_str().into(), options);
    match within(SETUP_TIMEOUT, deleting).await {
        Ok(()) => Ok(true),
        Err(error) if error.refusal().is_some_and(|(code, _)| code == 406) => {
            declare_prefix(connection, topology).await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Deletes all queues and exchanges under a prefix, with what is in them; those that are not there
/// are no error.
///
/// # Errors
/// As the broker answers.
pub async fn remove_prefix(
    connection: &Connection,
    topology: &Topology,
) -> Result<(), BrokerError> {
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    let queues = topology.command_queues().into_iter().map(|(name, _)| name);
    for name in queues.chain([topology.dead(), topology.events_log()]) {
        within(
            SETUP_TIMEOUT,
            channel.queue_delete(name.into(), QueueDeleteOptions::default()),
        )
        .await?;
    }
    for name in [topology.commands(), topology.events(), topology.dead()] {
        within(
            SETUP_TIMEOUT,
            channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()),
        )
        .await?;
    }
    Ok(())
}

/// Publishes a command and waits for the broker's confirm.
///
/// # Errors
/// [`BrokerError::Lost`] where the broker refused it.
pub async fn publish_one(
    connection: &Connection,
    topology: &Topology,
    routing_key: &str,
    body: &str,
) -> Result<(), BrokerError> {
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    within(
        SETUP_TIMEOUT,
        channel.confirm_select(ConfirmSelectOptions::default()),
    )
    .await?;
    publish(
        &channel,
        topology,
        routing_key,
        body,
        BasicProperties::default(),
    )
    .await
}

async fn publish(
    channel: &Channel,
    topology: &Topology,
    routing_key: &str,
    body: &str,
    properties: BasicProperties,
) -> Result<(), BrokerError> {
    let properties = properties
        .with_delivery_mode(2)
        .with_content_type("application/cloudevents+json".into());
    let sending = channel.basic_publish(
        topology.commands().into(),
        routing_key.into(),
        BasicPublishOptions::default(),
        body.as_bytes(),
        properties,
    );
    let confirm = within(CONFIRM_TIMEOUT, sending).await?;
    match within(CONFIRM_TIMEOUT, confirm).await? {
        Confirmation::Ack(_) | Confirmation::NotRequested => Ok(()),
        Confirmation::Nack(_) => Err(BrokerError::Lost(
            "the broker refused the command: its queue is full".into(),
        )),
    }
}

/// Publishes a command and waits for its final event over direct reply-to.
///
/// # Errors
/// [`BrokerError::NoAnswer`] where no answer came in time: the command goes on all the same.
pub async fn call(
    connection: &Connection,
    topology: &Topology,
    routing_key: &str,
    body: &str,
    limit: Duration,
) -> Result<String, BrokerError> {
    const DIRECT: &str = "amq.rabbitmq.reply-to";
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    within(
        SETUP_TIMEOUT,
        channel.confirm_select(ConfirmSelectOptions::default()),
    )
    .await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consume = channel.basic_consume(
        DIRECT.into(),
        "ticketwire-reply".into(),
        options,
        FieldTable::default(),
    );
    let mut replies = within(SETUP_TIMEOUT, consume).await?;
    let properties = BasicProperties::default()
        .with_reply_to(DIRECT.into())
        .with_correlation_id("1".into());
    publish(&channel, topology, routing_key, body, properties).await?;
    match tokio::time::timeout(limit, replies.next()).await {
        Ok(Some(Ok(delivery))) => Ok(String::from_utf8_lossy(&delivery.data).into_owned()),
        Ok(Some(Err(error))) => Err(error.into()),
        Ok(None) => Err(BrokerError::Lost(
            "the connection ended before the answer came".into(),
        )),
        Err(_) => Err(BrokerError::NoAnswer(limit)),
    }
}

/// Reads the events log and hands each event with its routing key over, until `each` says false or
/// nothing came for `idle`.
///
/// # Errors
/// As the broker answers.
pub async fn tail(
    connection: &Connection,
    topology: &Topology,
    from: From,
    idle: Option<Duration>,
    mut each: impl FnMut(&str, &str) -> bool,
) -> Result<(), BrokerError> {
    let channel = within(SETUP_TIMEOUT, connection.create_channel()).await?;
    within(
        SETUP_TIMEOUT,
        channel.basic_qos(200, BasicQosOptions::default()),
    )
    .await?;
    let mut arguments = FieldTable::default();
    let offset = match from {
        From::Next => AMQPValue::LongString("next".into()),
        From::First => AMQPValue::LongString("first".into()),
        From::Last => AMQPValue::LongString("last".into()),
        From::Since(seconds) => AMQPValue::Timestamp(seconds),
    };
    arguments.insert("x-stream-offset".into(), offset);
    let consume = channel.basic_consume(
        topology.events_log().into(),
        "ticketwire-events".into(),
        BasicConsumeOptions::default(),
        arguments,
    );
    let mut events = within(SETUP_TIMEOUT, consume).await?;
    loop {
        let next = match idle {
            None => events.next().await,
            Some(idle) => match tokio::time::timeout(idle, events.next()).await {
                Ok(next) => next,
                Err(_) => return Ok(()),
            },
        };
        let delivery = match next {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(error.into()),
            None => {
                return Err(BrokerError::Lost(
                    "the broker ended the events log's consumer".into(),
                ));
            }
        };
        within(CONFIRM_TIMEOUT, delivery.ack(BasicAckOptions::default())).await?;
        if !each(
            delivery.routing_key.as_str(),
            &String::from_utf8_lossy(&delivery.data),
        ) {
            return Ok(());
        }
    }
}
