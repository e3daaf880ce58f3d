//! `ticket.bulk_update`: a child command a ticket, and one summary when all of them are done. The
//! parent holds no ticket's turn; its children wait for theirs like any command.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{AdminOutcome, Refusal};
use crate::contract::TicketBulkUpdate;
use crate::domain::{CommandId, CommandState, ErrorCode, Failure, TicketId, Wait, WaitReason};
use crate::pipeline::clock;
use crate::pipeline::context::Core;
use crate::pipeline::job::Job;
use crate::pipeline::retry::{Next, after};
use crate::store::{ArrivalOrder, Child, NewCommand, StoreError, chain};

/// How often a parent looks at its children when nobody wakes it; the last child to finish does.
const POLL: std::time::Duration = std::time::Duration::from_secs(10);

/// Children made in one transaction: others wait for the connection meanwhile.
const CHILDREN_AT_ONCE: usize = 100;

pub(super) async fn run(
    core: &Core,
    job: &Job,
    update: &TicketBulkUpdate,
) -> Result<AdminOutcome, Refusal> {
    let (children, taken) = tend(core, job, update).await.map_err(|error| {
        tracing::warn!(command_id = %job.id, error = chain(&error),
            "cannot see to the children yet");
        let failure = Failure::new(ErrorCode::Internal, "the database is not reachable");
        Refusal::Later(failure, None)
    })?;
    let by_ticket: HashMap<Uuid, &Child> = children
        .iter()
        .filter_map(|child| Some((child.ticket_id?, child)))
        .collect();
    let open = children
        .iter()
        .filter(|child| !child.state.is_final())
        .count();
    if open > 0 || children.len() + taken.len() < update.ticket_ids.len() {
        return Err(Refusal::Waits(Next {
            at: after(clock::now(), POLL),
            wait: Wait::with(WaitReason::Children, open),
        }));
    }
    let of_state =
        |state: CommandState| children.iter().filter(|child| child.state == state).count();
    let tickets: Vec<Value> = update
        .ticket_ids
        .iter()
        .filter_map(|ticket| by_ticket.get(&ticket.uuid()).map(|child| (ticket, child)))
        .map(|(ticket, child)| {
            let error = child
                .error
                .as_deref()
                .filter(|_| child.state != CommandState::Succeeded)
                .and_then(|text| serde_json::from_str::<Value>(text).ok());
            json!({ "ticket_id": ticket, "command_id": child.id, "outcome": child.state,
                "error": error })
        })
        .chain(taken.iter().map(|(ticket, id)| {
            let text = "another command has the id that this ticket's change would have; send \
                        ticket.update";
            let error = Failure::new(ErrorCode::Conflict, text).finally();
            json!({ "ticket_id": ticket, "command_id": id, "outcome": "failed", "error": error })
        }))
        .collect();
    let succeeded = of_state(CommandState::Succeeded);
    let total = children.len() + taken.len();
    Ok(AdminOutcome {
        handle: None,
        result: json!({
            "total": total, "succeeded": succeeded,
            "failed": of_state(CommandState::Failed) + taken.len(),
            "cancelled": of_state(CommandState::Cancelled), "success": succeeded == total,
            "reason": update.reason, "tickets": tickets,
        }),
        effect: None,
    })
}

/// The children as they stand; those that are missing are made first. Their ids are derived, so
/// nothing is made twice; where another command has such an id already, whoever sent that knew it
/// beforehand, and the child cannot be made.
async fn tend(
    core: &Core,
    job: &Job,
    update: &TicketBulkUpdate,
) -> Result<(Vec<Child>, Vec<(TicketId, CommandId)>), StoreError> {
    let children = core.store.children(job.id).await?;
    if children.len() >= update.ticket_ids.len() {
        return Ok((children, Vec::new()));
    }
    let rows: Vec<NewCommand> = update
        .ticket_ids
        .iter()
        .map(|ticket| child(job, update, *ticket))
        .collect();
    let rows: Vec<&NewCommand> = rows.iter().collect();
    for part in rows.chunks(CHILDREN_AT_ONCE) {
        loop {
            match core.store.enqueue_rest(part, ArrivalOrder::Free).await {
                Ok(_) => break,
                Err(StoreError::Contention(error)) => {
                    tracing::debug!(error = %error, "lost a race for a turn; again");
                }
                Err(error) => return Err(error),
            }
        }
    }
    core.due.notify_one();
    let children = core.store.children(job.id).await?;
    let made: HashSet<Uuid> = children.iter().map(|child| child.id).collect();
    let taken: Vec<(TicketId, CommandId)> = rows
        .iter()
        .filter(|row| !made.contains(&row.id.uuid()))
        .filter_map(|row| Some((row.ticket_id?, row.id)))
        .collect();
    if !taken.is_empty() {
        tracing::warn!(
            command_id = %job.id, taken = taken.len(),
            "other commands have the ids of some children of a bulk change; these fail"
        );
    }
    Ok((children, taken))
}

fn child(job: &Job, update: &TicketBulkUpdate, ticket: TicketId) -> NewCommand {
    let id = CommandId::new(job.id.derive(&ticket.to_string()));
    let mut data = update.child_data.clone();
    data.insert("ticket_id".into(), json!(ticket));
    let data = Value::Object(data).to_string();
    NewCommand {
        id,
        command_type: update.child_type.as_str(),
        organization_id: job.organization_id,
        integration_id: None,
        ticket_id: Some(ticket),
        lane: None,
        creates: false,
        older_digests: Vec::new(),
        digest: Sha256::new()
            .chain_update(update.child_type.as_str())
            .chain_update([0])
            .chain_update(job.organization_id.uuid().as_bytes())
            .chain_update(&data)
            .finalize()
            .to_vec(),
        data,
        expires_at: job.expires_at,
        traceparent: job.trace.parent.clone(),
        tracestate: job.trace.state.clone(),
        parent: Some(job.id),
        doubt_since: None,
    }
}
