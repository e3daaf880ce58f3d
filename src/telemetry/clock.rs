//! The one clock that decides: the database's. A worker whose machine's clock is wrong would
//! otherwise wait too long or not at all, and look for what it made in a time that was not.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

use super::machine_clock;

/// The database's clock less this machine's, in microseconds. One a process, as there is one
/// database and one machine; zero until it was measured.
static DIFFERENCE: AtomicI64 = AtomicI64::new(0);

/// What the database's clock shows now.
#[must_use]
pub fn now() -> DateTime<Utc> {
    machine_clock() + TimeDelta::microseconds(DIFFERENCE.load(Ordering::Relaxed))
}

/// Notes how far the database's clock is ahead of this machine's.
pub fn set_difference(difference: TimeDelta) {
    if let Some(micros) = difference.num_microseconds() {
        DIFFERENCE.store(micros, Ordering::Relaxed);
    }
}
