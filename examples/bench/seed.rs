//! The integrations that the measured commands name.

use std::sync::OnceLock;

use serde_json::json;
use ticketwire::contract::{AdminCommand, Command, CommandType, Faults};
use ticketwire::domain::{IntegrationId, IntegrationStatus, OrganizationId};
use ticketwire::secrets::{Binding, KeyRing};
use ticketwire::store::{LedgerChange, NewIntegration, Store, connect};
use uuid::Uuid;

/// How many integrations the commands go to unless somebody says otherwise.
const INTEGRATIONS: usize = 20;
const ORGANIZATIONS: usize = 5;

static CHOSEN: OnceLock<usize> = OnceLock::new();

/// Sets how many integrations the commands go to; before anything asks.
pub(crate) fn choose(integrations: usize) -> Result<(), super::Error> {
    CHOSEN
        .set(integrations.max(1))
        .map_err(|_| "the number of integrations is set already".into())
}

/// How many integrations the commands go to.
pub(crate) fn count() -> usize {
    CHOSEN.get().copied().unwrap_or(INTEGRATIONS)
}

/// Organization and integration of the command with this number.
pub(crate) fn ids(number: usize) -> (Uuid, Uuid) {
    let integration = number % count();
    let of = |kind: u128, number: usize| Uuid::from_u128((kind << 64) | number as u128);
    (
        of(0x4000_9000, integration % ORGANIZATIONS),
        of(0x4000_8000, integration),
    )
}

/// One integration in ten.
pub(crate) fn sick() -> impl Iterator<Item = Uuid> {
    (0..count()).step_by(10).map(|number| ids(number).1)
}

/// Finished commands of the past, as many as a busy month leaves.
pub(crate) async fn history(database: &str, count: i64) -> Result<(), super::Error> {
    if count == 0 {
        return Ok(());
    }
    let (client, _connection) = connect(&database.into(), "ticketwire bench").await?;
    client
        .execute(
            "INSERT INTO commands (id, arrival, type, organization_id, integration_id, \
             ticket_id, state, turn, lane, \
             received_at, finished_at, digest, data, final_event, final_key) \
             SELECT gen_random_uuid(), n, 'history', gen_random_uuid(), gen_random_uuid(), \
             gen_random_uuid(), \
             'succeeded', false, '00000000-0000-0000-0000-000000000000', \
             now() - n * interval '1 second', \
             now() - n * interval '1 second', '\\x00', repeat('x', 500), repeat('y', 700), \
             'ticket.create.succeeded' \
             FROM generate_series(1, $1::bigint) n",
            &[&count],
        )
        .await?;
    client.batch_execute("VACUUM ANALYZE commands").await?;
    println!("{count} finished commands stand in the ledger");
    Ok(())
}

/// Makes them, active, all at one base URL; where some are to be sick, one in ten at a sick one.
pub(crate) async fn integrations(
    database: &str,
    key: &str,
    base_url: &str,
    plan: &super::Plan,
) -> Result<(), super::Error> {
    let ring = KeyRing::parse(&[key.to_owned().into()])?;
    let store = Store::new(&database.into(), 1, "ticketwire bench")?;
    for number in 0..count() {
        let (organization, id) = ids(number);
        let (organization_id, id) = (OrganizationId::new(organization), IntegrationId::new(id));
        let base_url = if plan.sickness.is_some() && sick().any(|sick| sick == id.uuid()) {
            format!("{base_url}/sick")
        } else {
            base_url.to_owned()
        };
        let credentials = json!({ "email": "bench@example.test", "api_token": "bench" });
        let data = json!({
            "name": format!("bench {number}"), "platform_name": "jira", "base_url": base_url,
            "settings": { "project_key": "SUP" }, "credentials": credentials,
        });
        let mut faults = Faults::new();
        let data = data.as_object().cloned().unwrap_or_default();
        let parsed = Command::parse(CommandType::IntegrationCreate, data, &mut faults);
        let Some(Command::Admin(AdminCommand::CreateIntegration(mut create))) = parsed else {
            return Err(format!("{faults:?}").into());
        };
        create.credentials.clear();
        let binding = Binding {
            organization: organization_id,
            integration: id,
            column: "credentials_encrypted",
        };
        let secret = serde_json::Value::from(super::hooks::SECRET).to_string();
        let of_secret = Binding {
            column: "webhook_secret_encrypted",
            ..binding
        };
        let secret = ring.seal(&of_secret, secret.as_bytes())?;
        let new = NewIntegration {
            id,
            organization_id,
            create: *create,
            credentials_sealed: Some(ring.seal(&binding, credentials.to_string().as_bytes())?),
            webhook_secret_sealed: (plan.webhooks > 0).then_some(secret),
            status: IntegrationStatus::Active,
        };
        store
            .apply_now(&LedgerChange::CreateIntegration(Box::new(new)))
            .await?;
    }
    Ok(())
}
