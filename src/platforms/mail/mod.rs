//! Mail, sent by SMTP submission (RFC 6409): the second transport beside HTTP.
//!
//! | file | what it does |
//! | --- | --- |
//! | `address` | addresses, and names in front of them |
//! | `message_id` | ids of messages |
//! | `message` | builds the bytes of a message: the same bytes for the same contents |
//! | `client` | [`MailClient`]: what is the same for all mails |
//! | `send` | resolves, vets, connects, encrypts, and runs one transaction |
//! | `session` | one connection after it stands: greeting, EHLO, MAIL, RCPT, DATA |
//! | `auth` | how it logs in |
//! | `features` | what a server says it can |
//! | `dialogue` | commands out, replies in |
//! | `reply` | a reply, read leniently |
//! | `classify` | what a reply code means |
//!
//! **What is certain.** A server takes a message over with its answer to the final dot (RFC 5321
//! §4.1.1.4). Whatever fails before that dot was begun is surely not sent. After it, every reply
//! with a code is definite too. Only a lost answer to the dot is
//! [`ErrorClass::Unknown`](super::ErrorClass::Unknown).

mod address;
mod auth;
mod classify;
mod client;
mod dialogue;
mod features;
mod message;
mod message_id;
mod reply;
mod send;
mod session;

use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::{Value, json};

pub use self::address::{MailAddress, Mailbox};
pub use self::client::MailClient;
pub use self::message::{Draft, Message};
pub use self::message_id::MessageId;
pub use self::reply::Reply;
pub use self::send::Probe;
use super::{Effect, Response};

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte, usually on port 465. Preferred (RFC 8314 §3).
    Tls,
    /// STARTTLS, usually on port 587. A server that does not offer it is refused.
    Starttls,
    /// No encryption. Only where `egress.allow_http` allows plain text.
    None,
}

impl Security {
    /// The port that is usual for it.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::Starttls => 587,
            Self::None => 25,
        }
    }

    /// Its name in the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Starttls => "starttls",
            Self::None => "none",
        }
    }
}

/// How a mail proves who sends it.
#[derive(Debug, Clone)]
pub enum MailAuth {
    /// Not at all: a relay that takes us by our address.
    None,
    /// AUTH PLAIN, or LOGIN where the server has only that.
    Basic {
        /// User name, often an address.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// AUTH XOAUTH2 with the access token of the integration's OAuth flow. A refused token is
    /// refreshed once.
    XOAuth2 {
        /// The mailbox.
        user: String,
    },
}

/// Where mail is handed in, and as whom.
#[derive(Debug, Clone)]
pub struct MailServer {
    /// Host name or address. The certificate has to be for it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Encryption.
    pub security: Security,
    /// Authentication.
    pub auth: MailAuth,
}

/// A mail as an adapter builds it: data, not yet IO.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The server that takes it.
    pub server: MailServer,
    /// The envelope's sender: who gets the bounces.
    pub from: MailAddress,
    /// The envelope's recipients: all in one transaction.
    pub to: Vec<MailAddress>,
    /// The message.
    pub message: Message,
}

impl Mail {
    /// What it does if it arrives. A second copy is a second mail.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::Create
    }

    /// For people: what would be sent, without a secret in it.
    #[must_use]
    pub fn masked(&self) -> Value {
        let authentication = match &self.server.auth {
            MailAuth::None => Value::Null,
            MailAuth::Basic { .. } => "Basic ••••".into(),
            MailAuth::XOAuth2 { .. } => "XOAUTH2 ••••".into(),
        };
        let to: Vec<&str> = self.to.iter().map(MailAddress::as_str).collect();
        json!({
            "server": format!("{}:{}", self.server.host, self.server.port),
            "security": self.server.security.as_str(),
            "authentication": authentication,
            "from": self.from.as_str(), "to": to,
            "message": self.message.summary(),
        })
    }
}

/// A recipient that the server did not take; the mail went to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecipient {
    /// Who.
    pub address: String,
    /// The reply code.
    pub code: u16,
    /// The enhanced code (`5.1.1`), where the server gave one.
    pub enhanced: Option<String>,
}

impl RefusedRecipient {
    /// For `details.refused`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "address": self.address, "code": self.code, "enhanced": self.enhanced })
    }
}

/// A mail that the server took over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The reply to the message. Many servers name the id of their queue in it.
    pub reply: Reply,
    /// Recipients that were left out.
    pub refused: Vec<RefusedRecipient>,
}

impl Accepted {
    /// As an adapter reads answers: the reply code is the status, and the body a JSON object with
    /// `text` and `refused`.
    #[must_use]
    pub fn response(&self) -> Response {
        let refused: Vec<Value> = self.refused.iter().map(RefusedRecipient::to_json).collect();
        let body = json!({ "text": self.reply.text(), "refused": refused });
        Response {
            status: self.reply.code,
            headers: HeaderMap::new(),
            body: body.to_string().into(),
            truncated: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_that_was_taken_is_an_answer_like_any_other() {
        let accepted = Accepted {
            reply: Reply {
                code: 250,
                lines: vec!["2.0.0 Ok: queued as 4Yk1".into()],
            },
            refused: vec![RefusedRecipient {
                address: "a@example.net".into(),
                code: 550,
                enhanced: None,
            }],
        };

        let answer = accepted.response();

        assert!(answer.is_success());
        assert_eq!(
            answer.json::<Value>(Effect::Create).unwrap(),
            json!({
                "text": "2.0.0 Ok: queued as 4Yk1",
                "refused": [{ "address": "a@example.net", "code": 550, "enhanced": null }],
            })
        );
    }

    #[test]
    fn a_masked_mail_shows_no_secret_and_all_else() {
        let address = |text: &str| MailAddress::parse(text).unwrap();
        let draft = Draft {
            text: "It burns.",
            html: "<p>It burns.</p>",
            ..Draft::new(
                Mailbox::new(None, address("support@example.com")),
                vec![Mailbox::new(None, address("ops@example.net"))],
                "Printer on fire",
                MessageId::new("cmd-1", "example.com").unwrap(),
                chrono::DateTime::UNIX_EPOCH,
            )
        };
        let mail = Mail {
            server: MailServer {
                host: "smtp.example.com".into(),
                port: 587,
                security: Security::Starttls,
                auth: MailAuth::Basic {
                    user: "bot".into(),
                    password: "t0ps3cret".into(),
                },
            },
            from: address("support@example.com"),
            to: vec![address("ops@example.net")],
            message: draft.build().unwrap(),
        };

        let masked = mail.masked();
        let shown = format!("{masked} {mail:?}");

        assert!(
            shown.contains("Basic ••••") && !shown.contains("t0ps3cret"),
            "{shown}"
        );
        assert_eq!(masked["server"], "smtp.example.com:587");
        assert_eq!(masked["to"], json!(["ops@example.net"]));
        assert_eq!(masked["message"]["subject"], "Printer on fire");
        assert_eq!(masked["message"]["text"], "It burns.");
    }
}
