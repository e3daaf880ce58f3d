//! What came from the platform since a command was given: the newer of two edits stays, and what is
//! said back to where it came from is not said again.

use super::Run;
use crate::contract::{Command, TicketCommand};
use crate::domain::{ErrorCode, Failure};
use crate::pipeline::disposition::{Conclusion, Disposition};
use crate::pipeline::inbound;
use crate::pipeline::retry::Next;
use crate::platforms::{CONFLICT, Driver, LOOP_GUARD, Operation, Receipt};
use crate::store::{StoreError, chain};

impl Run<'_> {
    /// Why an operation is not sent: somebody has changed the same on the platform after the
    /// command was given, or its comment came from there. Asked before each attempt, so that a
    /// repeat long after a lost answer overwrites nobody either.
    pub(super) async fn overtaken(
        &mut self,
        adapter: &Driver,
        operation: &Operation<'_>,
    ) -> Option<Conclusion> {
        let handle = self.handle.as_ref().filter(|handle| handle.is_told)?;
        let settings = &handle.row.settings;
        let (store, ticket) = (&self.core.store, self.job.ticket_id?);
        let found = match operation {
            Operation::Comment { .. } if settings.get(LOOP_GUARD) != Some(&false.into()) => {
                let Command::Ticket(TicketCommand::Comment(comment)) = &*self.job.command else {
                    return None;
                };
                let digest = hex::decode(inbound::digest(&comment.body)).unwrap_or_default();
                let found = store.was_commented(ticket, &digest).await;
                found.map(|found| found.then(came_from_there))
            }
            Operation::Update { .. } | Operation::Status { .. } | Operation::Assign { .. }
                if settings.get(CONFLICT) != Some(&"ours".into()) =>
            {
                let wrote = adapter.wrote(operation, &Receipt::default());
                let base = store.ticket_base(ticket).await;
                base.map(|base| {
                    let at = inbound::overtaken(&base, &wrote, self.job.received_at)?;
                    let text = format!(
                        "the platform's item was changed there at {}, after the command was \
                         given; settings.conflict: ours would send it all the same",
                        at.format("%Y-%m-%d %H:%M:%S UTC")
                    );
                    Some(Failure::new(ErrorCode::Conflict, text))
                })
            }
            Operation::Comment { .. }
            | Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Create { .. }
            | Operation::Attach { .. }
            | Operation::Delete { .. } => return None,
        };
        match found {
            Ok(None) => None,
            Ok(Some(failure)) => Some(self.failed(failure).into()),
            Err(error) => Some(self.without_database(&error).into()),
        }
    }

    fn without_database(&self, error: &StoreError) -> Disposition {
        tracing::warn!(command_id = %self.job.id, error = chain(error),
            "what came from the platform cannot be read yet");
        Disposition::Retry {
            next: Next::without_database(),
            failure: Failure::new(ErrorCode::Internal, "the database is not reachable"),
        }
    }
}

fn came_from_there() -> Failure {
    let text = "the comment came from the platform within the last ten minutes, and was not sent \
                back there (settings.loop_guard)";
    Failure::new(ErrorCode::Conflict, text)
}
