//! A request as a fake platform sees it: whole, and parsed once.

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use serde_json::Value;

/// One request, read whole.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Path below the site, as it came: `/rest/api/3/issue`.
    pub(super) path: String,
    /// The path's parts, percent-decoded.
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body where it is JSON and is declared so; parsed before the site's lock is taken.
    pub(super) json: Option<Value>,
    /// URL of the site, without a trailing slash.
    pub(super) base: String,
}

impl Call {
    pub(super) fn new(
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
        base: String,
    ) -> Self {
        let json = if is_json(&headers) {
            serde_json::from_slice(&body).ok()
        } else {
            None
        };
        Self {
            method,
            segments: path
                .split('/')
                .filter(|s| !s.is_empty())
                .map(decode)
                .collect(),
            path: path.to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers,
            body,
            json,
            base,
        }
    }

    /// The first value of a query parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A numeric query parameter, or the default.
    pub(super) fn number(&self, name: &str, default: usize) -> usize {
        self.param(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    /// Whether a comma-separated query parameter has this member.
    pub(super) fn lists(&self, name: &str, member: &str) -> bool {
        self.param(name)
            .is_some_and(|list| list.split(',').any(|part| part.trim() == member))
    }

    /// Whether the body is declared to be JSON.
    pub(super) fn declares_json(&self) -> bool {
        is_json(&self.headers)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(axum::http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        })
}

/// Percent-decodes one path segment; the form decoder would also turn `+` into a space, so `+` is shielded.
fn decode(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    let shielded = segment
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    url::form_urlencoded::parse(shielded.as_bytes())
        .next()
        .map_or_else(|| segment.to_owned(), |(key, _)| key.into_owned())
}
