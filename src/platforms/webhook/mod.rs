//! Any endpoint that takes webhooks signed by Standard Webhooks 1.0.0.
//!
//! Sources: standard-webhooks `spec/standard-webhooks.md` 1.0.0 and its reference libraries.
//!
//! **Duplicates**: `webhook-id` is the specification's idempotency key. It is derived from the
//! marker, so it is the same over all attempts, and an unknown outcome is simply sent again. The
//! timestamp, and with it the signature, is each attempt's own.
//!
//! [`facts`] has the tables, [`item`] the request of an operation and what its answer says,
//! [`payload`] the event that a receiver gets, [`sign`] the keys.

mod facts;
mod inbound;
mod item;
mod payload;
mod sign;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use url::Url;

use self::facts::{ERRORS, SECRET_URL, headers, template_of, valid_until};
use self::sign::Signer;
use super::mapping::FieldMap;
use super::members::{Members, url};
use super::{
    Adapter, AdapterError, Auth, CallContext, CheckReport, Effect, Facts, Inbound, Known,
    Operation, OperationKind, Plan, Protection, Receipt, Response, TestKind, TicketFacts,
};
use crate::domain::{Integration, Platform, Priority, TicketStatus, TicketView};
use crate::secrets::Credentials;
use crate::telemetry::clock;

pub use self::facts::DESCRIPTOR;
pub(super) use self::inbound::HOOKS;

/// One endpoint.
pub struct Webhook {
    url: Url,
    /// Whether the address itself is a secret.
    is_url_secret: bool,
    signers: Vec<Signer>,
    previous_until: Option<DateTime<Utc>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    auth: Auth,
    template: Option<Value>,
    fields: FieldMap,
}

impl Webhook {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, with the field.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Webhook, integration, credentials);
        let own = integration.settings.get("url").and_then(Value::as_str);
        let target = own.map(str::to_owned);
        let target = target.or_else(|| integration.base_url.clone());
        let target = target.or_else(|| credentials.text("url"));
        let secret = credentials.text(SECRET_URL);
        let is_url_secret = secret.is_some();
        let (member, given) = match (target, secret) {
            (Some(_), Some(_)) => {
                let fault = "stands in place of settings.url and base_url: give one of them";
                return Err(AdapterError::field("credentials.secret_url", fault));
            }
            (Some(open), None) => ("settings.url", open),
            (None, Some(secret)) => ("credentials.secret_url", secret),
            (None, None) => {
                let fault = "is required for webhook";
                return Err(AdapterError::field("settings.url", fault));
            }
        };
        let url = url(member, &given, "https://example.org/hook")?;
        let mut signers = vec![Signer::parse(
            "signing_secret",
            &members.secret("signing_secret")?,
        )?];
        if let Some(previous) = credentials.secret("previous_signing_secret") {
            signers.push(Signer::parse("previous_signing_secret", &previous)?);
        }
        let previous_until = credentials.text("previous_valid_until");
        let previous_until = previous_until.map(|text| valid_until(&text)).transpose()?;
        let without = |missing: &str, other: &str| {
            let fault = format!("is required with {other}");
            AdapterError::field(&format!("credentials.{missing}"), fault)
        };
        let user = credentials.text("basic_user");
        let auth = match (user, credentials.secret("basic_password")) {
            (Some(user), Some(secret)) => Auth::Basic { user, secret },
            (None, None) => Auth::None,
            (Some(_), None) => return Err(without("basic_password", "basic_user")),
            (None, Some(_)) => return Err(without("basic_user", "basic_password")),
        };
        let template = match integration.settings.get("payload_template") {
            None | Some(Value::Null) => None,
            Some(given) => Some(
                template_of(given)
                    .map_err(|fault| AdapterError::field("settings.payload_template", fault))?,
            ),
        };
        Ok(Self {
            url,
            is_url_secret,
            signers,
            previous_until,
            headers: headers(credentials.members().get("headers"))?,
            auth,
            template,
            fields: FieldMap::of(&integration.custom_fields_mapping),
        })
    }
}

#[async_trait]
impl Adapter for Webhook {
    fn plan(&self, operation: &Operation<'_>, _: &Known) -> Result<Plan, AdapterError> {
        self.request_of(operation, clock::now()).map(Plan::from)
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        _: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let what = format!("sending {}", payload::kind_of(operation));
        ERRORS.check(answer, Effect::Idempotent, &what)?;
        Ok(item::receipt_of(operation, answer))
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        let kind = match test {
            TestKind::Connection | TestKind::Authentication => "ping",
            TestKind::CreateTicket => payload::CREATED,
            TestKind::Permissions => {
                return Err(AdapterError::unsupported(
                    "a webhook has no permissions that could be asked for",
                ));
            }
        };
        let (id, now) = (format!("msg_test-{}", uuid::Uuid::now_v7()), clock::now());
        let event = payload::event(kind, now, &json!({ "test": true }));
        let request = self.request(&id, &event, now)?;
        let answer = context.send(request).await?;
        ERRORS.check(&answer, Effect::Idempotent, &format!("sending {kind}"))?;
        Ok(CheckReport {
            message: format!("the endpoint took a signed {kind} ({})", answer.status),
            details: Map::from_iter([("webhook_id".to_owned(), id.into())]),
        })
    }

    /// A receiver sends what it was sent: our words, and custom fields by its names.
    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn ours(&self, facts: &Facts) -> TicketFacts {
        let facts = facts.clone();
        let custom = facts.custom.into_iter().map(|(theirs, value)| {
            let ours = self.fields.ours(&theirs).map(str::to_owned);
            (ours.unwrap_or(theirs), value)
        });
        TicketFacts {
            custom: custom.collect(),
            title: facts.title,
            description: facts.description,
            status: facts.status.as_deref().and_then(TicketStatus::parse),
            priority: facts.priority.as_deref().and_then(Priority::parse),
            assignee: facts.assignee,
            tags: facts.tags,
        }
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        payload::facts(ticket, &self.fields)
    }

    fn protection(&self, _: OperationKind) -> Protection {
        Protection::Native
    }
}
