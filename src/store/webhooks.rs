//! Webhooks that are registered with platforms, each with an address and, where it has one, a
//! secret of its own. A row is there before its platform is asked, so that what is registered with
//! a lost answer is found again with its secret.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::lifecycle::insert_events;
use super::{OutboxRow, Store, StoreError, keep_if_sound, limited};
use crate::domain::{IntegrationId, WebhookState};

/// How long the secret of a registration that was replaced stays good, in seconds: deliveries may
/// be under way, and are repeated for a day.
const OVERLAP: f64 = 86_400.0;

/// A registration.
#[derive(Debug, Clone)]
pub struct StoredWebhook {
    /// Its row.
    pub id: Uuid,
    /// What the platform calls it; `None`: it was asked, and the answer was lost.
    pub external_id: Option<String>,
    /// What it is about, where that is one of several things.
    pub resource: Option<String>,
    /// Where its deliveries go.
    pub url: String,
    /// Whether it has a secret of its own.
    pub has_secret: bool,
    /// How it was when it was last looked at.
    pub state: WebhookState,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When a delivery of it last came.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// What is wrong with it.
    pub last_error: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

impl StoredWebhook {
    /// For people and programs; there is no secret in it.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "external_id": self.external_id, "resource": self.resource,
            "url": self.url, "state": self.state, "expires_at": self.expires_at,
            "last_seen_at": self.last_seen_at, "last_error": self.last_error,
            "created_at": self.created_at,
        })
    }
}

/// A registration that is about to be asked for.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Its row.
    pub id: Uuid,
    /// Whose.
    pub integration_id: IntegrationId,
    /// Where its deliveries are to go.
    pub url: String,
    /// The secret that we made, sealed.
    pub secret_sealed: Option<String>,
    /// How long the platform may give its secret to the address itself; `None`: it does not.
    pub awaiting: Option<Duration>,
}

/// What a platform said of a new registration.
#[derive(Debug, Clone)]
pub struct ConfirmedWebhook {
    /// What it calls it.
    pub external_id: String,
    /// What it is about.
    pub resource: Option<String>,
    /// The secret that it gave, sealed; `None`: what is stored stays.
    pub secret_sealed: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// The registrations of an integration, the oldest first.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn webhooks(
        &self,
        integration: IntegrationId,
    ) -> Result<Vec<StoredWebhook>, StoreError> {
        const SQL: &str = "SELECT id, external_id, resource, url, secret_sealed IS NOT NULL, \
                           state, expires_at, last_seen_at, last_error, created_at \
                           FROM integration_webhooks \
                           WHERE integration_id = $1 ORDER BY created_at, id";
        let client = self.get().await?;
        let result = limited(client.query(SQL, &[&integration.uuid()])).await;
        let rows = keep_if_sound(client, result)?;
        Ok(rows
            .iter()
            .map(|row| StoredWebhook {
                id: row.get(0),
                external_id: row.get(1),
                resource: row.get(2),
                url: row.get(3),
                has_secret: row.get(4),
                // A state that this version does not know is none to rely on.
                state: WebhookState::parse(row.get(5)).unwrap_or(WebhookState::Failing),
                expires_at: row.get(6),
                last_seen_at: row.get(7),
                last_error: row.get(8),
                created_at: row.get(9),
            })
            .collect())
    }

    /// Notes a registration that is about to be asked for.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn add_webhook(&self, new: &NewWebhook) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO integration_webhooks (id, integration_id, url, \
                           secret_sealed, state, awaiting_until) \
                           VALUES ($1, $2, $3, $4, $5, now() + $6::float8 * interval '1 second')";
        let state = match new.awaiting {
            Some(_) => WebhookState::Awaiting,
            None => WebhookState::Active,
        };
        let awaiting = new.awaiting.map(|time| time.as_secs_f64());
        let client = self.get().await?;
        let result = limited(client.execute(
            SQL,
            &[
                &new.id,
                &new.integration_id.uuid(),
                &new.url,
                &new.secret_sealed,
                &state.as_str(),
                &awaiting,
            ],
        ))
        .await;
        keep_if_sound(client, result).map(|_| ())
    }

    /// Notes what the platform said of a registration: it is active. Whether it has a secret of its
    /// own now, given by the answer, by a handshake, or by us; `None`: it was forgotten meanwhile.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn confirm_webhook(
        &self,
        id: Uuid,
        confirmed: &ConfirmedWebhook,
    ) -> Result<Option<bool>, StoreError> {
        const SQL: &str = "UPDATE integration_webhooks SET state = 'active', external_id = $2, \
                           resource = $3, secret_sealed = COALESCE($4, secret_sealed), \
                           expires_at = $5, awaiting_until = NULL, last_error = NULL, \
                           updated_at = now() \
                           WHERE id = $1 RETURNING secret_sealed IS NOT NULL";
        let client = self.get().await?;
        let result = limited(client.query_opt(
            SQL,
            &[
                &id,
                &confirmed.external_id,
                &confirmed.resource,
                &confirmed.secret_sealed,
                &confirmed.expires_at,
            ],
        ))
        .await;
        let row = keep_if_sound(client, result)?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Notes how a registration does, and tells it in the same transaction. Events of an owner are
    /// the owner's to publish; without one they are the outbox poller's. False: it was forgotten
    /// meanwhile, and nothing is told.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn note_webhook(
        &self,
        id: Uuid,
        state: WebhookState,
        problem: Option<&str>,
        expires_at: Option<DateTime<Utc>>,
        (events, owner): (&[OutboxRow], Option<Uuid>),
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE integration_webhooks SET state = $2, last_error = $3, \
                           expires_at = COALESCE($4, expires_at), awaiting_until = NULL, \
                           updated_at = now() \
                           WHERE id = $1";
        let client = self.hot().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            let done = async {
                let state = state.as_str();
                let rows = client
                    .execute(SQL, &[&id, &state, &problem, &expires_at])
                    .await?;
                if rows > 0 {
                    insert_events(&client, events, owner).await?;
                }
                Ok(rows > 0)
            }
            .await;
            let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
            client.batch_execute(end).await?;
            done
        };
        let result = limited(work).await;
        keep_if_sound(client, result)
    }

    /// Forgets a registration that is no more. Where another takes its place, its secret stays good
    /// for that one's deliveries for a day.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn forget_webhook(
        &self,
        id: Uuid,
        successor: Option<Uuid>,
    ) -> Result<(), StoreError> {
        const SQL: &str = "WITH old AS (DELETE FROM integration_webhooks WHERE id = $1 \
                           RETURNING secret_sealed) \
                           UPDATE integration_webhooks w SET previous_sealed = old.secret_sealed, \
                           previous_until = now() + $3::float8 * interval '1 second', \
                           updated_at = now() \
                           FROM old WHERE w.id = $2 AND old.secret_sealed IS NOT NULL";
        let client = self.get().await?;
        let result = limited(client.execute(SQL, &[&id, &successor, &OVERLAP])).await;
        keep_if_sound(client, result).map(|_| ())
    }
}

