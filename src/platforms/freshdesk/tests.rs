//! What is sent and read, without a platform.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Map, json};
use uuid::Uuid;

use super::reader::At;
use super::words::{self, Field};
use super::*;
use crate::domain::{AuthType, TicketId, TicketPatch, UserRef};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Hit, Rejected, verify};
use crate::platforms::{ChangeKind, DedupKey, ErrorClass, File, Holder, Moment, Needs, Scope};

const ID: &str = "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";
const MARKER: &str = "tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";
const TAG: &str = "t-tmxryhrkkvffhcsdb4xt2hdkca";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(base: Option<&str>, settings: &Value) -> Result<Freshdesk, AdapterError> {
    let mut integration = blank(
        Platform::Freshdesk,
        AuthType::ApiKey,
        &object(settings),
        base,
    );
    integration.custom_fields_mapping = object(&json!({ "plan": "cf_plan", "seats": "cf_seats" }));
    let credentials = Credentials::new(object(&json!({ "api_key": "k3y" })));
    Freshdesk::connect(&integration, &credentials)
}

fn freshdesk(more: &Value) -> Freshdesk {
    let mut settings = json!({ "domain": "acme", "requester_email": "desk@example.test" });
    settings.as_object_mut().unwrap().extend(object(more));
    connected(None, &settings).unwrap()
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::parse_str(ID).unwrap()),
        title: "Printer on fire".into(),
        description: "Since *nine*, says {{ticket.requester.email}} <b>".into(),
        status: TicketStatus::New,
        priority: Priority::Critical,
        urgency: Priority::Low,
        category: TicketCategory::Bug,
        department: None,
        assigned_to: None,
        created_by: Some(UserRef {
            id: Uuid::nil(),
            full_name: Some("Ann".into()),
            email: Some("ann@example.test".into()),
        }),
        tags: vec!["Third, Floor".into(), "third floor".into(), TAG.into()],
        custom_fields: object(&json!({ "seats": 3, "colour": "red" })),
        external_id: Some("47".into()),
        external_url: None,
        external_ref: Map::new(),
    }
}

fn key(marker: &str) -> DedupKey<'_> {
    DedupKey {
        marker,
        received_at: Utc::now(),
    }
}

fn planned(freshdesk: &Freshdesk, operation: &Operation<'_>) -> (String, Value) {
    let plan = freshdesk.plan(operation, &Known::rehearsal()).unwrap();
    let shown = plan.request.masked();
    let path = shown["url"].as_str().unwrap().split("/v2").nth(1).unwrap();
    (path.to_owned(), shown["body"].clone())
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &Value) -> Response {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        all.insert(HeaderName::from_static(name), value);
    }
    Response {
        status,
        headers: all,
        body: Bytes::from(body.to_string()),
        truncated: false,
    }
}

fn fields() -> Vec<Field> {
    let fields = json!([
        { "name": "status", "type": "default_status", "default": true, "choices": {
            "2": ["Open", "Being Processed"], "5": ["Closed", "x"], "6": ["Waiting on Customer",
                "y"] } },
        { "name": "ticket_type", "type": "default_ticket_type", "default": true,
            "choices": ["Question", "Problem"] },
        { "name": "priority", "type": "default_priority", "default": true, "choices": { "Low": 1,
            "Medium": 2 } },
        { "name": "cf_plan", "type": "custom_dropdown", "label": "Plan", "choices": ["Basic",
            "Gold"] },
        { "name": "cf_seats", "type": "custom_number", "required_for_agents": true },
        { "name": "cf_due", "type": "custom_date" },
    ]);
    serde_json::from_value(fields).unwrap()
}

#[test]
fn an_account_is_named_by_its_domain_or_its_address() {
    let page = |base: Option<&str>, settings: &Value| {
        let connected = connected(base, settings);
        connected.map(|desk| desk.page_of("7").unwrap()).ok()
    };
    let expected = Some("https://acme.freshdesk.com/a/tickets/7".to_owned());

    for domain in ["acme", "acme.freshdesk.com"] {
        assert_eq!(page(None, &json!({ "domain": domain })), expected);
    }
    for base in [
        "https://acme.freshdesk.com",
        "https://acme.freshdesk.com/api/v2/",
    ] {
        assert_eq!(page(Some(base), &json!({})), expected, "{base}");
    }
    for wrong in ["", "acme.example", "evil.test/", "a b"] {
        assert_eq!(page(None, &json!({ "domain": wrong })), None, "{wrong}");
    }
}

