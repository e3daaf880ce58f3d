//! One site: a fake platform, the faults in force, the counts; and how a request passes through the
//! three.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use chrono::Utc;
use futures_util::stream;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{self, Answer};
use super::call::Call;
use super::connection::Connection;
use super::fake::Fake;
use super::fault::{DelayAt, Fault, FaultBook, FaultKind};
use super::ledger::{CallBook, CallRecord, Ledger};
use super::outgoing;

/// A slow body comes in so many pieces.
const SLOW_PIECES: u32 = 10;
/// Piece of an oversize body.
const OVERSIZE_PIECE: u64 = 64 * 1024;
/// Lets the first half of a cut body leave the process before the connection closes.
const CUT_AFTER: Duration = Duration::from_millis(30);

/// One site of one platform.
pub(super) struct Site {
    inner: Mutex<Inner>,
    /// Counts up when faults are cleared: lets hanging requests go.
    cleared: watch::Sender<u64>,
}

struct Inner {
    fake: Box<dyn Fake>,
    faults: FaultBook,
    calls: CallBook,
}

impl Site {
    pub(super) fn new(fake: Box<dyn Fake>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                fake,
                faults: FaultBook::default(),
                calls: CallBook::default(),
            }),
            cleared: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in a fake leaves at worst a half-made issue; the ledger is still worth reading.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn inject(&self, fault: Fault) -> Result<(), String> {
        self.lock().faults.add(fault)
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        self.lock().faults.pending().to_vec()
    }

    pub(super) fn clear_faults(&self) {
        self.lock().faults.clear();
        self.cleared.send_modify(|count| *count += 1);
    }

    pub(super) fn configure(&self, changes: Map<String, Value>) -> Result<(), String> {
        self.lock().fake.configure(changes)
    }

    pub(super) fn settings(&self) -> Value {
        self.lock().fake.settings()
    }

    pub(super) fn ledger(&self, label: Option<&str>, with_issues: bool) -> Ledger {
        let inner = self.lock();
        let (issues, evicted) = if with_issues {
            inner.fake.ledger(label)
        } else {
            (Vec::new(), 0)
        };
        Ledger {
            issues,
            evicted,
            calls: inner
                .calls
                .calls
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            recent: inner.calls.recent.clone(),
            faults_pending: inner.faults.pending().len(),
            hooks: inner.fake.hooks(),
        }
    }

    /// Counts a command of a server that does not speak HTTP, and takes the fault that it meets.
    pub(super) fn arrive(
        &self,
        call: &Call,
        operation: &'static str,
    ) -> Option<(Fault, watch::Receiver<u64>)> {
        let mut inner = self.lock();
        let fault = inner
            .faults
            .take(operation, call.method.as_str(), &call.path, &call.body);
        inner.calls.arrived(operation, fault.is_some());
        // Subscribed under the lock: a clearing from now on is seen.
        Some((fault?, self.cleared.subscribe()))
    }

    /// Takes a fault that names this operation, of a command that is not counted yet.
    pub(super) fn named_fault(&self, operation: &str) -> Option<(Fault, watch::Receiver<u64>)> {
        let fault = self.lock().faults.take_named(operation)?;
        Some((fault, self.cleared.subscribe()))
    }

    /// Counts commands that came before it was known whose they are.
    pub(super) fn count_earlier(&self, operations: &[(&'static str, bool)]) {
        let mut inner = self.lock();
        for (operation, faulted) in operations {
            inner.calls.arrived(operation, *faulted);
        }
    }

    /// A command takes effect; `usual` is the reply where the fake has none of its own.
    pub(super) fn effect(
        &self,
        call: &Call,
        operation: &'static str,
        fault: Option<&Fault>,
        usual: Option<&Answer>,
    ) -> Answer {
        let mut inner = self.lock();
        match usual {
            None => inner.take_effect(call, operation, fault),
            Some(usual) => {
                inner
                    .calls
                    .record(record(call, operation, Some(usual), fault));
                usual.clone()
            }
        }
    }

    /// A command that a fault kept from taking effect.
    pub(super) fn unheard(&self, call: &Call, operation: &str, fault: &Fault) {
        let unheard = record(call, operation, None, Some(fault));
        self.lock().calls.record(unheard);
    }

    /// Answers one request. A faulted one runs as a task of its own: a request that has arrived
    /// takes effect even if its caller has died meanwhile, as it would at the real platform.
    pub(super) async fn serve(
        self: Arc<Self>,
        mut call: Call,
        connection: Connection,
        stopping: CancellationToken,
        tasks: &TaskTracker,
    ) -> Response {
        let question = self.lock().fake.question(&call);
        if let Some(question) = question {
            call.heard = outgoing::ask(&question).await;
        }
        let (operation, fault, cleared) = {
            let mut inner = self.lock();
            let operation = inner.fake.operation(&call);
            let fault = inner
                .faults
                .take(operation, call.method.as_str(), &call.path, &call.body);
            inner.calls.arrived(operation, fault.is_some());
            let Some(fault) = fault else {
                let answer = inner.take_effect(&call, operation, None);
                drop(inner);
                return render(answer);
            };
            // Subscribed under the lock: a clearing from now on is seen.
            (operation, fault, self.cleared.subscribe())
        };
        let faulted = Faulted {
            site: self,
            call,
            operation,
            fault,
            connection,
            stopping,
            cleared,
        };
        let lost = faulted.connection.clone();
        tasks.spawn(faulted.run()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a faulted sandbox request did not finish");
            reset(&lost)
        })
    }
}

