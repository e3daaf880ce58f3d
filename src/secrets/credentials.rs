//! Opened credentials, which cannot be printed by accident.

use std::fmt;

use secrecy::SecretString;
use serde_json::{Map, Value};

/// An integration's opened credentials. Never serialised, never printed; exposed only while a request is built.
#[derive(Clone, Default)]
pub struct Credentials(Map<String, Value>);

impl Credentials {
    /// Wraps the opened members.
    #[must_use]
    pub const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// A text member, if it is there and not empty; numbers and booleans are given as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
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

    /// The members, for descriptors' checks and for moving known settings out of legacy credentials.
    #[must_use]
    pub const fn members(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        write!(f, "Credentials({})", names.join(", "))
    }
}
