//! Our words and Asana's. Sections, custom fields and their choices are the customer's own: what a
//! task is made of is chosen among those that the project has.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Asana;
use super::facts::is_gid;
use crate::domain::{Priority, TicketCategory, TicketPatch, TicketStatus, TicketView};
use crate::platforms::mapping::FieldKind;
use crate::platforms::text::{Allowed, Document, Marker, Max, title};
use crate::platforms::{ExternalItem, Facts, Holder, ItemRef, Moment, PlatformField, TicketFacts};

/// Characters of a name, of notes and of a comment (unconfirmed; a thousand are room for what
/// [`inert`] adds).
const NAME_MAX: Max = Max::Utf16(1_000);
const TEXT_MAX: Max = Max::Utf16(64_000);
/// Characters that are read of a text.
const READ_MAX: usize = 60_000;
/// Begins a comment that was not to be public.
const INTERNAL: &str = "Internal comment:\n\n";
/// What a task is where no section says more.
const DONE: &str = "completed";
const NOT_DONE: &str = "incomplete";

/// The choices of the field that Asana proposes ("Priority"), and one more.
pub(super) static PRIORITIES: [(Priority, &str); 4] = [
    (Priority::Low, "Low"),
    (Priority::Medium, "Medium"),
    (Priority::High, HIGH),
    (Priority::Critical, CRITICAL),
];
const HIGH: &str = "High";
const CRITICAL: &str = "Critical";
pub(super) static CATEGORIES: [(TicketCategory, &str); 9] = [
    (TicketCategory::Technical, "Technical"),
    (TicketCategory::Billing, "Billing"),
    (TicketCategory::FeatureRequest, "Feature request"),
    (TicketCategory::Bug, "Bug"),
    (TicketCategory::UserAccess, "User access"),
    (TicketCategory::General, "General"),
    (TicketCategory::Integration, "Integration"),
    (TicketCategory::Performance, "Performance"),
    (TicketCategory::Security, "Security"),
];

/// Whether a word is one, in any case of its letters.
pub(super) fn is_like(known: &str, word: &str) -> bool {
    known.trim().to_lowercase() == word.trim().to_lowercase()
}

/// Whether a task is completed in this status.
pub(super) const fn is_done(status: TicketStatus) -> bool {
    matches!(
        status,
        TicketStatus::Resolved | TicketStatus::Closed | TicketStatus::Cancelled
    )
}

/// Something with a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Named {
    pub(super) gid: String,
    name: Option<String>,
}

impl Named {
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(super) fn is_called(&self, word: &str) -> bool {
        self.gid == word || is_like(self.name(), word)
    }
}

/// A custom field of the project.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Field {
    pub(super) gid: String,
    #[serde(default)]
    pub(super) name: String,
    /// `text`, `number`, `enum`, `multi_enum`, `date`, `people`, and what cannot be set.
    #[serde(default)]
    resource_subtype: String,
    enum_options: Option<Vec<Choice>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Choice {
    gid: String,
    #[serde(default)]
    name: String,
    #[serde(default = "yes")]
    enabled: bool,
}

const fn yes() -> bool {
    true
}

impl Field {
    pub(super) fn is_choice(&self) -> bool {
        self.resource_subtype == "enum"
    }

    fn choices(&self) -> impl Iterator<Item = &Choice> {
        let all = self.enum_options.iter().flatten();
        all.filter(|choice| choice.enabled)
    }

    /// The gid of the choice that is meant by its gid or its name.
    fn choice(&self, word: &str) -> Option<&str> {
        let by_gid = self.choices().find(|choice| choice.gid == word);
        let found = by_gid.or_else(|| self.choices().find(|choice| is_like(&choice.name, word)));
        found.map(|choice| choice.gid.as_str())
    }

    fn takes(&self) -> FieldKind {
        match self.resource_subtype.as_str() {
            "number" => FieldKind::Number,
            "text" => FieldKind::Text,
            _ => FieldKind::Any,
        }
    }

