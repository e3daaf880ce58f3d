//! Moments as people write them.

use chrono::{DateTime, Utc};

/// An RFC 3339 time, or how long ago: `2026-01-31T12:00:00Z`, `90m`, `2h`.
///
/// # Errors
/// What would be right.
pub(super) fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(moment.with_timezone(&Utc));
    }
    humantime::parse_duration(text)
        .ok()
        .and_then(|age| chrono::TimeDelta::from_std(age).ok())
        .and_then(|age| Utc::now().checked_sub_signed(age))
        .ok_or_else(|| "must be a time (2026-01-31T12:00:00Z) or how long ago (90m, 2h)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_an_age() {
        let now = Utc::now();

        assert_eq!(
            parse("2026-01-31T12:00:00+01:00").unwrap().to_rfc3339(),
            "2026-01-31T11:00:00+00:00"
        );
        let age = now - parse("2h").unwrap();
        assert!((7_199..=7_201).contains(&age.num_seconds()), "{age}");
        assert!(parse("yesterday").unwrap_err().contains("90m"));
    }
}
