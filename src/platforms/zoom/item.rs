//! The message of a ticket and its thread: the request of an operation, what the answer says, and
//! how a lost one is found.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Zoom;
use super::facts::{FILE_MAX, HISTORY_DAYS, IDENTITY_LIFE, IMAGE_MAX, READ_BY_ALL, UPLOAD_MAX};
use super::words::{self, Identity, Made, Message, MessageRef, Text, key_of, written};
use crate::domain::TicketView;
use crate::platforms::api::{self, Page};
use crate::platforms::{
    AdapterError, CallContext, Effect, ErrorClass, File, Finishing, Known, Operation,
    OperationKind, Part, PartlyDone, Plan, Receipt, Request, Response,
};
use crate::telemetry::clock;

/// What [`Known`] calls the id of an uploaded file.
const FILE_ID: &str = "file_id";
/// What details call the reply that says a new status.
const REPLY: &str = "status_reply";
const REMEDY: &str = "the ticket's message shows the status; ticket.comment can still tell it";
/// Messages of a page of a channel, and of a thread; bytes of one that are read.
const PAGE: &str = "50";
const THREAD_PAGE: usize = 100;
const PAGE_BYTES: usize = 4 << 20;
/// Pages that a look-up goes through.
const PAGES_MAX: usize = 20;
/// How far a message may seem older than its command: clocks differ, and seconds are whole.
const SLACK: TimeDelta = TimeDelta::minutes(5);
const NOT_PROVED: &str = "Zoom lists our messages without their text, in which the marker is, so \
                          nothing is proved by them";

/// A page of a channel's messages.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    #[serde(default)]
    pub(super) messages: Vec<Message>,
    #[serde(default)]
    next_page_token: String,
}

impl Listing {
    /// What names the next page.
    pub(super) fn next(&self) -> Option<&str> {
        Some(self.next_page_token.as_str()).filter(|token| !token.is_empty())
    }
}

/// A message's id as a part of a path. Zoom wants those with a slash or a plus encoded twice
/// (unconfirmed); the second time is the path's own.
fn part(id: &str) -> Cow<'_, str> {
    if id.contains(['/', '+']) {
        url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
    } else {
        Cow::Borrowed(id)
    }
}

fn root_of(ticket: &TicketView) -> Result<MessageRef, AdapterError> {
    MessageRef::of(ticket).ok_or_else(|| {
        let text = "the ticket has no message at Zoom: its external id is no channel's id, colon, \
                    message's id";
        AdapterError::new(ErrorClass::NotFound, text)
    })
}

/// The marker of a ticket's own message.
fn ticket_marker(ticket: &TicketView) -> String {
    format!("tkt-{}", ticket.id)
}

/// Whether a file is too large to be posted in one request.
fn is_large(file: &File) -> bool {
    let is_image = file.media_type.starts_with("image/");
    file.size > if is_image { IMAGE_MAX } else { FILE_MAX }
}

