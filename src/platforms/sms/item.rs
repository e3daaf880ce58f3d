//! The message of an operation: its request, what the answer says, and how a lost one is found.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::facts::{NO_BYTES, READ_BY_RECIPIENT, VERSION};
use super::words::{self, Sent, Text};
use super::{Sender, Sms, plain};
use crate::domain::TicketView;
use crate::platforms::moments::http_date;
use crate::platforms::text::segments;
use crate::platforms::{
    AdapterError, CallContext, DedupKey, Effect, ItemRef, Moment, Operation, OperationKind, Plan,
    Receipt, Request, Response,
};

/// Messages of a page (at most 1,000), and bytes of one that are read.
const PAGE: &str = "200";
const PAGE_BYTES: usize = 4 << 20;
/// Pages that a look-up goes through.
pub(super) const PAGES_MAX: usize = 20;
/// How far a message may seem older than its command: clocks differ, and seconds are whole. A
/// ticket's first message may be another command's.
const SLACK: TimeDelta = TimeDelta::minutes(5);
const SLACK_OF_CREATE: TimeDelta = TimeDelta::hours(24);
/// States from which no message arrives (Twilio, "Message status values").
const LOST: [&str; 3] = ["failed", "undelivered", "canceled"];

/// A message as Twilio shows it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Message {
    pub(super) sid: String,
    pub(super) body: Option<String>,
    status: Option<String>,
    pub(super) direction: Option<String>,
    #[serde(default)]
    error_code: Value,
    error_message: Option<String>,
    date_created: Option<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) messaging_service_sid: Option<String>,
    #[serde(default)]
    num_media: Value,
}

impl Message {
    pub(super) fn text(&self) -> &str {
        self.body.as_deref().unwrap_or_default()
    }

    /// Whether it was sent by the API.
    pub(super) fn is_sent(&self) -> bool {
        self.direction.as_deref() == Some("outbound-api")
    }

    /// When it was made, in whole seconds.
    pub(super) fn created(&self) -> Option<DateTime<Utc>> {
        http_date(self.date_created.as_deref()?)
    }

    pub(super) fn at(&self) -> Option<Moment> {
        self.created().map(Moment::second)
    }

    /// Whether its text was taken away, or is not shown to us.
    fn is_blank(&self) -> bool {
        self.text().trim().is_empty() && plain(&self.num_media).is_none_or(|count| count == "0")
    }

    /// What Twilio says of it, for people.
    fn details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        details.insert("segments".to_owned(), segments(self.text()).into());
        if let Some(status) = &self.status {
            details.insert("message_status".to_owned(), status.as_str().into());
        }
        let code = plain(&self.error_code);
        let is_lost = self
            .status
            .as_deref()
            .is_some_and(|status| LOST.contains(&status));
        if is_lost || code.is_some() {
            let code = code.unwrap_or_else(|| "no code".to_owned());
            let why = self
                .error_message
                .as_deref()
                .unwrap_or("no reason is given");
            let said = format!("Twilio took the message and did not deliver it ({code}): {why}");
            details.insert("not_delivered".to_owned(), said.into());
        }
        details
    }

    /// What an operation gets, whose message it is.
    fn receipt(&self, operation: &Operation<'_>) -> Receipt {
        let id = || Some(self.sid.clone());
        let mut receipt = Receipt {
            details: self.details(),
            ..Receipt::default()
        };
        match operation {
            Operation::Create { key, .. } => {
                receipt.external_id = id();
                receipt.external_ref = Map::from_iter([
                    ("sid".to_owned(), self.sid.as_str().into()),
                    ("ref".to_owned(), words::reference(key.marker).into()),
                ]);
            }
            Operation::Comment { .. } => receipt.external_comment_id = id(),
            Operation::Attach { .. } => receipt.external_attachment_id = id(),
            Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Delete { .. } => {}
        }
        receipt
    }
}

/// How a ticket's item is called, by its reference and its first message, where that is known.
pub(super) fn item(reference: &str, first: Option<&str>) -> ItemRef {
    ItemRef {
        external_id: first.unwrap_or(reference).to_owned(),
        stable_id: Some(reference.to_owned()),
    }
}

/// Which messages are listed: those to the recipient, or those from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
}

/// A page of messages, the newest first, and the query of the next one.
pub(super) type Listed = (Vec<Message>, Option<String>);

