//! Places in which requests start, so that a flood does not open a connection for every command.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// A request holds a starting place for this long, or until it is answered. In a flood the answers
/// come sooner, and a few dozen connections do what would else be one for every command, of 20 KiB
/// each; a slow platform holds nobody up.
pub(super) const STARTING: Duration = Duration::from_millis(2);
/// Starting places of a worker: 32,000 requests a second, if no answer comes in time.
const STARTING_PLACES: usize = 64;

/// The places in which requests start: see [`STARTING`].
#[derive(Debug)]
pub(super) struct Starting {
    places: Semaphore,
    waiting: AtomicUsize,
}

impl Starting {
    pub(super) fn new() -> Self {
        Self::with(STARTING_PLACES)
    }

    /// Requests that wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn with(places: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        /// Counts one who waits, for as long as it does.
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        // Never closed: with or without a place, the request goes on.
        self.places.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_starting_place_is_counted_until_it_has_one_or_gives_up() {
        let starting = Starting::with(1);
        let first = starting.place().await;
        assert!(first.is_some());

        let mut second = Box::pin(starting.place());
        assert!(second.as_mut().now_or_never().is_none());
        let mut third = Box::pin(starting.place());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(starting.waiting(), 2);

        drop(third);
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(starting.waiting(), 0);
    }
}
