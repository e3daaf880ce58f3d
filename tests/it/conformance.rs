//! The conformance suite: what every adapter answers to what a platform may do, as tables. A new platform is a row of
//! [`platforms`]; the cases are the same for all.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::Utc;
use futures_util::FutureExt as _;
use futures_util::future::{Either, select, select_all};
use secrecy::SecretString;
use serde_json::{Map, json};
use ticketwire::domain::{
    AuthType, HealthStatus, Integration, IntegrationId, IntegrationStatus, OrganizationId,
    Platform, Priority, TicketCategory, TicketId, TicketPatch, TicketStatus, TicketView,
};
use ticketwire::platforms::{
    self, AccessToken, AdapterError, CallContext, DedupKey, EgressPolicy, ErrorClass, HttpClient,
    Operation, OperationKind, Protection, Receipt, Response, SendPermit, TestKind, TokenSource,
};
use ticketwire::sandbox::{Fault, FaultKind, Sandbox};
use ticketwire::secrets::Credentials;
use uuid::Uuid;

const SECRET: &str = "s3cr3t-t0k3n";
const MARK: &str = "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10";

/// One adapter under test, in one mode.
struct Row {
    name: &'static str,
    platform: Platform,
    auth_type: AuthType,
    credentials: serde_json::Value,
    settings: serde_json::Value,
    /// The sandbox's names of the requests that create, change and comment.
    create: &'static str,
    update: &'static str,
    comment: &'static str,
    /// What it can do in this mode.
    kinds: &'static [Kind],
    /// What makes something that a second request would make again: a lost answer is of unknown outcome.
    making: &'static [Kind],
    guard: Guard,
    /// Whether the body of a success is needed.
    reads_answers: bool,
    /// Answers that mean something else here than elsewhere.
    peculiar: Vec<Case>,
    /// How it answers whom it does not know, or no longer.
    strange: Vec<(&'static str, Fault)>,
}

/// How what is made is kept from being made twice.
#[derive(Clone, Copy, PartialEq)]
enum Guard {
    /// By its mark, which is looked up.
    Lookup,
    /// By the platform.
    Native,
    /// By nothing.
    Nothing,
}

/// Answer, what it is for what makes something, what it is for what sets something.
type Case = (&'static str, Fault, &'static str, &'static str);

impl Row {
    /// A site of this platform.
    fn site(&self, name: &str) -> String {
        format!("{}/{name}-{}", self.platform, self.name)
    }
}

/// What stands in front of a platform answers for it: a page with 200, a redirect to one.
fn log_ins() -> Vec<(&'static str, Fault)> {
    let page = "<!DOCTYPE html><html><body><form action=/in><input type=\"password\"></form></body></html>";
    let titled = "<html><head><title>Log in - Company SSO</title></head><body></body></html>";
    let mut away = Fault::new(FaultKind::Redirect);
    away.location = Some("/login.jsp?os_destination=%2Fsecure".into());
    vec![
        ("a log-in page", Fault::status(200).body(json!(page))),
        ("a page called so", Fault::status(200).body(json!(titled))),
        ("a redirect to a log-in", away),
    ]
}

fn platforms() -> Vec<Row> {
    let mut rows = jiras();
    rows.extend([webhook(), slack(), slack_by_oauth(), slack_hook()]);
    rows
}

/// Cloud with an API token and by OAuth, Data Center.
fn jiras() -> Vec<Row> {
    let empty = json!({
        "issues": [], "isLast": true, "total": 0, "comments": [], "startAt": 0, "fields": { "attachment": [] },
        "transitions": [], "issueTypes": [], "values": [],
    });
    let says = |status, name, value| {
        Fault::status(status)
            .header(name, value)
            .body(empty.clone())
    };
    let seraph = "X-Seraph-LoginReason";
    let mut strange = vec![
        ("as to a stranger", Fault::new(FaultKind::Stranger)),
        ("200, failed", says(200, seraph, "AUTHENTICATED_FAILED")),
        ("200, denied", says(200, seraph, "AUTHENTICATION_DENIED")),
        ("404, failed", says(404, seraph, "AUTHENTICATED_FAILED")),
        ("200, logged out", says(200, seraph, "OUT")),
        ("200, nobody", says(200, "X-AUSERNAME", "anonymous")),
        (
            "a CAPTCHA",
            says(
                403,
                "X-Authentication-Denied-Reason",
                "CAPTCHA_CHALLENGE; login-url=https://x/login.jsp",
            ),
        ),
        ("401", Fault::status(401)),
    ];
    strange.extend(log_ins());
    let row = |name, auth_type, credentials, settings| Row {
        name,
        platform: Platform::Jira,
        auth_type,
        credentials,
        settings,
        create: "create_issue",
        update: "update_issue",
        comment: "add_comment",
        kinds: &KINDS,
        making: &[Kind::Create, Kind::Comment],
        guard: Guard::Lookup,
        reads_answers: true,
        peculiar: vec![("409", Fault::status(409), "conflict", "transient")],
        strange: strange.clone(),
    };
    vec![
        row(
            "cloud",
            AuthType::ApiKey,
            json!({ "email": "bot@example.test", "api_token": SECRET }),
            json!({ "project_key": "SUP" }),
        ),
        row(
            "oauth",
            AuthType::Oauth2,
            json!({ "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET, "cloud_id": "x" }),
            json!({ "project_key": "SUP", "api_url": "{base}/ex/jira/x", "token_url": "{base}/oauth/token" }),
        ),
        row(
            "data-center",
            AuthType::Bearer,
            json!({ "token": SECRET }),
            json!({ "project_key": "SUP" }),
        ),
    ]
}

fn webhook() -> Row {
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    strange.push(("401", Fault::status(401)));
    Row {
        name: "webhook",
        platform: Platform::Webhook,
        auth_type: AuthType::Custom,
        credentials: json!({
            "signing_secret": "whsec_czNjcjN0LXQwazNu", "headers": { "authorization": format!("Bearer {SECRET}") },
        }),
        settings: json!({}),
        create: "deliver",
        update: "deliver",
        comment: "deliver",
        kinds: &KINDS,
        // A receiver knows it again by its id.
        making: &[],
        guard: Guard::Native,
        reads_answers: false,
        peculiar: vec![
            (
                "407",
                Fault::status(407),
                "authentication",
                "authentication",
            ),
            ("409", Fault::status(409), "conflict", "conflict"),
            ("410", Fault::status(410), "gone", "gone"),
        ],
        strange,
    }
}

fn slack_by_oauth() -> Row {
    Row {
        name: "slack-oauth",
        auth_type: AuthType::Oauth2,
        credentials: json!({ "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET }),
        ..slack()
    }
}

fn slack() -> Row {
    let refuses = |code: &str| Fault::status(200).body(json!({ "ok": false, "error": code }));
    let same = |name, fault, class| (name, fault, class, class);
    let mut strange: Vec<_> = [
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
    ]
    .into_iter()
    .map(|code| (code, refuses(code)))
    .collect();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    strange.extend(log_ins());
    Row {
        name: "slack",
        platform: Platform::Slack,
        auth_type: AuthType::Bearer,
        credentials: json!({ "bot_token": format!("xoxb-{SECRET}") }),
        settings: json!({ "channel": "C0SUPPORT" }),
        create: "chat.postMessage",
        update: "chat.update",
        comment: "chat.postMessage",
        kinds: &KINDS,
        making: &[Kind::Create, Kind::Comment],
        guard: Guard::Lookup,
        reads_answers: true,
        peculiar: vec![
            same("409", Fault::status(409), "conflict"),
            same("invalid_auth", refuses("invalid_auth"), "authentication"),
            same("missing_scope", refuses("missing_scope"), "permission"),
            same("not_in_channel", refuses("not_in_channel"), "permission"),
            same(
                "channel_not_found",
                refuses("channel_not_found"),
                "not_found",
            ),
            same("is_archived", refuses("is_archived"), "not_found"),
            same("invalid_blocks", refuses("invalid_blocks"), "validation"),
            same("ratelimited", refuses("ratelimited"), "rate_limited"),
            same("request_timeout", refuses("request_timeout"), "transient"),
            same("a code nobody knows", refuses("new_in_2031"), "validation"),
            (
                "fatal_error",
                refuses("fatal_error"),
                "unknown",
                "transient",
            ),
            (
                "internal_error",
                refuses("internal_error"),
                "unknown",
                "transient",
            ),
        ],
        strange,
    }
}

/// The reduced mode: nothing comes back, and nothing can be looked up.
fn slack_hook() -> Row {
    let says = |status, text: &str| Fault::status(status).body(json!(text));
    let same = |name, fault, class| (name, fault, class, class);
    let mut strange = log_ins();
    strange.push(("as to a stranger", Fault::new(FaultKind::Stranger)));
    Row {
        name: "slack-hook",
        platform: Platform::Slack,
        auth_type: AuthType::Custom,
        credentials: json!({ "webhook_url": format!("{{base}}/services/T1/B1/{SECRET}") }),
        settings: json!({}),
        create: "incoming_webhook",
        update: "incoming_webhook",
        comment: "incoming_webhook",
        kinds: &[Kind::Create],
        making: &[Kind::Create],
        guard: Guard::Nothing,
        reads_answers: false,
        peculiar: vec![
            same("410", says(410, "channel_is_archived"), "gone"),
            same("no_service", says(404, "no_service"), "gone"),
            same("no_team", says(404, "no_team"), "gone"),
            same(
                "invalid_token",
                says(403, "invalid_token"),
                "authentication",
            ),
            same("no_text", says(400, "no_text"), "validation"),
            // The one answer of a success is `ok`.
            same("another word", says(200, "thanks"), "unknown"),
            same("an empty success", Fault::status(200), "unknown"),
        ],
        strange,
    }
}

/// Which operation meets the fault.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Create,
    Update,
    Comment,
}

const KINDS: [Kind; 3] = [Kind::Create, Kind::Update, Kind::Comment];

/// A class by name, so that a table can hold it.
fn class(error: &AdapterError) -> &'static str {
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

struct Bench {
    sandbox: Sandbox,
    client: HttpClient,
}

struct Free;

impl SendPermit for Free {
    fn check(&self, _: Duration) -> Result<(), AdapterError> {
        Ok(())
    }
}

#[async_trait]
impl TokenSource for Free {
    async fn token(
        &self,
        _: &CallContext<'_>,
        _: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
        Ok(AccessToken {
            secret: SecretString::from("4cc3ss-t0k3n"),
            api_base: None,
        })
    }

    fn is_stale(&self, _: &Response) -> bool {
        false
    }
}

impl Bench {
    async fn new() -> Self {
        let sandbox = ticketwire::sandbox::start(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let egress = EgressPolicy {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            allow_http: true,
        };
        let client = HttpClient::new(egress, Duration::from_millis(800), 4).unwrap();
        Self { sandbox, client }
    }

    fn exchange(&self, row: &Row) -> CallContext<'_> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let strangers = platforms::strangers(Some(row.platform));
        CallContext::new(&self.client, deadline, &Free, &Free, strangers)
    }

    fn adapter(&self, row: &Row, base_url: &str) -> std::sync::Arc<platforms::Driver> {
        let object = |value: &serde_json::Value| {
            let text = value.to_string().replace("{base}", base_url);
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
            base_url: Some(base_url.into()),
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
            routing_rules: std::sync::Arc::default(),
            health: HealthStatus::Unknown,
            parked_at: None,
            auto_disable_on_error: false,
            failure_threshold: 5,
            last_sync_at: None,
        };
        platforms::connect(&integration, &Credentials::new(object(&row.credentials))).unwrap()
    }

    /// Runs one operation at a fresh site, its item made before where it needs one, under a fault.
    async fn run(
        &self,
        row: &Row,
        kind: Kind,
        fault: Option<Fault>,
    ) -> Result<Receipt, AdapterError> {
        let site = row.site(&format!("s{}", Uuid::new_v4().simple()));
        let adapter = self.adapter(row, &self.sandbox.url(&site));
        let mut ticket = ticket();
        if kind != Kind::Create {
            let operation = Operation::Create {
                ticket: &ticket,
                key: key(MARK),
            };
            let made = adapter
                .perform(&self.exchange(row), &operation)
                .await
                .unwrap();
            ticket.external_id = made.external_id;
            ticket.external_ref = made.external_ref;
        }
        if let Some(fault) = fault {
            let name = match kind {
                Kind::Create => row.create,
                Kind::Update => row.update,
                Kind::Comment => row.comment,
            };
            self.sandbox.inject(&site, fault.on(name).times(0)).unwrap();
        }
        let result = self.operate(row, adapter.as_ref(), kind, &ticket).await;
        if let Err(error) = &result {
            let shown = format!("{error:?} {error}");
            assert!(!shown.contains(SECRET), "a secret in an error: {shown}");
        }
        result
    }

    async fn operate(
        &self,
        row: &Row,
        adapter: &platforms::Driver,
        kind: Kind,
        ticket: &TicketView,
    ) -> Result<Receipt, AdapterError> {
        let patch = TicketPatch {
            title: Some("Changed".into()),
            ..TicketPatch::default()
        };
        let operation = match kind {
            Kind::Create => Operation::Create {
                ticket,
                key: key(MARK),
            },
            Kind::Update => Operation::Update {
                ticket,
                patch: &patch,
                key: key(MARK),
            },
            Kind::Comment => Operation::Comment {
                ticket,
                body: "Hello",
                public: true,
                key: key(MARK),
            },
        };
        adapter.perform(&self.exchange(row), &operation).await
    }
}

fn key(mark: &str) -> DedupKey<'_> {
    DedupKey {
        marker: mark,
        received_at: Utc::now(),
    }
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::new(Uuid::parse_str(MARK).unwrap()),
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

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_works_where_nothing_is_wrong() {
    let bench = Bench::new().await;
    for row in platforms() {
        for kind in row.kinds.iter().copied() {
            let receipt = bench.run(&row, kind, None).await.unwrap();
            assert_eq!(receipt.external_id.is_some(), kind == Kind::Create);
            assert_eq!(receipt.external_comment_id.is_some(), kind == Kind::Comment);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_class() {
    let bench = Bench::new().await;
    let date = (Utc::now() + chrono::Duration::seconds(90))
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let cases: Vec<Case> = vec![
        ("400", Fault::status(400), "validation", "validation"),
        (
            "401",
            Fault::status(401),
            "authentication",
            "authentication",
        ),
        ("403", Fault::status(403), "permission", "permission"),
        ("404", Fault::status(404), "not_found", "not_found"),
        ("422", Fault::status(422), "validation", "validation"),
        (
            "429",
            Fault::rate_limited(5),
            "rate_limited",
            "rate_limited",
        ),
        (
            "429 with a date",
            Fault::status(429).header("Retry-After", &date),
            "rate_limited",
            "rate_limited",
        ),
        ("500", Fault::status(500), "unknown", "transient"),
        ("502", Fault::status(502), "unknown", "transient"),
        ("503", Fault::status(503), "unknown", "transient"),
        ("504", Fault::status(504), "unknown", "transient"),
        (
            "a reset before it arrived",
            Fault::new(FaultKind::ResetBeforeStore),
            "unknown",
            "transient",
        ),
        (
            "a reset after it arrived",
            Fault::new(FaultKind::ResetAfterStore),
            "unknown",
            "transient",
        ),
        (
            "no answer in time",
            Fault::new(FaultKind::Hang),
            "unknown",
            "timeout",
        ),
    ];
    for row in platforms() {
        for (name, fault, making, setting) in cases.iter().chain(&row.peculiar) {
            for kind in row.kinds.iter().copied() {
                let result = bench.run(&row, kind, Some(fault.clone())).await;
                let error = result.expect_err(name);
                let expected = if row.making.contains(&kind) {
                    making
                } else {
                    setting
                };
                assert_eq!(
                    class(&error),
                    *expected,
                    "{} {name}: {error:?}",
                    row.platform
                );
                assert!(!error.public.is_empty(), "{name}: an error without a word");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_cannot_be_read_is_of_unknown_outcome() {
    let bench = Bench::new().await;
    let cases = [
        ("garbage", Fault::new(FaultKind::Garbage)),
        ("an oversize body", Fault::new(FaultKind::Oversize)),
        ("a body cut off", Fault::new(FaultKind::CutBody)),
    ];
    for row in platforms().into_iter().filter(|row| row.reads_answers) {
        for (name, fault) in &cases {
            for kind in row.making.iter().copied() {
                let result = bench.run(&row, kind, Some(fault.clone())).await;
                let error = result.expect_err(name);
                assert_eq!(
                    class(&error),
                    "unknown",
                    "{} {name}: {error:?}",
                    row.platform
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_retry_after_are_honoured_to_the_second() {
    let bench = Bench::new().await;
    let date = (Utc::now() + chrono::Duration::seconds(90))
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    for row in platforms() {
        for (text, least, most) in [("75", 74, 75), (date.as_str(), 80, 90)] {
            let fault = Fault::status(429).header("Retry-After", text);
            let error = bench
                .run(&row, Kind::Create, Some(fault))
                .await
                .unwrap_err();
            let ErrorClass::RateLimited { retry_after } = error.class else {
                panic!("{text}: {error:?}");
            };
            let seconds = retry_after.unwrap().as_secs();
            assert!((least..=most).contains(&seconds), "{text}: {seconds}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let bench = Bench::new().await;
    for row in platforms() {
        let mut fault = Fault::new(FaultKind::Redirect);
        fault.location = Some("http://127.0.0.1:1/elsewhere".into());
        let error = bench
            .run(&row, Kind::Create, Some(fault))
            .await
            .unwrap_err();
        assert!(
            !["transient", "unknown", "timeout"].contains(&class(&error)),
            "nothing was made, and trying again leads to the same: {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_nobody_listens_at_is_transient_and_a_forbidden_address_blocked() {
    let bench = Bench::new().await;
    for row in platforms() {
        let gone = bench.adapter(&row, "http://127.0.0.1:1");
        let error = bench
            .operate(&row, gone.as_ref(), Kind::Create, &ticket())
            .await
            .unwrap_err();
        assert_eq!(class(&error), "transient", "{error:?}");

        for address in [
            "http://169.254.169.254",
            "https://10.0.0.1",
            "http://[::1]:9",
            "http://localhost:9",
        ] {
            let client = HttpClient::new(
                EgressPolicy {
                    allow: Vec::new(),
                    allow_http: true,
                },
                Duration::from_millis(800),
                1,
            )
            .unwrap();
            let mut exchange = bench.exchange(&row);
            exchange.client = &client;
            let adapter = bench.adapter(&row, address);
            let ticket = ticket();
            let operation = Operation::Create {
                ticket: &ticket,
                key: key(MARK),
            };
            let error = adapter.perform(&exchange, &operation).await.unwrap_err();
            assert_eq!(class(&error), "egress", "{address}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_never_answers_keeps_no_other_from_starting() {
    let mut bench = Bench::new().await;
    let egress = EgressPolicy {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        allow_http: true,
    };
    // The exchange's deadline, five seconds, is then what ends a request that nobody answers.
    bench.client = HttpClient::new(egress, Duration::from_secs(60), 4).unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let row = platforms().remove(0);
    let (sick, ticket) = (bench.adapter(&row, &url), ticket());
    // More than start at once.
    let mut waiting: Vec<_> = (0..200)
        .map(|_| Box::pin(bench.operate(&row, sick.as_ref(), Kind::Create, &ticket)))
        .collect();
    for request in &mut waiting {
        assert!(request.as_mut().now_or_never().is_none());
    }
    assert!(bench.client.waiting_to_start() > 100, "they queue");

    let well = bench.adapter(&row, &bench.sandbox.url(&row.site("well")));
    let answered = bench.operate(&row, well.as_ref(), Kind::Create, &ticket);
    match select(Box::pin(answered), select_all(waiting)).await {
        Either::Left((made, _)) => drop(made.unwrap()),
        Either::Right(((ended, _, _), _)) => panic!("it waited for the silent one: {ended:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_found_by_its_mark_and_nothing_else_is() {
    let bench = Bench::new().await;
    for row in platforms() {
        if row.guard != Guard::Lookup {
            continue;
        }
        let adapter = bench.adapter(&row, &bench.sandbox.url(&row.site("lookup")));
        let mut ticket = ticket();
        let create = Operation::Create {
            ticket: &ticket,
            key: key(MARK),
        };
        let before = adapter
            .look_up(&bench.exchange(&row), &create)
            .await
            .unwrap();
        let made = adapter
            .perform(&bench.exchange(&row), &create)
            .await
            .unwrap();
        let found = adapter
            .look_up(&bench.exchange(&row), &create)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (before, found.external_id),
            (None, made.external_id.clone())
        );

        ticket.external_id = made.external_id;
        ticket.external_ref = made.external_ref;
        let comment = |mark| Operation::Comment {
            ticket: &ticket,
            body: "Hello",
            public: true,
            key: key(mark),
        };
        let said = adapter
            .perform(&bench.exchange(&row), &comment(MARK))
            .await
            .unwrap();
        let found = adapter
            .look_up(&bench.exchange(&row), &comment(MARK))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.external_comment_id, said.external_comment_id);
        let other = adapter
            .look_up(&bench.exchange(&row), &comment("another"))
            .await
            .unwrap();
        assert_eq!(other, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_protected_by_the_platform_has_one_effect_however_often_it_is_sent() {
    let bench = Bench::new().await;
    let native = |row: &&Row| row.guard == Guard::Native;
    for row in platforms().iter().filter(native) {
        let site = row.site("twice");
        let adapter = bench.adapter(row, &bench.sandbox.url(&site));
        let ticket = ticket();
        for kind in [
            OperationKind::Create,
            OperationKind::Comment,
            OperationKind::Update,
        ] {
            assert_eq!(adapter.protection(kind), Protection::Native);
        }
        let create = Operation::Create {
            ticket: &ticket,
            key: key(MARK),
        };
        let first = adapter
            .perform(&bench.exchange(row), &create)
            .await
            .unwrap();
        let second = adapter
            .perform(&bench.exchange(row), &create)
            .await
            .unwrap();
        assert_eq!(first.external_id, second.external_id);
        let ledger = bench.sandbox.ledger(&site);
        assert_eq!(ledger.issues.len(), 1);
        assert_eq!(ledger.count(row.create).effective, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_every_operation_shows_a_request_without_the_secret() {
    let bench = Bench::new().await;
    for row in platforms() {
        let adapter = bench.adapter(&row, &bench.sandbox.url(&row.site("dry")));
        let mut ticket = ticket();
        let create = Operation::Create {
            ticket: &ticket,
            key: key(MARK),
        };
        let request = adapter.plan(&create).unwrap().request;
        assert!(!format!("{request:?}").contains(SECRET));
        if row.kinds.len() < KINDS.len() {
            continue;
        }
        ticket.external_id = Some("SUP-1:2".into());
        let patch = TicketPatch {
            title: Some("New".into()),
            ..TicketPatch::default()
        };
        let others = [
            Operation::Update {
                ticket: &ticket,
                patch: &patch,
                key: key(MARK),
            },
            Operation::Comment {
                ticket: &ticket,
                body: "b",
                public: true,
                key: key(MARK),
            },
            Operation::Assign {
                ticket: &ticket,
                assignee: None,
                key: key(MARK),
            },
            Operation::Status {
                ticket: &ticket,
                status: TicketStatus::Closed,
                resolution_summary: Some("done"),
                key: key(MARK),
            },
        ];
        for operation in others {
            let request = adapter.plan(&operation).unwrap().request;
            assert!(!format!("{request:?}").contains(SECRET));
        }
        assert!(bench.sandbox.ledger(&row.site("dry")).recent.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_an_integration_can_pass_and_fail() {
    let bench = Bench::new().await;
    for row in platforms() {
        let good = bench.adapter(&row, &bench.sandbox.url(&row.site("checks")));
        let checks = [
            TestKind::Connection,
            TestKind::Authentication,
            TestKind::Permissions,
            TestKind::CreateTicket,
        ];
        for check in checks {
            let report = good.check(&bench.exchange(&row), check).await;
            let fine = match &report {
                Ok(_) => true,
                Err(error) => class(error) == "unsupported",
            };
            assert!(fine, "{} {check}: {report:?}", row.platform);
        }
        bench
            .sandbox
            .inject(&row.site("checks"), Fault::status(401).times(0))
            .unwrap();
        let error = good
            .check(&bench.exchange(&row), TestKind::Authentication)
            .await
            .unwrap_err();
        assert_eq!(class(&error), "authentication", "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_protects_says_so_and_what_a_mode_cannot_do_is_refused() {
    let bench = Bench::new().await;
    for row in platforms().iter().filter(|row| row.guard == Guard::Nothing) {
        let site = row.site("bare");
        let adapter = bench.adapter(row, &bench.sandbox.url(&site));
        assert_eq!(adapter.protection(OperationKind::Create), Protection::None);
        let mut ticket = ticket();
        ticket.external_id = Some("1".into());

        for kind in KINDS.iter().filter(|kind| !row.kinds.contains(kind)) {
            let error = bench
                .operate(row, adapter.as_ref(), *kind, &ticket)
                .await
                .unwrap_err();

            assert_eq!(class(&error), "unsupported", "{error:?}");
        }
        assert!(bench.sandbox.ledger(&site).recent.is_empty());
    }
}

/// What is asked of an adapter besides operations.
async fn questions(
    bench: &Bench,
    row: &Row,
    adapter: &platforms::Driver,
    ticket: &TicketView,
) -> Vec<(&'static str, Result<String, AdapterError>)> {
    let exchange = bench.exchange(row);
    let said =
        |answer: Result<_, AdapterError>| answer.map(|found: Option<Receipt>| format!("{found:?}"));
    let create = Operation::Create {
        ticket,
        key: key(MARK),
    };
    let comment = Operation::Comment {
        ticket,
        body: "Hello",
        public: true,
        key: key(MARK),
    };
    let status = Operation::Status {
        ticket,
        status: TicketStatus::Resolved,
        resolution_summary: Some("Mended"),
        key: key(MARK),
    };
    let mut answers = Vec::new();
    for (name, operation) in [("create", create), ("comment", comment), ("status", status)] {
        if adapter.protection_of(&operation) != Protection::Native && row.guard == Guard::Lookup {
            answers.push((name, said(adapter.look_up(&exchange, &operation).await)));
        }
    }
    for check in [
        TestKind::Authentication,
        TestKind::Permissions,
        TestKind::CreateTicket,
    ] {
        let report = adapter.check(&exchange, check).await;
        answers.push((check.as_str(), report.map(|report| format!("{report:?}"))));
    }
    let fields = adapter.fields(&exchange, None).await;
    answers.push(("fields", fields.map(|fields| format!("{fields:?}"))));
    let page = adapter
        .changes(&exchange, &platforms::SyncFrom::default())
        .await;
    answers.push(("changes", page.map(|page| format!("{page:?}"))));
    if row.platform == Platform::Jira {
        let id = ticket.external_ref["issue_id"].as_str().unwrap();
        let known = platforms::KnownItem {
            id: id.into(),
            mark: MARK.into(),
        };
        let found = adapter.known(&exchange, &[known], None).await;
        answers.push(("known", found.map(|found| format!("{found:?}"))));
        let item = platforms::ItemRef {
            external_id: "SUP-1".into(),
            stable_id: Some(id.into()),
        };
        let item = adapter.get(&exchange, &item).await;
        answers.push(("item", item.map(|item| format!("{item:?}"))));
    }
    if let Some(flow) = adapter.token_flow() {
        let granted = async {
            let answer = exchange.send(flow.request(None)?).await?;
            flow.read(&answer).map(|grant| format!("{grant:?}"))
        };
        answers.push(("token", granted.await));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_stranger_is_no_success_and_proves_nothing() {
    let bench = Bench::new().await;
    for row in platforms() {
        for (way, fault) in &row.strange {
            let site = row.site(&format!("s{}", Uuid::new_v4().simple()));
            let adapter = bench.adapter(&row, &bench.sandbox.url(&site));
            let mut ticket = ticket();
            if row.guard != Guard::Nothing {
                let create = Operation::Create {
                    ticket: &ticket,
                    key: key(MARK),
                };
                let made = adapter
                    .perform(&bench.exchange(&row), &create)
                    .await
                    .unwrap();
                ticket.external_id = made.external_id;
                ticket.external_ref = made.external_ref;
            }
            // All of it works as long as we are known: then only the credential can be why it does not.
            let known = questions(&bench, &row, adapter.as_ref(), &ticket).await;
            for (question, answer) in &known {
                let sound = answer
                    .as_ref()
                    .err()
                    .is_none_or(|e| class(e) == "unsupported");
                assert!(sound, "{} {question}: {answer:?}", row.name);
            }
            let made = bench.sandbox.ledger(&site).issues.len();
            bench.sandbox.inject(&site, fault.clone().times(0)).unwrap();

            let mut answers = questions(&bench, &row, adapter.as_ref(), &ticket).await;
            for kind in row.kinds.iter().copied() {
                let done = bench.operate(&row, adapter.as_ref(), kind, &ticket).await;
                answers.push(("operation", done.map(|receipt| format!("{receipt:?}"))));
            }
            assert!(answers.len() > 3);
            for (question, answer) in answers {
                let where_ = format!("{} {way}, {question}: {answer:?}", row.name);
                let error = answer.expect_err(&where_);
                assert!(
                    ["authentication", "unsupported"].contains(&class(&error)),
                    "{where_}"
                );
                let could = known.iter().any(|(name, a)| *name == question && a.is_ok());
                assert!(!could || class(&error) == "authentication", "{where_}");
                assert!(!format!("{error:?}").contains(SECRET), "{where_}");
            }
            assert_eq!(bench.sandbox.ledger(&site).issues.len(), made);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_the_place_of_an_answer_is_no_success() {
    let bench = Bench::new().await;
    for row in platforms()
        .into_iter()
        .filter(|row| row.platform != Platform::Webhook)
    {
        for kind in row.kinds.iter().copied() {
            // The request takes effect; what comes back is a proxy's.
            let mut fault = Fault::new(FaultKind::Garbage);
            fault.status = Some(200);
            let result = bench.run(&row, kind, Some(fault)).await;

            let error = result.expect_err(row.name);
            let expected = if row.making.contains(&kind) {
                "unknown"
            } else {
                "transient"
            };
            assert_eq!(class(&error), expected, "{}: {error:?}", row.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_shows_no_marks_proves_nothing() {
    let bench = Bench::new().await;
    let blind = json!({ "comment_properties": false });
    let jira = jiras().into_iter().map(|row| (row, blind.clone()));
    let slack = (slack(), json!({ "shows_metadata": false }));
    for (row, settings) in jira.chain([slack]) {
        let site = row.site("blind");
        let adapter = bench.adapter(&row, &bench.sandbox.url(&site));
        let mut ticket = ticket();
        let create = Operation::Create {
            ticket: &ticket,
            key: key(MARK),
        };
        let made = adapter
            .perform(&bench.exchange(&row), &create)
            .await
            .unwrap();
        ticket.external_id = made.external_id;
        ticket.external_ref = made.external_ref;
        let comment = Operation::Comment {
            ticket: &ticket,
            body: "Hello",
            public: true,
            key: key(MARK),
        };
        let none = adapter.look_up(&bench.exchange(&row), &comment).await;
        assert_eq!(none.unwrap(), None, "{}: nothing was said yet", row.name);
        adapter
            .perform(&bench.exchange(&row), &comment)
            .await
            .unwrap();
        bench.sandbox.configure(&site, settings).unwrap();

        let answer = adapter.look_up(&bench.exchange(&row), &comment).await;

        let error = answer.expect_err(row.name);
        assert!(error.public.contains("nothing is proved"), "{error:?}");
    }
}
