//! Every adapter, bounded: what goes in is cut to what the platform can show, what comes out is fit for our columns
//! ([`super::bounds`]), and long texts are rendered off the threads that all tenants share.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::markdown::head;
use super::{
    Adapter, AdapterError, ChangePage, CheckReport, ErrorClass, Exchange, ExternalItem, KnownItem,
    Operation, OperationKind, PlatformField, Protection, Receipt, Request, TestKind, TokenFlow,
    bounds,
};
use crate::domain::TicketView;

/// Bytes of text from which on rendering is worth a thread of its own.
const LONG: usize = 4 << 10;

/// An adapter behind its bounds. It passes on every method of [`Adapter`]; a test sees to that.
pub(super) struct Bounded {
    inner: Arc<dyn Adapter>,
    /// Characters of a text that the platform shows; `None`: it gets what there is.
    text_max: Option<usize>,
}

/// A text of an operation, cut.
struct Texts<'a> {
    ticket: Cow<'a, TicketView>,
    body: Option<&'a str>,
    /// By field, what was cut.
    cut: Map<String, Value>,
}

impl Bounded {
    pub(super) fn new(inner: Arc<dyn Adapter>, text_max: Option<usize>) -> Self {
        Self { inner, text_max }
    }

    fn texts<'a>(&self, operation: &'a Operation<'a>) -> Texts<'a> {
        let mut texts = Texts {
            ticket: Cow::Borrowed(operation.ticket()),
            body: body_of(operation),
            cut: Map::new(),
        };
        let Some(text_max) = self.text_max else {
            return texts;
        };
        let description = &operation.ticket().description;
        let kept = head(description, text_max);
        if kept.len() < description.len() {
            texts.ticket.to_mut().description.truncate(kept.len());
            if shows_description(operation.kind()) {
                texts.note("description", text_max);
            }
        }
        if let Some(body) = texts.body {
            let kept = head(body, text_max);
            if kept.len() < body.len() {
                texts.body = Some(kept);
                let field = match operation.kind() {
                    OperationKind::Comment => "body",
                    _ => "resolution_summary",
                };
                texts.note(field, text_max);
            }
        }
        texts
    }
}

impl Texts<'_> {
    fn note(&mut self, field: &str, text_max: usize) {
        self.cut
            .insert(field.into(), format!("cut to {text_max} characters").into());
    }

    fn len(&self) -> usize {
        self.ticket.description.len() + self.body.map_or(0, str::len)
    }

    /// The operation with these texts.
    fn operation<'b>(&'b self, operation: &Operation<'b>) -> Operation<'b> {
        let ticket = self.ticket.as_ref();
        match *operation {
            Operation::Create { cause, .. } => Operation::Create { ticket, cause },
            Operation::Update { patch, cause, .. } => Operation::Update {
                ticket,
                patch,
                cause,
            },
            Operation::Status { status, cause, .. } => Operation::Status {
                ticket,
                status,
                resolution_summary: self.body,
                cause,
            },
            Operation::Assign {
                assignee, cause, ..
            } => Operation::Assign {
                ticket,
                assignee,
                cause,
            },
            Operation::Comment { public, cause, .. } => Operation::Comment {
                ticket,
                body: self.body.unwrap_or_default(),
                public,
                cause,
            },
            Operation::Attach { file, cause, .. } => Operation::Attach {
                ticket,
                file,
                cause,
            },
            Operation::Delete { cause, .. } => Operation::Delete { ticket, cause },
        }
    }
}

const fn body_of<'a>(operation: &Operation<'a>) -> Option<&'a str> {
    match operation {
        Operation::Comment { body, .. } => Some(body),
        Operation::Status {
            resolution_summary, ..
        } => *resolution_summary,
        Operation::Create { .. }
        | Operation::Update { .. }
        | Operation::Assign { .. }
        | Operation::Attach { .. }
        | Operation::Delete { .. } => None,
    }
}

const fn shows_description(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::Create | OperationKind::Update)
}

#[async_trait]
impl Adapter for Bounded {
    async fn execute(
        &self,
        exchange: &Exchange<'_>,
        operation: &Operation<'_>,
    ) -> Result<Receipt, AdapterError> {
        let texts = self.texts(operation);
        let operation = texts.operation(operation);
        let done = self.inner.execute(exchange, &operation);
        let receipt = OffRuntime::new(done, texts.len())
            .await
            .map_err(bounds::error)?;
        let mut receipt = bounds::receipt(receipt, operation.kind() == OperationKind::Create)?;
        for (field, said) in &texts.cut {
            receipt.details.entry(field).or_insert(said.clone());
        }
        Ok(receipt)
    }

    async fn look_up(
        &self,
        exchange: &Exchange<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let texts = self.texts(operation);
        let operation = texts.operation(operation);
        let found = self.inner.look_up(exchange, &operation);
        let found = OffRuntime::new(found, texts.len())
            .await
            .map_err(bounds::error)?;
        found
            .map(|receipt| bounds::receipt(receipt, operation.kind() == OperationKind::Create))
            .transpose()
    }

