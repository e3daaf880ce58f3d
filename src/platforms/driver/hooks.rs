//! The driver's side of registering webhooks: the same guard as around every other call.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::Driver;
use crate::platforms::http::redact::learn;
use crate::platforms::inbound::{
    HookHealth, Redelivered, Registered, Registrar, SecretSource, Wanted,
};
use crate::platforms::{AdapterError, CallContext, ErrorClass, bounds};

/// Characters of what a platform calls a registration, and of what is wrong with one.
const ID_MAX: usize = 255;
const PROBLEM_MAX: usize = 500;
/// Registrations with one address that are looked at.
const FOUND_MAX: usize = 100;

impl Driver {
    fn registrar(&self) -> Result<&dyn Registrar, AdapterError> {
        self.adapter.registrar().ok_or_else(|| {
            let text = "this platform has no interface that takes webhooks; a person sets them \
                        up in its pages, as the printed steps say";
            AdapterError::unsupported(text)
        })
    }

    /// Whether the platform is told by its interface where to send its deliveries.
    #[must_use]
    pub fn registers_webhooks(&self) -> bool {
        self.adapter.registrar().is_some()
    }

    /// Where the secret of deliveries comes from; see [`Registrar::secret`].
    ///
    /// # Errors
    /// Class unsupported, where a person has to register.
    pub fn webhook_secret_source(&self) -> Result<SecretSource, AdapterError> {
        Ok(self.registrar()?.secret())
    }

    /// See [`Registrar::life`].
    #[must_use]
    pub fn webhook_life(&self) -> Option<std::time::Duration> {
        self.adapter.registrar().and_then(Registrar::life)
    }

    /// See [`Registrar::shakes_hands`].
    #[must_use]
    pub fn shakes_hands(&self) -> bool {
        self.adapter
            .registrar()
            .is_some_and(Registrar::shakes_hands)
    }

    /// See [`Registrar::has_one_address`].
    #[must_use]
    pub fn has_one_webhook_address(&self) -> bool {
        self.adapter
            .registrar()
            .is_some_and(Registrar::has_one_address)
    }

    /// Registers an address; see [`Registrar::register`].
    ///
    /// # Errors
    /// What the adapter says. Class unknown: it may be registered, and [`Driver::find_webhooks`]
    /// tells.
    pub async fn register_webhook(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError> {
        let registrar = self.registrar()?;
        let context = &self.counting(context);
        let call = async {
            if let Some(secret) = wanted.secret {
                learn(secret.expose_secret());
            }
            let registered = registrar.register(context, wanted).await?;
            if let Some(secret) = &registered.secret {
                learn(secret.expose_secret());
            }
            Ok(registered)
        };
        bounded(self.guarded(0, Box::pin(call)).await?)
    }

    /// What is registered with this address; see [`Registrar::find`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn find_webhooks(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Vec<Registered>, AdapterError> {
        let context = &self.counting(context);
        let found = self.registrar()?.find(context, url);
        let found = self.guarded(0, found).await?.into_iter();
        Ok(found
            .filter_map(|one| bounded(one).ok())
            .take(FOUND_MAX)
            .collect())
    }

    /// How a registration does; see [`Registrar::check`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn check_webhook(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<HookHealth, AdapterError> {
        let context = &self.counting(context);
        let checked = self.registrar()?.check(context, id);
        let mut health = self.guarded(0, checked).await?;
        health.problem = health.problem.map(|text| cut(&text, PROBLEM_MAX));
        Ok(health)
    }

    /// Lets a registration live longer; see [`Registrar::renew`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn renew_webhook(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<Option<DateTime<Utc>>, AdapterError> {
        let context = &self.counting(context);
        let renewed = self.registrar()?.renew(context, id);
        self.guarded(0, renewed).await
    }

    /// Removes a registration; see [`Registrar::remove`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn remove_webhook(
        &self,
        context: &CallContext<'_>,
        id: &str,
        url: &str,
    ) -> Result<(), AdapterError> {
        let context = &self.counting(context);
        let removed = self.registrar()?.remove(context, id, url);
        self.guarded(0, removed).await
    }

    /// Has lost deliveries sent again; see [`Registrar::redeliver`].
    ///
    /// # Errors
    /// What the adapter says.
    pub async fn redeliver_webhook(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<Redelivered, AdapterError> {
        let context = &self.counting(context);
        let asked = self.registrar()?.redeliver(context, id);
        self.guarded(0, asked).await
    }
}

/// A registration whose id could be one: it becomes part of an address later.
fn bounded(mut registered: Registered) -> Result<Registered, AdapterError> {
    let id = &registered.external_id;
    let fits = bounds::id_fault(id).is_none() && id.chars().count() <= ID_MAX;
    if !fits {
        let text = "the platform's answer cannot be read: the webhook has no id that could be one";
        return Err(AdapterError::new(ErrorClass::Unknown, text));
    }
    registered.resource = registered.resource.map(|text| cut(&text, ID_MAX));
    Ok(registered)
}

fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}
