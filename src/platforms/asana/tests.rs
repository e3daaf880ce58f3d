//! What is sent and read, without a platform.

use bytes::Bytes;
use chrono::Utc;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::words::{Field, Sent, Task};
use super::*;
use crate::domain::{TicketId, TicketPatch, UserRef};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Handshake, Hit, Rejected, verify};
use crate::platforms::{Change, ChangeKind, DedupKey, ErrorClass, Holder, Needs};

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(auth_type: AuthType, settings: &Value) -> Result<Asana, AdapterError> {
    let mut integration = blank(Platform::Asana, auth_type, &object(settings), None);
    integration.custom_fields_mapping = object(&json!({
        "customer": "13", "places": "14", "topics": "15", "until": "16", "owner": "17", "sum": "18",
    }));
    let credentials = object(&json!({
        "access_token": "2/1/t0k3n", "client_id": "c", "client_secret": "s", "refresh_token": "r",
    }));
    Asana::connect(&integration, &Credentials::new(credentials))
}

fn settings(more: &Value) -> Value {
    let mut all = json!({ "workspace_gid": "1", "project_gid": "2" });
    for (name, value) in object(more) {
        all[name] = value;
    }
    all
}

fn asana(more: &Value) -> Asana {
    connected(AuthType::Bearer, &settings(more)).unwrap()
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::nil()),
        title: "Printer\non fire".into(),
        description: "Since *nine*".into(),
        status: TicketStatus::New,
        priority: Priority::Critical,
        urgency: Priority::Low,
        category: TicketCategory::Bug,
        department: None,
        assigned_to: None,
        created_by: None,
        tags: Vec::new(),
        custom_fields: object(&json!({
            "customer": ["A", "B"], "places": "12", "topics": "vip", "until": "2026-02-01",
            "owner": [7], "sum": 1, "other": 1,
        })),
        external_id: Some("1300".into()),
        external_url: None,
        external_ref: Map::new(),
    }
}

fn fields() -> Vec<Field> {
    let option = |gid: &str, name: &str, enabled: bool| {
        json!({ "gid": gid, "name": name,
        "enabled": enabled })
    };
    serde_json::from_value(json!([
        { "gid": "11", "name": "Priority", "resource_subtype": "enum",
          "enum_options": [option("111", "low", true), option("112", "High", true), option("113",
              "Critical", false)] },
        { "gid": "12", "name": "Kind", "resource_subtype": "enum", "enum_options": [option("121",
            "Bug", true)] },
        { "gid": "13", "name": "Customer", "resource_subtype": "text" },
        { "gid": "14", "name": "Seats", "resource_subtype": "number" },
        { "gid": "15", "name": "Topics", "resource_subtype": "multi_enum",
            "enum_options": [option("151", "VIP", true)] },
        { "gid": "16", "name": "Promised", "resource_subtype": "date" },
        { "gid": "17", "name": "Owner", "resource_subtype": "people" },
        { "gid": "18", "name": "Sum", "resource_subtype": "formula" },
    ]))
    .unwrap()
}

fn key() -> DedupKey<'static> {
    DedupKey {
        marker: "tkt-00000000-0000-0000-0000-000000000000",
        received_at: Utc::now(),
    }
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
fn a_bad_member_is_named() {
    for (more, field) in [
        (json!({ "project_gid": "Support" }), "settings.project_gid"),
        (json!({ "workspace_gid": "" }), "settings.workspace_gid"),
        (
            json!({ "internal_comments": "yes" }),
            "settings.internal_comments",
        ),
        (
            json!({ "status_map": { "done": "Done" } }),
            "settings.status_map.done",
        ),
        (
            json!({ "priority_field": "13" }),
            "custom_fields_mapping.customer",
        ),
    ] {
        let error = connected(AuthType::Bearer, &settings(&more)).err().unwrap();
        let ErrorClass::Validation { fields } = error.class else {
            panic!("{more}")
        };
        assert!(fields.contains_key(field), "{fields:?}");
    }
    let error = connected(AuthType::ApiKey, &settings(&json!({}))).err();
    assert!(error.unwrap().public.contains("bearer"));
}

