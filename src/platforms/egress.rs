//! Which addresses a request may go to. Private, link-local and otherwise special ones are refused
//! at connect time, after the name was looked up, so that a name that changes its address between
//! check and connect gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::{AdapterError, ErrorClass};
use crate::config::Egress;
use crate::reach::Outage;

/// Longest that a name is looked up for a proxy.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);

/// The egress rules in force.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    /// `egress.allow`: exempt from the private-address block.
    pub allow: Vec<IpNet>,
    /// `egress.allow_http`: `http://` targets.
    pub allow_http: bool,
}

/// What a refusal by the resolver says; recognised in the chain of a failed connect.
#[derive(Debug, thiserror::Error)]
#[error("egress refused: {host} resolves to {address}, which is not allowed")]
pub(super) struct Refused {
    host: String,
    address: IpAddr,
}

impl Refused {
    pub(super) fn explain(&self) -> AdapterError {
        AdapterError::new(
            ErrorClass::Egress,
            format!(
                "{} resolves to {}, a private or reserved address; add its network to \
                 egress.allow if it is meant",
                self.host, self.address
            ),
        )
    }
}

impl From<&Egress> for EgressPolicy {
    fn from(config: &Egress) -> Self {
        Self {
            allow: config.allow.clone(),
            allow_http: config.allow_http,
        }
    }
}

