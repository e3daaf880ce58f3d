//! OAuth tokens, sealed; refreshed by one process at a time.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;

use super::{Store, StoreError, limited};
use crate::domain::IntegrationId;

/// Tokens as stored.
#[derive(Debug, Clone)]
pub struct StoredTokens {
    /// Sealed access token.
    pub access_sealed: String,
    /// Sealed refresh token, where the platform rotates them.
    pub refresh_sealed: Option<String>,
    /// When the access token ends.
    pub expires_at: DateTime<Utc>,
}

/// An integration's tokens under lock: nobody else refreshes them meanwhile. Dropping it without [`TokenLock::store`]
/// leaves them as they were; the connection is not reused then.
pub struct TokenLock {
    client: Option<Object>,
    integration: IntegrationId,
    /// What was stored when the lock was won.
    pub current: Option<StoredTokens>,
}

impl Store {
    /// Locks an integration's tokens and reads them. Holds a connection until the lock is given back.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn lock_tokens(&self, integration: IntegrationId) -> Result<TokenLock, StoreError> {
        let client = self.get().await?;
        // The platform's answer is waited for inside the transaction: longer than an idle one is otherwise allowed.
        let begin = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '120s'; SET LOCAL lock_timeout = '60s'";
        let work = async {
            client.batch_execute(begin).await?;
            client
                .execute("SELECT pg_advisory_xact_lock(hashtextextended('ticketwire token ' || $1::text, 0))", &[
                    &integration.to_string(),
                ])
                .await?;
            client
                .query_opt(
                    "SELECT access_sealed, refresh_sealed, expires_at FROM integration_tokens WHERE integration_id = $1",
                    &[&integration.uuid()],
                )
                .await
        };
        let result = limited(work).await;
        match result {
            Ok(row) => {
                let current = row.map(|row| StoredTokens {
                    access_sealed: row.get(0),
                    refresh_sealed: row.get(1),
                    expires_at: row.get(2),
                });
                Ok(TokenLock {
                    client: Some(client),
                    integration,
                    current,
                })
            }
            Err(error) => {
                drop(Object::take(client));
                Err(error)
            }
        }
    }
}

impl TokenLock {
    /// Stores new tokens and gives the lock back. Durable when it returns, as a rotated refresh token exists nowhere
    /// else.
    ///
    /// # Errors
    /// As the connection's: the new tokens are lost then.
    pub async fn store(mut self, tokens: &StoredTokens) -> Result<(), StoreError> {
        let Some(client) = self.client.take() else {
            return Ok(());
        };
        let work = async {
            client
                .execute(
                    "INSERT INTO integration_tokens (integration_id, access_sealed, refresh_sealed, expires_at) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT (integration_id) DO UPDATE SET \
                     access_sealed = excluded.access_sealed, \
                     refresh_sealed = COALESCE(excluded.refresh_sealed, integration_tokens.refresh_sealed), \
                     expires_at = excluded.expires_at",
                    &[&self.integration.uuid(), &tokens.access_sealed, &tokens.refresh_sealed, &tokens.expires_at],
                )
                .await?;
            client.batch_execute("COMMIT").await
        };
        let result = limited(work).await;
        if result.is_err() {
            drop(Object::take(client));
        }
        result
    }

    /// Gives the lock back, changing nothing.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn release(mut self) -> Result<(), StoreError> {
        let Some(client) = self.client.take() else {
            return Ok(());
        };
        let result = limited(client.batch_execute("ROLLBACK")).await;
        if result.is_err() {
            drop(Object::take(client));
        }
        result
    }
}

impl Drop for TokenLock {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // In a transaction: closing the connection is what ends it.
            drop(Object::take(client));
        }
    }
}
