//! Trello: cards of one board. REST API 1.
//!
//! Sources: Trello's OpenAPI file (`swagger.v3.json`, 0.0.1) and the guides at
//! developer.atlassian.com/cloud/trello ("Authorization", "Rate limits", "Limits", "Nested
//! resources", "Webhooks", "Custom fields"). What no source confirms has a comment that says
//! "(unconfirmed)".
//!
//! **Duplicates**: Trello takes no key and has no unique field. A card carries its marker as the
//! last line of its description; the board's actions, which show what was just made, lead to it. A
//! comment carries its command's marker as its last line. A file is known by name and size.
//! Everything else sets something.

mod board;
mod facts;
mod hooks;
mod inbound;
mod item;
mod reader;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::byte_serialize;

use self::facts::{ARCHIVED, ERRORS, SITE, VERSION};
use self::item::said;
use self::words::{Statuses, is_like};
use crate::domain::{
    AuthType, Integration, Platform, Priority, TicketCategory, TicketStatus, TicketView,
};
use crate::platforms::api::Api;
use crate::platforms::inbound::Registrar;
use crate::platforms::mapping::{FieldMap, Mapping};
use crate::platforms::members::{Members, url};
use crate::platforms::path::below;
use crate::platforms::users::Users;
use crate::platforms::{
    Adapter, AdapterError, Auth, CallContext, CheckReport, Facts, Finishing, Inbound, Known,
    Operation, OperationKind, Plan, Prepared, Protection, Reader, Receipt, Response, TestKind,
    TicketFacts,
};
use crate::secrets::Credentials;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// When to look for what may have been made: the actions show it at once, but the request may
/// still be under way.
static LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];

/// The cards of one board.
pub struct Trello {
    api: Api,
    /// For the one request that has it in its path.
    token: SecretString,
    board: String,
    /// Where cards are made.
    list: String,
    statuses: Statuses,
    priorities: Mapping<Priority>,
    categories: Mapping<TicketCategory>,
    fields: FieldMap,
    users: Users,
    /// Whether comments that are not public are posted too.
    posts_internal: bool,
}

impl Trello {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        if integration.auth_type != AuthType::ApiKey {
            let fault = "must be api_key (a key and a token) for trello";
            return Err(AdapterError::field("auth_type", fault));
        }
        let members = Members::new(Platform::Trello, integration, credentials);
        let given = integration.base_url.as_deref().unwrap_or(SITE);
        let mut site = url("base_url", given.trim(), SITE)?;
        let path = site.path().trim_end_matches('/').to_owned();
        site.set_path(path.strip_suffix("/1").unwrap_or(&path));
        let token = members.secret("api_token")?;
        let id_of = |name: &str| {
            let given = members.required_setting(name)?;
            facts::id(&given)
                .map_err(|fault| AdapterError::field(&format!("settings.{name}"), fault))
        };
        let list = id_of("list_id")?;
        let map = Mapping::of(&members, "status_map", &[])?;
        if map
            .out(TicketStatus::New)
            .is_some_and(|word| is_like(word, ARCHIVED))
        {
            let fault = "must be a list: no card is made in the archive";
            return Err(AdapterError::field("settings.status_map.new", fault));
        }
        Ok(Self {
            api: Api::new(
                below(&site, &[VERSION])?,
                authorization(&members.text("api_key")?, &token),
                &ERRORS,
            ),
            token,
            board: id_of("board_id")?,
            statuses: Statuses::new(map, list.clone()),
            list,
            priorities: Mapping::of(&members, "priority_map", &words::PRIORITIES)?,
            categories: Mapping::of(&members, "category_map", &words::CATEGORIES)?,
            fields: FieldMap::of(&integration.custom_fields_mapping),
            users: Users::of(&members)?,
            posts_internal: members.switch("internal_comments")?,
        })
    }
}

/// Key and token in a header, so that neither is in an address ("Authorization"). Values are
/// percent-encoded (RFC 5849, section 3.5.1).
fn authorization(key: &str, token: &SecretString) -> Auth {
    let coded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let value = format!(
        "OAuth oauth_consumer_key=\"{}\", oauth_token=\"{}\"",
        coded(key),
        coded(token.expose_secret())
    );
    Auth::Header(AUTHORIZATION, value.into())
}

#[async_trait]
impl Adapter for Trello {
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

    fn finish<'a>(
        &'a self,
        context: &'a CallContext<'_>,
        operation: &'a Operation<'_>,
        receipt: &'a mut Receipt,
    ) -> Option<Finishing<'a>> {
        let custom = match operation {
            Operation::Create { ticket, .. } => Some(&ticket.custom_fields),
            // Custom fields alone are set before: there is nothing else to send.
            Operation::Update { patch, .. } if item::has_fields(patch) => {
                patch.custom_fields.as_ref()
            }
            _ => None,
        };
        let custom = custom.filter(|custom| !custom.is_empty())?;
        let ticket = operation.ticket();
        Some(Box::pin(self.finished(context, ticket, custom, receipt)))
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
        Some(self)
    }

    fn registrar(&self) -> Option<&dyn Registrar> {
        Some(self)
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
            | OperationKind::Status => Protection::Lookup {
                schedule: &LOOK_UPS,
                upsert: false,
            },
            OperationKind::Update | OperationKind::Assign | OperationKind::Delete => {
                Protection::Native
            }
        }
    }

    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        match operation {
            Operation::Status {
                resolution_summary, ..
            } if said(*resolution_summary).is_none() => Protection::Native,
            _ => self.protection(operation.kind()),
        }
    }
}
