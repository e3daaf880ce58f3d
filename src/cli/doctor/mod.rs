//! `ticketwire doctor`

mod integrations;
mod ledger;
mod rabbit;
mod recent;
mod webhooks;
mod workers;

use clap::Args;
use serde_json::{Value, json};

use super::{Context, FOREIGN_FILE, Failed, output};
use crate::start;
use crate::store::{StoreError, chain};

/// Checks configuration, database, schema, commands, workers, platforms, credentials, broker and
/// keys, and says what to do about each fault. The configuration itself was read before anything
/// else: a fault in it ends every command with status 2.
#[derive(Args)]
pub(super) struct Doctor {}

impl Doctor {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let mut findings = configuration(context);
        // Neither waits for the other, as either may be silent.
        let (ledger, rabbit) = tokio::join!(ledger::examine(context), rabbit::examine(context));
        let (rabbit, waiting) = rabbit;
        findings.extend(ledger.findings);
        if let Some(standing) = &ledger.work {
            findings.extend(workers::of(standing, waiting));
        }
        findings.extend(rabbit);
        findings.push(keys(context));
        findings.extend(machine());
        findings.push(producers(context));
        let faults = findings.iter().filter(|finding| finding.is_fault()).count();
        if context.json {
            let all: Vec<Value> = findings.iter().map(Finding::as_json).collect();
            output::json(&json!({ "ok": faults == 0, "checks": all }))?;
        } else {
            for finding in &findings {
                finding.print()?;
            }
        }
        if faults == 0 {
            Ok(())
        } else {
            Err(Failed::Operation(format!("{faults} fault(s)")))
        }
    }
}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    text: String,
    level: Level,
}

enum Level {
    /// As it should be.
    Ok,
    /// Worth a look; nothing is broken.
    Notice(String),
    /// Broken, and what to do about it.
    Fault(String),
}

impl Finding {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self {
            what,
            text: text.into(),
            level: Level::Ok,
        }
    }

    fn notice(what: &'static str, text: impl Into<String>, look: impl Into<String>) -> Self {
        Self {
            what,
            text: text.into(),
            level: Level::Notice(look.into()),
        }
    }

    fn fault(what: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what,
            text: text.into(),
            level: Level::Fault(remedy.into()),
        }
    }

    /// PostgreSQL was asked and did not answer.
    fn unanswered(what: &'static str, error: &StoreError) -> Self {
        let remedy = "see PostgreSQL's log, pg_stat_activity and pg_locks";
        Self::fault(what, chain(error), remedy)
    }

    const fn is_fault(&self) -> bool {
        matches!(self.level, Level::Fault(_))
    }

    fn as_json(&self) -> Value {
        match &self.level {
            Level::Ok => json!({ "check": self.what, "ok": true, "note": self.text }),
            Level::Notice(look) => {
                json!({ "check": self.what, "ok": true, "note": self.text, "remedy": look })
            }
            Level::Fault(remedy) => {
                json!({ "check": self.what, "ok": false, "fault": self.text, "remedy": remedy })
            }
        }
    }

    fn print(&self) -> Result<(), output::Closed> {
        let (word, advice) = match &self.level {
            Level::Ok => ("ok", None),
            Level::Notice(look) => ("notice", Some(look)),
            Level::Fault(remedy) => ("FAULT", Some(remedy)),
        };
        // Names and errors in it are a tenant's or a platform's.
        let text = output::on_one_line(&self.text);
        output::line(&format!("{word:<7} {:<13} {text}", self.what))?;
        match advice {
            Some(advice) => output::line(&format!("{:<22}→ {advice}", "")),
            None => Ok(()),
        }
    }
}

/// What the settings were read from; they are sound, or nothing would be looked at.
fn configuration(context: &Context) -> Vec<Finding> {
    let files = context.sources.files();
    let named: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let from = if named.is_empty() {
        "no file".to_owned()
    } else {
        named.join(", then ")
    };
    let text = format!("all settings are sound; read from {from}, the environment and flags");
    let mut findings = vec![Finding::ok("configuration", text)];
    if let Some(file) = &context.sources.foreign_file {
        let text = format!("{} {FOREIGN_FILE}", file.display());
        findings.push(Finding::notice("configuration", text, "see above"));
    }
    findings
}

fn keys(context: &Context) -> Finding {
    match context.ring() {
        Ok(ring) => match ring.sealing_key() {
            Some(id) => Finding::ok("keys", format!("{id} seals")),
            None => {
                let remedy = "`ticketwire keys generate` prints one; put it into secrets.keys \
                              (TICKETWIRE__SECRETS__KEYS) of every worker, and keep it";
                let text = "there is none, so what needs a credential is refused";
                Finding::fault("keys", text, remedy)
            }
        },
        Err(_) => Finding::fault("keys", "cannot be read", "see the configuration's faults"),
    }
}

/// What this machine lets a process have: that of a worker started here, as this one is.
fn machine() -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(text) = start::check_temporary_directory() {
        let remedy = "`chmod 1777` it, free space on its disk, or set TMPDIR for the worker";
        findings.push(Finding::fault("machine", text, remedy));
    }
    let shown =
        |limit: Option<u64>| limit.map_or_else(|| "any number".to_owned(), |n| n.to_string());
    let (current, maximum) = start::descriptors();
    let text = format!(
        "{} files and connections may be open, a worker raises that to {}",
        shown(current),
        shown(maximum)
    );
    findings.push(match maximum {
        Some(limit) if limit < start::DESCRIPTORS_WANTED => Finding::notice(
            "machine",
            text,
            "a busy worker may run out: raise the limit (`ulimit -Hn`, systemd's LimitNOFILE) \
             to 4096 or more",
        ),
        Some(_) | None => Finding::ok("machine", text),
    });
    findings
}

fn producers(context: &Context) -> Finding {
    if context.config.producers.trusts_all() {
        let text =
            "anyone who can publish to the commands exchange is trusted with every organization";
        let look = "producers.allow says who may publish what, by the user the broker knows";
        return Finding::notice("producers", text, look);
    }
    if context.config.producers.reply_to().is_empty() {
        let text = "may publish what producers.allow says, and have the worker write to any \
                    queue that they name as reply_to";
        let look = "producers.reply_to lists what such a queue's name may begin with";
        return Finding::notice("producers", text, look);
    }
    Finding::ok(
        "producers",
        "may publish what producers.allow says, and are answered where producers.reply_to says",
    )
}
