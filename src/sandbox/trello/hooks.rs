//! Webhooks of the token: made only if the address answers `HEAD` with 200, one for each token,
//! model and address.

use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::call::Call;
use super::super::kit::Hit;
use super::super::ledger::LedgerHook;
use super::super::outgoing::Question;
use super::{Trello, error, missing};

impl Trello {
    /// What is asked of an address before it is taken.
    pub(super) fn asks_address(call: &Call) -> Option<Question> {
        let path = call.path.trim_end_matches('/');
        let is_create = call.method == "POST" && path.ends_with("/webhooks");
        let url = call.field("callbackURL");
        (is_create && !url.is_empty()).then(|| Question {
            method: "HEAD",
            url: url.to_owned(),
            headers: Vec::new(),
            body: String::new(),
        })
    }

    fn hook_shown(&self, hook: &LedgerHook) -> Value {
        let rules = &self.common.settings.webhooks;
        json!({
            "id": hook.id, "description": "Ticketwire", "idModel": hook.about,
            "callbackURL": hook.url, "active": hook.active && !rules.switched_off,
            "consecutiveFailures": if rules.arrives() { 0 } else { 3 },
            "firstConsecutiveFailDate": null,
        })
    }

    pub(super) fn create_hook(&mut self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let (url, model) = (call.field("callbackURL"), call.field("idModel"));
        if model != self.common.settings.board {
            return error(400, "invalid value for idModel");
        }
        let got = call.heard.status;
        if got != 200 {
            let text = format!("URL ({url}) did not return 200 status code, got {got}");
            return error(400, &text);
        }
        if self.common.hooks.has(url, model) {
            return error(
                400,
                "A webhook with that callback, model, and token already exists",
            );
        }
        let id = self.id(hit.now);
        let new = LedgerHook {
            url: url.to_owned(),
            about: model.to_owned(),
            active: true,
            ..LedgerHook::default()
        };
        let hook = self.common.hooks.add(|_| id, new);
        Answer::json(200, self.hook_shown(&hook)).mutated()
    }

    /// There is one token, so all are its.
    pub(super) fn list_hooks(&self, _: &Hit<'_>) -> Answer {
        let all = self.common.hooks.all().iter();
        Answer::json(200, all.map(|hook| self.hook_shown(hook)).collect())
    }

    pub(super) fn get_hook(&self, hit: &Hit<'_>) -> Answer {
        match self.common.hooks.find(hit.arg(0)) {
            Some(hook) => Answer::json(200, self.hook_shown(hook)),
            None => missing(hit.arg(0)),
        }
    }

    pub(super) fn delete_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if self.common.hooks.remove(hit.arg(0)) {
            Answer::json(200, json!({ "_value": null })).mutated()
        } else {
            missing(hit.arg(0))
        }
    }
}
