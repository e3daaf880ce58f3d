//! The order of a ticket's commands at the moment in which its turn changes hands, made by hand.

use ticketwire::domain::{CommandId, OrganizationId, TicketId};
use ticketwire::store::{NewCommand, Rooms, Store};
use uuid::Uuid;

use crate::support::World;

fn comment(organization: Uuid, ticket: Uuid) -> NewCommand {
    NewCommand {
        id: CommandId::new(Uuid::now_v7()),
        command_type: "ticket.comment",
        organization_id: OrganizationId::new(organization),
        integration_id: None,
        ticket_id: Some(TicketId::new(ticket)),
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
    let rooms = || Rooms {
        lanes: Vec::new(),
        rooms: Vec::new(),
        default: 10,
        total: 10,
    };
    // The first comes while the ticket is not known; the create's settlement, which makes it known, did not see it.
    let first = comment(world.organization, ticket);
    let claim = store.claim(&[&first], &rooms(), me, &[]).await.unwrap();
    let claimed = claim.claimed;
    assert!(claimed[0].waits && !claimed[0].running);
    let known = "INSERT INTO tickets (id, organization_id, title, description, status, priority, category, urgency, \
         source_channel, business_impact, communication_count, escalation_level, sla_breached, last_activity_at, \
         created_at, updated_at, is_deleted) VALUES ($1, $2, 't', 'd', 'new', 'low', 'general', 'low', 'api', 'low', \
         0, 0, false, now(), now(), now(), false)";
    world.query(known, &[&ticket, &world.organization]).await;

    let second = comment(world.organization, ticket);
    let claim = store
        .claim(&[&second], &rooms(), me, &[ticket])
        .await
        .unwrap();
    let claimed = claim.claimed;
    assert_eq!(claim.tickets.unwrap().len(), 1);

    assert!(
        claimed[0].waits && !claimed[0].running,
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
