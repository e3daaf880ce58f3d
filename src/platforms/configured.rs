//! The check of what a person configures. It goes by the platform's own list of members, and then
//! builds the adapter: what a command would meet at sending is told when it is given. All faults
//! are told at once, each with its field and its remedy.
//!
//! What is given is judged by every rule. What is stored is judged by the adapter alone, so that a
//! row that is older than a rule still works, and can be changed in something else.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::Url;

use super::descriptor::ACCEPT_UNSIGNED;
use super::misplaced::{address_fault, is_secret_name};
use super::{
    BaseUrl, CONFLICT, Descriptor, EgressPolicy, ErrorClass, IMPORT_UNKNOWN, LOOP_GUARD, Member,
    Mode, ON_AUTH_FAILURE, ON_EXTERNAL_DELETE, ON_UNKNOWN, SYNC_DESCRIPTION, Shape, connect,
};
use crate::domain::{Integration, MASK, OnUnknown, Platform, nearest, shown};
use crate::secrets::{Credentials, SHORTEST};

/// Nothing that a platform hands out is shorter.
const SECRET_MIN: usize = 3;
/// Most rounds in which the adapter is built to find one more fault.
const ROUNDS_MAX: usize = 16;

/// What of an integration is given anew.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Whether the credentials are.
    pub credentials: bool,
    /// The settings that are; null takes one away.
    pub settings: &'a Map<String, Value>,
    /// Whether `base_url` is.
    pub base_url: bool,
    /// Whether the webhook secret is, or is taken away.
    pub webhook_secret: bool,
    /// The rules by which its addresses are called; `None`: what is not given is not judged by
    /// them.
    pub egress: Option<&'a EgressPolicy>,
}

impl Given<'_> {
    /// Whether requests may be sent to an address, as far as that can be told without looking its
    /// name up.
    fn reaches(&self, shape: Shape, value: &Value) -> Result<(), String> {
        let text = match shape {
            Shape::Url | Shape::Base => value.as_str(),
            Shape::Plain
            | Shape::Password
            | Shape::User
            | Shape::Email
            | Shape::Object
            | Shape::Switch
            | Shape::Checked(_) => None,
        };
        let url = text.and_then(|text| Url::parse(text).ok());
        match (self.egress, url) {
            (Some(egress), Some(url)) => egress.check(&url).map_err(|refused| refused.public),
            (None, _) | (_, None) => Ok(()),
        }
    }
}

/// With what the paths of a platform's pages begin: an address that is copied from a browser leads
/// to one, and paths of the API appended to it lead nowhere.
const fn pages_of(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Jira => &[
            "/browse/",
            "/secure/",
            "/projects/",
            "/issues/",
            "/jira/software/",
            "/jira/core/",
            "/jira/servicedesk/",
            "/jira/dashboards/",
            "/jira/your-work/",
            "/jira/for-you/",
            "/rest/api/",
        ],
        Platform::Zendesk => &["/agent/", "/hc/", "/admin/", "/api/v2/"],
        Platform::Servicenow => &["/now/", "/nav_to.do/", "/api/now/"],
        Platform::Freshdesk => &["/a/", "/support/", "/api/v2/"],
        // Regions differ by host alone.
        Platform::Sms => &["/2010-04-01"],
        Platform::Salesforce => &["/lightning/", "/services/data/"],
        Platform::Hubspot
        | Platform::Slack
        | Platform::Teams
        | Platform::Email
        | Platform::Zoom
        | Platform::Asana
        | Platform::Trello
        | Platform::Github
        | Platform::Webhook => &[],
    }
}

/// Why an address is none of a site, and what it should be.
fn page_fault(platform: Platform, text: &str) -> Result<(), String> {
    let Ok(mut url) = Url::parse(text) else {
        return Ok(());
    };
    let path = format!("{}/", url.path().trim_end_matches('/'));
    let found = pages_of(platform).iter().filter_map(|page| path.find(page));
    let Some(at) = found.min() else { return Ok(()) };
    url.set_path(path.get(..at).unwrap_or_default());
    url.set_query(None);
    url.set_fragment(None);
    Err(format!(
        "is the address of a page, not of the site: give {}",
        url.as_str().trim_end_matches('/')
    ))
}

