//! Slack: the Web API's messages, and an incoming webhook. Written from the sheet `platforms/slack.md`.
//!
//! | | |
//! | --- | --- |
//! | credentials | any bearer token; `…wrong` → `invalid_auth`, `…forbidden` → `missing_scope` on writes; tokens of `oauth.v2.access` end |
//! | channels | every id `C…`, `G…`, `D…`; `…NOPE` is not found, `…ARCHIVED` archived, `…OUTSIDE` one without the bot; a name `#x` is the id `CX` to a post alone |
//! | incoming webhook | `/services/T…/B…/…`; a last part `gone` → 404 `no_service` |
//! | history | finds a message `history_lag_ms` after it was posted |
//! | mentions | whom a message called, over all its versions and replies, is in `fields.mentions` of its item |
//!
//! Not modelled: files, reactions, edits by others, rate limits of its own.

mod mentions;
mod store;

use std::collections::HashMap;

use axum::http::header;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::fake::{Fake, merged};
use super::ledger::{LedgerFile, LedgerIssue};
use super::tokens::Tokens;
use store::{Message, Store};

/// The app that every token belongs to.
const BOT: &str = "B0SANDBOX";
/// Block Kit limits (sheet §8).
const BLOCKS_MAX: usize = 50;
const BLOCKS_CHARS_MAX: usize = 13_000;
const UPDATE_TEXT_MAX: usize = 4_000;
/// Messages of a page at most.
const PAGE_MAX: usize = 999;

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// A listing shows a message only so long after it was posted.
    history_lag_ms: u64,
    /// Life of an access token made by `oauth.v2.access`.
    access_token_seconds: i64,
    /// The app that the tokens belong to.
    bot_id: String,
    /// Whether listings show the metadata of messages to who asks for it.
    shows_metadata: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            history_lag_ms: 0,
            access_token_seconds: 43_200,
            bot_id: BOT.into(),
            shows_metadata: true,
        }
    }
}

/// One workspace.
#[derive(Default)]
pub(super) struct Slack {
    settings: Settings,
    tokens: Tokens,
    store: Store,
    /// Files announced, and of those that came their bytes' measure; not yet shared.
    uploads: HashMap<String, LedgerFile>,
}

/// A call's arguments: of the query, of a form or of JSON.
struct Arguments(Map<String, Value>);

impl Arguments {
    fn of(call: &Call) -> Self {
        let mut all: Map<String, Value> = call
            .query
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect();
        match &call.json {
            Some(Value::Object(members)) => all.extend(members.clone()),
            _ => {
                for (name, text) in &call.form {
                    let structured = matches!(name.as_str(), "blocks" | "metadata");
                    let value = structured
                        .then(|| serde_json::from_str(text).ok())
                        .flatten()
                        .unwrap_or(Value::from(text.as_str()));
                    all.insert(name.clone(), value);
                }
            }
        }
        Self(all)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn value(&self, name: &str) -> Value {
        self.0.get(name).cloned().unwrap_or_default()
    }
}

fn refuse(code: &str) -> Answer {
    Answer::json(200, json!({ "ok": false, "error": code }))
}

fn explain(code: &str, message: &str) -> Answer {
    let metadata = json!({ "messages": [format!("[ERROR] {message}")] });
    Answer::json(
        200,
        json!({ "ok": false, "error": code, "response_metadata": metadata }),
    )
}

impl Slack {
    /// Whether the caller may go on, and the answer if not.
    fn admit(&self, call: &Call, writes: bool, now: DateTime<Utc>) -> Result<(), Answer> {
        let bearer = call
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let Some(token) = bearer.filter(|token| !token.is_empty()) else {
            return Err(refuse("not_authed"));
        };
        if self.tokens.is_alive(token, now) == Some(false) {
            return Err(refuse("token_expired"));
        }
        if token.ends_with("wrong") {
            return Err(refuse("invalid_auth"));
        }
        if writes && token.ends_with("forbidden") {
            let body = json!({
                "ok": false, "error": "missing_scope", "needed": "chat:write", "provided": "channels:read",
            });
            return Err(Answer::json(200, body));
        }
        Ok(())
    }

