//! An integration's secrets: those that are stored, and those that a change brings. A command's are
//! sealed since the intake, and opened here to be checked and put where they belong.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::listed;
use crate::domain::{AuthType, ErrorCode, Failure, Integration, IntegrationId, OrganizationId};
use crate::platforms::{self, Descriptor, Driver, ErrorClass, Given};
use crate::secrets::{
    Binding, Credentials, KeyRing, NOT_STORED_MEMBER, SEALED_MEMBER, opened_text,
};

/// Columns of the database that seals are bound to.
const CREDENTIALS: &str = "credentials_encrypted";
const WEBHOOK_SECRET: &str = "webhook_secret_encrypted";

/// Credentials that a change brings, open.
pub(super) struct Opened {
    pub(super) members: Map<String, Value>,
    binding: Binding,
    /// As they came; nothing where they are not what came any more.
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
            let text = "no key to seal credentials with is configured; `ticketwire keys \
                        generate` makes one for secrets.keys";
            return Err(Failure::new(ErrorCode::CredentialsUnreadable, text));
        }
        let binding = Binding {
            organization,
            integration,
            column: CREDENTIALS,
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

    /// Takes blanks from the ends of what cannot begin or end with one.
    pub(super) fn trim(&mut self, descriptor: &Descriptor, row: &Integration) {
        let member = |name: &str| platforms::credential(descriptor, row, name);
        if platforms::trim(&mut self.members, member) {
            self.sealed = None;
        }
    }

    /// Sealed as they are stored. What is known as a setting is taken as one, where a legacy
    /// producer put it among the credentials.
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
        // Given open on the command line, or trimmed, or none at all.
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

/// Seals the secret of an integration's inbound webhook, as it is stored.
///
/// # Errors
/// `credentials_unreadable` where there is no key to seal it with.
pub fn seal_webhook_secret(
    ring: &KeyRing,
    organization: OrganizationId,
    integration: IntegrationId,
    secret: &str,
) -> Result<String, Failure> {
    let binding = Binding {
        organization,
        integration,
        column: WEBHOOK_SECRET,
    };
    let plain = Value::String(secret.to_owned()).to_string();
    ring.seal(&binding, plain.as_bytes())
        .map_err(|error| Failure::new(ErrorCode::CredentialsUnreadable, error.to_string()))
}

/// Opens an integration's credentials. The secret of its inbound webhook comes with them where it
/// can be read: nothing is sent with it, but the platform knows it.
///
/// # Errors
/// `credentials_unreadable`, with what it lacks.
pub fn open_credentials(ring: &KeyRing, integration: &Integration) -> Result<Credentials, Failure> {
    let binding = |column| Binding {
        organization: integration
            .organization_id
            .unwrap_or(OrganizationId::new(Uuid::nil())),
        integration: integration.id,
        column,
    };
    let webhook_secret = integration
        .webhook_secret_sealed
        .as_ref()
        .and_then(|sealed| {
            let opened = ring.open(&binding(WEBHOOK_SECRET), sealed).ok()?;
            opened_text(&opened)
        });
    let Some(sealed) = &integration.credentials_sealed else {
        return Ok(Credentials::default().with_webhook_secret(webhook_secret));
    };
    let refuse = |why: String| Failure::new(ErrorCode::CredentialsUnreadable, why);
    let opened = ring.open(&binding(CREDENTIALS), sealed).map_err(|error| {
        refuse(format!(
            "the credentials of integration {} cannot be read: {error}",
            integration.id
        ))
    })?;
    let credentials = Credentials::from_json(&opened);
    let credentials = credentials.map(|found| found.with_webhook_secret(webhook_secret));
    credentials.ok_or_else(|| {
        refuse(format!(
            "the credentials of integration {} are no JSON",
            integration.id
        ))
    })
}

/// Builds the adapter of an integration that is stored.
///
/// # Errors
/// `credentials_unreadable`; `unsupported_platform`; `validation_failed` with every fault at once,
/// by field. What the adapter takes is no fault here, though it would be one where it is given.
pub fn connect(ring: &KeyRing, row: &Integration) -> Result<Arc<Driver>, Failure> {
    let credentials = open_credentials(ring, row)?;
    platforms::connect(row, &credentials).map_err(|error| {
        let failure = error.failure();
        match (&error.class, row.platform.map(platforms::descriptor)) {
            (ErrorClass::Unsupported, _) => Failure {
                code: ErrorCode::UnsupportedPlatform,
                ..failure
            },
            (ErrorClass::Validation { fields }, Some(descriptor)) => {
                let nothing = Given {
                    credentials: false,
                    settings: &Map::new(),
                    base_url: false,
                    webhook_secret: false,
                    egress: None,
                };
                // What the adapter itself said was cleaned of secrets, and goes first.
                let mut faults: BTreeMap<String, String> = fields.clone();
                for (field, fault) in
                    platforms::faults(descriptor, row, credentials.members(), &nothing)
                {
                    faults.entry(field).or_insert(fault);
                }
                Failure {
                    message: listed(&faults),
                    fields: faults,
                    ..failure
                }
            }
            _ => failure,
        }
    })
}
