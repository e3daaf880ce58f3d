use serde_json::json;

use super::*;
use crate::domain::{AuthType, Platform};
use crate::platforms::{blank, descriptor};

/// Everything is given.
fn all(settings: &Map<String, Value>) -> Given<'_> {
    Given {
        credentials: true,
        settings,
        base_url: true,
        webhook_secret: true,
        egress: None,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// An integration that has no fault, by the data of `integration.create`.
fn sound(platform: Platform) -> Value {
    match platform {
        Platform::Slack => {
            json!({ "auth_type": "bearer", "credentials": { "bot_token": "xoxb-123456" },
            "settings": { "channel": "C0123ABCD" } })
        }
        Platform::Webhook => json!({ "auth_type": "custom",
            "credentials": { "signing_secret": "whsec_czNjcjN0LXQwazNu" },
            "settings": { "url": "https://x.example/hook" } }),
        _ => json!({ "auth_type": "api_key", "base_url": "https://x.example",
            "credentials": { "email": "bot@x.example", "api_token": "t0k3n-123" },
            "settings": { "project_key": "SUP" } }),
    }
}

/// The faults of an integration that is sound but for what is put over it; null takes away.
fn faults_of(platform: Platform, over: &Value) -> BTreeMap<String, String> {
    let mut data = sound(platform);
    for (name, value) in over.as_object().unwrap() {
        match value {
            Value::Object(members) => {
                for (member, value) in members {
                    let of = data[name].as_object_mut().unwrap();
                    match value {
                        Value::Null => drop(of.remove(member)),
                        value => drop(of.insert(member.clone(), value.clone())),
                    }
                }
            }
            Value::Null => drop(data.as_object_mut().unwrap().remove(name)),
            value => data[name] = value.clone(),
        }
    }
    let settings = object(data["settings"].clone());
    let auth_type = AuthType::parse(data["auth_type"].as_str().unwrap()).unwrap();
    let mut row = blank(platform, auth_type, &settings, data["base_url"].as_str());
    row.api_version = data["api_version"].as_str().map(str::to_owned);
    let credentials = object(data["credentials"].clone());
    faults(descriptor(platform), &row, &credentials, &all(&settings))
}

#[test]
fn what_has_no_fault_is_taken() {
    for platform in [Platform::Jira, Platform::Slack, Platform::Webhook] {
        assert_eq!(
            faults_of(platform, &json!({})),
            BTreeMap::new(),
            "{platform}"
        );
    }
    for (platform, over) in [
        (Platform::Jira, json!({ "api_version": "2" })),
        (
            Platform::Jira,
            json!({ "credentials": { "email": "ä@x.example" } }),
        ),
        (
            Platform::Jira,
            json!({ "settings": { "status_map": { "open": "To Do" } } }),
        ),
        (
            Platform::Jira,
            json!({ "settings": { "status_transitions": { "resolved": "Done" } } }),
        ),
        (
            Platform::Jira,
            json!({ "auth_type": "basic", "credentials": {
            "email": null, "api_token": null, "username": "bot", "password": " pass word: " } }),
        ),
        // Older producers put settings among the credentials.
        (
            Platform::Jira,
            json!({ "settings": { "project_key": null },
            "credentials": { "project_key": "SUP" } }),
        ),
        (
            Platform::Slack,
            json!({ "settings": { "ticket_url": "https://desk.example/{ticket_id}" } }),
        ),
        (
            Platform::Webhook,
            json!({ "settings": { "url": "https://x.example/hook?version=2" } }),
        ),
        (
            Platform::Webhook,
            json!({ "settings": { "url": null },
            "credentials": { "secret_url": "https://x.example/hook?token=s3cr3t-123" } }),
        ),
        (
            Platform::Webhook,
            json!({ "settings": { "payload_template":
            { "text": "{{ data.title }}: {{data.custom_fields.colour}}",
                "at": "{{timestamp}}" } } }),
        ),
        (
            Platform::Webhook,
            json!({ "settings": { "payload_template": "{\"a\": \"{{type}}\"}" } }),
        ),
    ] {
        assert_eq!(
            faults_of(platform, &over),
            BTreeMap::new(),
            "{platform} {over}"
        );
    }
}

#[test]
fn each_fault_is_told_with_its_field_and_a_remedy_and_without_the_value() {
    const JIRA: Platform = Platform::Jira;
    const HOOK: Platform = Platform::Webhook;
    let cases = [
        (
            JIRA,
            json!({ "api_version": "4" }),
            "api_version",
            "must be 2 or 3",
        ),
        (
            JIRA,
            json!({ "credentials": { "api_token": "h1dd3n\r\nX: y" } }),
            "credentials.api_token",
            "line break",
        ),
        (
            JIRA,
            json!({ "credentials": { "api_token": "h1dd3n h1dd3n" } }),
            "credentials.api_token",
            "blank",
        ),
        (
            JIRA,
            json!({ "credentials": { "api_token": "h1dd3n-é" } }),
            "credentials.api_token",
            "ASCII",
        ),
        (
            JIRA,
            json!({ "credentials": { "api_token": 12345678 } }),
            "credentials.api_token",
            "put it in quotes",
        ),
        (
            JIRA,
            json!({ "credentials": { "api_token": ["h1dd3n"] } }),
            "credentials.api_token",
            "must be text",
        ),
        (
            JIRA,
            json!({ "credentials": { "api_token": "  " } }),
            "credentials.api_token",
            "is required",
        ),
        (
            JIRA,
            json!({ "credentials": { "api_token": "••••d3n" } }),
            "credentials.api_token",
            "is masked",
        ),
        (
            JIRA,
            json!({ "credentials": { "email": "h1dd3n" } }),
            "credentials.email",
            "no e-mail address",
        ),
        (
            JIRA,
            json!({ "credentials": { "api_tokn": "h1dd3n" } }),
            "credentials.api_tokn",
            "did you mean api_token?",
        ),
        (
            JIRA,
            json!({ "settings": { "projectkey": "h1dd3n" } }),
            "settings.projectkey",
            "did you mean project_key?",
        ),
        (
            JIRA,
            json!({ "settings": { "on_unknwon": "retry" } }),
            "settings.on_unknwon",
            "did you mean on_unknown?",
        ),
        (
            JIRA,
            json!({ "settings": { "colour": "h1dd3n" } }),
            "settings.colour",
            "jira takes project_key",
        ),
        (
            JIRA,
            json!({ "settings": { "project_key": 7 } }),
            "settings.project_key",
            "put it in quotes",
        ),
        (
            JIRA,
            json!({ "settings": { "project_key": "sup" } }),
            "settings.project_key",
            "capital letter",
        ),
        (
            JIRA,
            json!({ "settings": { "default_issue_type": " " } }),
            "settings.default_issue_type",
            "leave it out",
        ),
        (
            JIRA,
            json!({ "settings": { "status_transitions": ["Done"] } }),
            "settings.status_transitions",
            "must be an object",
        ),
        (
            JIRA,
            json!({ "settings": { "status_transitions": { "done": "Done" } } }),
            "settings.status_transitions.done",
            "resolved",
        ),
        (
            JIRA,
            json!({ "settings": { "api_token": "h1dd3n" } }),
            "settings.api_token",
            "belongs in credentials",
        ),
        (
            JIRA,
            json!({ "settings": { "email": "h1dd3n@x.example" } }),
            "settings.email",
            "belongs in credentials",
        ),
        (
            JIRA,
            json!({ "settings": { "webhookSecret": "h1dd3n" } }),
            "settings.webhookSecret",
            "belongs in credentials",
        ),
        (
            JIRA,
            json!({ "settings": { "api_url": "https://x.example/?token=h1dd3n" } }),
            "settings.api_url",
            "token=…",
        ),
        (
            JIRA,
            json!({ "settings": { "api_url": "https://x.example/?a=1" } }),
            "settings.api_url",
            "query",
        ),
        (
            JIRA,
            json!({ "base_url": "https://a:h1dd3n@x.example" }),
            "base_url",
            "user or password",
        ),
        (
            JIRA,
            json!({ "base_url": "https://x.example?a=1" }),
            "base_url",
            "query",
        ),
        (
            JIRA,
            json!({ "base_url": "https://x.example#a" }),
            "base_url",
            "fragment",
        ),
        (
            JIRA,
            json!({ "base_url": "https://x.example/?key=h1dd3n" }),
            "base_url",
            "key=…",
        ),
        (
            JIRA,
            json!({ "base_url": "x.example" }),
            "base_url",
            "not a URL",
        ),
        (
            JIRA,
            json!({ "auth_type": "basic", "credentials": { "email": null, "api_token": null,
            "username": "bot:h1dd3n", "password": "h1dd3n" } }),
            "credentials.username",
            "colon",
        ),
        (
            JIRA,
            json!({ "auth_type": "custom" }),
            "auth_type",
            "it takes api_key",
        ),
        (
            Platform::Slack,
            json!({ "settings": { "channel": "a b" } }),
            "settings.channel",
            "channel's id",
        ),
        (
            Platform::Slack,
            json!({ "settings": { "broadcast_status": "yes" } }),
            "settings.broadcast_status",
            "true or false",
        ),
        (
            Platform::Slack,
            json!({ "settings": { "ticket_url": "desk" } }),
            "settings.ticket_url",
            "not a URL",
        ),
        (
            HOOK,
            json!({ "settings": { "url": null } }),
            "base_url",
            "is required",
        ),
        (
            HOOK,
            json!({ "settings": { "url": "https://x.example/?sig=h1dd3n" } }),
            "settings.url",
            "sig=…",
        ),
        (
            HOOK,
            json!({ "credentials": { "signing_secret": "whsec_???" } }),
            "credentials.signing_secret",
            "base64",
        ),
        (
            HOOK,
            json!({ "credentials": { "previous_valid_until": "soon" } }),
            "credentials.previous_valid_until",
            "RFC 3339",
        ),
        (
            HOOK,
            json!({ "credentials": { "headers": { "X-Key": "h1dd3n\r\nY: z" } } }),
            "credentials.headers",
            "X-Key",
        ),
        (
            HOOK,
            json!({ "credentials": { "headers": { "Host": "h1dd3n" } } }),
            "credentials.headers",
            "set by the worker",
        ),
        (
            HOOK,
            json!({ "credentials": { "secret_url": "https://x.example/h1dd3n" } }),
            "credentials.secret_url",
            "one of them",
        ),
        (
            HOOK,
            json!({ "credentials": { "basic_user": "bot" } }),
            "credentials.basic_password",
            "basic_user",
        ),
        (
            HOOK,
            json!({ "settings": { "payload_template": "{" } }),
            "settings.payload_template",
            "not JSON",
        ),
        (
            HOOK,
            json!({ "settings": { "payload_template": { "a": "{{data.titel}}" } } }),
            "settings.payload_template",
            "{{data.titel}}",
        ),
        (
            HOOK,
            json!({ "settings": { "payload_template": { "a": ["{{title}}"] } } }),
            "settings.payload_template",
            "{{title}}",
        ),
        (
            HOOK,
            json!({ "settings": { "payload_template": { "a": "{{type" } } }),
            "settings.payload_template",
            "close it",
        ),
    ];
    for (platform, over, field, fault) in cases {
        let found = faults_of(platform, &over);

        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            [field],
            "{platform} {over}: {found:?}"
        );
        assert!(found[field].contains(fault), "{platform} {over}: {found:?}");
        assert!(
            !format!("{found:?}").contains("h1dd3n"),
            "{platform} {over}: {found:?}"
        );
    }
}

