//! What a command changes of our own tables, beside its own row.

use deadpool_postgres::Object;
use uuid::Uuid;

use super::integrations::{self, IntegrationWrite, NewIntegration};
use super::lifecycle::{self, StateChange, StateChanged};
use super::sync::{self, SyncEnd};
use super::{OutboxRow, Store, StoreError, keep_if_sound, limited};
use crate::domain::IntegrationId;

/// The effect of a command on our own tables, made in the transaction that settles it.
#[derive(Debug, Clone)]
pub enum LedgerChange {
    /// `integration.create`
    CreateIntegration(Box<NewIntegration>),
    /// `integration.status`, `integration.test`, and a platform that is gone for good.
    StateChange(StateChange),
    /// `integration.update`
    UpdateIntegration(Box<IntegrationWrite>),
    /// `integration.delete`
    DeleteIntegration(IntegrationId),
    /// `integration.sync`: its pages are written by then.
    EndSync(SyncEnd),
}

/// What came of an effect.
pub(super) enum Made {
    /// It is written; these events go with it.
    Done(Vec<OutboxRow>),
    /// The integration was not what it was when this was decided; nothing is written.
    Moved,
}

/// Makes a command's own effect, inside the transaction that settles it.
pub(super) async fn make(
    client: &Object,
    effect: &LedgerChange,
    owner: Option<Uuid>,
) -> Result<Made, tokio_postgres::Error> {
    let transited = match effect {
        LedgerChange::CreateIntegration(new) => {
            integrations::create(client, new).await?;
            return Ok(Made::Done(Vec::new()));
        }
        LedgerChange::StateChange(change) => lifecycle::make(client, change, owner).await?,
        LedgerChange::UpdateIntegration(write) => {
            integrations::update(client, write).await?;
            lifecycle::make(client, &write.change, owner).await?
        }
        LedgerChange::DeleteIntegration(id) => {
            integrations::delete(client, *id).await?;
            return Ok(Made::Done(Vec::new()));
        }
        LedgerChange::EndSync(end) => {
            sync::end(client, end).await?;
            return Ok(Made::Done(Vec::new()));
        }
    };
    Ok(match transited {
        StateChanged::Done(rows) => Made::Done(rows),
        // Deleted meanwhile: the command's own look at it says so next time.
        StateChanged::Gone | StateChanged::Moved => Made::Moved,
    })
}

impl Store {
    /// Makes an effect at once, without a command: for the command line. In one transaction.
    ///
    /// # Errors
    /// As the connection's; [`StoreError::Refused`] where the row does not take the change.
    pub async fn apply_now(&self, effect: &LedgerChange) -> Result<(), StoreError> {
        let client = self.hot().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            let made = make(&client, effect, None).await;
            client
                .batch_execute(if made.is_ok() { "COMMIT" } else { "ROLLBACK" })
                .await?;
            made.map(|_| ())
        };
        let result = limited(work).await;
        keep_if_sound(client, result)
    }
}