#[test]
fn values_are_chosen_among_what_the_project_has() {
    let asana = asana(&json!({ "priority_field": "priority", "category_field": "12" }));
    let fields = fields();
    let mut sent = Sent::of(Some(&fields));

    asana.put_new(&mut sent, &ticket());

    let expected = json!({
        // Its own choice is switched off.
        "11": "112", "12": "121", "13": "A, B", "14": 12, "15": ["151"],
        "16": { "date": "2026-02-01" }, "17": ["7"],
    });
    assert_eq!(sent.data["custom_fields"], expected);
    assert_eq!(sent.data["name"], "Printer on fire");
    let line = "\n\n[ref:tkt-00000000-0000-0000-0000-000000000000]</body>";
    assert_eq!(
        sent.data["html_notes"],
        format!("<body>Since <em>nine</em>{line}")
    );
    assert_eq!(sent.data.get("completed"), None);
    let left_out = Value::from(sent.left_out);
    assert!(
        left_out["priority"]
            .as_str()
            .unwrap()
            .starts_with("High instead")
    );
    assert_eq!(left_out["unmapped_custom_fields"], json!(["other"]));
    let refused = left_out["refused_custom_fields"]["sum"].as_str().unwrap();
    assert!(refused.contains("cannot be set"), "{refused}");
    assert!(sent.is_doubtful);
}

#[test]
fn an_app_names_its_tasks_and_a_person_writes_into_the_notes() {
    let app = connected(AuthType::Oauth2, &settings(&json!({}))).unwrap();
    let person = asana(&json!({}));
    let ticket = TicketView {
        status: TicketStatus::Resolved,
        assigned_to: Some(UserRef {
            id: Uuid::nil(),
            email: Some(" ann@example.test ".into()),
            full_name: None,
        }),
        ..ticket()
    };
    let create = Operation::Create {
        ticket: &ticket,
        key: key(),
    };
    let shown = |asana: &Asana| {
        let plan = asana.plan(&create, &Known::rehearsal()).unwrap();
        plan.request.masked()["body"]["data"].clone()
    };

    let (of_app, of_person) = (shown(&app), shown(&person));

    assert_eq!(of_app["external"]["gid"], key().marker);
    assert_eq!(of_app["html_notes"], "<body>Since <em>nine</em></body>");
    assert!(of_person.get("external").is_none());
    assert!(
        of_person["html_notes"]
            .as_str()
            .unwrap()
            .contains("[ref:tkt-")
    );
    for body in [of_app, of_person] {
        assert_eq!(body["projects"], json!(["2"]));
        assert_eq!(body["completed"], true);
        assert_eq!(body["assignee"], "ann@example.test");
    }
    let patch = TicketPatch {
        urgency: Some(Priority::High),
        title: Some("Changed".into()),
        ..TicketPatch::default()
    };
    let (ticket, patch) = (&ticket, &patch);
    let update = Operation::Update {
        ticket,
        patch,
        key: key(),
    };
    let plan = person.plan(&update, &Known::rehearsal()).unwrap();
    assert_eq!(
        plan.request.masked()["body"],
        json!({ "data": { "name": "Changed" } })
    );
    assert!(plan.left_out.contains_key("urgency"));
}

#[test]
fn no_text_mentions_anybody_and_internal_ones_need_a_setting() {
    let (html, is_whole) = super::words::comment(
        "@ann [me](https://App.Asana.com/0/profile/12) app&#46;asana.com/0/12/34 <a \
         data-asana-gid=\"1\"/>",
        true,
        "cmd-1",
    );
    assert!(is_whole);
    assert!(!html.to_lowercase().contains("app.asana.com"), "{html}");
    assert!(!html.contains("<a data"), "{html}");
    assert!(html.ends_with("[ref:cmd-1]</body>"), "{html}");

    let ticket = ticket();
    let comment = Operation::Comment {
        ticket: &ticket,
        body: "b",
        public: false,
        key: key(),
    };
    let refused = asana(&json!({})).plan(&comment, &Known::rehearsal());
    assert!(
        refused
            .unwrap_err()
            .public
            .contains("settings.internal_comments")
    );
    let posts = asana(&json!({ "internal_comments": true }));
    let plan = posts.plan(&comment, &Known::rehearsal()).unwrap();
    let body = plan.request.masked()["body"]["data"]["html_text"].clone();
    assert!(
        body.as_str()
            .unwrap()
            .starts_with("<body>Internal comment:"),
        "{body}"
    );
}

