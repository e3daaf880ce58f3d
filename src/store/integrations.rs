//! Reading and changing integrations.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::lifecycle::Transit;
use super::{Store, StoreError, json_of, keep_if_sound, limited};
use crate::contract::{IntegrationCreate, IntegrationList, PlainChanges};
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
    /// The rest, for people; nothing sealed in it.
    pub shown: Value,
}

/// A page of `integration.list`.
#[derive(Debug, Clone)]
pub struct IntegrationPage {
    /// The items.
    pub items: Vec<LoadedIntegration>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
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

const COLUMNS: &str = "i.id, i.xmin::text::bigint, i.organization_id, i.name, i.platform_name, \
     i.integration_category::text, i.enabled, i.status::text, i.auth_type, i.base_url, i.api_version, i.settings, \
     i.credentials_encrypted, i.webhook_secret_encrypted, i.expires_at, i.supports_categories, i.supports_priorities, \
     i.department_mapping, i.custom_fields_mapping, i.maintenance_window_start, i.maintenance_window_end, \
     i.rate_limit_per_hour, i.is_deleted, i.description, i.default_priority, i.health_check_status, \
     i.health_check_error, i.last_health_check_at, i.created_at, i.updated_at, i.total_requests, \
     i.successful_requests, i.failed_requests, i.environment, i.region, i.routing_rules, i.parked_at, \
     i.auto_disable_on_error, i.failure_threshold, i.last_sync_at, i.oauth_scopes, i.sync_enabled, \
     i.sync_frequency_minutes, i.notification_events, i.notification_channels, i.consecutive_failures, \
     i.connection_test_count, i.last_request_at, i.last_success_at, i.last_error_at, i.last_error_message, \
     i.monitoring_enabled, i.last_activation_at";

impl Store {
    /// The integrations among `ids`, whatever their state.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn integrations(&self, ids: &[Uuid]) -> Result<Vec<LoadedIntegration>, StoreError> {
        let client = self.hot().await?;
        let result = async {
            let sql = format!("SELECT {COLUMNS} FROM unnest($1::uuid[]) AS u(id) JOIN integrations i ON i.id = u.id");
            let statement = client.prepare_cached(&sql).await?;
            limited(client.query(&statement, &[&ids])).await
        }
        .await;
        // Others need the connection more than reading long rows does.
        let rows = keep_if_sound(client, result)?;
        Ok(read_all(rows).await)
    }

    /// An organization's integrations that are not deleted, at most a thousand: their ids and versions.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn integrations_of(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<(IntegrationId, i64)>, StoreError> {
        const SQL: &str = "SELECT i.id, i.xmin::text::bigint FROM integrations i WHERE i.organization_id = $1 \
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

    /// A page of an organization's integrations; of all organizations' where it is `None` (the command line).
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
        let sql = format!(
            "SELECT {COLUMNS}, {key} AS sort_key FROM integrations i WHERE NOT i.is_deleted \
             AND ($1::uuid IS NULL OR i.organization_id = $1) \
             AND ($2::text IS NULL OR i.integration_category::text = $2) \
             AND ($3::text IS NULL OR i.platform_name = $3) AND ($4::text IS NULL OR i.status::text = $4) \
             AND ($5::bool IS NULL OR i.enabled = $5) \
             AND ($6::text IS NULL OR i.name ILIKE '%' || $6 || '%' OR i.description ILIKE '%' || $6 || '%') \
             AND ($7::text IS NULL OR ({key}, i.id) {beyond} ($7, $8::uuid)) \
             ORDER BY {key} {order}, i.id {order} LIMIT $9"
        );
        let cursor = filter
            .cursor
            .as_deref()
            .and_then(|cursor| cursor.rsplit_once('|'));
        let after_key = cursor.map(|(key, _)| key);
        let after_id = cursor.and_then(|(_, id)| Uuid::parse_str(id).ok());
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
                    &after_key.filter(|_| after_id.is_some()),
                    &after_id,
                    &fetch,
                ],
            ))
            .await?;
            let more = i64::try_from(rows.len()).is_ok_and(|count| count > limit);
            let kept = usize::try_from(limit).unwrap_or(usize::MAX).min(rows.len());
            let next_cursor = if more {
                rows.get(kept.saturating_sub(1)).map(|row| {
                    format!(
                        "{}|{}",
                        row.get::<_, String>("sort_key"),
                        row.get::<_, Uuid>(0)
                    )
                })
            } else {
                None
            };
            Ok(IntegrationPage {
                items: rows.iter().take(kept).map(read).collect(),
                next_cursor,
            })
        }
        .await;
        keep_if_sound(client, result)
    }
}

