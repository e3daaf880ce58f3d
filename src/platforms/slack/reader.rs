//! What can be read back: a ticket's message with what people replied, new messages of the channel,
//! the channels. And the checks.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::Bot;
use super::facts::ERRORS;
use super::item::{self, MessageRef, is_time};
use super::listing::{Cursor, Identity, Listed, PAGES_MAX, read_page};
use super::message::{self, TITLE, unescaped};
use crate::platforms::api::{self, Page};
use crate::platforms::{
    Actor, AdapterError, Auth, CallContext, ChangePage, CheckReport, Effect, ErrorClass,
    ExternalComment, ExternalFile, ExternalItem, Facts, ItemRef, Moment, Order, PlatformField,
    Reader, Request, Response, SyncFrom, TestKind,
};

/// A time of ours is by another clock than Slack's: a listing begins so much earlier.
const CLOCKS: TimeDelta = TimeDelta::minutes(2);
/// Channels of a page; it must be under 1,000 (docs.slack.dev, `conversations.list`).
const CHANNELS: &str = "999";
/// Bytes of such a page that are read.
const CHANNELS_BYTES: usize = 8 << 20;
/// Kinds of channels that a ticket can be posted to.
const KINDS: [&str; 2] = ["public_channel,private_channel", "public_channel"];

#[async_trait]
impl Reader for Bot {
    /// The message and its thread in one listing: it is read by its id, so nothing lags.
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let root = MessageRef::parse(&item.external_id).filter(MessageRef::is_one);
        let Some(root) = root else {
            return Ok(None);
        };
        let me = self.identity(context).await?;
        let thread = &root;
        let read = |request: Request| async move {
            let answer = context.send(request).await?;
            if is_gone(&answer) {
                let (items, next) = (Vec::new(), None);
                return Ok(Page { items, next });
            }
            let (items, next) = read_page(&answer, "reading the thread")?;
            let next = next.map(|cursor| self.listing(Some(thread), "", &cursor));
            let next = next.transpose()?;
            Ok(Page { items, next })
        };
        let first = self.listing(Some(thread), "", "")?;
        let messages = api::all(PAGES_MAX, first, read).await?;
        Ok(whole(&root, &messages, &me))
    }

    /// New messages that are tickets. Replies come with [`Reader::get`]. Neither edits nor
    /// deletions of older messages are listed anywhere: Slack tells of them by events alone.
    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let me = self.identity(context).await?;
        let mark = from.mark.filter(|mark| is_time(mark));
        let since = from.since.map(|since| written(since - CLOCKS));
        let oldest = mark.map(str::to_owned).or(since).unwrap_or_default();
        let request = self.listing(None, &oldest, from.page.unwrap_or_default())?;
        let answer = context.send(request).await?;
        let (messages, next) = read_page(&answer, "listing the channel")?;
        // The newest come first, so the first page has where the next listing may begin.
        let newest = messages.first().map(|message| message.ts.as_str());
        let mark = newest.or(mark).filter(|_| from.page.is_none());
        let tickets = messages
            .iter()
            .filter(|message| message.is_by(me.bot_id.as_deref()) && is_ticket(message));
        let items = tickets.map(|message| {
            let root = MessageRef {
                channel: self.channel.clone(),
                ts: message.ts.clone(),
            };
            shown(&root, message, &me)
        });
        Ok(ChangePage {
            next,
            mark: mark.map(str::to_owned),
            order: Order::Newest,
            ..ChangePage::of(items)
        })
    }

    /// The channels that the bot can see. One that is private needs the scope `groups:read`,
    /// without which the public ones are listed.
    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let [all, public] = KINDS;
        let channels = match self.channels(context, all).await {
            Err(error) if error.class == ErrorClass::Permission => {
                self.channels(context, public).await?
            }
            channels => channels?,
        };
        let wanted = search.unwrap_or_default().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let found = channels.into_iter();
        let found = found.filter(|channel| has(&channel.id) || has(&channel.name));
        Ok(found.map(Channel::field).collect())
    }
}

/// A channel as Slack describes it.
#[derive(Debug, Deserialize)]
struct Channel {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    is_private: bool,
    #[serde(default)]
    is_archived: bool,
    #[serde(default)]
    is_member: bool,
}

impl Channel {
    fn field(self) -> PlatformField {
        let kind = if self.is_private {
            "private channel"
        } else {
            "channel"
        };
        PlatformField {
            id: self.id,
            name: format!("#{}", self.name),
            kind: Some(kind.to_owned()),
            custom: false,
            required: false,
            allowed_values: Vec::new(),
        }
    }
}

