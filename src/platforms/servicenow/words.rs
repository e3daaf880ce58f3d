//! Our words and ServiceNow's, its rows, and what they say of an incident.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ServiceNow;
use crate::domain::{Priority, TicketCategory, TicketStatus, TicketView};
use crate::platforms::text::{Document, Marker, Max, title};
use crate::platforms::{
    AdapterError, ErrorClass, ExternalItem, Facts, Holder, ItemRef, Moment, Receipt, TicketFacts,
};

/// The column that is a row's id, and the member of a ticket's `external_ref` that holds it.
pub(super) const SYS_ID: &str = "sys_id";
/// The table.
pub(super) const INCIDENT: &str = "incident";
/// Characters of a title, and of a description or a journal entry (stock sizes of the columns; what
/// is longer is cut in silence (unconfirmed)).
pub(super) const TITLE_MAX: usize = 160;
pub(super) const TEXT_MAX: usize = 4_000;
/// Characters of Markdown that are read of a text.
const READ_MAX: usize = 16_000;
/// How values are written; they are in UTC.
const MOMENT: &str = "%Y-%m-%d %H:%M:%S";

/// Values of `state` (labels: `c_IncidentManagementStateModel.md`; numbers as in public schemas).
pub(super) static STATUSES: [(TicketStatus, &str); 7] = [
    (TicketStatus::New, "1"),
    (TicketStatus::Open, "2"),
    (TicketStatus::InProgress, "2"),
    (TicketStatus::Pending, "3"),
    (TicketStatus::Resolved, "6"),
    (TicketStatus::Closed, "7"),
    (TicketStatus::Cancelled, super::CANCELED),
];
pub(super) static STATUSES_BACK: [(&str, TicketStatus); 6] = [
    ("1", TicketStatus::New),
    ("2", TicketStatus::InProgress),
    ("3", TicketStatus::Pending),
    ("6", TicketStatus::Resolved),
    ("7", TicketStatus::Closed),
    (super::CANCELED, TicketStatus::Cancelled),
];
/// A priority is computed of impact and urgency, and read-only (`def-prio-lookup-rules.md`).
pub(super) static PRIORITIES: [(Priority, &str); 4] = [
    (Priority::Low, "3,2"),
    (Priority::Medium, "2,2"),
    (Priority::High, "1,2"),
    (Priority::Critical, "1,1"),
];
pub(super) static PRIORITIES_BACK: [(&str, Priority); 9] = [
    ("1,1", Priority::Critical),
    ("1,2", Priority::High),
    ("1,3", Priority::Medium),
    ("2,1", Priority::High),
    ("2,2", Priority::Medium),
    ("2,3", Priority::Low),
    ("3,1", Priority::Medium),
    ("3,2", Priority::Low),
    ("3,3", Priority::Low),
];
/// Stock choices of `category` (unconfirmed: an instance has its own).
pub(super) static CATEGORIES: [(TicketCategory, &str); 9] = [
    (TicketCategory::Technical, "software"),
    (TicketCategory::Billing, "inquiry"),
    (TicketCategory::FeatureRequest, "inquiry"),
    (TicketCategory::Bug, "software"),
    (TicketCategory::UserAccess, "inquiry"),
    (TicketCategory::General, "inquiry"),
    (TicketCategory::Integration, "software"),
    (TicketCategory::Performance, "software"),
    (TicketCategory::Security, "software"),
];
/// Columns of an incident by our names, with the labels by which a refusal names them. A label that
/// holds another comes first.
pub(super) static COLUMNS: [(&str, &str, &str); 13] = [
    ("short_description", "title", "short description"),
    ("description", "description", "description"),
    ("impact", "priority", "impact"),
    ("urgency", "priority", "urgency"),
    ("category", "category", "category"),
    ("caller_id", "created_by_id", "caller"),
    (
        "assignment_group",
        "settings.assignment_group",
        "assignment group",
    ),
    ("assigned_to", "assigned_to_id", "assigned to"),
    ("close_code", "settings.close_code", "resolution code"),
    ("close_notes", "resolution_summary", "resolution notes"),
    ("hold_reason", "settings.hold_reason", "on hold reason"),
    ("comments", "body", "additional comments"),
    ("state", "status", "state"),
];

