//! The ways from one status to another, by the workflow that the site is set to.

use super::settings::Workflow;
use super::store::Status;

/// What closes an issue as done.
const DONE_RESOLUTIONS: &[&str] = &["Done", "Won't Do", "Duplicate", "Cannot Reproduce"];
/// What closes an issue as cancelled.
const CANCELLED_RESOLUTIONS: &[&str] = &["Won't Do", "Declined", "Duplicate"];

/// A way out of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) to: Status,
}

impl Transition {
    const fn to(status: Status) -> Self {
        let (id, name) = match status {
            Status::ToDo => ("11", "To Do"),
            Status::InProgress => ("21", "In Progress"),
            Status::Done => ("31", "Done"),
            Status::Cancelled => ("41", "Won't Do"),
        };
        Self {
            id,
            name,
            to: status,
        }
    }

    /// The transitions that are open to an issue now.
    pub(super) fn from(status: Status, workflow: Workflow) -> Vec<Self> {
        let open = |to: Status| match workflow {
            Workflow::Locked => false,
            Workflow::Open => to != status,
            Workflow::Strict => matches!(
                (status, to),
                (Status::ToDo, Status::InProgress | Status::Cancelled)
                    | (Status::InProgress, Status::Done | Status::Cancelled)
                    | (Status::Done | Status::Cancelled, Status::ToDo)
            ),
        };
        let targets = Status::ALL.into_iter().filter(|to| open(*to));
        targets.map(Self::to).collect()
    }

    /// The resolutions its screen offers, and whether one is required; `None` where it has no such
    /// field.
    pub(super) const fn resolutions(self) -> Option<(&'static [&'static str], bool)> {
        match self.to {
            Status::ToDo | Status::InProgress => None,
            Status::Done => Some((DONE_RESOLUTIONS, true)),
            Status::Cancelled => Some((CANCELLED_RESOLUTIONS, false)),
        }
    }
}
