//! What a ticket is in GitHub's words: labels for priority, category, tags, and for statuses
//! between open and closed. Labels that people gave stay.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::state::{COMPLETED, DUPLICATE, NOT_PLANNED, OPEN, State};
use crate::domain::{Priority, TicketCategory, TicketPatch, TicketStatus, TicketView};
use crate::platforms::AdapterError;
use crate::platforms::mapping::Mapping;
use crate::platforms::members::Members;
use crate::platforms::text::harmless_label;

/// Longest label (unconfirmed).
const LABEL_MAX: usize = 50;
static STATUSES: [(TicketStatus, &str); 7] = [
    (TicketStatus::New, OPEN),
    (TicketStatus::Open, OPEN),
    (TicketStatus::InProgress, "status: in progress"),
    (TicketStatus::Pending, "status: pending"),
    (TicketStatus::Resolved, COMPLETED),
    (TicketStatus::Closed, COMPLETED),
    (TicketStatus::Cancelled, NOT_PLANNED),
];
/// The way back is not the way out reversed.
static STATUSES_BACK: [(&str, TicketStatus); 4] = [
    (OPEN, TicketStatus::Open),
    (COMPLETED, TicketStatus::Resolved),
    (NOT_PLANNED, TicketStatus::Cancelled),
    (DUPLICATE, TicketStatus::Cancelled),
];
static PRIORITIES: [(Priority, &str); 4] = [
    (Priority::Low, "priority: low"),
    (Priority::Medium, "priority: medium"),
    (Priority::High, "priority: high"),
    (Priority::Critical, "priority: critical"),
];
static CATEGORIES: [(TicketCategory, &str); 9] = [
    (TicketCategory::Technical, "technical"),
    (TicketCategory::Billing, "billing"),
    (TicketCategory::FeatureRequest, "enhancement"),
    (TicketCategory::Bug, "bug"),
    (TicketCategory::UserAccess, "user-access"),
    (TicketCategory::General, "general"),
    (TicketCategory::Integration, "integration"),
    (TicketCategory::Performance, "performance"),
    (TicketCategory::Security, "security"),
];

/// Statuses, priorities and categories of ours, and what they are there.
pub(super) struct Labels {
    statuses: Mapping<TicketStatus>,
    priorities: Mapping<Priority>,
    categories: Mapping<TicketCategory>,
}

/// Whether two names are the same label: GitHub tells no case.
fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// A tag as a label: a comma would end it in a listing's filter.
fn label(tag: &str) -> String {
    harmless_label(tag, LABEL_MAX).replace(',', "-")
}

/// What is to be with them, once each.
fn add(labels: &mut Vec<String>, name: &str) {
    if !name.trim().is_empty() && !labels.iter().any(|own| is_same(own, name)) {
        labels.push(name.to_owned());
    }
}

/// The labels, where they are others than before; their order says nothing.
fn unless_same(before: &[String], after: Vec<String>) -> Option<Vec<String>> {
    let set = |labels: &[String]| -> BTreeSet<String> {
        labels.iter().map(|label| label.to_lowercase()).collect()
    };
    (set(before) != set(&after)).then_some(after)
}

impl Labels {
    /// Those of an integration's settings.
    ///
    /// # Errors
    /// Class validation, naming the setting.
    pub(super) fn of(members: &Members<'_>) -> Result<Self, AdapterError> {
        Ok(Self {
            statuses: Mapping::of(members, "status_map", &STATUSES)?.with_back(&STATUSES_BACK),
            priorities: Mapping::of(members, "priority_map", &PRIORITIES)?,
            categories: Mapping::of(members, "category_map", &CATEGORIES)?,
        })
    }

    /// A status of ours: a state with its reason, or the label of an open issue.
    pub(super) fn status(&self, status: TicketStatus) -> &str {
        self.statuses.out(status).unwrap_or(OPEN)
    }

    /// The label of a priority.
    pub(super) fn priority(&self, priority: Priority) -> Option<&str> {
        self.priorities.out(priority)
    }

    /// Theirs in our words.
    pub(super) fn our_status(&self, word: &str) -> Option<TicketStatus> {
        self.statuses.back(word)
    }

    /// Theirs in our words.
    pub(super) fn our_priority(&self, label: &str) -> Option<Priority> {
        self.priorities.back(label)
    }

    /// Labels that are neither status, priority nor category.
    pub(super) fn our_tags(&self, labels: &[String]) -> Vec<String> {
        let is_ours = |label: &&String| {
            self.status_label(std::slice::from_ref(label)).is_some()
                || self.priorities.back(label).is_some()
                || self.categories.back(label).is_some()
        };
        let tags = labels.iter().filter(|label| !is_ours(label));
        tags.cloned().collect()
    }

