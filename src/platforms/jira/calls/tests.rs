use std::time::Duration;

use reqwest::header::HeaderValue;
use serde_json::json;

use super::super::tests::{answer, connected};
use super::*;
use crate::platforms::Scope;

fn jira() -> Jira {
    let mapping = json!({ "Customer": "customfield_10010" });
    connected(Version::V3, &json!({}), &mapping)
}

fn refused(status: u16, body: &Value, effect: Effect) -> AdapterError {
    jira()
        .judge(&answer(status, body), effect, "doing it")
        .unwrap_err()
}

#[test]
fn faults_have_our_names_and_all_that_jira_says_is_passed_on() {
    let body = json!({
        "errorMessages": ["The project is archived.", "Ask its lead."],
        "errors": {
            "summary": "Too long.", "customfield_10010": "Not on the screen.",
            "customfield_10011": "Is required.", "project": "is gone",
        },
    });
    let error = refused(400, &body, Effect::Create);

    let ErrorClass::Validation { fields } = &error.class else {
        panic!("{error}");
    };
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "custom_fields.Customer",
            "customfield_10011",
            "settings.project_key",
            "title"
        ]
    );
    assert_eq!(fields["custom_fields.Customer"], "Not on the screen.");
    assert!(error.public.contains("title: Too long."), "{error}");
    assert!(error.public.contains("The project is archived."), "{error}");
    assert!(error.public.contains("Ask its lead."), "{error}");
}

#[test]
fn a_project_without_labels_is_named_by_its_setting_where_it_is_no_tag_that_is_refused() {
    let body = json!({ "errors": { "labels": "Field 'labels' cannot be set." } });
    let fields = |effect| match refused(400, &body, effect).class {
        ErrorClass::Validation { fields } => fields,
        class => panic!("{class:?}"),
    };

    let create = fields(Effect::Create);
    assert!(
        create["settings.project_key"].contains("put the field Labels on the screen"),
        "{create:?}"
    );
    let edit = fields(Effect::Idempotent);
    assert_eq!(edit["tags"], "Field 'labels' cannot be set.");
}

#[test]
fn a_text_that_is_too_long_is_the_description_and_words_are_said_of_any_refusal() {
    let too_long = json!({ "errorMessages": ["CONTENT_LIMIT_EXCEEDED"], "errors": {} });
    let error = refused(400, &too_long, Effect::Idempotent);
    let ErrorClass::Validation { fields } = error.class else {
        panic!("{error}");
    };
    assert_eq!(fields["description"], "is longer than Jira takes");

    let words = json!({ "errorMessages": ["You lost your licence."] });
    let error = refused(403, &words, Effect::Idempotent);
    assert_eq!(error.class, ErrorClass::Permission);
    assert_eq!(
        error.public.matches("You lost your licence.").count(),
        1,
        "{error}"
    );
}

#[test]
fn a_concurrent_edit_is_tried_again_and_a_create_is_not() {
    let class = |effect| refused(409, &json!({}), effect).class;

    assert_eq!(
        class(Effect::Idempotent),
        ErrorClass::Transient { retry_after: None }
    );
    assert_eq!(class(Effect::Create), ErrorClass::Conflict);
}

#[test]
fn a_budget_is_what_its_reason_says_and_else_the_integrations() {
    let limited = |headers: &[(&'static str, &'static str)]| {
        let mut answer = answer(429, &json!({}));
        for (name, value) in headers {
            answer
                .headers
                .insert(*name, HeaderValue::from_static(value));
        }
        let error = jira()
            .judge(&answer, Effect::Create, "doing it")
            .unwrap_err();
        let ErrorClass::RateLimited { retry_after } = error.class else {
            panic!("{error}");
        };
        (error.budget, retry_after.map(|wait| wait.as_secs()))
    };
    let reason = "ratelimit-reason";

    assert_eq!(limited(&[]), (Some(Scope::Integration), None));
    let per_issue = [(reason, "jira-per-issue-on-write"), ("retry-after", "2")];
    assert_eq!(limited(&per_issue), (Some(Scope::Item), Some(2)));
    let burst = [(reason, "jira-burst-based"), ("retry-after", "1")];
    assert_eq!(limited(&burst), (Some(Scope::Endpoint), Some(1)));
    let quota = [(reason, "jira-quota-tenant-based"), ("retry-after", "60")];
    assert_eq!(limited(&quota), (Some(Scope::Integration), Some(60)));
    let date = ("date", "Sat, 31 Jan 2026 12:00:00 GMT");
    let iso = [date, ("x-ratelimit-reset", "2026-01-31T12:01Z")];
    assert_eq!(limited(&iso), (Some(Scope::Integration), Some(60)));
    let epoch = [date, ("x-ratelimit-reset", "1769860860")];
    assert_eq!(limited(&epoch), (Some(Scope::Integration), Some(60)));
    assert!(RATE.none_said >= Duration::from_secs(2));
}

#[test]
fn an_id_that_is_no_number_cannot_be_read() {
    let id = |text: &str| serde_json::from_value::<Id>(json!(text)).is_ok();

    assert!(id("10001"));
    for other in ["", "../x", "SUP-1", "1 ", "12345678901234567890", "%2e"] {
        assert!(!id(other), "{other}");
    }
}

#[test]
fn a_text_does_not_end_a_value_of_jql() {
    assert_eq!(
        quoted("X\" OR project = \"Y\\"),
        r#""X\" OR project = \"Y\\""#
    );
}
