//! Where a command is in its life, and what it waits for.

super::wire_enum! {
    /// Where a command is in its life; the column `commands.state`.
    CommandState {
        /// Stored and not begun, or put back without a result.
        Pending = "pending",
        /// A worker has it.
        Running = "running",
        /// It was tried, or a gate put it off; it runs again.
        Deferred = "deferred",
        /// Done.
        Succeeded = "succeeded",
        /// Ended without success.
        Failed = "failed",
        /// Ended by an operator.
        Cancelled = "cancelled",
    }
}

impl CommandState {
    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Deferred => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

super::wire_enum! {
    /// What decided when a command runs next; the column `commands.wait_reason`. [`Wait`] makes the
    /// sentence.
    WaitReason {
        /// The configured schedule; the detail is the index.
        RetrySchedule = "retry_schedule",
        /// The platform's `Retry-After`; the detail is its seconds.
        RetryAfter = "retry_after",
        /// The platform refused by its rate limit and named no time.
        PlatformRateLimit = "platform_rate_limit",
        /// Our own limit of the integration: a slot is reserved for the command, which has it when
        /// it comes back.
        RateLimitPerHour = "rate_limit_per_hour",
        /// The integration's credential was refused, and its setting says that commands wait for a
        /// better one.
        CredentialRefused = "credential_refused",
        /// The integration is in its maintenance window.
        MaintenanceWindow = "maintenance_window",
        /// The platform's look-up schedule; the detail is the number of the look-up.
        LookUpSchedule = "look_up_schedule",
        /// `dispatch.settle_after`; the detail is the number of the look-up.
        SettleAfter = "settle_after",
        /// An outcome is unknown and cannot be looked up now.
        UnknownOutcome = "unknown_outcome",
        /// An outcome is unknown, and the platform refuses the look-up: the credential is bad, or
        /// may not read; the detail is the HTTP status, where there is one.
        LookUpRefused = "look_up_refused",
        /// The ticket is not known yet.
        TicketUnknown = "ticket_unknown",
        /// Routing has chosen the integration, and the command goes into its lane.
        Routed = "routed",
        /// A bulk change waits for its children; the detail is how many are open.
        Children = "children",
        /// The database could not be read or written.
        DatabaseUnavailable = "database_unavailable",
        /// The integration changed after the command read it.
        IntegrationChanged = "integration_changed",
        /// What came back from the platform concerns what we are writing there right now.
        OwnWrite = "own_write",
        /// What came back from the platform is read there again, as its order is not certain.
        ReadAgain = "read_again",
        /// The worker that held it stopped in good order.
        WorkerStopped = "worker_stopped",
        /// The process that ran it died.
        WorkerDied = "worker_died",
        /// A sync has done a step and goes on; the detail is how many items it has seen so far.
        SyncGoesOn = "sync_goes_on",
        /// Another sync of the integration is under way.
        SyncUnderWay = "sync_under_way",
        /// A sync has used its share of the platform's budget (`sync.budget`).
        SyncBudget = "sync_budget",
        /// `ticketwire command retry`.
        CommandRetry = "command_retry",
        /// `ticketwire command resolve --did-not-happen`: a person settled the doubt, and it is
        /// sent again.
        Resolved = "resolved",
    }
}

/// What decided when a command runs next, with what its sentence needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Which kind.
    pub reason: WaitReason,
    /// An index, a count or seconds, as the reason has it.
    pub detail: Option<i32>,
}

impl Wait {
    /// A reason that needs no detail.
    #[must_use]
    pub const fn of(reason: WaitReason) -> Self {
        Self {
            reason,
            detail: None,
        }
    }

    /// A reason with its detail; what is beyond the column is its largest value.
    #[must_use]
    pub fn with(reason: WaitReason, detail: impl TryInto<i32>) -> Self {
        Self {
            reason,
            detail: Some(detail.try_into().unwrap_or(i32::MAX)),
        }
    }

    /// As stored. `None` where nothing is stored, or by a version with more reasons.
    #[must_use]
    pub fn stored(reason: Option<&str>, detail: Option<i32>) -> Option<Self> {
        let reason = WaitReason::parse(reason?)?;
        Some(Self { reason, detail })
    }
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let detail = self.detail.unwrap_or_default();
        match self.reason {
            WaitReason::RetrySchedule => write!(f, "retry.schedule[{detail}]"),
            WaitReason::RetryAfter => write!(f, "Retry-After: {detail} s"),
            WaitReason::PlatformRateLimit => {
                f.write_str("the platform's rate limit (it named no time)")
            }
            WaitReason::RateLimitPerHour => f.write_str("rate_limit_per_hour"),
            WaitReason::CredentialRefused => f.write_str("settings.on_auth_failure"),
            WaitReason::MaintenanceWindow => f.write_str("maintenance_window_end"),
            WaitReason::LookUpSchedule => {
                write!(f, "look-up {detail} of the platform's look-up schedule")
            }
            WaitReason::SettleAfter => write!(f, "look-up {detail} (dispatch.settle_after)"),
            WaitReason::UnknownOutcome => f.write_str("look-up of an unknown outcome"),
            WaitReason::LookUpRefused => {
                f.write_str("look-up of an unknown outcome; the last one was refused")?;
                self.detail
                    .map_or(Ok(()), |status| write!(f, " (HTTP {status})"))
            }
            WaitReason::TicketUnknown => f.write_str("the ticket is not known yet"),
            WaitReason::Routed => f.write_str("routing has chosen the integration"),
            WaitReason::Children => write!(f, "{detail} of its commands are not done"),
            WaitReason::DatabaseUnavailable => f.write_str("the database is not reachable"),
            WaitReason::IntegrationChanged => {
                f.write_str("the integration changed after the command read it")
            }
            WaitReason::OwnWrite => f.write_str("our own write of the same ticket is under way"),
            WaitReason::ReadAgain => {
                f.write_str("the item is read again, as it changed at about the same time")
            }
            WaitReason::WorkerStopped => f.write_str("the worker that held it stopped"),
            WaitReason::WorkerDied => f.write_str("the process that ran it died"),
            WaitReason::SyncGoesOn => write!(f, "the sync goes on: {detail} items so far"),
            WaitReason::SyncUnderWay => f.write_str("another sync of the integration is under way"),
            WaitReason::SyncBudget => f.write_str("sync.budget"),
            WaitReason::CommandRetry => f.write_str("command retry"),
            WaitReason::Resolved => {
                f.write_str("a person said that it did not happen (command resolve)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_reason_comes_back_as_its_sentence() {
        for reason in WaitReason::ALL {
            let wait = Wait::with(*reason, 2);

            let stored = Wait::stored(Some(wait.reason.as_str()), wait.detail);

            assert_eq!(stored, Some(wait));
            assert!(!wait.to_string().is_empty());
        }
        assert_eq!(Wait::stored(Some("of a later version"), None), None);
        assert_eq!(Wait::stored(None, Some(1)), None);
    }

    #[test]
    fn a_detail_beyond_the_column_is_its_largest_value() {
        let wait = Wait::with(WaitReason::RetryAfter, u64::MAX);

        assert_eq!(wait.to_string(), "Retry-After: 2147483647 s");
    }
}
