//! A request as an adapter builds it: data, not yet IO.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::BODY_MAX;
use super::hosts::{GRANTED_HOST, HostSuffix};
use super::part::{self, Part};
use crate::platforms::path::below;
use crate::platforms::{AdapterError, ErrorClass, File};

/// Most bytes that [`Request::up_to`] may ask for.
const BODY_MOST: usize = 16 << 20;

/// What a request does to the platform if it arrives: decides how a lost answer is classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing: may be repeated in place.
    Read,
    /// Changes something, but a second time changes nothing more (setting a field): a lost answer
    /// is transient.
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
    /// A header of any name whose whole value is the secret (`x-sn-apikey: …`, `Authorization:
    /// OAuth …`).
    Header(HeaderName, SecretString),
    /// `Authorization: Bearer` with the access token of the integration's OAuth flow, cached and
    /// refreshed once for all waiters and workers; a 401 refreshes it once more in place.
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
    /// `multipart/form-data`: texts, JSON and files, in this order.
    Multipart(Vec<Part>),
    /// A JSON object with one member more: the bytes of a file in base64. They are read as they are
    /// sent, so that no file is in memory three times.
    Base64Json {
        /// The other members.
        json: Map<String, Value>,
        /// The name of the member with the bytes.
        member: &'static str,
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
    /// Absolute URL with its query. [`Request::granted`] has one whose beginning is not known yet.
    pub url: Url,
    /// Headers besides `User-Agent`, `Content-Type` and `Authorization`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body.
    pub body: Body,
    /// Credentials.
    pub auth: Auth,
    /// What it does if it arrives.
    pub effect: Effect,
    /// Whether nobody could find out what became of it: then it does not go over a connection that
    /// was idle, which the server may be closing at this moment.
    pub is_unrepeatable: bool,
    /// Whether everybody may see what a form says: a message's text is none of the secrets that
    /// forms usually are.
    pub form_is_open: bool,
    /// Whether the URL is itself a credential: nobody is shown more of it than its host.
    pub url_is_secret: bool,
    /// Where a redirect may lead; empty: none is followed.
    pub redirects_to: &'static [HostSuffix],
    /// Most bytes of the answer that are read, after decompression.
    pub body_max: usize,
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
            is_unrepeatable: false,
            form_is_open: false,
            url_is_secret: false,
            redirects_to: &[],
            body_max: BODY_MAX,
        }
    }

    /// A request below the address that comes with the access token (Salesforce's `instance_url`,
    /// Zoom's `api_url`). Until the token is there the URL has a host that no resolver knows, so
    /// that it can lead nowhere else. A query may be added to it as to any other.
    ///
    /// # Errors
    /// As [`below`].
    pub fn granted(method: Method, path: &[&str], effect: Effect) -> Result<Self, AdapterError> {
        let base = Url::parse(GRANTED_HOST).map_err(|error| {
            let text = "the address of a request cannot be built";
            AdapterError::new(ErrorClass::Internal, text).with_internal(error.to_string())
        })?;
        Ok(Self::new(method, below(&base, path)?, Auth::OAuth, effect))
    }

    /// Whether the beginning of the URL comes with the access token.
    pub(super) fn is_granted(&self) -> bool {
        self.url.as_str().starts_with(GRANTED_HOST)
    }

    /// Follows redirects to these hosts: see [`HostSuffix`].
    #[must_use]
    pub const fn follow(mut self, hosts: &'static [HostSuffix]) -> Self {
        self.redirects_to = hosts;
        self
    }

    /// Reads up to so many bytes of the answer, where more than the usual 2 MiB are to be expected;
    /// 16 MiB at most.
    #[must_use]
    pub fn up_to(mut self, bytes: usize) -> Self {
        self.body_max = bytes.min(BODY_MOST);
        self
    }

    /// Adds a query.
    #[must_use]
    pub fn query<K: AsRef<str>, V: AsRef<str>>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_some() {
            self.url.query_pairs_mut().extend_pairs(pairs);
        }
        self
    }

    /// Adds a form.
    #[must_use]
    pub fn form(mut self, fields: Vec<(String, SecretString)>) -> Self {
        self.body = Body::Form(fields);
        self
    }

    /// Adds a form without secrets.
    #[must_use]
    pub fn open_form(self, fields: Vec<(&'static str, String)>) -> Self {
        let fields = fields.into_iter();
        let fields = fields.map(|(name, value)| (name.to_owned(), value.into()));
        Self {
            form_is_open: true,
            ..self.form(fields.collect())
        }
    }

    /// Adds a body of several parts.
    #[must_use]
    pub fn multipart(mut self, parts: Vec<Part>) -> Self {
        self.body = Body::Multipart(parts);
        self
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
        } else if self.is_granted() {
            let path = &self.url[url::Position::BeforePath..];
            format!("{{granted}}{path}")
        } else {
            self.url.to_string()
        }
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        // Straight into bytes: `to_string` would go through the formatter, piece by piece. A value
        // whose keys are text has no way to fail.
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
        let mut headers: Map<String, Value> = self
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
            Auth::Header(name, _) if *name == AUTHORIZATION => "••••".into(),
            Auth::Header(name, _) => {
                headers.insert(name.to_string(), "••••".into());
                Value::Null
            }
        };
        let body = match &self.body {
            Body::Empty => Value::Null,
            Body::Json(bytes) => serde_json::from_slice(bytes).unwrap_or(Value::Null),
            Body::Form(fields) => fields
                .iter()
                .map(|(name, value)| {
                    let shown = if self.form_is_open {
                        value.expose_secret()
                    } else {
                        "••••"
                    };
                    (name.clone(), Value::from(shown))
                })
                .collect::<Map<_, _>>()
                .into(),
            Body::Multipart(parts) => part::masked(parts),
            Body::Base64Json { json, member, file } => {
                let mut shown = json.clone();
                shown.insert((*member).to_owned(), part::masked_file(file));
                shown.into()
            }
            Body::Raw(file) => part::masked_file(file),
        };
        json!({
            "method": self.method.as_str(), "url": self.shown_url(), "headers": headers,
            "authorization": authorization, "body": body,
        })
    }
}

