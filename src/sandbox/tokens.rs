//! OAuth tokens of a site: access tokens that end, and refresh tokens that rotate and work once.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

/// Begins what was made here, so that a made-up token of this form is told from a fixed one.
const ACCESS: &str = "sandbox-access-";
const REFRESH: &str = "sandbox-refresh-";
/// Tokens remembered; beyond it the expired ones go, and refresh tokens of new grants are refused.
const TOKENS_MAX: usize = 10_000;

/// The tokens of a site.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Access token → when it expires.
    access: HashMap<String, DateTime<Utc>>,
    /// Refresh tokens made here and not used yet.
    refresh: HashSet<String>,
    /// First refresh tokens, which came from elsewhere, and were used.
    spent: HashSet<String>,
}

/// What a refresh gives.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) access: String,
    pub(super) refresh: String,
}

impl Tokens {
    /// Whether an access token made here is still good; `None` of one that was not.
    pub(super) fn is_alive(&self, token: &str, now: DateTime<Utc>) -> Option<bool> {
        token
            .starts_with(ACCESS)
            .then(|| self.access.get(token).is_some_and(|end| *end > now))
    }

    /// A new pair for a refresh token that was not used before. The first may be anything.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        life_seconds: i64,
        now: DateTime<Utc>,
    ) -> Option<Pair> {
        if !self.spend(token) {
            return None;
        }
        if self.access.len() >= TOKENS_MAX {
            self.access.retain(|_, end| *end > now);
        }
        let pair = Pair {
            access: format!("{ACCESS}{}", uuid::Uuid::new_v4().simple()),
            refresh: format!("{REFRESH}{}", uuid::Uuid::new_v4().simple()),
        };
        let life = TimeDelta::try_seconds(life_seconds).unwrap_or(TimeDelta::MAX);
        let end = now
            .checked_add_signed(life)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.access.insert(pair.access.clone(), end);
        self.refresh.insert(pair.refresh.clone());
        Some(pair)
    }

    fn spend(&mut self, token: &str) -> bool {
        if token.starts_with(REFRESH) {
            return self.refresh.remove(token);
        }
        let fits = !token.is_empty() && self.spent.len() < TOKENS_MAX;
        fits && self.spent.insert(token.to_owned())
    }
}
