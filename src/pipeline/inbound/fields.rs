//! The fields of an item: what a platform says of each, in its own words, and whether two sayings
//! are the same.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::{TicketStatus, TicketView};
use crate::platforms::{Facts, Holder, TicketFacts};

/// A field of an item that a ticket of ours has too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::pipeline) enum Field {
    /// One line.
    Title,
    /// The text below it.
    Description,
    /// Where it is in its life.
    Status,
    /// How urgent.
    Priority,
    /// Who has it.
    Assignee,
    /// Its tags.
    Tags,
    /// Fields that `custom_fields_mapping` names.
    Custom,
}

impl Field {
    pub(in crate::pipeline) const ALL: [Self; 7] = [
        Self::Title,
        Self::Description,
        Self::Status,
        Self::Priority,
        Self::Assignee,
        Self::Tags,
        Self::Custom,
    ];

    /// Its name in the ledger and in events.
    pub(in crate::pipeline) const fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Description => "description",
            Self::Status => "status",
            Self::Priority => "priority",
            Self::Assignee => "assigned_to_id",
            Self::Tags => "tags",
            Self::Custom => "custom_fields",
        }
    }

    /// What is said of it, as it is kept; `None`: nothing. Of a text its digest.
    pub(in crate::pipeline) fn said(self, facts: &Facts) -> Option<Value> {
        match self {
            Self::Title => facts.title.as_deref().map(Value::from),
            Self::Description => facts.description.as_deref().map(|text| digest(text).into()),
            Self::Status if facts.status.is_none() && facts.status_class.is_none() => None,
            Self::Status => Some(json!({ "name": facts.status, "class": facts.status_class })),
            Self::Priority => facts.priority.as_deref().map(Value::from),
            Self::Assignee => facts.assignee.as_ref().map(|holder| match holder {
                Holder::Nobody => Value::Null,
                Holder::Account(id) => id.as_str().into(),
            }),
            Self::Tags => facts.tags.as_ref().map(|tags| sorted(tags).into()),
            Self::Custom if facts.custom.is_empty() => None,
            Self::Custom => Some(facts.custom.clone().into_iter().collect()),
        }
    }

    /// The same for people, in an event.
    pub(in crate::pipeline) fn shown(self, facts: &Facts) -> Option<Value> {
        match self {
            Self::Description => facts.description.as_deref().map(Value::from),
            Self::Status => facts.status.as_deref().map(Value::from),
            Self::Tags => facts.tags.as_ref().map(|tags| tags.clone().into()),
            Self::Title | Self::Priority | Self::Assignee | Self::Custom => self.said(facts),
        }
    }

    /// What was known, for people.
    pub(in crate::pipeline) fn shown_of(self, known: &Value) -> Value {
        match self {
            Self::Status => known["name"].clone(),
            // Only its digest is known.
            Self::Description => Value::Null,
            Self::Title | Self::Priority | Self::Assignee | Self::Tags | Self::Custom => {
                known.clone()
            }
        }
    }

    /// Whether two sayings of the platform's are the same.
    pub(in crate::pipeline) fn is_same(self, one: &Value, other: &Value) -> bool {
        match self {
            Self::Status => {
                let text = |value: &Value, name: &str| value[name].as_str().map(str::to_lowercase);
                match (text(one, "name"), text(other, "name")) {
                    (Some(one), Some(other)) => one == other,
                    // Without a name there is only the class to go by.
                    (Some(_) | None, _) => {
                        let class = text(one, "class");
                        class.is_some() && class == text(other, "class")
                    }
                }
            }
            Self::Custom => {
                // What one of them does not name is not said.
                let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
                    return false;
                };
                one.iter()
                    .all(|(name, value)| other.get(name).is_none_or(|it| it == value))
            }
            Self::Title | Self::Description | Self::Priority | Self::Assignee | Self::Tags => {
                one == other
            }
        }
    }

    /// Whether what is said of it is what our row has: in the platform's words, or in ours where
    /// several of the one stand for one of the other.
    pub(in crate::pipeline) fn is_ours(self, said: &Said<'_>) -> bool {
        let theirs = self.said(said.row_there);
        let same_there = match (self.said(said.facts), theirs) {
            (Some(one), Some(other)) => self.is_same(&one, &other),
            (Some(_) | None, _) => false,
        };
        let (ours, row) = (said.ours, said.row);
        same_there
            || match self {
                Self::Title => ours.title.as_deref().map(cut) == Some(row.title.as_str()),
                Self::Description => {
                    let text = |text: &str| plain(text);
                    ours.description.as_deref().map(text) == Some(text(&row.description))
                }
                Self::Status => ours
                    .status
                    .is_some_and(|status| is_alike(status, row.status)),
                Self::Priority => ours.priority == Some(row.priority),
                // Whom we cannot name there is nobody there.
                Self::Assignee => {
                    ours.assignee == Some(Holder::Nobody)
                        && (row.assigned_to.is_none() || said.row_there.assignee.is_none())
                }
                Self::Tags => ours.tags.as_deref().map(sorted) == Some(sorted(&row.tags)),
                Self::Custom => {
                    let mut custom = ours.custom.iter();
                    custom.all(|(name, value)| row.custom_fields.get(name) == Some(value))
                }
            }
    }
}

/// What is said of an item, beside our row.
pub(in crate::pipeline) struct Said<'a> {
    /// In the platform's words.
    pub(in crate::pipeline) facts: &'a Facts,
    /// The same in ours.
    pub(in crate::pipeline) ours: &'a TicketFacts,
    /// Our row.
    pub(in crate::pipeline) row: &'a TicketView,
    /// The same in the platform's words.
    pub(in crate::pipeline) row_there: &'a Facts,
}

/// Whether a platform's status is no news: most know fewer than we do.
pub(in crate::pipeline) const fn is_alike(theirs: TicketStatus, ours: TicketStatus) -> bool {
    use TicketStatus::{Cancelled, Closed, InProgress, New, Open, Pending, Resolved};
    matches!(
        (theirs, ours),
        (New | Open, New | Open)
            | (InProgress | Pending, InProgress | Pending)
            | (Resolved | Closed, Resolved | Closed)
            | (Cancelled, Cancelled)
    )
}

/// A title as our column takes it.
pub(in crate::pipeline) fn cut(title: &str) -> &str {
    let end = title
        .char_indices()
        .nth(500)
        .map_or(title.len(), |(at, _)| at);
    &title[..end]
}

/// The digest of a text, whose line ends and blanks at its end do not count.
pub(in crate::pipeline) fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(plain(text)))
}

fn plain(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn sorted(tags: &[String]) -> Vec<String> {
    let mut tags = tags.to_vec();
    tags.sort_unstable();
    tags.dedup();
    tags
}
