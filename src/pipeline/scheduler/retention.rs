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

/// Where the walks are.
#[derive(Debug)]
pub(in crate::pipeline) struct Retention {
    commands: Walk,
    inbound: Walk,
    last: Instant,
}

/// A walk over the pages of a table.
#[derive(Debug, Default)]
struct Walk {
    page: i64,
    pages: i64,
}

impl Walk {
    /// Pages of the next step.
    fn step(&self) -> i64 {
        (self.pages / STEPS).clamp(*PAGES.start(), *PAGES.end())
    }

    /// Goes on behind a step; `None`: another process is at it.
    fn go_on(&mut self, table: &'static str, swept: Option<Swept>) {
        if let Some(swept) = swept {
            metrics::removed(table, u64::try_from(swept.removed).unwrap_or(0));
            self.page = swept.next_page;
            self.pages = swept.pages;
        }
    }
}

impl Retention {
    pub(in crate::pipeline) fn new() -> Self {
        Self {
            commands: Walk::default(),
            inbound: Walk::default(),
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
        let (settings, store) = (&core.config.retention, &core.store);
        if let Some(age) = settings.commands {
            let (page, pages) = (self.commands.page, self.commands.step());
            let swept = store.purge_commands(page, pages, age).await?;
            self.commands.go_on("commands", swept);
        }
        if let Some(age) = settings.inbound {
            let (page, pages) = (self.inbound.page, self.inbound.step());
            let swept = store.purge_inbound(page, pages, age).await?;
            self.inbound.go_on("inbound_changes", swept);
        }
        if let Some(age) = settings.dead_letters {
            let removed = store.purge_dead_letters(age, DEAD_LETTERS).await?;
            metrics::removed("dead_letters", removed);
        }
        Ok(())
    }
}
