//! Our words and Freshdesk's: statuses, priorities, types, tags, fields, markers, and what a ticket
//! says.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Freshdesk;
use crate::domain::{Priority, TicketCategory, TicketStatus, TicketView};
use crate::platforms::mapping::{FieldKind, FieldMap};
use crate::platforms::text::{Marker, Max, inert_html, one_line, title};
use crate::platforms::{ExternalItem, Facts, Holder, ItemRef, Moment, PlatformField, TicketFacts};

/// Longest subject (unconfirmed).
pub(super) const SUBJECT_MAX: usize = 255;
/// Bytes of a description or a comment (unconfirmed: tens of kilobytes are taken).
const TEXT_MAX: usize = 64_000;
/// Characters that are read of a text.
const READ_MAX: usize = 60_000;
/// Longest tag; a comma would part it (unconfirmed).
const TAG_MAX: usize = 32;
/// Tags of a ticket that are carried over (unconfirmed what Freshdesk takes).
const TAGS_MAX: usize = 100;
/// Begins the tag of a category.
const CATEGORY: &str = "category-";
/// The tag of what was cancelled: Freshdesk has no status for it.
pub(super) const CANCELLED: &str = "cancelled";
/// Begins the tag that is our marker; behind it are the ticket's 16 bytes in base32.
const MARK: &str = "t-";
const MARK_MAX: usize = 26;
/// RFC 4648, in small letters.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Begins our marker of a ticket.
const TICKET: &str = "tkt-";

pub(super) static STATUSES: [(TicketStatus, &str); 7] = [
    (TicketStatus::New, "2"),
    (TicketStatus::Open, "2"),
    (TicketStatus::InProgress, "2"),
    (TicketStatus::Pending, "3"),
    (TicketStatus::Resolved, "4"),
    (TicketStatus::Closed, "5"),
    (TicketStatus::Cancelled, "5"),
];
/// 6 is Waiting on Customer and 7 Waiting on Third Party, where nobody changed them.
pub(super) static STATUSES_BACK: [(&str, TicketStatus); 6] = [
    ("2", TicketStatus::Open),
    ("3", TicketStatus::Pending),
    ("4", TicketStatus::Resolved),
    ("5", TicketStatus::Closed),
    ("6", TicketStatus::Pending),
    ("7", TicketStatus::Pending),
];
pub(super) static PRIORITIES: [(Priority, &str); 4] = [
    (Priority::Low, "1"),
    (Priority::Medium, "2"),
    (Priority::High, "3"),
    (Priority::Critical, "4"),
];
/// The types of a new account (unconfirmed); one that the account lacks is left out.
pub(super) static KINDS: [(TicketCategory, &str); 9] = [
    (TicketCategory::Technical, "Incident"),
    (TicketCategory::Billing, "Question"),
    (TicketCategory::FeatureRequest, "Feature Request"),
    (TicketCategory::Bug, "Problem"),
    (TicketCategory::UserAccess, "Question"),
    (TicketCategory::General, "Question"),
    (TicketCategory::Integration, "Incident"),
    (TicketCategory::Performance, "Incident"),
    (TicketCategory::Security, "Incident"),
];

/// A priority as Freshdesk takes it.
pub(super) fn priority_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| (1..=4).contains(number))
}

/// Whether this can be the API name of a custom field.
pub(super) fn is_custom_field(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let rest = name.strip_prefix("cf_");
    rest.is_some_and(|rest| !rest.is_empty() && rest.len() <= 250 && rest.bytes().all(fits))
}

/// A ticket as Freshdesk shows it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) subject: Option<String>,
    description_text: Option<String>,
    pub(super) status: Option<u64>,
    priority: Option<u64>,
    responder_id: Option<u64>,
    pub(super) tags: Option<Vec<String>>,
    custom_fields: Option<Map<String, Value>>,
    pub(super) created_at: Option<String>,
    updated_at: Option<String>,
    deleted: Option<bool>,
    spam: Option<bool>,
}

