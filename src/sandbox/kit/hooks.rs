//! Webhooks that are registered with a site.

use serde::{Deserialize, Serialize};

use super::super::ledger::LedgerHook;

/// What can be set of a site's webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HookRules {
    /// Whether callers may administer them.
    may_administer: bool,
    /// The status with which the last delivery was answered; 0: none was made.
    pub(crate) last_answer: u16,
    /// Whether all were switched off.
    pub(crate) switched_off: bool,
    /// Ids of deliveries that failed, the newest first.
    pub(crate) lost: Vec<String>,
    /// Days that are left to those that end by themselves.
    pub(crate) days_left: i64,
    /// Webhooks that there may be.
    pub(crate) most: usize,
}

impl Default for HookRules {
    fn default() -> Self {
        Self {
            may_administer: true,
            last_answer: 0,
            switched_off: false,
            lost: Vec::new(),
            days_left: 30,
            most: 20,
        }
    }
}

impl HookRules {
    pub(crate) const fn may_administer(&self) -> bool {
        self.may_administer
    }

    /// Whether the last delivery, if there was one, arrived.
    pub(crate) const fn arrives(&self) -> bool {
        self.last_answer == 0 || (self.last_answer >= 200 && self.last_answer < 300)
    }
}

/// A site's webhooks.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    all: Vec<LedgerHook>,
    made: u64,
    /// Deliveries that were sent again.
    pub(crate) repeated: Vec<String>,
}

impl Hooks {
    /// Adds one; it gets the next number, which is its id unless the platform has other ids.
    pub(crate) fn add(&mut self, id: impl FnOnce(u64) -> String, hook: LedgerHook) -> LedgerHook {
        self.made += 1;
        let hook = LedgerHook {
            id: id(self.made),
            ..hook
        };
        self.all.push(hook.clone());
        hook
    }

    pub(crate) fn all(&self) -> &[LedgerHook] {
        &self.all
    }

    pub(crate) fn find(&self, id: &str) -> Option<&LedgerHook> {
        self.all.iter().find(|hook| hook.id == id)
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let before = self.all.len();
        self.all.retain(|hook| hook.id != id);
        self.all.len() < before
    }

    /// Whether one has this address, for the same thing.
    pub(crate) fn has(&self, url: &str, about: &str) -> bool {
        let mut all = self.all.iter();
        all.any(|hook| hook.url == url && hook.about == about)
    }
}
