use chrono::Utc;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::super::Version;
use super::super::tests::connected;
use super::*;
use crate::platforms::inbound::{Rejected, verify};

fn cloud() -> Jira {
    connected(Version::V3, &json!({}), &json!({}))
}

/// As Jira Cloud sends it.
const UPDATED: &str = r#"{"timestamp":1606480436302,"webhookEvent":"jira:issue_updated","issue_event_type_name":"issue_generic",
 "user":{"accountId":"99:27","displayName":"Jane","accountType":"atlassian"},
 "issue":{"id":"99291","key":"JRA-20002","self":"https://site.atlassian.net/rest/api/2/issue/99291",
  "fields":{"summary":"New","description":"wiki text","status":{"id":"3","name":"In Progress","statusCategory":{"key":"indeterminate"}},
   "priority":{"id":"3","name":"High"},"labels":["ui","tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10"],"assignee":null,
   "updated":"2026-01-02T03:04:05.000+0000","project":{"key":"JRA"}}},
 "changelog":{"id":"10124","items":[{"field":"status","fieldtype":"jira","from":"1","fromString":"To Do","to":"3","toString":"In Progress"},
  {"field":"summary","fieldtype":"jira","from":null,"fromString":"Old","to":null,"toString":"New"},
  {"field":"assignee","fieldtype":"jira","from":"7:1","fromString":"Ada","to":null,"toString":null}]}}"#;