/// Faults by field; of one field, the first that is found.
#[derive(Default)]
struct Found(BTreeMap<String, String>);

impl Found {
    fn add(&mut self, field: impl Into<String>, fault: impl Into<String>) {
        self.0.entry(field.into()).or_insert_with(|| fault.into());
    }

    fn judge(&mut self, field: impl Into<String>, judged: Result<(), String>) {
        if let Err(fault) = judged {
            self.add(field, fault);
        }
    }
}

/// Checks an integration as it would be stored, with its credentials open. Returns every fault at
/// once, by field.
#[must_use]
pub fn faults(
    descriptor: &Descriptor,
    row: &Integration,
    credentials: &Map<String, Value>,
    given: &Given<'_>,
) -> BTreeMap<String, String> {
    let mut found = Found::default();
    let auth_type = row.auth_type;
    let mode = descriptor.mode(auth_type);
    match mode {
        None => {
            let taken = listed(descriptor.modes.iter().map(|mode| mode.auth_type.as_str()));
            let platform = descriptor.platform;
            let fault = format!("{platform} does not take {auth_type}; it takes {taken}");
            found.add("auth_type", fault);
        }
        Some(mode) => {
            missing_credentials(descriptor, mode, credentials, &mut found);
            if given.credentials {
                credential_faults(descriptor, mode, credentials, given, &mut found);
            }
        }
    }
    setting_faults(descriptor, row, credentials, given, &mut found);
    secret_faults(descriptor, row, credentials, given, &mut found);
    url_faults(descriptor, row, credentials, given, &mut found);
    if mode.is_some() {
        adapter_faults(descriptor, row, credentials, &mut found);
    }
    found.0
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Whether a value is there and says something.
fn is_filled(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(_) => true,
    }
}

fn missing_credentials(
    descriptor: &Descriptor,
    mode: &Mode,
    credentials: &Map<String, Value>,
    found: &mut Found,
) {
    let lacks = |member: &&Member| member.required && !is_filled(credentials.get(member.name));
    // The alternative that is nearest to complete says what is missing.
    let nearest = mode
        .credentials
        .iter()
        .min_by_key(|set| set.iter().filter(lacks).count());
    for member in nearest.into_iter().flat_map(|set| set.iter()).filter(lacks) {
        let (platform, auth_type) = (descriptor.platform, mode.auth_type);
        let fault = format!(
            "is required for {platform} with {auth_type}: {}",
            member.help
        );
        found.add(format!("credentials.{}", member.name), fault);
    }
}

fn credential_faults(
    descriptor: &Descriptor,
    mode: &Mode,
    credentials: &Map<String, Value>,
    given: &Given<'_>,
    found: &mut Found,
) {
    let members = || descriptor.credentials_of(mode.auth_type);
    for (name, value) in credentials {
        let field = format!("credentials.{}", shown(name));
        if let Some(member) = members().find(|member| member.name == name) {
            if !value.is_null() {
                let judged = judge(member, value, true);
                found.judge(
                    field,
                    judged.and_then(|()| given.reaches(member.shape, value)),
                );
            }
        } else if let Some(setting) = descriptor.setting(name) {
            // Older producers put settings there; they are taken as what they are.
            if !value.is_null() {
                let judged = judge_setting(setting, value);
                found.judge(
                    field,
                    judged.and_then(|()| given.reaches(setting.shape, value)),
                );
            }
        } else if !descriptor.takes_setting(name) {
            let (platform, auth_type) = (descriptor.platform, mode.auth_type);
            let names = members().map(|member| member.name);
            let taken = listed(names.clone());
            let fault = format!(
                "is not known for {platform} with {auth_type}; {}it takes {taken}",
                nearest(name, names)
                    .map_or_else(String::new, |near| format!("did you mean {near}? "))
            );
            found.add(field, fault);
        }
    }
}

