//! Moments and waits, in the forms in which vendors write them into headers.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

/// How a header says when a budget begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetIn {
    /// Seconds from now.
    Seconds,
    /// A moment, in seconds since 1970.
    EpochSeconds,
    /// A moment as ISO 8601 text, with or without seconds.
    Iso,
    /// Milliseconds from now, or the length of the window in them.
    Millis,
}

impl ResetIn {
    /// A header's value as a wait from now; a moment that has passed is no wait.
    #[must_use]
    pub fn read(self, text: &str, now: DateTime<Utc>) -> Option<Duration> {
        let text = text.trim();
        let moment = match self {
            Self::Seconds => return seconds(text),
            Self::Millis => return text.parse().ok().map(Duration::from_millis),
            Self::EpochSeconds => {
                let at = seconds(text)?;
                DateTime::from_timestamp(i64::try_from(at.as_secs()).ok()?, at.subsec_nanos())?
            }
            Self::Iso => iso(text)?,
        };
        Some((moment - now).to_std().unwrap_or_default())
    }
}

/// `Retry-After` in any form that a vendor was seen to use: seconds, also with a fraction, and a
/// moment by RFC 2822 or ISO 8601 (Zoom).
pub(super) fn any_form(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let until = |at: DateTime<Utc>| (at - now).to_std().unwrap_or_default();
    ResetIn::Seconds
        .read(text, now)
        .or_else(|| http_date(text).map(until))
        .or_else(|| ResetIn::Iso.read(text, now))
}

fn seconds(text: &str) -> Option<Duration> {
    if let Ok(whole) = text.parse::<u64>() {
        return Some(Duration::from_secs(whole));
    }
    let fraction: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(fraction).ok()
}

/// A moment as HTTP writes it, RFC 2822.
pub(super) fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some(at.with_timezone(&Utc))
}

/// Jira leaves the seconds out: `2026-01-31T12:00Z`.
fn iso(text: &str) -> Option<DateTime<Utc>> {
    let whole = DateTime::parse_from_rfc3339(text).ok();
    whole.map(|at| at.with_timezone(&Utc)).or_else(|| {
        let minutes = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").ok()?;
        Some(minutes.and_utc())
    })
}
