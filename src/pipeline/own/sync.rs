//! `integration.sync`: what changed on the platform is brought into our tickets and told to the world. Reads only, so
//! it may be repeated; what was seen before changes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::core::Core;
use super::super::gates;
use super::super::integrations::Handle;
use super::super::job::Job;
use super::super::tokens::TokenCache;
use super::{Done, Refusal};
use crate::contract::{IntegrationSync, Subject, notice};
use crate::domain::{ErrorCode, Failure};
use crate::platforms::{ErrorClass, Exchange, ExternalItem};
use crate::store::{
    BoundTicket, OutboxRow, OwnEffect, StoreError, SyncRecord, SyncedTicket, chain,
};

/// Most items of one sync; the next one goes on where this one stopped.
const ITEMS_MAX: usize = 2000;
/// Where adapters keep an id that survives a change of the one people quote.
const STABLE: &str = "issue_id";

pub(super) async fn run(core: &Core, job: &Job, what: &IntegrationSync) -> Result<Done, Refusal> {
    let handle = gates::owned(job)?;
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return Err(failure.clone().into()),
    };
    if what.outbound {
        let text = "what we hold goes out by commands, each with an outcome of its own; only direction inbound is synced";
        return Err(Failure::new(ErrorCode::UnsupportedOperation, text).into());
    }
    let began = Utc::now();
    let since = handle.row.last_sync_at.filter(|_| !what.full);
    let deadline = Instant::now() + core.config.dispatch.attempt_timeout;
    let mut items: Vec<ExternalItem> = Vec::new();
    let mut cursor: Option<String> = None;
    let complete = loop {
        let tokens = TokenCache::new(core, Some(&handle));
        let exchange = Exchange::new(
            &core.http,
            deadline,
            core.lease.as_ref(),
            &tokens,
            crate::platforms::strangers(handle.row.platform),
        );
        let page = adapter
            .changes(&exchange, since, cursor.as_deref())
            .await
            .map_err(|error| {
                tracing::info!(command_id = %job.id, error = %error, "a sync failed");
                let failure = error.failure();
                match error.class {
                    ErrorClass::Transient { retry_after }
                    | ErrorClass::RateLimited { retry_after } => {
                        Refusal::Later(failure, retry_after.max(exchange.asked_to_wait()))
                    }
                    ErrorClass::Timeout | ErrorClass::Unknown | ErrorClass::Internal => {
                        Refusal::Later(failure, exchange.asked_to_wait())
                    }
                    ErrorClass::Authentication
                    | ErrorClass::Permission
                    | ErrorClass::NotFound
                    | ErrorClass::Validation { .. }
                    | ErrorClass::Gone
                    | ErrorClass::Conflict
                    | ErrorClass::Unsupported
                    | ErrorClass::Egress => Refusal::For(failure),
                }
            })?;
        items.extend(page.items);
        match page.next {
            None => break true,
            Some(_) if items.len() >= ITEMS_MAX => break false,
            Some(next) => cursor = Some(next),
        }
    };
    let bound = bound(core, &handle, &items).await.map_err(|error| {
        tracing::warn!(command_id = %job.id, error = chain(&error), "a sync cannot read our tickets");
        Refusal::Later(
            Failure::new(ErrorCode::Internal, "the database is not reachable"),
            None,
        )
    })?;
    let (record, counts) = compare(job, &handle, &items, &bound, complete, began);
    let mut result = json!({
        "integration_id": handle.row.id, "sync_type": if what.full { "full" } else { "incremental" },
        "direction": "inbound", "dry_run": what.dry_run, "counts": counts, "errors": [], "complete": complete,
        "since": since,
    });
    if what.dry_run {
        let changes: Vec<Value> = record
            .tickets
            .iter()
            .take(100)
            .map(|t| json!({ "ticket_id": t.id, "status": t.status, "priority": t.priority, "external_ticket_id": t.external_id }))
            .collect();
        result["changes"] = changes.into();
    }
    Ok(Done {
        handle: Some(handle),
        result,
        effect: (!what.dry_run).then(|| OwnEffect::RecordSync(Box::new(record))),
    })
}

