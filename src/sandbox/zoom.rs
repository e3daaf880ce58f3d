//! Zoom Team Chat: messages of channels and their threads, files, and a token endpoint. Written
//! from Zoom's OpenAPI pages (docs/api/team-chat, docs/api/errors).
//!
//! | | |
//! | --- | --- |
//! | credentials | bearer tokens; `/oauth/token` gives them to accounts and for refresh tokens |
//! | places | the site is Zoom's token endpoint, its API (`/v2`) and its file host at once |
//! | users, channels | those of the settings; `me` is the first user |
//! | messages | posted, changed by their sender, shown, listed the newest first, deleted |
//! | formats | ranges must lie in the text, and before its first character of two code units |
//! | ids | GUIDs; with `odd_ids` such with `/` and `+`, which a path must encode twice |
//! | files | in one request up to 16 and 20 MB, or uploaded first; `redirects_files` answers 307 |
//! | a person | `POST /person {channel, message, root}` writes as another user |
//! | silences | `texts: false` shows no texts, `list_lag_ms` lists a message late |
//! | scopes | operations in `lacks_scopes` are refused |
//!
//! Not modelled: contacts, mentions, cards, reactions, scheduled messages, the limits of a channel.
//!
//! Limits: 50,000 messages and 64 MiB a site.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::kit::grants::{Grant, Rules};
use super::kit::paging::By;
use super::kit::rate::Reset;
use super::kit::shelf::{indexed_until, moment};
use super::kit::{
    self, Budget, Common, CredentialSource, Entry, Hit, Item, RateHeaders, Refusal, Route, Shelf,
    Tabled, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

const MESSAGE_MAX: usize = 1_024;
const FILES_MAX: usize = 6;
const IMAGE_MAX: u64 = 16 << 20;
const FILE_MAX: u64 = 20 << 20;
const HISTORY: TimeDelta = TimeDelta::days(183);
const PAGES: By = By::Cursor("next_page_token", "page_size");
const FORMATS: [&str; 13] = [
    "Bold",
    "Italic",
    "Strikethrough",
    "BulletedList",
    "NumberedList",
    "Underline",
    "FontSize",
    "FontColor",
    "BackgroundColor",
    "LeftIndent",
    "Paragraph",
    "Quote",
    "AddLink",
];
/// Where files are sent to, if not where they were posted.
const ELSEWHERE: &str = "/file01";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    id: String,
    email: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    id: String,
    name: String,
    #[serde(default)]
    archived: bool,
    /// End to end.
    #[serde(default)]
    encrypted: bool,
}

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these tokens are accepted.
    credentials: Vec<String>,
    budget: Option<Budget>,
    /// Life of an access token.
    access_token_seconds: i64,
    /// Whether the grant says where the API is.
    says_api_url: bool,
    users: Vec<User>,
    channels: Vec<Channel>,
    odd_ids: bool,
    texts: bool,
    list_lag_ms: u64,
    redirects_files: bool,
    /// Operations by their names here.
    lacks_scopes: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let user = |id: &str, email: &str| User {
            id: id.into(),
            email: email.into(),
        };
        let channel = |id: &str, name: &str| Channel {
            id: id.into(),
            name: name.into(),
            archived: false,
            encrypted: false,
        };
        Self {
            credentials: Vec::new(),
            budget: None,
            access_token_seconds: 3_600,
            says_api_url: true,
            users: vec![
                user("z8yCdesk", "desk@example.test"),
                user("z8yCann", "ann@example.test"),
            ],
            channels: vec![
                channel("c0ffee5upp0rt", "Support"),
                channel("c0ffee0ther", "Other"),
            ],
            odd_ids: false,
            texts: true,
            list_lag_ms: 0,
            redirects_files: false,
            lacks_scopes: Vec::new(),
        }
    }
}

impl kit::Settings for Settings {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn budget(&self) -> Option<Budget> {
        self.budget
    }
}

