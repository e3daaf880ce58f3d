//! Items that were on no page of a full sync: gone, where the platform says so of each.

use super::compare::{Seen, Vanished};
use super::state::{Noted, Phase};
use super::walk::Walk;
use super::{Refusal, read};
use crate::platforms::{ErrorClass, ItemRef};

/// More than so many, and more than one in so many, are not believed: a permission that was lost
/// looks the same.
const BELIEVED: i64 = 50;
const ONE_IN: i64 = 20;
/// Items that are asked for before what was found of them is written.
const AT_ONCE: i64 = 20;

impl Walk<'_> {
    /// Asks for some of the missing items.
    pub(super) async fn look_for_missing(&mut self) -> Result<(), Refusal> {
        let (integration, began) = (self.handle.row.id, self.run.started_at);
        if !self.progress.is_counted {
            let store = &self.core.store;
            let unseen = store.count_unseen(integration, self.job.id, began).await;
            let unseen = read(self.job, unseen)?;
            self.progress.is_counted = true;
            let are_many =
                unseen.missing > BELIEVED && unseen.missing.saturating_mul(ONE_IN) > unseen.all;
            if are_many {
                let text = format!(
                    "{} of {} items were not listed; none of them is taken for deleted, as the \
                     credential may not see them any more",
                    unseen.missing, unseen.all
                );
                self.progress.note(Noted::of("many_missing", text));
            }
            if are_many || unseen.missing == 0 {
                self.progress.phase = Phase::Done;
            }
            return self.write(Vec::new(), Vec::new()).await;
        }
        let after = self.progress.missing_after.clone();
        let store = &self.core.store;
        let unseen = store
            .unseen_tickets(integration, self.job.id, began, &after, AT_ONCE)
            .await;
        let unseen = read(self.job, unseen)?;
        match unseen.last() {
            None => self.progress.phase = Phase::Done,
            Some(last) => self.progress.missing_after.clone_from(&last.external_id),
        }
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        for ticket in unseen {
            self.looked += 1;
            self.renew();
            let item = ItemRef {
                external_id: ticket.external_id,
                stable_id: ticket.stable_id,
            };
            let asked_at = self.clock().await?;
            match self.adapter.get(&self.context(), &item).await {
                Ok(Some(there)) => found.push(Seen {
                    is_current: true,
                    asked_by: Some(item.external_id),
                    ..self.seen(there, asked_at)
                }),
                Ok(None) => gone.push(Vanished { item, asked_at }),
                Err(error) if error.class == ErrorClass::Unsupported => {
                    self.progress.phase = Phase::Done;
                    break;
                }
                Err(error) if Self::is_of_one(&error) => {
                    self.unreadable(&item.external_id, &error);
                }
                Err(error) => return Err(self.refused(&error)),
            }
        }
        self.write(found, gone).await
    }
}