#[test]
fn settings_that_would_be_refused_with_every_ticket_are_refused_at_once() {
    for (settings, field, says) in [
        (json!({ "group_id": "-1" }), "settings.group_id", "digits"),
        (
            json!({ "reference_field": "external_ref" }),
            REFERENCE,
            "cf_",
        ),
        (
            json!({ "reference_field": "cf_plan" }),
            REFERENCE,
            "overwritten",
        ),
        (
            json!({ "public_comments": "mail" }),
            "settings.public_comments",
            "note",
        ),
        (
            json!({ "priority_map": { "high": "High" } }),
            "settings.priority_map.high",
            "1, 2, 3",
        ),
        (
            json!({ "status_map": { "opened": 2 } }),
            "settings.status_map.opened",
            "in_progress",
        ),
    ] {
        let mut settings = settings;
        settings["domain"] = "acme".into();
        let error = connected(None, &settings).map(|_| ()).unwrap_err();
        let ErrorClass::Validation { fields } = error.class else {
            panic!("{error:?}");
        };
        assert!(fields[field].contains(says), "{fields:?}");
    }
}

#[test]
fn the_key_is_shown_to_nobody() {
    let request = freshdesk(&json!({})).api.get(&["x"]).unwrap();
    let shown = format!("{request:?} {}", request.masked());

    assert!(
        !shown.contains("k3y") && !shown.contains("azN5Olg"),
        "{shown}"
    );
    let Auth::Header(_, value) = &request.auth else {
        panic!("{:?}", request.auth);
    };
    assert_eq!(value.expose_secret(), "Basic azN5Olg=");
}

#[test]
fn the_marker_of_a_ticket_is_a_tag_and_back() {
    assert_eq!(words::marker_tag(MARKER), TAG);
    assert_eq!(words::marker_of_tag(TAG).as_deref(), Some(MARKER));
    for n in [0, 1, u128::MAX, u128::MAX >> 1] {
        let marker = format!("tkt-{}", Uuid::from_u128(n));
        let tag = words::marker_tag(&marker);
        assert_eq!((tag.len(), words::marker_of_tag(&tag)), (28, Some(marker)));
    }
    // One without an id in it has a tag of its own.
    assert_eq!(words::marker_tag("tkt-x").len(), 28);
    for none in [
        "t-",
        "vip",
        "t-tmxryhrkkvffhcsdb4xt2hdkcb",
        "t-TMXRYHRKKVFFHCSDB4XT2HDKCA",
    ] {
        assert_eq!(words::marker_of_tag(none), None, "{none}");
    }
}

#[test]
fn a_create_has_its_marker_a_requester_and_nothing_live_in_it() {
    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key(MARKER),
    };
    let by_tag = freshdesk(&json!({ "group_id": 9 }));
    let (path, body) = planned(&by_tag, &create);

    let expected = json!({
        "subject": "Printer on fire", "priority": 4, "type": "Problem", "status": 2, "group_id": 9,
        "tags": [TAG, "Third Floor", format!("tag-{TAG}"), "category-bug"],
        "email": "ann@example.test", "name": "Ann", "custom_fields": { "cf_seats": 3 },
        "description": "<p>Since <em>nine</em>, says {\u{2060}{ticket.requester.email}} \
                        &lt;b&gt;</p>",
    });
    assert_eq!((path.as_str(), body), ("/tickets", expected));
    let by_field = freshdesk(&json!({ "reference_field": "cf_external_ref" }));
    let (_, body) = planned(&by_field, &create);
    let custom = json!({ "cf_seats": 3, "cf_external_ref": MARKER });
    assert_eq!(body["custom_fields"], custom);
    assert!(!body["tags"].to_string().contains(&format!("\"{TAG}\"")));

    let anonymous = TicketView {
        created_by: None,
        ..ticket.clone()
    };
    let create = Operation::Create {
        ticket: &anonymous,
        key: key(MARKER),
    };
    assert_eq!(planned(&by_tag, &create).1["email"], "desk@example.test");
    let nobody = connected(None, &json!({ "domain": "acme" })).unwrap();
    let error = nobody.plan(&create, &Known::rehearsal()).unwrap_err();
    assert!(error.public.contains("settings.requester_email"), "{error}");
}

