//! Trello: cards of one board, REST API 1. Written from Trello's OpenAPI file and guides.
//!
//! | | |
//! | --- | --- |
//! | credentials | key and token, in `Authorization: OAuth …` or in the query |
//! | parameters | in the query or in a JSON body, as at Trello |
//! | refusals | plain text with 400, 401, 404, 413; JSON with 429 |
//! | actions | one of each write, the newest first; `since`, `before` are a date or an id |
//! | sets | `idLabels`, `idMembers` replace what was there; strangers are refused |
//! | custom fields | those of the setting; all values are texts; other kinds are refused |
//! | batch | ten routes that read, each of which counts as a request |
//! | people | the members of the setting; no e-mail address is shown |
//!
//! Not modelled: other boards, checklists, search, stickers, what webhooks deliver, and what only
//! `fields` of nested objects would show. 50,000 cards and 128 MiB a site; 1,000 files and actions
//! a card.

mod asked;
mod hooks;
mod settings;

use std::collections::BTreeMap;

use axum::http::Method;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::fake::Fake as _;
use super::kit::rate::Reset;
use super::kit::shelf::{moment, weigh_map};
use super::kit::{
    Common, Credential, CredentialSource, Entry, Hit, Item, RateHeaders, Refusal, Route, Shelf,
    Tabled, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};
use super::outgoing::Question;
use asked::{
    NOT_FOUND, error, flag, forbidden, given, ids, invalid, listing, missing, shown, signed, text,
    when,
};
use settings::Settings;

/// Whom the token belongs to.
const ME: &str = "5f0000000000000000000c00";
/// Characters of a name, a description and a comment.
const TEXT_MAX: usize = 16_384;
/// Bytes of a file, of a free workspace.
const FILE_MAX: usize = 10 << 20;
/// Actions and files that a card keeps, and cards that were deleted.
const KEPT_MAX: usize = 1_000;
/// Most actions or cards of a page.
const PAGE_MAX: usize = 1_000;
/// Routes of a batch.
const BATCH_MAX: usize = 10;
const COLORS: [&str; 10] = [
    "yellow", "purple", "blue", "red", "green", "orange", "black", "sky", "pink", "lime",
];

#[derive(Debug, Clone)]
struct Action {
    id: String,
    kind: &'static str,
    at: DateTime<Utc>,
    data: Value,
}

/// A card.
#[derive(Debug, Default)]
struct Card {
    short_link: String,
    name: String,
    desc: String,
    closed: bool,
    due_complete: bool,
    list: String,
    labels: Vec<String>,
    members: Vec<String>,
    /// Items by the field's id.
    custom: BTreeMap<String, Value>,
    /// In order of time.
    actions: Vec<Action>,
    files: Vec<LedgerFile>,
}

impl Card {
    fn comments(&self) -> impl Iterator<Item = &Action> {
        let told = self.actions.iter();
        told.filter(|action| action.kind == "commentCard")
    }

    /// What a board shows of it at a glance.
    fn badges(&self) -> Value {
        json!({ "comments": self.comments().count(), "attachments": self.files.len(),
            "checkItems": 0, "checkItemsChecked": 0, "description": !self.desc.is_empty(),
            "dueComplete": self.due_complete })
    }
}

impl Item for Card {
    fn tags(&self) -> Vec<String> {
        let line = self.desc.trim_end().rsplit('\n').next();
        let marker = line.and_then(|line| line.strip_prefix("[ref:")?.strip_suffix(']'));
        marker.map(str::to_owned).into_iter().collect()
    }

    fn weight(&self) -> usize {
        self.name.len() + self.desc.len()
    }
}

/// One board.
pub(in crate::sandbox) struct Trello {
    common: Common<Settings>,
    cards: Shelf<Card>,
    /// As the API lists them.
    labels: Vec<Value>,
    /// What happened to cards that are gone.
    gone: Vec<Action>,
    made: u64,
}

