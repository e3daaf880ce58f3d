//! What the log says of deliveries that are not taken: one line a minute for each integration and
//! verdict, with how many there were. Nothing of a delivery is in it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::verdict::Verdict;
use crate::domain::IntegrationId;

/// How often one line comes again.
const EVERY: Duration = Duration::from_secs(60);
/// Lines that are remembered at most.
const KEPT: usize = 10_000;

/// What was told, when, and how often it happened since.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<(IntegrationId, Verdict), (Instant, u64)>>);

impl Told {
    /// Warns of a delivery that was not taken, unless that was done within the last minute.
    pub(super) fn warn(
        &self,
        integration: IntegrationId,
        platform: &str,
        verdict: Verdict,
        from: IpAddr,
    ) {
        if let Some(count) = self.count(integration, verdict, Instant::now()) {
            tracing::warn!(
                %integration, platform, verdict = verdict.as_str(), %from, count,
                "a platform's delivery was not taken"
            );
        }
    }

    /// How many there were since the last line; `None`: it is not time for another.
    fn count(&self, integration: IntegrationId, verdict: Verdict, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= KEPT && !told.contains_key(&(integration, verdict)) {
            told.retain(|_, (at, _)| now.saturating_duration_since(*at) < EVERY);
            if told.len() >= KEPT {
                return None;
            }
        }
        match told.get_mut(&(integration, verdict)) {
            Some((at, count)) if now.saturating_duration_since(*at) < EVERY => {
                *count += 1;
                None
            }
            Some((at, count)) => {
                *at = now;
                Some(std::mem::take(count) + 1)
            }
            None => {
                told.insert((integration, verdict), (now, 0));
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_line_a_minute_says_how_many_there_were() {
        let told = Told::default();
        let began = Instant::now();
        let id = IntegrationId::new(Uuid::from_u128(1));
        let at = |seconds, verdict| told.count(id, verdict, began + Duration::from_secs(seconds));
        assert_eq!(at(0, Verdict::Stale), Some(1));
        assert_eq!(at(1, Verdict::Stale), None);
        assert_eq!(at(2, Verdict::NoSecret), Some(1));
        assert_eq!(at(59, Verdict::Stale), None);
        assert_eq!(at(60, Verdict::Stale), Some(3));
    }
}
