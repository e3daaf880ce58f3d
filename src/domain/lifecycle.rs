//! The life of an integration: what each event makes of its state. One place; every (status,
//! enabled, event) has a defined result, and `docs/lifecycle.md` is tested against it.

use super::{HealthStatus, Integration, IntegrationStatus, wire_enum};

/// What decides whether an integration takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LifeState {
    /// Whether an operator wants it to work.
    pub enabled: bool,
    /// Connection state.
    pub status: IntegrationStatus,
    /// What the last check said.
    pub health: HealthStatus,
    /// Whether its commands wait for its credential to be mended
    /// (`settings.on_auth_failure = "park"`).
    pub parked: bool,
}

wire_enum! {
    /// What happens to an integration.
    LifeEvent {
        /// An operator wants it to work.
        Enable = "enable",
        /// An operator, or the platform itself, wants it to work no more.
        Disable = "disable",
        /// A test passed, `authentication` among what was tested, and may activate.
        TestActivates = "test_activates",
        /// A test passed that may not activate.
        TestPassed = "test_passed",
        /// A test failed.
        TestFailed = "test_failed",
        /// A check on the schedule passed.
        CheckPassed = "check_passed",
        /// A check on the schedule failed.
        CheckFailed = "check_failed",
        /// `expires_at` passed.
        Expire = "expire",
        /// `expires_at` was moved into the future or taken away.
        Renew = "renew",
        /// Other credentials were given.
        NewCredentials = "new_credentials",
        /// `failure_threshold` failures in a row, with `auto_disable_on_error`.
        TooManyFailures = "too_many_failures",
        /// The credential was refused, with `settings.on_auth_failure = "park"`.
        Park = "park",
    }
}

impl Integration {
    /// What decides whether it takes work.
    #[must_use]
    pub const fn life(&self) -> LifeState {
        LifeState {
            enabled: self.enabled,
            status: self.status,
            health: self.health,
            parked: self.parked_at.is_some(),
        }
    }
}

impl LifeState {
    /// What `event` makes of it. `expired`: whether `expires_at` is in the past by now.
    #[must_use]
    pub const fn after(self, event: LifeEvent, expired: bool) -> Self {
        use IntegrationStatus::{Active, Error, Expired, Inactive, Pending, Suspended};
        match event {
            LifeEvent::Enable => {
                // Enabled but inactive is how the legacy application left many: whoever enables one
                // means it.
                if self.enabled && !matches!(self.status, Inactive) {
                    return self;
                }
                Self {
                    enabled: true,
                    status: self.ready(expired),
                    parked: false,
                    ..self
                }
            }
            LifeEvent::Disable => {
                if !self.enabled {
                    return self;
                }
                Self {
                    enabled: false,
                    status: Inactive,
                    parked: false,
                    ..self
                }
            }
            LifeEvent::TestActivates => {
                let tested = Self {
                    health: HealthStatus::Healthy,
                    ..self
                };
                match (tested.enabled, tested.status) {
                    (true, Pending | Error) => Self {
                        status: tested.ready(expired),
                        parked: false,
                        ..tested
                    },
                    (true, Active | Inactive | Expired | Suspended) | (false, _) => tested,
                }
            }
            LifeEvent::TestPassed => Self {
                health: HealthStatus::Healthy,
                ..self
            },
            LifeEvent::TestFailed | LifeEvent::CheckFailed => Self {
                health: HealthStatus::Unhealthy,
                ..self
            },
            LifeEvent::CheckPassed => {
                let checked = Self {
                    health: HealthStatus::Healthy,
                    ..self
                };
                match (checked.enabled, checked.status) {
                    // Pending is for an operator to end, by a test.
                    (true, Error) => Self {
                        status: checked.ready(expired),
                        parked: false,
                        ..checked
                    },
                    (true, Active | Inactive | Pending | Expired | Suspended) | (false, _) => {
                        checked
                    }
                }
            }
            LifeEvent::Expire => match (self.enabled, self.status) {
                (true, Active | Pending | Error) => Self {
                    status: Expired,
                    parked: false,
                    ..self
                },
                (true, Inactive | Expired | Suspended) | (false, _) => self,
            },
            LifeEvent::Renew => match (self.enabled, self.status) {
                (true, Expired) => Self {
                    status: self.ready(expired),
                    ..self
                },
                (true, Active | Inactive | Pending | Error | Suspended) | (false, _) => self,
            },
            LifeEvent::NewCredentials => {
                // Nobody has seen them work. What was active stays so: a token is replaced while it
                // is in use.
                let unknown = Self {
                    health: HealthStatus::Unknown,
                    ..self
                };
                match (unknown.enabled, unknown.status) {
                    (true, Expired) => Self {
                        status: unknown.ready(expired),
                        ..unknown
                    },
                    (true, Active | Inactive | Pending | Error | Suspended) | (false, _) => unknown,
                }
            }
            LifeEvent::TooManyFailures => match (self.enabled, self.status) {
                (true, Active) => Self {
                    status: Error,
                    ..self
                },
                (true, Inactive | Pending | Error | Expired | Suspended) | (false, _) => self,
            },
            LifeEvent::Park => match (self.enabled, self.status) {
                (true, Active | Error) => Self {
                    status: Error,
                    health: HealthStatus::Unhealthy,
                    parked: true,
                    ..self
                },
                (true, Inactive | Pending | Expired | Suspended) | (false, _) => self,
            },
        }
    }

