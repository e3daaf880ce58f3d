//! Encrypted ways to broker and database, and whose certificates are taken.

use crate::support::{Authority, World, output, services};

/// The host and port of a URL.
fn authority_of(url: &str, port: u16) -> String {
    let url: url::Url = url.parse().unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(port))
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_and_database_are_reached_over_tls_with_a_certificate_that_is_known() {
    let world = World::new().await;
    let (database, amqp) = services();
    let authority = Authority::new();
    let broker = authority.before(&authority_of(&amqp, 5672), false).await;
    let server = authority.before(&authority_of(&database, 5432), true).await;
    let mut url: url::Url = amqp.parse().unwrap();
    url.set_scheme("amqps").unwrap();
    url.set_host(Some("localhost")).unwrap();
    url.set_port(Some(broker.port())).unwrap();
    world.set("AMQP_URL", url.as_str());
    let mut url: url::Url = world.database_url.parse().unwrap();
    url.set_host(Some("localhost")).unwrap();
    url.set_port(Some(server.port())).unwrap();
    url.set_query(Some("sslmode=require"));
    world.set("DATABASE_URL", url.as_str());

    let refused = output(&world.environment(), &["doctor"]);
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_ne!(refused.status.code(), Some(0), "{text}");
    assert_eq!(
        text.to_lowercase().matches("unknownissuer").count(),
        2,
        "both say what is wrong with the certificate: {text}"
    );
    assert_eq!(
        text.matches("SSL_CERT_FILE").count(),
        2,
        "and how to mend it: {text}"
    );

    let file = world.marker("authority.pem");
    authority.write(&file);
    // As libpq is told of an authority, for the database alone.
    let root = format!("sslmode=verify-full&sslrootcert={}", file.display());
    url.set_query(Some(&root));
    world.set("DATABASE_URL", url.as_str());
    let status = output(&world.environment(), &["migrate", "status"]);
    assert!(status.status.success(), "{status:?}");
    url.set_query(Some("sslmode=require"));
    world.set("DATABASE_URL", url.as_str());
    world.set("SSL_CERT_FILE", file.to_str().unwrap());
    let worker = world.worker().await;
    let (create, _) = world.create("Behind TLS").await;
    world.succeeds(create).await;
    drop(worker);
}