#[test]
fn refusals_name_our_fields_and_what_may_be_new_is_looked_up_again() {
    let asana = asana(&json!({}));
    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key(),
    };
    let read = |status, message: &str| {
        let body = json!({ "errors": [{ "message": message }] });
        asana
            .read(&create, &Known::default(), &answer(status, &body))
            .unwrap_err()
    };

    let error = read(400, "Custom field with ID 14 is not on given object");
    let ErrorClass::Validation { fields } = &error.class else {
        panic!("{error:?}")
    };
    assert!(
        fields["custom_fields.places"].contains("is not on"),
        "{fields:?}"
    );
    assert!(error.again.is_some());
    let error = read(404, "tags: Unknown object: 9");
    assert!(
        error.class == ErrorClass::NotFound && error.again.is_some(),
        "{error:?}"
    );
    assert!(read(400, "name: Too long").again.is_none());
    let error = read(400, "assignee: Not a user in Organization: x");
    assert!(error.without.unwrap().contains_key("assignee"));

    let made = json!({ "data": { "gid": "5", "modified_at": "2026-01-02T03:04:05.678Z" } });
    let receipt = asana
        .read(&create, &Known::default(), &answer(201, &made))
        .unwrap();
    assert_eq!(receipt.external_id.as_deref(), Some("5"));
    assert_eq!(receipt.external_ref["task_gid"], "5");
    assert_eq!(
        receipt.external_url.as_deref(),
        Some("https://app.asana.com/0/2/5")
    );
    assert!(receipt.written.is_some());
    let empty = asana.read(
        &create,
        &Known::default(),
        &answer(201, &json!({ "data": {} })),
    );
    assert_eq!(empty.unwrap_err().class, ErrorClass::Unknown);
}

#[test]
fn a_section_says_a_status_only_where_it_is_as_far_done() {
    let map = json!({ "in_progress": "Doing", "resolved": "Done" });
    let asana = asana(&json!({ "status_map": map, "priority_field": "Priority" }));
    let status = |section: &str, completed: bool| {
        let task: Task = serde_json::from_value(json!({
            "gid": "5", "completed": completed, "memberships": [
                { "project": { "gid": "9" }, "section": { "gid": "1", "name": "Doing" } },
                { "project": { "gid": "2" }, "section": { "gid": "3", "name": section } } ],
            "notes": "text\n\n[ref:tkt-1]", "assignee": null,
            "custom_fields": [{ "gid": "11", "name": "Priority", "enum_value": { "gid": "1",
                "name": "LOW" } }],
        }))
        .unwrap();
        let item = asana.item_of(&task);
        assert_eq!(item.marker.as_deref(), Some("tkt-1"));
        assert_eq!(item.facts.description.as_deref(), Some("text"));
        assert_eq!(item.facts.priority.as_deref(), Some("Low"));
        assert_eq!(item.facts.assignee, Some(Holder::Nobody));
        let word = item.facts.status.clone().unwrap();
        (word, asana.ours(&item.facts).status.unwrap())
    };
    assert_eq!(
        status("doing", false),
        ("Doing".into(), TicketStatus::InProgress)
    );
    assert_eq!(
        status("Doing", true),
        ("completed".into(), TicketStatus::Closed)
    );
    assert_eq!(
        status("Done", true),
        ("Done".into(), TicketStatus::Resolved)
    );
    assert_eq!(
        status("Done", false),
        ("incomplete".into(), TicketStatus::Open)
    );
    assert_eq!(
        status("Other", false),
        ("incomplete".into(), TicketStatus::Open)
    );

    let theirs = asana.theirs(&TicketView {
        status: TicketStatus::InProgress,
        ..ticket()
    });
    assert_eq!(theirs.status.as_deref(), Some("Doing"));
    assert_eq!(theirs.status_class.as_deref(), Some("incomplete"));
}

// What it tells by itself.

const HOOK_SECRET: &str = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";

