//! When a command runs again: pure functions of schedule, attempt, hint and a jitter factor passed
//! in.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::{Wait, WaitReason};
use crate::pipeline::clock;

/// When a command runs next, and what decided that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) struct Next {
    pub(in crate::pipeline) at: DateTime<Utc>,
    pub(in crate::pipeline) wait: Wait,
}

/// When the attempt after `spent` attempts is made: the schedule's delay with jitter, or the
/// platform's hint where that is later. A hint may delay, never hasten. `None` once the schedule is
/// used up.
///
/// `jitter` is from 0 (none) to 1 (the full 20 %).
pub(in crate::pipeline) fn next_attempt(
    schedule: &[Duration],
    spent: i32,
    hint: Option<Duration>,
    jitter: f64,
    now: DateTime<Utc>,
) -> Option<Next> {
    let index = usize::try_from(spent).ok()?.checked_sub(1)?;
    let delay = schedule.get(index)?;
    let jittered = delay.mul_f64(0.2f64.mul_add(jitter.clamp(0.0, 1.0), 1.0));
    let hint = hint.map(|hint| hint.min(HINT_MAX));
    Some(match hint {
        Some(hint) if hint > jittered => Next {
            at: after(now, hint),
            wait: retry_after(hint),
        },
        Some(_) | None => Next {
            at: after(now, jittered),
            wait: Wait::with(WaitReason::RetrySchedule, index),
        },
    })
}

/// A platform that asks for more than a day is asked again after a day.
pub(in crate::pipeline) const HINT_MAX: Duration = Duration::from_secs(86_400);

/// A wait that the platform asked for.
pub(in crate::pipeline) fn retry_after(hint: Duration) -> Wait {
    let seconds = hint.as_secs() + u64::from(hint.subsec_nanos() > 0);
    Wait::with(WaitReason::RetryAfter, seconds)
}

/// The same, or what the platform asked for where that is later.
pub(in crate::pipeline) fn no_sooner(
    next: Next,
    hint: Option<Duration>,
    now: DateTime<Utc>,
) -> Next {
    match hint.map(|hint| (hint, after(now, hint.min(HINT_MAX)))) {
        Some((hint, at)) if at > next.at => Next {
            at,
            wait: retry_after(hint),
        },
        Some(_) | None => next,
    }
}

/// The moments at which to look a mark up, counted from the doubt: the adapter's schedule below
/// `settle_after`, then `settle_after` itself.
pub(in crate::pipeline) fn look_up_schedule(
    schedule: &[Duration],
    settle_after: Option<Duration>,
) -> Vec<Duration> {
    let last = settle_after
        .or_else(|| schedule.last().copied())
        .unwrap_or_default();
    let mut look_up_schedule: Vec<Duration> = schedule
        .iter()
        .copied()
        .filter(|step| *step < last)
        .collect();
    look_up_schedule.push(last);
    look_up_schedule
}

impl Next {
    /// So long from now.
    pub(in crate::pipeline) fn in_(delay: Duration, reason: WaitReason) -> Self {
        Self {
            at: after(clock::now(), delay),
            wait: Wait::of(reason),
        }
    }

    /// A second from now, as the database does not answer.
    pub(in crate::pipeline) fn without_database() -> Self {
        Self::in_(Duration::from_secs(1), WaitReason::DatabaseUnavailable)
    }
}

/// `moment` + `delay`, at most a century on.
pub(in crate::pipeline) fn after(moment: DateTime<Utc>, delay: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(delay)
        .ok()
        .and_then(|delay| moment.checked_add_signed(delay))
        .unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCHEDULE: [Duration; 3] = [
        Duration::from_secs(5),
        Duration::from_secs(30),
        Duration::from_secs(120),
    ];

    #[test]
    fn the_schedule_ends() {
        let now = Utc::now();

        assert!(next_attempt(&SCHEDULE, 3, None, 0.0, now).is_some());
        assert_eq!(next_attempt(&SCHEDULE, 4, None, 0.0, now), None);
        assert_eq!(
            next_attempt(&SCHEDULE, 4, Some(Duration::from_secs(9)), 0.0, now),
            None
        );
    }

    #[test]
    fn a_retry_after_longer_than_the_schedule_is_kept_to_the_second() {
        let now = Utc::now();

        let next = next_attempt(&SCHEDULE, 1, Some(Duration::from_secs(17)), 1.0, now).unwrap();

        assert_eq!(next.at, now + chrono::Duration::seconds(17));
        assert_eq!(next.wait, Wait::with(WaitReason::RetryAfter, 17));
    }

    #[test]
    fn a_look_up_is_made_no_sooner_than_the_platform_asked() {
        let now = Utc::now();
        let step = Next {
            at: after(now, Duration::from_secs(5)),
            wait: Wait::with(WaitReason::LookUpSchedule, 1),
        };

        let later = no_sooner(step, Some(Duration::from_secs(20)), now);

        assert_eq!(later.at, after(now, Duration::from_secs(20)));
        assert_eq!(later.wait, Wait::with(WaitReason::RetryAfter, 20));
        assert_eq!(no_sooner(step, Some(Duration::from_secs(2)), now), step);
        assert_eq!(no_sooner(step, None, now), step);
    }

    #[test]
    fn a_shorter_settle_after_drops_the_later_rungs() {
        let schedule = [5, 20, 60, 120].map(Duration::from_secs);

        assert_eq!(look_up_schedule(&schedule, None), schedule);
        assert_eq!(
            look_up_schedule(&schedule, Some(Duration::from_secs(30))),
            [5, 20, 30].map(Duration::from_secs)
        );
        assert_eq!(
            look_up_schedule(&schedule, Some(Duration::from_millis(100))),
            [Duration::from_millis(100)]
        );
    }

    proptest! {
        #[test]
        fn never_earlier_than_the_schedule_or_the_hint_and_never_beyond_both(
            spent in 1i32..4, hint in proptest::option::of(0u64..200_000), jitter in 0.0f64..=1.0,
        ) {
            let now = Utc::now();
            let hint = hint.map(Duration::from_secs);

            let next = next_attempt(&SCHEDULE, spent, hint, jitter, now).unwrap();

            let base = SCHEDULE[usize::try_from(spent).unwrap() - 1];
            let bounded = hint.unwrap_or_default().min(HINT_MAX);
            prop_assert!(next.at >= after(now, base.max(bounded)));
            prop_assert!(next.at <= after(now, base.mul_f64(1.2).max(bounded)));
        }
    }
}
