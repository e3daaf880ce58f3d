//! `ticketwire keys`

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Failed, failed, output};
use crate::contract::IntegrationList;
use crate::secrets::{self, Binding, KeyRing};
use crate::store::IntegrationChange;

/// Keys that seal credentials.
#[derive(Args)]
#[command(after_help = "Example:
  export TICKETWIRE__SECRETS__KEYS=$(ticketwire keys generate)")]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print a new key for secrets.keys
    Generate {
        /// Its name in sealed values
        #[arg(long, default_value = "k1")]
        id: String,
    },
    /// Seal everything anew under the first key
    Rotate,
}

impl Keys {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        match self.action {
            Action::Generate { id } => {
                let key = secrets::generate(&id);
                KeyRing::parse(&[key.clone().into()]).map_err(Failed::Usage)?;
                if context.json {
                    Ok(output::json(&json!({ "key": key }))?)
                } else {
                    Ok(output::line(&key)?)
                }
            }
            Action::Rotate => rotate(context).await,
        }
    }
}

async fn rotate(context: &Context) -> Result<(), Failed> {
    let ring = context.ring()?;
    let Some(first) = ring.sealing_key().map(str::to_owned) else {
        return Err(Failed::Usage(
            "secrets.keys is empty; `ticketwire keys generate` makes a key".into(),
        ));
    };
    let store = context.store()?;
    let mut filter = IntegrationList::all();
    let (mut resealed, mut left, mut unreadable) = (0u32, 0u32, Vec::new());
    loop {
        let page = store
            .list_integrations(None, &filter)
            .await
            .map_err(failed)?;
        for loaded in &page.items {
            let row = &loaded.integration;
            let (Some(sealed), Some(organization)) = (&row.credentials_sealed, row.organization_id)
            else {
                continue;
            };
            if KeyRing::key_of(sealed) == Some(first.as_str()) {
                left += 1;
                continue;
            }
            let binding = Binding {
                organization,
                integration: row.id,
                column: "credentials_encrypted",
            };
            let anew = ring
                .open(&binding, sealed)
                .map_err(|error| error.to_string());
            match anew.and_then(|plain| {
                ring.seal(&binding, &plain)
                    .map_err(|error| error.to_string())
            }) {
                Ok(credentials) => {
                    let change = IntegrationChange {
                        credentials_sealed: Some(credentials),
                        ..IntegrationChange::default()
                    };
                    store
                        .change_integration(row.id, &change)
                        .await
                        .map_err(failed)?;
                    resealed += 1;
                }
                Err(error) => unreadable.push(json!({ "integration_id": row.id, "error": error })),
            }
        }
        match page.next_cursor {
            Some(cursor) => filter.cursor = Some(cursor),
            None => break,
        }
    }
    if context.json {
        output::json(
            &json!({ "key": first, "resealed": resealed, "already": left, "unreadable": unreadable }),
        )?;
    } else {
        output::line(&format!(
            "{resealed} resealed under {first}, {left} were already"
        ))?;
        for item in &unreadable {
            output::line(&format!("unreadable: {item}"))?;
        }
    }
    if unreadable.is_empty() {
        Ok(())
    } else {
        Err(Failed::Operation("some credentials cannot be read".into()))
    }
}
