//! Webhooks of the repository ("REST API endpoints for repository webhooks"). GitHub sends each
//! delivery once, and again where it is asked for within three days.

use std::collections::BTreeSet;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::GitHub;
use crate::domain::WebhookState;
use crate::platforms::inbound::{
    HookHealth, Redelivered, Registered, Registrar, SecretSource, Wanted, or_gone,
};
use crate::platforms::{AdapterError, CallContext, ErrorClass};

/// What is told of: issues and their comments.
const EVENTS: [&str; 2] = ["issues", "issue_comment"];
/// What the credential needs; GitHub says 404 to one that lacks it.
const RIGHT: &str = "the credential has to administer the repository's webhooks: a classic token \
                     with admin:repo_hook, or Webhooks read and write of a fine-grained token or \
                     a GitHub App";
/// Deliveries that are looked at, and sent again at a time: each is a write, and these are a second
/// apart.
const DELIVERIES: &str = "100";
const REPEATS_MAX: usize = 20;

#[derive(Deserialize)]
struct Hook {
    id: u64,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    config: Config,
    last_response: Option<LastResponse>,
}

#[derive(Default, Deserialize)]
struct Config {
    url: Option<String>,
}

#[derive(Deserialize)]
struct LastResponse {
    code: Option<u16>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Delivery {
    id: u64,
    guid: String,
    #[serde(default)]
    status_code: u16,
}

impl Delivery {
    const fn arrived(&self) -> bool {
        self.status_code >= 200 && self.status_code < 300
    }
}

impl GitHub {
    async fn hooks_there(&self, context: &CallContext<'_>) -> Result<Vec<Hook>, AdapterError> {
        let request = self.api.get(&self.at(&["hooks"]))?;
        let request = request.query([("per_page", "100")]);
        let listed = self.api.ask(context, request, "listing the webhooks").await;
        listed.map_err(lacking)
    }
}

/// A refusal that says what is missing: GitHub shows webhooks to nobody else.
fn lacking(mut error: AdapterError) -> AdapterError {
    if matches!(error.class, ErrorClass::NotFound | ErrorClass::Permission) {
        error.class = ErrorClass::Permission;
        error.public = format!("{}; {RIGHT}", error.public);
    }
    error
}

#[async_trait]
impl Registrar for GitHub {
    fn secret(&self) -> SecretSource {
        SecretSource::Made
    }

    async fn register(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError> {
        let secret = wanted.secret.map(ExposeSecret::expose_secret);
        let body = json!({
            "name": "web", "active": true, "events": EVENTS,
            "config": {
                "url": wanted.url, "content_type": "json", "secret": secret, "insecure_ssl": "0",
            },
        });
        let request = self.api.make(Method::POST, &self.at(&["hooks"]))?;
        let made = self
            .api
            .ask(context, request.json(&body), "registering the webhook");
        let hook: Hook = made.await.map_err(lacking)?;
        Ok(Registered::new(hook.id.to_string()))
    }

    async fn find(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Vec<Registered>, AdapterError> {
        let all = self.hooks_there(context).await?.into_iter();
        let here = all.filter(|hook| hook.config.url.as_deref() == Some(url));
        Ok(here
            .map(|hook| Registered::new(hook.id.to_string()))
            .collect())
    }

    async fn check(&self, context: &CallContext<'_>, id: &str) -> Result<HookHealth, AdapterError> {
        let request = self.api.get(&self.at(&["hooks", id]))?;
        let read = self.api.ask(context, request, "reading the webhook").await;
        let Some(hook): Option<Hook> = or_gone(read)? else {
            // Who may not see webhooks is told the same; the listing tells the two apart.
            self.hooks_there(context).await?;
            return Ok(HookHealth::gone());
        };
        let mut health = HookHealth::active();
        if hook.active {
            let last = hook.last_response.as_ref();
            let code = last.and_then(|last| last.code);
            if let Some(code) = code.filter(|code| !(200..300).contains(code)) {
                let said = last.and_then(|last| last.message.as_deref()).unwrap_or("");
                let problem = format!("its last delivery was answered with {code} {said}");
                health = HookHealth::not_well(WebhookState::Failing, problem.trim_end());
            }
        } else {
            let problem = "it is switched off in the repository's settings";
            health = HookHealth::not_well(WebhookState::Disabled, problem);
        }
        Ok(HookHealth {
            url: hook.config.url,
            ..health
        })
    }

    async fn remove(
        &self,
        context: &CallContext<'_>,
        id: &str,
        _: &str,
    ) -> Result<(), AdapterError> {
        let request = self.api.set(Method::DELETE, &self.at(&["hooks", id]))?;
        let removed = self
            .api
            .tell(context, request, "removing the webhook")
            .await;
        if or_gone(removed)?.is_none() {
            self.hooks_there(context).await?;
        }
        Ok(())
    }

    async fn redeliver(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<Redelivered, AdapterError> {
        let request = self.api.get(&self.at(&["hooks", id, "deliveries"]))?;
        let request = request.query([("per_page", DELIVERIES)]);
        let listed = self.api.ask(context, request, "listing the deliveries");
        let deliveries: Vec<Delivery> = listed.await.map_err(lacking)?;
        let lost = lost(&deliveries);
        let mut asked = 0;
        for delivery in lost.iter().take(REPEATS_MAX) {
            let number = delivery.to_string();
            let path = self.at(&["hooks", id, "deliveries", &number, "attempts"]);
            let request = self.api.set(Method::POST, &path)?;
            let what = "having a delivery sent again";
            match self.api.tell(context, request, what).await {
                Ok(_) => asked += 1,
                // Writes are sent apart, and the time is used up: the rest is asked for next time.
                Err(error)
                    if asked > 0 && matches!(error.class, ErrorClass::RateLimited { .. }) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Redelivered {
            failed: lost.len(),
            asked,
        })
    }
}

/// Deliveries that did not arrive and were not repeated with success, the oldest first: one of
/// each.
fn lost(newest_first: &[Delivery]) -> Vec<u64> {
    let arrived = newest_first.iter().filter(|one| one.arrived());
    let mut known: BTreeSet<&str> = arrived.map(|one| one.guid.as_str()).collect();
    let mut lost: Vec<u64> = newest_first
        .iter()
        .filter(|one| known.insert(&one.guid))
        .map(|one| one.id)
        .collect();
    lost.reverse();
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_lost_where_no_try_of_it_arrived() {
        let of = |id, guid: &str, status_code| Delivery {
            id,
            guid: guid.into(),
            status_code,
        };
        let all = [
            of(6, "c", 503),
            of(5, "b", 200),
            of(4, "a", 500),
            of(3, "c", 0),
            of(2, "b", 502),
            of(1, "d", 202),
        ];
        assert_eq!(lost(&all), [4, 6]);
        assert!(lost(&[]).is_empty());
    }
}
