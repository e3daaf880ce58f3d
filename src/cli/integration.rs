//! `ticketwire integration`

mod line;
mod webhook;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::line::Line;
use super::output::{self, Cell, column};
use super::send::read_data;
use super::{Context, Failed, failed, ids};
use crate::contract::{
    AdminCommand, Command, CommandType, Faults, IntegrationList, IntegrationTest,
};
use crate::domain::{ErrorCode, Failure, IntegrationId, OrganizationId};
use crate::integrations::{self, Checks, Planned, Requester};
use crate::platforms::{EgressPolicy, TestKind};
use crate::store::{LoadedIntegration, Named, Store};

/// Why an integration changed, where nobody said more.
const BY_HAND: Requester = Requester::Person("by hand, on the command line");

/// Integrations, directly in the database.
#[derive(Args)]
#[command(after_help = "Example:
  ticketwire integration add --organization $ORG --data '{
    \"name\":\"Jira\",\"platform_name\":\"jira\",\"base_url\":\"https://example.atlassian.net\",
    \"credentials\":{\"email\":\"…\",\"api_token\":\"…\"},
    \"settings\":{\"project_key\":\"SUP\"}}'")]
pub(super) struct Integration {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Add one: the data of integration.create
    Add {
        /// The tenant
        #[arg(long, value_name = "UUID", env = "TICKETWIRE_ORGANIZATION")]
        organization: Uuid,
        /// JSON, @file, or - for standard input
        #[arg(long)]
        data: String,
        /// Print its id alone
        #[arg(long)]
        quiet: bool,
    },
    /// All, oldest first
    List {
        /// Of one tenant: its id, or the beginning of it
        #[arg(long, value_name = "ID")]
        organization: Option<String>,
    },
    /// One, credentials masked
    Show {
        /// Its id, the beginning of it, or its name
        #[arg(value_name = "ID|NAME")]
        id: String,
    },
    /// Change what --data names (the data of integration.update), or one thing by its flag
    Update {
        /// Its id, the beginning of it, or its name
        #[arg(value_name = "ID|NAME")]
        id: String,
        /// JSON, @file, or -: what is mentioned changes, null unsets
        #[arg(long)]
        data: Option<String>,
        /// New name
        #[arg(long)]
        name: Option<String>,
        /// New API base
        #[arg(long)]
        base_url: Option<String>,
        /// JSON object to merge into the settings; null removes one
        #[arg(long)]
        settings: Option<String>,
        /// JSON object, @file or -: all of the credentials, in place of the old ones
        #[arg(long)]
        credentials: Option<String>,
    },
    /// Let it take work
    Enable {
        /// Its id, the beginning of it, or its name
        #[arg(value_name = "ID|NAME")]
        id: String,
    },
    /// Let it take no work
    Disable {
        /// Its id, the beginning of it, or its name
        #[arg(value_name = "ID|NAME")]
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Soft delete
    Delete {
        /// Its id, the beginning of it, or its name
        #[arg(value_name = "ID|NAME")]
        id: String,
    },
    /// Run the adapter's checks; activates a pending one when they pass
    Test {
        /// Its id, the beginning of it, or its name
        #[arg(value_name = "ID|NAME")]
        id: String,
        /// connection, authentication, permissions, create_ticket
        #[arg(long, value_delimiter = ',', default_values = IntegrationTest::USUAL)]
        tests: Vec<String>,
    },
    /// What is registered with the platform, so that it tells of changes; or what a person does
    /// for it
    Webhook {
        /// Its id, the beginning of it, or its name
        #[arg(value_name = "ID|NAME")]
        id: String,
        #[command(flatten)]
        what: webhook::What,
    },
}

impl Integration {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let store = context.store()?;
        match self.action {
            Action::Add {
                organization,
                data,
                quiet,
            } => add(context, &store, organization, &data, quiet).await,
            Action::List { organization } => list(context, &store, organization).await,
            Action::Show { id } => {
                let loaded = named(&store, &id).await?;
                let shown = crate::pipeline::show(&context.ring()?, &loaded);
                output::line(&if context.json {
                    shown.to_string()
                } else {
                    format!("{shown:#}")
                })?;
                Ok(())
            }
            Action::Update {
                id,
                data,
                name,
                base_url,
                settings,
                credentials,
            } => {
                let object = |what: &str, text: &str| -> Result<Map<String, Value>, Failed> {
                    let text = read_data(text)?;
                    serde_json::from_str(&text).map_err(|error| {
                        Failed::Usage(format!("--{what}: must be a JSON object: {error}"))
                    })
                };
                let mut fields = match data {
                    Some(text) => object("data", &text)?,
                    None => Map::new(),
                };
                for (field, value) in [("name", name), ("base_url", base_url)] {
                    if let Some(value) = value {
                        fields.insert(field.into(), value.into());
                    }
                }
                for (field, text) in [("settings", settings), ("credentials", credentials)] {
                    if let Some(text) = text {
                        fields.insert(field.into(), object(field, &text)?.into());
                    }
                }
                update(context, &store, &id, fields).await
            }
            Action::Enable { id } => set_enabled(context, &store, &id, true, None).await,
            Action::Disable { id, reason } => {
                set_enabled(context, &store, &id, false, reason).await
            }
            Action::Delete { id } => {
                let row = named(&store, &id).await?.integration;
                let planned = integrations::delete(&row);
                store.apply_now(&planned.change).await.map_err(failed)?;
                changed(context, row.id.uuid(), "deleted")
            }
            Action::Test { id, tests } => test(context, &store, &id, &tests).await,
            Action::Webhook { id, what } => what.execute(context, &store, &id).await,
        }
    }
}

