//! Everything that names lapin: topology, the two supervised connections, consuming, confirmed
//! publishing.
//!
//! lapin's own recovery is off: it leaves consumers pending for ever after a channel error, gives
//! up after a budget and replays bindings without end. Instead one supervisor a connection drops
//! everything on any sign of outage and starts again with a new *generation*, for ever, with
//! jittered backoff. Acknowledgements never cross generations: what was not acknowledged is
//! delivered again and found to be a repeat.

mod consume;
mod examine;
mod publish;
mod tools;
mod topology;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lapin::ConnectionProperties;
use secrecy::{ExposeSecret, SecretString};

use crate::reach::Outage;

pub use lapin::Connection;

pub use consume::{Consumer, Delivery, Source};
pub use examine::{Difference, Examined, Lacking, examine};
pub use publish::{Message, Publisher, PublisherQueue, Sent};
pub use tools::{
    From, Present, call, connect_tool, is_alarmed, present, publish_one, remove_prefix,
    remove_unshared_events, tail,
};
pub use topology::{Topology, declare_prefix, queue_depth};

/// Longest a connection, channel or declaration may take to come about.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest a publish, confirm or acknowledgement may take before the connection is given up.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);
/// First and longest pause before connecting again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What can go wrong with the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The broker refused or broke off.
    #[error("RabbitMQ: {0}{advice}", advice = remedy(.0))]
    Amqp(#[from] lapin::Error),
    /// No answer in time.
    #[error("RabbitMQ did not answer within {0:?}")]
    Timeout(Duration),
    /// A command was published, and its final event did not come in time.
    #[error("no result within {0:?}")]
    NoAnswer(Duration),
    /// The broker ended a consumer (its queue was deleted), or a message came back as unroutable.
    #[error("{0}")]
    Lost(String),
}

impl BrokerError {
    /// Code and text of what the broker refused.
    #[must_use]
    pub fn refusal(&self) -> Option<(u16, String)> {
        match self {
            Self::Amqp(error) => match error.kind() {
                lapin::ErrorKind::ProtocolError(fault) => {
                    Some((fault.get_id(), fault.get_message().to_string()))
                }
                _ => None,
            },
            Self::Timeout(_) | Self::NoAnswer(_) | Self::Lost(_) => None,
        }
    }

    /// What happened, without what to do about it.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Amqp(error) => error.to_string(),
            Self::Timeout(_) | Self::NoAnswer(_) | Self::Lost(_) => self.to_string(),
        }
    }

    /// Why there is no connection, where that is known.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        match self {
            Self::Amqp(error) => match error.kind() {
                lapin::ErrorKind::IOError(fault) => Outage::of(fault.as_ref()),
                _ => Outage::of(error),
            },
            Self::Timeout(_) => Some(Outage::Silent),
            Self::NoAnswer(_) | Self::Lost(_) => None,
        }
    }
}

/// What a person can do about what the broker refused, or a connection that does not come about.
fn remedy(error: &lapin::Error) -> String {
    let outage = match error.kind() {
        lapin::ErrorKind::ProtocolError(fault) => {
            return of_refusal(fault.get_id(), fault.get_message().as_str());
        }
        lapin::ErrorKind::IOError(fault) => Outage::of(fault.as_ref()),
        _ => Outage::of(error),
    };
    outage.map_or_else(String::new, |outage| {
        format!(
            " ({}: {}; amqp.url, AMQP_URL)",
            outage.says(),
            outage.remedy()
        )
    })
}

fn of_refusal(code: u16, text: &str) -> String {
    match code {
        403 if text.contains("Login was refused") => {
            " (mend user and password in amqp.url, AMQP_URL; RabbitMQ's guest may log in from \
             its own machine only)"
                .into()
        }
        403 => grant(text, None).map_or_else(
            || " (the user of amqp.url lacks a permission: `rabbitmqctl list_permissions`)".into(),
            |line| format!(" (the user lacks a permission: `{line}`)"),
        ),
        406 => match quoted_after(text, "queue '") {
            Some(queue) if text.contains("inequivalent") => format!(" ({})", replace(queue)),
            _ => String::new(),
        },
        530 => " (mend the virtual host in amqp.url, AMQP_URL, or the user's permissions on \
                it)"
        .into(),
        _ => String::new(),
    }
}