#[test]
fn all_faults_are_told_at_once_those_of_the_adapter_too() {
    let over = json!({
        "api_version": "9", "base_url": "https://x.example#a",
        "credentials": { "email": "nobody", "api_token": null, "pin": "1234" },
        "settings": { "project_key": "a b", "colour": "red", "password": "h1dd3n",
            "on_unknown": "often" },
    });

    let found = faults_of(Platform::Jira, &over);

    let fields: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "api_version",
            "base_url",
            "credentials.api_token",
            "credentials.email",
            "credentials.pin",
            "settings.colour",
            "settings.on_unknown",
            "settings.password",
            "settings.project_key",
        ]
    );
}

#[test]
fn what_is_stored_is_judged_by_the_adapter_alone() {
    let settings = object(json!({ "project_key": "SUP", "colour": "red", "password": "x" }));
    let row = blank(
        Platform::Jira,
        AuthType::ApiKey,
        &settings,
        Some("https://x.example#a"),
    );
    let credentials = object(json!({ "email": "nobody", "api_token": 12345678, "old": "x" }));
    let nothing = Given {
        credentials: false,
        settings: &Map::new(),
        base_url: false,
        webhook_secret: false,
        egress: None,
    };
    let jira = descriptor(Platform::Jira);

    assert_eq!(faults(jira, &row, &credentials, &nothing), BTreeMap::new());
    let found = faults(jira, &row, &Map::new(), &nothing);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["credentials.api_token", "credentials.email"]
    );
}

