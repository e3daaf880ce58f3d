//! How far the database's clock ([`crate::telemetry::clock`]) is from this machine's. It is
//! measured when the lease is acquired and each time that it is renewed.

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::{Store, chain};
pub(in crate::pipeline) use crate::telemetry::clock::now;
use crate::telemetry::{clock, machine_clock, metrics};

/// More than this is worth a line in the log.
const WORTH_A_WORD: TimeDelta = TimeDelta::seconds(1);

/// Asks the database. Where it does not answer, what was measured last holds.
pub(in crate::pipeline) async fn measure(store: &Store) {
    let asked = machine_clock();
    let theirs = match store.clock().await {
        Ok(theirs) => theirs,
        Err(error) => {
            tracing::debug!(error = chain(&error), "the database's clock was not read");
            return;
        }
    };
    let difference = difference(asked, theirs, machine_clock());
    let before = now() - machine_clock();
    if difference.abs() > WORTH_A_WORD && (difference - before).abs() > WORTH_A_WORD {
        tracing::warn!(
            seconds = difference.as_seconds_f64(),
            "this machine's clock and the database's differ; the database's decides. Have both \
             set by NTP"
        );
    }
    metrics::clock_skew(difference);
    clock::set_difference(difference);
}

/// Theirs less ours, as if they had looked in the middle of the round trip.
fn difference(asked: DateTime<Utc>, theirs: DateTime<Utc>, answered: DateTime<Utc>) -> TimeDelta {
    theirs - (asked + (answered - asked) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_that_to_the_middle_of_the_round_trip() {
        let at = |seconds: i64| DateTime::from_timestamp(1_770_000_000 + seconds, 0).unwrap();

        assert_eq!(difference(at(0), at(1), at(2)), TimeDelta::zero());
        assert_eq!(difference(at(0), at(601), at(2)), TimeDelta::minutes(10));
        assert_eq!(difference(at(600), at(1), at(602)), TimeDelta::minutes(-10));
    }
}
