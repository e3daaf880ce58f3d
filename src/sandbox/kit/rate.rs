//! A budget of requests: how much of it is left, said in headers, and a refusal beyond it.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::super::answer::Answer;

/// So many requests in so many seconds, counted from the first; a setting's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    pub(crate) requests: u32,
    pub(crate) seconds: u32,
}

/// What of a budget is spent.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    began: Option<DateTime<Utc>>,
    spent: u32,
}

/// Where a budget stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// When it is whole again.
    pub(crate) reset: DateTime<Utc>,
    /// Until then, rounded up.
    pub(crate) seconds: i64,
    /// Whether this request was one too many; nothing was done.
    pub(crate) is_over: bool,
}

impl Meter {
    /// Takes a request into account. One that is refused spends nothing.
    pub(crate) fn spend(&mut self, budget: Budget, now: DateTime<Utc>) -> Standing {
        let life = TimeDelta::seconds(i64::from(budget.seconds.max(1)));
        let began = match self.began {
            Some(began) if now < began + life => began,
            _ => {
                self.spent = 0;
                now
            }
        };
        self.began = Some(began);
        let is_over = self.spent >= budget.requests;
        self.spent += u32::from(!is_over);
        let reset = began + life;
        Standing {
            limit: budget.requests,
            remaining: budget.requests.saturating_sub(self.spent),
            reset,
            seconds: ((reset - now).num_milliseconds() + 999) / 1_000,
            is_over,
        }
    }
}

/// How a platform writes when a budget is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    /// From now.
    Seconds,
    /// Since 1970.
    EpochSeconds,
    /// Since 1970.
    EpochMillis,
    /// `2026-01-17T12:34:00Z`.
    Iso,
}

/// The headers in which a platform says where a budget stands; those that it lacks are empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateHeaders {
    pub(crate) limit: &'static str,
    pub(crate) remaining: &'static str,
    pub(crate) reset: &'static str,
    pub(crate) reset_in: Reset,
    /// Whether a refusal says `Retry-After`, in seconds.
    pub(crate) retry_after: bool,
}

impl Standing {
    /// The answer with these headers.
    pub(crate) fn say(&self, headers: &RateHeaders, answer: Answer) -> Answer {
        let reset = match headers.reset_in {
            Reset::Seconds => self.seconds.to_string(),
            Reset::EpochSeconds => self.reset.timestamp().to_string(),
            Reset::EpochMillis => self.reset.timestamp_millis().to_string(),
            Reset::Iso => self.reset.to_rfc3339_opts(SecondsFormat::Secs, true),
        };
        let retry = if headers.retry_after && self.is_over {
            "Retry-After"
        } else {
            ""
        };
        [
            (headers.limit, self.limit.to_string()),
            (headers.remaining, self.remaining.to_string()),
            (headers.reset, reset),
            (retry, self.seconds.to_string()),
        ]
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .fold(answer, |answer, (name, value)| answer.header(name, &value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: RateHeaders = RateHeaders {
        limit: "",
        remaining: "x-remaining",
        reset: "x-reset",
        reset_in: Reset::EpochSeconds,
        retry_after: true,
    };

    #[test]
    fn a_budget_is_spent_refuses_and_is_whole_again() {
        let budget = Budget {
            requests: 2,
            seconds: 10,
        };
        let start = DateTime::from_timestamp(1_000, 0).unwrap();
        let mut meter = Meter::default();
        let mut at = |seconds: i64| {
            let standing = meter.spend(budget, start + TimeDelta::milliseconds(seconds * 1_000));
            (standing.remaining, standing.is_over, standing.seconds)
        };

        assert_eq!(at(0), (1, false, 10));
        assert_eq!(at(3), (0, false, 7));
        assert_eq!(at(4), (0, true, 6));
        assert_eq!(at(9), (0, true, 1));
        assert_eq!(at(10), (1, false, 10));
    }

    #[test]
    fn headers_say_where_it_stands_in_the_platforms_words() {
        let standing = Standing {
            limit: 5,
            remaining: 0,
            reset: DateTime::from_timestamp(1_768_653_240, 0).unwrap(),
            seconds: 7,
            is_over: true,
        };
        let said = |headers: RateHeaders, standing: Standing| {
            let answer = standing.say(&headers, Answer::empty(200));
            let pairs = answer.headers.iter();
            let pairs = pairs.map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
            pairs.collect::<Vec<_>>().join(" ")
        };

        assert_eq!(
            said(HEADERS, standing),
            "x-remaining=0 x-reset=1768653240 retry-after=7"
        );
        let calm = Standing {
            is_over: false,
            ..standing
        };
        for (reset_in, reset) in [
            (Reset::Seconds, "7"),
            (Reset::EpochMillis, "1768653240000"),
            (Reset::Iso, "2026-01-17T12:34:00Z"),
        ] {
            let headers = RateHeaders {
                limit: "x-limit",
                reset_in,
                ..HEADERS
            };
            assert_eq!(
                said(headers, calm),
                format!("x-limit=5 x-remaining=0 x-reset={reset}")
            );
        }
    }
}
