//! What a platform's facts look like. The facts themselves are in each adapter's `DESCRIPTOR`; the
//! check of an integration against them is in `configured`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::rate::RateHeaders;
use super::{OperationKind, Strangers};
use crate::domain::{
    AuthType, HealthStatus, Integration, IntegrationId, IntegrationStatus, Platform,
};

/// One member of an integration's credentials or settings.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name in `credentials` or `settings`.
    pub name: &'static str,
    /// Whether it may be left out.
    pub required: bool,
    /// What it is, for `ticketwire platforms NAME` and for error messages.
    pub help: &'static str,
    /// Whether it says where the credentials are sent: another host in it needs them anew.
    pub is_destination: bool,
    /// Whether anybody may see it, though it is among the credentials: an address, a user's name,
    /// an id. Everything else there is a secret, and taken out of whatever the platform says.
    pub open: bool,
    /// Whether it is worth something only together with a secret of the integration's: one of the
    /// credentials, or the webhook secret.
    pub needs_secret: bool,
    /// What a value has to look like where a person gives one.
    pub shape: Shape,
}

/// What a member's value has to look like where a person gives one. A row that is older than a rule
/// is judged by the adapter alone.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A line of text without control characters. As a credential it is a token: visible ASCII
    /// characters in one piece, as an HTTP header can carry.
    Plain,
    /// A password: text without control characters, blanks at its ends kept.
    Password,
    /// A user's name: a line of text without a colon, which Basic authentication cannot carry
    /// (RFC 7617, section 2).
    User,
    /// An e-mail address.
    Email,
    /// An address, `https://` or `http://`.
    Url,
    /// An address that paths are appended to: one without a query.
    Base,
    /// An object.
    Object,
    /// True or false.
    Switch,
    /// Whatever this finds no fault with. The fault is said without the value.
    Checked(fn(&Value) -> Result<(), String>),
}

impl Member {
    const fn new(name: &'static str, required: bool, help: &'static str) -> Self {
        Self {
            name,
            required,
            help,
            is_destination: false,
            open: false,
            needs_secret: false,
            shape: Shape::Plain,
        }
    }

    /// One that must be there.
    #[must_use]
    pub const fn required(name: &'static str, help: &'static str) -> Self {
        Self::new(name, true, help)
    }

    /// One that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, help: &'static str) -> Self {
        Self::new(name, false, help)
    }

    /// The same, and no secret.
    #[must_use]
    pub const fn open(self) -> Self {
        Self { open: true, ..self }
    }

    /// The same for one that says where the credentials are sent: an address, a host, or a part of
    /// one.
    #[must_use]
    pub const fn destination(mut self) -> Self {
        self.is_destination = true;
        self
    }

    /// The same for one that is refused where the integration has no secret at all.
    #[must_use]
    pub const fn needing_secret(self) -> Self {
        Self {
            needs_secret: true,
            ..self
        }
    }

    /// The same with values of another shape than [`Shape::Plain`].
    #[must_use]
    pub const fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }
}

/// One way to use a platform: how it is authenticated to, what that needs, and what it can do so.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// Value of `auth_type`.
    pub auth_type: AuthType,
    /// What it is called, for people.
    pub name: &'static str,
    /// Alternatives: each a complete set of members; one of them must be there.
    pub credentials: &'static [&'static [Member]],
    /// What it cannot do; it does everything else.
    pub except: &'static [Exception],
    /// Why nothing can be read back, where that is so.
    pub cannot_read: Option<&'static str>,
    /// Duplicate protection in a sentence.
    pub protection: &'static str,
}

impl Mode {
    /// Why it cannot do any operation of a kind; `None` where it can do some.
    #[must_use]
    pub fn cannot(&self, kind: OperationKind) -> Option<&'static str> {
        let whole = |exception: &&Exception| exception.kind == kind && exception.part.is_none();
        self.except.iter().find(whole).map(|one| one.why)
    }
}

/// What a mode cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// Of which operation.
    pub kind: OperationKind,
    /// Which part of it, in a few words ("private comments"); `None`: all of it.
    pub part: Option<&'static str>,
    /// Why, and what can be done instead.
    pub why: &'static str,
}

impl Exception {
    /// All operations of a kind.
    #[must_use]
    pub const fn whole(kind: OperationKind, why: &'static str) -> Self {
        Self {
            kind,
            part: None,
            why,
        }
    }

    /// Some operations of a kind. The adapter refuses them itself.
    #[must_use]
    pub const fn part(kind: OperationKind, part: &'static str, why: &'static str) -> Self {
        Self {
            kind,
            part: Some(part),
            why,
        }
    }

