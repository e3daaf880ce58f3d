//! What an item on a platform is, and what happened to it: in the platform's own words, so that
//! what was written there can be compared with what comes back. A page of a sync and a webhook's
//! delivery say it alike.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::{Priority, TicketStatus};

/// How an item is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ItemRef {
    /// What a person would quote.
    pub external_id: String,
    /// The id that survives a change of that, where the platform has one.
    pub stable_id: Option<String>,
}

impl ItemRef {
    /// An item without another id than this.
    #[must_use]
    pub fn named(external_id: impl Into<String>) -> Self {
        Self {
            external_id: external_id.into(),
            stable_id: None,
        }
    }

    /// The id that a request names: the stable one, where there is one.
    #[must_use]
    pub fn address(&self) -> &str {
        self.stable_id.as_deref().unwrap_or(&self.external_id)
    }
}

/// When something was, by the platform's clock: somewhere from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Not before.
    pub low: DateTime<Utc>,
    /// Not after.
    pub high: DateTime<Utc>,
}

impl Moment {
    /// One that is known to the millisecond.
    #[must_use]
    pub const fn exact(at: DateTime<Utc>) -> Self {
        Self { low: at, high: at }
    }

    /// One that the platform gives in steps: what happened may be up to a step later than it says.
    #[must_use]
    pub fn within(at: DateTime<Utc>, step: Duration) -> Self {
        let step = chrono::Duration::from_std(step).unwrap_or_default();
        Self {
            low: at,
            high: at + step,
        }
    }

    /// One that is given in whole seconds.
    #[must_use]
    pub fn second(at: DateTime<Utc>) -> Self {
        Self::within(at, Duration::from_secs(1))
    }
}

/// Who has an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// The account with this id there.
    Account(String),
}

/// What is known of an item, in the platform's own words. `None` is "not said".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// One line.
    pub title: Option<String>,
    /// The text below it.
    pub description: Option<String>,
    /// The name, or the number, of its status there.
    pub status: Option<String>,
    /// The platform's own class of that status, where names are free (Jira's category, GitHub's
    /// state).
    pub status_class: Option<String>,
    /// The name, or the number, of its priority there.
    pub priority: Option<String>,
    /// Who has it.
    pub assignee: Option<Holder>,
    /// All of its tags, ours among them.
    pub tags: Option<Vec<String>>,
    /// Fields that `custom_fields_mapping` names, by the platform's names.
    pub custom: BTreeMap<String, Value>,
    /// The page that a person would open.
    pub url: Option<String>,
}

impl Facts {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What of an item is ours to have, in our words. `None` is "not said", or has no counterpart with
/// us.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TicketFacts {
    /// One line.
    pub title: Option<String>,
    /// The text below it, as Markdown or plain text.
    pub description: Option<String>,
    /// The status.
    pub status: Option<TicketStatus>,
    /// The priority.
    pub priority: Option<Priority>,
    /// Who has it, as the platform's account.
    pub assignee: Option<Holder>,
    /// Tags, without those that mark an item as ours.
    pub tags: Option<Vec<String>>,
    /// Custom fields by our names.
    pub custom: BTreeMap<String, Value>,
}

/// Who did something there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// The account's id.
    pub id: Option<String>,
    /// What people call it.
    pub name: Option<String>,
}

/// A comment on an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalComment {
    /// Its id, unique in its item at least.
    pub id: String,
    /// What it says.
    pub body: String,
    /// What it said before it was changed.
    pub before: Option<String>,
    /// Whether the customer sees it; `None`: the platform does not tell.
    pub public: Option<bool>,
    /// Who wrote it.
    pub author: Option<Actor>,
    /// When it was written.
    pub created_at: Option<DateTime<Utc>>,
    /// The mark of duplicate protection that it carries.
    pub marker: Option<String>,
}

/// A file at an item. Its bytes are not carried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalFile {
    /// Its id there.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its media type, where it is said.
    pub content_type: Option<String>,
    /// Bytes, where it is said.
    pub size: Option<u64>,
    /// Where it can be had.
    pub url: Option<String>,
}

/// An item as it stands on the platform.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExternalItem {
    /// How it is called.
    pub item: ItemRef,
    /// When it last changed there.
    pub at: Option<Moment>,
    /// What it is.
    pub facts: Facts,
    /// The mark of duplicate protection that it carries.
    pub marker: Option<String>,
    /// Its comments, where they come with it.
    pub comments: Vec<ExternalComment>,
    /// Its files, where they come with it.
    pub files: Vec<ExternalFile>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was made.
    Created,
    /// Something of it was set.
    Updated,
    /// A comment was made.
    Commented,
    /// A comment was changed.
    CommentChanged,
    /// A comment was taken away.
    CommentDeleted,
    /// A file was put to it.
    Attached,
    /// It is gone.
    Deleted,
    /// It is there again.
    Restored,
    /// It goes by another name now.
    Moved {
        /// Which.
        to: ItemRef,
    },
    /// It became part of another.
    Merged {
        /// Which.
        into: ItemRef,
    },
}

