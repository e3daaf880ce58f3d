//! A page is compared with our tickets, and written with the place where the run goes on.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::compare::{Compared, Scene, Seen, Vanished, compare};
use super::liars::Look;
use super::state::{shown, stored};
use super::walk::Walk;
use super::{Refusal, lost, read};
use crate::contract::Subject;
use crate::domain::WaitReason;
use crate::pipeline::retry::Next;
use crate::platforms::ChangePage;
use crate::store::{PageWritten, SyncPage};

/// How often a page is compared anew, as one of its tickets was written meanwhile.
const TRIES: usize = 3;
/// Changes that a rehearsal shows.
const CHANGES_SHOWN: usize = 100;

impl Walk<'_> {
    /// Whether the page lies.
    pub(super) async fn look(
        &mut self,
        page: &ChangePage,
        next: Option<&str>,
        is_farther: bool,
    ) -> Result<Option<&'static str>, Refusal> {
        let changes = page.changes.iter();
        let hashes: Vec<Vec<u8>> = changes
            .clone()
            .map(|change| hash("change", change.id.as_bytes()))
            .collect();
        let new = hashes.len() - self.seen_before(&hashes).await?;
        let token = next.map(|next| self.hash_of_token(next));
        let is_next_known = match token {
            Some(token) => self.seen_before(&[token]).await? > 0,
            None => false,
        };
        self.looked_at.clone_from(&hashes);
        let mut ids = hashes;
        ids.sort_unstable();
        let ids = hash("page", &ids.concat());
        let look = Look {
            items: page.changes.len(),
            new,
            latest: changes.filter_map(|change| Some(change.at?.low)).max(),
            is_farther,
            has_next: next.is_some(),
            is_next_known,
            is_repeated: self.run.last_ids.as_ref() == Some(&ids),
            pages: self.run.pages,
        };
        self.run.last_ids = Some(ids);
        Ok(self.progress.watch.judge(&look))
    }

    async fn seen_before(&self, items: &[Vec<u8>]) -> Result<usize, Refusal> {
        if self.fence.is_none() {
            let known = items.iter().filter(|item| self.rehearsed.contains(*item));
            return Ok(known.count());
        }
        let known = self.core.store.seen_before(self.job.id, items).await;
        Ok(usize::try_from(read(self.job, known)?).unwrap_or_default())
    }

    /// Tokens of a listing that was begun anew are others, as the same may come again.
    fn hash_of_token(&self, token: &str) -> Vec<u8> {
        let kind = if self.progress.is_restarted {
            "token again"
        } else {
            "token"
        };
        hash(kind, token.as_bytes())
    }

    /// Compares items with our tickets, and writes what differs together with where the run is.
    pub(super) async fn write(
        &mut self,
        mut items: Vec<Seen>,
        gone: Vec<Vanished>,
    ) -> Result<(), Refusal> {
        let mut seen: Vec<Vec<u8>> = items.iter().map(hash_of).collect();
        let known = self.seen_before(&seen).await?;
        self.counts.seen += u64::try_from(seen.len() - known).unwrap_or_default();
        seen.append(&mut self.looked_at);
        seen.extend(
            self.run
                .page
                .as_deref()
                .map(|page| self.hash_of_token(page)),
        );
        for _ in 0..TRIES {
            let bound = self.settled(&mut items, &gone).await?;
            let found = compare(&self.scene(), &items, &gone, &bound);
            let Some(fence) = self.fence else {
                self.rehearse(&found, seen);
                return Ok(());
            };
            let page = self.page(found, &seen);
            let store = &self.core.store;
            let written = store
                .write_page(&fence, self.job.organization_id, &page)
                .await;
            match read(self.job, written)? {
                PageWritten::Done => {
                    self.counts = stored(&page.counts);
                    self.progress = stored(&page.progress);
                    self.core.relay.offer(page.events);
                    self.durable += 1;
                    return Ok(());
                }
                PageWritten::Void => {}
                PageWritten::Lost => return Err(Refusal::Waits(lost())),
            }
        }
        Err(self.rests(Next::in_(
            Duration::from_secs(1),
            WaitReason::IntegrationChanged,
        )))
    }

    fn scene(&self) -> Scene<'_> {
        let row = &self.handle.row;
        Scene {
            subject: Subject {
                id: row.id,
                organization_id: row.organization_id,
                category: row.category,
                platform: row.platform,
            },
            command: self.job.id,
            stable_ref: self.adapter.stable_ref(),
            closes: row.closes_deleted(),
            since: self.run.since,
        }
    }

    /// What is written of a page. What it counts is the run's once it is durable.
    fn page(&self, found: Compared, seen: &[Vec<u8>]) -> SyncPage {
        let mut counts = self.counts.clone();
        counts.add(&found.counts);
        let mut progress = self.progress.clone();
        progress.put_off(found.put_off_at);
        let met = found.met.iter().map(|id| id.as_bytes().to_vec());
        SyncPage {
            tickets: found.tickets,
            externals: found.externals,
            gone: found.gone,
            seen: seen.iter().cloned().chain(met).collect(),
            events: found.events,
            next: self.run.page.clone(),
            last_ids: self.run.last_ids.clone(),
            pages: self.run.pages,
            counts: shown(&counts),
            progress: shown(&progress),
            kept: shown(&self.kept),
        }
    }

    fn rehearse(&mut self, found: &Compared, seen: Vec<Vec<u8>>) {
        self.counts.add(&found.counts);
        self.progress.put_off(found.put_off_at);
        self.rehearsed.extend(seen);
        let left = CHANGES_SHOWN.saturating_sub(self.changes.len());
        let changes = found.tickets.iter().take(left).map(|ticket| {
            json!({ "ticket_id": ticket.id, "status": ticket.status,
                "priority": ticket.priority, "external_ticket_id": ticket.external_id })
        });
        self.changes.extend(changes);
    }
}

/// What a run remembers of an item.
fn hash_of(seen: &Seen) -> Vec<u8> {
    hash("item", seen.item.item.address().as_bytes())
}

fn hash(kind: &str, what: &[u8]) -> Vec<u8> {
    let hash = Sha256::new()
        .chain_update(kind)
        .chain_update([0])
        .chain_update(what);
    hash.finalize().iter().take(16).copied().collect()
}
