//! What people see: lists that fit their terminal, states in colour, news in place of documents.

use std::collections::BTreeMap;

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
    }
}
