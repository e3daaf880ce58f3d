//! What is sent and read, without a platform.

use bytes::Bytes;
use chrono::Utc;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::words::{Card, Field, Named};
use super::*;
use crate::domain::{TicketId, TicketPatch, UserRef};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Hit, Rejected, verify};
use crate::platforms::{Change, ChangeKind, DedupKey, ErrorClass, Holder, Needs};

const BOARD: &str = "5f0000000000000000000b01";
const LIST: &str = "5f0000000000000000000a01";
const DONE: &str = "5f0000000000000000000a03";
const CARD: &str = "55906023892770637b766344";
const TICKET: &str = "tkt-00000000-0000-0000-0000-000000000000";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(settings: &Value) -> Result<Trello, AdapterError> {
    let mut all = object(&json!({ "board_id": BOARD, "list_id": LIST }));
    all.extend(object(settings));
    let mut integration = blank(Platform::Trello, AuthType::ApiKey, &all, None);
    integration.custom_fields_mapping = object(&json!({
        "customer": "5f0000000000000000000d01", "places": "5f0000000000000000000d02",
        "product": "5f0000000000000000000d05",
    }));
    let credentials = object(&json!({ "api_key": "k3y", "api_token": "ATTA \"t0k3n\"" }));
    Trello::connect(&integration, &Credentials::new(credentials))
}

fn trello(settings: &Value) -> Trello {
    connected(settings).unwrap()
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::nil()),
        title: "Printer\non fire".into(),
        description: "Since *nine*, @ann".into(),
        status: TicketStatus::New,
        priority: Priority::Critical,
        urgency: Priority::Low,
        category: TicketCategory::Bug,
        department: None,
        assigned_to: Some(UserRef {
            id: Uuid::nil(),
            email: Some("ann@example.test".into()),
            full_name: None,
        }),
        created_by: None,
        tags: vec!["vip".into(), "VIP".into()],
        custom_fields: Map::new(),
        external_id: Some("0N7Yrpro".into()),
        external_url: None,
        external_ref: Map::new(),
    }
}

fn key() -> DedupKey<'static> {
    DedupKey {
        marker: TICKET,
        received_at: Utc::now(),
    }
}

fn answer(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_owned()),
        truncated: false,
    }
}

/// The dry run of an operation, and what is said to be left out.
fn planned(trello: &Trello, operation: &Operation<'_>) -> (Value, Map<String, Value>) {
    let plan = trello.plan(operation, &Known::rehearsal()).unwrap();
    (plan.request.masked(), plan.left_out)
}

#[test]
fn a_bad_member_is_named() {
    for (settings, field) in [
        (json!({ "board_id": "aBcD1234" }), "settings.board_id"),
        (json!({ "list_id": "" }), "settings.list_id"),
        (
            json!({ "internal_comments": "yes" }),
            "settings.internal_comments",
        ),
        (
            json!({ "status_map": { "done": "Done" } }),
            "settings.status_map.done",
        ),
        (
            json!({ "status_map": { "new": "Archived" } }),
            "settings.status_map.new",
        ),
        (json!({ "users": { "ann": "ann" } }), "settings.users.ann"),
    ] {
        let error = connected(&settings).err().unwrap();
        let ErrorClass::Validation { fields } = error.class else {
            panic!("{settings}")
        };
        assert!(fields.contains_key(field), "{fields:?}");
    }
    let other = blank(Platform::Trello, AuthType::Bearer, &Map::new(), None);
    let error = Trello::connect(&other, &Credentials::new(Map::new())).err();
    assert!(error.unwrap().public.contains("api_key"));
}

#[test]
fn key_and_token_stand_in_a_header_and_are_shown_nowhere() {
    let Auth::Header(name, secret) = authorization("k3y", &"ATTA \"t\"".to_owned().into()) else {
        panic!("no header")
    };
    assert_eq!(name, AUTHORIZATION);
    let expected = "OAuth oauth_consumer_key=\"k3y\", oauth_token=\"ATTA+%22t%22\"";
    assert_eq!(secret.expose_secret(), expected);

    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key(),
    };
    let (shown, _) = planned(&trello(&json!({})), &create);
    assert_eq!(shown["authorization"], "••••");
    assert_eq!(shown["url"], "https://api.trello.com/1/cards");
    assert!(!shown.to_string().contains("t0k3n"), "{shown}");
}

