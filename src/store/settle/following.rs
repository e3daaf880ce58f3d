//! What follows from a settlement, right behind its commit, so that it sees what was inserted while
//! the rows were waited for: turns are passed on, callers answered, parents woken. What is lost
//! between the two, the clock makes up for.

use deadpool_postgres::Object;
use tokio_postgres::Statement;
use uuid::Uuid;

use super::{Params, Settlement};
use crate::domain::CommandId;
use crate::store::{Store, StoreError, keep_if_sound, limited};

/// A final event for a caller that waits.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The command.
    pub command_id: CommandId,
    /// The event's number.
    pub number: i32,
    /// The caller's queue.
    pub reply_to: String,
    /// Given back.
    pub correlation_id: String,
    /// The final event.
    pub body: String,
}

/// What followed from a settlement.
#[derive(Debug, Clone, Default)]
pub struct Followed {
    /// Final events for callers that wait.
    pub replies: Vec<Reply>,
    /// Commands that got their ticket's turn and are due now.
    pub turns_passed: u64,
}

impl Store {
    /// Hands callers of finished commands to the outbox poller whose answer was left behind: a
    /// process died, or lost its connection, between a settlement and what follows from it. Returns
    /// how many.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn answer_left_callers(&self) -> Result<u64, StoreError> {
        const SQL: &str = "WITH gone AS (DELETE FROM command_replies r USING commands c \
                           WHERE c.id = r.command_id \
                           AND c.final_event IS NOT NULL \
                           AND c.finished_at < now() - interval '1 second' \
                           RETURNING r.command_id, c.events, r.reply_to, r.correlation_id, \
                           c.final_event) \
                           INSERT INTO outbox (command_id, number, target, correlation_id, \
                           routing_key, body) \
                           SELECT command_id, events, reply_to, correlation_id, reply_to, \
                           final_event \
                           FROM gone ON CONFLICT DO NOTHING";
        let client = self.hot().await?;
        let result = limited(client.execute(SQL, &[])).await;
        keep_if_sound(client, result)
    }
}

/// What is to follow from a batch.
pub(super) struct Following {
    /// Of the turns that are released.
    organizations: Vec<Uuid>,
    tickets: Vec<Uuid>,
    finished: Vec<Uuid>,
    parents: Vec<Uuid>,
    /// Whose files are forgotten.
    forgetting: Vec<Uuid>,
}

impl Following {
    pub(super) fn of(batch: &[Settlement]) -> Self {
        let (organizations, tickets) = released_turns(batch);
        let finished = || batch.iter().filter(|s| s.is_finished());
        Self {
            organizations,
            tickets,
            finished: finished().map(|s| s.id.uuid()).collect(),
            parents: finished()
                .filter_map(|s| s.parent.map(CommandId::uuid))
                .collect(),
            forgetting: finished()
                .filter(|s| s.forgets_files)
                .map(|s| s.id.uuid())
                .collect(),
        }
    }

    /// Has its statement ready, so that it can be sent at once.
    pub(super) async fn prepare(client: &Object) -> Result<Statement, tokio_postgres::Error> {
        client.prepare_cached(AFTER).await
    }

    /// Runs once the settlement has been sent on the same connection; sends all its statements
    /// before it waits.
    pub(super) async fn run(
        &self,
        client: &Object,
        owner: Uuid,
    ) -> Result<Followed, tokio_postgres::Error> {
        let after = Self::prepare(client).await?;
        let params: Params<'_, 4> = [&self.organizations, &self.tickets, &self.finished, &owner];
        let parent_params: Params<'_, 1> = [&self.parents];
        let (followed, woken, forgotten) = futures_util::join!(
            async {
                if self.tickets.is_empty() && self.finished.is_empty() {
                    return Ok(Vec::new());
                }
                client.query(&after, &params).await
            },
            async {
                if self.parents.is_empty() {
                    return Ok(0);
                }
                client.execute(WAKE_PARENTS, &parent_params).await
            },
            async {
                if self.forgetting.is_empty() {
                    return Ok(0);
                }
                client.execute(FORGET_FILES, &[&self.forgetting]).await
            }
        );
        woken?;
        forgotten?;
        let followed = followed?;
        Ok(Followed {
            replies: followed.iter().filter_map(read_reply).collect(),
            turns_passed: turns_of(&followed),
        })
    }
}

/// A parent sums up as soon as its last child is done.
const WAKE_PARENTS: &str = "UPDATE commands p SET due_at = now(), retry_at = now() \
                            WHERE p.id = ANY($1) AND p.state = 'deferred' \
                            AND p.due_at IS NOT NULL AND NOT EXISTS \
                            (SELECT FROM commands c WHERE c.parent = p.id \
                            AND c.state IN ('pending', 'running', \
                            'deferred'))";

/// What a command that has succeeded keeps of its files: names, and addresses without their query,
/// which may be a signature that still opens the file.
const FORGET_FILES: &str = "UPDATE commands SET data = jsonb_set(data::jsonb, '{attachments}', \
                            (SELECT jsonb_agg((file - 'content_base64') || CASE WHEN file ? 'url' \
                            THEN jsonb_build_object('url', split_part(file ->> 'url', '?', 1)) \
                            ELSE '{}' END \
                            ORDER BY number) \
                            FROM jsonb_array_elements(data::jsonb -> 'attachments') WITH \
                            ORDINALITY AS f (file, \
                            number)))::text \
                            WHERE id = ANY($1) AND state = 'succeeded' \
                            AND jsonb_typeof(data::jsonb -> 'attachments') = \
                            'array'";

/// Turns and callers, in one round trip.
const AFTER: &str = concat!(
    "WITH passed AS (\n",
    include_str!("../sql/pass_turns.sql"),
    "RETURNING c.id\n), ",
    include_str!("../sql/replies.sql"),
);

/// A row of [`AFTER`]; there is one without a reply where there is none.
fn read_reply(row: &tokio_postgres::Row) -> Option<Reply> {
    Some(Reply {
        command_id: CommandId::new(row.get::<_, Option<Uuid>>(0)?),
        number: row.get(1),
        reply_to: row.get(2),
        correlation_id: row.get(3),
        body: row.get(4),
    })
}

fn turns_of(after: &[tokio_postgres::Row]) -> u64 {
    let turns = after.first().map_or(0, |row| row.get::<_, i64>(5));
    u64::try_from(turns).unwrap_or(0)
}

fn released_turns(batch: &[Settlement]) -> (Vec<Uuid>, Vec<Uuid>) {
    let mut pairs: Vec<(Uuid, Uuid)> = batch
        .iter()
        .filter(|s| s.is_finished() || s.waits)
        .filter_map(|s| Some((s.organization_id.uuid(), s.ticket_id?.uuid())))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs.into_iter().unzip()
}
