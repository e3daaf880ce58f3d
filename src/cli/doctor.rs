//! `ticketwire doctor`

use clap::Args;
use serde_json::json;

use super::{Context, Failed, output};
use crate::broker;
use crate::store::{chain, connect, late_events, migrate};

/// Checks configuration, database, schema, broker and keys, and says what to do about each fault. The configuration
/// itself was read before anything else: a fault in it ends every command with status 2.
#[derive(Args)]
pub(super) struct Doctor {}

struct Finding {
    what: &'static str,
    fault: Option<(String, String)>,
    note: String,
}

impl Doctor {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let mut findings = vec![ok("configuration", "all settings are sound".into())];
        findings.extend(database(context).await);
        findings.extend(rabbit(context).await);
        findings.push(keys(context));
        let sick = findings
            .iter()
            .filter(|finding| finding.fault.is_some())
            .count();
        if context.json {
            let all: Vec<_> = findings
                .iter()
                .map(|finding| match &finding.fault {
                    None => json!({ "check": finding.what, "ok": true, "note": finding.note }),
                    Some((fault, remedy)) => {
                        json!({ "check": finding.what, "ok": false, "fault": fault, "remedy": remedy })
                    }
                })
                .collect();
            output::json(&json!({ "ok": sick == 0, "checks": all }))?;
        } else {
            for finding in &findings {
                match &finding.fault {
                    None => output::line(&format!("ok     {:<14} {}", finding.what, finding.note))?,
                    Some((fault, remedy)) => {
                        output::line(&format!("FAULT  {:<14} {fault}", finding.what))?;
                        output::line(&format!("       {:<14} → {remedy}", ""))?;
                    }
                }
            }
        }
        if sick == 0 {
            Ok(())
        } else {
            Err(Failed::Operation(format!("{sick} fault(s)")))
        }
    }
}

const fn ok(what: &'static str, note: String) -> Finding {
    Finding {
        what,
        fault: None,
        note,
    }
}

fn sick(what: &'static str, fault: String, remedy: &str) -> Finding {
    Finding {
        what,
        fault: Some((fault, remedy.to_owned())),
        note: String::new(),
    }
}

async fn database(context: &Context) -> Vec<Finding> {
    let client = match connect(&context.config.database.url, "ticketwire doctor").await {
        Ok((client, _driver)) => client,
        Err(error) => {
            let remedy = "start PostgreSQL, or mend database.url (DATABASE_URL); the database itself must exist";
            return vec![sick("postgresql", chain(&error), remedy)];
        }
    };
    let version: Result<String, _> = client
        .query_one("SHOW server_version", &[])
        .await
        .map(|row| row.get(0));
    let mut findings = vec![ok(
        "postgresql",
        format!("answers, version {}", version.unwrap_or_default()),
    )];
    match migrate::check_version(&client).await {
        Ok(()) => findings.push(ok("schema", format!("at version {}", migrate::latest()))),
        Err(error) => findings.push(sick(
            "schema",
            error.to_string(),
            "run the command it names, then look again",
        )),
    }
    if let Ok(waiting) = late_events(&client).await {
        findings.push(if waiting == 0 {
            ok("events", "none is waiting for the broker".into())
        } else {
            let remedy = "is a worker running, and is a queue bound to the events exchange full?";
            sick(
                "events",
                format!("{waiting} wait for over a minute to be published"),
                remedy,
            )
        });
    }
    findings
}

async fn rabbit(context: &Context) -> Vec<Finding> {
    let connection = match broker::connect(&context.config.amqp.url, "ticketwire doctor").await {
        Ok(connection) => connection,
        Err(error) => {
            let remedy = "start RabbitMQ, or mend amqp.url (AMQP_URL): user, password and virtual host included";
            return vec![sick("rabbitmq", error.to_string(), remedy)];
        }
    };
    let mut findings = vec![ok("rabbitmq", "answers".into())];
    let topology = context.topology();
    let queues = topology
        .command_queues()
        .into_iter()
        .map(|(name, _)| name)
        .chain([topology.dead(), topology.events_log()]);
    for name in queues {
        match broker::queue_depth(&connection, &name).await {
            Ok(Some((messages, consumers))) => {
                findings.push(ok(
                    "queue",
                    format!("{name}: {messages} ready, {consumers} consumers"),
                ));
            }
            Ok(None) => {
                let remedy = "a starting worker declares it; if one runs, see its log";
                findings.push(sick("queue", format!("{name} is not there"), remedy));
            }
            Err(error) => findings.push(sick(
                "queue",
                format!("{name}: {error}"),
                "see the broker's log",
            )),
        }
    }
    findings
}

fn keys(context: &Context) -> Finding {
    match context.ring() {
        Ok(ring) => match ring.sealing_key() {
            Some(id) => ok("keys", format!("{id} seals")),
            None => {
                let remedy = "`ticketwire keys generate` prints one; put it into secrets.keys \
                              (TICKETWIRE__SECRETS__KEYS) of every worker, and keep it";
                sick(
                    "keys",
                    "there is none, so what needs a credential is refused".into(),
                    remedy,
                )
            }
        },
        Err(_) => sick(
            "keys",
            "cannot be read".into(),
            "see the configuration's faults",
        ),
    }
}
