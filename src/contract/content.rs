//! How a message's body is written: compressed, with a byte order mark, and in which of
//! CloudEvents' two modes.
//!
//! In binary mode the attributes are AMQP headers and the body is the data (CloudEvents 1.0.2, AMQP
//! protocol binding, §3.1): `cloudEvents:id`, or `cloudEvents_id` as JMS clients have to write it;
//! the content type is that of the data. A content type of `application/cloudevents…` always means
//! structured mode.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::fields::kind;
use crate::domain::{json_fault, shown};

/// A message as it came from the broker, borrowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawMessage<'a> {
    /// Its routing key: must equal the command's type.
    pub routing_key: &'a str,
    /// Its body.
    pub body: &'a [u8],
    /// Where that is only the beginning, as it was too large: bytes and digest of the whole.
    pub oversize: Option<(usize, &'a str)>,
    /// AMQP `content_type`.
    pub content_type: Option<&'a str>,
    /// AMQP `content_encoding`.
    pub content_encoding: Option<&'a str>,
    /// The attributes that AMQP headers carry ([`attribute_of`]), by name: CloudEvents' binary
    /// mode.
    pub attributes: Option<&'a Map<String, Value>>,
    /// AMQP header `traceparent`, used where the envelope has none.
    pub traceparent: Option<&'a str>,
    /// AMQP header `tracestate`.
    pub tracestate: Option<&'a str>,
    /// AMQP `reply_to`.
    pub reply_to: Option<&'a str>,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<&'a str>,
}

impl<'a> RawMessage<'a> {
    /// What tells the message from others under the same routing key: its body, and the attributes
    /// that are not in it.
    #[must_use]
    pub fn whole(&self) -> Cow<'a, [u8]> {
        match (binary(self), self.oversize) {
            (None, None) => self.body.into(),
            (attributes, oversize) => {
                let mut whole = self.body.to_vec();
                // Neither a name nor a digest holds a zero.
                whole.extend(
                    oversize
                        .into_iter()
                        .flat_map(|(_, digest)| [b"\0", digest.as_bytes()].concat()),
                );
                for (name, value) in attributes.into_iter().flatten() {
                    // Neither a name nor JSON holds a zero.
                    whole.extend(format!("\0{name}\0{value}").into_bytes());
                }
                whole.into()
            }
        }
    }
}

/// What the headers of attributes begin with.
const PREFIXES: [&str; 2] = ["cloudEvents:", "cloudEvents_"];
/// The mark that some programs begin UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a message cannot even be read: a field and its one fault.
pub(super) type Unreadable = (&'static str, String);

/// An attribute's name, if a header carries one.
#[must_use]
pub fn attribute_of(header: &str) -> Option<&str> {
    PREFIXES
        .iter()
        .find_map(|prefix| header.strip_prefix(prefix))
        .filter(|name| !name.is_empty())
}

/// The message as one JSON object: the envelope in structured mode.
pub(super) fn object(
    raw: &RawMessage<'_>,
    bytes_max: usize,
) -> Result<Map<String, Value>, Unreadable> {
    let body = plain(raw, bytes_max)?;
    if let Some(attributes) = binary(raw) {
        return with_data(attributes, raw, &body);
    }
    if let Some(content_type) = content_type(raw).filter(|text| !is_json(text)) {
        let fault = format!(
            "is {:?}; send application/cloudevents+json or application/json",
            shown(content_type)
        );
        return Err(("content_type", fault));
    }
    match parsed(&body)? {
        Value::Object(map) => Ok(map),
        other => {
            let fault = format!("must be a JSON object, not {}", kind(&other));
            Err(("message", fault))
        }
    }
}

/// The body in structured mode, uncompressed, where it can be read: what is kept of a message, and
/// can be sent again without its headers. Else the body as it came.
#[must_use]
pub fn structured<'a>(raw: &RawMessage<'a>, bytes_max: usize) -> Cow<'a, [u8]> {
    if binary(raw).is_some() {
        return match object(raw, bytes_max) {
            Ok(map) => Value::Object(map).to_string().into_bytes().into(),
            Err(_) => raw.body.into(),
        };
    }
    match plain(raw, bytes_max) {
        Ok(body) => match mended(&body) {
            Some(mended) => mended.into(),
            None => body,
        },
        Err(_) => Cow::Borrowed(raw.body),
    }
}

