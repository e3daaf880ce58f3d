//! Requests sent for real, to a server of this process.

use std::sync::Mutex;

use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::{Value, json};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use super::*;
use crate::platforms::{EgressPolicy, SendPermit, TokenSource};

struct Free;

impl SendPermit for Free {
    fn check(&self, _: Duration) -> Result<(), AdapterError> {
        Ok(())
    }
}

/// Tokens that are granted one after the other.
struct Granting(Mutex<Vec<AccessToken>>);

#[async_trait]
impl TokenSource for Granting {
    async fn token(
        &self,
        _: &CallContext<'_>,
        stale: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
        let mut left = self.0.lock().unwrap();
        if stale.is_some() {
            left.remove(0);
        }
        let none = || AdapterError::new(ErrorClass::Authentication, "no token is left");
        left.first().cloned().ok_or_else(none)
    }

    fn is_stale(&self, response: &Response) -> bool {
        response.status == 401
    }
}

fn token(secret: &str, api_base: Option<String>) -> AccessToken {
    AccessToken {
        secret: secret.to_owned().into(),
        api_base: api_base.map(|base| base.parse().unwrap()),
    }
}

fn client() -> HttpClient {
    let egress = EgressPolicy {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        allow_http: true,
    };
    HttpClient::new(egress, Duration::from_secs(5), 1).unwrap()
}

fn context<'a>(client: &'a HttpClient, tokens: &'a Granting) -> CallContext<'a> {
    let deadline = Instant::now() + Duration::from_secs(10);
    CallContext::new(client, deadline, &Free, tokens, &Strangers::PAGES)
}

async fn sent_with(request: Request, tokens: Vec<AccessToken>) -> Result<Response, AdapterError> {
    let (client, tokens) = (client(), Granting(Mutex::new(tokens)));
    context(&client, &tokens).send(request).await
}

async fn sent(request: Request) -> Result<Response, AdapterError> {
    sent_with(request, Vec::new()).await
}

fn url(server: &MockServer, path: &str) -> Url {
    format!("{}{path}", server.uri()).parse().unwrap()
}

fn secret_header() -> Auth {
    let name = HeaderName::from_static("x-sn-apikey");
    Auth::Header(name, "s3cr3t-k3y".to_owned().into())
}

async fn answers(server: &MockServer, at: &str, answer: ResponseTemplate) {
    Mock::given(path(at))
        .respond_with(answer)
        .mount(server)
        .await;
}

