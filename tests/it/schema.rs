//! The published contract: what is sent and what comes back is as the schemas say, and programs in
//! other languages can use it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};
use ticketwire::contract::schema::{asyncapi, example, json_schema};
use ticketwire::domain::CommandType;
use uuid::Uuid;

use crate::support::{FileServer, Message, SITE, World};

/// Packages are installed by one test at a time.
static INSTALLING: Mutex<()> = Mutex::new(());

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a tool to its end; `None` where it is not there or fails, which is said.
fn try_tool(command: &mut Command) -> Option<Output> {
    let name = format!("{command:?}");
    match command.output() {
        Ok(output) if output.status.success() => Some(output),
        Ok(output) => {
            println!("{name}: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("{name}: {error}");
            None
        }
    }
}

/// A folder with the Node examples and their packages; `None` where they cannot be had.
fn node() -> Option<PathBuf> {
    let _one = INSTALLING.lock().unwrap();
    let folder = root().join("target/examples-node");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(root().join("examples/node")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
    }
    if !folder.join("node_modules/.package-lock.json").is_file() {
        let arguments = ["install", "--no-audit", "--no-fund", "--loglevel=error"];
        try_tool(Command::new("npm").args(arguments).current_dir(&folder))?;
    }
    try_tool(Command::new("node").arg("--version"))?;
    Some(folder)
}

/// A Python with pika; `None` where it cannot be had.
fn python() -> Option<PathBuf> {
    let _one = INSTALLING.lock().unwrap();
    let folder = root().join("target/examples-python");
    let python = folder.join("bin/python");
    if !folder.join("ready").is_file() {
        try_tool(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        try_tool(Command::new(&python).args(["-m", "pip", "install", "--quiet", "pika==1.3.2"]))?;
        std::fs::write(folder.join("ready"), "").unwrap();
    }
    Some(python)
}

fn environment(world: &World) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("AMQP_URL", world.amqp_url.clone()),
        ("TICKETWIRE_PREFIX", world.topology.prefix().to_owned()),
        ("ORGANIZATION", world.organization.to_string()),
    ])
}

/// Runs an example to its end, which must be a good one, and returns what it printed.
async fn run(mut command: Command, world: &World, arguments: &[String]) -> String {
    command.envs(environment(world)).args(arguments);
    tokio::task::spawn_blocking(move || {
        let output = command.output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{command:?}: {out}\n{err}");
        out
    })
    .await
    .unwrap()
}

