//! A delivery from the ledger to its changes: it is verified, normalised, and what it does not show
//! is read from the platform.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::ReadChange;
use crate::contract::{Headers, WebhookReceived};
use crate::domain::{AuthType, ErrorCode, Failure, WaitReason};
use crate::inbound::seal::{Delivered, is_sealed};
use crate::pipeline::connections::ConnectedIntegration;
use crate::pipeline::context::Core;
use crate::pipeline::executor::admin::Refusal;
use crate::pipeline::executor::gates;
use crate::pipeline::intake::{HOOK_HEADERS, HOOK_QUERY};
use crate::pipeline::job::Job;
use crate::pipeline::retry::Next;
use crate::pipeline::tokens::TokenCache;
use crate::platforms::inbound::{Hit, Rejected, verify, wire};
use crate::platforms::{
    AdapterError, AskedToWait, CallContext, Change, ChangeKind, Driver, ErrorClass, ItemRef, Needs,
    strangers,
};
use crate::secrets::Binding;
use crate::store::{StoreError, chain};

/// A delivery is good for so long: what cannot be verified by then is not taken.
const AGE_MAX: TimeDelta = TimeDelta::days(7);
/// Where others read the same platform, it is asked a little later.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// What a delivery says, once it is known whose it is.
pub(in crate::pipeline) struct Read {
    pub(in crate::pipeline) handle: Arc<ConnectedIntegration>,
    pub(in crate::pipeline) changes: Vec<ReadChange>,
    /// Whether nothing proved whose it is.
    pub(in crate::pipeline) unsigned: bool,
    /// What the platform's answers asked for.
    pub(in crate::pipeline) asked: AskedToWait,
}

/// Reads a delivery.
pub(in crate::pipeline) async fn read(
    core: &Core,
    job: &Job,
    hook: &WebhookReceived,
    now: DateTime<Utc>,
) -> Result<Read, Refusal> {
    let Heard {
        handle,
        adapter,
        changes,
        unsigned,
    } = hear(core, job, hook, now).await?;
    let reading = Reading {
        core,
        job,
        handle: &handle,
        adapter: adapter.as_ref(),
        tokens: TokenCache::new(&core.tokens, Some(&handle)),
        deadline: Instant::now() + core.config.dispatch.attempt_timeout,
        asked: AskedToWait::default(),
    };
    let changes = reading.complete(changes).await?;
    let asked = reading.asked.clone();
    Ok(Read {
        handle,
        changes,
        unsigned,
        asked,
    })
}

/// A delivery whose changes are known as it tells them.
pub(super) struct Heard {
    pub(super) handle: Arc<ConnectedIntegration>,
    adapter: Arc<Driver>,
    pub(super) changes: Vec<Change>,
    pub(super) unsigned: bool,
}

/// Verifies a delivery, and says what it tells. No platform is asked.
pub(super) async fn hear(
    core: &Core,
    job: &Job,
    hook: &WebhookReceived,
    now: DateTime<Utc>,
) -> Result<Heard, Refusal> {
    let handle = taken_by(job)?;
    let adapter = match &handle.adapter {
        Ok(adapter) => Arc::clone(adapter),
        Err(failure) => return Err(failure.clone().into()),
    };
    let mut headers = open_headers(core, job, hook)?;
    let query = headers.remove(HOOK_QUERY).or_else(|| hook.query.clone());
    let hook = &WebhookReceived {
        query,
        ..hook.clone()
    };
    let (method, wire) = wire(&hook.method, &headers);
    let url = url_of(core, hook);
    let hit = Hit::new(&method, &url, &wire, &hook.body, hook.received);
    let unsigned = prove(core, &handle, hook, &headers, &hit, now).await?;
    let changes = adapter
        .changes_told(&hit)
        .map_err(|error| error.failure())?;
    Ok(Heard {
        handle,
        adapter,
        changes,
        unsigned,
    })
}

/// The integration, if it takes deliveries: enabled is enough.
fn taken_by(job: &Job) -> Result<Arc<ConnectedIntegration>, Failure> {
    let handle = gates::owned(job)?;
    if handle.row.enabled {
        return Ok(handle);
    }
    let text = format!(
        "integration {} is disabled; enable it with integration.status",
        handle.row.id
    );
    Err(Failure::new(ErrorCode::IntegrationDisabled, text))
}

