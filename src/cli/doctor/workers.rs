//! Who works, and whether anybody does.

use std::collections::BTreeSet;

use super::Finding;
use super::recent::age;
use crate::store::recent::WorkerRow;

/// Workers that are named.
const NAMED_MAX: usize = 20;

/// The workers, and what there is to do for them in the ledger.
pub(super) struct Work {
    pub(super) workers: Vec<WorkerRow>,
    /// Commands that are not finished.
    pub(super) unfinished: i64,
}

impl Work {
    /// Whether a worker is alive.
    pub(super) fn anybody(&self) -> bool {
        self.workers.iter().any(|worker| worker.lease_seconds >= 0)
    }
}

/// With what waits in the queues besides.
pub(super) fn of(work: &Work, messages: u64) -> Vec<Finding> {
    let alive: Vec<&WorkerRow> = work
        .workers
        .iter()
        .filter(|worker| worker.lease_seconds >= 0)
        .collect();
    if alive.is_empty() {
        let text = "none is alive";
        let remedy =
            "`ticketwire run`; if one runs, see its log: it may be without PostgreSQL or RabbitMQ";
        return vec![if work.unfinished > 0 || messages > 0 {
            let text = format!(
                "{text}, and {} command(s) in the ledger and {messages} message(s) in the \
                 queues wait",
                work.unfinished
            );
            Finding::fault("workers", text, remedy)
        } else {
            Finding::notice("workers", format!("{text}; nothing waits"), remedy)
        }];
    }
    let named: Vec<String> = alive
        .iter()
        .take(NAMED_MAX)
        .map(|worker| {
            format!(
                "{} (version {}, up for {}, its lease lasts {} more)",
                worker.id,
                worker.version,
                age(worker.up_seconds),
                age(worker.lease_seconds)
            )
        })
        .collect();
    let mut findings = vec![Finding::ok(
        "workers",
        format!("{} alive: {}", alive.len(), named.join(", ")),
    )];
    let mut versions: BTreeSet<&str> = alive.iter().map(|worker| worker.version.as_str()).collect();
    if versions.len() > 1 {
        let versions: Vec<&str> = versions.into_iter().collect();
        findings.push(Finding::notice(
            "workers",
            format!("their versions differ: {}", versions.join(", ")),
            "finish the roll-out, or take it back",
        ));
    } else if versions.insert(env!("CARGO_PKG_VERSION")) {
        findings.push(Finding::notice(
            "workers",
            format!(
                "this program is version {}, the workers are not",
                env!("CARGO_PKG_VERSION")
            ),
            "what it says of them may not fit: use theirs",
        ));
    }
    findings
}
