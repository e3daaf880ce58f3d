//! What a fake platform says to a request.

use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use serde_json::Value;

/// How JSON is declared unless the answer has a `Content-Type` of its own.
const JSON: &str = "application/json;charset=UTF-8";

/// The body of an answer, with what it is declared to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Body {
    #[default]
    None,
    Json(Value),
    /// Text of a media type.
    Text(&'static str, String),
    /// Bytes of a media type: a file that is fetched.
    Bytes(&'static str, Bytes),
}

impl Body {
    /// Its media type; `None` where there is no body.
    pub(super) const fn media_type(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Json(_) => Some(JSON),
            Self::Text(media_type, _) | Self::Bytes(media_type, _) => Some(media_type),
        }
    }

    /// As it goes over the wire.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::Json(value) => Bytes::from(value.to_string()),
            Self::Text(_, text) => Bytes::from(text),
            Self::Bytes(_, bytes) => bytes,
        }
    }

    /// What it says, where it is text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(_, text) => Some(text),
            Self::None | Self::Json(_) | Self::Bytes(..) => None,
        }
    }
}

/// What the platform says.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Body,
    /// Whether it changed something.
    pub(super) effective: bool,
}

impl Answer {
    /// An answer to a read, or a refusal.
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Body::Json(body),
            ..Self::default()
        }
    }

    /// An answer in plain text.
    pub(super) fn plain(status: u16, text: &str) -> Self {
        Self::text(status, "text/plain; charset=utf-8", text)
    }

    /// An answer in text of a media type.
    pub(super) fn text(status: u16, media_type: &'static str, text: &str) -> Self {
        Self {
            status,
            body: Body::Text(media_type, text.to_owned()),
            ..Self::default()
        }
    }

    /// A file.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "no platform gives files back yet")
    )]
    pub(super) fn bytes(status: u16, media_type: &'static str, bytes: Bytes) -> Self {
        Self {
            status,
            body: Body::Bytes(media_type, bytes),
            ..Self::default()
        }
    }

    /// The log-in page of whatever stands in front of a platform.
    pub(super) fn log_in_page() -> Self {
        let page = "<!DOCTYPE html><html><head><title>Log in</title></head><body><form \
                    action=\"/login\" method=\"post\"><input name=\"user\"><input \
                    type=\"password\" name=\"password\"></form></body></html>";
        Self::text(200, "text/html; charset=utf-8", page)
    }

    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Marks it as the answer to a change that took place.
    pub(super) fn mutated(mut self) -> Self {
        self.effective = true;
        self
    }

    /// Adds a header; one that cannot be a header is left out.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.headers.push((name, value));
        }
        self
    }
}
