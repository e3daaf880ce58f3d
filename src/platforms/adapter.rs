//! The seam between the pipeline and a platform: what an adapter is asked, and what it answers.
//!
//! Three laws, which the conformance suite tests of every adapter:
//! - **One request of an operation makes something**: the planned one. What comes before it
//!   ([`Adapter::prepare`]) reads, or may be repeated without a trace. What comes after it
//!   ([`Adapter::finish`]) sets, and its failure never undoes the receipt.
//! - **[`Adapter::plan`] and [`Adapter::read`] do no I/O.** One [`super::Driver`] calls an adapter;
//!   nothing else does.
//! - **Facts are tables**: what a table can say is not code.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::change::{ChangePage, ExternalItem, Facts, ItemRef, SyncFrom, TicketFacts};
use super::inbound::{Inbound, Registrar};
use super::{
    AdapterError, CallContext, Operation, OperationKind, Planned, Receipt, Response, TestKind,
    TokenFlow,
};
use crate::domain::{Priority, TicketPatch, TicketStatus, TicketView};

/// How an operation of a platform is kept from happening twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// The operation is idempotent by nature (setting a field), or the platform honours a key of
    /// ours for ever: repeat freely.
    Native,
    /// The platform honours a key of ours for a time.
    Key {
        /// How long it keeps the key.
        life: Duration,
        /// What holds after that.
        after: &'static Self,
    },
    /// The marker can be searched. An empty search proves nothing before the last step has passed
    /// since the request can last have been sent.
    Lookup {
        /// When to look, counted from the moment of doubt; the last step is the platform's
        /// `settle_after`.
        schedule: &'static [Duration],
        /// Whether a repeat makes nothing twice, but overwrites what people changed since: it is
        /// looked for first, and sent at once where it is not found.
        upsert: bool,
    },
    /// Nothing helps: `settings.on_unknown` decides.
    None,
}

impl Protection {
    /// What protects a repeat that is sent before `until`, of a command that came in at
    /// `received_at`. The platform cannot have heard of a key before that.
    #[must_use]
    pub fn until(self, received_at: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        match self {
            Self::Key { life, after } => {
                let kept = (until - received_at).to_std().is_ok_and(|age| age < life);
                if kept {
                    Self::Native
                } else {
                    after.clone().until(received_at, until)
                }
            }
            Self::Native | Self::Lookup { .. } | Self::None => self,
        }
    }
}

/// One check of `integration.test`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// For a person: what was seen.
    pub message: String,
    /// Facts worth keeping: account, project, missing permissions.
    pub details: Map<String, Value>,
}

impl CheckReport {
    /// What was seen, and an object of facts.
    #[must_use]
    pub fn new(message: &str, details: impl Into<Value>) -> Self {
        let details = match details.into() {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        Self {
            message: message.to_owned(),
            details,
        }
    }
}

/// A field of the platform, as `integration.fields` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PlatformField {
    /// What `custom_fields_mapping` would name.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it holds, in the platform's words.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether somebody of the site made it.
    pub custom: bool,
    /// Whether a new item must have it.
    pub required: bool,
    /// What it can be, where that is a list.
    pub allowed_values: Vec<String>,
}

/// An item that is bound to a ticket of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownItem {
    /// The id that survives a move.
    pub id: String,
    /// The marker that its create put on it.
    pub marker: String,
}

/// What `prepare` found, for `plan` and `read`.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Answers by name.
    pub found: Map<String, Value>,
    /// Fields that the platform refused, in its names with its reasons. The driver sets them for
    /// the next try.
    pub without: BTreeMap<String, String>,
    /// What an earlier look-up found and the platform refused a moment ago: it is to be looked up
    /// anew. The driver sets it for the next try.
    pub again: Option<&'static str>,
    /// For the receipt's details: what was left out.
    pub details: Map<String, Value>,
    /// What `prepare` has set already, and stays set where the planned request fails.
    pub done: Option<PartlyDone>,
    /// Whether nothing was looked up: the request is for a dry run, and what is not known stands
    /// for itself.
    pub is_rehearsal: bool,
}

impl Known {
    /// Of a dry run.
    #[must_use]
    pub fn rehearsal() -> Self {
        Self {
            is_rehearsal: true,
            ..Self::default()
        }
    }

    /// A text that was found.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.found.get(name).and_then(Value::as_str)
    }
}

/// An operation whose planned request failed after `prepare` had set something.
#[derive(Debug, Clone)]
pub struct PartlyDone {
    /// Of what is set.
    pub receipt: Receipt,
    /// The member of `details` that says what is missing.
    pub missing: &'static str,
    /// What can still be done about it.
    pub remedy: &'static str,
}

/// What `prepare` comes to.
#[derive(Debug)]
pub enum Prepared {
    /// The planned request is to be sent.
    Go(Known),
    /// Nothing is left to do.
    Done(Receipt),
}

/// The one request of an operation.
#[derive(Debug)]
pub struct Plan {
    /// What is sent.
    pub request: Planned,
    /// For the receipt's details: what of the ticket is not in it, with the reason.
    pub left_out: Map<String, Value>,
}

impl<T: Into<Planned>> From<T> for Plan {
    fn from(request: T) -> Self {
        Self {
            request: request.into(),
            left_out: Map::new(),
        }
    }
}

