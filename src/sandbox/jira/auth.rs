//! Who asks: Basic, Bearer, and OAuth with refresh tokens that rotate.

use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::super::answer::Answer;
use super::super::call::Call;
use super::super::tokens::Tokens;
use super::settings::Settings;

/// The secret that is never right.
const WRONG: &str = "wrong";
/// The secret whose owner may look but not touch.
const FORBIDDEN: &str = "forbidden";

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// E-mail address or user name; of a token, a made-up one.
    pub(super) name: String,
    pub(super) may_write: bool,
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
    let listed = settings.credentials.is_empty() || settings.credentials.contains(&whole);
    let accepted = tokens.is_alive(&secret, now).unwrap_or(listed);
    if name.is_empty() || secret.is_empty() || secret == WRONG || !accepted {
        return None;
    }
    Some(Caller {
        name,
        may_write: secret != FORBIDDEN,
    })
}

/// `POST /oauth/token`. A first refresh token may be anything; it and every later one work once.
pub(super) fn grant(
    tokens: &mut Tokens,
    call: &Call,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Answer {
    let of = |name: &str| call.field(name);
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
    let seconds = settings.access_token_seconds;
    let refresh = of("refresh_token");
    let Some(pair) = (refresh != WRONG)
        .then(|| tokens.refresh(refresh, seconds, now))
        .flatten()
    else {
        // Status and code as Atlassian documents them for a used or expired refresh token.
        return refused(403, "invalid_grant", "Unknown or invalid refresh token.");
    };
    let body = json!({
        "access_token": pair.access, "refresh_token": pair.refresh, "expires_in": seconds,
        "scope": "read:jira-work write:jira-work read:jira-user offline_access", "token_type": "Bearer",
    });
    Answer::json(200, body).effective()
}

/// The token endpoint's refusal.
pub(super) fn refused(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        json!({"error": error, "error_description": description}),
    )
}