fn setting_faults(
    descriptor: &Descriptor,
    row: &Integration,
    credentials: &Map<String, Value>,
    given: &Given<'_>,
    found: &mut Found,
) {
    for (name, value) in given.settings.iter().filter(|(_, value)| !value.is_null()) {
        let field = format!("settings.{}", shown(name));
        if let Some(member) = descriptor.setting(name) {
            let judged = judge_setting(member, value);
            found.judge(
                field,
                judged.and_then(|()| given.reaches(member.shape, value)),
            );
        } else if descriptor.takes_setting(name) {
            // Judged below, or not acted on.
        } else if descriptor.any_credential(name).is_some() || is_secret_name(name) {
            found.add(field, "belongs in credentials, which are encrypted");
        } else {
            let near = nearest(name, descriptor.setting_names());
            let fault = near.map_or_else(
                || {
                    let own = listed(descriptor.settings.iter().map(|member| member.name));
                    format!("is unknown; {} takes {own}", descriptor.platform)
                },
                |near| format!("is unknown; did you mean {near}?"),
            );
            found.add(field, fault);
        }
    }
    for member in descriptor.settings.iter().filter(|m| m.required) {
        let name = member.name;
        if !is_filled(row.settings.get(name)) && !is_filled(credentials.get(name)) {
            let fault = format!("is required: {}", member.help);
            found.add(format!("settings.{name}"), fault);
        }
    }
    let word = |name: &str, fits: fn(&str) -> bool, fault: &str, found: &mut Found| {
        if let Some(value) = row.settings.get(name)
            && !value.as_str().is_some_and(fits)
        {
            found.add(format!("settings.{name}"), fault);
        }
    };
    let parks = |text: &str| matches!(text, "fail" | "park");
    word(ON_AUTH_FAILURE, parks, "must be fail or park", found);
    let repeats = |text: &str| OnUnknown::parse(text).is_some();
    word(ON_UNKNOWN, repeats, "must be fail or retry", found);
    let keeps = |text: &str| matches!(text, "keep" | "close");
    word(ON_EXTERNAL_DELETE, keeps, "must be keep or close", found);
    let wins = |text: &str| matches!(text, "newest" | "ours");
    word(CONFLICT, wins, "must be newest or ours", found);
    for (name, takes, fits) in [
        (ACCEPT_UNSIGNED, "must be true or false", false),
        (SYNC_DESCRIPTION, "must be true or false", false),
        (LOOP_GUARD, "must be true or false", false),
        (IMPORT_UNKNOWN, "must be true, false or \"all\"", true),
    ] {
        let is_it = |value: &Value| value.is_boolean() || (fits && value == "all");
        if row.settings.get(name).is_some_and(|value| !is_it(value)) {
            found.add(format!("settings.{name}"), takes);
        }
    }
}

/// Settings that are worth nothing without a secret. One that is stored is judged where the secrets
/// change.
fn secret_faults(
    descriptor: &Descriptor,
    row: &Integration,
    credentials: &Map<String, Value>,
    given: &Given<'_>,
    found: &mut Found,
) {
    let secrets = descriptor.credentials_of(row.auth_type).filter(|m| !m.open);
    let has_secret = row.webhook_secret_sealed.is_some()
        || secrets
            .into_iter()
            .any(|m| is_filled(credentials.get(m.name)));
    if has_secret {
        return;
    }
    let changes = given.credentials || given.webhook_secret;
    for member in descriptor.settings.iter().filter(|m| m.needs_secret) {
        let is_given = changes || given.settings.contains_key(member.name);
        if is_given && is_filled(row.settings.get(member.name)) {
            let fault = "needs a secret of the integration, and there is none: give a \
                         webhook_secret in the same command, or leave this setting out";
            found.add(format!("settings.{}", member.name), fault);
        }
    }
}

fn url_faults(
    descriptor: &Descriptor,
    row: &Integration,
    credentials: &Map<String, Value>,
    given: &Given<'_>,
    found: &mut Found,
) {
    let is_given = given.base_url;
    let lacks =
        |name: &str| !is_filled(row.settings.get(name)) && !is_filled(credentials.get(name));
    let (is_needed, shape) = match descriptor.base_url {
        BaseUrl::Required => (true, Shape::Base),
        BaseUrl::Default(_) => (false, Shape::Base),
        BaseUrl::UnlessCredential(name) => (!is_filled(credentials.get(name)), Shape::Base),
        BaseUrl::UnlessSetting(name) => (lacks(name), Shape::Base),
        BaseUrl::Target(names) => (names.iter().all(|name| lacks(name)), Shape::Url),
        BaseUrl::Never(_) => (false, Shape::Base),
    };
    if let (BaseUrl::Never(name), true, true) =
        (descriptor.base_url, is_given, row.base_url.is_some())
    {
        let platform = descriptor.platform;
        let fault = format!("is not for {platform}: give settings.{name} in its place");
        found.add("base_url", fault);
    }
    match row.base_url.as_deref() {
        None if is_needed => {
            found.add(
                "base_url",
                format!("is required for {}", descriptor.platform),
            );
        }
        Some(text) if is_given => {
            let judged = address_fault(text).map_or(Ok(()), Err);
            // A page is named first: without it the other faults of a pasted address are gone.
            let judged = judged
                .and_then(|()| page_fault(descriptor.platform, text))
                .and_then(|()| judge_url(text, shape))
                .and_then(|()| given.reaches(shape, &text.into()));
            found.judge("base_url", judged);
        }
        None | Some(_) => {}
    }
}

