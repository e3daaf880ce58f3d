//! What can be done to an integration, a use case a file. The callers parse, call and print: a
//! command of the pipeline, and the command line.
//!
//! A use case decides and writes nothing. It is given the row as it is, and returns a [`Planned`]:
//! what is to be written, and what is answered. So a command can write it in the transaction that
//! settles it, and a person at once. [`Webhooks`] alone writes by itself: what it notes has to be
//! there before the platform is asked, and while the platform is waited for.
//!
//! - [`create()`] makes one.
//! - [`update()`] changes what is mentioned.
//! - [`set_enabled`] and [`delete`] turn it on, off, and away.
//! - [`run_checks`] asks the platform, and [`test()`] says what the answers make of the
//!   integration.
//! - [`Webhooks`] registers, checks and removes its webhook at the platform.
//! - [`open_credentials`] opens what is stored, and [`connect`] builds its adapter.
//!
//! `integration.sync` is not among them: it is a command's alone, with pages, retries and a budget.

mod create;
mod credentials;
mod state;
mod test;
mod update;
mod webhook;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::{CommandId, ErrorCode, Failure, Integration, LifeEvent};
use crate::platforms::Descriptor;
use crate::store::{LedgerChange, StateChange};

pub use self::create::create;
pub use self::credentials::{connect, open_credentials, seal_webhook_secret};
pub use self::state::{delete, set_enabled};
pub use self::test::{Checked, Checks, TestOutcome, run_checks, test};
pub use self::update::update;
pub use self::webhook::{WebhookOutcome, WebhookRefusal, Webhooks, webhook_address};

/// What a use case came to.
#[derive(Debug)]
pub struct Planned {
    /// What is to be written.
    pub change: LedgerChange,
    /// What is answered once it is.
    pub result: Value,
}

/// Who asked for a change. The integration's history names it.
#[derive(Debug, Clone, Copy)]
pub enum Requester {
    /// A command. Its change is void if the integration was changed after the command read it.
    Command(CommandId),
    /// A person, for this reason where none is given. What they ask for is done whatever the
    /// integration has become meanwhile.
    Person(&'static str),
}

impl Requester {
    /// The change of state that an event makes. `given` is the reason that was given with it,
    /// `usual` what a command's is called otherwise.
    fn change(
        self,
        row: &Integration,
        event: LifeEvent,
        given: Option<String>,
        usual: Option<&str>,
    ) -> StateChange {
        let change = StateChange::of(row.id, event);
        match self {
            Self::Command(command) => StateChange {
                expected: Some(row.life()),
                reason: given.or_else(|| usual.map(str::to_owned)),
                command: Some(command),
                ..change
            },
            Self::Person(by) => StateChange {
                reason: given.or_else(|| Some(by.to_owned())),
                ..change
            },
        }
    }
}

/// The facts of a platform, for one that has an adapter.
fn known(
    descriptor: Option<&'static Descriptor>,
    name: &str,
) -> Result<&'static Descriptor, Failure> {
    descriptor.ok_or_else(|| {
        let text = format!("this version of Ticketwire has no adapter for {name} yet");
        Failure::new(ErrorCode::UnsupportedPlatform, text)
    })
}

/// A result with what a person should know about, where there is anything.
fn with_warnings(mut result: Value, warnings: Vec<String>) -> Value {
    if !warnings.is_empty() {
        result["warnings"] = warnings.into();
    }
    result
}

/// Every fault at once, by field.
fn refuse_faults(faults: BTreeMap<String, String>) -> Result<(), Failure> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::ValidationFailed, listed(&faults)).with_fields(faults))
}

fn listed(faults: &BTreeMap<String, String>) -> String {
    let faults = faults.iter().map(|(name, fault)| format!("{name} {fault}"));
    faults.collect::<Vec<_>>().join("; ")
}
