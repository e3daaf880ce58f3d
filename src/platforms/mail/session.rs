//! One connection to a mail server, from its greeting to the answer to a message.

use std::time::{Duration, Instant};

use super::classify::{Stage, refusal};
use super::dialogue::{Dialogue, Lost, Wire};
use super::features::Features;
use super::reply::Reply;
use super::{Accepted, Mail, MailAddress, RefusedRecipient};
use crate::platforms::http::redact::clean_text;
use crate::platforms::{AdapterError, ErrorClass, SendPermit};
use crate::reach::Outage;
use crate::telemetry::failpoint;

/// How long a good-bye is waited for: the mail is sent already.
const QUIT_MAX: Duration = Duration::from_secs(1);

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) deadline: Instant,
    /// Each command with its reply, or the message with its reply.
    pub(super) step: Duration,
}

impl Limit {
    /// What a step may take from now.
    pub(super) fn left(self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.step.min(left)
    }
}

/// A connection.
pub(super) struct Session {
    dialogue: Dialogue,
    host: String,
    limit: Limit,
    pub(super) greeting: String,
    pub(super) features: Features,
}

impl Session {
    /// Reads the greeting of a connection that stands, and says hello.
    pub(super) async fn begin(
        wire: Box<dyn Wire>,
        host: &str,
        hello: &str,
        limit: Limit,
    ) -> Result<Self, AdapterError> {
        let mut session = Self {
            dialogue: Dialogue::new(wire),
            host: host.to_owned(),
            limit,
            greeting: String::new(),
            features: Features::default(),
        };
        let time = limit.left();
        let greeting = tokio::time::timeout(time, session.dialogue.reply()).await;
        let greeting = session.heard(greeting, time)?;
        session.greeting = positive(greeting, Stage::Greeting)?.text();
        session.hello(hello).await?;
        Ok(session)
    }

    /// Says hello: what the server said before is forgotten.
    pub(super) async fn hello(&mut self, name: &str) -> Result<(), AdapterError> {
        let reply = self.ask(&format!("EHLO {name}")).await?;
        self.features = Features::of(&positive(reply, Stage::Hello)?);
        Ok(())
    }

    /// Asks for encryption, and gives the bare connection for it.
    pub(super) async fn start_tls(mut self) -> Result<(Box<dyn Wire>, String), AdapterError> {
        if !self.features.starttls {
            let text = "does not fit: the mail server does not offer STARTTLS, and nothing is sent \
                        in the clear";
            return Err(AdapterError::field("settings.security", text));
        }
        let reply = self.ask("STARTTLS").await?;
        positive(reply, Stage::StartTls)?;
        let wire = self.dialogue.into_wire().ok_or_else(|| {
            let text = format!(
                "{} sent something in the clear after it agreed to encrypt",
                self.host
            );
            AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
        })?;
        Ok((wire, self.greeting))
    }

    /// Goes on over an encrypted connection, for which nothing said before counts (RFC 3207 §4.2).
    pub(super) async fn resume(
        wire: Box<dyn Wire>,
        greeting: String,
        host: &str,
        hello: &str,
        limit: Limit,
    ) -> Result<Self, AdapterError> {
        let mut session = Self {
            dialogue: Dialogue::new(wire),
            host: host.to_owned(),
            limit,
            greeting,
            features: Features::default(),
        };
        session.hello(hello).await?;
        Ok(session)
    }

    /// One transaction (RFC 5321 §3.3).
    pub(super) async fn transact(
        &mut self,
        mail: &Mail,
        permit: &dyn SendPermit,
    ) -> Result<Accepted, AdapterError> {
        let refused = self.envelope(mail).await?;
        let reply = self.ask("DATA").await?;
        if reply.code != 354 {
            return Err(refusal(&reply, Stage::Data));
        }
        let reply = self.message(mail.message.bytes(), permit).await?;
        Ok(Accepted { reply, refused })
    }

    /// Names sender and recipients. Who is left out.
    pub(super) async fn envelope(
        &mut self,
        mail: &Mail,
    ) -> Result<Vec<RefusedRecipient>, AdapterError> {
        let sender = format!("MAIL FROM:<{}>{}", mail.from, self.parameters(mail)?);
        let reply = self.ask(&sender).await?;
        positive(reply, Stage::Sender)?;
        self.recipients(&mail.to).await
    }

    /// Takes the envelope back: nothing is sent.
    pub(super) async fn reset(&mut self) -> Result<(), AdapterError> {
        let reply = self.ask("RSET").await?;
        positive(reply, Stage::Hello).map(drop)
    }

    /// What MAIL says of the message, where the server can take it at all.
    fn parameters(&self, mail: &Mail) -> Result<String, AdapterError> {
        let mut parameters = String::new();
        let length = mail.message.bytes().len() as u64;
        match self.features.size {
            Some(most) if most > 0 && length > most => {
                let fault =
                    format!("make the mail bigger than the {most} bytes that its server takes");
                return Err(AdapterError::field("attachments", fault));
            }
            Some(_) => parameters.push_str(&format!(" SIZE={length}")),
            None => {}
        }
        let plain = mail.message.bytes().is_ascii();
        let odd = |address: &&MailAddress| !address.as_str().is_ascii();
        let odd = if odd(&&mail.from) {
            Some("settings.from_address")
        } else {
            mail.to.iter().find(odd).map(|_| "settings.to")
        };
        if odd.is_some() || !plain {
            if !self.features.utf8 {
                let fault =
                    "has letters before the @ that this mail server does not take (SMTPUTF8)";
                return Err(AdapterError::field(odd.unwrap_or("settings.to"), fault));
            }
            parameters.push_str(" SMTPUTF8");
        }
        if !plain && self.features.eight_bit {
            parameters.push_str(" BODY=8BITMIME");
        }
        Ok(parameters)
    }

