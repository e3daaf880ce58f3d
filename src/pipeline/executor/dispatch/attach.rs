//! Files: each has an outcome of its own, none is attached twice, and what is missing is said.

use serde_json::{Value, json};

use super::children::child_of;
use super::look_up::LookedUp;
use super::{Run, mark};
use crate::contract::{Attachment, CommandType};
use crate::domain::{ErrorCode, Failure, TicketView};
use crate::pipeline::disposition::Conclusion;
use crate::pipeline::job::Job;
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{
    AdapterError, DedupKey, Driver, ErrorClass, Operation, OperationKind, Protection, Receipt, file,
};
use crate::store::{NewCommand, chain};

/// What became of a file.
pub(super) enum FileOutcome {
    Attached { id: Option<String>, adopted: bool },
    Refused(Failure),
}

/// What became of some files.
enum Attached {
    /// Each has its outcome.
    All(Vec<(String, FileOutcome)>),
    /// One could not be brought to an end now: those before it have theirs.
    Stopped(Vec<(String, FileOutcome)>, AdapterError, Culprit),
    /// One is in doubt, and the command waits.
    Concluded(Box<Conclusion>),
}

/// Whose failure it was. A storage that does not answer says nothing of the platform.
enum Culprit {
    Source,
    Platform,
}

impl Run<'_> {
    /// `ticket.attach`
    pub(super) async fn attach(&mut self, adapter: &Driver, files: &[Attachment]) -> Conclusion {
        let ticket = self.ticket_view();
        self.spent = true;
        match self.attach_each(adapter, &ticket, files).await {
            Attached::Concluded(conclusion) => *conclusion,
            Attached::Stopped(files, error, culprit) => {
                self.files = Some(shown(&files));
                if matches!(culprit, Culprit::Platform) {
                    self.tally(&Err(error.clone()));
                }
                let attached = files
                    .iter()
                    .any(|(_, outcome)| matches!(outcome, FileOutcome::Attached { .. }));
                tracing::info!(command_id = %self.job.id, error = %error, attached,
                    "a file could not be attached");
                self.failed_attempt(&adapter.protection(OperationKind::Attach), &error)
            }
            Attached::All(files) => {
                self.files = Some(shown(&files));
                let refused: Vec<&Failure> =
                    files.iter().filter_map(|(_, o)| o.failure()).collect();
                if refused.len() < files.len() {
                    let receipt = Receipt::default();
                    self.tally(&Ok(receipt.clone()));
                    return self.succeeded(Some(receipt)).into();
                }
                let fields = files
                    .iter()
                    .filter_map(|(name, o)| Some((name.clone(), o.failure()?.message.clone())))
                    .collect();
                let text = match refused.as_slice() {
                    [only] => only.message.clone(),
                    _ => format!("none of the {} files could be attached", files.len()),
                };
                let code = refused
                    .first()
                    .map_or(ErrorCode::ValidationFailed, |failure| failure.code);
                self.failed(Failure::new(code, text).with_fields(fields))
                    .into()
            }
        }
    }

    /// The files of a create whose item is there now. What cannot be attached does not undo the
    /// item: it is said, and what another attempt may attach becomes a command of its own.
    pub(super) async fn attach_to_new(
        &mut self,
        adapter: &Driver,
        files: &[Attachment],
        receipt: &mut Receipt,
    ) {
        let mut ticket = self.ticket_view();
        ticket.external_id.clone_from(&receipt.external_id);
        ticket.external_url.clone_from(&receipt.external_url);
        ticket.external_ref.clone_from(&receipt.external_ref);
        let doubt = self.job.doubt_since.take();
        let attached = self.attach_each(adapter, &ticket, files).await;
        self.job.doubt_since = doubt;
        let (mut outcomes, rest, in_doubt) = match attached {
            Attached::All(outcomes) => (shown(&outcomes), Vec::new(), false),
            Attached::Stopped(outcomes, error, culprit) => {
                tracing::info!(command_id = %self.job.id, error = %error,
                    "the item is there, a file of it not yet");
                let rest = files.get(outcomes.len()..).unwrap_or_default().to_vec();
                // Where the file itself was not to be had, nothing was sent.
                let sent = matches!(culprit, Culprit::Platform)
                    && !matches!(error.class, ErrorClass::Internal);
                (shown(&outcomes), rest, sent)
            }
            // Without a doubt of its own nothing is put off; were it so, its files would go by a
            // command of their own.
            Attached::Concluded(_) => (Vec::new(), files.to_vec(), true),
        };
        if !rest.is_empty() {
            let later = self
                .child(&files_later(&self.job, &rest, in_doubt))
                .await
                .unwrap_or_else(|error| {
                    tracing::warn!(command_id = %self.job.id, error = chain(&error),
                        "files of a create are left out");
                    None
                });
            let text = "could not be attached, nor put off; send ticket.attach";
            let error = later
                .is_none()
                .then(|| Failure::new(ErrorCode::Internal, text).finally());
            outcomes.extend(rest.iter().map(|file| {
                json!({ "name": file.name,
                    "outcome": if later.is_some() { "deferred" } else { "failed" },
                        "command_id": later, "error": error })
            }));
        }
        let missing = outcomes
            .iter()
            .filter(|file| file["outcome"] != "attached")
            .count();
        receipt
            .details
            .insert("attachments".into(), outcomes.into());
        if missing > 0 {
            receipt.details.insert("partial".into(), true.into());
        }
    }

    async fn attach_each(
        &mut self,
        adapter: &Driver,
        ticket: &TicketView,
        files: &[Attachment],
    ) -> Attached {
        // Only a command that nobody ran before surely attached nothing yet.
        let ran_before = self.job.fencing_token > 1 || self.job.doubt_since.is_some();
        let protection = adapter.protection(OperationKind::Attach);
        let looks = ran_before && protection != Protection::Native;
        let mark = mark(&self.job);
        let mut outcomes: Vec<(String, FileOutcome)> = Vec::with_capacity(files.len());
        for (number, attachment) in files.iter().enumerate() {
            let name = attachment.name.clone();
            if let Some(id) = self.job.progress.files.get(&number) {
                let (id, adopted) = (id.clone(), false);
                outcomes.push((name, FileOutcome::Attached { id, adopted }));
                continue;
            }
            let fetched = {
                let tokens = TokenCache::new(&self.core.tokens, self.handle.as_ref());
                let context = self.context(&tokens);
                let limit = self.core.config.dispatch.max_attachment_bytes;
                file::fetch(&context, attachment, limit).await
            };
            let file = match fetched {
                Ok(file) => file,
                Err(error) if is_final(&error) => {
                    outcomes.push((name, FileOutcome::Refused(error.failure().finally())));
                    continue;
                }
                // Without the file nothing can be looked for, so the doubt stays. As an attempt it
                // would come back at once when the schedule is used up.
                Err(error) if self.job.doubt_since.is_some() => {
                    let conclusion = self.stays_in_doubt(&error.public).into();
                    return Attached::Concluded(Box::new(conclusion));
                }
                Err(error) => return Attached::Stopped(outcomes, error, Culprit::Source),
            };
            let operation = Operation::Attach {
                ticket,
                file: &file,
                key: DedupKey {
                    marker: &mark,
                    received_at: self.job.received_at,
                },
            };
            if looks {
                let found = {
                    let tokens = TokenCache::new(&self.core.tokens, self.handle.as_ref());
                    let context = self.context(&tokens);
                    adapter.look_up(&context, &operation).await
                };
                match found {
                    Ok(Some(receipt)) => {
                        outcomes.push((name, attached(&receipt, true)));
                        continue;
                    }
                    Ok(None) if self.job.doubt_since.is_none() => {}
                    // The first that is not there is the one in doubt.
                    Ok(None) => match self.look_up(adapter, &operation).await {
                        LookedUp::Adopt(receipt) => {
                            outcomes.push((name, attached(&receipt, true)));
                            continue;
                        }
                        LookedUp::Nothing => {}
                        LookedUp::Concluded(conclusion) => {
                            return Attached::Concluded(conclusion);
                        }
                    },
                    Err(error) if self.job.doubt_since.is_some() => {
                        let conclusion = self.look_up_failed(&error, self.asked.get(), None);
                        return Attached::Concluded(Box::new(conclusion));
                    }
                    Err(error) => return Attached::Stopped(outcomes, error, Culprit::Platform),
                }
            }
            let result = {
                let tokens = TokenCache::new(&self.core.tokens, self.handle.as_ref());
                let context = self.context(&tokens);
                adapter.perform(&context, &operation).await
            };
            crate::telemetry::failpoint("after_answer").await;
            match result {
                Ok(receipt) => {
                    // Where nothing can be looked up, only this keeps the file from being sent
                    // again.
                    if protection == Protection::None && number + 1 < files.len() {
                        let id = receipt.external_attachment_id.clone();
                        self.job.progress.files.insert(number, id);
                        if let Err(disposition) = self.keep_progress().await {
                            return Attached::Concluded(Box::new(disposition.into()));
                        }
                    }
                    outcomes.push((name, attached(&receipt, false)));
                }
                Err(error) if is_final(&error) => {
                    outcomes.push((name, FileOutcome::Refused(error.failure().finally())));
                }
                Err(error) => return Attached::Stopped(outcomes, error, Culprit::Platform),
            }
        }
        Attached::All(outcomes)
    }
}

