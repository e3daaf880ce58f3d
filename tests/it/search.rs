//! `ticket.get`, `ticket.search`, `ticketwire ticket`: every filter and order, page by page; and
//! the plans on a million tickets.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use ticketwire::broker;
use ticketwire::contract::{Command, CommandType, Faults, Position, ReadCommand, TicketSearch};
use ticketwire::domain::{OrganizationId, TicketId};
use ticketwire::store::{
    Client, Searched, Store, StoreError, Words, connect, create_database, migrate,
};
use uuid::Uuid;

use crate::support::{World, command, output, services, wait_for};

/// A ticket as the table has it; what a test does not care for is plain.
#[derive(Clone)]
struct Row {
    id: Uuid,
    organization: Uuid,
    title: String,
    description: String,
    status: &'static str,
    category: &'static str,
    priority: &'static str,
    urgency: &'static str,
    department: Option<&'static str>,
    integration: Option<Uuid>,
    external: Option<&'static str>,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
    deleted: bool,
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000 + second, 123_457_000).unwrap()
}

impl Row {
    fn new(organization: Uuid, second: i64) -> Self {
        Self {
            id: Uuid::new_v4(),
            organization,
            title: format!("Ticket {second}"),
            description: "Plain".into(),
            status: "closed",
            category: "general",
            priority: "medium",
            urgency: "medium",
            department: None,
            integration: None,
            external: None,
            created: at(second),
            updated: at(second),
            deleted: false,
        }
    }
}

impl World {
    async fn insert(&self, rows: &[Row]) {
        const SQL: &str = "INSERT INTO tickets (id, organization_id, title, description, status, \
                           category, priority, \
                           urgency, department, integration_id, external_ticket_id, created_at, \
                           updated_at, \
                           is_deleted, \
                           last_activity_at, source_channel, business_impact, communication_count, \
                           escalation_level, sla_breached) \
                           VALUES ($1, $2, $3, $4, $5::text::ticketstatus, \
                           $6::text::ticketcategory, \
                           $7::text::ticketpriority, \
                           $8::text::ticketpriority, $9, $10, $11, $12, $13, $14, $13, 'api', \
                           'low', 0, 0, \
                           false)";
        let client = self.client().await;
        for r in rows {
            client
                .execute(
                    SQL,
                    &[
                        &r.id,
                        &r.organization,
                        &r.title,
                        &r.description,
                        &r.status,
                        &r.category,
                        &r.priority,
                        &r.urgency,
                        &r.department,
                        &r.integration,
                        &r.external,
                        &r.created,
                        &r.updated,
                        &r.deleted,
                    ],
                )
                .await
                .unwrap();
        }
    }

    /// Asks over RabbitMQ and returns the answer's data.
    async fn asked(&self, command_type: &str, data: Value) -> Value {
        self.ask_for(self.organization, command_type, data).await
    }

    async fn ask_for(&self, organization: Uuid, command_type: &str, data: Value) -> Value {
        let url = self.amqp_url.as_str().into();
        let connection = broker::connect_tool(&url, &self.topology).await.unwrap();
        let body = command(command_type, Uuid::now_v7(), organization, &data).to_string();
        let limit = Duration::from_secs(30);
        let answer = broker::call(&connection, &self.topology, command_type, &body, limit).await;
        let mut answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        answer["data"].take()
    }

    async fn search(&self, data: Value) -> Value {
        let mut answer = self.asked("ticket.search", data).await;
        assert_eq!(answer["outcome"], "succeeded", "{answer:#}");
        answer["result"].take()
    }

    /// All pages of a search.
    async fn pages(&self, data: &Value, limit: usize) -> Vec<Uuid> {
        let mut found = Vec::new();
        let mut data = data.clone();
        data["limit"] = json!(limit);
        loop {
            let page = self.search(data.clone()).await;
            let page_ids = ids(&page);
            assert!(page_ids.len() <= limit);
            found.extend(page_ids);
            if page["next_cursor"].is_null() {
                return found;
            }
            data["cursor"] = page["next_cursor"].clone();
        }
    }
}

