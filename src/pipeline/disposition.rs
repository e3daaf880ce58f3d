//! What became of a command that was run, as a value. One function makes the settlement from it
//! (`dispatch/settlement.rs`), and nothing is counted before that is committed.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::{CommandState, Failure, IntegrationId, Wait, WaitReason};
use crate::pipeline::clock;
use crate::pipeline::inbound::{InboundRun, ReadChange};
use crate::pipeline::job::Job;
use crate::pipeline::retry::Next;
use crate::platforms::Receipt;
use crate::store::{CircuitTally, LedgerChange, Settlement, UsageTally};

/// What became of a command that was run.
#[derive(Debug, Clone)]
pub(in crate::pipeline) enum Disposition {
    /// It is done.
    Succeeded {
        /// For its event.
        result: Value,
        /// What the platform gave back, if one was called.
        receipt: Option<Box<Receipt>>,
    },
    /// It ends without success.
    Failed(Failure),
    /// An attempt failed, or a gate put the command off. It runs again, and a long wait is
    /// announced by an event.
    Retry {
        /// When, and what decided that.
        next: Next,
        /// Why it is not done yet.
        failure: Failure,
    },
    /// It goes back as it came: no attempt, no event, nothing counted.
    Requeue {
        /// When it runs, and what decided that.
        next: Next,
        /// `pending` or `deferred`.
        state: CommandState,
    },
    /// A part of it is done, and durable. It goes on then: no attempt, no event, nothing counted.
    GoesOn {
        /// When, and what decided that.
        next: Next,
    },
    /// Its ticket is not known yet. It gives its turn back, and waits until then at most.
    AwaitTicket {
        /// The end of the wait.
        until: DateTime<Utc>,
    },
}

/// A disposition, with the change of our own tables that belongs to it.
#[derive(Debug)]
pub(in crate::pipeline) enum Conclusion {
    /// No such change.
    Plain(Disposition),
    /// The change is written in the transaction that settles the command.
    WithChange {
        /// Where the change is written.
        disposition: Disposition,
        /// The change.
        change: Box<LedgerChange>,
        /// Where the database refuses the change: a success without it would be a lie.
        if_refused: Box<Disposition>,
        /// Where the change was decided on something that has changed since.
        if_stale: Box<Disposition>,
    },
    /// It depends on rows that are locked first: what came from a platform, and whether nothing
    /// proved whose it is.
    Inbound(Vec<ReadChange>, bool),
}

impl From<Disposition> for Conclusion {
    fn from(disposition: Disposition) -> Self {
        Self::Plain(disposition)
    }
}

/// What is written of a command that was run.
#[derive(Debug)]
pub(in crate::pipeline) enum Completion {
    /// Its settlement.
    Plain(Settlement),
    /// Its settlement together with a change of our own tables.
    WithChange {
        /// Both at once.
        settlement: Settlement,
        /// The change.
        change: Box<LedgerChange>,
        /// Where the database refuses the change.
        if_refused: Box<Settlement>,
        /// Where the change was decided on something that has changed since.
        if_stale: Box<Settlement>,
    },
    /// What came from a platform: decided, and settled, beside the rows that it is about.
    Inbound(Box<InboundRun>),
}

/// Which settler writes what a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Settler {
    /// One of those for batches of settlements, by the integration.
    Plain(Option<IntegrationId>),
    /// The one for changes of our own tables.
    WithChange,
    /// The one for what came from platforms.
    Inbound,
}

/// A completed command on its way to be settled, and what is learned of its integration.
#[derive(Debug)]
pub(in crate::pipeline) struct Completed {
    pub(in crate::pipeline) completion: Completion,
    pub(in crate::pipeline) usage: Option<(IntegrationId, UsageTally)>,
    pub(in crate::pipeline) circuit: Option<(IntegrationId, CircuitTally)>,
}

impl Completed {
    /// The settler that it goes to.
    pub(in crate::pipeline) fn settler(&self) -> Settler {
        match &self.completion {
            Completion::Plain(settlement) => Settler::Plain(settlement.integration_id),
            Completion::WithChange { .. } => Settler::WithChange,
            Completion::Inbound(_) => Settler::Inbound,
        }
    }
}

/// A job that was not started goes back as it came.
pub(in crate::pipeline) fn hand_back(job: &Job) -> Completed {
    let state = if job.doubt_since.is_some() || job.attempt > 0 {
        CommandState::Deferred
    } else {
        CommandState::Pending
    };
    let settlement = Settlement {
        due_at: Some(clock::now()),
        wait: Some(Wait::of(WaitReason::WorkerStopped)),
        ..untouched(job, state)
    };
    Completed {
        completion: Completion::Plain(settlement),
        usage: None,
        circuit: None,
    }
}

/// The settlement that changes nothing but the state.
pub(in crate::pipeline) fn untouched(job: &Job, state: CommandState) -> Settlement {
    Settlement {
        id: job.id,
        organization_id: job.organization_id,
        ticket_id: job.ticket_id,
        fencing_token: job.fencing_token,
        state,
        attempt: job.attempt,
        events_after: job.events,
        due_at: None,
        wait: None,
        error_code: None,
        error: None,
        doubt_since: job.doubt_since,
        lookups: job.lookups,
        waits: false,
        ran: false,
        integration_id: None,
        parent: job.parent,
        attempt_record: None,
        events: Vec::new(),
        ticket_insert: None,
        ticket_change: None,
        external: None,
        forgets_files: false,
        report: None,
    }
}
