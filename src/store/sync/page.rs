//! A page of a sync, written in one transaction with the place where the run goes on.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use serde_json::{Map, Value};
use tokio_postgres::Error;
use uuid::Uuid;

use super::BUSY;
use super::run::{LEASE, SyncFence};
use crate::domain::{OrganizationId, Priority, TicketId, TicketStatus};
use crate::store::{OutboxRow, Store, StoreError, keep_if_sound, lifecycle, limited};

/// A change of a ticket's row.
#[derive(Debug, Clone)]
pub struct SyncedTicket {
    /// Ours.
    pub id: TicketId,
    /// New status.
    pub status: Option<TicketStatus>,
    /// New priority.
    pub priority: Option<Priority>,
    /// New external id, after a move.
    pub external_id: Option<String>,
    /// New page.
    pub external_url: Option<String>,
    /// What the adapter wants to see again, where the row lacks it.
    pub external_ref: Option<Map<String, Value>>,
    /// When the platform was asked for what is written, by the database's clock.
    pub asked_at: DateTime<Utc>,
}

/// How a ticket's item is called, for `ticket_externals`.
#[derive(Debug, Clone)]
pub struct MatchedItem {
    /// Ours.
    pub ticket: TicketId,
    /// What a person would quote.
    pub external_id: String,
    /// The id that survives a move.
    pub stable_id: Option<String>,
}

/// A ticket whose item is gone.
#[derive(Debug, Clone)]
pub struct GoneTicket {
    /// Ours.
    pub ticket: TicketId,
    /// Whether its row is closed with it.
    pub closes: bool,
    /// When the platform was asked, by the database's clock.
    pub asked_at: DateTime<Utc>,
}

/// What is written of a page.
#[derive(Debug, Clone, Default)]
pub struct SyncPage {
    /// The tickets that change.
    pub tickets: Vec<SyncedTicket>,
    /// How items of tickets are called.
    pub externals: Vec<MatchedItem>,
    /// Tickets whose items are gone.
    pub gone: Vec<GoneTicket>,
    /// What was seen: hashes and ids of sixteen bytes.
    pub seen: Vec<Vec<u8>>,
    /// What is told of it.
    pub events: Vec<OutboxRow>,
    /// Where the listing goes on.
    pub next: Option<String>,
    /// Hash of the ids of this page.
    pub last_ids: Option<Vec<u8>>,
    /// Pages so far.
    pub pages: i32,
    /// The run's counts, as JSON.
    pub counts: Value,
    /// The run's progress, as JSON.
    pub progress: Value,
    /// What goes from run to run, as JSON.
    pub kept: Value,
}

/// What came of writing a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageWritten {
    /// It is durable.
    Done,
    /// Of one of the tickets something was written since the platform was asked, or is being
    /// written: nothing of the page was.
    Void,
    /// The run is not this command's any more; nothing was written.
    Lost,
}

impl Store {
    /// Writes a page, what is told of it and where the run goes on, in one transaction, and renews
    /// the run's lease. Locks the tickets' rows.
    ///
    /// # Errors
    /// As the connection's; the commit is then in doubt, and the next look at the run tells.
    pub async fn write_page(
        &self,
        fence: &SyncFence,
        organization: OrganizationId,
        page: &SyncPage,
    ) -> Result<PageWritten, StoreError> {
        let client = self.hot().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            let written = write(&client, fence, organization, page).await;
            let good = matches!(written, Ok(PageWritten::Done));
            client
                .batch_execute(if good { "COMMIT" } else { "ROLLBACK" })
                .await?;
            written
        };
        let result = limited(work).await;
        keep_if_sound(client, result)
    }
}

