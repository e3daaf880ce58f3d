//! The mail transport against the sandbox's mail server, and against servers that misbehave, over
//! real sockets.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use ticketwire::platforms::mail::{Mail, MailAuth, MailClient, Security};
use ticketwire::platforms::{
    AdapterError, EgressPolicy, ErrorClass, File, Redaction, SendPermit, redacting,
};
use ticketwire::sandbox::{Fault, FaultKind, Listen};

use crate::support::mail::{
    MailBench, PASSWORD, STEP, Scripted, address, basic, egress, mail, mail_of, message, server_at,
};

fn validation_of(error: &AdapterError) -> BTreeSet<String> {
    match &error.class {
        ErrorClass::Validation { fields } => fields.keys().cloned().collect(),
        other => panic!("{other:?}: {error}"),
    }
}

/// A class without what it carries.
fn class(error: &AdapterError) -> &'static str {
    match error.class {
        ErrorClass::Transient { .. } => "transient",
        ErrorClass::Timeout => "timeout",
        ErrorClass::RateLimited { .. } => "rate_limited",
        ErrorClass::Authentication => "authentication",
        ErrorClass::Permission => "permission",
        ErrorClass::NotFound => "not_found",
        ErrorClass::Validation { .. } => "validation",
        ErrorClass::Unknown => "unknown",
        ErrorClass::Egress => "egress",
        ErrorClass::Gone => "gone",
        ErrorClass::Conflict => "conflict",
        ErrorClass::Unsupported => "unsupported",
        ErrorClass::Internal => "internal",
    }
}

#[tokio::test]
async fn a_mail_reaches_all_its_recipients_byte_by_byte_in_each_kind_of_encryption() {
    let bench = MailBench::new().await;
    let files = [File::of_bytes(
        "Prüfbericht \"1\".png",
        "image/png",
        vec![0, 255, 13, 10, 46, 13, 10].into(),
    )];
    let text = ".begins with a dot\n..\n.\nand ends: \u{1f525}";
    for (site, security) in [
        ("tls", Security::Tls),
        ("starttls", Security::Starttls),
        ("plain", Security::None),
    ] {
        let message = message("Drucker brennt \u{1f525}", text, &files);
        let sent = mail_of(bench.server(site, security), message);

        let accepted = bench.send(&sent).await.unwrap();

        let ledger = bench.ledger(site);
        let [kept] = ledger.issues.as_slice() else {
            panic!("{ledger:#?}");
        };
        assert_eq!(
            kept.description.as_str().unwrap().as_bytes(),
            &sent.message.bytes()[..]
        );
        assert_eq!(kept.fields["from"], "support@example.com");
        assert_eq!(
            kept.fields["to"],
            json!(["a@example.net", "b@example.net", "c@example.net"])
        );
        assert_eq!(kept.fields["encrypted"], json!(security != Security::None));
        assert_eq!(kept.fields["user"], site);
        assert_eq!(kept.key, "<cmd-1@mail.example.com>");
        assert_eq!(kept.summary, "Drucker brennt \u{1f525}");
        assert_eq!(kept.labels, ["cmd-1"]);
        let shown = kept.fields["text"].as_str().unwrap().replace("\r\n", "\n");
        assert_eq!(shown.trim_end(), text);
        assert_eq!(kept.attachments[0].name, "Prüfbericht \"1\".png");
        assert_eq!(kept.attachments[0].sha256, files[0].sha256);
        assert_eq!(accepted.refused, []);
        assert_eq!(accepted.reply.codes(), "250 2.0.0");
        assert!(accepted.reply.text().contains(&kept.id), "{accepted:?}");
        assert_eq!(ledger.count("rcpt").received, 3);
        assert_eq!(ledger.count("data").effective, 1);
    }
}

#[tokio::test]
async fn a_repeat_has_the_same_bytes() {
    let bench = MailBench::new().await;
    for _ in 0..2 {
        let files = [File::of_bytes("a.txt", "text/plain", "one\ntwo\n".into())];
        let message = message("Printer", "It burns.", &files);
        let sent = mail_of(bench.server("acme", Security::None), message);
        bench.send(&sent).await.unwrap();
    }

    let ledger = bench.ledger("acme");
    assert_eq!(ledger.issues.len(), 2, "nobody folds copies here");
    assert_eq!(
        ledger.issues[0].fields["sha256"],
        ledger.issues[1].fields["sha256"]
    );
    assert_eq!(ledger.issues[0].key, ledger.issues[1].key);
}

