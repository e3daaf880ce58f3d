//! What a command carries that may be a secret, and what is left of it once the command is done.

use serde_json::json;
use uuid::Uuid;

use crate::support::{FileServer, Message, World, command};

#[tokio::test(flavor = "multi_thread")]
async fn signatures_of_files_test_data_and_webhooks_are_not_kept() {
    let world = World::new().await;
    let worker = world.worker().await;
    let files = FileServer::start().await;
    let secret = "n3v3r-k3pt";
    let (create, ticket) = world.create("With files").await;
    world.succeeds(create).await;
    let signed = format!("{}?X-Amz-Signature={secret}", files.url("/a.txt"));
    let ask = async |kind: &str, data: serde_json::Value| {
        let id = Uuid::now_v7();
        let message = Message::of(&command(kind, id, world.organization, &data));
        world.send(&[message]).await;
        world.outcome(id).await;
        world.quiet().await;
        let sql = "SELECT data FROM commands WHERE id = $1";
        world.text(sql, &[&id]).await.unwrap()
    };

    let attached = json!({ "ticket_id": ticket, "attachments": [
        { "name": "a.txt", "url": signed },
        { "name": "b.txt", "content_base64": "bjN2M3ItazNwdA==" },
    ] });
    let kept = ask("ticket.attach", attached).await;
    assert!(kept.contains("/a.txt") && kept.contains("b.txt"), "{kept}");
    assert!(!kept.contains(secret) && !kept.contains("bjN2M3"), "{kept}");
    let path = format!("/a.txt?X-Amz-Signature={secret}");
    assert_eq!(files.fetched(&path), 1);

    let tested = json!({ "integration_id": world.integration, "test_types": ["connection"],
        "test_data": { "password": secret } });
    let kept = ask("integration.test", tested).await;
    assert!(!kept.contains("test_data"), "{kept}");

    let hook = json!({ "integration_id": world.integration, "headers": { "Authorization": secret },
        "body": "e30=", "query": secret, "received_at": "2026-01-31T12:00:00Z" });
    let kept = ask("webhook.received", hook).await;
    // What could not be proved stays for a retry; what may prove it is sealed.
    assert!(kept.contains("$sealed") && !kept.contains(secret), "{kept}");
    drop(worker);
}
