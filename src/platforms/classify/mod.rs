//! What a refusal means: a table a platform. Its shapes take a body apart into codes, texts and
//! faults by field; its rules say what they mean, the first that fits; what no rule names has the
//! meaning of its status ([`Response::check`]).

mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::shape::{Fields, Said, Shape};
use super::http::lost;
use super::http::redact::clean_text;
use super::rate::{RateHeaders, Scope};
use super::{AdapterError, Effect, ErrorClass, Response};

use crate::telemetry::clock;

/// Longest text of a platform's that is published with a field.
const FAULT_MAX: usize = 200;
/// Longest code of a platform's that is published.
const CODE_MAX: usize = 80;
/// What is wrong with a field where nothing is said of it.
const REFUSED: &str = "is refused";
/// Fields that an error names, at most.
const FIELDS_MAX: usize = 50;

/// How a platform refuses.
#[derive(Debug, Clone, Copy)]
pub struct ErrorTable {
    /// How its bodies are built; the first that says anything counts.
    pub shapes: &'static [Shape],
    /// What they mean; the first that fits counts. One that names a status below 300 is asked about
    /// successes too.
    pub rules: &'static [Rule],
    /// Where a success may be none (Slack's `ok`): a pointer to what is true then.
    pub ok: Option<&'static str>,
    /// Its name of a field, and ours.
    pub fields: &'static [(&'static str, &'static str)],
    /// What it says of its budget.
    pub rate: RateHeaders,
}

/// What a refusal of this kind means. All that a rule names must fit.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    statuses: Option<(u16, u16)>,
    codes: &'static [&'static str],
    text: &'static [&'static str],
    header: Option<(&'static str, &'static str)>,
    means: Means,
    field: &'static str,
    advice: &'static str,
}

/// A rule about answers with this status.
#[must_use]
pub const fn rule(status: u16) -> Rule {
    Rule::any().statuses(status, status)
}

impl Rule {
    /// A rule about any refusal.
    #[must_use]
    pub const fn any() -> Self {
        Self {
            statuses: None,
            codes: &[],
            text: &[],
            header: None,
            means: Means::Validation,
            field: "",
            advice: "",
        }
    }

    /// Only of these statuses, both included.
    #[must_use]
    pub const fn statuses(mut self, first: u16, last: u16) -> Self {
        self.statuses = Some((first, last));
        self
    }

    /// Only with one of these codes. A `*` stands for any letters.
    #[must_use]
    pub const fn code(mut self, codes: &'static [&'static str]) -> Self {
        self.codes = codes;
        self
    }

    /// Only with one of these in its text, in lower case.
    #[must_use]
    pub const fn text(mut self, text: &'static [&'static str]) -> Self {
        self.text = text;
        self
    }

    /// Only with this header, and this value of it (empty: any).
    #[must_use]
    pub const fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// What it means.
    #[must_use]
    pub const fn means(mut self, means: Means) -> Self {
        self.means = means;
        self
    }

    /// Our field whose value is not taken; the advice says what is wrong with it.
    #[must_use]
    pub const fn field(mut self, name: &'static str) -> Self {
        self.field = name;
        self
    }

    /// What a person can do about it. A `{}` in it stands for the first text of the body; where
    /// there is none, nothing is advised.
    #[must_use]
    pub const fn advice(mut self, advice: &'static str) -> Self {
        self.advice = advice;
        self
    }

    /// The advice, with what the platform says in it.
    fn advised(&self, said: &Said) -> String {
        match said.texts.first() {
            Some(text) => self.advice.replace("{}", line(text).trim()),
            None if self.advice.contains("{}") => String::new(),
            None => self.advice.to_owned(),
        }
    }

    /// The field that is at fault, if the rule names one.
    fn fault(&self, advice: &str) -> Option<(String, String)> {
        let fault = if advice.is_empty() { REFUSED } else { advice };
        (!self.field.is_empty()).then(|| (self.field.to_owned(), fault.to_owned()))
    }

    fn fits(&self, answer: &Response, said: &Said, is_failure: bool) -> bool {
        let status = answer.status;
        let of_status = match self.statuses {
            Some((first, last)) => (first..=last).contains(&status),
            None => is_failure,
        };
        let has_code = |wanted: &&str| said.codes.iter().any(|code| is_like(code, wanted));
        let has_header = self.header.is_none_or(|(name, value)| {
            let found = answer.header(name);
            found.is_some_and(|found| value.is_empty() || found.trim() == value)
        });
        let has_text = || {
            let text = said.text().to_lowercase();
            self.text.iter().any(|wanted| text.contains(wanted))
        };
        of_status
            && has_header
            && (self.codes.is_empty() || self.codes.iter().any(has_code))
            && (self.text.is_empty() || has_text())
    }
}

