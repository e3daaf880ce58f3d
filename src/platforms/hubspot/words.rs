//! Our words and HubSpot's. Pipelines, stages, properties and their options are the customer's own:
//! what a ticket is made of is chosen among those that the account has.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::HubSpot;
use crate::domain::{Priority, TicketCategory, TicketStatus, TicketView};
use crate::platforms::mapping::FieldKind;
use crate::platforms::text::{Allowed, Document, Marker, Max, escaped, one_line};
use crate::platforms::{
    AdapterError, ExternalItem, Facts, File, Holder, ItemRef, Moment, PlatformField, TicketFacts,
};

pub(super) const SUBJECT: &str = "subject";
pub(super) const CONTENT: &str = "content";
pub(super) const PIPELINE: &str = "hs_pipeline";
pub(super) const STAGE: &str = "hs_pipeline_stage";
pub(super) const PRIORITY: &str = "hs_ticket_priority";
pub(super) const CATEGORY: &str = "hs_ticket_category";
pub(super) const OWNER: &str = "hubspot_owner_id";
pub(super) const CHANGED: &str = "hs_lastmodifieddate";
pub(super) const NOTE_BODY: &str = "hs_note_body";
pub(super) const NOTE_FILES: &str = "hs_attachment_ids";
/// What the worker itself sets, or HubSpot does.
pub(super) const OWN: [&str; 9] = [
    SUBJECT,
    CONTENT,
    PIPELINE,
    STAGE,
    PRIORITY,
    CATEGORY,
    OWNER,
    CHANGED,
    "createdate",
];

/// Characters of a property and of a note. Which ones is not said; UTF-16 units are the more.
const TEXT_MAX: Max = Max::Utf16(65_536);
/// Characters that are read of a text.
const READ_MAX: usize = 60_000;
/// Begins a note that was to be read by the customer.
const FOR_THE_CUSTOMER: &str = "Public comment:\n\n";

/// The pipeline that every account begins with, and its stages ("Tickets API guide").
const DEFAULT_PIPELINE: &str = "0";
static STAGES: [(TicketStatus, &str); 7] = [
    (TicketStatus::New, "1"),
    (TicketStatus::Open, "3"),
    (TicketStatus::InProgress, "3"),
    (TicketStatus::Pending, "2"),
    (TicketStatus::Resolved, "4"),
    (TicketStatus::Closed, "4"),
    (TicketStatus::Cancelled, "4"),
];
pub(super) static STAGES_BACK: [(&str, TicketStatus); 4] = [
    ("1", TicketStatus::New),
    ("2", TicketStatus::Pending),
    ("3", TicketStatus::Open),
    ("4", TicketStatus::Closed),
];
pub(super) static PRIORITIES: [(Priority, &str); 4] = [
    (Priority::Low, "LOW"),
    (Priority::Medium, "MEDIUM"),
    (Priority::High, "HIGH"),
    (Priority::Critical, URGENT),
];
const URGENT: &str = "URGENT";
/// What some accounts have in place of [`URGENT`].
const HIGH: &str = "HIGH";
/// HubSpot's own options (unconfirmed).
pub(super) static CATEGORIES: [(TicketCategory, &str); 9] = [
    (TicketCategory::Technical, "PRODUCT_ISSUE"),
    (TicketCategory::Billing, "BILLING_ISSUE"),
    (TicketCategory::FeatureRequest, "FEATURE_REQUEST"),
    (TicketCategory::Bug, "PRODUCT_ISSUE"),
    (TicketCategory::UserAccess, "GENERAL_INQUIRY"),
    (TicketCategory::General, "GENERAL_INQUIRY"),
    (TicketCategory::Integration, "PRODUCT_ISSUE"),
    (TicketCategory::Performance, "PRODUCT_ISSUE"),
    (TicketCategory::Security, "PRODUCT_ISSUE"),
];

/// Whether a word is one, in any case of its letters.
fn is_like(known: &str, word: &str) -> bool {
    known.trim().to_lowercase() == word.trim().to_lowercase()
}

