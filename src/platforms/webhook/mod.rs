//! Any endpoint that takes webhooks signed by Standard Webhooks 1.0.0.
//!
//! Sources: standard-webhooks `spec/standard-webhooks.md` 1.0.0 and its reference libraries.
//!
//! **Duplicates**: `webhook-id` is the specification's idempotency key; it is derived from the mark, so it is the same over
//! all attempts, and an unknown outcome is simply sent again. The timestamp, and with it the signature, is each attempt's own.

mod payload;
mod sign;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;

use self::payload::{event, event_of, fill};
use self::sign::Signer;
use super::members::{judged, url};
use super::rate::RateHeaders;
use super::{
    Adapter, AdapterError, Auth, BaseUrl, Body, CallContext, CheckReport, CustomFields, Deletes,
    Descriptor, Effect, ErrorClass, Exception, Known, Member, Mode, Operation, OperationKind, Plan,
    Protection, Receipt, Request, Response, Scope, Shape, Strangers, TestKind, bounds,
};
use crate::domain::{AuthType, Integration, Platform};
use crate::secrets::Credentials;

/// Longest name that a custom field can be given.
const NAME_MAX: usize = 255;

/// The credential that is an address.
const SECRET_URL: &str = "secret_url";

/// A webhook's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Webhook,
    modes: &[Mode {
        auth_type: AuthType::Custom,
        name: "signed deliveries",
        except: &[Exception::part(
            OperationKind::Attach,
            "bytes in the command",
            "a receiver is told where a file is, it is not sent the bytes: give a url in place of content_base64",
        )],
        cannot_read: Some(
            "an endpoint is told of tickets, and cannot be asked what became of them",
        ),
        protection: "native: webhook-id is the same over all attempts, and receivers must honour it",
        credentials: &[&[
            Member::required(
                "signing_secret",
                "whsec_… (HMAC-SHA256) or whsk_… (ed25519)",
            )
            .shaped(Shape::Checked(|value| judged(value, signer))),
            Member::optional(
                "previous_signing_secret",
                "signs besides the current one while receivers change over",
            )
            .shaped(Shape::Checked(|value| judged(value, signer))),
            Member::optional(
                "previous_valid_until",
                "RFC 3339 time after which the previous secret no longer signs",
            )
            .open()
            .shaped(Shape::Checked(|value| judged(value, valid_until))),
            Member::optional("headers", "object of further headers, e.g. Authorization")
                .shaped(Shape::Checked(headers_fault)),
            Member::optional("basic_user", "user name for Basic authentication")
                .open()
                .shaped(Shape::User),
            Member::optional("basic_password", "password for Basic authentication")
                .shaped(Shape::Password),
            Member::optional(
                SECRET_URL,
                "where to POST, in place of settings.url where the address itself is secret",
            )
            .shaped(Shape::Url),
        ]],
    }],
    settings: &[
        Member::optional(
            "url",
            "where to POST; base_url is taken instead where it is missing",
        )
        .destination()
        .shaped(Shape::Url),
        Member::optional(
            "payload_template",
            "JSON with {{type}}, {{timestamp}}, {{data.title}} … in the place of values",
        )
        .shaped(Shape::Checked(template_fault)),
    ],
    base_url: BaseUrl::Target(&["url", SECRET_URL]),
    // Receivers answer as they like; a log-in page is still none of theirs.
    strangers: Strangers::PAGES,
    rate: RateHeaders::retry_after(Duration::from_secs(30), Scope::Integration),
    // Renamed within `data.custom_fields`, so that no member of the event can be replaced.
    custom_fields: CustomFields {
        allows: |name| !name.trim().is_empty() && name.chars().count() <= NAME_MAX,
        help: "a member of data.custom_fields, of 1 to 255 characters",
        one_each: true,
    },
    deletes: Deletes::Native,
    stable_ref: "id",
    text_max: None,
    limits: &[
        "payloads of over 20 kB are against the specification's advice",
        "410 disables the integration",
    ],
};

