//! Jira: Cloud REST v3, and Data Center's v2 under the same site. Written from the sheet `platforms/jira.md`.
//!
//! | | |
//! | --- | --- |
//! | credentials | anything non-empty; secret `wrong` → 401, `forbidden` → 403 on writes; or the list `credentials` |
//! | projects | every key of capitals, digits, `_` from two characters, but `NOPE` |
//! | people | the list `users`, and `known+NAME@example.test` = account `sandbox:NAME` |
//! | workflow | To Do → In Progress → Done (resolution required), and Cancelled (resolution optional); without screens (`transition_screens`) a comment in a transition is dropped |
//! | strangers | 401; with `answers_strangers` an empty list or 404, and a header that tells |
//! | search | finds an issue `search_lag_ms` after its creation; later edits show at once |
//!
//! Not modelled: the bytes of attachments, links, boards, a transition at creation, permissions by project.

mod adf;
mod auth;
mod fields;
mod read;
mod route;
mod search;
mod settings;
mod store;
mod transition;
mod write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Body};
use super::call::Call;
use super::fake::{Fake, merged};
use super::ledger::LedgerIssue;
use super::tokens::Tokens;
use auth::Caller;
use route::{Operation, Route, Version};
use settings::Settings;
use store::Store;

/// One Jira site.
pub(super) struct Jira {
    site: String,
    settings: Settings,
    tokens: Tokens,
    store: Store,
}

impl Jira {
    pub(super) fn new(site: &str) -> Self {
        Self {
            site: site.to_owned(),
            settings: Settings::default(),
            tokens: Tokens::default(),
            store: Store::default(),
        }
    }

    /// The account behind every credential.
    fn account_id(&self) -> String {
        format!("sandbox-account:{}", self.site)
    }

    fn api(
        &mut self,
        call: &Call,
        version: Version,
        operation: Operation<'_>,
        now: DateTime<Utc>,
    ) -> Answer {
        if operation == Operation::ServerInfo {
            return self.server_info(call, version);
        }
        let Some(caller) = auth::caller(call, &self.settings, &self.tokens, now) else {
            return if self.settings.answers_strangers {
                self.strange(call, version, operation)
            } else {
                unauthenticated()
            };
        };
        self.admitted(call, version, operation, &caller, now)
            .header("X-Seraph-LoginReason", "OK")
            .header(
                match version {
                    Version::V2 => "X-AUSERNAME",
                    Version::V3 => "X-AACCOUNTID",
                },
                &caller.name,
            )
    }

    fn admitted(
        &mut self,
        call: &Call,
        version: Version,
        operation: Operation<'_>,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Answer {
        if operation.writes() && !caller.may_write {
            return error(403, "You do not have permission to perform this operation.");
        }
        let takes_json = !matches!(operation, Operation::Attach(_));
        if takes_json && (call.method == "POST" || call.method == "PUT") && !call.declares_json() {
            return error(
                415,
                "Unsupported Media Type: send Content-Type: application/json",
            );
        }
        self.operate(call, version, operation, caller, now)
    }

    /// What Jira says to whom it does not know: what a stranger may see, and that is nothing.
    fn strange(&self, call: &Call, version: Version, operation: Operation<'_>) -> Answer {
        let answer = match operation {
            Operation::ServerInfo => self.server_info(call, version),
            Operation::Myself => unauthenticated(),
            Operation::Search => Answer::json(
                200,
                match version {
                    Version::V3 => json!({"issues": [], "isLast": true}),
                    Version::V2 => {
                        json!({"issues": [], "startAt": 0, "maxResults": 50, "total": 0})
                    }
                },
            ),
            Operation::AssignableUsers => Answer::json(200, json!([])),
            Operation::MyPermissions => Answer::json(200, json!({"permissions": {}})),
            Operation::Create => Answer::json(
                400,
                json!({"errorMessages": [], "errors": {"project": "valid project is required"}}),
            ),
            Operation::IssueTypes(_)
            | Operation::CreateFields(..)
            | Operation::Project(_)
            | Operation::Priorities
            | Operation::AttachmentMeta
            | Operation::Get(_)
            | Operation::Update(_)
            | Operation::Delete(_)
            | Operation::Assign(_)
            | Operation::Transitions(_)
            | Operation::Transition(_)
            | Operation::AddComment(_)
            | Operation::Comments(_)
            | Operation::Attach(_)
            | Operation::GetProperty(..)
            | Operation::SetProperty(..)
            | Operation::Move
            | Operation::RemovedSearch => no_issue(),
        };
        match version {
            Version::V3 => answer.header("X-Seraph-LoginReason", "AUTHENTICATED_FAILED"),
            Version::V2 => answer
                .header("X-Seraph-LoginReason", "OUT")
                .header("X-AUSERNAME", "anonymous"),
        }
    }

