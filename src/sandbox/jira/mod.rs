//! Jira: Cloud REST v3, and Data Center's v2 under the same site; with `deployment: cloud`, Cloud's
//! v2 too. Written from the sheet `platforms/jira.md`.
//!
//! | | |
//! | --- | --- |
//! | credentials | anything non-empty; secret `…wrong` → 401, `…forbidden` → 403 on writes; or the list `credentials` |
//! | deployment | Cloud to version 3 and to who logs in with an address, Data Center to others, or the one that `deployment` says |
//! | refusals | in turn: project and issue type, then what is on no screen, then what is missing or no value |
//! | projects | every key of capitals, digits, `_` from two characters, but `NOPE` |
//! | people | the list `users`, and `known+NAME@example.test` = account `sandbox:NAME` |
//! | workflow | To Do → In Progress → Done (resolution required), and Cancelled (resolution optional); without screens (`transition_screens`) a comment in a transition is dropped |
//! | webhooks | an administrator's, and at most five of an OAuth app, at one address; `webhooks` sets who may and how they fare |
//! | strangers | 401; with `answers_strangers` an empty list or 404, and a header that tells |
//! | search | finds an issue `search_lag_ms` after its creation; later edits show at once |
//!
//! Not modelled: the bytes of attachments, links, boards, a transition at creation, permissions by
//! project.

mod adf;
mod auth;
mod fields;
mod hooks;
mod read;
mod search;
mod settings;
mod store;
mod transition;
mod version;
mod write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;

use super::answer::{Answer, Body};
use super::call::Call;
use super::fake::Fake;
use super::kit::{Common, CredentialSource, Hit, Refusal, Route, Tabled, route, view};
use super::ledger::LedgerIssue;
use settings::{Deployment, Settings};
use store::Store;
use version::Version;

/// One Jira site.
pub(super) struct Jira {
    site: String,
    common: Common<Settings>,
    store: Store,
}

impl Tabled for Jira {
    type Settings = Settings;

