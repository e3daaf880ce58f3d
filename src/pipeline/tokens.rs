//! OAuth access tokens: cached in memory until shortly before they expire, kept sealed in Postgres,
//! refreshed once for all waiters (single flight) and workers (a lease). A rotated refresh token is
//! stored before its access token is used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use uuid::Uuid;

use crate::domain::{Failure, Integration, OrganizationId};
use crate::pipeline::clock;
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::retry::after;
use crate::platforms::memory::Memory;
use crate::platforms::{
    AccessToken, AdapterError, CallContext, Driver, ErrorClass, Response, TokenFlow, TokenSource,
    WriteTurns, learn,
};
use crate::secrets::{Binding, KeyRing};
use crate::store::{LoadedIntegration, Store, StoredTokens, chain};

/// A token is renewed so long before it ends that a request begun with it ends in time.
const MARGIN: Duration = Duration::from_secs(60);

/// How often a process looks whether another has refreshed a token by now.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How much longer than an attempt the lease on a refresh lasts.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Tokens of all integrations: those in memory, the refreshes under way, and what a refresh needs.
pub(in crate::pipeline) struct Tokens {
    store: Store,
    ring: Arc<KeyRing>,
    /// Who holds the lease on a refresh.
    me: Uuid,
    lease: Duration,
    tokens: Mutex<HashMap<Uuid, (AccessToken, DateTime<Utc>)>>,
    flights: Mutex<HashMap<Uuid, Flight>>,
}

/// A refresh: one of a process at a time. It holds the last failure, so that those who waited for
/// it share that too.
type Flight = Arc<tokio::sync::Mutex<Option<(Instant, AdapterError)>>>;

impl Tokens {
    /// None yet. An attempt lasts `attempt_timeout` at most.
    pub(in crate::pipeline) fn new(
        store: Store,
        ring: Arc<KeyRing>,
        me: Uuid,
        attempt_timeout: Duration,
    ) -> Self {
        Self {
            store,
            ring,
            me,
            lease: attempt_timeout + LEASE_MARGIN,
            tokens: Mutex::default(),
            flights: Mutex::default(),
        }
    }

    fn flight(&self, integration: Uuid) -> Flight {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|id, flight| *id == integration || Arc::strong_count(flight) > 1);
        Arc::clone(flights.entry(integration).or_default())
    }
}

/// One integration and its tokens, for a tool that runs beside the workers. It shares their tokens
/// and takes the same lease, so a refresh token that rotates is not lost.
pub struct TokensOfOne {
    tokens: Tokens,
    connected: Arc<ConnectedIntegration>,
}

impl TokensOfOne {
    /// Connects an integration. The clock is the database's from here on. A request lasts
    /// `attempt_timeout` at most.
    pub async fn new(
        store: &Store,
        ring: Arc<KeyRing>,
        loaded: LoadedIntegration,
        attempt_timeout: Duration,
    ) -> Self {
        clock::measure(store).await;
        let connected = Arc::new(ConnectedIntegration::once(&ring, loaded));
        Self {
            tokens: Tokens::new(store.clone(), ring, Uuid::new_v4(), attempt_timeout),
            connected,
        }
    }

    /// What is connected.
    #[must_use]
    pub fn row(&self) -> &Integration {
        &self.connected.row
    }

    /// Its adapter.
    ///
    /// # Errors
    /// As of [`crate::integrations::connect`].
    pub fn adapter(&self) -> Result<&Arc<Driver>, Failure> {
        self.connected.adapter.as_ref().map_err(Failure::clone)
    }

    /// What is learned of the platform.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.connected.memory
    }

    /// Its tokens, and its turns to write.
    pub fn source(&self) -> impl TokenSource + WriteTurns + '_ {
        TokenCache::new(&self.tokens, Some(&self.connected))
    }
}

/// One attempt's access to its integration's tokens and turns to write.
pub(in crate::pipeline) struct TokenCache<'a> {
    all: &'a Tokens,
    handle: Option<&'a Arc<ConnectedIntegration>>,
}