#[test]
fn what_is_said_is_mailed_or_noted_and_ends_with_its_marker() {
    let ticket = ticket();
    let say = |settings: &Value, public| {
        let operation = Operation::Comment {
            ticket: &ticket,
            body: "<b>hm</b>",
            public,
            key: key("cmd-1"),
        };
        planned(&freshdesk(settings), &operation)
    };
    let html = "<p>&lt;b&gt;hm&lt;/b&gt;</p><p>[ref:cmd-1]</p>";

    let (path, body) = say(&json!({}), true);
    assert_eq!(
        (path.as_str(), body),
        ("/tickets/47/reply", json!({ "body": html }))
    );
    for (settings, public) in [
        (json!({}), false),
        (json!({ "public_comments": "note" }), true),
    ] {
        let (path, body) = say(&settings, public);
        let expected = json!({ "body": html, "private": !public });
        assert_eq!((path.as_str(), body), ("/tickets/47/notes", expected));
    }
    let file = File::of_bytes("a.txt", "text/plain", Bytes::from_static(b"abc"));
    let attach = Operation::Attach {
        ticket: &ticket,
        file: &file,
        key: key("cmd-1"),
    };
    let (path, body) = planned(&freshdesk(&json!({})), &attach);
    assert_eq!(path, "/tickets/47/notes");
    assert!(body.to_string().contains("attachments[]"), "{body}");
    let mut large = file.clone();
    large.size = 21 << 20;
    let attach = Operation::Attach {
        ticket: &ticket,
        file: &large,
        key: key("cmd-1"),
    };
    let refused = freshdesk(&json!({})).plan(&attach, &Known::rehearsal());
    assert!(refused.unwrap_err().public.contains("20 MB"));
}

#[test]
fn a_change_keeps_the_tags_of_agents_and_says_what_has_no_field() {
    let desk = freshdesk(&json!({}));
    let ticket = ticket();
    let patch = TicketPatch {
        title: Some("New".into()),
        description: Some("other".into()),
        urgency: Some(Priority::Low),
        category: Some(TicketCategory::Billing),
        tags: Some(vec!["smoke".into()]),
        ..TicketPatch::default()
    };
    let operation = Operation::Update {
        ticket: &ticket,
        patch: &patch,
        key: key("cmd-1"),
    };

    let plan = desk.plan(&operation, &Known::rehearsal()).unwrap();
    let body = &plan.request.masked()["body"];
    let expected = json!({ "subject": "New", "description": "<p>other</p>", "type": "Question",
        "tags": ["(the tags that are there)", "smoke", "category-billing"] });
    assert_eq!(body, &expected);
    assert_eq!(plan.left_out.keys().collect::<Vec<_>>(), ["urgency"]);

    // Freshdesk keeps the subject of some tickets without a word.
    let shown = json!({ "id": 47, "subject": "Old", "updated_at": "2026-01-02T03:04:05Z" });
    let read = desk.read(&operation, &Known::default(), &answer(200, &[], &shown));
    assert!(
        read.unwrap().details["title"]
            .as_str()
            .unwrap()
            .contains("not changed")
    );
}

#[test]
fn a_refusal_says_by_our_names_what_is_wrong_and_what_another_look_may_mend() {
    let desk = freshdesk(&json!({ "reference_field": "cf_external_ref" }));
    let ticket = ticket();
    fn create(ticket: &TicketView) -> Operation<'_> {
        Operation::Create {
            ticket,
            key: key(MARKER),
        }
    }
    let refused = |names: &[&str]| {
        let errors: Vec<Value> = names
            .iter()
            .map(
                |name| json!({ "field": name, "message": "It should be", "code": "invalid_value" }),
            )
            .collect();
        answer(
            400,
            &[],
            &json!({ "description": "Validation failed", "errors": errors }),
        )
    };
    let read = |ticket: &TicketView, known: &Known, names: &[&str]| {
        let error = desk
            .read(&create(ticket), known, &refused(names))
            .unwrap_err();
        let ErrorClass::Validation { fields } = error.class else {
            panic!("{:?}", error.class);
        };
        (fields.into_keys().collect::<Vec<_>>(), error.again)
    };

    let names = [
        "email",
        "custom_fields.cf_seats",
        "cf_external_ref",
        "type",
        "subject",
    ];
    let (fields, again) = read(&ticket, &Known::default(), &names);
    let expected = [
        "category",
        "created_by_id",
        "custom_fields.seats",
        REFERENCE,
        "title",
    ];
    assert_eq!(
        (fields, again),
        (expected.map(str::to_owned).to_vec(), None)
    );
    let anonymous = TicketView {
        created_by: None,
        ..ticket.clone()
    };
    let (fields, _) = read(&anonymous, &Known::default(), &["email"]);
    assert_eq!(fields, ["settings.requester_email"]);
    let mut known = Known::default();
    known
        .found
        .insert(item::FOUND_TYPE.into(), "Problem".into());
    assert!(read(&ticket, &known, &["type"]).1.is_some());
    known.again = Some(item::AGAIN);
    assert_eq!(read(&ticket, &known, &["type"]).1, None);

    let limited = answer(429, &[("retry-after", "7")], &json!({ "message": "x" }));
    let error = desk
        .read(&create(&ticket), &Known::default(), &limited)
        .unwrap_err();
    assert_eq!(error.budget, Some(Scope::Integration));
}

