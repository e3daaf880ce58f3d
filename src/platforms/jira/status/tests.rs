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
    let both = json!({ "status_map": { "closed": "Closed" },
        "status_transitions": { "closed": "finish" } });

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
    // One that is opened again keeps no resolution.
    for status in [TicketStatus::Open, TicketStatus::InProgress] {
        let body = jira(&json!({})).transition_body(&open[0], status);
        assert_eq!(body["fields"], json!({ "resolution": null }), "{status}");
    }
    let own = json!({ "transition_fields": { "resolution": { "name": "Duplicate" } } });
    let body = jira(&own).transition_body(&open[0], TicketStatus::Resolved);
    assert_eq!(body["fields"]["resolution"]["name"], "Duplicate");
}

#[test]
fn what_a_transition_demands_and_nothing_fills_is_named_before_it_is_sent() {
    let mut open = transitions(&[("Finish", "Done", "done")]);
    open[0].fields = json!({
        "resolution": { "required": true, "name": "Resolution",
            "allowedValues": [{ "name": "Done" }] },
        "customfield_10001": { "required": true, "name": "Root cause" },
        "customfield_10002": { "required": true, "name": "Team", "hasDefaultValue": true },
        "comment": { "required": true, "name": "Comment" },
    })
    .as_object()
    .unwrap()
    .clone();
    let faults = |settings: &Value, status| {
        let body = jira(settings).transition_body(&open[0], status);
        let judged = demanded(&open[0], &body);
        judged.map_err(|error| error.public).map(|()| body)
    };

    let lacking = faults(&json!({}), TicketStatus::Resolved).unwrap_err();
    assert_eq!(
        lacking,
        "settings.transition_fields lacks what the transition \"Finish\" to \"Done\" demands: \
         Comment (comment), Root cause (customfield_10001)"
    );
    let all = json!({ "transition_fields": { "comment": "By **us**", "customfield_10001": "x" } });
    let body = faults(&all, TicketStatus::Resolved).unwrap();
    assert_eq!(body["fields"]["customfield_10001"], "x");
    assert_eq!(body["update"]["comment"][0]["add"]["body"]["type"], "doc");
    let reopened = faults(&all, TicketStatus::Open).unwrap_err();
    assert!(
        reopened.ends_with("demands: Resolution (resolution)"),
        "{reopened}"
    );
}
