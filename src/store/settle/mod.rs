//! Settling attempts: one transaction a batch for command, attempt row, ticket and events; turns
//! and replies right behind it.

mod following;
mod rows;

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use postgres_types::ToSql;
use serde_json::{Map, Value};
use uuid::Uuid;

use self::following::Following;
pub use self::following::{Followed, Reply};
use self::rows::{ChangeRow, ItemRow, SettleRows};
use super::effect::{self, LedgerChange, Made};
use super::{OutboxRow, Store, StoreError, keep_if_sound, limited};
use crate::contract::{IntegrationResult, Outcome};
use crate::domain::{
    CommandId, CommandState, ErrorCode, IntegrationId, OrganizationId, TicketCategory, TicketId,
    TicketPatch, TicketStatus, Wait,
};

/// How one taken command is put down again.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The command.
    pub id: CommandId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Its ticket.
    pub ticket_id: Option<TicketId>,
    /// The fence.
    pub fencing_token: i32,
    /// The new state.
    pub state: CommandState,
    /// Attempts spent, with this one if it counts.
    pub attempt: i32,
    /// Events numbered, with these.
    pub events_after: i32,
    /// When it runs again, of a deferred or handed back one; when it is looked at again, of one
    /// that waits.
    pub due_at: Option<DateTime<Utc>>,
    /// Which setting, header or gate decided that.
    pub wait: Option<Wait>,
    /// The error's code.
    pub error_code: Option<ErrorCode>,
    /// The error, as in the event.
    pub error: Option<String>,
    /// Since when there is doubt; `None` ends it.
    pub doubt_since: Option<DateTime<Utc>>,
    /// Look-ups made since.
    pub lookups: i32,
    /// Gives its turn back and waits: its ticket is not known yet.
    pub waits: bool,
    /// Whether it was really run, so that a poison candidate is cleared: waiting proves nothing.
    pub ran: bool,
    /// The integration it was resolved to.
    pub integration_id: Option<IntegrationId>,
    /// Whose child it is.
    pub parent: Option<CommandId>,
    /// The attempt's row, if one was spent.
    pub attempt_record: Option<AttemptRecord>,
    /// Result events, in order.
    pub events: Vec<EventRecord>,
    /// What it makes of the ticket's row.
    pub ticket_insert: Option<Box<TicketInsert>>,
    /// What it changes of the ticket's row.
    pub ticket_change: Option<Box<TicketChange>>,
    /// What is known of the ticket's item, where what comes back from its platform is compared with
    /// it.
    pub external: Option<Box<ExternalRecord>>,
    /// Whether its files are forgotten: it has succeeded, and nothing reads them any more.
    pub forgets_files: bool,
    /// What is counted once it is committed; `None` where nothing came out.
    pub report: Option<Report>,
}

/// An outcome for the metrics.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// The command's type.
    pub command_type: &'static str,
    /// The platform, or `none`.
    pub platform: &'static str,
    /// The outcome.
    pub outcome: Outcome,
    /// From the start of the attempt to its outcome.
    pub seconds: f64,
}

impl Settlement {
    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.state.is_final()
    }

    /// The event that ends it, if it is finished: what a repeat is answered with.
    #[must_use]
    pub fn final_event(&self) -> Option<&EventRecord> {
        self.events.last().filter(|_| self.is_finished())
    }

    /// Whether its final event is the only one the command has ever had: such an event is not
    /// stored apart from it.
    #[must_use]
    pub fn is_single_event(&self) -> bool {
        self.is_finished() && self.events_after == 1 && self.events.len() == 1
    }

    /// Whether nothing that it writes can be there already: it ends a command that nobody ran
    /// before, whose ticket, if it makes one, was not there when it began.
    fn is_first_try(&self) -> bool {
        self.fencing_token == 1
            && self.is_single_event()
            && self
                .ticket_insert
                .as_ref()
                .is_none_or(|ticket| !ticket.known)
    }
}

/// A row of `command_attempts`.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// Which run.
    pub run: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// Its error's message.
    pub message: Option<String>,
    /// What the platform answered.
    pub http_status: Option<i32>,
}

/// An event on its way out.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// Its number within the command.
    pub number: i32,
    /// Where it is published.
    pub routing_key: String,
    /// The CloudEvent; shared, as it is published while its row is still written.
    pub body: Arc<str>,
}

