//! Measures the main job on this machine: N `ticket.create` commands wait in RabbitMQ, a worker is
//! started, and the time runs from the first request at the platform to the last confirmed event.
//! Everything is real but the platform, which is a socket that answers 201. Prints throughput,
//! batch sizes, CPU by process and peak memory.
//!
//! With `--minutes` it is a soak instead: a steady stream, and a line a minute of what must not
//! grow.
//!
//! `scripts/bench` builds and runs it; its database and prefix are its own and are removed.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "it prints figures for people"
)]

mod delay;
mod hooks;
mod seed;
mod sink;
mod soak;
mod usage;

use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel};
use serde_json::json;
use ticketwire::broker::{self, Topology};
use ticketwire::config::{Config, Sources};
use ticketwire::store::{connect, create_database, migrate};
use uuid::Uuid;

use usage::Usage;

/// Publishes in flight while the queue is filled.
const PUBLISH_BATCH: usize = 500;
/// Longest a run may take.
const PATIENCE: Duration = Duration::from_secs(600);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What is measured.
struct Plan {
    commands: usize,
    latency: Duration,
    in_flight: usize,
    program: String,
    /// Finished commands that stand in the ledger beforehand.
    history: i64,
    /// What one integration in ten suffers from.
    sickness: Option<sink::Sickness>,
    /// What every round trip to broker and database takes longer.
    round_trip: Duration,
    /// Workers that share the work.
    workers: usize,
    /// Commands a second of a soak, and its length.
    rate: u32,
    minutes: u32,
    /// Deliveries of webhooks; 0: commands are measured.
    webhooks: usize,
}

