//! The one HTTP client of the adapters: pooled, rustls, one deadline from name look-up to last byte, size caps, private
//! addresses refused at connect time. A redirect is followed where the request lists its host, else not.
//!
//! Retried *in place* (crate `backoff`, within the attempt's deadline) is only what surely had no effect: refused
//! connections, reads, a 429 with a short `Retry-After`, a stale token. Everything else is the pipeline's to decide.

mod hosts;
mod part;
pub(super) mod redact;
mod redirect;
mod request;
mod response;
mod starting;
mod stranger;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use chrono::Utc;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::SemaphorePermit;
use url::Url;

pub use self::hosts::HostSuffix;
pub use self::part::Part;
use self::request::host;
pub use self::request::{Auth, Body, Effect, Request};
pub(in crate::platforms) use self::response::lost;
pub use self::response::{Fit, Response};
use self::starting::{STARTING, Starting};
pub use self::stranger::{Pages, Sign, Strangers};
use super::backoff::{Verdict, in_place};
use super::egress::{GuardedResolver, Refused};
use super::file::{Coding, Piece, body_of};
use super::memory::Memory;
use super::{AdapterError, EgressPolicy, ErrorClass};
use crate::reach::Trouble;
use crate::telemetry::failpoint;

/// Most bytes of an answer that are read, after decompression, where the request says nothing else.
const BODY_MAX: usize = 2 << 20;
/// Longest a TCP and TLS connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A `Retry-After` up to this is waited for in place; a longer one ends the attempt.
const SHORT_RETRY_AFTER: Duration = Duration::from_secs(2);

/// What an OAuth token endpoint gave.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    /// For the `Authorization` header.
    pub access_token: SecretString,
    /// The next refresh token, where the platform rotates them: stored before the access token is used.
    pub refresh_token: Option<SecretString>,
    /// Life of the access token, from now.
    pub expires_in: Duration,
    /// Where the platform is, where the grant says so: requests that are [`Request::granted`] go
    /// below it.
    pub api_base: Option<Url>,
}

/// An access token, and where it is good.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// For the `Authorization` header.
    pub secret: SecretString,
    /// What [`TokenGrant::api_base`] said when it was granted.
    pub api_base: Option<Url>,
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
        context: &CallContext<'_>,
        stale: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError>;

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
            starting: Arc::new(Starting::new()),
        })
    }

    /// Requests that wait for a place to start in.
    #[must_use]
    pub fn waiting_to_start(&self) -> usize {
        self.starting.waiting()
    }
}

/// One attempt's way to the platform: the client, its deadline, the lease check, the token cache.
pub struct CallContext<'a> {
    /// The shared client.
    pub client: &'a HttpClient,
    /// No request of this attempt outlasts it.
    pub deadline: Instant,
    /// Whether this process may still send.
    pub permit: &'a dyn SendPermit,
    /// Access tokens, for [`Auth::OAuth`].
    pub tokens: &'a dyn TokenSource,
    /// How the platform shows that it answered a stranger: every answer passes here, token refreshes too.
    pub strangers: &'static Strangers,
    /// What was learned of the integration before.
    memory: Option<&'a Memory>,
    asked: AskedToWait,
}

/// The longest wait that an answer other than a success asked for (`Retry-After`), whatever an adapter made of that answer.
/// Nothing may be sent again sooner. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct AskedToWait(Arc<AtomicU64>);

impl AskedToWait {
    /// The wait; `None` where no answer asked for one.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    fn note(&self, wait: Option<Duration>) {
        if let Some(wait) = wait {
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.0.fetch_max(millis, Ordering::AcqRel);
        }
    }
}

impl<'a> CallContext<'a> {
    /// A way to the platform until `deadline`, whose answers are judged by `strangers`.
    #[must_use]
    pub fn new(
        client: &'a HttpClient,
        deadline: Instant,
        permit: &'a dyn SendPermit,
        tokens: &'a dyn TokenSource,
        strangers: &'static Strangers,
    ) -> Self {
        Self {
            client,
            deadline,
            permit,
            tokens,
            strangers,
            memory: None,
            asked: AskedToWait::default(),
        }
    }

    /// The same way, with what was learned of the integration before.
    #[must_use]
    pub fn remembering(self, memory: impl Into<Option<&'a Memory>>) -> Self {
        Self {
            memory: memory.into(),
            ..self
        }
    }

    /// The same way, noting in `asked` what its answers ask for.
    #[must_use]
    pub fn noting(self, asked: &AskedToWait) -> Self {
        Self {
            asked: asked.clone(),
            ..self
        }
    }

    /// The same way, until `deadline` where that is earlier.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            client: self.client,
            deadline: deadline.min(self.deadline),
            permit: self.permit,
            tokens: self.tokens,
            strangers: self.strangers,
            memory: self.memory,
            asked: self.asked.clone(),
        }
    }
}

