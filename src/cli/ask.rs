//! A question to the person at the terminal.

use std::io::{IsTerminal as _, Write as _};

use super::{Context, Failed, failed};

/// Whether a person says yes; `None` where nobody can be asked: without a terminal, or where a
/// program reads the output.
///
/// # Errors
/// The terminal is gone.
pub(super) fn yes(context: &Context, question: &str) -> Result<Option<bool>, Failed> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if context.json || !is_terminal {
        return Ok(None);
    }
    let mut out = std::io::stderr().lock();
    write!(out, "{question} [y/N] ").map_err(failed)?;
    out.flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    let is_yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    Ok(Some(is_yes))
}
