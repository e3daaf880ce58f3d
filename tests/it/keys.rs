//! Keys that rotate: the legacy application's values read and sealed anew, ours under the first
//! key, while workers run; what cannot be read stops nothing but the command that needs it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use ticketwire::domain::{IntegrationId, OrganizationId};
use ticketwire::secrets::{Binding, KeyRing, OpenedBy, generate};
use uuid::Uuid;

use crate::support::{
    ENCRYPTION_KEY, Images, JWT_SECRET, Key, Legacy, Message, Sealed, VECTOR_A, World, command,
    wait_for,
};

const LEGACY_KEY: &str = "TICKETWIRE__SECRETS__LEGACY_ENCRYPTION_KEY";
const LEGACY_SECRET: &str = "TICKETWIRE__SECRETS__LEGACY_JWT_SECRET";
const KEYS: &str = "TICKETWIRE__SECRETS__KEYS";

/// The images without the two sealed columns.
fn unsealed(images: &Images) -> Images {
    let mut images = images.clone();
    for image in images.values_mut() {
        image.remove("credentials_encrypted");
        image.remove("webhook_secret_encrypted");
    }
    images
}

fn value(images: &Images, id: Uuid, column: &str) -> Option<String> {
    let text = &images[&id.to_string()][column];
    let text = text
        .strip_prefix('\'')
        .or_else(|| text.strip_prefix("E'"))?;
    Some(text.strip_suffix('\'').unwrap().to_owned())
}