/// A ticket row to be made.
#[derive(Debug, Clone)]
pub struct TicketInsert {
    /// Its id.
    pub id: TicketId,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Priority.
    pub priority: &'static str,
    /// Category.
    pub category: TicketCategory,
    /// Urgency.
    pub urgency: &'static str,
    /// Department.
    pub department: Option<String>,
    /// Author.
    pub created_by: Option<Uuid>,
    /// Assignee.
    pub assigned_to: Option<Uuid>,
    /// Where it was, or was to be, created.
    pub integration_id: Option<IntegrationId>,
    /// What the platform said.
    pub integration_result: Option<IntegrationResult>,
    /// What the adapter wants to see again.
    pub external_ref: Map<String, Value>,
    /// By our names.
    pub custom_fields: Map<String, Value>,
    /// Labels.
    pub tags: Vec<String>,
    /// What an analysis found.
    pub analysis: Option<AnalysisColumns>,
    /// Whether the ticket was there already when the command began.
    pub known: bool,
}

/// The `ai_*` columns of a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisColumns {
    /// 0 to 1.
    pub confidence: f64,
    /// Why.
    pub reasoning: String,
    /// The labels it found.
    pub tags: Vec<String>,
    /// The words it went by.
    pub keywords: Vec<String>,
}

/// A change of a ticket row.
#[derive(Debug, Clone, Default)]
pub struct TicketChange {
    /// Fields set.
    pub patch: TicketPatch,
    /// New status.
    pub status: Option<TicketStatus>,
    /// With the status.
    pub resolution_summary: Option<String>,
    /// With the status.
    pub internal_notes: Option<String>,
    /// `Some(None)` unassigns.
    pub assigned_to: Option<Option<Uuid>>,
    /// Whether a comment was made.
    pub comments: bool,
    /// Whether it is deleted.
    pub deletes: bool,
    /// A new external id, after a move.
    pub external_id: Option<String>,
    /// A new page.
    pub external_url: Option<String>,
    /// What the adapter wants to see again.
    pub external_ref: Map<String, Value>,
    /// What the platform said.
    pub integration_result: Option<IntegrationResult>,
}

/// What a command has just made of its ticket's item.
#[derive(Debug, Clone)]
pub struct ExternalRecord {
    /// What people call it.
    pub external_id: String,
    /// The id that survives a change of that.
    pub stable_id: Option<String>,
    /// The fields that were written, as `ticket_externals.base` has them.
    pub base: Map<String, Value>,
    /// A comment that was made: its id there, and whether the customer sees it.
    pub comment: Option<(String, Option<bool>)>,
    /// The digest of its text.
    pub comment_digest: Option<Vec<u8>>,
}

/// A settlement that took effect.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The command.
    pub id: CommandId,
    /// An older event of it is still unsent: its new ones wait for the outbox poller.
    pub older_unsent: bool,
}

/// What came of settling a batch.
#[derive(Debug, Clone, Default)]
pub struct SettledBatch {
    /// The settlements that took effect; the others were somebody else's by then.
    pub settled: Vec<Settled>,
    /// Names the single events among them (see [`Settlement::is_single_event`]) in the outbox.
    pub batch: Uuid,
    /// Events of an effect.
    pub extra: Vec<OutboxRow>,
}

/// Requests to one integration in one batch.
#[derive(Debug, Clone, Default)]
pub struct UsageTally {
    /// Those that succeeded.
    pub succeeded: i64,
    /// Those that did not.
    pub failed: i64,
    /// The last error's message.
    pub last_error: Option<String>,
}

impl Store {
    /// Settles a batch in one transaction, `sql/settle.sql` and changes of tickets' rows, and then
    /// passes turns on and answers callers. All of it is sent in one go; `committed` is called as
    /// soon as the first is durable. Locks the commands' and tickets' rows. What somebody else has
    /// taken over is left alone and not returned.
    ///
    /// What follows is not waited for by those whose events are to go out, and is made up for by
    /// the clock where it is lost ([`Store::check_waiting`], [`Store::answer_left_callers`]).
    ///
    /// # Errors
    /// [`StoreError::Refused`] when one of the rows is at fault: split the batch. After
    /// [`StoreError::Unavailable`] or [`StoreError::Timeout`] the commit is in doubt: settle again;
    /// what was committed is then not returned, and its events are the outbox poller's. Say so
    /// (`again`), so that its usage is not counted twice. `committed` was not called.
    pub async fn settle(
        &self,
        owner: Uuid,
        worker: &str,
        batch: &[Settlement],
        (usage, again): (&[(IntegrationId, UsageTally)], bool),
        committed: impl AsyncFnOnce(SettledBatch),
    ) -> Result<Followed, StoreError> {
        let client = self.hot().await?;
        let mut committed = Some(committed);
        let first = !again && batch.iter().all(Settlement::is_first_try);
        let by = (owner, worker);
        // On the heap: it is big, and all that waits for it would be.
        let settling = settle_batch(&client, by, batch, (usage, again), first, &mut committed);
        let mut result = Box::pin(settling).await;
        if first && matches!(&result, Err(error) if error.is_refusal()) {
            // A ticket that somebody else has made meanwhile is bound, not refused.
            let careful = settle_batch(&client, by, batch, (usage, again), false, &mut committed);
            result = Box::pin(careful).await;
        }
        keep_if_sound(client, result)
    }