fn with_hit<T>(
    headers: &[(&'static str, &str)],
    body: &str,
    then: impl FnOnce(&Hit<'_>) -> T,
) -> T {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let url = "https://hooks.example.test/webhooks/1";
    then(&Hit::new(
        &Method::POST,
        url,
        &map,
        body.as_bytes(),
        Utc::now(),
    ))
}

fn told(event: &Value) -> Vec<Change> {
    let body = json!({ "events": [event] }).to_string();
    with_hit(&[], &body, |hit| asana(&json!({})).normalise(hit).unwrap())
}

/// The documented example, and what was computed of it.
const EVENT: &str = r#"{"events":[{"user":{"gid":"1200","resource_type":"user"},"created_at":"2026-01-02T03:04:05.678Z","action":"changed","resource":{"gid":"1300","resource_type":"task","resource_subtype":"default_task"},"parent":null,"change":{"field":"completed","action":"changed"}}]}"#;

#[test]
fn a_delivery_is_theirs_by_the_secret_of_the_handshake() {
    let asana = asana(&json!({}));
    let judged = |signature: &str, body: &str, secret: &str| {
        let secrets = [SecretString::from(secret.to_owned())];
        with_hit(&[("x-hook-signature", signature)], body, |hit| {
            let schemes = asana.hooks().schemes;
            verify(schemes, hit, AuthType::Bearer, &secrets, Utc::now())
        })
    };
    for (body, signature) in [
        (
            r#"{"events":[]}"#,
            "10468027b67df18c739cc4794c6fc2d2806dcaaf2259fc3e1ed9d26433659853",
        ),
        (
            EVENT,
            "a4e0ca50160a4e4f1e6a7860508585215eeb44a4317515dbcce691b357ab133d",
        ),
    ] {
        assert_eq!(judged(signature, body, HOOK_SECRET), Ok(()));
        assert!(judged(signature, body, "another").is_err());
        assert!(judged(signature, &format!("{body} "), HOOK_SECRET).is_err());
    }
    let unsigned = with_hit(&[], EVENT, |hit| {
        verify(
            asana.hooks().schemes,
            hit,
            AuthType::Bearer,
            &[],
            Utc::now(),
        )
    });
    assert_eq!(unsigned, Err(Rejected::Unsigned));
}

#[test]
fn a_handshake_gives_the_secret_back_and_an_empty_list_is_a_heartbeat() {
    let asana = asana(&json!({}));
    let shaken = with_hit(&[("x-hook-secret", HOOK_SECRET)], "", |hit| {
        asana.shake(hit, &[])
    });
    let Some(Handshake::Learn {
        secret,
        echo,
        reply,
    }) = shaken
    else {
        panic!("{shaken:?}")
    };
    assert_eq!(secret.expose_secret(), HOOK_SECRET);
    assert_eq!((echo, reply.status), (Some("x-hook-secret"), 200));
    let beat = with_hit(&[], r#"{"events":[]}"#, |hit| asana.shake(hit, &[]));
    assert!(matches!(beat, Some(Handshake::Heartbeat)));
    assert!(with_hit(&[], EVENT, |hit| asana.shake(hit, &[])).is_none());
}

#[test]
fn events_name_what_is_to_be_read() {
    let changes = with_hit(&[], EVENT, |hit| asana(&json!({})).normalise(hit).unwrap());
    let [change] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    let id = "2026-01-02T03:04:05.678Z|changed|1300||completed|changed|1200";
    assert_eq!(change.id, id);
    assert_eq!(
        (&change.kind, &change.needs),
        (&ChangeKind::Updated, &Needs::Item)
    );
    assert_eq!(change.item.address(), "1300");
    assert_eq!(change.by.as_ref().unwrap().id.as_deref(), Some("1200"));
    assert_eq!(change.at.unwrap().low.timestamp_millis(), 1_767_323_045_678);

    let event = |action: &str, kind: &str, parent: Value| {
        json!({ "user": null, "created_at": "2026-01-02T03:04:05.678Z", "action": action,
            "parent": parent,
            "resource": { "gid": "7", "resource_type": kind,
                "resource_subtype": "comment_added" } })
    };
    let of = |kind: &str, gid: &str| json!({ "gid": gid, "resource_type": kind });
    let kind = |event: Value| told(&event).pop().map(|change| (change.kind, change.needs));
    let item = |kind| Some((kind, Needs::Item));
    assert_eq!(
        kind(event("added", "task", of("project", "2"))),
        item(ChangeKind::Created)
    );
    assert_eq!(kind(event("added", "task", of("project", "9"))), None);
    assert_eq!(
        kind(event("added", "task", of("section", "3"))),
        item(ChangeKind::Updated)
    );
    assert_eq!(
        kind(event("removed", "task", of("project", "2"))),
        item(ChangeKind::Updated)
    );
    assert_eq!(
        kind(event("undeleted", "task", Value::Null)),
        item(ChangeKind::Restored)
    );
    let deleted = Some((ChangeKind::Deleted, Needs::Nothing));
    assert_eq!(kind(event("deleted", "task", Value::Null)), deleted);
    let read = Needs::Comment { id: "7".into() };
    let comment = event("added", "story", of("task", "5"));
    assert_eq!(told(&comment)[0].item.address(), "5");
    assert_eq!(kind(comment), Some((ChangeKind::Commented, read)));
    assert_eq!(kind(event("added", "tag", Value::Null)), None);
    let strange = with_hit(&[], "{}", |hit| asana(&json!({})).normalise(hit));
    assert!(strange.is_err());
}
