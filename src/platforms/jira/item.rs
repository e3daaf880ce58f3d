//! Creating, changing and assigning an issue.

use std::borrow::Cow;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::text::{Document, Max, fit, harmless_label, is_cut, title};
use super::super::{
    AdapterError, CallContext, Effect, ErrorClass, Known, Plan, Prepared, Receipt, Request,
    Response,
};
use super::calls::{Id, quoted};
use super::facts::{ERRORS, TEXT_MAX};
use super::{Jira, Version};
use crate::domain::{TicketCategory, TicketPatch, TicketView, UserRef};

/// Longest summary, one line (Jira's limit). It counts as Java does: UTF-16 code units.
const SUMMARY_MAX: usize = 255;
/// Characters that are read for a document, and that a text of a Data Center may have.
const READ_MAX: usize = 32_767;
/// Longest label.
const LABEL_MAX: usize = 255;
/// The field with our marker.
const LABELS: &str = "labels";
/// The issue and comment property that says whose it is.
pub(super) const PROPERTY: &str = "ticket-dispatch";
/// What [`Known`] calls the account of an assignee.
const ACCOUNT: &str = "account";
/// What [`Known`] calls the issue type that stands in for a refused one.
const ISSUE_TYPE: &str = "issue_type";

/// An issue as a create or a search names it.
#[derive(Deserialize)]
pub(super) struct Made {
    pub(super) id: Id,
    pub(super) key: String,
}

/// How an issue is addressed: by its number where it is known, which survives a move between
/// projects.
pub(super) fn address(ticket: &TicketView) -> Result<&str, AdapterError> {
    let number = ticket.external_ref.get("issue_id").and_then(Value::as_str);
    let address = number.or(ticket.external_id.as_deref()).ok_or_else(|| {
        AdapterError::new(ErrorClass::NotFound, "the ticket has no issue in Jira")
    })?;
    if is_address(address) {
        return Ok(address);
    }
    let text = "the ticket's external id is no number and no key of an issue, such as SUP-17";
    Err(AdapterError::new(ErrorClass::NotFound, text))
}

/// What an issue can be addressed by: its number, or its key.
pub(super) fn is_address(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_:.".contains(&b);
    (1..=255).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.')
}

/// A title as a summary; the whole title where it had to be cut.
pub(super) fn summary(text: &str) -> (String, Option<String>) {
    title(text, Max::Utf16(SUMMARY_MAX))
}

/// What is said of a title that had to be cut.
fn title_cut(is_described: bool) -> Value {
    let rest = if is_described {
        "; the description begins with all of it"
    } else {
        ": a change of the title alone leaves the description as it is"
    };
    format!("cut to {SUMMARY_MAX} characters{rest}").into()
}

/// The description that an issue is created with: it begins with a title that had to be cut.
pub(super) fn description<'a>(title: &str, text: &'a str) -> Cow<'a, str> {
    match summary(title).1 {
        Some(full) if text.is_empty() => Cow::Owned(full),
        Some(full) => Cow::Owned(format!("{full}\n\n{text}")),
        None => Cow::Borrowed(text),
    }
}

/// The labels of a ticket's issue: our marker, its category, its tags.
pub(super) fn labels(ticket: &TicketView, marker: &str) -> Vec<String> {
    let ours = [marker.to_owned(), category_label(ticket.category)];
    let tags = ticket.tags.iter().map(|tag| label(tag));
    ours.into_iter().chain(tags).collect()
}

/// The label of a category.
pub(super) fn category_label(category: TicketCategory) -> String {
    format!("category-{category}")
}

/// A tag as a label.
fn label(tag: &str) -> String {
    harmless_label(tag, LABEL_MAX)
}

/// Whether a create may do without a field. Never without the marker: nothing could be found.
fn is_droppable(name: &str) -> bool {
    matches!(name, "assignee" | "priority" | "issuetype") || name.starts_with("customfield_")
}

/// Whether an edit may do without a field. The marker is on the issue already.
fn is_droppable_later(name: &str) -> bool {
    name == LABELS || is_droppable(name)
}

