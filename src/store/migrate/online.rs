//! The refactoring of a large `integrations` table without holding anybody up. V2 does it in one
//! transaction under an exclusive lock, which is well for a few thousand rows. Here the new columns
//! are filled beside readers and writers, a trigger looking after rows that are written meanwhile,
//! and only the last step locks the table, for moments.
//!
//! It may be interrupted anywhere: the legacy application does not see the additions, `up` goes on
//! with them, and `rollback` takes them away.

use refinery::Migration;
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

use super::{
    LOCK_TIMEOUT, MigrateError, NO_LOCK_TIMEOUT, TRIES, TRY_PAUSE, at_once, history_of,
    statements_of,
};
use crate::store::indexes::{Index, build_indexes};

/// Up to so many rows V2 does in a tenth of a second.
const ROWS_AT_ONCE: i64 = 2_000;
/// Rows of one of the transactions that fill.
const BATCH: i64 = 500;

const BEGIN: &str = "DO $types$ BEGIN \
                     IF to_regtype('integrationcategory') IS NULL THEN \
                     CREATE TYPE integrationcategory AS ENUM \
                     ('ticketing','crm','messaging','communication','project_management', \
                     'code_repository','webhook'); \
                     END IF; END $types$; \
                     ALTER TABLE integrations ADD COLUMN integration_category integrationcategory, \
                     ADD COLUMN platform_name varchar(50); \
                     CREATE FUNCTION ticketwire_refactor() RETURNS trigger LANGUAGE plpgsql AS \
                     $fill$ BEGIN \
                     NEW.platform_name := NEW.integration_type::text; \
                     NEW.integration_category := (CASE NEW.integration_type::text \
                     WHEN 'jira' THEN 'ticketing' WHEN 'servicenow' THEN 'ticketing' \
                     WHEN 'zendesk' THEN 'ticketing' \
                     WHEN 'freshdesk' THEN 'ticketing' WHEN 'salesforce' THEN 'crm' \
                     WHEN 'hubspot' THEN 'crm' \
                     WHEN 'slack' THEN 'messaging' WHEN 'teams' THEN 'messaging' \
                     WHEN 'email' THEN 'communication' \
                     WHEN 'sms' THEN 'communication' WHEN 'zoom' THEN 'communication' \
                     WHEN 'asana' THEN 'project_management' \
                     WHEN 'trello' THEN 'project_management' WHEN 'github' THEN 'code_repository' \
                     WHEN 'webhook' THEN 'webhook' \
                     END)::integrationcategory; \
                     RETURN NEW; END $fill$; \
                     CREATE TRIGGER ticketwire_refactor BEFORE INSERT OR UPDATE ON integrations \
                     FOR EACH ROW EXECUTE FUNCTION ticketwire_refactor()";

const FILL: &str = "WITH page AS (SELECT id FROM integrations \
                    WHERE ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2), \
                    free AS (SELECT i.id FROM integrations i JOIN page USING (id) \
                    WHERE i.platform_name IS NULL \
                    ORDER BY i.id \
                    FOR UPDATE OF i SKIP LOCKED), \
                    filled AS (UPDATE integrations i SET platform_name = NULL FROM free \
                    WHERE i.id = free.id) \
                    SELECT id FROM page ORDER BY id DESC LIMIT 1";

/// Lets the columns be declared NOT NULL without reading the table under an exclusive lock
/// (PostgreSQL 12 and up).
const PROMISE: &str = "ALTER TABLE integrations DROP CONSTRAINT IF EXISTS ticketwire_refactor; \
                       ALTER TABLE integrations ADD CONSTRAINT ticketwire_refactor \
                       CHECK (integration_category IS NOT NULL \
                       AND platform_name IS NOT NULL) NOT VALID";
const PROVE: &str = "ALTER TABLE integrations VALIDATE CONSTRAINT ticketwire_refactor";

