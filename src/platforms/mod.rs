//! The adapters: one file or folder a platform, all of one shape, and the one HTTP client they share.
//!
//! An adapter turns an [`Operation`] into requests and answers into a [`Receipt`] or a classified [`AdapterError`].
//! It has no loops, sleeps, retries, counters or SQL. What follows from an error's class is the pipeline's business.
//!
//! **A new platform** is (1) `platforms/<name>.rs`, (2) a variant of [`Platform`], (3) the arms in [`fn@descriptor`] and
//! `adapter`, (4) its behaviour in the sandbox and its row in the conformance suite. No other file needs thought.

mod backoff;
mod bounded;
mod bounds;
mod descriptor;
mod egress;
mod error;
pub(crate) mod file;
mod guarded;
mod http;
pub mod jira;
mod markdown;
mod members;
mod path;
pub mod slack;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use self::guarded::Guarded;
use crate::domain::{Integration, Platform, TicketPatch, TicketStatus, TicketView, UserRef};
use crate::secrets::Credentials;

pub use bounded::off_runtime;
pub use descriptor::{
    AuthScheme, BaseUrl, CustomFields, Descriptor, Member, ON_AUTH_FAILURE, faults, mapping_faults,
    moved,
};
pub use egress::EgressPolicy;
pub use error::{AdapterError, ErrorClass};
pub use file::File;
pub use http::redact::{Redaction, learn, redacting};
pub use http::{
    AskedToWait, Auth, Body, Effect, Exchange, HttpClient, Pages, Request, Response, SendPermit,
    Sign, Strangers, TokenFlow, TokenGrant, TokenSource,
};

/// Whose doing an operation is: the same over all its attempts.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    /// The mark of duplicate protection: derived from the ticket for a create, from the command for all else.
    pub mark: &'a str,
    /// When the command came in.
    pub at: DateTime<Utc>,
}

/// What is to be done at the platform. An operation a platform lacks is answered with
/// [`ErrorClass::Unsupported`], never with a pretence.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// Make the platform's item for a ticket.
    Create {
        /// The ticket as it stands.
        ticket: &'a TicketView,
        /// Whose doing it is; the mark is the ticket's: it exists once in one integration, whoever asked and how often.
        cause: Cause<'a>,
    },
    /// Change fields of the item.
    Update {
        /// The ticket after the change.
        ticket: &'a TicketView,
        /// What changed.
        patch: &'a TicketPatch,
        /// Whose doing it is.
        cause: Cause<'a>,
    },
    /// Move the item to another status.
    Status {
        /// The ticket after the change.
        ticket: &'a TicketView,
        /// Where to.
        status: TicketStatus,
        /// For resolved and closed.
        resolution_summary: Option<&'a str>,
        /// Whose doing it is.
        cause: Cause<'a>,
    },
    /// Give the item to somebody, or to nobody.
    Assign {
        /// The ticket after the change.
        ticket: &'a TicketView,
        /// `None` unassigns.
        assignee: Option<&'a UserRef>,
        /// Whose doing it is.
        cause: Cause<'a>,
    },
    /// Say something on the item.
    Comment {
        /// The ticket.
        ticket: &'a TicketView,
        /// Markdown.
        body: &'a str,
        /// Whether the customer may see it.
        public: bool,
        /// Whose doing it is.
        cause: Cause<'a>,
    },
    /// Put a file to the item.
    Attach {
        /// The ticket.
        ticket: &'a TicketView,
        /// The file.
        file: &'a File,
        /// Whose doing it is.
        cause: Cause<'a>,
    },
    /// The ticket is deleted with us: close the item, as far as the platform knows that; nothing is erased.
    Delete {
        /// The ticket after the change.
        ticket: &'a TicketView,
        /// Whose doing it is.
        cause: Cause<'a>,
    },
}

impl Operation<'_> {
    /// Its kind, for descriptors, logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Create { .. } => OperationKind::Create,
            Self::Update { .. } => OperationKind::Update,
            Self::Status { .. } => OperationKind::Status,
            Self::Assign { .. } => OperationKind::Assign,
            Self::Comment { .. } => OperationKind::Comment,
            Self::Attach { .. } => OperationKind::Attach,
            Self::Delete { .. } => OperationKind::Delete,
        }
    }

    /// Whose doing it is.
    #[must_use]
    pub const fn cause(&self) -> Cause<'_> {
        match self {
            Self::Create { cause, .. }
            | Self::Update { cause, .. }
            | Self::Status { cause, .. }
            | Self::Assign { cause, .. }
            | Self::Comment { cause, .. }
            | Self::Attach { cause, .. }
            | Self::Delete { cause, .. } => *cause,
        }
    }

    /// The ticket it is about.
    #[must_use]
    pub const fn ticket(&self) -> &TicketView {
        match self {
            Self::Create { ticket, .. }
            | Self::Update { ticket, .. }
            | Self::Status { ticket, .. }
            | Self::Assign { ticket, .. }
            | Self::Comment { ticket, .. }
            | Self::Attach { ticket, .. }
            | Self::Delete { ticket, .. } => ticket,
        }
    }

    /// The same with a deletion as what it is on most platforms: the item is closed.
    #[must_use]
    pub const fn deletion_closes(self) -> Self {
        match self {
            Self::Delete { ticket, cause } => Self::Status {
                ticket,
                status: TicketStatus::Closed,
                resolution_summary: None,
                cause,
            },
            Self::Create { .. }
            | Self::Update { .. }
            | Self::Status { .. }
            | Self::Assign { .. }
            | Self::Comment { .. }
            | Self::Attach { .. } => self,
        }
    }
}