/// Every event so far is as its schema says.
fn check_events(world: &World) -> Vec<String> {
    let mut seen = Vec::new();
    for (_, event) in world.events.all() {
        let event_type = event["type"].as_str().unwrap().to_owned();
        let schema = json_schema(&event_type)
            .unwrap_or_else(|| panic!("{event_type} is published, not described"));
        let fault = jsonschema::validator_for(&schema)
            .unwrap()
            .validate(&event)
            .err();
        assert!(
            fault.is_none(),
            "{event_type}: {}\n{event:#}",
            fault.unwrap()
        );
        seen.push(event_type);
    }
    seen.sort();
    seen.dedup();
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_taken_by_the_worker_and_every_event_is_as_its_schema_says() {
    let world = World::new().await;
    let files = FileServer::start().await;
    let worker = world.worker().await;

    for command_type in CommandType::ALL {
        let mut command = example(*command_type);
        command["organizationid"] = json!(world.organization);
        if *command_type != CommandType::IntegrationRoute
            && command["data"].get("integration_id").is_some()
        {
            command["data"]["integration_id"] = json!(world.integration);
        }
        if *command_type == CommandType::TicketAttach {
            command["data"]["attachments"][0]["url"] = json!(files.url("/screen.png"));
        }
        let id: Uuid = command["id"].as_str().unwrap().parse().unwrap();
        // What would end or hide what the others need stays an example of a refusal.
        if matches!(
            command_type,
            CommandType::IntegrationDelete
                | CommandType::IntegrationStatus
                | CommandType::TicketDelete
        ) {
            command["organizationid"] = json!(Uuid::new_v4());
            command["expirytime"] = json!("2026-01-31T12:00:00Z");
        }
        world.send(&[Message::of(&command)]).await;
        let event = world.outcome(id).await;
        assert_ne!(event["data"]["outcome"], "rejected", "{event:#}");
    }
    let off = json!({ "integration_id": world.integration, "enabled": false });
    let off = world.publish("integration.status", off).await;
    world.succeeds(off).await;
    let rejected = world.publish("ticket.create", json!({ "titel": 1 })).await;
    world.outcome(rejected).await;
    world.quiet().await;

    let seen = check_events(&world);
    for expected in [
        "ticket.create.succeeded",
        "ticket.ai_create.succeeded",
        "ticket.bulk_update.succeeded",
        "ticket.create.rejected",
        "integration.update.succeeded",
        "integration.status.changed",
        "integration.health.changed",
        "integration.sync.succeeded",
    ] {
        assert!(
            seen.iter().any(|event| event == expected),
            "{expected}: {seen:?}"
        );
    }
    drop(worker);
}

#[test]
fn a_type_that_is_not_there_is_refused_with_those_that_are() {
    let output = crate::support::output(&BTreeMap::new(), &["schema", "json", "ticket.crate"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("ticket.create") && text.contains("integration.status.changed"),
        "{text}"
    );
    let output = crate::support::output(
        &BTreeMap::new(),
        &["schema", "json", "ticket.create.failed"],
    );
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        schema["properties"]["data"]["properties"]["outcome"]["const"],
        "failed"
    );
}

#[test]
fn a_parser_of_that_ecosystem_takes_the_document() {
    let Some(folder) = node() else {
        println!("skipped: no node with the packages of examples/node here");
        return;
    };
    let mut parser = Command::new("node")
        .arg("validate.mjs")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let document = asyncapi("ticketwire").to_string();
    parser
        .stdin
        .take()
        .unwrap()
        .write_all(document.as_bytes())
        .unwrap();

    let output = parser.wait_with_output().unwrap();

    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{err}");
    assert!(out.contains("3.0.0 carryOut,tell"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_in_python_and_node_create_a_ticket_and_a_reader_sees_it_from_the_beginning() {
    let world = World::new().await;
    let worker = world.worker().await;
    let arguments: Vec<String> = [
        world.sandbox.url(SITE).as_str(),
        "bot@example.test",
        "t0ken",
        "SUP",
    ]
    .map(str::to_owned)
    .to_vec();
    let (node, python) = tokio::task::spawn_blocking(|| (node(), python()))
        .await
        .unwrap();
    let mut made = Vec::new();
    match &node {
        Some(folder) => {
            let mut command = Command::new("node");
            command.arg("producer.mjs").current_dir(folder);
            made.push(run(command, &world, &arguments).await);
        }
        None => println!("skipped: no node with the packages of examples/node here"),
    }
    match &python {
        Some(python) => {
            let mut command = Command::new(python);
            command.arg(root().join("examples/python/producer.py"));
            made.push(run(command, &world, &arguments).await);
            let mut reader = Command::new(python);
            reader.arg(root().join("examples/python/events.py"));
            let log = run(reader, &world, &["--idle".into(), "3".into()]).await;
            let types: Vec<String> = log
                .lines()
                .map(|line| {
                    serde_json::from_str::<Value>(line).unwrap()["type"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                })
                .collect();
            let created = types
                .iter()
                .filter(|event| *event == "ticket.create.succeeded")
                .count();
            assert_eq!(created, made.len(), "{types:?}");
        }
        None => println!("skipped: no python3 with pika here"),
    }
    for result in &made {
        let result: Value = serde_json::from_str(result).unwrap();
        assert_eq!(result["integration_result"]["success"], true, "{result:#}");
    }
    assert_eq!(world.jira().issues.len(), made.len());
    drop(worker);
}
