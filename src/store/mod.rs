//! Every SQL statement, a file a table or query family; the pools. Functions take and return domain
//! types and say what they lock. Nothing outside this module has SQL in it.

mod circuits;
mod claim;
mod connect;
mod dead_letters;
pub mod diagnosis;
mod effect;
mod enqueue;
mod erase;
mod error;
mod holds;
mod hook_entries;
mod inbound;
mod indexes;
mod integrations;
mod lifecycle;
pub mod migrate;
mod names;
mod outbox;
mod queries;
pub mod recent;
mod retention;
mod row;
mod schedule;
pub mod seals;
mod session;
mod settle;
mod sync;
mod ticket_search;
mod tickets;
mod tokens;
mod turns;
mod wake;
pub mod webhooks;
mod words;
mod workers;

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, QueueMode,
    RecyclingMethod, Runtime,
};
use secrecy::SecretString;

pub use circuits::{CircuitChange, CircuitTally};
pub use claim::Claimed;
pub use connect::{connect, create_database};
pub use dead_letters::{DeadLetter, DeadLetterRow};
pub use effect::LedgerChange;
pub use enqueue::{ArrivalOrder, Capacities, Enqueue, Enqueued, NewCommand, Phase2, Repeat};
pub use erase::{Erased, Subject};
pub use error::{StoreError, chain};
pub use hook_entries::{HookEntry, SealedPair, SealedSecrets};
pub use inbound::{
    AskedChange, BusyWriter, CommentRow, Decided, ExternalRow, Found, ImportRow, Item,
    KnownComment, LockedTicket, RowChange,
};
pub use integrations::{
    IntegrationChange, IntegrationPage, IntegrationWrite, LoadedIntegration, NewIntegration,
};
pub use lifecycle::{StateChange, StateChanged};
pub use names::Named;
pub use outbox::{OutboxBatch, OutboxKey, OutboxRow};
pub use queries::{AttemptRow, CommandFilter, CommandRow, Retryable};
pub use retention::Swept;
pub use schedule::{Child, Task};
pub use settle::{
    AnalysisColumns, AttemptRecord, EventRecord, ExternalRecord, Followed, Reply, Report, Settled,
    SettledBatch, Settlement, TicketChange, TicketInsert, UsageTally,
};
pub use sync::{
    BoundTicket, GoneTicket, KnownTicket, MatchedItem, PageWritten, SyncEnd, SyncFence, SyncPage,
    SyncRun, SyncTaken, SyncedTicket, Unseen,
};
pub use ticket_search::{Searched, TicketPage};
pub use tickets::StoredTicket;
pub use tokens::{StoredTokens, TokenLease};
pub use tokio_postgres::Client;
pub use wake::{Wake, connect_hearing};
pub use webhooks::{ConfirmedWebhook, NewWebhook, StoredWebhook};
pub use words::Words;
pub use workers::Incarnation;

use self::connect::Way;
use self::session::Session;

/// Longest a statement of the pipeline may take; set on the server, so that nothing is left running
/// there.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for a free or new connection.
const POOL_WAIT: Duration = Duration::from_secs(5);

/// The database, as the rest of the worker knows it.
#[derive(Clone)]
pub struct Store {
    /// For the pipeline's own statements, planned for index look-ups only (see [`Store::new`]).
    hot: Pool,
    /// For everything a person asks.
    pool: Pool,
    /// For searches, which may take long and are ended when they do.
    search: Pool,
    /// For health questions: the answer must not wait behind whatever keeps the others busy.
    health: Pool,
}

impl Store {
    /// Prepares the pools; connects only when something is asked.
    ///
    /// The pipeline's connections forbid sequential scans: its statements touch a few hundred rows
    /// by key, but PostgreSQL plans them once, possibly while the tables are still empty, and would
    /// go on scanning what has since grown to a million rows. A row visited is made dear beside a
    /// page, which favours look-ups by key further; [`Store::keep_statistics`] does the rest.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the URL is unusable.
    pub fn new(url: &SecretString, pool_size: usize, name: &str) -> Result<Self, StoreError> {
        let way = Way::to(url, name)?;
        Ok(Self {
            hot: pool(&way, Session::Hot, pool_size, POOL_WAIT)?,
            pool: pool(&way, Session::Plain, 4, POOL_WAIT)?,
            search: pool(
                &way,
                Session::Search,
                ticket_search::CONNECTIONS,
                ticket_search::CONNECTION_WAIT,
            )?,
            health: pool(&way, Session::Plain, 1, POOL_WAIT)?,
        })
    }

    /// A connection of the pipeline.
    async fn hot(&self) -> Result<Object, StoreError> {
        Ok(self.hot.get().await?)
    }

