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

/// Sends JSON to a site of the sandbox, with some credential, and returns its answer's status and
/// body.
pub(crate) async fn http_json(
    method: &str,
    url: &str,
    body: &serde_json::Value,
) -> (u16, serde_json::Value) {
    http_body(method, url, "application/json", &body.to_string()).await
}

/// The same with a body of any kind.
pub(crate) async fn http_body(
    method: &str,
    url: &str,
    media_type: &str,
    body: &str,
) -> (u16, serde_json::Value) {
    http_as("Basic YTpi", method, url, media_type, body).await
}

/// The same with a credential.
pub(crate) async fn http_as(
    authorization: &str,
    method: &str,
    url: &str,
    media_type: &str,
    body: &str,
) -> (u16, serde_json::Value) {
    let url: url::Url = url.parse().unwrap();
    let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: test\r\nUser-Agent: test\r\nConnection: \
         close\r\nAuthorization: {authorization}\r\nContent-Type: \
         {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
        &url[url::Position::BeforePath..],
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
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
    /// In front of the service that a URL leads to, and the URL that leads through it.
    pub(crate) async fn through(url: &str) -> (Self, String) {
        let mut url: url::Url = url.parse().unwrap();
        let usual = if url.scheme().starts_with("amqp") {
            5672
        } else {
            5432
        };
        let target = format!(
            "{}:{}",
            url.host_str().unwrap(),
            url.port().unwrap_or(usual)
        );
        let proxy = Self::before(&target).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        (proxy, url.into())
    }

    async fn before(target: &str) -> Self {
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

/// Serves bytes under a path, as the storage of a producer would; counts how often each was
/// fetched.
pub(crate) struct FileServer {
    address: SocketAddr,
    fetched: Arc<std::sync::Mutex<std::collections::BTreeMap<String, u32>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl FileServer {
    /// `/missing` answers 404, `/away` 503 and `/moved` 302; `/big/N` has N bytes, every other path
    /// its own name.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fetched = Arc::new(std::sync::Mutex::new(std::collections::BTreeMap::new()));
        let counts = Arc::clone(&fetched);
        let serving = tokio::task::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counts = Arc::clone(&counts);
                tokio::task::spawn(async move {
                    let mut request = vec![0; 4096];
                    let Ok(count) = stream.read(&mut request).await else {
                        return;
                    };
                    let text = String::from_utf8_lossy(&request[..count]).into_owned();
                    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                    *counts.lock().unwrap().entry(path.clone()).or_insert(0) += 1;
                    let (status, body) = match path.as_str() {
                        "/missing" => ("404 Not Found", Vec::new()),
                        "/away" => ("503 Service Unavailable", Vec::new()),
                        "/moved" => ("302 Found\r\nLocation: /file", Vec::new()),
                        path => match path.strip_prefix("/big/") {
                            Some(size) => ("200 OK", vec![b'x'; size.parse().unwrap()]),
                            None => ("200 OK", path.as_bytes().to_vec()),
                        },
                    };
                    let head = format!(
                        "HTTP/1.1 {status}\r\nContent-Type: text/plain; \
                         charset=utf-8\r\nConnection: close\r\n\r\n"
                    );
                    // A reader that has had enough hangs up.
                    drop(stream.write_all(head.as_bytes()).await);
                    drop(stream.write_all(&body).await);
                });
            }
        });
        Self {
            address,
            fetched,
            serving,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn fetched(&self, path: &str) -> u32 {
        self.fetched.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
