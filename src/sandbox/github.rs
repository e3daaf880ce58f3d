//! GitHub: issues of one repository. Written from GitHub's OpenAPI description and its REST
//! documentation.
//!
//! | | |
//! | --- | --- |
//! | credentials | any token, as bearer or as a password; `…wrong` → 401, `…forbidden` → 403 on writes; tokens of `/app/installations/*/access_tokens` end |
//! | repositories | every owner and name is the same repository, but for the setting `renamed_from`, which redirects (301, 307) to `/repositories/1` |
//! | push | with `push: false`, labels, assignees and types are taken and dropped without a word |
//! | people | logins of the setting `people` can be assigned; others are 404, and 422 in a list |
//! | pull requests | `POST …/pulls` makes one; it is listed among the issues |
//! | listings | `per_page` up to 100, `Link`; `since` is inclusive; times have whole seconds |
//! | secondary limits | with `writes_apart_ms`, a write sooner than that after the one before is a 403; others are faults |
//! | webhooks | of the repository; one an address; `webhooks` sets who may, how the last delivery fared, what was lost |
//! | files | `PUT …/contents/**`; a link in a comment counts as a file of its issue in the ledger |
//!
//! Not modelled: reactions, milestones, locking by the API, issue fields of organizations (they are
//! kept as they come), search, GraphQL. 100 000 issues and 256 MiB a site.

mod hooks;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::kit::paging::By;
use super::kit::rate::Reset;
use super::kit::shelf::moment;
use super::kit::{
    self, Budget, Common, CredentialSource, Entry, Hit, HookRules, Item, RateHeaders, Refusal,
    Route, Shelf, Tabled, jwt, magic, route, view,
};
use super::ledger::{LedgerComment, LedgerFile, LedgerIssue};

/// Issues kept, and bytes of their texts.
const ISSUES_MAX: usize = 100_000;
const WEIGHT_MAX: usize = 256 << 20;
/// Limits of texts: of a body GitHub's own words name it, the others are (unconfirmed).
const TITLE_MAX: usize = 256;
const BODY_MAX: usize = 65_536;
const LABEL_MAX: usize = 50;
const ASSIGNEES_MAX: usize = 10;
/// Longest life of a JWT of an application.
const JWT_SECONDS: i64 = 600;
/// What follows the number of an issue in its id.
const ID_OFFSET: u64 = 444_500_000;
/// Whom tokens belong to.
const USER: &str = "ticketwire-bot";
const PAGES: By = By::Number("page", "per_page");

/// What can be set at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// If not empty, only these tokens are accepted.
    credentials: Vec<String>,
    /// Requests that are taken; absent is any number.
    budget: Option<Budget>,
    /// How far apart writes have to come; 0: as they like.
    writes_apart_ms: i64,
    /// Life of an installation's token.
    access_token_seconds: i64,
    /// The application's public key in PEM; without one no signature is checked.
    public_key: Option<String>,
    /// What the application may do with issues.
    app_issues: String,
    /// Whether the token may push.
    push: bool,
    /// Whether the repository has issues.
    has_issues: bool,
    archived: bool,
    /// Whether the repository is shown at all.
    visible: bool,
    /// Whether conversations are locked.
    locked: bool,
    /// Whether the owner is an organization, which has types.
    organization: bool,
    issue_types: Vec<String>,
    labels: Vec<String>,
    people: Vec<String>,
    branches: Vec<String>,
    /// `owner/name` that the repository had before.
    renamed_from: String,
    webhooks: HookRules,
}

impl Default for Settings {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            credentials: Vec::new(),
            budget: None,
            writes_apart_ms: 0,
            access_token_seconds: 3_600,
            public_key: None,
            app_issues: "write".to_owned(),
            push: true,
            has_issues: true,
            archived: false,
            visible: true,
            locked: false,
            organization: true,
            issue_types: list(&["Task", "Bug", "Feature"]),
            labels: list(&["bug", "enhancement", "question"]),
            people: list(&["ada", "octocat"]),
            branches: list(&["main", "attachments"]),
            renamed_from: String::new(),
            webhooks: HookRules::default(),
        }
    }
}

impl kit::Settings for Settings {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn budget(&self) -> Option<Budget> {
        self.budget
    }
}

/// An issue, or a pull request.
#[derive(Debug, Clone, Default)]
struct Issue {
    title: String,
    body: String,
    labels: Vec<String>,
    assignees: Vec<String>,
    kind: Option<String>,
    fields: Value,
    is_closed: bool,
    reason: Option<String>,
    closed: Option<DateTime<Utc>>,
    is_pull: bool,
    comments: Vec<Comment>,
}

#[derive(Debug, Clone)]
struct Comment {
    id: u64,
    body: String,
    created: DateTime<Utc>,
}

impl Item for Issue {
    fn tags(&self) -> Vec<String> {
        self.labels.clone()
    }

    fn weight(&self) -> usize {
        let comments = self.comments.iter().map(|comment| comment.body.len());
        self.title.len() + self.body.len() + comments.sum::<usize>()
    }
}