    async fn partly(
        &self,
        exchange: &Exchange<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let texts = self.texts(operation);
        let operation = texts.operation(operation);
        let done = self.inner.partly(exchange, &operation);
        let done = OffRuntime::new(done, texts.len())
            .await
            .map_err(bounds::error)?;
        done.map(|receipt| bounds::receipt(receipt, operation.kind() == OperationKind::Create))
            .transpose()
    }

    async fn check(
        &self,
        exchange: &Exchange<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        let checked = self.inner.check(exchange, test).await;
        checked.map(bounds::report).map_err(bounds::error)
    }

    fn plan(&self, operation: &Operation<'_>) -> Result<Request, AdapterError> {
        let texts = self.texts(operation);
        let operation = texts.operation(operation);
        let planned = off_runtime(texts.len(), || self.inner.plan(&operation));
        planned.map_err(bounds::error)
    }

    fn rehearse(&self, operation: &Operation<'_>) -> Result<Value, AdapterError> {
        let texts = self.texts(operation);
        let operation = texts.operation(operation);
        let shown = off_runtime(texts.len(), || self.inner.rehearse(&operation));
        shown.map_err(bounds::error)
    }

    async fn fields(
        &self,
        exchange: &Exchange<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let found = self.inner.fields(exchange, search).await;
        found.map(bounds::fields).map_err(bounds::error)
    }

    async fn changes(
        &self,
        exchange: &Exchange<'_>,
        since: Option<DateTime<Utc>>,
        cursor: Option<&str>,
    ) -> Result<ChangePage, AdapterError> {
        let page = self
            .inner
            .changes(exchange, since, cursor)
            .await
            .map_err(bounds::error)?;
        let seen = page.items.len();
        let items: Vec<_> = page.items.into_iter().filter_map(bounds::item).collect();
        Ok(ChangePage {
            unreadable: page.unreadable + (seen - items.len()),
            items,
            ..page
        })
    }

    async fn known(
        &self,
        exchange: &Exchange<'_>,
        items: &[KnownItem],
        since: Option<DateTime<Utc>>,
    ) -> Result<Vec<ExternalItem>, AdapterError> {
        let found = self
            .inner
            .known(exchange, items, since)
            .await
            .map_err(bounds::error)?;
        Ok(found.into_iter().filter_map(bounds::item).collect())
    }

    async fn item(
        &self,
        exchange: &Exchange<'_>,
        id: &str,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let found = self.inner.item(exchange, id).await.map_err(bounds::error)?;
        found
            .map(|item| {
                bounds::item(item).ok_or_else(|| {
                    let text = "the platform's answer cannot be read: the item has no id that could be one";
                    AdapterError::new(ErrorClass::Internal, text)
                })
            })
            .transpose()
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.inner.token_flow()
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        self.inner.protection(kind)
    }

    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        self.inner.protection_of(operation)
    }
}

/// Runs something that takes a while for a text of so many bytes where no other tenant's work waits for the thread.
pub fn off_runtime<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    // Only such a runtime has another thread to go on with.
    let shares_threads = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if bytes >= LONG && shares_threads() {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// A future whose steps run off the runtime's threads where it works on a long text.
struct OffRuntime<F> {
    inner: F,
    bytes: usize,
}

impl<F> OffRuntime<F> {
    const fn new(inner: F, bytes: usize) -> Self {
        Self { inner, bytes }
    }
}

impl<F: Future + Unpin> Future for OffRuntime<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let bytes = self.bytes;
        off_runtime(bytes, || Pin::new(&mut self.inner).poll(context))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn every_method_is_passed_on() {
        let declared = include_str!("mod.rs");
        let (_, declared) = declared
            .split_once("pub trait Adapter: Send + Sync {")
            .unwrap();
        let (declared, _) = declared.split_once("\n}\n").unwrap();
        let here = include_str!("bounded.rs");
        let (_, here) = here.split_once("impl Adapter for Bounded {").unwrap();
        let names = |text: &str| -> Vec<String> {
            text.split("fn ")
                .skip(1)
                .map(|rest| {
                    rest.chars()
                        .take_while(|c| c.is_alphanumeric() || *c == '_')
                        .collect()
                })
                .collect()
        };
        let passed_on = names(here);
        let methods = names(declared);
        assert!(methods.len() >= 8, "{methods:?}");
        for method in methods {
            assert!(
                passed_on.contains(&method),
                "Bounded does not pass on {method}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn long_work_leaves_the_threads_to_others() {
        let neighbour = tokio::spawn(async {
            let mut slowest = Duration::ZERO;
            for _ in 0..20 {
                let began = Instant::now();
                tokio::time::sleep(Duration::from_millis(2)).await;
                slowest = slowest.max(began.elapsed());
            }
            slowest
        });
        let long = tokio::spawn(OffRuntime::new(
            Box::pin(async {
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(1) {
                    std::hint::spin_loop();
                }
            }),
            LONG,
        ));

        let slowest = neighbour.await.unwrap();

        assert!(
            slowest < Duration::from_millis(500),
            "a neighbour waited {slowest:?}"
        );
        long.await.unwrap();
    }
}
