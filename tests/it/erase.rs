//! `ticketwire erase`: nothing of the subject is left anywhere, and nothing of anybody else is
//! gone.

use serde_json::{Value, json};

use crate::support::{Message, World, output};

/// Rows of any table that hold a text somewhere: a table that is added later is searched too.
async fn holds(world: &World, text: &str) -> Vec<String> {
    let tables = "SELECT table_name::text FROM information_schema.tables \
                  WHERE table_schema = 'public' \
                  AND table_type = 'BASE TABLE' ORDER BY 1";
    let mut found = Vec::new();
    for row in world.query(tables, &[]).await {
        let table: String = row.get(0);
        let sql = format!(
            "SELECT count(*) FROM \"{table}\" t WHERE position(lower('{text}') IN \
             lower(t::text)) > 0"
        );
        let count = world.count(&sql).await;
        if count > 0 {
            found.push(format!("{table}: {count}"));
        }
    }
    found
}

/// Everything that there is, for comparison.
async fn all_of(world: &World, organization: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["tickets", "commands", "integrations", "organizations"] {
        let column = if table == "organizations" {
            "id"
        } else {
            "organization_id"
        };
        let sql =
            format!("SELECT t::text FROM {table} t WHERE {column} = '{organization}' ORDER BY 1");
        rows.extend(
            world
                .query(&sql, &[])
                .await
                .iter()
                .map(|row| row.get::<_, String>(0)),
        );
    }
    rows
}

