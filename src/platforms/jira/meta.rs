//! What can be created in the project: issue types, and the fields on their screens (createmeta).
//! It is the customer's configuration, asked for once an hour.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::super::{AdapterError, CallContext};
use super::Jira;
use super::calls::Id;
use crate::domain::TicketCategory;

/// How long it is good.
const LIFE: Duration = Duration::from_secs(3_600);
/// What the issue types are kept as.
const ISSUE_TYPES: &str = "issue types";

/// A type of issue that the project offers.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct IssueType {
    pub(super) id: Id,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    subtask: bool,
}

/// A field on the screen that creates issues.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    #[serde(rename = "fieldId")]
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default)]
    pub(super) allowed_values: Vec<Value>,
    #[serde(default)]
    pub(super) schema: Value,
}

impl Jira {
    /// The issue type of a category, by name.
    pub(super) fn issue_type(&self, category: TicketCategory) -> &str {
        let own = self.issue_types.out(category);
        own.unwrap_or(&self.default_issue_type)
    }

    /// The issue types that can be created in the project, as Jira says now.
    pub(super) async fn read_issue_types(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Vec<IssueType>, AdapterError> {
        #[derive(Deserialize)]
        struct Page {
            // Data Center calls them `values`.
            #[serde(rename = "issueTypes", alias = "values", default)]
            types: Vec<IssueType>,
        }
        let path = ["issue", "createmeta", &self.project_key, "issuetypes"];
        let request = self.reading(&path, &[("maxResults", "50")])?;
        let page: Page = self
            .ask(context, request, "reading the issue types")
            .await?;
        Ok(page.types)
    }

    /// The fields that an issue of a type can be created with, as Jira says now.
    pub(super) async fn read_fields(
        &self,
        context: &CallContext<'_>,
        issue_type: &Id,
    ) -> Result<Vec<Field>, AdapterError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(alias = "values")]
            fields: Vec<Field>,
        }
        let Id(id) = issue_type;
        let path = ["issue", "createmeta", &self.project_key, "issuetypes", id];
        let request = self.reading(&path, &[("maxResults", "200")])?;
        let page: Page = self.ask(context, request, "reading the fields").await?;
        Ok(page.fields)
    }

    /// The issue type that stands in for one that Jira has refused.
    pub(super) async fn fallback_type(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Id, AdapterError> {
        // What was learned before did not keep it from being refused.
        context.forget(ISSUE_TYPES);
        let types = self.recall_issue_types(context).await?;
        Ok(chosen(&types, "")?.id.clone())
    }

    /// The fields of a category's issues.
    pub(super) async fn fields_of(
        &self,
        context: &CallContext<'_>,
        category: TicketCategory,
    ) -> Result<Arc<Vec<Field>>, AdapterError> {
        let types = self.recall_issue_types(context).await?;
        let kind = chosen(&types, self.issue_type(category))?;
        let name = fields_name(category);
        context
            .recall(name, LIFE, self.read_fields(context, &kind.id))
            .await
    }

    /// Forgets what was learned of the fields of a category's issues.
    pub(super) fn forget_fields(context: &CallContext<'_>, category: TicketCategory) {
        context.forget(&fields_name(category));
    }

    async fn recall_issue_types(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<IssueType>>, AdapterError> {
        context
            .recall(ISSUE_TYPES, LIFE, self.read_issue_types(context))
            .await
    }
}

fn fields_name(category: TicketCategory) -> String {
    format!("fields of {category}")
}

/// The issue type of this name, else the first that is no subtask.
pub(super) fn chosen<'a>(
    types: &'a [IssueType],
    name: &str,
) -> Result<&'a IssueType, AdapterError> {
    let named = types.iter().find(|kind| kind.name == name);
    let first = || types.iter().find(|kind| !kind.subtask);
    named.or_else(first).ok_or_else(|| {
        let fault = "has no issue type: the project offers none that may be created";
        AdapterError::field("category", fault)
    })
}
