//! What becomes of a delivery, and what is answered to it.

use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::header::{RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Response, StatusCode};

use crate::platforms::inbound::{Rejected, Reply};

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Verdict {
    /// The broker has it.
    Accepted,
    /// The same of one that nothing proves, which the integration takes.
    UnsignedAccepted,
    /// A question that was answered in place.
    Handshake,
    /// Nothing to follow.
    Heartbeat,
    /// Its proof is wrong.
    BadSignature,
    /// It brings none.
    Unsigned,
    /// It is proved, and too old, or from the future.
    Stale,
    /// The integration has no secret.
    NoSecret,
    /// A secret that nobody waits for.
    ReplayedHandshake,
    /// Too many at once.
    Limited,
    /// No memory is left for its body.
    Memory,
    /// The broker does not answer.
    Broker,
    /// The broker's queue is full.
    QueueFull,
    /// It was not answered in time.
    Timeout,
    /// The database has not been reached yet.
    Starting,
    /// The database is away, and the integration not known.
    Database,
    /// We lack what is needed to verify it.
    Misconfigured,
    /// Nobody's.
    Unknown,
    /// The integration, or its organization, is disabled.
    Disabled,
    /// Not what HTTP says.
    Malformed,
    /// Its body is too large.
    TooLarge,
    /// Another method.
    Method,
    /// Its body is compressed.
    Encoded,
    /// Too many questions for ids that are nobody's.
    Guessing,
}

impl Verdict {
    /// All of them.
    pub(super) const ALL: [Self; 24] = [
        Self::Accepted,
        Self::UnsignedAccepted,
        Self::Handshake,
        Self::Heartbeat,
        Self::BadSignature,
        Self::Unsigned,
        Self::Stale,
        Self::NoSecret,
        Self::ReplayedHandshake,
        Self::Limited,
        Self::Memory,
        Self::Broker,
        Self::QueueFull,
        Self::Timeout,
        Self::Starting,
        Self::Database,
        Self::Misconfigured,
        Self::Unknown,
        Self::Disabled,
        Self::Malformed,
        Self::TooLarge,
        Self::Method,
        Self::Encoded,
        Self::Guessing,
    ];

    /// As metrics and logs have it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::UnsignedAccepted => "unsigned_accepted",
            Self::Handshake => "handshake",
            Self::Heartbeat => "heartbeat",
            Self::BadSignature => "bad_signature",
            Self::Unsigned => "unsigned",
            Self::Stale => "stale",
            Self::NoSecret => "no_secret",
            Self::ReplayedHandshake => "replayed_handshake",
            Self::Limited => "limited",
            Self::Memory => "memory",
            Self::Broker => "broker",
            Self::QueueFull => "queue_full",
            Self::Timeout => "timeout",
            Self::Starting => "starting",
            Self::Database => "database",
            Self::Misconfigured => "misconfigured",
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Method => "method",
            Self::Encoded => "encoded",
            Self::Guessing => "guessing",
        }
    }

    /// Status, and seconds after which it may come again. What may come again is never refused with
    /// a 4xx, which several platforms take as the last word.
    const fn status(self) -> (StatusCode, Option<u16>) {
        match self {
            Self::Accepted | Self::UnsignedAccepted | Self::Handshake | Self::Heartbeat => {
                (StatusCode::OK, None)
            }
            Self::BadSignature
            | Self::Unsigned
            | Self::Stale
            | Self::NoSecret
            | Self::ReplayedHandshake => (StatusCode::UNAUTHORIZED, None),
            Self::Limited
            | Self::Memory
            | Self::Broker
            | Self::Timeout
            | Self::Starting
            | Self::Database => (StatusCode::SERVICE_UNAVAILABLE, Some(5)),
            Self::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, Some(30)),
            Self::Misconfigured => (StatusCode::SERVICE_UNAVAILABLE, Some(60)),
            Self::Unknown | Self::Disabled => (StatusCode::NOT_FOUND, None),
            Self::Malformed => (StatusCode::BAD_REQUEST, None),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, None),
            Self::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            Self::Guessing => (StatusCode::TOO_MANY_REQUESTS, Some(5)),
        }
    }

    /// Whether a person should hear of it.
    pub(super) const fn is_trouble(self) -> bool {
        let (status, _) = self.status();
        !matches!(status, StatusCode::OK | StatusCode::NOT_FOUND)
            && !matches!(self, Self::Guessing | Self::Method)
    }
}

impl From<Rejected> for Verdict {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::NoSecret => Self::NoSecret,
            Rejected::Unsigned => Self::Unsigned,
            Rejected::BadSignature => Self::BadSignature,
            Rejected::Stale => Self::Stale,
        }
    }
}

/// What is answered.
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    reply: Reply,
    /// A header in which a secret is given back.
    pub(super) echo: Option<(&'static str, String)>,
    /// What may be asked in place of the method.
    allow: Option<String>,
}

impl Answer {
    /// A success with this reply.
    pub(super) const fn with(verdict: Verdict, reply: Reply) -> Self {
        Self {
            verdict,
            reply,
            echo: None,
            allow: None,
        }
    }

    pub(super) fn method(allowed: &[Method]) -> Self {
        let mut names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        names.push("HEAD");
        Self {
            allow: Some(names.join(", ")),
            ..Self::from(Verdict::Method)
        }
    }

    /// As HTTP. `closes` ends the connection: what is left of a body is not read.
    pub(super) fn response(self, closes: bool) -> Response<String> {
        let (status, retry_after) = self.verdict.status();
        let is_success = status == StatusCode::OK;
        let own = StatusCode::from_u16(self.reply.status)
            .ok()
            .filter(|_| is_success);
        let mut response = Response::new(self.reply.body.into_owned());
        *response.status_mut() = own.unwrap_or(status);
        let headers = response.headers_mut();
        if let Some(media_type) = self.reply.media_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(ALLOW, allow);
        }
        if let Some((name, value)) = self.echo
            && let Ok(mut value) = HeaderValue::try_from(value)
        {
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        Self::with(verdict, Reply::OK)
    }
}