    /// A value as the field takes it.
    fn chosen(&self, value: &Value) -> Result<Value, String> {
        let each = |one: &dyn Fn(&str) -> Result<Value, String>| {
            let many = match value {
                Value::Array(many) => many.as_slice(),
                one => std::slice::from_ref(one),
            };
            let made = many.iter().map(|value| match value {
                Value::String(text) => one(text),
                Value::Number(number) => one(&number.to_string()),
                _ => Err(format!(
                    "must be text, or a list of texts, for {:?}",
                    self.name
                )),
            });
            made.collect::<Result<Vec<Value>, String>>()
        };
        let choice = |word: &str| {
            let gid = self.choice(word).map(Value::from);
            gid.ok_or_else(|| format!("is none of the choices of {:?}", self.name))
        };
        match self.resource_subtype.as_str() {
            _ if value.is_null() => Ok(Value::Null),
            "text" | "number" => Ok(value.clone()),
            "enum" => match each(&choice)?.as_slice() {
                [one] => Ok(one.clone()),
                _ => Err(format!("must be one of the choices of {:?}", self.name)),
            },
            "multi_enum" => each(&choice).map(Value::from),
            "people" => each(&|word| match is_gid(word) {
                true => Ok(word.into()),
                false => Err(format!("must be gids of users for {:?}", self.name)),
            })
            .map(Value::from),
            "date" => match value.as_str() {
                Some(text) if chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() => {
                    Ok(date(text))
                }
                _ => Err(format!(
                    "must be a date like 2026-02-01 for {:?}",
                    self.name
                )),
            },
            other => Err(format!(
                "is mapped to {:?}, which cannot be set ({other})",
                self.name
            )),
        }
    }

    pub(super) fn shown(&self) -> PlatformField {
        PlatformField {
            id: self.gid.clone(),
            name: self.name.clone(),
            kind: Some(self.resource_subtype.clone()),
            custom: true,
            required: false,
            allowed_values: self.choices().map(|choice| choice.name.clone()).collect(),
        }
    }
}

/// A setting's field, by gid or name.
pub(super) fn field_called<'a>(fields: &'a [Field], word: &str) -> Option<&'a Field> {
    let by_gid = fields.iter().find(|field| field.gid == word);
    by_gid.or_else(|| fields.iter().find(|field| is_like(&field.name, word)))
}

/// A date as Asana reads it: an object, by the description of its fields ("Custom fields"); its
/// OpenAPI file says a text (unconfirmed which is taken).
fn date(text: &str) -> Value {
    json!({ "date": text })
}

/// What is sent of a ticket, and what of it could not be.
#[derive(Debug, Default)]
pub(super) struct Sent<'a> {
    /// The project's fields; `None` for a dry run.
    pub(super) known: Option<&'a [Field]>,
    pub(super) data: Map<String, Value>,
    pub(super) left_out: Map<String, Value>,
    /// Whether something is left out that the project may have by now.
    pub(super) is_doubtful: bool,
}

impl<'a> Sent<'a> {
    pub(super) fn of(known: Option<&'a [Field]>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.data.insert(name.to_owned(), value.into());
    }

    pub(super) fn leave(&mut self, field: &str, why: impl Into<Value>) {
        self.left_out.insert(field.to_owned(), why.into());
    }

    fn custom(&mut self, gid: &str, value: Value) {
        let fields = self
            .data
            .entry("custom_fields")
            .or_insert_with(|| json!({}));
        fields[gid] = value;
    }

    /// The first of these words that is a choice of a setting's field.
    fn put_choice(&mut self, field: &str, setting: Option<&str>, words: &[&str]) {
        let Some(first) = words.first() else { return };
        let Some(setting) = setting else {
            let why = format!("left out: settings.{field}_field names no field for it");
            return self.leave(field, why);
        };
        let Some(known) = self.known else {
            return self.custom(setting, (*first).into());
        };
        let own = field_called(known, setting).filter(|own| own.is_choice());
        let Some(own) = own else {
            self.is_doubtful = true;
            let why = format!("left out: {setting:?} is no choice field of the project");
            return self.leave(field, why);
        };
        let found = words
            .iter()
            .find_map(|word| Some((*word, own.choice(word)?)));
        if own.choice(first).is_none() {
            self.is_doubtful = true;
            let instead = found.map_or_else(
                || "left out".to_owned(),
                |(word, _)| format!("{word} instead"),
            );
            let why = format!(
                "{instead}: {:?} has no choice {first}; settings.{field}_map can name another",
                own.name
            );
            self.leave(field, why);
        }
        if let Some((_, gid)) = found {
            self.custom(&own.gid, gid.into());
        }
    }
}

// What is sent.
impl Asana {
    /// Whether fields of the project have to be known for this.
    pub(super) fn needs_fields(
        &self,
        (priority, category): (bool, bool),
        custom: Option<&Map<String, Value>>,
    ) -> bool {
        let mut names = custom.into_iter().flat_map(Map::keys);
        (priority && self.priority_field.is_some())
            || (category && self.category_field.is_some())
            || names.any(|name| self.fields.theirs(name).is_some())
    }

