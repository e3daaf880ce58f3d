//! The driver: the only one that calls an adapter. It cuts texts to what the platform can show,
//! runs the steps of an operation, bounds what comes back, and takes secrets out of it. An adapter
//! needs no line for any of that.

mod hooks;
mod written;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::guard::{Redact, redactor, secrets, without};
use super::http::redact::{Learned, Redaction, cleaned, learn, redacting};
use super::inbound::Hit;
use super::rate::RateHeaders;
use super::texts::{OffRuntime, Texts, off_runtime, speaks};
use super::{
    Adapter, AdapterError, CallContext, Change, ChangePage, CheckReport, Deletes, ErrorClass,
    ExternalItem, Facts, ItemRef, Known, KnownItem, Mode, Operation, OperationKind, Plan,
    PlatformField, Prepared, Protection, Reader, Receipt, Request, Response, SyncFrom, TestKind,
    TicketFacts, TokenFlow, TokenGrant, Unfinished, bounds, descriptor,
};
use crate::domain::{Integration, TicketView};
use crate::secrets::{Credentials, Reach, Redactors};

/// The member of a receipt's details that names the fields which the platform refused and the
/// worker left out.
const DROPPED_FIELDS: &str = "dropped_fields";
/// Refusals of a request after which it is sent once more: platforms name one field after the
/// other.
const REPAIRS_MAX: usize = 4;

