//! What people ask of the ledger: commands, their attempts, counts.

use chrono::{DateTime, Utc};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::holds::Lanes;
use super::outbox::DETACH;
use super::{Store, StoreError, keep_if_sound, limited};
use crate::contract::{Event, EventData, Outcome, Trace, json_text};
use crate::domain::{
    CommandId, ErrorCode, Failure, Hold, IntegrationId, OrganizationId, Platform, TicketId, Wait,
    WaitReason,
};
use crate::telemetry::failpoint;

/// A command for people.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CommandRow {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub r#type: String,
    /// The tenant.
    pub organization_id: Uuid,
    /// Its integration.
    pub integration_id: Option<Uuid>,
    /// Its ticket.
    pub ticket_id: Option<Uuid>,
    /// Its state.
    pub state: String,
    /// Which run.
    pub run: i32,
    /// Attempts spent.
    pub attempt: i32,
    /// When it runs next.
    pub retry_at: Option<DateTime<Utc>>,
    /// What decided that, as people read it.
    pub decided_by: Option<String>,
    /// The same, as a name.
    pub wait_reason: Option<String>,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Its last error.
    pub error_code: Option<String>,
    /// The same in full.
    pub error: Option<serde_json::Value>,
    /// Since when there is doubt about it.
    pub doubt_since: Option<DateTime<Utc>>,
    /// Look-ups made since.
    pub lookups: i32,
    /// Whether it waits for its ticket's turn.
    pub waits_for_turn: bool,
    /// Processes that died while running it alone.
    pub deaths: i32,
    /// What it really waits for, where that is not its own time (`retry_at`): a circuit, a pause, a
    /// window, a state.
    pub held: Option<Hold>,
    /// Its final event.
    pub final_event: Option<serde_json::Value>,
    /// Its integration's platform.
    pub platform_name: Option<String>,
    /// What its ticket is called there.
    pub external_ticket_id: Option<String>,
}

/// A command that can run again.
#[derive(Debug, Clone)]
pub struct Retryable {
    /// Its id.
    pub id: Uuid,
    /// `deferred`, `failed` or `cancelled`.
    pub state: String,
    /// Its integration.
    pub integration_id: Option<Uuid>,
    /// Its last error.
    pub error_code: Option<String>,
}

/// An attempt for people.
#[derive(Debug, Clone, serde::Serialize)]
pub struct AttemptRow {
    /// Which run.
    pub run: i32,
    /// Which attempt.
    pub attempt: i32,
    /// Who made it.
    pub worker: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i64,
    /// How it ended.
    pub outcome: String,
    /// Its error.
    pub error_code: Option<String>,
    /// The same for a person.
    pub message: Option<String>,
    /// What the platform answered.
    pub http_status: Option<i32>,
    /// When the next one was set for.
    pub retry_at: Option<DateTime<Utc>>,
    /// What decided that, as people read it.
    pub decided_by: Option<String>,
    /// The same, as a name.
    pub wait_reason: Option<String>,
}

