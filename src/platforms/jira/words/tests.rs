use serde_json::json;

use super::super::tests::{connected, ticket};
use super::*;
use crate::domain::{Priority, UserRef};
use uuid::Uuid;

fn jira(version: Version) -> Jira {
    let settings = json!({
        "status_map": { "pending": "Waiting for customer" },
        "status_transitions": { "closed": "Archived" },
        "priority_map": { "critical": "Blocker" }, "users": { "ann@b.test": "5b10" },
    });
    let mapping = json!({ "Customer": "customfield_10010", "Region": "customfield_10012" });
    connected(version, &settings, &mapping)
}

/// The issue that Jira would show of what was sent.
fn echoed(fields: &Value) -> Issue {
    let mut fields = fields.clone();
    fields["status"] = json!({ "name": "To Do", "statusCategory": { "key": "new" } });
    fields["updated"] = "2026-01-31T12:00:00.123+0000".into();
    let issue = json!({ "id": "10001", "key": "SUP-1", "fields": fields });
    serde_json::from_value(issue).unwrap()
}

#[test]
fn what_is_sent_comes_back_as_no_news() {
    for (version, account) in [(Version::V3, "accountId"), (Version::V2, "name")] {
        let jira = jira(version);
        let mut ticket = ticket();
        ticket.title = "A long title ".repeat(30);
        ticket.description = "It **jams**:\n\n- at night\n- @all day".into();
        ticket.tags = vec!["two words".into(), "tkt-fake".into()];
        ticket.priority = Priority::Critical;
        ticket.custom_fields = json!({ "Customer": "ACME", "Region": { "value": "EU" }, "x": 1 })
            .as_object()
            .cloned()
            .unwrap();
        ticket.assigned_to = Some(UserRef {
            id: Uuid::from_u128(9),
            email: Some("Ann@B.test".into()),
            full_name: None,
        });
        let marker = format!("tkt-{}", ticket.id);
        let plan = jira
            .plan_create(&ticket, &marker, &Known::default())
            .unwrap();
        let mut fields = super::super::tests::sent(&plan)["fields"].clone();
        fields["assignee"] = json!({ account: "5b10", "displayName": "Ann" });

        let theirs = jira.in_their_words(&ticket);
        let item = jira.item_of(echoed(&fields)).unwrap();

        let facts = &item.facts;
        assert_eq!(theirs.title, facts.title);
        assert_eq!(theirs.description, facts.description);
        assert_eq!(theirs.priority, facts.priority);
        assert_eq!(theirs.tags, facts.tags);
        assert_eq!(theirs.custom, facts.custom);
        assert_eq!(theirs.assignee, facts.assignee);
        assert_eq!(theirs.status_class, facts.status_class);
        assert_eq!(theirs.custom["customfield_10012"], "EU");
        assert_eq!(item.marker, Some(marker));

        let ours = jira.in_our_words(facts);
        assert_eq!(ours.priority, Some(Priority::Critical));
        assert_eq!(ours.status, Some(TicketStatus::Open));
        assert_eq!(
            ours.tags,
            Some(vec!["two-words".to_owned(), "tag-tkt-fake".to_owned()])
        );
        assert_eq!(ours.custom["Customer"], "ACME");
        assert_eq!(ours.assignee, Some(Holder::Account("5b10".into())));
        assert!(ours.description.unwrap().contains("jams"));
    }
}

#[test]
fn what_is_not_shown_is_not_said_and_what_is_empty_is() {
    let jira = jira(Version::V3);
    let facts = |fields: Value| jira.item_of(echoed(&fields)).unwrap().facts;

    let hidden = facts(json!({}));
    assert_eq!((hidden.description, hidden.assignee), (None, None));
    let empty = facts(json!({ "description": null, "assignee": null }));
    assert_eq!(empty.description.as_deref(), Some(""));
    assert_eq!(empty.assignee, Some(Holder::Nobody));
}

#[test]
fn an_issue_whose_id_is_no_number_is_none() {
    let issue = |id: &str| {
        let issue = json!({ "id": id, "key": "SUP-1", "fields": {} });
        jira(Version::V3).item_of(serde_json::from_value(issue).unwrap())
    };

    assert!(issue("10001").is_some());
    assert!(issue("../x").is_none());
}

#[test]
fn a_status_is_ours_by_its_configured_name_and_else_by_its_category() {
    let jira = jira(Version::V3);
    for (name, class, expected) in [
        ("archived", "done", TicketStatus::Closed),
        ("Waiting for Customer", "new", TicketStatus::Pending),
        (
            "Waiting for support",
            "indeterminate",
            TicketStatus::Pending,
        ),
        ("Building", "indeterminate", TicketStatus::InProgress),
        ("Won't Do", "done", TicketStatus::Cancelled),
        ("Closed", "done", TicketStatus::Closed),
        ("Done", "done", TicketStatus::Resolved),
        ("Backlog", "new", TicketStatus::Open),
    ] {
        assert_eq!(jira.our_status(name, class), expected, "{name}");
    }
}

#[test]
fn a_document_is_read_as_its_text() {
    let document = json!({ "type": "doc", "version": 1, "content": [
        { "type": "paragraph", "content": [{ "type": "text", "text": "a" }, { "type": "hardBreak" },
            { "type": "text", "text": "b", "marks": [{ "type": "strong" }] }] },
        { "type": "bulletList", "content": [{ "type": "listItem", "content": [
            { "type": "paragraph", "content": [{ "type": "text", "text": "c" }] }] }] },
    ] });

    assert_eq!(plain(&document), "a\nb\nc");
}
