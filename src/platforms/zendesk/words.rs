//! Our words and Zendesk's: statuses, priorities, types, tags, fields, and what a ticket says.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Zendesk;
use crate::domain::{Priority, TicketCategory, TicketStatus, TicketView};
use crate::platforms::mapping::{FieldKind, FieldMap};
use crate::platforms::text::{Max, inert_html, title};
use crate::platforms::{ExternalItem, Facts, Holder, ItemRef, Moment, PlatformField, TicketFacts};

/// Longest subject: 150 characters are displayed, and longer ones stored (unconfirmed how long).
pub(super) const SUBJECT_MAX: usize = 255;
/// Bytes of a comment (64 KB, with room for what Zendesk adds).
const COMMENT_MAX: usize = 64_000;
/// Characters that are read of a text.
const READ_MAX: usize = 60_000;
/// Longest tag (unconfirmed).
const TAG_MAX: usize = 255;
/// Tags of a ticket that are carried over (unconfirmed what Zendesk takes).
const TAGS_MAX: usize = 100;
/// Begins the tag of a category.
const CATEGORY: &str = "category_";
/// The tag of what was cancelled: Zendesk has no status for it.
pub(super) const CANCELLED: &str = "cancelled";

/// Zendesk's categories of statuses. What is none of them is a custom status.
pub(super) const CATEGORIES: [&str; 6] = ["new", "open", "pending", "hold", "solved", "closed"];
/// Zendesk's priorities.
pub(super) const PRIORITIES: [&str; 4] = ["low", "normal", "high", "urgent"];
/// Zendesk's types.
pub(super) const KINDS: [&str; 4] = ["problem", "incident", "question", "task"];

/// `closed` is final, and Zendesk closes what is solved by itself.
pub(super) static STATUSES: [(TicketStatus, &str); 7] = [
    (TicketStatus::New, "new"),
    (TicketStatus::Open, "open"),
    (TicketStatus::InProgress, "open"),
    (TicketStatus::Pending, "pending"),
    (TicketStatus::Resolved, "solved"),
    (TicketStatus::Closed, "solved"),
    (TicketStatus::Cancelled, "solved"),
];
pub(super) static STATUSES_BACK: [(&str, TicketStatus); 7] = [
    ("new", TicketStatus::New),
    ("open", TicketStatus::Open),
    ("pending", TicketStatus::Pending),
    ("hold", TicketStatus::Pending),
    ("solved", TicketStatus::Resolved),
    ("closed", TicketStatus::Closed),
    ("deleted", TicketStatus::Cancelled),
];
pub(super) static PRIORITY_WORDS: [(Priority, &str); 4] = [
    (Priority::Low, "low"),
    (Priority::Medium, "normal"),
    (Priority::High, "high"),
    (Priority::Critical, "urgent"),
];
pub(super) static KIND_WORDS: [(TicketCategory, &str); 9] = [
    (TicketCategory::Technical, "incident"),
    (TicketCategory::Billing, "question"),
    (TicketCategory::FeatureRequest, "task"),
    (TicketCategory::Bug, "incident"),
    (TicketCategory::UserAccess, "question"),
    (TicketCategory::General, "question"),
    (TicketCategory::Integration, "incident"),
    (TicketCategory::Performance, "incident"),
    (TicketCategory::Security, "incident"),
];

/// A ticket as Zendesk shows it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Ticket {
    pub(super) id: u64,
    subject: Option<String>,
    description: Option<String>,
    pub(super) status: Option<String>,
    custom_status_id: Option<u64>,
    priority: Option<String>,
    assignee_id: Option<u64>,
    #[serde(default)]
    tags: Vec<String>,
    pub(super) external_id: Option<String>,
    updated_at: Option<String>,
    #[serde(default)]
    custom_fields: Vec<FieldValue>,
}

#[derive(Debug, Clone, Deserialize)]
struct FieldValue {
    id: u64,
    value: Value,
}

/// A status that somebody of the account made.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CustomStatus {
    pub(super) id: u64,
    pub(super) agent_label: String,
    #[serde(default = "yes")]
    pub(super) active: bool,
}

/// A ticket field.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TicketField {
    pub(super) id: u64,
    #[serde(rename = "type")]
    kind: String,
    title: String,
    #[serde(default = "yes")]
    active: bool,
    #[serde(default)]
    required: bool,
    /// Whether somebody of the account made it.
    #[serde(default)]
    removable: bool,
    custom_field_options: Option<Vec<Choice>>,
    system_field_options: Option<Vec<Choice>>,
}

