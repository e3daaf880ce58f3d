//! SMS by Twilio Programmable Messaging: every operation is a message to one number.
//!
//! Sources: Twilio's OpenAPI (`twilio_api_v2010.json`); twilio.com/docs messaging/api/
//! message-resource, messaging/guides/outbound-message-status-in-status-callbacks,
//! glossary/what-is-gsm-7-character-encoding, usage/webhooks/webhooks-security,
//! usage/webhooks/webhook-shared-keys, api/errors.
//!
//! A message is never changed and has no thread. A ticket's messages are held together by a
//! reference at their end: `#ab0ac58d` ends the first, `#ab0ac58d/46cb` what comes later. A person
//! who answers may quote it; an answer without one belongs to what was sent last before it.
//!
//! **Duplicates**: Twilio knows no key. A lost message is found in the list of messages to the
//! number, by its reference. How soon one is listed is not documented, so that an empty list is
//! proof after two minutes.
//!
//! | file | what it does |
//! | --- | --- |
//! | `facts` | the tables |
//! | `words` | what a message says, within its segments |
//! | `item` | the request of an operation, its answer, and the look-up |
//! | `reader` | messages read back, and the checks |
//! | `inbound` | what Twilio tells by itself |
//! | `hooks` | where it tells it |

mod facts;
mod hooks;
mod inbound;
mod item;
mod reader;
#[cfg(test)]
mod tests;
mod words;

use async_trait::async_trait;
use serde_json::Value;

use self::facts::{API, ERRORS, LOOK_UPS, SEGMENTS, number, segments_of, sid};
use super::api::Api;
use super::inbound::Registrar;
use super::members::{Members, url};
use super::{
    Adapter, AdapterError, Auth, CallContext, CheckReport, Facts, Inbound, Known, Operation,
    OperationKind, Plan, Protection, Reader, Receipt, Response, TestKind, TicketFacts,
};
use crate::domain::{AuthType, Integration, Platform, TicketView};
use crate::secrets::Credentials;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// One account, one sender and one recipient.
pub struct Sms {
    api: Api,
    account: String,
    /// Whether an API key asks, which may not see the account.
    by_key: bool,
    sender: Sender,
    to: String,
    segments_max: usize,
    internal_comments: bool,
}

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sender {
    /// A number.
    Number(String),
    /// A messaging service, which picks one.
    Service(String),
}

impl Sms {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        if integration.auth_type != AuthType::Basic {
            return Err(AdapterError::field("auth_type", "must be basic for sms"));
        }
        let members = Members::new(Platform::Sms, integration, credentials);
        let base = url(
            "base_url",
            integration.base_url.as_deref().unwrap_or(API),
            API,
        )?;
        let account = sid(
            "credentials.account_sid",
            "AC",
            &members.text("account_sid")?,
        )?;
        let key = credentials.text("api_key_sid");
        let by_key = key.is_some();
        let auth = match key {
            Some(key) => Auth::Basic {
                user: sid("credentials.api_key_sid", "SK", &key)?,
                secret: members.secret("api_key_secret")?,
            },
            None => Auth::Basic {
                user: account.clone(),
                secret: members.secret("auth_token")?,
            },
        };
        let from = members.setting("from_number");
        let service = members.setting("messaging_service_sid");
        let sender = match (from, service) {
            (Some(from), None) => Sender::Number(number("settings.from_number", &from)?),
            (None, Some(service)) => {
                Sender::Service(sid("settings.messaging_service_sid", "MG", &service)?)
            }
            (None, None) => {
                let fault = "is required for sms, or settings.messaging_service_sid: who sends";
                return Err(AdapterError::field("settings.from_number", fault));
            }
            (Some(_), Some(_)) => {
                let fault =
                    "cannot be there beside settings.messaging_service_sid: give one of them";
                return Err(AdapterError::field("settings.from_number", fault));
            }
        };
        let most = integration.settings.get("max_segments");
        let most = most.filter(|value| !value.is_null()).map(segments_of);
        let most = most.transpose();
        Ok(Self {
            api: Api::new(base, auth, &ERRORS),
            account,
            by_key,
            sender,
            to: number("settings.to", &members.required_setting("to")?)?,
            segments_max: most
                .map_err(|fault| AdapterError::field("settings.max_segments", fault))?
                .unwrap_or(SEGMENTS),
            internal_comments: members.switch("internal_comments")?,
        })
    }

    /// Whether a number of ours is this one, as far as that is known.
    fn may_be_sender(&self, number: Option<&str>, service: Option<&str>) -> bool {
        match &self.sender {
            Sender::Number(own) => number.is_none_or(|number| number == own),
            Sender::Service(own) => service.is_none_or(|service| service == own),
        }
    }
}

#[async_trait]
impl Adapter for Sms {
    fn plan(&self, operation: &Operation<'_>, _: &Known) -> Result<Plan, AdapterError> {
        self.plan_of(operation)
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        _: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        self.receipt_of(operation, answer)
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.found(context, operation).await
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

    /// What comes to a messaging service is set up in its page.
    fn registrar(&self) -> Option<&dyn Registrar> {
        match &self.sender {
            Sender::Number(_) => Some(self),
            Sender::Service(_) => None,
        }
    }

    /// A title that was cut does not say what it is. Nobody changes the rest there.
    fn ours(&self, facts: &Facts) -> TicketFacts {
        let title = facts.title.clone();
        let is_whole = |title: &String| !title.ends_with("...") && !title.ends_with('…');
        TicketFacts {
            title: title.filter(is_whole),
            ..TicketFacts::default()
        }
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        Facts {
            title: self.title_sent(ticket),
            ..Facts::default()
        }
    }

    fn protection(&self, _: OperationKind) -> Protection {
        Protection::Lookup {
            schedule: &LOOK_UPS,
            upsert: false,
        }
    }
}

/// A value that Twilio gives as text or as a number.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
