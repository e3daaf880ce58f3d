//! What is sent and read, without a platform.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, json};
use uuid::Uuid;

use super::*;
use crate::domain::{TicketId, TicketPatch, UserRef};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Hit, Rejected, verify};
use crate::platforms::{ChangeKind, DedupKey, File, Holder, Moment, Needs};

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(
    auth_type: AuthType,
    credentials: &Value,
    settings: &Value,
    mapping: &Value,
) -> Result<Zendesk, AdapterError> {
    let mut integration = blank(Platform::Zendesk, auth_type, &object(settings), None);
    integration.custom_fields_mapping = object(mapping);
    Zendesk::connect(&integration, &Credentials::new(object(credentials)))
}

fn zendesk(settings: &Value) -> Zendesk {
    let credentials = json!({ "email": "bot@example.test", "api_token": "t0k3n" });
    let mut all = json!({ "subdomain": "acme" });
    all.as_object_mut().unwrap().extend(object(settings));
    let mapping = json!({ "plan": "27643", "seats": "27644" });
    connected(AuthType::ApiKey, &credentials, &all, &mapping).unwrap()
}

fn fault(settings: &Value) -> BTreeMap<String, String> {
    let credentials = json!({ "email": "bot@example.test", "api_token": "t" });
    let connected = connected(AuthType::ApiKey, &credentials, settings, &json!({}));
    match connected.map(|_| ()).unwrap_err().class {
        ErrorClass::Validation { fields } => fields,
        other => panic!("{other:?}"),
    }
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::nil()),
        title: "Printer on fire".into(),
        description: "Since *nine*, says {{ticket.requester.email}}".into(),
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
        tags: vec!["Third Floor".into(), "third floor".into(), "VIP".into()],
        custom_fields: Map::new(),
        external_id: Some("17".into()),
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

