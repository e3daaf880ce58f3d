//! Reads bodies within bounds.

use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};

/// Longest the rest of a body that is not wanted is read, so that its sender hears the answer.
const DRAIN_MAX: Duration = Duration::from_millis(500);
/// Bytes of it.
const DRAIN_BYTES: usize = 8 << 20;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is larger than that.
    TooLarge,
    /// It ended before its end.
    Broken,
}

/// The body, of at most so many bytes.
pub(super) async fn read(body: &mut Incoming, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let mut read = Vec::new();
    while let Some(frame) = next(body).await {
        let frame = frame.map_err(|_| Unread::Broken)?;
        let Ok(data) = frame.into_data() else {
            // Trailers say nothing that anybody asks for.
            continue;
        };
        if read.len() + data.len() > bytes_max {
            return Err(Unread::TooLarge);
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

/// Reads on for a moment and keeps nothing.
pub(super) async fn drain(body: &mut Incoming) {
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = next(body).await {
            let bytes = frame.data_ref().map_or(0, hyper::body::Bytes::len);
            left = match left.checked_sub(bytes) {
                Some(left) => left,
                None => return,
            };
        }
    };
    // Who sends on will see the connection end.
    drop(tokio::time::timeout(DRAIN_MAX, reading).await);
}

async fn next(
    body: &mut Incoming,
) -> Option<Result<hyper::body::Frame<hyper::body::Bytes>, hyper::Error>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}
