//! A message of a channel: how it is called, and what Graph says of it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::facts::{MESSAGE_ID, is_channel};
use crate::domain::TicketView;
use crate::platforms::text::Marker;
use crate::platforms::{AdapterError, Effect, ErrorClass, ItemRef, Receipt};

/// The media type of a card, and of a file in SharePoint.
pub(super) const CARD: &str = "application/vnd.microsoft.card.adaptive";
pub(super) const REFERENCE: &str = "reference";

/// A channel's message, by what is unique together. Its id is a time in milliseconds, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageRef {
    pub(super) team: String,
    pub(super) channel: String,
    pub(super) id: String,
}

impl MessageRef {
    /// The ticket's message: as remembered, or by the id that people quote, in this team.
    pub(super) fn of(ticket: &TicketView, team: &str) -> Result<Self, AdapterError> {
        let remembered = |name: &str| ticket.external_ref.get(name)?.as_str().map(str::to_owned);
        let found = || {
            Some(Self {
                team: remembered("team_id")?,
                channel: remembered("channel_id")?,
                id: remembered(MESSAGE_ID)?,
            })
        };
        let quoted = || Self::parse(ticket.external_id.as_deref()?, team);
        let message = found().or_else(quoted).filter(Self::is_one);
        message.ok_or_else(|| {
            let text = "the ticket's external id names no message in Teams (a channel's id, a \
                slash, a number)";
            AdapterError::new(ErrorClass::NotFound, text)
        })
    }

    /// A message of this team by the id that people quote.
    pub(super) fn parse(external_id: &str, team: &str) -> Option<Self> {
        let (channel, id) = external_id.split_once('/')?;
        let message = Self {
            team: team.to_owned(),
            channel: channel.to_owned(),
            id: id.to_owned(),
        };
        Some(message).filter(Self::is_one)
    }

    /// Whether these can be a channel and a message.
    pub(super) fn is_one(&self) -> bool {
        is_channel(&self.channel) && is_id(&self.id)
    }

    /// How the item is called.
    pub(super) fn item(&self) -> ItemRef {
        ItemRef {
            external_id: format!("{}/{}", self.channel, self.id),
            stable_id: Some(self.id.clone()),
        }
    }

    /// Its path below the version, with what follows.
    pub(super) fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = messages(&self.team, &self.channel);
        path.push(&self.id);
        path.extend(rest);
        path
    }

    pub(super) fn receipt(&self, url: Option<String>) -> Receipt {
        let said = [
            ("team_id", &self.team),
            ("channel_id", &self.channel),
            (MESSAGE_ID, &self.id),
        ];
        let said = said.map(|(name, id)| (name.to_owned(), Value::from(id.as_str())));
        Receipt {
            external_id: Some(self.item().external_id),
            external_url: url,
            external_ref: Map::from_iter(said),
            ..Receipt::default()
        }
    }
}

/// The path of a channel's messages below the version.
pub(super) fn messages<'a>(team: &'a str, channel: &'a str) -> Vec<&'a str> {
    vec!["teams", team, "channels", channel, "messages"]
}

/// Whether this can be the id of a message.
pub(super) fn is_id(id: &str) -> bool {
    (1..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())
}

/// A message as Graph shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) reply_to_id: Option<String>,
    message_type: Option<String>,
    created_date_time: Option<String>,
    last_modified_date_time: Option<String>,
    deleted_date_time: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) web_url: Option<String>,
    from: Option<From>,
    body: Option<Body>,
    attachments: Option<Vec<Attachment>>,
}

#[derive(Debug, Deserialize)]
struct From {
    user: Option<User>,
}

/// Who wrote a message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) id: Option<String>,
    pub(super) display_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Body {
    content: Option<String>,
}

/// What is with a message: a card, or a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) id: Option<String>,
    content_type: Option<String>,
    pub(super) content_url: Option<String>,
    content: Option<String>,
    pub(super) name: Option<String>,
}

