//! One incident: what is asked for each operation, and what the answers say.

use std::borrow::Cow;
use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::rows::{CALLER, CHOICES, GROUP, One, no_incident, sys_id_of};
use super::words::{self, COLUMNS, INCIDENT, Row, SYS_ID};
use super::{ERRORS, ServiceNow};
use crate::domain::{Priority, TicketCategory, TicketPatch, TicketStatus, TicketView, UserRef};
use crate::platforms::mapping::FieldKind;
use crate::platforms::users::Users;
use crate::platforms::{
    AdapterError, Body, CallContext, DedupKey, Effect, ErrorClass, Known, Operation, Plan,
    Prepared, Receipt, Response, Unfinished,
};

/// Columns that an answer shows whatever was set.
const SHOWN: &str = "sys_id,number,state,correlation_id,sys_created_on,sys_updated_on";
/// Columns that append to the journal and come back as another text, and what says who made it.
const NOT_COMPARED: [&str; 3] = ["comments", "work_notes", "correlation_display"];
/// State of a new incident.
const NEW: &str = "1";
/// Who made it, for people.
const MAKER: &str = "ticketwire";
/// What is said to the caller of an incident on hold, as the instance demands that something is.
const WAITS: &str = "This incident is on hold until its caller answers.";
/// Notes of an incident that is closed with its ticket, where nobody wrote any.
const NO_NOTES: &str = "Closed without a summary.";

/// What is worth another look when it is refused: [`Known::again`].
const AGAIN: &str = "choices, group and people";
const AGAIN_MARK: &str = "the incident by its mark";
/// A text that says something.
fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

