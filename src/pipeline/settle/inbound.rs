//! Settles what came from platforms, in batches that form by themselves. Each is decided beside the
//! rows that it is about, in the transaction that writes them.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::{NOT_YET, after_commit, follow, tally, write};
use crate::domain::{CommandId, CommandState, ErrorCode, Failure, WaitReason};
use crate::pipeline::context::Core;
use crate::pipeline::disposition::{Completed, Completion, Disposition};
use crate::pipeline::executor::dispatch::settlement_of;
use crate::pipeline::inbound::{Batch, InboundRun, Outcome, asked};
use crate::pipeline::patience::Patience;
use crate::pipeline::retry::Next;
use crate::store::{Decided, Found, Settlement, chain};
use crate::telemetry::{failpoint, metrics};

/// Most deliveries a transaction.
const BATCH_MAX: usize = 128;
/// When what waits for our own write is looked at again.
const HELD: std::time::Duration = std::time::Duration::from_secs(1);
/// When what has to be read again is read.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(250);

pub(super) async fn settle_from(
    core: &Arc<Core>,
    mut queue: Receiver<Completed>,
    stop: &CancellationToken,
) {
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
        let mut runs = Vec::with_capacity(received);
        for completed in batch.drain(..) {
            if let Some((id, circuit)) = completed.circuit {
                tally(core, std::collections::HashMap::from([(id, circuit)])).await;
            }
            match completed.completion {
                Completion::Inbound(run) => runs.push(*run),
                // Nothing else is sent here; it is written all the same.
                Completion::Plain(settlement) | Completion::WithChange { settlement, .. } => {
                    write(core, vec![settlement], &[]).await;
                }
            }
        }
        runs.sort_by_key(|run| run.job.id);
        settle(core, runs).await;
    }
}

/// Settles some; a batch that is refused is split until the delivery at fault stands alone.
pub(super) async fn settle(core: &Arc<Core>, runs: Vec<InboundRun>) {
    let mut pending = vec![runs];
    let mut patience = Patience::new(NOT_YET);
    while let Some(mut runs) = pending.pop() {
        if runs.is_empty() {
            continue;
        }
        let began = Instant::now();
        let asked = asked(&runs);
        let commands: Vec<(CommandId, i32)> = runs
            .iter()
            .map(|run| (run.job.id, run.job.fencing_token))
            .collect();
        let settling =
            core.store
                .settle_inbound(core.me.id, &core.me.worker, &commands, &asked, |found| {
                    decide(core, &runs, &asked, found)
                });
        match settling.await {
            Ok((settled, followed, settlements)) => {
                failpoint("changes_committed").await;
                metrics::batch("inbound", runs.len(), began.elapsed());
                after_commit(core, &settlements, settled).await;
                // Those that somebody else has taken over are let go of, too.
                core.release(commands.iter().map(|(id, _)| *id));
                follow(core, followed);
            }
            Err(error) if error.is_refusal() && runs.len() > 1 => {
                tracing::warn!(
                    error = chain(&error),
                    deliveries = runs.len(),
                    "a batch of deliveries was refused; splitting it"
                );
                let right = runs.split_off(runs.len() / 2);
                pending.push(right);
                pending.push(runs);
            }
            Err(error) if error.is_refusal() => {
                tracing::error!(command_id = %commands[0].0, error = chain(&error),
                    "what a platform told was refused");
                let text = "the database refused what the platform told; the worker's log has the \
                            details";
                let failure = Failure::new(ErrorCode::Internal, text).finally();
                let refused = runs
                    .iter()
                    .map(|run| settlement_of(core, run, &Disposition::Failed(failure.clone())));
                let refused = refused.collect();
                write(core, refused, &[]).await;
            }
            Err(error) => {
                pending.push(runs);
                patience.wait(core, &error).await;
            }
        }
    }
}

fn decide(
    core: &Arc<Core>,
    runs: &[InboundRun],
    asked: &[crate::store::AskedChange],
    found: Found,
) -> Decided {
    let mut batch = Batch::new(found);
    let mut settlements: Vec<Settlement> = Vec::with_capacity(runs.len());
    let mut first = 0;
    for run in runs {
        if batch.has(run) {
            let outcome = batch.decide(run, asked, first);
            settlements.push(settlement_of(core, run, &disposition(&outcome)));
        }
        first += run.changes.len();
    }
    batch.finish(settlements)
}

fn disposition(outcome: &Outcome) -> Disposition {
    match outcome {
        Outcome::Taken(fates) => Disposition::Succeeded {
            result: Outcome::counts(fates),
            receipt: None,
        },
        Outcome::Waits(reason) => Disposition::Requeue {
            next: Next::in_(
                if *reason == WaitReason::OwnWrite {
                    HELD
                } else {
                    AGAIN
                },
                *reason,
            ),
            state: CommandState::Deferred,
        },
    }
}
