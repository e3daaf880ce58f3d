//! GitHub issues, REST: api.github.com, Enterprise Cloud and Enterprise Server.
//!
//! Sources: GitHub's OpenAPI description (npm `@octokit/openapi` 23.0.2) and docs.github.com/rest
//! ("Issues", "Rate limits for the REST API", "Authenticating as a GitHub App installation").
//!
//! **Duplicates**: no idempotency key. The last line of a body is a comment of HTML, which nobody
//! sees, with the mark. An issue is found by listing the repository's issues, a comment by listing
//! those of its issue: both show what there is, other than the search, whose index lags. Changes of
//! fields and state are idempotent.
//!
//! **Silent drops**: who may not push can open an issue, but GitHub drops its labels, assignees and
//! type without a word. Every answer is compared with what was sent, and the receipt says what was
//! dropped.

mod hooks;
mod inbound;
mod item;
mod labels;
mod reader;
mod state;
mod steps;

pub(super) use self::inbound::HOOKS;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use self::item::{Comment, Issue};
use self::labels::Labels;
use self::state::State;
use super::api::Api;
use super::classify::{ErrorTable, Fields, Means, Rule, Shape as Body, rule};
use super::inbound::Registrar;
use super::mapping::FieldMap;
use super::members::{Members, judged, url};
use super::path::below;
use super::rate::{Left, Quota, RateHeaders, ResetIn};
use super::tokens::{Client, ClientAuth, Grant, OauthFlow, RsaKey};
use super::users::Users;
use super::{
    Adapter, AdapterError, Auth, BaseUrl, CallContext, CheckReport, CustomFields, Deletes,
    Descriptor, Effect, ErrorClass, Exception, Facts, HostSuffix, Inbound, Known, Member, Mode,
    Operation, OperationKind, Pages, Plan, Prepared, Protection, Reader, Receipt, Response, Scope,
    Shape, Strangers, TestKind, TicketFacts, TokenFlow, any_version,
};
use crate::domain::{AuthType, Integration, Platform, TicketView};
use crate::secrets::Credentials;

/// Where github.com's interface is.
const API: &str = "https://api.github.com";
/// Versions of the interface that this adapter speaks, the usual one first. The older one is kept
/// for two years after a newer one came (docs.github.com, "API Versions").
const VERSIONS: [&str; 2] = ["2022-11-28", "2026-03-10"];
/// When to look for what a lost request made: listings are current, but it may still be under way.
static LOOK_UPS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];
/// How long what was learned of a repository is believed; what is refused is asked for again.
const HOUR: Duration = Duration::from_secs(3_600);
/// The pause where a limit says no time: GitHub asks for a minute at least.
const MINUTE: Duration = Duration::from_secs(60);
/// Seconds by which GitHub's clock may be behind ours.
const CLOCKS: i64 = 120;
/// Pages of a hundred that a look-up reads at most.
const PAGES_MAX: usize = 50;
/// Pages of labels, people or types that are read at most.
const CHOICES_MAX: usize = 20;
/// Longest title (unconfirmed).
const TITLE_MAX: usize = 256;
/// Longest body of an issue or a comment ("body is too long (maximum is 65536 characters)").
const BODY_MAX: usize = 65_536;
/// Characters that are read of a text: escapes and the mark come to it.
const TEXT_MAX: usize = 60_000;
/// What GitHub says of a file that is there already (unconfirmed): it wants to know which version
/// is replaced.
const FILE_IS_THERE: &str = "\"sha\" wasn't supplied";

/// GitHub refuses an unknown credential with 401, and never answers with a web page.
const STRANGERS: Strangers = Strangers {
    signs: &[],
    known: &[],
    pages: Pages::Never,
};

/// A repository that was renamed or transferred is at the same host.
static REDIRECTS: [HostSuffix; 1] = [HostSuffix::Own];

/// How far apart requests that change something are sent: a second at least (docs.github.com, "Best
/// practices for using the REST API"), and what one may be longer on its way than the next.
const WRITES_APART: Duration = Duration::from_millis(1_100);

/// docs.github.com, "Rate limits for the REST API": a limit is 403 or 429; `retry-after` first,
/// then the reset of the primary limit, else a minute.
const RATE: RateHeaders = RateHeaders {
    quotas: &[Quota {
        left: Left::In("x-ratelimit-remaining"),
        reset: Some(("x-ratelimit-reset", ResetIn::EpochSeconds)),
        scope: Scope::Integration,
    }],
    writes_apart: WRITES_APART,
    ..RateHeaders::retry_after(MINUTE, Scope::Integration)
};

