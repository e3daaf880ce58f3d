//! The facts of a platform's page, `docs/platforms/<name>.md`: they are the descriptor's, so that a
//! page cannot say anything else than the program.

use super::{base_url, does, does_not};
use crate::cli::{Failed, output};
use crate::domain::Platform;
use crate::platforms::{Descriptor, Member, Mode, descriptor};

/// Prints the facts as Markdown.
pub(super) fn print(platform: Platform) -> Result<(), Failed> {
    Ok(output::line(&markdown(descriptor(platform)))?)
}

fn markdown(facts: &Descriptor) -> String {
    let mut lines = Vec::new();
    for mode in facts.modes {
        lines.push(format!("**`{}`**: {}.", mode.auth_type, mode.name));
        lines.push(String::new());
        lines.extend(of_mode(mode).iter().flat_map(|text| item(text)));
        lines.push(String::new());
    }
    lines.push("| member | | |".into());
    lines.push("| --- | --- | --- |".into());
    lines.push(format!("| `base_url` | | {} |", cell(&base_url(facts))));
    lines.extend(facts.settings.iter().map(|setting| {
        let need = if setting.required { "required" } else { "" };
        format!(
            "| `settings.{}` | {need} | {} |",
            setting.name,
            cell(setting.help)
        )
    }));
    lines.push(String::new());
    let limits = facts.limits.iter().map(|limit| literal(limit));
    lines.extend(limits.flat_map(|limit| item(&limit)));
    lines.join("\n")
}

fn of_mode(mode: &Mode) -> Vec<String> {
    let set = |set: &&[Member]| {
        let names = set.iter().map(|member| {
            let optional = if member.required { "" } else { " (optional)" };
            format!("`{}`{optional}", member.name)
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let sets: Vec<String> = mode.credentials.iter().map(set).collect();
    let credentials = match sets.join("; or ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    };
    let mut lines = vec![
        format!("Credentials: {credentials}."),
        format!("Does: {}.", does(mode).join(", ")),
    ];
    lines.extend(
        does_not(mode)
            .iter()
            .map(|text| format!("Not: {}.", literal(text))),
    );
    lines.push(format!("A lost answer: {}.", literal(mode.protection)));
    lines
}

/// Columns of a line of the documentation.
const WIDTH: usize = 100;

/// An item of a list, on as many lines as it takes.
fn item(text: &str) -> Vec<String> {
    let mut lines = vec!["-".to_owned()];
    for word in text.split(' ') {
        let fits = |line: &String| line.chars().count() + 1 + word.chars().count() <= WIDTH;
        match lines.last_mut().filter(|line| fits(line)) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(format!("  {word}")),
        }
    }
    lines
}

/// A text that Markdown shows as it is.
fn literal(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '_' | '<' | '>' | '[' | ']' | '`' | '\\') {
            written.push('\\');
        }
        written.push(c);
    }
    written
}

/// A text in a table.
fn cell(text: &str) -> String {
    literal(text).replace('|', "\\|")
}