impl Bot {
    /// All channels of these kinds that are not archived.
    async fn channels(
        &self,
        context: &CallContext<'_>,
        kinds: &str,
    ) -> Result<Vec<Channel>, AdapterError> {
        #[derive(Deserialize)]
        struct Listing {
            channels: Vec<Channel>,
            #[serde(default)]
            response_metadata: Cursor,
        }
        let listing = |cursor: &str| -> Result<Request, AdapterError> {
            let query = [
                ("types", kinds),
                ("exclude_archived", "true"),
                ("limit", CHANNELS),
                ("cursor", cursor),
            ];
            let said = query.into_iter().filter(|(_, value)| !value.is_empty());
            let request = self.api.get(&["conversations.list"])?;
            Ok(request.query(said).up_to(CHANNELS_BYTES))
        };
        let pages = &listing;
        let read = |request: Request| async move {
            let page: Listing = (self.api)
                .ask(context, request, "listing the channels")
                .await?;
            let next = page.response_metadata.next();
            Ok(Page {
                items: page.channels,
                next: next.map(|cursor| pages(&cursor)).transpose()?,
            })
        };
        api::all(PAGES_MAX, listing("")?, read).await
    }

    /// A check of an integration with a bot.
    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            TestKind::Connection => {
                let answer = context.send(self.identity_request()?).await?;
                reachable(&answer)
            }
            TestKind::Authentication => {
                let me = self.asked_identity(context).await?;
                Ok(CheckReport {
                    message: format!("authenticated as {} in {}", me.user, me.team),
                    details: details(json!({
                        "url": me.url, "team": me.team, "bot_id": me.bot_id,
                    })),
                })
            }
            TestKind::Permissions => {
                #[derive(Deserialize)]
                struct Info {
                    channel: Channel,
                }
                let request = self.api.get(&["conversations.info"])?;
                let request = request.query([("channel", &self.channel)]);
                let info: Info = (self.api)
                    .ask(context, request, "reading the channel")
                    .await?;
                usable(&info.channel, &self.channel)
            }
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    /// A message that is posted and taken away again.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let request = self.post(&self.channel, &message::test(), |_| ())?;
        let posted: MessageRef = (self.api)
            .ask(context, request, "posting the test message")
            .await?;
        let request = self.api.set(Method::POST, &["chat.delete"])?;
        let request = request.json(&json!({ "channel": posted.channel, "ts": posted.ts }));
        let answer = context.send(request).await?;
        let removed = ERRORS.check(&answer, Effect::Idempotent, "removing it again");
        Ok(CheckReport {
            message: match removed {
                Ok(()) => "posted a test message and removed it again".into(),
                Err(error) => format!("posted a test message, which stays: {}", error.public),
            },
            details: posted.receipt().external_ref,
        })
    }
}

/// A check of an integration with an incoming webhook.
pub(super) async fn hook_checked(
    url: &Url,
    context: &CallContext<'_>,
    test: TestKind,
) -> Result<CheckReport, AdapterError> {
    let message = match test {
        TestKind::Connection | TestKind::Authentication => {
            // A message without text is refused with 400 by a webhook that is there, and with 404
            // or 410 otherwise. Nothing is posted.
            let request = Request::post(url.clone(), Auth::None, Effect::Read);
            let request = request.json(&json!({ "text": "" })).secret_url();
            let answer = context.send(request).await?;
            if answer.status != 400 {
                item::read_hook(&answer, Effect::Read)?;
            }
            "the incoming webhook is there (it was asked without posting)"
        }
        TestKind::CreateTicket => {
            let answer = context.send(item::hook(url, &message::test())).await?;
            item::read_hook(&answer, Effect::Create)?;
            "posted a test message"
        }
        TestKind::Permissions => {
            let text = "an incoming webhook has no permissions that could be asked for";
            return Err(AdapterError::unsupported(text));
        }
    };
    Ok(CheckReport {
        message: message.into(),
        details: Map::new(),
    })
}

/// Whether Slack answers at all; whom it lets in is another question.
fn reachable(answer: &Response) -> Result<CheckReport, AdapterError> {
    let message = match ERRORS.check(answer, Effect::Read, "reaching Slack") {
        Ok(()) => "Slack answers",
        Err(error) if error.class == ErrorClass::Authentication => {
            "Slack answers, but does not take the token"
        }
        Err(error) => return Err(error),
    };
    Ok(CheckReport {
        message: message.into(),
        details: Map::new(),
    })
}

/// Whether the bot can post to the channel and look messages up there.
fn usable(channel: &Channel, named: &str) -> Result<CheckReport, AdapterError> {
    let refused = |text: String| Err(AdapterError::new(ErrorClass::Permission, text));
    if channel.is_archived {
        return refused(format!("channel {named} is archived"));
    }
    if !channel.is_member {
        return refused(format!(
            "the bot is no member of channel {named}: invite it (/invite @bot)"
        ));
    }
    Ok(CheckReport {
        message: format!("the bot is a member of channel {named}"),
        details: details(json!({ "channel": channel.id, "name": channel.name })),
    })
}

