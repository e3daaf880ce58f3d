//! What Slack tells by itself: the Events API, signed over its body and time.
//!
//! Sources: docs.slack.dev apis/events-api, authentication/verifying-requests-from-slack,
//! reference/events/message.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Slack;
use super::item::MessageRef;
use super::listing::Listed;
use super::reader::{comment, files, moment};
use crate::platforms::inbound::{
    Coded, Handshake, Hit, Hooks, Inbound, Key, Mac, Piece, Reply, Scheme, Stamp, Unit,
    Value as Proof, When,
};
use crate::platforms::{Actor, AdapterError, Change, ChangeKind, ExternalComment, Moment, Needs};

const TIME: &str = "x-slack-request-timestamp";

static SCHEMES: [Scheme; 1] = [Scheme {
    when: When::Always,
    value: Proof::Header("x-slack-signature", "v0="),
    mac: Mac::HmacSha256,
    key: Key::Text,
    coded: Coded::Hex,
    over: &[
        Piece::Text("v0:"),
        Piece::Header(TIME),
        Piece::Text(":"),
        Piece::Body,
    ],
    time: Some(Stamp {
        at: TIME,
        unit: Unit::Seconds,
        window: Duration::from_secs(300),
    }),
}];

pub(in crate::platforms) static HOOKS: Hooks = Hooks::new(&SCHEMES)
    .keep(&["x-slack-retry-num", "x-slack-retry-reason"])
    .shaking(shake);

#[derive(Deserialize)]
struct Delivery {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    challenge: String,
    event_id: Option<String>,
    #[serde(default)]
    event: Value,
}

/// Events that are not followed are answered, and no more.
fn shake(hit: &Hit<'_>, _: &[SecretString]) -> Option<Handshake> {
    let delivery: Delivery = hit.json().ok()?;
    match delivery.kind.as_str() {
        "event_callback" => None,
        "url_verification" => {
            let reply = Reply::json(&json!({ "challenge": delivery.challenge }));
            Some(Handshake::Verified(reply))
        }
        _ => Some(Handshake::Heartbeat),
    }
}

impl Inbound for Slack {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let delivery: Delivery = hit.json()?;
        let id = match &delivery.event_id {
            Some(id) => format!("{id}#0"),
            None => format!("{}#0", hit.digest()),
        };
        let change = match delivery.event["type"].as_str() {
            Some("message") => told(id, &delivery.event),
            _ => None,
        };
        Ok(change.into_iter().collect())
    }
}

/// What an event about a message says of a ticket; `None` where it is about none.
fn told(id: String, event: &Value) -> Option<Change> {
    let channel = event["channel"].as_str()?;
    let message = |value: &Value| Listed::deserialize(value).ok();
    match event["subtype"].as_str() {
        None | Some("thread_broadcast" | "file_share" | "bot_message") => {
            said(id, channel, &message(event)?)
        }
        Some("message_changed") => changed(
            id,
            channel,
            &message(&event["message"])?,
            message(&event["previous_message"]).as_ref(),
        ),
        Some("message_deleted") => deleted(id, channel, event["deleted_ts"].as_str()?, event),
        Some(_) => None,
    }
}

/// The root that a message is a reply to; `None` where it is a root itself.
fn root_of(channel: &str, message: &Listed) -> Option<MessageRef> {
    let root = message.thread_ts.as_ref()?;
    (*root != message.ts).then(|| MessageRef {
        channel: channel.to_owned(),
        ts: root.clone(),
    })
}

/// A message is a comment where it is a reply. One of the channel's is a ticket where it carries a
/// marker of ours.
fn said(id: String, channel: &str, message: &Listed) -> Option<Change> {
    let at = moment(&message.ts).map(Moment::exact);
    if let Some(root) = root_of(channel, message) {
        return Some(Change {
            at,
            by: Some(author(message)),
            files: files(message).collect(),
            comment: Some(shown(message)),
            ..Change::new(id, ChangeKind::Commented, sound(&root)?.item())
        });
    }
    let marker = message.marker()?;
    let root = MessageRef {
        channel: channel.to_owned(),
        ts: message.ts.clone(),
    };
    Some(Change {
        at,
        by: Some(author(message)),
        marker: Some(marker.to_owned()),
        needs: Needs::Item,
        ..Change::new(id, ChangeKind::Created, sound(&root)?.item())
    })
}

fn changed(id: String, channel: &str, now: &Listed, before: Option<&Listed>) -> Option<Change> {
    let edited = now.edited.as_ref().map(|edited| edited.ts.as_str());
    let at = edited.and_then(moment).map(Moment::exact);
    if let Some(root) = root_of(channel, now) {
        let before = before.map(|before| shown(before).body);
        return Some(Change {
            at,
            by: Some(author(now)),
            comment: Some(ExternalComment {
                before,
                ..shown(now)
            }),
            ..Change::new(id, ChangeKind::CommentChanged, sound(&root)?.item())
        });
    }
    let marker = now.marker()?;
    let root = MessageRef {
        channel: channel.to_owned(),
        ts: now.ts.clone(),
    };
    Some(Change {
        marker: Some(marker.to_owned()),
        ..Change::thin(id, sound(&root)?.item(), at)
    })
}

fn deleted(id: String, channel: &str, ts: &str, event: &Value) -> Option<Change> {
    let before = Listed::deserialize(&event["previous_message"]).ok();
    let at = event["event_ts"].as_str().and_then(moment);
    let at = at.map(Moment::exact);
    let root = before.as_ref().and_then(|before| root_of(channel, before));
    if let Some(root) = root {
        return Some(Change {
            at,
            comment: Some(ExternalComment {
                id: ts.to_owned(),
                before: before.map(|before| shown(&before).body),
                ..ExternalComment::default()
            }),
            ..Change::new(id, ChangeKind::CommentDeleted, sound(&root)?.item())
        });
    }
    let root = MessageRef {
        channel: channel.to_owned(),
        ts: ts.to_owned(),
    };
    Some(Change {
        at,
        marker: before.and_then(|before| before.marker().map(str::to_owned)),
        ..Change::new(id, ChangeKind::Deleted, sound(&root)?.item())
    })
}

/// One whose ids can be some.
fn sound(message: &MessageRef) -> Option<&MessageRef> {
    message.is_one().then_some(message)
}

fn author(message: &Listed) -> Actor {
    Actor {
        id: message.user.clone().or_else(|| message.bot_id.clone()),
        name: message.username.clone(),
    }
}

/// Everybody in the channel reads it.
fn shown(message: &Listed) -> ExternalComment {
    ExternalComment {
        public: Some(true),
        marker: message.marker().map(str::to_owned),
        ..comment(message)
    }
}

#[cfg(test)]
mod tests;