    fn operate(
        &mut self,
        call: &Call,
        version: Version,
        operation: Operation<'_>,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Answer {
        match operation {
            Operation::Myself => self.myself(version, caller),
            Operation::ServerInfo => self.server_info(call, version),
            Operation::MyPermissions => self.my_permissions(call, caller),
            Operation::IssueTypes(project) => self.issue_types(call, version, project),
            Operation::CreateFields(project, kind) => {
                self.create_fields(call, version, project, kind)
            }
            Operation::Project(key) => Self::project(key, &call.base),
            Operation::Priorities => self.priorities(),
            Operation::AttachmentMeta => Self::attachment_meta(),
            Operation::AssignableUsers => self.assignable_users(call, version),
            Operation::Create => self.create(call, version, caller, now),
            Operation::Get(issue) => self.get(call, version, issue),
            Operation::Update(issue) => self.update(call, version, caller, issue, now),
            Operation::Delete(issue) => {
                if self.store.remove(issue) {
                    Answer::empty(204).effective()
                } else {
                    no_issue()
                }
            }
            Operation::Assign(issue) => self.assign(call, version, issue, now),
            Operation::Transitions(issue) => self.transitions(call, issue),
            Operation::Transition(issue) => self.transition(call, version, caller, issue, now),
            Operation::AddComment(issue) => self.add_comment(call, version, caller, issue, now),
            Operation::Comments(issue) => self.comments(call, version, issue),
            Operation::Attach(issue) => self.attach(call, issue, now),
            Operation::GetProperty(issue, key) => self.property(issue, key),
            Operation::SetProperty(issue, key) => self.set_property(call, issue, key, now),
            Operation::Search => self.search(call, version, now),
            Operation::Move => self.move_issues(call, now),
            // CHANGE-2046; the status is unconfirmed.
            Operation::RemovedSearch => error(
                410,
                "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.",
            ),
        }
    }

    fn server_info(&self, call: &Call, version: Version) -> Answer {
        let (deployment, release) = match version {
            Version::V3 => ("Cloud", "1001.0.0-SNAPSHOT"),
            Version::V2 => ("Server", "10.3.0"),
        };
        let title = format!("Ticketwire sandbox: {}", self.site);
        Answer::json(
            200,
            json!({"baseUrl": call.base, "version": release, "deploymentType": deployment, "serverTitle": title}),
        )
    }

    fn accessible_resources(&self, call: &Call, now: DateTime<Utc>) -> Answer {
        if auth::caller(call, &self.settings, &self.tokens, now).is_none() {
            return unauthenticated();
        }
        let scopes = ["read:jira-work", "write:jira-work", "read:jira-user"];
        let id = format!("sandbox-cloud-{}", self.site);
        Answer::json(
            200,
            json!([{"id": id, "url": call.base, "name": self.site, "scopes": scopes}]),
        )
    }
}

impl Fake for Jira {
    fn operation(&self, call: &Call) -> &'static str {
        Route::of(call).name()
    }

    fn answer(&mut self, call: &Call, now: DateTime<Utc>) -> Answer {
        match Route::of(call) {
            Route::Token => auth::grant(&mut self.tokens, call, &self.settings, now),
            Route::AccessibleResources => self.accessible_resources(call, now),
            Route::Api(version, operation) => self.api(call, version, operation, now),
            Route::Unknown => error(404, &format!("null for uri: {}{}", call.base, call.path)),
        }
    }

    fn fault_answer(&self, _: &Call, status: u16, now: DateTime<Utc>) -> Answer {
        match status {
            // An answer that refuses nothing has nothing to say.
            200..=399 => Answer::empty(status),
            401 => unauthenticated(),
            409 => error(
                409,
                "The issue was changed by another request; read it again and retry.",
            ),
            429 => {
                let reset = now + TimeDelta::seconds(1);
                error(429, "Rate limit exceeded.")
                    .header("Retry-After", "1")
                    .header("X-RateLimit-Limit", "100")
                    .header("X-RateLimit-Remaining", "0")
                    .header(
                        "X-RateLimit-Reset",
                        &reset.to_rfc3339_opts(SecondsFormat::Secs, true),
                    )
                    .header("RateLimit-Reason", "jira-burst-based")
            }
            _ => error(status, "The sandbox was told to answer so."),
        }
    }

    fn stranger(&self, call: &Call, _: DateTime<Utc>) -> Answer {
        match Route::of(call) {
            Route::Api(version, operation) => self.strange(call, version, operation),
            Route::Token => {
                auth::refused(403, "invalid_grant", "Unknown or invalid refresh token.")
            }
            Route::AccessibleResources | Route::Unknown => unauthenticated(),
        }
    }

    fn configure(&mut self, changes: Map<String, Value>) -> Result<(), String> {
        self.settings = merged(&self.settings, changes)?;
        Ok(())
    }

    fn settings(&self) -> Value {
        serde_json::to_value(&self.settings).unwrap_or_default()
    }

    fn ledger(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        let issues = match label {
            Some(label) => self
                .store
                .with_label(label)
                .map(store::ledger_issue)
                .collect(),
            None => self.store.all().map(store::ledger_issue).collect(),
        };
        (issues, self.store.evicted())
    }
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
