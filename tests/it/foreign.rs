//! Well-known clients of the platforms use the sandbox as their makers' users use the platforms:
//! what it lacks, or takes and should not, shows here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{http_get, http_json};

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
