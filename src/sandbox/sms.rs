//! Twilio's Programmable Messaging: messages of an account, the numbers that send them, and the
//! phone at the other end. Written from Twilio's OpenAPI and its list of errors.
//!
//! | | |
//! | --- | --- |
//! | credentials | Basic: the account of the path and its token, or an API key (`SK…`), which may not see the account |
//! | senders | `numbers` and `services` of the settings; others are refused |
//! | messages | sent, listed the newest first by `To` and `From`, shown, redacted, deleted; a message has arrived when it is next shown, unless `undeliverable` says otherwise |
//! | a recipient | `POST /phone {from, to, body}` writes back; `STOP` and `START` are heeded |
//! | silences | with `redacts` texts are not shown; with `list_lag_ms` a message is not listed at once |
//! | the ledger | a message that ends with `#` and eight digits is an item, those that end with `#` these `/…` are its comments; addresses in them are files, as phones make links of them |
//!
//! Not modelled: schedules, contents, link shortening, prices, status callbacks, `DateSent`.
//!
//! Limits: 50,000 messages and 64 MiB a site.

mod hooks;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::kit::paging::By;
use super::kit::shelf::indexed_until;
use super::kit::{
    self, Budget, Caller, Common, CredentialSource, Entry, Hit, HookRules, Item, RateHeaders,
    Refusal, Route, Shelf, Tabled, checks, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// The id of the account's number.
const NUMBER_SID: &str = "PN00000000000000000000000000000001";
/// Characters of a body.
const BODY_MAX: usize = 1_600;
/// Media of a message.
const MEDIA_MAX: usize = 10;
/// Segments that a trial account may send at once.
const TRIAL_SEGMENTS: usize = 5;
const PAGES: By = By::Cursor("PageToken", "PageSize");
/// Characters of GSM 03.38 beside letters and digits, of one septet and of two.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
const DOUBLE: &str = "^{}\\[]~|€\u{c}";

/// A number of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Number {
    phone_number: String,
    sms: bool,
    mms: bool,
}

impl Default for Number {
    fn default() -> Self {
        Self {
            phone_number: "+14155550100".into(),
            sms: true,
            mms: true,
        }
    }
}

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these are accepted: `user:secret`.
    credentials: Vec<String>,
    budget: Option<Budget>,
    /// `active`, `suspended` or `closed`.
    account_status: String,
    numbers: Vec<Number>,
    services: Vec<String>,
    /// A trial account sends to `verified` numbers alone.
    trial: bool,
    verified: Vec<String>,
    /// Beginnings of numbers that may be written to; empty is all.
    enabled_prefixes: Vec<String>,
    /// Numbers that do not get messages, with the error's code.
    undeliverable: BTreeMap<String, u32>,
    /// Messages that wait at a sender, at most.
    queue_max: Option<usize>,
    redacts: bool,
    list_lag_ms: u64,
    webhooks: HookRules,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: Vec::new(),
            budget: None,
            account_status: "active".into(),
            numbers: vec![Number::default()],
            services: vec!["MG00000000000000000000000000000001".into()],
            trial: false,
            verified: Vec::new(),
            enabled_prefixes: Vec::new(),
            undeliverable: BTreeMap::new(),
            queue_max: None,
            redacts: false,
            list_lag_ms: 0,
            webhooks: HookRules::default(),
        }
    }
}

impl kit::Settings for Settings {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn budget(&self) -> Option<Budget> {
        self.budget
    }
}

/// A message.
#[derive(Debug)]
struct Message {
    account: String,
    from: Option<String>,
    service: Option<String>,
    to: String,
    body: String,
    media: Vec<String>,
    inbound: bool,
}

impl Item for Message {
    fn tags(&self) -> Vec<String> {
        let reference = self.reference().map(|(reference, _)| reference.to_owned());
        reference.into_iter().collect()
    }

    fn weight(&self) -> usize {
        self.body.len() + self.media.iter().map(String::len).sum::<usize>() + 256
    }
}

impl Message {
    /// What the text ends with, and whether something follows it behind a slash.
    fn reference(&self) -> Option<(&str, bool)> {
        let last = self.body.split_whitespace().next_back()?;
        let digits = last.strip_prefix('#')?;
        let (ticket, later) = digits
            .split_once('/')
            .map_or((digits, false), |(ticket, _)| (ticket, true));
        let is_one = ticket.len() == 8 && ticket.bytes().all(|b| b.is_ascii_hexdigit());
        (is_one && !self.inbound).then_some((ticket, later))
    }

