//! What Zendesk tells by itself: deliveries of a webhook that is subscribed to ticket events, and
//! those of a trigger or an automation, whose body an administrator writes:
//! `{"ticket_id": "{{ticket.id}}"}`.
//!
//! Source: developer.zendesk.com `/documentation/webhooks/verifying/` and
//! `/api-reference/webhooks/event-types/ticket-events`.

use std::time::Duration;

use chrono::DateTime;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::words::{holder, marker_of};
use crate::platforms::inbound::{
    BODY_MAX, Coded, Hit, Hooks, Key, Mac, Piece, Reply, Scheme, Stamp, Unit, Value as Proof, When,
};
use crate::platforms::{
    Actor, AdapterError, Change, ChangeKind, ErrorClass, ExternalComment, Facts, Holder, Inbound,
    ItemRef, Moment, Needs,
};

/// Which delivery it is.
const INVOCATION: &str = "x-zendesk-webhook-invocation-id";
/// When it was signed.
const SIGNED_AT: &str = "x-zendesk-webhook-signature-timestamp";
/// Begins the type of what happened to a ticket.
const OF_TICKETS: &str = "zen:event-type:ticket.";
/// Begins what an event is about.
const SUBJECT: &str = "zen:ticket:";
/// Kinds of events by which a ticket goes (unconfirmed names).
const DELETED: [&str; 2] = ["soft_deleted", "permanently_deleted"];
/// The kind of event by which it comes back (unconfirmed name).
const RESTORED: &str = "undeleted";
/// Kinds of events that change a comment (unconfirmed what they say of it).
const COMMENT_CHANGED: [&str; 2] = ["comment_made_private", "comment_redacted"];

pub(in crate::platforms) static HOOKS: Hooks = Hooks {
    methods: &[Method::POST],
    keep: &[INVOCATION, "x-zendesk-webhook-id", "x-zendesk-account-id"],
    schemes: &[Scheme {
        when: When::Always,
        value: Proof::Header("x-zendesk-webhook-signature", ""),
        mac: Mac::HmacSha256,
        key: Key::Text,
        coded: Coded::Base64,
        over: &[Piece::Header(SIGNED_AT), Piece::Body],
        time: Some(Stamp {
            at: SIGNED_AT,
            unit: Unit::Iso,
            window: Duration::from_secs(300),
        }),
    }],
    body_max: BODY_MAX,
    taken: Reply::OK,
    shake: |_, _| None,
    secrets: &[],
};

/// Zendesk's deliveries.
pub(super) struct Events;

/// The one there is.
pub(super) static EVENTS: Events = Events;

/// A delivery of an event.
#[derive(Deserialize)]
struct Delivery {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    time: Option<String>,
    subject: Option<String>,
    #[serde(default)]
    detail: Map<String, Value>,
    #[serde(default)]
    event: Map<String, Value>,
}

/// A text, or a number as one: ids come as both.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A ticket by what may be its id.
fn item(id: &str) -> Option<ItemRef> {
    super::is_id(id).then(|| ItemRef {
        external_id: id.to_owned(),
        stable_id: Some(id.to_owned()),
    })
}

fn no_ticket() -> AdapterError {
    let text = "the delivery names no ticket: an event has its subject zen:ticket:…, the body \
                of a trigger {\"ticket_id\": \"{{ticket.id}}\"}";
    let class = ErrorClass::Validation {
        fields: std::collections::BTreeMap::new(),
    };
    AdapterError::new(class, text)
}

impl Delivery {
    /// The ticket. What an event of messaging details is not always one.
    fn item(&self) -> Option<ItemRef> {
        let by_subject = self
            .subject
            .as_deref()
            .and_then(|subject| subject.strip_prefix(SUBJECT));
        let detailed = || text(self.detail.get("id"));
        by_subject.and_then(item).or_else(|| item(&detailed()?))
    }

    fn at(&self) -> Option<Moment> {
        let time = DateTime::parse_from_rfc3339(self.time.as_deref()?).ok()?;
        Some(Moment::second(time.to_utc()))
    }

