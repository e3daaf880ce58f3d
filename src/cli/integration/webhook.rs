//! `ticketwire integration webhook`

use clap::Args;
use serde_json::{Value, json};

use super::super::output::{self, Cell, column};
use super::super::{Context, Failed, failed};
use super::line::Line;
use super::{named, refused};
use crate::domain::WebhookAction;
use crate::integrations::{WebhookRefusal, Webhooks, webhook_address};
use crate::platforms::inbound::steps;
use crate::store::Store;

/// What is done; without a flag, what is noted is shown.
#[derive(Args)]
#[group(multiple = false)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "flags, of which one at most is given"
)]
pub(super) struct What {
    /// See to it that one is registered with the address in force
    #[arg(long)]
    register: bool,
    /// Ask the platform how it does, and renew it where that is due
    #[arg(long)]
    check: bool,
    /// Register a new one with a secret of its own, then remove the old
    #[arg(long)]
    rotate: bool,
    /// Remove it
    #[arg(long)]
    remove: bool,
    /// Have deliveries that failed sent again
    #[arg(long)]
    redeliver: bool,
    /// Print what a person does at the platform
    #[arg(long)]
    print: bool,
}

impl What {
    const fn action(&self) -> Option<WebhookAction> {
        match self {
            Self { register: true, .. } => Some(WebhookAction::Register),
            Self { check: true, .. } => Some(WebhookAction::Check),
            Self { rotate: true, .. } => Some(WebhookAction::Rotate),
            Self { remove: true, .. } => Some(WebhookAction::Remove),
            Self {
                redeliver: true, ..
            } => Some(WebhookAction::Redeliver),
            Self { .. } => None,
        }
    }

    pub(super) async fn execute(
        &self,
        context: &Context,
        store: &Store,
        text: &str,
    ) -> Result<(), Failed> {
        let loaded = named(store, text).await?;
        let public_url = context.config.http.webhook_public_url.as_ref();
        if self.print {
            let address = public_url.map(|url| webhook_address(url, loaded.integration.id));
            let address = address.ok_or_else(|| {
                let text = "http.webhook_public_url is not set: it is the address by which \
                            platforms reach http.webhook_listen, e.g. https://hooks.example.com";
                Failed::Operation(text.into())
            })?;
            let steps = steps(&loaded.integration, &address);
            return if context.json {
                Ok(output::json(
                    &json!({ "address": address, "instructions": steps }),
                )?)
            } else {
                Ok(output::line(&steps)?)
            };
        }
        let line = Line::new(context)?;
        let connected = line.connect(store, loaded).await;
        let tokens = connected.source();
        let webhooks = Webhooks {
            store,
            ring: line.ring(),
            driver: connected.adapter().map_err(refused)?,
            row: connected.row(),
            public_url,
            owner: None,
        };
        let result = match self.action() {
            Some(action) => {
                let done = webhooks.run(action, || line.to(&connected, &tokens)).await;
                done.map_err(not_done)?.result
            }
            None => webhooks.shown().await.map_err(not_done)?,
        };
        if context.json {
            return Ok(output::json(&result)?);
        }
        show(context, &result)
    }
}

fn not_done(refusal: WebhookRefusal) -> Failed {
    match refusal {
        WebhookRefusal::Ours(failure) => refused(failure),
        WebhookRefusal::Platform(error) => Failed::Operation(error.public),
        WebhookRefusal::Store(error) => failed(error),
    }
}

fn show(context: &Context, result: &Value) -> Result<(), Failed> {
    for warning in result["warnings"].as_array().into_iter().flatten() {
        output::line(&format!(
            "warning: {}",
            warning.as_str().unwrap_or_default()
        ))?;
    }
    if let Some(steps) = result["instructions"].as_str() {
        return Ok(output::line(steps)?);
    }
    let said = match result["action"].as_str() {
        Some("register") if result["created"] == false => "it is registered already",
        Some("register") => "registered",
        Some("rotate") => "a new one is registered; the old secret stays good for 24 hours",
        Some("remove") => "removed",
        _ => "",
    };
    if !said.is_empty() {
        output::line(said)?;
    }
    if result["action"] == "redeliver" {
        let (lost, asked) = (&result["lost"], &result["asked_for"]);
        output::line(&format!(
            "{lost} deliveries were lost, {asked} are sent again"
        ))?;
    }
    let Some(rows) = result["webhooks"]
        .as_array()
        .filter(|rows| !rows.is_empty())
    else {
        return Ok(output::line(nothing(result))?);
    };
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("–").to_owned();
    let rows: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            vec![
                Cell::from(text(row, "external_id")),
                Cell::state(text(row, "state")),
                text(row, "url").into(),
                text(row, "expires_at").into(),
                text(row, "last_seen_at").into(),
                text(row, "last_error").into(),
            ]
        })
        .collect();
    let heading = [
        column("WEBHOOK"),
        column("STATE"),
        column("ADDRESS"),
        column("ENDS").extra(),
        column("LAST DELIVERY").extra(),
        column("FAULT"),
    ];
    Ok(output::table(&context.layout, &heading, &rows)?)
}

/// What is said where nothing is registered.
fn nothing(result: &Value) -> &'static str {
    if result["by_interface"] == true {
        "no webhook is registered; --register makes one"
    } else {
        "http.webhook_public_url is not set, so no steps can be printed: it is the address by \
         which platforms reach http.webhook_listen"
    }
}
