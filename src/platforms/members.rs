//! Reading an integration's credentials and settings: each adapter parses them once, and every
//! fault names its member.

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::{AdapterError, ErrorClass};
use crate::domain::{Integration, Platform};
use crate::secrets::Credentials;

/// The members of one integration.
pub struct Members<'a> {
    platform: Platform,
    integration: &'a Integration,
    credentials: &'a Credentials,
}

impl<'a> Members<'a> {
    pub(super) const fn new(
        platform: Platform,
        integration: &'a Integration,
        credentials: &'a Credentials,
    ) -> Self {
        Self {
            platform,
            integration,
            credentials,
        }
    }

    fn missing(&self, name: &str) -> AdapterError {
        let fault = format!("is required for {}", self.platform);
        AdapterError::field(&format!("credentials.{name}"), fault)
    }

    /// A credential that is no secret by itself (a user name, a client id).
    pub(super) fn text(&self, name: &str) -> Result<String, AdapterError> {
        self.credentials
            .text(name)
            .ok_or_else(|| self.missing(name))
    }

    /// A credential.
    pub(super) fn secret(&self, name: &str) -> Result<SecretString, AdapterError> {
        self.credentials
            .secret(name)
            .ok_or_else(|| self.missing(name))
    }

    /// A setting; an empty one is none. Legacy rows keep them among the credentials.
    pub(super) fn setting(&self, name: &str) -> Option<String> {
        let own = self.integration.settings.get(name).and_then(Value::as_str);
        own.map(str::to_owned)
            .or_else(|| self.credentials.text(name))
            .filter(|text| !text.is_empty())
    }

    /// A setting that must be there.
    pub(super) fn required_setting(&self, name: &str) -> Result<String, AdapterError> {
        self.setting(name).ok_or_else(|| {
            let fault = format!("is required for {}", self.platform);
            AdapterError::field(&format!("settings.{name}"), fault)
        })
    }

    /// A setting that is an object; `None` where it is not there.
    pub(super) fn object(
        &self,
        name: &str,
    ) -> Result<Option<&'a Map<String, Value>>, AdapterError> {
        match self.integration.settings.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(AdapterError::field(
                &format!("settings.{name}"),
                "must be an object",
            )),
        }
    }

    /// A setting that is true or false, and false where it is not there.
    pub(super) fn switch(&self, name: &str) -> Result<bool, AdapterError> {
        match self.integration.settings.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(_) => Err(AdapterError::field(
                &format!("settings.{name}"),
                "must be true or false",
            )),
        }
    }
}

/// Whether a value is text that `read` can read, for [`Shape::Checked`](super::Shape::Checked).
pub(super) fn judged<T>(
    value: &Value,
    read: impl FnOnce(&str) -> Result<T, AdapterError>,
) -> Result<(), String> {
    let Value::String(text) = value else {
        return Err("must be text: put it in quotes".to_owned());
    };
    let Err(error) = read(text) else {
        return Ok(());
    };
    Err(match error.class {
        ErrorClass::Validation { fields } => fields.into_values().collect::<Vec<_>>().join("; "),
        _ => error.public,
    })
}

/// A text as a URL; the fault is the member's, with an example of what would be right.
pub(super) fn url(member: &str, text: &str, example: &str) -> Result<Url, AdapterError> {
    Url::parse(text)
        .map_err(|_| AdapterError::field(member, format!("is not a URL, e.g. {example}")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::AuthType;
    use crate::platforms::descriptor::blank;

    /// Does something with the members of an integration that has these.
    pub(in crate::platforms) fn with_members<T>(
        settings: &Value,
        credentials: &Value,
        then: impl FnOnce(&Members<'_>) -> T,
    ) -> T {
        let object = |value: &Value| value.as_object().cloned().unwrap();
        let platform = Platform::Webhook;
        let integration = blank(platform, AuthType::Custom, &object(settings), None);
        let credentials = Credentials::new(object(credentials));
        then(&Members::new(platform, &integration, &credentials))
    }
}
