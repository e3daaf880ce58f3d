//! What one organization cannot do to another.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Message, World, command, wait_for};

const FOREIGN_NAME: &str = "Xenia Fremd";
const FOREIGN_MAIL: &str = "xenia@other.test";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_people_are_known_to_an_organizations_platform() {
    let world = World::new().await;
    let worker = world.worker().await;
    // Shows every person of a ticket with name and address.
    let platform = wiremock::MockServer::start().await;
    let ok = wiremock::ResponseTemplate::new(200);
    let any = wiremock::Mock::given(wiremock::matchers::any());
    any.respond_with(ok).mount(&platform).await;
    let hook = world
        .integration_of(json!({
            "name": "Hook", "platform_name": "webhook", "auth_type": "custom",
            "settings": { "url": format!("{}/tickets", platform.uri()) },
            "credentials": { "signing_secret": "whsec_bmV3IHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVz" },
        }))
        .await;
    let other = Uuid::new_v4();
    let foreign = world.user(other, FOREIGN_NAME, FOREIGN_MAIL).await;
    let own = world
        .user(world.organization, "Olga Own", "olga@own.test")
        .await;
    let data = |extra: Value| {
        let mut data = json!({ "title": "t", "description": "d", "integration_id": hook });
        let extra = extra.as_object().unwrap().clone();
        data.as_object_mut().unwrap().extend(extra);
        data
    };

    let (ticket, second) = (Uuid::new_v4(), Uuid::new_v4());
    let both = json!({ "ticket_id": ticket, "created_by_id": foreign, "assigned_to_id": foreign });
    let mut commands = Vec::new();
    for (kind, data) in [
        ("ticket.create", data(both)),
        (
            "ticket.assign",
            json!({ "ticket_id": ticket, "assigned_to_id": foreign }),
        ),
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "title": "u" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "c" }),
        ),
        (
            "ticket.create",
            data(json!({ "ticket_id": second, "created_by_id": own })),
        ),
        (
            "ticket.assign",
            json!({ "ticket_id": second, "assigned_to_id": own }),
        ),
    ] {
        commands.push(world.publish(kind, data).await);
    }
    world.close_the_ledger(&commands).await;
    let got = world
        .ask("ticket.get", json!({ "ticket_id": ticket }))
        .await;
    let dry = {
        let id = Uuid::now_v7();
        let data = data(json!({ "created_by_id": foreign }));
        let mut message = command("ticket.create", id, world.organization, &data);
        message["dryrun"] = true.into();
        world.send(&[Message::of(&message)]).await;
        world.outcome(id).await
    };

    let mut sent = String::new();
    for request in platform.received_requests().await.unwrap() {
        sent.push_str(&String::from_utf8_lossy(&request.body));
    }
    assert!(
        sent.contains("Olga Own") && sent.contains("olga@own.test"),
        "{sent}"
    );
    let shown = format!("{sent} {got} {dry}");
    for secret in [FOREIGN_NAME, FOREIGN_MAIL] {
        assert!(
            !shown.contains(secret),
            "{secret} is shown to another organization: {shown}"
        );
    }
    let events = format!("{:?}", world.events.all());
    assert!(!events.contains(FOREIGN_MAIL) && !events.contains(FOREIGN_NAME));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_id_that_another_organization_has_is_a_conflict_and_nothing_is_sent() {
    let world = World::new().await;
    let worker = world.worker().await;
    for (kind, data) in [
        (
            "ticket.create",
            json!({ "title": "t", "description": "d", "integration_id": world.integration }),
        ),
        (
            "ticket.ai_create",
            json!({ "user_input": "The login page is down.", "integration_id": world.integration }),
        ),
    ] {
        let id = Uuid::now_v7();
        // Whoever knows a command's id beforehand knows the id that its ticket will have.
        let ticket = ticketwire::domain::CommandId::new(id)
            .default_ticket()
            .uuid();
        foreign_ticket(&world, ticket).await;

        let message = command(kind, id, world.organization, &data);
        world.send(&[Message::of(&message)]).await;
        let event = world.outcome(id).await;

        assert!(world.jira().issues.is_empty(), "{kind}: {event:#}");
        assert_eq!(event["data"]["error"]["code"], "conflict", "{event:#}");
        let owner = "SELECT title FROM tickets WHERE id = $1";
        assert_eq!(
            world.text(owner, &[&ticket]).await.as_deref(),
            Some("theirs")
        );
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_id_that_is_taken_while_the_platform_is_asked_is_no_success() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.fault(json!({ "kind": "delay", "delay_ms": 1000, "operation": "create_issue" }));
    let (create, ticket) = world.create("late").await;
    wait_for("the request to be under way", async || {
        (world.jira().count("create_issue").received > 0).then_some(())
    })
    .await;
    foreign_ticket(&world, ticket).await;

    let event = world.fails(create, "conflict").await;

    // What was made is not hidden.
    let made = &event["data"]["result"]["integration_result"]["external_ticket_id"];
    assert_eq!(made, &json!(world.jira().issues[0].key), "{event:#}");
    assert_eq!(event["type"], "ticket.create.failed");
    world.close_the_ledger(&[create]).await;
    let log = worker.log();
    assert!(log.contains("is taken"), "{log}");
    drop(worker);
}

async fn foreign_ticket(world: &World, id: Uuid) {
    let theirs = "INSERT INTO tickets (id, organization_id, title, description, status, \
                  priority, category, urgency, \
                  source_channel, business_impact, communication_count, escalation_level, \
                  sla_breached, \
                  last_activity_at, \
                  created_at, updated_at, is_deleted) VALUES ($1, $2, 'theirs', 'd', 'new', 'low', \
                  'general', 'low', 'api', \
                  'low', 0, 0, false, now(), now(), now(), false)";
    world.query(theirs, &[&id, &Uuid::new_v4()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_ends_although_somebody_has_a_childs_id() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut tickets = Vec::new();
    for number in 0..3 {
        let (create, ticket) = world.create(&format!("t{number}")).await;
        world.succeeds(create).await;
        tickets.push(ticket);
    }
    let bulk = Uuid::now_v7();
    let child = Uuid::new_v5(&bulk, tickets[1].to_string().as_bytes());
    // Of another organization, or of the same: it is not the child.
    let data = json!({ "ticket_id": Uuid::new_v4(), "body": "not yours" });
    let stolen = command("ticket.comment", child, Uuid::new_v4(), &data);
    world.send(&[Message::of(&stolen)]).await;
    world.fails(child, "organization_not_found").await;

    let data = json!({ "ticket_ids": tickets, "updates": { "priority": "critical" } });
    let message = command("ticket.bulk_update", bulk, world.organization, &data);
    world.send(&[Message::of(&message)]).await;
    let event = world.succeeds(bulk).await;

    let result = &event["data"]["result"];
    assert_eq!(result["total"], 3, "{result:#}");
    assert_eq!(result["succeeded"], 2, "{result:#}");
    assert_eq!(result["failed"], 1, "{result:#}");
    assert_eq!(result["success"], false, "{result:#}");
    let failed = &result["tickets"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["outcome"] == "failed")
        .unwrap();
    assert_eq!(failed["ticket_id"], json!(tickets[1]));
    assert_eq!(failed["error"]["code"], "conflict");
    drop(worker);
}

/// An answer without the ids that were asked for.
fn without(event: &Value, ids: &[Uuid]) -> String {
    let error = &event["data"]["error"];
    let mut text = format!("{} {}", event["type"], error);
    for id in ids {
        text = text.replace(&id.to_string(), "ID");
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organizations_integration_is_answered_as_one_that_does_not_exist() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (theirs, ticket) = world.create("Theirs").await;
    world.succeeds(theirs).await;
    // What holds the owner's commands up.
    let open = "INSERT INTO integration_circuits (integration_id, failures, open_until) \
                VALUES ($1, 9, now() + interval '1 hour') ON CONFLICT (integration_id) \
                DO UPDATE SET open_until = excluded.open_until";
    world.query(open, &[&world.integration]).await;
    let stranger = Uuid::new_v4();
    world.user(stranger, "Own", "own@stranger.test").await;
    let nothing = Uuid::new_v4();
    let of = |integration: Uuid| {
        [
            (
                "ticket.create",
                json!({ "title": "t", "description": "d", "integration_id": integration }),
            ),
            (
                "ticket.ai_create",
                json!({ "user_input": "It is down.", "integration_id": integration }),
            ),
            (
                "integration.update",
                json!({ "integration_id": integration, "name": "mine" }),
            ),
            (
                "integration.status",
                json!({ "integration_id": integration, "enabled": false }),
            ),
            (
                "integration.delete",
                json!({ "integration_id": integration }),
            ),
            ("integration.test", json!({ "integration_id": integration })),
            ("integration.sync", json!({ "integration_id": integration })),
            (
                "integration.webhook",
                json!({ "integration_id": integration, "action": "check" }),
            ),
        ]
    };
    for ((kind, foreign), (_, absent)) in of(world.integration).into_iter().zip(of(nothing)) {
        let mut answers = Vec::new();
        let mut lanes = Vec::new();
        for data in [foreign, absent] {
            let id = Uuid::now_v7();
            world
                .send(&[Message::of(&command(kind, id, stranger, &data))])
                .await;
            let event = world.fails(id, "integration_not_found").await;
            answers.push(without(&event, &[id, world.integration, nothing]));
            let lane = "SELECT lane::text FROM commands WHERE id = $1";
            lanes.push(world.text(lane, &[&id]).await.unwrap());
        }
        assert_eq!(answers[0], answers[1], "{kind}");
        // Nothing of theirs is waited for.
        let owner = Uuid::new_v5(&world.integration, b"ticketwire check lane");
        for own in [world.integration, owner] {
            assert!(!lanes.contains(&own.to_string()), "{kind}: {lanes:?}");
        }
    }

    // The ticket of another is waited for as one that may yet come, and then is not there.
    let of = |ticket: Uuid| {
        [
            (
                "ticket.update",
                json!({ "ticket_id": ticket, "title": "mine" }),
            ),
            (
                "ticket.status",
                json!({ "ticket_id": ticket, "status": "open" }),
            ),
            (
                "ticket.assign",
                json!({ "ticket_id": ticket, "assigned_to_id": null }),
            ),
            (
                "ticket.comment",
                json!({ "ticket_id": ticket, "body": "mine" }),
            ),
            ("ticket.delete", json!({ "ticket_id": ticket })),
        ]
    };
    let mut pairs = Vec::new();
    for ((kind, foreign), (_, absent)) in of(ticket).into_iter().zip(of(nothing)) {
        let ids = [Uuid::now_v7(), Uuid::now_v7()];
        let messages = [(ids[0], foreign), (ids[1], absent)]
            .map(|(id, data)| Message::of(&command(kind, id, stranger, &data)));
        world.send(&messages).await;
        pairs.push((kind, ids));
    }
    for (kind, ids) in pairs {
        let mut answers = Vec::new();
        for id in ids {
            wait_for("the half minute to be over", async || {
                let over = "UPDATE commands SET received_at = now() - interval '31 seconds' \
                            WHERE id = $1 AND state = 'pending' RETURNING id";
                let waits = !world.query(over, &[&id]).await.is_empty();
                let done = !world.events_of(id).is_empty();
                (waits || done).then_some(())
            })
            .await;
            let event = world.fails(id, "ticket_not_found").await;
            answers.push(without(&event, &[id, ticket, nothing]));
        }
        assert_eq!(answers[0], answers[1], "{kind}");
    }
    assert_eq!(world.jira().issues.len(), 1);
    drop(worker);
}