/// Builds the adapter. It stops at the first fault, so what is at fault is put right by something
/// harmless, and it is built again, until it finds nothing new.
fn adapter_faults(
    descriptor: &Descriptor,
    row: &Integration,
    credentials: &Map<String, Value>,
    found: &mut Found,
) {
    let mut row = row.clone();
    let mut credentials = credentials.clone();
    for _ in 0..ROUNDS_MAX {
        for field in found.0.keys() {
            mend(descriptor, field, &mut row, &mut credentials);
        }
        let before = found.0.len();
        if let Err(error) = connect(&row, &Credentials::new(credentials.clone()))
            && let ErrorClass::Validation { fields } = error.class
        {
            for (field, fault) in fields {
                found.add(field, fault);
            }
        }
        if found.0.len() == before {
            return;
        }
    }
}

/// Puts something harmless in the place of what is at fault: nothing, where that may be missing.
fn mend(
    descriptor: &Descriptor,
    field: &str,
    row: &mut Integration,
    credentials: &mut Map<String, Value>,
) {
    let harmless = |member: &Member| match member.shape {
        Shape::Email => "a@b.invalid",
        Shape::Url | Shape::Base => "https://b.invalid",
        Shape::Plain
        | Shape::Password
        | Shape::User
        | Shape::Object
        | Shape::Switch
        | Shape::Checked(_) => "X",
    };
    let put = |map: &mut Map<String, Value>, name: &str, member: Option<&Member>| match member
        .filter(|member| member.required)
    {
        Some(member) => drop(map.insert(name.to_owned(), harmless(member).into())),
        None => drop(map.remove(name)),
    };
    if let Some(name) = field.strip_prefix("credentials.") {
        let mut members = descriptor.credentials_of(row.auth_type);
        put(credentials, name, members.find(|m| m.name == name));
    } else if let Some(name) = field.strip_prefix("settings.") {
        // Of a mapping, one of its names may be at fault.
        let name = name.split_once('.').map_or(name, |(name, _)| name);
        let member = descriptor.setting(name);
        if member.is_some() {
            credentials.remove(name);
        }
        put(&mut row.settings, name, member);
    } else if field == "base_url" {
        row.base_url = Some("https://b.invalid".to_owned());
    } else if field == "api_version" {
        row.api_version = None;
    }
}

/// What is given and taken, and a person should know about: by field, with the remedy.
#[must_use]
pub fn warnings(
    descriptor: &Descriptor,
    row: &Integration,
    credentials: &Map<String, Value>,
    given: &Given<'_>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let secrets = descriptor.credentials_of(row.auth_type).filter(|m| !m.open);
    for member in secrets.filter(|_| given.credentials) {
        let text = credentials.get(member.name).and_then(Value::as_str);
        let is_short = text.is_some_and(|text| text.len() < SHORTEST);
        let warning = format!(
            "credentials.{} has fewer than {SHORTEST} characters, so it cannot be masked in \
             what the platform says back; give a longer one",
            member.name
        );
        if is_short && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    for (name, value) in given.settings {
        if !value.is_null() && descriptor.only_promises(name) {
            warnings.push(format!(
                "settings.{name} has no effect at {} in this version of Ticketwire",
                descriptor.platform
            ));
        }
    }
    warnings
}

/// Takes blanks from the ends of texts that cannot begin or end with one: everything but passwords.
/// Says whether there were any.
pub fn trim(
    map: &mut Map<String, Value>,
    member: impl Fn(&str) -> Option<&'static Member>,
) -> bool {
    let mut found = false;
    for (name, value) in map.iter_mut() {
        let Some(member) = member(name) else { continue };
        let is_text = match member.shape {
            Shape::Plain | Shape::User | Shape::Email | Shape::Url | Shape::Base => true,
            Shape::Password | Shape::Object | Shape::Switch | Shape::Checked(_) => false,
        };
        if let Value::String(text) = value
            && is_text
            && text.trim().len() < text.len()
        {
            *text = text.trim().to_owned();
            found = true;
        }
    }
    found
}

/// The credential member of a name, for [`trim`].
#[must_use]
pub fn credential(
    descriptor: &Descriptor,
    row: &Integration,
    name: &str,
) -> Option<&'static Member> {
    let mut members = descriptor.credentials_of(row.auth_type);
    members
        .find(|member| member.name == name)
        .or_else(|| descriptor.setting(name))
}

