//! Changes of an integration's state, each with its events in the same transaction. The rules are
//! the domain's ([`LifeState::after`]); here they meet the row, under its lock.

use deadpool_postgres::Object;
use uuid::Uuid;

use super::{OutboxKey, OutboxRow, Store, StoreError, keep_if_sound, limited};
use crate::contract::{Subject, transition_notices};
use crate::domain::{
    CommandId, HealthStatus, IntegrationCategory, IntegrationId, IntegrationStatus, LifeEvent,
    LifeState, OrganizationId, Platform, Transition, WaitReason,
};

/// Events that happened to an integration.
#[derive(Debug, Clone, PartialEq)]
pub struct StateChange {
    /// Which.
    pub id: IntegrationId,
    /// What it was when this was decided; another state by now, and nothing is done. `None`:
    /// whatever it is.
    pub expected: Option<LifeState>,
    /// What happened, in this order.
    pub events: Vec<LifeEvent>,
    /// Why, for people.
    pub reason: Option<String>,
    /// What a failed check saw.
    pub error: Option<String>,
    /// The command that did it.
    pub command: Option<CommandId>,
}

impl StateChange {
    /// One event, whatever the state.
    #[must_use]
    pub fn of(id: IntegrationId, event: LifeEvent) -> Self {
        Self {
            id,
            expected: None,
            events: vec![event],
            reason: None,
            error: None,
            command: None,
        }
    }
}

/// What a change of state came to.
#[derive(Debug, Clone)]
pub enum StateChanged {
    /// There is no such integration any more.
    Gone,
    /// It was not what was expected.
    Moved,
    /// Done; its events are in the outbox.
    Done(Vec<OutboxRow>),
}

impl Store {
    /// Makes what happened of an integration's row, in a transaction of its own. Locks the row.
    /// Events of an owner are returned for it to publish; without one they are the outbox poller's.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn change_state(
        &self,
        asked: &StateChange,
        owner: Option<Uuid>,
    ) -> Result<StateChanged, StoreError> {
        let client = self.hot().await?;
        let work = async {
            client.batch_execute("BEGIN").await?;
            let done = make(&client, asked, owner).await;
            client
                .batch_execute(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })
                .await?;
            done
        };
        let result = limited(work).await;
        keep_if_sound(client, result)
    }

    /// Lets integrations expire whose time has come; returns the events. Each is a transaction of
    /// its own.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn expire_integrations(&self, owner: Uuid) -> Result<Vec<OutboxRow>, StoreError> {
        const DUE: &str = "SELECT id FROM integrations WHERE expires_at <= now() AND enabled \
                           AND NOT is_deleted \
                           AND status IN ('active', 'pending', 'error') ORDER BY id LIMIT 100";
        let client = self.get().await?;
        let result = limited(client.query(DUE, &[])).await;
        let due = keep_if_sound(client, result)?;
        let mut events = Vec::new();
        for row in due {
            let mut asked = StateChange::of(IntegrationId::new(row.get(0)), LifeEvent::Expire);
            asked.reason = Some("expires_at has passed".into());
            if let StateChanged::Done(rows) = self.change_state(&asked, Some(owner)).await? {
                events.extend(rows);
            }
        }
        Ok(events)
    }

    /// Wakes the commands that wait for an integration's credential. Returns how many.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn wake_parked(&self, id: IntegrationId) -> Result<u64, StoreError> {
        let client = self.hot().await?;
        let result =
            limited(client.execute(WAKE, &[&id.uuid(), &WaitReason::CredentialRefused.as_str()]))
                .await;
        keep_if_sound(client, result)
    }
}

const WAKE: &str = "UPDATE commands SET due_at = now(), retry_at = now() \
                    WHERE lane = $1 AND due_at IS NOT NULL AND state = 'deferred' \
                    AND wait_reason = $2";

