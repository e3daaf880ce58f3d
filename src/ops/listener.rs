//! The limits of `http.listen`, and how what it serves keeps them.

use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::listening::{self, Limits};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 256;
/// Longest wait for a request's head, also for the next one over the same connection.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest a request may take from its head to its answer.
const REQUEST_MAX: Duration = Duration::from_secs(15);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most lines of a request's head.
const HEADERS_MAX: usize = 100;
/// Most bytes of a request's body: nothing here reads one.
const BODY_BYTES_MAX: u64 = 64 << 10;
/// Longest a connection is let finish at the end.
const CLOSING_MAX: Duration = Duration::from_secs(3);

/// Serves until `stop` fires; then lets every connection finish what it answers, for a moment.
pub(super) async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let limits = Limits {
        setting: "http.listen",
        connections: CONNECTIONS_MAX,
        per_address: CONNECTIONS_MAX,
        proxies: Vec::new(),
        head: HEAD_MAX,
        idle: HEAD_MAX,
        head_bytes: HEAD_BYTES_MAX,
        headers: HEADERS_MAX,
        closing: CLOSING_MAX,
    };
    let answer = move |request, _: IpAddr| answer(app.clone(), request);
    listening::serve(listener, limits, answer, stop).await;
}

/// The application with its limits.
async fn answer(mut app: Router, request: Request<hyper::body::Incoming>) -> Response {
    let answered = tokio::time::timeout(REQUEST_MAX, async {
        if is_too_large(&request) {
            return (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n").into_response();
        }
        match tower::Service::call(&mut app, request.map(Body::new)).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    });
    answered.await.unwrap_or_else(|_| {
        (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response()
    })
}

fn is_too_large<B>(request: &Request<B>) -> bool {
    let length = request.headers().get(header::CONTENT_LENGTH);
    length
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > BODY_BYTES_MAX)
}
