//! Commands coming in: the enqueue, repeats, and who waits for an answer.

use chrono::{DateTime, Utc};
use postgres_types::ToSql;
use uuid::Uuid;

use super::tickets::{READ as READ_TICKETS, read as read_ticket};
use super::turns::LOCK_HOLDERS;
use super::{Store, StoreError, StoredTicket, keep_if_sound, limited};
use crate::domain::{CommandId, IntegrationId, OrganizationId, TicketId};

/// A command to be made durable.
#[derive(Debug)]
pub struct NewCommand {
    /// Its id.
    pub id: CommandId,
    /// Its type.
    pub command_type: &'static str,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The integration the data names.
    pub integration_id: Option<IntegrationId>,
    /// The ticket it is about.
    pub ticket_id: Option<TicketId>,
    /// The lane, where the message alone decides it: that of a management command. `None`: its
    /// integration's.
    pub lane: Option<Uuid>,
    /// Whether it makes the ticket, and so need not wait for it to be known.
    pub creates: bool,
    /// Tells a repeat from another command under the same id.
    pub digest: Vec<u8>,
    /// What its digest would be under the other keys: a repeat may come after the keys have
    /// changed.
    pub older_digests: Vec<Vec<u8>>,
    /// The data, secrets sealed.
    pub data: String,
    /// Not started by then: expired.
    pub expires_at: Option<DateTime<Utc>>,
    /// Trace context.
    pub traceparent: Option<String>,
    /// Trace context.
    pub tracestate: Option<String>,
    /// Whose child it is.
    pub parent: Option<CommandId>,
    /// Since when what it is to do may have been done: it looks before it acts.
    pub doubt_since: Option<DateTime<Utc>>,
}

/// What the enqueue decides by. The type of `V8__shared_limits.sql`.
#[derive(Debug, ToSql)]
#[postgres(name = "enqueue_head")]
struct EnqueueHead<'a> {
    id: Uuid,
    r#type: &'a str,
    organization: Uuid,
    integration: Option<Uuid>,
    ticket: Option<Uuid>,
    creates: bool,
    lane: Option<Uuid>,
}

impl<'a> EnqueueHead<'a> {
    fn of(c: &'a NewCommand) -> Self {
        Self {
            id: c.id.uuid(),
            r#type: c.command_type,
            organization: c.organization_id.uuid(),
            integration: c.integration_id.map(IntegrationId::uuid),
            ticket: c.ticket_id.map(TicketId::uuid),
            creates: c.creates,
            lane: c.lane,
        }
    }
}

/// What it only stores. The type of `V7__row_types.sql` and `V9__field_words.sql`.
#[derive(Debug, ToSql)]
#[postgres(name = "enqueue_body")]
struct EnqueueBody<'a> {
    digest: &'a [u8],
    data: &'a str,
    expires_at: Option<DateTime<Utc>>,
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
    parent: Option<Uuid>,
    doubt_since: Option<DateTime<Utc>>,
}

impl<'a> EnqueueBody<'a> {
    fn of(c: &'a NewCommand) -> Self {
        Self {
            digest: &c.digest,
            data: &c.data,
            expires_at: c.expires_at,
            traceparent: c.traceparent.as_deref(),
            tracestate: c.tracestate.as_deref(),
            parent: c.parent.map(CommandId::uuid),
            doubt_since: c.doubt_since,
        }
    }
}

/// How many more commands this process takes, by lane and in all.
#[derive(Debug, Default)]
pub struct Capacities {
    /// Lanes that are not empty.
    pub lanes: Vec<Uuid>,
    /// Their capacity, in the same order.
    pub capacities: Vec<i32>,
    /// The capacity of every other lane.
    pub default: i32,
    /// The capacity in all.
    pub total: i64,
    /// Organizations that have their share of this process's memory: nothing more of theirs is
    /// started.
    pub full_organizations: Vec<Uuid>,
}

/// A command that is durable now.
#[derive(Debug, Clone)]
pub struct Enqueued {
    /// Its id.
    pub id: CommandId,
    /// Whether it runs in this process now; else it is pending.
    pub running: bool,
    /// Its integration, through the ticket if need be.
    pub integration_id: Option<IntegrationId>,
    /// The version of the integration's row, if there is one.
    pub integration_version: Option<i64>,
    /// By the database's clock.
    pub received_at: DateTime<Utc>,
    /// Whether the organization exists.
    pub organization_known: bool,
    /// Whether it may work.
    pub organization_enabled: bool,
    /// Whether it waits for its ticket, or for the ticket's turn: see [`Store::offer_turns`].
    pub waits: bool,
}

