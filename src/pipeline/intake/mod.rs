//! From delivery to durable command: parse, validate, seal, enqueue, acknowledge. What can never be
//! a command becomes a dead letter and a `rejected` event; reads and dry runs are answered here and
//! leave nothing behind.

pub(super) mod dead_letters;
mod kept;
mod parse;
mod read_limits;
pub(super) mod reads;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::broker::{Consumer, Delivery};
use crate::contract::{Envelope, Rejection, attribute_of};
use crate::domain::{CommandId, ErrorCode, Failure, IntegrationId, OrganizationId, TicketId};
use crate::pipeline::context::Core;
use crate::pipeline::executor::prepare;
use crate::pipeline::intake::dead_letters::{dead_letter, of_delivery};
use crate::pipeline::intake::parse::{Arrival, Kind, raw_of};
pub(in crate::pipeline) use crate::pipeline::intake::parse::{HOOK_HEADERS, HOOK_QUERY};
use crate::pipeline::intake::read_limits::Reads;
use crate::pipeline::job::Job;
use crate::pipeline::patience::Patience;
use crate::store::{
    ArrivalOrder, Enqueued, NewCommand, OutboxKey, OutboxRow, Repeat, StoreError, StoredTicket,
    chain,
};
use crate::telemetry::{failpoint, metrics};

/// Most deliveries a batch.
const BATCH_MAX: usize = 256;
/// How long a command waits for capacity in its lane before it is stored as pending instead: a lane
/// that frees no slot in that time is slow, and those behind it must not wait for it.
const CAPACITY_WAIT: Duration = Duration::from_millis(50);
/// The same while other workers are alive: what this one has no capacity for, they may have.
const CAPACITY_WAIT_WITH_PEERS: Duration = Duration::from_millis(10);
/// Takes commands in until the queue of deliveries ends.
pub async fn run_intake(
    core: Arc<Core>,
    consumer: Arc<Consumer>,
    mut deliveries: mpsc::Receiver<Delivery>,
) {
    let mut waiting: VecDeque<Arrival> = VecDeque::with_capacity(BATCH_MAX);
    let mut fresh = Vec::with_capacity(BATCH_MAX);
    let mut reads = Reads::new();
    loop {
        if waiting.is_empty() {
            if deliveries.recv_many(&mut fresh, BATCH_MAX).await == 0 {
                reads.finish().await;
                return;
            }
        } else {
            while waiting.len() + fresh.len() < BATCH_MAX
                && let Ok(delivery) = deliveries.try_recv()
            {
                fresh.push(delivery);
            }
        }
        if !fresh.is_empty() {
            failpoint("after_delivery").await;
        }
        let now = Instant::now();
        waiting.extend(
            fresh
                .drain(..)
                .map(|delivery| Arrival::read(&core, delivery, now)),
        );
        let count = admitted(&core, &waiting, now);
        if count > 0 {
            let asked = admit(&core, &consumer, waiting.drain(..count).collect()).await;
            reads.start(&core, &consumer, asked).await;
        } else if let Some(first) = waiting.front() {
            // A notification missed costs what is left of the limit.
            let limit = (first.at + capacity_wait(&core)).saturating_duration_since(now);
            drop(tokio::time::timeout(limit, core.capacity_freed.notified()).await);
        }
    }
}

fn capacity_wait(core: &Core) -> Duration {
    if core.lease.peers() > 0 {
        CAPACITY_WAIT_WITH_PEERS
    } else {
        CAPACITY_WAIT
    }
}

/// How many of the waiting, in their order, are stored now. A command starts at once where its
/// integration's lane and the memory have capacity. Otherwise it waits a moment for that and is
/// then stored as pending: what this process cannot run it can still make durable, and a slow
/// platform must not keep the others' commands waiting. Once its lane has a backlog in the ledger,
/// its commands do not wait here at all.
fn admitted(core: &Core, waiting: &VecDeque<Arrival>, now: Instant) -> usize {
    let wait = capacity_wait(core);
    let mut capacities = core.lanes.admission();
    let mut free = core.free_for_admission();
    let fits = |arrival: &&Arrival| {
        let Some(lane) = arrival.lane() else {
            return true;
        };
        let fits = free > 0 && capacities.enter(lane);
        free = free.saturating_sub(1);
        fits || arrival.at + wait <= now
    };
    waiting.iter().take_while(fits).count()
}

/// A valid command on its way into the ledger.
struct Incoming {
    envelope: Envelope,
    row: NewCommand,
    delivery: usize,
}

