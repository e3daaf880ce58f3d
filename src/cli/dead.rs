//! `ticketwire dead`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, Cell, column};
use super::{Context, Failed, failed};
use crate::broker;
use crate::domain::MASK;
use crate::store::{DeadLetter, DeadLetterRow};

/// Messages that could not become commands, and those the broker gave up on.
#[derive(Args)]
pub(super) struct Dead {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// The latest, newest first
    List {
        /// Only with this reason, e.g. invalid_command
        #[arg(long)]
        reason: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u16,
    },
    /// One, with its payload (masked: secrets, and what has no place in the contract)
    Show {
        /// Its number
        id: i64,
    },
    /// Publish it again under its routing key, then forget it; not where something in it is masked
    Replay {
        /// Its number
        id: i64,
    },
    /// Forget it
    Drop {
        /// Their numbers
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

impl Dead {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let store = context.store()?;
        match self.action {
            Action::List { reason, limit } => {
                let rows = store
                    .dead_letters(reason.as_deref(), i64::from(limit))
                    .await
                    .map_err(failed)?;
                if let Some(reason) = reason.filter(|_| rows.is_empty()) {
                    check_reason(&store, &reason).await?;
                }
                if context.json {
                    return Ok(output::json(
                        &rows.iter().map(as_json).collect::<Vec<_>>().into(),
                    )?);
                }
                let rows: Vec<Vec<Cell>> = rows
                    .iter()
                    .map(|row| {
                        vec![
                            Cell::word(row.id),
                            row.received_at.into(),
                            Cell::word(&row.letter.reason),
                            row.letter.routing_key.clone().into(),
                            row.letter.message.clone().into(),
                        ]
                    })
                    .collect();
                let heading = [
                    column("ID"),
                    column("RECEIVED").or("AGE"),
                    column("REASON"),
                    column("ROUTING KEY"),
                    column("MESSAGE"),
                ];
                Ok(output::table(&context.layout, &heading, &rows)?)
            }
            Action::Show { id } => {
                let row = find(&store, id).await?;
                let shown = as_json(&row);
                output::line(&if context.json {
                    shown.to_string()
                } else {
                    format!("{shown:#}")
                })?;
                Ok(())
            }
            Action::Replay { id } => {
                let row = find(&store, id).await?;
                if let Some(why) = unplayable(&row.letter) {
                    let text = format!("{why}; publish the command anew instead");
                    return Err(Failed::Operation(text));
                }
                let topology = context.topology();
                let connection = broker::connect_tool(&context.config.amqp.url, &topology)
                    .await
                    .map_err(failed)?;
                let published = broker::publish_one(
                    &connection,
                    &topology,
                    &row.letter.routing_key,
                    &row.letter.payload,
                )
                .await;
                published.map_err(failed)?;
                store.drop_dead_letters(&[id]).await.map_err(failed)?;
                done(context, &format!("published {id} again"))
            }
            Action::Drop { ids } => {
                let dropped = store.drop_dead_letters(&ids).await.map_err(failed)?;
                let absent: Vec<String> = ids
                    .iter()
                    .filter(|id| !dropped.contains(id))
                    .map(i64::to_string)
                    .collect();
                done(context, &format!("dropped {}", dropped.len()))?;
                if absent.is_empty() {
                    return Ok(());
                }
                Err(Failed::Operation(format!(
                    "there is no dead letter {}; `ticketwire dead list`",
                    absent.join(", ")
                )))
            }
        }
    }
}

/// The broker has reasons of its own, and versions of it more of them: what is neither one of ours
/// nor kept is a typo.
const REASONS: [&str; 8] = [
    "invalid_command",
    "unknown_type",
    "idempotency_conflict",
    "unroutable",
    "expired",
    "delivery_limit",
    "maxlen",
    "rejected",
];

async fn check_reason(store: &crate::store::Store, reason: &str) -> Result<(), Failed> {
    if REASONS.contains(&reason) {
        return Ok(());
    }
    let mut known: Vec<String> = REASONS.iter().map(|&name| name.to_owned()).collect();
    known.extend(store.dead_letter_reasons().await.map_err(failed)?);
    known.sort_unstable();
    known.dedup();
    Err(Failed::Usage(format!(
        "--reason {reason:?} is none of {}",
        known.join(", ")
    )))
}

/// Why a message cannot be published again, if so: what was masked is nowhere.
fn unplayable(letter: &DeadLetter) -> Option<&'static str> {
    if letter.payload.starts_with(MASK) {
        Some("its payload was no JSON, and only its shape is kept")
    } else if letter.payload.contains(MASK) {
        Some("its payload holds masked values (••••)")
    } else if letter.routing_key.contains(MASK) {
        Some("its routing key is masked (••••)")
    } else {
        None
    }
}

fn done(context: &Context, text: &str) -> Result<(), Failed> {
    if context.json {
        Ok(output::json(&json!({ "done": text }))?)
    } else {
        Ok(output::line(text)?)
    }
}

async fn find(store: &crate::store::Store, id: i64) -> Result<DeadLetterRow, Failed> {
    let found = store.dead_letter(id).await.map_err(failed)?;
    found.ok_or_else(|| {
        Failed::Operation(format!(
            "there is no dead letter {id}; `ticketwire dead list`"
        ))
    })
}

fn as_json(row: &DeadLetterRow) -> Value {
    let letter = &row.letter;
    json!({
        "id": row.id, "received_at": row.received_at, "reason": letter.reason,
        "message": letter.message,
        "command_id": letter.command_id, "organization_id": letter.organization_id,
        "origin": letter.origin,
        "routing_key": letter.routing_key, "headers": letter.headers,
        "content_type": letter.content_type,
        "payload": letter.payload,
    })
}
