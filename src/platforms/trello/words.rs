//! Our words and Trello's. A status is the list that a card is in; priority, category and tags are
//! labels.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Trello;
use super::facts::{ARCHIVED, is_id};
use crate::domain::{Priority, TicketCategory, TicketStatus, TicketView};
use crate::platforms::mapping::{FieldKind, Mapping};
use crate::platforms::text::{Dialect, Document, Marker, Max, one_line, title};
use crate::platforms::{
    Actor, ExternalComment, ExternalFile, ExternalItem, Facts, Holder, ItemRef, Moment,
    PlatformField, TicketFacts,
};

/// Characters of a name, a description and a comment (OpenAPI file, `POST /cards`).
const TEXT_MAX: usize = 16_384;
pub(super) const TITLE_MAX: Max = Max::Utf16(TEXT_MAX);
/// Characters of a label (unconfirmed), and labels that one card gets from us.
const LABEL_MAX: usize = 100;
const LABELS_MAX: usize = 50;
/// Begins a comment that was not to be public.
const INTERNAL: &str = "Internal comment:\n\n";
/// What a card is where no list says more: whether it is marked as complete.
const COMPLETE: &str = "complete";
const INCOMPLETE: &str = "incomplete";

pub(super) static PRIORITIES: [(Priority, &str); 4] = [
    (Priority::Low, "Priority: Low"),
    (Priority::Medium, "Priority: Medium"),
    (Priority::High, "Priority: High"),
    (Priority::Critical, "Priority: Critical"),
];
pub(super) static CATEGORIES: [(TicketCategory, &str); 9] = [
    (TicketCategory::Technical, "Category: Technical"),
    (TicketCategory::Billing, "Category: Billing"),
    (TicketCategory::FeatureRequest, "Category: Feature request"),
    (TicketCategory::Bug, "Category: Bug"),
    (TicketCategory::UserAccess, "Category: User access"),
    (TicketCategory::General, "Category: General"),
    (TicketCategory::Integration, "Category: Integration"),
    (TicketCategory::Performance, "Category: Performance"),
    (TicketCategory::Security, "Category: Security"),
];

/// Whether a word is one, in any case of its letters.
pub(super) fn is_like(known: &str, word: &str) -> bool {
    known.trim().to_lowercase() == word.trim().to_lowercase()
}

/// Whether a card is marked as complete in this status.
pub(super) const fn is_done(status: TicketStatus) -> bool {
    matches!(
        status,
        TicketStatus::Resolved | TicketStatus::Closed | TicketStatus::Cancelled
    )
}

/// A moment as Trello writes it, and as it reads it.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok()?;
    Some(read.with_timezone(&Utc))
}

pub(super) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The second that something was made in, by its id.
pub(super) fn made_at(id: &str) -> Option<DateTime<Utc>> {
    let seconds = i64::from_str_radix(id.get(..8).filter(|_| is_id(id))?, 16).ok()?;
    DateTime::from_timestamp(seconds, 0)
}

/// A text of a person as Trello's Markdown with our marker as its last line, and whether all of it
/// is in there.
pub(super) fn text(markdown: &str, marker: &str) -> (String, bool) {
    let document = Document::parse(markdown, TEXT_MAX + INTERNAL.len());
    let line = Some(Marker::Line(marker));
    document.markdown(Dialect::Trello, Max::Utf16(TEXT_MAX), line)
}

/// The same of a comment.
pub(super) fn comment(markdown: &str, is_public: bool, marker: &str) -> (String, bool) {
    match is_public {
        true => text(markdown, marker),
        false => text(&format!("{INTERNAL}{markdown}"), marker),
    }
}

/// Where a status puts a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination<'a> {
    /// Into the list of this id or name.
    List(&'a str),
    /// Into the archive.
    Archive,
    /// Nowhere: it stays where it is, and is marked as complete.
    Stays,
}

/// The lists that statuses are.
#[derive(Debug)]
pub(super) struct Statuses {
    map: Mapping<TicketStatus>,
    /// Where cards are made: what is not done and has no list of its own is there.
    first: String,
}

impl Statuses {
    pub(super) const fn new(map: Mapping<TicketStatus>, first: String) -> Self {
        Self { map, first }
    }

