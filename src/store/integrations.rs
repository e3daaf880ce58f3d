//! Reading and changing integrations.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::lifecycle::StateChange;
use super::row::{Json, row};
use super::{Store, StoreError, keep_if_sound, limited};
use crate::contract::{IntegrationCreate, IntegrationList, ListPosition, PlainChanges};
use crate::domain::routing::Rules;
use crate::domain::{
    AuthType, HealthStatus, Integration, IntegrationCategory, IntegrationId, IntegrationStatus,
    OrganizationId, Platform,
};

/// An integration's row at one version.
#[derive(Debug, Clone)]
pub struct LoadedIntegration {
    /// The row's version: changes with every write to it.
    pub version: i64,
    /// What it says.
    pub integration: Integration,
    /// Whether it was deleted.
    pub is_deleted: bool,
    /// Whether we are told what happens on its platform: it is synced, or has webhooks.
    pub is_told: bool,
    /// The rest, for people; nothing sealed in it.
    pub shown: Value,
}

/// A page of `integration.list`.
#[derive(Debug, Clone)]
pub struct IntegrationPage {
    /// The items.
    pub items: Vec<LoadedIntegration>,
    /// Where the next page begins.
    pub next_cursor: Option<ListPosition>,
}

/// What `integration.create` writes; secrets sealed.
#[derive(Debug, Clone)]
pub struct NewIntegration {
    /// Its id.
    pub id: IntegrationId,
    /// The tenant; inserted into `organizations` if missing.
    pub organization_id: OrganizationId,
    /// The data; its `credentials` and `webhook_secret` are not looked at.
    pub create: IntegrationCreate,
    /// Sealed credentials.
    pub credentials_sealed: Option<String>,
    /// Sealed webhook secret.
    pub webhook_secret_sealed: Option<String>,
    /// `pending` when enabled, `inactive` when not.
    pub status: IntegrationStatus,
}

row! {
    /// What is read of an integration's row.
    struct Stored<'a> {
        id: Uuid = "i.id",
        version: i64 = "i.xmin::text::bigint",
        organization_id: Option<Uuid> = "i.organization_id",
        name: &'a str = "i.name",
        platform_name: &'a str = "i.platform_name",
        category: &'a str = "i.integration_category::text",
        enabled: bool = "i.enabled",
        status: &'a str = "i.status::text",
        auth_type: &'a str = "i.auth_type",
        base_url: Option<&'a str> = "i.base_url",
        api_version: Option<&'a str> = "i.api_version",
        settings: Json = "i.settings",
        credentials: Option<&'a str> = "i.credentials_encrypted",
        webhook_secret: Option<&'a str> = "i.webhook_secret_encrypted",
        expires_at: Option<DateTime<Utc>> = "i.expires_at",
        supports_categories: Json = "i.supports_categories",
        supports_priorities: Json = "i.supports_priorities",
        department_mapping: Json = "i.department_mapping",
        custom_fields_mapping: Json = "i.custom_fields_mapping",
        maintenance_window_start: Option<&'a str> = "i.maintenance_window_start",
        maintenance_window_end: Option<&'a str> = "i.maintenance_window_end",
        rate_limit_per_hour: Option<i32> = "i.rate_limit_per_hour",
        is_deleted: bool = "i.is_deleted",
        description: Option<&'a str> = "i.description",
        default_priority: i32 = "i.default_priority",
        health_check_status: Option<&'a str> = "i.health_check_status",
        health_check_error: Option<&'a str> = "i.health_check_error",
        last_health_check_at: Option<DateTime<Utc>> = "i.last_health_check_at",
        created_at: DateTime<Utc> = "i.created_at",
        updated_at: DateTime<Utc> = "i.updated_at",
        total_requests: i32 = "i.total_requests",
        successful_requests: i32 = "i.successful_requests",
        failed_requests: i32 = "i.failed_requests",
        environment: &'a str = "i.environment",
        region: Option<&'a str> = "i.region",
        routing_rules: Json = "i.routing_rules",
        parked_at: Option<DateTime<Utc>> = "i.parked_at",
        auto_disable_on_error: bool = "i.auto_disable_on_error",
        failure_threshold: i32 = "i.failure_threshold",
        last_sync_at: Option<DateTime<Utc>> = "i.last_sync_at",
        oauth_scopes: Json = "i.oauth_scopes",
        sync_enabled: bool = "i.sync_enabled",
        sync_frequency_minutes: i32 = "i.sync_frequency_minutes",
        notification_events: Json = "i.notification_events",
        notification_channels: Json = "i.notification_channels",
        consecutive_failures: i32 = "i.consecutive_failures",
        connection_test_count: i32 = "i.connection_test_count",
        last_request_at: Option<DateTime<Utc>> = "i.last_request_at",
        last_success_at: Option<DateTime<Utc>> = "i.last_success_at",
        last_error_at: Option<DateTime<Utc>> = "i.last_error_at",
        last_error_message: Option<&'a str> = "i.last_error_message",
        monitoring_enabled: bool = "i.monitoring_enabled",
        last_activation_at: Option<DateTime<Utc>> = "i.last_activation_at",
        has_webhooks: bool = "EXISTS (SELECT FROM integration_webhooks w \
                              WHERE w.integration_id = i.id AND w.state <> 'gone')",
    }
}

