//! What is sent and read, without a platform.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::Utc;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;
use crate::domain::{TicketId, TicketPatch};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Hit, Rejected, verify};
use crate::platforms::{ChangeKind, DedupKey, Holder, Needs};

const KEY: &str = include_str!("../tokens/testdata/pkcs8.pem");
const MARKER: &str = "tkt-00000000-0000-0000-0000-000000000000";
const CASE: &str = "500xx000001SvR2AAK";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(
    settings: &Value,
    credentials: &Value,
    version: Option<&str>,
) -> Result<Salesforce, AdapterError> {
    let mut all = json!({ "login_url": "https://acme.my.salesforce.com" });
    all.as_object_mut().unwrap().extend(object(settings));
    let mut integration = blank(Platform::Salesforce, AuthType::Oauth2, &object(&all), None);
    integration.api_version = version.map(str::to_owned);
    integration.custom_fields_mapping = object(&json!({ "plan": "Plan__c" }));
    Salesforce::connect(&integration, &Credentials::new(object(credentials)))
}

fn client() -> Value {
    json!({ "client_id": "c", "client_secret": "s3cr3t" })
}

fn salesforce(settings: &Value) -> Salesforce {
    connected(settings, &client(), None).unwrap()
}

fn with_field() -> Salesforce {
    salesforce(&json!({ "external_id_field": "External_Ticket_Id__c", "tags_field": "Tags__c" }))
}

fn fault(settings: &Value, credentials: &Value, version: Option<&str>) -> String {
    let error = connected(settings, credentials, version)
        .map(|_| ())
        .unwrap_err();
    match error.class {
        ErrorClass::Validation { fields } => fields.into_keys().collect::<Vec<_>>().join(" "),
        other => panic!("{other:?}"),
    }
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::nil()),
        title: "Printer on fire".into(),
        description: "Since *nine*".into(),
        status: TicketStatus::Pending,
        priority: Priority::Critical,
        urgency: Priority::Low,
        category: TicketCategory::Bug,
        department: None,
        assigned_to: None,
        created_by: None,
        tags: vec!["a;b".into()],
        custom_fields: object(&json!({ "plan": "Gold" })),
        external_id: Some("00001026".into()),
        external_url: None,
        external_ref: object(&json!({ "case_id": CASE })),
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

/// What is sent of a dry run, as it is shown.
fn sent(adapter: &Salesforce, operation: &Operation<'_>) -> Value {
    adapter
        .plan(operation, &Known::rehearsal())
        .unwrap()
        .request
        .masked()
}

#[test]
fn settings_and_credentials_are_judged_by_what_they_mean() {
    let none = json!({});
    for (settings, credentials, version, field) in [
        (
            json!({ "login_url": "acme" }),
            client(),
            None,
            "settings.login_url",
        ),
        (
            json!({ "login_url": "https://login.salesforce.com" }),
            client(),
            None,
            "settings.login_url",
        ),
        (
            json!({ "external_id_field": "Id" }),
            client(),
            None,
            "settings.external_id_field",
        ),
        (
            json!({ "tags_field": "Tags" }),
            client(),
            None,
            "settings.tags_field",
        ),
        (
            json!({ "record_type_id": "500xx000001SvR2" }),
            client(),
            None,
            "settings.record_type_id",
        ),
        (none.clone(), client(), Some("45.0"), "api_version"),
        (none.clone(), client(), Some("62.5"), "api_version"),
        (
            none.clone(),
            json!({ "client_id": "c" }),
            None,
            "credentials.client_secret",
        ),
        (
            none.clone(),
            json!({ "client_id": "c", "username": "u", "private_key_pem": "x" }),
            None,
            "credentials.private_key_pem",
        ),
    ] {
        assert_eq!(fault(&settings, &credentials, version), field, "{settings}");
    }
    for version in ["62.0", "v62.0", "62", "46.0"] {
        assert!(
            connected(&none, &client(), Some(version)).is_ok(),
            "{version}"
        );
    }
    // A public client has no secret.
    let public = json!({ "client_id": "c", "refresh_token": "r" });
    let common = json!({ "login_url": "https://login.salesforce.com" });
    let request = connected(&common, &public, None)
        .unwrap()
        .flow
        .request(None)
        .unwrap();
    assert_eq!(
        request.url.as_str(),
        "https://login.salesforce.com/services/oauth2/token"
    );
    assert_eq!(request.masked()["body"].as_object().unwrap().len(), 3);
}

