//! Answers that were given to nobody in particular. Some platforms do not refuse a credential that
//! has expired: they answer as to somebody who is not logged in, with an empty list or "not found",
//! and only a header tells. A proxy in front of a platform answers with its log-in page, often with
//! 200.
//!
//! Such an answer says nothing about the platform's items: it is neither a success nor a proof of
//! absence. So every answer is judged here, before status and body are read, by rules that each
//! platform states as data.

use reqwest::header::{HeaderMap, LOCATION};

use super::response::{Response, lost};
use super::{Effect, Request};
use crate::platforms::{AdapterError, ErrorClass};

/// How much of a page is looked at.
const PAGE_MAX: usize = 64 << 10;
/// A script that leads elsewhere is all that such a page holds.
const SCRIPT_PAGE_MAX: usize = 4 << 10;
const ADVICE: &str =
    "the credential has expired or was revoked; renew it, then run integration.test";

/// How a platform shows that it answered a stranger.
#[derive(Debug, Clone, Copy)]
pub struct Strangers {
    /// Headers that say so.
    pub signs: &'static [Sign],
    /// Headers that say who was let in, and the values that do (none: any value but `anonymous`).
    /// They outweigh a sign that is not certain.
    pub known: &'static [(&'static str, &'static [&'static str])],
    /// Whether a success may be a web page.
    pub pages: Pages,
}

/// A header that says so.
#[derive(Debug, Clone, Copy)]
pub struct Sign {
    /// Its name, in lower case.
    pub header: &'static str,
    /// The values that say so, in any case; none: any value.
    pub values: &'static [&'static str],
    /// Whether it says so whatever else the answer says.
    pub certain: bool,
    /// What can be done, where it is not the usual.
    pub advice: Option<&'static str>,
}

/// Whether a success of a platform may be a web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// Never: a page comes from somebody else, a proxy for instance.
    Never,
    /// It may. Only a log-in page is none.
    Allowed,
}

impl Strangers {
    /// For endpoints that are nobody's platform: log-in pages alone are told.
    pub const PAGES: Self = Self {
        signs: &[],
        known: &[],
        pages: Pages::Allowed,
    };

    /// The sign in an answer's headers, if there is one.
    pub(super) fn sign(&self, headers: &HeaderMap) -> Option<&'static Sign> {
        let known = self.known.iter().any(|(name, accepted)| {
            values(headers, name).any(|value| {
                if accepted.is_empty() {
                    !value.is_empty() && !value.eq_ignore_ascii_case("anonymous")
                } else {
                    accepted.iter().any(|one| one.eq_ignore_ascii_case(value))
                }
            })
        });
        self.signs.iter().find(|sign| {
            (sign.certain || !known)
                && values(headers, sign.header).any(|value| {
                    sign.values.is_empty()
                        || sign
                            .values
                            .iter()
                            .any(|one| one.eq_ignore_ascii_case(value))
                })
        })
    }

    /// Lets an answer pass that may be read.
    ///
    /// # Errors
    /// Class authentication, where it was given to a stranger; class unknown, where something was
    /// made nevertheless, as a look-up will find it; what an unreadable answer is, where a page
    /// came in the place of an answer.
    pub(super) fn judge(&self, request: &Request, response: &Response) -> Result<(), AdapterError> {
        let status = response.status;
        let host = super::request::host(request);
        let refused = |text: String| {
            Err(AdapterError::new(ErrorClass::Authentication, text).with_status(status))
        };
        if let Some(sign) = self.sign(&response.headers) {
            let advice = sign.advice.unwrap_or(ADVICE);
            let text = format!("{host} answered as to somebody who is not logged in: {advice}");
            if status == 201 && request.effect == Effect::Create {
                // Made, but in nobody's name.
                return Err(AdapterError::new(ErrorClass::Unknown, text).with_status(status));
            }
            return refused(text);
        }
        if (300..400).contains(&status) {
            let target = response.headers.get(LOCATION);
            let target = target
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            if leads_to_log_in(target, request.url.as_str()) {
                return refused(format!("{host} redirects to a log-in page: {ADVICE}"));
            }
        }
        if !(response.is_success() || status == 403) {
            return Ok(());
        }
        let Some(page) = page(&response.body) else {
            return Ok(());
        };
        if is_log_in(&page, request.url.as_str()) {
            return refused(format!(
                "{host} answered {status} with a log-in page: {ADVICE}; a proxy in front of it \
                 may want a log-in of its own"
            ));
        }
        if self.pages == Pages::Never && response.is_success() {
            let class = lost(request.effect, ErrorClass::Transient { retry_after: None });
            let text = format!(
                "{host} answered {status} with a web page, which is no answer of the platform; \
                 look at what stands between (a proxy), and at base_url"
            );
            return Err(AdapterError::new(class, text)
                .with_status(status)
                .with_internal(response.quote()));
        }
        Ok(())
    }
}

