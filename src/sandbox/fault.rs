//! Faults on demand: what may go wrong between a caller and a platform, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Faults that one site keeps; more are refused.
pub(super) const FAULTS_MAX: usize = 10_000;
/// A hanging request is let go after this long, so that a forgotten fault holds no connection for
/// ever.
const HANG_MAX: Duration = Duration::from_secs(600);
/// Size of an oversize answer unless the fault says otherwise: above any sane cap.
const OVERSIZE_DEFAULT: u64 = 64 * 1024 * 1024;
/// How long a slow body takes unless the fault says otherwise.
const SLOW_BODY_DEFAULT: Duration = Duration::from_secs(5);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Answers with `status`, `headers` and `body`; nothing is stored unless `stored`.
    Status,
    /// The true answer, `delay_ms` late. The request takes effect even if the caller has gone by
    /// then.
    Delay,
    /// The connection is reset without a byte of answer; nothing is stored.
    ResetBeforeStore,
    /// The request takes effect, then the connection is reset without a byte of answer.
    ResetAfterStore,
    /// The request takes effect; head and half of the body arrive, then the connection closes.
    CutBody,
    /// The request takes effect; the answer has its true status (or `status`) and a body that is
    /// not JSON.
    Garbage,
    /// No answer until the faults are cleared or ten minutes have passed, then a reset; takes
    /// effect if `stored`.
    Hang,
    /// The true answer, its body dribbled over `delay_ms` (5 s).
    SlowBody,
    /// The request takes effect; the answer's body has `bytes` (64 MiB).
    Oversize,
    /// A redirect (`status`, 302) to `location`; nothing is stored unless `stored`.
    Redirect,
    /// As the platform answers one whose credential it no longer knows: some then refuse nothing,
    /// and show a log-in page, an empty list or "not found". Nothing is stored.
    Stranger,
}

/// Where in a request's life a delay lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DelayAt {
    /// Before the request takes effect: whoever looks meanwhile finds nothing.
    #[default]
    BeforeStore,
    /// Between effect and answer.
    AfterStore,
}

/// One fault: which requests it meets, how often, and what happens to them. Build it with
/// [`Fault::new`] or a shorthand and refine it: `Fault::status(503).on("create_issue").times(2)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Name of the operation (`create_issue`, `search`, …; see `GET /_sandbox`), or `any`.
    #[serde(default = "any")]
    pub operation: String,
    /// HTTP method; absent means every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What the request's path ends with, `*` standing for anything: `/issue/*/comment`. Absent
    /// means every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Text that the request's body has: which mail of several is met, which of a platform's many
    /// kinds of update. Absent means every body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// How many requests it meets; 0 means all until it is cleared.
    #[serde(default = "once")]
    pub times: u32,
    /// How many matching requests it lets pass first.
    #[serde(default)]
    pub skip: u32,
    /// Status of the answer, where the kind has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Headers added to the answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Body of the answer: a string is sent as it is, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Milliseconds of delay; with any kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Where the delay lies.
    #[serde(default)]
    pub delay_at: DelayAt,
    /// Whether the request takes effect, for the kinds that leave it open.
    #[serde(default)]
    pub stored: bool,
    /// Size of an oversize body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Target of a redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

fn any() -> String {
    "any".into()
}

const fn once() -> u32 {
    1
}

