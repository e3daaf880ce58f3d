//! Slack: Web API with a bot token, or an incoming webhook as the reduced mode.
//!
//! Sources: docs.slack.dev reference/methods (`chat.*`, `conversations.*`, `auth.test`), apis/web-api/rate-limits,
//! authentication/using-token-rotation, messaging/message-metadata, reference/block-kit.
//!
//! A ticket is a message in the channel, its comments are replies in that message's thread, and a change is shown by
//! rewriting the message. Nearly everything is answered with HTTP 200; whether it worked is in `ok` of the body.
//!
//! **Duplicates**: no idempotency key. The mark is in the message's `metadata`, which is found again by
//! `conversations.history` and `.replies`. `chat.update` is idempotent. An incoming webhook gives nothing back and reads
//! nothing, so there an unknown outcome stays unknown.

mod message;
mod request;
mod response;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use url::Url;

use super::api;
use super::members::{Members, judged, url};
use super::rate::RateHeaders;
use super::tokens::{Client, ClientAuth, Grant, OauthFlow};
use super::{
    Adapter, AdapterError, Auth, BaseUrl, CallContext, CheckReport, CustomFields, Deletes,
    Descriptor, Effect, ErrorClass, Exception, File, Known, Member, Mode, Operation, OperationKind,
    Pages, Plan, Prepared, Protection, Receipt, Response, Scope, Shape, Strangers, TestKind,
    TokenFlow, Unfinished,
};
use crate::domain::{AuthType, Integration, Platform, TicketView};
use crate::secrets::Credentials;
use message::{Shown, Style};
use response::{Page, Posted};

/// The Web API; a method's name follows.
const API: &str = "https://slack.com/api";
/// When to look for a lost message: listed at once, but a request may still be under way.
static LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(40),
];
/// Pages of history that are read at most; more messages than that are not looked through.
const PAGES_MAX: usize = 20;
/// What [`Known`] calls the id of an uploaded file.
const FILE_ID: &str = "file_id";
/// Life of a rotating access token where the answer does not say (`expires_in` 43200).
const TOKEN_LIFE: Duration = Duration::from_secs(43_200);
/// A workspace's address (`https://<workspace>.slack.com/archives/`) hardly ever changes.
const ARCHIVES_LIFE: Duration = Duration::from_secs(86_400);
/// Longest label of a custom field.
const LABEL_MAX: usize = 100;

/// How a lost message is found again.
const PROTECTION: &str =
    "lookup: the mark in the message's metadata; an empty look-up counts as proof after 40 s";
/// What the reduced mode cannot do.
const HOOK: &str =
    "an incoming webhook of Slack can post a ticket and nothing else; a bot token can do the rest";
/// Why there is no sync.
const NOT_READ: &str = "a message of Slack has no status and no priority that could be read back";
/// What a channel shows to everybody.
const INTERNAL_COMMENTS: Exception = Exception::part(
    OperationKind::Comment,
    "comments that are not public, without settings.internal_comments",
    "everybody in the channel would read them; where that is right, settings.internal_comments can be set to true",
);

