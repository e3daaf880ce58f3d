//! A fake that is not of this world, to show how one is written and that the parts fit: cards with
//! comments, where an update and a comment are the same request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::answer::{Answer, Body};
use super::super::call::Call;
use super::super::fake::Fake;
use super::super::ledger::{LedgerComment, LedgerIssue};
use super::grants::{Grant, Rules};
use super::paging::By;
use super::rate::{Budget, RateHeaders, Reset};
use super::shelf::indexed_until;
use super::{
    Common, CredentialSource, Hit, Item, Refusal, Route, Settings, Shelf, Tabled, route, view,
};

/// What can be set at a site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Choices {
    /// If not empty, only these are accepted.
    credentials: Vec<String>,
    /// Requests that are taken; absent is any number.
    budget: Option<Budget>,
    /// The list shows a card only so long after its creation.
    list_lag_ms: u64,
}

impl Settings for Choices {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn budget(&self) -> Option<Budget> {
        self.budget
    }
}

/// A card.
struct Card {
    title: String,
    label: String,
    comments: Vec<String>,
}

impl Item for Card {
    fn tags(&self) -> Vec<String> {
        vec![self.label.clone()]
    }

    fn weight(&self) -> usize {
        self.title.len() + self.comments.iter().map(String::len).sum::<usize>()
    }
}

/// One board.
struct Board {
    common: Common<Choices>,
    cards: Shelf<Card>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            common: Common::default(),
            cards: Shelf::new(1_000, 1 << 20, 1),
        }
    }
}

/// Whether a `PUT` is a comment; everything else is an update.
fn has_comment(call: &Call) -> bool {
    !call.at("/comment").is_null()
}

const PAGES: By = By::Number("page", "per_page");

impl Tabled for Board {
    type Settings = Choices;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/token", "token", Self::token).open(),
        route("POST", "/cards", "create_card", Self::create),
        view("GET", "/cards", "list_cards", Self::list),
        route("PUT", "/cards/*", "comment", Self::comment).when(has_comment),
        route("PUT", "/cards/*", "update_card", Self::update),
        view("GET", "/cards/*/text", "get_text", Self::text),
    ];
    const CREDENTIALS: &'static [CredentialSource] =
        &[CredentialSource::Bearer, CredentialSource::Query("token")];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "",
        remaining: "x-remaining",
        reset: "x-reset",
        reset_in: Reset::Seconds,
        retry_after: true,
    });

    fn common(&self) -> &Common<Choices> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Choices> {
        &mut self.common
    }

    fn refuse(&self, refusal: &Refusal, _: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing | Refusal::Wrong => error(401, "who are you"),
            Refusal::Expired => error(401, "token expired"),
            Refusal::Forbidden => error(403, "look, do not touch"),
            Refusal::NoPath => error(404, "no such path"),
            Refusal::OtherMethods(methods) => {
                error(405, "another method").header("Allow", &methods.join(", "))
            }
            Refusal::Budget(_) | Refusal::Status(429) => error(429, "slower"),
            Refusal::Status(status) => error(*status, "a fault on demand"),
        }
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.cards.ledger(label, |card| LedgerIssue {
            summary: card.title.clone(),
            labels: vec![card.label.clone()],
            comments: card
                .comments
                .iter()
                .map(|text| LedgerComment {
                    body: text.as_str().into(),
                    ..LedgerComment::default()
                })
                .collect(),
            ..card.line()
        })
    }
}

impl Board {
    fn token(&mut self, hit: &Hit<'_>) -> Answer {
        let rules = Rules {
            grants: &[Grant::ClientCredentials],
            ..Rules::refreshing(60)
        };
        match self.common.grants.grant(hit.call, &rules, hit.now) {
            Ok(granted) => Answer::json(200, granted.json()).mutated(),
            Err(denied) => denied.answer(),
        }
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        let card = Card {
            title: hit.call.field("title").to_owned(),
            label: hit.call.field("label").to_owned(),
            comments: Vec::new(),
        };
        let card = self.cards.add_as(card, hit.now, |n| format!("c{n}"));
        Answer::json(201, json!({ "id": card.id })).mutated()
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        self.change(hit, |card| {
            hit.call.field("title").clone_into(&mut card.title);
        })
    }

    fn comment(&mut self, hit: &Hit<'_>) -> Answer {
        self.change(hit, |card| {
            card.comments.push(hit.call.field("comment").to_owned());
        })
    }

