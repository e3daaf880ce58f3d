//! Rates: so many at once, and so many a second after that.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Keys that are remembered at most.
const KEYS_MAX: usize = 20_000;

/// A bucket a key. One that is full again is forgotten.
pub(super) struct Buckets<K> {
    rate: f64,
    burst: f64,
    levels: Mutex<HashMap<K, (f64, Instant)>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// So many a second, and so many at once.
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        Self {
            rate: f64::from(rate),
            burst: f64::from(burst),
            levels: Mutex::default(),
        }
    }

    /// Whether there is one left. It stays.
    pub(super) fn has(&self, key: &K, now: Instant) -> bool {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels
            .get(key)
            .is_none_or(|level| self.left(*level, now) >= 1.0)
    }

    /// Takes one; false where none is left.
    pub(super) fn take(&self, key: &K, now: Instant) -> bool {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let level = levels.get(key).copied().unwrap_or((self.burst, now));
        let left = self.left(level, now);
        let (left, is_taken) = if left >= 1.0 {
            (left - 1.0, true)
        } else {
            (left, false)
        };
        if levels.len() >= KEYS_MAX && !levels.contains_key(key) {
            levels.retain(|_, level| self.left(*level, now) < self.burst);
            // Under that many at once, nobody is kept apart.
            if levels.len() >= KEYS_MAX {
                levels.clear();
            }
        }
        levels.insert(key.clone(), (left, now));
        is_taken
    }

    fn left(&self, (left, since): (f64, Instant), now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(since).as_secs_f64();
        (elapsed * self.rate + left).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let buckets = Buckets::new(2, 3);
        let began = Instant::now();
        let passed = |at: Duration| (0..10).filter(|_| buckets.take(&"a", began + at)).count();
        assert_eq!(passed(Duration::ZERO), 3);
        assert!(!buckets.has(&"a", began) && buckets.has(&"b", began));
        assert_eq!(passed(Duration::from_millis(1_000)), 2);
        assert_eq!(passed(Duration::from_secs(60)), 3);
        assert!(buckets.take(&"b", began));
    }

    #[test]
    fn keys_do_not_add_up() {
        let buckets = Buckets::new(1, 2);
        let began = Instant::now();
        for key in 0..(2 * KEYS_MAX) {
            buckets.take(&key, began);
        }
        assert!(buckets.levels.lock().unwrap().len() <= KEYS_MAX);
    }
}
