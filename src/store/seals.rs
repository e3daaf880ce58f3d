//! Sealed values, wherever they stand: read in pages, and replaced only where they are still what
//! was read. Works beside running workers: no row is waited for, none is locked for longer than its
//! batch.

use tokio_postgres::Client;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{CommandId, IntegrationId, OrganizationId};

/// A column that holds sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SealedColumn {
    /// `integrations.credentials_encrypted`.
    Credentials,
    /// `integrations.webhook_secret_encrypted`.
    WebhookSecret,
    /// `integrations.webhook_secret_previous_encrypted`.
    PreviousWebhookSecret,
    /// `integration_webhooks.secret_sealed`.
    HookSecret,
    /// `integration_webhooks.previous_sealed`.
    PreviousHookSecret,
    /// `integration_tokens.access_sealed`.
    AccessToken,
    /// `integration_tokens.refresh_sealed`.
    RefreshToken,
    /// `commands.data` of an `integration.create` or `.update` that has not succeeded: it may run,
    /// now or again, and then needs its secrets.
    CommandData,
}

impl SealedColumn {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Credentials,
        Self::WebhookSecret,
        Self::PreviousWebhookSecret,
        Self::HookSecret,
        Self::PreviousHookSecret,
        Self::AccessToken,
        Self::RefreshToken,
        Self::CommandData,
    ];

    /// The column's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials_encrypted",
            Self::WebhookSecret => "webhook_secret_encrypted",
            Self::PreviousWebhookSecret => "webhook_secret_previous_encrypted",
            Self::HookSecret => "secret_sealed",
            Self::PreviousHookSecret => "previous_sealed",
            Self::AccessToken => "access_sealed",
            Self::RefreshToken => "refresh_sealed",
            Self::CommandData => "data",
        }
    }

    /// The column that its values are bound to: a secret that was replaced moves to another as it
    /// is. Of a command's data, its members are bound each to its own.
    #[must_use]
    pub const fn bound_to(self) -> &'static str {
        match self {
            Self::WebhookSecret | Self::PreviousWebhookSecret => "webhook_secret_encrypted",
            Self::HookSecret | Self::PreviousHookSecret => "secret_sealed",
            Self::Credentials | Self::AccessToken | Self::RefreshToken | Self::CommandData => {
                self.name()
            }
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Credentials | Self::WebhookSecret | Self::PreviousWebhookSecret => "integrations",
            Self::HookSecret | Self::PreviousHookSecret => "integration_webhooks",
            Self::AccessToken | Self::RefreshToken => "integration_tokens",
            Self::CommandData => "commands",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Credentials
            | Self::WebhookSecret
            | Self::PreviousWebhookSecret
            | Self::HookSecret
            | Self::PreviousHookSecret
            | Self::CommandData => "id",
            Self::AccessToken | Self::RefreshToken => "integration_id",
        }
    }
}

/// A sealed value and what it belongs to.
#[derive(Debug, Clone)]
pub struct SealedValue {
    /// Where it stands.
    pub column: SealedColumn,
    /// Its row.
    pub row: Uuid,
    /// What it is bound to.
    pub integration: IntegrationId,
    /// The tenant; the nil UUID where the integration has none.
    pub organization: OrganizationId,
    /// The integration's name; empty for a command's.
    pub name: String,
    /// Whether the integration was deleted.
    pub is_deleted: bool,
    /// As it is stored; of a command all its data.
    pub stored: String,
}

