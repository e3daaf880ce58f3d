//! Sending to Jira and judging what it answers.

use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::super::{AdapterError, CallContext, Effect, ErrorClass, Request, Response};
use super::facts::{ERRORS, RATE};
use super::{Jira, Version};

use crate::telemetry::clock;

/// What to do about a project without labels.
const NO_LABELS: &str = "put the field Labels on the screen that creates them, as a lost create is \
                         found again by a label";

/// A number of Jira's: of an issue, of an issue type. It becomes a part of an address later, so an
/// answer with another id cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Id(pub(super) String);

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_number(&text) {
            Ok(Self(text))
        } else {
            Err("an id that is no number")
        }
    }
}

/// Whether this is a number of an issue.
pub(super) fn is_number(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A text as a value of JQL: nothing in it ends the text.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl Jira {
    /// A read with a query.
    pub(super) fn reading(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Request, AdapterError> {
        let mut request = self.api.get(path)?;
        if !query.is_empty() {
            request.url.query_pairs_mut().extend_pairs(query);
        }
        Ok(request)
    }

    /// A search; the versions have different paths for it.
    pub(super) fn search(&self, body: &Value) -> Result<Request, AdapterError> {
        let path: &[&str] = match self.version {
            Version::V3 => &["search", "jql"],
            Version::V2 => &["search"],
        };
        let request = self.api.request(Method::POST, path, Effect::Read)?;
        Ok(request.json(body))
    }

    /// Sends a read and reads its answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        context: &CallContext<'_>,
        request: Request,
        what: &str,
    ) -> Result<T, AdapterError> {
        let answer = context.send(request).await?;
        self.take(&answer, Effect::Read, what)
    }

    /// Reads an answer.
    pub(super) fn take<T: DeserializeOwned>(
        &self,
        answer: &Response,
        effect: Effect,
        what: &str,
    ) -> Result<T, AdapterError> {
        self.judge(answer, effect, what)?;
        answer.json(effect)
    }

    /// What a refusal means: the table's word, with the custom fields by our names.
    pub(super) fn judge(
        &self,
        answer: &Response,
        effect: Effect,
        what: &str,
    ) -> Result<(), AdapterError> {
        let Err(mut error) = ERRORS.check(answer, effect, what) else {
            return Ok(());
        };
        let said = ERRORS.said(answer);
        match &mut error.class {
            // A concurrent edit: what is idempotent is simply done again.
            class @ ErrorClass::Conflict if effect != Effect::Create => {
                *class = ErrorClass::Transient { retry_after: None };
            }
            // Where Jira names no time, the pauses grow.
            ErrorClass::RateLimited { retry_after } => {
                let pause = RATE.pause(answer, true, clock::now());
                *retry_after = pause.filter(|p| p.said_by.is_some()).map(|p| p.wait);
            }
            ErrorClass::Validation { fields }
                if !said.fields.is_empty() || !said.texts.is_empty() =>
            {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, fault)| self.our_fault(name, fault, effect))
                    .collect();
                let is_too_long = |text: &String| text.contains("CONTENT_LIMIT_EXCEEDED");
                if said.texts.iter().any(is_too_long) {
                    fields.insert("description".into(), "is longer than Jira takes".into());
                }
                if !fields.is_empty() {
                    let faults = fields
                        .iter()
                        .map(|(name, fault)| format!("{name}: {fault}"));
                    let faults = faults.collect::<Vec<_>>().join("; ");
                    error.public = format!("{what}: Jira does not take {faults}");
                    // What it says of no field stands beside them.
                    if let Some(words) = answer.words().filter(|_| !said.texts.is_empty()) {
                        error.public = format!("{}; it says: {words}", error.public);
                    }
                }
            }
            _ => {}
        }
        Err(error)
    }

    /// A fault of a field of Jira's by our name; the table has named those of the system.
    fn our_fault(&self, theirs: String, fault: String, effect: Effect) -> (String, String) {
        match self.fields.ours(&theirs) {
            Some(ours) => (format!("custom_fields.{ours}"), fault),
            // A new issue has labels whether its ticket has tags or not.
            None if theirs == "tags" && effect == Effect::Create => {
                let why = format!(
                    "names a project whose issues cannot be created with labels; {NO_LABELS}: \
                     {fault}"
                );
                ("settings.project_key".to_owned(), why)
            }
            None => (theirs, fault),
        }
    }
}

#[cfg(test)]
mod tests;
