//! What is sent and read, without a platform.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::words::{Pipeline, Property, Record, Sent};
use super::*;
use crate::domain::TicketId;
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Hit, Rejected, verify};
use crate::platforms::text::without_tags;
use crate::platforms::{
    Change, ChangeKind, DedupKey, Effect, ErrorClass, File, Holder, Moment, Needs,
};

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn connected(settings: &Value, version: Option<&str>) -> Result<HubSpot, AdapterError> {
    let mut integration = blank(Platform::Hubspot, AuthType::Bearer, &object(settings), None);
    integration.api_version = version.map(str::to_owned);
    integration.custom_fields_mapping = object(&json!({
        "plan": "product_plan", "places": "seats", "vip": "is_vip", "themes": "themes",
        "born": "createdon",
    }));
    let credentials = object(&json!({ "access_token": "pat-na1-t0k3n" }));
    HubSpot::connect(&integration, &Credentials::new(credentials))
}

fn hubspot(settings: &Value) -> HubSpot {
    connected(settings, None).unwrap()
}

fn unique() -> HubSpot {
    hubspot(&json!({ "unique_property": "external_ticket_id", "tags_property": "topics" }))
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
        tags: vec!["vip".into(), "Smoke".into()],
        custom_fields: object(&json!({
            "plan": "Gold plan", "places": 12, "vip": true, "themes": ["a", "B label"],
            "born": "2026", "other": 1,
        })),
        external_id: Some("17".into()),
        external_url: None,
        external_ref: Map::new(),
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

fn properties() -> Vec<Property> {
    let options = |words: &[&str]| -> Vec<Value> {
        let option = |word: &&str| json!({ "value": word, "label": format!("{word} label") });
        words.iter().map(option).collect()
    };
    let property = |name: &str, kind: &str, field: &str, words: &[&str]| {
        json!({ "name": name, "label": name, "type": kind, "fieldType": field,
            "options": options(words),
            "hasUniqueValue": name == "external_ticket_id",
            "modificationMetadata": { "readOnlyValue": name == "createdon" } })
    };
    serde_json::from_value(json!([
        property(
            "hs_ticket_priority",
            "enumeration",
            "select",
            &["LOW", "HIGH"]
        ),
        property(
            "hs_ticket_category",
            "enumeration",
            "checkbox",
            &["BILLING_ISSUE"]
        ),
        property("external_ticket_id", "string", "text", &[]),
        property("topics", "enumeration", "checkbox", &["vip", "printer"]),
        property(
            "product_plan",
            "enumeration",
            "select",
            &["basic", "Gold plan"]
        ),
        property("seats", "number", "number", &[]),
        property("is_vip", "bool", "booleancheckbox", &["true", "false"]),
        property("themes", "enumeration", "checkbox", &["a", "B"]),
        property("createdon", "string", "text", &[]),
    ]))
    .unwrap()
}

fn pipelines() -> Vec<Pipeline> {
    let stage = |id: &str, label: &str, order: u8, state: &str| {
        json!({ "id": id, "label": label,
        "displayOrder": order, "metadata": { "ticketState": state } })
    };
    serde_json::from_value(json!([
        { "id": "0", "label": "Support", "stages": [
            stage("1", "New", 0, "OPEN"), stage("2", "Waiting on contact", 1, "OPEN"),
            stage("3", "Waiting on us", 2, "OPEN"), stage("4", "Closed", 3, "CLOSED") ] },
        { "id": "77", "label": "Repairs", "stages": [
            stage("901", "In the shop", 1, "OPEN"), stage("900", "Arrived", 0, "OPEN"), stage("902",
                "Gone", 2, "CLOSED") ] },
    ]))
    .unwrap()
}

#[test]
fn every_path_has_the_date_version_of_the_integration() {
    let planned = |hubspot: &HubSpot| {
        let ticket = ticket();
        let key = DedupKey {
            marker: "tkt-1",
            received_at: Utc::now(),
        };
        let create = Operation::Create {
            ticket: &ticket,
            key,
        };
        let plan = hubspot.plan(&create, &Known::rehearsal()).unwrap();
        plan.request.masked()["url"].as_str().unwrap().to_owned()
    };

    let plain = planned(&hubspot(&json!({})));
    assert_eq!(plain, "https://api.hubapi.com/crm/objects/2026-09/tickets");
    let later = connected(&json!({ "unique_property": "x_id" }), Some("2027-03")).unwrap();
    let upsert = "https://api.hubapi.com/crm/objects/2027-03/tickets/batch/upsert";
    assert_eq!(planned(&later), upsert);
    for wrong in ["v3", "3", "2025-09", "2026-9", "2026/09", "2026-09/x"] {
        let error = connected(&json!({}), Some(wrong)).map(drop).unwrap_err();
        assert!(error.public.contains("2026-09"), "{wrong}: {error}");
    }
}

#[test]
fn settings_that_would_fail_with_every_ticket_are_refused_at_once() {
    for (settings, field) in [
        (
            json!({ "unique_property": "External Id" }),
            "settings.unique_property",
        ),
        (
            json!({ "tags_property": "content" }),
            "settings.tags_property",
        ),
        (
            json!({ "tags_property": "seats" }),
            "custom_fields_mapping.places",
        ),
        (
            json!({ "public_comments": "reply" }),
            "settings.public_comments",
        ),
        (json!({ "portal_id": "eu1" }), "settings.portal_id"),
        (
            json!({ "status_map": { "opened": "1" } }),
            "settings.status_map.opened",
        ),
    ] {
        let error = connected(&settings, None).map(drop).unwrap_err();
        let ErrorClass::Validation { fields } = error.class else {
            panic!("{settings}: {error:?}");
        };
        assert!(fields.contains_key(field), "{settings}: {fields:?}");
    }
}

#[test]
fn values_are_texts_that_the_account_has_and_the_rest_is_said() {
    let hubspot = unique();
    let (ticket, known) = (ticket(), properties());
    let mut sent = Sent::of(Some(&known));
    hubspot.put_priority(&mut sent, ticket.priority);
    hubspot.put_category(&mut sent, ticket.category);
    hubspot.put_tags(&mut sent, &ticket.tags);
    hubspot.put_custom(&mut sent, &ticket.custom_fields);

    let expected = json!({
        "hs_ticket_priority": "HIGH", "topics": "vip", "product_plan": "Gold plan", "seats": "12",
        "is_vip": "true",
        "themes": "a;B",
    });
    assert_eq!(Value::from(sent.values), expected);
    let said = |name: &str| sent.left_out[name].to_string();
    assert!(said("priority").contains("HIGH instead") && said("priority").contains("URGENT"));
    assert!(said("category").contains("no option PRODUCT_ISSUE"));
    assert!(said("tags").ends_with("no such option: Smoke\""));
    assert!(said("refused_custom_fields").contains("cannot be set"));
    assert_eq!(sent.left_out["unmapped_custom_fields"], json!(["other"]));
    assert!(sent.is_doubtful, "the account may have them by now");

    // Without a property for tags they are said; null clears.
    let bare = super::tests::hubspot(&json!({}));
    let mut sent = Sent::of(Some(&known));
    bare.put_tags(&mut sent, &ticket.tags);
    bare.put_custom(&mut sent, &object(&json!({ "places": null })));
    assert_eq!(Value::from(sent.values), json!({ "seats": "" }));
    assert!(sent.left_out["tags"].to_string().contains("tags_property"));
}

#[test]
fn a_stage_is_the_one_that_is_named_or_the_usual_one() {
    let all = pipelines();
    let stage = |settings: Value, status| {
        let hubspot = hubspot(&settings);
        let pipeline = hubspot.own_pipeline(&all)?;
        let stage = hubspot.stage_of(pipeline, status)?;
        Ok::<_, AdapterError>(format!("{}/{}", pipeline.id, stage.id))
    };
    let there = |settings: Value, status| stage(settings, status).unwrap();

    assert_eq!(there(json!({}), TicketStatus::InProgress), "0/3");
    assert_eq!(
        there(json!({ "pipeline": "repairs" }), TicketStatus::New),
        "77/900"
    );
    assert_eq!(
        there(json!({ "pipeline": "77" }), TicketStatus::Cancelled),
        "77/902"
    );
    let map = json!({ "pipeline": "77", "status_map": { "pending": "in the shop", "open": 901 } });
    assert_eq!(there(map.clone(), TicketStatus::Pending), "77/901");
    assert_eq!(there(map, TicketStatus::Open), "77/901");
    for (settings, status, names) in [
        (
            json!({ "pipeline": "77" }),
            TicketStatus::Open,
            "In the shop",
        ),
        (
            json!({ "pipeline": "Sales" }),
            TicketStatus::New,
            "Support, Repairs",
        ),
        (
            json!({ "status_map": { "new": "Begun" } }),
            TicketStatus::New,
            "Waiting on us",
        ),
    ] {
        let error = stage(settings, status).unwrap_err();
        assert!(error.public.contains(names), "{error}");
    }
}

#[test]
fn a_refusal_names_our_fields_and_what_was_looked_up_is_worth_another_look() {
    let hubspot = unique();
    let refused = |known: &Known, status, body: Value| {
        let taken = hubspot.taken::<Value>(&answer(status, &body), Effect::Create, known, "x");
        taken.unwrap_err()
    };
    let embedded = |name: &str| {
        let fault = json!([{ "name": name, "message": "no", "error": "INVALID_OPTION" }]);
        json!({ "status": "error", "message": format!("Property values were not valid: {fault}") })
    };
    for (theirs, ours, is_looked_up) in [
        ("subject", "title", false),
        ("hs_pipeline_stage", "status", true),
        ("hubspot_owner_id", "assigned_to_id", true),
        ("topics", "tags", true),
        ("product_plan", "custom_fields.plan", true),
        ("external_ticket_id", "settings.unique_property", false),
        ("due_date", "due_date", false),
    ] {
        let error = refused(&Known::default(), 400, embedded(theirs));
        let ErrorClass::Validation { fields } = &error.class else {
            panic!("{error:?}");
        };
        assert_eq!(
            fields.get(ours).map(String::as_str),
            Some("no"),
            "{fields:?}"
        );
        assert_eq!(error.again.is_some(), is_looked_up, "{theirs}");
        let again = Known {
            again: error.again.or(Some("x")),
            ..Known::default()
        };
        assert_eq!(refused(&again, 400, embedded(theirs)).again, None);
    }
    let mut failed = embedded("seats");
    failed["category"] = "VALIDATION_ERROR".into();
    let batch = json!({ "status": "COMPLETE", "numErrors": 1, "errors": [failed] });
    let error = refused(&Known::default(), 207, batch);
    assert!(error.public.contains("INVALID_OPTION") || error.public.contains("VALIDATION_ERROR"));
    assert_eq!(error.http_status, Some(207));
}

#[test]
fn a_batch_that_reads_may_lack_what_is_gone_and_nothing_else() {
    let read = |status, category: &str| {
        let errors = json!([{ "status": "error", "category": category, "message": "m" }]);
        let body = json!({ "results": [{ "id": "1" }], "numErrors": 1, "errors": errors });
        item::read_batch::<Record>(&answer(status, &body), "reading")
    };

    assert_eq!(read(207, "OBJECT_NOT_FOUND").unwrap().len(), 1);
    assert_eq!(
        read(207, "MISSING_SCOPES").unwrap_err().class,
        ErrorClass::Permission
    );
    assert!(read(207, "INTERNAL_ERROR").is_err());
    let silent = answer(200, &json!({ "ok": true }));
    assert!(item::read_batch::<Record>(&silent, "reading").is_err());
    assert!(read(404, "OBJECT_NOT_FOUND").is_err());
    // A page of a proxy is no proof of absence.
    let page = Response {
        body: Bytes::from_static(b"<html>404</html>"),
        ..answer(404, &json!({}))
    };
    assert!(!item::is_gone(&page) && !item::is_gone(&answer(404, &json!({}))));
    assert!(item::is_gone(&answer(404, &json!({ "status": "error" }))));
}

#[test]
fn a_note_ends_with_its_marker_and_comes_back_as_text() {
    let (html, is_whole) = words::note("a <b> & *c*\n\n- d\n\n[ref:cmd-9]", true, "cmd-1");
    assert!(
        is_whole && html.starts_with("<p>Public comment:</p>"),
        "{html}"
    );
    assert!(html.ends_with("<p>[ref:cmd-1]</p>"), "{html}");
    let text = without_tags(&html);
    assert!(
        text.starts_with("Public comment:") && text.contains("a <b> & c"),
        "{text}"
    );
    assert!(!text.contains("cmd-1]"), "{text}");
    let (long, is_whole) = words::note(&"x < y\n\n".repeat(9_000), false, "cmd-1");
    assert!(!is_whole && long.encode_utf16().count() <= 65_536);
    assert!(long.ends_with("<p>[ref:cmd-1]</p>"));

    let file = File::of_bytes("<i>.txt", "text/plain", Bytes::from_static(b"hello"));
    let note = words::file_note(&file, "cmd-1");
    assert!(
        note.contains("&lt;i&gt;.txt") && note.contains(&file.key("cmd-1")),
        "{note}"
    );
}

#[test]
fn a_ticket_comes_back_in_our_words() {
    let record = |properties: Value| -> Record {
        serde_json::from_value(json!({ "id": "17", "properties": properties })).unwrap()
    };
    let shown = record(json!({
        "subject": "S", "content": "C\n[ref:tkt-1]", "hs_pipeline_stage": "3",
        "hs_ticket_priority": "URGENT",
        "hubspot_owner_id": "", "hs_lastmodifieddate": "2026-01-02T03:04:05.678Z",
        "topics": "vip;printer",
        "external_ticket_id": "tkt-1", "seats": "12",
    }));
    let all = pipelines();

    let mapped = hubspot(&json!({ "status_map": { "in_progress": "Waiting on us" } }));
    let item = mapped.item_of(&shown, &all, String::new());
    assert_eq!(item.marker.as_deref(), Some("tkt-1"), "the last line");
    assert_eq!(item.facts.description.as_deref(), Some("C"));
    let ours = mapped.in_our_words(&item.facts);
    assert_eq!(ours.status, Some(TicketStatus::InProgress));
    assert_eq!(ours.priority, Some(Priority::Critical));
    assert_eq!(ours.assignee, Some(Holder::Nobody));
    assert_eq!(ours.custom["places"], "12");
    let at: DateTime<Utc> = "2026-01-02T03:04:05.678Z".parse().unwrap();
    assert_eq!(item.at, Some(Moment::exact(at)));

    let unique = unique();
    let item = unique.item_of(&shown, &all, String::new());
    assert_eq!(
        item.facts.tags.as_deref(),
        Some(&["vip".to_owned(), "printer".to_owned()][..])
    );
    assert_eq!(
        unique.in_our_words(&item.facts).status,
        Some(TicketStatus::Open)
    );
    // A stage of another pipeline has the status of its state.
    let closed = record(json!({ "hs_pipeline_stage": "902" }));
    let facts = unique.item_of(&closed, &all, String::new()).facts;
    assert_eq!(
        unique.in_our_words(&facts).status,
        Some(TicketStatus::Closed)
    );
}

#[test]
fn a_search_of_more_properties_than_it_takes_asks_for_none_of_them() {
    let mut hubspot = unique();
    let cursor = reader::Cursor {
        since: 5,
        after: 200,
    };
    let (body, is_whole) = hubspot.query(&cursor, 200);
    assert!(
        is_whole && body["properties"].to_string().contains("\"topics\""),
        "{body}"
    );
    assert_eq!(body["filterGroups"][0]["filters"][0]["value"], "5");

    let many = (0..100).map(|n| {
        (
            format!("f{n}"),
            Value::from(format!("a_property_of_the_account_{n}")),
        )
    });
    hubspot.fields = FieldMap::of(&many.collect());
    let (body, is_whole) = hubspot.query(&cursor, 200);
    assert!(!is_whole && body.to_string().len() <= 3_000, "{body}");
}

// What it tells by itself.

/// What HubSpot's documentation and clients sign with.
const SECRET: &str = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy";
const URI: &str = "https://www.example.com/webhook_uri";

/// Verifies a delivery that came `late` milliseconds after it was signed.
fn proved(
    url: &str,
    body: &str,
    proof: &[(&'static str, &str)],
    late: i64,
) -> Result<(), Rejected> {
    let mut headers = HeaderMap::new();
    for (name, value) in proof {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let signed = headers.get("x-hubspot-request-timestamp");
    let signed = signed.map_or(0, |at| at.to_str().unwrap().parse().unwrap());
    let now = DateTime::from_timestamp_millis(signed + late).unwrap();
    let hit = Hit::new(&Method::POST, url, &headers, body.as_bytes(), now);
    let secrets = [SecretString::from(SECRET.to_owned())];
    let hubspot = unique();
    verify(
        hubspot.hooks().schemes,
        &hit,
        AuthType::Bearer,
        &secrets,
        now,
    )
}

#[test]
fn deliveries_are_known_by_either_signature_of_hubspot() {
    let v3 = |signature, at| {
        [
            ("x-hubspot-signature-v3", signature),
            ("x-hubspot-request-timestamp", at),
        ]
    };
    // The vendor's own vectors, and two that its clients sign.
    let single = ("{'example_field':'example_value'}", "1693657560000");
    let own = v3("K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=", single.1);
    assert_eq!(proved(URI, single.0, &own, 0), Ok(()));
    let body = "{\"example_field\":\"example_value\"}";
    let second = v3(
        "rQEKkaNUiu+1qGF//O/pw4BCzstSqO1PyUnGICmf+7o=",
        "1700000000000",
    );
    assert_eq!(proved(URI, body, &second, 299_000), Ok(()));
    let coded = "https://www.example.com/webhooks/a0?x=a%2Fb%3Ac";
    let third = v3(
        "kH9NYEThuZUOAtTk0ow46v6IYTo/9R06zbysT2VhsGQ=",
        "1700000000000",
    );
    assert_eq!(proved(coded, "[]", &third, 0), Ok(()));
    let old = "[{\"eventId\":1,\"subscriptionId\":12345,\"portalId\":62515,\"occurredAt\":1564113600000,\"subscriptionType\":\"contact.creation\",\"attemptNumber\":0,\"objectId\":123,\"changeSource\":\"CRM\",\"changeFlag\":\"NEW\",\"appId\":54321}]";
    let first_version = [
        ("x-hubspot-signature-version", "v1"),
        (
            "x-hubspot-signature",
            "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de",
        ),
    ];
    assert_eq!(proved(URI, old, &first_version, 0), Ok(()));

    assert_eq!(proved(URI, body, &second, 301_000), Err(Rejected::Stale));
    assert_eq!(proved(URI, "[]", &second, 0), Err(Rejected::BadSignature));
    assert_eq!(proved(coded, "[]", &second, 0), Err(Rejected::BadSignature));
    assert_eq!(
        proved(URI, "[]", &first_version, 0),
        Err(Rejected::BadSignature)
    );
    assert_eq!(proved(URI, body, &[], 0), Err(Rejected::Unsigned));
    // A good old signature does not make up for a bad new one.
    let both = [own[0], own[1], first_version[0], first_version[1]];
    assert_eq!(proved(URI, old, &both, 0), Err(Rejected::BadSignature));
}

fn changes(hubspot: &HubSpot, events: &Value) -> Result<Vec<Change>, AdapterError> {
    let (headers, body) = (HeaderMap::new(), events.to_string());
    let hit = Hit::new(&Method::POST, URI, &headers, body.as_bytes(), Utc::now());
    hubspot.normalise(&hit)
}

#[test]
fn a_delivery_is_an_array_of_thin_events_of_several_tickets() {
    let event = |kind: &str, more: Value| {
        let mut event = json!({ "eventId": 38, "subscriptionId": 25, "portalId": 33, "appId": 11,
            "attemptNumber": 2,
            "occurredAt": 1_462_216_307_945_i64, "subscriptionType": kind, "objectId": 1_246_965,
            "sourceId": "userId:123" });
        event.as_object_mut().unwrap().extend(object(&more));
        event
    };
    let set = |name: &str, value: &str| {
        event(
            "ticket.propertyChange",
            json!({ "propertyName": name, "propertyValue": value }),
        )
    };
    let hubspot = unique();
    let told = |events: Value| changes(&hubspot, &events).unwrap();

    let all = told(json!([
        set("hs_pipeline_stage", "4"),
        event("ticket.creation", json!({ "objectId": 7 })),
        set("hs_lastmodifieddate", "1"),
        event("contact.creation", json!({})),
        event(
            "object.creation",
            json!({ "objectTypeId": "0-46", "objectId": 9 })
        ),
        event("object.deletion", json!({ "objectTypeId": "0-5" })),
        event("object.creation", json!({ "objectTypeId": "0-1" })),
    ]));
    let [closed, made, note, gone] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(
        closed.id,
        "33:25:38:1246965:1462216307945:hs_pipeline_stage"
    );
    assert_eq!(
        (closed.item.external_id.as_str(), &closed.needs),
        ("1246965", &Needs::Nothing)
    );
    assert_eq!(
        hubspot.ours(&closed.facts).status,
        Some(TicketStatus::Closed)
    );
    assert_eq!(closed.by.as_ref().unwrap().id.as_deref(), Some("123"));
    assert_eq!(closed.at.unwrap().low.timestamp_millis(), 1_462_216_307_945);
    assert_eq!(
        (&made.kind, &made.needs),
        (&ChangeKind::Created, &Needs::Item)
    );
    assert_eq!(
        (&note.kind, &note.needs),
        (&ChangeKind::Commented, &Needs::Parent)
    );
    assert_eq!(note.comment.as_ref().unwrap().id, "9");
    assert_eq!(gone.kind, ChangeKind::Deleted);

    let facts = |event: Value| told(json!([event])).remove(0).facts;
    assert_eq!(
        facts(set("hubspot_owner_id", "")).assignee,
        Some(Holder::Nobody)
    );
    assert_eq!(
        facts(set("topics", "vip")).tags,
        Some(vec!["vip".to_owned()])
    );
    assert_eq!(facts(set("seats", "3")).custom["seats"], "3");
    let merge = event(
        "ticket.merge",
        json!({ "primaryObjectId": 1, "mergedObjectIds": [2], "newObjectId": 3 }),
    );
    let merged = told(json!([merge]));
    let into = |change: &Change| {
        matches!(&change.kind,
        ChangeKind::Merged { into } if into.external_id == "3")
    };
    assert!(merged.len() == 2 && merged.iter().all(into), "{merged:#?}");
    assert_ne!(merged[0].id, merged[1].id);
    // What is no array is not HubSpot's.
    assert!(changes(&hubspot, &set("subject", "x")).is_err());
}

#[test]
fn a_stage_by_its_label_is_read_and_another_accounts_events_are_left_out() {
    let stage = json!([{ "portalId": 33, "occurredAt": 1, "eventType": "ticket.propertyChange",
        "objectId": 5,
        "propertyName": "hs_pipeline_stage", "propertyValue": "3" }]);
    let labelled = hubspot(&json!({ "status_map": { "in_progress": "Waiting on us" } }));
    let by_id = hubspot(&json!({ "status_map": { "in_progress": "3" } }));

    assert_eq!(changes(&labelled, &stage).unwrap()[0].needs, Needs::Item);
    let change = changes(&by_id, &stage).unwrap().remove(0);
    assert_eq!(
        by_id.ours(&change.facts).status,
        Some(TicketStatus::InProgress)
    );
    let other = hubspot(&json!({ "portal_id": 34 }));
    assert_eq!(changes(&other, &stage).unwrap(), []);
    assert_eq!(
        changes(&hubspot(&json!({ "portal_id": "33" })), &stage)
            .unwrap()
            .len(),
        1
    );
}
