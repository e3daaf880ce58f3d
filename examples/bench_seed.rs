//! Makes the integrations that a throughput measurement runs against: twenty active Jira ones with fixed ids, four
//! for each of five organizations, all at one base URL. Reads the program's own settings, so `DATABASE_URL` and
//! `TICKETWIRE__SECRETS__KEYS` say where and under which key.
//!
//! ```console
//! $ cargo run --release --example bench_seed -- http://127.0.0.1:8099
//! ```

use std::process::ExitCode;

use serde_json::json;
use ticketwire::config::{Config, Sources};
use ticketwire::contract::{Command, CommandType, Faults};
use ticketwire::domain::{IntegrationId, IntegrationStatus, OrganizationId};
use ticketwire::secrets::{Binding, KeyRing};
use ticketwire::store::{NewIntegration, OwnEffect, Store};
use uuid::Uuid;

const INTEGRATIONS: u128 = 20;
const ORGANIZATIONS: u128 = 5;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new();
    let seeded = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(seed()));
    match seeded {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            tracing::error!("{text}");
            ExitCode::FAILURE
        }
    }
}

async fn seed() -> Result<(), String> {
    let base_url = std::env::args()
        .nth(1)
        .ok_or("usage: bench_seed BASE_URL")?;
    let config =
        Config::load(&Sources::of_process(None, Vec::new())).map_err(|error| error.to_string())?;
    let ring = KeyRing::parse(&config.secrets.keys)?;
    let store =
        Store::new(&config.database.url, 1, "bench seed").map_err(|error| error.to_string())?;
    for number in 0..INTEGRATIONS {
        let id = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000 | number);
        let organization =
            Uuid::from_u128(0x0000_0000_0000_4000_9000_0000_0000_0000 | (number % ORGANIZATIONS));
        let credentials = json!({ "email": "bench@example.test", "api_token": "bench" });
        let data = json!({
            "name": format!("bench {number}"), "platform_name": "jira", "base_url": base_url,
            "settings": { "project_key": "SUP" }, "credentials": credentials,
        });
        let mut faults = Faults::new();
        let data = data.as_object().cloned().unwrap_or_default();
        let parsed = Command::parse(CommandType::IntegrationCreate, data, &mut faults);
        let Some(Command::IntegrationCreate(mut create)) = parsed else {
            return Err(format!("{faults:?}"));
        };
        create.credentials.clear();
        let binding = Binding {
            organization: OrganizationId::new(organization),
            integration: IntegrationId::new(id),
            column: "credentials_encrypted",
        };
        let sealed = ring
            .seal(&binding, credentials.to_string().as_bytes())
            .map_err(|error| error.to_string())?;
        let new = NewIntegration {
            id: IntegrationId::new(id),
            organization_id: OrganizationId::new(organization),
            create: *create,
            credentials_sealed: Some(sealed),
            webhook_secret_sealed: None,
            status: IntegrationStatus::Active,
        };
        store
            .apply_now(&OwnEffect::CreateIntegration(Box::new(new)))
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
