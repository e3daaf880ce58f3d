//! Reads under way beside the intake. The intake never waits for one: what exceeds a limit is
//! answered at once, with the limit that it met.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::broker::{Consumer, Delivery};
use crate::contract::{Command, Envelope, ReadCommand};
use crate::domain::{ErrorCode, Failure};
use crate::pipeline::context::Core;
use crate::pipeline::intake::reads;
use crate::pipeline::intake::until_durable;

/// Most reads of the ledger in one process's hands.
const LEDGER_READS_MAX: usize = 256;
/// Of these, one organization's.
const LEDGER_READS_PER_ORGANIZATION: usize = 64;
/// Searches of one organization in hand. They are run one after the other: all organizations share
/// two connections.
const SEARCHES_PER_ORGANIZATION: usize = 16;
/// Most reads that call a platform in one process's hands. An integration's own limit is its
/// lane's.
const PLATFORM_READS_MAX: usize = 256;
/// Of these, one organization's.
const PLATFORM_READS_PER_ORGANIZATION: usize = 32;
/// A read that takes longer is acknowledged before it is answered: acknowledgements go in order,
/// and it must not hold up those of the commands behind it. A process that dies in that moment
/// leaves the question unanswered.
const ACK_AFTER: Duration = Duration::from_millis(250);

/// What a read uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Ledger,
    Search,
    Platform,
}

impl Kind {
    fn of(envelope: &Envelope) -> Self {
        match &envelope.command {
            Command::Read(ReadCommand::Fields(_)) => Self::Platform,
            Command::Read(ReadCommand::Search(_)) => Self::Search,
            Command::Read(
                ReadCommand::Integration(_)
                | ReadCommand::Integrations(_)
                | ReadCommand::Ticket(_)
                | ReadCommand::Route(_),
            )
            | Command::Ticket(_)
            | Command::Admin(_)
            | Command::Inbound(_)
            | Command::Unsupported(_) => Self::Ledger,
        }
    }

    /// The limit of the process and of one organization.
    const fn limits(self) -> (usize, usize) {
        match self {
            Self::Ledger => (LEDGER_READS_MAX, LEDGER_READS_PER_ORGANIZATION),
            Self::Search => (LEDGER_READS_MAX, SEARCHES_PER_ORGANIZATION),
            Self::Platform => (PLATFORM_READS_MAX, PLATFORM_READS_PER_ORGANIZATION),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ledger => "reads",
            Self::Search => "searches",
            Self::Platform => "reads of platforms",
        }
    }
}

/// How many are under way, by kind and by organization.
#[derive(Debug, Default)]
struct Counts {
    of_kind: HashMap<Kind, usize>,
    of_organization: HashMap<(Kind, Uuid), usize>,
}

impl Counts {
    /// Counts one in, or says which limit it met.
    fn enter(&mut self, kind: Kind, organization: Uuid) -> Result<(), String> {
        let (most, most_of_one) = kind.limits();
        let all = self.of_kind.entry(kind).or_default();
        if *all >= most {
            return Err(format!(
                "this worker answers {most} {} at once",
                kind.name()
            ));
        }
        let own = self
            .of_organization
            .entry((kind, organization))
            .or_default();
        if *own >= most_of_one {
            let name = kind.name();
            return Err(format!(
                "this worker answers {most_of_one} {name} of one organization at once"
            ));
        }
        *all += 1;
        *own += 1;
        Ok(())
    }

    fn leave(&mut self, kind: Kind, organization: Uuid) {
        if let Some(all) = self.of_kind.get_mut(&kind) {
            *all = all.saturating_sub(1);
        }
        let key = (kind, organization);
        if let Some(own) = self.of_organization.get_mut(&key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.of_organization.remove(&key);
            }
        }
    }
}

/// A place among the counted, until it is dropped.
struct Counted {
    counts: Arc<Mutex<Counts>>,
    kind: Kind,
    organization: Uuid,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.leave(self.kind, self.organization);
    }
}

/// Who searches, by organization: one search of each at a time.
#[derive(Debug, Default)]
struct Searching(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>);

impl Searching {
    /// Waits for the organization's turn.
    async fn turn(&self, organization: Uuid) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(organization).or_default())
        };
        lock.lock_owned().await
    }
}

/// The reads under way.
pub(in crate::pipeline) struct Reads {
    tasks: JoinSet<()>,
    counts: Arc<Mutex<Counts>>,
    searching: Arc<Searching>,
}

