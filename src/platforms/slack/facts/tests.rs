use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::platforms::{Effect, ErrorClass};

/// An answer of the Web API.
pub(in crate::platforms::slack) fn answer(body: &Value) -> Response {
    Response {
        status: 200,
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
        truncated: false,
    }
}

#[test]
fn a_stale_token_is_seen_in_the_body() {
    let refused = |code: &str| is_stale(&answer(&json!({ "ok": false, "error": code })));

    assert!(refused("token_expired"));
    assert!(!refused("invalid_auth"));
    assert!(!is_stale(&answer(&json!({ "ok": true }))));
    assert!(is_stale(&Response {
        status: 401,
        ..answer(&json!({}))
    }));
}

fn refused(body: &Value, effect: Effect) -> AdapterError {
    let judged = ERRORS.check(&answer(body), effect, "posting");
    judged.unwrap_err()
}

fn class(code: &str, effect: Effect) -> ErrorClass {
    refused(&json!({ "ok": false, "error": code }), effect).class
}

#[test]
fn a_refusal_with_http_200_has_its_class() {
    let later = |seconds| ErrorClass::Transient {
        retry_after: Some(secs(seconds)),
    };
    for (code, expected) in [
        ("invalid_auth", ErrorClass::Authentication),
        ("bad_client_secret", ErrorClass::Authentication),
        ("missing_scope", ErrorClass::Permission),
        ("not_in_channel", ErrorClass::Permission),
        (
            "restricted_action_thread_only_channel",
            ErrorClass::Permission,
        ),
        (
            "slack_connect_file_upload_sharing_blocked",
            ErrorClass::Permission,
        ),
        (
            "file_uploads_except_images_disabled",
            ErrorClass::Permission,
        ),
        ("channel_not_found", ErrorClass::NotFound),
        ("is_archived", ErrorClass::NotFound),
        ("user_not_found", ErrorClass::NotFound),
        ("unknown_method", ErrorClass::Unsupported),
        (
            "request_timeout",
            ErrorClass::Transient { retry_after: None },
        ),
        ("team_added_to_org", later(3_600)),
    ] {
        assert_eq!(class(code, Effect::Create), expected, "{code}");
    }
    for code in ["never_heard_of", "cant_broadcast_message", "invalid_blocks"] {
        let fields = std::collections::BTreeMap::new();
        let expected = ErrorClass::Validation { fields };
        assert_eq!(class(code, Effect::Create), expected, "{code}");
    }
}

#[test]
fn a_budget_is_of_the_method_whatever_the_status_says_and_a_volume_of_the_workspace() {
    let plain = json!({ "ok": false, "error": "ratelimited" });
    let with_status = |status| Response {
        status,
        ..answer(&plain)
    };
    for status in [200, 429] {
        let judged = ERRORS.check(&with_status(status), Effect::Create, "posting");
        let error = judged.unwrap_err();
        let retry_after = Some(secs(30));
        assert_eq!(error.class, ErrorClass::RateLimited { retry_after });
        assert_eq!(error.budget, Some(Scope::Endpoint), "{status}");
    }
    let volume = json!({ "ok": false, "error": "message_limit_exceeded" });
    let error = refused(&volume, Effect::Create);
    let retry_after = Some(secs(600));
    assert_eq!(error.class, ErrorClass::RateLimited { retry_after });
    assert_eq!(error.budget, Some(Scope::Integration));
}

#[test]
fn what_may_have_succeeded_is_of_unknown_outcome_only_where_something_is_made() {
    for code in ["internal_error", "fatal_error", "service_unavailable"] {
        assert_eq!(class(code, Effect::Create), ErrorClass::Unknown, "{code}");
        let harmless = ErrorClass::Transient { retry_after: None };
        assert_eq!(class(code, Effect::Idempotent), harmless, "{code}");
    }
}

#[test]
fn a_refusal_names_the_scope_the_field_and_what_slack_explains() {
    let scope = json!({ "ok": false, "error": "missing_scope", "needed": "chat:write",
        "provided": "none" });
    let shape = json!({
        "ok": false, "error": "invalid_blocks",
        "response_metadata": { "messages": ["[ERROR] no more than 50 items allowed"] },
    });
    let long = json!({ "ok": false, "error": "msg_blocks_too_long" });
    for (body, said) in [
        (scope, "needs the scope chat:write"),
        (
            shape,
            "(invalid_blocks); it says: [ERROR] no more than 50 items allowed",
        ),
        (long.clone(), "description is longer than Slack takes"),
    ] {
        let error = refused(&body, Effect::Create);
        assert!(error.public.contains(said), "{}", error.public);
    }
    let ErrorClass::Validation { fields } = refused(&long, Effect::Create).class else {
        panic!("it is the data");
    };
    assert_eq!(fields["description"], "is longer than Slack takes");
}
