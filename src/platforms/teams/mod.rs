//! Microsoft Teams: messages of one channel, through Microsoft Graph as a user, or cards through a
//! flow of Power Automate as the reduced mode.
//!
//! Sources: learn.microsoft.com graph/api/{channel-post-messages, channel-list-messages,
//! chatmessage-update, chatmessage-post-replies, chatmessage-delta, chatmessage-softdelete,
//! channel-get-filesfolder}, graph/throttling-limits, graph/teams-changenotifications-chatmessage;
//! microsoftteams/platform webhooks-and-connectors (outgoing webhooks); connectors/teams. What no
//! source confirms is said to be "(unconfirmed)" where it stands.
//!
//! Through Graph a ticket is a message with a card, its comments are replies, and a change is shown
//! by rewriting the message. Graph lets nobody but a user post: an application's own token cannot.
//! A flow takes a card for whatever happens, and says nothing of what becomes of it.
//!
//! **Duplicates**: no idempotency key. A message's marker is in a text of its card that is not
//! shown, a reply's in its last line; both are found again in the listings. Rewriting is
//! idempotent. Of a flow an unknown outcome stays unknown.
//!
//! [`facts`] has the tables, [`words`] what Graph says of a message, [`message`] what a ticket
//! looks like, [`item`] the requests of an operation, [`listing`] pages of messages and the
//! look-up, [`reader`] what can be read back, and the checks, [`inbound`] what Teams tells by
//! itself.

mod facts;
mod inbound;
mod item;
mod listing;
mod message;
mod reader;
#[cfg(test)]
mod tests;
mod words;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use url::Url;

use self::facts::{ERRORS, GRAPH, LOGIN, LOOK_UPS, SCOPE, TOKEN_LIFE, VERSION};
use self::message::{Carrier, Style};
use super::api::Api;
use super::mapping::{FieldMap, refuse};
use super::members::{Members, url};
use super::path::below;
use super::tokens::{Client, ClientAuth, Grant, OauthFlow};
use super::{
    Adapter, AdapterError, Auth, CallContext, CheckReport, Effect, Facts, Inbound, Known,
    Operation, OperationKind, Plan, Prepared, Protection, Reader, Receipt, Response, TestKind,
    TicketFacts, TokenFlow,
};
use crate::domain::{AuthType, Integration, Platform, TicketView};
use crate::secrets::Credentials;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// One channel of Teams.
pub struct Teams {
    way: Way,
    style: Style,
    internal_comments: bool,
}

/// How Teams is reached.
enum Way {
    /// Microsoft Graph.
    Graph(Box<Graph>),
    /// A URL that starts a flow and is itself the secret.
    Flow(Url),
}

/// Microsoft Graph, as a user.
struct Graph {
    api: Api,
    team: String,
    channel: String,
    tokens: OauthFlow,
}

impl Teams {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Teams, integration, credentials);
        let (way, carrier) = match integration.auth_type {
            AuthType::Custom => (Way::Flow(flow(&members)?), Carrier::Flow),
            AuthType::Oauth2 => {
                let graph = Graph::connect(integration, &members)?;
                (Way::Graph(Box::new(graph)), Carrier::Graph)
            }
            AuthType::ApiKey | AuthType::Basic | AuthType::Bearer => {
                let fault = "must be custom (a flow) or oauth2 for teams";
                return Err(AdapterError::field("auth_type", fault));
            }
        };
        let ticket_url = members.setting("ticket_url");
        Ok(Self {
            way,
            style: Style {
                ticket_url: ticket_url.as_deref().map(facts::page).transpose()?,
                labels: FieldMap::of(&integration.custom_fields_mapping),
                carrier,
            },
            internal_comments: members.switch("internal_comments")?,
        })
    }

    fn graph(&self) -> Option<&Graph> {
        match &self.way {
            Way::Graph(graph) => Some(graph),
            Way::Flow(_) => None,
        }
    }
}

/// The address of a flow. It is kept as it is given: what it has in its query is signed.
fn flow(members: &Members<'_>) -> Result<Url, AdapterError> {
    const FIELD: &str = "credentials.workflow_url";
    let given = members.secret("workflow_url")?;
    let example = "https://….environment.api.powerplatform.com/…/invoke?…&sig=…";
    let url = url(FIELD, given.expose_secret().trim(), example)?;
    match facts::flow_fault(&url) {
        None => Ok(url),
        Some(fault) => Err(AdapterError::field(FIELD, fault)),
    }
}

