//! What a person configures is checked when it is given, by commands and on the command line alike:
//! every fault at once, each with its field and its remedy, and no secret is kept where it is not
//! encrypted.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{World, output};

/// Stands for every value that must not be shown or kept.
const HIDDEN: &str = "h1dd3n-v4lu3";

/// The data of `integration.create` that has no fault.
fn sound(world: &World, platform: &str) -> Value {
    match platform {
        "jira" => {
            json!({ "name": "N", "platform_name": "jira",
                "base_url": world.sandbox.url("configured"),
            "credentials": { "email": "bot@example.test", "api_token": "s3cr3t-t0k3n" },
            "settings": { "project_key": "SUP" } })
        }
        "slack" => json!({ "name": "N", "platform_name": "slack", "auth_type": "bearer",
            "credentials": { "bot_token": "xoxb-s3cr3t" },
            "settings": { "channel": "C0SUPPORT" } }),
        _ => json!({ "name": "N", "platform_name": "webhook", "auth_type": "custom",
            "credentials": { "signing_secret": "whsec_czNjcjN0LXQwazNu" },
            "settings": { "url": "https://hooks.example/in" } }),
    }
}

/// An integration that is not tested yet.
async fn made(world: &World, data: Value) -> Uuid {
    let create = world.publish("integration.create", data).await;
    let event = world.succeeds(create).await;
    let id = event["data"]["result"]["integration_id"].as_str();
    id.unwrap().parse().unwrap()
}

/// One value put over another; null takes away.
fn put_over(below: &mut Value, over: &Value) {
    for (name, value) in over.as_object().unwrap() {
        match value {
            Value::Object(_) => put_over(&mut below[name], value),
            Value::Null => drop(below.as_object_mut().unwrap().remove(name)),
            value => below[name] = value.clone(),
        }
    }
}

