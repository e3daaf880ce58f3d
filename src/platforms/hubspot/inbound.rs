//! What HubSpot tells by itself: arrays of up to a hundred events, of several tickets, in any
//! order, each perhaps more than once ("Webhooks guide", "Generic webhook subscriptions"). Notes
//! have events of their own, which do not name their ticket.

use std::time::Duration;

use chrono::DateTime;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::HubSpot;
use super::words::{self, CONTENT, NOTE_BODY, OWNER, PRIORITY, STAGE, SUBJECT};
use crate::platforms::inbound::{
    Coded, Hit, Hooks, Key, Mac, Piece, Reply, Scheme, SecretMember, Stamp, Unit, Value as Proof,
    When,
};
use crate::platforms::text::Marker;
use crate::platforms::{
    Actor, AdapterError, Change, ChangeKind, ExternalComment, Facts, Inbound, ItemRef, Moment,
    Needs,
};

/// Bytes of a delivery: a hundred events, some with a text.
const DELIVERY_MAX: usize = 8 << 20;
/// When it was signed.
const SIGNED_AT: &str = "x-hubspot-request-timestamp";
/// Types of objects that are followed.
const TICKET: &str = "0-5";
const NOTE: &str = "0-46";

/// Version 3, and where its header is missing version 1, by which legacy private apps sign
/// ("Request validation"). Version 2 is of workflows, which are another product.
pub(in crate::platforms) static HOOKS: Hooks = Hooks {
    methods: &[Method::POST],
    keep: &[],
    schemes: &[
        Scheme {
            when: When::Header("x-hubspot-signature-v3"),
            value: Proof::Header("x-hubspot-signature-v3", ""),
            mac: Mac::HmacSha256,
            key: Key::Text,
            coded: Coded::Base64,
            over: &[
                Piece::Method,
                Piece::UrlDecoded,
                Piece::Body,
                Piece::Header(SIGNED_AT),
            ],
            time: Some(Stamp {
                at: SIGNED_AT,
                unit: Unit::Millis,
                window: Duration::from_secs(300),
            }),
        },
        Scheme {
            when: When::HeaderHas("x-hubspot-signature-version", "v1"),
            value: Proof::Header("x-hubspot-signature", ""),
            mac: Mac::Sha256Behind,
            key: Key::Text,
            coded: Coded::Hex,
            over: &[Piece::Body],
            time: None,
        },
    ],
    body_max: DELIVERY_MAX,
    taken: Reply::OK,
    shake: |_, _| None,
    secrets: &[SecretMember::new("client_secret")],
};

/// One event. Ids are numbers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_id: Option<u64>,
    subscription_id: Option<u64>,
    portal_id: Option<u64>,
    occurred_at: i64,
    subscription_type: Option<String>,
    /// What older documents call the type.
    event_type: Option<String>,
    object_type_id: Option<String>,
    object_id: Option<u64>,
    property_name: Option<String>,
    property_value: Option<String>,
    source_id: Option<String>,
    primary_object_id: Option<u64>,
    #[serde(default)]
    merged_object_ids: Vec<u64>,
    new_object_id: Option<u64>,
}

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Object {
    Ticket,
    Note,
}

fn item(id: u64) -> ItemRef {
    ItemRef {
        external_id: id.to_string(),
        stable_id: Some(id.to_string()),
    }
}

impl Event {
    /// The object, and what happened to it; `None` of what is not followed.
    fn told(&self) -> Option<(Object, &str)> {
        let kind = self
            .subscription_type
            .as_deref()
            .or(self.event_type.as_deref())?;
        match (kind.split_once('.')?, self.object_type_id.as_deref()) {
            (("ticket", what), _) | (("object", what), Some(TICKET)) => {
                Some((Object::Ticket, what))
            }
            (("object", what), Some(NOTE)) => Some((Object::Note, what)),
            _ => None,
        }
    }

    /// The same each time it is told: `eventId` alone is not unique, and `attemptNumber` is no part
    /// of what happened.
    fn id(&self) -> String {
        let parts = [
            self.portal_id,
            self.subscription_id,
            self.event_id,
            self.object_id,
        ];
        let parts = parts.map(|part| part.map_or(String::new(), |part| part.to_string()));
        let property = self.property_name.as_deref().unwrap_or_default();
        format!("{}:{}:{property}", parts.join(":"), self.occurred_at)
    }