#[test]
fn a_card_is_made_with_its_marker_and_labels() {
    let trello =
        trello(&json!({ "users": { "ann@example.test": "ann" }, "category_map": { "bug": null } }));
    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key(),
    };

    let (shown, left_out) = planned(&trello, &create);

    let desc = format!("Since *nine*, @\u{2060}ann\n\n[ref:{TICKET}]");
    let expected = json!({
        "name": "Printer on fire", "desc": desc, "idList": LIST, "pos": "top",
        "idLabels": ["Priority: Critical", "vip", "VIP"], "idMembers": ["ann"],
    });
    assert_eq!(shown["body"], expected);
    assert_eq!(left_out, Map::new());

    let patch = TicketPatch {
        urgency: Some(Priority::High),
        description: Some("x".into()),
        ..TicketPatch::default()
    };
    let update = Operation::Update {
        ticket: &ticket,
        patch: &patch,
        key: key(),
    };
    let (shown, left_out) = planned(&trello, &update);
    assert_eq!(shown["url"], "https://api.trello.com/1/cards/0N7Yrpro");
    assert_eq!(shown["body"], json!({ "desc": desc }));
    assert!(left_out.contains_key("urgency"));
}

#[test]
fn a_status_is_a_list_the_archive_or_a_mark() {
    let map =
        json!({ "status_map": { "in_progress": "Doing", "resolved": DONE, "closed": "archived" } });
    let sent = |trello: &Trello, status: TicketStatus| {
        let ticket = ticket();
        let operation = Operation::Status {
            ticket: &ticket,
            status,
            resolution_summary: None,
            key: key(),
        };
        planned(trello, &operation).0["body"].take()
    };
    let mapped = trello(&map);
    let plain = trello(&json!({}));
    let doing = json!({ "idList": "Doing", "closed": false, "dueComplete": false });
    assert_eq!(sent(&mapped, TicketStatus::InProgress), doing);
    let first = json!({ "idList": LIST, "closed": false, "dueComplete": false });
    for status in [TicketStatus::New, TicketStatus::Open, TicketStatus::Pending] {
        assert_eq!(sent(&mapped, status), first);
    }
    let done = json!({ "idList": DONE, "closed": false, "dueComplete": true });
    assert_eq!(sent(&mapped, TicketStatus::Resolved), done);
    let archived = json!({ "closed": true, "dueComplete": true });
    assert_eq!(sent(&mapped, TicketStatus::Closed), archived);
    // What has no list stays where it is, as does who is in the archive by hand.
    assert_eq!(
        sent(&mapped, TicketStatus::Cancelled),
        json!({ "dueComplete": true })
    );
    assert_eq!(
        sent(&plain, TicketStatus::Closed),
        json!({ "dueComplete": true })
    );
}

#[test]
fn a_list_says_a_status_unless_the_mark_says_more() {
    let map = json!({ "in_progress": "Doing", "resolved": "done", "cancelled": "archived" });
    let trello = trello(&json!({ "status_map": map }));
    let lists: Vec<Named> = serde_json::from_value(json!([
        { "id": LIST, "name": "To do" }, { "id": "5f0000000000000000000a02", "name": "Doing" },
        { "id": DONE, "name": "Done" }, { "id": "5f0000000000000000000a04", "name": "Review" },
    ]))
    .unwrap();
    let status = |list: &str, more: Value| {
        let id = lists
            .iter()
            .find(|own| own.name() == list)
            .map(|own| own.id.clone());
        let mut card = json!({ "id": CARD, "idBoard": BOARD, "idList": id, "closed": false,
            "dueComplete": false });
        for (name, value) in object(&more) {
            card[name] = value;
        }
        let card: Card = serde_json::from_value(card).unwrap();
        let facts = trello.item_of(&card, &lists, &[]).facts;
        trello.ours(&facts).status
    };
    for (list, more, expected) in [
        ("To do", json!({}), TicketStatus::New),
        ("Doing", json!({}), TicketStatus::InProgress),
        (
            "Done",
            json!({ "dueComplete": true }),
            TicketStatus::Resolved,
        ),
        // People drag, and do not set the mark.
        ("Done", json!({}), TicketStatus::Resolved),
        (
            "Doing",
            json!({ "dueComplete": true }),
            TicketStatus::Closed,
        ),
        ("To do", json!({ "closed": true }), TicketStatus::Cancelled),
        ("Review", json!({}), TicketStatus::Open),
        (
            "Review",
            json!({ "dueComplete": true }),
            TicketStatus::Closed,
        ),
    ] {
        assert_eq!(status(list, more.clone()), Some(expected), "{list} {more}");
    }
    // Another board has other lists.
    let elsewhere = json!({ "idBoard": "5f0000000000000000000b02" });
    assert_eq!(status("Done", elsewhere), None);
    for status in TicketStatus::ALL {
        let theirs = trello.theirs(&TicketView {
            status: *status,
            ..ticket()
        });
        let back = trello.ours(&theirs).status.unwrap();
        let same = |one: TicketStatus| words::is_done(one);
        assert_eq!(same(back), same(*status), "{status} comes back as {back}");
    }
}

