//! Connections to `http.listen`, limited: whoever opens many, or sends nothing, takes nothing from
//! the worker. The oldest that waits makes room for a new one, so that a question about health is
//! always heard.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 256;
/// Longest wait for a request's head, also for the next one over the same connection.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest a request may take from its head to its answer.
const REQUEST_MAX: Duration = Duration::from_secs(15);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a request's body: nothing here reads one.
const BODY_BYTES_MAX: u64 = 64 << 10;
/// Longest a connection is let finish at the end.
const CLOSING_MAX: Duration = Duration::from_secs(3);
/// Pause where the system gives no connection.
const PAUSE: Duration = Duration::from_millis(200);

/// A connection, from outside.
struct Open {
    /// Whether a request of it is being answered.
    busy: Arc<AtomicBool>,
    /// Ends it, whatever it does.
    end: CancellationToken,
}

/// Serves until `stop` fires; then lets every connection finish what it answers, for a moment.
pub(super) async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let mut open: VecDeque<Open> = VecDeque::new();
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => {
                open.retain(|one| !one.end.is_cancelled());
                continue;
            }
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Not once for each try: it may last.
                if !failing {
                    tracing::warn!(error = %error, "http.listen takes no connection at present");
                }
                failing = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        failing = false;
        open.retain(|one| !one.end.is_cancelled());
        if open.len() >= CONNECTIONS_MAX {
            let idle = open
                .iter()
                .position(|one| !one.busy.load(Ordering::Acquire))
                .unwrap_or(0);
            if let Some(oldest) = open.remove(idle) {
                oldest.end.cancel();
            }
        }
        let one = Open {
            busy: Arc::new(AtomicBool::new(false)),
            end: CancellationToken::new(),
        };
        connections.spawn(connection(
            stream,
            app.clone(),
            Arc::clone(&one.busy),
            one.end.clone(),
            stop.clone(),
        ));
        open.push_back(one);
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING_MAX, finished).await.is_err() {
        tracing::debug!("some connections to http.listen did not end in time");
    }
}

async fn connection(
    stream: TcpStream,
    app: Router,
    busy: Arc<AtomicBool>,
    end: CancellationToken,
    stop: CancellationToken,
) {
    // Whoever looks finds it gone, however it ends.
    let _gone = end.clone().drop_guard();
    let service = tower_service_of(app, busy);
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
    );
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::trace!(error = %error, "a connection to http.listen ended");
                }
                return;
            }
            () = end.cancelled() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The application with its limits.
fn tower_service_of(
    app: Router,
    busy: Arc<AtomicBool>,
) -> impl tower::Service<
    Request<hyper::body::Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Send,
> + Clone {
    tower::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (mut app, busy) = (app.clone(), Arc::clone(&busy));
        async move {
            busy.store(true, Ordering::Release);
            let answer = tokio::time::timeout(REQUEST_MAX, async {
                if is_too_large(&request) {
                    return (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n")
                        .into_response();
                }
                match tower::Service::call(&mut app, request.map(Body::new)).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                }
            })
            .await;
            busy.store(false, Ordering::Release);
            Ok(answer.unwrap_or_else(|_| {
                (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response()
            }))
        }
    })
}

fn is_too_large<B>(request: &Request<B>) -> bool {
    let length = request.headers().get(header::CONTENT_LENGTH);
    length
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > BODY_BYTES_MAX)
}
