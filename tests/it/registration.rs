//! Webhooks registered with platforms: by the command line and by commands; each failure leaves
//! what worked before.

use std::net::SocketAddr;

use serde_json::{Value, json};
use ticketwire::domain::{IntegrationId, OrganizationId};
use ticketwire::sandbox::{Fault, LedgerHook};
use ticketwire::secrets::{Binding, KeyRing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::{World, output, services};

/// Whose secret signs deliveries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secret {
    Ours,
    Theirs,
    /// The integration's own; nothing is kept with the registration.
    Kept,
}

/// A platform that takes webhooks by its interface.
struct Case {
    site: &'static str,
    /// `integration.create` without name and address.
    data: Value,
    /// What the sandbox calls the request that registers one.
    create: &'static str,
    secret: Secret,
    /// What a refusal for want of a right says.
    lacking: &'static str,
    /// Requests of a registration that are refused before: it is asked for less then.
    asks_twice: u32,
    /// Whether the platform says that deliveries fail.
    shows_failures: bool,
}

fn github() -> Case {
    Case {
        site: "github/acme",
        data: json!({
            "platform_name": "github", "auth_type": "bearer",
            "settings": { "owner": "octo", "repository": "support" },
            "credentials": { "token": "github_pat_s3cr3t" },
        }),
        create: "create_hook",
        secret: Secret::Ours,
        lacking: "admin:repo_hook",
        asks_twice: 0,
        shows_failures: true,
    }
}

fn jira() -> Case {
    Case {
        site: "jira/acme",
        data: json!({
            "platform_name": "jira", "settings": { "project_key": "SUP" },
            "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" },
        }),
        create: "create_hook",
        secret: Secret::Ours,
        lacking: "has to administer Jira",
        asks_twice: 0,
        shows_failures: false,
    }
}

/// With an OAuth app, whose webhooks are signed with its own secret.
fn jira_app(world: &World) -> Case {
    let site = world.sandbox.url("jira/app");
    Case {
        site: "jira/app",
        data: json!({
            "platform_name": "jira", "auth_type": "oauth2",
            "settings": {
                "project_key": "SUP", "token_url": format!("{site}/oauth/token"), "api_url": site,
            },
            "credentials": {
                "client_id": "app", "client_secret": "app-s3cr3t", "refresh_token": "r3fresh",
                "cloud_id": "11111111-2222-3333-4444-555555555555",
            },
        }),
        create: "register_hooks",
        secret: Secret::Kept,
        lacking: "manage:jira-webhook",
        asks_twice: 0,
        shows_failures: true,
    }
}

fn asana() -> Case {
    Case {
        site: "asana/acme",
        data: json!({
            "platform_name": "asana", "auth_type": "bearer",
            "settings": {
                "workspace_gid": "1100000000000001", "project_gid": "1200000000000001",
            },
            "credentials": { "access_token": "s3cr3t-t0k3n" },
        }),
        create: "create_hook",
        secret: Secret::Theirs,
        lacking: "a member of the project",
        asks_twice: 0,
        shows_failures: true,
    }
}

fn trello() -> Case {
    Case {
        site: "trello/acme",
        data: json!({
            "platform_name": "trello", "auth_type": "api_key",
            "settings": {
                "list_id": "5f0000000000000000000a01", "board_id": "5f0000000000000000000b01",
            },
            "credentials": { "api_key": "key", "api_token": "s3cr3t-t0k3n" },
            "webhook_secret": "app-s3cr3t",
        }),
        create: "create_hook",
        secret: Secret::Kept,
        lacking: "",
        asks_twice: 0,
        shows_failures: true,
    }
}

fn zendesk() -> Case {
    Case {
        site: "zendesk/acme",
        data: json!({
            "platform_name": "zendesk", "auth_type": "api_key", "settings": {},
            "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" },
        }),
        create: "create_hook",
        secret: Secret::Theirs,
        lacking: "an administrator",
        asks_twice: 1,
        shows_failures: true,
    }
}

/// A world whose public address is this one.
async fn world(public: &str) -> World {
    let (database, amqp) = services();
    let world = World::bare(&database, &amqp).await;
    world.set("TICKETWIRE__HTTP__WEBHOOK_PUBLIC_URL", public);
    // Writes to GitHub are more than a second apart.
    world.set("TICKETWIRE__DISPATCH__ATTEMPT_TIMEOUT", "20s");
    world.set("TICKETWIRE__DISPATCH__LEASE", "30s");
    world
}

