//! Adapters connected to sites of the sandbox.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Map;
use ticketwire::domain::{
    HealthStatus, Integration, IntegrationId, IntegrationStatus, OrganizationId, Priority,
    TicketCategory, TicketId, TicketPatch, TicketStatus, TicketView, UserRef,
};
use ticketwire::platforms::mail::MailClient;
use ticketwire::platforms::{
    self, AccessToken, AdapterError, CallContext, DedupKey, Driver, EgressPolicy, ErrorClass, File,
    HttpClient, Operation, Receipt, Response, SendPermit, TokenSource,
};
use ticketwire::sandbox::Sandbox;
use ticketwire::secrets::Credentials;
use uuid::Uuid;

use super::row::{Act, Row};

/// What the marker of a ticket's item is.
pub(crate) const MARKER: &str = "tkt-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";
/// What the marker of anything else is.
pub(crate) const COMMAND: &str = "cmd-9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a11";
const TICKET: &str = "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";

/// How long a request may take: half of what an attempt has.
const TIMEOUT: Duration = Duration::from_millis(2_500);

/// A class by name, so that a table can hold it.
pub(crate) fn class(error: &AdapterError) -> &'static str {
    match error.class {
        ErrorClass::Transient { .. } => "transient",
        ErrorClass::Timeout => "timeout",
        ErrorClass::RateLimited { .. } => "rate_limited",
        ErrorClass::Authentication => "authentication",
        ErrorClass::Permission => "permission",
        ErrorClass::NotFound => "not_found",
        ErrorClass::Gone => "gone",
        ErrorClass::Validation { .. } => "validation",
        ErrorClass::Conflict => "conflict",
        ErrorClass::Unsupported => "unsupported",
        ErrorClass::Egress => "egress",
        ErrorClass::Unknown => "unknown",
        ErrorClass::Internal => "internal",
    }
}

pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    pub(crate) client: HttpClient,
    pub(crate) mail: MailClient,
    /// Longest an operation may take.
    pub(crate) patience: Duration,
}

struct Free;

impl SendPermit for Free {
    fn check(&self, _: Duration) -> Result<(), AdapterError> {
        Ok(())
    }
}

/// The tokens of one integration, fetched by its own flow and kept for as long as they are good.
#[derive(Default)]
pub(crate) struct Tokens {
    driver: Mutex<Option<Arc<Driver>>>,
    held: tokio::sync::Mutex<(Option<AccessToken>, Option<SecretString>)>,
    fetched: AtomicUsize,
}

impl Tokens {
    /// How often one was fetched.
    pub(crate) fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    /// Another one than now.
    pub(crate) async fn renewed(
        &self,
        context: &CallContext<'_>,
    ) -> Result<AccessToken, AdapterError> {
        let held = self.held.lock().await.0.clone();
        self.token(context, held.as_ref().map(|token| &token.secret))
            .await
    }
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(
        &self,
        context: &CallContext<'_>,
        stale: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
        let mut held = self.held.lock().await;
        let is_good = |token: &AccessToken| {
            stale.is_none_or(|stale| stale.expose_secret() != token.secret.expose_secret())
        };
        if let Some(token) = held.0.as_ref().filter(|token| is_good(token)) {
            return Ok(token.clone());
        }
        let driver = self.driver.lock().unwrap().clone().unwrap();
        let flow = driver
            .token_flow()
            .expect("a token is asked for without a flow");
        let answer = context.send(flow.request(held.1.as_ref())?).await?;
        let grant = flow.read(&answer)?;
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let token = AccessToken {
            secret: grant.access_token,
            api_base: grant.api_base,
        };
        *held = (Some(token.clone()), grant.refresh_token.or(held.1.take()));
        Ok(token)
    }

    fn is_stale(&self, response: &Response) -> bool {
        let driver = self.driver.lock().unwrap().clone().unwrap();
        driver
            .token_flow()
            .is_some_and(|flow| flow.is_stale(response))
    }
}

