//! Who asks: where a credential stands in a request, and whether it is let in.

use chrono::{DateTime, Utc};

use super::super::call::Call;
use super::grants::Grants;
use super::magic;
use super::rate::Standing;

/// Who was let in. The default is nobody, who may do nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// E-mail address or user name; of a token, whom it was made for, or a made-up one.
    pub(crate) name: String,
    pub(crate) may_write: bool,
}

/// What a token's owner is called where nobody said.
const TOKEN_NAME: &str = "token@example.test";

/// Where a platform looks for a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialSource {
    /// `Authorization: Basic` with user and secret.
    Basic,
    /// `Authorization: Basic` whose user is the secret; what the password is does not matter.
    BasicUser,
    /// `Authorization: Bearer`.
    Bearer,
    /// A header of this name, after this beginning: `("authorization", "token ")`.
    Header(&'static str, &'static str),
    /// A query parameter of this name.
    Query(&'static str),
}

/// A credential as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// `None` where it is a secret alone.
    pub(crate) user: Option<String>,
    pub(crate) secret: String,
}

impl Credential {
    /// As a site's setting `credentials` lists it: `user:secret`, or the secret.
    fn listed(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}:{}", self.secret),
            None => self.secret.clone(),
        }
    }
}

/// Why a request is not done, for a reason that every platform has. How it is said is the
/// platform's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No credential where one is needed.
    Missing,
    /// A credential that is not known, or unreadable.
    Wrong,
    /// An access token that has ended, or was never made.
    Expired,
    /// A credential whose owner may look and not touch.
    Forbidden,
    /// There is no such path.
    NoPath,
    /// The path takes other methods: these.
    OtherMethods(Vec<&'static str>),
    /// The budget is spent.
    Budget(Standing),
    /// A status that somebody ordered as a fault.
    Status(u16),
}

/// The credential in the first place that has one.
///
/// # Errors
/// [`Refusal::Missing`] where none has, and [`Refusal::Wrong`] where it cannot be read.
pub(crate) fn credential(call: &Call, places: &[CredentialSource]) -> Result<Credential, Refusal> {
    let found = places.iter().find_map(|place| at(call, *place));
    found.unwrap_or(Err(Refusal::Missing))
}

fn at(call: &Call, place: CredentialSource) -> Option<Result<Credential, Refusal>> {
    let alone = |secret: &str| Credential {
        user: None,
        secret: secret.to_owned(),
    };
    let basic = || {
        call.authorization("basic")?;
        Some(call.basic().ok_or(Refusal::Wrong))
    };
    match place {
        CredentialSource::Basic => basic().map(|pair| {
            pair.map(|(user, secret)| Credential {
                user: Some(user),
                secret,
            })
        }),
        CredentialSource::BasicUser => basic().map(|pair| pair.map(|(user, _)| alone(&user))),
        CredentialSource::Bearer => call.authorization("bearer").map(|text| Ok(alone(text))),
        CredentialSource::Header(name, prefix) => {
            let secret = call.header(name)?.strip_prefix(prefix)?;
            Some(Ok(alone(secret)))
        }
        CredentialSource::Query(name) => call.param(name).map(|text| Ok(alone(text))),
    }
}

