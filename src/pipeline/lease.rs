//! Whether this process may act. Its worker id is held by an advisory lock over a connection of its
//! own; its lease is one row, renewed. A process that lost the connection sends nothing until it
//! holds the lock again; one that was taken over stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::pipeline::clock;
use crate::platforms::{AdapterError, ErrorClass, SendPermit};
use crate::store::{Client, Incarnation, Store, StoreError, Wake, chain, connect_hearing};

/// How long a held id is tried before the next number is: a restarted worker takes over its own
/// leases at once.
const HELD_ID_RETRY: Duration = Duration::from_secs(2);

/// After so long it is said that an id is held, and by whom.
const HELD_ID_TOLD: Duration = Duration::from_millis(500);

/// Why a process may not, or may no longer, work under its id.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process holds the configured id.
    #[error(
        "worker.id {0:?} is held by another process; stop that one, or give this one another id \
         (setting worker.id, TICKETWIRE__WORKER__ID)"
    )]
    Held(String),
    /// Another process took over: nothing of this incarnation is its own any more.
    #[error("another process has taken over worker id {0:?}; this one must not go on")]
    TakenOver(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The hold of this process on its id and its lease.
pub struct Lease {
    started: Instant,
    /// Milliseconds after `started` until which the lease surely stands, by this process's own
    /// monotonic clock, which also runs while the process is stopped.
    valid_until_ms: AtomicU64,
    locked: AtomicBool,
    length: Duration,
    /// Other workers alive when the lease was last renewed.
    peers: AtomicUsize,
    /// What the others told.
    heard: Arc<Heard>,
}

/// What other workers told, for whoever it concerns.
#[derive(Debug, Default)]
struct Heard {
    due: Notify,
    workers: Notify,
}

impl Lease {
    /// Not held yet: nothing may be sent.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            started: Instant::now(),
            valid_until_ms: AtomicU64::new(0),
            locked: AtomicBool::new(false),
            length,
            peers: AtomicUsize::new(0),
            heard: Arc::new(Heard::default()),
        }
    }

    /// How many other workers were alive a moment ago.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.load(Ordering::Acquire)
    }

    /// Resolves when another worker has stored commands that it has no capacity for.
    pub(in crate::pipeline) async fn work_heard_of(&self) {
        self.heard.due.notified().await;
    }

    /// The connection that holds the worker id, and that hears the other workers.
    async fn connect(
        &self,
        url: &SecretString,
        worker: &str,
    ) -> Result<(Client, tokio::task::JoinHandle<()>), StoreError> {
        let heard = Arc::clone(&self.heard);
        connect_hearing(
            url,
            &format!("ticketwire {worker} lock"),
            move |wake| match wake {
                Wake::Due => heard.due.notify_one(),
                Wake::Workers => heard.workers.notify_one(),
            },
        )
        .await
    }

    /// Tells the others that a worker has come or goes; they find out by their clocks if they do
    /// not hear it.
    pub async fn announce(&self, store: &Store) {
        if let Err(error) = store.wake(Wake::Workers).await {
            tracing::debug!(error = chain(&error), "the other workers were not told");
        }
    }

    /// Whether the process may act now.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.locked.load(Ordering::Acquire) && self.left() > Duration::ZERO
    }

    fn left(&self) -> Duration {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(
            self.valid_until_ms
                .load(Ordering::Acquire)
                .saturating_sub(now),
        )
    }

    /// Counts from before the statement was sent, so never longer than the database believes.
    fn renewed(&self, asked: Instant) {
        let until = asked.saturating_duration_since(self.started) + self.length;
        self.valid_until_ms.store(
            u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
            Ordering::Release,
        );
    }

    /// Gets hold of an id: the configured one, waiting at most one lease for it; else the host's
    /// name and the first number that is free. Takes over what the process before left.
    ///
    /// # Errors
    /// [`LeaseError::Held`], or the database's.
    pub async fn acquire(
        &self,
        store: &Store,
        url: &SecretString,
        configured: Option<&str>,
    ) -> Result<(Incarnation, Hold), LeaseError> {
        let host = hostname::get()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| "worker".into());
        let patience = if configured.is_some() {
            self.length
        } else {
            HELD_ID_RETRY
        };
        let mut number = 1u32;
        loop {
            let worker = configured.map_or_else(|| format!("{host}-{number}"), str::to_owned);
            let (client, connection) = self.connect(url, &worker).await?;
            let asked = Instant::now();
            let mut told = false;
            while !Store::try_lock_worker(&client, &worker).await? {
                if asked.elapsed() >= patience {
                    break;
                }
                // A process that was killed may hold it for a moment yet: said once that is over.
                if !told && configured.is_some() && asked.elapsed() >= HELD_ID_TOLD {
                    told = true;
                    let holder = Store::holder_of_worker(&client, &worker).await?;
                    tracing::warn!(
                        worker,
                        held_by = holder.as_deref().unwrap_or("another process"),
                        wait_seconds = patience.as_secs(),
                        "worker.id is held by another process; waiting for one lease \
                         (dispatch.lease), then giving up. Stop that one, or give this one \
                         another worker.id (TICKETWIRE__WORKER__ID), or none"
                    );
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            if Store::try_lock_worker(&client, &worker).await? {
                let me = Incarnation {
                    worker,
                    id: uuid::Uuid::new_v4(),
                };
                let renewed = Instant::now();
                let taken = store.register_worker(&me, self.length).await?;
                if taken > 0 {
                    tracing::warn!(
                        worker = me.worker,
                        commands = taken,
                        "took over what the process before left running"
                    );
                }
                self.renewed(renewed);
                clock::measure(store).await;
                self.locked.store(true, Ordering::Release);
                self.announce(store).await;
                return Ok((
                    me,
                    Hold {
                        _client: client,
                        connection,
                    },
                ));
            }
            if configured.is_some() {
                return Err(LeaseError::Held(worker));
            }
            number += 1;
        }
    }

    /// Keeps the id and the lease. Returns when `stop` fires, or when another process took over.
    ///
    /// # Errors
    /// [`LeaseError::TakenOver`]: end the process.
    pub async fn keep(
        &self,
        store: &Store,
        url: &SecretString,
        me: &Incarnation,
        mut hold: Hold,
        stop: CancellationToken,
    ) -> Result<(), LeaseError> {
        let mut tick = tokio::time::interval((self.length / 6).min(Duration::from_secs(20)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.renew(store, me).await?,
                () = self.heard.workers.notified() => self.renew(store, me).await?,
                // The connection's end is the lock's end.
                _ = &mut hold.connection => {
                    self.locked.store(false, Ordering::Release);
                    tracing::warn!(worker = me.worker,
                        "lost the connection that holds the worker id; sending nothing");
                    match self.regain(store, url, me, &stop).await? {
                        Some(regained) => hold = regained,
                        None => return Ok(()),
                    }
                }
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn renew(&self, store: &Store, me: &Incarnation) -> Result<(), LeaseError> {
        let asked = Instant::now();
        match store.renew_lease(me, self.length).await {
            Ok(Some(peers)) => {
                self.renewed(asked);
                self.peers.store(peers, Ordering::Release);
                clock::measure(store).await;
                Ok(())
            }
            Ok(None) => {
                self.locked.store(false, Ordering::Release);
                Err(LeaseError::TakenOver(me.worker.clone()))
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "could not renew the lease");
                Ok(())
            }
        }
    }

    async fn regain(
        &self,
        store: &Store,
        url: &SecretString,
        me: &Incarnation,
        stop: &CancellationToken,
    ) -> Result<Option<Hold>, LeaseError> {
        loop {
            if stop.is_cancelled() {
                return Ok(None);
            }
            match self.try_regain(store, url, me).await {
                Ok(Some(hold)) => return Ok(Some(hold)),
                Ok(None) => {}
                Err(error @ (LeaseError::TakenOver(_) | LeaseError::Held(_))) => return Err(error),
                Err(LeaseError::Store(error)) => {
                    tracing::debug!(error = chain(&error), "cannot get the worker id back yet");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn try_regain(
        &self,
        store: &Store,
        url: &SecretString,
        me: &Incarnation,
    ) -> Result<Option<Hold>, LeaseError> {
        let (client, connection) = self.connect(url, &me.worker).await?;
        if !Store::try_lock_worker(&client, &me.worker).await? {
            // Somebody holds it: either our own dead connection, which the server has yet to
            // notice, or another process, which then has registered.
            let asked = Instant::now();
            if store.renew_lease(me, self.length).await?.is_none() {
                return Err(LeaseError::TakenOver(me.worker.clone()));
            }
            self.renewed(asked);
            return Ok(None);
        }
        let asked = Instant::now();
        if store.renew_lease(me, self.length).await?.is_none() {
            return Err(LeaseError::TakenOver(me.worker.clone()));
        }
        self.renewed(asked);
        self.locked.store(true, Ordering::Release);
        tracing::info!(worker = me.worker, "holding the worker id again");
        Ok(Some(Hold {
            _client: client,
            connection,
        }))
    }
}

/// The connection that holds the advisory lock.
pub struct Hold {
    _client: Client,
    connection: tokio::task::JoinHandle<()>,
}

impl SendPermit for Lease {
    fn check(&self, request_timeout: Duration) -> Result<(), AdapterError> {
        if self.locked.load(Ordering::Acquire) && self.left() > request_timeout {
            return Ok(());
        }
        // Nothing was sent: harmless to repeat, by whoever holds the command then.
        Err(AdapterError::new(
            ErrorClass::Transient { retry_after: None },
            "the worker lost touch with its database and sent nothing",
        ))
    }
}
