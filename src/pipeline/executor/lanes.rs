//! Lanes: one an integration, so that a slow or sick platform holds no slot of a healthy one. A
//! lane runs at most `max_in_flight_per_integration` commands and keeps a short queue before them;
//! what exceeds both stays `pending` in Postgres.
//!
//! Management commands have lanes of their own: one an organization for what changes only our
//! tables, one an integration for what calls its platform (`integration.test`, `integration.sync`).
//! They wait neither behind tickets nor for a circuit, and a platform that never answers holds up
//! its own tests alone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::contract::Command;
use crate::domain::{IntegrationId, OrganizationId};
use crate::pipeline::job::Job;
use crate::store::Capacities;

/// Capacity of the lane of tickets that are on no platform: their commands only pass through.
const LOCAL_LANE_CAPACITY: i32 = 1024;
/// Platform calls of one integration's management commands at once, and reads of it besides.
const ADMIN_IN_FLIGHT_MAX: usize = 4;
/// Deliveries of one integration's platform at once.
const INBOUND_IN_FLIGHT_MAX: usize = 16;
/// Reads of one integration's platform at once.
const READS_PER_INTEGRATION: usize = 4;

#[derive(Default)]
struct Lane {
    in_flight: usize,
    queue: VecDeque<Job>,
    /// Postgres likely holds more for it.
    more: bool,
}

/// The lanes that are not empty.
pub(in crate::pipeline) struct Lanes {
    lanes: Mutex<HashMap<Uuid, Lane>>,
    /// Lanes of which the ledger holds due commands: newcomers go behind those.
    backlogged: Mutex<HashSet<Uuid>>,
    /// Reads under way of each integration's platform, by who asks: an organization that names
    /// another's integration finds nothing there, and must not take its slots for the moment that
    /// takes.
    reads: Mutex<HashMap<(Uuid, Uuid), usize>>,
    in_flight_max: usize,
    queue_max: usize,
    tasks: TaskTracker,
}

impl Lanes {
    pub(in crate::pipeline) fn new(in_flight_max: usize, queue_max: usize) -> Self {
        Self {
            lanes: Mutex::new(HashMap::new()),
            backlogged: Mutex::new(HashSet::new()),
            reads: Mutex::new(HashMap::new()),
            in_flight_max,
            queue_max,
            tasks: TaskTracker::new(),
        }
    }

    /// A slot for a read of an integration's platform, until it is dropped; `None` where all are
    /// claimed.
    pub(in crate::pipeline) fn read_slot(
        self: &Arc<Self>,
        organization: OrganizationId,
        integration: IntegrationId,
    ) -> Option<ReadSlot> {
        let key = (organization.uuid(), integration.uuid());
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let count = reads.entry(key).or_default();
        if *count >= READS_PER_INTEGRATION {
            return None;
        }
        *count += 1;
        drop(reads);
        Some(ReadSlot {
            lanes: Arc::clone(self),
            key,
        })
    }

    /// The capacity of each lane and of the whole, for an enqueue or claim. `full` has its share of
    /// memory already.
    pub(in crate::pipeline) fn capacities(&self, total: usize, full: Vec<Uuid>) -> Capacities {
        let capacity = self.in_flight_max + self.queue_max;
        let small = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut capacities = Capacities {
            lanes: vec![Uuid::nil()],
            capacities: vec![LOCAL_LANE_CAPACITY],
            default: small(capacity),
            total: i64::try_from(total).unwrap_or(i64::MAX),
            full_organizations: full,
        };
        for (id, lane) in lanes.iter().filter(|(id, _)| !id.is_nil()) {
            capacities.lanes.push(*id);
            capacities.capacities.push(small(
                capacity.saturating_sub(lane.in_flight + lane.queue.len()),
            ));
        }
        capacities
    }

    /// Takes jobs in. Returns those that have a slot of their lane, which is theirs until
    /// [`Lanes::next`] has no job for it; the others are queued behind their lane's others.
    pub(super) fn submit(&self, jobs: Vec<Job>) -> Vec<(Uuid, Job)> {
        let mut started = Vec::with_capacity(jobs.len());
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for job in jobs {
            let id = job.lane();
            let lane = lanes.entry(id).or_default();
            let in_flight_max = match &*job.command {
                Command::Admin(_) => self.in_flight_max.min(ADMIN_IN_FLIGHT_MAX),
                Command::Inbound(_) => self.in_flight_max.min(INBOUND_IN_FLIGHT_MAX),
                Command::Ticket(_) | Command::Read(_) | Command::Unsupported(_) => {
                    self.in_flight_max
                }
            };
            if lane.in_flight < in_flight_max || id.is_nil() {
                lane.in_flight += 1;
                started.push((id, job));
            } else {
                lane.queue.push_back(job);
            }
        }
        started
    }