crate::domain::wire_enum! {
    /// An operation without its contents.
    OperationKind {
        Create = "create",
        Update = "update",
        Status = "status",
        Assign = "assign",
        Comment = "comment",
        Attach = "attach",
        Delete = "delete",
    }
}

crate::domain::wire_enum! {
    /// What `integration.test` can try.
    TestKind {
        Connection = "connection",
        Authentication = "authentication",
        Permissions = "permissions",
        CreateTicket = "create_ticket",
    }
}

/// What the platform gave back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What a person would quote (the Jira key). Only a create sets it, or a move that changed it.
    pub external_id: Option<String>,
    /// The page a person would open.
    pub external_url: Option<String>,
    /// What the adapter wants to see again in [`TicketView::external_ref`]; members are merged.
    pub external_ref: Map<String, Value>,
    /// The id of a comment just made.
    pub external_comment_id: Option<String>,
    /// The id of a file just attached.
    pub external_attachment_id: Option<String>,
    /// For the event's `integration_result.details`: what was left out, what was found already done.
    pub details: Map<String, Value>,
}

/// How an operation of a platform is kept from happening twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// The platform honours an idempotency key, or the operation is one by nature (setting a field): repeat freely.
    Native,
    /// The mark can be searched. An empty search proves nothing before the last rung has passed since the request can
    /// last have been sent.
    Lookup {
        /// When to look, counted from the moment of doubt; the last rung is the platform's `settle_after`.
        rungs: &'static [Duration],
    },
    /// Nothing helps: an unknown outcome stays unknown until a person settles it.
    None,
}

/// One check of `integration.test`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// For a person: what was seen.
    pub message: String,
    /// Facts worth keeping: account, project, missing permissions.
    pub details: Map<String, Value>,
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

/// An item as it stands on the platform.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExternalItem {
    /// What a person would quote.
    pub external_id: String,
    /// What survives a change of that, as the adapter keeps it in `external_ref`.
    pub external_ref: Map<String, Value>,
    /// The page a person would open.
    pub external_url: Option<String>,
    /// One line.
    pub title: Option<String>,
    /// Status in our words.
    pub status: Option<TicketStatus>,
    /// Priority in our words.
    pub priority: Option<crate::domain::Priority>,
    /// When it last changed there.
    pub updated_at: Option<DateTime<Utc>>,
}

/// An item that is bound to a ticket of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownItem {
    /// The id that survives a move.
    pub id: String,
    /// The mark that its create put on it.
    pub mark: String,
}

/// A page of [`Adapter::changes`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangePage {
    /// The items.
    pub items: Vec<ExternalItem>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
    /// Items that have no id that could be one, and are left out.
    pub unreadable: usize,
}

/// One integration's connection to its platform. A method added here is to be guarded too: in `guarded.rs`, where a
/// result without a secret in it is made of every result.
/// An implementation has settings and credentials parsed once into types.
#[async_trait]
pub trait Adapter: Send + Sync {
    /// Does it. Called with the ticket's own data; the caller has checked gates and turn.
    async fn execute(
        &self,
        exchange: &Exchange<'_>,
        operation: &Operation<'_>,
    ) -> Result<Receipt, AdapterError>;