/// Whether a code is one, where a `*` may stand for any letters.
fn is_like(code: &str, wanted: &str) -> bool {
    match wanted.split_once('*') {
        None => code == wanted,
        Some((start, end)) => code
            .strip_prefix(start)
            .is_some_and(|rest| rest.ends_with(end)),
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Nothing was done, and later it may be.
    Transient,
    /// The same, but not so soon.
    Later(Duration),
    /// What makes something may have made it.
    Doubtful,
    /// Too much; the wait where the answer says none.
    RateLimited(Scope, Duration),
    /// The credential is bad.
    Authentication,
    /// The credential may not do this.
    Permission,
    /// It is not there.
    NotFound,
    /// The endpoint is gone for good.
    Gone,
    /// The data is not taken.
    Validation,
    /// Somebody else changed it meanwhile.
    Conflict,
    /// The platform cannot do this.
    Unsupported,
    /// What was to be made is there: it is to be looked up.
    Exists,
    /// What was to be done is done.
    Done,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It worked.
    Good,
    /// What was to be done had been done before.
    Done,
    /// What was to be made is there.
    Exists,
    /// It did not work.
    Failed(AdapterError),
}

impl ErrorTable {
    /// A platform whose statuses say everything.
    #[must_use]
    pub const fn of_status(rate: RateHeaders) -> Self {
        Self {
            shapes: &[],
            rules: &[],
            ok: None,
            fields: &[],
            rate,
        }
    }

    /// What a body says.
    #[must_use]
    pub fn said(&self, answer: &Response) -> Said {
        let shapes = self.shapes.iter();
        let mut found = shapes.map(|shape| shape.read(answer));
        found.find(|said| !said.is_empty()).unwrap_or_default()
    }

    /// What an answer says; `what` is what was asked for, for people.
    #[must_use]
    pub fn judge(&self, answer: &Response, effect: Effect, what: &str) -> Judged {
        let says_ok = self.ok.map(|ok| truth(answer, ok));
        let is_failure = !answer.is_success() || says_ok.is_some_and(|said| said != Some(true));
        let of_success = |rule: &Rule| rule.statuses.is_some_and(|(first, _)| first < 300);
        if !is_failure && !self.rules.iter().any(of_success) {
            return Judged::Good;
        }
        let said = self.said(answer);
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.fits(answer, &said, is_failure));
        let failed = match rule {
            Some(rule) => match rule.means {
                Means::Done => return Judged::Done,
                Means::Exists => return Judged::Exists,
                _ => self.failed(answer, effect, what, &said, rule),
            },
            None if !is_failure => return Judged::Good,
            None => match answer.check(effect, what) {
                Ok(()) if says_ok == Some(None) => unsaid(answer, effect, what),
                // A refusal in the body of a success that nobody knows: asking again would not
                // help.
                Ok(()) => self.failed(answer, effect, what, &said, &Rule::any()),
                Err(error) => self.completed(answer, &said, error),
            },
        };
        Judged::Failed(failed)
    }

    /// The same, where what is done or there already is as little use as another refusal.
    ///
    /// # Errors
    /// Always, unless it worked.
    pub fn check(&self, answer: &Response, effect: Effect, what: &str) -> Result<(), AdapterError> {
        let conflict = |text: &str| {
            let text = format!("{what}: {text}");
            Err(AdapterError::new(ErrorClass::Conflict, text)
                .with_status(answer.status)
                .with_internal(answer.quote()))
        };
        match self.judge(answer, effect, what) {
            Judged::Good => Ok(()),
            Judged::Done => conflict("had been done before"),
            Judged::Exists => conflict("is there already"),
            Judged::Failed(error) => Err(error),
        }
    }

    fn failed(
        &self,
        answer: &Response,
        effect: Effect,
        what: &str,
        said: &Said,
        rule: &Rule,
    ) -> AdapterError {
        let now = clock::now();
        let retry_after = answer.retry_after(now);
        let transient = ErrorClass::Transient { retry_after };
        let advice = rule.advised(said);
        let (class, text) = match rule.means {
            Means::Transient => (transient, "the platform cannot do it now"),
            Means::Later(wait) => {
                let retry_after = retry_after.or(Some(wait));
                let class = ErrorClass::Transient { retry_after };
                (class, "the platform cannot do it now")
            }
            Means::Doubtful => (lost(effect, transient), "the platform failed"),
            Means::RateLimited(..) => (
                ErrorClass::RateLimited { retry_after },
                "the platform's rate limit is reached",
            ),
            Means::Authentication => (
                ErrorClass::Authentication,
                "the platform does not take the credentials",
            ),
            Means::Permission => (
                ErrorClass::Permission,
                "the credentials are not permitted to do this",
            ),
            Means::NotFound => (
                ErrorClass::NotFound,
                "not found on the platform, or not visible",
            ),
            Means::Gone => (ErrorClass::Gone, "it is gone for good"),
            Means::Conflict | Means::Exists | Means::Done => {
                (ErrorClass::Conflict, "the platform reports a conflict")
            }
            Means::Unsupported => (ErrorClass::Unsupported, "the platform cannot do this"),
            Means::Validation => (
                ErrorClass::Validation {
                    fields: rule
                        .fault(&advice)
                        .into_iter()
                        .chain(self.faults(said))
                        .collect(),
                },
                "the platform does not take the data",
            ),
        };
        let code = said.codes.first().and_then(|code| word(code));
        let code = code.unwrap_or_else(|| answer.status.to_string());
        let mut text = format!("{what}: {text} ({code})");
        if let Some(words) = answer.words().filter(|words| *words != code) {
            text.push_str("; it says: ");
            text.push_str(&words);
        }
        let advised = format!("{} {advice}", rule.field);
        if !advised.trim().is_empty() {
            text.push_str("; ");
            text.push_str(advised.trim());
        }
        let mut error = AdapterError::new(class, text)
            .with_status(answer.status)
            .with_internal(answer.quote());
        if let Means::RateLimited(scope, wait) = rule.means {
            error = self.limited(answer, error, Some((scope, wait)));
        }
        error
    }

    /// An error that the status alone made, with what the body says besides.
    fn completed(&self, answer: &Response, said: &Said, mut error: AdapterError) -> AdapterError {
        if let ErrorClass::Validation { fields } = &mut error.class {
            let faults = self.faults(said);
            if !faults.is_empty() {
                *fields = faults;
            }
        }
        if let Some(code) = said.codes.first().and_then(|code| word(code)) {
            error.public = format!("{}: {code}", error.public);
        }
        if let ErrorClass::RateLimited { .. } = error.class {
            return self.limited(answer, error, None);
        }
        error
    }

    /// A refusal by budget with the wait that it asks for.
    fn limited(
        &self,
        answer: &Response,
        mut error: AdapterError,
        of_rule: Option<(Scope, Duration)>,
    ) -> AdapterError {
        let mut rate = self.rate;
        if let Some((scope, none_said)) = of_rule {
            rate = RateHeaders {
                scope,
                none_said,
                ..rate
            };
        }
        if let Some(pause) = rate.pause(answer, true, clock::now()) {
            let retry_after = Some(pause.wait);
            error.class = ErrorClass::RateLimited { retry_after };
            error.budget = Some(pause.scope);
        }
        error
    }

    /// What is wrong, by our names of the fields.
    fn faults(&self, said: &Said) -> BTreeMap<String, String> {
        let faults = said.fields.iter().filter_map(|(theirs, fault)| {
            let known = self.fields.iter().find(|(name, _)| name == theirs);
            let ours = known.map_or_else(|| word(theirs), |(_, ours)| Some((*ours).to_owned()))?;
            let fault = line(fault);
            let is_said = !fault.trim().is_empty();
            let fault = if is_said { fault } else { REFUSED.into() };
            Some((ours, fault))
        });
        faults.take(FIELDS_MAX).collect()
    }
}