/// One repository.
pub(super) struct GitHub {
    common: Common<Settings>,
    issues: Shelf<Issue>,
    /// By branch and path.
    files: BTreeMap<String, LedgerFile>,
    comments: u64,
    /// When the last write came, in milliseconds since 1970.
    last_write: AtomicI64,
}

impl Default for GitHub {
    fn default() -> Self {
        Self {
            common: Common::default(),
            issues: Shelf::new(ISSUES_MAX, WEIGHT_MAX, 1),
            files: BTreeMap::new(),
            comments: 0,
            last_write: AtomicI64::new(0),
        }
    }
}

/// A refusal without faults of fields.
fn refused(status: u16, message: &str) -> Answer {
    let documentation = "https://docs.github.com/rest";
    Answer::json(
        status,
        json!({ "message": message, "documentation_url": documentation,
            "status": status.to_string() }),
    )
}

/// A refusal of one field.
fn invalid(field: &str, code: &str, message: Option<&str>) -> Answer {
    let mut fault = json!({ "resource": "Issue", "field": field, "code": code });
    if let Some(message) = message {
        fault["message"] = message.into();
    }
    Answer::json(
        422,
        json!({
            "message": "Validation Failed", "errors": [fault], "status": "422",
            "documentation_url": "https://docs.github.com/rest/issues/issues",
        }),
    )
}

fn not_found() -> Answer {
    refused(404, "Not Found")
}

