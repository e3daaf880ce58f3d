//! OAuth access tokens: cached in memory until shortly before they expire, kept sealed in Postgres, refreshed once for
//! all waiters and workers. A rotated refresh token is stored before its access token is used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::core::Core;
use super::integrations::Handle;
use super::policy::after;
use crate::domain::OrganizationId;
use crate::platforms::{AdapterError, ErrorClass, Exchange, Response, TokenSource};
use crate::secrets::Binding;
use crate::store::{StoredTokens, chain};

/// A token is renewed so long before it ends that a request begun with it ends in time.
const MARGIN: Duration = Duration::from_secs(60);

/// Tokens in memory, by integration.
pub(super) type TokenMemory = Mutex<HashMap<Uuid, (SecretString, DateTime<Utc>)>>;

/// One attempt's access to its integration's tokens.
pub(super) struct TokenCache<'a> {
    core: &'a Core,
    handle: Option<&'a Arc<Handle>>,
}

impl<'a> TokenCache<'a> {
    pub(super) const fn new(core: &'a Core, handle: Option<&'a Arc<Handle>>) -> Self {
        Self { core, handle }
    }

    fn binding(handle: &Handle, column: &'static str) -> Binding {
        Binding {
            organization: handle
                .row
                .organization_id
                .unwrap_or(OrganizationId::new(Uuid::nil())),
            integration: handle.row.id,
            column,
        }
    }

    fn open(&self, handle: &Handle, column: &'static str, sealed: &str) -> Option<SecretString> {
        let opened = self
            .core
            .ring
            .open(&Self::binding(handle, column), sealed)
            .ok()?;
        std::str::from_utf8(&opened).ok().map(SecretString::from)
    }

    fn remembered(&self, handle: &Handle, stale: Option<&SecretString>) -> Option<SecretString> {
        let memory = self
            .core
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (token, until) = memory.get(&handle.row.id.uuid())?;
        (*until > Utc::now() && !is_same(stale, token)).then(|| token.clone())
    }

    fn remember(&self, handle: &Handle, token: &SecretString, expires_at: DateTime<Utc>) {
        let until = expires_at - chrono::Duration::from_std(MARGIN).unwrap_or_default();
        let mut memory = self
            .core
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        memory.insert(handle.row.id.uuid(), (token.clone(), until));
    }
}

fn is_same(stale: Option<&SecretString>, token: &SecretString) -> bool {
    stale.is_some_and(|stale| stale.expose_secret() == token.expose_secret())
}

fn trouble(what: &str, detail: String) -> AdapterError {
    AdapterError::new(ErrorClass::Transient { retry_after: None }, what).with_internal(detail)
}

#[async_trait]
impl TokenSource for TokenCache<'_> {
    async fn token(
        &self,
        exchange: &Exchange<'_>,
        stale: Option<&SecretString>,
    ) -> Result<SecretString, AdapterError> {
        let none = || AdapterError::new(ErrorClass::Internal, "this integration has no OAuth flow");
        let handle = self.handle.ok_or_else(none)?;
        let adapter = handle
            .adapter
            .as_ref()
            .map_err(|failure| AdapterError::new(ErrorClass::Internal, failure.message.clone()))?;
        let flow = adapter.token_flow().ok_or_else(none)?;
        if let Some(token) = self.remembered(handle, stale) {
            return Ok(token);
        }
        let lock = self.core.store.lock_tokens(handle.row.id).await;
        let lock =
            lock.map_err(|error| trouble("the access token could not be locked", chain(&error)))?;
        let mut refresh = None;
        if let Some(current) = &lock.current {
            // Another waiter or worker may have refreshed it meanwhile.
            let token = self.open(handle, "access_sealed", &current.access_sealed);
            let margin = chrono::Duration::from_std(MARGIN).unwrap_or_default();
            if let Some(token) = token
                .filter(|token| current.expires_at - margin > Utc::now() && !is_same(stale, token))
            {
                let expires_at = current.expires_at;
                lock.release().await.map_err(|error| {
                    trouble("the access token could not be read", chain(&error))
                })?;
                self.remember(handle, &token, expires_at);
                return Ok(token);
            }
            refresh = current
                .refresh_sealed
                .as_deref()
                .and_then(|sealed| self.open(handle, "refresh_sealed", sealed));
        }
        let response = exchange.send(flow.request(refresh.as_ref())?).await?;
        let grant = flow.read(&response)?;
        let seal = |column, secret: &SecretString| {
            let sealed = self.core.ring.seal(
                &Self::binding(handle, column),
                secret.expose_secret().as_bytes(),
            );
            sealed
                .map_err(|error| trouble("the access token could not be sealed", error.to_string()))
        };
        let expires_at = after(Utc::now(), grant.expires_in);
        let tokens = StoredTokens {
            access_sealed: seal("access_sealed", &grant.access_token)?,
            refresh_sealed: grant
                .refresh_token
                .as_ref()
                .map(|token| seal("refresh_sealed", token))
                .transpose()?,
            expires_at,
        };
        lock.store(&tokens)
            .await
            .map_err(|error| trouble("the access token could not be stored", chain(&error)))?;
        self.remember(handle, &grant.access_token, expires_at);
        Ok(grant.access_token)
    }

    fn is_stale(&self, response: &Response) -> bool {
        let adapter = self.handle.and_then(|handle| handle.adapter.as_ref().ok());
        adapter
            .and_then(|adapter| adapter.token_flow())
            .is_some_and(|flow| flow.is_stale(response))
    }
}