/// Slack's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Slack,
    modes: &[
        Mode {
            auth_type: AuthType::Bearer,
            name: "bot token",
            except: &[INTERNAL_COMMENTS],
            cannot_read: Some(NOT_READ),
            protection: PROTECTION,
            credentials: &[&[Member::required(
                "bot_token",
                "xoxb-… with scopes chat:write, channels:read, channels:history (private channels: groups:…)",
            )]],
        },
        Mode {
            auth_type: AuthType::Oauth2,
            name: "bot token that rotates",
            except: &[INTERNAL_COMMENTS],
            cannot_read: Some(NOT_READ),
            protection: PROTECTION,
            credentials: &[&[
                Member::required("client_id", "client id of the app").open(),
                Member::required("client_secret", "client secret of the app"),
                Member::required(
                    "refresh_token",
                    "xoxe-1-… of an app with token rotation; it is renewed with every refresh",
                ),
            ]],
        },
        Mode {
            auth_type: AuthType::Custom,
            name: "incoming webhook",
            except: &Exception::all_but_create(HOOK),
            cannot_read: Some(HOOK),
            protection: "none: nothing can be looked up; settings.on_unknown decides",
            credentials: &[&[Member::required(
                "webhook_url",
                "https://hooks.slack.com/services/…: creates only, and an unknown outcome cannot be looked up",
            )
            .shaped(Shape::Url)]],
        },
    ],
    settings: &[
        Member::optional(
            "channel",
            "id of the channel, e.g. C0123ABCD (required, except with webhook_url); with a name a lost answer cannot \
             be looked up",
        )
        .shaped(Shape::Checked(|value| judged(value, channel_of))),
        Member::optional(
            "ticket_url",
            "page of a ticket at your desk, with {ticket_id} in it: shown as a button",
        )
        .shaped(Shape::Url),
        Member::optional(
            "internal_comments",
            "true: comments that are not public are posted too, as everybody in the channel may read them",
        )
        .shaped(Shape::Switch),
        Member::optional(
            "broadcast_status",
            "true: a change of status is shown in the channel too, not in the thread alone",
        )
        .shaped(Shape::Switch),
    ],
    base_url: BaseUrl::Default(API),
    // Whom it answers is in `ok` and `error` of every body; what is a page is not Slack's.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    // It counts each method apart, and says nothing before it refuses.
    rate: RateHeaders::retry_after(Duration::from_secs(30), Scope::Endpoint),
    // A label, shown in front of the value.
    custom_fields: CustomFields {
        allows: |label| !label.trim().is_empty() && label.chars().count() <= LABEL_MAX,
        help: "a label of 1 to 100 characters",
        one_each: false,
    },
    deletes: Deletes::Closes,
    stable_ref: "ts",
    text_max: Some(16_000),
    limits: &[
        "about 1 message a second and channel; update and look-up 50 a minute",
        "description and comment 9,000 characters, title 150",
        "apps that are distributed but not in Slack's marketplace may look up once a minute only",
    ],
};

/// One Slack integration.
pub struct Slack {
    way: Way,
    style: Style,
    internal_comments: bool,
    broadcast_status: bool,
}

/// How Slack is reached.
enum Way {
    /// The Web API.
    Bot(Box<Bot>),
    /// A URL that posts to one channel and is itself the secret.
    Hook(Url),
}

/// The Web API of one workspace.
struct Bot {
    /// Up to and with the slash before a method's name.
    api: Url,
    auth: Auth,
    channel: String,
    flow: Option<OauthFlow>,
}

/// A message's place: unique together. `ts` is text with six decimals, never a number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    channel: String,
    ts: String,
}

impl Place {
    /// Where the ticket's message is: as remembered, or read from the id that people quote.
    fn of(ticket: &TicketView) -> Result<Self, AdapterError> {
        let quoted = ticket
            .external_id
            .as_deref()
            .and_then(|id| id.split_once(':'));
        let (channel, ts) = Self::parts(&ticket.external_ref)
            .or(quoted)
            .ok_or_else(|| {
                AdapterError::new(ErrorClass::NotFound, "the ticket has no message in Slack")
            })?;
        let is_id = channel
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_#".contains(&b));
        let is_time = ts.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if channel.is_empty() || ts.is_empty() || !is_id || !is_time {
            let text = "the ticket's external id names no message in Slack (a channel's id, a colon, a time)";
            return Err(AdapterError::new(ErrorClass::NotFound, text));
        }
        Ok(Self {
            channel: channel.to_owned(),
            ts: ts.to_owned(),
        })
    }

    fn parts(external_ref: &Map<String, Value>) -> Option<(&str, &str)> {
        let text = |name: &str| external_ref.get(name).and_then(Value::as_str);
        text("channel").zip(text("ts"))
    }

