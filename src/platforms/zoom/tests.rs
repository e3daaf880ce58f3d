//! What is sent and read, without a platform.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::reader::Window;
use super::words::{Identity, Message, MessageRef, title_of};
use super::*;
use crate::domain::{Priority, TicketCategory, TicketId, TicketPatch, TicketStatus, UserRef};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Handshake, Hit, Rejected, verify};
use crate::platforms::{Change, ChangeKind, DedupKey, Effect, ErrorClass, File, Request, SyncFrom};

const TICKET: &str = "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";
const COMMAND: &str = "cmd-0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e";
const CHANNEL: &str = "c0ffee5upp0rt";
const ROOT: &str = "DE159/sdh+mf==";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(
    credentials: &Value,
    settings: &Value,
    base: Option<&str>,
) -> Result<Zoom, AdapterError> {
    let integration = blank(Platform::Zoom, AuthType::Oauth2, &object(settings), base);
    Zoom::connect(&integration, &Credentials::new(object(credentials)))
}

fn by_user() -> Value {
    json!({ "client_id": "c", "client_secret": "s", "refresh_token": "r" })
}

fn zoom(more: &Value) -> Zoom {
    let mut settings = json!({ "channel_id": CHANNEL });
    settings.as_object_mut().unwrap().extend(object(more));
    connected(&by_user(), &settings, None).unwrap()
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(TICKET.parse().unwrap()),
        title: "Printer\non fire".into(),
        description: "Since **nine**, see [it](https://x.test)".into(),
        status: TicketStatus::InProgress,
        priority: Priority::High,
        urgency: Priority::Low,
        category: TicketCategory::UserAccess,
        department: None,
        assigned_to: None,
        created_by: None,
        tags: Vec::new(),
        custom_fields: Map::new(),
        external_id: Some(format!("{CHANNEL}:{ROOT}")),
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

/// The request of an operation, and what is left out.
fn planned(zoom: &Zoom, operation: &Operation<'_>) -> (Request, Map<String, Value>) {
    let plan = zoom.plan_of(operation, &Known::rehearsal()).unwrap();
    (plan.request.http().unwrap().clone(), plan.left_out)
}

fn answer(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
        truncated: false,
    }
}

#[test]
fn settings_and_credentials_are_read_and_faults_name_their_member() {
    let by_account = json!({ "account_id": "a", "client_id": "c", "client_secret": "s" });
    let mut both = by_account.clone();
    both["refresh_token"] = "r".into();
    let channel = json!({ "channel_id": CHANNEL });
    for (credentials, settings, field) in [
        (&by_user(), json!({}), "settings.channel_id"),
        (
            &by_user(),
            json!({ "channel_id": "c0@conference.xmpp.zoom.us" }),
            "settings.channel_id",
        ),
        (
            &by_user(),
            json!({ "channel_id": CHANNEL, "user_id": "a/b" }),
            "settings.user_id",
        ),
        (&by_account, channel.clone(), "settings.user_id"),
        (&both, channel.clone(), "credentials.account_id"),
        (
            &json!({ "client_id": "c", "client_secret": "s" }),
            channel.clone(),
            "credentials.refresh_token",
        ),
        (
            &json!({ "client_id": "c", "refresh_token": "r" }),
            channel.clone(),
            "credentials.client_secret",
        ),
        (
            &by_user(),
            json!({ "channel_id": CHANNEL, "internal_comments": "yes" }),
            "settings.internal_comments",
        ),
    ] {
        let error = connected(credentials, &settings, None).err().unwrap();
        let ErrorClass::Validation { fields } = error.class else {
            panic!("{settings}")
        };
        assert!(fields.contains_key(field), "{settings}: {fields:?}");
    }
    assert_eq!(zoom(&json!({})).user, "me");
    let settings = json!({ "channel_id": CHANNEL, "user_id": "desk@example.test" });
    let account = connected(&by_account, &settings, None).unwrap();
    assert_eq!(account.user, "desk@example.test");
}