/// How many values there are in all, for a progress bar.
///
/// # Errors
/// As the connection's.
pub async fn count_sealed(client: &Client) -> Result<u64, StoreError> {
    const SQL: &str = "SELECT (SELECT count(NULLIF(credentials_encrypted, '')) + \
                       count(NULLIF(webhook_secret_encrypted, '')) + \
                       count(NULLIF(webhook_secret_previous_encrypted, '')) FROM integrations) + \
                       (SELECT count(secret_sealed) + count(previous_sealed) \
                       FROM integration_webhooks) + \
                       (SELECT count(access_sealed) + count(refresh_sealed) \
                       FROM integration_tokens) + \
                       (SELECT count(*) FROM commands WHERE type IN ('integration.create', \
                       'integration.update') AND state <> 'succeeded')";
    let count: i64 = client.query_one(SQL, &[]).await?.get(0);
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The next `limit` values of a column in the order of their rows, after the row `after`. Locks
/// nothing.
///
/// # Errors
/// As the connection's.
pub async fn sealed_values(
    client: &Client,
    column: SealedColumn,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<SealedValue>, StoreError> {
    let name = column.name();
    let sql = match column {
        SealedColumn::HookSecret | SealedColumn::PreviousHookSecret => format!(
            "SELECT w.id, w.{name}, i.organization_id, i.name, i.is_deleted, w.integration_id \
             FROM integration_webhooks w JOIN integrations i ON i.id = w.integration_id \
             WHERE w.{name} <> '' AND ($1::uuid IS NULL OR w.id > $1) ORDER BY w.id LIMIT $2"
        ),
        SealedColumn::Credentials
        | SealedColumn::WebhookSecret
        | SealedColumn::PreviousWebhookSecret => format!(
            "SELECT id, {name}, organization_id, name, is_deleted FROM integrations \
             WHERE {name} <> '' AND ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2"
        ),
        SealedColumn::AccessToken | SealedColumn::RefreshToken => format!(
            "SELECT t.integration_id, t.{name}, i.organization_id, i.name, i.is_deleted \
             FROM integration_tokens t \
             JOIN integrations i ON i.id = t.integration_id \
             WHERE t.{name} <> '' AND ($1::uuid IS NULL OR t.integration_id > $1) \
             ORDER BY t.integration_id LIMIT $2"
        ),
        SealedColumn::CommandData => "SELECT id, data, organization_id, '', false, \
                                      integration_id FROM commands \
                                      WHERE type IN ('integration.create', 'integration.update') \
                                      AND state <> 'succeeded' \
                                      AND ($1::uuid IS NULL OR id > $1) \
                                      ORDER BY id LIMIT $2"
            .to_owned(),
    };
    let rows = client.query(&sql, &[&after, &limit]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let id: Uuid = row.get(0);
            SealedValue {
                column,
                row: id,
                integration: match column {
                    // A create's integration is not known by name, as it does not exist yet.
                    SealedColumn::CommandData => row.get::<_, Option<Uuid>>(5).map_or_else(
                        || CommandId::new(id).created_integration(),
                        IntegrationId::new,
                    ),
                    SealedColumn::HookSecret | SealedColumn::PreviousHookSecret => {
                        IntegrationId::new(row.get(5))
                    }
                    SealedColumn::Credentials
                    | SealedColumn::WebhookSecret
                    | SealedColumn::PreviousWebhookSecret
                    | SealedColumn::AccessToken
                    | SealedColumn::RefreshToken => IntegrationId::new(id),
                },
                // Rows of the legacy application may have none: what is sealed there is bound to
                // the nil one, as `open_credentials` opens it.
                organization: OrganizationId::new(
                    row.get::<_, Option<Uuid>>(2).unwrap_or(Uuid::nil()),
                ),
                name: row.get(3),
                is_deleted: row.get(4),
                stored: row.get(1),
            }
        })
        .collect())
}

/// A value and what takes its place.
#[derive(Debug, Clone)]
pub struct Resealed {
    /// Its row.
    pub row: Uuid,
    /// What was read.
    pub old: String,
    /// What is to stand there.
    pub new: String,
    /// How many sealed texts in it change.
    pub texts: u64,
}

/// Replaces values that are still what was read, in one transaction; no other column changes,
/// `updated_at` neither. Rows that somebody else holds or has changed are left alone. Returns the
/// rows of those that were replaced.
///
/// # Errors
/// As the connection's.
pub async fn replace_sealed(
    client: &Client,
    column: SealedColumn,
    values: &[Resealed],
) -> Result<Vec<Uuid>, StoreError> {
    let (table, key, name) = (column.table(), column.key(), column.name());
    let sql = format!(
        "WITH mine AS (SELECT {key} FROM {table} WHERE {key} = ANY($1) \
         ORDER BY {key} FOR UPDATE SKIP LOCKED) \
         UPDATE {table} t SET {name} = u.new FROM mine \
         JOIN unnest($1::uuid[], $2::text[], $3::text[]) \
         AS u(key, old, new) ON u.key = mine.{key} WHERE t.{key} = u.key AND t.{name} = u.old \
         RETURNING t.{key}"
    );
    let rows: Vec<Uuid> = values.iter().map(|value| value.row).collect();
    let old: Vec<&str> = values.iter().map(|value| value.old.as_str()).collect();
    let new: Vec<&str> = values.iter().map(|value| value.new.as_str()).collect();
    let replaced = client.query(&sql, &[&rows, &old, &new]).await?;
    Ok(replaced.iter().map(|row| row.get(0)).collect())
}
