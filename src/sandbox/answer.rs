//! What a fake platform says to a request.

use axum::http::{HeaderName, HeaderValue};
use serde_json::Value;

/// What the platform says.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// `None` is an empty body.
    pub(super) body: Option<Value>,
    /// A body that is no JSON, with its media type; then there is no other.
    pub(super) text: Option<(&'static str, String)>,
    /// Whether it changed something.
    pub(super) effective: bool,
}

impl Answer {
    /// An answer to a read, or a refusal.
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
            ..Self::default()
        }
    }

    /// An answer in plain text.
    pub(super) fn plain(status: u16, text: &str) -> Self {
        Self {
            status,
            text: Some(("text/plain; charset=utf-8", text.to_owned())),
            ..Self::default()
        }
    }

    /// The log-in page of whatever stands in front of a platform.
    pub(super) fn log_in_page() -> Self {
        let page = "<!DOCTYPE html><html><head><title>Log in</title></head><body><form action=\"/login\" method=\"post\">\
                    <input name=\"user\"><input type=\"password\" name=\"password\"></form></body></html>";
        Self {
            status: 200,
            text: Some(("text/html; charset=utf-8", page.to_owned())),
            ..Self::default()
        }
    }

    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Marks it as the answer to a change that took place.
    pub(super) fn effective(mut self) -> Self {
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