    /// Addresses in the text, and media.
    fn files(&self) -> impl Iterator<Item = LedgerFile> {
        let links = self.body.split_whitespace();
        let links =
            links.filter(|word| word.starts_with("https://") || word.starts_with("http://"));
        let media = self.media.iter().map(String::as_str);
        let of = |(url, media_type): (&str, &str)| LedgerFile {
            name: url.to_owned(),
            media_type: media_type.to_owned(),
            ..LedgerFile::default()
        };
        let all = media
            .map(|url| (url, "mms"))
            .chain(links.map(|url| (url, "link")));
        all.map(of)
    }
}

/// How many segments a text takes; the service counts by 153 septets or 67 code units where one
/// does not do.
fn segments(text: &str) -> usize {
    let septets = |c: char| {
        if c.is_ascii_alphanumeric() || BASIC.contains(c) {
            Some(1)
        } else {
            DOUBLE.contains(c).then_some(2)
        }
    };
    let (units, single, part) = match text.chars().map(septets).sum::<Option<usize>>() {
        Some(units) => (units, 160, 153),
        None => (text.encode_utf16().count(), 70, 67),
    };
    if units <= single {
        1
    } else {
        units.div_ceil(part)
    }
}

/// One account's site.
pub(super) struct Twilio {
    common: Common<Settings>,
    messages: Shelf<Message>,
    /// Numbers that sent `STOP`.
    stopped: Vec<String>,
}

impl Default for Twilio {
    fn default() -> Self {
        Self {
            common: Common::default(),
            messages: Shelf::new(50_000, 64 << 20, 1),
            stopped: Vec::new(),
        }
    }
}

fn has_media(call: &Call) -> bool {
    !call.field("MediaUrl").is_empty()
}

impl Tabled for Twilio {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        view("GET", "/2010-04-01/Accounts/*", "get_account", Self::account),
        route("POST", "/2010-04-01/Accounts/*/Messages.json", "send_media",
            Self::send).when(has_media),
        route("POST", "/2010-04-01/Accounts/*/Messages.json", "send_message", Self::send),
        view("GET", "/2010-04-01/Accounts/*/Messages.json", "list_messages", Self::list),
        view("GET", "/2010-04-01/Accounts/*/Messages/*", "get_message", Self::get),
        route("POST", "/2010-04-01/Accounts/*/Messages/*", "redact_message", Self::redact),
        route("DELETE", "/2010-04-01/Accounts/*/Messages/*", "delete_message", Self::delete),
        view("GET", "/2010-04-01/Accounts/*/IncomingPhoneNumbers.json", "list_numbers",
            Self::numbers),
        view("GET", "/2010-04-01/Accounts/*/IncomingPhoneNumbers/*", "get_number",
            Self::get_number),
        route("POST", "/2010-04-01/Accounts/*/IncomingPhoneNumbers/*", "set_number",
            Self::set_number),
        route("POST", "/phone", "answer", Self::answered).open(),
    ];
    const CREDENTIALS: &'static [CredentialSource] = &[CredentialSource::Basic];
    const RATE: Option<RateHeaders> = None;

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn refuse(&self, refusal: &Refusal, call: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing | Refusal::Wrong | Refusal::Expired => {
                error(401, 20_003, "Authenticate")
            }
            Refusal::Forbidden => error(403, 20_403, "Forbidden"),
            Refusal::NoPath => {
                let text = format!("The requested resource {} was not found", call.path);
                error(404, 20_404, &text)
            }
            Refusal::OtherMethods(methods) => {
                error(405, 20_004, "Method not allowed").header("Allow", &methods.join(", "))
            }
            Refusal::Budget(_) => error(429, 20_429, "Too Many Requests"),
            Refusal::Status(status) => {
                let code = match status {
                    400 | 422 => 20_001,
                    401 => 20_003,
                    500..=599 => 20_500,
                    other => 20_000 + u32::from(*other),
                };
                error(*status, code, "A fault on demand")
            }
        }
    }

    /// A key is the account's of the path; a token is of the account that it names.
    fn caller(&self, call: &Call, now: DateTime<Utc>) -> Result<Caller, Refusal> {
        let credential = self.credential(call)?;
        let user = credential.user.as_deref().unwrap_or_default();
        let account = call.segments.get(2).map(String::as_str).unwrap_or_default();
        let alone = account.strip_suffix(".json");
        let is_key = user.starts_with("SK");
        if (is_key && alone.is_some()) || (!is_key && user != alone.unwrap_or(account)) {
            return Err(Refusal::Wrong);
        }
        let listed = kit::Settings::credentials(&self.common.settings);
        checks::admit(&credential, listed, &self.common.grants, now)
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let mut lines: Vec<LedgerIssue> = Vec::new();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        let all = self.messages.all().filter(|message| !message.inbound);
        for message in all {
            let reference = message.reference();
            let of = reference.filter(|(_, later)| *later);
            let of = of.and_then(|(ticket, _)| known.get(ticket).copied());
            match of.and_then(|at| lines.get_mut(at)) {
                Some(line) => {
                    line.comments.push(LedgerComment {
                        id: message.id.clone(),
                        body: message.body.as_str().into(),
                        public: true,
                        ..LedgerComment::default()
                    });
                    line.attachments.extend(message.files());
                    line.history.push("message".to_owned());
                }
                None => {
                    if let Some((ticket, false)) = reference {
                        known.entry(ticket.to_owned()).or_insert(lines.len());
                    }
                    lines.push(line_of(message));
                }
            }
        }
        lines.retain(|line| label.is_none_or(|label| line.labels.iter().any(|own| own == label)));
        (lines, self.messages.ledger(label, Entry::line).1)
    }
}

