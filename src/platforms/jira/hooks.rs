//! Webhooks: an administrator's, with a secret of their own, or an OAuth app's, which end after
//! thirty days and are signed with the app's client secret (developer.atlassian.com, "Webhooks").

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Jira;
use super::calls::{is_number, quoted};
use crate::domain::WebhookState;
use crate::platforms::api::Api;
use crate::platforms::inbound::{HookHealth, Registered, Registrar, SecretSource, Wanted, or_gone};
use crate::platforms::path::below;
use crate::platforms::{AdapterError, CallContext, ErrorClass};
use crate::telemetry::clock;

/// What is told of.
const EVENTS: [&str; 6] = [
    "jira:issue_created",
    "jira:issue_updated",
    "jira:issue_deleted",
    "comment_created",
    "comment_updated",
    "comment_deleted",
];
/// How long a webhook of an OAuth app lives.
const LIFE: Duration = Duration::from_secs(30 * 86_400);
/// What the credential needs.
const ADMINISTER: &str = "the account has to administer Jira to register webhooks, or a person \
                          does it in Jira's settings: the printed steps say how";
const SCOPE: &str = "the app needs the scope manage:jira-webhook besides read:jira-work";
const NAME: &str = "Ticketwire";

/// An administrator's webhook.
#[derive(Deserialize)]
struct Hook {
    /// Its own address, which ends with its number.
    #[serde(rename = "self")]
    address: String,
    #[serde(default)]
    url: String,
    #[serde(default = "on")]
    enabled: bool,
    #[serde(rename = "isSigned")]
    is_signed: Option<bool>,
}

const fn on() -> bool {
    true
}

impl Hook {
    fn id(&self) -> Option<&str> {
        let id = self.address.rsplit('/').next()?;
        is_number(id).then_some(id)
    }

    fn registered(&self) -> Option<Registered> {
        self.id().map(Registered::new)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dynamic {
    id: u64,
    url: Option<String>,
    expiration_date: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(default = "Vec::new")]
    values: Vec<T>,
}

#[derive(Deserialize)]
struct Failed {
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    #[serde(default)]
    webhook_registration_result: Vec<MadeOne>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeOne {
    created_webhook_id: Option<u64>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    expiration_date: Option<String>,
}

fn moment(text: Option<&str>) -> Option<DateTime<Utc>> {
    let text = text?;
    let parsed = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    parsed.ok().map(|at| at.to_utc())
}

fn lacking(mut error: AdapterError, right: &str) -> AdapterError {
    if matches!(error.class, ErrorClass::Permission) {
        error.public = format!("{}; {right}", error.public);
    }
    error
}

impl Jira {
    const fn is_app(&self) -> bool {
        self.flow.is_some()
    }

    fn project_filter(&self) -> String {
        format!("project = {}", quoted(&self.project_key))
    }

    /// The interface for administrators, which is beside the one for issues.
    fn administration(&self) -> Result<Api, AdapterError> {
        let base = below(&self.site, &["rest", "webhooks", "1.0"])?;
        Ok(self.api.at(base))
    }

    async fn administered(&self, context: &CallContext<'_>) -> Result<Vec<Hook>, AdapterError> {
        let api = self.administration()?;
        let request = api.get(&["webhook"])?;
        let listed = api.ask(context, request, "listing the webhooks").await;
        listed.map_err(|error| lacking(error, ADMINISTER))
    }

    async fn of_app(&self, context: &CallContext<'_>) -> Result<Vec<Dynamic>, AdapterError> {
        let request = self.reading(&["webhook"], &[("maxResults", "100")])?;
        let listed = self.ask(context, request, "listing the webhooks").await;
        let page: Page<Dynamic> = listed.map_err(|error| lacking(error, SCOPE))?;
        Ok(page.values)
    }