/// Inside a transaction of the caller's: locks the row, applies the rules, writes the row and the
/// events.
pub(super) async fn make(
    client: &Object,
    asked: &StateChange,
    owner: Option<Uuid>,
) -> Result<StateChanged, tokio_postgres::Error> {
    const READ: &str = "SELECT enabled, status::text, health_check_status, parked_at IS NOT NULL, \
                        COALESCE(expires_at <= now(), false), organization_id, \
                        integration_category::text, \
                        platform_name \
                        FROM integrations WHERE id = $1 AND NOT is_deleted FOR UPDATE";
    const WRITE: &str = "UPDATE integrations SET enabled = $2, status = \
                         $3::text::integrationstatus, \
                         health_check_status = $4, parked_at = CASE \
                         WHEN $5 THEN COALESCE(parked_at, now()) END, \
                         last_activation_at = CASE WHEN $6::text IS NULL THEN last_activation_at \
                         ELSE now() END, \
                         activation_method = COALESCE($6, activation_method), \
                         last_error_message = COALESCE($7, last_error_message), \
                         last_health_check_at = CASE \
                         WHEN $8 THEN now() ELSE last_health_check_at END, \
                         health_check_error = CASE WHEN $8 THEN $9 ELSE health_check_error END, \
                         connection_test_count = connection_test_count + CASE \
                         WHEN $10 THEN 1 ELSE 0 END, \
                         updated_at = now() WHERE id = $1";
    let statement = client.prepare_cached(READ).await?;
    let Some(row) = client.query_opt(&statement, &[&asked.id.uuid()]).await? else {
        return Ok(StateChanged::Gone);
    };
    let old = LifeState {
        enabled: row.get(0),
        status: IntegrationStatus::parse(row.get(1)).unwrap_or(IntegrationStatus::Error),
        health: row
            .get::<_, Option<&str>>(2)
            .and_then(HealthStatus::parse)
            .unwrap_or(HealthStatus::Unknown),
        parked: row.get(3),
    };
    if asked.expected.is_some_and(|expected| expected != old) {
        return Ok(StateChanged::Moved);
    }
    let expired: bool = row.get(4);
    let subject = Subject {
        id: asked.id,
        organization_id: row.get::<_, Option<Uuid>>(5).map(OrganizationId::new),
        category: IntegrationCategory::parse(row.get(6)),
        platform: Platform::parse(&row.get::<_, String>(7).trim().to_lowercase()),
    };
    let mut state = old;
    let mut notices = Vec::new();
    let mut is_check = false;
    for event in &asked.events {
        let change = Transition {
            old: state,
            new: state.after(*event, expired),
            event: *event,
        };
        is_check |= matches!(
            event,
            LifeEvent::TestActivates
                | LifeEvent::TestPassed
                | LifeEvent::TestFailed
                | LifeEvent::CheckPassed
                | LifeEvent::CheckFailed
        );
        notices.extend(transition_notices(
            &subject,
            &change,
            asked.reason.as_deref(),
            asked.error.as_deref(),
            asked.command,
        ));
        state = change.new;
    }
    if state == old && !is_check {
        return Ok(StateChanged::Done(Vec::new()));
    }
    let is_test = asked.events.iter().any(|event| {
        matches!(
            event,
            LifeEvent::TestActivates | LifeEvent::TestPassed | LifeEvent::TestFailed
        )
    });
    let turned_on = !old.enabled && state.enabled;
    let activated =
        old.status != IntegrationStatus::Active && state.status == IntegrationStatus::Active;
    let method = match (turned_on, activated) {
        (true, _) => Some("enabled"),
        (false, true) => Some("automatic"),
        (false, false) => None,
    };
    let disabled = (old.enabled && !state.enabled)
        .then_some(asked.reason.as_ref())
        .flatten()
        .map(|reason| format!("Disabled: {reason}"));
    let statement = client.prepare_cached(WRITE).await?;
    client
        .execute(
            &statement,
            &[
                &asked.id.uuid(),
                &state.enabled,
                &state.status.as_str(),
                &state.health.as_str(),
                &state.parked,
                &method,
                &disabled,
                &is_check,
                &asked.error,
                &is_test,
            ],
        )
        .await?;
    if old.parked && !state.parked {
        client
            .execute(
                WAKE,
                &[&asked.id.uuid(), &WaitReason::CredentialRefused.as_str()],
            )
            .await?;
    }
    if activated {
        let sql =
            "UPDATE integration_circuits SET errors = 0 WHERE integration_id = $1 AND errors > 0";
        client.execute(sql, &[&asked.id.uuid()]).await?;
    }
    let rows: Vec<OutboxRow> = notices.into_iter().map(OutboxRow::from).collect();
    insert_events(client, &rows, owner).await?;
    Ok(StateChanged::Done(rows))
}

/// Events of the caller's transaction.
pub(super) async fn insert_events(
    client: &Object,
    rows: &[OutboxRow],
    owner: Option<Uuid>,
) -> Result<(), tokio_postgres::Error> {
    const SQL: &str = "INSERT INTO outbox (command_id, number, target, correlation_id, \
                       routing_key, body, owner) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let statement = client.prepare_cached(SQL).await?;
    for row in rows {
        let key = &row.key;
        client
            .execute(
                &statement,
                &[
                    &key.command_id,
                    &key.number,
                    &key.target,
                    &key.correlation_id,
                    &row.routing_key,
                    &&*row.body,
                    &owner,
                ],
            )
            .await?;
    }
    Ok(())
}

impl From<crate::contract::Notice> for OutboxRow {
    fn from(notice: crate::contract::Notice) -> Self {
        Self {
            key: OutboxKey {
                command_id: notice.id,
                number: 0,
                target: String::new(),
                correlation_id: String::new(),
            },
            routing_key: notice.routing_key,
            body: notice.body.into(),
        }
    }
}
