//! What can be set at a Jira site.

use serde::{Deserialize, Serialize};

use super::super::kit;
use super::super::kit::magic::{People, Person};

/// The settings of one site; `POST /_sandbox/{site}/settings` merges members into them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::sandbox) struct Settings {
    /// Search finds an issue only so long after its creation. Everything read by id or key is
    /// current.
    pub(super) search_lag_ms: u64,
    /// How the pages of a search lie, where they do: a listing of them never ends.
    pub(super) search_lies: Option<Lie>,
    /// Fields a create must set beside project, type and summary.
    pub(super) required_fields: Vec<String>,
    /// Fields that the create and edit screens lack.
    pub(super) fields_not_on_screen: Vec<String>,
    /// Names, highest first.
    pub(super) priorities: Vec<String>,
    /// Names; `Sub-task` is a subtask type.
    pub(super) issue_types: Vec<String>,
    /// Accounts.
    pub(super) users: Vec<Person>,
    /// Whether `known+NAME@example.test` is an assignable account `sandbox:NAME` for every NAME.
    pub(super) known_users: bool,
    /// Whether answers leave out e-mail addresses, as profiles that hide them do.
    pub(super) hide_emails: bool,
    /// Time zone in `/myself`.
    pub(super) time_zone: String,
    /// Which of Jira's deployments the site is.
    pub(super) deployment: Deployment,
    /// Which transitions there are.
    pub(super) workflow: Workflow,
    /// Whether transitions have a screen. Without one they have no fields, a comment that rides
    /// along is dropped without a word, and `Done` sets its resolution itself: a new project of
    /// Jira's is so.
    pub(super) transition_screens: bool,
    /// Fields that the screens of transitions demand beside a resolution: texts.
    pub(super) transition_required: Vec<String>,
    /// Whether `expand=properties` shows the properties of comments.
    pub(super) comment_properties: bool,
    /// Whether who is not let in is answered as a stranger (an empty list, "not found", and a
    /// header that tells), not 401.
    pub(super) answers_strangers: bool,
    /// If not empty, only these are accepted: `user:secret` for Basic, the token for Bearer.
    pub(super) credentials: Vec<String>,
    /// Permissions that no account has.
    pub(super) lacks_permissions: Vec<String>,
    /// Life of an access token made by `/oauth/token`.
    pub(super) access_token_seconds: i64,
    /// Custom fields.
    pub(super) custom_fields: Vec<CustomField>,
    /// Who may register webhooks, and how they fare.
    pub(super) webhooks: kit::HookRules,
}

impl Default for Settings {
    fn default() -> Self {
        let field = |id: &str, name: &str, kind, options: &[&str]| CustomField {
            id: id.into(),
            name: name.into(),
            kind,
            options: options.iter().map(|&o| o.into()).collect(),
        };
        let strings = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        Self {
            search_lag_ms: 0,
            search_lies: None,
            required_fields: Vec::new(),
            fields_not_on_screen: Vec::new(),
            priorities: strings(&["Highest", "High", "Medium", "Low", "Lowest"]),
            issue_types: strings(&["Bug", "Story", "Task", "Sub-task"]),
            users: Vec::new(),
            known_users: true,
            hide_emails: false,
            time_zone: "Etc/UTC".into(),
            deployment: Deployment::AsCalled,
            workflow: Workflow::Open,
            transition_screens: true,
            transition_required: Vec::new(),
            comment_properties: true,
            answers_strangers: false,
            credentials: Vec::new(),
            lacks_permissions: Vec::new(),
            access_token_seconds: 3600,
            webhooks: kit::HookRules::default(),
            custom_fields: vec![
                field("customfield_10010", "Customer", FieldKind::Text, &[]),
                field("customfield_10011", "Steps", FieldKind::Textarea, &[]),
                field(
                    "customfield_10012",
                    "Region",
                    FieldKind::Select,
                    &["EU", "US"],
                ),
                field("customfield_10013", "Seats", FieldKind::Number, &[]),
                field("customfield_10014", "Due", FieldKind::Date, &[]),
                field(
                    "customfield_10015",
                    "Products",
                    FieldKind::MultiSelect,
                    &["Alpha", "Beta"],
                ),
            ],
        }
    }
}

/// How the pages of a search lie. A token leads on from each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lie {
    /// From the last to the first.
    Circle,
    /// Each is the first.
    Same,
    /// They are the first and the second in turn.
    Stale,
    /// Nothing is on them.
    Empty,
}

/// Which of Jira's deployments a site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Deployment {
    /// Both: version 3 is Cloud's, version 2 Data Center's, but to who logs in with an address.
    AsCalled,
    /// Its version 2 has text for documents, and not the old search.
    Cloud,
    /// There is no version 3.
    DataCenter,
}

/// Which transitions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Workflow {
    /// From every status to every other, as in Jira's simplified workflow.
    Open,
    /// To Do → In Progress → Done; Cancelled from both; Done and Cancelled → To Do.
    Strict,
    /// None: an account that may not transition sees an empty list.
    Locked,
}

/// A custom field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomField {
    /// `customfield_NNNNN`.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: FieldKind,
    /// Of select fields.
    #[serde(default)]
    pub(super) options: Vec<String>,
}

/// What a custom field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FieldKind {
    /// One line, at most 255 characters.
    Text,
    /// ADF on v3, text on v2.
    Textarea,
    Select,
    MultiSelect,
    Number,
    Date,
}

impl Settings {
    /// Who is there.
    pub(super) fn people(&self) -> People<'_> {
        People {
            listed: &self.users,
            with_known: self.known_users,
        }
    }
}

impl kit::Settings for Settings {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }
}