impl Default for Trello {
    fn default() -> Self {
        Self {
            common: Common::default(),
            cards: Shelf::new(50_000, 128 << 20, 1),
            labels: vec![
                label(
                    "5f0000000000000000000f01",
                    "Priority: High",
                    "orange".into(),
                ),
                label("5f0000000000000000000f02", "vip", Value::Null),
                label("5f0000000000000000000f03", "", "sky".into()),
            ],
            gone: Vec::new(),
            made: 0,
        }
    }
}

fn label(id: &str, name: &str, color: Value) -> Value {
    let mut label = json!({ "id": id, "name": name });
    label["color"] = color;
    label
}

fn moves(call: &Call) -> bool {
    ["idList", "closed", "dueComplete"]
        .iter()
        .any(|name| given(call, name).is_some())
}

fn assigns(call: &Call) -> bool {
    given(call, "idMembers").is_some()
}

impl Tabled for Trello {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        view("GET", "/1/members/me", "me", Self::me),
        view("GET", "/1/tokens/*", "get_token", Self::token),
        view("GET", "/1/boards/*", "get_board", Self::board),
        view("GET", "/1/boards/*/lists", "list_lists", Self::lists),
        view("GET", "/1/boards/*/labels", "list_labels", Self::list_labels),
        route("POST", "/1/boards/*/labels", "create_label", Self::create_label),
        view("GET", "/1/boards/*/members", "list_members", Self::list_members),
        view("GET", "/1/boards/*/memberships", "list_memberships", Self::memberships),
        view("GET", "/1/boards/*/customFields", "list_fields", Self::list_fields),
        view("GET", "/1/boards/*/actions", "board_actions", Self::board_actions),
        view("GET", "/1/boards/*/cards", "list_cards", Self::list_cards),
        view("GET", "/1/boards/*/cards/*", "list_cards", Self::list_cards),
        view("GET", "/1/lists/*", "get_list", Self::get_list),
        route("POST", "/1/cards", "create_card", Self::create),
        view("GET", "/1/cards/*", "get_card", Self::get),
        route("PUT", "/1/cards/*", "set_status", Self::update).when(moves),
        route("PUT", "/1/cards/*", "assign", Self::update).when(assigns),
        route("PUT", "/1/cards/*", "update_card", Self::update),
        route("DELETE", "/1/cards/*", "delete_card", Self::delete),
        route("PUT", "/1/cards/*/customFields", "set_fields", Self::set_fields),
        view("GET", "/1/cards/*/actions", "card_actions", Self::card_actions),
        route("POST", "/1/cards/*/actions/comments", "add_comment", Self::add_comment),
        view("GET", "/1/cards/*/attachments", "list_files", Self::list_files),
        route("POST", "/1/cards/*/attachments", "attach", Self::attach),
        route("GET", "/1/batch", "batch", Self::batch).reads(),
        route("POST", "/1/webhooks", "create_hook", Self::create_hook),
        view("GET", "/1/tokens/*/webhooks", "list_hooks", Self::list_hooks),
        view("GET", "/1/webhooks/*", "get_hook", Self::get_hook),
        route("DELETE", "/1/webhooks/*", "delete_hook", Self::delete_hook),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "x-rate-limit-api-token-max",
        remaining: "x-rate-limit-api-token-remaining",
        reset: "",
        reset_in: Reset::Seconds,
        retry_after: false,
    });

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    /// Key and token: in the header, else in the query.
    fn credential(&self, call: &Call) -> Result<Credential, Refusal> {
        let (key, token) = match call.authorization("oauth") {
            Some(pairs) => (
                signed(pairs, "oauth_consumer_key"),
                signed(pairs, "oauth_token"),
            ),
            None => {
                let of = |name: &str| call.param(name).map(str::to_owned);
                (of("key"), of("token"))
            }
        };
        match (key, token) {
            (None, _) | (_, None) => Err(Refusal::Missing),
            (Some(key), Some(secret)) => Ok(Credential {
                user: Some(key),
                secret,
            }),
        }
    }

    fn question(&self, call: &Call) -> Option<Question> {
        Self::asks_address(call)
    }

    fn refuse(&self, refusal: &Refusal, call: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing => Answer::json(401, json!({ "message": "missing scopes" })),
            Refusal::Wrong | Refusal::Status(401) => error(401, "invalid token"),
            Refusal::Expired => error(401, "expired token"),
            Refusal::Forbidden => forbidden(),
            Refusal::Status(403) => error(403, "forbidden"),
            Refusal::NoPath | Refusal::OtherMethods(_) => {
                error(404, &format!("Cannot {} {}", call.method, call.path))
            }
            Refusal::Status(404) => error(404, NOT_FOUND),
            Refusal::Budget(_) | Refusal::Status(429) => Answer::json(
                429,
                json!({ "error": "API_TOKEN_LIMIT_EXCEEDED", "message": "Rate limit exceeded" }),
            ),
            Refusal::Status(status) => error(*status, "a fault on demand"),
        }
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.cards.ledger(label, |card| self.line(card))
    }
}

