//! What keeps a command from running beside its own time: its integration's circuit, a pause, a
//! maintenance window, a state that takes no work, or the lack of a worker. Its row does not know:
//! all of that may come and go while it waits.

use chrono::{DateTime, NaiveTime, Utc};

use super::IntegrationStatus;

/// How an integration stands, as far as its commands have to wait for it.
#[derive(Debug, Clone)]
pub struct LaneState {
    /// Whether an operator wants it to work.
    pub enabled: bool,
    /// Connection state; `None` where a later version has stored it.
    pub status: Option<IntegrationStatus>,
    /// After this moment it takes no work.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when its commands wait for its credential to be mended.
    pub parked_at: Option<DateTime<Utc>>,
    /// Start and end of the daily maintenance window, `HH:MM` UTC.
    pub maintenance: (Option<String>, Option<String>),
    /// Attempts in a row that failed.
    pub failures: i32,
    /// Until when its circuit is open, or, in the past, since when it is half open.
    pub open_until: Option<DateTime<Utc>>,
    /// Until when it is paused by its platform's rate limit, and what said so; in the past, it
    /// waits for the first answer after the pause.
    pub paused: Option<(DateTime<Utc>, String)>,
}

super::wire_enum! {
    /// Which kind of hold; a name for programs.
    HoldReason {
        /// The circuit of the integration is open.
        CircuitOpen = "circuit_open",
        /// The circuit was open: one command at a time finds out whether the platform is back.
        CircuitHalfOpen = "circuit_half_open",
        /// The platform's rate limit pauses the integration for all workers.
        Paused = "paused",
        /// The pause is over: one command at a time finds out whether the platform takes requests
        /// again.
        PauseOver = "pause_over",
        /// The integration's credential was refused.
        CredentialRefused = "credential_refused",
        /// The integration is disabled.
        IntegrationDisabled = "integration_disabled",
        /// The integration's credentials have expired.
        IntegrationExpired = "integration_expired",
        /// The integration's status lets it take no work.
        IntegrationInactive = "integration_inactive",
        /// The integration is in its maintenance window.
        MaintenanceWindow = "maintenance_window",
        /// No worker is alive.
        NoWorker = "no_worker",
        /// It is due, and waits for a free place.
        Capacity = "capacity",
    }
}

/// What a command really waits for, where that is not its own time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hold {
    /// Which kind, as a name.
    pub reason: HoldReason,
    /// It does not run before this moment; `None` where the end of the hold is not a matter of
    /// time.
    pub until: Option<DateTime<Utc>>,
    /// As people read it, with what ends it.
    pub text: String,
}

impl Hold {
    fn new(
        reason: HoldReason,
        until: Option<DateTime<Utc>>,
        text: impl Into<String>,
    ) -> Option<Self> {
        Some(Self {
            reason,
            until,
            text: text.into(),
        })
    }

    /// What holds a command that is due at `due`. `lane` is its integration; a command of none, or
    /// one that changes its integration, is held by the lack of a worker or of a place alone.
    /// `doubtful`: an attempt of unknown outcome stands behind it, so no refusal ends it.
    #[must_use]
    pub fn of(
        lane: Option<&LaneState>,
        due: DateTime<Utc>,
        now: DateTime<Utc>,
        doubtful: bool,
        worker_lives: bool,
    ) -> Option<Self> {
        // In the order in which a worker asks: the circuits before it claims, the gates when it
        // runs.
        let held = lane.and_then(|lane| {
            lane.circuit(due, now)
                .or_else(|| lane.gate(due.max(now), doubtful))
        });
        held.or_else(|| {
            if due > now {
                return None;
            }
            if worker_lives {
                let text =
                    "it is due and waits for a free place (dispatch.max_in_flight_per_integration)";
                return Self::new(HoldReason::Capacity, None, text);
            }
            let text = "it is due, and no worker is alive: `ticketwire run`";
            Self::new(HoldReason::NoWorker, None, text)
        })
    }
}

