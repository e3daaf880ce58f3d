//! A request as a fake platform sees it: whole, and parsed once.

use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::mime::{self, FormPart};
use super::outgoing::Heard;

/// One request, read whole.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Path below the site, as it came: `/rest/api/3/issue`.
    pub(super) path: String,
    /// The path's parts, percent-decoded.
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body where it is JSON and is declared so; parsed before the site's lock is taken.
    pub(super) json: Option<Value>,
    /// The body's fields where it is declared to be a form (`application/x-www-form-urlencoded`).
    pub(super) form: Vec<(String, String)>,
    /// The body's parts where it is declared to have some (`multipart/…`).
    pub(super) parts: Vec<FormPart>,
    /// URL of the site, without a trailing slash.
    pub(super) base: String,
    /// What somebody else said whom the platform asked first.
    pub(super) heard: Heard,
}

impl Call {
    pub(super) fn new(
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
        base: String,
    ) -> Self {
        let declared = declared(&headers);
        let essence = essence(declared);
        let (mut json, mut form, mut parts) = (None, Vec::new(), Vec::new());
        if is_json(&essence) {
            json = serde_json::from_slice(&body).ok();
        } else if essence == "application/x-www-form-urlencoded" {
            form = url::form_urlencoded::parse(&body).into_owned().collect();
        } else if essence.starts_with("multipart/") {
            parts = mime::form(declared, &body);
        }
        Self {
            method,
            segments: path
                .split('/')
                .filter(|s| !s.is_empty())
                .map(decode)
                .collect(),
            path: path.to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers,
            body,
            json,
            form,
            parts,
            base,
            heard: Heard::default(),
        }
    }

    /// The first value of a query parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A numeric query parameter, or the default.
    pub(super) fn number(&self, name: &str, default: usize) -> usize {
        self.param(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    /// Whether a comma-separated query parameter has this member.
    pub(super) fn lists(&self, name: &str, member: &str) -> bool {
        self.param(name)
            .is_some_and(|list| list.split(',').any(|part| part.trim() == member))
    }

    /// A header, where it is one text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What follows this scheme in `Authorization`.
    pub(super) fn authorization(&self, scheme: &str) -> Option<&str> {
        let (own, rest) = self.header("authorization")?.split_once(' ')?;
        own.eq_ignore_ascii_case(scheme).then_some(rest.trim())
    }

    /// User and secret of `Authorization: Basic`; `None` also where they are unreadable.
    pub(super) fn basic(&self) -> Option<(String, String)> {
        let bytes = STANDARD.decode(self.authorization("basic")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, secret) = text.split_once(':')?;
        Some((user.to_owned(), secret.to_owned()))
    }

    /// A text member of the body, be it JSON, a form or one in parts; empty where there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        let in_json = || self.json.as_ref()?.get(name)?.as_str();
        let in_form = || {
            let field = self.form.iter().find(|(own, _)| own == name);
            field.map(|(_, value)| value.as_str())
        };
        in_json()
            .or_else(in_form)
            .or_else(|| self.part(name).and_then(FormPart::text))
            .unwrap_or_default()
    }

    /// The first part of this name.
    pub(super) fn part(&self, name: &str) -> Option<&FormPart> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The member of the JSON body at this pointer (`/fields/summary`); null where there is none.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.json
            .as_ref()
            .and_then(|json| json.pointer(pointer))
            .unwrap_or(&Value::Null)
    }

    /// Whether the body is declared to be JSON.
    pub(super) fn declares_json(&self) -> bool {
        is_json(&essence(declared(&self.headers)))
    }
}

fn declared(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// A media type without parameters, in lower case.
fn essence(declared: &str) -> String {
    let essence = declared.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Also `application/vnd.api+json` and its like (RFC 6839 §3.1).
fn is_json(essence: &str) -> bool {
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Percent-decodes one path segment; the form decoder would also turn `+` into a space, so `+` is
/// shielded.
fn decode(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    let shielded = segment
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    url::form_urlencoded::parse(shielded.as_bytes())
        .next()
        .map_or_else(|| segment.to_owned(), |(key, _)| key.into_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn call(media_type: &'static str, body: &'static str) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let body = Bytes::from_static(body.as_bytes());
        Call::new(
            Method::POST,
            "/a%2Fb/c",
            "q=1&q=2",
            headers,
            body,
            String::new(),
        )
    }

    #[test]
    fn a_field_is_found_in_every_kind_of_body() {
        let parts = "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nv\u{e4}\r\n--b--";
        for (media_type, body) in [
            (
                "application/json; charset=utf-8",
                r#"{"name": "v\u00e4", "number": 1}"#,
            ),
            ("application/vnd.api+json", r#"{"name": "v\u00e4"}"#),
            ("Application/X-WWW-Form-Urlencoded", "name=v%C3%A4&name=2"),
            ("multipart/form-data; boundary=b", parts),
        ] {
            let call = call(media_type, body);
            assert_eq!(call.field("name"), "v\u{e4}", "{media_type}");
            assert_eq!((call.field("number"), call.field("none")), ("", ""));
        }
        let undeclared = call("text/plain", "name=v");
        assert_eq!(undeclared.field("name"), "");
        assert!(undeclared.json.is_none() && !undeclared.declares_json());
    }

    #[test]
    fn members_segments_and_parameters_are_decoded() {
        let call = call("application/json", r#"{"a": {"b": [1]}}"#);

        assert_eq!(
            (call.at("/a/b/0"), call.at("/x")),
            (&json!(1), &Value::Null)
        );
        assert_eq!(call.segments, ["a/b", "c"]);
        assert_eq!(call.param("q"), Some("1"));
        assert_eq!(call.header("content-type"), Some("application/json"));
    }
}
