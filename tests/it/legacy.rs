//! The legacy application's database: adopted row by row, given back row by row, refused where it
//! cannot be taken, and read on by its own application while a worker runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use ticketwire::store::{connect, migrate};

use crate::support::{Images, Legacy, Scratch, TYPES, World};

const TABLES: [&str; 4] = ["organizations", "users", "tickets", "agents"];
const OLD: [&str; 2] = ["integration_type", "is_enabled"];
/// What the ledger adds to an integration.
const OURS: [&str; 4] = [
    "settings",
    "parked_at",
    "webhook_secret_previous_encrypted",
    "webhook_secret_previous_until",
];
const NEW: [&str; 3] = ["integration_category", "platform_name", "enabled"];

/// The images without these columns, and those columns of each row.
fn split(images: &Images, columns: &[&str]) -> (Images, BTreeMap<String, Vec<String>>) {
    let mut rest = images.clone();
    let mut taken = BTreeMap::new();
    for (id, image) in &mut rest {
        let values = columns.iter().map(|column| image.remove(*column).unwrap());
        taken.insert(id.clone(), values.collect());
    }
    (rest, taken)
}

async fn others(scratch: &Scratch) -> Vec<Images> {
    let mut images = Vec::new();
    for table in TABLES {
        images.push(scratch.images(table).await);
    }
    images
}

/// The columns that V3 adds are empty: nothing is invented for them.
fn without_ours(images: &[Images]) -> Vec<Images> {
    let mut images = images.to_vec();
    for image in images.iter_mut().flat_map(BTreeMap::values_mut) {
        for column in ["tags", "external_ref", "integration_result", "words"] {
            assert!(image.remove(column).is_none_or(|value| value == "NULL"));
        }
    }
    images
}

async fn revision(scratch: &Scratch) -> String {
    let sql = "SELECT version_num FROM alembic_version";
    let row = scratch.client().await.query_one(sql, &[]).await.unwrap();
    row.get(0)
}

