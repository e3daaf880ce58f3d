//! The secrets by which deliveries are proved. They stay sealed in memory, and are opened for each
//! delivery, which takes microseconds.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::domain::{AuthType, IntegrationId, OrganizationId, Platform};
use crate::platforms;
use crate::secrets::{Binding, Credentials, KeyRing, OpenError, SealError, opened_text};
pub use crate::store::{SealedPair, SealedSecrets};

/// Columns of the database that seals are bound to. A predecessor keeps the seal that it had, so
/// that a rotation moves texts and opens none.
const REGISTERED: &str = "secret_sealed";
const WEBHOOK_SECRET: &str = "webhook_secret_encrypted";
const CREDENTIALS: &str = "credentials_encrypted";

/// Secrets that were opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// Those that are good now, the newest first, none twice.
    pub secrets: Vec<SecretString>,
    /// Why one of them could not be opened: a proof that none of the others fits may be good all
    /// the same.
    pub unreadable: Option<OpenError>,
}

impl SealedSecrets {
    /// The secrets that are good now, in the order in which they are tried: those of registered
    /// webhooks, the webhook secret, its predecessor until its end, and the members of the
    /// credentials that the platform signs with. One that cannot be opened is left out; see
    /// [`Self::open_all`].
    #[must_use]
    pub fn open(
        &self,
        ring: &KeyRing,
        platform: Platform,
        auth_type: AuthType,
        now: DateTime<Utc>,
    ) -> Vec<SecretString> {
        self.open_all(ring, platform, auth_type, now).secrets
    }

    /// The same, and whether one of them could not be opened.
    #[must_use]
    pub fn open_all(
        &self,
        ring: &KeyRing,
        platform: Platform,
        auth_type: AuthType,
        now: DateTime<Utc>,
    ) -> Opened {
        let mut opened = Opened::default();
        for pair in &self.registered {
            self.open_pair(ring, pair, REGISTERED, now, &mut opened);
        }
        self.open_pair(ring, &self.webhook_secret, WEBHOOK_SECRET, now, &mut opened);
        self.open_credentials(ring, platform, auth_type, now, &mut opened);
        opened
    }

    fn open_pair(
        &self,
        ring: &KeyRing,
        pair: &SealedPair,
        column: &'static str,
        now: DateTime<Utc>,
        opened: &mut Opened,
    ) {
        let previous = pair.previous.as_ref().filter(|(_, until)| *until > now);
        let sealed = pair.current.iter();
        for sealed in sealed.chain(previous.map(|(sealed, _)| sealed)) {
            match ring.open(&self.binding(column), sealed) {
                Ok(plain) => opened.extend(opened_text(&plain)),
                Err(error) => opened.unreadable = Some(error),
            }
        }
    }

    fn open_credentials(
        &self,
        ring: &KeyRing,
        platform: Platform,
        auth_type: AuthType,
        now: DateTime<Utc>,
        opened: &mut Opened,
    ) {
        let members = platforms::hooks(platform).map(|hooks| hooks.secrets);
        let members = members.unwrap_or_default().iter();
        let of_mode = |of: &Option<AuthType>| of.is_none_or(|of| of == auth_type);
        let mut members = members.filter(|one| of_mode(&one.auth_type)).peekable();
        let Some(sealed) = self
            .credentials
            .as_ref()
            .filter(|_| members.peek().is_some())
        else {
            return;
        };
        let credentials = match ring.open(&self.binding(CREDENTIALS), sealed) {
            Ok(plain) => Credentials::from_json(&plain),
            Err(error) => {
                opened.unreadable = Some(error);
                return;
            }
        };
        // What is no JSON has no members.
        let credentials = credentials.unwrap_or_default();
        let is_good = |until: &str| {
            let until = credentials.text(until);
            let until = until.map(|text| DateTime::parse_from_rfc3339(&text));
            // A time that cannot be read was refused when it was given.
            until.is_none_or(|until| until.is_ok_and(|until| until > now))
        };
        let good = members.filter(|one| one.until.is_none_or(is_good));
        opened.extend(good.filter_map(|one| credentials.secret(one.name)));
    }

    const fn binding(&self, column: &'static str) -> Binding {
        Binding {
            organization: self.organization,
            integration: self.integration,
            column,
        }
    }
}

impl Opened {
    fn extend(&mut self, found: impl IntoIterator<Item = SecretString>) {
        for secret in found {
            let text = secret.expose_secret();
            let is_known = self
                .secrets
                .iter()
                .any(|known| known.expose_secret() == text);
            if !text.is_empty() && !is_known {
                self.secrets.push(secret);
            }
        }
    }
}

