//! Our own items are asked for by their ids: one that was moved elsewhere is on no page.

use std::collections::HashSet;

use super::compare::Seen;
use super::state::{Noted, Phase};
use super::walk::Walk;
use super::{Refusal, read};
use crate::platforms::{ErrorClass, ItemRef, KnownItem};
use crate::store::KnownTicket;

/// Tickets that are asked for in one request.
const FOLLOWED_AT_ONCE: usize = 200;
/// Tickets among which they are looked for in one statement.
const FOLLOW_WINDOW: i64 = 2_000;
/// Most tickets that an incremental run asks for; the next one goes on behind them.
const FOLLOWED_MAX: usize = 5_000;
/// Most tickets that are asked for one by one, as no stable id of theirs is known, and among how
/// many of the integration's they are looked for.
const UNFOLLOWED_MAX: usize = 50;
const WINDOW: i64 = 5_000;

impl Walk<'_> {
    /// One request for tickets by their stable ids.
    pub(super) async fn follow(&mut self) -> Result<(), Refusal> {
        if self.progress.followed == 0 && self.progress.follow_after.is_empty() && !self.is_full {
            self.progress
                .follow_after
                .clone_from(&self.kept.follow_after);
        }
        let integration = self.handle.row.id;
        let after = self.progress.follow_after.clone();
        let run = self.fence.map(|_| self.job.id);
        let store = &self.core.store;
        let window = store.followed_tickets(integration, run, &after, self.is_full, FOLLOW_WINDOW);
        let window = read(self.job, window.await)?;
        let end = window
            .last()
            .and_then(|(ticket, _)| ticket.stable_id.clone());
        let wanted = window.into_iter().filter(|(_, wanted)| *wanted);
        let mut ours: Vec<KnownTicket> = wanted.map(|(ticket, _)| ticket).collect();
        // What of the window is left is looked at again.
        let end = match ours.get(FOLLOWED_AT_ONCE - 1) {
            Some(last) => last.stable_id.clone(),
            None => end,
        };
        ours.truncate(FOLLOWED_AT_ONCE);
        let Some(last) = end else {
            // The beginning was not asked for by a run that began in the middle.
            self.kept.follows_anew = !self.is_full && !self.kept.follow_after.is_empty();
            self.kept.follow_after = String::new();
            self.progress.phase = Phase::Names;
            return self.write(Vec::new(), Vec::new()).await;
        };
        let known: Vec<KnownItem> = ours
            .into_iter()
            .filter_map(|ticket| {
                Some(KnownItem {
                    id: ticket.stable_id?,
                    marker: format!("tkt-{}", ticket.id),
                })
            })
            .collect();
        if known.is_empty() {
            self.progress.follow_after = last;
            return self.write(Vec::new(), Vec::new()).await;
        }
        let asked_at = self.clock().await?;
        // Where the last run did not ask for all, its time says nothing of them.
        let since = self.run.since.filter(|_| !self.kept.follows_anew);
        let found = self.adapter.known(&self.context(), &known, since).await;
        let found = found.map_err(|error| self.refused(&error))?;
        // Of a search by marks, copies are no items of ours.
        let asked: HashSet<&str> = known.iter().map(|item| item.id.as_str()).collect();
        let is_asked = |seen: &Seen| seen.stable().is_some_and(|id| asked.contains(id));
        let found: Vec<Seen> = found
            .into_iter()
            .map(|item| self.seen(item, asked_at))
            .filter(is_asked)
            .collect();
        self.progress.followed += known.len();
        self.progress.follow_after.clone_from(&last);
        if !self.is_full && self.progress.followed >= FOLLOWED_MAX {
            self.kept.follows_anew = true;
            self.kept.follow_after = last;
            self.progress.phase = Phase::Names;
        }
        self.write(found, Vec::new()).await
    }

    /// The same for tickets of which only the id is known that people quote: one that was moved
    /// still answers to it, and from then on its stable id is known.
    pub(super) async fn follow_by_name(&mut self) -> Result<(), Refusal> {
        let store = &self.core.store;
        let after = self.kept.names_after.clone();
        let window = store.unfollowed_tickets(self.handle.row.id, &after, WINDOW);
        let window = read(self.job, window.await)?;
        let is_whole = i64::try_from(window.len()).is_ok_and(|found| found < WINDOW);
        let last = window.last().map(|(name, _)| name.clone());
        let wanted = window.into_iter().filter(|(_, wanted)| *wanted);
        let mut names: Vec<String> = wanted.map(|(name, _)| name).collect();
        let has_more = names.len() > UNFOLLOWED_MAX;
        names.truncate(UNFOLLOWED_MAX);
        // Others each time, as some lead nowhere any more.
        self.kept.names_after = match (has_more, is_whole) {
            (true, _) => names.last().cloned().unwrap_or_default(),
            (false, false) => last.unwrap_or_default(),
            (false, true) => String::new(),
        };
        let mut found = Vec::new();
        for name in names {
            self.renew();
            let asked_at = self.clock().await?;
            let asked = ItemRef::named(&name);
            match self.adapter.get(&self.context(), &asked).await {
                Ok(Some(item)) => found.push(Seen {
                    is_current: true,
                    asked_by: Some(name),
                    ..self.seen(item, asked_at)
                }),
                Ok(None) => {}
                Err(error) if error.class == ErrorClass::Unsupported => break,
                Err(error) if Self::is_of_one(&error) => self.unreadable(&name, &error),
                Err(error) => return Err(self.refused(&error)),
            }
        }
        self.progress.phase = match self.is_full && self.fence.is_some() {
            true => Phase::Missing,
            false => Phase::Done,
        };
        self.write(found, Vec::new()).await
    }

    /// Whether an error is of the item that was asked for, and says nothing of others.
    pub(super) const fn is_of_one(error: &crate::platforms::AdapterError) -> bool {
        matches!(
            error.class,
            ErrorClass::NotFound | ErrorClass::Validation { .. } | ErrorClass::Internal
        )
    }

    /// Counts an item that cannot be read; the run goes on.
    pub(super) fn unreadable(&mut self, name: &str, error: &crate::platforms::AdapterError) {
        tracing::info!(command_id = %self.job.id, error = %error, "a sync cannot read an item");
        self.counts.errors += 1;
        let text = format!("{name}: {}", error.public);
        self.progress.note(Noted::of("unreadable", text));
    }
}
