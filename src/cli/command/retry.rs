//! `ticketwire command retry`: one, several, or all that match; those with a preview and paced.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::super::output::{self, Cell};
use super::super::{Context, Failed, ask, failed, ids};
use super::Filter;
use crate::domain::{CommandId, CommandState};
use crate::store::{Named, Retryable, Store};

/// Groups that a preview lists.
const GROUPS_MAX: usize = 12;
/// Commands of one step at most, which keeps a step's transaction short.
const STEP_MAX: usize = 500;

/// Run deferred or failed commands again, now
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire command retry 0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e
  ticketwire command retry --integration ID --code platform_unavailable --since 3h
  ticketwire command retry --code attempts_exhausted --rate 5 --yes

Without --yes, commands chosen by what they have in common are shown first, and asked about on a
terminal. They run again in order of arrival, so many a second; interrupting it leaves the rest as
they are.")]
pub(super) struct Retry {
    /// Their ids, or the beginnings of them
    #[arg(conflicts_with_all = ["state", "integration", "ticket", "code", "type", "since",
        "until"])]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// How many a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

impl Retry {
    pub(super) async fn execute(self, context: &Context, store: &Store) -> Result<(), Failed> {
        if self.ids.is_empty() {
            return self.all_that_match(context, store).await;
        }
        let mut wanted = Vec::with_capacity(self.ids.len());
        for text in &self.ids {
            wanted.push(ids::find(store, Named::Command, text).await?);
        }
        let changed = store.retry_commands(&wanted).await.map_err(failed)?;
        let (mut under_way, mut unchanged) = (Vec::new(), Vec::new());
        for id in wanted.iter().filter(|id| !changed.contains(id)) {
            let found = store.command(CommandId::new(*id)).await.map_err(failed)?;
            let state = found.and_then(|(row, _)| CommandState::parse(&row.state));
            match state {
                Some(CommandState::Pending | CommandState::Running) => under_way.push(*id),
                Some(_) | None => unchanged.push(id.to_string()),
            }
        }
        if context.json {
            output::json(
                &json!({ "retried": changed, "under_way": under_way, "not_retried": unchanged }),
            )?;
        } else {
            for id in &changed {
                output::line(&format!("{id} runs again"))?;
            }
            for id in &under_way {
                output::line(&format!("{id} is under way already"))?;
            }
        }
        if unchanged.is_empty() {
            return Ok(());
        }
        Err(Failed::Operation(format!(
            "neither deferred, failed nor cancelled, or not there: {}; `ticketwire command show \
             ID` tells more",
            unchanged.join(", ")
        )))
    }

    async fn all_that_match(&self, context: &Context, store: &Store) -> Result<(), Failed> {
        if self.filter.is_empty() {
            let text = "name a command, or what those to run again have in common: \
                        --integration, --code, --since, --until, --state, --type, --ticket";
            return Err(Failed::Usage(text.into()));
        }
        let found = store
            .retryable(&self.filter.wanted(store).await?)
            .await
            .map_err(failed)?;
        if !context.json {
            preview(context, &found, self.rate)?;
        }
        if found.is_empty() || !self.confirmed(context, found.len())? {
            if context.json {
                output::json(&json!({ "matched": found.len(), "retried": 0 }))?;
            }
            return Ok(());
        }
        let (retried, interrupted) = self.run(context, store, &found).await?;
        if context.json {
            output::json(&json!({ "matched": found.len(), "retried": retried }))?;
        } else {
            let skipped = found.len() - retried;
            output::line(&format!(
                "{retried} run again{}",
                match (skipped, interrupted) {
                    (0, _) => String::new(),
                    (rest, true) => format!("; interrupted, {rest} stay as they are"),
                    (rest, false) => format!("; {rest} had changed meanwhile"),
                }
            ))?;
        }
        if interrupted {
            return Err(Failed::Operation("interrupted".into()));
        }
        Ok(())
    }

    /// Runs them again, `rate` a second. How many, and whether somebody interrupted it.
    async fn run(
        &self,
        context: &Context,
        store: &Store,
        found: &[Retryable],
    ) -> Result<(usize, bool), Failed> {
        let rate = usize::try_from(self.rate).unwrap_or(STEP_MAX);
        // A slow pace is one at a time, a fast one many at once.
        let step = rate.div_ceil(10).min(STEP_MAX);
        let pause = Duration::from_secs_f64(
            f64::from(u32::try_from(step).unwrap_or(1)) / f64::from(self.rate),
        );
        let mut clock = tokio::time::interval(pause);
        let mut retried = 0;
        for (number, part) in found.chunks(step).enumerate() {
            // Nothing is lost with either branch: what was not run again stays as it was.
            tokio::select! {
                _ = clock.tick() => {}
                signal = tokio::signal::ctrl_c() => {
                    signal.map_err(failed)?;
                    return Ok((retried, true));
                }
            }
            let ids: Vec<Uuid> = part.iter().map(|command| command.id).collect();
            retried += store.retry_commands(&ids).await.map_err(failed)?.len();
            let done = number * step + part.len();
            if !context.json && std::io::stderr().is_terminal() {
                output::progress(&format!("\x1b[1A\x1b[2K{done} of {}", found.len()));
            }
        }
        Ok((retried, false))
    }

    fn confirmed(&self, context: &Context, count: usize) -> Result<bool, Failed> {
        if self.yes {
            return Ok(true);
        }
        let answer = ask::yes(context, &format!("Run these {count} again?"))?;
        match answer {
            Some(true) => {}
            Some(false) => output::note("nothing was done"),
            None => output::note("nothing was done; add --yes to do it"),
        }
        Ok(answer == Some(true))
    }
}

/// What would run again, by what it has in common.
fn preview(context: &Context, found: &[Retryable], rate: u32) -> Result<(), Failed> {
    let mut groups: BTreeMap<(Option<Uuid>, String, String), usize> = BTreeMap::new();
    for command in found {
        let code = command.error_code.clone().unwrap_or_default();
        *groups
            .entry((command.integration_id, command.state.clone(), code))
            .or_default() += 1;
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = groups.len().saturating_sub(GROUPS_MAX);
    groups.truncate(GROUPS_MAX);
    let rows: Vec<Vec<Cell>> = groups
        .into_iter()
        .map(|((integration, state, code), count)| {
            let integration = integration.map_or_else(|| Cell::word("none"), Cell::from);
            vec![
                Cell::word(count),
                Cell::state(state),
                Cell::word(code),
                integration,
            ]
        })
        .collect();
    if !rows.is_empty() {
        let heading = ["COMMANDS", "STATE", "ERROR", "INTEGRATION"];
        output::table(&context.layout, &heading, &rows)?;
    }
    if more > 0 {
        output::line(&format!("… and {more} more groups"))?;
    }
    let seconds = found.len() / usize::try_from(rate).unwrap_or(1).max(1);
    let takes = humantime::format_duration(Duration::from_secs(
        u64::try_from(seconds).unwrap_or(u64::MAX).max(1),
    ));
    Ok(output::line(&match found.len() {
        0 => "no command that could run again matches".to_owned(),
        count => format!("{count} match; at {rate} a second that takes about {takes}"),
    })?)
}
