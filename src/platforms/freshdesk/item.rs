//! One ticket: what is asked for each operation, and what the answers say.

use std::borrow::Cow;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Freshdesk;
use super::facts::{ASSIGNEE, CREATOR, ERRORS, REFERENCE, REQUESTER, TICKET_ID, is_id};
use super::words::{self, Conversation, Ticket};
use crate::domain::{TicketPatch, TicketStatus, TicketView, UserRef};
use crate::platforms::text::{escaped, inert, one_line};
use crate::platforms::{
    AdapterError, CallContext, Effect, ErrorClass, Facts, File, Known, Operation, Part, PartlyDone,
    Plan, Prepared, Receipt, Request, Response,
};

/// Where the receipt of a status says what became of its summary.
const SUMMARY: &str = "summary_comment";
const STATUS: &str = "changing the status";

/// What [`Known`] calls what was found.
pub(super) const FOUND_AGENT: &str = "responder_id";
pub(super) const FOUND_STATUS: &str = "status";
pub(super) const FOUND_TYPE: &str = "type";
pub(super) const FOUND_FIELDS: &str = "custom_fields";
pub(super) const FOUND_TAGS: &str = "tags";
/// What is worth another look when a value is refused: [`Known::again`].
pub(super) const AGAIN: &str = "ticket fields and agents";

/// Bytes of the files of a ticket or comment.
const FILES_MAX: u64 = 20 << 20;

/// A text that says something.
pub(super) fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// The ticket's id at Freshdesk.
pub(super) fn address(ticket: &TicketView) -> Result<&str, AdapterError> {
    let remembered = ticket.external_ref.get(TICKET_ID).and_then(Value::as_str);
    let id = remembered.or(ticket.external_id.as_deref());
    id.filter(|id| is_id(id)).ok_or_else(|| {
        let text = "the ticket has no ticket at Freshdesk, or its external id is none (a number)";
        AdapterError::new(ErrorClass::NotFound, text)
    })
}

/// The e-mail address of a user.
fn email_of(person: Option<&UserRef>) -> Option<&str> {
    said(person?.email.as_deref()).map(str::trim)
}

/// What of a change has no counterpart at Freshdesk.
fn unsaid(patch: &TicketPatch) -> Map<String, Value> {
    let mut left_out = Map::new();
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
            let text = "left out: Freshdesk has no field for it";
            left_out.insert(name.into(), text.into());
        }
    }
    left_out
}

/// What comes with a file; its text says which of a command's files it is.
pub(super) fn file_text(file: &File, marker: &str) -> String {
    format!(
        "<p>Attachment: {}</p><p>Kept as {}</p><p>[ref:{marker}]</p>",
        inert(&escaped(&one_line(&file.name))),
        inert(&escaped(&file.kept_name(marker)))
    )
}

