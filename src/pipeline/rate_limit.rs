//! RateSlots of integrations with a `rate_limit_per_hour`: distinct, over all workers. Whoever asks
//! while another's answer is on its way is in the next batch: one transaction however many ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::domain::IntegrationId;
use crate::store::{Store, StoreError, chain};

type Waiters = Vec<oneshot::Sender<Option<DateTime<Utc>>>>;

/// Who waits, by integration. An entry means that somebody is asking for them.
#[derive(Default)]
pub(in crate::pipeline) struct RateSlots {
    waiting: Mutex<HashMap<Uuid, Waiters>>,
}

impl RateSlots {
    /// The next slot; `None` where the database does not say.
    pub(in crate::pipeline) async fn next(
        &self,
        store: &Store,
        id: IntegrationId,
        limit: u32,
    ) -> Option<DateTime<Utc>> {
        let (sender, receiver) = oneshot::channel();
        let leads = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let leads = !waiting.contains_key(&id.uuid());
            waiting.entry(id.uuid()).or_default().push(sender);
            leads
        };
        if leads {
            self.serve(store, id, limit).await;
        }
        receiver.await.ok().flatten()
    }

    /// Asks for all who wait, until nobody does.
    async fn serve(&self, store: &Store, id: IntegrationId, limit: u32) {
        // Should this future be dropped, those behind it must not wait for ever.
        let guard = Served {
            rate_slots: self,
            id,
        };
        loop {
            let batch = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                match waiting.get_mut(&id.uuid()) {
                    Some(list) if !list.is_empty() => std::mem::take(list),
                    Some(_) | None => {
                        waiting.remove(&id.uuid());
                        break;
                    }
                }
            };
            let rate_slots = match store.reserve_rate_slots(id, limit, batch.len()).await {
                Ok(rate_slots) => rate_slots,
                Err(error) => {
                    warn(id, &error);
                    Vec::new()
                }
            };
            let mut rate_slots = rate_slots.into_iter();
            for waiter in batch {
                // One that is gone leaves its slot empty, which harms nobody.
                waiter.send(rate_slots.next()).ok();
            }
        }
        std::mem::forget(guard);
    }
}

fn warn(id: IntegrationId, error: &StoreError) {
    tracing::warn!(integration_id = %id, error = chain(error),
        "no slot could be reserved; trying again in a moment");
}

struct Served<'a> {
    rate_slots: &'a RateSlots,
    id: IntegrationId,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let mut waiting = self
            .rate_slots
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&self.id.uuid());
    }
}