// What comes first. What is found is called as the column that it is for.
impl ServiceNow {
    pub(super) async fn prepared(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Prepared, AdapterError> {
        if known.again == Some(AGAIN) {
            for name in [CHOICES, GROUP, CALLER] {
                context.forget(name);
            }
            let ticket = operation.ticket();
            for person in ticket.assigned_to.iter().chain(&ticket.created_by) {
                Users::forget(context, person);
            }
        }
        let is_create = matches!(operation, Operation::Create { .. });
        if !is_create {
            let id = self.place(context, operation.ticket()).await?;
            known.found.insert(SYS_ID.into(), id.into());
        }
        match operation {
            Operation::Create { ticket, key } => {
                if known.again == Some(AGAIN_MARK)
                    && let Some(receipt) = self.find_incident(context, key.marker).await?
                {
                    return Ok(Prepared::Done(receipt));
                }
                self.find_people(context, ticket, &mut known).await?;
                self.find_category(context, ticket.category, &mut known)
                    .await?;
                if self.state_of(ticket.status) != NEW {
                    self.find_state(context, ticket.status, None, None, &mut known)
                        .await?;
                }
            }
            Operation::Update { patch, .. } => {
                if let Some(category) = patch.category {
                    self.find_category(context, category, &mut known).await?;
                }
                let sent = self.sent(operation, &known)?;
                if sent.columns.is_empty() {
                    let left_out = sent.left_out;
                    known.details.extend(left_out);
                    return Ok(Prepared::Done(Receipt {
                        details: known.details,
                        ..Receipt::default()
                    }));
                }
            }
            Operation::Status {
                status,
                resolution_summary,
                ..
            } => {
                let there = known.text(SYS_ID).map(str::to_owned);
                let summary = *resolution_summary;
                self.find_state(context, *status, summary, there.as_deref(), &mut known)
                    .await?;
            }
            Operation::Assign {
                assignee: Some(person),
                ..
            } => {
                let account = self.account_of(context, person).await?;
                let account = account.ok_or_else(|| {
                    let fault = "has no account at ServiceNow: `users` must know the person's \
                                 e-mail address, and the \
                                 instance one active user with it; or name the sys_id in \
                                 settings.users";
                    AdapterError::field("assigned_to_id", fault)
                })?;
                known.found.insert("assigned_to".into(), account.into());
            }
            Operation::Assign { assignee: None, .. }
            | Operation::Comment { .. }
            | Operation::Attach { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    /// Caller, group and assignee of a new incident. A person who is not found is left out.
    async fn find_people(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let fixed = self.caller(context).await?;
        let requester = ticket.created_by.as_ref().filter(|_| fixed.is_none());
        let found = [
            ("caller_id", fixed),
            ("assignment_group", self.group(context).await?),
        ];
        for (column, id) in found {
            if let Some(id) = id {
                known.found.insert(column.into(), id.into());
            }
        }
        let people = [
            ("caller_id", "requester", requester),
            ("assigned_to", "assignee", ticket.assigned_to.as_ref()),
        ];
        for (column, role, person) in people {
            let Some(person) = person else { continue };
            let why = match self.account_of(context, person).await {
                Ok(Some(id)) => {
                    known.found.insert(column.into(), id.into());
                    continue;
                }
                Ok(None) => "the instance shows no one active user with this person's address",
                Err(error) if error.class == ErrorClass::Permission => {
                    "the account may not read sys_user; name the sys_id in settings.users"
                }
                Err(error) => return Err(error),
            };
            known
                .details
                .insert(role.into(), format!("left out: {why}").into());
        }
        Ok(())
    }

    /// The category, where the instance has it.
    async fn find_category(
        &self,
        context: &CallContext<'_>,
        category: TicketCategory,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let word = self.categories.out(category).unwrap_or_default();
        match self.choices(context).await?.value("category", word) {
            Some(value) => drop(known.found.insert("category".into(), value.into())),
            None => {
                let said = format!(
                    "left out: the instance has no category {word:?}; name one in \
                     settings.category_map"
                );
                known.details.insert("category".into(), said.into());
            }
        }
        Ok(())
    }

    /// What a status needs besides its state. Of an incident that is `there`, notes that somebody
    /// wrote stay.
    async fn find_state(
        &self,
        context: &CallContext<'_>,
        status: TicketStatus,
        summary: Option<&str>,
        there: Option<&str>,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let setting = format!("settings.status_map.{status}");
        let state = self.state_of(status);
        self.chosen(context, "state", state, &setting).await?;
        if status == TicketStatus::Pending {
            let setting = "settings.hold_reason";
            let reason = &self.hold_reason;
            let reason = self.chosen(context, "hold_reason", reason, setting).await?;
            known.found.insert("hold_reason".into(), reason.into());
        }
        if !closes(status, known) {
            return Ok(());
        }
        let mut before = Row::default();
        if let Some(id) = there.filter(|_| said(summary).is_none()) {
            let columns = [("sysparm_fields", "sys_id,close_code,close_notes")];
            let request = self.api.get(&["table", INCIDENT, id])?.query(columns);
            let what = "reading the incident";
            before = self.api.ask::<One>(context, request, what).await?.result;
        }
        let mut find = |column: &str, value: String| {
            if before.says(column).is_none() {
                known.found.insert(column.into(), value.into());
            }
        };
        find("close_notes", NO_NOTES.to_owned());
        if before.says("close_code").is_none() {
            let code = self.find_close_code(context).await?;
            find("close_code", code);
        }
        Ok(())
    }

    pub(super) async fn find_close_code(
        &self,
        context: &CallContext<'_>,
    ) -> Result<String, AdapterError> {
        let setting = "settings.close_code";
        if let Some(word) = &self.close_code {
            return self.chosen(context, "close_code", word, setting).await;
        }
        let choices = self.choices(context).await?;
        match choices.of("close_code")[..] {
            [only] => Ok(only.value.clone()),
            [] => {
                let fault = "is required: the account may read no choices of close_code";
                Err(AdapterError::field(setting, fault))
            }
            _ => {
                let named = choices.named("close_code").join(", ");
                let fault = format!("is required: the instance has {named}");
                Err(AdapterError::field(setting, fault))
            }
        }
    }

    /// What is said to the caller with a change of status: it is an entry of the journal then.
    pub(super) fn remark<'t>(
        &self,
        status: TicketStatus,
        summary: Option<&'t str>,
    ) -> Option<&'t str> {
        match status {
            // The summary is a field of these.
            TicketStatus::Resolved | TicketStatus::Closed | TicketStatus::Cancelled => None,
            TicketStatus::Pending if self.awaits_caller() => Some(said(summary).unwrap_or(WAITS)),
            TicketStatus::New
            | TicketStatus::Open
            | TicketStatus::InProgress
            | TicketStatus::Pending => said(summary),
        }
    }
}

/// Whether a status needs a resolution. Some instances want one of what is cancelled, too, which
/// their refusal tells.
fn closes(status: TicketStatus, known: &Known) -> bool {
    match status {
        TicketStatus::Resolved | TicketStatus::Closed => true,
        TicketStatus::Cancelled => known.again == Some(AGAIN),
        TicketStatus::New
        | TicketStatus::Open
        | TicketStatus::InProgress
        | TicketStatus::Pending => false,
    }
}

/// What is set: columns, what of the ticket has no place in them, and what a second time would do.
struct Sent<'k> {
    known: &'k Known,
    columns: Map<String, Value>,
    left_out: Map<String, Value>,
    effect: Effect,
}

impl Sent<'_> {
    fn put(&mut self, column: &str, value: impl Into<Value>) {
        self.columns.insert(column.to_owned(), value.into());
    }

