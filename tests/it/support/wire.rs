//! Raw connections: a small HTTP GET, and a proxy that cuts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// Status and body; `None` where nobody answers.
pub(crate) async fn http_get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    tokio::time::timeout(Duration::from_secs(5), asked)
        .await
        .ok()
        .flatten()
}

const OPEN: u8 = 0;
const SHUT: u8 = 1;

/// A TCP proxy: cuts what is open, and lets nothing through while it is shut.
pub(crate) struct CutProxy {
    pub(crate) address: SocketAddr,
    state: Arc<AtomicU8>,
    cut: Arc<Notify>,
    frozen: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl CutProxy {
    pub(crate) async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, cut) = (Arc::new(AtomicU8::new(OPEN)), Arc::new(Notify::new()));
        let (frozen, watching) = watch::channel(false);
        let (target, shared, cutting) = (target.to_owned(), Arc::clone(&state), Arc::clone(&cut));
        let accepting = tokio::task::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                if shared.load(Ordering::SeqCst) == SHUT {
                    continue;
                }
                let (target, cutting) = (target.clone(), Arc::clone(&cutting));
                let thawed = watching.clone();
                tokio::task::spawn(async move {
                    let cut = cutting.notified();
                    let Ok(mut outer) = TcpStream::connect(&target).await else {
                        return;
                    };
                    tokio::select! {
                        () = carry(&mut inner, &mut outer, &thawed) => {}
                        () = cut => {}
                    }
                });
            }
        });
        Self {
            address,
            state,
            cut,
            frozen,
            accepting,
        }
    }

    /// A black hole: connections stay, and nothing comes through until it is thawed.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Ends every connection; new ones are taken.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// Ends every connection; new ones end at once.
    pub(crate) fn shut(&self) {
        self.state.store(SHUT, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn open(&self) {
        self.state.store(OPEN, Ordering::SeqCst);
    }
}

/// Carries bytes both ways until one side ends, holding them back while frozen.
async fn carry(inner: &mut TcpStream, outer: &mut TcpStream, frozen: &watch::Receiver<bool>) {
    let (mut from_inner, mut to_inner) = inner.split();
    let (mut from_outer, mut to_outer) = outer.split();
    tokio::select! {
        () = pump(&mut from_inner, &mut to_outer, frozen.clone()) => {}
        () = pump(&mut from_outer, &mut to_inner, frozen.clone()) => {}
    }
}

async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut frozen: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 || frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

impl Drop for CutProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