    fn change(&mut self, hit: &Hit<'_>, change: impl FnOnce(&mut Card)) -> Answer {
        let changed = self.cards.change(hit.arg(0), |card| {
            card.note(hit.operation, hit.now);
            change(card);
        });
        match changed {
            Some(()) => Answer::empty(204).mutated(),
            None => error(404, "no such card"),
        }
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        let newest = indexed_until(self.common.settings.list_lag_ms, hit.now);
        let cards = self.cards.all().filter(|card| card.created <= newest);
        let ids = cards.map(|card| card.id.as_str());
        let Some(page) = PAGES.page(hit.call, ids, 2, 100) else {
            return error(400, "not a page");
        };
        let answer = Answer::json(200, json!(page.items));
        page.link(hit.call, PAGES, answer)
    }

    fn text(&self, hit: &Hit<'_>) -> Answer {
        match self.cards.find(hit.arg(0)) {
            Some(card) => Answer::bytes(200, "text/plain", card.title.clone().into()),
            None => error(404, "no such card"),
        }
    }
}

fn error(status: u16, why: &str) -> Answer {
    Answer::json(status, json!({ "error": why }))
}

fn call(method: &str, path: &str, token: &str, body: &Value) -> Call {
    let mut headers = HeaderMap::new();
    let pairs = [
        ("content-type", "application/json".to_owned()),
        ("authorization", format!("Bearer {token}")),
    ];
    for (name, value) in pairs {
        let value = HeaderValue::try_from(value).unwrap();
        headers.insert(HeaderName::from_static(name), value);
    }
    if token.is_empty() {
        headers.remove("authorization");
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let body = Bytes::from(body.to_string());
    Call::new(method, path, query, headers, body, "http://h".to_owned())
}

/// Status and error, or what was answered.
fn asked(board: &mut Board, method: &str, path: &str, token: &str, body: &Value) -> String {
    let answer = board.answer(&call(method, path, token, body), Utc::now());
    let body = String::from_utf8(answer.body.into_bytes().to_vec()).unwrap();
    format!("{} {body}", answer.status)
}

#[test]
fn a_life_of_a_card() {
    let mut board = Board::default();
    let card = json!({ "title": "a", "label": "L" });
    let mut ask =
        |method: &str, path: &str, body: Value| asked(&mut board, method, path, "t", &body);

    assert_eq!(ask("POST", "/cards", card.clone()), r#"201 {"id":"c1"}"#);
    assert_eq!(ask("PUT", "/cards/c1", json!({ "title": "b" })), "204 ");
    assert_eq!(ask("PUT", "/cards/c1", json!({ "comment": "hm" })), "204 ");
    assert_eq!(
        ask("PUT", "/cards/c9", card),
        r#"404 {"error":"no such card"}"#
    );
    assert_eq!(ask("GET", "/cards/c1/text?token=x", Value::Null), "200 b");

    let (lines, evicted) = board.ledger(Some("L"));
    assert_eq!((lines.len(), evicted), (1, 0));
    assert_eq!(lines[0].summary, "b");
    assert_eq!(lines[0].history, ["create", "update_card", "comment"]);
    assert_eq!(lines[0].comments[0].body, "hm");
    assert_eq!(board.ledger(Some("other")).0, []);
}

#[test]
fn an_operation_is_named_by_the_table_and_the_body() {
    let board = Board::default();
    let named =
        |method: &str, path: &str, body: Value| board.operation(&call(method, path, "", &body));

    assert_eq!(
        named("PUT", "/cards/1", json!({ "comment": "x" })),
        "comment"
    );
    assert_eq!(
        named("PUT", "/cards/1", json!({ "title": "x" })),
        "update_card"
    );
    assert_eq!(named("DELETE", "/cards/1", Value::Null), "unknown");
}

#[test]
fn the_kit_refuses_in_the_platforms_words() {
    let mut board = Board::default();
    let card = json!({ "title": "a" });
    for (method, path, token, refused) in [
        ("POST", "/cards", "", r#"401 {"error":"who are you"}"#),
        (
            "POST",
            "/cards",
            "t-wrong",
            r#"401 {"error":"who are you"}"#,
        ),
        (
            "GET",
            "/cards",
            "sandbox-access-x",
            r#"401 {"error":"token expired"}"#,
        ),
        (
            "POST",
            "/cards",
            "t-forbidden",
            r#"403 {"error":"look, do not touch"}"#,
        ),
        ("GET", "/nothing", "", r#"404 {"error":"no such path"}"#),
        (
            "DELETE",
            "/cards/c1",
            "t",
            r#"405 {"error":"another method"}"#,
        ),
    ] {
        assert_eq!(
            asked(&mut board, method, path, token, &card),
            refused,
            "{path}"
        );
    }
    assert_eq!(
        asked(&mut board, "GET", "/cards", "t-forbidden", &card),
        "200 []"
    );
    assert!(board.ledger(None).0.is_empty());
    let allow = board.answer(&call("DELETE", "/cards", "t", &card), Utc::now());
    assert_eq!(allow.headers[0].1, "GET, POST");
    let fault = board.fault_answer(&call("POST", "/cards", "t", &card), 503, Utc::now());
    assert_eq!(
        fault.body,
        Body::Json(json!({ "error": "a fault on demand" }))
    );
    let stranger = board.stranger(&call("POST", "/cards", "t", &card), Utc::now());
    assert_eq!(stranger.status, 401);
}

#[test]
fn a_token_of_the_site_is_let_in_until_it_ends() {
    let mut board = Board::default();
    let client =
        json!({ "grant_type": "client_credentials", "client_id": "c", "client_secret": "s" });
    let now = Utc::now();
    let Body::Json(granted) = board.answer(&call("POST", "/token", "", &client), now).body else {
        panic!("the token endpoint says JSON");
    };
    let list = call(
        "GET",
        "/cards",
        granted["access_token"].as_str().unwrap(),
        &Value::Null,
    );

    assert_eq!(board.answer(&list, now).status, 200);
    assert_eq!(
        board.answer(&list, now + TimeDelta::seconds(60)).status,
        401
    );
}

#[test]
fn settings_are_merged_and_unknown_ones_refused() {
    let mut board = Board::default();
    let mut set = |changes: Value| board.configure(changes.as_object().cloned().unwrap());

    set(json!({ "credentials": ["t"], "budget": { "requests": 1, "seconds": 60 } })).unwrap();
    set(json!({ "list_lag_ms": 5 })).unwrap();
    assert!(set(json!({ "lag": 5 })).unwrap_err().contains("lag"));

    let budget = json!({ "requests": 1, "seconds": 60 });
    let expected = json!({ "credentials": ["t"], "budget": budget, "list_lag_ms": 5 });
    assert_eq!(board.settings(), expected);
}

#[test]
fn a_budget_is_told_and_refuses_what_is_beyond_it() {
    let mut board = Board::default();
    let budget = json!({ "budget": { "requests": 1, "seconds": 60 } });
    board
        .configure(budget.as_object().cloned().unwrap())
        .unwrap();
    let now = Utc::now();
    let card = json!({ "title": "a" });
    let mut ask = |now| {
        let answer = board.answer(&call("POST", "/cards", "t", &card), now);
        let headers = answer.headers.iter();
        let headers = headers.map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
        (answer.status, headers.collect::<Vec<_>>().join(" "))
    };

    assert_eq!(ask(now), (201, "x-remaining=0 x-reset=60".to_owned()));
    let refused = (429, "x-remaining=0 x-reset=60 retry-after=60".to_owned());
    assert_eq!(ask(now), refused);
    assert_eq!(ask(now + TimeDelta::seconds(60)).0, 201);
    assert_eq!(board.ledger(None).0.len(), 2);
}

#[test]
fn a_list_lags_and_leads_on_by_links() {
    let mut board = Board::default();
    let now = Utc::now();
    for title in ["a", "b", "c"] {
        board.answer(
            &call("POST", "/cards", "t", &json!({ "title": title })),
            now,
        );
    }
    let list = |board: &mut Board, path: &str, now| {
        let answer = board.answer(&call("GET", path, "t", &Value::Null), now);
        let link = answer.headers.first().map(|(_, value)| value.clone());
        (answer.body, link)
    };

    let (body, link) = list(&mut board, "/cards", now);
    assert_eq!(body, Body::Json(json!(["c1", "c2"])));
    assert_eq!(link.unwrap(), "<http://h/cards?page=2>; rel=\"next\"");
    let lag = json!({ "list_lag_ms": 1_000 });
    board.configure(lag.as_object().cloned().unwrap()).unwrap();
    assert_eq!(list(&mut board, "/cards", now).0, Body::Json(json!([])));
    let later = now + TimeDelta::seconds(1);
    assert_eq!(
        list(&mut board, "/cards?page=2", later).0,
        Body::Json(json!(["c3"]))
    );
}