#[test]
fn what_comes_back_is_in_our_words_and_what_is_sent_is_known_again() {
    let settings = json!({ "status_map": { "in_progress": "Waiting on customer" } });
    let desk = freshdesk(&settings);
    let shown = json!({ "id": 47, "subject": "Printer on fire", "description": "<p>d</p>",
        "description_text": "d",
        "status": 6, "priority": 4, "responder_id": 8, "tags": ["vip", "category-bug", "category-x",
            "cancelled", TAG],
        "updated_at": "2026-01-02T03:04:05Z", "custom_fields": { "cf_plan": "Gold",
            "cf_other": "x" } });
    let read: words::Ticket = serde_json::from_value(shown).unwrap();

    let item = desk.item_of(&read, &fields());
    let ours = desk.ours(&item.facts);

    assert_eq!(item.marker.as_deref(), Some(MARKER));
    let at: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
    assert_eq!(item.at, Some(Moment::second(at)));
    assert_eq!(item.facts.status.as_deref(), Some("Waiting on customer"));
    assert_eq!(ours.status, Some(TicketStatus::InProgress));
    assert_eq!(ours.priority, Some(Priority::Critical));
    assert_eq!(ours.assignee, Some(Holder::Account("8".into())));
    assert_eq!(
        ours.tags,
        Some(vec!["vip".to_owned(), "category-x".to_owned()])
    );
    assert_eq!(
        ours.custom,
        BTreeMap::from([("plan".to_owned(), json!("Gold"))])
    );
    let plain = freshdesk(&json!({}));
    let status = |status: u64| {
        let shown = json!({ "id": 1, "status": status });
        let ticket: words::Ticket = serde_json::from_value(shown).unwrap();
        plain.ours(&plain.item_of(&ticket, &[]).facts).status
    };
    let expected = [
        (2, TicketStatus::Open),
        (3, TicketStatus::Pending),
        (4, TicketStatus::Resolved),
        (5, TicketStatus::Closed),
        (7, TicketStatus::Pending),
        (12, TicketStatus::Open),
    ];
    for (number, ours) in expected {
        assert_eq!(status(number), Some(ours), "{number}");
    }
    let mut ticket = ticket();
    ticket.title = "x".repeat(300);
    let theirs = plain.theirs(&ticket);
    assert_eq!(theirs.title.unwrap().chars().count(), words::SUBJECT_MAX);
    assert_eq!(theirs.status.as_deref(), Some("2"));
}

#[test]
fn values_are_taken_as_the_account_has_them_and_others_refused() {
    let map = json!({ "plan": "cf_plan", "seats": "cf_seats", "due": "cf_due", "none": "cf_none" });
    let map = FieldMap::of(&object(&map));
    let fields = fields();
    let choose = |custom: Value| words::choose(&map, &object(&custom), Some(&fields));

    let good = json!({ "plan": "gold", "seats": "4", "due": "2026-01-31T10:00:00Z", "other": 1 });
    let chosen = choose(good);
    let expected = json!({ "cf_plan": "Gold", "cf_seats": 4, "cf_due": "2026-01-31" });
    assert_eq!(
        (Value::from(chosen.values), chosen.unmapped),
        (expected, vec!["other".to_owned()])
    );
    assert_eq!(
        Value::from(choose(json!({ "plan": null })).values),
        json!({ "cf_plan": null })
    );
    let unfit = choose(json!({ "plan": "iron", "seats": 1.5, "due": "soon", "none": "x" })).unfit;
    let names: Vec<&str> = unfit.keys().map(String::as_str).collect();
    assert_eq!(names, ["due", "none", "plan", "seats"]);
    assert_eq!(
        words::kind_of(&fields, "problem").as_deref(),
        Some("Problem")
    );
    assert_eq!(
        words::status_named(&fields, "waiting on customer "),
        Some(6)
    );
    assert!(fields[4].shown().required && fields[4].shown().custom);
}