    /// Everything but creating, for a mode that only posts.
    #[must_use]
    pub const fn all_but_create(why: &'static str) -> [Self; 6] {
        [
            Self::whole(OperationKind::Update, why),
            Self::whole(OperationKind::Status, why),
            Self::whole(OperationKind::Assign, why),
            Self::whole(OperationKind::Comment, why),
            Self::whole(OperationKind::Attach, why),
            Self::whole(OperationKind::Delete, why),
        ]
    }
}

/// What becomes of the platform's item when a ticket is deleted with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletes {
    /// It is closed: the driver makes a change of status of it.
    Closes,
    /// The platform is told that the ticket is deleted.
    Native,
}

/// A platform's facts: feeds validation, `ticketwire platforms` and the docs, so that they cannot
/// disagree.
#[derive(Debug)]
pub struct Descriptor {
    /// Which platform.
    pub platform: Platform,
    /// The ways to use it, each with an `auth_type` of its own.
    pub modes: &'static [Mode],
    /// What is not secret.
    pub settings: &'static [Member],
    /// Whether `base_url` must be given.
    pub base_url: BaseUrl,
    /// How it shows that it answered a stranger.
    pub strangers: Strangers,
    /// How its answers tell what is left of its budgets.
    pub rate: RateHeaders,
    /// What `custom_fields_mapping` may name there.
    pub custom_fields: CustomFields,
    /// What deleting a ticket is on the platform.
    pub deletes: Deletes,
    /// The member of a ticket's `external_ref` that is the id of its item which survives a change
    /// of the one that people quote ([`super::ItemRef::stable_id`]).
    pub stable_ref: &'static str,
    /// Characters of a description or comment that it shows; longer ones are cut before anything is
    /// made of them. `None`: it gets what there is.
    pub text_max: Option<usize>,
    /// What is wrong with a version of its interface (`api_version`) for such a credential; `None`:
    /// nothing, or versions are not taken.
    pub version_fault: fn(AuthType, &str) -> Option<&'static str>,
    /// Limits a person should know.
    pub limits: &'static [&'static str],
}

impl Descriptor {
    /// The mode of an integration that authenticates so.
    #[must_use]
    pub fn mode(&self, auth_type: AuthType) -> Option<&'static Mode> {
        self.modes.iter().find(|mode| mode.auth_type == auth_type)
    }
}

/// For [`Descriptor::version_fault`]: whatever is given.
#[must_use]
pub const fn any_version(_: AuthType, _: &str) -> Option<&'static str> {
    None
}

/// What an integration's `custom_fields_mapping` may name: fields of the platform that the worker
/// does not itself set.
#[derive(Debug, Clone, Copy)]
pub struct CustomFields {
    /// Whether this is one.
    pub allows: fn(&str) -> bool,
    /// What is one, for error messages.
    pub help: &'static str,
    /// Whether a second field of ours with the same name there would replace the first.
    pub one_each: bool,
}

