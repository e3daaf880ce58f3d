//! Webhooks of the account, which subscribe to events of tickets. Zendesk makes their secret
//! (developer.zendesk.com, "Webhooks").

use async_trait::async_trait;
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::Zendesk;
use crate::domain::WebhookState;
use crate::platforms::inbound::{HookHealth, Registered, Registrar, SecretSource, Wanted, or_gone};
use crate::platforms::{AdapterError, CallContext, ErrorClass};

/// Events of tickets that are told of, behind `zen:event-type:ticket.`.
const EVENTS: [&str; 9] = [
    "created",
    "status_changed",
    "priority_changed",
    "subject_changed",
    "description_changed",
    "tags_changed",
    "agent_assignment_changed",
    "custom_field_changed",
    "comment_added",
];
/// Further ones, whose names no page confirms: where Zendesk does not take them, it is asked
/// without them.
const UNCONFIRMED: [&str; 3] = ["soft_deleted", "permanently_deleted", "merged"];
const NAME: &str = "Ticketwire";
const LACKING: &str = "the account has to be an administrator, and an OAuth token needs the scope \
                       webhooks:write";

#[derive(Deserialize)]
struct Whole<T> {
    webhook: T,
}

#[derive(Deserialize)]
struct Hook {
    id: String,
    #[serde(default)]
    status: String,
    endpoint: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    webhooks: Vec<Hook>,
}

#[derive(Deserialize)]
struct Invocations {
    #[serde(default)]
    invocations: Vec<Invocation>,
}

#[derive(Deserialize)]
struct Invocation {
    #[serde(default)]
    status: String,
    status_code: Option<u16>,
    #[serde(default)]
    latest_completed_at: String,
}

#[derive(Deserialize)]
struct Signing {
    signing_secret: Secret,
}

#[derive(Deserialize)]
struct Secret {
    secret: String,
}

fn lacking(mut error: AdapterError) -> AdapterError {
    if matches!(error.class, ErrorClass::Permission) {
        error.public = format!("{}; {LACKING}", error.public);
    }
    error
}

impl Zendesk {
    async fn make_hook(
        &self,
        context: &CallContext<'_>,
        url: &str,
        events: &[&str],
    ) -> Result<Hook, AdapterError> {
        let events: Vec<String> = events
            .iter()
            .map(|event| format!("zen:event-type:ticket.{event}"))
            .collect();
        let body = json!({ "webhook": {
            "name": NAME, "status": "active", "endpoint": url, "http_method": "POST",
            "request_format": "json", "subscriptions": events,
        } });
        let request = self.api.make(Method::POST, &["webhooks"])?.json(&body);
        let made = self.api.ask(context, request, "registering the webhook");
        let made: Whole<Hook> = made.await.map_err(lacking)?;
        Ok(made.webhook)
    }

    async fn signing_secret(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<SecretString, AdapterError> {
        let request = self.api.get(&["webhooks", id, "signing_secret"])?;
        let read = self
            .api
            .ask(context, request, "reading the webhook's secret");
        let read: Signing = read.await.map_err(lacking)?;
        Ok(read.signing_secret.secret.into())
    }

    /// How the last delivery fared; `None` where it arrived, or none was made.
    async fn last_failure(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<Option<String>, AdapterError> {
        let request = self.api.get(&["webhooks", id, "invocations"])?;
        let request = request.query([("page[size]", "20")]);
        let read = self
            .api
            .ask(context, request, "listing the deliveries")
            .await;
        let found: Option<Invocations> = or_gone(read)?;
        let all = found.map(|found| found.invocations).unwrap_or_default();
        let last = all
            .into_iter()
            .max_by(|a, b| a.latest_completed_at.cmp(&b.latest_completed_at));
        Ok(last.filter(|last| last.status == "failed").map(|last| {
            let code = last
                .status_code
                .map_or(String::new(), |code| format!(" with {code}"));
            format!("its last delivery failed{code}")
        }))
    }
}

#[async_trait]
impl Registrar for Zendesk {
    fn secret(&self) -> SecretSource {
        SecretSource::Given
    }

    async fn register(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError> {
        let all = [&EVENTS[..], &UNCONFIRMED[..]].concat();
        let hook = match self.make_hook(context, wanted.url, &all).await {
            Err(error) if matches!(error.class, ErrorClass::Validation { .. }) => {
                self.make_hook(context, wanted.url, &EVENTS).await?
            }
            made => made?,
        };
        let secret = match self.signing_secret(context, &hook.id).await {
            Ok(secret) => secret,
            // Without its secret it is of no use. Where it stays, it is found and removed later.
            Err(error) => {
                let removed = self.remove(context, &hook.id, wanted.url).await;
                return Err(match removed {
                    Ok(()) => error,
                    Err(_) => AdapterError {
                        class: ErrorClass::Unknown,
                        ..error
                    },
                });
            }
        };
        Ok(Registered {
            secret: Some(secret),
            ..Registered::new(hook.id)
        })
    }

    async fn find(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Vec<Registered>, AdapterError> {
        let request = self.api.get(&["webhooks"])?;
        let request = request.query([("filter[name_contains]", NAME), ("page[size]", "100")]);
        let listed = self.api.ask(context, request, "listing the webhooks").await;
        let all: Listing = listed.map_err(lacking)?;
        let here = all.webhooks.into_iter();
        let here = here.filter(|hook| hook.endpoint.as_deref() == Some(url));
        Ok(here.map(|hook| Registered::new(hook.id)).collect())
    }

    async fn check(&self, context: &CallContext<'_>, id: &str) -> Result<HookHealth, AdapterError> {
        let request = self.api.get(&["webhooks", id])?;
        let read = self.api.ask(context, request, "reading the webhook").await;
        let Some(Whole { webhook: hook }): Option<Whole<Hook>> = or_gone(read.map_err(lacking))?
        else {
            return Ok(HookHealth::gone());
        };
        let health = if hook.status == "active" {
            match self.last_failure(context, id).await? {
                Some(problem) => HookHealth::not_well(WebhookState::Failing, problem),
                None => HookHealth::active(),
            }
        } else {
            let problem = "it is switched off in the Admin Center";
            HookHealth::not_well(WebhookState::Disabled, problem)
        };
        Ok(HookHealth {
            url: hook.endpoint,
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
