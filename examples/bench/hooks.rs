//! What comes back: deliveries of webhooks as fast as they are taken, from the request to the
//! ticket's row.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::json;
use ticketwire::platforms::inbound::signed_hex;
use ticketwire::store::connect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::usage::{self, Usage};
use super::{Error, PATIENCE, Stage, seed};

/// What the sites sign with.
pub(crate) const SECRET: &str = "the secret of the bench's webhooks";
/// Connections of the platforms.
const CONNECTIONS: usize = 32;
/// Tickets of each integration.
const TICKETS: usize = 200;

pub(super) async fn run(stage: &Stage<'_>, deliveries: usize) -> Result<(), Error> {
    tickets(stage.database).await?;
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (mut worker, metrics) = stage.start_worker(&[
        ("TICKETWIRE__HTTP__WEBHOOK_LISTEN", &listen.to_string()),
        ("TICKETWIRE__HTTP__WEBHOOK_RATE", "100000"),
    ])?;
    until_taken(listen).await?;
    let before = Usage::now(worker.0.id());
    let began = Instant::now();
    let mut answers = deliver(listen, deliveries).await?;
    let answered = began.elapsed();
    let (client, _connection) = connect(&stage.database.into(), "ticketwire bench").await?;
    let wanted = i64::try_from(deliveries)?;
    let done = "SELECT count(*) FROM commands WHERE type = 'webhook.received' \
                AND state = 'succeeded'";
    loop {
        let count: i64 = client.query_one(done, &[]).await?.get(0);
        if count >= wanted {
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("only {count} of {wanted} after {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    let spent = Usage::now(worker.0.id()).since(&before);
    answers.sort_unstable();
    let at = |percent: usize| {
        let place = answers.len() * percent / 100;
        let answer = answers.get(place).or(answers.last());
        answer.map_or(0.0, |answer| answer.as_secs_f64() * 1e3)
    };
    println!(
        "{:.0} webhooks/s taken and carried out: {deliveries} in {:.2} s, {} integrations with \
         {TICKETS} tickets each",
        deliveries as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        seed::count()
    );
    println!(
        "  answered    {:>6.0}/s, p50 {:.1} ms, p99 {:.1} ms, over {CONNECTIONS} connections",
        deliveries as f64 / answered.as_secs_f64(),
        at(50),
        at(99)
    );
    let text = usage::scrape(metrics).await?;
    let of = |what: &str, part: &str| {
        let series = format!("ticketwire_batch_{what}_{part}{{step=\"inbound\"}}");
        usage::value(&text, &series)
    };
    let batches = of("rows", "count").max(1.0);
    println!(
        "  inbound  {batches:>7.0} batches, {:>5.0} deliveries and {:>6.2} ms each",
        of("rows", "sum") / batches,
        of("duration_seconds", "sum") / batches * 1e3
    );
    println!("  CPU per delivery, µs:");
    for (name, seconds) in spent.by_process() {
        println!("    {name:<12} {:>6.0}", seconds / deliveries as f64 * 1e6);
    }
    let peak = usage::peak_memory_mib(worker.0.id());
    println!("  peak memory of the worker  {peak:.0} MiB");
    let fates = "SELECT string_agg(verdict || ' ' || n, ', ' ORDER BY n DESC) FROM \
                 (SELECT verdict, count(*) AS n FROM inbound_changes GROUP BY verdict) v";
    let fates: Option<String> = client.query_one(fates, &[]).await?.get(0);
    println!("  what became of them: {}", fates.unwrap_or_default());
    worker.end()
}

/// Tickets that are bound to the sites' issues.
async fn tickets(database: &str) -> Result<(), Error> {
    let (client, _connection) = connect(&database.into(), "ticketwire bench").await?;
    for number in 0..seed::count() {
        let (organization, integration) = seed::ids(number);
        let sql = "INSERT INTO tickets (id, organization_id, title, description, status, \
                   priority, category, urgency, integration_id, external_ticket_id, \
                   external_ref, source_channel, business_impact, communication_count, \
                   escalation_level, sla_breached, last_activity_at, created_at, updated_at, \
                   is_deleted) \
                   SELECT gen_random_uuid(), $1, 'Checkout fails', 'For order ' || n, 'new', \
                   'medium', 'general', 'medium', $2, 'SUP-' || n, \
                   jsonb_build_object('issue_id', (10000 + n)::text), 'api', 'low', 0, 0, false, \
                   now(), now(), now() - interval '1 day', false \
                   FROM generate_series(1, $3::bigint) n";
        let count = i64::try_from(TICKETS)?;
        client
            .execute(sql, &[&organization, &integration, &count])
            .await?;
    }
    client.batch_execute("VACUUM ANALYZE tickets").await?;
    Ok(())
}

/// Waits until the listener knows the integrations.
async fn until_taken(listen: SocketAddr) -> Result<(), Error> {
    let (_, integration) = seed::ids(0);
    let head = format!("HEAD /webhooks/{integration} HTTP/1.1\r\nHost: b\r\n");
    let head = head + "Connection: close\r\n\r\n";
    let began = Instant::now();
    loop {
        if let Ok(mut stream) = TcpStream::connect(listen).await {
            stream.write_all(head.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            if answer.starts_with("HTTP/1.1 200") {
                return Ok(());
            }
        }
        if began.elapsed() > Duration::from_secs(30) {
            return Err("the listener did not begin".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends all of them; the times of their answers.
async fn deliver(listen: SocketAddr, count: usize) -> Result<Vec<Duration>, Error> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut platforms = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let next = Arc::clone(&next);
        platforms.spawn(async move {
            let mut stream = TcpStream::connect(listen).await?;
            let mut answers = Vec::new();
            let mut buffer = vec![0u8; 4096];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, Error>(answers);
                }
                let request = delivery(number)?;
                let began = Instant::now();
                stream.write_all(request.as_bytes()).await?;
                let read = stream.read(&mut buffer).await?;
                answers.push(began.elapsed());
                if !buffer[..read].starts_with(b"HTTP/1.1 200") {
                    let answer = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    return Err(format!("it was not taken: {answer}").into());
                }
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(done) = platforms.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

/// A delivery as Jira sends it: an issue moves to and fro, a second later each time.
fn delivery(number: usize) -> Result<String, Error> {
    let (_, integration) = seed::ids(number);
    let of_integration = number / seed::count();
    let (issue, round) = (of_integration % TICKETS + 1, of_integration / TICKETS);
    let at = Utc::now() + TimeDelta::seconds(i64::try_from(round)?);
    let (status, class) = if round.is_multiple_of(2) {
        ("In Progress", "indeterminate")
    } else {
        ("To Do", "new")
    };
    let body = json!({
        "timestamp": at.timestamp_millis(), "webhookEvent": "jira:issue_updated",
        "user": { "accountId": "99:27", "displayName": "Jane" },
        "issue": { "id": (10_000 + issue).to_string(), "key": format!("SUP-{issue}"), "fields": {
            "summary": "Checkout fails", "labels": [], "assignee": null,
            "description": "For order ".to_owned() + &issue.to_string(),
            "status": { "name": status, "statusCategory": { "key": class } },
            "priority": { "name": "Medium" },
            "updated": at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string(),
        } },
        "changelog": { "id": number.to_string(), "items": [{ "field": "status",
            "fromString": "?", "toString": status }] },
    })
    .to_string();
    let signature = signed_hex(SECRET, body.as_bytes());
    let mut request = format!("POST /webhooks/{integration} HTTP/1.1\r\nHost: bench\r\n");
    write!(
        request,
        "Content-Type: application/json\r\nContent-Length: {}\r\n\
         X-Hub-Signature: sha256={signature}\r\nX-Atlassian-Webhook-Identifier: {}\r\n\r\n{body}",
        body.len(),
        Uuid::now_v7()
    )?;
    Ok(request)
}