/// The attributes that tell which command a message is.
const TELLING: [&str; 3] = ["id", "organizationid", "type"];

/// What a message that cannot be read says of itself all the same, by attribute: up to where it can
/// be read.
pub(super) fn glimpse(raw: &RawMessage<'_>, bytes_max: usize) -> Vec<(&'static str, String)> {
    if let Some(attributes) = binary(raw) {
        let text = |name: &'static str| Some((name, attributes.get(name)?.as_str()?.to_owned()));
        return TELLING.into_iter().filter_map(text).collect();
    }
    let body = plain(raw, bytes_max).unwrap_or(Cow::Borrowed(raw.body));
    outermost(&body)
}

/// The telling members of the outermost object, read from left to right as far as it is one.
fn outermost(body: &[u8]) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let (mut depth, mut key, mut at) = (0usize, None, 0);
    while let Some(&byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => key = None,
            b'"' => {
                let rest = body.get(at..).unwrap_or_default();
                let Some(end) = end_of_text(rest) else { break };
                let text = rest.get(..end).unwrap_or_default();
                at += end + 1;
                match key.take() {
                    _ if depth != 1 => {}
                    Some(name) => found.extend(
                        String::from_utf8(text.to_vec())
                            .ok()
                            .map(|text| (name, text)),
                    ),
                    None => key = TELLING.into_iter().find(|name| name.as_bytes() == text),
                }
            }
            _ => {}
        }
    }
    found
}

/// Where a text ends whose first quotation mark is read.
fn end_of_text(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match rest.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The body with U+FFFD in the place of each surrogate without its other half, as a program leaves
/// it that cuts a text between the two; `None` where there is none.
fn mended(body: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut made = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(&byte) = body.get(at) {
        if byte != b'\\' {
            at += 1;
            continue;
        }
        match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                made.extend_from_slice(body.get(copied..at).unwrap_or_default());
                made.extend_from_slice(b"\\ufffd");
                at += 6;
                copied = at;
            }
            (Some(_) | None, _) => at += 2,
        }
    }
    (copied > 0).then(|| {
        made.extend_from_slice(body.get(copied..).unwrap_or_default());
        made
    })
}

/// The body as text: unpacked, and without its mark.
fn plain<'a>(raw: &RawMessage<'a>, bytes_max: usize) -> Result<Cow<'a, [u8]>, Unreadable> {
    let too_long = |size: &str| {
        let fault =
            format!("has {size} bytes; the limit is {bytes_max} (setting amqp.max_message_bytes)");
        Err(("message", fault))
    };
    let length = raw.oversize.map_or(raw.body.len(), |(bytes, _)| bytes);
    if length > bytes_max {
        return too_long(&length.to_string());
    }
    let encoding = raw.content_encoding.unwrap_or_default().trim();
    let mut body = match encoding.to_ascii_lowercase().as_str() {
        // Some clients name the character set here.
        "" | "identity" | "utf-8" | "utf8" => Cow::Borrowed(raw.body),
        "gzip" | "x-gzip" => {
            let limit = u64::try_from(bytes_max)
                .unwrap_or(u64::MAX)
                .saturating_add(1);
            let mut unpacked = Vec::new();
            let mut reader = MultiGzDecoder::new(raw.body).take(limit);
            if reader.read_to_end(&mut unpacked).is_err() {
                let fault = "says gzip, but the body is none, or is cut off";
                return Err(("content_encoding", fault.into()));
            }
            if unpacked.len() > bytes_max {
                return too_long("more unpacked");
            }
            Cow::Owned(unpacked)
        }
        _ => {
            let fault = format!(
                "is {:?}; send the body as it is, or as gzip",
                shown(encoding)
            );
            return Err(("content_encoding", fault));
        }
    };
    if body.starts_with(BYTE_ORDER_MARK) {
        body = match body {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[BYTE_ORDER_MARK.len()..]),
            Cow::Owned(bytes) => Cow::Owned(bytes[BYTE_ORDER_MARK.len()..].to_vec()),
        };
    }
    Ok(body)
}

