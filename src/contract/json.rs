//! Writing plain data as JSON.

use serde::Serialize;

/// JSON of plain data: texts, numbers, lists, maps with text keys. Writing it has no way to fail,
/// so callers need not deal with that; were there one all the same, it would be a fault of this
/// program: it is logged as one, and a test fails.
#[must_use]
pub fn json_text<T: Serialize + ?Sized>(value: &T, capacity: usize) -> String {
    let mut text = Vec::with_capacity(capacity);
    let written = serde_json::to_writer(&mut text, value).map_err(|error| error.to_string());
    let text = written.and_then(|()| String::from_utf8(text).map_err(|error| error.to_string()));
    text.unwrap_or_else(|fault| {
        debug_assert!(false, "plain data cannot be written as JSON: {fault}");
        tracing::error!(fault, "plain data cannot be written as JSON: a bug");
        "null".into()
    })
}