/// A pipeline of the account.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pipeline {
    pub(super) id: String,
    pub(super) label: String,
    #[serde(default)]
    pub(super) stages: Vec<Stage>,
}

/// A stage of a pipeline.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stage {
    pub(super) id: String,
    pub(super) label: String,
    #[serde(default)]
    display_order: i64,
    #[serde(default)]
    metadata: Map<String, Value>,
}

impl Stage {
    /// `OPEN` or `CLOSED`.
    fn state(&self) -> Option<&str> {
        self.metadata.get("ticketState")?.as_str()
    }

    fn is_closed(&self) -> bool {
        self.state() == Some("CLOSED")
    }
}

impl Pipeline {
    fn stage(&self, word: &str) -> Option<&Stage> {
        let by_id = self.stages.iter().find(|stage| stage.id == word);
        by_id.or_else(|| self.stages.iter().find(|stage| is_like(&stage.label, word)))
    }

    /// The stage of a status that no setting names. In a pipeline of the customer's a new ticket
    /// begins in the first stage, and what is done is in the only closed one.
    fn usual(&self, status: TicketStatus) -> Option<&Stage> {
        if self.id == DEFAULT_PIPELINE {
            let by_default = STAGES.iter().find(|(ours, _)| *ours == status);
            if let Some(stage) = by_default.and_then(|(_, id)| self.stage(id)) {
                return Some(stage);
            }
        }
        let (closed, open): (Vec<&Stage>, Vec<&Stage>) =
            self.stages.iter().partition(|stage| stage.is_closed());
        match status {
            TicketStatus::New => open.into_iter().min_by_key(|stage| stage.display_order),
            TicketStatus::Resolved | TicketStatus::Closed | TicketStatus::Cancelled => {
                closed.first().copied().filter(|_| closed.len() == 1)
            }
            TicketStatus::Open | TicketStatus::InProgress | TicketStatus::Pending => None,
        }
    }
}

/// What of a list there is, for a person who has to choose.
fn listed<'a>(labels: impl Iterator<Item = &'a str>) -> String {
    labels.take(30).collect::<Vec<_>>().join(", ")
}

impl HubSpot {
    /// The pipeline that tickets are made in.
    pub(super) fn own_pipeline<'a>(
        &self,
        all: &'a [Pipeline],
    ) -> Result<&'a Pipeline, AdapterError> {
        let found = match (&self.pipeline, all) {
            (Some(word), _) => {
                let by_id = all.iter().find(|one| one.id == *word);
                by_id.or_else(|| all.iter().find(|one| is_like(&one.label, word)))
            }
            (None, [only]) => Some(only),
            (None, _) => all.iter().find(|one| one.id == DEFAULT_PIPELINE),
        };
        found.ok_or_else(|| {
            let labels = listed(all.iter().map(|one| one.label.as_str()));
            let fault = format!("must name a pipeline of the account, which has: {labels}");
            AdapterError::field("settings.pipeline", fault)
        })
    }

    /// The stage of a status there.
    pub(super) fn stage_of<'a>(
        &self,
        pipeline: &'a Pipeline,
        status: TicketStatus,
    ) -> Result<&'a Stage, AdapterError> {
        let found = match self.statuses.out(status) {
            Some(word) => pipeline.stage(word),
            None => pipeline.usual(status),
        };
        found.ok_or_else(|| {
            let labels = listed(pipeline.stages.iter().map(|stage| stage.label.as_str()));
            let fault = format!(
                "must name a stage of the pipeline {:?}, which has: {labels}",
                pipeline.label
            );
            AdapterError::field(&format!("settings.status_map.{status}"), fault)
        })
    }

    /// What a stage is called here: as `status_map` names it, else its id.
    pub(super) fn stage_word(&self, stage: &Stage) -> String {
        let mut names = [&stage.id, &stage.label].into_iter();
        let named = names.find(|name| self.says_stage(name));
        named.unwrap_or(&stage.id).clone()
    }

    fn says_stage(&self, name: &str) -> bool {
        let mut statuses = TicketStatus::ALL.iter();
        statuses.any(|status| {
            self.statuses
                .out(*status)
                .is_some_and(|word| is_like(word, name))
        })
    }

    /// Whether the id of a stage says which status it is: one that is mapped by its label, only the
    /// account knows by its id.
    pub(super) fn knows_stage(&self, id: &str) -> bool {
        let mut statuses = TicketStatus::ALL.iter();
        let maps_any = statuses.any(|status| self.statuses.out(*status).is_some());
        self.says_stage(id) || (!maps_any && self.statuses.back(id).is_some())
    }

    /// What a status is in HubSpot's words, for what was just set.
    pub(super) fn status_facts(&self, stage: &Stage) -> Facts {
        Facts {
            status: Some(self.stage_word(stage)),
            status_class: stage.state().map(str::to_owned),
            ..Facts::default()
        }
    }
}

