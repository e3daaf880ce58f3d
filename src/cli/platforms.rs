//! `ticketwire platforms`

mod page;

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, Cell, column};
use super::{Context, Failed};
use crate::domain::Platform;
use crate::platforms::{BaseUrl, Descriptor, Exception, Member, Mode, OperationKind, descriptor};

/// What is known of each platform: category, authentication, members, operations, duplicate
/// protection, limits.
#[derive(Args)]
pub(super) struct Platforms {
    /// One platform, in full
    name: Option<String>,
    /// As Markdown: the table of all, which README.md has, or one platform's facts, which its page
    /// has
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// What a cell of the table says.
const LEGEND: &str =
    "● done  ◐ with an exception  – not possible: `ticketwire platforms NAME` says why";

impl Platforms {
    pub(super) fn execute(self, context: &Context) -> Result<(), Failed> {
        match self.name {
            None if self.markdown => markdown(),
            None => list(context),
            Some(name) => {
                let platform = Platform::parse(&name.to_lowercase()).ok_or_else(|| {
                    Failed::Usage(format!(
                        "{name:?} is no platform; they are {}",
                        Platform::names()
                    ))
                })?;
                if self.markdown {
                    page::print(platform)
                } else {
                    show(context, platform)
                }
            }
        }
    }
}

fn list(context: &Context) -> Result<(), Failed> {
    if context.json {
        let all: Vec<Value> = Platform::ALL
            .iter()
            .map(|platform| describe(*platform))
            .collect();
        return Ok(output::json(&all.into())?);
    }
    let mut heading = vec![column("PLATFORM"), column("BY")];
    heading.extend(ABILITIES.iter().map(|(_, short)| column(short)));
    heading.push(column("A LOST ANSWER"));
    let rows: Vec<Vec<Cell>> = Platform::ALL
        .iter()
        .flat_map(|platform| rows(*platform))
        .map(|row| row.into_iter().map(Cell::Prose).collect())
        .collect();
    output::table(&context.layout, &heading, &rows)?;
    output::line("")?;
    Ok(context.layout.prose("", LEGEND)?)
}

/// The same as Markdown.
fn markdown() -> Result<(), Failed> {
    let mut header = vec!["platform", "signs in by"];
    header.extend(ABILITIES.iter().map(|(long, _)| *long));
    header.push("a lost answer");
    output::line(&format!("| {} |", header.join(" | ")))?;
    output::line(&format!("|{}", " --- |".repeat(header.len())))?;
    for platform in Platform::ALL {
        for mut row in rows(*platform) {
            row[0] = format!("[{platform}](docs/platforms/{platform}.md)");
            output::line(&format!("| {} |", row.join(" | ")))?;
        }
    }
    output::line("")?;
    Ok(output::line(LEGEND)?)
}

/// What a platform may be able to do, in words and as the head of a narrow column. The last is to
/// be read back: `integration.sync`, `.fields`.
const ABILITIES: [(&str, &str); 8] = [
    ("create", "CR"),
    ("update", "UP"),
    ("status", "ST"),
    ("assign", "AS"),
    ("comment", "CO"),
    ("attach", "AT"),
    ("delete", "DE"),
    ("sync", "SY"),
];

/// A row for each way to use a platform that differs from the others in what it can do.
fn rows(platform: Platform) -> Vec<Vec<String>> {
    let modes = descriptor(platform).modes;
    let mut found: Vec<(Vec<&str>, Vec<&str>, &str)> = Vec::new();
    for mode in modes {
        let cells = cells(mode);
        // The sentence begins with its kind.
        let protection = mode
            .protection
            .split([':', ',', ';'])
            .next()
            .unwrap_or_default();
        let auth_type = mode.auth_type.as_str();
        match found
            .iter_mut()
            .find(|row| (&row.1, row.2) == (&cells, protection))
        {
            Some(row) if row.0.contains(&auth_type) => {}
            Some(row) => row.0.push(auth_type),
            None => found.push((vec![auth_type], cells, protection)),
        }
    }
    found
        .into_iter()
        .map(|(auth_types, cells, protection)| {
            let mut row = vec![platform.to_string(), auth_types.join(", ")];
            row.extend(cells.into_iter().map(str::to_owned));
            row.push(protection.to_owned());
            row
        })
        .collect()
}

fn cells(mode: &Mode) -> Vec<&'static str> {
    let reads = if mode.cannot_read.is_some() {
        "–"
    } else {
        "●"
    };
    let does = OperationKind::ALL.iter().map(|kind| {
        if mode.cannot(*kind).is_some() {
            "–"
        } else if mode.except.iter().any(|exception| exception.kind == *kind) {
            "◐"
        } else {
            "●"
        }
    });
    does.chain([reads]).collect()
}

