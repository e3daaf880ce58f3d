//! Writes what happened, in batches that form by themselves: while one is being written, the next
//! gathers.

pub(super) mod circuits;
mod inbound;
mod salvage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::contract::{Outcome, turned_into_failure};
use crate::domain::{CommandId, CommandState, ErrorCode, Failure, IntegrationId};
use crate::pipeline::context::{Core, DoneQueue};
use crate::pipeline::disposition::{Completed, Completion};
use crate::pipeline::patience::Patience;
use crate::store::{
    CircuitTally, EventRecord, Followed, LedgerChange, OutboxBatch, OutboxKey, OutboxRow, Report,
    SettledBatch, Settlement, StoreError, UsageTally, chain,
};
use crate::telemetry::{failpoint, metrics};

/// Most settlements a transaction.
const BATCH_MAX: usize = 256;
/// For the log, while Postgres is away.
const NOT_YET: &str = "could not settle yet";

/// Settles until `stop` fires and the queues are empty. Two transactions at a time: with one,
/// PostgreSQL works on a single core while the others wait for it (docs/performance.md). What
/// changes something of ours has a third.
pub async fn run_settle(core: Arc<Core>, queue: DoneQueue, stop: CancellationToken) {
    let [first, second, admin, inbound] = queue.0;
    // On the heap: they are big.
    tokio::join!(
        Box::pin(settle_from(&core, first, &stop)),
        Box::pin(settle_from(&core, second, &stop)),
        settle_from(&core, admin, &stop),
        Box::pin(inbound::settle_from(&core, inbound, &stop))
    );
}

async fn settle_from(core: &Arc<Core>, mut queue: Receiver<Completed>, stop: &CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        let received = tokio::select! {
            received = queue.recv_many(&mut batch, BATCH_MAX) => received,
            () = stop.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        if received == 0 {
            return;
        }
        let mut plain = Plain::default();
        for completed in batch.drain(..) {
            let Completed {
                completion,
                usage,
                circuit,
            } = completed;
            match completion {
                Completion::Plain(settlement) => plain.add(settlement, usage, circuit),
                // It has a queue of its own.
                Completion::Inbound(run) => inbound::settle(core, vec![*run]).await,
                Completion::WithChange {
                    settlement,
                    change,
                    if_refused,
                    if_stale,
                } => {
                    if let Some((id, circuit)) = circuit {
                        tally(core, HashMap::from([(id, circuit)])).await;
                    }
                    let usage: Vec<_> = usage.into_iter().collect();
                    let instead = (*if_refused, *if_stale);
                    settle_with_change(core, settlement, &change, &usage, instead).await;
                }
            }
        }
        if !plain.settlements.is_empty() {
            settle_plain(core, plain).await;
        }
    }
}

/// What is settled together.
#[derive(Default)]
struct Plain {
    settlements: Vec<Settlement>,
    usage: HashMap<IntegrationId, UsageTally>,
    circuits: HashMap<IntegrationId, CircuitTally>,
}

impl Plain {
    fn add(
        &mut self,
        settlement: Settlement,
        usage: Option<(IntegrationId, UsageTally)>,
        circuit: Option<(IntegrationId, CircuitTally)>,
    ) {
        if let Some((id, tally)) = usage {
            let sum = self.usage.entry(id).or_default();
            sum.succeeded += tally.succeeded;
            sum.failed += tally.failed;
            sum.last_error = tally.last_error.or_else(|| sum.last_error.take());
        }
        if let Some((id, tally)) = circuit {
            self.circuits.entry(id).or_default().add(&tally);
        }
        self.settlements.push(settlement);
    }
}

async fn settle_plain(core: &Arc<Core>, plain: Plain) {
    let Plain {
        mut settlements,
        usage,
        circuits,
    } = plain;
    // Sorted, so that two batches never lock in opposite orders.
    // By their keys: a settlement is a kilobyte, which sorting itself would move about.
    settlements.sort_by_cached_key(|settlement| settlement.id);
    let usage: Vec<(IntegrationId, UsageTally)> = usage.into_iter().collect();
    write(core, settlements, &usage).await;
    tally(core, circuits).await;
}