/// An adapter at a site, and the ticket that is done there.
pub(crate) struct Connected<'b> {
    pub(crate) bench: &'b Bench,
    pub(crate) row: &'b Row,
    pub(crate) site: String,
    pub(crate) driver: Arc<Driver>,
    pub(crate) tokens: Tokens,
    pub(crate) ticket: TicketView,
    /// What a comment says.
    pub(crate) said: String,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let sandbox = ticketwire::sandbox::start(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let client = HttpClient::new(here(), TIMEOUT, 4).unwrap();
        Self {
            sandbox,
            client,
            mail: mail_client(here()),
            patience: Duration::from_secs(5),
        }
    }

    /// For what says nothing of time: no answer is too late, however busy the machine is.
    pub(crate) fn give_time(&mut self) {
        let patience = Duration::from_secs(60);
        self.client = HttpClient::new(here(), patience, 4).unwrap();
        self.patience = patience;
    }

    /// At a fresh site.
    pub(crate) fn connect<'b>(&'b self, row: &'b Row) -> Connected<'b> {
        let site = row.site(&format!("s{}", Uuid::new_v4().simple()));
        let url = self.sandbox.url(&site);
        self.connect_to(row, &site, &url)
    }

    /// At an address.
    pub(crate) fn connect_to<'b>(&'b self, row: &'b Row, site: &str, url: &str) -> Connected<'b> {
        let driver = adapter(row, &self.places(row, url));
        let tokens = Tokens::default();
        *tokens.driver.lock().unwrap() = Some(Arc::clone(&driver));
        Connected {
            bench: self,
            row,
            site: site.to_owned(),
            driver,
            tokens,
            ticket: ticket(),
            said: "Hello".into(),
        }
    }
}

/// Sends mails there; a step may take three seconds on a busy machine.
pub(crate) fn mail_client(egress: EgressPolicy) -> MailClient {
    MailClient::new(egress, Duration::from_secs(3), &[]).unwrap()
}

impl Bench {
    /// What stands for places in a row's settings and credentials.
    fn places(&self, row: &Row, base_url: &str) -> Vec<(&'static str, String)> {
        let url = url::Url::parse(base_url).unwrap();
        let mut mail_port = url.port_or_known_default().unwrap();
        let site = url.path_segments().unwrap().next_back().unwrap_or_default();
        if row.is_mail() && mail_port == self.sandbox.addr().port() {
            mail_port = self.sandbox.smtp().port();
            let settings = serde_json::json!({ "requires_auth": row.logs_in() });
            let address = format!("{}/{site}", row.platform);
            self.sandbox.configure(&address, settings).unwrap();
        }
        let site = if site.is_empty() { "nobody" } else { site };
        vec![
            ("{base}", base_url.to_owned()),
            ("{site}", site.to_owned()),
            ("{smtp_host}", url.host_str().unwrap().to_owned()),
            ("{smtp_port}", mail_port.to_string()),
        ]
    }
}

/// This machine's own addresses, in the clear, too.
pub(crate) fn here() -> EgressPolicy {
    EgressPolicy {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        allow_http: true,
    }
}

fn adapter(row: &Row, places: &[(&str, String)]) -> Arc<Driver> {
    let object = |value: &serde_json::Value| {
        let text = places
            .iter()
            .fold(value.to_string(), |text, (name, place)| {
                text.replace(name, place)
            });
        serde_json::from_str::<Map<_, _>>(&text).unwrap()
    };
    let integration = Integration {
        id: IntegrationId::new(Uuid::nil()),
        organization_id: Some(OrganizationId::new(Uuid::nil())),
        name: "conformance".into(),
        platform: Some(row.platform),
        platform_name: row.platform.to_string(),
        category: None,
        enabled: true,
        status: IntegrationStatus::Active,
        auth_type: row.auth_type,
        base_url: Some(places[0].1.clone()),
        api_version: None,
        settings: object(&row.settings),
        credentials_sealed: None,
        webhook_secret_sealed: None,
        expires_at: None,
        supports_categories: Vec::new(),
        supports_priorities: Vec::new(),
        department_mapping: Map::new(),
        custom_fields_mapping: Map::new(),
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
    };
    platforms::connect(&integration, &Credentials::new(object(&row.credentials))).unwrap()
}