#[test]
fn zoom_has_three_hosts_and_what_stands_for_it_one() {
    let settings = json!({ "channel_id": CHANNEL });
    let at = |base: Option<&str>| {
        let zoom = connected(&by_user(), &settings, base).unwrap();
        let token = zoom.flow.request(None).unwrap().url.to_string();
        let grant = zoom
            .flow
            .read(&answer(200, &json!({ "access_token": "t" })));
        let api = grant.unwrap().api_base.unwrap().to_string();
        let file = File::of_bytes("a.txt", "text/plain", Bytes::from_static(b"x"));
        let (ticket, file) = (&ticket(), &file);
        let attach = Operation::Attach {
            ticket,
            file,
            key: key(COMMAND),
        };
        let (request, _) = planned(&zoom, &attach);
        assert_eq!(request.redirects_to, REDIRECTS);
        (token, api, request.url.to_string())
    };
    let own = (
        "https://zoom.us/oauth/token".to_owned(),
        "https://api.zoom.us/v2".to_owned(),
        "https://file.zoom.us/v2/chat/users/me/messages/files".to_owned(),
    );
    for base in [
        None,
        Some("https://zoom.us"),
        Some("https://api.zoom.us/v2"),
    ] {
        assert_eq!(at(base), own, "{base:?}");
    }
    let proxy = at(Some("https://proxy.test/zoom"));
    assert_eq!(proxy.0, "https://proxy.test/zoom/oauth/token");
    assert_eq!(proxy.1, "https://proxy.test/zoom/v2");
    let file = "https://proxy.test/zoom/v2/chat/users/me/messages/files";
    assert_eq!(proxy.2, file);
    // Where a grant says so, and nowhere else.
    let grant = |api: &str| {
        let body = json!({ "access_token": "t", "api_url": api });
        let grant = zoom(&json!({})).flow.read(&answer(200, &body));
        grant.map(|grant| grant.api_base.unwrap().to_string()).ok()
    };
    let europe = Some("https://api-eu.zoom.us/v2".to_owned());
    assert_eq!(grant("https://api-eu.zoom.us"), europe);
    assert_eq!(grant("https://zoom.us.evil.test"), None);
}

#[test]
fn each_operation_is_a_message_with_its_marker_as_the_last_line() {
    let zoom =
        zoom(&json!({ "internal_comments": true, "ticket_url": "https://d.test/{ticket_id}" }));
    let ada = UserRef {
        id: uuid::Uuid::nil(),
        full_name: Some("Ada\nL.".into()),
        email: None,
    };
    let ticket = &TicketView {
        assigned_to: Some(ada.clone()),
        tags: vec!["a".into(), "b c".into()],
        department: Some("IT".into()),
        ..ticket()
    };
    let (mark, patch) = (format!("tkt-{TICKET}"), &TicketPatch::default());
    let key = key(COMMAND);
    let facts = "Status: in progress · Priority: high · Category: user access · \
                 Assignee: Ada L. · Tags: a, b c";
    let end = format!("https://d.test/{TICKET}\n[ref:{mark}]");
    let create = DedupKey {
        marker: &mark,
        ..key
    };
    let messages = "https://granted.invalid/chat/users/me/messages";
    let root = format!("{messages}/DE159%252Fsdh%252Bmf%253D%253D");
    let line = format!("[ref:{COMMAND}]");
    let comment = |public| Operation::Comment {
        ticket,
        body: "On *it*",
        public,
        key,
    };
    let status = |resolution_summary| Operation::Status {
        ticket,
        status: TicketStatus::Resolved,
        resolution_summary,
        key,
    };
    for (operation, method, url, text) in [
        (
            Operation::Create {
                ticket,
                key: create,
            },
            Method::POST,
            messages,
            format!("Printer on fire\n{facts}\nSince nine, see it\n{end}"),
        ),
        (
            Operation::Update { ticket, patch, key },
            Method::PUT,
            root.as_str(),
            format!("Printer on fire\n{facts}\nSince nine, see it (https://x.test)\n{end}"),
        ),
        (
            Operation::Assign {
                ticket,
                assignee: Some(&ada),
                key,
            },
            Method::PUT,
            root.as_str(),
            format!("Printer on fire\n{facts}\nSince nine, see it (https://x.test)\n{end}"),
        ),
        (
            comment(true),
            Method::POST,
            messages,
            format!("On it\n{line}"),
        ),
        (
            comment(false),
            Method::POST,
            messages,
            format!("Internal comment:\nOn it\n{line}"),
        ),
        (
            status(None),
            Method::POST,
            messages,
            format!("Status: resolved\n{line}"),
        ),
        (
            status(Some("All **done**")),
            Method::POST,
            messages,
            format!("Status: resolved\nAll done\n{line}"),
        ),
    ] {
        let (request, left_out) = planned(&zoom, &operation);
        let body = &request.masked()["body"];
        let kind = operation.kind();
        assert_eq!(body["message"], text, "{kind}");
        assert_eq!(body["to_channel"], CHANNEL, "{kind}");
        assert_eq!(
            (&request.method, request.url.as_str()),
            (&method, url),
            "{kind}"
        );
        let is_reply = method == Method::POST && kind != OperationKind::Create;
        let replies_to = is_reply.then_some(ROOT);
        assert_eq!(body["reply_main_message_id"].as_str(), replies_to, "{kind}");
        // A change takes no formats.
        assert_eq!(body["rich_text"].is_null(), method == Method::PUT, "{kind}");
        assert!(body.get("at_items").is_none(), "{kind}");
        assert_eq!(left_out.contains_key("department"), !is_reply, "{kind}");
    }
    let delete = zoom.plan_of(&Operation::Delete { ticket, key }, &Known::rehearsal());
    assert_eq!(delete.unwrap_err().class, ErrorClass::Internal);
    let quiet = Zoom {
        internal_comments: false,
        ..zoom
    };
    let refused = quiet.plan_of(&comment(false), &Known::rehearsal());
    assert_eq!(refused.unwrap_err().class, ErrorClass::Unsupported);
}

