//! A command's life, from the queue to the event, a folder a stage in the order in which it flows:
//!
//! 1. [`intake`] takes deliveries in, parses them and stores commands. It answers questions beside
//!    that, and keeps as dead letters what can never be a command.
//! 2. [`scheduler`] claims what is due in the ledger, and does what is done from time to time:
//!    health checks, retention, the isolation of commands that may have killed a process.
//! 3. [`executor`] runs commands: lanes share the capacity fairly, gates decide, platforms are
//!    called, our own tables are changed.
//! 4. [`settle`] writes what happened, in batches.
//! 5. [`relay`] publishes the events of it.
//!
//! The stages share what stands in files here: [`context`] is what all of them are given, [`job`] a
//! command in this process's hands, [`disposition`] what became of it, [`progress`] what earlier
//! attempts got done, [`lane`] the lane of a management command, [`lease`] whether this process may
//! act at all, [`retry`] when something runs again, [`clock`] what time it is, [`connections`] the
//! integrations that are open, [`tokens`] their access tokens, [`rate_limit`] the slots of those
//! with a limit of ours.
//!
//! Batches form by themselves: while one is being written, the next gathers. There is no flush
//! timer.

mod clock;
mod connections;
mod context;
mod disposition;
mod executor;
mod inbound;
mod intake;
mod job;
mod lane;
mod lease;
mod patience;
mod progress;
mod rate_limit;
mod relay;
mod retry;
mod scheduler;
mod settle;
mod tokens;

pub use self::context::{Core, CoreParts, DoneQueue};
pub use self::intake::dead_letters::run_dead_letters;
pub use self::intake::reads::show;
pub use self::intake::run_intake;
pub use self::lease::{Hold, Lease, LeaseError};
pub use self::relay::{Relay, RelayQueue, flush, run_outbox_poller, run_relay};
pub use self::scheduler::isolation;
pub use self::scheduler::run_schedule;
pub use self::settle::run_settle;
pub use self::tokens::TokensOfOne;
