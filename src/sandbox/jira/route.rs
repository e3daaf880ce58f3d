//! Which operation a request is, from method and path alone.

use super::super::call::Call;

/// The API version in the path. Data Center has only 2, and is recognised by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Data Center: text bodies, user names.
    V2,
    /// Cloud: ADF bodies, account ids.
    V3,
}

impl Version {
    pub(super) const fn digit(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// An operation with what its path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Token,
    AccessibleResources,
    Api(Version, Operation<'a>),
    Unknown,
}

/// An operation below `/rest/api/{version}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Myself,
    ServerInfo,
    MyPermissions,
    IssueTypes(&'a str),
    CreateFields(&'a str, &'a str),
    Project(&'a str),
    Priorities,
    AttachmentMeta,
    AssignableUsers,
    Create,
    Get(&'a str),
    Update(&'a str),
    Delete(&'a str),
    Assign(&'a str),
    Transitions(&'a str),
    Transition(&'a str),
    AddComment(&'a str),
    Comments(&'a str),
    Attach(&'a str),
    GetProperty(&'a str, &'a str),
    SetProperty(&'a str, &'a str),
    Search,
    /// Into another project.
    Move,
    /// The search that Cloud removed.
    RemovedSearch,
}

impl<'a> Route<'a> {
    pub(super) fn of(call: &'a Call) -> Self {
        let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
        let method = call.method.as_str();
        // The gateway's form, `/ex/jira/{cloudId}/rest/api/3/…`, is the same site.
        let segments = match segments.as_slice() {
            ["ex", "jira", _cloud_id, rest @ ..] => rest,
            all => all,
        };
        match (method, segments) {
            ("POST", ["oauth", "token"]) => Self::Token,
            ("GET", ["oauth", "token", "accessible-resources"]) => Self::AccessibleResources,
            (_, ["rest", "api", version, rest @ ..]) => {
                let version = match *version {
                    "2" => Version::V2,
                    "3" => Version::V3,
                    _ => return Self::Unknown,
                };
                match Operation::of(method, version, rest) {
                    Some(operation) => Self::Api(version, operation),
                    None => Self::Unknown,
                }
            }
            _ => Self::Unknown,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::AccessibleResources => "accessible_resources",
            Self::Api(_, operation) => operation.name(),
            Self::Unknown => "unknown",
        }
    }
}

impl<'a> Operation<'a> {
    fn of(method: &str, version: Version, rest: &[&'a str]) -> Option<Self> {
        Some(match (method, rest) {
            ("GET", ["myself"]) => Self::Myself,
            ("GET", ["serverInfo"]) => Self::ServerInfo,
            ("GET", ["mypermissions"]) => Self::MyPermissions,
            ("GET", ["issue", "createmeta", project, "issuetypes"]) => Self::IssueTypes(project),
            ("GET", ["issue", "createmeta", project, "issuetypes", kind]) => {
                Self::CreateFields(project, kind)
            }
            ("GET", ["project", project]) => Self::Project(project),
            ("GET", ["priority", "search"]) if version == Version::V3 => Self::Priorities,
            ("GET", ["attachment", "meta"]) => Self::AttachmentMeta,
            ("GET", ["user", "assignable", "search"]) => Self::AssignableUsers,
            ("POST", ["issue"]) => Self::Create,
            ("GET", ["issue", issue]) => Self::Get(issue),
            ("PUT", ["issue", issue]) => Self::Update(issue),
            ("DELETE", ["issue", issue]) => Self::Delete(issue),
            ("PUT", ["issue", issue, "assignee"]) => Self::Assign(issue),
            ("GET", ["issue", issue, "transitions"]) => Self::Transitions(issue),
            ("POST", ["issue", issue, "transitions"]) => Self::Transition(issue),
            ("POST", ["issue", issue, "comment"]) => Self::AddComment(issue),
            ("GET", ["issue", issue, "comment"]) => Self::Comments(issue),
            ("POST", ["issue", issue, "attachments"]) => Self::Attach(issue),
            ("GET", ["issue", issue, "properties", key]) => Self::GetProperty(issue, key),
            ("PUT", ["issue", issue, "properties", key]) => Self::SetProperty(issue, key),
            ("POST", ["bulk", "issues", "move"]) if version == Version::V3 => Self::Move,
            ("POST", ["search", "jql"]) if version == Version::V3 => Self::Search,
            ("POST", ["search"]) if version == Version::V2 => Self::Search,
            ("GET" | "POST", ["search"]) => Self::RemovedSearch,
            _ => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Myself => "myself",
            Self::ServerInfo => "server_info",
            Self::MyPermissions => "my_permissions",
            Self::IssueTypes(_) => "createmeta_issue_types",
            Self::CreateFields(..) => "createmeta_fields",
            Self::Project(_) => "get_project",
            Self::Priorities => "priorities",
            Self::AttachmentMeta => "attachment_meta",
            Self::AssignableUsers => "assignable_users",
            Self::Create => "create_issue",
            Self::Get(_) => "get_issue",
            Self::Update(_) => "update_issue",
            Self::Delete(_) => "delete_issue",
            Self::Assign(_) => "assign_issue",
            Self::Transitions(_) => "get_transitions",
            Self::Transition(_) => "transition_issue",
            Self::AddComment(_) => "add_comment",
            Self::Comments(_) => "list_comments",
            Self::Attach(_) => "attach_file",
            Self::GetProperty(..) => "get_property",
            Self::SetProperty(..) => "set_property",
            Self::Search | Self::RemovedSearch => "search",
            Self::Move => "move_issues",
        }
    }

    /// Whether it changes something, and so needs more than the right to look.
    pub(super) const fn writes(self) -> bool {
        match self {
            Self::Create
            | Self::Update(_)
            | Self::Delete(_)
            | Self::Assign(_)
            | Self::Transition(_)
            | Self::AddComment(_)
            | Self::Attach(_)
            | Self::SetProperty(..)
            | Self::Move => true,
            Self::Myself
            | Self::ServerInfo
            | Self::MyPermissions
            | Self::IssueTypes(_)
            | Self::CreateFields(..)
            | Self::Project(_)
            | Self::Priorities
            | Self::AttachmentMeta
            | Self::AssignableUsers
            | Self::Get(_)
            | Self::Transitions(_)
            | Self::Comments(_)
            | Self::GetProperty(..)
            | Self::Search
            | Self::RemovedSearch => false,
        }
    }
}
