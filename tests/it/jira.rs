//! What is peculiar to Jira, end to end.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_screen_refuses_is_dropped_and_the_create_sent_once_more() {
    let world = World::new().await;
    world.configure(json!({ "fields_not_on_screen": ["priority"] }));
    let worker = world.worker().await;

    let (create, _) = world.create("No such field").await;
    let event = world.succeeds(create).await;

    let details = &event["data"]["result"]["integration_result"]["details"];
    assert!(
        details["dropped_fields"]["priority"].is_string(),
        "{event:#}"
    );
    assert_eq!(event["data"]["attempt"], 1);
    let jira = world.jira();
    assert_eq!(jira.issues.len(), 1);
    assert_eq!(
        jira.issues[0].priority.as_deref(),
        Some("Medium"),
        "Jira's own default"
    );
    assert_eq!(jira.count("create_issue").received, 2);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_jira_demands_is_named_in_our_words() {
    let world = World::new().await;
    world.configure(json!({ "required_fields": ["customfield_10010"] }));
    let worker = world.worker().await;

    let (create, ticket) = world.create("Incomplete").await;
    let event = world.fails(create, "validation_failed").await;

    let fields = &event["data"]["error"]["fields"];
    assert!(fields["customfield_10010"].is_string(), "{event:#}");
    assert_eq!(event["data"]["error"]["http_status"], 400);
    assert_eq!(
        event["data"]["result"]["integration_result"]["success"],
        false
    );
    // The ticket's row stays, unbound: mended, the create may be sent again.
    let row = world
        .query(
            "SELECT external_ticket_id FROM tickets WHERE id = $1",
            &[&ticket],
        )
        .await;
    assert_eq!(row[0].get::<_, Option<String>>(0), None);
    world.configure(json!({ "required_fields": [] }));
    let data = json!({ "ticket_id": ticket, "title": "Complete", "description": "…", "integration_id": world.integration });
    let again = world.publish("ticket.create", data).await;
    world.succeeds(again).await;
    let (third, _) = (
        world
            .publish(
                "ticket.create",
                json!({ "ticket_id": ticket, "title": "Twice", "description": "…",
        "integration_id": world.integration }),
            )
            .await,
        (),
    );
    world.fails(third, "conflict").await;
    assert_eq!(world.jira().issues.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_refresh_a_rotating_token_once_for_all() {
    let world = World::new().await;
    world.configure(json!({ "access_token_seconds": 3600 }));
    let one = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "one")])
        .await;
    let two = world
        .worker_with(&[("TICKETWIRE__WORKER__ID", "two")])
        .await;
    let site = world.sandbox.url("oauth");
    let id = world
        .integration_of(json!({
            "name": "OAuth", "platform_name": "jira", "auth_type": "oauth2", "base_url": site,
            "settings": { "project_key": "SUP", "token_url": format!("{site}/oauth/token"), "api_url": site },
            "credentials": { "client_id": "c", "client_secret": "s3cr3t", "refresh_token": "r3fr3sh", "cloud_id": "x" },
        }))
        .await;

    let mut commands = Vec::new();
    for _ in 0..30 {
        commands.push(world.create_at(id, "By token").await.0);
    }
    world.close_the_ledger(&commands).await;

    for command in &commands {
        world.succeeds(*command).await;
    }
    let ledger = world.sandbox.ledger("oauth");
    assert_eq!(ledger.issues.len(), 30);
    assert_eq!(
        ledger.count("token").effective,
        1,
        "a refresh token works once"
    );
    let stored = "SELECT string_agg(t::text, ' ') || (SELECT string_agg(i::text, ' ') FROM integrations i) FROM integration_tokens t";
    let stored = world.text(stored, &[]).await.unwrap();
    assert!(
        !stored.contains("s3cr3t") && !stored.contains("sandbox"),
        "{stored}"
    );
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_has_gone_stale_is_renewed_in_the_same_attempt() {
    let world = World::new().await;
    let worker = world.worker().await;
    let site = world.sandbox.url("stale");
    let id = world
        .integration_of(json!({
            "name": "OAuth", "platform_name": "jira", "auth_type": "oauth2", "base_url": site,
            "settings": { "project_key": "SUP", "token_url": format!("{site}/oauth/token"), "api_url": site },
            "credentials": { "client_id": "c", "client_secret": "s3cr3t", "refresh_token": "r3fr3sh", "cloud_id": "x" },
        }))
        .await;
    world
        .sandbox
        .inject(
            "stale",
            serde_json::from_value(
                json!({ "kind": "status", "status": 401, "operation": "create_issue" }),
            )
            .unwrap(),
        )
        .unwrap();

    let (create, _) = world.create_at(id, "Stale").await;
    let event = world.succeeds(create).await;

    assert_eq!(event["data"]["attempt"], 1, "{event:#}");
    assert_eq!(world.sandbox.ledger("stale").count("token").effective, 2);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_center_is_spoken_to_in_its_own_version() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = world
        .integration_of(json!({
            "name": "DC", "platform_name": "jira", "auth_type": "bearer", "base_url": world.sandbox.url("dc"),
            "settings": { "project_key": "SUP" }, "credentials": { "token": "s3cr3t" },
        }))
        .await;

    let (create, ticket) = world.create_at(id, "On our own machines").await;
    world.succeeds(create).await;
    let status = world
        .publish(
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "in_progress" }),
        )
        .await;
    world.succeeds(status).await;

    let ledger = world.sandbox.ledger("dc");
    let paths: Vec<&str> = ledger
        .recent
        .iter()
        .map(|call| call.path.as_str())
        .collect();
    assert!(
        paths.iter().all(|path| path.contains("/rest/api/2/")),
        "{paths:?}"
    );
    assert!(
        ledger.issues[0].description.is_string(),
        "wiki text, not a document"
    );
    assert_eq!(ledger.issues[0].status, "In Progress");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_no_transition_leads_to_says_which_there_are() {
    let world = World::new().await;
    world.configure(json!({ "workflow": "locked" }));
    let worker = world.worker().await;
    let (create, ticket) = world.create("Stuck").await;
    world.succeeds(create).await;

    let data = json!({ "ticket_id": ticket, "status": "closed", "resolution_summary": "Done" });
    let status = world.publish("ticket.status", data).await;
    let event = world.outcome(status).await;

    assert_eq!(event["data"]["outcome"], "failed", "{event:#}");
    let message = event["data"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("transition"), "{message}");
    let row = world
        .query("SELECT status::text FROM tickets WHERE id = $1", &[&ticket])
        .await;
    assert_eq!(
        row[0].get::<_, String>(0),
        "new",
        "what Jira refused did not happen here either"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_fail_the_test_and_keep_the_integration_pending() {
    let world = World::new().await;
    let worker = world.worker().await;
    let data = json!({ "name": "Wrong", "platform_name": "jira", "base_url": world.sandbox.url("wrong"),
        "settings": { "project_key": "SUP" }, "credentials": { "email": "bot@example.test", "api_token": "wrong" } });
    let create = world.publish("integration.create", data).await;
    let made = world.succeeds(create).await;
    let id = made["data"]["result"]["integration_id"].clone();

    let test = world
        .publish("integration.test", json!({ "integration_id": id }))
        .await;
    let tested = world.succeeds(test).await;

    let result = &tested["data"]["result"];
    assert_eq!(
        result["success"], false,
        "a failed test is a succeeded command: {tested:#}"
    );
    let ticket = json!({ "title": "T", "description": "d", "integration_id": id });
    let create = world.publish("ticket.create", ticket).await;
    world.fails(create, "integration_inactive").await;
    drop(worker);
}