    async fn register_as_administrator(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError> {
        let api = self.administration()?;
        let secret = wanted.secret.map(ExposeSecret::expose_secret);
        let body = json!({
            "name": NAME, "url": wanted.url, "events": EVENTS, "excludeBody": false,
            "filters": { "issue-related-events-section": self.project_filter() },
            "secret": secret,
        });
        let request = api.make(Method::POST, &["webhook"])?.json(&body);
        let made = api.ask(context, request, "registering the webhook").await;
        let hook: Hook = made.map_err(|error| lacking(error, ADMINISTER))?;
        let registered = hook.registered().ok_or_else(|| {
            let text = "Jira's answer cannot be read: the webhook has no number";
            AdapterError::new(ErrorClass::Unknown, text)
        })?;
        if hook.is_signed == Some(false) {
            self.remove(context, &registered.external_id, wanted.url)
                .await?;
            let text = "this Jira signs no webhooks (Data Center does from 10.0 on): register it \
                        by hand with HTTP Basic, as the printed steps say";
            return Err(AdapterError::unsupported(text));
        }
        Ok(registered)
    }

    async fn register_as_app(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Registered, AdapterError> {
        let body = json!({
            "url": url,
            "webhooks": [{ "jqlFilter": self.project_filter(), "events": EVENTS }],
        });
        let request = self.api.make(Method::POST, &["webhook"])?.json(&body);
        let made = self.api.ask(context, request, "registering the webhook");
        let made: Made = made.await.map_err(|error| lacking(error, SCOPE))?;
        let one = made.webhook_registration_result.into_iter().next();
        let one = one.ok_or_else(|| {
            let text = "Jira's answer cannot be read: it says of no webhook what became of it";
            AdapterError::new(ErrorClass::Unknown, text)
        })?;
        let Some(id) = one.created_webhook_id else {
            let text = format!("Jira does not register it: {}", one.errors.join("; "));
            return Err(AdapterError::field("webhook", text));
        };
        Ok(Registered {
            expires_at: Some(clock::now() + LIFE),
            ..Registered::new(id.to_string())
        })
    }

    async fn check_of_app(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<HookHealth, AdapterError> {
        let all = self.of_app(context).await?;
        let Some(hook) = all.into_iter().find(|hook| hook.id.to_string() == id) else {
            return Ok(HookHealth::gone());
        };
        let request = self.reading(&["webhook", "failed"], &[("maxResults", "100")])?;
        let failed: Page<Failed> = self
            .ask(context, request, "listing lost deliveries")
            .await?;
        let of_it = |one: &&Failed| hook.url.is_none() || one.url == hook.url;
        let lost = failed.values.iter().filter(of_it).count();
        let health = if lost == 0 {
            HookHealth::active()
        } else {
            let problem = format!("{lost} of its deliveries were lost within three days");
            HookHealth::not_well(WebhookState::Failing, problem)
        };
        Ok(HookHealth {
            expires_at: moment(hook.expiration_date.as_deref()),
            url: hook.url,
            ..health
        })
    }
}

#[async_trait]
impl Registrar for Jira {
    fn secret(&self) -> SecretSource {
        if self.is_app() {
            SecretSource::Kept("the app's client_secret")
        } else {
            SecretSource::Made
        }
    }

    /// An app has one for all its webhooks.
    fn has_one_address(&self) -> bool {
        self.is_app()
    }

    fn life(&self) -> Option<Duration> {
        self.is_app().then_some(LIFE)
    }

    async fn register(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError> {
        if self.is_app() {
            self.register_as_app(context, wanted.url).await
        } else {
            self.register_as_administrator(context, wanted).await
        }
    }

    async fn find(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Vec<Registered>, AdapterError> {
        if self.is_app() {
            let all = self.of_app(context).await?.into_iter();
            // An app's webhooks are all at one address, which Jira does not always say.
            let here = all.filter(|hook| hook.url.as_deref().is_none_or(|own| own == url));
            return Ok(here
                .map(|hook| Registered {
                    expires_at: moment(hook.expiration_date.as_deref()),
                    ..Registered::new(hook.id.to_string())
                })
                .collect());
        }
        let all = self.administered(context).await?;
        let here = all.iter().filter(|hook| hook.url == url);
        Ok(here.filter_map(Hook::registered).collect())
    }

    async fn check(&self, context: &CallContext<'_>, id: &str) -> Result<HookHealth, AdapterError> {
        if self.is_app() {
            return self.check_of_app(context, id).await;
        }
        let api = self.administration()?;
        let request = api.get(&["webhook", id])?;
        let read = api.ask(context, request, "reading the webhook").await;
        let read = read.map_err(|error| lacking(error, ADMINISTER));
        let Some(hook): Option<Hook> = or_gone(read)? else {
            return Ok(HookHealth::gone());
        };
        let health = if !hook.enabled {
            let problem = "it is switched off in Jira's settings";
            HookHealth::not_well(WebhookState::Disabled, problem)
        } else if hook.is_signed == Some(false) {
            let problem = "it has no secret any more, so its deliveries cannot be verified";
            HookHealth::not_well(WebhookState::Failing, problem)
        } else {
            HookHealth::active()
        };
        Ok(HookHealth {
            url: Some(hook.url).filter(|url| !url.is_empty()),
            ..health
        })
    }

    async fn renew(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<Option<DateTime<Utc>>, AdapterError> {
        let Some(number) = self.is_app().then(|| id.parse::<u64>().ok()).flatten() else {
            return Ok(None);
        };
        let request = self.api.set(Method::PUT, &["webhook", "refresh"])?;
        let request = request.json(&json!({ "webhookIds": [number] }));
        let renewed: Renewed = self
            .api
            .ask(context, request, "renewing the webhook")
            .await?;
        let said = moment(renewed.expiration_date.as_deref());
        Ok(Some(said.unwrap_or_else(|| clock::now() + LIFE)))
    }

    async fn remove(
        &self,
        context: &CallContext<'_>,
        id: &str,
        _: &str,
    ) -> Result<(), AdapterError> {
        let removed = if self.is_app() {
            let number: Value = id.parse::<u64>().map_or(Value::Null, Value::from);
            let request = self.api.set(Method::DELETE, &["webhook"])?;
            let request = request.json(&json!({ "webhookIds": [number] }));
            let removed = self
                .api
                .tell(context, request, "removing the webhook")
                .await;
            removed.map_err(|error| lacking(error, SCOPE))
        } else {
            let api = self.administration()?;
            let request = api.set(Method::DELETE, &["webhook", id])?;
            let removed = api.tell(context, request, "removing the webhook").await;
            removed.map_err(|error| lacking(error, ADMINISTER))
        };
        or_gone(removed).map(drop)
    }
}
