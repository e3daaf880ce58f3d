//! What Zoom tells by itself: events of Team Chat, signed over their time and body.
//!
//! Sources: developers.zoom.us docs/api/webhooks, docs/api/team-chat/events.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::Zoom;
use super::words::{MessageRef, comment, key_of, title_of};
use crate::domain::AuthType;
use crate::platforms::inbound::{
    Coded, Handshake, Hit, Hooks, Inbound, Key, Mac, Piece, Reply, Scheme, Stamp, Unit,
    Value as Proof, When, verify,
};
use crate::platforms::text::Marker;
use crate::platforms::{
    Actor, AdapterError, Change, ChangeKind, ExternalComment, ExternalFile, Facts, Moment,
};

const TIME: &str = "x-zm-request-timestamp";

static SCHEMES: [Scheme; 1] = [Scheme {
    when: When::Always,
    value: Proof::Header("x-zm-signature", "v0="),
    mac: Mac::HmacSha256,
    key: Key::Text,
    coded: Coded::Hex,
    over: &[
        Piece::Text("v0:"),
        Piece::Header(TIME),
        Piece::Text(":"),
        Piece::Body,
    ],
    // Zoom documents no tolerance.
    time: Some(Stamp {
        at: TIME,
        unit: Unit::Seconds,
        window: Duration::from_secs(300),
    }),
}];

pub(in crate::platforms) static HOOKS: Hooks = Hooks::new(&SCHEMES)
    .keep(&["x-zm-request-id"])
    .shaking(shake);

#[derive(Deserialize)]
struct Delivery {
    event: String,
    /// Milliseconds since 1970.
    event_ts: Option<i64>,
    #[serde(default)]
    payload: Payload,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    #[serde(rename = "plainToken")]
    plain_token: String,
    /// An e-mail address.
    operator: Option<String>,
    operator_id: Option<String>,
    object: Object,
}

/// A message as events show it, by the names of their older and their newer form.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    id: Option<String>,
    message_id: Option<String>,
    channel_id: Option<String>,
    message: Option<String>,
    parent_msg_id: Option<String>,
    reply_main_message_id: Option<String>,
    /// Milliseconds since 1970.
    timestamp: Option<i64>,
    files: Vec<SharedFile>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SharedFile {
    file_id: Option<String>,
    file_name: String,
    file_size: Option<u64>,
}

/// What an event says was done with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Did {
    Posted,
    Updated,
    Deleted,
}

impl Did {
    fn of(event: &str) -> Option<Self> {
        match event {
            "chat_message.replied" | "team_chat.channel_message_posted" => Some(Self::Posted),
            "chat_message.updated" | "team_chat.channel_message_updated" => Some(Self::Updated),
            "chat_message.deleted" | "team_chat.channel_message_deleted" => Some(Self::Deleted),
            _ => None,
        }
    }
}

/// The proof that we listen is asked for at set-up and every 72 hours. Events that are not
/// followed are answered, or Zoom would send them again.
fn shake(hit: &Hit<'_>, secrets: &[SecretString]) -> Option<Handshake> {
    let delivery: Delivery = hit.json().ok()?;
    if delivery.event == "endpoint.url_validation" {
        // What nobody signed gets no proof: whoever asks could have texts of his own signed.
        let Some(secret) = signed_with(hit, secrets) else {
            return Some(Handshake::Heartbeat);
        };
        let plain = delivery.payload.plain_token;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let proof = hex::encode(hmac::sign(&key, plain.as_bytes()));
        let reply = json!({ "plainToken": plain, "encryptedToken": proof });
        return Some(Handshake::Verified(Reply::json(&reply)));
    }
    Did::of(&delivery.event)
        .is_none()
        .then_some(Handshake::Heartbeat)
}

impl Inbound for Zoom {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let delivery: Delivery = hit.json()?;
        let did = Did::of(&delivery.event);
        let change = did.and_then(|did| told(did, &delivery));
        Ok(change.into_iter().collect())
    }
}

/// The secret that a delivery is signed with: while one is exchanged for another, both are known.
fn signed_with<'a>(hit: &Hit<'_>, secrets: &'a [SecretString]) -> Option<&'a SecretString> {
    let is_it = |secret: &&SecretString| {
        let alone = std::slice::from_ref(*secret);
        verify(&SCHEMES, hit, AuthType::Oauth2, alone, hit.received_at).is_ok()
    };
    secrets.iter().find(is_it)
}

/// What an event says of a ticket; `None` where it is about none.
fn told(did: Did, delivery: &Delivery) -> Option<Change> {
    let object = &delivery.payload.object;
    let channel = object.channel_id.as_deref()?;
    let id = object.message_id.as_deref().or(object.id.as_deref())?;
    let message = Some(MessageRef::new(channel, id)).filter(MessageRef::is_one)?;
    let root = object.reply_main_message_id.as_deref();
    let root = root.or(object.parent_msg_id.as_deref());
    let root = root.filter(|root| !root.is_empty() && !root.eq_ignore_ascii_case(id));
    let by = Actor {
        id: (delivery.payload.operator_id.clone()).or_else(|| delivery.payload.operator.clone()),
        name: delivery.payload.operator.clone(),
    };
    let at = millis(delivery.event_ts).or_else(|| millis(object.timestamp));
    let text = object.message.as_deref().unwrap_or_default();
    let named = |what: &str| {
        let at = delivery.event_ts.unwrap_or_default();
        format!("{what}:{}@{at}", key_of(id))
    };
    let change = match root {
        Some(root) => {
            let root = Some(MessageRef::new(channel, root)).filter(MessageRef::is_one)?;
            let written = millis(object.timestamp).or(at);
            let said = comment(id, text, Some(by.clone()), written.as_ref());
            let (change_id, kind, comment) = match did {
                // The same in both forms of the event.
                Did::Posted => (format!("c:{}", key_of(id)), ChangeKind::Commented, said),
                Did::Updated => (named("updated"), ChangeKind::CommentChanged, said),
                Did::Deleted => {
                    let gone = ExternalComment {
                        id: said.id,
                        ..ExternalComment::default()
                    };
                    (named("deleted"), ChangeKind::CommentDeleted, gone)
                }
            };
            let files = object.files.iter().map(|file| ExternalFile {
                id: file.file_id.clone().unwrap_or_else(|| key_of(id)),
                name: file.file_name.clone(),
                size: file.file_size,
                ..ExternalFile::default()
            });
            Change {
                files: files.filter(|_| did == Did::Posted).collect(),
                comment: Some(comment),
                ..Change::new(change_id, kind, root.item())
            }
        }
        None => {
            let marker = Marker::find(text).filter(|marker| marker.starts_with("tkt-"));
            let (change_id, kind) = match did {
                Did::Deleted => (named("deleted"), ChangeKind::Deleted),
                // What else is posted in the channel is no ticket.
                Did::Posted | Did::Updated if marker.is_none() => return None,
                Did::Posted => (named("posted"), ChangeKind::Created),
                Did::Updated => (named("updated"), ChangeKind::Updated),
            };
            Change {
                facts: Facts {
                    title: title_of(text),
                    ..Facts::default()
                },
                marker: marker.map(str::to_owned),
                ..Change::new(change_id, kind, message.item())
            }
        }
    };
    Some(Change {
        at: at.map(Moment::exact),
        by: Some(by),
        ..change
    })
}

fn millis(since_1970: Option<i64>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(since_1970?)
}
