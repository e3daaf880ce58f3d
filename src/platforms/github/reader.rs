//! What is read back: an issue, what changed, what can be chosen; and the checks of an integration.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::item::{self, Issue};
use super::{CLOCKS, ERRORS, GitHub, is_number, state};
use crate::platforms::api::next_link;
use crate::platforms::{
    AdapterError, CallContext, ChangePage, CheckReport, Effect, ErrorClass, ExternalItem, Fit,
    ItemRef, PlatformField, Reader, Request, SyncFrom, TokenFlow as _,
};

/// Bytes of a page of issues: a hundred bodies of 64 kB, and what is around them.
pub(super) const PAGE_BYTES: usize = 16 << 20;
/// Issues of a page.
const PAGE: &str = "100";

impl GitHub {
    /// A listing of what changed since a moment, the oldest change first.
    fn listing(&self, since: Option<DateTime<Utc>>) -> Result<Request, AdapterError> {
        let request = self.api.get(&self.at(&["issues"]))?.up_to(PAGE_BYTES);
        let request = request.query([
            ("state", "all"),
            ("sort", "updated"),
            ("direction", "asc"),
            ("per_page", PAGE),
        ]);
        let since = since.map(|since| ("since", item::before(since, CLOCKS)));
        Ok(request.query(since))
    }

    /// Where the listing goes on. By numbers of pages, an issue that changes meanwhile would move
    /// to the end, and the one behind it would slip from the next page onto this one, which is read
    /// already. So the next page begins at the last moment of this one, unless all of it has the
    /// same.
    fn after(
        &self,
        asked: &Request,
        link: &str,
        last: Option<&str>,
    ) -> Result<String, AdapterError> {
        let next = self.api.next_page(asked, link)?;
        let began = asked.url.query_pairs().find(|(name, _)| name == "since");
        let Some(last) = last.filter(|last| began.is_none_or(|(_, began)| **last > *began)) else {
            return Ok(next.url.into());
        };
        Ok(with_query(&next, &[("since", last)], "page").url.into())
    }

    /// Whether the repository is there for this credential.
    async fn sees_repository(&self, context: &CallContext<'_>) -> Result<bool, AdapterError> {
        let answer = context.send(self.api.get(&self.at(&[]))?).await?;
        if answer.status == 404 {
            return Ok(false);
        }
        ERRORS.check(&answer, Effect::Read, "reading the repository")?;
        Ok(true)
    }