impl Graph {
    fn connect(integration: &Integration, members: &Members<'_>) -> Result<Self, AdapterError> {
        let given = integration.base_url.as_deref().unwrap_or(GRAPH);
        let mut site = url("base_url", given.trim(), GRAPH)?;
        site.set_query(None);
        site.set_fragment(None);
        let path = site.path().trim_end_matches('/').to_owned();
        site.set_path(path.strip_suffix("/v1.0").unwrap_or(&path));
        let login = url("base_url", LOGIN, LOGIN)?;
        let graph = url("base_url", GRAPH, GRAPH)?;
        let login = if site.origin() == graph.origin() {
            &login
        } else {
            &site
        };
        let tenant = facts::tenant(&members.text("tenant_id")?)?;
        let client = Client {
            id: members.text("client_id")?,
            secret: Some(members.secret("client_secret")?),
            auth: ClientAuth::Form,
        };
        let grant = Grant::Refresh(members.secret("refresh_token")?);
        let token_url = below(login, &[&tenant, "oauth2", "v2.0", "token"])?;
        let tokens = OauthFlow::new("Microsoft", token_url, grant, client)
            .scope(Some(SCOPE.to_owned()))
            .life(TOKEN_LIFE)
            .refused_by(refused);
        // What is missing is said at once.
        let missing = ["team_id", "channel_id"].into_iter();
        let missing = missing.filter(|name| members.setting(name).is_none());
        let fault = "is required with oauth2 for teams".to_owned();
        refuse(
            missing
                .map(|name| (format!("settings.{name}"), fault.clone()))
                .collect(),
        )?;
        Ok(Self {
            api: Api::new(below(&site, &[VERSION])?, Auth::OAuth, &ERRORS),
            team: facts::team(&members.required_setting("team_id")?)?,
            channel: facts::channel(&members.required_setting("channel_id")?)?,
            tokens,
        })
    }
}

/// What Entra says against a refresh token or a client, where it is known what that means.
fn refused(answer: &Response) -> Result<(), AdapterError> {
    if !matches!(answer.status, 400 | 401) {
        return Ok(());
    }
    let refused = ERRORS.check(answer, Effect::Idempotent, "getting an access token");
    refused.or_else(|error| match error.class {
        super::ErrorClass::Authentication | super::ErrorClass::Permission => Err(error),
        _ => Ok(()),
    })
}

#[async_trait]
impl Adapter for Teams {
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        known: Known,
    ) -> Result<Prepared, AdapterError> {
        let prepared = self.prepared(context, operation, known).await;
        prepared.map(Prepared::Go)
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
        match &self.way {
            Way::Graph(graph) => graph.look_up(context, operation).await,
            Way::Flow(_) => Ok(None),
        }
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match &self.way {
            Way::Graph(graph) => graph.checked(context, test).await,
            Way::Flow(url) => reader::flow_checked(url, context, test).await,
        }
    }

    fn posts_when_checked(&self) -> bool {
        matches!(self.way, Way::Flow(_))
    }

    fn reader(&self) -> Option<&dyn Reader> {
        self.graph().map(|graph| graph as &dyn Reader)
    }

    /// An outgoing webhook is the team's, and comes in both modes.
    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    /// A subject that was cut does not say what the title is.
    fn ours(&self, facts: &Facts) -> TicketFacts {
        let title = facts.title.clone();
        TicketFacts {
            title: title.filter(|title| !title.ends_with('…')),
            ..TicketFacts::default()
        }
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        Facts {
            title: Some(message::subject(&ticket.title)),
            ..Facts::default()
        }
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.graph().map(|graph| &graph.tokens as &dyn TokenFlow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match (&self.way, kind) {
            (Way::Flow(_), _) => Protection::None,
            (Way::Graph(_), OperationKind::Update | OperationKind::Assign) => Protection::Native,
            (Way::Graph(_), _) => Protection::Lookup {
                schedule: &LOOK_UPS,
                upsert: false,
            },
        }
    }
}