#[test]
fn a_list_goes_on_where_its_last_page_ended_and_no_ticket_moves_out_of_it() {
    let at: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
    let first = At {
        is_of_deleted: false,
        since: at,
        number: 1,
    };

    let moved = first.next(Some(at + TimeDelta::seconds(9))).unwrap();
    assert_eq!((moved.since, moved.number), (at + TimeDelta::seconds(8), 1));
    // All of a page within a second.
    let same = first.next(Some(at + TimeDelta::seconds(1))).unwrap();
    assert_eq!((same.since, same.number), (at, 2));
    assert!(
        At {
            number: 300,
            ..first
        }
        .next(Some(at))
        .is_err()
    );
    assert_eq!(At::read(&same.text()), Some(same));
    for wrong in [
        "",
        "x|2026-01-02T03:04:05Z|1",
        "tickets|x|1",
        "deleted|2026-01-02T03:04:05Z|0",
    ] {
        assert_eq!(At::read(wrong), None, "{wrong}");
    }
}

fn delivered(headers: &[(&'static str, &str)], body: &str) -> (HeaderMap, String) {
    let all = headers.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )
    });
    (all.collect(), body.to_owned())
}

#[test]
fn deliveries_are_known_by_the_secret_in_a_header_or_as_a_password() {
    let check = |headers: &[(&'static str, &str)]| {
        let (headers, body) = delivered(headers, "{}");
        let now = Utc::now();
        let hit = Hit::new(
            &Method::POST,
            "https://h.test/",
            &headers,
            body.as_bytes(),
            now,
        );
        let secrets = [SecretString::from("fd-secret".to_owned())];
        verify(
            inbound::EVENTS.hooks().schemes,
            &hit,
            AuthType::ApiKey,
            &secrets,
            now,
        )
    };

    assert_eq!(check(&[("x-webhook-secret", "fd-secret")]), Ok(()));
    assert_eq!(
        check(&[("authorization", "Basic eDpmZC1zZWNyZXQ=")]),
        Ok(())
    );
    for wrong in [
        ("x-webhook-secret", "other"),
        // fd-secret alone, x:other
        ("authorization", "Basic ZmQtc2VjcmV0"),
        ("authorization", "Basic eDpvdGhlcg=="),
    ] {
        assert_eq!(check(&[wrong]), Err(Rejected::BadSignature), "{wrong:?}");
    }
    assert_eq!(check(&[]), Err(Rejected::Unsigned));
}

#[test]
fn a_delivery_names_its_ticket_in_either_body_and_is_read_again() {
    let changes = |body: &Value| {
        let (headers, body) = delivered(&[], &body.to_string());
        let hit = Hit::new(
            &Method::POST,
            "https://h.test/",
            &headers,
            body.as_bytes(),
            Utc::now(),
        );
        inbound::EVENTS.normalise(&hit)
    };

    for (body, kind, needs) in [
        (
            json!({ "event": "ticket.updated", "ticket_id": "47", "status": "Open" }),
            ChangeKind::Updated,
            Needs::Item,
        ),
        (
            json!({ "event": "ticket.created", "ticket_id": 47 }),
            ChangeKind::Created,
            Needs::Item,
        ),
        (
            json!({ "event": "ticket.deleted", "ticket_id": "INC-47" }),
            ChangeKind::Deleted,
            Needs::Nothing,
        ),
        (
            json!({ "freshdesk_webhook": { "ticket_id": 47,
                "triggered_event": "{status:{from:2,to:4}}" } }),
            ChangeKind::Updated,
            Needs::Item,
        ),
    ] {
        let change = changes(&body).unwrap().remove(0);
        assert_eq!(change.item.external_id, "47", "{body}");
        assert_eq!((change.kind, change.needs), (kind, needs), "{body}");
        assert!(!change.id.is_empty());
    }
    for wrong in [json!({}), json!({ "ticket_id": "../x" }), json!([1])] {
        let error = changes(&wrong).unwrap_err();
        assert!(
            matches!(error.class, ErrorClass::Validation { .. }),
            "{error:?}"
        );
    }
}