/// The values of a header, one by one: it may come more than once, and a proxy may join them.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        // `CAPTCHA_CHALLENGE; login-url=…`
        .flat_map(|text| text.split([',', ';']))
        .map(str::trim)
}

/// The beginning of a web page in lower case, if the body is one.
fn page(body: &[u8]) -> Option<String> {
    let start = body.get(..PAGE_MAX).unwrap_or(body);
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('<').then(|| text.to_lowercase())
}

/// Whether a page (in lower case) asks to log in, or leads to one that does.
fn is_log_in(page: &str, own: &str) -> bool {
    let is_form = ["type=\"password\"", "type='password'", "type=password"]
        .iter()
        .any(|field| page.contains(field))
        || page.contains("samlrequest");
    let between = |open: &str, close: &str| {
        let (_, rest) = page.split_once(open)?;
        rest.split_once(close).map(|(text, _)| text)
    };
    let title = between("<title", "</title");
    let is_titled = title.is_some_and(|title| {
        [
            "log in",
            "login",
            "log-in",
            "sign in",
            "sign-in",
            "signin",
            "single sign",
        ]
        .iter()
        .any(|words| title.contains(words))
    });
    let refreshes = page
        .split_once("http-equiv")
        .filter(|(_, rest)| {
            rest.trim_start_matches(['=', '"', '\'', ' '])
                .starts_with("refresh")
        })
        .and_then(|(_, rest)| rest.split_once("url="))
        .map(|(_, rest)| rest.split(['>', ' ']).next().unwrap_or_default())
        .is_some_and(|target| leads_to_log_in(target, own));
    let jumps = page.len() <= SCRIPT_PAGE_MAX
        && between("<script", "</script")
            .filter(|script| script.contains("location"))
            .is_some_and(|script| leads_to_log_in(script, own));
    is_form || is_titled || refreshes || jumps
}