    pub(super) fn put_new(&self, sent: &mut Sent<'_>, ticket: &TicketView) {
        Self::put_title(sent, &ticket.title);
        self.put_text(sent, ticket);
        self.put_priority(sent, ticket.priority);
        self.put_category(sent, ticket.category);
        self.put_custom(sent, &ticket.custom_fields);
        if is_done(ticket.status) {
            sent.put("completed", true);
        }
    }

    pub(super) fn put_changes(
        &self,
        sent: &mut Sent<'_>,
        ticket: &TicketView,
        patch: &TicketPatch,
    ) {
        if let Some(title) = &patch.title {
            Self::put_title(sent, title);
        }
        if patch.description.is_some() {
            self.put_text(sent, ticket);
        }
        if let Some(priority) = patch.priority {
            self.put_priority(sent, priority);
        }
        if let Some(category) = patch.category {
            self.put_category(sent, category);
        }
        if let Some(custom) = &patch.custom_fields {
            self.put_custom(sent, custom);
        }
        for (field, is_said) in [
            ("urgency", patch.urgency.is_some()),
            ("department", patch.department.is_some()),
        ] {
            if is_said {
                sent.leave(field, "left out: a task has no field for it");
            }
        }
    }

    fn put_title(sent: &mut Sent<'_>, text: &str) {
        let (name, whole) = title(text, NAME_MAX);
        if let Some(whole) = whole {
            sent.leave("title", format!("cut; it was: {whole}"));
        }
        sent.put("name", name);
    }

    /// The text of a ticket. A personal token's tasks have their marker as its last line, which an
    /// update keeps.
    fn put_text(&self, sent: &mut Sent<'_>, ticket: &TicketView) {
        let marker = format!("tkt-{}", ticket.id);
        let line = (!self.has_external).then_some(Marker::Line(&marker));
        let document = Document::parse(&ticket.description, READ_MAX);
        let (html, is_whole) = document.html(Allowed::AsanaNotes, TEXT_MAX, line);
        if !is_whole {
            sent.leave(
                "description",
                "cut: its markup is longer than notes of Asana",
            );
        }
        sent.put("html_notes", inert(&html));
    }

    fn put_priority(&self, sent: &mut Sent<'_>, priority: Priority) {
        let word = self.priorities.out(priority);
        let instead = (word == Some(CRITICAL)).then_some(HIGH);
        let words: Vec<&str> = word.into_iter().chain(instead).collect();
        sent.put_choice("priority", self.priority_field.as_deref(), &words);
    }

    fn put_category(&self, sent: &mut Sent<'_>, category: TicketCategory) {
        let word = self.categories.out(category);
        sent.put_choice("category", self.category_field.as_deref(), word.as_slice());
    }

    /// Custom fields. Those that have no counterpart there, or a value that does not fit, are left
    /// out and said.
    fn put_custom(&self, sent: &mut Sent<'_>, custom: &Map<String, Value>) {
        let known = sent.known;
        let find = |theirs: &str| known?.iter().find(|field| field.gid == theirs);
        let mapped = self.fields.split(custom, |theirs| {
            find(theirs).map_or(FieldKind::Any, Field::takes)
        });
        let mut unfit = mapped.unfit;
        for (theirs, value) in mapped.theirs {
            let chosen = match (known, find(&theirs)) {
                (None, _) => Ok(value),
                (Some(_), Some(own)) => own.chosen(&value),
                (Some(_), None) => Err(format!(
                    "is mapped to {theirs}, which is no field of the project"
                )),
            };
            match chosen {
                Ok(value) => sent.custom(&theirs, value),
                Err(fault) => {
                    let ours = self.fields.ours(&theirs).unwrap_or(&theirs);
                    unfit.insert(ours.to_owned(), fault);
                }
            }
        }
        if !mapped.unmapped.is_empty() {
            sent.leave("unmapped_custom_fields", json!(mapped.unmapped));
        }
        if !unfit.is_empty() {
            sent.is_doubtful = true;
            sent.leave("refused_custom_fields", json!(unfit));
        }
    }
}

/// A comment of Markdown, and whether all of it is in there.
pub(super) fn comment(markdown: &str, is_public: bool, marker: &str) -> (String, bool) {
    let text = match is_public {
        true => markdown.to_owned(),
        false => format!("{INTERNAL}{markdown}"),
    };
    let room = READ_MAX + INTERNAL.len();
    let document = Document::parse(&text, room);
    let line = Some(Marker::Line(marker));
    let (html, is_whole) = document.html(Allowed::AsanaComment, TEXT_MAX, line);
    (inert(&html), is_whole)
}