/// A reply or a note.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Conversation {
    pub(super) id: u64,
    body: Option<String>,
    body_text: Option<String>,
    pub(super) private: Option<bool>,
    #[serde(default)]
    incoming: bool,
    pub(super) user_id: Option<u64>,
    pub(super) created_at: Option<String>,
    #[serde(default)]
    pub(super) attachments: Vec<Attachment>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Attachment {
    pub(super) id: u64,
}

impl Conversation {
    /// What it says, as plain text where that is shown.
    pub(super) fn text(&self) -> Option<&str> {
        self.body_text.as_deref().or(self.body.as_deref())
    }

    /// The marker that it ends with. What a customer sends may end with what they quote of us.
    pub(super) fn marker(&self) -> Option<&str> {
        let outgoing = self.text().filter(|_| !self.incoming);
        outgoing.and_then(Marker::find)
    }
}

/// A field of tickets, as the account has it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    label: Option<String>,
    #[serde(default)]
    pub(super) required_for_agents: bool,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    choices: Value,
}

impl Field {
    /// What it can be: a list, or an object whose keys are the words (`{"Low": 1}`), or of a status
    /// the numbers (`{"2": ["Open", "Being Processed"]}`).
    pub(super) fn options(&self) -> Vec<String> {
        match &self.choices {
            Value::Array(list) => {
                let texts = list.iter().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            Value::Object(_) if self.kind == "default_status" => {
                self.statuses().map(|(_, name)| name).collect()
            }
            Value::Object(map) => map.keys().cloned().collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    /// Statuses by number: the name that agents see.
    fn statuses(&self) -> impl Iterator<Item = (u64, String)> {
        let map = self.choices.as_object().into_iter().flatten();
        map.filter_map(|(number, names)| {
            let name = names[0].as_str().or(names.as_str())?;
            Some((number.parse().ok()?, name.to_owned()))
        })
    }

    fn takes(&self) -> FieldKind {
        match self.kind.as_str() {
            "custom_number" | "custom_decimal" => FieldKind::Number,
            "custom_checkbox" => FieldKind::Flag,
            _ => FieldKind::Text,
        }
    }

    /// A value as the field takes it, or what is wrong with it.
    fn chosen(&self, value: Value) -> Result<Value, String> {
        match (self.kind.as_str(), &value) {
            (_, Value::Null) => Ok(value),
            ("custom_dropdown" | "nested_field", Value::String(text)) => {
                let found = named(&self.options(), text);
                found
                    .map(Value::from)
                    .ok_or_else(|| format!("is none of the choices of {:?}", self.shown_name()))
            }
            ("custom_date", Value::String(text)) => {
                let day = text.get(..10).unwrap_or(text);
                match chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d") {
                    Ok(day) => Ok(day.to_string().into()),
                    Err(_) => Err("must be a date, e.g. 2026-01-31".to_owned()),
                }
            }
            ("custom_number", Value::Number(number)) if !(number.is_i64() || number.is_u64()) => {
                Err("must be a whole number".to_owned())
            }
            _ => Ok(value),
        }
    }

    fn shown_name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }

    pub(super) fn shown(&self) -> PlatformField {
        PlatformField {
            id: self.name.clone(),
            name: self.shown_name().to_owned(),
            kind: Some(self.kind.clone()),
            custom: !self.default,
            required: self.required_for_agents,
            allowed_values: self.options(),
        }
    }
}

/// The word of a list that is spelled so, in any case of its letters.
fn named(all: &[String], wanted: &str) -> Option<String> {
    let wanted = wanted.trim().to_lowercase();
    let mut all = all.iter();
    all.find(|one| one.trim().to_lowercase() == wanted).cloned()
}

/// The type that is spelled so; `None` where the account has none.
pub(super) fn kind_of(fields: &[Field], wanted: &str) -> Option<String> {
    let field = fields
        .iter()
        .find(|field| field.kind == "default_ticket_type");
    named(&field?.options(), wanted)
}

/// The number of the status with this name.
pub(super) fn status_named(fields: &[Field], wanted: &str) -> Option<u64> {
    let wanted = wanted.trim().to_lowercase();
    let mut all = statuses(fields);
    let found = all.find(|(_, name)| name.trim().to_lowercase() == wanted);
    found.map(|(number, _)| number)
}

/// The account's statuses.
pub(super) fn statuses(fields: &[Field]) -> impl Iterator<Item = (u64, String)> {
    let own = fields.iter().filter(|field| field.kind == "default_status");
    own.flat_map(Field::statuses)
}

/// Custom fields of a ticket as Freshdesk takes them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chosen {
    pub(super) values: Map<String, Value>,
    /// Ours that have no counterpart there.
    pub(super) unmapped: Vec<String>,
    /// Ours whose value or counterpart is no good: what is wrong.
    pub(super) unfit: BTreeMap<String, String>,
}

