//! One ticket: what is asked for each operation, and what the answers say.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::words::{self, Chosen, CustomStatus, Ticket, TicketField};
use super::{ASSIGNEE, CLOSED, ERRORS, Zendesk, is_id};
use crate::domain::{TicketCategory, TicketPatch, TicketStatus, TicketView, UserRef};
use crate::platforms::api::{Page, all};
use crate::platforms::classify::Judged;
use crate::platforms::text::inert;
use crate::platforms::users::Users;
use crate::platforms::{
    AdapterError, Body, CallContext, DedupKey, Effect, ErrorClass, File, Known, Operation, Plan,
    Prepared, Receipt, Request, Response, Scope, Unfinished,
};
use crate::telemetry::clock;

/// The member of a ticket's `external_ref` that is its id at Zendesk.
pub(super) const TICKET_ID: &str = "ticket_id";
/// Members of an audit's metadata: whose it is, and which of its files.
const MARK: &str = "ticketwire_mark";
const FILE: &str = "ticketwire_file";
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What [`Known`] calls what was found.
const FOUND_ACCOUNT: &str = "assignee_id";
const FOUND_STATUS: &str = "custom_status_id";
const FOUND_FIELDS: &str = "custom_fields";
const FOUND_TOKEN: &str = "upload_token";
const FOUND_FILE: &str = "attachment_id";
const FOUND_KEY: &str = "idempotency_key";

/// What is worth another look when it is refused: [`Known::again`].
const AGAIN_KEY: &str = "the idempotency key";
const AGAIN_ACCOUNT: &str = "the assignee";
const AGAIN_STATUS: &str = "the custom status";

/// What the memory calls the account's own things, and how long they are good.
const FIELDS: &str = "zendesk fields";
const CUSTOM_STATUSES: &str = "zendesk custom statuses";
const LIFE: Duration = Duration::from_secs(3_600);

/// How long a request whose key was used may still be under way: the last look-up of a create.
const UNDER_WAY: Duration = Duration::from_secs(60);
/// Pages of the account's fields and statuses that are read.
const LISTS_MAX: usize = 20;
/// Audits a page, and pages of them that a look-up reads: each may hold a comment in three forms.
const AUDITS: &str = "50";
const AUDIT_PAGES_MAX: usize = 200;
/// Bytes of such a page, and of one of tickets.
pub(super) const PAGE_BYTES: usize = 16 << 20;
/// The order of audits (unconfirmed; where they come otherwise, all of them are read).
const NEWEST_FIRST: (&str, &str) = ("sort", "-created_at");

/// A text that says something.
pub(super) fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// The ticket's id at Zendesk.
fn address(ticket: &TicketView) -> Result<&str, AdapterError> {
    let remembered = ticket.external_ref.get(TICKET_ID).and_then(Value::as_str);
    let id = remembered.or(ticket.external_id.as_deref());
    id.filter(|id| is_id(id)).ok_or_else(|| {
        let text = "the ticket has no ticket at Zendesk, or its external id is none (a number)";
        AdapterError::new(ErrorClass::NotFound, text)
    })
}

/// A listing that leads on by cursors.
#[derive(Deserialize)]
pub(super) struct Links {
    next: Option<String>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    has_more: bool,
}

/// The answer to a create or a change of a ticket.
#[derive(Deserialize)]
struct Changed {
    ticket: Ticket,
    audit: Option<Audit>,
}

