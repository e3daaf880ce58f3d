//! The one HTTP client of the adapters: pooled, rustls, one deadline from name look-up to last byte, size caps, no
//! redirects, private addresses refused at connect time.
//!
//! Retried *in place* (crate `backoff`, within the attempt's deadline) is only what surely had no effect: refused
//! connections, reads, a 429 with a short `Retry-After`, a stale token. Everything else is the pipeline's to decide.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use super::{AdapterError, EgressPolicy};

/// What a request does to the platform if it arrives: decides how a lost answer is classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing: may be repeated in place.
    Read,
    /// Changes something, but a second time changes nothing more (setting a field): a lost answer is transient.
    Idempotent,
    /// Makes something: a lost answer is of unknown outcome.
    Create,
}

/// How a request proves who sends it. The driver adds the header; nothing else sees the secret.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// `Authorization: Basic`.
    Basic {
        /// User name or e-mail address.
        user: String,
        /// Password or token.
        secret: SecretString,
    },
    /// `Authorization: Bearer` with a fixed token.
    Bearer(SecretString),
    /// `Authorization: Bearer` with the access token of the integration's OAuth flow, cached and refreshed once for
    /// all waiters and workers; a 401 refreshes it once more in place.
    OAuth,
}

/// A request body.
#[derive(Debug, Clone)]
pub enum Body {
    /// None.
    Empty,
    /// Serialised JSON; sets `Content-Type: application/json`.
    Json(Bytes),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, SecretString)>),
}

/// A request as an adapter builds it: data, not yet IO.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute URL with its query.
    pub url: Url,
    /// Headers besides `User-Agent`, `Content-Type` and `Authorization`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body.
    pub body: Body,
    /// Credentials.
    pub auth: Auth,
    /// What it does if it arrives.
    pub effect: Effect,
}

/// An answer: any status; the whole body, capped.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most the client's cap.
    pub body: Bytes,
}

/// What an OAuth token endpoint gave.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    /// For the `Authorization` header.
    pub access_token: SecretString,
    /// The next refresh token, where the platform rotates them: stored before the access token is used.
    pub refresh_token: Option<SecretString>,
    /// Life of the access token, from now.
    pub expires_in: Duration,
}

/// A platform's OAuth flow as data: the request for a token, and how to read the answer.
pub trait TokenFlow: Send + Sync {
    /// The request; `refresh_token` is the latest stored one, `None` before the first refresh (then the credentials'
    /// own, or a client-credentials grant).
    fn request(&self, refresh_token: Option<&SecretString>) -> Result<Request, AdapterError>;
    /// Reads the grant.
    fn read(&self, response: &Response) -> Result<TokenGrant, AdapterError>;
}

/// Where access tokens come from: the pipeline's cache over the store.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is not `stale`; refreshed once for all waiters and workers.
    async fn token(
        &self,
        exchange: &Exchange<'_>,
        stale: Option<&SecretString>,
    ) -> Result<SecretString, AdapterError>;
}

/// Asked right before every request: may this process still send, for so long?
pub trait SendPermit: Send + Sync {
    /// An error (class transient) where the lease does not outlast a request of this duration.
    fn check(&self, request_timeout: Duration) -> Result<(), AdapterError>;
}

/// The pooled client all adapters share; one a worker.
#[derive(Debug, Clone)]
pub struct HttpClient {
    _egress: EgressPolicy,
}

/// One attempt's way to the platform: the client, its deadline, the lease check, the token cache.
pub struct Exchange<'a> {
    /// The shared client.
    pub client: &'a HttpClient,
    /// No request of this attempt outlasts it.
    pub deadline: Instant,
    /// Whether this process may still send.
    pub permit: &'a dyn SendPermit,
    /// Access tokens, for [`Auth::OAuth`].
    pub tokens: &'a dyn TokenSource,
}
