//! What can be read back: a ticket's message with what people replied, what changed in the channel,
//! the channels. And the checks.

use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Graph;
use super::facts::ERRORS;
use super::item;
use super::listing::{Me, PAGE_BYTES, PAGES_MAX, Page};
use super::message;
use super::words::{Attachment, Message, MessageRef, messages, written};
use crate::platforms::api;
use crate::platforms::text::without_tags;
use crate::platforms::{
    Actor, AdapterError, CallContext, ChangePage, CheckReport, Effect, ErrorClass, ExternalComment,
    ExternalFile, ExternalItem, Facts, ItemRef, Moment, Order, PlatformField, Reader, Request,
    Response, SyncFrom, TestKind,
};

/// How far a listing looks back beyond the last one: what was under way then.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);
/// How long the test card of a flow answers for all checks of one test: each would post one.
const TESTED: Duration = Duration::from_secs(5);
const TEST: &str = "A test message of Ticketwire. It can be deleted.";

#[async_trait]
impl Reader for Graph {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let Some(root) = MessageRef::parse(&item.external_id, &self.team) else {
            return Ok(None);
        };
        if root.channel != self.channel {
            let text = "the message is in another channel than settings.channel_id";
            return Err(AdapterError::unsupported(text));
        }
        let me = self.identity(context).await?;
        let request = self.api.get(&root.path(&[]))?.up_to(PAGE_BYTES);
        let answer = context.send(request).await?;
        if is_gone(&answer) {
            return Ok(None);
        }
        let what = "reading the message";
        let message: Message = self.api.take(&answer, Effect::Read, what)?;
        let message = message.sound(Effect::Read)?;
        if !message.is_said() {
            return Ok(None);
        }
        let read = |request: Request| async move {
            let answer = context.send(request.clone()).await?;
            let (items, next) = self.read_page(&request, &answer, "reading the replies")?;
            Ok(api::Page { items, next })
        };
        let replies = api::all(PAGES_MAX, self.listed(Some(&root))?, read).await?;
        let said: Vec<&Message> = replies.iter().filter(|reply| is_news(reply, &me)).collect();
        Ok(Some(ExternalItem {
            files: said
                .iter()
                .flat_map(|reply| reply.files())
                .map(file)
                .collect(),
            comments: said.into_iter().map(comment).collect(),
            ..shown(&root, &message)
        }))
    }

    /// Messages of ours that changed, or below which something was said: in no order that is
    /// promised. Where the listing ended is a durable mark, for as long as Graph keeps it (8
    /// months); one that it no longer takes is left.
    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let me = self.identity(context).await?;
        let first = self.first_changes(from)?;
        let mark = from.mark.and_then(|mark| mark.strip_prefix(&self.begin()));
        let request = match (from.page, mark) {
            (Some(link), _) | (None, Some(link)) => self.api.next_page(&first, link)?,
            (None, None) => first.clone(),
        };
        let mut answer = context.send(request).await?;
        let is_over = matches!(answer.status, 400 | 410);
        if is_over && from.page.is_none() && mark.is_some() {
            answer = context.send(first).await?;
        }
        let what = "listing what changed";
        let page: Page<Message> = self.api.take(&answer, Effect::Read, what)?;
        let is_ticket = |message: &&Message| {
            let is_root = message.reply_to_id.is_none();
            is_root && message.is_said() && message.is_by(&me.id) && message.marker().is_some()
        };
        let tickets = page.value.iter().filter(is_ticket);
        let items = tickets.map(|message| shown(&self.named(message.id.clone()), message));
        Ok(ChangePage {
            order: Order::None,
            mark: page.delta.map(|link| format!("{}{link}", self.begin())),
            next: page.next,
            ..ChangePage::of(items)
        })
    }

    /// The channels of the team (graph/api/channel-list).
    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let request = self.api.get(&["teams", &self.team, "channels"])?;
        let request = request.query([("$select", "id,displayName,membershipType")]);
        let read = |request: Request| async move {
            let answer = context.send(request.clone()).await?;
            let (items, next) = self.read_page(&request, &answer, "listing the channels")?;
            Ok(api::Page { items, next })
        };
        let channels: Vec<Channel> = api::all(PAGES_MAX, request, read).await?;
        let wanted = search.unwrap_or_default().to_lowercase();
        let fields = channels.into_iter().map(Channel::field);
        let found = fields.filter(|field| {
            let mut names = [&field.id, &field.name].into_iter();
            names.any(|name| name.to_lowercase().contains(&wanted))
        });
        Ok(found.collect())
    }
}

/// A channel as Graph describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Channel {
    id: String,
    display_name: Option<String>,
    membership_type: Option<String>,
}

impl Channel {
    fn field(self) -> PlatformField {
        let kind = self.membership_type.as_deref().unwrap_or("standard");
        PlatformField {
            kind: Some(format!("{kind} channel")),
            name: self.display_name.unwrap_or_else(|| self.id.clone()),
            id: self.id,
            custom: false,
            required: false,
            allowed_values: Vec::new(),
        }
    }
}

