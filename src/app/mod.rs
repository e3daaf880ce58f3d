//! The composition root of `ticketwire run`: builds everything from the settings, owns every loop,
//! shuts them down in order. A loop that ends early is a fault that stops the process, not a silent
//! gap: [`supervisor`] watches them.

mod supervisor;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::supervisor::{Loop, Stage, Supervisor};
use crate::broker::{Consumer, Link, LinkState, Publisher, PublisherQueue, Topology};
use crate::config::Config;
use crate::contract::CommandType;
use crate::domain::Platform;
use crate::inbound;
use crate::ops;
use crate::pipeline::{
    self, Core, CoreParts, DoneQueue, Lease, LeaseError, Relay, RelayQueue, isolation,
};
use crate::platforms::mail::MailClient;
use crate::platforms::{EgressPolicy, HttpClient};
use crate::secrets::KeyRing;
use crate::start;
use crate::store::{Incarnation, Store, StoreError, chain, connect, migrate};
use crate::telemetry::{failpoint, metrics};

/// Dead letters that wait to be stored, at most.
const DEAD_LETTERS_QUEUED: usize = 100;

/// Longest the outbox is flushed, and connections are closed, at the end.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// The commands that call a platform.
const WATCHED_TYPES: [&str; 11] = [
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
    CommandType::IntegrationWebhook.as_str(),
];

