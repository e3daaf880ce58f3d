//! The platforms: an adapter each, all of one shape, and what they share.
//!
//! An [`adapter`] says what one platform is asked and what its answers mean. The [`driver`] is the
//! only one that calls an adapter: it sends the request, bounds what goes in and comes out, and
//! takes secrets out of it. What follows from an error's class is the pipeline's business.
//!
//! **A new platform** is (1) `platforms/<name>/`, (2) a variant of [`Platform`], (3) the arm in
//! `entry`, (4) its behaviour in the sandbox and its row in the conformance suite. No other file
//! needs thought.

mod adapter;
pub mod api;
pub mod asana;
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
pub mod freshdesk;
pub mod github;
mod guard;
mod http;
pub mod hubspot;
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
pub mod salesforce;
mod scope;
pub mod servicenow;
pub mod slack;
pub mod sms;
pub mod teams;
pub mod text;
mod texts;
pub mod tokens;
pub mod trello;
pub mod users;
pub mod webhook;
pub mod zendesk;
pub mod zoom;

use std::sync::Arc;

use crate::domain::{Integration, Platform};
use crate::secrets::Credentials;

use self::inbound::Hooks;

pub use adapter::{
    Adapter, CheckReport, Finishing, Known, KnownItem, PartlyDone, Plan, PlatformField, Prepared,
    Protection, Reader, Unfinished,
};
pub use change::{
    Actor, Change, ChangeKind, ChangePage, ExternalComment, ExternalFile, ExternalItem, Facts,
    Holder, ItemRef, Moment, Needs, Order, SyncFrom, TicketFacts,
};
pub use configured::{Given, credential, faults, trim, warnings};
pub use context::{
    AccessToken, AskedToWait, CallContext, SendPermit, TokenFlow, TokenGrant, TokenSource,
    WriteTurns,
};
pub use descriptor::{
    BaseUrl, CONFLICT, CustomFields, Deletes, Descriptor, Exception, IMPORT_UNKNOWN, LOOP_GUARD,
    Member, Mode, ON_AUTH_FAILURE, ON_EXTERNAL_DELETE, ON_UNKNOWN, SYNC_DESCRIPTION, Shape,
    any_version, blank, mapping_faults, moved,
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
pub use rate::BudgetLeft;
pub use receipt::Receipt;
pub use scope::Scope;
pub use texts::off_runtime;

/// How an adapter is built from an integration and its opened credentials.
type Connect = fn(&Integration, &Credentials) -> Result<Box<dyn Adapter>, AdapterError>;

/// A platform's facts, how its adapter is built, and how its deliveries come; `None`: it tells
/// nothing by itself.
type Entry = (&'static Descriptor, Connect, Option<&'static Hooks>);

fn entry(platform: Platform) -> Entry {
    macro_rules! of {
        ($module:ident :: $adapter:ident, $hooks:expr) => {{
            let connect: Connect = |integration, credentials| {
                let adapter = $module::$adapter::connect(integration, credentials)?;
                Ok(Box::new(adapter))
            };
            (&$module::DESCRIPTOR, connect, $hooks)
        }};
        ($module:ident :: $adapter:ident) => {
            of!($module::$adapter, Some(&$module::HOOKS))
        };
    }
    match platform {
        Platform::Asana => of!(asana::Asana),
        // Mail that comes in is not taken yet.
        Platform::Email => of!(email::Email, None),
        Platform::Freshdesk => of!(freshdesk::Freshdesk),
        Platform::Github => of!(github::GitHub),
        Platform::Hubspot => of!(hubspot::HubSpot),
        Platform::Jira => of!(jira::Jira),
        Platform::Salesforce => of!(salesforce::Salesforce),
        Platform::Servicenow => of!(servicenow::ServiceNow),
        Platform::Slack => of!(slack::Slack),
        Platform::Sms => of!(sms::Sms),
        Platform::Teams => of!(teams::Teams),
        Platform::Trello => of!(trello::Trello),
        Platform::Webhook => of!(webhook::Webhook),
        Platform::Zendesk => of!(zendesk::Zendesk),
        Platform::Zoom => of!(zoom::Zoom),
    }
}

/// How a platform's deliveries come and are proved; `None`: it tells nothing by itself. Known
/// without an adapter, which needs opened credentials.
#[must_use]
pub fn hooks(platform: Platform) -> Option<&'static Hooks> {
    entry(platform).2
}

/// A platform's facts.
#[must_use]
pub fn descriptor(platform: Platform) -> &'static Descriptor {
    entry(platform).0
}

/// What is wrong with a version of the platform's interface that is given, by its field: one that
/// the credentials cannot go with. One that is stored is not looked at.
#[must_use]
pub fn version_fault(integration: &Integration) -> Option<(String, String)> {
    let facts = descriptor(integration.platform?);
    let given = integration.api_version.as_deref()?;
    let fault = (facts.version_fault)(integration.auth_type, given)?;
    Some(("api_version".to_owned(), fault.to_owned()))
}

/// How a platform shows that it answered a stranger, for its integrations' [`CallContext`].
#[must_use]
pub fn strangers(platform: Option<Platform>) -> &'static Strangers {
    platform
        .map(descriptor)
        .map_or(&Strangers::PAGES, |facts| &facts.strangers)
}

/// Connects an integration to its platform: builds its adapter from its settings and opened
/// credentials.
///
/// # Errors
/// [`ErrorClass::Validation`] with the fields that are missing or wrong;
/// [`ErrorClass::Unsupported`] where it is of no platform that this version knows.
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
    let platform = integration.platform.ok_or_else(|| {
        let name = &integration.platform_name;
        AdapterError::unsupported(format!("{name:?} is not a platform"))
    })?;
    let (_, connect, _) = entry(platform);
    connect(integration, credentials)
}
