//! HubSpot: tickets of the CRM, with notes for comments and files. Date-versioned API, 2026-09.
//!
//! Sources: `HubSpot/HubSpot-public-api-spec-collection` (CRM Tickets, Notes, Associations,
//! Pipelines, Properties, Owners; Files; Account Info; OAuth) and developers.hubspot.com ("Tickets
//! API guide", "CRM search guide", "Error handling", "Usage guidelines", "Webhooks guide", "Request
//! validation"). What no source confirms is a constant whose comment says "(unconfirmed)".
//!
//! **Duplicates**: with `settings.unique_property` a create is an upsert, which is looked up first:
//! a repeat would make nothing twice, but overwrite what agents changed. Without it the marker is
//! the last line of the ticket's text, and a search that lags finds it. A note carries its
//! command's marker as its last line. Everything else sets something.

mod facts;
mod inbound;
mod item;
mod reader;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use async_trait::async_trait;

use self::facts::{ERRORS, PATHS, Path};
use self::item::said;
use crate::domain::{
    AuthType, Integration, Platform, Priority, TicketCategory, TicketStatus, TicketView,
};
use crate::platforms::api::Api;
use crate::platforms::mapping::{FieldMap, Mapping};
use crate::platforms::members::{Members, url};
use crate::platforms::path::below;
use crate::platforms::tokens::{Client, ClientAuth, Grant, OauthFlow};
use crate::platforms::users::Users;
use crate::platforms::{
    Adapter, AdapterError, Auth, CallContext, CheckReport, Facts, Finishing, Inbound, Known,
    Operation, OperationKind, Plan, Prepared, Protection, Reader, Receipt, Response, TestKind,
    TicketFacts, TokenFlow,
};
use crate::secrets::Credentials;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// Life of an access token where the grant does not say (OAuth guide: `expires_in` is 1800).
const TOKEN_LIFE: Duration = Duration::from_secs(1_800);

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// When to look for a ticket by its unique property, and for a note: both are immediate, but the
/// request may still be under way.
static LOOK_UPS: [Duration; 3] = [at(5), at(20), at(60)];
/// The same by the search, whose index lags ("a few moments", CRM search guide).
static SEARCHES: [Duration; 2] = [at(60), at(180)];

/// One account's tickets.
pub struct HubSpot {
    api: Api,
    /// What stands for `{d}` in a path.
    version: String,
    /// The account that deliveries must be of.
    portal: Option<u64>,
    /// Id or label.
    pipeline: Option<String>,
    /// Where a ticket's marker is.
    unique: Option<String>,
    tags: Option<String>,
    /// Whether a public comment becomes a note.
    notes_public: bool,
    statuses: Mapping<TicketStatus>,
    priorities: Mapping<Priority>,
    categories: Mapping<TicketCategory>,
    fields: FieldMap,
    users: Users,
    flow: Option<OauthFlow>,
}

impl HubSpot {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Hubspot, integration, credentials);
        let given = integration.base_url.as_deref().unwrap_or(facts::API);
        let base = url("base_url", given.trim(), facts::API)?;
        let (auth, flow) = match integration.auth_type {
            AuthType::Bearer => (Auth::Bearer(members.secret("access_token")?), None),
            AuthType::Oauth2 => {
                let client = Client {
                    id: members.text("client_id")?,
                    secret: Some(members.secret("client_secret")?),
                    auth: ClientAuth::Form,
                };
                let grant = Grant::Refresh(members.secret("refresh_token")?);
                let token_url = below(&base, PATHS.token)?;
                let flow = OauthFlow::new("HubSpot", token_url, grant, client);
                (Auth::OAuth, Some(flow.life(TOKEN_LIFE)))
            }
            AuthType::ApiKey | AuthType::Basic | AuthType::Custom => {
                let fault = "must be bearer (a service key) or oauth2 for hubspot";
                return Err(AdapterError::field("auth_type", fault));
            }
        };
        let version = integration.api_version.as_deref();
        let name_of = |setting: &str| {
            let given = members.setting(setting);
            given
                .map(|name| facts::property_name(setting, &name))
                .transpose()
        };
        let public = members.setting("public_comments");
        let hubspot = Self {
            api: Api::new(base, auth, &ERRORS),
            version: facts::version(version.unwrap_or(facts::VERSION))?,
            portal: facts::portal(integration.settings.get("portal_id"))?,
            pipeline: members.setting("pipeline"),
            unique: name_of("unique_property")?,
            tags: name_of("tags_property")?,
            notes_public: facts::notes_public(public.as_deref().unwrap_or("note"))?,
            statuses: Mapping::of(&members, "status_map", &[])?.with_back(&words::STAGES_BACK),
            priorities: Mapping::of(&members, "priority_map", &words::PRIORITIES)?,
            categories: Mapping::of(&members, "category_map", &words::CATEGORIES)?,
            fields: FieldMap::of(&integration.custom_fields_mapping),
            users: Users::of(&members)?,
            flow,
        };
        for (setting, name) in [
            ("unique_property", &hubspot.unique),
            ("tags_property", &hubspot.tags),
        ] {
            let mapped = name.as_deref().and_then(|name| hubspot.fields.ours(name));
            if let Some(ours) = mapped {
                let field = format!("custom_fields_mapping.{ours}");
                let fault = format!("names the property of settings.{setting}: name another");
                return Err(AdapterError::field(&field, fault));
            }
        }
        Ok(hubspot)
    }

    /// A path with this integration's version in it, and what is below it.
    fn at<'a>(&'a self, path: Path, rest: &[&'a str]) -> Vec<&'a str> {
        let dated = path.iter().map(|part| match *part {
            "{d}" => self.version.as_str(),
            part => part,
        });
        dated.chain(rest.iter().copied()).collect()
    }
}

#[async_trait]
impl Adapter for HubSpot {
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
        match operation {
            Operation::Create { ticket, .. } => {
                Some(Box::pin(self.complete(context, ticket, receipt)))
            }
            _ => None,
        }
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

    fn ours(&self, facts: &Facts) -> TicketFacts {
        self.in_our_words(facts)
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        self.in_their_words(ticket)
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.flow.as_ref().map(|flow| flow as &dyn TokenFlow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match kind {
            OperationKind::Create if self.unique.is_none() => Protection::Lookup {
                schedule: &SEARCHES,
                upsert: false,
            },
            // With a summary, a change of status ends in a note.
            OperationKind::Create
            | OperationKind::Comment
            | OperationKind::Attach
            | OperationKind::Status => Protection::Lookup {
                schedule: &LOOK_UPS,
                upsert: kind == OperationKind::Create,
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
