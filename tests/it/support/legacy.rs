//! Databases of the legacy application: its shape, 57 varied integrations with their tickets, and
//! what its own migration makes of them.

use std::sync::LazyLock;

use secrecy::SecretString;
use ticketwire::secrets::{KeyRing, LegacyKey};
use uuid::Uuid;

use super::Scratch;

/// The shape at its revision a1b2c3d4e5f6, as it is documented.
const SHAPE: &str = include_str!("legacy.sql");

/// The keys of two processes of the legacy application; what a third one sealed nobody can read.
pub(crate) const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const JWT_SECRET: &str = "example-jwt-secret";
const LOST_KEY: &str = "bG9zdGxvc3Rsb3N0bG9zdGxvc3Rsb3N0bG9zdGxvc3Q=";

/// The documented test vectors: credentials under the first key and the second, a webhook secret
/// under the first.
pub(crate) const VECTOR_A: &str = "Z0FBQUFBQm92YXdBQUFFQ0F3UUZCZ2NJQ1FvTERBME9EeDF1UUFQWFp4YzgwUUlhMHFMVExuZHhaV2RZX3VaWjRQSi1xdVhoaGNROW96NFc4eHNteEVhOTJieVJ5ZUV6OGc3b2ZwS2JjRXpVT01NbTl2TE1qTVZCUHY4NWRzQzNzV3RLQ0FqMEVZRHBLU0YzaC1fZkhYa0lQelQxTXZVY3VOR2luOTV2ZVgxTEIxRWRWOTg4bU1jPQ==";
const VECTOR_B: &str = "Z0FBQUFBQm92YXdBQUFFQ0F3UUZCZ2NJQ1FvTERBME9ENk1yTjFsQVk4RV94YW1ZSWhjOTRhV2MwRy1xaTZVTFI4M1JCcEFjVWExTWtlUWpaVWdfbWpmOWsxTTNzYWNmdVpHODFXYjFkSWNUYzNGMmYzMDl2RUFCUnBHcHlfUjlQY3RuTWNJMDZXcW53WEhXb2pYZ0psLTF0eTNGZEFBRC1RVWc1VjVqRWMtdGRlb000dWdDUHZRPQ==";
const VECTOR_C: &str = "Z0FBQUFBQm92YXdBQUFFQ0F3UUZCZ2NJQ1FvTERBME9EMWhGRzF6QUdZWDhJbVlCWFNrNnN3YnVpdGVuRGpxdTBfVE5BQmtFcnFjSVpOVzAzRHMxQzVlcXlkVXZKN3ZLcXc9PQ==";
const VECTOR_PLAIN: &str = r#"{"api_token": "t0k", "email": "\u00e4@example.test", "port": 587}"#;

pub(crate) const TYPES: [(&str, &str); 15] = [
    ("jira", "ticketing"),
    ("servicenow", "ticketing"),
    ("salesforce", "crm"),
    ("zendesk", "ticketing"),
    ("github", "code_repository"),
    ("slack", "messaging"),
    ("teams", "messaging"),
    ("zoom", "communication"),
    ("hubspot", "crm"),
    ("freshdesk", "ticketing"),
    ("asana", "project_management"),
    ("trello", "project_management"),
    ("webhook", "webhook"),
    ("email", "communication"),
    ("sms", "communication"),
];
const STATUSES: [&str; 6] = [
    "active",
    "inactive",
    "pending",
    "error",
    "expired",
    "suspended",
];

/// What the legacy application's own migration to b2c3d4e5f6g7 does.
const ORIGINAL_REFACTORING: &str = "
CREATE TYPE integrationcategory AS ENUM ('ticketing','crm','messaging','communication','project_management',
  'code_repository','webhook');
ALTER TABLE integrations ADD COLUMN integration_category integrationcategory;
ALTER TABLE integrations ADD COLUMN platform_name varchar(50);
ALTER TABLE integrations RENAME COLUMN is_enabled TO enabled;
UPDATE integrations SET platform_name = integration_type::text, integration_category = (CASE integration_type
  WHEN 'jira' THEN 'ticketing' WHEN 'servicenow' THEN 'ticketing' WHEN 'zendesk' THEN 'ticketing'
  WHEN 'freshdesk' THEN 'ticketing' WHEN 'salesforce' THEN 'crm' WHEN 'hubspot' THEN 'crm'
  WHEN 'slack' THEN 'messaging' WHEN 'teams' THEN 'messaging' WHEN 'asana' THEN 'project_management'
  WHEN 'trello' THEN 'project_management' WHEN 'github' THEN 'code_repository' WHEN 'webhook' THEN 'webhook'
  ELSE 'communication' END)::integrationcategory;