/// Whether this is the id of a row: 32 hexadecimal digits.
pub(super) fn is_sys_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether this can be the value of a state, which is a column of whole numbers.
pub(super) fn is_state(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Impact and urgency.
pub(super) fn pair(text: &str) -> Option<(&str, &str)> {
    let (impact, urgency) = text.split_once(',')?;
    let (impact, urgency) = (impact.trim(), urgency.trim());
    let fits = |one: &str| matches!(one, "1" | "2" | "3");
    (fits(impact) && fits(urgency)).then_some((impact, urgency))
}

/// Whether a custom field may be this column.
pub(super) fn is_custom(column: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let is_own = column.starts_with("u_") || column.starts_with("x_");
    column == "subcategory" || (is_own && column.len() <= 80 && column.bytes().all(fits))
}

/// A value as a query can hold it. `^` would begin another condition, and `javascript:` a script.
pub(super) fn literal(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_script = text
        .get(..11)
        .is_some_and(|begin| begin.eq_ignore_ascii_case("javascript:"));
    let is_one = !text.is_empty() && !text.contains('^') && !text.chars().any(char::is_control);
    (is_one && !is_script).then_some(text)
}

/// A moment as it is written.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let read = NaiveDateTime::parse_from_str(text.trim(), MOMENT).ok()?;
    Some(read.and_utc())
}

/// The same the other way round.
pub(super) fn written(at: DateTime<Utc>) -> String {
    at.format(MOMENT).to_string()
}

/// A title as it fits, and the whole of it where it was cut.
pub(super) fn short(text: &str) -> (String, Option<String>) {
    title(text, Max::Chars(TITLE_MAX))
}

/// A text without markup, and whether all of it found room. What an author wrote opens no `[code]`,
/// which a journal shows as HTML.
pub(super) fn plain(markdown: &str, marker: Option<&str>) -> (String, bool) {
    let document = Document::parse(markdown, READ_MAX);
    document.plain(Max::Chars(TEXT_MAX), marker.map(Marker::Line))
}

/// Tags as lines of a work note: an incident has no field for them.
pub(super) fn tag_lines(tags: &[String]) -> Option<String> {
    let line = |tag: &String| {
        let tag: String = tag.chars().filter(|c| !c.is_control()).collect();
        let tag = tag.replace(['[', ']', '\\'], " ");
        let tag = tag.trim();
        // A tag "code" in brackets would begin HTML.
        (!tag.is_empty()).then(|| format!("[tag: {tag}]"))
    };
    let lines: Vec<String> = tags.iter().filter_map(line).collect();
    let text = crate::platforms::text::fit(&lines.join("\n"), Max::Chars(TEXT_MAX), None).0;
    (!text.is_empty()).then_some(text)
}

/// A row of a table: each value is text. A column that an ACL hides is not there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Row(pub(super) Map<String, Value>);

impl Row {
    /// A column, if it is shown. One of references may come with a link.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        let value = self.0.get(column)?;
        value.as_str().or_else(|| value.get("value")?.as_str())
    }

    /// A column that holds something.
    pub(super) fn says(&self, column: &str) -> Option<&str> {
        self.text(column).filter(|text| !text.is_empty())
    }

    /// A moment that it holds.
    pub(super) fn at(&self, column: &str) -> Option<DateTime<Utc>> {
        self.says(column).and_then(moment)
    }

    /// When it was last changed.
    pub(super) fn updated(&self) -> Option<Moment> {
        self.at("sys_updated_on").map(Moment::second)
    }

    /// How the incident is called: by its number, where that is shown.
    pub(super) fn item(&self) -> Option<ItemRef> {
        let sys_id = self.says(SYS_ID).filter(|id| is_sys_id(id))?;
        Some(ItemRef {
            external_id: self.says("number").unwrap_or(sys_id).to_owned(),
            stable_id: Some(sys_id.to_owned()),
        })
    }

    /// The mark of its create, among correlation ids of anybody.
    pub(super) fn marker(&self) -> Option<String> {
        let id = self.says("correlation_id")?;
        id.starts_with("tkt-").then(|| id.to_owned())
    }

    /// What it says of an incident.
    pub(super) fn facts(&self) -> Facts {
        let own = |column: &str| self.says(column).map(str::to_owned);
        let pair = self.says("impact").zip(self.says("urgency"));
        Facts {
            title: own("short_description"),
            description: self.text("description").map(str::to_owned),
            status: own("state"),
            priority: pair.map(|(impact, urgency)| format!("{impact},{urgency}")),
            assignee: self.text("assigned_to").map(|id| match id {
                "" => Holder::Nobody,
                id => Holder::Account(id.to_owned()),
            }),
            ..Facts::default()
        }
    }
}

