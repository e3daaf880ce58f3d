//! Moving an issue to another status. Jira moves by transitions, which depend on the issue's status
//! and on the account: they are asked for each time.
//!
//! A summary is a comment of its own, which is the planned request; the issue is then moved before
//! it. A comment that rides along with a transition is dropped without an error where the
//! transition has no screen, which is the default.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{
    AdapterError, CallContext, Effect, ErrorClass, Facts, Known, PartlyDone, Plan, Prepared,
    Receipt, Request, Response,
};
use super::Jira;
use crate::domain::TicketStatus;

/// What [`Known`] calls the body of a transition.
const TRANSITION: &str = "transition";
/// What [`Known`] calls the status that it leads to: its name and its category.
const LEADS_TO: &str = "leads_to";
/// Fields of a transition that are sent otherwise than others.
const RESOLUTION: &str = "resolution";
const COMMENT: &str = "comment";
/// Where the receipt of a status says what became of its summary.
const SUMMARY_COMMENT: &str = "resolution_comment";

/// A status as an issue has it.
#[derive(Debug, Clone, Deserialize)]
struct Status {
    name: String,
    #[serde(rename = "statusCategory")]
    category: StatusCategory,
}

#[derive(Debug, Clone, Deserialize)]
struct StatusCategory {
    key: String,
}

/// A way from one status to another.
#[derive(Debug, Clone, Deserialize)]
struct Transition {
    id: String,
    name: String,
    to: Status,
    #[serde(rename = "isAvailable", default = "yes")]
    is_available: bool,
    #[serde(default)]
    fields: Map<String, Value>,
}

const fn yes() -> bool {
    true
}

/// What leads to a status.
enum Way {
    /// Nothing: the issue is there, under this name.
    Already(String),
    /// A transition: what is posted for it.
    Transition(Transition, Value),
}

/// A summary that says something.
pub(super) fn meaning(summary: Option<&str>) -> Option<&str> {
    summary.filter(|text| !text.trim().is_empty())
}

/// The body of the transition that `prepare` has found.
pub(super) fn found(known: &Known) -> Option<&Value> {
    known.found.get(TRANSITION)
}

/// The receipt of a transition: the status that it has led to.
fn moved(known: &Known) -> Receipt {
    let to = known.found.get(LEADS_TO);
    let said = |at: usize| to.and_then(|to| to[at].as_str()).map(str::to_owned);
    Receipt {
        wrote: Facts {
            status: said(0),
            status_class: said(1),
            ..Facts::default()
        },
        ..Receipt::default()
    }
}

/// The receipt of a status whose summary is this comment.
pub(super) fn summary_details(comment: Receipt) -> Receipt {
    let id = comment.external_comment_id;
    details(SUMMARY_COMMENT, id.map_or(Value::Null, Value::from))
}

fn details(name: &str, said: Value) -> Receipt {
    Receipt {
        details: Map::from_iter([(name.to_owned(), said)]),
        ..Receipt::default()
    }
}

impl Jira {
    pub(super) async fn prepare_status(
        &self,
        context: &CallContext<'_>,
        issue: &str,
        status: TicketStatus,
        has_summary: bool,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        let receipt = match self.way_to(context, issue, status).await? {
            Way::Already(name) => {
                let receipt = details("already", name.into());
                if !has_summary {
                    return Ok(Prepared::Done(receipt));
                }
                receipt
            }
            Way::Transition(transition, body) => {
                let receipt = details("transition", transition.name.into());
                if !has_summary {
                    let Status { name, category } = transition.to;
                    known.found.insert(TRANSITION.into(), body);
                    known
                        .found
                        .insert(LEADS_TO.into(), json!([name, category.key]));
                    known.details = receipt.details;
                    return Ok(Prepared::Go(known));
                }
                let request = self.transition_request(issue, &body)?;
                let answer = context.send(request).await?;
                self.judge_transition(&answer)?;
                receipt
            }
        };
        // The issue is where it should be, and stays there.
        known.done = Some(PartlyDone {
            receipt,
            missing: SUMMARY_COMMENT,
            remedy: "ticket.comment can still post it",
        });
        Ok(Prepared::Go(known))
    }