/// What a platform wants of `base_url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseUrl {
    /// Must be given.
    Required,
    /// Has a vendor default; may be given.
    Default(&'static str),
    /// Required unless this credential member is present.
    UnlessCredential(&'static str),
    /// Required unless this setting is present.
    UnlessSetting(&'static str),
    /// Is itself what is sent to, with its query; required unless one of these members is present,
    /// a setting or a credential.
    Target(&'static [&'static str]),
    /// May not be given: this setting says where the platform is.
    Never(&'static str),
}

/// A setting every platform has: whether the commands of an integration whose credential is refused
/// fail (`fail`, the default), or wait until it is mended (`park`).
pub const ON_AUTH_FAILURE: &str = "on_auth_failure";

/// A setting every platform has: whether a command of unknown outcome, where nothing keeps it from
/// happening twice, fails (`fail`, the default), or is sent once more (`retry`).
pub const ON_UNKNOWN: &str = "on_unknown";

/// A setting every platform has: whether deliveries that nothing proves are taken, where there is
/// no secret (default false).
pub(super) const ACCEPT_UNSIGNED: &str = "accept_unsigned";

/// A setting every platform has: whether the description that comes back is written into the
/// ticket (default false): it may have lost something on its way there and back.
pub const SYNC_DESCRIPTION: &str = "sync_description";

/// A setting every platform has: whether a ticket is made of an item that nobody knew (default
/// false); `"all"`: also of one that another installation of Ticketwire made.
pub const IMPORT_UNKNOWN: &str = "import_unknown";

/// A setting every platform has: what becomes of a ticket whose item is deleted there: `keep` (the
/// default) or `close`.
pub const ON_EXTERNAL_DELETE: &str = "on_external_delete";

/// A setting every platform has: what becomes of a command where somebody has changed the same on
/// the platform after it was given: it fails (`newest`, the default), or is sent (`ours`).
pub const CONFLICT: &str = "conflict";

/// A setting every platform has: whether a comment that came from the platform is kept from being
/// sent back there (default true).
pub const LOOP_GUARD: &str = "loop_guard";

/// Settings of every platform that this version acts on.
const COMMON: [&str; 8] = [
    ACCEPT_UNSIGNED,
    ON_AUTH_FAILURE,
    ON_UNKNOWN,
    SYNC_DESCRIPTION,
    IMPORT_UNKNOWN,
    ON_EXTERNAL_DELETE,
    CONFLICT,
    LOOP_GUARD,
];

/// Settings that the contract has for every platform, and that this version does not act on. They
/// are taken, and the answer says that they do nothing yet.
const PROMISED: [&str; 6] = [
    "status_map",
    "priority_map",
    "category_map",
    "users",
    "internal_comments",
    "push_deletes",
];

impl Descriptor {
    /// The setting of this name, where the platform has one of its own.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&'static Member> {
        self.settings.iter().find(|member| member.name == name)
    }

    /// The credential members of a way to authenticate, of all its alternatives.
    pub(super) fn credentials_of(
        &self,
        auth_type: AuthType,
    ) -> impl Iterator<Item = &'static Member> + Clone {
        let modes = self
            .modes
            .iter()
            .filter(move |mode| mode.auth_type == auth_type);
        modes.flat_map(|mode| mode.credentials.iter().flat_map(|set| set.iter()))
    }

    /// The credential member of this name, of whatever way to authenticate.
    pub(super) fn any_credential(&self, name: &str) -> Option<&'static Member> {
        let sets = self.modes.iter().flat_map(|mode| mode.credentials);
        sets.flat_map(|set| set.iter()).find(|m| m.name == name)
    }

    /// Whether the settings may have a member of this name.
    #[must_use]
    pub fn takes_setting(&self, name: &str) -> bool {
        self.setting(name).is_some() || COMMON.contains(&name) || self.only_promises(name)
    }

    /// Whether a setting is one of the contract's that this version does not act on.
    pub(super) fn only_promises(&self, name: &str) -> bool {
        self.setting(name).is_none() && PROMISED.contains(&name)
    }

    /// The names that the settings may have, for suggestions.
    pub(super) fn setting_names(&self) -> impl Iterator<Item = &'static str> {
        let own = self.settings.iter().map(|member| member.name);
        own.chain(COMMON).chain(PROMISED)
    }
}

/// What is wrong with a `custom_fields_mapping`, by field. A row that has a fault nevertheless is
/// older than this check: the adapter then leaves the field out.
#[must_use]
pub fn mapping_faults(
    descriptor: &Descriptor,
    mapping: &Map<String, Value>,
) -> BTreeMap<String, String> {
    let mut faults = BTreeMap::new();
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (ours, theirs) in mapping {
        let fault = match theirs.as_str() {
            None => format!(
                "must be the name of a field of {}, as text",
                descriptor.platform
            ),
            Some(theirs) if !(descriptor.custom_fields.allows)(theirs) => format!(
                "cannot be mapped to {theirs:?}: name {}",
                descriptor.custom_fields.help
            ),
            Some(theirs) => match taken.insert(theirs, ours) {
                Some(other) if descriptor.custom_fields.one_each => format!(
                    "is mapped to {theirs:?}, as {other:?} is: one of the two would be lost"
                ),
                Some(_) | None => continue,
            },
        };
        faults.insert(format!("custom_fields_mapping.{ours}"), fault);
    }
    faults
}

/// Where an integration sends its credentials, by the field that says so: the origin of an address,
/// else what is there.
fn destinations(
    descriptor: &Descriptor,
    settings: &Map<String, Value>,
    base_url: Option<&str>,
) -> BTreeMap<String, String> {
    let base_url = base_url.or(match descriptor.base_url {
        BaseUrl::Default(vendors) => Some(vendors),
        BaseUrl::Required
        | BaseUrl::UnlessCredential(_)
        | BaseUrl::UnlessSetting(_)
        | BaseUrl::Target(_)
        | BaseUrl::Never(_) => None,
    });
    let mut found = BTreeMap::new();
    if let Some(text) = base_url {
        found.insert("base_url".to_owned(), origin(text));
    }
    for member in descriptor.settings.iter().filter(|m| m.is_destination) {
        let origin = match settings.get(member.name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => origin(text),
            Some(other) => other.to_string(),
        };
        found.insert(format!("settings.{}", member.name), origin);
    }
    found
}

/// Scheme, host and port of an address; of a part of one, itself.
fn origin(text: &str) -> String {
    let address = url::Url::parse(text.trim())
        .ok()
        .filter(|url| url.host_str().is_some());
    address.map_or_else(
        || text.trim().to_lowercase(),
        |url| url.origin().ascii_serialization(),
    )
}

