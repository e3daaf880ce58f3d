//! What is written of a batch of changes: a statement a table, its rows as one JSON array.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::Error;
use uuid::Uuid;

use super::Decided;
use crate::domain::CommandState;
use crate::store::Settlement;
use crate::store::lifecycle::insert_events;

/// A change of a ticket's row; `None` leaves a column as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RowChange {
    /// Which.
    pub id: Uuid,
    /// The tenant.
    pub organization: Uuid,
    /// New title, at most 500 characters.
    pub title: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New status.
    pub status: Option<&'static str>,
    /// New priority.
    pub priority: Option<&'static str>,
    /// New tags, replacing the old.
    pub tags: Option<Vec<String>>,
    /// New custom fields, merged by name.
    pub custom_fields: Option<Map<String, Value>>,
    /// Nobody has it any more.
    pub unassigns: bool,
    /// Who has it now.
    pub assigned_to: Option<Uuid>,
    /// Comments that came.
    pub comments: i32,
    /// New external id, after a move.
    pub external_id: Option<String>,
    /// New page.
    pub external_url: Option<String>,
    /// What the adapter wants to see again, merged by name.
    pub external_ref: Option<Map<String, Value>>,
}

/// What is known of a ticket's item.
#[derive(Debug, Clone, Serialize)]
pub struct ExternalRow {
    /// The ticket.
    pub ticket_id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// Its integration.
    pub integration_id: Uuid,
    /// What people call the item.
    pub external_id: String,
    /// The id that survives a change of that.
    pub stable_id: Option<String>,
    /// Fields of `base`, merged by name.
    pub base: Map<String, Value>,
    /// Whether something was written: what was asked for before says nothing.
    pub touches: bool,
    /// How it is gone, if it is.
    pub gone: Option<String>,
}

/// A comment.
#[derive(Debug, Clone, Serialize)]
pub struct CommentRow {
    /// Where.
    pub integration_id: Uuid,
    /// Its id there.
    pub external_comment_id: String,
    /// The ticket.
    pub ticket_id: Option<Uuid>,
    /// The tenant.
    pub organization_id: Uuid,
    /// `ours` or `theirs`.
    pub origin: &'static str,
    /// The command that made it.
    pub command_id: Option<Uuid>,
    /// Who wrote it.
    pub author_id: Option<String>,
    /// What people call them.
    pub author_name: Option<String>,
    /// Whether the customer sees it.
    pub public: Option<bool>,
    /// Its text; of ours none is kept, as the command has it.
    pub body: Option<String>,
    /// The digest of its text, in hexadecimal.
    pub digest: Option<String>,
    /// When it was written.
    pub created_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub changed_at: Option<DateTime<Utc>>,
    /// Whether it is gone there.
    pub deleted: bool,
}

/// A ticket that is made of an item that nobody knew.
#[derive(Debug, Clone, Serialize)]
pub struct ImportRow {
    /// Its id: derived from the item's, so that it is made once.
    pub id: Uuid,
    /// The tenant.
    pub organization: Uuid,
    /// Its integration.
    pub integration: Uuid,
    /// Title, at most 500 characters.
    pub title: String,
    /// Description.
    pub description: String,
    /// Status.
    pub status: &'static str,
    /// Priority.
    pub priority: &'static str,
    /// Tags.
    pub tags: Vec<String>,
    /// Custom fields by our names.
    pub custom_fields: Map<String, Value>,
    /// What people call the item.
    pub external_id: String,
    /// Its page.
    pub external_url: Option<String>,
    /// What the adapter wants to see again.
    pub external_ref: Map<String, Value>,
    /// Comments that came with it.
    pub comments: i32,
}

const PUT_BACK: &str = "DELETE FROM inbound_changes WHERE id = ANY ($1)";
const TAKEN: &str = "UPDATE inbound_changes c SET verdict = u.verdict, ticket_id = u.ticket \
                     FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS u(id, verdict, ticket) \
                     WHERE c.id = u.id";