/// A message as the ledger's line.
fn line_of(message: &Entry<Message>) -> LedgerIssue {
    let labels = message.reference().map(|(ticket, _)| ticket.to_owned());
    LedgerIssue {
        project: message.to.clone(),
        summary: message.body.clone(),
        labels: labels.into_iter().collect(),
        attachments: message.files().collect(),
        fields: Map::from_iter([
            ("from".to_owned(), json!(message.from)),
            ("service".to_owned(), json!(message.service)),
            ("segments".to_owned(), segments(&message.body).into()),
        ]),
        ..message.line()
    }
}

fn error(status: u16, code: u32, message: &str) -> Answer {
    let body = json!({
        "code": code, "message": message, "status": status,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
    });
    Answer::json(status, body).header("Twilio-Request-Id", "RQ00000000000000000000000000000001")
}

/// A number by E.164.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_short_code(text: &str) -> bool {
    (3..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_https(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}

impl Twilio {
    fn account(&self, hit: &Hit<'_>) -> Answer {
        let Some(sid) = hit.arg(0).strip_suffix(".json") else {
            return self.refuse(&Refusal::NoPath, hit.call, hit.now);
        };
        let settings = &self.common.settings;
        let kind = if settings.trial { "Trial" } else { "Full" };
        let account = json!({
            "sid": sid, "friendly_name": "Sandbox", "status": settings.account_status, "type": kind,
            "uri": format!("/2010-04-01/Accounts/{sid}.json"),
        });
        Answer::json(200, account)
    }

    fn numbers(&self, hit: &Hit<'_>) -> Answer {
        let wanted = hit.call.param("PhoneNumber");
        let numbers = self.common.settings.numbers.iter();
        let numbers = numbers.filter(|one| wanted.is_none_or(|wanted| one.phone_number == wanted));
        let shown: Vec<Value> = numbers.map(|one| self.number_shown(one)).collect();
        let page = json!({ "incoming_phone_numbers": shown, "page": 0, "page_size": 50,
            "next_page_uri": null });
        Answer::json(200, page)
    }

    fn number_shown(&self, one: &Number) -> Value {
        let hook = self.common.hooks.find(NUMBER_SID);
        json!({
            "sid": NUMBER_SID, "phone_number": one.phone_number,
            "friendly_name": format!("Number {}", one.phone_number),
            "capabilities": { "sms": one.sms, "mms": one.mms, "voice": true, "fax": false },
            "sms_url": hook.map_or("", |hook| hook.url.as_str()), "sms_method": "POST",
        })
    }

    /// Why a message is not taken.
    fn fault(&self, call: &Call, media: &[String]) -> Option<Answer> {
        let settings = &self.common.settings;
        let (to, from, body) = (call.field("To"), call.field("From"), call.field("Body"));
        let service = call.field("MessagingServiceSid");
        let refused = |code, text: &str| Some(error(400, code, text));
        if settings.account_status != "active" {
            return Some(error(403, 30_002, "Account suspended"));
        }
        if to.is_empty() {
            return refused(21_604, "A 'To' phone number is required.");
        }
        if is_short_code(to) {
            return refused(21_265, "'To' number cannot be a Short Code");
        }
        if !is_number(to) {
            let text = format!("The 'To' number {to} is not a valid phone number.");
            return refused(21_211, &text);
        }
        if from.is_empty() && service.is_empty() {
            return refused(21_603, "A 'From' phone number is required.");
        }
        if body.is_empty() && media.is_empty() {
            return refused(
                21_619,
                "A text message body or media urls must be specified.",
            );
        }
        if body.chars().count() > BODY_MAX {
            let text = "The concatenated message body exceeds the 1600 character limit.";
            return refused(21_617, text);
        }
        if media.len() > MEDIA_MAX {
            return refused(21_623, "Number of media files exceeds allowed limit.");
        }
        if !media.iter().all(|url| is_https(url)) {
            return refused(21_620, "Invalid media URL(s)");
        }
        let callback = call.field("StatusCallback");
        if !callback.is_empty() && !is_https(callback) {
            let text = format!("The 'StatusCallback' URL {callback} is not a valid URL.");
            return refused(21_609, &text);
        }
        if !service.is_empty() && !settings.services.iter().any(|own| own == service) {
            return refused(21_705, "The Messaging Service Sid is invalid.");
        }
        if !from.is_empty() {
            if !is_number(from) {
                let text = format!(
                    "'From' {from} is not a valid phone number, shortcode, or alphanumeric \
                     sender ID."
                );
                return refused(21_212, &text);
            }
            let known = settings.numbers.iter().find(|one| one.phone_number == from);
            match known {
                None => {
                    let text =
                        format!("Mismatch between the 'From' number {from} and the account.");
                    return refused(21_660, &text);
                }
                Some(number) if !number.sms => {
                    let text = format!(
                        "The 'From' phone number {from} is not a valid, SMS-capable inbound \
                         phone number."
                    );
                    return refused(21_606, &text);
                }
                Some(_) => {}
            }
        }
        let is_enabled = |prefix: &String| to.starts_with(prefix.as_str());
        if !settings.enabled_prefixes.is_empty()
            && !settings.enabled_prefixes.iter().any(is_enabled)
        {
            let text = format!(
                "Permission to send an SMS has not been enabled for the region indicated by the \
                 'To' number: {to}."
            );
            return Some(error(403, 21_408, &text));
        }
        if settings.trial && !settings.verified.iter().any(|one| one == to) {
            let text = format!(
                "The number {to} is unverified. Trial accounts cannot send messages to \
                 unverified numbers."
            );
            return refused(21_608, &text);
        }
        if settings.trial && segments(body) > TRIAL_SEGMENTS {
            return refused(
                30_044,
                "Trial accounts cannot send messages of so many segments.",
            );
        }
        if self.stopped.iter().any(|one| one == to) {
            return refused(21_610, "Attempt to send to unsubscribed recipient");
        }
        if settings
            .queue_max
            .is_some_and(|max| self.messages.len() >= max)
        {
            let text = "The 'From' number has exceeded the maximum number of queued messages";
            return Some(error(429, 21_611, text));
        }
        None
    }

    fn send(&mut self, hit: &Hit<'_>) -> Answer {
        let media = hit.call.form.iter().filter(|(name, _)| name == "MediaUrl");
        let media: Vec<String> = media.map(|(_, url)| url.clone()).collect();
        if let Some(fault) = self.fault(hit.call, &media) {
            return fault;
        }
        let given = |name| Some(hit.call.field(name).to_owned()).filter(|text| !text.is_empty());
        let kind = if media.is_empty() { "SM" } else { "MM" };
        let message = Message {
            account: hit.arg(0).to_owned(),
            from: given("From"),
            service: given("MessagingServiceSid"),
            to: hit.call.field("To").to_owned(),
            body: hit.call.field("Body").to_owned(),
            media,
            inbound: false,
        };
        let made = self
            .messages
            .add_as(message, hit.now, |n| format!("{kind}{n:032x}"));
        let mut shown = shown(made, false);
        let (status, count) = match made.service {
            Some(_) => ("accepted", "0".to_owned()),
            None => ("queued", segments(&made.body).to_string()),
        };
        shown["status"] = status.into();
        shown["num_segments"] = count.into();
        shown["error_code"] = Value::Null;
        Answer::json(201, shown).mutated()
    }

    /// A message as it stands now: it has arrived by then, or has not and will not.
    fn seen(&self, message: &Entry<Message>) -> Value {
        let mut shown = shown(message, self.common.settings.redacts);
        if let Some(code) = self.common.settings.undeliverable.get(&message.to) {
            shown["status"] = "undelivered".into();
            shown["error_code"] = (*code).into();
        }
        shown
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        let newest = indexed_until(self.common.settings.list_lag_ms, hit.now);
        let fits = |name, value: Option<&str>| {
            hit.call
                .param(name)
                .is_none_or(|wanted| value == Some(wanted))
        };
        let found = self.messages.all().rev().filter(|message| {
            message.account == hit.arg(0)
                && message.created <= newest
                && fits("To", Some(&message.to))
                && fits("From", message.from.as_deref())
        });
        let Some(page) = PAGES.page(hit.call, found, 50, 1_000) else {
            return error(400, 20_001, "Invalid PageToken");
        };
        let path = format!("/2010-04-01/Accounts/{}/Messages.json", hit.arg(0));
        // Twilio names a page by its path, below the host.
        let next = page.next_name(hit.call, PAGES).map(|token| {
            let kept = hit
                .call
                .query
                .iter()
                .filter(|(name, _)| name != "PageToken");
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(kept)
                .append_pair("PageToken", &token)
                .finish();
            format!("{path}?{query}")
        });
        let messages: Vec<Value> = page.items.iter().map(|one| self.seen(one)).collect();
        let listing = json!({
            "messages": messages, "page": page.start / page.size.max(1), "page_size": page.size,
            "start": page.start, "end": page.start + page.items.len(), "uri": path,
            "first_page_uri": path, "previous_page_uri": null, "next_page_uri": next,
        });
        Answer::json(200, listing)
    }

    /// The message that a path names.
    fn named(&self, hit: &Hit<'_>) -> Result<&Entry<Message>, Answer> {
        let sid = hit.arg(1).strip_suffix(".json");
        let found = sid.and_then(|sid| self.messages.find(sid));
        let found = found.filter(|message| message.account == hit.arg(0));
        found.ok_or_else(|| self.refuse(&Refusal::NoPath, hit.call, hit.now))
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        match self.named(hit) {
            Ok(message) => Answer::json(200, self.seen(message)),
            Err(refused) => refused,
        }
    }

    fn redact(&mut self, hit: &Hit<'_>) -> Answer {
        let id = match self.named(hit) {
            Ok(message) => message.id.clone(),
            Err(refused) => return refused,
        };
        if !hit.call.field("Body").is_empty() {
            return error(400, 20_001, "A message's body can only be redacted");
        }
        let changed = self.messages.change(&id, |message| {
            message.body.clear();
            message.note("redact", hit.now);
        });
        match (changed, self.messages.find(&id)) {
            (Some(()), Some(message)) => Answer::json(200, self.seen(message)).mutated(),
            _ => self.refuse(&Refusal::NoPath, hit.call, hit.now),
        }
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        let id = match self.named(hit) {
            Ok(message) => message.id.clone(),
            Err(refused) => return refused,
        };
        self.messages.remove(&id);
        Answer::empty(204).mutated()
    }

    /// Somebody writes to a number of ours: none of Twilio's requests, but what a phone does.
    fn answered(&mut self, hit: &Hit<'_>) -> Answer {
        let (from, to, body) = (
            hit.call.field("from"),
            hit.call.field("to"),
            hit.call.field("body"),
        );
        match body.trim().to_uppercase().as_str() {
            "STOP" | "UNSUBSCRIBE" => self.stopped.push(from.to_owned()),
            "START" => self.stopped.retain(|one| one != from),
            _ => {}
        }
        // An answer goes to whichever account wrote last.
        let account = self
            .messages
            .all()
            .next_back()
            .map(|last| last.account.clone());
        let message = Message {
            account: account.unwrap_or_default(),
            from: Some(from.to_owned()),
            service: None,
            to: to.to_owned(),
            body: body.to_owned(),
            media: Vec::new(),
            inbound: true,
        };
        let made = self
            .messages
            .add_as(message, hit.now, |n| format!("SM{n:032x}"));
        Answer::json(201, json!({ "sid": made.id })).mutated()
    }
}

/// A message as Twilio shows it: numbers as text, moments by RFC 2822.
fn shown(message: &Entry<Message>, redacts: bool) -> Value {
    let at = message.created.to_rfc2822();
    let (direction, status) = if message.inbound {
        ("inbound", "received")
    } else {
        ("outbound-api", "delivered")
    };
    let body = if redacts { "" } else { message.body.as_str() };
    json!({
        "sid": message.id, "account_sid": message.account, "from": message.from, "to": message.to,
        "messaging_service_sid": message.service, "body": body, "status": status,
        "num_segments": segments(&message.body).to_string(),
        "num_media": message.media.len().to_string(), "direction": direction, "error_code": null,
        "error_message": null, "price": null, "price_unit": "USD", "date_created": at,
        "date_updated": at, "date_sent": null, "api_version": "2010-04-01",
        "uri": format!("/2010-04-01/Accounts/{}/Messages/{}.json", message.account, message.id),
    })
}
