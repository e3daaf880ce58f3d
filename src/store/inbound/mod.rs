//! What came from platforms, settled in batches: one transaction has the changes that are taken,
//! the tickets' rows, what is known of their items, comments, events, and the commands that brought
//! them. What is decided depends on rows that are locked, so it is decided in the middle of it.

mod read;
mod write;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::read::{BusyWriter, Item, KnownComment, LockedTicket};
pub use self::write::{CommentRow, ExternalRow, ImportRow, RowChange};
use super::row::Json;
use super::settle::{Followed, SettledBatch, Settlement, settle_within};
use super::{OutboxRow, Store, StoreError, keep_if_sound, limited};
use crate::domain::{CommandId, IntegrationId, OrganizationId, TicketId};

/// A change that is to be decided.
#[derive(Debug, Clone)]
pub struct AskedChange {
    /// Derived from the integration and the platform's own id of the change.
    pub id: Uuid,
    /// The command that brought it.
    pub command_id: CommandId,
    /// Whose it is.
    pub integration_id: IntegrationId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// What its item is called.
    pub external_id: String,
    /// The id of the item that survives a change of that.
    pub stable_id: Option<String>,
    /// The member of a ticket's `external_ref` that has the latter.
    pub stable_ref: &'static str,
    /// The ticket that the item's mark names.
    pub marked: Option<TicketId>,
    /// The comment that it is about.
    pub comment: Option<String>,
    /// The command that the comment's mark names.
    pub marked_by: Option<CommandId>,
    /// Who of ours has the account that the item is assigned to: an id of `users`, or an e-mail
    /// address in lower case.
    pub person: Option<String>,
}

/// What is there, with the tickets' rows locked.
#[derive(Debug)]
pub struct Found {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// The commands that are still ours: what the others brought is whose they are now.
    pub mine: HashSet<CommandId>,
    /// Changes that were taken before, with the command that brought them and what became of them;
    /// those of this batch are not among them.
    pub taken: HashMap<Uuid, (Option<CommandId>, String)>,
    /// The tickets by their ids.
    pub tickets: HashMap<TicketId, LockedTicket>,
    /// For each change, in the order in which they were asked, the tickets that have its item.
    pub bound: Vec<Vec<TicketId>>,
    /// Comments that are known.
    pub comments: HashMap<(IntegrationId, String), KnownComment>,
    /// Of the commands that comments' marks name: the ticket that each is about.
    pub authors: HashMap<CommandId, Option<TicketId>>,
    /// People of ours, by what they were asked for.
    pub people: HashMap<(OrganizationId, String), Uuid>,
    /// Integrations whose platform may be making an item of ours right now.
    pub creating: HashSet<IntegrationId>,
}

/// What is decided of a batch.
#[derive(Debug, Default)]
pub struct Decided {
    /// Changes that are not taken now: they come again.
    pub put_back: Vec<Uuid>,
    /// Of those that are taken: what became of each, and whose ticket it was.
    pub taken: Vec<(Uuid, &'static str, Option<TicketId>)>,
    /// Tickets' rows.
    pub rows: Vec<RowChange>,
    /// What is known of their items.
    pub externals: Vec<ExternalRow>,
    /// Comments.
    pub comments: Vec<CommentRow>,
    /// Tickets that are made of items that nobody knew.
    pub imports: Vec<ImportRow>,
    /// What is told.
    pub events: Vec<OutboxRow>,
    /// The commands.
    pub settlements: Vec<Settlement>,
}

impl Store {
    /// Settles what came from platforms. `decide` is called with the rows locked and must be quick;
    /// it may be called again where the transaction is. `runs` are the commands that brought them,
    /// with their fences. Locks commands, then changes, then tickets, each in the order of their
    /// ids.
    ///
    /// # Errors
    /// As [`Store::settle`].
    pub async fn settle_inbound(
        &self,
        owner: Uuid,
        worker: &str,
        runs: &[(CommandId, i32)],
        asked: &[AskedChange],
        decide: impl FnOnce(Found) -> Decided,
    ) -> Result<(SettledBatch, Followed, Vec<Settlement>), StoreError> {
        let client = self.hot().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            let made = async {
                let found = read::find(&client, (owner, runs), asked).await?;
                let decided = decide(found);
                write::all(&client, &decided, owner).await?;
                let settled = settle_within(&client, (owner, worker), &decided.settlements).await?;
                write::forget(&client, &decided.settlements).await?;
                Ok::<_, tokio_postgres::Error>((decided, settled))
            }
            .await;
            client
                .batch_execute(if made.is_ok() { "COMMIT" } else { "ROLLBACK" })
                .await?;
            let (decided, (mut settled, followed)) = made?;
            settled.extra = decided.events;
            Ok::<_, tokio_postgres::Error>((settled, followed, decided.settlements))
        };
        let result = limited(work).await;
        keep_if_sound(client, result)
    }
}

impl Store {
    /// Has `decide` see what it would see, and writes nothing. Locks as [`Store::settle_inbound`]
    /// does, until it is done.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn rehearse_inbound<T>(
        &self,
        asked: &[AskedChange],
        decide: impl FnOnce(Found) -> T,
    ) -> Result<T, StoreError> {
        let client = self.get().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            let found = read::find(&client, (Uuid::nil(), &[]), asked).await;
            client.batch_execute("ROLLBACK").await?;
            found.map(decide)
        };
        let result = limited(work).await;
        keep_if_sound(client, result)
    }

    /// What is known of a ticket's item, by field; see [`Item::base`].
    ///
    /// # Errors
    /// As the connection's.
    pub async fn ticket_base(&self, ticket: TicketId) -> Result<Map<String, Value>, StoreError> {
        const SQL: &str = "SELECT base FROM ticket_externals WHERE ticket_id = $1";
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(SQL).await?;
            limited(client.query_opt(&statement, &[&ticket.uuid()])).await
        }
        .await;
        let row = keep_if_sound(client, result)?;
        Ok(object(row.and_then(|row| row.get::<_, Json>(0).0)))
    }

    /// Whether somebody wrote a comment with this digest to a ticket's item within the last ten
    /// minutes.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn was_commented(&self, ticket: TicketId, digest: &[u8]) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT EXISTS (SELECT FROM ticket_comments WHERE ticket_id = $1 \
                           AND origin = 'theirs' AND body_digest = $2 \
                           AND seen_at > now() - interval '10 minutes')";
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(SQL).await?;
            limited(client.query_one(&statement, &[&ticket.uuid(), &digest])).await
        }
        .await;
        keep_if_sound(client, result.map(|row| row.get(0)))
    }
}

/// An object of a row, or an empty one.
fn object(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        Some(_) | None => Map::new(),
    }
}
