//! Files on their way to a platform: fetched to a temporary file, never whole in memory, measured and hashed before
//! anything is sent.

use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;
use unicode_normalization::UnicodeNormalization as _;
use url::Url;

use super::{AdapterError, Auth, CallContext, Effect, ErrorClass, Request};
use crate::contract::{Attachment, AttachmentSource};

/// A file, ready to be sent.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// Where it came from, if not from the command itself.
    pub url: Option<Url>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Memory(Bytes),
    /// Removed with the last clone.
    Disk(Arc<tempfile::NamedTempFile>),
}

/// What a file is before it was fetched, for a dry run: its size and hash are not known.
pub(crate) fn unfetched(attachment: &Attachment) -> File {
    File {
        name: attachment.name.clone(),
        media_type: attachment
            .media_type
            .clone()
            .unwrap_or_else(|| UNKNOWN_TYPE.into()),
        size: attachment.size.unwrap_or(0),
        sha256: String::new(),
        url: match &attachment.source {
            AttachmentSource::Url(url) => Some(url.clone()),
            AttachmentSource::Content(_) => None,
        },
        content: Content::Memory(Bytes::new()),
    }
}

const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Fetches a file, or takes it out of the command.
///
/// # Errors
/// Validation of `url`, `size` or `content_base64` where it is not what it should be, or over `bytes_max`; trouble on the
/// way, by its class.
pub(crate) async fn fetch(
    context: &CallContext<'_>,
    attachment: &Attachment,
    bytes_max: u64,
) -> Result<File, AdapterError> {
    let too_big = |size: u64| {
        AdapterError::field(
            "size",
            format!(
                "of {:?} is {size} bytes; the limit is {bytes_max} (setting dispatch.max_attachment_bytes)",
                attachment.name
            ),
        )
    };
    let file = match &attachment.source {
        AttachmentSource::Content(text) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| AdapterError::field("content_base64", "is no base64"))?;
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if size > bytes_max {
                return Err(too_big(size));
            }
            File {
                size,
                sha256: hex::encode(Sha256::digest(&bytes)),
                content: Content::Memory(bytes.into()),
                ..unfetched(attachment)
            }
        }
        AttachmentSource::Url(url) => {
            let request = Request::new(Method::GET, url.clone(), Auth::None, Effect::Read);
            download(context, request, attachment, bytes_max, too_big).await?
        }
    };
    if attachment.size.is_some_and(|size| size != file.size) {
        let fault = format!(
            "of {:?} is {}, not what the command says",
            file.name, file.size
        );
        return Err(AdapterError::field("size", fault));
    }
    if file.size == 0 {
        return Err(AdapterError::field(
            "size",
            format!("of {:?} is 0: an empty file is not sent", file.name),
        ));
    }
    Ok(file)
}

/// Our own disk is at fault, and nothing was sent.
fn disk(error: &std::io::Error) -> AdapterError {
    let text = format!(
        "the worker cannot keep the file in its temporary directory ({}); nothing was sent. Somebody has to mend that \
         directory, or name another one in TMPDIR",
        error.kind()
    );
    AdapterError::new(ErrorClass::Internal, text)
        .with_internal(format!("{}: {error}", std::env::temp_dir().display()))
}

