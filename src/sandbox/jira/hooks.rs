//! Webhooks: an administrator's, and those of an OAuth app, which end after thirty days.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::kit::Hit;
use super::super::ledger::LedgerHook;
use super::{Jira, error};

/// Webhooks of one app for one account.
const OF_APP_MAX: usize = 5;
/// How an app's are told from an administrator's: by what their filter is called.
const OF_APP: &str = "jql: ";
const LIFE: TimeDelta = TimeDelta::days(30);

fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Jira {
    fn no_administrator(&self) -> Option<Answer> {
        let may = self.common.settings.webhooks.may_administer();
        (!may).then(|| {
            error(
                403,
                "You are not authorized to perform this operation. Administer \
                                   Jira is required.",
            )
        })
    }

    fn hook_shown(&self, hit: &Hit<'_>, hook: &LedgerHook) -> Value {
        let rules = &self.common.settings.webhooks;
        json!({
            "self": format!("{}/rest/webhooks/1.0/webhook/{}", hit.call.base, hook.id),
            "name": "Ticketwire", "url": hook.url, "events": hook.events, "excludeBody": false,
            "filters": { "issue-related-events-section": hook.about },
            "enabled": hook.active && !rules.switched_off, "isSigned": hook.secret.is_some(),
            "lastUpdatedUser": self.account_id(),
        })
    }

    pub(super) fn create_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_administrator() {
            return refusal;
        }
        let call = hit.call;
        let text = |pointer: &str| call.at(pointer).as_str().unwrap_or_default().to_owned();
        let url = text("/url");
        if text("/name").is_empty() || url::Url::parse(&url).is_err() {
            return error(400, "The webhook needs a name and an absolute URL.");
        }
        let filter = text("/filters/issue-related-events-section");
        if self.common.hooks.has(&url, &filter) {
            return error(
                409,
                "A webhook with the same URL, events and filter exists already.",
            );
        }
        let new = LedgerHook {
            url,
            secret: call.at("/secret").as_str().map(str::to_owned),
            about: filter,
            events: texts(call.at("/events")),
            active: true,
            ..LedgerHook::default()
        };
        let hook = self.common.hooks.add(|n| (70 + n).to_string(), new);
        Answer::json(201, self.hook_shown(hit, &hook)).mutated()
    }

    fn administered(&self) -> impl Iterator<Item = &LedgerHook> {
        let all = self.common.hooks.all().iter();
        all.filter(|hook| !hook.about.starts_with(OF_APP))
    }

    pub(super) fn list_hooks(&self, hit: &Hit<'_>) -> Answer {
        let all = || self.administered().map(|hook| self.hook_shown(hit, hook));
        self.no_administrator()
            .unwrap_or_else(|| Answer::json(200, all().collect()))
    }

    pub(super) fn get_hook(&self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_administrator() {
            return refusal;
        }
        let mut all = self.administered();
        match all.find(|hook| hook.id == hit.arg(0)) {
            Some(hook) => Answer::json(200, self.hook_shown(hit, hook)),
            None => error(404, "The webhook does not exist."),
        }
    }

    pub(super) fn delete_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_administrator() {
            return refusal;
        }
        if self.common.hooks.remove(hit.arg(0)) {
            Answer::empty(204).mutated()
        } else {
            error(404, "The webhook does not exist.")
        }
    }

    // --- those of an app ---

    /// Only a token of an OAuth app may; an account's own is told so.
    fn no_app(&self, hit: &Hit<'_>) -> Option<Answer> {
        let is_app = hit.call.authorization("bearer").is_some();
        if is_app && self.common.settings.webhooks.may_administer() {
            return None;
        }
        let text = "The caller isn't an app, or the scope manage:jira-webhook is missing.";
        Some(error(403, text))
    }

    fn of_app(&self) -> impl Iterator<Item = &LedgerHook> {
        let all = self.common.hooks.all().iter();
        all.filter(|hook| hook.about.starts_with(OF_APP))
    }

    pub(super) fn register_hooks(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_app(hit) {
            return refusal;
        }
        let url = hit.call.at("/url").as_str().unwrap_or_default().to_owned();
        if self.of_app().any(|hook| hook.url != url) {
            return error(
                400,
                "Only a single URL per app is allowed to be registered.",
            );
        }
        let wanted = hit.call.at("/webhooks").as_array().cloned();
        let mut results = Vec::new();
        for one in wanted.unwrap_or_default() {
            let filter = one["jqlFilter"].as_str().unwrap_or_default();
            let fault = if self.of_app().count() >= OF_APP_MAX {
                Some("The limit of webhooks has been reached.")
            } else if filter.is_empty() {
                Some("The JQL filter must be specified.")
            } else {
                None
            };
            if let Some(fault) = fault {
                results.push(json!({ "errors": [fault] }));
                continue;
            }
            let new = LedgerHook {
                url: url.clone(),
                about: format!("{OF_APP}{filter}"),
                events: texts(&one["events"]),
                active: true,
                ..LedgerHook::default()
            };
            let hook = self.common.hooks.add(|n| (1_000 + n).to_string(), new);
            results.push(json!({ "createdWebhookId": hook.id.parse::<u64>().ok() }));
        }
        Answer::json(200, json!({ "webhookRegistrationResult": results })).mutated()
    }

    pub(super) fn registered_hooks(&self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_app(hit) {
            return refusal;
        }
        let days = self.common.settings.webhooks.days_left;
        let shown = |hook: &LedgerHook| {
            json!({
                "id": hook.id.parse::<u64>().ok(), "events": hook.events, "url": hook.url,
                "jqlFilter": hook.about.trim_start_matches(OF_APP),
                "expirationDate": iso(hit.now + TimeDelta::days(days)),
            })
        };
        let all: Vec<Value> = self.of_app().map(shown).collect();
        let total = all.len();
        Answer::json(
            200,
            json!({ "startAt": 0, "maxResults": 100, "total": total, "isLast": true,
                "values": all }),
        )
    }

    pub(super) fn failed_hooks(&self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_app(hit) {
            return refusal;
        }
        let failed = self
            .of_app()
            .filter(|_| !self.common.settings.webhooks.arrives());
        let failed = failed.map(|hook| {
            json!({ "id": "1", "url": hook.url, "body": "{}",
            "failureTime": hit.now.timestamp_millis() })
        });
        let failed: Vec<Value> = failed.collect();
        Answer::json(200, json!({ "values": failed, "maxResults": 100 }))
    }

    pub(super) fn refresh_hooks(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_app(hit) {
            return refusal;
        }
        Answer::json(200, json!({ "expirationDate": iso(hit.now + LIFE) })).mutated()
    }

    pub(super) fn drop_hooks(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.no_app(hit) {
            return refusal;
        }
        let ids = hit.call.at("/webhookIds").as_array().cloned();
        for id in ids.unwrap_or_default() {
            // One that is not there is no error (202 all the same).
            self.common.hooks.remove(&id.to_string());
        }
        Answer::empty(202).mutated()
    }
}
