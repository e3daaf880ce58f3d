//! What fakes are made of. A fake platform is a table of routes, their handlers, and one function
//! that says how the platform refuses; `kit/example.rs` is one.
//!
//! **A new fake** is one file beside this folder, `<name>.rs`, and its arm in `sandbox/mod.rs`:
//!
//! 1. *Settings*: a struct with serde's `default` and `deny_unknown_fields`, and [`Settings`] for
//!    those that the kit reads: listed credentials and a budget of requests.
//! 2. *State*: a struct with a [`Common`] (settings, tokens, meter) and a [`Shelf`] of its items.
//! 3. *[`Tabled`]*: the table ([`route()`] changes something, [`view`] shows something), where
//!    credentials stand ([`CredentialSource`]), how each [`Refusal`] is said, and the ledger's
//!    lines. The table is kept from rustfmt, which would make six lines of a route.
//! 4. *Handlers*: methods that take a [`Hit`] and give an [`Answer`]; one that changed something
//!    ends with `.mutated()`.
//! 5. At the top of the file a table of what is modelled and what is not, and the limits.
//!
//! The kit then does for every request: find the route (else [`Refusal::NoPath`] or
//! [`Refusal::OtherMethods`]); find and judge the credential; refuse a write to who may only look;
//! spend the budget; run the handler; say where the budget stands. Faults, delays and counts are
//! the site's and are no matter of a fake.
//!
//! | part | for |
//! | --- | --- |
//! | [`mod@route`] | the table; conditions on the body where one request is several operations |
//! | [`shelf`] | items: ids, other names, tags, order of change, lag, cap, ledger |
//! | [`grants`], [`jwt`] | a token endpoint: refresh, client, account, assertion |
//! | [`checks`], [`magic`] | credentials in all places; secrets and people known everywhere |
//! | [`paging`] | offset, number, cursor, `Link` |
//! | [`rate`] | budgets and their headers |
//! | [`hooks`] | webhooks that are registered, and what can be set of them |
//!
//! Magic names, the same at all platforms: a secret that ends with `wrong` is refused, one that
//! ends with `forbidden` may look and not write; `known+NAME@example.test` is a person
//! (`sandbox:NAME`).

pub(crate) mod checks;
#[cfg(test)]
mod example;
pub(crate) mod grants;
pub(crate) mod hooks;
pub(crate) mod jwt;
pub(crate) mod magic;
pub(crate) mod paging;
pub(crate) mod rate;
pub(crate) mod route;
pub(crate) mod shelf;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::call::Call;
use super::fake::{Fake, merged};
use super::ledger::{LedgerHook, LedgerIssue};
use super::outgoing::Question;

pub(crate) use checks::{Caller, Credential, CredentialSource, Refusal};
pub(crate) use grants::Grants;
pub(crate) use hooks::{HookRules, Hooks};
pub(crate) use rate::{Budget, Meter, RateHeaders};
pub(crate) use route::{Access, Hit, Route, route, view};
pub(crate) use shelf::{Entry, Item, Shelf};

use route::Found;

/// What the kit reads of a fake's settings.
pub(crate) trait Settings: Serialize + DeserializeOwned + Send {
    /// If not empty, only these are accepted: `user:secret`, or the secret alone.
    fn credentials(&self) -> &[String] {
        &[]
    }

    /// How many requests of known callers are taken.
    fn budget(&self) -> Option<Budget> {
        None
    }
}

/// What every site has.
#[derive(Debug, Default)]
pub(crate) struct Common<S> {
    pub(crate) settings: S,
    pub(crate) grants: Grants,
    pub(crate) hooks: Hooks,
    meter: Meter,
}

