//! Commands that a command leaves behind for what could not be done of it now.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Run;
use crate::contract::CommandType;
use crate::domain::CommandId;
use crate::pipeline::job::Job;
use crate::store::{ArrivalOrder, NewCommand, StoreError};

/// A command of the same ticket. Its id is derived from the parent's and `name`, so it is made
/// once.
pub(super) fn child_of(job: &Job, kind: CommandType, name: &str, data: &Value) -> NewCommand {
    let data = data.to_string();
    NewCommand {
        id: CommandId::new(job.id.derive(name)),
        command_type: kind.as_str(),
        organization_id: job.organization_id,
        integration_id: None,
        ticket_id: job.ticket_id,
        lane: None,
        creates: false,
        digest: Sha256::digest(&data).to_vec(),
        older_digests: Vec::new(),
        data,
        expires_at: None,
        traceparent: job.trace.parent.clone(),
        tracestate: job.trace.state.clone(),
        parent: Some(job.id),
        doubt_since: None,
    }
}

impl Run<'_> {
    /// Stores a child. `None` where another command has its id.
    pub(super) async fn child(&self, row: &NewCommand) -> Result<Option<CommandId>, StoreError> {
        loop {
            match self
                .core
                .store
                .enqueue_rest(&[row], ArrivalOrder::Free)
                .await
            {
                // Whoever knew the id beforehand may have sent another command under it.
                Ok(phase)
                    if phase
                        .repeats
                        .iter()
                        .any(|repeat| repeat.digest != row.digest) =>
                {
                    tracing::warn!(
                        command_id = %self.job.id, child = %row.id,
                        "another command has the id of the one for what is left to do"
                    );
                    return Ok(None);
                }
                Ok(_) => return Ok(Some(row.id)),
                Err(StoreError::Contention(error)) => {
                    tracing::debug!(error = %error, "lost a race for a turn; again");
                }
                Err(error) => return Err(error),
            }
        }
    }
}