/// The dry run of an operation.
fn planned(zendesk: &Zendesk, operation: &Operation<'_>) -> Value {
    let plan = zendesk.plan(operation, &Known::rehearsal()).unwrap();
    plan.request.masked()
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

#[test]
fn an_account_is_named_by_its_subdomain_or_its_address() {
    let at = |base: Option<&str>, settings: Value| {
        let integration = blank(
            Platform::Zendesk,
            AuthType::ApiKey,
            &object(&settings),
            base,
        );
        let credentials = json!({ "email": "b@x.test", "api_token": "t" });
        let connected = Zendesk::connect(&integration, &Credentials::new(object(&credentials)));
        connected.map(|zendesk| zendesk.page_of("7").unwrap()).ok()
    };
    let page = Some("https://acme.zendesk.com/agent/tickets/7".to_owned());

    assert_eq!(at(None, json!({ "subdomain": "acme" })), page);
    for base in [
        "https://acme.zendesk.com",
        "https://acme.zendesk.com/api/v2/",
    ] {
        assert_eq!(at(Some(base), json!({})), page, "{base}");
    }
    for wrong in ["", "acme.zendesk.com", "evil.test/", "a b"] {
        assert_eq!(at(None, json!({ "subdomain": wrong })), None, "{wrong}");
    }
}

#[test]
fn settings_that_zendesk_would_refuse_with_every_ticket_are_refused_at_once() {
    for (settings, field, says) in [
        (json!({ "brand_id": "main" }), "settings.brand_id", "digits"),
        (json!({ "group_id": "-1" }), "settings.group_id", "digits"),
        (
            json!({ "priority_map": { "high": "hoch" } }),
            "settings.priority_map.high",
            "urgent",
        ),
        (
            json!({ "category_map": { "bug": "Bug" } }),
            "settings.category_map.bug",
            "incident",
        ),
        (
            json!({ "status_map": { "opened": "open" } }),
            "settings.status_map.opened",
            "in_progress",
        ),
    ] {
        let mut settings = settings;
        settings["subdomain"] = "acme".into();
        let fields = fault(&settings);
        assert!(
            fields.get(field).is_some_and(|fault| fault.contains(says)),
            "{fields:?}"
        );
    }
    let numbered = zendesk(&json!({ "brand_id": 360_001, "group_id": "360002" }));
    assert_eq!(
        (numbered.brand, numbered.group),
        (Some(360_001), Some(360_002))
    );
}

#[test]
fn each_way_to_prove_who_asks_is_its_own() {
    let of = |auth_type, credentials: Value| {
        let settings = json!({ "subdomain": "acme" });
        let zendesk = connected(auth_type, &credentials, &settings, &json!({})).unwrap();
        let request = zendesk.api.get(&["x"]).unwrap();
        let grant = zendesk.flow.as_ref().map(|flow| {
            let request = flow.request(None).unwrap();
            assert_eq!(
                request.url.as_str(),
                "https://acme.zendesk.com/oauth/tokens"
            );
            let crate::platforms::Body::Json(body) = request.body else {
                panic!("a grant is asked for in JSON");
            };
            let body: Value = serde_json::from_slice(&body).unwrap();
            format!("{} {}", body["grant_type"].as_str().unwrap(), body["scope"])
        });
        (request.auth, grant)
    };

    let (auth, grant) = of(
        AuthType::ApiKey,
        json!({ "email": "a@b.test/token", "api_token": "t" }),
    );
    let Auth::Basic { user, .. } = auth else {
        panic!("{auth:?}");
    };
    assert_eq!((user.as_str(), grant), ("a@b.test/token", None));
    let client = json!({ "client_id": "c", "client_secret": "s" });
    let (auth, grant) = of(AuthType::Oauth2, client);
    assert!(matches!(auth, Auth::OAuth));
    assert_eq!(grant.as_deref(), Some("client_credentials \"read write\""));
    let refresh = json!({ "client_id": "c", "client_secret": "s", "refresh_token": "r" });
    let (_, grant) = of(AuthType::Oauth2, refresh);
    assert_eq!(grant.as_deref(), Some("refresh_token null"));
    let (auth, grant) = of(AuthType::Oauth2, json!({ "access_token": "t" }));
    assert!(matches!(auth, Auth::Bearer(_)) && grant.is_none());
}

#[test]
fn a_grant_without_the_scopes_is_no_grant() {
    let scope = |scope: Value| {
        let granted = json!({ "access_token": "t", "scope": scope });
        has_scope(&answer(200, &[], &granted)).map_err(|error| error.class)
    };

    for good in [
        json!("read write"),
        json!("tickets:read write users:read"),
        json!(""),
        json!(null),
    ] {
        assert_eq!(scope(good.clone()), Ok(()), "{good}");
    }
    for poor in ["read", "tickets:write", "webhooks:write users:read"] {
        assert_eq!(scope(json!(poor)), Err(ErrorClass::Permission), "{poor}");
    }
    assert_eq!(
        has_scope(&answer(401, &[], &json!({ "scope": "read" }))),
        Ok(())
    );
}

#[test]
fn a_create_has_its_key_and_nothing_live_in_it() {
    let zendesk = zendesk(&json!({ "group_id": 9 }));
    let mut ticket = ticket();
    ticket.custom_fields = object(&json!({ "seats": 3, "colour": "red" }));

    let shown = planned(
        &zendesk,
        &Operation::Create {
            ticket: &ticket,
            key: key("tkt-1"),
        },
    );

    assert_eq!(shown["headers"]["idempotency-key"], "tkt-1");
    let made = &shown["body"]["ticket"];
    let expected = json!({
        "subject": "Printer on fire", "priority": "urgent", "type": "incident", "status": "new",
        "tags": ["third_floor", "vip", "category_bug"], "external_id": "tkt-1", "group_id": 9,
        "requester": { "name": "Ann", "email": "ann@example.test" },
        "custom_fields": [{ "id": 27_644, "value": 3 }],
        "comment": { "public": true,
            "html_body": "<p>Since <em>nine</em>, says {\u{2060}{ticket.requester.email}}</p>" },
    });
    assert_eq!(made, &expected);
}

#[test]
fn a_change_sets_what_zendesk_has_and_says_what_it_has_not() {
    let zendesk = zendesk(&json!({}));
    let ticket = ticket();
    let plan = |patch: &TicketPatch| {
        let operation = Operation::Update {
            ticket: &ticket,
            patch,
            key: key("cmd-1"),
        };
        zendesk.plan(&operation, &Known::rehearsal())
    };
    let of = |patch: &TicketPatch| {
        let plan = plan(patch).unwrap();
        let shown = plan.request.masked();
        let path = shown["url"]
            .as_str()
            .unwrap()
            .split("/v2")
            .nth(1)
            .unwrap()
            .to_owned();
        (path, shown["body"].clone(), plan.left_out)
    };

    let both = TicketPatch {
        title: Some("New".into()),
        description: Some("other".into()),
        urgency: Some(Priority::Low),
        category: Some(TicketCategory::Billing),
        ..TicketPatch::default()
    };
    let (path, body, left_out) = of(&both);
    let expected = json!({ "ticket": { "subject": "New", "type": "question" } });
    assert_eq!((path.as_str(), body), ("/tickets/17", expected));
    assert_eq!(
        left_out.keys().collect::<Vec<_>>(),
        ["description", "urgency"]
    );

    let tags = TicketPatch {
        tags: Some(vec!["A b".into()]),
        ..TicketPatch::default()
    };
    let (path, body, _) = of(&tags);
    assert_eq!(
        (path.as_str(), body),
        ("/tickets/17/tags", json!({ "tags": ["a_b"] }))
    );

    let description = TicketPatch {
        description: Some("other".into()),
        ..TicketPatch::default()
    };
    let refused = plan(&description).unwrap_err();
    assert_eq!(refused.class, ErrorClass::Unsupported);
}

#[test]
fn comments_and_files_carry_whose_they_are() {
    let zendesk =
        zendesk(&json!({ "status_map": { "pending": "hold", "open": "Working", "closed": 77 } }));
    let ticket = ticket();
    let file = File::of_bytes("a.txt", "text/plain", Bytes::from_static(b"abc"));
    let status = |status, resolution_summary| Operation::Status {
        ticket: &ticket,
        status,
        resolution_summary,
        key: key("cmd-1"),
    };
    let body = |operation: &Operation<'_>| planned(&zendesk, operation)["body"]["ticket"].clone();

    let comment = body(&Operation::Comment {
        ticket: &ticket,
        body: "<b>hm</b>",
        public: false,
        key: key("cmd-1"),
    });
    assert_eq!(comment["comment"]["public"], false);
    assert!(
        !comment["comment"]["html_body"]
            .as_str()
            .unwrap()
            .contains("<b>")
    );
    assert_eq!(comment["metadata"], json!({ "ticketwire_mark": "cmd-1" }));
    let attached = body(&Operation::Attach {
        ticket: &ticket,
        file: &file,
        key: key("cmd-1"),
    });
    assert_eq!(
        attached["metadata"]["ticketwire_file"],
        file.sha256.as_str()
    );
    assert_eq!(attached["comment"]["uploads"].as_array().unwrap().len(), 1);
    let resolved = body(&status(TicketStatus::Resolved, Some("Mended")));
    assert_eq!(resolved["status"], "solved");
    assert_eq!(resolved["comment"]["html_body"], "<p>Mended</p>");
    assert_eq!(
        body(&status(TicketStatus::Pending, None)),
        json!({ "status": "hold" })
    );
    let custom = json!({ "custom_status_id": { "lookup": "Working" } });
    assert_eq!(body(&status(TicketStatus::Open, None)), custom);
    assert_eq!(
        body(&status(TicketStatus::Closed, None)),
        json!({ "custom_status_id": 77 })
    );
}

#[test]
fn a_refusal_says_by_our_names_what_is_wrong_and_what_another_look_may_mend() {
    let zendesk = zendesk(&json!({}));
    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key("tkt-1"),
    };
    let person = ticket.created_by.clone();
    let assign = Operation::Assign {
        ticket: &ticket,
        assignee: person.as_ref(),
        key: key("cmd-1"),
    };
    let one = |text: &str| json!([{ "description": text, "error": "InvalidValue" }]);
    let invalid = |details: Value| {
        json!({ "error": "RecordInvalid",
            "description": "Record validation errors", "details": details })
    };
    let read = |operation: &Operation<'_>, known: &Known, answer: &Response| {
        zendesk.read(operation, known, answer).unwrap_err()
    };

    let details = json!({ "custom_field_27643": one("is not valid"), "subject": one("is blank") });
    let refused = answer(422, &[], &invalid(details));
    let error = read(&create, &Known::default(), &refused);
    let ErrorClass::Validation { fields } = &error.class else {
        panic!("{error:?}");
    };
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(
        (names, error.again),
        (vec!["custom_fields.plan", "title"], None)
    );

    let refused = answer(
        422,
        &[],
        &invalid(json!({ "assignee": one("is no agent") })),
    );
    let error = read(&assign, &Known::default(), &refused);
    assert!(error.again.is_some());
    let again = Known {
        again: error.again,
        ..Known::default()
    };
    assert_eq!(read(&assign, &again, &refused).again, None);

    let other = json!({ "error": "IdempotentRequestError", "description": "x" });
    let refused = answer(400, &[], &other);
    let error = read(&create, &Known::default(), &refused);
    assert!(error.again.is_some());
    let error = read(&create, &again, &refused);
    assert_eq!(
        (error.again, error.code()),
        (None, crate::domain::ErrorCode::PlatformUnavailable)
    );
}

