//! What all steps share.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use crate::config::Config;
use crate::domain::{CommandId, IntegrationId, OrganizationId};
use crate::pipeline::connections::Integrations;
use crate::pipeline::disposition::{Completed, Settler};
use crate::pipeline::executor::lanes::Lanes;
use crate::pipeline::lease::Lease;
use crate::pipeline::relay::Relay;
use crate::pipeline::tokens::Tokens;
use crate::platforms::HttpClient;
use crate::platforms::mail::MailClient;
use crate::secrets::KeyRing;
use crate::store::{Incarnation, Store, Wake};

/// Commands that wait for their request to start or for a settler, beyond which nothing more comes
/// in: a batch.
const WAITING_MAX: usize = 256;
/// Between two notifications to the other workers. Once they are at work, their lanes ask for more
/// by themselves.
const WAKE_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// What the composition root gives.
pub struct CoreParts {
    /// Every setting.
    pub config: Arc<Config>,
    /// The ledger.
    pub store: Store,
    /// Opens and seals credentials.
    pub ring: Arc<KeyRing>,
    /// The adapters' client.
    pub http: HttpClient,
    /// The way to mail servers.
    pub mail: MailClient,
    /// This process.
    pub me: Incarnation,
    /// Whether it may act.
    pub lease: Arc<Lease>,
    /// Where events go.
    pub relay: Relay,
}

/// Commands in this process's hands, each with its organization, and how many each organization
/// has.
#[derive(Default)]
struct Held {
    commands: HashMap<Uuid, Uuid>,
    by_organization: HashMap<Uuid, usize>,
}

/// What all steps share. One a process.
pub struct Core {
    pub(in crate::pipeline) config: Arc<Config>,
    pub(in crate::pipeline) store: Store,
    pub(in crate::pipeline) ring: Arc<KeyRing>,
    pub(in crate::pipeline) http: HttpClient,
    pub(in crate::pipeline) mail: MailClient,
    pub(in crate::pipeline) me: Incarnation,
    pub(in crate::pipeline) lease: Arc<Lease>,
    pub(in crate::pipeline) relay: Relay,
    pub(in crate::pipeline) lanes: Arc<Lanes>,
    pub(in crate::pipeline) integrations: Integrations,
    pub(in crate::pipeline) tokens: Tokens,
    pub(in crate::pipeline) rate_slots: crate::pipeline::rate_limit::RateSlots,
    /// Commands in this process's hands, from the enqueue or claim to the commit of their
    /// settlement. Guarded by `claiming` where rows are taken, so that a row of ours that is not in
    /// here was surely left behind.
    held: Mutex<Held>,
    /// Integrations with failures on record: a success of any other has nothing to reset.
    degraded: Mutex<HashSet<IntegrationId>>,
    /// Taken around every enqueue and claim.
    pub(in crate::pipeline) claiming: tokio::sync::Mutex<()>,
    /// Wakes the scheduler before its time.
    pub(in crate::pipeline) due: Notify,
    /// Wakes the intake when memory is free again.
    pub(in crate::pipeline) capacity_freed: Notify,
    /// Whether the other workers have just been woken.
    waking: AtomicBool,
    /// Two for the settlements of tickets' commands, one for those that change something of ours:
    /// such a change is a transaction of its own, and a flood of them must not hold up the others.
    /// The last is for what comes from platforms, in batches of its own.
    done: [mpsc::Sender<Completed>; 4],
}

impl Core {
    /// Puts the parts together; the receiver is for [`super::run_settle`].
    #[must_use]
    pub fn new(parts: CoreParts) -> (Arc<Self>, DoneQueue) {
        let ((one, first), (two, second)) = (mpsc::channel(1024), mpsc::channel(1024));
        let (admin, third) = mpsc::channel(1024);
        let (inbound, fourth) = mpsc::channel(1024);
        let lanes = Arc::new(Lanes::new(
            parts.config.dispatch.max_in_flight_per_integration,
            parts.config.dispatch.queue_per_integration,
        ));
        let tokens = Tokens::new(
            parts.store.clone(),
            Arc::clone(&parts.ring),
            parts.me.id,
            parts.config.dispatch.attempt_timeout,
        );
        let core = Self {
            integrations: Integrations::new(parts.store.clone(), Arc::clone(&parts.ring)),
            config: parts.config,
            store: parts.store,
            ring: parts.ring,
            http: parts.http,
            mail: parts.mail,
            me: parts.me,
            lease: parts.lease,
            relay: parts.relay,
            lanes,
            tokens,
            rate_slots: crate::pipeline::rate_limit::RateSlots::default(),
            held: Mutex::new(Held::default()),
            degraded: Mutex::new(HashSet::new()),
            claiming: tokio::sync::Mutex::new(()),
            due: Notify::new(),
            capacity_freed: Notify::new(),
            waking: AtomicBool::new(false),
            done: [one, two, admin, inbound],
        };
        (Arc::new(core), DoneQueue([first, second, third, fourth]))
    }

