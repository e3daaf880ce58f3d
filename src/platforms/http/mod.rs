//! The one HTTP client of the adapters: pooled, rustls, one deadline from name look-up to last
//! byte, size caps, private addresses refused at connect time. A redirect is followed where the
//! request lists its host, else not.
//!
//! Retried *in place* (crate `backoff`, within the attempt's deadline) is only what surely had no
//! effect: refused connections, reads, a 429 with a short `Retry-After`, a stale token. Everything
//! else is the pipeline's to decide.

mod client;
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

use std::error::Error as _;
use std::pin::pin;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use secrecy::ExposeSecret;
use tokio::sync::SemaphorePermit;

pub use self::client::HttpClient;
pub use self::hosts::HostSuffix;
pub use self::part::Part;
use self::request::host;
pub use self::request::{Auth, Body, Effect, Request};
pub(in crate::platforms) use self::response::lost;
pub use self::response::{Fit, Response};
use self::starting::STARTING;
pub use self::stranger::{Pages, Sign, Strangers};
use super::backoff::{TryError, in_place};
use super::egress::Refused;
use super::file::{Coding, Piece, body_of};
use super::{AccessToken, AdapterError, CallContext, ErrorClass};
use crate::reach::Outage;
use crate::telemetry::clock;
use crate::telemetry::failpoint;

/// Most bytes of an answer that are read, after decompression, where the request says nothing else.
const BODY_MAX: usize = 2 << 20;
/// A `Retry-After` up to this is waited for in place; a longer one ends the attempt.
const SHORT_RETRY_AFTER: Duration = Duration::from_secs(2);

impl CallContext<'_> {
    /// Sends a request; any status is an answer. In place is tried again only what surely had no
    /// effect.
    ///
    /// # Errors
    /// An answer that was given to a stranger, see [`Strangers`]. Failure on the way, classified by
    /// what the request would have done; [`ErrorClass::Egress`] where the target is not allowed.
    pub(in crate::platforms) async fn send_request(
        &self,
        request: &Request,
    ) -> Result<Response, AdapterError> {
        if !request.is_granted() {
            self.client.egress.check(&request.url)?;
        }
        redact::learn_request(request);
        let mut token = match request.auth {
            Auth::OAuth => Some(self.token_for(request).await?),
            Auth::None | Auth::Basic { .. } | Auth::Bearer(_) | Auth::Header(..) => None,
        };
        let (mut asked, mut response) = self.follow(request, token.as_ref()).await?;
        // What a stranger made is not made again.
        let as_stranger =
            || response.status != 201 && self.strangers.sign(&response.headers).is_some();
        if let Some(stale) = &token
            && (self.tokens.is_stale(&response) || as_stranger())
        {
            // A fresh token is tried once. What was refused for its token had no effect.
            token = Some(self.token(Some(&stale.secret)).await?);
            (asked, response) = self.follow(request, token.as_ref()).await?;
        }
        let asked = asked.as_deref().unwrap_or(request);
        self.strangers.judge(asked, &response)?;
        self.note_budget(&response);
        Ok(response)
    }

    /// A token. One that was kept without the address that the request needs is renewed.
    async fn token_for(&self, request: &Request) -> Result<AccessToken, AdapterError> {
        let token = self.token(None).await?;
        if request.is_granted() && token.api_base.is_none() {
            return self.token(Some(&token.secret)).await;
        }
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
    /// As those of sending it.
    pub(super) async fn open(&self, request: &Request) -> Result<reqwest::Response, AdapterError> {
        self.client.egress.check(&request.url)?;
        redact::learn_request(request);
        let limit = self
            .client
            .request_timeout
            .min(self.deadline.saturating_duration_since(Instant::now()));
        let (client, prepared) = (self.client.of(request)?, self.prepare(request, None)?);
        self.client.vet(&request.url).await?;
        self.permit.check(limit)?;
        match tokio::time::timeout(limit, client.execute(prepared)).await {
            Ok(Ok(answer)) => {
                if !answer.status().is_success() {
                    let wait = response::retry_after(answer.headers(), clock::now());
                    self.note_wait(wait);
                }
                Ok(answer)
            }
            Ok(Err(error)) => Err(match on_the_way(request, &error, self.client.by_way()) {
                TryError::Final(Again::Error(error)) | TryError::Again(Again::Error(error), _) => {
                    error
                }
                TryError::Final(Again::Answer(_)) | TryError::Again(Again::Answer(_), _) => {
                    AdapterError::new(ErrorClass::Internal, "an answer is no failure")
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
            let retry_after = response.retry_after(clock::now());
            let short = retry_after.filter(|pause| *pause <= SHORT_RETRY_AFTER);
            if !response.is_success() {
                self.note_wait(retry_after);
            }
            match response.status {
                429 if short.is_some() => Err(TryError::Again(Again::Answer(response), short)),
                // Never sooner than asked: a longer wait ends the attempt.
                502..=504
                    if request.effect == Effect::Read
                        && (short.is_some() || retry_after.is_none()) =>
                {
                    Err(TryError::Again(Again::Answer(response), short))
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
    ) -> Result<Response, TryError<Again>> {
        let fail = |error| TryError::Final(Again::Error(error));
        self.check_effect(request.effect == Effect::Read)
            .map_err(fail)?;
        let client = self.client.of(request).map_err(fail)?;
        if let Some(turns) = self.turns().filter(|_| request.effect != Effect::Read) {
            // Of one platform alone: every attempt would keep room for it.
            Box::pin(self.take_turn(turns)).await.map_err(fail)?;
        }
        let prepared = self.prepare(request, token).map_err(fail)?;
        failpoint(match request.effect {
            Effect::Read => "before_read",
            Effect::Idempotent | Effect::Create => "before_send",
        })
        .await;
        self.client.vet(&request.url).await.map_err(fail)?;
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
        let transfer = self.transfer(client.execute(prepared), request, place);
        match tokio::time::timeout(limit, transfer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(on_the_way(request, &error, self.client.by_way())),
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
                    let text = "the worker cannot read the file from its temporary directory; \
                                nothing was sent";
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
        executing: impl Future<Output = Result<reqwest::Response, reqwest::Error>>,
        request: &Request,
        place: Option<SemaphorePermit<'_>>,
    ) -> Result<Response, reqwest::Error> {
        let mut executing = pin!(executing);
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

/// Why a request is tried again: an answer that says so, or failure on the way.
enum Again {
    Answer(Response),
    Error(AdapterError),
}

/// What failure on the way means. Only a connection that never came about surely sent nothing.
fn on_the_way(request: &Request, error: &reqwest::Error, by_way: &str) -> TryError<Again> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return TryError::Final(Again::Error(refused.explain()));
        }
        source = cause.source();
    }
    // The chain names hosts and causes, never headers; the URL is left out, as its query might hold
    // a token.
    let internal = causes(error);
    if error.is_connect() {
        let found = Outage::of(error);
        let why = found.map_or_else(String::new, |found| format!(": {}", found.says()));
        let text = format!("{} cannot be reached{by_way}{why}", host(request));
        let class = if found == Some(Outage::NoDescriptors) {
            ErrorClass::Internal
        } else {
            ErrorClass::Transient { retry_after: None }
        };
        return TryError::Again(
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
        Effect::Read => TryError::Again(error, None),
        Effect::Idempotent | Effect::Create => TryError::Final(error),
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