/// A property of tickets.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Property {
    pub(super) name: String,
    #[serde(default)]
    label: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    field_type: String,
    #[serde(default)]
    options: Vec<Choice>,
    #[serde(default)]
    pub(super) has_unique_value: bool,
    #[serde(default)]
    hubspot_defined: bool,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    modification_metadata: Map<String, Value>,
}

/// An option of a property: its value, and a name for people.
#[derive(Debug, Clone, Deserialize)]
struct Choice {
    #[serde(default)]
    label: String,
    value: String,
}

impl Property {
    fn is_enumeration(&self) -> bool {
        self.kind == "enumeration"
    }

    fn is_read_only(&self) -> bool {
        self.modification_metadata.get("readOnlyValue") == Some(&true.into())
    }

    fn takes(&self) -> FieldKind {
        match (self.kind.as_str(), self.field_type.as_str()) {
            ("number", _) => FieldKind::Number,
            ("bool", _) => FieldKind::Flag,
            ("enumeration", "checkbox") => FieldKind::Joined(";"),
            _ => FieldKind::Text,
        }
    }

    /// The option that is meant by its value or its name.
    fn option(&self, word: &str) -> Option<&str> {
        let by_value = self.options.iter().find(|choice| choice.value == word);
        let by_name = || {
            let is_it =
                |choice: &&Choice| is_like(&choice.value, word) || is_like(&choice.label, word);
            self.options.iter().find(is_it)
        };
        by_value
            .or_else(by_name)
            .map(|choice| choice.value.as_str())
    }

    /// A text as the property takes it: of an enumeration its options.
    fn chosen(&self, text: &str) -> Result<String, String> {
        if self.is_read_only() {
            return Err(format!("is mapped to {:?}, which cannot be set", self.name));
        }
        if !self.is_enumeration() || text.is_empty() {
            return Ok(text.to_owned());
        }
        let words: Vec<&str> = match self.takes() {
            FieldKind::Joined(between) => text.split(between).collect(),
            _ => vec![text],
        };
        let options: Option<Vec<&str>> = words.iter().map(|word| self.option(word)).collect();
        let options = options.map(|options| options.join(";"));
        options.ok_or_else(|| format!("is none of the options of {:?}", self.label))
    }

    pub(super) fn shown(&self, allowed_values: Option<Vec<String>>) -> PlatformField {
        let options = self.options.iter().map(|choice| choice.value.clone());
        PlatformField {
            id: self.name.clone(),
            name: self.label.clone(),
            kind: Some(self.kind.clone()),
            custom: !self.hubspot_defined,
            required: self.name == SUBJECT || self.name == STAGE,
            allowed_values: allowed_values.unwrap_or_else(|| options.collect()),
        }
    }

    pub(super) fn is_shown(&self) -> bool {
        !self.hidden && !self.is_read_only()
    }
}

