//! What is peculiar to e-mail, end to end: every change is a mail, and no mail can be looked up.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::sandbox::{Fault, FaultKind, LedgerIssue};
use uuid::Uuid;

use crate::conformance::{Act, Guard, Row, SECRET, on};
use crate::support::mail::{PASSWORD, Scripted};
use crate::support::{World, http_get, wait_for};

/// Its rows of the conformance suite.
pub(super) fn rows() -> Vec<Row> {
    vec![by_password(), by_oauth(), by_relay()]
}

/// Every operation is a mail. The sandbox has a site for each user.
fn by_password() -> Row {
    Row {
        name: "email",
        platform: Platform::Email,
        auth_type: AuthType::Basic,
        credentials: json!({ "username": "{site}", "password": SECRET }),
        settings: json!({
            "smtp_host": "{smtp_host}", "smtp_port": "{smtp_port}", "security": "none",
            "from_address": "support@example.com", "to": ["ops@{site}.example"],
        }),
        operations: Act::ALL
            .iter()
            .map(|act| on(*act, "data", Guard::Nothing))
            .collect(),
        reads_answers: true,
        blind: None,
        reads: false,
        // Its replies have a table of their own.
        peculiar: Vec::new(),
        strange: vec![
            ("as to a stranger", Fault::new(FaultKind::Stranger)),
            ("535", Fault::status(535)),
        ],
    }
}

fn by_oauth() -> Row {
    let mut settings = by_password().settings;
    settings["oauth_provider"] = json!("microsoft");
    settings["token_url"] = json!("{base}/token");
    Row {
        name: "email-oauth",
        auth_type: AuthType::Oauth2,
        credentials: json!({
            "client_id": "c", "client_secret": SECRET, "refresh_token": SECRET, "tenant_id": "t",
            "username": "{site}",
        }),
        settings,
        strange: vec![("as to a stranger", Fault::new(FaultKind::Stranger))],
        ..by_password()
    }
}

/// A relay asks nobody who they are: there are no strangers.
fn by_relay() -> Row {
    Row {
        name: "email-relay",
        auth_type: AuthType::Custom,
        credentials: json!({}),
        strange: Vec::new(),
        ..by_password()
    }
}

/// An e-mail integration of the user `site` at the sandbox.
fn integration(world: &World, site: &str, more: &Value) -> Value {
    let mut settings = json!({
        "smtp_host": "127.0.0.1", "smtp_port": world.sandbox.smtp().port(), "security": "none",
        "from_address": "support@example.com", "from_name": "Support", "to": ["ops@example.net",
            "boss@example.net"],
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    json!({
        "name": "Mail", "platform_name": "email", "auth_type": "basic", "settings": settings,
        "credentials": { "username": site, "password": PASSWORD },
    })
}

async fn mailing(world: &World, site: &str, more: Value) -> Uuid {
    world.integration_of(integration(world, site, &more)).await
}

/// The mails that a site took, in their order.
fn mails(world: &World, site: &str) -> Vec<LedgerIssue> {
    world.sandbox.ledger(&format!("email/{site}")).issues
}

fn fault(world: &World, site: &str, fault: Fault) {
    world
        .sandbox
        .inject(&format!("email/{site}"), fault)
        .unwrap();
}

fn lost_after_the_dot() -> Fault {
    Fault::new(FaultKind::ResetAfterStore).on("data")
}

fn header<'a>(mail: &'a LedgerIssue, name: &str) -> Option<&'a str> {
    mail.fields["headers"][name].as_str()
}

/// A text as it was written: lines end with LF.
fn text(mail: &LedgerIssue) -> String {
    mail.fields["text"].as_str().unwrap().replace("\r\n", "\n")
}

fn details(event: &Value) -> &Value {
    &event["data"]["result"]["integration_result"]["details"]
}

