//! Slack: Web API with a bot token, or an incoming webhook as the reduced mode.
//!
//! Sources: docs.slack.dev reference/methods (`chat.*`, `conversations.*`, `auth.test`),
//! apis/web-api/rate-limits, authentication/using-token-rotation, messaging/message-metadata,
//! reference/block-kit.
//!
//! A ticket is a message in the channel, its comments are replies in that message's thread, and a
//! change is shown by rewriting the message. Nearly everything is answered with HTTP 200; whether
//! it worked is in `ok` of the body.
//!
//! **Duplicates**: no idempotency key. The marker is in the message's `metadata`, which is found
//! again by `conversations.history` and `.replies`. `chat.update` is idempotent. An incoming
//! webhook gives nothing back and reads nothing, so there an unknown outcome stays unknown.
//!
//! [`facts`] has the tables, [`item`] the requests of an operation and what their answers say,
//! [`message`] what a ticket looks like, [`listing`] the pages of messages and the look-up,
//! [`reader`] what can be read back, and the checks.

mod facts;
mod inbound;
mod item;
mod listing;
mod message;
mod reader;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use url::Url;

use self::facts::{API, ERRORS, HOOK, LOOK_UPS, TOKEN_LIFE, channel_of, is_stale};
use self::item::MessageRef;
use self::message::Style;
use super::api::Api;
use super::mapping::FieldMap;
use super::members::{Members, url};
use super::path::below;
use super::tokens::{Client, ClientAuth, Grant, OauthFlow};
use super::{
    Adapter, AdapterError, Auth, CallContext, CheckReport, Effect, Facts, Finishing, Inbound,
    Known, Operation, OperationKind, Plan, Prepared, Protection, Reader, Receipt, Response,
    TestKind, TicketFacts, TokenFlow,
};
use crate::domain::{AuthType, Integration, Platform, TicketView};
use crate::secrets::Credentials;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// One Slack integration.
pub struct Slack {
    way: Way,
    style: Style,
    internal_comments: bool,
    broadcast_status: bool,
}

/// How Slack is reached.
enum Way {
    /// The Web API.
    Bot(Box<Bot>),
    /// A URL that posts to one channel and is itself the secret.
    Hook(Url),
}

/// The Web API of one workspace.
struct Bot {
    api: Api,
    channel: String,
    flow: Option<OauthFlow>,
}

impl Slack {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Slack, integration, credentials);
        let base = integration.base_url.as_deref().unwrap_or(API);
        let base = url("base_url", base, API)?;
        let bot = |auth, flow| {
            let channel = members.setting("channel").ok_or_else(|| {
                let fault = "is required for slack: the id of a channel, e.g. C0123ABCD";
                AdapterError::field("settings.channel", fault)
            })?;
            let channel = channel_of(&channel)?;
            let api = Api::new(base.clone(), auth, &ERRORS);
            Ok(Way::Bot(Box::new(Bot { api, channel, flow })))
        };
        let way = match integration.auth_type {
            AuthType::Bearer => bot(Auth::Bearer(members.secret("bot_token")?), None)?,
            AuthType::Oauth2 => {
                let client = Client {
                    id: members.text("client_id")?,
                    secret: Some(members.secret("client_secret")?),
                    auth: ClientAuth::Form,
                };
                let token_url = below(&base, &["oauth.v2.access"])?;
                let grant = Grant::Refresh(members.secret("refresh_token")?);
                let flow = OauthFlow::new("Slack", token_url, grant, client)
                    .life(TOKEN_LIFE)
                    .refused_by(|answer| {
                        ERRORS.check(answer, Effect::Idempotent, "refreshing the access token")
                    })
                    .stale_by(is_stale);
                bot(Auth::OAuth, Some(flow))?
            }
            AuthType::Custom => {
                let secret = members.secret("webhook_url")?;
                Way::Hook(url(
                    "credentials.webhook_url",
                    secret.expose_secret(),
                    "https://hooks.slack.com/services/…",
                )?)
            }
            AuthType::ApiKey | AuthType::Basic => {
                let fault = "must be bearer, oauth2 or custom for slack";
                return Err(AdapterError::field("auth_type", fault));
            }
        };
        Ok(Self {
            way,
            style: Style {
                ticket_url: members.setting("ticket_url"),
                labels: FieldMap::of(&integration.custom_fields_mapping),
            },
            internal_comments: members.switch("internal_comments")?,
            broadcast_status: members.switch("broadcast_status")?,
        })
    }

    /// The Web API, which all but a create needs.
    fn bot(&self) -> Result<&Bot, AdapterError> {
        match &self.way {
            Way::Bot(bot) => Ok(bot),
            Way::Hook(_) => Err(AdapterError::unsupported(HOOK)),
        }
    }
}

#[async_trait]
impl Adapter for Slack {
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        known: Known,
    ) -> Result<Prepared, AdapterError> {
        self.prepared(context, operation, known)
            .await
            .map(Prepared::Go)
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

    /// The page of a new message. A failure costs the link and nothing else.
    fn finish<'a>(
        &'a self,
        context: &'a CallContext<'_>,
        operation: &'a Operation<'_>,
        receipt: &'a mut Receipt,
    ) -> Option<Finishing<'a>> {
        let (Operation::Create { .. }, Way::Bot(bot)) = (operation, &self.way) else {
            return None;
        };
        let message = MessageRef::remembered(&receipt.external_ref)?;
        Some(Box::pin(async move {
            receipt.external_url = bot.permalink(context, &message).await;
            Ok(())
        }))
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.bot()?.look_up(context, operation).await
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match &self.way {
            Way::Bot(bot) => bot.checked(context, test).await,
            Way::Hook(url) => reader::hook_checked(url, context, test).await,
        }
    }

    /// An incoming webhook belongs to an app, whose events come all the same.
    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn reader(&self) -> Option<&dyn Reader> {
        self.bot().ok().map(|bot| bot as &dyn Reader)
    }

    /// A heading that was cut does not say what the title is.
    fn ours(&self, facts: &Facts) -> TicketFacts {
        let title = facts.title.clone();
        TicketFacts {
            title: title.filter(|title| !title.ends_with('…')),
            ..TicketFacts::default()
        }
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        Facts {
            title: Some(message::heading(&ticket.title)),
            ..Facts::default()
        }
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        let flow = self.bot().ok()?.flow.as_ref();
        flow.map(|flow| flow as &dyn TokenFlow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match (&self.way, kind) {
            (Way::Hook(_), _) => Protection::None,
            (Way::Bot(_), OperationKind::Update | OperationKind::Assign) => Protection::Native,
            (Way::Bot(_), _) => Protection::Lookup {
                schedule: &LOOK_UPS,
                upsert: false,
            },
        }
    }
}