/// A registration that does not bring what it should, or soon will not.
#[derive(Debug, Clone)]
pub struct AilingWebhook {
    /// Its integration's id.
    pub id: Uuid,
    /// The integration's name.
    pub name: String,
    /// Its platform.
    pub platform_name: String,
    /// Where its deliveries go.
    pub url: String,
    /// Whether that is where we are.
    pub is_here: bool,
    /// How it was when it was last looked at.
    pub state: WebhookState,
    /// What was wrong with it.
    pub last_error: Option<String>,
    /// When it ends, where that is within a day.
    pub ends_soon: Option<DateTime<Utc>>,
    /// When a delivery of it last came.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// Registrations of enabled integrations that fail, are gone, end within a day, deliver elsewhere
/// than to `public_url`, or have brought nothing for a week (Asana, which sends something every
/// eight hours: for sixteen hours); at most `limit`, the worst first.
///
/// # Errors
/// As the connection's.
pub async fn ailing(
    client: &Client,
    public_url: Option<&str>,
    limit: i64,
) -> Result<Vec<AilingWebhook>, StoreError> {
    const SQL: &str = "SELECT * FROM (SELECT i.id, i.name, i.platform_name, w.url, \
                       COALESCE(split_part(w.url, '?', 1) \
                       = $1::text || '/webhooks/' || i.id::text, false) \
                       AS is_here, w.state, w.last_error, \
                       CASE WHEN w.expires_at < now() + interval '1 day' THEN w.expires_at END \
                       AS ends_soon, w.last_seen_at, \
                       COALESCE(w.last_seen_at, w.created_at) < now() - CASE \
                       WHEN i.platform_name = 'asana' THEN interval '16 hours' \
                       ELSE interval '7 days' END AS is_silent \
                       FROM integration_webhooks w JOIN integrations i ON i.id = w.integration_id \
                       WHERE i.enabled AND NOT i.is_deleted) w \
                       WHERE state IN ('failing', 'disabled', 'gone') OR NOT is_here \
                       OR ends_soon IS NOT NULL OR is_silent \
                       ORDER BY state IN ('failing', 'disabled', 'gone') DESC, is_here, name \
                       LIMIT $2";
    let rows = limited(client.query(SQL, &[&public_url, &limit])).await?;
    Ok(rows
        .iter()
        .map(|row| AilingWebhook {
            id: row.get(0),
            name: row.get(1),
            platform_name: row.get(2),
            url: row.get(3),
            is_here: row.get(4),
            state: WebhookState::parse(row.get(5)).unwrap_or(WebhookState::Failing),
            last_error: row.get(6),
            ends_soon: row.get(7),
            last_seen_at: row.get(8),
        })
        .collect())
}

/// An integration whose deliveries prove nothing, or only by its address.
#[derive(Debug, Clone)]
pub struct Unproved {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its platform.
    pub platform_name: String,
    /// Whether deliveries without a proof are taken.
    pub accepts_unsigned: bool,
    /// Whether its platform signs the address with each delivery, and deliveries are expected.
    pub signs_address: bool,
}

/// Those of enabled integrations, at most `limit` of each kind.
///
/// # Errors
/// As the connection's.
pub async fn unproved(client: &Client, limit: i64) -> Result<Vec<Unproved>, StoreError> {
    const SQL: &str = "SELECT id, name, platform_name, accepts, signs FROM (\
                       SELECT i.id, i.name, i.platform_name, \
                       COALESCE(i.settings ->> 'accept_unsigned' = 'true', false) AS accepts, \
                       i.platform_name IN ('trello', 'hubspot', 'sms') \
                       AND COALESCE(i.webhook_secret_encrypted, '') <> '' AS signs \
                       FROM integrations i WHERE i.enabled AND NOT i.is_deleted) i \
                       WHERE accepts OR signs ORDER BY accepts DESC, name LIMIT 2 * $1::bigint";
    let rows = limited(client.query(SQL, &[&limit])).await?;
    Ok(rows
        .iter()
        .map(|row| Unproved {
            id: row.get(0),
            name: row.get(1),
            platform_name: row.get(2),
            accepts_unsigned: row.get(3),
            signs_address: row.get(4),
        })
        .collect())
}
