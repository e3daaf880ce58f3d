//! What an answer says of the platform's budget: read on every answer, so that the last request
//! that fits is known before the first that does not. A table names the headers; how each vendor
//! counts is not code.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Response;
pub use super::moments::ResetIn;
use super::moments::{any_form, http_date};
pub use super::scope::Scope;

/// Longest pause that a platform is believed: a daily budget begins anew within it.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How a header says what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// A number: how many requests.
    In(&'static str),
    /// Pairs, one of which says `name=used/total` (Salesforce's `api-usage=18/15000;
    /// per-app-api-usage=…`).
    UsedOf(&'static str, &'static str),
    /// Every header that begins so, with the pairs `remaining=…; resets=…` in it (Zendesk's
    /// `Zendesk-RateLimit-tickets-update: total=100; remaining=99; resets=41`).
    PairsOf(&'static str),
    /// Nothing says so; the reset counts where a request was refused.
    Unsaid,
}

/// One budget of a platform.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// What is left of it.
    pub left: Left,
    /// When it begins anew.
    pub reset: Option<(&'static str, ResetIn)>,
    /// What it is of.
    pub scope: Scope,
}

/// What a platform's answers say of its budgets. `Retry-After` is read on each platform, in every
/// form.
#[derive(Debug, Clone, Copy)]
pub struct RateHeaders {
    /// Its budgets; where several are used up, the longest wait counts.
    pub quotas: &'static [Quota],
    /// Words in a header by which a refusal says what it is of: header, word, scope.
    pub reasons: &'static [(&'static str, &'static str, Scope)],
    /// The pause where a refusal says no time.
    pub none_said: Duration,
    /// What a refusal is of, where nothing says so.
    pub scope: Scope,
    /// How far apart the requests of an integration that change something are sent, over all
    /// workers; zero: as they come.
    pub writes_apart: Duration,
}

/// Until when to wait, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// From now.
    pub wait: Duration,
    /// What waits.
    pub scope: Scope,
    /// The header that said so, if one did.
    pub said_by: Option<&'static str>,
}

/// How much of a budget an answer says is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetLeft {
    /// The header that says so.
    pub said_by: &'static str,
    /// How many requests.
    pub left: u64,
    /// In what time the budget begins anew.
    pub resets_in: Duration,
}

