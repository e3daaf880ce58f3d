//! Webhooks of the account, for administrators. Each has a secret of Zendesk's.

use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::kit::Hit;
use super::super::ledger::LedgerHook;
use super::{Zendesk, gone, said};

/// What can be subscribed to, behind `zen:event-type:`; a short choice.
const EVENTS: [&str; 9] = [
    "ticket.created",
    "ticket.status_changed",
    "ticket.priority_changed",
    "ticket.subject_changed",
    "ticket.description_changed",
    "ticket.tags_changed",
    "ticket.agent_assignment_changed",
    "ticket.custom_field_changed",
    "ticket.comment_added",
];

impl Zendesk {
    fn no_administrator(&self) -> Option<Answer> {
        let settings = &self.common.settings;
        let may = settings.webhooks.may_administer() && settings.role == "admin";
        (!may).then(|| said(403, "Forbidden", "You do not have access to this page"))
    }

    fn hook_shown(&self, hook: &LedgerHook) -> Value {
        let is_on = hook.active && !self.common.settings.webhooks.switched_off;
        json!({
            "id": hook.id, "name": "Ticketwire", "endpoint": hook.url, "http_method": "POST",
            "request_format": "json", "subscriptions": hook.events,
            "status": if is_on { "active" } else { "inactive" },
        })
    }

    pub(super) fn create_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_administrator() {
            return refusal;
        }
        let call = hit.call;
        let text = |pointer: &str| call.at(pointer).as_str().unwrap_or_default().to_owned();
        let endpoint = text("/webhook/endpoint");
        if endpoint.is_empty() || text("/webhook/name").is_empty() {
            return said(422, "RecordInvalid", "name and endpoint cannot be blank");
        }
        let events = call.at("/webhook/subscriptions").as_array().cloned();
        let events: Vec<String> = events
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let is_known = |event: &String| {
            let name = event.strip_prefix("zen:event-type:");
            name.is_some_and(|name| EVENTS.contains(&name))
        };
        if let Some(event) = events.iter().find(|event| !is_known(event)) {
            return said(
                422,
                "RecordInvalid",
                &format!("invalid subscription {event}"),
            );
        }
        let number = self.next_id;
        self.next_id += 1;
        let new = LedgerHook {
            url: endpoint,
            secret: Some(format!("zd-hook-secret-{number}")),
            events,
            active: text("/webhook/status") == "active",
            ..LedgerHook::default()
        };
        let hook = self.common.hooks.add(|n| format!("01HOOK{n:020}"), new);
        Answer::json(201, json!({ "webhook": self.hook_shown(&hook) })).mutated()
    }

    pub(super) fn list_hooks(&self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_administrator() {
            return refusal;
        }
        let part = hit.call.param("filter[name_contains]").unwrap_or_default();
        let all = self.common.hooks.all().iter();
        let all = all.filter(|_| "Ticketwire".contains(part));
        let all: Vec<Value> = all.map(|hook| self.hook_shown(hook)).collect();
        Answer::json(
            200,
            json!({ "webhooks": all, "meta": { "has_more": false } }),
        )
    }

    /// One of them, for whom may see it.
    fn hook_of(&self, hit: &Hit<'_>) -> Result<&LedgerHook, Answer> {
        if let Some(refusal) = self.no_administrator() {
            return Err(refusal);
        }
        self.common.hooks.find(hit.arg(0)).ok_or_else(gone)
    }

    pub(super) fn get_hook(&self, hit: &Hit<'_>) -> Answer {
        self.hook_of(hit).map_or_else(
            |refusal| refusal,
            |hook| Answer::json(200, json!({ "webhook": self.hook_shown(hook) })),
        )
    }

    pub(super) fn hook_secret(&self, hit: &Hit<'_>) -> Answer {
        self.hook_of(hit).map_or_else(
            |refusal| refusal,
            |hook| {
                let secret = json!({ "algorithm": "SHA256", "secret": hook.secret });
                Answer::json(200, json!({ "signing_secret": secret }))
            },
        )
    }

    pub(super) fn invocations(&self, hit: &Hit<'_>) -> Answer {
        self.hook_of(hit).map_or_else(
            |refusal| refusal,
            |_| {
                let rules = &self.common.settings.webhooks;
                let status = if rules.arrives() { "success" } else { "failed" };
                let one = json!({ "id": "01INV", "status": status,
                    "status_code": rules.last_answer,
                    "latest_completed_at": hit.now.to_rfc3339() });
                let all: Vec<_> = (rules.last_answer > 0).then_some(one).into_iter().collect();
                Answer::json(
                    200,
                    json!({ "invocations": all, "meta": { "has_more": false } }),
                )
            },
        )
    }

    pub(super) fn delete_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if let Err(refusal) = self.hook_of(hit) {
            return refusal;
        }
        self.common.hooks.remove(hit.arg(0));
        Answer::empty(204).mutated()
    }
}
