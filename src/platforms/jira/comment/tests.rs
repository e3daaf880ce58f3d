use serde_json::json;

use super::super::Version;
use super::super::tests::{connected, sent};
use super::*;
use crate::platforms::ErrorClass;

const MARKER: &str = "cmd-1";

fn at(minute: u32) -> String {
    format!("2026-01-31T12:{minute:02}:00.000+0000")
}

/// A page of comments, each with the minute of its creation and its marker.
fn page(start: usize, total: usize, comments: &[(u32, &str)]) -> Page {
    let comments = comments.iter().map(|(minute, marker)| {
        json!({
            "id": minute.to_string(), "created": at(*minute),
            "properties": [{ "key": PROPERTY, "value": { "mark": marker } }],
        })
    });
    let comments: Value = comments.collect();
    let page = json!({ "comments": comments, "startAt": start, "total": total });
    serde_json::from_value(page).unwrap()
}

fn look(page: &Page, start: usize) -> Result<Seen, AdapterError> {
    let key = DedupKey {
        marker: MARKER,
        received_at: moment(&at(30)).unwrap(),
    };
    seen(page, start, &key)
}

#[test]
fn a_listing_proves_absence_at_its_end_or_before_the_command_and_nowhere_else() {
    let ours = page(0, 9, &[(50, "cmd-2"), (40, MARKER)]);
    assert_eq!(look(&ours, 0).unwrap(), Seen::Found("40".into()));
    let none = page(0, 0, &[]);
    assert_eq!(look(&none, 0).unwrap(), Seen::Absent);
    let end = page(0, 2, &[(50, "a"), (40, "b")]);
    assert_eq!(look(&end, 0).unwrap(), Seen::Absent);
    let older = page(0, 9, &[(50, "a"), (20, "b")]);
    assert_eq!(look(&older, 0).unwrap(), Seen::Absent);
    let more = page(2, 9, &[(50, "a"), (40, "b")]);
    assert_eq!(look(&more, 2).unwrap(), Seen::More(4));
    // Not sorted as asked: an older one proves nothing.
    let mixed = page(0, 9, &[(20, "a"), (50, "b"), (20, "c")]);
    assert_eq!(look(&mixed, 0).unwrap(), Seen::More(3));
}

#[test]
fn a_listing_that_cannot_be_relied_upon_proves_nothing() {
    let mut blind = page(0, 9, &[(50, "a")]);
    blind.comments[0].properties = None;
    for (page, start) in [
        (blind, 0),
        (page(0, 9, &[(50, "a")]), 2),
        (page(2, 9, &[]), 2),
    ] {
        let error = look(&page, start).unwrap_err();
        assert_eq!(error.class, ErrorClass::Unsupported);
        assert!(error.public.contains("nothing is proved"), "{error}");
    }
}

#[test]
fn an_internal_comment_is_restricted_or_refused() {
    let body = |settings: &Value| {
        let jira = connected(Version::V3, settings, &json!({}));
        let plan = jira.plan_comment("10001", ("body", "b"), false, MARKER)?;
        Ok::<_, AdapterError>(sent(&plan))
    };

    let desk = body(&json!({ "internal_comments": "service_desk" })).unwrap();
    assert_eq!(desk["properties"][0]["value"]["mark"], MARKER);
    assert_eq!(desk["properties"][1]["value"]["internal"], true);
    let role = body(&json!({ "internal_comments": "Developers" })).unwrap();
    assert_eq!(
        role["visibility"],
        json!({ "type": "role", "value": "Developers" })
    );
    assert_eq!(body(&json!({})).unwrap_err().class, ErrorClass::Unsupported);
}