impl Pause {
    /// The moment that it ends.
    #[must_use]
    pub fn until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let wait = TimeDelta::from_std(self.wait).unwrap_or(TimeDelta::MAX);
        now.checked_add_signed(wait)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl RateHeaders {
    /// A platform that says `Retry-After` and nothing else.
    #[must_use]
    pub const fn retry_after(none_said: Duration, scope: Scope) -> Self {
        Self {
            quotas: &[],
            reasons: &[],
            none_said,
            scope,
            writes_apart: Duration::ZERO,
        }
    }

    /// The pause that an answer asks for. One that was refused by budget always does; another where
    /// a budget is used up.
    #[must_use]
    pub fn pause(&self, answer: &Response, is_refused: bool, now: DateTime<Utc>) -> Option<Pause> {
        // The platform's moments are counted by its own clock.
        let theirs = answer.header("date").and_then(http_date).unwrap_or(now);
        let asked = answer.header("retry-after").filter(|_| is_refused);
        if let Some(wait) = asked.and_then(|text| any_form(text, theirs)) {
            return Some(Pause {
                wait: wait.min(PAUSE_MAX),
                scope: self.reason(answer).unwrap_or(self.scope),
                said_by: Some("retry-after"),
            });
        }
        let used_up = self
            .quotas
            .iter()
            .filter_map(|quota| self.of_quota(quota, answer, is_refused, theirs))
            .max_by_key(|pause| pause.wait);
        let pause = match used_up {
            // A moment that has passed is none to wait for.
            Some(pause) if !pause.wait.is_zero() => pause,
            Some(_) | None if is_refused => Pause {
                wait: self.none_said,
                scope: self.scope,
                said_by: None,
            },
            Some(_) | None => return None,
        };
        Some(Pause {
            wait: pause.wait.min(PAUSE_MAX),
            scope: self.reason(answer).unwrap_or(pause.scope),
            ..pause
        })
    }

    /// What an answer says is left of the integration's budget, the one with least; `None` where it
    /// does not say.
    #[must_use]
    pub fn left(&self, answer: &Response, now: DateTime<Utc>) -> Option<BudgetLeft> {
        let theirs = answer.header("date").and_then(http_date).unwrap_or(now);
        let quotas = self.quotas.iter();
        let of_all = quotas.filter(|quota| quota.scope == Scope::Integration);
        of_all
            .filter_map(|quota| {
                let (said_by, left) = match quota.left {
                    Left::In(header) => (header, answer.header(header)?.trim().parse().ok()?),
                    Left::UsedOf(header, name) => {
                        let (used, total) = used_of(answer.header(header)?, name)?;
                        (header, total.saturating_sub(used))
                    }
                    // Budgets of single endpoints.
                    Left::PairsOf(_) | Left::Unsaid => return None,
                };
                let reset = quota
                    .reset
                    .and_then(|(header, form)| form.read(answer.header(header)?, theirs));
                Some(BudgetLeft {
                    said_by,
                    left,
                    resets_in: reset.unwrap_or(self.none_said).min(PAUSE_MAX),
                })
            })
            .min_by_key(|budget| budget.left)
    }

    fn reason(&self, answer: &Response) -> Option<Scope> {
        let found = self.reasons.iter().find(|(header, word, _)| {
            let said = answer.header(header).map(str::to_ascii_lowercase);
            said.is_some_and(|said| said.contains(word))
        });
        found.map(|(_, _, scope)| *scope)
    }

    fn of_quota(
        &self,
        quota: &Quota,
        answer: &Response,
        is_refused: bool,
        now: DateTime<Utc>,
    ) -> Option<Pause> {
        let reset = quota.reset.and_then(|(header, form)| {
            let wait = form.read(answer.header(header)?, now)?;
            Some((header, wait))
        });
        let pause = |said_by, wait| Pause {
            wait,
            scope: quota.scope,
            said_by: Some(said_by),
        };
        match quota.left {
            Left::In(header) => {
                let left: f64 = answer.header(header)?.trim().parse().ok()?;
                let is_used_up = left < 1.0;
                is_used_up.then(|| {
                    reset.map_or(pause(header, self.none_said), |(by, wait)| pause(by, wait))
                })
            }
            Left::UsedOf(header, name) => {
                let (used, total) = used_of(answer.header(header)?, name)?;
                (used >= total).then(|| pause(header, self.none_said))
            }
            Left::PairsOf(prefix) => answer
                .headers
                .iter()
                .filter(|(name, _)| name.as_str().starts_with(prefix))
                .filter_map(|(_, value)| {
                    let said = value.to_str().ok()?;
                    let left: u64 = pair(said, "remaining")?.parse().ok()?;
                    let resets = pair(said, "resets")
                        .and_then(|text| ResetIn::Seconds.read(text, now))
                        .unwrap_or(self.none_said);
                    (left == 0).then(|| pause(prefix, resets))
                })
                .max_by_key(|pause| pause.wait),
            Left::Unsaid => reset
                .filter(|_| is_refused)
                .map(|(by, wait)| pause(by, wait)),
        }
    }
}

/// The numbers of `name=used/total` among pairs.
fn used_of(said: &str, name: &str) -> Option<(u64, u64)> {
    let (used, total) = pair(said, name)?.split_once('/')?;
    let digits: String = total.chars().take_while(char::is_ascii_digit).collect();
    Some((used.parse().ok()?, digits.parse().ok()?))
}

/// The value of `name=value` among pairs; the name is a whole one (`per-app-api-usage` is not
/// `api-usage`).
fn pair<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split([';', ','])
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Response {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).unwrap();
            all.append(HeaderName::from_static(name), value);
        }
        Response {
            status,
            headers: all,
            body: Bytes::new(),
            truncated: false,
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-01-31T12:00:00Z".parse().unwrap()
    }

    fn seconds(rate: &RateHeaders, status: u16, headers: &[(&'static str, &str)]) -> Option<u64> {
        let pause = rate.pause(&answer(status, headers), status == 429, now());
        pause.map(|pause| pause.wait.as_secs())
    }

    const fn quota(left: Left, reset: Option<(&'static str, ResetIn)>) -> Quota {
        Quota {
            left,
            reset,
            scope: Scope::Integration,
        }
    }

    #[test]
    fn what_is_left_is_the_least_of_the_integration_s_budgets() {
        static QUOTAS: [Quota; 3] = [
            quota(Left::In("x-left"), Some(("x-reset", ResetIn::Seconds))),
            quota(Left::UsedOf("usage", "api-usage"), None),
            Quota {
                scope: Scope::Endpoint,
                ..quota(Left::In("x-endpoint"), None)
            },
        ];
        let rate = RateHeaders {
            quotas: &QUOTAS,
            ..RateHeaders::retry_after(MINUTE, Scope::Integration)
        };
        let left = |headers: &[(&'static str, &str)]| {
            let left = rate.left(&answer(200, headers), now())?;
            Some((left.said_by, left.left, left.resets_in.as_secs()))
        };
        let counted = ("x-left", "40");

        assert_eq!(left(&[counted, ("x-reset", "7")]), Some(("x-left", 40, 7)));
        assert_eq!(
            left(&[counted, ("usage", "per-app=1/2; api-usage=18/20")]),
            Some(("usage", 2, 60))
        );
        assert_eq!(
            left(&[counted, ("x-endpoint", "1")]),
            Some(("x-left", 40, 60))
        );
        assert_eq!(left(&[("x-left", "many"), ("x-endpoint", "1")]), None);
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_on_refusals_alone() {
        let rate = RateHeaders::retry_after(MINUTE, Scope::Endpoint);

        for (text, expected) in [
            ("17", 17),
            ("1.5", 1),
            ("0", 0),
            ("Sat, 31 Jan 2026 12:00:30 GMT", 30),
            ("2026-01-31T12:02:00Z", 120),
            ("2020-05-31T00:00:00Z", 0),
            ("soon", 60),
            ("-3", 60),
            ("99999999999", 24 * 3600),
        ] {
            assert_eq!(
                seconds(&rate, 429, &[("retry-after", text)]),
                Some(expected),
                "{text}"
            );
        }
        assert_eq!(seconds(&rate, 429, &[]), Some(60));
        assert_eq!(seconds(&rate, 200, &[("retry-after", "17")]), None);
    }

    #[test]
    fn a_budget_that_is_used_up_pauses_before_anything_is_refused() {
        static GITHUB: RateHeaders = RateHeaders {
            quotas: &[quota(
                Left::In("x-ratelimit-remaining"),
                Some(("x-ratelimit-reset", ResetIn::EpochSeconds)),
            )],
            ..RateHeaders::retry_after(MINUTE, Scope::Integration)
        };
        let reset = ("x-ratelimit-reset", "1769860920");
        let left = |left| [("x-ratelimit-remaining", left), reset];

        assert_eq!(seconds(&GITHUB, 200, &left("4999")), None);
        assert_eq!(seconds(&GITHUB, 201, &left("0")), Some(120));
        assert_eq!(seconds(&GITHUB, 429, &left("0")), Some(120));
        // A secondary limit: something is left, and nothing says when.
        assert_eq!(seconds(&GITHUB, 429, &left("4999")), Some(60));
        // Our clock is two minutes late: theirs counts.
        let with_date = |date| {
            let [left, reset] = left("0");
            seconds(&GITHUB, 200, &[left, reset, ("date", date)])
        };
        assert_eq!(with_date("Sat, 31 Jan 2026 12:01:50 GMT"), Some(10));
        assert_eq!(with_date("Sat, 31 Jan 2026 12:03:00 GMT"), None);
    }

    #[test]
    fn every_vendor_s_way_to_count_is_read() {
        static SALESFORCE: RateHeaders = RateHeaders {
            quotas: &[quota(Left::UsedOf("sforce-limit-info", "api-usage"), None)],
            ..RateHeaders::retry_after(Duration::from_secs(900), Scope::Integration)
        };
        let used = |text| seconds(&SALESFORCE, 200, &[("sforce-limit-info", text)]);
        assert_eq!(used("api-usage=18/15000"), None);
        assert_eq!(
            used("per-app-api-usage=250/250(appName=x); api-usage=18/15000"),
            None
        );
        assert_eq!(
            used("api-usage=15000/15000; per-app-api-usage=1/250(appName=x)"),
            Some(900)
        );

        static ZENDESK: RateHeaders = RateHeaders {
            quotas: &[
                quota(
                    Left::In("ratelimit-remaining"),
                    Some(("ratelimit-reset", ResetIn::Seconds)),
                ),
                Quota {
                    scope: Scope::Endpoint,
                    ..quota(Left::PairsOf("zendesk-ratelimit-"), None)
                },
            ],
            ..RateHeaders::retry_after(MINUTE, Scope::Integration)
        };
        let endpoint = "total=100; remaining=0; resets=41";
        let both = [
            ("ratelimit-remaining", "7"),
            ("zendesk-ratelimit-tickets-update", endpoint),
            (
                "zendesk-ratelimit-tickets-index",
                "total=100; remaining=99; resets=55",
            ),
        ];
        let pause = ZENDESK.pause(&answer(200, &both), false, now()).unwrap();
        assert_eq!((pause.wait.as_secs(), pause.scope), (41, Scope::Endpoint));
        let all = [("ratelimit-remaining", "0"), ("ratelimit-reset", "12")];
        assert_eq!(seconds(&ZENDESK, 200, &all), Some(12));

        static HUBSPOT: RateHeaders = RateHeaders {
            quotas: &[quota(
                Left::In("x-hubspot-ratelimit-remaining"),
                Some(("x-hubspot-ratelimit-interval-milliseconds", ResetIn::Millis)),
            )],
            ..RateHeaders::retry_after(Duration::from_secs(10), Scope::Integration)
        };
        let window = ("x-hubspot-ratelimit-interval-milliseconds", "10000");
        let left = [("x-hubspot-ratelimit-remaining", "0"), window];
        assert_eq!(seconds(&HUBSPOT, 200, &left), Some(10));

        static SERVICENOW: RateHeaders = RateHeaders {
            quotas: &[quota(
                Left::Unsaid,
                Some(("x-ratelimit-reset", ResetIn::EpochSeconds)),
            )],
            ..RateHeaders::retry_after(MINUTE, Scope::Integration)
        };
        let reset = [("x-ratelimit-reset", "1769860920")];
        assert_eq!(seconds(&SERVICENOW, 200, &reset), None);
        assert_eq!(seconds(&SERVICENOW, 429, &reset), Some(120));

        static TRELLO: RateHeaders = RateHeaders {
            quotas: &[
                quota(Left::In("x-rate-limit-api-token-remaining"), None),
                quota(Left::In("x-rate-limit-api-key-remaining"), None),
            ],
            ..RateHeaders::retry_after(Duration::from_secs(10), Scope::Integration)
        };
        let left = [
            ("x-rate-limit-api-token-remaining", "0"),
            ("x-rate-limit-api-key-remaining", "299"),
        ];
        assert_eq!(seconds(&TRELLO, 200, &left), Some(10));
        // Freshdesk's credits may be fractions.
        let fraction = [("x-rate-limit-api-token-remaining", "0.5")];
        assert_eq!(seconds(&TRELLO, 200, &fraction), Some(10));
    }

    #[test]
    fn jira_s_reason_says_what_waits_and_its_reset_has_two_forms() {
        static JIRA: RateHeaders = RateHeaders {
            quotas: &[
                quota(Left::Unsaid, Some(("x-ratelimit-reset", ResetIn::Iso))),
                quota(
                    Left::Unsaid,
                    Some(("x-ratelimit-reset", ResetIn::EpochSeconds)),
                ),
            ],
            reasons: &[
                ("ratelimit-reason", "burst", Scope::Endpoint),
                ("ratelimit-reason", "per-issue", Scope::Item),
                ("ratelimit-reason", "quota", Scope::Integration),
            ],
            ..RateHeaders::retry_after(MINUTE, Scope::Endpoint)
        };
        let pause = |headers: &[(&'static str, &str)]| {
            let pause = JIRA.pause(&answer(429, headers), true, now()).unwrap();
            (pause.wait.as_secs(), pause.scope)
        };
        let quota = ("ratelimit-reason", "jira-quota-global-based");

        let iso = ("x-ratelimit-reset", "2026-01-31T12:05Z");
        assert_eq!(pause(&[quota, iso]), (300, Scope::Integration));
        let epoch = ("x-ratelimit-reset", "1769860920");
        assert_eq!(pause(&[quota, epoch]), (120, Scope::Integration));
        let item = ("ratelimit-reason", "jira-per-issue-on-write");
        assert_eq!(pause(&[item, ("retry-after", "3")]), (3, Scope::Item));
        assert_eq!(pause(&[]), (60, Scope::Endpoint));
        let end = JIRA.pause(&answer(429, &[epoch]), true, now()).unwrap();
        assert_eq!(end.until(now()), now() + TimeDelta::seconds(120));
    }
}