impl Trello {
    /// An id: the second it was made in, and a number.
    fn id(&mut self, now: DateTime<Utc>) -> String {
        self.made += 1;
        format!("{:08x}{:016x}", now.timestamp(), self.made)
    }

    fn is_board(&self, hit: &Hit<'_>) -> Result<(), Answer> {
        if hit.arg(0) == self.common.settings.board {
            Ok(())
        } else {
            Err(missing(hit.arg(0)))
        }
    }

    fn of_board(&self, hit: &Hit<'_>, all: &[Value]) -> Answer {
        match self.is_board(hit) {
            Ok(()) => listing(hit.call, all.iter().cloned()),
            Err(refused) => refused,
        }
    }

    fn list_name(&self, id: &str) -> &str {
        let list = self
            .common
            .settings
            .lists
            .iter()
            .find(|list| list["id"] == id);
        list.and_then(|list| list["name"].as_str())
            .unwrap_or_default()
    }

    fn action(&mut self, kind: &'static str, data: Value, now: DateTime<Utc>) -> Action {
        Action {
            id: self.id(now),
            kind,
            at: now,
            data,
        }
    }

    /// What actions say of a card.
    fn named(&self, card: &Entry<Card>) -> Value {
        json!({
            "board": { "id": self.common.settings.board, "name": "Support" },
            "card": { "id": card.id, "idShort": card.number, "shortLink": card.short_link,
                "name": card.name },
        })
    }

    fn show_action(&self, action: &Action) -> Value {
        let mut data = action.data.clone();
        if let Some(members) = data.as_object_mut().filter(|_| !self.common.settings.texts) {
            members.remove("text");
        }
        let me = json!({ "id": ME, "username": "ticketwire", "fullName": "Ticketwire Sandbox" });
        json!({ "id": action.id, "idMemberCreator": ME, "type": action.kind,
            "date": moment(action.at), "data": data, "memberCreator": me })
    }

    /// Actions, the newest first.
    fn feed(&self, hit: &Hit<'_>, actions: impl Iterator<Item = Action>, usual: &str) -> Answer {
        let call = hit.call;
        let (since, before) = match (when(call, "since"), when(call, "before")) {
            (Ok(since), Ok(before)) => (since, before),
            (Err(refused), _) | (_, Err(refused)) => return refused,
        };
        let limit = call.number("limit", 50);
        if limit > PAGE_MAX {
            return invalid("limit");
        }
        let filter = call.param("filter").unwrap_or(usual);
        let fits = |action: &Action| {
            (filter == "all" || filter.split(',').any(|kind| kind == action.kind))
                && since.as_ref().is_none_or(|since| action.id > *since)
                && before.as_ref().is_none_or(|before| action.id < *before)
        };
        let mut found: Vec<Action> = actions.filter(fits).collect();
        found.sort_by(|one, other| other.id.cmp(&one.id));
        let pages = call.number("page", 0).saturating_mul(limit);
        let found = found.into_iter().skip(pages).take(limit);
        listing(call, found.map(|action| self.show_action(&action)))
    }

    fn board_actions(&self, hit: &Hit<'_>) -> Answer {
        if let Err(refused) = self.is_board(hit) {
            return refused;
        }
        let since = when(hit.call, "since").ok().flatten();
        let since = since.and_then(|id| i64::from_str_radix(id.get(..8)?, 16).ok());
        let since = since.and_then(|at| DateTime::from_timestamp(at, 0));
        let cards = self.cards.changed_since(since.unwrap_or_default());
        let own = cards.flat_map(|card| card.actions.iter());
        self.feed(hit, own.chain(&self.gone).cloned(), "all")
    }

