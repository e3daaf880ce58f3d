//! What the listener knows of integrations without asking the database: read at the start, kept up
//! to date every two seconds, and good for a day where the database is away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio_util::sync::CancellationToken;

use crate::domain::IntegrationId;
use crate::store::{HookEntry, Store, StoreError, chain};
use crate::telemetry::metrics;

/// Integrations that are known at most, some 600 bytes each. Others are asked for one by one.
const ENTRIES_MAX: usize = 20_000;
/// Ids that are remembered to be nobody's.
const UNKNOWN_MAX: usize = 10_000;
/// How long they are.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// How often changes are asked for.
const CHANGES_EVERY: Duration = Duration::from_secs(2);
/// How often everything is read again.
const ALL_EVERY: Duration = Duration::from_secs(300);
/// A change may be committed so long after the time that it bears.
const OVERLAP: TimeDelta = TimeDelta::seconds(10);
/// Integrations that are read at a time.
const PAGE: i64 = 500;
/// Longest somebody waits for an id to be looked up.
const LOOK_UP_MAX: Duration = Duration::from_millis(200);
/// Shortest time between two look-ups; each is of all ids that were asked for meanwhile.
const LOOK_UP_EVERY: Duration = Duration::from_millis(20);
/// Ids of one look-up.
const LOOK_UP_IDS: usize = 200;

/// What is known of an id.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// An integration.
    Entry(Arc<HookEntry>),
    /// There is no integration with it.
    Unknown,
    /// The database does not answer, and has never yet.
    Starting,
    /// The database does not answer.
    Away,
}

/// Why what is known is not looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cached {
    /// It is there.
    Known,
    /// It is not, and all are known.
    Absent,
    /// It is not, and there may be more.
    Unsure,
}

/// The entries.
pub(super) struct Entries {
    store: Store,
    /// How long they are good without the database.
    good_for: Duration,
    known: Mutex<Known>,
    /// Whether all were read once, and all are known.
    is_complete: AtomicBool,
    /// Who waits for which id.
    asked: Mutex<HashMap<IntegrationId, Vec<oneshot::Sender<()>>>>,
    /// One look-up at a time, and when the last was.
    looking: AsyncMutex<Option<Instant>>,
}

#[derive(Default)]
struct Known {
    entries: HashMap<IntegrationId, Entry>,
    unknown: HashMap<IntegrationId, Instant>,
    /// When the changes were last read; `None`: never.
    fresh_at: Option<Instant>,
}

struct Entry {
    entry: Arc<HookEntry>,
    read_at: Instant,
    used_at: Instant,
}

impl Entries {
    pub(super) fn new(store: Store, good_for: Duration) -> Self {
        Self {
            store,
            good_for,
            known: Mutex::default(),
            is_complete: AtomicBool::new(false),
            asked: Mutex::default(),
            looking: AsyncMutex::default(),
        }
    }

    /// Whether an id is in memory.
    pub(super) fn cached(&self, id: IntegrationId) -> Cached {
        if self.lock().entries.contains_key(&id) {
            return Cached::Known;
        }
        if self.is_complete.load(Ordering::Acquire) {
            Cached::Absent
        } else {
            Cached::Unsure
        }
    }

    /// What is known of an id; what is not is looked up.
    pub(super) async fn find(self: &Arc<Self>, id: IntegrationId) -> Found {
        if let Some(found) = self.known(id) {
            return found;
        }
        if tokio::time::timeout(LOOK_UP_MAX, self.look_up(id))
            .await
            .is_err()
        {
            tracing::debug!(integration = %id, "an integration was not looked up in time");
        }
        self.known(id).unwrap_or_else(|| {
            let never = self.lock().fresh_at.is_none();
            if never { Found::Starting } else { Found::Away }
        })
    }

    /// The same, read anew; `None` where the database does not answer in time.
    pub(super) async fn newer(self: &Arc<Self>, id: IntegrationId) -> Option<Arc<HookEntry>> {
        let read_at = self.lock().entries.get(&id)?.read_at;
        let looked = tokio::time::timeout(LOOK_UP_MAX, self.look_up(id)).await;
        let known = self.lock();
        let entry = known
            .entries
            .get(&id)
            .filter(|entry| entry.read_at > read_at)?;
        looked.ok().map(|()| Arc::clone(&entry.entry))
    }

    fn known(&self, id: IntegrationId) -> Option<Found> {
        let mut known = self.lock();
        if known
            .unknown
            .get(&id)
            .is_some_and(|at| at.elapsed() < UNKNOWN_FOR)
        {
            return Some(Found::Unknown);
        }
        let fresh_at = known.fresh_at;
        let entry = known.entries.get_mut(&id)?;
        let last = fresh_at.map_or(entry.read_at, |at| at.max(entry.read_at));
        if last.elapsed() > self.good_for {
            return None;
        }
        entry.used_at = Instant::now();
        Some(Found::Entry(Arc::clone(&entry.entry)))
    }