/// The attributes of a message in binary mode.
fn binary<'a>(raw: &RawMessage<'a>) -> Option<&'a Map<String, Value>> {
    let is_structured =
        content_type(raw).is_some_and(|text| essence(text).starts_with("application/cloudevents"));
    raw.attributes
        .filter(|attributes| !attributes.is_empty() && !is_structured)
}

fn with_data(
    attributes: &Map<String, Value>,
    raw: &RawMessage<'_>,
    body: &[u8],
) -> Result<Map<String, Value>, Unreadable> {
    let is_data = |text: &str| is_json(text) || essence(text).ends_with("+json");
    if let Some(content_type) = content_type(raw).filter(|text| !is_data(text)) {
        let fault = format!(
            "is {:?}; in binary mode (cloudEvents: headers) the body is the data: send \
             application/json",
            shown(content_type)
        );
        return Err(("content_type", fault));
    }
    let mut object = attributes.clone();
    // In this mode the content type says it; a header of that name is not CloudEvents'.
    object.remove("datacontenttype");
    if !body.is_empty() {
        object.insert("data".into(), parsed(body)?);
    }
    Ok(object)
}

fn parsed(body: &[u8]) -> Result<Value, Unreadable> {
    serde_json::from_slice(body)
        .or_else(|error| {
            let mended = mended(body).ok_or(error)?;
            serde_json::from_slice(&mended)
        })
        .map_err(|error| ("message", message_fault(&error)))
}

fn content_type<'a>(raw: &RawMessage<'a>) -> Option<&'a str> {
    raw.content_type.filter(|text| !text.is_empty())
}

/// A content type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Whether a content type is one of a command in structured mode.
fn is_json(content_type: &str) -> bool {
    ["application/cloudevents+json", "application/json"].contains(&essence(content_type).as_str())
}

