//! The composition root of `ticketwire run`: builds everything from the settings, owns every loop, shuts them down in
//! order. A loop that ends early is a fault that stops the process, not a silent gap.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::{Consumer, LinkState, Publisher, Topology};
use crate::config::Config;
use crate::contract::CommandType;
use crate::domain::Platform;
use crate::ops;
use crate::pipeline::{self, Core, CoreParts, Lease, LeaseError, Relay, isolation};
use crate::platforms::{self, EgressPolicy, HttpClient};
use crate::secrets::KeyRing;
use crate::start;
use crate::store::{Store, StoreError, chain, connect, migrate};
use crate::telemetry::{failpoint, metrics};

/// Longest the outbox is flushed, and connections are closed, at the end.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// The commands that call a platform.
const WATCHED_TYPES: [&str; 10] = [
    CommandType::TicketCreate.as_str(),
    CommandType::TicketAiCreate.as_str(),
    CommandType::TicketUpdate.as_str(),
    CommandType::TicketStatus.as_str(),
    CommandType::TicketAssign.as_str(),
    CommandType::TicketComment.as_str(),
    CommandType::TicketAttach.as_str(),
    CommandType::TicketDelete.as_str(),
    CommandType::IntegrationTest.as_str(),
    CommandType::IntegrationSync.as_str(),
];

/// Idle connections kept for each host. Many integrations may share one (a vendor's gateway), each with its own places,
/// and a connection that is closed only to be opened again costs more than its request.
const IDLE_PER_HOST: usize = 512;

/// Why the worker did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The keys in `secrets.keys`.
    #[error("secrets.keys: {0}")]
    Keys(String),
    /// The schema is not this version's.
    #[error(transparent)]
    Schema(#[from] migrate::MigrateError),
    /// The worker id.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A listener.
    #[error(
        "http.listen: cannot listen on {address}: {source}; choose another address or an empty one to turn it off"
    )]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The adapters' client.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(String),
    /// A loop ended that must not.
    #[error("{0} ended unexpectedly; the log says why")]
    LoopEnded(&'static str),
}

/// How a worker is run.
pub struct RunOptions {
    /// How to start this program as the process that runs suspects alone; `None` runs none.
    pub alone: Option<(std::path::PathBuf, Vec<String>)>,
    /// Fires on SIGTERM or SIGINT.
    pub stop: CancellationToken,
}