    pub(super) fn place(&self, status: TicketStatus) -> Destination<'_> {
        let open = || self.map.out(TicketStatus::Open).unwrap_or(&self.first);
        match self.map.out(status) {
            Some(word) if is_like(word, ARCHIVED) => Destination::Archive,
            Some(word) => Destination::List(word),
            None if status == TicketStatus::New => Destination::List(&self.first),
            None if !is_done(status) => Destination::List(open()),
            None => Destination::Stays,
        }
    }

    /// Whether any status is the archive, so that others take a card out of it.
    pub(super) fn archives(&self) -> bool {
        let mut all = TicketStatus::ALL.iter();
        all.any(|status| self.place(*status) == Destination::Archive)
    }

    /// Whether a list has to be known by its name.
    pub(super) fn has_names(&self) -> bool {
        let mut all = TicketStatus::ALL.iter();
        all.any(|status| matches!(self.place(*status), Destination::List(word) if !is_id(word)))
    }

    /// What a status is called there.
    fn facts(&self, status: TicketStatus) -> Facts {
        let class = if is_done(status) {
            COMPLETE
        } else {
            INCOMPLETE
        };
        match self.place(status) {
            Destination::Archive => Self::called(ARCHIVED, ARCHIVED),
            Destination::List(word) => Self::called(word, class),
            Destination::Stays => Self::called(class, class),
        }
    }

    fn called(status: &str, class: &str) -> Facts {
        Facts {
            status: Some(status.to_owned()),
            status_class: Some(class.to_owned()),
            ..Facts::default()
        }
    }

    /// The first status that is in a list: one that is mapped comes before one that only has no
    /// other place.
    fn in_list(&self, is_it: impl Fn(&str) -> bool, done: Option<bool>) -> Option<TicketStatus> {
        let fits = |status: &TicketStatus| {
            done.is_none_or(|done| is_done(*status) == done)
                && matches!(self.place(*status), Destination::List(word) if is_it(word))
        };
        let mapped = |status: &TicketStatus| self.map.out(*status).is_some();
        let all = || TicketStatus::ALL.iter().copied();
        all()
            .find(|status| mapped(status) && fits(status))
            .or_else(|| all().find(fits))
    }

    /// What the status of a card is called. The list says it; where the list is of none as far
    /// done, the mark does; where nobody set the mark, the list again, as people only drag.
    pub(super) fn of(&self, card: &Card, lists: &[Named]) -> Facts {
        let Some(list) = card.id_list.as_deref() else {
            return Facts::default();
        };
        if card.closed == Some(true) {
            return Self::called(ARCHIVED, ARCHIVED);
        }
        let done = card.due_complete == Some(true);
        let name = lists.iter().find(|own| own.id == list).map(Named::name);
        let is_it = |word: &str| word == list || name.is_some_and(|name| is_like(name, word));
        if let Some(status) = self.in_list(is_it, Some(done)) {
            return self.facts(status);
        }
        if done {
            return Self::called(COMPLETE, COMPLETE);
        }
        match self.in_list(is_it, None) {
            Some(status) => self.facts(status),
            None => Self::called(name.unwrap_or(list), INCOMPLETE),
        }
    }

    fn back(&self, facts: &Facts) -> Option<TicketStatus> {
        let (word, class) = (facts.status.as_deref()?, facts.status_class.as_deref());
        if class == Some(ARCHIVED) {
            let mut all = TicketStatus::ALL.iter().copied();
            let found = all.find(|status| self.place(*status) == Destination::Archive);
            return Some(found.unwrap_or(TicketStatus::Closed));
        }
        let done = class.map(|class| class == COMPLETE);
        let by_list = self.in_list(|own| is_like(own, word), done);
        by_list.or(match class? {
            COMPLETE => Some(TicketStatus::Closed),
            _ => Some(TicketStatus::Open),
        })
    }
}

/// A list, or whatever has a name and no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
    name: Option<String>,
}

impl Named {
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(super) fn is_called(&self, word: &str) -> bool {
        self.id == word || is_like(self.name(), word)
    }
}

