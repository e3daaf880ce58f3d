use serde_json::json;

use super::super::Version;
use super::super::tests::connected;
use super::*;

fn jira(settings: &Value) -> Jira {
    connected(Version::V3, settings, &json!({}))
}

fn status(name: &str, category: &str) -> Status {
    let status = json!({ "name": name, "statusCategory": { "key": category } });
    serde_json::from_value(status).unwrap()
}

/// Transitions by name, with the status and category that they lead to.
fn transitions(all: &[(&str, &str, &str)]) -> Vec<Transition> {
    let made = all.iter().enumerate().map(|(index, (name, to, category))| {
        let fields = json!({
            "resolution": { "allowedValues": [{ "name": "Duplicate" }, { "name": "Done" }] },
            "customfield_10001": {},
        });
        let to = json!({ "name": to, "statusCategory": { "key": category } });
        json!({ "id": index.to_string(), "name": name, "to": to, "fields": fields })
    });
    serde_json::from_value(made.collect()).unwrap()
}

fn chosen(settings: &Value, wanted: TicketStatus) -> Option<String> {
    let open = transitions(&[
        ("Reject", "Won't Do", "done"),
        ("Finish", "Done", "done"),
        ("Archive", "Closed", "done"),
        ("Start", "In Progress", "indeterminate"),
    ]);
    jira(settings)
        .choose(&open, wanted)
        .map(|found| found.name.clone())
}

#[test]
fn a_named_transition_wins_over_a_named_status_and_both_over_the_category() {
    let map = json!({ "status_map": { "closed": "closed", "pending": "Waiting" } });
    let both = json!({ "status_map": { "closed": "Closed" }, "status_transitions": { "closed": "finish" } });

    assert_eq!(
        chosen(&json!({}), TicketStatus::Closed).as_deref(),
        Some("Finish")
    );
    assert_eq!(
        chosen(&json!({}), TicketStatus::Cancelled).as_deref(),
        Some("Reject")
    );
    assert_eq!(
        chosen(&json!({}), TicketStatus::Pending).as_deref(),
        Some("Start")
    );
    assert_eq!(chosen(&json!({}), TicketStatus::New), None);
    assert_eq!(
        chosen(&map, TicketStatus::Closed).as_deref(),
        Some("Archive")
    );
    assert_eq!(chosen(&map, TicketStatus::Pending), None);
    assert_eq!(
        chosen(&map, TicketStatus::Resolved).as_deref(),
        Some("Finish")
    );
    assert_eq!(
        chosen(&both, TicketStatus::Closed).as_deref(),
        Some("Finish")
    );
}

#[test]
fn an_issue_is_there_by_the_configured_status_or_by_category() {
    let plain = jira(&json!({}));
    let mapped = jira(&json!({ "status_map": { "closed": "Closed" } }));

    assert!(plain.is_there(&status("Done", "done"), TicketStatus::Closed));
    assert!(!mapped.is_there(&status("Done", "done"), TicketStatus::Closed));
    assert!(mapped.is_there(&status("closed", "done"), TicketStatus::Closed));
    assert!(!plain.is_there(&status("Done", "done"), TicketStatus::Cancelled));
    assert!(plain.is_there(&status("Declined", "done"), TicketStatus::Cancelled));
}

#[test]
fn a_transition_gets_the_fields_that_it_has() {
    let settings = json!({ "transition_fields": {
        "customfield_10001": { "value": "EU" }, "customfield_10002": "not on its screen",
    } });
    let open = transitions(&[("Finish", "Done", "done")]);

    let body = jira(&settings).transition_body(&open[0], TicketStatus::Resolved);
    let fields =
        json!({ "customfield_10001": { "value": "EU" }, "resolution": { "name": "Done" } });
    assert_eq!(
        body,
        json!({ "transition": { "id": "0" }, "fields": fields })
    );
    let own = json!({ "transition_fields": { "resolution": { "name": "Duplicate" } } });
    let body = jira(&own).transition_body(&open[0], TicketStatus::Resolved);
    assert_eq!(body["fields"]["resolution"]["name"], "Duplicate");
}