/// Adds to a refusal what it is worth trying without, where only such fields are refused. A 400 has
/// changed nothing. Jira may refuse one field after the other: the issue type, then what is on no
/// screen, then what is not allowed.
fn worth_less(
    error: AdapterError,
    answer: &Response,
    is_droppable: fn(&str) -> bool,
) -> AdapterError {
    let said = ERRORS.said(answer);
    let is_about_fields = answer.status == 400 && said.texts.is_empty() && !said.fields.is_empty();
    if is_about_fields && said.fields.iter().all(|(name, _)| is_droppable(name)) {
        error.worth_it_without(said.fields.into_iter().collect())
    } else {
        error
    }
}

impl Jira {
    /// A text in the version's own shape, and what is said of it where not all of it is in there.
    pub(super) fn text(&self, markdown: &str) -> (Value, Option<String>) {
        let (kept, is_short) = if markdown.len() <= TEXT_MAX {
            (Cow::Borrowed(markdown), true)
        } else {
            let (kept, is_short) = fit(markdown, Max::Utf16(TEXT_MAX), None);
            (Cow::Owned(kept), is_short)
        };
        let document = Document::parse(&kept, READ_MAX);
        let (made, is_whole) = match self.version {
            Version::V3 => {
                let document = document.adf();
                let is_whole = !is_cut(&document);
                (document, is_whole)
            }
            Version::V2 => {
                let (text, is_whole) = document.wiki(Max::Utf16(READ_MAX), None);
                (text.into(), is_whole)
            }
        };
        let said = if is_short {
            let text = "cut: its markup is longer than a document of Jira";
            (!is_whole).then(|| text.to_owned())
        } else {
            Some(format!("cut to {TEXT_MAX} characters"))
        };
        (made, said)
    }

    /// A text of `field`, which is said to be cut where it is.
    pub(super) fn noted_text(
        &self,
        field: &str,
        markdown: &str,
        left_out: &mut Map<String, Value>,
    ) -> Value {
        let (made, said) = self.text(markdown);
        if let Some(said) = said {
            left_out.entry(field).or_insert(said.into());
        }
        made
    }

    pub(super) async fn prepare_create(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        if let Some(user) = &ticket.assigned_to {
            if let Some(account) = self.account_of(context, user).await? {
                known.found.insert(ACCOUNT.into(), account.into());
            } else {
                let text = "left out: no assignable account with this person's address";
                known.details.insert("assignee".into(), text.into());
            }
        }
        if known.without.contains_key("issuetype") {
            let Id(id) = self.fallback_type(context).await?;
            known.found.insert(ISSUE_TYPE.into(), id.into());
        }
        let (category, custom) = (ticket.category, &ticket.custom_fields);
        self.learn_schemas(context, category, custom, &mut known)
            .await?;
        Ok(Prepared::Go(known))
    }

    /// The fields of a create, without those that the project's screen refused.
    pub(super) fn plan_create(
        &self,
        ticket: &TicketView,
        marker: &str,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let mut left_out = Map::new();
        let description = description(&ticket.title, &ticket.description);
        let description = self.noted_text("description", &description, &mut left_out);
        let (line, whole) = summary(&ticket.title);
        if whole.is_some() {
            left_out.insert("title".into(), title_cut(true));
        }
        let issue_type = match known.found.get(ISSUE_TYPE) {
            Some(id) => json!({ "id": id }),
            None => json!({ "name": self.issue_type(ticket.category) }),
        };
        let mut fields = Map::from_iter([
            ("summary".to_owned(), line.into()),
            ("description".to_owned(), description),
            (LABELS.to_owned(), json!(labels(ticket, marker))),
        ]);
        if let Some(priority) = self.priorities.out(ticket.priority) {
            fields.insert("priority".into(), json!({ "name": priority }));
        }
        if let Some(account) = known.text(ACCOUNT) {
            fields.insert("assignee".into(), self.account(account));
        }
        fields.extend(self.custom(&ticket.custom_fields, known, &mut left_out));
        for name in known.without.keys().filter(|name| is_droppable(name)) {
            fields.remove(name);
        }
        fields.insert("issuetype".into(), issue_type);
        fields.insert("project".into(), json!({ "key": self.project_key }));
        let properties = json!([{ "key": PROPERTY, "value": { "ticketId": ticket.id } }]);
        let request =
            self.create_request(&json!({ "fields": fields, "properties": properties }))?;
        Ok(Plan {
            request: request.into(),
            left_out,
        })
    }