impl EgressPolicy {
    /// Whether requests may be sent to this address.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(&address)) || is_public(address)
    }

    /// Judges a URL before anything is looked up: scheme, userinfo, literal addresses (which no
    /// resolver sees).
    ///
    /// # Errors
    /// [`ErrorClass::Egress`], naming the host and the setting.
    pub fn check(&self, url: &Url) -> Result<(), AdapterError> {
        let refuse = |text: String| Err(AdapterError::new(ErrorClass::Egress, text));
        let host = url.host_str().unwrap_or_default();
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => {
                return refuse(format!(
                    "{host} is to be called by http://; use https://, or set egress.allow_http"
                ));
            }
            other => return refuse(format!("{other}:// targets are not allowed")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(format!(
                "the URL of {host} carries a user or password, which is not allowed"
            ));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return refuse("the URL has no host".into()),
        };
        match literal {
            Some(address) if !self.allows(address) => refuse(format!(
                "{address} is a private or reserved address; add its network to egress.allow if \
                 it is meant"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// What names end with that lead to no place of the world (RFC 6761, RFC 8375, RFC 9476, and
/// ICANN's reservation of 2024 for `internal`).
const NOT_OF_THE_WORLD: [&str; 8] = [
    "localhost",
    "local",
    "internal",
    "intranet",
    "home.arpa",
    "test",
    "invalid",
    "alt",
];

impl EgressPolicy {
    /// Judges a target that a proxy looks up and connects to. What leads to a forbidden address by
    /// our own look-up is refused. Where names of the world are not known, as behind many a proxy,
    /// only the proxy can judge them; names that are not of the world are refused then.
    ///
    /// # Errors
    /// [`ErrorClass::Egress`], naming the host.
    pub(super) async fn vet(&self, url: &Url) -> Result<(), AdapterError> {
        let Some(Host::Domain(name)) = url.host() else {
            // Judged by `check`.
            return Ok(());
        };
        let looked_up = tokio::net::lookup_host((name, url.port_or_known_default().unwrap_or(443)));
        let found = match tokio::time::timeout(LOOK_UP_MAX, looked_up).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        if let Some(forbidden) = found.iter().find(|address| !self.allows(address.ip())) {
            return Err(Refused {
                host: name.to_owned(),
                address: forbidden.ip(),
            }
            .explain());
        }
        let bare = name.trim_end_matches('.').to_ascii_lowercase();
        let is_of_the_world = bare.contains('.')
            && !NOT_OF_THE_WORLD.iter().any(|end| {
                bare.strip_suffix(end)
                    .is_some_and(|rest| rest.ends_with('.'))
            });
        if found.is_empty() && !is_of_the_world {
            let text = format!(
                "{name} is not known here, and is no name that a proxy should be asked for"
            );
            return Err(AdapterError::new(ErrorClass::Egress, text));
        }
        Ok(())
    }

    /// The addresses of a server that no URL names, each of them allowed. Who connects to one of
    /// them looks no name up again.
    ///
    /// # Errors
    /// [`ErrorClass::Egress`] where one is not allowed; transient where the name is not found.
    pub(super) async fn addresses(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, AdapterError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let parsed = literal.parse().map(Ok).unwrap_or_else(|_| {
            match Host::parse(host.trim_end_matches('.')) {
                Ok(Host::Domain(name)) => Err(name),
                Ok(Host::Ipv4(address)) => Ok(IpAddr::V4(address)),
                Ok(Host::Ipv6(address)) => Ok(IpAddr::V6(address)),
                Err(_) => Err(String::new()),
            }
        });
        let found = match parsed {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(name) if name.is_empty() => {
                return Err(AdapterError::field(
                    "settings.smtp_host",
                    "is not a host name",
                ));
            }
            Err(name) => match tokio::net::lookup_host((name.as_str(), port)).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    let why = Outage::of(&error).map_or("the name is not found", Outage::says);
                    let text = format!("{host} cannot be reached: {why}");
                    let class = ErrorClass::Transient { retry_after: None };
                    return Err(AdapterError::new(class, text).with_internal(error.to_string()));
                }
            },
        };
        match found.iter().find(|address| !self.allows(address.ip())) {
            Some(forbidden) => Err(Refused {
                host: host.to_owned(),
                address: forbidden.ip(),
            }
            .explain()),
            None => Ok(found),
        }
    }

    /// Judges a connection without encryption.
    ///
    /// # Errors
    /// [`ErrorClass::Egress`], naming the host and the setting.
    pub(super) fn check_plain(&self, host: &str) -> Result<(), AdapterError> {
        if self.allow_http {
            return Ok(());
        }
        let text = format!(
            "{host} is to be spoken to without encryption; set security to tls or starttls, or \
             set egress.allow_http"
        );
        Err(AdapterError::new(ErrorClass::Egress, text))
    }
}

/// Looks names up and refuses those that lead to an address that is not allowed. One forbidden
/// address condemns the name: which of several is used is not ours to choose.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver {
    pub(super) policy: EgressPolicy,
    /// Hosts of our own proxies, which the operator chose.
    pub(super) proxies: Vec<String>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        let is_ours = self.proxies.iter().any(|proxy| proxy == name.as_str());
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let is_forbidden = |address: &&SocketAddr| !is_ours && !policy.allows(address.ip());
            if let Some(forbidden) = found.iter().find(is_forbidden) {
                // Not boxed here: a box in a box is not found again in the chain.
                return Err(Refused {
                    host,
                    address: forbidden.ip(),
                }
                .into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The address at which Azure's platform answers its own machines. It is a public one by the
/// registry, and none to a tenant. Source: learn.microsoft.com, "What is IP address
/// 168.63.129.16?".
const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// IPv4 networks that are no place for a platform. "IANA IPv4 Special-Purpose Address Registry"
/// (iana.org), read at its update of 2020-09-04; those that are globally reachable are anycast
/// services of somebody's own network, and refused, too. Multicast is from "IPv4 Multicast Address
/// Space Registry".
const SPECIAL_V4: [(Ipv4Addr, u8); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private use
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared address space
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link local
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private use
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // IETF protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112
    (Ipv4Addr::new(192, 52, 193, 0), 24), // AMT
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relay anycast, deprecated
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private use
    (Ipv4Addr::new(192, 175, 48, 0), 24), // direct delegation AS112
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarking
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, and limited broadcast
];

/// What of IPv6 is handed out to the world: "IANA IPv6 Address Space" (iana.org). All else is
/// refused without being named.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What of that is special: "IANA IPv6 Special-Purpose Address Registry" (iana.org), last updated
/// 2024-10-22, and RFC 9780.
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    // IETF protocol assignments: Teredo, benchmarking, AMT, AS112, ORCHID, drone identities.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // Direct delegation AS112.
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    // Documentation (RFC 9637).
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Prefixes before an IPv4 address, which decides: mapped, IPv4-translated (RFC 2765), NAT64 (RFC
/// 6052), each of 96 bits.
const BEFORE_V4: [[u16; 6]; 3] = [
    [0, 0, 0, 0, 0, 0xffff],
    [0, 0, 0, 0, 0xffff, 0],
    [0x64, 0xff9b, 0, 0, 0, 0],
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    let is_in = |(network, length): &(Ipv4Addr, u8)| {
        (bits ^ network.to_bits()).leading_zeros() >= u32::from(*length)
    };
    address != AZURE_PLATFORM && !SPECIAL_V4.iter().any(is_in)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    if BEFORE_V4.contains(&[a, b, c, d, e, f]) {
        return is_public_v4(embedded(g, h));
    }
    // 6to4 (RFC 3056).
    if a == 0x2002 {
        return is_public_v4(embedded(b, c));
    }
    let bits = address.to_bits();
    let is_in = |(network, length): &(Ipv6Addr, u8)| {
        (bits ^ network.to_bits()).leading_zeros() >= u32::from(*length)
    };
    is_in(&GLOBAL_V6) && !SPECIAL_V6.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_reserved_addresses_are_refused() {
        let policy = EgressPolicy::default();
        let refused = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "::ffff:0:10.0.0.1",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::127.0.0.1",
            "192.0.0.9",
            "192.31.196.1",
            "192.52.193.1",
            "192.175.48.1",
            "64:ff9b:1::1",
            "100:0:0:1::1",
            "2001:2::1",
            "2001:3::1",
            "2001:1ff::1",
            "2620:4f:8000::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "5f00::1",
            "4000::1",
            "1000::1",
            "e000::1",
            "2002:a00:1::1",
            "64:ff9b::a00:1",
        ];
        let allowed = [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "192.0.1.1",
            "192.88.98.1",
            "223.255.255.255",
            "2001:200::1",
            "2001:db7::1",
            "2a00:1450::1",
            "3ffe::1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ];

        for text in refused {
            assert!(!policy.allows(text.parse().unwrap()), "{text}");
        }
        for text in allowed {
            assert!(policy.allows(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_allow_list_exempts_networks_and_nothing_else() {
        let policy = EgressPolicy {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            allow_http: true,
        };

        assert!(policy.allows("127.9.9.9".parse().unwrap()));
        assert!(!policy.allows("10.0.0.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_server_without_a_url_is_judged_by_its_addresses_however_they_are_written() {
        let strict = EgressPolicy::default();
        let open = EgressPolicy {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            allow_http: true,
        };

        for host in [
            "127.0.0.1",
            "localhost",
            "localhost.",
            "0x7f000001",
            "2130706433",
            "127.1",
            "[::1]",
            "::1",
            "::ffff:169.254.169.254",
            "169.254.169.254",
            "10.0.0.1",
        ] {
            let refused = strict.addresses(host, 25).await.unwrap_err();
            assert_eq!(refused.class, ErrorClass::Egress, "{host}");
            assert!(refused.public.contains("egress.allow"), "{refused}");
        }
        let found = open.addresses("127.1", 2_525).await.unwrap();
        assert_eq!(found, ["127.0.0.1:2525".parse().unwrap()]);
        for host in ["", "a b", "a/b", "user@host"] {
            let refused = strict.addresses(host, 25).await.unwrap_err();
            assert!(
                refused.public.starts_with("settings.smtp_host"),
                "{host}: {refused}"
            );
        }
        assert!(strict.check_plain("x").is_err() && open.check_plain("x").is_ok());
    }

    #[test]
    fn urls_are_judged_before_any_look_up_and_the_remedy_is_named() {
        let strict = EgressPolicy::default();
        let check = |policy: &EgressPolicy, url: &str| {
            policy.check(&url.parse().unwrap()).map_err(|e| e.public)
        };

        assert!(check(&strict, "https://example.com/x").is_ok());
        assert!(
            check(&strict, "http://example.com/x")
                .unwrap_err()
                .contains("egress.allow_http")
        );
        assert!(
            check(&strict, "https://127.0.0.1/x")
                .unwrap_err()
                .contains("egress.allow")
        );
        assert!(
            check(&strict, "https://0x7f000001/x")
                .unwrap_err()
                .contains("127.0.0.1")
        );
        assert!(
            check(&strict, "https://[::1]/x")
                .unwrap_err()
                .contains("egress.allow")
        );
        let userinfo = check(&strict, "https://user:hunter2@example.com/").unwrap_err();
        assert!(!userinfo.contains("hunter2"));
    }
}