fn main() -> ExitCode {
    let done = tokio::runtime::Runtime::new()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(bench()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Plan {
    fn of_arguments() -> Result<Self, Error> {
        let mut plan = Self {
            commands: 20_000,
            latency: Duration::ZERO,
            in_flight: 16,
            program: "target/release/ticketwire".into(),
            history: 0,
            sickness: None,
            round_trip: Duration::ZERO,
            workers: 1,
            rate: 200,
            minutes: 0,
            webhooks: 0,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--commands" => plan.commands = value.parse()?,
                "--latency-ms" => plan.latency = Duration::from_millis(value.parse()?),
                "--in-flight" => plan.in_flight = value.parse()?,
                "--program" => plan.program = value,
                "--history" => plan.history = value.parse()?,
                "--sick" => plan.sickness = Some(value.parse()?),
                "--round-trip-ms" => plan.round_trip = Duration::from_millis(value.parse()?),
                "--workers" => plan.workers = value.parse()?,
                "--integrations" => seed::choose(value.parse()?)?,
                "--rate" => plan.rate = value.parse()?,
                "--minutes" => plan.minutes = value.parse()?,
                "--webhooks" => plan.webhooks = value.parse()?,
                other => {
                    let known = "--commands, --latency-ms, --in-flight, --program, --history, \
                                 --sick, --integrations, --round-trip-ms, --workers, --rate, \
                                 --minutes, --webhooks";
                    return Err(format!("{other} is none of {known}").into());
                }
            }
        }
        Ok(plan)
    }
}

async fn bench() -> Result<(), Error> {
    let plan = Plan::of_arguments()?;
    let services = Config::load(&Sources::of_process(None, Vec::new()))?;
    let name = format!("ticketwire_bench_{}", std::process::id());
    let server = secrecy::ExposeSecret::expose_secret(&services.database.url).to_owned();
    let (server, _) = server
        .rsplit_once('/')
        .ok_or("database.url has no database")?;
    let database = format!("{server}/{name}");
    create_database(&database.as_str().into()).await?;
    let (mut client, connection) = connect(&database.as_str().into(), "ticketwire bench").await?;
    migrate::up(&mut client).await?;
    drop(client);
    connection.await?;

    let measured = measure(&plan, &services, &database, &name).await;

    let connection = broker::connect_tool(&services.amqp.url, &Topology::new(&name)).await?;
    broker::remove_prefix(&connection, &Topology::new(&name)).await?;
    let (client, _connection) =
        connect(&format!("{server}/postgres").into(), "ticketwire bench").await?;
    client
        .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await?;
    measured
}

async fn measure(
    plan: &Plan,
    services: &Config,
    database: &str,
    prefix: &str,
) -> Result<(), Error> {
    let sink = sink::start(plan.latency, plan.sickness).await?;
    let key = ticketwire::secrets::generate("bench");
    let base_url = format!("http://{}", sink.address);
    seed::integrations(database, &key, &base_url, plan).await?;
    seed::history(database, plan.history).await?;
    let topology = Topology::new(prefix);
    let amqp = secrecy::ExposeSecret::expose_secret(&services.amqp.url).to_owned();
    let stage = Stage {
        plan,
        services,
        worker_database: later(database, plan.round_trip).await?,
        worker_amqp: later(&amqp, plan.round_trip).await?,
        database,
        topology: &topology,
        key: &key,
    };
    if plan.webhooks > 0 {
        return hooks::run(&stage, plan.webhooks).await;
    }
    if plan.minutes > 0 {
        return soak::run(&stage, &sink).await;
    }
    let filling = Instant::now();
    fill(&services.amqp.url, &topology, plan.commands).await?;
    println!(
        "{} commands wait in {prefix}.tickets (published in {:.1?})",
        plan.commands,
        filling.elapsed()
    );

    let started = Instant::now();
    let (mut worker, listen) = stage.start_worker(&[])?;
    let mut others = Vec::new();
    for _ in 1..plan.workers {
        others.push(stage.start_worker(&[])?);
    }
    let (first, before) = loop {
        if let Some(first) = sink.first() {
            break (first, Usage::now(worker.0.id()));
        }
        if let Some(status) = worker.0.try_wait()? {
            return Err(format!("the worker ended: {status}").into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    if plan.sickness.is_some() {
        return healthy(plan, database, worker).await;
    }
    let metrics = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        // A scrape costs the worker time: none is taken before it can be the last.
        if (sink.requests() as f64) < plan.commands as f64 && first.elapsed() < PATIENCE {
            continue;
        }
        let series = "ticketwire_events_published_total{outcome=\"confirmed\"}";
        let metrics = usage::scrape(listen).await.unwrap_or_default();
        let mut confirmed = usage::value(&metrics, series);
        for (_, listen) in &others {
            let metrics = usage::scrape(*listen).await.unwrap_or_default();
            confirmed += usage::value(&metrics, series);
        }
        if confirmed >= plan.commands as f64 {
            break metrics;
        }
        if first.elapsed() > PATIENCE {
            return Err(format!("only {confirmed} events after {PATIENCE:?}").into());
        }
    };
    let took = first.elapsed();
    let spent = Usage::now(worker.0.id()).since(&before);
    report(plan, &metrics, took, first - started, &spent);
    let peak = usage::peak_memory_mib(worker.0.id());
    println!("  peak memory of the worker  {peak:.0} MiB");
    worker.end()?;
    for (other, _) in &mut others {
        other.end()?;
    }
    check(plan, database, sink.requests()).await
}

/// A URL whose host is reached by a detour that takes so long; the same where it takes no time.
async fn later(url: &str, round_trip: Duration) -> Result<String, Error> {
    if round_trip.is_zero() {
        return Ok(url.to_owned());
    }
    let mut parsed = url::Url::parse(url)?;
    let port = if parsed.scheme().starts_with("amqp") {
        5672
    } else {
        5432
    };
    let target = format!(
        "{}:{}",
        parsed.host_str().ok_or("a URL without a host")?,
        parsed.port().unwrap_or(port)
    );
    let detour = delay::before(target, round_trip).await?;
    parsed.set_ip_host(detour.ip()).map_err(|()| "no IP host")?;
    parsed
        .set_port(Some(detour.port()))
        .map_err(|()| "no port")?;
    Ok(parsed.into())
}

/// What a measurement stands on.
struct Stage<'a> {
    plan: &'a Plan,
    services: &'a Config,
    database: &'a str,
    /// As the worker reaches them.
    worker_database: String,
    worker_amqp: String,
    topology: &'a Topology,
    key: &'a str,
}

impl Stage<'_> {
    /// A worker, and where its metrics are.
    fn start_worker(&self, settings: &[(&str, &str)]) -> Result<(Stopped, SocketAddr), Error> {
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let worker = Command::new(&self.plan.program)
            .arg("run")
            .env("DATABASE_URL", &self.worker_database)
            .env("AMQP_URL", &self.worker_amqp)
            .env("TICKETWIRE__AMQP__PREFIX", self.topology.prefix())
            .env("TICKETWIRE__SECRETS__KEYS", json!([self.key]).to_string())
            .env("TICKETWIRE__EGRESS__ALLOW", r#"["127.0.0.0/8"]"#)
            .env("TICKETWIRE__EGRESS__ALLOW_HTTP", "true")
            .env("TICKETWIRE__HTTP__LISTEN", listen.to_string())
            .env("TICKETWIRE__HTTP__WEBHOOK_LISTEN", "")
            .env(
                "TICKETWIRE__DISPATCH__MAX_IN_FLIGHT_PER_INTEGRATION",
                self.plan.in_flight.to_string(),
            )
            .env("TICKETWIRE__LOG__FILTER", "warn")
            // The sink counts requests, and a check of an integration's health is two.
            .env("TICKETWIRE__HEALTH__INTERVAL", "")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok((Stopped(worker), listen))
    }
}

/// Fills the queue, confirms pipelined.
async fn fill(url: &secrecy::SecretString, topology: &Topology, count: usize) -> Result<(), Error> {
    let connection = broker::connect_tool(url, topology).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let numbers: Vec<usize> = (0..count).collect();
    for part in numbers.chunks(PUBLISH_BATCH) {
        publish(&channel, topology, part).await?;
    }
    Ok(())
}

/// Publishes the commands with these numbers and waits for their confirms.
async fn publish(channel: &Channel, topology: &Topology, numbers: &[usize]) -> Result<(), Error> {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/cloudevents+json".into());
    let mut confirms = Vec::with_capacity(numbers.len());
    for number in numbers {
        let (organization, integration) = seed::ids(*number);
        let body = json!({
            "specversion": "1.0", "id": Uuid::now_v7(), "source": "/bench", "type": "ticket.create",
            "organizationid": organization,
            "data": {
                "title": format!("Checkout fails for order {number}"), "priority": "high",
                "category": "bug",
                "description": "Customer reports that checkout fails with a gateway time-out \
                                when paying by card. ".repeat(4),
                "integration_id": integration,
            },
        });
        let body = body.to_string();
        let sent = channel.basic_publish(
            topology.commands().into(),
            "ticket.create".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties.clone(),
        );
        confirms.push(sent.await?);
    }
    for confirm in join_all(confirms).await {
        confirm?;
    }
    Ok(())
}

/// How fast the healthy integrations get on beside the sick ones.
async fn healthy(plan: &Plan, database: &str, mut worker: Stopped) -> Result<(), Error> {
    let (client, _connection) = connect(&database.into(), "ticketwire bench").await?;
    let sick: Vec<Uuid> = seed::sick().collect();
    let wanted = (0..plan.commands)
        .filter(|number| !sick.contains(&seed::ids(*number).1))
        .count();
    let done = "SELECT count(*), COALESCE(extract(epoch \
                FROM max(finished_at) - min(started_at)), 0)::float8 \
                FROM commands WHERE state = 'succeeded' AND integration_id <> ALL($1)";
    let began = Instant::now();
    loop {
        let row = client.query_one(done, &[&sick]).await?;
        let (count, seconds): (i64, f64) = (row.get(0), row.get(1));
        if usize::try_from(count)? == wanted {
            println!(
                "{:.0} commands/s of the healthy integrations: {wanted} in {seconds:.2} s, \
                 beside {} sick of {}",
                wanted as f64 / seconds,
                sick.len(),
                seed::count()
            );
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("only {count} of {wanted} after {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What is sick is not waited for.
    worker.0.kill()?;
    worker.0.wait()?;
    Ok(())
}

fn report(plan: &Plan, metrics: &str, took: Duration, start_up: Duration, spent: &Usage) {
    let count = plan.commands as f64;
    println!(
        "{:.0} commands/s: {} in {:.2} s, platform latency {} ms, {} integrations with {} \
         places each",
        count / took.as_secs_f64(),
        plan.commands,
        took.as_secs_f64(),
        plan.latency.as_millis(),
        seed::count(),
        plan.in_flight,
    );
    println!(
        "  start to first request     {:.0} ms",
        start_up.as_secs_f64() * 1e3
    );
    for step in ["enqueue", "settle", "publish"] {
        let of = |what: &str, part: &str| {
            let series = format!("ticketwire_batch_{what}_{part}{{step=\"{step}\"}}");
            usage::value(metrics, &series)
        };
        let (rows, batches) = (of("rows", "sum"), of("rows", "count").max(1.0));
        let seconds = of("duration_seconds", "sum");
        println!(
            "  {step:<8} {batches:>7.0} batches, {:>5.0} rows and {:>6.2} ms each, {:>4.0} µs a \
             row",
            rows / batches,
            seconds / batches * 1e3,
            seconds / rows.max(1.0) * 1e6
        );
    }
    let of = |part: &str| {
        let series =
            format!("ticketwire_attempt_duration_seconds_{part}{{platform_name=\"jira\"}}");
        usage::value(metrics, &series)
    };
    println!(
        "  platform {:>7.0} attempts, {:>6.2} ms each from start to outcome",
        of("count"),
        of("sum") / of("count").max(1.0) * 1e3
    );
    println!("  CPU per command, µs:");
    for (name, seconds) in spent.by_process() {
        println!("    {name:<12} {:>6.0}", seconds / count * 1e6);
    }
}

/// Nothing lost, nothing doubled: else the figures mean nothing.
async fn check(plan: &Plan, database: &str, requests: u64) -> Result<(), Error> {
    let (client, _connection) = connect(&database.into(), "ticketwire bench").await?;
    let counts = "SELECT (SELECT count(*) FROM commands WHERE state = 'succeeded' \
                  AND type <> 'history'), \
                  (SELECT count(*) FROM tickets), \
                  (SELECT count(*) FROM unsent_events)";
    let row = client.query_one(counts, &[]).await?;
    let found: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let wanted = i64::try_from(plan.commands)?;
    if found != (wanted, wanted, 0) || requests != u64::try_from(plan.commands)? {
        return Err(format!("the ledger does not close: {found:?}, {requests} requests").into());
    }
    println!("  the ledger closes: {wanted} commands, tickets and requests, nothing unsent");
    Ok(())
}

/// A worker that does not outlive the measurement.
struct Stopped(Child);

impl Stopped {
    fn end(&mut self) -> Result<(), Error> {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status()?;
        let status = self.0.wait()?;
        if asked.success() && status.success() {
            Ok(())
        } else {
            Err(format!("the worker ended: {status}").into())
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