const ROWS: &str = "UPDATE tickets t SET title = COALESCE(u.title, t.title), \
                    description = COALESCE(u.description, t.description), \
                    status = COALESCE(u.status::ticketstatus, t.status), \
                    priority = COALESCE(u.priority::ticketpriority, t.priority), \
                    tags = COALESCE(u.tags, t.tags), \
                    custom_fields = CASE WHEN u.custom_fields IS NULL THEN t.custom_fields \
                    ELSE (CASE WHEN json_typeof(t.custom_fields) = 'object' \
                    THEN t.custom_fields::jsonb ELSE '{}' END || u.custom_fields)::json END, \
                    assigned_to_id = CASE WHEN u.unassigns THEN NULL \
                    ELSE COALESCE(u.assigned_to, t.assigned_to_id) END, \
                    communication_count = t.communication_count + u.comments, \
                    external_ticket_id = COALESCE(u.external_id, t.external_ticket_id), \
                    external_ticket_url = COALESCE(u.external_url, t.external_ticket_url), \
                    external_ref = CASE WHEN u.external_ref IS NULL THEN t.external_ref \
                    ELSE COALESCE(t.external_ref, '{}') || u.external_ref END, \
                    resolved_at = CASE WHEN u.status IS NULL THEN t.resolved_at \
                    WHEN u.status IN ('resolved', 'closed') THEN COALESCE(t.resolved_at, \
                    now()) END, \
                    closed_at = CASE WHEN u.status IS NULL THEN t.closed_at \
                    WHEN u.status IN ('closed', 'cancelled') THEN COALESCE(t.closed_at, \
                    now()) END, \
                    last_activity_at = clock_timestamp(), updated_at = clock_timestamp() \
                    FROM jsonb_to_recordset($1) AS u(id uuid, organization uuid, title text, \
                    description text, status text, priority text, tags jsonb, \
                    custom_fields jsonb, unassigns boolean, assigned_to uuid, comments integer, \
                    external_id text, external_url text, external_ref jsonb) \
                    WHERE t.id = u.id AND t.organization_id = u.organization AND NOT t.is_deleted";
const EXTERNALS: &str = "INSERT INTO ticket_externals AS x (ticket_id, organization_id, \
                         integration_id, external_id, stable_id, base, written_at, gone, gone_at) \
                         SELECT ticket_id, organization_id, integration_id, external_id, \
                         stable_id, base, CASE WHEN touches THEN clock_timestamp() \
                         ELSE 'epoch' END, \
                         gone, CASE WHEN gone IS NOT NULL THEN now() END \
                         FROM jsonb_to_recordset($1) AS u(ticket_id uuid, organization_id uuid, \
                         integration_id uuid, external_id text, stable_id text, base jsonb, \
                         touches boolean, gone text) \
                         ON CONFLICT (ticket_id) DO UPDATE SET \
                         integration_id = EXCLUDED.integration_id, \
                         external_id = EXCLUDED.external_id, \
                         stable_id = COALESCE(EXCLUDED.stable_id, x.stable_id), \
                         base = x.base || EXCLUDED.base, \
                         written_at = GREATEST(x.written_at, EXCLUDED.written_at), \
                         gone = EXCLUDED.gone, gone_at = CASE WHEN EXCLUDED.gone IS NOT NULL \
                         THEN COALESCE(x.gone_at, EXCLUDED.gone_at) END";
const COMMENTS: &str = "INSERT INTO ticket_comments AS c (integration_id, external_comment_id, \
                        ticket_id, organization_id, origin, command_id, author_id, author_name, \
                        public, body, body_digest, created_at, changed_at, deleted_at) \
                        SELECT integration_id, external_comment_id, ticket_id, organization_id, \
                        origin, command_id, author_id, author_name, public, body, \
                        decode(digest, 'hex'), created_at, changed_at, \
                        CASE WHEN deleted THEN now() END \
                        FROM jsonb_to_recordset($1) AS u(integration_id uuid, \
                        external_comment_id text, ticket_id uuid, organization_id uuid, \
                        origin text, command_id uuid, author_id text, author_name text, \
                        public boolean, body text, digest text, created_at timestamptz, \
                        changed_at timestamptz, deleted boolean) \
                        ON CONFLICT (integration_id, external_comment_id) DO UPDATE SET \
                        ticket_id = COALESCE(c.ticket_id, EXCLUDED.ticket_id), \
                        command_id = COALESCE(c.command_id, EXCLUDED.command_id), \
                        author_id = COALESCE(c.author_id, EXCLUDED.author_id), \
                        author_name = COALESCE(c.author_name, EXCLUDED.author_name), \
                        public = COALESCE(EXCLUDED.public, c.public), \
                        body = COALESCE(EXCLUDED.body, c.body), \
                        body_digest = COALESCE(EXCLUDED.body_digest, c.body_digest), \
                        created_at = COALESCE(c.created_at, EXCLUDED.created_at), \
                        changed_at = COALESCE(EXCLUDED.changed_at, c.changed_at), \
                        deleted_at = COALESCE(c.deleted_at, EXCLUDED.deleted_at)";