/// Takes a batch into the ledger, whatever it takes. Returns the reads among it, which are not
/// acknowledged yet.
async fn admit(
    core: &Arc<Core>,
    consumer: &Consumer,
    batch: Vec<Arrival>,
) -> Vec<(Envelope, Delivery)> {
    let mut deliveries = Vec::with_capacity(batch.len());
    let mut commands = Vec::with_capacity(batch.len());
    let mut rejected = Vec::new();
    let mut asked = Vec::new();
    for arrival in batch {
        let delivery = deliveries.len();
        match arrival.kind {
            Kind::Command(command) => {
                let (envelope, row) = *command;
                commands.push(Incoming {
                    envelope,
                    row,
                    delivery,
                });
            }
            Kind::Asked(envelope) => {
                asked.push((*envelope, arrival.delivery));
                continue;
            }
            Kind::Rejected(rejection) => rejected.push((*rejection, delivery)),
        }
        deliveries.push(arrival.delivery);
    }
    let conflicts = enqueue_until_durable(core, commands, &deliveries).await;
    rejected.extend(conflicts);
    metrics::received("read", asked.len());
    metrics::received("rejected", rejected.len());
    if !rejected.is_empty() {
        let letters = rejected
            .iter()
            .filter_map(|(rejection, index)| Some((rejection, deliveries.get(*index)?)));
        let letters: Vec<_> = letters
            .map(|(rejection, delivery)| {
                (rejection, of_delivery(rejection, delivery, &core.config))
            })
            .collect();
        until_durable(core, || dead_letter(core, &letters)).await;
    }
    failpoint("after_enqueue").await;
    consumer.ack(&deliveries);
    asked
}

/// Claims a batch, whatever it takes: repeats are answered, conflicts returned as rejections.
async fn enqueue_until_durable(
    core: &Arc<Core>,
    commands: Vec<Incoming>,
    deliveries: &[Delivery],
) -> Vec<(Rejection, usize)> {
    let mut conflicts = Vec::new();
    let mut seen: HashMap<CommandId, Vec<u8>> = HashMap::new();
    let mut fresh = Vec::with_capacity(commands.len());
    let mut callers = Vec::new();
    for incoming in commands {
        if let Some(reply_to) = &incoming.envelope.reply_to {
            let correlation = incoming.envelope.correlation_id.clone().unwrap_or_default();
            callers.push((incoming.envelope.id, reply_to.clone(), correlation));
        }
        match seen.get(&incoming.envelope.id) {
            None => {
                seen.insert(incoming.envelope.id, incoming.row.digest.clone());
                fresh.push(incoming);
            }
            // A repeat within the batch: the first one's outcome is on its way.
            Some(digest) if *digest == incoming.row.digest => {}
            Some(_) => {
                callers.retain(|(id, reply_to, _)| {
                    *id != incoming.envelope.id
                        || Some(reply_to) != incoming.envelope.reply_to.as_ref()
                });
                conflicts.extend(conflict(incoming, deliveries));
            }
        }
    }
    let mut parts = vec![fresh];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let mut patience = Patience::new("cannot make commands durable yet");
        loop {
            match enqueue(core, &part).await {
                Ok(enqueue) => {
                    conflicts
                        .extend(after_enqueue(core, part, enqueue, &mut callers, deliveries).await);
                    break;
                }
                Err(error) if error.is_refusal() && part.len() > 1 => {
                    tracing::warn!(
                        error = chain(&error),
                        rows = part.len(),
                        "an enqueue was refused; splitting the batch"
                    );
                    let mut left = part;
                    let right = left.split_off(left.len() / 2);
                    parts.push(right);
                    parts.push(left);
                    break;
                }
                Err(error) if error.is_refusal() => {
                    tracing::error!(error = chain(&error), "a command cannot be stored");
                    for incoming in part {
                        let failure = Failure::new(
                            ErrorCode::InvalidCommand,
                            "the database does not take this command's data",
                        );
                        conflicts.extend(rejection_of(incoming, failure, deliveries));
                    }
                    break;
                }
                Err(error) => patience.wait(core, &error).await,
            }
        }
    }
    conflicts
}

/// What came of claiming a batch.
struct EnqueuedBatch {
    repeats: Vec<Repeat>,
    enqueued: HashMap<CommandId, Enqueued>,
    /// Of the integrations' rows.
    versions: HashMap<Uuid, i64>,
    /// As in [`crate::store::Enqueue`].
    tickets: Option<Vec<StoredTicket>>,
}

