//! How workers wake each other: `NOTIFY` over the connection that each holds its worker id with.
//!
//! A notification is a hint. Whoever misses one finds the same by its clock.

use futures_util::StreamExt;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};

use super::connect::Way;
use super::session::Session;
use super::{Store, StoreError, keep_if_sound, limited};

/// The channel of every notification.
const CHANNEL: &str = "ticketwire";

/// What a worker tells the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The ledger holds commands that its lanes have no capacity for.
    Due,
    /// A worker started or ended.
    Workers,
}

impl Wake {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Workers => "workers",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Due, Self::Workers]
            .into_iter()
            .find(|wake| wake.as_str() == text)
    }
}

/// A connection of its own that hears what the others tell; `hear` is called for each notification.
///
/// # Errors
/// As [`connect`](super::connect()).
pub async fn connect_hearing(
    url: &SecretString,
    name: &str,
    hear: impl Fn(Wake) + Send + 'static,
) -> Result<(Client, JoinHandle<()>), StoreError> {
    let way = Way::to(url, name)?;
    let (client, mut connection) = way.open().await?;
    let driver = tokio::task::spawn(async move {
        let mut messages =
            futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(message) = messages.next().await {
            match message {
                Ok(AsyncMessage::Notification(heard)) => {
                    if let Some(wake) = Wake::parse(heard.payload()) {
                        hear(wake);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(error = %error, "a PostgreSQL connection ended");
                    return;
                }
            }
        }
    });
    way.prepare(&client, Session::Unlimited).await?;
    limited(client.batch_execute(&format!("LISTEN {CHANNEL}"))).await?;
    Ok((client, driver))
}

impl Store {
    /// Tells the other workers. Not more often than every few milliseconds: a notification's commit
    /// locks all others out.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn wake(&self, wake: Wake) -> Result<(), StoreError> {
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached("SELECT pg_notify($1, $2)").await?;
            limited(client.execute(&statement, &[&CHANNEL, &wake.as_str()])).await
        }
        .await;
        keep_if_sound(client, result).map(|_| ())
    }
}
