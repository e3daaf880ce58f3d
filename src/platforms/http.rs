//! The one HTTP client of the adapters: pooled, rustls, one deadline from name look-up to last byte, size caps, no
//! redirects, private addresses refused at connect time.
//!
//! Retried *in place* (crate `backoff`, within the attempt's deadline) is only what surely had no effect: refused
//! connections, reads, a 429 with a short `Retry-After`, a stale token. Everything else is the pipeline's to decide.

use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::backoff::{Verdict, in_place};
use super::egress::{GuardedResolver, Refused};
use super::{AdapterError, EgressPolicy, ErrorClass, File};
use crate::telemetry::failpoint;

/// Most bytes of an answer that are read, after decompression.
const BODY_MAX: usize = 2 << 20;
/// Longest a TCP and TLS connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A request holds a starting place for this long, or until it is answered. In a flood the answers come sooner, and a few
/// dozen connections do what would else be one for every command, of 20 KiB each; a slow platform holds nobody up.
const STARTING: Duration = Duration::from_millis(2);
/// Starting places of a worker: 32,000 requests a second, if no answer comes in time.
const STARTING_PLACES: usize = 64;
/// A `Retry-After` up to this is waited for in place; a longer one ends the attempt.
const SHORT_RETRY_AFTER: Duration = Duration::from_secs(2);
/// How much of a vendor's answer the log may quote.
const QUOTE_MAX: usize = 500;

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
    /// `multipart/form-data` with one file.
    Multipart {
        /// Name of the part.
        part: &'static str,
        /// The file.
        file: File,
    },
    /// The bytes of a file and nothing else.
    Raw(File),
}

/// A request as an adapter builds it: data, not yet IO.
#[derive(Clone)]
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
    /// Whether the URL is itself a credential: nobody is shown more of it than its host.
    pub url_is_secret: bool,
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
    /// Whether there was more of it.
    pub truncated: bool,
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
    ///
    /// # Errors
    /// Class authentication, where the credentials lack what the flow needs.
    fn request(&self, refresh_token: Option<&SecretString>) -> Result<Request, AdapterError>;
    /// Reads the grant.
    ///
    /// # Errors
    /// By the answer's status; class authentication where the grant is refused.
    fn read(&self, response: &Response) -> Result<TokenGrant, AdapterError>;
    /// Whether an answer says that the access token is no longer good: by default, a 401.
    fn is_stale(&self, response: &Response) -> bool {
        response.status == 401
    }
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

    /// Whether an answer says that its token is no longer good; see [`TokenFlow::is_stale`].
    fn is_stale(&self, response: &Response) -> bool;
}

/// Asked right before every request: may this process still send, for so long?
pub trait SendPermit: Send + Sync {
    /// Yes, or no.
    ///
    /// # Errors
    /// Class transient, where the lease does not outlast a request of this duration.
    fn check(&self, request_timeout: Duration) -> Result<(), AdapterError>;
}

/// The pooled client all adapters share; one a worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    egress: EgressPolicy,
    request_timeout: Duration,
    starting: Arc<Starting>,
}

/// The places in which requests start: see [`STARTING`].
#[derive(Debug)]
struct Starting {
    places: Semaphore,
    waiting: AtomicUsize,
}

impl Starting {
    fn new(places: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            waiting: AtomicUsize::new(0),
        }
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        /// Counts one who waits, for as long as it does.
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        // Never closed: with or without a place, the request goes on.
        self.places.acquire().await.ok()
    }
}

impl HttpClient {
    /// Sets the client up. `idle_per_host` connections are kept for each host.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that builds the client"
    )]
    pub fn new(
        egress: EgressPolicy,
        request_timeout: Duration,
        idle_per_host: usize,
    ) -> Result<Self, reqwest::Error> {
        // reqwest is built without a provider of its own. An error here means that one is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .user_agent(concat!("ticketwire/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT.min(request_timeout))
            .pool_max_idle_per_host(idle_per_host)
            .dns_resolver(Arc::new(GuardedResolver(egress.clone())))
            .build()?;
        Ok(Self {
            client,
            egress,
            request_timeout,
            starting: Arc::new(Starting::new(STARTING_PLACES)),
        })
    }

    /// Requests that wait for a place to start in.
    #[must_use]
    pub fn waiting_to_start(&self) -> usize {
        self.starting.waiting.load(Ordering::Relaxed)
    }
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

