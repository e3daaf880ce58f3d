//! The bytes of a message (RFC 5322, MIME). The same contents give the same bytes, whoever builds
//! them and when: a repeat is recognised by many mailboxes, which fold the copies.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Message as Built, MultiPart, SinglePart};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::address::{Mailbox, one_line};
use super::message_id::MessageId;
use crate::platforms::{AdapterError, ErrorClass, File};

/// Most bytes of a message with its files encoded. Servers take 10 to 35 MB; the message is held in
/// memory.
const MESSAGE_MAX: u64 = 12 << 20;
/// Longest line without its end (RFC 5322 §2.1.1).
const LINE_MAX: usize = 998;
/// Longest subject, in bytes: it may be one word that cannot be folded.
const SUBJECT_MAX: usize = 900;
/// Most references that a header names; the newest and the root are what threading needs.
const REFERENCES_MAX: usize = 20;

/// What a mail says, before it is bytes.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// Who it is from, as people see it.
    pub from: Mailbox,
    /// Whom it is to, as people see it.
    pub to: Vec<Mailbox>,
    /// Where answers go, if not to `from`.
    pub reply_to: Option<Mailbox>,
    /// One line; line breaks become spaces.
    pub subject: &'a str,
    /// Its own id.
    pub message_id: MessageId,
    /// The message that it answers.
    pub in_reply_to: Option<MessageId>,
    /// The thread that it belongs to, oldest first.
    pub references: Vec<MessageId>,
    /// When what it tells of came in: not when it is sent, so that a repeat is the same.
    pub date: DateTime<Utc>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The text for readers without HTML.
    pub text: &'a str,
    /// The same contents in HTML.
    pub html: &'a str,
    /// Attached files.
    pub files: &'a [File],
}

/// A message as it goes out: lines of at most 998 bytes, each ended by CR LF, without NUL.
#[derive(Clone)]
pub struct Message {
    bytes: Bytes,
    summary: Value,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("bytes", &self.bytes.len())
            .field("summary", &self.summary)
            .finish()
    }
}

impl Message {
    /// What goes between DATA and the final dot, before dots are doubled.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// For people.
    pub(super) const fn summary(&self) -> &Value {
        &self.summary
    }
}

