//! The gates before a platform is called: pure, without IO. They say what becomes of a command that may not run, and
//! where it goes if it may.

use std::sync::Arc;

use chrono::{DateTime, NaiveTime, Utc};

use super::integrations::Handle;
use super::job::{Job, Organization};
use super::policy::{Next, after};
use crate::contract::Command;
use crate::domain::{ErrorCode, Failure, IntegrationStatus, Priority, TicketCategory};
use crate::platforms::Adapter;

/// How long a command for a ticket that is not known waits for it (contract §4).
const UNKNOWN_TICKET_WAIT: std::time::Duration = std::time::Duration::from_secs(30);
/// The third death of a process that ran it alone quarantines a command.
const DEATHS_MAX: i32 = 3;

/// What the gates say.
pub(super) enum Verdict {
    /// Call the platform through this integration.
    Call(Arc<Handle>, Arc<dyn Adapter>),
    /// No platform is concerned: our own row only.
    Own,
    /// Not now; no attempt is spent.
    Later(Next, Failure),
    /// Its ticket is not known yet: back in line, without the turn.
    Wait(DateTime<Utc>),
    /// Not at all.
    Refuse(Failure),
}

/// The gates of a command about a ticket, in the contract's order.
pub(super) fn ticket(job: &Job, now: DateTime<Utc>) -> Verdict {
    if job.deaths >= DEATHS_MAX {
        let text = "the worker died three times while running this command alone; it is kept from running again until \
                    somebody looks at it (`ticketwire command retry` runs it again)";
        return Verdict::Refuse(Failure::new(ErrorCode::Quarantined, text));
    }
    if job.attempt == 0
        && job.doubt_since.is_none()
        && job.expires_at.is_some_and(|expiry| expiry <= now)
    {
        return Verdict::Refuse(Failure::new(
            ErrorCode::Expired,
            "its expirytime passed before it was started",
        ));
    }
    match job.organization {
        Organization::Missing => {
            let text = "no such organization; it becomes known with its first integration.create";
            return Verdict::Refuse(Failure::new(ErrorCode::OrganizationNotFound, text));
        }
        Organization::Disabled => {
            return Verdict::Refuse(Failure::new(
                ErrorCode::OrganizationDisabled,
                "the organization is disabled",
            ));
        }
        Organization::Enabled => {}
    }
    if let Command::TicketCreate(create) = &*job.command {
        return create_gate(job, create, now);
    }
    let Some(stored) = job
        .ticket
        .as_deref()
        .filter(|t| t.organization_id == job.organization_id && !t.is_deleted)
    else {
        let until = after(job.received_at, UNKNOWN_TICKET_WAIT);
        if now < until {
            return Verdict::Wait(until);
        }
        let text = "no such ticket; it was waited for as long as 30 s";
        return Verdict::Refuse(Failure::new(ErrorCode::TicketNotFound, text));
    };
    if let Command::TicketUpdate(update) = &*job.command
        && let Some(named) = update.integration_id
        && (stored.integration_id != Some(named) || stored.view.external_id.is_none())
    {
        let text = "the ticket has no item in that integration; ticket.create with this ticket_id and that \
                    integration_id makes one";
        return Verdict::Refuse(Failure::new(ErrorCode::Conflict, text));
    }
    if stored.view.external_id.is_none() || stored.integration_id.is_none() {
        return Verdict::Own;
    }
    resolve(job, now)
}

fn create_gate(job: &Job, create: &crate::contract::TicketCreate, now: DateTime<Utc>) -> Verdict {
    if create.has_attachments {
        let text = "this version does not take attachments with ticket.create yet; leave them out";
        return Verdict::Refuse(Failure::new(ErrorCode::UnsupportedOperation, text));
    }
    if create.route {
        let text =
            "this version does not route tickets yet; name the integration by integration_id";
        return Verdict::Refuse(Failure::new(ErrorCode::UnsupportedOperation, text));
    }
    if let Some(stored) = job.ticket.as_deref() {
        if stored.organization_id != job.organization_id || stored.is_deleted {
            let text = "this ticket_id cannot be used; leave it out or choose a new one";
            return Verdict::Refuse(Failure::new(ErrorCode::Conflict, text));
        }
        if let Some(external) = &stored.view.external_id {
            let text =
                format!("the ticket exists already, as {external}; change it with ticket.update");
            return Verdict::Refuse(Failure::new(ErrorCode::Conflict, text));
        }
    }
    if create.integration_id.is_none() || !create.create_externally {
        return Verdict::Own;
    }
    match resolve(job, now) {
        Verdict::Call(handle, adapter) => {
            match cannot_handle(&handle, create.category, create.priority) {
                Some(failure) => Verdict::Refuse(failure),
                None => Verdict::Call(handle, adapter),
            }
        }
        other @ (Verdict::Own | Verdict::Later(..) | Verdict::Wait(_) | Verdict::Refuse(_)) => {
            other
        }
    }
}