    /// Looks an id up, together with those that others ask for. Who stops waiting stops nobody
    /// else's look-up.
    async fn look_up(self: &Arc<Self>, id: IntegrationId) {
        let (done, answered) = oneshot::channel();
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.entry(id).or_default().push(done);
        }
        let entries = Arc::clone(self);
        tokio::task::spawn(async move { entries.look_up_asked().await });
        // Dropped by a look-up that ended early, it says as much: what is known is looked at.
        drop(answered.await);
    }

    /// Looks up what was asked for until now, unless somebody else did while this one waited.
    async fn look_up_asked(&self) {
        let mut last = self.looking.lock().await;
        if let Some(wait) = last.and_then(|at| LOOK_UP_EVERY.checked_sub(at.elapsed())) {
            tokio::time::sleep(wait).await;
        }
        let asked = {
            let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let ids: Vec<IntegrationId> = all.keys().copied().take(LOOK_UP_IDS).collect();
            let of = |id| Some((id, all.remove(&id)?));
            ids.into_iter().filter_map(of).collect::<Vec<_>>()
        };
        if asked.is_empty() {
            return;
        }
        *last = Some(Instant::now());
        let ids: Vec<IntegrationId> = asked.iter().map(|(id, _)| *id).collect();
        match self.store.hook_entries(&ids).await {
            Ok(found) => {
                let there: Vec<IntegrationId> = found.iter().map(|entry| entry.id).collect();
                self.keep(found);
                let mut known = self.lock();
                for id in ids.into_iter().filter(|id| !there.contains(id)) {
                    known.entries.remove(&id);
                    if known.unknown.len() >= UNKNOWN_MAX {
                        known.unknown.retain(|_, at| at.elapsed() < UNKNOWN_FOR);
                    }
                    if known.unknown.len() < UNKNOWN_MAX {
                        known.unknown.insert(id, Instant::now());
                    }
                }
            }
            Err(error) => {
                tracing::debug!(error = chain(&error), "integrations were not looked up");
            }
        }
        for waiting in asked.into_iter().flat_map(|(_, waiting)| waiting) {
            if waiting.send(()).is_err() {
                tracing::trace!("who asked for an integration has stopped waiting");
            }
        }
    }

    fn keep(&self, found: Vec<HookEntry>) {
        let now = Instant::now();
        let mut known = self.lock();
        for entry in found {
            known.unknown.remove(&entry.id);
            let used_at = known.entries.get(&entry.id).map_or(now, |old| old.used_at);
            let kept = Entry {
                read_at: now,
                used_at,
                entry: Arc::new(entry),
            };
            known.entries.insert(kept.entry.id, kept);
        }
        if known.entries.len() > ENTRIES_MAX {
            self.is_complete.store(false, Ordering::Release);
            forget_oldest(&mut known.entries);
        }
    }

    /// Keeps the entries up to date until `stop` fires.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let mut state = Refreshing::default();
        loop {
            let refreshed = tokio::select! {
                refreshed = self.refresh(&mut state) => refreshed,
                // A database that says nothing holds no stop up.
                () = stop.cancelled() => return,
            };
            match refreshed {
                Ok(()) => {
                    if state.failing {
                        tracing::info!("webhooks: the database answers again");
                    }
                    state.failing = false;
                }
                Err(error) => {
                    if !state.failing {
                        tracing::warn!(
                            error = chain(&error),
                            "webhooks are taken by what is known of integrations until now"
                        );
                    }
                    state.failing = true;
                }
            }
            self.count();
            tokio::select! {
                () = tokio::time::sleep(CHANGES_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn refresh(&self, state: &mut Refreshing) -> Result<(), StoreError> {
        let began = Instant::now();
        match (state.mark, state.all_at) {
            (Some(mark), Some(at)) if at.elapsed() < ALL_EVERY => {
                let (changed, now) = self.store.hook_entries_changed(mark - OVERLAP).await?;
                self.keep(changed);
                state.mark = Some(now);
            }
            _ => {
                let now = self.store.hook_entries_clock().await?;
                self.read_all().await?;
                (state.mark, state.all_at) = (Some(now), Some(began));
            }
        }
        self.lock().fresh_at = Some(began);
        Ok(())
    }

    /// Reads all, as many as are kept, and forgets what is not there any more.
    async fn read_all(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self.store.hook_entries_after(after, PAGE).await?;
            let is_last = i64::try_from(page.len()).unwrap_or(PAGE) < PAGE;
            after = page.last().map(|entry| entry.id);
            count += page.len();
            self.keep(page);
            if is_last || count >= ENTRIES_MAX {
                let mut known = self.lock();
                if is_last {
                    known.entries.retain(|_, entry| entry.read_at >= began);
                }
                drop(known);
                self.is_complete.store(is_last, Ordering::Release);
                return Ok(());
            }
        }
    }

    fn count(&self) {
        let known = self.lock();
        let enabled = known
            .entries
            .values()
            .filter(|one| one.entry.is_enabled)
            .count();
        let disabled = known.entries.len() - enabled;
        drop(known);
        metrics::webhook_entries("enabled", enabled);
        metrics::webhook_entries("disabled", disabled);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the entries are up to date.
#[derive(Default)]
struct Refreshing {
    /// By the database's clock.
    mark: Option<DateTime<Utc>>,
    all_at: Option<Instant>,
    failing: bool,
}

/// Makes room: the twentieth part that was longest not used goes.
fn forget_oldest(entries: &mut HashMap<IntegrationId, Entry>) {
    let mut used: Vec<Instant> = entries.values().map(|entry| entry.used_at).collect();
    used.sort_unstable();
    let goes = entries.len().saturating_sub(ENTRIES_MAX) + ENTRIES_MAX / 20;
    if let Some(limit) = used.get(goes.saturating_sub(1)).copied() {
        entries.retain(|_, entry| entry.used_at > limit);
    }
}