/// What of an item that is surely there could not be set. It is said in the details, and `patch`
/// becomes a command of its own.
#[derive(Debug)]
pub struct Unfinished {
    /// What is missing, as a change of the ticket; `None` where a repeat of nothing could set it.
    pub patch: Option<TicketPatch>,
    /// Why.
    pub error: AdapterError,
}

/// What sets the rest of an item.
pub type Finishing<'a> = BoxFuture<'a, Result<(), Box<Unfinished>>>;

/// One platform in one integration: settings and credentials, parsed once into types. Called by a
/// [`super::Driver`] alone.
#[async_trait]
pub trait Adapter: Send + Sync {
    /// Looks up what `plan` needs, and does what may be repeated without a trace: uploads, fields
    /// that are set before a reply. `known` is empty, or says in `without` or `again` what the
    /// platform refused a moment ago.
    async fn prepare(
        &self,
        _: &CallContext<'_>,
        _: &Operation<'_>,
        known: Known,
    ) -> Result<Prepared, AdapterError> {
        Ok(Prepared::Go(known))
    }

    /// The one request that does it. Pure: with [`Known::rehearsal`] it is the dry run.
    ///
    /// # Errors
    /// What the platform need not be asked for: validation, unsupported operation.
    fn plan(&self, operation: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError>;

    /// What the answer says. Pure.
    ///
    /// # Errors
    /// The classified refusal; [`AdapterError::without`] where the request is worth sending once
    /// more without some fields, [`AdapterError::again`] where it is after another look-up.
    fn read(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError>;

    /// What belongs to an item that is surely there, made or adopted: `None` where that is nothing.
    /// Every step is idempotent.
    fn finish<'a>(
        &'a self,
        _: &'a CallContext<'_>,
        _: &'a Operation<'_>,
        _: &'a mut Receipt,
    ) -> Option<Finishing<'a>> {
        None
    }

    /// Looks for what an earlier attempt of unknown outcome may have made. `None` is "not seen",
    /// which proves nothing before the last step of [`Protection::Lookup`].
    async fn look_up(
        &self,
        _: &CallContext<'_>,
        _: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        Ok(None)
    }

    /// What of an operation of several steps is done, where its last was looked up and is not:
    /// `None` where that is nothing. The receipt says what is missing.
    async fn partly(
        &self,
        _: &CallContext<'_>,
        _: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        Ok(None)
    }

    /// One check of `integration.test`.
    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError>;

    /// What can be read back; `None` where the platform shows nothing.
    fn reader(&self) -> Option<&dyn Reader> {
        None
    }

    /// What it tells by itself; `None` where it does not.
    fn inbound(&self) -> Option<&dyn Inbound> {
        None
    }

    /// How the platform is told where to send what it tells; `None` where a person has to do it.
    fn registrar(&self) -> Option<&dyn Registrar> {
        None
    }

    /// What the platform says of an item, in our words.
    fn ours(&self, facts: &Facts) -> TicketFacts {
        TicketFacts {
            title: facts.title.clone(),
            status: facts.status.as_deref().and_then(TicketStatus::parse),
            priority: facts.priority.as_deref().and_then(Priority::parse),
            ..TicketFacts::default()
        }
    }

    /// What a create or an update sends of a ticket, in the platform's words: after mapping and
    /// cutting, so that it can be compared with what comes back. What it does not set is not said.
    fn theirs(&self, _: &TicketView) -> Facts {
        Facts::default()
    }

    /// How to get access tokens, for integrations that authenticate by OAuth.
    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        None
    }

    /// Whether a check shows at the platform, as nothing can be asked there without being posted:
    /// then none is made on the schedule.
    fn posts_when_checked(&self) -> bool {
        false
    }

    /// How operations of this kind are kept from happening twice in this mode.
    fn protection(&self, kind: OperationKind) -> Protection;

    /// How this operation is kept from happening twice, where that depends on what it holds.
    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        self.protection(operation.kind())
    }
}

/// What a platform lets be read back.
#[async_trait]
pub trait Reader: Send + Sync {
    /// An item as it stands now, read by its id so that no index lags; `None` where it is gone.
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError>;

    /// A page of what changed, in the order that the page declares.
    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError>;

    /// Those of these items that changed since a moment, wherever they were moved to:
    /// [`Reader::changes`] sees only where items are made.
    async fn known(
        &self,
        _: &CallContext<'_>,
        _items: &[KnownItem],
        _since: Option<DateTime<Utc>>,
    ) -> Result<Vec<ExternalItem>, AdapterError> {
        Ok(Vec::new())
    }

    /// The platform's own fields and what they can be, for `integration.fields`; those with
    /// `search` in their id or name, where it is given.
    async fn choices(
        &self,
        _: &CallContext<'_>,
        _search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        Err(AdapterError::unsupported(
            "this platform has no fields that could be listed",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static LATER: Protection = Protection::Lookup {
        schedule: &[],
        upsert: false,
    };

    #[test]
    fn a_key_protects_no_longer_than_the_platform_keeps_it() {
        let key = Protection::Key {
            life: Duration::from_secs(7200),
            after: &LATER,
        };
        let received = Utc::now();
        let at = |seconds| received + chrono::Duration::seconds(seconds);

        assert_eq!(key.clone().until(received, at(7199)), Protection::Native);
        assert_eq!(key.clone().until(received, at(7200)), LATER);
        // A clock that was set back proves nothing.
        assert_eq!(key.until(received, at(-1)), LATER);
        assert_eq!(Protection::None.until(received, at(9)), Protection::None);
    }
}
