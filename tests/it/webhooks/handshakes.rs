//! Questions of platforms, which are answered in place and go no further.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use ticketwire::secrets::{Binding, opened_text};
use uuid::Uuid;

use super::signing::{base64_sha1_mac, hex_mac};
use super::{
    PUBLIC, Post, Published, Row, in_seconds, listening, register, ring, sealed, slack, slack_post,
    verdicts,
};
use crate::support::{World, wait_for};
use ticketwire::domain::{IntegrationId, OrganizationId};

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_whether_we_listen_is_answered_once_he_has_proved_himself() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let slack_hook = slack().secret("slack-secret").insert(&world).await;
    let zoom_hook = Row::of("zoom", "messaging", "oauth2").secret("zoom-secret");
    let zoom_hook = zoom_hook.insert(&world).await;
    let (worker, address) = listening(&world, &[]).await;

    let asked = r#"{"type":"url_verification","challenge":"3eZbrw1aB"}"#;
    let answered = slack_post(slack_hook, "slack-secret", asked)
        .send(address)
        .await;
    assert_eq!(
        (answered.status, answered.body.as_str()),
        (200, r#"{"challenge":"3eZbrw1aB"}"#)
    );
    assert_eq!(answered.header("content-type"), Some("application/json"));
    let forged = slack_post(slack_hook, "another", asked).send(address).await;
    assert_eq!((forged.status, forged.body.as_str()), (401, ""));

    let asked = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8"}}"#;
    let now = chrono::Utc::now().timestamp();
    let signed = |secret: &str| {
        let proof = hex_mac(secret.as_bytes(), &format!("v0:{now}:{asked}"));
        Post::to(zoom_hook, asked)
            .with("x-zm-request-timestamp", &now.to_string())
            .with("x-zm-signature", &format!("v0={proof}"))
    };
    let answered = signed("zoom-secret").send(address).await;
    let said: Value = serde_json::from_str(&answered.body).unwrap();
    let proof = hex_mac(b"zoom-secret", "qgg8");
    assert_eq!(
        said,
        json!({ "plainToken": "qgg8", "encryptedToken": proof })
    );
    assert_eq!(signed("another").send(address).await.status, 401);

    assert_eq!(
        verdicts(&worker, slack_hook),
        ["handshake", "bad_signature"]
    );
    assert_eq!(verdicts(&worker, zoom_hook), ["handshake", "bad_signature"]);
    assert!(
        published.all.lock().unwrap().is_empty(),
        "nothing goes further"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn graph_s_token_comes_back_as_plain_text_and_nobody_else_s() {
    let world = World::new().await;
    let hook = Row::of("teams", "messaging", "oauth2")
        .secret("state")
        .insert(&world)
        .await;
    let other = slack().secret("s").insert(&world).await;
    let (worker, address) = listening(&world, &[]).await;
    let ask = async |hook: Uuid, token: &str| {
        let mut post = Post::to(hook, "");
        post.path.push_str(&format!("?validationToken={token}"));
        post.send(address).await
    };

    let answered = ask(hook, "Validation%3A%20%3Cb%3E").await;
    assert_eq!(
        (answered.status, answered.body.as_str()),
        (200, "Validation: <b>")
    );
    assert_eq!(
        answered.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answered.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(ask(hook, &"x".repeat(9_000)).await.status, 401);
    assert_eq!(ask(other, "x").await.status, 401);
    assert_eq!(verdicts(&worker, hook), ["handshake", "unsigned"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_reports_that_nobody_follows_are_answered_and_not_handed_on() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let github = Row::of("github", "code_repository", "bearer")
        .secret("gh")
        .insert(&world)
        .await;
    let mut sms = Row::of("sms", "messaging", "basic");
    sms.credentials = Some(json!({ "auth_token": "12345" }));
    let sms = sms.insert(&world).await;
    let (worker, address) = listening(&world, &[]).await;

    let ping = r#"{"zen":"Keep it logically awesome."}"#;
    let ping = |secret: &[u8]| {
        Post::to(github, ping).with("x-github-event", "ping").with(
            "x-hub-signature-256",
            &format!("sha256={}", hex_mac(secret, ping)),
        )
    };
    assert_eq!(ping(b"gh").send(address).await.status, 200);
    assert_eq!(ping(b"another").send(address).await.status, 401);

    let url = format!("{PUBLIC}/webhooks/{sms}");
    let proof = base64_sha1_mac(b"12345", &format!("{url}MessageSidSM1MessageStatussent"));
    let report = Post::to(sms, "MessageSid=SM1&MessageStatus=sent")
        .with("content-type", "application/x-www-form-urlencoded")
        .with("x-twilio-signature", &proof);
    assert_eq!(report.send(address).await.status, 200);
    assert_eq!(verdicts(&worker, github), ["heartbeat", "bad_signature"]);
    assert_eq!(verdicts(&worker, sms), ["heartbeat"]);
    assert!(published.all.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_learned_once_and_only_while_somebody_waits_for_it() {
    let world = World::new().await;
    let published = Published::of(&world).await;
    let asana = || Row::of("asana", "project_management", "bearer");
    let (hook, late, never) = (
        asana().insert(&world).await,
        asana().insert(&world).await,
        asana().insert(&world).await,
    );
    let row = register(&world, hook, None, None, None, "awaiting").await;
    register(&world, late, None, None, None, "awaiting").await;
    let over = "UPDATE integration_webhooks SET awaiting_until = now() - interval '1 second' \
                WHERE integration_id = $1";
    world.query(over, &[&late]).await;
    // One that is registered already.
    let known = sealed(&world, never, "secret_sealed", "known");
    register(&world, never, Some(known), None, None, "active").await;
    let (worker, address) = listening(&world, &[]).await;
    let shake = async |hook: Uuid, secret: &str| {
        Post::to(hook, "{}")
            .with("X-Hook-Secret", secret)
            .send(address)
            .await
    };

    let answered = shake(hook, "their-secret").await;
    assert_eq!(answered.status, 200);
    assert_eq!(answered.header("x-hook-secret"), Some("their-secret"));
    for hook in [hook, late, never] {
        let refused = shake(hook, "mallory").await;
        assert_eq!(
            (refused.status, refused.header("x-hook-secret")),
            (401, None)
        );
    }
    let stored = "SELECT secret_sealed FROM integration_webhooks WHERE id = $1";
    let stored = world.text(stored, &[&row]).await.unwrap();
    let binding = Binding {
        organization: OrganizationId::new(world.organization),
        integration: IntegrationId::new(hook),
        column: "secret_sealed",
    };
    let opened = opened_text(&ring(&world).open(&binding, &stored).unwrap()).unwrap();
    assert_eq!(opened.expose_secret(), "their-secret");

    // What is signed with it is theirs at once.
    let signed = |secret: &str, body: &str| {
        Post::to(hook, body).with("x-hook-signature", &hex_mac(secret.as_bytes(), body))
    };
    let event = r#"{"events":[{"action":"changed"}]}"#;
    wait_for("the secret to be known", async || {
        (signed("their-secret", event).send(address).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(
        signed("their-secret", r#"{"events":[]}"#)
            .send(address)
            .await
            .status,
        200
    );
    assert_eq!(signed("mallory", event).send(address).await.status, 401);
    published.are(hook, 1).await;
    let log = worker.log();
    assert!(!log.contains("their-secret") && !log.contains("mallory"));

    // It is noted that the registration is heard of.
    wait_for("the registration to be seen", async || {
        let sql = "SELECT last_seen_at::text FROM integration_webhooks WHERE id = $1 \
                   AND last_seen_at > $2::text::timestamptz";
        world.text(sql, &[&row, &in_seconds(-300)]).await
    })
    .await;
}
