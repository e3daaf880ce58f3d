//! What is there of the tickets, items and comments that a batch of changes is about.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use serde_json::{Map, Value};
use tokio_postgres::Error;
use uuid::Uuid;

use super::{AskedChange, Found, object};
use crate::domain::{CommandId, IntegrationId, OrganizationId, TicketId};
use crate::store::row::Json;
use crate::store::{StoredTicket, tickets};

/// A ticket whose row is locked.
#[derive(Debug, Clone)]
pub struct LockedTicket {
    /// Its row.
    pub stored: StoredTicket,
    /// When the row was last written.
    pub written_at: DateTime<Utc>,
    /// What is known of its item.
    pub item: Option<Item>,
    /// The command that has its turn and writes what a platform tells of.
    pub writer: Option<BusyWriter>,
}

/// What is known of a ticket's item.
#[derive(Debug, Clone, Default)]
pub struct Item {
    /// By field: the value in the platform's words, the moment from and to (ms since 1970, by the
    /// platform's clock), and whose it is.
    pub base: Map<String, Value>,
    /// When that was last written.
    pub written_at: Option<DateTime<Utc>>,
    /// How it is gone there, if it is.
    pub gone: Option<String>,
    /// The id that survives a change of its name.
    pub stable_id: Option<String>,
}

/// A command of a ticket that is being sent, or whose outcome is not known.
#[derive(Debug, Clone)]
pub struct BusyWriter {
    /// Its type.
    pub command_type: String,
    /// The members of its data.
    pub members: HashSet<String>,
}

/// A comment that is on record.
#[derive(Debug, Clone)]
pub struct KnownComment {
    /// Whether a command of ours made it.
    pub is_ours: bool,
    /// The digest of its text.
    pub digest: Option<Vec<u8>>,
    /// Its text, where it is kept.
    pub body: Option<String>,
    /// When it last changed there.
    pub changed_at: Option<DateTime<Utc>>,
    /// Whether it is gone there.
    pub is_deleted: bool,
}

/// The commands that are still this process's.
const MINE: &str = "SELECT c.id FROM unnest($1::uuid[], $2::int[]) AS u(id, fence) \
                    JOIN commands c ON c.id = u.id AND c.fencing_token = u.fence \
                    WHERE c.owner = $3 ORDER BY c.id FOR UPDATE OF c";
/// Names every change that is not taken yet as taken; the others were taken before. Those of a
/// transaction that is under way are waited for.
const TAKE: &str = "WITH asked AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) \
                    AS a(id, integration, command) ORDER BY id), \
                    fresh AS (INSERT INTO inbound_changes (id, integration_id, command_id, \
                    verdict) SELECT id, integration, command, 'seen' FROM asked \
                    ON CONFLICT DO NOTHING RETURNING id) \
                    SELECT id FROM fresh";
const TAKEN: &str = "SELECT id, command_id, verdict FROM inbound_changes WHERE id = ANY ($1)";

/// The tickets that have an item: by what is known of items, by the id that people quote, by the
/// mark that the item carries. A copy of an item carries the mark, too: it names no ticket that has
/// another item.
const MATCH: &str = "SELECT a.n, t.id, \
                     COALESCE(x.stable_id, t.external_ref ->> a.stable_ref) IS NULL \
                     OR a.stable IS NULL \
                     OR COALESCE(x.stable_id, t.external_ref ->> a.stable_ref) = a.stable \
                     FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], \
                     $6::uuid[]) WITH ORDINALITY \
                     AS a(integration, organization, external, stable, stable_ref, marked, n) \
                     CROSS JOIN LATERAL ( \
                     SELECT x.ticket_id AS id FROM ticket_externals x \
                     WHERE x.integration_id = a.integration AND x.stable_id = a.stable \
                     UNION SELECT x.ticket_id FROM ticket_externals x \
                     WHERE x.integration_id = a.integration AND x.external_id = a.external \
                     UNION SELECT t.id FROM tickets t \
                     WHERE t.integration_id = a.integration AND t.external_ticket_id = a.external \
                     UNION SELECT t.id FROM tickets t WHERE t.id = a.marked \
                     AND COALESCE(t.external_ticket_id, a.external) = a.external \
                     AND COALESCE(t.integration_id, a.integration) = a.integration) m \
                     JOIN tickets t ON t.id = m.id AND t.organization_id = a.organization \
                     LEFT JOIN ticket_externals x ON x.ticket_id = t.id";
