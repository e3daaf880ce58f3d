//! What the tests of mail share: a client, a sandbox, and mail servers that say what a script
//! wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::SecretString;
use ticketwire::platforms::mail::{
    Accepted, Draft, Mail, MailAddress, MailAuth, MailClient, MailServer, Mailbox, Message,
    MessageId, Security,
};
use ticketwire::platforms::{
    AccessToken, AdapterError, CallContext, EgressPolicy, File, HttpClient, Response, SendPermit,
    Strangers, TokenSource,
};
use ticketwire::sandbox::{Fault, Ledger, Sandbox};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// The password of the tests.
pub(crate) const PASSWORD: &str = "c0rrect-h0rse-battery";

/// Lets everything through, and gives these tokens, one after the other.
pub(crate) struct Free {
    tokens: Mutex<Vec<&'static str>>,
}

impl SendPermit for Free {
    fn check(&self, _: Duration) -> Result<(), AdapterError> {
        Ok(())
    }
}

#[async_trait]
impl TokenSource for Free {
    async fn token(
        &self,
        _: &CallContext<'_>,
        _: Option<&SecretString>,
    ) -> Result<AccessToken, AdapterError> {
        let mut tokens = self.tokens.lock().unwrap();
        assert!(!tokens.is_empty(), "no token is asked for again");
        Ok(AccessToken {
            secret: tokens.remove(0).into(),
            api_base: None,
        })
    }

    fn is_stale(&self, _: &Response) -> bool {
        false
    }
}

/// A sandbox and a client that trusts it.
pub(crate) struct MailBench {
    pub(crate) sandbox: Sandbox,
    pub(crate) client: MailClient,
    http: HttpClient,
    pub(crate) free: Free,
    /// How long an attempt may take.
    pub(crate) patience: Duration,
}

/// Longest a step takes.
pub(crate) const STEP: Duration = Duration::from_secs(2);

/// This machine's own addresses, in the clear, too.
pub(crate) fn egress() -> EgressPolicy {
    EgressPolicy {
        allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        allow_http: true,
    }
}

impl MailBench {
    pub(crate) async fn new() -> Self {
        let sandbox = ticketwire::sandbox::start(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let authority = CertificateDer::from_pem_slice(sandbox.certificate().as_bytes()).unwrap();
        Self {
            client: MailClient::new(egress(), STEP, &[authority]).unwrap(),
            http: HttpClient::new(egress(), STEP, 1).unwrap(),
            free: Free {
                tokens: Mutex::default(),
            },
            sandbox,
            patience: Duration::from_secs(20),
        }
    }

    pub(crate) fn with_tokens(self, tokens: &[&'static str]) -> Self {
        *self.free.tokens.lock().unwrap() = tokens.to_vec();
        self
    }

    pub(crate) fn exchange<'a>(&'a self, permit: &'a dyn SendPermit) -> CallContext<'a> {
        let deadline = Instant::now() + self.patience;
        CallContext::new(&self.http, deadline, permit, &self.free, &Strangers::PAGES)
    }

    pub(crate) async fn send(&self, mail: &Mail) -> Result<Accepted, AdapterError> {
        self.client.send(&self.exchange(&self.free), mail).await
    }

    /// The sandbox's server, as the user `site`.
    pub(crate) fn server(&self, site: &str, security: Security) -> MailServer {
        let address = match security {
            Security::Tls => self.sandbox.smtps(),
            Security::Starttls | Security::None => self.sandbox.smtp(),
        };
        server_at(address, security, basic(site, PASSWORD))
    }

    pub(crate) fn fault(&self, site: &str, fault: Fault) {
        self.sandbox
            .inject(&format!("email/{site}"), fault)
            .unwrap();
    }

    pub(crate) fn ledger(&self, site: &str) -> Ledger {
        self.sandbox.ledger(&format!("email/{site}"))
    }
}

pub(crate) fn basic(user: &str, password: &str) -> MailAuth {
    MailAuth::Basic {
        user: user.to_owned(),
        password: password.into(),
    }
}

pub(crate) fn server_at(address: SocketAddr, security: Security, auth: MailAuth) -> MailServer {
    MailServer {
        host: address.ip().to_string(),
        port: address.port(),
        security,
        auth,
    }
}

pub(crate) fn address(text: &str) -> MailAddress {
    MailAddress::parse(text).unwrap()
}

/// A message with this subject and text.
pub(crate) fn message(subject: &str, text: &str, files: &[File]) -> Message {
    let draft = Draft {
        text,
        html: "<p>It <b>burns</b>.</p>",
        headers: vec![("X-Ticketwire-Mark", "cmd-1".into())],
        files,
        ..Draft::new(
            Mailbox::new(Some("Support"), address("support@example.com")),
            vec![Mailbox::new(Some("Jürgen"), address("ops@example.net"))],
            subject,
            MessageId::new("cmd-1", "mail.example.com").unwrap(),
            chrono::DateTime::UNIX_EPOCH,
        )
    };
    draft.build().unwrap()
}

/// A mail to three people.
pub(crate) fn mail(server: MailServer) -> Mail {
    mail_of(server, message("Printer on fire", "It burns.", &[]))
}

pub(crate) fn mail_of(server: MailServer, message: Message) -> Mail {
    Mail {
        server,
        from: address("support@example.com"),
        to: ["a@example.net", "b@example.net", "c@example.net"]
            .map(address)
            .to_vec(),
        message,
    }
}

/// A mail server that answers by a script: the greeting, then a reply to each line; after a 354 a
/// whole message is read. What it was sent is kept.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub(crate) async fn new(replies: &'static [&'static [u8]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hears = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                for reply in replies {
                    // `%` stands for the line before, as a server says back what it heard.
                    let last = hears.lock().unwrap().last().cloned().unwrap_or_default();
                    let reply = if reply.contains(&b'%') {
                        String::from_utf8_lossy(reply)
                            .replace('%', &last)
                            .into_bytes()
                    } else {
                        reply.to_vec()
                    };
                    if stream.write_all(&reply).await.is_err() {
                        break;
                    }
                    let mut line = String::new();
                    if reply.starts_with(b"354") {
                        while !line.ends_with("\r\n.\r\n") {
                            if !matches!(stream.read_line(&mut line).await, Ok(count) if count > 0)
                            {
                                break;
                            }
                        }
                    } else if !matches!(stream.read_line(&mut line).await, Ok(count) if count > 0) {
                        break;
                    }
                    hears.lock().unwrap().push(line.trim_end().to_owned());
                }
                // The client closes when it has heard enough.
                let mut rest = Vec::new();
                drop(stream.read_to_end(&mut rest).await);
            }
        });
        Self { address, heard }
    }

    /// What it was sent, line by line; a message is one.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}
