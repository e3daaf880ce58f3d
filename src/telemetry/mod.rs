//! What the worker tells about itself: logs, metrics; and the fail points of the crash tests.

mod failpoint;
mod logs;
pub mod metrics;

pub use failpoint::failpoint;
pub use logs::{LogFormat, Scrub, init, scrubbed};