/// Bytes of a ticket's values that a template may be filled with.
const FILLED_MAX: usize = 8 << 20;

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
    /// Our field → theirs.
    custom_fields: Map<String, Value>,
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
        let open_url = integration
            .settings
            .get("url")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| integration.base_url.clone())
            .or_else(|| credentials.text("url"));
        let secret_url = credentials.text(SECRET_URL);
        let is_url_secret = secret_url.is_some();
        let (member, given) = match (open_url, secret_url) {
            (Some(_), Some(_)) => {
                let fault = "stands in place of settings.url and base_url: give one of them";
                return Err(AdapterError::field("credentials.secret_url", fault));
            }
            (Some(open), None) => ("settings.url", open),
            (None, Some(secret)) => ("credentials.secret_url", secret),
            (None, None) => {
                return Err(AdapterError::field(
                    "settings.url",
                    "is required for webhook",
                ));
            }
        };
        let url = url(member, &given, "https://example.org/hook")?;
        let current = credentials.secret("signing_secret").ok_or_else(|| {
            AdapterError::field("credentials.signing_secret", "is required for webhook")
        })?;
        let mut signers = vec![Signer::parse("signing_secret", &current)?];
        if let Some(previous) = credentials.secret("previous_signing_secret") {
            signers.push(Signer::parse("previous_signing_secret", &previous)?);
        }
        let previous_until = match credentials.text("previous_valid_until") {
            None => None,
            Some(text) => Some(valid_until(&text)?),
        };
        let auth = match (
            credentials.text("basic_user"),
            credentials.secret("basic_password"),
        ) {
            (Some(user), Some(secret)) => Auth::Basic { user, secret },
            (None, None) => Auth::None,
            (Some(_), None) => {
                return Err(AdapterError::field(
                    "credentials.basic_password",
                    "is required with basic_user",
                ));
            }
            (None, Some(_)) => {
                return Err(AdapterError::field(
                    "credentials.basic_user",
                    "is required with basic_password",
                ));
            }
        };
        let template = match integration.settings.get("payload_template") {
            None | Some(Value::Null) => None,
            Some(given) => {
                let template = template_of(given);
                Some(
                    template
                        .map_err(|fault| AdapterError::field("settings.payload_template", fault))?,
                )
            }
        };
        Ok(Self {
            url,
            is_url_secret,
            signers,
            previous_until,
            headers: headers(credentials.members().get("headers"))?,
            auth,
            template,
            custom_fields: integration.custom_fields_mapping.clone(),
        })
    }

    /// The signed request for an event.
    fn request(
        &self,
        id: &str,
        event: &Value,
        now: DateTime<Utc>,
    ) -> Result<Request, AdapterError> {
        let payload = match &self.template {
            None => event.to_string(),
            Some(template) => {
                let mut left = FILLED_MAX;
                let filled = fill(template, event, &mut left).ok_or_else(|| {
                    AdapterError::field(
                        "settings.payload_template",
                        "makes a payload of over 8 MiB of this ticket; let it name long values once",
                    )
                })?;
                filled.to_string()
            }
        };
        let timestamp = now.timestamp().to_string();
        let signed = format!("{id}.{timestamp}.{payload}");
        let active = match self.previous_until {
            Some(until) if until <= now => &self.signers[..1],
            Some(_) | None => &self.signers[..],
        };
        let signatures: Result<Vec<String>, AdapterError> = active
            .iter()
            .map(|signer| signer.sign(signed.as_bytes()))
            .collect();
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| {
                AdapterError::new(ErrorClass::Internal, "a webhook header cannot be built")
            })
        };
        let mut headers = self.headers.clone();
        headers.push((HeaderName::from_static("webhook-id"), value(id)?));
        headers.push((
            HeaderName::from_static("webhook-timestamp"),
            value(&timestamp)?,
        ));
        let mut signature = value(&signatures?.join(" "))?;
        signature.set_sensitive(true);
        headers.push((HeaderName::from_static("webhook-signature"), signature));
        // Receivers know it again by its id.
        let mut request = Request::post(self.url.clone(), self.auth.clone(), Effect::Idempotent);
        if self.is_url_secret {
            request = request.secret_url();
        }
        Ok(Request {
            headers,
            body: Body::Json(Bytes::from(payload)),
            ..request
        })
    }

    fn check_answer(&self, answer: &Response, what: &str) -> Result<(), AdapterError> {
        match answer.status {
            410 => Err(AdapterError::new(
                ErrorClass::Gone,
                format!("{what}: the endpoint is gone for good (410)"),
            )
            .with_status(410)
            .with_internal(answer.quote())),
            407 => Err(AdapterError::new(
                ErrorClass::Authentication,
                format!("{what}: the endpoint does not take the credentials"),
            )
            .with_status(407)
            .with_internal(answer.quote())),
            _ => answer.check(Effect::Idempotent, what),
        }
    }
}

/// A secret that signs.
fn signer(given: &str) -> Result<Signer, AdapterError> {
    Signer::parse("signing_secret", &SecretString::from(given))
}

/// When the previous secret no longer signs.
fn valid_until(given: &str) -> Result<DateTime<Utc>, AdapterError> {
    let parsed = DateTime::parse_from_rfc3339(given.trim());
    parsed.map(|time| time.with_timezone(&Utc)).map_err(|_| {
        let fault = "must be an RFC 3339 time, e.g. 2026-01-31T12:00:00Z";
        AdapterError::field("credentials.previous_valid_until", fault)
    })
}

/// A template: JSON, or text that is JSON.
fn template_of(given: &Value) -> Result<Value, String> {
    match given {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
        }
        other => Ok(other.clone()),
    }
}

/// Whether a template can be filled by some event.
fn template_fault(given: &Value) -> Result<(), String> {
    payload::placeholder_fault(&template_of(given)?).map_or(Ok(()), Err)
}

