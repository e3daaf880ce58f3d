//! Integrations whose state keeps them from their work.

use super::Finding;
use crate::store::Client;
use crate::store::diagnosis::{self, Ailing};

/// Integrations that are named; of more, only the number is told.
const NAMED_MAX: usize = 10;

pub(super) async fn examine(client: &Client) -> Vec<Finding> {
    let ailing = match diagnosis::ailing_integrations(client).await {
        Ok(ailing) => ailing,
        Err(error) => return vec![Finding::unanswered("integrations", &error)],
    };
    if ailing.is_empty() {
        return vec![Finding::ok(
            "integrations",
            "every one that is enabled takes work or waits for its first test",
        )];
    }
    let mut findings: Vec<Finding> = ailing.iter().take(NAMED_MAX).map(finding).collect();
    if ailing.len() > NAMED_MAX {
        let text = format!("and {} more like these", ailing.len() - NAMED_MAX);
        let look = "`ticketwire integration list` shows all";
        findings.push(Finding::notice("integrations", text, look));
    }
    findings
}

fn finding(one: &Ailing) -> Finding {
    let who = format!("{} ({}, {})", one.name, one.platform_name, one.id);
    let said = one
        .error
        .as_ref()
        .map(|error| format!(": {error}"))
        .unwrap_or_default();
    if let Some(since) = one.parked_at {
        let text = format!(
            "{who} waits for its credential since {}; {} command(s) wait with it{said}",
            since.format("%Y-%m-%d %H:%M UTC"),
            one.waiting
        );
        let remedy = format!(
            "mend it with `ticketwire integration update {id} --credentials …`, then `integration test {id}`",
            id = one.id
        );
        return Finding::fault("integrations", text, remedy);
    }
    match one.status.as_str() {
        "error" => Finding::fault(
            "integrations",
            format!("{who} is in error{said}"),
            format!(
                "`ticketwire integration test {}` says why, and activates it when it passes",
                one.id
            ),
        ),
        "expired" => Finding::fault(
            "integrations",
            format!("{who}: its credentials have expired"),
            format!(
                "renew them: `ticketwire integration update {} --data '{{\"expires_at\": …, \"credentials\": …}}'`",
                one.id
            ),
        ),
        "active" | "pending" if one.is_unhealthy => {
            let moment = |at: Option<chrono::DateTime<chrono::Utc>>, never: &str| {
                at.map_or_else(
                    || never.to_owned(),
                    |at| at.format("%Y-%m-%d %H:%M UTC").to_string(),
                )
            };
            Finding::fault(
                "integrations",
                format!(
                    "{who} is unhealthy, checked at {}, last success {}{said}",
                    moment(one.checked_at, "no time"),
                    moment(one.succeeded_at, "never")
                ),
                format!(
                    "`ticketwire integration test {}` says whether it still is, and why",
                    one.id
                ),
            )
        }
        "active" | "pending" => Finding::notice(
            "integrations",
            format!(
                "{who}: its credentials expire at {}",
                one.expires_at
                    .map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string())
                    .unwrap_or_default()
            ),
            "renew them in time: after that it takes no work",
        ),
        other => Finding::notice(
            "integrations",
            format!("{who} is enabled but {other}, so it takes no work"),
            format!(
                "`ticketwire integration disable {id}` if that is meant, else `integration enable {id}` and `test {id}`",
                id = one.id
            ),
        ),
    }
}
