//! What the driver does, whatever adapter it calls.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::json;
use uuid::Uuid;

use super::super::{
    AccessToken, Auth, DedupKey, Effect, EgressPolicy, Finishing, HttpClient, PartlyDone,
    SendPermit, Strangers, TokenSource,
};
use super::*;
use crate::domain::{
    AuthType, HealthStatus, IntegrationId, IntegrationStatus, OrganizationId, Platform,
};

/// A word, as people choose them: it cannot be told from others, so answers are read with it in
/// them.
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
        _: &CallContext<'_>,
        _: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
        Err(AdapterError::unsupported("no OAuth here"))
    }

    fn is_stale(&self, _: &Response) -> bool {
        false
    }
}

#[async_trait]
impl Adapter for Parrot {
    async fn check(
        &self,
        _: &CallContext<'_>,
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

    fn plan(&self, _: &Operation<'_>, _: &Known) -> Result<Plan, AdapterError> {
        unreachable!("no operation is asked for")
    }

    fn read(&self, _: &Operation<'_>, _: &Known, _: &Response) -> Result<Receipt, AdapterError> {
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

#[tokio::test]
async fn nothing_an_adapter_returns_holds_a_secret_and_what_is_open_stays() {
    // A legacy row has its user, its host and its project among the credentials.
    let credentials = json!({
        "username": "bot-7", "password": WORD, "host": "x.example", "project_key": "SUP-77",
        "pin": "77",
    });
    let credentials = Credentials::new(credentials.as_object().unwrap().clone());
    let adapter = Driver::new(Ok(Box::new(Parrot)), &integration(), &credentials).unwrap();
    let egress = EgressPolicy {
        allow: Vec::new(),
        allow_http: false,
    };
    let second = std::time::Duration::from_secs(1);
    let client = HttpClient::new(egress, second, 1).unwrap();
    let context = CallContext::new(
        &client,
        std::time::Instant::now() + second,
        &Free,
        &Free,
        &Strangers::PAGES,
    );

    let connection = adapter.check(&context, TestKind::Connection).await.unwrap();
    let refused = adapter
        .check(&context, TestKind::Authentication)
        .await
        .unwrap_err();
    let panic = AssertUnwindSafe(adapter.check(&context, TestKind::Permissions));
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
        .check(&context, TestKind::CreateTicket)
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

/// What a scripted adapter does.
#[derive(Default)]
struct Script {
    /// The class that `prepare` fails with.
    prepare: Option<ErrorClass>,
    /// Whether `prepare` has set something.
    sets_before: bool,
    /// Whether `finish` fails.
    finish: bool,
    /// How many fields are refused, one after the other.
    fields: usize,
}

/// What a scripted platform refuses.
const FIELDS: [&str; 6] = ["type", "priority", "one", "two", "three", "four"];

/// An adapter with one request, whose answers a server gives.
struct Scripted {
    url: url::Url,
    script: Script,
    /// What the second try was told to do without.
    without: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl Adapter for Scripted {
    async fn prepare(
        &self,
        _: &CallContext<'_>,
        _: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        if let Some(class) = self.script.prepare.clone() {
            return Err(AdapterError::new(class, "the step before"));
        }
        if self.script.sets_before {
            known.done = Some(PartlyDone {
                receipt: Receipt {
                    details: serde_json::Map::from_iter([("set".to_owned(), json!(true))]),
                    ..Receipt::default()
                },
                missing: "note",
                remedy: "try again",
            });
        }
        Ok(Prepared::Go(known))
    }

    fn plan(&self, _: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError> {
        let names = known.without.keys().cloned();
        self.without.lock().unwrap().extend(names);
        let request = Request::post(self.url.clone(), Auth::None, Effect::Create);
        Ok(request.into())
    }

    fn read(
        &self,
        _: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        if answer.status == 400 {
            // One field after the other, as platforms do; then the last one for ever.
            let name = FIELDS[known
                .without
                .len()
                .min(self.script.fields.saturating_sub(1))];
            let refused = BTreeMap::from([(name.to_owned(), "is unknown".to_owned())]);
            return Err(AdapterError::field(name, "is unknown").worth_it_without(refused));
        }
        if answer.status == 422 && known.again.is_none() {
            let refused = AdapterError::field("assigned_to_id", "is unknown");
            return Err(refused.worth_another_look("the assignee"));
        }
        answer.check(Effect::Create, "making it")?;
        Ok(Receipt {
            external_id: Some("made-1".into()),
            ..Receipt::default()
        })
    }

    fn finish<'a>(
        &'a self,
        _: &'a CallContext<'_>,
        _: &'a Operation<'_>,
        receipt: &'a mut Receipt,
    ) -> Option<Finishing<'a>> {
        let finished = if self.script.finish {
            let error = AdapterError::new(ErrorClass::RateLimited { retry_after: None }, "later");
            Err(Box::new(Unfinished { patch: None, error }))
        } else {
            receipt.external_url = Some("https://x.example/made-1".into());
            Ok(())
        };
        Some(Box::pin(async move { finished }))
    }

    async fn check(&self, _: &CallContext<'_>, _: TestKind) -> Result<CheckReport, AdapterError> {
        unreachable!("no check is asked for")
    }

    fn protection(&self, _: OperationKind) -> Protection {
        Protection::None
    }
}

/// A server that gives these answers, one after the other, and how an adapter comes out of it.
struct Stage {
    server: wiremock::MockServer,
    client: HttpClient,
    driver: Driver,
}

impl Stage {
    async fn of(script: Script, answers: &[u16]) -> Self {
        let server = wiremock::MockServer::start().await;
        for status in answers {
            wiremock::Mock::given(wiremock::matchers::method("POST"))
                .respond_with(wiremock::ResponseTemplate::new(*status))
                .up_to_n_times(1)
                .mount(&server)
                .await;
        }
        let adapter = Scripted {
            url: server.uri().parse().unwrap(),
            script,
            without: std::sync::Mutex::default(),
        };
        let credentials = Credentials::new(serde_json::Map::new());
        let driver = Driver::new(Ok(Box::new(adapter)), &integration(), &credentials).unwrap();
        let egress = EgressPolicy {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            allow_http: true,
        };
        let client = HttpClient::new(egress, std::time::Duration::from_secs(5), 1).unwrap();
        Self {
            server,
            client,
            driver,
        }
    }

    fn context(&self) -> CallContext<'_> {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        CallContext::new(&self.client, deadline, &Free, &Free, &Strangers::PAGES)
    }

    async fn perform(&self) -> Result<Receipt, AdapterError> {
        let ticket = ticket();
        self.driver.perform(&self.context(), &create(&ticket)).await
    }

    async fn requests(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

fn ticket() -> crate::domain::TicketView {
    crate::domain::TicketView {
        id: crate::domain::TicketId::new(Uuid::nil()),
        title: "t".into(),
        description: String::new(),
        status: crate::domain::TicketStatus::New,
        priority: crate::domain::Priority::Medium,
        urgency: crate::domain::Priority::Medium,
        category: crate::domain::TicketCategory::General,
        department: None,
        assigned_to: None,
        created_by: None,
        tags: Vec::new(),
        custom_fields: serde_json::Map::new(),
        external_id: None,
        external_url: None,
        external_ref: serde_json::Map::new(),
    }
}

fn create(ticket: &crate::domain::TicketView) -> Operation<'_> {
    let key = DedupKey {
        marker: "tkt-1",
        received_at: Utc::now(),
    };
    Operation::Create { ticket, key }
}

#[tokio::test]
async fn a_step_before_the_making_request_leaves_no_doubt() {
    let script = Script {
        prepare: Some(ErrorClass::Unknown),
        ..Script::default()
    };
    let stage = Stage::of(script, &[201]).await;

    let error = stage.perform().await.unwrap_err();

    assert_eq!(error.class, ErrorClass::Transient { retry_after: None });
    assert_eq!(stage.requests().await, 0);
}

#[tokio::test]
async fn what_was_looked_up_and_is_refused_is_looked_up_once_more() {
    for (answers, is_made) in [([422, 201], true), ([422, 422], false)] {
        let stage = Stage::of(Script::default(), &answers).await;

        let result = stage.perform().await;

        assert_eq!(result.is_ok(), is_made, "{result:?}");
        // Nothing was left out of it.
        assert!(result.is_err() || result.unwrap().details.is_empty());
        assert_eq!(stage.requests().await, 2);
    }
}

#[tokio::test]
async fn a_step_after_the_making_request_undoes_nothing() {
    let script = Script {
        finish: true,
        ..Script::default()
    };
    let stage = Stage::of(script, &[201]).await;
    let mut made = stage.perform().await.unwrap();
    let before = made.clone();

    let ticket = ticket();
    let create = create(&ticket);
    let unfinished = stage
        .driver
        .complete(&stage.context(), &create, &mut made)
        .await;

    assert_eq!(made, before);
    let error = unfinished.unwrap().error;
    assert_eq!(error.class, ErrorClass::RateLimited { retry_after: None });
    assert_eq!(stage.requests().await, 1);
}

#[tokio::test]
async fn an_item_that_is_there_is_finished_whoever_made_it() {
    let stage = Stage::of(Script::default(), &[]).await;
    // As a look-up finds it.
    let mut adopted = Receipt {
        external_id: Some("made-1".into()),
        ..Receipt::default()
    };

    let ticket = ticket();
    let create = create(&ticket);
    let unfinished = stage
        .driver
        .complete(&stage.context(), &create, &mut adopted)
        .await;

    assert!(unfinished.is_none());
    assert_eq!(
        adopted.external_url.as_deref(),
        Some("https://x.example/made-1")
    );
}

#[tokio::test]
async fn what_the_platform_refuses_is_left_out_one_refusal_after_the_other() {
    let stage = async |fields, answers: &[u16]| {
        let script = Script {
            fields,
            ..Script::default()
        };
        Stage::of(script, answers).await
    };
    let two = stage(2, &[400, 400, 201]).await;

    let made = two.perform().await.unwrap();

    let dropped = json!({ "priority": "is unknown", "type": "is unknown" });
    assert_eq!(made.details["dropped_fields"], dropped);
    assert_eq!(two.requests().await, 3);

    // What is left out and refused again is refused; and there is an end to it.
    for (fields, sent) in [(1, 2), (2, 3), (6, 5)] {
        let stage = stage(fields, &[400; 6]).await;
        let error = stage.perform().await.unwrap_err();
        assert!(
            matches!(error.class, ErrorClass::Validation { .. }),
            "{error:?}"
        );
        assert_eq!(stage.requests().await, sent, "{fields} fields");
    }
}

#[tokio::test]
async fn what_was_set_before_stays_set_where_the_making_request_fails() {
    let script = || Script {
        sets_before: true,
        ..Script::default()
    };
    let stage = Stage::of(script(), &[403]).await;
    let error = stage.perform().await.unwrap_err();
    let done = error.done.unwrap();
    assert_eq!(done.details["set"], true);
    let said = done.details["note"].as_str().unwrap();
    assert!(
        said.starts_with("not posted: ") && said.ends_with("; try again"),
        "{said}"
    );

    let stage = Stage::of(script(), &[201]).await;
    let made = stage.perform().await.unwrap();
    assert_eq!(json!(made.details), json!({ "set": true }));
}

/// A server that keeps connections open, and closes one as its second request comes: as if it had
/// been about to.
async fn closing_when_asked_again() -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let asked = stream.read(&mut buffer).await.unwrap_or(0);
                if asked > 0 {
                    let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
                    stream.write_all(answer).await.unwrap();
                    // Whatever comes is not answered.
                    let _ignored = stream.read(&mut buffer).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn what_nobody_could_find_out_about_goes_over_no_connection_that_was_idle() {
    let mut stage = Stage::of(Script::default(), &[]).await;
    let address = closing_when_asked_again().await;
    let adapter = Scripted {
        url: format!("http://{address}/").parse().unwrap(),
        script: Script::default(),
        without: std::sync::Mutex::default(),
    };
    let credentials = Credentials::new(serde_json::Map::new());
    stage.driver = Driver::new(Ok(Box::new(adapter)), &integration(), &credentials).unwrap();

    for number in 0..3 {
        let made = stage.perform().await;
        assert!(made.is_ok(), "request {number}: {made:?}");
    }
}