const FILE: &str = "aGVsbG8=";

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_life_is_one_thread_of_mails() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = mailing(&world, "life", json!({ "reply_domain": "in.example.com" })).await;
    assert!(mails(&world, "life").is_empty(), "a test sends nothing");

    let ticket = Uuid::new_v4();
    let create = json!({
        "ticket_id": ticket, "title": "Drucker brennt 🔥",
        "description": "It **hurts**.\n\n- a\n- b", "priority": "high",
        "category": "technical", "tags": ["printer"], "custom_fields": { "floor": 3 },
        "integration_id": id,
    });
    let changes = [
        ("ticket.create", create),
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "title": "Fire is out", "priority": "low" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "See [the page](https://x.test)." }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": "Water." }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": [
                { "name": "Prüfbericht.txt", "content_base64": FILE }, { "name": "b.txt",
                    "content_base64": FILE },
            ] }),
        ),
        ("ticket.delete", json!({ "ticket_id": ticket })),
    ];
    let mut commands = Vec::new();
    for (command_type, data) in changes {
        commands.push(world.publish(command_type, data).await);
    }
    let mut events = Vec::new();
    for command in &commands {
        events.push(world.succeeds(*command).await);
    }

    let mails = mails(&world, "life");
    let said: Vec<String> = mails.iter().map(text).collect();
    assert_eq!(
        said,
        [
            "Status: new\nPriority: high\nUrgency: medium\nCategory: technical\nTags: \
             printer\nfloor: 3\n\nIt hurts.\n\n- a\n- b\n",
            "The ticket was changed:\n\nTitle: Fire is out\nPriority: low\n",
            "Comment:\n\nSee the page (https://x.test).\n",
            "The ticket is now: resolved\n\nWater.\n",
            "A file was attached to the ticket:\n\nFile: Prüfbericht.txt\nSize: 5 bytes\n",
            "A file was attached to the ticket:\n\nFile: b.txt\nSize: 5 bytes\n",
            "The ticket is now: closed\n",
        ]
    );
    let html = mails[2].fields["html"].as_str().unwrap();
    assert!(
        html.contains("<a href=\"https://x.test\">the page</a>"),
        "{html}"
    );
    let files: Vec<_> = mails
        .iter()
        .flat_map(|mail| &mail.attachments)
        .map(|file| (file.name.as_str(), file.size))
        .collect();
    assert_eq!(files, [("Prüfbericht.txt", 5), ("b.txt", 5)]);

    // One thread: the first mail is what all others answer, under its subject.
    let first = &mails[0];
    let subject = &first.summary;
    assert!(subject.starts_with("Drucker brennt 🔥 [#"), "{subject}");
    assert_eq!(first.key, format!("<tkt-{ticket}@example.com>"));
    assert_eq!(header(first, "X-Priority"), Some("1 (Highest)"));
    assert_eq!(
        (header(first, "In-Reply-To"), header(first, "References")),
        (None, None)
    );
    let reply_to = header(first, "Reply-To").unwrap();
    let mut ids = BTreeSet::new();
    for (number, mail) in mails.iter().enumerate() {
        assert!(ids.insert(mail.key.clone()), "{} is there twice", mail.key);
        assert_eq!(header(mail, "Reply-To"), Some(reply_to));
        assert_eq!(header(mail, "Auto-Submitted"), Some("auto-generated"));
        assert_eq!(
            mail.fields["to"],
            json!(["ops@example.net", "boss@example.net"])
        );
        assert_eq!(mail.fields["from"], "support@example.com");
        if number > 0 {
            assert_eq!(mail.summary, format!("Re: {subject}"));
            assert_eq!(header(mail, "In-Reply-To"), Some(first.key.as_str()));
            assert_eq!(header(mail, "References"), Some(first.key.as_str()));
        }
    }
    // And what the producer gets to know.
    let result = &events[0]["data"]["result"]["integration_result"];
    assert_eq!(result["external_ticket_id"], first.key.as_str());
    assert_eq!(result["external_ticket_url"], Value::Null);
    let accepted = details(&events[0])["accepted"].as_str().unwrap();
    assert!(accepted.contains("queued as"), "{accepted}");
    assert_eq!(
        events[2]["data"]["result"]["external_comment_id"],
        mails[2].key.as_str()
    );
    let outcomes = &events[4]["data"]["result"]["attachments"];
    assert_eq!(outcomes[1]["external_attachment_id"], mails[5].key.as_str());

    read_by_python(mails).await;
    world.close_the_ledger(&commands).await;
    drop(worker);
}

/// An independent reader of messages: Python's own.
const PYTHON: &str = r##"
import email, email.policy, json, sys
out = []
for raw in json.load(sys.stdin):
    mail = email.message_from_bytes(raw.encode(), policy=email.policy.default)
    out.append({
        "defects": [str(defect) for part in mail.walk() for defect in part.defects],
        "subject": mail["subject"], "id": mail["message-id"], "answers": mail["in-reply-to"],
        "plain": mail.get_body(("plain",)).get_content(),
        "html": mail.get_body(("html",)).get_content(),
        "files": [[part.get_filename(), part.get_payload(decode=True).decode()]
                  for part in mail.iter_attachments()],
    })
