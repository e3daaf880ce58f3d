//! A sync is steps: each page is durable, so a run goes on where it was, however it was broken off.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use ticketwire::sandbox::Fault;
use uuid::Uuid;

use crate::support::{SITE, Worker, World, http_json, wait_for, wait_within};
use crate::sync::{known, put, status};

/// Issues that people make on the platform, many at a time.
pub(crate) async fn theirs(world: &World, count: usize) -> Vec<String> {
    let url = format!("{}/rest/api/3/issue", world.sandbox.url(SITE));
    let made = futures_util::stream::iter(0..count).map(|number| {
        let url = url.clone();
        async move {
            let issue = json!({ "fields": { "project": { "key": "SUP" },
                "summary": format!("Theirs {number}"), "issuetype": { "name": "Task" } } });
            let (status, made) = http_json("POST", &url, &issue).await;
            assert_eq!(status, 201);
            made["key"].as_str().unwrap().to_owned()
        }
    });
    made.buffer_unordered(16).collect().await
}

/// Tickets of ours that are bound to these issues, written by another application: the stable id
/// stands where our own rows have it.
pub(crate) async fn bind(world: &World, keys: &[String]) {
    let ledger = world.jira();
    let ids: Vec<String> = keys
        .iter()
        .map(|key| ledger.issue(key).unwrap().id.clone())
        .collect();
    let sql = "INSERT INTO tickets (id, organization_id, title, description, status, priority, \
               category, urgency, source_channel, business_impact, communication_count, \
               escalation_level, sla_breached, last_activity_at, created_at, updated_at, \
               is_deleted, integration_id, external_ticket_id, external_ref) \
               SELECT gen_random_uuid(), $1, 't', 'd', 'new', 'medium', 'general', 'low', 'api', \
               'low', 0, 0, false, now() - interval '1 hour', now() - interval '1 hour', \
               now() - interval '1 hour', false, $2, u.key, \
               jsonb_build_object('issue_id', u.id) \
               FROM unnest($3::text[], $4::text[]) AS u(key, id) RETURNING id";
    let rows = world
        .query(sql, &[&world.organization, &world.integration, &keys, &ids])
        .await;
    assert_eq!(rows.len(), keys.len());
}

pub(crate) async fn sync(world: &World, more: Value) -> Uuid {
    let mut data = json!({ "integration_id": world.integration });
    let more = more.as_object().unwrap().clone();
    data.as_object_mut().unwrap().extend(more);
    world.publish("integration.sync", data).await
}

