//! What is kept of a message that is no command. Where in it a secret stands nobody can tell: in a
//! member with a typo, in `data` that is a list, in a header. So everything is masked but what the
//! contract has a place for.
//!
//! A value stays where the type's fields (the parser's own list, [`Command::schema`]) take one like
//! it there; of what does not parse, the contract's words stay. A person still sees what to mend.
//! What was masked cannot be replayed.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use chrono::DateTime;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use crate::contract::{Command, CommandType, is_trace_parent, is_trace_state};
use crate::domain::{MASK, json_fault, looks_secret, shown};
use crate::platforms;
use crate::secrets::{is_secret_member, mask};

/// Most characters of a body that are kept.
const PAYLOAD_MAX: usize = 1 << 20;
/// Most bytes that are kept of what does not parse.
const TEXT_MAX: usize = 16 << 10;
/// Longest reference (`source`, `subject`) that is kept.
const REFERENCE_MAX: usize = 256;
/// The envelope's members besides `data`.
const ATTRIBUTES: [&str; 14] = [
    "specversion",
    "id",
    "source",
    "type",
    "organizationid",
    "time",
    "expirytime",
    "subject",
    "datacontenttype",
    "dataschema",
    "dryrun",
    "traceparent",
    "tracestate",
    "data",
];
/// Headers that the broker, or a tracer, sets.
const HEADERS: [&str; 13] = [
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    "x-delivery-count",
    "x-acquired-count",
    "x-opt-rabbitmq-received-time",
    "traceparent",
    "tracestate",
    "content-type",
];
/// The members of an entry of `x-death`.
const DEATH: [&str; 6] = [
    "count",
    "reason",
    "queue",
    "time",
    "exchange",
    "routing-keys",
];

/// Texts that the parser takes from a list of its own.
const WORDS_OF_LISTS: [&str; 7] = [
    "supports_categories",
    "supports_priorities",
    "test_types",
    "sort_by",
    "sort_order",
    "sync_type",
    "direction",
];

/// Every word that the contract has: what may stay of a text that does not parse.
static WORDS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut words: BTreeSet<String> = ATTRIBUTES.iter().map(|name| (*name).to_owned()).collect();
    for command_type in CommandType::ALL {
        words.insert(command_type.as_str().to_owned());
        names(&Command::schema(*command_type), &mut words);
    }
    words.extend(["true", "false", "null", "1.0"].map(str::to_owned));
    words
});

/// A name, a queue or a routing key as it may be shown; the worker's own begin with `prefix`, which
/// is no secret.
pub(in crate::pipeline) fn name(text: &str, prefix: &str) -> String {
    let own = text.strip_prefix(prefix);
    match own.filter(|rest| rest.starts_with('.')) {
        Some(rest) if shown(rest) == rest => text.to_owned(),
        Some(_) | None if text.is_empty() => String::new(),
        Some(_) | None => shown(text).to_owned(),
    }
}

/// A body as it may be kept.
pub(in crate::pipeline) fn payload(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => message(&value).to_string(),
        Err(error) => unreadable(body, &json_fault(&error)),
    };
    text.chars().take(PAYLOAD_MAX).collect()
}

/// The beginning of a body that was too large, as it may be kept; bytes and digest are of the
/// whole.
pub(in crate::pipeline) fn beginning(head: &[u8], bytes: usize, digest: &str) -> String {
    shape(
        head,
        &format!("is too large; {bytes} bytes, sha256 {digest}"),
    )
}

/// AMQP headers as they may be kept.
pub(in crate::pipeline) fn headers(given: Value, prefix: &str) -> Value {
    let Value::Object(map) = given else {
        return hidden(&given);
    };
    let kept = map.into_iter().map(|(header, value)| {
        let known = HEADERS.contains(&header.to_ascii_lowercase().as_str());
        let value = if known {
            header_value(&value, prefix)
        } else {
            hidden(&value)
        };
        (shown(&header).to_owned(), value)
    });
    kept.collect()
}