    /// The transition that was found, or the comment that follows one.
    pub(super) fn plan_status(
        &self,
        issue: &str,
        status: TicketStatus,
        summary: Option<&str>,
        known: &Known,
        marker: &str,
    ) -> Result<Plan, AdapterError> {
        let request = match (found(known), summary) {
            (None, Some(summary)) => {
                return self.plan_comment(issue, ("resolution_summary", summary), true, marker);
            }
            (Some(body), _) => self.transition_request(issue, body),
            // Which transition leads there is looked up when it is done; here it stands for itself.
            (None, None) => {
                let body = json!({ "transition": { "lookup": status } });
                self.transition_request(issue, &body)
            }
        };
        request.map(Plan::from)
    }

    /// What the answer to a transition says.
    pub(super) fn read_moved(
        &self,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        self.judge_transition(answer)?;
        Ok(moved(known))
    }

    fn transition_request(&self, issue: &str, body: &Value) -> Result<Request, AdapterError> {
        let path = ["issue", issue, "transitions"];
        Ok(self.api.set(Method::POST, &path)?.json(body))
    }

    /// What is done of a change of status whose summary is not posted.
    pub(super) async fn without_summary(
        &self,
        context: &CallContext<'_>,
        issue: &str,
        status: TicketStatus,
    ) -> Result<Option<Receipt>, AdapterError> {
        let current = self.current_status(context, issue).await?;
        let text = "not posted: no attempt is left; ticket.comment can still post it";
        let is_there = self.is_there(&current, status) || self.is_called(&current.name, status);
        Ok(is_there.then(|| details(SUMMARY_COMMENT, text.into())))
    }

    /// Which way leads to a status.
    async fn way_to(
        &self,
        context: &CallContext<'_>,
        issue: &str,
        status: TicketStatus,
    ) -> Result<Way, AdapterError> {
        #[derive(Deserialize)]
        struct Transitions {
            transitions: Vec<Transition>,
        }
        let current = self.current_status(context, issue).await?;
        // The settings may name a transition that leads on within a category.
        if self.transitions.out(status).is_none() && self.is_there(&current, status) {
            return Ok(Way::Already(current.name));
        }
        let path = ["issue", issue, "transitions"];
        let request = self.reading(&path, &[("expand", "transitions.fields")])?;
        let what = "reading the transitions";
        let open: Transitions = self.ask(context, request, what).await?;
        if let Some(chosen) = self.choose(&open.transitions, status) {
            let body = self.transition_body(chosen, status);
            demanded(chosen, &body)?;
            return Ok(Way::Transition(chosen.clone(), body));
        }
        if self.is_called(&current.name, status) {
            return Ok(Way::Already(current.name));
        }
        let offered: Vec<&str> = open.transitions.iter().map(|t| t.name.as_str()).collect();
        let offered = if offered.is_empty() {
            "none".to_owned()
        } else {
            offered.join(", ")
        };
        let text = format!(
            "has no transition from {:?} to {status}; Jira offers {offered}; \
             settings.status_transitions can name one",
            current.name
        );
        Err(AdapterError::field("status", text))
    }

    async fn current_status(
        &self,
        context: &CallContext<'_>,
        issue: &str,
    ) -> Result<Status, AdapterError> {
        #[derive(Deserialize)]
        struct Issue {
            fields: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            status: Status,
        }
        let request = self.reading(&["issue", issue], &[("fields", "status")])?;
        let issue: Issue = self.ask(context, request, "reading the issue").await?;
        Ok(issue.fields.status)
    }