    fn card_actions(&self, hit: &Hit<'_>) -> Answer {
        match self.cards.find(hit.arg(0)) {
            Some(card) => self.feed(hit, card.actions.iter().cloned(), "commentCard,updateCard"),
            None => missing(hit.arg(0)),
        }
    }

    fn card(&self, call: &Call, card: &Entry<Card>) -> Value {
        let settings = &self.common.settings;
        let labels = self.labels.iter();
        let labels = labels.filter(|label| card.labels.iter().any(|id| label["id"] == **id));
        let url = format!("https://trello.com/c/{}", card.short_link);
        let mut shown = json!({
            "id": card.id, "idShort": card.number, "shortLink": card.short_link, "shortUrl": url,
            "url": format!("{url}/{}-card", card.number), "name": card.name, "closed": card.closed,
            "dueComplete": card.due_complete, "due": null, "pos": 1_024, "idBoard": settings.board,
            "idList": card.list, "idLabels": card.labels, "labels": labels.collect::<Vec<_>>(),
            "idMembers": card.members, "dateLastActivity": moment(card.updated),
            "idChecklists": [], "badges": card.badges(),
        });
        if settings.texts {
            shown["desc"] = card.desc.as_str().into();
        }
        if call.param("customFieldItems") == Some("true") {
            shown["customFieldItems"] = card.custom.values().cloned().collect();
        }
        if call.param("attachments") == Some("true") {
            shown["attachments"] = card
                .files
                .iter()
                .map(|file| Self::file(card, file))
                .collect();
        }
        if let Some(kinds) = call.param("actions") {
            let own = card.actions.iter().rev();
            let own = own.filter(|action| kinds.split(',').any(|kind| kind == action.kind));
            shown["actions"] = own.map(|action| self.show_action(action)).collect();
        }
        shown
    }

    /// A card as the ledger has it.
    fn line(&self, card: &Entry<Card>) -> LedgerIssue {
        let names = self.labels.iter();
        let names = names.filter(|label| card.labels.iter().any(|id| label["id"] == **id));
        let names: Vec<&str> = names.filter_map(|label| label["name"].as_str()).collect();
        let priority = names.iter().find(|name| name.starts_with("Priority: "));
        let mut fields = Map::new();
        for field in &self.common.settings.fields {
            let (id, name) = (field["id"].as_str(), field["name"].as_str());
            let item = id.and_then(|id| card.custom.get(id));
            let value = item.and_then(|item| {
                let said = item["value"]
                    .as_object()
                    .and_then(|value| value.values().next());
                said.or_else(|| item.get("idValue")).cloned()
            });
            fields.insert(
                name.unwrap_or_default().to_owned(),
                value.unwrap_or_default(),
            );
        }
        let comments = card.comments().map(|action| LedgerComment {
            id: action.id.clone(),
            body: action.data["text"].clone(),
            public: true,
            created: moment(action.at),
            ..LedgerComment::default()
        });
        LedgerIssue {
            key: card.short_link.clone(),
            project: self.common.settings.board.clone(),
            summary: card.name.clone(),
            description: card.desc.clone().into(),
            status: if card.closed {
                "archived"
            } else {
                self.list_name(&card.list)
            }
            .into(),
            status_category: if card.due_complete { "done" } else { "new" }.into(),
            priority: priority.map(|name| (*name).to_owned()),
            assignee: card.members.first().cloned(),
            labels: card
                .tags()
                .into_iter()
                .chain(names.into_iter().map(str::to_owned))
                .collect(),
            fields,
            comments: comments.collect(),
            attachments: card.files.clone(),
            ..card.line()
        }
    }

    fn me(&self, hit: &Hit<'_>) -> Answer {
        let me = json!({ "id": ME, "username": "ticketwire", "fullName": "Ticketwire Sandbox" });
        Answer::json(200, shown(hit.call, me))
    }