/// One integration, connected to its platform. Whatever it returns is bounded and holds no secret.
pub struct Driver {
    adapter: Box<dyn Adapter>,
    /// Characters of a text that the platform shows; `None`: it gets what there is.
    text_max: Option<usize>,
    deletes: Deletes,
    mode: Option<&'static Mode>,
    rate: Option<&'static RateHeaders>,
    stable_ref: &'static str,
    secrets: Vec<SecretString>,
    /// Made when it is first needed: many integrations are opened and not used.
    redactors: OnceLock<Arc<Redactors>>,
    learned: Learned,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl Driver {
    /// Drives what connecting made.
    ///
    /// # Errors
    /// What connecting met, without secrets.
    pub(super) fn new(
        connected: Result<Box<dyn Adapter>, AdapterError>,
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let secrets = secrets(integration, credentials);
        let facts = integration.platform.map(descriptor);
        match connected {
            Ok(adapter) => Ok(Self {
                adapter,
                text_max: facts.and_then(|facts| facts.text_max),
                deletes: facts.map_or(Deletes::Closes, |facts| facts.deletes),
                mode: facts.and_then(|facts| facts.mode(integration.auth_type)),
                rate: facts.map(|facts| &facts.rate),
                stable_ref: facts.map_or("id", |facts| facts.stable_ref),
                secrets,
                redactors: OnceLock::new(),
                learned: Learned::default(),
            }),
            Err(mut error) => {
                error.redact(&Redaction::of(Arc::new(redactor(&secrets))));
                Err(error)
            }
        }
    }

    /// Does an operation. The caller has checked gates and turn.
    ///
    /// # Errors
    /// What the adapter says, see [`AdapterError`].
    pub async fn perform(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Receipt, AdapterError> {
        self.supports(operation)?;
        let context = &self.counting(context);
        let texts = Texts::of(operation, self.text_max);
        let cut = texts.operation(operation);
        let done = self
            .guarded(texts.len(), Box::pin(self.steps(context, &cut)))
            .await?;
        let mut receipt = bounds::receipt(done, operation.kind() == OperationKind::Create)?;
        for (field, said) in &texts.cut {
            receipt.details.entry(field).or_insert(said.clone());
        }
        Ok(receipt)
    }

    /// Prepares and sends the planned request: again without what the platform refuses, one refusal
    /// after the other, and once after another look-up.
    async fn steps(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Receipt, AdapterError> {
        let operation = &self.as_platform_knows(*operation);
        let mut known = Known::default();
        let mut was_looked_up = false;
        let mut repairs = 0..REPAIRS_MAX;
        loop {
            let without = known.without.clone();
            let error = match self.make(context, operation, known).await {
                Ok(receipt) => return Ok(dropping(receipt, &without)),
                Err(error) => error,
            };
            let again = error.again.filter(|_| !was_looked_up);
            let refused = error.without.as_deref().into_iter().flatten();
            let refused = refused.filter(|(name, _)| !without.contains_key(*name));
            let more: BTreeMap<_, _> = refused.map(|(n, why)| (n.clone(), why.clone())).collect();
            if (again.is_none() && more.is_empty()) || repairs.next().is_none() {
                return Err(error);
            }
            was_looked_up |= again.is_some();
            known = Known {
                without: without.into_iter().chain(more).collect(),
                again,
                ..Known::default()
            };
        }
    }

    async fn make(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        known: Known,
    ) -> Result<Receipt, AdapterError> {
        let prepared = self.adapter.prepare(context, operation, known).await;
        let mut known = match prepared.map_err(harmless)? {
            Prepared::Done(receipt) => return Ok(receipt),
            Prepared::Go(known) => known,
        };
        let done = known.done.take();
        let made = async {
            let plan = self.adapter.plan(operation, &known)?;
            let request = match self.adapter.protection_of(operation) {
                Protection::None => plan.request.unrepeatable(),
                Protection::Native | Protection::Key { .. } | Protection::Lookup { .. } => {
                    plan.request
                }
            };
            let began = Instant::now();
            let answer = context.send(request).await?;
            let mut receipt = self.adapter.read(operation, &known, &answer)?;
            if receipt.written.is_none() {
                receipt.written = written::written(&answer, began.elapsed());
            }
            for (name, said) in plan.left_out.into_iter().chain(known.details.clone()) {
                receipt.details.entry(name).or_insert(said);
            }
            Ok(receipt)
        };
        match (made.await, done) {
            (Ok(mut receipt), Some(done)) => {
                receipt.details.extend(done.receipt.details);
                Ok(receipt)
            }
            // What was set stays set, and the receipt says what is missing.
            (Err(error), Some(done)) => {
                let AdapterError { public, .. } = &error;
                let said = format!("not posted: {public}; {}", done.remedy);
                let mut receipt = done.receipt;
                receipt.details.insert(done.missing.into(), said.into());
                Err(AdapterError::after(error, receipt))
            }
            (made, None) => made,
        }
    }

    /// What belongs to an item that is surely there, after it was made or adopted. A failure is
    /// told, not an error: the item stays.
    pub async fn complete(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        receipt: &mut Receipt,
    ) -> Option<Box<Unfinished>> {
        let context = &self.counting(context);
        let operation = &self.as_platform_knows(*operation);
        let id = receipt.external_id.clone();
        let work = self.adapter.finish(context, operation, receipt)?;
        let redaction = self.redaction();
        let work = work.map(|finished| Ok(finished.err()));
        let finished = self.guarded_by(&redaction, 0, Box::pin(work)).await;
        receipt.redact(&redaction);
        // Whatever else is set, the item is the one that was made. What people call it may come
        // last.
        let name = receipt.external_id.take();
        let name = name.filter(|name| id.is_some() && bounds::id_fault(name).is_none());
        receipt.external_id = match finished {
            Ok(None) => name.or(id),
            Ok(Some(_)) | Err(_) => id,
        };
        let makes_item = operation.kind() == OperationKind::Create;
        let bounded = bounds::receipt(std::mem::take(receipt), makes_item);
        match bounded.map(|bounded| *receipt = bounded).and(finished) {
            Ok(unfinished) => unfinished,
            Err(error) => Some(Box::new(Unfinished { patch: None, error })),
        }
    }

    /// Looks for what an earlier attempt of unknown outcome may have made; see
    /// [`Adapter::look_up`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let texts = Texts::of(operation, self.text_max);
        let cut = self.as_platform_knows(texts.operation(operation));
        let context = &self.counting(context);
        let found = self.adapter.look_up(context, &cut);
        self.receipt(operation, texts.len(), found).await
    }

    /// What of an operation is done; see [`Adapter::partly`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn partly(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let texts = Texts::of(operation, self.text_max);
        let cut = self.as_platform_knows(texts.operation(operation));
        let found = self.adapter.partly(context, &cut);
        self.receipt(operation, texts.len(), found).await
    }

    async fn receipt(
        &self,
        operation: &Operation<'_>,
        bytes: usize,
        found: BoxFuture<'_, Result<Option<Receipt>, AdapterError>>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let found = self.guarded(bytes, found).await?;
        found
            .map(|receipt| bounds::receipt(receipt, operation.kind() == OperationKind::Create))
            .transpose()
    }

    /// The planned request of an operation, with placeholders for what would be looked up. Nothing
    /// is sent.
    ///
    /// # Errors
    /// What [`Driver::perform`] would say without asking the platform.
    pub fn plan(&self, operation: &Operation<'_>) -> Result<Plan, AdapterError> {
        self.supports(operation)?;
        let texts = Texts::of(operation, self.text_max);
        let cut = self.as_platform_knows(texts.operation(operation));
        let planned = off_runtime(texts.len(), || self.adapter.plan(&cut, &Known::rehearsal()));
        planned.map_err(|mut error| {
            error.redact(&self.redaction());
            bounds::error(error)
        })
    }

    /// The planned request of an operation for people: the dry run.
    ///
    /// # Errors
    /// As [`Driver::plan`].
    pub fn rehearse(&self, operation: &Operation<'_>) -> Result<Value, AdapterError> {
        let mut shown = self.plan(operation)?.request.masked();
        self.redaction().clean_value(&mut shown);
        Ok(shown)
    }

    /// One check of `integration.test`.
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        let report = self.guarded(0, self.adapter.check(context, test)).await?;
        Ok(bounds::report(report))
    }

