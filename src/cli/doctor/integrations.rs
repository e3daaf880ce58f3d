//! Integrations whose state keeps them from their work.

use super::Finding;
use crate::store::Client;
use crate::store::diagnosis::{self, Ailing, AilingIntegrations};

/// Integrations that are named, the worst; of more, only the number is told.
const NAMED_MAX: usize = 10;

pub(super) async fn examine(client: &Client) -> Vec<Finding> {
    match diagnosis::ailing_integrations(client, NAMED_MAX).await {
        Ok(ailing) => of_ailing(&ailing),
        Err(error) => vec![Finding::unanswered("integrations", &error)],
    }
}

fn of_ailing(ailing: &AilingIntegrations) -> Vec<Finding> {
    if ailing.worst.is_empty() {
        return vec![Finding::ok(
            "integrations",
            "every one that is enabled takes work or waits for its first test",
        )];
    }
    let mut findings: Vec<Finding> = ailing.worst.iter().map(finding).collect();
    let shown = i64::try_from(findings.len()).unwrap_or(i64::MAX);
    // The failing ones come first, so what is left of them is what did not fit.
    let failing = (ailing.failing - shown).max(0);
    let others = ailing.others - (shown - ailing.failing).max(0);
    if failing + others > 0 {
        let text = format!(
            "and {} more: {failing} that fail, {others} that were never active, are inactive or \
             expire soon",
            failing + others
        );
        let look = "`ticketwire integration list` shows all with their status";
        findings.push(if failing > 0 {
            Finding::fault("integrations", text, look)
        } else {
            Finding::notice("integrations", text, look)
        });
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
            "mend it with `ticketwire integration update {id} --credentials …`, then \
             `integration test {id}`",
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
                "renew them: `ticketwire integration update {} --data \
                 '{{\"expires_at\": …, \"credentials\": …}}'`",
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
                "`ticketwire integration disable {id}` if that is meant, else `integration \
                 enable {id}` and `test {id}`",
                id = one.id
            ),
        ),
    }
}