fn second(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A list of texts in a body; of labels, their names may stand in objects. `None` where it is no
/// list.
fn names(value: &Value) -> Option<Vec<String>> {
    let name = |value: &Value| {
        let name = value.as_str().or_else(|| value["name"].as_str());
        name.map(str::to_owned)
    };
    value.as_array()?.iter().map(name).collect()
}

/// What a text counts of, as GitHub does.
fn length_fault(field: &str, text: &str, max: usize) -> Option<Answer> {
    (text.chars().count() > max).then(|| {
        let message = format!("{field} is too long (maximum is {max} characters)");
        invalid(field, "custom", Some(&message))
    })
}

impl GitHub {
    /// Where the repository is for people: behind `/repos`, an Enterprise server's below `/api/v3`.
    fn page(call: &Call, path: &str) -> String {
        let mut named = call
            .segments
            .iter()
            .skip_while(|part| *part != "repos")
            .skip(1);
        let mut name = || named.next().map_or("_", String::as_str);
        format!("{}/{}/{}/{path}", call.base, name(), name())
    }

    /// What keeps every request about issues from being done.
    fn closed_door(&self, writes: bool) -> Option<Answer> {
        let settings = &self.common.settings;
        if !settings.visible {
            return Some(not_found());
        }
        if !settings.has_issues {
            return Some(refused(410, "Issues are disabled for this repo"));
        }
        let is_archived = settings.archived && writes;
        is_archived.then(|| refused(403, "Repository was archived so is read-only."))
    }

    fn shown(&self, call: &Call, issue: &Entry<Issue>) -> Value {
        let number = issue.number;
        let people = |logins: &[String]| -> Vec<Value> {
            logins
                .iter()
                .map(|login| json!({ "login": login }))
                .collect()
        };
        let labels: Vec<_> = issue
            .labels
            .iter()
            .map(|name| json!({ "name": name }))
            .collect();
        let place = if issue.is_pull { "pull" } else { "issues" };
        let mut shown = json!({
            "id": ID_OFFSET + number, "node_id": format!("I_{number}"), "number": number,
            "html_url": Self::page(call, &format!("{place}/{number}")),
            "state": if issue.is_closed { "closed" } else { "open" }, "state_reason": issue.reason,
            "title": issue.title, "body": if issue.body.is_empty() { Value::Null } else {
                issue.body.as_str().into() },
            "labels": labels, "assignees": people(&issue.assignees),
            "user": { "login": USER, "type": "User" }, "comments": issue.comments.len(),
            "created_at": second(issue.created), "updated_at": second(issue.updated),
            "closed_at": issue.closed.map(second), "locked": self.common.settings.locked,
        });
        if let Some(kind) = &issue.kind {
            shown["type"] = json!({ "name": kind });
        }
        if issue.is_pull {
            shown["pull_request"] = json!({ "url": Self::page(call, &format!("pull/{number}")) });
        }
        shown
    }

    fn shown_comment(call: &Call, issue: u64, comment: &Comment) -> Value {
        let page = Self::page(call, &format!("issues/{issue}"));
        json!({
            "id": comment.id, "html_url": format!("{page}#issuecomment-{}", comment.id),
            "body": comment.body,
            "user": { "login": USER }, "created_at": second(comment.created),
            "updated_at": second(comment.created),
        })
    }

    /// The members of a body that an issue takes over, checked.
    fn change(&self, hit: &Hit<'_>, issue: &mut Issue) -> Result<(), Answer> {
        let Some(Value::Object(body)) = &hit.call.json else {
            return Err(refused(400, "Problems parsing JSON"));
        };
        let settings = &self.common.settings;
        for (name, value) in body {
            match (name.as_str(), value) {
                ("title", Value::String(text)) if !text.trim().is_empty() => {
                    length_fault("title", text, TITLE_MAX).map_or(Ok(()), Err)?;
                    issue.title.clone_from(text);
                }
                ("body", Value::String(text)) => {
                    length_fault("body", text, BODY_MAX).map_or(Ok(()), Err)?;
                    issue.body.clone_from(text);
                }
                ("body", Value::Null) => issue.body.clear(),
                ("labels", list) => {
                    let list = names(list).ok_or_else(|| invalid("labels", "invalid", None))?;
                    if list
                        .iter()
                        .any(|name| name.is_empty() || name.chars().count() > LABEL_MAX)
                    {
                        return Err(invalid("labels", "invalid", Some("is too long")));
                    }
                    if settings.push {
                        // What is there in another spelling stays as it is.
                        issue.labels.clear();
                        for name in list {
                            let is_known = |own: &String| own.to_lowercase() == name.to_lowercase();
                            if !issue.labels.iter().any(is_known) {
                                let known = settings.labels.iter().find(|own| is_known(own));
                                issue.labels.push(known.cloned().unwrap_or(name));
                            }
                        }
                    }
                }
                ("assignees", list) => {
                    let list = names(list).ok_or_else(|| invalid("assignees", "invalid", None))?;
                    let is_known = |login: &String| settings.people.contains(login);
                    if !list.iter().all(is_known) || list.len() > ASSIGNEES_MAX {
                        return Err(invalid("assignees", "invalid", None));
                    }
                    if settings.push {
                        issue.assignees = list;
                    }
                }
                ("type", Value::String(kind)) => {
                    if !settings.organization || !settings.issue_types.contains(kind) {
                        return Err(invalid("type", "invalid", None));
                    }
                    if settings.push {
                        issue.kind = Some(kind.clone());
                    }
                }
                ("issue_field_values", values) => issue.fields = values.clone(),
                ("state", Value::String(state)) => {
                    let closes = match state.as_str() {
                        "open" => false,
                        "closed" => true,
                        _ => return Err(invalid("state", "invalid", None)),
                    };
                    let reason = body.get("state_reason").and_then(Value::as_str);
                    let fits = match reason {
                        None => true,
                        Some("reopened") => !closes,
                        Some("completed" | "not_planned" | "duplicate") => closes,
                        Some(_) => false,
                    };
                    if !fits {
                        return Err(invalid("state_reason", "invalid", None));
                    }
                    // The reason is ignored unless the state changes.
                    if closes != issue.is_closed {
                        issue.is_closed = closes;
                        issue.closed = closes.then_some(hit.now);
                        let usual = closes.then_some("completed");
                        issue.reason = reason.or(usual).map(str::to_owned);
                    }
                }
                ("state_reason", _) => {}
                (field @ ("title" | "body" | "type" | "state"), _) => {
                    return Err(invalid(field, "invalid", None));
                }
                // GitHub ignores what it does not know.
                _ => {}
            }
        }
        Ok(())
    }

    fn create(&mut self, hit: &Hit<'_>) -> Answer {
        self.add(hit, false)
    }

    fn create_pull(&mut self, hit: &Hit<'_>) -> Answer {
        self.add(hit, true)
    }

    fn add(&mut self, hit: &Hit<'_>, is_pull: bool) -> Answer {
        if let Some(refusal) = self.closed_door(true) {
            return refusal;
        }
        let mut issue = Issue {
            is_pull,
            ..Issue::default()
        };
        if let Err(refusal) = self.change(hit, &mut issue) {
            return refusal;
        }
        if issue.title.is_empty() {
            return invalid("title", "missing_field", None);
        }
        let id = self.issues.add(issue, hit.now).id.clone();
        let Some(issue) = self.issues.find(&id) else {
            return refused(500, "the issue is too large for the sandbox");
        };
        let shown = self.shown(hit.call, issue);
        let page = shown["html_url"].as_str().unwrap_or_default().to_owned();
        Answer::json(201, shown).header("Location", &page).mutated()
    }

    fn update(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.closed_door(true) {
            return refusal;
        }
        let Some(mut changed) = self.issues.find(hit.arg(2)).map(|issue| issue.item.clone()) else {
            return not_found();
        };
        if let Err(refusal) = self.change(hit, &mut changed) {
            return refusal;
        }
        let members = hit.call.json.as_ref().and_then(Value::as_object);
        let names = members.into_iter().flat_map(Map::keys).cloned();
        let what = format!("update {}", names.collect::<Vec<_>>().join(","));
        self.issues.change(hit.arg(2), |issue| {
            issue.item = changed;
            issue.note(what, hit.now);
        });
        match self.issues.find(hit.arg(2)) {
            Some(issue) => Answer::json(200, self.shown(hit.call, issue)).mutated(),
            None => not_found(),
        }
    }

    fn get(&self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.closed_door(false) {
            return refusal;
        }
        match self.issues.find(hit.arg(2)) {
            Some(issue) => Answer::json(200, self.shown(hit.call, issue)),
            None => not_found(),
        }
    }

    fn list(&self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.closed_door(false) {
            return refusal;
        }
        let call = hit.call;
        let Ok(since) = since(call) else {
            return refused(422, "Validation Failed");
        };
        let state = call.param("state").unwrap_or("open");
        let fits = |issue: &&Entry<Issue>| match state {
            "all" => true,
            "closed" => issue.is_closed,
            _ => !issue.is_closed,
        };
        let mut found: Vec<&Entry<Issue>> = if call.param("sort") == Some("updated") {
            self.issues.changed_since(since).filter(fits).collect()
        } else {
            let all = self.issues.all().filter(|issue| issue.updated >= since);
            all.filter(fits).collect()
        };
        if call.param("direction") != Some("asc") {
            found.reverse();
        }
        let shown = found.into_iter().map(|issue| self.shown(call, issue));
        paged(call, shown)
    }

    fn comment(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.closed_door(true) {
            return refusal;
        }
        if self.common.settings.locked {
            return refused(403, "Unable to create comment because issue is locked.");
        }
        let Value::String(body) = hit.call.at("/body") else {
            return invalid("body", "missing_field", None);
        };
        if body.chars().count() > BODY_MAX {
            let message = "Body is too long (maximum is 65536 characters)";
            return invalid("data", "unprocessable", Some(message));
        }
        self.comments += 1;
        let comment = Comment {
            id: 492_700_000 + self.comments,
            body: body.clone(),
            created: hit.now,
        };
        let number = self.issues.find(hit.arg(2)).map(|issue| issue.number);
        let shown = Self::shown_comment(hit.call, number.unwrap_or_default(), &comment);
        let (id, weight) = (comment.id, comment.body.len());
        let said = self.issues.grow(hit.arg(2), weight, |issue| {
            issue.note(format!("comment {id}"), hit.now);
            issue.comments.push(comment);
        });
        match said {
            Some(()) => Answer::json(201, shown).mutated(),
            None => not_found(),
        }
    }

    fn comments(&self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.closed_door(false) {
            return refusal;
        }
        let Ok(since) = since(hit.call) else {
            return refused(422, "Validation Failed");
        };
        let Some(issue) = self.issues.find(hit.arg(2)) else {
            return not_found();
        };
        let comments = issue.comments.iter().filter(|one| one.created >= since);
        let shown = comments.map(|one| Self::shown_comment(hit.call, issue.number, one));
        paged(hit.call, shown)
    }

    fn assignee(&self, hit: &Hit<'_>) -> Answer {
        let is_known = self
            .common
            .settings
            .people
            .iter()
            .any(|login| login == hit.arg(2));
        if is_known && self.common.settings.visible {
            Answer::empty(204)
        } else {
            not_found()
        }
    }

    fn assignees(&self, hit: &Hit<'_>) -> Answer {
        let people = self.common.settings.people.iter();
        paged(hit.call, people.map(|login| json!({ "login": login })))
    }

    fn labels(&self, hit: &Hit<'_>) -> Answer {
        let labels = self.common.settings.labels.iter();
        paged(hit.call, labels.map(|name| json!({ "name": name })))
    }

    fn issue_types(&self, hit: &Hit<'_>) -> Answer {
        if !self.common.settings.organization {
            return not_found();
        }
        let types = self.common.settings.issue_types.iter();
        paged(
            hit.call,
            types.map(|name| json!({ "name": name, "is_enabled": true })),
        )
    }

    fn repository(&self, hit: &Hit<'_>) -> Answer {
        let settings = &self.common.settings;
        if !settings.visible {
            return not_found();
        }
        Answer::json(
            200,
            json!({
                "id": 1, "full_name": format!("{}/{}", hit.arg(0), hit.arg(1)),
                "has_issues": settings.has_issues,
                "archived": settings.archived, "private": true, "html_url": Self::page(hit.call,
                    ""),
                "permissions": {
                    "admin": false, "maintain": false, "push": settings.push,
                    "triage": settings.push, "pull": true,
                },
            }),
        )
    }

    fn put_contents(&mut self, hit: &Hit<'_>) -> Answer {
        if let Some(refusal) = self.closed_door(true) {
            return refusal;
        }
        let call = hit.call;
        let branch = call.field("branch");
        let branch = if branch.is_empty() { "main" } else { branch };
        if !self
            .common
            .settings
            .branches
            .iter()
            .any(|own| own == branch)
        {
            return refused(404, &format!("Branch {branch} not found"));
        }
        let Ok(bytes) = STANDARD.decode(call.field("content")) else {
            return refused(422, "content is not valid Base64");
        };
        if call.field("message").is_empty() {
            return refused(422, "Invalid request.\n\n\"message\" wasn't supplied.");
        }
        let path = hit.tail.join("/");
        let key = format!("{branch}:{path}");
        if self.files.contains_key(&key) && call.field("sha").is_empty() {
            return refused(422, "Invalid request.\n\n\"sha\" wasn't supplied.");
        }
        let mut blob = format!("blob {}\0", bytes.len()).into_bytes();
        blob.extend(&bytes);
        let sha = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &blob));
        let file = LedgerFile {
            id: sha,
            created: moment(hit.now),
            ..LedgerFile::of(&path, "", &bytes)
        };
        let content = Self::content(call, branch, &file);
        self.files.insert(key, file);
        Answer::json(
            201,
            json!({ "content": content, "commit": { "message": call.field("message") } }),
        )
        .mutated()
    }

    fn get_contents(&self, hit: &Hit<'_>) -> Answer {
        let branch = hit.call.param("ref").unwrap_or("main");
        let key = format!("{branch}:{}", hit.tail.join("/"));
        match self.files.get(&key) {
            Some(file) => Answer::json(200, Self::content(hit.call, branch, file)),
            None => not_found(),
        }
    }

    fn content(call: &Call, branch: &str, file: &LedgerFile) -> Value {
        let name = file.name.rsplit('/').next().unwrap_or_default();
        json!({
            "name": name, "path": file.name, "sha": file.id, "size": file.size,
            "html_url": Self::page(call, &format!("blob/{branch}/{}", encoded(&file.name))),
        })
    }

    fn user(&self, hit: &Hit<'_>) -> Answer {
        match self.common.grants.subject(token(hit.call)) {
            Some(_) => refused(403, "Resource not accessible by integration"),
            None => Answer::json(200, json!({ "login": USER, "id": 1, "type": "User" })),
        }
    }

    fn installed(&self, hit: &Hit<'_>) -> Answer {
        match self.common.grants.subject(token(hit.call)) {
            Some(_) => Answer::json(
                200,
                json!({ "total_count": 1, "repositories": [{ "full_name": "o/r" }] }),
            ),
            None => refused(
                403,
                "You must authenticate with an installation access token",
            ),
        }
    }

    fn rate_limit(&self, _: &Hit<'_>) -> Answer {
        let core = json!({ "limit": 5_000, "remaining": 4_999, "reset": 0, "used": 1 });
        Answer::json(200, json!({ "resources": { "core": core } }))
    }

    /// An installation's token for an application's.
    fn access_token(&mut self, hit: &Hit<'_>) -> Answer {
        let settings = &self.common.settings;
        let key = settings.public_key.as_deref();
        let claims = match jwt::claims(token(hit.call), key, JWT_SECONDS, hit.now) {
            Ok(claims) => claims,
            Err(why) => {
                return refused(
                    401,
                    &format!("A JSON web token could not be decoded: {why}"),
                );
            }
        };
        let issuer = match &claims["iss"] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if issuer.is_empty() || magic::is_wrong(&issuer) {
            return refused(
                401,
                "'Issuer' claim ('iss') must be an Integer or a client id",
            );
        }
        if hit.arg(0) == "404" {
            return not_found();
        }
        let life = settings.access_token_seconds;
        let permissions =
            json!({ "issues": settings.app_issues, "metadata": "read", "contents": "write" });
        let token = self.common.grants.issue(Some(&issuer), life, hit.now);
        let ends = TimeDelta::try_seconds(life).and_then(|life| hit.now.checked_add_signed(life));
        let ends = second(ends.unwrap_or(hit.now));
        Answer::json(
            201,
            json!({ "token": token, "expires_at": ends, "permissions": permissions,
                "repository_selection": "all" }),
        )
        .mutated()
    }
}

