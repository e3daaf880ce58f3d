//! Reads messages (RFC 5322, RFC 2045–2047, RFC 2231) as far as a test wants to know what a person
//! would see, and forms in parts (RFC 7578).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// How deep parts may lie in parts.
const DEPTH_MAX: usize = 8;

/// A message.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// In order; unfolded and decoded.
    pub(super) headers: Vec<(String, String)>,
    /// Its leaves in order.
    pub(super) parts: Vec<Part>,
}

/// A leaf of a message.
#[derive(Debug)]
pub(super) struct Part {
    /// In lower case, without parameters.
    pub(super) media_type: String,
    /// Of an attached file.
    pub(super) file_name: Option<String>,
    /// Decoded.
    pub(super) bytes: Vec<u8>,
}

impl Mail {
    /// The first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        value(&self.headers, name).map(words)
    }
}

/// Reads a message.
pub(super) fn read(bytes: &[u8]) -> Mail {
    let (headers, body) = split(bytes);
    let mut parts = Vec::new();
    leaves(&headers, body, 0, &mut parts);
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name, words(&value)))
        .collect();
    Mail { headers, parts }
}

/// A part of a form (RFC 7578).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormPart {
    pub(super) name: String,
    /// Of a file. As it was sent: senders differ in what they escape, and how.
    pub(super) file_name: Option<String>,
    /// As it was declared.
    pub(super) media_type: Option<String>,
    pub(super) bytes: Bytes,
}

impl FormPart {
    /// What it says, where it is text.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

/// The parts of a form; none where the content type names no boundary. Parts without a name are
/// left out.
pub(super) fn form(content_type: &str, body: &Bytes) -> Vec<FormPart> {
    let Some(boundary) = parameter(content_type, "boundary") else {
        return Vec::new();
    };
    between(body, &boundary)
        .into_iter()
        .filter_map(|part| {
            let (headers, bytes) = split(part);
            let disposition = value(&headers, "content-disposition")?;
            Some(FormPart {
                name: parameter(disposition, "name")?,
                file_name: parameter(disposition, "filename"),
                media_type: value(&headers, "content-type").map(str::to_owned),
                bytes: body.slice_ref(bytes),
            })
        })
        .collect()
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Headers, unfolded, and the body.
fn split(bytes: &[u8]) -> (Vec<(String, String)>, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = match end {
        _ if bytes.starts_with(b"\r\n") => (&[][..], &bytes[2..]),
        Some(end) => (&bytes[..end], &bytes[end + 4..]),
        None => (bytes, &[][..]),
    };
    let head = String::from_utf8_lossy(head)
        .replace("\r\n ", " ")
        .replace("\r\n\t", " ");
    let headers = head.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    });
    (headers.collect(), body)
}

fn leaves(headers: &[(String, String)], body: &[u8], depth: usize, found: &mut Vec<Part>) {
    let kind = value(headers, "content-type").unwrap_or("text/plain");
    let media_type = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if let Some(boundary) =
        parameter(kind, "boundary").filter(|_| media_type.starts_with("multipart/"))
    {
        if depth < DEPTH_MAX {
            for part in between(body, &boundary) {
                let (headers, body) = split(part);
                leaves(&headers, body, depth + 1, found);
            }
        }
        return;
    }
    let encoding = value(headers, "content-transfer-encoding").unwrap_or("7bit");
    let disposition = value(headers, "content-disposition").unwrap_or_default();
    found.push(Part {
        media_type,
        file_name: parameter(disposition, "filename"),
        bytes: decoded(body, &encoding.to_ascii_lowercase()),
    });
}

/// The parts between lines that begin with this boundary.
fn between<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let line = format!("--{boundary}").into_bytes();
    let (mut parts, mut began) = (Vec::new(), None);
    let mut at = 0;
    while at < body.len() {
        let end = body[at..]
            .windows(2)
            .position(|two| two == b"\r\n")
            .map_or(body.len(), |end| at + end);
        let this = &body[at..end];
        let rest = this.strip_prefix(line.as_slice());
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || *rest == b"--") {
            if let Some(began) = began {
                // The line break before a boundary belongs to it.
                parts.push(
                    body[began..at.max(began)]
                        .strip_suffix(b"\r\n")
                        .unwrap_or(&body[began..at.max(began)]),
                );
            }
            began = (!rest.starts_with(b"--")).then_some((end + 2).min(body.len()));
        }
        at = end + 2;
    }
    parts
}

fn decoded(body: &[u8], encoding: &str) -> Vec<u8> {
    match encoding {
        "base64" => {
            let plain: Vec<u8> = body
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            STANDARD.decode(plain).unwrap_or_default()
        }
        "quoted-printable" => quoted(&String::from_utf8_lossy(body).replace("=\r\n", "")),
        _ => body.to_vec(),
    }
}

/// What `=XX` stands for.
fn quoted(text: &str) -> Vec<u8> {
    escaped(text, b'=')
}

fn escaped(text: &str, sign: u8) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut made, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == sign)
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| hex::decode(digits).ok());
        if let Some(code) = code {
            made.extend(code);
            at += 3;
        } else {
            made.push(*byte);
            at += 1;
        }
    }
    made
}

