//! Well-known clients of the platforms use the sandbox as their makers' users use the platforms:
//! what it lacks, or takes and should not, shows here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Authority, World, http_get, http_json, services};

/// The program's own sandbox, as people start it. Killed when dropped.
struct Sandbox {
    child: Child,
    address: std::net::SocketAddr,
}

impl Sandbox {
    fn start() -> Self {
        let any = "127.0.0.1:0";
        let mut child = Command::new(env!("CARGO_BIN_EXE_ticketwire"))
            .args(["sandbox", "--json", "--listen", any, "--smtp", any])
            .args(["--smtps", any])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = said["listen"].as_str().unwrap().parse().unwrap();
        Self { child, address }
    }

    fn url(&self, site: &str) -> String {
        format!("http://{}/{site}", self.address)
    }

    async fn configure(&self, site: &str, settings: &Value) {
        let url = self.url(&format!("_sandbox/{site}/settings"));
        let (status, said) = http_json("POST", &url, settings).await;
        assert_eq!(status, 200, "{said}");
    }

    /// The items of a site.
    async fn items(&self, site: &str) -> Value {
        let path = format!("/_sandbox/{site}/ledger");
        let (status, body) = http_get(self.address, &path).await.unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["issues"].clone()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A mail server of the package `aiosmtpd`. Killed when dropped.
struct MailServer {
    child: Child,
    said: BufReader<ChildStdout>,
    port: u64,
}

impl MailServer {
    fn start(folder: &Path, certificate: &Path, key: &Path) -> Self {
        let mut child = Command::new(folder.join("bin/python"))
            .arg(root().join("tests/foreign/mail_server.py"))
            .args([certificate, key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let listens: Value = serde_json::from_str(&line).unwrap();
        let port = listens["port"].as_u64().unwrap();
        Self { child, said, port }
    }

    /// What it took, at its end.
    fn took(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        let mut took = String::new();
        self.said.read_to_string(&mut took).unwrap();
        serde_json::from_str(&took).unwrap()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder that `scripts/services test-tools` makes; `None` where it has not, which is a failure
/// in CI.
fn installed(folder: &str, list: &str) -> Option<PathBuf> {
    let folder = root().join("target/foreign").join(folder);
    let has = std::fs::read(folder.join("installed")).ok();
    if has == std::fs::read(root().join("tests/foreign").join(list)).ok() {
        return Some(folder);
    }
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(
        !ci,
        "{list} is not installed: ./scripts/services test-tools"
    );
    // Past the test harness, which shows nothing of a test that passes.
    let text = format!("SKIPPED: {list} IS NOT INSTALLED, SO NO OTHER CLIENT USED THE SANDBOX\n");
    drop(std::io::stderr().write_all(text.as_bytes()));
    None
}

/// Runs a script to its end, which must be a good one: what it saw.
async fn run(mut command: Command) -> Value {
    let work = move || {
        let output = command.output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {err}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Runs a Python script.
async fn python(script: &str, arguments: &[&str]) -> Option<Value> {
    let folder = installed("python", "requirements.txt")?;
    let mut command = Command::new(folder.join("bin/python"));
    command.arg(root().join("tests/foreign").join(script));
    command.args(arguments);
    Some(run(command).await)
}

/// Runs a Node script.
async fn node(script: &str, argument: &str) -> Option<Value> {
    let folder = installed("node", "package.json")?;
    // A module is looked for from where the script is.
    let copy = folder.join(script);
    std::fs::copy(root().join("tests/foreign").join(script), &copy).unwrap();
    let mut command = Command::new("node");
    command.arg(copy).arg(argument);
    Some(run(command).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_jira_uses_cloud_and_a_data_center() {
    let sandbox = Sandbox::start();
    let cases = [
        ("cloud", "cloud", "Cloud"),
        ("data_center", "data_center", "Server"),
        // Told by the credentials.
        ("as_called", "cloud", "Cloud"),
    ];
    for (setting, deployment, server) in cases {
        let site = format!("jira/{setting}");
        sandbox
            .configure(&site, &json!({ "deployment": setting }))
            .await;

        let Some(seen) = python("jira_client.py", &[&sandbox.url(&site), deployment]).await else {
            return;
        };

        let made = json!({ "key": "SUP-1", "project": "SUP", "type": "Task",
            "description": "h1. Hello",
            "customer": "ACME" });
        let expected = json!({
            "deployment": server, "me": "Ticketwire Sandbox", "made": made, "projects": ["SUP"],
            "priorities": ["Highest", "High", "Medium", "Low", "Lowest"], "fields": seen["fields"],
            "comment": "A *remark*", "comments": 1, "file": ["a.txt", 5],
            "found": [["SUP-1", "Changed", "Done"]], "latest": "SUP-1",
            "refused": [400, { "issuetype": "Specify a valid issue type" }],
        });
        assert_eq!(seen, expected, "{setting}");
        let custom = seen["fields"].as_array().unwrap();
        assert!(custom.contains(&json!("customfield_10010")), "{custom:?}");
        let items = sandbox.items(&site).await;
        assert_eq!(items[0]["assignee"], "sandbox:ann", "{items:#}");
        assert_eq!(items[0]["labels"], json!(["tkt-foreign", "vip"]));
        assert_eq!(items.as_array().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_slack_sdk_posts_updates_and_uploads() {
    let sandbox = Sandbox::start();
    let site = "slack/foreign";

    let Some(seen) = python("slack_client.py", &[&sandbox.url(site)]).await else {
        return;
    };

    assert_eq!(seen["me"], "ticketwire");
    assert!(
        seen["link"]
            .as_str()
            .unwrap()
            .contains("/archives/C0SUPPORT/p")
    );
    assert_eq!(seen["file"], "F000001");
    assert_eq!(seen["history"], json!(["Hello again"]));
    assert_eq!(seen["replies"], 3, "root, reply and file: {seen:#}");
    let refused = json!([
        "no_text",
        "no_text",
        "invalid_arguments",
        "invalid_arguments"
    ]);
    assert_eq!(seen["refused"], refused);
    let hook = json!([[200, "ok"], [400, "no_text"], [400, "no_text"]]);
    assert_eq!(seen["hook"], hook);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_package_jira_js_uses_cloud() {
    let sandbox = Sandbox::start();
    let site = "jira/node";
    sandbox
        .configure(site, &json!({ "deployment": "cloud" }))
        .await;

    let Some(seen) = node("jira_client.mjs", &sandbox.url(site)).await else {
        return;
    };

    let expected = json!({
        "me": "Ticketwire Sandbox", "comment": "In text", "comments": 2, "projects": ["SUP"],
        "found": [["SUP-1", "Changed", "In Progress"]], "posted": [["SUP-1", "Changed",
        "In Progress"]],
        "refused": 410,
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_package_octokit_opens_and_closes_an_issue() {
    let sandbox = Sandbox::start();

    let Some(seen) = node("github_client.mjs", &sandbox.url("github/node")).await else {
        return;
    };

    let expected = json!({
        "made": [1, "By another client", ["bug"]], "shown": ["Changed", "closed", "not_planned"],
        "comments": ["A remark"], "same": true, "open": 0, "all": 1,
        "refused": [422, "title"], "missing": 404,
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_zenpy_makes_finds_and_changes_a_ticket() {
    let sandbox = Sandbox::start();

    let Some(seen) = python("zendesk_client.py", &[&sandbox.url("zendesk/foreign")]).await else {
        return;
    };

    let expected = json!({
        "me": "bot@example.test", "made": ["By another client", "tkt-foreign", "new", "high",
            ["vip"]],
        "status": "open", "comments": [["Hello", true], ["A remark", false]], "found": [true],
        "refused": 422,
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_simple_salesforce_makes_and_upserts_cases() {
    let sandbox = Sandbox::start();
    let url = sandbox.url("salesforce/foreign");

    let Some(seen) = python("salesforce_client.py", &[&url]).await else {
        return;
    };

    let expected = json!({
        "made": [true, [], "500", 18], "upserted": 201, "again": 200, "updated": 204,
        "shown": ["By another client", "Working", false],
        "rows": ["By another client", "Upserted again"],
        "refused": "INVALID_FIELD", "missing": "NOT_FOUND",
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_pysnow_makes_finds_and_changes_an_incident() {
    let sandbox = Sandbox::start();
    let host = sandbox.address.to_string();

    let arguments = [host.as_str(), "/servicenow/foreign"];
    let Some(seen) = python("servicenow_client.py", &arguments).await else {
        return;
    };

    let expected = json!({
        "made": ["By another client", "INC", "1", "3"], "state": "2", "found": [true], "nothing": 0,
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_twilio_sends_lists_and_redacts_messages() {
    let sandbox = Sandbox::start();

    let Some(seen) = python("sms_client.py", &[&sandbox.url("sms/foreign")]).await else {
        return;
    };

    let listed = ["More 2", "More 1", "More 0", "Two", "By another client – 1"];
    let refused = json!([
        [400, 21211],
        [400, 21619],
        [400, 21603],
        [400, 21660],
        [400, 21617],
        [400, 21705],
        [404, 20404],
        [401, 20003]
    ]);
    let expected = json!({
        "me": ["active", true], "made": ["SM", "queued", "outbound-api", "1", null], "date": true,
        "shown": "delivered", "listed": listed, "none": 0, "media": ["1"],
        "numbers": ["+14155550100"],
        "redacted": "", "deleted": true, "refused": refused,
        // What the adapter's own tests verify.
        "signed": "XIB3vcE7G6qgbabR2Fg0U3VzCok=",
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_asana_makes_moves_and_completes_a_task() {
    let sandbox = Sandbox::start();
    let site = "asana/foreign";

    let Some(seen) = python("asana_client.py", &[&sandbox.url(site)]).await else {
        return;
    };

    let invalid = "html_notes: xml_parsing_error: the tag <p> is not allowed";
    let expected = json!({
        "me": "Ticketwire Sandbox", "made": ["By another client", "Hello you\none\n", false,
            ["vip"]],
        "custom": ["High", null, "ACME"], "sparse": ["completed", "gid"],
        "shown": [true, null, ["smoke"], "Done"], "comments": ["A remark"], "files": [["a.txt", 5]],
        "listed": 5, "deleted": 404,
        "refused": [
            [400, "You should specify one of workspace, parent, projects"], [400, invalid],
            [400, "assignee: Not a user in Organization: bo@elsewhere.test"],
            [404, "task: Unknown object: 1"],
        ],
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_package_trello_js_makes_moves_and_reads_cards() {
    let sandbox = Sandbox::start();

    let Some(seen) = node("trello_client.mjs", &sandbox.url("trello/node")).await else {
        return;
    };

    let failed = |text: &str| format!("Request failed: {text}");
    let gone = "The requested resource was not found.";
    let part = format!(r#"{{"message":"{gone}","name":"Error","statusCode":404}}"#);
    let expected = json!({
        "me": "ticketwire", "shown": ["Changed", true, ["bug"], null], "comment": "A remark",
        "actions":
            ["deleteCard", "updateCustomFieldItem", "commentCard", "updateCard", "createCard"],
        "pages": ["deleteCard", "updateCustomFieldItem"], "cards": [1, 0, 1],
        "part": ["Changed", true],
        "refused": [
            failed("400 Bad Request - invalid value for idList"),
            failed("400 Bad Request - invalid value for idLabels"),
            failed(&format!("404 Not Found - {gone}")),
            format!("Batch request failed: {part}"),
            failed("400 Bad Request - invalid id"),
            failed("401 Unauthorized - invalid token"),
            failed("401 Unauthorized - unauthorized card permission requested"),
        ],
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_py_trello_makes_a_card_with_a_comment_and_a_file() {
    let sandbox = Sandbox::start();

    let Some(seen) = python("trello_client.py", &[&sandbox.url("trello/foreign")]).await else {
        return;
    };

    let expected = json!({
        "board": "Support", "fields": ["Customer", "Seats", "VIP", "Promised", "Product"],
        "card": ["By another client", "In *text*", false, true], "labels": ["Priority: High"],
        "comments": ["A remark"], "files": [["a.txt", 5]], "open": ["By another client"],
        "refused": [
            "invalid token", "unauthorized card permission requested", "invalid value for name",
        ],
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_package_aiosmtpd_takes_the_mails_of_a_ticket() {
    let Some(folder) = installed("python", "requirements.txt") else {
        return;
    };
    let (database, amqp) = services();
    let world = World::bare(&database, &amqp).await;
    let (certificate, key) = (world.marker("server.pem"), world.marker("key.pem"));
    let (authority, trusted) = (Authority::new(), world.marker("authority.pem"));
    authority.write_server(&certificate, &key);
    authority.write(&trusted);
    world.set("SSL_CERT_FILE", trusted.to_str().unwrap());
    let server = MailServer::start(&folder, &certificate, &key);
    let worker = world.worker().await;
    let integration = |password: &str| {
        json!({
            "name": "Mail", "platform_name": "email", "auth_type": "basic",
            "credentials": { "username": "bot", "password": password },
            "settings": { "smtp_host": "127.0.0.1", "smtp_port": server.port,
                "security": "starttls", "from_address": "support@example.com",
                "from_name": "Störfall", "to": ["unknown@example.net", "ops@example.net"] },
        })
    };

    let wrong = world
        .publish("integration.create", integration("wrong"))
        .await;
    let wrong = world.succeeds(wrong).await["data"]["result"]["integration_id"].clone();
    let test = json!({ "integration_id": wrong, "test_types": ["authentication"] });
    let test = world.publish("integration.test", test).await;
    let tested = world.succeeds(test).await["data"]["result"].clone();
    assert_eq!(tested["success"], false, "{tested:#}");
    assert!(
        tested.to_string().contains("authentication_failed"),
        "{tested:#}"
    );
    let id = world.integration_of(integration("pässwörd")).await;
    let ticket = Uuid::new_v4();
    let (title, long) = ("Drucker brennt 🔥 ".repeat(9), "x".repeat(2_000));
    let (small, big) = ("aGVsbG8=", "aGVs".repeat(40_000));
    let text = format!("Look:\n\n.\n\n..two\n\nFrom here – {long}");
    let mut commands = Vec::new();
    for (command, data) in [
        (
            "ticket.create",
            json!({ "ticket_id": ticket, "integration_id": id, "title": title,
            "description": text }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "Seen **here**" }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket,
            "attachments": [{ "name": "Prüfbericht \"1\".txt", "content_base64": small }] }),
        ),
    ] {
        commands.push(world.publish(command, data).await);
    }
    let made = world.succeeds(commands[0]).await;
    for command in &commands {
        world.succeeds(*command).await;
    }
    // The server says how much it takes; nothing is sent of what is more.
    let data = json!({ "ticket_id": ticket,
        "attachments": [{ "name": "big.txt", "content_base64": big }] });
    let attach = world.publish("ticket.attach", data).await;
    world.fails(attach, "validation_failed").await;
    drop(worker);

    let details = &made["data"]["result"]["integration_result"]["details"];
    let refused = json!([{ "address": "unknown@example.net", "code": 550, "enhanced": "5.1.1" }]);
    assert_eq!(details["refused"], refused, "{made:#}");
    assert_eq!(details["accepted"], "2.0.0 Ok: queued as 1");
    let took = server.took();
    let [first, second, third] = &took[..] else {
        panic!("{took:#?}");
    };
    let root = format!("<tkt-{ticket}@example.com>");
    for mail in &took {
        assert_eq!(mail["defects"], json!([]), "{mail:#}");
        assert_eq!((&mail["tls"], &mail["bare"]), (&json!(true), &json!(false)));
        assert!(mail["longest"].as_u64().unwrap() <= 998, "{mail:#}");
        assert_eq!(mail["ascii"], true);
        assert_eq!(mail["from"], "support@example.com");
        assert_eq!(mail["to"], json!(["ops@example.net"]));
        assert_eq!(mail["sender"], "Störfall <support@example.com>");
        assert_eq!(mail["automatic"], "auto-generated");
    }
    assert_eq!(
        (&first["id"], &first["answers"]),
        (&json!(root), &Value::Null)
    );
    let subject = first["subject"].as_str().unwrap();
    assert!(subject.starts_with(title.trim()), "{subject}");
    let plain = first["plain"].as_str().unwrap().replace("\r\n", "\n");
    assert!(plain.ends_with(&format!("\n\n{text}\n")), "{plain}");
    for (answer, command) in [(second, commands[1]), (third, commands[2])] {
        let name = format!("<cmd-{command}");
        assert!(
            answer["id"].as_str().unwrap().starts_with(&name),
            "{answer:#}"
        );
        assert_eq!(
            (&answer["answers"], &answer["references"]),
            (&json!(root), &json!(root))
        );
        assert_eq!(answer["subject"], format!("Re: {subject}"));
    }
    assert!(
        second["html"]
            .as_str()
            .unwrap()
            .contains("<strong>here</strong>")
    );
    assert_eq!(third["files"], json!([["Prüfbericht \"1\".txt", "hello"]]));
    assert_eq!(third["types"][0], "multipart/mixed");
}
