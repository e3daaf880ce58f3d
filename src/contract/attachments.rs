//! Files of a ticket, as a command carries them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::Fields;

/// Most files of one command.
const COUNT_MAX: usize = 20;

/// A file to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name on the platform: 1–255 characters, no path.
    pub name: String,
    /// E.g. `image/png`; without one, what its source says, else `application/octet-stream`.
    pub media_type: Option<String>,
    /// Bytes it must have, where the producer knows.
    pub size: Option<u64>,
    /// Where its bytes are.
    pub source: AttachmentSource,
}

impl Attachment {
    /// As a command carries it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut map = serde_json::Map::from_iter([("name".to_owned(), self.name.clone().into())]);
        if let Some(media_type) = &self.media_type {
            map.insert("media_type".into(), media_type.clone().into());
        }
        if let Some(size) = self.size {
            map.insert("size".into(), size.into());
        }
        match &self.source {
            AttachmentSource::Url(url) => map.insert("url".into(), url.as_str().into()),
            AttachmentSource::Content(text) => {
                map.insert("content_base64".into(), text.clone().into())
            }
        };
        map.into()
    }
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachmentSource {
    /// To be fetched; the egress rules hold for it.
    Url(Url),
    /// In the command itself, as base64.
    Content(String),
}

/// Reads the member `attachments`.
pub(super) fn read(f: &mut Fields<'_>) -> Vec<Attachment> {
    let files = f.objects("attachments", COUNT_MAX, read_one);
    let mut names = std::collections::HashSet::new();
    for (index, file) in files.iter().flatten().enumerate() {
        if !names.insert(file.name.as_str()) {
            f.fault(
                &format!("attachments[{index}].name"),
                "is the name of another file of this command; give each its own",
            );
        }
    }
    files.into_iter().flatten().collect()
}

fn read_one(f: &mut Fields<'_>) -> Option<Attachment> {
    let name = f.required_text("name", 1, 255);
    if name.contains(['/', '\\']) || name.chars().any(char::is_control) || name.trim() != name {
        f.fault(
            "name",
            "must be a plain file name: no path, no control characters, no blanks at its ends",
        );
    }
    let media_type = f.text("media_type", 3, 127);
    if let Some(text) = &media_type
        && !is_media_type(text)
    {
        f.fault("media_type", "must be a media type, e.g. image/png");
    }
    let size = f
        .integer("size", 0..=i32::MAX)
        .and_then(|n| u64::try_from(n).ok());
    let url = f.text("url", 1, 2048);
    let content = f.text("content_base64", 0, usize::MAX);
    let source = match (url, content) {
        (Some(_), Some(_)) => {
            f.fault("url", "and content_base64 exclude each other");
            None
        }
        (None, None) => {
            f.fault("url", "or content_base64 is required");
            None
        }
        (Some(text), None) => match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "https" | "http") => {
                if url.username().is_empty() && url.password().is_none() {
                    Some(AttachmentSource::Url(url))
                } else {
                    f.fault("url", "must not carry a user or password");
                    None
                }
            }
            Ok(_) | Err(_) => {
                f.fault("url", "must be a URL that begins with https://");
                None
            }
        },
        (None, Some(text)) => match STANDARD.decode(&text) {
            Ok(bytes) => {
                if size.is_some_and(|size| u64::try_from(bytes.len()).is_ok_and(|n| n != size)) {
                    let fault = format!(
                        "is not the size of content_base64, which is {}",
                        bytes.len()
                    );
                    f.fault("size", fault);
                }
                Some(AttachmentSource::Content(text))
            }
            Err(_) => {
                f.fault(
                    "content_base64",
                    "must be base64 with padding (RFC 4648, section 4)",
                );
                None
            }
        },
    };
    Some(Attachment {
        name,
        media_type,
        size,
        source: source?,
    })
}

/// `type/subtype` of the characters that RFC 6838 allows; parameters are not taken.
fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.split_once('/')
        .is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}
