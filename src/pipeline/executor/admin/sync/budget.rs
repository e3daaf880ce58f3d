//! How much of a platform's budget a sync may use (`sync.budget`): what it leaves is for the
//! commands that somebody waits for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::platforms::BudgetLeft;

/// A share of a budget, until that begins anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Share {
    /// Which budget: the header that tells.
    by: String,
    /// What of it must be left.
    floor: u64,
    /// When it begins anew.
    until: DateTime<Utc>,
}

impl Share {
    /// Looks at what an answer says is left; the share of a budget that has begun anew is measured
    /// by that. `budget` is a part of 1.
    pub(super) fn look(
        known: Option<Self>,
        left: &BudgetLeft,
        budget: f64,
        now: DateTime<Utc>,
    ) -> Self {
        match known {
            Some(known) if known.until > now && known.by == left.said_by => known,
            Some(_) | None => Self {
                by: left.said_by.to_owned(),
                floor: floor(left.left, budget),
                until: now
                    + chrono::Duration::from_std(left.resets_in)
                        .unwrap_or_else(|_| chrono::Duration::hours(1)),
            },
        }
    }

    /// Until when to wait with so much left; `None`: not at all.
    pub(super) fn wait(&self, left: &BudgetLeft, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let is_used = self.by == left.said_by && left.left <= self.floor;
        (is_used && self.until > now).then_some(self.until)
    }
}

/// What must be left of so much; a sync may always use one request.
fn floor(left: u64, budget: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of requests: nobody counts them to the last of 2^53"
    )]
    let used = ((left as f64) * budget.clamp(0.0, 1.0)) as u64;
    left.saturating_sub(used.max(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn left(left: u64) -> BudgetLeft {
        BudgetLeft {
            said_by: "x-ratelimit-remaining",
            left,
            resets_in: Duration::from_secs(60),
        }
    }

    #[test]
    fn half_of_what_is_left_is_used_until_the_budget_begins_anew() {
        let now = DateTime::UNIX_EPOCH;
        let later = now + chrono::Duration::seconds(30);
        let share = Share::look(None, &left(100), 0.5, now);
        assert_eq!(share.wait(&left(51), later), None);
        assert_eq!(
            share.wait(&left(50), later),
            Some(now + chrono::Duration::seconds(60))
        );
        // Another step does not take half of the half.
        let same = Share::look(Some(share.clone()), &left(50), 0.5, later);
        assert_eq!(same, share);
        let anew = now + chrono::Duration::seconds(61);
        let fresh = Share::look(Some(share), &left(100), 0.5, anew);
        assert_eq!(fresh.wait(&left(99), anew), None);
    }

    #[test]
    fn a_small_budget_gives_one_request_at_least() {
        assert_eq!(floor(1, 0.5), 0);
        assert_eq!(floor(3, 0.1), 2);
        assert_eq!(floor(0, 0.5), 0);
        assert_eq!(floor(10, 1.0), 0);
    }
}