/// A limit of GitHub's that is no 429.
const LIMITED: Means = Means::RateLimited(Scope::Integration, MINUTE);

/// What GitHub's refusals mean.
static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Body::Json {
        codes: &["/errors/0/code"],
        texts: &["/message", "/errors/0/message", "/errors/0"],
        fields: &[Fields::List {
            at: "/errors",
            name: "/field",
            text: "/code",
        }],
    }],
    rules: &[
        rule(403).header("retry-after", "").means(LIMITED),
        rule(403)
            .header("x-ratelimit-remaining", "0")
            .means(LIMITED),
        rule(403)
            .text(&["secondary rate limit", "abuse"])
            .means(LIMITED),
        rule(422).text(&["spammed"]).means(LIMITED),
        rule(403)
            .header("x-github-sso", "")
            .means(Means::Permission)
            .advice("authorize the token for the organization's single sign-on"),
        rule(404).means(Means::NotFound).advice(
            "GitHub says so too where the credential may not see it: compare settings.owner and \
             settings.repository, and what the credential is for",
        ),
        // Two commits into one branch at a time.
        rule(409).means(Means::Transient),
        // A repository that moved, where a redirect is not followed: what makes something is only
        // sent on where GitHub says that method and body are to be kept.
        Rule::any()
            .statuses(301, 302)
            .means(Means::Validation)
            .advice(
                "the repository may have been renamed or transferred: compare \
                     settings.owner and settings.repository",
            ),
    ],
    ok: None,
    fields: &[
        ("title", "title"),
        ("body", "description"),
        ("data", "body"),
        ("labels", "tags"),
        ("assignees", "assigned_to_id"),
        ("assignee", "assigned_to_id"),
        ("type", "category"),
        ("state", "status"),
        ("state_reason", "status"),
        ("issue_field_values", "custom_fields"),
    ],
    rate: RATE,
};

/// How a lost request is found again.
const PROTECTION: &str = "lookup: a hidden last line, found by listing the repository's issues \
                          or the issue's comments; an \
                          empty listing counts as proof after 30 s";
/// What a platform without comments of its own for some people cannot do.
const INTERNAL_COMMENTS: Exception = Exception::part(
    OperationKind::Comment,
    "comments that are not public, without settings.internal_comments",
    NO_PRIVATE,
);
const NO_PRIVATE: &str = "GitHub has no private comments: everybody who sees the repository \
                          would read it; settings.internal_comments = true posts it \
                          nevertheless";
/// What GitHub's interface has no request for.
const BYTES: Exception = Exception::part(
    OperationKind::Attach,
    "bytes in the command, without settings.attachments = commit",
    NO_UPLOAD,
);
const NO_UPLOAD: &str = "GitHub takes no files for issues by its interface: give a url in place \
                         of content_base64, or set settings.attachments to commit, which puts \
                         files into a branch of the repository";

/// The application's private key.
fn private_key(pem: &str) -> Result<RsaKey, AdapterError> {
    RsaKey::from_pem("credentials.private_key", &SecretString::from(pem))
}

/// An owner of repositories: letters, digits and hyphens; managed users have an underscore.
fn owner_of(given: &str) -> Result<String, AdapterError> {
    let owner = given.trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=100).contains(&owner.len()) && owner.bytes().all(fits) {
        return Ok(owner.to_owned());
    }
    Err(AdapterError::field(
        "settings.owner",
        "is no owner of repositories: letters, digits and hyphens, as in \
         github.com/OWNER/REPOSITORY",
    ))
}

/// A repository's name without its owner.
fn repository_of(given: &str) -> Result<String, AdapterError> {
    let name = given.trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_dots = matches!(name, "." | "..");
    if (1..=100).contains(&name.len()) && name.bytes().all(fits) && !is_dots {
        return Ok(name.to_owned());
    }
    Err(AdapterError::field(
        "settings.repository",
        "is no name of a repository: letters, digits, hyphens, underscores and dots, without \
         its owner, as in github.com/OWNER/REPOSITORY",
    ))
}

