//! Pages of a channel's or of a thread's messages, and what is looked up on them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Bot;
use super::facts::ERRORS;
use super::item::{EVENT_TYPE, MessageRef};
use crate::platforms::api::{self, Page};
use crate::platforms::{
    AdapterError, CallContext, Effect, ErrorClass, File, Operation, OperationKind, Receipt,
    Request, Response,
};

/// Messages of a page; 999 is the most.
const PAGE: &str = "200";
/// Whose a token is does not change, and a workspace's address hardly ever does.
const IDENTITY_LIFE: Duration = Duration::from_secs(86_400);
/// Bytes of a page that are read: each message may be of 13,000 characters.
const PAGE_BYTES: usize = 8 << 20;
/// Pages that are read at most; more messages than that are not looked through.
pub(super) const PAGES_MAX: usize = 20;

/// Who the token belongs to.
#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    /// The workspace's address, with a slash at its end.
    #[serde(default)]
    pub(super) url: String,
    #[serde(default)]
    pub(super) team: String,
    #[serde(default)]
    pub(super) user: String,
    pub(super) bot_id: Option<String>,
}

/// A message as a listing shows it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Listed {
    pub(super) ts: String,
    /// Where the answer names it; listings are of one channel.
    channel: Option<String>,
    pub(super) thread_ts: Option<String>,
    pub(super) subtype: Option<String>,
    pub(super) bot_id: Option<String>,
    pub(super) user: Option<String>,
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) blocks: Value,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    pub(super) files: Vec<SharedFile>,
    pub(super) edited: Option<Edited>,
}

/// When a message was changed.
#[derive(Debug, Deserialize)]
pub(super) struct Edited {
    pub(super) ts: String,
}

/// A file as a message shows it.
#[derive(Debug, Deserialize)]
pub(super) struct SharedFile {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    title: String,
    pub(super) mimetype: Option<String>,
    pub(super) size: Option<u64>,
}

impl Listed {
    /// The marker that it carries.
    pub(super) fn marker(&self) -> Option<&str> {
        let marker = self.metadata["event_payload"]["mark"].as_str();
        marker.filter(|_| self.metadata["event_type"] == EVENT_TYPE)
    }

    /// Whether it may be ours: another app of the workspace can read our markers, and could copy
    /// one. Where one of the two has no id, nothing tells them apart.
    pub(super) fn may_be_by(&self, bot: Option<&str>) -> bool {
        match (self.bot_id.as_deref(), bot) {
            (Some(theirs), Some(ours)) => theirs == ours,
            (None, _) | (_, None) => true,
        }
    }

    /// Whether it is surely ours.
    pub(super) fn is_by(&self, bot: Option<&str>) -> bool {
        bot.is_some() && self.bot_id.as_deref() == bot
    }
}

/// The messages of a page, and where the next one begins.
pub(super) fn read_page(
    answer: &Response,
    what: &str,
) -> Result<(Vec<Listed>, Option<String>), AdapterError> {
    #[derive(Deserialize)]
    struct Listing {
        messages: Vec<Listed>,
        #[serde(default)]
        has_more: bool,
        #[serde(default)]
        response_metadata: Cursor,
    }
    ERRORS.check(answer, Effect::Read, what)?;
    let listing: Listing = answer.json(Effect::Read)?;
    let next = listing.response_metadata.next();
    if listing.has_more && next.is_none() {
        return Err(AdapterError::new(
            ErrorClass::Transient { retry_after: None },
            "Slack lists messages without saying where the next page begins",
        ));
    }
    Ok((listing.messages, next))
}

/// Where the next page of a listing begins.
#[derive(Default, Deserialize)]
pub(super) struct Cursor {
    #[serde(default)]
    next_cursor: String,
}

impl Cursor {
    pub(super) fn next(self) -> Option<String> {
        Some(self.next_cursor).filter(|cursor| !cursor.is_empty())
    }
}

/// The message with the marker among those of a page, if it is ours. A thread's listing begins with
/// its root, which is no reply.
fn marked(
    page: Vec<Listed>,
    marker: &str,
    root: Option<&MessageRef>,
    bot: Option<&str>,
) -> Result<Option<Listed>, AdapterError> {
    let is_it = |message: &Listed| {
        let is_reply = root.is_none_or(|root| root.ts != message.ts);
        is_reply && message.may_be_by(bot) && message.marker() == Some(marker)
    };
    if let Some(at) = page.iter().position(is_it) {
        return Ok(page.into_iter().nth(at));
    }
    // Our messages carry their markers, but for those that share files: where none shows one, a
    // marker that is not seen may be there.
    let mut ours = page
        .iter()
        .filter(|message| message.files.is_empty() && message.is_by(bot))
        .peekable();
    if ours.peek().is_some() && ours.all(|message| message.metadata.is_null()) {
        let text = "Slack lists our messages without their metadata, in which the marker is, so \
                    nothing is proved by them; the app may lack the scope metadata.message:read";
        return Err(AdapterError::unsupported(text));
    }
    Ok(None)
}