impl Inner {
    fn take_effect(
        &mut self,
        call: &Call,
        operation: &'static str,
        fault: Option<&Fault>,
    ) -> Answer {
        let answer = self.fake.answer(call, Utc::now());
        if answer.effective {
            self.calls.took_effect(operation);
        }
        self.calls
            .record(record(call, operation, Some(&answer), fault));
        answer
    }
}

fn record(
    call: &Call,
    operation: &str,
    answer: Option<&Answer>,
    fault: Option<&Fault>,
) -> CallRecord {
    CallRecord {
        operation: operation.to_owned(),
        method: call.method.to_string(),
        path: call.path.clone(),
        status: answer.map(|a| a.status),
        effective: answer.is_some_and(|a| a.effective),
        fault: fault.map(|f| format!("{:?}", f.kind)),
    }
}

/// A request that met a fault.
struct Faulted {
    site: Arc<Site>,
    call: Call,
    operation: &'static str,
    fault: Fault,
    connection: Connection,
    stopping: CancellationToken,
    cleared: watch::Receiver<u64>,
}

impl Faulted {
    async fn run(mut self) -> Response {
        if self.delay(DelayAt::BeforeStore).await.is_err() {
            return reset(&self.connection);
        }
        let answer = self.store();
        if self.delay(DelayAt::AfterStore).await.is_err() {
            return reset(&self.connection);
        }
        let fault = &self.fault;
        match fault.kind {
            FaultKind::Delay => render(self.with_headers(answer)),
            FaultKind::ResetBeforeStore | FaultKind::ResetAfterStore => reset(&self.connection),
            FaultKind::Status => self.status_answer(fault.status.unwrap_or(500)),
            FaultKind::Redirect => {
                let target = fault.location.as_deref().unwrap_or("https://example.test/");
                let answer = Answer::empty(fault.status.unwrap_or(302)).header("Location", target);
                render(self.with_headers(answer))
            }
            FaultKind::Stranger => {
                let answer = self.site.lock().fake.stranger(&self.call, Utc::now());
                render(self.with_headers(answer))
            }
            FaultKind::Garbage => {
                let status = fault.status.unwrap_or(answer.status);
                let text = match &fault.body {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => "<!DOCTYPE html><html><body>Not what you asked for".to_owned(),
                };
                let head = self.with_headers(Answer::empty(status));
                with_body(&head, Body::from(text), Some("text/html"))
            }
            FaultKind::Hang => {
                self.hang().await;
                reset(&self.connection)
            }
            FaultKind::SlowBody => {
                let over = fault.slow_body_over();
                let (head, media_type, body) = split(self.with_headers(answer));
                with_body(&head, slow_body(body, over, self.stopping), media_type)
            }
            FaultKind::CutBody => {
                let (head, media_type, body) = split(self.with_headers(answer));
                let length = body.len();
                let response = with_body(&head, cut_body(&body), media_type);
                with_length(response, length)
            }
            FaultKind::Oversize => {
                let bytes = fault.oversize_bytes();
                let (head, media_type, _) = split(self.with_headers(answer));
                with_body(&head, oversize_body(bytes), media_type)
            }
        }
    }

    /// The request's effect, or none. Without one, the answer is what an empty 200 would be.
    fn store(&self) -> Answer {
        let mut inner = self.site.lock();
        if self.fault.stores() {
            return inner.take_effect(&self.call, self.operation, Some(&self.fault));
        }
        let unheard = record(&self.call, self.operation, None, Some(&self.fault));
        inner.calls.record(unheard);
        Answer::empty(200)
    }