    /// Runs what [`Lanes::idle`] waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Remembers that Postgres holds more for these lanes, so that the scheduler is woken when they
    /// run dry.
    pub(in crate::pipeline) fn expect_more(&self, ids: impl IntoIterator<Item = Uuid>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(lane) = lanes.get_mut(&id) {
                lane.more = true;
            }
        }
    }

    /// Notes that the ledger holds due commands of these lanes.
    pub(in crate::pipeline) fn note_backlog(&self, ids: impl IntoIterator<Item = Uuid>) {
        let mut backlogged = self
            .backlogged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        backlogged.extend(ids);
    }

    /// Forgets the backlog of lanes of which a take found less than it had capacity for.
    pub(in crate::pipeline) fn check_backlog(&self, capacities: &Capacities, claimed: &[Uuid]) {
        let mut backlogged = self
            .backlogged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if backlogged.is_empty()
            || i64::try_from(claimed.len()).is_ok_and(|n| n >= capacities.total)
        {
            return;
        }
        let offered: HashMap<&Uuid, i32> = capacities
            .lanes
            .iter()
            .zip(capacities.capacities.iter().copied())
            .collect();
        let mut found: HashMap<&Uuid, i32> = HashMap::new();
        for id in claimed {
            *found.entry(id).or_default() += 1;
        }
        backlogged.retain(|id| {
            let capacity = offered.get(id).copied().unwrap_or(capacities.default);
            found.get(id).copied().unwrap_or(0) >= capacity
        });
    }

    /// What each lane has capacity for at admission.
    pub(in crate::pipeline) fn admission(&self) -> Admission {
        let capacities = self.capacities(0, Vec::new());
        let backlogged = self
            .backlogged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Admission {
            capacities: capacities
                .lanes
                .into_iter()
                .zip(capacities.capacities)
                .collect(),
            default: capacities.default,
            backlogged: backlogged.clone(),
        }
    }

    /// Takes every job that has not been started, for the drain.
    pub(in crate::pipeline) fn unqueue(&self) -> Vec<Job> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes
            .values_mut()
            .flat_map(|lane| std::mem::take(&mut lane.queue))
            .collect()
    }

    /// Resolves once nothing runs; further jobs may still be submitted.
    pub(in crate::pipeline) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The next job for a slot of a lane. Where there is none, the slot is given back.
    pub(super) fn next(&self, id: Uuid) -> Freed {
        let mut freed = Freed::default();
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lane) = lanes.get_mut(&id) else {
            return freed;
        };
        freed.job = lane.queue.pop_front();
        if lane.more && lane.queue.len() <= self.queue_max / 2 {
            lane.more = false;
            freed.wants_more = true;
        }
        if freed.job.is_none() {
            lane.in_flight -= 1;
            if lane.in_flight == 0 {
                lanes.remove(&id);
            }
        }
        freed
    }
}

/// A read of an integration's platform under way.
pub(in crate::pipeline) struct ReadSlot {
    lanes: Arc<Lanes>,
    key: (Uuid, Uuid),
}

impl Drop for ReadSlot {
    fn drop(&mut self) {
        let mut reads = self
            .lanes
            .reads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = reads.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                reads.remove(&self.key);
            }
        }
    }
}

/// Capacity at admission, lane by lane, for one look at those who wait there.
pub(in crate::pipeline) struct Admission {
    capacities: HashMap<Uuid, i32>,
    default: i32,
    backlogged: HashSet<Uuid>,
}

impl Admission {
    /// Whether one more may come in for this lane; if so, it has claimed its place. A lane with a
    /// backlog has no place to wait for: its commands go behind the others, in the ledger.
    pub(in crate::pipeline) fn enter(&mut self, lane: Uuid) -> bool {
        if self.backlogged.contains(&lane) {
            return true;
        }
        let capacity = self.capacities.entry(lane).or_insert(self.default);
        *capacity -= 1;
        *capacity >= 0
    }
}

/// What a slot of a lane does next.
#[derive(Default)]
pub(super) struct Freed {
    /// The job that it runs.
    pub(super) job: Option<Job>,
    /// Whether the lane runs dry while the ledger holds more for it.
    pub(super) wants_more: bool,
}
