//! What is left of a settlement that PostgreSQL refuses: the ticket's row is kept as far as it can
//! be, and the event says what is missing. Nothing is said that is not so.
//!
//! What a platform gives is made fit for the columns before it comes here (`platforms/bounds`), and
//! what a producer gives is checked when it arrives. This is for what nobody thought of: a
//! constraint that somebody else has put on a table, a row that another application has made.

use serde_json::{Value, json};

use crate::contract::{IntegrationResult, Outcome, turned_into_failure};
use crate::domain::{CommandState, ErrorCode, Failure};
use crate::store::{EventRecord, Settlement};

/// What is left out, step by step; each leaves out what those before did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// What the platform said beside the item's id.
    PlatformSaid,
    /// What the ticket says beside title, description and its enumerations.
    Extras,
    /// The item's id, too.
    Binding,
    /// The whole change of the row.
    Row,
}

const STEPS: [Step; 4] = [Step::PlatformSaid, Step::Extras, Step::Binding, Step::Row];

/// The settlements to try in place of a refused one, the fullest first.
pub(in crate::pipeline) fn reduced(refused: &Settlement) -> impl Iterator<Item = Settlement> {
    let changes_row = refused.ticket_insert.is_some() || refused.ticket_change.is_some();
    STEPS
        .into_iter()
        .filter(move |step| changes_row || *step == Step::Row)
        .map(|step| without(refused.clone(), step))
}

fn without(mut settlement: Settlement, step: Step) -> Settlement {
    let mut left_out = vec!["external_ticket_url", "external_ref", "details"];
    if step >= Step::Extras {
        left_out.extend(["department", "custom_fields", "tags", "ai_analysis"]);
    }
    if step >= Step::Binding {
        left_out.push("external_ticket_id");
    }
    let said = format!(
        "the database refused the ticket's row as it was; left out of it: {}",
        left_out.join(", ")
    );
    clean(&mut settlement);
    if step == Step::Row {
        let changed =
            settlement.ticket_insert.take().is_some() | settlement.ticket_change.take().is_some();
        if changed {
            without_row(&mut settlement);
        }
        return settlement;
    }
    if let Some(row) = &mut settlement.ticket_insert {
        row.external_ref.clear();
        bare(&mut row.integration_result, &said, step);
        if step >= Step::Extras {
            row.department = None;
            row.custom_fields.clear();
            row.tags.clear();
            row.analysis = None;
            // Users are not ours: one may be wanted there that is not.
            row.created_by = None;
            row.assigned_to = None;
        }
    }
    if let Some(row) = &mut settlement.ticket_change {
        row.external_url = None;
        row.external_ref.clear();
        bare(&mut row.integration_result, &said, step);
        if step >= Step::Extras {
            row.patch.department = None;
            row.patch.custom_fields = None;
            row.patch.tags = None;
        }
        if step >= Step::Binding {
            row.external_id = None;
        }
    }
    for event in &mut settlement.events {
        edit(event, |event| {
            let result = &mut event["data"]["result"];
            let platform = &mut result["integration_result"];
            if platform.is_object() {
                platform["external_ticket_url"] = Value::Null;
                platform["details"] = json!({ "left_out": said });
                if step >= Step::Binding {
                    platform["external_ticket_id"] = Value::Null;
                }
            } else if result.is_object() {
                result["left_out"] = said.as_str().into();
            }
        });
    }
    settlement
}

fn bare(result: &mut Option<IntegrationResult>, said: &str, step: Step) {
    let Some(result) = result else { return };
    result.external_ticket_url = None;
    result.details.clear();
    result.details.insert("left_out".into(), said.into());
    if step >= Step::Binding {
        result.external_ticket_id = None;
    }
}

/// Nothing of the row could be written. What the platform did stands and is said; what was to be
/// done by us alone was not done, and so it failed.
fn without_row(settlement: &mut Settlement) {
    let mut only_ours = false;
    for event in &mut settlement.events {
        edit(event, |event| {
            if event["data"]["outcome"] != "succeeded" {
                return;
            }
            let platform = &mut event["data"]["result"]["integration_result"];
            if platform.is_object() {
                platform["details"]["left_out"] =
                    "the database refused the ticket's row: it does not show this change".into();
            } else {
                only_ours = true;
            }
        });
    }
    if !only_ours {
        return;
    }
    let text = "the database refused the change; the worker's log has the details";
    let failure = Failure::new(ErrorCode::Internal, text).finally();
    settlement.state = CommandState::Failed;
    settlement.error_code = Some(failure.code);
    settlement.error = serde_json::to_string(&failure).ok();
    if let Some(attempt) = &mut settlement.attempt_record {
        attempt.outcome = Outcome::Failed;
        attempt.message = Some(failure.message.clone());
    }
    if let Some(report) = &mut settlement.report {
        report.outcome = Outcome::Failed;
    }
    for event in &mut settlement.events {
        edit(event, |event| event["data"]["result"] = Value::Null);
        let turned = turned_into_failure(&event.body, &event.routing_key, &failure);
        if let Some((body, routing_key)) = turned {
            event.body = body.into();
            event.routing_key = routing_key;
        }
    }
}

/// Changes an event that is JSON text by now.
fn edit(event: &mut EventRecord, change: impl FnOnce(&mut Value)) {
    // We wrote it ourselves a moment ago.
    if let Ok(mut value) = serde_json::from_str(&event.body) {
        change(&mut value);
        event.body = value.to_string().into();
    }
}

/// No text with NUL in it, which no column takes.
fn clean(settlement: &mut Settlement) {
    let scrub = |text: &mut Option<String>| {
        if let Some(text) = text.as_mut().filter(|text| text.contains('\0')) {
            *text = text.replace('\0', "\u{fffd}");
        }
    };
    scrub(&mut settlement.error);
    if let Some(attempt) = &mut settlement.attempt_record {
        scrub(&mut attempt.message);
    }
}