    fn method(&mut self, call: &Call, method: &str, now: DateTime<Utc>) -> Answer {
        let arguments = Arguments::of(call);
        let writes = (method.starts_with("chat.") && method != "chat.getPermalink")
            || method == "files.completeUploadExternal";
        if let Err(refusal) = self.admit(call, writes, now) {
            return refusal;
        }
        // These take a form or a query alone.
        let takes_json = matches!(method, "auth.test" | "conversations.history") || writes;
        if call.declares_json() && !takes_json {
            return refuse("invalid_arguments");
        }
        match method {
            "chat.postMessage" => self.post(&arguments, now),
            "chat.update" => self.update(&arguments),
            "chat.delete" => self.delete(&arguments),
            "chat.getPermalink" => self.permalink(call, &arguments),
            "auth.test" => Answer::json(
                200,
                json!({
                    "ok": true, "url": format!("{}/", call.base), "team": "Sandbox", "user": "ticketwire",
                    "team_id": "T0SANDBOX", "user_id": "U0SANDBOX", "bot_id": self.settings.bot_id,
                }),
            ),
            "files.getUploadURLExternal" => self.announce(call, &arguments),
            "files.completeUploadExternal" => self.share(&arguments, now),
            "conversations.info" => Self::channel(&arguments),
            "conversations.history" => self.list(&arguments, None, now),
            "conversations.replies" => self.list(&arguments, Some(arguments.text("ts")), now),
            _ => refuse("unknown_method"),
        }
    }

    fn post(&mut self, arguments: &Arguments, now: DateTime<Utc>) -> Answer {
        let named = arguments.text("channel");
        let id = match named.strip_prefix('#') {
            Some(name) => format!("C{}", name.to_uppercase()),
            None => named.to_owned(),
        };
        if let Err(refusal) = writable(&id) {
            return refusal;
        }
        let message = match self.message(arguments) {
            Ok(message) => message,
            Err(refusal) => return refusal,
        };
        let thread = arguments.text("thread_ts");
        let thread = (!thread.is_empty()).then(|| thread.to_owned());
        if let Some(root) = &thread
            && self.store.get(&id, root).is_none()
        {
            return refuse("thread_not_found");
        }
        let Some(ts) = self.store.add(&id, thread, message, now) else {
            return refuse("message_limit_exceeded");
        };
        Answer::json(
            200,
            json!({ "ok": true, "channel": id, "ts": ts, "message": { "ts": ts } }),
        )
        .effective()
    }

    fn announce(&mut self, call: &Call, arguments: &Arguments) -> Answer {
        let (name, length) = (arguments.text("filename"), arguments.text("length"));
        let size = length.parse().unwrap_or(0);
        if name.is_empty() || size == 0 {
            return refuse("invalid_arguments");
        }
        let id = format!("F{:06}", self.uploads.len() + 1);
        let url = format!("{}/upload/v1/{id}", call.base);
        let file = LedgerFile {
            id: id.clone(),
            name: name.to_owned(),
            size,
            ..LedgerFile::default()
        };
        self.uploads.insert(id.clone(), file);
        Answer::json(200, json!({ "ok": true, "upload_url": url, "file_id": id }))
    }

    /// The bytes; plain HTTP, no token.
    fn upload(&mut self, call: &Call) -> Answer {
        let id = call.segments.last().map(String::as_str).unwrap_or_default();
        let Some(file) = self.uploads.get_mut(id) else {
            return Answer::plain(404, "no such upload");
        };
        if u64::try_from(call.body.len()).ok() != Some(file.size) {
            return Answer::plain(400, "not the length that was announced");
        }
        file.sha256 = LedgerFile::of("", "", &call.body).sha256;
        Answer::plain(200, &format!("OK - {}", file.size))
    }

