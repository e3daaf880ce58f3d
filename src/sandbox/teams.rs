//! Microsoft Teams: channel messages of Graph 1.0, Entra's token endpoint, and flows of Power
//! Automate that post cards. Written from Microsoft's documentation.
//!
//! | | |
//! | --- | --- |
//! | tokens | `/<tenant>/oauth2/v2.0/token` refreshes and rotates; its tokens are the user's (`user_id`) with the scopes of `consented`; any other bearer token is a colleague's, whose id is the token |
//! | channels | those of `channels`, in any team |
//! | messages | HTML, cards as JSON in text, files by reference; each attachment is pointed to by the body; 28 kB; a change is the author's alone, and replaces all |
//! | listings | `$top` 1 to 50, `@odata.nextLink`, the newest first (`newest_first`), `list_lag_ms` late |
//! | delta | chains that changed, each with its replies; `@odata.deltaLink`, which `forgets_deltas` refuses with 410 |
//! | files | a folder for each channel; what is uploaded under a name replaces what was there |
//! | flows | `sig` is the credential; a flow answers 202 before it posts, and posts nothing that Teams does not show: cards that are none, and messages beyond 21 kB |
//!
//! Not modelled: mentions, reactions, subscriptions, chats, upload sessions, rate limits of single
//! channels. 50,000 messages and 128 MiB a site; 1,000 files.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::answer::Answer;
use super::call::Call;
use super::kit::grants::{Denied, Rules};
use super::kit::paging::By;
use super::kit::rate::Reset;
use super::kit::shelf::{indexed_until, moment, weigh};
use super::kit::{
    self, Budget, Common, Credential, CredentialSource, Entry, Hit, Item, RateHeaders, Refusal,
    Route, Shelf, Tabled, checks, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

const CARD: &str = "application/vnd.microsoft.card.adaptive";
const DRIVE: &str = "b!drive0001";
/// Bytes of a message that Graph takes, and from which on a flow posts nothing.
const GRAPH_MAX: usize = 28 << 10;
const FLOW_MAX: usize = 21_000;
const PAGE_MAX: usize = 50;
const FILES_MAX: usize = 1_000;
const PAGES: By = By::Cursor("$skiptoken", "$top");
/// What a delta goes on from, in microseconds since 1970.
const DELTA: &str = "$deltatoken";

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Requests that are taken; absent is any number.
    budget: Option<Budget>,
    access_token_seconds: i64,
    /// Whose the tokens are.
    user_id: String,
    /// Scopes that the user or an administrator consented to.
    consented: Vec<String>,
    channels: Vec<String>,
    /// Most messages of a page.
    page: usize,
    list_lag_ms: u64,
    newest_first: bool,
    /// Whether messages are shown with what is in them.
    shows_contents: bool,
    /// Whether delta tokens are no longer good.
    forgets_deltas: bool,
    /// Whether the flow is turned on, and whether anyone can trigger it.
    flow_enabled: bool,
    flow_for_anyone: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let scopes = [
            "ChannelMessage.Send",
            "ChannelMessage.ReadWrite",
            "ChannelMessage.Read.All",
            "Channel.ReadBasic.All",
            "User.Read",
            "offline_access",
            "Files.ReadWrite.All",
        ];
        Self {
            budget: None,
            access_token_seconds: 3_600,
            user_id: "00000000-0000-0000-0000-00000000000a".into(),
            consented: scopes.map(str::to_owned).to_vec(),
            channels: vec![
                "19:support@thread.tacv2".into(),
                "19:general@thread.tacv2".into(),
            ],
            page: PAGE_MAX,
            list_lag_ms: 0,
            newest_first: true,
            shows_contents: true,
            forgets_deltas: false,
            flow_enabled: true,
            flow_for_anyone: true,
        }
    }
}

impl kit::Settings for Settings {
    fn budget(&self) -> Option<Budget> {
        self.budget
    }
}