#[test]
fn a_secret_too_short_to_be_masked_and_a_setting_without_effect_are_warned_of() {
    let settings = object(json!({ "project_key": "SUP", "push_deletes": true }));
    let row = blank(
        Platform::Jira,
        AuthType::Basic,
        &settings,
        Some("https://x.example"),
    );
    let jira = descriptor(Platform::Jira);
    let of = |password: &str| {
        let credentials = object(json!({ "username": "bot", "password": password }));
        warnings(jira, &row, &credentials, &all(&settings))
    };

    let short = of("h1dd3");
    assert_eq!(short.len(), 2, "{short:?}");
    assert!(short[0].starts_with("credentials.password "), "{short:?}");
    assert!(short[1].starts_with("settings.push_deletes "), "{short:?}");
    assert!(!format!("{short:?}").contains("h1dd3"));
    assert_eq!(of("h1dd3n").len(), 1);
}

#[test]
fn blanks_at_the_ends_go_but_those_of_a_password() {
    let row = blank(Platform::Jira, AuthType::Basic, &Map::new(), None);
    let jira = descriptor(Platform::Jira);
    let mut members =
        object(json!({ "username": " bot\n", "password": " p ", "project_key": "SUP " }));

    assert!(trim(&mut members, |name| credential(jira, &row, name)));

    assert_eq!(
        Value::Object(members.clone()),
        json!({ "username": "bot", "password": " p ", "project_key": "SUP " })
    );
    assert!(!trim(&mut members, |name| credential(jira, &row, name)));
}