impl Bot {
    /// Who we are. It is asked once: see [`IDENTITY_LIFE`].
    pub(super) async fn identity(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Identity>, AdapterError> {
        let asked = self.asked_identity(context);
        context.recall("identity", IDENTITY_LIFE, asked).await
    }

    pub(super) async fn asked_identity(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Identity, AdapterError> {
        let request = self.identity_request()?;
        self.api.ask(context, request, "authenticating").await
    }

    pub(super) fn identity_request(&self) -> Result<Request, AdapterError> {
        let request = (self.api).request(Method::POST, &["auth.test"], Effect::Read)?;
        Ok(request.json(&json!({})))
    }

    /// The page of a message. Slack is asked once what a page's address begins with.
    pub(super) async fn permalink(
        &self,
        context: &CallContext<'_>,
        message: &MessageRef,
    ) -> Option<String> {
        let page = message.page();
        let link = async {
            // What is asked for first is a page, too.
            let mut asked = None;
            let beginning = async {
                let link = self.asked_permalink(context, message).await?;
                let beginning = link.strip_suffix(&page).map(str::to_owned);
                asked = Some(link);
                Ok(beginning)
            };
            let archives = context.recall("archives", IDENTITY_LIFE, beginning).await?;
            match (archives.as_ref(), asked) {
                (Some(archives), _) => Ok(format!("{archives}{page}")),
                // Of another form than expected: each page is asked for, once.
                (None, Some(link)) => Ok(link),
                (None, None) => self.asked_permalink(context, message).await,
            }
        };
        let link: Result<String, AdapterError> = link.await;
        link.inspect_err(|error| {
            tracing::info!(error = %error, "Slack gave no permalink; the ticket stays without one");
        })
        .ok()
    }

    async fn asked_permalink(
        &self,
        context: &CallContext<'_>,
        message: &MessageRef,
    ) -> Result<String, AdapterError> {
        #[derive(Deserialize)]
        struct Link {
            permalink: String,
        }
        let request = self.api.get(&["chat.getPermalink"])?;
        let request = request.query([("channel", &message.channel), ("message_ts", &message.ts)]);
        let link: Link = (self.api)
            .ask(context, request, "asking for the permalink")
            .await?;
        Ok(link.permalink)
    }

    /// A page of messages from `oldest` on: of a thread, oldest first and its root among them, or
    /// of the channel, newest first and without replies.
    pub(super) fn listing(
        &self,
        root: Option<&MessageRef>,
        oldest: &str,
        cursor: &str,
    ) -> Result<Request, AdapterError> {
        let (method, channel, ts) = match root {
            Some(root) => (
                "conversations.replies",
                root.channel.as_str(),
                root.ts.as_str(),
            ),
            None => ("conversations.history", self.channel.as_str(), ""),
        };
        let query = [
            ("channel", channel),
            ("ts", ts),
            ("oldest", oldest),
            ("inclusive", "true"),
            ("include_all_metadata", "true"),
            ("limit", PAGE),
            ("cursor", cursor),
        ];
        let said = query.into_iter().filter(|(_, value)| !value.is_empty());
        Ok(self.api.get(&[method])?.query(said).up_to(PAGE_BYTES))
    }

    /// The first thing on the pages of a listing that `pick` finds.
    async fn search<T: Send>(
        &self,
        context: &CallContext<'_>,
        root: Option<&MessageRef>,
        since: i64,
        pick: impl Fn(Vec<Listed>) -> Result<Option<T>, AdapterError> + Sync,
    ) -> Result<Option<T>, AdapterError> {
        let oldest = format!("{since}.000000");
        let listing = |cursor: &str| self.listing(root, &oldest, cursor);
        let (listing, pick) = (&listing, &pick);
        let read = |request: Request| async move {
            let answer = context.send(request).await?;
            let (messages, next) = read_page(&answer, "looking for what was made")?;
            Ok(Page {
                items: pick(messages)?.into_iter().collect(),
                next: next.map(|cursor| listing(&cursor)).transpose()?,
            })
        };
        api::find(PAGES_MAX, listing("")?, read, |_| true).await
    }

    /// What an earlier attempt of unknown outcome may have made.
    pub(super) async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let root = match operation.kind() {
            OperationKind::Create => None,
            OperationKind::Comment | OperationKind::Status | OperationKind::Attach => {
                Some(MessageRef::of(operation.ticket())?)
            }
            // Idempotent, or closed by a status: nothing to look for.
            OperationKind::Update | OperationKind::Assign | OperationKind::Delete => {
                return Ok(None);
            }
        };
        let me = self.identity(context).await?;
        let (root, bot) = (root.as_ref(), me.bot_id.as_deref());
        let key = operation.key();
        // A minute for clocks that differ.
        let since = key.received_at.timestamp() - 60;
        if let Operation::Attach { file, .. } = operation {
            let pick = |page: Vec<Listed>| Ok(shared(&page, file, bot));
            return self.search(context, root, since, pick).await;
        }
        let pick = |page: Vec<Listed>| marked(page, key.marker, root, bot);
        let found = self.search(context, root, since, pick).await?;
        Ok(found.map(|found| match root {
            None => MessageRef {
                channel: found.channel.unwrap_or_else(|| self.channel.clone()),
                ts: found.ts,
            }
            .receipt(),
            Some(_) => Receipt {
                external_comment_id: (operation.kind() == OperationKind::Comment)
                    .then_some(found.ts),
                ..Receipt::default()
            },
        }))
    }
}

/// A file of this name and size that we shared, among the messages of a page. Sharing is
/// asynchronous, so one that is not there may yet come.
fn shared(page: &[Listed], file: &File, bot: Option<&str>) -> Option<Receipt> {
    let ours = page.iter().filter(|message| message.may_be_by(bot));
    let mut files = ours.flat_map(|message| message.files.iter());
    let found = files.find(|shared| {
        (file.is_kept_as(&shared.name) || file.is_kept_as(&shared.title))
            && shared.size.is_none_or(|size| size == file.size)
    })?;
    Some(Receipt {
        external_attachment_id: Some(found.id.clone()),
        ..Receipt::default()
    })
}
