//! Connections from outside, limited: whoever opens many, or sends nothing, takes nothing from the
//! worker. The oldest that waits makes room for a new one, so that a question is always heard.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Pause where the system gives no connection.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a connection is looked at.
const WATCH: Duration = Duration::from_millis(500);

/// What connections may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The setting that says where is listened, for the log.
    pub setting: &'static str,
    /// Connections at a time.
    pub connections: usize,
    /// Of one address; of an IPv6 one's /64.
    pub per_address: usize,
    /// Networks of proxies, whose connections are many people's.
    pub proxies: Vec<IpNet>,
    /// Longest a request's head may take from its first byte, and the first one's first byte.
    pub head: Duration,
    /// Longest wait for the next request over the same connection.
    pub idle: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Lines of a request's head.
    pub headers: usize,
    /// Longest a connection is let finish at the end.
    pub closing: Duration,
}

/// A connection, from outside.
struct Open {
    from: IpAddr,
    activity: Arc<Activity>,
    /// Ends it, whatever it does.
    end: CancellationToken,
}

/// What a connection does, and since when.
struct Activity(Mutex<(Phase, Instant)>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request's head is read, or the first one's is waited for.
    Head,
    /// A request is answered.
    Busy,
    /// Nothing.
    Idle,
}

impl Activity {
    fn new() -> Self {
        Self(Mutex::new((Phase::Head, Instant::now())))
    }

    fn is_in(&self, phase: Phase) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (phase, Instant::now());
    }

    /// Bytes came in.
    fn hears(&self) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0 == Phase::Idle {
            *now = (Phase::Head, Instant::now());
        }
    }

    fn get(&self) -> (Phase, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_overdue(&self, limits: &Limits) -> bool {
        let (phase, since) = self.get();
        match phase {
            Phase::Head => since.elapsed() > limits.head,
            Phase::Idle => since.elapsed() > limits.idle,
            // The answer has its own limit.
            Phase::Busy => false,
        }
    }
}

/// Serves until `stop` fires; then lets every connection finish what it answers, for a moment.
/// `answer` bounds itself how long it takes, and how much of a body it reads.
pub async fn serve<A, F, B>(
    listener: TcpListener,
    limits: Limits,
    answer: A,
    stop: CancellationToken,
) where
    A: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let limits = Arc::new(limits);
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
        let (stream, from) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip().to_canonical()),
            Err(error) => {
                // Not once for each try: it may last.
                if !failing {
                    let setting = limits.setting;
                    tracing::warn!(error = %error, "{setting} takes no connection at present");
                }
                failing = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        failing = false;
        open.retain(|one| !one.end.is_cancelled());
        make_room(&mut open, &limits, from);
        let one = Open {
            from,
            activity: Arc::new(Activity::new()),
            end: CancellationToken::new(),
        };
        connections.spawn(connection(
            (stream, from),
            answer.clone(),
            Arc::clone(&limits),
            Arc::clone(&one.activity),
            one.end.clone(),
            stop.clone(),
        ));
        open.push_back(one);
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.closing, finished)
        .await
        .is_err()
    {
        let setting = limits.setting;
        tracing::debug!("some connections to {setting} did not end in time");
    }
}

/// Ends the oldest connection that waits where there are too many, of all or of an address; the
/// oldest of all where none does.
fn make_room(open: &mut VecDeque<Open>, limits: &Limits, from: IpAddr) {
    let is_proxy = limits.proxies.iter().any(|network| network.contains(&from));
    let network = network_of(from);
    let its = |one: &&Open| network_of(one.from) == network;
    let is_many = !is_proxy && open.iter().filter(its).count() >= limits.per_address;
    if !is_many && open.len() < limits.connections {
        return;
    }
    let counts = |one: &Open| !is_many || network_of(one.from) == network;
    let waits = |one: &Open| one.activity.get().0 != Phase::Busy;
    let oldest = open.iter().position(|one| counts(one) && waits(one));
    let oldest = oldest.or_else(|| open.iter().position(counts));
    if let Some(oldest) = oldest.and_then(|at| open.remove(at)) {
        oldest.end.cancel();
    }
}