/// Whether a body says yes or no; `None` where it says neither.
fn truth(answer: &Response, pointer: &str) -> Option<bool> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    body.pointer(pointer)?.as_bool()
}

/// A success that does not say whether it is one, where the platform says so each time: it is not
/// to be trusted.
fn unsaid(answer: &Response, effect: Effect, what: &str) -> AdapterError {
    let class = lost(effect, ErrorClass::Transient { retry_after: None });
    let text = format!(
        "{what}: the platform answered {} with a body that cannot be read",
        answer.status
    );
    AdapterError::new(class, text)
        .with_status(answer.status)
        .with_internal(answer.quote())
}

/// A text of a platform's, fit to publish.
fn line(text: &str) -> String {
    let text = clean_text(text.to_owned());
    let line = text.chars().filter(|c| !c.is_control());
    line.take(FAULT_MAX).collect()
}

/// A code or a field of a platform's, fit to publish.
fn word(text: &str) -> Option<String> {
    let fits = |c: &char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.' | ',' | '-' | ' ');
    // Before what is no letter goes: without its escapes a secret would not be known again.
    let text = clean_text(text.to_owned());
    let word: String = text.chars().filter(fits).take(CODE_MAX).collect();
    let word = word.trim();
    (!word.is_empty()).then(|| word.to_owned())
}
