//! Who asks: Basic, Bearer, and OAuth with refresh tokens that rotate.

use std::collections::{HashMap, HashSet};

use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::fake::{Answer, Call};
use super::settings::Settings;

/// The secret that is never right.
const WRONG: &str = "wrong";
/// The secret whose owner may look but not touch.
const FORBIDDEN: &str = "forbidden";
/// Begins what the token endpoint made, so that a made-up token of this form is told from a fixed one.
const ACCESS: &str = "sandbox-access-";
const REFRESH: &str = "sandbox-refresh-";
/// Tokens remembered; beyond it the expired ones go, and refresh tokens of new grants are refused.
const TOKENS_MAX: usize = 10_000;

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// E-mail address or user name; of a token, a made-up one.
    pub(super) name: String,
    pub(super) may_write: bool,
}

/// The OAuth tokens of a site.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Access token → when it expires.
    access: HashMap<String, DateTime<Utc>>,
    /// Refresh tokens made here and not used yet.
    refresh: HashSet<String>,
    /// First refresh tokens, which came from elsewhere, and were used.
    spent: HashSet<String>,
}

/// Lets the caller in, or `None` for a 401.
pub(super) fn caller(
    call: &Call,
    settings: &Settings,
    tokens: &Tokens,
    now: DateTime<Utc>,
) -> Option<Caller> {
    let value = call.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = value.split_once(' ')?;
    let credential = credential.trim();
    let (name, secret, whole) = if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(credential).ok()?).ok()?;
        let (name, secret) = decoded.split_once(':')?;
        (name.to_owned(), secret.to_owned(), decoded)
    } else if scheme.eq_ignore_ascii_case("bearer") {
        let name = "token@example.test".to_owned();
        (name, credential.to_owned(), credential.to_owned())
    } else {
        return None;
    };
    let made_here = secret.starts_with(ACCESS);
    let alive = tokens.access.get(&secret).is_some_and(|end| *end > now);
    let listed = settings.credentials.is_empty() || settings.credentials.contains(&whole);
    let accepted = if made_here { alive } else { listed };
    if name.is_empty() || secret.is_empty() || secret == WRONG || !accepted {
        return None;
    }
    Some(Caller {
        name,
        may_write: secret != FORBIDDEN,
    })
}

impl Tokens {
    /// `POST /oauth/token`. A first refresh token may be anything; it and every later one work once.
    pub(super) fn grant(&mut self, call: &Call, settings: &Settings, now: DateTime<Utc>) -> Answer {
        let given = parameters(call);
        let of = |name: &str| given.get(name).map_or("", String::as_str);
        if of("grant_type") != "refresh_token" {
            return refused(
                400,
                "unsupported_grant_type",
                "only refresh_token is modelled",
            );
        }
        let (client_id, client_secret) = (of("client_id"), of("client_secret"));
        if client_id.is_empty() || client_secret.is_empty() || client_secret == WRONG {
            return refused(401, "access_denied", "Unauthorized");
        }
        if !self.spend(of("refresh_token")) {
            // Status and code as Atlassian documents them for a used or expired refresh token.
            return refused(403, "invalid_grant", "Unknown or invalid refresh token.");
        }
        if self.access.len() >= TOKENS_MAX {
            self.access.retain(|_, end| *end > now);
        }
        let access_token = format!("{ACCESS}{}", uuid::Uuid::new_v4().simple());
        let refresh_token = format!("{REFRESH}{}", uuid::Uuid::new_v4().simple());
        let seconds = settings.access_token_seconds;
        let life = TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::MAX);
        let end = now
            .checked_add_signed(life)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.access.insert(access_token.clone(), end);
        self.refresh.insert(refresh_token.clone());
        let body = json!({
            "access_token": access_token, "refresh_token": refresh_token, "expires_in": seconds,
            "scope": "read:jira-work write:jira-work read:jira-user offline_access", "token_type": "Bearer",
        });
        Answer::json(200, body).effective()
    }

    fn spend(&mut self, token: &str) -> bool {
        if token.starts_with(REFRESH) {
            return self.refresh.remove(token);
        }
        let fits = !token.is_empty() && token != WRONG && self.spent.len() < TOKENS_MAX;
        fits && self.spent.insert(token.to_owned())
    }
}

fn refused(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        json!({"error": error, "error_description": description}),
    )
}

/// The body's members, from JSON or a form: the vendor takes both.
fn parameters(call: &Call) -> HashMap<String, String> {
    match &call.json {
        Some(Value::Object(members)) => members
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        _ => url::form_urlencoded::parse(&call.body)
            .into_owned()
            .collect(),
    }
}