/// Writes a batch; a refused one is split until the row at fault stands alone.
async fn write(core: &Arc<Core>, batch: Vec<Settlement>, usage: &[(IntegrationId, UsageTally)]) {
    let mut pending = vec![(batch, usage)];
    let mut patience = Patience::new(NOT_YET);
    // Whether an earlier try may have been committed.
    let mut again = false;
    while let Some((mut part, part_usage)) = pending.pop() {
        let began = Instant::now();
        match core
            .store
            .settle(
                core.me.id,
                &core.me.worker,
                &part,
                (part_usage, again),
                async |settled| {
                    metrics::batch("settle", part.len(), began.elapsed());
                    after_commit(core, &part, settled).await;
                },
            )
            .await
        {
            Ok(followed) => follow(core, followed),
            Err(error) if error.is_refusal() && part.len() > 1 => {
                tracing::warn!(
                    error = chain(&error),
                    rows = part.len(),
                    "a settlement batch was refused; splitting it"
                );
                let right = part.split_off(part.len() / 2);
                pending.push((right, &[]));
                pending.push((part, part_usage));
            }
            Err(error) if error.is_refusal() => {
                for settlement in part {
                    match without_foreign_ticket(core, &settlement).await {
                        Some(failed) => pending.push((vec![failed], part_usage)),
                        None => Box::pin(give_up(core, settlement, &error)).await,
                    }
                }
            }
            Err(error) => {
                pending.push((part, part_usage));
                again = true;
                patience.wait(core, &error).await;
            }
        }
    }
}

/// What a success becomes where another organization has made a ticket of the same id since the
/// gates looked: there can be no row, so it is no success. What the platform made is named in the
/// event.
async fn without_foreign_ticket(core: &Arc<Core>, settlement: &Settlement) -> Option<Settlement> {
    let insert = settlement.ticket_insert.as_ref()?;
    let (id, organization) = (insert.id, settlement.organization_id);
    match core.store.is_foreign_ticket(id, organization).await {
        Ok(true) => {}
        Ok(false) => return None,
        Err(error) => {
            tracing::warn!(command_id = %settlement.id, error = chain(&error),
                "cannot tell why a settlement was refused");
            return None;
        }
    }
    tracing::error!(
        command_id = %settlement.id, ticket_id = %id,
        "the id of the command's ticket is taken: the ticket has no row, and the command fails"
    );
    let text = "this ticket_id cannot be used any more, so the ticket has no row; what the \
                platform made, if anything, is in result; create the ticket under another id";
    let failure = Failure::new(ErrorCode::Conflict, text).finally();
    let events = settlement.events.iter().map(|event| {
        match turned_into_failure(&event.body, &event.routing_key, &failure) {
            Some((body, routing_key)) => EventRecord {
                body: body.into(),
                routing_key,
                ..event.clone()
            },
            None => event.clone(),
        }
    });
    Some(Settlement {
        state: if settlement.is_finished() {
            CommandState::Failed
        } else {
            settlement.state
        },
        error_code: Some(failure.code),
        error: serde_json::to_string(&failure).ok(),
        events: events.collect(),
        ticket_insert: None,
        report: settlement.report.map(|report| Report {
            outcome: Outcome::Failed,
            ..report
        }),
        ..settlement.clone()
    })
}

/// A settlement that Postgres refuses by itself: what it refuses is left out, as little as can be,
/// so that neither the ticket's row is lost nor the command runs for ever.
async fn give_up(core: &Arc<Core>, settlement: Settlement, error: &StoreError) {
    let id = settlement.id;
    tracing::error!(
        command_id = %id, error = chain(error),
        "a settlement was refused; settling what can be kept of it"
    );
    let mut patience = Patience::new(NOT_YET);
    for kept in salvage::reduced(&settlement) {
        loop {
            let kept = std::slice::from_ref(&kept);
            match core
                .store
                .settle(
                    core.me.id,
                    &core.me.worker,
                    kept,
                    (&[], false),
                    async |settled| after_commit(core, kept, settled).await,
                )
                .await
            {
                Ok(followed) => return follow(core, followed),
                Err(error) if error.is_refusal() => {
                    tracing::error!(command_id = %id, error = chain(&error),
                        "refused again; with less");
                    break;
                }
                Err(error) => patience.wait(core, &error).await,
            }
        }
    }
    tracing::error!(command_id = %id, "left running; the next worker that takes over looks it up");
    core.release([id]);
}

