//! Removing a subject's data from every table, in one transaction: all of it goes, or nothing.

use tokio_postgres::IsolationLevel;
use uuid::Uuid;

use super::{Store, StoreError, keep_if_sound, limited};
use crate::domain::{OrganizationId, TicketId};

/// Whose data.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    /// A tenant's: its integrations, tickets, commands and all that belongs to them.
    Organization(OrganizationId),
    /// A ticket's: its row, its commands and all that belongs to them.
    Ticket(TicketId),
}

/// What an erasure removed, or would.
#[derive(Debug, Default)]
pub struct Erased {
    /// Rows by table, in the order in which they go.
    pub rows: Vec<(&'static str, u64)>,
    /// Commands that are not finished. With any, nothing was removed.
    pub unfinished: Vec<Uuid>,
    /// Where the platforms still have the tickets: URL, or else the id there.
    pub elsewhere: Vec<String>,
    /// Commands that came in while it went on. They stay, whole.
    pub arrived: i64,
    /// The organization's row stays, as rows of the application's other tables refer to it.
    pub organization_stays: bool,
}

const UNFINISHED: &str = "SELECT id FROM commands WHERE {of} \
                          AND state NOT IN ('succeeded', 'failed', 'cancelled') \
                          ORDER BY arrival FOR UPDATE";

const ELSEWHERE: &str = "SELECT COALESCE(external_ticket_url, external_ticket_id) FROM tickets \
                         WHERE {of} AND external_ticket_id IS NOT NULL ORDER BY 1";

/// In an order that no foreign key minds. `{of}` chooses commands and tickets; `$1` is the subject.
/// Events and dead letters may name it without being of one of its commands.
const OF_BOTH: &[(&str, &str)] = &[
    (
        "command_attempts",
        "DELETE FROM command_attempts WHERE command_id IN (SELECT id FROM commands WHERE {of})",
    ),
    (
        "command_replies",
        "DELETE FROM command_replies WHERE command_id IN (SELECT id FROM commands WHERE {of})",
    ),
    (
        "outbox",
        "DELETE FROM outbox WHERE command_id IN (SELECT id FROM commands WHERE {of}) \
         OR position($1::uuid::text IN lower(body)) > 0",
    ),
    (
        "dead_letters",
        "DELETE FROM dead_letters WHERE command_id IN (SELECT id FROM commands WHERE {of}) \
         OR position($1::uuid::text IN lower(payload)) > 0",
    ),
    ("commands", "DELETE FROM commands WHERE {of}"),
    ("ticket_comments", "DELETE FROM ticket_comments WHERE {of}"),
    (
        "ticket_externals",
        "DELETE FROM ticket_externals WHERE {of}",
    ),
    (
        "inbound_changes",
        "DELETE FROM inbound_changes WHERE {of_changes}",
    ),
    ("tickets", "DELETE FROM tickets WHERE {of_tickets}"),
];

/// What an organization has besides.
const OF_ORGANIZATION: &[(&str, &str)] = &[
    (
        "dead_letters",
        "DELETE FROM dead_letters WHERE organization_id = $1",
    ),
    (
        "integration_usage",
        "DELETE FROM integration_usage WHERE integration_id IN (SELECT id FROM integrations \
         WHERE organization_id = $1)",
    ),
    (
        "integration_circuits",
        "DELETE FROM integration_circuits WHERE integration_id IN (SELECT id FROM integrations \
         WHERE organization_id = $1)",
    ),
    (
        "integration_token_leases",
        "DELETE FROM integration_token_leases WHERE integration_id IN (SELECT id \
         FROM integrations WHERE organization_id = $1)",
    ),
    (
        "integration_tokens",
        "DELETE FROM integration_tokens WHERE integration_id IN (SELECT id FROM integrations \
         WHERE organization_id = $1)",
    ),
    (
        "integration_sync_seen",
        "DELETE FROM integration_sync_seen WHERE run IN (SELECT run FROM integration_sync \
         WHERE integration_id IN (SELECT id FROM integrations WHERE organization_id = $1))",
    ),
    (
        "integration_sync",
        "DELETE FROM integration_sync WHERE integration_id IN (SELECT id FROM integrations \
         WHERE organization_id = $1)",
    ),
    (
        "integration_facts",
        "DELETE FROM integration_facts WHERE integration_id IN (SELECT id FROM integrations \
         WHERE organization_id = $1)",
    ),
    (
        "integration_webhooks",
        "DELETE FROM integration_webhooks WHERE integration_id IN (SELECT id FROM integrations \
         WHERE organization_id = $1)",
    ),
    (
        "integration_schedule",
        "DELETE FROM integration_schedule WHERE integration_id IN (SELECT id FROM integrations \
         WHERE organization_id = $1)",
    ),
    (
        "integration_places",
        "DELETE FROM integration_places WHERE integration_id IN (SELECT id FROM integrations \
         WHERE organization_id = $1)",
    ),
    // The legacy application let tickets point at another organization's integration.
    (
        "tickets of others, unbound",
        "UPDATE tickets SET integration_id = NULL WHERE organization_id <> $1 \
         AND integration_id IN (SELECT id FROM integrations WHERE organization_id = $1)",
    ),
    (
        "integrations",
        "DELETE FROM integrations WHERE organization_id = $1",
    ),
];

impl Store {
    /// Removes a subject's data, or with `really` false finds out what that would be: the same is
    /// done, and rolled back. Locks what it removes until it is done; takes as long as that takes.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where a row of a table that is not ours refers to one that would go,
    /// and [`StoreError::Contention`] where something of the subject changed meanwhile; then
    /// nothing went.
    pub async fn erase(&self, subject: Subject, really: bool) -> Result<Erased, StoreError> {
        let mut client = self.get().await?;
        let result = async {
            // One view of everything: a command that comes in meanwhile stays whole, one that is
            // worked on meanwhile makes this fail, and neither is lost.
            let builder = client
                .build_transaction()
                .isolation_level(IsolationLevel::RepeatableRead);
            let transaction = limited(builder.start()).await?;
            limited(transaction.batch_execute("SET LOCAL statement_timeout = 0")).await?;
            let (id, of, of_tickets, of_changes) = match subject {
                Subject::Organization(id) => (
                    id.uuid(),
                    "organization_id = $1",
                    "organization_id = $1",
                    "integration_id IN (SELECT id FROM integrations WHERE organization_id = $1)",
                ),
                Subject::Ticket(id) => (id.uuid(), "ticket_id = $1", "id = $1", "ticket_id = $1"),
            };
            let mut erased = Erased::default();
            // No limit of our own from here on: a large organization takes its time.
            for row in transaction
                .query(&UNFINISHED.replace("{of}", of), &[&id])
                .await?
            {
                erased.unfinished.push(row.get(0));
            }
            for row in transaction
                .query(&ELSEWHERE.replace("{of}", of_tickets), &[&id])
                .await?
            {
                erased.elsewhere.push(row.get(0));
            }
            for (table, sql) in OF_BOTH {
                let sql = sql
                    .replace("{of_tickets}", of_tickets)
                    .replace("{of_changes}", of_changes)
                    .replace("{of}", of);
                add(&mut erased, table, transaction.execute(&sql, &[&id]).await?);
            }
            if let Subject::Organization(_) = subject {
                for (table, sql) in OF_ORGANIZATION {
                    add(&mut erased, table, transaction.execute(*sql, &[&id]).await?);
                }
                let users = "SELECT EXISTS (SELECT FROM users WHERE organization_id = $1)";
                erased.organization_stays = transaction.query_one(users, &[&id]).await?.get(0);
                if !erased.organization_stays {
                    let sql = "DELETE FROM organizations WHERE id = $1";
                    add(
                        &mut erased,
                        "organizations",
                        transaction.execute(sql, &[&id]).await?,
                    );
                }
            }
            if !really || !erased.unfinished.is_empty() {
                limited(transaction.rollback()).await?;
                return Ok(erased);
            }
            limited(transaction.commit()).await?;
            let sql = "SELECT count(*) FROM commands WHERE {of}".replace("{of}", of);
            erased.arrived = client.query_one(&sql, &[&id]).await?.get(0);
            Ok(erased)
        }
        .await;
        keep_if_sound(client, result)
    }
}

fn add(erased: &mut Erased, table: &'static str, rows: u64) {
    match erased.rows.iter_mut().find(|(name, _)| *name == table) {
        Some((_, count)) => *count += rows,
        None => erased.rows.push((table, rows)),
    }
}
