//! OAuth at a site: a token endpoint with the usual grants, access tokens that end, and refresh
//! tokens that rotate and work once.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::call::Call;
use super::{jwt, magic};

/// Begins what was made here, so that a made-up token of this form is told from a fixed one.
const ACCESS: &str = "sandbox-access-";
const REFRESH: &str = "sandbox-refresh-";
/// Tokens remembered; beyond it the expired ones go, and refresh tokens of new grants are refused.
const TOKENS_MAX: usize = 10_000;
/// `grant_type` of RFC 7523.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A way to an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// RFC 6749 §6. A first refresh token may be anything.
    Refresh,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// Zoom's: the client's credentials and an `account_id`.
    AccountCredentials,
    /// RFC 7523: an assertion signed by the application's key, and no secret.
    JwtBearer,
}

/// How a platform's token endpoint does it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) grants: &'static [Grant],
    /// Life of an access token.
    pub(crate) life_seconds: i64,
    /// Whether a refresh gives a new refresh token and ends the old one.
    pub(crate) rotates: bool,
    /// If not empty, only these clients are known: `id:secret`.
    pub(crate) clients: &'a [String],
    /// Of assertions: the application's public key in PEM. Without one no signature is checked.
    pub(crate) public_key: Option<&'a str>,
    /// Of assertions: whom they must be for; empty is anybody.
    pub(crate) audience: &'a str,
    /// Of assertions: how many seconds they may live.
    pub(crate) assertion_seconds: i64,
}

impl Rules<'_> {
    /// Refresh tokens that rotate, and nothing else.
    pub(crate) const fn refreshing(life_seconds: i64) -> Self {
        Self {
            grants: &[Grant::Refresh],
            life_seconds,
            rotates: true,
            clients: &[],
            public_key: None,
            audience: "",
            assertion_seconds: 300,
        }
    }
}

/// Why no token is given, by the names of RFC 6749 §5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    UnsupportedGrantType,
    /// The request names no client.
    NoClient,
    InvalidClient,
    /// The refresh token, account or assertion; and why.
    InvalidGrant(&'static str),
}

impl Denied {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::NoClient | Self::InvalidClient => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
        }
    }

    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::UnsupportedGrantType => "this grant_type is not supported",
            Self::NoClient => "client_id is missing",
            Self::InvalidClient => "the client's authentication failed",
            Self::InvalidGrant(why) => why,
        }
    }

    /// As the RFC has it: 401 of a client, else 400.
    pub(crate) fn answer(self) -> Answer {
        let status = match self {
            Self::NoClient | Self::InvalidClient => 401,
            Self::UnsupportedGrantType | Self::InvalidGrant(_) => 400,
        };
        Answer::json(
            status,
            json!({ "error": self.code(), "error_description": self.why() }),
        )
    }
}

/// What a token endpoint gives.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) access: String,
    /// A new one, where tokens rotate.
    pub(crate) refresh: Option<String>,
    pub(crate) seconds: i64,
    /// Whom it is for: the client, or the assertion's `sub`. Nobody knows that of a refresh.
    pub(crate) subject: Option<String>,
}

impl Granted {
    /// As RFC 6749 §5.1 has it.
    pub(crate) fn json(&self) -> Value {
        let mut body = json!({
            "access_token": self.access, "token_type": "Bearer", "expires_in": self.seconds,
        });
        if let Some(refresh) = &self.refresh {
            body["refresh_token"] = refresh.as_str().into();
        }
        body
    }
}

/// The tokens of a site.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    access: HashMap<String, Access>,
    /// Refresh tokens made here and not used yet.
    refresh: HashSet<String>,
    /// First refresh tokens, which came from elsewhere, and were used.
    spent: HashSet<String>,
}

#[derive(Debug)]
struct Access {
    ends: DateTime<Utc>,
    subject: Option<String>,
}

impl Grants {
    /// Whether an access token made here is still good; `None` of one that was not.
    pub(crate) fn is_alive(&self, token: &str, now: DateTime<Utc>) -> Option<bool> {
        token
            .starts_with(ACCESS)
            .then(|| self.access.get(token).is_some_and(|own| own.ends > now))
    }