fn ids(page: &Value) -> Vec<Uuid> {
    let tickets = page["tickets"].as_array().unwrap();
    tickets
        .iter()
        .map(|ticket| ticket["ticket_id"].as_str().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_of_a_search_finds_its_tickets_and_no_others() {
    let world = World::new().await;
    let worker = world.worker().await;
    let plain = Row::new(world.organization, 0);
    let mut special = Row::new(world.organization, 100);
    special.title = "Printer on fire".into();
    special.description = "Since Übermorgen, see login-page and mail bob@example.test".into();
    special.status = "open";
    special.category = "bug";
    special.priority = "critical";
    special.urgency = "high";
    special.department = Some("Facilities");
    special.integration = Some(world.integration);
    special.external = Some("SUP-17");
    special.updated = at(200);
    world.insert(&[plain.clone(), special.clone()]).await;

    let only_special = [
        json!({ "status": "open" }),
        json!({ "category": "bug" }),
        json!({ "priority": "critical" }),
        json!({ "urgency": "high" }),
        json!({ "department": "Facilities" }),
        json!({ "integration_id": world.integration }),
        json!({ "created_after": at(100) }),
        json!({ "created_after": at(50), "created_before": at(101) }),
        json!({ "updated_after": at(200) }),
        json!({ "updated_after": at(1), "updated_before": at(201) }),
        json!({ "q": "printer" }),
        json!({ "q": "FIRE printer" }),
        json!({ "q": "\"on fire\"" }),
        json!({ "q": "übermorgen" }),
        json!({ "q": "login-page" }),
        json!({ "q": "bob@example.test" }),
        json!({ "q": "nothing or printer" }),
        json!({ "q": "SUP-17" }),
        json!({ "q": "fire or printer -plain" }),
        json!({ "q": "printer", "status": "open", "sort_by": "updated_at", "sort_order": "asc" }),
    ];
    for filter in only_special {
        let found = world.search(filter.clone()).await;
        assert_eq!(ids(&found), [special.id], "{filter}: {found:#}");
        assert_eq!(found["next_cursor"], Value::Null);
    }
    let neither = [
        json!({ "status": "open", "category": "billing" }),
        json!({ "created_before": at(0) }),
        json!({ "created_after": at(101) }),
        json!({ "department": "facilities" }),
        json!({ "integration_id": Uuid::new_v4() }),
        json!({ "q": "\"fire on\"" }),
        json!({ "q": "printer -fire" }),
        json!({ "q": "sup-17" }),
        json!({ "q": "'); DROP TABLE tickets; --" }),
        json!({ "q": world.organization.to_string() }),
    ];
    for filter in neither {
        let found = world.search(filter.clone()).await;
        assert_eq!(ids(&found), [] as [Uuid; 0], "{filter}: {found:#}");
    }
    let newest_first = [special.id, plain.id];
    assert_eq!(ids(&world.search(json!({})).await), newest_first);
    assert_eq!(
        ids(&world.search(json!({ "sort_order": "asc" })).await),
        [plain.id, special.id]
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_search_lose_and_repeat_nothing_while_tickets_come_at_one_moment() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut rows: Vec<Row> = (0..47)
        .map(|n| {
            let mut row = Row::new(world.organization, n % 3);
            // Other moments, and a microsecond apart.
            row.updated = at(n % 2) + TimeDelta::microseconds(n % 5);
            row.description = "haystack".into();
            row
        })
        .collect();
    world.insert(&rows).await;

    for (key, of) in [
        (
            "created_at",
            (|row: &Row| row.created) as fn(&Row) -> DateTime<Utc>,
        ),
        ("updated_at", |row: &Row| row.updated),
    ] {
        rows.sort_by_key(|row| (of(row), row.id));
        let ascending: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        for (order, words) in [
            ("asc", false),
            ("desc", false),
            ("asc", true),
            ("desc", true),
        ] {
            let mut data = json!({ "sort_by": key, "sort_order": order });
            if words {
                data["q"] = json!("haystack");
            }
            let mut expected = ascending.clone();
            if order == "desc" {
                expected.reverse();
            }
            assert_eq!(world.pages(&data, 10).await, expected, "{data}");
            assert_eq!(world.pages(&data, 47).await, expected, "{data}");
        }
    }

    // Newest first, and something newer comes with every page: it is not seen, and moves nothing.
    rows.sort_by_key(|row| (row.created, row.id));
    let before: Vec<Uuid> = rows.iter().rev().map(|row| row.id).collect();
    let mut found = Vec::new();
    let mut data = json!({ "limit": 7 });
    for page in 0.. {
        let answer = world.search(data.clone()).await;
        found.extend(ids(&answer));
        if answer["next_cursor"].is_null() {
            break;
        }
        data["cursor"] = answer["next_cursor"].clone();
        world
            .insert(&[Row::new(world.organization, 1000 + page)])
            .await;
    }
    assert_eq!(found, before);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_thousands_of_tickets_have_are_paged_like_rare_ones() {
    const MANY: &str = "INSERT INTO tickets (id, organization_id, title, description, status, \
                        category, priority, urgency, \
                        created_at, updated_at, is_deleted, last_activity_at, source_channel, \
                        business_impact, \
                        communication_count, \
                        escalation_level, sla_breached) SELECT gen_random_uuid(), $1, \
                        'Common word ' || n, \
                        CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END, 'open', 'bug', 'low', \
                        'low', at, at, \
                        false, at, 'api', 'low', 0, \
                        0, false FROM (SELECT n, timestamptz '2026-01-01' + n / 7 * interval '1 \
                        minute' AS at \
                        FROM generate_series(1, 11000) AS n) AS s";
    let world = World::new().await;
    let client = world.client().await;
    client.execute(MANY, &[&world.organization]).await.unwrap();
    let store = Store::new(&world.database_url.as_str().into(), 1, "tests").unwrap();
    let organization = Some(OrganizationId::new(world.organization));

    for (q, condition) in [
        ("common", "true"),
        ("\"common word\"", "true"),
        ("common -even", "description = 'odd'"),
        ("even", "description = 'even'"),
    ] {
        for organization in [organization, None] {
            let sql = format!("SELECT id FROM tickets WHERE {condition} ORDER BY created_at, id");
            let rows = client.query(&sql, &[]).await.unwrap();
            let expected: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            let data = json!({ "q": q, "sort_order": "asc", "limit": 100 });
            let mut search = parsed(&data);
            let mut found = Vec::new();
            loop {
                let page = match store.search_tickets(organization, &search).await.unwrap() {
                    Searched::Page(page) => page,
                    other @ (Searched::TooSlow | Searched::Busy) => panic!("{q}: {other:?}"),
                };
                found.extend(ids(&json!({ "tickets": page.tickets })));
                match page.next_cursor {
                    Some(cursor) => search.after = Some(search.position(&cursor).unwrap()),
                    None => break,
                }
            }
            assert!(expected.len() >= 5000);
            assert!(
                found == expected,
                "{q}: {} of {}",
                found.len(),
                expected.len()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_sees_one_tenant_and_nothing_deleted() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (other, nobody) = (Uuid::new_v4(), Uuid::new_v4());
    let client = world.client().await;
    let organization = "INSERT INTO organizations (id, name, is_enabled, timezone, plan, \
                        created_at, updated_at, \
                        is_deleted) VALUES ($1, 'Other', true, 'UTC', 'basic', now(), now(), \
                        false)";
    client.execute(organization, &[&other]).await.unwrap();
    let mine = Row::new(world.organization, 0);
    let theirs = Row::new(other, 1);
    let mut gone = Row::new(world.organization, 2);
    gone.deleted = true;
    world
        .insert(&[mine.clone(), theirs.clone(), gone.clone()])
        .await;

    for data in [
        json!({}),
        json!({ "q": "ticket" }),
        json!({ "sort_by": "updated_at" }),
    ] {
        assert_eq!(ids(&world.search(data).await), [mine.id]);
    }
    let got = world
        .asked("ticket.get", json!({ "ticket_id": mine.id }))
        .await;
    assert_eq!(got["outcome"], "succeeded", "{got:#}");
    for id in [theirs.id, gone.id, Uuid::new_v4()] {
        let got = world.asked("ticket.get", json!({ "ticket_id": id })).await;
        assert_eq!(got["error"]["code"], "ticket_not_found", "{got:#}");
    }
    for (command_type, data) in [
        ("ticket.search", json!({})),
        ("ticket.get", json!({ "ticket_id": mine.id })),
    ] {
        let got = world.ask_for(nobody, command_type, data.clone()).await;
        assert_eq!(got["error"]["code"], "organization_not_found", "{got:#}");
        let got = world.ask_for(other, command_type, data.clone()).await;
        assert_ne!(
            got["result"]["ticket"]["ticket_id"],
            json!(mine.id),
            "{got:#}"
        );
    }
    let disable = "UPDATE organizations SET is_enabled = false WHERE id = $1";
    client
        .execute(disable, &[&world.organization])
        .await
        .unwrap();
    let got = world.asked("ticket.search", json!({})).await;
    assert_eq!(got["error"]["code"], "organization_disabled", "{got:#}");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_cannot_be_is_rejected_with_every_fault_by_name() {
    let world = World::new().await;
    let worker = world.worker().await;
    let rows: Vec<Row> = (0..3).map(|n| Row::new(world.organization, n)).collect();
    world.insert(&rows).await;
    let first = world
        .search(json!({ "status": "closed", "limit": 1 }))
        .await;
    let cursor = first["next_cursor"].as_str().unwrap();

    let faulty = [
        (json!({ "cursor": "rubbish" }), "cursor"),
        (json!({ "cursor": "x' OR true --" }), "cursor"),
        (json!({ "cursor": &cursor[2..] }), "cursor"),
        (json!({ "cursor": cursor }), "cursor"),
        (json!({ "cursor": cursor, "status": "open" }), "cursor"),
        (json!({ "limit": 0 }), "limit"),
        (json!({ "limit": 101 }), "limit"),
        (json!({ "sort_by": "title" }), "sort_by"),
        (json!({ "created_after": "soon" }), "created_after"),
        (json!({ "q": "?!" }), "q"),
        (
            json!({ "organization_id": world.organization }),
            "organization_id",
        ),
    ];
    for (data, field) in faulty {
        let answer = world.asked("ticket.search", data.clone()).await;
        assert_eq!(answer["outcome"], "rejected", "{data}: {answer:#}");
        let fields = answer["error"]["fields"].as_object().unwrap();
        let named: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(named, [field], "{data}: {answer:#}");
    }
    let next = world
        .search(json!({ "status": "closed", "limit": 1, "cursor": cursor }))
        .await;
    assert_eq!(ids(&next), [rows[1].id]);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_read_in_full_by_the_caller_alone_and_a_page_is_bounded() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("Read me").await;
    world.succeeds(create).await;
    let client = world.client().await;
    // What the legacy application may have stored: JSON that others cannot read, and much of
    // everything.
    let odd =
        r#"UPDATE tickets SET custom_fields = '{"a":"\ud800"}', tags = '["x"]' WHERE id = $1"#;
    client.execute(odd, &[&ticket]).await.unwrap();
    let mut rows: Vec<Row> = (0..100).map(|n| Row::new(world.organization, n)).collect();
    for row in &mut rows {
        row.title = "\u{1}".repeat(500);
        row.description = "\u{1}".repeat(900_000);
    }
    world.insert(&rows).await;

    let got = world
        .asked("ticket.get", json!({ "ticket_id": ticket }))
        .await;
    let shown = &got["result"]["ticket"];
    assert_eq!(shown["title"], "Read me", "{got:#}");
    assert_eq!(shown["description"], "It **hurts**.");
    assert_eq!(shown["external_ticket_id"], "SUP-1");
    assert_eq!(shown["integration_id"], json!(world.integration));
    assert_eq!(shown["integration_result"]["success"], true);
    assert_eq!(shown["tags"], json!(["x"]));
    for member in [
        "internal_notes",
        "resolved_at",
        "ai_reasoning",
        "communication_count",
        "custom_fields",
    ] {
        assert!(shown.get(member).is_some(), "{member}: {shown:#}");
    }
    assert_eq!(got["ticket_id"], json!(ticket));

    // A hundred of them would be five hundred thousand characters of six bytes each.
    let page = world
        .search(json!({ "limit": 100, "sort_order": "asc" }))
        .await;
    let bytes = page.to_string().len();
    let count = page["tickets"].as_array().unwrap().len();
    assert!(
        bytes < 1_000_000 && (10..100).contains(&count),
        "{count}: {bytes}"
    );
    assert_eq!(page["tickets"][0]["description_truncated"], true);
    let all = world.pages(&json!({}), 100).await;
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 101);
    assert_eq!(all.len(), 101);
    let long = world
        .asked("ticket.get", json!({ "ticket_id": rows[0].id }))
        .await;
    assert_eq!(
        long["result"]["ticket"]["truncated"],
        json!(["description"])
    );
    assert!(long.to_string().len() < 1_000_000);

    for command_type in ["ticket.get.succeeded", "ticket.search.succeeded"] {
        let published = wait_for("the read's event", async || {
            let all = world.events.all();
            all.into_iter()
                .map(|(_, event)| event)
                .find(|event| event["type"] == command_type)
        })
        .await;
        assert_eq!(published["data"]["result"], Value::Null);
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_takes_too_long_is_ended_and_holds_up_nobody() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE tickets").await.unwrap();

    let started = Instant::now();
    let slow = async {
        let answer = world.asked("ticket.search", json!({ "q": "word" })).await;
        (answer, started.elapsed())
    };
    let other = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let data = json!({ "integration_id": world.integration });
        let answer = world.asked("integration.get", data).await;
        (answer, started.elapsed())
    };
    let ((slow, slow_took), (other, other_took)) = tokio::join!(slow, other);

    assert_eq!(slow["error"]["code"], "timeout", "{slow:#}");
    assert_eq!(other["outcome"], "succeeded", "{other:#}");
    assert!(other_took < slow_took, "{other_took:?} {slow_took:?}");
    lock.rollback().await.unwrap();
    assert_eq!(
        ids(&world.search(json!({ "q": "word" })).await),
        [] as [Uuid; 0]
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_listed_and_shown_on_the_command_line() {
    let world = World::new().await;
    let worker = world.worker().await;
    let (create, ticket) = world.create("By hand").await;
    world.succeeds(create).await;
    let mut old = Row::new(world.organization, 0);
    old.title = "Long\nago".into();
    world.insert(std::slice::from_ref(&old)).await;
    let organization = world.organization.to_string();
    let ticket_text = ticket.to_string();

    // Of all tenants, page by page, and of one.
    let first = world.cli(&["ticket", "list", "--limit", "1"]);
    assert_eq!(ids(&first), [ticket]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = world.cli(&["ticket", "list", "--limit", "1", "--cursor", cursor]);
    assert_eq!(ids(&second), [old.id]);
    let integration = world.integration.to_string();
    for filter in [
        ["--integration", &integration],
        ["--q", "hand"],
        ["--q", "SUP-1"],
        ["--status", "new"],
    ] {
        let all = [
            &["ticket", "list", "--organization", &organization][..],
            &filter,
        ]
        .concat();
        assert_eq!(ids(&world.cli(&all)), [ticket], "{filter:?}");
        let all = [&["ticket", "list"][..], &filter].concat();
        assert_eq!(ids(&world.cli(&all)), [ticket], "{filter:?}");
    }
    let shown = world.cli(&["ticket", "show", &ticket_text]);
    assert_eq!(shown["ticket"]["title"], "By hand", "{shown:#}");
    assert_eq!(shown["commands"][0]["id"], json!(create), "{shown:#}");
    assert_eq!(shown["commands"][0]["state"], "succeeded");

    let environment = world.environment();
    let table = output(&environment, &["ticket", "list"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("Long ago") && table.contains("SUP-1"),
        "{table}"
    );
    let text = output(&environment, &["ticket", "show", &ticket_text]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("By hand") && text.contains("ticket.create"),
        "{text}"
    );
    let faulty = output(
        &environment,
        &["ticket", "list", "--status", "lost", "--cursor", "x"],
    );
    let faults = String::from_utf8_lossy(&faulty.stderr).into_owned();
    assert_eq!(faulty.status.code(), Some(2), "{faults}");
    assert!(
        faults.contains("--status") && faults.contains("--cursor"),
        "{faults}"
    );
    let none = output(
        &environment,
        &["ticket", "show", &Uuid::new_v4().to_string()],
    );
    assert_eq!(none.status.code(), Some(1));
    drop(worker);
}

// --- plans ---

/// One holds nine tickets in ten; the other has about ninety.
const LARGE: &str = "00000000-0000-0000-0000-000000000001";

/// A million tickets of a thousand organizations: nine in ten of one, nine in ten closed and the
/// new ones all recent, an integration that only the oldest are bound to, a common word and rare
/// ones.
const MILLION: &str = "INSERT INTO tickets (id, organization_id, title, description, status, \
                       priority, category, urgency, \
                       department, integration_id, external_ticket_id, source_channel, \
                       business_impact, \
                       communication_count, \
                       escalation_level, sla_breached, last_activity_at, created_at, updated_at, \
                       is_deleted) \
                       SELECT md5('t' || n)::uuid, CASE WHEN h % 10 < 9 THEN \
                       '00000000-0000-0000-0000-000000000001'::uuid \
                       ELSE md5('o' || h % 997)::uuid END, 'Ticket ' || n, \
                       'common ' || CASE WHEN h2 % 2 = 0 THEN 'even' \
                       ELSE 'odd' END || ' medium' || h % 100 || ' \
                       rare' || h % 100000, \
                       (CASE WHEN n > 980000 THEN 'new' WHEN n > 970000 THEN 'open' \
                       WHEN h % 100 < 4 THEN 'resolved' \
                       WHEN h % 100 < 5 THEN 'in_progress' ELSE 'closed' END)::ticketstatus, \
                       (CASE WHEN h2 % 100 < 1 THEN 'critical' WHEN h2 % 100 < 15 THEN 'high' \
                       WHEN h2 % 100 < 70 THEN 'medium' \
                       ELSE 'low' END)::ticketpriority, (enum_range(NULL::ticketcategory))[1 + h \
                       % 8], \
                       (CASE WHEN h % 100 < 1 THEN 'critical' WHEN h % 100 < 15 THEN 'high' \
                       ELSE 'medium' END)::ticketpriority, \
                       CASE WHEN h2 % 10 >= 3 THEN 'department ' || h2 % 40 END, \
                       CASE WHEN h2 % 10 >= 2 THEN md5(CASE WHEN n < 300000 THEN 'i0' \
                       ELSE 'i' || (1 + h2 % 20) END)::uuid END, \
                       CASE WHEN h2 % 10 >= 2 THEN 'SUP-' || n END, 'api', 'low', 0, 0, false, \
                       at, at, \
                       at + h2 % 1000 * interval '1 hour', h2 % 50 = 0 \
                       FROM (SELECT n, abs(hashint4(n)::bigint) AS h, abs(hashint4(n + \
                       7)::bigint) AS h2, \
                       timestamptz '2024-01-01' + (n / 5) * interval '5 minutes' AS at \
                       FROM generate_series(1, 1000000) AS n) AS s";

/// Fills the table as fast as can be: without a log, its indexes built afterwards, as they stood.
async fn fill_with_a_million(client: &Client) {
    let column = async |sql: &str| -> Vec<String> {
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    let indexes = column(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'tickets' AND indexname NOT IN \
         (SELECT conname FROM pg_constraint)",
    )
    .await;
    let mut first = column(
        "SELECT format('ALTER TABLE tickets DROP CONSTRAINT %I', conname) FROM pg_constraint \
         WHERE conrelid = 'tickets'::regclass ORDER BY contype",
    )
    .await;
    first.extend(
        column(
            "SELECT format('DROP INDEX %I', indexname) FROM pg_indexes WHERE tablename = 'tickets' \
             AND indexname NOT IN (SELECT conname FROM pg_constraint)",
        )
        .await,
    );
    first.push("ALTER TABLE tickets SET UNLOGGED".into());
    first.push(
        "INSERT INTO organizations (id, name, is_enabled, timezone, plan, created_at, \
         updated_at, is_deleted) \
         SELECT id, id::text, true, 'UTC', 'basic', now(), now(), false \
         FROM (SELECT md5('o' || n)::uuid AS id \
         FROM generate_series(0, 996) AS n UNION SELECT '00000000-0000-0000-0000-000000000001') \
         AS o"
            .into(),
    );
    first.push(MILLION.into());
    first.push("SET maintenance_work_mem = '256MB'".into());
    first.push("ALTER TABLE tickets ADD PRIMARY KEY (id), ADD UNIQUE (id)".into());
    for statement in first.iter().chain(&indexes) {
        client.batch_execute(statement).await.unwrap();
    }
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
}

/// Most tickets that a search of the test looks at in the table, and sorts: thousands, where the
/// tenant has 900,000.
const VISITED_MAX: f64 = 12_000.0;
const SORTED_MAX: f64 = 6_000.0;

/// What a search did, summed over its statements.
#[derive(Default, Debug)]
struct Work {
    scans: BTreeSet<String>,
    /// Rows of the table looked at.
    visited: f64,
    /// Most rows that went into a sort.
    sorted: f64,
    /// Pages of tables and indexes looked at.
    pages: f64,
    took_ms: f64,
}

impl Work {
    fn of(plans: &[Value]) -> Self {
        let mut work = Self::default();
        for plan in plans {
            let top = &plan[0];
            let number = |name: &str| top["Plan"][name].as_f64().unwrap_or_default();
            work.pages += number("Shared Hit Blocks") + number("Shared Read Blocks");
            work.took_ms += top["Execution Time"].as_f64().unwrap_or_default();
            work.add(&top["Plan"]);
        }
        work
    }

    fn add(&mut self, node: &Value) {
        let number = |node: &Value, name: &str| node[name].as_f64().unwrap_or_default();
        let loops = number(node, "Actual Loops");
        let kind = node["Node Type"].as_str().unwrap();
        if let Some(index) = node["Index Name"].as_str() {
            self.scans.insert(index.to_owned());
        }
        assert_ne!(kind, "Seq Scan", "{node:#}");
        // Only nodes that read the table itself; what an index hands to a bitmap are not rows yet.
        if node["Relation Name"] == "tickets" {
            let removed = ["Rows Removed by Filter", "Rows Removed by Index Recheck"];
            let removed: f64 = removed.iter().map(|name| number(node, name)).sum();
            self.visited += (number(node, "Actual Rows") + removed) * loops;
        }
        for child in node["Plans"].as_array().into_iter().flatten() {
            if kind.contains("Sort") {
                let rows = number(child, "Actual Rows") * number(child, "Actual Loops");
                self.sorted = self.sorted.max(rows);
            }
            self.add(child);
        }
    }
}

/// A text of what tickets have, put together at random; mostly of what is plain, or hardly a text
/// would be.
fn some_text(words: usize) -> String {
    const WORDS: [&str; 15] = [
        "printer", "Printer", "a", "I", "e", "3", "42", "007", "fire", "FIRE", "www", "http", "x1",
        "1e5", "é",
    ];
    const GAPS: [&str; 20] = [
        " ", "  ", " ", ", ", ",", ". ", ".", "; ", ": ", " (", ") ", "! ", "?\n", "\t", "'", "\"",
        "-", "/", ":", "_",
    ];
    let one_of = |all: &[&'static str], plain: usize| {
        all[rand::random_range(
            0..if rand::random_ratio(1, 60) {
                all.len()
            } else {
                plain
            },
        )]
    };
    (0..words)
        .map(|_| one_of(&WORDS, 12).to_owned() + one_of(&GAPS, 16))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn words_split_by_the_worker_are_those_that_postgresql_splits() {
    const SQL: &str = "SELECT u.title, u.description \
                       FROM unnest($1::uuid[], $2::text[], $3::text[], $4::tsvector[]) \
                       AS u(organization_id, title, description, words) \
                       WHERE u.words IS DISTINCT FROM \
                       array_to_tsvector(ARRAY[organization_id::text]) || to_tsvector('simple', \
                       title || ' ' || left(description, 1000))";
    let world = World::new().await;
    let mut texts: Vec<(String, String)> = (0..4000)
        .map(|n| (some_text(1 + n % 5), some_text(n % 20)))
        .collect();
    texts.push(("same ".repeat(60), "same ".repeat(300)));
    texts.push(("Cut".into(), "abcdefg ".repeat(200)));
    texts.push((String::new(), String::new()));

    let (mut organizations, mut titles, mut descriptions, mut words) =
        (vec![], vec![], vec![], vec![]);
    for (title, description) in texts {
        let organization = Uuid::new_v4();
        if let Some(split) = Words::of(organization, &title, &description) {
            organizations.push(organization);
            titles.push(title);
            descriptions.push(description);
            words.push(split);
        }
    }

    assert!(titles.len() > 1000, "only {} texts are plain", titles.len());
    let client = world.client().await;
    let other = client
        .query(SQL, &[&organizations, &titles, &descriptions, &words])
        .await
        .unwrap();
    let other: Vec<(String, String)> = other.iter().map(|r| (r.get(0), r.get(1))).collect();
    assert!(
        other.is_empty(),
        "{} differ, e.g. {:?}",
        other.len(),
        other.first()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_found_by_its_present_words_whoever_wrote_them() {
    let world = World::new().await;
    let worker = world.worker().await;
    let ticket = Uuid::new_v4();
    let data = json!({
        "ticket_id": ticket, "title": "Printer smoulders", "description": "Since Monday, all day.",
        "integration_id": world.integration,
    });
    let command = world.publish("ticket.create", data).await;
    world.succeeds(command).await;
    let found = async |q: &str| ids(&world.search(json!({ "q": q })).await).contains(&ticket);

    assert!(found("smoulders").await);
    let split = "SELECT count(*) FROM tickets WHERE words IS NOT NULL";
    assert_eq!(world.count(split).await, 1, "the worker splits plain words");

    // As the legacy application does it.
    let legacy = "UPDATE tickets SET title = 'Printer burns' WHERE id = $1 RETURNING 1::bigint";
    world.query(legacy, &[&ticket]).await;
    assert!(found("burns").await && !found("smoulders").await);
    assert_eq!(world.count(split).await, 0);

    let update = json!({ "ticket_id": ticket, "title": "Printer/scanner is out" });
    let update = world.publish("ticket.update", update).await;
    world.succeeds(update).await;
    assert!(found("out").await && !found("burns").await);
    world.quiet().await;
    drop(worker);
}

fn parsed(data: &Value) -> TicketSearch {
    let mut faults = Faults::new();
    let map = data.as_object().unwrap().clone();
    match Command::parse(CommandType::TicketSearch, map, &mut faults) {
        Some(Command::Read(ReadCommand::Search(search))) => *search,
        _ => panic!("{data}: {faults:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_and_order_is_answered_from_an_index_on_a_million_tickets() {
    let (server, _) = services();
    let (server, _) = server.rsplit_once('/').unwrap();
    let url = format!("{server}/tw_test_{}", Uuid::new_v4().simple());
    create_database(&url.as_str().into()).await.unwrap();
    let (mut client, connection) = connect(&url.as_str().into(), "tests").await.unwrap();
    migrate::up(&mut client).await.unwrap();
    let started = Instant::now();
    fill_with_a_million(&client).await;
    println!("filled in {:?}", started.elapsed());
    let size = "SELECT sum(pg_relation_size(indexrelid) / 8192)::float8 FROM pg_index \
                WHERE indexrelid::regclass::text IN ('tickets_search_created', \
                'tickets_search_words')";
    let index_pages: f64 = client.query_one(size, &[]).await.unwrap().get(0);
    let large = OrganizationId::new(LARGE.parse().unwrap());
    let small = OrganizationId::new(of_text(&client, "o5").await);
    let retired: Uuid = of_text(&client, "i0").await;
    let current: Uuid = of_text(&client, "i5").await;

    let filters = [
        json!({}),
        json!({ "status": "new" }),
        json!({ "status": "closed" }),
        json!({ "status": "pending" }),
        json!({ "priority": "critical" }),
        json!({ "priority": "medium" }),
        json!({ "urgency": "critical" }),
        json!({ "category": "bug" }),
        json!({ "category": "security" }),
        json!({ "department": "department 7" }),
        json!({ "department": "none such" }),
        json!({ "integration_id": current }),
        json!({ "integration_id": retired }),
        json!({ "integration_id": Uuid::nil() }),
        json!({ "created_after": "2024-06-01T00:00:00Z",
            "created_before": "2024-06-02T00:00:00Z" }),
        json!({ "created_before": "2024-03-01T00:00:00Z" }),
        json!({ "created_after": "2025-10-01T00:00:00Z" }),
        json!({ "updated_after": "2024-06-01T00:00:00Z",
            "updated_before": "2024-06-02T00:00:00Z" }),
        json!({ "updated_before": "2024-03-01T00:00:00Z" }),
        json!({ "updated_after": "2025-10-01T00:00:00Z" }),
        json!({ "status": "closed", "priority": "critical", "category": "bug",
            "department": "department 7" }),
        json!({ "status": "new", "integration_id": retired }),
        json!({ "q": "rare4711" }),
        json!({ "q": "SUP-4711" }),
        json!({ "q": "medium42" }),
        json!({ "q": "common" }),
        json!({ "q": "common -even" }),
        json!({ "q": "even odd" }),
        json!({ "q": "\"common odd\"" }),
        json!({ "q": "\"common rare4711\"" }),
        json!({ "q": "common", "status": "new" }),
        json!({ "q": "common", "integration_id": retired }),
        json!({ "q": "nowhere" }),
    ];
    let store = Store::new(&url.as_str().into(), 1, "tests").unwrap();
    let mut faults = Vec::new();
    println!("| search | order | tenant | rows visited | sorted | pages | ms | by |");
    for filter in &filters {
        for (sort, order) in [
            ("created_at", "desc"),
            ("created_at", "asc"),
            ("updated_at", "desc"),
            ("updated_at", "asc"),
        ] {
            for (name, tenant) in [
                ("large", Some(large)),
                ("small", Some(small)),
                ("all", None),
            ] {
                // All tenants at once is for the command line; what it promises is the plan's
                // shape.
                if tenant.is_none() && (filter.get("q").is_none() || order == "asc") {
                    continue;
                }
                for deep in [false, true] {
                    let mut data = filter.clone();
                    data["sort_by"] = json!(sort);
                    data["sort_order"] = json!(order);
                    let mut search = parsed(&data);
                    if deep {
                        search.after = Some(Position {
                            at: "2025-01-01T00:00:00Z".parse().unwrap(),
                            id: TicketId::new(Uuid::from_u128(7)),
                        });
                    }
                    let plans = store.explain_search(tenant, &search).await;
                    if tenant.is_none() && matches!(plans, Err(StoreError::Timeout(_))) {
                        // Common words of all tenants at once: the command line asks for
                        // --organization.
                        continue;
                    }
                    let plans = plans.unwrap_or_else(|error| panic!("{data}: {error}"));
                    let work = Work::of(&plans);
                    let scans: Vec<&str> = work.scans.iter().map(String::as_str).collect();
                    println!(
                        "| {filter} | {sort} {order}{} | {name} | {} | {} | {} | {:.1} | {} |",
                        if deep { ", deep" } else { "" },
                        work.visited,
                        work.sorted,
                        work.pages,
                        work.took_ms,
                        scans.join(", ")
                    );
                    let bounded = work.visited <= VISITED_MAX
                        && work.sorted <= SORTED_MAX
                        && work.pages <= index_pages + work.visited;
                    if tenant.is_some() && !bounded {
                        faults.push(format!("{data} {name} deep={deep}: {work:?}"));
                    }
                }
            }
        }
    }
    drop(client);
    connection.abort();
    let (client, _connection) = connect(&format!("{server}/postgres").into(), "tests")
        .await
        .unwrap();
    let name = url.rsplit_once('/').unwrap().1;
    let drop_it = format!("DROP DATABASE {name} WITH (FORCE)");
    client.batch_execute(&drop_it).await.unwrap();
    assert!(faults.is_empty(), "{faults:#?}");
}

async fn of_text(client: &Client, name: &str) -> Uuid {
    let row = client.query_one("SELECT md5($1)::uuid", &[&name]).await;
    row.unwrap().get(0)
}