fn header_value(value: &Value, prefix: &str) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) if is_trace_parent(text) => value.clone(),
        Value::String(text) => name(text, prefix).into(),
        Value::Array(items) => items
            .iter()
            .map(|item| header_value(item, prefix))
            .collect(),
        Value::Object(map) => map
            .iter()
            .map(|(member, value)| {
                if DEATH.contains(&member.as_str()) {
                    (member.clone(), header_value(value, prefix))
                } else {
                    (shown(member).to_owned(), hidden(value))
                }
            })
            .collect(),
    }
}

/// An envelope, or a list of what may be envelopes.
fn message(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(message).collect(),
        Value::Object(map) => envelope(map),
        other => hidden(other),
    }
}

fn envelope(map: &Map<String, Value>) -> Value {
    let command_type = map
        .get("type")
        .and_then(Value::as_str)
        .and_then(CommandType::parse);
    let text = |value: &Value, fits: fn(&str) -> bool| match value {
        Value::String(text) if fits(text) => value.clone(),
        other => hidden(other),
    };
    let kept = map.iter().map(|(member, value)| {
        let kept = match member.as_str() {
            "specversion" | "type" | "datacontenttype" => text(value, |text| shown(text) == text),
            "id" | "organizationid" => text(value, is_uuid),
            "time" | "expirytime" => text(value, is_moment),
            "source" | "subject" | "dataschema" => text(value, is_reference),
            "traceparent" => text(value, is_trace_parent),
            "tracestate" => text(value, |text| is_trace_state(text) && !looks_secret(text)),
            "dryrun" if value.is_boolean() => value.clone(),
            "data" => match (value, command_type) {
                (Value::Object(_), Some(command_type)) => {
                    fitting(&Command::schema(command_type), member, value)
                }
                (other, _) => hidden(other),
            },
            _ => hidden(value),
        };
        (shown(member).to_owned(), kept)
    });
    kept.collect()
}

/// A value where the schema takes one like it.
fn fitting(schema: &Value, member: &str, value: &Value) -> Value {
    if is_secret_member(member) {
        return masked(value);
    }
    match member {
        "settings" => return settings(value),
        "routing_rules" => return rules(value),
        // Addresses of hooks, and whatever a test is given.
        "notification_channels" | "test_data" => return hidden(value),
        _ => {}
    }
    if let Some(options) = schema["anyOf"].as_array() {
        let kind = |option: &&Value| option["type"].as_str() == Some(kind(value));
        return options
            .iter()
            .find(kind)
            .map_or_else(|| hidden(value), |option| fitting(option, member, value));
    }
    let of_kinds = schema["type"].as_array();
    match (schema["type"].as_str(), value) {
        (_, Value::Null) => Value::Null,
        (Some("string"), Value::String(text)) => text_of(schema, member, text),
        (Some("boolean"), Value::Bool(_)) | (Some("integer" | "number"), Value::Number(_)) => {
            value.clone()
        }
        (Some("array"), Value::Array(items)) => items
            .iter()
            .map(|item| fitting(&schema["items"], member, item))
            .collect(),
        (Some("object"), Value::Object(map)) => match schema["properties"].as_object() {
            Some(properties) => map
                .iter()
                .map(|(name, value)| match properties.get(name) {
                    Some(schema) => (name.clone(), fitting(schema, name, value)),
                    None => (shown(name).to_owned(), hidden(value)),
                })
                .collect(),
            None => free(value),
        },
        (None, _) if of_kinds.is_some_and(|kinds| kinds.iter().any(|k| k == kind(value))) => {
            free(value)
        }
        (_, other) => hidden(other),
    }
}

fn text_of(schema: &Value, member: &str, text: &str) -> Value {
    let fits = match (schema["enum"].as_array(), schema["format"].as_str()) {
        (Some(words), _) => words.iter().any(|word| word == text),
        (None, Some("uuid")) => is_uuid(text),
        (None, Some("date-time")) => is_moment(text),
        (None, _) => return plain(text, member),
    };
    if fits { text.into() } else { MASK.into() }
}

