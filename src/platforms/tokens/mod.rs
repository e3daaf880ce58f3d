//! OAuth as data: five ways to an access token, four ways to say who asks, and one reader of what
//! comes back. A refresh token that comes back replaces the one before; where none does, that one
//! stays (the store sees to it).

mod jwt;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

pub use self::jwt::{RsaKey, jwt};
use super::path::below;
use super::{
    AdapterError, Auth, Body, Effect, ErrorClass, HostSuffix, Request, Response, TokenFlow,
    TokenGrant,
};

use crate::telemetry::clock;

/// Life of an access token where neither the answer nor the flow says.
const LIFE: Duration = Duration::from_secs(3600);
/// Life of an assertion: Salesforce takes three minutes at most.
const ASSERTION_LIFE: i64 = 170;
/// Life of an application's own token: GitHub takes ten minutes at most, from a moment ago, as
/// clocks differ.
const APP_LIFE: i64 = 540;
const APP_BEFORE: i64 = 60;
/// Codes of a token endpoint (RFC 6749 §5.2, and what vendors were seen to add) that say that the
/// client is not known.
const CLIENT_REFUSED: [&str; 5] = [
    "invalid_client",
    "invalid_client_id",
    "unauthorized_client",
    "bad_client_secret",
    "invalid_client_credentials",
];
/// Codes by which a token endpoint says "later".
const LATER: [&str; 4] = [
    "rate_limit_exceeded",
    "slow_down",
    "temporarily_unavailable",
    "server_error",
];

/// How an access token is got.
#[derive(Clone)]
pub enum Grant {
    /// With a refresh token: the integration's own first, then the latest stored one.
    Refresh(SecretString),
    /// By the client itself.
    ClientCredentials,
    /// By the client for one account (Zoom's `account_credentials`).
    Account(String),
    /// By a signed assertion about a user (RFC 7523; Salesforce).
    JwtBearer {
        /// Signs.
        key: RsaKey,
        /// Whom it is about.
        subject: String,
        /// Whom it is for.
        audience: String,
    },
    /// By a signed token of an application (GitHub), whose answer names a moment, not a life.
    GithubApp(RsaKey),
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refresh(_) => "Refresh(••••)",
            Self::ClientCredentials => "ClientCredentials",
            Self::Account(_) => "Account",
            Self::JwtBearer { .. } => "JwtBearer(••••)",
            Self::GithubApp(_) => "GithubApp(••••)",
        })
    }
}

/// How the client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Its id and secret are fields of the form.
    Form,
    /// They are members of a JSON body.
    Json,
    /// They are user and password; the rest is a form.
    Basic,
    /// The grant says it. The rest is a form.
    None,
}

/// Who asks for a token.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret, where it has one.
    pub secret: Option<SecretString>,
    /// How it says so.
    pub auth: ClientAuth,
}

/// Where a grant says where the platform is.
#[derive(Debug, Clone)]
pub struct ApiBase {
    /// Pointers to it in the answer; the first that is there counts.
    pub at: &'static [&'static str],
    /// What follows it.
    pub below: &'static [&'static str],
    /// Hosts that it may name, and what is below them. Besides them: the token endpoint's own,
    /// which got the credentials.
    pub hosts: &'static [&'static str],
    /// Where the platform is if the answer does not say.
    pub or: Option<Url>,
}

/// The OAuth flow of one integration.
#[derive(Debug)]
pub struct OauthFlow {
    vendor: &'static str,
    token_url: Url,
    grant: Grant,
    client: Client,
    scope: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    life: Duration,
    api_base: Option<ApiBase>,
    refuses: fn(&Response) -> Result<(), AdapterError>,
    is_stale: fn(&Response) -> bool,
}

impl OauthFlow {
    /// A flow at a vendor's token endpoint.
    #[must_use]
    pub fn new(vendor: &'static str, token_url: Url, grant: Grant, client: Client) -> Self {
        Self {
            vendor,
            token_url,
            grant,
            client,
            scope: None,
            headers: Vec::new(),
            life: LIFE,
            api_base: None,
            refuses: |_| Ok(()),
            is_stale: |answer| answer.status == 401,
        }
    }

    /// Asks for this scope.
    #[must_use]
    pub fn scope(mut self, scope: Option<String>) -> Self {
        self.scope = scope;
        self
    }

    /// Sends this header too.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The life of a token where the answer says none.
    #[must_use]
    pub const fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// The answer says where the platform is.
    #[must_use]
    pub fn api_base(mut self, api_base: ApiBase) -> Self {
        self.api_base = Some(api_base);
        self
    }