/// A member of the board.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Person {
    pub(super) id: String,
    #[serde(default)]
    pub(super) username: String,
}

impl Person {
    pub(super) fn is_called(&self, word: &str) -> bool {
        let word = word.trim().trim_start_matches('@');
        self.id == word || is_like(&self.username, word)
    }
}

/// A label that a card is to have, and its colour where it has to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) color: Option<&'static str>,
}

const fn color(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "green",
        Priority::Medium => "yellow",
        Priority::High => "orange",
        Priority::Critical => "red",
    }
}

/// Labels of a card, each once; and how many are too many.
pub(super) fn wanted(names: impl IntoIterator<Item = Wanted>) -> (Vec<Wanted>, usize) {
    let mut all: Vec<Wanted> = Vec::new();
    for one in names {
        let name: String = one_line(&one.name).chars().take(LABEL_MAX).collect();
        if !name.is_empty() && !all.iter().any(|known| is_like(&known.name, &name)) {
            all.push(Wanted { name, ..one });
        }
    }
    let dropped = all.len().saturating_sub(LABELS_MAX);
    all.truncate(LABELS_MAX);
    (all, dropped)
}

/// Tags as labels.
pub(super) fn tags(tags: &[String]) -> impl Iterator<Item = Wanted> {
    tags.iter().map(|name| Wanted {
        name: name.clone(),
        color: None,
    })
}

/// What labels say: those of a priority, of a category, and all others.
impl Trello {
    pub(super) fn priority_label(&self, priority: Priority) -> Option<Wanted> {
        let name = self.priorities.out(priority)?.to_owned();
        Some(Wanted {
            name,
            color: Some(color(priority)),
        })
    }

    pub(super) fn category_label(&self, category: TicketCategory) -> Option<Wanted> {
        let name = self.categories.out(category)?.to_owned();
        Some(Wanted { name, color: None })
    }

    pub(super) fn says_priority(&self, label: &Named) -> bool {
        self.priorities.back(label.name()).is_some()
    }

    pub(super) fn says_category(&self, label: &Named) -> bool {
        self.categories.back(label.name()).is_some()
    }
}

/// A custom field of the board.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Field {
    pub(super) id: String,
    #[serde(default)]
    name: String,
    /// `text`, `number`, `checkbox`, `date` or `list`.
    #[serde(default, rename = "type")]
    kind: String,
    options: Option<Vec<Choice>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Choice {
    id: String,
    value: Option<ChoiceText>,
}

#[derive(Debug, Clone, Deserialize)]
struct ChoiceText {
    text: Option<String>,
}

impl Choice {
    fn name(&self) -> &str {
        let text = self.value.as_ref().and_then(|value| value.text.as_deref());
        text.unwrap_or_default()
    }
}

impl Field {
    fn choices(&self) -> impl Iterator<Item = &Choice> {
        self.options.iter().flatten()
    }

    pub(super) fn takes(&self) -> FieldKind {
        match self.kind.as_str() {
            "text" => FieldKind::Text,
            "number" => FieldKind::Number,
            "checkbox" => FieldKind::Flag,
            _ => FieldKind::Any,
        }
    }

    /// A value as the field takes it ("Custom fields": all of them are texts).
    pub(super) fn item(&self, value: &Value) -> Result<Value, String> {
        let plain = match value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
            other => other.to_string(),
        };
        let of = |value: Value| Ok(json!({ "idCustomField": self.id, "value": value }));
        match self.kind.as_str() {
            _ if value.is_null() => {
                Ok(json!({ "idCustomField": self.id, "value": "", "idValue": "" }))
            }
            "text" => of(json!({ "text": plain })),
            "number" => of(json!({ "number": plain })),
            "checkbox" => of(json!({ "checked": plain })),
            "date" => {
                let day = chrono::NaiveDate::parse_from_str(&plain, "%Y-%m-%d");
                let day = day.ok().and_then(|day| day.and_hms_opt(0, 0, 0));
                let at = moment(&plain).or_else(|| day.map(|day| day.and_utc()));
                let at = at
                    .ok_or_else(|| format!("must be a date like 2026-02-01 for {:?}", self.name))?;
                of(json!({ "date": written(at) }))
            }
            "list" => {
                let is_it = |one: &&Choice| one.id == plain || is_like(one.name(), &plain);
                let found = self.choices().find(is_it);
                let found =
                    found.ok_or_else(|| format!("is none of the choices of {:?}", self.name))?;
                Ok(json!({ "idCustomField": self.id, "idValue": found.id }))
            }
            other => Err(format!(
                "is mapped to {:?}, which cannot be set ({other})",
                self.name
            )),
        }
    }

    pub(super) fn shown(&self) -> PlatformField {
        PlatformField {
            id: self.id.clone(),
            name: self.name.clone(),
            kind: Some(self.kind.clone()),
            custom: true,
            required: false,
            allowed_values: self.choices().map(|one| one.name().to_owned()).collect(),
        }
    }
}

