//! The command line: exit status, one JSON document, no panic, no secret.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::json;
use ticketwire::domain::Platform;

use crate::support::{SITE, World, http_get, output, wait_for};

fn bare() -> BTreeMap<String, String> {
    BTreeMap::new()
}

#[test]
fn bad_settings_are_all_told_at_once_with_key_origin_and_remedy() {
    let environment = BTreeMap::from(
        [
            ("TICKETWIRE__DISPATCH__LEASE", "10s"),
            ("TICKETWIRE__AMQP__PREFETCH", "lots"),
            ("TICKETWIRE__WORKER__DRIAN_TIMEOUT", "5s"),
            (
                "TICKETWIRE__SECRETS__KEYS",
                r#"["k:bm90LWEta2V5LW9mLXRoaXJ0eS10d28="]"#,
            ),
            ("DATABASE_URL", "mysql://u:h1dden@h/db"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );

    let output = output(&environment, &["run"]);

    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    for part in [
        "dispatch.lease",
        "TICKETWIRE__AMQP__PREFETCH",
        "worker.drian_timeout",
        "secrets.keys",
        "database.url",
    ] {
        assert!(err.contains(part), "{part} in: {err}");
    }
    assert!(
        !err.contains("h1dden") && !err.contains("bm90LWEt"),
        "{err}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn bad_usage_exits_2_and_help_shows_examples() {
    assert_eq!(output(&bare(), &["explode"]).status.code(), Some(2));
    assert_eq!(output(&bare(), &["send"]).status.code(), Some(2));
    for command in [
        "run",
        "migrate",
        "integration",
        "ticket",
        "schema",
        "send",
        "events",
        "command",
        "dead",
        "queue",
        "keys",
        "platforms",
        "doctor",
        "demo",
        "sandbox",
    ] {
        let help = output(&bare(), &[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        assert!(!help.stdout.is_empty(), "{command}");
    }
    let help = String::from_utf8(output(&bare(), &["--help"]).stdout).unwrap();
    assert!(
        help.contains("Example") && help.contains("ticketwire send"),
        "{help}"
    );
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ticketwire"))
        .args(["platforms", "jira"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());

    let output = child.wait_with_output().unwrap();

    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!err.contains("panicked"), "{err}");
    assert_eq!(output.status.code(), Some(0), "{err}");
}

#[test]
fn generated_keys_are_taken_together_as_their_names_differ() {
    let made = || {
        let made = output(&bare(), &["--json", "keys", "generate"]);
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        made["key"].as_str().unwrap().to_owned()
    };
    let keys = json!([made(), made()]).to_string();
    let environment = BTreeMap::from([("TICKETWIRE__SECRETS__KEYS".to_owned(), keys)]);
    let listed = output(&environment, &["--json", "platforms"]);
    assert!(listed.status.success());
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(listed.to_string().contains("jira"));
}

#[test]
fn compose_makes_a_key_once_that_the_program_takes_and_asks_for_the_worker_s_own_health() {
    let compose = include_str!("../../docker-compose.yml");
    let script = compose.split_once("      - |\n").unwrap().1;
    let script = script.split("\n\n").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir(root.join("config")).unwrap();
    let script = script
        .replace("$$", "$")
        .replace("/config", &root.join("config").display().to_string())
        // Who only the image has.
        .replace("chown ticketwire", ": chown");
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_ticketwire")).parent();
    let path = format!("{}:{}", programs.unwrap().display(), env!("PATH"));
    let file = root.join("config/default.toml");

    let made = || {
        let run = Command::new("sh")
            .args(["-euc", &script])
            .env("PATH", &path)
            .status();
        assert!(run.unwrap().success());
        std::fs::read_to_string(&file).unwrap()
    };
    let first = made();
    assert_eq!(made(), first, "the key stays");

    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketwire"));
        let output = command.args(arguments).current_dir(root).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert_eq!(program(&["platforms"]), (Some(0), String::new()));
    // It is this file that is read.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, first.replace(':', "!")).unwrap();
    let (code, err) = program(&["platforms"]);
    assert!(code == Some(2) && err.contains("secrets.keys"), "{err}");
    assert!(compose.contains(r#"test: ["CMD", "ticketwire", "health"]"#));
}

#[test]
fn what_goes_to_stderr_steers_no_terminal() {
    let asked = output(&bare(), &["--config", "\x1b[31m\u{202e}.toml", "platforms"]);

    let said = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(asked.status.code(), Some(2), "{said}");
    assert!(
        said.contains("\\u{1b}[31m\\u{202e}.toml") && !said.contains(['\x1b', '\u{202e}']),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_can_be_sent_followed_shown_cancelled_and_resolved() {
    let world = World::new().await;
    let worker = world.worker().await;
    let organization = world.organization.to_string();
    let data =
        json!({ "title": "By hand", "description": "…", "integration_id": world.integration });

    let sent = world.cli(&[
        "send",
        "ticket.create",
        "--organization",
        &organization,
        "--wait",
        "--data",
        &data.to_string(),
    ]);
    assert_eq!(sent["data"]["outcome"], "succeeded", "{sent:#}");
    let id = sent["data"]["command_id"].as_str().unwrap();
    let shown = world.cli(&["command", "show", id]);
    assert_eq!(shown["command"]["state"], "succeeded", "{shown:#}");
    assert_eq!(
        shown["attempts"].as_array().map(Vec::len),
        Some(1),
        "{shown:#}"
    );

    // Nothing may be sent of a cancelled one.
    world.cli(&["integration", "disable", &world.integration.to_string()]);
    world.cli(&["integration", "enable", &world.integration.to_string()]);
    let waiting = world
        .publish(
            "ticket.comment",
            json!({ "ticket_id": uuid::Uuid::new_v4(), "body": "For nobody" }),
        )
        .await;
    world.state(waiting, "pending").await;
    let again = world.cli(&["command", "retry", &waiting.to_string()]);
    assert_eq!(again["under_way"], json!([waiting]), "{again}");
    world.cli(&["command", "cancel", &waiting.to_string()]);
    let event = world.outcome(waiting).await;
    assert_eq!(event["data"]["outcome"], "cancelled", "{event:#}");

    // A person knows what nobody else does.
    world.fault(json!({ "kind": "reset_after_store", "operation": "create_issue" }));
    world.fault(json!({ "kind": "status", "status": 503, "operation": "search", "times": 0 }));
    let (unknown, _) = world.create("Who knows").await;
    world.event(unknown, "deferred").await;
    assert!(worker.stop().await.success());
    let key = world.jira().issues.last().unwrap().key.clone();
    world.cli(&[
        "command",
        "resolve",
        &unknown.to_string(),
        "--happened",
        &key,
    ]);
    let worker = world.worker().await;
    let event = world.succeeds(unknown).await;
    assert_eq!(
        event["data"]["result"]["integration_result"]["external_ticket_id"],
        key.as_str()
    );
    let shown = world.cli(&["command", "show", &unknown.to_string()]);
    let decided = &shown["decisions"][0];
    assert_eq!(decided["by"], "an operator", "{shown:#}");
    assert!(decided["at"].is_string(), "{shown:#}");
    assert!(
        decided["what"].as_str().unwrap().contains(&key),
        "{shown:#}"
    );

    // The other answer leaves its trace, too: in the attempts, which outlive the next run.
    world.clear_faults();
    world.fault(json!({ "kind": "reset_after_store", "operation": "create_issue" }));
    world.fault(json!({ "kind": "status", "status": 503, "operation": "search", "times": 0 }));
    let (denied, _) = world.create("Not so").await;
    world.event(denied, "deferred").await;
    world.cli(&[
        "command",
        "resolve",
        &denied.to_string(),
        "--did-not-happen",
    ]);
    world.succeeds(denied).await;
    let shown = output(
        &world.environment(),
        &["command", "show", &denied.to_string()],
    );
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let decided = shown
        .lines()
        .find(|line| line.trim().starts_with("decided"));
    assert!(
        decided.is_some_and(|line| line.contains("an operator said that it did not happen")),
        "{shown}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_replayed_and_dropped() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let id = uuid::Uuid::now_v7();
        let data = json!({ "title": "T", "description": "d", "integration_id": world.integration });
        let message = crate::support::command("ticket.create", id, world.organization, &data);
        // With a life of its own in the queue, which ends before a worker comes.
        let mut message = crate::support::Message::of(&message);
        message.properties = message.properties.with_expiration("1".into());
        world.send(&[message]).await;
        ids.push(id.to_string());
    }
    let worker = world.worker().await;
    let letters = wait_for("the dead letters", async || {
        let list = world.cli(&["dead", "list"]);
        list.as_array().filter(|rows| rows.len() == 2).cloned()
    })
    .await;

    let number = |index: usize| letters[index]["id"].to_string();
    assert_eq!(letters[0]["reason"], "expired", "{letters:#?}");
    let shown = world.cli(&["dead", "show", &number(0)]);
    assert!(
        ids.iter().any(|id| shown.to_string().contains(id)),
        "{shown:#}"
    );
    let replayed = ids
        .iter()
        .find(|id| shown.to_string().contains(*id))
        .unwrap();
    world.cli(&["dead", "replay", &number(0)]);
    world.succeeds(replayed.parse().unwrap()).await;
    world.cli(&["dead", "drop", &number(1)]);

    // One that is not there is no success, whatever is done with it.
    for arguments in [
        ["dead", "drop", "987654"],
        ["dead", "show", "987654"],
        ["dead", "replay", "987654"],
    ] {
        let failed = output(&world.environment(), &arguments);
        let err = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(1), "{arguments:?}");
        assert!(
            err.contains("there is no dead letter 987654"),
            "{arguments:?}: {err}"
        );
    }
    let typo = output(
        &world.environment(),
        &["dead", "list", "--reason", "nonsense"],
    );
    let err = String::from_utf8_lossy(&typo.stderr).into_owned();
    assert_eq!(typo.status.code(), Some(2), "{err}");
    assert!(
        err.contains("invalid_command") && err.contains("unroutable"),
        "{err}"
    );
    let none = output(
        &world.environment(),
        &["dead", "list", "--reason", "unknown_type"],
    );
    assert_eq!(none.status.code(), Some(0));

    let left = world.cli(&["dead", "list"]);
    assert!(
        !left.to_string().contains(&format!("\"id\":{}", number(1))),
        "{left}"
    );
    assert_eq!(world.jira().issues.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_where_all_is_well_and_names_what_is_not() {
    let world = World::new().await;
    let worker = world.worker().await;
    let well = output(&world.environment(), &["doctor"]);
    assert_eq!(
        well.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&well.stdout)
    );

    let mut environment = world.environment();
    environment.remove("TICKETWIRE__SECRETS__KEYS");
    environment.insert(
        "AMQP_URL".into(),
        "amqp://guest:wr0ng@127.0.0.1:1/%2f".into(),
    );
    let sick = output(&environment, &["doctor"]);

    let text = String::from_utf8_lossy(&sick.stdout);
    assert_eq!(sick.status.code(), Some(1), "{text}");
    assert!(
        text.contains("keys generate") && text.contains("amqp.url"),
        "{text}"
    );
    assert!(!text.contains("wr0ng"), "{text}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_what_was_done() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, _) = world.create("Counted").await;
    world.succeeds(create).await;
    world.quiet().await;

    let (status, health) = http_get(worker.address, "/health").await.unwrap();
    assert_eq!(status, 200, "{health}");
    let (status, _) = http_get(worker.address, "/health/live").await.unwrap();
    assert_eq!(status, 200);
    let (_, metrics) = http_get(worker.address, "/metrics").await.unwrap();
    for line in [
        "ticketwire_commands_received_total{outcome=\"enqueued\"} 1",
        "ticketwire_commands_received_total{outcome=\"rejected\"} 0",
        "ticketwire_command_outcomes_total{command_type=\"ticket.create\",\
         platform_name=\"jira\",outcome=\"succeeded\",error_code=\"none\"} 1",
        "ticketwire_events_published_total{outcome=\"confirmed\"} 3",
        "ticketwire_broker_connection_up{role=\"consuming\"} 1",
        "ticketwire_backlog_rows{state=\"running\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in:\n{metrics}");
    }
    assert!(!metrics.contains(&create.to_string()), "ids are no labels");

    // What waits for its time is no reason to wake anybody: it is not counted as due.
    world.fault(json!({ "kind": "status", "status": 503, "times": 0 }));
    let (deferred, _) = world.create("Later").await;
    world.event(deferred, "deferred").await;
    wait_for("the deferred command to be counted as such", async || {
        let (_, metrics) = http_get(worker.address, "/metrics").await?;
        let has = |line: &str| metrics.contains(line);
        (has("ticketwire_backlog_rows{state=\"later\"} 1")
            && has("ticketwire_backlog_rows{state=\"due\"} 0"))
        .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_the_main_job_and_exits_0() {
    let world = World::new().await;
    let environment = world.environment();

    let shown = tokio::task::spawn_blocking(move || output(&environment, &["demo"]))
        .await
        .unwrap();

    let out = String::from_utf8_lossy(&shown.stdout);
    let err = String::from_utf8_lossy(&shown.stderr);
    assert_eq!(shown.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("3 tickets, 3 items, 1 comment"), "{out}");
    for part in [
        "ticket.external.commented.jira",
        "ticket.external.updated.jira",
        "The ticket is resolved and has the answer",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    // The story stands alone; what the worker logged is where it says.
    assert_eq!(err, "");
    let log = out
        .lines()
        .find_map(|line| line.strip_prefix("The worker's log goes to "));
    let log = log.unwrap().trim_end_matches('.');
    let lines = std::fs::read_to_string(log).unwrap();
    std::fs::remove_file(log).unwrap();
    assert!(
        lines.lines().count() > 1 && lines.contains("an attempt failed"),
        "{lines}"
    );
    // What is left can be found, and removed.
    let erase = out
        .lines()
        .find_map(|line| line.trim().strip_prefix("ticketwire erase --organization "));
    let gone = world.cli(&["erase", "--yes", "--organization", erase.unwrap()]);
    assert_eq!(gone["erased"], true, "{gone}");
    assert!(out.contains("ticketwire command list"), "{out}");
    assert!(!out.contains("secrets.keys"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_without_keys_says_that_its_own_is_gone_and_one_that_fails_leaves_no_queues() {
    let world = World::new().await;
    let mut environment = world.environment();
    environment.remove("TICKETWIRE__SECRETS__KEYS");
    // The worker's logs go with the world.
    environment.insert(
        "TMPDIR".into(),
        world.directory.path().display().to_string(),
    );
    let demo = async |environment: std::collections::BTreeMap<String, String>| {
        let demo = Command::new(env!("CARGO_BIN_EXE_ticketwire"))
            .arg("demo")
            .env_clear()
            .envs(environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let prefix = format!("ticketwire-demo-{}", demo.id());
        let ended = tokio::task::spawn_blocking(move || demo.wait_with_output().unwrap());
        let ended = ended.await.unwrap();
        let out = String::from_utf8_lossy(&ended.stdout).into_owned();
        let err = String::from_utf8_lossy(&ended.stderr).into_owned();
        (ended.status.code(), out, err, prefix)
    };

    let (code, out, err, _) = demo(environment.clone()).await;
    assert_eq!(code, Some(0), "{out}\n{err}");
    assert!(
        out.contains("As secrets.keys is empty") && out.contains("a key that ends with the demo"),
        "{out}"
    );

    let (server, _) = world.database_url.rsplit_once('/').unwrap();
    environment.insert("DATABASE_URL".into(), format!("{server}/tw_is_not_there"));
    let (code, out, err, prefix) = demo(environment).await;
    assert_eq!(code, Some(1), "{out}\n{err}");
    assert!(err.contains("migrate up --create"), "{err}");
    world.set("TICKETWIRE__AMQP__PREFIX", &prefix);
    assert_eq!(world.cli(&["queue", "list"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_a_ticket_on_every_platform_that_has_an_adapter() {
    let world = World::new().await;
    let environment = world.environment();
    let demo = ["demo", "--platform", "all"];

    let shown = tokio::task::spawn_blocking(move || output(&environment, &demo))
        .await
        .unwrap();
    let odd = output(&world.environment(), &["demo", "--platform", "jirra"]);

    let out = String::from_utf8_lossy(&shown.stdout);
    let err = String::from_utf8_lossy(&shown.stderr);
    assert_eq!(shown.status.code(), Some(0), "{out}\n{err}");
    let rows = out.lines().skip_while(|line| !line.starts_with("PLATFORM"));
    let rows: Vec<&str> = rows.skip(1).take_while(|line| !line.is_empty()).collect();
    for platform in Platform::ALL {
        let row = rows.iter().find(|row| row.starts_with(platform.as_str()));
        assert!(row.is_some(), "{platform}: {out}");
    }
    let log = out
        .lines()
        .find_map(|line| line.strip_prefix("The worker's log goes to "));
    std::fs::remove_file(log.unwrap().trim_end_matches('.')).unwrap();
    assert_eq!(odd.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_with_a_fault_in_common_run_again_together_after_a_preview_and_paced() {
    let world = World::new().await;
    let settings = [
        ("TICKETWIRE__RETRY__SCHEDULE", r#"["1h"]"#),
        ("TICKETWIRE__CIRCUIT__FAILURE_THRESHOLD", "50"),
    ];
    let worker = world.worker_with(&settings).await;
    let mut tickets = Vec::new();
    for number in 0..6 {
        let (create, ticket) = world.create(&format!("Ticket {number}")).await;
        world.succeeds(create).await;
        tickets.push(ticket);
    }
    let away = json!({ "kind": "status", "status": 503, "operation": "update_issue", "times": 0 });
    world.fault(away);
    let mut commands = Vec::new();
    for ticket in tickets {
        let data = json!({ "ticket_id": ticket, "title": "Changed" });
        let command = world.publish("ticket.update", data).await;
        world.event(command, "deferred").await;
        commands.push(command);
    }
    let (other, _) = world.create_at(uuid::Uuid::new_v4(), "Elsewhere").await;
    world.fails(other, "integration_not_found").await;
    world.clear_faults();
    let filter = [
        "command",
        "retry",
        "--code",
        "platform_unavailable",
        "--since",
        "5m",
    ];
    let environment = world.environment();

    let preview = output(&environment, &filter);
    let nothing = output(&environment, &["command", "retry"]);
    let before = world
        .count("SELECT count(*) FROM commands WHERE state = 'deferred'")
        .await;
    let started = std::time::Instant::now();
    let done = world.cli(&[&filter[..], &["--rate", "10", "--yes"]].concat());

    assert_eq!(before, 6, "a preview changes nothing");
    let shown = String::from_utf8_lossy(&preview.stdout);
    assert!(
        shown.contains("6 match") && shown.contains("platform_unavailable"),
        "{shown}"
    );
    assert_eq!(nothing.status.code(), Some(2));
    assert_eq!(done, json!({ "matched": 6, "retried": 6 }));
    assert!(
        started.elapsed().as_millis() >= 500,
        "ten a second, one by one"
    );
    for command in commands {
        world.succeeds(command).await;
    }
    world.state(other, "failed").await;
    drop(worker);
}

#[test]
fn a_shell_gets_completions_without_any_configuration() {
    let environment = std::collections::BTreeMap::from([(
        "TICKETWIRE__AMQP__PREFETCH".to_owned(),
        "not a number".to_owned(),
    )]);
    for shell in ["bash", "zsh", "fish"] {
        let made = output(&environment, &["completions", shell]);

        let script = String::from_utf8_lossy(&made.stdout);
        assert_eq!(made.status.code(), Some(0), "{shell}");
        assert!(script.contains("did-not-happen"), "{shell}: {script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_may_be_shortened_and_integrations_named() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Short").await;
    world.succeeds(create).await;
    let (other, _) = world.create("Shorter").await;
    world.succeeds(other).await;
    let (id, ticket) = (create.to_string(), ticket.to_string());
    let refused = |arguments: &[&str]| {
        let failed = output(&world.environment(), arguments);
        let err = String::from_utf8_lossy(&failed.stderr).into_owned();
        (failed.status.code(), err)
    };

    // Two ids of one moment may begin alike for all but their end.
    let shown = world.cli(&["command", "show", &id[..35]]);
    assert_eq!(shown["command"]["id"], id.as_str(), "{shown:#}");
    let shown = world.cli(&["ticket", "show", &ticket[..13]]);
    assert_eq!(shown["ticket"]["ticket_id"], ticket.as_str(), "{shown:#}");
    for named in ["Jira", "jira", &world.integration.to_string()[..8]] {
        let listed = world.cli(&["command", "list", "--integration", named]);
        assert_eq!(
            listed.as_array().map(Vec::len),
            Some(2),
            "{named}: {listed}"
        );
        let listed = world.cli(&["ticket", "list", "--integration", named]);
        assert_eq!(
            listed["tickets"].as_array().map(Vec::len),
            Some(2),
            "{named}: {listed}"
        );
    }

    let (code, err) = refused(&["command", "show", &id[..1]]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains(&id) && err.contains(&other.to_string()),
        "{err}"
    );
    let (code, err) = refused(&["command", "list", "--integration", "Jiro"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("\"Jiro\"") && err.contains("integration list"),
        "{err}"
    );
    let (code, err) = refused(&["command", "cancel", "xyz"]);
    assert_eq!(code, Some(2), "{err}");
    let absent = uuid::Uuid::new_v4().to_string();
    for arguments in [
        vec!["command", "show", &absent],
        vec!["command", "retry", &absent],
        vec!["command", "cancel", &absent],
        vec!["command", "resolve", &absent, "--did-not-happen"],
        vec!["ticket", "show", &absent],
    ] {
        let (code, err) = refused(&arguments);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(err.contains(&absent), "{arguments:?}: {err}");
    }
    drop(worker);
}

#[test]
fn what_is_none_of_a_closed_set_is_refused_with_the_set() {
    for (arguments, valid) in [
        (["command", "list", "--code", "nonsense"], "outcome_unknown"),
        (
            ["command", "retry", "--code", "nonsense"],
            "attempts_exhausted",
        ),
        (["command", "list", "--state", "nonsense"], "deferred"),
        (["command", "list", "--type", "nonsense"], "ticket.create"),
        (["ticket", "list", "--status", "nonsense"], "in_progress"),
        (["ticket", "list", "--category", "nonsense"], "billing"),
        (["ticket", "list", "--priority", "nonsense"], "critical"),
        (["ticket", "list", "--urgency", "nonsense"], "critical"),
        (["ticket", "list", "--sort-by", "nonsense"], "updated_at"),
        (["ticket", "list", "--sort-order", "nonsense"], "desc"),
    ] {
        let refused = output(&bare(), &arguments);

        let err = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains(valid), "{arguments:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_may_name_its_integration_and_shorten_ids_within_its_organization() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Short").await;
    world.succeeds(create).await;
    let organization = world.organization.to_string();
    let send = |organization: &str, command_type: &str, data: serde_json::Value| {
        let data = data.to_string();
        let arguments = ["send", command_type, "--organization", organization];
        let further = ["--data", &data, "--wait", "--json"];
        let made = output(&world.environment(), &[arguments, further].concat());
        let event: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap_or_default();
        let err = String::from_utf8_lossy(&made.stderr).into_owned();
        (made.status.code(), event, err)
    };

    let integration = world.integration.to_string();
    let at = |named: &str| {
        let data = json!({ "title": "T", "description": "d", "integration_id": named });
        send(&organization, "ticket.create", data)
    };
    for named in ["Jira", "jira", &integration[..8], &integration] {
        let (code, event, err) = at(named);
        assert_eq!(code, Some(0), "{named}: {err}");
        assert_eq!(
            event["data"]["integration_id"],
            integration.as_str(),
            "{named}"
        );
    }
    let short = &ticket.to_string()[..13];
    for (command_type, data) in [
        (
            "ticket.comment",
            json!({ "ticket_id": short, "body": "We are on it" }),
        ),
        (
            "ticket.bulk_update",
            json!({ "ticket_ids": [short], "updates": { "priority": "high" } }),
        ),
    ] {
        let (code, event, err) = send(&organization, command_type, data);
        assert_eq!(code, Some(0), "{command_type}: {err}");
        assert_eq!(event["data"]["outcome"], "succeeded", "{event:#}");
    }

    // Nothing of that name, more than one, and another tenant's are refused before anything is
    // sent.
    let count = "SELECT count(*) FROM commands";
    let before = world.count(count).await;
    let (code, _, err) = at("Jiro");
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("\"Jiro\"") && err.contains("integration list"),
        "{err}"
    );
    let second = world.add_integration(SITE, &json!({})).await.to_string();
    let (code, _, err) = at("Jira");
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&integration) && err.contains(&second), "{err}");
    let stranger = uuid::Uuid::new_v4().to_string();
    let comment = json!({ "ticket_id": short, "body": "Not mine" });
    let (code, _, err) = send(&stranger, "ticket.comment", comment);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&stranger) && err.contains(short), "{err}");
    // The id of a ticket that is to be made is nothing to look for.
    let own = json!({ "ticket_id": short, "title": "T", "description": "d" });
    let (code, _, err) = send(&organization, "ticket.create", own);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("ticket_id must be a UUID"), "{err}");
    assert_eq!(world.count(count).await, before);
    drop(worker);
}

#[test]
fn a_type_that_is_misspelled_is_answered_with_the_one_that_is_meant() {
    let organization = uuid::Uuid::new_v4().to_string();
    let send = |name: &str| {
        let refused = output(&bare(), &["send", name, "--organization", &organization]);
        let err = String::from_utf8_lossy(&refused.stderr).into_owned();
        (refused.status.code(), err)
    };

    let (code, err) = send("tikcet.create");
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("did you mean ticket.create?"), "{err}");
    // Where none is near, all are named.
    let (code, err) = send("hello");
    assert_eq!(code, Some(2), "{err}");
    assert!(
        err.contains("ticket.create, ") && err.contains("webhook.received"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queues_of_a_prefix_are_removed_where_nobody_needs_them_any_more() {
    let world = World::new().await;
    // Read by nobody: the tests follow the events of the world's own prefix.
    let prefix = format!("{}_gone", world.topology.prefix());
    world.set("TICKETWIRE__AMQP__PREFIX", &prefix);
    let remove = |further: &[&str]| {
        let made = output(
            &world.environment(),
            &[&["queue", "remove"], further].concat(),
        );
        let err = String::from_utf8_lossy(&made.stderr).into_owned();
        (made.status.code(), err)
    };
    let (code, err) = remove(&["--yes"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains(&prefix) && err.contains("amqp.prefix"),
        "{err}"
    );

    let worker = world.worker().await;
    let (code, err) = remove(&["--yes"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains(&format!("1 read {prefix}.tickets")) && err.contains("--force"),
        "{err}"
    );
    assert!(worker.stop().await.success());
    let organization = world.organization.to_string();
    let data = json!({ "title": "T", "description": "d" }).to_string();
    let further = ["--organization", &organization, "--data", &data];
    let sent = output(
        &world.environment(),
        &[&["send", "ticket.create"][..], &further].concat(),
    );
    assert!(sent.status.success());
    let (code, err) = remove(&["--yes"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains(&format!("1 wait in {prefix}.tickets")),
        "{err}"
    );
    let worker = world.worker().await;
    wait_for("the command to be taken", async || {
        let listed = world.cli(&["queue", "list"]);
        let queues = listed.as_array().unwrap();
        assert_eq!(queues.len(), 5, "{listed}");
        let tickets = queues
            .iter()
            .find(|row| row["queue"] == format!("{prefix}.tickets"));
        (tickets.unwrap()["ready"] == 0).then_some(())
    })
    .await;
    assert!(worker.stop().await.success());

    // A dashboard's queue gets no event any more if the exchange goes, and is not bound anew.
    let connection = ticketwire::broker::connect(&world.amqp_url.as_str().into(), "tests").await;
    let connection = connection.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let dashboard = channel
        .queue_declare(
            "".into(),
            lapin::options::QueueDeclareOptions {
                exclusive: true,
                ..lapin::options::QueueDeclareOptions::default()
            },
            lapin::types::FieldTable::default(),
        )
        .await
        .unwrap();
    let bind = async |queue: &str| {
        channel
            .queue_bind(
                queue.into(),
                format!("{prefix}.events").into(),
                "#".into(),
                lapin::options::QueueBindOptions::default(),
                lapin::types::FieldTable::default(),
            )
            .await
    };
    bind(dashboard.name().as_str()).await.unwrap();
    let (code, err) = remove(&["--yes"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&format!("exchange {prefix}.events")), "{err}");
    let listed = world.cli(&["queue", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(5), "{listed}");
    channel
        .queue_delete(
            dashboard.name().clone(),
            lapin::options::QueueDeleteOptions::default(),
        )
        .await
        .unwrap();

    // Without a terminal nobody can be asked.
    let (code, err) = remove(&[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--yes"), "{err}");
    let removed = world.cli(&["queue", "remove", "--yes"]);
    assert_eq!(
        removed["queues"].as_array().map(Vec::len),
        Some(5),
        "{removed}"
    );
    let exchanges = removed["exchanges"].as_array().map(Vec::len);
    assert_eq!(exchanges, Some(3), "{removed}");
    assert_eq!(world.cli(&["queue", "list"]), json!([]));
    let (code, err) = remove(&["--yes"]);
    assert_eq!(code, Some(1), "{err}");

    // What is in use goes where that is said.
    let worker = world.worker().await;
    let (code, err) = remove(&["--yes", "--force"]);
    assert_eq!(code, Some(0), "{err}");
    drop(worker);
    drop(remove(&["--yes", "--force"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed_and_a_container_is_told_whether_its_worker_lives() {
    let world = World::new().await;
    let health = |address: &str| {
        let mut environment = world.environment();
        environment.insert("TICKETWIRE__HTTP__LISTEN".into(), address.into());
        let asked = output(&environment, &["health"]);
        (
            asked.status.code(),
            String::from_utf8_lossy(&asked.stderr).into_owned(),
        )
    };
    let address = crate::support::free_address().to_string();
    let (code, err) = health(&address);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains(&address) && err.contains("http.listen"),
        "{err}"
    );

    let worker = world.worker().await;
    let (code, err) = health(&worker.address.to_string());
    assert_eq!(code, Some(0), "{err}");
    let listed = world.cli(&["worker", "list"]);
    assert_eq!(listed[0]["id"], "w1", "{listed}");
    assert_eq!(listed[0]["alive"], true, "{listed}");
    drop(worker);

    let (code, err) = health("");
    assert_eq!(code, Some(2), "{err}");
}
