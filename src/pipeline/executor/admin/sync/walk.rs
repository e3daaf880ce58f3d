//! From page to page: what the platform lists is read, compared, and written with the place where
//! the run goes on. Nothing but the page is held in memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::budget::Share;
use super::compare::{Seen, Vanished};
use super::state::{Counts, Kept, Noted, Phase, Progress, stored};
use super::{Refusal, read};
use crate::domain::{Wait, WaitReason};
use crate::pipeline::clock;
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::job::Job;
use crate::pipeline::retry::Next;
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{
    AdapterError, AskedToWait, CallContext, ChangeKind, ChangePage, Driver, ErrorClass,
    ExternalItem, ItemRef, SyncFrom, strangers,
};
use crate::store::{SyncFence, SyncRun};

/// Tickets that are looked at in one statement while `ticket_externals` is filled.
const FILLED_AT_ONCE: i64 = 2_000;
/// Most missing items that a step asks for.
const LOOKED_MAX: usize = 200;
/// The application's clock may be behind ours by so much.
const CLOCKS: chrono::Duration = chrono::Duration::hours(1);

/// A run, as far as a step takes it.
pub(super) struct Walk<'a> {
    pub(super) core: &'a Core,
    pub(super) job: &'a Job,
    pub(super) handle: &'a Arc<ConnectedIntegration>,
    pub(super) adapter: &'a Driver,
    tokens: TokenCache<'a>,
    /// What the platform's answers asked for.
    asked: AskedToWait,
    /// By when what is being asked must have an answer.
    pub(super) deadline: Instant,
    /// `None`: a rehearsal, which writes nothing.
    pub(super) fence: Option<SyncFence>,
    pub(super) is_full: bool,
    pub(super) run: SyncRun,
    pub(super) counts: Counts,
    pub(super) progress: Progress,
    pub(super) kept: Kept,
    /// Pages that this step has made durable, and missing items that it has asked for.
    pub(super) durable: usize,
    pub(super) looked: usize,
    /// Hashes of the changes of the page at hand.
    pub(super) looked_at: Vec<Vec<u8>>,
    /// What a rehearsal has seen, and would change.
    pub(super) rehearsed: HashSet<Vec<u8>>,
    pub(super) changes: Vec<Value>,
}

impl<'a> Walk<'a> {
    /// Goes on with a run.
    pub(super) fn new(
        core: &'a Core,
        job: &'a Job,
        handle: &'a Arc<ConnectedIntegration>,
        adapter: &'a Driver,
        (fence, run, is_full): (SyncFence, SyncRun, bool),
    ) -> Self {
        Self {
            core,
            job,
            handle,
            adapter,
            tokens: TokenCache::new(&core.tokens, Some(handle)),
            asked: AskedToWait::default(),
            deadline: Instant::now() + core.config.dispatch.attempt_timeout,
            fence: Some(fence),
            is_full,
            counts: stored(&run.counts),
            progress: stored(&run.progress),
            kept: stored(&run.kept),
            run,
            durable: 0,
            looked: 0,
            looked_at: Vec::new(),
            rehearsed: HashSet::new(),
            changes: Vec::new(),
        }
    }

    /// A rehearsal, from where the next run would begin.
    pub(super) fn dry(
        core: &'a Core,
        job: &'a Job,
        handle: &'a Arc<ConnectedIntegration>,
        adapter: &'a Driver,
        (run, is_full): (SyncRun, bool),
    ) -> Self {
        let fence = SyncFence {
            integration: handle.row.id,
            command: job.id,
            owner: core.me.id,
            fencing_token: job.fencing_token,
        };
        Self {
            fence: None,
            ..Self::new(core, job, handle, adapter, (fence, run, is_full))
        }
    }