    fn change(&self, kind: ChangeKind, of: u64) -> Change {
        let at = DateTime::from_timestamp_millis(self.occurred_at);
        let by = self.source_id.as_deref();
        Change {
            at: at.map(Moment::exact),
            by: by.map(|source| Actor {
                id: Some(source.strip_prefix("userId:").unwrap_or(source).to_owned()),
                name: None,
            }),
            ..Change::new(self.id(), kind, item(of))
        }
    }

    /// What happened to a ticket.
    fn of_ticket(&self, what: &str, hubspot: &HubSpot) -> Vec<Change> {
        if what == "merge" {
            return self.merged();
        }
        let Some(id) = self.object_id else {
            return Vec::new();
        };
        let thin = |kind| Change {
            needs: Needs::Item,
            ..self.change(kind, id)
        };
        match what {
            "creation" => vec![thin(ChangeKind::Created)],
            "restore" => vec![thin(ChangeKind::Restored)],
            "deletion" => vec![self.change(ChangeKind::Deleted, id)],
            "propertyChange" => match self.set(hubspot) {
                Some(Set::Facts(facts)) => vec![Change {
                    facts: *facts,
                    ..self.change(ChangeKind::Updated, id)
                }],
                Some(Set::Unknown) => vec![thin(ChangeKind::Updated)],
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Tickets that became part of another. Which one is left, says `newObjectId` where it is new.
    fn merged(&self) -> Vec<Change> {
        let Some(into) = self.new_object_id.or(self.primary_object_id) else {
            return Vec::new();
        };
        let primary = self.primary_object_id.into_iter();
        let gone = primary.chain(self.merged_object_ids.iter().copied());
        let gone = gone.filter(|id| *id != into).map(|id| {
            let change = self.change(ChangeKind::Merged { into: item(into) }, id);
            Change {
                id: format!("{}#{id}", change.id),
                ..change
            }
        });
        gone.collect()
    }

    /// What happened to a note. Its ticket is not named.
    fn of_note(&self, what: &str) -> Vec<Change> {
        let is_text = self.property_name.as_deref() == Some(NOTE_BODY);
        let kind = match what {
            "creation" => ChangeKind::Commented,
            "propertyChange" if is_text => ChangeKind::CommentChanged,
            _ => return Vec::new(),
        };
        let Some(id) = self.object_id else {
            return Vec::new();
        };
        let comment = ExternalComment {
            id: id.to_string(),
            public: Some(false),
            ..ExternalComment::default()
        };
        vec![Change {
            item: ItemRef::default(),
            comment: Some(comment),
            needs: Needs::Parent,
            ..self.change(kind, id)
        }]
    }

    /// What a property is now; `None` of one that is not followed.
    fn set(&self, hubspot: &HubSpot) -> Option<Set> {
        let name = self.property_name.as_deref()?;
        let value = self.property_value.as_deref();
        let text = || value.map(str::to_owned);
        let mut facts = Facts::default();
        match name {
            SUBJECT => facts.title = text(),
            CONTENT => facts.description = value.map(|text| Marker::without(text).to_owned()),
            PRIORITY => facts.priority = text(),
            OWNER => {
                let owner = value.filter(|id| !id.is_empty());
                facts.assignee = Some(words::holder(owner));
            }
            STAGE if value.is_some_and(|id| hubspot.knows_stage(id)) => facts.status = text(),
            STAGE => return Some(Set::Unknown),
            _ if hubspot.tags.as_deref() == Some(name) => facts.tags = Some(words::tags(value)),
            _ if hubspot.fields.ours(name).is_some() => {
                facts
                    .custom
                    .insert(name.to_owned(), value.map_or(Value::Null, Value::from));
            }
            _ => return None,
        }
        Some(Set::Facts(Box::new(facts)))
    }
}

/// What an event of a property says.
enum Set {
    Facts(Box<Facts>),
    /// That it changed.
    Unknown,
}

impl Inbound for HubSpot {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let events: Vec<Event> = hit.json()?;
        // All accounts that installed an app have one address.
        let is_ours = |event: &&Event| self.portal.is_none_or(|own| event.portal_id == Some(own));
        let changes = events.iter().filter(is_ours).filter_map(|event| {
            let (object, what) = event.told()?;
            Some(match object {
                Object::Ticket => event.of_ticket(what, self),
                Object::Note => event.of_note(what),
            })
        });
        Ok(changes.flatten().collect())
    }
}
