use serde_json::json;

use super::super::tests::{answer, connected, sent, ticket};
use super::*;
use crate::domain::Priority;

const MARKER: &str = "tkt-00000000-0000-0000-0000-000000000001";

/// The ticket of an issue.
fn bound() -> TicketView {
    TicketView {
        external_id: Some("SUP-1".into()),
        ..ticket()
    }
}

#[test]
fn a_long_title_is_cut_to_one_line_and_kept_whole_elsewhere() {
    let long = "word ".repeat(80);

    let (line, full) = summary(&long);

    assert_eq!(line.chars().count(), 255);
    assert_eq!(full.unwrap().len(), 399);
    assert_eq!(summary("two\nlines"), ("two lines".into(), None));
    // Jira counts as Java does.
    let (line, full) = summary(&"\u{1f600}".repeat(200));
    assert_eq!(
        (line.chars().count(), line.encode_utf16().count()),
        (128, 255)
    );
    assert!(full.is_some());
}

#[test]
fn what_is_cut_is_said_and_a_title_is_whole_where_there_is_a_description() {
    let jira = connected(Version::V3, &json!({}), &json!({}));
    let long = "word ".repeat(80);
    let emoji = "\u{1f600}".repeat(20_000);
    let new = TicketView {
        title: long.clone(),
        description: emoji.clone(),
        ..ticket()
    };
    let patch = |description: Option<&str>| TicketPatch {
        title: Some(long.clone()),
        description: description.map(str::to_owned),
        ..TicketPatch::default()
    };
    let known = Known::default();
    let said = |plan: &Plan, field: &str| plan.left_out.get(field).cloned().unwrap_or_default();

    let create = jira.plan_create(&new, MARKER, &known).unwrap();
    let both = jira
        .plan_update(&bound(), &patch(Some("d")), &known)
        .unwrap();
    let title = jira.plan_update(&bound(), &patch(None), &known).unwrap();
    let comment = jira
        .plan_comment("1", ("body", &emoji), true, MARKER)
        .unwrap();

    for plan in [&create, &both] {
        let text = said(plan, "title").to_string();
        assert!(text.contains("begins with all of it"), "{text}");
        let shown = sent(plan)["fields"]["description"].to_string();
        assert!(shown.contains(long.trim_end()), "{shown}");
    }
    assert!(said(&title, "title").to_string().contains("cut to 255"));
    assert!(sent(&title)["fields"].get("description").is_none());
    assert_eq!(said(&create, "description"), "cut to 32000 characters");
    assert_eq!(said(&comment, "body"), "cut to 32000 characters");
}

#[test]
fn labels_have_no_spaces_and_pose_as_no_marker() {
    assert_eq!(label("needs a look"), "needs-a-look");
    assert_eq!(label("tkt-9b2f1c1e"), "tag-tkt-9b2f1c1e");
}

#[test]
fn the_settings_name_issue_type_and_priority() {
    let settings = json!({
        "category_map": { "bug": "Incident" }, "priority_map": { "high": "P2" },
        "default_issue_type": "Request",
    });
    let jira = connected(Version::V3, &settings, &json!({}));
    let of = |category| {
        let ticket = TicketView {
            category,
            ..ticket()
        };
        let plan = jira
            .plan_create(&ticket, MARKER, &Known::default())
            .unwrap();
        sent(&plan)["fields"].clone()
    };

    let bug = of(TicketCategory::Bug);
    assert_eq!(bug["issuetype"], json!({ "name": "Incident" }));
    assert_eq!(bug["priority"], json!({ "name": "P2" }));
    assert_eq!(bug["labels"], json!([MARKER, "category-bug"]));
    assert_eq!(
        of(TicketCategory::FeatureRequest)["issuetype"],
        json!({ "name": "Story" })
    );
    assert_eq!(
        of(TicketCategory::General)["issuetype"],
        json!({ "name": "Request" })
    );
}

#[test]
fn a_create_does_without_what_was_refused_but_never_without_its_marker() {
    let jira = connected(Version::V3, &json!({}), &json!({}));
    let without = ["priority", "labels", "issuetype"].map(|name| (name.into(), "no".into()));
    let known = Known {
        without: without.into(),
        found: Map::from_iter([(ISSUE_TYPE.to_owned(), "10003".into())]),
        ..Known::default()
    };

    let plan = jira.plan_create(&ticket(), MARKER, &known).unwrap();

    let fields = &sent(&plan)["fields"];
    assert!(fields.get("priority").is_none());
    assert_eq!(fields["labels"][0], MARKER);
    assert_eq!(fields["issuetype"], json!({ "id": "10003" }));
}

#[test]
fn a_refusal_of_what_it_can_do_without_is_worth_another_try() {
    let jira = connected(Version::V3, &json!({}), &json!({}));
    let without = |body: Value| {
        let read = jira.read_created(&answer(400, &body));
        let without = read.unwrap_err().without;
        without.map(|names| names.keys().cloned().collect::<Vec<_>>())
    };

    let priority = json!({ "errorMessages": [], "errors": { "priority": "Not on the screen." } });
    assert_eq!(without(priority), Some(vec!["priority".to_owned()]));
    assert_eq!(
        without(json!({ "errors": { "summary": "Too long.", "priority": "x" } })),
        None
    );
    assert_eq!(
        without(json!({ "errorMessages": ["no"], "errors": { "priority": "x" } })),
        None
    );
    assert_eq!(without(json!({})), None);
}

