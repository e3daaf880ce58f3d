//! What is sent and read, without an instance.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::words::{Choice, Choices};
use super::*;
use crate::domain::{TicketId, TicketPatch, UserRef};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Hit, Rejected, verify};
use crate::platforms::{Change, ChangeKind, DedupKey, Needs};

const ID: &str = "d71f7935c0a8016700802b64c67c11c6";
const SITE: &str = "https://acme.service-now.com";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(base: Option<&str>, settings: &Value) -> Result<ServiceNow, AdapterError> {
    let auth_type = AuthType::ApiKey;
    let mut integration = blank(Platform::Servicenow, auth_type, &object(settings), base);
    integration.custom_fields_mapping = object(&json!({ "plan": "u_plan" }));
    let credentials = Credentials::new(object(&json!({ "api_key": "k3y" })));
    ServiceNow::connect(&integration, &credentials)
}

fn servicenow(settings: &Value) -> ServiceNow {
    connected(Some(SITE), settings).unwrap()
}

fn fields(error: AdapterError) -> BTreeMap<String, String> {
    match error.class {
        ErrorClass::Validation { fields } => fields,
        other => panic!("{other:?}"),
    }
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::nil()),
        title: "Printer on fire".into(),
        description: "Since *nine* [code]<script>[/code]".into(),
        status: TicketStatus::Pending,
        priority: Priority::High,
        urgency: Priority::Low,
        category: TicketCategory::Bug,
        department: None,
        assigned_to: None,
        created_by: Some(UserRef {
            id: Uuid::nil(),
            full_name: Some("Ann".into()),
            email: Some("ann@example.test".into()),
        }),
        tags: vec!["VIP".into(), "[code]".into()],
        custom_fields: object(&json!({ "plan": true, "other": 1 })),
        external_id: Some("INC0010001".into()),
        external_url: None,
        external_ref: object(&json!({ "sys_id": ID })),
    }
}