/// A message.
#[derive(Debug, Clone)]
struct Message {
    channel: String,
    /// Of a reply, what it replies to.
    root: Option<String>,
    /// The sender's id.
    sender: String,
    text: String,
    rich: Value,
    mentions: usize,
    files: Vec<LedgerFile>,
    by_person: bool,
    edited: bool,
}

impl Item for Message {
    /// Its channel, its root, and what its last line refers to.
    fn tags(&self) -> Vec<String> {
        let tags = [Some(self.channel.clone()), self.root.clone()];
        let marker = self.marker().map(str::to_owned);
        tags.into_iter().chain([marker]).flatten().collect()
    }

    fn weight(&self) -> usize {
        self.text.len() + 256
    }
}

impl Message {
    fn marker(&self) -> Option<&str> {
        let last = self.text.lines().next_back()?;
        last.strip_prefix("[ref:")?.strip_suffix(']')
    }
}

/// One account's site.
pub(super) struct Zoom {
    common: Common<Settings>,
    messages: Shelf<Message>,
    /// Uploaded files that no message has, by id.
    uploads: BTreeMap<String, LedgerFile>,
    files: u64,
}

impl Default for Zoom {
    fn default() -> Self {
        Self {
            common: Common::default(),
            messages: Shelf::new(50_000, 64 << 20, 1),
            uploads: BTreeMap::new(),
            files: 0,
        }
    }
}

fn replies(call: &Call) -> bool {
    !call.field("reply_main_message_id").is_empty()
}

impl Tabled for Zoom {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/oauth/token", "token", Self::token).open(),
        route("POST", "/v2/chat/users/*/messages", "reply", Self::post).when(replies),
        route("POST", "/v2/chat/users/*/messages", "post_message", Self::post),
        view("GET", "/v2/chat/users/*/messages", "list_messages", Self::list),
        route("POST", "/v2/chat/users/*/messages/files", "post_file", Self::post_file),
        route("POST", "/file01/v2/chat/users/*/messages/files", "post_elsewhere", Self::keep_file),
        route("POST", "/v2/chat/users/*/files", "upload_file", Self::upload),
        view("GET", "/v2/chat/users/*/messages/*", "get_message", Self::get),
        route("PUT", "/v2/chat/users/*/messages/*", "update_message", Self::update),
        route("DELETE", "/v2/chat/users/*/messages/*", "delete_message", Self::delete),
        view("GET", "/v2/chat/users/*/messages/*/thread", "get_thread", Self::thread),
        view("GET", "/v2/chat/users/*/channels", "list_channels", Self::channels),
        view("GET", "/v2/chat/channels/*", "get_channel", Self::channel),
        view("GET", "/v2/users/*", "get_user", Self::user),
        route("POST", "/person", "person", Self::person).open(),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[CredentialSource::Bearer];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "X-RateLimit-Limit",
        remaining: "X-RateLimit-Remaining",
        reset: "",
        reset_in: Reset::Iso,
        retry_after: false,
    });

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn refuse(&self, refusal: &Refusal, _: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing | Refusal::Wrong => error(401, 124, "Invalid access token."),
            Refusal::Expired => error(401, 124, "Access token is expired."),
            Refusal::Forbidden => error(400, 200, "You do not have permission to do this."),
            Refusal::NoPath => error(404, 2_300, "This API endpoint is not recognized."),
            Refusal::OtherMethods(methods) => {
                error(405, 405, "Method not allowed.").header("Allow", &methods.join(", "))
            }
            // A day's budget says when it begins anew, a second's does not.
            Refusal::Budget(standing) if standing.seconds > 60 => {
                let text = "You have reached the maximum daily rate limit for this API.";
                let until = standing.reset.to_rfc3339_opts(SecondsFormat::Secs, true);
                error(429, 429, text).header("Retry-After", &until)
            }
            Refusal::Budget(_) => error(
                429,
                429,
                "You have reached the maximum per-second rate limit for this API. Try again later.",
            ),
            Refusal::Status(status) => {
                let code = match status {
                    400 | 422 => 300,
                    401 => 124,
                    404 => 4_131,
                    other => u32::from(*other),
                };
                error(*status, code, "A fault on demand.")
            }
        }
    }

    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let lacked = &self.common.settings.lacks_scopes;
        let is_lacked = lacked.iter().any(|name| name == hit.operation);
        let text = "Invalid access token, does not contain scopes.";
        is_lacked.then(|| error(400, 4_711, text))
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let roots = self.messages.all();
        let roots = roots.filter(|message| message.root.is_none() && !message.by_person);
        let lines = roots.map(|root| self.line(root));
        let has = |line: &LedgerIssue| {
            label.is_none_or(|label| line.labels.iter().any(|own| own == label))
        };
        let evicted = self.messages.ledger(label, Entry::line).1;
        (lines.filter(has).collect(), evicted)
    }
}

