//! One ticket: what is asked for each operation, and what the answers say.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::HubSpot;
use super::facts::{ASSIGNEE, ERRORS, NO_PUBLIC, PATHS};
use super::words::{
    self, CONTENT, NOTE_BODY, NOTE_FILES, OWNER, PIPELINE, PRIORITY, Pipeline, Property, Record,
    STAGE, SUBJECT, Sent,
};
use crate::domain::{TicketPatch, TicketStatus, TicketView, UserRef};
use crate::platforms::classify::Judged;
use crate::platforms::text::Marker;
use crate::platforms::users::Users;
use crate::platforms::{
    AdapterError, CallContext, DedupKey, Effect, ErrorClass, Facts, File, Known, Operation, Part,
    PartlyDone, Plan, Prepared, Receipt, Request, Response, Unfinished,
};

/// The member of a ticket's `external_ref` that is its id at HubSpot.
pub(super) const TICKET_ID: &str = "ticket_id";
/// Where the receipt of a status tells of its summary.
const SUMMARY: &str = "resolution_comment";

/// What [`Known`] calls what was found.
const VALUES: &str = "properties";
const FOUND_STATUS: &str = "status";
const FOUND_STATE: &str = "status_class";
const FOUND_FILE: &str = "file_id";

/// What is worth another look when a value is refused: [`Known::again`].
const AGAIN: &str = "pipelines, properties and owners";

/// What the memory calls the account's own things, and how long they are good.
const PIPELINES: &str = "hubspot pipelines";
const PROPERTIES: &str = "hubspot properties";
const ACCOUNT: &str = "hubspot account";
const HOUR: Duration = Duration::from_secs(3_600);
/// The same of a contact, of whom there are many.
const CONTACT_LIFE: Duration = Duration::from_secs(600);

/// Bytes of a long listing.
pub(super) const PAGE_BYTES: usize = 16 << 20;
/// Notes that are read at once ("Notes API": 100 inputs a batch), and how often at most.
const NOTES: usize = 100;
const NOTE_PAGES_MAX: usize = 100;

/// Association types of HubSpot's own ("Associations": note to ticket).
const NOTE_TO_TICKET: u32 = 228;
/// Where files are kept.
const FOLDER: &str = "/ticketwire";

/// A text that says something.
pub(super) fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// The ticket's id at HubSpot.
fn address(ticket: &TicketView) -> Result<&str, AdapterError> {
    let remembered = ticket.external_ref.get(TICKET_ID).and_then(Value::as_str);
    let id = remembered.or(ticket.external_id.as_deref());
    id.filter(|id| words::is_id(id)).ok_or_else(|| {
        let text = "the ticket has no ticket at HubSpot, or its external id is none (a number)";
        AdapterError::new(ErrorClass::NotFound, text)
    })
}

/// A listing, or what a batch came to. One without results proves nothing.
#[derive(Deserialize)]
struct Listed<T> {
    results: Vec<T>,
}

/// The account.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    pub(super) portal_id: u64,
    ui_domain: Option<String>,
    pub(super) account_type: Option<String>,
    pub(super) time_zone: Option<String>,
}

impl Account {
    /// The page of a ticket, whose type of object is `0-5`.
    pub(super) fn page_of(&self, id: &str) -> String {
        let domain = self.ui_domain.as_deref().unwrap_or("app.hubspot.com");
        format!(
            "https://{domain}/contacts/{}/record/0-5/{id}",
            self.portal_id
        )
    }
}