impl LaneState {
    /// What keeps its commands from being claimed.
    fn circuit(&self, due: DateTime<Utc>, now: DateTime<Utc>) -> Option<Hold> {
        let open = self.open_until.filter(|until| *until > now);
        let paused = self.paused.as_ref().filter(|(until, _)| *until > now);
        let ends = open.max(paused.map(|(until, _)| *until));
        if let Some(until) = ends {
            if until < due {
                return None;
            }
            // A maintenance window at that time puts it off further.
            if let Some(hold) = self.window(until) {
                return Some(hold);
            }
            if open == Some(until) {
                let text = format!(
                    "the integration's circuit is open after {} failures in a row; then one \
                     command tries (circuit.open_for)",
                    self.failures
                );
                return Hold::new(HoldReason::CircuitOpen, Some(until), text);
            }
            let by = paused.map(|(_, by)| by.as_str()).unwrap_or_default();
            let text = format!("the integration is paused by its platform's rate limit ({by})");
            return Hold::new(HoldReason::Paused, Some(until), text);
        }
        if due > now {
            return None;
        }
        if self.open_until.is_some() {
            let text = "the integration's circuit was open; one command at a time finds out \
                        whether its platform is back";
            return Hold::new(HoldReason::CircuitHalfOpen, None, text);
        }
        self.paused.as_ref()?;
        let text = "the integration's pause is over; one command at a time finds out whether \
                    its platform takes requests again";
        Hold::new(HoldReason::PauseOver, None, text)
    }

    /// What a command that runs at `at` meets at the gates.
    fn gate(&self, at: DateTime<Utc>, doubtful: bool) -> Option<Hold> {
        let follows = if doubtful {
            "it stays in doubt until then"
        } else {
            "it is refused when it runs before that"
        };
        if self.enabled && self.parked_at.is_some() {
            let text = "the integration's credential was refused: mend it, and `ticketwire \
                        integration test` lets its commands go on";
            return Hold::new(HoldReason::CredentialRefused, None, text);
        }
        if !self.enabled {
            let text = format!(
                "the integration is disabled: `ticketwire integration enable` it; {follows}"
            );
            return Hold::new(HoldReason::IntegrationDisabled, None, text);
        }
        if self.status == Some(IntegrationStatus::Expired)
            || self.expires_at.is_some_and(|expiry| expiry <= at)
        {
            let text = format!("the integration's credentials have expired: renew them; {follows}");
            return Hold::new(HoldReason::IntegrationExpired, None, text);
        }
        if let Some(status) = self.status.filter(|s| *s != IntegrationStatus::Active) {
            let text = format!(
                "the integration is {status}, not active: `ticketwire integration test` \
                 activates it when its tests pass; {follows}"
            );
            return Hold::new(HoldReason::IntegrationInactive, None, text);
        }
        self.window(at)
    }

    fn window(&self, at: DateTime<Utc>) -> Option<Hold> {
        let (start, end) = &self.maintenance;
        let until = maintenance_until(start.as_deref(), end.as_deref(), at)?;
        let text = "the integration is in its maintenance window (maintenance_window_end)";
        Hold::new(HoldReason::MaintenanceWindow, Some(until), text)
    }
}