impl Exchange<'_> {
    /// Sends a request; any status is an answer. In place is tried again only what surely had no effect.
    ///
    /// # Errors
    /// Trouble on the way, classified by what the request would have done; [`ErrorClass::Egress`] where the target is
    /// not allowed.
    pub async fn send(&self, request: Request) -> Result<Response, AdapterError> {
        self.client.egress.check(&request.url)?;
        let mut token = match request.auth {
            Auth::OAuth => Some(self.tokens.token(self, None).await?),
            Auth::None | Auth::Basic { .. } | Auth::Bearer(_) => None,
        };
        let response = self.send_with(&request, token.as_ref()).await?;
        if token.is_some() && self.tokens.is_stale(&response) {
            // A fresh token is tried once. What was refused for its token had no effect.
            token = Some(self.tokens.token(self, token.as_ref()).await?);
            return self.send_with(&request, token.as_ref()).await;
        }
        Ok(response)
    }

    /// Sends a read and hands over its answer before its body: for what is too big to be held.
    ///
    /// # Errors
    /// As [`Exchange::send`].
    pub(super) async fn open(&self, request: &Request) -> Result<reqwest::Response, AdapterError> {
        self.client.egress.check(&request.url)?;
        let limit = self
            .client
            .request_timeout
            .min(self.deadline.saturating_duration_since(Instant::now()));
        let prepared = self.prepare(request, None)?;
        self.permit.check(limit)?;
        match tokio::time::timeout(limit, self.client.client.execute(prepared)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(match trouble(request, &error) {
                Verdict::Final(Again::Error(error)) | Verdict::Again(Again::Error(error), _) => {
                    error
                }
                Verdict::Final(Again::Answer(_)) | Verdict::Again(Again::Answer(_), _) => {
                    AdapterError::new(ErrorClass::Internal, "an answer is no trouble")
                }
            }),
            Err(_) => {
                let text = format!("{} did not answer within {limit:?}", host(request));
                Err(AdapterError::new(ErrorClass::Timeout, text))
            }
        }
    }

    async fn send_with(
        &self,
        request: &Request,
        token: Option<&SecretString>,
    ) -> Result<Response, AdapterError> {
        in_place(self.deadline, || async {
            let response = self.once(request, token).await?;
            let retry_after = response.retry_after(Utc::now());
            let short = retry_after.filter(|pause| *pause <= SHORT_RETRY_AFTER);
            match response.status {
                429 if short.is_some() => Err(Verdict::Again(Again::Answer(response), short)),
                502..=504 if request.effect == Effect::Read => {
                    Err(Verdict::Again(Again::Answer(response), short))
                }
                _ => Ok(response),
            }
        })
        .await
        .or_else(|last| match last {
            Again::Answer(response) => Ok(response),
            Again::Error(error) => Err(error),
        })
    }

    /// One request, name look-up to last byte.
    async fn once(
        &self,
        request: &Request,
        token: Option<&SecretString>,
    ) -> Result<Response, Verdict<Again>> {
        let fail = |error| Verdict::Final(Again::Error(error));
        let prepared = self.prepare(request, token).map_err(fail)?;
        failpoint(match request.effect {
            Effect::Read => "before_read",
            Effect::Idempotent | Effect::Create => "before_send",
        })
        .await;
        let place = self.client.starting.place().await;
        let limit = self
            .client
            .request_timeout
            .min(self.deadline.saturating_duration_since(Instant::now()));
        if limit.is_zero() {
            let text = "the attempt's time was used up before the request was sent";
            return Err(fail(AdapterError::new(ErrorClass::Timeout, text)));
        }
        self.permit.check(limit).map_err(fail)?;
        let transfer = self.transfer(prepared, request.effect, place);
        match tokio::time::timeout(limit, transfer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(trouble(request, &error)),
            Err(_) => {
                let text = format!("{} did not answer within {limit:?}", host(request));
                let class = lost(request.effect, ErrorClass::Timeout);
                Err(fail(AdapterError::new(class, text)))
            }
        }
    }

    fn prepare(
        &self,
        request: &Request,
        token: Option<&SecretString>,
    ) -> Result<reqwest::Request, AdapterError> {
        let mut prepared = reqwest::Request::new(request.method.clone(), request.url.clone());
        let headers = prepared.headers_mut();
        for (name, value) in &request.headers {
            headers.insert(name.clone(), value.clone());
        }
        let secret = |text: String| {
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                let text = "the credential has characters that no HTTP header can carry";
                AdapterError::new(ErrorClass::Authentication, text)
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        match (&request.auth, token) {
            (
                Auth::Basic {
                    user,
                    secret: password,
                },
                _,
            ) => {
                let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
                headers.insert(AUTHORIZATION, secret(format!("Basic {pair}"))?);
            }
            (Auth::Bearer(token), _) | (Auth::OAuth, Some(token)) => {
                headers.insert(
                    AUTHORIZATION,
                    secret(format!("Bearer {}", token.expose_secret()))?,
                );
            }
            (Auth::None, _) | (Auth::OAuth, None) => {}
        }
        match &request.body {
            Body::Empty => {}
            Body::Json(bytes) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *prepared.body_mut() = Some(bytes.clone().into());
            }
            Body::Form(fields) => {
                headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                );
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in fields {
                    form.append_pair(name, value.expose_secret());
                }
                *prepared.body_mut() = Some(form.finish().into());
            }
            Body::Multipart { file, .. } | Body::Raw(file) => {
                let envelope = match &request.body {
                    Body::Multipart { part, .. } => Some(file.envelope(part)),
                    Body::Empty | Body::Json(_) | Body::Form(_) | Body::Raw(_) => None,
                };
                let content_type = envelope
                    .as_ref()
                    .map_or(file.media_type.as_str(), |envelope| &envelope.content_type);
                let value = HeaderValue::from_str(content_type)
                    .unwrap_or(HeaderValue::from_static("application/octet-stream"));
                headers.insert(CONTENT_TYPE, value);
                let (body, length) = file.body(envelope.as_ref()).map_err(|error| {
                    let text = "the file was gone before it was sent";
                    AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
                        .with_internal(error.to_string())
                })?;
                headers.insert(CONTENT_LENGTH, length.into());
                *prepared.body_mut() = Some(body);
            }
        }
        Ok(prepared)
    }

    async fn transfer(
        &self,
        request: reqwest::Request,
        effect: Effect,
        place: Option<SemaphorePermit<'_>>,
    ) -> Result<Response, reqwest::Error> {
        let mut executing = pin!(self.client.client.execute(request));
        let in_time = tokio::time::timeout(STARTING, &mut executing).await;
        drop(place);
        let mut answer = match in_time {
            Ok(answer) => answer?,
            Err(_) => executing.await?,
        };
        // The platform has it, and nobody has read what it said.
        failpoint(match effect {
            Effect::Read => "after_read",
            Effect::Idempotent | Effect::Create => "after_send",
        })
        .await;
        let status = answer.status().as_u16();
        let headers = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > BODY_MAX {
                return Ok(Response {
                    status,
                    headers,
                    body: body.freeze(),
                    truncated: true,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status,
            headers,
            body: body.freeze(),
            truncated: false,
        })
    }
}