fn changed(context: &Context, id: Uuid, did: &str) -> Result<(), Failed> {
    if context.json {
        return Ok(output::json(&json!({ "integration_id": id, "done": did }))?);
    }
    Ok(output::line(&format!("{id} {did}"))?)
}

fn none(id: Uuid) -> Failed {
    Failed::Operation(format!(
        "there is no integration {id}; `ticketwire integration list`"
    ))
}

/// The one that a person means.
async fn named(store: &Store, text: &str) -> Result<LoadedIntegration, Failed> {
    find(store, ids::find(store, Named::Integration, text).await?).await
}

async fn find(store: &Store, id: Uuid) -> Result<LoadedIntegration, Failed> {
    let found = store.integrations(&[id]).await.map_err(failed)?.pop();
    found
        .filter(|loaded| !loaded.is_deleted)
        .ok_or_else(|| none(id))
}

/// Changes an integration as `integration.update` would, without a worker.
async fn update(
    context: &Context,
    store: &Store,
    text: &str,
    mut fields: Map<String, Value>,
) -> Result<(), Failed> {
    if fields.is_empty() {
        return Err(Failed::Usage(
            "nothing to change: give --data, --name, --base-url, --settings or --credentials"
                .into(),
        ));
    }
    let loaded = named(store, text).await?;
    let row = &loaded.integration;
    let id = row.id.uuid();
    fields.insert("integration_id".into(), id.to_string().into());
    let mut faults = Faults::new();
    let parsed = Command::parse(CommandType::IntegrationUpdate, fields, &mut faults);
    let Some(Command::Admin(AdminCommand::UpdateIntegration(mut change))) = parsed else {
        return Err(Failed::Usage(listed(&faults)));
    };
    let ring = context.ring()?;
    if let Some(Some(secret)) = &change.webhook_secret {
        let organization = row
            .organization_id
            .ok_or_else(|| Failed::Operation("it belongs to no organization".into()))?;
        let sealed = integrations::seal_webhook_secret(&ring, organization, row.id, secret);
        change.webhook_secret = Some(Some(sealed.map_err(refused)?));
    }
    let now = chrono::Utc::now();
    let egress = EgressPolicy::from(&context.config.egress);
    let planned =
        integrations::update(&ring, &egress, row, &change, BY_HAND, now).map_err(refused)?;
    store.apply_now(&planned.change).await.map_err(failed)?;
    if context.json {
        return Ok(output::json(&planned.result)?);
    }
    warn(&planned)?;
    let status = find(store, id).await?.integration.status;
    Ok(output::line(&format!("{id} changed, {status}"))?)
}

async fn add(
    context: &Context,
    store: &Store,
    organization: Uuid,
    data: &str,
    quiet: bool,
) -> Result<(), Failed> {
    let text = read_data(data)?;
    let data: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| Failed::Usage(format!("--data: must be a JSON object: {error}")))?;
    let mut faults = Faults::new();
    let parsed = Command::parse(CommandType::IntegrationCreate, data, &mut faults);
    let Some(Command::Admin(AdminCommand::CreateIntegration(mut create))) = parsed else {
        return Err(Failed::Usage(listed(&faults)));
    };
    let id = IntegrationId::new(Uuid::now_v7());
    let organization = OrganizationId::new(organization);
    let ring = context.ring()?;
    if let Some(secret) = &create.webhook_secret {
        let sealed = integrations::seal_webhook_secret(&ring, organization, id, secret);
        create.webhook_secret = Some(sealed.map_err(refused)?);
    }
    let egress = EgressPolicy::from(&context.config.egress);
    let planned =
        integrations::create(&ring, &egress, organization, id, &create).map_err(|failure| {
            // As any other fault of --data.
            if failure.code == ErrorCode::ValidationFailed {
                Failed::Usage(listed(&failure.fields))
            } else {
                refused(failure)
            }
        })?;
    store.apply_now(&planned.change).await.map_err(failed)?;
    if context.json {
        return Ok(output::json(&planned.result)?);
    }
    if quiet {
        // What a person should know still goes where people look.
        for warning in warnings(&planned) {
            output::note(&format!("warning: {warning}"));
        }
        return Ok(output::line(&id.to_string())?);
    }
    warn(&planned)?;
    let status = find(store, id.uuid()).await?.integration.status;
    Ok(output::line(&format!(
        "{id} added, {status}; `ticketwire integration test {id}` activates it"
    ))?)
}

