//! What holds the mails of a ticket together: ids, the subject, and the address for answers.
//!
//! Gmail wants `References` and the same subject apart from `Re:`; Outlook wants `References` and
//! the same topic. So the subject is that of the first mail, whatever becomes of the title.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::mail::{MailAddress, MessageId};
use super::super::text::{Max, title};
use super::super::{AdapterError, Operation};
use super::settings::Settings;
use crate::domain::{TicketId, TicketView};

/// Characters of a title that a subject shows.
const TITLE_MAX: usize = 200;
/// Hexadecimal digits by which the mail of a file is told from the others of its command.
const FILE_DIGITS: usize = 12;
/// The same of an address for answers: 64 bits.
const TOKEN_DIGITS: usize = 16;

/// What the adapter remembers of a ticket's first mail.
pub(super) const MESSAGE_ID: &str = "message_id";
pub(super) const SUBJECT: &str = "subject";
pub(super) const REPLY_TO: &str = "reply_to";

/// What the mark of a create is.
fn mark_of(ticket: TicketId) -> String {
    format!("tkt-{ticket}")
}

/// What people see of a ticket's id: `ab0ac58d`.
pub(super) fn reference(ticket: TicketId) -> String {
    let hash = hex::encode(Sha256::digest(mark_of(ticket)));
    hash.get(..8).unwrap_or(&hash).to_owned()
}

/// The left part of the id of an operation's mail, and its mark. The files of a command are a mail
/// each: with one id for all, mailboxes would keep the first.
pub(super) fn mark(operation: &Operation<'_>) -> String {
    let mark = operation.key().marker;
    let Operation::Attach { file, .. } = operation else {
        return mark.to_owned();
    };
    let mut hash = Sha256::new();
    hash.update(file.name.len().to_be_bytes());
    hash.update(&file.name);
    hash.update(&file.sha256);
    let hash = hex::encode(hash.finalize());
    format!("{mark}-{}", hash.get(..FILE_DIGITS).unwrap_or(&hash))
}

/// The id of the ticket's first mail: as remembered, else as it would be made.
pub(super) fn root(ticket: &TicketView, domain: &str) -> Result<MessageId, AdapterError> {
    let remembered = ticket.external_ref.get(MESSAGE_ID).and_then(Value::as_str);
    let known = remembered.or(ticket.external_id.as_deref());
    let known = known.and_then(|id| {
        let bare = id.strip_prefix('<')?.strip_suffix('>')?;
        let (left, domain) = bare.rsplit_once('@')?;
        MessageId::new(left, domain).ok()
    });
    match known {
        Some(id) => Ok(id),
        None => MessageId::new(&mark_of(ticket.id), domain),
    }
}

/// The subject of the ticket's first mail: as remembered, else as it would be made.
pub(super) fn subject(ticket: &TicketView) -> String {
    let remembered = ticket.external_ref.get(SUBJECT).and_then(Value::as_str);
    remembered.map_or_else(
        || {
            let (title, _) = title(&shown(&ticket.title), Max::Chars(TITLE_MAX));
            format!("{title} [#{}]", reference(ticket.id))
                .trim_start()
                .to_owned()
        },
        str::to_owned,
    )
}

/// Whether all of the title is in the subject.
pub(super) fn shows_title(ticket: &TicketView) -> bool {
    title(&shown(&ticket.title), Max::Chars(TITLE_MAX))
        .1
        .is_none()
}

/// A person's text without what cannot be seen in a line.
fn shown(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

/// What makes addresses that nobody can guess.
///
/// # Errors
/// Validation of `settings.reply_domain`, where the integration has no secret at all.
pub(super) fn reply_key(settings: &Settings) -> Result<&SecretString, AdapterError> {
    settings.reply_key.as_ref().ok_or_else(|| {
        fault("needs a webhook_secret: without any secret, anybody could write to any ticket")
    })
}

fn fault(text: &str) -> AdapterError {
    AdapterError::field("settings.reply_domain", text)
}

/// Where answers to a ticket's mails go, with a part that nobody can guess; `None`: to the sender.
///
/// # Errors
/// As [`reply_key`].
pub(super) fn reply_to(
    settings: &Settings,
    ticket: &TicketView,
) -> Result<Option<MailAddress>, AdapterError> {
    let Some(domain) = settings.reply_domain.as_deref() else {
        return Ok(None);
    };
    let remembered = ticket.external_ref.get(REPLY_TO).and_then(Value::as_str);
    let remembered = remembered.and_then(|text| MailAddress::parse(text).ok());
    if let Some(address) = remembered.filter(|address| address.domain() == domain) {
        return Ok(Some(address));
    }
    let key = reply_key(settings)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .map_err(|_| fault("cannot be used: no key can be made of the secrets"))?;
    mac.update(mark_of(ticket.id).as_bytes());
    let token = hex::encode(mac.finalize().into_bytes());
    let token = token.get(..TOKEN_DIGITS).unwrap_or(&token);
    let text = format!("ticket+{}.{token}@{domain}", reference(ticket.id));
    MailAddress::parse(&text)
        .map(Some)
        .map_err(|_| fault("makes no address"))
}