/// Idle connections kept for each host. Many integrations may share one (a vendor's gateway), each
/// with its own slots, and a connection that is closed only to be opened again costs more than its
/// request.
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
        "{setting}: cannot listen on {address}: {source}; choose another address or an empty one \
         to turn it off"
    )]
    Listen {
        /// By which setting.
        setting: &'static str,
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The adapters' client.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(String),
    /// The adapters' way to mail servers.
    #[error("TLS for mail servers cannot be set up: {0}")]
    Mail(String),
    /// A loop ended that must not.
    #[error("{0} ended unexpectedly; the log says why")]
    LoopEnded(&'static str),
}

/// How a worker is run.
pub struct RunOptions {
    /// How to start this program as the process that runs poison candidates isolated; `None` runs
    /// none.
    pub isolated: Option<(std::path::PathBuf, Vec<String>)>,
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
    let mut loops = Supervisor::default();
    // Before the database is reached: what comes meanwhile is asked to come again.
    let webhooks = start_webhooks(&config, &parts, &mut loops).await?;
    if !await_schema(&config, &stop).await? {
        return Ok(());
    }
    let id = config.worker.id.as_deref();
    let Some(held) = hold_id(&config, &parts.store, id, &stop).await? else {
        return Ok(());
    };
    tracing::info!(
        worker = held.1.worker,
        version = env!("CARGO_PKG_VERSION"),
        "starting"
    );
    register_outcomes();
    // Beside everything else: nothing waits for it.
    let look = {
        let (url, ring) = (config.database.url.clone(), Arc::clone(&parts.ring));
        async move { start::report_unreadable(&url, &ring).await }
    };
    drop(tokio::task::spawn(look));

    let child = options
        .isolated
        .map(|(program, arguments)| isolation::Isolation::new(program, arguments));
    let mut worker = Worker::start(config, parts, held, child, (loops, webhooks)).await?;
    // The losing branch may be dropped: both only watch.
    tokio::select! {
        () = stop.cancelled() => {}
        // Nothing of this incarnation may be sent any more, or nothing would be settled: no drain.
        error = worker.loops.failed() => return Err(error),
    }
    worker.stop().await;
    Ok(())
}

/// Listens for platforms' deliveries, where that is wanted, over a connection to the broker of its
/// own: the events' is set up anew for reasons that are none here.
async fn start_webhooks(
    config: &Arc<Config>,
    parts: &Parts,
    loops: &mut Supervisor,
) -> Result<Option<Link>, AppError> {
    let Some(address) = config.http.webhook_listen else {
        return Ok(None);
    };
    let bound = bind("http.webhook_listen", address).await?;
    let topology = Topology::new(&config.amqp.prefix);
    let link: Link = Arc::new(LinkState::default());
    let (store, ring) = (parts.store.clone(), Arc::clone(&parts.ring));
    let (listener, queue) =
        inbound::Listener::new(&config.http, store, ring, &topology, Arc::clone(&link));
    let (publisher, publisher_queue) = Publisher::new();
    loops.start(Loop::Webhooks, |end| {
        listener.serve(bound, queue, publisher, end)
    });
    let (config, own_link) = (Arc::clone(config), Arc::clone(&link));
    loops.start(Loop::WebhookPublisher, |end| async move {
        // The worker's id is not known yet, unless it is given.
        let id = config.worker.id.as_deref().unwrap_or("worker");
        let name = format!("ticketwire {id} webhooks");
        let url = &config.amqp.url;
        Publisher::run(publisher_queue, url, &name, &topology, &own_link, end).await;
    });
    Ok(Some(link))
}

async fn bind(
    setting: &'static str,
    address: std::net::SocketAddr,
) -> Result<tokio::net::TcpListener, AppError> {
    let bound = tokio::net::TcpListener::bind(address).await;
    bound.map_err(|source| AppError::Listen {
        setting,
        address,
        source,
    })
}

/// Has the metrics show outcomes before there is one.
fn register_outcomes() {
    let platforms = Platform::ALL.iter().map(|platform| platform.as_str());
    metrics::register_outcomes(&WATCHED_TYPES, platforms.chain(["none"]));
}

/// A worker at work.
struct Worker {
    config: Arc<Config>,
    store: Store,
    topology: Topology,
    me: Incarnation,
    core: Arc<Core>,
    status: Arc<ops::Status>,
    publisher: Publisher,
    consumer: Arc<Consumer>,
    /// Whether deliveries are still wanted.
    intake: watch::Sender<bool>,
    loops: Supervisor,
}

impl Worker {
    /// Builds everything and starts the loops.
    async fn start(
        config: Arc<Config>,
        parts: Parts,
        (lease, me, hold): (Arc<Lease>, Incarnation, pipeline::Hold),
        child: Option<isolation::Isolation>,
        (loops, webhooks): (Supervisor, Option<Link>),
    ) -> Result<Self, AppError> {
        let store = parts.store;
        let topology = Topology::new(&config.amqp.prefix);
        let (relay, relay_queue) = Relay::new();
        let (core, done_queue) = Core::new(CoreParts {
            config: Arc::clone(&config),
            store: store.clone(),
            ring: parts.ring,
            http: parts.http,
            mail: parts.mail,
            me: me.clone(),
            lease: Arc::clone(&lease),
            relay,
        });
        let links = ops::Links {
            consuming: Arc::new(LinkState::default()),
            publishing: Arc::new(LinkState::default()),
            webhooks,
        };
        let status = Arc::new(ops::Status::new(
            store.clone(),
            links,
            Arc::clone(&lease),
            Arc::clone(&core),
        ));
        let listener = match config.http.listen {
            None => None,
            Some(address) => Some(bind("http.listen", address).await?),
        };
        let (publisher, publisher_queue) = Publisher::new();
        let (intake, wanted) = watch::channel(true);
        let consumer = Consumer::new(Arc::clone(&config));
        let mut worker = Self {
            config,
            store,
            topology,
            me,
            core,
            status,
            publisher,
            consumer: Arc::new(consumer),
            intake,
            loops,
        };
        worker.start_outward(listener, publisher_queue, relay_queue);
        worker.start_inner(done_queue, child);
        worker.start_inward(wanted);
        worker.keep_lease(lease, hold);
        Ok(worker)
    }

    /// What shows how the worker is, and what gets events out.
    fn start_outward(
        &mut self,
        listener: Option<tokio::net::TcpListener>,
        publisher_queue: PublisherQueue,
        relay_queue: RelayQueue,
    ) {
        if let Some(listener) = listener {
            let status = Arc::clone(&self.status);
            self.loops
                .start(Loop::Http, |end| ops::serve(listener, status, end));
        }
        let (config, topology) = (Arc::clone(&self.config), self.topology.clone());
        let link = Arc::clone(&self.status.links.publishing);
        let name = format!("ticketwire {} publish", self.me.worker);
        self.loops.start(Loop::Publisher, |end| async move {
            let url = &config.amqp.url;
            Publisher::run(publisher_queue, url, &name, &topology, &link, end).await;
        });
        let (publisher, store) = (self.publisher.clone(), self.store.clone());
        let topology = self.topology.clone();
        self.loops.start(Loop::Relay, |end| {
            pipeline::run_relay(relay_queue, publisher, store, topology, end)
        });
        let (publisher, store) = (self.publisher.clone(), self.store.clone());
        let topology = self.topology.clone();
        let link = Arc::clone(&self.status.links.publishing);
        self.loops.start(Loop::OutboxPoller, |end| {
            pipeline::run_outbox_poller(publisher, store, topology, link, end)
        });
    }

    /// What writes results, and what claims the commands that are due.
    fn start_inner(&mut self, done_queue: DoneQueue, child: Option<isolation::Isolation>) {
        let core = Arc::clone(&self.core);
        self.loops.start(Loop::Settler, |end| {
            pipeline::run_settle(core, done_queue, end)
        });
        let core = Arc::clone(&self.core);
        self.loops.start(Loop::Scheduler, |end| {
            pipeline::run_schedule(core, child, end)
        });
    }

    /// What takes deliveries in. The consumer feeds the other two, which end when it has.
    fn start_inward(&mut self, wanted: watch::Receiver<bool>) {
        let prefetch = self.config.amqp.prefetch;
        let (commands, deliveries) = mpsc::channel(usize::from(prefetch));
        let (dead, dead_deliveries) = mpsc::channel(DEAD_LETTERS_QUEUED);
        let (config, topology) = (Arc::clone(&self.config), self.topology.clone());
        let link = Arc::clone(&self.status.links.consuming);
        let consumer = Arc::clone(&self.consumer);
        let name = format!("ticketwire {} consume", self.me.worker);
        self.loops.start(Loop::Consumer, |end| async move {
            let url = &config.amqp.url;
            let run = consumer.run(
                url, &name, &topology, prefetch, commands, dead, wanted, &link, end,
            );
            run.await;
        });
        let (core, consumer) = (Arc::clone(&self.core), Arc::clone(&self.consumer));
        self.loops.start(Loop::Intake, |_| {
            pipeline::run_intake(core, consumer, deliveries)
        });
        let (core, consumer) = (Arc::clone(&self.core), Arc::clone(&self.consumer));
        self.loops.start(Loop::DeadLetters, |_| {
            pipeline::run_dead_letters(core, consumer, dead_deliveries)
        });
    }

    /// What keeps others from taking over what this worker does.
    fn keep_lease(&mut self, lease: Arc<Lease>, hold: pipeline::Hold) {
        let (store, me) = (self.store.clone(), self.me.clone());
        let url = self.config.database.url.clone();
        self.loops
            .start_fallible(Loop::LeaseKeeper, |end| async move {
                let kept = lease.keep(&store, &url, &me, hold, end).await;
                kept.map_err(AppError::from)
            });
    }

    /// Takes nothing more, finishes what is in hand, gets the events of it out.
    async fn stop(mut self) {
        tracing::info!(commands = self.core.held_count(), "draining");
        self.status.drain();
        // First, while the rest is there to answer by.
        self.loops.end(Stage::Listen).await;
        if self.intake.send(false).is_err() {
            tracing::debug!("the intake had ended already");
        }
        let taken_in = async {
            while self.consumer.outstanding() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Deliveries in hand become durable and are acknowledged; what does not in time is
        // delivered again.
        drop(tokio::time::timeout(FLUSH_MAX, taken_in).await);
        self.loops.tell(Stage::Supply);
        failpoint("draining").await;
        self.core.drain(self.config.worker.drain_timeout).await;
        let closing = async {
            self.loops.end(Stage::Settle).await;
            self.loops.end(Stage::Relay).await;
            pipeline::flush(&self.publisher, &self.store, &self.topology, self.me.id).await;
            self.loops.end(Stage::Publish).await;
            self.loops.end(Stage::Supply).await;
        };
        if tokio::time::timeout(FLUSH_MAX * 2, closing).await.is_err() {
            tracing::warn!(
                loops = self.loops.left(),
                "not everything ended in time; what is unsent goes out with the next worker"
            );
        }
        self.loops.end(Stage::Lease).await;
        if let Err(error) = self.store.forget_worker(&self.me).await {
            tracing::debug!(
                error = chain(&error),
                "the worker's row stays until its lease ends"
            );
        }
        tracing::info!("stopped");
    }
}

/// Runs poison candidates one at a time, as the child of a worker. Ends when none is left, or when
/// `stop` fires.
///
/// # Errors
/// [`AppError`] where it cannot start.
pub async fn run_isolated(
    config: Config,
    parent: &str,
    stop: CancellationToken,
) -> Result<(), AppError> {
    let config = Arc::new(config);
    let parts = Parts::prepare(&config)?;
    let id = isolation::Isolation::worker_of(parent);
    let Some((lease, me, hold)) = hold_id(&config, &parts.store, Some(&id), &stop).await? else {
        return Ok(());
    };
    // No broker here: events are left to the parent's outbox poller.
    let (relay, relay_queue) = Relay::new();
    drop(relay_queue);
    let (core, done_queue) = Core::new(CoreParts {
        config: Arc::clone(&config),
        store: parts.store.clone(),
        ring: parts.ring,
        http: parts.http,
        mail: parts.mail,
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
        result = isolation::run_candidates(&core) => result?,
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
    mail: MailClient,
}

impl Parts {
    fn prepare(config: &Config) -> Result<Self, AppError> {
        let ring = Arc::new(config.secrets.ring().map_err(AppError::Keys)?);
        if ring.is_empty() {
            tracing::warn!(
                "no key in secrets.keys: what needs a credential is refused; `ticketwire keys \
                 generate` makes one"
            );
        }
        let egress = EgressPolicy::from(&config.egress);
        let request_timeout = config.dispatch.request_timeout;
        let mail = MailClient::new(egress.clone(), request_timeout, &[])
            .map_err(|error| AppError::Mail(error.to_string()))?;
        let http = HttpClient::through(
            config.egress.proxy.as_ref(),
            egress,
            request_timeout,
            IDLE_PER_HOST,
        )
        .map_err(|error| AppError::Http(error.to_string()))?;
        let store = Store::new(
            &config.database.url,
            config.database.pool_size,
            "ticketwire",
        )?;
        Ok(Self {
            store,
            ring,
            http,
            mail,
        })
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
) -> Result<Option<(Arc<Lease>, Incarnation, pipeline::Hold)>, AppError> {
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