/// What to do about a queue that is there with another type or other arguments.
#[must_use]
pub fn replace(queue: &str) -> String {
    format!(
        "it was declared with other arguments: let the workers empty it and stop them, \
         `rabbitmqctl delete_queue {queue}` (-p VHOST where it is not /), start the workers"
    )
}

/// The `rabbitmqctl` line that gives a worker's user what it needs, from the broker's text about
/// what is missing.
#[must_use]
pub fn grant(refusal: &str, prefix: Option<&str>) -> Option<String> {
    let user = quoted_after(refusal, "user '")?;
    let vhost = quoted_after(refusal, "vhost '")?;
    let resource = quoted_after(refusal, "queue '").or_else(|| quoted_after(refusal, "exchange '"));
    // Of ours, the prefix stands before these; answers go to the default exchange, which has none.
    let prefix = prefix.or_else(|| {
        let name = resource?;
        [
            ".events.log",
            ".commands",
            ".tickets",
            ".integrations",
            ".webhooks",
            ".events",
            ".dead",
        ]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
    });
    let own = prefix.unwrap_or("ticketwire").replace('.', "\\.");
    Some(format!(
        "rabbitmqctl set_permissions -p {vhost} {user} '^{own}\\.' '^({own}\\.|amq\\.default$)' \
         '^{own}\\.'"
    ))
}

fn quoted_after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before)?
        .1
        .split_once('\'')
        .map(|(name, _)| name)
}

/// How a supervised connection stands: for readiness and metrics.
#[derive(Debug, Default)]
pub struct LinkState {
    up: AtomicBool,
    generation: AtomicU64,
}

impl LinkState {
    /// Whether it is connected and set up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// How many times it was connected.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn connected(&self) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.up.store(true, Ordering::Release);
        generation
    }

    fn lost(&self) {
        self.up.store(false, Ordering::Release);
    }
}

/// A connection for one use, with the settings all of ours share.
///
/// # Errors
/// [`BrokerError`] as the broker answers, or nothing in time.
pub async fn connect(url: &SecretString, name: &str) -> Result<Connection, BrokerError> {
    let url = with_parameters(url.expose_secret());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    within(SETUP_TIMEOUT, Connection::connect(&url, properties)).await
}

/// Adds a heartbeat and a connection time-out where the URL has none: with the broker's default of
/// 60 s a silent peer is noticed after two minutes. And a size of frames: lapin keeps 32 of them in
/// each direction, which with the broker's 128 KiB is 16 MiB for two connections; larger messages
/// come in several (RabbitMQ asks for 8 KiB at least).
fn with_parameters(url: &str) -> String {
    let mut url = url.to_owned();
    for (name, value) in [
        ("heartbeat", "10"),
        ("connection_timeout", "5000"),
        ("frame_max", "16384"),
    ] {
        if !url.contains(&format!("{name}=")) {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(name);
            url.push('=');
            url.push_str(value);
        }
    }
    url
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(BrokerError::Timeout(limit)),
    }
}

/// The pause before the next try to connect: doubling, jittered, without end.
fn pause(tries: u32) -> Duration {
    let base = BACKOFF.0.saturating_mul(1 << tries.min(10)).min(BACKOFF.1);
    base.mul_f64(rand::random_range(0.5..1.0))
}

/// A connection's state, shared with whoever reports it.
pub type Link = Arc<LinkState>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_line_that_mends_it() {
        let refused = "ACCESS_REFUSED - configure access to queue 'acme.prod.tickets' in vhost \
                       '/shop' refused for user 'worker'";
        assert_eq!(
            grant(refused, None).as_deref(),
            Some(
                "rabbitmqctl set_permissions -p /shop worker '^acme\\.prod\\.' \
                 '^(acme\\.prod\\.|amq\\.default$)' '^acme\\.prod\\.'"
            )
        );
        assert!(
            of_refusal(
                403,
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN"
            )
            .contains("mend user and password")
        );
        let different = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue \
                         'P.dead' in vhost '/': received 'quorum' but current is 'classic'";
        assert!(of_refusal(406, different).contains("rabbitmqctl delete_queue P.dead"));
    }
}