    fn remembered(external_ref: &Map<String, Value>) -> Option<Self> {
        let (channel, ts) = Self::parts(external_ref)?;
        Some(Self {
            channel: channel.to_owned(),
            ts: ts.to_owned(),
        })
    }

    fn receipt(&self, url: Option<String>) -> Receipt {
        let text = |text: &str| Value::from(text);
        Receipt {
            external_id: Some(format!("{}:{}", self.channel, self.ts)),
            external_url: url,
            external_ref: Map::from_iter([
                ("channel".to_owned(), text(&self.channel)),
                ("ts".to_owned(), text(&self.ts)),
            ]),
            ..Receipt::default()
        }
    }
}

/// A channel's id or name.
fn channel_of(given: &str) -> Result<String, AdapterError> {
    let channel = given.trim().to_owned();
    // Names of channels may have letters of any script.
    let named = channel.strip_prefix('#').unwrap_or(&channel);
    let fits = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if named.is_empty() || named.chars().count() > 80 || !named.chars().all(fits) {
        return Err(AdapterError::field(
            "settings.channel",
            "is neither a channel's id, e.g. C0123ABCD, nor its name",
        ));
    }
    Ok(channel)
}

impl Slack {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Slack, integration, credentials);
        let base = integration.base_url.as_deref().unwrap_or(API);
        let api = url("base_url", &format!("{}/", base.trim_end_matches('/')), API)?;
        let bot = |auth, flow| {
            let channel = members.setting("channel").ok_or_else(|| {
                AdapterError::field(
                    "settings.channel",
                    "is required for slack: the id of a channel, e.g. C0123ABCD",
                )
            })?;
            let channel = channel_of(&channel)?;
            Ok(Way::Bot(Box::new(Bot {
                api: api.clone(),
                auth,
                channel,
                flow,
            })))
        };
        let way = match integration.auth_type {
            AuthType::Bearer => bot(Auth::Bearer(members.secret("bot_token")?), None)?,
            AuthType::Oauth2 => {
                let token_url = request::method_url(&api, "oauth.v2.access")?;
                let client = Client {
                    id: members.text("client_id")?,
                    secret: Some(members.secret("client_secret")?),
                    auth: ClientAuth::Form,
                };
                let grant = Grant::Refresh(members.secret("refresh_token")?);
                let flow = OauthFlow::new("Slack", token_url, grant, client)
                    .life(TOKEN_LIFE)
                    .refused_by(response::check_refresh)
                    .stale_by(response::is_stale);
                bot(Auth::OAuth, Some(flow))?
            }
            AuthType::Custom => {
                let secret = members.secret("webhook_url")?;
                Way::Hook(url(
                    "credentials.webhook_url",
                    secret.expose_secret(),
                    "https://hooks.slack.com/services/…",
                )?)
            }
            AuthType::ApiKey | AuthType::Basic => {
                return Err(AdapterError::field(
                    "auth_type",
                    "must be bearer, oauth2 or custom for slack",
                ));
            }
        };
        Ok(Self {
            way,
            style: Style {
                ticket_url: members.setting("ticket_url"),
                labels: integration.custom_fields_mapping.clone(),
            },
            internal_comments: members.switch("internal_comments")?,
            broadcast_status: members.switch("broadcast_status")?,
        })
    }

    /// The Web API, which all but a create needs.
    fn bot(&self) -> Result<&Bot, AdapterError> {
        match &self.way {
            Way::Bot(bot) => Ok(bot),
            Way::Hook(_) => Err(AdapterError::unsupported(HOOK)),
        }
    }
}

/// A reply from Markdown. Slack refuses one in which there is nothing to see.
fn reply(field: &str, markdown: &str) -> Result<Shown, AdapterError> {
    message::reply(field, markdown).ok_or_else(|| {
        AdapterError::field(
            field,
            "shows nothing: there is no visible character in it, so Slack would refuse it; give it a text",
        )
    })
}

