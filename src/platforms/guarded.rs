//! The adapter around every adapter: nothing that is returned holds a secret of its integration, in whatever form the
//! platform said it back. An adapter needs no line for it; [`super::connect`] puts it in.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::http::redact::{Learned, Redaction, cleaned, learn, redacting, secret_parts};
use super::{
    Adapter, AdapterError, ChangePage, CheckReport, ErrorClass, Exchange, ExternalItem, KnownItem,
    Operation, OperationKind, PlatformField, Protection, Receipt, Request, Response, TestKind,
    TokenFlow, TokenGrant, descriptor,
};
use crate::domain::Integration;
use crate::secrets::{Credentials, Reach, Redactor, Redactors};

/// Headers of a webhook that say nothing secret, though they are among its credentials.
const OPEN_HEADERS: [&str; 7] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-language",
    "prefer",
];

/// An adapter whose results hold no secret.
pub(super) struct Guarded {
    inner: Arc<dyn Adapter>,
    secrets: Vec<SecretString>,
    /// Made when it is first needed: many integrations are opened and not used.
    redactors: OnceLock<Arc<Redactors>>,
    learned: Learned,
}

impl Guarded {
    /// Guards what connecting made, or its error.
    pub(super) fn around(
        connected: Result<Arc<dyn Adapter>, AdapterError>,
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Arc<dyn Adapter>, AdapterError> {
        let secrets = secrets(integration, credentials);
        match connected {
            Ok(inner) => Ok(Arc::new(Self {
                inner,
                secrets,
                redactors: OnceLock::new(),
                learned: Learned::default(),
            })),
            Err(mut error) => {
                error.redact(&Redaction::of(Arc::new(redactor(&secrets))));
                Err(error)
            }
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

    /// A call in whose scope secrets are known, and whose result holds none.
    async fn call<T: Redact>(
        &self,
        call: impl Future<Output = Result<T, AdapterError>> + Send,
    ) -> Result<T, AdapterError> {
        let redaction = self.redaction();
        let result = AssertUnwindSafe(redacting(&redaction, call))
            .catch_unwind()
            .await;
        match result {
            Ok(Ok(mut value)) => {
                value.redact(&redaction);
                Ok(value)
            }
            Ok(Err(mut error)) => {
                error.redact(&redaction);
                Err(error)
            }
            // Whoever catches it logs its text.
            Err(panic) => resume_unwind(without(&redaction, panic)),
        }
    }
}

fn without(redaction: &Redaction, panic: Box<dyn Any + Send>) -> Box<dyn Any + Send> {
    let text = panic.downcast_ref::<String>().cloned();
    match text {
        None => panic,
        Some(mut text) => {
            redaction.clean(&mut text);
            Box::new(text)
        }
    }
}

fn redactor(secrets: &[SecretString]) -> Redactor {
    Redactor::new(secrets.iter().map(|secret| secret.expose_secret()))
}

/// Everything in the credentials that its platform does not declare to be open, nor the integration's own settings show.
fn secrets(integration: &Integration, credentials: &Credentials) -> Vec<SecretString> {
    let facts = integration.platform.and_then(descriptor);
    let is_open = |name: &str| {
        facts.is_some_and(|facts| {
            let members = facts.auth.iter().flat_map(|scheme| scheme.alternatives);
            let mut members = members.flat_map(|set| set.iter());
            let settings = &facts.settings;
            members.any(|member| member.name == name && member.open)
                || settings.iter().any(|member| member.name == name)
        })
    };
    let mut open: Vec<String> = integration.base_url.iter().cloned().collect();
    let settings = &integration.settings;
    settings.values().for_each(|value| leaves(value, &mut open));
    let mut found = Vec::new();
    for (name, value) in credentials.members() {
        match value {
            Value::Object(map) if name == "headers" => {
                let secret =
                    |name: &str| !OPEN_HEADERS.contains(&name.to_ascii_lowercase().as_str());
                let values = map.iter().filter(|(name, _)| secret(name));
                values.for_each(|(_, value)| leaves(value, &mut found));
            }
            _ if is_open(name) => leaves(value, &mut open),
            _ => leaves(value, &mut found),
        }
    }
    // A legacy row has more among its credentials than secrets: a host name that the base URL has too is none.
    found.retain(|secret| !open.iter().any(|open| open.contains(secret.as_str())));
    let besides = credentials.webhook_secret();
    found.extend(besides.map(|secret| secret.expose_secret().to_owned()));
    found
        .iter()
        .flat_map(|secret| secret_parts(secret))
        .map(SecretString::from)
        .collect()
}

/// Every text and number of a value.
fn leaves(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => found.push(number.to_string()),
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::Object(map) => map.values().for_each(|value| leaves(value, found)),
    }
}

/// What an adapter returns.
trait Redact: Send {
    /// Takes the secrets out.
    fn redact(&mut self, redaction: &Redaction);
}

impl<T: Redact> Redact for Option<T> {
    fn redact(&mut self, redaction: &Redaction) {
        if let Some(inner) = self {
            inner.redact(redaction);
        }
    }
}

impl<T: Redact> Redact for Vec<T> {
    fn redact(&mut self, redaction: &Redaction) {
        for item in self {
            item.redact(redaction);
        }
    }
}

impl Redact for String {
    fn redact(&mut self, redaction: &Redaction) {
        redaction.clean(self);
    }
}

impl Redact for AdapterError {
    fn redact(&mut self, redaction: &Redaction) {
        self.public.redact(redaction);
        self.internal.redact(redaction);
        if let ErrorClass::Validation { fields } = &mut self.class {
            let cleaned = |mut text: String| {
                text.redact(redaction);
                text
            };
            let made: BTreeMap<String, String> = std::mem::take(fields)
                .into_iter()
                .map(|(name, fault)| (cleaned(name), cleaned(fault)))
                .collect();
            *fields = made;
        }
    }
}

impl Redact for Receipt {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            external_id,
            external_url,
            external_ref,
            external_comment_id,
            external_attachment_id,
            details,
        } = self;
        external_id.redact(redaction);
        external_url.redact(redaction);
        redaction.clean_map(external_ref);
        external_comment_id.redact(redaction);
        external_attachment_id.redact(redaction);
        redaction.clean_map(details);
    }
}