/// Nothing of ours is left.
async fn is_untouched(scratch: &Scratch, shape: &BTreeSet<String>) {
    assert_eq!(&scratch.shape().await, shape);
    assert!(
        !shape
            .iter()
            .any(|line| line.contains("refinery_schema_history"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_database_is_adopted_and_given_back_row_by_row() {
    let legacy = Legacy::new().await;
    let scratch = &legacy.scratch;
    let (shape, before) = (scratch.shape().await, scratch.images("integrations").await);
    let others_before = others(scratch).await;
    assert_eq!(before.len(), 57);

    let (status, done) = scratch.json(&["migrate", "up"]);

    assert_eq!(
        (status, &done["found"]["kind"]),
        (Some(0), &json!("legacy"))
    );
    let after = scratch.images("integrations").await;
    assert_refactored(&before, &after);
    assert_eq!(without_ours(&others(scratch).await), others_before);
    assert_eq!(revision(scratch).await, "a1b2c3d4e5f6");
    let made = scratch.shape().await;
    let has = |part: &str| made.iter().any(|line| line.contains(part));
    assert!(!has("type integrationtype"), "defect 1");
    assert!(
        has("INDEX ix_integrations_enabled ") && !has("ix_integrations_is_enabled"),
        "defect 6"
    );
    assert!(has("column integrations.enabled bool NO true"), "defect 7");
    let again = scratch.does(&["migrate", "up"]);
    assert!(again.contains("nothing to do"), "defect 12: {again}");
    let (status, listed) = scratch.json(&["integration", "list"]);
    let live = before
        .values()
        .filter(|image| image["is_deleted"] == "'false'");
    assert_eq!(
        (status, listed.as_array().unwrap().len()),
        (Some(0), live.count())
    );

    scratch.does(&["migrate", "rollback", "--to", "1"]);

    assert_eq!(scratch.images("integrations").await, before);
    assert_eq!(others(scratch).await, others_before);
    let mut back = scratch.shape().await;
    back.retain(|line| !line.contains("refinery_schema_history"));
    assert_eq!(back, shape);

    scratch.does(&["migrate", "up"]);

    assert_eq!(scratch.images("integrations").await, after);
    assert_eq!(scratch.shape().await, made);

    scratch.does(&["migrate", "rollback", "--to", "0"]);

    is_untouched(scratch, &shape).await;
    assert_eq!(scratch.images("integrations").await, before);
    assert_eq!(others(scratch).await, others_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_original_refactoring_left_is_recognised_and_cleared_away() {
    let legacy = Legacy::refactored().await;
    let scratch = &legacy.scratch;
    let before = scratch.images("integrations").await;
    let others_before = others(scratch).await;

    let status: Value = scratch.json(&["migrate", "status"]).1;
    let text = scratch.does(&["migrate", "up"]);

    let leftovers = json!([
        "the type integrationtype",
        "the index ix_integrations_is_enabled"
    ]);
    assert_eq!(
        status["found"],
        json!({ "kind": "refactored", "leftovers": leftovers })
    );
    assert!(
        text.contains("b2c3d4e5f6g7") && text.contains("ix_integrations_is_enabled"),
        "{text}"
    );
    let shape = scratch.shape().await;
    let has = |part: &str| shape.iter().any(|line| line.contains(part));
    assert!(!has("type integrationtype") && !has("ix_integrations_is_enabled"));
    assert!(has("INDEX ix_integrations_enabled "));
    let after = scratch.images("integrations").await;
    assert_eq!(split(&after, &OURS).0, before);
    assert_eq!(without_ours(&others(scratch).await), others_before);
    assert_eq!(revision(scratch).await, "b2c3d4e5f6g7");

    // Back to what it was adopted as, and further back to the shape before.
    scratch.does(&["migrate", "rollback", "--to", "2"]);
    assert_eq!(scratch.images("integrations").await, before);
    scratch.does(&["migrate", "rollback", "--to", "0"]);
    assert_eq!(scratch.images("integrations").await, before);
    assert_eq!(others(scratch).await, others_before);
    scratch.does(&["migrate", "up"]);
    let text = scratch.does(&["migrate", "rollback", "--to", "1"]);
    assert!(
        text.contains("alembic_version must say a1b2c3d4e5f6"),
        "{text}"
    );
    let (rest, old) = split(&scratch.images("integrations").await, &OLD);
    let (rest_before, new) = split(&before, &NEW);
    assert_eq!(rest, rest_before);
    for (id, old) in old {
        assert_eq!(old, new[&id][1..], "{id}");
    }
    scratch.does(&["migrate", "up"]);
    assert_eq!(scratch.images("integrations").await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_by_name_and_not_touched() {
    let cases: [(&str, &str, &[&str]); 20] = [
        (
            "8: a label by hand, in use",
            "ALTER TYPE integrationtype ADD VALUE 'pagerduty'; INSERT INTO integrations SELECT \
             (i).* FROM (SELECT \
             json_populate_record(i, \
             '{\"id\": \"00000000-0000-4000-b000-000000000001\", \"name\": \"Pager\", \
             \"integration_type\": \"pagerduty\"}') AS i FROM integrations i LIMIT 1) AS t",
            &[
                "00000000-0000-4000-b000-000000000001 (Pager): pagerduty",
                "none of the fifteen",
            ],
        ),
        (
            "9: labels in upper case",
            "ALTER TYPE integrationtype RENAME VALUE 'jira' TO 'JIRA'",
            &["(4)", ": JIRA", "RENAME VALUE 'JIRA' TO 'jira'"],
        ),
        (
            "10: another type of that name",
            "CREATE TYPE integrationcategory AS ENUM ('ticketing', 'other')",
            &["integrationcategory", "ticketing, other", "code_repository"],
        ),
        (
            "11: a view",
            "CREATE VIEW by_type AS SELECT integration_type, count(*) FROM integrations GROUP BY 1",
            &["view by_type", "integration_type"],
        ),
        (
            "1: somebody else uses the type that goes",
            "CREATE TABLE audit (kind integrationtype)",
            &["column kind of table audit", "integrationtype"],
        ),
        (
            "the older start",
            "ALTER TABLE integrations DROP COLUMN organization_id; ALTER TABLE tickets DROP \
             COLUMN organization_id; \
             DROP TABLE agents; ALTER TABLE users DROP COLUMN organization_id; DROP TABLE \
             organizations",
            &["98111ee70178", "organizations"],
        ),
        (
            "15: tickets with integration_routing",
            "ALTER TABLE tickets DROP COLUMN integration_id, DROP COLUMN organization_id, \
             ADD COLUMN integration_routing varchar(100); UPDATE alembic_version \
             SET version_num = 'c740f9fb4b4b'",
            &["integration_routing", "c740f9fb4b4b", "685ab8cd68be"],
        ),
        (
            "685ab8cd68be: no is_enabled",
            "ALTER TABLE integrations DROP COLUMN is_enabled; UPDATE alembic_version \
             SET version_num = '685ab8cd68be'",
            &["no is_enabled", "685ab8cd68be", "a1b2c3d4e5f6"],
        ),
        (
            "refactored in part",
            "ALTER TABLE integrations ADD COLUMN platform_name varchar(50)",
            &[
                "refactored in part",
                "integration_type, is_enabled, platform_name",
                "integration_category, enabled",
            ],
        ),
        (
            "renamed only",
            "ALTER TABLE integrations RENAME COLUMN is_enabled TO enabled",
            &["refactored in part", "integration_type, enabled"],
        ),
        (
            "a table is missing",
            "DROP TABLE tickets",
            &["tickets is not there"],
        ),
        (
            "a column is missing",
            "ALTER TABLE tickets DROP COLUMN external_ticket_id",
            &["tickets.external_ticket_id", "is not there"],
        ),
        (
            "a column of another type: credentials in clear",
            "ALTER TABLE integrations ALTER COLUMN credentials_encrypted TYPE json USING NULL",
            &["integrations.credentials_encrypted is json"],
        ),
        (
            "rows without what is never left out",
            "ALTER TABLE tickets ALTER COLUMN title DROP NOT NULL; UPDATE tickets \
             SET title = NULL WHERE is_deleted",
            &["rows have no tickets.title", "(17)"],
        ),
        (
            "rows without a type",
            "ALTER TABLE integrations ALTER COLUMN integration_type DROP NOT NULL; \
             UPDATE integrations SET integration_type = NULL WHERE name = ''",
            &["integrations have no integration_type", "(14)"],
        ),
        (
            "upper case in a type that stays",
            "ALTER TYPE ticketstatus RENAME VALUE 'open' TO 'OPEN'",
            &["ticketstatus", "OPEN", "not open"],
        ),
        (
            "a table of a name that is ours",
            "CREATE TABLE commands (id int)",
            &["commands is there already", "V3__ledger"],
        ),
        (
            "a type of a name that is ours",
            "CREATE TYPE claim_head AS (a int)",
            &["claim_head is there already", "V7__row_types"],
        ),
        (
            "a column of a name that is ours",
            "ALTER TABLE tickets ADD COLUMN tags text",
            &["tickets.tags is there already"],
        ),
        (
            "a column that must be given",
            "ALTER TABLE tickets ADD COLUMN cost int; UPDATE tickets SET cost = 1; \
             ALTER TABLE tickets ALTER COLUMN cost SET NOT NULL",
            &["tickets.cost must be given"],
        ),
    ];
    for (case, change, names) in cases {
        let scratch = Legacy::new().await.scratch;
        // A new label may be used only after its commit.
        for statement in change.split("; ") {
            scratch.execute(statement).await;
        }
        let shape = scratch.shape().await;

        let refusal = scratch.refuses(&["migrate", "up"], names);
        scratch.refuses(&["migrate", "up", "--dry-run"], names);
        let (status, told) = scratch.json(&["migrate", "up"]);
        let (looked, state) = scratch.json(&["migrate", "status"]);

        assert!(refusal.contains("nothing was changed"), "{case}: {refusal}");
        assert_eq!((status, looked), (Some(1), Some(0)), "{case}");
        assert_eq!(told["findings"], state["findings"], "{case}");
        assert_eq!(state["blocked"], true, "{case}");
        is_untouched(&scratch, &shape).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_and_harmless_is_taken() {
    let changes = [
        "ALTER TYPE integrationtype ADD VALUE 'pagerduty'",
        "CREATE TYPE integrationcategory AS ENUM \
         ('webhook','crm','messaging','communication','project_management', \
         'code_repository','ticketing')",
        "CREATE VIEW tickets_open AS SELECT id, title, status, integration_id FROM tickets",
        "CREATE VIEW who_is_on AS SELECT id, is_enabled FROM integrations",
        "ALTER TABLE integrations ADD COLUMN by_hand text",
        "CREATE INDEX by_hand ON integrations (integration_type, status)",
        "UPDATE alembic_version SET version_num = 'dba8a43efbc8'",
    ];
    let scratch = Legacy::new().await.scratch;
    for change in changes {
        scratch.execute(change).await;
    }

    let text = scratch.does(&["migrate", "up"]);
    scratch.does(&["migrate", "rollback", "--to", "1"]);
    scratch.does(&["migrate", "up"]);

    assert!(text.contains("alembic_version says dba8a43efbc8"), "{text}");
    let client = scratch.client().await;
    let rows = client.query("SELECT is_enabled FROM who_is_on", &[]).await;
    assert_eq!(rows.unwrap().len(), 57);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_names_the_rows_that_it_would_lose() {
    let legacy = Legacy::refactored().await;
    let scratch = &legacy.scratch;
    let id = |n: usize| legacy.sealed[2 * n].id.to_string();
    scratch.does(&["migrate", "up"]);
    scratch
        .execute(&format!(
            "UPDATE integrations SET platform_name = 'confluence' WHERE id = '{}';
             UPDATE integrations SET platform_name = '' WHERE id = '{}';
             UPDATE integrations SET platform_name = E' Slack\t' WHERE id = '{}';
             UPDATE integrations SET platform_name = 'JIRA' WHERE id = '{}';
             UPDATE integrations SET integration_category = 'messaging' WHERE id = '{}'",
            id(0),
            id(1),
            id(5),
            id(15),
            id(12)
        ))
        .await;
    let (shape, before) = (scratch.shape().await, scratch.images("integrations").await);

    // Defect 4: no type is invented, whatever is accepted.
    let back = ["migrate", "rollback", "--to", "1"];
    let named = [
        &id(0),
        "'confluence'",
        &id(1),
        "platform_name ''",
        &id(12),
        "webhook is in messaging",
    ];
    let text = scratch.refuses(&back, &named);
    assert!(!text.contains(&id(5)) && !text.contains(&id(15)), "{text}");
    scratch.refuses(
        &[&back[..], &["--accept-loss"]].concat(),
        &["(2)", "confluence"],
    );
    scratch.refuses(&[&back[..], &["--dry-run"]].concat(), &["confluence"]);
    assert_eq!(scratch.shape().await, shape);
    assert_eq!(scratch.images("integrations").await, before);

    // Defect 5: a category of one's own is lost, and so wants a word.
    let known = format!(
        "UPDATE integrations SET platform_name = 'jira', integration_category = 'ticketing' \
         WHERE id IN ('{}', '{}')",
        id(0),
        id(1)
    );
    scratch.execute(&known).await;
    let (status, refusal) = scratch.json(&back);
    assert_eq!(status, Some(1));
    let findings = refusal["findings"].as_array().unwrap();
    assert_eq!(
        (findings.len(), &findings[0]["count"]),
        (1, &json!(1)),
        "{refusal:#}"
    );
    assert_eq!(findings[0]["accept_loss"], true);
    scratch.does(&[&back[..], &["--accept-loss", "--dry-run"]].concat());
    assert_eq!(scratch.shape().await, shape, "a dry run changes nothing");
    scratch.does(&[&back[..], &["--accept-loss"]].concat());

    let types = split(&scratch.images("integrations").await, &OLD).1;
    let of = |n| types[&id(n)][0].trim_matches('\'').to_owned();
    assert_eq!([of(5), of(15), of(12)], ["slack", "jira", "webhook"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_not_taken_away_with_anything_in_it() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Whose author nobody knows").await;
    world.succeeds(create).await;
    let environment = world.environment();
    let run = |arguments: &[&str]| {
        let output = crate::support::output(&environment, arguments);
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    };

    let (status, text) = run(&["migrate", "rollback", "--to", "2", "--accept-loss"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("workers are running") && text.contains("w1"),
        "{text}"
    );
    // One that was killed is gone at once, whatever its lease says.
    worker.kill();
    crate::support::wait_for("the server to notice", async || {
        let text = run(&["migrate", "rollback", "--to", "2"]).1;
        (!text.contains("workers are running")).then_some(())
    })
    .await;
    let (status, text) = run(&["migrate", "rollback", "--to", "1"]);
    assert_eq!(status, Some(1), "{text}");
    for named in [
        &format!("{create} ticket.create, succeeded"),
        &format!("{ticket}: created_by_id NULL"),
        &format!("{ticket}: integration_result, external_ref"),
        &format!("{} (Jira): project_key", world.integration),
        "keys rotate --to-legacy",
        "--accept-loss",
    ] {
        assert!(text.contains(named), "no {named:?} in {text}");
    }

    let (status, text) = run(&["migrate", "rollback", "--to", "1", "--accept-loss"]);

    assert_eq!(status, Some(0), "{text}");
    assert_eq!(world.count("SELECT count(*) FROM tickets").await, 0);
    let usage = "SELECT total_requests::bigint FROM integrations";
    assert!(
        world.count(usage).await > 0,
        "usage that was not added up is kept"
    );
    let (status, text) = run(&["migrate", "rollback", "--to", "0"]);
    assert_eq!(
        status,
        Some(1),
        "V1 made these tables, so they would go: {text}"
    );
    assert!(
        text.contains("integrations go (1)") && text.contains("organizations go (1)"),
        "{text}"
    );
    let (status, _) = run(&["migrate", "rollback", "--to", "0", "--accept-loss"]);
    assert_eq!(status, Some(0));
    let left = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(world.count(left).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn adopted_tables_are_left_alone_without_the_mark_too() {
    let legacy = Legacy::new().await;
    let scratch = &legacy.scratch;
    let (shape, before) = (scratch.shape().await, scratch.images("integrations").await);
    scratch.does(&["migrate", "up"]);
    // As the versions before this one left it.
    scratch
        .execute("COMMENT ON TABLE refinery_schema_history IS NULL")
        .await;

    let text = scratch.does(&["migrate", "rollback", "--to", "0"]);

    assert!(text.contains("adopted"), "{text}");
    is_untouched(scratch, &shape).await;
    assert_eq!(scratch.images("integrations").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_change_nothing() {
    let legacy = Legacy::new().await;
    let scratch = &legacy.scratch;
    let shape = scratch.shape().await;

    let up = scratch.does(&["migrate", "up", "--dry-run"]);

    assert!(up.contains("would apply V2__integration_refactor"), "{up}");
    is_untouched(scratch, &shape).await;
    scratch.does(&["migrate", "up"]);
    let (shape, images) = (scratch.shape().await, scratch.images("integrations").await);

    let back = scratch.does(&["migrate", "rollback", "--to", "0", "--dry-run"]);

    assert!(back.contains("would take back V1__legacy_shape"), "{back}");
    assert_eq!(scratch.shape().await, shape);
    assert_eq!(scratch.images("integrations").await, images);
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_at_once_and_a_busy_table_do_no_harm() {
    let legacy = Legacy::new().await;
    let scratch = &legacy.scratch;
    let before = scratch.images("integrations").await;
    let holder = scratch.client().await;
    holder
        .batch_execute("BEGIN; SELECT count(*) FROM integrations")
        .await
        .unwrap();

    let runs: Vec<_> = (0..4)
        .map(|_| {
            let environment = scratch.environment.clone();
            tokio::task::spawn_blocking(move || {
                crate::support::output(&environment, &["migrate", "up"]).status
            })
        })
        .collect();
    // A reader behind the one that waits for the lock is served within its timeout, long before the
    // holder ends.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let reader = scratch.client().await;
    let began = std::time::Instant::now();
    let read = reader
        .query_one("SELECT count(*) FROM integrations", &[])
        .await;
    assert_eq!(read.unwrap().get::<_, i64>(0), 57);
    assert!(
        began.elapsed() < std::time::Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    holder.batch_execute("COMMIT").await.unwrap();

    for run in runs {
        assert!(run.await.unwrap().success());
    }
    let (rest, _) = split(&scratch.images("integrations").await, &NEW);
    assert_eq!(split(&rest, &OURS).0, split(&before, &OLD).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_built_beside_readers_and_what_a_broken_build_left_is_built_anew() {
    let scratch = Legacy::new().await.scratch;
    let index = [migrate::Index {
        version: 3,
        name: "tickets_title_test",
        sql: "CREATE INDEX CONCURRENTLY IF NOT EXISTS tickets_title_test ON tickets (lower(title))",
    }];
    let client = scratch.client().await;
    let state = async || migrate::index_states(&client, &index).await.unwrap()[0].1;

    assert_eq!(state().await, migrate::IndexState::Missing);
    // An interrupted build leaves an index that costs writes and serves nobody.
    let broken = "CREATE UNIQUE INDEX CONCURRENTLY tickets_title_test ON tickets (priority)";
    client.batch_execute(broken).await.unwrap_err();
    assert_eq!(state().await, migrate::IndexState::Invalid);

    let built = migrate::build_indexes(&client, &index).await.unwrap();

    assert_eq!(built, ["tickets_title_test"]);
    assert_eq!(state().await, migrate::IndexState::Valid);
    assert!(
        migrate::build_indexes(&client, &index)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_newer_is_left_to_the_newer_program() {
    let scratch = Scratch::empty().await;
    scratch.does(&["migrate", "up"]);
    scratch
        .execute(
            "INSERT INTO refinery_schema_history (version, name) VALUES (99, 'from_the_future')",
        )
        .await;

    for arguments in [
        ["migrate", "up"].as_slice(),
        &["run"],
        &["keys", "rotate", "--dry-run"],
    ] {
        let mut scratch_environment = scratch.environment.clone();
        scratch_environment.insert(
            "TICKETWIRE__SECRETS__KEYS".into(),
            ticketwire::secrets::generate("k1"),
        );
        let output = crate::support::output(&scratch_environment, arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.contains("version 99") && text.contains("migrate rollback --to"),
            "{text}"
        );
    }
}

/// Every integration's category and platform are its old type's, and nothing else of it has
/// changed.
fn assert_refactored(before: &Images, after: &Images) {
    let (rest_before, old) = split(before, &OLD);
    let (rest_after, new) = split(after, &NEW);
    assert!(split(&rest_after, &OURS).0 == rest_before);
    for (id, old) in &old {
        let platform = old[0].trim_matches('\'');
        let (_, category) = TYPES.iter().find(|(name, _)| *name == platform).unwrap();
        let expected = vec![format!("'{category}'"), old[0].clone(), old[1].clone()];
        assert_eq!(new[id], expected, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_is_refactored_beside_readers_and_writers() {
    let legacy = Legacy::large(6000).await;
    let scratch = &legacy.scratch;
    let (shape, before) = (scratch.shape().await, scratch.images("integrations").await);
    // Holds a row for a while, as a long transaction of the application does.
    let holder = scratch.client().await;
    let held = "BEGIN; UPDATE integrations SET last_error_message = 'held' WHERE id IN (SELECT \
                id FROM integrations ORDER BY id LIMIT 1)";
    holder.batch_execute(held).await.unwrap();

    let environment = scratch.environment.clone();
    let run = tokio::task::spawn_blocking(move || {
        crate::support::output(&environment, &["migrate", "up"])
    });
    let reader = scratch.client().await;
    let mut longest = std::time::Duration::ZERO;
    let mut inserted = 0;
    while inserted < 40 {
        let began = std::time::Instant::now();
        // Until the last moment the application writes as it always did.
        let insert = "INSERT INTO integrations SELECT (json_populate_record(i, \
                      json_build_object('id', gen_random_uuid(), \
                      'name', 'written meanwhile', 'integration_type', 'sms'))).* FROM (SELECT i \
                      FROM integrations i \
                      WHERE name = 'O''Brien \\ 100%' LIMIT 1) AS i";
        if reader.batch_execute(insert).await.is_err() {
            break;
        }
        longest = longest.max(began.elapsed());
        inserted += 1;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    let output = run.await.unwrap();

    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(
        inserted > 0 && longest < std::time::Duration::from_secs(4),
        "{inserted} {longest:?}"
    );
    let mut after = scratch.images("integrations").await;
    let meanwhile: Vec<String> = after
        .iter()
        .filter(|(_, image)| image["name"] == "'written meanwhile'")
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(meanwhile.len(), inserted);
    for id in meanwhile {
        let image = after.remove(&id).unwrap();
        assert_eq!(
            (&*image["platform_name"], &*image["integration_category"]),
            ("'sms'", "'communication'")
        );
    }
    assert_refactored(&before, &after);
    let done = scratch.shape().await;
    assert!(
        !done
            .iter()
            .any(|line| line.contains("ticketwire_refactor")
                || line.contains("type integrationtype"))
    );
    let fresh = Scratch::empty().await;
    fresh.does(&["migrate", "up"]);
    let mut made = done;
    made.retain(|line| !line.contains("alembic_version") && !line.contains("agents"));
    assert_eq!(
        made,
        fresh.shape().await,
        "the same shape as on the straight way"
    );
    assert!(scratch.does(&["migrate", "up"]).contains("nothing to do"));
    scratch
        .execute("DELETE FROM integrations WHERE name = 'written meanwhile'")
        .await;
    scratch.does(&["migrate", "rollback", "--to", "0"]);
    is_untouched(scratch, &shape).await;
    assert!(scratch.images("integrations").await == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_refactoring_goes_on_or_is_taken_back() {
    let legacy = Legacy::large(3000).await;
    let scratch = &legacy.scratch;
    let (shape, before) = (scratch.shape().await, scratch.images("integrations").await);
    // A snapshot that is held for ever: the concurrent build of an index waits for it, and is ended
    // there.
    let holder = scratch.client().await;
    let held = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    let interrupt = async || {
        holder.batch_execute(held).await.unwrap();
        let mut child = crate::support::start(&scratch.environment, &["migrate", "up"]);
        let building = "SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)";
        crate::support::wait_for("an index to be in the building", async || {
            let row = scratch.client().await.query_one(building, &[]).await.ok()?;
            row.get::<_, bool>(0).then_some(())
        })
        .await;
        let end_it = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                      WHERE datname = current_database() \
                      AND application_name = 'ticketwire migrate'";
        scratch.execute(end_it).await;
        assert_eq!(child.wait().unwrap().code(), Some(1));
        holder.batch_execute("ROLLBACK").await.unwrap();
    };

    interrupt().await;
    let (_, status) = scratch.json(&["migrate", "status"]);
    assert!(
        status["notes"][0].as_str().unwrap().contains("interrupted"),
        "{status:#}"
    );
    assert_eq!(status["blocked"], false, "{status:#}");
    scratch.does(&["migrate", "up", "--dry-run"]);
    scratch.refuses(&["run"], &["ticketwire migrate up"]);
    scratch.does(&["migrate", "rollback", "--to", "0"]);
    is_untouched(scratch, &shape).await;
    assert!(scratch.images("integrations").await == before);

    interrupt().await;
    scratch.does(&["migrate", "up"]);
    assert_refactored(&before, &scratch.images("integrations").await);
}

/// What the legacy application selects, inserts and updates, by the columns that it knows of each
/// table.
#[tokio::test(flavor = "multi_thread")]
async fn the_legacy_application_goes_on_with_its_tables_while_a_worker_runs() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (client, _connection) = connect(&world.database_url.as_str().into(), "legacy")
        .await
        .unwrap();
    let (organization, integration) = (world.organization, world.integration);
    let author = "00000000-0000-4000-9000-000000000001";
    let ticket = "00000000-0000-4000-9000-0000000000aa";
    let (by_worker, made) = world.create("Made by the worker").await;
    world.succeeds(by_worker).await;

    let works = [
        // As an ORM writes them: every column named, every default supplied, as no column has one.
        format!(
            "INSERT INTO users (email, full_name, password_hash, is_active, is_verified, is_admin, role, permissions,
               login_count, failed_login_attempts, preferences, timezone, language, organization_id, id, created_at,
               updated_at, is_deleted)
             VALUES ('a@example.test', 'A', 'x', true, false, false, 'USER', 'null', '0', '0', '{{}}', 'UTC', 'en',
               '{organization}', '{author}', now(), now(), false)"
        ),
        format!(
            "INSERT INTO tickets (title, description, status, priority, category, created_by_id, assigned_to_id, urgency,
               business_impact, last_activity_at, communication_count, escalation_level, source_channel, source_details,
               custom_fields, sla_breached, id, created_at, updated_at, is_deleted, organization_id, integration_id)
             VALUES ('Made by the application', 'It hurts.', 'new', 'medium', 'general', '{author}', NULL, 'medium', 'low',
               now(), 0, 0, 'web', 'null', 'null', false, '{ticket}', now(), now(), false, '{organization}', '{integration}')"
        ),
        format!(
            "UPDATE tickets SET status = 'open', assigned_to_id = '{author}', updated_at = now() \
             WHERE tickets.id = '{ticket}'"
        ),
        format!("UPDATE tickets SET is_deleted = true, deleted_at = now() WHERE id = '{ticket}'"),
        "UPDATE integrations SET status = 'inactive', last_error_message = 'Disabled: x', \
         updated_at = now() WHERE name = 'none'"
            .to_owned(),
        "UPDATE organizations SET is_enabled = true, updated_at = now()".to_owned(),
        format!(
            "UPDATE integrations SET total_requests = total_requests + 1, \
             last_request_at = now() WHERE id = '{integration}'"
        ),
    ];
    for sql in &works {
        client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    // Every column of its model of each table, but the two that the refactoring took.
    let mut columns: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut table = None;
    for line in include_str!("support/legacy.sql").lines() {
        match line.strip_prefix("CREATE TABLE ") {
            Some(rest) => table = rest.split_whitespace().next(),
            None if line.starts_with(')') => table = None,
            None => {
                let column = line.split_whitespace().next().unwrap_or_default();
                if let Some(table) = table.filter(|_| column != "CONSTRAINT") {
                    columns.entry(table).or_default().push(column);
                }
            }
        }
    }
    columns.remove("alembic_version");
    columns
        .get_mut("integrations")
        .unwrap()
        .retain(|column| !OLD.contains(column));
    assert_eq!(columns.len(), 4);
    for (table, columns) in &columns {
        let named: Vec<String> = columns
            .iter()
            .map(|column| format!("{table}.{column}"))
            .collect();
        let sql = format!(
            "SELECT {} FROM {table} WHERE {table}.is_deleted = false",
            named.join(", ")
        );
        let rows = client.query(&sql, &[]).await;
        assert!(
            !rows
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
                .is_empty()
        );
    }
    // A ticket of the worker's: the application's model demands an author, the row may have none.
    let sql = "SELECT t.status::text, t.external_ticket_id, t.created_by_id IS NULL FROM tickets t \
               JOIN integrations i ON i.id = t.integration_id \
               JOIN organizations o ON o.id = t.organization_id WHERE t.id = $1";
    let row = client.query_one(sql, &[&made]).await.unwrap();
    assert!(row.get::<_, Option<String>>(1).is_some() && row.get::<_, bool>(2));

    let gone = [
        "SELECT integration_type FROM integrations",
        "SELECT id FROM integrations WHERE integrations.is_enabled = true",
        "UPDATE integrations SET is_enabled = false",
    ];
    for sql in gone {
        let code = client.batch_execute(sql).await.unwrap_err().code().cloned();
        assert_eq!(
            code.unwrap().code(),
            "42703",
            "documented as what cannot go on: {sql}"
        );
    }
    // And the worker goes on, where the application wrote JSON null too.
    let null = format!(
        "UPDATE tickets SET custom_fields = 'null' WHERE id = '{made}';
         UPDATE integrations SET custom_fields_mapping = '{{\"customer\": \"customfield_10010\"}}'"
    );
    client.batch_execute(&null).await.unwrap();
    let change = json!({ "ticket_id": made, "custom_fields": { "customer": "x" } });
    let update = world.publish("ticket.update", change).await;
    world.succeeds(update).await;
    let fields = "SELECT custom_fields::text FROM tickets WHERE id = $1";
    let fields = world.text(fields, &[&made]).await.unwrap();
    let fields: Value = serde_json::from_str(&fields).unwrap();
    assert_eq!(fields, json!({ "customer": "x" }));
    drop(worker);
}