/// The number of an application or of an installation.
fn number_of(member: &str, given: &str) -> Result<String, AdapterError> {
    let number = given.trim();
    if is_number(number) {
        return Ok(number.to_owned());
    }
    let fault = "is no number; it stands in the address of the page of the GitHub App or of its \
                 installation";
    Err(AdapterError::field(member, fault))
}

/// The number of an issue.
fn is_number(text: &str) -> bool {
    (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A branch that files are put into.
fn branch_of(given: &str) -> Result<String, AdapterError> {
    let branch = given.trim();
    let fits = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    let is_ref = !branch.starts_with(['/', '.', '-']) && !branch.contains("..");
    if (1..=200).contains(&branch.len()) && branch.chars().all(fits) && is_ref {
        return Ok(branch.to_owned());
    }
    Err(AdapterError::field(
        "settings.attachment_branch",
        "is no name of a branch, e.g. attachments",
    ))
}

/// How files are attached: `true` where they are committed.
fn commits_files(given: &str) -> Result<bool, AdapterError> {
    match given.trim() {
        "link" => Ok(false),
        "commit" => Ok(true),
        _ => Err(AdapterError::field(
            "settings.attachments",
            "must be link or commit",
        )),
    }
}

/// Application and installation; `id` is how the application is called.
const fn app_members(id: Member) -> [Member; 3] {
    [
        id,
        Member::required(
            "private_key",
            "private key of the GitHub App, PEM as GitHub gives it",
        )
        .shaped(Shape::Checked(|value| judged(value, private_key))),
        Member::required("installation_id", "number of the App's installation")
            .open()
            .shaped(Shape::Checked(|value| {
                judged(value, |text| number_of("credentials.installation_id", text))
            })),
    ]
}

static BY_CLIENT_ID: [Member; 3] = app_members(
    Member::required(
        "client_id",
        "client id of the GitHub App, as GitHub recommends",
    )
    .open(),
);
static BY_APP_ID: [Member; 3] = app_members(
    Member::required("app_id", "number of the GitHub App")
        .open()
        .shaped(Shape::Checked(|value| {
            judged(value, |text| number_of("credentials.app_id", text))
        })),
);

/// GitHub's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Github,
    modes: &[
        Mode {
            auth_type: AuthType::Bearer,
            name: "personal access token",
            except: &[INTERNAL_COMMENTS, BYTES],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&[Member::required(
                "token",
                "personal access token: fine-grained with issues (and, for attachments = \
                 commit, contents) read and write, or classic with the scope repo",
            )]],
        },
        Mode {
            auth_type: AuthType::Custom,
            name: "GitHub App",
            except: &[INTERNAL_COMMENTS, BYTES],
            cannot_read: None,
            protection: PROTECTION,
            credentials: &[&BY_CLIENT_ID, &BY_APP_ID],
        },
    ],
    settings: &[
        Member::optional(
            "owner",
            "owner of the repository; it, or organization, is required",
        )
        .shaped(Shape::Checked(|value| judged(value, owner_of))),
        Member::optional("organization", "the owner, where that is an organization")
            .shaped(Shape::Checked(|value| judged(value, owner_of))),
        Member::required(
            "repository",
            "repository that issues are made in, without its owner",
        )
        .shaped(Shape::Checked(|value| judged(value, repository_of))),
        Member::optional(
            "attachments",
            "link (default): a comment with the file's own address; commit: the file is put \
             into a branch first",
        )
        .shaped(Shape::Checked(|value| judged(value, commits_files))),
        Member::optional(
            "attachment_branch",
            "branch that files are put into (default attachments); it has to be there",
        )
        .shaped(Shape::Checked(|value| judged(value, branch_of))),
        Member::optional(
            "use_issue_types",
            "whether issues get a type of the organization: Bug, Feature or Task",
        )
        .shaped(Shape::Switch),
        Member::optional(
            "internal_comments",
            "true: comments that are not public are posted too, where everybody reads them",
        )
        .shaped(Shape::Switch),
        Member::optional(
            "status_map",
            "object: status of ours → open, completed, not_planned, duplicate, or a label of an \
             open issue",
        )
        .shaped(Shape::Object),
        Member::optional("priority_map", "object: priority of ours → label").shaped(Shape::Object),
        Member::optional("category_map", "object: category of ours → label").shaped(Shape::Object),
        Member::optional(
            "users",
            "object: id or e-mail address of ours → login at GitHub",
        )
        .shaped(Shape::Object),
    ],
    base_url: BaseUrl::Default(API),
    // Another reason than that of a ticket that was done.
    deletes: Deletes::Native,
    stable_ref: "issue_id",
    strangers: STRANGERS,
    rate: RATE,
    custom_fields: CustomFields {
        allows: is_number,
        help: "the number of an issue field of the organization; what is not mapped stands at \
               the end of the description",
        one_each: true,
    },
    text_max: Some(TEXT_MAX),
    version_fault: any_version,
    limits: &[
        "title 256 characters; description and comment 65,536; label 50; 10 assignees",
        "5,000 requests an hour a token, 80 contents a minute and 500 an hour; 900 points a \
         minute, of which a write takes 5",
    ],
};