#[tokio::test]
async fn each_failure_before_the_final_dot_surely_sent_nothing_and_none_after_it_is_taken_for_sure()
{
    let reset = || Fault::new(FaultKind::ResetBeforeStore);
    let hang = || Fault::new(FaultKind::Hang);
    let garbage = || Fault::new(FaultKind::Garbage);
    let cases: Vec<(&str, Fault, &str, usize)> = vec![
        (
            "421 at connect",
            Fault::status(421).on("connect"),
            "transient",
            0,
        ),
        (
            "554 at connect",
            Fault::status(554).on("connect"),
            "validation",
            0,
        ),
        ("reset at connect", reset().on("connect"), "transient", 0),
        ("silence at connect", hang().on("connect"), "timeout", 0),
        ("a web server", garbage().on("connect"), "transient", 0),
        (
            "500 to EHLO",
            Fault::status(500).on("ehlo"),
            "validation",
            0,
        ),
        ("reset at EHLO", reset().on("ehlo"), "transient", 0),
        (
            "535 to AUTH",
            Fault::status(535).on("auth"),
            "authentication",
            0,
        ),
        ("454 to AUTH", Fault::status(454).on("auth"), "transient", 0),
        ("silence at AUTH", hang().on("auth"), "timeout", 0),
        ("451 to MAIL", Fault::status(451).on("mail"), "transient", 0),
        (
            "553 to MAIL",
            Fault::status(553).body(json!("5.7.1 not yours")).on("mail"),
            "permission",
            0,
        ),
        (
            "421 4.7.0 to MAIL",
            Fault::status(421)
                .body(json!("4.7.0 Try again later"))
                .on("mail"),
            "rate_limited",
            0,
        ),
        ("reset at MAIL", reset().on("mail"), "transient", 0),
        (
            "550 to all RCPT",
            Fault::status(550).on("rcpt").times(3),
            "not_found",
            0,
        ),
        (
            "421 to one RCPT",
            Fault::status(421).on("rcpt").skip(1),
            "transient",
            0,
        ),
        ("reset at RCPT", reset().on("rcpt").skip(2), "transient", 0),
        (
            "451 to DATA",
            Fault::status(451).on("data_start"),
            "transient",
            0,
        ),
        (
            "554 to DATA",
            Fault::status(554).on("data_start"),
            "validation",
            0,
        ),
        (
            "250 to DATA",
            Fault::status(250).on("data_start"),
            "transient",
            0,
        ),
        ("reset at DATA", reset().on("data_start"), "transient", 0),
        (
            "451 to the message",
            Fault::status(451).on("data"),
            "transient",
            0,
        ),
        (
            "454 to the message",
            Fault::status(454)
                .body(json!(
                    "4.7.0 Throttling failure: Maximum sending rate exceeded"
                ))
                .on("data"),
            "rate_limited",
            0,
        ),
        (
            "554 to the message",
            Fault::status(554).on("data"),
            "validation",
            0,
        ),
        (
            "552 to the message",
            Fault::status(552).body(json!("5.3.4 too big")).on("data"),
            "validation",
            0,
        ),
        // It says no and keeps it all the same: a code is believed.
        (
            "451, and kept",
            Fault::status(451).on("data").stored(),
            "transient",
            1,
        ),
        ("reset after the dot", reset().on("data"), "unknown", 0),
        (
            "reset after it was kept",
            Fault::new(FaultKind::ResetAfterStore).on("data"),
            "unknown",
            1,
        ),
        (
            "half a reply",
            Fault::new(FaultKind::CutBody).on("data"),
            "unknown",
            1,
        ),
        ("no reply", garbage().on("data"), "unknown", 1),
        (
            "354 to the message",
            Fault::status(354).on("data"),
            "unknown",
            0,
        ),
        (
            "a reply without end",
            Fault::new(FaultKind::Oversize).on("data"),
            "unknown",
            1,
        ),
        ("silence after the dot", hang().on("data"), "unknown", 0),
        (
            "silence after it was kept",
            hang().on("data").stored(),
            "unknown",
            1,
        ),
    ];
    let bench = MailBench::new().await;
    for (number, (name, fault, expected, kept)) in cases.into_iter().enumerate() {
        let site = format!("case-{number}");
        bench.fault(&site, fault);

        let began = Instant::now();
        let error = bench
            .send(&mail(bench.server(&site, Security::None)))
            .await
            .unwrap_err();

        assert_eq!(class(&error), expected, "{name}: {error}");
        let ledger = bench.ledger(&site);
        assert_eq!(ledger.issues.len(), kept, "{name}");
        assert_eq!(ledger.faults_pending, 0, "{name}: the fault was met");
        let text = format!("{error} {error:?}");
        assert!(!text.contains(PASSWORD), "{name}: {text}");
        assert!(
            began.elapsed() < STEP * 4,
            "{name} took {:?}",
            began.elapsed()
        );
        bench
            .sandbox
            .clear_faults(&format!("email/{site}"))
            .unwrap();
    }
}

