//! The run of a sync: whose it is, and how far it has come.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use serde_json::Value;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::domain::{CommandId, IntegrationId};
use crate::store::{Store, StoreError, keep_if_sound, limited};

/// How long a run is its command's without a page: longer than a page takes and a turn is waited
/// for.
pub(super) const LEASE: Duration = Duration::from_secs(600);
/// Rows of what a run has seen that are removed by one statement.
const SWEPT: i64 = 10_000;

/// What must still be so for a step of a run to write.
#[derive(Debug, Clone, Copy)]
pub struct SyncFence {
    /// Of which integration.
    pub integration: IntegrationId,
    /// The run's command.
    pub command: CommandId,
    /// The process that runs it.
    pub owner: Uuid,
    /// The command's fencing token.
    pub fencing_token: i32,
}

impl SyncFence {
    /// Whether the command is still this process's; it stays so to the end of the transaction.
    pub(super) async fn holds(&self, client: &Object) -> Result<bool, Error> {
        const SQL: &str = "SELECT FROM commands WHERE id = $1 AND owner = $2 \
                           AND fencing_token = $3 FOR SHARE";
        let statement = client.prepare_cached(SQL).await?;
        let id = self.command.uuid();
        let row = client
            .query_opt(&statement, &[&id, &self.owner, &self.fencing_token])
            .await?;
        Ok(row.is_some())
    }
}

/// A run as it stands.
#[derive(Debug, Clone)]
pub struct SyncRun {
    /// When it began, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// From when on changes are asked for; `None`: all there is.
    pub since: Option<DateTime<Utc>>,
    /// Where the last run left off, as the platform said.
    pub mark: Option<String>,
    /// Where the listing goes on; `None`: at its beginning.
    pub page: Option<String>,
    /// Pages so far.
    pub pages: i32,
    /// Hash of the ids of the page before.
    pub last_ids: Option<Vec<u8>>,
    /// Its counts, as JSON.
    pub counts: Value,
    /// Its progress, as JSON.
    pub progress: Value,
    /// What goes from run to run, as JSON.
    pub kept: Value,
}

/// Whose an integration's run is.
#[derive(Debug)]
pub enum SyncTaken {
    /// The command's, new or gone on with.
    Ours(Box<SyncRun>),
    /// Another command's, which is under way.
    Others,
    /// The command is not this process's any more.
    Lost,
}

/// The end of a run, written when its command is settled.
#[derive(Debug, Clone)]
pub struct SyncEnd {
    /// Of which integration.
    pub integration: IntegrationId,
    /// The run's command.
    pub command: CommandId,
    /// Up to when changes have been seen; `None` leaves it as it was.
    pub seen_until: Option<DateTime<Utc>>,
    /// Where the platform lets the next one begin; `None` leaves it as it was.
    pub mark: Option<String>,
}

impl Store {
    /// Takes an integration's run for a command, or goes on with it. It can be taken from a command
    /// that has ended, or has not renewed its lease. Locks the integration's row of
    /// `integration_sync`.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn take_sync(&self, fence: &SyncFence, full: bool) -> Result<SyncTaken, StoreError> {
        if let Some(ended) = self.ended_run(fence).await? {
            self.forget_seen(ended).await?;
        }
        let client = self.hot().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            let taken = take(&client, fence, full).await;
            client
                .batch_execute(if taken.is_ok() { "COMMIT" } else { "ROLLBACK" })
                .await?;
            taken
        };
        let result = limited(work).await;
        keep_if_sound(client, result)
    }

    /// Another command's run that ended without its end being written: it failed, or was cancelled.
    async fn ended_run(&self, fence: &SyncFence) -> Result<Option<CommandId>, StoreError> {
        const SQL: &str = "SELECT s.run FROM integration_sync s WHERE s.integration_id = $1 \
                           AND s.run <> $2 AND NOT EXISTS \
                           (SELECT FROM commands c WHERE c.id = s.run AND c.finished_at IS NULL)";
        let client = self.hot().await?;
        let ids = (fence.integration.uuid(), fence.command.uuid());
        let result = limited(client.query_opt(SQL, &[&ids.0, &ids.1])).await;
        let row = keep_if_sound(client, result)?;
        Ok(row.map(|row| CommandId::new(row.get(0))))
    }

    /// Whether a sync of the integration is under way.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn is_syncing(&self, integration: IntegrationId) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT EXISTS (SELECT FROM integration_sync s \
                           JOIN commands c ON c.id = s.run AND c.finished_at IS NULL \
                           WHERE s.integration_id = $1 AND s.lease_until > now())";
        let client = self.get().await?;
        let result = limited(client.query_one(SQL, &[&integration.uuid()])).await;
        keep_if_sound(client, result.map(|row| row.get(0)))
    }

    /// A run as it would begin now, for one that leaves nothing behind.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn next_sync(
        &self,
        integration: IntegrationId,
        full: bool,
    ) -> Result<SyncRun, StoreError> {
        // `LEAST` of nothing and a time is the time.
        const SQL: &str = "SELECT clock_timestamp(), \
                           CASE WHEN i.id IS NOT NULL THEN LEAST(i.last_sync_at, now()) END, \
                           s.mark \
                           FROM (SELECT $1::uuid AS id) w \
                           LEFT JOIN integrations i ON i.id = w.id \
                           AND i.last_sync_at IS NOT NULL \
                           LEFT JOIN integration_sync s ON s.integration_id = w.id";
        let client = self.get().await?;
        let result = limited(client.query_one(SQL, &[&integration.uuid()])).await;
        let row = keep_if_sound(client, result)?;
        Ok(SyncRun {
            started_at: row.get(0),
            since: row.get::<_, Option<DateTime<Utc>>>(1).filter(|_| !full),
            mark: row.get::<_, Option<String>>(2).filter(|_| !full),
            page: None,
            pages: 0,
            last_ids: None,
            counts: Value::Null,
            progress: Value::Null,
            kept: Value::Null,
        })
    }

    /// How many of these a run has seen.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn seen_before(&self, run: CommandId, items: &[Vec<u8>]) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM integration_sync_seen \
                           WHERE run = $1 AND item = ANY($2)";
        let client = self.hot().await?;
        let result = limited(client.query_one(SQL, &[&run.uuid(), &items])).await;
        keep_if_sound(client, result.map(|row| row.get(0)))
    }

    /// Forgets what a run has seen, a part at a time.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn forget_seen(&self, run: CommandId) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM integration_sync_seen WHERE run = $1 AND item IN \
                           (SELECT item FROM integration_sync_seen WHERE run = $1 LIMIT $2)";
        loop {
            let client = self.hot().await?;
            let result = limited(client.execute(SQL, &[&run.uuid(), &SWEPT])).await;
            if keep_if_sound(client, result)? == 0 {
                return Ok(());
            }
        }
    }
}

