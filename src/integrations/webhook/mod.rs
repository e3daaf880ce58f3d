//! An integration's webhook at its platform: registered, checked, renewed, replaced, removed.
//!
//! Each registration has a row, which is there before the platform is asked: what was registered
//! with a lost answer is found by its address and kept with its secret. A new one is registered
//! before the old is removed, under another address where the old one's is still in use, as many
//! platforms take an address once. So a failure at any point leaves one that works.

mod check;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;
use uuid::Uuid;

use crate::domain::{
    ErrorCode, Failure, Integration, IntegrationId, OrganizationId, WebhookAction, WebhookState,
};
use crate::platforms::inbound::{Registered, SecretSource, Wanted, steps};
use crate::platforms::{AdapterError, CallContext, Driver, ErrorClass};
use crate::secrets::{Binding, KeyRing};
use crate::store::{ConfirmedWebhook, NewWebhook, OutboxRow, Store, StoreError, StoredWebhook};
use crate::telemetry::clock;

/// The column that the secrets of registrations are bound to, also while they are the previous
/// ones.
const SECRET: &str = "secret_sealed";
/// Bytes of a secret that we make.
const SECRET_BYTES: usize = 32;
/// How long a registration may be under way: longer than any attempt.
const UNDER_WAY: TimeDelta = TimeDelta::minutes(10);
/// How long a platform may give its secret to the address, counted from before it was asked.
const AWAITING: Duration = Duration::from_secs(60);

/// Why it is not done.
#[derive(Debug)]
pub enum WebhookRefusal {
    /// Something of ours is in the way, for good.
    Ours(Failure),
    /// The platform says so.
    Platform(AdapterError),
    /// The database could not be asked.
    Store(StoreError),
}

impl From<Failure> for WebhookRefusal {
    fn from(failure: Failure) -> Self {
        Self::Ours(failure)
    }
}

impl From<AdapterError> for WebhookRefusal {
    fn from(error: AdapterError) -> Self {
        Self::Platform(error)
    }
}

impl From<StoreError> for WebhookRefusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What came of it.
#[derive(Debug)]
pub struct WebhookOutcome {
    /// What is answered.
    pub result: Value,
    /// What is told to the world; it is in the outbox.
    pub events: Vec<OutboxRow>,
    /// Whether a registration is missing that was there.
    pub is_gone: bool,
}

/// An integration's webhooks, and what is needed to do something about them.
pub struct Webhooks<'a> {
    /// Where they are noted.
    pub store: &'a Store,
    /// Seals their secrets.
    pub ring: &'a KeyRing,
    /// The way to its platform.
    pub driver: &'a Driver,
    /// The integration.
    pub row: &'a Integration,
    /// `http.webhook_public_url`.
    pub public_url: Option<&'a Url>,
    /// The process that publishes the events; `None`: the outbox poller does.
    pub owner: Option<Uuid>,
}

/// Where an integration's deliveries go: below the public address, whatever path that has.
#[must_use]
pub fn webhook_address(public_url: &Url, integration: IntegrationId) -> String {
    let base = public_url.as_str().trim_end_matches('/');
    format!("{base}/webhooks/{integration}")
}

