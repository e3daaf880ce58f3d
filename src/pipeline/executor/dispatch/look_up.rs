//! A command in doubt: an attempt of unknown outcome stands behind it, so its mark is looked up
//! before anything is sent.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{DOUBT_MAX, DOUBT_PAUSE, Run};
use crate::domain::{ErrorCode, Failure, OnUnknown, Wait, WaitReason};
use crate::pipeline::clock;
use crate::pipeline::disposition::{Conclusion, Disposition};
use crate::pipeline::retry::{self, Next, after};
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{AdapterError, Driver, ErrorClass, Operation, Protection, Receipt};
use crate::store::CircuitTally;
use crate::telemetry::failpoint;

impl Run<'_> {
    /// Looks for what an attempt of unknown outcome may have made. Spends no attempt.
    pub(super) async fn look_up(
        &mut self,
        adapter: &Driver,
        operation: &Operation<'_>,
    ) -> LookedUp {
        let Some(doubt_since) = self.job.doubt_since else {
            return LookedUp::Nothing;
        };
        let (schedule, upsert) = match self.protection(adapter, operation) {
            Protection::Native => {
                self.job.doubt_since = None;
                return LookedUp::Nothing;
            }
            Protection::None if self.may_send_again() => {
                self.job.progress.sent_again = true;
                return match self.keep_progress().await {
                    Ok(()) => LookedUp::Nothing,
                    Err(disposition) => LookedUp::concluded(disposition),
                };
            }
            Protection::None | Protection::Key { .. } => {
                let failure = unknown_for_good(
                    "the request may have reached the platform, which offers no way to find out",
                );
                return LookedUp::concluded(self.failed(failure));
            }
            Protection::Lookup { schedule, upsert } => (schedule, upsert),
        };
        let look_up_schedule =
            retry::look_up_schedule(schedule, self.core.config.dispatch.settle_after);
        let last = look_up_schedule.last().copied().unwrap_or_default();
        let asked_at = clock::now();
        let elapsed = (asked_at - doubt_since).to_std().unwrap_or_default();
        let lookups = usize::try_from(self.job.lookups).unwrap_or(0);
        if let Some(step) = look_up_schedule.get(lookups)
            && elapsed < *step
        {
            let next = Next {
                at: after(doubt_since, *step),
                wait: self.look_up_wait(lookups),
            };
            return LookedUp::concluded(Disposition::Retry {
                next,
                failure: still_unknown("it is looked up later"),
            });
        }
        let found = {
            let tokens = TokenCache::new(&self.core.tokens, self.handle.as_ref());
            let context = self.context(&tokens);
            adapter.look_up(&context, operation).await
        };
        failpoint("after_answer").await;
        self.job.lookups += 1;
        match found {
            Ok(Some(mut receipt)) => {
                self.circuit = Some(CircuitTally::sound());
                receipt.details.insert("adopted".into(), true.into());
                self.job.doubt_since = None;
                LookedUp::Adopt(Box::new(receipt))
            }
            Ok(None) if elapsed >= last || upsert => {
                self.circuit = Some(CircuitTally::sound());
                self.job.doubt_since = None;
                self.job.lookups = 0;
                LookedUp::Nothing
            }
            Ok(None) => {
                self.circuit = Some(CircuitTally::sound());
                let index = look_up_schedule
                    .iter()
                    .position(|step| *step > elapsed)
                    .unwrap_or(look_up_schedule.len() - 1);
                self.job.lookups = i32::try_from(index).unwrap_or(i32::MAX);
                let step = look_up_schedule.get(index).copied().unwrap_or(last);
                let next = Next {
                    at: after(doubt_since, step),
                    wait: self.look_up_wait(index),
                };
                let text = "not found so far, which proves nothing yet; it is looked up again";
                LookedUp::concluded(Disposition::Retry {
                    next,
                    failure: still_unknown(text),
                })
            }
            Err(error) => {
                tracing::warn!(command_id = %self.job.id, error = %error, "a look-up failed");
                if let ErrorClass::Transient { .. } | ErrorClass::Timeout | ErrorClass::Unknown =
                    error.class
                {
                    self.circuit = Some(CircuitTally {
                        failures: 1,
                        ..CircuitTally::default()
                    });
                }
                let hint = match error.class {
                    ErrorClass::Transient { retry_after }
                    | ErrorClass::RateLimited { retry_after } => retry_after,
                    ErrorClass::Timeout
                    | ErrorClass::Authentication
                    | ErrorClass::Permission
                    | ErrorClass::NotFound
                    | ErrorClass::Gone
                    | ErrorClass::Validation { .. }
                    | ErrorClass::Conflict
                    | ErrorClass::Unsupported
                    | ErrorClass::Egress
                    | ErrorClass::Unknown
                    | ErrorClass::Internal => None,
                };
                let hint = hint.max(self.asked.get());
                if let ErrorClass::RateLimited { .. } = error.class
                    && Self::pauses(error.budget)
                {
                    self.circuit = Some(CircuitTally::paused(hint));
                }
                // Before its step of the schedule it would only come back to be put off, without
                // the reason.
                let made = usize::try_from(self.job.lookups).unwrap_or(usize::MAX);
                let step = look_up_schedule.get(made);
                let step = step.map(|step| after(doubt_since, *step));
                LookedUp::concluded(self.look_up_failed(&error, hint, step))
            }
        }
    }

    /// What keeps the operation from happening twice now: until a request that is sent in this
    /// attempt has surely ended.
    pub(super) fn protection(&self, driver: &Driver, operation: &Operation<'_>) -> Protection {
        let until = after(clock::now(), self.core.config.dispatch.attempt_timeout);
        driver
            .protection_of(operation)
            .until(self.job.received_at, until)
    }

    /// Whether a command of unknown outcome that nothing protects is sent once more: its
    /// integration wants it, and it has not been done.
    pub(super) fn may_send_again(&self) -> bool {
        let row = self.handle.as_ref().map(|handle| &handle.row);
        !self.job.progress.sent_again && row.is_some_and(|row| row.on_unknown() == OnUnknown::Retry)
    }

    /// What follows where the platform could not be asked: the doubt stays, as nothing is proved.
    /// Where the credential is why, and the integration one that waits for a better one, so does
    /// the command. `step` is the moment of the look-up that the schedule has next, if there is
    /// one.
    pub(super) fn look_up_failed(
        &mut self,
        error: &AdapterError,
        hint: Option<Duration>,
        step: Option<DateTime<Utc>>,
    ) -> Conclusion {
        if error.class == ErrorClass::Authentication && self.parks_on_refusal() {
            return self.parks(error.failure());
        }
        let wait = match error.class {
            ErrorClass::Authentication | ErrorClass::Permission => Wait {
                reason: WaitReason::LookUpRefused,
                detail: error.http_status.map(i32::from),
            },
            ErrorClass::Transient { .. }
            | ErrorClass::Timeout
            | ErrorClass::RateLimited { .. }
            | ErrorClass::NotFound
            | ErrorClass::Validation { .. }
            | ErrorClass::Gone
            | ErrorClass::Conflict
            | ErrorClass::Unsupported
            | ErrorClass::Egress
            | ErrorClass::Unknown
            | ErrorClass::Internal => Wait::of(WaitReason::UnknownOutcome),
        };
        let mut disposition = self.still_in_doubt(&error.public, hint, wait);
        if let Disposition::Retry { next, failure } = &mut disposition {
            failure.http_status = error.http_status;
            next.at = step.map_or(next.at, |step| next.at.max(step));
        }
        disposition.into()
    }

    /// A command in doubt that cannot be looked up now: it waits, and after a day ends
    /// `outcome_unknown`.
    pub(super) fn stays_in_doubt(&mut self, why: &str) -> Disposition {
        self.still_in_doubt(why, None, Wait::of(WaitReason::UnknownOutcome))
    }

    fn still_in_doubt(&mut self, why: &str, hint: Option<Duration>, wait: Wait) -> Disposition {
        let now = clock::now();
        let since = self.job.doubt_since.unwrap_or(now);
        let elapsed = (now - since).to_std().unwrap_or_default();
        if elapsed >= DOUBT_MAX {
            return self.failed(unknown_for_good(why));
        }
        // Short at first, as most failures are; a look-up costs the platform little.
        let pause = (elapsed / 4).clamp(Duration::from_secs(1), DOUBT_PAUSE);
        let next = Next {
            at: after(now, pause),
            wait,
        };
        Disposition::Retry {
            next: retry::no_sooner(next, hint, now),
            failure: still_unknown(&format!("it cannot be looked up now: {why}")),
        }
    }

    /// What decides when the look-up of this index is made.
    pub(super) fn look_up_wait(&self, index: usize) -> Wait {
        let reason = if self.core.config.dispatch.settle_after.is_some() {
            WaitReason::SettleAfter
        } else {
            WaitReason::LookUpSchedule
        };
        Wait::with(reason, index + 1)
    }

    pub(super) fn doubt_from(&mut self, moment: DateTime<Utc>) {
        self.job.doubt_since = Some(moment);
        self.job.lookups = 0;
    }
}

pub(super) enum LookedUp {
    /// An earlier attempt made it: this is its receipt.
    Adopt(Box<Receipt>),
    /// Surely nothing was made: go on.
    Nothing,
    /// Neither, so far.
    Concluded(Box<Conclusion>),
}

impl LookedUp {
    fn concluded(conclusion: impl Into<Conclusion>) -> Self {
        Self::Concluded(Box::new(conclusion.into()))
    }
}

pub(super) fn still_unknown(why: &str) -> Failure {
    Failure::new(
        ErrorCode::OutcomeUnknown,
        format!("the request may have reached the platform; {why}"),
    )
}

pub(super) fn unknown_for_good(why: &str) -> Failure {
    let remedy = "look at the platform and settle it with `ticketwire command resolve`";
    Failure::new(
        ErrorCode::OutcomeUnknown,
        format!("nobody knows whether it happened: {why}; {remedy}"),
    )
    .finally()
}
