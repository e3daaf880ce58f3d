//! Runs commands. [`lanes`] share the capacity out, one an integration; [`prepare`] gathers what a
//! run needs; [`gates`] say whether a command may run, and where it goes; [`routing`] chooses among
//! integrations; [`dispatch`] runs a command about a ticket; [`admin`] runs one that changes
//! something of ours.

pub(super) mod admin;
pub(super) mod dispatch;
pub(super) mod gates;
pub(super) mod lanes;
pub(super) mod prepare;
pub(super) mod routing;

use std::sync::Arc;

use uuid::Uuid;

use super::context::Core;
use super::job::Job;

/// Runs jobs, or queues them behind the others of their lane.
fn run(core: &Arc<Core>, jobs: Vec<Job>) {
    for (lane, job) in core.lanes.submit(jobs) {
        let of_slot = Arc::clone(core);
        core.lanes
            .spawn(async move { work(&of_slot, lane, job).await });
    }
}

/// One slot of a lane: works until the lane's queue is empty.
async fn work(core: &Arc<Core>, lane: Uuid, first: Job) {
    let mut job = Some(first);
    while let Some(current) = job {
        // On the heap: the future is big, and starting a task moves it three times.
        let completed = Box::pin(dispatch::run(core, current)).await;
        core.finish(completed).await;
        let freed = core.lanes.next(lane);
        core.capacity_freed.notify_one();
        if freed.wants_more {
            core.due.notify_one();
        }
        job = freed.job;
    }
}