/// Which commands.
#[derive(Debug, Clone, Default)]
pub struct CommandFilter {
    /// In this state.
    pub state: Option<String>,
    /// Of this integration.
    pub integration_id: Option<Uuid>,
    /// Of this ticket.
    pub ticket_id: Option<Uuid>,
    /// With this last error.
    pub error_code: Option<String>,
    /// Of this type.
    pub command_type: Option<String>,
    /// Received since.
    pub since: Option<DateTime<Utc>>,
    /// Received before.
    pub until: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, type, organization_id, integration_id, ticket_id, state, run, \
                       attempt, retry_at, wait_reason, \
                       received_at, finished_at, error_code, error, doubt_since, lookups, \
                       state = 'pending' \
                       AND NOT turn, deaths, \
                       final_event, wait_detail, lane, due_at, \
                       (SELECT i.platform_name FROM integrations i \
                       WHERE i.id = commands.integration_id), \
                       (SELECT t.external_ticket_id FROM tickets t \
                       WHERE t.id = commands.ticket_id \
                       AND t.organization_id = commands.organization_id)";

impl Store {
    /// Commands, newest first.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn commands(
        &self,
        filter: &CommandFilter,
        limit: i64,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let client = self.get().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM commands WHERE ($1::text IS NULL OR state = $1) \
             AND ($2::uuid IS NULL OR integration_id = $2) \
             AND ($3::uuid IS NULL OR ticket_id = $3) \
             AND ($4::text IS NULL OR error_code = $4) AND ($5::text IS NULL OR type = $5) \
             AND ($6::timestamptz IS NULL OR received_at >= $6) \
             AND ($8::timestamptz IS NULL OR received_at < $8) \
             ORDER BY received_at DESC, arrival DESC LIMIT $7"
        );
        let result = limited(client.query(
            sql.as_str(),
            &[
                &filter.state,
                &filter.integration_id,
                &filter.ticket_id,
                &filter.error_code,
                &filter.command_type,
                &filter.since,
                &limit,
                &filter.until,
            ],
        ))
        .await;
        let result = match result {
            Ok(rows) => read_all(&client, &rows).await,
            Err(error) => Err(error),
        };
        keep_if_sound(client, result)
    }

    /// What a retry of all that match would run again, in order of arrival: deferred and failed
    /// ones, and of a state that is named, those alone.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn retryable(&self, filter: &CommandFilter) -> Result<Vec<Retryable>, StoreError> {
        const SQL: &str = "SELECT id, state, integration_id, error_code FROM commands \
                           WHERE state = ANY(CASE WHEN $1::text IS NULL THEN \
                           '{deferred,failed}'::text[] \
                           ELSE ARRAY[$1] END) \
                           AND state IN ('deferred', 'failed', 'cancelled') \
                           AND ($2::uuid IS NULL OR integration_id = $2) \
                           AND ($3::uuid IS NULL OR ticket_id = $3) \
                           AND ($4::text IS NULL OR error_code = $4) \
                           AND ($5::text IS NULL OR type = $5) \
                           AND ($6::timestamptz IS NULL OR received_at >= $6) \
                           AND ($7::timestamptz IS NULL OR received_at < $7) \
                           ORDER BY arrival";
        let client = self.get().await?;
        let result = limited(client.query(
            SQL,
            &[
                &filter.state,
                &filter.integration_id,
                &filter.ticket_id,
                &filter.error_code,
                &filter.command_type,
                &filter.since,
                &filter.until,
            ],
        ))
        .await;
        let read = |row: &tokio_postgres::Row| Retryable {
            id: row.get(0),
            state: row.get(1),
            integration_id: row.get(2),
            error_code: row.get(3),
        };
        keep_if_sound(client, result.map(|rows| rows.iter().map(read).collect()))
    }

    /// One command with its attempts.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn command(
        &self,
        id: CommandId,
    ) -> Result<Option<(CommandRow, Vec<AttemptRow>)>, StoreError> {
        let client = self.get().await?;
        let result = async {
            let sql = format!("SELECT {COLUMNS} FROM commands WHERE id = $1");
            let Some(row) = limited(client.query_opt(sql.as_str(), &[&id.uuid()])).await? else {
                return Ok(None);
            };
            let attempts = limited(client.query(
                "SELECT run, attempt, worker, started_at, duration_ms, outcome, error_code, \
                 message, http_status, \
                 retry_at, wait_reason, wait_detail FROM command_attempts WHERE command_id = $1 \
                 ORDER BY run, attempt",
                &[&id.uuid()],
            ))
            .await?;
            let attempts = attempts
                .iter()
                .map(|row| AttemptRow {
                    run: row.get(0),
                    attempt: row.get(1),
                    worker: row.get(2),
                    started_at: row.get(3),
                    duration_ms: row.get(4),
                    outcome: row.get(5),
                    error_code: row.get(6),
                    message: row.get(7),
                    http_status: row.get(8),
                    retry_at: row.get(9),
                    decided_by: decided_by(row.get(10), row.get(11)),
                    wait_reason: row.get(10),
                })
                .collect();
            let read = read_all(&client, std::slice::from_ref(&row)).await?;
            Ok(read.into_iter().next().map(|row| (row, attempts)))
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Whether another organization has a ticket under this id.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn is_foreign_ticket(
        &self,
        id: TicketId,
        organization: OrganizationId,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM tickets WHERE id = $1 AND organization_id <> $2)";
        let client = self.hot().await?;
        let result = limited(client.query_one(sql, &[&id.uuid(), &organization.uuid()])).await;
        keep_if_sound(client, result).map(|row| row.get(0))
    }

    /// What the last attempt of a command met, if that failed.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn last_attempt(&self, id: CommandId) -> Result<Option<Failure>, StoreError> {
        let sql = "SELECT error_code, message, http_status FROM command_attempts \
                   WHERE command_id = $1 AND error_code IS NOT NULL \
                   ORDER BY run DESC, attempt DESC LIMIT 1";
        let client = self.hot().await?;
        let result = limited(client.query_opt(sql, &[&id.uuid()])).await;
        let row = keep_if_sound(client, result)?;
        Ok(row.and_then(|row| {
            let code = ErrorCode::parse(row.get(0))?;
            let message: Option<String> = row.get(1);
            let status: Option<i32> = row.get(2);
            Some(
                Failure::new(code, message.unwrap_or_default())
                    .with_status(status.and_then(|status| u16::try_from(status).ok())),
            )
        }))
    }

    /// Makes deferred commands due now, and failed ones run again (`run` counts up); a pause of
    /// their integrations by a platform's rate limit is over then. Returns those it changed. Locks
    /// the rows; a command whose ticket's turn somebody else holds waits for it.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn retry_commands(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        self.run_again(ids, WaitReason::CommandRetry).await
    }

    /// The same for a reason, which the history of the attempts keeps: it is a person who decided
    /// what came next.
    async fn run_again(&self, ids: &[Uuid], reason: WaitReason) -> Result<Vec<Uuid>, StoreError> {
        let mut client = self.get().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            let changed = run_again(&transaction, ids, reason).await?;
            limited(transaction.commit()).await?;
            Ok(changed)
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Counts for the gauges: commands by unfinished state, and events waiting for the broker.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn backlog(&self) -> Result<Vec<(String, i64)>, StoreError> {
        const SQL: &str = "SELECT 'running', count(*) FROM commands WHERE state = 'running' \
                           UNION ALL SELECT s.state, s.count \
                           FROM (SELECT count(*) FILTER (WHERE due_at <= \
                           now()) AS due, \
                           count(*) FILTER (WHERE due_at > now()) AS later FROM commands \
                           WHERE due_at IS NOT NULL) c, \
                           LATERAL (VALUES ('due', c.due), ('later', c.later)) AS s (state, count) \
                           UNION ALL SELECT 'waiting', count(*) FROM commands \
                           WHERE state = 'pending' \
                           AND NOT turn \
                           UNION ALL SELECT 'outbox', count(*) FROM unsent_events";
        let client = self.hot().await?;
        let result = limited(client.query(SQL, &[])).await;
        keep_if_sound(
            client,
            result.map(|rows| rows.iter().map(|row| (row.get(0), row.get(1))).collect()),
        )
    }
}

