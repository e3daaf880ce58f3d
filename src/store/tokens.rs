//! OAuth tokens, sealed; refreshed by one process at a time.
//!
//! Who refreshes holds a lease, which is a row: the platform's token endpoint is waited for without
//! a connection in hand, and without a transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError, keep_if_sound, limited};
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
    /// Where the platform is, as the grant said it.
    pub api_base: Option<String>,
}

/// An integration's tokens, and whether the caller may refresh them.
#[derive(Debug)]
pub struct TokenLease {
    /// Whether the caller holds the lease now; else another process refreshes.
    pub held: bool,
    /// What is stored.
    pub current: Option<StoredTokens>,
}

impl Store {
    /// Takes the lease on an integration's tokens, where nobody holds it, and reads them. `holder`
    /// is the process: it may take its own lease again.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn lease_tokens(
        &self,
        integration: IntegrationId,
        holder: Uuid,
        lease: Duration,
    ) -> Result<TokenLease, StoreError> {
        const TAKE: &str = "INSERT INTO integration_token_leases AS l (integration_id, holder, \
                            lease_until) \
                            VALUES ($1, $2, now() + $3::float8 * interval '1 second') \
                            ON CONFLICT (integration_id) DO UPDATE \
                            SET holder = excluded.holder, lease_until = excluded.lease_until \
                            WHERE l.holder = excluded.holder OR l.lease_until <= now() RETURNING 1";
        // A statement of its own: what the holder before has stored is seen only by one that begins
        // after it let go.
        const READ: &str = "SELECT access_sealed, refresh_sealed, expires_at, api_base \
                            FROM integration_tokens \
                            WHERE integration_id = $1";
        let client = self.hot().await?;
        let result = async {
            let taken = limited(
                client.query_opt(TAKE, &[&integration.uuid(), &holder, &lease.as_secs_f64()]),
            )
            .await?;
            let row = limited(client.query_opt(READ, &[&integration.uuid()])).await?;
            Ok(TokenLease {
                held: taken.is_some(),
                current: row.map(|row| StoredTokens {
                    access_sealed: row.get(0),
                    refresh_sealed: row.get(1),
                    expires_at: row.get(2),
                    api_base: row.get(3),
                }),
            })
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Stores new tokens in place of those that were read under the lease, and gives the lease
    /// back. Durable when it returns, as a rotated refresh token exists nowhere else. False:
    /// another process has stored others meanwhile, which stay, or they were dropped together with
    /// the credentials that these came from.
    ///
    /// # Errors
    /// As the connection's: the new tokens are lost then.
    pub async fn store_tokens(
        &self,
        integration: IntegrationId,
        holder: Uuid,
        read: Option<&StoredTokens>,
        tokens: &StoredTokens,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "WITH let_go AS (DELETE FROM integration_token_leases \
                           WHERE integration_id = $1 AND holder = $5) \
                           INSERT INTO integration_tokens AS t (integration_id, access_sealed, \
                           refresh_sealed, \
                           expires_at, api_base) \
                           SELECT $1::uuid, $2::text, $3::text, $4::timestamptz, $7::text \
                           WHERE $6::text IS NULL OR EXISTS (SELECT FROM integration_tokens \
                           WHERE integration_id = $1) \
                           ON CONFLICT (integration_id) DO UPDATE SET \
                           access_sealed = excluded.access_sealed, \
                           refresh_sealed = COALESCE(excluded.refresh_sealed, t.refresh_sealed), \
                           expires_at = excluded.expires_at, api_base = excluded.api_base \
                           WHERE t.access_sealed = $6";
        let client = self.hot().await?;
        let before = read.map(|read| read.access_sealed.as_str());
        let result = limited(client.execute(
            SQL,
            &[
                &integration.uuid(),
                &tokens.access_sealed,
                &tokens.refresh_sealed,
                &tokens.expires_at,
                &holder,
                &before,
                &tokens.api_base,
            ],
        ))
        .await;
        keep_if_sound(client, result).map(|rows| rows > 0)
    }

    /// Gives the lease back, changing nothing.
    ///
    /// # Errors
    /// As the connection's: it then ends by itself.
    pub async fn release_tokens(
        &self,
        integration: IntegrationId,
        holder: Uuid,
    ) -> Result<(), StoreError> {
        let client = self.hot().await?;
        let sql = "DELETE FROM integration_token_leases WHERE integration_id = $1 AND holder = $2";
        let result = limited(client.execute(sql, &[&integration.uuid(), &holder])).await;
        keep_if_sound(client, result).map(|_| ())
    }
}