/// A text whose addresses of Asana's are none: by the address of a profile a person would be
/// mentioned, by that of a task something would be written there ("Rich text", "Links").
fn inert(html: &str) -> String {
    const OWN: &str = "app.asana.com";
    let lower = html.to_ascii_lowercase();
    let mut made = String::with_capacity(html.len());
    let mut from = 0;
    for (at, _) in lower.match_indices(OWN) {
        let dot = at + "app".len();
        made.push_str(&html[from..dot]);
        // It cannot be seen and breaks no line.
        made.push('\u{2060}');
        from = dot;
    }
    made.push_str(&html[from..]);
    made
}

/// A moment as Asana writes it.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok()?;
    Some(read.with_timezone(&Utc))
}

/// The same as it reads it.
pub(super) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A task as Asana shows it: what was asked for of it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Task {
    pub(super) gid: String,
    name: Option<String>,
    pub(super) notes: Option<String>,
    pub(super) completed: Option<bool>,
    modified_at: Option<String>,
    pub(super) assignee: Option<Named>,
    permalink_url: Option<String>,
    tags: Option<Vec<Named>>,
    memberships: Option<Vec<Membership>>,
    custom_fields: Option<Vec<FieldValue>>,
    pub(super) external: Option<External>,
}

#[derive(Debug, Clone, Deserialize)]
struct Membership {
    project: Option<Named>,
    section: Option<Named>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct External {
    pub(super) gid: Option<String>,
}

/// What a custom field of a task is.
#[derive(Debug, Clone, Deserialize)]
struct FieldValue {
    gid: String,
    name: Option<String>,
    resource_subtype: Option<String>,
    display_value: Option<String>,
    number_value: Option<Value>,
    enum_value: Option<Named>,
    multi_enum_values: Option<Vec<Named>>,
}

impl FieldValue {
    fn value(&self) -> Value {
        match self.resource_subtype.as_deref() {
            Some("number") => self.number_value.clone().unwrap_or_default(),
            Some("enum") => self
                .enum_value
                .as_ref()
                .map_or(Value::Null, |one| one.name().into()),
            Some("multi_enum") => {
                let names = self.multi_enum_values.iter().flatten().map(Named::name);
                names.map(Value::from).collect()
            }
            _ => self
                .display_value
                .as_deref()
                .map_or(Value::Null, Value::from),
        }
    }
}

/// What is asked for with each answer that shows a task.
pub(super) const SHOWN: &str = "gid,name,permalink_url,completed,modified_at,assignee.gid,\
    memberships.project.gid,memberships.section.gid,memberships.section.name";
/// The rest of what is read. A large graph of objects costs more of the budget ("Rate limits").
const READ_BESIDES: &str = "notes,tags.gid,tags.name,custom_fields.gid,custom_fields.name,\
    custom_fields.resource_subtype,custom_fields.display_value,custom_fields.number_value,\
    custom_fields.enum_value.gid,custom_fields.enum_value.name,custom_fields.multi_enum_values.gid,\
    custom_fields.multi_enum_values.name";

impl Task {
    /// When it last changed.
    pub(super) fn at(&self) -> Option<Moment> {
        self.modified_at
            .as_deref()
            .and_then(moment)
            .map(Moment::exact)
    }

    pub(super) fn item(&self) -> ItemRef {
        ItemRef {
            external_id: self.gid.clone(),
            stable_id: Some(self.gid.clone()),
        }
    }

    pub(super) fn page(&self, project: &str) -> String {
        let page = self.permalink_url.clone();
        page.unwrap_or_else(|| format!("{}/0/{project}/{}", super::facts::SITE, self.gid))
    }

    /// The section of a project that it is in.
    pub(super) fn section(&self, project: &str) -> Option<&Named> {
        let mut all = self.memberships.iter().flatten();
        let own = all.find(|one| one.project.as_ref().is_some_and(|its| its.gid == project));
        own?.section.as_ref()
    }
}

/// Who has it.
pub(super) fn holder(person: Option<&Named>) -> Holder {
    person.map_or(Holder::Nobody, |person| Holder::Account(person.gid.clone()))
}

// What is read.
impl Asana {
    /// What is asked for of a task that is read.
    pub(super) fn read_fields(&self) -> String {
        let external = if self.has_external {
            ",external.gid"
        } else {
            ""
        };
        format!("{SHOWN},{READ_BESIDES}{external}")
    }