/// What a custom field of a card is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldItem {
    id_custom_field: String,
    value: Option<BTreeMap<String, Value>>,
    id_value: Option<String>,
}

impl FieldItem {
    fn value(&self, fields: &[Field]) -> Value {
        if let Some(id) = &self.id_value {
            let field = fields.iter().find(|own| own.id == self.id_custom_field);
            let choice = field.and_then(|own| own.choices().find(|one| one.id == *id));
            return choice.map_or(id.as_str(), Choice::name).into();
        }
        let said = self.value.iter().flatten().next();
        let Some((kind, Value::String(text))) = said else {
            return Value::Null;
        };
        match kind.as_str() {
            "number" => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
            "checked" => (text == "true").into(),
            _ => text.clone().into(),
        }
    }
}

/// A file at a card.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) bytes: Option<u64>,
    pub(super) date: Option<String>,
    mime_type: Option<String>,
    url: Option<String>,
}

impl Attachment {
    pub(super) fn shown(self) -> ExternalFile {
        ExternalFile {
            id: self.id,
            name: self.name.unwrap_or_default(),
            content_type: self.mime_type.filter(|kind| !kind.is_empty()),
            size: self.bytes,
            url: self.url,
        }
    }
}

/// A card as Trello shows it: what was asked for of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Card {
    pub(super) id: String,
    pub(super) short_link: Option<String>,
    short_url: Option<String>,
    url: Option<String>,
    name: Option<String>,
    pub(super) desc: Option<String>,
    pub(super) closed: Option<bool>,
    pub(super) due_complete: Option<bool>,
    id_board: Option<String>,
    pub(super) id_list: Option<String>,
    pub(super) labels: Option<Vec<Named>>,
    pub(super) id_members: Option<Vec<String>>,
    date_last_activity: Option<String>,
    custom_field_items: Option<Vec<FieldItem>>,
    pub(super) actions: Option<Vec<Action>>,
    pub(super) attachments: Option<Vec<Attachment>>,
}

/// What is asked for of a card that is read.
pub(super) const SHOWN: &str = "id,shortLink,shortUrl,url,name,desc,closed,dueComplete,idBoard,\
    idList,labels,idMembers,dateLastActivity";

impl Card {
    pub(super) fn at(&self) -> Option<Moment> {
        let at = self.date_last_activity.as_deref().and_then(moment);
        at.map(Moment::exact)
    }

    pub(super) fn item(&self) -> ItemRef {
        ItemRef {
            external_id: self.short_link.clone().unwrap_or_else(|| self.id.clone()),
            stable_id: Some(self.id.clone()),
        }
    }

    /// The page that stays the same when the card is renamed.
    pub(super) fn page(&self) -> String {
        let page = self.short_url.clone().or_else(|| self.url.clone());
        page.unwrap_or_else(|| format!("https://trello.com/c/{}", self.item().external_id))
    }

    pub(super) fn marker(&self) -> Option<&str> {
        Marker::find(self.desc.as_deref()?).filter(|marker| marker.starts_with("tkt-"))
    }

    pub(super) fn holder(&self) -> Option<Holder> {
        let members = self.id_members.as_ref()?;
        let first = members.first().cloned();
        Some(first.map_or(Holder::Nobody, Holder::Account))
    }
}

/// Something that happened on the board.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) date: Option<String>,
    #[serde(default)]
    pub(super) data: Value,
    id_member_creator: Option<String>,
    member_creator: Option<Person>,
}