/// Why a request is tried again: an answer that says so, or trouble on the way.
enum Again {
    Answer(Response),
    Error(AdapterError),
}

/// What trouble on the way means. Only a connection that never came about surely sent nothing.
fn trouble(request: &Request, error: &reqwest::Error) -> Verdict<Again> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Verdict::Final(Again::Error(refused.explain()));
        }
        source = cause.source();
    }
    // The chain names hosts and causes, never headers; the URL is left out, as its query might hold a token.
    let internal = crate_chain(error);
    if error.is_connect() {
        let text = format!("{} cannot be reached", host(request));
        let class = ErrorClass::Transient { retry_after: None };
        return Verdict::Again(
            Again::Error(AdapterError::new(class, text).with_internal(internal)),
            None,
        );
    }
    let class = lost(request.effect, ErrorClass::Transient { retry_after: None });
    let text = format!(
        "the connection to {} broke before it answered",
        host(request)
    );
    let error = Again::Error(AdapterError::new(class, text).with_internal(internal));
    match request.effect {
        Effect::Read => Verdict::Again(error, None),
        Effect::Idempotent | Effect::Create => Verdict::Final(error),
    }
}

/// The class of a lost answer.
fn lost(effect: Effect, harmless: ErrorClass) -> ErrorClass {
    match effect {
        Effect::Read | Effect::Idempotent => harmless,
        Effect::Create => ErrorClass::Unknown,
    }
}

