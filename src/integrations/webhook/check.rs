//! A look at what is registered: how it does, and whether it is time to renew it.

use serde_json::json;
use uuid::Uuid;

use super::{WebhookOutcome, WebhookRefusal, Webhooks, is_at};
use crate::contract::{Subject, notice};
use crate::domain::{WebhookAction, WebhookState};
use crate::platforms::CallContext;
use crate::platforms::inbound::{HookHealth, Registered};
use crate::store::{OutboxRow, StoredWebhook};
use crate::telemetry::clock;

impl Webhooks<'_> {
    pub(super) async fn check(
        &self,
        context: &CallContext<'_>,
    ) -> Result<WebhookOutcome, WebhookRefusal> {
        let rows = self.settled(context).await?;
        let (mut events, mut warnings, mut is_gone) = (Vec::new(), Vec::new(), false);
        let mut newest = None;
        let address = self.address().ok();
        for row in &rows {
            let Some(id) = &row.external_id else {
                continue;
            };
            let mut health = self.driver.check_webhook(context, id).await?;
            is_gone |= health.state == WebhookState::Gone;
            if let Some(url) = health.url.take().filter(|url| *url != row.url) {
                let problem = format!("its deliveries go to {url}, which somebody else has set");
                health = HookHealth::not_well(WebhookState::Failing, problem);
            }
            if health.state == WebhookState::Active && self.is_due(row, &health) {
                health.expires_at = self.driver.renew_webhook(context, id).await?;
            }
            events.extend(self.note(row, &health).await?);
            if health.state == WebhookState::Active {
                newest = Some(row.id);
            }
            if let Some(address) = address.as_ref().filter(|address| !is_at(&row.url, address)) {
                let url = &row.url;
                warnings.push(format!(
                    "{url} is registered, and http.webhook_public_url makes it {address}: \
                     register again"
                ));
            }
        }
        // What a newer one has taken the place of could not be removed then.
        if let Some(newest) = newest {
            let older: Vec<_> = rows
                .iter()
                .take_while(|row| row.id != newest)
                .cloned()
                .collect();
            warnings.extend(self.retire(context, &older, newest, None).await?);
        }
        let result = json!({ "action": WebhookAction::Check, "warnings": warnings });
        let done = self.done(result, events).await?;
        Ok(WebhookOutcome { is_gone, ..done })
    }

    /// Whether no more than a third of a registration's life is left.
    fn is_due(&self, row: &StoredWebhook, health: &HookHealth) -> bool {
        let (Some(life), Some(ends)) = (
            self.driver.webhook_life(),
            health.expires_at.or(row.expires_at),
        ) else {
            return false;
        };
        let left = (ends - clock::now()).to_std().unwrap_or_default();
        left <= life / 3
    }

    /// Notes how one does, and tells the world where that is news.
    pub(super) async fn note(
        &self,
        row: &StoredWebhook,
        health: &HookHealth,
    ) -> Result<Vec<OutboxRow>, WebhookRefusal> {
        let about = About {
            id: row.id,
            external_id: row.external_id.as_deref(),
            url: &row.url,
            before: row.state,
        };
        let events: Vec<OutboxRow> = self.news(&about, health).into_iter().collect();
        let problem = health.problem.as_deref();
        let expires_at = health.expires_at;
        let told = (events.as_slice(), self.owner);
        let is_there = self
            .store
            .note_webhook(row.id, health.state, problem, expires_at, told)
            .await?;
        Ok(if is_there { events } else { Vec::new() })
    }

    /// Tells that a new one took the place of one that did not do well.
    pub(super) async fn restored(
        &self,
        id: Uuid,
        registered: &Registered,
        url: String,
        before: &[StoredWebhook],
    ) -> Result<Vec<OutboxRow>, WebhookRefusal> {
        let mut states = before.iter().map(|row| row.state);
        let Some(before) = states.find(|state| !is_well(*state)) else {
            return Ok(Vec::new());
        };
        let about = About {
            id,
            external_id: Some(&registered.external_id),
            url: &url,
            before,
        };
        let health = HookHealth::active();
        let events: Vec<OutboxRow> = self.news(&about, &health).into_iter().collect();
        let told = (events.as_slice(), self.owner);
        let is_there = self
            .store
            .note_webhook(id, health.state, None, None, told)
            .await?;
        Ok(if is_there { events } else { Vec::new() })
    }

    /// What is told of one: that it fails now, or does no longer.
    fn news(&self, about: &About<'_>, health: &HookHealth) -> Option<OutboxRow> {
        let event_type = match (is_well(about.before), is_well(health.state)) {
            (true, false) => "integration.webhook.failing",
            (false, true) => "integration.webhook.restored",
            (true, true) | (false, false) => return None,
        };
        let subject = Subject {
            id: self.row.id,
            organization_id: self.row.organization_id,
            category: self.row.category,
            platform: self.row.platform,
        };
        let facts = [
            ("webhook_id", json!(about.id)),
            ("external_id", json!(about.external_id)),
            ("url", json!(about.url)),
            ("old_state", json!(about.before)),
            ("state", json!(health.state)),
            ("reason", json!(health.problem)),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value));
        let told = notice(event_type, &subject, None, facts.into_iter().collect());
        Some(OutboxRow::from(told))
    }
}

/// What an event says of a registration.
struct About<'a> {
    id: Uuid,
    external_id: Option<&'a str>,
    url: &'a str,
    before: WebhookState,
}

/// Whether deliveries of one in this state are to be expected.
const fn is_well(state: WebhookState) -> bool {
    matches!(state, WebhookState::Active | WebhookState::Awaiting)
}
