//! The client that all adapters share.

use std::sync::Arc;
use std::time::Duration;

use super::starting::Starting;
use crate::platforms::EgressPolicy;
use crate::platforms::egress::GuardedResolver;

/// Longest a TCP and TLS connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The pooled client all adapters share; one a worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pub(super) client: reqwest::Client,
    pub(super) egress: EgressPolicy,
    pub(super) request_timeout: Duration,
    pub(super) starting: Arc<Starting>,
}

impl HttpClient {
    /// Sets the client up. `idle_per_host` connections are kept for each host.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that builds the client"
    )]
    pub fn new(
        egress: EgressPolicy,
        request_timeout: Duration,
        idle_per_host: usize,
    ) -> Result<Self, reqwest::Error> {
        // reqwest is built without a provider of its own. An error here means that one is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .user_agent(concat!("ticketwire/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT.min(request_timeout))
            .pool_max_idle_per_host(idle_per_host)
            .dns_resolver(Arc::new(GuardedResolver(egress.clone())))
            .build()?;
        Ok(Self {
            client,
            egress,
            request_timeout,
            starting: Arc::new(Starting::new()),
        })
    }

    /// Requests that wait for a place to start in.
    #[must_use]
    pub fn waiting_to_start(&self) -> usize {
        self.starting.waiting()
    }
}