print(json.dumps(out))
"##;

/// Reads messages by it; `None` where there is no Python, which is a failure in CI.
fn python(given: &Value) -> Option<Value> {
    let started = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            let ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!ci, "python3 does not start: {error}");
            // Past the test harness, which shows nothing of a test that passes.
            let text = b"SKIPPED: PYTHON IS NOT INSTALLED, SO NO OTHER READER READ THE MAILS\n";
            drop(std::io::stderr().write_all(text));
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

async fn read_by_python(mails: Vec<LedgerIssue>) {
    let raw: Vec<Value> = mails.iter().map(|mail| mail.description.clone()).collect();
    let given = Value::from(raw);
    let Some(read) = tokio::task::spawn_blocking(move || python(&given))
        .await
        .unwrap()
    else {
        return;
    };
    let read = read.as_array().unwrap();
    assert_eq!(read.len(), mails.len());
    for (read, mail) in read.iter().zip(&mails) {
        assert_eq!(read["defects"], json!([]), "{read:#}");
        assert_eq!(read["subject"], mail.summary.as_str());
        assert_eq!(read["id"], mail.key.as_str());
        assert_eq!(read["answers"].as_str(), header(mail, "In-Reply-To"));
        let plain = read["plain"].as_str().unwrap().replace("\r\n", "\n");
        assert_eq!(plain, text(mail));
        assert!(read["html"].as_str().unwrap().contains("</body>"));
    }
    assert_eq!(read[4]["files"], json!([["Prüfbericht.txt", "hello"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_answers_needs_a_secret_which_may_come_with_it_and_not_go_before_it() {
    let world = World::new().await;
    let worker = world.worker().await;
    let domain = json!({ "reply_domain": "in.example.com" });
    let mut relay = integration(&world, "relay", &domain);
    relay["auth_type"] = json!("custom");
    relay["credentials"] = json!({});
    let refused = async |command: &str, data: Value| {
        let command = world.publish(command, data).await;
        let event = world.fails(command, "validation_failed").await;
        let fields = event["data"]["error"]["fields"].as_object().unwrap();
        assert_eq!(fields.len(), 1, "{event:#}");
        let fault = fields["settings.reply_domain"].as_str().unwrap();
        assert!(fault.contains("webhook_secret"), "{fault}");
    };
    let updated = async |data: Value| {
        let update = world.publish("integration.update", data).await;
        world.succeeds(update).await;
    };

    refused("integration.create", relay.clone()).await;
    relay["settings"]["reply_domain"] = Value::Null;
    let create = world.publish("integration.create", relay.clone()).await;
    let id = world.succeeds(create).await["data"]["result"]["integration_id"].clone();
    let change = json!({ "integration_id": id, "settings": domain });
    refused("integration.update", change.clone()).await;
    let mut with_secret = change;
    with_secret["webhook_secret"] = json!("whsec_0123456789");
    updated(with_secret).await;
    let bare = json!({ "integration_id": id, "webhook_secret": null });
    refused("integration.update", bare.clone()).await;
    updated(json!({ "integration_id": id, "settings": { "reply_domain": null } })).await;
    updated(bare).await;
    relay["name"] = json!("Another");
    relay["settings"]["reply_domain"] = json!("in.example.com");
    relay["webhook_secret"] = json!("whsec_0123456789");
    let create = world.publish("integration.create", relay).await;
    world.succeeds(create).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_left_out_and_told_unless_all_are() {
    let world = World::new().await;
    let worker = world.worker().await;
    let to = json!({ "to": ["unknown@example.net", "ops@example.net", "full@example.net"] });
    let id = mailing(&world, "some", to).await;

    let (create, _) = world.create_at(id, "Some").await;
    let event = world.succeeds(create).await;
    assert_eq!(
        details(&event)["refused"],
        json!([
            { "address": "unknown@example.net", "code": 550, "enhanced": "5.1.1" },
            { "address": "full@example.net", "code": 452, "enhanced": "4.2.2" },
        ])
    );
    assert_eq!(
        mails(&world, "some")[0].fields["to"],
        json!(["ops@example.net"])
    );

    let nobody = Fault::status(550)
        .body(json!("5.1.1 User unknown"))
        .on("rcpt")
        .times(0);
    fault(&world, "some", nobody);
    let (none, _) = world.create_at(id, "None").await;
    let event = world.fails(none, "external_not_found").await;
    assert_eq!(event["data"]["error"]["http_status"], 550, "{event:#}");
    assert_eq!(mails(&world, "some").len(), 1);
    world.close_the_ledger(&[create, none]).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_surely_not_sent_is_sent_again() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = mailing(&world, "later", json!({})).await;
    for (step, code, text) in [
        ("mail", 452, "4.3.1 insufficient system storage"),
        ("data_start", 452, "4.3.1 insufficient system storage"),
        ("data", 452, "4.3.1 insufficient system storage"),
    ] {
        let later = Fault::status(code).body(json!(text)).on(step);
        fault(&world, "later", later);
        let before = mails(&world, "later").len();

        let (create, _) = world.create_at(id, "Later").await;

        let event = world.succeeds(create).await;
        assert_eq!(event["data"]["attempt"], 2, "{step}: {event:#}");
        assert_eq!(details(&event)["sent_twice_perhaps"], Value::Null);
        assert_eq!(mails(&world, "later").len(), before + 1, "{step}");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_fails_or_is_sent_once_more_as_the_integration_wants() {
    let world = World::new().await;
    let worker = world.worker().await;
    let failing = mailing(&world, "failing", json!({})).await;
    fault(&world, "failing", lost_after_the_dot());
    let (create, _) = world.create_at(failing, "Lost").await;
    world.fails(create, "outcome_unknown").await;
    assert_eq!(mails(&world, "failing").len(), 1);

    let retrying = mailing(&world, "retrying", json!({ "on_unknown": "retry" })).await;
    let (create, ticket) = world.create_at(retrying, "Fine").await;
    world.succeeds(create).await;
    let changes = [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "title": "New" }),
        ),
        (
            "ticket.comment",
            json!({ "ticket_id": ticket, "body": "b" }),
        ),
        (
            "ticket.assign",
            json!({ "ticket_id": ticket, "assigned_to_id": null }),
        ),
        (
            "ticket.status",
            json!({ "ticket_id": ticket, "status": "pending" }),
        ),
        (
            "ticket.attach",
            json!({ "ticket_id": ticket, "attachments": [{ "name": "a.txt",
                "content_base64": FILE }] }),
        ),
    ];
    for (command_type, data) in changes {
        fault(&world, "retrying", lost_after_the_dot());
        let before = mails(&world, "retrying").len();

        let command = world.publish(command_type, data).await;

        let event = world.succeeds(command).await;
        if command_type != "ticket.attach" {
            assert_eq!(details(&event)["sent_twice_perhaps"], true, "{event:#}");
        }
        let mails = mails(&world, "retrying");
        let [first, second] = &mails[before..] else {
            panic!("{command_type}: {} mails", mails.len() - before);
        };
        // Mailboxes fold what is the same.
        assert_eq!(first.key, second.key, "{command_type}");
        assert_eq!(
            first.fields["sha256"], second.fields["sha256"],
            "{command_type}"
        );
    }
    // Once more is not twice more.
    fault(&world, "retrying", lost_after_the_dot().times(2));
    let before = mails(&world, "retrying").len();
    let data = json!({ "ticket_id": ticket, "body": "gone" });
    let gone = world.publish("ticket.comment", data).await;
    world.fails(gone, "outcome_unknown").await;
    assert_eq!(mails(&world, "retrying").len(), before + 2);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_doubt_is_never_said_to_have_sent_nothing() {
    let world = World::new().await;
    world.set("TICKETWIRE__RETRY__SCHEDULE", r#"["2s","2s","2s"]"#);
    let worker = world.worker().await;
    let id = mailing(&world, "doubt", json!({ "on_unknown": "retry" })).await;
    let (create, ticket) = world.create_at(id, "Ticket").await;
    world.succeeds(create).await;
    let switch = async |enabled: bool| {
        let data = json!({ "integration_id": id, "enabled": enabled });
        let command = world.publish("integration.status", data).await;
        world.succeeds(command).await;
    };
    for (command_type, data) in [
        (
            "ticket.update",
            json!({ "ticket_id": ticket, "priority": "critical" }),
        ),
        (
            "ticket.assign",
            json!({ "ticket_id": ticket, "assigned_to_id": null }),
        ),
    ] {
        fault(&world, "doubt", lost_after_the_dot());
        let before = mails(&world, "doubt").len();
        let command = world.publish(command_type, data).await;
        let deferred = world.event(command, "deferred").await;
        assert_eq!(
            deferred["data"]["error"]["code"], "outcome_unknown",
            "{deferred:#}"
        );

        // The gate refuses it when it is due, and the mail may have been sent all the same.
        switch(false).await;
        wait_for("the gate", async || {
            let sql = "SELECT wait_reason FROM commands WHERE id = $1 AND state = 'deferred'";
            let reason = world.text(sql, &[&command]).await;
            (reason.as_deref() == Some("unknown_outcome")).then_some(())
        })
        .await;
        switch(true).await;

        let event = world.succeeds(command).await;
        assert_eq!(details(&event)["sent_twice_perhaps"], true, "{event:#}");
        assert_eq!(mails(&world, "doubt").len(), before + 2, "{command_type}");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_sent_twice_where_another_meets_a_fault() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = mailing(&world, "files", json!({})).await;
    let files: Vec<Value> = ["a.txt", "b.txt", "c.txt"]
        .into_iter()
        .map(|name| json!({ "name": name, "content_base64": FILE }))
        .collect();
    let names = |from: usize| -> Vec<String> {
        let mails = mails(&world, "files");
        let files = mails[from..].iter().flat_map(|mail| &mail.attachments);
        files.map(|file| file.name.clone()).collect()
    };
    let (create, ticket) = world.create_at(id, "Files").await;
    world.succeeds(create).await;
    let data = json!({ "ticket_id": ticket, "attachments": files });

    let later = Fault::status(452).body(json!("4.3.1 insufficient storage"));
    fault(&world, "files", later.on("data").skip(1));
    let attach = world.publish("ticket.attach", data.clone()).await;
    let event = world.succeeds(attach).await;
    assert_eq!(event["data"]["attempt"], 2, "{event:#}");
    assert_eq!(names(1), ["a.txt", "b.txt", "c.txt"]);

    // Where the second may have been sent, the third is not, and the first stays sent once.
    fault(&world, "files", lost_after_the_dot().skip(1));
    let attach = world.publish("ticket.attach", data).await;
    world.fails(attach, "outcome_unknown").await;
    assert_eq!(names(4), ["a.txt", "b.txt"]);

    // Those of a create go by mails of their own behind the ticket's.
    let data = json!({
        "title": "With files", "description": "d", "integration_id": id, "attachments": files,
    });
    let create = world.publish("ticket.create", data).await;
    world.succeeds(create).await;
    assert_eq!(names(6), ["a.txt", "b.txt", "c.txt"]);
    let mails = mails(&world, "files");
    let root = mails[6].key.as_str();
    assert!(
        mails[7..]
            .iter()
            .all(|mail| header(mail, "In-Reply-To") == Some(root))
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_used_with_tokens_of_its_provider() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut data = integration(&world, "token", &json!({}));
    data["auth_type"] = "oauth2".into();
    data["settings"]["oauth_provider"] = "google".into();
    data["settings"]["token_url"] = format!("{}/token", world.sandbox.url("email/token")).into();
    data["credentials"] = json!({
        "client_id": "c", "client_secret": PASSWORD, "refresh_token": "first", "username": "token",
    });
    let id = world.integration_of(data).await;

    let (create, _) = world.create_at(id, "Ticket").await;

    world.succeeds(create).await;
    let ledger = world.sandbox.ledger("email/token");
    assert_eq!(ledger.issues[0].fields["user"], "token");
    assert_eq!(ledger.count("token").received, 1, "one token for all");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_test_says_what_a_mail_server_lets_be_known() {
    let world = World::new().await;
    let worker = world.worker().await;
    let to = json!({ "to": ["ops@example.net", "unknown@example.net"] });
    let id = mailing(&world, "tested", to).await;
    let all = [
        "connection",
        "authentication",
        "permissions",
        "create_ticket",
    ];
    let data = json!({ "integration_id": id, "test_types": all });

    let test = world.publish("integration.test", data.clone()).await;
    let event = world.succeeds(test).await;
    assert_eq!(event["data"]["result"]["success"], true, "{event:#}");
    let shown = event["data"]["result"].to_string();
    assert!(
        shown.contains("1 of 2 recipients") && shown.contains("it stays"),
        "{shown}"
    );
    let mails = mails(&world, "tested");
    assert_eq!(mails.len(), 1);
    assert!(text(&mails[0]).starts_with("This is a test"), "{mails:?}");

    let denied = Fault::status(553).body(json!("5.7.1 not owned by user"));
    fault(&world, "tested", denied.on("mail").times(0));
    let test = world.publish("integration.test", data).await;
    let event = world.succeeds(test).await;
    assert_eq!(event["data"]["result"]["success"], false, "{event:#}");
    let shown = event["data"]["result"].to_string();
    assert!(
        shown.contains("the mail server refused the sender"),
        "{shown}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_the_password_back_is_not_believed() {
    let world = World::new().await;
    let worker = world.worker().await;
    let servers = [
        // At every step, in plain, and as it was sent.
        Scripted::new(&[
            b"220 hello c0rrect-h0rse-battery\r\n",
            b"250-c0rrect-h0rse-battery\r\n250 AUTH PLAIN\r\n",
            b"535 5.7.8 you said %, c0rrect-h0rse-battery\r\n",
        ])
        .await,
        Scripted::new(&[
            b"220 hello\r\n",
            b"250-server\r\n250 AUTH PLAIN\r\n",
            b"235 %\r\n",
            b"250 c0rrect-h0rse-battery\r\n",
            b"250 c0rrect-h0rse-battery\r\n",
            b"250 c0rrect-h0rse-battery\r\n",
            b"354 c0rrect-h0rse-battery\r\n",
            b"250 2.0.0 Ok: queued as c0rrect-h0rse-battery\r\n",
        ])
        .await,
        Scripted::new(&[
            b"220 hello\r\n",
            b"250-server\r\n250 AUTH PLAIN\r\n",
            b"235 ok\r\n",
            b"550 5.7.1 c0rrect-h0rse-battery AGJvdABjMHJyZWN0LWgwcnNlLWJhdHRlcnk=\r\n",
        ])
        .await,
    ];
    let mut shown = String::new();
    for (server, outcome) in servers.iter().zip(["failed", "succeeded", "failed"]) {
        let mut data = integration(&world, "bot", &json!({}));
        data["settings"]["smtp_port"] = server.address.port().into();
        let create = world.publish("integration.create", data).await;
        let made = world.succeeds(create).await;
        let id: Uuid = made["data"]["result"]["integration_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let sql = "WITH active AS (UPDATE integrations SET status = 'active', updated_at = now() \
                   RETURNING id) \
                   SELECT count(*) FROM active";
        world.count(sql).await;
        let (create, _) = world.create_at(id, "Ticket").await;
        let event = world.outcome(create).await;
        assert_eq!(event["data"]["outcome"], outcome, "{event:#}");
        let data = json!({ "integration_id": id, "test_types": ["connection", "authentication"] });
        let test = world.publish("integration.test", data).await;
        world.succeeds(test).await;
        assert!(
            server
                .heard()
                .iter()
                .any(|line| line.starts_with("AUTH PLAIN AGJvdABj"))
        );
    }
    for (_, event) in world.events.all() {
        shown.push_str(&event.to_string());
    }
    let tables = "SELECT (SELECT string_agg(c::text, ' ') \
                  FROM commands c) || (SELECT string_agg(t::text, ' ') FROM \
                  tickets t) || (SELECT string_agg(i::text, ' ') FROM integrations i) || (SELECT \
                  string_agg(a::text, ' ') FROM command_attempts a)";
    shown.push_str(&world.text(tables, &[]).await.unwrap());
    shown.push_str(&worker.log());
    shown.push_str(&http_get(worker.address, "/metrics").await.unwrap().1);
    assert!(shown.contains("queued as"), "there was something to see");
    for secret in [PASSWORD, "c0rrect", "AGJvdABjMHJy"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_takes_mails_of_who_gives_no_credentials() {
    let world = World::new().await;
    let worker = world.worker().await;
    let open = json!({ "requires_auth": false });
    world.sandbox.configure("email/relay", open).unwrap();
    let mut data = integration(&world, "relay", &json!({ "to": ["ops@relay.example"] }));
    data["auth_type"] = "custom".into();
    data["credentials"] = json!({});
    let id = world.integration_of(data).await;

    let (create, _) = world.create_at(id, "Ticket").await;

    world.succeeds(create).await;
    let mails = mails(&world, "relay");
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].fields["user"], Value::Null);
    let row = world.integration_row(id).await;
    assert_eq!(row["settings"]["smtp_host"], "127.0.0.1", "{row:#}");
    drop(worker);
}
