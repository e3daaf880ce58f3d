//! Everything that names lapin: topology, the two supervised connections, consuming, confirmed publishing.
//!
//! lapin's own recovery is off: it leaves consumers pending for ever after a channel error, gives up after a budget
//! and replays bindings without end. Instead one supervisor a connection drops everything on any sign of trouble and
//! starts again with a new *generation*, for ever, with jittered backoff. Acknowledgements never cross generations:
//! what was not acknowledged is delivered again and found to be a repeat.

mod consume;
mod publish;
mod tools;
mod topology;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lapin::ConnectionProperties;
use secrecy::{ExposeSecret, SecretString};

pub use lapin::Connection;

pub use consume::{Consumer, Delivery, Source};
pub use publish::{Message, Publisher, Sent};
pub use tools::{From, call, connect_tool, is_alarmed, publish_one, remove_prefix, tail};
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
    /// The broker ended a consumer (its queue was deleted), or a message came back as unroutable.
    #[error("{0}")]
    Lost(String),
}

/// What a person can do about a connection that does not come about.
fn remedy(error: &lapin::Error) -> &'static str {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(fault) => match fault.get_id() {
            403 => " (mend user and password in amqp.url, AMQP_URL)",
            530 => {
                " (mend the virtual host in amqp.url, AMQP_URL, or the user's permissions on it)"
            }
            _ => "",
        },
        lapin::ErrorKind::IOError(fault)
            if fault.kind() == std::io::ErrorKind::ConnectionRefused =>
        {
            " (is it running where amqp.url, AMQP_URL, points?)"
        }
        _ => "",
    }
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

/// Adds a heartbeat and a connection time-out where the URL has none: with the broker's default of 60 s a silent peer
/// is noticed after two minutes. And a size of frames: lapin keeps 32 of them in each direction, which with the broker's
/// 128 KiB is 16 MiB for two connections; larger messages come in several (RabbitMQ asks for 8 KiB at least).
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