    fn leave_out(&mut self, field: &str, said: impl Into<Value>) {
        self.left_out.insert(field.to_owned(), said.into());
    }

    /// A text of the ticket; that it is cut is said under the name of its field.
    fn text(&mut self, column: &str, markdown: &str, marker: Option<&str>, field: &str) {
        let (text, is_whole) = words::plain(markdown, marker);
        if !is_whole {
            self.leave_out(field, format!("cut to {} characters", words::TEXT_MAX));
        }
        self.put(column, text);
    }

    /// An entry of the journal, which a second time would write twice.
    fn entry(&mut self, column: &str, markdown: &str, marker: &str, field: &str) {
        self.text(column, markdown, Some(marker), field);
        self.effect = Effect::Create;
    }

    /// What was found for a column. A dry run shows what would be sought.
    fn found(&mut self, column: &str, sought: Option<&str>) {
        let sought = sought.filter(|_| self.known.is_rehearsal);
        let found = self.known.found.get(column).cloned();
        if let Some(value) = found.or_else(|| Some(json!({ "lookup": sought? }))) {
            self.put(column, value);
        }
    }
}

// What is sent.
impl ServiceNow {
    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let ticket = operation.ticket();
        let id = || {
            let id = known.text(SYS_ID).or_else(|| sys_id_of(ticket));
            let quoted = ticket.external_id.as_deref();
            id.or(quoted.filter(|_| known.is_rehearsal))
                .ok_or_else(no_incident)
        };
        if let Operation::Attach { file, .. } = operation {
            let request = self.api.make(Method::POST, &["attachment", "file"])?;
            let mut request = request.query([
                ("table_name", INCIDENT),
                ("table_sys_id", id()?),
                ("file_name", &file.name),
            ]);
            request.body = Body::Raw((*file).clone());
            return Ok(request.into());
        }
        let sent = self.sent(operation, known)?;
        let request = match operation {
            Operation::Create { .. } => self.api.make(Method::POST, &["table", INCIDENT])?,
            _ => {
                let path = ["table", INCIDENT, id()?];
                self.api.request(Method::PATCH, &path, sent.effect)?
            }
        };
        let compared = sent.columns.keys().map(String::as_str);
        let compared = compared.filter(|name| !NOT_COMPARED.contains(name));
        let columns: Vec<&str> = std::iter::once(SHOWN).chain(compared).collect();
        let request = request.query([
            ("sysparm_fields", columns.join(",").as_str()),
            ("sysparm_exclude_reference_link", "true"),
        ]);
        Ok(Plan {
            request: request.json(&sent.columns.into()).into(),
            left_out: sent.left_out,
        })
    }

    fn sent<'k>(
        &self,
        operation: &Operation<'_>,
        known: &'k Known,
    ) -> Result<Sent<'k>, AdapterError> {
        let mut sent = Sent {
            known,
            columns: Map::new(),
            left_out: Map::new(),
            effect: Effect::Idempotent,
        };
        match operation {
            Operation::Create { ticket, key } => {
                self.put_new(ticket, key.marker, &mut sent);
                sent.effect = Effect::Create;
            }
            Operation::Update { patch, .. } => self.put_patch(patch, &mut sent),
            Operation::Status {
                status,
                resolution_summary,
                key,
                ..
            } => {
                self.put_status(*status, *resolution_summary, &mut sent);
                if let Some(remark) = self.remark(*status, *resolution_summary) {
                    sent.entry("comments", remark, key.marker, "resolution_summary");
                }
            }
            Operation::Assign { assignee: None, .. } => sent.put("assigned_to", ""),
            Operation::Assign {
                assignee: Some(person),
                ..
            } => sent.found("assigned_to", person.email.as_deref()),
            Operation::Comment {
                body, public, key, ..
            } => {
                let column = if *public { "comments" } else { "work_notes" };
                sent.entry(column, body, key.marker, "body");
            }
            Operation::Attach { .. } => sent.effect = Effect::Create,
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        }
        Ok(sent)
    }

    fn put_new(&self, ticket: &TicketView, marker: &str, sent: &mut Sent<'_>) {
        let (title, whole) = words::short(&ticket.title);
        sent.put("short_description", title);
        let mut description = Cow::Borrowed(&ticket.description);
        if let Some(whole) = whole {
            let max = words::TITLE_MAX;
            let said = format!("cut to {max} characters; the description begins with all of it");
            sent.leave_out("title", said);
            description = Cow::Owned(format!("{whole}\n\n{description}"));
        }
        sent.text("description", &description, None, "description");
        sent.put("correlation_id", marker);
        sent.put("correlation_display", MAKER);
        self.put_priority(ticket.priority, sent);
        fn email(person: Option<&UserRef>) -> Option<&str> {
            person?.email.as_deref()
        }
        let requester = email(ticket.created_by.as_ref());
        sent.found("caller_id", self.caller.as_deref().or(requester));
        sent.found("assignment_group", self.group.as_deref());
        sent.found("assigned_to", email(ticket.assigned_to.as_ref()));
        sent.found("category", self.categories.out(ticket.category));
        if let Some(lines) = words::tag_lines(&ticket.tags) {
            sent.put("work_notes", lines);
        }
        self.put_custom(&ticket.custom_fields, sent);
        // A new incident is new by itself, and rules may know better where it has an assignee.
        if self.state_of(ticket.status) != NEW {
            self.put_status(ticket.status, None, sent);
            if let Some(remark) = self.remark(ticket.status, None) {
                sent.put("comments", remark);
            }
        }
    }

    fn put_patch(&self, patch: &TicketPatch, sent: &mut Sent<'_>) {
        if let Some(title) = &patch.title {
            let (title, whole) = words::short(title);
            sent.put("short_description", title);
            if whole.is_some() {
                sent.leave_out("title", format!("cut to {} characters", words::TITLE_MAX));
            }
        }
        if let Some(description) = &patch.description {
            sent.text("description", description, None, "description");
        }
        if let Some(priority) = patch.priority {
            self.put_priority(priority, sent);
        }
        if let Some(category) = patch.category {
            sent.found("category", self.categories.out(category));
        }
        if let Some(custom) = &patch.custom_fields {
            self.put_custom(custom, sent);
        }
        if patch.urgency.is_some() {
            sent.leave_out("urgency", "left out: the priority sets impact and urgency");
        }
        for (name, is_given) in [
            ("tags", patch.tags.is_some()),
            ("department", patch.department.is_some()),
        ] {
            if is_given {
                sent.leave_out(name, "left out: an incident has no field for it");
            }
        }
    }

    fn put_priority(&self, priority: Priority, sent: &mut Sent<'_>) {
        if let Some((impact, urgency)) = self.priorities.out(priority).and_then(words::pair) {
            sent.put("impact", impact);
            sent.put("urgency", urgency);
        }
    }

    /// Every value is text to ServiceNow; an empty one clears.
    fn put_custom(&self, custom: &Map<String, Value>, sent: &mut Sent<'_>) {
        let mapped = self.fields.split(custom, |_| FieldKind::Text);
        for (column, value) in mapped.theirs {
            sent.put(&column, if value.is_null() { "".into() } else { value });
        }
        if !mapped.unmapped.is_empty() {
            sent.leave_out("unmapped_custom_fields", mapped.unmapped);
        }
        if !mapped.unfit.is_empty() {
            sent.leave_out("refused_custom_fields", json!(mapped.unfit));
        }
    }

    /// The state, and what belongs to it.
    fn put_status(&self, status: TicketStatus, summary: Option<&str>, sent: &mut Sent<'_>) {
        sent.put("state", self.state_of(status));
        if status == TicketStatus::Pending {
            sent.found("hold_reason", Some(&self.hold_reason));
        }
        if closes(status, sent.known) {
            let code = self.close_code.as_deref();
            sent.found("close_code", code.or(Some("the only one")));
            sent.found("close_notes", None);
        }
        let ends = matches!(
            status,
            TicketStatus::Resolved | TicketStatus::Closed | TicketStatus::Cancelled
        );
        if let Some(summary) = said(summary).filter(|_| ends) {
            sent.text("close_notes", summary, None, "resolution_summary");
        }
    }
}