    /// Whether nothing is in this process's hands.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held_count() == 0
    }

    /// How many commands are in this process's hands.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .commands
            .len()
    }

    /// Organizations that hold as much of this process's memory as is still free. So one alone may
    /// have half of it, two have a third each, and however many want more, some is left for the
    /// next.
    pub(in crate::pipeline) fn full_organizations(&self) -> Vec<Uuid> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self
            .config
            .worker
            .memory
            .saturating_sub(held.commands.len());
        if held.commands.len() < free {
            return Vec::new();
        }
        let full = held.by_organization.iter();
        full.filter(|(_, count)| **count >= free)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Ends the work in hand: what was not begun goes back, what runs may finish until `deadline`;
    /// the rest is handed back in doubt. Resolves when nothing of it can reach the settler any
    /// more.
    pub async fn drain(self: &Arc<Self>, limit: std::time::Duration) {
        for job in self.lanes.unqueue() {
            self.finish(crate::pipeline::disposition::hand_back(&job))
                .await;
        }
        if tokio::time::timeout(limit, self.lanes.idle())
            .await
            .is_err()
        {
            match self.store.hand_back_running(&self.me).await {
                Ok(count) => tracing::warn!(
                    commands = count,
                    "handed back what did not finish within worker.drain_timeout"
                ),
                Err(error) => tracing::warn!(
                    error = crate::store::chain(&error),
                    "could not hand back what runs; the next worker takes it over"
                ),
            }
        }
    }

    /// How many more come in at admission. None while requests or settlers are behind: what would
    /// be enqueued now would only wait for them, in memory instead of with the broker.
    pub(in crate::pipeline) fn free_for_admission(&self) -> usize {
        let unsettled: usize = self
            .done
            .iter()
            .take(2)
            .map(|q| q.max_capacity() - q.capacity())
            .sum();
        if unsettled + self.http.waiting_to_start() > WAITING_MAX {
            return 0;
        }
        self.free_memory()
    }

    /// How many more it takes.
    pub(in crate::pipeline) fn free_memory(&self) -> usize {
        self.config.worker.memory.saturating_sub(self.held_count())
    }

    pub(in crate::pipeline) fn hold(
        &self,
        ids: impl IntoIterator<Item = (CommandId, OrganizationId)>,
    ) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, organization) in ids {
            let organization = organization.uuid();
            if held.commands.insert(id.uuid(), organization).is_none() {
                *held.by_organization.entry(organization).or_default() += 1;
            }
        }
    }

    pub(in crate::pipeline) fn release(&self, ids: impl IntoIterator<Item = CommandId>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let Some(organization) = held.commands.remove(&id.uuid()) else {
                continue;
            };
            if let Some(count) = held.by_organization.get_mut(&organization) {
                *count -= 1;
                if *count == 0 {
                    held.by_organization.remove(&organization);
                }
            }
        }
        drop(held);
        self.capacity_freed.notify_one();
    }

    pub(in crate::pipeline) fn held_ids(&self) -> Vec<Uuid> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .commands
            .keys()
            .copied()
            .collect()
    }

    /// Hands a job's outcome to a settler; waits while that is behind. All of an integration go to
    /// the same one: the rows that count its usage and its failures are hot, and two transactions
    /// would wait for each other there.
    pub(in crate::pipeline) async fn finish(&self, completed: Completed) {
        let fold = |id: IntegrationId| {
            let id = id.uuid();
            id.as_bytes().iter().fold(0u8, |sum, byte| sum ^ byte)
        };
        let [one, two, admin, inbound] = &self.done;
        let settler = match completed.settler() {
            Settler::WithChange => admin,
            Settler::Inbound => inbound,
            Settler::Plain(id) if id.map_or(0, fold).count_ones().is_multiple_of(2) => one,
            Settler::Plain(_) => two,
        };
        if settler.send(completed).await.is_err() {
            // Only after the settler has ended, which is after the drain: the row stays leased to
            // this incarnation and the next process takes it over.
            tracing::warn!("a command ended after the settler; the next worker looks it up");
        }
    }

    /// Tells the other workers, if there are any, that the ledger holds what this one has no
    /// capacity for.
    pub(in crate::pipeline) fn wake_peers(self: &Arc<Self>) {
        if self.lease.peers() == 0 || self.waking.swap(true, Ordering::AcqRel) {
            return;
        }
        let core = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = core.store.wake(Wake::Due).await {
                tracing::debug!(
                    error = crate::store::chain(&error),
                    "the others find out by their clocks"
                );
            }
            tokio::time::sleep(WAKE_PAUSE).await;
            core.waking.store(false, Ordering::Release);
        });
    }

    pub(in crate::pipeline) fn is_degraded(&self, id: IntegrationId) -> bool {
        self.degraded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&id)
    }

    pub(in crate::pipeline) fn has_degraded(&self) -> bool {
        !self
            .degraded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    pub(in crate::pipeline) fn set_degraded(&self, ids: HashSet<IntegrationId>) {
        *self.degraded.lock().unwrap_or_else(PoisonError::into_inner) = ids;
    }

    pub(in crate::pipeline) fn note_degraded(&self, id: IntegrationId) {
        self.degraded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id);
    }
}

/// What the settler works off.
pub struct DoneQueue(pub(in crate::pipeline) [mpsc::Receiver<Completed>; 4]);
