//! What commands print: tables for people, one JSON document for programs; a closed pipe is no error.

use std::io::Write;

use serde_json::Value;

/// Writes a line to stdout. A reader that went away ends the output quietly.
///
/// # Errors
/// [`Closed`] when nobody reads any more.
pub fn line(text: &str) -> Result<(), Closed> {
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
    line(&value.to_string())
}

/// Writes to stderr, where people look and programs do not.
pub fn note(text: &str) {
    // Without a stderr there is nobody to tell.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Writes rows as aligned columns under a heading.
///
/// # Errors
/// [`Closed`] when nobody reads any more.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), Closed> {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let format = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    line(&format(heading.to_vec()))?;
    for row in rows {
        line(&format(row.iter().map(String::as_str).collect()))?;
    }
    Ok(())
}
