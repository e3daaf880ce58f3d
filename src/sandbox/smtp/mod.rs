//! A mail server: the sandbox's email sites over real SMTP, in the clear with STARTTLS on one port,
//! and encrypted from the first byte on another. The certificate is made at start; `GET
//! /_sandbox/certificate` shows it.
//!
//! A mail belongs to the site that its user names: `acme` and `acme@mail.example` are the site
//! `acme`. Without a log-in it is the first label of the first recipient's domain:
//! `ops@acme.example` is `acme`, too. What comes before that is known (connect, EHLO, STARTTLS)
//! meets the faults of any site that name it; `any` does not mean those.
//!
//! | file | what it does |
//! | --- | --- |
//! | `session` | the dialogue: which command may follow which |
//! | `auth` | logging in |
//! | `command` | reads commands |
//! | `step` | how a command meets a fault |
//! | `wire` | lines and messages over TCP or TLS |

mod auth;
mod command;
mod session;
mod step;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use session::Session;
use wire::Wire;

/// How long a listener rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Connections at a time; a further one is told to come later.
const CONNECTIONS_MAX: usize = 1_000;

/// A certificate for this machine alone, signed by itself.
pub(super) struct Certificate {
    pub(super) pem: String,
    acceptor: TlsAcceptor,
}

impl Certificate {
    pub(super) fn make() -> std::io::Result<Self> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).map_err(std::io::Error::other)?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .map_err(std::io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(std::io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .map_err(std::io::Error::other)?;
        Ok(Self {
            pem: made.cert.pem(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

/// Accepts connections until the sandbox stops.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener, encrypted: bool) {
    loop {
        // Either branch may be dropped: a connection that is not accepted yet stays in the backlog.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "the sandbox could not set TCP_NODELAY");
                }
                let is_full = shared.tasks.len() > CONNECTIONS_MAX;
                let shared = Arc::clone(&shared);
                let tasks = shared.tasks.clone();
                tasks.spawn(async move {
                    let acceptor = shared.certificate.acceptor.clone();
                    let stopping = shared.stopping.clone();
                    let mut wire = Wire::new(stream, acceptor, stopping);
                    if encrypted && wire.encrypt().await.is_err() {
                        return;
                    }
                    // A client that is gone, or a fault: there is nobody to tell.
                    drop(Session::new(shared, wire, encrypted).run(is_full).await);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the sandbox could not accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Binds a port of the mail server.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