// What the answers say.
impl ServiceNow {
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let what = match operation {
            Operation::Create { .. } => "creating the incident",
            Operation::Update { .. } => "changing the incident",
            Operation::Status { .. } => "changing the state",
            Operation::Assign { .. } => "assigning the incident",
            Operation::Comment { .. } => "adding the comment",
            Operation::Attach { .. } => "attaching the file",
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        let sent = self.sent(operation, known)?;
        let row = self.changed(answer, sent.effect, what).map_err(|error| {
            let again = match &error.class {
                _ if known.again.is_some() => None,
                ErrorClass::Conflict if matches!(operation, Operation::Create { .. }) => {
                    Some(AGAIN_MARK)
                }
                // A choice, a group or a person may be another by now.
                ErrorClass::Validation { .. } if answer.status == 403 => Some(AGAIN),
                _ => None,
            };
            match again {
                Some(again) => error.worth_another_look(again),
                None => error,
            }
        })?;
        let sys_id = row.says(SYS_ID).ok_or_else(|| {
            let text = format!("{what}: ServiceNow answered without the sys_id of the row");
            AdapterError::new(ErrorClass::Unknown, text).with_status(answer.status)
        });
        if let Operation::Attach { .. } = operation {
            return Ok(Receipt {
                external_attachment_id: Some(sys_id?.to_owned()),
                ..Receipt::default()
            });
        }
        let sent = &sent.columns;
        let dropped = self.dropped(sent, &row);
        let mut receipt = match operation {
            Operation::Create { .. } => self.bound(&row, sys_id?),
            // It may have been known by its number alone.
            _ => Receipt {
                external_ref: Map::from_iter(sys_id.ok().map(|id| (SYS_ID.into(), id.into()))),
                ..Receipt::default()
            },
        };
        receipt.written = row.updated();
        let refuse = |column: &str| {
            let text = format!(
                "{what}: ServiceNow answered {} and did not take {column}: an ACL of the field \
                 or a business rule of the \
                 instance keeps it from this account",
                answer.status
            );
            Err(AdapterError::new(ErrorClass::Permission, text).with_status(answer.status))
        };
        match operation {
            Operation::Status { .. } if dropped.contains_key("status") => return refuse("state"),
            Operation::Assign { .. } if dropped.contains_key("assigned_to_id") => {
                let refused: Result<Receipt, AdapterError> = refuse("assigned_to");
                return refused.map_err(|error| match known.again {
                    None => error.worth_another_look(AGAIN),
                    Some(_) => error,
                });
            }
            Operation::Update { .. } if sent.keys().all(|name| is_dropped(name, sent, &row)) => {
                return refuse("any of it");
            }
            _ => {}
        }
        if !dropped.is_empty() {
            let details = &mut receipt.details;
            details.insert("dropped_by_servicenow".into(), json!(dropped));
        }
        Ok(receipt)
    }