fn show(context: &Context, platform: Platform) -> Result<(), Failed> {
    if context.json {
        return Ok(output::json(&describe(platform))?);
    }
    output::line(&format!("{platform} ({})", platform.category()))?;
    let facts = descriptor(platform);
    let member = |member: &Member| {
        let need = if member.required {
            "required"
        } else {
            "optional"
        };
        vec![
            Cell::empty(),
            Cell::word(member.name),
            Cell::word(need),
            Cell::Prose(member.help.to_owned()),
        ]
    };
    for mode in facts.modes {
        output::line("")?;
        let head = format!("auth_type {} ({}): credentials", mode.auth_type, mode.name);
        context.layout.prose("", &head)?;
        for (number, set) in mode.credentials.iter().enumerate() {
            if number > 0 {
                output::line("  or, in their place")?;
            }
            let rows: Vec<Vec<Cell>> = set.iter().map(member).collect();
            output::table(&context.layout, &[" ", "MEMBER", "", ""], &rows)?;
        }
        abilities(context, mode)?;
    }
    output::line("")?;
    context.layout.prose("base_url: ", &base_url(facts))?;
    output::line("\nsettings")?;
    let rows: Vec<Vec<Cell>> = facts.settings.iter().map(member).collect();
    output::table(&context.layout, &[" ", "MEMBER", "", ""], &rows)?;
    output::line("")?;
    for limit in facts.limits {
        context.layout.prose("limit: ", limit)?;
    }
    let page = format!("docs/platforms/{platform}.md says what to do at the vendor");
    Ok(context.layout.prose("set-up: ", &page)?)
}

/// What a mode can do, and what not.
fn abilities(context: &Context, mode: &Mode) -> Result<(), Failed> {
    let not = |text: &str| context.layout.prose("  not: ", text);
    context.layout.prose("  does: ", &does(mode).join(", "))?;
    for text in does_not(mode) {
        not(&text)?;
    }
    Ok(context
        .layout
        .prose("  duplicate protection: ", mode.protection)?)
}

/// What a mode can do, at least in part.
fn does(mode: &Mode) -> Vec<&'static str> {
    let can = OperationKind::ALL.iter().copied();
    let can = can.filter(|kind| mode.cannot(*kind).is_none());
    let reads = mode.cannot_read.is_none().then_some("sync");
    can.map(OperationKind::as_str).chain(reads).collect()
}

/// What a mode cannot do, and why: each reason once.
fn does_not(mode: &Mode) -> Vec<String> {
    let mut said: Vec<&str> = Vec::new();
    let mut all = Vec::new();
    for exception in mode.except {
        let Exception { kind, part, why } = exception;
        match part {
            Some(part) => all.push(format!("{part} ({kind}): {why}")),
            None if said.contains(why) => {}
            None => {
                said.push(why);
                let same = mode.except.iter().filter(|other| other.why == *why);
                let kinds: Vec<&str> = same.map(|other| other.kind.as_str()).collect();
                all.push(format!("{}: {why}", kinds.join(", ")));
            }
        }
    }
    all.extend(
        mode.cannot_read
            .map(|why| format!("sync and fields: {why}")),
    );
    all
}

/// What is known of an integration's `base_url`.
fn base_url(facts: &Descriptor) -> String {
    match facts.base_url {
        BaseUrl::Required => "required".to_owned(),
        BaseUrl::Default(url) => format!("default {url}"),
        BaseUrl::Never(name) => format!("not taken: settings.{name} says where it is"),
        BaseUrl::UnlessSetting(name) => format!("required unless settings.{name} is given"),
        BaseUrl::UnlessCredential(name) => format!("required unless credentials.{name} is given"),
        BaseUrl::Target(names) => format!("required unless {} is given", names.join(" or ")),
    }
}

fn describe(platform: Platform) -> Value {
    json!({
        "platform_name": platform, "integration_category": platform.category(),
        "facts": facts_json(descriptor(platform)),
    })
}

fn facts_json(facts: &Descriptor) -> Value {
    let members = |set: &[Member]| -> Vec<Value> {
        set.iter()
            .map(|m| json!({ "name": m.name, "required": m.required, "help": m.help }))
            .collect()
    };
    let exception = |exception: &Exception| {
        json!({
            "operation": exception.kind, "part": exception.part, "why": exception.why,
        })
    };
    let modes = facts.modes.iter().map(|mode| {
        let sets: Vec<_> = mode.credentials.iter().map(|set| members(set)).collect();
        let can = OperationKind::ALL.iter().copied();
        let can: Vec<_> = can.filter(|kind| mode.cannot(*kind).is_none()).collect();
        json!({
            "auth_type": mode.auth_type, "name": mode.name, "credentials": sets, "operations": can,
            "exceptions": mode.except.iter().map(exception).collect::<Vec<_>>(),
            "cannot_read": mode.cannot_read, "duplicate_protection": mode.protection,
        })
    });
    json!({
        "modes": modes.collect::<Vec<_>>(), "settings": members(facts.settings),
        "base_url": base_url(facts),
        "limits": facts.limits,
    })
}