ALTER TABLE integrations ALTER COLUMN integration_category SET NOT NULL;
ALTER TABLE integrations ALTER COLUMN platform_name SET NOT NULL;
CREATE INDEX ix_integrations_integration_category ON integrations (integration_category);
CREATE INDEX ix_integrations_platform_name ON integrations (platform_name);
DROP INDEX ix_integrations_integration_type;
ALTER TABLE integrations DROP COLUMN integration_type;
UPDATE alembic_version SET version_num = 'b2c3d4e5f6g7';";

/// Which key a value needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    None,
    Fernet,
    Derived,
    Unreadable,
}

/// What was put into a sealed column of an integration.
pub(crate) struct Sealed {
    pub(crate) id: Uuid,
    pub(crate) column: &'static str,
    pub(crate) key: Key,
    pub(crate) plain: String,
}

/// The 57 integrations' sealed values.
pub(crate) struct Legacy {
    pub(crate) scratch: Scratch,
    pub(crate) sealed: Vec<Sealed>,
}

/// Derived once: that takes its time by design.
static RING: LazyLock<KeyRing> = LazyLock::new(|| ring(ENCRYPTION_KEY));
static LOST: LazyLock<KeyRing> = LazyLock::new(|| ring(LOST_KEY));

fn ring(encryption_key: &str) -> KeyRing {
    let secret = |text: &str| SecretString::from(text);
    KeyRing::parse(&[])
        .unwrap()
        .with_legacy(Some(&secret(encryption_key)), Some(&secret(JWT_SECRET)))
        .unwrap()
}