impl Redact for CheckReport {
    fn redact(&mut self, redaction: &Redaction) {
        let Self { message, details } = self;
        message.redact(redaction);
        redaction.clean_map(details);
    }
}

impl Redact for PlatformField {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            id,
            name,
            kind,
            custom: _,
            required: _,
            allowed_values,
        } = self;
        id.redact(redaction);
        name.redact(redaction);
        kind.redact(redaction);
        allowed_values.redact(redaction);
    }
}

impl Redact for ExternalItem {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            external_id,
            external_ref,
            external_url,
            title,
            status: _,
            priority: _,
            updated_at: _,
        } = self;
        external_id.redact(redaction);
        redaction.clean_map(external_ref);
        external_url.redact(redaction);
        title.redact(redaction);
    }
}

impl Redact for ChangePage {
    fn redact(&mut self, redaction: &Redaction) {
        let Self {
            items,
            next,
            unreadable: _,
        } = self;
        items.redact(redaction);
        next.redact(redaction);
    }
}

#[async_trait]
impl Adapter for Guarded {
    async fn execute(
        &self,
        exchange: &Exchange<'_>,
        operation: &Operation<'_>,
    ) -> Result<Receipt, AdapterError> {
        self.call(self.inner.execute(exchange, operation)).await
    }

    async fn look_up(
        &self,
        exchange: &Exchange<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.call(self.inner.look_up(exchange, operation)).await
    }

    async fn check(
        &self,
        exchange: &Exchange<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        self.call(self.inner.check(exchange, test)).await
    }

    fn plan(&self, operation: &Operation<'_>) -> Result<Request, AdapterError> {
        self.inner.plan(operation).map_err(|mut error| {
            error.redact(&self.redaction());
            error
        })
    }

    fn rehearse(&self, operation: &Operation<'_>) -> Result<Value, AdapterError> {
        let mut shown = self.plan(operation)?.masked();
        self.redaction().clean_value(&mut shown);
        Ok(shown)
    }

    async fn fields(
        &self,
        exchange: &Exchange<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        self.call(self.inner.fields(exchange, search)).await
    }

    async fn changes(
        &self,
        exchange: &Exchange<'_>,
        since: Option<DateTime<Utc>>,
        cursor: Option<&str>,
    ) -> Result<ChangePage, AdapterError> {
        self.call(self.inner.changes(exchange, since, cursor)).await
    }