    // `latest` is version 2 (unconfirmed of Cloud).
    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/oauth/token", "token", Self::token).open(),
        view("GET", "/oauth/token/accessible-resources", "accessible_resources",
            Self::accessible_resources).open(),
        view("GET", "/rest/api/2|3|latest/serverInfo", "server_info", Self::server_info).open(),
        view("GET", "/rest/api/2|3|latest/myself", "myself", Self::myself),
        view("GET", "/rest/api/2|3|latest/mypermissions", "my_permissions", Self::my_permissions),
        view("GET", "/rest/api/2|3|latest/issue/createmeta/*/issuetypes", "createmeta_issue_types",
            Self::issue_types),
        view("GET", "/rest/api/2|3|latest/issue/createmeta/*/issuetypes/*", "createmeta_fields",
            Self::create_fields),
        view("GET", "/rest/api/2|3|latest/project", "list_projects", Self::projects),
        view("GET", "/rest/api/2|3|latest/project/search", "search_projects",
            Self::search_projects),
        view("GET", "/rest/api/2|3|latest/project/*", "get_project", Self::project),
        view("GET", "/rest/api/2|3|latest/field", "list_fields", Self::fields),
        view("GET", "/rest/api/2|3|latest/issuetype", "list_issue_types", Self::all_issue_types),
        view("GET", "/rest/api/2|3|latest/status", "list_statuses", Self::statuses),
        view("GET", "/rest/api/2|3|latest/priority", "list_priorities", Self::all_priorities),
        view("GET", "/rest/api/3/priority/search", "priorities", Self::priorities),
        view("GET", "/rest/api/2|3|latest/attachment/meta", "attachment_meta",
            Self::attachment_meta),
        view("GET", "/rest/api/2|3|latest/user/assignable/search", "assignable_users",
            Self::assignable_users),
        view("GET", "/rest/api/2|3|latest/user/search", "search_users", Self::users),
        route("POST", "/rest/api/2|3|latest/issue", "create_issue", Self::create),
        view("GET", "/rest/api/2|3|latest/issue/*", "get_issue", Self::get),
        route("PUT", "/rest/api/2|3|latest/issue/*", "update_issue", Self::update),
        route("DELETE", "/rest/api/2|3|latest/issue/*", "delete_issue", Self::delete),
        route("PUT", "/rest/api/2|3|latest/issue/*/assignee", "assign_issue", Self::assign),
        view("GET", "/rest/api/2|3|latest/issue/*/transitions", "get_transitions",
            Self::transitions),
        route("POST", "/rest/api/2|3|latest/issue/*/transitions", "transition_issue",
            Self::transition),
        route("POST", "/rest/api/2|3|latest/issue/*/comment", "add_comment", Self::add_comment),
        view("GET", "/rest/api/2|3|latest/issue/*/comment", "list_comments", Self::comments),
        view("GET", "/rest/api/2|3|latest/issue/*/comment/*", "get_comment", Self::one_comment),
        route("POST", "/rest/api/2|3|latest/issue/*/attachments", "attach_file", Self::attach),
        view("GET", "/rest/api/2|3|latest/issue/*/properties/*", "get_property", Self::property),
        route("PUT", "/rest/api/2|3|latest/issue/*/properties/*", "set_property",
            Self::set_property),
        route("POST", "/rest/api/3/bulk/issues/move", "move_issues", Self::move_issues),
        view("GET", "/rest/api/2|3|latest/search/jql", "search", Self::search_by_token),
        view("POST", "/rest/api/2|3|latest/search/jql", "search", Self::search_by_token),
        view("GET", "/rest/api/2|3|latest/search", "search", Self::search_by_number),
        view("POST", "/rest/api/2|3|latest/search", "search", Self::search_by_number),
        route("POST", "/rest/webhooks/1.0/webhook", "create_hook", Self::create_hook),
        view("GET", "/rest/webhooks/1.0/webhook", "list_hooks", Self::list_hooks),
        view("GET", "/rest/webhooks/1.0/webhook/*", "get_hook", Self::get_hook),
        route("DELETE", "/rest/webhooks/1.0/webhook/*", "delete_hook", Self::delete_hook),
        route("POST", "/rest/api/2|3|latest/webhook", "register_hooks", Self::register_hooks),
        view("GET", "/rest/api/2|3|latest/webhook", "registered_hooks", Self::registered_hooks),
        view("GET", "/rest/api/2|3|latest/webhook/failed", "failed_hooks", Self::failed_hooks),
        route("PUT", "/rest/api/2|3|latest/webhook/refresh", "refresh_hooks",
            Self::refresh_hooks),
        route("DELETE", "/rest/api/2|3|latest/webhook", "drop_hooks", Self::drop_hooks),
    ];
    const CREDENTIALS: &'static [CredentialSource] =
        &[CredentialSource::Basic, CredentialSource::Bearer];

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn below(call: &Call) -> &[String] {
        version::below(call)
    }

    fn refuse(&self, refusal: &Refusal, call: &Call, now: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing | Refusal::Wrong | Refusal::Expired
                if self.common.settings.answers_strangers =>
            {
                self.strange(call)
            }
            Refusal::Missing | Refusal::Wrong | Refusal::Expired | Refusal::Status(401) => {
                unauthenticated()
            }
            Refusal::Forbidden => {
                error(403, "You do not have permission to perform this operation.")
            }
            // Also of a path that takes other methods.
            Refusal::NoPath | Refusal::OtherMethods(_) => {
                error(404, &format!("null for uri: {}{}", call.base, call.path))
            }
            Refusal::Budget(standing) => limited(standing.reset, standing.seconds),
            Refusal::Status(429) => limited(now + TimeDelta::seconds(1), 1),
            // An answer that refuses nothing has nothing to say.
            Refusal::Status(status @ 200..=399) => Answer::empty(*status),
            Refusal::Status(409) => error(
                409,
                "The issue was changed by another request; read it again and retry.",
            ),
            Refusal::Status(status) => error(*status, "The sandbox was told to answer so."),
        }
    }

    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let version = self.version(hit.call);
        if version.has_documents && self.common.settings.deployment == Deployment::DataCenter {
            let uri = format!("{}{}", hit.call.base, hit.call.path);
            return Some(error(404, &format!("null for uri: {uri}")));
        }
        let has_body = hit.call.method == "POST" || hit.call.method == "PUT";
        let takes_json = has_body && hit.operation != "attach_file";
        (takes_json && !hit.call.declares_json()).then(|| {
            error(
                415,
                "Unsupported Media Type: send Content-Type: application/json",
            )
        })
    }

    fn finish(&self, hit: &Hit<'_>, answer: Answer) -> Answer {
        let name = if self.version(hit.call).is_cloud {
            "X-AACCOUNTID"
        } else {
            "X-AUSERNAME"
        };
        answer
            .header("X-Seraph-LoginReason", "OK")
            .header(name, &hit.caller.name)
    }

    fn stranger_answer(&self, call: &Call, _: DateTime<Utc>) -> Answer {
        match self.operation(call) {
            "token" => auth::refused(403, "invalid_grant", "Unknown or invalid refresh token."),
            "accessible_resources" | Self::UNKNOWN => unauthenticated(),
            _ => self.strange(call),
        }
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.store.shelf.ledger(label, store::ledger_issue)
    }
}