impl Store {
    /// The integrations among `ids`, whatever their state.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn integrations(&self, ids: &[Uuid]) -> Result<Vec<LoadedIntegration>, StoreError> {
        let client = self.hot().await?;
        let result = async {
            let columns = Stored::COLUMNS;
            let sql = format!(
                "SELECT {columns} FROM unnest($1::uuid[]) AS u(id) \
                               JOIN integrations i ON i.id = u.id"
            );
            let statement = client.prepare_cached(&sql).await?;
            limited(client.query(&statement, &[&ids])).await
        }
        .await;
        // Others need the connection more than reading long rows does.
        let rows = keep_if_sound(client, result)?;
        Ok(read_all(rows).await)
    }

    /// An organization's integrations that are not deleted, at most a thousand: their ids and
    /// versions.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn integrations_of(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<(IntegrationId, i64)>, StoreError> {
        const SQL: &str = "SELECT i.id, i.xmin::text::bigint FROM integrations i \
                           WHERE i.organization_id = $1 \
                           AND NOT i.is_deleted ORDER BY i.default_priority, i.id LIMIT 1000";
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(SQL).await?;
            let rows = limited(client.query(&statement, &[&organization.uuid()])).await?;
            let version = |row: &Row| (IntegrationId::new(row.get(0)), row.get(1));
            Ok(rows.iter().map(version).collect())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// A page of an organization's integrations; of all organizations' where it is `None` (the
    /// command line).
    ///
    /// # Errors
    /// As the connection's.
    pub async fn list_integrations(
        &self,
        organization: Option<OrganizationId>,
        filter: &IntegrationList,
    ) -> Result<IntegrationPage, StoreError> {
        // The three sort keys are fixed words; everything else is a parameter.
        let key = match filter.sort_by.as_str() {
            "name" => "i.name",
            "updated_at" => "i.updated_at::text",
            _ => "i.created_at::text",
        };
        let (order, beyond) = if filter.ascending {
            ("ASC", ">")
        } else {
            ("DESC", "<")
        };
        let columns = Stored::COLUMNS;
        let sql = format!(
            "SELECT {columns}, {key} AS sort_key FROM integrations i WHERE NOT i.is_deleted \
             AND ($1::uuid IS NULL OR i.organization_id = $1) \
             AND ($2::text IS NULL OR i.integration_category::text = $2) \
             AND ($3::text IS NULL OR i.platform_name = $3) \
             AND ($4::text IS NULL OR i.status::text = $4) \
             AND ($5::bool IS NULL OR i.enabled = $5) \
             AND ($6::text IS NULL OR i.name ILIKE '%' || $6 || '%' \
             OR i.description ILIKE '%' || $6 || '%') \
             AND ($7::text IS NULL OR ({key}, i.id) {beyond} ($7, $8::uuid)) \
             ORDER BY {key} {order}, i.id {order} LIMIT $9"
        );
        let after_key = filter.cursor.as_ref().map(|after| after.key.as_str());
        let after_id = filter.cursor.as_ref().map(|after| after.id.uuid());
        let pattern = filter.q.as_ref().map(|q| {
            q.replace('\\', "\\\\")
                .replace('%', "\\%")
                .replace('_', "\\_")
        });
        let limit = i64::from(filter.limit);
        let fetch = limit + 1;
        let client = self.get().await?;
        let result = async {
            let rows = limited(client.query(
                sql.as_str(),
                &[
                    &organization.map(OrganizationId::uuid),
                    &filter.category.map(IntegrationCategory::as_str),
                    &filter.platform.map(Platform::as_str),
                    &filter.status.map(IntegrationStatus::as_str),
                    &filter.enabled,
                    &pattern,
                    &after_key,
                    &after_id,
                    &fetch,
                ],
            ))
            .await?;
            let more = i64::try_from(rows.len()).is_ok_and(|count| count > limit);
            let kept = usize::try_from(limit).unwrap_or(usize::MAX).min(rows.len());
            let items: Vec<LoadedIntegration> = rows.iter().take(kept).map(read).collect();
            let last = rows.iter().zip(&items).last().filter(|_| more);
            let next_cursor = last.map(|(row, item)| ListPosition {
                key: row.get("sort_key"),
                id: item.integration.id,
            });
            Ok(IntegrationPage { items, next_cursor })
        }
        .await;
        keep_if_sound(client, result)
    }
}