    async fn partly(
        &self,
        exchange: &Exchange<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        self.call(self.inner.partly(exchange, operation)).await
    }

    async fn known(
        &self,
        exchange: &Exchange<'_>,
        items: &[KnownItem],
        since: Option<DateTime<Utc>>,
    ) -> Result<Vec<ExternalItem>, AdapterError> {
        self.call(self.inner.known(exchange, items, since)).await
    }

    async fn item(
        &self,
        exchange: &Exchange<'_>,
        id: &str,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        self.call(self.inner.item(exchange, id)).await
    }

    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        self.inner.protection_of(operation)
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.inner.token_flow().map(|_| self as &dyn TokenFlow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        self.inner.protection(kind)
    }
}

/// The flow of the adapter within, whose tokens are secrets from the moment they are known.
impl TokenFlow for Guarded {
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
            // The answer came untouched, as a grant has to be. No grant is read again without what is secret in it.
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
        self.inner
            .token_flow()
            .is_some_and(|flow| flow.is_stale(response))
    }
}

impl Guarded {
    fn flow(&self) -> Result<&dyn TokenFlow, AdapterError> {
        let none = || AdapterError::new(ErrorClass::Internal, "this integration has no OAuth flow");
        self.inner.token_flow().ok_or_else(none)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::super::{EgressPolicy, HttpClient, SendPermit, Strangers, TokenSource};
    use super::*;
    use crate::domain::{
        AuthType, HealthStatus, IntegrationId, IntegrationStatus, OrganizationId, Platform,
    };

    /// A word, as people choose them: it cannot be told from others, so answers are read with it in them.
    const WORD: &str = "Sunflower";

    struct Parrot;

    struct Free;

    impl SendPermit for Free {
        fn check(&self, _: std::time::Duration) -> Result<(), AdapterError> {
            Ok(())
        }
    }

    #[async_trait]
    impl TokenSource for Free {
        async fn token(
            &self,
            _: &Exchange<'_>,
            _: Option<&SecretString>,
        ) -> Result<SecretString, AdapterError> {
            Err(AdapterError::unsupported("no OAuth here"))
        }

        fn is_stale(&self, _: &Response) -> bool {
            false
        }
    }

    #[async_trait]
    impl Adapter for Parrot {
        async fn execute(
            &self,
            _: &Exchange<'_>,
            _: &Operation<'_>,
        ) -> Result<Receipt, AdapterError> {
            unreachable!("no operation is asked for")
        }

        async fn look_up(
            &self,
            _: &Exchange<'_>,
            _: &Operation<'_>,
        ) -> Result<Option<Receipt>, AdapterError> {
            Ok(None)
        }

        async fn check(
            &self,
            _: &Exchange<'_>,
            test: TestKind,
        ) -> Result<CheckReport, AdapterError> {
            learn("learnt-0n-the-way");
            match test {
                TestKind::Connection => Ok(CheckReport {
                    message: format!("I am {WORD}, and bm9TdW5mbG93ZXI, then learnt-0n-the-way"),
                    details: serde_json::Map::from_iter([(
                        format!("the {WORD}"),
                        json!([{ "SUNFLOWER": 1 }]),
                    )]),
                }),
                TestKind::Authentication => Err(AdapterError::field(WORD, format!("is {WORD}"))
                    .with_internal(format!("{WORD} at x.example"))),
                TestKind::Permissions => panic!("{WORD} is not expected"),
                TestKind::CreateTicket => Ok(CheckReport {
                    message: "user bot-7 of https://x.example/ in SUP-77".into(),
                    details: serde_json::Map::new(),
                }),
            }
        }

        fn plan(&self, _: &Operation<'_>) -> Result<Request, AdapterError> {
            unreachable!("no operation is asked for")
        }

        fn protection(&self, _: OperationKind) -> Protection {
            Protection::None
        }

        fn token_flow(&self) -> Option<&dyn TokenFlow> {
            Some(self)
        }
    }

    impl TokenFlow for Parrot {
        fn request(&self, _: Option<&SecretString>) -> Result<Request, AdapterError> {
            unreachable!("no token is asked for")
        }

        fn read(&self, response: &Response) -> Result<TokenGrant, AdapterError> {
            let said: String = String::from_utf8_lossy(&response.body)
                .chars()
                .take(14)
                .collect();
            Err(AdapterError::new(ErrorClass::Authentication, said))
        }
    }

    fn integration() -> Integration {
        Integration {
            id: IntegrationId::new(Uuid::nil()),
            organization_id: Some(OrganizationId::new(Uuid::nil())),
            name: "guarded".into(),
            platform: Some(Platform::Jira),
            platform_name: "jira".into(),
            category: None,
            enabled: true,
            status: IntegrationStatus::Active,
            auth_type: AuthType::Basic,
            base_url: Some("https://x.example/".into()),
            api_version: None,
            settings: serde_json::Map::from_iter([("project_key".to_owned(), json!("SUP-77"))]),
            credentials_sealed: None,
            webhook_secret_sealed: None,
            expires_at: None,
            supports_categories: Vec::new(),
            supports_priorities: Vec::new(),
            department_mapping: serde_json::Map::new(),
            custom_fields_mapping: serde_json::Map::new(),
            maintenance_window_start: None,
            maintenance_window_end: None,
            rate_limit_per_hour: None,
            default_priority: 100,
            routing_rules: Arc::default(),
            health: HealthStatus::Unknown,
            parked_at: None,
            auto_disable_on_error: false,
            failure_threshold: 5,
            last_sync_at: None,
        }
    }

    /// A method with a default that is not handed on would silently do nothing.
    #[test]
    fn every_method_of_an_adapter_is_guarded() {
        let (all, own) = (include_str!("mod.rs"), include_str!("guarded.rs"));
        let methods = all.split("pub trait Adapter").nth(1).unwrap();
        let methods = methods.split("\n}\n").next().unwrap();
        let guards = own.split("impl Adapter for Guarded").nth(1).unwrap();
        let guards = guards.split("\n}\n").next().unwrap();
        let names = methods
            .lines()
            .filter_map(|line| line.split("fn ").nth(1)?.split('(').next());
        for name in names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
            assert!(
                guards.contains(&format!("fn {name}(")),
                "{name} is not guarded"
            );
        }
    }

