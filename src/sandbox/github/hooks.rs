//! Webhooks of the repository. Who may not administer them is told that there is nothing.

use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::kit::Hit;
use super::super::ledger::LedgerHook;
use super::{GitHub, not_found, refused};

fn unprocessable(message: &str) -> Answer {
    Answer::json(
        422,
        json!({
            "message": "Validation Failed", "status": "422",
            "errors": [{ "resource": "Hook", "code": "custom", "message": message }],
            "documentation_url": "https://docs.github.com/rest/repos/webhooks#create-a-repository-webhook",
        }),
    )
}

impl GitHub {
    fn hook_shown(&self, hook: &LedgerHook) -> Value {
        let rules = &self.common.settings.webhooks;
        let last = if rules.last_answer == 0 {
            json!({ "code": null, "status": "unused", "message": null })
        } else {
            let said = if rules.arrives() {
                "OK"
            } else {
                "Invalid HTTP Response"
            };
            json!({ "code": rules.last_answer, "status": "active", "message": said })
        };
        json!({
            "type": "Repository", "id": hook.id.parse::<u64>().unwrap_or_default(), "name": "web",
            "active": hook.active && !rules.switched_off, "events": hook.events,
            "config": {
                "content_type": "json", "insecure_ssl": "0", "url": hook.url,
                "secret": hook.secret.as_ref().map(|_| "********"),
            },
            "last_response": last,
        })
    }

    const fn hides_hooks(&self) -> bool {
        !self.common.settings.webhooks.may_administer() || !self.common.settings.visible
    }

    pub(super) fn create_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if self.hides_hooks() {
            return not_found();
        }
        let call = hit.call;
        let text = |pointer: &str| call.at(pointer).as_str().unwrap_or_default();
        let url = text("/config/url");
        if !matches!(text("/name"), "" | "web") {
            return unprocessable("Hook name must be 'web'");
        }
        if !(url.starts_with("https://") || url.starts_with("http://")) {
            return unprocessable("Config must contain URL for webhooks");
        }
        if text("/config/content_type") != "json" {
            // Taken by GitHub, which then sends forms: nothing of ours wants that.
            return refused(422, "the sandbox models content_type json alone");
        }
        if self.common.hooks.has(url, "") {
            return unprocessable("Hook already exists on this repository");
        }
        if self.common.hooks.all().len() >= self.common.settings.webhooks.most {
            return unprocessable("The \"push\" event cannot have more than 20 hooks");
        }
        let events = call.at("/events").as_array().cloned().unwrap_or_default();
        let events = events.iter().filter_map(Value::as_str).map(str::to_owned);
        let secret = call.at("/config/secret").as_str().map(str::to_owned);
        let new = LedgerHook {
            url: url.to_owned(),
            secret,
            active: call.at("/active").as_bool().unwrap_or(true),
            events: events.collect(),
            ..LedgerHook::default()
        };
        let hook = self.common.hooks.add(|n| (12_345_000 + n).to_string(), new);
        Answer::json(201, self.hook_shown(&hook)).mutated()
    }

    pub(super) fn list_hooks(&self, _: &Hit<'_>) -> Answer {
        if self.hides_hooks() {
            return not_found();
        }
        let all = self.common.hooks.all().iter();
        Answer::json(200, all.map(|hook| self.hook_shown(hook)).collect())
    }

    pub(super) fn get_hook(&self, hit: &Hit<'_>) -> Answer {
        match self.common.hooks.find(hit.arg(2)) {
            Some(hook) if !self.hides_hooks() => Answer::json(200, self.hook_shown(hook)),
            Some(_) | None => not_found(),
        }
    }

    pub(super) fn delete_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if self.hides_hooks() || !self.common.hooks.remove(hit.arg(2)) {
            return not_found();
        }
        Answer::empty(204).mutated()
    }

    /// What was repeated arrived; then what was lost, each by its place in the list.
    pub(super) fn list_deliveries(&self, hit: &Hit<'_>) -> Answer {
        if self.hides_hooks() || self.common.hooks.find(hit.arg(2)).is_none() {
            return not_found();
        }
        let shown = |id: usize, guid: &String, status: u16, again: bool| {
            json!({ "id": id, "guid": guid, "status_code": status, "redelivery": again,
                "event": "issues", "action": "edited" })
        };
        let repeated = self.common.hooks.repeated.iter().rev().enumerate();
        let repeated = repeated.map(|(n, guid)| shown(900 + n, guid, 200, true));
        let lost = self.common.settings.webhooks.lost.iter().enumerate();
        let lost = lost.map(|(n, guid)| shown(100 + n, guid, 503, false));
        Answer::json(200, repeated.chain(lost).collect())
    }

    pub(super) fn redeliver(&mut self, hit: &Hit<'_>) -> Answer {
        let number = hit.arg(3).parse::<usize>().ok();
        let place = number.and_then(|number| number.checked_sub(100));
        let guid = place.and_then(|place| self.common.settings.webhooks.lost.get(place));
        let Some(guid) = guid.filter(|_| !self.hides_hooks()).cloned() else {
            return not_found();
        };
        self.common.hooks.repeated.push(guid);
        Answer::json(202, json!({})).mutated()
    }
}
