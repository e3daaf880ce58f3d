//! What went wrong lately, and what waits.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Finding;
use crate::domain::{ErrorCode, WaitReason};
use crate::store::recent::{Ended, Lately, ROWS_MAX, Unsent, Waiting};

/// Groups that are named; of more, only the number is told.
const NAMED_MAX: usize = 10;
/// So many failures and no success in an hour are a fault, whatever the code.
const ALL_FAILED: i64 = 3;
/// Waits shorter than this are everyday.
const SHORT_SECONDS: i64 = 60;

/// An integration, for people.
fn who(name: Option<&str>, platform: Option<&str>, id: Option<Uuid>) -> String {
    match (name, platform, id) {
        (Some(name), Some(platform), Some(id)) => format!("{name} ({platform}, {id})"),
        (_, _, Some(id)) => format!("the integration {id}"),
        (_, _, None) => "commands without an integration".to_owned(),
    }
}

/// A duration, for people.
pub(super) fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "0 s".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn of_lately(lately: Option<&Lately>) -> Vec<Finding> {
    let Some(lately) = lately else {
        return vec![Finding::notice(
            "commands",
            "too many came in within ten minutes to look at them in two seconds",
            "`/metrics` counts outcomes: ticketwire_command_outcomes_total",
        )];
    };
    let mut findings = unknown_and_quarantined(&lately.ended);
    let mut succeeded: BTreeMap<Option<Uuid>, i64> = BTreeMap::new();
    for group in lately.ended.iter().filter(|group| group.code.is_none()) {
        *succeeded.entry(group.integration_id).or_default() += group.hour;
    }
    let failures: Vec<&Ended> = lately
        .ended
        .iter()
        .filter(|group| group.hour > 0)
        .filter(|group| {
            group
                .code
                .as_deref()
                .is_some_and(|code| !matches!(code, "outcome_unknown" | "quarantined"))
        })
        .collect();
    findings.extend(failures.iter().take(NAMED_MAX).map(|group| {
        let others = succeeded.get(&group.integration_id).copied();
        of_failures(group, others.unwrap_or(0))
    }));
    if failures.len() > NAMED_MAX {
        let text = format!(
            "and {} more integrations or codes with failures in the last hour",
            failures.len() - NAMED_MAX
        );
        let look = "`ticketwire command list --state failed`";
        findings.push(Finding::notice("failures", text, look));
    }
    if failures.is_empty() {
        findings.push(Finding::ok("failures", "none in the last hour"));
    }
    if lately.received_within != "3 days" {
        findings.push(Finding::notice(
            "failures",
            format!(
                "only commands that came in within {} were looked at: there are many",
                lately.received_within
            ),
            "`/metrics` counts all outcomes: ticketwire_command_outcomes_total",
        ));
    }
    findings
}

/// What somebody has to look at, whenever in the day it was.
fn unknown_and_quarantined(ended: &[Ended]) -> Vec<Finding> {
    let of = |code: &str| -> i64 {
        ended
            .iter()
            .filter(|group| group.code.as_deref() == Some(code))
            .map(|group| group.day)
            .sum()
    };
    let mut findings = Vec::new();
    let unknown = of("outcome_unknown");
    if unknown > 0 {
        findings.push(Finding::fault(
            "commands",
            format!("{unknown} of unknown outcome"),
            "`ticketwire command list --code outcome_unknown`; look at the platform, then \
             `command resolve`",
        ));
    }
    let quarantined = of("quarantined");
    if quarantined > 0 {
        findings.push(Finding::fault(
            "commands",
            format!("{quarantined} quarantined within a day"),
            "each killed its worker three times: keep the log, report it; `command list --code \
             quarantined`",
        ));
    }
    findings
}

fn of_failures(group: &Ended, succeeded: i64) -> Finding {
    let code = group.code.as_deref().unwrap_or("internal");
    let told = group
        .message
        .as_ref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    let text = format!(
        "{}: {} failed with {code} within an hour ({succeeded} succeeded), the last at {}{told}",
        who(
            group.name.as_deref(),
            group.platform_name.as_deref(),
            group.integration_id
        ),
        group.hour,
        group.last_at.format("%H:%M UTC"),
    );
    let id = group.integration_id.map(|id| id.to_string());
    let list = match &id {
        Some(id) => format!("`ticketwire command list --integration {id} --code {code}`"),
        None => format!("`ticketwire command list --code {code}`"),
    };
    let (is_ours, remedy) = remedy(code, id.as_deref().unwrap_or("ID"));
    let remedy = format!("{remedy}; {list}");
    if is_ours || (succeeded == 0 && group.hour >= ALL_FAILED) {
        Finding::fault("failures", text, remedy)
    } else {
        Finding::notice("failures", text, remedy)
    }
}

