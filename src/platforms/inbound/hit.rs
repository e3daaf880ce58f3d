//! A delivery as it came.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::platforms::{AdapterError, ErrorClass};

/// A method and headers as they stand in a message.
#[must_use]
pub fn wire(method: &str, headers: &BTreeMap<String, String>) -> (Method, HeaderMap) {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::POST);
    (method, pairs.collect())
}

/// A delivery as it came.
#[derive(Debug)]
pub struct Hit<'a> {
    /// How.
    pub method: &'a Method,
    /// The public address that it was sent to, with its query as it came. Not what its `Host` says.
    pub url: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, as it came.
    pub body: &'a [u8],
    /// When it came.
    pub received_at: DateTime<Utc>,
    json: OnceLock<Option<Value>>,
}

impl<'a> Hit<'a> {
    /// A delivery.
    #[must_use]
    pub const fn new(
        method: &'a Method,
        url: &'a str,
        headers: &'a HeaderMap,
        body: &'a [u8],
        received_at: DateTime<Utc>,
    ) -> Self {
        Self {
            method,
            url,
            headers,
            body,
            received_at,
            json: OnceLock::new(),
        }
    }

    /// A header; `None` where it is not there, twice there, or no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The body as JSON; `None` where it is none.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        let read = || serde_json::from_slice(self.body).ok();
        self.json.get_or_init(read).as_ref()
    }

    /// The body as what the platform sends.
    ///
    /// # Errors
    /// Class validation, where it is not that.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, AdapterError> {
        serde_json::from_slice(self.body).map_err(|error| {
            let text = "the delivery is not what the platform sends";
            let class = ErrorClass::Validation {
                fields: std::collections::BTreeMap::new(),
            };
            // The fault's text quotes nothing of the body but names and kinds.
            AdapterError::new(class, text).with_internal(error.to_string())
        })
    }

    /// Whether the body is a form.
    #[must_use]
    pub fn is_form(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    /// The fields of a form, in the order they came.
    #[must_use]
    pub fn form(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        if self.is_form() {
            url::form_urlencoded::parse(self.body).collect()
        } else {
            Vec::new()
        }
    }

    /// A member of the body: of JSON by its pointer (`/signature/token`), of a form by the name
    /// behind the slash. Texts and numbers.
    #[must_use]
    pub fn field(&self, pointer: &str) -> Option<String> {
        if self.is_form() {
            let name = pointer.strip_prefix('/').unwrap_or(pointer);
            let found = self.form().into_iter().find(|(key, _)| key == name);
            return found.map(|(_, value)| value.into_owned());
        }
        match self.value()?.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A parameter of the query.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.url.split_once('?')?;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The id of the `n`-th change of a delivery whose id is in this header; of one without it, the
    /// digest of its body.
    #[must_use]
    pub fn change_id(&self, header: &str, n: usize) -> String {
        match self.header(header).filter(|id| !id.is_empty()) {
            Some(id) => format!("{id}#{n}"),
            None => format!("{}#{n}", self.digest()),
        }
    }

    /// SHA-256 of the body, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(ring::digest::digest(&ring::digest::SHA256, self.body))
    }
}
