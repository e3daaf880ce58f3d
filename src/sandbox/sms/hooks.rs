//! Where messages that come to a number go: one address.

use super::super::answer::Answer;
use super::super::kit::Hit;
use super::super::ledger::LedgerHook;
use super::{NUMBER_SID, Twilio, error};

impl Twilio {
    fn is_number_there(hit: &Hit<'_>) -> bool {
        hit.arg(1).trim_end_matches(".json") == NUMBER_SID
    }

    pub(super) fn get_number(&self, hit: &Hit<'_>) -> Answer {
        let first = self.common.settings.numbers.first();
        match first.filter(|_| Self::is_number_there(hit)) {
            Some(number) => Answer::json(200, self.number_shown(number)),
            None => error(404, 20_404, "The requested resource was not found"),
        }
    }

    pub(super) fn set_number(&mut self, hit: &Hit<'_>) -> Answer {
        if !Self::is_number_there(hit) {
            return error(404, 20_404, "The requested resource was not found");
        }
        if !self.common.settings.webhooks.may_administer() {
            return error(403, 20_403, "Forbidden");
        }
        let form = &hit.call.form;
        let sent = form.iter().find(|(name, _)| name == "SmsUrl");
        if let Some((_, url)) = sent {
            if !url.is_empty() && url::Url::parse(url).is_err() {
                return error(400, 21_502, "SmsUrl is not valid");
            }
            self.common.hooks.remove(NUMBER_SID);
            if !url.is_empty() {
                let hook = LedgerHook {
                    url: url.clone(),
                    active: true,
                    ..LedgerHook::default()
                };
                self.common.hooks.add(|_| NUMBER_SID.to_owned(), hook);
            }
        }
        match self.get_number(hit) {
            answer if answer.status == 200 => answer.mutated(),
            refusal => refusal,
        }
    }
}