    /// The status of one that begins to work (contract §6).
    const fn ready(self, expired: bool) -> IntegrationStatus {
        match (expired, self.health) {
            (true, _) => IntegrationStatus::Expired,
            (false, HealthStatus::Healthy) => IntegrationStatus::Active,
            (false, HealthStatus::Unhealthy | HealthStatus::Unknown) => IntegrationStatus::Pending,
        }
    }
}

/// A change of an integration's state, as its events tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub old: LifeState,
    /// After.
    pub new: LifeState,
    /// By what.
    pub event: LifeEvent,
}

impl Transition {
    /// Whether `integration.status.changed` is told.
    #[must_use]
    pub fn changes_status(&self) -> bool {
        self.old.status != self.new.status || self.old.enabled != self.new.enabled
    }

    /// Whether `integration.health.changed` is told.
    #[must_use]
    pub fn changes_health(&self) -> bool {
        self.old.health != self.new.health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(enabled: bool, status: IntegrationStatus, health: HealthStatus) -> LifeState {
        LifeState {
            enabled,
            status,
            health,
            parked: false,
        }
    }

    /// The rules as a table: a row an event and `enabled`, a column a status.
    fn table() -> String {
        let mut text = String::from("| event | enabled |");
        for status in IntegrationStatus::ALL {
            text += &format!(" {status} |");
        }
        text += &format!(
            "\n| --- | --- |{}\n",
            " --- |".repeat(IntegrationStatus::ALL.len())
        );
        for event in LifeEvent::ALL {
            for enabled in [true, false] {
                text += &format!("| `{event}` | {enabled} |");
                for status in IntegrationStatus::ALL {
                    text += &format!(" {} |", cell(enabled, *status, *event));
                }
                text.push('\n');
            }
        }
        text
    }

    /// What comes of it, by what the last check said where that matters.
    fn cell(enabled: bool, status: IntegrationStatus, event: LifeEvent) -> String {
        let of = |health| state(enabled, status, health).after(event, false);
        let (healthy, other) = (of(HealthStatus::Healthy), of(HealthStatus::Unknown));
        assert_eq!(other.status, of(HealthStatus::Unhealthy).status);
        assert_eq!(
            (healthy.enabled, healthy.parked),
            (other.enabled, other.parked)
        );
        let mut text = if healthy.status == other.status {
            healthy.status.to_string()
        } else {
            format!("{} if healthy, else {}", healthy.status, other.status)
        };
        if healthy.enabled != enabled {
            text += if healthy.enabled {
                ", enabled"
            } else {
                ", disabled"
            };
        }
        if healthy.parked {
            text += ", parked";
        }
        if text == status.as_str() {
            "·".into()
        } else {
            text
        }
    }

    #[test]
    fn every_status_and_event_has_a_defined_result_and_the_docs_say_which() {
        let table = table();
        let docs = include_str!("../../docs/lifecycle.md");

        assert!(
            docs.contains(&table),
            "docs/lifecycle.md should hold:\n{table}"
        );
    }

    #[test]
    fn whatever_happens_an_integration_that_is_off_takes_no_work() {
        for event in LifeEvent::ALL {
            for health in HealthStatus::ALL {
                for status in IntegrationStatus::ALL {
                    let after = state(false, *status, *health).after(*event, false);
                    let on = *event == LifeEvent::Enable;
                    assert_eq!(after.enabled, on, "{event}");
                    assert!(on || after.status == *status, "{event}");
                }
            }
        }
    }

    #[test]
    fn what_has_expired_becomes_active_by_nothing() {
        for event in LifeEvent::ALL {
            for status in IntegrationStatus::ALL {
                for health in HealthStatus::ALL {
                    let before = state(*status != IntegrationStatus::Inactive, *status, *health);
                    let after = before.after(*event, true);
                    let was = before.status == IntegrationStatus::Active;
                    assert!(
                        was || after.status != IntegrationStatus::Active,
                        "{event} {status}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_same_twice_changes_nothing_more() {
        for event in LifeEvent::ALL {
            for status in IntegrationStatus::ALL {
                for health in HealthStatus::ALL {
                    let once = state(true, *status, *health).after(*event, false);
                    assert_eq!(once.after(*event, false), once, "{event} {status}");
                }
            }
        }
    }
}