impl Store {
    /// Changes fields of an integration: `None` leaves one as it is, settings are merged. False: no such integration.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn change_integration(
        &self,
        id: IntegrationId,
        change: &IntegrationChange,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE integrations SET name = COALESCE($2, name), base_url = COALESCE($3, base_url), \
             settings = COALESCE(settings, '{}') || COALESCE($4::jsonb, '{}'), \
             credentials_encrypted = COALESCE($5, credentials_encrypted), \
             health_check_status = CASE WHEN $5::text IS NULL THEN health_check_status ELSE 'unknown' END, \
             is_deleted = COALESCE($6, is_deleted), \
             deleted_at = CASE WHEN $6 THEN now() ELSE deleted_at END, updated_at = now() \
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
    pub transit: Transit,
}

/// Soft-deletes an integration, inside the caller's transaction; its commands find that out at once.
pub(super) async fn delete(
    client: &deadpool_postgres::Object,
    id: IntegrationId,
) -> Result<(), tokio_postgres::Error> {
    const SQL: &str = "WITH gone AS (UPDATE integrations SET is_deleted = true, deleted_at = now(), \
         parked_at = NULL, updated_at = now() WHERE id = $1 AND NOT is_deleted RETURNING id), \
         idle AS (DELETE FROM integration_schedule WHERE integration_id = $1), \
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
    let mut params: Vec<Box<dyn ToSql + Sync + Send>> = vec![Box::new(write.transit.id.uuid())];
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
    if write.credentials_sealed.is_some() {
        // Tokens of the old credentials are good for nothing.
        let sql = "DELETE FROM integration_tokens WHERE integration_id = $1";
        client.execute(sql, &[&write.transit.id.uuid()]).await?;
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

/// Inserts an integration and, where it is missing, its organization, inside the caller's
/// transaction.
pub(super) async fn create(
    client: &deadpool_postgres::Object,
    new: &NewIntegration,
) -> Result<(), tokio_postgres::Error> {
    const ORGANIZATION: &str = "INSERT INTO organizations (id, name, is_enabled, timezone, plan, created_at, \
         updated_at, is_deleted) SELECT $1::uuid, $1::uuid::text, true, 'UTC', 'basic', now(), now(), false \
         ON CONFLICT (id) DO NOTHING";
    const INTEGRATION: &str = "INSERT INTO integrations (id, organization_id, name, integration_category, \
         platform_name, enabled, status, auth_type, base_url, api_version, credentials_encrypted, settings, \
         description, oauth_scopes, routing_rules, default_priority, supports_categories, supports_priorities, \
         department_mapping, custom_fields_mapping, webhook_secret_encrypted, rate_limit_per_hour, sync_enabled, \
         sync_frequency_minutes, maintenance_window_start, maintenance_window_end, auto_disable_on_error, \
         failure_threshold, expires_at, notification_events, notification_channels, environment, region, \
         connection_test_count, total_requests, successful_requests, failed_requests, current_hour_requests, \
         monitoring_enabled, alert_on_failure, consecutive_failures, created_at, updated_at, is_deleted) \
         SELECT $1, $2, $3, $4::text::integrationcategory, $5, $6, $7::text::integrationstatus, $8, $9, $10, $11, \
         $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, \
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
    let object = |index: usize| match json_of(row, index) {
        Some(Value::Object(map)) => map,
        Some(_) | None => Map::new(),
    };
    let labels = |index: usize| match json_of(row, index) {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect(),
        Some(_) | None => Vec::new(),
    };
    let filled = |index: usize| {
        row.get::<_, Option<String>>(index)
            .filter(|text| !text.is_empty())
    };
    let platform_name: String = row.get(4);
    let category: String = row.get(5);
    let rules = json_of(row, 35);
    let integration = Integration {
        id: IntegrationId::new(row.get(0)),
        organization_id: row.get::<_, Option<Uuid>>(2).map(OrganizationId::new),
        name: row.get(3),
        // A database that lived on in the new shape may hold another spelling.
        platform: Platform::parse(&platform_name.trim().to_lowercase()),
        category: IntegrationCategory::parse(&category),
        platform_name,
        enabled: row.get(6),
        status: IntegrationStatus::parse(row.get(7)).unwrap_or(IntegrationStatus::Error),
        auth_type: AuthType::parse(row.get(8)).unwrap_or(AuthType::Custom),
        base_url: filled(9).map(|url| url.trim_end_matches('/').to_owned()),
        api_version: filled(10),
        settings: object(11),
        credentials_sealed: filled(12),
        webhook_secret_sealed: filled(13),
        expires_at: row.get(14),
        supports_categories: labels(15),
        supports_priorities: labels(16),
        department_mapping: object(17),
        custom_fields_mapping: object(18),
        maintenance_window_start: filled(19),
        maintenance_window_end: filled(20),
        rate_limit_per_hour: row
            .get::<_, Option<i32>>(21)
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0),
        default_priority: row.get(24),
        health: row
            .get::<_, Option<&str>>(25)
            .and_then(HealthStatus::parse)
            .unwrap_or(HealthStatus::Unknown),
        routing_rules: std::sync::Arc::new(Rules::parse(rules.as_ref())),
        parked_at: row.get(36),
        auto_disable_on_error: row.get(37),
        failure_threshold: row.get(38),
        last_sync_at: row.get(39),
    };
    let time = |index: usize| row.get::<_, Option<DateTime<Utc>>>(index);
    let shown = json!({
        "description": row.get::<_, Option<String>>(23),
        "default_priority": row.get::<_, i32>(24),
        "health_check_status": row.get::<_, Option<String>>(25),
        "health_check_error": row.get::<_, Option<String>>(26),
        "last_health_check_at": row.get::<_, Option<DateTime<Utc>>>(27),
        "created_at": row.get::<_, DateTime<Utc>>(28),
        "updated_at": row.get::<_, DateTime<Utc>>(29),
        "total_requests": row.get::<_, i32>(30),
        "successful_requests": row.get::<_, i32>(31),
        "failed_requests": row.get::<_, i32>(32),
        "environment": row.get::<_, String>(33),
        "region": row.get::<_, Option<String>>(34),
        "routing_rules": rules,
        "parked_at": time(36),
        "auto_disable_on_error": row.get::<_, bool>(37),
        "failure_threshold": row.get::<_, i32>(38),
        "last_sync_at": time(39),
        "oauth_scopes": json_of(row, 40),
        "sync_enabled": row.get::<_, bool>(41),
        "sync_frequency_minutes": row.get::<_, i32>(42),
        "notification_events": json_of(row, 43),
        "notification_channels": json_of(row, 44),
        "consecutive_failures": row.get::<_, i32>(45),
        "connection_test_count": row.get::<_, i32>(46),
        "last_request_at": time(47),
        "last_success_at": time(48),
        "last_error_at": time(49),
        "last_error_message": row.get::<_, Option<String>>(50),
        "monitoring_enabled": row.get::<_, bool>(51),
        "last_activation_at": time(52),
    });
    LoadedIntegration {
        version: row.get(1),
        integration,
        is_deleted: row.get(22),
        shown,
    }
}
