//! A request as an adapter builds it: data, not yet IO.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::platforms::File;

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

pub(super) fn host(request: &Request) -> &str {
    request.url.host_str().unwrap_or("the platform")
}

#[cfg(test)]
mod tests {
    use super::*;

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