impl Bot {
    /// The page of a message. Slack is asked once what a page's address begins with; a failure
    /// costs the link and nothing else, as the message is there.
    async fn permalink(&self, context: &CallContext<'_>, place: &Place) -> Option<String> {
        let end = format!("{}/p{}", place.channel, place.ts.replace('.', ""));
        let ask = async || {
            let answer = context.send(self.permalink_request(place)?).await?;
            response::read_permalink(&answer)
        };
        // What is asked for first is a page, too.
        let asked = Mutex::new(None);
        let beginning = async {
            let link = ask().await?;
            let beginning = link.strip_suffix(&end).map(str::to_owned);
            *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
            Ok(beginning)
        };
        let link = async {
            let archives = context.recall("archives", ARCHIVES_LIFE, beginning).await?;
            match archives.as_ref() {
                Some(archives) => Ok(format!("{archives}{end}")),
                // Of another form than expected: each page is asked for, once.
                None => {
                    let first = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
                    match first {
                        Some(link) => Ok(link),
                        None => Box::pin(ask()).await,
                    }
                }
            }
        };
        match link.await {
            Ok(link) => Some(link),
            Err(error) => {
                let error: AdapterError = error;
                tracing::info!(error = %error, "Slack gave no permalink; the ticket stays without one");
                None
            }
        }
    }

    /// A place for a file, and the bytes (sheet §2): the id by which it is shared. A file that is not shared is seen by
    /// nobody, and Slack forgets it.
    async fn upload(&self, context: &CallContext<'_>, file: &File) -> Result<String, AdapterError> {
        let answer = context.send(self.upload_url_request(file)?).await?;
        let (upload_url, id) = response::read_upload_url(&answer)?;
        let answer = context
            .send(Self::upload_request(&upload_url, file))
            .await?;
        response::read_uploaded(&answer)?;
        Ok(id)
    }

    /// A file we shared in the thread since then. Sharing is asynchronous, so one that is not there may yet come.
    async fn find_file(
        &self,
        context: &CallContext<'_>,
        root: &Place,
        file: &File,
        since: i64,
    ) -> Result<Option<Receipt>, AdapterError> {
        let me = response::read_identity(&context.send(self.identity_request()?).await?)?;
        let me = me.bot_id.as_deref();
        let first = self.replies_request(root, since, "")?;
        let found = api::find(
            PAGES_MAX,
            first,
            |request| async move {
                let answer = context.send(request).await?;
                let (found, next) = response::read_shared_files(&answer, file, me)?;
                let next = next.map(|cursor| self.replies_request(root, since, &cursor));
                Ok(api::Page {
                    items: found.into_iter().collect(),
                    next: next.transpose()?,
                })
            },
            |_| true,
        );
        let found = found.await?;
        Ok(found.map(|id| Receipt {
            external_attachment_id: Some(id),
            ..Receipt::default()
        }))
    }

    /// The first message with the mark on the pages of a listing.
    async fn search(
        &self,
        context: &CallContext<'_>,
        mark: &str,
        thread: Option<&Place>,
        since: i64,
    ) -> Result<Option<Posted>, AdapterError> {
        // Another app of the workspace can read our marks, and could copy one.
        let me = response::read_identity(&context.send(self.identity_request()?).await?)?;
        let me = me.bot_id.as_deref();
        let listing = |cursor: &str| match thread {
            None => self.history_request(since, cursor),
            Some(root) => self.replies_request(root, since, cursor),
        };
        let first = listing("")?;
        api::find(
            PAGES_MAX,
            first,
            |request| async move {
                let answer = context.send(request).await?;
                let Page { found, next } = response::read_page(&answer, mark, thread, me)?;
                Ok(api::Page {
                    items: found.into_iter().collect(),
                    next: next.map(|cursor| listing(&cursor)).transpose()?,
                })
            },
            |_| true,
        )
        .await
    }
}