    /// What the ticket is. Words come in capitals here, and in small letters elsewhere.
    fn facts(&self) -> Facts {
        let said = |name: &str| text(self.detail.get(name));
        let word = |name: &str| said(name).map(|word| word.to_lowercase());
        let tags = self.detail.get("tags").and_then(Value::as_array);
        let assignee = self
            .detail
            .get("assignee_id")
            .map(|id| match text(Some(id)) {
                Some(id) => Holder::Account(id),
                None => holder(None),
            });
        Facts {
            title: said("subject"),
            description: said("description"),
            status: word("status"),
            status_class: word("status"),
            priority: word("priority"),
            assignee,
            tags: tags.map(|tags| tags.iter().filter_map(|tag| text(Some(tag))).collect()),
            ..Facts::default()
        }
    }

    /// What was so before, where the event says it of one thing.
    fn before(&self, what: &str) -> Facts {
        let previous = text(self.event.get("previous"));
        let word = previous.clone().map(|word| word.to_lowercase());
        let mut before = Facts::default();
        match what {
            "status_changed" => {
                before.status.clone_from(&word);
                before.status_class = word;
            }
            "priority_changed" => before.priority = word,
            "subject_changed" => before.title = previous,
            "description_changed" => before.description = previous,
            "agent_assignment_changed" => {
                before.assignee = self.event.get("previous").map(|_| match previous {
                    Some(id) => Holder::Account(id),
                    None => Holder::Nobody,
                });
            }
            _ => {}
        }
        before
    }

    /// The comment that an event is about (unconfirmed names of what is in it).
    fn comment(&self) -> Option<ExternalComment> {
        let comment = self.event.get("comment")?;
        let author = comment.get("author").map(|author| Actor {
            id: text(author.get("id")),
            name: text(author.get("name")),
        });
        Some(ExternalComment {
            id: text(comment.get("id"))?,
            body: text(comment.get("body")).unwrap_or_default(),
            public: comment.get("is_public").and_then(Value::as_bool),
            author,
            created_at: self.at().map(|at| at.low),
            ..ExternalComment::default()
        })
    }

    fn change(&self, what: &str, id: String) -> Result<Change, AdapterError> {
        let item = self.item().ok_or_else(no_ticket)?;
        let comment = self.comment();
        let is_comment = what == "comment_added" || COMMENT_CHANGED.contains(&what);
        let kind = match what {
            "created" => ChangeKind::Created,
            "comment_added" => ChangeKind::Commented,
            _ if COMMENT_CHANGED.contains(&what) => ChangeKind::CommentChanged,
            _ if DELETED.contains(&what) => ChangeKind::Deleted,
            RESTORED => ChangeKind::Restored,
            _ => ChangeKind::Updated,
        };
        let says_all = match &kind {
            ChangeKind::Deleted => true,
            // What a changed comment says is not in the event.
            ChangeKind::Commented => comment.as_ref().is_some_and(|said| !said.body.is_empty()),
            // Fields of the account, and statuses by name, are not in the detail.
            _ => {
                !is_comment
                    && !matches!(
                        what,
                        "custom_field_changed" | "custom_status_changed" | "merged"
                    )
                    && self.detail.contains_key("status")
            }
        };
        let needs = match &comment {
            _ if says_all => Needs::Nothing,
            Some(comment) if is_comment => Needs::Comment {
                id: comment.id.clone(),
            },
            Some(_) | None => Needs::Item,
        };
        let by_author = comment.as_ref().and_then(|said| said.author.clone());
        let by_actor = text(self.detail.get("actor_id")).map(|id| Actor {
            id: Some(id),
            name: None,
        });
        let is_about_item = !is_comment && kind != ChangeKind::Deleted;
        Ok(Change {
            at: self.at(),
            by: by_author.filter(|_| is_comment).or(by_actor),
            facts: if is_about_item {
                self.facts()
            } else {
                Facts::default()
            },
            before: self.before(what),
            comment: comment.filter(|_| is_comment),
            marker: marker_of(text(self.detail.get("external_id")).as_deref()),
            needs,
            ..Change::new(id, kind, item)
        })
    }
}

impl Inbound for Events {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        if let Some(id) = hit.field("/ticket_id") {
            let item = item(id.trim()).ok_or_else(no_ticket)?;
            let at = Some(Moment::second(hit.received_at));
            return Ok(vec![Change::thin(hit.change_id(INVOCATION, 0), item, at)]);
        }
        let delivery: Delivery = hit.json()?;
        // Events of users, organizations and articles are not ours to follow.
        let Some(what) = delivery.kind.strip_prefix(OF_TICKETS) else {
            return Ok(Vec::new());
        };
        let id = delivery.id.clone().filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| hit.change_id(INVOCATION, 0));
        delivery.change(what, id).map(|change| vec![change])
    }
}