fn judge_setting(member: &Member, value: &Value) -> Result<(), String> {
    if let Some(fault) = value.as_str().and_then(address_fault) {
        return Err(fault);
    }
    judge(member, value, false)
}

fn judge(member: &Member, value: &Value, is_credential: bool) -> Result<(), String> {
    match (member.shape, value) {
        // What is shown of a secret, pasted back; or what was hidden before it was stored.
        (_, Value::String(text)) if text.contains(MASK) => {
            Err("is masked: give the value itself, not what is shown of it".to_owned())
        }
        (_, Value::String(text)) if text.trim().is_empty() => {
            let remedy = if member.required {
                ""
            } else {
                ", or leave it out"
            };
            Err(format!("is blank: give a value{remedy} ({})", member.help))
        }
        (Shape::Checked(check), value) => check(value),
        (Shape::Object, Value::Object(_)) | (Shape::Switch, Value::Bool(_)) => Ok(()),
        (Shape::Object, other) => Err(format!("must be an object, not {}", kind(other))),
        (Shape::Switch, other) => Err(format!("must be true or false, not {}", kind(other))),
        (shape, Value::String(text)) => judge_text(shape, text, is_credential && !member.open),
        (_, other) => Err(format!(
            "must be text, not {}: put it in quotes ({})",
            kind(other),
            member.help
        )),
    }
}

fn judge_text(shape: Shape, text: &str, is_secret: bool) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err("has a line break or another control character in it: remove it".to_owned());
    }
    let ok = |fits: bool, fault: &str| if fits { Ok(()) } else { Err(fault.to_owned()) };
    match shape {
        Shape::Plain if is_secret && text.chars().count() < SECRET_MIN => {
            ok(false, "is too short to be a secret: give the whole of it")
        }
        Shape::Plain if is_secret => ok(
            text.bytes().all(|byte| byte.is_ascii_graphic()),
            "has a blank or a character beyond ASCII in it, which no HTTP header can carry: \
             copy it anew",
        ),
        Shape::User => ok(
            !text.contains(':'),
            "must not contain a colon: Basic authentication cannot carry one",
        ),
        Shape::Email => {
            let parts = text.split_once('@');
            let is_part = |part: &str| {
                !part.is_empty() && !part.contains('@') && !part.contains(char::is_whitespace)
            };
            ok(
                parts.is_some_and(|(name, host)| is_part(name) && is_part(host)),
                "is no e-mail address, e.g. bot@example.org",
            )
        }
        Shape::Url | Shape::Base => judge_url(text, shape),
        Shape::Plain | Shape::Password | Shape::Object | Shape::Switch | Shape::Checked(_) => {
            Ok(())
        }
    }
}

fn judge_url(text: &str, shape: Shape) -> Result<(), String> {
    let fault = |text: &str| Err(text.to_owned());
    let Ok(url) = Url::parse(text) else {
        return fault("is not a URL, e.g. https://example.org");
    };
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return fault("must begin with https:// and name a host");
    }
    if url.fragment().is_some() {
        return fault("must not have a fragment (#…), which is never sent: remove it");
    }
    if matches!(shape, Shape::Base) && url.query().is_some() {
        return fault("must not have a query (?…), as paths are appended to it: remove it");
    }
    Ok(())
}

/// What a value is, for error messages.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