fn details(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Whether an answer says that a message is not there.
fn is_gone(answer: &Response) -> bool {
    let codes = ERRORS.said(answer).codes;
    let gone = ["thread_not_found", "message_not_found"];
    answer.is_success() && codes.iter().any(|code| gone.contains(&code.as_str()))
}

/// Whether a message of the channel is a ticket's: no reply that is shown there too.
fn is_ticket(message: &Listed) -> bool {
    let is_root = message
        .thread_ts
        .as_ref()
        .is_none_or(|root| *root == message.ts);
    is_root && message.marker().is_some()
}

/// A ticket's message with what people said in its thread; `None` where it is gone.
fn whole(root: &MessageRef, thread: &[Listed], me: &Identity) -> Option<ExternalItem> {
    // What was deleted leaves a stone while it has replies.
    let is_there = |message: &&Listed| message.subtype.as_deref() != Some("tombstone");
    let message = thread.iter().find(|message| message.ts == root.ts);
    let message = message.filter(is_there)?;
    let said: Vec<&Listed> = thread
        .iter()
        .filter(|reply| reply.ts != root.ts && is_there(reply))
        .filter(|reply| !reply.is_by(me.bot_id.as_deref()) && reply.marker().is_none())
        .collect();
    Some(ExternalItem {
        files: said.iter().flat_map(|reply| files(reply)).collect(),
        comments: said.into_iter().map(comment).collect(),
        ..shown(root, message, me)
    })
}

/// What a message says of its ticket. Status and priority are in it, but nobody can change them
/// there: they are what we wrote, and no news.
fn shown(root: &MessageRef, message: &Listed, me: &Identity) -> ExternalItem {
    let changed = message.edited.as_ref().map(|edited| edited.ts.as_str());
    let page = || format!("{}archives/{}", me.url, root.page());
    ExternalItem {
        item: root.item(),
        at: moment(changed.unwrap_or(&message.ts)).map(Moment::exact),
        facts: Facts {
            title: title(&message.blocks),
            url: (!me.url.is_empty()).then(page),
            ..Facts::default()
        },
        marker: message.marker().map(str::to_owned),
        ..ExternalItem::default()
    }
}

/// The heading among the blocks of a message.
fn title(blocks: &Value) -> Option<String> {
    let mut blocks = blocks.as_array()?.iter();
    let heading = blocks.find(|block| block["block_id"] == TITLE)?;
    heading["text"]["text"].as_str().map(unescaped)
}

/// The files that came with a reply. Who fetches one needs the bot's token.
pub(super) fn files(reply: &Listed) -> impl Iterator<Item = ExternalFile> {
    reply.files.iter().map(|file| ExternalFile {
        id: file.id.clone(),
        name: file.name.clone(),
        content_type: file.mimetype.clone(),
        size: file.size,
        url: None,
    })
}

pub(super) fn comment(reply: &Listed) -> ExternalComment {
    ExternalComment {
        id: reply.ts.clone(),
        body: plain(&reply.text),
        author: Some(Actor {
            id: reply.user.clone().or_else(|| reply.bot_id.clone()),
            name: reply.username.clone(),
        }),
        created_at: moment(&reply.ts),
        ..ExternalComment::default()
    }
}

/// A text of Slack's as people read it: what stands in angle brackets is a link, or calls somebody.
fn plain(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut parts = text.split('<');
    made.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let Some((inside, rest)) = part.split_once('>') else {
            made.push('<');
            made.push_str(part);
            continue;
        };
        let (target, label) = inside.split_once('|').unwrap_or((inside, ""));
        match (target.chars().next(), label) {
            (Some('@' | '#'), "") => made.push_str(target),
            (Some('!'), "") => made.push_str(&target.replacen('!', "@", 1)),
            (Some(sign @ ('@' | '#')), label) => {
                made.push(sign);
                made.push_str(label.trim_start_matches(sign));
            }
            (Some('!'), label) => made.push_str(label),
            (_, "") => made.push_str(target),
            (_, label) if target.ends_with(label) => made.push_str(label),
            (_, label) => made.push_str(&format!("{label} ({target})")),
        }
        made.push_str(rest);
    }
    unescaped(&made)
}

/// When a message was posted: seconds since 1970, with six decimals that must not be read as a
/// floating-point number.
pub(super) fn moment(ts: &str) -> Option<DateTime<Utc>> {
    let (seconds, micros) = ts.split_once('.').unwrap_or((ts, "0"));
    let (seconds, micros): (i64, u32) = (seconds.parse().ok()?, micros.parse().ok()?);
    DateTime::from_timestamp(seconds, micros.checked_mul(1_000)?)
}

/// A moment as Slack writes it.
fn written(at: DateTime<Utc>) -> String {
    format!("{}.{:06}", at.timestamp(), at.timestamp_subsec_micros())
}

#[cfg(test)]
mod tests;