/// One try. Commands it started are held before anybody else can look for rows that nobody holds.
async fn enqueue(core: &Arc<Core>, part: &[Incoming]) -> Result<EnqueuedBatch, StoreError> {
    // The enqueue takes one command a ticket; those behind it follow in the order of their arrival.
    let mut tickets = HashSet::new();
    let (first, behind): (Vec<&Incoming>, Vec<&Incoming>) = part.iter().partition(|incoming| {
        incoming
            .row
            .ticket_id
            .is_none_or(|ticket| tickets.insert((incoming.row.organization_id, ticket)))
    });
    let rows: Vec<&NewCommand> = first.iter().map(|incoming| &incoming.row).collect();
    let asked: Vec<Uuid> = first
        .iter()
        .filter(|incoming| prepare::needs_ticket(&incoming.envelope.command))
        .filter_map(|incoming| incoming.row.ticket_id.map(TicketId::uuid))
        .collect();
    let (enqueued, tickets) = {
        let _claiming = core.claiming.lock().await;
        let mut capacities = core
            .lanes
            .capacities(core.free_memory(), core.full_organizations());
        if !core.lease.stands() {
            // Durable, but not this process's to run.
            capacities.total = 0;
        }
        let began = Instant::now();
        let enqueue = core
            .store
            .enqueue(&rows, &capacities, core.me.id, &asked)
            .await?;
        metrics::batch("enqueue", rows.len(), began.elapsed());
        let enqueued = enqueue.enqueued;
        let organizations: HashMap<CommandId, OrganizationId> = rows
            .iter()
            .map(|row| (row.id, row.organization_id))
            .collect();
        core.hold(
            enqueued
                .iter()
                .filter(|enqueued| enqueued.running)
                .filter_map(|enqueued| Some((enqueued.id, *organizations.get(&enqueued.id)?))),
        );
        (enqueued, enqueue.tickets)
    };
    let versions = enqueued
        .iter()
        .filter_map(|enqueued| {
            Some((
                enqueued.integration_id?.uuid(),
                enqueued.integration_version?,
            ))
        })
        .collect();
    if enqueued.iter().any(|enqueued| !enqueued.running) {
        let lanes: Vec<Uuid> = enqueued
            .iter()
            .filter(|c| !c.running && !c.waits)
            .filter_map(|c| c.integration_id.map(IntegrationId::uuid))
            .collect();
        let waits_for_capacity = !lanes.is_empty();
        core.lanes.note_backlog(lanes.iter().copied());
        core.lanes.expect_more(lanes);
        core.due.notify_one();
        if waits_for_capacity {
            core.wake_peers();
        }
    }
    offer_turns(core, &rows, &enqueued).await;
    let enqueued: HashMap<CommandId, Enqueued> = enqueued
        .into_iter()
        .map(|enqueued| (enqueued.id, enqueued))
        .collect();
    let mut rest: Vec<&NewCommand> = rows
        .into_iter()
        .filter(|row| !enqueued.contains_key(&row.id))
        .collect();
    rest.extend(behind.iter().map(|incoming| &incoming.row));
    let mut done = EnqueuedBatch {
        repeats: Vec::new(),
        enqueued,
        versions,
        tickets,
    };
    if !rest.is_empty() {
        loop {
            match core.store.enqueue_rest(&rest, ArrivalOrder::Kept).await {
                Ok(phase) => {
                    done.repeats = phase.repeats;
                    if !phase.waiting.is_empty() {
                        core.due.notify_one();
                    }
                    break;
                }
                Err(StoreError::Contention(error)) => {
                    tracing::debug!(error = %error, "lost a race for a turn; again");
                }
                Err(error) => {
                    // What the first statement started is in this process's hands; the next try
                    // finds it a repeat.
                    start(core, part, &done).await;
                    return Err(error);
                }
            }
        }
    }
    Ok(done)
}

/// A turn that was being released while a command came to wait for it would be nobody's until the
/// fallback clock looks.
async fn offer_turns(core: &Core, rows: &[&NewCommand], enqueued: &[Enqueued]) {
    let waiting: HashSet<CommandId> = enqueued
        .iter()
        .filter(|enqueued| enqueued.waits)
        .map(|enqueued| enqueued.id)
        .collect();
    if waiting.is_empty() {
        return;
    }
    let tickets: Vec<_> = rows
        .iter()
        .filter(|row| waiting.contains(&row.id))
        .filter_map(|row| Some((row.organization_id, row.ticket_id?)))
        .collect();
    match core.store.offer_turns(&tickets).await {
        Ok(0) => {}
        Ok(_) => core.due.notify_one(),
        Err(error) => {
            tracing::debug!(
                error = chain(&error),
                "a free turn is left to the fallback clock"
            );
        }
    }
}

async fn start(core: &Arc<Core>, part: &[Incoming], enqueue: &EnqueuedBatch) {
    let jobs: Vec<Job> = part
        .iter()
        .filter_map(|incoming| {
            let enqueued = enqueue
                .enqueued
                .get(&incoming.envelope.id)
                .filter(|enqueued| enqueued.running)?;
            Some(Job::enqueued(incoming.envelope.clone(), enqueued))
        })
        .collect();
    prepare::start(core, jobs, &enqueue.versions, enqueue.tickets.as_deref()).await;
}

