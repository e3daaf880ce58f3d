//! What people see: lists that fit their terminal, states in colour, news in place of documents.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use unicode_width::UnicodeWidthStr as _;
use uuid::Uuid;

use crate::support::{Message, World, command, on_terminal, output, wait_for};

/// What a terminal shows, without the colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        made.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    made
}

/// A world in which every list has something in it, that is long: the ids of a failed command and
/// of its ticket.
async fn filled() -> (World, Uuid, Uuid) {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create(&"A title that is long ".repeat(20)).await;
    world.succeeds(create).await;
    let name = "The service desk of the northern branch, second floor, left";
    world.cli(&["integration", "update", "jira", "--name", name]);
    let body = "The sandbox says why, at length. ".repeat(9);
    world.fault(json!({
        "kind": "status", "status": 400, "operation": "update_issue", "times": 0,
        "body": { "errorMessages": [body], "errors": {} },
    }));
    let data = json!({ "ticket_id": ticket, "title": "Changed" });
    let failed = world.publish("ticket.update", data).await;
    world.fails(failed, "validation_failed").await;
    let odd = json!({ "title": "T", "description": 7, "integration_id": "not one" });
    let odd = command("ticket.create", Uuid::now_v7(), world.organization, &odd);
    world.send(&[Message::of(&odd)]).await;
    wait_for("the dead letter", async || {
        let list = world.cli(&["dead", "list"]);
        (list.as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    assert!(worker.stop().await.success());
    (world, failed, ticket)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_fits_the_terminal_and_a_pipe_gets_all_of_it() {
    let (world, failed, ticket) = filled().await;
    let environment = world.environment();
    let (failed, ticket) = (failed.to_string(), ticket.to_string());
    let integration = world.integration.to_string();

    // What is in full in a pipe, with --wide and on a wide terminal, and cut on a narrow one.
    let lists: [(&[&str], &[&str]); 8] = [
        (&["command", "list"], &[&failed, "The sandbox says why"]),
        (&["command", "show", &failed], &[]),
        (&["ticket", "list"], &[&ticket]),
        (&["ticket", "show", &ticket], &[]),
        (
            &["integration", "list"],
            &[
                &integration,
                "The service desk of the northern branch, second floor",
            ],
        ),
        (&["dead", "list"], &["integration_id"]),
        (&["platforms"], &[]),
        (&["migrate", "status"], &[]),
    ];
    for (list, whole) in lists {
        let piped = output(&environment, list);
        let piped = String::from_utf8_lossy(&piped.stdout).into_owned();
        let wide = [list, &["--wide"]].concat();
        let (wide, _) = on_terminal(&environment, 80, &wide);
        for text in whole {
            assert!(piped.contains(text), "{list:?}: {text} in:\n{piped}");
            assert!(wide.contains(text), "{list:?}: {text} in:\n{wide}");
        }
        for columns in [80, 200] {
            let (shown, succeeded) = on_terminal(&environment, columns, list);
            assert!(succeeded, "{list:?}: {shown}");
            assert!(shown.lines().count() > 1, "{list:?}: {shown}");
            for line in shown.lines() {
                let width = plain(line).width();
                assert!(width <= usize::from(columns), "{list:?}: {width}: {line}");
            }
            for text in whole.iter().filter(|_| columns == 80) {
                assert!(!shown.contains(text), "{list:?}: {text} in:\n{shown}");
            }
        }
    }

    // What is shown is enough to name the thing, and to see what is wrong.
    let (shown, _) = on_terminal(&environment, 80, &["command", "list", "--state", "failed"]);
    let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(
        failed.starts_with(row[0]) && row[0].len() < failed.len(),
        "{shown}"
    );
    let found = world.cli(&["command", "show", row[0]]);
    assert_eq!(found["command"]["id"], failed.as_str(), "{found:#}");
    assert_eq!(row[1..3], ["ticket.update", "failed"], "{shown}");
    let is_age = |text: &str| {
        let number = text.strip_suffix('s');
        number.is_some_and(|number| number.parse::<u8>().is_ok())
    };
    let place = row.windows(4).find(|place| place[..2] == ["jira", "SUP-1"]);
    let place = place.unwrap_or_else(|| panic!("no item in {shown}"));
    assert!(is_age(place[2]), "{shown}");
    assert!(place[3].starts_with("validation"), "{shown}");
    let (shown, _) = on_terminal(&environment, 200, &["command", "list", "--state", "failed"]);
    assert!(shown.contains("validation_failed: "), "{shown}");

    // COLUMNS says more than the terminal.
    let mut narrow = environment.clone();
    narrow.insert("COLUMNS".into(), "60".into());
    let (shown, _) = on_terminal(&narrow, 200, &["command", "list"]);
    let widest = shown.lines().map(|line| plain(line).width()).max();
    assert!((50..=60).contains(&widest.unwrap()), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_shows_what_was_made_and_what_was_left_out() {
    let (world, failed, ticket) = filled().await;

    let filter = [
        "command",
        "list",
        "--ticket",
        &ticket.to_string(),
        "--state",
        "succeeded",
    ];
    let listed = world.cli(&filter);
    let create = listed[0]["id"].as_str().unwrap();
    let shown = output(&world.environment(), &["command", "show", create]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();

    let item = shown.lines().find(|line| line.trim().starts_with("item "));
    let item = item.unwrap_or_else(|| panic!("no item in {shown}"));
    assert!(
        item.contains("SUP-1 http") && item.contains("/browse/SUP-1"),
        "{shown}"
    );
    let cut = shown
        .lines()
        .find(|line| line.contains("title: cut to 255"));
    assert!(
        cut.is_some_and(|line| line.trim().starts_with("details ")),
        "{shown}"
    );
    // Where nothing was made by it, what its ticket is.
    let shown = output(
        &world.environment(),
        &["command", "show", &failed.to_string()],
    );
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("  item           SUP-1\n"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_coloured_on_a_terminal_that_can_and_where_nobody_forbids_it() {
    let world = World::new().await;
    let list = ["integration", "list"];
    let with = |settings: &[(&str, &str)]| {
        let mut environment = world.environment();
        for (name, value) in settings {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        environment
    };
    let green = "\x1b[32mactive\x1b[0m";

    let (shown, _) = on_terminal(&with(&[("TERM", "xterm")]), 80, &list);
    assert!(shown.contains(green), "{shown:?}");
    let (shown, _) = on_terminal(&with(&[("TERM", "xterm"), ("NO_COLOR", "")]), 80, &list);
    assert!(shown.contains(green), "{shown:?}");
    for settings in [
        &[("TERM", "xterm"), ("NO_COLOR", "1")][..],
        &[("TERM", "dumb")],
    ] {
        let (shown, _) = on_terminal(&with(settings), 80, &list);
        assert!(
            shown.contains("active") && !shown.contains('\x1b'),
            "{shown:?}"
        );
    }
    let piped = output(&with(&[("TERM", "xterm")]), &list);
    assert!(!piped.stdout.contains(&b'\x1b'));
}

#[test]
fn the_facts_of_every_platform_fit_eighty_columns() {
    let environment = BTreeMap::new();
    for platform in ticketwire::domain::Platform::ALL {
        let (shown, succeeded) = on_terminal(&environment, 80, &["platforms", platform.as_str()]);
        assert!(succeeded, "{platform}: {shown}");
        for line in shown.lines() {
            assert!(line.width() <= 80, "{platform}: {line}");
        }
        let ways = || shown.lines().filter(|line| line.starts_with("auth_type "));
        let different: BTreeSet<&str> = ways().collect();
        assert_eq!(different.len(), ways().count(), "{platform}: {shown}");
        assert!(shown.contains("\nbase_url: "), "{platform}: {shown}");
    }
}

#[test]
fn credentials_that_stand_for_others_are_told_as_such() {
    let shown = output(&BTreeMap::new(), &["platforms", "github"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();

    let (_, app) = shown.split_once("auth_type custom (GitHub App)").unwrap();
    let (client, rest) = app.split_once("  or, in their place\n").unwrap();
    assert!(client.contains("   client_id "), "{shown}");
    assert!(rest.contains("   app_id "), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_says_what_came_of_it_or_what_is_known_when_nothing_came() {
    let world = World::new().await;
    let organization = world.organization.to_string();
    let sent = |data: &serde_json::Value, further: &[&str]| {
        let data = data.to_string();
        let arguments = ["send", "--organization", &organization, "--data", &data];
        let made = output(&world.environment(), &[&arguments[..], further].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (made.status.code(), text(&made.stdout), text(&made.stderr))
    };
    let create =
        json!({ "title": "News", "description": "d", "integration_id": world.integration });

    // Nobody is there to take it, which is said before anything is waited for. A dry run leaves
    // nothing behind.
    let started = std::time::Instant::now();
    let (code, out, err) = sent(&create, &["ticket.create", "--dry-run"]);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    for part in ["nothing was published", ".tickets", "`ticketwire run`"] {
        assert!(err.contains(part), "{part} in {err}");
    }
    assert!(started.elapsed().as_secs() < 30, "it waited");
    let (code, out, err) = sent(&create, &["ticket.create", "--wait", "--timeout", "1s"]);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    for part in [
        "until one starts (`ticketwire run`)",
        "no result within 1s",
        "no worker took it",
        ".tickets, which holds 1",
        "command show",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }

    // Who looks for it is told where it may be, whatever of its id was given.
    let (code, id, err) = sent(&create, &["ticket.create", "--quiet"]);
    assert_eq!(code, Some(0), "{err}");
    let id = id.trim();
    let shown = |id: &str, settings: &[(&str, &str)]| {
        let mut environment = world.environment();
        for (name, value) in settings {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        let made = output(&environment, &["command", "show", id]);
        assert_eq!(made.status.code(), Some(1), "{id}");
        String::from_utf8_lossy(&made.stderr).into_owned()
    };
    for id in [id, &id[..20]] {
        let err = shown(id, &[]);
        for part in [
            id,
            "in the ledger; it may still be queued: nobody reads the queue",
            ".tickets, which holds 2",
            "`ticketwire run`",
            "dead list",
        ] {
            assert!(err.contains(part), "{part} in {err}");
        }
    }
    let err = shown(id, &[("TICKETWIRE__AMQP__PREFIX", "tw_nothing_is_here")]);
    assert!(
        err.contains("nothing waits in the command queues under tw_nothing_is_here"),
        "{err}"
    );
    let err = shown(id, &[("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f")]);
    assert!(err.contains("whether it is queued is not known"), "{err}");

    // A person gets the item and its page, a script the id.
    let worker = world
        .worker_with(&[("TICKETWIRE__RETRY__SCHEDULE", r#"["1h"]"#)])
        .await;
    let (code, out, err) = sent(&create, &["ticket.create", "--wait"]);
    assert_eq!(code, Some(0), "{err}");
    let item = out.trim().split_once(' ').unwrap();
    assert!(
        item.0.starts_with("SUP-") && item.1.ends_with(&format!("/browse/{}", item.0)),
        "{out}"
    );
    for further in [
        &["ticket.create", "--quiet"][..],
        &["ticket.create", "--quiet", "--wait"],
    ] {
        let (code, out, err) = sent(&create, further);
        assert_eq!(code, Some(0), "{err}");
        let id: Uuid = out.strip_suffix('\n').unwrap().parse().unwrap();
        world.succeeds(id).await;
    }
    let (code, out, _) = sent(
        &json!({ "title": "x" }),
        &["ticket.create", "--wait", "--quiet"],
    );
    assert_eq!((code, &*out), (Some(2), ""));
    let elsewhere = json!({ "title": "x", "description": "d", "integration_id": Uuid::new_v4() });
    let (code, out, err) = sent(&elsewhere, &["ticket.create", "--wait"]);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    assert!(err.contains("integration_not_found: "), "{err}");

    // A platform that is away: when it is tried again, and why it waits.
    let (made, ticket) = world.create("Away").await;
    world.succeeds(made).await;
    world
        .fault(json!({ "kind": "status", "status": 503, "operation": "update_issue", "times": 0 }));
    let update = json!({ "ticket_id": ticket, "title": "Changed" });
    let waits = ["ticket.update", "--wait", "--timeout", "3s"];
    let (code, out, err) = sent(&update, &waits);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    for part in [
        "no result within 3s: the command is deferred, next try 2",
        "platform_unavailable: updating the issue",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    // An hour less the three seconds, or with jitter more than that.
    assert!(
        [" (in 59m", " (in 1h"]
            .iter()
            .any(|next| err.contains(next)),
        "{err}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_is_named_by_its_name_or_the_beginning_of_its_id_whatever_is_done_with_it() {
    let world = World::new().await;
    let organization = world.organization.to_string();
    let row = world.integration_row(world.integration).await;
    let data = json!({
        "name": "Second desk", "platform_name": "jira", "base_url": row["base_url"],
        "settings": { "project_key": "SUP" },
        "credentials": { "email": "b@example.test", "api_token": "secret" },
    });
    let add = [
        "integration",
        "add",
        "--organization",
        &organization,
        "--data",
        &data.to_string(),
    ];
    let added = output(&world.environment(), &[&add[..], &["--quiet"]].concat());
    let added = String::from_utf8_lossy(&added.stdout).into_owned();
    let id = added.strip_suffix('\n').unwrap();
    assert_eq!(id.parse::<Uuid>().unwrap().to_string(), id);

    for name in ["second desk", &id[..30], id] {
        for action in [
            &["test"][..],
            &["show"],
            &["disable", "--reason", "by name"],
            &["enable"],
            &["update", "--settings", "{\"default_issue_type\":\"Bug\"}"],
        ] {
            let answer = world.cli(&[&["integration"][..], action, &[name]].concat());
            let other = answer["integration_id"]
                .as_str()
                .is_some_and(|other| other != id);
            assert!(!other, "{action:?} {name}: {answer:#}");
        }
    }
    let listed = world.cli(&["integration", "list", "--organization", &organization[..8]]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed:#}");
    world.cli(&["integration", "delete", "SECOND DESK"]);
    for name in ["Second desk", id] {
        let gone = output(&world.environment(), &["integration", "show", name]);
        let err = String::from_utf8_lossy(&gone.stderr).into_owned();
        assert_eq!(gone.status.code(), Some(1), "{err}");
        assert!(
            err.contains(name) && err.contains("integration list"),
            "{err}"
        );
    }
}