impl<'a> TokenCache<'a> {
    pub(in crate::pipeline) const fn new(
        all: &'a Tokens,
        handle: Option<&'a Arc<ConnectedIntegration>>,
    ) -> Self {
        Self { all, handle }
    }

    fn binding(handle: &ConnectedIntegration, column: &'static str) -> Binding {
        Binding {
            organization: handle
                .row
                .organization_id
                .unwrap_or(OrganizationId::new(Uuid::nil())),
            integration: handle.row.id,
            column,
        }
    }

    fn open(
        &self,
        handle: &ConnectedIntegration,
        column: &'static str,
        sealed: &str,
    ) -> Option<SecretString> {
        let opened = self
            .all
            .ring
            .open(&Self::binding(handle, column), sealed)
            .ok()?;
        let token = std::str::from_utf8(&opened).ok()?;
        // One that is about to end opens doors still, and the platform may name it.
        learn(token);
        Some(SecretString::from(token))
    }

    fn remembered(
        &self,
        handle: &ConnectedIntegration,
        stale: Option<&SecretString>,
    ) -> Option<AccessToken> {
        let memory = &self.all.tokens;
        let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, until) = memory.get(&handle.row.id.uuid())?;
        (*until > clock::now() && !is_same(stale, &token.secret)).then(|| token.clone())
    }

    fn remember(
        &self,
        handle: &ConnectedIntegration,
        token: &AccessToken,
        expires_at: DateTime<Utc>,
    ) {
        let until = expires_at - chrono::Duration::from_std(MARGIN).unwrap_or_default();
        let memory = &self.all.tokens;
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.insert(handle.row.id.uuid(), (token.clone(), until));
    }
}