impl Fault {
    /// A fault of this kind that meets the next request, whichever it is.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            operation: any(),
            method: None,
            path: None,
            contains: None,
            times: 1,
            skip: 0,
            status: None,
            headers: BTreeMap::new(),
            body: None,
            delay_ms: None,
            delay_at: DelayAt::BeforeStore,
            stored: false,
            bytes: None,
            location: None,
        }
    }

    /// Answers with this status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::new(FaultKind::Status)
        }
    }

    /// Answers 429 with `Retry-After`.
    #[must_use]
    pub fn rate_limited(retry_after_seconds: u32) -> Self {
        Self::status(429).header("Retry-After", &retry_after_seconds.to_string())
    }

    /// Takes effect and answers this much later.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self::new(FaultKind::Delay).delayed(delay, DelayAt::BeforeStore)
    }

    /// Only for this operation.
    #[must_use]
    pub fn on(mut self, operation: &str) -> Self {
        operation.clone_into(&mut self.operation);
        self
    }

    /// Only for paths with this ending.
    #[must_use]
    pub fn path(mut self, suffix: &str) -> Self {
        self.path = Some(suffix.to_owned());
        self
    }

    /// Only for bodies with this text.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.contains = Some(text.to_owned());
        self
    }

    /// For so many requests; 0 until cleared.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the body of the answer.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds a delay.
    #[must_use]
    pub fn delayed(mut self, delay: Duration, at: DelayAt) -> Self {
        self.delay_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self.delay_at = at;
        self
    }

    /// The request takes effect although the answer denies it.
    #[must_use]
    pub fn stored(mut self) -> Self {
        self.stored = true;
        self
    }

    /// What is wrong with it, if anything is.
    ///
    /// # Errors
    /// A sentence for the caller: a missing or impossible status, header or delay.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(status) = self.status
            && !(200..600).contains(&status)
        {
            return Err(format!("status {status} is not in 200..600"));
        }
        match self.kind {
            FaultKind::Status if self.status.is_none() => {
                return Err("a fault of kind status needs a status".into());
            }
            FaultKind::Delay if self.delay_ms.is_none() => {
                return Err("a fault of kind delay needs delay_ms".into());
            }
            FaultKind::Redirect if self.status.is_some_and(|s| !(300..400).contains(&s)) => {
                return Err("a redirect's status is in 300..400".into());
            }
            FaultKind::Status
            | FaultKind::Delay
            | FaultKind::Redirect
            | FaultKind::ResetBeforeStore
            | FaultKind::ResetAfterStore
            | FaultKind::CutBody
            | FaultKind::Garbage
            | FaultKind::Hang
            | FaultKind::SlowBody
            | FaultKind::Oversize
            | FaultKind::Stranger => {}
        }
        for (name, value) in &self.headers {
            if axum::http::HeaderName::try_from(name).is_err()
                || axum::http::HeaderValue::try_from(value).is_err()
            {
                return Err(format!("{name:?} with this value is not a header"));
            }
        }
        Ok(())
    }

    /// Whether the request takes effect.
    pub(super) const fn stores(&self) -> bool {
        match self.kind {
            FaultKind::Status | FaultKind::Hang | FaultKind::Redirect => self.stored,
            FaultKind::ResetBeforeStore | FaultKind::Stranger => false,
            FaultKind::Delay
            | FaultKind::ResetAfterStore
            | FaultKind::CutBody
            | FaultKind::Garbage
            | FaultKind::SlowBody
            | FaultKind::Oversize => true,
        }
    }

    /// The delay at this point of the request's life. A slow body's delay is spent in the body
    /// instead.
    pub(super) fn delay_when(&self, at: DelayAt) -> Option<Duration> {
        (self.delay_at == at && self.kind != FaultKind::SlowBody)
            .then_some(self.delay_ms)
            .flatten()
            .map(Duration::from_millis)
    }

    pub(super) fn slow_body_over(&self) -> Duration {
        self.delay_ms
            .map_or(SLOW_BODY_DEFAULT, Duration::from_millis)
    }

    pub(super) fn hang_for(&self) -> Duration {
        HANG_MAX
    }

    pub(super) fn oversize_bytes(&self) -> u64 {
        self.bytes.unwrap_or(OVERSIZE_DEFAULT)
    }

    fn meets(&self, operation: &str, method: &str, path: &str, body: &[u8]) -> bool {
        (self.operation == "any" || self.operation == operation)
            && self
                .method
                .as_ref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self
                .path
                .as_ref()
                .is_none_or(|pattern| ends_with_pattern(path, pattern))
            && self.contains.as_ref().is_none_or(|text| has(body, text))
    }
}

/// The faults in force at one site, in the order in which they were injected.
#[derive(Debug, Default)]
pub(super) struct FaultBook(Vec<Fault>);