/// A fake that is a table of routes.
pub(crate) trait Tabled: Send + Sized + 'static {
    type Settings: Settings;

    /// The first route that fits is taken.
    const ROUTES: &'static [Route<Self>];
    /// Where a credential may stand, in the order in which it is looked for.
    const CREDENTIALS: &'static [CredentialSource];
    /// What a request without a route is called.
    const UNKNOWN: &'static str = "unknown";
    /// The headers that say where the budget stands, if the site has one.
    const RATE: Option<RateHeaders> = None;

    fn common(&self) -> &Common<Self::Settings>;

    fn common_mut(&mut self) -> &mut Common<Self::Settings>;

    /// How the platform says that it does not do it. It is said to this request: a token endpoint
    /// may have other words than the rest.
    fn refuse(&self, refusal: &Refusal, call: &Call, now: DateTime<Utc>) -> Answer;

    /// The ledger's lines, of all items or those with a label, and how many were forgotten.
    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64);

    /// The path's segments below what all paths begin with, such as a version.
    fn below(call: &Call) -> &[String] {
        &call.segments
    }

    /// The credential of a request, where it stands in none of the usual places.
    ///
    /// # Errors
    /// [`Refusal::Missing`] or [`Refusal::Wrong`].
    fn credential(&self, call: &Call) -> Result<Credential, Refusal> {
        checks::credential(call, Self::CREDENTIALS)
    }

    /// Who asks.
    ///
    /// # Errors
    /// Why he is not let in.
    fn caller(&self, call: &Call, now: DateTime<Utc>) -> Result<Caller, Refusal> {
        let common = self.common();
        let credential = self.credential(call)?;
        let listed = common.settings.credentials();
        checks::admit(&credential, listed, &common.grants, now)
    }

    /// What the platform has against a request of a known caller, whatever its operation: a media
    /// type, a header that is missing.
    fn objection(&self, _: &Hit<'_>) -> Option<Answer> {
        None
    }

    /// What it asks of somebody else before it answers this request.
    fn question(&self, _: &Call) -> Option<Question> {
        None
    }

    /// What every answer to a known caller has, be it a refusal or not.
    fn finish(&self, _: &Hit<'_>, answer: Answer) -> Answer {
        answer
    }

    /// What a caller hears whose credential is not known, or no longer: some platforms then refuse
    /// nothing, and show what everybody may see.
    fn stranger_answer(&self, call: &Call, now: DateTime<Utc>) -> Answer {
        self.refuse(&Refusal::Wrong, call, now)
    }
}

impl<T: Tabled> Fake for T {
    fn operation(&self, call: &Call) -> &'static str {
        match route::find(T::ROUTES, call, T::below(call)) {
            Found::Route(route, ..) => route.operation(),
            Found::OtherMethods(_) | Found::Nothing => T::UNKNOWN,
        }
    }

    fn answer(&mut self, call: &Call, now: DateTime<Utc>) -> Answer {
        let (route, stars, tail) = match route::find(T::ROUTES, call, T::below(call)) {
            Found::Route(route, stars, tail) => (route, stars, tail),
            Found::OtherMethods(methods) => {
                return self.refuse(&Refusal::OtherMethods(methods), call, now);
            }
            Found::Nothing => return self.refuse(&Refusal::NoPath, call, now),
        };
        if route.access() == Access::Open {
            let nobody = Caller::default();
            return route.run(self, &Hit::new(call, now, &nobody, route, stars, tail));
        }
        let caller = match self.caller(call, now) {
            Ok(caller) => caller,
            Err(refusal) => return self.refuse(&refusal, call, now),
        };
        let hit = Hit::new(call, now, &caller, route, stars, tail);
        let answer = admitted(self, route, &hit);
        self.finish(&hit, answer)
    }

    fn fault_answer(&self, call: &Call, status: u16, now: DateTime<Utc>) -> Answer {
        self.refuse(&Refusal::Status(status), call, now)
    }

    fn stranger(&self, call: &Call, now: DateTime<Utc>) -> Answer {
        self.stranger_answer(call, now)
    }

    fn question(&self, call: &Call) -> Option<Question> {
        Tabled::question(self, call)
    }

    fn hooks(&self) -> Vec<LedgerHook> {
        self.common().hooks.all().to_vec()
    }

    fn configure(&mut self, changes: Map<String, Value>) -> Result<(), String> {
        let settings = &mut self.common_mut().settings;
        *settings = merged(settings, changes)?;
        Ok(())
    }

    fn settings(&self) -> Value {
        serde_json::to_value(&self.common().settings).unwrap_or_default()
    }

    fn ledger(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.lines(label)
    }
}

/// The answer to a known caller.
fn admitted<T: Tabled>(fake: &mut T, route: &Route<T>, hit: &Hit<'_>) -> Answer {
    let common = fake.common_mut();
    let budget = common.settings.budget();
    let standing = budget.map(|budget| common.meter.spend(budget, hit.now));
    let answer = match standing {
        Some(standing) if standing.is_over => {
            fake.refuse(&Refusal::Budget(standing), hit.call, hit.now)
        }
        _ if hit.access == Access::Write && !hit.caller.may_write => {
            fake.refuse(&Refusal::Forbidden, hit.call, hit.now)
        }
        _ => match fake.objection(hit) {
            Some(objection) => objection,
            None => route.run(fake, hit),
        },
    };
    match (standing, &T::RATE) {
        (Some(standing), Some(headers)) => standing.say(headers, answer),
        _ => answer,
    }
}
