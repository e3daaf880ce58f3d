//! What has to be known of an integration to take a delivery of its platform: whether it takes any,
//! and the secrets by which they are proved, sealed as they are stored.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::row::{Json, row};
use super::{Store, StoreError, keep_if_sound, limited};
use crate::domain::{AuthType, IntegrationId, OrganizationId, Platform};

/// What has to be known of an integration to take a delivery of its platform.
#[derive(Debug, Clone)]
pub struct HookEntry {
    /// The integration.
    pub id: IntegrationId,
    /// Its tenant; `None` in rows of the legacy application.
    pub organization: Option<OrganizationId>,
    /// Its platform; `None` where this version does not know it.
    pub platform: Option<Platform>,
    /// How it authenticates.
    pub auth_type: AuthType,
    /// Whether it, and its organization, is enabled and not deleted.
    pub is_enabled: bool,
    /// Whether deliveries without a proof are taken where there is no secret
    /// (`settings.accept_unsigned`).
    pub accepts_unsigned: bool,
    /// The addresses that were registered with the platform, the newest first.
    pub urls: Vec<String>,
    /// Whether a registration waits for its secret.
    pub awaits_secret: bool,
    /// Its secrets.
    pub sealed: SealedSecrets,
}

/// The secrets by which the deliveries of an integration's platform are proved, sealed as they are
/// stored. Opened by `inbound`.
#[derive(Debug, Clone)]
pub struct SealedSecrets {
    /// What they are bound to; the nil UUID where there is none.
    pub organization: OrganizationId,
    /// The integration.
    pub integration: IntegrationId,
    /// Those of registered webhooks, the newest first.
    pub registered: Vec<SealedPair>,
    /// That of `integrations.webhook_secret_encrypted`, and its predecessor.
    pub webhook_secret: SealedPair,
    /// The credentials, of which some members may be such secrets.
    pub credentials: Option<String>,
}

/// A sealed secret, and the one before it.
#[derive(Debug, Clone, Default)]
pub struct SealedPair {
    /// The one that is good.
    pub current: Option<String>,
    /// The one before it, and until when that is good.
    pub previous: Option<(String, DateTime<Utc>)>,
}

row! {
    struct Stored<'a> {
        id: Uuid = "i.id",
        organization: Option<Uuid> = "i.organization_id",
        platform: &'a str = "i.platform_name",
        auth_type: &'a str = "i.auth_type",
        enabled: bool = "(i.enabled AND NOT i.is_deleted AND (o.id IS NULL OR \
                         (o.is_enabled AND NOT o.is_deleted)))",
        settings: Json = "i.settings",
        credentials: Option<&'a str> = "i.credentials_encrypted",
        secret: Option<&'a str> = "i.webhook_secret_encrypted",
        previous: Option<&'a str> = "i.webhook_secret_previous_encrypted",
        previous_until: Option<DateTime<Utc>> = "i.webhook_secret_previous_until",
        registered: Json = "(SELECT jsonb_agg(jsonb_build_object('url', w.url, \
                            'secret', w.secret_sealed, 'previous', w.previous_sealed, \
                            'previous_until', w.previous_until, \
                            'awaiting', w.state = 'awaiting') \
                            ORDER BY w.created_at DESC) FROM integration_webhooks w \
                            WHERE w.integration_id = i.id AND w.state <> 'gone')",
    }
}

/// A row of `integration_webhooks`.
#[derive(Deserialize)]
struct Registered {
    url: String,
    secret: Option<String>,
    previous: Option<String>,
    previous_until: Option<DateTime<Utc>>,
    awaiting: bool,
}