    pub(super) async fn check_connection(
        &self,
        context: &CallContext<'_>,
    ) -> Result<CheckReport, AdapterError> {
        let report = |message: &str| CheckReport {
            message: message.to_owned(),
            details: Map::new(),
        };
        // Whether GitHub is reached at all; whom it lets in is another question. Servers without
        // limits have no such page.
        match context.send(self.api.get(&["rate_limit"])?).await {
            Ok(answer) if matches!(answer.status, 401 | 403 | 404) => {
                Ok(report(&format!("GitHub answers ({})", answer.status)))
            }
            Ok(answer) => {
                ERRORS.check(&answer, Effect::Read, "reaching GitHub")?;
                let limits: Value = answer.json(Effect::Read)?;
                let core = limits["resources"]["core"].clone();
                Ok(CheckReport {
                    details: Map::from_iter([("rate_limit".to_owned(), core)]),
                    ..report("GitHub answers")
                })
            }
            Err(error) if error.class == ErrorClass::Authentication => {
                Ok(report("GitHub answers, but does not take the credential"))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn check_authentication(
        &self,
        context: &CallContext<'_>,
    ) -> Result<CheckReport, AdapterError> {
        let what = "authenticating";
        if self.flow.is_some() {
            let request = self.api.get(&["installation", "repositories"])?;
            let request = request.query([("per_page", "1")]);
            let found: Value = self.api.ask(context, request, what).await?;
            let count = found["total_count"].clone();
            return Ok(CheckReport {
                message: "authenticated as an installation of the GitHub App".into(),
                details: Map::from_iter([("repositories".to_owned(), count)]),
            });
        }
        let me: Map<String, Value> = self
            .api
            .ask(context, self.api.get(&["user"])?, what)
            .await?;
        let login = me
            .get("login")
            .and_then(Value::as_str)
            .unwrap_or("the account");
        let message = format!("authenticated as {login}");
        let details = me
            .into_iter()
            .filter(|(name, _)| matches!(name.as_str(), "login" | "type"));
        Ok(CheckReport {
            message,
            details: details.collect(),
        })
    }

    /// Anybody who may read may open an issue; without more, GitHub drops labels, assignees and
    /// type.
    pub(super) async fn check_permissions(
        &self,
        context: &CallContext<'_>,
    ) -> Result<CheckReport, AdapterError> {
        let what = "reading the repository";
        let request = self.api.get(&self.at(&[]))?;
        let found: Value = self.api.ask(context, request, what).await?;
        let name = format!("{}/{}", self.owner, self.repository);
        let lacks = |text: String| Err(AdapterError::new(ErrorClass::Permission, text));
        if found["has_issues"] == false {
            return lacks(format!(
                "{name} has no issues: turn them on in the repository's settings"
            ));
        }
        if found["archived"] == true {
            return lacks(format!(
                "{name} is archived, so that nothing in it can be changed"
            ));
        }
        let mut details = Map::new();
        if let Some(flow) = &self.flow {
            // The token's answer says what it is for.
            let answer = context.send(flow.request(None)?).await?;
            flow.read(&answer)?;
            let granted: Value = answer.json(Effect::Read)?;
            let issues = granted["permissions"]["issues"].clone();
            if issues != "write" {
                return lacks(format!(
                    "the GitHub App's installation may not write issues of {name}"
                ));
            }
            details.insert("issues".into(), issues);
        } else if let Value::Object(permissions) = &found["permissions"] {
            let has = |name: &str| permissions.get(name) == Some(&Value::Bool(true));
            if !has("push") && !has("triage") {
                return lacks(format!(
                    "the token may open issues in {name} and no more: GitHub would drop labels \
                     and assignees without a word; give it write access to issues"
                ));
            }
            details.insert("permissions".into(), found["permissions"].clone());
        }
        Ok(CheckReport {
            message: format!("issues of {name} can be made and changed"),
            details,
        })
    }

    /// Makes an issue and closes it: GitHub's interface erases none.
    pub(super) async fn check_create(
        &self,
        context: &CallContext<'_>,
    ) -> Result<CheckReport, AdapterError> {
        let marker = format!("tkt-test-{}", uuid::Uuid::now_v7());
        let body = json!({
            "title": "Ticketwire connection test",
            "body": item::text("Made by `integration.test`. It may be deleted.", &marker),
        });
        let request = self
            .api
            .make(Method::POST, &self.at(&["issues"]))?
            .json(&body);
        let what = "creating a test issue";
        let made: Issue = self.api.ask(context, request, what).await?;
        let number = made.number();
        let change = Map::from_iter(state::State::of(state::NOT_PLANNED).change());
        let request = self.change_request(&number, &change.into())?;
        let closed = self
            .api
            .tell(context, request, "closing the test issue")
            .await;
        let message = match closed {
            Ok(_) => format!(
                "created the test issue #{number} and closed it; it stays there, as GitHub's \
                 interface erases no issue"
            ),
            Err(error) => format!(
                "created the test issue #{number}; it stays there and is open: {}",
                error.public
            ),
        };
        Ok(CheckReport {
            message,
            details: Map::from_iter([("issue".to_owned(), Value::from(number))]),
        })
    }
}

/// A request with other values in its query, and without one of them.
fn with_query(request: &Request, changed: &[(&str, &str)], without: &str) -> Request {
    let is_kept = |name: &str| name != without && changed.iter().all(|(own, _)| *own != name);
    let pairs: Vec<(String, String)> = request
        .url
        .query_pairs()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut made = request.clone();
    made.url.set_query(None);
    let changed = changed
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    made.query(pairs.into_iter().chain(changed))
}

/// The same page in two halves, of which this is the first; `None` where it is of one item.
fn halved(request: &Request) -> Option<Request> {
    let number = |wanted: &str| -> Option<usize> {
        let mut pairs = request.url.query_pairs();
        let (_, value) = pairs.find(|(name, _)| name == wanted)?;
        value.parse().ok()
    };
    let (size, page) = (number("per_page")?, number("page").unwrap_or(1));
    if size < 2 {
        return None;
    }
    // A page of an odd size has no half: what is before it is read once more.
    let half = size / 2;
    let page = page.saturating_sub(1) * size / half + 1;
    let (half, page) = (half.to_string(), page.to_string());
    Some(with_query(
        request,
        &[("per_page", &half), ("page", &page)],
        "",
    ))
}

#[async_trait]
impl Reader for GitHub {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        // An issue is addressed by its number; its id survives nothing that the number does not.
        let number = item.external_id.as_str();
        if !is_number(number) {
            return Ok(None);
        }
        let answer = context
            .send(self.api.get(&self.at(&["issues", number]))?)
            .await?;
        let is_disabled = || {
            ERRORS
                .said(&answer)
                .text()
                .to_lowercase()
                .contains("disabled")
        };
        let is_gone = match answer.status {
            410 => !is_disabled(),
            // GitHub says so too of what the credential may not see.
            404 => self.sees_repository(context).await?,
            _ => false,
        };
        if is_gone {
            return Ok(None);
        }
        let issue: Issue = self.api.take(&answer, Effect::Read, "reading the issue")?;
        Ok((!issue.is_pull()).then(|| issue.external(&self.labels)))
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let mut request = self.listing(from.since)?;
        if let Some(page) = from.page {
            request = self.api.next_page(&request, page)?;
        }
        loop {
            let answer = context.send(request.clone()).await?;
            let what = "reading what changed";
            let issues = match self.api.take_page::<Vec<Issue>>(&answer, what)? {
                Fit::Whole(issues) => issues,
                Fit::TooLong => {
                    request = halved(&request).ok_or_else(|| {
                        let text = "one issue is larger than an answer that is read may be";
                        AdapterError::new(ErrorClass::Unsupported, text)
                    })?;
                    continue;
                }
            };
            let last = issues.last().and_then(|issue| issue.updated_at.as_deref());
            let next = next_link(&answer).map(|link| self.after(&request, link, last));
            let items = issues.iter().filter(|issue| !issue.is_pull());
            return Ok(ChangePage {
                next: next.transpose()?,
                ..ChangePage::of(items.map(|issue| issue.external(&self.labels)))
            });
        }
    }

    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let wanted = search.map(str::to_lowercase);
        let fits = |name: &str| wanted.as_ref().is_none_or(|wanted| name.contains(wanted));
        let mut fields = Vec::new();
        for (id, name, path, member) in [
            ("labels", "Labels", "labels", "name"),
            ("assignees", "Assignees", "assignees", "login"),
            ("type", "Type", "issue-types", "name"),
        ] {
            if !fits(id) && !fits(&name.to_lowercase()) {
                continue;
            }
            let request = self.api.get(&self.at(&[path]))?;
            let what = format!("reading the {}", name.to_lowercase());
            let Some(values) = self.names(context, request, member, &what).await? else {
                // Only organizations have types.
                if id == "type" {
                    continue;
                }
                let text = format!("{what}: not found at GitHub, or not visible");
                return Err(AdapterError::new(ErrorClass::NotFound, text).with_status(404));
            };
            fields.push(PlatformField {
                id: id.to_owned(),
                name: name.to_owned(),
                kind: Some(if id == "type" { "option" } else { "array" }.to_owned()),
                custom: false,
                required: false,
                allowed_values: values,
            });
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;
    use crate::platforms::Auth;

    fn request(query: &str) -> Request {
        let url = format!("https://api.github.com/repos/o/r/issues?{query}");
        Request::new(Method::GET, url.parse().unwrap(), Auth::None, Effect::Read)
    }

    #[test]
    fn a_page_that_is_too_long_is_asked_for_in_halves_without_a_gap() {
        let half =
            |query: &str| halved(&request(query)).map(|half| half.url.query().unwrap().to_owned());

        assert_eq!(
            half("per_page=100&state=all").unwrap(),
            "state=all&per_page=50&page=1"
        );
        assert_eq!(half("per_page=100&page=3").unwrap(), "per_page=50&page=5");
        assert_eq!(half("per_page=25&page=3").unwrap(), "per_page=12&page=5");
        assert_eq!(half("per_page=1&page=3"), None);
    }

    #[test]
    fn a_query_is_changed_in_one_place() {
        let asked = request("state=all&since=2026-01-01T00%3A00%3A00Z&page=2");
        let changed = with_query(&asked, &[("since", "2026-01-02T00:00:00Z")], "page");
        assert_eq!(
            changed.url.query(),
            Some("state=all&since=2026-01-02T00%3A00%3A00Z")
        );
    }
}
