//! Freshdesk: tickets by the API, version 2 (developers.freshdesk.com/api). What comes from general
//! knowledge alone says "(unconfirmed)".
//!
//! **Duplicates**: Freshdesk has neither an idempotency key nor an external id. A ticket carries
//! our marker in a custom field (`settings.reference_field`), else as a tag, and is found in the
//! ticket list, which does not lag. What ends in a conversation (comments, summaries, files)
//! carries it as its last line. Everything else sets something.
//!
//! **Tags are set as a whole**, so those that are there are read before.

mod facts;
mod inbound;
mod item;
mod lookup;
mod reader;
#[cfg(test)]
mod tests;
mod words;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use self::facts::{ERRORS, NO_ID, REFERENCE, is_id};
use crate::domain::{Integration, Platform, Priority, TicketCategory, TicketStatus, TicketView};
use crate::platforms::api::Api;
use crate::platforms::mapping::{FieldMap, Mapping};
use crate::platforms::members::{Members, url};
use crate::platforms::path::below;
use crate::platforms::users::Users;
use crate::platforms::{
    Adapter, AdapterError, Auth, CallContext, CheckReport, Facts, Inbound, Known, Operation,
    OperationKind, Plan, Prepared, Protection, Reader, Receipt, Response, TestKind, TicketFacts,
};
use crate::secrets::Credentials;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// What a person's page of a ticket is below (unconfirmed, used everywhere).
const PAGES: [&str; 2] = ["a", "tickets"];

/// One Freshdesk integration.
pub struct Freshdesk {
    api: Api,
    /// What people open.
    site: Url,
    /// Who asks where the creator has no address.
    requester: Option<String>,
    group: Option<u64>,
    /// The custom field with our marker.
    reference: Option<String>,
    /// Whether public comments are notes.
    as_notes: bool,
    statuses: Mapping<TicketStatus>,
    priorities: Mapping<Priority>,
    kinds: Mapping<TicketCategory>,
    fields: FieldMap,
    users: Users,
}

impl Freshdesk {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Freshdesk, integration, credentials);
        let site = site_of(&members, integration)?;
        let setting = |name| members.setting(name);
        let freshdesk = Self {
            api: Api::new(
                below(&site, &["api", "v2"])?,
                auth(&members.secret("api_key")?),
                &ERRORS,
            ),
            requester: setting("requester_email").map(|email| email.trim().to_owned()),
            group: group(&members, integration)?,
            reference: setting("reference_field")
                .map(|name| facts::reference(&name))
                .transpose()?,
            as_notes: setting("public_comments")
                .map(|word| facts::as_notes(&word))
                .transpose()?
                .unwrap_or_default(),
            statuses: Mapping::of(&members, "status_map", &words::STATUSES)?
                .with_back(&words::STATUSES_BACK),
            priorities: Mapping::of(&members, "priority_map", &words::PRIORITIES)?,
            kinds: Mapping::of(&members, "category_map", &words::KINDS)?,
            fields: FieldMap::of(&integration.custom_fields_mapping),
            users: Users::of(&members)?,
            site,
        };
        freshdesk.is_sound()?;
        Ok(freshdesk)
    }

    /// Priorities are a closed list, and the field of our marker is nobody else's.
    fn is_sound(&self) -> Result<(), AdapterError> {
        for priority in Priority::ALL {
            let theirs = self.priorities.out(*priority);
            if let Some(theirs) = theirs.filter(|theirs| words::priority_number(theirs).is_none()) {
                let fault = format!("is {theirs:?}, and Freshdesk knows 1, 2, 3 and 4");
                let field = format!("settings.priority_map.{priority}");
                return Err(AdapterError::field(&field, fault));
            }
        }
        match &self.reference {
            Some(name) if self.fields.ours(name).is_some() => Err(AdapterError::field(
                REFERENCE,
                "is mapped by custom_fields_mapping, too: our marker would be overwritten",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The page of a ticket.
    fn page_of(&self, id: &str) -> Option<String> {
        let page = below(&self.site, &[PAGES[0], PAGES[1], id]);
        page.ok().map(String::from)
    }
}

/// Where the account is, without what its API is below.
fn site_of(members: &Members<'_>, integration: &Integration) -> Result<Url, AdapterError> {
    if let Some(given) = integration.base_url.as_deref() {
        let mut site = url("base_url", given.trim(), "https://acme.freshdesk.com")?;
        site.set_query(None);
        site.set_fragment(None);
        let path = site.path().trim_end_matches('/').to_owned();
        site.set_path(path.strip_suffix("/api/v2").unwrap_or(&path));
        return Ok(site);
    }
    let given = members.setting("domain").ok_or_else(|| {
        AdapterError::field("base_url", "is required for freshdesk, or settings.domain")
    })?;
    let address = format!("https://{}.freshdesk.com", facts::domain(&given)?);
    url("settings.domain", &address, "acme")
}

/// Basic authentication whose user is the key; the password may be anything. As a whole it is the
/// secret: the user of [`Auth::Basic`] is shown to people.
fn auth(key: &SecretString) -> Auth {
    let pair = STANDARD.encode(format!("{}:X", key.expose_secret().trim()));
    Auth::Header(AUTHORIZATION, format!("Basic {pair}").into())
}

/// The group that tickets are given to.
fn group(members: &Members<'_>, integration: &Integration) -> Result<Option<u64>, AdapterError> {
    let text = match integration.settings.get("group_id") {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) | None => members.setting("group_id"),
    };
    let Some(text) = text else {
        return Ok(None);
    };
    let text = text.trim();
    let read = text.parse().ok().filter(|_| is_id(text));
    let fault = || AdapterError::field("settings.group_id", NO_ID);
    read.map(Some).ok_or_else(fault)
}

#[async_trait]
impl Adapter for Freshdesk {
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        known: Known,
    ) -> Result<Prepared, AdapterError> {
        self.prepared(context, operation, known).await
    }

    fn plan(&self, operation: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError> {
        self.plan_of(operation, known)
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        self.receipt_of(operation, known, answer)
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.looked_up(context, operation).await
    }

    async fn partly(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.partly_done(context, operation).await
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        self.checked(context, test).await
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(&inbound::EVENTS)
    }

    fn ours(&self, facts: &Facts) -> TicketFacts {
        self.in_our_words(facts)
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        self.in_their_words(ticket)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match kind {
            // With a summary, a change of status ends in a comment.
            OperationKind::Create
            | OperationKind::Comment
            | OperationKind::Attach
            | OperationKind::Status => facts::BY_LOOK_UP.clone(),
            OperationKind::Update | OperationKind::Assign | OperationKind::Delete => {
                Protection::Native
            }
        }
    }

    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        match operation {
            Operation::Status {
                resolution_summary, ..
            } if item::said(*resolution_summary).is_none() => Protection::Native,
            _ => self.protection(operation.kind()),
        }
    }
}