    fn token(&self, hit: &Hit<'_>) -> Answer {
        let writes = self.common.settings.writes;
        let right = |kind: &str| json!({ "idModel": "*", "modelType": kind, "write": writes });
        let token = json!({ "id": "5f0000000000000000000999", "identifier": "Ticketwire",
            "idMember": ME, "dateCreated": "2026-01-02T03:04:05.678Z", "dateExpires": null,
            "permissions": [right("Board"), right("Organization")] });
        Answer::json(200, shown(hit.call, token))
    }

    fn board(&self, hit: &Hit<'_>) -> Answer {
        let settings = &self.common.settings;
        let board = json!({ "id": settings.board, "name": "Support", "closed": settings.closed,
            "url": "https://trello.com/b/sandbox1/support", "shortLink": "sandbox1" });
        match self.is_board(hit) {
            Ok(()) => Answer::json(200, shown(hit.call, board)),
            Err(refused) => refused,
        }
    }

    fn lists(&self, hit: &Hit<'_>) -> Answer {
        let all = self.common.settings.lists.iter();
        let all =
            all.filter(|list| hit.call.param("filter") == Some("all") || list["closed"] != true);
        let all: Vec<Value> = all.map(|list| self.whole_list(list)).collect();
        self.of_board(hit, &all)
    }

    fn whole_list(&self, list: &Value) -> Value {
        let mut list = list.clone();
        list["idBoard"] = self.common.settings.board.as_str().into();
        list
    }

    fn get_list(&self, hit: &Hit<'_>) -> Answer {
        let mut all = self.common.settings.lists.iter();
        match all.find(|list| list["id"] == hit.arg(0)) {
            Some(list) => Answer::json(200, shown(hit.call, self.whole_list(list))),
            None => missing(hit.arg(0)),
        }
    }

    fn list_labels(&self, hit: &Hit<'_>) -> Answer {
        let most = hit.call.number("limit", 50);
        match most {
            0..=PAGE_MAX => self.of_board(hit, self.labels.get(..most).unwrap_or(&self.labels)),
            _ => invalid("limit"),
        }
    }

    fn create_label(&mut self, hit: &Hit<'_>) -> Answer {
        if let Err(refused) = self.is_board(hit) {
            return refused;
        }
        let name = match text(hit.call, "name", TEXT_MAX) {
            Ok(name) => name.unwrap_or_default(),
            Err(refused) => return refused,
        };
        let color = given(hit.call, "color").unwrap_or_default();
        let is_color = |text: &str| {
            let (plain, _) = text.split_once('_').unwrap_or((text, ""));
            text == "null" || COLORS.contains(&plain)
        };
        if !(color.is_null() || color.as_str().is_some_and(is_color)) {
            return invalid("color");
        }
        if self.labels.len() >= self.common.settings.labels_max {
            return error(400, "Board has too many labels");
        }
        let mut label = label(&self.id(hit.now), &name, color);
        label["idBoard"] = self.common.settings.board.as_str().into();
        self.labels.push(label.clone());
        Answer::json(200, label).mutated()
    }

    fn list_members(&self, hit: &Hit<'_>) -> Answer {
        self.of_board(hit, &self.common.settings.members)
    }

    fn memberships(&self, hit: &Hit<'_>) -> Answer {
        let settings = &self.common.settings;
        let all = settings.members.iter().map(|one| {
            let own = one["id"] == ME;
            let kind = if own {
                settings.member_type.as_str()
            } else {
                "normal"
            };
            json!({ "id": one["id"], "idMember": one["id"], "memberType": kind,
                "unconfirmed": false, "deactivated": false })
        });
        self.of_board(hit, &all.collect::<Vec<_>>())
    }

    fn list_fields(&self, hit: &Hit<'_>) -> Answer {
        self.of_board(hit, &self.common.settings.fields)
    }

    /// Whether the member may write at all.
    fn may_write(&self) -> Result<(), Answer> {
        let settings = &self.common.settings;
        if settings.member_type == "observer" || !settings.writes {
            return Err(forbidden());
        }
        if settings.closed {
            return Err(error(400, "Board is closed"));
        }
        Ok(())
    }