/// What is sent of a ticket: values of properties, all of them texts; and what of it could not be.
#[derive(Debug, Default)]
pub(super) struct Sent<'a> {
    /// The account's properties; `None` for a dry run.
    pub(super) known: Option<&'a [Property]>,
    pub(super) values: Map<String, Value>,
    pub(super) left_out: Map<String, Value>,
    /// Whether something is left out that the account may have by now.
    pub(super) is_doubtful: bool,
}

impl<'a> Sent<'a> {
    pub(super) fn of(known: Option<&'a [Property]>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    pub(super) fn put(&mut self, property: &str, value: impl Into<String>) {
        self.values.insert(property.to_owned(), value.into().into());
    }

    pub(super) fn leave(&mut self, field: &str, why: impl Into<String>) {
        self.left_out.insert(field.to_owned(), why.into().into());
    }

    pub(super) fn property(&self, name: &str) -> Option<&'a Property> {
        self.known?.iter().find(|property| property.name == name)
    }

    /// The first of these words that is an option there.
    fn put_word(&mut self, property: &'static str, field: &str, words: &[&str]) {
        let Some(first) = words.first() else { return };
        let Some(own) = self.property(property) else {
            if self.known.is_none() {
                self.put(property, *first);
            } else {
                self.leave(
                    field,
                    format!("left out: HubSpot has no property {property}"),
                );
                self.is_doubtful = true;
            }
            return;
        };
        let found = words.iter().find_map(|word| own.option(word));
        if own.option(first).is_none() {
            self.is_doubtful = true;
            let instead = found.map_or("left out".to_owned(), |word| format!("{word} instead"));
            let why = format!(
                "{instead}: {property} has no option {first}; settings.{field}_map can name another"
            );
            self.leave(field, why);
        }
        if let Some(word) = found {
            self.put(property, word);
        }
    }
}

impl HubSpot {
    pub(super) fn put_priority(&self, sent: &mut Sent<'_>, priority: Priority) {
        let word = self.priorities.out(priority);
        let instead = (word == Some(URGENT)).then_some(HIGH);
        let words: Vec<&str> = word.into_iter().chain(instead).collect();
        sent.put_word(PRIORITY, "priority", &words);
    }

    pub(super) fn put_category(&self, sent: &mut Sent<'_>, category: TicketCategory) {
        let word = self.categories.out(category);
        sent.put_word(CATEGORY, "category", word.as_slice());
    }

    /// All tags in one property.
    pub(super) fn put_tags(&self, sent: &mut Sent<'_>, tags: &[String]) {
        let Some(name) = self.tags.as_deref() else {
            if !tags.is_empty() {
                let why = "left out: settings.tags_property names no property for them";
                sent.leave("tags", why);
            }
            return;
        };
        let tags = tags.iter().map(|tag| one_line(tag).replace(';', ","));
        let tags: Vec<String> = tags.filter(|tag| !tag.is_empty()).collect();
        let own = sent.property(name);
        let (kept, missing): (Vec<String>, Vec<String>) = match own {
            Some(own) if own.is_enumeration() => {
                let missing = tags.iter().filter(|tag| own.option(tag).is_none());
                let kept = tags.iter().filter_map(|tag| own.option(tag));
                (
                    kept.map(str::to_owned).collect(),
                    missing.cloned().collect(),
                )
            }
            None if sent.known.is_some() => (Vec::new(), tags),
            Some(_) | None => (tags, Vec::new()),
        };
        if !missing.is_empty() {
            let why = format!(
                "left out, as {name} has no such option: {}",
                missing.join(", ")
            );
            sent.leave("tags", why);
            sent.is_doubtful = true;
        }
        if own.is_some() || sent.known.is_none() {
            sent.put(name, kept.join(";"));
        }
    }