impl FileOutcome {
    const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Attached { .. } => None,
            Self::Refused(failure) => Some(failure),
        }
    }
}

fn attached(receipt: &Receipt, adopted: bool) -> FileOutcome {
    FileOutcome::Attached {
        id: receipt.external_attachment_id.clone(),
        adopted,
    }
}

/// Whether an error is about this file alone and final; what time, a token or an operator may mend
/// ends the attempt.
const fn is_final(error: &AdapterError) -> bool {
    match error.class {
        ErrorClass::NotFound
        | ErrorClass::Validation { .. }
        | ErrorClass::Conflict
        | ErrorClass::Unsupported
        | ErrorClass::Egress => true,
        ErrorClass::Transient { .. }
        | ErrorClass::Timeout
        | ErrorClass::RateLimited { .. }
        | ErrorClass::Authentication
        | ErrorClass::Permission
        | ErrorClass::Gone
        | ErrorClass::Unknown
        | ErrorClass::Internal => false,
    }
}

/// A command of its own for files that a create could not attach.
fn files_later(job: &Job, files: &[Attachment], in_doubt: bool) -> NewCommand {
    let files: Vec<Value> = files.iter().map(Attachment::to_json).collect();
    let data = json!({ "ticket_id": job.ticket_id, "attachments": files });
    NewCommand {
        doubt_since: in_doubt.then(chrono::Utc::now),
        ..child_of(job, CommandType::TicketAttach, "attach", &data)
    }
}

/// The outcomes for the event.
fn shown(files: &[(String, FileOutcome)]) -> Vec<Value> {
    files
        .iter()
        .map(|(name, outcome)| match outcome {
            FileOutcome::Attached { id, adopted } => json!({
                "name": name, "outcome": "attached", "external_attachment_id": id,
                "adopted": adopted, "error": null,
            }),
            FileOutcome::Refused(failure) => {
                json!({ "name": name, "outcome": "failed", "error": failure })
            }
        })
        .collect()
}
