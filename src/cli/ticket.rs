//! `ticketwire ticket`

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::output::{self, Cell, column};
use super::{Context, Failed, failed, ids};
use crate::contract::{Command, CommandType, Faults, ReadCommand, TicketSearch};
use crate::domain::{OrganizationId, TicketId};
use crate::store::{CommandFilter, Named, Searched, Store};

/// Most commands of a ticket that `show` lists.
const COMMANDS_SHOWN: i64 = 100;

/// Tickets, directly from the database.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire ticket list --organization $ORG --status open --sort-by updated_at
  ticketwire ticket list --q 'printer -paper' --created-after 2026-01-31T00:00:00Z
  ticketwire ticket list --q SUP-17
  ticketwire ticket show 9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10")]
pub(super) struct Ticket {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Tickets that match, newest first; what ticket.search answers
    List(Box<List>),
    /// One in full, with its commands
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
}

#[derive(Args)]
struct List {
    /// Of one tenant: its id, or the beginning of it
    #[arg(long, value_name = "ID")]
    organization: Option<String>,
    /// Words of title and description ("a phrase", or, -not), or exactly the external id
    #[arg(long, value_name = "WORDS")]
    q: Option<String>,
    /// new, open, in_progress, pending, resolved, closed or cancelled
    #[arg(long)]
    status: Option<String>,
    /// technical, billing, bug, …
    #[arg(long)]
    category: Option<String>,
    /// low, medium, high or critical
    #[arg(long)]
    priority: Option<String>,
    /// low, medium, high or critical
    #[arg(long)]
    urgency: Option<String>,
    /// Of exactly this department
    #[arg(long)]
    department: Option<String>,
    /// Bound to this integration: its id, the beginning of it, or its name
    #[arg(long, value_name = "ID|NAME")]
    integration: Option<String>,
    /// Created at this time (2026-01-31T12:00:00Z) or later
    #[arg(long, value_name = "TIME")]
    created_after: Option<String>,
    /// Created before this time
    #[arg(long, value_name = "TIME")]
    created_before: Option<String>,
    /// Changed at this time or later
    #[arg(long, value_name = "TIME")]
    updated_after: Option<String>,
    /// Last changed before this time
    #[arg(long, value_name = "TIME")]
    updated_before: Option<String>,
    /// created_at or updated_at
    #[arg(long)]
    sort_by: Option<String>,
    /// asc or desc
    #[arg(long)]
    sort_order: Option<String>,
    /// At most so many, up to 100
    #[arg(long)]
    limit: Option<u16>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

impl Ticket {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let store = context.store()?;
        match self.action {
            Action::List(wanted) => list(context, &store, *wanted).await,
            Action::Show { id } => {
                let id = ids::find(&store, Named::Ticket, &id).await?;
                show(context, &store, TicketId::new(id)).await
            }
        }
    }
}

impl List {
    /// The same search as a command's, validated by the same rules.
    fn search(self) -> Result<TicketSearch, Failed> {
        let mut data = Map::new();
        for (name, value) in [
            ("q", self.q),
            ("status", self.status),
            ("category", self.category),
            ("priority", self.priority),
            ("urgency", self.urgency),
            ("department", self.department),
            ("integration_id", self.integration),
            ("created_after", self.created_after),
            ("created_before", self.created_before),
            ("updated_after", self.updated_after),
            ("updated_before", self.updated_before),
            ("sort_by", self.sort_by),
            ("sort_order", self.sort_order),
            ("cursor", self.cursor),
        ] {
            if let Some(value) = value {
                data.insert(name.into(), Value::String(value));
            }
        }
        if let Some(limit) = self.limit {
            data.insert("limit".into(), json!(limit));
        }
        let mut faults = Faults::new();
        match Command::parse(CommandType::TicketSearch, data, &mut faults) {
            Some(Command::Read(ReadCommand::Search(search))) => Ok(*search),
            _ => {
                let flag = |name: &str| match name {
                    "integration_id" => "integration".to_owned(),
                    name => name.replace('_', "-"),
                };
                let listed: Vec<String> = faults
                    .iter()
                    .map(|(name, fault)| format!("--{} {fault}", flag(name)))
                    .collect();
                Err(Failed::Usage(listed.join("\n  ")))
            }
        }
    }
}