/// Resolution by id: deleted and foreign ones are not found; disabled wins; then expired; then any status but active.
fn resolve(job: &Job, now: DateTime<Utc>) -> Verdict {
    let handle = match owned(job) {
        Ok(handle) => handle,
        Err(failure) => return Verdict::Refuse(failure),
    };
    let row = &handle.row;
    let refuse = |code, text: String| Verdict::Refuse(Failure::new(code, text));
    if !row.enabled {
        let text = format!(
            "integration {} is disabled; enable it with integration.status",
            row.id
        );
        return refuse(ErrorCode::IntegrationDisabled, text);
    }
    if row.status == IntegrationStatus::Expired
        || row.expires_at.is_some_and(|expiry| expiry <= now)
    {
        let text = format!(
            "the credentials of integration {} have expired; renew them",
            row.id
        );
        return refuse(ErrorCode::IntegrationExpired, text);
    }
    if row.status != IntegrationStatus::Active {
        let text = format!(
            "integration {} is {}, not active; integration.test activates it when its tests pass",
            row.id, row.status
        );
        return refuse(ErrorCode::IntegrationInactive, text);
    }
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return Verdict::Refuse(failure.clone()),
    };
    if let Some(until) = maintenance_until(&handle, now) {
        let failure = Failure::new(
            ErrorCode::MaintenanceWindow,
            format!(
                "integration {} is in its maintenance window until {}",
                row.id,
                until.format("%H:%M UTC")
            ),
        );
        return Verdict::Later(
            Next {
                at: until,
                decided_by: "maintenance_window_end".into(),
            },
            failure,
        );
    }
    Verdict::Call(handle, adapter)
}

/// The command's integration, if it is of the command's organization.
pub(super) fn owned(job: &Job) -> Result<Arc<Handle>, Failure> {
    job.integration
        .as_ref()
        .filter(|handle| {
            !handle.is_deleted && handle.row.organization_id == Some(job.organization_id)
        })
        .map(Arc::clone)
        .ok_or_else(|| {
            let named = job
                .integration_id
                .map_or_else(String::new, |id| format!(" {id}"));
            Failure::new(
                ErrorCode::IntegrationNotFound,
                format!("no integration{named} in this organization"),
            )
        })
}

fn cannot_handle(handle: &Handle, category: TicketCategory, priority: Priority) -> Option<Failure> {
    let row = &handle.row;
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
    } else {
        return None;
    };
    Some(Failure::new(ErrorCode::IntegrationCannotHandle, text))
}

/// The end of the daily window, if `now` is in it; a window may go over midnight. An unreadable one is none.
fn maintenance_until(handle: &Handle, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let clock = |text: &Option<String>| NaiveTime::parse_from_str(text.as_deref()?, "%H:%M").ok();
    let start = clock(&handle.row.maintenance_window_start)?;
    let end = clock(&handle.row.maintenance_window_end)?;
    window_until(start, end, now)
}

fn window_until(start: NaiveTime, end: NaiveTime, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let time = now.time();
    let inside = if start <= end {
        start <= time && time < end
    } else {
        time >= start || time < end
    };
    if !inside {
        return None;
    }
    let today = now.date_naive().and_time(end).and_utc();
    Some(if today > now {
        today
    } else {
        today + chrono::Duration::days(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .with_timezone(&Utc)
    }

    #[test]
    fn a_maintenance_window_may_go_over_midnight() {
        let clock = |text| NaiveTime::parse_from_str(text, "%H:%M").unwrap();
        let (late, early) = (clock("22:30"), clock("02:00"));

        assert_eq!(window_until(late, early, at("2026-01-31T22:29:59Z")), None);
        assert_eq!(
            window_until(late, early, at("2026-01-31T22:30:00Z")),
            Some(at("2026-02-01T02:00:00Z"))
        );
        assert_eq!(
            window_until(late, early, at("2026-02-01T01:59:59Z")),
            Some(at("2026-02-01T02:00:00Z"))
        );
        assert_eq!(window_until(late, early, at("2026-02-01T02:00:00Z")), None);
        assert_eq!(
            window_until(early, late, at("2026-02-01T12:00:00Z")),
            Some(at("2026-02-01T22:30:00Z"))
        );
    }
}