impl Reads {
    pub(in crate::pipeline) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            counts: Arc::default(),
            searching: Arc::default(),
        }
    }

    /// Starts reads; those beyond a limit are answered before it returns, all in one transaction.
    pub(in crate::pipeline) async fn start(
        &mut self,
        core: &Arc<Core>,
        consumer: &Arc<Consumer>,
        asked: Vec<(Envelope, Delivery)>,
    ) {
        while self.tasks.try_join_next().is_some() {}
        let mut refused = Vec::new();
        for (envelope, delivery) in asked {
            let (kind, organization) = (Kind::of(&envelope), envelope.organization_id.uuid());
            let slot = match &envelope.command {
                Command::Read(ReadCommand::Fields(asked)) => {
                    let slot = core
                        .lanes
                        .read_slot(envelope.organization_id, asked.integration_id);
                    slot.map(Some).ok_or_else(|| {
                        "other reads of this integration wait for its platform".to_owned()
                    })
                }
                Command::Read(_)
                | Command::Ticket(_)
                | Command::Admin(_)
                | Command::Inbound(_)
                | Command::Unsupported(_) => Ok(None),
            };
            let entered = slot.and_then(|slot| {
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts.enter(kind, organization).map(|()| slot)
            });
            match entered {
                Ok(slot) => {
                    let counted = Counted {
                        counts: Arc::clone(&self.counts),
                        kind,
                        organization,
                    };
                    let (core, consumer) = (Arc::clone(core), Arc::clone(consumer));
                    let searching = Arc::clone(&self.searching);
                    self.tasks.spawn(async move {
                        let answering = async {
                            let _turn = match kind {
                                Kind::Search => Some(searching.turn(organization).await),
                                Kind::Ledger | Kind::Platform => None,
                            };
                            reads::answer(&core, envelope).await;
                        };
                        answer(&consumer, &delivery, answering).await;
                        drop((counted, slot));
                    });
                }
                Err(limit) => refused.push((envelope, delivery, limit)),
            }
        }
        if refused.is_empty() {
            return;
        }
        let mut rows = Vec::with_capacity(refused.len() * 2);
        for (envelope, _, limit) in &refused {
            let text = format!("too many questions at once: {limit}; ask again in a moment");
            rows.extend(reads::refusal(
                envelope,
                Failure::new(ErrorCode::Timeout, text),
            ));
        }
        until_durable(core, || core.store.add_events(&rows, core.me.id)).await;
        core.relay.offer(rows);
        consumer.ack(refused.iter().map(|(_, delivery, _)| delivery));
    }

    /// Waits for those under way.
    pub(in crate::pipeline) async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Answers a read or a dry run, and acknowledges it.
async fn answer(consumer: &Consumer, delivery: &Delivery, answering: impl Future<Output = ()>) {
    let mut answering = Box::pin(AssertUnwindSafe(answering).catch_unwind());
    let in_time = tokio::time::timeout(ACK_AFTER, &mut answering).await;
    consumer.ack([delivery]);
    let answered = match in_time {
        Ok(answered) => answered,
        Err(_) => answering.await,
    };
    if answered.is_err() {
        tracing::error!("a read ended in a panic; nobody was answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_organization_leaves_room_for_the_others() {
        let mut counts = Counts::default();
        let (hostile, neighbour) = (Uuid::from_u128(1), Uuid::from_u128(2));

        let entered = (0..1000)
            .filter(|_| counts.enter(Kind::Platform, hostile).is_ok())
            .count();

        assert_eq!(entered, PLATFORM_READS_PER_ORGANIZATION);
        assert!(counts.enter(Kind::Platform, neighbour).is_ok());
        counts.leave(Kind::Platform, hostile);
        assert!(counts.enter(Kind::Platform, hostile).is_ok());
    }

    #[test]
    fn a_kind_that_is_full_leaves_the_other_kinds_alone() {
        let mut counts = Counts::default();
        for number in 0..1000 {
            drop(counts.enter(Kind::Platform, Uuid::from_u128(number)));
        }

        let refused = counts.enter(Kind::Platform, Uuid::from_u128(5000));

        assert!(refused.is_err_and(|limit| limit.contains("256 reads of platforms")));
        assert!(counts.enter(Kind::Ledger, Uuid::from_u128(1)).is_ok());
    }
}