async fn write(
    client: &Object,
    fence: &SyncFence,
    organization: OrganizationId,
    page: &SyncPage,
) -> Result<PageWritten, Error> {
    const SEEN: &str = "INSERT INTO integration_sync_seen (run, item) \
                        SELECT $1, item FROM unnest($2::bytea[]) AS s(item) \
                        ON CONFLICT DO NOTHING";
    const PLACE: &str = "UPDATE integration_sync SET page = $3, pages = $4, counts = $5, \
                         progress = $6, kept = $7, last_ids = $8, \
                         lease_until = now() + $9::float8 * interval '1 second' \
                         WHERE integration_id = $1 AND run = $2";
    if !fence.holds(client).await? {
        return Ok(PageWritten::Lost);
    }
    if is_void(client, organization, page).await? {
        return Ok(PageWritten::Void);
    }
    let run = fence.command.uuid();
    let place = client.prepare_cached(PLACE).await?;
    let placed = client
        .execute(
            &place,
            &[
                &fence.integration.uuid(),
                &run,
                &page.next,
                &page.pages,
                &page.counts,
                &page.progress,
                &page.kept,
                &page.last_ids,
                &LEASE.as_secs_f64(),
            ],
        )
        .await?;
    if placed == 0 {
        return Ok(PageWritten::Lost);
    }
    change(client, organization, &page.tickets).await?;
    record(client, fence, organization, &page.externals).await?;
    bury(client, organization, &page.gone).await?;
    if !page.seen.is_empty() {
        let seen = client.prepare_cached(SEEN).await?;
        client.execute(&seen, &[&run, &page.seen]).await?;
    }
    lifecycle::insert_events(client, &page.events, Some(fence.owner)).await?;
    Ok(PageWritten::Done)
}

/// Locks the tickets that the page writes, and looks whether one was written since the platform was
/// asked.
async fn is_void(
    client: &Object,
    organization: OrganizationId,
    page: &SyncPage,
) -> Result<bool, Error> {
    // Locked first and looked at in a statement of its own: a settlement that is under way is then
    // either seen, or waits and writes after this.
    const LOCK: &str = "SELECT FROM tickets t WHERE t.id = ANY($1) AND t.organization_id = $2 \
                        ORDER BY t.id FOR NO KEY UPDATE";
    let changed = page.tickets.iter().map(|t| (t.id.uuid(), t.asked_at));
    let gone = page.gone.iter().map(|t| (t.ticket.uuid(), t.asked_at));
    let (ids, asked): (Vec<Uuid>, Vec<DateTime<Utc>>) = changed.chain(gone).unzip();
    if ids.is_empty() {
        return Ok(false);
    }
    let organization = organization.uuid();
    client.execute(LOCK, &[&ids, &organization]).await?;
    let void = format!(
        "SELECT EXISTS (SELECT FROM unnest($1::uuid[], $3::timestamptz[]) AS u(id, asked_at) \
         JOIN tickets t ON t.id = u.id WHERE t.organization_id = $2 AND \
         (t.updated_at BETWEEN u.asked_at AND clock_timestamp() OR {BUSY}))"
    );
    let row = client
        .query_one(void.as_str(), &[&ids, &organization, &asked])
        .await?;
    Ok(row.get(0))
}

async fn change(
    client: &Object,
    organization: OrganizationId,
    tickets: &[SyncedTicket],
) -> Result<(), Error> {
    const TICKETS: &str = "UPDATE tickets t SET status = COALESCE(u.status::ticketstatus, \
                           t.status), \
                           priority = COALESCE(u.priority::ticketpriority, t.priority), \
                           external_ticket_id = COALESCE(u.external_id, t.external_ticket_id), \
                           external_ticket_url = COALESCE(u.external_url, t.external_ticket_url), \
                           external_ref = CASE WHEN u.external_ref IS NULL THEN t.external_ref \
                           ELSE COALESCE(t.external_ref, '{}') || u.external_ref::jsonb END, \
                           resolved_at = CASE WHEN u.status IS NULL THEN t.resolved_at \
                           WHEN u.status IN ('resolved', 'closed') THEN COALESCE(t.resolved_at, \
                           now()) END, \
                           closed_at = CASE WHEN u.status IS NULL THEN t.closed_at \
                           WHEN u.status IN ('closed', 'cancelled') THEN COALESCE(t.closed_at, \
                           now()) END, \
                           last_activity_at = now(), updated_at = now() \
                           FROM (SELECT * FROM unnest($1::uuid[], $3::text[], $4::text[], \
                           $5::text[], $6::text[], $7::text[]) \
                           AS u(id, status, priority, external_id, external_url, external_ref) \
                           ORDER BY id) u \
                           WHERE t.id = u.id AND t.organization_id = $2 AND NOT t.is_deleted";
    if tickets.is_empty() {
        return Ok(());
    }
    let t = tickets;
    let ids: Vec<Uuid> = t.iter().map(|t| t.id.uuid()).collect();
    let statuses: Vec<Option<&str>> = t
        .iter()
        .map(|t| t.status.map(TicketStatus::as_str))
        .collect();
    let priorities: Vec<Option<&str>> =
        t.iter().map(|t| t.priority.map(Priority::as_str)).collect();
    let external: Vec<Option<&str>> = t.iter().map(|t| t.external_id.as_deref()).collect();
    let urls: Vec<Option<&str>> = t.iter().map(|t| t.external_url.as_deref()).collect();
    let text = |map: &Map<String, Value>| Value::Object(map.clone()).to_string();
    let refs: Vec<Option<String>> = t
        .iter()
        .map(|t| t.external_ref.as_ref().map(text))
        .collect();
    client
        .execute(
            TICKETS,
            &[
                &ids,
                &organization.uuid(),
                &statuses,
                &priorities,
                &external,
                &urls,
                &refs,
            ],
        )
        .await
        .map(|_| ())
}