/// Custom fields by Freshdesk's names; `known` are the account's fields, `None` where they are not
/// known.
pub(super) fn choose(
    map: &FieldMap,
    custom: &Map<String, Value>,
    known: Option<&[Field]>,
) -> Chosen {
    let find = |theirs: &str| known?.iter().find(|field| field.name == theirs);
    let mapped = map.split(custom, |theirs| {
        find(theirs).map_or(FieldKind::Any, Field::takes)
    });
    let mut chosen = Chosen {
        values: Map::new(),
        unmapped: mapped.unmapped,
        unfit: mapped.unfit,
    };
    for (theirs, value) in mapped.theirs {
        let value = match (known, find(&theirs)) {
            (None, _) => Ok(value),
            (Some(_), Some(field)) => field.chosen(value),
            (Some(_), None) => Err(format!(
                "is mapped to {theirs:?}, which is no ticket field of the account"
            )),
        };
        match value {
            Ok(value) => drop(chosen.values.insert(theirs, value)),
            Err(fault) => {
                let ours = map.ours(&theirs).unwrap_or(&theirs).to_owned();
                chosen.unfit.insert(ours, fault);
            }
        }
    }
    chosen
}

/// The tag that is the marker of a ticket. A marker without an id in it stands for its digest.
pub(super) fn marker_tag(marker: &str) -> String {
    let id = marker
        .strip_prefix(TICKET)
        .and_then(|id| Uuid::parse_str(id).ok());
    let bytes = id.map_or_else(
        || {
            let mut bytes = [0; 16];
            let made = digest(&SHA256, marker.as_bytes());
            bytes
                .iter_mut()
                .zip(made.as_ref())
                .for_each(|(to, from)| *to = *from);
            bytes
        },
        Uuid::into_bytes,
    );
    let bits = u128::from_be_bytes(bytes);
    let mut tag = MARK.to_owned();
    for index in 0..MARK_MAX {
        // 26 letters have 130 bits; the last two are none.
        let shift = 123_i32 - 5 * i32::try_from(index).unwrap_or_default();
        let five = if shift >= 0 {
            bits >> shift
        } else {
            bits << -shift
        };
        let letter = usize::try_from(five & 31).unwrap_or_default();
        tag.push(char::from(BASE32.get(letter).copied().unwrap_or(b'a')));
    }
    tag
}

/// The marker that a tag is.
pub(super) fn marker_of_tag(tag: &str) -> Option<String> {
    let letters = tag
        .strip_prefix(MARK)
        .filter(|rest| rest.len() == MARK_MAX)?;
    let mut bits: u128 = 0;
    for (index, byte) in letters.bytes().enumerate() {
        let at = BASE32.iter().position(|own| *own == byte)?;
        let five = u128::try_from(at).ok()?;
        if index + 1 < MARK_MAX {
            bits = (bits << 5) | five;
        } else if five & 3 == 0 {
            bits = (bits << 3) | (five >> 2);
        } else {
            return None;
        }
    }
    let mut marker = TICKET.to_owned();
    write!(marker, "{}", Uuid::from_u128(bits)).ok()?;
    Some(marker)
}

