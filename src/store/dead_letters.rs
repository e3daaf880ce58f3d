//! Messages that could not become commands, and those the broker gave up on.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Store, StoreError, keep_if_sound, limited};
use crate::domain::{CommandId, OrganizationId};

/// A message to be kept.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// A code: `invalid_command`, `unroutable`, `expired`, `delivery_limit`.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// The command's id, if it could be read.
    pub command_id: Option<CommandId>,
    /// The tenant, if it could be read.
    pub organization_id: Option<OrganizationId>,
    /// The queue it came from.
    pub origin: Option<String>,
    /// Its routing key; masked where it may be a secret.
    pub routing_key: String,
    /// Its AMQP headers, masked but for those that the broker sets.
    pub headers: Value,
    /// Its content type.
    pub content_type: Option<String>,
    /// Its body, masked where the contract has no place for a value, cut at the size limit; of a
    /// body that is no JSON its shape, behind a mask and what can be said of it.
    pub payload: String,
    /// Digest of the message as it came, so that a redelivery is the same row.
    pub fingerprint: Vec<u8>,
}

/// A kept message.
#[derive(Debug, Clone)]
pub struct DeadLetterRow {
    /// Its number.
    pub id: i64,
    /// When it was kept.
    pub received_at: DateTime<Utc>,
    /// What it is.
    pub letter: DeadLetter,
}

impl DeadLetter {
    /// The digest of a message.
    #[must_use]
    pub fn fingerprint(reason: &str, routing_key: &str, body: &[u8]) -> Vec<u8> {
        let hash = Sha256::new()
            .chain_update(reason)
            .chain_update([0])
            .chain_update(routing_key);
        hash.chain_update([0])
            .chain_update(body)
            .finalize()
            .to_vec()
    }
}

const COLUMNS: &str = "id, received_at, reason, message, command_id, organization_id, origin, \
                       routing_key, headers, content_type, payload";

impl Store {
    /// Keeps messages. A redelivery of one that is kept already changes nothing.
    ///
    /// # Errors
    /// As the connection's: do not acknowledge.
    pub async fn insert_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO dead_letters (reason, message, command_id, \
                           organization_id, origin, \
                           routing_key, headers, content_type, payload, fingerprint) \
                           SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[], \
                           $5::text[], \
                           $6::text[], \
                           $7::jsonb[], $8::text[], $9::text[], $10::bytea[]) \
                           ON CONFLICT (fingerprint) DO NOTHING";
        let client = self.hot().await?;
        let result = async {
            let reasons: Vec<&str> = letters.iter().map(|l| l.reason.as_str()).collect();
            let messages: Vec<String> = letters
                .iter()
                .map(|l| l.message.replace('\0', "\u{fffd}"))
                .collect();
            let commands: Vec<Option<Uuid>> = letters
                .iter()
                .map(|l| l.command_id.map(CommandId::uuid))
                .collect();
            let orgs: Vec<Option<Uuid>> = letters
                .iter()
                .map(|l| l.organization_id.map(OrganizationId::uuid))
                .collect();
            let origins: Vec<Option<&str>> = letters.iter().map(|l| l.origin.as_deref()).collect();
            let keys: Vec<String> = letters
                .iter()
                .map(|l| l.routing_key.replace('\0', "\u{fffd}"))
                .collect();
            let headers: Vec<&Value> = letters.iter().map(|l| &l.headers).collect();
            let types: Vec<Option<&str>> =
                letters.iter().map(|l| l.content_type.as_deref()).collect();
            let payloads: Vec<String> = letters
                .iter()
                .map(|l| l.payload.replace('\0', "\u{fffd}"))
                .collect();
            let prints: Vec<&[u8]> = letters.iter().map(|l| l.fingerprint.as_slice()).collect();
            let statement = client.prepare_cached(SQL).await?;
            limited(client.execute(
                &statement,
                &[
                    &reasons, &messages, &commands, &orgs, &origins, &keys, &headers, &types,
                    &payloads, &prints,
                ],
            ))
            .await?;
            Ok(())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// The latest kept messages, newest first.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn dead_letters(
        &self,
        reason: Option<&str>,
        limit: i64,
    ) -> Result<Vec<DeadLetterRow>, StoreError> {
        let client = self.get().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM dead_letters WHERE ($1::text IS NULL OR reason = $1) \
             ORDER BY id DESC LIMIT $2"
        );
        let result = limited(client.query(sql.as_str(), &[&reason, &limit])).await;
        keep_if_sound(client, result.map(|rows| rows.iter().map(read).collect()))
    }

    /// One kept message.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetterRow>, StoreError> {
        let client = self.get().await?;
        let sql = format!("SELECT {COLUMNS} FROM dead_letters WHERE id = $1");
        let result = limited(client.query_opt(sql.as_str(), &[&id])).await;
        keep_if_sound(client, result.map(|row| row.as_ref().map(read)))
    }

    /// Removes kept messages; returns the numbers of those that were there.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn drop_dead_letters(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        let client = self.get().await?;
        let sql = "DELETE FROM dead_letters WHERE id = ANY($1) RETURNING id";
        let result = limited(client.query(sql, &[&ids])).await;
        keep_if_sound(
            client,
            result.map(|rows| rows.iter().map(|row| row.get(0)).collect()),
        )
    }

    /// The reasons for which messages are kept now.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn dead_letter_reasons(&self) -> Result<Vec<String>, StoreError> {
        let client = self.get().await?;
        let sql = "SELECT DISTINCT reason FROM dead_letters ORDER BY reason LIMIT 100";
        let result = limited(client.query(sql, &[])).await;
        keep_if_sound(
            client,
            result.map(|rows| rows.iter().map(|row| row.get(0)).collect()),
        )
    }
}

fn read(row: &tokio_postgres::Row) -> DeadLetterRow {
    DeadLetterRow {
        id: row.get(0),
        received_at: row.get(1),
        letter: DeadLetter {
            reason: row.get(2),
            message: row.get(3),
            command_id: row.get::<_, Option<Uuid>>(4).map(CommandId::new),
            organization_id: row.get::<_, Option<Uuid>>(5).map(OrganizationId::new),
            origin: row.get(6),
            routing_key: row.get(7),
            headers: row.get(8),
            content_type: row.get(9),
            payload: row.get(10),
            fingerprint: Vec::new(),
        },
    }
}