#[test]
fn what_was_sent_is_what_comes_back() {
    let trello = trello(&json!({}));
    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key(),
    };
    let (sent, _) = planned(&trello, &create);
    let card = json!({
        "id": CARD, "shortLink": "0N7Yrpro", "shortUrl": "https://trello.com/c/0N7Yrpro",
        "idBoard": BOARD,
        "name": sent["body"]["name"], "desc": sent["body"]["desc"], "closed": false, "idList": LIST,
        "dueComplete": false, "idMembers": ["5f0000000000000000000c02", "5f0000000000000000000c01"],
        "labels": [{ "id": "1", "name": "priority: CRITICAL" },
            { "id": "2", "name": "Category: Bug" }, { "id": "3", "name": "vip" },
            { "id": "4", "name": "" }],
        "dateLastActivity": "2026-01-02T03:04:05.678Z",
        "customFieldItems": [
            { "idCustomField": "5f0000000000000000000d01", "value": { "text": "ACME" } },
            { "idCustomField": "5f0000000000000000000d02", "value": { "number": "12.5" } },
            { "idCustomField": "5f0000000000000000000d05", "idValue": "5f0000000000000000000e02" },
            { "idCustomField": "5f0000000000000000000d04",
                "value": { "date": "2026-02-01T00:00:00.000Z" } },
        ],
    });
    let card: Card = serde_json::from_value(card).unwrap();

    let item = trello.item_of(&card, &[], &fields());

    assert_eq!(item.marker.as_deref(), Some(TICKET));
    assert_eq!(
        (item.item.external_id.as_str(), item.item.address()),
        ("0N7Yrpro", CARD)
    );
    let theirs = trello.theirs(&ticket);
    let facts = &item.facts;
    assert_eq!(
        (&facts.title, &facts.description),
        (&theirs.title, &theirs.description)
    );
    assert_eq!(
        (&facts.priority, &facts.status),
        (&theirs.priority, &theirs.status)
    );
    assert_eq!(
        facts.assignee,
        Some(Holder::Account("5f0000000000000000000c02".into()))
    );
    let ours = trello.ours(facts);
    assert_eq!(ours.tags.unwrap(), ["vip"]);
    assert_eq!(ours.priority, Some(Priority::Critical));
    let custom = json!({ "customer": "ACME", "places": 12.5, "product": "Chair" });
    assert_eq!(Value::from(Map::from_iter(ours.custom)), custom);
}

fn field_id(n: u32) -> String {
    format!("5f0000000000000000000d0{n}")
}

fn fields() -> Vec<Field> {
    let option = |id: &str, text: &str| json!({ "id": id, "value": { "text": text } });
    let field = |n: u32, kind: &str| json!({ "id": field_id(n), "name": kind, "type": kind });
    let mut fields = vec![
        field(1, "text"),
        field(2, "number"),
        field(3, "checkbox"),
        field(4, "date"),
    ];
    let mut list = field(5, "list");
    list["options"] = json!([
        option("5f0000000000000000000e01", "Desk"),
        option("5f0000000000000000000e02", "Chair")
    ]);
    fields.push(list);
    fields.push(field(6, "rating"));
    serde_json::from_value(fields.into()).unwrap()
}

