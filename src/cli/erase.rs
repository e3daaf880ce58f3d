//! `ticketwire erase`

use clap::Args;
use serde_json::json;

use super::output::{self, Cell};
use super::{Context, Failed, ask, failed, ids};
use crate::domain::{OrganizationId, TicketId};
use crate::store::{Erased, Named, StoreError, Subject, chain};

/// How many ids are named before "and N more".
const NAMED: usize = 20;

const NOT_HERE: &str = "not reached from here: events already published (the stream is cut off \
                        by age and size), messages still in queues, the items at the platforms, \
                        backups, and logs, which hold ids";

/// Removes a subject's data from every table
#[derive(Args)]
#[group(skip)]
#[command(group(clap::ArgGroup::new("subject").required(true).args(["organization", "ticket"])))]
#[command(after_help = "\
Everything goes in one transaction, or nothing. It is counted and shown first; on a terminal you
are asked, elsewhere --yes is needed. Commands that are not finished are in the way: cancel them, or
wait. Forgotten command ids are new commands when they are sent again, so stop the subject's
producers first. Exit status 1 where nothing of the subject is found.")]
pub(super) struct Erase {
    /// A tenant: its integrations with their credentials, tickets, commands, events, dead letters
    #[arg(long, value_name = "ID")]
    organization: Option<String>,
    /// A ticket, with its commands, events, dead letters
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
    /// Only shows what would go
    #[arg(long)]
    dry_run: bool,
    /// Does not ask
    #[arg(long)]
    yes: bool,
}

impl Erase {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let store = context.store()?;
        let subject = match (&self.organization, &self.ticket) {
            (Some(text), _) => {
                let id = ids::find(&store, Named::Organization, text).await?;
                Subject::Organization(OrganizationId::new(id))
            }
            (None, Some(text)) => {
                let id = ids::find(&store, Named::Ticket, text).await?;
                Subject::Ticket(TicketId::new(id))
            }
            (None, None) => return Err(Failed::Usage("name --organization or --ticket".into())),
        };
        let found = store.erase(subject, false).await.map_err(explained)?;
        if found.rows.iter().all(|(_, count)| *count == 0) {
            return Err(Failed::Operation("nothing of it is here".into()));
        }
        if !context.json {
            show(context, &found)?;
        }
        refuse_unfinished(&found)?;
        let really = !self.dry_run && self.confirmed(context)?;
        let done = if really {
            let done = store.erase(subject, true).await.map_err(explained)?;
            refuse_unfinished(&done)?;
            done
        } else {
            found
        };
        if context.json {
            let rows: serde_json::Map<_, _> = done
                .rows
                .iter()
                .map(|(table, count)| ((*table).to_owned(), json!(count)))
                .collect();
            return Ok(output::json(&json!({
                "erased": really, "rows": rows, "elsewhere": done.elsewhere,
                "organization_stays": done.organization_stays, "arrived_meanwhile": done.arrived,
                "not_reached": NOT_HERE,
            }))?);
        }
        output::note(if really {
            "erased"
        } else {
            "nothing was removed"
        });
        if done.arrived > 0 {
            output::note(&format!(
                "{} command(s) came in meanwhile and stay: stop their producers, then erase again",
                done.arrived
            ));
        }
        output::note(NOT_HERE);
        Ok(())
    }

    fn confirmed(&self, context: &Context) -> Result<bool, Failed> {
        if self.yes {
            return Ok(true);
        }
        ask::yes(context, "Remove all of this for ever?")?.ok_or_else(|| {
            let text = "nothing was removed: add --yes to remove it, or --dry-run to look alone";
            Failed::Usage(text.into())
        })
    }
}

fn show(context: &Context, found: &Erased) -> Result<(), Failed> {
    let rows: Vec<Vec<Cell>> = found
        .rows
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(table, count)| vec![Cell::word(table), Cell::word(count)])
        .collect();
    output::table(&context.layout, &["TABLE", "ROWS"], &rows)?;
    if found.organization_stays {
        output::line("the organization's own row stays: people of the application belong to it")?;
    }
    if !found.elsewhere.is_empty() {
        let head = format!("{} still at their platforms: ", found.elsewhere.len());
        context.layout.prose(&head, &named(&found.elsewhere))?;
    }
    Ok(())
}

fn refuse_unfinished(found: &Erased) -> Result<(), Failed> {
    if found.unfinished.is_empty() {
        return Ok(());
    }
    Err(Failed::Operation(format!(
        "{} command(s) are not finished, so nothing was removed: {}\n→ wait for them, or \
         `ticketwire command cancel ID`; one whose outcome nobody knows: `ticketwire command \
         resolve ID`",
        found.unfinished.len(),
        named(&found.unfinished)
    )))
}

/// A table that is not ours and refers to what would go is named by the server, in the error's
/// detail.
fn explained(error: StoreError) -> Failed {
    if error.is_refusal() {
        return Failed::Operation(format!(
            "something outside of Ticketwire's tables refers to it, so nothing was removed: {}",
            chain(&error)
        ));
    }
    if matches!(error, StoreError::Contention(_)) {
        return Failed::Operation(
            "something of it was changed meanwhile, so nothing was removed\n→ stop its \
             producers, wait until its commands are finished, and do it again"
                .into(),
        );
    }
    failed(error)
}

fn named<T: ToString>(all: &[T]) -> String {
    let mut text = all
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if all.len() > NAMED {
        text.push_str(&format!(" and {} more", all.len() - NAMED));
    }
    text
}