    /// Asks this first what an answer means, for a platform that refuses with a success.
    #[must_use]
    pub const fn refused_by(mut self, refuses: fn(&Response) -> Result<(), AdapterError>) -> Self {
        self.refuses = refuses;
        self
    }

    /// How the platform says that a token is no longer good, if not by a 401.
    #[must_use]
    pub const fn stale_by(mut self, is_stale: fn(&Response) -> bool) -> Self {
        self.is_stale = is_stale;
        self
    }

    /// The fields of the request, in the order in which vendors show them.
    fn fields(
        &self,
        refresh_token: Option<&SecretString>,
    ) -> Result<Vec<(&'static str, SecretString)>, AdapterError> {
        let open = |text: &str| SecretString::from(text.to_owned());
        let mut fields = Vec::new();
        match &self.grant {
            Grant::Refresh(own) => {
                fields.push(("grant_type", open("refresh_token")));
                fields.push(("refresh_token", refresh_token.unwrap_or(own).clone()));
            }
            Grant::ClientCredentials => fields.push(("grant_type", open("client_credentials"))),
            Grant::Account(account) => {
                fields.push(("grant_type", open("account_credentials")));
                fields.push(("account_id", open(account)));
            }
            Grant::JwtBearer {
                key,
                subject,
                audience,
            } => {
                let until = clock::now().timestamp() + ASSERTION_LIFE;
                let claims = json!({
                    "iss": self.client.id, "sub": subject, "aud": audience, "exp": until,
                });
                let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                fields.push(("grant_type", open(kind)));
                fields.push(("assertion", jwt(key, &claims)?));
            }
            Grant::GithubApp(_) => return Ok(fields),
        }
        if matches!(self.client.auth, ClientAuth::Form | ClientAuth::Json) {
            fields.push(("client_id", open(&self.client.id)));
            let secret = self.client.secret.clone();
            fields.extend(secret.map(|secret| ("client_secret", secret)));
        }
        let scope = self.scope.as_deref();
        fields.extend(scope.map(|scope| ("scope", open(scope))));
        Ok(fields)
    }

    fn auth(&self) -> Result<Auth, AdapterError> {
        if let Grant::GithubApp(key) = &self.grant {
            let now = clock::now().timestamp();
            let claims = json!({
                "iss": self.client.id, "iat": now - APP_BEFORE, "exp": now + APP_LIFE,
            });
            return Ok(Auth::Bearer(jwt(key, &claims)?));
        }
        Ok(match (self.client.auth, &self.client.secret) {
            (ClientAuth::Basic, Some(secret)) => Auth::Basic {
                user: self.client.id.clone(),
                secret: secret.clone(),
            },
            (ClientAuth::Basic, None)
            | (ClientAuth::Form | ClientAuth::Json | ClientAuth::None, _) => Auth::None,
        })
    }

    /// What a token endpoint refuses. Its body may say back what it was sent, so nothing of it is
    /// kept but a known code.
    fn refusal(&self, answer: &Response) -> Option<AdapterError> {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let code = body.as_ref().and_then(|body| body.get("error")?.as_str());
        if code.is_some_and(|code| LATER.contains(&code)) {
            let text = format!("{} gives no access token now; it will later", self.vendor);
            let retry_after = answer.retry_after(clock::now());
            let class = ErrorClass::RateLimited { retry_after };
            return Some(AdapterError::new(class, text).with_status(answer.status));
        }
        if !matches!(answer.status, 400 | 401 | 403) {
            return None;
        }
        let is_client = code.is_some_and(|code| CLIENT_REFUSED.contains(&code));
        let (what, remedy) = match &self.grant {
            Grant::GithubApp(_) => (
                "the application's key",
                "compare its id with the key, and look whether it is still installed",
            ),
            _ if is_client => ("the client", "compare its id and its secret"),
            Grant::Refresh(_) => ("the refresh token", "authorize the integration anew"),
            Grant::ClientCredentials => ("the client", "compare its id and its secret"),
            Grant::Account(_) => (
                "the account or the client",
                "compare their ids and the secret",
            ),
            Grant::JwtBearer { .. } => (
                "the assertion",
                "compare the key with the certificate there, and let the user approve the \
                 application once",
            ),
        };
        let text = format!("{} does not take {what}; {remedy}", self.vendor);
        Some(AdapterError::new(ErrorClass::Authentication, text).with_status(answer.status))
    }