/// The ring of what a process is configured with.
fn ring(environment: &BTreeMap<String, String>) -> KeyRing {
    let keys: Vec<_> = environment
        .get(KEYS)
        .map(|keys| {
            keys.trim_matches(['[', ']', '"'])
                .split("\",\"")
                .map(Into::into)
                .collect()
        })
        .unwrap_or_default();
    let secret = |name: &str| environment.get(name).map(|text| text.as_str().into());
    let ring = KeyRing::parse(&keys).unwrap();
    ring.with_legacy(secret(LEGACY_KEY).as_ref(), secret(LEGACY_SECRET).as_ref())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_three_legacy_keys_are_sealed_anew_and_given_back() {
    let mut legacy = Legacy::new().await;
    let environment = &mut legacy.scratch.environment;
    environment.insert(KEYS.into(), json!([generate("k1")]).to_string());
    environment.insert(LEGACY_KEY.into(), ENCRYPTION_KEY.into());
    environment.insert(LEGACY_SECRET.into(), JWT_SECRET.into());
    let (scratch, sealed) = (&legacy.scratch, &legacy.sealed);
    let organizations: BTreeMap<String, Uuid> = scratch
        .images("integrations")
        .await
        .iter()
        .map(|(id, image)| {
            let organization = image["organization_id"].trim_matches('\'');
            (id.clone(), organization.parse().unwrap_or_default())
        })
        .collect();
    let count = |key| sealed.iter().filter(|value| value.key == key).count();
    let unreadable: BTreeSet<(String, &str)> = sealed
        .iter()
        .filter(|value| value.key == Key::Unreadable)
        .map(|value| (value.id.to_string(), value.column))
        .collect();
    assert!(unreadable.len() > 15 && count(Key::Fernet) > 15 && count(Key::Derived) > 15);
    scratch.does(&["migrate", "up"]);
    let before = scratch.images("integrations").await;

    let told = scratch.refuses(&["keys", "rotate", "--dry-run"], &["unreadable"]);
    assert_eq!(
        scratch.images("integrations").await,
        before,
        "a dry run: {told}"
    );
    let (status, done) = scratch.json(&["keys", "rotate"]);
    let after = scratch.images("integrations").await;

    assert_eq!(status, Some(1), "some cannot be read: {done:#}");
    let named: BTreeSet<(String, &str)> = done["unreadable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let id = one["integration_id"].as_str().unwrap().to_owned();
            (id, one["column"].as_str().unwrap())
        })
        .collect();
    assert_eq!(named, unreadable);
    assert_eq!(
        done["resealed"],
        json!(count(Key::Fernet) + count(Key::Derived))
    );
    assert_eq!(
        done["opened_by"]["secrets.legacy_jwt_secret"],
        json!(count(Key::Derived))
    );
    assert!(
        !done.to_string().contains("t0k-") && !told.contains("t0k-"),
        "{told}"
    );
    assert_eq!(unsealed(&after), unsealed(&before), "updated_at too");
    let ring = ring(&scratch.environment);
    let open = |images: &Images, one: &Sealed| {
        let binding = Binding {
            organization: OrganizationId::new(organizations[&one.id.to_string()]),
            integration: IntegrationId::new(one.id),
            column: one.column,
        };
        let stored = value(images, one.id, one.column)?;
        let (plain, by) = ring.open_and_tell(&binding, &stored).ok()?;
        Some((String::from_utf8(plain).unwrap(), by))
    };
    for one in sealed {
        let now = value(&after, one.id, one.column);
        match one.key {
            Key::None | Key::Unreadable => {
                assert_eq!(
                    now,
                    value(&before, one.id, one.column),
                    "left byte for byte"
                );
            }
            Key::Fernet | Key::Derived => {
                assert!(now.unwrap().starts_with("tw1.k1."));
                let expected = (one.plain.clone(), OpenedBy::Key("k1".into()));
                assert_eq!(
                    open(&after, one),
                    Some(expected),
                    "byte for byte the same inside"
                );
            }
        }
    }
    let (_, again) = scratch.json(&["keys", "rotate"]);
    assert_eq!(
        (&again["resealed"], &again["already"]),
        (&json!(0), &done["resealed"])
    );

    // Only Ticketwire reads them now, so going back wants a word, or the way back for them too.
    scratch.refuses(
        &["migrate", "rollback", "--to", "0"],
        &["keys rotate --to-legacy"],
    );
    let (status, text) = scratch.run(&["keys", "rotate", "--to-legacy"]);
    assert_eq!(status, Some(2), "two keys, so which: {text}");
    let (_, back) = scratch.json(&["keys", "rotate", "--to-legacy", "jwt-secret"]);
    assert_eq!(back["resealed"], done["resealed"]);
    let returned = scratch.images("integrations").await;
    for one in sealed {
        if !matches!(one.key, Key::Fernet | Key::Derived) {
            continue;
        }
        let stored = value(&returned, one.id, one.column).unwrap();
        assert!(
            stored.starts_with("Z0FBQUFB")
                && stored
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'=')
        );
        let (plain, by) = open(&returned, one).unwrap();
        assert_eq!(by.to_string(), "secrets.legacy_jwt_secret");
        assert_eq!(plain, one.plain, "as the legacy application writes it");
    }
    scratch.does(&["migrate", "rollback", "--to", "0"]);
    let (mut given_back, mut first) = (
        unsealed(&scratch.images("integrations").await),
        unsealed(&before),
    );
    for image in given_back.values_mut().chain(first.values_mut()) {
        for column in [
            "integration_type",
            "is_enabled",
            "settings",
            "parked_at",
            "webhook_secret_previous_encrypted",
            "webhook_secret_previous_until",
            "integration_category",
            "platform_name",
            "enabled",
        ] {
            image.remove(column);
        }
    }
    assert_eq!(given_back, first);
}

