//! What is wrong with what the worker needs at the broker, found out without making anything: a
//! declaration of what is there already, and requests whose arguments cannot be accepted, which are
//! refused only after the permissions were looked at (RabbitMQ 3.10 to 4, `rabbit_channel.erl`).

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};

use super::{BrokerError, SETUP_TIMEOUT, Topology, within};

/// A value that no argument of the broker's takes.
const UNACCEPTABLE: &str = "ticketwire-doctor";

/// What was found.
#[derive(Debug, Default)]
pub struct Examined {
    /// The queues that are there: messages ready and consumers.
    pub queues: Vec<(String, u32, u32)>,
    /// Queues and exchanges that are not.
    pub missing: Vec<String>,
    /// What is there with another type or other arguments.
    pub different: Vec<Difference>,
    /// What the user may not do.
    pub refused: Vec<Lacking>,
    /// Anything else that the broker said.
    pub other: Vec<String>,
}

/// What is there, but not as it is declared.
#[derive(Debug)]
pub struct Difference {
    /// `queue` or `exchange`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What differs, in the broker's words.
    pub text: String,
}

/// A permission that the user lacks.
#[derive(Debug)]
pub struct Lacking {
    /// Which, and on what.
    pub what: String,
    /// The broker's words.
    pub text: String,
}

impl Examined {
    /// Notes the refusal of a probe that needs a permission. One for what cannot be accepted is
    /// what the probe was made for.
    fn take(&mut self, permission: &str, kind: &'static str, name: &str, error: &BrokerError) {
        let Some((code, text)) = error.refusal() else {
            self.other.push(format!("{kind} {name}: {error}"));
            return;
        };
        match code {
            403 => {
                if !self.refused.iter().any(|lacking| lacking.text == text) {
                    let what = lacking(permission, kind, name, &text);
                    self.refused.push(Lacking { what, text });
                }
            }
            404 => {
                if !self.missing.iter().any(|missing| missing == name) {
                    self.missing.push(name.to_owned());
                }
            }
            406 if text.contains(UNACCEPTABLE) || text.contains("invalid arg") => {}
            406 => self.different.push(Difference {
                kind,
                name: name.to_owned(),
                text,
            }),
            _ => self.other.push(format!("{kind} {name}: {text}")),
        }
    }
}

/// Which permission is missing: in the broker's words where it says so (from 3.11 on), else the one
/// that the probe needs; a declaration needs another one on the exchange that it names.
fn lacking(permission: &str, kind: &str, name: &str, text: &str) -> String {
    let told = ["configure", "write", "read"]
        .into_iter()
        .find(|told| text.contains(&format!("{told} access")));
    let named = text
        .split_once("access to ")
        .and_then(|(_, rest)| rest.split_once(" in vhost"))
        .map(|(resource, _)| resource.replace('\'', ""));
    let probed = format!("{kind} {name}");
    let resource = named.unwrap_or_else(|| probed.clone());
    let assumed = if resource == probed {
        permission
    } else {
        "write"
    };
    format!("{} on {resource}", told.unwrap_or(assumed))
}

/// Looks at every exchange and queue of the topology, each over a channel of its own, as a refusal
/// closes it. While an alarm is on nothing is published: the broker would not read from this
/// connection any more.
///
/// # Errors
/// [`BrokerError`] where the connection is gone.
pub async fn examine(
    connection: &Connection,
    topology: &Topology,
    is_alarmed: bool,
) -> Result<Examined, BrokerError> {
    let mut found = Examined::default();
    let channel = async || within(SETUP_TIMEOUT, connection.create_channel()).await;
    for (name, arguments) in topology.exchanges() {
        let passive = exchange(&channel().await?, &name, FieldTable::default(), true).await;
        if let Err(error) = passive {
            found.take("configure", "exchange", &name, &error);
            continue;
        }
        if let Err(error) = exchange(&channel().await?, &name, arguments, false).await {
            found.take("configure", "exchange", &name, &error);
        }
        if !is_alarmed
            && name != topology.dead()
            && let Err(error) = may_publish(&channel().await?, &name).await
        {
            found.take("write", "exchange", &name, &error);
        }
    }
    // For answers to whoever asks for one.
    if !is_alarmed && let Err(error) = may_publish(&channel().await?, "").await {
        found.take("write", "exchange", "amq.default", &error);
    }
    for spec in topology.queues() {
        let passive = queue(&channel().await?, &spec.name, FieldTable::default(), true).await;
        match passive {
            Ok((messages, consumers)) => {
                found.queues.push((spec.name.clone(), messages, consumers));
                if let Err(error) = may_consume(&channel().await?, &spec.name).await {
                    found.take("read", "queue", &spec.name, &error);
                }
                let declared = queue(&channel().await?, &spec.name, spec.arguments, false).await;
                if let Err(error) = declared {
                    found.take("configure", "queue", &spec.name, &error);
                }
            }
            Err(error) => {
                found.take("configure", "queue", &spec.name, &error);
                if error.refusal().is_some_and(|(code, _)| code == 404) {
                    // Whether it may be declared, without doing so.
                    let mut arguments = spec.arguments;
                    arguments.insert("x-expires".into(), text(UNACCEPTABLE));
                    let declared = queue(&channel().await?, &spec.name, arguments, false).await;
                    if let Err(error) = declared {
                        found.take("configure", "queue", &spec.name, &error);
                    }
                }
            }
        }
    }
    Ok(found)
}

async fn exchange(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
    passive: bool,
) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        passive,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declare = channel.exchange_declare(name.into(), ExchangeKind::Topic, options, arguments);
    within(SETUP_TIMEOUT, declare).await
}

async fn queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
    passive: bool,
) -> Result<(u32, u32), BrokerError> {
    let options = QueueDeclareOptions {
        passive,
        ..QueueDeclareOptions::durable()
    };
    let declare = channel.queue_declare(name.into(), options, arguments);
    let queue = within(SETUP_TIMEOUT, declare).await?;
    Ok((queue.message_count(), queue.consumer_count()))
}

/// Publishes what the broker cannot take: it looks at the permission first. The refusal comes in
/// the confirm's place.
async fn may_publish(channel: &Channel, exchange: &str) -> Result<(), BrokerError> {
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    within(SETUP_TIMEOUT, confirms).await?;
    let publish = channel.basic_publish(
        exchange.into(),
        UNACCEPTABLE.into(),
        BasicPublishOptions::default(),
        b"",
        BasicProperties::default().with_expiration(UNACCEPTABLE.into()),
    );
    let confirm = within(SETUP_TIMEOUT, publish).await?;
    within(SETUP_TIMEOUT, confirm).await.map(drop)
}

/// Asks to consume in a way that cannot be: the permission is looked at first.
async fn may_consume(channel: &Channel, queue: &str) -> Result<(), BrokerError> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-priority".into(), text(UNACCEPTABLE));
    let consume = channel.basic_consume(
        queue.into(),
        UNACCEPTABLE.into(),
        BasicConsumeOptions::default(),
        arguments,
    );
    within(SETUP_TIMEOUT, consume).await.map(drop)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