impl Webhooks<'_> {
    /// Does something about them. `context` is asked for a way to the platform.
    ///
    /// # Errors
    /// What the platform says, what of ours is missing, and the database's.
    pub async fn run<'c>(
        &self,
        action: WebhookAction,
        context: impl Fn() -> CallContext<'c>,
    ) -> Result<WebhookOutcome, WebhookRefusal> {
        let context = context();
        if !self.driver.registers_webhooks() {
            return self.by_hand(action).await;
        }
        match action {
            WebhookAction::Register => self.ensure(&context, false).await,
            WebhookAction::Rotate => {
                if let SecretSource::Kept(member) = self.driver.webhook_secret_source()? {
                    let text = format!(
                        "deliveries are signed with {member}, which the webhook has no part in: \
                         make a new one at the platform, and give it by integration update"
                    );
                    return Err(Failure::new(ErrorCode::UnsupportedOperation, text).into());
                }
                self.ensure(&context, true).await
            }
            WebhookAction::Check => self.check(&context).await,
            WebhookAction::Remove => self.remove(&context).await,
            WebhookAction::Redeliver => self.redeliver(&context).await,
        }
    }

    /// What is noted of them; nobody is asked.
    ///
    /// # Errors
    /// The database's.
    pub async fn shown(&self) -> Result<Value, WebhookRefusal> {
        self.report(json!({})).await
    }

    /// Of a platform that a person sets up.
    async fn by_hand(&self, action: WebhookAction) -> Result<WebhookOutcome, WebhookRefusal> {
        if action == WebhookAction::Check {
            return self.done(json!({ "action": action }), Vec::new()).await;
        }
        let (name, id) = (&self.row.platform_name, self.row.id);
        let text = format!(
            "webhooks of {name} are set up in its pages, by a person: `ticketwire integration \
             webhook {id} --print` says how"
        );
        Err(Failure::new(ErrorCode::UnsupportedOperation, text).into())
    }

    /// Where deliveries go.
    fn address(&self) -> Result<String, Failure> {
        let missing = || {
            let text = "http.webhook_public_url is not set: it is the address by which platforms \
                        reach http.webhook_listen, e.g. https://hooks.example.com";
            Failure::new(ErrorCode::ValidationFailed, text)
        };
        let url = self.public_url.ok_or_else(missing)?;
        Ok(webhook_address(url, self.row.id))
    }

    const fn binding(&self) -> Binding {
        Binding {
            organization: match self.row.organization_id {
                Some(organization) => organization,
                None => OrganizationId::new(Uuid::nil()),
            },
            integration: self.row.id,
            column: SECRET,
        }
    }

    /// Seals a secret as it is stored: as JSON, like that of the integration itself.
    fn seal(&self, secret: &SecretString) -> Result<String, Failure> {
        let plain = Value::String(secret.expose_secret().to_owned()).to_string();
        let sealed = self.ring.seal(&self.binding(), plain.as_bytes());
        sealed.map_err(|error| Failure::new(ErrorCode::CredentialsUnreadable, error.to_string()))
    }

    /// There is one that delivers to where we are; with `anew` it is another than before.
    async fn ensure(
        &self,
        context: &CallContext<'_>,
        anew: bool,
    ) -> Result<WebhookOutcome, WebhookRefusal> {
        let address = self.address()?;
        self.has_its_secret()?;
        let rows = self.settled(context).await?;
        if !anew && let Some((row, events)) = self.standing(context, &address, &rows).await? {
            let warnings = self.retire(context, &rows, row.id, None).await?;
            let result = json!({ "action": "register", "created": false, "warnings": warnings });
            return self.done(result, events).await;
        }
        let url = free_address(&address, &rows, self.driver);
        let (id, registered) = self.register(context, url.clone()).await?;
        let events = self.restored(id, &registered, url, &rows).await?;
        let name = Some(registered.external_id.as_str());
        let warnings = self.retire(context, &rows, id, name).await?;
        let action = if anew {
            WebhookAction::Rotate
        } else {
            WebhookAction::Register
        };
        let result = json!({ "action": action, "created": true, "warnings": warnings });
        self.done(result, events).await
    }

    /// The secret by which deliveries will be judged is there, where it is not the registration's.
    fn has_its_secret(&self) -> Result<(), WebhookRefusal> {
        let source = self.driver.webhook_secret_source()?;
        let lacks = source == SecretSource::Kept("webhook_secret")
            && self.row.webhook_secret_sealed.is_none();
        if lacks {
            let text = "webhook_secret is missing: without it no delivery could be verified. \
                        `ticketwire integration webhook ID --print` says where to find it";
            return Err(Failure::new(ErrorCode::ValidationFailed, text).into());
        }
        Ok(())
    }

    /// The newest of these that the platform still has, with the address that is in force.
    async fn standing<'r>(
        &self,
        context: &CallContext<'_>,
        address: &str,
        rows: &'r [StoredWebhook],
    ) -> Result<Option<(&'r StoredWebhook, Vec<OutboxRow>)>, WebhookRefusal> {
        for row in rows.iter().rev().filter(|row| is_at(&row.url, address)) {
            let Some(id) = &row.external_id else {
                continue;
            };
            let health = self.driver.check_webhook(context, id).await?;
            // One whose deliveries fail would not fare better as another.
            if matches!(health.state, WebhookState::Active | WebhookState::Failing) {
                let events = self.note(row, &health).await?;
                return Ok(Some((row, events)));
            }
        }
        Ok(None)
    }

    /// Registers an address, and notes what the platform says.
    async fn register(
        &self,
        context: &CallContext<'_>,
        url: String,
    ) -> Result<(Uuid, Registered), WebhookRefusal> {
        let source = self.driver.webhook_secret_source()?;
        let secret = (source == SecretSource::Made).then(made);
        let new = NewWebhook {
            id: Uuid::now_v7(),
            integration_id: self.row.id,
            url,
            secret_sealed: secret.as_ref().map(|one| self.seal(one)).transpose()?,
            awaiting: self.driver.shakes_hands().then_some(AWAITING),
        };
        self.store.add_webhook(&new).await?;
        let wanted = Wanted {
            url: &new.url,
            secret: secret.as_ref(),
        };
        let registered = match self.driver.register_webhook(context, &wanted).await {
            Ok(registered) => registered,
            // It may be there: the row keeps its address and its secret until it is looked for.
            Err(error) if error.class == ErrorClass::Unknown => {
                let problem = "the platform's answer was lost: it may be registered";
                let state = WebhookState::Failing;
                let nothing = (&[][..], None);
                self.store
                    .note_webhook(new.id, state, Some(problem), None, nothing)
                    .await?;
                return Err(error.into());
            }
            Err(error) => {
                self.store.forget_webhook(new.id, None).await?;
                return Err(error.into());
            }
        };
        let has_secret = self.confirm(new.id, &registered).await?;
        if has_secret.is_none() || (source == SecretSource::Given && has_secret == Some(false)) {
            self.driver
                .remove_webhook(context, &registered.external_id, &new.url)
                .await?;
            self.store.forget_webhook(new.id, None).await?;
            let text = match has_secret {
                None => "somebody removed the webhook while it was registered",
                Some(_) => {
                    "the platform gave no secret for the webhook, so no delivery could be \
                     verified; it was removed again"
                }
            };
            return Err(Failure::new(ErrorCode::Internal, text).into());
        }
        Ok((new.id, registered))
    }

    async fn confirm(
        &self,
        id: Uuid,
        registered: &Registered,
    ) -> Result<Option<bool>, WebhookRefusal> {
        let secret = registered.secret.as_ref();
        let confirmed = ConfirmedWebhook {
            external_id: registered.external_id.clone(),
            resource: registered.resource.clone(),
            secret_sealed: secret.map(|one| self.seal(one)).transpose()?,
            expires_at: registered.expires_at,
        };
        Ok(self.store.confirm_webhook(id, &confirmed).await?)
    }

    /// Removes all of these but one that stays, and says what could not be removed: the next look
    /// tries again. Their secrets stay good for a while for the deliveries of what stays. `name` is
    /// what the platform calls one that is new.
    async fn retire(
        &self,
        context: &CallContext<'_>,
        rows: &[StoredWebhook],
        stays: Uuid,
        name: Option<&str>,
    ) -> Result<Vec<String>, WebhookRefusal> {
        let mut warnings = Vec::new();
        let under_way =
            |row: &StoredWebhook| row.external_id.is_none() && !is_lost(row, clock::now());
        let others = rows.iter().filter(|row| row.id != stays);
        for row in others.filter(|row| !under_way(row)) {
            // A platform that takes one of an address gave the old one again.
            let is_same = name.is_some() && row.external_id.as_deref() == name;
            let removed = match &row.external_id {
                Some(id) if !is_same => self.driver.remove_webhook(context, id, &row.url).await,
                Some(_) | None => Ok(()),
            };
            match removed {
                Ok(()) => self.store.forget_webhook(row.id, Some(stays)).await?,
                Err(error) => {
                    let id = row.external_id.as_deref().unwrap_or_default();
                    let why = &error.public;
                    warnings.push(format!("the one before, {id}, could not be removed: {why}"));
                }
            }
        }
        Ok(warnings)
    }

    /// The rows, of which those with a lost answer were looked for: what was registered is theirs
    /// now, and what was not is forgotten.
    async fn settled(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Vec<StoredWebhook>, WebhookRefusal> {
        let rows = self.store.webhooks(self.row.id).await?;
        let now = clock::now();
        if !rows.iter().any(|row| is_lost(row, now)) {
            return Ok(rows);
        }
        let source = self.driver.webhook_secret_source()?;
        for row in rows.iter().filter(|row| is_lost(row, now)) {
            let mut found = self.driver.find_webhooks(context, &row.url).await?;
            let known = |id: &String| rows.iter().any(|row| row.external_id.as_ref() == Some(id));
            found.retain(|one| !known(&one.external_id));
            // Its secret is here only where we made it, or where it has none of its own.
            let adopts = source != SecretSource::Given;
            let adopted = if adopts { found.pop() } else { None };
            for stray in &found {
                self.driver
                    .remove_webhook(context, &stray.external_id, &row.url)
                    .await?;
            }
            match adopted {
                Some(adopted) => drop(self.confirm(row.id, &adopted).await?),
                None => self.store.forget_webhook(row.id, None).await?,
            }
        }
        Ok(self.store.webhooks(self.row.id).await?)
    }

    async fn remove(&self, context: &CallContext<'_>) -> Result<WebhookOutcome, WebhookRefusal> {
        let rows = self.settled(context).await?;
        for row in &rows {
            if let Some(id) = &row.external_id {
                self.driver.remove_webhook(context, id, &row.url).await?;
            }
            self.store.forget_webhook(row.id, None).await?;
        }
        let result = json!({ "action": WebhookAction::Remove, "removed": rows.len() });
        self.done(result, Vec::new()).await
    }

    async fn redeliver(&self, context: &CallContext<'_>) -> Result<WebhookOutcome, WebhookRefusal> {
        let (mut failed, mut asked) = (0, 0);
        let rows = self.settled(context).await?;
        if rows.is_empty() {
            let text = "no webhook is registered, so no delivery of it can be lost";
            return Err(Failure::new(ErrorCode::ValidationFailed, text).into());
        }
        for id in rows.iter().filter_map(|row| row.external_id.as_ref()) {
            let redelivered = self.driver.redeliver_webhook(context, id).await?;
            failed += redelivered.failed;
            asked += redelivered.asked;
        }
        let action = WebhookAction::Redeliver;
        let result = json!({ "action": action, "lost": failed, "asked_for": asked });
        self.done(result, Vec::new()).await
    }

    async fn done(
        &self,
        result: Value,
        events: Vec<OutboxRow>,
    ) -> Result<WebhookOutcome, WebhookRefusal> {
        Ok(WebhookOutcome {
            result: self.report(result).await?,
            events,
            is_gone: false,
        })
    }

    /// What is answered, with the rows as they are now, and the steps where a person takes them.
    async fn report(&self, mut result: Value) -> Result<Value, WebhookRefusal> {
        let rows = self.store.webhooks(self.row.id).await?;
        let registers = self.driver.registers_webhooks();
        let address = self.address().ok();
        let rows: Vec<Value> = rows.iter().map(StoredWebhook::shown).collect();
        result["integration_id"] = json!(self.row.id);
        result["by_interface"] = registers.into();
        result["address"] = json!(address);
        result["webhooks"] = rows.into();
        result["instructions"] = match address.filter(|_| !registers) {
            Some(address) => steps(self.row, &address).into(),
            None => Value::Null,
        };
        Ok(result)
    }
}

/// Whether the answer to a registration was lost. One without it that is young is under way.
fn is_lost(row: &StoredWebhook, now: DateTime<Utc>) -> bool {
    let is_old = now - row.created_at > UNDER_WAY;
    row.external_id.is_none() && (row.state == WebhookState::Failing || is_old)
}

/// A secret that nobody has used.
fn made() -> SecretString {
    let mut bytes = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes).into()
}

/// An address that none of these has. A second one at the same place differs in its query.
fn free_address(address: &str, rows: &[StoredWebhook], driver: &Driver) -> String {
    if driver.has_one_webhook_address() {
        return address.to_owned();
    }
    let others = (2..).map(|n| format!("{address}?hook={n}"));
    let mut all = std::iter::once(address.to_owned()).chain(others);
    let free = all.find(|url| rows.iter().all(|row| row.url != *url));
    free.unwrap_or_else(|| address.to_owned())
}

/// Whether a registered address is this one, whatever its number.
pub(super) fn is_at(url: &str, address: &str) -> bool {
    url.split('?').next() == Some(address)
}