impl Store {
    /// Changes fields of an integration: `None` leaves one as it is, settings are merged. False: no
    /// such integration.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn change_integration(
        &self,
        id: IntegrationId,
        change: &IntegrationChange,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE integrations SET name = COALESCE($2, name), \
                           base_url = COALESCE($3, base_url), \
                           settings = COALESCE(settings, '{}') || COALESCE($4::jsonb, '{}'), \
                           credentials_encrypted = COALESCE($5, credentials_encrypted), \
                           health_check_status = CASE \
                           WHEN $5::text IS NULL THEN health_check_status \
                           ELSE 'unknown' END, \
                           is_deleted = COALESCE($6, is_deleted), \
                           deleted_at = CASE WHEN $6 THEN now() \
                           ELSE deleted_at END, updated_at = now() \
                           WHERE id = $1 AND NOT is_deleted";
        let client = self.hot().await?;
        let result = limited(client.execute(
            SQL,
            &[
                &id.uuid(),
                &change.name,
                &change.base_url,
                &change.settings.clone().map(Value::Object),
                &change.credentials_sealed,
                &change.delete.then_some(true),
            ],
        ))
        .await;
        keep_if_sound(client, result.map(|rows| rows == 1))
    }
}

/// What the command line changes of an integration.
#[derive(Debug, Clone, Default)]
pub struct IntegrationChange {
    /// New name.
    pub name: Option<String>,
    /// New API base.
    pub base_url: Option<String>,
    /// Settings to merge in.
    pub settings: Option<Map<String, Value>>,
    /// New sealed credentials.
    pub credentials_sealed: Option<String>,
    /// Soft delete.
    pub delete: bool,
}

/// What `integration.update` writes; secrets sealed.
#[derive(Debug, Clone)]
pub struct IntegrationWrite {
    /// New name.
    pub name: Option<String>,
    /// New way to authenticate.
    pub auth_type: Option<AuthType>,
    /// New sealed credentials; `Some(None)` is none at all.
    pub credentials_sealed: Option<Option<String>>,
    /// New sealed webhook secret.
    pub webhook_secret_sealed: Option<Option<String>>,
    /// Settings to merge in; null removes one.
    pub settings: Map<String, Value>,
    /// New API base.
    pub base_url: Option<Option<String>>,
    /// When the credentials expire.
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// The rest.
    pub plain: PlainChanges,
    /// What it means for its state.
    pub change: StateChange,
}

/// Soft-deletes an integration, inside the caller's transaction; its commands find that out at
/// once.
pub(super) async fn delete(
    client: &deadpool_postgres::Object,
    id: IntegrationId,
) -> Result<(), tokio_postgres::Error> {
    const SQL: &str = "WITH gone AS (UPDATE integrations \
                       SET is_deleted = true, deleted_at = now(), \
                       parked_at = NULL, updated_at = now() WHERE id = $1 AND NOT is_deleted \
                       RETURNING id), \
                       idle AS (DELETE FROM integration_schedule WHERE integration_id = $1), \
                       seen AS (DELETE FROM integration_sync_seen WHERE run IN (SELECT run \
                       FROM integration_sync WHERE integration_id = $1)), \
                       synced AS (DELETE FROM integration_sync WHERE integration_id = $1), \
                       tokens AS (DELETE FROM integration_tokens WHERE integration_id = $1) \
                       UPDATE commands c SET due_at = now(), retry_at = now() FROM gone \
                       WHERE c.lane = gone.id AND c.due_at IS NOT NULL AND c.doubt_since IS NULL";
    client.execute(SQL, &[&id.uuid()]).await.map(|_| ())
}

