use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::*;
use crate::domain::{AuthType, Platform};
use crate::platforms::descriptor::blank;
use crate::platforms::inbound::{Rejected, verify};
use crate::secrets::Credentials;

fn slack() -> Slack {
    let settings = json!({ "channel": "C1" });
    let settings = settings.as_object().unwrap();
    let row = blank(Platform::Slack, AuthType::Bearer, settings, None);
    let credentials = json!({ "bot_token": "xoxb-1" });
    Slack::connect(
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

fn told(event: &Value) -> Vec<Change> {
    let body = json!({ "type": "event_callback", "event_id": "Ev0PV52K25", "event": event });
    hit(&body.to_string(), &[], |hit| slack().normalise(hit)).unwrap()
}

fn one(event: &Value) -> Change {
    let mut changes = told(event);
    assert_eq!(changes.len(), 1, "{event}");
    changes.remove(0)
}

const MARKER: &str = "tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";

fn ticket() -> Value {
    json!({
        "type": "message", "channel": "C1", "bot_id": "B1", "ts": "1525215000.000100", "text": "T",
        "metadata": { "event_type": super::super::item::EVENT_TYPE,
            "event_payload": { "mark": MARKER } },
    })
}

#[test]
fn a_reply_is_a_comment_on_its_root() {
    let change = one(&json!({
        "type": "message", "channel": "C1", "channel_type": "channel", "user": "U2",
        "text": "fixed? &lt;3",
        "ts": "1525215129.000001", "thread_ts": "1525215000.000100", "parent_user_id": "U0BOT",
    }));

    assert_eq!(
        (&*change.id, &change.kind),
        ("Ev0PV52K25#0", &ChangeKind::Commented)
    );
    assert_eq!(change.item.external_id, "C1:1525215000.000100");
    assert_eq!(change.by.unwrap().id.as_deref(), Some("U2"));
    let comment = change.comment.unwrap();
    assert_eq!(
        (&*comment.id, &*comment.body),
        ("1525215129.000001", "fixed? <3")
    );
    assert_eq!((comment.public, comment.marker), (Some(true), None));
    assert_eq!(change.at.unwrap().low.timestamp_subsec_micros(), 1);
}

#[test]
fn a_reply_of_ours_carries_its_marker() {
    let mut reply = ticket();
    reply["thread_ts"] = "1525214000.000100".into();
    let comment = one(&reply).comment.unwrap();
    assert_eq!(comment.marker.as_deref(), Some(MARKER));
}

#[test]
fn a_message_is_a_ticket_where_it_carries_a_marker_and_nothing_else_is() {
    let change = one(&ticket());
    assert_eq!(
        (&change.kind, &change.needs),
        (&ChangeKind::Created, &Needs::Item)
    );
    assert_eq!(change.marker.as_deref(), Some(MARKER));

    for event in [
        json!({ "type": "message", "channel": "C1", "user": "U2", "text": "hello", "ts": "1.0" }),
        json!({ "type": "message", "channel": "C1", "subtype": "channel_join", "user": "U2",
            "ts": "1.0" }),
        json!({ "type": "reaction_added", "item": { "type": "message" } }),
        json!({ "type": "message", "channel": "C1", "ts": "../1", "thread_ts": "x" }),
        json!({ "type": "message" }),
        json!(null),
    ] {
        assert_eq!(told(&event), Vec::new(), "{event}");
    }
}

#[test]
fn an_edit_says_what_was_there_and_a_deletion_what_is_gone() {
    let reply = |text: &str| {
        json!({
            "ts": "1525215129.000001", "thread_ts": "1525215000.000100", "user": "U2", "text": text,
            "edited": { "user": "U2", "ts": "1525215130.000000" },
        })
    };
    let change = one(&json!({
        "type": "message", "subtype": "message_changed", "channel": "C1",
        "message": reply("new"), "previous_message": reply("old"),
    }));
    let comment = change.comment.unwrap();
    assert_eq!(change.kind, ChangeKind::CommentChanged);
    assert_eq!(
        (&*comment.body, comment.before.as_deref()),
        ("new", Some("old"))
    );

    let change = one(&json!({
        "type": "message", "subtype": "message_deleted", "channel": "C1",
        "deleted_ts": "1525215129.000001",
        "event_ts": "1525215131.000000", "previous_message": reply("old"),
    }));
    assert_eq!(change.kind, ChangeKind::CommentDeleted);
    assert_eq!(change.comment.unwrap().id, "1525215129.000001");
    assert_eq!(change.item.external_id, "C1:1525215000.000100");

    let change = one(&json!({
        "type": "message", "subtype": "message_deleted", "channel": "C1",
        "deleted_ts": "1525215000.000100", "previous_message": ticket(),
    }));
    assert_eq!(
        (change.kind, change.marker.as_deref()),
        (ChangeKind::Deleted, Some(MARKER))
    );
}

#[test]
fn the_handshake_is_answered_and_what_is_no_event_is_a_heartbeat() {
    let shaken = |body: &str| hit(body, &[], |hit| slack().shake(hit, &[]));

    let challenge = r#"{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}"#;
    match shaken(challenge) {
        Some(Handshake::Verified(reply)) => assert_eq!(reply.body, r#"{"challenge":"3eZbrw1aB"}"#),
        other => panic!("{other:?}"),
    }
    let limited = shaken(r#"{"type":"app_rate_limited","minute_rate_limited":1}"#);
    assert!(matches!(limited, Some(Handshake::Heartbeat)));
    assert!(shaken(r#"{"type":"event_callback","event":{}}"#).is_none());
    assert!(shaken("no JSON").is_none());
}

#[test]
fn the_published_signature_is_taken() {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let headers = [
        (
            "x-slack-signature",
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        ),
        (TIME, "1531420618"),
    ];
    let secret = || vec!["8f742231b10e8888abcd99yyyzzz85a5".to_owned().into()];
    let verified = |seconds: i64| {
        let at = DateTime::from_timestamp(1_531_420_618 + seconds, 0).unwrap();
        hit(body, &headers, |hit| {
            verify(
                slack().hooks().schemes,
                hit,
                AuthType::Bearer,
                &secret(),
                at,
            )
        })
    };
    assert_eq!(verified(0), Ok(()));
    assert_eq!(verified(300), Ok(()));
    assert_eq!(verified(301), Err(Rejected::Stale));
    assert_eq!(verified(-301), Err(Rejected::Stale));
}
