//! Command in, platform called, event out.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_created_ticket_becomes_a_jira_issue_and_a_result_event() {
    let world = World::new().await;
    let worker = world.worker().await;

    let (create, ticket) = world.create("Login page returns 500").await;
    let event = world.succeeds(create).await;

    let jira = world.jira();
    assert_eq!(jira.issues.len(), 1);
    let issue = &jira.issues[0];
    assert_eq!(issue.summary, "Login page returns 500");
    let data = &event["data"];
    assert_eq!(event["type"], "ticket.create.succeeded");
    assert_eq!(event["subject"], ticket.to_string());
    assert_eq!(event["organizationid"], world.organization.to_string());
    assert_eq!(event["correlationid"], create.to_string());
    assert_eq!(data["platform_name"], "jira");
    assert_eq!(data["integration_category"], "ticketing");
    assert_eq!(data["integration_id"], world.integration.to_string());
    assert_eq!((&data["run"], &data["attempt"]), (&json!(1), &json!(1)));
    let result = &data["result"]["integration_result"];
    assert_eq!(result["success"], true);
    assert_eq!(result["external_ticket_id"], issue.key.as_str());
    let url = format!("{}/browse/{}", world.sandbox.url("acme"), issue.key);
    assert_eq!(result["external_ticket_url"], url.as_str());
    let (key, _) = world
        .events
        .all()
        .into_iter()
        .find(|(_, e)| e["id"] == event["id"])
        .unwrap();
    assert_eq!(key, "ticket.create.succeeded.jira");

    let stored = world
        .query(
            "SELECT external_ticket_id, external_ticket_url, integration_id, title FROM tickets \
             WHERE id = $1",
            &[&ticket],
        )
        .await;
    assert_eq!(stored[0].get::<_, String>(0), issue.key);
    assert_eq!(stored[0].get::<_, String>(1), url);
    assert_eq!(stored[0].get::<_, uuid::Uuid>(2), world.integration);
    world.close_the_ledger(&[create]).await;
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_ticket_reaches_jira_in_the_order_of_arrival() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Export hangs").await;

    let update = world
        .publish(
            "ticket.update",
            json!({ "ticket_id": ticket, "title": "Export hangs at 99 %", "priority": "critical" }),
        )
        .await;
    let comment = world
        .publish(
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Looking into it." }),
        )
        .await;
    let assign = world
        .publish(
            "ticket.assign",
            json!({ "ticket_id": ticket, "assigned_to_id": null }),
        )
        .await;
    let status = world
        .publish(
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "resolved",
                "resolution_summary": "Fixed in 2.1" }),
        )
        .await;

    let all = [create, update, comment, assign, status];
    for id in all {
        world.succeeds(id).await;
    }
    let jira = world.jira();
    assert_eq!(jira.issues.len(), 1);
    let issue = &jira.issues[0];
    assert_eq!(issue.summary, "Export hangs at 99 %");
    assert_eq!(issue.status_category, "done");
    let kinds: Vec<&str> = issue
        .history
        .iter()
        .map(|entry| entry.split(' ').next().unwrap_or_default())
        .collect();
    let place = |kind: &str| {
        kinds
            .iter()
            .position(|k| *k == kind)
            .unwrap_or_else(|| panic!("{kind} in {kinds:?}"))
    };
    assert!(
        place("create") < place("update") && place("update") < place("comment"),
        "{kinds:?}"
    );
    assert!(place("comment") < place("transition"), "{kinds:?}");
    let external = &world.events_of(comment)[0]["data"]["result"]["external_comment_id"];
    assert_eq!(external, issue.comments[0].id.as_str());
    let row = world
        .query(
            "SELECT status::text, title FROM tickets WHERE id = $1",
            &[&ticket],
        )
        .await;
    assert_eq!(row[0].get::<_, String>(0), "resolved");
    assert_eq!(row[0].get::<_, String>(1), "Export hangs at 99 %");
    world.close_the_ledger(&all).await;
    drop(worker);
}