/// Whether whoever runs the worker has something to mend, and what; else it is the producer's, or
/// of a single command.
fn remedy(code: &str, id: &str) -> (bool, String) {
    let Some(code) = ErrorCode::parse(code) else {
        return (true, "see the worker's log".to_owned());
    };
    match code {
        ErrorCode::AuthenticationFailed => (
            true,
            format!(
                "renew its credential: `ticketwire integration update {id} --credentials …`, \
                 then `integration test {id}`"
            ),
        ),
        ErrorCode::PermissionDenied => (
            true,
            format!(
                "give the account its rights on the platform, then `ticketwire integration \
                     test {id}`"
            ),
        ),
        ErrorCode::CredentialsUnreadable => (
            true,
            "put the key that sealed them back into secrets.keys (`ticketwire keys rotate \
             --dry-run` names it)"
                .to_owned(),
        ),
        ErrorCode::IntegrationDisabled => (
            true,
            format!(
                "`ticketwire integration enable {id}` if it is to work, else have the producer \
                 stop sending to it"
            ),
        ),
        ErrorCode::IntegrationInactive => (
            true,
            format!("`ticketwire integration test {id}` activates it when it passes"),
        ),
        ErrorCode::IntegrationExpired => (
            true,
            format!(
                "`ticketwire integration update {id} --data \
                     '{{\"expires_at\": …, \"credentials\": …}}'`"
            ),
        ),
        ErrorCode::EgressBlocked => (
            true,
            "allow the address in egress.allow (or egress.allow_http), or mend the \
             integration's base_url"
                .to_owned(),
        ),
        ErrorCode::AttemptsExhausted
        | ErrorCode::PlatformUnavailable
        | ErrorCode::Timeout
        | ErrorCode::RateLimited
        | ErrorCode::CircuitOpen
        | ErrorCode::MaintenanceWindow => (
            true,
            format!(
                "`ticketwire integration test {id}`; once the platform is well again, `command \
                 retry --integration {id} --state failed`"
            ),
        ),
        ErrorCode::Internal => (true, "see the worker's log for these commands".to_owned()),
        ErrorCode::OutcomeUnknown => (
            true,
            "look at the platform, then `command resolve`".to_owned(),
        ),
        ErrorCode::Quarantined => (true, "keep the worker's log and report it".to_owned()),
        ErrorCode::UnsupportedPlatform
        | ErrorCode::UnsupportedOperation
        | ErrorCode::IntegrationCannotHandle => (
            false,
            "`ticketwire platforms` shows what each can do; the producer sends it what it \
             cannot"
                .to_owned(),
        ),
        ErrorCode::InvalidCommand
        | ErrorCode::UnknownType
        | ErrorCode::IdempotencyConflict
        | ErrorCode::Expired
        | ErrorCode::Cancelled
        | ErrorCode::OrganizationNotFound
        | ErrorCode::OrganizationDisabled
        | ErrorCode::IntegrationNotFound
        | ErrorCode::TicketNotFound
        | ErrorCode::ExternalNotFound
        | ErrorCode::ValidationFailed
        | ErrorCode::Conflict => (
            false,
            "the message says what the command or the integration's settings ask for that is \
             not there"
                .to_owned(),
        ),
    }
}

/// Whether what they wait for is a look-up that the platform refused.
fn is_refused(group: &Waiting) -> bool {
    group.wait_reason == Some(WaitReason::LookUpRefused)
}

/// Nobody knows whether they happened, and nobody can find out before a person has mended the
/// credential.
fn of_refused_look_up(group: &Waiting) -> Finding {
    let id = group
        .integration_id
        .map_or_else(|| "ID".to_owned(), |id| id.to_string());
    let text = format!(
        "{} of unknown outcome at {} cannot be looked up, the oldest for {}: {}",
        group.count,
        who(
            group.name.as_deref(),
            group.platform_name.as_deref(),
            group.integration_id
        ),
        age(group.oldest_seconds),
        group.decided_by.as_deref().unwrap_or_default(),
    );
    let remedy = format!(
        "mend its credential: `ticketwire integration update {id} --credentials …`, then \
         `integration test {id}`; which ones: `ticketwire command list --integration {id} \
         --code outcome_unknown`"
    );
    Finding::fault("waiting", text, remedy)
}