/// Makes commands run again, in a transaction of the caller's: [`Store::retry_commands`].
async fn run_again(
    transaction: &Transaction<'_>,
    ids: &[Uuid],
    reason: WaitReason,
) -> Result<Vec<Uuid>, StoreError> {
    const HISTORY: &str = "UPDATE command_attempts a \
                           SET wait_reason = $2, wait_detail = NULL, retry_at = now() \
                           FROM (SELECT id, run, attempt FROM commands WHERE id = ANY($1) \
                           AND state IN ('deferred', 'failed', 'cancelled') FOR UPDATE) c \
                           WHERE a.command_id = c.id AND a.run = c.run AND a.attempt = c.attempt";
    let reason = reason.as_str();
    limited(transaction.execute(DETACH, &[&ids])).await?;
    limited(transaction.execute(HISTORY, &[&ids, &reason])).await?;
    let deferred = limited(transaction.query(
        "UPDATE commands SET due_at = now(), retry_at = now(), wait_reason = $2, \
         wait_detail = NULL \
         WHERE id = ANY($1) AND state = 'deferred' RETURNING id",
        &[&ids, &reason],
    ))
    .await?;
    let failed = limited(transaction.query(
        "UPDATE commands SET state = 'pending', turn = false, due_at = NULL, retry_at = now(), \
         run = run + 1, \
         doubt_since = CASE WHEN error_code IN ('outcome_unknown', 'quarantined') \
                            THEN COALESCE(doubt_since, finished_at, now()) END, lookups = 0, \
         attempt = 0, finished_at = NULL, final_event = NULL, final_key = NULL, error_code = NULL, \
         error = NULL, deaths = 0, wait_reason = $2, wait_detail = NULL \
         WHERE id = ANY($1) AND state IN ('failed', 'cancelled') \
         RETURNING id, organization_id, ticket_id",
        &[&ids, &reason],
    ))
    .await?;
    let alone: Vec<Uuid> = failed
        .iter()
        .filter(|row| row.get::<_, Option<Uuid>>(2).is_none())
        .map(|row| row.get(0))
        .collect();
    limited(transaction.execute(
        "UPDATE commands SET turn = true, due_at = now(), retry_at = NULL WHERE id = ANY($1)",
        &[&alone],
    ))
    .await?;
    let mut pairs: Vec<(Uuid, Uuid)> = failed
        .iter()
        .filter_map(|row| Some((row.get(1), row.get::<_, Option<Uuid>>(2)?)))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let (orgs, tickets): (Vec<Uuid>, Vec<Uuid>) = pairs.into_iter().unzip();
    limited(transaction.execute(include_str!("sql/pass_turns.sql"), &[&orgs, &tickets])).await?;
    // A person says that it is to be tried now: the pause of its integration is over, and a first
    // request tells.
    limited(transaction.execute(
        "UPDATE integration_circuits SET paused_until = now() WHERE paused_until > now() \
         AND integration_id IN \
         (SELECT integration_id FROM commands WHERE id = ANY($1) AND integration_id IS NOT NULL)",
        &[&ids],
    ))
    .await?;
    Ok(deferred
        .iter()
        .chain(failed.iter())
        .map(|row| row.get(0))
        .collect())
}