async fn download(
    context: &CallContext<'_>,
    request: Request,
    attachment: &Attachment,
    bytes_max: u64,
    too_big: impl Fn(u64) -> AdapterError,
) -> Result<File, AdapterError> {
    let mut answer = context.open(&request).await?;
    let field =
        |fault: String| AdapterError::field("url", fault).with_status(answer.status().as_u16());
    match answer.status().as_u16() {
        200 => {}
        status @ 300..=399 => {
            let text = format!(
                "of {:?} answers {status}: redirects are not followed",
                attachment.name
            );
            return Err(field(text));
        }
        status @ (429 | 500..=599) => {
            let text = format!("the source of {:?} answered {status}", attachment.name);
            let class = ErrorClass::Transient { retry_after: None };
            return Err(AdapterError::new(class, text).with_status(status));
        }
        status => {
            return Err(field(format!("of {:?} answered {status}", attachment.name)));
        }
    }
    if let Some(size) = answer.content_length().filter(|size| *size > bytes_max) {
        return Err(too_big(size));
    }
    let media_type = answer
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    let spool = tempfile::NamedTempFile::new().map_err(|error| disk(&error))?;
    let mut writer = tokio::fs::File::from_std(spool.reopen().map_err(|error| disk(&error))?);
    let (mut size, mut hash) = (0u64, Sha256::new());
    loop {
        let left = context.deadline.saturating_duration_since(Instant::now());
        let chunk = match tokio::time::timeout(left, answer.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                let text = format!("the transfer of {:?} broke off", attachment.name);
                return Err(
                    AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
                        .with_internal(error.without_url().to_string()),
                );
            }
            Err(_) => {
                let text = format!(
                    "the transfer of {:?} took longer than dispatch.attempt_timeout",
                    attachment.name
                );
                return Err(AdapterError::new(ErrorClass::Timeout, text));
            }
        };
        size += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if size > bytes_max {
            return Err(too_big(size));
        }
        hash.update(&chunk);
        writer
            .write_all(&chunk)
            .await
            .map_err(|error| disk(&error))?;
    }
    writer.flush().await.map_err(|error| disk(&error))?;
    Ok(File {
        size,
        sha256: hex::encode(hash.finalize()),
        media_type: attachment
            .media_type
            .clone()
            .or(media_type)
            .unwrap_or_else(|| UNKNOWN_TYPE.into()),
        content: Content::Disk(Arc::new(spool)),
        ..unfetched(attachment)
    })
}

/// How the bytes of a file are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Raw,
    /// Standard alphabet, padded.
    Base64,
}

/// A piece of a body.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Bytes(Bytes),
    File(&'a File, Coding),
}

