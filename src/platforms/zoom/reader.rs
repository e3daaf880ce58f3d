//! What can be read back: a ticket's message with its thread, new messages, the channels; and the
//! checks.

use std::collections::HashSet;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use super::Zoom;
use super::facts::{HISTORY_DAYS, is_gone};
use super::item::Listing;
use super::words::{self, Channel, Made, Message, MessageRef, title_of};
use crate::platforms::api::{self, Page};
use crate::platforms::{
    AdapterError, CallContext, ChangePage, CheckReport, Effect, ErrorClass, ExternalItem, Facts,
    ItemRef, Moment, Order, PlatformField, Reader, Request, SyncFrom, TestKind,
};
use crate::telemetry::clock;

/// How far a listing goes back behind the last one's end: when a message shows is not documented.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);
/// How long the time of a listing is. A token for the next page lives 15 minutes.
const WINDOW: TimeDelta = TimeDelta::days(1);
/// Windows of a listing, at most: what goes far back has longer ones.
const WINDOWS_MAX: i32 = 30;
/// Channels of a page, and pages that are read.
const CHANNELS: &str = "50";
const CHANNEL_PAGES_MAX: usize = 40;

/// A part of the time that a listing goes over, and a page of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    /// Where the whole listing ends.
    pub(super) until: DateTime<Utc>,
    pub(super) token: String,
}

impl Window {
    /// The page that is asked for.
    pub(super) fn of(from: &SyncFrom<'_>, now: DateTime<Utc>) -> Self {
        if let Some(window) = from.page.and_then(Self::parse) {
            return window;
        }
        let mark = from.mark.and_then(moment);
        let oldest = now - TimeDelta::days(HISTORY_DAYS);
        let since = mark.or(from.since).map(|since| since - OVERLAP);
        let begin = since.map_or(oldest, |since| since.clamp(oldest, now));
        let length = ((now - begin) / WINDOWS_MAX).max(WINDOW);
        // Queries have whole seconds: what was posted within this one is listed, too.
        let until = now + TimeDelta::seconds(1);
        Self {
            from: begin,
            to: (begin + length).min(until),
            until,
            token: String::new(),
        }
    }

    fn parse(page: &str) -> Option<Self> {
        let mut parts = page.splitn(4, '-');
        let mut next = || moment(parts.next()?);
        let (from, to, until) = (next()?, next()?, next()?);
        Some(Self {
            from,
            to,
            until,
            token: parts.next()?.to_owned(),
        })
    }

    fn page(&self) -> String {
        let seconds = [self.from, self.to, self.until].map(|at| at.timestamp().to_string());
        format!("{}-{}", seconds.join("-"), self.token)
    }

    /// What follows: the next page of it, or the next window.
    pub(super) fn next(&self, token: Option<&str>) -> Option<String> {
        if let Some(token) = token {
            let token = token.to_owned();
            return Some(
                Self {
                    token,
                    ..self.clone()
                }
                .page(),
            );
        }
        (self.to < self.until).then(|| {
            let to = (self.to + (self.to - self.from)).min(self.until);
            let next = Self {
                from: self.to,
                to,
                until: self.until,
                token: String::new(),
            };
            next.page()
        })
    }

    /// Where the next listing may begin, once the last page of it was read.
    fn mark(&self, token: Option<&str>) -> Option<String> {
        token.is_none().then(|| self.to.timestamp().to_string())
    }
}

/// Seconds since 1970.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(text.parse().ok()?, 0)
}

/// A ticket by its message. Status and priority are in it, but nobody can change them there: they
/// are what we wrote, and no news.
pub(super) fn shown(root: &MessageRef, message: &Message) -> ExternalItem {
    ExternalItem {
        item: root.item(),
        at: message.at().map(Moment::exact),
        facts: Facts {
            title: title_of(message.text()),
            url: message.message_url.clone(),
            ..Facts::default()
        },
        marker: message.marker().map(str::to_owned),
        ..ExternalItem::default()
    }
}