/// A message, or a reply.
#[derive(Debug, Clone, Default)]
struct Message {
    /// Team and channel; empty of what a flow posted.
    place: String,
    team: String,
    /// Of a reply, its root.
    root: Option<String>,
    from: String,
    subject: Option<String>,
    html: String,
    /// As they were sent.
    attachments: Vec<Value>,
    is_deleted: bool,
    files: Vec<LedgerFile>,
}

impl Message {
    /// The JSON of its cards.
    fn cards(&self) -> Vec<Value> {
        let cards = self
            .attachments
            .iter()
            .filter(|one| one["contentType"] == CARD);
        let read = |one: &Value| match &one["content"] {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            card => card.clone(),
        };
        cards.map(read).collect()
    }

    /// Markers of ours in it.
    fn markers(&self) -> Vec<String> {
        let texts = format!("{} {}", Value::from(self.cards()), self.html);
        let parts = texts.split("[ref:").skip(1);
        let markers = parts.filter_map(|part| part.split_once(']'));
        markers.map(|(marker, _)| marker.to_owned()).collect()
    }
}

impl Item for Message {
    fn tags(&self) -> Vec<String> {
        let own = match &self.root {
            Some(root) => format!("replies of {root}"),
            None => format!("roots of {}", self.place),
        };
        [own].into_iter().chain(self.markers()).collect()
    }

    fn weight(&self) -> usize {
        self.html.len() + self.attachments.iter().map(weigh).sum::<usize>()
    }
}

/// One tenant.
pub(super) struct Teams {
    common: Common<Settings>,
    messages: Shelf<Message>,
    last_id: i64,
    /// By folder and name.
    files: BTreeMap<String, LedgerFile>,
}

impl Default for Teams {
    fn default() -> Self {
        Self {
            common: Common::default(),
            messages: Shelf::new(50_000, 128 << 20, 1),
            last_id: 0,
            files: BTreeMap::new(),
        }
    }
}

