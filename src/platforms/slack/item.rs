//! The message of a ticket and its thread: what is asked for each operation, and what the answers
//! say.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::facts::{ERRORS, HOOK_ERRORS, READ_BY_ALL};
use super::message::{self, Shown};
use super::{Bot, Slack, Way};
use crate::domain::TicketView;
use crate::platforms::{
    AdapterError, Auth, Body, CallContext, Effect, ErrorClass, File, ItemRef, Known, Operation,
    Plan, Receipt, Request, Response,
};

/// Marks our messages among those with metadata.
pub(super) const EVENT_TYPE: &str = "ticketwire_ticket";
/// What [`Known`] calls the id of an uploaded file.
const FILE_ID: &str = "file_id";

/// A message, by what is unique together. `ts` is text with six decimals, never a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct MessageRef {
    pub(super) channel: String,
    pub(super) ts: String,
}

impl MessageRef {
    /// The ticket's message: as remembered, or read from the id that people quote.
    pub(super) fn of(ticket: &TicketView) -> Result<Self, AdapterError> {
        let not_found = |text: &str| AdapterError::new(ErrorClass::NotFound, text);
        let quoted = || Self::parse(ticket.external_id.as_deref()?);
        let message = Self::remembered(&ticket.external_ref)
            .or_else(quoted)
            .ok_or_else(|| not_found("the ticket has no message in Slack"))?;
        if !message.is_one() {
            let text = "the ticket's external id names no message in Slack (a channel's id, a \
                        colon, a time)";
            return Err(not_found(text));
        }
        Ok(message)
    }

    /// A message by the id that people quote.
    pub(super) fn parse(external_id: &str) -> Option<Self> {
        let (channel, ts) = external_id.split_once(':')?;
        Some(Self {
            channel: channel.to_owned(),
            ts: ts.to_owned(),
        })
    }

    pub(super) fn remembered(external_ref: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| external_ref.get(name)?.as_str().map(str::to_owned);
        Some(Self {
            channel: text("channel")?,
            ts: text("ts")?,
        })
    }

    /// Whether these can be a channel and a time.
    pub(super) fn is_one(&self) -> bool {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_#".contains(&b);
        let has_channel = !self.channel.is_empty() && self.channel.bytes().all(fits);
        has_channel && is_time(&self.ts)
    }

    /// How the item is called.
    pub(super) fn item(&self) -> ItemRef {
        ItemRef {
            external_id: format!("{}:{}", self.channel, self.ts),
            stable_id: Some(self.ts.clone()),
        }
    }

    /// The end of its page's address, behind `…/archives/`.
    pub(super) fn page(&self) -> String {
        format!("{}/p{}", self.channel, self.ts.replace('.', ""))
    }

    pub(super) fn receipt(&self) -> Receipt {
        let text = |text: &str| Value::from(text);
        Receipt {
            external_id: Some(self.item().external_id),
            external_ref: Map::from_iter([
                ("channel".to_owned(), text(&self.channel)),
                ("ts".to_owned(), text(&self.ts)),
            ]),
            ..Receipt::default()
        }
    }
}