#[async_trait]
impl Reader for Zoom {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let Some(root) = MessageRef::parse(&item.external_id) else {
            return Ok(None);
        };
        let answer = context.send(self.reading(&root)?).await?;
        if is_gone(&answer) {
            return Ok(None);
        }
        let what = "reading the message";
        let message: Message = self.api.take(&answer, Effect::Read, what)?;
        let me = self.identity(context).await?;
        let mut found = shown(&root, &message);
        let since = message.at().unwrap_or(DateTime::UNIX_EPOCH);
        let mut seen = HashSet::new();
        let read = |page: &[Message]| {
            for reply in page.iter().filter(|reply| reply.is_there()) {
                // A file of ours has no text that could say so.
                let is_ours = reply.marker().is_some()
                    || (reply.text().is_empty() && reply.is_by(&me) == Some(true));
                if !is_ours && seen.insert(reply.id.clone()) {
                    let says = !reply.text().is_empty();
                    found.comments.extend(says.then(|| reply.comment()));
                    found.files.extend(reply.shared());
                }
            }
            Ok(false)
        };
        self.thread(context, &root, since, read).await?;
        Ok(Some(found))
    }

    /// New messages that are tickets, a part of the time after the other. Replies come with
    /// [`Reader::get`]. Edits of older messages are listed nowhere: webhooks tell of them.
    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let mut window = Window::of(from, clock::now());
        let page = match self.window(context, &window).await {
            // The token has ended: the window is read from its beginning again.
            Err(error) if !window.token.is_empty() && is_refused(&error) => {
                window.token.clear();
                self.window(context, &window).await?
            }
            page => page?,
        };
        let me = self.identity(context).await?;
        let is_ticket = |message: &&Message| {
            let has_marker = message
                .marker()
                .is_some_and(|marker| marker.starts_with("tkt-"));
            has_marker
                && message.root.is_none()
                && message.is_there()
                && message.is_by(&me) != Some(false)
        };
        let tickets = page.messages.iter().filter(is_ticket);
        let items = tickets.map(|message| (MessageRef::new(&self.channel, &message.id), message));
        let (sound, unsound): (Vec<_>, Vec<_>) = items.partition(|(root, _)| root.is_one());
        let items = sound.iter().map(|(root, message)| shown(root, message));
        Ok(ChangePage {
            next: window.next(page.next()),
            mark: window.mark(page.next()),
            order: Order::None,
            unreadable: unsound.len(),
            ..ChangePage::of(items)
        })
    }

    /// The channels of the user.
    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        #[derive(Deserialize)]
        struct Channels {
            #[serde(default)]
            channels: Vec<Channel>,
            #[serde(default)]
            next_page_token: String,
        }
        let read = |request: Request| async move {
            let page: Channels = (self.api)
                .ask(context, request, "listing the channels")
                .await?;
            let next = Some(page.next_page_token).filter(|token| !token.is_empty());
            Ok(Page {
                items: page.channels,
                next: next
                    .map(|token| self.channels(CHANNELS, &token))
                    .transpose()?,
            })
        };
        let channels = api::all(CHANNEL_PAGES_MAX, self.channels(CHANNELS, "")?, read).await?;
        let wanted = search.unwrap_or_default().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let found = channels.into_iter();
        let found = found.filter(|channel| has(&channel.id) || has(&channel.name));
        Ok(found.map(field).collect())
    }
}

/// Whether an error is about the data of the request.
fn is_refused(error: &AdapterError) -> bool {
    matches!(error.class, ErrorClass::Validation { .. })
}

/// Kinds by number (docs/api/team-chat, "List a user's channels").
fn field(channel: Channel) -> PlatformField {
    let kind = channel.kind.map(|kind| match kind {
        1 | 2 => "private channel",
        3 | 5 => "public channel",
        4 => "group chat",
        _ => "channel",
    });
    PlatformField {
        id: channel.id,
        name: channel.name,
        kind: kind.map(str::to_owned),
        custom: false,
        required: false,
        allowed_values: Vec::new(),
    }
}

impl Zoom {
    async fn window(
        &self,
        context: &CallContext<'_>,
        window: &Window,
    ) -> Result<Listing, AdapterError> {
        let request = self.listing(window.from, window.to, &window.token)?;
        let what = "listing the channel";
        self.api.ask(context, request, what).await
    }

    /// A page of the channels that the user is in.
    fn channels(&self, size: &str, token: &str) -> Result<Request, AdapterError> {
        let request = self.api.get(&["chat", "users", &self.user, "channels"])?;
        let query = [("page_size", size), ("next_page_token", token)];
        Ok(request.query(query.into_iter().filter(|(_, value)| !value.is_empty())))
    }

    /// A check of an integration.
    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            TestKind::Connection => {
                let seen = self.asked(context, "reaching Zoom").await;
                let message = match seen {
                    Ok(()) => "Zoom answers",
                    Err(error) if error.class == ErrorClass::Authentication => {
                        "Zoom answers, but does not take the credentials"
                    }
                    Err(error) => return Err(error),
                };
                Ok(CheckReport::new(message, json!({})))
            }
            TestKind::Authentication => {
                self.asked(context, "authenticating").await?;
                let message = format!("Zoom takes the credentials; posts come from {}", self.user);
                Ok(CheckReport::new(&message, json!({ "user_id": self.user })))
            }
            TestKind::Permissions => self.permitted(context).await,
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    async fn asked(&self, context: &CallContext<'_>, what: &str) -> Result<(), AdapterError> {
        let answer = context.send(self.channels("1", "")?).await?;
        self.api.errors().check(&answer, Effect::Read, what)
    }

    /// Whether the channel is there, and its messages can be looked up.
    async fn permitted(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let request = self.api.get(&["chat", "channels", &self.channel])?;
        let what = "reading the channel";
        let channel: Channel = self.api.ask(context, request, what).await?;
        let now = clock::now();
        let request = self.listing(now - WINDOW, now, "")?;
        let what = "listing the channel";
        let _: Listing = self.api.ask(context, request, what).await?;
        let message = format!(
            "the channel {:?} is there, and its messages can be listed",
            channel.name
        );
        Ok(CheckReport::new(
            &message,
            json!({ "channel": channel.id, "name": channel.name }),
        ))
    }

    /// A message that is posted and taken away again.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let (request, body) = self.posting(&self.channel, &words::test(), None)?;
        let what = "posting the test message";
        let made: Made = self.api.ask(context, request.json(&body), what).await?;
        let message = MessageRef::new(&self.channel, &made.id);
        let request = self.removing(&message)?;
        let removed = self.api.tell(context, request, "removing it again").await;
        let said = match removed {
            Ok(_) => "posted a test message and removed it again".to_owned(),
            Err(error) => format!("posted a test message, which stays: {}", error.public),
        };
        Ok(CheckReport::new(&said, json!({ "message_id": made.id })))
    }
}
