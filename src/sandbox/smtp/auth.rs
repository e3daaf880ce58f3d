//! Logging in (RFC 4954): PLAIN, LOGIN, XOAUTH2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::session::{Session, User};
use super::wire::{Gone, Line};
use crate::domain::Platform;

impl Session {
    pub(super) async fn auth(&mut self, argument: &str) -> Result<(), Gone> {
        if !self.greeted || self.user.is_some() || self.from.is_some() {
            return self.say(503, "5.5.1 not now").await;
        }
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let mechanism = mechanism.to_ascii_uppercase();
        let pair = match mechanism.as_str() {
            "PLAIN" => self
                .response(initial, "")
                .await?
                .and_then(|text| plain(&text)),
            "XOAUTH2" => self
                .response(initial, "")
                .await?
                .and_then(|text| xoauth2(&text)),
            "LOGIN" => match self.response(initial, "Username:").await? {
                Some(user) => self
                    .response("", "Password:")
                    .await?
                    .map(|secret| (user, secret)),
                None => None,
            },
            _ => return self.say(504, "5.5.4 mechanism not known").await,
        };
        let Some((name, secret)) = pair else {
            return self.say(501, "5.5.2 the response cannot be read").await;
        };
        let address = name.split('@').next().unwrap_or_default();
        let Ok(site) = self.shared.site(&format!("{}/{address}", Platform::Email)) else {
            return self.say(535, "5.7.8 no site can have this name").await;
        };
        self.belongs_to(site);
        let detail = json!({
            "user": name, "secret": secret, "mechanism": mechanism, "encrypted": self.encrypted,
        });
        let taken = self.step("auth", detail, Bytes::new(), None).await?;
        if taken.is_some_and(|answer| answer.status < 400) {
            self.user = Some(User { name, secret });
        }
        Ok(())
    }

    /// A response to a challenge, decoded; `None` where it cannot be, or the client gave up.
    async fn response(&mut self, initial: &str, challenge: &str) -> Result<Option<String>, Gone> {
        let given = if initial.is_empty() {
            self.say(334, &STANDARD.encode(challenge)).await?;
            match self.wire.line().await? {
                Line::Text(line) => line,
                Line::TooLong | Line::BareLineFeed => return Ok(None),
            }
        } else {
            initial.to_owned()
        };
        let decoded = STANDARD.decode(given).ok();
        Ok(decoded.and_then(|bytes| String::from_utf8(bytes).ok()))
    }
}

/// User and password of PLAIN (RFC 4616); who acts for another is not modelled.
fn plain(response: &str) -> Option<(String, String)> {
    let mut parts = response.split('\0');
    let (_, user, secret) = (parts.next()?, parts.next()?, parts.next()?);
    parts
        .next()
        .is_none()
        .then(|| (user.to_owned(), secret.to_owned()))
}

/// User and token of XOAUTH2.
fn xoauth2(response: &str) -> Option<(String, String)> {
    let rest = response.strip_prefix("user=")?.strip_suffix("\x01\x01")?;
    let (user, token) = rest.split_once("\x01auth=Bearer ")?;
    Some((user.to_owned(), token.to_owned()))
}