    /// Whether the settings call a status of ours so, as a transition or as a status.
    fn is_called(&self, name: &str, status: TicketStatus) -> bool {
        let configured = self.transitions.out(status).or(self.statuses.out(status));
        configured.is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    /// Whether an issue in this status is where a status of ours wants it.
    fn is_there(&self, current: &Status, wanted: TicketStatus) -> bool {
        match self.statuses.out(wanted) {
            Some(name) => name.eq_ignore_ascii_case(&current.name),
            None => {
                current.category.key == category(wanted)
                    && (wanted != TicketStatus::Cancelled || is_cancelish(&current.name))
            }
        }
    }

    /// The transition to take: the configured one, else one to the configured status, else one to
    /// the right category.
    fn choose<'a>(
        &self,
        transitions: &'a [Transition],
        wanted: TicketStatus,
    ) -> Option<&'a Transition> {
        let mut open = transitions
            .iter()
            .filter(|transition| transition.is_available);
        if let Some(name) = self.transitions.out(wanted) {
            return open.find(|transition| {
                let names = [&transition.name, &transition.to.name];
                names.iter().any(|own| own.eq_ignore_ascii_case(name))
            });
        }
        if let Some(name) = self.statuses.out(wanted) {
            return open.find(|transition| transition.to.name.eq_ignore_ascii_case(name));
        }
        let fitting: Vec<&Transition> = open
            .filter(|transition| transition.to.category.key == category(wanted))
            .collect();
        let cancels = wanted == TicketStatus::Cancelled;
        let best = fitting.iter().find(|transition| {
            (is_cancelish(&transition.to.name) || is_cancelish(&transition.name)) == cancels
        });
        best.or_else(|| fitting.first()).copied()
    }

    /// What is posted: the configured fields that the transition has, and a resolution. An issue
    /// that is opened again loses the one it has. Where the transition has no such field, the
    /// workflow sees to it: nothing else can.
    fn transition_body(&self, transition: &Transition, wanted: TicketStatus) -> Value {
        let own = self.transition_fields.iter();
        let own = own.filter(|(name, _)| transition.fields.contains_key(*name));
        let mut fields: Map<String, Value> = own
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let Some(field) = transition.fields.get(RESOLUTION) {
            let resolution = match category(wanted) {
                "done" => resolution(field, wanted).map(|name| json!({ "name": name })),
                _ => (!is_required(field)).then_some(Value::Null),
            };
            if let Some(resolution) = resolution {
                fields.entry(RESOLUTION).or_insert(resolution);
            }
        }
        let mut body = json!({ "transition": { "id": transition.id } });
        // A comment is no field, but an edit.
        if let Some(comment) = fields.remove(COMMENT) {
            let comment = match comment {
                Value::String(text) => self.text(&text).0,
                document => document,
            };
            body["update"] = json!({ COMMENT: [{ "add": { "body": comment } }] });
        }
        if !fields.is_empty() {
            body["fields"] = fields.into();
        }
        body
    }

    /// What a refusal of a transition means. A validator of the workflow may demand what the
    /// transition does not list.
    fn judge_transition(&self, answer: &Response) -> Result<(), AdapterError> {
        let judged = self.judge(answer, Effect::Idempotent, "changing the status");
        judged.map_err(|mut error| {
            if matches!(error.class, ErrorClass::Validation { .. }) {
                let hint = "; settings.transition_fields can give what a transition demands";
                error.public.push_str(hint);
            }
            error
        })
    }
}

/// Whether a field of a transition is demanded.
fn is_required(field: &Value) -> bool {
    field["required"] == true && field["hasDefaultValue"] != true
}

/// Refuses to send a transition that lacks what it demands: Jira would refuse it for good.
fn demanded(transition: &Transition, body: &Value) -> Result<(), AdapterError> {
    let is_sent = |name: &str| {
        let sent = body["fields"].get(name).or(body["update"].get(name));
        sent.is_some_and(|value| !value.is_null())
    };
    let fields = transition.fields.iter();
    let missing = fields.filter(|(name, field)| is_required(field) && !is_sent(name));
    let missing: Vec<String> = missing
        .map(|(id, field)| format!("{} ({id})", field["name"].as_str().unwrap_or("a field")))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let fault = format!(
        "lacks what the transition {:?} to {:?} demands: {}",
        transition.name,
        transition.to.name,
        missing.join(", ")
    );
    Err(AdapterError::field("settings.transition_fields", fault))
}

/// The resolution of an issue that is done: a value that the transition allows.
fn resolution(field: &Value, wanted: TicketStatus) -> Option<&str> {
    let allowed = field["allowedValues"].as_array().into_iter().flatten();
    let allowed: Vec<&str> = allowed.filter_map(|value| value["name"].as_str()).collect();
    let preferred: &[&str] = if wanted == TicketStatus::Cancelled {
        &["Won't Do", "Declined", "Cancelled", "Won't Fix"]
    } else {
        &["Done", "Fixed", "Resolved"]
    };
    let chosen = preferred.iter().find(|name| allowed.contains(name));
    chosen.or_else(|| allowed.first()).copied()
}

/// Jira's category of a status of ours.
pub(super) const fn category(status: TicketStatus) -> &'static str {
    match status {
        TicketStatus::New | TicketStatus::Open => "new",
        TicketStatus::InProgress | TicketStatus::Pending => "indeterminate",
        TicketStatus::Resolved | TicketStatus::Closed | TicketStatus::Cancelled => "done",
    }
}

/// Whether a name of a status or of a transition says that the work is not done.
pub(super) fn is_cancelish(name: &str) -> bool {
    let name = name.to_lowercase();
    ["cancel", "reject", "declin", "won't"]
        .iter()
        .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests;