/// Writes an update's fields, inside the caller's transaction.
pub(super) async fn update(
    client: &deadpool_postgres::Object,
    write: &IntegrationWrite,
) -> Result<(), tokio_postgres::Error> {
    let mut sets = vec!["updated_at = now()".to_owned()];
    let mut params: Vec<Box<dyn ToSql + Sync + Send>> = vec![Box::new(write.change.id.uuid())];
    let mut set = |column: &str, value: Box<dyn ToSql + Sync + Send>| {
        params.push(value);
        sets.push(format!("{column} = ${}", params.len()));
    };
    macro_rules! columns {
        ($($from:expr => $column:literal as $convert:expr),+ $(,)?) => {
            $(if let Some(value) = $from.clone() { set($column, Box::new($convert(value))); })+
        };
    }
    let texts = |list: Option<Vec<String>>| list.map(|texts| json!(texts));
    let map = |map: Option<Map<String, Value>>| map.map(Value::Object);
    let p = &write.plain;
    columns!(
        write.name => "name" as std::convert::identity,
        write.auth_type.map(AuthType::as_str) => "auth_type" as std::convert::identity,
        write.credentials_sealed => "credentials_encrypted" as std::convert::identity,
        write.webhook_secret_sealed => "webhook_secret_encrypted" as std::convert::identity,
        write.base_url => "base_url" as std::convert::identity,
        write.expires_at => "expires_at" as std::convert::identity,
        p.api_version => "api_version" as std::convert::identity,
        p.description => "description" as std::convert::identity,
        p.oauth_scopes => "oauth_scopes" as texts,
        p.routing_rules => "routing_rules" as std::convert::identity,
        p.default_priority => "default_priority" as std::convert::identity,
        p.supports_categories => "supports_categories" as texts,
        p.supports_priorities => "supports_priorities" as texts,
        p.department_mapping => "department_mapping" as map,
        p.custom_fields_mapping => "custom_fields_mapping" as map,
        p.rate_limit_per_hour => "rate_limit_per_hour" as std::convert::identity,
        p.sync_enabled => "sync_enabled" as std::convert::identity,
        p.sync_frequency_minutes => "sync_frequency_minutes" as std::convert::identity,
        p.maintenance_window_start => "maintenance_window_start" as std::convert::identity,
        p.maintenance_window_end => "maintenance_window_end" as std::convert::identity,
        p.auto_disable_on_error => "auto_disable_on_error" as std::convert::identity,
        p.failure_threshold => "failure_threshold" as std::convert::identity,
        p.notification_events => "notification_events" as texts,
        p.notification_channels => "notification_channels" as map,
        p.environment => "environment" as std::convert::identity,
        p.region => "region" as std::convert::identity,
    );
    if !write.settings.is_empty() {
        let (gone, merged): (Vec<_>, Vec<_>) = write
            .settings
            .iter()
            .partition(|(_, value)| value.is_null());
        let merged: Map<String, Value> = merged
            .into_iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let gone: Vec<String> = gone.into_iter().map(|(name, _)| name.clone()).collect();
        params.push(Box::new(Value::Object(merged)));
        params.push(Box::new(gone));
        let (merged, gone) = (params.len() - 1, params.len());
        sets.push(format!(
            "settings = (COALESCE(settings, '{{}}') || ${merged}::jsonb) - ${gone}::text[]"
        ));
    }
    match &write.webhook_secret_sealed {
        // The one that was there stays good for what is under way. The seal goes with it.
        Some(Some(_)) => sets.push(keeping_the_old_secret()),
        Some(None) => sets.push(
            "webhook_secret_previous_encrypted = NULL, webhook_secret_previous_until = NULL"
                .to_owned(),
        ),
        None => {}
    }
    if write.credentials_sealed.is_some() {
        // Tokens of the old credentials are good for nothing.
        let sql = "DELETE FROM integration_tokens WHERE integration_id = $1";
        client.execute(sql, &[&write.change.id.uuid()]).await?;
    }
    let sql = format!(
        "UPDATE integrations SET {} WHERE id = $1 AND NOT is_deleted",
        sets.join(", ")
    );
    let params: Vec<&(dyn ToSql + Sync)> = params
        .iter()
        .map(|value| &**value as &(dyn ToSql + Sync))
        .collect();
    client.execute(sql.as_str(), &params).await.map(|_| ())
}