impl CallContext<'_> {
    /// A thing that was learned of the platform, not older than `life`; asked for by `load` where
    /// it is not known: see [`Memory::get`]. Another attempt that asks right now is waited for as
    /// long as this one may take.
    ///
    /// # Errors
    /// Those of `load`; class timeout, where the attempt's time is used up.
    pub fn recall<T: Send + Sync + 'static>(
        &self,
        name: impl Into<Cow<'static, str>>,
        life: Duration,
        load: impl Future<Output = Result<T, AdapterError>>,
    ) -> impl Future<Output = Result<Arc<T>, AdapterError>> {
        // Hardly ever run, it would be most of what each attempt keeps room for.
        let load = Box::pin(load);
        let name = name.into();
        async move {
            let Some(memory) = self.memory else {
                return load.await.map(Arc::new);
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            let found = tokio::time::timeout(left, memory.get(name, life, load)).await;
            found.unwrap_or_else(|_| {
                let text = "the attempt's time was used up while the platform was asked for what is needed first";
                Err(AdapterError::new(ErrorClass::Timeout, text))
            })
        }
    }

    /// Forgets what [`CallContext::recall`] keeps, as the platform has shown that it is not so any
    /// more.
    pub fn forget(&self, name: &str) {
        if let Some(memory) = self.memory {
            memory.forget(name);
        }
    }

    /// What its answers asked for.
    #[must_use]
    pub fn asked_to_wait(&self) -> Option<Duration> {
        self.asked.get()
    }

    /// Sends a request; any status is an answer. In place is tried again only what surely had no effect.
    ///
    /// # Errors
    /// An answer that was given to a stranger, see [`Strangers`]. Trouble on the way, classified by what the request would have done; [`ErrorClass::Egress`] where the target is
    /// not allowed.
    pub async fn send(&self, request: Request) -> Result<Response, AdapterError> {
        if !request.is_granted() {
            self.client.egress.check(&request.url)?;
        }
        redact::learn_request(&request);
        let mut token = match request.auth {
            Auth::OAuth => Some(self.token_for(&request).await?),
            Auth::None | Auth::Basic { .. } | Auth::Bearer(_) | Auth::Header(..) => None,
        };
        let (mut asked, mut response) = self.follow(&request, token.as_ref()).await?;
        // What a stranger made is not made again.
        let as_stranger =
            || response.status != 201 && self.strangers.sign(&response.headers).is_some();
        if let Some(stale) = &token
            && (self.tokens.is_stale(&response) || as_stranger())
        {
            // A fresh token is tried once. What was refused for its token had no effect.
            token = Some(self.token(Some(&stale.secret)).await?);
            (asked, response) = self.follow(&request, token.as_ref()).await?;
        }
        let asked = asked.as_deref().unwrap_or(&request);
        self.strangers.judge(asked, &response)?;
        Ok(response)
    }

    /// Where the platform is by the integration's access token; `None` where the grant does not say
    /// so.
    ///
    /// # Errors
    /// As those of getting a token.
    pub async fn api_base(&self) -> Result<Option<Url>, AdapterError> {
        Ok(self.token(None).await?.api_base)
    }

    /// A token. One that was kept without the address that the request needs is renewed.
    async fn token_for(&self, request: &Request) -> Result<AccessToken, AdapterError> {
        let token = self.token(None).await?;
        if request.is_granted() && token.api_base.is_none() {
            return self.token(Some(&token.secret)).await;
        }
        Ok(token)
    }

    pub(super) async fn token(
        &self,
        stale: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
        let token = redact::untouched(self.tokens.token(self, stale)).await?;
        redact::learn(token.secret.expose_secret());
        Ok(token)
    }

    /// Sends a request to where it belongs, and on to where it is redirected as far as its list
    /// goes. What was asked last comes with the answer, where that is another request.
    async fn follow(
        &self,
        request: &Request,
        token: Option<&AccessToken>,
    ) -> Result<(Option<Box<Request>>, Response), AdapterError> {
        let mut other: Option<Box<Request>> = None;
        if request.is_granted() {
            let base = token.and_then(|token| token.api_base.as_ref());
            let base = base.ok_or_else(|| {
                let text =
                    "the access token came without the address that its requests are sent to";
                AdapterError::new(ErrorClass::Internal, text)
            })?;
            let completed = Box::new(redirect::complete(request, base));
            self.client.egress.check(&completed.url)?;
            other = Some(completed);
        }
        let mut hops = 0;
        loop {
            let asked = other.as_deref().unwrap_or(request);
            let response = self.send_with(asked, token).await?;
            let next = redirect::next(asked, &response);
            let Some(next) = next.filter(|_| hops < redirect::HOPS_MAX) else {
                return Ok((other, response));
            };
            // A redirect to a log-in page leads nowhere, whatever its host.
            self.strangers.judge(asked, &response)?;
            self.client.egress.check(&next.url)?;
            redact::learn_request(&next);
            hops += 1;
            other = Some(next);
        }
    }

    /// Sends a read and hands over its answer before its body: for what is too big to be held.
    ///
    /// # Errors
    /// As [`CallContext::send`].
    pub(super) async fn open(&self, request: &Request) -> Result<reqwest::Response, AdapterError> {
        self.client.egress.check(&request.url)?;
        redact::learn_request(request);
        let limit = self
            .client
            .request_timeout
            .min(self.deadline.saturating_duration_since(Instant::now()));
        let prepared = self.prepare(request, None)?;
        self.permit.check(limit)?;
        match tokio::time::timeout(limit, self.client.client.execute(prepared)).await {
            Ok(Ok(answer)) => {
                if !answer.status().is_success() {
                    let wait = response::retry_after(answer.headers(), Utc::now());
                    self.asked.note(wait);
                }
                Ok(answer)
            }
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
        token: Option<&AccessToken>,
    ) -> Result<Response, AdapterError> {
        in_place(self.deadline, || async {
            let response = self.once(request, token).await?;
            let retry_after = response.retry_after(Utc::now());
            let short = retry_after.filter(|pause| *pause <= SHORT_RETRY_AFTER);
            if !response.is_success() {
                self.asked.note(retry_after);
            }
            match response.status {
                429 if short.is_some() => Err(Verdict::Again(Again::Answer(response), short)),
                // Never sooner than asked: a longer wait ends the attempt.
                502..=504
                    if request.effect == Effect::Read
                        && (short.is_some() || retry_after.is_none()) =>
                {
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
        token: Option<&AccessToken>,
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
        let transfer = self.transfer(prepared, request, place);
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
        token: Option<&AccessToken>,
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
                let pair = basic(&format!("{user}:{}", password.expose_secret()));
                headers.insert(AUTHORIZATION, secret(format!("Basic {pair}"))?);
            }
            (Auth::Bearer(token), _) | (Auth::OAuth, Some(AccessToken { secret: token, .. })) => {
                headers.insert(
                    AUTHORIZATION,
                    secret(format!("Bearer {}", token.expose_secret()))?,
                );
            }
            (Auth::Header(name, value), _) => {
                headers.insert(name.clone(), secret(value.expose_secret().to_owned())?);
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
            Body::Multipart(_) | Body::Base64Json { .. } | Body::Raw(_) => {
                let (content_type, pieces) = pieces(&request.body);
                let value = HeaderValue::from_str(&content_type)
                    .unwrap_or(HeaderValue::from_static("application/octet-stream"));
                headers.insert(CONTENT_TYPE, value);
                let (body, length) = body_of(pieces).map_err(|error| {
                    let text = "the worker cannot read the file from its temporary directory; nothing was sent";
                    AdapterError::new(ErrorClass::Internal, text).with_internal(error.to_string())
                })?;
                headers.insert(CONTENT_LENGTH, length.into());
                *prepared.body_mut() = Some(body);
            }
        }
        Ok(prepared)
    }

    async fn transfer(
        &self,
        prepared: reqwest::Request,
        request: &Request,
        place: Option<SemaphorePermit<'_>>,
    ) -> Result<Response, reqwest::Error> {
        let mut executing = pin!(self.client.client.execute(prepared));
        let in_time = tokio::time::timeout(STARTING, &mut executing).await;
        drop(place);
        let mut answer = match in_time {
            Ok(answer) => answer?,
            Err(_) => executing.await?,
        };
        // The platform has it, and nobody has read what it said.
        failpoint(match request.effect {
            Effect::Read => "after_read",
            Effect::Idempotent | Effect::Create => "after_send",
        })
        .await;
        let status = answer.status().as_u16();
        let headers = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > request.body_max {
                return Ok(Response {
                    status,
                    headers,
                    body: redact::clean_body(body.freeze(), status),
                    truncated: true,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status,
            headers,
            body: redact::clean_body(body.freeze(), status),
            truncated: false,
        })
    }
}

/// The content type of a body with files in it, and its pieces.
fn pieces(body: &Body) -> (String, Vec<Piece<'_>>) {
    match body {
        Body::Multipart(parts) => part::multipart(parts),
        Body::Base64Json { json, member, file } => {
            let pieces = part::base64_json(json, member, file);
            ("application/json".to_owned(), pieces)
        }
        Body::Raw(file) => (
            file.media_type.clone(),
            vec![Piece::File(file, Coding::Raw)],
        ),
        Body::Empty | Body::Json(_) | Body::Form(_) => (String::new(), Vec::new()),
    }
}

/// What Basic authentication sends of user and password.
fn basic(pair: &str) -> String {
    STANDARD.encode(pair)
}

/// The user and password of what Basic authentication sends.
fn basic_pair(sent: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(sent).ok()?).ok()
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
    let internal = causes(error);
    if error.is_connect() {
        let found = Trouble::of(error);
        let why = found.map_or_else(String::new, |found| format!(": {}", found.says()));
        let text = format!("{} cannot be reached{why}", host(request));
        let class = if found == Some(Trouble::NoDescriptors) {
            ErrorClass::Internal
        } else {
            ErrorClass::Transient { retry_after: None }
        };
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

fn causes(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.join(": ")
}
