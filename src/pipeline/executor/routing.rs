//! Which integration takes a ticket that names none: those that can, by their rank; and why not the
//! others.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::domain::routing::{Effort, Rank, Subject, Traits, rank};
use crate::domain::{ErrorCode, Failure};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::executor::gates;

/// One that can take the ticket.
pub(in crate::pipeline) struct Candidate {
    pub(in crate::pipeline) handle: Arc<ConnectedIntegration>,
    rank: Rank,
    /// It is in its maintenance window: it comes after all others, and the ticket would wait.
    waits: Option<Failure>,
}

/// What became of looking at every integration of an organization.
pub(in crate::pipeline) struct Routing {
    /// The best first.
    pub(in crate::pipeline) candidates: Vec<Candidate>,
    rejected: Vec<(Arc<ConnectedIntegration>, Failure)>,
}

/// Integrations and bytes of text from which on a choice is made on a thread of its own: others are
/// not to wait for it.
const LONG: (usize, usize) = (50, 4 << 10);

impl Routing {
    pub(in crate::pipeline) async fn of(
        handles: Vec<Arc<ConnectedIntegration>>,
        ticket: Traits,
        now: DateTime<Utc>,
    ) -> Self {
        let rules: usize = handles
            .iter()
            .map(|handle| handle.row.routing_rules.weight())
            .sum();
        let is_long = handles.len() > LONG.0 || rules + ticket.description.len() > LONG.1;
        if !is_long {
            return Self::choose(handles, &ticket, now);
        }
        match tokio::task::spawn_blocking(move || Self::choose(handles, &ticket, now)).await {
            Ok(routing) => routing,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and with it whoever asked.
                Err(_) => Self {
                    candidates: Vec::new(),
                    rejected: Vec::new(),
                },
            },
        }
    }

    fn choose(
        handles: Vec<Arc<ConnectedIntegration>>,
        ticket: &Traits,
        now: DateTime<Utc>,
    ) -> Self {
        let (subject, mut effort) = (Subject::of(ticket), Effort::default());
        let mut routing = Self {
            candidates: Vec::new(),
            rejected: Vec::new(),
        };
        for handle in handles {
            if let Some(failure) = obstacle(&handle, ticket, now) {
                routing.rejected.push((handle, failure));
                continue;
            }
            let row = &handle.row;
            routing.candidates.push(Candidate {
                rank: rank(
                    row.default_priority,
                    &row.routing_rules,
                    &subject,
                    &mut effort,
                ),
                waits: gates::in_maintenance(row, now).map(|(_, failure)| failure),
                handle,
            });
        }
        // Of equals the one with the smaller id, so that every worker chooses alike.
        routing
            .candidates
            .sort_by_key(|c| (c.waits.is_some(), c.rank.priority, c.handle.row.id));
        routing
    }

    /// Why nobody takes it.
    pub(in crate::pipeline) fn failure(&self) -> Failure {
        let mut reasons: Vec<String> = self
            .rejected
            .iter()
            .take(5)
            .map(|(_, failure)| failure.message.clone())
            .collect();
        if self.rejected.len() > reasons.len() {
            reasons.push(format!("and {} more", self.rejected.len() - reasons.len()));
        }
        let text = if reasons.is_empty() {
            "the organization has no integration that could take the ticket".to_owned()
        } else {
            format!("no integration takes the ticket: {}", reasons.join("; "))
        };
        Failure::new(ErrorCode::IntegrationCannotHandle, text)
    }

    /// For `integration.route`.
    pub(in crate::pipeline) fn to_json(&self) -> Value {
        let candidates: Vec<Value> = self
            .candidates
            .iter()
            .enumerate()
            .map(|(index, candidate)| {
                let row = &candidate.handle.row;
                let mut reasons = vec![format!("default_priority {}", row.default_priority)];
                let (adjustments, more) = candidate.rank.adjustments(&row.routing_rules);
                reasons.extend(adjustments.iter().map(|adjustment| {
                    format!(
                        "{:+} by rule {}: {}",
                        adjustment.priority_adjustment, adjustment.rule, adjustment.because
                    )
                }));
                if more > 0 {
                    reasons.push(format!("and {more} more rules"));
                }
                if candidate.rank.unread > 0 {
                    reasons.push(format!(
                        "{} rules were not looked at, as there are too many: keep to what \
                         integration.update takes",
                        candidate.rank.unread
                    ));
                }
                reasons.extend(
                    candidate
                        .waits
                        .iter()
                        .map(|failure| failure.message.clone()),
                );
                json!({
                    "rank": index + 1, "integration_id": row.id, "name": row.name,
                    "platform_name": row.platform_name,
                    "integration_category": row.category, "priority": candidate.rank.priority,
                    "default_priority": row.default_priority, "adjustments": adjustments,
                    "waits": candidate.waits.is_some(), "reasons": reasons,
                })
            })
            .collect();
        let rejected: Vec<Value> = self
            .rejected
            .iter()
            .map(|(handle, failure)| {
                let row = &handle.row;
                json!({
                    "integration_id": row.id, "name": row.name, "platform_name": row.platform_name,
                    "code": failure.code, "reason": failure.message,
                })
            })
            .collect();
        json!({ "candidates": candidates, "rejected": rejected })
    }
}

/// Why an integration cannot take the ticket, if it cannot.
fn obstacle(handle: &ConnectedIntegration, ticket: &Traits, now: DateTime<Utc>) -> Option<Failure> {
    let row = &handle.row;
    if let Some(failure) = gates::takes_no_work(row, now) {
        return Some(failure);
    }
    if let Err(failure) = &handle.adapter {
        return Some(failure.clone());
    }
    gates::cannot_handle(
        row,
        ticket.category,
        ticket.priority,
        ticket.department.as_deref(),
    )
}
