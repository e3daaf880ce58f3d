//! What a fake platform is to the rest of the sandbox: a state machine over whole requests. It does no IO, knows no
//! faults and keeps no counts, so a new platform is one file with one `impl Fake`.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ledger::LedgerIssue;

/// One site of one platform. Called under the site's lock, so it is synchronous and quick.
pub(super) trait Fake: Send {
    /// The operation's name, for faults and counts: from a closed set, without looking at the body.
    fn operation(&self, call: &Call) -> &'static str;

    /// Does what the platform would do.
    fn answer(&mut self, call: &Call, now: DateTime<Utc>) -> Answer;

    /// Body and headers that the platform sends with an error status that it did not choose itself.
    fn fault_answer(&self, status: u16, now: DateTime<Utc>) -> Answer;

    /// What the platform says to one whose credential it does not know, or no longer.
    fn stranger(&self, call: &Call, now: DateTime<Utc>) -> Answer;

    /// Merges members into the settings.
    ///
    /// # Errors
    /// Which member is unknown or wrong.
    fn configure(&mut self, changes: Map<String, Value>) -> Result<(), String>;

    /// The settings in force.
    fn settings(&self) -> Value;

    /// Its items in order of creation, all or those with a label, and how many it had to forget.
    fn ledger(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64);
}

/// Settings with members changed.
///
/// # Errors
/// Which member is unknown or wrong.
pub(super) fn merged<T: Serialize + DeserializeOwned>(
    settings: &T,
    changes: Map<String, Value>,
) -> Result<T, String> {
    let mut all = serde_json::to_value(settings).map_err(|error| error.to_string())?;
    if let Value::Object(members) = &mut all {
        members.extend(changes);
    }
    serde_json::from_value(all).map_err(|error| error.to_string())
}

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
