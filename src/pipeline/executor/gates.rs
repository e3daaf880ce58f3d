//! The gates before a platform is called: pure, without IO. They say what becomes of a command that
//! may not run, and where it goes if it may.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::job::{Job, Organization};
use crate::pipeline::retry::{Next, after};
use serde_json::Value;

use crate::contract::{Command, TicketCommand};
use crate::domain::{
    ErrorCode, Failure, Integration, IntegrationId, IntegrationStatus, Priority, TicketCategory,
    Wait, WaitReason, maintenance_until,
};
use crate::platforms::Driver;

/// How long a command for a ticket that is not known waits for it (contract §4).
const UNKNOWN_TICKET_WAIT: std::time::Duration = std::time::Duration::from_secs(30);
/// How often a command that waits for its integration's credential looks whether it still has to.
pub(in crate::pipeline) const PARKED_LOOK: std::time::Duration =
    std::time::Duration::from_secs(3600);
/// The third death of a process that ran it alone quarantines a command.
const DEATHS_MAX: i32 = 3;

/// What the gates say.
pub(in crate::pipeline) enum GateDecision {
    /// Call the platform through this integration.
    Call(Arc<ConnectedIntegration>, Arc<Driver>),
    /// No platform is concerned: our own row only.
    Local,
    /// Which integration takes it is for the rules to say.
    Route,
    /// Not now; no attempt is spent.
    Later(Next, Failure),
    /// Its ticket is not known yet: back in line, without the turn.
    Wait(DateTime<Utc>),
    /// Not at all.
    Refuse(Failure),
}

/// The gates of a command about a ticket, in the contract's order.
pub(in crate::pipeline) fn ticket(job: &Job, now: DateTime<Utc>) -> GateDecision {
    if let Some(refusal) = before_all(job, now) {
        return refusal;
    }
    if let Command::Ticket(TicketCommand::Create(create)) = &*job.command {
        return create_gate(job, create, now);
    }
    let Some(stored) = job
        .ticket
        .as_deref()
        .filter(|t| t.organization_id == job.organization_id && !t.is_deleted)
    else {
        let until = after(job.received_at, UNKNOWN_TICKET_WAIT);
        if now < until {
            return GateDecision::Wait(until);
        }
        let text = "no such ticket; it was waited for as long as 30 s";
        return GateDecision::Refuse(Failure::new(ErrorCode::TicketNotFound, text));
    };
    if let Command::Ticket(TicketCommand::Update(update)) = &*job.command
        && let Some(named) = update.integration_id
        && (stored.integration_id != Some(named) || stored.view.external_id.is_none())
    {
        let text = "the ticket has no item in that integration; ticket.create with this \
                    ticket_id and that integration_id makes one";
        return GateDecision::Refuse(Failure::new(ErrorCode::Conflict, text));
    }
    if stored.view.external_id.is_none() || stored.integration_id.is_none() {
        if matches!(&*job.command, Command::Ticket(TicketCommand::Attach(_))) {
            let text = "the ticket is on no platform, and Ticketwire keeps no files";
            return GateDecision::Refuse(Failure::new(ErrorCode::UnsupportedOperation, text));
        }
        return GateDecision::Local;
    }
    resolve(job, now)
}

/// What is asked before anything else, whatever the command is about.
fn before_all(job: &Job, now: DateTime<Utc>) -> Option<GateDecision> {
    let refuse = |code, text: &str| Some(GateDecision::Refuse(Failure::new(code, text)));
    if job.deaths >= DEATHS_MAX {
        let text = "the worker died three times while running this command alone; it is kept \
                    from running again until somebody looks at it (`ticketwire command retry` \
                    runs it again)";
        return refuse(ErrorCode::Quarantined, text);
    }
    if job.attempt == 0
        && job.doubt_since.is_none()
        && job.expires_at.is_some_and(|expiry| expiry <= now)
    {
        let text = "its expirytime passed before it was started";
        return refuse(ErrorCode::Expired, text);
    }
    match job.organization {
        Organization::Missing => {
            let text = "no such organization; it becomes known with its first integration.create";
            refuse(ErrorCode::OrganizationNotFound, text)
        }
        Organization::Disabled => refuse(
            ErrorCode::OrganizationDisabled,
            "the organization is disabled",
        ),
        Organization::Enabled => None,
    }
}