/// The fields by which credentials would be sent to another place than before; the fault says what
/// to do about it. What is stored was given to whom it was meant for, and nobody who may change an
/// address could read it.
#[must_use]
pub fn moved(
    descriptor: &Descriptor,
    (settings, base_url): (&Map<String, Value>, Option<&str>),
    (new_settings, new_base_url): (&Map<String, Value>, Option<&str>),
) -> BTreeMap<String, String> {
    let before = destinations(descriptor, settings, base_url);
    let after = destinations(descriptor, new_settings, new_base_url);
    let fields = before.keys().chain(after.keys());
    fields
        .filter(|field| before.get(*field) != after.get(*field))
        .map(|field| {
            let fault = "leads elsewhere than before (another scheme, host or port), and the \
                         stored credentials would be sent there; give credentials in the same \
                         update";
            (field.clone(), fault.to_owned())
        })
        .collect()
}

/// An integration with nothing but what an adapter is built from.
#[must_use]
pub fn blank(
    platform: Platform,
    auth_type: AuthType,
    settings: &Map<String, Value>,
    base_url: Option<&str>,
) -> Integration {
    Integration {
        id: IntegrationId::new(uuid::Uuid::nil()),
        organization_id: None,
        name: String::new(),
        platform: Some(platform),
        platform_name: platform.to_string(),
        category: None,
        enabled: true,
        status: IntegrationStatus::Pending,
        auth_type,
        base_url: base_url.map(str::to_owned),
        api_version: None,
        settings: settings.clone(),
        credentials_sealed: None,
        webhook_secret_sealed: None,
        expires_at: None,
        supports_categories: Vec::new(),
        supports_priorities: Vec::new(),
        department_mapping: Map::new(),
        custom_fields_mapping: Map::new(),
        maintenance_window_start: None,
        maintenance_window_end: None,
        rate_limit_per_hour: None,
        default_priority: 100,
        routing_rules: std::sync::Arc::default(),
        health: HealthStatus::Unknown,
        parked_at: None,
        auto_disable_on_error: false,
        failure_threshold: 5,
        last_sync_at: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::platforms::descriptor;

    fn all() -> impl Iterator<Item = &'static Descriptor> {
        let names = Platform::names();
        let platforms: Vec<Platform> = names.split(", ").filter_map(Platform::parse).collect();
        assert!(platforms.len() > 10, "{names}");
        platforms.into_iter().map(descriptor)
    }

    #[test]
    fn every_setting_that_could_be_a_host_is_a_destination() {
        // Shown to people; no credential is sent there.
        const SHOWN: [&str; 3] = ["ticket_url", "message_id_domain", "reply_domain"];
        let parts = ["url", "host", "domain", "endpoint", "server", "address_of"];
        let mut seen = 0;
        for facts in all() {
            for member in facts.settings {
                let name = member.name;
                if parts.iter().any(|part| name.contains(part)) && !SHOWN.contains(&name) {
                    assert!(member.is_destination, "{}: settings.{name}", facts.platform);
                    seen += 1;
                }
            }
        }
        assert!(seen >= 3, "{seen}");
    }

    #[test]
    fn another_origin_is_another_place_and_another_path_is_not() {
        let jira = descriptor(Platform::Jira);
        let slack = descriptor(Platform::Slack);
        let none = Map::new();
        let fields = |facts: &Descriptor, before: Option<&str>, after: Option<&str>| {
            moved(facts, (&none, before), (&none, after)).len()
        };
        for (before, after) in [
            (Some("https://a.test"), Some("https://a.test/jira")),
            (Some("https://a.test"), Some("HTTPS://A.test:443/")),
            (None, None),
        ] {
            assert_eq!(fields(jira, before, after), 0, "{before:?} {after:?}");
        }
        for (before, after) in [
            (Some("https://a.test"), Some("https://b.test")),
            (Some("https://a.test"), Some("http://a.test")),
            (Some("https://a.test"), Some("https://a.test:8443")),
            (Some("https://a.test"), Some("https://a.test.evil.test")),
            (Some("https://a.test"), Some("https://a.test@evil.test")),
            (Some("https://a.test"), None),
            (None, Some("https://a.test")),
        ] {
            assert_eq!(fields(jira, before, after), 1, "{before:?} {after:?}");
        }
        assert_eq!(
            fields(slack, None, Some("https://slack.com/api/")),
            0,
            "the default said"
        );
        assert_eq!(fields(slack, None, Some("https://slack.test/api")), 1);
        let token = json!({ "token_url": "https://evil.test/token", "project_key": "B" });
        let project = json!({ "project_key": "A" });
        let both = moved(
            jira,
            (project.as_object().unwrap(), None),
            (token.as_object().unwrap(), None),
        );
        assert_eq!(both.keys().collect::<Vec<_>>(), ["settings.token_url"]);
        let odd = json!({ "token_url": ["x"] });
        assert_eq!(
            moved(jira, (&none, None), (odd.as_object().unwrap(), None)).len(),
            1
        );
    }
}
