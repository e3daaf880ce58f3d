//! One case: what is asked for each operation, and what the answers say.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::case::written;
use super::facts::ERRORS;
use super::soql::Soql;
use super::words::{
    self, Allowed, CASE_ID, DESCRIPTION_MAX, Describe, Draft, ON_HOLD, Record, SUBJECT_MAX, WORKING,
};
use super::{AUTO_ASSIGN, DESCRIBE, HOUR, NO_NOBODY, Salesforce};
use crate::domain::{TicketPatch, TicketStatus, TicketView, UserRef};
use crate::platforms::api::{all, find};
use crate::platforms::classify::Judged;
use crate::platforms::text::{Marker, Max, fit};
use crate::platforms::users::Users;
use crate::platforms::{
    AdapterError, CallContext, DedupKey, Effect, ErrorClass, File, Known, Operation, Part,
    PartlyDone, Plan, Prepared, Receipt, Request, Response, Unfinished, off_runtime,
};

/// What [`Known`] calls the members of a case, its status, its owner, and where the org is.
const BODY: &str = "body";
const STATUS: &str = "status";
const OWNER: &str = "owner";
const INSTANCE: &str = "instance";
/// What is worth another look when it is refused: [`Known::again`].
const AGAIN_CASE: &str = "the case";
const AGAIN_DESCRIBE: &str = "what a case is made of";
const AGAIN_OWNER: &str = "the owner";
/// Where the receipt of a status tells of its summary.
const SUMMARY_COMMENT: &str = "summary_comment";
/// What a case is not made without.
const NEEDED: [&str; 3] = ["Subject", "Description", "Status"];
/// Members that name the case itself: where they are refused, it is not there.
const OF_CASE: [&str; 4] = ["Id", "ParentId", "FirstPublishLocationId", "LinkedEntityId"];
/// Minutes by which Salesforce's clock may be behind ours.
const CLOCKS: i64 = 2;
/// Pages of a query that a look-up reads at most.
const PAGES_MAX: usize = 20;
/// Characters of a file's title and of a requester's name (Object Reference: ContentVersion, Case).
const TITLE_MAX: usize = 255;
const NAME_MAX: usize = 80;
/// What the memory calls the queue of a name.
fn remembered_queue(name: &str) -> String {
    format!("salesforce queue {}", name.to_lowercase())
}

/// A text that says something.
pub(super) fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// The case's id.
pub(super) fn address(ticket: &TicketView) -> Result<String, AdapterError> {
    let remembered = ticket.external_ref.get(CASE_ID).and_then(Value::as_str);
    let id = remembered.or(ticket.external_id.as_deref());
    id.and_then(words::case_id).ok_or_else(|| {
        let text =
            "the ticket has no case whose id is known; integration.sync learns it by its number";
        AdapterError::new(ErrorClass::NotFound, text)
    })
}

/// What a file is called there: its name without what says its kind.
fn title_of(file: &File) -> String {
    let stem = file
        .name
        .rsplit_once('.')
        .map_or(file.name.as_str(), |(stem, _)| stem);
    let stem = if stem.is_empty() {
        file.name.as_str()
    } else {
        stem
    };
    fit(stem, Max::Utf16(TITLE_MAX), None).0
}

/// The answer to what makes something.
#[derive(Deserialize)]
struct Made {
    id: String,
    /// Of an upsert.
    created: Option<bool>,
}