fn host(request: &Request) -> &str {
    request.url.host_str().unwrap_or("the platform")
}

fn crate_chain(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.join(": ")
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.shown_url())
            .field("headers", &self.headers)
            .field("body", &self.body)
            .field("auth", &self.auth)
            .field("effect", &self.effect)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A request without body.
    #[must_use]
    pub const fn new(method: Method, url: Url, auth: Auth, effect: Effect) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Body::Empty,
            auth,
            effect,
            url_is_secret: false,
        }
    }

    /// A POST without body yet.
    #[must_use]
    pub const fn post(url: Url, auth: Auth, effect: Effect) -> Self {
        Self::new(Method::POST, url, auth, effect)
    }

    /// Says that the URL is itself a credential.
    #[must_use]
    pub const fn secret_url(mut self) -> Self {
        self.url_is_secret = true;
        self
    }

    /// The URL as anybody may see it.
    fn shown_url(&self) -> String {
        if self.url_is_secret {
            format!("{}://{}/••••", self.url.scheme(), host(self))
        } else {
            self.url.to_string()
        }
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        // Straight into bytes: `to_string` would go through the formatter, piece by piece. A value whose keys are text has
        // no way to fail.
        let mut bytes = Vec::with_capacity(1024);
        if serde_json::to_writer(&mut bytes, body).is_err() {
            bytes = body.to_string().into_bytes();
        }
        self.body = Body::Json(Bytes::from(bytes));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// For people: what would be sent, without a secret in it.
    #[must_use]
    pub fn masked(&self) -> Value {
        let headers: serde_json::Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let shown = value.to_str().ok().filter(|_| !value.is_sensitive());
                (name.to_string(), shown.unwrap_or("••••").into())
            })
            .collect();
        let authorization = match &self.auth {
            Auth::None => Value::Null,
            Auth::Basic { .. } => "Basic ••••".into(),
            Auth::Bearer(_) | Auth::OAuth => "Bearer ••••".into(),
        };
        let body = match &self.body {
            Body::Empty => Value::Null,
            Body::Json(bytes) => serde_json::from_slice(bytes).unwrap_or(Value::Null),
            Body::Form(fields) => fields
                .iter()
                .map(|(name, _)| (name.clone(), Value::from("••••")))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Body::Multipart { file, .. } | Body::Raw(file) => {
                json!({ "file": file.name, "media_type": file.media_type })
            }
        };
        json!({
            "method": self.method.as_str(), "url": self.shown_url(), "headers": headers,
            "authorization": authorization, "body": body,
        })
    }
}