    pub(super) fn create_request(&self, body: &Value) -> Result<Request, AdapterError> {
        Ok(self.api.make(Method::POST, &["issue"])?.json(body))
    }

    /// What was created; where only fields are refused that it can do without, it is worth sending
    /// once more.
    pub(super) fn read_created(&self, answer: &Response) -> Result<Receipt, AdapterError> {
        let made = self.take(answer, Effect::Create, "creating the issue");
        let made: Made = made.map_err(|error| worth_less(error, answer, is_droppable))?;
        Ok(self.receipt(made))
    }

    /// What was changed; it is worth sending once more where something is left to change.
    pub(super) fn read_updated(
        &self,
        ticket: &TicketView,
        patch: &TicketPatch,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let Err(error) = self.judge(answer, Effect::Idempotent, "updating the issue") else {
            return Ok(Receipt::default());
        };
        let error = worth_less(error, answer, is_droppable_later);
        let mut less = known.clone();
        less.without
            .extend(error.without.as_deref().cloned().unwrap_or_default());
        let (fields, labels) = self.edits(ticket, patch, &less, &mut Map::new());
        let is_nothing = fields.is_empty() && labels.is_empty();
        Err(AdapterError {
            without: error.without.filter(|_| !is_nothing),
            ..error
        })
    }

    fn receipt(&self, made: Made) -> Receipt {
        let Id(id) = made.id;
        Receipt {
            external_url: self.page_of(&made.key),
            external_id: Some(made.key),
            external_ref: Map::from_iter([("issue_id".to_owned(), id.into())]),
            ..Receipt::default()
        }
    }

    /// The issue with this marker. It is unique, so it is looked for in all projects: the issue may
    /// have been moved. If there are more, somebody has to merge them.
    pub(super) async fn find_issue(
        &self,
        context: &CallContext<'_>,
        marker: &str,
    ) -> Result<Option<Receipt>, AdapterError> {
        #[derive(Deserialize)]
        struct Found {
            issues: Vec<Made>,
        }
        let jql = format!("labels = {} ORDER BY created ASC", quoted(marker));
        let body = json!({ "jql": jql, "fields": ["key", "created"], "maxResults": 2 });
        let request = self.search(&body)?;
        let found: Found = self
            .ask(context, request, "searching for the issue")
            .await?;
        let mut found = found.issues.into_iter();
        let Some(first) = found.next() else {
            return Ok(None);
        };
        let mut receipt = self.receipt(first);
        let others: Vec<String> = found.map(|issue| issue.key).collect();
        if !others.is_empty() {
            receipt.details.insert("duplicates".into(), json!(others));
        }
        Ok(Some(receipt))
    }

    pub(super) async fn prepare_update(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        patch: &TicketPatch,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        if let Some(custom) = &patch.custom_fields {
            self.learn_schemas(context, ticket.category, custom, &mut known)
                .await?;
        }
        Ok(Prepared::Go(known))
    }

    pub(super) fn plan_update(
        &self,
        ticket: &TicketView,
        patch: &TicketPatch,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let mut left_out = Map::new();
        let (fields, labels) = self.edits(ticket, patch, known, &mut left_out);
        let mut body = Map::new();
        // Urgency and department have no field in Jira; an empty edit is taken and changes nothing.
        if !fields.is_empty() || labels.is_empty() {
            body.insert("fields".into(), fields.into());
        }
        if !labels.is_empty() {
            body.insert("update".into(), json!({ LABELS: labels }));
        }
        let request = self
            .api
            .set(Method::PUT, &["issue", address(ticket)?])?
            .json(&body.into());
        Ok(Plan {
            request: request.into(),
            left_out,
        })
    }