/// What a field can be: a name for people, and the tag that is its value.
#[derive(Debug, Clone, Deserialize)]
struct Choice {
    name: String,
    value: String,
}

const fn yes() -> bool {
    true
}

impl TicketField {
    fn takes(&self) -> FieldKind {
        match self.kind.as_str() {
            "integer" | "decimal" => FieldKind::Number,
            "checkbox" => FieldKind::Flag,
            "text" | "textarea" | "regexp" | "date" | "tagger" => FieldKind::Text,
            _ => FieldKind::Any,
        }
    }

    fn options(&self) -> &[Choice] {
        let options = self.custom_field_options.as_ref();
        options
            .or(self.system_field_options.as_ref())
            .map_or(&[], Vec::as_slice)
    }

    /// A value as the field takes it: of a list of choices the tag, whose name may be said instead.
    fn chosen(&self, value: Value) -> Result<Value, String> {
        if !matches!(self.kind.as_str(), "tagger" | "multiselect") {
            return Ok(value);
        }
        let one = |value: Value| match value.as_str() {
            Some(text) => {
                let tag = self.options().iter().find(|choice| choice.value == text);
                let named = |choice: &&Choice| choice.name.trim().eq_ignore_ascii_case(text.trim());
                let found = tag.or_else(|| self.options().iter().find(named));
                found
                    .map(|choice| Value::from(choice.value.clone()))
                    .ok_or_else(|| format!("is none of the choices of {:?}", self.title))
            }
            None => Err(format!("must be a choice of {:?}, as text", self.title)),
        };
        match value {
            Value::Null => Ok(Value::Null),
            Value::Array(values) => {
                let values: Result<Vec<Value>, String> = values.into_iter().map(one).collect();
                values.map(Value::from)
            }
            other => one(other),
        }
    }

    pub(super) fn shown(&self) -> PlatformField {
        PlatformField {
            id: self.id.to_string(),
            name: self.title.clone(),
            kind: Some(self.kind.clone()),
            custom: self.removable,
            required: self.required,
            allowed_values: self
                .options()
                .iter()
                .map(|choice| choice.value.clone())
                .collect(),
        }
    }

    pub(super) const fn is_active(&self) -> bool {
        self.active
    }
}

/// Custom fields of a ticket as Zendesk takes them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chosen {
    /// `{"id", "value"}` each.
    pub(super) values: Vec<Value>,
    /// Ours that have no counterpart there.
    pub(super) unmapped: Vec<String>,
    /// Ours whose value or counterpart is no good: what is wrong.
    pub(super) unfit: BTreeMap<String, String>,
}

/// Custom fields by Zendesk's ids; `known` are the account's fields, `None` for a dry run.
pub(super) fn choose(
    map: &FieldMap,
    custom: &Map<String, Value>,
    known: Option<&[TicketField]>,
) -> Chosen {
    let find = |theirs: &str| {
        let id: u64 = theirs.parse().ok()?;
        known?.iter().find(|field| field.id == id && field.active)
    };
    let mapped = map.split(custom, |theirs| {
        find(theirs).map_or(FieldKind::Any, TicketField::takes)
    });
    let mut chosen = Chosen {
        values: Vec::new(),
        unmapped: mapped.unmapped,
        unfit: mapped.unfit,
    };
    for (theirs, value) in mapped.theirs {
        let ours = map.ours(&theirs).unwrap_or(&theirs).to_owned();
        let Ok(id) = theirs.parse::<u64>() else {
            let fault = format!("is mapped to {theirs:?}, which is no id of a ticket field");
            chosen.unfit.insert(ours, fault);
            continue;
        };
        let value = match (known, find(&theirs)) {
            (None, _) => Ok(value),
            (Some(_), Some(field)) => field.chosen(value),
            (Some(_), None) => Err(format!(
                "is mapped to the ticket field {id}, which Zendesk does not have or has \
                 switched off"
            )),
        };
        match value {
            Ok(value) => chosen.values.push(json!({ "id": id, "value": value })),
            Err(fault) => drop(chosen.unfit.insert(ours, fault)),
        }
    }
    chosen
}

/// A tag as Zendesk has them: lower case, one word.
fn tag(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    let one = |c: char| {
        if c.is_alphanumeric() || matches!(c, '-' | '/' | ':' | '.') {
            c
        } else {
            '_'
        }
    };
    lower.chars().map(one).take(TAG_MAX).collect()
}

/// Tags as Zendesk has them, each once.
pub(super) fn tags(ours: &[String]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in ours.iter().map(|text| tag(text)) {
        let says_something = tag.chars().any(|c| c != '_');
        if says_something && !tags.contains(&tag) && tags.len() < TAGS_MAX {
            tags.push(tag);
        }
    }
    tags
}

