//! One task: what is asked for each operation, and what the answers say.

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Asana;
use super::facts::{ASSIGNEE, ERRORS, NO_INTERNAL, SECTION, TASK_GID, is_gid};
use super::vocabulary::Data;
use super::words::{self, Named, SHOWN, Sent, Task};
use crate::domain::{TicketPatch, TicketStatus, TicketView, UserRef};
use crate::platforms::text::{Marker, head};
use crate::platforms::{
    AdapterError, CallContext, DedupKey, Effect, ErrorClass, Facts, File, Known, Operation, Part,
    PartlyDone, Plan, Prepared, Receipt, Request, Response, Unfinished,
};

/// Where the receipt of a status tells of its summary.
const SUMMARY: &str = "resolution_comment";
/// What [`Known`] calls what is sent.
const DATA: &str = "data";
/// What is worth another look when a value is refused: [`Known::again`].
const AGAIN: &str = "sections, custom fields and tags";
/// Characters of a refusal that are told of a field.
const FAULT_MAX: usize = 200;
/// Asana's name of who has a task.
const ASSIGNEE_THERE: &str = "assignee";
/// How far before a command something may be dated that it made: clocks differ.
const BEFORE: chrono::TimeDelta = chrono::TimeDelta::minutes(2);

/// A text that says something.
pub(super) fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// Whether a change has something besides tags.
pub(super) const fn has_fields(patch: &TicketPatch) -> bool {
    patch.title.is_some()
        || patch.description.is_some()
        || patch.priority.is_some()
        || patch.category.is_some()
        || patch.custom_fields.is_some()
}

/// The task's id at Asana.
fn address(ticket: &TicketView) -> Result<&str, AdapterError> {
    let remembered = ticket.external_ref.get(TASK_GID).and_then(Value::as_str);
    let id = remembered.or(ticket.external_id.as_deref());
    id.filter(|id| is_gid(id)).ok_or_else(|| {
        let text = "the ticket has no task at Asana, or its external id is none (a gid of digits)";
        AdapterError::new(ErrorClass::NotFound, text)
    })
}

/// A comment, or what else is told of a task.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Story {
    pub(super) gid: String,
    pub(super) resource_subtype: Option<String>,
    pub(super) text: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) created_by: Option<Named>,
}

impl Story {
    pub(super) fn is_comment(&self) -> bool {
        self.resource_subtype.as_deref() == Some("comment_added")
    }
}

/// A file at a task.
#[derive(Debug, Clone, Deserialize)]
struct Attachment {
    gid: String,
    name: Option<String>,
    size: Option<u64>,
    created_at: Option<String>,
}

fn data(known: &Known) -> Map<String, Value> {
    let data = known.found.get(DATA).and_then(Value::as_object);
    data.cloned().unwrap_or_default()
}

fn keep(known: &mut Known, sent: Sent<'_>) {
    known.details.extend(sent.left_out);
    known.found.insert(DATA.into(), sent.data.into());
}

fn set(known: &mut Known, name: &str, value: impl Into<Value>) {
    let mut all = data(known);
    all.insert(name.to_owned(), value.into());
    known.found.insert(DATA.into(), all.into());
}

