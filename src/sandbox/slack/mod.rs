//! Slack: the Web API's messages, and an incoming webhook. Written from the sheet
//! `platforms/slack.md`.
//!
//! | | |
//! | --- | --- |
//! | credentials | any bearer token; `…wrong` → `invalid_auth`, `…forbidden` → `missing_scope` on writes; tokens of `oauth.v2.access` end |
//! | channels | every id `C…`, `G…`, `D…`; `…NOPE` is not found, `…ARCHIVED` archived, `…OUTSIDE` one without the bot; a name `#x` is the id `CX` to a post alone |
//! | incoming webhook | `/services/T…/B…/…`; a last part `gone` → 404 `no_service` |
//! | history | finds a message `history_lag_ms` after it was posted |
//! | mentions | whom a message called, over all its versions and replies, is in `fields.mentions` of its item |
//!
//! Not modelled: reactions, edits by others, rate limits of its own.

mod mentions;
mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::fake::Fake;
use super::kit::grants::{Denied, Rules};
use super::kit::paging::page;
use super::kit::shelf::indexed_until;
use super::kit::{
    self, Access, Common, CredentialSource, Hit, Refusal, Route, Tabled, route, view,
};
use super::ledger::{LedgerFile, LedgerIssue};
use crate::domain::has_ink;
use store::{Message, Posted, Store};

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
pub(super) struct Settings {
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

impl kit::Settings for Settings {}

/// One workspace.
#[derive(Default)]
pub(super) struct Slack {
    common: Common<Settings>,
    store: Store,
    /// Files announced, and of those that came their bytes' measure; not yet shared.
    uploads: HashMap<String, LedgerFile>,
}

/// A call's arguments: of the query, of a form or of JSON.
struct Arguments(Map<String, Value>);

impl Arguments {
    fn of(call: &Call) -> Self {
        // What is no text is JSON there.
        let texts = call.query.iter().chain(&call.form).map(|(name, text)| {
            let is_json = matches!(name.as_str(), "blocks" | "metadata" | "files");
            let value = is_json.then(|| serde_json::from_str(text).ok()).flatten();
            (name.clone(), value.unwrap_or(Value::from(text.as_str())))
        });
        let mut all: Map<String, Value> = texts.collect();
        if let Some(Value::Object(members)) = &call.json {
            all.extend(members.clone());
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
    fn test(&self, hit: &Hit<'_>) -> Answer {
        Answer::json(
            200,
            json!({
                "ok": true, "url": format!("{}/", hit.call.base), "team": "Sandbox",
                "user": "ticketwire",
                "team_id": "T0SANDBOX", "user_id": "U0SANDBOX",
                "bot_id": self.common.settings.bot_id,
            }),
        )
    }

    fn unknown(&self, _: &Hit<'_>) -> Answer {
        refuse("unknown_method")
    }

    fn post(&mut self, hit: &Hit<'_>) -> Answer {
        let arguments = &Arguments::of(hit.call);
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
        let message = Message {
            channel: id.clone(),
            thread,
            ..message
        };
        let Some(ts) = self.store.add(message, hit.now) else {
            return refuse("message_limit_exceeded");
        };
        Answer::json(
            200,
            json!({ "ok": true, "channel": id, "ts": ts, "message": { "ts": ts } }),
        )
        .mutated()
    }

    fn announce(&mut self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        if call.method == "GET" {
            return refuse("invalid_arguments");
        }
        let arguments = &Arguments::of(hit.call);
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
    fn upload(&mut self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
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

    fn share(&mut self, hit: &Hit<'_>) -> Answer {
        let arguments = &Arguments::of(hit.call);
        let channel = arguments.text("channel_id");
        if let Err(refusal) = writable(channel) {
            return refusal;
        }
        let thread = arguments.text("thread_ts");
        let thread = (!thread.is_empty()).then(|| thread.to_owned());
        if let Some(root) = &thread
            && self.store.get(channel, root).is_none()
        {
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
            channel: channel.to_owned(),
            thread,
            bot_id: self.common.settings.bot_id.clone(),
            mentions: mentions::of(&comment),
            files,
            ..Message::default()
        };
        match self.store.add(message, hit.now) {
            Some(_) => Answer::json(200, json!({ "ok": true, "files": shown })).mutated(),
            None => refuse("storage_limit_reached"),
        }
    }

    /// The contents of a message, checked as Slack does.
    fn message(&self, arguments: &Arguments) -> Result<Message, Answer> {
        let (text, blocks) = (arguments.text("text"), arguments.value("blocks"));
        if shows_nothing(text, &blocks) {
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
            bot_id: self.common.settings.bot_id.clone(),
            mentions: mentions::of(&Value::Object(arguments.0.clone())),
            is_broadcast: arguments.value("reply_broadcast") == true,
            ..Message::default()
        })
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        let arguments = &Arguments::of(hit.call);
        let (channel, ts) = (arguments.text("channel"), arguments.text("ts"));
        if let Err(refusal) = writable(channel) {
            return refusal;
        }
        // `chat.postMessage` alone knows them.
        if ["unfurl_links", "unfurl_media"]
            .iter()
            .any(|name| arguments.0.contains_key(*name))
        {
            return refuse("invalid_arguments");
        }
        let text = arguments.text("text").to_owned();
        if text.chars().count() > UPDATE_TEXT_MAX {
            return refuse("msg_too_long");
        }
        let blocks = arguments.value("blocks");
        if shows_nothing(&text, &blocks) {
            return refuse("no_text");
        }
        if let Err(refusal) = check_blocks(&blocks) {
            return refusal;
        }
        let changed = self.store.change(channel, ts, |message| {
            message.note("update", hit.now);
            let called = mentions::of(&Value::Object(arguments.0.clone()));
            message.mentions.extend(called);
            message.text = text;
            message.blocks = blocks;
        });
        if changed.is_none() {
            return refuse("message_not_found");
        }
        Answer::json(200, json!({ "ok": true, "channel": channel, "ts": ts })).mutated()
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        let arguments = &Arguments::of(hit.call);
        let (channel, ts) = (arguments.text("channel"), arguments.text("ts"));
        if self.store.remove(channel, ts) {
            Answer::json(200, json!({ "ok": true, "channel": channel, "ts": ts })).mutated()
        } else {
            refuse("message_not_found")
        }
    }

    fn permalink(&self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let arguments = &Arguments::of(hit.call);
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

    fn channel(&self, hit: &Hit<'_>) -> Answer {
        let arguments = &Arguments::of(hit.call);
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

    /// Roots, newest first.
    fn history(&self, hit: &Hit<'_>) -> Answer {
        let arguments = &Arguments::of(hit.call);
        let all = self.store.of(arguments.text("channel")).rev();
        let roots = all.filter(|message| message.thread.is_none() || message.is_broadcast);
        self.listed(arguments, roots, hit.now)
    }

    /// A root and its thread, oldest first.
    fn replies(&self, hit: &Hit<'_>) -> Answer {
        let arguments = &Arguments::of(hit.call);
        let (channel, ts) = (arguments.text("channel"), arguments.text("ts"));
        let root = self.store.get(channel, ts);
        if is_known(channel) && root.is_none() {
            return refuse("thread_not_found");
        }
        let thread = root.into_iter().chain(self.store.thread(channel, ts));
        self.listed(arguments, thread, hit.now)
    }

    fn listed<'a>(
        &self,
        arguments: &Arguments,
        messages: impl Iterator<Item = &'a Posted>,
        now: DateTime<Utc>,
    ) -> Answer {
        if !is_known(arguments.text("channel")) {
            return refuse("channel_not_found");
        }
        let settings = &self.common.settings;
        let newest = indexed_until(settings.history_lag_ms, now);
        let oldest = arguments.text("oldest");
        let with_metadata =
            settings.shows_metadata && arguments.text("include_all_metadata") == "true";
        let found =
            messages.filter(|message| message.created <= newest && message.ts.as_str() >= oldest);
        let limit = arguments.text("limit").parse().unwrap_or(100);
        let skip = arguments.text("cursor").parse().unwrap_or(0);
        let page = page(found, skip, limit.min(PAGE_MAX));
        let next = page
            .next()
            .map_or_else(String::new, |next| next.to_string());
        let shown: Vec<Value> = page
            .items
            .iter()
            .map(|message| message.shown(with_metadata))
            .collect();
        Answer::json(
            200,
            json!({
                "ok": true, "messages": shown, "has_more": page.next().is_some(),
                "response_metadata": { "next_cursor": next },
            }),
        )
    }

    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        if hit.call.declares_json() {
            return refuse("invalid_arguments");
        }
        let rules = Rules::refreshing(self.common.settings.access_token_seconds);
        match self.common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => {
                let mut body = granted.json();
                body["ok"] = true.into();
                body["token_type"] = "bot".into();
                Answer::json(200, body).mutated()
            }
            Err(Denied::UnsupportedGrantType) => refuse("invalid_arguments"),
            Err(Denied::NoClient) => refuse("invalid_client_id"),
            Err(Denied::InvalidClient) => refuse("bad_client_secret"),
            Err(Denied::InvalidGrant(_)) => refuse("invalid_refresh_token"),
        }
    }

    /// `POST /services/T…/B…/…`: true statuses with a word in plain text.
    fn hook(&mut self, hit: &Hit<'_>) -> Answer {
        let call = hit.call;
        let plain = Answer::plain;
        if call.segments.last().is_some_and(|last| last == "gone") {
            return plain(404, "no_service");
        }
        let Some(body) = &call.json else {
            return plain(400, "invalid_payload");
        };
        let (text, blocks) = (body["text"].as_str().unwrap_or_default(), &body["blocks"]);
        if shows_nothing(text, blocks) {
            return plain(400, "no_text");
        }
        if check_blocks(blocks).is_err() {
            return plain(400, "invalid_payload");
        }
        let message = Message {
            channel: "CWEBHOOK".to_owned(),
            text: text.to_owned(),
            blocks: blocks.clone(),
            mentions: mentions::of(body),
            ..Message::default()
        };
        match self.store.add(message, hit.now) {
            Some(_) => plain(200, "ok").mutated(),
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

/// Whether a message would be empty.
fn shows_nothing(text: &str, blocks: &Value) -> bool {
    !has_ink(text) && blocks.as_array().is_none_or(Vec::is_empty)
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
            .is_none_or(|text| !has_ink(text) || text.chars().count() > max)
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

impl Tabled for Slack {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("*", "/services/**", "incoming_webhook", Self::hook).open(),
        route("*", "/upload/**", "upload", Self::upload).open(),
        route("*", "/oauth.v2.access", "oauth.v2.access", Self::token).open(),
        view("*", "/auth.test", "auth.test", Self::test),
        route("*", "/chat.postMessage", "chat.postMessage", Self::post),
        route("*", "/chat.update", "chat.update", Self::update),
        route("*", "/chat.delete", "chat.delete", Self::delete),
        view("*", "/chat.getPermalink", "chat.getPermalink", Self::permalink),
        route("*", "/files.getUploadURLExternal", "files.getUploadURLExternal",
            Self::announce).reads(),
        route("*", "/files.completeUploadExternal", "files.completeUploadExternal", Self::share),
        view("*", "/conversations.info", "conversations.info", Self::channel),
        view("*", "/conversations.history", "conversations.history", Self::history),
        view("*", "/conversations.replies", "conversations.replies", Self::replies),
        view("*", "/**", "unknown_method", Self::unknown),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[CredentialSource::Bearer];

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn refuse(&self, refusal: &Refusal, _: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing => refuse("not_authed"),
            Refusal::Wrong => refuse("invalid_auth"),
            Refusal::Expired => refuse("token_expired"),
            Refusal::Forbidden => Answer::json(
                200,
                json!({
                    "ok": false, "error": "missing_scope", "needed": "chat:write",
                    "provided": "channels:read",
                }),
            ),
            Refusal::NoPath | Refusal::OtherMethods(_) => refuse("unknown_method"),
            Refusal::Budget(_) | Refusal::Status(429) => {
                Answer::json(429, json!({ "ok": false, "error": "ratelimited" }))
                    .header("Retry-After", "1")
            }
            Refusal::Status(status) => {
                Answer::json(*status, json!({ "ok": false, "error": "internal_error" }))
            }
        }
    }

    /// Some methods take a form or a query alone.
    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let takes_json = hit.access == Access::Write
            || matches!(hit.operation, "auth.test" | "conversations.history");
        (hit.call.declares_json() && !takes_json).then(|| refuse("invalid_arguments"))
    }

    fn stranger_answer(&self, call: &Call, _: DateTime<Utc>) -> Answer {
        match self.operation(call) {
            "incoming_webhook" => Answer::plain(403, "invalid_token"),
            "upload" => Answer::plain(403, "forbidden"),
            "oauth.v2.access" => refuse("invalid_refresh_token"),
            _ => refuse("invalid_auth"),
        }
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        (self.store.ledger(label), 0)
    }
}