    fn share(&mut self, arguments: &Arguments, now: DateTime<Utc>) -> Answer {
        let channel = arguments.text("channel_id");
        if let Err(refusal) = writable(channel) {
            return refusal;
        }
        let thread = arguments.text("thread_ts").to_owned();
        if self.store.get(channel, &thread).is_none() {
            return refuse("thread_not_found");
        }
        let wanted = arguments.value("files");
        let ids: Vec<&str> = wanted
            .as_array()
            .map(|files| {
                files
                    .iter()
                    .filter_map(|file| file["id"].as_str())
                    .collect()
            })
            .unwrap_or_default();
        let files: Vec<LedgerFile> = ids
            .iter()
            .filter_map(|id| self.uploads.get(*id))
            .filter(|file| !file.sha256.is_empty())
            .cloned()
            .collect();
        if files.is_empty() || files.len() < ids.len() {
            return refuse("file_not_found");
        }
        let shown: Vec<Value> = files
            .iter()
            .map(|file| json!({ "id": file.id, "title": file.name }))
            .collect();
        let comment = json!({ "text": arguments.text("initial_comment") });
        let message = Message {
            bot_id: self.settings.bot_id.clone(),
            mentions: mentions::of(&comment),
            files,
            ..Message::default()
        };
        match self.store.add(channel, Some(thread), message, now) {
            Some(_) => Answer::json(200, json!({ "ok": true, "files": shown })).effective(),
            None => refuse("storage_limit_reached"),
        }
    }

    /// The contents of a message, checked as Slack does.
    fn message(&self, arguments: &Arguments) -> Result<Message, Answer> {
        let (text, blocks) = (arguments.text("text"), arguments.value("blocks"));
        if text.trim().is_empty() && blocks.as_array().is_none_or(Vec::is_empty) {
            return Err(refuse("no_text"));
        }
        check_blocks(&blocks)?;
        let metadata = arguments.value("metadata");
        let shaped = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
        if !metadata.is_null() && !shaped {
            return Err(refuse("invalid_metadata_schema"));
        }
        Ok(Message {
            text: text.to_owned(),
            blocks,
            metadata,
            bot_id: self.settings.bot_id.clone(),
            mentions: mentions::of(&Value::Object(arguments.0.clone())),
            is_broadcast: arguments.value("reply_broadcast") == true,
            ..Message::default()
        })
    }

    fn update(&mut self, arguments: &Arguments) -> Answer {
        let (channel, ts) = (arguments.text("channel"), arguments.text("ts"));
        if let Err(refusal) = writable(channel) {
            return refusal;
        }
        let text = arguments.text("text").to_owned();
        if text.chars().count() > UPDATE_TEXT_MAX {
            return refuse("msg_too_long");
        }
        let blocks = arguments.value("blocks");
        if let Err(refusal) = check_blocks(&blocks) {
            return refusal;
        }
        let Some(message) = self.store.get_mut(channel, ts) else {
            return refuse("message_not_found");
        };
        message.note("update");
        message
            .mentions
            .extend(mentions::of(&Value::Object(arguments.0.clone())));
        message.text = text;
        message.blocks = blocks;
        Answer::json(200, json!({ "ok": true, "channel": channel, "ts": ts })).effective()
    }

    fn delete(&mut self, arguments: &Arguments) -> Answer {
        let (channel, ts) = (arguments.text("channel"), arguments.text("ts"));
        if self.store.remove(channel, ts) {
            Answer::json(200, json!({ "ok": true, "channel": channel, "ts": ts })).effective()
        } else {
            refuse("message_not_found")
        }
    }

    fn permalink(&self, call: &Call, arguments: &Arguments) -> Answer {
        let (channel, ts) = (arguments.text("channel"), arguments.text("message_ts"));
        if self.store.get(channel, ts).is_none() {
            return refuse("message_not_found");
        }
        let link = format!("{}/archives/{channel}/p{}", call.base, ts.replace('.', ""));
        Answer::json(
            200,
            json!({ "ok": true, "channel": channel, "permalink": link }),
        )
    }

    fn channel(arguments: &Arguments) -> Answer {
        let id = arguments.text("channel");
        if !is_known(id) {
            return refuse("channel_not_found");
        }
        let channel = json!({
            "id": id, "name": id.to_lowercase(), "is_archived": id.ends_with("ARCHIVED"),
            "is_member": !id.ends_with("OUTSIDE"),
        });
        Answer::json(200, json!({ "ok": true, "channel": channel }))
    }