fn error(status: u16, code: u32, message: &str) -> Answer {
    Answer::json(status, json!({ "code": code, "message": message }))
}

fn invalid(field: &str, why: &str) -> Answer {
    let body = json!({
        "code": 300, "message": "Validation Failed.",
        "errors": [{ "field": field, "message": why }],
    });
    Answer::json(400, body)
}

fn no_message() -> Answer {
    error(404, 4_131, "Message does not exist.")
}

/// A moment as Zoom takes it: without a fraction of a second.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").ok()?;
    Some(at.and_utc())
}

/// An id that a path names. One with a slash or a plus is encoded twice.
fn named(part: &str) -> Option<String> {
    if part.contains(['/', '+']) {
        return None;
    }
    let shielded = part.replace('=', "%3D").replace('&', "%26");
    let mut read = url::form_urlencoded::parse(shielded.as_bytes());
    read.next().map(|(id, _)| id.into_owned())
}

/// Why ranges are not taken.
fn rich_fault(rich: &Value, text: &str) -> Option<&'static str> {
    if rich.is_null() {
        return None;
    }
    let Some(ranges) = rich.as_array() else {
        return Some("Invalid field.");
    };
    // Positions are the same in both countings until the first character of two units.
    let clear = text.chars().take_while(|c| c.len_utf16() == 1).count();
    ranges.iter().find_map(|range| {
        let at = |name: &str| usize::try_from(range[name].as_u64()?).ok();
        let (start, end) = at("start_position").zip(at("end_position"))?;
        let kind = range["format_type"].as_str().unwrap_or_default();
        if !FORMATS.contains(&kind) {
            return Some("Unknown format_type.");
        }
        let href = range["format_attr"].as_str().unwrap_or_default();
        if kind == "AddLink"
            && !["https://", "http://", "mailto:"]
                .iter()
                .any(|s| href.starts_with(s))
        {
            return Some("A link needs its address.");
        }
        (start >= end || end > clear).then_some("Positions are out of range.")
    })
}

