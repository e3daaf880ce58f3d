//! What a platform gives back beyond what our columns hold: it never costs a ticket its row, and
//! nothing is said that is not so.

use serde_json::{Value, json};
use ticketwire::sandbox::Fault;
use uuid::Uuid;

use crate::support::World;

/// A true answer to this operation that says something absurd.
fn absurd(status: u16, operation: &str, body: Value) -> Fault {
    let mut fault = Fault::status(status).on(operation).body(body);
    fault.stored = true;
    fault
}

async fn row(world: &World, ticket: Uuid) -> Value {
    let sql = "SELECT to_jsonb(t)::text FROM tickets t WHERE id = $1";
    let text = world.text(sql, &[&ticket]).await;
    let text = text.unwrap_or_else(|| panic!("ticket {ticket} has no row"));
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_beyond_the_columns_is_left_out_with_a_word_or_looked_up() {
    let world = World::new().await;
    let worker = world.worker().await;
    let hook = world
        .integration_of(json!({
            "name": "Hook", "platform_name": "webhook", "auth_type": "custom",
            "settings": { "url": format!("{}/tickets", world.sandbox.url("webhook/absurd")) },
            "credentials": { "signing_secret": "whsec_bmV3IHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVz" },
        }))
        .await;
    let chat = world
        .integration_of(json!({
            "name": "Chat", "platform_name": "slack", "auth_type": "bearer",
            "settings": { "channel": "C0SUPPORT" },
            "base_url": world.sandbox.url("slack/absurd"), "credentials": { "bot_token": "xoxb-1" },
        }))
        .await;
    let long = |length: usize| format!("https://x.test/{}", "a".repeat(length));

    // Webhook, an id with NUL and an address of 600 characters; Slack, an address of 600.
    let left_out = [
        (
            "webhook/absurd",
            hook,
            absurd(200, "deliver", json!({ "id": "a\0b", "url": long(600) })),
        ),
        (
            "webhook/absurd",
            hook,
            absurd(
                200,
                "deliver",
                json!({ "id": "x".repeat(300), "url": "javascript:x" }),
            ),
        ),
        (
            "slack/absurd",
            chat,
            absurd(
                200,
                "chat.getPermalink",
                json!({ "ok": true, "permalink": long(600) }),
            ),
        ),
    ];
    for (site, integration, fault) in left_out {
        world.sandbox.inject(site, fault).unwrap();
        let (create, ticket) = world.create_at(integration, "Absurd").await;
        let event = world.succeeds(create).await;

        let result = &event["data"]["result"]["integration_result"];
        let said = result["details"]["external_ticket_url"].as_str();
        assert!(
            said.is_some_and(|said| said.starts_with("left out")),
            "{event:#}"
        );
        assert_eq!(result["external_ticket_url"], Value::Null, "{event:#}");
        let row = row(&world, ticket).await;
        assert_eq!(row["external_ticket_id"], result["external_ticket_id"]);
        assert_eq!(row["external_ticket_url"], Value::Null);
        assert_eq!(row["integration_id"], json!(integration));
    }

    // An id that is none says nothing of what was made: it is looked up.
    let looked_up = [
        (
            "slack/absurd",
            chat,
            absurd(
                200,
                "chat.postMessage",
                json!({ "ok": true, "channel": "C0SUPPORT", "ts": "1".repeat(300) }),
            ),
        ),
        (
            "acme",
            world.integration,
            absurd(
                201,
                "create_issue",
                json!({ "id": "10001", "key": "K\0-1", "self": "x" }),
            ),
        ),
        (
            "acme",
            world.integration,
            absurd(
                201,
                "create_issue",
                json!({ "id": "10001", "key": "K".repeat(300), "self": "x" }),
            ),
        ),
    ];
    for (site, integration, fault) in looked_up {
        world.sandbox.inject(site, fault).unwrap();
        let (create, ticket) = world.create_at(integration, "Absurd id").await;
        let event = world.succeeds(create).await;

        let result = &event["data"]["result"]["integration_result"];
        assert_eq!(result["details"]["adopted"], true, "{event:#}");
        let row = row(&world, ticket).await;
        assert_eq!(row["external_ticket_id"], result["external_ticket_id"]);
        let made = world
            .sandbox
            .ledger_of_label(site, &format!("tkt-{ticket}"));
        assert_eq!(made.issues.len(), 1, "made once");
    }

    // A refusal with NUL in it fails as any other, and its row says so.
    let refusal =
        json!({ "errorMessages": ["no \0 way"], "errors": { "sum\0mary": "x\0".repeat(4_000) } });
    world
        .sandbox
        .inject("acme", Fault::status(400).on("create_issue").body(refusal))
        .unwrap();
    let (create, ticket) = world.create("Refused").await;
    let event = world.fails(create, "validation_failed").await;
    assert!(!event.to_string().contains("\\u0000"), "{event:#}");
    assert_eq!(
        row(&world, ticket).await["integration_result"]["success"],
        false
    );
    world.quiet().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_database_refuses_is_kept_as_far_as_it_can_be_and_says_so() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (known, bound) = world.create("Known").await;
    world.succeeds(known).await;
    let client = world.client().await;
    let create = async |title: &str| {
        let ticket = Uuid::new_v4();
        let data = json!({
            "ticket_id": ticket, "title": title, "description": "D",
            "integration_id": world.integration,
            "custom_fields": { "seats": 3 }, "tags": ["vip"],
        });
        let command = world.publish("ticket.create", data).await;
        (world.succeeds(command).await, ticket)
    };

    for (refused, missing, kept) in [
        (
            "external_ticket_url IS NOT NULL",
            "external_ticket_url",
            "custom_fields",
        ),
        (
            "custom_fields IS NOT NULL",
            "custom_fields",
            "external_ticket_id",
        ),
        (
            "external_ticket_id IS NOT NULL",
            "external_ticket_id",
            "title",
        ),
    ] {
        let add =
            format!("ALTER TABLE tickets ADD CONSTRAINT strange CHECK (NOT ({refused})) NOT VALID");
        client.batch_execute(&add).await.unwrap();
        let (event, ticket) = create("Strange").await;
        client
            .batch_execute("ALTER TABLE tickets DROP CONSTRAINT strange")
            .await
            .unwrap();

        let row = row(&world, ticket).await;
        assert_eq!(row[missing], Value::Null, "{row:#}");
        assert_ne!(row[kept], Value::Null, "{row:#}");
        assert_eq!(row["integration_id"], json!(world.integration));
        let told = &event["data"]["result"]["integration_result"];
        let said = told["details"]["left_out"].as_str().unwrap_or_default();
        assert!(said.contains(missing), "{event:#}");
        for column in ["external_ticket_id", "external_ticket_url"] {
            assert_eq!(
                told[column], row[column],
                "the event says what the row has: {event:#}"
            );
        }
        assert_eq!(row["integration_result"], *told);
    }

    // Nothing of the row can be written: what the platform did is said, what was ours alone has
    // failed.
    let never = "ALTER TABLE tickets ADD CONSTRAINT strange CHECK (title <> 'Never') NOT VALID";
    client.batch_execute(never).await.unwrap();
    let (event, _) = create("Never").await;
    let said = event["data"]["result"]["integration_result"]["details"]["left_out"].to_string();
    assert!(said.contains("refused the ticket's row"), "{event:#}");
    let data = json!({ "ticket_id": bound, "title": "Never" });
    let update = world.publish("ticket.update", data).await;
    let event = world.succeeds(update).await;
    let said = event["data"]["result"]["integration_result"]["details"]["left_out"].to_string();
    assert!(said.contains("does not show this change"), "{event:#}");
    let data = json!({ "title": "Never", "description": "D", "create_externally": false });
    let local = world.publish("ticket.create", data).await;
    let event = world.fails(local, "internal").await;
    assert_eq!(event["type"], "ticket.create.failed");
    world.state(local, "failed").await;
    assert_eq!(row(&world, bound).await["title"], "Known");
    world.quiet().await;
    drop(worker);
}