    /// Whom an access token was made for.
    pub(crate) fn subject(&self, token: &str) -> Option<&str> {
        self.access.get(token)?.subject.as_deref()
    }

    /// A new access token, whoever vouches for it: GitHub makes some of an application's JWT.
    pub(crate) fn issue(
        &mut self,
        subject: Option<&str>,
        life_seconds: i64,
        now: DateTime<Utc>,
    ) -> String {
        if self.access.len() >= TOKENS_MAX {
            self.access.retain(|_, own| own.ends > now);
        }
        let life = TimeDelta::try_seconds(life_seconds).unwrap_or(TimeDelta::MAX);
        let ends = now.checked_add_signed(life);
        let token = format!("{ACCESS}{}", uuid::Uuid::new_v4().simple());
        let access = Access {
            ends: ends.unwrap_or(DateTime::<Utc>::MAX_UTC),
            subject: subject.map(str::to_owned),
        };
        self.access.insert(token.clone(), access);
        token
    }

    /// A request to the token endpoint, in a form or JSON; the client may also be in
    /// `Authorization: Basic`. A client's secret, a refresh token, an account, an issuer or a
    /// subject that ends with `wrong` is refused.
    ///
    /// # Errors
    /// What is refused.
    pub(crate) fn grant(
        &mut self,
        call: &Call,
        rules: &Rules<'_>,
        now: DateTime<Utc>,
    ) -> Result<Granted, Denied> {
        let grant = match call.field("grant_type") {
            "refresh_token" => Grant::Refresh,
            "client_credentials" => Grant::ClientCredentials,
            "account_credentials" => Grant::AccountCredentials,
            JWT_BEARER => Grant::JwtBearer,
            _ => return Err(Denied::UnsupportedGrantType),
        };
        if !rules.grants.contains(&grant) {
            return Err(Denied::UnsupportedGrantType);
        }
        if grant == Grant::JwtBearer {
            let subject = asserted(call, rules, now)?;
            return Ok(self.granted(Some(subject), None, rules, now));
        }
        let client = client(call, rules)?;
        match grant {
            Grant::Refresh => {
                let refresh = self.refreshed(call.field("refresh_token"), rules)?;
                Ok(self.granted(None, refresh, rules, now))
            }
            Grant::AccountCredentials => {
                let account = call.field("account_id");
                let account = if account.is_empty() {
                    call.param("account_id").unwrap_or_default()
                } else {
                    account
                };
                if account.is_empty() || magic::is_wrong(account) {
                    return Err(Denied::InvalidGrant("the account is not known"));
                }
                Ok(self.granted(Some(client), None, rules, now))
            }
            Grant::ClientCredentials | Grant::JwtBearer => {
                Ok(self.granted(Some(client), None, rules, now))
            }
        }
    }

    fn granted(
        &mut self,
        subject: Option<String>,
        refresh: Option<String>,
        rules: &Rules<'_>,
        now: DateTime<Utc>,
    ) -> Granted {
        Granted {
            access: self.issue(subject.as_deref(), rules.life_seconds, now),
            refresh,
            seconds: rules.life_seconds,
            subject,
        }
    }

    /// Spends a refresh token; the next one, where they rotate.
    fn refreshed(&mut self, token: &str, rules: &Rules<'_>) -> Result<Option<String>, Denied> {
        const REFUSED: Denied = Denied::InvalidGrant("Unknown or invalid refresh token.");
        if token.is_empty() || magic::is_wrong(token) {
            return Err(REFUSED);
        }
        let is_ours = token.starts_with(REFRESH);
        if !rules.rotates {
            let is_known = !is_ours || self.refresh.contains(token);
            return if is_known { Ok(None) } else { Err(REFUSED) };
        }
        let is_fresh = if is_ours {
            self.refresh.remove(token)
        } else {
            self.spent.len() < TOKENS_MAX && self.spent.insert(token.to_owned())
        };
        if !is_fresh {
            return Err(REFUSED);
        }
        let next = format!("{REFRESH}{}", uuid::Uuid::new_v4().simple());
        self.refresh.insert(next.clone());
        Ok(Some(next))
    }
}