impl Tabled for Teams {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/*/oauth2/v2.0/token", "token", Self::token).open(),
        view("GET", "/v1.0/me", "me", Self::me),
        view("GET", "/v1.0/teams/*/channels", "list_channels", Self::list_channels),
        view("GET", "/v1.0/teams/*/channels/*", "get_channel", Self::get_channel),
        view("GET", "/v1.0/teams/*/channels/*/filesFolder", "files_folder", Self::folder),
        route("PUT", "/v1.0/drives/*/items/*/*/content", "upload", Self::upload),
        route("POST", "/v1.0/teams/*/channels/*/messages", "post_message", Self::post),
        view("GET", "/v1.0/teams/*/channels/*/messages", "list_messages", Self::list),
        view("GET", "/v1.0/teams/*/channels/*/messages/delta", "delta", Self::delta),
        view("GET", "/v1.0/teams/*/channels/*/messages/*", "get_message", Self::get),
        route("PATCH", "/v1.0/teams/*/channels/*/messages/*", "patch_message", Self::patch),
        route("POST", "/v1.0/teams/*/channels/*/messages/*/softDelete", "delete_message", Self::delete),
        route("POST", "/v1.0/teams/*/channels/*/messages/*/replies", "post_reply", Self::reply),
        view("GET", "/v1.0/teams/*/channels/*/messages/*/replies", "list_replies", Self::list_replies),
        route("POST", "/workflows/*/triggers/manual/paths/invoke", "flow", Self::flow),
        route("POST", "/powerautomate/automations/direct/workflows/*/triggers/manual/paths/invoke", "flow", Self::flow),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[CredentialSource::Bearer];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "",
        remaining: "",
        reset: "",
        reset_in: Reset::Seconds,
        retry_after: true,
    });

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn credential(&self, call: &Call) -> Result<Credential, Refusal> {
        if is_flow(call) {
            return checks::credential(call, &[CredentialSource::Query("sig")]);
        }
        checks::credential(call, Self::CREDENTIALS)
    }

    fn refuse(&self, refusal: &Refusal, call: &Call, _: DateTime<Utc>) -> Answer {
        if call.path.ends_with("/oauth2/v2.0/token") {
            return match refusal {
                Refusal::Status(status @ (429 | 500..=599)) => {
                    entra(*status, "temporarily_unavailable", 90_033, "Later.")
                }
                Refusal::Status(status) => entra(*status, "invalid_grant", 70_000, "On demand."),
                _ => entra(400, "invalid_grant", 70_000, "The grant is not valid."),
            };
        }
        match refusal {
            Refusal::Missing | Refusal::Wrong | Refusal::Status(401) if is_flow(call) => error(
                401,
                "DirectApiAuthorizationRequired",
                "The request must be authenticated.",
            ),
            Refusal::Missing | Refusal::Wrong | Refusal::Expired | Refusal::Status(401) => error(
                401,
                "InvalidAuthenticationToken",
                "Access token has expired or is not yet valid.",
            ),
            Refusal::Forbidden | Refusal::Status(403) => forbidden(),
            Refusal::NoPath => error(400, "BadRequest", "Resource not found for the segment."),
            Refusal::OtherMethods(_) => error(405, "UnknownError", "Method not allowed."),
            Refusal::Status(404) => not_found(),
            Refusal::Budget(_) | Refusal::Status(429) => {
                error(429, "TooManyRequests", "Too many requests.")
            }
            Refusal::Status(412) => error(412, "PreconditionFailed", "The etag has changed."),
            Refusal::Status(413) => too_large(),
            Refusal::Status(status @ 400..=499) => error(*status, "BadRequest", "On demand."),
            Refusal::Status(status) => error(*status, "ServiceUnavailable", "On demand."),
        }
    }

    /// Roots as items, replies as their comments, and what a flow posted as items.
    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let (_, evicted) = self.messages.ledger(Some(""), Entry::line);
        let roots = self
            .messages
            .all()
            .filter(|one| one.root.is_none() && !one.is_deleted);
        let marked = roots.filter(|one| {
            label.is_none_or(|label| one.markers().iter().any(|marker| marker == label))
        });
        (marked.map(|root| self.line(root)).collect(), evicted)
    }
}

fn is_flow(call: &Call) -> bool {
    call.path.ends_with("/triggers/manual/paths/invoke")
}

// How it refuses.

fn error(status: u16, code: &str, message: &str) -> Answer {
    let inner = json!({ "date": "2026-01-31T12:00:00", "request-id": Uuid::nil() });
    let error = json!({ "code": code, "message": message, "innerError": inner });
    Answer::json(status, json!({ "error": error }))
}

fn entra(status: u16, code: &str, number: u32, why: &str) -> Answer {
    Answer::json(
        status,
        json!({ "error": code, "error_description": format!("AADSTS{number}: {why}"),
            "error_codes": [number], "trace_id": Uuid::nil(), "correlation_id": Uuid::nil() }),
    )
}

fn bad(message: &str) -> Answer {
    error(400, "BadRequest", message)
}

fn not_found() -> Answer {
    error(404, "NotFound", "NotFound")
}

fn forbidden() -> Answer {
    error(
        403,
        "Forbidden",
        "Missing scope permissions, or no member of the team.",
    )
}

fn too_large() -> Answer {
    error(413, "RequestEntityTooLarge", "Request Entity Too Large")
}

