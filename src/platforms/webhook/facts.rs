//! What is known of a webhook: credentials, settings and limits, what its refusals mean, and how
//! the values are read that are no plain text.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::Value;

use super::payload;
use super::sign::Signer;
use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Means, rule};
use crate::platforms::members::judged;
use crate::platforms::rate::RateHeaders;
use crate::platforms::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode,
    OperationKind, Scope, Shape, Strangers, any_version,
};

/// Longest name that a custom field can be given.
const NAME_MAX: usize = 255;
/// The credential that is an address.
pub(super) const SECRET_URL: &str = "secret_url";
/// Why a file without an address is refused.
pub(super) const NO_BYTES: &str = "a receiver is told where a file is, it is not sent the \
                                   bytes: give a url in place of content_base64";
/// No budget is defined; an endpoint that is asked too much is left alone.
const RATE: RateHeaders = RateHeaders::retry_after(Duration::from_secs(30), Scope::Integration);
/// Headers that no integration may set: ours, and those that belong to the connection (RFC 9110,
/// 7.6.1; RFC 9112, 6.1), by which a request could be read as two.
const OWN_HEADERS: [&str; 17] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "content-type",
    "user-agent",
    "host",
    "content-length",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A webhook's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Webhook,
    modes: &[Mode {
        auth_type: AuthType::Custom,
        name: "signed deliveries",
        except: &[Exception::part(
            OperationKind::Attach,
            "bytes in the command",
            NO_BYTES,
        )],
        cannot_read: Some(
            "an endpoint is told of tickets, and cannot be asked what became of them",
        ),
        protection: "native: webhook-id is the same over all attempts, and receivers must \
                     honour it",
        credentials: &[&[
            Member::required(
                "signing_secret",
                "whsec_… (HMAC-SHA256) or whsk_… (ed25519)",
            )
            .shaped(Shape::Checked(|value| judged(value, signer))),
            Member::optional(
                "previous_signing_secret",
                "signs besides the current one while receivers change over",
            )
            .shaped(Shape::Checked(|value| judged(value, signer))),
            Member::optional(
                "previous_valid_until",
                "RFC 3339 time after which the previous secret no longer signs",
            )
            .open()
            .shaped(Shape::Checked(|value| judged(value, valid_until))),
            Member::optional("headers", "object of further headers, e.g. Authorization")
                .shaped(Shape::Checked(headers_fault)),
            Member::optional("basic_user", "user name for Basic authentication")
                .open()
                .shaped(Shape::User),
            Member::optional("basic_password", "password for Basic authentication")
                .shaped(Shape::Password),
            Member::optional(
                SECRET_URL,
                "where to POST, in place of settings.url where the address itself is secret",
            )
            .shaped(Shape::Url),
        ]],
    }],
    settings: &[
        Member::optional(
            "url",
            "where to POST; base_url is taken instead where it is missing",
        )
        .destination()
        .shaped(Shape::Url),
        Member::optional(
            "payload_template",
            "JSON with {{type}}, {{timestamp}}, {{data.title}} … in the place of values",
        )
        .shaped(Shape::Checked(template_fault)),
    ],
    base_url: BaseUrl::Target(&["url", SECRET_URL]),
    // Receivers answer as they like; a log-in page is still none of theirs.
    strangers: Strangers::PAGES,
    rate: RATE,
    // Renamed within `data.custom_fields`, so that no member of the event can be replaced.
    custom_fields: CustomFields {
        allows: |name| !name.trim().is_empty() && name.chars().count() <= NAME_MAX,
        help: "a member of data.custom_fields, of 1 to 255 characters",
        one_each: true,
    },
    deletes: Deletes::Native,
    stable_ref: "id",
    text_max: None,
    version_fault: any_version,
    limits: &[
        "payloads of over 20 kB are against the specification's advice",
        "410 disables the integration",
    ],
};

/// A receiver's body has no shape; its status says everything (specification, "Handling failures").
pub(super) static ERRORS: ErrorTable = ErrorTable {
    rules: &[
        rule(407).means(Means::Authentication),
        rule(410).means(Means::Gone),
    ],
    ..ErrorTable::of_status(RATE)
};

/// A secret that signs.
fn signer(given: &str) -> Result<Signer, AdapterError> {
    Signer::parse("signing_secret", &SecretString::from(given))
}

/// When the previous secret no longer signs.
pub(super) fn valid_until(given: &str) -> Result<DateTime<Utc>, AdapterError> {
    let parsed = DateTime::parse_from_rfc3339(given.trim());
    parsed.map(|time| time.with_timezone(&Utc)).map_err(|_| {
        let fault = "must be an RFC 3339 time, e.g. 2026-01-31T12:00:00Z";
        AdapterError::field("credentials.previous_valid_until", fault)
    })
}

/// A template: JSON, or text that is JSON.
pub(super) fn template_of(given: &Value) -> Result<Value, String> {
    match given {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
        }
        other => Ok(other.clone()),
    }
}

/// Whether a template can be filled by some event.
fn template_fault(given: &Value) -> Result<(), String> {
    payload::placeholder_fault(&template_of(given)?).map_or(Ok(()), Err)
}

fn headers_fault(given: &Value) -> Result<(), String> {
    let Err(error) = headers(Some(given)) else {
        return Ok(());
    };
    let fault = error.public;
    Err(fault
        .strip_prefix("credentials.headers ")
        .unwrap_or(&fault)
        .to_owned())
}

/// Further headers, all of them secret.
pub(super) fn headers(
    given: Option<&Value>,
) -> Result<Vec<(HeaderName, HeaderValue)>, AdapterError> {
    let fault = |text: String| AdapterError::field("credentials.headers", text);
    let members = match given {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(fault("must be an object of header names and values".into())),
    };
    let parsed = members.iter().map(|(name, value)| {
        let header = HeaderName::try_from(name.as_str())
            .map_err(|_| fault(format!("{name:?} is not a header's name")))?;
        if OWN_HEADERS.contains(&header.as_str()) {
            return Err(fault(format!("{name} is set by the worker")));
        }
        let value = value
            .as_str()
            .and_then(|text| HeaderValue::from_str(text).ok());
        let mut value =
            value.ok_or_else(|| fault(format!("the value of {name} is not a header's")))?;
        value.set_sensitive(true);
        Ok((header, value))
    });
    parsed.collect()
}
