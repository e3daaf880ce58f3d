//! `egress.proxy`: the way out, where it is not open.

use std::collections::BTreeMap;

use secrecy::SecretString;
use url::Url;

/// Through which proxy requests go.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// For `https://` targets, by CONNECT; its address may carry user and password.
    pub https: Option<SecretString>,
    /// For `http://` targets.
    pub http: Option<SecretString>,
    /// Hosts, domains and networks that are reached directly, as in `NO_PROXY`.
    pub direct: String,
}

/// Says that the usual variables are meant.
const ENVIRONMENT: &str = "environment";

impl Proxy {
    /// Reads the setting; nothing where it is empty, or where the environment names no proxy.
    ///
    /// # Errors
    /// What is wrong and what would be right; never the address, which may carry a password.
    pub(super) fn read(text: &str, env: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        if text != ENVIRONMENT {
            let address = address(text).ok_or_else(|| {
                "must be the address of an HTTP proxy, e.g. http://proxy.example.org:3128, or \
                 environment"
                    .to_owned()
            })?;
            return Ok(Some(Self {
                https: Some(address.clone()),
                http: Some(address),
                direct: String::new(),
            }));
        }
        // As curl and others read them, the lower case first.
        let variable = |names: &[&str]| {
            let both = names
                .iter()
                .flat_map(|name| [name.to_lowercase(), (*name).to_owned()]);
            both.filter_map(|name| Some((env.get(&name)?.trim().to_owned(), name)))
                .find(|(value, _)| !value.is_empty())
        };
        let proxy = |names: &[&str]| {
            let Some((value, name)) = variable(names) else {
                return Ok(None);
            };
            address(&value).map(Some).ok_or_else(|| {
                format!(
                    "finds in {name} no address of an HTTP proxy, e.g. \
                         http://proxy.example.org:3128"
                )
            })
        };
        let (https, http) = (
            proxy(&["HTTPS_PROXY", "ALL_PROXY"])?,
            proxy(&["HTTP_PROXY", "ALL_PROXY"])?,
        );
        let direct = variable(&["NO_PROXY"]).map_or_else(String::new, |(value, _)| value);
        let is_any = https.is_some() || http.is_some();
        Ok(is_any.then_some(Self {
            https,
            http,
            direct,
        }))
    }
}

/// An address of a proxy; without a scheme it is one of HTTP, as in the usual variables.
fn address(text: &str) -> Option<SecretString> {
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&whole).ok()?;
    let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain).then(|| whole.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Option<Proxy>, String> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Proxy::read(text, &env.iter().map(pair).collect())
    }

    fn shown(address: Option<&SecretString>) -> Option<&str> {
        address.map(|address| address.expose_secret())
    }

    #[test]
    fn a_proxy_is_named_or_found_in_the_usual_variables() {
        let named = read(
            "http://u:hunter2@proxy:3128",
            &[("HTTPS_PROXY", "http://other")],
        );
        let named = named.unwrap().unwrap();
        assert_eq!(
            shown(named.https.as_ref()),
            Some("http://u:hunter2@proxy:3128")
        );
        assert_eq!(shown(named.http.as_ref()), shown(named.https.as_ref()));
        assert!(!format!("{named:?}").contains("hunter2"));

        let env = [
            ("https_proxy", "proxy:3128"),
            ("HTTPS_PROXY", "http://other"),
            ("ALL_PROXY", "http://all:1"),
            ("NO_PROXY", "10.0.0.0/8,.example.org"),
        ];
        let found = read("environment", &env).unwrap().unwrap();
        assert_eq!(shown(found.https.as_ref()), Some("http://proxy:3128"));
        assert_eq!(shown(found.http.as_ref()), Some("http://all:1"));
        assert_eq!(found.direct, "10.0.0.0/8,.example.org");

        assert!(read("", &env).unwrap().is_none());
        assert!(read("environment", &[("NO_PROXY", "*")]).unwrap().is_none());
        for text in [
            "socks5://u:hunter2@h",
            "http://h/path",
            "http://",
            "u:hunter2@",
        ] {
            let fault = read(text, &[]).unwrap_err();
            assert!(
                fault.contains("http://proxy") && !fault.contains("hunter2"),
                "{fault}"
            );
        }
        let fault = read("environment", &[("HTTP_PROXY", "socks4://hunter2")]).unwrap_err();
        assert!(
            fault.contains("HTTP_PROXY") && !fault.contains("hunter2"),
            "{fault}"
        );
    }
}
