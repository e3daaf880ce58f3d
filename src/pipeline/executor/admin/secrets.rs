//! The credentials a command carries: sealed since the door, opened here to be checked and put where they belong.

use serde_json::{Map, Value};

use crate::domain::{AuthType, ErrorCode, Failure, IntegrationId, OrganizationId};
use crate::platforms::Descriptor;
use crate::secrets::{Binding, KeyRing, NOT_STORED_MEMBER, SEALED_MEMBER};

/// A command's credentials, open.
pub(super) struct Opened {
    pub(super) members: Map<String, Value>,
    binding: Binding,
    sealed: Option<String>,
}

impl Opened {
    pub(super) fn of(
        ring: &KeyRing,
        organization: OrganizationId,
        integration: IntegrationId,
        credentials: &Map<String, Value>,
    ) -> Result<Self, Failure> {
        if credentials.contains_key(NOT_STORED_MEMBER) {
            let text = "no key to seal credentials with is configured; `ticketwire keys generate` makes one for \
                        secrets.keys";
            return Err(Failure::new(ErrorCode::CredentialsUnreadable, text));
        }
        let binding = Binding {
            organization,
            integration,
            column: "credentials_encrypted",
        };
        let Some(sealed) = credentials.get(SEALED_MEMBER).and_then(Value::as_str) else {
            return Ok(Self {
                members: credentials.clone(),
                binding,
                sealed: None,
            });
        };
        let opened = ring
            .open(&binding, sealed)
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        match opened {
            Ok(members) => Ok(Self {
                members,
                binding,
                sealed: Some(sealed.to_owned()),
            }),
            Err(error) => {
                let text =
                    format!("the credentials of this command cannot be opened any more: {error}");
                Err(Failure::new(ErrorCode::CredentialsUnreadable, text))
            }
        }
    }

    /// Sealed as they are stored. What is known as a setting is taken as one, where a legacy producer put it among the
    /// credentials.
    pub(super) fn keep(
        mut self,
        ring: &KeyRing,
        descriptor: &Descriptor,
        auth_type: AuthType,
        settings: &mut Map<String, Value>,
    ) -> Result<Option<String>, Failure> {
        let is_secret = |name: &str| {
            let mode = descriptor.mode(auth_type).into_iter();
            mode.flat_map(|mode| mode.credentials)
                .any(|set| set.iter().any(|member| member.name == name))
        };
        let moved: Vec<&str> = descriptor
            .settings
            .iter()
            .map(|member| member.name)
            .filter(|name| self.members.contains_key(*name) && !is_secret(name))
            .collect();
        // Given open on the command line, or none at all.
        let keeps = self.sealed.is_some() || self.members.is_empty();
        if moved.is_empty() && keeps {
            return Ok(self.sealed);
        }
        for name in moved {
            if let Some(value) = self.members.remove(name) {
                settings.entry(name).or_insert(value);
            }
        }
        if self.members.is_empty() {
            return Ok(None);
        }
        let plain = Value::Object(self.members).to_string();
        ring.seal(&self.binding, plain.as_bytes())
            .map(Some)
            .map_err(|error| Failure::new(ErrorCode::CredentialsUnreadable, error.to_string()))
    }
}