    /// History has roots newest first; replies have the root and its thread oldest first.
    fn list(&self, arguments: &Arguments, thread: Option<&str>, now: DateTime<Utc>) -> Answer {
        let channel = arguments.text("channel");
        if !is_known(channel) {
            return refuse("channel_not_found");
        }
        let lag = i64::try_from(self.settings.history_lag_ms).unwrap_or(i64::MAX);
        let newest = now - chrono::TimeDelta::try_milliseconds(lag).unwrap_or_default();
        let with_metadata =
            self.settings.shows_metadata && arguments.text("include_all_metadata") == "true";
        let oldest = arguments.text("oldest");
        let mut found: Vec<&Message> = self
            .store
            .of(channel)
            .filter(|message| message.posted <= newest && message.ts.as_str() >= oldest)
            .filter(|message| match thread {
                None => message.thread.is_none() || message.is_broadcast,
                Some(root) => message.ts == root || message.thread.as_deref() == Some(root),
            })
            .collect();
        match thread {
            None => found.reverse(),
            Some(root) if !found.iter().any(|message| message.ts == root) => {
                if self.store.get(channel, root).is_none() {
                    return refuse("thread_not_found");
                }
            }
            Some(_) => {}
        }
        let limit = arguments.text("limit").parse().unwrap_or(100);
        let skip: usize = arguments.text("cursor").parse().unwrap_or(0);
        let total = found.len();
        let page: Vec<Value> = found
            .into_iter()
            .skip(skip)
            .take(limit.min(PAGE_MAX))
            .map(|message| message.shown(with_metadata))
            .collect();
        let end = skip + page.len();
        let cursor = if end < total {
            end.to_string()
        } else {
            String::new()
        };
        Answer::json(
            200,
            json!({
                "ok": true, "messages": page, "has_more": end < total,
                "response_metadata": { "next_cursor": cursor },
            }),
        )
    }

    fn grant(&mut self, call: &Call, now: DateTime<Utc>) -> Answer {
        let arguments = Arguments::of(call);
        if call.declares_json() || arguments.text("grant_type") != "refresh_token" {
            return refuse("invalid_arguments");
        }
        if arguments.text("client_id").is_empty() {
            return refuse("invalid_client_id");
        }
        if matches!(arguments.text("client_secret"), "" | "wrong") {
            return refuse("bad_client_secret");
        }
        let seconds = self.settings.access_token_seconds;
        match self
            .tokens
            .refresh(arguments.text("refresh_token"), seconds, now)
        {
            None => refuse("invalid_refresh_token"),
            Some(pair) => Answer::json(
                200,
                json!({
                    "ok": true, "access_token": pair.access, "refresh_token": pair.refresh, "expires_in": seconds,
                    "token_type": "bot",
                }),
            )
            .effective(),
        }
    }