    #[tokio::test]
    async fn nothing_an_adapter_returns_holds_a_secret_and_what_is_open_stays() {
        // A legacy row has its user, its host and its project among the credentials.
        let credentials = json!({
            "username": "bot-7", "password": WORD, "host": "x.example", "project_key": "SUP-77", "pin": "77",
        });
        let credentials = Credentials::new(credentials.as_object().unwrap().clone());
        let adapter = Guarded::around(Ok(Arc::new(Parrot)), &integration(), &credentials).unwrap();
        let egress = EgressPolicy {
            allow: Vec::new(),
            allow_http: false,
        };
        let second = std::time::Duration::from_secs(1);
        let client = HttpClient::new(egress, second, 1).unwrap();
        let exchange = Exchange::new(
            &client,
            std::time::Instant::now() + second,
            &Free,
            &Free,
            &Strangers::PAGES,
        );

        let connection = adapter
            .check(&exchange, TestKind::Connection)
            .await
            .unwrap();
        let refused = adapter
            .check(&exchange, TestKind::Authentication)
            .await
            .unwrap_err();
        let panic = AssertUnwindSafe(adapter.check(&exchange, TestKind::Permissions));
        let panic = panic.catch_unwind().await.unwrap_err();
        let answer = Response {
            status: 200,
            headers: reqwest::header::HeaderMap::new(),
            body: format!("no token: {WORD}").into(),
            truncated: false,
        };
        let flow = adapter.token_flow().unwrap();
        let read = async { flow.read(&answer).unwrap_err() };
        let redaction = Redaction::default();
        redaction.learn(WORD);
        let no_token = redacting(&redaction, read).await;
        let open = adapter
            .check(&exchange, TestKind::CreateTicket)
            .await
            .unwrap();

        assert_eq!(connection.message, "I am ••••, and bm••••, then ••••");
        assert_eq!(
            json!(connection.details),
            json!({ "the ••••": [{ "••••": 1 }] })
        );
        let expected = AdapterError::field("••••", "is ••••").with_internal("•••• at x.example");
        assert_eq!(refused, expected);
        assert_eq!(
            panic.downcast_ref::<String>().unwrap(),
            "•••• is not expected"
        );
        // Cut after "Sunf" it would be found by nobody.
        assert_eq!(no_token.public, "no token: ••••");
        assert_eq!(open.message, "user bot-7 of https://x.example/ in SUP-77");
    }
}
