//! Stored credentials go where they were given for, and nowhere else.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{World, output};

/// The same sandbox under another name: another origin.
fn elsewhere(world: &World, site: &str) -> String {
    world.sandbox.url(site).replace("127.0.0.1", "localhost")
}

fn reached(world: &World, site: &str) -> usize {
    world.sandbox.ledger(site).recent.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_gets_no_stored_credentials_whoever_asks_and_by_whatever_member() {
    let world = World::new().await;
    world.set("TICKETWIRE__EGRESS__ALLOW", r#"["127.0.0.0/8", "::1/128"]"#);
    let worker = world.worker().await;
    let jira = world.integration;
    let hook_site = "webhook/home";
    let hook = world
        .integration_of(json!({
            "name": "Hook", "platform_name": "webhook", "auth_type": "custom",
            "settings": { "url": format!("{}/tickets", world.sandbox.url(hook_site)) },
            "credentials": { "signing_secret": "whsec_bmV3IHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVz" },
        }))
        .await;
    let oauth = json!({ "client_id": "1", "client_secret": "s3cr3t", "refresh_token": "r3fr3sh",
        "cloud_id": "c" });
    let there = elsewhere(&world, "thief");

    let moves: [(Uuid, Value, &str); 5] = [
        (jira, json!({ "base_url": there }), "base_url"),
        (
            jira,
            json!({ "base_url": there, "settings": { "project_key": "SUP" } }),
            "base_url",
        ),
        (
            jira,
            json!({ "settings": { "token_url": there } }),
            "settings.token_url",
        ),
        (
            hook,
            json!({ "settings": { "url": format!("{there}/x") } }),
            "settings.url",
        ),
        (
            hook,
            json!({ "settings": { "url": null }, "base_url": there }),
            "base_url",
        ),
    ];
    for (id, change, field) in moves {
        let before = world.integration_row(id).await;
        let mut data = change.clone();
        data["integration_id"] = json!(id);
        let update = world.publish("integration.update", data).await;
        let event = world.fails(update, "validation_failed").await;
        let fault = event["data"]["error"]["fields"][field].to_string();
        assert!(
            fault.contains("give credentials in the same update"),
            "{event:#}"
        );

        let (name, text) = (id.to_string(), change.to_string());
        let arguments = ["integration", "update", &name, "--data", &text];
        let refused = output(&world.environment(), &arguments);
        let err = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{err}");
        assert!(
            err.contains(field) && err.contains("give credentials"),
            "{err}"
        );

        let test = world
            .publish("integration.test", json!({ "integration_id": id }))
            .await;
        world.succeeds(test).await;
        let after = world.integration_row(id).await;
        assert_eq!(
            (&after["base_url"], &after["settings"]),
            (&before["base_url"], &before["settings"])
        );
    }
    assert_eq!(reached(&world, "thief"), 0);
    assert!(reached(&world, "acme") > 0 && reached(&world, hook_site) > 0);

    // Another path of the same host is the same place, and with new credentials any place is right.
    let path = json!({ "integration_id": jira, "base_url": world.sandbox.url("acme-moved") });
    let update = world.publish("integration.update", path).await;
    world.succeeds(update).await;
    let with_credentials = json!({
        "integration_id": jira, "base_url": there, "credentials": { "email": "a@b.test",
            "api_token": "n3w" },
    });
    let update = world.publish("integration.update", with_credentials).await;
    world.succeeds(update).await;
    let with_credentials = json!({
        "integration_id": jira, "auth_type": "oauth2", "credentials": oauth,
        "settings": { "api_url": there },
    });
    let update = world.publish("integration.update", with_credentials).await;
    world.succeeds(update).await;
    drop(worker);
}