/// A text in its place; an address has to be one, and a word of a closed list has to look like a
/// word.
fn plain(text: &str, member: &str) -> Value {
    if WORDS_OF_LISTS.contains(&member) {
        return shown(text).into();
    }
    let is_url = member.ends_with("url");
    if is_url && Url::parse(text).is_err() {
        return MASK.into();
    }
    without_keys(text, is_url).into()
}

/// Settings by the lists of the platforms; which of them is meant may be what is wrong.
fn settings(value: &Value) -> Value {
    let Value::Object(map) = value else {
        return hidden(value);
    };
    let kept = map.iter().map(|(name, value)| match value {
        _ if !platforms::is_setting(name) => (shown(name).to_owned(), hidden(value)),
        Value::String(text) => {
            let is_secret = looks_secret(text) && Url::parse(text).is_err();
            (
                name.clone(),
                if is_secret {
                    MASK.into()
                } else {
                    plain(text, name)
                },
            )
        }
        other => (name.clone(), free(other)),
    });
    kept.collect()
}

/// Routing rules: values where a condition has one.
fn rules(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(rules).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("rules" | "conditions", _) => (name.clone(), rules(value)),
                ("field" | "operator", Value::String(text)) => (name.clone(), shown(text).into()),
                ("name" | "value" | "enabled" | "priority_adjustment", _) => {
                    (name.clone(), free(value))
                }
                _ => (shown(name).to_owned(), hidden(value)),
            })
            .collect(),
        other => hidden(other),
    }
}

/// A value in a place of the tenant's own making, e.g. a custom field: what says that it is a
/// secret, or looks like one, is masked.
fn free(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) if looks_secret(text) => MASK.into(),
        Value::String(text) => without_keys(text, false).into(),
        Value::Array(items) => items.iter().map(free).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| {
                let value = if says_secret(name) {
                    hidden(value)
                } else {
                    free(value)
                };
                (shown(name).to_owned(), value)
            })
            .collect(),
    }
}

fn says_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "secret",
        "password",
        "passwd",
        "passphrase",
        "token",
        "api_key",
        "apikey",
        "authorization",
        "credential",
        "private",
        "cookie",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// The shape, and nothing of what is in it.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => MASK.into(),
        Value::Array(items) => items.iter().map(hidden).collect(),
        Value::Object(map) => {
            let members = map.iter();
            members
                .map(|(name, value)| (shown(name).to_owned(), hidden(value)))
                .collect()
        }
    }
}

/// Credentials in their place: as they are shown everywhere. Outside it a value has no shape that
/// could be relied on.
fn masked(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.iter();
            members
                .map(|(name, value)| (shown(name).to_owned(), masked(value)))
                .collect()
        }
        Value::Array(_) => hidden(value),
        other => mask(other),
    }
}

/// A text without user and password in a URL; of an address the values of its query go too, as a
/// signature is one.
fn without_keys(text: &str, is_url: bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        kept.push_str(before);
        kept.push_str("://");
        let end = after
            .find(|c: char| c.is_whitespace() || "/?#\"'<>()".contains(c))
            .unwrap_or(after.len());
        let (host, behind) = after.split_at(end);
        match host.rsplit_once('@') {
            Some((_, host)) => {
                kept.push_str(MASK);
                kept.push('@');
                kept.push_str(host);
            }
            None => kept.push_str(host),
        }
        rest = behind;
    }
    kept.push_str(rest);
    match kept.split_once('?') {
        Some((address, query)) if is_url && !query.is_empty() => format!("{address}?{MASK}"),
        Some(_) | None => kept,
    }
}

/// What can be said of a body that is no JSON: how long it is, its digest, where it is at fault,
/// and its shape.
fn unreadable(body: &[u8], fault: &str) -> String {
    let digest = hex::encode(Sha256::digest(body));
    shape(
        body,
        &format!("{fault}; {} bytes, sha256 {digest}", body.len()),
    )
}

