//! The crash matrix: a worker is killed at each step of a command's life, in each situation that a
//! command can be in; the next one brings everything to one effect at the platform and one final
//! outcome.

use serde_json::json;
use uuid::Uuid;

use crate::support::{World, wait_for};

/// What is under way when the worker dies.
#[derive(Clone, Copy, PartialEq)]
enum Situation {
    /// A create that was just published.
    Create,
    /// A comment on a ticket that exists.
    Comment,
    /// Two files for a ticket that exists.
    Attach,
    /// A create that the platform put off, when it is taken again.
    DeferredRetry,
    /// A create that the platform carried out without being able to say so.
    LostAnswer,
}

/// With the delay of a request under way well below `dispatch.settle_after`, as it must be at any
/// real site.
const SEARCH_LAG_MS: u64 = 500;

async fn survives(point: &str, situation: Situation) {
    let world = World::new().await;
    world.configure(json!({ "search_lag_ms": SEARCH_LAG_MS }));
    let mut commands = Vec::new();
    let mut tickets = Vec::new();
    let mut create = async |commands: &mut Vec<Uuid>| {
        let (command, ticket) = world.create("Something broke").await;
        commands.push(command);
        tickets.push(ticket);
        (command, ticket)
    };
    match situation {
        Situation::Create => {
            create(&mut commands).await;
        }
        Situation::Comment => {
            let worker = world.worker().await;
            let (command, ticket) = create(&mut commands).await;
            world.succeeds(command).await;
            assert!(worker.stop().await.success());
            let data = json!({ "ticket_id": ticket, "body": "Seen here too." });
            commands.push(world.publish("ticket.comment", data).await);
        }
        Situation::Attach => {
            let worker = world.worker().await;
            let (command, ticket) = create(&mut commands).await;
            world.succeeds(command).await;
            assert!(worker.stop().await.success());
            let data = json!({ "ticket_id": ticket, "attachments": [
                { "name": "a.txt", "content_base64": "aGVsbG8=" }, { "name": "b.txt",
                    "content_base64": "d29ybGQ=" },
            ] });
            commands.push(world.publish("ticket.attach", data).await);
        }
        Situation::DeferredRetry => {
            let worker = world.worker().await;
            world.fault(
                json!({ "kind": "status", "status": 429, "operation": "create_issue",
                "headers": { "Retry-After": "4" } }),
            );
            let (command, _) = create(&mut commands).await;
            // A refusal by budget spends no attempt, so there is no event.
            world.state(command, "deferred").await;
            assert!(worker.stop().await.success());
        }
        Situation::LostAnswer => {
            let worker = world.worker().await;
            world.fault(json!({ "kind": "reset_after_store", "operation": "create_issue" }));
            // Not to be found before the doomed worker looks.
            world.fault(
                json!({ "kind": "status", "status": 503, "operation": "search", "times": 0 }),
            );
            let (command, _) = create(&mut commands).await;
            let event = world.event(command, "deferred").await;
            assert_eq!(event["data"]["error"]["code"], "outcome_unknown");
            assert!(worker.stop().await.success());
            world.clear_faults();
        }
    }

    let marker = world.marker("died");
    // What is sent for a create whose answer was lost is the look-up.
    let name = match (point, situation) {
        ("before_send", Situation::LostAnswer) => "before_read",
        ("after_send", Situation::LostAnswer) => "after_read",
        (other, _) => other,
    };
    let fail_point = format!("{name}@{}", marker.display());
    if point == "draining" {
        // In the middle of a request.
        world.fault(json!({ "kind": "delay", "delay_ms": 1000, "times": 0 }));
    }
    let mut doomed = world.spawn_worker(&[("TICKETWIRE_FAILPOINT", &fail_point)]);
    if ["after_delivery", "after_enqueue"].contains(&point)
        && matches!(situation, Situation::DeferredRetry | Situation::LostAnswer)
    {
        // These two come by no delivery any more: a neighbour's kills the process under them.
        create(&mut commands).await;
    }
    if point == "draining" {
        world.state(*commands.last().unwrap(), "running").await;
        doomed.signal("TERM");
    }
    let status = doomed.ended().await;
    assert!(!status.success() && marker.exists(), "{status}");
    world.clear_faults();
    let unfinished = "SELECT (SELECT count(*) FROM commands \
                      WHERE finished_at IS NULL) + (SELECT count(*) FROM unsent_events)";
    wait_for("work that the crash left behind", async || {
        let left = world.count(unfinished).await + i64::from(world.waiting_messages().await?);
        (left > 0).then_some(())
    })
    .await;

    let worker = world.worker().await;
    world.close_the_ledger(&commands).await;

    for command in &commands {
        world.succeeds(*command).await;
    }
    let jira = world.jira();
    assert_eq!(jira.issues.len(), tickets.len(), "{:#?}", jira.issues);
    for ticket in &tickets {
        let row = world
            .text(
                "SELECT external_ticket_id FROM tickets WHERE id = $1",
                &[ticket],
            )
            .await;
        assert!(jira.issue(&row.unwrap()).is_some());
    }
    let comments: usize = jira.issues.iter().map(|issue| issue.comments.len()).sum();
    assert_eq!(comments, usize::from(situation == Situation::Comment));
    let files: usize = jira
        .issues
        .iter()
        .map(|issue| issue.attachments.len())
        .sum();
    assert_eq!(files, 2 * usize::from(situation == Situation::Attach));
    assert!(worker.stop().await.success());
}

macro_rules! matrix {
    ($($point:ident),+ $(,)?) => {$(
        mod $point {
            use super::{Situation, survives};

            #[tokio::test(flavor = "multi_thread")]
            async fn with_a_create() {
                survives(stringify!($point), Situation::Create).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn with_a_comment() {
                survives(stringify!($point), Situation::Comment).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn with_files() {
                survives(stringify!($point), Situation::Attach).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn with_a_deferred_retry() {
                survives(stringify!($point), Situation::DeferredRetry).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn with_a_create_whose_answer_was_lost() {
                survives(stringify!($point), Situation::LostAnswer).await;
            }
        }
    )+};
}

matrix!(
    after_delivery,
    after_enqueue,
    before_send,
    after_send,
    after_answer,
    after_settle,
    after_publish,
    draining,
);
