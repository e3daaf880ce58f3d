//! PostgreSQL and what stands in it.

use chrono::TimeDelta;

use super::super::Context;
use super::super::keys::Survey;
use super::Finding;
use super::recent::{of_lately, of_unsent, of_waiting};
use super::workers::Work;
use crate::reach::Outage;
use crate::secrets::{KeyRing, OpenedBy};
use crate::store::diagnosis::{self, Server, Standing};
use crate::store::migrate::IndexState;
use crate::store::{Client, StoreError, chain, connect, migrate, recent};

/// Integrations that are named; of more, only the number is told.
const NAMED_MAX: usize = 5;

/// What was found, and what there is to do for workers; that is unknown where the ledger does not
/// tell.
pub(super) struct Ledger {
    pub(super) findings: Vec<Finding>,
    pub(super) work: Option<Work>,
}

pub(super) async fn examine(context: &Context) -> Ledger {
    let mut work = None;
    Ledger {
        findings: look(context, &mut work).await,
        work,
    }
}

async fn look(context: &Context, work: &mut Option<Work>) -> Vec<Finding> {
    let client = match connect(&context.config.database.url, "ticketwire doctor").await {
        Ok((client, _driver)) => client,
        Err(error) => {
            let remedy = match &error {
                StoreError::Unserved(_) | StoreError::Sessionless | StoreError::ReadOnly => {
                    "do what it says, then look again"
                }
                StoreError::Unavailable(_)
                | StoreError::Timeout(_)
                | StoreError::NoPlace(_)
                | StoreError::Contention(_)
                | StoreError::Refused(_) => error.outage().map_or(
                    "start PostgreSQL, or mend database.url (DATABASE_URL)",
                    Outage::remedy,
                ),
            };
            let text = error.outage().map_or_else(
                || chain(&error),
                |outage| {
                    format!(
                        "PostgreSQL (database.url) cannot be reached: {}: {}",
                        outage.says(),
                        error.cause()
                    )
                },
            );
            return vec![Finding::fault("postgresql", text, remedy)];
        }
    };
    let mut findings = Vec::new();
    if let Err(error) = diagnosis::be_impatient(&client).await {
        return vec![Finding::unanswered("postgresql", &error)];
    }
    match diagnosis::server(&client).await {
        Ok(server) => findings.extend(of_server(&server)),
        Err(error) => findings.push(Finding::unanswered("postgresql", &error)),
    }
    if let Err(error) = migrate::check_version(&client).await {
        let remedy = "run the command it names, then look again";
        findings.push(Finding::fault("schema", error.to_string(), remedy));
        return findings;
    }
    findings.push(Finding::ok(
        "schema",
        format!("at version {}", migrate::latest()),
    ));
    match migrate::index_states(&client, migrate::INDEXES).await {
        Ok(states) => findings.extend(of_indexes(&states)),
        Err(error) => findings.push(Finding::unanswered("schema", &error.into())),
    }
    match diagnosis::standing(&client).await {
        Ok(standing) => {
            match recent::workers(&client).await {
                Ok(workers) => {
                    *work = Some(Work {
                        workers,
                        unfinished: standing.unfinished,
                    });
                }
                Err(error) => findings.push(Finding::unanswered("workers", &error)),
            }
            let alive = work.as_ref().is_none_or(Work::anybody);
            findings.extend(of_standing(&standing, alive));
        }
        Err(error) => findings.push(Finding::unanswered("commands", &error)),
    }
    match recent::waiting(&client).await {
        Ok(waiting) => findings.extend(of_waiting(&waiting)),
        Err(error) => findings.push(Finding::unanswered("waiting", &error)),
    }
    match recent::unsent(&client).await {
        Ok(unsent) => findings.extend(of_unsent(&unsent)),
        Err(error) => findings.push(Finding::unanswered("events", &error)),
    }
    findings.extend(workers(&client).await);
    findings.extend(circuits(&client).await);
    findings.extend(super::integrations::examine(&client).await);
    findings.extend(super::webhooks::examine(context, &client).await);
    match recent::lately(&client).await {
        Ok(lately) => findings.extend(of_lately(lately.as_ref())),
        Err(error) => findings.push(Finding::unanswered("failures", &error)),
    }
    findings.extend(credentials(context, &client).await);
    findings
}

fn of_indexes(states: &[(&str, IndexState)]) -> Vec<Finding> {
    let wrong = states.iter().filter_map(|(name, state)| match state {
        IndexState::Valid => None,
        IndexState::Invalid => Some(format!("the index {name} was not built to its end")),
        IndexState::Missing => Some(format!("the index {name} is missing")),
    });
    let remedy = "`ticketwire migrate up` builds it; nobody waits for it";
    wrong
        .map(|text| Finding::fault("schema", text, remedy))
        .collect()
}