/// The contract's words of a text, and masks between them.
fn shape(body: &[u8], says: &str) -> String {
    let head = body.get(..TEXT_MAX).unwrap_or(body);
    let text = String::from_utf8_lossy(head);
    let mut kept = format!("{MASK} {says}: ");
    let is_mark = |c: char| c.is_whitespace() || "{}[],\"'".contains(c);
    let mut word = String::new();
    let put = |word: &mut String, kept: &mut String| {
        let bare = word.trim_end_matches(':');
        if bare.is_empty()
            || WORDS.contains(bare)
            || (bare.len() == 36 && is_uuid(bare))
            || is_moment(bare)
        {
            kept.push_str(word);
        } else if !kept.ends_with(MASK) {
            kept.push_str(MASK);
        }
        word.clear();
    };
    for c in text.chars() {
        if is_mark(c) {
            put(&mut word, &mut kept);
            // A text of many words is one mask.
            let between = c.is_whitespace() && kept.ends_with(MASK);
            if !between {
                kept.push(if c.is_whitespace() { ' ' } else { c });
            }
        } else {
            word.push(c);
        }
    }
    put(&mut word, &mut kept);
    kept
}

/// The names that a schema has at any depth.
fn names(schema: &Value, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            found.insert(name.clone());
            names(property, found);
            names(&property["items"], found);
        }
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_uuid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok()
}

fn is_moment(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok()
}