/// Why what came from a platform is not read: what is asked before anything else says so.
pub(in crate::pipeline) fn inbound(job: &Job) -> Option<Failure> {
    match before_all(job, job.received_at) {
        Some(GateDecision::Refuse(failure)) => Some(failure),
        Some(
            GateDecision::Call(..)
            | GateDecision::Local
            | GateDecision::Route
            | GateDecision::Later(..)
            | GateDecision::Wait(_),
        )
        | None => None,
    }
}

/// Whether a text is worth an analysis: not, where its ticket could go nowhere. What the analysis
/// finds passes the gates of a create after it.
pub(in crate::pipeline) fn analysis(
    job: &Job,
    create: &crate::contract::TicketAiCreate,
    now: DateTime<Utc>,
) -> Option<GateDecision> {
    if let Some(refusal) = before_all(job, now) {
        return Some(refusal);
    }
    if create.integration_id.is_none() || !create.create_externally {
        return None;
    }
    match resolve(job, now) {
        GateDecision::Call(..) => None,
        other @ (GateDecision::Local
        | GateDecision::Route
        | GateDecision::Later(..)
        | GateDecision::Wait(_)
        | GateDecision::Refuse(_)) => Some(other),
    }
}

fn create_gate(
    job: &Job,
    create: &crate::contract::TicketCreate,
    now: DateTime<Utc>,
) -> GateDecision {
    if let Some(stored) = job.ticket.as_deref() {
        if stored.organization_id != job.organization_id || stored.is_deleted {
            let text = "this ticket_id cannot be used; leave it out or choose a new one";
            return GateDecision::Refuse(Failure::new(ErrorCode::Conflict, text));
        }
        if let Some(external) = &stored.view.external_id {
            let text =
                format!("the ticket exists already, as {external}; change it with ticket.update");
            return GateDecision::Refuse(Failure::new(ErrorCode::Conflict, text));
        }
    }
    if !create.create_externally {
        return no_files(create);
    }
    if create.integration_id.is_none() {
        if !create.route {
            return no_files(create);
        }
        // What was chosen stays chosen once something may have been sent there; until then a better
        // one may be found.
        let chosen = job.integration_id.is_some();
        if !chosen {
            return GateDecision::Route;
        }
        return match resolve(job, now) {
            GateDecision::Refuse(_) if job.attempt == 0 && job.doubt_since.is_none() => {
                GateDecision::Route
            }
            other @ (GateDecision::Call(..)
            | GateDecision::Local
            | GateDecision::Route
            | GateDecision::Later(..)
            | GateDecision::Wait(_)
            | GateDecision::Refuse(_)) => other,
        };
    }
    match resolve(job, now) {
        GateDecision::Call(handle, adapter) => {
            let department = create.department.as_deref();
            match cannot_handle(&handle.row, create.category, create.priority, department) {
                Some(failure) => GateDecision::Refuse(failure),
                None => GateDecision::Call(handle, adapter),
            }
        }
        other @ (GateDecision::Local
        | GateDecision::Route
        | GateDecision::Later(..)
        | GateDecision::Wait(_)
        | GateDecision::Refuse(_)) => other,
    }
}

/// A ticket that stays with us has nowhere to put a file.
fn no_files(create: &crate::contract::TicketCreate) -> GateDecision {
    if create.attachments.is_empty() {
        return GateDecision::Local;
    }
    let text = "the ticket goes to no platform, and Ticketwire keeps no files; name an \
                integration or leave the attachments out";
    GateDecision::Refuse(Failure::new(ErrorCode::UnsupportedOperation, text))
}

/// Resolution by id: deleted and foreign ones are not found; disabled wins; then expired; then any
/// status but active.
fn resolve(job: &Job, now: DateTime<Utc>) -> GateDecision {
    let handle = match owned(job) {
        Ok(handle) => handle,
        Err(failure) => return GateDecision::Refuse(failure),
    };
    let row = &handle.row;
    if let Some(since) = row.parked_at.filter(|_| row.enabled) {
        let text = format!(
            "the credential of integration {} was refused at {}; its commands wait until it is \
             mended and integration.test passes",
            row.id,
            since.format("%Y-%m-%d %H:%M UTC")
        );
        let next = Next {
            at: after(now, PARKED_LOOK),
            wait: Wait::of(WaitReason::CredentialRefused),
        };
        return GateDecision::Later(next, Failure::new(ErrorCode::AuthenticationFailed, text));
    }
    if let Some(failure) = takes_no_work(row, now) {
        return GateDecision::Refuse(failure);
    }
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return GateDecision::Refuse(failure.clone()),
    };
    if let Some((next, failure)) = in_maintenance(row, now) {
        return GateDecision::Later(next, failure);
    }
    GateDecision::Call(handle, adapter)
}

