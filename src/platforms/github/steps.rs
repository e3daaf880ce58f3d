//! The requests before and beside the planned one: what is looked up and remembered, what is set
//! first, and how a lost request is found again.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::item::{self, Comment, Issue};
use super::state::{self, State};
use super::{
    ASSIGNEE, CHANGE, CHOICES_MAX, CLOCKS, ERRORS, FILE_IS_THERE, GitHub, HOUR, ISSUE_TYPES, KIND,
    PAGES_MAX, SUMMARY_COMMENT, is_number, reader,
};
use crate::domain::{TicketView, UserRef};
use crate::platforms::api::{self, next_link};
use crate::platforms::{
    AdapterError, Body, CallContext, Effect, ErrorClass, File, Known, Operation, PartlyDone,
    Prepared, Receipt, Request, Response,
};

/// What the memory calls a login that issues can be assigned to, or cannot.
fn assignable(login: &str) -> String {
    format!("assignable {}", login.to_lowercase())
}

impl GitHub {
    /// A path below the repository.
    pub(super) fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let repository = ["repos", self.owner.as_str(), self.repository.as_str()];
        repository.iter().chain(rest).copied().collect()
    }

    /// The number of a ticket's issue.
    pub(super) fn number(ticket: &TicketView) -> Result<&str, AdapterError> {
        let number = ticket.external_id.as_deref().ok_or_else(|| {
            AdapterError::new(ErrorClass::NotFound, "the ticket has no issue at GitHub")
        })?;
        if is_number(number) {
            return Ok(number);
        }
        let text = "the ticket's external id is no number of an issue, such as 1347";
        Err(AdapterError::new(ErrorClass::NotFound, text))
    }

    /// An issue as it stands.
    pub(super) async fn issue(
        &self,
        context: &CallContext<'_>,
        number: &str,
    ) -> Result<Issue, AdapterError> {
        let request = self.api.get(&self.at(&["issues", number]))?;
        self.api.ask(context, request, "reading the issue").await
    }

    pub(super) fn change_request(
        &self,
        number: &str,
        change: &Value,
    ) -> Result<Request, AdapterError> {
        let path = self.at(&["issues", number]);
        Ok(self.api.set(Method::PATCH, &path)?.json(change))
    }

    pub(super) fn comment_request(
        &self,
        number: &str,
        body: &str,
    ) -> Result<Request, AdapterError> {
        let path = self.at(&["issues", number, "comments"]);
        let request = self.api.make(Method::POST, &path)?;
        Ok(request.json(&json!({ "body": body })))
    }

    /// Somebody's login by the setting, if issues can be assigned to it.
    pub(super) async fn login_of(
        &self,
        context: &CallContext<'_>,
        person: &UserRef,
    ) -> Result<Result<String, String>, AdapterError> {
        let Some(login) = self.users.known(person) else {
            let text = "settings.users names no login for this person; GitHub finds nobody by \
                        e-mail address";
            return Ok(Err(text.to_owned()));
        };
        let request = self.api.get(&self.at(&["assignees", login]))?;
        let found = context
            .recall(assignable(login), HOUR, async {
                let answer = context.send(request).await?;
                if answer.status == 404 {
                    return Ok(false);
                }
                ERRORS.check(&answer, Effect::Read, "looking for the assignee")?;
                Ok(true)
            })
            .await?;
        if *found {
            return Ok(Ok(login.to_owned()));
        }
        // Somebody may let them in at any moment.
        context.forget(&assignable(login));
        let text = format!("GitHub does not let issues of the repository be assigned to {login}");
        Ok(Err(text))
    }

    /// The organization's type for a category, where it has one of this name.
    async fn kind_of(
        &self,
        context: &CallContext<'_>,
        wanted: &str,
    ) -> Result<Option<String>, AdapterError> {
        let request = self.api.get(&self.at(&["issue-types"]))?;
        let kinds = context
            .recall(ISSUE_TYPES, HOUR, async {
                // Absent from servers before their time, and where the owner is a person.
                let what = "reading the issue types";
                self.names(context, request, "name", what).await
            })
            .await?;
        let found = kinds
            .iter()
            .flatten()
            .find(|kind| kind.eq_ignore_ascii_case(wanted));
        Ok(found.cloned())
    }

    /// The names that a listing has; `None` where it is not there.
    pub(super) async fn names(
        &self,
        context: &CallContext<'_>,
        first: Request,
        member: &str,
        what: &str,
    ) -> Result<Option<Vec<String>>, AdapterError> {
        let first = first.query([("per_page", "100")]);
        let read = async |request: Request| {
            let answer = context.send(request.clone()).await?;
            if answer.status == 404 {
                return Ok(api::Page {
                    items: vec![None],
                    next: None,
                });
            }
            let found: Vec<Value> = self.api.take(&answer, Effect::Read, what)?;
            let found = found.iter().filter_map(|one| one[member].as_str());
            Ok(api::Page {
                items: found.map(|name| Some(name.to_owned())).collect(),
                next: self.next(&request, &answer)?,
            })
        };
        let all = api::all(CHOICES_MAX, first, read).await?;
        Ok(all.into_iter().collect())
    }

    /// What asks for the page after one.
    fn next(&self, asked: &Request, answer: &Response) -> Result<Option<Request>, AdapterError> {
        next_link(answer)
            .map(|link| self.api.next_page(asked, link))
            .transpose()
    }

    pub(super) async fn prepare_create(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        if let Some(person) = &ticket.assigned_to {
            if known.without.contains_key("assignees") {
                let login = self.users.known(person);
                context.forget(&assignable(login.unwrap_or_default()));
            } else {
                match self.login_of(context, person).await? {
                    Ok(login) => drop(known.found.insert(ASSIGNEE.into(), login.into())),
                    Err(why) => {
                        let text = format!("left out: {why}");
                        known.details.insert(ASSIGNEE.into(), text.into());
                    }
                }
            }
        }
        if self.uses_types {
            let wanted = item::kind(ticket.category);
            if known.without.contains_key("type") {
                context.forget(ISSUE_TYPES);
            } else if let Some(kind) = self.kind_of(context, wanted).await? {
                known.found.insert(KIND.into(), kind.into());
            } else {
                let text = format!("left out: the repository's owner has no type {wanted}");
                known.details.insert("issue_type".into(), text.into());
            }
        }
        Ok(())
    }

    /// Reads where the issue is, and finds what has to change. A summary is a comment of its own,
    /// which is the planned request; then the state is set here.
    pub(super) async fn prepare_state(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        word: &str,
        has_summary: bool,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        let number = Self::number(ticket)?;
        let issue = self.issue(context, number).await?;
        let wanted = State::of(word);
        let labels = self.labels.moved(&issue.labels(), word);
        let mut change = Map::new();
        let mut receipt = Receipt {
            wrote: state::written_state(word),
            ..Receipt::default()
        };
        if issue.is_closed() != wanted.is_closed() {
            change.extend(wanted.change());
        } else if issue.reason() != wanted.reason && wanted.is_closed() {
            let text = format!(
                "stays {}: GitHub takes a reason only together with a change of the state",
                issue.reason().unwrap_or("completed")
            );
            receipt.details.insert("state_reason".into(), text.into());
        }
        if let Some(labels) = labels {
            change.insert("labels".into(), json!(labels));
        }
        if change.is_empty() {
            receipt
                .details
                .insert("already".into(), issue.word(&self.labels).into());
            if !has_summary {
                return Ok(Prepared::Done(receipt));
            }
        } else if !has_summary {
            known.details = receipt.details;
            known.found.insert(CHANGE.into(), change.into());
            return Ok(Prepared::Go(known));
        } else {
            let change = Value::from(change);
            let request = self.change_request(number, &change)?;
            let changed: Issue = self.api.ask(context, request, "changing the state").await?;
            receipt.details.extend(changed.dropped(&change));
        }
        // The issue is where it should be, and stays there.
        known.done = Some(PartlyDone {
            receipt,
            missing: SUMMARY_COMMENT,
            remedy: "ticket.comment can still post it",
        });
        Ok(Prepared::Go(known))
    }

    /// Puts a file where the comment can lead to it.
    pub(super) async fn put_file(
        &self,
        context: &CallContext<'_>,
        branch: &str,
        ticket: &TicketView,
        file: &File,
        marker: &str,
    ) -> Result<String, AdapterError> {
        #[derive(serde::Deserialize)]
        struct Put {
            content: item::Content,
        }
        let (folder, name) = (ticket.id.to_string(), file.kept_name(marker));
        let path = self.at(&["contents", &folder, &name]);
        let mut request = self.api.set(Method::PUT, &path)?;
        let message = format!("Ticket {}: a file", ticket.id);
        request.body = Body::Base64Json {
            json: Map::from_iter([
                ("message".to_owned(), Value::from(message)),
                ("branch".to_owned(), branch.into()),
            ]),
            member: "content",
            file: file.clone(),
        };
        let what = "putting the file into the repository";
        let answer = context.send(request).await?;
        if answer.status == 422 && ERRORS.said(&answer).text().contains(FILE_IS_THERE) {
            // The name says whose it is and what is in it: it was put there by an attempt before.
            let request = self.api.get(&path)?.query([("ref", branch)]);
            let content: item::Content = self.api.ask(context, request, what).await?;
            return content.page();
        }
        let put: Result<Put, _> = self.api.take(&answer, Effect::Idempotent, what);
        let put = put.map_err(|mut error| {
            if answer.status == 404 {
                let text = format!(
                    "; the branch {branch} (settings.attachment_branch) has to be there, and \
                     the credential needs contents: write"
                );
                error.public.push_str(&text);
            }
            error
        })?;
        put.content.page()
    }

    /// A comment of this issue that is the one wanted, made since the command came in.
    pub(super) async fn find_comment(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        operation: &Operation<'_>,
        is_wanted: impl Fn(&Comment) -> bool,
    ) -> Result<Option<Comment>, AdapterError> {
        let path = self.at(&["issues", Self::number(ticket)?, "comments"]);
        let since = item::before(operation.key().received_at, CLOCKS);
        let first = self.api.get(&path)?;
        let first = first.query([("since", since.as_str()), ("per_page", "100")]);
        let read = async |request: Request| {
            let answer = context.send(request.clone()).await?;
            let what = "listing the comments";
            let items: Vec<Comment> = self.api.take(&answer, Effect::Read, what)?;
            let next = self.next(&request, &answer)?;
            Ok(api::Page { items, next })
        };
        let marker = operation.key().marker;
        api::find(PAGES_MAX, first, read, |comment: &Comment| {
            comment.marker() == Some(marker) && is_wanted(comment)
        })
        .await
    }

    /// An issue with this mark. Listed by creation, the newest first: those before the command
    /// cannot be it.
    pub(super) async fn find_issue(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Issue>, AdapterError> {
        let key = operation.key();
        let since = item::before(key.received_at, CLOCKS);
        let first = self
            .api
            .get(&self.at(&["issues"]))?
            .up_to(reader::PAGE_BYTES);
        let first = first.query([
            ("state", "all"),
            ("since", &since),
            ("sort", "created"),
            ("direction", "desc"),
            ("per_page", "50"),
        ]);
        let read = async |request: Request| {
            let answer = context.send(request.clone()).await?;
            let what = "looking for the issue";
            let items: Vec<Issue> = self.api.take(&answer, Effect::Read, what)?;
            let reaches_back = items.last().is_some_and(|issue| issue.is_before(&since));
            let next = if reaches_back {
                None
            } else {
                self.next(&request, &answer)?
            };
            Ok(api::Page { items, next })
        };
        let is_it = |issue: &Issue| !issue.is_pull() && issue.marker() == Some(key.marker);
        api::find(PAGES_MAX, first, read, is_it).await
    }
}
