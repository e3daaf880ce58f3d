//! What commands print: tables for people, one JSON document for programs; a closed pipe is no
//! error.

mod table;

use std::borrow::Cow;
use std::io::Write;

use serde_json::Value;

pub use table::{Cell, Column, Layout, column, table};

/// Writes a line to stdout, as [`shown`]. A reader that went away ends the output quietly.
///
/// # Errors
/// [`Closed`] when nobody reads any more.
pub fn line(text: &str) -> Result<(), Closed> {
    write_line(&shown(text))
}

fn write_line(text: &str) -> Result<(), Closed> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|_| Closed)
}

/// Nobody reads any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

/// Writes one JSON document, on one line for streams.
///
/// # Errors
/// [`Closed`] when nobody reads any more.
pub fn json(value: &Value) -> Result<(), Closed> {
    json_text(&value.to_string())
}

/// Writes one JSON document that is there as a text.
///
/// # Errors
/// [`Closed`] when nobody reads any more.
pub fn json_text(text: &str) -> Result<(), Closed> {
    write_line(&escaped(text))
}

/// Writes to stderr, where people look and programs do not, as [`shown`].
pub fn note(text: &str) {
    progress(&shown(text));
}

/// Writes a text of our own to stderr as it is: it may move the cursor.
pub fn progress(text: &str) {
    // Without a stderr there is nobody to tell.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// A text that others wrote, as it may be shown on a terminal: what would move the cursor, colour,
/// ring or turn the direction of writing is written out. Line breaks stay, where the caller lets a
/// text have several lines.
fn shown(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c.escape_unicode().to_string())
}

/// JSON that steers a terminal no more than a table does; a program reads the same. All that
/// steers stands within its strings.
fn escaped(json: &str) -> Cow<'_, str> {
    replaced(json, |c| format!("\\u{:04x}", u32::from(c)))
}

/// The text with what steers a terminal written in another way.
fn replaced(text: &str, way: impl Fn(char) -> String) -> Cow<'_, str> {
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut made = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            made.push_str(&way(c));
        } else {
            made.push(c);
        }
    }
    Cow::Owned(made)
}

/// The same on one line: nobody can make a line of their own among ours.
#[must_use]
pub fn on_one_line(text: &str) -> String {
    text.replace('\r', "").replace('\n', " ⏎ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tenant_wrote_steers_no_terminal_and_forges_no_line() {
        let name = "N\x1b]0;pwn\x07\x1b[31mRED\x1b[2J\r\nok  FAKE\u{202e}evil\u{9b}31m";

        let made = on_one_line(&shown(name));

        assert_eq!(
            made,
            "N\\u{1b}]0;pwn\\u{7}\\u{1b}[31mRED\\u{1b}[2J\\u{d} ⏎ ok  FAKE\\u{202e}evil\\u{9b}31m"
        );
        // And JSON stays JSON.
        let json = Value::from(name).to_string();
        assert!(!escaped(&json).contains('\u{202e}'));
        assert_eq!(
            serde_json::from_str::<Value>(&escaped(&json)).unwrap(),
            name
        );
        // Words of any script stay as they are.
        let plain = "Störung 障害 ✅\tא";
        assert_eq!(shown(plain), plain);
    }
}