/// The parts of a text that have a format.
fn formatted(body: &Value) -> Vec<(String, String)> {
    let text: Vec<char> = body["message"].as_str().unwrap().chars().collect();
    let ranges = body["rich_text"].as_array().into_iter().flatten();
    let of = |range: &Value| {
        let at = |name: &str| usize::try_from(range[name].as_u64().unwrap()).unwrap();
        let part: String = text[at("start_position")..at("end_position")]
            .iter()
            .collect();
        let kind = range["format_type"].as_str().unwrap().to_owned();
        (part, kind)
    };
    ranges.map(of).collect()
}

#[test]
fn ranges_name_the_parts_that_they_mean_and_nothing_behind_an_emoji() {
    let zoom = zoom(&json!({}));
    let mark = format!("tkt-{TICKET}");
    let body = |title: &str, description: &str| {
        let ticket = &TicketView {
            title: title.into(),
            description: description.into(),
            ..ticket()
        };
        let create = Operation::Create {
            ticket,
            key: key(&mark),
        };
        planned(&zoom, &create).0.masked()["body"].clone()
    };
    let pair = |part: &str, kind: &str| (part.to_owned(), kind.to_owned());
    let text = "Since **nine** ~~ten~~ *ä*, see [the page](https://x.test/p)";

    let plain = body("Grüße", text);
    assert_eq!(
        formatted(&plain),
        [
            pair("Grüße", "Bold"),
            pair("nine", "Bold"),
            pair("ten", "Strikethrough"),
            pair("ä", "Italic"),
            pair("the page", "AddLink"),
        ]
    );
    assert_eq!(plain["rich_text"][4]["format_attr"], "https://x.test/p");
    // The address is in the text where no range can hold it.
    let wide = body("Fire 🔥", text);
    assert_eq!(formatted(&wide), []);
    let said = wide["message"].as_str().unwrap();
    assert!(said.contains("the page (https://x.test/p)"), "{said}");
    let later = body("Fire", "**a** 🔥 **b** [c](https://x.test)");
    assert_eq!(formatted(&later), [pair("Fire", "Bold"), pair("a", "Bold")]);
}