/// A choice of an element of incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) element: String,
    pub(super) value: String,
    pub(super) label: String,
    /// Whether it is incident's own, and not the one of all tasks.
    pub(super) own: bool,
}

/// The choices that the account may read; none where it may not.
#[derive(Debug, Default)]
pub(super) struct Choices(pub(super) Vec<Choice>);

impl Choices {
    /// Those of an element: incident's own, where it has some.
    pub(super) fn of(&self, element: &str) -> Vec<&Choice> {
        let all = || self.0.iter().filter(|choice| choice.element == element);
        let has_own = all().any(|choice| choice.own);
        all().filter(|choice| choice.own == has_own).collect()
    }

    /// The value that a word names, by value or label. Where the choices cannot be read, the word.
    pub(super) fn value(&self, element: &str, word: &str) -> Option<String> {
        let all = self.of(element);
        if all.is_empty() {
            return Some(word.to_owned());
        }
        let by_value = all.iter().find(|choice| choice.value == word);
        let has_label = |choice: &&&Choice| choice.label.to_lowercase() == word.to_lowercase();
        let found = by_value.or_else(|| all.iter().find(has_label));
        found.map(|choice| choice.value.clone())
    }

    /// For people.
    pub(super) fn named(&self, element: &str) -> Vec<String> {
        let shown = |choice: &&Choice| {
            if choice.value == choice.label {
                choice.value.clone()
            } else {
                format!("{} ({})", choice.value, choice.label)
            }
        };
        self.of(element).iter().map(shown).collect()
    }
}

impl ServiceNow {
    /// What binds a ticket to an incident.
    pub(super) fn bound(&self, row: &Row, sys_id: &str) -> Receipt {
        Receipt {
            external_id: Some(row.says("number").unwrap_or(sys_id).to_owned()),
            external_url: self.page_of(sys_id),
            external_ref: Map::from_iter([(SYS_ID.to_owned(), sys_id.into())]),
            ..Receipt::default()
        }
    }

    /// An incident as a row shows it; `None` where the row has no id.
    pub(super) fn item_of(&self, row: &Row) -> Option<ExternalItem> {
        let item = row.item()?;
        let custom = self.fields.names();
        let custom = custom.filter_map(|name| Some((name.to_owned(), row.text(name)?.into())));
        let facts = Facts {
            custom: custom.collect(),
            url: item.stable_id.as_deref().and_then(|id| self.page_of(id)),
            ..row.facts()
        };
        Some(ExternalItem {
            at: row.updated(),
            marker: row.marker(),
            item,
            facts,
            ..ExternalItem::default()
        })
    }

    pub(super) fn in_our_words(&self, facts: &Facts) -> TicketFacts {
        let own_cancelled = |state: &str| {
            let is_it = self.cancelled.as_deref() == Some(state);
            is_it.then_some(TicketStatus::Cancelled)
        };
        let state = facts.status.as_deref();
        let custom = facts.custom.iter();
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            status: state
                .and_then(|state| self.statuses.back(state).or_else(|| own_cancelled(state))),
            priority: facts
                .priority
                .as_deref()
                .and_then(|pair| self.priorities.back(pair)),
            assignee: facts.assignee.clone(),
            tags: None,
            custom: custom
                .filter_map(|(theirs, value)| {
                    Some((self.fields.ours(theirs)?.to_owned(), value.clone()))
                })
                .collect(),
        }
    }

    /// What is compared with what comes back. A description comes back as plain text.
    pub(super) fn in_their_words(&self, ticket: &TicketView) -> Facts {
        let pair = self.priorities.out(ticket.priority).and_then(pair);
        Facts {
            title: Some(short(&ticket.title).0),
            status: Some(self.state_of(ticket.status).to_owned()),
            priority: pair.map(|(impact, urgency)| format!("{impact},{urgency}")),
            ..Facts::default()
        }
    }
}

/// A list proves nothing of what is not on it.
pub(super) fn no_proof(why: &str) -> AdapterError {
    let text = format!("ServiceNow {why}, so nothing is proved by it");
    AdapterError::new(ErrorClass::Unsupported, text).with_status(200)
}