/// A ticket that another integration had before is begun anew: what that one's platform held says
/// nothing of this one's.
async fn record(
    client: &Object,
    fence: &SyncFence,
    organization: OrganizationId,
    externals: &[MatchedItem],
) -> Result<(), Error> {
    const EXTERNALS: &str = "INSERT INTO ticket_externals AS n (ticket_id, organization_id, \
                             integration_id, external_id, stable_id) \
                             SELECT u.ticket, $2, $1, u.external_id, u.stable_id \
                             FROM unnest($3::uuid[], $4::text[], $5::text[]) \
                             AS u(ticket, external_id, stable_id) ORDER BY u.ticket \
                             ON CONFLICT (ticket_id) DO UPDATE SET \
                             organization_id = excluded.organization_id, \
                             integration_id = excluded.integration_id, \
                             external_id = excluded.external_id, \
                             stable_id = CASE WHEN n.integration_id = excluded.integration_id \
                             THEN COALESCE(excluded.stable_id, n.stable_id) \
                             ELSE excluded.stable_id END, \
                             base = CASE WHEN n.integration_id = excluded.integration_id \
                             THEN n.base ELSE '{}' END, gone = NULL, gone_at = NULL";
    if externals.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = externals.iter().map(|e| e.ticket.uuid()).collect();
    let names: Vec<&str> = externals.iter().map(|e| e.external_id.as_str()).collect();
    let stable: Vec<Option<&str>> = externals.iter().map(|e| e.stable_id.as_deref()).collect();
    let statement = client.prepare_cached(EXTERNALS).await?;
    let (integration, organization) = (fence.integration.uuid(), organization.uuid());
    client
        .execute(
            &statement,
            &[&integration, &organization, &ids, &names, &stable],
        )
        .await
        .map(|_| ())
}

async fn bury(
    client: &Object,
    organization: OrganizationId,
    gone: &[GoneTicket],
) -> Result<(), Error> {
    const GONE: &str = "UPDATE ticket_externals SET gone = 'deleted', gone_at = now() \
                        WHERE ticket_id = ANY($1) AND organization_id = $2";
    const CLOSE: &str = "UPDATE tickets SET status = 'closed', \
                         closed_at = COALESCE(closed_at, now()), \
                         last_activity_at = now(), updated_at = now() \
                         WHERE id = ANY($1) AND organization_id = $2 AND NOT is_deleted \
                         AND status NOT IN ('closed', 'cancelled')";
    if gone.is_empty() {
        return Ok(());
    }
    let ids = |gone: &mut dyn Iterator<Item = &GoneTicket>| -> Vec<Uuid> {
        gone.map(|gone| gone.ticket.uuid()).collect()
    };
    let organization = organization.uuid();
    let all = ids(&mut gone.iter());
    client.execute(GONE, &[&all, &organization]).await?;
    let closing = ids(&mut gone.iter().filter(|gone| gone.closes));
    client.execute(CLOSE, &[&closing, &organization]).await?;
    Ok(())
}