/// Seals the secret of a registered webhook, as `integration_webhooks.secret_sealed` has it.
///
/// # Errors
/// [`SealError`] where there is no key.
pub fn seal_registered(
    ring: &KeyRing,
    organization: OrganizationId,
    integration: IntegrationId,
    secret: &SecretString,
) -> Result<String, SealError> {
    let binding = Binding {
        organization,
        integration,
        column: REGISTERED,
    };
    let plain = Value::String(secret.expose_secret().to_owned()).to_string();
    ring.seal(&binding, plain.as_bytes())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::secrets::generate;

    struct Row {
        ring: KeyRing,
        sealed: SealedSecrets,
        now: DateTime<Utc>,
    }

    impl Row {
        fn new() -> Self {
            let ring = KeyRing::parse(&[generate("one").into()]).unwrap();
            Self {
                ring,
                sealed: SealedSecrets {
                    organization: OrganizationId::new(Uuid::from_u128(1)),
                    integration: IntegrationId::new(Uuid::from_u128(2)),
                    registered: Vec::new(),
                    webhook_secret: SealedPair::default(),
                    credentials: None,
                },
                now: DateTime::from_timestamp(1_767_323_045, 0).unwrap(),
            }
        }

        fn sealed(&self, column: &'static str, plain: &str) -> String {
            let binding = self.sealed.binding(column);
            self.ring.seal(&binding, plain.as_bytes()).unwrap()
        }

        fn pair(&self, column: &'static str, current: &str, previous: (&str, i64)) -> SealedPair {
            let (previous, seconds) = previous;
            let until = self.now + TimeDelta::seconds(seconds);
            SealedPair {
                current: Some(self.sealed(column, current)),
                previous: Some((self.sealed(column, previous), until)),
            }
        }

        fn open(&self, platform: Platform, auth_type: AuthType) -> Vec<String> {
            let opened = self.sealed.open(&self.ring, platform, auth_type, self.now);
            let texts = opened
                .iter()
                .map(|secret| secret.expose_secret().to_owned());
            texts.collect()
        }
    }

    #[test]
    fn secrets_come_newest_first_and_a_predecessor_until_its_end() {
        let mut row = Row::new();
        row.sealed.registered = vec![
            row.pair(REGISTERED, "r2", ("r1", 1)),
            row.pair(REGISTERED, "\"q2\"", ("q1", 0)),
        ];
        row.sealed.webhook_secret = row.pair(WEBHOOK_SECRET, "\"w2\"", ("\"w1\"", 1));

        let opened = row.open(Platform::Slack, AuthType::Bearer);
        assert_eq!(opened, ["r2", "r1", "q2", "w2", "w1"]);

        row.now += TimeDelta::seconds(1);
        let opened = row.open(Platform::Slack, AuthType::Bearer);
        assert_eq!(opened, ["r2", "q2", "w2"]);
    }

    #[test]
    fn members_of_the_credentials_count_where_the_platform_signs_with_them() {
        let mut row = Row::new();
        let json = r#"{"client_secret": "c", "auth_token": "a", "signing_secret": "s",
                       "previous_signing_secret": "p", "previous_valid_until":
                       "2026-01-02T03:04:06Z"}"#;
        row.sealed.credentials = Some(row.sealed(CREDENTIALS, json));
        row.sealed.webhook_secret.current = Some(row.sealed(WEBHOOK_SECRET, "\"w\""));

        for (platform, auth_type, found) in [
            (Platform::Hubspot, AuthType::Bearer, vec!["w", "c"]),
            (Platform::Hubspot, AuthType::Oauth2, vec!["w", "c"]),
            (Platform::Jira, AuthType::Oauth2, vec!["w", "c"]),
            (Platform::Jira, AuthType::ApiKey, vec!["w"]),
            (Platform::Sms, AuthType::Basic, vec!["w", "a"]),
            (Platform::Webhook, AuthType::Custom, vec!["w", "s", "p"]),
            (Platform::Github, AuthType::Oauth2, vec!["w"]),
            (Platform::Email, AuthType::Basic, vec!["w"]),
        ] {
            assert_eq!(
                row.open(platform, auth_type),
                found,
                "{platform} {auth_type:?}"
            );
        }
        row.now += TimeDelta::seconds(1);
        assert_eq!(row.open(Platform::Webhook, AuthType::Custom), ["w", "s"]);
    }

    #[test]
    fn what_cannot_be_opened_is_told_and_the_rest_is_tried() {
        let mut row = Row::new();
        row.sealed.registered = vec![row.pair(REGISTERED, "r", ("p", 1))];
        // Of another column, as of another row.
        row.sealed.webhook_secret.current = Some(row.sealed(REGISTERED, "w"));

        let opened = row
            .sealed
            .open_all(&row.ring, Platform::Slack, AuthType::Bearer, row.now);

        assert_eq!(opened.secrets.len(), 2);
        assert_eq!(opened.unreadable, Some(OpenError::Tampered));
    }
}