const LOCK: &str = "SELECT id, \
                    CASE WHEN updated_at <= clock_timestamp() THEN updated_at \
                    ELSE clock_timestamp() END \
                    FROM tickets WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
const ITEMS: &str = "SELECT ticket_id, base, written_at, gone, stable_id \
                     FROM ticket_externals WHERE ticket_id = ANY ($1)";
/// One whose answer was lost holds what comes in for two minutes; after that it is decided without
/// it.
const WRITERS: &str = "SELECT t.id, c.type, CASE WHEN c.type = 'ticket.update' \
                       THEN ARRAY(SELECT json_object_keys(c.data::json)) ELSE '{}' END \
                       FROM tickets t JOIN commands c ON c.organization_id = t.organization_id \
                       AND c.ticket_id = t.id AND c.turn \
                       WHERE t.id = ANY ($1) AND c.type LIKE 'ticket.%' \
                       AND (c.state = 'running' \
                       OR c.doubt_since > clock_timestamp() - interval '2 minutes' \
                       OR (c.state = 'deferred' \
                       AND c.error_code IN ('outcome_unknown', 'timeout') \
                       AND c.started_at > clock_timestamp() - interval '2 minutes'))";
const COMMENTS: &str = "SELECT c.integration_id, c.external_comment_id, c.origin = 'ours', \
                        c.body_digest, c.body, c.changed_at, c.deleted_at IS NOT NULL \
                        FROM unnest($1::uuid[], $2::text[]) AS a(integration, comment) \
                        JOIN ticket_comments c ON c.integration_id = a.integration \
                        AND c.external_comment_id = a.comment";
const AUTHORS: &str = "SELECT id, ticket_id FROM commands WHERE id = ANY ($1)";
const PEOPLE: &str = "SELECT a.organization, a.person, u.id \
                      FROM unnest($1::uuid[], $2::text[]) AS a(organization, person) \
                      JOIN users u ON u.organization_id = a.organization \
                      AND (u.id::text = a.person OR lower(u.email) = a.person) \
                      WHERE NOT u.is_deleted ORDER BY u.id";
const CREATING: &str = "SELECT i.id FROM unnest($1::uuid[]) AS i(id) WHERE EXISTS (SELECT \
                        FROM commands c WHERE c.state = 'running' AND c.integration_id = i.id \
                        AND c.type IN ('ticket.create', 'ticket.ai_create')) \
                        OR EXISTS (SELECT FROM commands c WHERE c.lane = i.id \
                        AND c.due_at IS NOT NULL \
                        AND c.doubt_since > clock_timestamp() - interval '2 minutes' \
                        AND c.type IN ('ticket.create', 'ticket.ai_create'))";

pub(super) async fn find(
    client: &Object,
    (owner, runs): (Uuid, &[(CommandId, i32)]),
    asked: &[AskedChange],
) -> Result<Found, Error> {
    let mine = mine(client, owner, runs).await?;
    let taken = take(client, asked).await?;
    let bound = bind(client, asked).await?;
    let mut ids: Vec<Uuid> = bound.iter().flatten().map(|id| id.uuid()).collect();
    ids.sort_unstable();
    ids.dedup();
    let tickets = lock(client, &ids).await?;
    Ok(Found {
        now: client
            .query_one("SELECT clock_timestamp()", &[])
            .await?
            .get(0),
        mine,
        taken,
        tickets,
        bound,
        comments: comments(client, asked).await?,
        authors: authors(client, asked).await?,
        people: people(client, asked).await?,
        creating: creating(client, asked).await?,
    })
}