fn delivered(body: &str, headers: &[(&'static str, &str)]) -> Result<Vec<Change>, AdapterError> {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        all.insert(HeaderName::from_static(name), value);
    }
    let hit = Hit::new(
        &Method::POST,
        "https://x.test/",
        &all,
        body.as_bytes(),
        Utc::now(),
    );
    cloud().normalise(&hit)
}

const SIGNED: (&str, &str) = ("x-hub-signature", "sha256=00");

fn one(body: &str) -> Change {
    let mut changes = delivered(body, &[SIGNED, (ID, "d-1")]).unwrap();
    assert_eq!(changes.len(), 1);
    changes.remove(0)
}

#[test]
fn an_update_says_what_is_so_and_what_was() {
    let change = one(UPDATED);

    assert_eq!(change.id, "d-1#0");
    assert_eq!(
        (&change.kind, change.whole, &change.needs),
        (&ChangeKind::Updated, true, &Needs::Nothing)
    );
    assert_eq!(change.item.external_id, "JRA-20002");
    assert_eq!(change.item.stable_id.as_deref(), Some("99291"));
    assert_eq!(
        change.marker.as_deref(),
        Some("tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10")
    );
    assert_eq!(
        change.at.unwrap().low.to_rfc3339(),
        "2026-01-02T03:04:05+00:00"
    );
    assert_eq!(change.by.unwrap().id.as_deref(), Some("99:27"));
    let (now, before) = (change.facts, change.before);
    assert_eq!(now.title.as_deref(), Some("New"));
    assert_eq!(now.status.as_deref(), Some("In Progress"));
    assert_eq!(now.assignee, Some(Holder::Nobody));
    assert_eq!(before.title.as_deref(), Some("Old"));
    assert_eq!(before.status.as_deref(), Some("To Do"));
    assert_eq!(before.assignee, Some(Holder::Account("7:1".into())));
    assert_eq!(before.priority, None, "what did not change is not said");
}

#[test]
fn a_token_proves_the_sender_so_the_issue_is_read_again() {
    let change = delivered(UPDATED, &[("authorization", "Bearer x")])
        .unwrap()
        .remove(0);

    assert_eq!(change.needs, Needs::Item);
    assert!(!change.whole && change.facts.is_empty() && change.marker.is_none());
    assert_eq!(change.item.stable_id.as_deref(), Some("99291"));
}

#[test]
fn a_comment_comes_with_its_issue_or_with_its_address_alone() {
    let comment = json!({
        "id": "10042", "self": "https://dc.test/rest/api/2/issue/10010/comment/10042",
        "body": "fixed?",
        "author": { "name": "jane", "displayName": "Jane" },
        "created": "2026-01-02T03:04:05.000+0000", "jsdPublic": true,
    });
    let with_issue = json!({
        "timestamp": 1_606_480_436_302_i64, "webhookEvent": "comment_created", "comment": comment,
        "issue": { "id": "10010", "key": "SUP-1", "fields": { "summary": "S" } },
    });
    let change = one(&with_issue.to_string());
    assert_eq!(change.kind, ChangeKind::Commented);
    assert_eq!(change.needs, Needs::Comment { id: "10042".into() });
    assert_eq!(change.item.external_id, "SUP-1");
    let told = change.comment.unwrap();
    assert_eq!((told.body.as_str(), told.public), ("fixed?", Some(true)));
    assert_eq!(told.author.unwrap().id.as_deref(), Some("jane"));

    let alone = json!({ "webhookEvent": "comment_updated", "comment": comment });
    let change = one(&alone.to_string());
    assert_eq!(
        (change.kind, change.needs),
        (ChangeKind::CommentChanged, Needs::Parent)
    );
    assert_eq!(change.item.stable_id.as_deref(), Some("10010"));
}

#[test]
fn what_is_not_of_issues_says_nothing_and_what_cannot_be_read_is_told() {
    for body in [
        json!({ "webhookEvent": "sprint_started" }),
        json!({ "webhookEvent": "jira:issue_updated" }),
        json!({ "webhookEvent": "jira:issue_updated", "issue": { "id": "../x", "key": "SUP-1" } }),
        json!({ "webhookEvent": "comment_created", "comment": { "id": "1",
            "self": "https://x/issue/../comment/1" } }),
    ] {
        assert_eq!(
            delivered(&body.to_string(), &[SIGNED]).unwrap(),
            Vec::new(),
            "{body}"
        );
    }
    for body in ["", "[]", "{\"webhookEvent\":7}", "no JSON"] {
        let error = delivered(body, &[SIGNED]).unwrap_err();
        assert_eq!(
            error.code(),
            crate::domain::ErrorCode::ValidationFailed,
            "{body}"
        );
    }
    // Without an id of the delivery, the body's digest is one.
    let first = delivered(UPDATED, &[SIGNED]).unwrap().remove(0).id;
    assert_eq!(delivered(UPDATED, &[SIGNED]).unwrap().remove(0).id, first);
}

#[test]
fn each_way_to_sign_is_taken_in_its_mode_alone() {
    let body = "Hello World!";
    let verified = |headers: &[(&'static str, &str)], auth_type, secret: &str| {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let hit = Hit::new(&Method::POST, "https://x.test/", &all, body.as_bytes(), at);
        verify(
            cloud().hooks().schemes,
            &hit,
            auth_type,
            &[secret.to_owned().into()],
            at,
        )
    };
    let signed = [(
        "x-hub-signature",
        "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
    )];
    let token = [(
        "authorization",
        "Bearer \
         eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJjbGllbnQiLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDE4MH0.P-H3UATaY8D2EQJLhZp_wDsRvNaEGMQavT1L1iTcePI",
    )];
    let basic = [("authorization", "Basic dTpw")];

    let secret = "It's a Secret to Everybody";
    assert_eq!(verified(&signed, AuthType::ApiKey, secret), Ok(()));
    assert_eq!(
        verified(&token, AuthType::Oauth2, "jira-client-secret"),
        Ok(())
    );
    assert_eq!(
        verified(&token, AuthType::ApiKey, "jira-client-secret"),
        Err(Rejected::Unsigned)
    );
    assert_eq!(verified(&basic, AuthType::Bearer, "u:p"), Ok(()));
    assert_eq!(
        verified(&basic, AuthType::Oauth2, "u:p"),
        Err(Rejected::Unsigned)
    );
}