impl Case {
    fn add(&self, world: &World) -> Uuid {
        let mut data = self.data.clone();
        data["name"] = json!("Hooked");
        data["base_url"] = json!(world.sandbox.url(self.site));
        let (data, organization) = (data.to_string(), world.organization.to_string());
        let added = world.cli(&[
            "integration",
            "add",
            "--organization",
            &organization,
            "--data",
            &data,
        ]);
        added["integration_id"].as_str().unwrap().parse().unwrap()
    }

    fn hooks(&self, world: &World) -> Vec<LedgerHook> {
        world.sandbox.ledger(self.site).hooks
    }

    fn only(&self, world: &World) -> LedgerHook {
        let mut hooks = self.hooks(world);
        assert_eq!(hooks.len(), 1, "{}: {hooks:#?}", self.site);
        hooks.remove(0)
    }

    fn set(&self, world: &World, rules: &Value) {
        let changes = json!({ "webhooks": rules });
        world.sandbox.configure(self.site, changes).unwrap();
    }
}

fn does(world: &World, id: Uuid, flag: &str) -> Value {
    world.cli(&["integration", "webhook", &id.to_string(), flag])
}

/// What is said where it is refused.
fn refuses(world: &World, id: Uuid, flag: &str) -> String {
    let id = id.to_string();
    let done = output(&world.environment(), &["integration", "webhook", &id, flag]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{flag}: {said}");
    said
}

/// A secret of an integration's registrations, opened; there may be one row alone.
async fn secret(world: &World, id: Uuid, column: &str) -> Option<String> {
    let sql = format!("SELECT {column} FROM integration_webhooks WHERE integration_id = $1");
    let sealed = world.text(&sql, &[&id]).await?;
    let keys: Vec<String> =
        serde_json::from_str(&world.environment()["TICKETWIRE__SECRETS__KEYS"]).unwrap();
    let keys: Vec<_> = keys.into_iter().map(Into::into).collect();
    let binding = Binding {
        organization: OrganizationId::new(world.organization),
        integration: IntegrationId::new(id),
        column: "secret_sealed",
    };
    let opened = KeyRing::parse(&keys).unwrap().open(&binding, &sealed);
    serde_json::from_slice(&opened.unwrap()).unwrap()
}

/// A small server that answers as the listener does: 200, and a handshake's secret given back. At
/// each handshake it notes whether a registration was awaited.
async fn target() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = Vec::new();
                let mut piece = [0; 1024];
                while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
                    match stream.read(&mut piece).await {
                        Ok(read @ 1..) => asked.extend(&piece[..read]),
                        Ok(0) | Err(_) => return,
                    }
                }
                let asked = String::from_utf8_lossy(&asked);
                let mut lines = asked.lines();
                let echo = lines.find(|line| line.to_lowercase().starts_with("x-hook-secret:"));
                let echo = echo.map(|line| format!("{line}\r\n")).unwrap_or_default();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n{echo}\r\n"
                );
                drop(stream.write_all(answer.as_bytes()).await);
            });
        }
    });
    address
}

/// The life of a registration on the command line.
async fn lives(of: impl FnOnce(&World) -> Case) {
    let public = format!("http://{}/in", target().await);
    let world = world(&public).await;
    let case = &of(&world);
    let id = case.add(&world);
    let address = format!("{public}/webhooks/{id}");

    let shown = world.cli(&["integration", "webhook", &id.to_string()]);
    assert_eq!(
        (&shown["webhooks"], &shown["by_interface"]),
        (&json!([]), &json!(true))
    );

    let made = does(&world, id, "--register");
    let first = case.only(&world);
    assert_eq!(
        (&made["created"], first.url.as_str()),
        (&json!(true), &*address)
    );
    assert_eq!(
        made["webhooks"][0]["external_id"],
        json!(first.id),
        "{made:#}"
    );
    assert_eq!(made["webhooks"][0]["state"], "active");
    let kept = secret(&world, id, "secret_sealed").await;
    match case.secret {
        Secret::Ours | Secret::Theirs => assert_eq!((&kept, kept.is_some()), (&first.secret, true)),
        Secret::Kept => assert_eq!(kept, None),
    }
    if case.secret == Secret::Ours {
        assert_eq!(kept.as_ref().unwrap().len(), 43, "32 bytes");
    }

    let again = does(&world, id, "--register");
    assert_eq!(again["created"], false, "{again:#}");
    assert_eq!(case.only(&world), first);

    rotated(case, &world, id, &first).await;
    checked(case, &world, id);
    lost(case, &world, id).await;

    let gone = does(&world, id, "--remove");
    assert_eq!(
        (&gone["removed"], &gone["webhooks"]),
        (&json!(1), &json!([]))
    );
    assert!(case.hooks(&world).is_empty());
    assert_eq!(does(&world, id, "--remove")["removed"], 0);
}

