//! Zoom Team Chat: a ticket is a message in a channel, posted by a user; what is said of it are
//! replies in its thread.
//!
//! Sources: developers.zoom.us docs/api/team-chat, docs/api/team-chat/events, docs/api/webhooks,
//! docs/api/rate-limits, docs/api/errors, docs/internal-apps/s2s-oauth, docs/integrations/oauth.
//!
//! The chatbot's interface (`/im/chat/messages`) is not used: it reads nothing back, so a lost
//! answer could not be looked up, and it takes no files.
//!
//! **Duplicates**: Zoom knows no key. The marker is the last line of each message, which is found
//! again by the channel's list and the thread. Writing a message anew is idempotent.
//!
//! | file | what it does |
//! | --- | --- |
//! | `facts` | the tables |
//! | `words` | Zoom's answers as types, and what a message says |
//! | `item` | the request of an operation, its answer, and the look-up |
//! | `reader` | messages read back, and the checks |
//! | `inbound` | what Zoom tells by itself |

mod facts;
mod inbound;
mod item;
mod reader;
#[cfg(test)]
mod tests;
mod words;

use async_trait::async_trait;
use url::Url;

use self::facts::{
    API, ERRORS, FILES, HOST, LOOK_UPS, REDIRECTS, SITE, VERSION, channel_of, is_stale, user_of,
};
use super::api::Api;
use super::members::{Members, url};
use super::path::below;
use super::tokens::{ApiBase, Client, ClientAuth, Grant, OauthFlow};
use super::{
    Adapter, AdapterError, Auth, CallContext, CheckReport, Facts, Finishing, HostSuffix, Inbound,
    Known, Operation, OperationKind, Plan, Prepared, Protection, Reader, Receipt, Response,
    TestKind, TicketFacts, TokenFlow,
};
use crate::domain::{AuthType, Integration, Platform, TicketView};
use crate::secrets::Credentials;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// One channel, and the user who posts in it.
pub struct Zoom {
    api: Api,
    /// Files have a host of their own.
    files: Api,
    user: String,
    channel: String,
    ticket_url: Option<String>,
    internal_comments: bool,
    flow: OauthFlow,
}

impl Zoom {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        if integration.auth_type != AuthType::Oauth2 {
            return Err(AdapterError::field("auth_type", "must be oauth2 for zoom"));
        }
        let members = Members::new(Platform::Zoom, integration, credentials);
        let given = integration.base_url.as_deref().unwrap_or(SITE);
        let hosts = Hosts::of(&url("base_url", given, SITE)?)?;
        let user = members.setting("user_id");
        let (grant, user) = match (
            credentials.text("account_id"),
            credentials.secret("refresh_token"),
        ) {
            (Some(_), Some(_)) => {
                let fault = "is for Server-to-Server OAuth, and refresh_token for user OAuth: give \
                             one of them";
                return Err(AdapterError::field("credentials.account_id", fault));
            }
            (Some(account), None) => {
                let user = user.ok_or_else(|| {
                    let fault = "is required with account_id: the user who posts";
                    AdapterError::field("settings.user_id", fault)
                })?;
                (Grant::Account(account.trim().to_owned()), user)
            }
            (None, Some(token)) => (Grant::Refresh(token), user.unwrap_or_else(|| "me".into())),
            (None, None) => {
                let fault = "is required for zoom, or account_id of a Server-to-Server OAuth app";
                return Err(AdapterError::field("credentials.refresh_token", fault));
            }
        };
        let client = Client {
            id: members.text("client_id")?.trim().to_owned(),
            secret: Some(members.secret("client_secret")?),
            auth: ClientAuth::Basic,
        };
        let flow = OauthFlow::new("Zoom", hosts.tokens, grant, client)
            .stale_by(is_stale)
            .api_base(ApiBase {
                at: &["/api_url"],
                below: &VERSION,
                hosts: &[HOST],
                or: Some(hosts.api),
            });
        Ok(Self {
            api: Api::granted(&ERRORS),
            files: Api::new(hosts.files, Auth::OAuth, &ERRORS).follow(&REDIRECTS),
            user: user_of(&user)?,
            channel: channel_of(&members.required_setting("channel_id")?)?,
            ticket_url: members.setting("ticket_url"),
            internal_comments: members.switch("internal_comments")?,
            flow,
        })
    }
}

/// Where Zoom is.
struct Hosts {
    tokens: Url,
    api: Url,
    files: Url,
}

impl Hosts {
    /// Zoom's own hosts, whichever of them is named; all three at the address of something that
    /// stands for Zoom.
    fn of(base: &Url) -> Result<Self, AdapterError> {
        let is_zoom = base
            .host_str()
            .is_some_and(|host| HostSuffix::covers(HOST, host));
        if is_zoom {
            let known = |text: &str| url("base_url", text, SITE);
            return Ok(Self {
                tokens: below(&known(SITE)?, &["oauth", "token"])?,
                api: known(API)?,
                files: known(FILES)?,
            });
        }
        Ok(Self {
            tokens: below(base, &["oauth", "token"])?,
            api: below(base, &VERSION)?,
            files: below(base, &VERSION)?,
        })
    }
}

#[async_trait]
impl Adapter for Zoom {
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        known: Known,
    ) -> Result<Prepared, AdapterError> {
        let known = self.prepared(context, operation, known).await?;
        Ok(Prepared::Go(known))
    }

    fn plan(&self, operation: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError> {
        self.plan_of(operation, known)
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        _: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        self.receipt_of(operation, answer)
    }

    fn finish<'a>(
        &'a self,
        context: &'a CallContext<'_>,
        operation: &'a Operation<'_>,
        receipt: &'a mut Receipt,
    ) -> Option<Finishing<'a>> {
        self.finishing(context, operation, receipt)
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.found(context, operation).await
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

    /// A title that was cut does not say what it is. Nobody changes the rest there.
    fn ours(&self, facts: &Facts) -> TicketFacts {
        let title = facts.title.clone();
        TicketFacts {
            title: title.filter(|title| !title.ends_with('…')),
            ..TicketFacts::default()
        }
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        Facts {
            title: Some(words::title_sent(&ticket.title).0),
            ..Facts::default()
        }
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        Some(&self.flow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match kind {
            OperationKind::Update | OperationKind::Assign => Protection::Native,
            // A status, and so a deletion, ends in a reply.
            OperationKind::Create
            | OperationKind::Status
            | OperationKind::Comment
            | OperationKind::Attach
            | OperationKind::Delete => Protection::Lookup {
                schedule: &LOOK_UPS,
                upsert: false,
            },
        }
    }
}