/// Whether an address names a log-in, in a word that the address asked for does not have.
fn leads_to_log_in(target: &str, own: &str) -> bool {
    const WORDS: [&str; 13] = [
        "signin",
        "signon",
        "logon",
        "sso",
        "saml",
        "saml2",
        "auth",
        "authorize",
        "authenticate",
        "oauth2",
        "openid",
        "adfs",
        "cas",
    ];
    let (target, own) = (target.to_lowercase(), own.to_lowercase());
    let known: Vec<&str> = words(&own).collect();
    words(&target)
        .any(|word| (WORDS.contains(&word) || word.contains("login")) && !known.contains(&word))
        || ["sign-in", "sign_in", "log-in", "log_in"]
            .iter()
            .any(|word| target.contains(word) && !own.contains(word))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::Method;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::platforms::{Auth, jira};

    fn judged(
        rules: &Strangers,
        effect: Effect,
        status: u16,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> &'static str {
        let url = "https://acme.example/rest/api/3/issue".parse().unwrap();
        let request = Request::new(Method::POST, url, Auth::None, effect);
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let response = Response {
            status,
            headers: all,
            body: Bytes::from(body.to_owned()),
            truncated: false,
        };
        match rules
            .judge(&request, &response)
            .map_err(|error| error.class)
        {
            Ok(()) => "passes",
            Err(ErrorClass::Authentication) => "authentication",
            Err(ErrorClass::Unknown) => "unknown",
            Err(ErrorClass::Transient { .. }) => "transient",
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn jira_tells_a_stranger_by_headers_whatever_status_and_body_say() {
        let rules = &jira::DESCRIPTOR.strangers;
        let seraph = "x-seraph-loginreason";
        let of = |status, headers: &[(&'static str, &str)]| {
            judged(rules, Effect::Read, status, headers, r#"{"issues":[]}"#)
        };

        for status in [200, 204, 400, 403, 404, 409, 429, 500, 503] {
            for value in [
                "AUTHENTICATED_FAILED",
                "authentication_denied",
                "AUTHORISATION_FAILED",
                "OUT",
            ] {
                assert_eq!(
                    of(status, &[(seraph, value)]),
                    "authentication",
                    "{status} {value}"
                );
            }
        }
        assert_eq!(of(200, &[("x-ausername", "anonymous")]), "authentication");
        let captcha = (
            "x-authentication-denied-reason",
            "CAPTCHA_CHALLENGE; login-url=https://x/login.jsp",
        );
        assert_eq!(of(403, &[captcha]), "authentication");
        // A session that ended and one that began: both are told, in one header or in two.
        assert_eq!(of(200, &[(seraph, "OUT"), (seraph, "OK")]), "passes");
        assert_eq!(of(200, &[(seraph, "OUT, OK")]), "passes");
        assert_eq!(
            of(200, &[(seraph, "OUT"), ("x-ausername", "bot")]),
            "passes"
        );
        assert_eq!(
            of(200, &[(seraph, "OUT"), ("x-ausername", "anonymous")]),
            "authentication"
        );
        assert_eq!(
            of(
                200,
                &[(seraph, "AUTHENTICATED_FAILED"), ("x-aaccountid", "5")]
            ),
            "authentication"
        );
        assert_eq!(of(200, &[(seraph, "OK"), ("x-ausername", "bot")]), "passes");
        assert_eq!(of(404, &[]), "passes");
    }

    #[test]
    fn what_a_stranger_made_is_of_unknown_outcome_and_looked_up() {
        let rules = &jira::DESCRIPTOR.strangers;
        let failed = [("x-seraph-loginreason", "AUTHENTICATED_FAILED")];

        assert_eq!(judged(rules, Effect::Create, 201, &failed, "{}"), "unknown");
        assert_eq!(
            judged(rules, Effect::Create, 200, &failed, "{}"),
            "authentication"
        );
        assert_eq!(
            judged(rules, Effect::Create, 400, &failed, "{}"),
            "authentication"
        );
        assert_eq!(
            judged(rules, Effect::Idempotent, 201, &failed, "{}"),
            "authentication"
        );
    }

    #[test]
    fn a_log_in_page_is_no_answer_on_any_platform() {
        let pages = [
            "<!DOCTYPE html><html><form action=/login><input type=\"password\" \
             name=p></form></html>",
            "\u{feff}\n <html><head><title>Log in - Acme Jira</title></head></html>",
            "<html><form method=post action=https://idp/x><input name=\"SAMLRequest\" \
             value=x></form></html>",
            "<html><head><meta http-equiv=\"refresh\" \
             content=\"0;url=/login.jsp?os=1\"></head></html>",
            "<html><script>window.location = 'https://sso.example/start';</script></html>",
        ];
        for page in pages {
            for rules in [&jira::DESCRIPTOR.strangers, &Strangers::PAGES] {
                for effect in [Effect::Read, Effect::Idempotent, Effect::Create] {
                    assert_eq!(
                        judged(rules, effect, 200, &[], page),
                        "authentication",
                        "{page}"
                    );
                }
                assert_eq!(
                    judged(rules, Effect::Read, 403, &[], page),
                    "authentication",
                    "{page}"
                );
                // What failed has its own class.
                assert_eq!(
                    judged(rules, Effect::Read, 503, &[], page),
                    "passes",
                    "{page}"
                );
            }
        }
    }

    #[test]
    fn another_page_is_no_answer_where_the_platform_has_none() {
        let page = "<html><body>Thank you</body></html>";

        assert_eq!(
            judged(&Strangers::PAGES, Effect::Create, 200, &[], page),
            "passes"
        );
        let jira = &jira::DESCRIPTOR.strangers;
        assert_eq!(judged(jira, Effect::Create, 201, &[], page), "unknown");
        assert_eq!(
            judged(jira, Effect::Idempotent, 204, &[], page),
            "transient"
        );
        assert_eq!(judged(jira, Effect::Read, 200, &[], page), "transient");
        assert_eq!(judged(jira, Effect::Idempotent, 204, &[], ""), "passes");
    }

    #[test]
    fn a_redirect_to_a_log_in_is_told_from_another() {
        let to = |target| {
            judged(
                &Strangers::PAGES,
                Effect::Create,
                302,
                &[("location", target)],
                "",
            )
        };

        for target in [
            "/login.jsp?permissionViolation=true",
            "https://login.microsoftonline.com/common/oauth2/authorize",
            "https://acme.example/saml/start",
            "https://id.example/auth?x=1",
            "/users/sign_in",
        ] {
            assert_eq!(to(target), "authentication", "{target}");
        }
        for target in [
            "https://acme.example/jira/rest/api/3/issue",
            "/elsewhere",
            "",
        ] {
            assert_eq!(to(target), "passes", "{target}");
        }
    }
}