async fn rotated(case: &Case, world: &World, id: Uuid, first: &LedgerHook) {
    if case.secret == Secret::Kept {
        assert!(refuses(world, id, "--rotate").contains("signed with"));
        assert_eq!(case.only(world), *first);
        return;
    }
    let turned = does(world, id, "--rotate");
    let second = case.only(world);
    assert_ne!((&second.id, &second.secret), (&first.id, &first.secret));
    assert_eq!(turned["warnings"], json!([]), "{turned:#}");
    // Many platforms take an address once.
    assert_eq!(second.url, format!("{}?hook=2", first.url));
    assert_eq!(secret(world, id, "secret_sealed").await, second.secret);
    assert_eq!(secret(world, id, "previous_sealed").await, first.secret);
    let until = "SELECT (previous_until BETWEEN now() + interval '23 hours' AND now() + \
                 interval '25 hours')::text FROM integration_webhooks WHERE integration_id = $1";
    assert_eq!(world.text(until, &[&id]).await.as_deref(), Some("true"));

    // Whatever fails leaves what is there.
    case.set(world, &json!({ "may_administer": false }));
    let said = refuses(world, id, "--rotate");
    assert!(said.contains(case.lacking), "{said}");
    case.set(world, &json!({}));
    assert_eq!(case.only(world), second);
    assert_eq!(secret(world, id, "secret_sealed").await, second.secret);
}

fn checked(case: &Case, world: &World, id: Uuid) {
    let state = |flag: &str| {
        let done = does(world, id, flag);
        let row = done["webhooks"][0].clone();
        (row["state"].clone(), row["last_error"].clone())
    };
    assert_eq!(state("--check"), (json!("active"), Value::Null));
    if !case.shows_failures {
        return;
    }
    case.set(world, &json!({ "last_answer": 502 }));
    let (failing, why) = state("--check");
    assert_eq!(failing, "failing", "{why}");
    assert!(why.is_string());
    // One whose deliveries fail would not fare better as another.
    assert_eq!(does(world, id, "--register")["created"], false);
    case.set(world, &json!({}));
    assert_eq!(state("--check"), (json!("active"), Value::Null));
}

