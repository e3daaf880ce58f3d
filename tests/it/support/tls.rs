//! TLS in front of a service that speaks plain text, with a certificate authority of one's own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What PostgreSQL's clients send before the handshake.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A certificate authority and certificates of it for this machine.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// Writes its certificate, for `SSL_CERT_FILE`.
    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, self.issuer.pem()).unwrap();
    }

    /// Writes a certificate of its own and the key to it, for a server of another program.
    pub(crate) fn write_server(&self, certificate: &Path, key: &Path) {
        let (own, secret) = self.server();
        std::fs::write(certificate, own.pem()).unwrap();
        std::fs::write(key, secret.serialize_pem()).unwrap();
    }

    fn server(&self) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let params = CertificateParams::new(names).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn acceptor(&self) -> TlsAcceptor {
        let (certificate, key) = self.server();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Ends TLS in front of `target`; `asks_first` where the client asks for TLS as PostgreSQL's
    /// do.
    pub(crate) async fn before(&self, target: &str, asks_first: bool) -> SocketAddr {
        let acceptor = self.acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = target.to_owned();
        tokio::task::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::task::spawn(async move {
                    if asks_first {
                        let mut request = [0; 8];
                        inner.read_exact(&mut request).await?;
                        assert_eq!(request, SSL_REQUEST, "it asks for TLS first");
                        inner.write_all(b"S").await?;
                    }
                    let mut inner = acceptor.accept(inner).await?;
                    let mut outer = TcpStream::connect(&target).await?;
                    copy_bidirectional(&mut inner, &mut outer).await
                });
            }
        });
        address
    }
}
