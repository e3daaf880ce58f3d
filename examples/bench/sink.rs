//! The platform: answers every request 201, as Jira does a create, after a while if told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What ails the requests below `/sick`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sickness {
    /// They are answered after ten seconds.
    Slow,
    /// They are answered 503.
    Failing,
}

impl std::str::FromStr for Sickness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "slow" => Ok(Self::Slow),
            "failing" => Ok(Self::Failing),
            other => Err(format!("--sick {other}: must be slow or failing")),
        }
    }
}

#[derive(Default)]
struct Seen {
    first: OnceLock<Instant>,
    requests: AtomicU64,
}

/// The sink, until the program ends.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

impl Sink {
    /// When the first request came.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.seen.first.get().copied()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }
}

pub(crate) async fn start(latency: Duration, sickness: Option<Sickness>) -> std::io::Result<Sink> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let sink = Sink {
        address: listener.local_addr()?,
        seen: Arc::default(),
    };
    let seen = Arc::clone(&sink.seen);
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::task::spawn(async move { drop(serve(stream, &seen, latency, sickness).await) });
        }
    });
    Ok(sink)
}

async fn serve(
    mut stream: TcpStream,
    seen: &Seen,
    latency: Duration,
    sickness: Option<Sickness>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let length = loop {
            if let Some(length) = whole_request(&buffer) {
                break length;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let is_sick = sickness.is_some() && buffer.starts_with(b"POST /sick/");
        buffer.drain(..length);
        seen.first.get_or_init(Instant::now);
        let number = seen.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if is_sick && sickness == Some(Sickness::Failing) {
            stream
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
                .await?;
            continue;
        }
        if is_sick {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let body = format!(
            "{{\"id\":\"{number}\",\"key\":\"SUP-{number}\",\"self\":\"http://sink/{number}\"}}"
        );
        let answer = format!(
            "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: \
             {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The length of the request that the buffer begins with, once it is there whole.
fn whole_request(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(buffer.get(..head)?).ok()?;
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    (buffer.len() >= head + length).then_some(head + length)
}
