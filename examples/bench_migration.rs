//! How long a reader and a writer wait while a legacy database is migrated and rolled back. Fills
//! one (by default 100,000 integrations and 200,000 tickets), and lets four clients read and write
//! one row after the other meanwhile; the longest of their statements is the longest that anybody
//! was held up. `scripts/bench-migration` runs it; its database is its own and is removed.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints figures for people"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ticketwire::config::{Config, Sources};
use ticketwire::store::migrate::{self, Back};
use ticketwire::store::{Client, connect, create_database};
use uuid::Uuid;

type Error = Box<dyn std::error::Error + Send + Sync>;

const SHAPE: &str = include_str!("../tests/it/support/legacy.sql");

/// The clients: what they are called and what they do, to a row of a random id.
const CLIENTS: [(&str, &str, &str); 4] = [
    (
        "reads integrations",
        "integrations",
        "SELECT name, status FROM integrations WHERE id =",
    ),
    (
        "writes integrations",
        "integrations",
        "UPDATE integrations SET total_requests = total_requests + 1 WHERE id =",
    ),
    (
        "reads tickets",
        "tickets",
        "SELECT title, status FROM tickets WHERE id =",
    ),
    (
        "writes tickets",
        "tickets",
        "UPDATE tickets SET communication_count = communication_count + 1 WHERE id =",
    ),
];

fn main() -> ExitCode {
    let done = tokio::runtime::Runtime::new()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(bench()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-migration: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench() -> Result<(), Error> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let integrations = numbers.next().transpose()?.unwrap_or(100_000);
    let tickets = numbers.next().transpose()?.unwrap_or(200_000);
    let config = Config::load(&Sources::of_process(None, Vec::new()))?;
    let url = secrecy::ExposeSecret::expose_secret(&config.database.url).to_owned();
    let (server, _) = url
        .rsplit_once('/')
        .ok_or("database.url names no database")?;
    let name = format!("tw_bench_{}", Uuid::new_v4().simple());
    let own = format!("{server}/{name}");
    create_database(&own.as_str().into()).await?;
    let measured = measure(&own, integrations, tickets).await;
    let (client, _driver) = connect(&format!("{server}/postgres").as_str().into(), "bench").await?;
    client
        .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await?;
    measured
}

async fn measure(url: &str, integrations: u32, tickets: u32) -> Result<(), Error> {
    let (mut client, _driver) = connect(&url.into(), "bench").await?;
    client.batch_execute(SHAPE).await?;
    fill(&client, integrations, tickets).await?;
    println!(
        "{integrations} integrations, {tickets} tickets; the longest statement of each client, \
         in ms\n"
    );
    println!(
        "| | took | {} |",
        CLIENTS.map(|(name, _, _)| name).join(" | ")
    );
    println!("| --- |{}", " --- |".repeat(CLIENTS.len() + 1));
    let back = |to| Back {
        to,
        dry_run: false,
        accept_loss: false,
    };
    beside(url, "nothing", async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    })
    .await?;
    beside(url, "migrate up", async {
        migrate::up(&mut client).await?;
        Ok(())
    })
    .await?;
    for (name, to) in [
        ("rollback --to 2", 2),
        ("rollback --to 1", 1),
        ("rollback --to 0", 0),
    ] {
        beside(url, name, async {
            migrate::rollback(&mut client, back(to)).await?;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Does something while the clients read and write, and tells how long each had to wait at most.
async fn beside(
    url: &str,
    what: &str,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for (_, table, statement) in CLIENTS {
        let (client, _driver) = connect(&url.into(), "bench client").await?;
        let sql = format!("SELECT id FROM {table} ORDER BY id LIMIT 500");
        let rows = client.query(&sql, &[]).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        let over = Arc::clone(&over);
        clients.push(tokio::task::spawn(async move {
            let mut longest = Duration::ZERO;
            for id in ids.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let began = Instant::now();
                // In the simple protocol: a prepared statement would be prepared anew after each
                // change of the table.
                client.batch_execute(&format!("{statement} '{id}'")).await?;
                longest = longest.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok::<_, tokio_postgres::Error>(longest)
        }));
    }
    let began = Instant::now();
    work.await?;
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let mut cells = Vec::new();
    for client in clients {
        cells.push(client.await??.as_millis().to_string());
    }
    println!(
        "| {what} | {:.1} s | {} |",
        took.as_secs_f64(),
        cells.join(" | ")
    );
    Ok(())
}

async fn fill(client: &Client, integrations: u32, tickets: u32) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO organizations (id, name, is_enabled, timezone, plan, created_at, updated_at, is_deleted)
         SELECT gen_random_uuid(), 'Organization ' || n, true, 'UTC', 'basic', now(), now(), false FROM generate_series(1, 100) n;
         INSERT INTO users (id, email, is_active, is_verified, is_admin, role, login_count, failed_login_attempts, timezone,
           language, created_at, updated_at, is_deleted)
         SELECT gen_random_uuid(), 'user' || n || '@example.test', true, true, false, 'USER', '0', '0', 'UTC', 'en', now(),
           now(), false FROM generate_series(1, 100) n;
         INSERT INTO integrations (id, organization_id, name, integration_type, status, auth_type, base_url,
           credentials_encrypted, connection_test_count, total_requests, successful_requests, failed_requests,
           current_hour_requests, default_priority, routing_rules, custom_fields_mapping, sync_enabled,
           sync_frequency_minutes, environment, monitoring_enabled, alert_on_failure, failure_threshold,
           consecutive_failures, auto_disable_on_error, created_at, updated_at, is_deleted)
         SELECT gen_random_uuid(), o.id, 'Integration ' || n, (enum_range(NULL::integrationtype))[1 + n % 15],
           (enum_range(NULL::integrationstatus))[1 + n % 6], 'api_key', 'https://example.test/' || n,
           repeat('Z0FBQUFBQm92YXdB', 22), 0, 0, 0, 0, 0, 100, '{{\"a\": [1, 2, 3]}}', '{{\"severity\": \"customfield_10010\"}}',
           false, 60, 'production', true, true, 5, 0, false, now() - n * interval '1 minute', now(), n % 50 = 0
         FROM generate_series(1, {integrations}) n
         JOIN (SELECT id, row_number() OVER () AS rn FROM organizations) o ON o.rn = 1 + n % 100;
         INSERT INTO tickets (id, organization_id, integration_id, title, description, status, priority, category, urgency,
           created_by_id, external_ticket_id, business_impact, communication_count, escalation_level, sla_breached,
           source_channel, last_activity_at, created_at, updated_at, is_deleted)
         SELECT gen_random_uuid(), i.organization_id, i.id, 'Ticket ' || n, repeat('It hurts. ', 30), 'open', 'medium',
           'general', 'medium', u.id, 'SUP-' || n, 'low', 0, 0, false, 'web', now(), now(), now(), false
         FROM generate_series(1, {tickets}) n
         JOIN (SELECT id, organization_id, row_number() OVER () AS rn FROM integrations) i ON i.rn = 1 + n % {integrations}
         JOIN (SELECT id, row_number() OVER () AS rn FROM users) u ON u.rn = 1 + n % 100;
         ANALYZE"
    );
    Ok(client.batch_execute(&sql).await?)
}
