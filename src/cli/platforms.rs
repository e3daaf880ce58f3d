//! `ticketwire platforms`

use clap::Args;
use serde_json::{Value, json};

use super::{Context, Failed, output};
use crate::domain::Platform;
use crate::platforms::{BaseUrl, Descriptor, Exception, Member, Mode, OperationKind, descriptor};

/// What is known of each platform: category, authentication, members, operations, duplicate protection, limits.
#[derive(Args)]
pub(super) struct Platforms {
    /// One platform, in full
    name: Option<String>,
}

impl Platforms {
    pub(super) fn execute(self, context: &Context) -> Result<(), Failed> {
        match self.name {
            None => list(context),
            Some(name) => {
                let platform = Platform::parse(&name.to_lowercase()).ok_or_else(|| {
                    Failed::Usage(format!(
                        "{name:?} is no platform; they are {}",
                        Platform::names()
                    ))
                })?;
                show(context, platform)
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
    let rows: Vec<Vec<String>> = Platform::ALL
        .iter()
        .map(|platform| {
            let modes = descriptor(*platform).map_or(&[][..], |facts| facts.modes);
            let mut protections: Vec<&str> = modes.iter().map(|mode| mode.protection).collect();
            protections.dedup();
            vec![
                platform.to_string(),
                platform.category().to_string(),
                if modes.is_empty() {
                    "not written yet".to_owned()
                } else {
                    protections.join(" · ")
                },
            ]
        })
        .collect();
    Ok(output::table(
        &["PLATFORM", "CATEGORY", "DUPLICATE PROTECTION"],
        &rows,
    )?)
}

fn show(context: &Context, platform: Platform) -> Result<(), Failed> {
    if context.json {
        return Ok(output::json(&describe(platform))?);
    }
    output::line(&format!("{platform} ({})", platform.category()))?;
    let Some(facts) = descriptor(platform) else {
        return Ok(output::line(
            "  its adapter is not written yet: integration.create fails with unsupported_platform",
        )?);
    };
    let member = |member: &Member| {
        let need = if member.required {
            "required"
        } else {
            "optional"
        };
        vec![
            String::new(),
            member.name.to_owned(),
            need.to_owned(),
            member.help.to_owned(),
        ]
    };
    for mode in facts.modes {
        for set in mode.credentials {
            output::line(&format!(
                "\nauth_type {} ({}): credentials",
                mode.auth_type, mode.name
            ))?;
            let rows: Vec<Vec<String>> = set.iter().map(member).collect();
            output::table(&[" ", "MEMBER", "", ""], &rows)?;
        }
        abilities(mode)?;
    }
    output::line("\nsettings")?;
    let rows: Vec<Vec<String>> = facts.settings.iter().map(member).collect();
    output::table(&[" ", "MEMBER", "", ""], &rows)?;
    output::line("")?;
    for limit in facts.limits {
        output::line(&format!("limit: {limit}"))?;
    }
    Ok(())
}

/// What a mode can do, and what not.
fn abilities(mode: &Mode) -> Result<(), Failed> {
    let can = OperationKind::ALL.iter().copied();
    let can: Vec<&str> = can
        .filter(|kind| mode.cannot(*kind).is_none())
        .map(OperationKind::as_str)
        .collect();
    output::line(&format!("  does: {}", can.join(", ")))?;
    let mut told: Vec<&str> = Vec::new();
    for exception in mode.except {
        let Exception { kind, part, why } = exception;
        match part {
            Some(part) => output::line(&format!("  not: {part} ({kind}): {why}"))?,
            None if told.contains(why) => {}
            None => {
                told.push(why);
                let all = mode.except.iter().filter(|other| other.why == *why);
                let kinds: Vec<&str> = all.map(|other| other.kind.as_str()).collect();
                output::line(&format!("  not: {}: {why}", kinds.join(", ")))?;
            }
        }
    }
    if let Some(why) = mode.cannot_read {
        output::line(&format!("  not: sync and fields: {why}"))?;
    }
    Ok(output::line(&format!(
        "  duplicate protection: {}",
        mode.protection
    ))?)
}

fn describe(platform: Platform) -> Value {
    let facts = descriptor(platform);
    json!({
        "platform_name": platform, "integration_category": platform.category(), "available": facts.is_some(),
        "facts": facts.map(facts_json),
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
    let base_url = match facts.base_url {
        BaseUrl::Required => "required".to_owned(),
        BaseUrl::Default(url) => format!("default {url}"),
        BaseUrl::Never(name) => format!("not taken: settings.{name} says where it is"),
        BaseUrl::UnlessSetting(name) => format!("required unless settings.{name} is given"),
        BaseUrl::UnlessCredential(name) => format!("required unless credentials.{name} is given"),
        BaseUrl::Target(names) => format!("required unless {} is given", names.join(" or ")),
    };
    json!({
        "modes": modes.collect::<Vec<_>>(), "settings": members(facts.settings), "base_url": base_url,
        "limits": facts.limits,
    })
}
