//! What a reply means. Sources: RFC 5321 §4.2, RFC 3463 and RFC 5248 (enhanced codes), RFC 4954 §6
//! (AUTH); the texts and codes of Gmail, Microsoft 365 and Amazon SES as their help pages name
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reply::Reply;
use crate::platforms::{AdapterError, ErrorClass};

/// Greylisting servers take the second try after minutes; sooner tries only annoy them.
const GREYLISTED: Duration = Duration::from_secs(5 * 60);
/// A daily limit (Gmail: 5.4.5).
const DAILY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where in the dialogue a reply came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Greeting,
    Hello,
    StartTls,
    Auth,
    Sender,
    Recipient,
    Data,
    /// After the final dot.
    Message,
}

impl Stage {
    /// What was refused, or failed.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Greeting => "the connection",
            Self::Hello => "the greeting (EHLO)",
            Self::StartTls => "encryption (STARTTLS)",
            Self::Auth => "the log-in",
            Self::Sender => "the sender",
            Self::Recipient => "the recipient",
            Self::Data | Self::Message => "the message",
        }
    }
}

/// The error of a reply that is not the one hoped for. Surely nothing was sent.
pub(super) fn refusal(reply: &Reply, stage: Stage) -> AdapterError {
    let class = class(reply, stage);
    let text = format!(
        "the mail server refused {}: {} ({})",
        stage.what(),
        meaning(&class),
        reply.codes()
    );
    AdapterError::new(class, text)
        .with_status(reply.code)
        .with_internal(format!("{}: {}", reply.code, shortened(&reply.text())))
}

/// So much of a reply goes to the log.
fn shortened(text: &str) -> String {
    text.chars().take(500).collect()
}

fn meaning(class: &ErrorClass) -> &'static str {
    match class {
        ErrorClass::Transient { .. } | ErrorClass::Timeout => "not now",
        ErrorClass::RateLimited { .. } => "a limit is reached",
        ErrorClass::Authentication => "it does not take the credentials",
        ErrorClass::Permission => "this is not permitted",
        ErrorClass::NotFound => "no such mailbox or domain",
        ErrorClass::Validation { .. } => "it does not take the data",
        ErrorClass::Gone
        | ErrorClass::Conflict
        | ErrorClass::Unsupported
        | ErrorClass::Egress
        | ErrorClass::Unknown
        | ErrorClass::Internal => "an unexpected reply",
    }
}

fn class(reply: &Reply, stage: Stage) -> ErrorClass {
    match reply.code {
        400..=499 => temporary(reply, stage),
        500..=599 => permanent(reply, stage),
        // A 2xx or 3xx where another was due: the two do not understand each other, which another
        // try may mend.
        _ => ErrorClass::Transient { retry_after: None },
    }
}

fn temporary(reply: &Reply, stage: Stage) -> ErrorClass {
    let text = reply.text().to_ascii_lowercase();
    let enhanced = reply.enhanced();
    let limited = match enhanced {
        Some((4, 7, 28) | (4, 5, 3) | (4, 3, 2)) => true,
        // Of an AUTH it is a server that cannot look the user up just now (RFC 4954 §6).
        Some((4, 7, 0)) => stage != Stage::Auth && reply.code != 454,
        _ => false,
    };
    let says_so = [
        "too many",
        "throttl",
        "rate limit",
        "sending rate",
        "concurrent",
    ]
    .iter()
    .any(|words| text.contains(words));
    if limited || says_so || reply.code == 432 {
        return ErrorClass::RateLimited { retry_after: None };
    }
    let greylisted = matches!(reply.code, 450 | 451)
        || matches!(enhanced, Some((4, 7, 1) | (4, 2, _)))
        || text.contains("greylist")
        || text.contains("graylist");
    ErrorClass::Transient {
        retry_after: greylisted.then_some(GREYLISTED),
    }
}

fn permanent(reply: &Reply, stage: Stage) -> ErrorClass {
    let text = reply.text().to_ascii_lowercase();
    match (reply.code, reply.enhanced()) {
        (530 | 534 | 535 | 538, _) | (_, Some((5, 7, 3 | 8 | 9 | 11 | 14 | 30))) => {
            ErrorClass::Authentication
        }
        (_, Some((5, 4, 5))) => ErrorClass::RateLimited {
            retry_after: Some(DAILY),
        },
        // Microsoft 365 says it of too many connections, and of much else.
        (554, Some((5, 2, 0)))
            if ["concurrent", "limit", "submissionquota"]
                .iter()
                .any(|words| text.contains(words)) =>
        {
            ErrorClass::RateLimited { retry_after: None }
        }
        (_, Some((5, 7, _))) => ErrorClass::Permission,
        (_, Some((5, 1, 7 | 8))) => {
            invalid("settings.from_address", "is not taken by the mail server")
        }
        (_, Some((5, 1, 1 | 2 | 3 | 6 | 10) | (5, 4, 1) | (5, 2, 1))) => ErrorClass::NotFound,
        (_, Some((5, 3, 4) | (5, 2, 3))) => {
            invalid("attachments", "make the mail too big for the mail server")
        }
        // An AUTH without a better word: the mechanism or the form of the credentials is not taken.
        _ if stage == Stage::Auth => ErrorClass::Authentication,
        (552, _) if stage == Stage::Recipient => {
            invalid("settings.to", "has a mailbox that is full")
        }
        (552, None) => invalid("attachments", "make the mail too big for the mail server"),
        (550 | 551 | 553, None) if stage == Stage::Recipient => ErrorClass::NotFound,
        (550 | 551 | 553, None) if stage == Stage::Sender => ErrorClass::Permission,
        _ => match stage {
            Stage::Sender => invalid("settings.from_address", "is not taken by the mail server"),
            Stage::Recipient => invalid(
                "settings.to",
                "has an address that the mail server does not take",
            ),
            Stage::Greeting
            | Stage::Hello
            | Stage::StartTls
            | Stage::Auth
            | Stage::Data
            | Stage::Message => ErrorClass::Validation {
                fields: BTreeMap::new(),
            },
        },
    }
}

fn invalid(field: &str, fault: &str) -> ErrorClass {
    ErrorClass::Validation {
        fields: BTreeMap::from([(field.to_owned(), fault.to_owned())]),
    }
}

#[cfg(test)]
mod tests;
