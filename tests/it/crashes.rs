//! The crash matrix: a worker is killed at each step of a command's life, in each situation that a
//! command can be in; the next one brings everything to one effect at the platform and one final
//! outcome.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;
use ticketwire::sandbox::{Fault, FaultKind};
use uuid::Uuid;

use crate::support::{World, output, wait_for};

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

/// `command resolve` settles a doubt and has the command run again, or ends it: who dies in
/// between has done neither, so that the same can be said once more.
#[tokio::test(flavor = "multi_thread")]
async fn who_dies_while_resolving_has_decided_nothing() {
    const DENIED: &[&str] = &["--did-not-happen"];
    const HAPPENED: &[&str] = &["--happened", "SUP-77"];
    let world = World::new().await;
    let worker = world.worker().await;
    // Of the two states that can be resolved: one is looked up again and again …
    world.fault(json!({ "kind": "status", "status": 503, "operation": "search", "times": 0 }));
    let mut doubted = Vec::new();
    for title in ["Denied", "Happened"] {
        world.fault(json!({ "kind": "reset_before_store", "operation": "create_issue" }));
        let (command, _) = world.create(title).await;
        world.event(command, "deferred").await;
        doubted.push(command);
    }
    // … the other has failed, as nothing can be looked up at its platform.
    let site = "slack/resolved";
    let url = format!("{}/services/T0/B0/s3cr3tpath", world.sandbox.url(site));
    let data = json!({ "name": "Hook", "platform_name": "slack", "auth_type": "custom",
        "credentials": { "webhook_url": url } });
    let hook = world.integration_of(data).await;
    let mut failed = Vec::new();
    for title in ["Denied", "Happened"] {
        let never = Fault::new(FaultKind::ResetBeforeStore);
        world.sandbox.inject(site, never).unwrap();
        let (command, _) = world.create_at(hook, title).await;
        world.fails(command, "outcome_unknown").await;
        failed.push(command);
    }
    assert!(worker.stop().await.success());

    let row = "SELECT to_jsonb(c)::text || (SELECT string_agg(to_jsonb(a)::text, '' \
               ORDER BY run, attempt) FROM command_attempts a WHERE a.command_id = c.id) \
               FROM commands c WHERE id = $1";
    for (command, said, points) in [
        (doubted[0], DENIED, &["after_doubt", "before_decided"][..]),
        (failed[0], DENIED, &["after_doubt", "before_decided"]),
        (doubted[1], HAPPENED, &["before_decided"]),
        (failed[1], HAPPENED, &["before_decided"]),
    ] {
        let before = world.text(row, &[&command]).await.unwrap();
        let id = command.to_string();
        let resolve = [&["command", "resolve", id.as_str()], said].concat();
        for point in points {
            let marker = world.marker(&format!("{point}-{id}"));
            let mut environment = world.environment();
            let fail_point = format!("{point}@{}", marker.display());
            environment.insert("TICKETWIRE_FAILPOINT".into(), fail_point);
            let died = output(&environment, &resolve);
            assert_eq!(died.status.signal(), Some(9), "{point} {said:?}: {died:?}");
            let after = world.text(row, &[&command]).await.unwrap();
            assert_eq!(after, before, "{point} {said:?}");
        }
        world.cli(&resolve);
        if said == DENIED {
            // As somebody might who does not trust it: it is under way, or is so once more.
            world.cli(&["command", "retry", &id]);
        }
    }
    world.clear_faults();

    let worker = world.worker().await;
    for command in doubted.iter().chain(&failed) {
        world.event(*command, "succeeded").await;
    }
    world.quiet().await;
    assert_eq!(world.jira().issues.len(), 1, "the denied one, made once");
    assert_eq!(world.sandbox.ledger(site).issues.len(), 1);
    assert!(worker.stop().await.success());
}
