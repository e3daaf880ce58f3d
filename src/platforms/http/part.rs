//! Bodies that hold files: `multipart/form-data` of several parts, and a file in base64 within
//! JSON. What surrounds the files is made here, and the length of the whole is known before the
//! first byte goes out.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::platforms::File;
use crate::platforms::file::{Coding, Piece, sent_name};

/// A part of a `multipart/form-data` body.
#[derive(Debug, Clone)]
pub struct Part {
    name: Cow<'static, str>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Text(String),
    Json(Bytes),
    File { file: File, is_extended: bool },
}

impl Part {
    /// A field of a form.
    #[must_use]
    pub fn text(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            content: Content::Text(text.into()),
        }
    }

    /// A JSON document.
    #[must_use]
    pub fn json(name: impl Into<Cow<'static, str>>, value: &Value) -> Self {
        Self {
            name: name.into(),
            content: Content::Json(value.to_string().into()),
        }
    }

    /// A file.
    #[must_use]
    pub fn file(name: impl Into<Cow<'static, str>>, file: &File) -> Self {
        let file = file.clone();
        Self {
            name: name.into(),
            content: Content::File {
                file,
                is_extended: false,
            },
        }
    }

    /// The same with the file's name as `filename*` (RFC 5987) too, and percent-encoded as
    /// `filename`: for servers that take no other letters than ASCII there.
    #[must_use]
    pub fn extended(mut self) -> Self {
        if let Content::File { is_extended, .. } = &mut self.content {
            *is_extended = true;
        }
        self
    }

    fn head(&self) -> String {
        let name = sent_name(&self.name);
        let mut head = format!("Content-Disposition: form-data; name=\"{name}\"");
        match &self.content {
            Content::Text(_) => {}
            Content::Json(_) => head.push_str("\r\nContent-Type: application/json"),
            Content::File { file, is_extended } => {
                let media_type = media_type(file);
                head += &if *is_extended {
                    let name = extended(&file.name);
                    format!("; filename=\"{name}\"; filename*=UTF-8''{name}")
                } else {
                    format!("; filename=\"{}\"", sent_name(&file.name))
                };
                head += &format!("\r\nContent-Type: {media_type}");
            }
        }
        head.push_str("\r\n\r\n");
        head
    }
}

/// A media type in a line of its own: one that would begin another line is none.
fn media_type(file: &File) -> &str {
    if file.media_type.chars().any(char::is_control) {
        "application/octet-stream"
    } else {
        &file.media_type
    }
}

/// Percent-encoded but for the `attr-char` of RFC 5987.
fn extended(name: &str) -> String {
    let mut made = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            made.push(char::from(byte));
        } else {
            made += &format!("%{byte:02X}");
        }
    }
    made
}

/// The content type of such a body, and its pieces.
pub(super) fn multipart(parts: &[Part]) -> (String, Vec<Piece<'_>>) {
    let boundary = boundary(parts);
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("--{boundary}\r\n{}", part.head()));
        match &part.content {
            Content::Text(said) => text.push_str(said),
            Content::Json(bytes) => {
                pieces.push(Piece::Bytes(std::mem::take(&mut text).into()));
                pieces.push(Piece::Bytes(bytes.clone()));
            }
            Content::File { file, .. } => {
                pieces.push(Piece::Bytes(std::mem::take(&mut text).into()));
                pieces.push(Piece::File(file, Coding::Raw));
            }
        }
        text.push_str("\r\n");
    }
    text.push_str(&format!("--{boundary}--\r\n"));
    pieces.push(Piece::Bytes(text.into()));
    let content_type = format!("multipart/form-data; boundary={boundary}");
    (content_type, pieces)
}

/// Of a hash over everything, so that a retry sends the same bytes. That a text or a file holds the
/// hash of itself cannot be arranged.
fn boundary(parts: &[Part]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.head());
        match &part.content {
            Content::Text(text) => hash.update(text),
            Content::Json(bytes) => hash.update(bytes),
            Content::File { file, .. } => hash.update(&file.sha256),
        }
    }
    let hash = hex::encode(hash.finalize());
    format!("ticketwire-{}", hash.get(..32).unwrap_or("x"))
}

/// The pieces of a JSON object with the bytes of a file as one more member.
pub(super) fn base64_json<'a>(
    json: &Map<String, Value>,
    member: &str,
    file: &'a File,
) -> Vec<Piece<'a>> {
    let mut others = json.clone();
    others.remove(member);
    let whole = Value::Object(others).to_string();
    // The object without what closes it; a comma is due unless it is empty.
    let open = whole.strip_suffix('}').unwrap_or("{");
    let comma = if open.len() > 1 { "," } else { "" };
    let name = Value::from(member);
    vec![
        Piece::Bytes(format!("{open}{comma}{name}:\"").into()),
        Piece::File(file, Coding::Base64),
        Piece::Bytes(Bytes::from_static(b"\"}")),
    ]
}

