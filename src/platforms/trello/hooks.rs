//! Webhooks of the board. Trello asks the address with `HEAD` while one is made, and signs with the
//! app's secret, whichever webhook it is (developer.atlassian.com, "Webhooks").

use async_trait::async_trait;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::Trello;
use crate::domain::WebhookState;
use crate::platforms::inbound::{HookHealth, Registered, Registrar, SecretSource, Wanted, or_gone};
use crate::platforms::{AdapterError, CallContext};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    id: String,
    #[serde(default)]
    active: bool,
    #[serde(rename = "callbackURL")]
    callback_url: Option<String>,
    id_model: Option<String>,
    #[serde(default)]
    consecutive_failures: u64,
}

#[async_trait]
impl Registrar for Trello {
    fn secret(&self) -> SecretSource {
        SecretSource::Kept("webhook_secret")
    }

    async fn register(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError> {
        let body = json!({
            "callbackURL": wanted.url, "idModel": self.board, "active": true,
            "description": "Ticketwire",
        });
        let request = self.api.make(Method::POST, &["webhooks"])?.json(&body);
        let made = self.api.ask(context, request, "registering the webhook");
        let hook: Hook = made.await?;
        Ok(Registered {
            resource: Some(self.board.clone()),
            ..Registered::new(hook.id)
        })
    }

    /// The token stands in the path of this request.
    async fn find(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Vec<Registered>, AdapterError> {
        let path = ["tokens", self.token.expose_secret(), "webhooks"];
        let request = self.api.get(&path)?.secret_url();
        let all: Vec<Hook> = self
            .api
            .ask(context, request, "listing the webhooks")
            .await?;
        let here = all.into_iter().filter(|hook| {
            let is_ours = hook.id_model.as_deref() == Some(self.board.as_str());
            is_ours && hook.callback_url.as_deref() == Some(url)
        });
        Ok(here.map(|hook| Registered::new(hook.id)).collect())
    }

    async fn check(&self, context: &CallContext<'_>, id: &str) -> Result<HookHealth, AdapterError> {
        let request = self.api.get(&["webhooks", id])?;
        let read = self.api.ask(context, request, "reading the webhook").await;
        let Some(hook): Option<Hook> = or_gone(read)? else {
            return Ok(HookHealth::gone());
        };
        let failures = hook.consecutive_failures;
        let health = if !hook.active {
            let problem = "Trello switched it off, as its deliveries failed for long";
            HookHealth::not_well(WebhookState::Disabled, problem)
        } else if failures > 0 {
            let problem = format!("its last {failures} deliveries failed");
            HookHealth::not_well(WebhookState::Failing, problem)
        } else {
            HookHealth::active()
        };
        Ok(HookHealth {
            url: hook.callback_url,
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
        or_gone(removed).map(drop)
    }
}