/// Credentials as databases in the field hold them: two keys and a lost one, regular and odd.
fn credentials(number: usize) -> (Option<String>, Key, String) {
    let seal = |key, plain: &str| RING.seal_for_legacy(key, plain.as_bytes(), 1_757_260_800);
    let json = format!(
        r#"{{"api_token": "t0k-{number}-0123456789", "email": "bot{number}@example.test", "n": {{"big": 123456789012345678901234567890, "float": 1.0}}, "port": 587}}"#
    );
    let a = (LegacyKey::EncryptionKey, Key::Fernet);
    let b = (LegacyKey::JwtSecret, Key::Derived);
    let of =
        |(key, named): (LegacyKey, Key), plain: &str| (seal(key, plain), named, plain.to_owned());
    match number % 19 {
        0 => (Some(VECTOR_A.into()), Key::Fernet, VECTOR_PLAIN.into()),
        1 => (Some(VECTOR_B.into()), Key::Derived, VECTOR_PLAIN.into()),
        2 => (None, Key::None, String::new()),
        3 => (Some(String::new()), Key::None, String::new()),
        4 => {
            let lost = LOST.seal_for_legacy(LegacyKey::EncryptionKey, json.as_bytes(), 1);
            (lost, Key::Unreadable, String::new())
        }
        5 => (Some("   ".into()), Key::Unreadable, String::new()),
        6 => (Some(json), Key::Unreadable, String::new()),
        7 => (
            Some("not encrypted at all".into()),
            Key::Unreadable,
            String::new(),
        ),
        8 => of(a, "{}"),
        9 => of(b, r#"["no", "object"]"#),
        10 => {
            // Line breaks and blanks around it, as after a copy by hand.
            let (sealed, key, plain) = of(a, &json);
            let (head, tail) = sealed.as_ref().unwrap().split_at(76);
            (Some(format!(" {head}\r\n{tail}\n")), key, plain)
        }
        11 => (
            seal(LegacyKey::JwtSecret, "no json"),
            Key::Unreadable,
            String::new(),
        ),
        odd if odd % 2 == 1 => of(a, &json),
        _ => of(b, &json),
    }
}

fn webhook_secret(number: usize) -> (Option<String>, Key, String) {
    match number % 7 {
        0 => (
            Some(VECTOR_C.into()),
            Key::Fernet,
            r#""whsec_\u00e9""#.into(),
        ),
        1 => {
            let plain = format!(r#""whsec_{number}""#);
            let sealed = RING.seal_for_legacy(LegacyKey::JwtSecret, plain.as_bytes(), 1);
            (sealed, Key::Derived, plain)
        }
        2 => (
            Some("Z0FBQUFBbroken".into()),
            Key::Unreadable,
            String::new(),
        ),
        3 => (Some(String::new()), Key::None, String::new()),
        _ => (None, Key::None, String::new()),
    }
}

impl Legacy {
    /// The shape alone.
    pub(crate) async fn bare() -> Scratch {
        let scratch = Scratch::empty().await;
        scratch.execute(SHAPE).await;
        scratch
    }

    /// 57 integrations of all types, every status with both values of `is_enabled`, deleted in
    /// every way, without an organization, with odd JSON and credentials of three keys; and tickets
    /// that point at them, rightly or not.
    pub(crate) async fn new() -> Self {
        let scratch = Self::bare().await;
        let client = scratch.client().await;
        client
            .batch_execute(
                "CREATE TABLE agents (id uuid PRIMARY KEY, organization_id uuid REFERENCES organizations (id), name text);
                 INSERT INTO organizations (id, name, is_enabled, settings, timezone, plan, created_at, updated_at,
                   deleted_at, is_deleted)
                 SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'Organization ' || n, n <> 2,
                   '{\"a\":1,  \"a\":2}', 'UTC', 'basic', now(), now(), CASE WHEN n = 3 THEN now() END, n = 3
                 FROM generate_series(1, 4) n;
                 INSERT INTO users (id, email, is_active, is_verified, is_admin, role, login_count,
                   failed_login_attempts, timezone, language, organization_id, created_at, updated_at, is_deleted)
                 SELECT ('00000000-0000-4000-9000-00000000000' || n)::uuid, 'user' || n || '@example.test', true, n > 1,
                   n = 1, (enum_range(NULL::userrole))[n], n::text, '0', 'UTC', 'en',
                   CASE WHEN n < 5 THEN ('00000000-0000-4000-8000-00000000000' || n)::uuid END, now(), now(), false
                 FROM generate_series(1, 5) n;
                 INSERT INTO agents SELECT gen_random_uuid(), id, 'agent' FROM organizations;",
            )
            .await
            .unwrap();
        let odd_json = [
            r#"{"b":1,   "a":2,"b":3}"#,
            "null",
            r#"[{"conditions": [{"field": "priority", "operator": "in", "value": ["high"]}], "priority_adjustment": -10}]"#,
            r#"{"n": 123456789012345678901234567890, "f": 1.0, "huge": 1e999}"#,
            r#"{"half": "\ud800"}"#,
        ];
        let mut sealed = Vec::new();
        for number in 0..57usize {
            let id = Uuid::from_u128(0x0a11_0000_0000_4000_a000_0000_0000_0000 + number as u128);
            let (kept, key, plain) = credentials(number);
            let (secret, secret_key, secret_plain) = webhook_secret(number);
            let odd = number
                .is_multiple_of(3)
                .then(|| odd_json[number / 3 % odd_json.len()]);
            let labels = ["null", "[]", r#"[ "bug","technical" ]"#][number % 3];
            let organization = (number % 5 < 4).then(|| number % 5 + 1);
            let sql = format!(
                "INSERT INTO integrations (name, integration_type, status, description, base_url, auth_type,
                   credentials_encrypted, health_check_status, connection_test_count, total_requests, successful_requests,
                   failed_requests, rate_limit_per_hour, current_hour_requests, routing_rules, default_priority,
                   supports_categories, department_mapping, custom_fields_mapping, webhook_secret_encrypted, sync_enabled,
                   sync_frequency_minutes, environment, monitoring_enabled, alert_on_failure, failure_threshold,
                   consecutive_failures, maintenance_window_start, auto_disable_on_error, expires_at, organization_id, id,
                   notes, extra_metadata, created_at, updated_at, deleted_at, is_deleted, is_enabled)
                 VALUES ($3, '{integration_type}', '{status}', $4, $5, 'custom', $1, 'unknown', {number}, 7, 5, 2, {limit}, 0,
                   $6::text::json, 100, '{labels}', $6::text::json, $6::text::json, $2, false, 60, 'production', true, true,
                   5, 0, '22:00', false, {expires}, {organization}, '{id}', 'notes', 'plain, not json',
                   '2025-01-01 00:00:00.123456+00'::timestamptz + {number} * interval '1 hour',
                   '2025-06-01 00:00:00.654321+00'::timestamptz + {number} * interval '1 minute', {deleted_at}, {is_deleted},
                   {is_enabled})",
                integration_type = TYPES[number % 15].0,
                status = STATUSES[number % 6],
                limit = ["NULL", "0", "100"][number % 3],
                expires = if number % 8 == 0 { "'2030-01-01'" } else { "NULL" },
                organization = organization.map_or("NULL".into(), |n| format!(
                    "'00000000-0000-4000-8000-00000000000{n}'"
                )),
                deleted_at = if number % 9 < 2 { "'2025-07-01'" } else { "NULL" },
                is_deleted = [1, 2].contains(&(number % 9)),
                is_enabled = number / 6 % 2 == 0,
            );
            let name = ["Same name", "", "Büro „Süd“", "O'Brien \\ 100%"][number % 4];
            let description = (number % 2 == 0).then_some("line\nbreak\ttab");
            let base_url = (number % 3 > 0).then_some("https://example.test/base//");
            client
                .execute(
                    &sql,
                    &[&kept, &secret, &name, &description, &base_url, &odd],
                )
                .await
                .unwrap_or_else(|error| panic!("{number}: {error:?}"));
            for (column, key, plain) in [
                ("credentials_encrypted", key, plain),
                ("webhook_secret_encrypted", secret_key, secret_plain),
            ] {
                sealed.push(Sealed {
                    id,
                    column,
                    key,
                    plain,
                });
            }
        }
        // Tickets of any organization at any integration, deleted and disabled ones included.
        client
            .batch_execute(
                "INSERT INTO tickets (id, title, description, status, priority, category, urgency, created_by_id,
                   assigned_to_id, external_ticket_id, external_ticket_url, ai_tags, business_impact, last_activity_at,
                   communication_count, escalation_level, source_channel, custom_fields, sla_breached, created_at,
                   updated_at, is_deleted, organization_id, integration_id)
                 SELECT gen_random_uuid(), 'Ticket ' || n, 'It hurts.', (enum_range(NULL::ticketstatus))[1 + n % 7],
                   (enum_range(NULL::ticketpriority))[1 + n % 4], (enum_range(NULL::ticketcategory))[1 + n % 9], 'medium',
                   ('00000000-0000-4000-9000-00000000000' || 1 + n % 5)::uuid,
                   CASE WHEN n % 2 = 0 THEN ('00000000-0000-4000-9000-00000000000' || 1 + n % 3)::uuid END,
                   'SUP-' || n / 2, 'https://example.test/browse/SUP-' || n, '[\"x\",  \"x\"]', 'low', now(), 0, 0, 'web',
                   '{\"z\":1, \"z\": 12345678901234567890123}', false, now(), now(), n % 7 = 0,
                   ('00000000-0000-4000-8000-00000000000' || 1 + n % 4)::uuid, i.id
                 FROM generate_series(1, 120) n
                 LEFT JOIN (SELECT id, row_number() OVER (ORDER BY id) AS rn FROM integrations) i ON i.rn = n % 60;",
            )
            .await
            .unwrap();
        Self { scratch, sealed }
    }

    /// The same, refactored by the legacy application's own migration.
    pub(crate) async fn refactored() -> Self {
        let legacy = Self::new().await;
        legacy.scratch.execute(ORIGINAL_REFACTORING).await;
        legacy
    }

    /// The same with so many integrations more, by which the table is a large one.
    pub(crate) async fn large(more: u32) -> Self {
        let legacy = Self::new().await;
        let sql = format!(
            "INSERT INTO integrations SELECT (json_populate_record(i, json_build_object('id', gen_random_uuid(), 'name', n,
               'integration_type', (enum_range(NULL::integrationtype))[1 + n % 15], 'is_enabled', n % 3 > 0))).*
             FROM generate_series(1, {more}) n, (SELECT i FROM integrations i ORDER BY id LIMIT 1) AS i"
        );
        legacy.scratch.execute(&sql).await;
        legacy
    }
}