impl Message {
    /// One whose id can be one.
    ///
    /// # Errors
    /// What an answer that cannot be read is.
    pub(super) fn sound(self, effect: Effect) -> Result<Self, AdapterError> {
        if is_id(&self.id) {
            return Ok(self);
        }
        let class = match effect {
            Effect::Create => ErrorClass::Unknown,
            Effect::Read | Effect::Idempotent => ErrorClass::Transient { retry_after: None },
        };
        let text = "the platform's answer cannot be read: the message has no id that could be one";
        Err(AdapterError::new(class, text))
    }

    /// Whether a person or an app wrote it, and it is still there.
    pub(super) fn is_said(&self) -> bool {
        let kind = self.message_type.as_deref().unwrap_or("message");
        kind == "message" && self.deleted_date_time.is_none()
    }

    pub(super) fn user(&self) -> Option<&User> {
        self.from.as_ref()?.user.as_ref()
    }

    fn user_id(&self) -> Option<&str> {
        self.user()?.id.as_deref()
    }

    /// Whether it may be ours: who reads our markers could copy one. Where Graph does not say whose
    /// it is, nothing tells.
    pub(super) fn may_be_by(&self, me: &str) -> bool {
        self.user_id().is_none_or(|id| id == me)
    }

    /// Whether it is surely ours.
    pub(super) fn is_by(&self, me: &str) -> bool {
        self.user_id() == Some(me)
    }

    pub(super) fn html(&self) -> &str {
        let content = self.body.as_ref().and_then(|body| body.content.as_deref());
        content.unwrap_or_default()
    }

    fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attachments.iter().flatten()
    }

    /// The files that are with it.
    pub(super) fn files(&self) -> impl Iterator<Item = &Attachment> {
        self.attachments()
            .filter(|one| one.content_type.as_deref() == Some(REFERENCE))
    }

    /// Whether nothing is shown of it.
    pub(super) fn is_blank(&self) -> bool {
        self.html().trim().is_empty() && self.attachments().next().is_none()
    }

    /// The marker that it carries: in a text of its card that is not shown, or in its last line.
    pub(super) fn marker(&self) -> Option<String> {
        let cards = self
            .attachments()
            .filter(|one| one.content_type.as_deref() == Some(CARD));
        let mut cards = cards.filter_map(|one| one.content.as_deref());
        cards
            .find_map(hidden)
            .or_else(|| Marker::find(self.html()).map(str::to_owned))
    }

    pub(super) fn created(&self) -> Option<DateTime<Utc>> {
        moment(self.created_date_time.as_deref()?)
    }

    /// When it last changed. Its replies do not change it.
    pub(super) fn changed(&self) -> Option<DateTime<Utc>> {
        let changed = self.last_modified_date_time.as_deref().and_then(moment);
        changed.or_else(|| self.created())
    }
}

/// The marker in the text of a card that is not shown.
fn hidden(card: &str) -> Option<String> {
    let card: Value = serde_json::from_str(card).ok()?;
    let mut texts = card["body"].as_array()?.iter();
    texts.find_map(|element| {
        let text = element["text"].as_str()?;
        let is_hidden = element["isVisible"] == false;
        Marker::find(text).filter(|_| is_hidden).map(str::to_owned)
    })
}

/// A file of the channel's folder (SharePoint).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DriveItem {
    pub(super) id: String,
    pub(super) name: Option<String>,
    e_tag: Option<String>,
    pub(super) web_url: Option<String>,
    pub(super) parent_reference: Option<Parent>,
}

/// Where a file is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parent {
    pub(super) drive_id: Option<String>,
}

impl DriveItem {
    /// What messages call it: the GUID in `"{5FB5A1E3-…},1"`.
    pub(super) fn guid(&self) -> Option<Uuid> {
        let tag = self.e_tag.as_deref()?;
        let inside = tag.split_once('{')?.1.split_once('}')?.0;
        Uuid::parse_str(inside).ok()
    }
}

/// A moment as Graph writes it.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok()?;
    Some(read.with_timezone(&Utc))
}

/// The same as it reads it.
pub(super) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