/// Hours that a webhook secret is good for after it was replaced.
const SECRET_OVERLAP: u32 = 24;

/// An assignment that keeps the webhook secret which is replaced, where there is one.
fn keeping_the_old_secret() -> String {
    format!(
        "webhook_secret_previous_encrypted = \
         COALESCE(NULLIF(webhook_secret_encrypted, ''), webhook_secret_previous_encrypted), \
         webhook_secret_previous_until = CASE WHEN webhook_secret_encrypted <> '' \
         THEN now() + interval '{SECRET_OVERLAP} hours' ELSE webhook_secret_previous_until END"
    )
}

/// Inserts an integration and, where it is missing, its organization, inside the caller's
/// transaction.
pub(super) async fn create(
    client: &deadpool_postgres::Object,
    new: &NewIntegration,
) -> Result<(), tokio_postgres::Error> {
    const ORGANIZATION: &str = "INSERT INTO organizations (id, name, is_enabled, timezone, plan, \
                                created_at, \
                                updated_at, is_deleted) SELECT $1::uuid, $1::uuid::text, true, \
                                'UTC', 'basic', now(), \
                                now(), false \
                                ON CONFLICT (id) DO NOTHING";
    const INTEGRATION: &str = "INSERT INTO integrations (id, organization_id, name, \
                               integration_category, \
                               platform_name, enabled, status, auth_type, base_url, api_version, \
                               credentials_encrypted, settings, \
                               description, oauth_scopes, routing_rules, default_priority, \
                               supports_categories, \
                               supports_priorities, \
                               department_mapping, custom_fields_mapping, \
                               webhook_secret_encrypted, \
                               rate_limit_per_hour, sync_enabled, \
                               sync_frequency_minutes, maintenance_window_start, \
                               maintenance_window_end, \
                               auto_disable_on_error, \
                               failure_threshold, expires_at, notification_events, \
                               notification_channels, environment, \
                               region, \
                               connection_test_count, total_requests, successful_requests, \
                               failed_requests, \
                               current_hour_requests, \
                               monitoring_enabled, alert_on_failure, consecutive_failures, \
                               created_at, updated_at, \
                               is_deleted) \
                               SELECT $1, $2, $3, $4::text::integrationcategory, $5, $6, \
                               $7::text::integrationstatus, \
                               $8, $9, $10, $11, \
                               $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, \
                               $25, $26, $27, $28, \
                               $29, $30, $31, $32, \
                               $33, 0, 0, 0, 0, 0, true, true, 0, now(), now(), false \
                               ON CONFLICT (id) DO NOTHING";
    let c = &new.create;
    let organization = new.organization_id.uuid();
    let list = |texts: &Option<Vec<String>>| texts.as_ref().map(|texts| json!(texts));
    let map = |map: &Option<Map<String, Value>>| map.clone().map(Value::Object);
    client.execute(ORGANIZATION, &[&organization]).await?;
    client
        .execute(
            INTEGRATION,
            &[
                &new.id.uuid(),
                &organization,
                &c.name,
                &c.platform.category().as_str(),
                &c.platform.as_str(),
                &c.enabled,
                &new.status.as_str(),
                &c.auth_type.as_str(),
                &c.base_url,
                &c.api_version,
                &new.credentials_sealed,
                &Value::Object(c.settings.clone()),
                &c.description,
                &list(&c.oauth_scopes),
                &c.routing_rules,
                &c.default_priority,
                &list(&c.supports_categories),
                &list(&c.supports_priorities),
                &map(&c.department_mapping),
                &map(&c.custom_fields_mapping),
                &new.webhook_secret_sealed,
                &c.rate_limit_per_hour,
                &c.sync_enabled,
                &c.sync_frequency_minutes,
                &c.maintenance_window_start,
                &c.maintenance_window_end,
                &c.auto_disable_on_error,
                &c.failure_threshold,
                &c.expires_at,
                &list(&c.notification_events),
                &map(&c.notification_channels),
                &c.environment,
                &c.region,
            ],
        )
        .await
        .map(|_| ())
}

/// Beyond so many bytes rows are read on a thread of their own: others are not to wait for it.
const LONG: usize = 64 << 10;