    /// The fields that a change sets, and the labels that it adds and removes, without those that
    /// the screen refused. Labels of other categories go; those that people gave in Jira stay.
    fn edits(
        &self,
        ticket: &TicketView,
        patch: &TicketPatch,
        known: &Known,
        left_out: &mut Map<String, Value>,
    ) -> (Map<String, Value>, Vec<Value>) {
        let mut fields = Map::new();
        if let Some(title) = &patch.title {
            let (line, whole) = summary(title);
            fields.insert("summary".into(), line.into());
            if whole.is_some() {
                left_out.insert("title".into(), title_cut(patch.description.is_some()));
            }
        }
        if let Some(text) = &patch.description {
            let title = patch.title.as_ref().unwrap_or(&ticket.title);
            let text = self.noted_text("description", &description(title, text), left_out);
            fields.insert("description".into(), text);
        }
        if let Some(priority) = patch.priority.and_then(|level| self.priorities.out(level)) {
            fields.insert("priority".into(), json!({ "name": priority }));
        }
        if let Some(custom) = &patch.custom_fields {
            fields.extend(self.custom(custom, known, left_out));
        }
        for name in known.without.keys().filter(|name| is_droppable_later(name)) {
            fields.remove(name);
        }
        if known.without.contains_key(LABELS) {
            return (fields, Vec::new());
        }
        let others = patch.category.into_iter().flat_map(|category| {
            let others = TicketCategory::ALL
                .iter()
                .filter(move |other| **other != category);
            others.map(|other| json!({ "remove": category_label(*other) }))
        });
        let category = patch
            .category
            .map(|own| json!({ "add": category_label(own) }));
        let tags = patch.tags.iter().flatten();
        let tags = tags.map(|tag| json!({ "add": label(tag) }));
        (fields, others.chain(category).chain(tags).collect())
    }

    pub(super) async fn prepare_assign(
        &self,
        context: &CallContext<'_>,
        assignee: Option<&UserRef>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        if let Some(user) = assignee {
            let account = self.account_of(context, user).await?.ok_or_else(|| {
                let fault = "has no assignable account in Jira: name it in settings.users, or give \
                             the person in `users` the e-mail address of an account that may be \
                             assigned in the project";
                AdapterError::field("assigned_to_id", fault)
            })?;
            known.found.insert(ACCOUNT.into(), account.into());
        }
        Ok(Prepared::Go(known))
    }

    /// Its own request: it needs no field on the screen that edits issues.
    pub(super) fn assign_request(
        &self,
        issue: &str,
        assignee: Option<&UserRef>,
        known: &Known,
    ) -> Result<Request, AdapterError> {
        let name = match self.version {
            Version::V3 => "accountId",
            Version::V2 => "name",
        };
        let account = match (known.text(ACCOUNT), assignee) {
            (Some(account), _) => account.into(),
            // Which account it is is looked up when it is done; here it stands for itself.
            (None, Some(user)) => json!({ "lookup": user.email }),
            (None, None) => Value::Null,
        };
        let request = self.api.set(Method::PUT, &["issue", issue, "assignee"])?;
        Ok(request.json(&json!({ name: account })))
    }

    /// An account in a field.
    fn account(&self, account: &str) -> Value {
        match self.version {
            Version::V3 => json!({ "id": account }),
            Version::V2 => json!({ "name": account }),
        }
    }

    /// The account of a user of ours among those who may be assigned.
    async fn account_of(
        &self,
        context: &CallContext<'_>,
        user: &UserRef,
    ) -> Result<Option<String>, AdapterError> {
        let search = async |email: String| self.find_account(context, &email).await;
        self.users.find(context, user, search).await
    }

    /// The account with this e-mail address. Jira may hide addresses; a single hit of the query is
    /// then taken.
    async fn find_account(
        &self,
        context: &CallContext<'_>,
        email: &str,
    ) -> Result<Option<String>, AdapterError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Account {
            account_id: Option<String>,
            name: Option<String>,
            #[serde(default)]
            email_address: Option<String>,
        }
        let query = match self.version {
            Version::V3 => "query",
            Version::V2 => "username",
        };
        let query = [("project", self.project_key.as_str()), (query, email)];
        let request = self.reading(&["user", "assignable", "search"], &query)?;
        let what = "looking for the assignee";
        let mut accounts: Vec<Account> = self.ask(context, request, what).await?;
        let shown = |account: &Account| account.email_address.clone().unwrap_or_default();
        let exact = accounts
            .iter()
            .position(|account| shown(account).eq_ignore_ascii_case(email));
        let is_hidden = accounts.iter().all(|account| shown(account).is_empty());
        let only = accounts.len() == 1 && is_hidden;
        let found = exact
            .or(only.then_some(0))
            .map(|index| accounts.swap_remove(index));
        Ok(found.and_then(|account| match self.version {
            Version::V3 => account.account_id,
            Version::V2 => account.name,
        }))
    }
}

#[cfg(test)]
mod tests;