    // Cards.

    /// What a request says of a card, in what was there before.
    fn read(&self, call: &Call, card: &mut Card) -> Result<(), Answer> {
        self.may_write()?;
        let settings = &self.common.settings;
        if let Some(name) = text(call, "name", TEXT_MAX)? {
            card.name = name;
        }
        if let Some(desc) = text(call, "desc", TEXT_MAX)? {
            card.desc = desc;
        }
        if let Some(list) = text(call, "idList", 24)? {
            let own = settings.lists.iter().find(|own| own["id"] == list);
            own.ok_or_else(|| invalid("idList"))?;
            card.list = list;
        }
        if let Some(closed) = flag(call, "closed")? {
            card.closed = closed;
        }
        if let Some(done) = flag(call, "dueComplete")? {
            card.due_complete = done;
        }
        if let Some(labels) = ids(call, "idLabels", &self.labels)? {
            card.labels = labels;
        }
        if let Some(members) = ids(call, "idMembers", &settings.members)? {
            card.members = members;
        }
        Ok(())
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        let mut card = Card::default();
        if let Err(refused) = self.read(hit.call, &mut card) {
            return refused;
        }
        if card.list.is_empty() {
            return invalid("idList");
        }
        // It takes no such parameter.
        card.closed = false;
        let id = self.id(hit.now);
        // Eight letters and figures.
        card.short_link = format!("c{:07}", self.made);
        let link = card.short_link.clone();
        let id = self.cards.add_as(card, hit.now, |_| id).id.clone();
        self.cards.name(&link, &id);
        let Some(card) = self.cards.find(&id) else {
            return missing(&id);
        };
        let mut data = self.named(card);
        data["list"] = json!({ "id": card.list, "name": self.list_name(&card.list) });
        let answer = self.card(hit.call, card);
        self.tell(&id, "createCard", data, hit.now);
        Answer::json(200, answer).mutated()
    }

    /// Leaves an action at a card.
    fn tell(
        &mut self,
        id: &str,
        kind: &'static str,
        data: Value,
        now: DateTime<Utc>,
    ) -> Option<Action> {
        let action = self.action(kind, data, now);
        let told = action.clone();
        let weight = weigh_map(told.data.as_object()?);
        self.cards.grow(id, weight, |card| {
            card.actions.truncate(KEPT_MAX);
            card.actions.push(action);
        })?;
        Some(told)
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        match self.cards.find(hit.arg(0)) {
            Some(card) => Answer::json(200, shown(hit.call, self.card(hit.call, card))),
            None => missing(hit.arg(0)),
        }
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(card) = self.cards.find(hit.arg(0)) else {
            return missing(hit.arg(0));
        };
        let (id, mut data) = (card.id.clone(), self.named(card));
        let mut after = Card {
            name: card.name.clone(),
            desc: card.desc.clone(),
            list: card.list.clone(),
            labels: card.labels.clone(),
            members: card.members.clone(),
            closed: card.closed,
            due_complete: card.due_complete,
            ..Card::default()
        };
        if let Err(refused) = self.read(hit.call, &mut after) {
            return refused;
        }
        let first = self.common.settings.lists.first();
        if let Some(first) = first.filter(|_| self.common.settings.returns) {
            first["id"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut after.list);
        }
        let changes = [
            ("name", json!(card.name), json!(after.name)),
            ("desc", json!(card.desc), json!(after.desc)),
            ("idList", json!(card.list), json!(after.list)),
            ("closed", json!(card.closed), json!(after.closed)),
            (
                "dueComplete",
                json!(card.due_complete),
                json!(after.due_complete),
            ),
        ];
        for (name, before, now) in changes.into_iter().filter(|(_, old, new)| old != new) {
            data["card"][name] = now;
            data["old"][name] = before;
        }
        let kind = match (card.labels == after.labels, card.members == after.members) {
            _ if !data["old"].is_null() => "updateCard",
            (false, _) => "addLabelToCard",
            (_, false) => "addMemberToCard",
            _ => "",
        };
        self.cards.change(&id, |card| {
            card.name = after.name;
            card.desc = after.desc;
            card.list = after.list;
            card.labels = after.labels;
            card.members = after.members;
            card.closed = after.closed;
            card.due_complete = after.due_complete;
            card.note(hit.operation, hit.now);
        });
        // What changes nothing is not told.
        if !kind.is_empty() {
            self.tell(&id, kind, data, hit.now);
        }
        match self.cards.find(&id) {
            Some(card) => Answer::json(200, self.card(hit.call, card)).mutated(),
            None => missing(&id),
        }
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        if let Err(refused) = self.may_write() {
            return refused;
        }
        let Some(card) = self.cards.find(hit.arg(0)) else {
            return missing(hit.arg(0));
        };
        let board = json!({ "id": self.common.settings.board });
        let data = json!({ "board": board, "card": { "id": card.id, "idShort": card.number } });
        let id = card.id.clone();
        self.cards.remove(&id);
        let action = self.action("deleteCard", data, hit.now);
        self.gone.truncate(KEPT_MAX);
        self.gone.push(action);
        Answer::json(200, json!({ "limits": {} })).mutated()
    }

