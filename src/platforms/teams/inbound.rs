//! What Teams tells by itself: an outgoing webhook of the team, which people mention, signed over
//! its body; and Graph's change notifications, whose every element has the secret in it.
//!
//! Sources: learn.microsoft.com microsoftteams/platform webhooks-and-connectors/how-to/
//! add-outgoing-webhook; graph/change-notifications-delivery-webhooks,
//! graph/teams-changenotifications-chatmessage.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::Teams;
use super::words::{MessageRef, moment};
use crate::platforms::inbound::{
    BODY_MAX, Coded, Handshake, Hit, Hooks, Inbound, Key, Mac, Piece, Reply, Scheme, Stamp, Unit,
    Value as Proof, When,
};
use crate::platforms::{Actor, AdapterError, Change, ChangeKind, ExternalComment, Moment, Needs};

/// Bytes of a token that a handshake gives back.
const TOKEN_MAX: usize = 8 << 10;

static SCHEMES: [Scheme; 2] = [
    Scheme {
        when: When::HeaderStarts("authorization", "HMAC "),
        value: Proof::Header("authorization", "HMAC "),
        mac: Mac::HmacSha256,
        key: Key::Base64,
        coded: Coded::Base64,
        over: &[Piece::Body],
        time: Some(Stamp {
            at: "/timestamp",
            unit: Unit::Iso,
            window: Duration::from_secs(300),
        }),
    },
    Scheme {
        when: When::Always,
        value: Proof::Each("/value", "/clientState"),
        mac: Mac::Same,
        key: Key::Text,
        coded: Coded::Plain,
        over: &[],
        time: None,
    },
];

/// The answer to an outgoing webhook is shown in the thread. Graph takes any success.
pub(in crate::platforms) static HOOKS: Hooks = Hooks {
    methods: &[Method::POST],
    keep: &[],
    schemes: &SCHEMES,
    body_max: BODY_MAX,
    taken: Reply {
        status: 200,
        media_type: Some("application/json"),
        body: Cow::Borrowed(r#"{"type":"message","text":"Noted."}"#),
    },
    shake,
    secrets: &[],
};

/// What somebody said who mentioned the outgoing webhook.
#[derive(Deserialize)]
struct Activity {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    timestamp: Option<String>,
    from: Option<Account>,
    conversation: Option<Conversation>,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    id: Option<String>,
    name: Option<String>,
    aad_object_id: Option<String>,
}

#[derive(Deserialize)]
struct Conversation {
    id: String,
}

/// One element of Graph's notifications: names alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    id: Option<String>,
    #[serde(default)]
    subscription_id: String,
    change_type: Option<String>,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    resource_data: Value,
}

/// Graph asks for its token in plain text while a subscription is made.
fn shake(hit: &Hit<'_>, _: &[SecretString]) -> Option<Handshake> {
    let token = hit.query("validationToken")?;
    let fits = !token.is_empty() && token.len() <= TOKEN_MAX;
    fits.then(|| Handshake::Open(Reply::text(token)))
}

impl Inbound for Teams {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        #[derive(Deserialize)]
        struct Notifications {
            value: Vec<Notification>,
        }
        let is_graph = hit.value().is_some_and(|body| body.get("value").is_some());
        if !is_graph {
            let activity: Activity = hit.json()?;
            return Ok(activity.change().into_iter().collect());
        }
        let told: Notifications = hit.json()?;
        let told = told.value.iter().enumerate();
        let changes = told.filter_map(|(n, one)| one.change(&format!("{}#{n}", hit.digest())));
        Ok(changes.collect())
    }
}

impl Activity {
    /// A comment, where it was said below a message.
    fn change(self) -> Option<Change> {
        if self.kind != "message" {
            return None;
        }
        let conversation = self.conversation?;
        let (channel, root) = conversation.id.split_once(";messageid=")?;
        let root = message(channel, root)?;
        let at = self.timestamp.as_deref().and_then(moment);
        let author = self.from.map(|from| Actor {
            id: from.aad_object_id.or(from.id),
            name: from.name,
        });
        let comment = ExternalComment {
            id: self.id.clone(),
            body: unaddressed(self.text.as_deref().unwrap_or_default()),
            public: Some(true),
            author: author.clone(),
            created_at: at,
            ..ExternalComment::default()
        };
        Some(Change {
            at: at.map(Moment::exact),
            by: author,
            comment: Some(comment),
            ..Change::new(self.id, ChangeKind::Commented, root.item())
        })
    }
}

impl Notification {
    /// What happened to a message or a reply; `None` of what concerns the subscription itself.
    fn change(&self, digest: &str) -> Option<Change> {
        let kind = self.change_type.as_deref()?;
        let named = |name: &str| named(&self.resource, name);
        let root = message(named("channels")?, named("messages")?)?;
        // What a later delivery of the same says alike.
        let tag = self.resource_data["@odata.etag"].as_str();
        let tag = tag.or(self.id.as_deref()).unwrap_or(digest);
        let id = format!("{}|{}|{kind}|{tag}", self.subscription_id, self.resource);
        let Some(reply) = named("replies") else {
            let (kind, needs) = match kind {
                "created" => (ChangeKind::Created, Needs::Item),
                "updated" => (ChangeKind::Updated, Needs::Item),
                "deleted" => (ChangeKind::Deleted, Needs::Nothing),
                _ => return None,
            };
            return Some(Change {
                needs,
                ..Change::new(id, kind, root.item())
            });
        };
        let thin = Needs::Comment {
            id: reply.to_owned(),
        };
        let (kind, needs) = match kind {
            "created" => (ChangeKind::Commented, thin),
            "updated" => (ChangeKind::CommentChanged, thin),
            "deleted" => (ChangeKind::CommentDeleted, Needs::Nothing),
            _ => return None,
        };
        let comment = ExternalComment {
            id: reply.to_owned(),
            ..ExternalComment::default()
        };
        Some(Change {
            comment: Some(comment),
            needs,
            ..Change::new(id, kind, root.item())
        })
    }
}

/// A message, whose ids can be some. Of which team it is does not name it.
fn message(channel: &str, id: &str) -> Option<MessageRef> {
    let message = MessageRef {
        team: String::new(),
        channel: channel.to_owned(),
        id: id.to_owned(),
    };
    Some(message).filter(MessageRef::is_one)
}

/// The id behind a name: `messages('1616990032035')`.
fn named<'a>(resource: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = resource.split('/');
    parts.find_map(|part| {
        let inside = part.strip_prefix(name)?.strip_prefix("('")?;
        inside.strip_suffix("')")
    })
}

/// A text without the names of those who are mentioned in it.
fn unaddressed(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("<at>") {
        made.push_str(before);
        rest = behind.split_once("</at>").map_or("", |(_, after)| after);
    }
    made.push_str(rest);
    made.trim().to_owned()
}