#[test]
fn on_unknown_is_fail_or_retry_and_fail_where_it_is_not_said() {
    let slack = descriptor(Platform::Slack);
    let credentials = json!({ "webhook_url": "https://hooks.slack.com/services/T/B/X" });
    let credentials = credentials.as_object().unwrap();
    let of = |value: serde_json::Value| {
        let settings = Map::from_iter([(ON_UNKNOWN.to_owned(), value)]);
        let row = blank(Platform::Slack, AuthType::Custom, &settings, None);
        let faults = faults(slack, &row, credentials, &all(&settings));
        let kept = row.on_unknown();
        (faults.get("settings.on_unknown").cloned(), kept)
    };

    assert_eq!(of(json!("retry")), (None, OnUnknown::Retry));
    assert_eq!(of(json!("fail")), (None, OnUnknown::Fail));
    for wrong in [
        json!("Retry"),
        json!(true),
        json!(""),
        json!(null),
        json!(["retry"]),
    ] {
        let (fault, kept) = of(wrong);
        // A row that is older than the check fails, which is the safe side.
        assert_eq!(kept, OnUnknown::Fail);
        assert_eq!(fault.as_deref(), Some("must be fail or retry"));
    }
    let none = blank(Platform::Slack, AuthType::Custom, &Map::new(), None);
    assert_eq!(none.on_unknown(), OnUnknown::Fail);
}

