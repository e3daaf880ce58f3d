//! What becomes of a command that was run: it is done, it fails, it is tried again, or it stays in
//! doubt.

use std::time::Duration;

use super::settlement::result_of;
use super::{DOUBT_PAUSE, Run, mark, operation};
use crate::contract::{Command, TicketCommand};
use crate::domain::{ErrorCode, Failure, Wait, WaitReason};
use crate::pipeline::clock;
use crate::pipeline::disposition::Disposition;
use crate::pipeline::retry::{self, Next, after};
use crate::platforms::{DedupKey, Protection, Receipt};

impl Run<'_> {
    pub(super) fn succeeded(&mut self, mut receipt: Option<Receipt>) -> Disposition {
        if let Some(receipt) = receipt.as_mut().filter(|_| self.job.progress.sent_again) {
            let details = &mut receipt.details;
            details.insert("sent_twice_perhaps".into(), true.into());
        }
        let mut result = result_of(&self.job, receipt.as_ref());
        if let Some(files) = self.files.take() {
            result["partial"] = files
                .iter()
                .any(|file| file["outcome"] != "attached")
                .into();
            result["attachments"] = files.into();
        }
        self.add_analysis(&mut result);
        Disposition::Succeeded {
            result,
            receipt: receipt.map(Box::new),
        }
    }

    /// A refusal by a gate. With an attempt of unknown outcome behind it nothing *ends* a command
    /// here: "nothing was sent" would be a lie.
    pub(super) fn refused(&mut self, failure: Failure) -> Disposition {
        if self.job.doubt_since.is_some()
            && failure.code != ErrorCode::Quarantined
            && self.may_have_made_something()
        {
            return self.stays_in_doubt(&failure.message);
        }
        self.failed(failure)
    }

    /// Whether an attempt behind it may have left something on the platform that was not there
    /// before.
    pub(super) fn may_have_made_something(&self) -> bool {
        if self.job.integration_id.is_none() {
            return false;
        }
        match &*self.job.command {
            Command::Ticket(
                TicketCommand::Create(_)
                | TicketCommand::AiCreate(_)
                | TicketCommand::Comment(_)
                | TicketCommand::Attach(_),
            ) => true,
            // On some platforms any change posts something new.
            Command::Ticket(
                TicketCommand::Update(_)
                | TicketCommand::Status(_)
                | TicketCommand::Assign(_)
                | TicketCommand::Delete(_),
            ) => {
                let integration = self.job.integration.as_ref();
                let adapter = integration.and_then(|handle| handle.adapter.as_ref().ok());
                let (ticket, mark) = (self.ticket_view(), mark(&self.job));
                let key = DedupKey {
                    marker: &mark,
                    received_at: self.job.received_at,
                };
                let operation = operation(&self.job.command, &ticket, key);
                adapter
                    .zip(operation.ok())
                    .is_some_and(|(adapter, operation)| {
                        adapter.protection_of(&operation) != Protection::Native
                    })
            }
            Command::Admin(_)
            | Command::Read(_)
            | Command::Inbound(_)
            | Command::Unsupported(_) => false,
        }
    }

    pub(super) fn failed(&mut self, failure: Failure) -> Disposition {
        // What was done stays done, and the receipt says what is missing.
        if let Some(receipt) = self.partly.take() {
            return self.succeeded(Some(*receipt));
        }
        Disposition::Failed(failure.finally())
    }

    /// A failed attempt that may be made again: by `next` where a look-up comes first, else by
    /// schedule and hint.
    pub(super) fn after_failure(
        &mut self,
        failure: &Failure,
        hint: Option<Duration>,
        next: Option<Next>,
    ) -> Disposition {
        let spent = self.job.attempt + i32::from(self.spent);
        let schedule = &self.core.config.retry.schedule;
        let next = next.or_else(|| {
            let scheduled = retry::next_attempt(
                schedule,
                spent,
                hint,
                rand::random_range(0.0..=1.0),
                clock::now(),
            );
            // The last attempt is looked up too before its command is given up.
            scheduled.or_else(|| {
                self.job.doubt_since.map(|since| Next {
                    at: after(since, DOUBT_PAUSE),
                    wait: Wait::of(WaitReason::UnknownOutcome),
                })
            })
        });
        match next {
            Some(next) => Disposition::Retry {
                next,
                failure: failure.clone(),
            },
            None => self.failed(exhausted(failure)),
        }
    }
}

pub(super) fn exhausted(last: &Failure) -> Failure {
    Failure {
        code: ErrorCode::AttemptsExhausted,
        message: format!(
            "no attempt is left; the last one ended {}: {}",
            last.code, last.message
        ),
        retryable: false,
        http_status: last.http_status,
        fields: last.fields.clone(),
    }
}