    /// The mark of a task's create.
    pub(super) fn marker_of(&self, task: &Task) -> Option<String> {
        let found = match self.has_external {
            true => task.external.as_ref()?.gid.as_deref(),
            false => Marker::find(task.notes.as_deref()?),
        };
        found
            .filter(|mark| mark.starts_with("tkt-"))
            .map(str::to_owned)
    }

    /// What a status is there: its section where one is mapped, and whether it is done.
    fn status_facts(&self, status: TicketStatus) -> Facts {
        let class = if is_done(status) { DONE } else { NOT_DONE };
        Facts {
            status: Some(self.statuses.out(status).unwrap_or(class).to_owned()),
            status_class: Some(class.to_owned()),
            ..Facts::default()
        }
    }

    /// The status of ours that is in this section and completed, or not.
    fn status_in(&self, word: &str, done: bool) -> Option<TicketStatus> {
        let mut all = TicketStatus::ALL.iter().copied();
        all.find(|status| {
            is_done(*status) == done
                && self
                    .statuses
                    .out(*status)
                    .is_some_and(|own| is_like(own, word))
        })
    }

    /// What a task's status is called: the section where `status_map` names it for what is as far
    /// done, else whether it is done.
    fn status_of(&self, task: &Task) -> Facts {
        let Some(done) = task.completed else {
            return Facts::default();
        };
        let section = task.section(&self.project);
        let names = section.map(|own| [own.gid.as_str(), own.name()]);
        let found = names
            .into_iter()
            .flatten()
            .find_map(|word| self.status_in(word, done));
        match found {
            Some(status) => self.status_facts(status),
            None => {
                let class = if done { DONE } else { NOT_DONE }.to_owned();
                Facts {
                    status: Some(class.clone()),
                    status_class: Some(class),
                    ..Facts::default()
                }
            }
        }
    }

    fn priority_of(&self, task: &Task) -> Option<String> {
        let setting = self.priority_field.as_deref()?;
        let is_it = |field: &&FieldValue| {
            field.gid == setting
                || field
                    .name
                    .as_deref()
                    .is_some_and(|name| is_like(name, setting))
        };
        let field = task.custom_fields.iter().flatten().find(is_it)?;
        let name = field.enum_value.as_ref()?.name();
        // As it is sent, in any case of its letters.
        let mut own = Priority::ALL
            .iter()
            .filter_map(|one| self.priorities.out(*one));
        Some(
            own.find(|own| is_like(own, name))
                .unwrap_or(name)
                .to_owned(),
        )
    }

    /// A task as it stands.
    pub(super) fn item_of(&self, task: &Task) -> ExternalItem {
        let custom = task.custom_fields.iter().flatten();
        let custom: BTreeMap<String, Value> = custom
            .filter(|field| self.fields.ours(&field.gid).is_some())
            .map(|field| (field.gid.clone(), field.value()))
            .collect();
        let tags = task.tags.as_ref();
        let facts = Facts {
            title: task.name.clone(),
            description: task
                .notes
                .as_deref()
                .map(|notes| Marker::without(notes).to_owned()),
            priority: self.priority_of(task),
            assignee: Some(holder(task.assignee.as_ref())),
            tags: tags.map(|tags| tags.iter().map(|tag| tag.name().to_owned()).collect()),
            custom,
            url: Some(task.page(&self.project)),
            ..self.status_of(task)
        };
        ExternalItem {
            item: task.item(),
            at: task.at(),
            facts,
            marker: self.marker_of(task),
            ..ExternalItem::default()
        }
    }

    pub(super) fn in_our_words(&self, facts: &Facts) -> TicketFacts {
        let class = facts.status_class.as_deref();
        let done = class == Some(DONE);
        let by_class = || match class? {
            DONE => Some(TicketStatus::Closed),
            NOT_DONE => Some(TicketStatus::Open),
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
                .and_then(|word| self.status_in(word, done))
                .or_else(by_class),
            priority: priority.and_then(|word| self.priorities.back(word)),
            assignee: facts.assignee.clone(),
            tags: facts.tags.clone(),
            custom: custom.collect(),
        }
    }

    /// What is compared with what comes back. A description comes back as plain text, and tags with
    /// those of others.
    pub(super) fn in_their_words(&self, ticket: &TicketView) -> Facts {
        let priority = self.priority_field.as_ref();
        let priority = priority.and_then(|_| self.priorities.out(ticket.priority));
        Facts {
            title: Some(title(&ticket.title, NAME_MAX).0),
            priority: priority.map(str::to_owned),
            ..self.status_facts(ticket.status)
        }
    }
}