    /// Names the recipients; those that are refused are left out, unless all are.
    async fn recipients(
        &mut self,
        to: &[MailAddress],
    ) -> Result<Vec<RefusedRecipient>, AdapterError> {
        let (mut refused, mut errors) = (Vec::new(), Vec::new());
        for address in to {
            let reply = self.ask(&format!("RCPT TO:<{address}>")).await?;
            if reply.is_positive() {
                continue;
            }
            let error = refusal(&reply, Stage::Recipient);
            // Not the recipient's fault: the server hangs up, or does not know us.
            if reply.code == 421 || error.class == ErrorClass::Authentication {
                return Err(error);
            }
            refused.push(RefusedRecipient {
                address: address.to_string(),
                code: reply.code,
                enhanced: reply.enhanced_text(),
            });
            errors.push(error);
        }
        if errors.len() < to.len() {
            return Ok(refused);
        }
        // What may pass speaks for all: then the mail is tried again.
        let passing = |error: &AdapterError| {
            matches!(
                error.class,
                ErrorClass::Transient { .. } | ErrorClass::RateLimited { .. }
            )
        };
        let at = errors.iter().position(passing).unwrap_or(0);
        let error = (at < errors.len()).then(|| errors.swap_remove(at));
        Err(error.unwrap_or_else(|| AdapterError::field("settings.to", "names nobody")))
    }

    /// Sends the message itself: from the final dot on, the mail may be sent.
    async fn message(
        &mut self,
        message: &[u8],
        permit: &dyn SendPermit,
    ) -> Result<Reply, AdapterError> {
        failpoint("before_send").await;
        let time = self.limit.left();
        if time.is_zero() {
            let text = "the attempt's time was used up before the mail was sent";
            return Err(AdapterError::new(ErrorClass::Timeout, text));
        }
        permit.check(time)?;
        let mut dotted = false;
        let sending = self.dialogue.message(message, &mut dotted);
        let outcome = tokio::time::timeout(time, sending).await;
        if matches!(outcome, Ok(Ok(_))) {
            // The server has it, and nobody has read what it said.
            failpoint("after_send").await;
        }
        match self.heard(outcome, time) {
            Ok(reply) if reply.is_positive() && dotted => Ok(reply),
            Ok(reply) if dotted && reply.code < 400 => Err(self.unknown(&reply.codes())),
            Ok(reply) => Err(refusal(&reply, Stage::Message)),
            Err(error) if dotted => Err(self.unknown(&error.to_string())),
            Err(error) => Err(error),
        }
    }

    fn unknown(&self, why: &str) -> AdapterError {
        let text = format!(
            "{} was given the mail and did not say whether it took it",
            self.host
        );
        AdapterError::new(ErrorClass::Unknown, text).with_internal(why)
    }

    /// Whether the connection is good, after all that came before.
    pub(super) async fn noop(&mut self) -> Result<(), AdapterError> {
        let reply = self.ask("NOOP").await?;
        positive(reply, Stage::Hello).map(drop)
    }

    /// Says good-bye; whether it is heard does not matter any more.
    pub(super) async fn quit(mut self) {
        let time = QUIT_MAX.min(self.limit.left());
        drop(tokio::time::timeout(time, self.dialogue.ask("QUIT")).await);
    }

    pub(super) async fn ask(&mut self, line: &str) -> Result<Reply, AdapterError> {
        let time = self.limit.left();
        let outcome = tokio::time::timeout(time, self.dialogue.ask(line)).await;
        self.heard(outcome, time)
    }

    /// A reply without what is secret in it, or why there is none. A server may say back what it
    /// was told.
    fn heard(
        &self,
        outcome: Result<Result<Reply, Lost>, tokio::time::error::Elapsed>,
        time: Duration,
    ) -> Result<Reply, AdapterError> {
        let host = &self.host;
        let transient =
            |text: String| AdapterError::new(ErrorClass::Transient { retry_after: None }, text);
        match outcome {
            Ok(Ok(mut reply)) => {
                reply.lines = reply.lines.into_iter().map(clean_text).collect();
                Ok(reply)
            }
            Ok(Err(Lost::Unreadable(why))) => Err(transient(format!("{host}: {}", why.says()))),
            Ok(Err(Lost::Closed)) => Err(transient(format!("{host} closed the connection"))),
            Ok(Err(Lost::Io(error))) => {
                let why =
                    Outage::of(&error).map_or_else(String::new, |t| format!(": {}", t.says()));
                let text = format!("the connection to {host} broke before it answered{why}");
                Err(transient(text).with_internal(error.to_string()))
            }
            Err(_) => {
                let text = format!("{host} did not answer within {time:?}");
                Err(AdapterError::new(ErrorClass::Timeout, text))
            }
        }
    }
}

pub(super) fn positive(reply: Reply, stage: Stage) -> Result<Reply, AdapterError> {
    if reply.is_positive() {
        Ok(reply)
    } else {
        Err(refusal(&reply, stage))
    }
}
