//! Migrations: up, down and up again, by anybody at once, refusing what would lose data.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ticketwire::store::{connect, create_database};
use uuid::Uuid;

use crate::support::{Legacy, Scratch, World, output, services, start, wait_for};

/// Tables, columns and indexes of the public schema, as text.
async fn shape(url: &str) -> String {
    let (client, _connection) = connect(&url.into(), "tests").await.unwrap();
    let columns = "SELECT string_agg(format('%s.%s %s %s', table_name, column_name, udt_name, \
                   is_nullable), E'\\n' \
                   ORDER BY table_name, column_name) FROM information_schema.columns \
                   WHERE table_schema = 'public'";
    let indexes = "SELECT string_agg(indexdef, E'\\n' ORDER BY indexdef) FROM pg_indexes \
                   WHERE schemaname = 'public'";
    let mut shape = String::new();
    for sql in [columns, indexes] {
        let row = client.query_one(sql, &[]).await.unwrap();
        shape += &row.get::<_, Option<String>>(0).unwrap_or_default();
    }
    shape
}

/// An empty database and how to reach it.
async fn empty() -> (String, BTreeMap<String, String>) {
    let (server, _) = services();
    let (server, _) = server.rsplit_once('/').unwrap();
    let url = format!("{server}/tw_test_{}", Uuid::new_v4().simple());
    create_database(&url.as_str().into()).await.unwrap();
    let environment = BTreeMap::from([("DATABASE_URL".to_owned(), url.clone())]);
    (url, environment)
}

async fn remove(url: &str) {
    let (server, name) = url.rsplit_once('/').unwrap();
    let (client, _connection) = connect(&format!("{server}/postgres").into(), "tests")
        .await
        .unwrap();
    let drop_it = format!("DROP DATABASE {name} WITH (FORCE)");
    client.batch_execute(&drop_it).await.unwrap();
}