/// The faults and notices of `doctor` on the keys and credentials.
fn told(world: &World) -> Vec<String> {
    let mut environment = world.environment();
    environment.insert("TICKETWIRE__HTTP__LISTEN".into(), String::new());
    let output = crate::support::output(&environment, &["--json", "doctor"]);
    let doctor: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = doctor["checks"].as_array().unwrap().clone();
    checks
        .iter()
        .filter(|check| ["keys", "credentials"].contains(&check["check"].as_str().unwrap()))
        .map(|check| {
            let text = check["note"].as_str().or_else(|| check["fault"].as_str());
            format!("{} {}", check["ok"], text.unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_key_is_rotated_out_while_workers_run() {
    let world = World::new().await;
    let (old, new) = (generate("old"), generate("new"));
    let client = world.client().await;
    world.set(KEYS, &json!([old]).to_string());
    let other = world.add_integration("other", &json!({})).await;
    client
        .execute("DELETE FROM integrations WHERE id <> $1", &[&other])
        .await
        .unwrap();
    // A command whose secrets wait in the ledger: its organization is disabled until it is retried.
    let disabled = "UPDATE organizations SET is_enabled = false";
    client.batch_execute(disabled).await.unwrap();
    let worker = world.worker().await;
    let data = json!({
        "name": "Later", "platform_name": "jira", "base_url": world.sandbox.url("later"),
        "settings": { "project_key": "SUP" }, "credentials": { "email": "bot@example.test",
            "api_token": "s3cr3t-t0k3n" },
        "webhook_secret": "whsec_0123456789",
    });
    let later = world.publish("integration.create", data.clone()).await;
    world.fails(later, "organization_disabled").await;
    let change = json!({
        "integration_id": other, "credentials": { "email": "bot@example.test",
            "api_token": "s3cr3t-t0k3n" },
    });
    let update = world.publish("integration.update", change).await;
    world.fails(update, "organization_disabled").await;
    assert!(worker.stop().await.success());
    client
        .batch_execute("UPDATE organizations SET is_enabled = true")
        .await
        .unwrap();
    let binding = |column| Binding {
        organization: OrganizationId::new(world.organization),
        integration: IntegrationId::new(other),
        column,
    };
    let old_ring = KeyRing::parse(&[old.as_str().into()]).unwrap();
    let seal = |column| old_ring.seal(&binding(column), b"an access token").unwrap();
    client
        .execute(
            "INSERT INTO integration_tokens VALUES ($1, $2, $3, now())",
            &[&other, &seal("access_sealed"), &seal("refresh_sealed")],
        )
        .await
        .unwrap();

    world.set(KEYS, &json!([new, old]).to_string());
    let worker = world.worker().await;
    let needed = told(&world);
    let busy: Vec<_> = futures_util::future::join_all((0..20).map(|n| {
        let title = format!("Meanwhile {n}");
        let world = &world;
        async move { world.create_at(other, &title).await.0 }
    }))
    .await;
    let rotated = world.cli(&["keys", "rotate"]);
    for command in busy {
        world.succeeds(command).await;
    }

    assert!(
        needed.contains(&"true old is still needed: it sealed 6 value(s)".to_owned()),
        "{needed:?}"
    );
    assert_eq!(rotated["resealed"], 6, "{rotated:#}");
    let left = "SELECT (SELECT count(*) FROM integrations \
                WHERE credentials_encrypted NOT LIKE 'tw1.new.%') + \
                (SELECT count(*) FROM integration_tokens \
                WHERE access_sealed NOT LIKE 'tw1.new.%' OR refresh_sealed NOT LIKE 'tw1.new.%') + \
                (SELECT count(*) FROM commands WHERE data LIKE '%tw1.old.%')";
    assert_eq!(world.count(left).await, 0);
    // Under another first key a repeat is still known to be one.
    let repeat = command("integration.create", later, world.organization, &data);
    world.send(&[Message::of(&repeat)]).await;
    let after = json!({ "integration_id": other });
    let behind_it = world.publish("integration.test", after).await;
    world.succeeds(behind_it).await;
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 0);
    let free = told(&world);
    assert!(
        free.contains(&"true old is not needed any more".to_owned()),
        "{free:?}"
    );
    assert!(worker.stop().await.success());

    // Without the old key everything goes on, the command that waited too.
    world.set(KEYS, &json!([new]).to_string());
    let worker = world.worker().await;
    let (create, _) = world.create_at(other, "Under the new key").await;
    world.succeeds(create).await;
    for waiting in [later, update] {
        world.cli(&["command", "retry", &waiting.to_string()]);
        wait_for("the command that waited to succeed", async || {
            let state = "SELECT state FROM commands WHERE id = $1";
            let state = world.text(state, &[&waiting]).await;
            (state.as_deref() == Some("succeeded")).then_some(())
        })
        .await;
    }
    // Its access tokens went with the credentials before.
    let opened = told(&world);
    assert!(
        opened.contains(&"true 3 sealed value(s), all can be opened".to_owned()),
        "{opened:?}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_moved_to_another_row_or_column_does_not_open() {
    let world = World::new().await;
    let other = world.add_integration("other", &json!({})).await;
    let client = world.client().await;
    let moves = [
        "UPDATE integrations i SET credentials_encrypted = o.credentials_encrypted \
         FROM integrations o WHERE o.id <> i.id",
        "UPDATE integrations SET webhook_secret_encrypted = credentials_encrypted",
    ];

    client.batch_execute(moves[0]).await.unwrap();
    let moved = told(&world);
    client.batch_execute(moves[0]).await.unwrap();
    client.batch_execute(moves[1]).await.unwrap();
    let output = crate::support::output(&world.environment(), &["--json", "keys", "rotate"]);
    let rotated: Value = serde_json::from_slice(&output.stdout).unwrap();

    assert!(
        moved[0].starts_with("false 2 of 2 sealed value(s) cannot be opened"),
        "{moved:?}"
    );
    let unreadable = rotated["unreadable"].as_array().unwrap();
    assert_eq!(
        (unreadable.len(), &rotated["already"]),
        (2, &json!(2)),
        "{rotated:#}"
    );
    for one in unreadable {
        assert_eq!(one["column"], "webhook_secret_encrypted");
        assert!(
            one["error"]
                .as_str()
                .unwrap()
                .contains("another row or column")
        );
    }
    let shown = world.cli(&["integration", "show", &other.to_string()]);
    assert_eq!(shown["credentials"]["api_token"], "••••0k3n");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_legacy_application_do_their_work_unrotated() {
    let world = World::new().await;
    let unreadable = world.add_integration("unreadable", &json!({})).await;
    let plain = r#"{"api_token": "s3cr3t-t0k3n", "email": "bot@example.test", "port": 1.0}"#;
    world.set(LEGACY_KEY, ENCRYPTION_KEY);
    let sealed = ring(&world.environment())
        .seal_for_legacy(
            ticketwire::secrets::LegacyKey::EncryptionKey,
            plain.as_bytes(),
            1,
        )
        .unwrap();
    let client = world.client().await;
    let set = "UPDATE integrations SET credentials_encrypted = $2 WHERE id = $1";
    client
        .execute(set, &[&world.integration, &sealed])
        .await
        .unwrap();
    let lost = VECTOR_A.replace("Z0FBQUFBQm92", "Z0FBQUFBQm93");
    client.execute(set, &[&unreadable, &lost]).await.unwrap();

    let worker = world.worker().await;
    let (works, _) = world.create("Under a legacy key").await;
    let (fails, _) = world.create_at(unreadable, "Under a lost key").await;
    world.succeeds(works).await;
    let event = world.fails(fails, "credentials_unreadable").await;

    let message = event["data"]["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("secrets.legacy_encryption_key"),
        "{message}"
    );
    assert!(!message.contains("t0k3n") && !message.contains(&lost));
    let faults = told(&world);
    assert!(
        faults
            .iter()
            .any(|t| t.starts_with("true secrets.legacy_encryption_key is still needed")),
        "{faults:?}"
    );
    assert!(
        faults[0].starts_with("false 1 of 2 sealed value(s) cannot be opened: Jira"),
        "{faults:?}"
    );

    // The first write seals under our own key.
    let credentials = r#"{"email": "bot@example.test", "api_token": "s3cr3t-t0k3n"}"#;
    for id in [world.integration, unreadable] {
        world.cli(&[
            "integration",
            "update",
            &id.to_string(),
            "--credentials",
            credentials,
        ]);
    }
    let free = told(&world);
    assert!(
        free.contains(&"true secrets.legacy_encryption_key is not needed any more".to_owned()),
        "{free:?}"
    );
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_key_that_is_none_is_a_fault_of_the_configuration() {
    let world = World::new().await;
    world.set(LEGACY_KEY, "s3cr3t-but-no-fernet-key");

    let output = crate::support::output(&world.environment(), &["doctor"]);

    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("secrets.legacy_encryption_key") && text.contains("44 characters"),
        "{text}"
    );
    assert!(!text.contains("s3cr3t"), "{text}");
}