/// A file as a dry run shows it.
pub(super) fn masked_file(file: &File) -> Value {
    json!({ "file": file.name, "media_type": file.media_type })
}

/// The parts as a dry run shows them; one file alone, as if it were the body.
pub(super) fn masked(parts: &[Part]) -> Value {
    if let [
        Part {
            content: Content::File { file, .. },
            ..
        },
    ] = parts
    {
        return masked_file(file);
    }
    let shown = parts.iter().map(|part| {
        let content = match &part.content {
            Content::Text(text) => Value::from(text.as_str()),
            Content::Json(bytes) => serde_json::from_slice(bytes).unwrap_or(Value::Null),
            Content::File { file, .. } => masked_file(file),
        };
        json!({ "name": part.name, "content": content })
    });
    json!({ "parts": shown.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::platforms::file::{body_of, on_disk};

    async fn sent(pieces: Vec<Piece<'_>>) -> Vec<u8> {
        let (body, length) = body_of(pieces).unwrap();
        let response = hyper::Response::new(body);
        let body = reqwest::Response::from(response).bytes().await;
        let body = body.unwrap().to_vec();
        assert_eq!(body.len() as u64, length);
        body
    }

    #[tokio::test]
    async fn parts_come_in_their_order_with_what_each_needs() {
        let file = on_disk("log \"1\".txt", "text/plain", b"hello");
        let parts = [
            Part::json("entity_content", &json!({ "Title": "log" })),
            Part::text("parent", "500\r\nx"),
            Part::file("VersionData", &file),
        ];

        let (content_type, pieces) = multipart(&parts);
        let body = String::from_utf8(sent(pieces).await).unwrap();

        let boundary = content_type
            .strip_prefix("multipart/form-data; boundary=")
            .unwrap();
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; \
             name=\"entity_content\"\r\nContent-Type: \
             application/json\r\n\r\n{{\"Title\":\"log\"}}\r\n--{boundary}\r\nContent-Disposition: \
             form-data; name=\"parent\"\r\n\r\n500\r\nx\r\n--{boundary}\r\nContent-Disposition: \
             form-data; name=\"VersionData\"; filename=\"log %221%22.txt\"\r\nContent-Type: \
             text/plain\r\n\r\nhello\r\n--{boundary}--\r\n"
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn the_same_parts_have_the_same_boundary_and_no_text_can_hold_it() {
        let file = on_disk("a.txt", "text/plain", b"hello");
        let of = |text: &str| multipart(&[Part::text("t", text), Part::file("f", &file)]).0;

        let first = of("x");
        assert_eq!(first, of("x"));
        let (_, boundary) = first.split_once("boundary=").unwrap();
        assert_ne!(first, of(&format!("\r\n--{boundary}--\r\n")));
    }

    #[tokio::test]
    async fn a_name_in_other_letters_is_sent_in_both_forms_where_that_is_asked_for() {
        let file = on_disk("résumé \"1\".pdf", "application/pdf", b"x");

        let parts = [Part::file("file", &file).extended()];
        let (_, pieces) = multipart(&parts);
        let body = String::from_utf8(sent(pieces).await).unwrap();

        assert!(
            body.contains(
                "filename=\"r%C3%A9sum%C3%A9%20%221%22.pdf\"; \
                 filename*=UTF-8''r%C3%A9sum%C3%A9%20%221%22.pdf\r\n"
            ),
            "{body}"
        );
    }

    #[tokio::test]
    async fn a_file_within_json_is_its_base64_whatever_its_length() {
        for length in [1, 2, 3, 4, 5, 48 << 10, (48 << 10) + 1, 200_001] {
            let bytes: Vec<u8> = (0..length)
                .map(|n: usize| (n % 251).to_le_bytes()[0])
                .collect();
            let file = on_disk("a.bin", "application/octet-stream", &bytes);
            for others in [json!({}), json!({ "message": "a \"file\"", "branch": "b" })] {
                let json = others.as_object().unwrap();

                let body = sent(base64_json(json, "content", &file)).await;

                let read: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(read["content"], STANDARD.encode(&bytes), "{length}");
                assert_eq!(read.get("message"), others.get("message"));
            }
        }
    }

    #[test]
    fn a_dry_run_shows_the_parts_and_no_bytes() {
        let file = on_disk("a.txt", "text/plain", b"t0ps3cret");
        let shown = json!({ "file": "a.txt", "media_type": "text/plain" });

        assert_eq!(masked(&[Part::file("file", &file)]), shown);
        let parts = [Part::text("parent", "1"), Part::file("file", &file)];
        assert_eq!(
            masked(&parts),
            json!({ "parts": [{ "name": "parent", "content": "1" }, { "name": "file",
                "content": shown }] })
        );
    }
}
