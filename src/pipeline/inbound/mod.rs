//! What comes from platforms by itself: [`run`] verifies a delivery, normalises it and reads what
//! it does not show; [`batch`] decides it beside the locked rows; [`decide`] has the rules for
//! fields, [`comments`] those for comments; [`event`] tells of it.
//!
//! Nothing here writes to a platform: the way to it that is used reads only.

mod batch;
mod comments;
mod decide;
mod event;
mod fields;
mod rehearse;
mod run;

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};

pub(in crate::pipeline) use self::batch::{Batch, Outcome, asked};
pub(in crate::pipeline) use self::decide::{base_of, overtaken};
pub(in crate::pipeline) use self::fields::digest;
pub(in crate::pipeline) use self::rehearse::rehearse;
pub(in crate::pipeline) use self::run::read;
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::job::Job;
use crate::platforms::Change;

/// A delivery that was read, on its way to be decided.
#[derive(Debug)]
pub(in crate::pipeline) struct InboundRun {
    pub(in crate::pipeline) job: Job,
    pub(in crate::pipeline) started: Instant,
    pub(in crate::pipeline) started_at: DateTime<Utc>,
    pub(in crate::pipeline) handle: Arc<ConnectedIntegration>,
    pub(in crate::pipeline) changes: Vec<ReadChange>,
    /// Whether nothing proved whose it is (`settings.accept_unsigned`).
    pub(in crate::pipeline) unsigned: bool,
}

/// A change, with what was read of it.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct ReadChange {
    pub(in crate::pipeline) change: Change,
    /// When its item was asked for, by the database's clock; `None`: it was not.
    pub(in crate::pipeline) asked_at: Option<DateTime<Utc>>,
}