/// Erases, again where the worker wrote something of it meanwhile, such as its usage: then nothing
/// was removed.
async fn erase(world: &World, arguments: &[&str]) -> Value {
    let arguments = [&["--json", "erase"], arguments].concat();
    crate::support::wait_for("nothing of it to change meanwhile", async || {
        let made = output(&world.environment(), &arguments);
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        if said.contains("changed meanwhile") {
            return None;
        }
        assert!(made.status.success(), "{said}");
        Some(serde_json::from_slice(&made.stdout).unwrap())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_organization_is_nowhere_and_its_neighbour_untouched() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Erase me Zanzibar").await;
    world.succeeds(create).await;
    let comment = json!({ "ticket_id": ticket, "body": "Said in Zanzibar" });
    let comment = world.publish("ticket.comment", comment).await;
    world.succeeds(comment).await;
    let bad = format!(
        r#"{{"organizationid": "{}", "type": "ticket.create", "data": {{"title": "Zanzibar"}}}}"#,
        world.organization
    );
    world
        .send(&[Message::new("ticket.create", bad.as_str())])
        .await;
    // A neighbour who has nothing but what a failed command leaves, and one integration's worth of
    // rows made by hand.
    let neighbour = uuid::Uuid::new_v4();
    let copy = "INSERT INTO organizations SELECT (o).* \
                FROM (SELECT jsonb_populate_record(o, jsonb_build_object('id', $1::text, 'name', \
                'Neighbour')) AS o \
                FROM organizations o WHERE id = $2) x";
    world
        .query(copy, &[&neighbour.to_string(), &world.organization])
        .await;
    let copy = "INSERT INTO tickets SELECT (o).* FROM (SELECT jsonb_populate_record(t, \
                jsonb_build_object('id', gen_random_uuid(), \
                'organization_id', $1::text, 'title', 'Neighbour')) AS o FROM tickets t \
                WHERE id = $2) x";
    world.query(copy, &[&neighbour.to_string(), &ticket]).await;
    crate::support::wait_for("the dead letter", async || {
        (world.count("SELECT count(*) FROM dead_letters").await == 1).then_some(())
    })
    .await;
    world.quiet().await;
    // The neighbour's ticket points at the erased organization's integration, as the legacy
    // application allowed.
    let neighbours = all_of(&world, &neighbour.to_string()).await;
    assert_eq!(neighbours.len(), 2);
    let organization = world.organization.to_string();
    let before = holds(&world, &organization).await;
    assert!(before.len() >= 5, "{before:?}");
    assert!(holds(&world, "Zanzibar").await.len() >= 3);

    let preview = erase(&world, &["--organization", &organization, "--dry-run"]).await;
    assert_eq!(preview["erased"], false);
    assert_eq!(preview["rows"]["tickets"], 1, "{preview}");
    assert_eq!(
        preview["elsewhere"].as_array().unwrap().len(),
        1,
        "{preview}"
    );
    assert_eq!(holds(&world, &organization).await, before);
    // Without a word it does nothing either, and a script is told.
    let unasked = ["--json", "erase", "--organization", &organization];
    let unasked = output(&world.environment(), &unasked);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    assert_eq!(holds(&world, &organization).await, before);

    let done = erase(&world, &["--organization", &organization, "--yes"]).await;
    assert_eq!(done["erased"], true);
    assert_eq!(done["rows"], preview["rows"]);
    assert_eq!(done["rows"]["tickets of others, unbound"], 1);

    assert_eq!(holds(&world, &organization).await, Vec::<String>::new());
    assert_eq!(holds(&world, "Zanzibar").await, Vec::<String>::new());
    assert_eq!(
        all_of(&world, &neighbour.to_string()).await.len(),
        neighbours.len()
    );
    let again = output(
        &world.environment(),
        &["erase", "--organization", &organization, "--yes"],
    );
    assert_eq!(again.status.code(), Some(1));
    assert!(worker.is_ready().await);
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_ticket_is_nowhere_and_one_with_unfinished_commands_is_refused_by_name() {
    let world = World::new().await;
    // It stays deferred until somebody retries it.
    let worker = world
        .worker_with(&[("TICKETWIRE__RETRY__SCHEDULE", r#"["1h"]"#)])
        .await;
    let (kept, other) = world.create("Kept").await;
    world.succeeds(kept).await;
    let (create, ticket) = world.create("Gone").await;
    world.succeeds(create).await;
    world
        .fault(json!({ "kind": "status", "status": 503, "operation": "update_issue", "times": 0 }));
    let update = json!({ "ticket_id": ticket, "title": "Not yet" });
    let update = world.publish("ticket.update", update).await;
    world.event(update, "deferred").await;
    let id = ticket.to_string();

    let refused = output(&world.environment(), &["erase", "--ticket", &id, "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains(&update.to_string()), "{text}");
    assert!(text.contains("command cancel"), "{text}");
    assert!(!holds(&world, &id).await.is_empty());

    world.clear_faults();
    world.cli(&["command", "retry", &update.to_string()]);
    world.succeeds(update).await;
    world.quiet().await;
    let done = world.cli(&["erase", "--ticket", &id, "--yes"]);
    assert_eq!(done["rows"]["tickets"], 1, "{done}");
    assert_eq!(done["rows"]["commands"], 2, "{done}");
    assert_eq!(holds(&world, &id).await, Vec::<String>::new());
    assert_eq!(world.count("SELECT count(*) FROM tickets").await, 1);
    assert!(!holds(&world, &other.to_string()).await.is_empty());

    // The worker goes on, with what is left and with what is new.
    let comment = json!({ "ticket_id": other, "body": "Still here" });
    let comment = world.publish("ticket.comment", comment).await;
    world.succeeds(comment).await;
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_worked_on_during_an_erasure_is_not_lost() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Busy").await;
    world.succeeds(create).await;
    world.quiet().await;
    let environment = world.environment();
    let id = ticket.to_string();

    // The erasure waits for the attempt's row; meanwhile another command of the ticket comes, and
    // is done.
    let client = world.client().await;
    client
        .batch_execute("BEGIN; SELECT 1 FROM command_attempts FOR UPDATE")
        .await
        .unwrap();
    let arguments = ["erase", "--ticket", &id, "--yes"].map(str::to_owned);
    let erasing = tokio::task::spawn_blocking(move || {
        output(&environment, &arguments.each_ref().map(String::as_str))
    });
    crate::support::wait_for("the erasure to wait", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND query LIKE 'DELETE FROM command_attempts%'";
        (world.count(waiting).await == 1).then_some(())
    })
    .await;
    let update = json!({ "ticket_id": ticket, "title": "Busy still" });
    let update = world.publish("ticket.update", update).await;
    world.succeeds(update).await;
    client.batch_execute("ROLLBACK").await.unwrap();

    let refused = erasing.await.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("changed meanwhile"), "{text}");
    world.quiet().await;
    assert_eq!(world.count("SELECT count(*) FROM commands").await, 2);

    let done = world.cli(&["erase", "--ticket", &id, "--yes"]);
    assert_eq!(done["rows"]["commands"], 2, "{done}");
    assert_eq!(done["arrived_meanwhile"], 0, "{done}");
    assert_eq!(holds(&world, &id).await, Vec::<String>::new());
    assert!(worker.stop().await.success());
}

#[test]
fn one_subject_must_be_named_and_only_one() {
    let nobody = output(&std::collections::BTreeMap::new(), &["erase"]);
    assert_eq!(nobody.status.code(), Some(2));
    let id = uuid::Uuid::new_v4().to_string();
    let both = output(
        &std::collections::BTreeMap::new(),
        &["erase", "--organization", &id, "--ticket", &id],
    );
    assert_eq!(both.status.code(), Some(2));
}
