//! What an operation set on the platform, and when: what comes back from there later is compared
//! with it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::platforms::moments::http_date;
use crate::platforms::{Facts, Moment, Operation, Response};

/// Of what would be sent of a ticket, what this operation sends.
pub(super) fn wrote(operation: &Operation<'_>, theirs: Facts) -> Facts {
    match operation {
        Operation::Create { .. } => theirs,
        Operation::Update { patch, .. } => Facts {
            title: theirs.title.filter(|_| patch.title.is_some()),
            description: theirs.description.filter(|_| patch.description.is_some()),
            priority: theirs.priority.filter(|_| patch.priority.is_some()),
            tags: theirs.tags.filter(|_| patch.tags.is_some()),
            custom: if patch.custom_fields.is_some() {
                theirs.custom
            } else {
                std::collections::BTreeMap::new()
            },
            ..Facts::default()
        },
        Operation::Status { .. } | Operation::Delete { .. } => Facts {
            status: theirs.status,
            status_class: theirs.status_class,
            ..Facts::default()
        },
        Operation::Assign { .. } => Facts {
            assignee: theirs.assignee,
            ..Facts::default()
        },
        Operation::Comment { .. } | Operation::Attach { .. } => Facts::default(),
    }
}

/// When an answer's request was carried out, by the platform's clock: after it was sent, and before
/// the answer was dated. A `Date` has whole seconds.
pub(super) fn written(answer: &Response, took: Duration) -> Option<Moment> {
    let dated: DateTime<Utc> = answer.header("date").and_then(http_date)?;
    let took = TimeDelta::from_std(took).unwrap_or(TimeDelta::MAX);
    let second = TimeDelta::seconds(1);
    let low = dated.checked_sub_signed(took)?.checked_sub_signed(second)?;
    Some(Moment {
        low,
        high: dated + second,
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn the_date_of_an_answer_and_how_long_it_took_bound_the_moment() {
        let dated = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("date", HeaderValue::from_str(text).unwrap());
            Response {
                status: 200,
                headers,
                body: bytes::Bytes::new(),
                truncated: false,
            }
        };
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();

        let answer = dated("Sat, 31 Jan 2026 12:00:10 GMT");
        let moment = written(&answer, Duration::from_secs(3)).unwrap();
        assert_eq!(moment.low, at("2026-01-31T12:00:06Z"));
        assert_eq!(moment.high, at("2026-01-31T12:00:11Z"));
        assert_eq!(written(&dated("now"), Duration::ZERO), None);
        assert_eq!(written(&answer, Duration::MAX), None);
    }
}