    /// Settles one command together with its effect on our own tables, and what follows with it.
    /// `None`: the integration was not any more what it was when this was decided, and nothing is
    /// written.
    ///
    /// # Errors
    /// As [`Store::settle`].
    pub async fn settle_with(
        &self,
        owner: Uuid,
        worker: &str,
        settlement: &Settlement,
        usage: &[(IntegrationId, UsageTally)],
        effect: &LedgerChange,
    ) -> Result<Option<(SettledBatch, Followed)>, StoreError> {
        let client = self.hot().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            let made = settle_one(&client, (owner, worker), settlement, usage, effect).await;
            let good = matches!(made, Ok(Some(_)));
            client
                .batch_execute(if good { "COMMIT" } else { "ROLLBACK" })
                .await?;
            made
        };
        let result = limited(work).await;
        keep_if_sound(client, result)
    }
}

/// What is known of the items that commands have just written, and the comments that they made.
const ITEMS: &str = "WITH item AS (SELECT u.*, c.type FROM unnest($1::settle_external[]) AS u \
                     JOIN commands c ON c.id = u.command_id \
                     AND c.fencing_token = u.fencing_token AND c.owner IS NULL), \
                     noted AS (INSERT INTO ticket_externals AS x (ticket_id, organization_id, \
                     integration_id, external_id, stable_id, base, written_at) \
                     SELECT ticket_id, organization, integration, external_id, stable_id, \
                     base::jsonb, clock_timestamp() FROM item ORDER BY ticket_id \
                     ON CONFLICT (ticket_id) DO UPDATE SET \
                     integration_id = EXCLUDED.integration_id, \
                     external_id = EXCLUDED.external_id, \
                     stable_id = COALESCE(EXCLUDED.stable_id, x.stable_id), \
                     base = x.base || EXCLUDED.base, written_at = EXCLUDED.written_at) \
                     INSERT INTO ticket_comments AS c (integration_id, external_comment_id, \
                     ticket_id, organization_id, origin, command_id, public, body_digest, \
                     created_at) \
                     SELECT integration, comment_id, ticket_id, organization, 'ours', command_id, \
                     public, body_digest, now() FROM item WHERE comment_id IS NOT NULL \
                     ON CONFLICT (integration_id, external_comment_id) DO UPDATE SET \
                     origin = 'ours', command_id = EXCLUDED.command_id";

const SETTLE: &str = include_str!("../sql/settle.sql");

/// The same for batches of nothing but first tries ([`Settlement::is_first_try`]): without the
/// marked parts.
static FIRST_TRIES: LazyLock<String> = LazyLock::new(|| {
    let mut left_out = false;
    let lines = SETTLE.lines().filter(|line| {
        left_out |= *line == "--[";
        let kept = !left_out;
        left_out &= *line != "--]";
        kept
    });
    lines.flat_map(|line| [line, "\n"]).collect()
});
/// It takes so many of the parameters.
const FIRST_TRIES_PARAMS: usize = 7;

/// Inside a transaction: the command's settlement, then its effect, one after the other, as the
/// effect depends on what is there. Not for the hot path.
async fn settle_one(
    client: &deadpool_postgres::Object,
    (owner, worker): (Uuid, &str),
    settlement: &Settlement,
    usage: &[(IntegrationId, UsageTally)],
    effect: &LedgerChange,
) -> Result<Option<(SettledBatch, Followed)>, tokio_postgres::Error> {
    let batch = std::slice::from_ref(settlement);
    let batch_id = Uuid::now_v7();
    let rows = SettleRows::of(batch, usage);
    let settle = client.prepare_cached(SETTLE).await?;
    let settled = client
        .query(&settle, &rows.params(&owner, &worker, &batch_id, &false))
        .await?;
    if settled.is_empty() {
        // Somebody else's by now: its effect is theirs, too.
        return Ok(Some(Default::default()));
    }
    let Made::Done(extra) = effect::make(client, effect, Some(owner)).await? else {
        return Ok(None);
    };
    let followed = Following::of(batch).run(client, owner).await?;
    let settled = SettledBatch {
        settled: settled.iter().map(read_settled).collect(),
        batch: batch_id,
        extra,
    };
    Ok(Some((settled, followed)))
}