fn of_server(server: &Server) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(
        "postgresql",
        format!("answers, version {}", server.version),
    )];
    let mut fault = |text: String, remedy: &str| {
        findings.push(Finding::fault("postgresql", text, remedy));
    };
    if server.read_only {
        fault(
            "takes no writes".into(),
            "database.url names a replica, or default_transaction_read_only is on: name the \
             primary",
        );
    }
    if server.clock_ahead.abs() > TimeDelta::seconds(1) {
        let seconds = server.clock_ahead.as_seconds_f64();
        let text = format!(
            "its clock is {:.1} s {} that of this machine; a worker here decides by the database's",
            seconds.abs(),
            if seconds > 0.0 { "ahead of" } else { "behind" }
        );
        fault(
            text,
            "have the clocks of both machines set by NTP (chrony, systemd-timesyncd)",
        );
    }
    if server.blocked > 0 {
        fault(
            format!("{} session(s) wait for a lock", server.blocked),
            "pg_stat_activity shows them (wait_event_type Lock), pg_blocking_pids(pid) what \
             blocks them: end it",
        );
    }
    if server.idle_in_transaction > 0 {
        fault(
            format!(
                "{} session(s) idle in a transaction for over a minute",
                server.idle_in_transaction
            ),
            "they hold locks and keep dead rows: find them in pg_stat_activity",
        );
    }
    let (used, allowed) = server.connections;
    if used * 10 >= allowed * 9 {
        fault(
            format!("{used} of {allowed} connections are in use"),
            "raise max_connections, or lower database.pool_size of the workers",
        );
    }
    if !server.not_writable.is_empty() {
        fault(
            format!("the role may not write {}", server.not_writable.join(", ")),
            "GRANT SELECT, INSERT, UPDATE, DELETE on them to the role of database.url",
        );
    }
    if !server.autovacuum {
        findings.push(Finding::notice(
            "postgresql",
            "autovacuum is off: what is removed leaves dead rows, and the tables grow for ever",
            "set autovacuum = on in postgresql.conf and reload it",
        ));
    }
    findings
}

fn of_standing(standing: &Standing, anybody_works: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if standing.overdue > 0 {
        let text = format!(
            "{} due for over a minute have not been started",
            standing.overdue
        );
        let remedy = if anybody_works {
            "the workers have their hands full: see the platform's latency, \
             dispatch.max_in_flight_per_integration, and add a worker"
        } else {
            "no worker lives: `ticketwire run`"
        };
        findings.push(Finding::fault("commands", text, remedy));
    } else {
        findings.push(Finding::ok("commands", "none is overdue"));
    }
    if standing.in_doubt > 0 {
        let text = format!(
            "{} of unknown outcome for over ten minutes, still looked up",
            standing.in_doubt
        );
        let remedy = "`ticketwire command list --state deferred --code outcome_unknown`; is the \
                      platform reachable? if somebody knows what happened, `command resolve`";
        findings.push(Finding::fault("commands", text, remedy));
    }
    if standing.dead_letters > 0 {
        let text = format!("{} within a day", standing.dead_letters);
        let look =
            "`ticketwire dead list` says why; mend the producer, then `dead replay` or `dead drop`";
        findings.push(Finding::notice("dead letters", text, look));
    }
    findings
}

async fn workers(client: &Client) -> Vec<Finding> {
    match diagnosis::silent_workers(client).await {
        Err(error) => vec![Finding::unanswered("workers", &error)],
        Ok(silent) => silent
            .iter()
            .map(|worker| {
                let text = format!(
                    "{} has not been heard of for {} s after its lease and holds {} command(s)",
                    worker.id, worker.silent_seconds, worker.running
                );
                let remedy =
                    "it is stopped, paused or cut off; start a worker: any one takes its work over";
                Finding::fault("workers", text, remedy)
            })
            .collect(),
    }
}