    /// `POST /services/T…/B…/…`: true statuses with a word in plain text.
    fn hook(&mut self, call: &Call, now: DateTime<Utc>) -> Answer {
        let plain = Answer::plain;
        if call.segments.last().is_some_and(|last| last == "gone") {
            return plain(404, "no_service");
        }
        let Some(body) = &call.json else {
            return plain(400, "invalid_payload");
        };
        let (text, blocks) = (body["text"].as_str().unwrap_or_default(), &body["blocks"]);
        if text.is_empty() && blocks.is_null() {
            return plain(400, "no_text");
        }
        if check_blocks(blocks).is_err() {
            return plain(400, "invalid_payload");
        }
        let message = Message {
            text: text.to_owned(),
            blocks: blocks.clone(),
            mentions: mentions::of(body),
            ..Message::default()
        };
        match self.store.add("CWEBHOOK", None, message, now) {
            Some(_) => plain(200, "ok").effective(),
            None => plain(429, "rate_limited"),
        }
    }
}

fn is_known(channel: &str) -> bool {
    channel.starts_with(['C', 'G', 'D'])
        && channel
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        && !channel.ends_with("NOPE")
}

fn writable(channel: &str) -> Result<(), Answer> {
    if !is_known(channel) {
        return Err(refuse("channel_not_found"));
    }
    if channel.ends_with("ARCHIVED") {
        return Err(refuse("is_archived"));
    }
    if channel.ends_with("OUTSIDE") {
        return Err(refuse("not_in_channel"));
    }
    Ok(())
}

/// The limits of Block Kit that an adapter could run into.
fn check_blocks(blocks: &Value) -> Result<(), Answer> {
    let blocks = match blocks {
        Value::Null => return Ok(()),
        Value::Array(blocks) => blocks,
        _ => return Err(refuse("invalid_blocks_format")),
    };
    let too_long = |value: &Value, max: usize| {
        value
            .as_str()
            .is_none_or(|text| text.trim().is_empty() || text.chars().count() > max)
    };
    let invalid = |message: &str| Err(explain("invalid_blocks", message));
    if blocks.len() > BLOCKS_MAX {
        return invalid("no more than 50 items allowed [json-pointer:/blocks]");
    }
    for block in blocks {
        match block["type"].as_str() {
            Some("header") if too_long(&block["text"]["text"], 150) => {
                return invalid("must be less than 151 characters [header]");
            }
            Some("section")
                if !block["text"].is_null() && too_long(&block["text"]["text"], 3_000) =>
            {
                return invalid("must be less than 3001 characters [section]");
            }
            Some("section") => {
                let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
                if fields.len() > 10 || fields.iter().any(|field| too_long(&field["text"], 2_000)) {
                    return invalid("no more than 10 fields of 2000 characters [section]");
                }
            }
            Some("header" | "context" | "actions" | "divider") => {}
            _ => return invalid("unsupported type"),
        }
    }
    let size = Value::from(blocks.clone()).to_string().chars().count();
    if size > BLOCKS_CHARS_MAX {
        return Err(refuse("msg_blocks_too_long"));
    }
    Ok(())
}

impl Fake for Slack {
    fn operation(&self, call: &Call) -> &'static str {
        const METHODS: [&str; 11] = [
            "chat.postMessage",
            "chat.update",
            "chat.delete",
            "chat.getPermalink",
            "auth.test",
            "files.getUploadURLExternal",
            "files.completeUploadExternal",
            "conversations.info",
            "conversations.history",
            "conversations.replies",
            "oauth.v2.access",
        ];
        match call.segments.first().map(String::as_str) {
            Some("services") => "incoming_webhook",
            Some("upload") => "upload",
            Some(first) => METHODS
                .into_iter()
                .find(|method| *method == first)
                .unwrap_or("unknown_method"),
            None => "unknown_method",
        }
    }

    fn answer(&mut self, call: &Call, now: DateTime<Utc>) -> Answer {
        match self.operation(call) {
            "incoming_webhook" => self.hook(call, now),
            "upload" => self.upload(call),
            "oauth.v2.access" => self.grant(call, now),
            method => self.method(call, method, now),
        }
    }

    fn fault_answer(&self, _: &Call, status: u16, _: DateTime<Utc>) -> Answer {
        match status {
            429 => Answer::json(429, json!({ "ok": false, "error": "ratelimited" }))
                .header("Retry-After", "1"),
            _ => Answer::json(status, json!({ "ok": false, "error": "internal_error" })),
        }
    }

    fn stranger(&self, call: &Call, _: DateTime<Utc>) -> Answer {
        match self.operation(call) {
            "incoming_webhook" => Answer::plain(403, "invalid_token"),
            "upload" => Answer::plain(403, "forbidden"),
            "oauth.v2.access" => refuse("invalid_refresh_token"),
            _ => refuse("invalid_auth"),
        }
    }

    fn configure(&mut self, changes: Map<String, Value>) -> Result<(), String> {
        self.settings = merged(&self.settings, changes)?;
        Ok(())
    }

    fn settings(&self) -> Value {
        json!(self.settings)
    }

    fn ledger(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        (self.store.ledger(label), 0)
    }
}
