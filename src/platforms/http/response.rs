//! An answer, and what its status means on any platform.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Effect;
use super::redact::clean_text;
use crate::domain::json_fault;
use crate::platforms::moments::{any_form, http_date};
use crate::platforms::{AdapterError, ErrorClass};
use crate::telemetry::clock;

/// How much of a vendor's answer the log may quote.
const QUOTE_MAX: usize = 500;
/// How much of it is looked through for that: a character has four bytes, and a secret may stand at
/// the end.
const QUOTE_FROM: usize = 16 << 10;

/// Longest text of a platform's that a failure is published with, in characters.
const WORDS_MAX: usize = 300;
/// Messages of a list that count.
const MESSAGES_MAX: usize = 5;
/// Where platforms put what they say to a person, the most telling first: Jira, then what is usual
/// (RFC 9457's `detail`, OAuth's `error_description`), Salesforce's list. A place may hold a text,
/// or a list of texts or of objects with one.
const PLACES: [&str; 13] = [
    "/errorMessages",
    "/error/message",
    "/message",
    "/messages",
    "/error_description",
    "/detail",
    "/error/detail",
    "/errors",
    "/description",
    "/title",
    "/error",
    "/reason",
    "/0/message",
];

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

/// A page of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit<T> {
    /// All of it.
    Whole(T),
    /// There was more of it than the request takes: [`Request::up_to`](super::Request::up_to).
    TooLong,
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
    /// An answer that cannot be read is not to be trusted: [`ErrorClass::Unknown`] after a create,
    /// else transient.
    pub fn json<T: DeserializeOwned>(&self, effect: Effect) -> Result<T, AdapterError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let text = format!(
                "the platform answered {} with a body that cannot be read",
                self.status
            );
            let class = lost(effect, ErrorClass::Transient { retry_after: None });
            let error = AdapterError::new(class, text)
                .with_status(self.status)
                .with_internal(json_fault(&error));
            if self.truncated {
                error.with_internal(format!("the body is cut after {} bytes", self.body.len()))
            } else {
                error
            }
        })
    }

    /// The same of a page whose size the request can say: one that is too long can be asked for
    /// again with fewer items.
    ///
    /// # Errors
    /// As [`Response::json`], but not for a body that is cut.
    pub fn page<T: DeserializeOwned>(&self, effect: Effect) -> Result<Fit<T>, AdapterError> {
        if self.truncated {
            return Ok(Fit::TooLong);
        }
        self.json(effect).map(Fit::Whole)
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After` in any form, as a wait from `now`.
    #[must_use]
    pub fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        retry_after(&self.headers, now)
    }

    /// What the log may quote of it.
    #[must_use]
    pub fn quote(&self) -> String {
        // Redacted before it is cut: a cut may leave of a secret what nobody finds again.
        let head = self.body.get(..QUOTE_FROM).unwrap_or(&self.body);
        let text = clean_text(String::from_utf8_lossy(head).into_owned());
        let text: String = text.chars().take(QUOTE_MAX).collect();
        format!("{}: {text}", self.status)
    }

    /// What a refusal says to a person, in the platform's own words: without what is secret, on one
    /// line, and short. `None` where it says nothing but its status, or is a page for a browser.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let said = match serde_json::from_slice::<Value>(&self.body) {
            Ok(body) => PLACES
                .iter()
                .find_map(|place| body.pointer(place).and_then(texts_of))?,
            Err(_) => self.plain_text()?,
        };
        // Redacted before it is cut, as in `quote`.
        let said = clean_text(said);
        let line: Vec<&str> = said
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
            .collect();
        let line = line.join(" ");
        let mut words: String = line.chars().take(WORDS_MAX).collect();
        if words.len() < line.len() {
            words.push('…');
        }
        (!words.is_empty()).then_some(words)
    }

    /// A body that is plain text, whatever its content type says; neither a page nor a document
    /// that was cut.
    fn plain_text(&self) -> Option<String> {
        let head = self.body.get(..QUOTE_FROM).unwrap_or(&self.body);
        let is_text = !head.contains(&0);
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start_matches('\u{feff}').trim();
        (is_text && !text.starts_with(['<', '{', '['])).then(|| text.to_owned())
    }

    /// The class that a status has on any platform, with the platform's own words.
    ///
    /// # Errors
    /// Always, but for a 2xx.
    pub fn check(&self, effect: Effect, what: &str) -> Result<(), AdapterError> {
        self.check_status(effect, what).map_err(|mut error| {
            if let Some(words) = self.words() {
                error.public = format!("{}; it says: {words}", error.public);
            }
            error
        })
    }

    /// The same without its words: a token endpoint may repeat a secret that nobody has learned
    /// yet.
    ///
    /// # Errors
    /// Always, but for a 2xx.
    pub fn check_status(&self, effect: Effect, what: &str) -> Result<(), AdapterError> {
        if self.is_success() {
            return Ok(());
        }
        let retry_after = self.retry_after(clock::now());
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

/// The texts at a place of a refusal.
fn texts_of(value: &Value) -> Option<String> {
    let text = |value: &Value| -> Option<String> {
        let places = ["message", "detail", "title", "description"];
        let text = value
            .as_str()
            .or_else(|| places.iter().find_map(|name| value[*name].as_str()))?;
        (!text.trim().is_empty()).then(|| text.trim().to_owned())
    };
    let texts: Vec<String> = match value {
        Value::String(_) => text(value).into_iter().collect(),
        Value::Array(items) => items.iter().filter_map(text).take(MESSAGES_MAX).collect(),
        // What an object says is said by one of its members, which is a place of its own or a
        // field.
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    };
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// `Retry-After` in any form, as a wait from `now`.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    // The platform's moments are counted by its own clock.
    let theirs = text("date").and_then(http_date).unwrap_or(now);
    any_form(text("retry-after")?, theirs)
}

/// The class of a lost answer.
pub(in crate::platforms) fn lost(effect: Effect, harmless: ErrorClass) -> ErrorClass {
    match effect {
        Effect::Read | Effect::Idempotent => harmless,
        Effect::Create => ErrorClass::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

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

    #[test]
    fn retry_after_is_read_in_every_form() {
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
        // Zoom's daily limit.
        assert_eq!(wait("2026-01-31T12:01:00Z"), Some(Duration::from_secs(60)));
        assert_eq!(wait("soon"), None);
        // By a clock that is an hour ahead of ours.
        let ahead = [
            ("date", "Sat, 31 Jan 2026 13:00:00 GMT"),
            ("retry-after", "Sat, 31 Jan 2026 13:00:30 GMT"),
        ];
        assert_eq!(
            response(429, &ahead).retry_after(now),
            Some(Duration::from_secs(30))
        );
    }

    #[test]
    fn a_page_that_is_too_long_is_told_from_one_that_cannot_be_read() {
        let page = |body: &'static str, truncated| {
            let answer = Response {
                body: Bytes::from_static(body.as_bytes()),
                truncated,
                ..response(200, &[])
            };
            let read: Result<Fit<Vec<u8>>, _> = answer.page(Effect::Read);
            read.map_err(|error| error.class)
        };

        assert_eq!(page("[1,2]", false), Ok(Fit::Whole(vec![1, 2])));
        assert_eq!(page("[1,2", true), Ok(Fit::TooLong));
        let transient = ErrorClass::Transient { retry_after: None };
        assert_eq!(page("[1,2", false), Err(transient));
    }

    fn says(headers: &[(&'static str, &str)], body: &str) -> Option<String> {
        let answer = Response {
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..response(400, headers)
        };
        answer.words()
    }

    #[test]
    fn a_refusal_is_told_in_the_platforms_own_words() {
        let words = |body: &str| says(&[("content-type", "application/json")], body);

        let jira = r#"{"errorMessages": ["Issue does not exist", "", "or you may not see it"], "errors": {}}"#;
        assert_eq!(
            words(jira).as_deref(),
            Some("Issue does not exist; or you may not see it")
        );
        let usual = [
            r#"{"message": "No such list"}"#,
            r#"{"error": {"code": 7, "message": "No such list"}}"#,
            r#"{"error": "No such list"}"#,
            r#"{"errorMessages": [], "detail": " No such\nlist "}"#,
            r#"{"errors": [{"code": 3, "detail": "No such list"}]}"#,
            r#"[{"errorCode": "X", "message": "No such list"}]"#,
        ];
        for body in usual {
            assert_eq!(words(body).as_deref(), Some("No such list"), "{body}");
        }
        for nothing in [
            "{}",
            "[]",
            "",
            r#"{"message": 7, "errors": {"a": "b"}}"#,
            r#"{"cut"#,
        ] {
            assert_eq!(words(nothing), None, "{nothing}");
        }
        let plain = [("content-type", "text/plain; charset=utf-8")];
        assert_eq!(
            says(&plain, "Not\tnow\r\n\u{7}please").as_deref(),
            Some("Not now please")
        );
        assert_eq!(says(&[], "Not now").as_deref(), Some("Not now"));
        let page = "<!doctype html><title>Gateway</title>";
        assert_eq!(says(&[("content-type", "text/html")], page), None);
        assert_eq!(says(&plain, page), None);
    }

    #[test]
    fn what_a_platform_says_is_cut_to_a_length() {
        let long = "ä".repeat(2 * WORDS_MAX);

        let words = says(&[], &long).unwrap();

        assert_eq!(words.chars().count(), WORDS_MAX + 1);
        assert!(words.ends_with('…'));
    }

    #[tokio::test]
    async fn a_secret_that_a_platform_says_back_is_not_said_on() {
        use super::super::redact::{Redaction, learn, redacting};

        let body = format!(
            "{} s3cr3t-t0k3n-long is no token",
            "x".repeat(WORDS_MAX - 6)
        );
        let redaction = Redaction::default();
        let words = redacting(&redaction, async {
            learn("s3cr3t-t0k3n-long");
            says(&[], &body)
        })
        .await;

        let words = words.unwrap();
        assert!(!words.contains("s3c"), "{words}");
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
}
