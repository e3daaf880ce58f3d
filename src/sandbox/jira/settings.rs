//! What can be set at a Jira site.

use serde::{Deserialize, Serialize};

/// The settings of one site; `POST /_sandbox/{site}/settings` merges members into them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Search finds an issue only so long after its creation. Everything read by id or key is current.
    pub(super) search_lag_ms: u64,
    /// Fields a create must set beside project, type and summary.
    pub(super) required_fields: Vec<String>,
    /// Fields that the create and edit screens lack.
    pub(super) fields_not_on_screen: Vec<String>,
    /// Names, highest first.
    pub(super) priorities: Vec<String>,
    /// Names; `Sub-task` is a subtask type.
    pub(super) issue_types: Vec<String>,
    /// Accounts.
    pub(super) users: Vec<User>,
    /// Whether `known+NAME@example.test` is an assignable account `sandbox:NAME` for every NAME.
    pub(super) known_users: bool,
    /// Whether answers leave out e-mail addresses, as profiles that hide them do.
    pub(super) hide_emails: bool,
    /// Time zone in `/myself`.
    pub(super) time_zone: String,
    /// Which transitions there are.
    pub(super) workflow: Workflow,
    /// Whether transitions have a screen. Without one they have no fields, a comment that rides along is dropped without
    /// a word, and `Done` sets its resolution itself: a new project of Jira's is so.
    pub(super) transition_screens: bool,
    /// Whether `expand=properties` shows the properties of comments.
    pub(super) comment_properties: bool,
    /// Whether who is not let in is answered as a stranger (an empty list, "not found", and a header that tells), not 401.
    pub(super) answers_strangers: bool,
    /// If not empty, only these are accepted: `user:secret` for Basic, the token for Bearer.
    pub(super) credentials: Vec<String>,
    /// Life of an access token made by `/oauth/token`.
    pub(super) access_token_seconds: i64,
    /// Custom fields.
    pub(super) custom_fields: Vec<CustomField>,
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
            required_fields: Vec::new(),
            fields_not_on_screen: Vec::new(),
            priorities: strings(&["Highest", "High", "Medium", "Low", "Lowest"]),
            issue_types: strings(&["Bug", "Story", "Task", "Sub-task"]),
            users: Vec::new(),
            known_users: true,
            hide_emails: false,
            time_zone: "Etc/UTC".into(),
            workflow: Workflow::Open,
            transition_screens: true,
            comment_properties: true,
            answers_strangers: false,
            credentials: Vec::new(),
            access_token_seconds: 3600,
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

/// An account that can be found and assigned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) account_id: String,
    pub(super) email: String,
    #[serde(default)]
    pub(super) display_name: String,
    /// Whether issues can be assigned to it.
    #[serde(default = "yes")]
    pub(super) assignable: bool,
}

const fn yes() -> bool {
    true
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
    pub(super) fn user(&self, account_id: &str) -> Option<User> {
        let named = self.users.iter().find(|u| u.account_id == account_id);
        named.cloned().or_else(|| {
            let name = account_id.strip_prefix("sandbox:")?;
            self.known_users.then(|| known_user(name))
        })
    }

    /// The accounts that a query finds: by the beginning of address or display name.
    pub(super) fn users_like(&self, query: &str) -> Vec<User> {
        let wanted = query.to_lowercase();
        let begins = |text: &str| text.to_lowercase().starts_with(&wanted);
        let mut found: Vec<_> = self
            .users
            .iter()
            .filter(|u| begins(&u.email) || begins(&u.display_name))
            .cloned()
            .collect();
        let known = wanted
            .strip_prefix("known+")
            .and_then(|rest| rest.strip_suffix("@example.test"));
        if let Some(name) = known
            && self.known_users
            && !name.is_empty()
        {
            found.push(known_user(name));
        }
        found
    }
}

fn known_user(name: &str) -> User {
    User {
        account_id: format!("sandbox:{name}"),
        email: format!("known+{name}@example.test"),
        display_name: name.to_owned(),
        assignable: true,
    }
}
