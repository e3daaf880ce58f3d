//! `ticketwire platforms`

use clap::Args;
use serde_json::{Value, json};

use super::{Context, Failed, output};
use crate::domain::Platform;
use crate::platforms::{BaseUrl, Descriptor, Member, descriptor};

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
            let state = descriptor(*platform).map_or("not written yet", |facts| facts.protection);
            vec![
                platform.to_string(),
                platform.category().to_string(),
                state.to_owned(),
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
    for scheme in facts.auth {
        for set in scheme.alternatives {
            output::line(&format!("\nauth_type {}: credentials", scheme.auth_type))?;
            let rows: Vec<Vec<String>> = set.iter().map(member).collect();
            output::table(&[" ", "MEMBER", "", ""], &rows)?;
        }
    }
    output::line("\nsettings")?;
    let rows: Vec<Vec<String>> = facts.settings.iter().map(member).collect();
    output::table(&[" ", "MEMBER", "", ""], &rows)?;
    let operations: Vec<&str> = facts.operations.iter().map(|kind| kind.as_str()).collect();
    output::line(&format!("\noperations: {}", operations.join(", ")))?;
    output::line(&format!("duplicate protection: {}", facts.protection))?;
    for limit in facts.limits {
        output::line(&format!("limit: {limit}"))?;
    }
    Ok(())
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
    let auth: Vec<Value> = facts
        .auth
        .iter()
        .map(|scheme| {
            let sets: Vec<_> = scheme.alternatives.iter().map(|set| members(set)).collect();
            json!({ "auth_type": scheme.auth_type, "credentials": sets })
        })
        .collect();
    let base_url = match facts.base_url {
        BaseUrl::Required => "required".to_owned(),
        BaseUrl::Default(url) => format!("default {url}"),
        BaseUrl::UnlessSetting(name) => format!("required unless settings.{name} is given"),
        BaseUrl::UnlessCredential(name) => format!("required unless credentials.{name} is given"),
    };
    json!({
        "auth": auth, "settings": members(facts.settings), "base_url": base_url, "operations": facts.operations,
        "duplicate_protection": facts.protection, "limits": facts.limits,
    })
}