/// The sentence of a stored reason; the bare name where a later version has stored it.
pub(super) fn decided_by(reason: Option<&str>, detail: Option<i32>) -> Option<String> {
    let wait = Wait::stored(reason, detail);
    wait.map_or_else(|| reason.map(str::to_owned), |wait| Some(wait.to_string()))
}

/// Reads commands, and what holds those that wait.
async fn read_all(
    client: &tokio_postgres::Client,
    rows: &[tokio_postgres::Row],
) -> Result<Vec<CommandRow>, StoreError> {
    let due_in_lane = |row: &tokio_postgres::Row| {
        let due: Option<DateTime<Utc>> = row.get(21);
        due.map(|due| (row.get::<_, Uuid>(20), due))
    };
    let lanes: Vec<Uuid> = rows
        .iter()
        .filter_map(due_in_lane)
        .map(|(lane, _)| lane)
        .collect();
    if lanes.is_empty() {
        return Ok(rows.iter().map(read).collect());
    }
    let lanes = Lanes::read(client, &lanes).await?;
    let read = |row| {
        let mut command = read(row);
        let doubtful = command.doubt_since.is_some();
        command.held = due_in_lane(row).and_then(|(lane, due)| lanes.hold(lane, due, doubtful));
        command
    };
    Ok(rows.iter().map(read).collect())
}

