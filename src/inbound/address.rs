//! Where a request comes from, and by which address a platform reached us.

use std::net::IpAddr;

use hyper::HeaderMap;
use ipnet::IpNet;
use url::Url;

use crate::domain::IntegrationId;
use crate::store::HookEntry;

/// What comes before an integration's id.
pub(super) const PATH: &str = "/webhooks/";

/// The address that a request comes from: the peer, or, where that is a proxy of ours, the last
/// address that is none in what it forwarded. What others wrote before that proves nothing.
pub(super) fn source(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let is_proxy = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
    if !is_proxy(&peer) {
        return peer;
    }
    let lines = headers.get_all("x-forwarded-for").iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let mut named = lines.iter().rev().flat_map(|line| line.rsplit(','));
    // What is no address was not written by a proxy of ours.
    named
        .by_ref()
        .map_while(|text| address(text.trim()))
        .find(|address| !is_proxy(address))
        .unwrap_or(peer)
}

/// An address, in brackets and with a port or not.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || {
        text.parse::<std::net::SocketAddr>()
            .ok()
            .map(|one| one.ip())
    };
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let found = bare.or_else(with_port).or_else(bracketed);
    found.map(|address: IpAddr| address.to_canonical())
}

/// The addresses by which an integration's platform may have reached us, with the query as it came:
/// those that were registered, the newest first, and the one that is configured. Never what `Host`
/// says. None where neither is known.
pub(super) fn reached(entry: &HookEntry, public: Option<&Url>, query: Option<&str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let configured = public.map(|base| public_url(base, entry.id));
    for url in entry.urls.iter().cloned().chain(configured) {
        if !url.is_empty() && !all.contains(&url) {
            all.push(url);
        }
    }
    let with_query = |url: String| match query {
        Some(query) if url.contains('?') => format!("{url}&{query}"),
        Some(query) => format!("{url}?{query}"),
        None => url,
    };
    all.into_iter().map(with_query).collect()
}

/// The address of an integration under `http.webhook_public_url`.
pub(super) fn public_url(base: &Url, integration: IntegrationId) -> String {
    let base = base.as_str().trim_end_matches('/');
    format!("{base}{PATH}{integration}")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn from(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        source(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn only_a_proxy_of_ours_is_believed_and_only_its_last_word() {
        assert_eq!(from("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(from("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            from("10.0.0.1", &["1.2.3.4, 198.51.100.7, 10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(
            from("10.0.0.1", &["1.2.3.4", "198.51.100.7:4711"]),
            "198.51.100.7"
        );
        assert_eq!(
            from("fd00::1", &["[2001:db8::1]:80, fd00::2"]),
            "2001:db8::1"
        );
        assert_eq!(from("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["10.0.0.9"]), "10.0.0.1");
    }
}
