//! Lanes: one an integration, so that a slow or sick platform holds no place of a healthy one. A lane runs at most
//! `max_in_flight_per_integration` commands and keeps a short queue before them; what exceeds both stays `pending` in
//! Postgres.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::core::Core;
use super::dispatch;
use super::job::Job;
use crate::store::Rooms;

/// Room of the lane of commands that call no platform: they only pass through.
const OWN_LANE_ROOM: i32 = 1024;

#[derive(Default)]
struct Lane {
    in_flight: usize,
    queue: VecDeque<Job>,
    /// Postgres likely holds more for it.
    more: bool,
}

/// The lanes that are not empty.
pub(super) struct Lanes {
    lanes: Mutex<HashMap<Uuid, Lane>>,
    /// Lanes of which the ledger holds due commands: newcomers go behind those.
    backlogged: Mutex<HashSet<Uuid>>,
    in_flight_max: usize,
    queue_max: usize,
    tasks: TaskTracker,
}

impl Lanes {
    pub(super) fn new(in_flight_max: usize, queue_max: usize) -> Self {
        Self {
            lanes: Mutex::new(HashMap::new()),
            backlogged: Mutex::new(HashSet::new()),
            in_flight_max,
            queue_max,
            tasks: TaskTracker::new(),
        }
    }

    /// The room of each lane and of the whole, for a claim or take.
    pub(super) fn rooms(&self, total: usize) -> Rooms {
        let capacity = self.in_flight_max + self.queue_max;
        let small = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rooms = Rooms {
            lanes: vec![Uuid::nil()],
            rooms: vec![OWN_LANE_ROOM],
            default: small(capacity),
            total: i64::try_from(total).unwrap_or(i64::MAX),
        };
        for (id, lane) in lanes.iter().filter(|(id, _)| !id.is_nil()) {
            rooms.lanes.push(*id);
            rooms.rooms.push(small(
                capacity.saturating_sub(lane.in_flight + lane.queue.len()),
            ));
        }
        rooms
    }

    /// Runs jobs, or queues them behind their lane's others.
    pub(super) fn submit(&self, core: &Arc<Core>, jobs: Vec<Job>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for job in jobs {
            let id = job.lane();
            let lane = lanes.entry(id).or_default();
            if lane.in_flight < self.in_flight_max || id.is_nil() {
                lane.in_flight += 1;
                let core = Arc::clone(core);
                self.tasks.spawn(async move { work(&core, id, job).await });
            } else {
                lane.queue.push_back(job);
            }
        }
    }

    /// Remembers that Postgres holds more for these lanes, so that the scheduler is woken when they run dry.
    pub(super) fn expect_more(&self, ids: impl IntoIterator<Item = Uuid>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(lane) = lanes.get_mut(&id) {
                lane.more = true;
            }
        }
    }

    /// Notes that the ledger holds due commands of these lanes.
    pub(super) fn note_backlog(&self, ids: impl IntoIterator<Item = Uuid>) {
        let mut backlogged = self
            .backlogged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        backlogged.extend(ids);
    }

    /// Forgets the backlog of lanes of which a take found less than it had room for.
    pub(super) fn check_backlog(&self, rooms: &Rooms, taken: &[Uuid]) {
        let mut backlogged = self
            .backlogged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if backlogged.is_empty() || i64::try_from(taken.len()).is_ok_and(|n| n >= rooms.total) {
            return;
        }
        let offered: HashMap<&Uuid, i32> = rooms
            .lanes
            .iter()
            .zip(rooms.rooms.iter().copied())
            .collect();
        let mut found: HashMap<&Uuid, i32> = HashMap::new();
        for id in taken {
            *found.entry(id).or_default() += 1;
        }
        backlogged.retain(|id| {
            let room = offered.get(id).copied().unwrap_or(rooms.default);
            found.get(id).copied().unwrap_or(0) >= room
        });
    }

    /// What each lane has room for at the door.
    pub(super) fn admission(&self) -> Admission {
        let rooms = self.rooms(0);
        let backlogged = self
            .backlogged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Admission {
            rooms: rooms.lanes.into_iter().zip(rooms.rooms).collect(),
            default: rooms.default,
            backlogged: backlogged.clone(),
        }
    }

    /// Takes every job that has not been started, for the drain.
    pub(super) fn unqueue(&self) -> Vec<Job> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes
            .values_mut()
            .flat_map(|lane| std::mem::take(&mut lane.queue))
            .collect()
    }

    /// Resolves once nothing runs; further jobs may still be submitted.
    pub(super) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn next(&self, core: &Core, id: Uuid) -> Option<Job> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.get_mut(&id)?;
        let job = lane.queue.pop_front();
        core.room.notify_one();
        if lane.more && lane.queue.len() <= self.queue_max / 2 {
            lane.more = false;
            core.due.notify_one();
        }
        if job.is_none() {
            lane.in_flight -= 1;
            if lane.in_flight == 0 {
                lanes.remove(&id);
            }
        }
        job
    }
}

/// Room at the door, lane by lane, for one look at those who wait there.
pub(super) struct Admission {
    rooms: HashMap<Uuid, i32>,
    default: i32,
    backlogged: HashSet<Uuid>,
}

impl Admission {
    /// Whether one more may come in for this lane; if so, it has taken its place. A lane with a backlog has no place to
    /// wait for: its commands go behind the others, in the ledger.
    pub(super) fn enter(&mut self, lane: Uuid) -> bool {
        if self.backlogged.contains(&lane) {
            return true;
        }
        let room = self.rooms.entry(lane).or_insert(self.default);
        *room -= 1;
        *room >= 0
    }
}

/// One place of a lane: works until the lane's queue is empty.
async fn work(core: &Arc<Core>, id: Uuid, first: Job) {
    let mut job = Some(first);
    while let Some(current) = job {
        let done = dispatch::run(core, current).await;
        core.finish(done).await;
        job = core.lanes.next(core, id);
    }
}