/// What happened to a ticket at once.
#[derive(Deserialize)]
struct Audit {
    created_at: Option<String>,
    metadata: Option<Metadata>,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Metadata {
    custom: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Event {
    id: Option<u64>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
struct Attachment {
    id: u64,
}

impl Audit {
    fn custom(&self) -> Option<&Map<String, Value>> {
        self.metadata.as_ref()?.custom.as_ref()
    }

    /// Whether this command made it, of its files this one.
    fn is_of(&self, marker: &str, file: Option<&File>) -> bool {
        let says = |name: &str| self.custom()?.get(name)?.as_str();
        says(MARK) == Some(marker) && says(FILE) == file.map(|file| file.sha256.as_str())
    }

    fn comment(&self) -> Option<&Event> {
        let mut events = self.events.iter();
        events.find(|event| event.kind == "Comment")
    }

    fn comment_id(&self) -> Option<String> {
        Some(self.comment()?.id?.to_string())
    }

    fn attachment_id(&self) -> Option<String> {
        Some(self.comment()?.attachments.first()?.id.to_string())
    }
}

// What comes first.
impl Zendesk {
    pub(super) async fn prepared(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        match operation {
            Operation::Create { ticket, key } => {
                if known.again == Some(AGAIN_KEY) {
                    if let Some(receipt) = self.find_ticket(context, key.marker).await? {
                        return Ok(Prepared::Done(receipt));
                    }
                    known.found.insert(FOUND_KEY.into(), other_key(key)?.into());
                }
                if let Some(person) = &ticket.assigned_to {
                    match self.account_of(context, person, &known).await? {
                        Some(account) => {
                            drop(known.found.insert(FOUND_ACCOUNT.into(), account.into()));
                        }
                        None => {
                            let text = "left out: Zendesk has no agent with this person's address";
                            known.details.insert("assignee".into(), text.into());
                        }
                    }
                }
                self.find_status(context, ticket.status, &mut known).await?;
                self.find_fields(context, &ticket.custom_fields, &mut known)
                    .await?;
            }
            Operation::Update { patch, .. } => {
                let none = Map::new();
                let custom = patch.custom_fields.as_ref().unwrap_or(&none);
                self.find_fields(context, custom, &mut known).await?;
                if self.update(patch, &known)?.is_empty() {
                    known.details.extend(unsaid(patch));
                    return Ok(Prepared::Done(Receipt {
                        details: known.details,
                        ..Receipt::default()
                    }));
                }
            }
            Operation::Status { status, .. } => {
                self.find_status(context, *status, &mut known).await?;
            }
            Operation::Assign {
                assignee: Some(person),
                ..
            } => {
                let account = self.account_of(context, person, &known).await?;
                let account = account.ok_or_else(|| {
                    let fault = "has no agent at Zendesk: `users` must know the person's e-mail \
                                 address, and Zendesk an active agent with it; or name the \
                                 agent's id in settings.users";
                    AdapterError::field(ASSIGNEE, fault)
                })?;
                known.found.insert(FOUND_ACCOUNT.into(), account.into());
            }
            Operation::Attach { file, .. } => {
                let (token, id) = self.upload(context, file).await?;
                known.found.insert(FOUND_TOKEN.into(), token.into());
                known.found.insert(FOUND_FILE.into(), id.into());
            }
            Operation::Assign { assignee: None, .. }
            | Operation::Comment { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    /// Somebody's account: an active agent with this very address.
    async fn account_of(
        &self,
        context: &CallContext<'_>,
        person: &UserRef,
        known: &Known,
    ) -> Result<Option<u64>, AdapterError> {
        if known.again == Some(AGAIN_ACCOUNT) {
            Users::forget(context, person);
        }
        let search = |email| self.agent_with(context, email);
        let found = self.users.find(context, person, search).await?;
        let read = |text: String| {
            let fault = "names an account that is no id of Zendesk: digits";
            text.parse()
                .map_err(|_| AdapterError::field("settings.users", fault))
        };
        found.map(read).transpose()
    }

    async fn agent_with(
        &self,
        context: &CallContext<'_>,
        email: String,
    ) -> Result<Option<String>, AdapterError> {
        #[derive(Deserialize)]
        struct Found {
            users: Vec<User>,
        }
        #[derive(Deserialize)]
        struct User {
            id: u64,
            email: Option<String>,
            role: Option<String>,
            #[serde(default)]
            suspended: bool,
        }
        // It would be another query.
        if email.chars().any(|c| c.is_whitespace() || c == '"') {
            return Ok(None);
        }
        let request = self.api.get(&["users", "search"])?;
        let request = request.query([("query", format!("email:{email}"))]);
        let found: Found = self
            .api
            .ask(context, request, "looking for the agent")
            .await?;
        let is_it = |user: &&User| {
            let has_address = user
                .email
                .as_deref()
                .is_some_and(|own| own.eq_ignore_ascii_case(&email));
            has_address
                && !user.suspended
                && matches!(user.role.as_deref(), Some("agent" | "admin"))
        };
        let user = found.users.iter().find(is_it);
        Ok(user.map(|user| user.id.to_string()))
    }

    /// A status that `status_map` names as the account calls it.
    async fn find_status(
        &self,
        context: &CallContext<'_>,
        status: TicketStatus,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let theirs = self.status_word(status)?;
        if !words::is_name(theirs) {
            return Ok(());
        }
        let find = |all: &[CustomStatus]| {
            let named = |one: &&CustomStatus| {
                one.active && one.agent_label.to_lowercase() == theirs.to_lowercase()
            };
            all.iter().find(named).map(|one| one.id)
        };
        if known.again == Some(AGAIN_STATUS) {
            context.forget(CUSTOM_STATUSES);
        }
        let mut found = find(&self.custom_statuses(context).await?);
        if found.is_none() {
            // It may be new.
            context.forget(CUSTOM_STATUSES);
            found = find(&self.custom_statuses(context).await?);
        }
        let id = found.ok_or_else(|| {
            let fault = format!(
                "is {theirs:?}, which is neither a status of Zendesk ({}) nor an active custom \
                 status of the account",
                words::CATEGORIES.join(", ")
            );
            AdapterError::field(&format!("settings.status_map.{status}"), fault)
        })?;
        known.found.insert(FOUND_STATUS.into(), id.into());
        Ok(())
    }

    fn status_word(&self, status: TicketStatus) -> Result<&str, AdapterError> {
        self.statuses.out(status).ok_or_else(|| {
            let field = format!("settings.status_map.{status}");
            AdapterError::field(&field, "must name a status of Zendesk")
        })
    }

    /// The account's custom statuses, not older than an hour.
    pub(super) async fn custom_statuses(
        &self,
        context: &CallContext<'_>,
    ) -> Result<std::sync::Arc<Vec<CustomStatus>>, AdapterError> {
        let load = async {
            #[derive(Deserialize)]
            struct Listed {
                custom_statuses: Vec<CustomStatus>,
            }
            let request = self.api.get(&["custom_statuses"])?.up_to(PAGE_BYTES);
            let what = "listing the custom statuses";
            let listed: Listed = self.api.ask(context, request, what).await?;
            Ok(listed.custom_statuses)
        };
        context.recall(CUSTOM_STATUSES, LIFE, load).await
    }

    /// The account's ticket fields, not older than an hour.
    pub(super) async fn ticket_fields(
        &self,
        context: &CallContext<'_>,
    ) -> Result<std::sync::Arc<Vec<TicketField>>, AdapterError> {
        context
            .recall(FIELDS, LIFE, self.read_fields(context))
            .await
    }

    async fn read_fields(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Vec<TicketField>, AdapterError> {
        #[derive(Deserialize)]
        struct Listed {
            ticket_fields: Vec<TicketField>,
            links: Option<Links>,
            meta: Option<Meta>,
        }
        let first = self.api.get(&["ticket_fields"])?;
        let first = first.query([("page[size]", "100")]).up_to(PAGE_BYTES);
        let read = move |request: Request| async move {
            let what = "listing the ticket fields";
            let listed: Listed = self.api.ask(context, request.clone(), what).await?;
            Ok(Page {
                items: listed.ticket_fields,
                next: self.next_of(&request, listed.links, listed.meta)?,
            })
        };
        all(LISTS_MAX, first, read).await
    }

    /// What asks for the next page of a listing.
    fn next_of(
        &self,
        request: &Request,
        links: Option<Links>,
        meta: Option<Meta>,
    ) -> Result<Option<Request>, AdapterError> {
        let has_more = meta.is_some_and(|meta| meta.has_more);
        let link = links.and_then(|links| links.next);
        match link.filter(|_| has_more) {
            Some(link) => self.api.next_page(request, &link).map(Some),
            None => Ok(None),
        }
    }

    /// Custom fields as the account's ticket fields take them.
    async fn chosen(
        &self,
        context: &CallContext<'_>,
        custom: &Map<String, Value>,
    ) -> Result<Chosen, AdapterError> {
        let is_mapped = custom.keys().any(|name| self.fields.theirs(name).is_some());
        if !is_mapped {
            return Ok(words::choose(&self.fields, custom, None));
        }
        let fields = self.ticket_fields(context).await?;
        let chosen = words::choose(&self.fields, custom, Some(&fields));
        if chosen.unfit.is_empty() {
            return Ok(chosen);
        }
        // A field or a choice may be new.
        context.forget(FIELDS);
        let fields = self.ticket_fields(context).await?;
        Ok(words::choose(&self.fields, custom, Some(&fields)))
    }

    /// Finds what custom fields are at Zendesk. Those that have no place there, or a value that
    /// does not fit, are left out and said.
    async fn find_fields(
        &self,
        context: &CallContext<'_>,
        custom: &Map<String, Value>,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let chosen = self.chosen(context, custom).await?;
        let details = &mut known.details;
        if !chosen.unmapped.is_empty() {
            details.insert("unmapped_custom_fields".into(), json!(chosen.unmapped));
        }
        if !chosen.unfit.is_empty() {
            details.insert("refused_custom_fields".into(), json!(chosen.unfit));
        }
        let values = chosen.values;
        known.found.insert(FOUND_FIELDS.into(), values.into());
        Ok(())
    }

    /// The bytes of a file. One that no comment takes up is forgotten: the token by which one does,
    /// and the file's id.
    async fn upload(
        &self,
        context: &CallContext<'_>,
        file: &File,
    ) -> Result<(String, String), AdapterError> {
        #[derive(Deserialize)]
        struct Uploaded {
            upload: Upload,
        }
        #[derive(Deserialize)]
        struct Upload {
            token: String,
            attachment: Attachment,
        }
        let request = self.api.set(Method::POST, &["uploads"])?;
        let request = request.query([("filename", file.name.as_str())]);
        let request = Request {
            body: Body::Raw(file.clone()),
            ..request
        };
        let uploaded: Uploaded = self.api.ask(context, request, "uploading the file").await?;
        let upload = uploaded.upload;
        Ok((upload.token, upload.attachment.id.to_string()))
    }
}

/// Another key for a create whose own was used with other contents, by a request that made nothing:
/// of this command, over all its attempts the same. As long as that request may be under way, there
/// is none.
fn other_key(key: &DedupKey<'_>) -> Result<String, AdapterError> {
    let age = (clock::now() - key.received_at)
        .to_std()
        .unwrap_or_default();
    match UNDER_WAY.checked_sub(age) {
        Some(left) if !left.is_zero() => {
            let text = "Zendesk has heard of this ticket with other contents and has none of it \
                        yet; it is looked for again";
            let retry_after = Some(left);
            Err(AdapterError::new(
                ErrorClass::Transient { retry_after },
                text,
            ))
        }
        Some(_) | None => Ok(format!(
            "{}-{}",
            key.marker,
            key.received_at.timestamp_micros()
        )),
    }
}

/// What of a change has no place at Zendesk.
fn unsaid(patch: &TicketPatch) -> Map<String, Value> {
    let mut left_out = Map::new();
    if patch.description.is_some() {
        let text = "left out: Zendesk keeps a ticket's first comment as it was written";
        left_out.insert("description".into(), text.into());
    }
    let title = patch.title.as_deref();
    if title.is_some_and(|title| words::subject(title).1.is_some()) {
        let text = format!("cut to {} characters", words::SUBJECT_MAX);
        left_out.insert("title".into(), text.into());
    }
    for (name, is_said) in [
        ("urgency", patch.urgency.is_some()),
        ("department", patch.department.is_some()),
    ] {
        if is_said {
            let text = "left out: Zendesk has no field for it";
            left_out.insert(name.into(), text.into());
        }
    }
    left_out
}

/// What a change sets: members of the ticket, and its tags.
struct Update {
    members: Map<String, Value>,
    tags: Vec<String>,
}

impl Update {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.tags.is_empty()
    }
}

// What is sent.
impl Zendesk {
    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let mut left_out = Map::new();
        let request = match operation {
            Operation::Create { ticket, key } => {
                self.create(ticket, key.marker, known, &mut left_out)?
            }
            Operation::Update { ticket, patch, .. } => {
                left_out = unsaid(patch);
                let id = address(ticket)?;
                let update = self.update(patch, known)?;
                if update.members.is_empty() && !update.tags.is_empty() {
                    self.add_tags(id, &update.tags)?
                } else {
                    self.change(id, &update.members, Effect::Idempotent)?
                }
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => {
                let mut members = Map::new();
                self.put_status(*status, known, &mut members)?;
                let mut effect = Effect::Idempotent;
                if let Some(summary) = said(*resolution_summary) {
                    let comment = comment(summary, true, "resolution_summary", &mut left_out);
                    members.insert("comment".into(), comment);
                    members.insert("metadata".into(), json!({ MARK: key.marker }));
                    effect = Effect::Create;
                }
                self.change(address(ticket)?, &members, effect)?
            }
            Operation::Assign {
                ticket, assignee, ..
            } => {
                let looked_up = assignee.map(|person| json!({ "lookup": person.email }));
                let account = known.found.get(FOUND_ACCOUNT).cloned().or(looked_up);
                let members = Map::from_iter([("assignee_id".to_owned(), json!(account))]);
                self.change(address(ticket)?, &members, Effect::Idempotent)?
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => {
                let members = Map::from_iter([
                    (
                        "comment".to_owned(),
                        comment(body, *public, "body", &mut left_out),
                    ),
                    ("metadata".to_owned(), json!({ MARK: key.marker })),
                ]);
                self.change(address(ticket)?, &members, Effect::Create)?
            }
            Operation::Attach { ticket, file, key } => {
                let token = known.text(FOUND_TOKEN);
                let token = token.unwrap_or("(the token of the uploaded file)");
                let comment = json!({
                    "body": format!("Attachment: {}", inert(&file.name)), "public": false,
                    "uploads": [token],
                });
                let metadata = json!({ MARK: key.marker, FILE: file.sha256 });
                let members = Map::from_iter([
                    ("comment".to_owned(), comment),
                    ("metadata".to_owned(), metadata),
                ]);
                self.change(address(ticket)?, &members, Effect::Create)?
            }
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(Plan {
            request: request.into(),
            left_out,
        })
    }

    fn create(
        &self,
        ticket: &TicketView,
        marker: &str,
        known: &Known,
        left_out: &mut Map<String, Value>,
    ) -> Result<Request, AdapterError> {
        let (subject, whole) = words::subject(&ticket.title);
        let text: Cow<'_, str> = match &whole {
            Some(whole) => {
                let said = format!(
                    "cut to {} characters; the description begins with all of it",
                    words::SUBJECT_MAX
                );
                left_out.insert("title".into(), said.into());
                Cow::Owned(format!("{whole}\n\n{}", ticket.description))
            }
            None => Cow::Borrowed(&ticket.description),
        };
        let first = match said(Some(&text)) {
            Some(text) => comment(text, true, "description", left_out),
            // A ticket has a first comment.
            None => json!({ "body": inert(&subject), "public": true }),
        };
        let mut tags = words::tags(&ticket.tags);
        if ticket.status == TicketStatus::Cancelled {
            tags.push(words::CANCELLED.to_owned());
        }
        tags.push(words::category_tag(ticket.category));
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        put("subject", subject.into());
        put("comment", first);
        put("priority", json!(self.priorities.out(ticket.priority)));
        put("type", json!(self.kinds.out(ticket.category)));
        put("tags", json!(tags));
        put("external_id", marker.into());
        if let Some(requester) = ticket.created_by.as_ref().and_then(requester) {
            put("requester", requester);
        }
        if let Some(brand) = self.brand {
            put("brand_id", brand.into());
        }
        if let Some(group) = self.group {
            put("group_id", group.into());
        }
        if let Some(account) = known.found.get(FOUND_ACCOUNT) {
            put("assignee_id", account.clone());
        } else if let Some(person) = ticket.assigned_to.as_ref().filter(|_| known.is_rehearsal) {
            put("assignee_id", json!({ "lookup": person.email }));
        }
        let fields = self.fields_of(&ticket.custom_fields, known);
        if !fields.is_empty() {
            put("custom_fields", fields.into());
        }
        self.put_status(ticket.status, known, &mut members)?;
        let key = known.text(FOUND_KEY).unwrap_or(marker);
        let key = HeaderValue::from_str(key).map_err(|_| {
            AdapterError::new(
                ErrorClass::Internal,
                "the ticket's marker is no idempotency key",
            )
        })?;
        let request = self.api.make(Method::POST, &["tickets"])?.header(KEY, key);
        Ok(request.json(&json!({ "ticket": members })))
    }

    /// Custom fields that were chosen, or what a dry run knows of them.
    fn fields_of(&self, custom: &Map<String, Value>, known: &Known) -> Vec<Value> {
        match known.found.get(FOUND_FIELDS).and_then(Value::as_array) {
            Some(found) => found.clone(),
            None => words::choose(&self.fields, custom, None).values,
        }
    }

    /// The members of a change, and its tags. The description has no place there: alone it is
    /// refused.
    fn update(&self, patch: &TicketPatch, known: &Known) -> Result<Update, AdapterError> {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        if let Some(title) = &patch.title {
            put("subject", words::subject(title).0.into());
        }
        if let Some(priority) = patch.priority.and_then(|own| self.priorities.out(own)) {
            put("priority", priority.into());
        }
        if let Some(kind) = patch.category.and_then(|own| self.kinds.out(own)) {
            put("type", kind.into());
        }
        let none = Map::new();
        let custom = patch.custom_fields.as_ref().unwrap_or(&none);
        let fields = self.fields_of(custom, known);
        if !fields.is_empty() {
            put("custom_fields", fields.into());
        }
        let update = Update {
            members,
            tags: words::tags(patch.tags.as_deref().unwrap_or_default()),
        };
        if update.is_empty() && patch.description.is_some() {
            return Err(AdapterError::unsupported(super::DESCRIPTION.why));
        }
        Ok(update)
    }

    /// A status as Zendesk takes it: its category, or the id of a custom one.
    fn put_status(
        &self,
        status: TicketStatus,
        known: &Known,
        members: &mut Map<String, Value>,
    ) -> Result<(), AdapterError> {
        let theirs = self.status_word(status)?;
        let (member, value) = match known.found.get(FOUND_STATUS) {
            Some(id) => ("custom_status_id", id.clone()),
            None if words::is_name(theirs) => ("custom_status_id", json!({ "lookup": theirs })),
            None => match theirs.parse::<u64>() {
                Ok(id) => ("custom_status_id", id.into()),
                Err(_) => ("status", theirs.into()),
            },
        };
        members.insert(member.to_owned(), value);
        Ok(())
    }

    fn change(
        &self,
        id: &str,
        members: &Map<String, Value>,
        effect: Effect,
    ) -> Result<Request, AdapterError> {
        let request = self.api.request(Method::PUT, &["tickets", id], effect)?;
        Ok(request.json(&json!({ "ticket": members })))
    }

    /// Tags beside those that are there.
    fn add_tags(&self, id: &str, tags: &[String]) -> Result<Request, AdapterError> {
        let request = self.api.set(Method::PUT, &["tickets", id, "tags"])?;
        Ok(request.json(&json!({ "tags": tags })))
    }
}

/// A comment of Markdown; what of it found no room is said under the name of its field.
fn comment(markdown: &str, public: bool, field: &str, left_out: &mut Map<String, Value>) -> Value {
    let (html, is_whole) = words::html(markdown);
    if !is_whole {
        let said = "cut: its markup is longer than a comment of Zendesk";
        left_out.insert(field.to_owned(), said.into());
    }
    json!({ "html_body": html, "public": public })
}

/// Who asked for a ticket, where their address is known; Zendesk makes a user of them.
fn requester(person: &UserRef) -> Option<Value> {
    let email = person.email.as_deref()?.trim();
    let (before, _) = email.split_once('@')?;
    let name = said(person.full_name.as_deref()).unwrap_or(before);
    Some(json!({ "name": name.trim(), "email": email }))
}

// What the answers say.
impl Zendesk {
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        match operation {
            Operation::Create { .. } => self.created(answer, known),
            Operation::Update { .. } => {
                let refused = self.refusal(answer, Effect::Idempotent, "changing the ticket");
                refused.map_or(Ok(()), Err)?;
                set(answer)
            }
            Operation::Status {
                status,
                resolution_summary: None,
                ..
            } => self.status_set(answer, *status, known),
            Operation::Status {
                resolution_summary, ..
            } if said(*resolution_summary).is_none() => self
                .changed(answer, Effect::Idempotent, "changing the status")
                .map(|changed| receipt(&changed)),
            Operation::Status { .. } => {
                let changed = self.changed(answer, Effect::Create, "changing the status")?;
                let mut receipt = receipt(&changed);
                let comment = changed.audit.as_ref().and_then(Audit::comment_id);
                receipt.details = shown_summary(comment);
                Ok(receipt)
            }
            Operation::Assign { assignee, .. } => {
                let changed = self.changed(answer, Effect::Idempotent, "assigning the ticket");
                let changed = changed.map_err(|error| {
                    let was_searched = assignee.is_some_and(|who| self.users.known(who).is_none());
                    if was_searched && known.again.is_none() && is_about(&error, ASSIGNEE) {
                        error.worth_another_look(AGAIN_ACCOUNT)
                    } else {
                        error
                    }
                })?;
                Ok(receipt(&changed))
            }
            Operation::Comment { .. } => {
                let changed = self.changed(answer, Effect::Create, "adding the comment")?;
                Ok(Receipt {
                    external_comment_id: changed.audit.as_ref().and_then(Audit::comment_id),
                    ..receipt(&changed)
                })
            }
            Operation::Attach { .. } => {
                let changed = self.changed(answer, Effect::Create, "attaching the file")?;
                let attached = changed.audit.as_ref().and_then(Audit::attachment_id);
                let uploaded = known.text(FOUND_FILE).map(str::to_owned);
                Ok(Receipt {
                    external_attachment_id: attached.or(uploaded),
                    ..receipt(&changed)
                })
            }
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    fn created(&self, answer: &Response, known: &Known) -> Result<Receipt, AdapterError> {
        let what = "creating the ticket";
        if ERRORS.judge(answer, Effect::Create, what) == Judged::Exists {
            let text = "creating the ticket: Zendesk has heard of it with other contents";
            let retry_after = Some(UNDER_WAY);
            let error = AdapterError::new(ErrorClass::Transient { retry_after }, text)
                .with_status(answer.status)
                .with_internal(answer.quote());
            return Err(if known.again.is_none() {
                error.worth_another_look(AGAIN_KEY)
            } else {
                error
            });
        }
        let changed = self
            .changed(answer, Effect::Create, what)
            .map_err(|error| {
                let of = |name: &str, found: &str, again| {
                    let is_it = known.found.contains_key(found) && is_about(&error, name);
                    is_it.then_some(again)
                };
                let again = of(ASSIGNEE, FOUND_ACCOUNT, AGAIN_ACCOUNT)
                    .or_else(|| of("status", FOUND_STATUS, AGAIN_STATUS));
                match again {
                    Some(again) if known.again.is_none() => error.worth_another_look(again),
                    Some(_) | None => error,
                }
            })?;
        let mut receipt = self.bound(&changed.ticket);
        receipt.written = changed.ticket.at();
        if answer.header("x-idempotency-lookup") == Some("hit") {
            receipt.details.insert("replayed".into(), true.into());
        }
        Ok(receipt)
    }

    /// What binds a ticket of ours to one of Zendesk's.
    fn bound(&self, ticket: &Ticket) -> Receipt {
        let id = ticket.id.to_string();
        Receipt {
            external_url: self.page_of(&id),
            external_ref: Map::from_iter([(TICKET_ID.to_owned(), Value::from(id.clone()))]),
            external_id: Some(id),
            ..Receipt::default()
        }
    }

    /// A change of status without a word. What is closed for good needs no closing.
    fn status_set(
        &self,
        answer: &Response,
        status: TicketStatus,
        known: &Known,
    ) -> Result<Receipt, AdapterError> {
        let changed = match self.changed(answer, Effect::Idempotent, "changing the status") {
            Ok(changed) => changed,
            Err(error) => {
                let ends = [TicketStatus::Resolved, TicketStatus::Closed];
                if ends.contains(&status) && is_closed(answer) {
                    let text = "was closed already, which is final at Zendesk";
                    return Ok(Receipt {
                        details: Map::from_iter([("status".to_owned(), Value::from(text))]),
                        ..Receipt::default()
                    });
                }
                let was_found = known.found.contains_key(FOUND_STATUS);
                if was_found && known.again.is_none() && is_about(&error, "status") {
                    return Err(error.worth_another_look(AGAIN_STATUS));
                }
                return Err(error);
            }
        };
        let wanted = self.statuses.out(status);
        let is_there = changed.ticket.status.as_deref() == wanted;
        if wanted == Some("new") && !is_there {
            let text = "Zendesk does not let a ticket return to new; open is what it can be set to";
            return Err(AdapterError::unsupported(text).with_status(answer.status));
        }
        Ok(receipt(&changed))
    }

    /// The ticket after a change.
    fn changed(
        &self,
        answer: &Response,
        effect: Effect,
        what: &str,
    ) -> Result<Changed, AdapterError> {
        match self.refusal(answer, effect, what) {
            Some(error) => Err(error),
            None => answer.json(effect),
        }
    }

    /// What a refusal means, by our names of the fields.
    fn refusal(&self, answer: &Response, effect: Effect, what: &str) -> Option<AdapterError> {
        let mut error = ERRORS.check(answer, effect, what).err()?;
        if let ErrorClass::RateLimited { .. } = error.class {
            error.budget = scope_of(answer).or(error.budget);
        }
        if let ErrorClass::Validation { fields } = &mut error.class {
            let renamed = std::mem::take(fields).into_iter().map(|(name, fault)| {
                let ours = self.our_custom_field(&name);
                (ours.unwrap_or(name), fault)
            });
            *fields = renamed.collect();
        }
        Some(error)
    }

    /// Our name of a custom field, whose id is somewhere in Zendesk's.
    fn our_custom_field(&self, theirs: &str) -> Option<String> {
        let mut ids = theirs.split(|c: char| !c.is_ascii_digit());
        let ours = ids.find_map(|id| self.fields.ours(id).filter(|_| !id.is_empty()));
        ours.map(|ours| format!("custom_fields.{ours}"))
    }

    /// What belongs to a ticket that is surely there: tags of a change and of what was cancelled.
    /// They are added to those that agents gave; only the tag of another category goes.
    pub(super) async fn set_tags(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<(), Box<Unfinished>> {
        let (ticket, mut tags, category, patch) = match operation {
            Operation::Update { ticket, patch, .. } => {
                let missing = TicketPatch {
                    tags: patch.tags.clone(),
                    category: patch.category,
                    ..TicketPatch::default()
                };
                let tags = words::tags(patch.tags.as_deref().unwrap_or_default());
                (ticket, tags, patch.category, Some(missing))
            }
            Operation::Status {
                ticket,
                status: TicketStatus::Cancelled,
                ..
            } => (ticket, vec![words::CANCELLED.to_owned()], None, None),
            Operation::Create { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Comment { .. }
            | Operation::Attach { .. }
            | Operation::Delete { .. } => return Ok(()),
        };
        let others: Vec<String> = category.map_or_else(Vec::new, |category| {
            let all = TicketCategory::ALL.iter();
            let others = all.filter(|other| **other != category);
            others.map(|other| words::category_tag(*other)).collect()
        });
        tags.extend(category.map(words::category_tag));
        let work = async {
            let id = address(ticket)?;
            if !others.is_empty() {
                let request = self.api.set(Method::DELETE, &["tickets", id, "tags"])?;
                let request = request.json(&json!({ "tags": others }));
                self.api
                    .tell(context, request, "removing the tag of another category")
                    .await?;
            }
            if !tags.is_empty() {
                let request = self.add_tags(id, &tags)?;
                self.api.tell(context, request, "adding the tags").await?;
            }
            Ok(())
        };
        work.await
            .map_err(|error| Box::new(Unfinished { patch, error }))
    }
}

/// What was set, and when.
fn receipt(changed: &Changed) -> Receipt {
    Receipt {
        written: changed.ticket.at(),
        ..Receipt::default()
    }
}

/// A change of the ticket, or of its tags alone.
fn set(answer: &Response) -> Result<Receipt, AdapterError> {
    #[derive(Deserialize)]
    struct Set {
        ticket: Option<Ticket>,
        tags: Option<Vec<String>>,
    }
    let set: Set = answer.json(Effect::Idempotent)?;
    if set.ticket.is_none() && set.tags.is_none() {
        let text = "Zendesk answered a change with neither the ticket nor its tags";
        let class = ErrorClass::Transient { retry_after: None };
        return Err(AdapterError::new(class, text).with_status(answer.status));
    }
    Ok(Receipt {
        written: set.ticket.and_then(|ticket| ticket.at()),
        ..Receipt::default()
    })
}

/// Whether a refusal is about a field.
fn is_about(error: &AdapterError, field: &str) -> bool {
    match &error.class {
        ErrorClass::Validation { fields } => fields.contains_key(field),
        _ => false,
    }
}

/// Whether a ticket is refused any change because it is closed.
fn is_closed(answer: &Response) -> bool {
    answer.status == 422 && ERRORS.said(answer).text().to_lowercase().contains(CLOSED)
}

/// Whose budget a change was refused for. Each but that of one ticket has a header: where all of
/// them have something left, it was that one.
fn scope_of(answer: &Response) -> Option<Scope> {
    let accounts = ["ratelimit-remaining", "x-rate-limit-remaining"];
    let accounts = accounts
        .iter()
        .filter_map(|name| answer.header(name)?.trim().parse::<u64>().ok());
    let accounts: Vec<u64> = accounts.collect();
    if accounts.contains(&0) {
        return Some(Scope::Integration);
    }
    let left = |text: &str| {
        let mut pairs = text
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='));
        let (_, left) = pairs.find(|(name, _)| *name == "remaining")?;
        left.trim().parse::<u64>().ok()
    };
    let endpoints = answer.headers.iter();
    let endpoints = endpoints.filter(|(name, _)| name.as_str().starts_with("zendesk-ratelimit-"));
    let endpoints: Vec<u64> = endpoints
        .filter_map(|(_, value)| left(value.to_str().ok()?))
        .collect();
    if endpoints.contains(&0) {
        return Some(Scope::Endpoint);
    }
    (accounts.len() + endpoints.len() > 0).then_some(Scope::Item)
}

fn shown_summary(comment: Option<String>) -> Map<String, Value> {
    Map::from_iter(comment.map(|id| ("summary_comment".to_owned(), Value::from(id))))
}

// What is looked for again.
impl Zendesk {
    pub(super) async fn looked_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { key, .. } => self.find_ticket(context, key.marker).await,
            Operation::Comment { ticket, key, .. } => {
                let found = self
                    .find_audit(context, address(ticket)?, key, None)
                    .await?;
                Ok(found.map(|audit| Receipt {
                    external_comment_id: audit.comment_id(),
                    ..Receipt::default()
                }))
            }
            Operation::Status {
                ticket,
                resolution_summary,
                key,
                ..
            } if said(*resolution_summary).is_some() => {
                let found = self
                    .find_audit(context, address(ticket)?, key, None)
                    .await?;
                Ok(found.map(|audit| Receipt {
                    details: shown_summary(audit.comment_id()),
                    ..Receipt::default()
                }))
            }
            Operation::Attach { ticket, file, key } => {
                let found = self
                    .find_audit(context, address(ticket)?, key, Some(file))
                    .await?;
                Ok(found.map(|audit| Receipt {
                    external_attachment_id: audit.attachment_id(),
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

    /// The ticket with our external id; of several the oldest, and the others are said.
    async fn find_ticket(
        &self,
        context: &CallContext<'_>,
        marker: &str,
    ) -> Result<Option<Receipt>, AdapterError> {
        #[derive(Deserialize)]
        struct Found {
            tickets: Vec<Ticket>,
        }
        let request = self.api.get(&["tickets"])?;
        let request = request.query([("external_id", marker)]).up_to(PAGE_BYTES);
        let found: Found = self
            .api
            .ask(context, request, "looking for the ticket")
            .await?;
        let is_ours = |ticket: &&Ticket| ticket.external_id.as_deref() == Some(marker);
        let mut ours: Vec<&Ticket> = found.tickets.iter().filter(is_ours).collect();
        ours.sort_by_key(|ticket| ticket.id);
        let Some((first, others)) = ours.split_first() else {
            if found.tickets.is_empty() {
                return Ok(None);
            }
            let text = "Zendesk lists tickets of other external ids than was asked for, so \
                        nothing is proved by them";
            return Err(AdapterError::unsupported(text));
        };
        let mut receipt = self.bound(first);
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(|ticket| ticket.id.to_string()).collect();
            receipt.details.insert("duplicates".into(), json!(others));
        }
        Ok(Some(receipt))
    }

    /// The audit that a command made. That there is none is proved only by audits that show their
    /// metadata, to their end or back to before the command came; a minute for clocks that differ.
    async fn find_audit(
        &self,
        context: &CallContext<'_>,
        id: &str,
        key: &DedupKey<'_>,
        file: Option<&File>,
    ) -> Result<Option<Audit>, AdapterError> {
        #[derive(Deserialize)]
        struct Listed {
            audits: Vec<Audit>,
            links: Option<Links>,
            meta: Option<Meta>,
        }
        let since = key.received_at - chrono::Duration::minutes(1);
        let first = self.api.get(&["tickets", id, "audits"])?;
        let first = first.query([NEWEST_FIRST, ("page[size]", AUDITS)]);
        let mut next = Some(first.up_to(PAGE_BYTES));
        for _ in 0..AUDIT_PAGES_MAX {
            let Some(request) = next else {
                return Ok(None);
            };
            let what = "reading what happened to the ticket";
            let listed: Listed = self.api.ask(context, request.clone(), what).await?;
            let mut audits = listed.audits;
            if let Some(at) = audits
                .iter()
                .position(|audit| audit.is_of(key.marker, file))
            {
                return Ok(Some(audits.swap_remove(at)));
            }
            if !audits.is_empty() && audits.iter().all(|audit| audit.custom().is_none()) {
                let text = "Zendesk lists what happened to the ticket without its metadata, in \
                            which the marker is, so nothing is proved by it";
                return Err(AdapterError::unsupported(text));
            }
            let created: Vec<Option<DateTime<Utc>>> = audits
                .iter()
                .map(|audit| words::moment(audit.created_at.as_deref()?))
                .collect();
            // Newest first, as asked: then older ones cannot be it.
            let is_sorted = created.windows(2).all(|pair| match pair {
                [Some(newer), Some(older)] => newer >= older,
                _ => false,
            });
            let reaches_back = created
                .last()
                .copied()
                .flatten()
                .is_some_and(|at| at < since);
            if is_sorted && created.len() > 1 && reaches_back {
                return Ok(None);
            }
            next = self.next_of(&request, listed.links, listed.meta)?;
        }
        let text = "more happened to the ticket than is looked through, so nothing is proved by it";
        Err(AdapterError::unsupported(text))
    }
}