    /// Looks for what an earlier attempt of unknown outcome may have made. `None` is "not seen", which proves nothing
    /// before the last rung of [`Protection::Lookup`].
    async fn look_up(
        &self,
        exchange: &Exchange<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError>;

    /// What of an operation of several steps is done, where its last was looked up and is not: `None` where that is
    /// nothing. The receipt says what is missing.
    async fn partly(
        &self,
        _: &Exchange<'_>,
        _: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        Ok(None)
    }

    /// One check of `integration.test`.
    async fn check(
        &self,
        exchange: &Exchange<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError>;

    /// The main request of an operation, for `dryrun`: pure, nothing is sent.
    ///
    /// # Errors
    /// What [`Adapter::execute`] would say without asking the platform: validation, unsupported operation.
    fn plan(&self, operation: &Operation<'_>) -> Result<Request, AdapterError>;

    /// What that request would be, for people.
    ///
    /// # Errors
    /// As [`Adapter::plan`].
    fn rehearse(&self, operation: &Operation<'_>) -> Result<Value, AdapterError> {
        Ok(self.plan(operation)?.masked())
    }

    /// The platform's own fields, for `integration.fields`; those with `search` in their id or name, where it is given.
    async fn fields(
        &self,
        _: &Exchange<'_>,
        _search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        Err(AdapterError::unsupported(
            "this platform has no fields that could be listed",
        ))
    }

    /// A page of items that changed since a moment (all of them where it is `None`), oldest change first, for
    /// `integration.sync`. `cursor` is what the page before gave.
    async fn changes(
        &self,
        _: &Exchange<'_>,
        _since: Option<DateTime<Utc>>,
        _cursor: Option<&str>,
    ) -> Result<ChangePage, AdapterError> {
        Err(AdapterError::unsupported(
            "this platform cannot say what changed; nothing can be synced from it",
        ))
    }

    /// Those of these items that changed since a moment, wherever they were moved to: [`Adapter::changes`] sees only where
    /// items are made.
    async fn known(
        &self,
        _: &Exchange<'_>,
        _items: &[KnownItem],
        _since: Option<DateTime<Utc>>,
    ) -> Result<Vec<ExternalItem>, AdapterError> {
        Ok(Vec::new())
    }

    /// One item as it stands now, read by the id that survives a move, so that no index lags; `None` where it is not
    /// there.
    async fn item(
        &self,
        _: &Exchange<'_>,
        _id: &str,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        Err(AdapterError::unsupported(
            "this platform cannot read one item by its id",
        ))
    }

    /// How to get access tokens, for integrations that authenticate by OAuth.
    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        None
    }

    /// How operations of this kind are kept from happening twice in this mode.
    fn protection(&self, kind: OperationKind) -> Protection;

    /// How this operation is kept from happening twice, where that depends on what it holds.
    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        self.protection(operation.kind())
    }
}

/// A platform's facts, or `None` where its adapter is not written yet (`unsupported_platform`).
#[must_use]
pub fn descriptor(platform: Platform) -> Option<&'static Descriptor> {
    match platform {
        Platform::Jira => Some(&jira::DESCRIPTOR),
        Platform::Slack => Some(&slack::DESCRIPTOR),
        Platform::Webhook => Some(&webhook::DESCRIPTOR),
        Platform::Servicenow
        | Platform::Zendesk
        | Platform::Freshdesk
        | Platform::Salesforce
        | Platform::Hubspot
        | Platform::Teams
        | Platform::Email
        | Platform::Sms
        | Platform::Zoom
        | Platform::Asana
        | Platform::Trello
        | Platform::Github => None,
    }
}

/// How a platform shows that it answered a stranger, for its integrations' [`Exchange`].
#[must_use]
pub fn strangers(platform: Option<Platform>) -> &'static Strangers {
    platform
        .and_then(descriptor)
        .map_or(&Strangers::PAGES, |facts| &facts.strangers)
}

/// Builds the adapter of an integration from its settings and opened credentials. Whatever the platform, what it takes and
/// gives back is bounded. Whatever it returns, and whatever is logged while it works, holds no secret of these credentials
/// nor of the requests it sends. Secrets are taken out before anything is cut: half a secret would not be known again.
///
/// # Errors
/// [`ErrorClass::Validation`] with the fields that are missing or wrong; [`ErrorClass::Unsupported`] where the
/// platform's adapter is not written.
pub fn connect(
    integration: &Integration,
    credentials: &Credentials,
) -> Result<Arc<dyn Adapter>, AdapterError> {
    let guarded = Guarded::around(adapter(integration, credentials), integration, credentials)?;
    let text_max = integration
        .platform
        .and_then(descriptor)
        .and_then(|facts| facts.text_max);
    Ok(Arc::new(bounded::Bounded::new(guarded, text_max)))
}

fn adapter(
    integration: &Integration,
    credentials: &Credentials,
) -> Result<Arc<dyn Adapter>, AdapterError> {
    Ok(match integration.platform {
        Some(Platform::Jira) => Arc::new(jira::Jira::connect(integration, credentials)?),
        Some(Platform::Slack) => Arc::new(slack::Slack::connect(integration, credentials)?),
        Some(Platform::Webhook) => Arc::new(webhook::Webhook::connect(integration, credentials)?),
        Some(
            platform @ (Platform::Servicenow
            | Platform::Zendesk
            | Platform::Freshdesk
            | Platform::Salesforce
            | Platform::Hubspot
            | Platform::Teams
            | Platform::Email
            | Platform::Sms
            | Platform::Zoom
            | Platform::Asana
            | Platform::Trello
            | Platform::Github),
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