    /// Custom fields. Those that have no place there, or a value that does not fit, are left out
    /// and said.
    pub(super) fn put_custom(&self, sent: &mut Sent<'_>, custom: &Map<String, Value>) {
        let mapped = self.fields.split(custom, |theirs| {
            sent.property(theirs)
                .map_or(FieldKind::Text, Property::takes)
        });
        let mut unfit = mapped.unfit;
        for (theirs, value) in mapped.theirs {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text,
                other => other.to_string(),
            };
            let chosen = match (sent.known, sent.property(&theirs)) {
                (None, _) => Ok(text),
                (Some(_), Some(own)) => own.chosen(&text),
                (Some(_), None) => Err(format!(
                    "is mapped to {theirs:?}, which HubSpot does not have"
                )),
            };
            match chosen {
                Ok(text) => sent.put(&theirs, text),
                Err(fault) => {
                    let ours = self.fields.ours(&theirs).unwrap_or(&theirs);
                    unfit.insert(ours.to_owned(), fault);
                }
            }
        }
        if !mapped.unmapped.is_empty() {
            let unmapped = json!(mapped.unmapped);
            sent.left_out
                .insert("unmapped_custom_fields".into(), unmapped);
        }
        if !unfit.is_empty() {
            sent.is_doubtful = true;
            sent.left_out
                .insert("refused_custom_fields".into(), json!(unfit));
        }
    }

    /// The text of a ticket. Without a unique property, the marker is its last line.
    pub(super) fn put_text(&self, sent: &mut Sent<'_>, ticket: &TicketView) {
        let (text, is_whole) = self.text_of(ticket);
        if !is_whole {
            sent.leave("description", "cut to 65536 characters");
        }
        sent.put(CONTENT, text);
    }

    fn text_of(&self, ticket: &TicketView) -> (String, bool) {
        let marker = format!("tkt-{}", ticket.id);
        let line = self.unique.is_none().then_some(Marker::Line(&marker));
        Document::parse(&ticket.description, READ_MAX).plain(TEXT_MAX, line)
    }
}

/// A title as a subject.
pub(super) fn subject(title: &str) -> String {
    one_line(title)
}

/// A note of Markdown, and whether all of it is in there.
pub(super) fn note(markdown: &str, is_public: bool, marker: &str) -> (String, bool) {
    let text = match is_public {
        true => format!("{FOR_THE_CUSTOMER}{markdown}"),
        false => markdown.to_owned(),
    };
    let room = READ_MAX + FOR_THE_CUSTOMER.len();
    let line = Some(Marker::Line(marker));
    Document::parse(&text, room).html(Allowed::Full, TEXT_MAX, line)
}

/// The note that holds a file; its text says which of a command's files it is.
pub(super) fn file_note(file: &File, marker: &str) -> String {
    format!(
        "<p>Attachment: {}</p><p>Kept as {}</p><p>[ref:{marker}]</p>",
        escaped(&one_line(&file.name)),
        escaped(&file.kept_name(marker))
    )
}

/// A moment as HubSpot writes it: to the millisecond.
pub(super) fn moment(text: &str) -> Option<Moment> {
    let read = DateTime::parse_from_rfc3339(text).ok()?;
    Some(Moment::exact(read.with_timezone(&Utc)))
}

/// The same as it reads it.
pub(super) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An object of the CRM: a ticket, a note.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) id: String,
    #[serde(default)]
    pub(super) properties: Map<String, Value>,
    updated_at: Option<String>,
    pub(super) created_at: Option<String>,
    /// Of an upsert: whether it made it.
    #[serde(rename = "new")]
    pub(super) is_new: Option<bool>,
    #[serde(default)]
    pub(super) associations: BTreeMap<String, Associated>,
}

/// What an object is associated with.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Associated {
    #[serde(default)]
    pub(super) results: Vec<Link>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Link {
    pub(super) id: String,
}