/// What was taken, and a person should know about.
fn warnings(planned: &Planned) -> impl Iterator<Item = &str> {
    let warnings = planned.result["warnings"].as_array();
    warnings.into_iter().flatten().filter_map(Value::as_str)
}

fn warn(planned: &Planned) -> Result<(), Failed> {
    for warning in warnings(planned) {
        output::line(&format!("warning: {warning}"))?;
    }
    Ok(())
}

fn refused(failure: Failure) -> Failed {
    Failed::Operation(failure.message)
}

fn listed(faults: &Faults) -> String {
    faults
        .iter()
        .map(|(name, fault)| format!("{name} {fault}"))
        .collect::<Vec<_>>()
        .join("\n  ")
}

async fn list(
    context: &Context,
    store: &Store,
    organization: Option<String>,
) -> Result<(), Failed> {
    let organization = match organization {
        Some(text) => Some(ids::find(store, Named::Organization, &text).await?),
        None => None,
    };
    let mut filter = IntegrationList::all();
    let mut rows = Vec::new();
    loop {
        let page = store
            .list_integrations(organization.map(OrganizationId::new), &filter)
            .await
            .map_err(failed)?;
        rows.extend(page.items);
        match page.next_cursor {
            Some(cursor) => filter.cursor = Some(cursor),
            None => break,
        }
    }
    if context.json {
        let ring = context.ring()?;
        let shown: Vec<Value> = rows
            .iter()
            .map(|loaded| crate::pipeline::show(&ring, loaded))
            .collect();
        return Ok(output::json(&shown.into())?);
    }
    let rows: Vec<Vec<Cell>> = rows
        .iter()
        .map(|loaded| {
            let row = &loaded.integration;
            vec![
                Cell::from(row.id.uuid()),
                row.name.clone().into(),
                Cell::word(&row.platform_name),
                Cell::state(if row.enabled { "enabled" } else { "disabled" }),
                Cell::state(row.status),
                Cell::state(row.health),
                row.organization_id.map(OrganizationId::uuid).into(),
            ]
        })
        .collect();
    let heading = [
        column("ID"),
        column("NAME"),
        column("PLATFORM"),
        column(""),
        column("STATUS"),
        column("HEALTH"),
        column("ORGANIZATION").extra(),
    ];
    Ok(output::table(&context.layout, &heading, &rows)?)
}

async fn set_enabled(
    context: &Context,
    store: &Store,
    text: &str,
    enabled: bool,
    reason: Option<String>,
) -> Result<(), Failed> {
    let row = named(store, text).await?.integration;
    let id = row.id.uuid();
    let now = chrono::Utc::now();
    let planned = integrations::set_enabled(&row, enabled, reason, BY_HAND, now);
    store.apply_now(&planned.change).await.map_err(failed)?;
    let status = find(store, id).await?.integration.status;
    changed(
        context,
        id,
        &format!(
            "{}, now {status}",
            if enabled { "enabled" } else { "disabled" }
        ),
    )
}

async fn test(
    context: &Context,
    store: &Store,
    text: &str,
    tests: &[String],
) -> Result<(), Failed> {
    let unknown = |name: &&String| TestKind::parse(name).is_none();
    if let Some(name) = tests.iter().find(unknown) {
        let fault = format!("--tests {name}: must be of {}", TestKind::names());
        return Err(Failed::Usage(fault));
    }
    let checks = Checks::of(tests);
    let loaded = named(store, text).await?;
    let line = Line::new(context)?;
    let connected = line.connect(store, loaded).await;
    let (row, tokens) = (connected.row(), connected.source());
    let adapter = connected.adapter().map_err(refused)?;
    let outcome = integrations::run_checks(adapter, &checks, || line.to(&connected, &tokens)).await;
    let now = chrono::Utc::now();
    let planned = integrations::test(row, &outcome, true, BY_HAND, now);
    store.apply_now(&planned.change).await.map_err(failed)?;
    let status = find(store, row.id.uuid()).await?.integration.status;
    let reports = outcome.checks.iter().map(|checked| {
        let said = match &checked.outcome {
            Ok(report) => &report.message,
            Err(error) => &error.public,
        };
        (checked.kind, checked.outcome.is_ok(), said)
    });
    let error = outcome.error();
    if context.json {
        let tests: Vec<Value> = reports
            .map(|(kind, ok, message)| json!({ "test": kind, "success": ok, "message": message }))
            .collect();
        output::json(
            &json!({ "success": error.is_none(), "tests": tests, "status_before": row.status,
                "status_after": status }),
        )?;
    } else {
        for (kind, ok, message) in reports {
            output::line(&format!(
                "{:<5} {kind:<15} {message}",
                if ok { "ok" } else { "FAULT" }
            ))?;
        }
        output::line(&format!("status: {} → {status}", row.status))?;
    }
    error.map_or(Ok(()), |error| Err(Failed::Operation(error)))
}