/// What Teams has against a card, if anything.
fn card_fault(card: &Value, actions: &[&str]) -> Option<&'static str> {
    if card["type"] != "AdaptiveCard" {
        return Some("not an AdaptiveCard");
    }
    if !["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]
        .iter()
        .any(|known| card["version"] == **known)
    {
        return Some("a version that clients do not show");
    }
    let mut elements = card["body"].as_array().into_iter().flatten();
    let is_element = |element: &Value| match element["type"].as_str() {
        Some("TextBlock") => element["text"].is_string(),
        Some("FactSet") => {
            let mut facts = element["facts"].as_array().into_iter().flatten();
            facts.all(|fact| fact["title"].is_string() && fact["value"].is_string())
        }
        _ => false,
    };
    if !elements.all(is_element) {
        return Some("an element that is none");
    }
    let mut all = card["actions"].as_array().into_iter().flatten();
    let is_action = |one: &Value| {
        let kind = one["type"].as_str().unwrap_or_default();
        actions.contains(&kind) && one["title"].is_string()
    };
    (!all.all(is_action)).then_some("an action that does not work here")
}

impl Teams {
    fn fault_of(&self, hit: &Hit<'_>, scope: &str) -> Result<(), Answer> {
        let consented = &self.common.settings.consented;
        if !consented.iter().any(|own| own == scope) {
            return Err(forbidden());
        }
        let channel = hit.arg(1);
        let known = self.common.settings.channels.iter();
        if Uuid::parse_str(hit.arg(0)).is_err() {
            return Err(bad("teamId needs to be a valid GUID."));
        }
        if known.clone().any(|own| own == channel) {
            Ok(())
        } else {
            Err(not_found())
        }
    }

    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let life = self.common.settings.access_token_seconds;
        let asked: Vec<String> = hit
            .call
            .field("scope")
            .split(' ')
            .map(|scope| {
                scope
                    .trim_start_matches("https://graph.microsoft.com/")
                    .to_owned()
            })
            .collect();
        let consented = &self.common.settings.consented;
        if !asked.iter().all(|scope| consented.contains(scope)) {
            let why = "The user or administrator has not consented to use the application.";
            return entra(400, "invalid_grant", 65_001, why);
        }
        match self
            .common
            .grants
            .grant(hit.call, &Rules::refreshing(life), hit.now)
        {
            Ok(granted) => {
                let mut body = granted.json();
                body["scope"] = consented.join(" ").into();
                if !asked.iter().any(|scope| scope == "offline_access")
                    && let Some(body) = body.as_object_mut()
                {
                    body.remove("refresh_token");
                }
                Answer::json(200, body).mutated()
            }
            Err(Denied::NoClient) => entra(400, "invalid_request", 900_144, "client_id is missing"),
            Err(Denied::InvalidClient) => entra(
                401,
                "invalid_client",
                7_000_215,
                "Invalid client secret provided.",
            ),
            Err(denied @ Denied::InvalidGrant(_)) => entra(
                400,
                denied.code(),
                700_082,
                "The refresh token has expired.",
            ),
            Err(denied) => entra(400, denied.code(), 70_003, denied.why()),
        }
    }

    /// Who asks: the user, or a colleague.
    fn user(&self, hit: &Hit<'_>) -> String {
        let token = hit.call.authorization("bearer").unwrap_or_default();
        match self.common.grants.is_alive(token, hit.now) {
            Some(_) => self.common.settings.user_id.clone(),
            None => token.to_owned(),
        }
    }

    fn me(&self, hit: &Hit<'_>) -> Answer {
        let id = self.user(hit);
        Answer::json(
            200,
            json!({ "id": id, "displayName": "Ticketwire",
                "userPrincipalName": "bot@example.test" }),
        )
    }

    fn channel(id: &str) -> Value {
        let name = id.trim_start_matches("19:").split('@').next();
        json!({ "id": id, "displayName": name, "membershipType": "standard" })
    }

    fn list_channels(&self, hit: &Hit<'_>) -> Answer {
        if Uuid::parse_str(hit.arg(0)).is_err() {
            return bad("teamId needs to be a valid GUID.");
        }
        let channels = self.common.settings.channels.iter();
        let channels: Vec<Value> = channels.map(|id| Self::channel(id)).collect();
        Answer::json(200, json!({ "value": channels }))
    }

    fn get_channel(&self, hit: &Hit<'_>) -> Answer {
        match self.fault_of(hit, "Channel.ReadBasic.All") {
            Ok(()) => Answer::json(200, Self::channel(hit.arg(1))),
            Err(refused) => refused,
        }
    }

    // Messages.

    fn place(hit: &Hit<'_>) -> String {
        format!("{}/{}", hit.arg(0), hit.arg(1))
    }

    fn found(&self, hit: &Hit<'_>) -> Option<&Entry<Message>> {
        let message = self.messages.find(hit.arg(2))?;
        (message.place == Self::place(hit) && !message.is_deleted).then_some(message)
    }

    /// A message as it was sent, or what Graph has against it.
    fn read(&self, hit: &Hit<'_>) -> Result<Message, Answer> {
        let call = hit.call;
        if call.body.len() > GRAPH_MAX {
            return Err(too_large());
        }
        let Some(html) = call.at("/body/content").as_str() else {
            return Err(bad("Missing body content"));
        };
        if !["html", "text"]
            .iter()
            .any(|kind| call.at("/body/contentType") == *kind)
        {
            return Err(bad("Invalid contentType"));
        }
        let attachments = call
            .at("/attachments")
            .as_array()
            .cloned()
            .unwrap_or_default();
        if html.trim().is_empty() && attachments.is_empty() {
            return Err(bad("Message must contain visible text or attachments"));
        }
        if html.matches("<attachment ").count() != attachments.len() {
            return Err(bad("Attachment tags do not match the attachments"));
        }
        let mut files = Vec::new();
        for one in &attachments {
            let id = one["id"].as_str().unwrap_or_default();
            if !html.contains(&format!("<attachment id=\"{id}\"></attachment>")) {
                return Err(bad("Attachment tags do not match the attachments"));
            }
            if one["contentType"] == CARD {
                let card = one["content"].as_str().map(serde_json::from_str::<Value>);
                let Some(Ok(card)) = card else {
                    return Err(bad("The card's content must be JSON as text"));
                };
                let actions = ["Action.OpenUrl", "Action.ShowCard", "Action.Submit"];
                if let Some(fault) = card_fault(&card, &actions) {
                    return Err(bad(fault));
                }
                continue;
            }
            let file = self.files.values().find(|file| file.id == id);
            let file = file.filter(|file| one["contentUrl"] == page(hit.call, &file.name));
            match file.filter(|_| one["contentType"] == "reference") {
                Some(file) => files.push(file.clone()),
                None => return Err(bad("The attachment refers to no file")),
            }
        }
        Ok(Message {
            place: Self::place(hit),
            team: hit.arg(0).to_owned(),
            from: self.user(hit),
            subject: call.at("/subject").as_str().map(str::to_owned),
            html: html.to_owned(),
            attachments,
            files,
            ..Message::default()
        })
    }

    /// Takes in a message, whose id is a time.
    fn put(&mut self, message: Message, now: DateTime<Utc>) -> String {
        self.last_id = now.timestamp_millis().max(self.last_id + 1);
        let id = self.last_id.to_string();
        self.messages.add_as(message, now, |_| id.clone());
        id
    }

    fn shown(&self, call: &Call, message: &Entry<Message>) -> Value {
        let (_, channel) = message.place.split_once('/').unwrap_or_default();
        let url: String = url::form_urlencoded::byte_serialize(channel.as_bytes()).collect();
        let mut shown = json!({
            "id": message.id, "etag": message.updated.timestamp_millis().to_string(),
            "replyToId": message.root, "messageType": "message", "subject": message.subject,
            "createdDateTime": moment(message.created),
            "lastModifiedDateTime": moment(message.updated),
            "deletedDateTime": message.is_deleted.then(|| moment(message.updated)),
            "webUrl": format!("https://teams.microsoft.com/l/message/{url}/{}?groupId={}&parentMessageId={}",
                message.id, message.team, message.root.as_deref().unwrap_or(&message.id)),
            "from": { "user": { "id": message.from, "displayName": message.from,
                "userIdentityType": "aadUser" } },
            "body": { "contentType": "html", "content": "" }, "attachments": [],
            "channelIdentity": { "teamId": message.team, "channelId": channel },
        });
        if self.common.settings.shows_contents && !message.is_deleted {
            shown["body"]["content"] = message.html.as_str().into();
            shown["attachments"] = message.attachments.clone().into();
        }
        // Of what is not the server's own: a link to the next page leads to where it was asked.
        shown["@odata.context"] = format!("{}/v1.0/$metadata", call.base).into();
        shown
    }

    fn post(&mut self, hit: &Hit<'_>) -> Answer {
        let read = self.fault_of(hit, "ChannelMessage.Send");
        match read.and_then(|()| self.read(hit)) {
            Ok(message) => {
                let id = self.put(message, hit.now);
                self.posted(hit, &id)
            }
            Err(refused) => refused,
        }
    }

    fn reply(&mut self, hit: &Hit<'_>) -> Answer {
        let read = self.fault_of(hit, "ChannelMessage.Send");
        let message = match read.and_then(|()| self.read(hit)) {
            Ok(message) => message,
            Err(refused) => return refused,
        };
        let Some(root) = self.found(hit).filter(|root| root.root.is_none()) else {
            return not_found();
        };
        let root = root.id.clone();
        let message = Message {
            root: Some(root.clone()),
            ..message
        };
        let id = self.put(message, hit.now);
        self.messages.grow(&root, 0, |root| {
            // A reply does not change its root.
            root.history.push(format!("reply {id}"));
        });
        self.posted(hit, &id)
    }

    fn posted(&self, hit: &Hit<'_>, id: &str) -> Answer {
        match self.messages.find(id) {
            Some(message) => Answer::json(201, self.shown(hit.call, message)).mutated(),
            None => not_found(),
        }
    }

    fn patch(&mut self, hit: &Hit<'_>) -> Answer {
        let read = self.fault_of(hit, "ChannelMessage.ReadWrite");
        let after = match read.and_then(|()| self.read(hit)) {
            Ok(after) => after,
            Err(refused) => return refused,
        };
        let Some(before) = self.found(hit) else {
            return not_found();
        };
        if before.from != after.from {
            return forbidden();
        }
        self.messages.change(hit.arg(2), |message| {
            message.note(hit.operation, hit.now);
            message.subject = after.subject;
            message.html = after.html;
            message.attachments = after.attachments;
        });
        Answer::empty(204).mutated()
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        let user = self.user(hit);
        match self.found(hit) {
            None => return not_found(),
            Some(message) if message.from != user => return forbidden(),
            Some(_) => {}
        }
        self.messages.change(hit.arg(2), |message| {
            message.note(hit.operation, hit.now);
            message.is_deleted = true;
        });
        Answer::empty(204).mutated()
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        if let Err(refused) = self.fault_of(hit, "ChannelMessage.Read.All") {
            return refused;
        }
        match self.found(hit) {
            Some(message) => Answer::json(200, self.shown(hit.call, message)),
            None => not_found(),
        }
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        self.listing(hit, &format!("roots of {}", Self::place(hit)))
    }

    fn list_replies(&self, hit: &Hit<'_>) -> Answer {
        match self.found(hit) {
            Some(root) => self.listing(hit, &format!("replies of {}", root.id)),
            None => not_found(),
        }
    }

    fn listing(&self, hit: &Hit<'_>, tag: &str) -> Answer {
        if let Err(refused) = self.fault_of(hit, "ChannelMessage.Read.All") {
            return refused;
        }
        let top = hit.call.param("$top").map(str::parse::<usize>);
        if top.is_some_and(|top| !top.is_ok_and(|top| (1..=PAGE_MAX).contains(&top))) {
            return bad("$top must be between 1 and 50");
        }
        let settings = &self.common.settings;
        let until = indexed_until(settings.list_lag_ms, hit.now);
        let seen = self.messages.tagged(tag).filter(|one| one.created <= until);
        let mut seen: Vec<_> = seen.collect();
        if settings.newest_first {
            seen.reverse();
        }
        let Some(page) = PAGES.page(hit.call, seen, settings.page, settings.page) else {
            return bad("Invalid skip token");
        };
        let shown: Vec<Value> = page
            .items
            .iter()
            .map(|one| self.shown(hit.call, one))
            .collect();
        let mut body = json!({ "@odata.count": shown.len(), "value": shown });
        if let Some(next) = page.next_url(hit.call, PAGES) {
            body["@odata.nextLink"] = next.into();
        }
        Answer::json(200, body)
    }

    /// Chains that changed, in the order in which they were begun.
    fn delta(&self, hit: &Hit<'_>) -> Answer {
        if let Err(refused) = self.fault_of(hit, "ChannelMessage.Read.All") {
            return refused;
        }
        let settings = &self.common.settings;
        let token = hit.call.param(DELTA);
        if token.is_some() && settings.forgets_deltas {
            return error(410, "syncStateNotFound", "The sync state is gone.");
        }
        let filter = hit.call.param("$filter").unwrap_or_default();
        let filter = filter.strip_prefix("lastModifiedDateTime gt ");
        let by_filter = filter.map(DateTime::parse_from_rfc3339);
        let since = match (token.map(str::parse::<i64>), by_filter) {
            (Some(Ok(micros)), _) => micros,
            (None, Some(Ok(since))) => since.timestamp_micros(),
            (None, None) => i64::MIN,
            _ => return bad("Invalid filter clause"),
        };
        let mut newest = since.max(0);
        let mut chains = Vec::new();
        for root in self
            .messages
            .tagged(&format!("roots of {}", Self::place(hit)))
        {
            let replies = self.messages.tagged(&format!("replies of {}", root.id));
            let replies: Vec<_> = replies.collect();
            let changed = replies.iter().map(|reply| reply.updated).max();
            let changed = changed.max(Some(root.updated)).unwrap_or(root.updated);
            newest = newest.max(changed.timestamp_micros());
            if changed.timestamp_micros() > since {
                chains.push((root, replies));
            }
        }
        let Some(page) = PAGES.page(hit.call, chains, settings.page, settings.page) else {
            return bad("Invalid skip token");
        };
        let shown = page.items.iter().map(|(root, replies)| {
            let mut shown = self.shown(hit.call, root);
            let replies = replies.iter().map(|reply| self.shown(hit.call, reply));
            shown["replies"] = replies.collect();
            shown
        });
        let mut body = json!({ "value": shown.collect::<Vec<_>>() });
        match page.next_url(hit.call, PAGES) {
            Some(next) => body["@odata.nextLink"] = next.into(),
            None => {
                let link = format!("{}{}?{DELTA}={newest}", hit.call.base, hit.call.path);
                body["@odata.deltaLink"] = link.into();
            }
        }
        Answer::json(200, body)
    }

    // Files.

    fn folder(&self, hit: &Hit<'_>) -> Answer {
        if let Err(refused) = self.fault_of(hit, "Files.ReadWrite.All") {
            return refused;
        }
        let id = hex::encode(hit.arg(1));
        let parent = json!({ "driveId": DRIVE, "driveType": "documentLibrary" });
        Answer::json(
            200,
            json!({ "id": id, "name": "Support", "parentReference": parent }),
        )
    }

    fn upload(&mut self, hit: &Hit<'_>) -> Answer {
        let folder = hit.arg(1).strip_suffix(':').filter(|_| hit.arg(0) == DRIVE);
        let name = hit.arg(2).strip_suffix(':').filter(|name| !name.is_empty());
        let (Some(folder), Some(name)) = (folder, name) else {
            return error(404, "itemNotFound", "The resource could not be found.");
        };
        let scopes = &self.common.settings.consented;
        if !scopes.iter().any(|scope| scope == "Files.ReadWrite.All") {
            return forbidden();
        }
        let key = format!("{folder}/{name}");
        let is_new = !self.files.contains_key(&key);
        if is_new && self.files.len() >= FILES_MAX {
            return error(507, "quotaLimitReached", "The drive is full.");
        }
        let file = LedgerFile {
            id: Uuid::new_v4().to_string(),
            name: name.to_owned(),
            media_type: hit
                .call
                .header("content-type")
                .unwrap_or_default()
                .to_owned(),
            size: u64::try_from(hit.call.body.len()).unwrap_or(u64::MAX),
            sha256: hex::encode(Sha256::digest(&hit.call.body)),
            created: moment(hit.now),
        };
        let id = self
            .files
            .get(&key)
            .map_or(file.id.clone(), |kept| kept.id.clone());
        let answer = json!({
            "id": format!("01{}", id.replace('-', "").to_uppercase()), "name": name,
            "eTag": format!("\"{{{}}},1\"", id.to_uppercase()), "webUrl": page(hit.call, name),
            "size": file.size,
        });
        self.files.insert(key, LedgerFile { id, ..file });
        Answer::json(if is_new { 201 } else { 200 }, answer).mutated()
    }

    // Flows.

    fn flow(&mut self, hit: &Hit<'_>) -> Answer {
        let settings = &self.common.settings;
        if !settings.flow_enabled {
            let message = "The workflow trigger is not enabled.";
            return error(400, "WorkflowTriggerIsNotEnabled", message);
        }
        if !settings.flow_for_anyone {
            let message = "The request must be authenticated only by Shared Access scheme.";
            return error(401, "DirectApiAuthorizationRequired", message);
        }
        if hit.call.at("/type") != "message" {
            let message = "The input body for trigger 'manual' does not match its schema.";
            return error(400, "TriggerInputSchemaMismatch", message);
        }
        let attachments = hit
            .call
            .at("/attachments")
            .as_array()
            .cloned()
            .unwrap_or_default();
        let works = [
            "Action.OpenUrl",
            "Action.ShowCard",
            "Action.ToggleVisibility",
        ];
        let is_shown = |one: &Value| {
            one["contentType"] == CARD && card_fault(&one["content"], &works).is_none()
        };
        let fits = hit.call.body.len() <= FLOW_MAX;
        // What follows fails in the run of the flow, which nobody here is told of.
        if fits && !attachments.is_empty() && attachments.iter().all(is_shown) {
            let message = Message {
                attachments,
                ..Message::default()
            };
            self.put(message, hit.now);
        }
        Answer::empty(202).mutated()
    }

    // The ledger.

    fn line(&self, root: &Entry<Message>) -> LedgerIssue {
        let replies = self.messages.tagged(&format!("replies of {}", root.id));
        let replies: Vec<_> = replies.filter(|reply| !reply.is_deleted).collect();
        let texts = replies.iter().filter(|reply| reply.files.is_empty());
        let cards = root.cards();
        let title = cards.first().map(|card| card["body"][0]["text"].clone());
        let title = title.as_ref().and_then(Value::as_str).unwrap_or_default();
        LedgerIssue {
            project: root.place.clone(),
            summary: root.subject.clone().unwrap_or_else(|| title.to_owned()),
            labels: root.markers(),
            fields: Map::from_iter([("cards".to_owned(), cards.into())]),
            comments: texts
                .map(|reply| LedgerComment {
                    id: reply.id.clone(),
                    body: reply.html.as_str().into(),
                    public: true,
                    created: moment(reply.created),
                    ..LedgerComment::default()
                })
                .collect(),
            attachments: replies
                .iter()
                .flat_map(|reply| reply.files.clone())
                .collect(),
            ..root.line()
        }
    }
}

/// The page of a file.
fn page(call: &Call, name: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("{}/sites/support/{name}", call.base)
}