fn headers_fault(given: &Value) -> Result<(), String> {
    let Err(error) = headers(Some(given)) else {
        return Ok(());
    };
    let fault = error.public;
    Err(fault
        .strip_prefix("credentials.headers ")
        .unwrap_or(&fault)
        .to_owned())
}

/// Further headers, all of them secret.
fn headers(given: Option<&Value>) -> Result<Vec<(HeaderName, HeaderValue)>, AdapterError> {
    let fault = |text: String| AdapterError::field("credentials.headers", text);
    match given {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, value)| {
                let header = HeaderName::try_from(name.as_str())
                    .map_err(|_| fault(format!("{name:?} is not a header's name")))?;
                let own = [
                    "webhook-id",
                    "webhook-timestamp",
                    "webhook-signature",
                    "content-type",
                    "user-agent",
                    "host",
                    "content-length",
                ];
                if own.contains(&header.as_str()) {
                    return Err(fault(format!("{name} is set by the worker")));
                }
                let mut value = value
                    .as_str()
                    .and_then(|text| HeaderValue::from_str(text).ok())
                    .ok_or_else(|| fault(format!("the value of {name} is not a header's")))?;
                value.set_sensitive(true);
                Ok((header, value))
            })
            .collect(),
        Some(_) => Err(fault("must be an object of header names and values".into())),
    }
}

/// `webhook-id`: full stops separate the parts of what is signed, and marks have none. A command's files are a message
/// each.
fn message_id(operation: &Operation<'_>) -> String {
    let mark = operation.key().marker;
    match operation {
        Operation::Attach { file, .. } => {
            let name = hex::encode(Sha256::digest(&file.name));
            format!("msg_{mark}-{}", name.get(..12).unwrap_or_default())
        }
        Operation::Create { .. }
        | Operation::Update { .. }
        | Operation::Status { .. }
        | Operation::Assign { .. }
        | Operation::Comment { .. }
        | Operation::Delete { .. } => format!("msg_{mark}"),
    }
}

/// A receiver may say what it calls the thing: `id` and `url` of a JSON answer, by our convention.
fn receipt_of(operation: &Operation<'_>, id: String, answer: &Response) -> Receipt {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
    // What cannot be an id is no answer to us: the convention is ours, and the message is known by its own id.
    let id = text("id")
        .filter(|id| bounds::id_fault(id).is_none())
        .unwrap_or(id);
    match operation {
        Operation::Create { .. } => Receipt {
            external_id: Some(id),
            external_url: text("url"),
            ..Receipt::default()
        },
        Operation::Comment { .. } => Receipt {
            external_comment_id: Some(id),
            ..Receipt::default()
        },
        Operation::Attach { .. } => Receipt {
            external_attachment_id: Some(id),
            ..Receipt::default()
        },
        Operation::Update { .. }
        | Operation::Status { .. }
        | Operation::Assign { .. }
        | Operation::Delete { .. } => Receipt::default(),
    }
}

const fn what(operation: &Operation<'_>) -> &'static str {
    match operation {
        Operation::Create { .. } => "sending ticket.created",
        Operation::Update { .. } | Operation::Assign { .. } => "sending ticket.updated",
        Operation::Status { .. } => "sending ticket.status_changed",
        Operation::Comment { .. } => "sending ticket.comment_added",
        Operation::Attach { .. } => "sending ticket.attachment_added",
        Operation::Delete { .. } => "sending ticket.deleted",
    }
}

#[async_trait]
impl Adapter for Webhook {
    fn read(
        &self,
        operation: &Operation<'_>,
        _: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        self.check_answer(answer, what(operation))?;
        Ok(receipt_of(operation, message_id(operation), answer))
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        let now = Utc::now();
        let kind = match test {
            TestKind::Connection | TestKind::Authentication => "ping",
            TestKind::CreateTicket => "ticket.created",
            TestKind::Permissions => {
                return Err(AdapterError::unsupported(
                    "a webhook has no permissions that could be asked for",
                ));
            }
        };
        let id = format!("msg_test-{}", uuid::Uuid::now_v7());
        let data = Map::from_iter([("test".to_owned(), true.into())]);
        let answer = context
            .send(self.request(&id, &event(kind, now, &data), now)?)
            .await?;
        self.check_answer(&answer, &format!("sending {kind}"))?;
        Ok(CheckReport {
            message: format!("the endpoint took a signed {kind} ({})", answer.status),
            details: Map::from_iter([("webhook_id".to_owned(), id.into())]),
        })
    }

    fn plan(&self, operation: &Operation<'_>, _: &Known) -> Result<Plan, AdapterError> {
        if let Operation::Attach { file, .. } = operation
            && file.url.is_none()
        {
            let text = "a webhook is told where a file is, it is not sent the bytes: give a url in place of content_base64";
            return Err(AdapterError::unsupported(text));
        }
        let event = event_of(operation, &self.custom_fields);
        let request = self.request(&message_id(operation), &event, Utc::now())?;
        Ok(request.into())
    }

    fn protection(&self, _: OperationKind) -> Protection {
        Protection::Native
    }
}