impl Response {
    /// Whether it is a 2xx.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// The body of a success as JSON.
    ///
    /// # Errors
    /// An answer that cannot be read is not to be trusted: [`ErrorClass::Unknown`] after a create, else transient.
    pub fn json<T: DeserializeOwned>(&self, effect: Effect) -> Result<T, AdapterError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let text = format!(
                "the platform answered {} with a body that cannot be read",
                self.status
            );
            let class = lost(effect, ErrorClass::Transient { retry_after: None });
            let error = AdapterError::new(class, text)
                .with_status(self.status)
                .with_internal(error.to_string());
            if self.truncated {
                error.with_internal(format!("the body has more than {BODY_MAX} bytes"))
            } else {
                error
            }
        })
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After` in either form, as a wait from `now`.
    #[must_use]
    pub fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let at = DateTime::parse_from_rfc2822(text).ok()?;
        Some((at.with_timezone(&Utc) - now).to_std().unwrap_or_default())
    }

    /// What the log may quote of it.
    #[must_use]
    pub fn quote(&self) -> String {
        let text: String = String::from_utf8_lossy(&self.body)
            .chars()
            .take(QUOTE_MAX)
            .collect();
        format!("{}: {text}", self.status)
    }

    /// The class that a status has on any platform.
    ///
    /// # Errors
    /// Always, but for a 2xx.
    pub fn check(&self, effect: Effect, what: &str) -> Result<(), AdapterError> {
        if self.is_success() {
            return Ok(());
        }
        let retry_after = self.retry_after(Utc::now());
        let status = self.status;
        let (class, text) = match status {
            401 => (
                ErrorClass::Authentication,
                format!("{what}: the platform does not take the credentials"),
            ),
            403 => (
                ErrorClass::Permission,
                format!("{what}: the credentials are not permitted to do this"),
            ),
            404 | 410 => (
                ErrorClass::NotFound,
                format!("{what}: not found on the platform, or not visible"),
            ),
            409 => (
                ErrorClass::Conflict,
                format!("{what}: the platform reports a conflict"),
            ),
            429 => (
                ErrorClass::RateLimited { retry_after },
                format!("{what}: the platform's rate limit is reached"),
            ),
            408 | 425 => (
                lost(effect, ErrorClass::Transient { retry_after }),
                format!("{what}: the platform gave up waiting ({status})"),
            ),
            300..=399 => (
                ErrorClass::Validation {
                    fields: [("base_url".into(), "leads to a redirect".into())].into(),
                },
                format!("{what}: the platform redirects, which is not followed; check base_url"),
            ),
            500..=599 => (
                lost(effect, ErrorClass::Transient { retry_after }),
                format!("{what}: the platform failed ({status})"),
            ),
            _ => (
                ErrorClass::Validation {
                    fields: std::collections::BTreeMap::new(),
                },
                format!("{what}: the platform does not take the data ({status})"),
            ),
        };
        Err(AdapterError::new(class, text)
            .with_status(status)
            .with_internal(self.quote()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn response(status: u16, headers: &[(&'static str, &str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        Response {
            status,
            headers,
            body: Bytes::new(),
            truncated: false,
        }
    }

    #[tokio::test]
    async fn who_waits_for_a_starting_place_is_counted_until_it_has_one_or_gives_up() {
        let starting = Starting::new(1);
        let first = starting.place().await;
        assert!(first.is_some());

        let mut second = Box::pin(starting.place());
        assert!(second.as_mut().now_or_never().is_none());
        let mut third = Box::pin(starting.place());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(starting.waiting.load(Ordering::Relaxed), 2);

        drop(third);
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(starting.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = DateTime::parse_from_rfc3339("2026-01-31T12:00:00Z")
            .unwrap()
            .with_timezone(&Utc);
        let wait = |text: &str| response(429, &[("retry-after", text)]).retry_after(now);

        assert_eq!(wait("17"), Some(Duration::from_secs(17)));
        assert_eq!(
            wait("Sat, 31 Jan 2026 12:00:30 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(wait("Sat, 31 Jan 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn a_server_error_is_unknown_after_a_create_and_transient_after_anything_else() {
        let class = |status, effect| response(status, &[]).check(effect, "x").unwrap_err().class;

        assert_eq!(class(503, Effect::Create), ErrorClass::Unknown);
        assert_eq!(
            class(503, Effect::Idempotent),
            ErrorClass::Transient { retry_after: None }
        );
        assert_eq!(class(408, Effect::Create), ErrorClass::Unknown);
        assert_eq!(class(401, Effect::Create), ErrorClass::Authentication);
        assert_eq!(class(403, Effect::Read), ErrorClass::Permission);
        assert_eq!(class(404, Effect::Read), ErrorClass::NotFound);
        assert_eq!(class(409, Effect::Create), ErrorClass::Conflict);
        assert!(matches!(
            class(302, Effect::Create),
            ErrorClass::Validation { .. }
        ));
        assert!(matches!(
            class(422, Effect::Create),
            ErrorClass::Validation { .. }
        ));
        assert_eq!(
            class(429, Effect::Create),
            ErrorClass::RateLimited { retry_after: None }
        );
    }

    #[test]
    fn a_masked_request_shows_no_secret() {
        let auth = Auth::Basic {
            user: "a@b".into(),
            secret: "t0ps3cret".into(),
        };
        let request = Request::new(
            Method::POST,
            "https://x.example/y".parse().unwrap(),
            auth,
            Effect::Create,
        )
        .json(&json!({"a": 1}));

        let shown = format!("{} {request:?}", request.masked());

        assert!(
            shown.contains("Basic ••••") && !shown.contains("t0ps3cret"),
            "{shown}"
        );
    }
}