    fn list_cards(&self, hit: &Hit<'_>) -> Answer {
        if let Err(refused) = self.is_board(hit) {
            return refused;
        }
        let call = hit.call;
        let filter = Some(hit.arg(1)).filter(|filter| !filter.is_empty());
        let filter = filter.or(call.param("filter")).unwrap_or("visible");
        let is_wanted: fn(&Entry<Card>) -> bool = match filter {
            "all" => |_| true,
            "open" | "visible" => |card| !card.closed,
            "closed" => |card| card.closed,
            _ => return invalid("filter"),
        };
        let before = match when(call, "before") {
            Ok(before) => before,
            Err(refused) => return refused,
        };
        let limit = call.number("limit", PAGE_MAX);
        if limit > PAGE_MAX {
            return invalid("limit");
        }
        let all = self.cards.all().rev().filter(|card| is_wanted(card));
        let all = all.filter(|card| before.as_ref().is_none_or(|before| card.id < *before));
        listing(call, all.take(limit).map(|card| self.card(call, card)))
    }

    fn set_fields(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(card) = self.cards.find(hit.arg(0)) else {
            return missing(hit.arg(0));
        };
        if let Err(refused) = self.may_write() {
            return refused;
        }
        let (id, data) = (card.id.clone(), self.named(card));
        let Some(items) = hit.call.at("/customFieldItems").as_array().cloned() else {
            return invalid("customFieldItems");
        };
        for item in &items {
            let mut fields = self.common.settings.fields.iter();
            let Some(field) = fields.find(|field| field["id"] == item["idCustomField"]) else {
                return error(400, "customField not found");
            };
            let kind = field["type"].as_str().unwrap_or_default();
            let member = if kind == "checkbox" { "checked" } else { kind };
            let said = item["value"][member].as_str();
            let is_cleared = item["value"] == "" && item["idValue"] == "";
            let mut options = field["options"].as_array().into_iter().flatten();
            let fits = match kind {
                "number" => said.is_some_and(|text| text.parse::<f64>().is_ok()),
                "checkbox" => said.is_some_and(|text| matches!(text, "true" | "false")),
                "date" => said.is_some_and(|text| DateTime::parse_from_rfc3339(text).is_ok()),
                "list" => options.any(|option| option["id"] == item["idValue"]),
                _ => said.is_some(),
            };
            if !is_cleared && !fits {
                return error(400, "Invalid custom field item value.");
            }
        }
        self.cards.change(&id, |card| {
            for mut item in items {
                let field = item["idCustomField"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if item["value"] == "" {
                    card.custom.remove(&field);
                } else {
                    item["id"] = field.as_str().into();
                    item["idModel"] = card.id.as_str().into();
                    card.custom.insert(field, item);
                }
            }
            card.note("custom", hit.now);
        });
        self.tell(&id, "updateCustomFieldItem", data, hit.now);
        Answer::json(200, json!([])).mutated()
    }

    // Comments and files.

    fn add_comment(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(card) = self.cards.find(hit.arg(0)) else {
            return missing(hit.arg(0));
        };
        if let Err(refused) = self.may_write() {
            return refused;
        }
        let (id, mut data) = (card.id.clone(), self.named(card));
        match text(hit.call, "text", TEXT_MAX) {
            Ok(Some(text)) if !text.trim().is_empty() => data["text"] = text.into(),
            _ => return invalid("text"),
        }
        let told = self.tell(&id, "commentCard", data, hit.now);
        self.cards.change(&id, |card| card.note("comment", hit.now));
        match told {
            Some(action) => Answer::json(200, self.show_action(&action)).mutated(),
            None => missing(&id),
        }
    }

    fn attach(&mut self, hit: &Hit<'_>) -> Answer {
        let Some(card) = self.cards.find(hit.arg(0)) else {
            return missing(hit.arg(0));
        };
        if let Err(refused) = self.may_write() {
            return refused;
        }
        let call = hit.call;
        let (id, mut data) = (card.id.clone(), self.named(card));
        let Some(part) = call.part("file") else {
            return invalid("url");
        };
        if part.bytes.len() > FILE_MAX {
            return error(413, "File too large");
        }
        let name = match call.field("name") {
            "" => part.file_name.as_deref().unwrap_or("Upload"),
            name if name.encode_utf16().count() > 256 => return invalid("name"),
            name => name,
        };
        let media_type = match call.field("mimeType") {
            "" => part.media_type.as_deref().unwrap_or_default(),
            own => own,
        };
        let file = LedgerFile {
            created: moment(hit.now),
            ..LedgerFile::of(name, media_type, &part.bytes)
        };
        let file = LedgerFile {
            id: self.id(hit.now),
            ..file
        };
        data["attachment"] = json!({ "id": file.id, "name": file.name });
        self.cards.change(&id, |card| {
            card.files.truncate(KEPT_MAX);
            card.files.push(file.clone());
            card.note("file", hit.now);
        });
        self.tell(&id, "addAttachmentToCard", data, hit.now);
        match self.cards.find(&id) {
            Some(card) => Answer::json(200, Self::file(card, &file)).mutated(),
            None => missing(&id),
        }
    }

    fn file(card: &Entry<Card>, file: &LedgerFile) -> Value {
        let url = format!(
            "https://trello.com/1/cards/{}/attachments/{}/download/{}",
            card.id, file.id, file.name
        );
        json!({ "id": file.id, "name": file.name, "fileName": file.name, "bytes": file.size,
            "date": file.created, "mimeType": file.media_type, "isUpload": true, "idMember": ME,
            "url": url, "pos": 1_024 })
    }

    fn list_files(&self, hit: &Hit<'_>) -> Answer {
        match self.cards.find(hit.arg(0)) {
            Some(card) => listing(
                hit.call,
                card.files.iter().map(|file| Self::file(card, file)),
            ),
            None => missing(hit.arg(0)),
        }
    }

    /// Ten routes that read, with commas between them.
    fn batch(&mut self, hit: &Hit<'_>) -> Answer {
        let urls: Vec<&str> = hit
            .call
            .param("urls")
            .unwrap_or_default()
            .split(',')
            .collect();
        if urls.len() > BATCH_MAX || urls.iter().any(|url| !url.starts_with('/')) {
            return invalid("urls");
        }
        let mut answers = Vec::new();
        for url in urls {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            // Whoever names them in the query names them for all routes.
            let own = ["key", "token"].map(|name| hit.call.param(name).map(|value| (name, value)));
            let query = url::form_urlencoded::Serializer::new(query.to_owned())
                .extend_pairs(own.into_iter().flatten())
                .finish();
            let call = Call::new(
                Method::GET,
                &format!("/1{path}"),
                &query,
                hit.call.headers.clone(),
                Bytes::new(),
                hit.call.base.clone(),
            );
            let answer = self.answer(&call, hit.now);
            let status = answer.status;
            answers.push(match (status, answer.body) {
                (200, super::answer::Body::Json(body)) => json!({ "200": body }),
                (_, body) => {
                    json!({ "statusCode": status, "name": "Error", "message": body.text() })
                }
            });
        }
        Answer::json(200, answers.into())
    }
}