/// The headers, opened where the ledger has them sealed.
fn open_headers(
    core: &Core,
    job: &Job,
    hook: &WebhookReceived,
) -> Result<BTreeMap<String, String>, Failure> {
    let sealed = match &hook.headers {
        Headers::Open(headers) => return Ok(headers.clone()),
        Headers::Sealed(sealed) => sealed,
    };
    let binding = Binding {
        organization: job.organization_id,
        integration: hook.integration_id,
        column: HOOK_HEADERS,
    };
    let unreadable = |why: &str| {
        let text = format!("the delivery's headers cannot be read: {why}; send it again");
        Failure::new(ErrorCode::ValidationFailed, text)
    };
    let plain = core
        .ring
        .open(&binding, sealed)
        .map_err(|error| unreadable(&error.to_string()))?;
    let headers: BTreeMap<String, String> =
        serde_json::from_slice(&plain).map_err(|_| unreadable("they are no object of texts"))?;
    Ok(headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect())
}

/// The public address, with the query as it came.
fn url_of(core: &Core, hook: &WebhookReceived) -> String {
    let base = core.config.http.webhook_public_url.as_ref();
    let base = base.map_or("", |url| url.as_str().trim_end_matches('/'));
    let mut url = format!("{base}/webhooks/{}", hook.integration_id);
    if let Some(query) = &hook.query {
        url.push('?');
        url.push_str(query);
    }
    url
}

/// Whose the delivery is: as the listener has sealed it, else by the integration's secrets. True,
/// where nothing proves it and that is taken.
async fn prove(
    core: &Core,
    handle: &ConnectedIntegration,
    hook: &WebhookReceived,
    headers: &BTreeMap<String, String>,
    hit: &Hit<'_>,
    now: DateTime<Utc>,
) -> Result<bool, Refusal> {
    let delivered = Delivered {
        integration: hook.integration_id,
        received_at: &hook.received_at,
        method: &hook.method,
        query: hook.query.as_deref(),
        headers,
        body: &hook.body,
    };
    let seal = hook.seal.as_deref();
    if seal.is_some_and(|seal| is_sealed(&core.ring, &delivered, seal)) {
        return Ok(false);
    }
    let entries = core.store.hook_entries(&[hook.integration_id]).await;
    let entry = entries.map_err(|error| unreachable_database(&error))?.pop();
    let hooks = handle.row.platform.and_then(crate::platforms::hooks);
    let (Some(entry), Some(hooks)) = (entry, hooks) else {
        let name = handle.row.platform_name.as_str();
        let text = format!("this version reads no webhooks of {name}");
        return Err(Failure::new(ErrorCode::UnsupportedOperation, text).into());
    };
    let age = now - hook.received;
    if age > AGE_MAX || age < -TimeDelta::minutes(5) {
        let text = "received_at is more than 7 days ago, or in the future; the platform sends what \
                    is new again, and integration.sync finds what was missed";
        return Err(Failure::new(ErrorCode::ValidationFailed, text).into());
    }
    let auth_type = handle.row.auth_type;
    let secrets = match handle.row.platform {
        Some(platform) => entry
            .sealed
            .open(&core.ring, platform, auth_type, hook.received),
        None => Vec::new(),
    };
    if secrets.is_empty() && entry.accepts_unsigned {
        return Ok(true);
    }
    proved(hooks.schemes, hit, auth_type, &secrets, hook.received)?;
    Ok(false)
}

fn proved(
    schemes: &[crate::platforms::inbound::Scheme],
    hit: &Hit<'_>,
    auth_type: AuthType,
    secrets: &[secrecy::SecretString],
    at: DateTime<Utc>,
) -> Result<(), Failure> {
    let text = match verify(schemes, hit, auth_type, secrets, at) {
        Ok(()) => return Ok(()),
        Err(Rejected::NoSecret) => {
            "the delivery cannot be verified (no_secret): the integration has no webhook_secret; \
             set it with integration.update"
        }
        Err(Rejected::Unsigned) => {
            "the delivery is not signed (unsigned): the header that proves whose it is is missing"
        }
        Err(Rejected::BadSignature) => {
            "the delivery's signature is wrong (bad_signature): the platform signs with another \
             secret, or the body is not as it came"
        }
        Err(Rejected::Stale) => {
            "the delivery was signed at another time than received_at says (stale)"
        }
    };
    Err(Failure::new(ErrorCode::ValidationFailed, text))
}