#[test]
fn an_answer_whose_id_is_no_number_is_of_unknown_outcome() {
    let jira = connected(Version::V3, &json!({}), &json!({}));
    let read = |id: &str| {
        let body = json!({ "id": id, "key": "SUP-1" });
        jira.read_created(&answer(201, &body))
    };

    let made = read("10001").unwrap();
    assert_eq!(made.external_ref["issue_id"], "10001");
    assert_eq!(
        made.external_url.as_deref(),
        Some("https://jira.test/browse/SUP-1")
    );
    assert_eq!(read("../x").unwrap_err().class, ErrorClass::Unknown);
}

#[test]
fn custom_fields_mean_the_same_to_a_create_and_an_update() {
    let mapping = json!({
        "Customer": "customfield_10010", "Steps": "customfield_10011",
        "Region": "customfield_10012",
        "Seats": "customfield_10013", "Products": "customfield_10015", "Team": "labels",
    });
    let jira = connected(Version::V3, &json!({}), &mapping);
    let custom = json!({
        "Customer": "ACME", "Steps": "1. *Turn* it on", "Region": "EU", "Seats": "12",
        "Products": ["Alpha", { "id": "7" }], "Team": ["stolen"], "Colour": "red",
    });
    let custom = custom.as_object().unwrap();
    let textarea = "com.atlassian.jira.plugin.system.customfieldtypes:textarea";
    let schemas = json!({
        "customfield_10010": { "type": "string" },
        "customfield_10011": { "type": "string", "custom": textarea },
        "customfield_10012": { "type": "option" },
        "customfield_10013": { "type": "number" },
        "customfield_10015": { "type": "array", "items": "option" },
    });
    let known = Known {
        found: Map::from_iter([("schemas".to_owned(), schemas)]),
        ..Known::default()
    };
    let created = TicketView {
        custom_fields: custom.clone(),
        ..ticket()
    };
    let patch = TicketPatch {
        custom_fields: Some(custom.clone()),
        ..TicketPatch::default()
    };

    let create = jira.plan_create(&created, MARKER, &known).unwrap();
    let update = jira.plan_update(&bound(), &patch, &known).unwrap();

    for plan in [create, update] {
        let fields = &sent(&plan)["fields"];
        assert_eq!(fields["customfield_10010"], "ACME");
        assert_eq!(fields["customfield_10011"]["type"], "doc");
        assert_eq!(fields["customfield_10012"], json!({ "value": "EU" }));
        assert_eq!(fields["customfield_10013"], 12);
        let products = json!([{ "value": "Alpha" }, { "id": "7" }]);
        assert_eq!(fields["customfield_10015"], products);
        assert!(!fields.to_string().contains("stolen"));
        assert_eq!(plan.left_out["unmapped_custom_fields"], json!(["Colour"]));
        let refused = plan.left_out["refused_custom_fields"]["Team"]
            .as_str()
            .unwrap();
        assert!(refused.contains("customfield_10010"), "{refused}");
    }
}

#[test]
fn an_update_adds_labels_and_takes_away_those_of_other_categories_alone() {
    let jira = connected(Version::V2, &json!({}), &json!({}));
    let patch = TicketPatch {
        category: Some(TicketCategory::Billing),
        tags: Some(vec!["a b".into()]),
        ..TicketPatch::default()
    };

    let body = sent(
        &jira
            .plan_update(&bound(), &patch, &Known::default())
            .unwrap(),
    );

    let labels = body["update"]["labels"].as_array().unwrap();
    assert!(labels.contains(&json!({ "remove": "category-bug" })));
    assert!(labels.contains(&json!({ "add": "category-billing" })));
    assert!(labels.contains(&json!({ "add": "a-b" })));
    assert!(!labels.contains(&json!({ "remove": "category-billing" })));
    assert!(body.get("fields").is_none(), "{body}");
}

#[test]
fn an_update_does_without_what_is_refused_as_long_as_something_is_left() {
    let jira = connected(Version::V3, &json!({}), &json!({}));
    let patch = |title: Option<&str>| TicketPatch {
        title: title.map(str::to_owned),
        priority: Some(Priority::Low),
        tags: Some(vec!["vip".into()]),
        ..TicketPatch::default()
    };
    let refusal = answer(
        400,
        &json!({ "errors": { "priority": "No.", "labels": "No." } }),
    );
    let without = |patch: &TicketPatch| {
        let read = jira.read_updated(&bound(), patch, &Known::default(), &refusal);
        read.unwrap_err().without.map(|names| *names)
    };

    let known = Known {
        without: without(&patch(Some("New"))).unwrap(),
        ..Known::default()
    };
    let plan = jira.plan_update(&bound(), &patch(Some("New")), &known);
    assert_eq!(
        sent(&plan.unwrap()),
        json!({ "fields": { "summary": "New" } })
    );
    assert_eq!(without(&patch(None)), None, "nothing would be changed");
}
