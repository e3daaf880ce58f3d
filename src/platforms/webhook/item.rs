//! The delivery of an operation: a signed request, and what its answer says.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Webhook;
use super::facts::NO_BYTES;
use super::payload::{event_of, fill};
use crate::platforms::{
    AdapterError, Body, Effect, ErrorClass, Operation, Receipt, Request, Response, bounds,
};

/// Bytes of a ticket's values that a template may be filled with.
const FILLED_MAX: usize = 8 << 20;
impl Webhook {
    /// The one request of an operation.
    pub(super) fn request_of(
        &self,
        operation: &Operation<'_>,
        now: DateTime<Utc>,
    ) -> Result<Request, AdapterError> {
        if let Operation::Attach { file, .. } = operation
            && file.url.is_none()
        {
            return Err(AdapterError::unsupported(NO_BYTES));
        }
        let event = event_of(operation, &self.fields);
        self.request(&message_id(operation), &event, now)
    }

    /// The signed request for an event.
    pub(super) fn request(
        &self,
        id: &str,
        event: &Value,
        now: DateTime<Utc>,
    ) -> Result<Request, AdapterError> {
        let payload = match &self.template {
            None => event.to_string(),
            Some(template) => {
                let mut left = FILLED_MAX;
                let fault =
                    "makes a payload of over 8 MiB of this ticket; let it name long values once";
                fill(template, event, &mut left)
                    .ok_or_else(|| AdapterError::field("settings.payload_template", fault))?
                    .to_string()
            }
        };
        let timestamp = now.timestamp().to_string();
        let signed = format!("{id}.{timestamp}.{payload}");
        let active = match self.previous_until {
            Some(until) if until <= now => &self.signers[..1],
            Some(_) | None => &self.signers[..],
        };
        let signatures = active.iter().map(|signer| signer.sign(signed.as_bytes()));
        let signatures: Vec<String> = signatures.collect::<Result<_, AdapterError>>()?;
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| {
                AdapterError::new(ErrorClass::Internal, "a webhook header cannot be built")
            })
        };
        let mut signature = value(&signatures.join(" "))?;
        signature.set_sensitive(true);
        let mut headers = self.headers.clone();
        headers.extend([
            (HeaderName::from_static("webhook-id"), value(id)?),
            (
                HeaderName::from_static("webhook-timestamp"),
                value(&timestamp)?,
            ),
            (HeaderName::from_static("webhook-signature"), signature),
        ]);
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
}

/// `webhook-id`: full stops separate the parts of what is signed, and markers have none. A
/// command's files are a message each.
fn message_id(operation: &Operation<'_>) -> String {
    let marker = operation.key().marker;
    match operation {
        Operation::Attach { file, .. } => {
            let name = hex::encode(Sha256::digest(&file.name));
            format!("msg_{marker}-{}", name.get(..12).unwrap_or_default())
        }
        Operation::Create { .. }
        | Operation::Update { .. }
        | Operation::Status { .. }
        | Operation::Assign { .. }
        | Operation::Comment { .. }
        | Operation::Delete { .. } => format!("msg_{marker}"),
    }
}

/// A receiver may say what it calls the thing: `id` and `url` of a JSON answer, by our convention.
pub(super) fn receipt_of(operation: &Operation<'_>, answer: &Response) -> Receipt {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
    // What cannot be an id is no answer to us: the convention is ours, and the message is known by
    // its own id.
    let id = text("id").filter(|id| bounds::id_fault(id).is_none());
    let id = Some(id.unwrap_or_else(|| message_id(operation)));
    let mut receipt = Receipt::default();
    match operation {
        Operation::Create { .. } => {
            receipt.external_id = id;
            receipt.external_url = text("url");
        }
        Operation::Comment { .. } => receipt.external_comment_id = id,
        Operation::Attach { .. } => receipt.external_attachment_id = id,
        Operation::Update { .. }
        | Operation::Status { .. }
        | Operation::Assign { .. }
        | Operation::Delete { .. } => {}
    }
    receipt
}
