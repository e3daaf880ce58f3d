//! `ticketwire command`

mod retry;

use chrono::{DateTime, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use self::retry::Retry;
use super::output::{self, Cell, column};
use super::{Context, Failed, failed, ids, moment, queue};
use crate::domain::{CommandId, CommandState, CommandType, ErrorCode, WaitReason, WireEnum};
use crate::store::{AttemptRow, CommandFilter, CommandRow, Named, Store};

/// Why a command waits that only waits for another one.
const TURN: &str = "waits for its ticket's turn";

/// The life of commands: what was tried, what it met, when it runs next and what decided that.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire command list --state deferred
  ticketwire command show 0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e
  ticketwire command retry 0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e")]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Commands, newest first
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u16,
    },
    /// One command with its attempts
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    Retry(Retry),
    /// Cancel a command that has not started
    Cancel {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Say how a command of unknown outcome came out
    #[command(group = clap::ArgGroup::new("what became of it").required(true).args(["happened",
        "did_not_happen"]))]
    Resolve {
        /// Its id, or the beginning of it
        id: String,
        /// It happened: what a person would quote of it
        #[arg(long, value_name = "EXTERNAL_ID")]
        happened: Option<String>,
        /// It did not happen: it may be sent again
        #[arg(long)]
        did_not_happen: bool,
    },
}

#[derive(Args)]
struct Filter {
    /// In this state
    #[arg(long, value_parser = names_of::<CommandState>())]
    state: Option<String>,
    /// Of this integration: its id, the beginning of it, or its name
    #[arg(long, value_name = "ID|NAME")]
    integration: Option<String>,
    /// Of this ticket: its id, or the beginning of it
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
    /// With this last error: a code of the contract
    #[arg(long, value_parser = names_of::<ErrorCode>(), hide_possible_values = true)]
    code: Option<String>,
    /// Of this type, e.g. ticket.create
    #[arg(long, value_name = "TYPE", value_parser = names_of::<CommandType>(),
        hide_possible_values = true)]
    r#type: Option<String>,
    /// Received since: a time, or how long ago (2h)
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    since: Option<DateTime<Utc>>,
    /// Received before: a time, or how long ago (2h)
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    until: Option<DateTime<Utc>>,
}

/// Takes the names of a closed set and no other: a refusal lists them.
fn names_of<T: WireEnum>() -> PossibleValuesParser {
    PossibleValuesParser::new(T::all_spellings())
}

impl Filter {
    async fn wanted(&self, store: &Store) -> Result<CommandFilter, Failed> {
        let integration_id = match &self.integration {
            Some(text) => Some(ids::find(store, Named::Integration, text).await?),
            None => None,
        };
        let ticket_id = match &self.ticket {
            Some(text) => Some(ids::find(store, Named::Ticket, text).await?),
            None => None,
        };
        Ok(CommandFilter {
            state: self.state.clone(),
            integration_id,
            ticket_id,
            error_code: self.code.clone(),
            command_type: self.r#type.clone(),
            since: self.since,
            until: self.until,
        })
    }

    fn is_empty(&self) -> bool {
        self.state.is_none()
            && self.integration.is_none()
            && self.ticket.is_none()
            && self.code.is_none()
            && self.r#type.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }
}

impl Command {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let store = context.store()?;
        match self.action {
            Action::List { filter, limit } => {
                let rows = store
                    .commands(&filter.wanted(&store).await?, i64::from(limit))
                    .await
                    .map_err(failed)?;
                if context.json {
                    return Ok(output::json(&json!(rows))?);
                }
                let rows: Vec<Vec<Cell>> = rows.iter().map(table_row).collect();
                let heading = [
                    column("ID"),
                    column("TYPE"),
                    column("STATE"),
                    column("RUN/ATTEMPT").or("TRY").extra(),
                    column("PLATFORM").or("AT"),
                    column("EXTERNAL").or("ITEM"),
                    column("RECEIVED").or("AGE"),
                    column("NEXT"),
                    column("WHY"),
                ];
                Ok(output::table(&context.layout, &heading, &rows)?)
            }
            Action::Show { id } => match ids::look_up(&store, Named::Command, &id, None).await? {
                Some(id) => show(context, &store, id).await,
                None => Err(absent(context, &format!("whose id begins with {id}")).await),
            },
            Action::Retry(retry) => retry.execute(context, &store).await,
            Action::Cancel { id } => {
                let id = ids::find(&store, Named::Command, &id).await?;
                let done = store
                    .cancel_command(CommandId::new(id))
                    .await
                    .map_err(failed)?;
                acted(
                    context,
                    done,
                    id,
                    "is cancelled",
                    "has started, is finished, or may have been sent already",
                )
            }
            Action::Resolve {
                id,
                happened,
                did_not_happen: _,
            } => {
                let id = ids::find(&store, Named::Command, &id).await?;
                let done = store
                    .resolve_command(CommandId::new(id), happened.as_deref())
                    .await
                    .map_err(failed)?;
                acted(
                    context,
                    done,
                    id,
                    "is resolved",
                    "is not of unknown outcome",
                )
            }
        }
    }
}

