//! Asana: tasks of one project. API 1.0.
//!
//! Sources: Asana's OpenAPI file (`Asana/openapi`, `defs/asana_oas.yaml`) and developers.asana.com
//! ("Rate limits", "Errors", "Pagination", "OAuth", "Custom external data", "Rich text", "Webhooks
//! guide"). What no source confirms is a constant whose comment says "(unconfirmed)".
//!
//! **Duplicates**: Asana takes no key. By OAuth a task carries its marker in `external.gid`, which
//! belongs to the app and is read by name. A personal token has no such field: there the marker is
//! the last line of the notes, and the project's listing, which shows what was just written, finds
//! it. A comment carries its command's marker as its last line. A file is known by name and size.
//! Everything else sets something.

mod facts;
mod hooks;
mod inbound;
mod item;
mod reader;
#[cfg(test)]
mod tests;
mod vocabulary;
mod words;

use std::time::Duration;

use async_trait::async_trait;

use self::facts::ERRORS;
use self::item::said;
use crate::domain::{
    AuthType, Integration, Platform, Priority, TicketCategory, TicketStatus, TicketView,
};
use crate::platforms::api::Api;
use crate::platforms::inbound::Registrar;
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

/// Life of an access token where the grant does not say ("OAuth": one hour).
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

/// When to look for what may have been made: all of it is read as it was written, but the request
/// may still be under way.
static LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];

/// The tasks of one project.
pub struct Asana {
    api: Api,
    workspace: String,
    project: String,
    /// Whether a task's marker is in `external.gid`.
    has_external: bool,
    /// Gid or name of the fields that hold them.
    priority_field: Option<String>,
    category_field: Option<String>,
    /// Sections, by gid or name.
    statuses: Mapping<TicketStatus>,
    priorities: Mapping<Priority>,
    categories: Mapping<TicketCategory>,
    fields: FieldMap,
    users: Users,
    /// Whether comments that are not public are posted too.
    posts_internal: bool,
    flow: Option<OauthFlow>,
}

impl Asana {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Asana, integration, credentials);
        let given = integration.base_url.as_deref().unwrap_or(facts::SITE);
        let mut site = url("base_url", given.trim(), facts::SITE)?;
        site.set_query(None);
        site.set_fragment(None);
        let path = site.path().trim_end_matches('/').to_owned();
        site.set_path(path.strip_suffix("/api/1.0").unwrap_or(&path));
        let (auth, flow) = match integration.auth_type {
            AuthType::Bearer => (Auth::Bearer(members.secret("access_token")?), None),
            AuthType::Oauth2 => {
                let client = Client {
                    id: members.text("client_id")?,
                    secret: Some(members.secret("client_secret")?),
                    auth: ClientAuth::Form,
                };
                let grant = Grant::Refresh(members.secret("refresh_token")?);
                let token_url = below(&site, &["-", "oauth_token"])?;
                let flow = OauthFlow::new("Asana", token_url, grant, client);
                (Auth::OAuth, Some(flow.life(TOKEN_LIFE)))
            }
            AuthType::ApiKey | AuthType::Basic | AuthType::Custom => {
                let fault = "must be bearer (a personal or service account token) or oauth2 for \
                    asana";
                return Err(AdapterError::field("auth_type", fault));
            }
        };
        let gid_of = |name: &str| {
            let given = members.required_setting(name)?;
            facts::gid(&given)
                .map_err(|fault| AdapterError::field(&format!("settings.{name}"), fault))
        };
        let asana = Self {
            api: Api::new(below(&site, &["api", "1.0"])?, auth, &ERRORS),
            workspace: gid_of("workspace_gid")?,
            project: gid_of("project_gid")?,
            has_external: flow.is_some(),
            priority_field: members.setting("priority_field"),
            category_field: members.setting("category_field"),
            statuses: Mapping::of(&members, "status_map", &[])?,
            priorities: Mapping::of(&members, "priority_map", &words::PRIORITIES)?,
            categories: Mapping::of(&members, "category_map", &words::CATEGORIES)?,
            fields: FieldMap::of(&integration.custom_fields_mapping),
            users: Users::of(&members)?,
            posts_internal: members.switch("internal_comments")?,
            flow,
        };
        for (setting, name) in [
            ("priority_field", &asana.priority_field),
            ("category_field", &asana.category_field),
        ] {
            let mapped = name.as_deref().and_then(|name| asana.fields.ours(name));
            if let Some(ours) = mapped {
                let field = format!("custom_fields_mapping.{ours}");
                let fault = format!("names the field of settings.{setting}: name another");
                return Err(AdapterError::field(&field, fault));
            }
        }
        Ok(asana)
    }
}

#[async_trait]
impl Adapter for Asana {
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
                self.statuses.out(ticket.status)?;
                Some(Box::pin(self.placed(context, ticket.status, receipt)))
            }
            // Tags alone are set before: there is nothing else to send.
            Operation::Update { ticket, patch, .. } if item::has_fields(patch) => {
                let tags = patch.tags.as_deref()?;
                Some(Box::pin(self.tagged(context, ticket, tags, receipt)))
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

    fn registrar(&self) -> Option<&dyn Registrar> {
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