/// A name as it goes out in a multipart body. As browsers do it (WHATWG): what would end the quoted
/// text is percent-encoded.
pub(super) fn sent_name(name: &str) -> String {
    name.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A name without what a server changes of it: how it was sent, how it is quoted, which form of Unicode it has, and what
/// some file system does not take.
fn canonical(name: &str) -> String {
    const SENT: [(&str, &str); 10] = [
        ("%22", "\""),
        ("%0D", "_"),
        ("%0d", "_"),
        ("%0A", "_"),
        ("%0a", "_"),
        ("%5C", "\\"),
        ("%5c", "\\"),
        ("%2F", "/"),
        ("%2f", "/"),
        ("&quot;", "\""),
    ];
    let mut plain: String = name.nfc().collect();
    for (sent, meant) in SENT {
        plain = plain.replace(sent, meant);
    }
    let plain = plain.replace("\\\"", "\"");
    // A path is cut to its last part.
    let last = plain.rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars()
        .map(|c| match c {
            '"' | '\'' | ':' | '*' | '?' | '<' | '>' | '|' => '_',
            c if c.is_control() => '_',
            c => c,
        })
        .collect()
}

impl File {
    /// A file of bytes that are in memory already.
    #[must_use]
    pub fn of_bytes(name: &str, media_type: &str, bytes: Bytes) -> Self {
        Self {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            sha256: hex::encode(Sha256::digest(&bytes)),
            url: None,
            content: Content::Memory(bytes),
        }
    }

    /// Whether a server may have kept this file under that name.
    pub(super) fn is_kept_as(&self, theirs: &str) -> bool {
        canonical(&self.name) == canonical(theirs)
    }

    /// All its bytes, for a transport that needs them at once.
    ///
    /// # Errors
    /// Where the temporary file cannot be read.
    pub(super) fn bytes(&self) -> std::io::Result<Bytes> {
        match &self.content {
            Content::Memory(bytes) => Ok(bytes.clone()),
            Content::Disk(file) => {
                let mut bytes = Vec::new();
                file.reopen()?.read_to_end(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }
}

/// Bytes read of a file at once; whole groups of three, so that their base64 can be put together.
const READ_AT_ONCE: usize = 48 << 10;

/// The pieces as a body, and its length. Bytes in memory are sent in one; a file on disk is read as
/// it is sent, a piece at a time (the temporary file is in the page cache).
///
/// # Errors
/// Where the temporary file cannot be read.
pub(super) fn body_of(pieces: Vec<Piece<'_>>) -> std::io::Result<(reqwest::Body, u64)> {
    enum Source {
        Bytes(Option<Bytes>),
        Disk(std::fs::File, Coding),
    }
    let (mut sources, mut length) = (Vec::with_capacity(pieces.len()), 0);
    for piece in pieces {
        let (source, size) = match piece {
            Piece::Bytes(bytes) => {
                let size = len(&bytes);
                (Source::Bytes(Some(bytes)), size)
            }
            Piece::File(file, coding) => {
                let size = match coding {
                    Coding::Raw => file.size,
                    Coding::Base64 => file.size.div_ceil(3) * 4,
                };
                let source = match &file.content {
                    Content::Memory(bytes) => Source::Bytes(Some(match coding {
                        Coding::Raw => bytes.clone(),
                        Coding::Base64 => STANDARD.encode(bytes).into(),
                    })),
                    Content::Disk(file) => {
                        let mut file = file.reopen()?;
                        file.rewind()?;
                        Source::Disk(file, coding)
                    }
                };
                (source, size)
            }
        };
        sources.push(source);
        length += size;
    }
    let in_memory = |source: &Source| matches!(source, Source::Bytes(_));
    if sources.iter().all(in_memory) {
        let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        for source in &sources {
            if let Source::Bytes(Some(bytes)) = source {
                whole.extend_from_slice(bytes);
            }
        }
        return Ok((whole.into(), length));
    }
    let mut sources = sources.into_iter();
    let mut current = sources.next();
    let next = move || -> Option<std::io::Result<Bytes>> {
        loop {
            match current.as_mut()? {
                Source::Bytes(bytes) => {
                    if let Some(bytes) = bytes.take().filter(|bytes| !bytes.is_empty()) {
                        return Some(Ok(bytes));
                    }
                }
                Source::Disk(file, coding) => match read_full(file) {
                    Ok(read) if read.is_empty() => {}
                    Ok(read) => {
                        return Some(Ok(match coding {
                            Coding::Raw => read.into(),
                            Coding::Base64 => STANDARD.encode(read).into(),
                        }));
                    }
                    Err(error) => return Some(Err(error)),
                },
            }
            current = sources.next();
        }
    };
    let mut next = next;
    let pieces = futures_util::stream::poll_fn(move |_| std::task::Poll::Ready(next()));
    Ok((reqwest::Body::wrap_stream(pieces), length))
}

/// The next bytes of a file: fewer than asked for at its end alone.
fn read_full(file: &mut std::fs::File) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(READ_AT_ONCE);
    let most = u64::try_from(READ_AT_ONCE).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut read)?;
    Ok(read)
}

fn len(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A file in the temporary directory, for tests.
#[cfg(test)]
pub(super) fn on_disk(name: &str, media_type: &str, bytes: &[u8]) -> File {
    let spool = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(spool.path(), bytes).unwrap();
    File {
        name: name.into(),
        media_type: media_type.into(),
        size: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
        url: None,
        content: Content::Disk(Arc::new(spool)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_again_however_a_server_keeps_it() {
        let kept = |ours: &str, theirs: &str| canonical(ours) == canonical(theirs);

        for (ours, theirs) in [
            ("log \"1\".txt", "log %221%22.txt"),
            ("log \"1\".txt", "log \\\"1\\\".txt"),
            ("log \"1\".txt", "log &quot;1&quot;.txt"),
            ("log \"1\".txt", "log _1_.txt"),
            ("a%22b.txt", "a%22b.txt"),
            ("10:30 <why?>.txt", "10_30 _why__.txt"),
            ("Bericht.txt", "C:\\fakepath\\Bericht.txt"),
            // One letter, or a letter and an accent.
            ("caf\u{e9}.txt", "cafe\u{301}.txt"),
        ] {
            assert!(kept(ours, theirs), "{ours} {theirs}");
            assert!(kept(&sent_name(ours), theirs), "{ours} {theirs}");
        }
        for (ours, theirs) in [
            ("a.txt", "b.txt"),
            ("\u{5199}.txt", "\u{56f3}.txt"),
            ("caf\u{e9}.txt", "cafe.txt"),
        ] {
            assert!(!kept(ours, theirs), "{ours} {theirs}");
        }
    }
}