async fn take(client: &Object, fence: &SyncFence, full: bool) -> Result<SyncTaken, Error> {
    const ROW: &str = "INSERT INTO integration_sync (integration_id) VALUES ($1) \
                       ON CONFLICT DO NOTHING";
    const WHOSE: &str = "SELECT s.run, s.kind, s.lease_until > now() AND EXISTS \
                         (SELECT FROM commands c WHERE c.id = s.run AND c.finished_at IS NULL) \
                         FROM integration_sync s WHERE s.integration_id = $1 FOR UPDATE";
    const BEGIN: &str = "UPDATE integration_sync s SET run = $2, kind = $3, \
                         started_at = clock_timestamp(), \
                         since = CASE WHEN $3 = 'incremental' THEN (SELECT LEAST(i.last_sync_at, \
                         now()) FROM integrations i WHERE i.id = $1 \
                         AND i.last_sync_at IS NOT NULL) END, \
                         page = NULL, pages = 0, counts = '{}', progress = '{}', last_ids = NULL \
                         WHERE s.integration_id = $1";
    const GO_ON: &str = "UPDATE integration_sync s \
                         SET lease_until = now() + $2::float8 * interval '1 second' \
                         WHERE s.integration_id = $1 \
                         RETURNING s.started_at, s.since, \
                         CASE WHEN s.kind = 'incremental' THEN s.mark END, \
                         s.page, s.pages, s.last_ids, \
                         s.counts, s.progress, s.kept";
    const LEFT: &str = "DELETE FROM integration_sync_seen WHERE run = $1";
    if !fence.holds(client).await? {
        return Ok(SyncTaken::Lost);
    }
    let (integration, command) = (fence.integration.uuid(), fence.command.uuid());
    let kind = if full { "full" } else { "incremental" };
    client.execute(ROW, &[&integration]).await?;
    let whose = client.query_one(WHOSE, &[&integration]).await?;
    let (run, of_kind): (Option<Uuid>, Option<&str>) = (whose.get(0), whose.get(1));
    let is_ours = run == Some(command) && of_kind == Some(kind);
    if !is_ours {
        let is_taken: Option<bool> = whose.get(2);
        if run != Some(command) && is_taken.unwrap_or_default() {
            return Ok(SyncTaken::Others);
        }
        if let Some(left) = run {
            client.execute(LEFT, &[&left]).await?;
        }
        client
            .execute(BEGIN, &[&integration, &command, &kind])
            .await?;
    }
    let row = client
        .query_one(GO_ON, &[&integration, &LEASE.as_secs_f64()])
        .await?;
    Ok(SyncTaken::Ours(Box::new(read(&row))))
}

fn read(row: &Row) -> SyncRun {
    SyncRun {
        started_at: row.get(0),
        since: row.get(1),
        mark: row.get(2),
        page: row.get(3),
        pages: row.get(4),
        last_ids: row.get(5),
        counts: row.get(6),
        progress: row.get(7),
        kept: row.get(8),
    }
}

/// Inside the transaction that settles the command.
pub(in crate::store) async fn end(client: &Object, end: &SyncEnd) -> Result<(), Error> {
    const SEEN: &str =
        "UPDATE integrations SET last_sync_at = GREATEST(last_sync_at, $2) WHERE id = $1";
    const END: &str = "UPDATE integration_sync SET run = NULL, kind = NULL, started_at = NULL, \
                       since = NULL, page = NULL, pages = 0, counts = '{}', progress = '{}', \
                       last_ids = NULL, lease_until = NULL, mark = COALESCE($3, mark) \
                       WHERE integration_id = $1 AND run = $2";
    let (integration, command) = (end.integration.uuid(), end.command.uuid());
    let ended = client
        .execute(END, &[&integration, &command, &end.mark])
        .await?;
    // Another run that took over since has its own say.
    if ended > 0 {
        client
            .execute(SEEN, &[&integration, &end.seen_until])
            .await?;
    }
    Ok(())
}
