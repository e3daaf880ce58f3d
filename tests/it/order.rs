//! The order of a ticket's commands at the moment in which its turn changes hands, made by hand.

use ticketwire::domain::{CommandId, OrganizationId, TicketId};
use ticketwire::store::{Capacities, NewCommand, Store};
use uuid::Uuid;

use crate::support::{World, wait_for};

fn comment(organization: Uuid, ticket: Uuid) -> NewCommand {
    NewCommand {
        id: CommandId::new(Uuid::now_v7()),
        command_type: "ticket.comment",
        organization_id: OrganizationId::new(organization),
        integration_id: None,
        ticket_id: Some(TicketId::new(ticket)),
        lane: None,
        creates: false,
        digest: vec![0; 32],
        older_digests: Vec::new(),
        data: "{}".into(),
        expires_at: None,
        traceparent: None,
        doubt_since: None,
        tracestate: None,
        parent: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_does_not_pass_one_that_missed_its_turn() {
    let world = World::new().await;
    let store = Store::new(&world.database_url.as_str().into(), 2, "tests").unwrap();
    let (me, ticket) = (Uuid::new_v4(), Uuid::new_v4());
    let capacities = || Capacities {
        lanes: Vec::new(),
        capacities: Vec::new(),
        default: 10,
        total: 10,
        full_organizations: Vec::new(),
    };
    // The first comes while the ticket is not known; the create's settlement, which makes it known,
    // did not see it.
    let first = comment(world.organization, ticket);
    let enqueue = store
        .enqueue(&[&first], &capacities(), me, &[])
        .await
        .unwrap();
    let enqueued = enqueue.enqueued;
    assert!(enqueued[0].waits && !enqueued[0].running);
    let known = "INSERT INTO tickets (id, organization_id, title, description, status, priority, \
                 category, urgency, \
                 source_channel, business_impact, communication_count, escalation_level, \
                 sla_breached, \
                 last_activity_at, \
                 created_at, updated_at, is_deleted) \
                 VALUES ($1, $2, 't', 'd', 'new', 'low', 'general', \
                 'low', 'api', 'low', \
                 0, 0, false, now(), now(), now(), false)";
    world.query(known, &[&ticket, &world.organization]).await;

    let second = comment(world.organization, ticket);
    let enqueue = store
        .enqueue(&[&second], &capacities(), me, &[ticket])
        .await
        .unwrap();
    let enqueued = enqueue.enqueued;
    assert_eq!(enqueue.tickets.unwrap().len(), 1);

    assert!(
        enqueued[0].waits && !enqueued[0].running,
        "it stands behind the first"
    );
    let pairs = [(first.organization_id, TicketId::new(ticket))];
    assert_eq!(store.offer_turns(&pairs).await.unwrap(), 1);
    let turn = "SELECT id FROM commands WHERE turn AND ticket_id = $1";
    let holders = world.query(turn, &[&ticket]).await;
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0].get::<_, Uuid>(0), first.id.uuid());
    assert_eq!(store.offer_turns(&pairs).await.unwrap(), 0, "one at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_two_give_to_one_command_does_not_make_it_due_once_it_runs() {
    let world = World::new().await;
    let store = Store::new(&world.database_url.as_str().into(), 2, "tests").unwrap();
    let (me, ticket) = (Uuid::new_v4(), Uuid::new_v4());
    let first = NewCommand {
        command_type: "ticket.create",
        ..comment(world.organization, ticket)
    };
    let waits = "INSERT INTO commands (id, arrival, type, organization_id, ticket_id, state, \
                 turn, lane, retry_at, digest, \
                 data) VALUES ($1, 1, 'ticket.create', $2, $3, 'pending', false, $4, \
                 now() + interval '1 hour', '', '{}')";
    let id = first.id.uuid();
    world
        .query(waits, &[&id, &world.organization, &ticket, &Uuid::nil()])
        .await;

    // One gives it the turn, and before it has committed, another sets about the same.
    let mut client = world.client().await;
    let transaction = client.transaction().await.unwrap();
    let gives = "UPDATE commands SET turn = true, due_at = now(), retry_at = NULL WHERE id = $1";
    transaction.execute(gives, &[&id]).await.unwrap();
    let pairs = [(first.organization_id, TicketId::new(ticket))];
    let other = tokio::spawn(async move { store.offer_turns(&pairs).await });
    wait_for("the other to meet the first at the row", async || {
        let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock'";
        (world.count(blocked).await == 1).then_some(())
    })
    .await;
    // It runs at once.
    let starts = "UPDATE commands SET state = 'running', owner = $2, fencing_token = 1, \
                  due_at = NULL WHERE id = $1";
    transaction.execute(starts, &[&id, &me]).await.unwrap();
    transaction.commit().await.unwrap();

    assert_eq!(other.await.unwrap().unwrap(), 0);
    let due = "SELECT count(*) FROM commands WHERE due_at IS NOT NULL";
    assert_eq!(world.count(due).await, 0, "it would be taken a second time");
}