/// The client's id, if its secret is right.
fn client(call: &Call, rules: &Rules<'_>) -> Result<String, Denied> {
    let (id, secret) = match call.basic() {
        Some(pair) => pair,
        None => (
            call.field("client_id").to_owned(),
            call.field("client_secret").to_owned(),
        ),
    };
    if id.is_empty() {
        return Err(Denied::NoClient);
    }
    let is_listed = rules.clients.is_empty() || rules.clients.contains(&format!("{id}:{secret}"));
    if secret.is_empty() || magic::is_wrong(&secret) || !is_listed {
        return Err(Denied::InvalidClient);
    }
    Ok(id)
}

/// Whom an assertion speaks for.
fn asserted(call: &Call, rules: &Rules<'_>, now: DateTime<Utc>) -> Result<String, Denied> {
    let token = call.field("assertion");
    let claims = jwt::claims(token, rules.public_key, rules.assertion_seconds, now)
        .map_err(Denied::InvalidGrant)?;
    let of = |name: &str| claims[name].as_str().unwrap_or_default();
    if of("iss").is_empty() || magic::is_wrong(of("iss")) {
        return Err(Denied::InvalidClient);
    }
    if !rules.audience.is_empty() && of("aud") != rules.audience {
        return Err(Denied::InvalidGrant("the assertion is for somebody else"));
    }
    if of("sub").is_empty() || magic::is_wrong(of("sub")) {
        return Err(Denied::InvalidGrant("user hasn't approved this consumer"));
    }
    Ok(of("sub").to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method, header};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;

    use super::*;

    const ALL: Rules<'static> = Rules {
        grants: &[
            Grant::Refresh,
            Grant::ClientCredentials,
            Grant::AccountCredentials,
            Grant::JwtBearer,
        ],
        public_key: Some(jwt::tests::PUBLIC),
        audience: "https://login.example.test",
        ..Rules::refreshing(60)
    };

    fn call(fields: &[(&str, &str)], basic: Option<&str>) -> Call {
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, media_type);
        if let Some(pair) = basic {
            let value = format!("Basic {}", STANDARD.encode(pair));
            headers.insert(header::AUTHORIZATION, value.try_into().unwrap());
        }
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let body = Bytes::from(body);
        Call::new(Method::POST, "/token", "", headers, body, String::new())
    }

    fn refresh(grants: &mut Grants, rules: &Rules<'_>, token: &str) -> Result<Granted, Denied> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "c"),
            ("client_secret", "s"),
            ("refresh_token", token),
        ];
        grants.grant(&call(&fields, None), rules, Utc::now())
    }

    #[test]
    fn a_refresh_token_that_rotates_works_once() {
        let mut grants = Grants::default();
        let first = refresh(&mut grants, &ALL, "from elsewhere").unwrap();
        let second = first.refresh.clone().unwrap();
        let third = refresh(&mut grants, &ALL, &second).unwrap();

        assert_eq!(first.json()["refresh_token"], json!(second));
        assert_ne!(third.refresh.as_ref(), Some(&second));
        for spent in ["from elsewhere", &second, "sandbox-refresh-x", "", "wrong"] {
            let refused = refresh(&mut grants, &ALL, spent).unwrap_err();
            assert_eq!(refused.code(), "invalid_grant", "{spent}");
        }
    }

    #[test]
    fn a_refresh_token_that_does_not_rotate_works_again() {
        let rules = Rules {
            rotates: false,
            ..ALL
        };
        let mut grants = Grants::default();
        for _ in 0..2 {
            let granted = refresh(&mut grants, &rules, "from elsewhere").unwrap();
            assert_eq!(granted.refresh, None);
            assert!(granted.json().get("refresh_token").is_none());
        }
        assert!(refresh(&mut grants, &rules, "sandbox-refresh-x").is_err());
        assert!(refresh(&mut grants, &rules, "wrong").is_err());
    }

    #[test]
    fn a_client_is_known_by_form_or_header() {
        let now = Utc::now();
        let kind = ("grant_type", "client_credentials");
        let mut grants = Grants::default();
        let listed = ["c:s".to_owned()];
        let only = Rules {
            clients: &listed,
            ..ALL
        };
        let mut ask = |fields: &[(&str, &str)], basic, rules: &Rules<'_>| {
            grants.grant(&call(fields, basic), rules, now)
        };

        let form = [kind, ("client_id", "c"), ("client_secret", "s")];
        let granted = ask(&form, None, &only).unwrap();
        assert_eq!(granted.subject.as_deref(), Some("c"));
        assert_eq!(granted.refresh, None);
        assert!(ask(&[kind], Some("c:s"), &only).is_ok());
        for (fields, basic, rules, denied) in [
            (&[kind][..], None, &ALL, Denied::NoClient),
            (&[kind], Some(":s"), &ALL, Denied::NoClient),
            (&[kind], Some("c:"), &ALL, Denied::InvalidClient),
            (&[kind], Some("c:wrong"), &ALL, Denied::InvalidClient),
            (&[kind], Some("c:other"), &only, Denied::InvalidClient),
        ] {
            assert_eq!(ask(fields, basic, rules).unwrap_err(), denied);
        }
        assert_eq!(Denied::NoClient.answer().status, 401);
    }

    #[test]
    fn an_account_is_asked_for_where_the_grant_is_one_of_accounts() {
        let mut grants = Grants::default();
        let mut ask = |account: &str| {
            let fields = [
                ("grant_type", "account_credentials"),
                ("account_id", account),
            ];
            grants.grant(&call(&fields, Some("c:s")), &ALL, Utc::now())
        };

        assert!(ask("a1").is_ok());
        for account in ["", "wrong"] {
            assert_eq!(ask(account).unwrap_err().code(), "invalid_grant");
        }
    }

    #[test]
    fn an_assertion_is_checked_by_the_public_half() {
        let now = Utc::now();
        let mut grants = Grants::default();
        let mut ask = |claims: Value, rules: &Rules<'_>| {
            let mut claims = claims;
            claims["exp"] = (now.timestamp() + 100).into();
            let assertion = jwt::tests::signed(&claims);
            let fields = [("grant_type", JWT_BEARER), ("assertion", &assertion)];
            grants.grant(&call(&fields, None), rules, now)
        };
        let good = json!({ "iss": "app", "sub": "a@b.test", "aud": ALL.audience });
        let with = |name: &str, value: &str| {
            let mut claims = good.clone();
            claims[name] = value.into();
            claims
        };

        let granted = ask(good.clone(), &ALL).unwrap();
        assert_eq!(granted.subject.as_deref(), Some("a@b.test"));
        for (claims, code) in [
            (with("iss", "wrong"), "invalid_client"),
            (with("aud", "https://other.test"), "invalid_grant"),
            (with("sub", "wrong"), "invalid_grant"),
        ] {
            assert_eq!(ask(claims, &ALL).unwrap_err().code(), code);
        }
        let another = Rules {
            public_key: Some("AAAA"),
            ..ALL
        };
        assert_eq!(ask(good, &another).unwrap_err().code(), "invalid_grant");
    }

    #[test]
    fn a_grant_that_the_platform_lacks_is_not_supported() {
        let rules = Rules::refreshing(60);
        for kind in ["client_credentials", "password", JWT_BEARER, ""] {
            let call = call(&[("grant_type", kind)], Some("c:s"));
            let denied = Grants::default().grant(&call, &rules, Utc::now());
            assert_eq!(denied.unwrap_err(), Denied::UnsupportedGrantType, "{kind}");
        }
        assert_eq!(Denied::UnsupportedGrantType.answer().status, 400);
    }

    #[test]
    fn an_access_token_ends() {
        let now = Utc::now();
        let mut grants = Grants::default();
        let token = grants.issue(None, 60, now);

        let at = |seconds| grants.is_alive(&token, now + TimeDelta::seconds(seconds));
        assert_eq!((at(59), at(60)), (Some(true), Some(false)));
        assert_eq!(grants.is_alive("sandbox-access-x", now), Some(false));
        assert_eq!(grants.is_alive("fixed", now), None);
    }
}
