//! Items beside our tickets, once those are read again whose snapshot is void.

use std::time::{Duration, Instant};

use super::compare::{Change, Index, Seen, Vanished};
use super::walk::Walk;
use super::{Refusal, read};
use crate::store::BoundTicket;

/// How often, how many and with what pause items are read again whose snapshot is void.
const ROUNDS: usize = 4;
const READ_AGAIN_MAX: usize = 200;
const PAUSE: Duration = Duration::from_millis(500);

impl Walk<'_> {
    /// Our tickets beside the items, once those items were read again whose snapshot is void: we
    /// wrote something while it was on its way, so it may show what was before. What is void still,
    /// as a command is under way, is for the next sync.
    pub(super) async fn settled(
        &self,
        items: &mut [Seen],
        vanished: &[Vanished],
    ) -> Result<Vec<BoundTicket>, Refusal> {
        let mut bound = self.bound(items, vanished).await?;
        let mut left = READ_AGAIN_MAX;
        for round in 0..ROUNDS {
            let void = void_items(items, &bound, left);
            if void.is_empty() || Instant::now() + PAUSE >= self.deadline {
                break;
            }
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            left -= void.len();
            let asked_at = self.clock().await?;
            for at in void {
                let Some(id) = items.get(at).map(|seen| seen.item.item.clone()) else {
                    continue;
                };
                let read = self.adapter.get(&self.context(), &id).await;
                let read = read.map_err(|error| self.refused(&error))?;
                // Where it is gone since, what the page showed stays void.
                if let (Some(item), Some(seen)) = (read, items.get_mut(at)) {
                    *seen = Seen {
                        is_current: true,
                        asked_by: seen.asked_by.take(),
                        ..self.seen(item, asked_at)
                    };
                }
            }
            bound = self.bound(items, vanished).await?;
        }
        Ok(bound)
    }

    async fn bound(
        &self,
        items: &[Seen],
        vanished: &[Vanished],
    ) -> Result<Vec<BoundTicket>, Refusal> {
        let gone = vanished.iter().map(|gone| &gone.item);
        let names = items
            .iter()
            .flat_map(|seen| [Some(seen.name()), seen.asked_by.as_deref()])
            .flatten()
            .chain(gone.clone().map(|item| item.external_id.as_str()));
        let names: Vec<String> = names.map(str::to_owned).collect();
        let stable = items.iter().filter_map(Seen::stable);
        let stable = stable.chain(gone.filter_map(|item| item.stable_id.as_deref()));
        let stable: Vec<String> = stable.map(str::to_owned).collect();
        if names.is_empty() && stable.is_empty() {
            return Ok(Vec::new());
        }
        let store = &self.core.store;
        let key = self.adapter.stable_ref();
        let bound = store.bound_tickets(self.handle.row.id, &names, key, &stable);
        read(self.job, bound.await)
    }
}

/// The places of the items that differ from their tickets and say nothing of them, at most `most`.
fn void_items(items: &[Seen], bound: &[BoundTicket], most: usize) -> Vec<usize> {
    let index = Index::of(bound);
    let is_void = |seen: &Seen| {
        let ours = index.ticket(seen).filter(|ours| !ours.is_deleted);
        ours.is_some_and(|ours| !Change::of(seen, ours).is_none() && seen.is_void(ours))
    };
    let places = items.iter().enumerate();
    let void = places.filter(|(_, seen)| is_void(seen)).map(|(at, _)| at);
    void.take(most).collect()
}