/// The end of the daily window from `start` to `end` (`HH:MM` UTC), if `now` is in it; a window may
/// go over midnight. An unreadable one is none.
#[must_use]
pub fn maintenance_until(
    start: Option<&str>,
    end: Option<&str>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let clock = |text: Option<&str>| NaiveTime::parse_from_str(text?, "%H:%M").ok();
    let (start, end) = (clock(start)?, clock(end)?);
    let time = now.time();
    let inside = if start <= end {
        start <= time && time < end
    } else {
        time >= start || time < end
    };
    if !inside {
        return None;
    }
    let today = now.date_naive().and_time(end).and_utc();
    Some(if today > now {
        today
    } else {
        today + chrono::Duration::days(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .with_timezone(&Utc)
    }

    fn minutes(count: i64) -> chrono::Duration {
        chrono::Duration::minutes(count)
    }

    fn sound() -> LaneState {
        LaneState {
            enabled: true,
            status: Some(IntegrationStatus::Active),
            expires_at: None,
            parked_at: None,
            maintenance: (None, None),
            failures: 0,
            open_until: None,
            paused: None,
        }
    }

    #[test]
    fn a_maintenance_window_may_go_over_midnight() {
        let (late, early) = (Some("22:30"), Some("02:00"));
        let until = maintenance_until;

        assert_eq!(until(late, early, at("2026-01-31T22:29:59Z")), None);
        assert_eq!(
            until(late, early, at("2026-01-31T22:30:00Z")),
            Some(at("2026-02-01T02:00:00Z"))
        );
        assert_eq!(
            until(late, early, at("2026-02-01T01:59:59Z")),
            Some(at("2026-02-01T02:00:00Z"))
        );
        assert_eq!(until(late, early, at("2026-02-01T02:00:00Z")), None);
        assert_eq!(
            until(early, late, at("2026-02-01T12:00:00Z")),
            Some(at("2026-02-01T22:30:00Z"))
        );
        assert_eq!(
            until(Some("half past"), late, at("2026-02-01T12:00:00Z")),
            None
        );
    }

    #[test]
    fn what_holds_a_command_is_what_a_worker_asks_last() {
        let now = at("2026-01-31T12:00:00Z");
        let (past, soon) = (now - minutes(5), now + minutes(5));
        let of = |lane: &LaneState, due| {
            Hold::of(Some(lane), due, now, false, true).map(|hold| (hold.reason, hold.until))
        };
        assert_eq!(of(&sound(), soon), None);
        assert_eq!(of(&sound(), past), Some((HoldReason::Capacity, None)));

        let open = LaneState {
            open_until: Some(soon),
            paused: Some((now + minutes(2), "Retry-After: 120 s".into())),
            ..sound()
        };
        assert_eq!(of(&open, past), Some((HoldReason::CircuitOpen, Some(soon))));
        // Its own time is later still.
        assert_eq!(of(&open, now + minutes(9)), None);

        let paused = LaneState {
            open_until: Some(past),
            ..open
        };
        let until = Some(now + minutes(2));
        assert_eq!(of(&paused, past), Some((HoldReason::Paused, until)));
        assert_eq!(
            of(&paused, now + minutes(1)),
            Some((HoldReason::Paused, until))
        );

        let half_open = LaneState {
            paused: None,
            ..paused
        };
        let half = Some((HoldReason::CircuitHalfOpen, None));
        assert_eq!(of(&half_open, past), half);
        assert_eq!(of(&half_open, soon), None);
        let over = LaneState {
            open_until: None,
            paused: Some((past, "Retry-After: 1 s".into())),
            ..sound()
        };
        assert_eq!(of(&over, past), Some((HoldReason::PauseOver, None)));

        let kept = LaneState {
            maintenance: (Some("11:00".into()), Some("13:00".into())),
            ..sound()
        };
        let end = Some(at("2026-01-31T13:00:00Z"));
        assert_eq!(of(&kept, past), Some((HoldReason::MaintenanceWindow, end)));
        assert_eq!(of(&kept, soon), Some((HoldReason::MaintenanceWindow, end)));
        assert_eq!(of(&kept, now + minutes(61)), None);
        let both = LaneState {
            open_until: Some(soon),
            ..kept
        };
        assert_eq!(of(&both, past), Some((HoldReason::MaintenanceWindow, end)));
    }

    #[test]
    fn a_state_that_takes_no_work_is_named_with_what_ends_it() {
        let now = at("2026-01-31T12:00:00Z");
        let of = |lane: LaneState, doubtful| {
            let hold = Hold::of(Some(&lane), now + minutes(5), now, doubtful, true).unwrap();
            assert_eq!(hold.until, None);
            (hold.reason, hold.text)
        };
        let disabled = LaneState {
            enabled: false,
            ..sound()
        };
        let (reason, text) = of(disabled.clone(), false);
        assert_eq!(reason, HoldReason::IntegrationDisabled);
        assert!(
            text.contains("refused") && text.contains("enable"),
            "{text}"
        );
        assert!(of(disabled, true).1.contains("stays in doubt"));
        let expires = LaneState {
            expires_at: Some(now + minutes(3)),
            ..sound()
        };
        assert_eq!(of(expires, false).0, HoldReason::IntegrationExpired);
        let pending = LaneState {
            status: Some(IntegrationStatus::Pending),
            ..sound()
        };
        assert_eq!(of(pending, false).0, HoldReason::IntegrationInactive);
        let parked = LaneState {
            parked_at: Some(now),
            ..sound()
        };
        assert_eq!(of(parked, false).0, HoldReason::CredentialRefused);
    }

    #[test]
    fn without_a_worker_nothing_that_is_due_runs() {
        let now = at("2026-01-31T12:00:00Z");

        let hold = Hold::of(None, now - minutes(1), now, false, false).unwrap();

        assert_eq!(hold.reason, HoldReason::NoWorker);
        assert_eq!(Hold::of(None, now + minutes(1), now, false, false), None);
    }
}
