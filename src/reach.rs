//! Why something could not be reached, told from the chain of causes: the same words for
//! PostgreSQL, RabbitMQ and the platforms, and what a person can do about it.

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// Why a connection did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// No name server knows the host.
    UnknownHost,
    /// No name server answered.
    NoNameServer,
    /// Nothing listens there.
    Refused,
    /// There is no way to the network or the host.
    NoRoute,
    /// Nothing answered.
    Silent,
    /// It hung up before the connection stood.
    HungUp,
    /// No certificate authority that is trusted here has signed its certificate.
    Untrusted,
    /// Its certificate is another host's.
    WrongName,
    /// Its certificate is over.
    Expired,
    /// Its certificate is not yet in force.
    NotYetValid,
    /// Its certificate was revoked.
    Revoked,
    /// What answers there does not speak TLS.
    NotTls,
    /// TLS failed for another reason.
    Tls,
    /// This process has no file descriptor left.
    NoDescriptors,
}

impl Outage {
    /// The first cause in the chain that tells.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(fault) = error.downcast_ref::<rustls::Error>() {
            return Some(Self::of_tls(fault));
        }
        if let Some(fault) = error.downcast_ref::<io::Error>() {
            // What an input/output error carries is not among its sources.
            let carried = fault.get_ref().and_then(|carried| Self::of(carried));
            if let Some(found) = carried.or_else(|| Self::of_io(fault)) {
                return Some(found);
            }
        }
        if let Some(found) = Self::of_text(&error.to_string()) {
            return Some(found);
        }
        error.source().and_then(Self::of)
    }

    /// From a text, where the cause itself is not to be had.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        // As rustls and the resolver of the C library word it.
        [
            ("Temporary failure in name resolution", Self::NoNameServer),
            ("failed to lookup address information", Self::UnknownHost),
            ("server does not support TLS", Self::NotTls),
            ("InvalidContentType", Self::NotTls),
            ("UnknownIssuer", Self::Untrusted),
            ("NotValidForName", Self::WrongName),
            ("certificate not valid for name", Self::WrongName),
            ("certificate expired", Self::Expired),
            ("certificate not valid yet", Self::NotYetValid),
            ("invalid peer certificate", Self::Tls),
        ]
        .into_iter()
        .find_map(|(words, outage)| text.contains(words).then_some(outage))
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        // EMFILE and ENFILE have no kind of their own.
        if matches!(error.raw_os_error(), Some(23 | 24)) {
            return Some(Self::NoDescriptors);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::NetworkDown => Some(Self::NoRoute),
            io::ErrorKind::TimedOut => Some(Self::Silent),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Some(Self::HungUp),
            _ => None,
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::InvalidCertificate(fault) => match fault {
                CertificateError::UnknownIssuer => Self::Untrusted,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::Revoked => Self::Revoked,
                _ => Self::Tls,
            },
            _ => Self::Tls,
        }
    }

    /// In words that follow a colon.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::UnknownHost => "no name server knows this host",
            Self::NoNameServer => "no name server answered",
            Self::Refused => "nothing listens at this address and port",
            Self::NoRoute => "there is no way to this address from here",
            Self::Silent => "no answer in time",
            Self::HungUp => "it closed the connection before that stood",
            Self::Untrusted => {
                "its certificate is signed by an authority that this machine does not trust"
            }
            Self::WrongName => "its certificate is for another host name",
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::Revoked => "its certificate was revoked",
            Self::NotTls => "it does not speak TLS on this port",
            Self::Tls => "the TLS handshake failed",
            Self::NoDescriptors => "this process has no file descriptor left",
        }
    }

    /// What to do, where the service is of one's own.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::UnknownHost => "mend the host name in the URL, or add it to DNS or /etc/hosts",
            Self::NoNameServer => {
                "see /etc/resolv.conf, and whether the name server runs and is reachable"
            }
            Self::Refused => "start the service, or mend host and port in the URL",
            Self::NoRoute => {
                "see routes, firewall rules and network policies between here and there"
            }
            Self::Silent => "is it up, and does a firewall drop what is sent there?",
            Self::HungUp => {
                "is it the right port? One that speaks TLS hangs up on a plain connection, and \
                 one of another service too"
            }
            Self::Untrusted => {
                "add the authority's certificate to the system's store \
                 (update-ca-certificates), or name it in SSL_CERT_FILE"
            }
            Self::WrongName => {
                "name the host in the URL as the certificate does, or issue one for that name"
            }
            Self::Expired | Self::NotYetValid => {
                "renew its certificate; or is this machine's clock wrong?"
            }
            Self::Revoked => "issue a new certificate",
            Self::NotTls => {
                "name the port that speaks TLS (RabbitMQ's is 5671), or connect without"
            }
            Self::Tls => {
                "see the log of the other side; TLS 1.2 is the oldest version that is spoken here"
            }
            Self::NoDescriptors => {
                "raise the limit (`ulimit -n`, systemd's LimitNOFILE); `ticketwire doctor` shows it"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_however_deep_they_are() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(Outage::of(&wrapped), Some(Outage::Untrusted));

        let refused = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(Outage::of(&refused), Some(Outage::Refused));
        assert_eq!(
            Outage::of(&io::Error::from_raw_os_error(24)),
            Some(Outage::NoDescriptors)
        );
        let name = io::Error::other(
            "failed to lookup address information: Temporary failure in name resolution",
        );
        assert_eq!(Outage::of(&name), Some(Outage::NoNameServer));
        assert_eq!(Outage::of(&io::Error::other("something else")), None);
    }
}