async fn mine(
    client: &Object,
    owner: Uuid,
    runs: &[(CommandId, i32)],
) -> Result<HashSet<CommandId>, Error> {
    let ids: Vec<Uuid> = runs.iter().map(|(id, _)| id.uuid()).collect();
    let fences: Vec<i32> = runs.iter().map(|(_, fence)| *fence).collect();
    let statement = client.prepare_cached(MINE).await?;
    let rows = client.query(&statement, &[&ids, &fences, &owner]).await?;
    Ok(rows.iter().map(|row| CommandId::new(row.get(0))).collect())
}

async fn take(
    client: &Object,
    asked: &[AskedChange],
) -> Result<HashMap<Uuid, (Option<CommandId>, String)>, Error> {
    let ids: Vec<Uuid> = asked.iter().map(|change| change.id).collect();
    let integrations: Vec<Uuid> = asked.iter().map(|a| a.integration_id.uuid()).collect();
    let commands: Vec<Uuid> = asked.iter().map(|a| a.command_id.uuid()).collect();
    let statement = client.prepare_cached(TAKE).await?;
    let rows = client
        .query(&statement, &[&ids, &integrations, &commands])
        .await?;
    let fresh: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let old: Vec<Uuid> = ids.into_iter().filter(|id| !fresh.contains(id)).collect();
    if old.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = client.prepare_cached(TAKEN).await?;
    let rows = client.query(&statement, &[&old]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let command: Option<Uuid> = row.get(1);
            (row.get(0), (command.map(CommandId::new), row.get(2)))
        })
        .collect())
}

async fn bind(client: &Object, asked: &[AskedChange]) -> Result<Vec<Vec<TicketId>>, Error> {
    let integrations: Vec<Uuid> = asked.iter().map(|a| a.integration_id.uuid()).collect();
    let organizations: Vec<Uuid> = asked.iter().map(|a| a.organization_id.uuid()).collect();
    let external: Vec<&str> = asked.iter().map(|a| a.external_id.as_str()).collect();
    let stable: Vec<Option<&str>> = asked.iter().map(|a| a.stable_id.as_deref()).collect();
    let refs: Vec<&str> = asked.iter().map(|a| a.stable_ref).collect();
    let marked: Vec<Option<Uuid>> = asked.iter().map(|a| a.marked.map(TicketId::uuid)).collect();
    let statement = client.prepare_cached(MATCH).await?;
    let rows = client
        .query(
            &statement,
            &[
                &integrations,
                &organizations,
                &external,
                &stable,
                &refs,
                &marked,
            ],
        )
        .await?;
    let mut bound = vec![Vec::new(); asked.len()];
    for row in &rows {
        let n: i64 = row.get(0);
        let fits: bool = row.get(2);
        let place = usize::try_from(n - 1).ok().and_then(|n| bound.get_mut(n));
        // A key may be given to another item later: who is known by number is not found by it.
        if let (Some(tickets), true) = (place, fits) {
            tickets.push(TicketId::new(row.get(1)));
        }
    }
    for tickets in &mut bound {
        tickets.sort_unstable();
        tickets.dedup();
    }
    Ok(bound)
}