/// Inside a transaction: a batch whose effect is written besides, and what follows from it.
pub(super) async fn settle_within(
    client: &deadpool_postgres::Object,
    (owner, worker): (Uuid, &str),
    batch: &[Settlement],
) -> Result<(SettledBatch, Followed), tokio_postgres::Error> {
    if batch.is_empty() {
        return Ok(Default::default());
    }
    let batch_id = Uuid::now_v7();
    let rows = SettleRows::of(batch, &[]);
    let settle = client.prepare_cached(SETTLE).await?;
    let settled = client
        .query(&settle, &rows.params(&owner, &worker, &batch_id, &false))
        .await?;
    let followed = Following::of(batch).run(client, owner).await?;
    let settled = SettledBatch {
        settled: settled.iter().map(read_settled).collect(),
        batch: batch_id,
        extra: Vec::new(),
    };
    Ok((settled, followed))
}

fn read_settled(row: &tokio_postgres::Row) -> Settled {
    Settled {
        id: CommandId::new(row.get(0)),
        // Not asked of first tries.
        older_unsent: row.len() > 1 && row.get(1),
    }
}

async fn settle_batch(
    client: &deadpool_postgres::Object,
    (owner, worker): (Uuid, &str),
    batch: &[Settlement],
    (usage, again): (&[(IntegrationId, UsageTally)], bool),
    first: bool,
    committed: &mut Option<impl AsyncFnOnce(SettledBatch)>,
) -> Result<Followed, StoreError> {
    let items: Vec<ItemRow<'_>> = batch.iter().filter_map(ItemRow::of).collect();
    // Few integrations are told what happens on their platform.
    let item = match items.is_empty() {
        true => None,
        false => Some(client.prepare_cached(ITEMS).await?),
    };
    let (settle, change, _) = futures_util::try_join!(
        client.prepare_cached(if first { &FIRST_TRIES } else { SETTLE }),
        client.prepare_cached(include_str!("../sql/tickets_change.sql")),
        Following::prepare(client),
    )?;

    let batch_id = Uuid::now_v7();
    let rows = SettleRows::of(batch, usage);
    let changes: Vec<ChangeRow<'_>> = batch.iter().filter_map(ChangeRow::of).collect();
    let params = rows.params(&owner, &worker, &batch_id, &again);
    let params = if first {
        &params[..FIRST_TRIES_PARAMS]
    } else {
        &params[..]
    };
    // Most batches change no ticket: their one statement is a transaction by itself.
    let transaction = limited(async {
        if changes.is_empty() && items.is_empty() {
            return client.query(&settle, params).await;
        }
        let (change_params, item_params): (Params<'_, 1>, Params<'_, 1>) = ([&changes], [&items]);
        let (begin, settled, changed, noted, commit) = futures_util::join!(
            client.batch_execute("BEGIN"),
            client.query(&settle, params),
            client.execute(&change, &change_params),
            async {
                match &item {
                    Some(item) => client.execute(item, &item_params).await,
                    None => Ok(0),
                }
            },
            client.batch_execute("COMMIT"),
        );
        begin?;
        let settled = settled?;
        changed?;
        noted?;
        commit?;
        Ok(settled)
    });
    let settling = async {
        match transaction.await {
            Ok(settled) => {
                let settled = SettledBatch {
                    settled: settled.iter().map(read_settled).collect(),
                    batch: batch_id,
                    extra: Vec::new(),
                };
                if let Some(committed) = committed.take() {
                    committed(settled).await;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    };
    // Sent in one go, in this order: the server runs them one after the other. Dropping the futures
    // half way (the limit) leaves the connection in an unknown state, so it is not given back then.
    let following = async {
        let following = Following::of(batch);
        let done = limited(following.run(client, owner)).await;
        if matches!(&done, Err(StoreError::Contention(_))) {
            // Somebody else took or gave the turn of a ticket; the callers have not been answered
            // yet.
            return limited(following.run(client, owner)).await;
        }
        done
    };
    let (settled, followed) = futures_util::join!(settling, following);
    if let Err(error) = settled {
        if !(changes.is_empty() && items.is_empty())
            && (error.is_refusal() || matches!(error, StoreError::Contention(_)))
        {
            // COMMIT of a failed transaction has rolled it back; a failed BEGIN has left none.
            limited(client.batch_execute("ROLLBACK")).await?;
        }
        return Err(error);
    }
    Ok(followed.unwrap_or_else(|error| {
        tracing::debug!(
            error = super::chain(&error),
            "what follows from a settlement is left to the clock"
        );
        Followed::default()
    }))
}

type Params<'a, const N: usize> = [&'a (dyn ToSql + Sync); N];