const CHANGE_OVER: &str = "ALTER TABLE integrations ALTER COLUMN integration_category \
                           SET NOT NULL, \
                           ALTER COLUMN platform_name SET NOT NULL; \
                           ALTER TABLE integrations DROP CONSTRAINT ticketwire_refactor; \
                           DROP TRIGGER ticketwire_refactor ON integrations; \
                           DROP FUNCTION ticketwire_refactor(); \
                           ALTER TABLE integrations RENAME COLUMN is_enabled TO enabled; \
                           DROP INDEX ix_integrations_integration_type; \
                           ALTER TABLE integrations DROP COLUMN integration_type";

const UNDO: &str = "DROP TRIGGER IF EXISTS ticketwire_refactor ON integrations; \
                    DROP FUNCTION ticketwire_refactor(); \
                    ALTER TABLE integrations DROP CONSTRAINT IF EXISTS ticketwire_refactor, \
                    DROP COLUMN integration_category, \
                    DROP COLUMN platform_name; \
                    DO $types$ BEGIN DROP TYPE integrationcategory; EXCEPTION \
                    WHEN dependent_objects_still_exist THEN NULL; END $types$";

const INDEXES: [Index; 2] = [
    Index {
        version: super::REFACTOR,
        name: "ix_integrations_integration_category",
        sql: "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_integrations_integration_category \
              ON integrations (integration_category)",
    },
    Index {
        version: super::REFACTOR,
        name: "ix_integrations_platform_name",
        sql: "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_integrations_platform_name \
              ON integrations (platform_name)",
    },
];

/// Whether it was begun and is not finished.
pub(super) async fn is_begun(client: &impl GenericClient) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT to_regprocedure('ticketwire_refactor()') IS NOT NULL";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// Whether it is the way to go: for a large table, or where it was begun.
pub(super) async fn is_wanted(client: &Client) -> Result<bool, tokio_postgres::Error> {
    const SQL: &str = "SELECT EXISTS (SELECT FROM pg_attribute \
                       WHERE attrelid = to_regclass('integrations') \
                       AND attname = 'integration_type' AND NOT attisdropped)";
    if !client.query_one(SQL, &[]).await?.get::<_, bool>(0) {
        return Ok(false);
    }
    if is_begun(client).await? {
        return Ok(true);
    }
    let sql = "SELECT count(*) FROM (SELECT FROM integrations LIMIT $1) AS first";
    let rows: i64 = client.query_one(sql, &[&(ROWS_AT_ONCE + 1)]).await?.get(0);
    Ok(rows > ROWS_AT_ONCE)
}

/// Takes away what an interrupted one added, in the caller's transaction.
pub(super) async fn undo(client: &impl GenericClient) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(UNDO).await
}

/// Does V2's work and writes it into the history, V1 being there.
pub(super) async fn refactor(client: &Client, migration: &Migration) -> Result<(), MigrateError> {
    client.batch_execute(LOCK_TIMEOUT).await?;
    if !is_begun(client).await? {
        at_once(client, BEGIN).await?;
    }
    fill(client).await?;
    client.batch_execute(NO_LOCK_TIMEOUT).await?;
    build_indexes(client, &INDEXES).await?;
    client.batch_execute(LOCK_TIMEOUT).await?;
    at_once(client, PROMISE).await?;
    at_once(client, PROVE).await?;
    // V2 finds the refactored shape and clears away the type and the index's old name.
    let last = format!(
        "{CHANGE_OVER}; {}; {}",
        statements_of(migration)?,
        history_of(migration)
    );
    at_once(client, &last).await?;
    client.batch_execute(NO_LOCK_TIMEOUT).await?;
    Ok(())
}

/// Fills the columns of rows that were there before the trigger. Rows that somebody holds are
/// looked at again.
async fn fill(client: &Client) -> Result<(), MigrateError> {
    for _ in 0..TRIES {
        let mut after: Option<Uuid> = None;
        while let Some(row) = client.query_opt(FILL, &[&after, &BATCH]).await? {
            after = Some(row.get(0));
        }
        let sql = "SELECT EXISTS (SELECT FROM integrations WHERE platform_name IS NULL)";
        if !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
            break;
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
    Ok(())
}