    fn base_of(&self, body: &Value) -> Result<Option<Url>, AdapterError> {
        let Some(wanted) = &self.api_base else {
            return Ok(None);
        };
        let said = wanted.at.iter().find_map(|at| body.pointer(at)?.as_str());
        let Some(said) = said.map(str::trim).filter(|said| !said.is_empty()) else {
            let none = || {
                let text = format!(
                    "{} gave an access token without the address that it is for",
                    self.vendor
                );
                AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
            };
            return wanted.or.clone().map(Some).ok_or_else(none);
        };
        let url = Url::parse(said)
            .ok()
            .filter(|url| self.may_be_base(url, wanted));
        let url = url.ok_or_else(|| {
            let text = format!(
                "{} names another address for its interface than its own, and nothing is sent \
                 there",
                self.vendor
            );
            AdapterError::new(ErrorClass::Egress, text)
        })?;
        below(&url, wanted.below).map(Some)
    }

    /// Whether the tokens may be sent there: to the vendor, or to whom the credentials were sent
    /// already.
    fn may_be_base(&self, url: &Url, wanted: &ApiBase) -> bool {
        let Some(host) = url.host_str() else {
            return false;
        };
        let is_vendors = wanted
            .hosts
            .iter()
            .any(|name| HostSuffix::covers(name, host));
        let is_bare = url.username().is_empty() && url.password().is_none();
        let is_own = url.origin() == self.token_url.origin();
        is_bare && (is_own || (is_vendors && url.scheme() == "https"))
    }
}

impl TokenFlow for OauthFlow {
    fn request(&self, refresh_token: Option<&SecretString>) -> Result<Request, AdapterError> {
        // Refresh tokens rotate: a lost answer may have used the token up, which the next refresh
        // then says.
        let url = self.token_url.clone();
        let mut request = Request::new(Method::POST, url, self.auth()?, Effect::Idempotent);
        request.headers.clone_from(&self.headers);
        let fields = self.fields(refresh_token)?;
        request.body = match self.client.auth {
            _ if fields.is_empty() => Body::Empty,
            ClientAuth::Json => {
                let members: Map<String, Value> = fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.expose_secret().into()))
                    .collect();
                Body::Json(Value::from(members).to_string().into())
            }
            ClientAuth::Form | ClientAuth::Basic | ClientAuth::None => {
                let fields = fields.into_iter();
                Body::Form(
                    fields
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }
        };
        Ok(request)
    }

    fn read(&self, response: &Response) -> Result<TokenGrant, AdapterError> {
        (self.refuses)(response)?;
        if !response.is_success()
            && let Some(refusal) = self.refusal(response)
        {
            return Err(refusal);
        }
        let bare = |error| AdapterError {
            internal: None,
            ..error
        };
        response
            .check_status(Effect::Read, "getting an access token")
            .map_err(bare)?;
        let body: Value = response.json(Effect::Read)?;
        let text = |name: &str| {
            let text = body.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
                .map(|text| SecretString::from(text.to_owned()))
        };
        let Some(access_token) = text("access_token").or_else(|| text("token")) else {
            let text = format!(
                "{} answered {} without an access token",
                self.vendor, response.status
            );
            return Err(
                AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
                    .with_status(response.status),
            );
        };
        let api_base = self.base_of(&body)?;
        Ok(TokenGrant {
            access_token,
            refresh_token: text("refresh_token"),
            expires_in: life_of(&body, clock::now()).unwrap_or(self.life),
            api_base,
        })
    }

    fn is_stale(&self, response: &Response) -> bool {
        (self.is_stale)(response)
    }
}