fn acted(context: &Context, done: bool, id: Uuid, did: &str, cannot: &str) -> Result<(), Failed> {
    if !done {
        return Err(Failed::Operation(format!(
            "{id} {cannot}, or does not exist; `ticketwire command show {id}`"
        )));
    }
    if context.json {
        return Ok(output::json(&json!({ "command_id": id, "done": did }))?);
    }
    Ok(output::line(&format!("{id} {did}"))?)
}

fn table_row(row: &CommandRow) -> Vec<Cell> {
    vec![
        Cell::from(row.id),
        Cell::word(&row.r#type),
        Cell::state(&row.state),
        Cell::word(format!("{}/{}", row.run, row.attempt)),
        Cell::word(row.platform_name.as_deref().unwrap_or_default()),
        row.external_ticket_id.clone().into(),
        row.received_at.into(),
        next_of(row).map_or_else(Cell::empty, Cell::Due),
        why(row).into(),
    ]
}

/// When it runs next: of one that is held, when the hold ends.
pub(super) fn next_of(row: &CommandRow) -> Option<DateTime<Utc>> {
    match &row.held {
        Some(hold) => hold.until,
        None => row.retry_at,
    }
}

/// Why it waits or has failed: what holds it, then its last error, then what decided when it runs.
pub(super) fn why(row: &CommandRow) -> String {
    let message = row
        .error
        .as_ref()
        .and_then(|error| error["message"].as_str());
    match (&row.held, &row.error_code) {
        (Some(hold), _) => format!("{}: {}", hold.reason.as_str(), hold.text),
        (None, Some(code)) => format!("{code}: {}", message.unwrap_or_default()),
        (None, None) if row.waits_for_turn => TURN.to_owned(),
        (None, None) if row.retry_at.is_some() => row.decided_by.clone().unwrap_or_default(),
        (None, None) => String::new(),
    }
}

/// What a person said of a command of unknown outcome.
#[derive(serde::Serialize)]
struct Decision {
    /// When, as far as that is stored.
    at: Option<String>,
    by: String,
    what: String,
}

/// What people decided about a command (`command resolve`), as far as the ledger keeps it.
fn decisions(row: &CommandRow, attempts: &[AttemptRow]) -> Vec<Decision> {
    let is_resolved = |reason: Option<&str>| reason == Some(WaitReason::Resolved.as_str());
    let not_happened = |at: Option<DateTime<Utc>>| Decision {
        at: at.map(|at| at.to_rfc3339()),
        by: "an operator".into(),
        what: "it did not happen, so that it is sent again (command resolve)".into(),
    };
    let mut all: Vec<Decision> = attempts
        .iter()
        .filter(|attempt| is_resolved(attempt.wait_reason.as_deref()))
        .map(|attempt| not_happened(attempt.retry_at))
        .collect();
    // What a process died of has no attempt on record.
    if all.is_empty() && is_resolved(row.wait_reason.as_deref()) {
        all.push(not_happened(row.retry_at));
    }
    let event = row.final_event.as_ref();
    let result = event.map(|event| &event["data"]["result"]["integration_result"]);
    if let (Some(event), Some(result)) = (event, result)
        && let Some(by) = result["details"]["resolved_by"].as_str()
    {
        let external = result["external_ticket_id"].as_str().unwrap_or_default();
        all.push(Decision {
            at: event["time"].as_str().map(str::to_owned),
            by: by.to_owned(),
            what: format!("it happened, as {external} (command resolve)"),
        });
    }
    all
}

/// A command that was published and is not in the ledger may still be in its queue.
async fn absent(context: &Context, which: &str) -> Failed {
    let elsewhere = queue::elsewhere(context).await;
    Failed::Operation(format!(
        "there is no command {which} in the ledger; {elsewhere}; if it was rejected, see \
         `ticketwire dead list`"
    ))
}

async fn show(context: &Context, store: &crate::store::Store, id: Uuid) -> Result<(), Failed> {
    let found = store.command(CommandId::new(id)).await.map_err(failed)?;
    let Some((row, attempts)) = found else {
        return Err(absent(context, &id.to_string()).await);
    };
    if context.json {
        return Ok(output::json(
            &json!({ "command": row, "attempts": attempts, "decisions": decisions(&row,
                &attempts) }),
        )?);
    }
    output::line(&format!("{} {}", row.r#type, row.id))?;
    let state = if row.waits_for_turn {
        format!("pending: {TURN}")
    } else {
        row.state.clone()
    };
    let line = |name: &str, value: String| context.layout.prose(&format!("  {name:<14} "), &value);
    line("state", state)?;
    line("organization", row.organization_id.to_string())?;
    for (name, id) in [
        ("integration", row.integration_id),
        ("ticket", row.ticket_id),
    ] {
        if let Some(id) = id {
            line(name, id.to_string())?;
        }
    }
    for (name, value) in made(&row) {
        line(name, value)?;
    }
    line("received", row.received_at.to_rfc3339())?;
    if let Some(hold) = &row.held {
        let (name, value) = match hold.until {
            Some(at) => ("runs next", format!("{} ({})", at.to_rfc3339(), hold.text)),
            None => ("waits for", hold.text.clone()),
        };
        line(name, value)?;
    } else if let Some(at) = row.retry_at {
        line(
            "runs next",
            format!(
                "{} ({})",
                at.to_rfc3339(),
                row.decided_by.as_deref().unwrap_or("at once")
            ),
        )?;
    }
    if let Some(since) = row.doubt_since {
        line(
            "in doubt since",
            format!(
                "{}: nobody knows whether it happened; {} look-ups",
                since.to_rfc3339(),
                row.lookups
            ),
        )?;
    }
    if row.deaths > 0 {
        line(
            "deaths",
            format!("{} processes died while running it alone", row.deaths),
        )?;
    }
    if let Some(error) = row
        .error
        .as_ref()
        .and_then(|error| error["message"].as_str())
    {
        line(
            "error",
            format!("{}: {error}", row.error_code.as_deref().unwrap_or_default()),
        )?;
    }
    for decision in decisions(&row, &attempts) {
        let at = decision.at.map_or_else(String::new, |at| format!("{at}: "));
        line(
            "decided",
            format!("{at}{} said that {}", decision.by, decision.what),
        )?;
    }
    if let Some(at) = row.finished_at {
        line("finished", at.to_rfc3339())?;
    }
    let rows: Vec<Vec<Cell>> = attempts
        .iter()
        .map(|attempt| {
            let status = attempt.http_status.map(|status| status.to_string());
            vec![
                Cell::word(format!("{}/{}", attempt.run, attempt.attempt)),
                Cell::Instant(attempt.started_at),
                Cell::word(format!("{} ms", attempt.duration_ms)),
                Cell::state(&attempt.outcome),
                Cell::word(status.unwrap_or_default()),
                attempt.error_code.clone().into(),
                attempt.decided_by.clone().into(),
                attempt.worker.clone().into(),
            ]
        })
        .collect();
    let heading = [
        column("ATTEMPT").or("TRY"),
        column("STARTED").or("AGE"),
        column("TOOK"),
        column("OUTCOME"),
        column("HTTP"),
        column("ERROR"),
        column("NEXT BY"),
        column("WORKER").extra(),
    ];
    Ok(output::table(&context.layout, &heading, &rows)?)
}

/// What was made at the platform, and what the platform's answer leaves to say: what was left out,
/// cut, found already done.
fn made(row: &CommandRow) -> Vec<(&'static str, String)> {
    let event = row.final_event.as_ref();
    let result = event.map(|event| &event["data"]["result"]["integration_result"]);
    let Some(result) = result.filter(|result| result.is_object()) else {
        let item = row.external_ticket_id.iter();
        return item.map(|item| ("item", item.clone())).collect();
    };
    let words = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let item: Vec<&str> = ["external_ticket_id", "external_ticket_url"]
        .iter()
        .filter_map(|name| result[name].as_str())
        .collect();
    let mut made = Vec::new();
    if !item.is_empty() {
        made.push(("item", item.join(" ")));
    }
    let details = result["details"].as_object();
    for (name, value) in details.into_iter().flatten() {
        made.push(("details", format!("{name}: {}", words(value))));
    }
    made
}