impl<'a> Draft<'a> {
    /// A mail without contents yet.
    #[must_use]
    pub const fn new(
        from: Mailbox,
        to: Vec<Mailbox>,
        subject: &'a str,
        message_id: MessageId,
        date: DateTime<Utc>,
    ) -> Self {
        Self {
            from,
            to,
            reply_to: None,
            subject,
            message_id,
            in_reply_to: None,
            references: Vec::new(),
            date,
            headers: Vec::new(),
            text: "",
            html: "",
            files: &[],
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// Validation of what does not fit into a mail; [`ErrorClass::Internal`] where a file cannot be
    /// read from our disk.
    pub fn build(&self) -> Result<Message, AdapterError> {
        let subject = one_line(self.subject);
        if subject.len() > SUBJECT_MAX {
            return Err(AdapterError::field("title", "is too long for a subject"));
        }
        // Base64 makes four of three, and a line break of each 57.
        let encoded: u64 = self
            .files
            .iter()
            .map(|file| file.size.saturating_mul(78) / 57)
            .sum();
        let texts = u64::try_from(self.text.len() + self.html.len()).unwrap_or(u64::MAX);
        if encoded.saturating_add(texts.saturating_mul(3)) > MESSAGE_MAX {
            let fault = format!("make the mail bigger than {MESSAGE_MAX} bytes");
            return Err(AdapterError::field("attachments", fault));
        }
        let mut builder = Built::builder().from(self.from.written());
        for mailbox in &self.to {
            builder = builder.to(mailbox.written());
        }
        if let Some(mailbox) = &self.reply_to {
            builder = builder.reply_to(mailbox.written());
        }
        builder = builder
            .subject(subject.clone())
            .date(self.date.into())
            .message_id(Some(self.message_id.as_str().to_owned()));
        if let Some(id) = &self.in_reply_to {
            builder = builder.in_reply_to(id.as_str().to_owned());
        }
        if !self.references.is_empty() {
            builder = builder.references(self.thread());
        }
        for (name, value) in &self.headers {
            let name = HeaderName::new_from_ascii((*name).to_owned())
                .map_err(|_| internal(&format!("{name:?} is no header")))?;
            builder = builder.raw_header(HeaderValue::new(name, one_line(value)));
        }
        let message = builder
            .multipart(self.body()?)
            .map_err(|error| internal(&error.to_string()))?;
        let bytes = message.formatted();
        well_formed(&bytes).map_err(internal)?;
        Ok(Message {
            bytes: bytes.into(),
            summary: self.summary(&subject),
        })
    }

    /// The ids of the thread: its root, and the newest.
    fn thread(&self) -> String {
        let skip = self.references.len().saturating_sub(REFERENCES_MAX - 1);
        let newest = self.references.iter().skip(skip.max(1));
        let ids: Vec<&str> = self
            .references
            .iter()
            .take(1)
            .chain(newest)
            .map(MessageId::as_str)
            .collect();
        ids.join(" ")
    }

    fn body(&self) -> Result<MultiPart, AdapterError> {
        let boundary = self.boundary();
        let text = MultiPart::alternative()
            .boundary(format!("{boundary}-text"))
            .singlepart(SinglePart::plain(unix_lines(self.text)))
            .singlepart(SinglePart::html(unix_lines(self.html)));
        if self.files.is_empty() {
            return Ok(text);
        }
        let mut all = MultiPart::mixed().boundary(boundary).multipart(text);
        for file in self.files {
            let bytes = file.bytes().map_err(|error| {
                let text = "the worker cannot read the file from its temporary directory; \
                            nothing was sent";
                AdapterError::new(ErrorClass::Internal, text).with_internal(error.to_string())
            })?;
            // A text in 7bit would lose or gain bytes at its line ends; base64 gives back what was
            // put in.
            let body = Body::new_with_encoding(bytes.to_vec(), ContentTransferEncoding::Base64)
                .map_err(|_| internal("a file cannot be encoded"))?;
            all =
                all.singlepart(Attachment::new(one_line(&file.name)).body(body, media_type(file)));
        }
        Ok(all)
    }

    /// What separates the parts: of the contents, so that it is the same in a repeat, and nobody
    /// can write it into the text that it is made of.
    fn boundary(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update(bytes.len().to_be_bytes());
            hash.update(bytes);
        };
        part(self.message_id.as_str().as_bytes());
        part(self.text.as_bytes());
        part(self.html.as_bytes());
        for file in self.files {
            part(file.name.as_bytes());
            part(file.sha256.as_bytes());
        }
        let hash = hex::encode(hash.finalize());
        format!("ticketwire-{}", hash.get(..32).unwrap_or(&hash))
    }

    fn summary(&self, subject: &str) -> Value {
        let files: Vec<Value> = self
            .files
            .iter()
            .map(|file| {
                json!({ "file": file.name, "media_type": file.media_type, "size": file.size })
            })
            .collect();
        let headers: serde_json::Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), one_line(value).into()))
            .collect();
        json!({
            "subject": subject, "message_id": self.message_id.as_str(),
            "in_reply_to": self.in_reply_to.as_ref().map(MessageId::as_str),
            "date": self.date.to_rfc3339(), "headers": headers, "text": self.text, "files": files,
        })
    }
}

fn internal(text: &str) -> AdapterError {
    AdapterError::new(ErrorClass::Internal, "the mail cannot be built").with_internal(text)
}

/// Line ends as the builder turns them into CR LF; a CR alone would go out as it is.
fn unix_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace(['\r', '\0'], "\n")
}

/// The file's media type; a message or a multipart may not be in base64 (RFC 2045 §6.4), so it goes
/// as plain bytes.
fn media_type(file: &File) -> ContentType {
    const BYTES: &str = "application/octet-stream";
    let essence = file.media_type.trim().to_ascii_lowercase();
    let composite = essence.starts_with("multipart/") || essence.starts_with("message/");
    let wanted = if composite { BYTES } else { &file.media_type };
    ContentType::parse(wanted)
        .or_else(|_| ContentType::parse(BYTES))
        .unwrap_or(ContentType::TEXT_PLAIN)
}

/// The last look before it goes out: a line end that is none to one server and one to the next lets
/// a text end the message and begin another ("SMTP smuggling").
fn well_formed(bytes: &[u8]) -> Result<(), &'static str> {
    let Some(bytes) = bytes.strip_suffix(b"\r\n") else {
        return Err("the last line does not end");
    };
    let mut rest = bytes;
    loop {
        let end = rest
            .iter()
            .position(|byte| *byte == b'\r')
            .unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        if line.len() > LINE_MAX {
            return Err("a line is too long");
        }
        if line.contains(&b'\n') || line.contains(&0) {
            return Err("a line holds a line feed or NUL");
        }
        if after.is_empty() {
            return Ok(());
        }
        rest = after
            .strip_prefix(b"\r\n")
            .ok_or("a carriage return stands alone")?;
    }
}

#[cfg(test)]
mod tests;