#[tokio::test]
async fn a_secret_header_is_sent_and_a_stranger_s_page_is_told_all_the_same() {
    let server = MockServer::start().await;
    Mock::given(header("x-sn-apikey", "s3cr3t-k3y"))
        .and(path("/good"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let page = "<html><input type=\"password\"></html>";
    let page = ResponseTemplate::new(200).set_body_string(page);
    answers(&server, "/page", page).await;
    let ask = |path| {
        Request::new(
            Method::GET,
            url(&server, path),
            secret_header(),
            Effect::Read,
        )
    };

    assert_eq!(sent(ask("/good")).await.unwrap().status, 200);
    let told = sent(ask("/page")).await.unwrap_err();
    assert_eq!(told.class, ErrorClass::Authentication);
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_the_list_goes_and_three_at_most() {
    let server = MockServer::start().await;
    for hop in 0..4 {
        let to = format!("/{}", hop + 1);
        let answer = ResponseTemplate::new(307).insert_header("location", to.as_str());
        answers(&server, &format!("/{hop}"), answer).await;
    }
    answers(&server, "/4", ResponseTemplate::new(201)).await;
    let login = ResponseTemplate::new(302).insert_header("location", "/login");
    answers(&server, "/old", login).await;
    let away = ResponseTemplate::new(307).insert_header("location", "http://10.0.0.1/x");
    answers(&server, "/away", away).await;
    let make = |from: &str, hosts| {
        Request::post(url(&server, from), secret_header(), Effect::Create)
            .json(&json!({ "a": 1 }))
            .follow(hosts)
    };

    // 1 → 2 → 3 → 4
    let made = sent(make("/1", &[HostSuffix::Own])).await.unwrap();
    assert_eq!(made.status, 201);
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!(request.headers.get("x-sn-apikey").unwrap(), "s3cr3t-k3y");
        assert_eq!(request.body_json::<Value>().unwrap(), json!({ "a": 1 }));
    }
    let too_far = sent(make("/0", &[HostSuffix::Own])).await.unwrap();
    assert_eq!(too_far.status, 307);
    let unlisted = sent(make("/1", &[])).await.unwrap();
    assert_eq!(unlisted.status, 307);
    let read = Request::new(Method::GET, url(&server, "/old"), Auth::None, Effect::Read);
    let told = sent(read.follow(&[HostSuffix::Own])).await.unwrap_err();
    assert_eq!(told.class, ErrorClass::Authentication);
    // A listed host is no way round the egress rules.
    let refused = sent(make("/away", &[HostSuffix::Below("10.0.0.1")])).await;
    assert_eq!(refused.unwrap_err().class, ErrorClass::Egress);
}

#[tokio::test]
async fn a_request_goes_to_where_its_token_was_granted_and_moves_with_the_next_one() {
    let (old, new) = (MockServer::start().await, MockServer::start().await);
    answers(&old, "/v2/users/me", ResponseTemplate::new(401)).await;
    Mock::given(method("GET"))
        .and(path("/users/me"))
        .and(header("authorization", "Bearer second"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&new)
        .await;
    let ask = || Request::granted(Method::GET, &["users", "me"], Effect::Read).unwrap();

    let tokens = vec![
        token("first", Some(format!("{}/v2", old.uri()))),
        token("second", Some(new.uri())),
    ];
    assert_eq!(sent_with(ask(), tokens).await.unwrap().status, 200);
    assert_eq!(old.received_requests().await.unwrap().len(), 1);
    // One that was kept by a version that knew no addresses is renewed.
    let tokens = vec![token("first", None), token("second", Some(new.uri()))];
    assert_eq!(sent_with(ask(), tokens).await.unwrap().status, 200);
    let tokens = vec![token("first", None), token("second", None)];
    let refused = sent_with(ask(), tokens).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Internal);
    let tokens = vec![token("first", Some("https://10.0.0.1/".into()))];
    let refused = sent_with(ask(), tokens).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Egress);
}

#[tokio::test]
async fn an_answer_is_read_up_to_what_its_request_asks_for() {
    let server = MockServer::start().await;
    let rows = json!(vec!["x".repeat(1000); 3000]);
    answers(
        &server,
        "/rows",
        ResponseTemplate::new(200).set_body_json(rows),
    )
    .await;
    let ask = || Request::new(Method::GET, url(&server, "/rows"), Auth::None, Effect::Read);

    let cut: Fit<Vec<String>> = sent(ask()).await.unwrap().page(Effect::Read).unwrap();
    assert_eq!(cut, Fit::TooLong);
    let whole = sent(ask().up_to(4 << 20)).await.unwrap();
    let Fit::Whole(rows) = whole.page::<Vec<String>>(Effect::Read).unwrap() else {
        panic!("3 MB are less than 4");
    };
    assert_eq!(rows.len(), 3000);
}

#[tokio::test]
async fn a_file_within_json_goes_out_with_its_length() {
    let server = MockServer::start().await;
    answers(&server, "/contents", ResponseTemplate::new(201)).await;
    let bytes = vec![7; 100_000];
    let file = super::super::file::on_disk("a.bin", "application/octet-stream", &bytes);
    let mut request = Request::new(
        Method::PUT,
        url(&server, "/contents"),
        Auth::None,
        Effect::Idempotent,
    );
    request.body = Body::Base64Json {
        json: serde_json::Map::from_iter([("message".to_owned(), json!("a file"))]),
        member: "content",
        file,
    };

    assert_eq!(sent(request).await.unwrap().status, 201);

    let received = server.received_requests().await.unwrap();
    let body: Value = received[0].body_json().unwrap();
    assert_eq!(body["content"], STANDARD.encode(&bytes));
    let length = received[0].headers.get("content-length").unwrap();
    assert_eq!(length.to_str().unwrap(), received[0].body.len().to_string());
}

/// As the system answers a process that may open no more.
struct NoneLeft;

impl reqwest::dns::Resolve for NoneLeft {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let error: Box<dyn std::error::Error + Send + Sync> =
            Box::new(std::io::Error::from_raw_os_error(24));
        Box::pin(async { Err(error) })
    }
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a client of its own, which fails"
)]
async fn where_this_process_may_open_no_connection_the_fault_is_ours_and_nothing_was_sent() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy();
    let client = client.dns_resolver(Arc::new(NoneLeft)).build().unwrap();
    let url: url::Url = "http://platform.test/".parse().unwrap();
    let error = client.post(url.clone()).send().await.unwrap_err();
    let request = Request::new(Method::POST, url, Auth::None, Effect::Create);

    let TryError::Again(Again::Error(error), _) = on_the_way(&request, &error, "") else {
        panic!("what was not sent is tried again");
    };

    assert_eq!(error.class, ErrorClass::Internal, "{error}");
    assert!(error.to_string().contains("no file descriptor"), "{error}");
}

