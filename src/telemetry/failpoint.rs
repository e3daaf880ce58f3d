//! Fail points: where the crash tests kill the process. Only in debug builds; in a release they are
//! nothing at all.
//!
//! `TICKETWIRE_FAILPOINT` is a comma list of `name[=kill|panic|abort][:skip]@marker`: at the fail
//! point `name`, after it was passed `skip` times, and if the file `marker` did not exist before,
//! the process dies. The marker keeps a restart under the same environment from dying again.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// This machine's clock. In a debug build `TICKETWIRE_CLOCK_AHEAD` sets it ahead by so many
/// seconds, or behind.
#[cfg(debug_assertions)]
#[must_use]
pub fn machine_clock() -> DateTime<Utc> {
    static AHEAD: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let ahead = AHEAD.get_or_init(|| {
        let text = std::env::var("TICKETWIRE_CLOCK_AHEAD").unwrap_or_default();
        text.parse().unwrap_or(0)
    });
    Utc::now() + chrono::TimeDelta::seconds(*ahead)
}

/// This machine's clock.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub fn machine_clock() -> DateTime<Utc> {
    Utc::now()
}

/// How long a step of something long takes. In a debug build `TICKETWIRE_STEP_MS` makes it shorter.
#[cfg(debug_assertions)]
#[must_use]
pub fn step_length(usual: Duration) -> Duration {
    let text = std::env::var("TICKETWIRE_STEP_MS").unwrap_or_default();
    text.parse().map_or(usual, Duration::from_millis)
}

/// How long a step of something long takes.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub const fn step_length(usual: Duration) -> Duration {
    usual
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    pub(super) enum Death {
        Kill,
        Panic,
        Abort,
    }

    struct Point {
        name: String,
        death: Death,
        skip: usize,
        passed: AtomicUsize,
        marker: PathBuf,
    }

    static POINTS: OnceLock<Vec<Point>> = OnceLock::new();

    fn points() -> &'static [Point] {
        POINTS.get_or_init(|| {
            let text = std::env::var("TICKETWIRE_FAILPOINT").unwrap_or_default();
            text.split(',').filter_map(parse).collect()
        })
    }

    fn parse(text: &str) -> Option<Point> {
        let (head, marker) = text.split_once('@')?;
        let (head, skip) = head
            .split_once(':')
            .map_or((head, 0), |(head, skip)| (head, skip.parse().unwrap_or(0)));
        let (name, death) = head.split_once('=').unwrap_or((head, "kill"));
        let death = match death {
            "panic" => Death::Panic,
            "abort" => Death::Abort,
            _ => Death::Kill,
        };
        let (name, marker) = (name.to_owned(), PathBuf::from(marker));
        Some(Point {
            name,
            death,
            skip,
            passed: AtomicUsize::new(0),
            marker,
        })
    }

    /// How to die here, if at all. `repeat` markers (a directory) never run out.
    pub(super) fn hit(name: &str) -> Option<&'static Death> {
        points().iter().find_map(|point| {
            if point.name != name || point.passed.fetch_add(1, Ordering::SeqCst) < point.skip {
                return None;
            }
            let first = point.marker.is_dir()
                || std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&point.marker)
                    .is_ok();
            first.then_some(&point.death)
        })
    }
}

/// Dies here if a test wants it.
#[cfg(debug_assertions)]
pub async fn failpoint(name: &'static str) {
    match armed::hit(name) {
        None => {}
        Some(armed::Death::Panic) => panic!("fail point {name}"),
        Some(armed::Death::Abort) => std::process::abort(),
        Some(armed::Death::Kill) => {
            let pid = std::process::id().to_string();
            let killed = std::process::Command::new("kill")
                .args(["-9", &pid])
                .status();
            tracing::error!(?killed, "the fail point did not kill the process");
            std::process::abort();
        }
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
#[inline]
#[expect(clippy::unused_async, reason = "debug builds have the same signature")]
pub async fn failpoint(_name: &'static str) {}