async fn after_enqueue(
    core: &Arc<Core>,
    part: Vec<Incoming>,
    enqueue: EnqueuedBatch,
    callers: &mut Vec<(CommandId, String, String)>,
    deliveries: &[Delivery],
) -> Vec<(Rejection, usize)> {
    let repeats: HashMap<CommandId, &Repeat> = enqueue
        .repeats
        .iter()
        .map(|repeat| (repeat.id, repeat))
        .collect();
    metrics::received("repeat", enqueue.repeats.len());
    metrics::received("enqueued", part.len().saturating_sub(enqueue.repeats.len()));
    let mut conflicts = Vec::new();
    let mut jobs = Vec::with_capacity(part.len());
    let mut answers = Vec::new();
    for incoming in part {
        let id = incoming.envelope.id;
        let enqueued = enqueue.enqueued.get(&id);
        if let Some(enqueued) = enqueued.filter(|enqueued| enqueued.running) {
            jobs.push(Job::enqueued(incoming.envelope, enqueued));
        } else if let Some(repeat) = repeats.get(&id) {
            let row = &incoming.row;
            if repeat.digest == row.digest || row.older_digests.contains(&repeat.digest) {
                tracing::debug!(command_id = %id, "a repeat: answered with the first outcome");
                if let Some((body, key)) = &repeat.final_event {
                    answers.push(OutboxRow {
                        key: OutboxKey {
                            command_id: id.uuid(),
                            number: i32::MAX,
                            target: String::new(),
                            correlation_id: String::new(),
                        },
                        routing_key: key.clone(),
                        body: body.as_str().into(),
                    });
                }
            } else {
                callers.retain(|(caller, _, _)| *caller != id);
                conflicts.extend(conflict(incoming, deliveries));
            }
        }
    }
    // Before the jobs run, so that no settlement misses a caller.
    if !callers.is_empty() {
        let waiting = std::mem::take(callers);
        until_durable(core, || answer_callers(core, &waiting)).await;
    }
    if !answers.is_empty() {
        until_durable(core, || core.store.add_events(&answers, core.me.id)).await;
        core.relay.offer(answers);
    }
    prepare::start(core, jobs, &enqueue.versions, enqueue.tickets.as_deref()).await;
    conflicts
}

/// Remembers who waits; answers at once those whose command is finished.
async fn answer_callers(
    core: &Core,
    callers: &[(CommandId, String, String)],
) -> Result<(), StoreError> {
    let finished = core.store.await_replies(callers).await?;
    let mut rows = Vec::new();
    for (id, event, _) in finished {
        rows.extend(callers.iter().filter(|(caller, _, _)| *caller == id).map(
            |(_, reply_to, correlation)| OutboxRow {
                key: OutboxKey {
                    command_id: id.uuid(),
                    number: i32::MAX,
                    target: reply_to.clone(),
                    correlation_id: correlation.clone(),
                },
                routing_key: reply_to.clone(),
                body: event.as_str().into(),
            },
        ));
    }
    if rows.is_empty() {
        return Ok(());
    }
    core.store.add_events(&rows, core.me.id).await?;
    core.relay.offer(rows);
    Ok(())
}

/// Repeats a step that must not be skipped until the database takes it. Only a failure of the
/// connection or a lost race is waited out; a refusal is logged and left, as trying again would not
/// end.
pub(in crate::pipeline) async fn until_durable<F: Future<Output = Result<(), StoreError>>>(
    core: &Core,
    step: impl Fn() -> F,
) {
    let mut patience = Patience::new("the intake waits for the database");
    loop {
        match step().await {
            Ok(()) => return,
            Err(error) if error.is_refusal() => {
                tracing::error!(
                    error = chain(&error),
                    "the database refused a row of the intake"
                );
                return;
            }
            Err(error) => patience.wait(core, &error).await,
        }
    }
}

fn conflict(incoming: Incoming, deliveries: &[Delivery]) -> Option<(Rejection, usize)> {
    let delivery = deliveries.get(incoming.delivery)?;
    let attributes = delivery.named_headers(attribute_of);
    let whole = raw_of(delivery, &attributes).whole();
    Some((incoming.envelope.into_conflict(&whole), incoming.delivery))
}

fn rejection_of(
    incoming: Incoming,
    failure: Failure,
    deliveries: &[Delivery],
) -> Option<(Rejection, usize)> {
    let (rejection, index) = conflict(incoming, deliveries)?;
    Some((
        Rejection {
            failure,
            ..rejection
        },
        index,
    ))
}