/// What follows `Bearer` in `Authorization`.
fn token(call: &Call) -> &str {
    call.authorization("bearer").unwrap_or_default()
}

/// The moment from which a listing is asked for; its whole second counts.
fn since(call: &Call) -> Result<DateTime<Utc>, chrono::ParseError> {
    match call.param("since") {
        Some(text) => Ok(DateTime::parse_from_rfc3339(text)?.with_timezone(&Utc)),
        None => Ok(DateTime::<Utc>::MIN_UTC),
    }
}

fn paged(call: &Call, all: impl IntoIterator<Item = Value>) -> Answer {
    match PAGES.page(call, all, 30, 100) {
        Some(page) => {
            let answer = Answer::json(200, json!(page.items));
            page.link(call, PAGES, answer)
        }
        None => refused(422, "Validation Failed"),
    }
}

/// A path as it stands in an address.
fn encoded(path: &str) -> String {
    let parts = path.split('/');
    let parts =
        parts.map(|part| url::form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>());
    parts.collect::<Vec<_>>().join("/").replace('+', "%20")
}

/// The link that a comment is about, as a file: its name and where it is.
fn linked(comment: &Comment) -> Option<LedgerFile> {
    let (name, rest) = comment.body.split_once('[')?.1.split_once("](")?;
    let (address, _) = rest.split_once(')')?;
    Some(LedgerFile {
        id: comment.id.to_string(),
        name: name.replace('\\', ""),
        media_type: address.trim_matches(['<', '>']).to_owned(),
        created: moment(comment.created),
        ..LedgerFile::default()
    })
}