#[test]
fn an_assertion_is_for_the_host_that_logs_in() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let audience = |settings: Value| {
        let credentials =
            json!({ "client_id": "c", "username": "u@x.test", "private_key_pem": KEY });
        let adapter = connected(&settings, &credentials, None).unwrap();
        let request = adapter.flow.request(None).unwrap();
        let crate::platforms::Body::Form(fields) = request.body else {
            panic!("it is a form");
        };
        assert_eq!(fields.len(), 2);
        let token = fields[1].1.expose_secret().to_owned();
        let claims = URL_SAFE_NO_PAD
            .decode(token.split('.').nth(1).unwrap())
            .unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let left = claims["exp"].as_i64().unwrap() - Utc::now().timestamp();
        assert!((1..=180).contains(&left), "{left}");
        claims["aud"].as_str().unwrap().to_owned()
    };
    assert_eq!(audience(json!({})), "https://login.salesforce.com");
    let sandbox = json!({ "login_url": "https://acme--sbx.sandbox.my.salesforce.com" });
    assert_eq!(audience(sandbox), "https://test.salesforce.com");
    let own = json!({ "jwt_audience": "https://acme.my.site.com" });
    assert_eq!(audience(own), "https://acme.my.site.com");
}

#[test]
fn a_create_is_an_upsert_where_a_field_has_the_ticket_and_else_marks_the_text() {
    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key(MARKER),
    };

    let upsert = sent(&with_field(), &create);
    let path = format!("sobjects/Case/External_Ticket_Id__c/{MARKER}");
    assert_eq!(
        upsert["url"],
        format!("{{granted}}/services/data/v62.0/{path}")
    );
    assert_eq!(upsert["method"], "PATCH");
    assert_eq!(
        upsert["body"],
        json!({ "Subject": "Printer on fire", "Description": "Since nine", "Status": "On Hold",
            "Priority": "High",
                "Type": "Problem", "Plan__c": "Gold", "Tags__c": "a;b" })
    );
    let plain = sent(&salesforce(&json!({})), &create);
    assert_eq!(plain["method"], "POST");
    assert_eq!(
        plain["body"]["Description"],
        format!("Since nine\n[ref:{MARKER}]")
    );
    // Rules choose an owner for a new case alone.
    assert_eq!(plain["headers"].get("sforce-auto-assign"), None);
    let patch = TicketPatch {
        description: Some("x".into()),
        ..TicketPatch::default()
    };
    let update = Operation::Update {
        ticket: &ticket,
        patch: &patch,
        key: key("cmd-1"),
    };
    let changed = sent(&salesforce(&json!({})), &update);
    assert_eq!(
        changed["body"]["Description"],
        format!("Since nine\n[ref:{MARKER}]")
    );
    assert_eq!(changed["headers"]["sforce-auto-assign"], "FALSE");
}

#[test]
fn what_an_org_does_not_have_is_left_out_and_said() {
    let describe: Describe = serde_json::from_value(json!({ "fields": [
        { "name": "Subject", "createable": true }, { "name": "Description", "createable": true },
        { "name": "Status", "createable": true, "picklistValues": [{ "value": "WORKING",
            "active": true }] },
        { "name": "Priority", "createable": true, "picklistValues": [{ "value": "P1",
            "active": true }] },
        { "name": "Type", "createable": false },
    ] }))
    .unwrap();
    let adapter = with_field();
    let status = adapter
        .status_word(TicketStatus::Pending, Some(&describe))
        .unwrap();
    assert_eq!(status, "WORKING");
    let none = adapter
        .status_word(TicketStatus::Closed, Some(&describe))
        .unwrap_err();
    let ErrorClass::Validation { fields } = none.class else {
        panic!("{none:?}");
    };
    assert!(
        fields["settings.status_map.closed"].contains("WORKING"),
        "{fields:?}"
    );
    let without = BTreeMap::new();
    let allowed = words::Allowed {
        describe: Some(&describe),
        without: &without,
        creates: true,
    };
    let mut draft = words::Draft::default();
    draft.pick(allowed, "priority", "Priority", "High");
    draft.pick(allowed, "category", "Type", "Problem");
    draft.put(allowed, "tags", "Tags__c", "a".into());
    assert!(draft.members.is_empty());
    let names: Vec<&str> = draft.left_out.keys().map(String::as_str).collect();
    assert_eq!(names, ["category", "priority", "tags"]);
}

