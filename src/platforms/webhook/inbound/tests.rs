use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::*;
use crate::domain::{AuthType, Platform};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Rejected, verify};
use crate::secrets::Credentials;

fn webhook() -> Webhook {
    let settings = json!({ "url": "https://x.test/hook" });
    let settings = settings.as_object().unwrap();
    let row = blank(Platform::Webhook, AuthType::Custom, settings, None);
    let credentials = json!({ "signing_secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" });
    Webhook::connect(
        &row,
        &Credentials::new(credentials.as_object().unwrap().clone()),
    )
    .unwrap()
}

fn hit<T>(body: &str, headers: &[(&'static str, &str)], then: impl FnOnce(&Hit<'_>) -> T) -> T {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    then(&Hit::new(
        &Method::POST,
        "https://x.test/",
        &all,
        body.as_bytes(),
        Utc::now(),
    ))
}

fn told(body: &Value) -> Result<Vec<Change>, AdapterError> {
    hit(&body.to_string(), &[("webhook-id", "msg_1")], |hit| {
        webhook().normalise(hit)
    })
}

#[test]
fn an_item_says_what_it_says_and_no_more() {
    let body = json!({
        "type": "item.updated", "timestamp": "2026-01-02T03:04:05Z",
        "data": { "external_id": "X-1", "url": "https://x.test/1", "title": "New",
            "status": "resolved",
                  "assignee": null, "tags": ["a"], "custom_fields": { "cost": 7 },
                  "by": { "id": "u1", "name": "Jane" } },
    });
    let change = told(&body).unwrap().remove(0);

    assert_eq!(
        (&*change.id, &change.kind),
        ("msg_1#0", &ChangeKind::Updated)
    );
    assert_eq!(change.item, ItemRef::named("X-1"));
    assert_eq!(change.facts.title.as_deref(), Some("New"));
    assert_eq!(change.facts.assignee, Some(Holder::Nobody));
    assert_eq!(change.facts.custom["cost"], 7);
    assert_eq!((&change.facts.priority, change.whole), (&None, false));
    assert_eq!(change.by.unwrap().name.as_deref(), Some("Jane"));
    let without = json!({ "type": "item.updated", "data": { "external_id": "X-1" } });
    assert_eq!(told(&without).unwrap()[0].facts, Facts::default());
}

#[test]
fn a_comment_needs_one_and_what_is_no_change_says_nothing() {
    let comment = json!({ "id": "7", "body": "Hello", "public": false, "author": "Jane" });
    let body =
        json!({ "type": "comment.created", "data": { "external_id": "X-1", "comment": comment } });
    let told_of = told(&body).unwrap().remove(0).comment.unwrap();
    assert_eq!((&*told_of.id, told_of.public), ("7", Some(false)));

    let lacking = json!({ "type": "comment.created", "data": { "external_id": "X-1" } });
    assert!(told(&lacking).unwrap_err().public.contains("data.comment"));
    let nameless = json!({ "type": "item.created", "data": {} });
    assert!(told(&nameless).unwrap_err().public.contains("data"));
    // Never a command, whatever it is called.
    for kind in ["ticket.create", "integration.delete", "item.exploded", ""] {
        assert_eq!(
            told(&json!({ "type": kind, "data": {} })).unwrap(),
            Vec::new()
        );
    }
}

#[test]
fn published_signatures_are_taken_and_others_refused() {
    let (id, at) = ("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "1649367553");
    let body = r#"{"email":"test@example.com","username":"test_user"}"#;
    let right = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let verified = |names: [&'static str; 3], proof: &str, secrets: &[&str], seconds: i64| {
        let [name_id, name_at, name_proof] = names;
        let headers = [(name_id, id), (name_at, at), (name_proof, proof)];
        let now = DateTime::from_timestamp(1_649_367_553 + seconds, 0).unwrap();
        let secrets: Vec<_> = secrets
            .iter()
            .map(|text| (*text).to_owned().into())
            .collect();
        let schemes = webhook().hooks().schemes;
        hit(body, &headers, |hit| {
            verify(schemes, hit, AuthType::Custom, &secrets, now)
        })
    };
    let ours = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let svix = ["svix-id", "svix-timestamp", "svix-signature"];
    let bare = secret.trim_start_matches("whsec_");

    assert_eq!(verified(ours, right, &[secret], 0), Ok(()));
    assert_eq!(verified(ours, right, &[bare], 0), Ok(()));
    assert_eq!(verified(svix, right, &[secret], 0), Ok(()));
    let several = format!("v1,AAAA v2,{right} v1a,AAAA {right}");
    assert_eq!(
        verified(ours, &several, &["whsec_AAAA", secret], 300),
        Ok(())
    );
    for (proof, secrets, seconds, expected) in [
        (right, &["whsec_AAAA"][..], 0, Rejected::BadSignature),
        (right, &[], 0, Rejected::NoSecret),
        (right, &[secret], 301, Rejected::Stale),
        (right, &[secret], -301, Rejected::Stale),
        ("v1,", &[secret], 0, Rejected::Unsigned),
        ("v1,tZ1I4/hDygAJ", &[secret], 0, Rejected::BadSignature),
        (
            right.trim_start_matches("v1,"),
            &[secret],
            0,
            Rejected::Unsigned,
        ),
        (
            "v2,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            &[secret],
            0,
            Rejected::Unsigned,
        ),
    ] {
        let found = verified(ours, proof, secrets, seconds);
        assert_eq!(found, Err(expected), "{proof} {seconds}");
    }
}