/// One repository's issues.
pub struct GitHub {
    api: Api,
    owner: String,
    repository: String,
    /// The branch that files are put into, where they are.
    branch: Option<String>,
    uses_types: bool,
    posts_internal: bool,
    labels: Labels,
    users: Users,
    fields: FieldMap,
    flow: Option<OauthFlow>,
}

/// What [`Known`] calls the login of an assignee.
const ASSIGNEE: &str = "assignee";
/// What [`Known`] calls the type of an issue.
const KIND: &str = "type";
/// What [`Known`] calls the body of a change.
const CHANGE: &str = "change";
/// What [`Known`] calls the address of a file.
const FILE_URL: &str = "file_url";
/// Where the receipt of a status tells of its summary.
const SUMMARY_COMMENT: &str = "resolution_comment";
/// What the memory calls the types of the organization.
const ISSUE_TYPES: &str = "issue types";

/// A summary that says something.
fn said(summary: Option<&str>) -> Option<&str> {
    summary.filter(|text| !text.trim().is_empty())
}

/// Where GitHub is.
fn base_of(given: Option<&str>) -> Result<Url, AdapterError> {
    let base = url("base_url", given.unwrap_or(API), API)?;
    match base.host_str() {
        Some("github.com" | "www.github.com") => Err(AdapterError::field(
            "base_url",
            "is the site for people; the interface is at https://api.github.com, and that of an \
             Enterprise Server at https://HOST/api/v3",
        )),
        _ => Ok(base),
    }
}

impl GitHub {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Github, integration, credentials);
        let base = base_of(integration.base_url.as_deref())?;
        let version = match integration.api_version.as_deref() {
            None => VERSIONS[0],
            Some(given) => {
                let known = VERSIONS.iter().find(|version| **version == given);
                *known.ok_or_else(|| {
                    let fault = format!("must be one of {} for github", VERSIONS.join(", "));
                    AdapterError::field("api_version", fault)
                })?
            }
        };
        let headers = [
            (
                ACCEPT,
                HeaderValue::from_static("application/vnd.github+json"),
            ),
            (
                HeaderName::from_static("x-github-api-version"),
                HeaderValue::from_static(version),
            ),
        ];
        let (auth, flow) = match integration.auth_type {
            AuthType::Bearer => (Auth::Bearer(members.secret("token")?), None),
            AuthType::Custom => {
                let key = members.secret("private_key")?;
                let grant = Grant::GithubApp(RsaKey::from_pem("credentials.private_key", &key)?);
                let installation = members.text("installation_id")?;
                let installation = number_of("credentials.installation_id", &installation)?;
                let path = ["app", "installations", &installation, "access_tokens"];
                let client = Client {
                    id: members
                        .text("client_id")
                        .or_else(|_| members.text("app_id"))?,
                    secret: None,
                    auth: ClientAuth::None,
                };
                let flow = OauthFlow::new("GitHub", below(&base, &path)?, grant, client);
                let flow = headers.iter().fold(flow, |flow, (name, value)| {
                    flow.header(name.clone(), value.clone())
                });
                (Auth::OAuth, Some(flow))
            }
            AuthType::ApiKey | AuthType::Oauth2 | AuthType::Basic => {
                return Err(AdapterError::field(
                    "auth_type",
                    "must be bearer (a token) or custom (a GitHub App) for github",
                ));
            }
        };
        let api = Api::new(base, auth, &ERRORS).follow(&REDIRECTS);
        let api = headers
            .into_iter()
            .fold(api, |api, (name, value)| api.header(name, value));
        let owner = members
            .setting("owner")
            .or_else(|| members.setting("organization"));
        let owner = owner.ok_or_else(|| {
            let fault = "is required for github: the user or organization that has the repository";
            AdapterError::field("settings.owner", fault)
        })?;
        let commits = members.setting("attachments").as_deref().map(commits_files);
        let branch = members.setting("attachment_branch");
        let branch = branch_of(branch.as_deref().unwrap_or("attachments"))?;
        Ok(Self {
            api,
            owner: owner_of(&owner)?,
            repository: repository_of(&members.required_setting("repository")?)?,
            branch: commits.transpose()?.unwrap_or(false).then_some(branch),
            uses_types: members.switch("use_issue_types")?,
            posts_internal: members.switch("internal_comments")?,
            labels: Labels::of(&members)?,
            users: Users::of(&members)?,
            fields: FieldMap::of(&integration.custom_fields_mapping),
            flow,
        })
    }
}