/// What waits for longer than a moment, and for what.
pub(super) fn of_waiting(waiting: &[Waiting]) -> Vec<Finding> {
    let long: Vec<&Waiting> = waiting
        .iter()
        .filter(|group| group.oldest_seconds >= SHORT_SECONDS && !is_refused(group))
        .collect();
    let refused = waiting.iter().filter(|group| is_refused(group));
    let mut findings: Vec<Finding> = refused.map(of_refused_look_up).collect();
    let others: Vec<Finding> = long
        .iter()
        .take(NAMED_MAX)
        .map(|group| {
            let count = if group.count > ROWS_MAX {
                format!("over {ROWS_MAX}")
            } else {
                group.count.to_string()
            };
            let reason = match &group.held {
                Some(hold) => hold.text.clone(),
                None => group
                    .decided_by
                    .clone()
                    .unwrap_or_else(|| "their turn or a free place".to_owned()),
            };
            // What holds them may have no end that is known; their own time is over or comes to
            // nothing then.
            let next_at = match &group.held {
                Some(hold) => hold.until,
                None => group.next_at,
            };
            let next = next_at
                .map(|at| format!(", the next runs at {}", at.format("%H:%M:%S UTC")))
                .unwrap_or_default();
            let text = format!(
                "{count} wait for {}, the oldest for {}: {} ({reason}){next}",
                who(
                    group.name.as_deref(),
                    group.platform_name.as_deref(),
                    group.integration_id
                ),
                age(group.oldest_seconds),
                group.code.as_deref().unwrap_or("nothing went wrong"),
            );
            let look = group.integration_id.map_or_else(
                || "`ticketwire command list --state deferred`".to_owned(),
                |id| format!("`ticketwire command list --integration {id} --state deferred`"),
            );
            Finding::notice("waiting", text, look)
        })
        .collect();
    findings.extend(others);
    if long.len() > NAMED_MAX {
        let text = format!("and {} more groups", long.len() - NAMED_MAX);
        let look = "`ticketwire command list --state deferred`";
        findings.push(Finding::notice("waiting", text, look));
    }
    findings
}

pub(super) fn of_unsent(unsent: &[Unsent]) -> Vec<Finding> {
    if unsent.is_empty() {
        return vec![Finding::ok("events", "none is waiting for the broker")];
    }
    unsent
        .iter()
        .map(|group| {
            let target = if group.target.is_empty() {
                "the events exchange".to_owned()
            } else {
                format!("the reply queue {}", group.target)
            };
            let oldest = age(group.oldest_seconds);
            if group.refused > 0 {
                let text = format!(
                    "{} for {target} were refused by the broker and wait, the oldest for {oldest}",
                    group.refused
                );
                let remedy = "a queue bound there is full, or an alarm is on: `rabbitmqctl \
                              list_queues name messages`";
                return Finding::fault("events", text, remedy);
            }
            let text = format!(
                "{} for {target} wait for over a minute, the oldest for {oldest}",
                group.count
            );
            let remedy = "is a worker running, and does RabbitMQ answer it? see its log";
            Finding::fault("events", text, remedy)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: Option<&str>, hour: i64) -> Ended {
        Ended {
            integration_id: Some(Uuid::nil()),
            name: Some("Jira".into()),
            platform_name: Some("jira".into()),
            code: code.map(str::to_owned),
            hour,
            day: hour,
            last_at: chrono::DateTime::UNIX_EPOCH,
            message: Some("no".into()),
        }
    }

    fn faults(ended: Vec<Ended>) -> usize {
        let lately = Lately {
            received_within: "3 days",
            ended,
        };
        let findings = of_lately(Some(&lately));
        findings.iter().filter(|finding| finding.is_fault()).count()
    }

    #[test]
    fn a_refused_credential_is_a_fault_and_a_producers_mistake_only_where_nothing_succeeds() {
        assert_eq!(faults(vec![ended(Some("authentication_failed"), 1)]), 1);
        assert_eq!(faults(vec![ended(Some("integration_disabled"), 1)]), 1);
        assert_eq!(faults(vec![ended(Some("validation_failed"), 2)]), 0);
        assert_eq!(faults(vec![ended(Some("validation_failed"), 3)]), 1);
        let mixed = vec![ended(Some("validation_failed"), 3), ended(None, 1)];
        assert_eq!(faults(mixed), 0);
        assert_eq!(faults(vec![ended(Some("outcome_unknown"), 0)]), 0);
        assert_eq!(faults(vec![ended(None, 9)]), 0);
    }
}
