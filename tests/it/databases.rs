//! The life of a ticket in databases as others run them: whatever the role is set to, whichever way
//! leads there, whatever happens in between. Where that cannot be, it is said before anything is
//! done. What each kind of setting does to migrations is shown in [`crate::migrations`], what a
//! pooler that is away or wrongly set does in [`crate::pooler`].

use serde_json::json;
use url::Url;

use crate::support::{OwnService, Scratch, World, free_address, output, services, wait_for};

#[derive(Clone, Copy)]
enum Condition {
    /// What the role is set to in this database.
    Role(&'static [&'static str]),
    /// The tables are in the schema `app`, which the role's search path names.
    SchemaOfRole,
    /// The same; the URL names it.
    SchemaOfUrl,
    /// A URL of another form.
    Url(fn(&Url) -> String),
    /// A PgBouncer that keeps sessions, and what the role is set to.
    Pooler(&'static [&'static str]),
    /// It takes no writes for a while, as when a standby takes over.
    SwitchOver,
}

const HASTE: &[&str] = &[
    "statement_timeout = '50ms'",
    "lock_timeout = '50ms'",
    "idle_in_transaction_session_timeout = '50ms'",
    "idle_session_timeout = '200ms'",
];
const FOREIGN: &[&str] = &[
    "TimeZone = 'Asia/Kathmandu'",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "extra_float_digits = -3",
    "client_encoding = 'LATIN1'",
];
const STRICT: &[&str] = &[
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on",
];
const OLD: &[&str] = &[
    "standard_conforming_strings = off",
    "backslash_quote = off",
    "transform_null_equals = on",
    "quote_all_identifiers = on",
];

/// `host:port` as it stands in the URL.
fn authority(url: &Url) -> String {
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap())
}

/// The address as libpq's `key='value'`.
fn pairs(url: &Url) -> String {
    let port = url.port().unwrap_or(5432).to_string();
    let name = url.path().trim_start_matches('/');
    let mut all = vec![
        ("host", url.host_str().unwrap()),
        ("port", &port),
        ("dbname", name),
        ("user", url.username()),
    ];
    all.extend(url.password().map(|password| ("password", password)));
    let one = |(key, value): (&str, &str)| format!("{key} = '{value}' ");
    all.into_iter().map(one).collect()
}

async fn set(world: &World, settings: &[&str]) {
    let client = world.client().await;
    let name = world.topology.prefix();
    for setting in settings {
        let sql = format!("ALTER ROLE CURRENT_USER IN DATABASE \"{name}\" SET {setting}");
        client.batch_execute(&sql).await.unwrap();
    }
}

/// What is in `public` from now on is in `app`.
async fn move_to_app(world: &World) {
    let sql = "ALTER SCHEMA public RENAME TO app; CREATE SCHEMA public";
    world.client().await.batch_execute(sql).await.unwrap();
}

/// Writes are refused, as by a server that is a standby now, until it is said otherwise.
async fn takes_writes(world: &World, yes: bool) {
    let name = world.topology.prefix();
    let client = world.client().await;
    let value = if yes { "off" } else { "on" };
    let sql = format!(
        "SET default_transaction_read_only = off; \
         ALTER DATABASE \"{name}\" SET default_transaction_read_only = {value}"
    );
    for statement in sql.split("; ") {
        client.batch_execute(statement).await.unwrap();
    }
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    client.query(others, &[]).await.unwrap();
}

