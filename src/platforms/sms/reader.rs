//! What is read back: messages to the recipient are tickets, those from there are comments; and the
//! checks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::facts::{SENDERS_LIFE, is_sid};
use super::item::{Message, PAGES_MAX, Way, item};
use super::{Sender, Sms, words};
use crate::platforms::text::segments;
use crate::platforms::{
    Actor, AdapterError, CallContext, Change, ChangeKind, ChangePage, CheckReport, Effect,
    ErrorClass, ExternalComment, ExternalItem, Facts, ItemRef, Order, PlatformField, Reader,
    SyncFrom, TestKind,
};

/// How far a listing goes back behind the last one's end: when a message shows is not documented.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);
/// Numbers of a page.
const SENDERS: &str = "200";

/// A number of the account's.
#[derive(Debug, Clone, Deserialize)]
struct Number {
    phone_number: String,
    #[serde(default)]
    friendly_name: String,
    #[serde(default)]
    capabilities: Map<String, Value>,
}

impl Number {
    fn can(&self, what: &str) -> bool {
        self.capabilities.get(what) == Some(&Value::Bool(true))
    }

    fn field(&self) -> PlatformField {
        let sends = ["sms", "mms", "voice"]
            .into_iter()
            .filter(|what| self.can(what));
        PlatformField {
            id: self.phone_number.clone(),
            name: self.friendly_name.clone(),
            kind: Some(sends.collect::<Vec<_>>().join(", ")),
            custom: false,
            required: false,
            allowed_values: Vec::new(),
        }
    }
}

/// A ticket by its first message. `title` is that of a later one, where there is one.
fn shown(reference: &str, first: &Message, title: Option<String>) -> ExternalItem {
    ExternalItem {
        item: item(reference, Some(&first.sid)),
        at: first.at(),
        facts: Facts {
            title: title.or_else(|| words::title_of(first.text())),
            ..Facts::default()
        },
        ..ExternalItem::default()
    }
}

/// Tickets by their first messages on a page, as the newest message shows them.
fn items(messages: &[Message]) -> Vec<ExternalItem> {
    let (mut found, mut latest) = (Vec::new(), BTreeMap::new());
    for message in messages.iter().filter(|message| message.is_sent()) {
        let Some((reference, is_first)) = words::ending(message.text()) else {
            continue;
        };
        if let Some(title) = words::title_of(message.text()) {
            latest.entry(reference).or_insert((title, message.at()));
        }
        if is_first {
            let (title, at) = latest.get(reference).cloned().unzip();
            let made = shown(reference, message, title);
            found.push(ExternalItem {
                at: at.flatten().or(made.at),
                ..made
            });
        }
    }
    found
}

/// Which ticket an answer belongs to: the one that it quotes, else that of what was sent last
/// before it.
fn parent(answer: &Message, sent: &[Message]) -> Option<ItemRef> {
    let ours = || sent.iter().filter(|message| message.is_sent());
    let before = |message: &&Message| match (message.created(), answer.created()) {
        (Some(sent), Some(answered)) => sent <= answered,
        _ => true,
    };
    let last = || {
        let mut before = ours().filter(before);
        let found = before.find_map(|message| words::ending(message.text()));
        found.map(|(reference, _)| reference.to_owned())
    };
    let reference = words::quoted(answer.text()).or_else(last)?;
    let first = ours().find(|message| words::ending(message.text()) == Some((&reference, true)));
    Some(item(&reference, first.map(|message| message.sid.as_str())))
}

/// An answer as a comment. A webhook tells it by the same id.
fn commented(answer: &Message, to: ItemRef) -> Change {
    Change {
        at: answer.at(),
        by: Some(author(answer.from.as_deref())),
        comment: Some(ExternalComment {
            id: answer.sid.clone(),
            body: answer.text().to_owned(),
            public: Some(true),
            author: Some(author(answer.from.as_deref())),
            created_at: answer.created(),
            ..ExternalComment::default()
        }),
        ..Change::new(change_id(&answer.sid), ChangeKind::Commented, to)
    }
}

/// The id of the change that an answer is.
pub(super) fn change_id(sid: &str) -> String {
    format!("c:{sid}")
}

/// Who sent a message: a number.
pub(super) fn author(number: Option<&str>) -> Actor {
    Actor {
        id: number.map(str::to_owned),
        name: None,
    }
}