fn unreachable_database(error: &StoreError) -> Refusal {
    tracing::warn!(error = chain(error), "a delivery cannot be read yet");
    Refusal::Waits(Next::without_database())
}

/// The way to the platform, which only reads.
struct Reading<'a> {
    core: &'a Core,
    job: &'a Job,
    handle: &'a Arc<ConnectedIntegration>,
    adapter: &'a Driver,
    tokens: TokenCache<'a>,
    deadline: Instant,
    asked: AskedToWait,
}

impl Reading<'_> {
    fn context(&self) -> CallContext<'_> {
        CallContext::new(
            &self.core.http,
            self.deadline,
            self.core.lease.as_ref(),
            &self.tokens,
            strangers(self.handle.row.platform),
        )
        .remembering(self.handle.memory.as_ref())
        .mailing(&self.core.mail)
        .noting(&self.asked)
        .only_reading()
    }

    /// The changes, with what they do not show read. Each item is read once.
    async fn complete(&self, changes: Vec<Change>) -> Result<Vec<ReadChange>, Refusal> {
        let mut items = HashMap::new();
        let mut complete = Vec::with_capacity(changes.len());
        for change in changes {
            let is_thin = change.needs != Needs::Nothing;
            let again = self.job.reads_again && change.kind != ChangeKind::Deleted;
            if !(is_thin || again) || !self.adapter.can_read() {
                complete.push(ReadChange {
                    change,
                    asked_at: None,
                });
                continue;
            }
            if !items.contains_key(&change.item) {
                let read = self.item(&change.item).await?;
                items.insert(change.item.clone(), read);
            }
            let read = items.get(&change.item).cloned().flatten();
            complete.push(filled(change, read));
        }
        Ok(complete)
    }

    /// An item as it stands now; `None` within: it is gone. `None`: it cannot be read.
    async fn item(&self, item: &ItemRef) -> Result<Option<ReadItem>, Refusal> {
        let (organization, integration) = (self.job.organization_id, self.handle.row.id);
        let Some(_slot) = self.core.lanes.read_slot(organization, integration) else {
            let next = Next::in_(PAUSE, WaitReason::ReadAgain);
            return Err(Refusal::Waits(next));
        };
        let asked_at = self.core.store.clock().await;
        let asked_at = asked_at.map_err(|error| unreachable_database(&error))?;
        match self.adapter.get(&self.context(), item).await {
            Ok(item) => Ok(Some(ReadItem { item, asked_at })),
            Err(error) if error.class == ErrorClass::Unsupported => Ok(None),
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn refused(&self, error: &AdapterError) -> Refusal {
        tracing::info!(command_id = %self.job.id, error = %error,
            "what a platform told of cannot be read");
        Refusal::of_read(error, &self.asked)
    }
}

/// An item that was read.
#[derive(Clone)]
struct ReadItem {
    item: Option<crate::platforms::ExternalItem>,
    asked_at: DateTime<Utc>,
}

/// A change with what was read of its item.
fn filled(mut change: Change, read: Option<ReadItem>) -> ReadChange {
    let Some(ReadItem { item, asked_at }) = read else {
        return ReadChange {
            change,
            asked_at: None,
        };
    };
    let Some(item) = item else {
        // A comment of an item that is gone is as good as none.
        change.kind = ChangeKind::Deleted;
        change.comment = None;
        return ReadChange {
            change,
            asked_at: Some(asked_at),
        };
    };
    if let Some(comment) = &mut change.comment {
        let shown = item.comments.iter().find(|shown| shown.id == comment.id);
        if let Some(shown) = shown {
            let before = comment.before.take();
            *comment = shown.clone();
            comment.before = before;
        }
    }
    let is_new_name = change.needs == Needs::Parent || change.item.stable_id.is_none();
    if is_new_name || change.item.external_id.is_empty() {
        change.item = item.item.clone();
    }
    let moved = item.item.external_id != change.item.external_id
        && item.item.stable_id.is_some()
        && item.item.stable_id == change.item.stable_id;
    if moved {
        change.item.external_id.clone_from(&item.item.external_id);
    }
    if change.comment.is_none() {
        change.at = item.at.or(change.at);
    }
    change.marker = item.marker;
    change.facts = item.facts;
    change.whole = true;
    change.needs = Needs::Nothing;
    ReadChange {
        change,
        asked_at: Some(asked_at),
    }
}