impl Graph {
    /// What a mark begins with: it is good for one channel.
    fn begin(&self) -> String {
        format!("{} ", self.channel)
    }

    fn first_changes(&self, from: &SyncFrom<'_>) -> Result<Request, AdapterError> {
        let mut path = messages(&self.team, &self.channel);
        path.push("delta");
        let request = self.api.get(&path)?.up_to(PAGE_BYTES);
        let since = from.since.map(|since| written(since - OVERLAP));
        let since = since.map(|since| format!("lastModifiedDateTime gt {since}"));
        let request = request.query(since.iter().map(|filter| ("$filter", filter)));
        Ok(request.query([("$expand", "replies"), ("$top", "50")]))
    }

    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            TestKind::Connection => match self.channel(context).await {
                Ok(_) => Ok(CheckReport::new("Microsoft Graph answers", json!({}))),
                Err(error) if error.class == ErrorClass::Authentication => {
                    let text = "Microsoft Graph answers, but does not take the credentials";
                    Ok(CheckReport::new(text, json!({})))
                }
                Err(error) => Err(error),
            },
            TestKind::Authentication => {
                let me = self.asked_identity(context).await?;
                let name = me.display_name.as_ref().or(me.user_principal_name.as_ref());
                let message = format!("authenticated as {}", name.unwrap_or(&me.id));
                let details = json!({ "user_id": me.id, "user": me.user_principal_name });
                Ok(CheckReport::new(&message, details))
            }
            TestKind::Permissions => {
                let channel = self.channel(context).await?;
                let name = channel.display_name.as_deref().unwrap_or(&channel.id);
                let message = format!(
                    "the user sees the channel {name}; that it may post shows only when it does"
                );
                let details = json!({ "channel": name, "kind": channel.membership_type });
                Ok(CheckReport::new(&message, details))
            }
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    async fn channel(&self, context: &CallContext<'_>) -> Result<Channel, AdapterError> {
        let path = ["teams", &self.team, "channels", &self.channel];
        let request = self.api.get(&path)?;
        self.api.ask(context, request, "reading the channel").await
    }

    /// A message that is posted and taken away again.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let path = messages(&self.team, &self.channel);
        let request = self.api.make(Method::POST, &path)?;
        let body = json!({ "contentType": "html", "content": format!("<p>{TEST}</p>") });
        let request = request.json(&json!({ "body": body }));
        let what = "posting the test message";
        let posted: Message = self.api.ask(context, request, what).await?;
        let posted = self.named(posted.sound(Effect::Create)?.id);
        let request = self.api.set(Method::POST, &posted.path(&["softDelete"]))?;
        let what = "removing it again";
        let message = match self.api.tell(context, request, what).await {
            Ok(_) => "posted a test message and removed it again".to_owned(),
            Err(error) => format!("posted a test message, which stays: {}", error.public),
        };
        Ok(CheckReport::new(&message, json!({ "message": posted.id })))
    }
}

/// A check of an integration with a flow. Nothing but a card can be sent to one.
pub(super) async fn flow_checked(
    url: &Url,
    context: &CallContext<'_>,
    test: TestKind,
) -> Result<CheckReport, AdapterError> {
    if test == TestKind::Permissions {
        let text = "a flow has no permissions that could be asked for";
        return Err(AdapterError::unsupported(text));
    }
    let posting = async {
        let answer = context.send(item::start(url, &message::test(TEST))).await?;
        ERRORS.check(&answer, Effect::Create, "posting by the flow")
    };
    context.recall("tested", TESTED, posting).await?;
    let text = "the flow took a test card; whether it posts it, it does not tell: look into the \
        channel";
    Ok(CheckReport::new(text, json!({})))
}

/// Whether an answer of Graph's own says that a message is not there.
fn is_gone(answer: &Response) -> bool {
    let says_so = !ERRORS.said(answer).codes.is_empty();
    matches!(answer.status, 404 | 410) && says_so
}

/// Whether a reply is one of people.
fn is_news(reply: &Message, me: &Me) -> bool {
    reply.is_said() && !reply.is_by(&me.id) && reply.marker().is_none()
}

/// What a message says of its ticket. Status and priority are in its card, but nobody can change
/// them there: they are what we wrote, and no news.
fn shown(root: &MessageRef, message: &Message) -> ExternalItem {
    ExternalItem {
        item: root.item(),
        at: message.changed().map(Moment::exact),
        facts: Facts {
            title: message.subject.clone(),
            url: message.web_url.clone(),
            ..Facts::default()
        },
        marker: message.marker(),
        ..ExternalItem::default()
    }
}

fn comment(reply: &Message) -> ExternalComment {
    ExternalComment {
        id: reply.id.clone(),
        body: without_tags(reply.html()),
        author: reply.user().map(|user| Actor {
            id: user.id.clone(),
            name: user.display_name.clone(),
        }),
        created_at: reply.created(),
        ..ExternalComment::default()
    }
}

fn file(file: &Attachment) -> ExternalFile {
    ExternalFile {
        id: file.id.clone().unwrap_or_default(),
        name: file.name.clone().unwrap_or_default(),
        url: file.content_url.clone(),
        ..ExternalFile::default()
    }
}