/// Runs the worker until `stop` fires, then drains.
///
/// # Errors
/// [`AppError`] where it cannot start, or where a loop ended that must not.
pub async fn run(config: Config, options: RunOptions) -> Result<(), AppError> {
    let config = Arc::new(config);
    let stop = options.stop;
    start::raise_descriptors();
    if let Err(fault) = start::check_temporary_directory() {
        tracing::warn!("{fault}");
    }
    let parts = Parts::prepare(&config)?;
    if !await_schema(&config, &stop).await? {
        return Ok(());
    }
    let links = ops::Links {
        consuming: Arc::new(LinkState::default()),
        publishing: Arc::new(LinkState::default()),
    };
    let id = config.worker.id.as_deref();
    let Some((lease, me, hold)) = hold_id(&config, &parts.store, id, &stop).await? else {
        return Ok(());
    };
    tracing::info!(
        worker = me.worker,
        version = env!("CARGO_PKG_VERSION"),
        "starting"
    );

    let with_adapters = Platform::ALL
        .iter()
        .filter(|platform| platforms::descriptor(**platform).is_some())
        .map(|platform| platform.as_str())
        .chain(["none"]);
    metrics::register_outcomes(&WATCHED_TYPES, with_adapters);

    // Beside everything else: nothing waits for it.
    let look = {
        let (url, ring) = (config.database.url.clone(), Arc::clone(&parts.ring));
        async move { start::report_unreadable(&url, &ring).await }
    };
    drop(tokio::task::spawn(look));

    let (relay, relay_queue) = Relay::new();
    let topology = Topology::new(&config.amqp.prefix);
    let (core, done_queue) = Core::new(CoreParts {
        config: Arc::clone(&config),
        store: parts.store.clone(),
        ring: parts.ring,
        http: parts.http,
        me: me.clone(),
        lease: Arc::clone(&lease),
        relay,
    });
    let status = Arc::new(ops::Status::new(
        parts.store.clone(),
        links,
        Arc::clone(&lease),
        Arc::clone(&core),
    ));

    let ends = Ends::default();
    let mut loops: JoinSet<&'static str> = JoinSet::new();
    if let Some(address) = config.http.listen {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|source| AppError::Listen { address, source })?;
        let (status, end) = (Arc::clone(&status), ends.http.clone());
        loops.spawn(async move {
            ops::serve(listener, status, end).await;
            "the HTTP server"
        });
    }

    let (publisher, publisher_queue) = Publisher::new();
    {
        let (config, topology, link) = (
            Arc::clone(&config),
            topology.clone(),
            Arc::clone(&status.links.publishing),
        );
        let (name, end) = (
            format!("ticketwire {} publish", me.worker),
            ends.publisher.clone(),
        );
        loops.spawn(async move {
            Publisher::run(
                publisher_queue,
                &config.amqp.url,
                &name,
                &topology,
                &link,
                end,
            )
            .await;
            "the publisher"
        });
    }
    {
        let (publisher, store, topology, end) = (
            publisher.clone(),
            parts.store.clone(),
            topology.clone(),
            ends.relay.clone(),
        );
        loops.spawn(async move {
            pipeline::run_relay(relay_queue, publisher, store, topology, end).await;
            "the relay"
        });
    }
    {
        let (publisher, store, topology) =
            (publisher.clone(), parts.store.clone(), topology.clone());
        let (link, end) = (Arc::clone(&status.links.publishing), ends.schedule.clone());
        loops.spawn(async move {
            pipeline::run_sweep(publisher, store, topology, link, end).await;
            "the sweep"
        });
    }
    {
        let (core, end) = (Arc::clone(&core), ends.settle.clone());
        loops.spawn(async move {
            Box::pin(pipeline::run_settle(core, done_queue, end)).await;
            "the settler"
        });
    }
    {
        let (core, end) = (Arc::clone(&core), ends.schedule.clone());
        let child = options
            .alone
            .map(|(program, arguments)| isolation::Alone::new(program, arguments));
        loops.spawn(async move {
            pipeline::run_schedule(core, child, end).await;
            "the clock"
        });
    }

    let consumer = Arc::new(Consumer::new());
    let (open, intake) = watch::channel(true);
    let (commands, deliveries) = mpsc::channel(usize::from(config.amqp.prefetch));
    let (dead, dead_deliveries) = mpsc::channel(100);
    {
        let (config, topology, link) = (
            Arc::clone(&config),
            topology.clone(),
            Arc::clone(&status.links.consuming),
        );
        let (consumer, end) = (Arc::clone(&consumer), ends.consumer.clone());
        let name = format!("ticketwire {} consume", me.worker);
        loops.spawn(async move {
            let prefetch = config.amqp.prefetch;
            consumer
                .run(
                    &config.amqp.url,
                    &name,
                    &topology,
                    prefetch,
                    commands,
                    dead,
                    intake,
                    &link,
                    end,
                )
                .await;
            "the consumer"
        });
    }
    {
        let (core, consumer) = (Arc::clone(&core), Arc::clone(&consumer));
        loops.spawn(async move {
            pipeline::run_intake(core, consumer, deliveries).await;
            "the intake"
        });
    }
    {
        let (core, consumer) = (Arc::clone(&core), Arc::clone(&consumer));
        loops.spawn(async move {
            pipeline::run_dead_letters(core, consumer, dead_deliveries).await;
            "the dead-letter drain"
        });
    }
    let keeper = {
        let (lease, store, url, me, end) = (
            Arc::clone(&lease),
            parts.store.clone(),
            config.database.url.clone(),
            me.clone(),
            ends.lease.clone(),
        );
        tokio::task::spawn(async move { lease.keep(&store, &url, &me, hold, end).await })
    };
    tokio::pin!(keeper);

    // Losing branches may be dropped: they only watch.
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(ended) = loops.join_next() => Err(AppError::LoopEnded(ended.unwrap_or("a loop that panicked"))),
        kept = &mut keeper => match kept {
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(())) | Err(_) => Err(AppError::LoopEnded("the lease keeper")),
        },
    };
    // On an error nothing of this incarnation may be sent any more, or nothing would be settled: no drain.
    ended?;

    tracing::info!(commands = core.held_count(), "draining");
    status.drain();
    if open.send(false).is_err() {
        tracing::debug!("the intake had ended already");
    }
    let taken_in = async {
        while consumer.outstanding() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Deliveries in hand become durable and are acknowledged; what does not in time is delivered again.
    drop(tokio::time::timeout(FLUSH_MAX, taken_in).await);
    ends.schedule.cancel();
    ends.consumer.cancel();
    failpoint("draining").await;
    core.drain(config.worker.drain_timeout).await;
    ends.settle.cancel();
    let mut left = loops.len();
    let closing = async {
        let mut settled = false;
        while let Some(ended) = loops.join_next().await {
            left -= 1;
            if matches!(ended, Ok("the settler")) {
                settled = true;
                ends.relay.cancel();
            }
            if matches!(ended, Ok("the relay")) && settled {
                pipeline::flush(&publisher, &parts.store, &topology, me.id).await;
                ends.publisher.cancel();
                ends.http.cancel();
            }
        }
    };
    if tokio::time::timeout(FLUSH_MAX * 2, closing).await.is_err() {
        tracing::warn!(
            loops = left,
            "not everything ended in time; what is unsent goes out with the next worker"
        );
    }
    ends.lease.cancel();
    drop(keeper.await);
    if let Err(error) = parts.store.forget_worker(&me).await {
        tracing::debug!(
            error = chain(&error),
            "the worker's row stays until its lease ends"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// Runs suspects one at a time, as the child of a worker. Ends when none is left, or when `stop` fires.
///
/// # Errors
/// [`AppError`] where it cannot start.
pub async fn run_alone(
    config: Config,
    parent: &str,
    stop: CancellationToken,
) -> Result<(), AppError> {
    let config = Arc::new(config);
    let parts = Parts::prepare(&config)?;
    let id = isolation::Alone::worker_of(parent);
    let Some((lease, me, hold)) = hold_id(&config, &parts.store, Some(&id), &stop).await? else {
        return Ok(());
    };
    // No broker here: events are left to the parent's sweep.
    let (relay, relay_queue) = Relay::new();
    drop(relay_queue);
    let (core, done_queue) = Core::new(CoreParts {
        config: Arc::clone(&config),
        store: parts.store.clone(),
        ring: parts.ring,
        http: parts.http,
        me: me.clone(),
        lease: Arc::clone(&lease),
        relay,
    });
    let settle_end = CancellationToken::new();
    let mut settling = JoinSet::new();
    settling.spawn(pipeline::run_settle(
        Arc::clone(&core),
        done_queue,
        settle_end.clone(),
    ));
    let lease_end = CancellationToken::new();
    let keep = lease.keep(
        &parts.store,
        &config.database.url,
        &me,
        hold,
        lease_end.clone(),
    );
    tokio::select! {
        result = isolation::run_suspects(&core) => result?,
        kept = keep => kept?,
        () = stop.cancelled() => {}
    }
    core.drain(Duration::from_secs(1)).await;
    settle_end.cancel();
    while settling.join_next().await.is_some() {}
    parts.store.disown_events(me.id).await?;
    parts.store.forget_worker(&me).await?;
    Ok(())
}

/// What both kinds of process need.
struct Parts {
    store: Store,
    ring: Arc<KeyRing>,
    http: HttpClient,
}

impl Parts {
    fn prepare(config: &Config) -> Result<Self, AppError> {
        let ring = Arc::new(config.secrets.ring().map_err(AppError::Keys)?);
        if ring.is_empty() {
            tracing::warn!(
                "no key in secrets.keys: what needs a credential is refused; `ticketwire keys generate` makes one"
            );
        }
        let egress = EgressPolicy {
            allow: config.egress.allow.clone(),
            allow_http: config.egress.allow_http,
        };
        let http = HttpClient::new(egress, config.dispatch.request_timeout, IDLE_PER_HOST)
            .map_err(|error| AppError::Http(error.to_string()))?;
        let store = Store::new(
            &config.database.url,
            config.database.pool_size,
            "ticketwire",
        )?;
        Ok(Self { store, ring, http })
    }
}

/// Waits for the database to be there and of this version. False: told to stop meanwhile.
async fn await_schema(config: &Config, stop: &CancellationToken) -> Result<bool, AppError> {
    let mut told = false;
    loop {
        match connect(&config.database.url, "ticketwire start").await {
            Ok((client, connection)) => {
                migrate::check_version(&client).await?;
                drop(client);
                drop(connection.await);
                return Ok(true);
            }
            Err(error) => {
                if !told {
                    tracing::warn!(
                        error = chain(&error),
                        "waiting for PostgreSQL (database.url)"
                    );
                    told = true;
                }
                if error.needs_a_person() {
                    return Err(error.into());
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

/// Gets hold of a worker id. `None`: told to stop meanwhile.
async fn hold_id(
    config: &Config,
    store: &Store,
    id: Option<&str>,
    stop: &CancellationToken,
) -> Result<Option<(Arc<Lease>, crate::store::Incarnation, pipeline::Hold)>, AppError> {
    let lease = Arc::new(Lease::new(config.dispatch.lease));
    loop {
        let acquired = tokio::select! {
            acquired = lease.acquire(store, &config.database.url, id) => acquired,
            () = stop.cancelled() => return Ok(None),
        };
        match acquired {
            Ok((me, hold)) => return Ok(Some((lease, me, hold))),
            Err(LeaseError::Store(error)) if !error.needs_a_person() && !stop.is_cancelled() => {
                tracing::warn!(error = chain(&error), "cannot get a worker id yet");
                store.forget_connections();
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What ends each loop: one after the other, as each feeds the next.
#[derive(Default)]
struct Ends {
    consumer: CancellationToken,
    schedule: CancellationToken,
    settle: CancellationToken,
    relay: CancellationToken,
    publisher: CancellationToken,
    http: CancellationToken,
    lease: CancellationToken,
}