    fn status_answer(&self, status: u16) -> Response {
        let site = self.site.lock();
        let mut answer = site.fake.fault_answer(&self.call, status, Utc::now());
        drop(site);
        match &self.fault.body {
            Some(Value::String(text)) => {
                answer.body = answer::Body::Text("text/html", text.clone());
            }
            Some(body) => answer.body = answer::Body::Json(body.clone()),
            None => {}
        }
        render(self.with_headers(answer))
    }

    /// The fault's headers win over the platform's own of the same name.
    fn with_headers(&self, mut answer: Answer) -> Answer {
        for (name, value) in &self.fault.headers {
            answer
                .headers
                .retain(|(own, _)| !own.as_str().eq_ignore_ascii_case(name));
            answer = answer.header(name, value);
        }
        answer
    }

    /// Waits out the fault's delay at this point; an error where the sandbox stops first.
    async fn delay(&self, at: DelayAt) -> Result<(), Stopped> {
        let Some(delay) = self.fault.delay_when(at) else {
            return Ok(());
        };
        // Either branch may be dropped: a timer and a flag hold nothing.
        tokio::select! {
            () = tokio::time::sleep(delay) => Ok(()),
            () = self.stopping.cancelled() => Err(Stopped),
        }
    }

    async fn hang(&mut self) {
        // Any branch may be dropped: two timers and a watch hold nothing.
        tokio::select! {
            () = tokio::time::sleep(self.fault.hang_for()) => {}
            () = self.stopping.cancelled() => {}
            _ = self.cleared.changed() => {}
        }
    }
}

/// The sandbox stopped while a request waited.
struct Stopped;

/// Marks the connection; the response itself is never written.
fn reset(connection: &Connection) -> Response {
    connection.reset();
    Response::new(Body::empty())
}

fn render(answer: Answer) -> Response {
    let (head, media_type, body) = split(answer);
    with_body(&head, Body::from(body), media_type)
}

/// Status and headers, what the body is declared to be, and the body. Nothing is declared of an
/// empty one.
fn split(mut answer: Answer) -> (Answer, Option<&'static str>, Bytes) {
    let body = std::mem::take(&mut answer.body);
    let media_type = body.media_type();
    let body = body.into_bytes();
    (answer, media_type.filter(|_| !body.is_empty()), body)
}

fn with_body(head: &Answer, body: Body, content_type: Option<&'static str>) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(content_type) = content_type {
        set(
            &mut response,
            header::CONTENT_TYPE,
            HeaderValue::from_static(content_type),
        );
    }
    for (name, value) in &head.headers {
        set(&mut response, name.clone(), value.clone());
    }
    response
}

fn with_length(mut response: Response, length: usize) -> Response {
    set(
        &mut response,
        header::CONTENT_LENGTH,
        HeaderValue::from(length),
    );
    response
}

fn set(response: &mut Response, name: HeaderName, value: HeaderValue) {
    response.headers_mut().insert(name, value);
}

fn slow_body(body: Bytes, over: Duration, stopping: CancellationToken) -> Body {
    let piece = body.len().div_ceil(SLOW_PIECES as usize).max(1);
    let pause = over / SLOW_PIECES;
    Body::from_stream(stream::unfold(body, move |mut rest| {
        let stopping = stopping.clone();
        async move {
            if rest.is_empty() {
                return None;
            }
            // Either branch may be dropped: a timer and a flag hold nothing.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => return None,
            }
            let chunk = rest.split_to(piece.min(rest.len()));
            Some((Ok::<_, Infallible>(chunk), rest))
        }
    }))
}

fn cut_body(body: &Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    Body::from_stream(stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) if !half.is_empty() => Some((Ok(half), None)),
            _ => {
                tokio::time::sleep(CUT_AFTER).await;
                let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                Some((Err(cut), None))
            }
        }
    }))
}

/// One JSON object with one long string, made piece by piece.
fn oversize_body(bytes: u64) -> Body {
    let open = Bytes::from_static(b"{\"padding\":\"");
    let close = Bytes::from_static(b"\"}");
    let filler = Bytes::from(vec![b'x'; usize::try_from(OVERSIZE_PIECE).unwrap_or(1)]);
    let pieces = bytes.div_ceil(OVERSIZE_PIECE);
    let whole = std::iter::once(open)
        .chain((0..pieces).map(move |_| filler.clone()))
        .chain(std::iter::once(close))
        .map(Ok::<_, Infallible>);
    Body::from_stream(stream::iter(whole))
}
