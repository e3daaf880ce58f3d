//! A status in GitHub's words: one of the states with its reason, or a label of an open issue.

use serde_json::Value;

use crate::platforms::Facts;

/// An open issue without another status.
pub(super) const OPEN: &str = "open";
/// Reasons for which an issue is closed.
pub(super) const COMPLETED: &str = "completed";
pub(super) const NOT_PLANNED: &str = "not_planned";
pub(super) const DUPLICATE: &str = "duplicate";

/// A status in GitHub's words: a state with its reason, or a label of an open issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State<'a> {
    /// Of a closed issue.
    pub(super) reason: Option<&'static str>,
    /// Of an open one.
    pub(super) label: Option<&'a str>,
}

impl<'a> State<'a> {
    pub(super) fn of(word: &'a str) -> Self {
        let reasons = [COMPLETED, NOT_PLANNED, DUPLICATE];
        let is = |known: &str| word.trim().eq_ignore_ascii_case(known);
        let reason = reasons.into_iter().find(|reason| is(reason));
        let is_label = reason.is_none() && !is(OPEN);
        Self {
            reason,
            label: is_label.then_some(word),
        }
    }

    pub(super) const fn is_closed(self) -> bool {
        self.reason.is_some()
    }

    /// What is sent where the state changes.
    pub(super) fn change(self) -> [(String, Value); 2] {
        let (state, reason) = match self.reason {
            Some(reason) => ("closed", reason),
            None => (OPEN, "reopened"),
        };
        [
            ("state".to_owned(), state.into()),
            ("state_reason".to_owned(), reason.into()),
        ]
    }
}

/// What is written by a change of state.
pub(super) fn written_state(word: &str) -> Facts {
    let class = if State::of(word).is_closed() {
        "closed"
    } else {
        OPEN
    };
    Facts {
        status: Some(word.to_owned()),
        status_class: Some(class.to_owned()),
        ..Facts::default()
    }
}