/// Departments that a refusal names, at most.
const DEPARTMENTS_SHOWN: usize = 20;

/// Why an integration takes no work, if it does not.
pub(in crate::pipeline) fn takes_no_work(row: &Integration, now: DateTime<Utc>) -> Option<Failure> {
    let (code, text) = if !row.enabled {
        (
            ErrorCode::IntegrationDisabled,
            format!(
                "integration {} is disabled; enable it with integration.status",
                row.id
            ),
        )
    } else if row.status == IntegrationStatus::Expired || row.has_expired(now) {
        (
            ErrorCode::IntegrationExpired,
            format!(
                "the credentials of integration {} have expired; renew them",
                row.id
            ),
        )
    } else if row.status != IntegrationStatus::Active {
        (
            ErrorCode::IntegrationInactive,
            format!(
                "integration {} is {}, not active; integration.test activates it when its tests \
                 pass",
                row.id, row.status
            ),
        )
    } else {
        return None;
    };
    Some(Failure::new(code, text))
}

/// Until when an integration is in its maintenance window, if it is.
pub(in crate::pipeline) fn in_maintenance(
    row: &Integration,
    now: DateTime<Utc>,
) -> Option<(Next, Failure)> {
    let until = maintenance_until(
        row.maintenance_window_start.as_deref(),
        row.maintenance_window_end.as_deref(),
        now,
    )?;
    let text = format!(
        "integration {} is in its maintenance window until {}",
        row.id,
        until.format("%H:%M UTC")
    );
    let next = Next {
        at: until,
        wait: Wait::of(WaitReason::MaintenanceWindow),
    };
    Some((next, Failure::new(ErrorCode::MaintenanceWindow, text)))
}

/// The command's integration, if it is of the command's organization.
pub(in crate::pipeline) fn owned(job: &Job) -> Result<Arc<ConnectedIntegration>, Failure> {
    job.integration
        .as_ref()
        .filter(|handle| {
            !handle.is_deleted && handle.row.organization_id == Some(job.organization_id)
        })
        .map(Arc::clone)
        .ok_or_else(|| not_found(job.integration_id))
}

/// There is no such integration, or it is another organization's.
pub(in crate::pipeline) fn not_found(id: Option<IntegrationId>) -> Failure {
    let named = id.map_or_else(String::new, |id| format!(" {id}"));
    let text = format!("no integration{named} in this organization");
    Failure::new(ErrorCode::IntegrationNotFound, text)
}

/// Why an integration does not take such a ticket, if it does not.
pub(in crate::pipeline) fn cannot_handle(
    row: &Integration,
    category: TicketCategory,
    priority: Priority,
    department: Option<&str>,
) -> Option<Failure> {
    let lacks =
        |list: &[String], wanted: &str| !list.is_empty() && !list.iter().any(|item| item == wanted);
    let text = if lacks(&row.supports_categories, category.as_str()) {
        format!(
            "integration {} takes only the categories {}",
            row.id,
            row.supports_categories.join(", ")
        )
    } else if lacks(&row.supports_priorities, priority.as_str()) {
        format!(
            "integration {} takes only the priorities {}",
            row.id,
            row.supports_priorities.join(", ")
        )
    } else if let Some(department) = department
        && !row.department_mapping.is_empty()
        && mapped_department(row, department).is_none()
    {
        let known = row.department_mapping.keys().map(String::as_str);
        let mut shown: Vec<&str> = known.take(DEPARTMENTS_SHOWN).collect();
        if row.department_mapping.len() > shown.len() {
            shown.push("…");
        }
        format!(
            "integration {} takes only the departments {}",
            row.id,
            shown.join(", ")
        )
    } else {
        return None;
    };
    Some(Failure::new(ErrorCode::IntegrationCannotHandle, text))
}

/// What an integration calls a department of ours: by `department_mapping`, without regard to case;
/// `*` stands for all others.
pub(in crate::pipeline) fn mapped_department<'a>(
    row: &'a Integration,
    department: &str,
) -> Option<&'a Value> {
    let wanted = department.to_lowercase();
    let named = row
        .department_mapping
        .iter()
        .find(|(name, _)| name.to_lowercase() == wanted);
    named
        .map(|(_, value)| value)
        .or_else(|| row.department_mapping.get("*"))
}