#[test]
fn an_answer_to_a_create_is_a_case_or_worth_another_look() {
    let adapter = with_field();
    let ticket = ticket();
    let create = Operation::Create {
        ticket: &ticket,
        key: key(MARKER),
    };
    let known = Known {
        found: object(&json!({ "instance": "https://acme.my.salesforce.com/",
                "body": { "Priority": "High" } })),
        ..Known::default()
    };
    let read = |status, body: Value| adapter.read(&create, &known, &answer(status, &body));

    let made = read(
        201,
        json!({ "id": "500xx000001SvR2", "success": true, "created": true }),
    )
    .unwrap();
    assert_eq!(made.external_id.as_deref(), Some(CASE));
    assert_eq!(made.external_ref["case_id"], CASE);
    let page = "https://acme.my.salesforce.com/lightning/r/Case/500xx000001SvR2AAK/view";
    assert_eq!(made.external_url.as_deref(), Some(page));
    let set = read(
        200,
        json!({ "id": CASE, "success": true, "created": false }),
    )
    .unwrap();
    assert_eq!(set.details["existed"], true);
    let says = |code: &str, fields: Value| {
        json!([{ "errorCode": code, "message": "no",
        "fields": fields }])
    };
    for (status, body, class, again) in [
        (204, Value::Null, "unknown", true),
        (201, json!({ "id": "x" }), "unknown", false),
        (400, says("DUPLICATE_VALUE", json!([])), "conflict", true),
        (
            400,
            says("STRING_TOO_LONG", json!(["Subject"])),
            "validation title",
            false,
        ),
        (
            400,
            says("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", json!(["Status"])),
            "validation status",
            true,
        ),
        (
            400,
            says("INVALID_CROSS_REFERENCE_KEY", json!(["OwnerId"])),
            "validation assigned_to_id",
            true,
        ),
        (404, says("NOT_FOUND", json!([])), "not found", false),
    ] {
        let error = read(status, body.clone()).unwrap_err();
        let named = match &error.class {
            ErrorClass::Validation { fields } => {
                format!(
                    "validation {}",
                    fields.keys().cloned().collect::<Vec<_>>().join(" ")
                )
            }
            ErrorClass::Unknown => "unknown".to_owned(),
            ErrorClass::Conflict => "conflict".to_owned(),
            ErrorClass::NotFound => "not found".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(
            (named.as_str(), error.again.is_some()),
            (class, again),
            "{body}"
        );
    }
    let spare = read(400, says("STRING_TOO_LONG", json!(["Priority"]))).unwrap_err();
    assert_eq!(spare.without.unwrap()["Priority"], "no");
    assert!(spare.public.contains("it says: no"), "{}", spare.public);
}

#[test]
fn a_field_that_is_not_there_is_told_from_a_case_that_is_not() {
    let adapter = with_field();
    let absent = |status, message: &str| {
        let body = json!([{ "errorCode": "NOT_FOUND", "message": message }]);
        adapter.is_absent(&answer(status, &body))
    };
    assert!(absent(404, "The requested resource does not exist"));
    assert!(!absent(
        404,
        "Provided external ID field does not exist or is not accessible: X__c"
    ));
    assert!(!adapter.is_absent(&answer(404, &json!("a proxy's page"))));
}

fn record() -> Value {
    json!({ "Id": "500xx000001SvR2", "CaseNumber": "00001026", "Subject": "s",
        "Description": "a\r\nb", "Status": "Waiting",
        "Priority": "High", "OwnerId": "005xx000001SwiU", "IsClosed": false,
        "External_Ticket_Id__c": MARKER,
        "Tags__c": "a;b", "Plan__c": "Gold", "LastModifiedById": "005xx000001SwiU",
        "CreatedById": "005xx000001SwiU",
        "SystemModstamp": "2026-01-02T03:04:05.000+0000" })
}

#[test]
fn a_case_is_read_in_its_words_and_ours() {
    let adapter = with_field();
    let record = words::Record(object(&record()));
    let item = adapter
        .item_of(&record, Some("https://acme.my.salesforce.com/"))
        .unwrap();

    assert_eq!(item.item.external_id, "00001026");
    assert_eq!(item.item.address(), CASE);
    assert_eq!(item.marker.as_deref(), Some(MARKER));
    assert_eq!(item.facts.description.as_deref(), Some("a\nb"));
    assert_eq!(
        item.facts.assignee,
        Some(Holder::Account("005xx000001SwiUAAS".into()))
    );
    let ours = adapter.ours(&item.facts);
    assert_eq!(
        (ours.status, ours.priority),
        (Some(TicketStatus::Open), Some(Priority::High))
    );
    assert_eq!(
        (ours.tags.unwrap().len(), &ours.custom["plan"]),
        (2, &json!("Gold"))
    );
    let asked = adapter.fields_read("Parent.", false);
    assert!(
        asked.contains("Parent.External_Ticket_Id__c") && asked.contains("Parent.Plan__c"),
        "{asked}"
    );
    assert!(!asked.contains("Description"));
}

/// A delivery at the moment of the vector.
fn with_hit<T>(
    body: &str,
    headers: &[(&'static str, &str)],
    then: impl FnOnce(&Hit<'_>) -> T,
) -> T {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, value.parse().unwrap());
    }
    let at = chrono::DateTime::from_timestamp(1_767_323_045, 0).unwrap();
    then(&Hit::new(
        &Method::POST,
        "https://x.example/webhooks/1",
        &all,
        body.as_bytes(),
        at,
    ))
}

#[test]
fn a_delivery_is_signed_with_its_moment_or_has_the_secret() {
    let adapter = with_field();
    let body = r#"{"eventId":"e1","eventType":"case.updated"}"#;
    let signature = "sha256=481dfde87aad3ab6867914742d34e9e533c70c7317cc8496289e8563f881aea1";
    let judged = |body: &str, headers: &[(&'static str, &str)], later: i64| {
        with_hit(body, headers, |hit| {
            let secrets = ["sf-shared-secret".to_owned().into()];
            let now = hit.received_at + chrono::Duration::seconds(later);
            verify(
                adapter.hooks().schemes,
                hit,
                AuthType::Oauth2,
                &secrets,
                now,
            )
        })
    };
    let signed = [
        ("x-webhook-signature", signature),
        ("x-webhook-timestamp", "1767323045"),
    ];
    assert_eq!(judged(body, &signed, 299), Ok(()));
    assert_eq!(judged(body, &signed, 301), Err(Rejected::Stale));
    assert_eq!(judged("{}", &signed, 0), Err(Rejected::BadSignature));
    let moved = [signed[0], ("x-webhook-timestamp", "1767323046")];
    assert_eq!(judged(body, &moved, 0), Err(Rejected::BadSignature));
    assert_eq!(
        judged(body, &[("x-webhook-secret", "sf-shared-secret")], 0),
        Ok(())
    );
    assert_eq!(
        judged(body, &[("x-webhook-secret", "other")], 0),
        Err(Rejected::BadSignature)
    );
    assert_eq!(judged(body, &[], 0), Err(Rejected::Unsigned));
}

#[test]
fn a_delivery_says_what_happened_to_which_case() {
    let adapter = with_field();
    let said = |body: Value| {
        let normalised = with_hit(&body.to_string(), &[], |hit| adapter.normalise(hit));
        normalised.map(|mut changes| changes.pop())
    };
    let delivery = |kind: &str, comment: Value| {
        json!({ "eventId": "e1", "eventType": kind, "organizationId": "00Dxx",
            "occurredAt": "2026-01-02T03:04:05.000Z",
            "case": record(), "comment": comment })
    };

    let updated = said(delivery("case.updated", Value::Null))
        .unwrap()
        .unwrap();
    assert_eq!(
        (updated.kind, updated.id.as_str(), updated.needs),
        (ChangeKind::Updated, "e1", Needs::Nothing)
    );
    assert_eq!(updated.item.address(), CASE);
    assert_eq!(updated.marker.as_deref(), Some(MARKER));
    assert_eq!(
        updated.by.unwrap().id.as_deref(),
        Some("005xx000001SwiUAAS")
    );
    let comment = json!({ "Id": "00axx0000000001", "CommentBody": "Hm\n[ref:cmd-1]",
        "IsPublished": false,
        "CreatedById": "005xx0000000007" });
    let commented = said(delivery("case.commented", comment)).unwrap().unwrap();
    let comment = commented.comment.unwrap();
    assert_eq!(
        (comment.public, comment.marker.as_deref()),
        (Some(false), Some("cmd-1"))
    );
    assert_eq!(
        commented.by.unwrap().id.as_deref(),
        Some("005xx0000000007AAA")
    );
    assert!(commented.facts.is_empty());
    let deleted = said(delivery("case.deleted", Value::Null))
        .unwrap()
        .unwrap();
    assert_eq!(deleted.kind, ChangeKind::Deleted);
    let thin = said(json!({ "eventType": "case.updated", "case": { "Id": CASE } }))
        .unwrap()
        .unwrap();
    assert_eq!(thin.needs, Needs::Item);
    assert!(thin.id.ends_with("#0"));
    assert_eq!(said(json!({ "eventType": "lead.updated" })).unwrap(), None);
    for none in [json!({ "eventType": "case.updated" }), json!([])] {
        assert!(said(none).is_err());
    }
}