impl Sms {
    /// A path of the account's.
    pub(super) fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec![VERSION, "Accounts", self.account.as_str()];
        path.extend(rest);
        path
    }

    /// The request that sends a text.
    pub(super) fn sending(
        &self,
        body: &str,
        media: Option<String>,
    ) -> Result<Request, AdapterError> {
        let (name, sender) = match &self.sender {
            Sender::Number(number) => ("From", number),
            Sender::Service(service) => ("MessagingServiceSid", service),
        };
        let mut form = vec![
            ("To", self.to.clone()),
            (name, sender.clone()),
            ("Body", body.to_owned()),
        ];
        form.extend(media.map(|url| ("MediaUrl", url)));
        let request = self
            .api
            .make(Method::POST, &self.path(&["Messages.json"]))?;
        Ok(request.open_form(form))
    }

    fn text_of(&self, operation: &Operation<'_>) -> Result<Text, AdapterError> {
        words::text(operation, &self.to, self.segments_max).ok_or_else(|| {
            let fault = "has an address that is longer than a message: settings.max_segments \
                         allows more";
            AdapterError::field("attachments", fault)
        })
    }

    /// The one request of an operation.
    pub(super) fn plan_of(&self, operation: &Operation<'_>) -> Result<Plan, AdapterError> {
        let mut media = None;
        match operation {
            Operation::Delete { .. } => return Err(AdapterError::closes()),
            Operation::Comment { public: false, .. } if !self.internal_comments => {
                return Err(AdapterError::unsupported(READ_BY_RECIPIENT));
            }
            Operation::Attach { file, .. } => match words::sent(file, &self.to) {
                Sent::Nowhere => return Err(AdapterError::unsupported(NO_BYTES)),
                Sent::Media(url) => media = Some(url),
                Sent::Link(_) => {}
            },
            _ => {}
        }
        let Text { body, left_out } = self.text_of(operation)?;
        Ok(Plan {
            request: self.sending(&body, media)?.into(),
            left_out,
        })
    }

    /// What the answer to it says.
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let what = "sending the message";
        let message: Message = self.api.take(answer, Effect::Create, what)?;
        Ok(message.receipt(operation))
    }

    /// The title that the first message of a ticket shows.
    pub(super) fn title_sent(&self, ticket: &TicketView) -> Option<String> {
        let key = DedupKey {
            marker: "",
            received_at: DateTime::UNIX_EPOCH,
        };
        let create = Operation::Create { ticket, key };
        let text = words::text(&create, &self.to, self.segments_max)?;
        words::title_of(&text.body)
    }

    /// A page of messages. Its address is ours whatever Twilio says of the next one's: only the
    /// query is taken, so that the credentials go nowhere else.
    pub(super) async fn listed(
        &self,
        context: &CallContext<'_>,
        way: Way,
        query: Option<&str>,
    ) -> Result<Listed, AdapterError> {
        #[derive(Deserialize)]
        struct Listing {
            messages: Vec<Message>,
            next_page_uri: Option<String>,
        }
        let request = self.api.get(&self.path(&["Messages.json"]))?;
        let request = match query {
            Some(query) => request.query(url::form_urlencoded::parse(query.as_bytes())),
            None => {
                let of = match way {
                    Way::Out => "To",
                    Way::In => "From",
                };
                request.query([(of, self.to.as_str()), ("PageSize", PAGE)])
            }
        };
        let what = "listing the messages";
        let listing: Listing = (self.api)
            .ask(context, request.up_to(PAGE_BYTES), what)
            .await?;
        let next = listing.next_page_uri.as_deref();
        let next = next.and_then(|link| link.split_once('?'));
        let next = next.map(|(_, query)| query.to_owned());
        Ok((listing.messages, next))
    }

    /// The first message to the recipient that is wanted, the newest first, of those that are not
    /// older than `since`. The second value says whether all of them were seen.
    pub(super) async fn first_sent(
        &self,
        context: &CallContext<'_>,
        since: Option<DateTime<Utc>>,
        mut is_wanted: impl FnMut(&Message) -> Result<bool, AdapterError> + Send,
    ) -> Result<(Option<Message>, bool), AdapterError> {
        let mut query = None;
        for _ in 0..PAGES_MAX {
            let (messages, next) = self.listed(context, Way::Out, query.as_deref()).await?;
            for message in messages {
                let is_older = |since| message.created().is_some_and(|at| at < since);
                if since.is_some_and(is_older) {
                    return Ok((None, true));
                }
                if is_wanted(&message)? {
                    return Ok((Some(message), true));
                }
            }
            if next.is_none() {
                return Ok((None, true));
            }
            query = next;
        }
        Ok((None, false))
    }

    /// The message of an operation among those that were sent since its command came. A file's is
    /// known by its whole text.
    pub(super) async fn found(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let slack = match operation.kind() {
            OperationKind::Create => SLACK_OF_CREATE,
            _ => SLACK,
        };
        let since = operation.key().received_at - slack;
        let tail = words::tail(operation);
        let whole = match operation {
            Operation::Attach { .. } => Some(self.text_of(operation)?.body),
            _ => None,
        };
        let mut blank = false;
        let is_it = |message: &Message| {
            blank |= message.is_sent() && message.is_blank();
            let text = message.text().trim_end();
            let before = text.strip_suffix(tail.as_str());
            let ends_so = before.is_some_and(|before| before.is_empty() || before.ends_with(' '));
            let is_whole = whole.as_deref().is_none_or(|whole| whole == text);
            Ok(message.is_sent() && ends_so && is_whole)
        };
        let (found, all) = self.first_sent(context, Some(since), is_it).await?;
        if let Some(message) = found {
            return Ok(Some(message.receipt(operation)));
        }
        if blank {
            let text = "Twilio lists messages without their text, in which the reference is, so \
                        nothing is proved by them; message redaction may be on";
            return Err(AdapterError::unsupported(text));
        }
        if !all {
            let text = "more messages were sent to the number than are looked through, so \
                        nothing is proved by them";
            return Err(AdapterError::unsupported(text));
        }
        Ok(None)
    }
}