/// Where a listing goes on: which one, and its query.
fn way_of(page: Option<&str>) -> (Way, Option<&str>) {
    let (way, query) = page
        .and_then(|page| page.split_once('?'))
        .unwrap_or_default();
    let way = if way == "in" { Way::In } else { Way::Out };
    (way, Some(query).filter(|query| !query.is_empty()))
}

#[async_trait]
impl Reader for Sms {
    /// The ticket that a message is of, be it its first one, a later one or an answer.
    async fn get(
        &self,
        context: &CallContext<'_>,
        asked: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let id = asked.external_id.as_str();
        let reference = if is_sid("SM", id) || is_sid("MM", id) {
            let path = format!("{id}.json");
            let request = self.api.get(&self.path(&["Messages", &path]))?;
            let answer = context.send(request).await?;
            if answer.status == 404 {
                return Ok(None);
            }
            let message: Message = self
                .api
                .take(&answer, Effect::Read, "reading the message")?;
            if !message.is_sent() {
                let (sent, _) = self.listed(context, Way::Out, None).await?;
                parent(&message, &sent).map(|item| item.address().to_owned())
            } else {
                match words::ending(message.text()) {
                    Some((reference, true)) => return Ok(Some(shown(reference, &message, None))),
                    Some((reference, false)) => Some(reference.to_owned()),
                    // Its text was taken away.
                    None => asked
                        .stable_id
                        .clone()
                        .filter(|_| message.text().is_empty()),
                }
            }
        } else {
            Some(asked.address().to_owned())
        };
        let Some(reference) = reference.filter(|text| words::is_reference(text)) else {
            return Ok(None);
        };
        let is_first = |message: &Message| {
            let is_it = words::ending(message.text()) == Some((&reference, true));
            Ok(message.is_sent() && is_it)
        };
        let (first, all) = self.first_sent(context, None, is_first).await?;
        match first {
            Some(first) => Ok(Some(shown(&reference, &first, None))),
            None if all => Ok(None),
            None => Err(AdapterError::unsupported(format!(
                "the ticket's first message is not among the newest {PAGES_MAX} pages of messages"
            ))),
        }
    }

    /// Messages to the recipient, then those from there, each back to where the last listing began.
    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let (way, query) = way_of(from.page);
        let marked = from.mark.and_then(|mark| {
            let at = DateTime::parse_from_rfc3339(mark.split(' ').next()?).ok()?;
            Some(at.with_timezone(&Utc))
        });
        let until = marked.max(from.since).map(|at| at - OVERLAP);
        let (mut messages, next) = self.listed(context, way, query).await?;
        let newest = messages.first().and_then(|newest| {
            let at = newest.created()?.to_rfc3339_opts(SecondsFormat::Secs, true);
            Some(format!("{at} {}", newest.sid))
        });
        let listed = messages.len();
        let is_older = |message: &Message, until| message.created().is_some_and(|at| at < until);
        messages.retain(|message| until.is_none_or(|until| !is_older(message, until)));
        let next = next.filter(|_| messages.len() == listed);
        let (page, next) = match way {
            Way::Out => {
                let next = next.map_or_else(|| "in?".to_owned(), |query| format!("out?{query}"));
                (ChangePage::of(items(&messages)), Some(next))
            }
            Way::In => {
                let page = self.answers(context, &messages).await?;
                (page, next.map(|query| format!("in?{query}")))
            }
        };
        let mark = newest.or_else(|| from.mark.map(str::to_owned));
        Ok(ChangePage {
            next,
            mark: mark.filter(|_| from.page.is_none()),
            order: Order::None,
            ..page
        })
    }

    /// The numbers of the account: who can send.
    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let numbers = context
            .recall("senders", SENDERS_LIFE, self.numbers(context, None))
            .await?;
        let wanted = search.unwrap_or_default().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let found = numbers.iter();
        let found = found.filter(|one| has(&one.phone_number) || has(&one.friendly_name));
        Ok(found.map(Number::field).collect())
    }
}

impl Sms {
    /// A page of answers, each with its ticket. One from before anything was sent has none.
    async fn answers(
        &self,
        context: &CallContext<'_>,
        messages: &[Message],
    ) -> Result<ChangePage, AdapterError> {
        let answers = messages.iter().filter(|message| {
            let service = message.messaging_service_sid.as_deref();
            message.direction.as_deref() == Some("inbound")
                && self.may_be_sender(message.to.as_deref(), service)
        });
        let answers: Vec<&Message> = answers.collect();
        let mut page = ChangePage::default();
        if answers.is_empty() {
            return Ok(page);
        }
        let (sent, _) = self.listed(context, Way::Out, None).await?;
        for answer in answers {
            match parent(answer, &sent) {
                Some(item) => page.changes.push(commented(answer, item)),
                None => page.unreadable += 1,
            }
        }
        Ok(page)
    }