    /// The label among these that is a status.
    pub(super) fn status_label<'a>(&self, labels: &'a [impl AsRef<str>]) -> Option<&'a str> {
        let is_status = |label: &&str| {
            let mut words = TicketStatus::ALL.iter().map(|status| self.status(*status));
            words.any(|word| State::of(word).label.is_some_and(|own| is_same(own, label)))
        };
        labels.iter().map(AsRef::as_ref).find(is_status)
    }

    /// The label among these that is a priority.
    pub(super) fn priority_label<'a>(&self, labels: &'a [String]) -> Option<&'a str> {
        let mut labels = labels.iter().map(String::as_str);
        labels.find(|label| self.priorities.back(label).is_some())
    }

    /// The labels of a new issue.
    pub(super) fn of_ticket(&self, ticket: &TicketView) -> Vec<String> {
        let mut labels = Vec::new();
        let own = [
            self.categories.out(ticket.category),
            self.priorities.out(ticket.priority),
            State::of(self.status(ticket.status)).label,
        ];
        for name in own.into_iter().flatten() {
            add(&mut labels, name);
        }
        for tag in &ticket.tags {
            add(&mut labels, &label(tag));
        }
        labels
    }

    /// The labels after a change of the ticket; `None` where they stay.
    pub(super) fn patched(&self, before: &[String], patch: &TicketPatch) -> Option<Vec<String>> {
        let mut after = before.to_vec();
        if let Some(priority) = patch.priority {
            after.retain(|label| self.priorities.back(label).is_none());
            add(
                &mut after,
                self.priorities.out(priority).unwrap_or_default(),
            );
        }
        if let Some(category) = patch.category {
            after.retain(|label| self.categories.back(label).is_none());
            add(
                &mut after,
                self.categories.out(category).unwrap_or_default(),
            );
        }
        for tag in patch.tags.iter().flatten() {
            add(&mut after, &label(tag));
        }
        unless_same(before, after)
    }

    /// The labels of an issue that moves to a status; `None` where they stay.
    pub(super) fn moved(&self, before: &[String], word: &str) -> Option<Vec<String>> {
        let mut after = before.to_vec();
        after.retain(|label| self.status_label(std::slice::from_ref(label)).is_none());
        add(&mut after, State::of(word).label.unwrap_or_default());
        unless_same(before, after)
    }
}

/// Whether a change of a ticket is one of its labels.
pub(super) const fn touches(patch: &TicketPatch) -> bool {
    patch.category.is_some() || patch.priority.is_some() || patch.tags.is_some()
}

/// A move to a status for a dry run, which knows no labels.
pub(super) fn shown_move(word: &str) -> Value {
    let state = State::of(word);
    let mut change = Map::from_iter(state.change());
    if let Some(label) = state.label {
        let shown = json!({ "lookup": "those of the issue", "add": label });
        change.insert("labels".into(), shown);
    }
    change.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::platforms::members::tests::with_members;

    fn labels(settings: &Value) -> Labels {
        with_members(settings, &json!({}), Labels::of).unwrap()
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn people_s_labels_stay_and_ours_are_exchanged() {
        let own = labels(&json!({ "priority_map": { "high": "P1", "low": "P3" } }));
        let before = list(&["good first issue", "p3", "bug", "Status: Pending"]);

        let moved = own
            .moved(&before, own.status(TicketStatus::InProgress))
            .unwrap();
        assert_eq!(
            moved,
            ["good first issue", "p3", "bug", "status: in progress"]
        );
        let closed = own.moved(&before, COMPLETED).unwrap();
        assert_eq!(closed, ["good first issue", "p3", "bug"]);
        assert_eq!(own.moved(&before, own.status(TicketStatus::Pending)), None);

        let patch = TicketPatch {
            priority: Some(Priority::High),
            category: Some(TicketCategory::FeatureRequest),
            tags: Some(list(&["a,b", "BUG ", "tkt-1"])),
            ..TicketPatch::default()
        };
        let patched = own.patched(&before, &patch).unwrap();
        let expected = [
            "good first issue",
            "Status: Pending",
            "P1",
            "enhancement",
            "a-b",
            "BUG-",
            "tag-tkt-1",
        ];
        assert_eq!(patched, expected);
        let same = TicketPatch {
            priority: Some(Priority::Low),
            ..TicketPatch::default()
        };
        assert_eq!(own.patched(&before, &same), None);
    }

    #[test]
    fn a_status_is_a_state_or_a_label_and_comes_back_as_what_it_was() {
        let own =
            labels(&json!({ "status_map": { "pending": "waiting", "cancelled": "duplicate" } }));

        assert_eq!(own.status(TicketStatus::Pending), "waiting");
        assert_eq!(own.our_status("Waiting"), Some(TicketStatus::Pending));
        assert_eq!(own.our_status("completed"), Some(TicketStatus::Resolved));
        assert_eq!(own.our_status("open"), Some(TicketStatus::Open));
        assert_eq!(own.our_status("not_planned"), Some(TicketStatus::Cancelled));
        assert_eq!(own.our_status("strange"), None);
        let closed: Vec<_> = TicketStatus::ALL
            .iter()
            .filter(|status| State::of(own.status(**status)).is_closed())
            .collect();
        assert_eq!(
            closed,
            [
                &TicketStatus::Resolved,
                &TicketStatus::Closed,
                &TicketStatus::Cancelled
            ]
        );
        assert_eq!(
            own.status_label(&list(&["bug", "WAITING"])),
            Some("WAITING")
        );
        let tags = own.our_tags(&list(&["bug", "waiting", "priority: low", "vip"]));
        assert_eq!(tags, ["vip"]);
    }
}