/// The tag of a category.
pub(super) fn category_tag(category: TicketCategory) -> String {
    format!("{CATEGORY}{category}")
}

/// A title as a subject, and the whole of it where that was cut.
pub(super) fn subject(text: &str) -> (String, Option<String>) {
    title(text, Max::Chars(SUBJECT_MAX))
}

/// A text as a comment, and whether all of its markup found room there. Nothing in it is live:
/// Zendesk would fill in what looks like a placeholder (`{{ticket.requester.email}}`).
pub(super) fn html(markdown: &str) -> (String, bool) {
    inert_html(markdown, READ_MAX, COMMENT_MAX, None)
}

/// A moment as Zendesk writes it, in whole seconds.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok()?;
    Some(read.with_timezone(&Utc))
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
        let at = self.updated_at.as_deref().and_then(moment)?;
        Some(Moment::second(at))
    }

    /// Whether it was deleted; the incremental export still shows it then.
    pub(super) fn is_deleted(&self) -> bool {
        self.status.as_deref() == Some("deleted")
    }

    /// The mark of its create.
    pub(super) fn marker(&self) -> Option<String> {
        marker_of(self.external_id.as_deref())
    }
}

/// The mark of a create, among external ids of anybody.
pub(super) fn marker_of(external_id: Option<&str>) -> Option<String> {
    let ours = external_id.filter(|id| id.starts_with("tkt-"))?;
    Some(ours.to_owned())
}

impl Zendesk {
    /// A ticket as it stands; `custom` are the account's statuses, where some are mapped by name.
    pub(super) fn item_of(&self, ticket: &Ticket, custom: &[CustomStatus]) -> ExternalItem {
        let id = ticket.id.to_string();
        let fields = ticket.custom_fields.iter();
        let fields = fields.map(|field| (field.id.to_string(), field.value.clone()));
        let facts = Facts {
            title: ticket.subject.clone(),
            description: ticket.description.clone(),
            status: self.status_of(ticket, custom),
            status_class: ticket.status.clone(),
            priority: ticket.priority.clone(),
            assignee: Some(holder(ticket.assignee_id)),
            tags: Some(ticket.tags.clone()),
            custom: fields
                .filter(|(theirs, _)| self.fields.ours(theirs).is_some())
                .collect(),
            url: self.page_of(&id),
        };
        ExternalItem {
            item: ticket.item(),
            at: ticket.at(),
            facts,
            marker: ticket.marker(),
            ..ExternalItem::default()
        }
    }

    /// The status by the name that the setting has for it: a custom status by id or name, else its
    /// category.
    fn status_of(&self, ticket: &Ticket, custom: &[CustomStatus]) -> Option<String> {
        let id = ticket.custom_status_id;
        let by_id = id.map(|id| id.to_string());
        let label = custom.iter().find(|status| Some(status.id) == id);
        let label = label.map(|status| status.agent_label.clone());
        let is_mapped = |name: &String| self.statuses.back(name).is_some();
        by_id
            .filter(is_mapped)
            .or_else(|| label.filter(is_mapped))
            .or_else(|| ticket.status.clone())
    }

    /// Whether a status is mapped by the name that somebody of the account gave it.
    pub(super) fn names_statuses(&self) -> bool {
        let mut words = TicketStatus::ALL.iter();
        words.any(|status| self.statuses.out(*status).is_some_and(is_name))
    }

    pub(super) fn in_our_words(&self, facts: &Facts) -> TicketFacts {
        let tags = facts.tags.as_ref().map(|tags| {
            let own = |tag: &&String| !tag.starts_with(CATEGORY) && *tag != CANCELLED;
            tags.iter().filter(own).cloned().collect()
        });
        let status = facts.status.as_deref();
        let by_class = || self.statuses.back(facts.status_class.as_deref()?);
        let custom = facts.custom.iter();
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            status: status
                .and_then(|status| self.statuses.back(status))
                .or_else(by_class),
            priority: facts
                .priority
                .as_deref()
                .and_then(|theirs| self.priorities.back(theirs)),
            assignee: facts.assignee.clone(),
            tags,
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

/// Whether a word of `status_map` is a custom status by its name: neither a category nor an id.
pub(super) fn is_name(theirs: &str) -> bool {
    !CATEGORIES.contains(&theirs) && !super::is_id(theirs)
}

/// Who has it.
pub(super) fn holder(account: Option<u64>) -> Holder {
    account.map_or(Holder::Nobody, |id| Holder::Account(id.to_string()))
}
