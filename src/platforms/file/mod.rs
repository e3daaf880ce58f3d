//! Files on their way to a platform: fetched to a temporary file, never whole in memory, measured
//! and hashed before anything is sent.

mod fetching;

use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization as _;
use url::Url;

use super::text::one_line;

pub(crate) use self::fetching::{fetch, unfetched};

/// Characters of a file's name that stand in the name that it is kept under.
const KEPT_NAME_MAX: usize = 100;
/// Hexadecimal digits of a file's digest in that name.
const DIGEST: usize = 8;

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
    /// Without a name: it goes with the last clone, and with a process that is killed.
    Disk(Arc<std::fs::File>),
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

/// A name without what a server changes of it: how it was sent, how it is quoted, which form of
/// Unicode it has, and what some file system does not take.
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

    /// What it is called by where it is kept: whose it is, and what is in it.
    pub(super) fn key(&self, marker: &str) -> String {
        let digest: String = self.sha256.chars().take(DIGEST).collect();
        format!("{marker}-{digest}")
    }

    /// A name to keep it under: the same over all attempts, and never that of another file.
    pub(super) fn kept_name(&self, marker: &str) -> String {
        let fits = |c: char| c.is_alphanumeric() || "._- ()".contains(c);
        let name = one_line(&self.name);
        let kept = name.chars().map(|c| if fits(c) { c } else { '_' });
        let kept: Vec<char> = kept.collect();
        // The end says what kind of file it is.
        let from = kept.len().saturating_sub(KEPT_NAME_MAX);
        let kept: String = kept[from..].iter().collect();
        format!("{}-{kept}", self.key(marker))
    }

    /// Whether a server may have kept this file under that name.
    pub(super) fn is_kept_as(&self, theirs: &str) -> bool {
        canonical(&self.name) == canonical(theirs)
    }

    /// MD5 of its bytes, in lower-case hexadecimal: what some platforms tell of a file.
    ///
    /// # Errors
    /// Where the temporary file cannot be read.
    pub(super) fn md5(&self) -> std::io::Result<String> {
        let mut hash = Md5::new();
        match &self.content {
            Content::Memory(bytes) => hash.update(bytes),
            Content::Disk(file) => {
                let mut file = Reading::of(file);
                loop {
                    let read = read_full(&mut file)?;
                    if read.is_empty() {
                        break;
                    }
                    hash.update(read);
                }
            }
        }
        Ok(hex::encode(hash.finalize()))
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
                Reading::of(file).read_to_end(&mut bytes)?;
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
        Disk(Reading, Coding),
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
                    Content::Disk(spool) => {
                        // Found out while it is sent, the request would be one that broke.
                        if spool.metadata()?.len() != file.size {
                            return Err(std::io::Error::other("the temporary file was cut"));
                        }
                        Source::Disk(Reading::of(spool), coding)
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

/// A file that is read from its beginning. Others may read it meanwhile.
struct Reading {
    file: Arc<std::fs::File>,
    at: u64,
}

impl Reading {
    fn of(file: &Arc<std::fs::File>) -> Self {
        Self {
            file: Arc::clone(file),
            at: 0,
        }
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += u64::try_from(read).unwrap_or(u64::MAX);
        Ok(read)
    }
}

/// The next bytes of a file: fewer than asked for at its end alone.
fn read_full(file: &mut Reading) -> std::io::Result<Vec<u8>> {
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
    let spool = tempfile::tempfile().unwrap();
    spool.write_all_at(bytes, 0).unwrap();
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