#[test]
fn what_is_closed_for_good_needs_no_closing() {
    let zendesk = zendesk(&json!({}));
    let ticket = ticket();
    let closed = json!({ "error": "RecordInvalid", "description": "Record validation errors",
        "details": { "status": [{ "description": "Status: closed prevents ticket update" }] } });
    let closed = answer(422, &[], &closed);
    let status = |status| {
        let operation = Operation::Status {
            ticket: &ticket,
            status,
            resolution_summary: None,
            key: key("cmd-1"),
        };
        zendesk.read(&operation, &Known::default(), &closed)
    };

    let done = status(TicketStatus::Closed).unwrap();
    assert!(done.details["status"].as_str().unwrap().contains("final"));
    assert_eq!(
        status(TicketStatus::Open).unwrap_err().class,
        ErrorClass::Conflict
    );
}

#[test]
fn a_ticket_returns_to_new_nowhere_and_is_told_so() {
    let zendesk = zendesk(&json!({}));
    let ticket = ticket();
    let operation = Operation::Status {
        ticket: &ticket,
        status: TicketStatus::New,
        resolution_summary: None,
        key: key("cmd-1"),
    };
    let read = |status: &str| {
        let body = json!({ "ticket": { "id": 17, "status": status } });
        zendesk.read(&operation, &Known::default(), &answer(200, &[], &body))
    };

    assert!(read("new").is_ok());
    assert_eq!(read("open").unwrap_err().class, ErrorClass::Unsupported);
}