/// A tag as Freshdesk has them: in one piece, without what parts them. One that looks like a marker
/// is none.
fn tag(text: &str) -> String {
    let plain: String = one_line(text)
        .chars()
        .map(|c| if c == ',' || c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let tag = words.join(" ");
    let poses = tag.to_lowercase().starts_with(MARK) && tag.len() >= MARK.len() + MARK_MAX;
    let prefix = if poses { "tag-" } else { "" };
    let cut: String = prefix.chars().chain(tag.chars()).take(TAG_MAX).collect();
    cut.trim().to_owned()
}

/// Tags as Freshdesk has them, each once, behind those that are there.
pub(super) fn tags_with<'t>(
    there: impl IntoIterator<Item = String>,
    more: impl IntoIterator<Item = &'t String>,
) -> Vec<String> {
    let mut tags: Vec<String> = there.into_iter().collect();
    for tag in more.into_iter().map(|text| tag(text)) {
        let is_there = tags
            .iter()
            .any(|own| own.to_lowercase() == tag.to_lowercase());
        if !tag.is_empty() && !is_there && tags.len() < TAGS_MAX {
            tags.push(tag);
        }
    }
    tags
}

/// The tag of a category.
pub(super) fn category_tag(category: TicketCategory) -> String {
    format!("{CATEGORY}{category}")
}

/// Whether a tag is that of a category of ours.
pub(super) fn is_category_tag(tag: &str) -> bool {
    let category = tag.strip_prefix(CATEGORY);
    category.is_some_and(|name| TicketCategory::parse(name).is_some())
}

/// A title as a subject, and the whole of it where that was cut.
pub(super) fn subject(text: &str) -> (String, Option<String>) {
    title(text, Max::Chars(SUBJECT_MAX))
}

/// A text as HTML, with our marker as its last line, and whether all of it found room there.
pub(super) fn html(markdown: &str, marker: Option<&str>) -> (String, bool) {
    inert_html(markdown, READ_MAX, TEXT_MAX, marker)
}

/// A time as Freshdesk writes it, in whole seconds.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok()?;
    Some(read.with_timezone(&Utc))
}

/// The same as it reads it.
pub(super) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Ticket {
    /// How it is called.
    pub(super) fn item(&self) -> ItemRef {
        let id = self.id.to_string();
        ItemRef {
            external_id: id.clone(),
            stable_id: Some(id),
        }
    }

    /// When it last changed.
    pub(super) fn at(&self) -> Option<Moment> {
        let at = self.updated_at.as_deref().and_then(time)?;
        Some(Moment::second(at))
    }

    /// Whether it is in the trash or among spam, where no list shows it.
    pub(super) fn is_gone(&self) -> bool {
        self.deleted == Some(true) || self.spam == Some(true)
    }

    /// Whether it shows where our marker would be.
    pub(super) fn shows_markers(&self, reference: Option<&str>) -> bool {
        match reference {
            Some(_) => self.custom_fields.is_some(),
            None => self.tags.is_some(),
        }
    }

    /// Our marker: in the field, or among the tags. The setting may have been made later.
    pub(super) fn marker(&self, reference: Option<&str>) -> Option<String> {
        let field = || self.custom_fields.as_ref()?.get(reference?)?.as_str();
        let by_field = field()
            .filter(|text| text.starts_with(TICKET))
            .map(str::to_owned);
        let tags = self.tags.iter().flatten();
        by_field.or_else(|| tags.into_iter().find_map(|tag| marker_of_tag(tag)))
    }

    /// Whether it carries this marker.
    pub(super) fn is_of(&self, marker: &str, reference: Option<&str>) -> bool {
        let tag = marker_tag(marker);
        self.marker(reference).as_deref() == Some(marker)
            || self.tags.iter().flatten().any(|own| *own == tag)
    }
}