impl Store {
    /// Those of these integrations that there are.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn hook_entries(&self, ids: &[IntegrationId]) -> Result<Vec<HookEntry>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let client = self.get().await?;
        let sql = selecting("WHERE i.id = ANY($1)");
        let result = limited(client.query(&sql, &[&ids])).await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows.iter().map(read).collect())
    }

    /// A page of all that are not deleted, in the order of their ids.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn hook_entries_after(
        &self,
        after: Option<IntegrationId>,
        limit: i64,
    ) -> Result<Vec<HookEntry>, StoreError> {
        let after = after.map(IntegrationId::uuid);
        let client = self.get().await?;
        let sql = selecting(
            "WHERE NOT i.is_deleted AND ($1::uuid IS NULL OR i.id > $1) ORDER BY i.id LIMIT $2",
        );
        let result = limited(client.query(&sql, &[&after, &limit])).await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows.iter().map(read).collect())
    }

    /// Those that were changed at or after a moment, or whose organization or registrations were;
    /// and what the database's clock shows.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn hook_entries_changed(
        &self,
        since: DateTime<Utc>,
    ) -> Result<(Vec<HookEntry>, DateTime<Utc>), StoreError> {
        let client = self.get().await?;
        let sql = selecting(
            "WHERE i.id = ANY(SELECT id FROM integrations WHERE updated_at >= $1 \
             UNION SELECT integration_id FROM integration_webhooks WHERE updated_at >= $1 \
             UNION SELECT c.id FROM organizations g JOIN integrations c \
             ON c.organization_id = g.id WHERE g.updated_at >= $1)",
        );
        let result = async {
            let now = limited(client.query_one("SELECT now()", &[])).await?.get(0);
            let rows = limited(client.query(&sql, &[&since])).await?;
            Ok((rows.iter().map(read).collect(), now))
        }
        .await;
        keep_if_sound(client, result)
    }

    /// What the database's clock shows, for [`Self::hook_entries_changed`].
    ///
    /// # Errors
    /// As the connection's.
    pub async fn hook_entries_clock(&self) -> Result<DateTime<Utc>, StoreError> {
        let client = self.get().await?;
        let result = limited(client.query_one("SELECT now()", &[])).await;
        keep_if_sound(client, result.map(|row| row.get(0)))
    }

    /// Keeps the secret that a platform gave for a registration that waits for one, where there is
    /// one whose time is not over: once each. False: there is none.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn learn_hook_secret(
        &self,
        integration: IntegrationId,
        sealed: &str,
    ) -> Result<bool, StoreError> {
        // The oldest first, as it was asked for first.
        const SQL: &str = "UPDATE integration_webhooks SET secret_sealed = $2, \
                           updated_at = now() \
                           WHERE id = (SELECT w.id FROM integration_webhooks w \
                           JOIN integrations i ON i.id = w.integration_id \
                           WHERE w.integration_id = $1 AND w.state = 'awaiting' \
                           AND COALESCE(w.awaiting_until, w.created_at + interval '60 seconds') \
                           > now() AND w.secret_sealed IS NULL \
                           AND i.enabled AND NOT i.is_deleted \
                           ORDER BY w.created_at LIMIT 1 FOR UPDATE OF w) \
                           AND secret_sealed IS NULL";
        let client = self.get().await?;
        let result = limited(client.execute(SQL, &[&integration.uuid(), &sealed])).await;
        keep_if_sound(client, result.map(|rows| rows == 1))
    }

    /// Notes that deliveries of these integrations came, in the newest registration of each that
    /// has one. Nothing else of a row changes.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn note_hooks_seen(&self, integrations: &[IntegrationId]) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE integration_webhooks SET last_seen_at = now() \
                           WHERE id IN (SELECT DISTINCT ON (integration_id) id \
                           FROM integration_webhooks WHERE integration_id = ANY($1) \
                           AND state <> 'gone' ORDER BY integration_id, created_at DESC)";
        let ids: Vec<Uuid> = integrations.iter().map(|id| id.uuid()).collect();
        let client = self.get().await?;
        let result = limited(client.execute(SQL, &[&ids])).await;
        keep_if_sound(client, result.map(|_| ()))
    }
}

fn selecting(which: &str) -> String {
    let columns = Stored::COLUMNS;
    format!(
        "SELECT {columns} FROM integrations i \
         LEFT JOIN organizations o ON o.id = i.organization_id {which}"
    )
}

fn read(row: &Row) -> HookEntry {
    let row = Stored::read(row);
    let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let registered = row.registered.0.unwrap_or(Value::Null);
    // None at all is null.
    let registered: Vec<Registered> = serde_json::from_value(registered).unwrap_or_default();
    let id = IntegrationId::new(row.id);
    let organization = row.organization.map(OrganizationId::new);
    let settings = row.settings.0.unwrap_or(Value::Null);
    HookEntry {
        id,
        organization,
        platform: Platform::parse(&row.platform.trim().to_lowercase()),
        auth_type: AuthType::parse(row.auth_type).unwrap_or(AuthType::Custom),
        is_enabled: row.enabled,
        accepts_unsigned: settings["accept_unsigned"] == true,
        urls: registered.iter().map(|one| one.url.clone()).collect(),
        awaits_secret: registered.iter().any(|one| one.awaiting),
        sealed: SealedSecrets {
            organization: organization.unwrap_or(OrganizationId::new(Uuid::nil())),
            integration: id,
            webhook_secret: SealedPair {
                current: filled(row.secret),
                previous: filled(row.previous).zip(row.previous_until),
            },
            credentials: filled(row.credentials),
            registered: registered
                .into_iter()
                .map(|one| SealedPair {
                    current: one.secret,
                    previous: one.previous.zip(one.previous_until),
                })
                .collect(),
        },
    }
}