/// One ticket from its creation to its end, and what people ask about it.
async fn live(world: &World, switches_over: bool) {
    let title = "Gr\u{f6}\u{df}e \u{6f22}\u{5b57} \u{1f5a8} O'Neil \\ \"Co\" $1";
    let worker = world.worker().await;
    let (create, ticket) = world.create(title).await;
    world.succeeds(create).await;
    if switches_over {
        takes_writes(world, false).await;
    }
    let data = json!({ "ticket_id": ticket, "body": title });
    let comment = world.publish("ticket.comment", data).await;
    if switches_over {
        wait_for("the worker to say that it waits", async || {
            let waits = "cannot make commands durable yet";
            worker.log().contains(waits).then_some(())
        })
        .await;
        takes_writes(world, true).await;
    }
    world.succeeds(comment).await;
    let data = json!({ "ticket_id": ticket, "status": "resolved", "resolution_summary": title });
    let status = world.publish("ticket.status", data).await;
    world.succeeds(status).await;

    let found = world
        .ask("ticket.search", json!({ "q": "\u{6f22}\u{5b57}" }))
        .await;
    assert_eq!(found["data"]["outcome"], "succeeded", "{found:#}");
    let result = found["data"]["result"].to_string();
    assert!(result.contains(&ticket.to_string()), "{result}");
    let listed = world.cli(&["command", "list", "--since", "10m"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed:#}");
    let shown = world.cli(&["command", "show", &create.to_string()]);
    assert_eq!(shown["command"]["state"], "succeeded", "{shown:#}");
    world.cli(&["doctor"]);
    let up = world.cli(&["migrate", "status"]);
    assert_eq!(up["pending"], json!([]), "{up:#}");
    world.cli(&["migrate", "up"]);

    world.close_the_ledger(&[create, comment, status]).await;
    let row = "SELECT concat_ws('/', title, status, (now() - created_at) BETWEEN \
               interval '0 s' AND interval '5 min') FROM tickets WHERE id = $1";
    let row = world.text(row, &[&ticket]).await.unwrap();
    assert_eq!(row, format!("{title}/resolved/t"));
    let jira = world.jira();
    assert_eq!(jira.issues.len(), 1, "{:#?}", jira.issues);
    let issue = &jira.issues[0];
    // The comment, and the resolution's summary.
    assert_eq!((issue.summary.as_str(), issue.comments.len()), (title, 2));
    assert_eq!(issue.status_category, "done");
    assert!(worker.stop().await.success());
}

async fn under(condition: Condition) {
    let pooler = match condition {
        Condition::Pooler(_) => match OwnService::pgbouncer("session") {
            Some(pooler) => Some(pooler),
            None => return,
        },
        _ => None,
    };
    let mut world = World::new().await;
    let url = Url::parse(&world.database_url).unwrap();
    match condition {
        Condition::Role(settings) | Condition::Pooler(settings) => set(&world, settings).await,
        Condition::SchemaOfRole => {
            move_to_app(&world).await;
            set(&world, &["search_path = app"]).await;
        }
        Condition::SchemaOfUrl => {
            move_to_app(&world).await;
            set(&world, &["search_path = nowhere"]).await;
        }
        Condition::Url(_) | Condition::SwitchOver => {}
    }
    match condition {
        Condition::Url(form) => world.set("DATABASE_URL", &form(&url)),
        Condition::SchemaOfUrl => {
            let own = format!("{url}?options=-c%20search_path%3Dapp");
            world.set("DATABASE_URL", &own);
            // The test looks there as well, until it is over.
            world.database_url = own;
        }
        Condition::Role(_)
        | Condition::SchemaOfRole
        | Condition::Pooler(_)
        | Condition::SwitchOver => {}
    }
    if let Some(pooler) = &pooler {
        let (address, _) = pooler.url.rsplit_once('/').unwrap();
        world.set("DATABASE_URL", &format!("{address}{}", url.path()));
    }
    live(&world, matches!(condition, Condition::SwitchOver)).await;
    world.database_url = url.into();
}

macro_rules! a_ticket_lives_with {
    ($($name:ident: $condition:expr,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            under($condition).await;
        }
    )+};
}

a_ticket_lives_with! {
    a_role_in_haste: Condition::Role(HASTE),
    a_role_of_another_place: Condition::Role(FOREIGN),
    another_time_zone: Condition::Role(&["TimeZone = 'America/St_Johns'"]),
    a_strict_role: Condition::Role(STRICT),
    repeatable_read: Condition::Role(&["default_transaction_isolation = 'repeatable read'"]),
    a_role_of_old: Condition::Role(OLD),
    a_search_path_of_the_role: Condition::SchemaOfRole,
    a_search_path_in_the_url: Condition::SchemaOfUrl,
    a_pooler: Condition::Pooler(&[]),
    a_pooler_and_a_role_in_haste: Condition::Pooler(HASTE),
    a_pooler_and_a_role_of_another_place: Condition::Pooler(FOREIGN),
    a_switch_over: Condition::SwitchOver,
    the_other_scheme_and_a_line_break: Condition::Url(|url| {
        format!(" {}\n", url.as_str().replacen("postgres:", "postgresql:", 1))
    }),
    pairs_of_key_and_value: Condition::Url(pairs),
    all_in_the_query: Condition::Url(|url| {
        let rest = pairs(url).replace("' ", "&").replace(['\'', ' '], "");
        format!("postgresql://?{}", rest.trim_end_matches('&'))
    }),
    two_hosts_of_which_the_first_is_away: Condition::Url(|url| {
        let nowhere = free_address();
        let here = authority(url);
        let (user, _) = url.as_str().split_once(&here).unwrap();
        let name = url.path();
        format!("{user}{nowhere},{here}{name}?target_session_attrs=primary&connect_timeout=3")
    }),
    what_libpq_takes_and_the_driver_does_not: Condition::Url(|url| {
        format!(
            "{url}?sslmode=allow&gssencmode=disable&sslsni=0&keepalives_count=3\
             &client_encoding=UTF8&fallback_application_name=x&ssl_max_protocol_version=TLSv1.3\
             &application_name=mine&options=-c%20geqo%3Doff%20--work-mem=8MB"
        )
    }),
    a_name_in_percent_signs: Condition::Url(|url| {
        let name = url.path().trim_start_matches('/');
        let coded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        url.as_str().replace(name, &coded)
    }),
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_ticket_can_live_it_is_said_with_the_remedy() {
    let (server, _) = services();
    let (server, _) = server.rsplit_once('/').unwrap();
    let mut scratch = Scratch::empty().await;
    for (query, names) in [
        ("?target_session_attrs=standby", "say read-write"),
        ("?target_session_attrs=sometimes", "target_session_attrs"),
        ("?sslmode=sometimes", "verify-full"),
        ("?sslcert=%2Fa.pem", "log in with a password"),
        ("?sslcrldir=%2Fa", "revocation lists are not looked at"),
        ("?service=production", "put user and password into the URL"),
        ("?connect_timeout=soon", "connect_timeout"),
        ("?sslrootcert=%2Fnowhere.pem", "no file here"),
        ("?options=-c%20no_such_setting%3D1", "mend the options"),
        ("?options=-c%20TimeZone%3DMars", "mend the options"),
    ] {
        let url = format!("{server}/postgres{query}");
        scratch.environment.insert("DATABASE_URL".into(), url);
        for door in [&["migrate", "status"][..], &["doctor"], &["run"]] {
            let told = output(&scratch.environment, door);
            let text =
                String::from_utf8_lossy(&told.stdout) + String::from_utf8_lossy(&told.stderr);
            assert_ne!(told.status.code(), Some(0), "{query} {door:?}: {text}");
            assert!(text.contains(names), "{query} {door:?}: {text}");
        }
    }

    // Bytes of any kind: what one client wrote another could not read.
    let (_, name) = scratch.url.rsplit_once('/').unwrap();
    let ascii = format!("{name}_ascii");
    let make = format!(
        "CREATE DATABASE {ascii} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' \
         LC_CTYPE 'C'"
    );
    scratch.execute(&make).await;
    let url = scratch.url.replace(name, &ascii);
    scratch.environment.insert("DATABASE_URL".into(), url);
    scratch.refuses(
        &["migrate", "up"],
        &["SQL_ASCII", "ENCODING 'UTF8'", "nothing was changed"],
    );
    scratch.refuses(
        &["run", "--set", "http.listen="],
        &["ticketwire migrate up"],
    );
    scratch.execute(&format!("DROP DATABASE {ascii}")).await;
}
