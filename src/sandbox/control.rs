//! `/_sandbox`: what a test out of process does to a site and reads of it.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::fault::Fault;
use super::{SandboxError, Shared};

/// The answer to `GET /_sandbox`.
const HELP: &str = include_str!("help.txt");

/// Answers one control request; `segments` are the path's parts after `_sandbox`.
pub(super) fn answer(
    shared: &Shared,
    method: &Method,
    segments: &[&str],
    query: &str,
    body: &[u8],
) -> Response {
    match try_answer(shared, method, segments, query, body) {
        Ok(response) => response,
        Err(error) => {
            let status = match error {
                SandboxError::UnknownPlatform(_) => StatusCode::NOT_FOUND,
                SandboxError::TooManySites => StatusCode::INSUFFICIENT_STORAGE,
                SandboxError::SiteName(_) | SandboxError::Refused(_) => StatusCode::BAD_REQUEST,
            };
            (status, axum::Json(json!({"error": error.to_string()}))).into_response()
        }
    }
}

fn try_answer(
    shared: &Shared,
    method: &Method,
    segments: &[&str],
    query: &str,
    body: &[u8],
) -> Result<Response, SandboxError> {
    let (address, verb) = match segments {
        [] => return Ok(help(method)),
        ["certificate"] if method == Method::GET => {
            let media_type = [(header::CONTENT_TYPE, "application/x-pem-file")];
            return Ok((media_type, shared.certificate.pem.clone()).into_response());
        }
        [site] => ((*site).to_owned(), ""),
        // `/_sandbox/acme/ledger` is Jira's; every platform can be named:
        // `/_sandbox/jira/acme/ledger`.
        [site, verb @ ("ledger" | "faults" | "settings")] => ((*site).to_owned(), *verb),
        [platform, site] => (format!("{platform}/{site}"), ""),
        [platform, site, verb] => (format!("{platform}/{site}"), *verb),
        _ => return Ok(not_found()),
    };
    let site = || shared.site(&address);
    Ok(match (method, verb) {
        (&Method::DELETE, "") => {
            shared.forget(&address)?;
            StatusCode::NO_CONTENT.into_response()
        }
        (&Method::GET, "ledger") => {
            let params = url::form_urlencoded::parse(query.as_bytes());
            let (mut label, mut issues) = (None, true);
            for (name, value) in params {
                match name.as_ref() {
                    "label" => label = Some(value.into_owned()),
                    "issues" => issues = value != "false",
                    other => {
                        return Err(SandboxError::Refused(format!("unknown parameter {other}")));
                    }
                }
            }
            axum::Json(site()?.ledger(label.as_deref(), issues)).into_response()
        }
        (&Method::GET, "faults") => axum::Json(site()?.faults()).into_response(),
        (&Method::POST, "faults") => {
            let faults: Vec<Fault> = parse(body)?;
            for fault in &faults {
                fault.validate().map_err(SandboxError::Refused)?;
            }
            let site = site()?;
            for fault in faults {
                site.inject(fault).map_err(SandboxError::Refused)?;
            }
            axum::Json(site.faults()).into_response()
        }
        (&Method::DELETE, "faults") => {
            site()?.clear_faults();
            StatusCode::NO_CONTENT.into_response()
        }
        (&Method::GET, "settings") => axum::Json(site()?.settings()).into_response(),
        (&Method::POST, "settings") => {
            let Value::Object(changes) = parse(body)? else {
                return Err(SandboxError::Refused("settings are a JSON object".into()));
            };
            let site = site()?;
            site.configure(changes).map_err(SandboxError::Refused)?;
            axum::Json(site.settings()).into_response()
        }
        _ => not_found(),
    })
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, SandboxError> {
    serde_json::from_slice(body).map_err(|error| SandboxError::Refused(error.to_string()))
}

fn help(method: &Method) -> Response {
    if method != Method::GET {
        return not_found();
    }
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (text, Body::from(HELP)).into_response()
}

/// Also what an unknown platform or path outside `/_sandbox` gets.
pub(super) fn not_found() -> Response {
    let hint = json!({"error": "nothing here; GET /_sandbox tells what there is"});
    (StatusCode::NOT_FOUND, axum::Json(hint)).into_response()
}