// What comes first.
impl Freshdesk {
    pub(super) async fn prepared(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        match operation {
            Operation::Create { ticket, .. } => {
                self.requester(ticket)?;
                self.find_type(context, ticket.category, &mut known).await?;
                self.find_status(context, ticket.status, &mut known).await?;
                self.find_fields(context, &ticket.custom_fields, &mut known)
                    .await?;
                if let Some(person) = &ticket.assigned_to {
                    match self.agent_of(context, person, &known).await {
                        Ok(Some(agent)) => {
                            drop(known.found.insert(FOUND_AGENT.into(), agent.into()));
                        }
                        Ok(None) => {
                            let text =
                                "left out: Freshdesk has no agent with this person's address";
                            known.details.insert("assignee".into(), text.into());
                        }
                        Err(error) if error.class == ErrorClass::Permission => {
                            let text = "left out: the key's agent may not list agents; name \
                                        their ids in settings.users";
                            known.details.insert("assignee".into(), text.into());
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Operation::Update { ticket, patch, .. } => {
                if let Some(category) = patch.category {
                    self.find_type(context, category, &mut known).await?;
                }
                let none = Map::new();
                let custom = patch.custom_fields.as_ref().unwrap_or(&none);
                self.find_fields(context, custom, &mut known).await?;
                if patch.tags.is_some() || patch.category.is_some() {
                    let there = self.tags_of(context, ticket).await?;
                    known
                        .found
                        .insert(FOUND_TAGS.into(), json!(changed_tags(there, patch)));
                }
                if self.change(patch, &known, &mut Map::new()).is_empty() {
                    known.details.extend(unsaid(patch));
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
                self.find_status(context, *status, &mut known).await?;
                if *status == TicketStatus::Cancelled {
                    let there = self.tags_of(context, ticket).await?;
                    let tags = words::tags_with(there, [&words::CANCELLED.to_owned()]);
                    known.found.insert(FOUND_TAGS.into(), json!(tags));
                }
                if said(*resolution_summary).is_some() {
                    let request = self.set_status(ticket, *status, &known)?;
                    let answer = context.send(request).await?;
                    let set = self.changed(operation, &answer, &known, STATUS)?;
                    known.done = Some(PartlyDone {
                        receipt: Receipt {
                            wrote: status_facts(&set),
                            written: set.at(),
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
                let agent = self.agent_of(context, person, &known).await?;
                let agent = agent.ok_or_else(|| {
                    let fault = "has no agent at Freshdesk: `users` must know the person's \
                                 e-mail address, and Freshdesk an agent with it; or name the \
                                 agent's id in settings.users";
                    AdapterError::field(ASSIGNEE, fault)
                })?;
                known.found.insert(FOUND_AGENT.into(), agent.into());
            }
            Operation::Assign { assignee: None, .. }
            | Operation::Comment { .. }
            | Operation::Attach { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    /// Who asks for a ticket: address and name. Freshdesk makes a contact of them.
    fn requester<'t>(
        &'t self,
        ticket: &'t TicketView,
    ) -> Result<(&'t str, Option<&'t str>), AdapterError> {
        let person = ticket.created_by.as_ref();
        if let Some(email) = email_of(person) {
            let name = person.and_then(|person| said(person.full_name.as_deref()));
            return Ok((email, name.map(str::trim)));
        }
        let fallback = said(self.requester.as_deref()).map(|email| (email, None));
        fallback.ok_or_else(|| {
            let fault = "is needed for this ticket: its creator has no e-mail address, and \
                         Freshdesk takes no ticket without a requester";
            AdapterError::field(REQUESTER, fault)
        })
    }
}

/// The tags of a ticket after a change: those of agents stay, and only the tag of another category
/// goes.
fn changed_tags(there: Vec<String>, patch: &TicketPatch) -> Vec<String> {
    let category = patch.category.map(words::category_tag);
    let stays = |tag: &String| {
        category.is_none() || Some(tag) == category.as_ref() || !words::is_category_tag(tag)
    };
    let own = patch.tags.iter().flatten();
    words::tags_with(there.into_iter().filter(stays), own.chain(&category))
}

// What is sent.
impl Freshdesk {
    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let mut left_out = Map::new();
        let request = match operation {
            Operation::Create { ticket, key } => {
                let members = self.ticket(ticket, key.marker, known, &mut left_out)?;
                let request = self.api.make(Method::POST, &["tickets"])?;
                request.json(&members.into())
            }
            Operation::Update { ticket, patch, .. } => {
                left_out = unsaid(patch);
                let members = self.change(patch, known, &mut left_out);
                self.put(ticket, members)?
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => match said(*resolution_summary) {
                None => self.set_status(ticket, *status, known)?,
                Some(summary) => {
                    let field = "resolution_summary";
                    self.say(ticket, summary, true, (key.marker, field), &mut left_out)?
                }
            },
            Operation::Assign {
                ticket, assignee, ..
            } => {
                let agent = agent_or_rehearsal(*assignee, known);
                self.put(ticket, Map::from_iter([(FOUND_AGENT.to_owned(), agent)]))?
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => self.say(ticket, body, *public, (key.marker, "body"), &mut left_out)?,
            Operation::Attach { ticket, file, key } => {
                if file.size > FILES_MAX {
                    let fault = "is larger than the 20 MB that Freshdesk takes";
                    return Err(AdapterError::field("attachments", fault));
                }
                let id = address(ticket)?;
                let request = self.api.make(Method::POST, &["tickets", id, "notes"])?;
                request.multipart(vec![
                    Part::text("body", file_text(file, key.marker)),
                    Part::text("private", "true"),
                    Part::file("attachments[]", file),
                ])
            }
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(Plan {
            request: request.into(),
            left_out,
        })
    }

    fn ticket(
        &self,
        ticket: &TicketView,
        marker: &str,
        known: &Known,
        left_out: &mut Map<String, Value>,
    ) -> Result<Map<String, Value>, AdapterError> {
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
        // A ticket has a description.
        let text = said(Some(&text)).unwrap_or(&subject);
        let (description, is_whole) = words::html(text, None);
        note_cut(is_whole, "description", left_out);
        let (email, name) = self.requester(ticket)?;
        let mut tags = ticket.tags.clone();
        if ticket.status == TicketStatus::Cancelled {
            tags.push(words::CANCELLED.to_owned());
        }
        tags.push(words::category_tag(ticket.category));
        let mut custom = self.custom_of(&ticket.custom_fields, known);
        let own = match &self.reference {
            Some(field) => {
                custom.insert(field.clone(), marker.into());
                None
            }
            None => Some(words::marker_tag(marker)),
        };
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        put("subject", subject.clone().into());
        put("description", description.into());
        put("email", email.into());
        if let Some(name) = name {
            put("name", name.into());
        }
        put("status", self.status_number(ticket.status, known));
        // Freshdesk takes no ticket without one.
        let priority = self.priorities.out(ticket.priority);
        put(
            "priority",
            priority
                .and_then(words::priority_number)
                .unwrap_or(1)
                .into(),
        );
        put("tags", json!(words::tags_with(own, &tags)));
        if let Some(group) = self.group {
            put("group_id", group.into());
        }
        if let Some(kind) = self.type_of(ticket.category, known) {
            put("type", kind);
        }
        if known.found.contains_key(FOUND_AGENT)
            || (known.is_rehearsal && ticket.assigned_to.is_some())
        {
            put(
                FOUND_AGENT,
                agent_or_rehearsal(ticket.assigned_to.as_ref(), known),
            );
        }
        if !custom.is_empty() {
            put("custom_fields", custom.into());
        }
        Ok(members)
    }

    /// The members of a change.
    fn change(
        &self,
        patch: &TicketPatch,
        known: &Known,
        left_out: &mut Map<String, Value>,
    ) -> Map<String, Value> {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        if let Some(title) = &patch.title {
            put("subject", words::subject(title).0.into());
        }
        if let Some(description) = &patch.description {
            let (html, is_whole) = words::html(description, None);
            note_cut(is_whole, "description", left_out);
            put("description", html.into());
        }
        let priority = patch.priority.and_then(|own| self.priorities.out(own));
        if let Some(number) = priority.and_then(words::priority_number) {
            put("priority", number.into());
        }
        if let Some(kind) = patch.category.and_then(|own| self.type_of(own, known)) {
            put("type", kind);
        }
        if let Some(tags) = known.found.get(FOUND_TAGS) {
            put("tags", tags.clone());
        } else if known.is_rehearsal && (patch.tags.is_some() || patch.category.is_some()) {
            let there = vec!["(the tags that are there)".to_owned()];
            put("tags", json!(changed_tags(there, patch)));
        }
        let none = Map::new();
        let custom = self.custom_of(patch.custom_fields.as_ref().unwrap_or(&none), known);
        if !custom.is_empty() {
            put("custom_fields", custom.into());
        }
        members
    }

    /// Custom fields that were chosen, or what a dry run knows of them.
    fn custom_of(&self, custom: &Map<String, Value>, known: &Known) -> Map<String, Value> {
        match known.found.get(FOUND_FIELDS).and_then(Value::as_object) {
            Some(found) => found.clone(),
            None => words::choose(&self.fields, custom, None).values,
        }
    }

    fn put(
        &self,
        ticket: &TicketView,
        members: Map<String, Value>,
    ) -> Result<Request, AdapterError> {
        let request = self.api.set(Method::PUT, &["tickets", address(ticket)?])?;
        Ok(request.json(&members.into()))
    }

    fn set_status(
        &self,
        ticket: &TicketView,
        status: TicketStatus,
        known: &Known,
    ) -> Result<Request, AdapterError> {
        let number = self.status_number(status, known);
        let mut members = Map::from_iter([("status".to_owned(), number)]);
        if let Some(tags) = known.found.get(FOUND_TAGS) {
            members.insert("tags".to_owned(), tags.clone());
        }
        self.put(ticket, members)
    }

    /// A status as Freshdesk takes it: its number.
    fn status_number(&self, status: TicketStatus, known: &Known) -> Value {
        if let Some(found) = known.found.get(FOUND_STATUS) {
            return found.clone();
        }
        let theirs = self.statuses.out(status).unwrap_or("2");
        let number = theirs.parse::<u64>().map(Value::from);
        number.unwrap_or_else(|_| json!({ "lookup": theirs }))
    }

    /// A comment of Markdown: what of it found no room is said under the name of its field.
    fn say(
        &self,
        ticket: &TicketView,
        markdown: &str,
        public: bool,
        (marker, field): (&str, &str),
        left_out: &mut Map<String, Value>,
    ) -> Result<Request, AdapterError> {
        let (html, is_whole) = words::html(markdown, Some(marker));
        note_cut(is_whole, field, left_out);
        let id = address(ticket)?;
        if public && !self.as_notes {
            let request = self.api.make(Method::POST, &["tickets", id, "reply"])?;
            return Ok(request.json(&json!({ "body": html })));
        }
        let request = self.api.make(Method::POST, &["tickets", id, "notes"])?;
        Ok(request.json(&json!({ "body": html, "private": !public })))
    }
}

fn note_cut(is_whole: bool, field: &str, left_out: &mut Map<String, Value>) {
    if !is_whole {
        let said = "cut: its markup is longer than a text of Freshdesk";
        left_out.insert(field.to_owned(), said.into());
    }
}

/// Who gets a ticket; of a dry run, whom it would look for.
fn agent_or_rehearsal(person: Option<&UserRef>, known: &Known) -> Value {
    let looked_up = || person.map(|person| json!({ "lookup": person.email }));
    let found = known.found.get(FOUND_AGENT).cloned();
    found.or_else(looked_up).unwrap_or(Value::Null)
}

// What the answers say.
impl Freshdesk {
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let set = |what: &str| self.changed(operation, answer, known, what);
        match operation {
            Operation::Create { .. } => {
                let refused = self.refusal(
                    operation,
                    answer,
                    known,
                    Effect::Create,
                    "creating the ticket",
                );
                refused.map_or(Ok(()), Err)?;
                let made: Ticket = answer.json(Effect::Create)?;
                Ok(Receipt {
                    written: made.at(),
                    ..self.bound(&made)
                })
            }
            Operation::Update { patch, .. } => {
                let set = set("changing the ticket")?;
                let mut receipt = receipt(&set);
                let title = patch.title.as_deref().map(|title| words::subject(title).0);
                if title.is_some() && set.subject.is_some() && title != set.subject {
                    let text = "not changed: Freshdesk keeps the subject of a ticket that began \
                                as an outbound e-mail";
                    receipt.details.insert("title".into(), text.into());
                    receipt.wrote.title = set.subject;
                }
                Ok(receipt)
            }
            Operation::Status {
                resolution_summary, ..
            } if said(*resolution_summary).is_none() => Ok(receipt(&set(STATUS)?)),
            Operation::Assign { .. } => Ok(receipt(&set("assigning the ticket")?)),
            Operation::Status { .. } => {
                let made = self.made(operation, answer, known, "posting the summary")?;
                Ok(summary_receipt(&made))
            }
            Operation::Comment { .. } => {
                let made = self.made(operation, answer, known, "adding the comment")?;
                Ok(comment_receipt(&made))
            }
            Operation::Attach { .. } => {
                let made = self.made(operation, answer, known, "attaching the file")?;
                Ok(file_receipt(&made))
            }
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    /// What binds a ticket of ours to one of Freshdesk's.
    pub(super) fn bound(&self, ticket: &Ticket) -> Receipt {
        let id = ticket.id.to_string();
        Receipt {
            external_url: self.page_of(&id),
            external_ref: Map::from_iter([(TICKET_ID.to_owned(), Value::from(id.clone()))]),
            external_id: Some(id),
            ..Receipt::default()
        }
    }

    /// The ticket after a change.
    fn changed(
        &self,
        operation: &Operation<'_>,
        answer: &Response,
        known: &Known,
        what: &str,
    ) -> Result<Ticket, AdapterError> {
        match self.refusal(operation, answer, known, Effect::Idempotent, what) {
            Some(error) => Err(error),
            None => answer.json(Effect::Idempotent),
        }
    }

    /// What was added to the conversation.
    fn made(
        &self,
        operation: &Operation<'_>,
        answer: &Response,
        known: &Known,
        what: &str,
    ) -> Result<Conversation, AdapterError> {
        match self.refusal(operation, answer, known, Effect::Create, what) {
            Some(error) => Err(error),
            None => answer.json(Effect::Create),
        }
    }

    /// What a refusal means, by our names of the fields. What was looked up earlier may have
    /// changed since.
    fn refusal(
        &self,
        operation: &Operation<'_>,
        answer: &Response,
        known: &Known,
        effect: Effect,
        what: &str,
    ) -> Option<AdapterError> {
        let mut error = ERRORS.check(answer, effect, what).err()?;
        let ErrorClass::Validation { fields } = &mut error.class else {
            return Some(error);
        };
        let has_email = email_of(operation.ticket().created_by.as_ref()).is_some();
        let renamed = std::mem::take(fields).into_iter().map(|(name, fault)| {
            let ours = match name.as_str() {
                CREATOR if !has_email => Some(REQUESTER.to_owned()),
                _ => self.our_custom_field(&name),
            };
            (ours.unwrap_or(name), fault)
        });
        *fields = renamed.collect();
        let looked_up = [FOUND_AGENT, FOUND_STATUS, FOUND_TYPE, FOUND_FIELDS];
        let is_old = looked_up.iter().any(|name| known.found.contains_key(*name));
        if answer.status == 400 && is_old && known.again.is_none() {
            return Some(error.worth_another_look(AGAIN));
        }
        Some(error)
    }

    /// Our name of a custom field (`cf_floor`, `custom_fields.cf_floor`).
    fn our_custom_field(&self, theirs: &str) -> Option<String> {
        let name = theirs.get(theirs.find("cf_")?..)?;
        if self.reference.as_deref() == Some(name) {
            return Some(REFERENCE.to_owned());
        }
        let ours = self.fields.ours(name)?;
        Some(format!("custom_fields.{ours}"))
    }
}

/// What was set, and when.
fn receipt(set: &Ticket) -> Receipt {
    Receipt {
        written: set.at(),
        ..Receipt::default()
    }
}

fn status_facts(set: &Ticket) -> Facts {
    let number = set.status.map(|status| status.to_string());
    Facts {
        status: number.clone(),
        status_class: number,
        ..Facts::default()
    }
}

pub(super) fn summary_receipt(made: &Conversation) -> Receipt {
    let id = Value::from(made.id.to_string());
    Receipt {
        details: Map::from_iter([(SUMMARY.to_owned(), id)]),
        ..Receipt::default()
    }
}

pub(super) fn comment_receipt(made: &Conversation) -> Receipt {
    Receipt {
        external_comment_id: Some(made.id.to_string()),
        ..Receipt::default()
    }
}

pub(super) fn file_receipt(made: &Conversation) -> Receipt {
    let file = made.attachments.first();
    Receipt {
        external_attachment_id: file.map(|file| file.id.to_string()),
        ..Receipt::default()
    }
}

/// A change of status whose summary is not posted.
pub(super) fn without_summary(set: &Ticket) -> Receipt {
    let text = "not posted: no attempt is left; ticket.comment can still post it";
    Receipt {
        details: Map::from_iter([(SUMMARY.to_owned(), text.into())]),
        wrote: status_facts(set),
        ..Receipt::default()
    }
}