impl Zoom {
    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let refused = |reason: &str, code: &str| {
            Answer::json(400, json!({ "reason": reason, "error": code }))
        };
        if hit.call.basic().is_none() {
            return refused("Invalid client_id or client_secret", "invalid_client");
        }
        let rules = Rules {
            grants: &[Grant::Refresh, Grant::AccountCredentials],
            ..Rules::refreshing(self.common.settings.access_token_seconds)
        };
        match self.common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => {
                let mut body = granted.json();
                if self.common.settings.says_api_url {
                    body["api_url"] = hit.call.base.as_str().into();
                }
                Answer::json(200, body).mutated()
            }
            Err(denied) => refused(denied.why(), denied.code()),
        }
    }

    /// The user that a path names.
    fn user_of(&self, hit: &Hit<'_>) -> Result<User, Answer> {
        let asked = hit.arg(0);
        let mut users = self.common.settings.users.iter();
        let found = if asked == "me" {
            users.next()
        } else {
            users.find(|user| user.id == asked || user.email.eq_ignore_ascii_case(asked))
        };
        let text = format!("User does not exist: {asked}.");
        found.cloned().ok_or_else(|| error(404, 1_001, &text))
    }

    fn email(&self, id: &str) -> &str {
        let mut users = self.common.settings.users.iter();
        users
            .find(|user| user.id == id)
            .map_or("", |user| &user.email)
    }

    fn channel_of(&self, id: &str) -> Result<&Channel, Answer> {
        let mut channels = self.common.settings.channels.iter();
        let found = channels.find(|channel| channel.id == id);
        found.ok_or_else(|| error(404, 4_130, "Channel does not exist."))
    }

    /// A channel that can be written to.
    fn writable(&self, id: &str) -> Result<(), Answer> {
        let channel = self.channel_of(id)?;
        if channel.archived {
            return Err(error(400, 5_420, "The channel is archived."));
        }
        if channel.encrypted {
            return Err(error(400, 5_419, "The channel is end-to-end encrypted."));
        }
        Ok(())
    }

    /// The root that a new message replies to, if it is to reply.
    fn root_of(&self, call: &Call, channel: &str) -> Result<Option<String>, Answer> {
        let id = call.field("reply_main_message_id");
        if id.is_empty() {
            return Ok(None);
        }
        let found = self.messages.find(id);
        let is_root = found.is_some_and(|root| root.root.is_none() && root.channel == channel);
        let text = "Only replies to a main message are supported.";
        is_root
            .then(|| Some(id.to_owned()))
            .ok_or_else(|| error(400, 5_402, text))
    }

    fn text_fault(call: &Call, text: &str) -> Option<Answer> {
        if call.json.is_none() {
            return Some(error(400, 7_001, "The body is not JSON."));
        }
        (text.encode_utf16().count() > MESSAGE_MAX)
            .then(|| invalid("message", "Message is too long."))
    }

    fn add(&mut self, message: Message, now: DateTime<Utc>) -> Answer {
        let is_odd = self.common.settings.odd_ids;
        if let Some(root) = &message.root {
            let what = if message.files.is_empty() {
                "reply"
            } else {
                "file"
            };
            self.messages.grow(root, 0, |root| root.note(what, now));
        }
        let made = self.messages.add_as(message, now, |n| {
            if is_odd {
                format!("DE159/sdh+m{n:06}==")
            } else {
                format!("8cfaf567-0000-4000-8000-{n:012x}")
            }
        });
        Answer::json(201, json!({ "id": made.id })).mutated()
    }

    fn post(&mut self, hit: &Hit<'_>) -> Answer {
        self.posted(hit).unwrap_or_else(|refused| refused)
    }

    fn posted(&mut self, hit: &Hit<'_>) -> Result<Answer, Answer> {
        let user = self.user_of(hit)?;
        let call = hit.call;
        let (channel, text) = (call.field("to_channel"), call.field("message"));
        if let Some(fault) = Self::text_fault(call, text) {
            return Err(fault);
        }
        self.writable(channel)?;
        let rich = call.at("/rich_text");
        if let Some(fault) = rich_fault(rich, text) {
            return Err(invalid("rich_text", fault));
        }
        let root = self.root_of(call, channel)?;
        let ids: Vec<&str> = match call.at("/file_ids").as_array() {
            None => Vec::new(),
            Some(ids) => ids.iter().filter_map(Value::as_str).collect(),
        };
        if text.trim().is_empty() && ids.is_empty() {
            return Err(invalid("message", "Invalid field."));
        }
        if ids.len() > FILES_MAX {
            return Err(invalid("file_ids", "Too many files."));
        }
        if ids.iter().any(|id| !self.uploads.contains_key(*id)) {
            return Err(error(400, 5_404, "The file does not exist."));
        }
        let files = ids
            .iter()
            .filter_map(|id| self.uploads.remove(*id))
            .collect();
        let message = Message {
            channel: channel.to_owned(),
            root,
            sender: user.id,
            text: text.to_owned(),
            rich: rich.clone(),
            mentions: call.at("/at_items").as_array().map_or(0, Vec::len),
            files,
            by_person: false,
            edited: false,
        };
        Ok(self.add(message, hit.now))
    }

    /// The message that a path names, in the channel that the query or the body names.
    fn message(&self, hit: &Hit<'_>, channel: &str) -> Result<&Entry<Message>, Answer> {
        self.user_of(hit)?;
        self.channel_of(channel)?;
        let found = named(hit.arg(1)).and_then(|id| self.messages.find(&id));
        let found = found.filter(|message| message.channel == channel);
        found.ok_or_else(no_message)
    }

    /// Its id, where the caller has sent it.
    fn own(&self, hit: &Hit<'_>, channel: &str) -> Result<String, Answer> {
        let (user, message) = (self.user_of(hit)?, self.message(hit, channel)?);
        if message.sender == user.id {
            return Ok(message.id.clone());
        }
        let text = "Only the sender of this message can make updates.";
        Err(error(400, 200, text))
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        self.updated(hit).unwrap_or_else(|refused| refused)
    }

    fn updated(&mut self, hit: &Hit<'_>) -> Result<Answer, Answer> {
        let call = hit.call;
        let text = call.field("message");
        if let Some(fault) = Self::text_fault(call, text) {
            return Err(fault);
        }
        let id = self.own(hit, call.field("to_channel"))?;
        self.writable(call.field("to_channel"))?;
        for field in ["rich_text", "at_items"] {
            if !call.at(&format!("/{field}")).is_null() {
                return Err(invalid(field, "Invalid field."));
            }
        }
        if text.trim().is_empty() {
            return Err(invalid("message", "Invalid field."));
        }
        self.messages.change(&id, |message| {
            text.clone_into(&mut message.text);
            message.rich = Value::Null;
            message.edited = true;
            message.note("update", hit.now);
        });
        Ok(Answer::empty(204).mutated())
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        let channel = hit.call.param("to_channel").unwrap_or_default();
        match self.own(hit, channel) {
            Ok(id) => {
                self.messages.remove(&id);
                Answer::empty(204).mutated()
            }
            Err(refused) => refused,
        }
    }

    /// A message as the API shows it.
    fn shown(&self, message: &Entry<Message>) -> Value {
        let texts = self.common.settings.texts;
        let text = if texts { message.text.as_str() } else { "" };
        let mut shown = json!({
            "id": message.id, "message": text, "sender": self.email(&message.sender),
            "sender_display_name": message.sender,
            "date_time": message.created.to_rfc3339_opts(SecondsFormat::Secs, true),
            "timestamp": message.created.timestamp_millis(), "rich_text": message.rich,
        });
        if let Some(root) = &message.root {
            shown["reply_main_message_id"] = root.as_str().into();
        }
        if !message.files.is_empty() {
            shown["files"] = shared(&message.files);
        }
        shown
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        let channel = hit.call.param("to_channel").unwrap_or_default();
        match self.message(hit, channel) {
            Ok(message) => {
                let mut shown = self.shown(message);
                let url = format!("https://zoom.us/launch/chat/v2/{}", message.id);
                shown["message_url"] = url.into();
                Answer::json(200, shown)
            }
            Err(refused) => refused,
        }
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        self.listed(hit).unwrap_or_else(|refused| refused)
    }

    fn listed(&self, hit: &Hit<'_>) -> Result<Answer, Answer> {
        self.user_of(hit)?;
        let call = hit.call;
        let channel = call.param("to_channel").unwrap_or_default();
        self.channel_of(channel)?;
        let from = call.param("from").map_or(Some(hit.now - HISTORY), time);
        let to = call
            .param("to")
            .map_or(Some(DateTime::<Utc>::MAX_UTC), time);
        let from = from.ok_or_else(|| invalid("from", "Invalid parameter: from."))?;
        let to = to.ok_or_else(|| invalid("to", "Invalid parameter: to."))?;
        if from > to {
            return Err(invalid("from", "Invalid parameter: from."));
        }
        let from = from.max(hit.now - HISTORY);
        let settings = &self.common.settings;
        let newest = indexed_until(settings.list_lag_ms, hit.now);
        let roots_only = call.param("exclude_child_message") == Some("true");
        let all = self.messages.tagged(channel).rev().filter(|message| {
            let is_in = message.created >= from && message.created <= to.min(newest);
            is_in && !(roots_only && message.root.is_some())
        });
        let page = PAGES.page(call, all, 10, 50);
        let page =
            page.ok_or_else(|| invalid("next_page_token", "The next page token is invalid."))?;
        let messages: Vec<Value> = page.items.iter().map(|one| self.shown(one)).collect();
        let next = page.next_name(call, PAGES).unwrap_or_default();
        let listing = json!({
            "messages": messages, "page_size": page.size, "next_page_token": next,
        });
        Ok(Answer::json(200, listing))
    }

    fn thread(&self, hit: &Hit<'_>) -> Answer {
        self.threaded(hit).unwrap_or_else(|refused| refused)
    }

    fn threaded(&self, hit: &Hit<'_>) -> Result<Answer, Answer> {
        let call = hit.call;
        let root = self.message(hit, call.param("to_channel").unwrap_or_default())?;
        let from = call.param("from").and_then(time);
        let from = from.ok_or_else(|| invalid("from", "Invalid parameter: from."))?;
        let limit = call.number("limit", 10);
        if !(1..=100).contains(&limit) {
            return Err(invalid("limit", "Invalid parameter: limit."));
        }
        let newest = indexed_until(self.common.settings.list_lag_ms, hit.now);
        let replies = self.messages.tagged(&root.id);
        let replies = replies.filter(|reply| reply.created >= from && reply.created <= newest);
        let mut replies: Vec<&Entry<Message>> = replies.collect();
        if call.param("sort") != Some("asc") {
            replies.reverse();
        }
        let total = replies.len();
        let with_files = call.param("need_attachment") == Some("true");
        let texts = self.common.settings.texts;
        let shown = replies.into_iter().take(limit).map(|reply| {
            let mut shown = json!({
                "msg_id": reply.id, "message": if texts { reply.text.as_str() } else { "" },
                "is_reply": true, "timestamp": reply.created.timestamp_millis(),
                "sender_user_id": reply.sender, "sender_email": self.email(&reply.sender),
                "sender_display_name": reply.sender,
            });
            if with_files && !reply.files.is_empty() {
                shown["files"] = shared(&reply.files);
            }
            shown
        });
        let messages: Vec<Value> = shown.collect();
        Ok(Answer::json(
            200,
            json!({ "total": total, "messages": messages }),
        ))
    }

    /// The one file of a request.
    fn file(&mut self, hit: &Hit<'_>, name: &str) -> Result<LedgerFile, Answer> {
        let mut parts = hit.call.parts.iter().filter(|part| part.name == name);
        let (Some(part), None) = (parts.next(), parts.next()) else {
            return Err(invalid(name, "One file is needed."));
        };
        let Some(file_name) = part.file_name.as_deref() else {
            return Err(invalid(name, "The file has no name."));
        };
        let media_type = part.media_type.as_deref().unwrap_or_default();
        self.files += 1;
        Ok(LedgerFile {
            id: format!("f1le{:08}", self.files),
            created: moment(hit.now),
            ..LedgerFile::of(file_name, media_type, &part.bytes)
        })
    }

    fn post_file(&mut self, hit: &Hit<'_>) -> Answer {
        if self.common.settings.redirects_files {
            let there = format!("{}{ELSEWHERE}{}", hit.call.base, hit.call.path);
            return Answer::empty(307).header("Location", &there);
        }
        self.keep_file(hit)
    }

    fn keep_file(&mut self, hit: &Hit<'_>) -> Answer {
        self.file_kept(hit).unwrap_or_else(|refused| refused)
    }

    fn file_kept(&mut self, hit: &Hit<'_>) -> Result<Answer, Answer> {
        let user = self.user_of(hit)?;
        let channel = hit.call.field("to_channel");
        self.writable(channel)?;
        let root = self.root_of(hit.call, channel)?;
        let file = self.file(hit, "files")?;
        let max = if file.media_type.starts_with("image/") {
            IMAGE_MAX
        } else {
            FILE_MAX
        };
        if file.size > max {
            return Err(invalid("files", "The file is too large."));
        }
        let message = Message {
            channel: channel.to_owned(),
            root,
            sender: user.id,
            text: String::new(),
            rich: Value::Null,
            mentions: 0,
            files: vec![file],
            by_person: false,
            edited: false,
        };
        Ok(self.add(message, hit.now))
    }

    fn upload(&mut self, hit: &Hit<'_>) -> Answer {
        let kept = self.user_of(hit).and_then(|_| self.file(hit, "file"));
        match kept {
            Ok(file) => {
                let id = file.id.clone();
                self.uploads.insert(id.clone(), file);
                Answer::json(201, json!({ "id": id })).mutated()
            }
            Err(refused) => refused,
        }
    }

    fn channels(&self, hit: &Hit<'_>) -> Answer {
        if let Err(refused) = self.user_of(hit) {
            return refused;
        }
        let Some(page) = PAGES.page(hit.call, &self.common.settings.channels, 10, 50) else {
            return invalid("next_page_token", "The next page token is invalid.");
        };
        let shown: Vec<Value> = page.items.iter().map(|one| described(one)).collect();
        let next = page.next_name(hit.call, PAGES).unwrap_or_default();
        let listing = json!({
            "channels": shown, "page_size": page.size, "total_records": page.total,
            "next_page_token": next,
        });
        Answer::json(200, listing)
    }

    fn channel(&self, hit: &Hit<'_>) -> Answer {
        match self.channel_of(hit.arg(0)) {
            Ok(channel) => Answer::json(200, described(channel)),
            Err(refused) => refused,
        }
    }

    fn user(&self, hit: &Hit<'_>) -> Answer {
        match self.user_of(hit) {
            Ok(user) => Answer::json(200, json!({ "id": user.id, "email": user.email })),
            Err(refused) => refused,
        }
    }

    /// Another user writes: none of Zoom's requests, but what people do.
    fn person(&mut self, hit: &Hit<'_>) -> Answer {
        let field = |name: &str| hit.call.field(name).to_owned();
        let users = &self.common.settings.users;
        let message = Message {
            channel: field("channel"),
            root: Some(field("root")).filter(|root| !root.is_empty()),
            sender: users.last().map(|user| user.id.clone()).unwrap_or_default(),
            text: field("message"),
            rich: Value::Null,
            mentions: 0,
            files: Vec::new(),
            by_person: true,
            edited: false,
        };
        self.add(message, hit.now)
    }

    fn line(&self, root: &Entry<Message>) -> LedgerIssue {
        let replies = self.messages.tagged(&root.id);
        let replies: Vec<_> = replies.filter(|reply| !reply.by_person).collect();
        let comments = replies.iter().filter(|reply| reply.files.is_empty());
        let comments = comments.map(|reply| LedgerComment {
            id: reply.id.clone(),
            body: reply.text.as_str().into(),
            public: true,
            properties: Map::from_iter([("rich_text".to_owned(), reply.rich.clone())]),
            created: moment(reply.created),
        });
        let called = replies.iter().map(|reply| reply.mentions).sum::<usize>();
        LedgerIssue {
            project: root.channel.clone(),
            summary: root.text.clone(),
            labels: root.marker().map(str::to_owned).into_iter().collect(),
            fields: Map::from_iter([
                ("rich_text".to_owned(), root.rich.clone()),
                ("edited".to_owned(), root.edited.into()),
                ("mentions".to_owned(), (root.mentions + called).into()),
            ]),
            comments: comments.collect(),
            attachments: replies
                .iter()
                .flat_map(|reply| reply.files.clone())
                .collect(),
            ..root.line()
        }
    }
}

fn described(channel: &Channel) -> Value {
    json!({ "id": channel.id, "name": channel.name, "type": 3,
        "jid": format!("{}@conference.xmpp.zoom.us", channel.id) })
}

fn shared(files: &[LedgerFile]) -> Value {
    let shown = files
        .iter()
        .map(|file| json!({ "file_id": file.id, "file_name": file.name, "file_size": file.size }));
    shown.collect()
}
