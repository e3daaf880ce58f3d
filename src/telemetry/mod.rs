//! What the worker tells about itself: logs, metrics; and the fail points of the crash tests.

pub mod clock;
mod failpoint;
mod logs;
pub mod metrics;

pub use failpoint::{failpoint, machine_clock, step_length};
#[cfg(test)]
pub(crate) use logs::lines_to;
pub use logs::{LogFormat, Scrub, init, log_file, scrubbed, to_file};