/// What came of an enqueue.
#[derive(Debug, Default)]
pub struct Enqueue {
    /// The commands that it made durable.
    pub enqueued: Vec<Enqueued>,
    /// The tickets that exist among those asked for; `None` where they could not be read.
    pub tickets: Option<Vec<StoredTicket>>,
}

/// A command whose id the ledger had already.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// The id.
    pub id: CommandId,
    /// The first one's digest.
    pub digest: Vec<u8>,
    /// The first one's final event and its routing key, once there is one.
    pub final_event: Option<(String, String)>,
}

/// Whether the commands of a batch came in an order that has to be kept over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalOrder {
    /// They were delivered: they are numbered under the fence of `sql/enqueue.sql`.
    Kept,
    /// They are made by a command of ours.
    Free,
}

/// What became of commands that the enqueue could not start by itself.
#[derive(Debug, Default)]
pub struct Phase2 {
    /// Durable now, waiting for their ticket's turn.
    pub waiting: Vec<CommandId>,
    /// The ledger had the id.
    pub repeats: Vec<Repeat>,
}

impl Store {
    /// Makes a batch durable and starts what may start (`sql/enqueue.sql`). At most one command a
    /// ticket; ids distinct. What is not in the answer goes to [`Store::enqueue_rest`]. Locks the
    /// new rows until its commit; idempotent.
    ///
    /// `tickets` are read right after that commit, in the same round trip: whoever held their turn
    /// before has committed by then, so a create finds a ticket that another has made.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when one of the rows is at fault: split the batch. After
    /// [`StoreError::Unavailable`] or [`StoreError::Timeout`] the commit is in doubt: do not
    /// acknowledge; the redelivery finds repeats.
    pub async fn enqueue(
        &self,
        batch: &[&NewCommand],
        capacities: &Capacities,
        owner: Uuid,
        tickets: &[Uuid],
    ) -> Result<Enqueue, StoreError> {
        let client = self.hot().await?;
        let result = async {
            // At once: on a new connection each asks for its types, one after the other.
            let (statement, reading) = futures_util::try_join!(
                client.prepare_cached(include_str!("sql/enqueue.sql")),
                client.prepare_cached(READ_TICKETS),
            )?;
            let heads: Vec<EnqueueHead<'_>> = batch.iter().map(|c| EnqueueHead::of(c)).collect();
            let bodies: Vec<EnqueueBody<'_>> = batch.iter().map(|c| EnqueueBody::of(c)).collect();
            let params: [&(dyn ToSql + Sync); 8] = [
                &heads,
                &bodies,
                &capacities.lanes,
                &capacities.capacities,
                &capacities.default,
                &capacities.total,
                &owner,
                &capacities.full_organizations,
            ];
            // Sent in one go, and run one after the other, each in a transaction of its own.
            let (rows, found) = limited(async {
                let enqueue = client.query(&statement, &params);
                let find = async {
                    if tickets.is_empty() {
                        Ok(Vec::new())
                    } else {
                        client.query(&reading, &[&tickets]).await
                    }
                };
                let (rows, found) = futures_util::join!(enqueue, find);
                Ok((rows?, found))
            })
            .await?;
            let enqueued = rows
                .iter()
                .map(|row| Enqueued {
                    id: CommandId::new(row.get(0)),
                    running: row.get(1),
                    integration_id: row.get::<_, Option<Uuid>>(2).map(IntegrationId::new),
                    integration_version: row.get(3),
                    received_at: row.get(4),
                    organization_known: row.get(5),
                    organization_enabled: row.get(6),
                    waits: row.get(7),
                })
                .collect();
            let tickets = match found {
                Ok(rows) => Some(rows.iter().map(read_ticket).collect()),
                Err(error) => {
                    // The enqueue stands; whoever starts the commands reads them then.
                    tracing::debug!(error = %error, "could not read tickets behind an enqueue");
                    None
                }
            };
            Ok(Enqueue { enqueued, tickets })
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Makes durable what [`Store::enqueue`] did not return and what follows another command of its
    /// ticket in the same batch: repeats are told, the others wait for their turn, which they get
    /// at once where nobody holds it. Locks the holders of the tickets' turns, so that a settlement
    /// in progress sees the newcomers. Idempotent.
    ///
    /// # Errors
    /// [`StoreError::Contention`] when a race for a turn was lost: repeat it.
    pub async fn enqueue_rest(
        &self,
        batch: &[&NewCommand],
        order: ArrivalOrder,
    ) -> Result<Phase2, StoreError> {
        const INSERT: &str = "INSERT INTO commands (id, arrival, type, organization_id, \
                              integration_id, ticket_id, \
                              state, turn, lane, due_at, retry_at, expires_at, digest, data, \
                              traceparent, \
                              tracestate, parent, \
                              doubt_since) SELECT u.id, u.arrival, u.type, u.org, i.integration, \
                              u.ticket, \
                              'pending', false, \
                              COALESCE(u.lane, (SELECT o.id FROM integrations o \
                              WHERE o.id = i.integration \
                              AND o.organization_id = u.org), \
                              '00000000-0000-0000-0000-000000000000'), NULL, \
                              now() + interval '1 second', \
                              u.expires_at, u.digest, u.data, u.traceparent, u.tracestate, \
                              u.parent, u.doubt \
                              FROM (SELECT x.*, nextval('command_arrivals') AS arrival \
                              FROM unnest($1::enqueue_head[], $2::enqueue_body[]) \
                              AS x(id, type, org, integ, ticket, creates, lane, digest, data, \
                              expires_at, \
                              traceparent, tracestate, parent, doubt)) u \
                              CROSS JOIN LATERAL (SELECT COALESCE(u.integ, CASE \
                              WHEN u.type NOT IN ('ticket.create', 'ticket.ai_create') THEN \
                              (SELECT t.integration_id FROM tickets t WHERE t.id = u.ticket \
                              AND t.organization_id = u.org) END) \
                              AS integration) i \
                              ON CONFLICT (id) DO NOTHING RETURNING id";
        // As in `sql/enqueue.sql`.
        const FENCE: &str =
            "SELECT pg_advisory_xact_lock(hashtextextended('ticketwire enqueue', 0))";
        let client = self.hot().await?;
        let ids: Vec<Uuid> = batch.iter().map(|c| c.id.uuid()).collect();
        let result = async {
            let known =
                limited(client.query("SELECT id FROM commands WHERE id = ANY($1)", &[&ids]))
                    .await?;
            let known: std::collections::HashSet<Uuid> =
                known.iter().map(|row| row.get(0)).collect();
            let fresh: Vec<&&NewCommand> = batch
                .iter()
                .filter(|c| !known.contains(&c.id.uuid()))
                .collect();
            let mut waiting = Vec::new();
            if !fresh.is_empty() {
                let orgs: Vec<Uuid> = fresh.iter().map(|c| c.organization_id.uuid()).collect();
                let tickets: Vec<Option<Uuid>> = fresh
                    .iter()
                    .map(|c| c.ticket_id.map(TicketId::uuid))
                    .collect();
                let heads: Vec<EnqueueHead<'_>> =
                    fresh.iter().map(|c| EnqueueHead::of(c)).collect();
                let bodies: Vec<EnqueueBody<'_>> =
                    fresh.iter().map(|c| EnqueueBody::of(c)).collect();
                let (turn_orgs, turn_tickets) = distinct_tickets(&fresh);
                let (fence, lock, insert, pass) = futures_util::try_join!(
                    client.prepare_cached(FENCE),
                    client.prepare_cached(LOCK_HOLDERS),
                    client.prepare_cached(INSERT),
                    client.prepare_cached(include_str!("sql/pass_turns.sql")),
                )?;
                let holders: [&(dyn ToSql + Sync); 2] = [&orgs, &tickets];
                let rows: [&(dyn ToSql + Sync); 2] = [&heads, &bodies];
                let turns: [&(dyn ToSql + Sync); 2] = [&turn_orgs, &turn_tickets];
                // Sent in one go: a process that is paused in between would hold the fence, and
                // nobody could store.
                let inserted = limited(async {
                    let (begin, fenced, locked, inserted, passed, commit) = futures_util::join!(
                        client.batch_execute("BEGIN"),
                        async {
                            match order {
                                ArrivalOrder::Kept => client.execute(&fence, &[]).await,
                                ArrivalOrder::Free => Ok(0),
                            }
                        },
                        client.execute(&lock, &holders),
                        client.query(&insert, &rows),
                        client.execute(&pass, &turns),
                        client.batch_execute("COMMIT"),
                    );
                    begin?;
                    fenced?;
                    locked?;
                    let inserted = inserted?;
                    passed?;
                    commit?;
                    Ok(inserted)
                })
                .await;
                if let Err(error) = &inserted
                    && (error.is_refusal() || matches!(error, StoreError::Contention(_)))
                {
                    // COMMIT of a failed transaction has rolled it back; a failed BEGIN has left
                    // none.
                    limited(client.batch_execute("ROLLBACK")).await?;
                }
                waiting = inserted?
                    .iter()
                    .map(|row| CommandId::new(row.get(0)))
                    .collect();
            }
            let inserted: std::collections::HashSet<Uuid> =
                waiting.iter().map(|id| id.uuid()).collect();
            let rest: Vec<Uuid> = ids
                .iter()
                .filter(|id| !inserted.contains(id))
                .copied()
                .collect();
            let rows = limited(client.query(
                "SELECT id, digest, final_event, final_key FROM commands WHERE id = ANY($1)",
                &[&rest],
            ))
            .await?;
            let repeats = rows
                .iter()
                .map(|row| Repeat {
                    id: CommandId::new(row.get(0)),
                    digest: row.get(1),
                    final_event: row.get::<_, Option<String>>(2).zip(row.get(3)),
                })
                .collect();
            Ok(Phase2 { waiting, repeats })
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Adds a command of our own making that waits for no ticket: due at once. Idempotent by its
    /// id.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn add_command(&self, row: &NewCommand) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO commands (id, arrival, type, organization_id, \
                           integration_id, state, turn, lane, \
                           due_at, digest, data) VALUES ($1, nextval('command_arrivals'), $2, \
                           $3, $4, \
                           'pending', true, \
                           COALESCE($7::uuid, '00000000-0000-0000-0000-000000000000'), now(), \
                           $5, $6) \
                           ON CONFLICT DO NOTHING";
        let client = self.hot().await?;
        let result = limited(client.execute(
            SQL,
            &[
                &row.id.uuid(),
                &row.command_type,
                &row.organization_id.uuid(),
                &row.integration_id.map(IntegrationId::uuid),
                &row.digest,
                &row.data,
                &row.lane,
            ],
        ))
        .await;
        keep_if_sound(client, result).map(|_| ())
    }

    /// Remembers who waits for a command's final event. Returns the final events of those that are
    /// finished already, whose callers are not remembered but must be answered now. Locks the
    /// commands' rows, so that a settlement in progress is waited for. Idempotent.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn await_replies(
        &self,
        callers: &[(CommandId, String, String)],
    ) -> Result<Vec<(CommandId, String, String)>, StoreError> {
        let mut client = self.hot().await?;
        let result = async {
            let ids: Vec<Uuid> = callers.iter().map(|(id, _, _)| id.uuid()).collect();
            let targets: Vec<&str> = callers
                .iter()
                .map(|(_, reply_to, _)| reply_to.as_str())
                .collect();
            let correlations: Vec<&str> = callers
                .iter()
                .map(|(_, _, correlation)| correlation.as_str())
                .collect();
            let transaction = limited(client.transaction()).await?;
            let rows = limited(transaction.query(
                "SELECT id, final_event, final_key FROM commands WHERE id = ANY($1) \
                 ORDER BY id FOR UPDATE",
                &[&ids],
            ))
            .await?;
            limited(transaction.execute(
                "INSERT INTO command_replies (command_id, reply_to, correlation_id) \
                 SELECT u.id, u.reply_to, u.correlation \
                 FROM unnest($1::uuid[], $2::text[], $3::text[]) \
                 AS u(id, reply_to, correlation) JOIN commands c ON c.id = u.id \
                 AND c.final_event IS NULL \
                 ON CONFLICT DO NOTHING",
                &[&ids, &targets, &correlations],
            ))
            .await?;
            limited(transaction.commit()).await?;
            Ok(rows
                .iter()
                .filter_map(|row| {
                    let event: Option<String> = row.get(1);
                    let key: Option<String> = row.get(2);
                    Some((CommandId::new(row.get(0)), event?, key?))
                })
                .collect())
        }
        .await;
        keep_if_sound(client, result)
    }
}

fn distinct_tickets(batch: &[&&NewCommand]) -> (Vec<Uuid>, Vec<Uuid>) {
    let mut pairs: Vec<(Uuid, Uuid)> = batch
        .iter()
        .filter_map(|c| Some((c.organization_id.uuid(), c.ticket_id?.uuid())))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs.into_iter().unzip()
}