fn read(row: &tokio_postgres::Row) -> CommandRow {
    // What is no JSON is shown as the text it is.
    let json = |index: usize| {
        let text = row.get::<_, Option<String>>(index)?;
        Some(serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
    };
    CommandRow {
        id: row.get(0),
        r#type: row.get(1),
        organization_id: row.get(2),
        integration_id: row.get(3),
        ticket_id: row.get(4),
        state: row.get(5),
        run: row.get(6),
        attempt: row.get(7),
        retry_at: row.get(8),
        decided_by: decided_by(row.get(9), row.get(19)),
        wait_reason: row.get(9),
        received_at: row.get(10),
        finished_at: row.get(11),
        error_code: row.get(12),
        error: json(13),
        doubt_since: row.get(14),
        lookups: row.get(15),
        waits_for_turn: row.get(16),
        deaths: row.get(17),
        held: None,
        final_event: json(18),
        platform_name: row.get(22),
        external_ticket_id: row.get(23),
    }
}

impl Store {
    /// Cancels a command that has not started and of which nothing can have been sent; its event
    /// goes to the outbox poller. False: there is none such. Locks the row.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn cancel_command(&self, id: CommandId) -> Result<bool, StoreError> {
        let failure = Failure::new(
            ErrorCode::Cancelled,
            "cancelled by an operator before it was started",
        );
        self.end_by_hand(
            id,
            "c.state IN ('pending', 'deferred') AND c.doubt_since IS NULL AND c.attempt = 0",
            Outcome::Cancelled,
            None,
            Some(failure),
        )
        .await
    }

    /// Settles a command of unknown outcome by a person's word: it happened (with its external id),
    /// or it did not, and is sent again. False: it is not of unknown outcome. Locks the row.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn resolve_command(
        &self,
        id: CommandId,
        happened: Option<&str>,
    ) -> Result<bool, StoreError> {
        let unknown = "(c.state = 'deferred' AND c.doubt_since IS NOT NULL) OR (c.state = \
                       'failed' AND c.error_code IN ('outcome_unknown', 'quarantined'))";
        if let Some(external) = happened {
            let result = serde_json::json!({ "integration_result": {
                "success": true, "external_ticket_id": external, "external_ticket_url": null,
                "details": { "resolved_by": "an operator" },
            } });
            return self
                .end_by_hand(id, unknown, Outcome::Succeeded, Some(result), None)
                .await;
        }
        let sql = format!(
            "UPDATE commands c SET doubt_since = NULL, lookups = 0, error_code = NULL \
             WHERE c.id = $1 AND ({unknown}) RETURNING c.id"
        );
        // What a person said and what follows from it stand together: of half of it nobody could be
        // told.
        let mut client = self.get().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            let found = limited(transaction.query_opt(sql.as_str(), &[&id.uuid()])).await?;
            if found.is_none() {
                return Ok(false);
            }
            failpoint("after_doubt").await;
            run_again(&transaction, &[id.uuid()], WaitReason::Resolved).await?;
            failpoint("before_decided").await;
            limited(transaction.commit()).await?;
            Ok(true)
        }
        .await;
        keep_if_sound(client, result)
    }

    async fn end_by_hand(
        &self,
        id: CommandId,
        condition: &str,
        outcome: Outcome,
        result: Option<serde_json::Value>,
        failure: Option<Failure>,
    ) -> Result<bool, StoreError> {
        let mut client = self.get().await?;
        let work = async {
            let transaction = limited(client.transaction()).await?;
            let sql = format!(
                "SELECT c.type, c.organization_id, c.ticket_id, c.integration_id, c.run, \
                 c.attempt, c.events, \
                 c.traceparent, c.tracestate, i.platform_name FROM commands c \
                 LEFT JOIN integrations i ON i.id = c.integration_id WHERE c.id = $1 \
                 AND ({condition}) FOR UPDATE OF c"
            );
            let Some(row) = limited(transaction.query_opt(sql.as_str(), &[&id.uuid()])).await?
            else {
                return Ok(false);
            };
            limited(transaction.execute(DETACH, &[&vec![id.uuid()]])).await?;
            let organization = OrganizationId::new(row.get(1));
            let ticket = row.get::<_, Option<Uuid>>(2).map(TicketId::new);
            let number: i32 = row.get::<_, i32>(6) + 1;
            let platform = row
                .get::<_, Option<String>>(9)
                .and_then(|name| Platform::parse(&name));
            let event = Event {
                id: Event::id_of(id, number),
                time: Utc::now(),
                organization_id: Some(organization),
                trace: Trace {
                    parent: row.get(7),
                    state: row.get(8),
                },
                data: EventData {
                    command_id: Some(id),
                    command_type: row.get(0),
                    outcome,
                    run: row.get(4),
                    attempt: row.get(5),
                    duration_ms: 0,
                    integration_id: row.get::<_, Option<Uuid>>(3).map(IntegrationId::new),
                    integration_category: platform.map(Platform::category),
                    platform_name: platform,
                    ticket_id: ticket,
                    result: result.clone(),
                    error: failure.clone(),
                    retry_at: None,
                },
            };
            let (body, key) = (event.to_json(), event.routing_key());
            let state = if outcome == Outcome::Succeeded {
                "succeeded"
            } else {
                "cancelled"
            };
            let code = failure.as_ref().map(|failure| failure.code.as_str());
            let error = failure.as_ref().map(|failure| json_text(failure, 128));
            limited(transaction.execute(
                "UPDATE commands SET state = $2, turn = false, due_at = NULL, retry_at = NULL, \
                 finished_at = now(), \
                 events = $3, final_event = $4, final_key = $5, error_code = $6, error = $7, \
                 doubt_since = NULL, \
                 wait_reason = NULL, wait_detail = NULL WHERE id = $1",
                &[&id.uuid(), &state, &number, &body, &key, &code, &error],
            ))
            .await?;
            let external = result
                .as_ref()
                .and_then(|r| r["integration_result"]["external_ticket_id"].as_str());
            if let (Some(external), Some(ticket)) = (external, ticket) {
                limited(transaction.execute(
                    "UPDATE tickets SET external_ticket_id = $2, integration_id = COALESCE($3, \
                     integration_id), \
                     updated_at = now() WHERE id = $1 AND external_ticket_id IS NULL",
                    &[&ticket.uuid(), &external, &row.get::<_, Option<Uuid>>(3)],
                ))
                .await?;
            }
            limited(transaction.execute(
                "INSERT INTO outbox (command_id, number, routing_key, body) \
                 VALUES ($1, $2, $3, $4)",
                &[&id.uuid(), &number, &key, &body],
            ))
            .await?;
            if let Some(ticket) = ticket {
                let (orgs, tickets) = (vec![organization.uuid()], vec![ticket.uuid()]);
                limited(
                    transaction.execute(include_str!("sql/pass_turns.sql"), &[&orgs, &tickets]),
                )
                .await?;
            }
            failpoint("before_decided").await;
            limited(transaction.commit()).await?;
            Ok(true)
        }
        .await;
        keep_if_sound(client, work)
    }
}
