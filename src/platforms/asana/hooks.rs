//! Webhooks of the project. While one is made, Asana gives its secret to the address, and once more
//! in the answer (developers.asana.com, "Webhooks guide").

use async_trait::async_trait;
use chrono::DateTime;
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::Asana;
use super::vocabulary::Data;
use crate::domain::WebhookState;
use crate::platforms::inbound::{HookHealth, Registered, Registrar, SecretSource, Wanted, or_gone};
use crate::platforms::{AdapterError, CallContext, ErrorClass};

/// Fields of a task whose change is told.
const FIELDS: [&str; 6] = [
    "name",
    "notes",
    "completed",
    "assignee",
    "due_on",
    "custom_fields",
];
/// What is asked of a webhook.
const SHOWN: &str = "active,target,last_success_at,last_failure_at,last_failure_content";
const LACKING: &str = "the account has to be a member of the project, and an OAuth app needs the \
                       scope webhooks:write";

#[derive(Deserialize)]
struct Hook {
    gid: String,
    #[serde(default)]
    active: bool,
    target: Option<String>,
    last_success_at: Option<String>,
    last_failure_at: Option<String>,
    last_failure_content: Option<String>,
}

impl Hook {
    /// Whether its last delivery failed.
    fn fails(&self) -> bool {
        let at = |text: &Option<String>| {
            let text = text.as_deref()?;
            DateTime::parse_from_rfc3339(text).ok()
        };
        at(&self.last_failure_at).is_some_and(|failed| {
            at(&self.last_success_at).is_none_or(|succeeded| succeeded < failed)
        })
    }
}

#[derive(Deserialize)]
struct Made {
    data: Hook,
    #[serde(rename = "X-Hook-Secret")]
    secret: Option<String>,
}

fn lacking(mut error: AdapterError) -> AdapterError {
    if matches!(error.class, ErrorClass::Permission) {
        error.public = format!("{}; {LACKING}", error.public);
    }
    error
}

#[async_trait]
impl Registrar for Asana {
    fn secret(&self) -> SecretSource {
        SecretSource::Given
    }

    fn shakes_hands(&self) -> bool {
        true
    }

    async fn register(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError> {
        let of_tasks = |action: &str| json!({ "resource_type": "task", "action": action });
        let body = json!({ "data": {
            "resource": self.project, "target": wanted.url,
            "filters": [
                of_tasks("added"), of_tasks("removed"), of_tasks("deleted"), of_tasks("undeleted"),
                { "resource_type": "task", "action": "changed", "fields": FIELDS },
                { "resource_type": "story", "resource_subtype": "comment_added",
                  "action": "added" },
            ],
        } });
        let request = self.api.make(Method::POST, &["webhooks"])?.json(&body);
        let made = self.api.ask(context, request, "registering the webhook");
        let made: Made = made.await.map_err(lacking)?;
        Ok(Registered {
            resource: Some(self.project.clone()),
            secret: made.secret.map(SecretString::from),
            ..Registered::new(made.data.gid)
        })
    }

    async fn find(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Vec<Registered>, AdapterError> {
        let request = self.api.get(&["webhooks"])?.query([
            ("workspace", self.workspace.as_str()),
            ("resource", &self.project),
            ("opt_fields", SHOWN),
            ("limit", "100"),
        ]);
        let listed = self.api.ask(context, request, "listing the webhooks").await;
        let all: Data<Vec<Hook>> = listed.map_err(lacking)?;
        let here = all.data.into_iter();
        let here = here.filter(|hook| hook.target.as_deref() == Some(url));
        Ok(here.map(|hook| Registered::new(hook.gid)).collect())
    }

    async fn check(&self, context: &CallContext<'_>, id: &str) -> Result<HookHealth, AdapterError> {
        let request = self.api.get(&["webhooks", id])?;
        let request = request.query([("opt_fields", SHOWN)]);
        let read = self.api.ask(context, request, "reading the webhook").await;
        let Some(Data { data: hook }): Option<Data<Hook>> = or_gone(read.map_err(lacking))? else {
            // Asana removes one whose deliveries fail for a day.
            return Ok(HookHealth::gone());
        };
        let health = if !hook.active {
            let problem = "it is switched off";
            HookHealth::not_well(WebhookState::Disabled, problem)
        } else if hook.fails() {
            let said = hook.last_failure_content.as_deref().unwrap_or_default();
            let problem = format!(
                "its last delivery failed; after a day of failures Asana removes it: {said}"
            );
            HookHealth::not_well(WebhookState::Failing, problem.trim_end_matches([':', ' ']))
        } else {
            HookHealth::active()
        };
        Ok(HookHealth {
            url: hook.target,
            ..health
        })
    }

    async fn remove(
        &self,
        context: &CallContext<'_>,
        id: &str,
        _: &str,
    ) -> Result<(), AdapterError> {
        let request = self.api.set(Method::DELETE, &["webhooks", id])?;
        let removed = self
            .api
            .tell(context, request, "removing the webhook")
            .await;
        or_gone(removed.map_err(lacking)).map(drop)
    }
}
