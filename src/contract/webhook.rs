//! `webhook.received`: what a platform told by itself, as it came.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::Fields;
use super::fields::{Extent, time_of};
use super::readers::integration_id;
use crate::domain::IntegrationId;

/// Most headers that are kept of a delivery, and the longest of them in bytes.
const HEADERS_MAX: usize = 64;
const HEADERS_BYTES_MAX: usize = 16 << 10;
/// Longest body, in characters of base64: that of 10 MiB, which mail may have.
const BODY_MAX: usize = 14 << 20;
/// The member that stands for headers that the ledger keeps sealed.
const SEALED: &str = "$sealed";
/// Padding may be left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A delivery of a platform's webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookReceived {
    /// Whose it is.
    pub integration_id: IntegrationId,
    /// Its headers, by their names in lower case.
    pub headers: Headers,
    /// Its body as it came.
    pub body: Bytes,
    /// When it came, as it is written: the seal is over that.
    pub received_at: String,
    /// The same as a moment.
    pub received: DateTime<Utc>,
    /// How it came.
    pub method: String,
    /// The query of its address as it came, without the question mark.
    pub query: Option<String>,
    /// What the listener that verified it says of it.
    pub seal: Option<String>,
}

/// The headers of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Headers {
    /// As they came.
    Open(BTreeMap<String, String>),
    /// As the ledger keeps those that may hold a secret.
    Sealed(String),
}

/// The member of stored data that has the extension attribute of the same name.
pub(super) const LISTENER_SEAL: &str = "listenerseal";

pub(super) fn received(f: &mut Fields<'_>) -> WebhookReceived {
    let integration_id = integration_id(f);
    f.require("headers", "an object of texts");
    let extent = Extent {
        members: HEADERS_MAX,
        bytes: HEADERS_BYTES_MAX,
    };
    let headers = f
        .object_of("headers", extent)
        .map_or_else(|| Headers::Open(BTreeMap::new()), |map| headers(f, map));
    f.require("body", "the delivery's body in base64");
    let body = f.text("body", 0, BODY_MAX).unwrap_or_default();
    let body = BASE64.decode(body.as_bytes()).unwrap_or_else(|_| {
        f.fault("body", "must be base64 (RFC 4648 section 4)");
        Vec::new()
    });
    f.require("received_at", "a time (RFC 3339)");
    let (received_at, received) = moment(f);
    let method = f
        .word("method", &["POST", "GET", "HEAD"])
        .unwrap_or("POST")
        .to_owned();
    WebhookReceived {
        integration_id,
        headers,
        body: body.into(),
        received_at,
        received,
        method,
        query: f.text("query", 0, 8192).filter(|query| !query.is_empty()),
        seal: f.text(LISTENER_SEAL, 1, 512),
    }
}

fn headers(f: &mut Fields<'_>, map: Map<String, Value>) -> Headers {
    if let (1, Some(Value::String(sealed))) = (map.len(), map.get(SEALED)) {
        return Headers::Sealed(sealed.clone());
    }
    let mut headers = BTreeMap::new();
    for (name, value) in map {
        match value {
            Value::String(text) => drop(headers.insert(name.to_ascii_lowercase(), text)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                f.fault("headers", "must be an object whose members are texts");
            }
        }
    }
    Headers::Open(headers)
}

fn moment(f: &mut Fields<'_>) -> (String, DateTime<Utc>) {
    let text = f
        .value(
            "received_at",
            || json!({ "type": "string", "format": "date-time" }),
        )
        .and_then(|value| value.as_str().map(str::to_owned));
    let text = text.unwrap_or_default();
    let received = time_of(&text).unwrap_or_else(|| {
        f.fault(
            "received_at",
            "must be a time like 2026-01-31T12:00:00Z (RFC 3339)",
        );
        DateTime::UNIX_EPOCH
    });
    (text, received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Faults;

    fn read(data: Value) -> Result<WebhookReceived, Faults> {
        let mut faults = Faults::new();
        let Value::Object(map) = data else {
            unreachable!("an object")
        };
        let mut f = Fields::new(map, &mut faults);
        let read = received(&mut f);
        f.finish();
        if faults.is_empty() {
            Ok(read)
        } else {
            Err(faults)
        }
    }

    fn sound() -> Value {
        json!({
            "integration_id": "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10",
            "headers": { "X-GitHub-Event": "issues" }, "body": "e30",
            "received_at": "2026-01-31T12:00:00.5Z",
        })
    }

    #[test]
    fn a_delivery_is_read_as_it_came() {
        let hook = read(sound()).unwrap();

        assert_eq!(&hook.body[..], b"{}");
        assert_eq!(hook.received_at, "2026-01-31T12:00:00.5Z");
        assert_eq!((hook.method.as_str(), hook.query), ("POST", None));
        let Headers::Open(headers) = hook.headers else {
            panic!("they are open")
        };
        assert_eq!(headers["x-github-event"], "issues");
    }

    #[test]
    fn faults_are_told_by_field() {
        for (field, value) in [
            ("body", json!("*")),
            ("headers", json!({ "a": 1 })),
            ("received_at", json!("yesterday")),
            ("method", json!("DELETE")),
            ("integration_id", json!("7")),
        ] {
            let mut data = sound();
            data[field] = value;
            let faults = read(data).unwrap_err();
            assert!(faults.contains_key(field), "{field}: {faults:?}");
        }
        for field in ["body", "headers", "received_at", "integration_id"] {
            let mut data = sound();
            data.as_object_mut().unwrap().remove(field);
            assert!(read(data).unwrap_err().contains_key(field), "{field}");
        }
    }
}