/// What the receipt of a status tells of its summary.
fn shown_summary(comment: &Comment) -> Receipt {
    let details = Map::from_iter([(SUMMARY_COMMENT.to_owned(), json!(comment.id()))]);
    Receipt {
        details,
        ..Receipt::default()
    }
}

#[async_trait]
impl Adapter for GitHub {
    async fn prepare(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        match operation {
            Operation::Create { ticket, .. } => {
                self.prepare_create(context, ticket, &mut known).await?;
            }
            Operation::Update { ticket, patch, .. } => {
                let mut change = self.changes(ticket, patch, &mut known.details);
                if labels::touches(patch) {
                    // A change of the labels replaces all of them: those that people gave stay.
                    let issue = self.issue(context, Self::number(ticket)?).await?;
                    if let Some(labels) = self.labels.patched(&issue.labels(), patch) {
                        change.insert("labels".into(), json!(labels));
                    }
                }
                if change.is_empty() {
                    let text = "GitHub has nothing of what changed, or it stands there already";
                    known.details.insert("unchanged".into(), text.into());
                    return Ok(Prepared::Done(Receipt {
                        details: known.details,
                        ..Receipt::default()
                    }));
                }
                known.found.insert(CHANGE.into(), change.into());
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                ..
            } => {
                let has_summary = said(*resolution_summary).is_some();
                let word = self.labels.status(*status);
                return self
                    .prepare_state(context, ticket, word, has_summary, known)
                    .await;
            }
            Operation::Delete { ticket, .. } => {
                let word = state::NOT_PLANNED;
                return self
                    .prepare_state(context, ticket, word, false, known)
                    .await;
            }
            Operation::Assign {
                assignee: Some(person),
                ..
            } => match self.login_of(context, person).await? {
                Ok(login) => drop(known.found.insert(ASSIGNEE.into(), login.into())),
                Err(why) => {
                    let fault = format!("cannot be assigned: {why}");
                    return Err(AdapterError::field("assigned_to_id", fault));
                }
            },
            Operation::Attach { ticket, file, key } => {
                if let Some(branch) = &self.branch {
                    let url = self
                        .put_file(context, branch, ticket, file, key.marker)
                        .await?;
                    known.found.insert(FILE_URL.into(), url.into());
                }
            }
            Operation::Assign { assignee: None, .. } | Operation::Comment { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    fn plan(&self, operation: &Operation<'_>, known: &Known) -> Result<Plan, AdapterError> {
        let request = match operation {
            Operation::Create { ticket, key } => {
                let (body, left_out) = self.create_body(ticket, key.marker, known);
                let request = self.api.make(Method::POST, &self.at(&["issues"]))?;
                return Ok(Plan {
                    request: request.json(&body).into(),
                    left_out,
                });
            }
            Operation::Update { ticket, patch, .. } => {
                let change = match known.found.get(CHANGE) {
                    Some(change) => change.clone(),
                    None => self.shown_change(ticket, patch),
                };
                self.change_request(Self::number(ticket)?, &change)?
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => {
                let number = Self::number(ticket)?;
                match (known.found.get(CHANGE), said(*resolution_summary)) {
                    (None, Some(summary)) => {
                        let body = item::text(summary, key.marker);
                        self.comment_request(number, &body)?
                    }
                    (Some(change), _) => self.change_request(number, change)?,
                    // Which labels the issue has is looked up when it is done.
                    (None, None) => {
                        let change = labels::shown_move(self.labels.status(*status));
                        self.change_request(number, &change)?
                    }
                }
            }
            Operation::Delete { ticket, .. } => {
                let shown = || labels::shown_move(state::NOT_PLANNED);
                let change = known.found.get(CHANGE).cloned().unwrap_or_else(shown);
                self.change_request(Self::number(ticket)?, &change)?
            }
            Operation::Assign {
                ticket, assignee, ..
            } => {
                let looked_up = assignee.and_then(|person| self.users.known(person));
                let login = assignee.and(known.text(ASSIGNEE).or(looked_up));
                // Without a login nothing is sent; it stands for itself in a dry run.
                let logins = match (assignee, login) {
                    (_, Some(login)) => json!([login]),
                    (Some(person), None) => json!([{ "lookup": person.id }]),
                    (None, None) => json!([]),
                };
                let change = json!({ "assignees": logins });
                self.change_request(Self::number(ticket)?, &change)?
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => {
                if !public && !self.posts_internal {
                    return Err(AdapterError::unsupported(NO_PRIVATE));
                }
                let body = item::text(body, key.marker);
                self.comment_request(Self::number(ticket)?, &body)?
            }
            Operation::Attach { ticket, file, key } => {
                let body = self.file_comment(file, key.marker, known)?;
                self.comment_request(Self::number(ticket)?, &body)?
            }
        };
        Ok(request.into())
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let changed = |what| self.api.take::<Issue>(answer, Effect::Idempotent, what);
        let set = |what| -> Result<Receipt, AdapterError> {
            let issue = changed(what)?;
            let sent = known.found.get(CHANGE).cloned().unwrap_or_default();
            Ok(Receipt {
                details: issue.dropped(&sent),
                ..Receipt::default()
            })
        };
        let commented = || {
            let what = "commenting on the issue";
            self.api.take::<Comment>(answer, Effect::Create, what)
        };
        match operation {
            Operation::Create { ticket, key } => {
                let made = self.api.take(answer, Effect::Create, "creating the issue");
                let issue: Issue = made.map_err(worth_less)?;
                let (sent, _) = self.create_body(ticket, key.marker, known);
                Ok(issue.receipt(&sent))
            }
            Operation::Update { .. } => set("updating the issue"),
            Operation::Status { status, .. } if known.found.contains_key(CHANGE) => Ok(Receipt {
                wrote: state::written_state(self.labels.status(*status)),
                ..set("changing the state")?
            }),
            Operation::Delete { .. } => Ok(Receipt {
                wrote: state::written_state(state::NOT_PLANNED),
                ..set("closing the issue")?
            }),
            Operation::Status { .. } => Ok(shown_summary(&commented()?)),
            Operation::Assign { .. } => {
                let issue = changed("assigning the issue")?;
                let login = known.text(ASSIGNEE);
                let wanted: Vec<_> = login.into_iter().collect();
                if issue.is_assigned(&wanted) {
                    return Ok(Receipt {
                        wrote: Facts {
                            assignee: Some(issue.holder()),
                            ..Facts::default()
                        },
                        ..Receipt::default()
                    });
                }
                let text = "assigning the issue: GitHub took the request and did not do it, as \
                            is its way with who has no write access to the repository: give it \
                            to the credential";
                Err(AdapterError::new(ErrorClass::Permission, text))
            }
            Operation::Comment { .. } => Ok(Receipt {
                external_comment_id: Some(commented()?.id()),
                ..Receipt::default()
            }),
            Operation::Attach { .. } => Ok(Receipt {
                external_attachment_id: Some(commented()?.id()),
                ..Receipt::default()
            }),
        }
    }

    async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { ticket, key } => {
                let found = self.find_issue(context, operation).await?;
                let (sent, _) = self.create_body(ticket, key.marker, &Known::default());
                Ok(found.map(|issue| issue.receipt(&sent)))
            }
            Operation::Comment { ticket, .. } => {
                let found = self
                    .find_comment(context, ticket, operation, |_| true)
                    .await?;
                Ok(found.map(|comment| Receipt {
                    external_comment_id: Some(comment.id()),
                    ..Receipt::default()
                }))
            }
            // The summary is the last that a change of status does: where it is, all is done.
            Operation::Status {
                ticket,
                resolution_summary,
                ..
            } if said(*resolution_summary).is_some() => {
                let found = self
                    .find_comment(context, ticket, operation, |_| true)
                    .await?;
                Ok(found.as_ref().map(shown_summary))
            }
            Operation::Attach { ticket, file, key } => {
                // All files of a command have the same mark.
                let name = file.key(key.marker);
                let known = Known::rehearsal();
                let linked = match self.branch {
                    Some(_) => None,
                    None => Some(self.file_comment(file, key.marker, &known)?),
                };
                let is_it = |comment: &Comment| match &linked {
                    Some(text) => comment.text().trim() == text.trim(),
                    None => comment.text().contains(&name),
                };
                let found = self.find_comment(context, ticket, operation, is_it).await?;
                Ok(found.map(|comment| Receipt {
                    external_attachment_id: Some(comment.id()),
                    ..Receipt::default()
                }))
            }
            // Idempotent: nothing to look for.
            Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Delete { .. } => Ok(None),
        }
    }

    /// A change of status whose summary is not posted.
    async fn partly(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let Operation::Status {
            ticket,
            status,
            resolution_summary: Some(_),
            ..
        } = operation
        else {
            return Ok(None);
        };
        let issue = self.issue(context, Self::number(ticket)?).await?;
        let word = self.labels.status(*status);
        let is_there = issue.is_closed() == State::of(word).is_closed()
            && self.labels.moved(&issue.labels(), word).is_none();
        let text = "not posted: no attempt is left; ticket.comment can still post it";
        Ok(is_there.then(|| Receipt {
            details: Map::from_iter([(SUMMARY_COMMENT.to_owned(), Value::from(text))]),
            ..Receipt::default()
        }))
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            TestKind::Connection => self.check_connection(context).await,
            TestKind::Authentication => self.check_authentication(context).await,
            TestKind::Permissions => self.check_permissions(context).await,
            TestKind::CreateTicket => self.check_create(context).await,
        }
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn registrar(&self) -> Option<&dyn Registrar> {
        Some(self)
    }

    fn ours(&self, facts: &Facts) -> TicketFacts {
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            status: facts
                .status
                .as_deref()
                .and_then(|word| self.labels.our_status(word)),
            priority: facts
                .priority
                .as_deref()
                .and_then(|label| self.labels.our_priority(label)),
            assignee: facts.assignee.clone(),
            tags: facts
                .tags
                .as_ref()
                .map(|labels| self.labels.our_tags(labels)),
            ..TicketFacts::default()
        }
    }

    fn theirs(&self, ticket: &TicketView) -> Facts {
        Facts {
            title: Some(item::title_of(&ticket.title).0),
            description: Some(self.described(ticket)),
            priority: self.labels.priority(ticket.priority).map(str::to_owned),
            ..state::written_state(self.labels.status(ticket.status))
        }
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        self.flow.as_ref().map(|flow| flow as &dyn TokenFlow)
    }

    fn protection(&self, kind: OperationKind) -> Protection {
        match kind {
            // With a summary, a change of status ends in a comment.
            OperationKind::Create
            | OperationKind::Comment
            | OperationKind::Attach
            | OperationKind::Status => Protection::Lookup {
                schedule: &LOOK_UPS,
                upsert: false,
            },
            OperationKind::Update | OperationKind::Assign | OperationKind::Delete => {
                Protection::Native
            }
        }
    }

    fn protection_of(&self, operation: &Operation<'_>) -> Protection {
        match operation {
            Operation::Status {
                resolution_summary, ..
            } if said(*resolution_summary).is_none() => Protection::Native,
            Operation::Create { .. }
            | Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Comment { .. }
            | Operation::Attach { .. }
            | Operation::Delete { .. } => self.protection(operation.kind()),
        }
    }
}

/// A create that was refused for what it can do without made nothing, and is worth sending once
/// more.
fn worth_less(error: AdapterError) -> AdapterError {
    let ErrorClass::Validation { fields } = &error.class else {
        return error;
    };
    let theirs = |ours: &str| match ours {
        "tags" => Some("labels"),
        "assigned_to_id" => Some("assignees"),
        "category" => Some("type"),
        "custom_fields" => Some("issue_field_values"),
        _ => None,
    };
    let without = fields.iter().map(|(ours, fault)| {
        let name = theirs(ours)?;
        Some((name.to_owned(), fault.clone()))
    });
    let without: Option<std::collections::BTreeMap<_, _>> = without.collect();
    match without {
        Some(without) if !without.is_empty() => error.worth_it_without(without),
        Some(_) | None => error,
    }
}