    /// What can be read back.
    fn reader(&self) -> Result<&dyn Reader, AdapterError> {
        self.adapter.reader().ok_or_else(|| {
            let why = self.mode.and_then(|mode| mode.cannot_read);
            AdapterError::unsupported(why.unwrap_or("nothing can be read back from this platform"))
        })
    }

    /// Whether items can be read back.
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.adapter.reader().is_some()
    }

    /// What a delivery of the platform's says. Changes without an id that could be one are left
    /// out.
    ///
    /// # Errors
    /// Class validation, where the delivery is not what the platform sends; class unsupported,
    /// where its deliveries are not read.
    pub fn changes_told(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let redaction = self.redaction();
        let Some(inbound) = self.adapter.inbound() else {
            let text = "this version reads no webhooks of this platform";
            return Err(AdapterError::unsupported(text));
        };
        match inbound.normalise(hit) {
            Ok(mut changes) => {
                changes.redact(&redaction);
                Ok(changes.into_iter().filter_map(bounds::change).collect())
            }
            Err(mut error) => {
                error.redact(&redaction);
                Err(bounds::error(error))
            }
        }
    }

    /// The way to the platform, whose answers tell what is left of its budgets.
    fn counting<'c>(&self, context: &'c CallContext<'_>) -> CallContext<'c> {
        match self.rate {
            Some(rate) => context.counting(rate),
            None => context.until(context.deadline),
        }
    }

    /// Whether the mode has this operation at all, and there is something to it.
    fn supports(&self, operation: &Operation<'_>) -> Result<(), AdapterError> {
        let done_as = self.as_platform_knows(*operation).kind();
        let mut kinds = [operation.kind(), done_as].into_iter();
        match kinds.find_map(|kind| self.mode?.cannot(kind)) {
            Some(why) => Err(AdapterError::unsupported(why)),
            None => speaks(operation, self.text_max),
        }
    }

    /// The platform's own fields; see [`Reader::choices`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn fields(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let asked = self.reader()?.choices(context, search);
        Ok(bounds::fields(self.guarded(0, asked).await?))
    }

    /// A page of changes; see [`Reader::changes`]. Items without an id that could be one are
    /// counted as unreadable.
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let context = &self.counting(context);
        let asked = self.reader()?.changes(context, from);
        let page = self.guarded(0, asked).await?;
        let seen = page.changes.len();
        let changes: Vec<_> = page
            .changes
            .into_iter()
            .filter_map(bounds::change)
            .collect();
        Ok(ChangePage {
            unreadable: page.unreadable + (seen - changes.len()),
            changes,
            ..page
        })
    }

    /// Those of these items that changed; see [`Reader::known`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn known(
        &self,
        context: &CallContext<'_>,
        items: &[KnownItem],
        since: Option<DateTime<Utc>>,
    ) -> Result<Vec<ExternalItem>, AdapterError> {
        let asked = self.reader()?.known(context, items, since);
        let found = self.guarded(0, asked).await?;
        Ok(found.into_iter().filter_map(bounds::item).collect())
    }

    /// One item as it stands now; see [`Reader::get`].
    ///
    /// # Errors
    /// What the adapter says; class internal where the item has no id that could be one.
    pub async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let asked = self.reader()?.get(context, item);
        let found = self.guarded(0, asked).await?;
        found
            .map(|item| {
                bounds::item(item).ok_or_else(|| {
                    let text = "the platform's answer cannot be read: the item has no id that \
                                could be one";
                    AdapterError::new(ErrorClass::Internal, text)
                })
            })
            .transpose()
    }

    /// What the platform says of an item, in our words.
    #[must_use]
    pub fn ours(&self, facts: &Facts) -> TicketFacts {
        self.adapter.ours(facts)
    }

    /// What would be sent of a ticket, in the platform's words; see [`Adapter::theirs`].
    #[must_use]
    pub fn theirs(&self, ticket: &TicketView) -> Facts {
        self.adapter.theirs(ticket)
    }

    /// What an operation set, in the platform's words: what its receipt says, else what is sent of
    /// the ticket.
    #[must_use]
    pub fn wrote(&self, operation: &Operation<'_>, receipt: &Receipt) -> Facts {
        if receipt.wrote.is_empty() {
            written::wrote(operation, self.adapter.theirs(operation.ticket()))
        } else {
            receipt.wrote.clone()
        }
    }

    /// The member of a ticket's `external_ref` that is the item's stable id.
    #[must_use]
    pub const fn stable_ref(&self) -> &'static str {
        self.stable_ref
    }

    /// How to get access tokens, for integrations that authenticate by OAuth.
    #[must_use]
    pub fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.adapter.token_flow().map(|_| self as &dyn TokenFlow)
    }

    /// Whether a check shows at the platform.
    #[must_use]
    pub fn posts_when_checked(&self) -> bool {
        self.adapter.posts_when_checked()
    }

    /// How operations of this kind are kept from happening twice.
    #[must_use]
    pub fn protection(&self, kind: OperationKind) -> Protection {
        self.adapter.protection(kind)
    }

    /// How this operation is kept from happening twice.
    #[must_use]
    pub fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        self.adapter.protection_of(operation)
    }

    /// What an operation is done as: most platforms know no deletion, and the item is closed there.
    #[must_use]
    pub const fn as_done<'a>(&self, operation: &Operation<'a>) -> Operation<'a> {
        self.as_platform_knows(*operation)
    }

    /// Most platforms know no deletion: the item is closed there.
    const fn as_platform_knows<'a>(&self, operation: Operation<'a>) -> Operation<'a> {
        match self.deletes {
            Deletes::Closes => operation.deletion_closes(),
            Deletes::Native => operation,
        }
    }

    fn redaction(&self) -> Redaction {
        let redactors = self.redactors.get_or_init(|| {
            let mut redactors = Redactors::default();
            redactors.add(Arc::new(redactor(&self.secrets)));
            Arc::new(redactors)
        });
        Redaction::beginning(redactors, &self.learned)
    }

    /// A call in whose scope secrets are known, and whose result holds none. Secrets are taken out
    /// before anything is cut: half a secret would not be known again. Long texts are worked on off
    /// the runtime's threads.
    async fn guarded<T: Redact>(
        &self,
        bytes: usize,
        // In a box from the beginning: each layer around it would move all of it.
        call: BoxFuture<'_, Result<T, AdapterError>>,
    ) -> Result<T, AdapterError> {
        self.guarded_by(&self.redaction(), bytes, call).await
    }

    async fn guarded_by<T: Redact>(
        &self,
        redaction: &Redaction,
        bytes: usize,
        call: BoxFuture<'_, Result<T, AdapterError>>,
    ) -> Result<T, AdapterError> {
        let call = pin!(redacting(redaction, call));
        let call = AssertUnwindSafe(OffRuntime::new(call, bytes));
        match call.catch_unwind().await {
            Ok(Ok(mut value)) => {
                value.redact(redaction);
                Ok(value)
            }
            Ok(Err(mut error)) => {
                error.redact(redaction);
                let done = error.done.take();
                let done = done.and_then(|done| bounds::receipt(*done, false).ok());
                error.done = done.map(Box::new);
                Err(bounds::error(error))
            }
            // Whoever catches it logs its text.
            Err(panic) => resume_unwind(without(redaction, panic)),
        }
    }
}

