//! Opened credentials, which cannot be printed by accident.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An integration's opened credentials. Never serialised, never printed; exposed only while a
/// request is built.
#[derive(Clone, Default)]
pub struct Credentials {
    members: Map<String, Value>,
    /// What the platform knows besides, and may say back.
    besides: Option<SecretString>,
}

impl Credentials {
    /// Wraps the opened members.
    #[must_use]
    pub const fn new(members: Map<String, Value>) -> Self {
        Self {
            members,
            besides: None,
        }
    }

    /// Adds the secret of the integration's inbound webhook: no request needs it, and no answer may
    /// show it.
    #[must_use]
    pub fn with_webhook_secret(self, secret: Option<SecretString>) -> Self {
        Self {
            besides: secret,
            ..self
        }
    }

    /// The secret of the integration's inbound webhook.
    #[must_use]
    pub const fn webhook_secret(&self) -> Option<&SecretString> {
        self.besides.as_ref()
    }

    /// Reads opened JSON. A payload that is no object holds no credentials, as in the legacy
    /// application; `None` where it is no JSON. A number that would lose digits is kept as text,
    /// which is how [`Credentials::text`] gives it.
    #[must_use]
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let raw: &RawValue = serde_json::from_slice(json).ok()?;
        if !raw.get().starts_with('{') {
            return Some(Self::default());
        }
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
        let mut map = Map::new();
        for (name, raw) in members {
            let value = match serde_json::from_str(raw.get()) {
                Ok(Value::Number(number)) if number.to_string() != raw.get() => {
                    Value::String(raw.get().to_owned())
                }
                Ok(value) => value,
                Err(_) if is_number(raw.get()) => Value::String(raw.get().to_owned()),
                Err(_) => return None,
            };
            map.insert(name, value);
        }
        Some(Self::new(map))
    }

    /// A text member, if it is there and not empty; numbers and booleans are given as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.members.get(name)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The same as a secret.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// The members, for descriptors' checks and for moving known settings out of legacy
    /// credentials.
    #[must_use]
    pub const fn members(&self) -> &Map<String, Value> {
        &self.members
    }
}

/// An opened text. What is sealed is JSON, as that of the credentials; an older application may
/// have sealed the bare text.
#[must_use]
pub fn opened_text(opened: &[u8]) -> Option<SecretString> {
    let text = match serde_json::from_slice(opened) {
        Ok(Value::String(text)) => text,
        Ok(_) | Err(_) => std::str::from_utf8(opened).ok()?.to_owned(),
    };
    Some(text.into())
}

/// Whether a JSON value, known to be sound, is a number.
fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.members.keys().map(String::as_str).collect();
        write!(f, "Credentials({})", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::{Credentials, opened_text};

    #[test]
    fn the_secret_of_a_webhook_is_known_without_the_quotes_it_is_sealed_with() {
        for (sealed, known) in [
            (r#""whs-\"5ecret""#, r#"whs-"5ecret"#),
            ("whs-5ecret", "whs-5ecret"),
            ("12345678", "12345678"),
            ("{\"a\":1}", "{\"a\":1}"),
        ] {
            let text = opened_text(sealed.as_bytes()).unwrap();
            assert_eq!(text.expose_secret(), known);
        }
        assert!(opened_text(&[0xff]).is_none());
    }

    #[test]
    fn numbers_keep_their_digits() {
        let json = br#"{"big": 123456789012345678901234567890, "float": 1.0, "port": 587, "huge": 1e999, "n": {"b": 1}}"#;

        let credentials = Credentials::from_json(json).unwrap();

        let text = |name| credentials.text(name);
        assert_eq!(
            text("big").unwrap(),
            "123456789012345678901234567890".to_owned()
        );
        assert_eq!(text("float").unwrap(), "1.0");
        assert_eq!(text("port").unwrap(), "587");
        assert_eq!(text("huge").unwrap(), "1e999");
        assert_eq!(text("n"), None);
    }

    #[test]
    fn a_payload_that_is_no_object_holds_no_credentials() {
        for json in [r#"["a"]"#, r#""text""#, "null", "1"] {
            let credentials = Credentials::from_json(json.as_bytes()).unwrap();
            assert!(credentials.members().is_empty(), "{json}");
        }
        assert!(Credentials::from_json(b"not json").is_none());
    }
}
