//! The dialogue: which command may follow which (RFC 5321 §4.1.4, RFC 3207, RFC 4954).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::fault::Fault;
use super::super::site::Site;
use super::super::{BODY_MAX, Shared};
use super::command::{self, Sender};
use super::step::{Met, Step, amid, faulted, rendered, text_of};
use super::wire::{Gone, Line, Wire};
use crate::domain::Platform;

/// Recipients of one mail (RFC 5321 §4.5.3.1.8).
const RECIPIENTS_MAX: usize = 100;

/// Who logged in.
pub(super) struct User {
    pub(super) name: String,
    pub(super) secret: String,
}

/// One client.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) wire: Wire,
    pub(super) encrypted: bool,
    site: Option<Arc<Site>>,
    /// Commands that came before it was known whose they are, and whether a fault met them.
    earlier: Vec<(&'static str, bool)>,
    pub(super) greeted: bool,
    pub(super) user: Option<User>,
    pub(super) from: Option<Sender>,
    to: Vec<String>,
    /// Whether recipients were named, of which none was taken.
    refused_some: bool,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, wire: Wire, encrypted: bool) -> Self {
        Self {
            shared,
            wire,
            encrypted,
            site: None,
            earlier: Vec::new(),
            greeted: false,
            user: None,
            from: None,
            to: Vec::new(),
            refused_some: false,
        }
    }

    pub(super) async fn run(mut self, is_full: bool) -> Result<(), Gone> {
        if is_full {
            self.say(421, "4.3.2 too many connections").await?;
            return Ok(());
        }
        let greeting = Answer::plain(220, "sandbox.test ESMTP Ticketwire sandbox");
        let taken = self
            .step("connect", json!({}), Bytes::new(), Some(greeting))
            .await?;
        loop {
            let line = match self.wire.line().await? {
                Line::Text(line) => line,
                Line::TooLong => {
                    self.say(500, "5.5.2 line too long").await?;
                    continue;
                }
                Line::BareLineFeed => {
                    self.say(500, "5.5.2 a line ends with CR LF").await?;
                    continue;
                }
            };
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            let verb = verb.to_ascii_uppercase();
            if verb == "QUIT" {
                self.say(221, "2.0.0 Bye").await?;
                self.wire.close().await;
                return Ok(());
            }
            if taken.is_none() {
                self.say(503, "5.5.1 nothing but QUIT after a refusal")
                    .await?;
                continue;
            }
            self.command(&verb, argument.trim()).await?;
        }
    }

    async fn command(&mut self, verb: &str, argument: &str) -> Result<(), Gone> {
        match verb {
            "EHLO" | "HELO" => self.hello(verb, argument).await,
            "STARTTLS" => self.start_tls(argument).await,
            "AUTH" => self.auth(argument).await,
            "MAIL" => self.mail(argument).await,
            "RCPT" => self.rcpt(argument).await,
            "DATA" => self.data(argument).await,
            "RSET" => {
                self.forget();
                self.say(250, "2.0.0 Ok").await
            }
            "NOOP" => self.say(250, "2.0.0 Ok").await,
            "VRFY" => self.say(252, "2.0.0 send some mail, and see").await,
            "HELP" => self.say(214, "2.0.0 see RFC 5321").await,
            "EXPN" | "TURN" | "ETRN" | "BDAT" => self.say(502, "5.5.1 not implemented").await,
            _ => self.say(500, "5.5.2 unknown command").await,
        }
    }

    async fn hello(&mut self, verb: &str, argument: &str) -> Result<(), Gone> {
        if argument.is_empty() {
            return self.say(501, "5.5.4 say who you are").await;
        }
        self.forget();
        let mut lines = vec!["sandbox.test"];
        let size = format!("SIZE {BODY_MAX}");
        if verb == "EHLO" {
            lines.extend([
                "PIPELINING",
                &size,
                "8BITMIME",
                "SMTPUTF8",
                "ENHANCEDSTATUSCODES",
            ]);
            lines.push("AUTH PLAIN LOGIN XOAUTH2");
            if !self.encrypted {
                lines.push("STARTTLS");
            }
        }
        let answer = Answer::plain(250, &lines.join("\n"));
        let taken = self
            .step("ehlo", json!({}), Bytes::new(), Some(answer))
            .await?;
        self.greeted = taken.is_some();
        Ok(())
    }

    async fn start_tls(&mut self, argument: &str) -> Result<(), Gone> {
        if !argument.is_empty() {
            return self.say(501, "5.5.4 STARTTLS has no parameter").await;
        }
        if !self.greeted || self.encrypted {
            return self.say(503, "5.5.1 not now").await;
        }
        let answer = Answer::plain(220, "2.0.0 Ready to start TLS");
        let taken = self
            .step("starttls", json!({}), Bytes::new(), Some(answer))
            .await?;
        if taken.is_some() {
            self.wire.encrypt().await?;
            // As if nothing had been said before.
            self.encrypted = true;
            self.greeted = false;
            self.user = None;
            self.forget();
        }
        Ok(())
    }

    async fn mail(&mut self, argument: &str) -> Result<(), Gone> {
        if !self.greeted || self.from.is_some() {
            return self.say(503, "5.5.1 not now").await;
        }
        let sender = match command::sender(argument) {
            Ok(sender) => sender,
            Err((code, text)) => return self.say(code, text).await,
        };
        if sender.size.is_some_and(|size| size > BODY_MAX as u64) {
            return self.say(552, "5.3.4 message too big").await;
        }
        let detail = self.detail(json!({ "from": sender.address, "size": sender.size }));
        let taken = self.step("mail", detail, Bytes::new(), None).await?;
        if taken.is_some_and(|answer| answer.status < 400) {
            self.from = Some(sender);
        }
        Ok(())
    }

    async fn rcpt(&mut self, argument: &str) -> Result<(), Gone> {
        let Some(from) = &self.from else {
            return self.say(503, "5.5.1 MAIL first").await;
        };
        if self.to.len() >= RECIPIENTS_MAX {
            return self.say(452, "4.5.3 too many recipients").await;
        }
        let recipient = match command::recipient(argument, from.utf8) {
            Ok(recipient) => recipient,
            Err((code, text)) => {
                self.refused_some = true;
                return self.say(code, text).await;
            }
        };
        if self.site.is_none() {
            let domain = recipient.rsplit('@').next().unwrap_or_default();
            let label = domain.split('.').next().unwrap_or_default();
            let Ok(site) = self.shared.site(&format!("{}/{label}", Platform::Email)) else {
                return self.say(550, "5.1.2 no site can have this name").await;
            };
            self.belongs_to(site);
        }
        let detail = self.detail(json!({ "to": recipient }));
        let taken = self.step("rcpt", detail, Bytes::new(), None).await?;
        if taken.is_some_and(|answer| answer.status < 400) {
            self.to.push(recipient);
        } else {
            self.refused_some = true;
        }
        Ok(())
    }

    async fn data(&mut self, argument: &str) -> Result<(), Gone> {
        if !argument.is_empty() {
            return self.say(501, "5.5.4 DATA has no parameter").await;
        }
        if self.to.is_empty() {
            return if self.refused_some {
                self.say(554, "5.5.1 no valid recipients").await
            } else {
                self.say(503, "5.5.1 RCPT first").await
            };
        }
        let answer = Answer::plain(354, "End data with <CR><LF>.<CR><LF>");
        let detail = self.detail(json!({}));
        let taken = self
            .step("data_start", detail, Bytes::new(), Some(answer))
            .await?;
        if taken.is_none() {
            return Ok(());
        }
        if let Some((fault, cleared)) = self.site.as_ref().and_then(|site| site.named_fault("body"))
        {
            self.wire.some().await?;
            let met = Met { fault, cleared };
            amid(&mut self.wire, &self.shared.stopping, met).await?;
        }
        let received = self.wire.message(BODY_MAX).await?;
        let from = self.from.take().unwrap_or_default();
        let mut flaw = received.flaw;
        if flaw.is_none() && !from.eight_bit && !received.bytes.is_ascii() {
            flaw = Some((554, "5.6.1 8-bit data without BODY=8BITMIME"));
        }
        let detail = self.detail(json!({
            "from": from.address, "to": self.to, "flaw": flaw, "utf8": from.utf8,
            "encrypted": self.encrypted,
        }));
        self.forget();
        self.step("data", detail, received.bytes.into(), None)
            .await
            .map(drop)
    }

    /// Ends the transaction.
    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
        self.refused_some = false;
    }

    /// From now on it is known whose commands these are.
    pub(super) fn belongs_to(&mut self, site: Arc<Site>) {
        site.count_earlier(&std::mem::take(&mut self.earlier));
        self.site = Some(site);
    }

    /// What a site gets to know of a command, and who gave it.
    fn detail(&self, mut detail: Value) -> Value {
        if let Some(user) = &self.user {
            detail["user"] = user.name.clone().into();
            detail["secret"] = user.secret.clone().into();
        }
        detail
    }

    /// Does a step and replies. What took effect, if anything did.
    pub(super) async fn step(
        &mut self,
        operation: &'static str,
        detail: Value,
        body: Bytes,
        usual: Option<Answer>,
    ) -> Result<Option<Answer>, Gone> {
        let step = Step {
            operation,
            detail,
            body,
            usual,
        };
        let met = match &self.site {
            Some(site) => step.arrive(site),
            None => {
                let found = self.fault_of_anyone(operation);
                self.earlier.push((operation, found.is_some()));
                found
            }
        };
        if let Some(met) = met {
            let stopping = self.shared.stopping.clone();
            return faulted(&mut self.wire, &stopping, self.site.as_ref(), &step, met).await;
        }
        let answer = step.store(self.site.as_ref(), None);
        let challenge = answer
            .headers
            .iter()
            .find(|(name, _)| name == "x-challenge");
        if let Some((_, challenge)) = challenge {
            let text = challenge.to_str().unwrap_or_default().to_owned();
            self.say(334, &text).await?;
            self.wire.line().await?;
        }
        self.say(answer.status, &text_of(&answer)).await?;
        Ok(Some(answer))
    }

    /// A fault of any site that names this operation, where it is not known yet whose command it
    /// is.
    fn fault_of_anyone(&self, operation: &str) -> Option<Met> {
        let take = |site: Arc<Site>| -> Option<(Fault, _)> { site.named_fault(operation) };
        let found = self
            .shared
            .sites_of(Platform::Email)
            .into_iter()
            .find_map(take);
        found.map(|(fault, cleared)| Met { fault, cleared })
    }

    pub(super) async fn say(&mut self, code: u16, text: &str) -> Result<(), Gone> {
        self.wire.write(&rendered(code, text)).await
    }
}
