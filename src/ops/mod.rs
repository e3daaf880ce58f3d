//! Operations over HTTP: health for people and orchestrators, metrics for Prometheus. Never runs an
//! operation.

mod listener;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::broker::Link;
use crate::pipeline::{Core, Lease};
use crate::store::{Store, chain};
use crate::telemetry::metrics;

/// Longest a health question waits for the database.
const PING_MAX: Duration = Duration::from_secs(2);

/// How often the ledger's rows are counted for the gauges: counting a flood's rows costs what some
/// of them would.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// The connections to the broker.
#[derive(Clone)]
pub struct Links {
    /// Deliveries come over it.
    pub consuming: Link,
    /// Events go over it.
    pub publishing: Link,
    /// Deliveries of platforms go over it; `None`: nobody listens for them.
    pub webhooks: Option<Link>,
}

/// What the health pages report.
pub struct Status {
    store: Store,
    /// The broker's connections.
    pub links: Links,
    lease: Arc<Lease>,
    core: Arc<Core>,
    draining: AtomicBool,
    counted: Mutex<Option<Instant>>,
}

impl Status {
    /// Puts together what is reported.
    #[must_use]
    pub const fn new(store: Store, links: Links, lease: Arc<Lease>, core: Arc<Core>) -> Self {
        Self {
            store,
            links,
            lease,
            core,
            draining: AtomicBool::new(false),
            counted: Mutex::new(None),
        }
    }

    /// From here on the process is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether it is time to count again; if so, the caller does.
    fn counts_anew(&self) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY);
        if due {
            *counted = Some(Instant::now());
        }
        due
    }

    async fn database(&self) -> Result<(), String> {
        match tokio::time::timeout(PING_MAX, self.store.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("no answer within {PING_MAX:?}")),
        }
    }
}

/// Serves until `stop` fires.
pub async fn serve(listener: TcpListener, status: Arc<Status>, stop: CancellationToken) {
    let app = Router::new()
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(prometheus))
        .with_state(status);
    listener::serve(listener, app, stop).await;
}

async fn live() -> &'static str {
    "ok\n"
}

async fn health(State(status): State<Arc<Status>>) -> Response {
    let database = status.database().await;
    let link = |link: &Link| json!({ "ok": link.is_up(), "generation": link.generation() });
    let broker = status.links.consuming.is_up() && status.links.publishing.is_up();
    let lease = status.lease.stands();
    let ok = database.is_ok() && broker && lease;
    let body = json!({
        "status": if ok { "ok" } else { "unavailable" },
        "components": {
            "postgres": { "ok": database.is_ok(), "error": database.err() },
            "rabbitmq": {
                "ok": broker,
                "consuming": link(&status.links.consuming),
                "publishing": link(&status.links.publishing),
                "webhooks": status.links.webhooks.as_ref().map(link),
            },
            "lease": { "ok": lease },
            "draining": status.draining.load(Ordering::Acquire),
            "commands_in_memory": status.core.held_count(),
        },
    });
    (
        if ok {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        Json(body),
    )
        .into_response()
}

async fn ready(State(status): State<Arc<Status>>) -> Response {
    let reason = if status.draining.load(Ordering::Acquire) {
        Some("draining")
    } else if !status.lease.stands() {
        Some("the worker id is not held")
    } else if !status.links.consuming.is_up() || !status.links.publishing.is_up() {
        Some("RabbitMQ is not connected")
    } else if status.database().await.is_err() {
        Some("PostgreSQL does not answer, or takes no writes")
    } else {
        None
    };
    match reason {
        None => (StatusCode::OK, Json(json!({ "ready": true }))).into_response(),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "ready": false, "reason": reason })),
        )
            .into_response(),
    }
}

async fn prometheus(State(status): State<Arc<Status>>) -> Response {
    if status.counts_anew() {
        let counted = tokio::time::timeout(PING_MAX, status.store.backlog()).await;
        metrics::database(matches!(counted, Ok(Ok(_))));
        for (state, count) in counted.into_iter().flatten().flatten() {
            metrics::backlog(&state, count);
        }
    }
    metrics::commands_in_memory(status.core.held_count());
    metrics::prepared_statements(status.store.prepared_statements());
    metrics::broker_link(
        "consuming",
        status.links.consuming.is_up(),
        status.links.consuming.generation(),
    );
    metrics::broker_link(
        "publishing",
        status.links.publishing.is_up(),
        status.links.publishing.generation(),
    );
    if let Some(link) = &status.links.webhooks {
        metrics::broker_link("webhooks", link.is_up(), link.generation());
    }
    (
        [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
        metrics::render(),
    )
        .into_response()
}