/// Whether this can be a `ts`.
pub(super) fn is_time(ts: &str) -> bool {
    !ts.is_empty() && ts.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

impl Slack {
    /// The bytes of a file, and the message as it is after a change of status: the reply that says
    /// so comes last.
    pub(super) async fn prepared(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Known, AdapterError> {
        match operation {
            Operation::Attach { file, .. } => {
                let id = self.bot()?.upload(context, file).await?;
                known.found.insert(FILE_ID.into(), id.into());
            }
            Operation::Status { ticket, .. } => {
                let bot = self.bot()?;
                let shown = self.style.ticket(ticket);
                let request = bot.rewrite(&MessageRef::of(ticket)?, &shown)?;
                bot.api
                    .tell(context, request, "updating the message")
                    .await?;
                known.details = shown.left_out;
            }
            Operation::Create { .. }
            | Operation::Update { .. }
            | Operation::Assign { .. }
            | Operation::Comment { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(known)
    }

    /// The one request of an operation.
    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let (request, left_out) = match operation {
            Operation::Create { ticket, key } => {
                let shown = self.style.ticket(ticket);
                let request = match &self.way {
                    Way::Hook(url) => hook(url, &shown),
                    Way::Bot(bot) => bot.post(&bot.channel, &shown, |body| {
                        body["metadata"] = metadata(key.marker);
                    })?,
                };
                (request, shown.left_out)
            }
            Operation::Update { ticket, .. } | Operation::Assign { ticket, .. } => {
                let shown = self.style.ticket(ticket);
                let request = self.bot()?.rewrite(&MessageRef::of(ticket)?, &shown)?;
                (request, shown.left_out)
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => {
                let text = message::status_text(*status, *resolution_summary);
                let shown = message::reply("resolution_summary", &text)?;
                let root = MessageRef::of(ticket)?;
                let broadcast = self.broadcast_status;
                let request = self.bot()?.reply(&root, &shown, key.marker, broadcast)?;
                (request, shown.left_out)
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => {
                if !public && !self.internal_comments {
                    return Err(AdapterError::unsupported(READ_BY_ALL));
                }
                let shown = message::reply("body", body)?;
                let root = MessageRef::of(ticket)?;
                let request = self.bot()?.reply(&root, &shown, key.marker, false)?;
                (request, shown.left_out)
            }
            Operation::Attach { ticket, file, .. } => {
                let id = known.text(FILE_ID);
                let id = id.unwrap_or("(the id of the uploaded file)");
                let request = self.bot()?.share(&MessageRef::of(ticket)?, id, file)?;
                (request, Map::new())
            }
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(Plan {
            request: request.into(),
            left_out,
        })
    }

    /// What the answer to it says.
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let posted = |what: &str| -> Result<MessageRef, AdapterError> {
            self.bot()?.api.take(answer, Effect::Create, what)
        };
        match (operation, &self.way) {
            // Nothing comes back; the ticket is bound by its marker all the same.
            (Operation::Create { key, .. }, Way::Hook(_)) => {
                read_hook(answer, Effect::Create)?;
                Ok(Receipt {
                    external_id: Some(key.marker.to_owned()),
                    ..Receipt::default()
                })
            }
            (Operation::Create { .. }, Way::Bot(_)) => Ok(posted("posting the ticket")?.receipt()),
            (Operation::Update { .. } | Operation::Assign { .. }, _) => {
                ERRORS.check(answer, Effect::Idempotent, "updating the message")?;
                Ok(Receipt::default())
            }
            (Operation::Status { .. }, _) => {
                posted("announcing the status")?;
                Ok(Receipt::default())
            }
            (Operation::Comment { .. }, _) => Ok(Receipt {
                external_comment_id: Some(posted("posting the comment")?.ts),
                ..Receipt::default()
            }),
            (Operation::Attach { .. }, _) => {
                ERRORS.check(answer, Effect::Create, "sharing the file")?;
                Ok(Receipt {
                    external_attachment_id: known.text(FILE_ID).map(str::to_owned),
                    ..Receipt::default()
                })
            }
            (Operation::Delete { .. }, _) => Err(AdapterError::closes()),
        }
    }
}

impl Bot {
    /// A new message in a channel; `complete` adds what it is besides its contents.
    pub(super) fn post(
        &self,
        channel: &str,
        shown: &Shown,
        complete: impl FnOnce(&mut Value),
    ) -> Result<Request, AdapterError> {
        let mut body = new_contents(shown);
        body["channel"] = channel.into();
        complete(&mut body);
        let request = self.api.make(Method::POST, &["chat.postMessage"])?;
        Ok(request.json(&body))
    }

    /// A reply in a thread, with its marker.
    fn reply(
        &self,
        root: &MessageRef,
        shown: &Shown,
        marker: &str,
        broadcast: bool,
    ) -> Result<Request, AdapterError> {
        self.post(&root.channel, shown, |body| {
            body["thread_ts"] = root.ts.as_str().into();
            body["metadata"] = metadata(marker);
            if broadcast {
                body["reply_broadcast"] = true.into();
            }
        })
    }

    /// The message written anew. Its metadata stays, as it is not named.
    fn rewrite(&self, message: &MessageRef, shown: &Shown) -> Result<Request, AdapterError> {
        let mut body = shown.contents();
        body["channel"] = message.channel.as_str().into();
        body["ts"] = message.ts.as_str().into();
        let request = self.api.set(Method::POST, &["chat.update"])?;
        Ok(request.json(&body))
    }

    /// Shares an uploaded file in a thread.
    fn share(&self, root: &MessageRef, id: &str, file: &File) -> Result<Request, AdapterError> {
        let body = json!({
            "files": [{ "id": id, "title": file.name }], "channel_id": root.channel,
            "thread_ts": root.ts,
        });
        let path = ["files.completeUploadExternal"];
        Ok(self.api.make(Method::POST, &path)?.json(&body))
    }

    /// A place for a file, and the bytes: the id by which it is shared. A file that is not shared
    /// is seen by nobody, and Slack forgets it.
    async fn upload(&self, context: &CallContext<'_>, file: &File) -> Result<String, AdapterError> {
        #[derive(Deserialize)]
        struct Upload {
            upload_url: Url,
            file_id: String,
        }
        // A place that nothing is put into is forgotten: asking changes nothing.
        let path = ["files.getUploadURLExternal"];
        let request = self.api.request(Method::POST, &path, Effect::Read)?;
        let form = [
            ("filename", file.name.clone()),
            ("length", file.size.to_string()),
        ];
        let form = form.map(|(name, value)| (name.to_owned(), value.into()));
        let request = request.form(form.into());
        let upload: Upload = (self.api)
            .ask(context, request, "asking for an upload")
            .await?;
        // The address is a credential for the place.
        let request = Request::post(upload.upload_url, Auth::None, Effect::Idempotent).secret_url();
        let request = Request {
            body: Body::Raw(file.clone()),
            ..request
        };
        // It answers with plain HTTP.
        let answer = context.send(request).await?;
        let taken = answer.check(Effect::Idempotent, "uploading the file");
        taken.map_err(|error| AdapterError {
            internal: None,
            ..error
        })?;
        Ok(upload.file_id)
    }
}

/// A message's metadata with its marker.
fn metadata(marker: &str) -> Value {
    json!({ "event_type": EVENT_TYPE, "event_payload": { "mark": marker } })
}

/// The contents of a new message, whose links are shown as links and nothing more.
fn new_contents(shown: &Shown) -> Value {
    let mut body = shown.contents();
    body["unfurl_links"] = false.into();
    body["unfurl_media"] = false.into();
    body
}

/// A message by an incoming webhook.
pub(super) fn hook(url: &Url, shown: &Shown) -> Request {
    Request::post(url.clone(), Auth::None, Effect::Create)
        .json(&new_contents(shown))
        .secret_url()
}

/// Whether an incoming webhook took a message.
pub(super) fn read_hook(answer: &Response, effect: Effect) -> Result<(), AdapterError> {
    let what = "posting by the incoming webhook";
    HOOK_ERRORS.check(answer, effect, what)?;
    // The one answer of a hook that took a message.
    if HOOK_ERRORS.said(answer).codes == ["ok"] {
        return Ok(());
    }
    let class = match effect {
        Effect::Create => ErrorClass::Unknown,
        Effect::Read | Effect::Idempotent => ErrorClass::Transient { retry_after: None },
    };
    let status = answer.status;
    let text = format!("{what}: answered {status} without the \"ok\" of Slack");
    Err(AdapterError::new(class, text)
        .with_status(status)
        .with_internal(answer.quote()))
}