async fn read_all(rows: Vec<Row>) -> Vec<LoadedIntegration> {
    if rows.iter().map(Row::raw_size_bytes).sum::<usize>() < LONG {
        return rows.iter().map(read).collect();
    }
    match tokio::task::spawn_blocking(move || rows.iter().map(read).collect()).await {
        Ok(read) => read,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it whoever asked.
            Err(_) => Vec::new(),
        },
    }
}

fn read(row: &Row) -> LoadedIntegration {
    let row = Stored::read(row);
    let version = row.version;
    let is_deleted = row.is_deleted;
    let shown = shown(&row);
    let has_secret = row.webhook_secret.is_some_and(|secret| !secret.is_empty());
    let is_told = row.sync_enabled || row.has_webhooks || has_secret;
    LoadedIntegration {
        version,
        integration: integration(row),
        is_deleted,
        is_told,
        shown,
    }
}

fn integration(row: Stored<'_>) -> Integration {
    let object = |Json(value): Json| match value {
        Some(Value::Object(map)) => map,
        Some(_) | None => Map::new(),
    };
    let labels = |Json(value): Json| match value {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect(),
        Some(_) | None => Vec::new(),
    };
    let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let rate_limit = row.rate_limit_per_hour.filter(|limit| *limit > 0);
    Integration {
        id: IntegrationId::new(row.id),
        organization_id: row.organization_id.map(OrganizationId::new),
        name: row.name.to_owned(),
        // A database that lived on in the new shape may hold another spelling.
        platform: Platform::parse(&row.platform_name.trim().to_lowercase()),
        category: IntegrationCategory::parse(row.category),
        platform_name: row.platform_name.to_owned(),
        enabled: row.enabled,
        status: IntegrationStatus::parse(row.status).unwrap_or(IntegrationStatus::Error),
        auth_type: AuthType::parse(row.auth_type).unwrap_or(AuthType::Custom),
        base_url: filled(row.base_url).map(|url| url.trim_end_matches('/').to_owned()),
        api_version: filled(row.api_version),
        settings: object(row.settings),
        credentials_sealed: filled(row.credentials),
        webhook_secret_sealed: filled(row.webhook_secret),
        expires_at: row.expires_at,
        supports_categories: labels(row.supports_categories),
        supports_priorities: labels(row.supports_priorities),
        department_mapping: object(row.department_mapping),
        custom_fields_mapping: object(row.custom_fields_mapping),
        maintenance_window_start: filled(row.maintenance_window_start),
        maintenance_window_end: filled(row.maintenance_window_end),
        rate_limit_per_hour: rate_limit.and_then(|limit| u32::try_from(limit).ok()),
        default_priority: row.default_priority,
        health: row
            .health_check_status
            .and_then(HealthStatus::parse)
            .unwrap_or(HealthStatus::Unknown),
        routing_rules: std::sync::Arc::new(Rules::parse(row.routing_rules.0.as_ref())),
        parked_at: row.parked_at,
        auto_disable_on_error: row.auto_disable_on_error,
        failure_threshold: row.failure_threshold,
        last_sync_at: row.last_sync_at,
    }
}

/// The rest of a row, for people.
fn shown(row: &Stored<'_>) -> Value {
    json!({
        "description": row.description,
        "default_priority": row.default_priority,
        "health_check_status": row.health_check_status,
        "health_check_error": row.health_check_error,
        "last_health_check_at": row.last_health_check_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "total_requests": row.total_requests,
        "successful_requests": row.successful_requests,
        "failed_requests": row.failed_requests,
        "environment": row.environment,
        "region": row.region,
        "routing_rules": row.routing_rules.0,
        "parked_at": row.parked_at,
        "auto_disable_on_error": row.auto_disable_on_error,
        "failure_threshold": row.failure_threshold,
        "last_sync_at": row.last_sync_at,
        "oauth_scopes": row.oauth_scopes.0,
        "sync_enabled": row.sync_enabled,
        "sync_frequency_minutes": row.sync_frequency_minutes,
        "notification_events": row.notification_events.0,
        "notification_channels": row.notification_channels.0,
        "consecutive_failures": row.consecutive_failures,
        "connection_test_count": row.connection_test_count,
        "last_request_at": row.last_request_at,
        "last_success_at": row.last_success_at,
        "last_error_at": row.last_error_at,
        "last_error_message": row.last_error_message,
        "monitoring_enabled": row.monitoring_enabled,
        "last_activation_at": row.last_activation_at,
    })
}
