//! The platforms: an adapter each, all of one shape, and what they share.
//!
//! An [`adapter`] says what one platform is asked and what its answers mean. The [`driver`] is the only one that calls an
//! adapter: it sends the request, bounds what goes in and comes out, and takes secrets out of it. What follows from an
//! error's class is the pipeline's business.
//!
//! **A new platform** is (1) `platforms/<name>/`, (2) a variant of [`Platform`], (3) the arms in [`fn@descriptor`] and
//! `adapter_of`, (4) its behaviour in the sandbox and its row in the conformance suite. No other file needs thought.

mod adapter;
pub mod api;
mod backoff;
mod bounds;
mod change;
pub mod classify;
mod configured;
mod context;
mod descriptor;
mod driver;
mod egress;
pub mod email;
mod error;
pub(crate) mod file;
pub mod github;
mod guard;
mod http;
pub mod inbound;
pub mod jira;
pub mod mail;
pub mod mapping;
mod members;
pub mod memory;
mod misplaced;
mod moments;
mod operation;
mod path;
mod planned;
pub mod rate;
mod receipt;
mod scope;
pub mod slack;
pub mod text;
mod texts;
pub mod tokens;
pub mod users;
pub mod webhook;
pub mod zendesk;

use std::sync::Arc;

use crate::domain::{Integration, Platform};
use crate::secrets::Credentials;

pub use adapter::{
    Adapter, CheckReport, Known, KnownItem, PartlyDone, Plan, PlatformField, Prepared, Protection,
    Reader, Unfinished,
};
pub use change::{
    Actor, Change, ChangeKind, ChangePage, ExternalComment, ExternalFile, ExternalItem, Facts,
    Holder, ItemRef, Moment, Needs, Order, SyncFrom, TicketFacts,
};
pub use configured::{Given, credential, faults, trim, warnings};
pub use context::{
    AccessToken, AskedToWait, CallContext, SendPermit, TokenFlow, TokenGrant, TokenSource,
};
pub use descriptor::{
    BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode, ON_AUTH_FAILURE,
    ON_UNKNOWN, Shape, blank, mapping_faults, moved,
};
pub use driver::Driver;
pub use egress::EgressPolicy;
pub use error::{AdapterError, ErrorClass};
pub use file::File;
pub use http::redact::{Redaction, learn, redacting};
pub use http::{
    Auth, Body, Effect, Fit, HostSuffix, HttpClient, Pages, Part, Request, Response, Sign,
    Strangers,
};
pub use inbound::Inbound;
pub use members::Members;
pub use misplaced::{hide_misplaced, is_setting};
pub use operation::{DedupKey, Operation, OperationKind, TestKind};
pub use planned::Planned;
pub use receipt::Receipt;
pub use scope::Scope;
pub use texts::off_runtime;

/// A platform's facts, or `None` where its adapter is not written yet (`unsupported_platform`).
#[must_use]
pub fn descriptor(platform: Platform) -> Option<&'static Descriptor> {
    match platform {
        Platform::Email => Some(&email::DESCRIPTOR),
        Platform::Github => Some(&github::DESCRIPTOR),
        Platform::Jira => Some(&jira::DESCRIPTOR),
        Platform::Slack => Some(&slack::DESCRIPTOR),
        Platform::Webhook => Some(&webhook::DESCRIPTOR),
        Platform::Zendesk => Some(&zendesk::DESCRIPTOR),
        Platform::Servicenow
        | Platform::Freshdesk
        | Platform::Salesforce
        | Platform::Hubspot
        | Platform::Teams
        | Platform::Sms
        | Platform::Zoom
        | Platform::Asana
        | Platform::Trello => None,
    }
}

/// How a platform shows that it answered a stranger, for its integrations' [`CallContext`].
#[must_use]
pub fn strangers(platform: Option<Platform>) -> &'static Strangers {
    platform
        .and_then(descriptor)
        .map_or(&Strangers::PAGES, |facts| &facts.strangers)
}

/// Connects an integration to its platform: builds its adapter from its settings and opened credentials.
///
/// # Errors
/// [`ErrorClass::Validation`] with the fields that are missing or wrong; [`ErrorClass::Unsupported`] where the
/// platform's adapter is not written.
pub fn connect(
    integration: &Integration,
    credentials: &Credentials,
) -> Result<Arc<Driver>, AdapterError> {
    let adapter = adapter_of(integration, credentials);
    Driver::new(adapter, integration, credentials).map(Arc::new)
}

fn adapter_of(
    integration: &Integration,
    credentials: &Credentials,
) -> Result<Box<dyn Adapter>, AdapterError> {
    Ok(match integration.platform {
        Some(Platform::Email) => Box::new(email::Email::connect(integration, credentials)?),
        Some(Platform::Github) => Box::new(github::GitHub::connect(integration, credentials)?),
        Some(Platform::Jira) => Box::new(jira::Jira::connect(integration, credentials)?),
        Some(Platform::Slack) => Box::new(slack::Slack::connect(integration, credentials)?),
        Some(Platform::Webhook) => Box::new(webhook::Webhook::connect(integration, credentials)?),
        Some(Platform::Zendesk) => Box::new(zendesk::Zendesk::connect(integration, credentials)?),
        Some(
            platform @ (Platform::Servicenow
            | Platform::Freshdesk
            | Platform::Salesforce
            | Platform::Hubspot
            | Platform::Teams
            | Platform::Sms
            | Platform::Zoom
            | Platform::Asana
            | Platform::Trello),
        ) => {
            return Err(AdapterError::unsupported(format!(
                "this version of Ticketwire has no adapter for {platform} yet"
            )));
        }
        None => {
            return Err(AdapterError::unsupported(format!(
                "{:?} is not a platform",
                integration.platform_name
            )));
        }
    })
}