#[async_trait]
impl Adapter for Slack {
    /// The bytes of a file, and the message as it is after a change of status: the reply that says so comes last.
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        match operation {
            Operation::Attach { file, .. } => {
                let id = self.bot()?.upload(context, file).await?;
                known.found.insert(FILE_ID.into(), id.into());
            }
            Operation::Status { ticket, .. } => {
                let shown = self.style.ticket(ticket);
                let request = self
                    .bot()?
                    .update_request(&Place::of(ticket)?, &shown.message)?;
                let answer = context.send(request).await?;
                response::check(&answer, Effect::Idempotent, "updating the message")?;
                known.details = shown.left_out;
            }
            Operation::Create { .. }
            | Operation::Update { .. }
            | Operation::Assign { .. }
            | Operation::Comment { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    fn plan(&self, operation: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError> {
        let (request, left_out) = match operation {
            Operation::Create { ticket, key } => {
                let shown = self.style.ticket(ticket);
                let request = match &self.way {
                    Way::Hook(url) => request::hook(url, &shown.message),
                    Way::Bot(bot) => bot.post_request(&shown.message, *key)?,
                };
                (request, shown.left_out)
            }
            Operation::Update { ticket, .. } | Operation::Assign { ticket, .. } => {
                let bot = self.bot()?;
                let shown = self.style.ticket(ticket);
                let request = bot.update_request(&Place::of(ticket)?, &shown.message)?;
                (request, shown.left_out)
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => {
                let text = message::status_text(*status, *resolution_summary);
                let said = reply("resolution_summary", &text)?;
                let request = self.bot()?.reply_request(
                    &Place::of(ticket)?,
                    &said.message,
                    *key,
                    self.broadcast_status,
                )?;
                (request, said.left_out)
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => {
                let bot = self.bot()?;
                if !public && !self.internal_comments {
                    let text = "everybody in the channel would read a comment that is not public; where that is \
                                right, settings.internal_comments can be set to true";
                    return Err(AdapterError::unsupported(text));
                }
                let said = reply("body", body)?;
                let request = bot.reply_request(&Place::of(ticket)?, &said.message, *key, false)?;
                (request, said.left_out)
            }
            Operation::Attach { ticket, file, .. } => {
                let id = known
                    .text(FILE_ID)
                    .unwrap_or("(the id of the uploaded file)");
                let request = self.bot()?.share_request(&Place::of(ticket)?, id, file)?;
                (request, Map::new())
            }
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(Plan {
            request: request.into(),
            left_out,
        })
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        match operation {
            Operation::Create { key, .. } => match &self.way {
                Way::Hook(_) => {
                    response::read_hook(answer, Effect::Create)?;
                    // Nothing comes back; the ticket is bound by its mark all the same.
                    Ok(Receipt {
                        external_id: Some(key.marker.to_owned()),
                        ..Receipt::default()
                    })
                }
                Way::Bot(_) => {
                    Ok(response::read_posted(answer, "posting the ticket")?.receipt(None))
                }
            },
            Operation::Update { .. } | Operation::Assign { .. } => {
                response::check(answer, Effect::Idempotent, "updating the message")?;
                Ok(Receipt::default())
            }
            Operation::Status { .. } => {
                response::read_posted(answer, "announcing the status")?;
                Ok(Receipt::default())
            }
            Operation::Comment { .. } => {
                let place = response::read_posted(answer, "posting the comment")?;
                Ok(Receipt {
                    external_comment_id: Some(place.ts),
                    ..Receipt::default()
                })
            }
            Operation::Attach { .. } => {
                response::read_shared(answer, known.text(FILE_ID).unwrap_or_default())
            }
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    /// The page of a new message. A failure costs the link and nothing else.
    async fn finish(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        receipt: &mut Receipt,
    ) -> Result<(), Box<Unfinished>> {
        if let (Operation::Create { .. }, Way::Bot(bot)) = (operation, &self.way)
            && let Some(place) = Place::remembered(&receipt.external_ref)
        {
            receipt.external_url = bot.permalink(context, &place).await;
        }
        Ok(())
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let bot = self.bot()?;
        let key = operation.key();
        // A minute for clocks that differ.
        let since = key.received_at.timestamp() - 60;
        match operation {
            Operation::Create { .. } => {
                let found = bot.search(context, key.marker, None, since).await?;
                let Some(Posted { channel, ts }) = found else {
                    return Ok(None);
                };
                let place = Place {
                    channel: channel.unwrap_or_else(|| bot.channel.clone()),
                    ts,
                };
                Ok(Some(place.receipt(None)))
            }
            Operation::Comment { ticket, .. } | Operation::Status { ticket, .. } => {
                let root = Place::of(ticket)?;
                let found = bot.search(context, key.marker, Some(&root), since).await?;
                let is_comment = operation.kind() == OperationKind::Comment;
                Ok(found.map(|reply| Receipt {
                    external_comment_id: is_comment.then_some(reply.ts),
                    ..Receipt::default()
                }))
            }
            Operation::Attach { ticket, file, .. } => {
                let root = Place::of(ticket)?;
                bot.find_file(context, &root, file, since).await
            }
            // Idempotent: nothing to look for.
            Operation::Update { .. } | Operation::Assign { .. } | Operation::Delete { .. } => {
                Ok(None)
            }
        }
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        let bot = match (&self.way, test) {
            (Way::Bot(bot), _) => bot,
            (Way::Hook(url), TestKind::Connection | TestKind::Authentication) => {
                let answer = context.send(request::probe(url)).await?;
                return response::read_probe(&answer);
            }
            (Way::Hook(url), TestKind::CreateTicket) => {
                let answer = context.send(request::hook(url, &message::test())).await?;
                response::read_hook(&answer, Effect::Create)?;
                return Ok(CheckReport {
                    message: "posted a test message".into(),
                    details: Map::new(),
                });
            }
            (Way::Hook(_), TestKind::Permissions) => {
                return Err(AdapterError::unsupported(
                    "an incoming webhook has no permissions that could be asked for",
                ));
            }
        };
        match test {
            TestKind::Connection => {
                let answer = context.send(bot.identity_request()?).await?;
                response::read_reachable(&answer)
            }
            TestKind::Authentication => {
                let answer = context.send(bot.identity_request()?).await?;
                Ok(response::read_identity(&answer)?.report())
            }
            TestKind::Permissions => {
                let answer = context.send(bot.channel_request()?).await?;
                response::read_channel(&answer, &bot.channel)
            }
            TestKind::CreateTicket => {
                let answer = context.send(bot.test_request()?).await?;
                let place = response::read_posted(&answer, "posting the test message")?;
                let answer = context.send(bot.delete_request(&place)?).await?;
                let removed = response::check(&answer, Effect::Idempotent, "removing it again");
                Ok(CheckReport {
                    message: match removed {
                        Ok(()) => "posted a test message and removed it again".into(),
                        Err(error) => {
                            format!("posted a test message, which stays: {}", error.public)
                        }
                    },
                    details: place.receipt(None).external_ref,
                })
            }
        }
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        match &self.way {
            Way::Bot(bot) => bot.flow.as_ref().map(|flow| flow as &dyn TokenFlow),
            Way::Hook(_) => None,
        }
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match (&self.way, kind) {
            (Way::Hook(_), _) => Protection::None,
            (
                Way::Bot(_),
                OperationKind::Create
                | OperationKind::Comment
                | OperationKind::Status
                | OperationKind::Attach
                | OperationKind::Delete,
            ) => Protection::Lookup {
                schedule: &LOOK_UPS,
                upsert: false,
            },
            (Way::Bot(_), OperationKind::Update | OperationKind::Assign) => Protection::Native,
        }
    }
}
