//! A command's life, a file a step in the order in which it flows:
//!
//! [`intake`] parses and claims, [`reading`] answers questions beside it · [`prepare`] gathers what dispatch needs · [`lanes`] hold commands, fairly by
//! integration · [`dispatch`] passes the gates and calls the platform · [`settle`] writes what happened, in batches ·
//! [`relay`] publishes it · [`schedule`] takes what is due · [`dead_letters`] keep what can never be a command. [`lease`] says whether this process may act at all.
//!
//! Batches form by themselves: while one is being written, the next gathers. There is no flush timer.

pub mod alone;
mod arrivals;
mod circuits;
mod core;
mod dead_letters;
mod dispatch;
mod disposition;
mod gates;
mod intake;
mod integrations;
mod job;
mod kept;
mod lanes;
mod lease;
mod own;
mod places;
mod policy;
mod prepare;
mod reading;
mod reads;
mod relay;
mod retention;
mod rounds;
mod routing;
mod salvage;
mod schedule;
mod settle;
mod tokens;

pub use self::core::{Core, CoreParts, DoneQueue};
pub use dead_letters::run_dead_letters;
pub use intake::run_intake;
pub use integrations::open_credentials;
pub use lease::{Hold, Lease, LeaseError};
pub use own::plan_update;
pub use reads::show;
pub use relay::{Relay, flush, run_relay, run_sweep};
pub use schedule::run_schedule;
pub use settle::run_settle;