impl TokenCache<'_> {
    /// A token that another process has refreshed by now, or one that this process gets from the
    /// platform. The lease on the refresh is a row, so no connection to the database is held while
    /// the platform is waited for.
    async fn refresh(
        &self,
        context: &CallContext<'_>,
        handle: &ConnectedIntegration,
        flow: &dyn TokenFlow,
        stale: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
        let (store, id, me) = (&self.all.store, handle.row.id, self.all.me);
        let current = loop {
            let lease = store.lease_tokens(id, me, self.all.lease).await;
            let lease = lease.map_err(|error| {
                token_error("the access token could not be read", chain(&error))
            })?;
            let fresh = lease.current.as_ref().and_then(|current| {
                let margin = chrono::Duration::from_std(MARGIN).unwrap_or_default();
                let secret = self.open(handle, "access_sealed", &current.access_sealed)?;
                let is_fresh = current.expires_at - margin > clock::now();
                if !is_fresh || is_same(stale, &secret) {
                    return None;
                }
                // One that cannot be read is as good as none: a request that needs it has the token
                // renewed.
                let api_base = current.api_base.as_deref();
                let api_base = api_base.and_then(|text| Url::parse(text).ok());
                Some((AccessToken { secret, api_base }, current.expires_at))
            });
            if let Some((token, expires_at)) = fresh {
                if lease.held {
                    self.release(handle).await;
                }
                self.remember(handle, &token, expires_at);
                return Ok(token);
            }
            if lease.held {
                break lease.current;
            }
            if Instant::now() + LOOK_AGAIN >= context.deadline {
                return Err(overdue());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        match self.ask(context, handle, flow, current.as_ref()).await {
            Ok(token) => Ok(token),
            Err(error) => {
                self.release(handle).await;
                Err(error)
            }
        }
    }

    /// Asks the platform, and stores what it gave before it is used.
    async fn ask(
        &self,
        context: &CallContext<'_>,
        handle: &ConnectedIntegration,
        flow: &dyn TokenFlow,
        current: Option<&StoredTokens>,
    ) -> Result<AccessToken, AdapterError> {
        let refresh = current
            .and_then(|current| current.refresh_sealed.as_deref())
            .and_then(|sealed| self.open(handle, "refresh_sealed", sealed));
        let response = context
            .granting()
            .send(flow.request(refresh.as_ref())?)
            .await?;
        let grant = flow.read(&response)?;
        let seal = |column, secret: &SecretString| {
            let sealed = self.all.ring.seal(
                &Self::binding(handle, column),
                secret.expose_secret().as_bytes(),
            );
            sealed.map_err(|error| {
                token_error("the access token could not be sealed", error.to_string())
            })
        };
        let expires_at = after(clock::now(), grant.expires_in);
        let tokens = StoredTokens {
            access_sealed: seal("access_sealed", &grant.access_token)?,
            refresh_sealed: grant
                .refresh_token
                .as_ref()
                .map(|token| seal("refresh_sealed", token))
                .transpose()?,
            expires_at,
            api_base: grant.api_base.as_ref().map(Url::to_string),
        };
        let stored = self
            .all
            .store
            .store_tokens(handle.row.id, self.all.me, current, &tokens)
            .await
            .map_err(|error| token_error("the access token could not be stored", chain(&error)))?;
        if !stored {
            tracing::warn!(
                integration_id = %handle.row.id,
                "a refreshed access token was not stored: others were stored, or the \
                 credentials changed, meanwhile"
            );
        }
        let token = AccessToken {
            secret: grant.access_token,
            api_base: grant.api_base,
        };
        self.remember(handle, &token, expires_at);
        Ok(token)
    }

    async fn release(&self, handle: &ConnectedIntegration) {
        let released = self
            .all
            .store
            .release_tokens(handle.row.id, self.all.me)
            .await;
        if let Err(error) = released {
            tracing::debug!(
                error = chain(&error),
                "the lease on a token's refresh ends by itself"
            );
        }
    }
}

/// The attempt's time was used up while another refresh of the same token was waited for.
fn overdue() -> AdapterError {
    let text =
        "the integration's access token is being refreshed, which took longer than the attempt may";
    AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
}

fn is_same(stale: Option<&SecretString>, token: &SecretString) -> bool {
    stale.is_some_and(|stale| stale.expose_secret() == token.expose_secret())
}

fn token_error(what: &str, detail: String) -> AdapterError {
    AdapterError::new(ErrorClass::Transient { retry_after: None }, what).with_internal(detail)
}

#[async_trait]
impl TokenSource for TokenCache<'_> {
    async fn token(
        &self,
        context: &CallContext<'_>,
        stale: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
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
        let waits_since = Instant::now();
        let flight = self.all.flight(handle.row.id.uuid());
        let left = context.deadline.saturating_duration_since(waits_since);
        let mut failed = tokio::time::timeout(left, flight.lock())
            .await
            .map_err(|_| overdue())?;
        if let Some(token) = self.remembered(handle, stale) {
            return Ok(token);
        }
        // Whoever waited for a refresh that failed has the same answer: asking again for each would
        // only repeat it.
        if let Some((at, error)) = failed.as_ref()
            && *at >= waits_since
        {
            return Err(error.clone());
        }
        let refreshed = self.refresh(context, handle, flow, stale).await;
        *failed = refreshed
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.clone()));
        refreshed
    }

    fn is_stale(&self, response: &Response) -> bool {
        let adapter = self.handle.and_then(|handle| handle.adapter.as_ref().ok());
        adapter
            .and_then(|adapter| adapter.token_flow())
            .is_some_and(|flow| flow.is_stale(response))
    }
}

#[async_trait]
impl WriteTurns for TokenCache<'_> {
    async fn take(&self, apart: Duration, longest: Duration) -> Option<Duration> {
        let Some(handle) = self.handle else {
            return Some(Duration::ZERO);
        };
        let id = handle.row.id;
        let turn = self.all.store.take_write_turn(id, apart, longest).await;
        turn.unwrap_or_else(|error| {
            // No other worker gets one either. What this one sends too soon, the platform refuses.
            tracing::warn!(integration_id = %id, error = chain(&error),
                "no turn to write could be taken; going on without one");
            Some(apart)
        })
    }
}