#[tokio::test]
async fn a_budget_that_an_answer_uses_up_is_noted_by_the_longest_wait() {
    use crate::platforms::AskedToWait;
    use crate::platforms::rate::{Left, Pause, Quota, RateHeaders, ResetIn};
    use crate::platforms::scope::Scope;

    static RATE: RateHeaders = RateHeaders {
        quotas: &[Quota {
            left: Left::In("x-left"),
            reset: Some(("x-reset", ResetIn::Seconds)),
            scope: Scope::Integration,
        }],
        ..RateHeaders::retry_after(Duration::from_secs(60), Scope::Endpoint)
    };
    let server = MockServer::start().await;
    for (at, status, left, reset) in [
        ("/some", 200, "1", "9"),
        ("/none", 200, "0", "7"),
        ("/later", 201, "0", "30"),
        ("/refused", 403, "0", "99"),
    ] {
        let answer = ResponseTemplate::new(status)
            .insert_header("x-left", left)
            .insert_header("x-reset", reset);
        answers(&server, at, answer).await;
    }
    let (client, tokens) = (client(), Granting(Mutex::new(Vec::new())));
    let asked = AskedToWait::default();
    let context = context(&client, &tokens).noting(&asked);
    let send = async |at: &str, counting: bool| {
        let request = Request::new(Method::GET, url(&server, at), Auth::None, Effect::Read);
        if counting {
            context.counting(&RATE).send(request).await.unwrap();
        } else {
            context.send(request).await.unwrap();
        }
        asked.budget().map(|pause| pause.wait.as_secs())
    };

    assert_eq!(send("/none", false).await, None, "nobody counts");
    assert_eq!(send("/some", true).await, None);
    assert_eq!(
        send("/refused", true).await,
        None,
        "that is an error's to say"
    );
    assert_eq!(send("/none", true).await, Some(7));
    assert_eq!(send("/later", true).await, Some(30));
    assert_eq!(send("/none", true).await, Some(30));
    let Pause { scope, said_by, .. } = asked.budget().unwrap();
    assert_eq!((scope, said_by), (Scope::Integration, Some("x-reset")));
}

/// Turns to write that are granted after so many askings.
#[derive(Default)]
struct Turns {
    refused: std::sync::atomic::AtomicUsize,
    asked: Mutex<Vec<(Duration, Duration)>>,
}

#[async_trait]
impl crate::platforms::WriteTurns for Turns {
    async fn take(&self, apart: Duration, longest: Duration) -> Option<Duration> {
        use std::sync::atomic::Ordering::SeqCst;
        self.asked.lock().unwrap().push((apart, longest));
        let left = self
            .refused
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        left.is_err().then_some(Duration::ZERO)
    }
}

