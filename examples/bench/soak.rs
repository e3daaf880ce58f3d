//! A steady stream for a long time: throughput and latency must stay, and nothing may grow for
//! ever.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use lapin::options::ConfirmSelectOptions;
use ticketwire::broker;
use ticketwire::store::{Client, connect};

use super::sink::Sink;
use super::usage::{self, Usage};
use super::{Error, Stage};

/// How long finished commands are kept, so that an hour shows what a month would.
const RETENTION: &str = "10m";
/// Publishes a second.
const TICKS: u32 = 10;

/// What a minute looks like.
const MINUTE: &str = "SELECT \
                      (SELECT count(*) FROM commands \
                      WHERE finished_at > now() - interval '1 minute'), \
                      (SELECT COALESCE(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch \
                      FROM finished_at - received_at)::float8), 0) FROM commands \
                      WHERE finished_at > now() - interval '1 minute'), \
                      (SELECT COALESCE(percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch \
                      FROM finished_at - received_at)::float8), 0) FROM commands \
                      WHERE finished_at > now() - interval '1 minute'), \
                      (SELECT count(*) FROM commands), (SELECT count(*) FROM unsent_events), \
                      pg_total_relation_size('commands') + \
                      pg_total_relation_size('command_attempts') \
                      + pg_total_relation_size('outbox') + \
                      pg_total_relation_size('outbox_batches'), \
                      (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())";

pub(super) async fn run(stage: &Stage<'_>, sink: &Sink) -> Result<(), Error> {
    let connection = broker::connect_tool(&stage.services.amqp.url, stage.topology).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let (mut worker, listen) =
        stage.start_worker(&[("TICKETWIRE__RETENTION__COMMANDS", RETENTION)])?;
    let (client, _connection) = connect(&stage.database.into(), "ticketwire bench").await?;
    println!(
        "{} commands/s for {} minutes; finished commands are kept for {RETENTION}",
        stage.plan.rate, stage.plan.minutes
    );
    println!(
        "minute  commands/s  p50 ms  p99 ms  worker MiB  ledger rows  ledger MiB  outbox  \
         sessions  statements  bindings  connections  worker CPU %"
    );
    let mut clock = tokio::time::interval(Duration::from_secs(1) / TICKS);
    let share = usize::try_from(stage.plan.rate.div_ceil(TICKS))?;
    let mut published = 0;
    let mut minute = 0;
    let mut began = Instant::now();
    let mut before = Usage::now(worker.0.id());
    while minute < stage.plan.minutes {
        clock.tick().await;
        let numbers: Vec<usize> = (published..published + share).collect();
        super::publish(&channel, stage.topology, &numbers).await?;
        published += share;
        if let Some(status) = worker.0.try_wait()? {
            return Err(format!("the worker ended: {status}").into());
        }
        if began.elapsed() >= Duration::from_secs(60) {
            minute += 1;
            let now = Usage::now(worker.0.id());
            line(
                &client,
                minute,
                worker.0.id(),
                listen,
                stage.topology.prefix(),
                &now.since(&before),
                began.elapsed(),
            )
            .await?;
            before = now;
            began = Instant::now();
        }
    }
    let done = Instant::now();
    loop {
        let metrics = usage::scrape(listen).await.unwrap_or_default();
        let series = "ticketwire_events_published_total{outcome=\"confirmed\"}";
        if usage::value(&metrics, series) >= published as f64 {
            break;
        }
        if done.elapsed() > super::PATIENCE {
            return Err("the last events do not come".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    worker.end()?;
    let row = client
        .query_one(
            "SELECT count(*) FROM tickets WHERE external_ticket_id IS NOT NULL",
            &[],
        )
        .await?;
    let tickets: i64 = row.get(0);
    let requests = usize::try_from(sink.requests())?;
    if usize::try_from(tickets)? != published || requests != published {
        return Err(
            format!("{published} published, {tickets} tickets, {requests} requests").into(),
        );
    }
    println!("the ledger closes: {published} commands, tickets and requests");
    Ok(())
}

async fn line(
    client: &Client,
    minute: u32,
    pid: u32,
    listen: SocketAddr,
    prefix: &str,
    spent: &Usage,
    took: Duration,
) -> Result<(), Error> {
    let row = client.query_one(MINUTE, &[]).await?;
    let milliseconds = |column: usize| row.get::<_, f64>(column) * 1e3;
    let (count, rows, outbox, bytes, sessions): (i64, i64, i64, i64, i64) =
        (row.get(0), row.get(3), row.get(4), row.get(5), row.get(6));
    let metrics = usage::scrape(listen).await.unwrap_or_default();
    let statements = usage::value(&metrics, "ticketwire_database_prepared_statements");
    let bindings = at_the_broker("list_bindings", prefix);
    let connections = at_the_broker("list_connections", "");
    println!(
        "{minute:>6}  {:>10.0}  {:>6.1}  {:>6.1}  {:>10.1}  {rows:>11}  {:>10.1}  {outbox:>6}  \
         {sessions:>8}  {statements:>10}  {bindings:>8}  {connections:>11}  {:>12.1}",
        count as f64 / 60.0,
        milliseconds(1),
        milliseconds(2),
        usage::memory_now_mib(pid),
        bytes as f64 / 1_048_576.0,
        spent.by_process()[0].1 / took.as_secs_f64() * 100.0
    );
    Ok(())
}

/// How many lines of what the broker lists have this word; `-` where this machine has no
/// `rabbitmqctl` for it.
fn at_the_broker(list: &str, word: &str) -> String {
    let listed = Command::new("rabbitmqctl").args(["-q", list]).output();
    match listed {
        Ok(listed) if listed.status.success() => String::from_utf8_lossy(&listed.stdout)
            .lines()
            .skip(1) // the names of the columns
            .filter(|line| line.contains(word))
            .count()
            .to_string(),
        Ok(_) | Err(_) => "-".into(),
    }
}
