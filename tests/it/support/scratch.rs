//! A database of a test's own, not migrated yet; removed when the test ends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use ticketwire::store::{Client, connect, create_database};
use uuid::Uuid;

use super::{output, services};

pub(crate) struct Scratch {
    pub(crate) url: String,
    pub(crate) environment: BTreeMap<String, String>,
}

/// Rows of a table by their id, each as `column=value` for every column in the order of their
/// names.
pub(crate) type Images = BTreeMap<String, BTreeMap<String, String>>;

impl Scratch {
    pub(crate) async fn empty() -> Self {
        let (server, amqp) = services();
        let (server, _) = server.rsplit_once('/').unwrap();
        let url = format!("{server}/tw_test_{}", Uuid::new_v4().simple());
        create_database(&url.as_str().into()).await.unwrap();
        let environment = BTreeMap::from([
            ("DATABASE_URL".to_owned(), url.clone()),
            ("AMQP_URL".to_owned(), amqp),
            // Two workers of a machine cannot listen in one place.
            ("TICKETWIRE__HTTP__WEBHOOK_LISTEN".to_owned(), String::new()),
        ]);
        Self { url, environment }
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.url.as_str().into(), "tests").await.unwrap().0
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let done = self.client().await.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Runs the program; its exit status, and what it printed on both.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = output(&self.environment, arguments);
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    }

    /// Runs the program, which must succeed.
    pub(crate) fn does(&self, arguments: &[&str]) -> String {
        let (status, text) = self.run(arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {text}");
        text
    }

    /// Runs the program, which must refuse and name all of these.
    pub(crate) fn refuses(&self, arguments: &[&str], names: &[&str]) -> String {
        let (status, text) = self.run(arguments);
        assert_eq!(status, Some(1), "{arguments:?}: {text}");
        for name in names {
            assert!(text.contains(name), "{arguments:?}: no {name:?} in {text}");
        }
        text
    }

    /// The exit status and the one JSON document on stdout.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = output(&self.environment, &[&["--json"], arguments].concat());
        let out = String::from_utf8_lossy(&output.stdout);
        let json = serde_json::from_str(&out)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"));
        (output.status.code(), json)
    }

    /// Tables, columns, types, indexes and constraints of the public schema, a line each.
    pub(crate) async fn shape(&self) -> BTreeSet<String> {
        const SQL: &str = "SELECT format('column %s.%s %s %s %s', table_name, column_name, \
                           udt_name, is_nullable, column_default) \
                           FROM information_schema.columns WHERE table_schema = 'public' \
                           UNION SELECT 'index ' || indexdef FROM pg_indexes \
                           WHERE schemaname = 'public' \
                           UNION SELECT format('constraint %s %s %s', conrelid::regclass, conname, \
                           pg_get_constraintdef(oid)) \
                           FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
                           UNION SELECT format('type %s %s', typname, (SELECT \
                           string_agg(enumlabel, ',' \
                           ORDER BY enumsortorder) \
                           FROM pg_enum WHERE enumtypid = t.oid)) FROM pg_type t \
                           WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'";
        let rows = self.client().await.query(SQL, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Every row of a table, whole.
    pub(crate) async fn images(&self, table: &str) -> Images {
        let client = self.client().await;
        let sql = "SELECT column_name::text FROM information_schema.columns \
                   WHERE table_schema = 'public' \
                   AND table_name = $1 ORDER BY 1";
        let columns: Vec<String> = client
            .query(sql, &[&table])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let texts: Vec<String> = columns
            .iter()
            .map(|column| format!("quote_nullable(\"{column}\"::text)"))
            .collect();
        let sql = format!("SELECT id::text, ARRAY[{}] FROM {table}", texts.join(", "));
        let rows = client.query(&sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| {
                let values: Vec<String> = row.get(1);
                let image = columns.iter().cloned().zip(values).collect();
                (row.get(0), image)
            })
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let url = self.url.clone();
        // Dropping happens inside a runtime, which cannot be blocked on; a thread has its own.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (server, name) = url.rsplit_once('/').unwrap();
                let postgres = format!("{server}/postgres");
                if let Ok((client, _connection)) = connect(&postgres.as_str().into(), "tests").await
                {
                    let drop_it = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                    drop(client.batch_execute(&drop_it).await);
                }
            });
        });
        drop(removal.join());
    }
}