#[tokio::test]
async fn a_write_waits_for_its_turn_where_the_platform_wants_that_and_no_longer_than_it_may() {
    use crate::platforms::rate::RateHeaders;
    use crate::platforms::scope::Scope;
    use std::sync::atomic::Ordering::SeqCst;

    const MINUTE: Duration = Duration::from_secs(60);
    static FREE: RateHeaders = RateHeaders::retry_after(MINUTE, Scope::Integration);
    static APART: RateHeaders = RateHeaders {
        writes_apart: Duration::from_millis(20),
        ..FREE
    };
    let server = MockServer::start().await;
    answers(&server, "/", ResponseTemplate::new(200)).await;
    let (client, tokens) = (client(), Granting(Mutex::new(Vec::new())));
    let turns = Turns::default();
    let all = context(&client, &tokens).taking_turns(&turns);
    let request = |effect| Request::new(Method::POST, url(&server, "/"), Auth::None, effect);
    let asked = || std::mem::take(&mut *turns.asked.lock().unwrap());

    all.counting(&FREE)
        .send(request(Effect::Create))
        .await
        .unwrap();
    all.counting(&APART)
        .send(request(Effect::Read))
        .await
        .unwrap();
    assert_eq!(asked(), [], "nobody has to ask");
    turns.refused.store(2, SeqCst);
    all.counting(&APART)
        .send(request(Effect::Create))
        .await
        .unwrap();
    all.counting(&APART)
        .send(request(Effect::Idempotent))
        .await
        .unwrap();

    // Ten seconds, of which a request takes five; the first write leaves half to those after it.
    let asked_for = asked();
    assert!(
        asked_for
            .iter()
            .all(|(apart, _)| *apart == APART.writes_apart),
        "{asked_for:?}"
    );
    let longest: Vec<u128> = asked_for
        .iter()
        .map(|(_, longest)| longest.as_millis())
        .collect();
    let [first, second, third, later] = longest[..] else {
        panic!("{longest:?}");
    };
    assert!(
        first > 2_000 && first <= 2_500 && second < first && third < second,
        "{longest:?}"
    );
    assert!(later > 4_000, "{longest:?}");

    let before = server.received_requests().await.unwrap().len();
    turns.refused.store(usize::MAX, SeqCst);
    let soon = Instant::now() + client.request_timeout + Duration::from_millis(50);
    let late = all.until(soon);
    let error = late
        .counting(&APART)
        .send(request(Effect::Create))
        .await
        .unwrap_err();
    let retry_after = Some(APART.writes_apart);
    assert_eq!(
        error.class,
        ErrorClass::RateLimited { retry_after },
        "{error}"
    );
    assert_eq!(error.budget, Some(Scope::Endpoint));
    assert_eq!(server.received_requests().await.unwrap().len(), before);
}

/// A proxy that refuses everything, and the heads of what it was asked.
async fn proxy() -> (crate::config::Proxy, Arc<Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let asked = Arc::clone(&heads);
    tokio::task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let count = stream.read(&mut head).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&head[..count]).into_owned();
            asked.lock().unwrap().push(text);
            let refusal =
                b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            drop(stream.write_all(refusal).await);
        }
    });
    let url: SecretString = format!("http://user:hunter2@{address}").into();
    let proxy = crate::config::Proxy {
        https: Some(url.clone()),
        http: Some(url),
        direct: "direct.example".to_owned(),
    };
    (proxy, heads)
}

#[tokio::test]
async fn a_proxy_is_asked_for_names_of_the_world_alone() {
    let (proxy, heads) = proxy().await;
    let egress = EgressPolicy::default();
    let client = HttpClient::through(Some(&proxy), egress, Duration::from_secs(5), 1).unwrap();
    let tokens = Granting(Mutex::new(Vec::new()));
    let send = async |url: &str| {
        let request = Request::new(
            Method::POST,
            url.parse().unwrap(),
            Auth::None,
            Effect::Create,
        );
        context(&client, &tokens).send(request).await.unwrap_err()
    };

    let refused = send("https://tenant.platform.example/x").await;
    assert!(
        matches!(refused.class, ErrorClass::Transient { .. }),
        "{refused}"
    );
    assert!(refused.public.contains("egress.proxy"), "{refused}");
    // A connection that does not come about is tried again.
    let asked = std::mem::take(&mut *heads.lock().unwrap());
    let head = &asked[0];
    assert!(
        head.starts_with("CONNECT tenant.platform.example:443 "),
        "{head}"
    );
    let basic = "proxy-authorization: basic dxnlcjpodw50zxiy";
    assert!(head.to_lowercase().contains(basic), "{head}");
    assert!(!format!("{refused:?}").contains("hunter2"));

    for url in [
        "https://localhost/x",
        "https://127.0.0.1/x",
        "https://vault.internal/x",
        "https://vault/x",
        "http://tenant.platform.example/x",
    ] {
        let refused = send(url).await;
        assert_eq!(refused.class, ErrorClass::Egress, "{url}: {refused}");
    }
    let direct = send("https://direct.example/x").await;
    assert!(
        matches!(direct.class, ErrorClass::Transient { .. }),
        "{direct}"
    );
    assert!(heads.lock().unwrap().is_empty());
}