    pub(super) fn context(&self) -> CallContext<'_> {
        CallContext::new(
            &self.core.http,
            self.deadline,
            self.core.lease.as_ref(),
            &self.tokens,
            strangers(self.handle.row.platform),
        )
        .remembering(self.handle.memory.as_ref())
        .mailing(&self.core.mail)
        .noting(&self.asked)
        .only_reading()
    }

    /// The database's clock.
    ///
    /// Refuses where the integration is paused: the run goes on when the platform takes requests
    /// again.
    pub(super) async fn clock(&self) -> Result<DateTime<Utc>, Refusal> {
        let clock = self.core.store.sync_clock(self.handle.row.id).await;
        match read(self.job, clock)? {
            (now, None) => Ok(now),
            (_, Some(at)) => Err(Refusal::Waits(Next {
                at,
                wait: Wait::of(WaitReason::PlatformRateLimit),
            })),
        }
    }

    /// What follows where the platform does not answer as it should. What is durable stays so.
    pub(super) fn refused(&self, error: &AdapterError) -> Refusal {
        tracing::info!(command_id = %self.job.id, error = %error, "a sync's request failed");
        Refusal::of_read(error, &self.asked)
    }

    /// Whether this step has asked for as many missing items as one may.
    pub(super) const fn is_sated(&self) -> bool {
        self.looked >= LOOKED_MAX
    }

    /// Looks at what the platform says is left of its budgets.
    pub(super) fn may_go_on(&mut self) -> Result<(), Refusal> {
        let now = clock::now();
        let budget = self.core.config.sync.budget;
        let wait = Wait::of(WaitReason::SyncBudget);
        if let Some(pause) = self.asked.budget() {
            let at = pause.until(now);
            return Err(self.rests(Next { at, wait }));
        }
        if let Some(left) = self.asked.left() {
            let share = Share::look(self.progress.share.take(), &left, budget, now);
            let until = share.wait(&left, now);
            self.progress.share = Some(share);
            if let Some(at) = until {
                return Err(self.rests(Next { at, wait }));
            }
        }
        Ok(())
    }

    pub(super) fn rests(&self, next: Next) -> Refusal {
        if self.durable > 0 {
            Refusal::GoesOn(next)
        } else {
            Refusal::Waits(next)
        }
    }

    /// Up to when changes have been seen, once the run is at its end; `None` leaves it as it was.
    pub(super) fn seen_until(&self) -> Option<DateTime<Utc>> {
        let until = (!self.progress.is_cut).then_some(self.run.started_at)?;
        match self.progress.not_beyond {
            // Nothing says when it changed.
            Some(at) if at <= DateTime::UNIX_EPOCH => None,
            Some(at) => Some(until.min(at)),
            None => Some(until),
        }
    }

    /// Where the platform lets the next run begin; what was put off would not be listed behind it.
    pub(super) fn mark(&self) -> Option<String> {
        let stays = self.progress.is_cut || self.progress.not_beyond.is_some();
        self.progress.mark.clone().filter(|_| !stays)
    }

    /// What is asked now has the time of an attempt.
    pub(super) fn renew(&mut self) {
        self.deadline = Instant::now() + self.core.config.dispatch.attempt_timeout;
    }

    /// One page of whatever is at hand.
    pub(super) async fn advance(&mut self) -> Result<(), Refusal> {
        self.renew();
        match self.progress.phase {
            Phase::Fill => self.fill().await,
            Phase::List => self.list().await,
            Phase::Follow => self.follow().await,
            Phase::Names => self.follow_by_name().await,
            Phase::Missing => self.look_for_missing().await,
            Phase::Done => Ok(()),
        }
    }

    /// Our tickets are put where they are found by their items' ids: all of them the first time,
    /// later those that were written since.
    async fn fill(&mut self) -> Result<(), Refusal> {
        let (store, id) = (&self.core.store, self.handle.row.id);
        let key = self.adapter.stable_ref();
        let is_done = match (self.fence, self.kept.filled_at) {
            (None, _) => true,
            (Some(_), None) => {
                let after = self.progress.fill_after;
                let last = store.fill_externals(id, key, after, FILLED_AT_ONCE).await;
                let last = read(self.job, last)?;
                self.progress.fill_after = last;
                last.is_none()
            }
            (Some(_), Some(at)) => {
                let since = at - CLOCKS;
                let made = store
                    .fill_new_externals(id, key, since, FILLED_AT_ONCE)
                    .await;
                read(self.job, made)? < FILLED_AT_ONCE
            }
        };
        if is_done {
            self.kept.filled_at = Some(self.run.started_at);
            self.progress.phase = Phase::List;
        }
        self.write(Vec::new(), Vec::new()).await
    }

    /// A page of what changed where items are made.
    async fn list(&mut self) -> Result<(), Refusal> {
        let asked_at = self.clock().await?;
        let from = SyncFrom {
            since: self.run.since,
            mark: self.run.mark.as_deref(),
            page: self.run.page.as_deref(),
        };
        let mut page = match self.adapter.changes(&self.context(), &from).await {
            Ok(page) => page,
            Err(error) if self.is_forgotten(&error) => {
                tracing::info!(command_id = %self.job.id, error = %error,
                    "the platform has forgotten a page; the listing begins anew");
                self.progress.is_restarted = true;
                self.progress.watch.restart(self.run.pages);
                (self.run.page, self.run.last_ids) = (None, None);
                return self.write(Vec::new(), Vec::new()).await;
            }
            Err(error) => return Err(self.refused(&error)),
        };
        let next = page.next.take();
        let is_farther = page.mark.is_some() && page.mark != self.progress.mark;
        if let Some(mark) = page.mark.take() {
            self.progress.mark = Some(mark);
        }
        if page.unreadable > 0 {
            self.counts.errors += u64::try_from(page.unreadable).unwrap_or_default();
            let text = format!(
                "{} items have no id that could be one; they are left out",
                page.unreadable
            );
            self.progress.note(Noted::of("unreadable", text));
        }
        self.run.pages += 1;
        let lie = self.look(&page, next.as_deref(), is_farther).await?;
        let (mut items, gone) = self.take(page, asked_at).await?;
        keep_latest(&mut items);
        if let Some(lie) = lie {
            tracing::warn!(command_id = %self.job.id, platform_name =
                self.handle.row.platform_name.as_str(), "a sync is ended: {lie}");
            let text = format!("{lie}; what was read is kept, and the next sync begins anew");
            self.progress.note(Noted::of("paging", text));
            self.progress.is_cut = true;
        }
        self.progress.phase = match (&next, lie) {
            (_, Some(_)) => Phase::Done,
            (Some(_), None) => Phase::List,
            (None, None) => Phase::Follow,
        };
        self.run.page = next;
        self.write(items, gone).await
    }

    /// Whether the platform does not take the page's token any more. Once: a listing that is
    /// refused from its beginning is refused for another reason.
    fn is_forgotten(&self, error: &AdapterError) -> bool {
        let of_token = matches!(
            error.class,
            ErrorClass::Validation { .. }
                | ErrorClass::NotFound
                | ErrorClass::Gone
                | ErrorClass::Conflict
        );
        of_token && self.run.page.is_some() && !self.progress.is_restarted
    }

    pub(super) fn seen(&self, item: ExternalItem, asked_at: DateTime<Utc>) -> Seen {
        Seen {
            ours: self.adapter.ours(&item.facts),
            item,
            asked_at,
            is_current: false,
            asked_by: None,
        }
    }

    /// The items of a page. What does not show its item is read by its id, once.
    async fn take(
        &mut self,
        page: ChangePage,
        asked_at: DateTime<Utc>,
    ) -> Result<(Vec<Seen>, Vec<Vanished>), Refusal> {
        let (mut items, mut gone) = (Vec::new(), Vec::new());
        let mut named: HashSet<ItemRef> = HashSet::new();
        for change in page.changes {
            if change.whole {
                let item = ExternalItem {
                    item: change.item,
                    at: change.at,
                    facts: change.facts,
                    marker: change.marker,
                    ..ExternalItem::default()
                };
                items.push(self.seen(item, asked_at));
            } else if named.insert(change.item.clone()) {
                self.renew();
                let asked_at = self.clock().await?;
                match self.adapter.get(&self.context(), &change.item).await {
                    Ok(Some(item)) => items.push(Seen {
                        is_current: true,
                        ..self.seen(item, asked_at)
                    }),
                    // One that is gone has nothing else to say; another that is not there may be
                    // out of sight.
                    Ok(None) if change.kind == ChangeKind::Deleted => gone.push(Vanished {
                        item: change.item,
                        asked_at,
                    }),
                    Ok(None) => {}
                    Err(error) if Self::is_of_one(&error) => {
                        self.unreadable(&change.item.external_id, &error);
                    }
                    Err(error) => return Err(self.refused(&error)),
                }
            }
        }
        Ok((items, gone))
    }
}

/// An item that changes meanwhile may be on a page twice; the latest counts.
fn keep_latest(items: &mut Vec<Seen>) {
    let mut latest: HashMap<ItemRef, usize> = HashMap::new();
    for (index, seen) in items.iter().enumerate() {
        let newest = latest.entry(seen.item.item.clone()).or_insert(index);
        let at = |seen: &Seen| (seen.is_current, seen.changed_at());
        if items
            .get(*newest)
            .is_some_and(|other| at(seen) >= at(other))
        {
            *newest = index;
        }
    }
    let mut index = 0;
    items.retain(|seen| {
        index += 1;
        latest.get(&seen.item.item) == Some(&(index - 1))
    });
}