fn message_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("recursion limit exceeded") {
        return "is nested deeper than 127 levels".into();
    }
    if text.starts_with("number out of range") {
        let (line, column) = (error.line(), error.column());
        return format!(
            "has a number that is too large, at line {line} column {column}; send it as text"
        );
    }
    if error.is_eof() {
        return format!("is not valid JSON: it {}", json_fault(error));
    }
    json_fault(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    const LIMIT: usize = 1 << 16;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn packed(body: &[u8]) -> RawMessage<'_> {
        RawMessage {
            body,
            content_encoding: Some("gzip"),
            ..RawMessage::default()
        }
    }

    #[test]
    fn a_packed_or_marked_body_is_the_object_it_holds() {
        let expected = json!({ "a": 1 });
        let expected = expected.as_object().unwrap();
        let marked = b"\xef\xbb\xbf{\"a\":1}";

        for body in [gzip(b"{\"a\":1}"), gzip(marked)] {
            assert_eq!(object(&packed(&body), LIMIT).as_ref(), Ok(expected));
            assert_eq!(&*structured(&packed(&body), LIMIT), b"{\"a\":1}");
        }
        let raw = RawMessage {
            body: marked,
            ..RawMessage::default()
        };
        assert_eq!(object(&raw, LIMIT).as_ref(), Ok(expected));
    }

    #[test]
    fn the_limit_holds_after_unpacking_and_what_is_no_gzip_says_so() {
        let bomb = gzip(&vec![b' '; LIMIT + 1]);
        assert!(bomb.len() < LIMIT / 100);

        let (field, fault) = object(&packed(&bomb), LIMIT).unwrap_err();
        assert_eq!(field, "message");
        assert!(
            fault.contains("unpacked") && fault.contains("amqp.max_message_bytes"),
            "{fault}"
        );
        let whole = gzip(b"{\"a\":1}");
        for body in [b"{}".as_slice(), &whole[..whole.len() - 4]] {
            assert_eq!(
                object(&packed(body), LIMIT).unwrap_err().0,
                "content_encoding"
            );
            assert_eq!(&*structured(&packed(body), LIMIT), body);
        }
        let other = RawMessage {
            content_encoding: Some("br"),
            ..packed(&whole)
        };
        let (field, fault) = object(&other, LIMIT).unwrap_err();
        assert_eq!(field, "content_encoding");
        assert!(fault.contains("gzip"), "{fault}");
    }

    #[test]
    fn half_a_character_is_replaced_and_nothing_else() {
        let read = |body: &str| {
            let raw = RawMessage {
                body: body.as_bytes(),
                ..RawMessage::default()
            };
            let read = object(&raw, LIMIT).unwrap();
            let kept: Value = serde_json::from_slice(&structured(&raw, LIMIT)).unwrap();
            assert_eq!(kept, Value::Object(read.clone()));
            read["a"].as_str().unwrap().to_owned()
        };

        for (body, text) in [
            (r#"{"a":"x\ud83d"}"#, "x\u{fffd}"),
            (r#"{"a":"\ude00y"}"#, "\u{fffd}y"),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"a":"\uD83D\uDE00"}"#, "😀"),
            (r#"{"a":"\ud83d\u0041"}"#, "\u{fffd}A"),
            (r#"{"a":"\\ud83d"}"#, "\\ud83d"),
            (r#"{"a":"\\\ud83d\\"}"#, "\\\u{fffd}\\"),
        ] {
            assert_eq!(read(body), text, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_still_says_which_command_it_is() {
        let seen = |body: &str| {
            let raw = RawMessage {
                body: body.as_bytes(),
                ..RawMessage::default()
            };
            assert!(object(&raw, LIMIT).is_err());
            glimpse(&raw, LIMIT)
        };
        let id = ("id", "x".to_owned());

        assert_eq!(
            seen(r#"{"id": "x", "data": {"title": "cut o"#),
            std::slice::from_ref(&id)
        );
        assert_eq!(
            seen(r#"{"data": {"id": "y", "n": 1e400}, "source": "id", "type" : "t", "id" : "x"}"#),
            [("type", "t".to_owned()), id.clone()]
        );
        assert_eq!(seen(r#"{"id": ["z"], "id": "x",,}"#), [id]);
        for body in [
            "",
            "\"",
            "[[{{",
            r#"{"id": 7, "x": "id": }"#,
            r#"{"id": "x\"#,
        ] {
            assert_eq!(seen(body), [], "{body}");
        }
    }

    #[test]
    fn a_number_beyond_all_others_is_named() {
        let raw = RawMessage {
            body: b"{\"a\":1e400}",
            ..RawMessage::default()
        };

        let (field, fault) = object(&raw, LIMIT).unwrap_err();

        assert_eq!(field, "message");
        assert!(fault.contains("number that is too large"), "{fault}");
    }

    #[test]
    fn in_binary_mode_headers_are_the_attributes_and_the_body_is_the_data() {
        let attributes = json!({ "id": "x", "specversion": "1.0" });
        let raw = RawMessage {
            body: b"{\"title\":\"T\"}",
            content_type: Some("application/json; charset=utf-8"),
            attributes: attributes.as_object(),
            ..RawMessage::default()
        };

        let read = Value::Object(object(&raw, LIMIT).unwrap());

        let expected = json!({ "id": "x", "specversion": "1.0", "data": { "title": "T" } });
        assert_eq!(read, expected);
        let kept: Value = serde_json::from_slice(&structured(&raw, LIMIT)).unwrap();
        assert_eq!(kept, expected);
        let other = json!({ "id": "y", "specversion": "1.0" });
        let twin = RawMessage {
            attributes: other.as_object(),
            ..raw
        };
        assert_ne!(raw.whole(), twin.whole());
        let structured_mode = RawMessage {
            content_type: Some("application/cloudevents+json"),
            ..raw
        };
        let read = Value::Object(object(&structured_mode, LIMIT).unwrap());
        assert_eq!(read, json!({ "title": "T" }));
        let text = RawMessage {
            content_type: Some("text/plain"),
            ..raw
        };
        assert_eq!(object(&text, LIMIT).unwrap_err().0, "content_type");
        assert_eq!(attribute_of("cloudEvents:id"), Some("id"));
        assert_eq!(attribute_of("cloudEvents_time"), Some("time"));
        assert_eq!(attribute_of("cloudEvents"), None);
        assert_eq!(attribute_of("traceparent"), None);
    }
}