impl Connected<'_> {
    pub(crate) fn context(&self) -> CallContext<'_> {
        let deadline = Instant::now() + self.bench.patience;
        let strangers = platforms::strangers(Some(self.row.platform));
        CallContext::new(&self.bench.client, deadline, &Free, &self.tokens, strangers)
            .mailing(&self.bench.mail)
    }

    /// The item exists from now on, with all that belongs to it.
    pub(crate) async fn created(mut self) -> Self {
        let mut made = self.perform(Act::Create).await.unwrap();
        let unfinished = self
            .with(Act::Create, async |operation| {
                let context = self.context();
                self.driver.complete(&context, operation, &mut made).await
            })
            .await;
        assert!(unfinished.is_none(), "{}: {unfinished:?}", self.row.name);
        self.is_made(made);
        self
    }

    pub(crate) fn is_made(&mut self, made: Receipt) {
        self.ticket.external_id = made.external_id;
        self.ticket.external_ref = made.external_ref;
    }

    /// What is done between making an item and an act on it, where the act needs an item.
    pub(crate) async fn ready_for(self, act: Act) -> Self {
        if act == Act::Create {
            self
        } else {
            self.created().await
        }
    }

    /// Does something with the operation of an act.
    pub(crate) async fn with<T>(&self, act: Act, then: impl AsyncFnOnce(&Operation<'_>) -> T) -> T {
        self.with_marker(act, COMMAND, then).await
    }

    pub(crate) async fn with_marker<T>(
        &self,
        act: Act,
        marker: &str,
        then: impl AsyncFnOnce(&Operation<'_>) -> T,
    ) -> T {
        let key = |marker| DedupKey {
            marker,
            received_at: Utc::now(),
        };
        let patch = TicketPatch {
            title: Some("Changed".into()),
            ..TicketPatch::default()
        };
        let person = UserRef {
            id: Uuid::nil(),
            full_name: Some("Ada".into()),
            email: Some("known+ada@example.test".into()),
        };
        let bytes = bytes::Bytes::from_static(b"one line\n");
        let mut file = File::of_bytes("log.txt", "text/plain", bytes);
        file.url = Some("https://files.example.test/log.txt".parse().unwrap());
        let ticket = &self.ticket;
        // An update comes with the ticket as it is after the change.
        let changed = TicketView {
            title: "Changed".into(),
            ..ticket.clone()
        };
        let status = |status, resolution_summary| Operation::Status {
            ticket,
            status,
            resolution_summary,
            key: key(marker),
        };
        let operation = match act {
            Act::Create => Operation::Create {
                ticket,
                key: key(MARKER),
            },
            Act::Update => Operation::Update {
                ticket: &changed,
                patch: &patch,
                key: key(marker),
            },
            Act::Status => status(TicketStatus::InProgress, None),
            Act::Resolve => status(TicketStatus::Resolved, Some("Mended")),
            Act::Assign => Operation::Assign {
                ticket,
                assignee: Some(&person),
                key: key(marker),
            },
            Act::Comment => Operation::Comment {
                ticket,
                body: &self.said,
                public: true,
                key: key(marker),
            },
            Act::Attach => Operation::Attach {
                ticket,
                file: &file,
                key: key(marker),
            },
            Act::Delete => Operation::Delete {
                ticket,
                key: key(marker),
            },
        };
        then(&operation).await
    }

    /// Performs an act; an error has no secret in it.
    pub(crate) async fn perform(&self, act: Act) -> Result<Receipt, AdapterError> {
        let result = self
            .with(act, async |operation| {
                self.driver.perform(&self.context(), operation).await
            })
            .await;
        if let Err(error) = &result {
            let shown = format!("{error:?} {error}");
            let secret = super::row::SECRET;
            assert!(!shown.contains(secret), "a secret in an error: {shown}");
        }
        result
    }

    pub(crate) async fn look_up(&self, act: Act) -> Result<Option<Receipt>, AdapterError> {
        self.with(act, async |operation| {
            self.driver.look_up(&self.context(), operation).await
        })
        .await
    }

    /// For the messages of failed assertions.
    pub(crate) fn name(&self) -> &'static str {
        self.row.name
    }
}

pub(crate) fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::parse_str(TICKET).unwrap()),
        title: "Login page returns 500".into(),
        description: "Since the last *deploy*.".into(),
        status: TicketStatus::New,
        priority: Priority::High,
        urgency: Priority::Medium,
        category: TicketCategory::Bug,
        department: None,
        assigned_to: None,
        created_by: None,
        tags: Vec::new(),
        custom_fields: Map::new(),
        external_id: None,
        external_url: None,
        external_ref: Map::new(),
    }
}