    /// The row after a change. A refusal by policy names fields by their labels, in its text alone.
    fn changed(&self, answer: &Response, effect: Effect, what: &str) -> Result<Row, AdapterError> {
        let taken: Result<One, AdapterError> = self.api.take(answer, effect, what);
        taken.map(|one| one.result).map_err(|mut error| {
            if let ErrorClass::Validation { fields } = &mut error.class
                && answer.status == 403
            {
                fields.extend(at_fault(&ERRORS.said(answer).text()));
            }
            error
        })
    }

    /// What was sent and is not there: by our names, why.
    fn dropped(&self, sent: &Map<String, Value>, row: &Row) -> BTreeMap<String, &'static str> {
        let names = sent.keys().filter(|name| is_dropped(name, sent, row));
        let dropped = names.map(|name| {
            let known = COLUMNS.iter().find(|(column, ..)| column == name);
            let ours = match (known, self.fields.ours(name)) {
                (Some((_, ours, _)), _) => (*ours).to_owned(),
                (None, Some(ours)) => format!("custom_fields.{ours}"),
                (None, None) => name.clone(),
            };
            let why = match row.text(name) {
                _ if name == "correlation_id" => {
                    "not kept: a create whose answer is lost could not be found again; let the \
                     account write this field"
                }
                None => "the instance has no such field, or an ACL hides it",
                Some(_) => "an ACL or a rule of the instance keeps another value",
            };
            (ours, why)
        });
        dropped.collect()
    }
}