/// Lets a credential in. A token that the site made is good as long as it lives; of others all that
/// is not empty and does not end with `wrong`, or only what is listed, if anything is.
///
/// # Errors
/// [`Refusal::Wrong`] or [`Refusal::Expired`].
pub(crate) fn admit(
    credential: &Credential,
    listed: &[String],
    grants: &Grants,
    now: DateTime<Utc>,
) -> Result<Caller, Refusal> {
    let secret = credential.secret.as_str();
    let is_empty = secret.is_empty() || credential.user.as_ref().is_some_and(String::is_empty);
    if is_empty || magic::is_wrong(secret) {
        return Err(Refusal::Wrong);
    }
    match grants.is_alive(secret, now) {
        Some(true) => {}
        Some(false) => return Err(Refusal::Expired),
        None if listed.is_empty() || listed.contains(&credential.listed()) => {}
        None => return Err(Refusal::Wrong),
    }
    let name = credential.user.as_deref();
    let name = name
        .or_else(|| grants.subject(secret))
        .unwrap_or(TOKEN_NAME);
    Ok(Caller {
        name: name.to_owned(),
        may_write: !magic::is_forbidden(secret),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;

    use super::*;

    fn call(header: Option<(&'static str, &str)>, query: &str) -> Call {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            let value = HeaderValue::try_from(value).unwrap();
            headers.insert(HeaderName::from_static(name), value);
        }
        Call::new(
            Method::GET,
            "/",
            query,
            headers,
            Bytes::new(),
            String::new(),
        )
    }

    #[test]
    fn a_credential_is_found_wherever_a_platform_has_it() {
        let basic = format!("basic {}", STANDARD.encode("a@b/token:s:1"));
        let authorization = |value| call(Some(("authorization", value)), "");
        for (place, call, user, secret) in [
            (
                CredentialSource::Basic,
                authorization(&basic),
                Some("a@b/token"),
                "s:1",
            ),
            (
                CredentialSource::BasicUser,
                authorization(&basic),
                None,
                "a@b/token",
            ),
            (
                CredentialSource::Bearer,
                authorization("Bearer t "),
                None,
                "t",
            ),
            (
                CredentialSource::Header("authorization", "token "),
                authorization("token g"),
                None,
                "g",
            ),
            (
                CredentialSource::Header("x-sn-apikey", ""),
                call(Some(("x-sn-apikey", "k")), ""),
                None,
                "k",
            ),
            (
                CredentialSource::Query("token"),
                call(None, "key=k&token=t"),
                None,
                "t",
            ),
        ] {
            let places = [CredentialSource::Header("x-none", ""), place];
            let found = credential(&call, &places).unwrap();
            let expected = Credential {
                user: user.map(str::to_owned),
                secret: secret.to_owned(),
            };
            assert_eq!(found, expected, "{place:?}");
        }
        let places = [CredentialSource::Basic];
        assert_eq!(credential(&call(None, ""), &places), Err(Refusal::Missing));
        for unreadable in ["Basic %", &format!("Basic {}", STANDARD.encode("nocolon"))] {
            let found = credential(&authorization(unreadable), &places);
            assert_eq!(found, Err(Refusal::Wrong));
        }
    }

    #[test]
    fn magic_secrets_and_listed_ones_decide() {
        let grants = Grants::default();
        let asked = |user: Option<&str>, secret: &str, listed: &[&str]| {
            let credential = Credential {
                user: user.map(str::to_owned),
                secret: secret.to_owned(),
            };
            let listed: Vec<_> = listed.iter().map(|&own| own.to_owned()).collect();
            admit(&credential, &listed, &grants, Utc::now())
        };
        let caller = |name: &str, may_write| {
            Ok(Caller {
                name: name.to_owned(),
                may_write,
            })
        };

        assert_eq!(asked(Some("u"), "s", &[]), caller("u", true));
        assert_eq!(asked(None, "s", &["s"]), caller(TOKEN_NAME, true));
        assert_eq!(asked(Some("u"), "s", &["u:s"]), caller("u", true));
        assert_eq!(asked(None, "t-forbidden", &[]), caller(TOKEN_NAME, false));
        for (user, secret, listed) in [
            (None, "t-wrong", &[][..]),
            (None, "t-wrong", &["t-wrong"]),
            (None, "", &[]),
            (Some(""), "s", &[]),
            (Some("u"), "s", &["u:t", "s"]),
        ] {
            assert_eq!(asked(user, secret, listed), Err(Refusal::Wrong), "{secret}");
        }
    }

    #[test]
    fn a_token_of_the_site_is_good_as_long_as_it_lives() {
        let now = Utc::now();
        let mut grants = Grants::default();
        let token = grants.issue(Some("app-1"), 60, now);
        let credential = Credential {
            user: None,
            secret: token,
        };
        let at = |seconds| {
            let now = now + chrono::TimeDelta::seconds(seconds);
            admit(&credential, &["another".to_owned()], &grants, now)
        };

        assert_eq!(at(59).unwrap().name, "app-1");
        assert_eq!(at(60), Err(Refusal::Expired));
    }
}