async fn bound(
    core: &Core,
    handle: &Handle,
    items: &[ExternalItem],
) -> Result<Vec<BoundTicket>, StoreError> {
    let names: Vec<String> = items.iter().map(|item| item.external_id.clone()).collect();
    let stable: Vec<String> = items
        .iter()
        .filter_map(|item| item.external_ref.get(STABLE)?.as_str().map(str::to_owned))
        .collect();
    core.store
        .bound_tickets(handle.row.id, &names, STABLE, &stable)
        .await
}

/// What differs between theirs and ours.
fn compare(
    job: &Job,
    handle: &Handle,
    items: &[ExternalItem],
    bound: &[BoundTicket],
    complete: bool,
    began: chrono::DateTime<Utc>,
) -> (SyncRecord, Value) {
    let by_name: HashMap<&str, &BoundTicket> = bound
        .iter()
        .map(|ticket| (ticket.external_id.as_str(), ticket))
        .collect();
    let by_stable: HashMap<&str, &BoundTicket> = bound
        .iter()
        .filter_map(|ticket| Some((ticket.stable_id.as_deref()?, ticket)))
        .collect();
    let row = &handle.row;
    let subject = Subject {
        id: row.id,
        organization_id: row.organization_id,
        category: row.category,
        platform: row.platform,
    };
    let mut record = SyncRecord {
        integration_id: row.id,
        organization_id: job.organization_id,
        seen_until: if complete {
            began
        } else {
            // The next one goes on behind the last that was seen.
            items
                .last()
                .and_then(|item| item.updated_at)
                .unwrap_or(began)
        },
        tickets: Vec::new(),
        events: Vec::new(),
    };
    let (mut updated, mut unchanged, mut unknown) = (0u64, 0u64, 0u64);
    for item in items {
        let stable = item.external_ref.get(STABLE).and_then(Value::as_str);
        let ours = stable
            .and_then(|id| by_stable.get(id))
            .or_else(|| by_name.get(item.external_id.as_str()));
        let Some(ours) = ours else {
            unknown += 1;
            record
                .events
                .push(told("ticket.external.created", &subject, job, item, None));
            continue;
        };
        // A closed ticket of ours is where the platform's "done" wants it.
        let status = item.status.filter(|status| !same(*status, ours.status));
        let priority = item.priority.filter(|priority| *priority != ours.priority);
        let moved = item.external_id != ours.external_id;
        if status.is_none() && priority.is_none() && !moved {
            unchanged += 1;
            continue;
        }
        updated += 1;
        record.tickets.push(SyncedTicket {
            id: ours.id,
            status,
            priority,
            external_id: moved.then(|| item.external_id.clone()),
            external_url: item.external_url.clone().filter(|_| moved),
        });
        record.events.push(told(
            "ticket.external.updated",
            &subject,
            job,
            item,
            Some(ours),
        ));
    }
    let counts = json!({
        "seen": items.len(), "updated": updated, "unchanged": unchanged, "unknown": unknown, "errors": 0,
    });
    (record, counts)
}

/// Whether a platform's status is no news: it knows fewer than we do.
fn same(theirs: crate::domain::TicketStatus, ours: crate::domain::TicketStatus) -> bool {
    use crate::domain::TicketStatus::{
        Cancelled, Closed, InProgress, New, Open, Pending, Resolved,
    };
    matches!(
        (theirs, ours),
        (New | Open, New | Open)
            | (InProgress | Pending, InProgress | Pending)
            | (Resolved | Closed, Resolved | Closed)
            | (Cancelled, Cancelled)
    )
}

fn told(
    event_type: &str,
    subject: &Subject,
    job: &Job,
    item: &ExternalItem,
    ours: Option<&BoundTicket>,
) -> OutboxRow {
    let facts = json!({
        "ticket_id": ours.map(|ticket| ticket.id), "origin": "sync",
        "external_ticket_id": item.external_id, "external_ticket_url": item.external_url,
        "title": item.title, "status": item.status, "priority": item.priority, "updated_at": item.updated_at,
        "old_status": ours.map(|ticket| ticket.status), "old_priority": ours.map(|ticket| ticket.priority),
    });
    let facts = match facts {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let mut told = notice(event_type, subject, Some(job.id), facts);
    // The same change seen again by the next sync's overlap is the same event.
    let name = format!("{event_type} {} {:?}", item.external_id, item.updated_at);
    let id = Uuid::new_v5(&subject.id.uuid(), name.as_bytes());
    told.body = told.body.replace(&told.id.to_string(), &id.to_string());
    told.id = id;
    OutboxRow::from(told)
}