impl Jira {
    pub(super) fn new(site: &str) -> Self {
        Self {
            site: site.to_owned(),
            common: Common::default(),
            store: Store::default(),
        }
    }

    /// What answers a request.
    fn version(&self, call: &Call) -> Version {
        Version::of(call, self.common.settings.deployment)
    }

    /// The account behind every credential.
    fn account_id(&self) -> String {
        format!("sandbox-account:{}", self.site)
    }

    /// What Jira says to whom it does not know: what a stranger may see, and that is nothing.
    fn strange(&self, call: &Call) -> Answer {
        let version = self.version(call);
        let answer = match (self.operation(call), version.is_cloud) {
            ("server_info", _) => self.info(call),
            ("myself", _) => unauthenticated(),
            ("search", true) => Answer::json(200, json!({"issues": [], "isLast": true})),
            ("search", false) => Answer::json(
                200,
                json!({"issues": [], "startAt": 0, "maxResults": 50, "total": 0}),
            ),
            ("assignable_users", _) => Answer::json(200, json!([])),
            ("my_permissions", _) => Answer::json(200, json!({"permissions": {}})),
            ("create_issue", _) => Answer::json(
                400,
                json!({"errorMessages": [], "errors": {"project": "valid project is required"}}),
            ),
            _ => no_issue(),
        };
        if version.is_cloud {
            answer.header("X-Seraph-LoginReason", "AUTHENTICATED_FAILED")
        } else {
            answer
                .header("X-Seraph-LoginReason", "OUT")
                .header("X-AUSERNAME", "anonymous")
        }
    }

    fn delete(&mut self, hit: &Hit<'_>) -> Answer {
        if self.store.remove(hit.arg(0)) {
            Answer::empty(204).mutated()
        } else {
            no_issue()
        }
    }

    fn server_info(&self, hit: &Hit<'_>) -> Answer {
        self.info(hit.call)
    }

    fn info(&self, call: &Call) -> Answer {
        let (deployment, release, numbers) = if self.version(call).is_cloud {
            ("Cloud", "1001.0.0-SNAPSHOT", [1001, 0, 0])
        } else {
            ("Server", "10.3.0", [10, 3, 0])
        };
        let title = format!("Ticketwire sandbox: {}", self.site);
        Answer::json(
            200,
            json!({
                "baseUrl": call.base, "version": release, "versionNumbers": numbers,
                "deploymentType": deployment,
                "serverTitle": title,
            }),
        )
    }
}

fn limited(reset: DateTime<Utc>, seconds: i64) -> Answer {
    error(429, "Rate limit exceeded.")
        .header("Retry-After", &seconds.to_string())
        .header("X-RateLimit-Limit", "100")
        .header("X-RateLimit-Remaining", "0")
        .header(
            "X-RateLimit-Reset",
            &reset.to_rfc3339_opts(SecondsFormat::Secs, true),
        )
        .header("RateLimit-Reason", "jira-quota-tenant-based")
}

/// Jira's error collection with one message.
fn error(status: u16, message: &str) -> Answer {
    Answer::json(
        status,
        json!({"errorMessages": [message], "errors": {}, "status": status}),
    )
}

fn unauthenticated() -> Answer {
    error(401, "Client must be authenticated to access this resource.")
}

fn no_issue() -> Answer {
    error(
        404,
        "Issue does not exist or you do not have permission to see it.",
    )
}

fn bad_json(call: &Call) -> Answer {
    let bytes = call.body.len();
    let mut answer = error(
        400,
        "There was an error parsing JSON. Check that your request body is valid.",
    );
    if let Body::Json(body) = &mut answer.body {
        body["sandbox"] =
            format!("{bytes} bytes that are not the JSON object this operation takes").into();
    }
    answer
}