/// The answer to a registration is lost: the old one goes on, and the next try tidies up.
async fn lost(case: &Case, world: &World, id: Uuid) {
    if case.secret == Secret::Kept {
        does(world, id, "--remove");
    }
    let before = case.hooks(world);
    let fault = json!({
        "kind": "reset_after_store", "operation": case.create, "skip": case.asks_twice,
    });
    let fault: Fault = serde_json::from_value(fault).unwrap();
    world.sandbox.inject(case.site, fault).unwrap();
    let flag = if before.is_empty() {
        "--register"
    } else {
        "--rotate"
    };
    refuses(world, id, flag);
    assert_eq!(case.hooks(world).len(), before.len() + 1);

    let mended = does(world, id, "--register");
    let one = case.only(world);
    assert_eq!(
        mended["webhooks"].as_array().unwrap().len(),
        1,
        "{mended:#}"
    );
    assert_eq!(mended["webhooks"][0]["external_id"], json!(one.id));
    if case.secret != Secret::Kept {
        assert_eq!(secret(world, id, "secret_sealed").await, one.secret);
        // A secret of theirs was in the lost answer: what it was for is of no use.
        assert_eq!(before.contains(&one), case.secret == Secret::Theirs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn github_is_told_where_we_are() {
    lives(|_| github()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_is_told_where_we_are_by_an_administrator() {
    lives(|_| jira()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_is_told_where_we_are_by_an_app() {
    lives(jira_app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asana_gives_its_secret_to_the_address_and_in_its_answer() {
    lives(|_| asana()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trello_is_told_where_we_are_and_signs_with_the_app_s_secret() {
    lives(|_| trello()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zendesk_is_told_where_we_are_and_makes_the_secret() {
    lives(|_| zendesk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_reached_or_lacks_the_secret_is_not_registered() {
    // Nobody listens there.
    let world = world("http://127.0.0.1:1").await;
    let mut case = trello();
    case.data["webhook_secret"] = Value::Null;
    let id = case.add(&world);
    let said = refuses(&world, id, "--register");
    assert!(said.contains("webhook_secret is missing"), "{said}");
    for case in [trello(), asana()] {
        let id = case.add(&world);
        let said = refuses(&world, id, "--register");
        assert!(said.contains("did not re"), "{said}");
        assert!(case.hooks(&world).is_empty());
        let rows = "SELECT count(*)::text FROM integration_webhooks WHERE integration_id = $1";
        assert_eq!(world.text(rows, &[&id]).await.as_deref(), Some("0"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn github_sends_again_what_was_lost_and_a_removed_one_is_made_anew() {
    let world = world("https://hooks.example.test").await;
    let case = github();
    let id = case.add(&world);
    assert!(refuses(&world, id, "--redeliver").contains("no webhook is registered"));
    does(&world, id, "--register");

    case.set(&world, &json!({ "lost": ["b", "a"] }));
    let asked = does(&world, id, "--redeliver");
    assert_eq!(
        (&asked["lost"], &asked["asked_for"]),
        (&json!(2), &json!(2))
    );
    let asked = does(&world, id, "--redeliver");
    assert_eq!(
        (&asked["lost"], &asked["asked_for"]),
        (&json!(0), &json!(0))
    );

    // Somebody removed it at GitHub.
    let hook = case.only(&world);
    let url = format!(
        "{}/repos/octo/support/hooks/{}",
        world.sandbox.url(case.site),
        hook.id
    );
    let (status, _) = crate::support::http_json("DELETE", &url, &Value::Null).await;
    assert_eq!(status, 204);
    let seen = does(&world, id, "--check");
    assert_eq!(seen["webhooks"][0]["state"], "gone", "{seen:#}");
    assert_eq!(does(&world, id, "--register")["created"], true);
    assert_ne!(case.only(&world).id, hook.id);

    // The address moved.
    world.set(
        "TICKETWIRE__HTTP__WEBHOOK_PUBLIC_URL",
        "https://new.example.test/",
    );
    let warned = does(&world, id, "--check");
    let warning = warned["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("https://new.example.test/webhooks/"),
        "{warning}"
    );
    assert_eq!(does(&world, id, "--register")["created"], true);
    let url = format!("https://new.example.test/webhooks/{id}");
    assert_eq!(case.only(&world).url, url);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_public_address_nothing_is_registered_and_a_person_is_told_the_steps() {
    let (database, amqp) = services();
    let world = World::bare(&database, &amqp).await;
    let case = github();
    let id = case.add(&world);
    for flag in ["--register", "--print"] {
        let said = refuses(&world, id, flag);
        assert!(
            said.contains("http.webhook_public_url is not set"),
            "{said}"
        );
    }
    world.set(
        "TICKETWIRE__HTTP__WEBHOOK_PUBLIC_URL",
        "https://hooks.example.test",
    );
    let printed = does(&world, id, "--print");
    let steps = printed["instructions"].as_str().unwrap();
    let address = format!("https://hooks.example.test/webhooks/{id}");
    assert!(
        steps.contains(&address) && steps.contains("Settings > Webhooks"),
        "{steps}"
    );
}

const PHONE: &str = "+15005550006";

#[tokio::test(flavor = "multi_thread")]
async fn twilio_is_told_where_messages_to_the_number_go() {
    let world = world("https://hooks.example.test").await;
    let case = Case {
        site: "sms/acme",
        data: json!({
            "platform_name": "sms", "auth_type": "basic",
            "settings": { "from_number": PHONE, "to": "+15005550009" },
            "credentials": {
                "account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": "s3cr3t-t0k3n",
            },
        }),
        create: "set_number",
        secret: Secret::Kept,
        lacking: "",
        asks_twice: 0,
        shows_failures: false,
    };
    world
        .sandbox
        .configure(case.site, json!({ "numbers": [{ "phone_number": PHONE }] }))
        .unwrap();
    let id = case.add(&world);
    let address = format!("https://hooks.example.test/webhooks/{id}");
    does(&world, id, "--register");
    assert_eq!(case.only(&world).url, address);
    assert_eq!(does(&world, id, "--register")["created"], false);
    assert!(refuses(&world, id, "--rotate").contains("auth_token"));

    // The address moved, and the number follows.
    world.set(
        "TICKETWIRE__HTTP__WEBHOOK_PUBLIC_URL",
        "https://new.example.test",
    );
    assert_eq!(does(&world, id, "--register")["created"], true);
    let row = &does(&world, id, "--check")["webhooks"];
    assert_eq!(row.as_array().unwrap().len(), 1);
    assert_eq!(
        (&row[0]["state"], &row[0]["url"]),
        (&json!("active"), &json!(case.only(&world).url))
    );

    // What somebody else sets is theirs, and stays.
    let path = "2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/IncomingPhoneNumbers";
    let number = &case.only(&world).id;
    let url = format!("{}/{path}/{number}.json", world.sandbox.url(case.site));
    let form = "SmsUrl=https%3A%2F%2Felsewhere.example%2Fsms";
    let media_type = "application/x-www-form-urlencoded";
    let account = "Basic QUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjpzM2NyM3QtdDBrM24=";
    let (status, _) = crate::support::http_as(account, "POST", &url, media_type, form).await;
    assert_eq!(status, 200);
    let seen = does(&world, id, "--check");
    let fault = seen["webhooks"][0]["last_error"].as_str().unwrap();
    assert!(fault.contains("https://elsewhere.example/sms"), "{fault}");
    does(&world, id, "--remove");
    assert_eq!(case.only(&world).url, "https://elsewhere.example/sms");
    assert!(refuses(&world, id, "--register").contains("not ours to change"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_one_that_cannot_be_removed_is_removed_by_the_next_look() {
    let world = world("https://hooks.example.test").await;
    let case = github();
    let id = case.add(&world);
    does(&world, id, "--register");
    let first = case.only(&world);
    let fault = json!({ "kind": "status", "status": 500, "operation": "delete_hook", "times": 0 });
    let fault: Fault = serde_json::from_value(fault).unwrap();
    world.sandbox.inject(case.site, fault).unwrap();

    let turned = does(&world, id, "--rotate");
    let warning = turned["warnings"][0].as_str().unwrap();
    assert!(warning.contains("could not be removed"), "{warning}");
    assert_eq!(case.hooks(&world).len(), 2);
    world.sandbox.clear_faults(case.site).unwrap();
    does(&world, id, "--check");

    let second = case.only(&world);
    assert_ne!(second.id, first.id);
    assert_eq!(secret(&world, id, "secret_sealed").await, second.secret);
    assert_eq!(secret(&world, id, "previous_sealed").await, first.secret);
}

// --- by command ---

async fn act(world: &World, id: Uuid, action: &str) -> Value {
    let data = json!({ "integration_id": id, "action": action });
    let command = world.publish("integration.webhook", data).await;
    let event = world.succeeds(command).await;
    event["data"]["result"].clone()
}

async fn act_fails(world: &World, id: Uuid, action: &str, code: &str) -> String {
    let data = json!({ "integration_id": id, "action": action });
    let command = world.publish("integration.webhook", data).await;
    let event = world.fails(command, code).await;
    event["data"]["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_what_the_command_line_does() {
    let world = world(&format!("http://{}", target().await)).await;
    let worker = world.worker().await;
    for case in [github(), jira(), asana(), trello(), zendesk()] {
        let id = case.add(&world);
        let made = act(&world, id, "register").await;
        assert_eq!(
            (&made["created"], &made["action"]),
            (&json!(true), &json!("register"))
        );
        let first = case.only(&world);
        if case.secret == Secret::Kept {
            act_fails(&world, id, "rotate", "unsupported_operation").await;
        } else {
            act(&world, id, "rotate").await;
            assert_ne!(case.only(&world).secret, first.secret);
            assert_eq!(
                secret(&world, id, "secret_sealed").await,
                case.only(&world).secret
            );

            case.set(&world, &json!({ "may_administer": false }));
            let said = act_fails(&world, id, "rotate", "permission_denied").await;
            assert!(said.contains(case.lacking), "{said}");
            case.set(&world, &json!({}));
        }
        let seen = act(&world, id, "check").await;
        assert_eq!(seen["webhooks"][0]["state"], "active", "{seen:#}");

        // The answer is lost; the next attempt finds what was made.
        act(&world, id, "remove").await;
        let fault = json!({
            "kind": "reset_after_store", "operation": case.create, "skip": case.asks_twice,
        });
        let fault: Fault = serde_json::from_value(fault).unwrap();
        world.sandbox.inject(case.site, fault).unwrap();
        let made = act(&world, id, "register").await;
        assert_eq!(
            made["webhooks"][0]["external_id"],
            json!(case.only(&world).id)
        );
        assert_eq!(act(&world, id, "remove").await["removed"], 1);
        assert!(case.hooks(&world).is_empty());
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_sets_up_is_said_and_not_done() {
    let world = world("https://hooks.example.test").await;
    let worker = world.worker().await;
    let data = json!({
        "name": "Slack", "platform_name": "slack", "auth_type": "bearer",
        "settings": { "channel": "C0123456789" },
        "credentials": { "bot_token": "xoxb-1" },
    });
    let create = world.publish("integration.create", data).await;
    let made = world.succeeds(create).await;
    let id: Uuid =
        serde_json::from_value(made["data"]["result"]["integration_id"].clone()).unwrap();

    let said = act_fails(&world, id, "register", "unsupported_operation").await;
    assert!(said.contains("--print"), "{said}");
    let seen = act(&world, id, "check").await;
    assert_eq!(
        (&seen["by_interface"], &seen["webhooks"]),
        (&json!(false), &json!([]))
    );
    let steps = seen["instructions"].as_str().unwrap();
    assert!(
        steps.contains("Signing Secret") && steps.contains(&id.to_string()),
        "{steps}"
    );
    let rejected = json!({ "integration_id": id, "action": "renew" });
    let rejected = world.publish("integration.webhook", rejected).await;
    let event = world.outcome(rejected).await;
    assert_eq!(event["data"]["outcome"], "rejected", "{event:#}");
    drop(worker);
}

// --- on the schedule ---

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_or_is_gone_is_told_and_made_anew_when_it_is_looked_at() {
    let world = world("https://hooks.example.test").await;
    let case = github();
    let id = case.add(&world);
    does(&world, id, "--register");
    let worker = world.worker().await;
    let about = |state: &'static str| {
        move |data: &Value| data["integration_id"] == id.to_string() && data["state"] == state
    };

    case.set(&world, &json!({ "last_answer": 502 }));
    act(&world, id, "check").await;
    let told = world
        .told("integration.webhook.failing", about("failing"))
        .await;
    let reason = told["data"]["reason"].as_str().unwrap();
    assert!(reason.contains("502"), "{reason}");
    act(&world, id, "check").await;
    assert_eq!(
        world.told_count("integration.webhook.failing"),
        1,
        "told once"
    );
    case.set(&world, &json!({}));
    act(&world, id, "check").await;
    world
        .told("integration.webhook.restored", about("active"))
        .await;

    // Turned off, and removed at GitHub meanwhile; looked at as soon as it is on again.
    let off = json!({ "integration_id": id, "enabled": false });
    let off = world.publish("integration.status", off).await;
    world.succeeds(off).await;
    let due = "SELECT count(*)::text FROM integration_schedule WHERE task = 'webhook'";
    crate::support::wait_for("nothing to be due", async || {
        let count = world.text(due, &[]).await;
        (count.as_deref() == Some("0")).then_some(())
    })
    .await;
    let before = case.only(&world);
    let url = format!(
        "{}/repos/o/r/hooks/{}",
        world.sandbox.url(case.site),
        before.id
    );
    let (status, _) = crate::support::http_json("DELETE", &url, &Value::Null).await;
    assert_eq!(status, 204);
    let on = json!({ "integration_id": id, "enabled": true });
    let on = world.publish("integration.status", on).await;
    world.succeeds(on).await;

    world
        .told("integration.webhook.failing", about("gone"))
        .await;
    let restored = |data: &Value| data["old_state"] == "gone";
    world.told("integration.webhook.restored", restored).await;
    assert_ne!(case.only(&world).id, before.id);
    assert_eq!(
        secret(&world, id, "secret_sealed").await,
        case.only(&world).secret
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_is_renewed_when_a_third_of_its_life_is_left() {
    let world = world("https://hooks.example.test").await;
    let case = jira_app(&world);
    let id = case.add(&world);
    does(&world, id, "--register");
    let renewals = || {
        world
            .sandbox
            .ledger(case.site)
            .count("refresh_hooks")
            .effective
    };
    for (days, renewed) in [(11, 0), (9, 1)] {
        case.set(&world, &json!({ "days_left": days }));
        does(&world, id, "--check");
        assert_eq!(renewals(), renewed, "{days} days");
    }
    let ends = "SELECT (expires_at > now() + interval '29 days')::text \
                FROM integration_webhooks WHERE integration_id = $1";
    assert_eq!(world.text(ends, &[&id]).await.as_deref(), Some("true"));
}

// --- doctor ---

/// What doctor says of webhooks.
fn doctor(world: &World) -> Vec<String> {
    let done = output(&world.environment(), &["--json", "doctor"]);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let all = said["checks"].as_array().unwrap().iter();
    let all = all.filter(|one| one["check"] == "webhooks");
    let text = |one: &Value| {
        one["fault"]
            .as_str()
            .or(one["note"].as_str())
            .unwrap()
            .to_owned()
    };
    all.map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_webhooks_that_do_not_bring_what_they_should() {
    let world = world("https://hooks.example.test").await;
    let case = github();
    let id = case.add(&world);
    does(&world, id, "--register");
    assert_eq!(doctor(&world), Vec::<String>::new());
    let says = |part: &str| {
        let said = doctor(&world);
        assert!(
            said.len() == 1 && said[0].contains(part),
            "{part}: {said:?}"
        );
    };

    let of = "UPDATE integration_webhooks SET created_at = now() - interval '8 days' \
              WHERE integration_id = $1";
    world.query(of, &[&id]).await;
    says("brought nothing since it was registered");
    let ends = "UPDATE integration_webhooks SET expires_at = now() + interval '3 hours' \
                WHERE integration_id = $1";
    world.query(ends, &[&id]).await;
    says("ends at");
    world.set(
        "TICKETWIRE__HTTP__WEBHOOK_PUBLIC_URL",
        "https://other.example.test",
    );
    says("http.webhook_public_url is https://other.example.test");
    world.set("TICKETWIRE__HTTP__WEBHOOK_PUBLIC_URL", "");
    says("http.webhook_public_url is not set");
    case.set(&world, &json!({ "switched_off": true }));
    does(&world, id, "--check");
    says("is switched off there");
    does(&world, id, "--remove");
    assert_eq!(doctor(&world), Vec::<String>::new());

    let open = r#"{"settings": {"accept_unsigned": true}}"#;
    world.cli(&["integration", "update", &id.to_string(), "--data", open]);
    says("prove nothing");
    world.cli(&["integration", "disable", &id.to_string()]);
    trello().add(&world);
    says("signs the address too");
}

// --- keys ---

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_registrations_are_sealed_anew_with_the_others() {
    let world = world("https://hooks.example.test").await;
    let case = github();
    let id = case.add(&world);
    does(&world, id, "--register");
    let first = case.only(&world).secret;
    does(&world, id, "--rotate");
    let second = case.only(&world).secret;
    // As an update of the integration leaves its own.
    let sql = "UPDATE integrations SET webhook_secret_previous_encrypted = \
               webhook_secret_encrypted WHERE id = $1";
    let given = r#"{"webhook_secret": "inbound-s3cr3t"}"#;
    world.cli(&["integration", "update", &id.to_string(), "--data", given]);
    world.query(sql, &[&id]).await;

    let old = world.environment()["TICKETWIRE__SECRETS__KEYS"].clone();
    let old: Vec<String> = serde_json::from_str(&old).unwrap();
    let new = ticketwire::secrets::generate("new");
    let both = json!([new, old[0]]).to_string();
    world.set("TICKETWIRE__SECRETS__KEYS", &both);
    let done = world.cli(&["keys", "rotate"]);
    assert_eq!(done["resealed"], 5, "{done:#}");

    world.set("TICKETWIRE__SECRETS__KEYS", &json!([new]).to_string());
    assert_eq!(secret(&world, id, "secret_sealed").await, second);
    assert_eq!(secret(&world, id, "previous_sealed").await, first);
    let kept = "SELECT webhook_secret_previous_encrypted FROM integrations WHERE id = $1";
    let kept = world.text(kept, &[&id]).await.unwrap();
    assert_eq!(KeyRing::key_of(&kept), Some("new"));
}