/// Whether a column is not what was sent. Line ends may differ.
fn is_dropped(column: &str, sent: &Map<String, Value>, row: &Row) -> bool {
    let Some(wanted) = sent.get(column).and_then(Value::as_str) else {
        return false;
    };
    let bare = |text: &str| text.replace('\r', "").trim().to_owned();
    !NOT_COMPARED.contains(&column) && row.text(column).map(bare) != Some(bare(wanted))
}

/// By our names, the fields whose labels are in a refusal.
fn at_fault(said: &str) -> BTreeMap<String, String> {
    let mut rest = said.to_lowercase();
    let mut faults = BTreeMap::new();
    for (_, ours, label) in COLUMNS {
        if rest.contains(label) {
            rest = rest.replace(label, "");
            faults.insert(ours.to_owned(), said.to_owned());
        }
    }
    faults
}

// What is looked for again.
impl ServiceNow {
    pub(super) async fn looked_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { key, .. } => self.find_incident(context, key.marker).await,
            Operation::Comment { ticket, key, .. } => {
                let found = self
                    .find_entry(context, &self.place(context, ticket).await?, key)
                    .await?;
                Ok(found.map(|entry| Receipt {
                    external_comment_id: entry.says(SYS_ID).map(str::to_owned),
                    ..Receipt::default()
                }))
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } if self.remark(*status, *resolution_summary).is_some() => {
                let found = self
                    .find_entry(context, &self.place(context, ticket).await?, key)
                    .await?;
                Ok(found.map(|_| Receipt::default()))
            }
            Operation::Attach { ticket, file, key } => {
                let id = self.place(context, ticket).await?;
                self.find_file(context, &id, file, key).await
            }
            // Idempotent: nothing to look for.
            Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Delete { .. } => Ok(None),
        }
    }

    /// The answer to a comment does not name it: its id is in the journal. An entry that is not
    /// there was dropped in silence.
    pub(super) async fn name_comment(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        key: &DedupKey<'_>,
        receipt: &mut Receipt,
    ) -> Result<(), Box<Unfinished>> {
        let find = async {
            let found = self
                .find_entry(context, &self.place(context, ticket).await?, key)
                .await?;
            found.ok_or_else(|| {
                let text = "the journal shows no such comment: an ACL may have dropped it, \
                            or hide it from the account";
                AdapterError::new(ErrorClass::Permission, text)
            })
        };
        match find.await {
            Ok(entry) => {
                receipt.external_comment_id = entry.says(SYS_ID).map(str::to_owned);
                Ok(())
            }
            Err(error) => Err(Box::new(Unfinished { patch: None, error })),
        }
    }
}