fn is_reference(text: &str) -> bool {
    text.len() <= REFERENCE_MAX
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || " -._~:/?#[]!$'()*+,;=%".contains(c))
        && !looks_secret(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(value: &Value) -> Value {
        serde_json::from_str(&payload(value.to_string().as_bytes())).unwrap()
    }

    fn create(data: &Value) -> Value {
        json!({ "specversion": "1.0", "id": "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10",
            "source": "/portal", "type": "ticket.create",
                "organizationid": "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10",
                "time": "2026-01-31T12:00:00Z", "data": data })
    }

    #[test]
    fn what_the_contract_has_a_place_for_stays() {
        let sound = create(&json!({
            "title": "Printer on fire", "description": "It **hurts**; see https://x.example/a?b=c",
            "priority": "high", "tags": ["a", "b"],
            "ticket_id": "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10", "route": true,
            "custom_fields": { "team": "north", "n": 3 },
            "attachments": [{ "name": "a.png", "size": 3, "url": "https://x.example/a.png" }],
        }));

        assert_eq!(kept(&sound), sound);
    }

    #[test]
    fn every_example_of_the_contract_stays_but_for_its_secrets() {
        for command_type in CommandType::ALL {
            let example = crate::contract::schema::example(*command_type);
            let mut expected = example.clone();
            for secret in [
                "credentials",
                "webhook_secret",
                "test_data",
                "notification_channels",
            ] {
                if let Some(data) = expected["data"].as_object_mut() {
                    data.remove(secret);
                }
            }
            let mut made = kept(&example);
            for secret in [
                "credentials",
                "webhook_secret",
                "test_data",
                "notification_channels",
            ] {
                if let Some(data) = made["data"].as_object_mut() {
                    data.remove(secret);
                }
            }
            if *command_type != CommandType::WebhookReceived {
                assert_eq!(made, expected, "{command_type}");
            }
        }
    }

    #[test]
    fn a_secret_in_an_odd_place_does_not_stay() {
        let secret = "hunter2";
        let odd = |change: fn(&mut Value)| {
            let mut message = create(&json!({ "title": "T", "description": "d" }));
            change(&mut message);
            message
        };
        let cases = [
            (
                "an unknown member",
                odd(|m| m["data"]["pasword"] = json!("hunter2")),
            ),
            (
                "a wrong type",
                odd(|m| m["data"]["title"] = json!(["hunter2"])),
            ),
            (
                "a wrong word",
                odd(|m| m["data"]["priority"] = json!("hunter2")),
            ),
            (
                "an id that is none",
                odd(|m| m["data"]["ticket_id"] = json!("hunter2")),
            ),
            (
                "data as text",
                odd(|m| m["data"] = json!("{\"token\":\"hunter2\"}")),
            ),
            (
                "data as a list",
                odd(|m| m["data"] = json!([{ "token": "hunter2" }, "hunter2"])),
            ),
            (
                "an attribute",
                odd(|m| m["apikey"] = json!({ "a": ["hunter2"] })),
            ),
            ("the id", odd(|m| m["id"] = json!("hunter2"))),
            ("data_base64", odd(|m| m["data_base64"] = json!("hunter2"))),
            (
                "credentials as a list",
                odd(|m| m["data"]["credentials"] = json!(["hunter2"])),
            ),
            (
                "no type",
                odd(|m| {
                    m["type"] = json!(7);
                    m["data"]["title"] = json!("hunter2");
                }),
            ),
            (
                "a batch",
                json!([create(&json!({ "secret": "hunter2" })), "hunter2"]),
            ),
            ("a text", json!("hunter2")),
            (
                "a custom field that says so",
                odd(|m| m["data"]["custom_fields"] = json!({ "api_token": "hunter2" })),
            ),
            (
                "an attachment's user",
                odd(|m| {
                    m["data"]["attachments"] = json!([{ "url": "https://a:hunter2@x.example/" }]);
                }),
            ),
            (
                "an attachment's query",
                odd(|m| {
                    m["data"]["attachments"] = json!([{ "url": "https://x.example/?sig=hunter2" }]);
                }),
            ),
        ];
        for (name, message) in cases {
            let text = payload(message.to_string().as_bytes());
            assert!(
                !text.contains(secret) && text.contains(MASK),
                "{name}: {text}"
            );
        }
        let integration = |data: Value| {
            let mut message = create(&data);
            message["type"] = json!("integration.create");
            kept(&message)["data"].clone()
        };
        assert_eq!(
            integration(json!({ "credentials": { "api_token": "hunter2" },
                    "settings": { "project_key": "SUP", "token": "hunter2" },
                "base_url": "https://u:hunter2@x.example",
                "notification_channels": { "slack": "hunter2" } })),
            json!({ "credentials": { "api_token": MASK }, "settings": { "project_key": "SUP",
                "token": MASK },
                "base_url": "https://••••@x.example", "notification_channels": { "slack": MASK } })
        );
    }

    #[test]
    fn of_what_does_not_parse_the_contracts_words_stay() {
        let body = r#"{"specversion":"1.0","type":"integration.create","data":{"credentials":{"api_token":"hunter2","a b":"cor rect"#;

        let text = payload(body.as_bytes());

        assert!(
            text.ends_with(
                r#"{"specversion":"1.0","type":"integration.create","data":{"credentials":{"••••":"••••","••••":"••••"#
            ),
            "{text}"
        );
        assert!(
            text.starts_with("•••• ends too early at line 1 column 109; 109 bytes, sha256 "),
            "{text}"
        );
        for body in [
            "password=hunter2&x=1",
            "hunter2",
            "\u{1f}\u{8b}hunter2",
            "--- hunter2\n- hunter2",
            "<t>hunter2</t>",
        ] {
            assert!(!payload(body.as_bytes()).contains("hunter2"), "{body}");
        }
    }

    #[test]
    fn headers_stay_by_their_names() {
        let given = json!({
            "x-death": [{ "queue": "tw.tickets", "reason": "expired", "count": 1, "why": "hunter2",
                "exchange": "xoxb-123-hunter2" }],
            "x-delivery-count": 3, "authorization": "Bearer hunter2", "n3v3r-sh0wn": 1,
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        });

        assert_eq!(
            headers(given, "tw"),
            json!({
                "x-death": [{ "queue": "tw.tickets", "reason": "expired", "count": 1, "why": MASK,
                    "exchange": MASK }],
                "x-delivery-count": 3, "authorization": MASK, MASK: MASK,
                "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            })
        );
    }
}
