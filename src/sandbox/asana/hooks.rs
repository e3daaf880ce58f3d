//! Webhooks of the project: made only if the address gives back the secret that it is told.

use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::call::Call;
use super::super::kit::Hit;
use super::super::kit::shelf::moment;
use super::super::ledger::LedgerHook;
use super::super::outgoing::Question;
use super::{Asana, error, forbidden, listing, shown, unknown};

/// The secret of the next webhook, which is told before there is one.
fn secret_of(number: usize) -> String {
    let digest = ring::digest::digest(
        &ring::digest::SHA256,
        format!("sandbox hook {number}").as_bytes(),
    );
    hex::encode(digest)
}

impl Asana {
    /// The handshake, which is made while the request waits.
    pub(super) fn handshake(&self, call: &Call) -> Option<Question> {
        let is_create = call.method == "POST" && call.path.ends_with("/webhooks");
        let target = call.at("/data/target").as_str().filter(|_| is_create)?;
        Some(Question {
            method: "POST",
            url: target.to_owned(),
            headers: vec![("X-Hook-Secret", secret_of(self.hooks_made))],
            body: String::new(),
        })
    }

    fn hook_whole(&self, hit: &Hit<'_>, hook: &LedgerHook) -> Value {
        let rules = &self.common.settings.webhooks;
        let (none, now) = (Value::Null, json!(moment(hit.now)));
        let fails = !rules.arrives();
        json!({
            "gid": hook.id, "resource_type": "webhook", "target": hook.url,
            "active": hook.active && !rules.switched_off,
            "resource": { "gid": hook.about, "resource_type": "project" },
            "last_success_at": if fails { &none } else { &now },
            "last_failure_at": if fails { &now } else { &none },
            "last_failure_content": if fails { format!("{}", rules.last_answer) } else {
                String::new() },
        })
    }

    pub(super) fn create_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if !self.common.settings.webhooks.may_administer() {
            return forbidden();
        }
        let call = hit.call;
        let text = |pointer: &str| call.at(pointer).as_str().unwrap_or_default().to_owned();
        let (resource, target) = (text("/data/resource"), text("/data/target"));
        if resource != self.common.settings.project {
            return unknown("resource", &resource);
        }
        if self.common.hooks.has(&target, &resource) {
            return error(
                403,
                "Forbidden: a webhook of this resource and target exists already",
            );
        }
        let secret = secret_of(self.hooks_made);
        let heard = &call.heard;
        let shaken = matches!(heard.status, 200 | 204)
            && heard.header("x-hook-secret") == Some(secret.as_str());
        if !shaken {
            return error(
                400,
                "The remote server did not respond with the handshake secret.",
            );
        }
        self.hooks_made += 1;
        let events = call
            .at("/data/filters")
            .as_array()
            .cloned()
            .unwrap_or_default();
        let new = LedgerHook {
            url: target,
            secret: Some(secret.clone()),
            about: resource,
            events: events.iter().map(ToString::to_string).collect(),
            active: true,
            ..LedgerHook::default()
        };
        let hook = self.common.hooks.add(|n| (43_214 + n).to_string(), new);
        let mut whole = self.hook_whole(hit, &hook);
        whole["active"] = false.into();
        Answer::json(201, json!({ "data": whole, "X-Hook-Secret": secret })).mutated()
    }

    pub(super) fn list_hooks(&self, hit: &Hit<'_>) -> Answer {
        if hit.call.param("workspace") != Some(self.common.settings.workspace.as_str()) {
            return error(400, "workspace: Missing input");
        }
        let of = hit.call.param("resource");
        let all = self.common.hooks.all().iter();
        let all = all.filter(|hook| of.is_none_or(|of| of == hook.about));
        listing(
            hit.call,
            all.map(|hook| self.hook_whole(hit, hook)).collect(),
            100,
        )
    }

    pub(super) fn get_hook(&self, hit: &Hit<'_>) -> Answer {
        match self.common.hooks.find(hit.arg(0)) {
            Some(hook) => shown(200, hit.call, &self.hook_whole(hit, hook)),
            None => unknown("webhook", hit.arg(0)),
        }
    }

    pub(super) fn delete_hook(&mut self, hit: &Hit<'_>) -> Answer {
        if self.common.hooks.remove(hit.arg(0)) {
            Answer::json(200, json!({ "data": {} })).mutated()
        } else {
            unknown("webhook", hit.arg(0))
        }
    }
}
