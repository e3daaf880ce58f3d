//! OAuth access tokens: cached in memory until shortly before they expire, kept sealed in Postgres, refreshed once for
//! all waiters and workers.

use async_trait::async_trait;
use secrecy::SecretString;

use crate::platforms::{AdapterError, ErrorClass, Exchange, TokenSource};

/// For adapters whose credentials need no token.
pub(super) struct NoTokens;

#[async_trait]
impl TokenSource for NoTokens {
    async fn token(
        &self,
        _exchange: &Exchange<'_>,
        _stale: Option<&SecretString>,
    ) -> Result<SecretString, AdapterError> {
        Err(AdapterError::new(ErrorClass::Internal, "this integration has no OAuth flow"))
    }
}
