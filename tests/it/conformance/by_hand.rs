//! The same checks on the command line, which has no worker: tokens are shared with the workers
//! there are, and mail is sent from here.

use futures_util::future::join_all;
use serde_json::{Value, json};
use ticketwire::domain::AuthType;
use ticketwire::platforms::{self, BaseUrl};

use super::{Row, all_rows};
use crate::support::{World, output};

/// An integration of a row at a site of its own; its name.
fn added(world: &World, row: &Row) -> String {
    let site = row.site("byhand");
    let base = world.sandbox.url(&site);
    let name = format!("{} by hand, {}", row.platform, row.name);
    let mut data = json!({
        "name": name, "platform_name": row.platform, "auth_type": row.auth_type,
        "credentials": row.credentials, "settings": row.settings,
    });
    if row.is_mail() {
        let settings = json!({ "requires_auth": row.logs_in() });
        let user = site.rsplit('/').next().unwrap();
        let address = format!("{}/{user}", row.platform);
        world.sandbox.configure(&address, settings).unwrap();
    }
    let facts = platforms::descriptor(row.platform);
    if !row.is_mail() && !matches!(facts.base_url, BaseUrl::Never(_)) {
        data["base_url"] = json!("{base}");
    }
    let places = [
        ("{base}", base.clone()),
        ("{site}", site.rsplit('/').next().unwrap().to_owned()),
        ("{smtp_host}", "127.0.0.1".to_owned()),
        ("{smtp_port}", world.sandbox.smtp().port().to_string()),
    ];
    let data = places
        .iter()
        .fold(data.to_string(), |text, (place, value)| {
            text.replace(place, value)
        });
    let organization = world.organization.to_string();
    world.cli(&[
        "integration",
        "add",
        "--organization",
        &organization,
        "--data",
        &data,
    ]);
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_is_tested_on_the_command_line_as_by_a_worker() {
    let world = World::new().await;
    let rows = all_rows();
    let names: Vec<String> = rows.iter().map(|row| added(&world, row)).collect();

    let run = |name: &String, more: &[&str]| {
        let mut line: Vec<String> = ["--json", "integration", "test", name]
            .map(str::to_owned)
            .into();
        line.extend(more.iter().map(|part| (*part).to_owned()));
        let environment = world.environment();
        tokio::task::spawn_blocking(move || {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let made = output(&environment, &line);
            let said: Value = serde_json::from_slice(&made.stdout).unwrap_or_default();
            let err = String::from_utf8_lossy(&made.stderr).into_owned();
            (made.status.success(), said, err)
        })
    };
    let usual = join_all(names.iter().map(|name| run(name, &[]))).await;
    // One card answers all that was asked of a flow.
    let flow = rows.iter().find(|row| row.name == "teams-flow").unwrap();
    let ledger = world.sandbox.ledger(&flow.site("byhand"));
    assert_eq!(ledger.count("flow").received, 1);
    let creates = ["--tests", "create_ticket"];
    let creates = join_all(names.iter().map(|name| run(name, &creates))).await;

    let mut faults = Vec::new();
    for ((row, usual), create) in rows.iter().zip(usual).zip(creates) {
        let (ok, said, err) = usual.unwrap();
        if !ok || said["status_after"] != "active" {
            faults.push(format!("{}: {said} {err}", row.name));
        }
        let (ok, said, err) = create.unwrap();
        if !ok {
            faults.push(format!("{}, create: {said} {err}", row.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    // What was fetched here is a worker's, too: it is kept, and nobody holds the lease any more.
    let oauth = rows
        .iter()
        .filter(|row| row.auth_type == AuthType::Oauth2)
        .count();
    let kept = world.count("SELECT count(*) FROM integration_tokens").await;
    assert!(
        oauth > 5 && usize::try_from(kept).unwrap() >= oauth,
        "{kept}"
    );
    let held = world
        .count("SELECT count(*) FROM integration_token_leases WHERE lease_until > now()")
        .await;
    assert_eq!(held, 0);
}