/// What is given, where its fault is, and a part of what is said of it.
fn cases() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let url = |end: &str| format!("https://hooks.example/in{end}");
    vec![
        (
            "jira",
            json!({ "api_version": "4" }),
            "api_version",
            "must be 2 or 3",
        ),
        (
            "jira",
            json!({ "api_version": "2" }),
            "api_version",
            "credentials of Cloud",
        ),
        (
            "jira",
            json!({ "credentials": { "email": "bot@example.test",
                "api_token": format!(
                    "{HIDDEN}\r\nX: y") } }),
            "credentials.api_token",
            "line break",
        ),
        (
            "jira",
            json!({ "credentials": { "email": "bot@example.test", "api_token": 123_456_789 } }),
            "credentials.api_token",
            "put it in quotes",
        ),
        (
            "jira",
            json!({ "credentials": { "email": HIDDEN, "api_token": "s3cr3t-t0k3n" } }),
            "credentials.email",
            "no e-mail address",
        ),
        (
            "jira",
            json!({ "settings": { "projectkey": HIDDEN } }),
            "settings.projectkey",
            "did you mean project_key?",
        ),
        (
            "jira",
            json!({ "settings": { "project_key": "sup" } }),
            "settings.project_key",
            "capital letter",
        ),
        (
            "jira",
            json!({ "settings": { "default_issue_type": " " } }),
            "settings.default_issue_type",
            "is blank",
        ),
        (
            "jira",
            json!({ "settings": { "api_token": HIDDEN } }),
            "settings.api_token",
            "belongs in credentials",
        ),
        (
            "jira",
            json!({ "settings": { "otherSecret": HIDDEN } }),
            "settings.otherSecret",
            "belongs in credentials",
        ),
        (
            "jira",
            json!({ "base_url": "https://jira.example/?a=1" }),
            "base_url",
            "query",
        ),
        (
            "jira",
            json!({ "base_url": format!("https://jira.example/?token={HIDDEN}") }),
            "base_url",
            "in credentials",
        ),
        (
            "slack",
            json!({ "settings": { "broadcast_status": "yes" } }),
            "settings.broadcast_status",
            "true or false",
        ),
        (
            "slack",
            json!({ "settings": { "channel": "a b" } }),
            "settings.channel",
            "channel's id",
        ),
        (
            "webhook",
            json!({ "settings": { "url": url(&format!("?sig={HIDDEN}")) } }),
            "settings.url",
            "in credentials",
        ),
        (
            "webhook",
            json!({ "settings": { "url": format!("https://bot:{HIDDEN}@hooks.example/in") } }),
            "settings.url",
            "in credentials",
        ),
        (
            "webhook",
            json!({ "settings": { "url": url("#there") } }),
            "settings.url",
            "fragment",
        ),
        (
            "webhook",
            json!({ "settings": { "payload_template": { "text": "{{data.titel}}" } } }),
            "settings.payload_template",
            "{{data.titel}}",
        ),
        (
            "webhook",
            json!({ "credentials": { "signing_secret": "whsec_czNjcjN0LXQwazNu",
            "headers": { "X-Key": format!("{HIDDEN}\nY: z") } } }),
            "credentials.headers",
            "X-Key",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_by_every_door_at_creation_and_at_a_change() {
    let world = World::new().await;
    let worker = world.worker().await;
    let organization = world.organization.to_string();
    let mut ids = Map::new();
    for platform in ["jira", "slack", "webhook"] {
        let id = made(&world, sound(&world, platform)).await;
        ids.insert(platform.to_owned(), json!(id));
    }
    let before = world
        .text(
            "SELECT string_agg(i::text, ' ' ORDER BY id) FROM integrations i",
            &[],
        )
        .await;

    let mut commands = Vec::new();
    for (platform, over, field, part) in cases() {
        let mut data = sound(&world, platform);
        put_over(&mut data, &over);
        let text = data.to_string();
        let add = [
            "integration",
            "add",
            "--organization",
            &organization,
            "--data",
            &text,
        ];
        let add = output(&world.environment(), &add);
        let create = world.publish("integration.create", data).await;

        // A change of the address needs credentials, which would be another fault.
        let mut change = over.clone();
        if field == "base_url" || field == "settings.url" {
            change["credentials"] = sound(&world, platform)["credentials"].clone();
        }
        let text = change.to_string();
        let id = ids[platform].as_str().unwrap();
        let update = ["integration", "update", id, "--data", &text];
        let update = output(&world.environment(), &update);
        change["integration_id"] = ids[platform].clone();
        let changed = world.publish("integration.update", change).await;

        for (shown, status) in [(&add, 2), (&update, 1)] {
            let shown = (shown.status.code(), String::from_utf8_lossy(&shown.stderr));
            assert_eq!(shown.0, Some(status), "{platform} {over}: {}", shown.1);
            assert!(
                shown.1.contains(field) && shown.1.contains(part),
                "{platform} {over}: {}",
                shown.1
            );
            assert!(!shown.1.contains(HIDDEN), "{platform} {over}: {}", shown.1);
        }
        commands.extend([create, changed].map(|id| (id, platform, over.clone(), field, part)));
    }

    for (id, platform, over, field, part) in commands {
        let event = world.fails(id, "validation_failed").await;
        let fields = event["data"]["error"]["fields"].as_object().unwrap();
        assert_eq!(
            fields.keys().collect::<Vec<_>>(),
            [field],
            "{platform} {over}"
        );
        assert!(
            fields[field].as_str().unwrap().contains(part),
            "{platform} {over}: {fields:?}"
        );
    }
    let after = world
        .text(
            "SELECT string_agg(i::text, ' ' ORDER BY id) FROM integrations i",
            &[],
        )
        .await;
    assert_eq!(after, before, "nothing of it is written");
    for table in ["commands", "command_attempts", "outbox", "dead_letters"] {
        let sql = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t");
        let kept = world.text(&sql, &[]).await.unwrap();
        assert!(!kept.contains(HIDDEN), "{table}: {kept}");
    }
    assert!(!worker.log().contains(HIDDEN));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_rows_go_on_and_can_be_changed_in_something_else() {
    let world = World::new().await;
    let worker = world.worker().await;
    let id = world.integration;
    world
        .query(
            "UPDATE integrations SET api_version = '2', settings = settings || \
             '{\"colour\": \"red\", \"api_token\": \"old\"}' WHERE id = $1",
            &[&id],
        )
        .await;

    let (create, _) = world.create("With settings of another time").await;
    world.succeeds(create).await;
    // The version of a Data Center, with credentials of Cloud: those say which site it is.
    let paths = world.jira().recent.into_iter().map(|call| call.path);
    let paths: Vec<String> = paths.filter(|path| path.contains("/issue")).collect();
    assert!(
        !paths.is_empty() && paths.iter().all(|path| path.contains("/rest/api/3/")),
        "{paths:?}"
    );
    // All of them again, as a form would send them.
    let settings = json!({ "colour": "red", "default_issue_type": "Task " });
    let update = json!({ "integration_id": id, "settings": settings, "api_version": "2" });
    let update = world.publish("integration.update", update).await;
    world.succeeds(update).await;
    let row = world.integration_row(id).await;
    assert_eq!(
        row["settings"]["default_issue_type"], "Task",
        "without the blank"
    );
    let away = json!({ "integration_id": id, "settings": { "colour": null, "api_token": null } });
    let away = world.publish("integration.update", away).await;
    world.succeeds(away).await;
    assert_eq!(
        world.integration_row(id).await["settings"]["colour"],
        Value::Null
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_masked_is_taken_with_a_warning() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut data = sound(&world, "jira");
    data["credentials"]["api_token"] = json!(" t0k\n");
    data["settings"]["push_deletes"] = json!(true);

    let create = world.publish("integration.create", data.clone()).await;
    let event = world.succeeds(create).await;
    let warnings = event["data"]["result"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2, "{event:#}");
    assert!(
        warnings[0]
            .as_str()
            .unwrap()
            .starts_with("credentials.api_token ")
    );
    assert!(
        warnings[1]
            .as_str()
            .unwrap()
            .starts_with("settings.push_deletes ")
    );

    let id = event["data"]["result"]["integration_id"].as_str().unwrap();
    let text = json!({ "credentials": data["credentials"] }).to_string();
    let update = ["integration", "update", id, "--data", &text];
    let shown = output(&world.environment(), &update);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("warning: credentials.api_token "), "{shown}");
    let organization = world.organization.to_string();
    let text = data.to_string();
    let add = world.cli(&[
        "integration",
        "add",
        "--organization",
        &organization,
        "--data",
        &text,
    ]);
    assert_eq!(add["warnings"].as_array().unwrap().len(), 2, "{add:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_by_default_fails_for_a_project_that_does_not_exist() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut data = sound(&world, "jira");
    data["settings"]["project_key"] = json!("NOPE");
    let id = made(&world, data).await;

    let test = world
        .publish("integration.test", json!({ "integration_id": id }))
        .await;
    let result = world.succeeds(test).await["data"]["result"].clone();

    assert_eq!(result["success"], false, "{result:#}");
    let tests = result["tests"].as_array().unwrap();
    let names: Vec<&str> = tests
        .iter()
        .map(|test| test["test"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["connection", "authentication", "permissions"]);
    assert_eq!(tests[1]["success"], true, "{result:#}");
    let fault = tests[2]["error"]["fields"]["settings.project_key"]
        .as_str()
        .unwrap();
    assert!(fault.contains("NOPE"), "{fault}");
    assert_eq!(result["status_after"], "pending");
    let shown = output(
        &world.environment(),
        &["integration", "test", &id.to_string()],
    );
    assert_eq!(shown.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("settings.project_key"), "{shown}");

    let mend = json!({ "integration_id": id, "settings": { "project_key": "SUP" } });
    let mend = world.publish("integration.update", mend).await;
    world.succeeds(mend).await;
    let test = world
        .publish("integration.test", json!({ "integration_id": id }))
        .await;
    let result = world.succeeds(test).await["data"]["result"].clone();
    assert_eq!(result["status_after"], "active", "{result:#}");
    drop(worker);
}