/// An address; of IPv6 the /64, of which one has all.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

async fn connection<A, F, B>(
    (stream, from): (TcpStream, IpAddr),
    answer: A,
    limits: Arc<Limits>,
    activity: Arc<Activity>,
    end: CancellationToken,
    stop: CancellationToken,
) where
    A: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Whoever looks finds it gone, however it ends.
    let _gone = end.clone().drop_guard();
    let stream = Heard {
        stream,
        activity: Arc::clone(&activity),
    };
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request| {
            let (answer, activity) = (answer.clone(), Arc::clone(&activity));
            async move {
                activity.is_in(Phase::Busy);
                let answer = answer(request, from).await;
                activity.is_in(Phase::Idle);
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head.max(limits.idle))
            .max_buf_size(limits.head_bytes)
            .max_headers(limits.headers)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut watch = tokio::time::interval(WATCH);
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    let setting = limits.setting;
                    tracing::trace!(error = %error, "a connection to {setting} ended");
                }
                return;
            }
            _ = watch.tick() => if activity.is_overdue(&limits) {
                return;
            },
            () = end.cancelled() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A connection that notes when bytes come in.
struct Heard {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.hears();
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(from: &str, phase: Phase) -> Open {
        let activity = Activity::new();
        activity.is_in(phase);
        Open {
            from: from.parse().unwrap(),
            activity: Arc::new(activity),
            end: CancellationToken::new(),
        }
    }

    fn limits(connections: usize, per_address: usize) -> Limits {
        Limits {
            setting: "http.listen",
            connections,
            per_address,
            proxies: vec!["10.0.0.0/8".parse().unwrap()],
            head: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            head_bytes: 8192,
            headers: 10,
            closing: Duration::from_secs(1),
        }
    }

    fn left(open: &VecDeque<Open>) -> Vec<String> {
        open.iter().map(|one| one.from.to_string()).collect()
    }

    #[test]
    fn the_oldest_that_waits_makes_room() {
        let all = || {
            VecDeque::from([
                open("192.0.2.1", Phase::Busy),
                open("192.0.2.2", Phase::Idle),
                open("192.0.2.3", Phase::Head),
            ])
        };
        let mut now = all();
        make_room(&mut now, &limits(4, 9), "192.0.2.9".parse().unwrap());
        assert_eq!(now.len(), 3);
        make_room(&mut now, &limits(3, 9), "192.0.2.9".parse().unwrap());
        assert_eq!(left(&now), ["192.0.2.1", "192.0.2.3"]);
        make_room(&mut now, &limits(2, 9), "192.0.2.9".parse().unwrap());
        make_room(&mut now, &limits(1, 9), "192.0.2.9".parse().unwrap());
        assert_eq!(now.len(), 0, "where none waits, the oldest goes");
    }

    #[test]
    fn who_has_many_makes_room_among_his_own_unless_he_is_a_proxy() {
        let all = || {
            VecDeque::from([
                open("192.0.2.1", Phase::Idle),
                open("2001:db8::1", Phase::Idle),
                open("2001:db8::2", Phase::Busy),
                open("10.0.0.1", Phase::Idle),
                open("10.0.0.1", Phase::Idle),
            ])
        };
        let mut now = all();
        make_room(&mut now, &limits(9, 2), "2001:db8::3".parse().unwrap());
        assert_eq!(
            left(&now),
            ["192.0.2.1", "2001:db8::2", "10.0.0.1", "10.0.0.1"]
        );
        let mut now = all();
        make_room(&mut now, &limits(9, 2), "10.0.0.1".parse().unwrap());
        make_room(&mut now, &limits(9, 2), "2001:db8:0:1::".parse().unwrap());
        assert_eq!(now.len(), 5);
    }
}