impl Record {
    /// A property that says something.
    pub(super) fn text(&self, property: &str) -> Option<&str> {
        let text = self.properties.get(property)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// When it last changed.
    pub(super) fn at(&self) -> Option<Moment> {
        let changed = self.text(CHANGED).or(self.updated_at.as_deref());
        changed.and_then(moment)
    }

    pub(super) fn item(&self) -> ItemRef {
        ItemRef {
            external_id: self.id.clone(),
            stable_id: Some(self.id.clone()),
        }
    }
}

/// Whether this can be the id of an object.
pub(super) fn is_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The mark of a create, among unique values of anybody.
fn ours(marker: Option<&str>) -> Option<String> {
    let ours = marker.filter(|marker| marker.starts_with("tkt-"))?;
    Some(ours.to_owned())
}

impl HubSpot {
    /// The mark of a ticket's create.
    pub(super) fn marker_of(&self, ticket: &Record) -> Option<String> {
        match &self.unique {
            Some(unique) => ours(ticket.text(unique)),
            None => ours(Marker::find(ticket.text(CONTENT)?)),
        }
    }

    /// The properties that are read of a ticket.
    pub(super) fn read_properties(&self) -> Vec<&str> {
        let own = self
            .unique
            .as_deref()
            .into_iter()
            .chain(self.tags.as_deref());
        let all = OWN.into_iter().chain(own);
        all.chain(self.fields.names()).collect()
    }

    /// A ticket as it stands.
    pub(super) fn item_of(
        &self,
        ticket: &Record,
        pipelines: &[Pipeline],
        url: String,
    ) -> ExternalItem {
        let text = |name: &str| ticket.text(name).map(str::to_owned);
        let id = ticket.text(STAGE);
        let mut stages = pipelines.iter().flat_map(|pipeline| &pipeline.stages);
        let stage = stages.find(|stage| Some(stage.id.as_str()) == id);
        let status = stage.map_or_else(
            || Facts {
                status: id.map(str::to_owned),
                ..Facts::default()
            },
            |stage| self.status_facts(stage),
        );
        let facts = Facts {
            title: text(SUBJECT),
            description: ticket
                .text(CONTENT)
                .map(|text| Marker::without(text).to_owned()),
            priority: text(PRIORITY),
            assignee: Some(holder(ticket.text(OWNER))),
            tags: self.tags.as_deref().map(|name| tags(ticket.text(name))),
            custom: self
                .fields
                .names()
                .filter_map(|name| Some((name.to_owned(), ticket.properties.get(name)?.clone())))
                .collect(),
            url: Some(url),
            ..status
        };
        ExternalItem {
            item: ticket.item(),
            at: ticket.at(),
            facts,
            marker: self.marker_of(ticket),
            ..ExternalItem::default()
        }
    }

    pub(super) fn in_our_words(&self, facts: &Facts) -> TicketFacts {
        let by_class = || match facts.status_class.as_deref()? {
            "CLOSED" => Some(TicketStatus::Closed),
            "OPEN" => Some(TicketStatus::Open),
            _ => None,
        };
        let status = facts.status.as_deref();
        let priority = facts.priority.as_deref();
        let custom = facts.custom.iter().filter_map(|(theirs, value)| {
            Some((self.fields.ours(theirs)?.to_owned(), value.clone()))
        });
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            status: status
                .and_then(|word| self.statuses.back(word))
                .or_else(by_class),
            priority: priority.and_then(|word| self.priorities.back(word)),
            assignee: facts.assignee.clone(),
            tags: facts.tags.clone(),
            custom: custom.collect(),
        }
    }

    /// What is compared with what comes back. Which stage a status is, only the account knows: the
    /// receipt of an operation says it.
    pub(super) fn in_their_words(&self, ticket: &TicketView) -> Facts {
        let (text, _) = self.text_of(ticket);
        Facts {
            title: Some(subject(&ticket.title)),
            description: Some(Marker::without(&text).to_owned()),
            status: self.statuses.out(ticket.status).map(str::to_owned),
            priority: self.priorities.out(ticket.priority).map(str::to_owned),
            ..Facts::default()
        }
    }
}

/// Who has it.
pub(super) fn holder(owner: Option<&str>) -> Holder {
    owner.map_or(Holder::Nobody, |id| Holder::Account(id.to_owned()))
}

/// Tags that stand in one text.
pub(super) fn tags(joined: Option<&str>) -> Vec<String> {
    let tags = joined.unwrap_or_default().split(';').map(str::trim);
    tags.filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}
