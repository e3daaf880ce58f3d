//! Jira: Cloud REST v3, Data Center REST v2.
//!
//! Sources: Atlassian's OpenAPI document `swagger-v3.v3.json` and
//! developer.atlassian.com/cloud/jira/platform (rate-limiting, search-and-reconcile,
//! oauth-2-3lo-apps).
//!
//! **Duplicates**: no idempotency key. The marker is a unique label, found by JQL, whose index lags
//! by seconds to minutes (search-and-reconcile; JRACLOUD-96208), so an empty search proves nothing
//! for two minutes. Comments carry the marker as a comment property and are listed by issue,
//! strongly consistent. Field edits and transitions are idempotent.
//!
//! Here is the trait. `facts` holds the tables, `connect` reads the settings, `calls` sends and
//! judges. `item` creates and changes issues, `status` moves them, `comment` and `file` add to
//! them. `meta` and `custom` know their fields, `words` translates what is read, `reader` and
//! `check` read.

mod calls;
mod check;
mod comment;
mod connect;
mod custom;
mod facts;
mod file;
mod hooks;
mod inbound;
mod item;
mod meta;
mod reader;
mod status;
mod words;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value};
use url::Url;

use super::api::Api;
use super::inbound::Registrar;
use super::mapping::{FieldMap, Mapping};
use super::tokens::OauthFlow;
use super::users::Users;
use super::{
    Adapter, AdapterError, CallContext, CheckReport, Effect, Facts, Inbound, Known, Operation,
    OperationKind, Plan, Prepared, Protection, Reader, Receipt, Response, TestKind, TicketFacts,
    TokenFlow,
};
use crate::domain::{Priority, TicketCategory, TicketStatus, TicketView};
use facts::Version;
use item::address;
use status::{meaning, summary_details};

pub(super) use self::inbound::HOOKS;
pub use facts::DESCRIPTOR;

/// One Jira integration.
pub struct Jira {
    version: Version,
    /// Up to and with `/rest/api/N`.
    api: Api,
    /// What people open.
    site: Url,
    project_key: String,
    issue_types: Mapping<TicketCategory>,
    default_issue_type: String,
    /// Names of transitions; they win over `statuses`.
    transitions: Mapping<TicketStatus>,
    /// Names of the statuses that transitions lead to.
    statuses: Mapping<TicketStatus>,
    transition_fields: Map<String, Value>,
    priorities: Mapping<Priority>,
    internal_comments: Option<String>,
    fields: FieldMap,
    /// Custom fields that an older row maps to what they must not replace.
    unmappable: BTreeMap<String, String>,
    users: Users,
    flow: Option<OauthFlow>,
}

#[async_trait]
impl Adapter for Jira {
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        known: Known,
    ) -> Result<Prepared, AdapterError> {
        let ticket = operation.ticket();
        match *operation {
            Operation::Create { .. } => self.prepare_create(context, ticket, known).await,
            Operation::Update { patch, .. } => {
                self.prepare_update(context, ticket, patch, known).await
            }
            Operation::Status {
                status,
                resolution_summary,
                ..
            } => {
                let has_summary = meaning(resolution_summary).is_some();
                self.prepare_status(context, address(ticket)?, status, has_summary, known)
                    .await
            }
            Operation::Assign { assignee, .. } => {
                self.prepare_assign(context, assignee, known).await
            }
            Operation::Comment { .. } | Operation::Attach { .. } | Operation::Delete { .. } => {
                Ok(Prepared::Go(known))
            }
        }
    }

    fn plan(&self, operation: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError> {
        let (ticket, marker) = (operation.ticket(), operation.key().marker);
        let issue = || address(ticket);
        match *operation {
            Operation::Create { .. } => self.plan_create(ticket, marker, known),
            Operation::Update { patch, .. } => self.plan_update(ticket, patch, known),
            Operation::Status {
                status,
                resolution_summary,
                ..
            } => {
                let summary = meaning(resolution_summary);
                self.plan_status(issue()?, status, summary, known, marker)
            }
            Operation::Assign { assignee, .. } => {
                let request = self.assign_request(issue()?, assignee, known)?;
                Ok(request.into())
            }
            Operation::Comment { body, public, .. } => {
                self.plan_comment(issue()?, ("body", body), public, marker)
            }
            Operation::Attach { file, .. } => Ok(self.attach_request(issue()?, file)?.into()),
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let set = |what| {
            self.judge(answer, Effect::Idempotent, what)?;
            Ok(Receipt::default())
        };
        match operation {
            Operation::Create { .. } => self.read_created(answer),
            Operation::Update { ticket, patch, .. } => {
                self.read_updated(ticket, patch, known, answer)
            }
            Operation::Status { .. } if status::found(known).is_some() => {
                self.read_moved(known, answer)
            }
            Operation::Status { .. } => Ok(summary_details(self.read_comment(answer)?)),
            Operation::Assign { .. } => set("assigning the issue"),
            Operation::Comment { .. } => self.read_comment(answer),
            Operation::Attach { .. } => self.read_attached(answer),
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let (ticket, key) = (operation.ticket(), operation.key());
        match *operation {
            Operation::Create { .. } => self.find_issue(context, key.marker).await,
            Operation::Comment { .. } => self.find_comment(context, address(ticket)?, &key).await,
            // The summary is the last that a change of status does: where it is, all is done.
            Operation::Status {
                resolution_summary, ..
            } if meaning(resolution_summary).is_some() => {
                let found = self.find_comment(context, address(ticket)?, &key).await?;
                Ok(found.map(summary_details))
            }
            Operation::Attach { file, .. } => {
                self.find_file(context, address(ticket)?, file, key.received_at)
                    .await
            }
            // Idempotent: nothing to look for.
            Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Delete { .. } => Ok(None),
        }
    }

    /// A change of status whose summary is not posted.
    async fn partly(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Status {
                ticket,
                status,
                resolution_summary: Some(_),
                ..
            } => {
                self.without_summary(context, address(ticket)?, *status)
                    .await
            }
            _ => Ok(None),
        }
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            TestKind::Connection => self.check_connection(context).await,
            TestKind::Authentication => self.check_authentication(context).await,
            TestKind::Permissions => self.check_permissions(context).await,
            TestKind::CreateTicket => self.check_create(context).await,
        }
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn registrar(&self) -> Option<&dyn Registrar> {
        Some(self)
    }

    fn ours(&self, facts: &Facts) -> TicketFacts {
        self.in_our_words(facts)
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        self.in_their_words(ticket)
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.flow.as_ref().map(|flow| flow as &dyn TokenFlow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        facts::protection(kind)
    }

    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        match operation {
            Operation::Status {
                resolution_summary, ..
            } if meaning(*resolution_summary).is_none() => Protection::Native,
            _ => self.protection(operation.kind()),
        }
    }
}

#[cfg(test)]
mod tests;