/// `expires_in` in seconds, which some write as text, or the moment `expires_at`.
fn life_of(body: &Value, now: DateTime<Utc>) -> Option<Duration> {
    let seconds = body.get("expires_in").and_then(|value| {
        let text = value.as_str().and_then(|text| text.trim().parse().ok());
        value.as_u64().or(text)
    });
    let until = || {
        let at = body.get("expires_at")?.as_str()?;
        let at = DateTime::parse_from_rfc3339(at).ok()?;
        (at.with_timezone(&Utc) - now).to_std().ok()
    };
    seconds.map(Duration::from_secs).or_else(until)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::{ACCEPT, HeaderMap};

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    fn key() -> RsaKey {
        RsaKey::from_pem("k", &secret(include_str!("testdata/pkcs8.pem"))).unwrap()
    }

    fn client(auth: ClientAuth) -> Client {
        Client {
            id: "c1d".into(),
            secret: Some(secret("s3cr3t")),
            auth,
        }
    }

    fn flow(grant: Grant, auth: ClientAuth) -> OauthFlow {
        let at = url("https://login.example/oauth/token");
        OauthFlow::new("Acme", at, grant, client(auth))
    }

    fn refresh() -> Grant {
        Grant::Refresh(secret("0wn"))
    }

    fn form(request: &Request) -> String {
        let Body::Form(fields) = &request.body else {
            panic!("{:?} is no form", request.body);
        };
        let fields = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", value.expose_secret()));
        fields.collect::<Vec<_>>().join("&")
    }

    fn answer(status: u16, body: &Value) -> Response {
        Response {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_string()),
            truncated: false,
        }
    }

    #[test]
    fn each_grant_asks_in_its_own_way() {
        let stored = secret("st0red");
        let asked = |grant: Grant, auth| flow(grant, auth).request(Some(&stored)).unwrap();

        // Slack, HubSpot, Asana
        assert_eq!(
            form(&asked(refresh(), ClientAuth::Form)),
            "grant_type=refresh_token&refresh_token=st0red&client_id=c1d&client_secret=s3cr3t"
        );
        let first = flow(refresh(), ClientAuth::Form).request(None).unwrap();
        assert!(form(&first).contains("refresh_token=0wn&"));
        // Jira, Zendesk
        let json = asked(refresh(), ClientAuth::Json);
        assert_eq!(
            json.masked()["body"],
            json!({
                "grant_type": "refresh_token", "refresh_token": "st0red",
                "client_id": "c1d", "client_secret": "s3cr3t",
            })
        );
        // ServiceNow, Zendesk, Microsoft
        let scoped =
            flow(Grant::ClientCredentials, ClientAuth::Form).scope(Some("read write".into()));
        assert_eq!(
            form(&scoped.request(None).unwrap()),
            "grant_type=client_credentials&client_id=c1d&client_secret=s3cr3t&scope=read write"
        );
        // Zoom
        let account = asked(Grant::Account("acc0unt".into()), ClientAuth::Basic);
        assert_eq!(
            form(&account),
            "grant_type=account_credentials&account_id=acc0unt"
        );
        assert!(matches!(&account.auth, Auth::Basic { user, .. } if user == "c1d"));
        // A public client of Salesforce has no secret.
        let mut public = flow(refresh(), ClientAuth::Form);
        public.client.secret = None;
        assert!(!form(&public.request(None).unwrap()).contains("client_secret"));
        for request in [json, account] {
            assert_eq!(request.effect, Effect::Idempotent);
            assert_eq!(request.url.as_str(), "https://login.example/oauth/token");
        }
    }

    fn claims(token: &str) -> Value {
        use base64::Engine as _;
        let claims = token.split('.').nth(1).unwrap();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(claims)
            .unwrap();
        serde_json::from_slice(&claims).unwrap()
    }

    #[test]
    fn an_assertion_is_about_its_user_and_lives_three_minutes_at_most() {
        let grant = Grant::JwtBearer {
            key: key(),
            subject: "bot@acme.example".into(),
            audience: "https://login.salesforce.com".into(),
        };
        let request = flow(grant, ClientAuth::None).request(None).unwrap();

        let form = form(&request);
        let (kind, assertion) = form.split_once("&assertion=").unwrap();
        assert_eq!(
            kind,
            "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer"
        );
        let claims = claims(assertion);
        assert_eq!(claims["iss"], "c1d");
        assert_eq!(claims["sub"], "bot@acme.example");
        assert_eq!(claims["aud"], "https://login.salesforce.com");
        let life = claims["exp"].as_i64().unwrap() - Utc::now().timestamp();
        assert!((100..=180).contains(&life), "{life}");
        assert!(matches!(request.auth, Auth::None));
    }

    #[test]
    fn an_application_shows_its_own_token_and_gets_one_until_a_moment() {
        let flow = flow(Grant::GithubApp(key()), ClientAuth::None).header(
            ACCEPT,
            HeaderValue::from_static("application/vnd.github+json"),
        );
        let request = flow.request(None).unwrap();

        let Auth::Bearer(token) = &request.auth else {
            panic!("it shows its token");
        };
        let claims = claims(token.expose_secret());
        let now = Utc::now().timestamp();
        assert_eq!(claims["iss"], "c1d");
        assert!(claims["iat"].as_i64().unwrap() <= now - 59);
        assert!((300..=600).contains(&(claims["exp"].as_i64().unwrap() - now)));
        assert!(matches!(request.body, Body::Empty));
        assert_eq!(request.headers.len(), 1);
        let until = Utc::now() + chrono::TimeDelta::minutes(60);
        let body = json!({ "token": "ghs_x", "expires_at": until.to_rfc3339() });
        let grant = flow.read(&answer(201, &body)).unwrap();
        assert_eq!(grant.access_token.expose_secret(), "ghs_x");
        assert!((3590..=3600).contains(&grant.expires_in.as_secs()));
        let refused = flow.read(&answer(401, &json!({ "message": "x" })));
        let refused = refused.unwrap_err();
        assert_eq!(refused.class, ErrorClass::Authentication);
        assert!(refused.public.contains("the application's key"));
    }

    #[test]
    fn a_grant_is_read_whatever_it_leaves_out() {
        let read = |body: Value| {
            let flow = flow(refresh(), ClientAuth::Form).life(Duration::from_secs(7200));
            let grant = flow.read(&answer(200, &body)).unwrap();
            let refresh = grant.refresh_token;
            let refresh = refresh.map(|token| token.expose_secret().to_owned());
            (refresh, grant.expires_in.as_secs())
        };

        let rotated = json!({ "access_token": "a", "refresh_token": "b", "expires_in": 1800 });
        assert_eq!(read(rotated), (Some("b".into()), 1800));
        // Asana and Google keep the one before, Salesforce says no life, Microsoft wrote it as
        // text.
        assert_eq!(
            read(json!({ "access_token": "a", "expires_in": "3599" })),
            (None, 3599)
        );
        assert_eq!(
            read(json!({ "access_token": "a", "refresh_token": "" })),
            (None, 7200)
        );
        let none = flow(refresh(), ClientAuth::Form).read(&answer(200, &json!({ "ok": 1 })));
        assert_eq!(
            none.unwrap_err().class,
            ErrorClass::Transient { retry_after: None }
        );
    }

    #[test]
    fn a_refusal_names_what_to_mend_and_repeats_nothing() {
        let refused = |grant, status, error: &str| {
            let body = json!({ "error": error, "error_description": "you sent s3cr3t" });
            let error = flow(grant, ClientAuth::Form).read(&answer(status, &body));
            let error = error.unwrap_err();
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
            (error.class, error.public)
        };
        let account = || Grant::Account("a".into());

        for (grant, status, code, text) in [
            (
                refresh(),
                400,
                "invalid_grant",
                "Acme does not take the refresh token; authorize the integration anew",
            ),
            (
                refresh(),
                401,
                "invalid_client",
                "Acme does not take the client; compare its id and its secret",
            ),
            (
                Grant::ClientCredentials,
                403,
                "access_denied",
                "Acme does not take the client; compare its id and its secret",
            ),
            (
                account(),
                400,
                "invalid_request",
                "Acme does not take the account or the client; compare their ids and the secret",
            ),
        ] {
            let (class, public) = refused(grant, status, code);
            assert_eq!((class, public.as_str()), (ErrorClass::Authentication, text));
        }
        let (class, _) = refused(refresh(), 400, "rate_limit_exceeded");
        assert_eq!(class, ErrorClass::RateLimited { retry_after: None });
        let (class, _) = refused(refresh(), 503, "x");
        assert_eq!(class, ErrorClass::Transient { retry_after: None });
    }

    #[test]
    fn a_granted_address_is_the_vendor_s_or_the_token_endpoint_s_own() {
        static HOSTS: [&str; 2] = ["salesforce.com", "force.com"];
        let base = |said: Value, or: Option<&str>| {
            let flow = flow(Grant::ClientCredentials, ClientAuth::Form).api_base(ApiBase {
                at: &["/api_instance_url", "/instance_url"],
                below: &["services", "data"],
                hosts: &HOSTS,
                or: or.map(url),
            });
            let body = json!({ "access_token": "a", "instance_url": said });
            let grant = flow.read(&answer(200, &body));
            grant
                .map(|grant| grant.api_base.unwrap().to_string())
                .map_err(|error| error.code().to_string())
        };
        let good = |text: &str| Ok(format!("{text}/services/data"));
        let salesforce = "https://acme.my.salesforce.com";

        assert_eq!(base(json!(salesforce), None), good(salesforce));
        let own = "https://login.example";
        assert_eq!(base(json!(own), None), good(own));
        for strange in [
            "https://evil.example",
            "https://salesforce.com.evil.example",
            "https://evilsalesforce.com",
            "http://acme.my.salesforce.com",
            "https://salesforce.com@evil.example",
            "https://u:p@acme.my.salesforce.com",
            "https://login.example:8443",
            "no address",
        ] {
            let refused = base(json!(strange), None);
            assert_eq!(refused, Err("egress_blocked".into()), "{strange}");
        }
        assert_eq!(base(Value::Null, None), Err("platform_unavailable".into()));
        let or = "https://api.zoom.us/v2";
        assert_eq!(base(Value::Null, Some(or)), Ok(or.to_owned()));
    }
}