#[test]
fn a_message_has_1024_characters_with_its_marker_and_says_what_is_cut() {
    let zoom = zoom(&json!({ "ticket_url": "https://d.test/{ticket_id}" }));
    let mark = format!("tkt-{TICKET}");
    let long = TicketView {
        title: "title 🔥 ".repeat(60),
        description: "Since **nine** \u{1f600}\n\n".repeat(300),
        tags: (0..40).map(|n| format!("tag {n}")).collect(),
        ..ticket()
    };
    let short = TicketView {
        title: "t".into(),
        description: "word ".repeat(400),
        ..ticket()
    };
    let (patch, ends) = (&TicketPatch::default(), format!("/{TICKET}\n[ref:{mark}]"));
    for (ticket, cut) in [
        (&long, vec!["description", "tags", "title"]),
        (&short, vec!["description"]),
    ] {
        for operation in [
            Operation::Create {
                ticket,
                key: key(&mark),
            },
            Operation::Update {
                ticket,
                patch,
                key: key(COMMAND),
            },
        ] {
            let (request, left_out) = planned(&zoom, &operation);
            let body = &request.masked()["body"];
            let text = body["message"].as_str().unwrap();
            let length = text.encode_utf16().count();
            assert!((900..=1_024).contains(&length), "{length}: {text}");
            assert!(text.ends_with(&ends), "{text}");
            let fields: Vec<&str> = left_out.keys().map(String::as_str).collect();
            assert_eq!(fields, cut);
            let all = left_out.values();
            assert!(
                all.into_iter()
                    .all(|why| why.as_str().unwrap().contains("cut"))
            );
        }
    }
    let ticket = &ticket();
    let body = "word ".repeat(400);
    let (request, left_out) = planned(
        &zoom,
        &Operation::Comment {
            ticket,
            body: &body,
            public: true,
            key: key(COMMAND),
        },
    );
    let text = request.masked()["body"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!((900..=1_024).contains(&text.chars().count()), "{text}");
    assert!(text.ends_with(&format!("\n[ref:{COMMAND}]")) && left_out.contains_key("body"));
}

#[test]
fn a_marker_that_a_person_wrote_is_none() {
    let zoom = zoom(&json!({}));
    let mark = format!("tkt-{TICKET}");
    let forged = "[ref:tkt-00000000-0000-0000-0000-000000000000]";
    let ticket = &TicketView {
        title: forged.into(),
        description: format!("x\n{forged}"),
        tags: vec![forged.into()],
        ..ticket()
    };
    let create = Operation::Create {
        ticket,
        key: key(&mark),
    };
    let text = planned(&zoom, &create).0.masked()["body"]["message"].clone();
    let text = text.as_str().unwrap();
    assert!(!text.contains(forged), "{text}");
    assert!(text.ends_with(&format!("[ref:{mark}]")), "{text}");
}

#[test]
fn a_file_is_posted_at_once_or_uploaded_first_and_marked() {
    let zoom = zoom(&json!({}));
    let ticket = &ticket();
    let of_size = |media_type: &str, size: u64| {
        let mut file = File::of_bytes("a.bin", media_type, Bytes::from_static(b"x"));
        file.size = size;
        file
    };
    let plan = |file: &File| {
        let attach = Operation::Attach {
            ticket,
            file,
            key: key(COMMAND),
        };
        zoom.plan_of(&attach, &Known::rehearsal())
            .map(|plan| plan.request.masked())
    };

    for (media_type, size) in [("image/png", 16_000_000), ("text/plain", 20_000_000)] {
        let small = plan(&of_size(media_type, size)).unwrap();
        assert!(
            small["url"]
                .as_str()
                .unwrap()
                .starts_with("https://file.zoom.us/v2/")
        );
        let parts = small["body"].to_string();
        assert!(parts.contains(CHANNEL) && parts.contains(ROOT), "{parts}");
        let large = of_size(media_type, size + 1);
        let body = plan(&large).unwrap()["body"].clone();
        assert_eq!(body["file_ids"][0], "(the id of the uploaded file)");
        let text = format!("a.bin\n[ref:{}]", large.key(COMMAND));
        assert_eq!(body["message"], text);
        let found: Message = serde_json::from_value(json!({ "id": "1", "message": text })).unwrap();
        assert_eq!(found.marker(), Some(large.key(COMMAND).as_str()));
    }
    let refused = plan(&of_size("text/plain", 1_000_000_001)).unwrap_err();
    assert!(
        matches!(refused.class, ErrorClass::Validation { .. }),
        "{refused:?}"
    );
}

#[test]
fn an_answer_gives_the_message_and_204_has_nothing_to_read() {
    let zoom = zoom(&json!({}));
    let (ticket, patch) = (&ticket(), &TicketPatch::default());
    let key = key(COMMAND);
    let made = answer(201, &json!({ "id": "8CFAF567-A" }));

    let receipt = zoom
        .receipt_of(&Operation::Create { ticket, key }, &made)
        .unwrap();
    assert_eq!(
        receipt.external_id.as_deref(),
        Some("c0ffee5upp0rt:8CFAF567-A")
    );
    let expected =
        json!({ "channel_id": CHANNEL, "message_id": "8CFAF567-A", "key": "8cfaf567-a" });
    assert_eq!(Value::from(receipt.external_ref), expected);
    let comment = Operation::Comment {
        ticket,
        body: "x",
        public: true,
        key,
    };
    let receipt = zoom.receipt_of(&comment, &made).unwrap();
    assert_eq!(receipt.external_comment_id.as_deref(), Some("8cfaf567-a"));
    let update = Operation::Update { ticket, patch, key };
    let empty = Response {
        body: Bytes::new(),
        ..answer(204, &Value::Null)
    };
    assert_eq!(
        zoom.receipt_of(&update, &empty).unwrap(),
        Receipt::default()
    );
    let lost = zoom
        .receipt_of(&comment, &answer(201, &json!({})))
        .unwrap_err();
    assert_eq!(lost.class, ErrorClass::Unknown);

    // What the ticket remembers comes before what people quote.
    let mut moved = ticket.clone();
    moved.external_ref = object(&json!({ "channel_id": "c2", "message_id": "m2", "key": "m2" }));
    assert_eq!(MessageRef::of(&moved), Some(MessageRef::new("c2", "m2")));
    moved.external_ref = object(&json!({ "channel_id": "../x", "message_id": "m2" }));
    assert_eq!(MessageRef::of(&moved), Some(MessageRef::new(CHANNEL, ROOT)));
    for odd in ["", "x", ":x", "c:", "c/d:x", "c:x y", "c:x\u{0}"] {
        assert_eq!(MessageRef::parse(odd), None, "{odd:?}");
    }
}

#[test]
fn a_code_says_more_than_its_status() {
    for (status, code, message, class, says) in [
        (401, 124, "Access token is expired.", "Authentication", ""),
        (400, 124, "Invalid access token.", "Authentication", ""),
        (401, 7010, "x", "Authentication", ""),
        (
            401,
            4711,
            "does not contain scopes",
            "Permission",
            "lacks a scope",
        ),
        (
            400,
            200,
            "Only the sender of this message can make updates",
            "Permission",
            "settings.user_id",
        ),
        (
            400,
            200,
            "You do not have permission",
            "Permission",
            "Edit on Chat Messages",
        ),
        (400, 5403, "x", "Permission", "files"),
        (404, 1001, "x", "NotFound", "settings.user_id"),
        (404, 4130, "x", "NotFound", "settings.channel_id"),
        (404, 4131, "x", "NotFound", "deleted"),
        (400, 300, "Message does not exist", "NotFound", "deleted"),
        (400, 300, "Validation Failed.", "Validation", ""),
        (400, 5420, "x", "Gone", "archived"),
        (400, 5419, "x", "Gone", "encrypted"),
        (400, 5402, "x", "Validation", "reply"),
        (400, 7001, "x", "Validation", ""),
        (400, 5301, "Message sending failed", "Unknown", ""),
        (
            429,
            429,
            "maximum per-second rate limit",
            "RateLimited { retry_after: Some(1s)",
            "",
        ),
        (
            429,
            429,
            "maximum daily rate limit",
            "RateLimited { retry_after: Some(3600s)",
            "day",
        ),
        (503, 503, "x", "Unknown", ""),
    ] {
        let body = json!({ "code": code, "message": message });
        let refused = ERRORS.check(&answer(status, &body), Effect::Create, "posting");
        let error = refused.unwrap_err();
        let shown = format!("{:?}", error.class);
        assert!(shown.starts_with(class), "{code}: {error:?}");
        assert!(error.public.contains(says), "{code}: {error}");
    }
    let field = json!({ "code": 300, "message": "Validation Failed.",
        "errors": [{ "field": "to_channel", "message": "Invalid field." }] });
    let error = ERRORS.check(&answer(400, &field), Effect::Create, "posting");
    let ErrorClass::Validation { fields } = error.unwrap_err().class else {
        panic!("a field is named");
    };
    let expected = BTreeMap::from([(
        "settings.channel_id".to_owned(),
        "Invalid field.".to_owned(),
    )]);
    assert_eq!(fields, expected);
    for (status, code, stale) in [
        (401, 124, true),
        (400, 124, true),
        (401, 9, true),
        (401, 4711, false),
        (400, 300, false),
        (200, 124, false),
    ] {
        let found = is_stale(&answer(status, &json!({ "code": code })));
        assert_eq!(found, stale, "{status} {code}");
    }
}

#[test]
fn who_posted_a_message_is_told_by_id_or_address() {
    let message = |value: Value| serde_json::from_value::<Message>(value).unwrap();
    let me = Identity {
        id: Some("z8yC".into()),
        email: Some("desk@example.test".into()),
    };
    for (value, expected) in [
        (
            json!({ "id": "1", "sender": "Desk@example.test" }),
            Some(true),
        ),
        (
            json!({ "id": "1", "sender": "ann@example.test" }),
            Some(false),
        ),
        (
            json!({ "msg_id": "1", "sender_user_id": "z8yC", "sender_email": "x" }),
            Some(true),
        ),
        (
            json!({ "msg_id": "1", "sender_email": "desk@example.test" }),
            Some(true),
        ),
        (json!({ "id": "1" }), None),
    ] {
        assert_eq!(message(value.clone()).is_by(&me), expected, "{value}");
    }
    let known = message(json!({ "id": "1", "sender": "ann@example.test" }));
    assert_eq!(known.is_by(&Identity::default()), None);
    let mark = format!("[ref:tkt-{TICKET}]");
    assert_eq!(
        title_of(&format!("A title\nfacts\n{mark}")).as_deref(),
        Some("A title")
    );
    assert_eq!(title_of(&mark), None);
    assert_eq!(title_of(&format!("x\n[ref:{COMMAND}]")), None);
}

#[test]
fn a_listing_goes_over_time_in_windows_and_ends_where_the_next_begins() {
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let from = |since: Option<TimeDelta>| SyncFrom {
        since: since.map(|ago| now - ago),
        ..SyncFrom::default()
    };
    for (ago, windows, longest) in [
        (None, 30..=31, TimeDelta::days(6)),
        (Some(TimeDelta::days(400)), 30..=31, TimeDelta::days(6)),
        (Some(TimeDelta::days(9)), 9..=10, TimeDelta::days(1)),
        (Some(TimeDelta::minutes(5)), 1..=1, TimeDelta::days(1)),
    ] {
        let mut window = Window::of(&from(ago), now);
        let (begin, mut seen) = (window.from, 1);
        while let Some(page) = window.next(None) {
            let to = window.to;
            let next = SyncFrom {
                page: Some(&page),
                ..SyncFrom::default()
            };
            window = Window::of(&next, now + TimeDelta::hours(1));
            assert_eq!(window.from.timestamp(), to.timestamp(), "{ago:?}");
            assert!(window.to - window.from <= longest, "{ago:?}: {window:?}");
            seen += 1;
        }
        assert!(windows.contains(&seen), "{ago:?}: {seen}");
        assert!(window.to > now && window.to < now + TimeDelta::seconds(5));
        let asked = ago.map_or(TimeDelta::days(180), |ago| ago.min(TimeDelta::days(180)));
        let overlap = (now - asked) - begin;
        assert!(
            (0..=120).contains(&overlap.num_seconds()),
            "{ago:?}: {overlap}"
        );
    }
    let marked = SyncFrom {
        mark: Some("1789999000"),
        ..from(Some(TimeDelta::days(9)))
    };
    assert_eq!(
        Window::of(&marked, now).from.timestamp(),
        1_789_999_000 - 120
    );
    let first = Window::of(&from(None), now);
    let paged = first.next(Some("to-k=en")).unwrap();
    let next = SyncFrom {
        page: Some(&paged),
        ..SyncFrom::default()
    };
    assert_eq!(Window::of(&next, now).token, "to-k=en");
}

/// What Zoom sends.
struct Sent {
    headers: HeaderMap,
    body: String,
    at: DateTime<Utc>,
}

impl Sent {
    fn new(body: String, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        Self {
            headers: headers.collect(),
            body,
            at: DateTime::from_timestamp(1_626_230_691, 0).unwrap(),
        }
    }

    fn hit(&self) -> Hit<'_> {
        let url = "https://hooks.test/webhooks/1";
        Hit::new(
            &Method::POST,
            url,
            &self.headers,
            self.body.as_bytes(),
            self.at,
        )
    }
}