/// Settles a command in one transaction with a change of our own tables. `if_refused` and
/// `if_stale` stand in for it where the change cannot be made.
async fn settle_with_change(
    core: &Arc<Core>,
    settlement: Settlement,
    change: &LedgerChange,
    usage: &[(IntegrationId, UsageTally)],
    (if_refused, if_stale): (Settlement, Settlement),
) {
    let mut patience = Patience::new(NOT_YET);
    loop {
        match core
            .store
            .settle_with(core.me.id, &core.me.worker, &settlement, usage, change)
            .await
        {
            Ok(Some((settled, followed))) => {
                after_commit(core, std::slice::from_ref(&settlement), settled).await;
                return follow(core, followed);
            }
            Ok(None) => return write(core, vec![if_stale], usage).await,
            Err(error) if error.is_refusal() => {
                tracing::error!(command_id = %settlement.id, error = chain(&error),
                    "a command's change was refused");
                return write(core, vec![if_refused], usage).await;
            }
            Err(error) => patience.wait(core, &error).await,
        }
    }
}

/// Publishes from memory what was committed, and lets go of the commands.
async fn after_commit(core: &Arc<Core>, batch: &[Settlement], settled: SettledBatch) {
    failpoint("after_settle").await;
    let fresh: HashMap<CommandId, bool> = settled
        .settled
        .iter()
        .map(|s| (s.id, !s.older_unsent))
        .collect();
    let mut rows = Vec::new();
    let mut single_event = OutboxBatch {
        id: settled.batch,
        rows: Vec::with_capacity(batch.len()),
    };
    for settlement in batch {
        let rows = if settlement.is_single_event() {
            &mut single_event.rows
        } else {
            &mut rows
        };
        if let Some(report) = settlement
            .report
            .filter(|_| fresh.contains_key(&settlement.id))
        {
            metrics::settled(
                report.command_type,
                report.platform,
                report.outcome.as_str(),
                settlement.error_code.map(ErrorCode::as_str),
                report.seconds,
            );
        }
        match fresh.get(&settlement.id) {
            Some(true) => rows.extend(settlement.events.iter().map(|event| OutboxRow {
                key: OutboxKey {
                    command_id: settlement.id.uuid(),
                    number: event.number,
                    target: String::new(),
                    correlation_id: String::new(),
                },
                routing_key: event.routing_key.clone(),
                body: Arc::clone(&event.body),
            })),
            // An older event of it is unsent: the outbox poller keeps the order.
            Some(false) => {}
            None => tracing::info!(
                command_id = %settlement.id,
                "settled nothing: somebody else has taken the command over, or this was \
                 committed before"
            ),
        }
    }
    rows.extend(settled.extra);
    core.relay.offer_batch(single_event);
    core.relay.offer(rows);
    core.release(batch.iter().map(|settlement| settlement.id));
    if batch.iter().any(|settlement| !settlement.is_finished()) {
        core.due.notify_one();
    }
}

/// Answers callers, and sees to it that whoever got a turn runs.
fn follow(core: &Arc<Core>, followed: Followed) {
    let replies = followed.replies.into_iter().map(|reply| OutboxRow {
        key: OutboxKey {
            command_id: reply.command_id.uuid(),
            number: reply.number,
            target: reply.reply_to.clone(),
            correlation_id: reply.correlation_id,
        },
        routing_key: reply.reply_to,
        body: reply.body.into(),
    });
    core.relay.offer(replies.collect());
    if followed.turns_passed > 0 {
        core.due.notify_one();
    }
}

/// Folds what the batch saw into the circuits, where there is anything to fold.
async fn tally(core: &Arc<Core>, circuits: HashMap<IntegrationId, CircuitTally>) {
    let worth: Vec<(IntegrationId, CircuitTally)> = circuits
        .into_iter()
        .filter(|(id, tally)| tally.is_degraded() || core.is_degraded(*id))
        .collect();
    if worth.is_empty() {
        return;
    }
    for (id, tally) in &worth {
        if tally.is_degraded() {
            core.note_degraded(*id);
        }
    }
    let circuit = &core.config.circuit;
    match core
        .store
        .tally_circuits(
            &worth,
            circuit.failure_threshold,
            circuit.open_for,
            core.config
                .retry
                .schedule
                .first()
                .copied()
                .unwrap_or_default(),
        )
        .await
    {
        Ok(changes) => {
            for change in changes {
                crate::pipeline::settle::circuits::follow(core, &change).await;
            }
            core.due.notify_one();
        }
        // The next failure counts again; a circuit is an optimisation, not a promise.
        Err(error) => tracing::warn!(error = chain(&error), "could not count a circuit"),
    }
}
