//! Keeps what an attempt made ready or got done, before anything builds on it.

use super::Run;
use crate::domain::{ErrorCode, Failure};
use crate::pipeline::disposition::Disposition;
use crate::pipeline::retry::Next;
use crate::store::chain;

impl Run<'_> {
    /// Keeps the progress, so that whoever runs the command next has it.
    pub(super) async fn keep_progress(&mut self) -> Result<(), Disposition> {
        let (id, token) = (self.job.id, self.job.fencing_token);
        let text = serde_json::to_string(&self.job.progress).map_err(|error| {
            tracing::error!(command_id = %id, error = %error, "progress cannot be written as JSON");
            Disposition::Failed(Failure::new(ErrorCode::Internal, "an internal error").finally())
        })?;
        let kept = self
            .core
            .store
            .keep_prepared(id, self.core.me.id, token, &text)
            .await;
        match kept {
            Ok(true) => Ok(()),
            // Taken over meanwhile: the settlement changes nothing, and whoever has it goes on.
            Ok(false) => {
                let text = "the command was taken over by another worker while it ran";
                let failure = Failure::new(ErrorCode::Internal, text);
                Err(self.after_failure(&failure, None, None))
            }
            Err(error) => {
                tracing::warn!(command_id = %id, error = chain(&error),
                    "the progress of a command cannot be kept yet");
                let failure = Failure::new(ErrorCode::Internal, "the database is not reachable");
                let next = Next::without_database();
                Err(Disposition::Retry { next, failure })
            }
        }
    }
}