/// The notes of some tickets.
#[derive(Deserialize)]
struct NotesOf {
    to: Vec<NoteId>,
    paging: Option<Paging>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NoteId {
    to_object_id: Value,
}

/// Where a listing goes on.
#[derive(Deserialize)]
pub(super) struct Paging {
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    after: String,
}

impl Paging {
    pub(super) fn after(self) -> Option<String> {
        self.next.map(|next| next.after)
    }
}

/// Whether a read was refused only because it is not there. A wrong address is another 404: it has
/// no body of HubSpot's.
pub(super) fn is_gone(answer: &Response) -> bool {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    answer.status == 404 && body.is_some_and(|body| body["status"] == "error")
}

// What the account has, and what comes first.
impl HubSpot {
    pub(super) async fn pipelines(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<Pipeline>>, AdapterError> {
        let load = async {
            let request = self
                .api
                .get(&self.at(PATHS.pipelines, &[]))?
                .up_to(PAGE_BYTES);
            let listed: Listed<Pipeline> = self
                .api
                .ask(context, request, "listing the pipelines")
                .await?;
            Ok(listed.results)
        };
        context.recall(PIPELINES, HOUR, load).await
    }

    pub(super) async fn properties(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<Property>>, AdapterError> {
        let load = async {
            let request = self
                .api
                .get(&self.at(PATHS.properties, &[]))?
                .up_to(PAGE_BYTES);
            let listed: Listed<Property> = self
                .api
                .ask(context, request, "listing the properties")
                .await?;
            Ok(listed.results)
        };
        context.recall(PROPERTIES, HOUR, load).await
    }

    /// Forgets what the customer may have changed.
    pub(super) fn look_anew(context: &CallContext<'_>) {
        context.forget(PIPELINES);
        context.forget(PROPERTIES);
    }

    pub(super) async fn read_account(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Account, AdapterError> {
        let request = self.api.get(&self.at(PATHS.account, &[]))?;
        self.api.ask(context, request, "reading the account").await
    }

    pub(super) async fn account(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Account>, AdapterError> {
        context
            .recall(ACCOUNT, HOUR, self.read_account(context))
            .await
    }

    pub(super) async fn prepared(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        if known.again.is_some() {
            Self::look_anew(context);
        }
        match operation {
            Operation::Create { ticket, key } => {
                let put = |sent: &mut Sent<'_>| self.put_new(sent, ticket, key.marker);
                self.find_values(context, &mut known, put).await?;
                self.find_stage(context, ticket.status, &mut known).await?;
                if let Some(person) = &ticket.assigned_to {
                    match self.owner_of(context, person, &known).await? {
                        Some(owner) => set(&mut known, OWNER, owner),
                        None => {
                            let text = "left out: HubSpot has no user with this person's address";
                            known.details.insert("assignee".into(), text.into());
                        }
                    }
                }
                // An upsert would overwrite what agents changed since.
                if let Some(unique) = self.unique.as_deref()
                    && let Some(found) = self.find_unique(context, unique, key.marker).await?
                {
                    let mut receipt = bound(&found);
                    receipt.details.insert("found".into(), true.into());
                    return Ok(Prepared::Done(receipt));
                }
            }
            Operation::Update { ticket, patch, .. } if **patch == rest() => {
                let mut receipt = Receipt::default();
                let left_out = self.associate(context, ticket, address(ticket)?).await?;
                tell_requester(&mut receipt, left_out);
                return Ok(Prepared::Done(receipt));
            }
            Operation::Update { ticket, patch, .. } => {
                let put = |sent: &mut Sent<'_>| self.put_changes(sent, ticket, patch);
                if needs_properties(patch) {
                    self.find_values(context, &mut known, put).await?;
                } else {
                    let mut sent = Sent::of(Some(&[]));
                    put(&mut sent);
                    keep(&mut known, sent);
                }
                if values(&known).is_empty() {
                    return Ok(Prepared::Done(Receipt {
                        details: known.details,
                        ..Receipt::default()
                    }));
                }
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                ..
            } => {
                self.find_stage(context, *status, &mut known).await?;
                if said(*resolution_summary).is_some() {
                    let request = self.change(address(ticket)?, &values(&known))?;
                    let answer = context.send(request).await?;
                    let changed: Record =
                        self.taken(&answer, Effect::Idempotent, &known, STATUS)?;
                    known.done = Some(PartlyDone {
                        receipt: Receipt {
                            written: changed.at(),
                            wrote: facts_of(&known),
                            ..Receipt::default()
                        },
                        missing: SUMMARY,
                        remedy: "ticket.comment can still post it",
                    });
                }
            }
            Operation::Assign {
                assignee: Some(person),
                ..
            } => {
                let owner = self.owner_of(context, person, &known).await?;
                let owner = owner.ok_or_else(|| {
                    let fault = "has no user at HubSpot: `users` must know the person's e-mail \
                        address, and HubSpot an active user with it; or name the owner's id in \
                        settings.users";
                    AdapterError::field(ASSIGNEE, fault)
                })?;
                set(&mut known, OWNER, owner);
            }
            Operation::Assign { assignee: None, .. } => set(&mut known, OWNER, String::new()),
            Operation::Attach { ticket, file, key } => {
                let id = self.upload(context, ticket, file, key.marker).await?;
                known.found.insert(FOUND_FILE.into(), id.into());
            }
            Operation::Comment { .. } | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    /// Chooses values among what the account has; of what does not fit, with a fresh look.
    async fn find_values(
        &self,
        context: &CallContext<'_>,
        known: &mut Known,
        put: impl Fn(&mut Sent<'_>),
    ) -> Result<(), AdapterError> {
        let kept = self.properties(context).await?;
        let fresh;
        let mut sent = Sent::of(Some(&kept));
        put(&mut sent);
        if sent.is_doubtful || !self.has_unique(&kept) {
            context.forget(PROPERTIES);
            fresh = self.properties(context).await?;
            sent = Sent::of(Some(&fresh));
            put(&mut sent);
        }
        if !self.has_unique(sent.known.unwrap_or_default()) {
            return Err(not_unique());
        }
        keep(known, sent);
        Ok(())
    }

    /// Whether the property that is to hold the markers can: anybody may have deleted it.
    pub(super) fn has_unique(&self, properties: &[Property]) -> bool {
        let Some(unique) = self.unique.as_deref() else {
            return true;
        };
        let mut all = properties.iter();
        all.any(|property| property.name == unique && property.has_unique_value)
    }

    /// Finds pipeline and stage of a status.
    async fn find_stage(
        &self,
        context: &CallContext<'_>,
        status: TicketStatus,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let mut pipelines = self.pipelines(context).await?;
        let find = |all: &[Pipeline]| {
            let pipeline = self.own_pipeline(all)?;
            let stage = self.stage_of(pipeline, status)?;
            let facts = self.status_facts(stage);
            Ok::<_, AdapterError>((pipeline.id.clone(), stage.id.clone(), facts))
        };
        if find(&pipelines).is_err() {
            // It may be new.
            context.forget(PIPELINES);
            pipelines = self.pipelines(context).await?;
        }
        let (pipeline, stage, facts) = find(&pipelines)?;
        set(known, PIPELINE, pipeline);
        set(known, STAGE, stage);
        known.found.insert(FOUND_STATUS.into(), json!(facts.status));
        known
            .found
            .insert(FOUND_STATE.into(), json!(facts.status_class));
        Ok(())
    }

    async fn owner_of(
        &self,
        context: &CallContext<'_>,
        person: &UserRef,
        known: &Known,
    ) -> Result<Option<String>, AdapterError> {
        if known.again.is_some() {
            Users::forget(context, person);
        }
        let search = |email: String| async move {
            #[derive(Deserialize)]
            struct Owner {
                id: String,
                email: Option<String>,
            }
            let request = self.api.get(&self.at(PATHS.owners, &[]))?;
            let request = request.query([("email", email.as_str()), ("limit", "1")]);
            let found: Listed<Owner> = self
                .api
                .ask(context, request, "looking for the owner")
                .await?;
            let is_it = |owner: &Owner| {
                let own = owner.email.as_deref();
                own.is_some_and(|own| own.eq_ignore_ascii_case(&email))
            };
            let owner = found.results.into_iter().find(is_it);
            Ok(owner.map(|owner| owner.id))
        };
        self.users.find(context, person, search).await
    }

    /// The ticket with our marker in its unique property. This read does not lag, unlike the
    /// search.
    async fn find_unique(
        &self,
        context: &CallContext<'_>,
        unique: &str,
        marker: &str,
    ) -> Result<Option<Record>, AdapterError> {
        let request = self.api.get(&self.at(PATHS.tickets, &[marker]))?;
        let properties = format!("{SUBJECT},{STAGE},{unique}");
        let request = request.query([("idProperty", unique), ("properties", &properties)]);
        let answer = context.send(request).await?;
        if is_gone(&answer) {
            return Ok(None);
        }
        let what = "looking for the ticket";
        let found: Record = self.api.take(&answer, Effect::Read, what)?;
        if found.text(unique) == Some(marker) {
            return Ok(Some(found));
        }
        let text = "HubSpot shows a ticket without the marker that was asked for, so nothing is \
            proved by it";
        Err(AdapterError::unsupported(text))
    }

    /// The bytes of a file, under a name that a repeat gives again.
    async fn upload(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        file: &File,
        marker: &str,
    ) -> Result<String, AdapterError> {
        #[derive(Deserialize)]
        struct Uploaded {
            id: String,
        }
        let request = self.api.set(Method::POST, &self.at(PATHS.files, &[]))?;
        let options = json!({ "access": "PRIVATE", "overwrite": true });
        let request = request.multipart(vec![
            Part::text("folderPath", format!("{FOLDER}/{}", ticket.id)),
            Part::text("fileName", file.kept_name(marker)),
            Part::text("options", options.to_string()),
            Part::file("file", file),
        ]);
        let uploaded: Uploaded = self.api.ask(context, request, "uploading the file").await?;
        Ok(uploaded.id)
    }
}

pub(super) fn not_unique() -> AdapterError {
    let fault = "is no property of tickets with unique values: make one (POST \
        /crm/properties/…/tickets with hasUniqueValue: true), as a property cannot become unique \
        later";
    AdapterError::field("settings.unique_property", fault)
}

/// What was chosen so far.
fn values(known: &Known) -> Map<String, Value> {
    let values = known.found.get(VALUES).and_then(Value::as_object);
    values.cloned().unwrap_or_default()
}

fn set(known: &mut Known, property: &str, value: String) {
    let mut all = values(known);
    all.insert(property.to_owned(), value.into());
    known.found.insert(VALUES.into(), all.into());
}

fn keep(known: &mut Known, sent: Sent<'_>) {
    known.details.extend(sent.left_out);
    known.found.insert(VALUES.into(), sent.values.into());
}

/// The change that stands for what a create could not do in the end: who asked for a ticket is no
/// field of a change, so this one is of no custom field. It is a command of its own, and tried
/// again as others are.
fn rest() -> TicketPatch {
    TicketPatch {
        custom_fields: Some(Map::new()),
        ..TicketPatch::default()
    }
}

/// Says why nobody is associated.
fn tell_requester(receipt: &mut Receipt, left_out: Option<&'static str>) {
    if let Some(left_out) = left_out {
        receipt.details.insert("requester".into(), left_out.into());
    }
}

/// Whether a change has something whose values are the account's own.
const fn needs_properties(patch: &TicketPatch) -> bool {
    patch.priority.is_some()
        || patch.category.is_some()
        || patch.tags.is_some()
        || patch.custom_fields.is_some()
}

/// What was set, in HubSpot's words.
fn facts_of(known: &Known) -> Facts {
    let values = values(known);
    let text = |name: &str| values.get(name).and_then(Value::as_str);
    Facts {
        title: text(SUBJECT).map(str::to_owned),
        description: text(CONTENT).map(|text| Marker::without(text).to_owned()),
        priority: text(PRIORITY).map(str::to_owned),
        status: known.text(FOUND_STATUS).map(str::to_owned),
        status_class: known.text(FOUND_STATE).map(str::to_owned),
        assignee: text(OWNER).map(|id| words::holder(said(Some(id)))),
        ..Facts::default()
    }
}

// What is sent.
impl HubSpot {
    fn put_new(&self, sent: &mut Sent<'_>, ticket: &TicketView, marker: &str) {
        sent.put(SUBJECT, words::subject(&ticket.title));
        self.put_text(sent, ticket);
        self.put_priority(sent, ticket.priority);
        self.put_category(sent, ticket.category);
        if !ticket.tags.is_empty() {
            self.put_tags(sent, &ticket.tags);
        }
        self.put_custom(sent, &ticket.custom_fields);
        if let Some(unique) = &self.unique {
            sent.put(unique, marker);
        }
    }

    fn put_changes(&self, sent: &mut Sent<'_>, ticket: &TicketView, patch: &TicketPatch) {
        if let Some(title) = &patch.title {
            sent.put(SUBJECT, words::subject(title));
        }
        if patch.description.is_some() {
            self.put_text(sent, ticket);
        }
        if let Some(priority) = patch.priority {
            self.put_priority(sent, priority);
        }
        if let Some(category) = patch.category {
            self.put_category(sent, category);
        }
        if let Some(tags) = &patch.tags {
            self.put_tags(sent, tags);
        }
        if let Some(custom) = &patch.custom_fields {
            self.put_custom(sent, custom);
        }
        for (field, is_said) in [
            ("urgency", patch.urgency.is_some()),
            ("department", patch.department.is_some()),
        ] {
            if is_said {
                sent.leave(field, "left out: HubSpot has no property for it");
            }
        }
    }

    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let mut sent = Sent::of(None);
        if !known.is_rehearsal {
            sent.values = values(known);
        }
        let is_rehearsal = known.is_rehearsal;
        let put_stage = |sent: &mut Sent<'_>, status| {
            // Which stage that is, is looked up when it is sent.
            let word = self.statuses.out(status).map(str::to_owned);
            sent.put(
                STAGE,
                word.unwrap_or_else(|| format!("(the stage of {status})")),
            );
        };
        let request = match operation {
            Operation::Create { ticket, key } => {
                if is_rehearsal {
                    self.put_new(&mut sent, ticket, key.marker);
                    put_stage(&mut sent, ticket.status);
                }
                self.create(key.marker, &sent.values)?
            }
            Operation::Update { ticket, patch, .. } => {
                if is_rehearsal {
                    self.put_changes(&mut sent, ticket, patch);
                }
                self.change(address(ticket)?, &sent.values)?
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => match said(*resolution_summary) {
                Some(summary) => {
                    let (html, is_whole) = words::note(summary, false, key.marker);
                    cut_unless(is_whole, "resolution_summary", &mut sent);
                    self.note(ticket, key, &html, None)?
                }
                None => {
                    if is_rehearsal {
                        put_stage(&mut sent, *status);
                    }
                    self.change(address(ticket)?, &sent.values)?
                }
            },
            Operation::Assign {
                ticket, assignee, ..
            } => {
                if is_rehearsal {
                    let known = assignee.and_then(|person| self.users.known(person));
                    let looked_up = assignee.map_or("", |_| "(the owner with this address)");
                    sent.put(OWNER, known.unwrap_or(looked_up));
                }
                self.change(address(ticket)?, &sent.values)?
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => {
                if *public && !self.notes_public {
                    return Err(AdapterError::unsupported(NO_PUBLIC));
                }
                let (html, is_whole) = words::note(body, *public, key.marker);
                cut_unless(is_whole, "body", &mut sent);
                self.note(ticket, key, &html, None)?
            }
            Operation::Attach { ticket, file, key } => {
                let id = known.text(FOUND_FILE);
                let id = id.unwrap_or("(the id of the uploaded file)");
                self.note(ticket, key, &words::file_note(file, key.marker), Some(id))?
            }
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(Plan {
            request: request.into(),
            left_out: sent.left_out,
        })
    }

    fn create(&self, marker: &str, values: &Map<String, Value>) -> Result<Request, AdapterError> {
        let Some(unique) = &self.unique else {
            let request = self.api.make(Method::POST, &self.at(PATHS.tickets, &[]))?;
            return Ok(request.json(&json!({ "properties": values })));
        };
        let request = self.api.make(Method::POST, &self.at(PATHS.upsert, &[]))?;
        let input = json!({
            "idProperty": unique, "id": marker, "objectWriteTraceId": marker, "properties": values,
        });
        Ok(request.json(&json!({ "inputs": [input] })))
    }

    fn change(&self, id: &str, values: &Map<String, Value>) -> Result<Request, AdapterError> {
        let request = self
            .api
            .set(Method::PATCH, &self.at(PATHS.tickets, &[id]))?;
        Ok(request.json(&json!({ "properties": values })))
    }

    fn note(
        &self,
        ticket: &TicketView,
        key: &DedupKey<'_>,
        html: &str,
        file: Option<&str>,
    ) -> Result<Request, AdapterError> {
        let mut properties = json!({
            "hs_timestamp": words::written(key.received_at), NOTE_BODY: html,
        });
        if let Some(file) = file {
            properties[NOTE_FILES] = file.into();
        }
        let kind = json!({
            "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": NOTE_TO_TICKET,
        });
        let associations = json!([{ "to": { "id": address(ticket)? }, "types": [kind] }]);
        let request = self.api.make(Method::POST, &self.at(PATHS.notes, &[]))?;
        let body = json!({ "properties": properties, "associations": associations });
        Ok(request.json(&body))
    }
}

fn cut_unless(is_whole: bool, field: &str, sent: &mut Sent<'_>) {
    if !is_whole {
        sent.leave(field, "cut: its markup is longer than a note of HubSpot");
    }
}

/// What a change of status is called, for people.
const STATUS: &str = "changing the status";

// What the answers say.
impl HubSpot {
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let set = |what| {
            let changed: Record = self.taken(answer, Effect::Idempotent, known, what)?;
            Ok(Receipt {
                written: changed.at(),
                wrote: facts_of(known),
                ..Receipt::default()
            })
        };
        let noted = |what| self.taken::<Record>(answer, Effect::Create, known, what);
        match operation {
            Operation::Create { .. } => self.created(answer, known),
            Operation::Update { .. } => set("changing the ticket"),
            Operation::Assign { .. } => set("assigning the ticket"),
            Operation::Status {
                resolution_summary, ..
            } => match said(*resolution_summary) {
                None => set(STATUS),
                Some(_) => Ok(Receipt {
                    details: summary(&noted("posting the summary")?),
                    wrote: facts_of(known),
                    ..Receipt::default()
                }),
            },
            Operation::Comment { .. } => Ok(Receipt {
                external_comment_id: Some(noted("adding the comment")?.id),
                ..Receipt::default()
            }),
            Operation::Attach { .. } => {
                noted("attaching the file")?;
                Ok(Receipt {
                    external_attachment_id: known.text(FOUND_FILE).map(str::to_owned),
                    ..Receipt::default()
                })
            }
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    fn created(&self, answer: &Response, known: &Known) -> Result<Receipt, AdapterError> {
        let what = "creating the ticket";
        let made: Record = if self.unique.is_none() {
            self.taken(answer, Effect::Create, known, what)?
        } else {
            if ERRORS.judge(answer, Effect::Create, what) == Judged::Exists && known.again.is_none()
            {
                // Somebody made it in between: it is looked up.
                let error = AdapterError::new(ErrorClass::Conflict, "the ticket is there already");
                return Err(error.worth_another_look(AGAIN));
            }
            let mut batch: Listed<Record> = self.taken(answer, Effect::Create, known, what)?;
            batch.results.pop().ok_or_else(|| {
                let text = format!(
                    "{what}: HubSpot answered {} without a ticket",
                    answer.status
                );
                AdapterError::new(ErrorClass::Unknown, text).with_status(answer.status)
            })?
        };
        let mut receipt = bound(&made);
        receipt.written = made.at();
        receipt.wrote = facts_of(known);
        if made.is_new == Some(false) {
            let text = "it was there already and was set anew";
            receipt.details.insert("upserted".into(), text.into());
        }
        Ok(receipt)
    }

    /// Reads an answer. Names in a refusal are ours; a value that was looked up is worth another
    /// look.
    pub(super) fn taken<T: DeserializeOwned>(
        &self,
        answer: &Response,
        effect: Effect,
        known: &Known,
        what: &str,
    ) -> Result<T, AdapterError> {
        let Err(mut error) = ERRORS.check(answer, effect, what) else {
            return answer.json(effect);
        };
        let ErrorClass::Validation { fields } = &mut error.class else {
            return Err(error);
        };
        let renamed = std::mem::take(fields).into_iter().map(|(name, fault)| {
            let ours = self.our_name(&name);
            (ours.unwrap_or(name), fault)
        });
        *fields = renamed.collect();
        let is_looked_up = |name: &String| {
            let own = [
                "status",
                "settings.pipeline",
                "priority",
                "category",
                "tags",
                ASSIGNEE,
            ];
            own.contains(&name.as_str()) || name.starts_with("custom_fields.")
        };
        if known.again.is_none() && fields.keys().any(is_looked_up) {
            error = error.worth_another_look(AGAIN);
        }
        Err(error)
    }

    /// Our name of a property that a setting or the mapping names.
    fn our_name(&self, theirs: &str) -> Option<String> {
        if self.tags.as_deref() == Some(theirs) {
            return Some("tags".into());
        }
        if self.unique.as_deref() == Some(theirs) {
            return Some("settings.unique_property".into());
        }
        let ours = self.fields.ours(theirs)?;
        Some(format!("custom_fields.{ours}"))
    }

    /// What belongs to a ticket that is surely there: who asked for it, and its page.
    pub(super) async fn complete(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        receipt: &mut Receipt,
    ) -> Result<(), Box<Unfinished>> {
        let Some(id) = receipt.external_id.clone() else {
            return Ok(());
        };
        let associated = self.associate(context, ticket, &id).await;
        let page = self
            .account(context)
            .await
            .map(|account| account.page_of(&id));
        receipt.external_url = page.as_ref().ok().cloned();
        let left_out = associated.map_err(|error| {
            let patch = error.failure().retryable.then(rest);
            Box::new(Unfinished { patch, error })
        })?;
        tell_requester(receipt, left_out);
        page.map(drop)
            .map_err(|error| Box::new(Unfinished { patch: None, error }))
    }

    /// Puts a ticket to the contact who asked for it; says why not, where there is none.
    async fn associate(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        id: &str,
    ) -> Result<Option<&'static str>, AdapterError> {
        let email = ticket
            .created_by
            .as_ref()
            .and_then(|person| person.email.as_deref());
        let Some(email) = said(email).map(str::trim) else {
            return Ok(None);
        };
        let load = async {
            let request = self.api.get(&self.at(PATHS.contacts, &[email]))?;
            let answer = context
                .send(request.query([("idProperty", "email")]))
                .await?;
            if is_gone(&answer) {
                return Ok(None);
            }
            let found: Record = self
                .api
                .take(&answer, Effect::Read, "looking for the contact")?;
            Ok(Some(found.id))
        };
        let name = format!("hubspot contact {}", email.to_lowercase());
        let contact = context.recall(name, CONTACT_LIFE, load).await?;
        let Some(contact) = contact.as_deref() else {
            return Ok(Some(
                "left out: HubSpot has no contact with this person's address",
            ));
        };
        let path = self.at(
            PATHS.tickets,
            &[id, "associations", "default", "contacts", contact],
        );
        let request = self.api.set(Method::PUT, &path)?;
        self.api
            .tell(context, request, "associating the contact")
            .await?;
        Ok(None)
    }
}

/// What binds a ticket of ours to one of HubSpot's.
fn bound(ticket: &Record) -> Receipt {
    Receipt {
        external_id: Some(ticket.id.clone()),
        external_ref: Map::from_iter([(TICKET_ID.to_owned(), ticket.id.clone().into())]),
        ..Receipt::default()
    }
}

fn summary(note: &Record) -> Map<String, Value> {
    Map::from_iter([(SUMMARY.to_owned(), Value::from(note.id.clone()))])
}

// What is looked for again.
impl HubSpot {
    pub(super) async fn looked_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { key, .. } => {
                let found = match self.unique.as_deref() {
                    Some(unique) => self.find_unique(context, unique, key.marker).await?,
                    None => self.search_marker(context, key.marker).await?,
                };
                Ok(found.as_ref().map(bound))
            }
            Operation::Comment { ticket, key, .. } => {
                let found = self.find_note(context, ticket, key.marker, None).await?;
                Ok(found.map(|note| Receipt {
                    external_comment_id: Some(note.id),
                    ..Receipt::default()
                }))
            }
            // The summary is the last that a change of status does: where it is, all is done.
            Operation::Status {
                ticket,
                resolution_summary,
                key,
                ..
            } if said(*resolution_summary).is_some() => {
                let found = self.find_note(context, ticket, key.marker, None).await?;
                Ok(found.map(|note| Receipt {
                    details: summary(&note),
                    ..Receipt::default()
                }))
            }
            Operation::Attach { ticket, file, key } => {
                let found = self
                    .find_note(context, ticket, key.marker, Some(file))
                    .await?;
                Ok(found.map(|note| Receipt {
                    external_attachment_id: note.text(NOTE_FILES).map(str::to_owned),
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

    /// Whether the status is set whose summary could not be posted.
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
        let mut known = Known::default();
        self.find_stage(context, *status, &mut known).await?;
        let request = self.api.get(&self.at(PATHS.tickets, &[address(ticket)?]))?;
        let request = request.query([("properties", STAGE)]);
        let found: Record = self.api.ask(context, request, "reading the ticket").await?;
        let wanted = values(&known).get(STAGE).cloned();
        let is_there = wanted.is_some() && found.properties.get(STAGE) == wanted.as_ref();
        let text = "not posted: no attempt is left; ticket.comment can still post it";
        Ok(is_there.then(|| Receipt {
            details: Map::from_iter([(SUMMARY.to_owned(), text.into())]),
            wrote: facts_of(&known),
            ..Receipt::default()
        }))
    }

    /// The ticket whose text ends with our marker, by the search, which lags.
    async fn search_marker(
        &self,
        context: &CallContext<'_>,
        marker: &str,
    ) -> Result<Option<Record>, AdapterError> {
        let id = marker.strip_prefix("tkt-").unwrap_or(marker);
        let filter = json!({ "propertyName": CONTENT, "operator": "CONTAINS_TOKEN", "value": id });
        let body = json!({
            "filterGroups": [{ "filters": [filter] }], "properties": [CONTENT], "limit": 100,
        });
        let request = self
            .api
            .request(Method::POST, &self.at(PATHS.search, &[]), Effect::Read)?;
        let request = request.json(&body).up_to(PAGE_BYTES);
        let found: Listed<Record> = self
            .api
            .ask(context, request, "searching for the ticket")
            .await?;
        if !found.results.is_empty() && found.results.iter().all(|one| one.text(CONTENT).is_none())
        {
            return Err(unproved("the tickets"));
        }
        let is_ours = |one: &&Record| one.text(CONTENT).and_then(Marker::find) == Some(marker);
        let ours = found.results.iter().filter(is_ours);
        Ok(ours.min_by_key(|one| one.id.parse::<u64>().ok()).cloned())
    }

    /// The ids of a ticket's notes.
    async fn note_ids(
        &self,
        context: &CallContext<'_>,
        ticket: &str,
    ) -> Result<Vec<String>, AdapterError> {
        let what = "listing the notes";
        let mut ids: Vec<String> = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..NOTE_PAGES_MAX {
            let mut input = json!({ "id": ticket });
            if let Some(after) = &after {
                input["after"] = Value::from(after.as_str());
            }
            let path = self.at(PATHS.notes_of_tickets, &[]);
            let request = self.api.request(Method::POST, &path, Effect::Read)?;
            let request = request
                .json(&json!({ "inputs": [input] }))
                .up_to(PAGE_BYTES);
            let listed: Vec<NotesOf> = read_batch(&context.send(request).await?, what)?;
            let mut next = None;
            for page in listed {
                ids.extend(page.to.iter().map(|note| match &note.to_object_id {
                    Value::String(id) => id.clone(),
                    other => other.to_string(),
                }));
                next = page.paging.and_then(Paging::after);
            }
            after = next;
            if after.is_none() {
                return Ok(ids);
            }
        }
        Err(too_many())
    }

    /// Notes by their ids. Those that are gone are left out.
    pub(super) async fn notes(
        &self,
        context: &CallContext<'_>,
        ids: &[String],
    ) -> Result<Vec<Record>, AdapterError> {
        let inputs: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        let properties = [NOTE_BODY, NOTE_FILES, "hs_timestamp"];
        let path = self.at(PATHS.read_notes, &[]);
        let request = self.api.request(Method::POST, &path, Effect::Read)?;
        let request = request.json(&json!({ "inputs": inputs, "properties": properties }));
        let answer = context.send(request.up_to(PAGE_BYTES)).await?;
        read_batch(&answer, "reading the notes")
    }

    /// The note that a command made; of its files, this one.
    async fn find_note(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        marker: &str,
        file: Option<&File>,
    ) -> Result<Option<Record>, AdapterError> {
        let mut ids = self.note_ids(context, address(ticket)?).await?;
        // The newest are likely to be it.
        ids.sort_by_key(|id| std::cmp::Reverse(id.parse::<u64>().ok()));
        let key = file.map(|file| file.key(marker));
        let is_it = |note: &Record| {
            let body = note.text(NOTE_BODY).unwrap_or_default();
            Marker::find(body) == Some(marker) && key.as_ref().is_none_or(|key| body.contains(key))
        };
        for (page, ids) in ids.chunks(NOTES).enumerate() {
            if page == NOTE_PAGES_MAX {
                return Err(too_many());
            }
            let notes = self.notes(context, ids).await?;
            if !notes.is_empty() && notes.iter().all(|note| note.text(NOTE_BODY).is_none()) {
                return Err(unproved("the notes"));
            }
            if let Some(found) = notes.into_iter().find(is_it) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The results of a batch that reads. 207 Multi-Status says what of it is not there; any other
/// error in it makes the rest worthless.
pub(super) fn read_batch<T: DeserializeOwned>(
    answer: &Response,
    what: &str,
) -> Result<Vec<T>, AdapterError> {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let errors = body.as_ref().and_then(|body| body["errors"].as_array());
    let is_absence = |error: &Value| error["category"] == "OBJECT_NOT_FOUND";
    if answer.status != 207 || !errors.is_some_and(|errors| errors.iter().all(is_absence)) {
        ERRORS.check(answer, Effect::Read, what)?;
    }
    let batch: Listed<T> = answer.json(Effect::Read)?;
    Ok(batch.results)
}

fn unproved(what: &str) -> AdapterError {
    let text = format!(
        "HubSpot shows {what} without their text, in which the marker is, so nothing is proved by \
            it"
    );
    AdapterError::unsupported(text)
}

fn too_many() -> AdapterError {
    let text = "the ticket has more notes than are looked through, so nothing is proved by them";
    AdapterError::unsupported(text)
}
