//! What a person who sets something wrong is told.

use secrecy::ExposeSecret;

use super::*;

fn load(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Config::load(&Sources {
        env,
        ..Sources::default()
    })
}

#[test]
fn the_defaults_are_sound() {
    let config = load(&[]).unwrap();

    assert_eq!(config.retry.schedule.len(), 9);
    assert_eq!(config.http.listen.unwrap().port(), 8000);
    assert_eq!(config.dispatch.settle_after, None);
}

#[test]
fn every_fault_is_told_at_once_with_its_origin_and_remedy() {
    let error = load(&[
        ("TICKETWIRE__DISPATCH__LEASE", "10s"),
        ("TICKETWIRE__RETRY__SCHEDULE", "[\"5s\",\"soon\"]"),
        ("TICKETWIRE__AMQP__PREFETHC", "7"),
        ("TICKETWIRE__EGRESS__ALLOW", "10.0.0.0/99"),
    ])
    .unwrap_err();

    let keys: Vec<&str> = error
        .faults
        .iter()
        .map(|fault| fault.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "amqp.prefethc",
            "dispatch.lease",
            "egress.allow",
            "retry.schedule"
        ]
    );
    let text = error.to_string();
    assert!(
        text.contains("environment TICKETWIRE__DISPATCH__LEASE"),
        "{text}"
    );
    assert!(text.contains("amqp.prefetch"), "{text}");
}

#[test]
fn lists_may_be_json_arrays_or_comma_lists() {
    let config = load(&[
        ("TICKETWIRE__EGRESS__ALLOW", r#"["127.0.0.0/8","::1/128"]"#),
        ("TICKETWIRE__RETRY__SCHEDULE", "250ms, 30s,2h"),
    ])
    .unwrap();

    assert_eq!(config.egress.allow.len(), 2);
    assert_eq!(
        config.retry.schedule,
        [250, 30_000, 7_200_000].map(Duration::from_millis)
    );
}

#[test]
fn later_sources_win_and_the_usual_names_are_taken() {
    let config = Config::load(&Sources {
        env: BTreeMap::from([
            ("DATABASE_URL".into(), "postgres://a@h/one".into()),
            ("TICKETWIRE__AMQP__PREFIX".into(), "env".into()),
        ]),
        flags: vec![("amqp.prefix".into(), "flag".into())],
        ..Sources::default()
    })
    .unwrap();

    assert_eq!(config.database.url.expose_secret(), "postgres://a@h/one");
    assert_eq!(config.amqp.prefix, "flag");
}

#[test]
fn a_file_is_read_and_its_unknown_keys_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.toml");
    std::fs::write(
        &file,
        "[egress]\nallow = [\"10.0.0.0/8\"]\n[amqp]\nprefetch = 50\nprefixx = \"a\"\n",
    )
    .unwrap();

    let error = Config::load(&Sources {
        file: Some(file.clone()),
        ..Sources::default()
    })
    .unwrap_err();

    assert_eq!(error.faults.len(), 1);
    assert!(
        error
            .to_string()
            .contains(&format!("amqp.prefixx ({})", file.display()))
    );
}

#[test]
fn no_secret_shows_in_debug_or_faults() {
    let key = crate::secrets::generate("one");
    let secret = key.split_once(':').unwrap().1;
    let config = load(&[
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("AMQP_URL", "amqp://u:hunter3@h/v"),
        ("TICKETWIRE__SECRETS__KEYS", &key),
        ("TICKETWIRE__HTTP__TOKEN", "hunter4"),
        ("TICKETWIRE__AI__API_KEY", "hunter5"),
    ])
    .unwrap();
    let broken = load(&[
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("TICKETWIRE__SECRETS__KEYS", &key[..20]),
        ("TICKETWIRE__AI__BASE_URL", "https://u:hunter6@h/v1"),
    ])
    .unwrap_err();

    let shown = format!("{config:?} {broken} {broken:?}");
    for secret in [
        "hunter2",
        "hunter3",
        "hunter4",
        "hunter5",
        "hunter6",
        secret,
        &key[4..20],
    ] {
        assert!(!shown.contains(secret), "{secret} shows in {shown}");
    }
}