impl Freshdesk {
    /// A ticket as it stands; `fields` are the account's, where a status is mapped by name.
    pub(super) fn item_of(&self, ticket: &Ticket, fields: &[Field]) -> ExternalItem {
        let number = ticket.status.map(|status| status.to_string());
        let custom = ticket.custom_fields.iter().flatten();
        let facts = Facts {
            title: ticket.subject.clone(),
            description: ticket.description_text.clone(),
            status: self.status_name(ticket, fields).or_else(|| number.clone()),
            status_class: number,
            priority: ticket.priority.map(|priority| priority.to_string()),
            assignee: Some(holder(ticket.responder_id)),
            tags: ticket.tags.clone(),
            custom: custom
                .filter(|(theirs, _)| self.fields.ours(theirs).is_some())
                .map(|(theirs, value)| (theirs.clone(), value.clone()))
                .collect(),
            url: self.page_of(&ticket.id.to_string()),
        };
        ExternalItem {
            item: ticket.item(),
            at: ticket.at(),
            facts,
            marker: ticket.marker(self.reference.as_deref()),
            ..ExternalItem::default()
        }
    }

    /// The status as `status_map` spells its name; `None` where that has none for it.
    fn status_name(&self, ticket: &Ticket, fields: &[Field]) -> Option<String> {
        let (_, label) = statuses(fields).find(|(number, _)| Some(*number) == ticket.status)?;
        let mut words = TicketStatus::ALL
            .iter()
            .filter_map(|own| self.statuses.out(*own));
        let mapped =
            words.find(|theirs| theirs.trim().to_lowercase() == label.trim().to_lowercase());
        mapped.map(str::to_owned)
    }

    /// Whether a status is mapped by its name.
    pub(super) fn names_statuses(&self) -> bool {
        let mut words = TicketStatus::ALL.iter();
        words.any(|own| self.statuses.out(*own).is_some_and(is_name))
    }

    pub(super) fn in_our_words(&self, facts: &Facts) -> TicketFacts {
        let own = |tag: &&String| {
            !is_category_tag(tag) && *tag != CANCELLED && marker_of_tag(tag).is_none()
        };
        let tags = facts.tags.as_ref();
        let status = facts.status.as_deref();
        let by_number = || self.statuses.back(facts.status_class.as_deref()?);
        let custom = facts.custom.iter();
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            // A status that somebody of the account made is an open one.
            status: status
                .and_then(|status| self.statuses.back(status))
                .or_else(by_number)
                .or(status.map(|_| TicketStatus::Open)),
            priority: facts
                .priority
                .as_deref()
                .and_then(|theirs| self.priorities.back(theirs)),
            assignee: facts.assignee.clone(),
            tags: tags.map(|tags| tags.iter().filter(own).cloned().collect()),
            custom: custom
                .filter_map(|(theirs, value)| {
                    Some((self.fields.ours(theirs)?.to_owned(), value.clone()))
                })
                .collect(),
        }
    }

    /// What is compared with what comes back. A description comes back as plain text, and tags with
    /// those of others.
    pub(super) fn in_their_words(&self, ticket: &TicketView) -> Facts {
        let text = |word: Option<&str>| word.map(str::to_owned);
        Facts {
            title: Some(subject(&ticket.title).0),
            status: text(self.statuses.out(ticket.status)),
            priority: text(self.priorities.out(ticket.priority)),
            ..Facts::default()
        }
    }
}

/// Whether a word of `status_map` is a status by its name, and no number.
pub(super) fn is_name(theirs: &str) -> bool {
    theirs.parse::<u64>().is_err()
}

/// Who has it.
pub(super) fn holder(agent: Option<u64>) -> Holder {
    agent.map_or(Holder::Nobody, |id| Holder::Account(id.to_string()))
}