fn key(marker: &str) -> DedupKey<'_> {
    DedupKey {
        marker,
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
fn an_instance_is_named_by_its_address_and_settings_are_checked_when_it_is_connected() {
    for base in [SITE, "https://acme.service-now.com/api/now/?x=1#y"] {
        let page = connected(Some(base), &json!({})).unwrap().page_of(ID);
        let expected = format!("{SITE}/incident.do?sys_id={ID}");
        assert_eq!(page, Some(expected), "{base}");
    }
    let missing = connected(None, &json!({})).map(drop).unwrap_err();
    assert!(fields(missing).contains_key("base_url"));
    for (settings, field) in [
        (
            json!({ "status_map": { "pending": "On Hold" } }),
            "settings.status_map.pending",
        ),
        (
            json!({ "priority_map": { "low": "4" } }),
            "settings.priority_map.low",
        ),
        (
            json!({ "priority_map": { "low": "0,4" } }),
            "settings.priority_map.low",
        ),
        (
            json!({ "cancelled_state": "gone" }),
            "settings.cancelled_state",
        ),
        (
            json!({ "api_key_header": "Content-Type" }),
            "settings.api_key_header",
        ),
        (
            json!({ "assignment_group": "a^ORactive=true" }),
            "settings.assignment_group",
        ),
        (
            json!({ "caller_id": "javascript:gs.getUserID()" }),
            "settings.caller_id",
        ),
    ] {
        let error = connected(Some(SITE), &settings).map(drop).unwrap_err();
        let faults = fields(error);
        assert!(faults.contains_key(field), "{settings}: {faults:?}");
    }
    let own = servicenow(&json!({ "cancelled_state": "4" }));
    assert_eq!(own.state_of(TicketStatus::Cancelled), "4");
    let facts = |state: &str| Facts {
        status: Some(state.into()),
        priority: Some("2,1".into()),
        ..Facts::default()
    };
    assert_eq!(own.ours(&facts("4")).status, Some(TicketStatus::Cancelled));
    assert_eq!(own.ours(&facts("2")).status, Some(TicketStatus::InProgress));
    assert_eq!(own.ours(&facts("2")).priority, Some(Priority::High));
    assert_eq!(own.ours(&facts("99")).status, None);
}

#[test]
fn a_create_is_all_in_one_request_whose_texts_open_no_markup() {
    let ticket = ticket();
    let operation = Operation::Create {
        ticket: &ticket,
        key: key("tkt-1"),
    };
    let settings = json!({ "api_key_header": "X-Acme-Key" });
    let plan = servicenow(&settings)
        .plan(&operation, &Known::rehearsal())
        .unwrap();
    let shown = plan.request.masked();

    assert_eq!(shown["headers"]["x-acme-key"], "••••");
    assert_eq!(shown["headers"]["accept"], "application/json");
    let url = shown["url"].as_str().unwrap();
    let begin = format!("{SITE}/api/now/table/incident?sysparm_fields=sys_id%2Cnumber%2C");
    assert!(url.starts_with(&begin), "{url}");
    assert!(
        url.contains("u_plan") && !url.contains("work_notes"),
        "{url}"
    );
    let body = &shown["body"];
    assert_eq!(
        body["description"],
        "Since nine [code\u{2060}]<script>[/code\u{2060}]"
    );
    assert_eq!(body["work_notes"], "[tag: VIP]\n[tag: code]");
    assert_eq!(body["correlation_id"], "tkt-1");
    assert_eq!(
        (&body["impact"], &body["urgency"]),
        (&json!("1"), &json!("2"))
    );
    assert_eq!(
        (&body["state"], &body["u_plan"]),
        (&json!("3"), &json!("true"))
    );
    assert_eq!(body["caller_id"], json!({ "lookup": "ann@example.test" }));
    // Who is awaited is told so.
    assert!(body["comments"].as_str().unwrap().contains("on hold"));
    assert_eq!(plan.left_out["unmapped_custom_fields"], json!(["other"]));
}

#[test]
fn a_status_is_an_entry_of_the_journal_only_where_something_is_said_to_the_caller() {
    let (waiting, vendor) = (
        servicenow(&json!({})),
        servicenow(&json!({ "hold_reason": "4" })),
    );
    let ticket = ticket();
    let status = |status, resolution_summary| Operation::Status {
        ticket: &ticket,
        status,
        resolution_summary,
        key: key("cmd-1"),
    };
    for (own, operation, expected) in [
        (&waiting, status(TicketStatus::Pending, None), LOOKED_UP),
        (
            &vendor,
            status(TicketStatus::Pending, None),
            Protection::Native,
        ),
        (&vendor, status(TicketStatus::Pending, Some("w")), LOOKED_UP),
        (
            &waiting,
            status(TicketStatus::Resolved, Some("r")),
            Protection::Native,
        ),
        (
            &waiting,
            status(TicketStatus::Open, None),
            Protection::Native,
        ),
    ] {
        assert_eq!(own.protection_of(&operation), expected, "{operation:?}");
        let body = own
            .plan(&operation, &Known::rehearsal())
            .unwrap()
            .request
            .masked();
        let is_said = body["body"].get("comments").is_some();
        assert_eq!(is_said, expected == LOOKED_UP, "{body}");
        if let Some(said) = body["body"]["comments"].as_str() {
            assert!(said.ends_with("\n[ref:cmd-1]"), "{said}");
        }
    }
}

#[test]
fn what_is_not_there_after_a_success_is_told_and_alone_it_is_a_refusal() {
    let own = servicenow(&json!({}));
    let ticket = ticket();
    let patch = TicketPatch {
        title: Some("New".into()),
        description: Some("a\nb".into()),
        ..TicketPatch::default()
    };
    let operation = Operation::Update {
        ticket: &ticket,
        patch: &patch,
        key: key("cmd-1"),
    };
    let read = |row: Value| {
        let answer = answer(200, &json!({ "result": row }));
        own.read(&operation, &Known::default(), &answer)
    };
    let base = |title: &str, description: &str| {
        json!({ "sys_id": ID, "sys_updated_on": "2026-01-02 03:04:05",
                "short_description": title, "description": description })
    };

    let whole = read(base("New", "a\r\nb")).unwrap();
    assert!(whole.details.is_empty(), "{whole:?}");
    let at: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
    assert_eq!(whole.written.unwrap().low, at);
    let half = read(base("Old", "a\nb")).unwrap();
    let dropped = half.details["dropped_by_servicenow"].as_object().unwrap();
    assert_eq!(dropped.keys().collect::<Vec<_>>(), ["title"]);
    let none = read(json!({ "sys_id": ID, "short_description": "Old" })).unwrap_err();
    assert_eq!(none.class, ErrorClass::Permission);
}

#[test]
fn a_policy_is_validation_by_our_names_and_an_acl_is_permission() {
    let own = servicenow(&json!({}));
    let ticket = ticket();
    let operation = Operation::Create {
        ticket: &ticket,
        key: key("tkt-1"),
    };
    let refused = |again, detail: &str| {
        let error = json!({ "message": "Operation Failed", "detail": detail });
        let answer = answer(403, &json!({ "error": error, "status": "failure" }));
        let known = Known {
            again,
            ..Known::default()
        };
        own.read(&operation, &known, &answer).unwrap_err()
    };

    let policy = "Data Policy Exception: The following fields are mandatory: Resolution code, \
                  Short description";
    let error = refused(None, policy);
    assert!(error.again.is_some(), "it is worth another look");
    let names: Vec<String> = fields(error).into_keys().collect();
    assert_eq!(names, ["settings.close_code", "title"]);
    assert_eq!(refused(Some("x"), policy).again, None, "but one");
    let acl = refused(
        None,
        "ACL Exception Insert Failed due to security constraints",
    );
    assert_eq!((acl.class, acl.again), (ErrorClass::Permission, None));
}

#[test]
fn a_choice_is_named_by_value_or_label_and_the_own_ones_of_incident_count() {
    let choice = |element: &str, value: &str, label: &str, own| Choice {
        element: element.into(),
        value: value.into(),
        label: label.into(),
        own,
    };
    let choices = Choices(vec![
        choice("state", "1", "Open", false),
        choice("category", "sw", "Software", true),
        choice("category", "other", "Of all tasks", false),
    ]);
    assert_eq!(choices.value("category", "SOFTWARE").as_deref(), Some("sw"));
    assert_eq!(choices.value("category", "other"), None);
    assert_eq!(choices.value("state", "1").as_deref(), Some("1"));
    // What cannot be read is sent as it is.
    assert_eq!(choices.value("close_code", "Done").as_deref(), Some("Done"));
    assert_eq!(choices.named("category"), ["sw (Software)"]);
}

#[test]
fn a_client_that_is_not_known_is_called_a_server_error() {
    let refused = |status, error: &str| {
        let body = json!({ "error": error, "error_description": "access_denied" });
        is_refused(&answer(status, &body)).map_err(|error| error.class)
    };
    assert_eq!(
        refused(401, "server_error"),
        Err(ErrorClass::Authentication)
    );
    assert_eq!(
        refused(400, "access_denied"),
        Err(ErrorClass::Authentication)
    );
    assert_eq!(refused(503, "server_error"), Ok(()));
}

/// Does something with a delivery.
fn with_hit<T>(
    headers: &[(&'static str, &str)],
    body: &str,
    then: impl FnOnce(&Hit<'_>) -> T,
) -> T {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let url = "https://hooks.example/webhooks/1";
    then(&Hit::new(
        &Method::POST,
        url,
        &all,
        body.as_bytes(),
        Utc::now(),
    ))
}

#[test]
fn a_delivery_proves_itself_by_the_recipes_signature_or_the_secret() {
    let secrets = [SecretString::from("sn-shared-secret".to_owned())];
    let at = DateTime::from_timestamp(1_767_323_045, 0).unwrap();
    let judged = |headers: &[(&'static str, &str)], body: &str, late: i64| {
        let now = at + chrono::Duration::seconds(late);
        with_hit(headers, body, |hit| {
            let schemes = inbound::RULES.hooks().schemes;
            verify(schemes, hit, AuthType::Basic, &secrets, now).map(drop)
        })
    };
    let signed = [
        (
            "x-sn-signature",
            "K7bEMb8HM2LM20Z0PnRcEiFCYwQXFyAHE7kNkgvleS0=",
        ),
        ("x-sn-timestamp", "1767323045"),
    ];
    let body = r#"{"sys_id":"abc"}"#;

    assert_eq!(judged(&signed, body, 299), Ok(()));
    assert_eq!(judged(&signed, body, 301), Err(Rejected::Stale));
    assert_eq!(judged(&signed, "{}", 0), Err(Rejected::BadSignature));
    assert_eq!(judged(&signed[..1], body, 0), Err(Rejected::BadSignature));
    assert_eq!(
        judged(&[("x-sn-secret", "sn-shared-secret")], body, 0),
        Ok(())
    );
    let wrong = [("x-sn-secret", "sn-shared-secre")];
    assert_eq!(judged(&wrong, body, 0), Err(Rejected::BadSignature));
    assert_eq!(judged(&[], body, 0), Err(Rejected::Unsigned));
}

fn told(body: &Value) -> Result<Vec<Change>, AdapterError> {
    let headers = [("x-sn-delivery", "0f0b")];
    with_hit(&headers, &body.to_string(), |hit| {
        inbound::RULES.normalise(hit)
    })
}

#[test]
fn rules_tell_of_incidents_thinly_and_of_comments_whole() {
    let incident = |event: &str| {
        json!({ "event": event, "sys_id": ID, "number": "INC0010001", "state": "3",
            "short_description": "x",
                "priority": "2", "impact": "1", "urgency": "2", "correlation_id": "tkt-1",
                "sys_updated_on": "2026-01-02 03:04:05", "sys_updated_by": "ann" })
    };
    for (event, kind, needs) in [
        ("incident.created", ChangeKind::Created, Needs::Item),
        ("incident.updated", ChangeKind::Updated, Needs::Item),
        ("incident.deleted", ChangeKind::Deleted, Needs::Nothing),
    ] {
        let changes = told(&incident(event)).unwrap();
        let [change] = changes.as_slice() else {
            panic!("{changes:?}");
        };
        assert_eq!((&change.kind, &change.needs), (&kind, &needs));
        assert_eq!(change.id, "0f0b#0");
        assert_eq!(change.item.external_id, "INC0010001");
        assert_eq!(change.item.stable_id.as_deref(), Some(ID));
        assert_eq!(change.marker.as_deref(), Some("tkt-1"));
        assert_eq!(change.by.as_ref().unwrap().id.as_deref(), Some("ann"));
        let at = change.at.unwrap().low.to_rfc3339();
        assert_eq!(at, "2026-01-02T03:04:05+00:00");
        let is_deleted = kind == ChangeKind::Deleted;
        assert_eq!(change.facts.priority.is_none(), is_deleted);
    }

    let entry = json!({ "event": "incident.commented", "sys_id": "0".repeat(32), "element_id": ID,
        "element": "work_notes", "value": "Seen\n[ref:cmd-1]", "sys_created_by": "bot" });
    let change = &told(&entry).unwrap()[0];
    let comment = change.comment.as_ref().unwrap();
    assert_eq!(change.item.stable_id.as_deref(), Some(ID));
    assert_eq!(
        (comment.body.as_str(), comment.public),
        ("Seen", Some(false))
    );
    assert_eq!(comment.marker.as_deref(), Some("cmd-1"));
    assert!(
        told(&json!({ "event": "problem.created" }))
            .unwrap()
            .is_empty()
    );
    for broken in [
        json!({ "sys_id": ID }),
        json!({ "event": "incident.updated", "sys_id": "../x" }),
        json!({ "event": "incident.commented", "sys_id": ID, "value": "x" }),
        json!([1]),
    ] {
        let error = told(&broken).unwrap_err();
        assert!(
            matches!(error.class, ErrorClass::Validation { .. }),
            "{broken}"
        );
    }
}