impl Zoom {
    /// A path of the user's messages.
    fn messages<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["chat", "users", self.user.as_str(), "messages"];
        path.extend(rest);
        path
    }

    /// A new message; with `root` a reply in its thread.
    pub(super) fn posting(
        &self,
        channel: &str,
        text: &Text,
        root: Option<&MessageRef>,
    ) -> Result<(Request, Value), AdapterError> {
        let mut body = text.body(channel);
        if let Some(root) = root {
            body["reply_main_message_id"] = root.id.as_str().into();
        }
        let request = self.api.make(Method::POST, &self.messages(&[]))?;
        Ok((request, body))
    }

    fn reply(&self, root: &MessageRef, text: &Text) -> Result<Request, AdapterError> {
        let (request, body) = self.posting(&root.channel, text, Some(root))?;
        Ok(request.json(&body))
    }

    /// The ticket's message as it is now. Answered with 204.
    fn rewriting(
        &self,
        ticket: &TicketView,
    ) -> Result<(Request, Map<String, Value>), AdapterError> {
        let root = root_of(ticket)?;
        let marker = ticket_marker(ticket);
        let text = words::ticket(ticket, self.ticket_url.as_deref(), &marker, false);
        let body = json!({ "message": text.message, "to_channel": root.channel });
        let request = self
            .api
            .set(Method::PUT, &self.messages(&[&part(&root.id)]))?;
        Ok((request.json(&body), text.left_out))
    }

    /// A file in a thread: by the host of files, or as a message with what was uploaded there.
    fn attaching(
        &self,
        root: &MessageRef,
        file: &File,
        marker: &str,
        known: &Known,
    ) -> Result<Request, AdapterError> {
        if file.size > UPLOAD_MAX {
            let fault = "is larger than Zoom takes: 1 GB";
            return Err(AdapterError::field("attachments", fault));
        }
        if is_large(file) {
            let id = known.text(FILE_ID);
            let id = id.unwrap_or("(the id of the uploaded file)");
            let text = words::file(&file.name, &file.key(marker));
            let (request, mut body) = self.posting(&root.channel, &text, Some(root))?;
            body["file_ids"] = json!([id]);
            return Ok(request.json(&body));
        }
        let request = self.files.make(Method::POST, &self.messages(&["files"]))?;
        Ok(request.multipart(vec![
            Part::text("to_channel", root.channel.as_str()),
            Part::text("reply_main_message_id", root.id.as_str()),
            Part::file("files", file),
        ]))
    }

    /// Uploads a file; its id. One that no message has is seen by nobody.
    async fn uploaded(
        &self,
        context: &CallContext<'_>,
        file: &File,
    ) -> Result<String, AdapterError> {
        let path = ["chat", "users", self.user.as_str(), "files"];
        let request = self.files.set(Method::POST, &path)?;
        let request = request
            .query([("postToPersonalChat", "false")])
            .multipart(vec![Part::file("file", file)]);
        let made: Made = (self.files)
            .ask(context, request, "uploading the file")
            .await?;
        Ok(made.id)
    }

    /// A status first shows in the ticket's message; the reply that tells it comes last.
    pub(super) async fn prepared(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Known, AdapterError> {
        match operation {
            Operation::Status { ticket, .. } => {
                let (request, left_out) = self.rewriting(ticket)?;
                self.api
                    .tell(context, request, "changing the message")
                    .await?;
                known.done = Some(PartlyDone {
                    receipt: Receipt {
                        details: left_out,
                        ..Receipt::default()
                    },
                    missing: REPLY,
                    remedy: REMEDY,
                });
            }
            Operation::Attach { file, .. } if is_large(file) && file.size <= UPLOAD_MAX => {
                let id = self.uploaded(context, file).await?;
                known.found.insert(FILE_ID.to_owned(), id.into());
            }
            Operation::Create { .. }
            | Operation::Update { .. }
            | Operation::Assign { .. }
            | Operation::Comment { .. }
            | Operation::Attach { .. }
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
        let marker = operation.key().marker;
        let (request, left_out) = match operation {
            Operation::Create { ticket, .. } => {
                let text = words::ticket(ticket, self.ticket_url.as_deref(), marker, true);
                let (request, body) = self.posting(&self.channel, &text, None)?;
                (request.json(&body), text.left_out)
            }
            Operation::Update { ticket, .. } | Operation::Assign { ticket, .. } => {
                self.rewriting(ticket)?
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                ..
            } => {
                let text = words::status(*status, *resolution_summary, marker);
                (self.reply(&root_of(ticket)?, &text)?, text.left_out)
            }
            Operation::Comment {
                ticket,
                body,
                public,
                ..
            } => {
                if !public && !self.internal_comments {
                    return Err(AdapterError::unsupported(READ_BY_ALL));
                }
                let line = if *public { "" } else { words::INTERNAL };
                let text = words::reply(line, Some(("body", body)), marker);
                (self.reply(&root_of(ticket)?, &text)?, text.left_out)
            }
            Operation::Attach { ticket, file, .. } => {
                let request = self.attaching(&root_of(ticket)?, file, marker, known)?;
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
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let posted = |what: &str| -> Result<String, AdapterError> {
            let made: Made = self.api.take(answer, Effect::Create, what)?;
            Ok(made.id)
        };
        match operation {
            Operation::Create { .. } => {
                let id = posted("posting the ticket")?;
                Ok(MessageRef::new(&self.channel, &id).receipt())
            }
            Operation::Update { .. } | Operation::Assign { .. } => {
                let errors = self.api.errors();
                errors.check(answer, Effect::Idempotent, "changing the message")?;
                Ok(Receipt::default())
            }
            Operation::Status { .. } => {
                posted("telling the status")?;
                Ok(Receipt::default())
            }
            Operation::Comment { .. } => Ok(commented(&posted("posting the comment")?)),
            Operation::Attach { .. } => Ok(attached(&posted("posting the file")?)),
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    /// The page of a new message. A failure costs the link and nothing else.
    pub(super) fn finishing<'a>(
        &'a self,
        context: &'a CallContext<'_>,
        operation: &Operation<'_>,
        receipt: &'a mut Receipt,
    ) -> Option<Finishing<'a>> {
        let is_new = operation.kind() == OperationKind::Create;
        let root = receipt.external_id.as_deref().filter(|_| is_new);
        let root = MessageRef::parse(root?)?;
        Some(Box::pin(async move {
            match self.read(context, &root).await {
                Ok(message) => receipt.external_url = message.message_url,
                Err(error) => {
                    let text = "Zoom gave no link; the ticket stays without one";
                    tracing::info!(error = %error, "{text}");
                }
            }
            Ok(())
        }))
    }

    /// What reads a message by its id.
    pub(super) fn reading(&self, message: &MessageRef) -> Result<Request, AdapterError> {
        let request = self.api.get(&self.messages(&[&part(&message.id)]))?;
        Ok(request.query([("to_channel", &message.channel)]))
    }

    async fn read(
        &self,
        context: &CallContext<'_>,
        message: &MessageRef,
    ) -> Result<Message, AdapterError> {
        let request = self.reading(message)?;
        self.api.ask(context, request, "reading the message").await
    }

    /// Takes a message away again.
    pub(super) fn removing(&self, message: &MessageRef) -> Result<Request, AdapterError> {
        let id = part(&message.id);
        let request = self.api.set(Method::DELETE, &self.messages(&[&id]))?;
        Ok(request.query([("to_channel", &message.channel)]))
    }

    /// Who the token acts as: asked once a day. An app without the scope for it may not know.
    pub(super) async fn identity(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Identity>, AdapterError> {
        let asked = async {
            let request = self.api.get(&["users", &self.user])?;
            let me = self.api.ask(context, request, "reading the user").await;
            match me {
                Err(error) if error.class == ErrorClass::Permission => Ok(Identity::default()),
                me => me,
            }
        };
        context.recall("zoom identity", IDENTITY_LIFE, asked).await
    }

    /// A page of the channel's messages of a time, without replies. Their order is not documented.
    pub(super) fn listing(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        token: &str,
    ) -> Result<Request, AdapterError> {
        let (from, to) = (written(from), written(to));
        let query = [
            ("to_channel", self.channel.as_str()),
            ("from", &from),
            ("to", &to),
            ("page_size", PAGE),
            ("exclude_child_message", "true"),
            ("next_page_token", token),
        ];
        let said = query.into_iter().filter(|(_, value)| !value.is_empty());
        let request = self.api.get(&self.messages(&[]))?.query(said);
        Ok(request.up_to(PAGE_BYTES))
    }

    /// Replies of a thread since a moment, the oldest first; `is_enough` sees each page. Threads
    /// have no pages of their own: the next one begins with the last second of the one before.
    pub(super) async fn thread(
        &self,
        context: &CallContext<'_>,
        root: &MessageRef,
        since: DateTime<Utc>,
        mut is_enough: impl FnMut(&[Message]) -> Result<bool, AdapterError> + Send,
    ) -> Result<(), AdapterError> {
        #[derive(Deserialize)]
        struct Thread {
            #[serde(default)]
            messages: Vec<Message>,
        }
        let too_many = || {
            let text =
                "the thread has more replies than are looked through, so nothing is proved by them";
            AdapterError::unsupported(text)
        };
        let size = THREAD_PAGE.to_string();
        let mut from = since.max(clock::now() - TimeDelta::days(HISTORY_DAYS));
        for _ in 0..PAGES_MAX {
            let begin = written(from);
            let request = self
                .api
                .get(&self.messages(&[&part(&root.id), "thread"]))?
                .query([
                    ("to_channel", root.channel.as_str()),
                    ("from", &begin),
                    ("limit", &size),
                    ("sort", "asc"),
                    ("need_attachment", "true"),
                ]);
            let request = request.up_to(PAGE_BYTES);
            let mut page: Thread = (self.api)
                .ask(context, request, "reading the thread")
                .await?;
            let is_last = page.messages.len() < THREAD_PAGE;
            let last = page.messages.last().and_then(Message::at);
            page.messages.retain(|reply| reply.id != root.id);
            if is_enough(&page.messages)? || is_last {
                return Ok(());
            }
            // More than a page within one second cannot be told apart.
            let next = last.filter(|last| last.timestamp() > from.timestamp());
            from = next.ok_or_else(too_many)?;
        }
        Err(too_many())
    }

    /// What an earlier attempt of unknown outcome may have made.
    pub(super) async fn found(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let key = operation.key();
        let since = key.received_at - SLACK;
        let marked = |marker: &str| Wanted::Marker(marker.to_owned());
        let (wanted, made): (Wanted<'_>, fn(&str) -> Receipt) = match operation {
            Operation::Create { .. } => return self.found_root(context, key.marker, since).await,
            Operation::Comment { .. } => (marked(key.marker), commented),
            Operation::Status { .. } => (marked(key.marker), |_| Receipt::default()),
            Operation::Attach { file, .. } if is_large(file) => {
                (marked(&file.key(key.marker)), attached)
            }
            Operation::Attach { file, .. } => (Wanted::File(file), attached),
            // Idempotent, or closed by a status: nothing to look for.
            Operation::Update { .. } | Operation::Assign { .. } | Operation::Delete { .. } => {
                return Ok(None);
            }
        };
        let me = self.identity(context).await?;
        let root = root_of(operation.ticket())?;
        let mut found = None;
        let look = |page: &[Message]| {
            found = wanted.among(page, &me)?.map(|message| made(&message.id));
            Ok(found.is_some())
        };
        self.thread(context, &root, since, look).await?;
        Ok(found)
    }

    async fn found_root(
        &self,
        context: &CallContext<'_>,
        marker: &str,
        since: DateTime<Utc>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let me = self.identity(context).await?;
        let (me, wanted) = (&me, &Wanted::Marker(marker.to_owned()));
        let until = clock::now() + SLACK;
        let read = |request: Request| async move {
            let page: Listing = (self.api)
                .ask(context, request, "looking for the message")
                .await?;
            let found = wanted.among(&page.messages, me)?.map(|one| one.id.clone());
            let next = page.next().map(|token| self.listing(since, until, token));
            Ok(Page {
                items: found.into_iter().collect(),
                next: next.transpose()?,
            })
        };
        let first = self.listing(since, until, "")?;
        let found = api::find(PAGES_MAX, first, read, |_| true).await?;
        Ok(found.map(|id| MessageRef::new(&self.channel, &id).receipt()))
    }

    /// Whether a status shows whose reply could not be posted.
    pub(super) async fn partly_done(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let Operation::Status { ticket, .. } = operation else {
            return Ok(None);
        };
        let marker = ticket_marker(ticket);
        let wanted = words::ticket(ticket, self.ticket_url.as_deref(), &marker, false);
        let message = self.read(context, &root_of(ticket)?).await?;
        let text = format!("not posted: no attempt is left; {REMEDY}");
        Ok((message.text() == wanted.message).then(|| Receipt {
            details: Map::from_iter([(REPLY.to_owned(), text.into())]),
            ..Receipt::default()
        }))
    }
}

/// Which of our messages is looked for.
enum Wanted<'a> {
    Marker(String),
    /// What was posted with it has no text.
    File(&'a File),
}

impl Wanted<'_> {
    /// The one among those of a page. Another user could have copied one of ours.
    fn among<'m>(
        &self,
        page: &'m [Message],
        me: &Identity,
    ) -> Result<Option<&'m Message>, AdapterError> {
        let is_it = |message: &&Message| match self {
            Self::Marker(marker) => message.marker() == Some(marker),
            Self::File(file) => message.files.iter().any(|shared| {
                file.is_kept_as(&shared.file_name)
                    && shared.file_size.is_none_or(|size| size == file.size)
            }),
        };
        let may_be_ours = |message: &&Message| message.is_by(me) != Some(false);
        let found = page.iter().filter(may_be_ours).find(is_it);
        if found.is_none() && matches!(self, Self::Marker(_)) {
            let ours = page
                .iter()
                .filter(|message| message.is_by(me) == Some(true));
            let mut texts = ours.filter(|message| message.files.is_empty()).peekable();
            let is_blind = |message: &Message| message.text().trim().is_empty();
            if texts.peek().is_some() && texts.all(is_blind) {
                return Err(AdapterError::unsupported(NOT_PROVED));
            }
        }
        Ok(found)
    }
}

fn commented(id: &str) -> Receipt {
    Receipt {
        external_comment_id: Some(key_of(id)),
        ..Receipt::default()
    }
}

fn attached(id: &str) -> Receipt {
    Receipt {
        external_attachment_id: Some(key_of(id)),
        ..Receipt::default()
    }
}
