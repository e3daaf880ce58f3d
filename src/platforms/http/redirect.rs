//! Where a request goes in the end: below an address that came with the access token, and where a
//! redirect leads. Each address is judged by the egress rules before it is called, as the first is.

use reqwest::Method;
use reqwest::header::LOCATION;
use url::{Position, Url};

use super::hosts::HostSuffix;
use super::{Auth, Effect, Request, Response};

/// Redirects in a row that are followed.
pub(super) const HOPS_MAX: usize = 3;
/// The URL below an address that came with the token.
pub(super) fn complete(request: &Request, base: &Url) -> Request {
    let mut url = base.clone();
    let path = request.url.path();
    let below = format!("{}{path}", base.path().trim_end_matches('/'));
    url.set_path(&below);
    url.set_query(request.url.query());
    url.set_fragment(None);
    Request {
        url,
        ..request.clone()
    }
}

/// The request that follows a redirect; `None` where it is not followed. Only 307 and 308 keep
/// method and body by definition (RFC 9110 §15.4), so the others are followed by a read without a
/// body alone: a `POST` would become a `GET`.
pub(super) fn next(request: &Request, response: &Response) -> Option<Box<Request>> {
    let is_plain_read = request.effect == Effect::Read && request.method == Method::GET;
    match response.status {
        307 | 308 => {}
        301..=303 if is_plain_read => {}
        _ => return None,
    }
    let location = response.headers.get(LOCATION)?.to_str().ok()?;
    let mut url = request.url.join(location).ok()?;
    url.set_fragment(None);
    let is_safe = url.scheme() == request.url.scheme() || url.scheme() == "https";
    let is_own = url[..Position::BeforePath] == request.url[..Position::BeforePath];
    let host = url.host_str()?;
    if !is_safe {
        return None;
    }
    let allowed = request.redirects_to.iter().filter_map(|to| match to {
        HostSuffix::Own => is_own.then_some(true),
        HostSuffix::Below(name) => HostSuffix::covers(name, host).then_some(is_own),
        HostSuffix::Trusted(name) => HostSuffix::covers(name, host).then_some(true),
    });
    let keeps_credentials = allowed.reduce(|one, other| one || other)?;
    let mut next = Box::new(Request {
        url,
        ..request.clone()
    });
    if !keeps_credentials {
        next.auth = Auth::None;
        next.headers.retain(|(_, value)| !value.is_sensitive());
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    static ZOOM: [HostSuffix; 1] = [HostSuffix::Trusted("zoom.us")];
    static GITHUB: [HostSuffix; 2] = [HostSuffix::Own, HostSuffix::Below("githubusercontent.com")];

    fn answer(status: u16, to: &str) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_str(to).unwrap());
        Response {
            status,
            headers,
            body: Bytes::new(),
            truncated: false,
        }
    }

    fn request(hosts: &'static [HostSuffix], method: Method, effect: Effect) -> Request {
        let mut secret = HeaderValue::from_static("s3cr3t");
        secret.set_sensitive(true);
        let url = "https://api.github.com/repos/o/r/issues?x=1"
            .parse()
            .unwrap();
        Request::new(method, url, Auth::Bearer("t".to_owned().into()), effect)
            .header(HeaderName::from_static("x-secret"), secret)
            .follow(hosts)
    }

    #[test]
    fn a_redirect_is_followed_to_listed_hosts_alone() {
        let to = |hosts, status, target| {
            let asked = request(hosts, Method::GET, Effect::Read);
            next(&asked, &answer(status, target)).map(|next| {
                let keeps = matches!(next.auth, Auth::Bearer(_)) && next.headers.len() == 1;
                (next.url.to_string(), keeps)
            })
        };
        let own = "https://api.github.com/repositories/7/issues";

        assert_eq!(to(&[], 301, own), None);
        assert_eq!(to(&GITHUB, 301, own), Some((own.into(), true)));
        assert_eq!(
            to(&GITHUB, 301, "/repositories/7/issues"),
            Some((own.into(), true))
        );
        let other = "https://raw.githubusercontent.com/x";
        assert_eq!(to(&GITHUB, 302, other), Some((other.into(), false)));
        for refused in [
            "https://evilgithubusercontent.com/x",
            "https://githubusercontent.com.evil.example/x",
            "http://api.github.com/repositories/7",
            "https://api.github.com:8443/repositories/7",
            "https://raw.githubusercontent.com@evil.example/x",
            "ftp://api.github.com/x",
        ] {
            assert_eq!(to(&GITHUB, 307, refused), None, "{refused}");
        }
        let zoom = "https://file01.zoom.us/v2/x";
        assert_eq!(to(&ZOOM, 307, zoom), Some((zoom.into(), true)));
        assert_eq!(to(&ZOOM, 304, zoom), None);
        assert_eq!(to(&ZOOM, 300, zoom), None);
    }

    #[test]
    fn a_request_with_a_body_is_sent_again_as_it_is_or_not_at_all() {
        for (method, effect) in [
            (Method::POST, Effect::Create),
            (Method::PATCH, Effect::Idempotent),
            (Method::POST, Effect::Read),
        ] {
            let asked = request(&GITHUB, method.clone(), effect);
            for status in [301, 302, 303] {
                assert!(next(&asked, &answer(status, "/x")).is_none(), "{method}");
            }
            for status in [307, 308] {
                let again = next(&asked, &answer(status, "/x")).unwrap();
                assert_eq!((again.method, again.effect), (method.clone(), effect));
            }
        }
    }

    #[test]
    fn a_granted_address_comes_before_the_path_and_keeps_its_own() {
        let path = ["chat", "users", "a/b"];
        let request = Request::granted(Method::GET, &path, Effect::Read).unwrap();
        let request = request.query([("x", "1")]);
        let on = |base: &str| complete(&request, &base.parse().unwrap()).url.to_string();

        assert_eq!(
            on("https://acme.my.salesforce.com"),
            "https://acme.my.salesforce.com/chat/users/a%2Fb?x=1"
        );
        assert_eq!(
            on("https://api-eu.zoom.us/v2/?y=2#z"),
            "https://api-eu.zoom.us/v2/chat/users/a%2Fb?x=1"
        );
    }
}
