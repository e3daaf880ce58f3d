//! The checks of `integration.test`.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::super::{AdapterError, CallContext, CheckReport, Effect, ErrorClass, Receipt, Response};
use super::Jira;
use super::meta::chosen;
use crate::domain::TicketCategory;

/// What a worker needs to be permitted.
const PERMISSIONS: [&str; 5] = [
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "EDIT_ISSUES",
    "TRANSITION_ISSUES",
    "ADD_COMMENTS",
];
/// What it can do without, and what is refused then. Many projects let nobody assign, or take no
/// files: tickets are made there all the same.
const USEFUL: [(&str, &str); 2] = [
    ("ASSIGN_ISSUES", "issues cannot be assigned"),
    ("CREATE_ATTACHMENTS", "files cannot be attached"),
];

fn report(message: impl Into<String>) -> CheckReport {
    CheckReport {
        message: message.into(),
        details: Map::new(),
    }
}

/// Some members of an answer.
fn only(body: Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let body = body.into_iter();
    body.filter(|(name, _)| names.contains(&name.as_str()))
        .collect()
}

impl Jira {
    /// Whether Jira is reached at all; whom it lets in is another question.
    pub(super) async fn check_connection(
        &self,
        context: &CallContext<'_>,
    ) -> Result<CheckReport, AdapterError> {
        let answer = match context.send(self.reading(&["serverInfo"], &[])?).await {
            Ok(answer) if matches!(answer.status, 401 | 403) => {
                return Ok(report(format!("Jira answers ({})", answer.status)));
            }
            Ok(answer) => answer,
            Err(error) if error.class == ErrorClass::Authentication => {
                return Ok(report("Jira answers, but does not take the credential"));
            }
            Err(error) => return Err(error),
        };
        let info = self.take(&answer, Effect::Read, "reaching Jira")?;
        Ok(CheckReport {
            details: only(info, &["version", "deploymentType", "baseUrl"]),
            ..report("Jira answers")
        })
    }

    pub(super) async fn check_authentication(
        &self,
        context: &CallContext<'_>,
    ) -> Result<CheckReport, AdapterError> {
        let request = self.reading(&["myself"], &[])?;
        let me: Map<String, Value> = self.ask(context, request, "authenticating").await?;
        let name = me.get("displayName").and_then(Value::as_str);
        let message = format!("authenticated as {}", name.unwrap_or("the account"));
        Ok(CheckReport {
            details: only(me, &["accountId", "name", "displayName", "timeZone"]),
            ..report(message)
        })
    }

    /// Whether an issue could be created: project, permissions, issue type.
    pub(super) async fn check_permissions(
        &self,
        context: &CallContext<'_>,
    ) -> Result<CheckReport, AdapterError> {
        let key = self.project_key.as_str();
        let useful = USEFUL.iter().map(|(name, _)| *name);
        let asked: Vec<&str> = PERMISSIONS.into_iter().chain(useful).collect();
        let permissions = asked.join(",");
        let query = [("projectKey", key), ("permissions", &permissions)];
        let answer = context
            .send(self.reading(&["mypermissions"], &query)?)
            .await?;
        // A project that is absent, or that the account may not see.
        if answer.status == 404 {
            let fault = format!(
                "names the project {key}, which does not exist or which the account may not see: \
                 give the key of one that it may, or let it in"
            );
            return Err(AdapterError::field("settings.project_key", fault).with_status(404));
        }
        let body: Value = self.take(&answer, Effect::Read, "reading the permissions")?;
        let has = |name: &str| body["permissions"][name]["havePermission"] == true;
        let lacking: Vec<&str> = PERMISSIONS.into_iter().filter(|name| !has(name)).collect();
        if !lacking.is_empty() {
            let text = format!("the account lacks {} in project {key}", lacking.join(", "));
            return Err(AdapterError::new(ErrorClass::Permission, text));
        }
        let lacking: BTreeMap<&str, &str> =
            USEFUL.into_iter().filter(|(name, _)| !has(name)).collect();
        let mut report = report(if lacking.is_empty() {
            "all permissions are there".to_owned()
        } else {
            let lacking = lacking.iter().map(|(name, why)| format!("{why} ({name})"));
            let lacking = lacking.collect::<Vec<_>>().join(", ");
            format!("issues can be made and changed, but {lacking}: the account lacks permissions")
        });
        if !lacking.is_empty() {
            report.details.insert("lacking".into(), json!(lacking));
        }
        let types = match self.read_issue_types(context).await {
            Ok(types) => types,
            // An older Data Center has no such page.
            Err(error) if error.class == ErrorClass::NotFound => return Ok(report),
            Err(error) => return Err(error),
        };
        let kind = &chosen(&types, self.issue_type(TicketCategory::General))?.name;
        report.details.insert("issue_type".into(), json!(kind));
        Ok(report)
    }

    /// Creates an issue that says of itself that it is a test, and deletes it where the account
    /// may.
    pub(super) async fn check_create(
        &self,
        context: &CallContext<'_>,
    ) -> Result<CheckReport, AdapterError> {
        let label = format!("ticketwire-test-{}", uuid::Uuid::now_v7());
        let body = json!({ "fields": {
            "project": { "key": self.project_key },
            "issuetype": { "name": self.issue_type(TicketCategory::General) },
            "summary": "Ticketwire connection test: may be deleted",
            "description": self.text("Made by `integration.test`. It may be deleted.").0,
            "labels": [label],
        } });
        let answer = context.send(self.create_request(&body)?).await?;
        let made = self.read_created(&answer)?;
        let key = made.external_id.clone().unwrap_or_default();
        let message = match self.delete(context, &made).await {
            Ok(()) => format!("created the test issue {key} and deleted it"),
            Err(error) => format!(
                "created the test issue {key}, which stays until somebody deletes it: {}",
                error.public
            ),
        };
        Ok(CheckReport {
            details: Map::from_iter([("label".to_owned(), label.into())]),
            ..report(message)
        })
    }

    async fn delete(&self, context: &CallContext<'_>, made: &Receipt) -> Result<(), AdapterError> {
        let id = made.external_ref.get("issue_id").and_then(Value::as_str);
        let request = self
            .api
            .set(Method::DELETE, &["issue", id.unwrap_or_default()])?;
        let answer: Response = context.send(request).await?;
        self.judge(&answer, Effect::Idempotent, "deleting it")
    }
}
