//! Access tokens: refreshed once for all, without a connection to the database in hand, and again
//! at once when whoever refreshed has died.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ticketwire::domain::IntegrationId;
use ticketwire::sandbox::{Fault, FaultKind};
use ticketwire::store::{Store, StoredTokens};
use uuid::Uuid;

use crate::support::{World, http_get, wait_for};

const OAUTH: &str = "oauth";
/// Sites beside each other, as each lets a refresh token be used once.
const SITES: [&str; 4] = [OAUTH, "oauth-2", "oauth-3", "oauth-4"];

/// An active integration that authenticates by OAuth at a site of its own.
async fn integration(world: &World) -> Uuid {
    integration_at(world, OAUTH).await
}

async fn integration_at(world: &World, site: &str) -> Uuid {
    let site = world.sandbox.url(site);
    let id = world
        .integration_of(json!({
            "name": "OAuth", "platform_name": "jira", "auth_type": "oauth2", "base_url": site,
            "settings": { "project_key": "SUP", "token_url": format!("{site}/oauth/token"),
                "api_url": site },
            "credentials": { "client_id": "c", "client_secret": "s3cr3t-0ne",
                "refresh_token": "r3fr3sh", "cloud_id": "x" },
        }))
        .await;
    // What the test of the integration has fetched is not good any more.
    world
        .query("UPDATE integration_tokens SET expires_at = now()", &[])
        .await;
    id
}

fn fault(world: &World, fault: Value) {
    let fault = serde_json::from_value(fault).unwrap();
    world.sandbox.inject(OAUTH, fault).unwrap();
}

fn asked(world: &World) -> u64 {
    world.sandbox.ledger(OAUTH).count("token").received
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_never_answers_keeps_no_connection_and_nobody_waiting() {
    let world = World::new().await;
    // As many refreshes hang as there are connections, and one more.
    world.set("TICKETWIRE__DATABASE__POOL_SIZE", "3");
    let first = world.worker().await;
    let mut integrations = Vec::new();
    for site in SITES {
        integrations.push(integration_at(&world, site).await);
    }
    assert!(first.stop().await.success());
    // In memory it would still have the tokens.
    let worker = world.worker().await;
    for site in SITES {
        let hang = Fault::new(FaultKind::Hang).on("token").times(0);
        world.sandbox.inject(site, hang).unwrap();
    }
    let asked = || -> u64 {
        let tokens = SITES.map(|site| world.sandbox.ledger(site).count("token").received);
        tokens.iter().sum()
    };
    let before = asked();

    let mut stuck = Vec::new();
    for id in &integrations {
        for _ in 0..4 {
            stuck.push(world.create_at(*id, "stuck").await.0);
        }
    }
    wait_for(
        "refreshes to hang, but for what keeps the last from it",
        async || (asked() >= before + 3).then_some(()),
    )
    .await;
    for number in 0..10 {
        let began = Instant::now();
        let (free, _) = world.create(&format!("free {number}")).await;
        world.succeeds(free).await;
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        let (status, _) = http_get(worker.address, "/health/ready").await.unwrap();
        assert_eq!(status, 200);
    }
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND state LIKE 'idle in transaction%' \
                AND state_change < now() - interval '1 second'";
    assert_eq!(
        world.count(idle).await,
        0,
        "a transaction waits for the platform"
    );

    for site in SITES {
        world.sandbox.clear_faults(site).unwrap();
    }
    world.close_the_ledger(&stuck).await;
    for command in stuck {
        world.succeeds(command).await;
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_for_a_refresh_share_its_failure() {
    let world = World::new().await;
    let first = world.worker().await;
    let id = integration(&world).await;
    assert!(first.stop().await.success());
    let worker = world.worker().await;
    let before = asked(&world);
    fault(
        &world,
        json!({ "kind": "status", "status": 400, "body": { "error": "invalid_grant" },
            "operation": "token",
                "times": 0, "delay_ms": 1000 }),
    );

    let mut commands = Vec::new();
    for _ in 0..10 {
        commands.push(world.create_at(id, "refused").await.0);
    }
    for command in &commands {
        world.fails(*command, "authentication_failed").await;
    }

    let asked = asked(&world) - before;
    assert!(
        (1..=3).contains(&asked),
        "{asked} refreshes for ten commands"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_whose_worker_died_is_made_by_the_next_one_at_once() {
    let world = World::new().await;
    // An attempt may take long here, and so would a lease that nobody gave back.
    let long = [
        ("TICKETWIRE__DISPATCH__REQUEST_TIMEOUT", "30s"),
        ("TICKETWIRE__DISPATCH__ATTEMPT_TIMEOUT", "60s"),
        ("TICKETWIRE__DISPATCH__LEASE", "70s"),
    ];
    let first = world.worker_with(&long).await;
    let id = integration(&world).await;
    assert!(first.stop().await.success());
    let doomed = world.worker_with(&long).await;
    fault(&world, json!({ "kind": "hang", "operation": "token" }));
    let before = asked(&world);
    let (create, _) = world.create_at(id, "after all").await;
    wait_for("the refresh to hang", async || {
        (asked(&world) > before).then_some(())
    })
    .await;
    let leases = "SELECT count(*) FROM integration_token_leases";
    assert_eq!(world.count(leases).await, 1);

    doomed.kill();
    let began = Instant::now();
    let next = world.worker_with(&long).await;

    world.succeeds(create).await;
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(world.count(leases).await, 0);
    drop(next);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_platform_is_by_its_token_is_kept_with_the_token_and_goes_with_it() {
    let world = World::new().await;
    let store = Store::new(&world.database_url.as_str().into(), 2, "tests").unwrap();
    let id = IntegrationId::new(world.integration);
    let (me, lease) = (Uuid::new_v4(), Duration::from_secs(60));
    let tokens = |access: &str, api_base: Option<&str>| StoredTokens {
        access_sealed: access.into(),
        refresh_sealed: Some(format!("refresh of {access}")),
        expires_at: chrono::Utc::now() + chrono::TimeDelta::hours(1),
        api_base: api_base.map(str::to_owned),
    };
    let read = async || {
        let leased = store.lease_tokens(id, me, lease).await.unwrap();
        assert!(leased.held);
        leased.current
    };
    assert!(read().await.is_none());

    let first = tokens("first", Some("https://acme.my.salesforce.com/"));
    assert!(store.store_tokens(id, me, None, &first).await.unwrap());
    let kept = read().await.unwrap();
    assert_eq!(kept.api_base, first.api_base);
    // The next grant may name another place, or none; a refresh token that does not come back
    // stays.
    let second = StoredTokens {
        refresh_sealed: None,
        ..tokens("second", Some("https://emea.my.salesforce.com/"))
    };
    let stored = store.store_tokens(id, me, Some(&kept), &second).await;
    assert!(stored.unwrap());
    let kept = read().await.unwrap();
    assert_eq!(kept.api_base, second.api_base);
    assert_eq!(kept.refresh_sealed.as_deref(), Some("refresh of first"));
    let third = tokens("third", None);
    assert!(
        store
            .store_tokens(id, me, Some(&kept), &third)
            .await
            .unwrap()
    );
    assert_eq!(read().await.unwrap().api_base, None);
    // One who read before another stored changes nothing.
    let late = tokens("late", Some("https://late.example/"));
    assert!(
        !store
            .store_tokens(id, me, Some(&kept), &late)
            .await
            .unwrap()
    );
    assert_eq!(read().await.unwrap().access_sealed, "third");
}
