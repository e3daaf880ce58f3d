//! Removes what is finished and older than `retention.*` says, a little at a time.

use std::time::{Duration, Instant};

use crate::pipeline::context::Core;
use crate::store::{StoreError, Swept};
use crate::telemetry::metrics;

/// How often a step is made.
const STEP: Duration = Duration::from_secs(1);
/// A walk over the whole table takes about so many steps, where that is within the bounds below.
const STEPS: i64 = 300;
/// Pages of a step, of 8 KiB each: enough to keep up, and few enough to be nothing beside the work.
const PAGES: std::ops::RangeInclusive<i64> = 128..=2_000;
/// Dead letters of a step.
const DEAD_LETTERS: i64 = 500;

/// Where the walk is.
#[derive(Debug)]
pub(in crate::pipeline) struct Retention {
    page: i64,
    pages: i64,
    last: Instant,
}

impl Retention {
    pub(in crate::pipeline) fn new() -> Self {
        Self {
            page: 0,
            pages: 0,
            last: Instant::now(),
        }
    }

    /// Makes a step, if it is time for one.
    ///
    /// # Errors
    /// As the store's.
    pub(in crate::pipeline) async fn step(&mut self, core: &Core) -> Result<(), StoreError> {
        if self.last.elapsed() < STEP {
            return Ok(());
        }
        self.last = Instant::now();
        let settings = &core.config.retention;
        if let Some(age) = settings.commands {
            let pages = (self.pages / STEPS).clamp(*PAGES.start(), *PAGES.end());
            let purged = core.store.purge_commands(self.page, pages, age).await?;
            if let Some(Swept {
                removed,
                next_page,
                pages,
            }) = purged
            {
                metrics::removed("commands", u64::try_from(removed).unwrap_or(0));
                self.page = next_page;
                self.pages = pages;
            }
        }
        if let Some(age) = settings.dead_letters {
            let removed = core.store.purge_dead_letters(age, DEAD_LETTERS).await?;
            metrics::removed("dead_letters", removed);
        }
        Ok(())
    }
}