#[test]
fn a_budget_that_no_header_names_is_the_tickets_own() {
    let zendesk = zendesk(&json!({}));
    let ticket = ticket();
    let operation = Operation::Comment {
        ticket: &ticket,
        body: "x",
        public: true,
        key: key("cmd-1"),
    };
    let budget = |headers: &[(&'static str, &str)]| {
        let mut all = vec![("retry-after", "7")];
        all.extend(headers);
        let refused = answer(429, &all, &json!({ "error": "x" }));
        let error = zendesk
            .read(&operation, &Known::default(), &refused)
            .unwrap_err();
        let retry_after = Some(Duration::from_secs(7));
        assert_eq!(error.class, ErrorClass::RateLimited { retry_after });
        error.budget
    };
    let left = ("x-rate-limit-remaining", "398");
    let endpoint = |remaining| ("zendesk-ratelimit-tickets-update", remaining);

    assert_eq!(budget(&[]), Some(Scope::Integration));
    assert_eq!(
        budget(&[("ratelimit-remaining", "0")]),
        Some(Scope::Integration)
    );
    let used = endpoint("total=100; remaining=0; resets=41");
    assert_eq!(budget(&[left, used]), Some(Scope::Endpoint));
    let some = endpoint("total=100; remaining=60; resets=41");
    assert_eq!(budget(&[left, some]), Some(Scope::Item));
}

#[test]
fn what_comes_back_is_in_our_words_and_what_is_sent_is_known_again() {
    let settings = json!({ "status_map": { "in_progress": "Working", "pending": "hold" } });
    let zendesk = zendesk(&settings);
    let shown = json!({ "id": 17, "subject": "Printer on fire", "description": "d",
        "status": "open",
        "custom_status_id": 5, "priority": "urgent", "assignee_id": 8, "tags": ["vip",
            "category_bug", "cancelled"],
        "external_id": "tkt-1", "updated_at": "2026-01-02T03:04:05Z",
        "custom_fields": [{ "id": 27_643, "value": "gold" }, { "id": 1, "value": "x" }] });
    let read: words::Ticket = serde_json::from_value(shown).unwrap();
    let custom = json!([{ "id": 5, "agent_label": "working", "status_category": "open" }]);
    let custom: Vec<words::CustomStatus> = serde_json::from_value(custom).unwrap();

    let item = zendesk.item_of(&read, &custom);
    let ours = zendesk.ours(&item.facts);

    assert_eq!(item.marker.as_deref(), Some("tkt-1"));
    let at: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
    assert_eq!(item.at, Some(Moment::second(at)));
    assert_eq!(ours.status, Some(TicketStatus::InProgress));
    assert_eq!(ours.priority, Some(Priority::Critical));
    assert_eq!(ours.assignee, Some(Holder::Account("8".into())));
    assert_eq!(ours.tags, Some(vec!["vip".to_owned()]));
    assert_eq!(
        ours.custom,
        BTreeMap::from([("plan".to_owned(), json!("gold"))])
    );
    let plain = zendesk.item_of(&read, &[]);
    assert_eq!(zendesk.ours(&plain.facts).status, Some(TicketStatus::Open));

    let mut ticket = ticket();
    ticket.title = "x".repeat(300);
    let theirs = zendesk.theirs(&ticket);
    assert_eq!(theirs.title.unwrap().chars().count(), words::SUBJECT_MAX);
    assert_eq!(theirs.status.as_deref(), Some("new"));
}

#[test]
fn choices_are_taken_by_name_or_tag_and_others_refused() {
    let fields = json!([
        { "id": 27_643, "type": "tagger", "title": "Plan", "active": true,
          "custom_field_options": [{ "name": "Gold plan", "value": "plan_gold" }] },
        { "id": 27_644, "type": "integer", "title": "Seats", "active": true },
        { "id": 27_645, "type": "text", "title": "Old", "active": false },
    ]);
    let fields: Vec<words::TicketField> = serde_json::from_value(fields).unwrap();
    let map = json!({ "plan": "27643", "seats": "27644", "old": "27645", "none": "9" });
    let map = FieldMap::of(&object(&map));
    let choose = |custom: Value| words::choose(&map, &object(&custom), Some(&fields));

    let chosen = choose(json!({ "plan": "gold PLAN", "seats": "4", "other": 1 }));
    let expected = json!([{ "id": 27_643, "value": "plan_gold" }, { "id": 27_644, "value": 4 }]);
    assert_eq!(
        (json!(chosen.values), chosen.unmapped),
        (expected, vec!["other".to_owned()])
    );
    let cleared = choose(json!({ "plan": null }));
    assert_eq!(
        json!(cleared.values),
        json!([{ "id": 27_643, "value": null }])
    );
    let unfit = choose(json!({ "plan": "silver", "seats": "four", "old": "x", "none": "x" })).unfit;
    let names: Vec<&str> = unfit.keys().map(String::as_str).collect();
    assert_eq!(names, ["none", "old", "plan", "seats"]);
    assert!(unfit["plan"].contains("Plan") && unfit["none"].contains("does not have"));
}

/// A delivery, signed.
struct Delivery {
    headers: HeaderMap,
    body: String,
}

impl Delivery {
    fn new(body: &Value) -> Self {
        let mut headers = HeaderMap::new();
        let invocation = HeaderValue::from_static("01HINVOCATION");
        headers.insert("x-zendesk-webhook-invocation-id", invocation);
        Self {
            headers,
            body: body.to_string(),
        }
    }

    fn changes(&self) -> Result<Vec<crate::platforms::Change>, AdapterError> {
        let url = "https://hooks.example.test/webhooks/1";
        let hit = Hit::new(
            &Method::POST,
            url,
            &self.headers,
            self.body.as_bytes(),
            Utc::now(),
        );
        inbound::EVENTS.normalise(&hit)
    }
}

#[test]
fn deliveries_are_known_by_what_zendesk_signs() {
    // With the secret that the documentation gives for tests.
    let secret = || SecretString::from("dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==".to_owned());
    let at: DateTime<Utc> = "2026-07-22T10:00:00Z".parse().unwrap();
    let check = |signature: &str, body: &str, secret: SecretString, now: DateTime<Utc>| {
        let mut headers = HeaderMap::new();
        let stamp = HeaderValue::from_static("2026-07-22T10:00:00Z");
        headers.insert("x-zendesk-webhook-signature-timestamp", stamp);
        if !signature.is_empty() {
            let signature = HeaderValue::from_str(signature).unwrap();
            headers.insert("x-zendesk-webhook-signature", signature);
        }
        let hit = Hit::new(
            &Method::POST,
            "https://h.test/",
            &headers,
            body.as_bytes(),
            now,
        );
        let schemes = inbound::EVENTS.hooks().schemes;
        verify(schemes, &hit, AuthType::ApiKey, &[secret], now)
    };
    let signature = "t/iETwpCJ7EB7YEDhHDQtufQht9zs+8kWqboRzPXRN8=";
    let body = "{\"ticket_id\":1}";

    assert_eq!(check(signature, body, secret(), at), Ok(()));
    let empty = "Vkek8gND7LZLBmaCYkPfWqG0roHsw88HFS3GJh60xcM=";
    assert_eq!(check(empty, "", secret(), at), Ok(()));
    let refused = [
        check(signature, "{\"ticket_id\":2}", secret(), at),
        check(
            signature,
            body,
            SecretString::from("another".to_owned()),
            at,
        ),
        check("", body, secret(), at),
        check(
            signature,
            body,
            secret(),
            at + chrono::Duration::seconds(301),
        ),
    ];
    let why = [
        Rejected::BadSignature,
        Rejected::BadSignature,
        Rejected::Unsigned,
        Rejected::Stale,
    ];
    assert_eq!(refused.map(|refused| refused.unwrap_err()), why);
}

#[test]
fn an_event_says_what_happened_to_which_ticket() {
    let event = |what: &str, event: Value| {
        let body = json!({
            "type": format!("zen:event-type:ticket.{what}"), "account_id": 1, "id": "2b24ef10",
            "time": "2026-01-02T03:04:05Z", "subject": "zen:ticket:5158",
            "detail": { "id": "9", "actor_id": "84473", "status": "OPEN", "priority": "LOW",
                "subject": "Printer",
                "external_id": "tkt-1", "tags": ["vip"], "assignee_id": null },
            "event": event,
        });
        Delivery::new(&body).changes().unwrap().remove(0)
    };

    let changed = event(
        "status_changed",
        json!({ "current": "OPEN", "previous": "NEW" }),
    );
    assert_eq!(
        (changed.id.as_str(), &changed.kind),
        ("2b24ef10", &ChangeKind::Updated)
    );
    assert_eq!(
        changed.item.external_id, "5158",
        "the subject names the ticket"
    );
    assert_eq!(changed.facts.status.as_deref(), Some("open"));
    assert_eq!(changed.facts.assignee, Some(Holder::Nobody));
    assert_eq!(changed.before.status.as_deref(), Some("new"));
    assert_eq!(changed.by.unwrap().id.as_deref(), Some("84473"));
    assert_eq!(
        (changed.marker.as_deref(), changed.needs),
        (Some("tkt-1"), Needs::Nothing)
    );

    let said = json!({ "comment": { "id": "7", "body": "hm", "is_public": false,
        "author": { "id": 5, "name": "Ann" } } });
    let commented = event("comment_added", said);
    let comment = commented.comment.unwrap();
    assert_eq!(commented.kind, ChangeKind::Commented);
    assert_eq!(
        (comment.id.as_str(), comment.body.as_str(), comment.public),
        ("7", "hm", Some(false))
    );
    assert_eq!(commented.by.unwrap().id.as_deref(), Some("5"));
    assert!(commented.facts.is_empty());

    let hidden = event("comment_redacted", json!({ "comment": { "id": "7" } }));
    assert_eq!(hidden.needs, Needs::Comment { id: "7".into() });
    assert_eq!(event("soft_deleted", json!({})).kind, ChangeKind::Deleted);
    assert_eq!(event("created", json!({})).kind, ChangeKind::Created);
    assert_eq!(event("custom_field_changed", json!({})).needs, Needs::Item);
}

#[test]
fn a_trigger_names_a_ticket_and_what_is_no_ticket_is_nothing() {
    for id in [json!(35), json!("35")] {
        let changes = Delivery::new(&json!({ "ticket_id": id }))
            .changes()
            .unwrap();
        assert_eq!(changes[0].item.external_id, "35");
        assert_eq!(
            (changes[0].id.as_str(), &changes[0].needs),
            ("01HINVOCATION#0", &Needs::Item)
        );
    }
    let user =
        json!({ "type": "zen:event-type:user.created", "subject": "zen:user:1", "detail": {} });
    assert_eq!(Delivery::new(&user).changes().unwrap(), []);
    for wrong in [
        json!({ "ticket_id": "../x" }),
        json!({ "type": "zen:event-type:ticket.created", "subject": "zen:ticket:x", "detail": {} }),
        json!([1]),
    ] {
        let error = Delivery::new(&wrong).changes().unwrap_err();
        assert!(
            matches!(error.class, ErrorClass::Validation { .. }),
            "{error:?}"
        );
    }
}