/// What must be read before a change means anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it says all.
    #[default]
    Nothing,
    /// The item.
    Item,
    /// This comment.
    Comment {
        /// Its id.
        id: String,
    },
    /// The item that it belongs to: the platform tells of a comment without its item.
    Parent,
}

/// Something that happened to an item.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The same each time it is told, and never that of another change of the same integration.
    pub id: String,
    /// What.
    pub kind: ChangeKind,
    /// To which item.
    pub item: ItemRef,
    /// When.
    pub at: Option<Moment>,
    /// Who did it.
    pub by: Option<Actor>,
    /// What is so now.
    pub facts: Facts,
    /// What was so before, as far as it is told.
    pub before: Facts,
    /// Whether `facts` are the whole item as it was at `at`, changed or not.
    pub whole: bool,
    /// The comment that it is about.
    pub comment: Option<ExternalComment>,
    /// Files that came with it.
    pub files: Vec<ExternalFile>,
    /// The mark of duplicate protection that the item carries.
    pub marker: Option<String>,
    /// What must be read before it means anything.
    pub needs: Needs,
}

impl Change {
    /// Of this kind, to this item; nothing else is said.
    #[must_use]
    pub fn new(id: impl Into<String>, kind: ChangeKind, item: ItemRef) -> Self {
        Self {
            id: id.into(),
            kind,
            item,
            at: None,
            by: None,
            facts: Facts::default(),
            before: Facts::default(),
            whole: false,
            comment: None,
            files: Vec::new(),
            marker: None,
            needs: Needs::Nothing,
        }
    }

    /// What a listing says of an item: how it is, and when that last changed.
    #[must_use]
    pub fn seen(item: ExternalItem) -> Self {
        let at = item.at.map_or(0, |at| at.low.timestamp_millis());
        Self {
            at: item.at,
            facts: item.facts,
            whole: true,
            files: item.files,
            marker: item.marker,
            ..Self::new(
                format!("ix:{}@{at}", item.item.address()),
                ChangeKind::Updated,
                item.item,
            )
        }
    }

    /// What a listing says that names items without showing them.
    #[must_use]
    pub fn thin(id: impl Into<String>, item: ItemRef, at: Option<Moment>) -> Self {
        Self {
            at,
            needs: Needs::Item,
            ..Self::new(id, ChangeKind::Updated, item)
        }
    }
}

/// The order in which a listing gives changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest first: where it stops, the next one can go on.
    #[default]
    Oldest,
    /// The newest first.
    Newest,
    /// None that could be relied upon.
    None,
}

/// Where a listing of changes begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncFrom<'a> {
    /// Only what changed since then; `None`: everything.
    pub since: Option<DateTime<Utc>>,
    /// What the last listing left as its [`ChangePage::mark`].
    pub mark: Option<&'a str>,
    /// What the page before gave as [`ChangePage::next`].
    pub page: Option<&'a str>,
}

/// A page of changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangePage {
    /// What changed.
    pub changes: Vec<Change>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
    /// Where the next listing may begin: durable, unlike `next`.
    pub mark: Option<String>,
    /// The order of `changes`, over all pages.
    pub order: Order,
    /// Changes of items that have no id that could be one, and are left out.
    pub unreadable: usize,
}

impl ChangePage {
    /// A page of whole items.
    #[must_use]
    pub fn of(items: impl IntoIterator<Item = ExternalItem>) -> Self {
        Self {
            changes: items.into_iter().map(Change::seen).collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_listing_shows_has_the_same_id_each_time_and_another_after_a_change() {
        let item = |stable: Option<&str>, at: i64| ExternalItem {
            item: ItemRef {
                stable_id: stable.map(str::to_owned),
                ..ItemRef::named("SUP-1")
            },
            at: DateTime::from_timestamp_millis(at).map(Moment::exact),
            ..ExternalItem::default()
        };

        let first = Change::seen(item(Some("10001"), 5));

        assert_eq!(first.id, "ix:10001@5");
        assert_eq!(first, Change::seen(item(Some("10001"), 5)));
        assert_ne!(first.id, Change::seen(item(Some("10001"), 6)).id);
        assert_eq!(Change::seen(item(None, 5)).id, "ix:SUP-1@5");
        assert!(first.whole && first.needs == Needs::Nothing);
    }

    #[test]
    fn a_moment_that_is_given_in_seconds_may_be_up_to_one_later() {
        let at = DateTime::UNIX_EPOCH;
        let second = Moment::second(at);

        assert_eq!(second.low, at);
        assert_eq!(second.high - second.low, chrono::Duration::seconds(1));
        assert_eq!(Moment::exact(at).high, at);
    }
}