/// The most memory that a worker has had, in KiB.
fn peak(worker: &Worker) -> u64 {
    let path = format!("/proc/{}/status", worker.pid());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_thousand_items_are_read_once_in_steps_whatever_dies_meanwhile() {
    const ITEMS: usize = 12_000;
    let world = World::new().await;
    theirs(&world, ITEMS).await;
    world.set("TICKETWIRE_STEP_MS", "1500");
    let doomed = |name: &str, after: usize| {
        let marker = world.marker(name);
        let point = format!("sync_page_committed:{after}@{}", marker.display());
        (
            world.spawn_worker(&[("TICKETWIRE_FAILPOINT", &point)]),
            marker,
        )
    };

    let (first, died) = doomed("first", 30);
    let run = sync(&world, json!({ "sync_type": "full" })).await;
    wait_for("the first death", async || died.exists().then_some(())).await;
    let durable = "SELECT pages::bigint FROM integration_sync";
    assert!(world.count(durable).await >= 20, "its pages are durable");
    let row = world.integration_row(world.integration).await;
    assert!(
        row["last_sync_at"].is_null(),
        "the time moves with the last page: {row:#}"
    );
    first.kill();
    let (second, died) = doomed("second", 30);
    wait_for("the second death", async || died.exists().then_some(())).await;
    second.kill();
    let worker = world.worker().await;
    let ready = peak(&worker);
    let event = wait_within(
        Duration::from_secs(180),
        "the end of the sync",
        async || world.events_of(run).into_iter().next(),
    )
    .await;

    let result = &event["data"]["result"];
    assert_eq!(event["data"]["outcome"], "succeeded", "{event:#}");
    assert_eq!(
        event["data"]["attempt"], 1,
        "a step is no attempt: {event:#}"
    );
    assert_eq!(result["counts"]["seen"], ITEMS, "{event:#}");
    assert_eq!(result["counts"]["unknown"], ITEMS, "{event:#}");
    assert_eq!(result["complete"], true, "{event:#}");
    assert_eq!(result["pages"], ITEMS / 100, "{event:#}");
    assert_eq!(result["errors"], json!([]), "{event:#}");
    // A page whose commit was prevented is asked for again, and no other.
    let asked = world.jira().count("search").received;
    assert!((120..=126).contains(&asked), "{asked} pages were asked for");
    let ids = async || {
        let all = world.events.all().into_iter();
        let told = all.filter(|(_, told)| told["type"] == "ticket.external.created");
        let ids: HashSet<String> = told.map(|(_, told)| told["id"].to_string()).collect();
        (ids.len() == ITEMS).then_some(())
    };
    wait_within(Duration::from_secs(120), "each item to be told", ids).await;
    let row = "SELECT count(*) FROM integration_sync \
               WHERE run IS NULL AND page IS NULL AND lease_until IS NULL";
    assert_eq!(world.count(row).await, 1);
    let left = "SELECT count(*) FROM integration_sync_seen";
    assert_eq!(world.count(left).await, 0);
    let moved = "SELECT count(*) FROM integrations i, commands c WHERE c.id = $1 \
                 AND i.last_sync_at BETWEEN c.received_at AND c.finished_at - interval '1 second'";
    let rows = world.query(moved, &[&run]).await;
    assert_eq!(
        rows[0].get::<_, i64>(0),
        1,
        "it is the time of the beginning"
    );
    let more = peak(&worker) - ready;
    println!("{more} KiB above what a worker that is ready has");
    assert!(more < 48 << 10, "{more} KiB more were held");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_come_some_way_rests_where_the_platform_is_down_and_says_so() {
    let world = World::new().await;
    theirs(&world, 250).await;
    let worker = world.worker().await;
    world.fault(
        json!({ "kind": "status", "status": 503, "operation": "search", "skip": 1, "times": 0 }),
    );
    let run = sync(&world, json!({})).await;
    let why = "SELECT format('%s %s', wait_reason, wait_detail) FROM commands \
               WHERE id = $1 AND state = 'deferred'";
    let waits = async || world.text(why, &[&run]).await;
    assert_eq!(wait_for("its rest", waits).await, "sync_goes_on 100");
    let shown = world.cli(&["command", "show", &run.to_string()]);
    assert_eq!(
        shown["command"]["decided_by"], "the sync goes on: 100 items so far",
        "{shown:#}"
    );
    world.clear_faults();
    // Another one that is asked for waits until this one is done.
    let other = sync(&world, json!({ "sync_type": "full" })).await;
    let waits = async || {
        let why = world.text(why, &[&other]).await?;
        why.starts_with("sync_under_way").then_some(())
    };
    wait_for("the other to wait", waits).await;

    let event = world.succeeds(run).await;
    assert_eq!(event["data"]["attempt"], 1, "{event:#}");
    assert_eq!(event["data"]["result"]["counts"]["seen"], 250, "{event:#}");
    let event = world.succeeds(other).await;
    assert_eq!(event["data"]["result"]["sync_type"], "full");
    assert_eq!(event["data"]["result"]["counts"]["seen"], 250, "{event:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_the_platform_has_forgotten_is_reached_from_the_beginning_once() {
    let world = World::new().await;
    theirs(&world, 250).await;
    let worker = world.worker().await;
    let forgotten = Fault::status(400)
        .on("search")
        .containing("nextPageToken")
        .body(json!({ "errorMessages": ["The provided next page token is invalid or expired."] }));
    world.sandbox.inject(SITE, forgotten.clone()).unwrap();

    let run = sync(&world, json!({})).await;
    let event = world.succeeds(run).await;
    let result = &event["data"]["result"];
    assert_eq!(result["counts"]["seen"], 250, "{event:#}");
    assert_eq!(
        (&result["complete"], &result["errors"]),
        (&json!(true), &json!([])),
        "{event:#}"
    );
    // A platform that never takes one is not asked for ever.
    world.sandbox.inject(SITE, forgotten.times(0)).unwrap();
    let full = sync(&world, json!({ "sync_type": "full" })).await;
    world.fails(full, "validation_failed").await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_lie_end_a_run_which_keeps_what_it_has_read() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (ticket, key) = known(&world, "Watched").await;
    theirs(&world, 220).await;
    for (number, (lie, word)) in [
        ("circle", "read before"),
        ("same", "same page"),
        ("stale", "nothing new"),
        ("empty", "empty pages"),
    ]
    .into_iter()
    .enumerate()
    {
        // The one that changed last comes last, or, of a listing without an end, never.
        let (transition, expected) = [("21", "in_progress"), ("31", "resolved")][number % 2];
        put(&world, &key, transition).await;
        world.configure(json!({ "search_lies": lie }));
        let asked = world.jira().count("search").received;

        let run = sync(&world, json!({})).await;
        let event = wait_within(Duration::from_secs(240), "the end of the lie", async || {
            world.events_of(run).into_iter().next()
        })
        .await;

        let result = &event["data"]["result"];
        assert_eq!(event["data"]["outcome"], "succeeded", "{lie}: {event:#}");
        assert_eq!(result["complete"], false, "{lie}: {event:#}");
        assert_eq!(result["errors"][0]["code"], "paging", "{lie}: {event:#}");
        let message = result["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(word), "{lie}: {message}");
        let asked = world.jira().count("search").received - asked;
        assert!(asked <= 104, "{lie}: {asked} pages");
        let row = world.integration_row(world.integration).await;
        assert!(row["last_sync_at"].is_null(), "{lie}: {row:#}");
        if lie == "circle" {
            assert_eq!(status(&world, ticket).await, expected, "{lie}");
        }
    }
    world.configure(json!({ "search_lies": null }));
    let run = sync(&world, json!({})).await;
    let event = world.succeeds(run).await;
    assert_eq!(event["data"]["result"]["complete"], true, "{event:#}");
    assert_eq!(status(&world, ticket).await, "resolved");
    let row = world.integration_row(world.integration).await;
    assert!(row["last_sync_at"].is_string(), "{row:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_is_not_made_on_the_schedule_while_one_is_under_way() {
    let world = World::new().await;
    theirs(&world, 120).await;
    let worker = world.worker().await;
    // Its second page comes late.
    world.fault(json!({ "kind": "delay", "operation": "search", "skip": 1, "delay_ms": 4000 }));
    let run = sync(&world, json!({})).await;
    wait_for("the second page to be asked for", async || {
        (world.jira().count("search").received == 2).then_some(())
    })
    .await;
    let sql = "UPDATE integrations SET sync_enabled = true RETURNING id";
    world.query(sql, &[]).await;
    let due = "INSERT INTO integration_schedule VALUES ($1, 'sync', now()) \
               ON CONFLICT (integration_id, task) DO UPDATE SET due_at = now() RETURNING task";
    world.query(due, &[&world.integration]).await;
    wait_for("the schedule to be looked at", async || {
        let later = "SELECT count(*) FROM integration_schedule WHERE due_at > now()";
        (world.count(later).await == 1).then_some(())
    })
    .await;
    wait_for("what came of it", async || {
        worker
            .log()
            .contains("no sync is made on the schedule")
            .then_some(())
    })
    .await;

    world.succeeds(run).await;
    assert_eq!(world.count("SELECT count(*) FROM commands").await, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_matched_by_indexes_among_two_hundred_thousand_tickets() {
    let world = World::new().await;
    let keys = theirs(&world, 100).await;
    bind(&world, &keys).await;
    let many = "INSERT INTO tickets (id, organization_id, title, description, status, priority, \
                category, urgency, source_channel, business_impact, communication_count, \
                escalation_level, sla_breached, last_activity_at, created_at, updated_at, \
                is_deleted, integration_id, external_ticket_id, external_ref) \
                SELECT gen_random_uuid(), $1, 't', 'd', 'closed', 'medium', 'general', 'low', \
                'api', 'low', 0, 0, false, now(), now(), now() - interval '60 days', false, $2, \
                'OLD-' || n, jsonb_build_object('issue_id', (n + 1000000)::text) \
                FROM generate_series(1, 200000) AS n";
    world
        .query(many, &[&world.organization, &world.integration])
        .await;
    world.query("ANALYZE tickets", &[]).await;
    let worker = world.worker().await;
    let run = sync(&world, json!({})).await;
    let event = world.succeeds(run).await;
    assert_eq!(
        event["data"]["result"]["counts"]["unchanged"], 100,
        "{event:#}"
    );
    let rows = "SELECT count(*) FROM ticket_externals";
    assert_eq!(
        world.count(rows).await,
        200_100,
        "the first run puts all there"
    );

    // The statement as the worker sends it, in a session such as the worker's.
    let ledger = world.jira();
    let stable: Vec<String> = keys
        .iter()
        .map(|key| ledger.issue(key).unwrap().id.clone())
        .collect();
    let url = secrecy::SecretString::from(world.database_url.clone());
    let store = ticketwire::store::Store::new(&url, 1, "explain").unwrap();
    let plan = store
        .explain_bound_tickets(
            ticketwire::domain::IntegrationId::new(world.integration),
            &keys,
            "issue_id",
            &stable,
        )
        .await
        .unwrap();
    println!("{plan}");
    assert!(!plan.contains("Seq Scan on tickets"), "{plan}");
    assert!(!plan.contains("Seq Scan on ticket_externals"), "{plan}");
    assert!(plan.contains("ticket_externals_stable"), "{plan}");
    assert!(plan.contains("ix_tickets_external_ticket_id"), "{plan}");
    let most = plan.split("rows=").skip(1).filter_map(|text| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    assert!(most.max().unwrap_or_default() <= 1_000, "{plan}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_leaves_half_of_the_platform_s_budget_to_others() {
    const GITHUB: &str = "github/acme";
    let world = World::new().await;
    let worker = world.worker().await;
    let integration = world
        .integration_of(json!({
            "name": "GitHub", "platform_name": "github", "auth_type": "bearer",
            "base_url": world.sandbox.url(GITHUB),
            "settings": { "owner": "octo", "repository": "support" },
            "credentials": { "token": "github_pat_s3cr3t" },
        }))
        .await;
    let url = format!("{}/repos/octo/support/issues", world.sandbox.url(GITHUB));
    for number in 0..250 {
        let issue = json!({ "title": format!("Theirs {number}") });
        assert_eq!(http_json("POST", &url, &issue).await.0, 201);
    }
    let resets = chrono::Utc::now().timestamp() + 6;
    for left in ["10", "5"] {
        let told = Fault::delay(Duration::ZERO)
            .on("list_issues")
            .header("x-ratelimit-remaining", left)
            .header("x-ratelimit-reset", &resets.to_string());
        world.sandbox.inject(GITHUB, told).unwrap();
    }

    let data = json!({ "integration_id": integration });
    let run = world.publish("integration.sync", data).await;
    let why = "SELECT format('%s %s', wait_reason, extract(epoch FROM due_at)::bigint) \
               FROM commands WHERE id = $1 AND state = 'deferred'";
    let waits = wait_for("its rest", async || world.text(why, &[&run]).await).await;
    let at: i64 = waits.strip_prefix("sync_budget ").unwrap().parse().unwrap();
    assert!(
        (resets - 2..=resets + 2).contains(&at),
        "{waits} for {resets}"
    );
    let asked = || world.sandbox.ledger(GITHUB).count("list_issues").received;
    assert_eq!(asked(), 2);

    let event = world.succeeds(run).await;
    assert_eq!(event["data"]["attempt"], 1, "{event:#}");
    assert_eq!(event["data"]["result"]["counts"]["seen"], 250, "{event:#}");
    drop(worker);
}