/// Whether a request is about a repository by the name that it had before.
fn is_renamed(settings: &Settings, segments: &[String]) -> bool {
    match segments {
        [first, owner, name, ..] if first == "repos" => {
            format!("{owner}/{name}") == settings.renamed_from
        }
        _ => false,
    }
}

impl Tabled for GitHub {
    type Settings = Settings;

    #[rustfmt::skip] // one line a route
    const ROUTES: &'static [Route<Self>] = &[
        route("POST", "/app/installations/*/access_tokens", "access_token",
            Self::access_token).open(),
        view("GET", "/rate_limit", "rate_limit", Self::rate_limit),
        view("GET", "/user", "user", Self::user),
        view("GET", "/installation/repositories", "installation", Self::installed),
        view("GET", "/repos/*/*", "repository", Self::repository),
        route("POST", "/repos/*/*/issues", "create_issue", Self::create),
        route("POST", "/repos/*/*/pulls", "create_pull", Self::create_pull),
        view("GET", "/repos/*/*/issues", "list_issues", Self::list),
        view("GET", "/repos/*/*/issues/*", "get_issue", Self::get),
        route("PATCH", "/repos/*/*/issues/*", "update_issue", Self::update),
        route("POST", "/repos/*/*/issues/*/comments", "add_comment", Self::comment),
        view("GET", "/repos/*/*/issues/*/comments", "list_comments", Self::comments),
        view("GET", "/repos/*/*/assignees", "assignees", Self::assignees),
        view("GET", "/repos/*/*/assignees/*", "check_assignee", Self::assignee),
        view("GET", "/repos/*/*/labels", "labels", Self::labels),
        view("GET", "/repos/*/*/issue-types", "issue_types", Self::issue_types),
        route("PUT", "/repos/*/*/contents/**", "put_contents", Self::put_contents),
        view("GET", "/repos/*/*/contents/**", "get_contents", Self::get_contents),
        route("POST", "/repos/*/*/hooks", "create_hook", Self::create_hook),
        view("GET", "/repos/*/*/hooks", "list_hooks", Self::list_hooks),
        view("GET", "/repos/*/*/hooks/*", "get_hook", Self::get_hook),
        route("DELETE", "/repos/*/*/hooks/*", "delete_hook", Self::delete_hook),
        view("GET", "/repos/*/*/hooks/*/deliveries", "list_deliveries", Self::list_deliveries),
        route("POST", "/repos/*/*/hooks/*/deliveries/*/attempts", "redeliver", Self::redeliver),
    ];
    // Both words are taken ("Authenticating to the REST API"); `@octokit/rest` says `token`.
    const CREDENTIALS: &'static [CredentialSource] = &[
        CredentialSource::Bearer,
        CredentialSource::Header("authorization", "token "),
        CredentialSource::Basic,
    ];
    const RATE: Option<RateHeaders> = Some(RateHeaders {
        limit: "x-ratelimit-limit",
        remaining: "x-ratelimit-remaining",
        reset: "x-ratelimit-reset",
        reset_in: Reset::EpochSeconds,
        retry_after: false,
    });

    fn common(&self) -> &Common<Settings> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<Settings> {
        &mut self.common
    }

    fn refuse(&self, refusal: &Refusal, _: &Call, _: DateTime<Utc>) -> Answer {
        match refusal {
            Refusal::Missing => refused(401, "Requires authentication"),
            Refusal::Wrong | Refusal::Expired => refused(401, "Bad credentials"),
            Refusal::Forbidden | Refusal::Status(403) => {
                refused(403, "Resource not accessible by personal access token")
            }
            Refusal::NoPath | Refusal::OtherMethods(_) => not_found(),
            Refusal::Budget(_) => refused(403, "API rate limit exceeded for user ID 1."),
            Refusal::Status(429) => refused(429, "You have exceeded a secondary rate limit."),
            Refusal::Status(status) => refused(*status, "a fault on demand"),
        }
    }

    /// GitHub Enterprise Server has everything below `/api/v3`.
    fn below(call: &Call) -> &[String] {
        match call.segments.as_slice() {
            [api, version, rest @ ..] if api == "api" && version == "v3" => rest,
            all => all,
        }
    }

    fn objection(&self, hit: &Hit<'_>) -> Option<Answer> {
        let apart = self.common.settings.writes_apart_ms;
        if apart > 0 && hit.call.method != "GET" {
            let now = hit.now.timestamp_millis();
            if now - self.last_write.swap(now, Ordering::Relaxed) < apart {
                let message = "You have exceeded a secondary rate limit. Please wait a few \
                               minutes before you try again.";
                return Some(refused(403, message));
            }
        }
        let has = |name| hit.call.header(name).is_some_and(|value| !value.is_empty());
        if !has("user-agent") {
            let message = "Request forbidden by administrative rules. Please make sure your \
                           request has a User-Agent header";
            return Some(refused(403, message));
        }
        if let Some(version) = hit.call.header("x-github-api-version")
            && !["2022-11-28", "2026-03-10"].contains(&version)
        {
            return Some(refused(400, "the version of the API is not supported"));
        }
        let segments = Self::below(hit.call);
        let rest = segments
            .get(3..)
            .filter(|_| is_renamed(&self.common.settings, segments))?;
        let status = if hit.call.method == "GET" { 301 } else { 307 };
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&hit.call.query)
            .finish();
        let path: Vec<_> = rest.iter().map(|part| encoded(part)).collect();
        let place = format!(
            "{}/repos/moved/here/{}?{query}",
            hit.call.base,
            path.join("/")
        );
        let place = place.trim_end_matches('?');
        Some(
            Answer::json(
                status,
                json!({ "message": "Moved Permanently", "url": place }),
            )
            .header("Location", place),
        )
    }

    fn lines(&self, label: Option<&str>) -> (Vec<LedgerIssue>, u64) {
        self.issues.ledger(label, |issue| LedgerIssue {
            summary: issue.title.clone(),
            description: issue.body.as_str().into(),
            issue_type: issue.kind.clone().unwrap_or_default(),
            status: if issue.is_closed { "closed" } else { "open" }.to_owned(),
            resolution: issue.reason.clone(),
            assignee: issue.assignees.first().cloned(),
            labels: issue.labels.clone(),
            fields: Map::from_iter([("issue_field_values".to_owned(), issue.fields.clone())]),
            comments: issue
                .comments
                .iter()
                .map(|comment| LedgerComment {
                    id: comment.id.to_string(),
                    body: comment.body.as_str().into(),
                    public: true,
                    properties: Map::new(),
                    created: moment(comment.created),
                })
                .collect(),
            attachments: issue.comments.iter().filter_map(linked).collect(),
            ..issue.line()
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
    use bytes::Bytes;

    use super::super::answer::Body;
    use super::super::fake::Fake as _;
    use super::*;

    fn call(method: &str, path: &str, token: &str, body: &Value) -> Call {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("user-agent", "test"),
            ("authorization", &format!("Bearer {token}")),
        ] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::try_from(value).unwrap(),
            );
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body = Bytes::from(body.to_string());
        Call::new(method, path, query, headers, body, "http://h".to_owned())
    }

    fn ask(site: &mut GitHub, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let answer = site.answer(&call(method, path, "t", body), Utc::now());
        match answer.body {
            Body::Json(body) => (answer.status, body),
            _ => (answer.status, Value::Null),
        }
    }

    fn set(site: &mut GitHub, changes: &Value) {
        site.configure(changes.as_object().cloned().unwrap())
            .unwrap();
    }

    #[test]
    fn labels_and_people_are_dropped_without_a_word_from_who_may_not_push() {
        let mut site = GitHub::default();
        let issue = json!({ "title": "t", "labels": ["BUG", "new one"], "assignees": ["ada"],
            "type": "Bug" });
        let (status, shown) = ask(&mut site, "POST", "/repos/o/r/issues", &issue);
        assert_eq!(status, 201);
        assert_eq!(
            shown["labels"],
            json!([{ "name": "bug" }, { "name": "new one" }])
        );
        assert_eq!(shown["assignees"], json!([{ "login": "ada" }]));
        assert_eq!(shown["type"]["name"], "Bug");

        set(&mut site, &json!({ "push": false }));
        let (status, shown) = ask(&mut site, "POST", "/api/v3/repos/o/r/issues", &issue);
        assert_eq!(
            (status, &shown["labels"], &shown["assignees"]),
            (201, &json!([]), &json!([]))
        );
        assert_eq!(shown["type"], Value::Null);
    }

    #[test]
    fn what_github_does_not_take_is_refused_by_its_field() {
        let mut site = GitHub::default();
        for (issue, field) in [
            (json!({}), "title"),
            (json!({ "title": "x".repeat(257) }), "title"),
            (json!({ "title": "t", "body": "x".repeat(65_537) }), "body"),
            (
                json!({ "title": "t", "labels": ["x".repeat(51)] }),
                "labels",
            ),
            (
                json!({ "title": "t", "assignees": ["nobody"] }),
                "assignees",
            ),
            (json!({ "title": "t", "type": "Epic" }), "type"),
        ] {
            let (status, refusal) = ask(&mut site, "POST", "/repos/o/r/issues", &issue);
            assert_eq!(
                (status, &refusal["errors"][0]["field"]),
                (422, &json!(field))
            );
        }
        for (changes, status) in [
            (json!({ "archived": true }), 403),
            (json!({ "has_issues": false }), 410),
            (json!({ "visible": false }), 404),
        ] {
            set(&mut site, &changes);
            let issue = json!({ "title": "t" });
            assert_eq!(
                ask(&mut site, "POST", "/repos/o/r/issues", &issue).0,
                status
            );
        }
        assert!(site.lines(None).0.is_empty());
    }

    #[test]
    fn a_reason_is_taken_with_a_change_of_state_alone() {
        let mut site = GitHub::default();
        ask(
            &mut site,
            "POST",
            "/repos/o/r/issues",
            &json!({ "title": "t" }),
        );
        let mut patch = |body: Value| {
            let (status, shown) = ask(&mut site, "PATCH", "/repos/o/r/issues/1", &body);
            (
                status,
                shown["state"].clone(),
                shown["state_reason"].clone(),
            )
        };
        let closed = patch(json!({ "state": "closed", "state_reason": "not_planned" }));
        assert_eq!(closed, (200, json!("closed"), json!("not_planned")));
        let again = patch(json!({ "state": "closed", "state_reason": "completed" }));
        assert_eq!(again, (200, json!("closed"), json!("not_planned")));
        let open = patch(json!({ "state": "open" }));
        assert_eq!(open, (200, json!("open"), Value::Null));
        assert_eq!(
            patch(json!({ "state": "closed", "state_reason": "reopened" })).0,
            422
        );
    }

    #[test]
    fn listings_are_of_open_ones_unless_asked_and_have_pages_and_pull_requests() {
        let mut site = GitHub::default();
        for title in ["a", "b", "c"] {
            ask(
                &mut site,
                "POST",
                "/repos/o/r/issues",
                &json!({ "title": title }),
            );
        }
        ask(
            &mut site,
            "POST",
            "/repos/o/r/pulls",
            &json!({ "title": "p" }),
        );
        ask(
            &mut site,
            "PATCH",
            "/repos/o/r/issues/1",
            &json!({ "state": "closed" }),
        );
        let mut titles = |query: &str| {
            let (_, list) = ask(
                &mut site,
                "GET",
                &format!("/repos/o/r/issues?{query}"),
                &Value::Null,
            );
            let list = list.as_array().cloned().unwrap_or_default();
            list.iter()
                .map(|one| one["title"].as_str().unwrap().to_owned())
                .collect::<String>()
        };
        assert_eq!(titles(""), "pcb");
        assert_eq!(titles("state=all&direction=asc"), "abcp");
        assert_eq!(titles("state=all&sort=updated&direction=asc"), "bcpa");
        assert_eq!(titles("state=all&per_page=2&page=2&direction=asc"), "cp");
        assert_eq!(titles("state=all&since=2999-01-01T00:00:00Z"), "");
        let list = call("GET", "/repos/o/r/issues?per_page=1", "t", &Value::Null);
        let link = site.answer(&list, Utc::now()).headers[0].1.clone();
        assert_eq!(
            link,
            "<http://h/repos/o/r/issues?per_page=1&page=2>; rel=\"next\""
        );
    }

    #[test]
    fn a_file_is_put_once_into_a_branch_that_there_is() {
        let mut site = GitHub::default();
        let file =
            json!({ "message": "m", "content": STANDARD.encode("hello"), "branch": "attachments" });
        let path = "/repos/o/r/contents/a/b%20c.txt";
        let (status, put) = ask(&mut site, "PUT", path, &file);
        // As `git hash-object` says.
        let sha = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        assert_eq!((status, &put["content"]["sha"]), (201, &json!(sha)));
        let page = "http://h/o/r/blob/attachments/a/b%20c.txt";
        assert_eq!(put["content"]["html_url"], page);
        assert_eq!(ask(&mut site, "PUT", path, &file).0, 422);
        let (status, found) = ask(
            &mut site,
            "GET",
            &format!("{path}?ref=attachments"),
            &Value::Null,
        );
        assert_eq!((status, &found["html_url"]), (200, &json!(page)));
        assert_eq!(ask(&mut site, "GET", path, &Value::Null).0, 404);
        let elsewhere = json!({ "message": "m", "content": "", "branch": "none" });
        assert_eq!(ask(&mut site, "PUT", path, &elsewhere).0, 404);
    }

    #[test]
    fn a_renamed_repository_leads_on_and_limits_are_refused_with_403() {
        let mut site = GitHub::default();
        set(&mut site, &json!({ "renamed_from": "old/name" }));
        let moved = site.answer(
            &call("GET", "/repos/old/name/issues?state=all", "t", &Value::Null),
            Utc::now(),
        );
        assert_eq!(
            (moved.status, &moved.headers[0].1),
            (
                301,
                &HeaderValue::from_static("http://h/repos/moved/here/issues?state=all")
            )
        );
        let issue = json!({ "title": "t" });
        assert_eq!(
            ask(&mut site, "POST", "/repos/old/name/issues", &issue).0,
            307
        );
        assert!(site.lines(None).0.is_empty());

        set(&mut site, &json!({ "writes_apart_ms": 60_000 }));
        for (method, status) in [("POST", 201), ("GET", 200), ("POST", 403)] {
            let (found, said) = ask(&mut site, method, "/repos/o/r/issues", &issue);
            assert_eq!(found, status, "{said}");
        }
        set(&mut site, &json!({ "writes_apart_ms": 0 }));

        set(
            &mut site,
            &json!({ "budget": { "requests": 1, "seconds": 60 } }),
        );
        assert_eq!(ask(&mut site, "POST", "/repos/o/r/issues", &issue).0, 201);
        assert_eq!(ask(&mut site, "POST", "/repos/o/r/issues", &issue).0, 403);
        assert_eq!(
            ask(&mut GitHub::default(), "GET", "/nothing", &Value::Null).0,
            404
        );
        let wrong = site.answer(&call("GET", "/user", "t-wrong", &Value::Null), Utc::now());
        assert_eq!(wrong.status, 401);
    }
}
