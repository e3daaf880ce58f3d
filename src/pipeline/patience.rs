//! How a step that must not be skipped waits for a database that is away.

use std::time::Duration;

use super::context::Core;
use crate::store::{StoreError, chain};

/// Pauses between tries: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Waits between tries, a little longer each time. Only a failure of the connection and lost races
/// are waited out: a refusal is an answer, and trying again would not end.
pub(in crate::pipeline) struct Patience {
    /// For the log: what cannot be done yet.
    what: &'static str,
    pause: Duration,
}

impl Patience {
    pub(in crate::pipeline) const fn new(what: &'static str) -> Self {
        Self {
            what,
            pause: PAUSE.0,
        }
    }

    /// Says what it met, lets go of connections that may be dead, and waits.
    pub(in crate::pipeline) async fn wait(&mut self, core: &Core, error: &StoreError) {
        tracing::warn!(error = chain(error), "{}; trying again", self.what);
        core.store.forget_connections();
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }
}