// What comes first.
impl Salesforce {
    pub(super) async fn prepared(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        if known.again == Some(AGAIN_DESCRIBE) || !known.without.is_empty() {
            context.forget(DESCRIBE);
        }
        match operation {
            Operation::Create { ticket, key } => {
                if let Some(receipt) = self.find_by_id(context, key.marker).await? {
                    return Ok(Prepared::Done(receipt));
                }
                let instance = self.instance(context).await?;
                let describe = self.describe(context).await?;
                let mut owner = None;
                if let Some(person) = &ticket.assigned_to {
                    let why = match self.owner_of(context, person, &known).await {
                        Ok(Some(found)) => {
                            owner = Some(found);
                            None
                        }
                        Ok(None) => Some(NO_OWNER.to_owned()),
                        // A setting that names nobody keeps no case from being made.
                        Err(error) if matches!(error.class, ErrorClass::Validation { .. }) => {
                            Some(error.public)
                        }
                        Err(error) => return Err(error),
                    };
                    let said = why.map(|why| format!("left out: {why}").into());
                    known
                        .details
                        .extend(said.map(|said| ("assignee".to_owned(), said)));
                }
                let allowed = Allowed {
                    describe: Some(&describe),
                    without: &known.without,
                    creates: true,
                };
                let draft = self.draft(ticket, key.marker, owner, allowed)?;
                known.details.extend(draft.left_out);
                known.found.insert(BODY.into(), draft.members.into());
                known.found.insert(INSTANCE.into(), instance.into());
            }
            Operation::Update { ticket, patch, .. } => {
                let describe = match needs_describe(patch) {
                    true => Some(self.describe(context).await?),
                    false => None,
                };
                let allowed = Allowed {
                    describe: describe.as_deref(),
                    without: &known.without,
                    creates: false,
                };
                let draft = self.change(ticket, patch, allowed);
                known.details.extend(draft.left_out);
                if draft.members.is_empty() {
                    return Ok(Prepared::Done(Receipt {
                        details: known.details,
                        ..Receipt::default()
                    }));
                }
                known.found.insert(BODY.into(), draft.members.into());
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                ..
            } => {
                let describe = self.describe(context).await?;
                let word = self.status_word(*status, Some(&describe))?;
                if said(*resolution_summary).is_some() {
                    let request = self.set_status(ticket, &word)?;
                    let answer = context.send(request).await?;
                    let set = self.set(&answer, "changing the status", &known)?;
                    known.done = Some(PartlyDone {
                        receipt: Receipt {
                            wrote: status_written(&word),
                            ..set
                        },
                        missing: SUMMARY_COMMENT,
                        remedy: "ticket.comment can still post it",
                    });
                }
                known.found.insert(STATUS.into(), word.into());
            }
            Operation::Assign {
                assignee: Some(person),
                ..
            } => {
                let owner = self.owner_of(context, person, &known).await?;
                let owner = owner.ok_or_else(|| AdapterError::field("assigned_to_id", NO_OWNER))?;
                known.found.insert(OWNER.into(), owner.into());
            }
            Operation::Assign { assignee: None, .. }
            | Operation::Comment { .. }
            | Operation::Attach { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    /// Where the org is, as its access token says.
    pub(super) async fn instance(&self, context: &CallContext<'_>) -> Result<String, AdapterError> {
        let base = context.api_base().await?;
        Ok(base.map(String::from).unwrap_or_default())
    }

    /// Who has a case: as the setting says, a user or a queue, else the one active user with this
    /// address.
    async fn owner_of(
        &self,
        context: &CallContext<'_>,
        person: &UserRef,
        known: &Known,
    ) -> Result<Option<String>, AdapterError> {
        let is_again = known.again == Some(AGAIN_OWNER) || known.without.contains_key("OwnerId");
        if is_again {
            Users::forget(context, person);
        }
        let search = |email: String| async move {
            let query = Soql::of("Id", "User").is("Email", &email).holds("IsActive");
            // Of a partner or a customer is no owner.
            let query = query.is("UserType", "Standard").first(2);
            self.only(context, &query, "looking for the user").await
        };
        let Some(found) = self.users.find(context, person, search).await? else {
            return Ok(None);
        };
        if let Some(id) = words::owner_id(&found) {
            return Ok(Some(id));
        }
        let name = remembered_queue(&found);
        if is_again {
            context.forget(&name);
        }
        let query = Soql::of("Id", "Group")
            .is("Type", "Queue")
            .is("Name", &found)
            .first(2);
        let load = self.only(context, &query, "looking for the queue");
        let queue = context.recall(name.clone(), HOUR, load).await?;
        let Some(queue) = queue.as_ref() else {
            context.forget(&name);
            let fault = format!(
                "names {found:?}, which is neither an id of a user or queue nor one queue's name"
            );
            return Err(AdapterError::field("settings.users", fault));
        };
        Ok(Some(queue.clone()))
    }

    /// The id of the one record that a query finds; `None` where there are none or several.
    async fn only(
        &self,
        context: &CallContext<'_>,
        query: &Soql,
        what: &str,
    ) -> Result<Option<String>, AdapterError> {
        let page = self
            .page::<Record>(context, self.query(query)?, what)
            .await?;
        match page.items.as_slice() {
            [one] => Ok(one.id("Id")),
            _ => Ok(None),
        }
    }

    /// A status as the org has it. Its picklist is its own.
    pub(super) fn status_word(
        &self,
        status: TicketStatus,
        describe: Option<&Describe>,
    ) -> Result<String, AdapterError> {
        let wanted = self.statuses.out(status).unwrap_or_default();
        let Some(field) = describe.and_then(|describe| describe.field("Status")) else {
            return Ok(wanted.to_owned());
        };
        let instead = || (wanted == ON_HOLD).then(|| field.choice(WORKING)).flatten();
        let found = field.choice(wanted).or_else(instead);
        found.map(str::to_owned).ok_or_else(|| {
            let choices: Vec<&str> = field.choices().collect();
            let fault = format!(
                "is {wanted:?}, which is no status of this org; it has {}",
                choices.join(", ")
            );
            AdapterError::field(&format!("settings.status_map.{status}"), fault)
        })
    }
}

/// Why nobody is given a case.
const NO_OWNER: &str = "has no single active user at Salesforce: `users` must know the person's \
                        e-mail address, and Salesforce one active user with it; or name the \
                        user's id in settings.users";

/// Whether what a case is made of has to be known for a change.
const fn needs_describe(patch: &TicketPatch) -> bool {
    patch.priority.is_some()
        || patch.category.is_some()
        || patch.tags.is_some()
        || patch.custom_fields.is_some()
}

fn status_written(word: &str) -> crate::platforms::Facts {
    written(&Map::from_iter([("Status".to_owned(), Value::from(word))]))
}

// What a case is made of.
impl Salesforce {
    /// A new case.
    fn draft(
        &self,
        ticket: &TicketView,
        marker: &str,
        owner: Option<String>,
        allowed: Allowed<'_>,
    ) -> Result<Draft, AdapterError> {
        let mut draft = Draft::default();
        let (subject, whole) = words::subject(&ticket.title);
        let text = match whole {
            Some(whole) => {
                let said = format!(
                    "cut to {SUBJECT_MAX} characters; the description begins with all of it"
                );
                draft.left_out.insert("title".into(), said.into());
                format!("{whole}\n\n{}", ticket.description)
            }
            None => ticket.description.clone(),
        };
        draft.put(allowed, "title", "Subject", subject.into());
        if self.external_id.is_none() && !allowed.has("Description") {
            let text = "the user may not set a case's description, whose last line would keep \
                        it from being made twice; let it, or give settings.external_id_field";
            return Err(AdapterError::new(ErrorClass::Permission, text));
        }
        self.describe_in(&text, marker, allowed, &mut draft);
        match self.status_word(ticket.status, allowed.describe) {
            Ok(word) => draft.put(allowed, "status", "Status", word.into()),
            // A new case has the org's first status by itself.
            Err(_) if ticket.status == TicketStatus::New => {}
            Err(error) => return Err(error),
        }
        if self.cancels_by_closing(ticket.status) {
            draft.left_out.insert("status".into(), NOT_CANCELLED.into());
        }
        let priority = self.priorities.out(ticket.priority).unwrap_or_default();
        draft.pick(allowed, "priority", "Priority", priority);
        let kind = self.kinds.out(ticket.category).unwrap_or_default();
        draft.pick(allowed, "category", "Type", kind);
        if let Some(id) = &self.record_type {
            draft.put(allowed, "record_type", "RecordTypeId", id.clone().into());
        }
        if !ticket.tags.is_empty() {
            self.tag(&ticket.tags, allowed, &mut draft);
        }
        self.custom(&ticket.custom_fields, allowed, &mut draft);
        let asker = ticket.created_by.as_ref();
        if let Some(email) = asker.and_then(|who| who.email.as_deref()) {
            draft.put(allowed, "created_by", "SuppliedEmail", email.trim().into());
        }
        if let Some(name) = asker.and_then(|who| said(who.full_name.as_deref())) {
            let name = fit(name.trim(), Max::Utf16(NAME_MAX), None).0;
            draft.put(allowed, "created_by", "SuppliedName", name.into());
        }
        let looked_up = ticket
            .assigned_to
            .as_ref()
            .filter(|_| allowed.describe.is_none());
        let looked_up = looked_up.map(|who| json!({ "lookup": who.email }));
        if let Some(owner) = owner.map(Value::from).or(looked_up) {
            draft.put(allowed, "assignee", "OwnerId", owner);
        }
        Ok(draft)
    }

    /// A change of it.
    fn change(&self, ticket: &TicketView, patch: &TicketPatch, allowed: Allowed<'_>) -> Draft {
        let mut draft = Draft::default();
        if let Some(title) = &patch.title {
            let (subject, whole) = words::subject(title);
            if whole.is_some() {
                let said = format!("cut to {SUBJECT_MAX} characters");
                draft.left_out.insert("title".into(), said.into());
            }
            draft.put(allowed, "title", "Subject", subject.into());
        }
        if patch.description.is_some() {
            let marker = format!("tkt-{}", ticket.id);
            self.describe_in(&ticket.description, &marker, allowed, &mut draft);
        }
        if let Some(priority) = patch
            .priority
            .and_then(|priority| self.priorities.out(priority))
        {
            draft.pick(allowed, "priority", "Priority", priority);
        }
        if let Some(kind) = patch.category.and_then(|category| self.kinds.out(category)) {
            draft.pick(allowed, "category", "Type", kind);
        }
        if let Some(tags) = &patch.tags {
            self.tag(tags, allowed, &mut draft);
        }
        if let Some(custom) = &patch.custom_fields {
            self.custom(custom, allowed, &mut draft);
        }
        for (name, is_said) in [
            ("urgency", patch.urgency.is_some()),
            ("department", patch.department.is_some()),
        ] {
            if is_said {
                draft.leave(name, "a case has no field for it");
            }
        }
        draft
    }

    /// The description: without a field for the marker, it stays the last line of it.
    fn describe_in(&self, text: &str, marker: &str, allowed: Allowed<'_>, draft: &mut Draft) {
        let line = self.external_id.is_none().then_some(marker);
        let (text, is_whole) = words::description(text, line);
        if !is_whole {
            let said = format!("cut to {DESCRIPTION_MAX} characters");
            draft.left_out.insert("description".into(), said.into());
        }
        draft.put(allowed, "description", "Description", text.into());
    }

    fn tag(&self, tags: &[String], allowed: Allowed<'_>, draft: &mut Draft) {
        let Some(name) = &self.tags else {
            return draft.leave(
                "tags",
                "a case has no place for them; settings.tags_field can name a field",
            );
        };
        let (text, left) = match allowed.field(name) {
            Some(field) => field.tags(tags),
            None => (tags.join(";"), Vec::new()),
        };
        if !left.is_empty() {
            let why = format!("{name} has no value or no room for {}", left.join(", "));
            draft.leave("tags", &why);
        }
        draft.put(allowed, "tags", name, text.into());
    }

    /// Custom fields as the org's fields take them. What has no place there, or does not fit, is
    /// left out and said.
    fn custom(&self, custom: &Map<String, Value>, allowed: Allowed<'_>, draft: &mut Draft) {
        let takes = |theirs: &str| allowed.field(theirs).map(words::Field::takes);
        let mapped = self.fields.split(custom, |theirs| {
            takes(theirs).unwrap_or(crate::platforms::mapping::FieldKind::Any)
        });
        let mut unfit = mapped.unfit;
        for (theirs, value) in mapped.theirs {
            let ours = self.fields.ours(&theirs).unwrap_or(&theirs).to_owned();
            let is_ours = [&self.external_id, &self.tags].contains(&&Some(theirs.clone()));
            let fitting = match allowed.field(&theirs) {
                _ if is_ours => Err(format!("is mapped to {theirs}, which a setting uses")),
                _ if !allowed.has(&theirs) => Err(format!(
                    "is mapped to {theirs}, which the user may not set, or Case does not have"
                )),
                Some(field) => field.fit(value),
                None => Ok(value),
            };
            match fitting {
                Ok(value) => draft.put(allowed, &ours, &theirs, value),
                Err(fault) => drop(unfit.insert(ours, fault)),
            }
        }
        if !mapped.unmapped.is_empty() {
            draft
                .left_out
                .insert("unmapped_custom_fields".into(), json!(mapped.unmapped));
        }
        if !unfit.is_empty() {
            draft
                .left_out
                .insert("refused_custom_fields".into(), json!(unfit));
        }
    }
}

/// What becomes of what was cancelled.
const NOT_CANCELLED: &str =
    "closed: there is no status for what was cancelled; settings.status_map can name one";

// What is sent.
impl Salesforce {
    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let body = || known.found.get(BODY).and_then(Value::as_object).cloned();
        let unknown = |creates| Allowed {
            describe: None,
            without: &known.without,
            creates,
        };
        let drafted = |draft: Draft| (draft.members, draft.left_out);
        let mut left_out = Map::new();
        let request = match operation {
            Operation::Create { ticket, key } => {
                let (members, left) = match body() {
                    Some(members) => (members, Map::new()),
                    None => drafted(self.draft(ticket, key.marker, None, unknown(true))?),
                };
                left_out = left;
                let request = match &self.external_id {
                    Some(field) => {
                        self.object(Method::PATCH, &["Case", field, key.marker], Effect::Create)?
                    }
                    None => self.object(Method::POST, &["Case"], Effect::Create)?,
                };
                let request = match members.contains_key("OwnerId") {
                    true => request.header(AUTO_ASSIGN, HeaderValue::from_static("FALSE")),
                    false => request,
                };
                request.json(&members.into())
            }
            Operation::Update { ticket, patch, .. } => {
                let (members, left) = match body() {
                    Some(members) => (members, Map::new()),
                    None => drafted(self.change(ticket, patch, unknown(false))),
                };
                left_out = left;
                self.patch(ticket, &members.into())?
            }
            Operation::Status {
                ticket,
                resolution_summary: Some(summary),
                key,
                ..
            } if said(Some(summary)).is_some() => self.comment(
                ticket,
                summary,
                true,
                (key, "resolution_summary"),
                &mut left_out,
            )?,
            Operation::Status { ticket, status, .. } => {
                if self.cancels_by_closing(*status) {
                    left_out.insert("status".into(), NOT_CANCELLED.into());
                }
                match known.text(STATUS) {
                    Some(word) => self.set_status(ticket, word)?,
                    None => self.set_status(ticket, &self.status_word(*status, None)?)?,
                }
            }
            Operation::Assign { assignee: None, .. } => {
                return Err(AdapterError::unsupported(NO_NOBODY));
            }
            Operation::Assign {
                ticket,
                assignee: Some(person),
                ..
            } => {
                let owner = known.text(OWNER).map(Value::from);
                let owner = owner.unwrap_or_else(|| json!({ "lookup": person.email }));
                self.patch(ticket, &json!({ "OwnerId": owner }))?
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => self.comment(ticket, body, *public, (key, "body"), &mut left_out)?,
            Operation::Attach { ticket, file, .. } => {
                let content = json!({
                    "Title": title_of(file), "PathOnClient": file.name,
                    "FirstPublishLocationId": address(ticket)?,
                });
                let request = self.object(Method::POST, &["ContentVersion"], Effect::Create)?;
                request.multipart(vec![
                    Part::json("entity_content", &content),
                    Part::file("VersionData", file),
                ])
            }
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(Plan {
            request: request.into(),
            left_out,
        })
    }

    fn patch(&self, ticket: &TicketView, members: &Value) -> Result<Request, AdapterError> {
        let id = address(ticket)?;
        let request = self.object(Method::PATCH, &["Case", &id], Effect::Idempotent)?;
        Ok(request.json(members))
    }

    fn set_status(&self, ticket: &TicketView, word: &str) -> Result<Request, AdapterError> {
        self.patch(ticket, &json!({ "Status": word }))
    }

    fn comment(
        &self,
        ticket: &TicketView,
        markdown: &str,
        public: bool,
        (key, field): (&DedupKey<'_>, &str),
        left_out: &mut Map<String, Value>,
    ) -> Result<Request, AdapterError> {
        let (text, is_whole) = words::comment(markdown, key.marker);
        if !is_whole {
            let said = "cut to 4,000 bytes, which is what a comment of Salesforce holds";
            left_out.insert(field.to_owned(), said.into());
        }
        let request = self.object(Method::POST, &["CaseComment"], Effect::Create)?;
        Ok(request.json(&json!({
            "ParentId": address(ticket)?, "CommentBody": text, "IsPublished": public,
        })))
    }
}

// What the answers say.
impl Salesforce {
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let body = || {
            known
                .found
                .get(BODY)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default()
        };
        match operation {
            Operation::Create { .. } => self.created(answer, known, &body()),
            Operation::Update { .. } => {
                let set = self.set(answer, "changing the case", known)?;
                Ok(Receipt {
                    wrote: written(&body()),
                    ..set
                })
            }
            Operation::Status {
                resolution_summary, ..
            } if said(*resolution_summary).is_some() => {
                let id = self.made(answer, "posting the summary")?;
                Ok(summary_receipt(id))
            }
            Operation::Status { .. } => {
                let set = self.set(answer, "changing the status", known)?;
                let word = known.text(STATUS).unwrap_or_default();
                Ok(Receipt {
                    wrote: status_written(word),
                    ..set
                })
            }
            Operation::Assign { .. } => {
                let owner = known.text(OWNER).unwrap_or_default();
                let set = self.set(answer, "assigning the case", known)?;
                let members = Map::from_iter([("OwnerId".to_owned(), Value::from(owner))]);
                Ok(Receipt {
                    wrote: written(&members),
                    ..set
                })
            }
            Operation::Comment { .. } => Ok(Receipt {
                external_comment_id: Some(self.made(answer, "adding the comment")?),
                ..Receipt::default()
            }),
            Operation::Attach { .. } => Ok(Receipt {
                external_attachment_id: Some(self.made(answer, "attaching the file")?),
                ..Receipt::default()
            }),
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    fn created(
        &self,
        answer: &Response,
        known: &Known,
        sent: &Map<String, Value>,
    ) -> Result<Receipt, AdapterError> {
        let what = "creating the case";
        let is_first = known.again.is_none() && known.without.is_empty();
        // Made, as older versions say it; which one it is has to be looked up.
        if answer.status == 204 && self.external_id.is_some() && is_first {
            let text = "creating the case: Salesforce does not say which one it made";
            return Err(AdapterError::new(ErrorClass::Unknown, text).worth_another_look(AGAIN_CASE));
        }
        if let Some(error) = self.refusal(answer, Effect::Create, what) {
            if !is_first {
                return Err(error);
            }
            // Somebody was quicker: it is there.
            if ERRORS.judge(answer, Effect::Create, what) == Judged::Exists {
                return Err(error.worth_another_look(AGAIN_CASE));
            }
            let refused: BTreeMap<String, String> =
                ERRORS.said(answer).fields.into_iter().collect();
            let is_spare =
                |name: &String| sent.contains_key(name) && !NEEDED.contains(&name.as_str());
            return Err(match error.class {
                ErrorClass::Validation { .. }
                    if !refused.is_empty() && refused.keys().all(is_spare) =>
                {
                    error.worth_it_without(refused)
                }
                _ => afresh(error, answer),
            });
        }
        let made: Made = answer.json(Effect::Create)?;
        let id = words::case_id(&made.id).ok_or_else(|| no_id(what, answer))?;
        let mut receipt = self.bound(known.text(INSTANCE), id);
        if made.created == Some(false) {
            receipt.details.insert("existed".into(), true.into());
        }
        receipt.wrote = written(sent);
        Ok(receipt)
    }

    /// The id of what was made.
    fn made(&self, answer: &Response, what: &str) -> Result<String, AdapterError> {
        if let Some(error) = self.refusal(answer, Effect::Create, what) {
            return Err(error);
        }
        let made: Made = answer.json(Effect::Create)?;
        words::id_of(&made.id).ok_or_else(|| no_id(what, answer))
    }

    /// What was set, whose answer says nothing.
    fn set(&self, answer: &Response, what: &str, known: &Known) -> Result<Receipt, AdapterError> {
        match self.refusal(answer, Effect::Idempotent, what) {
            None => Ok(Receipt::default()),
            Some(error) if known.again.is_none() => Err(afresh(error, answer)),
            Some(error) => Err(error),
        }
    }

    /// What binds a ticket of ours to a case.
    pub(super) fn bound(&self, instance: Option<&str>, id: String) -> Receipt {
        Receipt {
            external_url: instance.and_then(|instance| self.page_of(instance, &id)),
            external_ref: Map::from_iter([(CASE_ID.to_owned(), Value::from(id.clone()))]),
            external_id: Some(id),
            ..Receipt::default()
        }
    }

    /// What a refusal means, by our names of the fields.
    pub(super) fn refusal(
        &self,
        answer: &Response,
        effect: Effect,
        what: &str,
    ) -> Option<AdapterError> {
        let mut error = ERRORS.check(answer, effect, what).err()?;
        let named = ERRORS.said(answer).fields;
        let is_of_field = |(name, _): &(String, String)| !OF_CASE.contains(&name.as_str());
        // What is not there is what a field names, and not the case.
        if error.class == ErrorClass::NotFound && named.iter().any(is_of_field) {
            let known = |name: &str| ERRORS.fields.iter().find(|(theirs, _)| *theirs == name);
            let fields = named.into_iter().filter(is_of_field).map(|(name, fault)| {
                let ours = known(&name).map_or(name, |(_, ours)| (*ours).to_owned());
                (ours, fault)
            });
            error.class = ErrorClass::Validation {
                fields: fields.collect(),
            };
        }
        if let ErrorClass::Validation { fields } = &mut error.class {
            let renamed = std::mem::take(fields).into_iter();
            *fields = renamed
                .map(|(name, fault)| (self.our_name(name), fault))
                .collect();
        }
        Some(error)
    }

    /// Our name of a field of the customer's.
    fn our_name(&self, theirs: String) -> String {
        if self.external_id.as_ref() == Some(&theirs) {
            return "settings.external_id_field".to_owned();
        }
        if self.tags.as_ref() == Some(&theirs) {
            return "tags".to_owned();
        }
        let custom = self
            .fields
            .ours(&theirs)
            .map(|ours| format!("custom_fields.{ours}"));
        custom.unwrap_or(theirs)
    }

    /// What of a case that is surely there is not in the answer to its create: the number that
    /// people quote.
    pub(super) async fn read_number(
        &self,
        context: &CallContext<'_>,
        receipt: &mut Receipt,
    ) -> Result<(), Box<Unfinished>> {
        let id = receipt.external_ref.get(CASE_ID).and_then(Value::as_str);
        let Some(id) = id else {
            return Ok(());
        };
        let work = async {
            let request = self.object(Method::GET, &["Case", id], Effect::Read)?;
            let request = request.query([("fields", "CaseNumber")]);
            let what = "reading the number of the case";
            let found: Record = self.api.ask(context, request, what).await?;
            found.text("CaseNumber").map(str::to_owned).ok_or_else(|| {
                AdapterError::new(
                    ErrorClass::Transient { retry_after: None },
                    "the case shows no number",
                )
            })
        };
        match work.await {
            Ok(number) => {
                receipt.external_id = Some(number);
                Ok(())
            }
            Err(error) => Err(Box::new(Unfinished { patch: None, error })),
        }
    }
}

/// A refusal of what was looked up before: it is worth another look.
fn afresh(error: AdapterError, answer: &Response) -> AdapterError {
    let ErrorClass::Validation { fields } = &error.class else {
        return error;
    };
    if fields.contains_key("assigned_to_id") {
        return error.worth_another_look(AGAIN_OWNER);
    }
    let codes = ERRORS.said(answer).codes;
    if codes
        .iter()
        .any(|code| code == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
    {
        return error.worth_another_look(AGAIN_DESCRIBE);
    }
    error
}

/// An answer to what makes something that names nothing.
fn no_id(what: &str, answer: &Response) -> AdapterError {
    let text = format!("{what}: Salesforce's answer has no id of its own in it");
    AdapterError::new(ErrorClass::Unknown, text)
        .with_status(answer.status)
        .with_internal(answer.quote())
}

fn summary_receipt(comment: String) -> Receipt {
    Receipt {
        details: Map::from_iter([(SUMMARY_COMMENT.to_owned(), Value::from(comment))]),
        ..Receipt::default()
    }
}

// What is looked for again.
impl Salesforce {
    pub(super) async fn looked_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { key, .. } if self.external_id.is_some() => {
                self.find_by_id(context, key.marker).await
            }
            Operation::Create { ticket, key } => self.find_by_text(context, ticket, key).await,
            Operation::Comment { ticket, key, .. } => {
                let found = self.find_comment(context, ticket, key).await?;
                Ok(found.map(|id| Receipt {
                    external_comment_id: Some(id),
                    ..Receipt::default()
                }))
            }
            Operation::Status {
                ticket,
                resolution_summary,
                key,
                ..
            } if said(*resolution_summary).is_some() => {
                let found = self.find_comment(context, ticket, key).await?;
                Ok(found.map(summary_receipt))
            }
            Operation::Attach { ticket, file, key } => {
                self.find_file(context, ticket, file, key).await
            }
            // Idempotent: nothing to look for.
            Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Delete { .. } => Ok(None),
        }
    }

    /// A change of status whose summary is not posted.
    pub(super) async fn partly_done(
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
        let describe = self.describe(context).await?;
        let word = self.status_word(*status, Some(&describe))?;
        let id = address(ticket)?;
        let request = self.object(Method::GET, &["Case", &id], Effect::Read)?;
        let request = request.query([("fields", "Status")]);
        let found: Record = self.api.ask(context, request, "reading the status").await?;
        let text = "not posted: no attempt is left; ticket.comment can still post it";
        let is_there = found.text("Status") == Some(word.as_str());
        Ok(is_there.then(|| Receipt {
            wrote: status_written(&word),
            ..summary_receipt(text.to_owned())
        }))
    }

    /// Whether an answer says that there is no such record. Another 404 says that the address is
    /// wrong.
    pub(super) fn is_absent(&self, answer: &Response) -> bool {
        let codes = ERRORS.said(answer).codes;
        let is_gone = codes
            .iter()
            .any(|code| code == "NOT_FOUND" || code == "ENTITY_IS_DELETED");
        let refused = self.refusal(answer, Effect::Read, "");
        answer.status == 404
            && is_gone
            && refused.is_some_and(|error| error.class == ErrorClass::NotFound)
    }

    /// The case with our external id, where there is a field for it.
    async fn find_by_id(
        &self,
        context: &CallContext<'_>,
        marker: &str,
    ) -> Result<Option<Receipt>, AdapterError> {
        let Some(field) = &self.external_id else {
            return Ok(None);
        };
        let what = "looking for the case";
        let request = self.object(Method::GET, &["Case", field, marker], Effect::Read)?;
        let answer = context.send(request.query([("fields", "Id")])).await?;
        if self.is_absent(&answer) {
            return Ok(None);
        }
        if let Some(error) = self.refusal(&answer, Effect::Read, what) {
            return Err(error);
        }
        let found: Record = answer.json(Effect::Read)?;
        let id = found.id("Id").ok_or_else(|| unreadable(what))?;
        let instance = self.instance(context).await?;
        Ok(Some(self.bound(Some(&instance), id)))
    }

    /// The case whose description ends with our marker; of several the oldest, and the others are
    /// said. No query can filter by a long text, so those of the time and subject are compared.
    async fn find_by_text(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        key: &DedupKey<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let what = "looking for the case";
        let query = Soql::of("Id, Description", "Case").from("CreatedDate", since(key));
        let query = query
            .is("Subject", &words::subject(&ticket.title).0)
            .by("CreatedDate ASC, Id ASC");
        let first = self.query(&query)?.up_to(super::PAGE_BYTES);
        let read = |request| self.page::<Record>(context, request, what);
        let found = all(PAGES_MAX, first, read).await?;
        let ours = found
            .iter()
            .filter(|record| record.text("Description").and_then(Marker::find) == Some(key.marker));
        let ids: Option<Vec<String>> = ours.map(|record| record.id("Id")).collect();
        let ids = ids.ok_or_else(|| unreadable(what))?;
        let Some((first, others)) = ids.split_first() else {
            return Ok(None);
        };
        let instance = self.instance(context).await?;
        let mut receipt = self.bound(Some(&instance), first.clone());
        if !others.is_empty() {
            receipt.details.insert("duplicates".into(), json!(others));
        }
        Ok(Some(receipt))
    }

    async fn find_comment(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        key: &DedupKey<'_>,
    ) -> Result<Option<String>, AdapterError> {
        let what = "looking for the comment";
        let query = Soql::of("Id, CommentBody", "CaseComment").is("ParentId", &address(ticket)?);
        let query = query.from("CreatedDate", since(key));
        let read = |request| self.page::<Record>(context, request, what);
        let found = find(PAGES_MAX, self.query(&query)?, read, |record: &Record| {
            record.text("CommentBody").and_then(Marker::find) == Some(key.marker)
        });
        let found = found.await?;
        found
            .map(|record| record.id("Id").ok_or_else(|| unreadable(what)))
            .transpose()
    }

    /// A file of the case with this title and these bytes, put there since the command came in.
    async fn find_file(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        file: &File,
        key: &DedupKey<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let what = "looking for the file";
        let title = title_of(file);
        let size = usize::try_from(file.size).unwrap_or(usize::MAX);
        let md5 = off_runtime(size, || file.md5()).map_err(|error| {
            let text = "the file that was fetched cannot be read again";
            AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
                .with_internal(error.to_string())
        })?;
        let fields = "ContentDocument.Title, ContentDocument.CreatedDate, \
                      ContentDocument.LatestPublishedVersionId, \
                      ContentDocument.LatestPublishedVersion.Checksum";
        let query = Soql::of(fields, "ContentDocumentLink").is("LinkedEntityId", &address(ticket)?);
        let read = |request| self.page::<Record>(context, request, what);
        let is_it = |link: &Record| {
            let Some(document) = link.related("ContentDocument") else {
                return false;
            };
            let version = document.related("LatestPublishedVersion");
            let has_bytes = version.is_some_and(|one| one.text("Checksum") == Some(md5.as_str()));
            let made = document.text("CreatedDate").and_then(words::moment);
            document.text("Title") == Some(title.as_str()) && has_bytes && made >= since(key)
        };
        let found = find(PAGES_MAX, self.query(&query)?, read, is_it).await?;
        let id = |link: &Record| {
            link.related("ContentDocument")?
                .id("LatestPublishedVersionId")
        };
        Ok(found.map(|link| Receipt {
            external_attachment_id: id(&link),
            ..Receipt::default()
        }))
    }
}

/// Since when something of a command can be there.
fn since(key: &DedupKey<'_>) -> Option<chrono::DateTime<chrono::Utc>> {
    Some(key.received_at - chrono::Duration::minutes(CLOCKS))
}

fn unreadable(what: &str) -> AdapterError {
    let text = format!("{what}: Salesforce's answer has no id in it, so nothing is proved by it");
    AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
}