#[test]
fn a_custom_field_takes_texts_of_its_kind() {
    let fields = fields();
    let item = |n: usize, value: Value| fields[n - 1].item(&value);
    let of = |n: u32, value: Value| json!({ "idCustomField": field_id(n), "value": value });
    assert_eq!(item(1, json!("x")), Ok(of(1, json!({ "text": "x" }))));
    assert_eq!(item(2, json!(12)), Ok(of(2, json!({ "number": "12" }))));
    assert_eq!(
        item(3, json!(true)),
        Ok(of(3, json!({ "checked": "true" })))
    );
    let day = of(4, json!({ "date": "2026-02-01T00:00:00.000Z" }));
    assert_eq!(item(4, json!("2026-02-01")), Ok(day.clone()));
    assert_eq!(item(4, json!("2026-02-01T01:00:00+01:00")), Ok(day));
    assert_eq!(
        item(5, json!("chair")).unwrap()["idValue"],
        "5f0000000000000000000e02"
    );
    assert_eq!(item(1, Value::Null).unwrap()["idValue"], "");
    assert!(item(4, json!("soon")).unwrap_err().contains("2026-02-01"));
    assert!(item(5, json!("Table")).unwrap_err().contains("choices"));
    assert!(item(6, json!(5)).unwrap_err().contains("cannot be set"));
}

#[test]
fn comments_that_are_not_public_need_a_setting() {
    let ticket = ticket();
    let comment = Operation::Comment {
        ticket: &ticket,
        body: "b",
        public: false,
        key: key(),
    };
    let refused = trello(&json!({})).plan(&comment, &Known::rehearsal());
    assert!(
        refused
            .unwrap_err()
            .public
            .contains("settings.internal_comments")
    );
    let (shown, _) = planned(&trello(&json!({ "internal_comments": true })), &comment);
    let text = format!("Internal comment:\n\nb\n\n[ref:{TICKET}]");
    assert_eq!(shown["body"]["text"], text);
}