    /// The account's numbers, or one of them.
    async fn numbers(
        &self,
        context: &CallContext<'_>,
        number: Option<&str>,
    ) -> Result<Vec<Number>, AdapterError> {
        #[derive(Deserialize)]
        struct Listing {
            incoming_phone_numbers: Vec<Number>,
        }
        let request = self.api.get(&self.path(&["IncomingPhoneNumbers.json"]))?;
        let request = request.query([("PageSize", SENDERS)]);
        let request = request.query(number.map(|number| ("PhoneNumber", number)));
        let what = "listing the account's numbers";
        let listing: Listing = self.api.ask(context, request, what).await?;
        Ok(listing.incoming_phone_numbers)
    }

    /// A request that shows whether the credentials are good. An API key may not see the account.
    fn identity(&self) -> Result<crate::platforms::Request, AdapterError> {
        if self.by_key {
            let request = self.api.get(&self.path(&["Messages.json"]))?;
            return Ok(request.query([("PageSize", "1")]));
        }
        let account = format!("{}.json", self.account);
        let path = [super::facts::VERSION, "Accounts", &account];
        self.api.request(Method::GET, &path, Effect::Read)
    }

    /// A check of an integration.
    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            TestKind::Connection => {
                let answer = context.send(self.identity()?).await?;
                let errors = self.api.errors();
                let message = match errors.check(&answer, Effect::Read, "reaching Twilio") {
                    Ok(()) => "Twilio answers",
                    Err(error) if error.class == ErrorClass::Authentication => {
                        "Twilio answers, but does not take the credentials"
                    }
                    Err(error) => return Err(error),
                };
                Ok(CheckReport::new(message, Map::new()))
            }
            TestKind::Authentication => self.authenticated(context).await,
            TestKind::Permissions => self.permitted(context).await,
            TestKind::CreateTicket => {
                let body = "Test of Ticketwire. No ticket stands behind this message.";
                let request = self.sending(body, None)?;
                let message: Message = (self.api)
                    .ask(context, request, "sending the test message")
                    .await?;
                let count = segments(body);
                let said = format!(
                    "a message that says that it is a test was sent to {}: {count} segment, \
                     which is paid for and \
                     cannot be taken back",
                    self.to
                );
                let details = json!({ "sid": message.sid, "segments": count });
                Ok(CheckReport::new(&said, details))
            }
        }
    }

    async fn authenticated(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let what = "authenticating";
        let seen: Value = self.api.ask(context, self.identity()?, what).await?;
        if self.by_key {
            return Ok(CheckReport::new("Twilio takes the API key", Map::new()));
        }
        let status = seen["status"].as_str().unwrap_or_default();
        if status != "active" {
            let text = format!("the account is {status:?}, not active: see Twilio's console");
            return Err(AdapterError::new(ErrorClass::Permission, text));
        }
        let details = json!({ "account": seen["friendly_name"], "type": seen["type"] });
        Ok(CheckReport::new(
            "Twilio takes the auth token; the account is active",
            details,
        ))
    }

    async fn permitted(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let from = match &self.sender {
            Sender::Number(number) => number,
            Sender::Service(service) => {
                // Services are behind another host.
                self.listed(context, Way::Out, None).await?;
                let said = format!(
                    "messages can be listed; whether {service} can send shows when it does \
                     (create_ticket)"
                );
                return Ok(CheckReport::new(&said, Map::new()));
            }
        };
        let numbers = self.numbers(context, Some(from)).await?;
        let number = numbers.iter().find(|number| number.phone_number == *from);
        let refused = |text: String| Err(AdapterError::new(ErrorClass::Permission, text));
        match number {
            None => refused(format!(
                "settings.from_number {from} is no number of this account"
            )),
            Some(number) if !number.can("sms") => {
                refused(format!("settings.from_number {from} cannot send SMS"))
            }
            Some(number) => {
                self.listed(context, Way::Out, None).await?;
                let details = json!({ "mms": number.can("mms"), "name": number.friendly_name });
                let said = format!("{from} can send SMS, and messages can be listed");
                Ok(CheckReport::new(&said, details))
            }
        }
    }
}
