//! Proofs as platforms make them, by the tests' own code.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::Value;
use ticketwire::domain::IntegrationId;
use ticketwire::inbound::seal::{Delivered, is_sealed as is_good};

use crate::support::World;

pub(super) fn mac(kind: hmac::Algorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(kind, key), text)
        .as_ref()
        .to_vec()
}

pub(super) fn hex_mac(key: &[u8], text: &str) -> String {
    hex::encode(mac(hmac::HMAC_SHA256, key, text.as_bytes()))
}

pub(super) fn base64_mac(key: &[u8], text: &str) -> String {
    STANDARD.encode(mac(hmac::HMAC_SHA256, key, text.as_bytes()))
}

pub(super) fn base64_sha1_mac(key: &[u8], text: &str) -> String {
    STANDARD.encode(mac(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        key,
        text.as_bytes(),
    ))
}

pub(super) fn token(secret: &str, issued: i64) -> String {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = format!(
        r#"{{"iss":"client-id","iat":{issued},"exp":{}}}"#,
        issued + 180
    );
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let proof = mac(hmac::HMAC_SHA256, secret.as_bytes(), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(proof))
}

pub(super) fn decoded(body: &Value) -> Vec<u8> {
    STANDARD.decode(body.as_str().unwrap()).unwrap()
}

/// Whether a message has the listener's proof.
pub(super) fn is_sealed(world: &World, event: &Value) -> bool {
    let Some(seal) = event["listenerseal"].as_str() else {
        return false;
    };
    let data = &event["data"];
    let headers: BTreeMap<String, String> =
        serde_json::from_value(data["headers"].clone()).unwrap();
    let body = decoded(&data["body"]);
    let delivered = Delivered {
        integration: IntegrationId::parse(data["integration_id"].as_str().unwrap()).unwrap(),
        received_at: data["received_at"].as_str().unwrap(),
        method: data["method"].as_str().unwrap(),
        query: data["query"].as_str(),
        headers: &headers,
        body: &body,
    };
    is_good(&super::ring(world), &delivered, seal)
}