const SECRET: &str = "zoom-secret-token";

#[test]
fn deliveries_are_verified_over_their_time_and_body() {
    let body = concat!(
        r#"{"event":"chat_message.replied","event_ts":1626230691572,"#,
        r#""payload":{"account_id":"AAAAAABBBB"}}"#,
    );
    let signature = "v0=022ab5c980c7544185b4cbe8405a4e9ec8ed867260d370572f4921f1c0d89d2d";
    let (signed, time) = ("x-zm-signature", "x-zm-request-timestamp");
    let verified = |body: &str, headers: &[(&'static str, &str)], secret: &str, late: i64| {
        let sent = Sent::new(body.to_owned(), headers);
        let secrets = [SecretString::from(secret)];
        let now = sent.at + TimeDelta::seconds(late);
        let schemes = zoom(&json!({})).hooks().schemes;
        verify(schemes, &sent.hit(), AuthType::Oauth2, &secrets, now)
    };
    let good = [(signed, signature), (time, "1626230691")];
    assert_eq!(verified(body, &good, SECRET, 0), Ok(()));
    assert_eq!(verified(body, &good, SECRET, 299), Ok(()));
    assert_eq!(verified(body, &good, SECRET, 301), Err(Rejected::Stale));
    assert_eq!(
        verified(body, &good, "another", 0),
        Err(Rejected::BadSignature)
    );
    let tampered = body.replace("AAAA", "AAAB");
    assert_eq!(
        verified(&tampered, &good, SECRET, 0),
        Err(Rejected::BadSignature)
    );
    let later = [(signed, signature), (time, "1626230692")];
    assert_eq!(
        verified(body, &later, SECRET, 0),
        Err(Rejected::BadSignature)
    );
    let other = [(signed, &signature[3..]), (time, "1626230691")];
    assert_eq!(verified(body, &other, SECRET, 0), Err(Rejected::Unsigned));
    assert_eq!(
        verified(body, &good[1..], SECRET, 0),
        Err(Rejected::Unsigned)
    );
}

#[test]
fn the_proof_that_we_listen_is_made_with_the_secret_that_signed_the_question() {
    use ring::hmac;
    let body = concat!(
        r#"{"event":"endpoint.url_validation","event_ts":1654503849680,"#,
        r#""payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#,
    );
    let time = "1626230691";
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let proof = hmac::sign(&key, format!("v0:{time}:{body}").as_bytes());
    let signature = format!("v0={}", hex::encode(proof));
    let headers = [
        ("x-zm-signature", signature.as_str()),
        ("x-zm-request-timestamp", time),
    ];
    let sent = Sent::new(body.to_owned(), &headers);
    let shaken = |secrets: &[&str]| {
        let secrets: Vec<SecretString> =
            secrets.iter().map(|one| SecretString::from(*one)).collect();
        zoom(&json!({})).shake(&sent.hit(), &secrets)
    };

    let Some(Handshake::Verified(reply)) = shaken(&["a newer one", SECRET]) else {
        panic!("it is answered");
    };
    let said: Value = serde_json::from_str(&reply.body).unwrap();
    let proof = "d9e0d764a78494688ba3f2d5c0ed4ca311394b4834d959759213424d2df961e3";
    assert_eq!(
        said,
        json!({ "plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": proof })
    );
    // Nobody who cannot sign gets anything signed.
    for secrets in [&["another"][..], &[]] {
        assert!(matches!(shaken(secrets), Some(Handshake::Heartbeat)));
    }
    let reaction = Sent::new(
        r#"{"event":"team_chat.channel_reaction_added"}"#.to_owned(),
        &[],
    );
    let shaken = zoom(&json!({})).shake(&reaction.hit(), &[]);
    assert!(matches!(shaken, Some(Handshake::Heartbeat)));
}

fn told(event: &str, object: &Value) -> Vec<Change> {
    let body = json!({ "event": event, "event_ts": 1_626_230_691_572_i64, "payload": {
        "account_id": "AAAAAABBBB", "operator": "ann@example.test", "operator_id": "z8yCann",
        "object": object,
    } });
    let sent = Sent::new(body.to_string(), &[]);
    let zoom = zoom(&json!({}));
    assert!(zoom.shake(&sent.hit(), &[]).is_none(), "{event}");
    zoom.normalise(&sent.hit()).unwrap()
}

#[test]
fn a_reply_is_a_comment_of_its_root_in_both_forms_of_the_event() {
    let old = json!({ "id": "6DFG", "type": "to_channel", "date_time": "2020-02-10T21:39:50Z",
        "timestamp": 1_581_370_790_388_i64, "session_id": "s", "channel_id": "qrst",
        "channel_name": "Team Chat",
        "message": "Hello world.", "parent_msg_id": "DE159sdhmf---dasfC7EBFE73" });
    let new = json!({ "message_id": "6dfg", "channel_id": "qrst", "message": "Hello world.",
        "reply_main_message_id": "DE159sdhmf---dasfC7EBFE73", "timestamp": 1_581_370_790_388_i64,
        "files": [{ "file_id": "f1", "file_name": "a.txt", "file_size": 7 }] });
    let old = told("chat_message.replied", &old);
    let new = told("team_chat.channel_message_posted", &new);

    let (one, other) = (&old[0], &new[0]);
    assert_eq!(
        (one.id.as_str(), &one.kind),
        ("c:6dfg", &ChangeKind::Commented)
    );
    assert_eq!(
        (&one.id, &one.item, &one.comment),
        (&other.id, &other.item, &other.comment)
    );
    assert_eq!(one.item.external_id, "qrst:DE159sdhmf---dasfC7EBFE73");
    assert_eq!(
        one.item.stable_id.as_deref(),
        Some("de159sdhmf---dasfc7ebfe73")
    );
    let comment = one.comment.as_ref().unwrap();
    assert_eq!(
        (comment.id.as_str(), comment.body.as_str()),
        ("6dfg", "Hello world.")
    );
    assert_eq!(
        (comment.public, comment.marker.as_ref()),
        (Some(true), None)
    );
    assert_eq!(one.by.as_ref().unwrap().id.as_deref(), Some("z8yCann"));
    assert_eq!(other.files[0].name, "a.txt");

    // Ours is known by its last line, whoever shares the user.
    let ours = json!({ "message_id": "m", "channel_id": "qrst", "reply_main_message_id": "r",
        "message": format!("On it\n[ref:{COMMAND}]") });
    let ours = told("team_chat.channel_message_posted", &ours);
    let comment = ours[0].comment.as_ref().unwrap();
    assert_eq!(
        (comment.body.as_str(), comment.marker.as_deref()),
        ("On it", Some(COMMAND))
    );
}

#[test]
fn edits_and_deletions_are_told_and_chat_that_is_no_ticket_is_not() {
    let reply = json!({
        "message_id": "M", "channel_id": "c", "reply_main_message_id": "r", "message": "new",
    });
    let edited = told("team_chat.channel_message_updated", &reply);
    assert_eq!(edited[0].kind, ChangeKind::CommentChanged);
    assert_eq!(edited[0].id, "updated:m@1626230691572");
    let gone = told("team_chat.channel_message_deleted", &reply);
    assert_eq!(gone[0].kind, ChangeKind::CommentDeleted);
    assert_eq!(gone[0].comment.as_ref().unwrap().body, "");

    let text = format!("Fire is out\nStatus: open\n[ref:tkt-{TICKET}]");
    let root = json!({ "message_id": "R", "channel_id": "c", "message": text });
    for (event, kind) in [
        ("team_chat.channel_message_posted", ChangeKind::Created),
        ("team_chat.channel_message_updated", ChangeKind::Updated),
        ("chat_message.deleted", ChangeKind::Deleted),
    ] {
        let told = told(event, &root);
        assert_eq!(
            (&told[0].kind, told[0].item.external_id.as_str()),
            (&kind, "c:R")
        );
        assert_eq!(
            told[0].facts.title.as_deref(),
            Some("Fire is out"),
            "{event}"
        );
        assert_eq!(
            told[0].marker.as_deref(),
            Some(format!("tkt-{TICKET}").as_str())
        );
    }
    for object in [
        json!({ "message_id": "R", "channel_id": "c", "message": "chat" }),
        json!({ "message_id": "R", "message": text }),
        json!({ "message_id": "../..", "channel_id": "c", "message": text }),
        json!({ "message_id": "R", "channel_id": "a b", "message": text }),
        json!({}),
    ] {
        let told = told("team_chat.channel_message_posted", &object);
        assert_eq!(told, [], "{object}");
    }
    let odd = Sent::new("[]".to_owned(), &[]);
    assert!(zoom(&json!({})).normalise(&odd.hit()).is_err());
}