async fn list(context: &Context, store: &Store, mut wanted: List) -> Result<(), Failed> {
    let organization = match &wanted.organization {
        Some(text) => Some(ids::find(store, Named::Organization, text).await?),
        None => None,
    };
    let organization = organization.map(OrganizationId::new);
    if let Some(text) = &wanted.integration {
        let id = ids::find(store, Named::Integration, text).await?;
        wanted.integration = Some(id.to_string());
    }
    let search = wanted.search()?;
    let found = store
        .search_tickets(organization, &search)
        .await
        .map_err(failed)?;
    let page = match found {
        Searched::Page(page) => page,
        Searched::TooSlow => {
            return Err(Failed::Operation(
                "the search took too long and was ended; narrow it: --organization, rarer \
                 words, another filter, or a span by --created-after and --created-before"
                    .into(),
            ));
        }
        Searched::Busy => {
            return Err(Failed::Operation(
                "too many searches at once; ask again".into(),
            ));
        }
    };
    if context.json {
        return Ok(output::json(
            &json!({ "tickets": page.tickets, "next_cursor": page.next_cursor }),
        )?);
    }
    let rows: Vec<Vec<Cell>> = page
        .tickets
        .iter()
        .map(|ticket| {
            let text = |name: &str| ticket[name].as_str().unwrap_or_default();
            let time = |name: &str| Cell::from(text(name).parse::<DateTime<Utc>>().ok());
            vec![
                Cell::from(text("ticket_id").parse::<Uuid>().ok()),
                Cell::state(text("status")),
                Cell::word(text("priority")),
                text("external_ticket_id").to_owned().into(),
                time("created_at"),
                time("updated_at"),
                text("title").replace(char::is_control, " ").into(),
            ]
        })
        .collect();
    let heading = [
        column("ID"),
        column("STATUS"),
        column("PRIORITY").extra(),
        column("EXTERNAL").or("ITEM"),
        column("CREATED").or("AGE"),
        column("UPDATED").extra(),
        column("TITLE"),
    ];
    output::table(&context.layout, &heading, &rows)?;
    if let Some(cursor) = page.next_cursor {
        output::note(&format!("more: the same with --cursor {cursor}"));
    }
    Ok(())
}

async fn show(context: &Context, store: &Store, id: TicketId) -> Result<(), Failed> {
    let found = store.ticket_in_full(None, id).await.map_err(failed)?;
    let Some(ticket) = found else {
        return Err(Failed::Operation(format!(
            "there is no ticket {id}; `ticketwire ticket list`"
        )));
    };
    let filter = CommandFilter {
        ticket_id: Some(id.uuid()),
        ..CommandFilter::default()
    };
    let commands = store
        .commands(&filter, COMMANDS_SHOWN)
        .await
        .map_err(failed)?;
    if context.json {
        let commands: Vec<Value> = commands
            .iter()
            .map(|row| {
                json!({
                    "id": row.id, "type": row.r#type, "state": row.state,
                    "received_at": row.received_at,
                    "error_code": row.error_code,
                })
            })
            .collect();
        return Ok(output::json(
            &json!({ "ticket": ticket, "commands": commands }),
        )?);
    }
    for (name, value) in ticket.as_object().into_iter().flatten() {
        let shown = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                other.to_string()
            }
        };
        for (number, part) in shown.lines().enumerate() {
            let name = if number == 0 { name } else { "" };
            context.layout.prose(&format!("  {name:<25} "), part)?;
        }
    }
    output::line("")?;
    let rows: Vec<Vec<Cell>> = commands
        .iter()
        .map(|row| {
            vec![
                Cell::from(row.id),
                Cell::word(&row.r#type),
                Cell::state(&row.state),
                row.received_at.into(),
                Cell::word(row.error_code.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    let heading = [
        column("COMMAND"),
        column("TYPE"),
        column("STATE"),
        column("RECEIVED").or("AGE"),
        column("ERROR"),
    ];
    Ok(output::table(&context.layout, &heading, &rows)?)
}