async fn lock(client: &Object, ids: &[Uuid]) -> Result<HashMap<TicketId, LockedTicket>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    // Locked first and read in statements of their own: a settlement that was under way is seen.
    let statement = client.prepare_cached(LOCK).await?;
    let locked = client.query(&statement, &[&ids]).await?;
    let mut written: HashMap<Uuid, DateTime<Utc>> = HashMap::new();
    for row in &locked {
        written.insert(row.get(0), row.get(1));
    }
    let statement = client.prepare_cached(tickets::READ).await?;
    let rows = client.query(&statement, &[&ids]).await?;
    let statement = client.prepare_cached(ITEMS).await?;
    let mut items: HashMap<Uuid, Item> = HashMap::new();
    for row in client.query(&statement, &[&ids]).await? {
        let item = Item {
            base: object(row.get::<_, Json>(1).0),
            written_at: row.get(2),
            gone: row.get(3),
            stable_id: row.get(4),
        };
        items.insert(row.get(0), item);
    }
    let statement = client.prepare_cached(WRITERS).await?;
    let mut writers: HashMap<Uuid, BusyWriter> = HashMap::new();
    for row in client.query(&statement, &[&ids]).await? {
        let members: Vec<String> = row.get(2);
        let writer = BusyWriter {
            command_type: row.get(1),
            members: members.into_iter().collect(),
        };
        writers.insert(row.get(0), writer);
    }
    Ok(rows
        .iter()
        .map(|row| {
            let stored = tickets::read(row);
            let id = stored.view.id;
            let ticket = LockedTicket {
                written_at: written.get(&id.uuid()).copied().unwrap_or_default(),
                item: items.remove(&id.uuid()),
                writer: writers.remove(&id.uuid()),
                stored,
            };
            (id, ticket)
        })
        .collect())
}

async fn comments(
    client: &Object,
    asked: &[AskedChange],
) -> Result<HashMap<(IntegrationId, String), KnownComment>, Error> {
    let named = || {
        asked
            .iter()
            .filter_map(|a| Some((a.integration_id, a.comment.as_ref()?)))
    };
    let integrations: Vec<Uuid> = named().map(|(id, _)| id.uuid()).collect();
    if integrations.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<&str> = named().map(|(_, id)| id.as_str()).collect();
    let statement = client.prepare_cached(COMMENTS).await?;
    let rows = client.query(&statement, &[&integrations, &ids]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let known = KnownComment {
                is_ours: row.get(2),
                digest: row.get(3),
                body: row.get(4),
                changed_at: row.get(5),
                is_deleted: row.get(6),
            };
            ((IntegrationId::new(row.get(0)), row.get(1)), known)
        })
        .collect())
}

async fn authors(
    client: &Object,
    asked: &[AskedChange],
) -> Result<HashMap<CommandId, Option<TicketId>>, Error> {
    let ids: Vec<Uuid> = asked
        .iter()
        .filter_map(|a| a.marked_by.map(CommandId::uuid))
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = client.prepare_cached(AUTHORS).await?;
    let rows = client.query(&statement, &[&ids]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let ticket: Option<Uuid> = row.get(1);
            (CommandId::new(row.get(0)), ticket.map(TicketId::new))
        })
        .collect())
}

async fn people(
    client: &Object,
    asked: &[AskedChange],
) -> Result<HashMap<(OrganizationId, String), Uuid>, Error> {
    let named = || {
        asked
            .iter()
            .filter_map(|a| Some((a.organization_id, a.person.as_ref()?)))
    };
    let organizations: Vec<Uuid> = named().map(|(id, _)| id.uuid()).collect();
    if organizations.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<&str> = named().map(|(_, name)| name.as_str()).collect();
    let statement = client.prepare_cached(PEOPLE).await?;
    let rows = client.query(&statement, &[&organizations, &names]).await?;
    Ok(rows
        .iter()
        .map(|row| ((OrganizationId::new(row.get(0)), row.get(1)), row.get(2)))
        .collect())
}

async fn creating(client: &Object, asked: &[AskedChange]) -> Result<HashSet<IntegrationId>, Error> {
    let mut ids: Vec<Uuid> = asked.iter().map(|a| a.integration_id.uuid()).collect();
    ids.sort_unstable();
    ids.dedup();
    let statement = client.prepare_cached(CREATING).await?;
    let rows = client.query(&statement, &[&ids]).await?;
    Ok(rows
        .iter()
        .map(|row| IntegrationId::new(row.get(0)))
        .collect())
}