async fn circuits(client: &Client) -> Vec<Finding> {
    match diagnosis::open_circuits(client).await {
        Err(error) => vec![Finding::unanswered("platforms", &error)],
        Ok(open) => open
            .iter()
            .map(|circuit| {
                let (name, platform) = (&circuit.name, &circuit.platform_name);
                let (waiting, id) = (circuit.waiting, circuit.integration_id);
                let clock = "%H:%M:%S UTC";
                if let Some(until) = circuit.open_until {
                    let until = if circuit.is_half_open {
                        "but for one command at a time, which finds out whether it is \
                         back"
                            .to_owned()
                    } else {
                        format!("until {}", until.format(clock))
                    };
                    let text = format!(
                        "{name} ({platform}) is left alone {until}: {} failures in a row; \
                         {waiting} command(s) wait",
                        circuit.failures
                    );
                    let remedy = format!(
                        "is the platform down? `ticketwire integration test {id}`; what it \
                         said: `command list --integration {id}`"
                    );
                    return Finding::fault("platforms", text, remedy);
                }
                let (until, by) = circuit.paused.clone().unwrap_or_default();
                let text = format!(
                    "{name} ({platform}) is paused until {} ({by}): its platform takes no more \
                     requests; {waiting} command(s) wait and lose no attempt",
                    until.format(clock)
                );
                let remedy = format!(
                    "they go on by themselves; to try at once: `ticketwire command retry \
                     --integration {id}`; where it comes again and again, ask the vendor for a \
                     larger limit or set `rate_limit_per_hour`"
                );
                Finding::notice("platforms", text, remedy)
            })
            .collect(),
    }
}

/// Which keys are in use and needed, and what none of them opens: its commands fail with
/// `credentials_unreadable`.
async fn credentials(context: &Context, client: &Client) -> Vec<Finding> {
    let Ok(ring) = context.ring() else {
        return Vec::new();
    };
    let survey = match Survey::take(client, &ring).await {
        Ok(survey) => survey,
        Err(error) => return vec![Finding::unanswered("credentials", &error)],
    };
    let mut findings = vec![of_unreadable(&survey)];
    if survey.left_out_commands {
        findings.push(Finding::notice(
            "credentials",
            "there are too many commands to look for secrets in those that create or change \
             integrations",
            "`ticketwire keys rotate --dry-run` looks at all",
        ));
    }
    findings.extend(of_keys(&ring, &survey));
    findings
}

fn of_unreadable(survey: &Survey) -> Finding {
    let total: u64 = survey.opened.values().sum();
    // Of a deleted integration nothing is needed.
    let mut unreadable: Vec<String> = survey
        .unreadable
        .values()
        .filter(|value| !value.is_deleted)
        .map(|value| format!("{} ({})", value.name, value.integration))
        .collect();
    if unreadable.is_empty() {
        return Finding::ok(
            "credentials",
            format!("{total} sealed value(s), all can be opened"),
        );
    }
    let count = unreadable.len();
    unreadable.dedup();
    let named = unreadable[..unreadable.len().min(NAMED_MAX)].join(", ");
    let sealed_with: std::collections::BTreeSet<&str> = survey
        .unreadable
        .values()
        .filter(|value| !value.is_deleted)
        .filter_map(|value| value.sealed_with.as_deref())
        .collect();
    let keys: Vec<&str> = sealed_with.into_iter().collect();
    let keys = if keys.is_empty() {
        String::new()
    } else {
        format!("; they were sealed with {}", keys.join(", "))
    };
    let text = format!(
        "{count} of {} sealed value(s) cannot be opened: {named}{}{keys}",
        total + u64::try_from(count).unwrap_or(0),
        if unreadable.len() > NAMED_MAX {
            ", …"
        } else {
            ""
        }
    );
    let remedy = "`ticketwire keys rotate --dry-run` says why of each; put the key that sealed \
                  them back into secrets.keys, behind the first, or the legacy application's \
                  into secrets.legacy_encryption_key or secrets.legacy_jwt_secret; or set them \
                  anew with `ticketwire integration update`";
    Finding::fault("credentials", text, remedy)
}

fn of_keys(ring: &KeyRing, survey: &Survey) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sealing = ring.sealing_key();
    for (key, count) in &survey.opened {
        match key {
            OpenedBy::Key(id) if Some(id.as_str()) == sealing => {}
            OpenedBy::Key(_) | OpenedBy::Legacy(_) => findings.push(Finding::notice(
                "keys",
                format!("{key} is still needed: it sealed {count} value(s)"),
                "`ticketwire keys rotate` seals them anew under the first key",
            )),
        }
    }
    let configured = ring
        .ids()
        .skip(1)
        .map(|id| OpenedBy::Key(id.to_owned()))
        .chain(ring.legacy_keys().map(OpenedBy::Legacy));
    // Nobody is told to throw a key away that may be needed.
    let surely = configured.filter(|_| !survey.left_out_commands);
    for key in surely.filter(|key| !survey.opened.contains_key(key)) {
        let setting = match &key {
            OpenedBy::Key(_) => "secrets.keys",
            OpenedBy::Legacy(key) => key.setting(),
        };
        findings.push(Finding::notice(
            "keys",
            format!("{key} is not needed any more"),
            format!("once no backup needs it either, take it out of {setting}"),
        ));
    }
    findings
}