/// A receipt that says what was left out of the request.
fn dropping(mut receipt: Receipt, without: &BTreeMap<String, String>) -> Receipt {
    if !without.is_empty() {
        receipt
            .details
            .insert(DROPPED_FIELDS.into(), json!(without));
    }
    receipt
}

/// What a step before the planned request met. Whatever became of such a step, it may be repeated
/// without a trace.
fn harmless(mut error: AdapterError) -> AdapterError {
    if error.class == ErrorClass::Unknown {
        error.class = ErrorClass::Transient { retry_after: None };
    }
    error
}

/// The flow of the adapter within, whose tokens are secrets from the moment they are known.
impl TokenFlow for Driver {
    fn request(&self, refresh_token: Option<&SecretString>) -> Result<Request, AdapterError> {
        if let Some(token) = refresh_token {
            learn(token.expose_secret());
        }
        self.flow()?.request(refresh_token)
    }

    fn read(&self, response: &Response) -> Result<TokenGrant, AdapterError> {
        let flow = self.flow()?;
        match flow.read(response) {
            Ok(grant) => {
                learn(grant.access_token.expose_secret());
                if let Some(token) = &grant.refresh_token {
                    learn(token.expose_secret());
                }
                Ok(grant)
            }
            // The answer came untouched, as a grant has to be. No grant is read again without what
            // is secret in it.
            Err(error) => match cleaned(&response.body, Reach::All) {
                None => Err(error),
                Some(body) => flow.read(&Response {
                    body,
                    ..response.clone()
                }),
            },
        }
    }

    fn is_stale(&self, response: &Response) -> bool {
        self.adapter
            .token_flow()
            .is_some_and(|flow| flow.is_stale(response))
    }
}

impl Driver {
    fn flow(&self) -> Result<&dyn TokenFlow, AdapterError> {
        let none = || AdapterError::new(ErrorClass::Internal, "this integration has no OAuth flow");
        self.adapter.token_flow().ok_or_else(none)
    }
}

#[cfg(test)]
mod tests;