    /// A connection for everything else.
    async fn get(&self) -> Result<Object, StoreError> {
        Ok(self.pool.get().await?)
    }

    /// Whether the database answers and takes writes.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`]; as the connection's.
    pub async fn ping(&self) -> Result<(), StoreError> {
        const SQL: &str =
            "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool";
        let client = self.health.get().await?;
        let result = limited(client.query_one(SQL, &[])).await;
        let result = result.and_then(|row| match row.get(0) {
            true => Err(StoreError::ReadOnly),
            false => Ok(()),
        });
        keep_if_sound(client, result)
    }

    /// Analyses the tables of the hot path that have grown eightfold since they were last analysed.
    /// Autovacuum would too, a minute later; in that minute a flood into empty tables would be run
    /// by plans made for no rows at all. Not more often: each time, every connection plans its
    /// statements anew. Cheap where nothing has grown.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn keep_statistics(&self) -> Result<(), StoreError> {
        // The size is asked of `t`: of `c`, the planner would have every table of the database
        // measured.
        const GROWN: &str = "SELECT t.name, t.key FROM (VALUES ('commands', 'id'), \
                             ('command_attempts', 'command_id'), \
                             ('outbox', 'command_id'), ('tickets', 'id'), ('ticket_externals', \
                             'ticket_id'), ('integration_usage', 'integration_id')) \
                             AS t(name, key) \
                             JOIN pg_class c ON c.oid = t.name::regclass \
                             WHERE pg_relation_size(t.name::regclass) / 8192 > 8 * \
                             GREATEST(c.relpages, 0) + 32";
        let client = self.get().await?;
        for row in limited(client.query(GROWN, &[])).await? {
            let (table, key): (&str, &str) = (row.get(0), row.get(1));
            tracing::debug!(table, "analysing a table that has grown");
            // A small sample of the key alone: what is wanted is the number of rows and pages.
            let analyze = format!(
                "BEGIN; SET LOCAL default_statistics_target = 5; ANALYZE {table} ({key}); COMMIT"
            );
            limited(client.batch_execute(&analyze)).await?;
        }
        Ok(())
    }

    /// How many statements are prepared in the idle connections, all together. A fixed set a
    /// connection: growth would be a statement whose text varies.
    #[must_use]
    pub fn prepared_statements(&self) -> usize {
        let mut count = 0;
        for pool in [&self.hot, &self.pool, &self.search, &self.health] {
            pool.retain(|client, _| {
                count += client.statement_cache.size();
                true
            });
        }
        count
    }

    /// Drops the idle connections: after a failure the others are likely broken as well.
    pub fn forget_connections(&self) {
        self.hot.retain(|_, _| false);
        self.pool.retain(|_, _| false);
        self.search.retain(|_, _| false);
        self.health.retain(|_, _| false);
    }
}

fn pool(way: &Way, session: Session, size: usize, wait: Duration) -> Result<Pool, StoreError> {
    let manager = Manager::from_config(
        way.config().clone(),
        way.tls(),
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let way = way.clone();
    let prepare = Hook::async_fn(move |client: &mut ClientWrapper, _| {
        let way = way.clone();
        Box::pin(async move {
            let prepared = way.prepare(client, session).await;
            prepared.map_err(HookError::from)
        })
    });
    Pool::builder(manager)
        .max_size(size)
        // The one used last is the warmest: its plans here and in the server's cache, its buffers
        // as large as they get.
        .queue_mode(QueueMode::Lifo)
        .wait_timeout(Some(wait))
        .create_timeout(Some(POOL_WAIT))
        .recycle_timeout(Some(POOL_WAIT))
        .runtime(Runtime::Tokio1)
        .post_create(prepare)
        .build()
        .map_err(|error| StoreError::Unavailable(Box::new(error)))
}

/// Runs a statement with a limit of our own, somewhat over the server's: it fires when the server
/// or the way to it is gone without a word.
async fn limited<T>(
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    let limit = STATEMENT_TIMEOUT + Duration::from_secs(1);
    // On the heap: a batch of pipelined statements is a future of many kilobytes, which every
    // caller would carry.
    match Box::pin(tokio::time::timeout(limit, statement)).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::Timeout(limit)),
    }
}

/// Gives a connection back only if the work on it ended well: after a broken or overdue statement
/// nobody knows what state it is in.
fn keep_if_sound<T>(client: Object, result: Result<T, StoreError>) -> Result<T, StoreError> {
    if matches!(
        &result,
        // What a session may do was settled when it began.
        Err(StoreError::Unavailable(_)
            | StoreError::Timeout(_)
            | StoreError::Unserved(_)
            | StoreError::ReadOnly)
    ) {
        drop(Object::take(client));
    }
    result
}