#[test]
fn refusals_name_our_fields_and_two_kinds_of_401_are_told_apart() {
    let trello = trello(&json!({}));
    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key(),
    };
    let read = |status, body: &str| trello.read(&create, &Known::default(), &answer(status, body));
    let refused = |status, body: &str| read(status, body).unwrap_err();

    for body in [
        "invalid key",
        "invalid token",
        "expired token",
        r#"{"message":"missing scopes"}"#,
    ] {
        assert_eq!(
            refused(401, body).class,
            ErrorClass::Authentication,
            "{body}"
        );
    }
    for body in [
        "unauthorized permission requested",
        "unauthorized card permission requested",
    ] {
        assert_eq!(refused(401, body).class, ErrorClass::Permission, "{body}");
    }
    for (body, field, again) in [
        ("invalid value for idList", "settings.list_id", true),
        (r#"{"message":"invalid value for idLabels"}"#, "tags", true),
        ("invalid value for idMembers", "assigned_to_id", true),
        ("invalid value for name", "title", false),
        ("invalid value for desc", "description", false),
    ] {
        let error = refused(400, body);
        let ErrorClass::Validation { fields } = &error.class else {
            panic!("{error:?}")
        };
        assert!(fields.contains_key(field), "{fields:?}");
        assert_eq!(error.again.is_some(), again, "{body}");
    }
    let members = refused(400, "invalid value for idMembers");
    assert!(members.without.unwrap().contains_key("idMembers"));
    let wait = |body: &str| match refused(429, body).class {
        ErrorClass::RateLimited { retry_after } => retry_after.unwrap().as_secs(),
        class => panic!("{class:?}"),
    };
    assert_eq!(
        wait(r#"{"error":"API_TOKEN_LIMIT_EXCEEDED","message":"Rate limit exceeded"}"#),
        10
    );
    assert_eq!(
        wait(r#"{"error":"RATE_LIMIT_EXCEEDED","message":"Exceeded rate limit to /1/member"}"#),
        900
    );
    let many = refused(429, r#"{"error":"API_TOO_MANY_CARDS_REQUESTED"}"#);
    assert_eq!(many.class, ErrorClass::Unsupported);
    assert!(matches!(
        refused(449, "").class,
        ErrorClass::Transient { .. }
    ));
    assert_eq!(refused(504, "").class, ErrorClass::Unknown);
    // A success that shows no card is none to be trusted.
    assert_eq!(refused(200, r#"{"id":"42"}"#).class, ErrorClass::Unknown);

    let made = json!({ "id": CARD, "shortLink": "0N7Yrpro",
        "dateLastActivity": "2026-01-02T03:04:05.678Z" });
    let receipt = read(200, &made.to_string()).unwrap();
    assert_eq!(receipt.external_id.as_deref(), Some("0N7Yrpro"));
    assert_eq!(receipt.external_ref["card_id"], CARD);
    assert_eq!(
        receipt.external_url.as_deref(),
        Some("https://trello.com/c/0N7Yrpro")
    );
    assert!(receipt.written.is_some());
}

#[test]
fn a_card_that_an_automation_moves_back_is_no_success() {
    let trello = trello(&json!({ "status_map": { "resolved": DONE } }));
    let ticket = ticket();
    let operation = Operation::Status {
        ticket: &ticket,
        status: TicketStatus::Resolved,
        resolution_summary: None,
        key: key(),
    };
    let read = |list: &str| {
        let card = json!({ "id": CARD, "idList": list, "closed": false, "dueComplete": true });
        trello.read(
            &operation,
            &Known::default(),
            &answer(200, &card.to_string()),
        )
    };
    assert!(read(DONE).is_ok());
    assert_eq!(read(LIST).unwrap_err().class, ErrorClass::Conflict);
}

// What it tells by itself.

const SECRET: &str = "trello-app-secret";
const URL: &str = "https://hooks.example.com/webhooks/trello/abc?x=1";
/// Computed of this body, this address and this secret.
const SIGNED: &str = "ML3ZF1xXskbPSxP+WtaQx+rTDfM=";
const BODY: &str = concat!(
    r#"{"action":{"id":"55906023892770637b766345","type":"createCard"},"#,
    r#""model":{"id":"54c2f73c734b5b084777d1aa"}}"#
);

fn with_hit<T>(signature: Option<&str>, body: &str, then: impl FnOnce(&Hit<'_>) -> T) -> T {
    let mut headers = HeaderMap::new();
    if let Some(signature) = signature {
        let name = HeaderName::from_static("x-trello-webhook");
        headers.insert(name, HeaderValue::from_str(signature).unwrap());
    }
    then(&Hit::new(
        &Method::POST,
        URL,
        &headers,
        body.as_bytes(),
        Utc::now(),
    ))
}

#[test]
fn a_delivery_is_theirs_by_its_body_and_the_address() {
    let trello = trello(&json!({}));
    let judged = |signature: Option<&str>, body: &str, secret: &str| {
        let secrets = [SecretString::from(secret.to_owned())];
        with_hit(signature, body, |hit| {
            verify(
                trello.hooks().schemes,
                hit,
                AuthType::ApiKey,
                &secrets,
                Utc::now(),
            )
        })
    };
    assert_eq!(judged(Some(SIGNED), BODY, SECRET), Ok(()));
    assert_eq!(
        judged(Some(SIGNED), BODY, "another"),
        Err(Rejected::BadSignature)
    );
    let longer = format!("{BODY} ");
    assert_eq!(
        judged(Some(SIGNED), &longer, SECRET),
        Err(Rejected::BadSignature)
    );
    assert_eq!(judged(None, BODY, SECRET), Err(Rejected::Unsigned));
}

/// What an action says.
fn told(kind: &str, data: &Value) -> Vec<Change> {
    let mut all = json!({
        "board": { "id": BOARD, "name": "Board" },
        "card": { "id": CARD, "idShort": 11, "shortLink": "aI4od6Yd", "name": "Card" },
    });
    for (name, value) in object(data) {
        match (&mut all[&name], value) {
            (Value::Object(own), Value::Object(more)) => own.extend(more),
            (own, value) => *own = value,
        }
    }
    let action = json!({ "id": "55900c950fbd86334d5c4071", "type": kind,
        "idMemberCreator": "5f0000000000000000000c02",
        "date": "2026-01-02T03:04:05.678Z", "data": all,
        "memberCreator": { "id": "5f0000000000000000000c02", "username": "alf" } });
    let body = json!({ "model": { "id": BOARD }, "action": action }).to_string();
    with_hit(None, &body, |hit| {
        trello(&json!({})).normalise(hit).unwrap()
    })
}

#[test]
fn an_action_says_what_happened_to_a_card() {
    let kind = |kind: &str, data: Value| {
        told(kind, &data)
            .pop()
            .map(|change| (change.kind, change.needs))
    };
    let item = |kind| Some((kind, Needs::Item));
    let whole = |kind| Some((kind, Needs::Nothing));
    for created in ["createCard", "copyCard", "emailCard", "moveCardToBoard"] {
        assert_eq!(kind(created, json!({})), item(ChangeKind::Created));
    }
    for updated in [
        "addLabelToCard",
        "removeMemberFromCard",
        "updateCustomFieldItem",
    ] {
        assert_eq!(kind(updated, json!({})), item(ChangeKind::Updated));
    }
    for (old, now) in [
        (json!({ "idList": LIST }), json!({ "idList": DONE })),
        (json!({ "closed": true }), json!({ "closed": false })),
        (
            json!({ "dueComplete": false }),
            json!({ "dueComplete": true }),
        ),
    ] {
        assert_eq!(
            kind("updateCard", json!({ "old": old, "card": now })),
            item(ChangeKind::Updated)
        );
    }
    let moved = json!({ "old": { "pos": 1 }, "card": { "pos": 2 } });
    assert_eq!(kind("updateCard", moved), None);
    assert_eq!(kind("deleteCard", json!({})), whole(ChangeKind::Deleted));
    assert_eq!(
        kind("moveCardFromBoard", json!({})),
        whole(ChangeKind::Deleted)
    );
    assert_eq!(kind("addChecklistToCard", json!({})), None);
    assert_eq!(
        kind(
            "createCard",
            json!({ "board": { "id": "5f0000000000000000000b02" } })
        ),
        None
    );
    assert!(with_hit(None, "{}", |hit| trello(&json!({})).normalise(hit)).is_err());

    let archived = json!({ "old": { "closed": false }, "card": { "closed": true } });
    let change = told("updateCard", &archived).pop().unwrap();
    assert_eq!(
        trello(&json!({})).ours(&change.facts).status,
        Some(TicketStatus::Closed)
    );
    let renamed = json!({ "old": { "name": "Before", "desc": "old\n\n[ref:tkt-1]" },
        "card": { "name": "After", "desc": format!("new\n\n[ref:{TICKET}]") } });
    let change = told("updateCard", &renamed).pop().unwrap();
    assert_eq!(
        (change.id.as_str(), change.item.address()),
        ("55900c950fbd86334d5c4071", CARD)
    );
    assert_eq!(change.facts.title.as_deref(), Some("After"));
    assert_eq!(change.facts.description.as_deref(), Some("new"));
    assert_eq!(change.before.title.as_deref(), Some("Before"));
    assert_eq!(change.before.description.as_deref(), Some("old"));
    assert_eq!(change.marker.as_deref(), Some(TICKET));
    assert_eq!(change.by.unwrap().name.as_deref(), Some("alf"));
    assert_eq!(change.at.unwrap().low.timestamp_millis(), 1_767_323_045_678);
}

#[test]
fn comments_and_files_are_told_with_what_they_are() {
    let comment = told("commentCard", &json!({ "text": "Mended\n\n[ref:cmd-1]" }))
        .pop()
        .unwrap();
    let said = comment.comment.unwrap();
    assert_eq!(
        (said.id.as_str(), said.body.as_str()),
        ("55900c950fbd86334d5c4071", "Mended")
    );
    assert_eq!(said.marker.as_deref(), Some("cmd-1"));
    let changed = json!({ "old": { "text": "before" },
        "action": { "id": "55900c950fbd86334d5c4000", "text": "after" } });
    let change = told("updateComment", &changed).pop().unwrap();
    let said = change.comment.unwrap();
    assert_eq!(change.kind, ChangeKind::CommentChanged);
    assert_eq!(
        (said.id.as_str(), said.body.as_str()),
        ("55900c950fbd86334d5c4000", "after")
    );
    assert_eq!(said.before.as_deref(), Some("before"));
    let gone = told("deleteComment", &changed).pop().unwrap();
    assert_eq!(
        (gone.kind, gone.comment.unwrap().id),
        (ChangeKind::CommentDeleted, said.id)
    );
    let file = json!({ "attachment": { "id": "55900c950fbd86334d5c4001", "name": "a.txt",
        "url": "https://trello.com/a.txt" } });
    let change = told("addAttachmentToCard", &file).pop().unwrap();
    assert_eq!(change.kind, ChangeKind::Attached);
    assert_eq!(change.files[0].name, "a.txt");
    assert_eq!(told("deleteAttachmentFromCard", &json!({})), []);
}