#[test]
fn a_default_file_is_read_where_it_is_ours_and_named_where_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let found = || Sources::default().in_directory(dir.path());
    assert!(found().files().is_empty() && found().foreign_file.is_none());
    std::fs::create_dir(dir.path().join("config")).unwrap();
    let file = dir.path().join("config/default.toml");

    std::fs::write(&file, "# Settings of Rocket\n[amqp]\nprefix = \"theirs\"\n").unwrap();
    assert_eq!(found().foreign_file.as_ref(), Some(&file));
    assert_eq!(Config::load(&found()).unwrap().amqp.prefix, "ticketwire");

    std::fs::write(&file, "# Ticketwire\n[amqp]\nprefix = \"ours\"\n").unwrap();
    assert_eq!(found().files(), [file]);
    assert!(found().foreign_file.is_none());
    assert_eq!(Config::load(&found()).unwrap().amqp.prefix, "ours");
    let shipped = include_str!("../../config/default.toml");
    assert!(shipped.lines().next().unwrap().contains("Ticketwire"));
}

#[test]
fn a_file_with_a_fault_is_told_by_place_and_kind_and_not_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.toml");
    for (text, place) in [
        ("[secrets]\nkeys = [\"k1:hunter2=\n", "line 2"),
        ("[secrets]\nkeys = k1:hunter2\n", "line 2"),
        ("[http]\ntoken = \"a\"\ntoken = 'hunter2'\n", "line 3"),
        ("[http]\nhunter2 token = \"hunter2\"\n", "line 2"),
        ("secrets = \"hunter2\"\n", "must be a section"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Config::load(&Sources {
            file: Some(file.clone()),
            ..Sources::default()
        });
        let told = error.unwrap_err().to_string();
        assert!(told.contains(place) && told.contains("t.toml"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_flag_with_a_typo_does_not_show_what_stands_in_it() {
    let error = Config::load(&Sources {
        flags: vec![("secrets.keys:k1:n3v3r-sh0wn".into(), "=".into())],
        ..Sources::default()
    });

    let told = error.unwrap_err().to_string();
    assert!(!told.contains("n3v3r"), "{told}");
}

#[test]
fn addresses_are_taken_as_people_paste_them_or_refused_by_name() {
    let fault = |name: &str, text: &str| match load(&[(name, text)]) {
        Ok(_) => String::new(),
        Err(error) => error.faults[0].fault.clone(),
    };

    for (name, text) in [
        ("DATABASE_URL", "postgres://u:p#w@h/d\n"),
        (
            "DATABASE_URL",
            "postgres://h1:5432,h2:5433/d?sslmode=verify-full",
        ),
        ("DATABASE_URL", "host=/run/postgresql dbname=d"),
        ("AMQP_URL", " amqp://u:p@h/v\n"),
    ] {
        assert_eq!(fault(name, text), "", "{text}");
    }
    for (name, text, says) in [
        ("DATABASE_URL", "postgres://u:hunter2@h:port/d", "%40"),
        ("DATABASE_URL", "postgres:///d", "names no host"),
        (
            "DATABASE_URL",
            "postgres://h/d?sslrootcert=/not/there.pem",
            "no file",
        ),
        (
            "DATABASE_URL",
            "postgres://u:hunter2@h/d?sslkey=k",
            "sslkey",
        ),
        ("AMQP_URL", "amqp://u:p@h/v#x", "%23"),
        ("AMQP_URL", "amqp://u:hunter2#x@h/v", "%23"),
    ] {
        let told = fault(name, text);
        assert!(
            told.contains(says) && !told.contains("hunter2"),
            "{text}: {told}"
        );
    }
    let config = load(&[("AMQP_URL", "amqp://u:p@h/v\n")]).unwrap();
    assert_eq!(config.amqp.url.expose_secret(), "amqp://u:p@h/v");
}

#[test]
fn an_endpoint_for_analysis_needs_a_model_and_sound_surroundings() {
    let keys = |env: &[(&str, &str)]| {
        let faults = load(env).unwrap_err().faults;
        faults
            .into_iter()
            .map(|fault| fault.key)
            .collect::<Vec<_>>()
    };
    let base = ("TICKETWIRE__AI__BASE_URL", "https://api.openai.com/v1");
    let model = ("TICKETWIRE__AI__MODEL", "gpt-4o-mini");

    let config = load(&[base, model]).unwrap();

    assert_eq!(config.ai.base_url.unwrap().as_str(), base.1);
    assert!(load(&[model]).unwrap().ai.base_url.is_none());
    assert_eq!(keys(&[base]), ["ai.model"]);
    for text in [
        "api.openai.com/v1",
        "ftp://h/v1",
        "https://",
        "https://u:p@h/v1",
        "https://h/v1?key=k",
    ] {
        assert_eq!(keys(&[(base.0, text), model]), ["ai.base_url"], "{text}");
    }
    let plain = (base.0, "http://127.0.0.1:11434/v1");
    assert_eq!(keys(&[plain, model]), ["ai.base_url"]);
    assert!(load(&[plain, model, ("TICKETWIRE__EGRESS__ALLOW_HTTP", "true")]).is_ok());
    assert_eq!(
        keys(&[base, model, ("TICKETWIRE__AI__TIMEOUT", "90s")]),
        ["ai.timeout"]
    );
}

#[test]
fn the_listener_of_webhooks_has_bounds_that_fit_together() {
    let keys = |env: &[(&str, &str)]| -> Vec<String> {
        let faults = load(env).err().map(|error| error.faults);
        let faults = faults.into_iter().flatten();
        faults.map(|fault| fault.key).collect()
    };
    let memory = "TICKETWIRE__HTTP__WEBHOOK_MEMORY";
    let longest = "TICKETWIRE__HTTP__WEBHOOK_MAX_BYTES";

    let config = load(&[]).unwrap();
    assert_eq!(config.http.webhook_memory, 32 << 20);
    // A body of base64 and its envelope.
    assert!(config.message_bytes_max("webhook.received") > (1 << 20) / 3 * 4);
    assert_eq!(config.message_bytes_max("ticket.create"), 1 << 20);
    for (text, bytes) in [
        ("2097152", 2 << 20),
        ("2048KiB", 2 << 20),
        ("1 GiB", 1 << 30),
    ] {
        assert_eq!(
            load(&[(memory, text)]).unwrap().http.webhook_memory,
            bytes,
            "{text}"
        );
    }
    for text in ["", "32 MB", "-1", "2GiB", "many"] {
        assert_eq!(keys(&[(memory, text)]), ["http.webhook_memory"], "{text}");
    }
    assert_eq!(
        keys(&[(memory, "1MiB"), (longest, "2097152")]),
        ["http.webhook_memory"]
    );
    assert_eq!(
        keys(&[("TICKETWIRE__HTTP__WEBHOOK_TIMEOUT", "1m")]),
        ["http.webhook_timeout"]
    );
    let public = "TICKETWIRE__HTTP__WEBHOOK_PUBLIC_URL";
    assert_eq!(
        keys(&[(public, "hooks.example.org")]),
        ["http.webhook_public_url"]
    );
    assert!(keys(&[(public, "https://hooks.example.org/base")]).is_empty());
    let proxies = "TICKETWIRE__HTTP__TRUSTED_PROXIES";
    assert_eq!(keys(&[(proxies, "10.0.0.1/99")]), ["http.trusted_proxies"]);
}
