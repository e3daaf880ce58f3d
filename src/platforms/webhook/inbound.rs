//! What an endpoint's owner tells us: deliveries signed as ours are, by Standard Webhooks. They say
//! what became of an item, and never what we should do: whoever holds the secret could otherwise
//! run any command of the organization.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Webhook;
use crate::platforms::inbound::{
    Coded, Hit, Hooks, Inbound, Key, Mac, Piece, Scheme, SecretMember, Stamp, Unit, Value as Proof,
    When,
};
use crate::platforms::{
    Actor, AdapterError, Change, ChangeKind, ExternalComment, Facts, Holder, ItemRef, Moment,
};

/// Both directions, as the reference libraries have it.
const WINDOW: Duration = Duration::from_secs(300);

const SIGNED: Scheme = Scheme {
    when: When::Always,
    value: Proof::List("webhook-signature", "v1,"),
    mac: Mac::HmacSha256,
    key: Key::MaybePrefixed("whsec_"),
    coded: Coded::Base64,
    over: &[
        Piece::Header("webhook-id"),
        Piece::Text("."),
        Piece::Header("webhook-timestamp"),
        Piece::Text("."),
        Piece::Body,
    ],
    time: Some(Stamp {
        at: "webhook-timestamp",
        unit: Unit::Seconds,
        window: WINDOW,
    }),
};

static SCHEMES: [Scheme; 3] = [
    // The same by Svix, whose names they were.
    Scheme {
        when: When::Header("svix-signature"),
        value: Proof::List("svix-signature", "v1,"),
        over: &[
            Piece::Header("svix-id"),
            Piece::Text("."),
            Piece::Header("svix-timestamp"),
            Piece::Text("."),
            Piece::Body,
        ],
        time: Some(Stamp {
            at: "svix-timestamp",
            unit: Unit::Seconds,
            window: WINDOW,
        }),
        ..SIGNED
    },
    // By a public key that is configured, never by one that a delivery brings.
    Scheme {
        when: When::Secret("whpk_"),
        value: Proof::List("webhook-signature", "v1a,"),
        mac: Mac::Ed25519,
        key: Key::Prefixed("whpk_"),
        ..SIGNED
    },
    SIGNED,
];

pub(in crate::platforms) static HOOKS: Hooks = Hooks::new(&SCHEMES)
    .keep(&[
        "webhook-id",
        "webhook-timestamp",
        "svix-id",
        "svix-timestamp",
    ])
    .proved_by(&[
        SecretMember::new("signing_secret"),
        SecretMember {
            until: Some("previous_valid_until"),
            ..SecretMember::new("previous_signing_secret")
        },
    ]);

#[derive(Deserialize)]
struct Delivery {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Option<DateTime<Utc>>,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct Item {
    external_id: String,
    url: Option<String>,
    title: Option<String>,
    description: Option<String>,
    status: Option<String>,
    priority: Option<String>,
    /// An id, or an object with one; null is nobody.
    #[serde(default)]
    assignee: Value,
    tags: Option<Vec<String>>,
    #[serde(default)]
    custom_fields: Map<String, Value>,
    comment: Option<Comment>,
    by: Option<Person>,
    /// The marker that our own event brought.
    ticketwire: Option<String>,
}

#[derive(Deserialize)]
struct Comment {
    id: String,
    #[serde(default)]
    body: String,
    public: Option<bool>,
    author: Option<Person>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Person {
    Named(String),
    Known {
        id: Option<String>,
        name: Option<String>,
    },
}

impl Inbound for Webhook {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let delivery: Delivery = hit.json()?;
        let kind = match delivery.kind.as_str() {
            "item.created" => ChangeKind::Created,
            "item.updated" => ChangeKind::Updated,
            "item.deleted" => ChangeKind::Deleted,
            "comment.created" => ChangeKind::Commented,
            "comment.updated" => ChangeKind::CommentChanged,
            "comment.deleted" => ChangeKind::CommentDeleted,
            // Not ours to follow; a sender may tell of more than we asked for.
            _ => return Ok(Vec::new()),
        };
        let says_assignee = delivery.data.get("assignee").is_some();
        let item = Item::deserialize(&delivery.data).map_err(|error| {
            let fault = "is not what an item of a webhook has";
            AdapterError::field("data", fault).with_internal(error.to_string())
        })?;
        if delivery.kind.starts_with("comment.") && item.comment.is_none() {
            let fault = "is required for a delivery about a comment";
            return Err(AdapterError::field("data.comment", fault));
        }
        let id = hit
            .header("webhook-id")
            .or_else(|| hit.header("svix-id"))
            .map_or_else(|| format!("{}#0", hit.digest()), |id| format!("{id}#0"));
        let at = delivery.timestamp;
        let reference = ItemRef::named(&item.external_id);
        Ok(vec![Change {
            at: at.map(Moment::exact),
            by: item.by.map(Person::actor),
            comment: item.comment.map(|comment| comment.shown(at)),
            marker: item.ticketwire,
            facts: Facts {
                title: item.title,
                description: item.description,
                status: item.status,
                priority: item.priority,
                assignee: says_assignee.then(|| holder(&item.assignee)).flatten(),
                tags: item.tags,
                custom: item.custom_fields.into_iter().collect::<BTreeMap<_, _>>(),
                url: item.url,
                ..Facts::default()
            },
            ..Change::new(id, kind, reference)
        }])
    }
}

/// Who has it; `None` where that cannot be read.
fn holder(said: &Value) -> Option<Holder> {
    match said {
        Value::Null => Some(Holder::Nobody),
        Value::String(id) => Some(Holder::Account(id.clone())),
        Value::Object(user) => {
            let id = user.get("id")?.as_str()?;
            Some(Holder::Account(id.to_owned()))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

impl Person {
    fn actor(self) -> Actor {
        match self {
            Self::Named(name) => Actor {
                id: None,
                name: Some(name),
            },
            Self::Known { id, name } => Actor { id, name },
        }
    }
}

impl Comment {
    fn shown(self, at: Option<DateTime<Utc>>) -> ExternalComment {
        ExternalComment {
            id: self.id,
            body: self.body,
            public: self.public,
            author: self.author.map(Person::actor),
            created_at: at,
            ..ExternalComment::default()
        }
    }
}

#[cfg(test)]
mod tests;