#[tokio::test]
async fn a_big_message_arrives_and_one_that_is_cut_off_is_surely_not_sent() {
    let bench = MailBench::new().await;
    // More than socket buffers hold: the cut is felt while the message is written.
    let bytes: Vec<u8> = (0..6_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let files = [File::of_bytes("big.bin", "application/zip", bytes.into())];
    let patient = MailClient::new(egress(), Duration::from_secs(20), &[]).unwrap();
    let whole = mail_of(
        bench.server("whole", Security::None),
        message("Big", "x", &files),
    );
    let exchange = bench.exchange(&bench.free);
    patient.send(&exchange, &whole).await.unwrap();
    let kept = &bench.ledger("whole").issues[0];
    assert_eq!(kept.attachments[0].sha256, files[0].sha256);

    for (site, fault, expected) in [
        (
            "reset",
            Fault::new(FaultKind::ResetBeforeStore),
            "transient",
        ),
        ("hang", Fault::new(FaultKind::Hang), "timeout"),
        (
            "early",
            Fault::status(552).body(json!("5.3.4 Message size exceeds limit")),
            "validation",
        ),
    ] {
        bench.fault(site, fault.on("body"));
        let big = mail_of(
            bench.server(site, Security::None),
            message("Big", "x", &files),
        );

        let error = bench.send(&big).await.unwrap_err();

        assert_eq!(class(&error), expected, "{site}: {error}");
        assert_eq!(bench.ledger(site).count("data").received, 0, "{site}");
        bench
            .sandbox
            .clear_faults(&format!("email/{site}"))
            .unwrap();
    }
}

#[tokio::test]
async fn refused_recipients_are_left_out_and_told_unless_all_are() {
    let bench = MailBench::new().await;
    let mut partly = mail(bench.server("acme", Security::None));
    partly.to[1] = address("unknown@example.net");

    let accepted = bench.send(&partly).await.unwrap();

    let [refused] = accepted.refused.as_slice() else {
        panic!("{accepted:?}");
    };
    assert_eq!(
        refused.to_json(),
        json!({ "address": "unknown@example.net", "code": 550, "enhanced": "5.1.1" })
    );
    assert_eq!(
        bench.ledger("acme").issues[0].fields["to"],
        json!(["a@example.net", "c@example.net"])
    );

    partly.to = vec![
        address("unknown@example.net"),
        address("unknown2@example.net"),
    ];
    let error = bench.send(&partly).await.unwrap_err();
    assert_eq!(class(&error), "not_found", "{error}");
    assert!(
        !error.public.contains("unknown@"),
        "the reply is for the log: {error:?}"
    );

    // One that may be taken later speaks for all.
    partly.to.push(address("full@example.net"));
    let error = bench.send(&partly).await.unwrap_err();
    assert_eq!(class(&error), "transient", "{error}");

    partly.to.clear();
    assert_eq!(
        validation_of(&bench.send(&partly).await.unwrap_err()),
        ["settings.to".to_owned()].into()
    );
    assert_eq!(bench.ledger("acme").issues.len(), 1);
}

#[tokio::test]
async fn nobody_listens_is_transient_and_says_so() {
    let bench = MailBench::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);

    let error = bench
        .send(&mail(server_at(nobody, Security::None, MailAuth::None)))
        .await
        .unwrap_err();

    assert_eq!(class(&error), "transient");
    assert!(error.public.contains("nothing listens"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_a_matter_of_configuration() {
    let bench = MailBench::new().await;
    let stranger = MailClient::new(egress(), STEP, &[]).unwrap();
    for security in [Security::Tls, Security::Starttls] {
        let sent = mail(bench.server("acme", security));
        let exchange = bench.exchange(&bench.free);

        let error = stranger.send(&exchange, &sent).await.unwrap_err();

        assert_eq!(
            validation_of(&error),
            ["settings.smtp_host".to_owned()].into(),
            "{error}"
        );
        assert!(error.public.contains("authority"), "{error}");
    }
    assert_eq!(
        bench.ledger("acme").count("auth").received,
        0,
        "no password went out"
    );

    let at_port = |port: u16| {
        let mut server = bench.server("acme", Security::Tls);
        server.port = port;
        mail(server)
    };
    let error = bench
        .send(&at_port(bench.sandbox.smtp().port()))
        .await
        .unwrap_err();
    assert_eq!(
        validation_of(&error),
        ["settings.security".to_owned()].into(),
        "{error}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_and_localhost_is_right() {
    let bench = MailBench::new().await;
    let elsewhere = |last| ([127, 0, 0, last], 0).into();
    let other = ticketwire::sandbox::start_at(Listen {
        http: elsewhere(1),
        smtp: elsewhere(1),
        smtps: elsewhere(2),
    })
    .await
    .unwrap();
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let authority = CertificateDer::from_pem_slice(other.certificate().as_bytes()).unwrap();
    let client = MailClient::new(egress(), STEP, &[authority]).unwrap();
    let sent = mail(server_at(
        other.smtps(),
        Security::Tls,
        basic("acme", PASSWORD),
    ));

    let error = client
        .send(&bench.exchange(&bench.free), &sent)
        .await
        .unwrap_err();

    assert_eq!(
        validation_of(&error),
        ["settings.smtp_host".to_owned()].into(),
        "{error}"
    );
    assert!(error.public.contains("another host name"), "{error}");

    let mut local = bench.server("acme", Security::Starttls);
    local.host = "localhost".into();
    bench.send(&mail(local)).await.unwrap();
}

#[tokio::test]
async fn without_starttls_nothing_is_sent_in_the_clear() {
    let bench = MailBench::new().await;
    let hello = Fault::status(250)
        .body(json!("sandbox.test\nAUTH PLAIN"))
        .on("ehlo")
        .stored();
    bench.fault("acme", hello);

    let error = bench
        .send(&mail(bench.server("acme", Security::Starttls)))
        .await
        .unwrap_err();

    assert_eq!(
        validation_of(&error),
        ["settings.security".to_owned()].into(),
        "{error}"
    );
    assert_eq!(bench.ledger("acme").count("auth").received, 0);
}

#[tokio::test]
async fn what_somebody_puts_behind_the_answer_to_starttls_is_not_believed() {
    let bench = MailBench::new().await;
    let server = Scripted::new(&[
        b"220 hello\r\n",
        b"250-hello\r\n250 STARTTLS\r\n",
        b"220 go ahead\r\n250 AUTH PLAIN\r\n",
    ])
    .await;
    let sent = mail(server_at(
        server.address,
        Security::Starttls,
        basic("acme", PASSWORD),
    ));

    let error = bench.send(&sent).await.unwrap_err();

    assert_eq!(class(&error), "transient", "{error}");
    assert!(error.public.contains("in the clear"), "{error}");
}

#[tokio::test]
async fn egress_rules_hold_for_mail_and_no_byte_goes_to_a_forbidden_address() {
    let bench = MailBench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let strict = MailClient::new(EgressPolicy::default(), STEP, &[]).unwrap();
    let mut sent = mail(bench.server("acme", Security::Tls));
    sent.server.port = port;
    for host in [
        "127.0.0.1",
        "localhost",
        "0x7f.1",
        "2130706433",
        "[::1]",
        "::ffff:127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.0.1",
        "fd00::1",
    ] {
        sent.server.host = host.into();
        let error = strict
            .send(&bench.exchange(&bench.free), &sent)
            .await
            .unwrap_err();
        assert_eq!(class(&error), "egress", "{host}: {error}");
        let error = strict
            .probe(&bench.exchange(&bench.free), &sent.server)
            .await
            .unwrap_err();
        assert_eq!(class(&error), "egress", "{host}: {error}");
    }
    let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err(), "somebody connected");

    // Allowed networks are not allowed in the clear.
    let encrypted_only = EgressPolicy {
        allow_http: false,
        ..egress()
    };
    let client = MailClient::new(encrypted_only, STEP, &[]).unwrap();
    let plain = mail(bench.server("acme", Security::None));
    let error = client
        .send(&bench.exchange(&bench.free), &plain)
        .await
        .unwrap_err();
    assert_eq!(class(&error), "egress", "{error}");
    assert!(error.public.contains("egress.allow_http"), "{error}");
}

#[tokio::test]
async fn a_secret_that_the_server_says_back_is_in_no_error() {
    let bench = MailBench::new().await;
    // One that is too short to be looked for is known by the form in which it was sent.
    for password in [PASSWORD, "pw1"] {
        let server = Scripted::new(&[
            b"220 hello\r\n",
            b"250-hello\r\n250 AUTH PLAIN\r\n",
            b"535 5.7.8 what do you mean, %\r\n",
        ])
        .await;
        let sent = mail(server_at(
            server.address,
            Security::None,
            basic("bot", password),
        ));

        let error = redacting(&Redaction::default(), bench.send(&sent))
            .await
            .unwrap_err();

        let spoken = server.heard()[1].clone();
        let encoded = spoken.strip_prefix("AUTH PLAIN ").unwrap();
        let text = format!("{error} {error:?}");
        assert!(text.contains("what do you mean"), "{text}");
        assert!(
            !text.contains(encoded) && !text.contains(password),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_reply_too_many_is_not_taken_for_the_answer_to_the_message() {
    let bench = MailBench::new().await;
    let server = Scripted::new(&[
        b"220 hello\r\n",
        b"250 hello\r\n",
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"354 go ahead\r\n250 kept, trust me\r\n",
    ])
    .await;
    let sent = mail(server_at(server.address, Security::None, MailAuth::None));

    let error = bench.send(&sent).await.unwrap_err();

    assert_eq!(class(&error), "transient", "{error}");
}

#[tokio::test]
async fn a_stale_token_is_refreshed_once_whether_the_server_challenges_or_refuses() {
    for challenges in [true, false] {
        let bench = MailBench::new()
            .await
            .with_tokens(&["stale-token", "fresh-token"]);
        let settings =
            json!({ "credentials": ["bot@example.com:fresh-token"], "challenges": challenges });
        bench.sandbox.configure("email/bot", settings).unwrap();
        let mut server = bench.server("bot", Security::Starttls);
        server.auth = MailAuth::XOAuth2 {
            user: "bot@example.com".into(),
        };

        bench.send(&mail(server.clone())).await.unwrap();

        let ledger = bench.ledger("bot");
        assert_eq!((ledger.issues.len(), ledger.count("auth").received), (1, 2));

        let bench = MailBench::new()
            .await
            .with_tokens(&["stale-token", "stale-too"]);
        let settings =
            json!({ "credentials": ["bot@example.com:fresh-token"], "challenges": challenges });
        bench.sandbox.configure("email/bot", settings).unwrap();
        server.port = bench.sandbox.smtp().port();

        let error = bench.send(&mail(server)).await.unwrap_err();

        assert_eq!(class(&error), "authentication", "{error}");
        assert_eq!(error.http_status, Some(535), "the code is told: {error:?}");
        assert_eq!(bench.ledger("bot").count("auth").received, 2);
    }
}

#[tokio::test]
async fn the_log_in_is_what_the_server_offers_and_a_wrong_one_is_told() {
    let bench = MailBench::new().await;
    let offers = |what: &str| {
        let hello = format!("sandbox.test\n{what}");
        Fault::status(250).body(json!(hello)).on("ehlo").stored()
    };
    bench.fault("login", offers("AUTH LOGIN"));
    bench
        .send(&mail(bench.server("login", Security::None)))
        .await
        .unwrap();

    bench.fault("neither", offers("AUTH XOAUTH2 CRAM-MD5"));
    let error = bench
        .send(&mail(bench.server("neither", Security::None)))
        .await
        .unwrap_err();
    assert_eq!(class(&error), "authentication");
    assert!(
        error.public.contains("it offers XOAUTH2, CRAM-MD5"),
        "{error}"
    );

    for offered in ["AUTH PLAIN", "AUTH LOGIN"] {
        bench.fault("wrong", offers(offered));
        let mut server = bench.server("wrong", Security::None);
        server.auth = basic("wrong", "wrong");
        let error = bench.send(&mail(server)).await.unwrap_err();
        assert_eq!(class(&error), "authentication", "{error}");
    }

    let mut server = bench.server("nobody", Security::None);
    server.auth = MailAuth::None;
    let mut relayed = mail(server);
    relayed.to = vec![address("ops@relay.example")];
    let error = bench.send(&relayed).await.unwrap_err();
    assert_eq!(class(&error), "authentication", "{error}");
    bench
        .sandbox
        .configure("email/relay", json!({ "requires_auth": false }))
        .unwrap();
    bench.send(&relayed).await.unwrap();
    assert_eq!(
        bench.ledger("relay").issues[0].fields["to"],
        json!(["ops@relay.example"])
    );
}

#[tokio::test]
async fn replies_are_read_as_servers_write_them() {
    let bench = MailBench::new().await;
    let server = Scripted::new(&[
        b"220\r\n",
        b"250 hello\r\n",
        b"250\r\n",
        b"251-will\r\n251 forward\r\n",
        b"252\r\n",
        b"250 \xfcber\r\n",
        b"354\r\n",
        b"250\r\n",
        b"221\r\n",
    ])
    .await;

    let accepted = bench
        .send(&mail(server_at(
            server.address,
            Security::None,
            MailAuth::None,
        )))
        .await
        .unwrap();

    assert_eq!((accepted.reply.code, accepted.refused.len()), (250, 0));
    let heard = server.heard();
    assert_eq!(
        heard[1], "MAIL FROM:<support@example.com>",
        "no SIZE where none is offered"
    );
    assert_eq!(heard[2], "RCPT TO:<a@example.net>");
    assert_eq!(heard.last().unwrap(), "QUIT");
}

#[tokio::test]
async fn a_mail_that_the_server_cannot_take_is_not_begun() {
    let bench = MailBench::new().await;
    let says = |what: &str| {
        Fault::status(250)
            .body(json!(format!("sandbox.test\nAUTH PLAIN\n{what}")))
            .on("ehlo")
            .stored()
    };
    bench.fault("small", says("SIZE 100"));
    let error = bench
        .send(&mail(bench.server("small", Security::None)))
        .await
        .unwrap_err();
    assert_eq!(
        validation_of(&error),
        ["attachments".to_owned()].into(),
        "{error}"
    );

    let mut international = mail(bench.server("ascii", Security::None));
    international.to = vec![address("jürgen@bücher.example")];
    bench.fault("ascii", says("8BITMIME"));
    let error = bench.send(&international).await.unwrap_err();
    assert_eq!(
        validation_of(&error),
        ["settings.to".to_owned()].into(),
        "{error}"
    );
    assert_eq!(bench.ledger("ascii").count("mail").received, 0);

    bench.send(&international).await.unwrap();
    let kept = &bench.ledger("ascii").issues[0];
    assert_eq!(kept.fields["to"], json!(["jürgen@xn--bcher-kva.example"]));
    assert_eq!(kept.fields["smtputf8"], true);
}

#[tokio::test]
async fn no_text_makes_a_header_a_recipient_or_a_second_mail() {
    let bench = MailBench::new().await;
    let evil = "x\r\nBcc: eve@example.org\r\n\r\n.\r\nMAIL FROM:<eve@example.org>\r\n";
    let smuggled = "x\n.\nMAIL FROM:<eve@example.org>\r.\rQUIT\r\n.\r\nRSET\r\n";
    let sent = mail_of(
        bench.server("acme", Security::None),
        message(evil, smuggled, &[]),
    );

    bench.send(&sent).await.unwrap();

    let ledger = bench.ledger("acme");
    assert_eq!((ledger.issues.len(), ledger.count("mail").received), (1, 1));
    let kept = &ledger.issues[0];
    assert_eq!(kept.fields["headers"].get("Bcc"), None);
    assert_eq!(kept.fields["to"].as_array().unwrap().len(), 3);
    assert!(
        kept.summary.starts_with("x  Bcc: eve@example.org"),
        "{}",
        kept.summary
    );
    let shown = kept.fields["text"].as_str().unwrap();
    assert!(shown.contains("RSET") && shown.contains("QUIT"), "{shown}");
}

/// A lease that is about to end.
struct Ending;

impl SendPermit for Ending {
    fn check(&self, _: Duration) -> Result<(), AdapterError> {
        Err(AdapterError::new(
            ErrorClass::Transient { retry_after: None },
            "the lease ends",
        ))
    }
}

#[tokio::test]
async fn who_may_no_longer_send_stops_before_the_message() {
    let bench = MailBench::new().await;
    let sent = mail(bench.server("acme", Security::None));

    let error = bench
        .client
        .send(&bench.exchange(&Ending), &sent)
        .await
        .unwrap_err();

    assert_eq!(error.public, "the lease ends");
    let ledger = bench.ledger("acme");
    assert_eq!(ledger.count("data_start").received, 1);
    assert_eq!((ledger.count("data").received, ledger.issues.len()), (0, 0));
}

#[tokio::test]
async fn the_deadline_bounds_every_step() {
    let mut bench = MailBench::new().await;
    bench.patience = Duration::from_millis(250);
    for (step, expected) in [
        ("connect", "timeout"),
        ("ehlo", "timeout"),
        ("starttls", "timeout"),
        ("auth", "timeout"),
        ("mail", "timeout"),
        ("rcpt", "timeout"),
        ("data_start", "timeout"),
        ("data", "unknown"),
    ] {
        bench.fault(step, Fault::new(FaultKind::Hang).on(step));

        let began = Instant::now();
        let error = bench
            .send(&mail(bench.server(step, Security::Starttls)))
            .await
            .unwrap_err();

        assert_eq!(class(&error), expected, "{step}: {error}");
        assert!(began.elapsed() < STEP, "{step} took {:?}", began.elapsed());
        bench
            .sandbox
            .clear_faults(&format!("email/{step}"))
            .unwrap();
    }

    bench.patience = Duration::ZERO;
    let error = bench
        .send(&mail(bench.server("late", Security::None)))
        .await
        .unwrap_err();
    assert_eq!(class(&error), "timeout", "{error}");
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let bench = MailBench::new().await;
    bench.fault("acme", Fault::delay(Duration::from_millis(300)).on("data"));
    let mut slow = Fault::new(FaultKind::SlowBody).on("auth");
    slow.delay_ms = Some(200);
    bench.fault("acme", slow);

    bench
        .send(&mail(bench.server("acme", Security::None)))
        .await
        .unwrap();

    assert_eq!(bench.ledger("acme").issues.len(), 1);
}

#[tokio::test]
async fn a_probe_logs_in_and_sends_nothing() {
    let bench = MailBench::new().await;
    let probe = async |auth| {
        let mut server = bench.server("acme", Security::Starttls);
        server.auth = auth;
        bench
            .client
            .probe(&bench.exchange(&bench.free), &server)
            .await
    };

    let seen = probe(basic("acme", PASSWORD)).await.unwrap();
    let wrong = probe(basic("acme", "wrong")).await.unwrap_err();

    assert_eq!(seen.size_max, Some(16 << 20));
    assert!(seen.greeting.contains("Ticketwire sandbox"), "{seen:?}");
    assert_eq!(class(&wrong), "authentication");
    let ledger = bench.ledger("acme");
    assert_eq!(
        (ledger.count("auth").received, ledger.count("mail").received),
        (2, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_is_tried_and_taken_back_and_nothing_is_sent() {
    let bench = MailBench::new().await;
    let mut tried = mail(bench.server("tried", Security::None));
    tried.to.push(address("unknown@example.net"));
    let attempt = async |mail: &Mail| {
        bench
            .client
            .try_envelope(&bench.exchange(&bench.free), mail)
            .await
    };

    let refused = attempt(&tried).await.unwrap();

    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].address.as_str(), refused[0].code),
        ("unknown@example.net", 550)
    );
    let fault = Fault::status(553).body(json!("5.7.1 not owned by user"));
    bench.fault("tried", fault.on("mail"));
    let error = attempt(&tried).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permission);
    let ledger = bench.ledger("tried");
    assert!(ledger.issues.is_empty() && ledger.count("data_start").received == 0);
}