fn run(environment: &BTreeMap<String, String>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(environment, arguments);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn up_down_and_up_again_end_in_the_same_shape() {
    let (url, environment) = empty().await;

    let (status, text) = run(&environment, &["migrate", "up"]);
    assert_eq!(status, Some(0), "{text}");
    let first = shape(&url).await;
    let (status, text) = run(&environment, &["migrate", "rollback", "--to", "1"]);
    assert_eq!(status, Some(0), "{text}");
    let legacy = shape(&url).await;
    assert!(legacy.contains("integrations.is_enabled") && !legacy.contains("commands."));
    let (status, text) = run(&environment, &["migrate", "rollback", "--to", "0"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(!shape(&url).await.contains("integrations."));
    let (status, text) = run(&environment, &["migrate", "up"]);
    assert_eq!(status, Some(0), "{text}");

    assert_eq!(shape(&url).await, first);
    assert!(first.contains("integrations.integration_category"));
    let (status, text) = run(&environment, &["migrate", "up"]);
    assert_eq!(
        status,
        Some(0),
        "a second time there is nothing to do: {text}"
    );
    remove(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_first_runs_at_once_all_succeed() {
    let (url, environment) = empty().await;

    let runs: Vec<_> = (0..4)
        .map(|_| {
            let environment = environment.clone();
            tokio::task::spawn_blocking(move || run(&environment, &["migrate", "up"]))
        })
        .collect();

    for run in runs {
        let (status, text) = run.await.unwrap();
        assert_eq!(status, Some(0), "{text}");
    }
    remove(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_a_rollback_of_data_wants_a_word() {
    let world = World::new().await;
    let (url, environment) = empty().await;

    let (status, text) = run(&environment, &["migrate", "up", "--dry-run"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("V3__ledger"), "{text}");
    assert!(!shape(&url).await.contains("commands."));

    let worker = world.worker().await;
    let (create, _) = world.create("Keep me").await;
    world.succeeds(create).await;
    assert!(worker.stop().await.success());
    let held = world.environment();
    let (status, text) = run(&held, &["migrate", "rollback", "--to", "2"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("--accept-loss") && text.contains("commands"),
        "{text}"
    );
    let (status, text) = run(
        &held,
        &["migrate", "rollback", "--to", "2", "--accept-loss"],
    );
    assert_eq!(status, Some(0), "{text}");
    let status: Value = world.cli(&["migrate", "status"]);
    assert_eq!(
        status["pending"],
        json!([
            { "version": 3, "name": "ledger" }, { "version": 4, "name": "integration_life" },
            { "version": 5, "name": "write_path" }, { "version": 6, "name": "sparse_indexes" },
            { "version": 7, "name": "row_types" },
            { "version": 8, "name": "shared_limits" },
            { "version": 9, "name": "field_words" },
            { "version": 10, "name": "grants_and_sync" },
            { "version": 11, "name": "inbound" },
            { "version": 12, "name": "sync_seen" },
        ])
    );
    remove(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_a_schema_that_is_not_its_own() {
    let (url, mut environment) = empty().await;
    environment.insert("TICKETWIRE__HTTP__LISTEN".into(), String::new());
    environment.insert("TICKETWIRE__HTTP__WEBHOOK_LISTEN".into(), String::new());

    let (status, text) = run(&environment, &["run"]);

    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("ticketwire migrate up"), "{text}");
    remove(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tickets_refer_to_cannot_be_deleted_and_going_back_restores_the_foreign_keys() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (command, ticket) = world.create("Referring").await;
    world.succeeds(command).await;
    world.quiet().await;
    assert!(worker.stop().await.success());
    let client = world.client().await;

    for table in ["integrations", "organizations"] {
        let error = client
            .execute(&format!("DELETE FROM {table}"), &[])
            .await
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "23503", "{error}");
        assert!(
            error.message().contains("tickets still refer to"),
            "{error}"
        );
    }
    client
        .batch_execute("DELETE FROM tickets; DELETE FROM integrations")
        .await
        .unwrap();
    client
        .execute(
            "INSERT INTO tickets SELECT (jsonb_populate_record(NULL::tickets, $1)).*",
            &[&json!({
                "id": ticket, "organization_id": world.organization, "integration_id": Uuid::nil(),
                "title": "Astray",
                "description": "", "status": "new", "priority": "low", "urgency": "low",
                "category": "bug",
                "business_impact": "low", "communication_count": 0, "escalation_level": 0,
                "sla_breached": false,
                "source_channel": "api", "is_deleted": false, "created_at": "2026-01-31T12:00:00Z",
                "updated_at": "2026-01-31T12:00:00Z", "last_activity_at": "2026-01-31T12:00:00Z",
            })],
        )
        .await
        .unwrap();

    let (status, text) = run(&world.environment(), &["migrate", "rollback", "--to", "4"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("lose their integration") && text.contains(&ticket.to_string()),
        "{text}"
    );
    let (status, text) = run(
        &world.environment(),
        &["migrate", "rollback", "--to", "4", "--accept-loss"],
    );
    assert_eq!(status, Some(0), "{text}");

    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' \
                AND conrelid = 'tickets'::regclass AND conname IN \
                ('tickets_integration_id_fkey', 'tickets_organization_id_fkey')";
    assert_eq!(world.count(keys).await, 2);
    assert_eq!(
        world
            .count("SELECT count(*) FROM tickets WHERE integration_id IS NULL")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_indexes_without_what_is_empty_find_what_they_found() {
    let (url, environment) = empty().await;
    let (status, text) = run(&environment, &["migrate", "up"]);
    assert_eq!(status, Some(0), "{text}");
    let (client, _connection) = connect(&url.as_str().into(), "tests").await.unwrap();
    let settings = "SET enable_seqscan = off; SET enable_bitmapscan = off";
    client.batch_execute(settings).await.unwrap();
    let id = Uuid::new_v4();
    let asked = [
        ("assigned_to_id", format!("assigned_to_id = '{id}'")),
        ("closed_at", "closed_at > now()".to_owned()),
        (
            "created_by_id",
            format!("created_by_id IN ('{id}', '{id}')"),
        ),
        ("deleted_at", "deleted_at < now()".to_owned()),
        ("department", "department = 'IT'".to_owned()),
        (
            "first_response_at",
            "first_response_at BETWEEN now() AND now()".to_owned(),
        ),
        ("is_deleted", "is_deleted = true".to_owned()),
        ("resolved_at", "resolved_at >= now()".to_owned()),
        (
            "sla_due_date",
            "sla_due_date < now() AND status <> 'closed'".to_owned(),
        ),
    ];

    for (column, condition) in &asked {
        let explain = format!("EXPLAIN SELECT * FROM tickets WHERE {condition}");
        let plan: Vec<String> = client
            .query(&explain, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let plan = plan.join("\n");
        assert!(plan.contains(&format!("ix_tickets_{column} ")), "{plan}");
    }
    let sparse = "SELECT count(*) FROM pg_indexes WHERE tablename = 'tickets' \
                  AND starts_with(indexname, 'ix_tickets_') \
                  AND indexdef LIKE '% WHERE %'";
    let count: i64 = client.query_one(sparse, &[]).await.unwrap().get(0);
    assert_eq!(count, 9);

    let (status, text) = run(&environment, &["migrate", "rollback", "--to", "5"]);
    assert_eq!(status, Some(0), "{text}");
    let count: i64 = client.query_one(sparse, &[]).await.unwrap().get(0);
    assert_eq!(count, 0);
    let all = "SELECT count(*) FROM pg_indexes WHERE tablename = 'tickets' \
               AND starts_with(indexname, 'ix_tickets_')";
    let count: i64 = client.query_one(all, &[]).await.unwrap().get(0);
    assert_eq!(count, 19, "as the legacy application made them");
    remove(&url).await;
}

/// What a database's or a role's owner may have set, for everybody.
const STINGY: [&str; 5] = [
    "statement_timeout = '10ms'",
    "lock_timeout = '10ms'",
    "idle_in_transaction_session_timeout = '10ms'",
    "idle_session_timeout = '500ms'",
    "default_transaction_isolation = 'serializable'",
];

/// A legacy database with so many tickets, and settings that would end whatever takes long.
async fn stingy(tickets: u32) -> Scratch {
    let scratch = Legacy::new().await.scratch;
    let fill = format!(
        "INSERT INTO tickets SELECT (jsonb_populate_record(NULL::tickets, to_jsonb(t) || \
         jsonb_build_object('id', gen_random_uuid(), 'title', 'Ticket ' || n))).* \
         FROM (SELECT * FROM tickets LIMIT 1) t, generate_series(1, {tickets}) n"
    );
    scratch.execute(&fill).await;
    let (_, name) = scratch.url.rsplit_once('/').unwrap();
    for setting in STINGY {
        let set = format!("ALTER DATABASE {name} SET {setting}");
        scratch.execute(&set).await;
    }
    scratch
}

/// How many of the nine indexes stand that V6 replaces, and whether they leave out what is empty.
async fn replaced(scratch: &Scratch) -> (i64, i64, i64) {
    let sql = "SELECT count(*) FILTER (WHERE i.indisvalid AND i.indpred IS NULL), \
               count(*) FILTER (WHERE i.indisvalid AND i.indpred IS NOT NULL), \
               count(*) FILTER (WHERE NOT i.indisvalid) \
               FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
               WHERE i.indrelid = 'tickets'::regclass AND c.relname \
               ~ '^ix_tickets_(assigned_to_id|closed_at|created_by_id|deleted_at|department|first_response_at|is_deleted|resolved_at|sla_due_date)(_sparse)?$'";
    let row = scratch.client().await.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn time_limits_of_the_role_or_the_database_end_no_migration() {
    let scratch = stingy(2_000).await;
    let shape = scratch.shape().await;
    let slow = "SELECT current_setting('statement_timeout')";
    let (plain, connection) = tokio_postgres::connect(&scratch.url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let driver = tokio::task::spawn(connection);
    let set: String = plain.query_one(slow, &[]).await.unwrap().get(0);
    assert_eq!(set, "10ms", "there is something to lose");
    drop((plain, driver));

    scratch.does(&["migrate", "up"]);

    assert_eq!(replaced(&scratch).await, (0, 9, 0));
    scratch.does(&["migrate", "rollback", "--to", "1"]);
    let mut back = scratch.shape().await;
    back.retain(|line| !line.contains("refinery_schema_history"));
    assert_eq!(back, shape);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_there_until_its_successor_stands_and_a_rerun_heals() {
    let scratch = Legacy::new().await.scratch;
    let client = scratch.client().await;
    // Whoever sees the database as it was keeps a concurrent build from ending.
    let view = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
    client.batch_execute(view).await.unwrap();

    let mut up = start(&scratch.environment, &["migrate", "up"]);
    let other = scratch.client().await;
    wait_for("the build that waits to be ended", async || {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() \
                   AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'";
        other.query_opt(end, &[]).await.unwrap().map(|_| ())
    })
    .await;
    let status = wait_for("the migration to end", async || up.try_wait().unwrap()).await;

    assert_eq!(status.code(), Some(1));
    let (whole, sparse, invalid) = replaced(&scratch).await;
    assert_eq!((whole, sparse), (9, 0), "the legacy ones serve on");
    assert_eq!(invalid, 1, "one was begun");

    client.batch_execute("COMMIT").await.unwrap();
    scratch.does(&["migrate", "up"]);
    assert_eq!(replaced(&scratch).await, (0, 9, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replacement_of_indexes_is_taken_back() {
    let scratch = Legacy::new().await.scratch;
    let shape = scratch.shape().await;
    scratch.does(&["migrate", "up"]);
    scratch.does(&["migrate", "rollback", "--to", "5"]);
    let left = "CREATE INDEX ix_tickets_department_sparse ON tickets (department) \
                WHERE department IS NOT NULL";
    scratch.execute(left).await;

    scratch.does(&["migrate", "rollback", "--to", "0"]);

    assert_eq!(scratch.shape().await, shape);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_refused_and_tables_out_of_sight_are_named() {
    let scratch = Scratch::empty().await;
    let (_, name) = scratch.url.rsplit_once('/').unwrap();
    let name = name.to_owned();
    let before = scratch.shape().await;
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    scratch.execute(&read_only).await;
    scratch.refuses(
        &["migrate", "up"],
        &["default_transaction_read_only", "nothing was changed"],
    );
    let client = scratch.client().await;
    let write_again = "SET default_transaction_read_only = off";
    client.batch_execute(write_again).await.unwrap();
    let writable = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    client.batch_execute(&writable).await.unwrap();
    let nowhere = format!("ALTER DATABASE {name} SET search_path = app");
    scratch.execute(&nowhere).await;
    scratch.refuses(&["migrate", "up"], &["\"app\"", "CREATE SCHEMA"]);
    scratch
        .execute(&format!("ALTER DATABASE {name} RESET search_path"))
        .await;
    assert_eq!(scratch.shape().await, before);

    scratch.execute("CREATE SCHEMA app").await;
    let mut environment = scratch.environment.clone();
    let url = format!("{}?options=-c%20search_path%3Dapp", scratch.url);
    environment.insert("DATABASE_URL".into(), url);
    let (status, text) = run(&environment, &["migrate", "up"]);
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = run(&environment, &["integration", "list"]);
    assert_eq!(
        status,
        Some(0),
        "every door looks where the URL says: {text}"
    );
    scratch.refuses(
        &["run", "--set", "http.listen="],
        &["the tables are in the schema \"app\""],
    );
}

/// A command and an attempt that wait as the version before V9 said it.
const WAITS_BY_SENTENCE: &str = "INSERT INTO commands (id, arrival, type, organization_id, \
                                 state, turn, digest, data, lane, \
                                 due_at, decided_by) SELECT gen_random_uuid(), n, \
                                 'ticket.create', gen_random_uuid(), \
                                 'deferred', true, '\\x00', '{}', \
                                 gen_random_uuid(), now() + interval '1 day', sentence \
                                 FROM unnest($1::text[]) WITH ORDINALITY AS s (sentence, n)";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_waits_for_is_kept_over_the_change_of_words() {
    let scratch = Scratch::empty().await;
    scratch.does(&["migrate", "up"]);
    scratch.does(&["migrate", "rollback", "--to", "8"]);
    let (client, _connection) = connect(&scratch.url.as_str().into(), "tests")
        .await
        .unwrap();
    let sentences = [
        "retry.schedule[2]",
        "Retry-After: 17 s",
        "rate_limit_per_hour",
        "settings.on_auth_failure",
        "look-up 3 (dispatch.settle_after)",
        "look-up 2 of the platform's ladder",
        "2 of 5 children are not done",
        "the process that ran it died",
    ];
    client
        .execute(WAITS_BY_SENTENCE, &[&sentences.as_slice()])
        .await
        .unwrap();

    scratch.does(&["migrate", "up"]);
    let reasons = client
        .query_one(
            "SELECT string_agg(concat_ws(' ', wait_reason, wait_detail), ', ' \
                    ORDER BY arrival) FROM commands",
            &[],
        )
        .await
        .unwrap();
    scratch.does(&["migrate", "rollback", "--to", "8"]);
    let back = client
        .query_one(
            "SELECT array_agg(decided_by ORDER BY arrival) FROM commands",
            &[],
        )
        .await
        .unwrap();

    assert_eq!(
        reasons.get::<_, &str>(0),
        "retry_schedule 2, retry_after 17, rate_limit_per_hour, credential_refused, \
         settle_after 3, look_up_schedule 2, children 2, worker_died"
    );
    let back: Vec<String> = back.get(0);
    // How many there were altogether is not kept.
    let expected = sentences.map(|sentence| sentence.replace("2 of 5", "2 of its"));
    assert_eq!(back, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_not_renamed_under_a_running_worker() {
    let scratch = Scratch::empty().await;
    scratch.does(&["migrate", "up"]);
    scratch.does(&["migrate", "rollback", "--to", "8"]);
    let (old, connection) = connect(&scratch.url.as_str().into(), "tests")
        .await
        .unwrap();
    old.batch_execute(
        "INSERT INTO workers (id, incarnation, lease_until, version) \
         VALUES ('w-old', gen_random_uuid(), now() + interval '1 minute', '0.1.0'); \
         SELECT pg_advisory_lock(hashtextextended('ticketwire worker w-old', 0))",
    )
    .await
    .unwrap();

    scratch.refuses(
        &["migrate", "up"],
        &["workers are running", "w-old", "stop them"],
    );
    drop((old, connection));

    wait_for("the worker's lock to be free", async || {
        (scratch.run(&["migrate", "up"]).0 == Some(0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_has_v6_with_its_former_comment_is_known_again() {
    let scratch = Scratch::empty().await;
    scratch.does(&["migrate", "up"]);
    let former =
        "UPDATE refinery_schema_history SET checksum = '9547204847140351593' WHERE version = 6";
    scratch.execute(former).await;

    scratch.does(&["migrate", "up"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_hold_every_text_is_refused_before_anything_is_made() {
    let mut scratch = Scratch::empty().await;
    let (_, name) = scratch.url.rsplit_once('/').unwrap();
    let latin = format!("{name}_latin");
    let make = format!(
        "CREATE DATABASE {latin} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    scratch.execute(&make).await;
    let url = scratch.url.replace(name, &latin);
    let whole = scratch.environment.insert("DATABASE_URL".into(), url);

    scratch.refuses(
        &["migrate", "up"],
        &["LATIN1", "ENCODING 'UTF8'", "nothing was changed"],
    );

    let status = scratch.does(&["migrate", "status"]);
    assert!(!status.contains("refinery"), "{status}");
    let (_, made) = scratch.json(&["migrate", "status"]);
    assert_eq!(made["applied"], serde_json::json!([]), "{made}");
    scratch
        .environment
        .extend(whole.map(|url| ("DATABASE_URL".into(), url)));
    scratch.execute(&format!("DROP DATABASE {latin}")).await;
}