// What comes first.
impl Asana {
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
            Operation::Create { ticket, .. } => {
                let custom = Some(&ticket.custom_fields);
                let needs = self.needs_fields((true, true), custom);
                let put = |sent: &mut Sent<'_>| self.put_new(sent, ticket);
                self.find_values(context, &mut known, needs, put).await?;
                // One that is not there is refused before anything is made.
                self.section_of(context, ticket.status).await?;
                let (tags, left_out) = self.tag_gids(context, &ticket.tags).await?;
                if !tags.is_empty() {
                    let gids: Vec<Value> = tags.into_iter().map(|tag| tag.gid.into()).collect();
                    set(&mut known, "tags", gids);
                }
                if let Some(why) = left_out {
                    known.details.insert("tags".into(), why.into());
                }
                let person = ticket.assigned_to.as_ref();
                if let Some(person) = person.filter(|_| !known.without.contains_key(ASSIGNEE_THERE))
                {
                    match self.account_of(person) {
                        Some(account) => set(&mut known, ASSIGNEE_THERE, account),
                        None => {
                            let why = "left out: the person has no e-mail address here";
                            known.details.insert(ASSIGNEE_THERE.into(), why.into());
                        }
                    }
                }
            }
            Operation::Update { ticket, patch, .. } => {
                let (priority, category) = (patch.priority.is_some(), patch.category.is_some());
                let needs = self.needs_fields((priority, category), patch.custom_fields.as_ref());
                let put = |sent: &mut Sent<'_>| self.put_changes(sent, ticket, patch);
                self.find_values(context, &mut known, needs, put).await?;
                if !data(&known).is_empty() {
                    return Ok(Prepared::Go(known));
                }
                if let Some(tags) = &patch.tags
                    && let Some(why) = self.set_tags(context, address(ticket)?, tags).await?
                {
                    known.details.insert("tags".into(), why.into());
                }
                return Ok(Prepared::Done(Receipt {
                    details: known.details,
                    ..Receipt::default()
                }));
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                ..
            } => {
                if let Some(section) = self.section_of(context, *status).await? {
                    self.move_to(context, address(ticket)?, &section).await?;
                }
                if said(*resolution_summary).is_some() {
                    let request = self.complete_request(address(ticket)?, *status)?;
                    let answer = context.send(request).await?;
                    let receipt = self.moved(&answer, &known, *status)?;
                    known.done = Some(PartlyDone {
                        receipt,
                        missing: SUMMARY,
                        remedy: "ticket.comment can still post it",
                    });
                }
            }
            Operation::Assign {
                assignee: Some(person),
                ..
            } => {
                let account = self.account_of(person).ok_or_else(|| {
                    let fault = "has no user at Asana: `users` must know the person's e-mail \
                        address, or name the user's gid in settings.users";
                    AdapterError::field(ASSIGNEE, fault)
                })?;
                set(&mut known, ASSIGNEE_THERE, account);
            }
            Operation::Assign { assignee: None, .. } => {
                set(&mut known, ASSIGNEE_THERE, Value::Null);
            }
            Operation::Comment { .. } | Operation::Attach { .. } | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    /// Chooses values among what the project has; of what does not fit, with a fresh look.
    async fn find_values(
        &self,
        context: &CallContext<'_>,
        known: &mut Known,
        needs_fields: bool,
        put: impl Fn(&mut Sent<'_>),
    ) -> Result<(), AdapterError> {
        if !needs_fields {
            let mut sent = Sent::of(Some(&[]));
            put(&mut sent);
            keep(known, sent);
            return Ok(());
        }
        let mut fields = self.project_fields(context).await?;
        let is_doubtful = {
            let mut sent = Sent::of(Some(&fields));
            put(&mut sent);
            sent.is_doubtful
        };
        if is_doubtful {
            Self::forget_fields(context);
            fields = self.project_fields(context).await?;
        }
        let mut sent = Sent::of(Some(&fields));
        put(&mut sent);
        keep(known, sent);
        Ok(())
    }

    /// Somebody at Asana: the gid that the setting names, else the e-mail address, which Asana
    /// takes as well (Tasks, `assignee`).
    fn account_of(&self, person: &UserRef) -> Option<String> {
        let known = self.users.known(person);
        let email = || said(person.email.as_deref()).map(str::trim);
        known.or_else(email).map(str::to_owned)
    }

    /// What belongs to a task that is surely there: its place on the board.
    pub(super) async fn placed(
        &self,
        context: &CallContext<'_>,
        status: TicketStatus,
        receipt: &mut Receipt,
    ) -> Result<(), Box<Unfinished>> {
        let unfinished = |error| Box::new(Unfinished { patch: None, error });
        let section = self.section_of(context, status).await.map_err(unfinished)?;
        let (Some(section), Some(task)) = (section, &receipt.external_id) else {
            return Ok(());
        };
        self.move_to(context, task, &section)
            .await
            .map_err(unfinished)
    }

    /// Tags that come with other changes.
    pub(super) async fn tagged(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        tags: &[String],
        receipt: &mut Receipt,
    ) -> Result<(), Box<Unfinished>> {
        let set = async { self.set_tags(context, address(ticket)?, tags).await };
        let left_out = set.await.map_err(|error| {
            let patch = Some(TicketPatch {
                tags: Some(tags.to_vec()),
                ..TicketPatch::default()
            });
            Box::new(Unfinished { patch, error })
        })?;
        if let Some(why) = left_out {
            receipt.details.insert("tags".into(), why.into());
        }
        Ok(())
    }
}

// What is sent.
impl Asana {
    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let mut sent = Sent::of(None);
        if !known.is_rehearsal {
            sent.data = data(known);
        }
        let request = match operation {
            Operation::Create { ticket, key } => {
                if known.is_rehearsal {
                    self.put_new(&mut sent, ticket);
                    if let Some(account) = ticket
                        .assigned_to
                        .as_ref()
                        .and_then(|one| self.account_of(one))
                    {
                        sent.put(ASSIGNEE_THERE, account);
                    }
                    // Gids of tags are looked up when it is sent.
                    if !ticket.tags.is_empty() {
                        sent.put("tags", ticket.tags.clone());
                    }
                }
                sent.put("projects", json!([self.project]));
                if self.has_external {
                    sent.put("external", json!({ "gid": key.marker }));
                }
                self.api
                    .make(Method::POST, &["tasks"])?
                    .query([("opt_fields", SHOWN)])
                    .json(&json!({ "data": sent.data }))
            }
            Operation::Update { ticket, patch, .. } => {
                if known.is_rehearsal {
                    self.put_changes(&mut sent, ticket, patch);
                }
                self.change(address(ticket)?, &sent.data)?
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => match said(*resolution_summary) {
                Some(summary) => {
                    let (html, is_whole) = words::comment(summary, true, key.marker);
                    cut_unless(is_whole, "resolution_summary", &mut sent);
                    self.comment(ticket, &html)?
                }
                None => self.complete_request(address(ticket)?, *status)?,
            },
            Operation::Assign {
                ticket, assignee, ..
            } => {
                if known.is_rehearsal {
                    let account = assignee.and_then(|person| self.account_of(person));
                    sent.put(ASSIGNEE_THERE, account);
                }
                self.change(address(ticket)?, &sent.data)?
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => {
                if !*public && !self.posts_internal {
                    return Err(AdapterError::unsupported(NO_INTERNAL));
                }
                let (html, is_whole) = words::comment(body, *public, key.marker);
                cut_unless(is_whole, "body", &mut sent);
                self.comment(ticket, &html)?
            }
            Operation::Attach { ticket, file, .. } => {
                let request = self.api.make(Method::POST, &["attachments"])?;
                request
                    .query([("opt_fields", "gid,name,size")])
                    .multipart(vec![
                        Part::text("parent", address(ticket)?),
                        Part::file("file", file).extended(),
                    ])
            }
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(Plan {
            request: request.into(),
            left_out: sent.left_out,
        })
    }

    fn change(&self, task: &str, data: &Map<String, Value>) -> Result<Request, AdapterError> {
        let request = self.api.set(Method::PUT, &["tasks", task])?;
        let request = request.query([("opt_fields", SHOWN)]);
        Ok(request.json(&json!({ "data": data })))
    }

    fn complete_request(&self, task: &str, status: TicketStatus) -> Result<Request, AdapterError> {
        let done = words::is_done(status).into();
        self.change(task, &Map::from_iter([("completed".to_owned(), done)]))
    }

    fn comment(&self, ticket: &TicketView, html: &str) -> Result<Request, AdapterError> {
        let request = self
            .api
            .make(Method::POST, &["tasks", address(ticket)?, "stories"])?;
        let request = request.query([("opt_fields", "gid,resource_subtype,created_at")]);
        Ok(request.json(&json!({ "data": { "html_text": html } })))
    }
}

fn cut_unless(is_whole: bool, field: &str, sent: &mut Sent<'_>) {
    if !is_whole {
        sent.leave(field, "cut: its markup is longer than a comment of Asana");
    }
}

// What the answers say.
impl Asana {
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let set = |what| self.taken::<Task>(answer, Effect::Idempotent, known, what);
        match operation {
            Operation::Create { .. } => {
                let made: Result<Task, _> =
                    self.taken(answer, Effect::Create, known, "creating the task");
                let made = made.map_err(|error| without_assignee(error, known))?;
                Ok(Receipt {
                    written: made.at(),
                    ..self.bound(&made)
                })
            }
            Operation::Update { .. } => Ok(Receipt {
                written: set("changing the task")?.at(),
                ..Receipt::default()
            }),
            Operation::Assign { .. } => {
                let changed = set("assigning the task")?;
                Ok(Receipt {
                    written: changed.at(),
                    wrote: Facts {
                        assignee: Some(words::holder(changed.assignee.as_ref())),
                        ..Facts::default()
                    },
                    ..Receipt::default()
                })
            }
            Operation::Status {
                status,
                resolution_summary,
                ..
            } => match said(*resolution_summary) {
                None => self.moved(answer, known, *status),
                Some(_) => {
                    let what = "posting the summary";
                    let story: Story = self.taken(answer, Effect::Create, known, what)?;
                    Ok(Receipt {
                        details: summary(&story),
                        ..Receipt::default()
                    })
                }
            },
            Operation::Comment { .. } => {
                let what = "adding the comment";
                let story: Story = self.taken(answer, Effect::Create, known, what)?;
                Ok(Receipt {
                    external_comment_id: Some(story.gid),
                    ..Receipt::default()
                })
            }
            Operation::Attach { .. } => {
                let what = "attaching the file";
                let file: Attachment = self.taken(answer, Effect::Create, known, what)?;
                Ok(Receipt {
                    external_attachment_id: Some(file.gid),
                    ..Receipt::default()
                })
            }
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    /// What a change of `completed` came to. A rule or an app may undo it in the same breath: the
    /// answer shows the task as it is.
    fn moved(
        &self,
        answer: &Response,
        known: &Known,
        status: TicketStatus,
    ) -> Result<Receipt, AdapterError> {
        let what = "changing the status";
        let changed: Task = self.taken(answer, Effect::Idempotent, known, what)?;
        if changed
            .completed
            .is_some_and(|done| done != words::is_done(status))
        {
            let text = "Asana took the change of the status and left the task as it was";
            return Err(AdapterError::new(ErrorClass::Conflict, text).with_status(answer.status));
        }
        Ok(Receipt {
            written: changed.at(),
            ..Receipt::default()
        })
    }

    /// Reads an answer. Names in a refusal are ours; what was looked up is worth another look.
    fn taken<T: DeserializeOwned>(
        &self,
        answer: &Response,
        effect: Effect,
        known: &Known,
        what: &str,
    ) -> Result<T, AdapterError> {
        let Err(mut error) = ERRORS.check(answer, effect, what) else {
            return Ok(answer.json::<Data<T>>(effect)?.data);
        };
        let names: Vec<String> = match &mut error.class {
            ErrorClass::Validation { fields } => {
                // A custom field is named by its gid, somewhere in the text.
                let text = ERRORS.said(answer).text();
                let text = head(&text, FAULT_MAX);
                let gids = text.split(|c: char| !c.is_ascii_digit());
                let named = gids.filter_map(|gid| self.fields.ours(gid));
                for ours in named {
                    fields.insert(format!("custom_fields.{ours}"), text.to_owned());
                }
                fields.keys().cloned().collect()
            }
            ErrorClass::NotFound => {
                let said = ERRORS.said(answer);
                said.fields.into_iter().map(|(name, _)| name).collect()
            }
            _ => Vec::new(),
        };
        let is_looked_up = |name: &String| {
            ["tags", "tag", "section", SECTION].contains(&name.as_str())
                || name.starts_with("custom_field")
        };
        if known.again.is_none() && names.iter().any(is_looked_up) {
            error = error.worth_another_look(AGAIN);
        }
        Err(error)
    }

    /// What binds a ticket to a task.
    fn bound(&self, task: &Task) -> Receipt {
        Receipt {
            external_id: Some(task.gid.clone()),
            external_url: Some(task.page(&self.project)),
            external_ref: Map::from_iter([(TASK_GID.to_owned(), task.gid.clone().into())]),
            ..Receipt::default()
        }
    }
}

/// A task is worth making for nobody where the person is none of the workspace.
fn without_assignee(error: AdapterError, known: &Known) -> AdapterError {
    let fault = match &error.class {
        ErrorClass::Validation { fields } => fields.get(ASSIGNEE).cloned(),
        _ => None,
    };
    match fault.filter(|_| !known.without.contains_key(ASSIGNEE_THERE)) {
        Some(fault) => error.worth_it_without([(ASSIGNEE_THERE.to_owned(), fault)].into()),
        None => error,
    }
}

fn summary(story: &Story) -> Map<String, Value> {
    Map::from_iter([(SUMMARY.to_owned(), Value::from(story.gid.clone()))])
}

// What is looked for again.
impl Asana {
    pub(super) async fn looked_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { key, .. } => {
                let found = match self.has_external {
                    true => self.find_external(context, key.marker).await?,
                    false => self.find_noted(context, key).await?,
                };
                Ok(found.map(|task| self.bound(&task)))
            }
            Operation::Comment { ticket, key, .. } => {
                let found = self.find_story(context, ticket, key.marker).await?;
                Ok(found.map(|story| Receipt {
                    external_comment_id: Some(story.gid),
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
                let found = self.find_story(context, ticket, key.marker).await?;
                Ok(found.map(|story| Receipt {
                    details: summary(&story),
                    ..Receipt::default()
                }))
            }
            Operation::Attach { ticket, file, key } => {
                let found = self.find_file(context, ticket, file, key).await?;
                Ok(found.map(|file| Receipt {
                    external_attachment_id: Some(file.gid),
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
        let section = self.section_of(context, *status).await?;
        let request = self.api.get(&["tasks", address(ticket)?])?;
        let request = request.query([("opt_fields", SHOWN)]);
        let task: Data<Task> = self.api.ask(context, request, "reading the task").await?;
        let task = task.data;
        let own = task.section(&self.project).map(|own| own.gid.as_str());
        let is_there = task.completed == Some(words::is_done(*status))
            && section
                .as_deref()
                .is_none_or(|section| own == Some(section));
        let text = "not posted: no attempt is left; ticket.comment can still post it";
        Ok(is_there.then(|| Receipt {
            details: Map::from_iter([(SUMMARY.to_owned(), text.into())]),
            ..Receipt::default()
        }))
    }

    /// The task that the app has put this name on ("Custom external data").
    async fn find_external(
        &self,
        context: &CallContext<'_>,
        marker: &str,
    ) -> Result<Option<Task>, AdapterError> {
        let request = self.api.get(&["tasks", &format!("external:{marker}")])?;
        let fields = format!("{SHOWN},external.gid");
        let answer = context
            .send(request.query([("opt_fields", &fields)]))
            .await?;
        if is_gone(&answer) {
            return Ok(None);
        }
        let what = "looking for the task";
        let task: Task = self
            .api
            .take::<Data<Task>>(&answer, Effect::Read, what)?
            .data;
        if self.marker_of(&task).as_deref() == Some(marker) {
            return Ok(Some(task));
        }
        Err(unproved("a task without the name that was asked for"))
    }

    /// The task whose notes end with the marker. The listing shows what was just written ("List
    /// tasks"; the search does not).
    async fn find_noted(
        &self,
        context: &CallContext<'_>,
        key: &DedupKey<'_>,
    ) -> Result<Option<Task>, AdapterError> {
        let since = words::written(key.received_at - BEFORE);
        let fields = format!("{SHOWN},notes");
        let request = self.api.get(&["tasks"])?.query([
            ("project", self.project.as_str()),
            ("modified_since", &since),
            ("opt_fields", &fields),
        ]);
        let mut texts = Texts::default();
        let what = "looking for the task";
        let found = self
            .first(context, request, what, |task: &Task| {
                texts.note(task.notes.as_deref()).and_then(Marker::find) == Some(key.marker)
            })
            .await?;
        texts.prove(found, "tasks without their notes")
    }

    async fn find_story(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        marker: &str,
    ) -> Result<Option<Story>, AdapterError> {
        let request = self.stories(address(ticket)?)?;
        let mut texts = Texts::default();
        let what = "looking for the comment";
        let found = self
            .first(context, request, what, |story: &Story| {
                story.is_comment()
                    && texts.note(story.text.as_deref()).and_then(Marker::find) == Some(marker)
            })
            .await?;
        texts.prove(found, "comments without their text")
    }

    /// What is told of a task.
    pub(super) fn stories(&self, task: &str) -> Result<Request, AdapterError> {
        let request = self.api.get(&["tasks", task, "stories"])?;
        let fields = "gid,resource_subtype,text,created_at,created_by.gid";
        Ok(request.query([("opt_fields", fields)]))
    }

    /// A file of this name and size that came after the command. One that was there before is
    /// another.
    async fn find_file(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        file: &File,
        key: &DedupKey<'_>,
    ) -> Result<Option<Attachment>, AdapterError> {
        let request = self.api.get(&["attachments"])?.query([
            ("parent", address(ticket)?),
            ("opt_fields", "gid,name,size,created_at"),
        ]);
        let since = key.received_at - BEFORE;
        let (mut is_unsized, what) = (false, "looking for the file");
        let found = self
            .first(context, request, what, |one: &Attachment| {
                let at = one.created_at.as_deref().and_then(words::moment);
                let is_it = one
                    .name
                    .as_deref()
                    .is_some_and(|name| file.is_kept_as(name))
                    && at.is_none_or(|at| at >= since);
                is_unsized |= is_it && one.size.is_none();
                is_it && one.size == Some(file.size)
            })
            .await?;
        match found {
            None if is_unsized => Err(unproved("a file of this name without its size")),
            found => Ok(found),
        }
    }
}

/// Whether a listing shows the texts that markers are in.
#[derive(Default)]
struct Texts {
    seen: bool,
    shown: bool,
}

impl Texts {
    fn note<'a>(&mut self, text: Option<&'a str>) -> Option<&'a str> {
        self.seen = true;
        self.shown |= text.is_some();
        text
    }

    fn prove<T>(&self, found: Option<T>, what: &str) -> Result<Option<T>, AdapterError> {
        match found {
            None if self.seen && !self.shown => Err(unproved(what)),
            found => Ok(found),
        }
    }
}

/// Whether a read was refused only because it is not there. A wrong address is another 404: it
/// names no object.
pub(super) fn is_gone(answer: &Response) -> bool {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let message = body
        .as_ref()
        .and_then(|body| body["errors"][0]["message"].as_str());
    answer.status == 404 && message.is_some_and(|text| !text.starts_with("No matching route"))
}

fn unproved(what: &str) -> AdapterError {
    AdapterError::unsupported(format!("Asana shows {what}, so nothing is proved by it"))
}
