//! What a run knows of itself between two pages, and a sync between two runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::budget::Share;
use super::liars::Watch;

/// Most errors that a result lists; the others are counted.
const ERRORS_MAX: usize = 100;

/// What a run does at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// Our tickets are put where they are found by their items' ids.
    #[default]
    Fill,
    /// The platform lists what changed.
    List,
    /// Items that are on no page any more are asked for by their stable ids.
    Follow,
    /// The same by what people quote.
    Names,
    /// Items that were on no page are asked for one by one.
    Missing,
    /// Nothing is left.
    Done,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    /// Items.
    pub(super) seen: u64,
    /// Tickets that changed.
    pub(super) updated: u64,
    /// Comments that were told of; none yet.
    pub(super) commented: u64,
    /// Items that are gone.
    pub(super) deleted: u64,
    /// Items that say what we have.
    pub(super) unchanged: u64,
    /// Items that are no tickets of ours.
    pub(super) unknown: u64,
    /// Tickets that were made of those; none yet.
    pub(super) imported: u64,
    /// Changes of ours that were sent; none yet.
    pub(super) pushed: u64,
    /// Items that are left to the next sync, as we were writing them.
    pub(super) put_off: u64,
    /// Items that could not be read.
    pub(super) errors: u64,
}

impl Counts {
    pub(super) const fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.updated += other.updated;
        self.commented += other.commented;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        self.unknown += other.unknown;
        self.imported += other.imported;
        self.pushed += other.pushed;
        self.put_off += other.put_off;
        self.errors += other.errors;
    }
}

/// Something that a result tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    /// A word.
    pub(super) code: String,
    /// A sentence.
    pub(super) message: String,
}

impl Noted {
    pub(super) fn of(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// How far a run has come, beside its page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    /// What it does.
    pub(super) phase: Phase,
    /// The last ticket that was looked at while filling.
    pub(super) fill_after: Option<Uuid>,
    /// The last stable id that was followed, and how many were.
    pub(super) follow_after: String,
    pub(super) followed: usize,
    /// The last missing item that was asked for.
    pub(super) missing_after: String,
    /// Whether what is missing was counted, and is few enough to be believed.
    pub(super) is_counted: bool,
    /// Where the platform lets the next run begin.
    pub(super) mark: Option<String>,
    /// What was put off must be listed again: the next run begins no later, and not by the mark.
    pub(super) not_beyond: Option<DateTime<Utc>>,
    /// Whether it began the listing anew, as the platform had forgotten its page.
    pub(super) is_restarted: bool,
    /// Whether it ended before the listing did.
    pub(super) is_cut: bool,
    /// What shows that pages lie.
    pub(super) watch: Watch,
    /// What it may use of the platform's budget.
    pub(super) share: Option<Share>,
    /// What the result tells of.
    pub(super) errors: Vec<Noted>,
}

impl Progress {
    /// Something that changed at that moment is left to the next run.
    pub(super) fn put_off(&mut self, at: Option<DateTime<Utc>>) {
        self.not_beyond = match (self.not_beyond, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
    }

    pub(super) fn note(&mut self, noted: Noted) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(noted);
        }
    }
}

/// What goes from run to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// When the run began that last filled; `None`: none did.
    pub(super) filled_at: Option<DateTime<Utc>>,
    /// Where following goes on, as the last run could not ask for all.
    pub(super) follow_after: String,
    /// Whether the last run did not ask for all: then its time says nothing of them.
    pub(super) follows_anew: bool,
    /// Where asking by name goes on.
    pub(super) names_after: String,
}

/// What is stored, or the beginning where it cannot be read: a later version may have written it.
pub(super) fn stored<T: Default + for<'de> Deserialize<'de>>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_default()
}

/// As it is stored.
pub(super) fn shown(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