#[test]
fn an_address_is_judged_as_it_will_be_at_sending_and_a_page_is_none_of_a_site() {
    let strict = EgressPolicy::default();
    let told = |platform, base_url: &str| {
        let settings = object(json!({ "project_key": "SUP" }));
        let row = blank(platform, AuthType::ApiKey, &settings, Some(base_url));
        let credentials = object(json!({ "email": "a@b.example", "api_token": "t0k3n-123" }));
        let given = Given {
            egress: Some(&strict),
            ..all(&settings)
        };
        let found = faults(descriptor(platform), &row, &credentials, &given);
        found.get("base_url").cloned().unwrap_or_default()
    };

    for (base_url, says) in [
        ("https://acme.atlassian.net", ""),
        ("https://acme.example/jira", ""),
        ("http://acme.example", "egress.allow_http"),
        ("https://127.0.0.1:8080", "egress.allow"),
        ("https://[fd00::1]", "egress.allow"),
        (
            "https://acme.atlassian.net/browse/SUP-1",
            "give https://acme.atlassian.net",
        ),
        (
            "https://acme.atlassian.net/jira/software/c/projects/SUP/boards/1?x=1#y",
            "give https://acme.atlassian.net",
        ),
        (
            "https://acme.example/jira/secure/Dashboard.jspa",
            "give https://acme.example/jira",
        ),
    ] {
        let fault = told(Platform::Jira, base_url);
        assert!(
            fault.contains(says) && fault.is_empty() == says.is_empty(),
            "{base_url}: {fault}"
        );
        assert!(!fault.contains("browse") && !fault.contains('#'), "{fault}");
    }
    let zendesk = told(
        Platform::Zendesk,
        "https://acme.zendesk.com/agent/tickets/1",
    );
    assert!(
        zendesk.contains("give https://acme.zendesk.com"),
        "{zendesk}"
    );
}

#[test]
fn a_token_that_is_too_short_to_be_one_is_refused() {
    let found = faults_of(
        Platform::Jira,
        &json!({ "credentials": { "api_token": "x" } }),
    );
    assert!(
        found["credentials.api_token"].contains("too short"),
        "{found:?}"
    );
}

#[test]
fn what_needs_a_secret_is_refused_without_any_where_it_or_the_secrets_are_given() {
    let email = descriptor(Platform::Email);
    let settings = object(json!({
        "smtp_host": "smtp.example.com", "from_address": "support@example.com",
        "to": ["ops@example.net"], "reply_domain": "in.example.com",
    }));
    let none = Map::new();
    let whole = all(&settings);
    let about = |credentials, webhook_secret| Given {
        credentials,
        webhook_secret,
        ..all(&none)
    };
    let found = |auth_type, credentials: Value, secret: Option<&str>, given: &Given<'_>| {
        let row = Integration {
            webhook_secret_sealed: secret.map(str::to_owned),
            ..blank(Platform::Email, auth_type, &settings, None)
        };
        faults(email, &row, &object(credentials), given)
    };
    let login = || json!({ "username": "bot", "password": "pass-w0rd" });

    for given in [&whole, &about(true, false), &about(false, true)] {
        let found = found(AuthType::Custom, json!({}), None, given);
        let (field, fault) = found.first_key_value().unwrap();
        assert_eq!((found.len(), field.as_str()), (1, "settings.reply_domain"));
        assert!(fault.contains("webhook_secret"), "{fault}");
    }
    assert!(found(AuthType::Custom, json!({}), Some("tw1.x"), &whole).is_empty());
    assert!(found(AuthType::Basic, login(), None, &whole).is_empty());
    // A row that is older than the rule can be changed in something else.
    let other = about(false, false);
    assert!(found(AuthType::Custom, json!({}), None, &other).is_empty());
}