impl Action {
    pub(super) fn at(&self) -> Option<DateTime<Utc>> {
        self.date.as_deref().and_then(moment)
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.data.pointer(pointer).and_then(Value::as_str)
    }

    /// The card that it happened to.
    pub(super) fn card(&self) -> Option<ItemRef> {
        let id = self.text("/card/id").filter(|id| is_id(id))?;
        Some(ItemRef {
            external_id: self.text("/card/shortLink").unwrap_or(id).to_owned(),
            stable_id: Some(id.to_owned()),
        })
    }

    pub(super) fn by(&self) -> Option<Actor> {
        let person = self.member_creator.as_ref();
        let id = self.id_member_creator.clone();
        let id = id.or_else(|| person.map(|one| one.id.clone()))?;
        let name = person.map(|one| one.username.clone());
        Some(Actor {
            id: Some(id),
            name: name.filter(|name| !name.is_empty()),
        })
    }

    /// A comment with this id and text. Who sees the board reads it; whether that is the customer,
    /// Trello does not say.
    pub(super) fn comment(&self, id: &str, text: &str) -> ExternalComment {
        ExternalComment {
            id: id.to_owned(),
            body: Marker::without(text).to_owned(),
            author: self.by(),
            created_at: self.at(),
            marker: Marker::find(text).map(str::to_owned),
            ..ExternalComment::default()
        }
    }
}

// What is read.
impl Trello {
    /// A card as it stands; lists and fields are those of the board. One that was moved to another
    /// board has a list that says nothing to us.
    pub(super) fn item_of(&self, card: &Card, lists: &[Named], fields: &[Field]) -> ExternalItem {
        let is_here = card.id_board.as_ref().is_none_or(|own| *own == self.board);
        let status = if is_here {
            self.statuses.of(card, lists)
        } else {
            Facts::default()
        };
        let labels = card.labels.as_ref();
        let named = |labels: &Vec<Named>| {
            let all = labels.iter().filter(|one| !one.name().is_empty());
            let all = all.filter(|one| !self.says_priority(one) && !self.says_category(one));
            all.map(|one| one.name().to_owned()).collect()
        };
        let priority = labels.into_iter().flatten().find_map(|one| {
            let own = self.priorities.back(one.name())?;
            self.priorities.out(own).map(str::to_owned)
        });
        let custom = card.custom_field_items.iter().flatten();
        let custom = custom.filter(|one| self.fields.ours(&one.id_custom_field).is_some());
        let facts = Facts {
            title: card.name.clone(),
            description: card
                .desc
                .as_deref()
                .map(|desc| Marker::without(desc).to_owned()),
            priority,
            assignee: card.holder(),
            tags: labels.map(named),
            custom: custom
                .map(|one| (one.id_custom_field.clone(), one.value(fields)))
                .collect(),
            url: Some(card.page()),
            ..status
        };
        ExternalItem {
            item: card.item(),
            at: card.at(),
            facts,
            marker: card.marker().map(str::to_owned),
            ..ExternalItem::default()
        }
    }

    pub(super) fn in_our_words(&self, facts: &Facts) -> TicketFacts {
        let priority = facts.priority.as_deref();
        let custom = facts.custom.iter().filter_map(|(theirs, value)| {
            Some((self.fields.ours(theirs)?.to_owned(), value.clone()))
        });
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            status: self.statuses.back(facts),
            priority: priority.and_then(|word| self.priorities.back(word)),
            assignee: facts.assignee.clone(),
            tags: facts.tags.clone(),
            custom: custom.collect(),
        }
    }

    /// What is compared with what comes back.
    pub(super) fn in_their_words(&self, ticket: &TicketView) -> Facts {
        let marker = format!("tkt-{}", ticket.id);
        let (desc, _) = text(&ticket.description, &marker);
        Facts {
            title: Some(title(&ticket.title, TITLE_MAX).0),
            description: Some(Marker::without(&desc).to_owned()),
            priority: self.priorities.out(ticket.priority).map(str::to_owned),
            ..self.statuses.facts(ticket.status)
        }
    }
}