impl FaultBook {
    /// Takes in a fault.
    ///
    /// # Errors
    /// What [`Fault::validate`] says, or that the book is full.
    pub(super) fn add(&mut self, fault: Fault) -> Result<(), String> {
        fault.validate()?;
        if self.0.len() >= FAULTS_MAX {
            return Err(format!("a site keeps at most {FAULTS_MAX} faults"));
        }
        self.0.push(fault);
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn pending(&self) -> &[Fault] {
        &self.0
    }

    /// The fault that this request meets, used up by one. Faults still skipping count it and let it
    /// pass.
    pub(super) fn take(
        &mut self,
        operation: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Option<Fault> {
        self.take_that(|fault| fault.meets(operation, method, path, body))
    }

    /// The same of a fault for this operation and no other, which has no body.
    pub(super) fn take_named(&mut self, operation: &str) -> Option<Fault> {
        self.take_that(|fault| fault.operation == operation && fault.contains.is_none())
    }

    fn take_that(&mut self, meets: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut found = None;
        for (index, fault) in self.0.iter_mut().enumerate() {
            if !meets(fault) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            found = Some(index);
            break;
        }
        let index = found?;
        match self.0[index].times {
            0 => Some(self.0[index].clone()),
            1 => Some(self.0.remove(index)),
            _ => {
                self.0[index].times -= 1;
                Some(self.0[index].clone())
            }
        }
    }
}

fn has(body: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

/// Whether `path` ends with `pattern`, in which `*` stands for any text.
fn ends_with_pattern(path: &str, pattern: &str) -> bool {
    let mut rest = path;
    for (index, part) in pattern.rsplit('*').enumerate() {
        if index == 0 {
            match rest.strip_suffix(part) {
                Some(before) => rest = before,
                None => return false,
            }
        } else {
            match rest.rfind(part) {
                Some(at) => rest = &rest[..at],
                None => return false,
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_skips_then_meets_then_is_used_up() {
        let mut book = FaultBook::default();
        book.add(Fault::status(503).on("create_issue").skip(1).times(2))
            .unwrap();
        let mut take = || book.take("create_issue", "POST", "/issue", b"").is_some();

        assert_eq!([take(), take(), take(), take()], [false, true, true, false]);
    }

    #[test]
    fn times_zero_lasts_until_cleared() {
        let mut book = FaultBook::default();
        book.add(Fault::status(500).times(0)).unwrap();

        for _ in 0..5 {
            assert!(book.take("search", "POST", "/search/jql", b"").is_some());
        }
        book.clear();
        assert!(book.take("search", "POST", "/search/jql", b"").is_none());
    }

    #[test]
    fn a_fault_is_aimed_by_what_the_body_has() {
        let mut book = FaultBook::default();
        book.add(Fault::status(451).on("data").containing("In-Reply-To:"))
            .unwrap();
        let mut take = |body: &[u8]| book.take("data", "DATA", "/data", body).is_some();

        let answers = [
            &b"Subject: a"[..],
            b"",
            b"A: b\r\nIn-Reply-To: <a>",
            b"In-Reply-To: <a>",
        ];
        assert_eq!(answers.map(&mut take), [false, false, true, false]);
        book.add(Fault::status(421).on("connect").containing("x"))
            .unwrap();
        assert!(book.take_named("connect").is_none());
    }

    #[test]
    fn a_path_matches_by_its_ending() {
        for (path, pattern, matches) in [
            ("/rest/api/3/issue", "/issue", true),
            ("/rest/api/3/issue/X-1", "/issue", false),
            ("/rest/api/3/issue/X-1/comment", "/issue/*/comment", true),
            (
                "/rest/api/3/issue/X-1/transitions",
                "/issue/*/comment",
                false,
            ),
            ("/rest/api/3/issue/X-1", "/issue/*", true),
        ] {
            assert_eq!(
                ends_with_pattern(path, pattern),
                matches,
                "{path} {pattern}"
            );
        }
    }

    #[test]
    fn json_with_a_typo_or_an_impossible_status_is_refused() {
        let typo = serde_json::json!({"kind": "status", "status": 500, "tmies": 2});
        assert!(serde_json::from_value::<Fault>(typo).is_err());

        assert!(Fault::status(99).validate().is_err());
        assert!(Fault::new(FaultKind::Status).validate().is_err());
        assert!(Fault::new(FaultKind::Delay).validate().is_err());
        assert!(Fault::status(200).header("a b", "c").validate().is_err());
    }
}
