//! [`MailClient`]: what is the same for all mails.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::platforms::EgressPolicy;

/// Sends mails; one a worker, cheap to clone. A connection is made for each mail.
#[derive(Clone)]
pub struct MailClient {
    pub(super) egress: EgressPolicy,
    pub(super) request_timeout: Duration,
    /// Authorities that are trusted besides those of this machine.
    authorities: Arc<[CertificateDer<'static>]>,
    /// Made for the first mail: most workers send none, and what a machine trusts takes megabytes.
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
    /// The name of this machine, where it has a full one.
    pub(super) hello: Option<String>,
}

impl std::fmt::Debug for MailClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailClient")
            .field("egress", &self.egress)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

impl MailClient {
    /// Sets the client up. Trusted are the authorities that this machine trusts (`SSL_CERT_FILE`
    /// counts), and `authorities`.
    ///
    /// # Errors
    /// Where an authority is no certificate.
    pub fn new(
        egress: EgressPolicy,
        request_timeout: Duration,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone())?;
        }
        let name = hostname::get()
            .ok()
            .and_then(|name| name.into_string().ok());
        let is_full = |name: &String| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            name.contains('.') && name.chars().all(fits)
        };
        Ok(Self {
            egress,
            request_timeout,
            authorities: authorities.into(),
            tls: Arc::default(),
            hello: name.filter(is_full),
        })
    }

    /// How connections are encrypted, and whom they trust.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some(made) = self.tls.get() {
            return Ok(Arc::clone(made));
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!(errors = ?found.errors, "this machine trusts no certificate authority");
        }
        for authority in self.authorities.iter() {
            roots.add(authority.clone())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let made = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(made))))
    }
}