const IMPORTS: &str = "INSERT INTO tickets (id, organization_id, title, description, status, \
                       priority, category, urgency, integration_id, external_ticket_id, \
                       external_ticket_url, external_ref, custom_fields, tags, source_channel, \
                       business_impact, communication_count, escalation_level, sla_breached, \
                       last_activity_at, created_at, updated_at, is_deleted) \
                       SELECT id, organization, title, description, status::ticketstatus, \
                       priority::ticketpriority, 'general', priority::ticketpriority, \
                       integration, external_id, external_url, external_ref, \
                       custom_fields::json, tags, 'integration', 'low', comments, 0, false, now(), \
                       now(), clock_timestamp(), false \
                       FROM jsonb_to_recordset($1) AS u(id uuid, organization uuid, \
                       integration uuid, title text, description text, status text, \
                       priority text, tags jsonb, custom_fields jsonb, external_id text, \
                       external_url text, external_ref jsonb, comments integer) \
                       ON CONFLICT (id) DO NOTHING";

const FORGET: &str = "UPDATE commands SET data = '{}' \
                      WHERE id = ANY ($1) AND state = 'succeeded'";

pub(super) async fn all(client: &Object, decided: &Decided, owner: Uuid) -> Result<(), Error> {
    if !decided.put_back.is_empty() {
        let statement = client.prepare_cached(PUT_BACK).await?;
        client.execute(&statement, &[&decided.put_back]).await?;
    }
    if !decided.taken.is_empty() {
        let ids: Vec<Uuid> = decided.taken.iter().map(|(id, ..)| *id).collect();
        let verdicts: Vec<&str> = decided.taken.iter().map(|(_, v, _)| *v).collect();
        let tickets: Vec<Option<Uuid>> = decided
            .taken
            .iter()
            .map(|(.., ticket)| ticket.map(crate::domain::TicketId::uuid))
            .collect();
        let statement = client.prepare_cached(TAKEN).await?;
        client
            .execute(&statement, &[&ids, &verdicts, &tickets])
            .await?;
    }
    rows(client, IMPORTS, &decided.imports).await?;
    rows(client, ROWS, &decided.rows).await?;
    rows(client, EXTERNALS, &decided.externals).await?;
    rows(client, COMMENTS, &decided.comments).await?;
    insert_events(client, &decided.events, Some(owner)).await
}

/// A delivery that was taken is not kept: it may be full of what people wrote.
pub(super) async fn forget(client: &Object, settlements: &[Settlement]) -> Result<(), Error> {
    let done = settlements
        .iter()
        .filter(|settlement| settlement.state == CommandState::Succeeded);
    let ids: Vec<Uuid> = done.map(|settlement| settlement.id.uuid()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let statement = client.prepare_cached(FORGET).await?;
    client.execute(&statement, &[&ids]).await.map(|_| ())
}

async fn rows<T: Serialize>(client: &Object, sql: &str, rows: &[T]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let array: Value = rows.iter().map(without_nul).collect();
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, &[&array]).await.map(|_| ())
}

/// A row as JSON that PostgreSQL takes: it has no text with a NUL.
fn without_nul<T: Serialize>(row: &T) -> Value {
    let mut value = serde_json::to_value(row).unwrap_or_default();
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', ""),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::Array(values) => values.iter_mut().for_each(strip),
        Value::Object(map) => map.values_mut().for_each(strip),
    }
}