pub(super) fn host(request: &Request) -> &str {
    if request.is_granted() {
        return "the platform";
    }
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

    #[test]
    fn a_secret_header_is_masked_under_its_own_name() {
        let with = |name: HeaderName, secret: &str| {
            let auth = Auth::Header(name, secret.to_owned().into());
            let url = "https://x.example/y".parse().unwrap();
            let request = Request::new(Method::GET, url, auth, Effect::Read);
            assert!(!format!("{request:?}").contains("t0ps3cret"));
            request.masked()
        };

        let own = with(HeaderName::from_static("x-sn-apikey"), "t0ps3cret");
        assert_eq!(own["headers"], json!({ "x-sn-apikey": "••••" }));
        assert_eq!(own["authorization"], Value::Null);
        let standard = with(AUTHORIZATION, "OAuth oauth_token=\"t0ps3cret\"");
        assert_eq!(standard["headers"], json!({}));
        assert_eq!(standard["authorization"], "••••");
    }

    #[test]
    fn a_request_below_a_granted_address_shows_what_is_known_of_it() {
        let path = ["sobjects", "Case", "a/b"];
        let request = Request::granted(Method::GET, &path, Effect::Read).unwrap();
        let request = request.query([("fields", "Id,Status")]);

        let shown = request.masked();

        assert!(request.is_granted());
        assert_eq!(
            shown["url"],
            "{granted}/sobjects/Case/a%2Fb?fields=Id%2CStatus"
        );
        assert_eq!(shown["authorization"], "Bearer ••••");
        assert_eq!(host(&request), "the platform");
        let out = Request::granted(Method::GET, &["..", "x"], Effect::Read);
        assert_eq!(out.unwrap_err().class, ErrorClass::Internal);
    }
}