/// A parameter of a header, in any of its forms (RFC 2231: in pieces, and encoded). Where it is
/// there in two, the plain one is for those who do not know the other.
fn parameter(header: &str, name: &str) -> Option<String> {
    let (mut plain, mut extended): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
    for piece in pieces(header) {
        let Some((key, value)) = piece.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let (base, suffix) = key.split_once('*').unwrap_or((&key, ""));
        if base != name {
            continue;
        }
        let is_encoded = key.ends_with('*');
        let bytes = if is_encoded {
            let first = suffix.starts_with('0') || suffix.is_empty();
            let text = if first {
                value.rsplit('\'').next().unwrap_or_default()
            } else {
                value
            };
            escaped(text, b'%')
        } else {
            unquoted(value).into_bytes()
        };
        let whole = if key.contains('*') {
            &mut extended
        } else {
            &mut plain
        };
        whole.get_or_insert_default().extend(bytes);
    }
    extended
        .or(plain)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// What stands between semicolons that are not quoted.
fn pieces(header: &str) -> Vec<String> {
    let (mut pieces, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in header.chars() {
        match c {
            ';' if !quoted => {
                pieces.push(String::new());
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if let Some(last) = pieces.last_mut() {
            last.push(c);
        }
    }
    pieces
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
    else {
        return value.to_owned();
    };
    let (mut made, mut escaped) = (String::new(), false);
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            made.push(c);
            escaped = false;
        }
    }
    made
}

/// Encoded words (RFC 2047) as what they stand for; the space between two of them is none.
fn words(text: &str) -> String {
    let (mut made, mut rest) = (String::new(), text);
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let Some((word, after)) = word(from) else {
            made.push_str(before);
            made.push_str("=?");
            rest = &from[2..];
            after_word = false;
            continue;
        };
        if !(after_word && before.trim().is_empty()) {
            made.push_str(before);
        }
        made.push_str(&word);
        rest = after;
        after_word = true;
    }
    made.push_str(rest);
    made
}

fn word(text: &str) -> Option<(String, &str)> {
    let mut parts = text.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (content, after) = rest.split_once("?=")?;
    let bytes = match encoding {
        "b" | "B" => STANDARD.decode(content).ok()?,
        "q" | "Q" => quoted(&content.replace('_', " ")),
        _ => return None,
    };
    let known = ["utf-8", "us-ascii"]
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known));
    known.then(|| (String::from_utf8_lossy(&bytes).into_owned(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_a_person_would_see() {
        let message = [
            "Subject: =?utf-8?b?RHLDvGNrZXI=?=",
            " =?utf-8?q?_brennt?= [#ab]",
            "From: a@example.net",
            "Content-Type: multipart/mixed;",
            " boundary=\"m\"",
            "",
            "before",
            "--m",
            "Content-Type: multipart/alternative; boundary=a",
            "",
            "--a",
            "",
            "plain",
            "text",
            "--a",
            "Content-Type: text/html; charset=utf-8",
            "Content-Transfer-Encoding: quoted-printable",
            "",
            "<p>=C3=BC</p>=",
            "!",
            "--a--",
            "--m",
            "Content-Disposition: attachment;",
            " filename*0*=utf-8''b%C3%BC;",
            " filename*1=\"ch;.txt\"",
            "Content-Type: image/png",
            "Content-Transfer-Encoding: base64",
            "",
            "AAEC",
            "Aw==",
            "--m--",
            "",
        ]
        .join("\r\n");

        let mail = read(message.as_bytes());

        assert_eq!(mail.header("SUBJECT").unwrap(), "Drücker brennt [#ab]");
        let parts: Vec<_> = mail
            .parts
            .iter()
            .map(|part| {
                (
                    part.media_type.as_str(),
                    part.file_name.as_deref(),
                    part.bytes.as_slice(),
                )
            })
            .collect();
        assert_eq!(
            parts,
            [
                ("text/plain", None, &b"plain\r\ntext"[..]),
                ("text/html", None, "<p>ü</p>!".as_bytes()),
                ("image/png", Some("büch;.txt"), &[0, 1, 2, 3]),
            ]
        );
    }

    #[test]
    fn a_form_has_texts_and_files_byte_by_byte() {
        let head = "--b\r\nContent-Disposition: form-data; \
                    name=\"entity_content\"\r\nContent-Type: \
                    application/json\r\n\r\n{\"a\":1}\r\n--b\r\nContent-Disposition: form-data; \
                    name=\"file\"; filename=\"a %221%22.txt\"\r\nContent-Type: \
                    text/plain\r\n\r\n";
        let second = "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; \
                      filename=\"_.txt\"; filename*=UTF-8''b%C3%BCch.txt\r\n\r\n\r\n--b\r\nX: \
                      y\r\n\r\nnobody's\r\n--b--\r\n";
        let file = b"\r\n--bb\r\n\x00\xff\r\n";
        let body = Bytes::from([head.as_bytes(), file, second.as_bytes()].concat());

        let parts = form("multipart/form-data; charset=utf-8; boundary=\"b\"", &body);

        let seen: Vec<_> = parts
            .iter()
            .map(|part| {
                (
                    part.name.as_str(),
                    part.file_name.as_deref(),
                    &part.bytes[..],
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("entity_content", None, &b"{\"a\":1}"[..]),
                ("file", Some("a %221%22.txt"), &file[..]),
                ("file", Some("b\u{fc}ch.txt"), &[]),
            ]
        );
        assert_eq!(parts[0].media_type.as_deref(), Some("application/json"));
        assert_eq!(
            (parts[0].text(), parts[1].text()),
            (Some("{\"a\":1}"), None)
        );
        assert_eq!(form("multipart/form-data", &body), []);
    }

    #[test]
    fn what_is_broken_is_no_panic() {
        for text in [
            "",
            "\r\n",
            "a",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b",
            "Subject: =?utf-8?b?x",
            "--\r\n--b--",
        ] {
            drop(read(text.as_bytes()));
            let parts = form("multipart/form-data; boundary=b", &Bytes::from(text));
            assert_eq!(parts, []);
        }
        assert_eq!(words("=?x?= =?utf-8?q?a?="), "=?x?= a");
    }
}
