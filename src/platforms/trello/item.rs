//! One card: what is asked for each operation, and what the answers say.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Trello;
use super::board::PAGE_BYTES;
use super::facts::{ASSIGNEE, CARD_ID, ERRORS, NO_INTERNAL, is_id};
use super::words::{
    self, Action, Attachment, Card, Destination, Field, Named, SHOWN, TITLE_MAX, Wanted,
};
use crate::domain::{TicketPatch, TicketStatus, TicketView};
use crate::platforms::mapping::FieldKind;
use crate::platforms::text::{Marker, title};
use crate::platforms::{
    AdapterError, CallContext, DedupKey, Effect, ErrorClass, Facts, File, Known, Operation, Part,
    PartlyDone, Plan, Prepared, Receipt, Request, Response, Unfinished,
};

/// Where the receipt of a status tells of its summary.
const SUMMARY: &str = "resolution_comment";
/// What is worth another look when a value is refused: [`Known::again`].
const AGAIN: &str = "lists, labels and members";
/// Trello's names of what is looked up first, and ours of it in [`Known::found`].
const LIST: &str = "idList";
const LABELS: &str = "idLabels";
const MEMBERS: &str = "idMembers";
/// How far before a command something may be dated that it made: clocks differ.
const BEFORE: TimeDelta = TimeDelta::minutes(2);
/// Cards of one name that are read in a look-up: more would use up the token's budget.
const CANDIDATES_MAX: usize = 80;

/// A text that says something.
pub(super) fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// Whether a change is one of labels.
const fn has_labels(patch: &TicketPatch) -> bool {
    patch.priority.is_some() || patch.category.is_some() || patch.tags.is_some()
}

/// Whether a change has something besides custom fields.
pub(super) const fn has_fields(patch: &TicketPatch) -> bool {
    patch.title.is_some() || patch.description.is_some() || has_labels(patch)
}

/// Whether a text can name a card: its id, or the eight characters of its link.
pub(super) fn names_card(text: &str) -> bool {
    is_id(text) || (text.len() == 8 && text.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// The card's id at Trello.
fn address(ticket: &TicketView) -> Result<&str, AdapterError> {
    let remembered = ticket.external_ref.get(CARD_ID).and_then(Value::as_str);
    let id = remembered.or(ticket.external_id.as_deref());
    id.filter(|id| names_card(id)).ok_or_else(|| {
        let text = "the ticket has no card at Trello, or its external id is none (24 hexadecimal \
            characters, or the 8 of the card's link)";
        AdapterError::new(ErrorClass::NotFound, text)
    })
}

/// What is sent of a ticket, and what of it could not be.
#[derive(Default)]
struct Sent {
    body: Map<String, Value>,
    left_out: Map<String, Value>,
}

impl Sent {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.body.insert(name.to_owned(), value.into());
    }

    fn leave(&mut self, field: &str, why: impl Into<Value>) {
        self.left_out.insert(field.to_owned(), why.into());
    }

    fn cut_unless(&mut self, is_whole: bool, field: &str) {
        if !is_whole {
            self.leave(field, "cut: Trello takes 16,384 characters");
        }
    }

    fn put_title(&mut self, text: &str) {
        let (name, whole) = title(text, TITLE_MAX);
        if let Some(whole) = whole {
            self.leave("title", format!("cut; it was: {whole}"));
        }
        self.put("name", name);
    }

    /// The text of a ticket. Its marker is the last line, which an update keeps.
    fn put_text(&mut self, ticket: &TicketView) {
        let (desc, is_whole) = words::text(&ticket.description, &format!("tkt-{}", ticket.id));
        self.cut_unless(is_whole, "description");
        self.put("desc", desc);
    }
}

// What comes first.
impl Trello {
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
                if let Some(list) = self.list_of(context, ticket.status).await? {
                    known.found.insert(LIST.into(), list.into());
                }
                let labels = self.labels_of(context, self.new_labels(ticket), &mut known);
                labels.await?;
                if let Some(person) = &ticket.assigned_to
                    && !known.without.contains_key(MEMBERS)
                {
                    match self.member_id(context, person).await {
                        Ok(id) => drop(known.found.insert(MEMBERS.into(), json!([id]))),
                        // A card is worth making for nobody.
                        Err(AdapterError {
                            class: ErrorClass::Validation { .. },
                            public,
                            ..
                        }) => {
                            let why = format!("left out: {public}");
                            known.details.insert(ASSIGNEE.into(), why.into());
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Operation::Update { ticket, patch, .. } => {
                if has_labels(patch) {
                    let kept = self.kept_labels(context, address(ticket)?, patch).await?;
                    let more = self.changed_labels(patch);
                    self.labels_of(context, more, &mut known).await?;
                    let ids = known.found.entry(LABELS).or_insert_with(|| json!([]));
                    if let Value::Array(ids) = ids {
                        ids.extend(kept.into_iter().map(|label| Value::from(label.id)));
                    }
                }
                if !has_fields(patch) {
                    let mut receipt = Receipt {
                        details: left_out(patch),
                        ..Receipt::default()
                    };
                    if let Some(custom) = &patch.custom_fields {
                        let told = self.set_fields(context, address(ticket)?, custom).await?;
                        receipt.details.extend(told);
                    }
                    return Ok(Prepared::Done(receipt));
                }
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                ..
            } => {
                if let Some(list) = self.list_of(context, *status).await? {
                    known.found.insert(LIST.into(), list.into());
                }
                if said(*resolution_summary).is_some() {
                    let request = self.move_request(address(ticket)?, *status, &known)?;
                    let answer = context.send(request).await?;
                    let receipt = self.moved(&answer, &known, *status)?;
                    known.done = Some(PartlyDone {
                        receipt,
                        missing: SUMMARY,
                        remedy: "ticket.comment can still post it",
                    });
                }
            }
            Operation::Assign { assignee, .. } => {
                let members = match assignee {
                    Some(person) => json!([self.member_id(context, person).await?]),
                    None => json!([]),
                };
                known.found.insert(MEMBERS.into(), members);
            }
            Operation::Comment { .. } | Operation::Attach { .. } | Operation::Delete { .. } => {}
        }
        Ok(Prepared::Go(known))
    }

    /// Looks labels up, or makes them.
    async fn labels_of(
        &self,
        context: &CallContext<'_>,
        wanted: Vec<Wanted>,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let (ids, left_out) = self.label_ids(context, wanted).await?;
        known.found.insert(LABELS.into(), ids.into());
        if let Some(why) = left_out {
            known.details.insert("tags".into(), why.into());
        }
        Ok(())
    }

    fn new_labels(&self, ticket: &TicketView) -> Vec<Wanted> {
        let priority = self.priority_label(ticket.priority);
        let own = priority
            .into_iter()
            .chain(self.category_label(ticket.category));
        own.chain(words::tags(&ticket.tags)).collect()
    }

    fn changed_labels(&self, patch: &TicketPatch) -> Vec<Wanted> {
        let priority = patch.priority.and_then(|one| self.priority_label(one));
        let category = patch.category.and_then(|one| self.category_label(one));
        let own = priority.into_iter().chain(category);
        let tags = patch.tags.as_deref().unwrap_or_default();
        own.chain(words::tags(tags)).collect()
    }

    /// The labels of a card that a change leaves: Trello sets all of them at once.
    async fn kept_labels(
        &self,
        context: &CallContext<'_>,
        card: &str,
        patch: &TicketPatch,
    ) -> Result<Vec<Named>, AdapterError> {
        let request = self.api.get(&["cards", card])?;
        let request = request.query([("fields", "id,labels")]);
        let card: Card = self.api.ask(context, request, "reading the labels").await?;
        let Some(mut labels) = card.labels else {
            let text = "Trello shows the card without its labels, which a change would take away";
            return Err(AdapterError::new(ErrorClass::Internal, text));
        };
        labels.retain(|label| {
            let is_set = if self.says_priority(label) {
                patch.priority.is_some()
            } else if self.says_category(label) {
                patch.category.is_some()
            } else {
                patch.tags.is_some()
            };
            !is_set
        });
        Ok(labels)
    }

    /// Custom fields as Trello takes them, what of them is told, and whether the board may have by
    /// now what it has not.
    fn field_items(
        &self,
        fields: &[Field],
        custom: &Map<String, Value>,
    ) -> (Vec<Value>, Map<String, Value>, bool) {
        let find = |theirs: &str| fields.iter().find(|field| field.id == theirs);
        let kind = |theirs: &str| find(theirs).map_or(FieldKind::Any, Field::takes);
        let mapped = self.fields.split(custom, kind);
        let (mut items, mut unfit) = (Vec::new(), mapped.unfit);
        for (theirs, value) in &mapped.theirs {
            let item = find(theirs).map_or_else(
                || {
                    Err(format!(
                        "is mapped to {theirs}, which is no field of the board"
                    ))
                },
                |field| field.item(value),
            );
            match item {
                Ok(item) => items.push(item),
                Err(fault) => {
                    let ours = self.fields.ours(theirs).unwrap_or(theirs);
                    unfit.insert(ours.to_owned(), fault);
                }
            }
        }
        let (mut told, is_doubtful) = (Map::new(), !unfit.is_empty());
        if !mapped.unmapped.is_empty() {
            told.insert("unmapped_custom_fields".into(), json!(mapped.unmapped));
        }
        if is_doubtful {
            told.insert("refused_custom_fields".into(), json!(unfit));
        }
        (items, told, is_doubtful)
    }

    /// Sets custom fields of a card. Those that have no counterpart there, or a value that does not
    /// fit, are left out and told.
    async fn set_fields(
        &self,
        context: &CallContext<'_>,
        card: &str,
        custom: &Map<String, Value>,
    ) -> Result<Map<String, Value>, AdapterError> {
        if custom.keys().all(|ours| self.fields.theirs(ours).is_none()) {
            return Ok(self.field_items(&[], custom).1);
        }
        let mut fields = self.board_fields(context).await?;
        if self.field_items(&fields, custom).2 {
            Self::forget_fields(context);
            fields = self.board_fields(context).await?;
        }
        let (items, told, _) = self.field_items(&fields, custom);
        if !items.is_empty() {
            let request = self
                .api
                .set(Method::PUT, &["cards", card, "customFields"])?;
            let request = request.json(&json!({ "customFieldItems": items }));
            self.api
                .tell(context, request, "setting the custom fields")
                .await?;
        }
        Ok(told)
    }

    /// What belongs to a card that is surely there: its custom fields, which no request that makes
    /// or changes a card takes.
    pub(super) async fn finished(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        custom: &Map<String, Value>,
        receipt: &mut Receipt,
    ) -> Result<(), Box<Unfinished>> {
        let made = receipt.external_ref.get(CARD_ID).and_then(Value::as_str);
        let set = async {
            let card = made.map_or_else(|| address(ticket), Ok)?;
            self.set_fields(context, card, custom).await
        };
        let told = set.await.map_err(|error| {
            let patch = Some(TicketPatch {
                custom_fields: Some(custom.clone()),
                ..TicketPatch::default()
            });
            Box::new(Unfinished { patch, error })
        })?;
        receipt.details.extend(told);
        Ok(())
    }
}

/// What of a change a card has no place for.
fn left_out(patch: &TicketPatch) -> Map<String, Value> {
    let fields = [
        ("urgency", patch.urgency.is_some()),
        ("department", patch.department.is_some()),
    ];
    let why = || Value::from("left out: a card has no field for it");
    let said = fields.into_iter().filter(|(_, is_said)| *is_said);
    said.map(|(field, _)| (field.to_owned(), why())).collect()
}

// What is sent.
impl Trello {
    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        let mut sent = Sent::default();
        let request = match operation {
            Operation::Create { ticket, .. } => {
                sent.put_title(&ticket.title);
                sent.put_text(ticket);
                sent.put(LIST, self.list.clone());
                sent.put("pos", "top");
                if known.is_rehearsal {
                    // What is looked up stands for itself.
                    let labels = self.new_labels(ticket).into_iter();
                    sent.put(LABELS, labels.map(|one| one.name).collect::<Vec<_>>());
                    let who = ticket.assigned_to.as_ref();
                    if let Some(who) = who.and_then(|who| self.users.known(who)) {
                        sent.put(MEMBERS, json!([who]));
                    }
                    if let Destination::List(word) = self.statuses.place(ticket.status) {
                        sent.put(LIST, word);
                    }
                }
                sent.body.extend(known.found.clone());
                self.api
                    .make(Method::POST, &["cards"])?
                    .json(&sent.body.into())
            }
            Operation::Update { ticket, patch, .. } => {
                if let Some(title) = &patch.title {
                    sent.put_title(title);
                }
                if patch.description.is_some() {
                    sent.put_text(ticket);
                }
                if known.is_rehearsal && has_labels(patch) {
                    let labels = self.changed_labels(patch).into_iter();
                    sent.put(LABELS, labels.map(|one| one.name).collect::<Vec<_>>());
                }
                sent.left_out.extend(left_out(patch));
                sent.body.extend(known.found.clone());
                self.change(address(ticket)?, sent.body)?
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => match said(*resolution_summary) {
                Some(summary) => {
                    let (text, is_whole) = words::comment(summary, true, key.marker);
                    sent.cut_unless(is_whole, "resolution_summary");
                    self.comment_request(ticket, &text)?
                }
                None => self.move_request(address(ticket)?, *status, known)?,
            },
            Operation::Assign {
                ticket, assignee, ..
            } => {
                if known.is_rehearsal {
                    let who = assignee.and_then(|who| self.users.known(who));
                    sent.put(MEMBERS, who.into_iter().collect::<Vec<_>>());
                }
                sent.body.extend(known.found.clone());
                self.change(address(ticket)?, sent.body)?
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
                let (text, is_whole) = words::comment(body, *public, key.marker);
                sent.cut_unless(is_whole, "body");
                self.comment_request(ticket, &text)?
            }
            Operation::Attach { ticket, file, .. } => self
                .api
                .make(Method::POST, &["cards", address(ticket)?, "attachments"])?
                .multipart(vec![
                    Part::text("name", &*file.name),
                    Part::text("mimeType", &*file.media_type),
                    Part::text("setCover", "false"),
                    Part::file("file", file),
                ]),
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        };
        Ok(Plan {
            request: request.into(),
            left_out: sent.left_out,
        })
    }

    fn change(&self, card: &str, body: Map<String, Value>) -> Result<Request, AdapterError> {
        let request = self.api.set(Method::PUT, &["cards", card])?;
        Ok(request.json(&body.into()))
    }

    /// Where a status puts a card, in the words of a request.
    fn place_of(&self, status: TicketStatus, known: &Known) -> Map<String, Value> {
        let mut sent = Sent::default();
        match self.statuses.place(status) {
            Destination::Archive => sent.put("closed", true),
            Destination::List(word) => {
                sent.put(LIST, known.text(LIST).unwrap_or(word));
                // Who archived a card that is done did it by hand, unless statuses do.
                if !words::is_done(status) || self.statuses.archives() {
                    sent.put("closed", false);
                }
            }
            Destination::Stays => {}
        }
        sent.put("dueComplete", words::is_done(status));
        sent.body
    }

    fn move_request(
        &self,
        card: &str,
        status: TicketStatus,
        known: &Known,
    ) -> Result<Request, AdapterError> {
        self.change(card, self.place_of(status, known))
    }

    fn comment_request(&self, ticket: &TicketView, text: &str) -> Result<Request, AdapterError> {
        let path = ["cards", address(ticket)?, "actions", "comments"];
        let request = self.api.make(Method::POST, &path)?;
        Ok(request.json(&json!({ "text": text })))
    }
}

// What the answers say.
impl Trello {
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        match operation {
            Operation::Create { .. } => {
                let made: Result<Card, _> =
                    taken(answer, Effect::Create, known, "creating the card");
                let made = made.map_err(|error| without_members(error, known))?;
                if !is_id(&made.id) {
                    let text = "creating the card: Trello gave an id that is none";
                    return Err(AdapterError::new(ErrorClass::Unknown, text));
                }
                Ok(Receipt {
                    written: made.at(),
                    ..bound(&made)
                })
            }
            Operation::Update { .. } => {
                let what = "changing the card";
                let changed: Card = taken(answer, Effect::Idempotent, known, what)?;
                Ok(Receipt {
                    written: changed.at(),
                    ..Receipt::default()
                })
            }
            Operation::Assign { .. } => {
                let what = "assigning the card";
                let changed: Card = taken(answer, Effect::Idempotent, known, what)?;
                Ok(Receipt {
                    written: changed.at(),
                    wrote: Facts {
                        assignee: changed.holder(),
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
                    let comment: Action = taken(answer, Effect::Create, known, what)?;
                    Ok(summary(comment))
                }
            },
            Operation::Comment { .. } => {
                let what = "adding the comment";
                let comment: Action = taken(answer, Effect::Create, known, what)?;
                Ok(commented(comment))
            }
            Operation::Attach { .. } => {
                let what = "attaching the file";
                let file: Attachment = taken(answer, Effect::Create, known, what)?;
                Ok(attached(file))
            }
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    /// What a change of place came to. An automation of the board may undo it in the same breath:
    /// the answer shows the card as it is.
    fn moved(
        &self,
        answer: &Response,
        known: &Known,
        status: TicketStatus,
    ) -> Result<Receipt, AdapterError> {
        let what = "changing the status";
        let changed: Card = taken(answer, Effect::Idempotent, known, what)?;
        if !self.is_at(&changed, status, known) {
            let text = "Trello took the change of the status and left the card where it was";
            return Err(AdapterError::new(ErrorClass::Conflict, text).with_status(answer.status));
        }
        Ok(Receipt {
            written: changed.at(),
            ..Receipt::default()
        })
    }

    /// Whether a card is where a status puts it, as far as it is shown.
    fn is_at(&self, card: &Card, status: TicketStatus, known: &Known) -> bool {
        let place = self.place_of(status, known);
        let is = |name: &str, shown: Option<Value>| {
            let sent = place.get(name).zip(shown);
            sent.is_none_or(|(sent, shown)| *sent == shown)
        };
        is(LIST, card.id_list.clone().map(Value::from))
            && is("closed", card.closed.map(Value::from))
            && is("dueComplete", card.due_complete.map(Value::from))
    }
}

/// Reads an answer; what was looked up and is refused is worth another look.
fn taken<T: DeserializeOwned>(
    answer: &Response,
    effect: Effect,
    known: &Known,
    what: &str,
) -> Result<T, AdapterError> {
    let Err(error) = ERRORS.check(answer, effect, what) else {
        return answer.json(effect);
    };
    let is_looked_up = |fields: &std::collections::BTreeMap<String, String>| {
        let names = ["settings.list_id", "tags", ASSIGNEE];
        names.iter().any(|name| fields.contains_key(*name))
    };
    match &error.class {
        ErrorClass::Validation { fields } if known.again.is_none() && is_looked_up(fields) => {
            Err(error.worth_another_look(AGAIN))
        }
        _ => Err(error),
    }
}

/// A card is worth making for nobody where the person is no member any more.
fn without_members(error: AdapterError, known: &Known) -> AdapterError {
    let fault = match &error.class {
        ErrorClass::Validation { fields } => fields.get(ASSIGNEE).cloned(),
        _ => None,
    };
    match fault.filter(|_| !known.without.contains_key(MEMBERS)) {
        Some(fault) => error.worth_it_without([(MEMBERS.to_owned(), fault)].into()),
        None => error,
    }
}

/// What binds a ticket to a card.
fn bound(card: &Card) -> Receipt {
    Receipt {
        external_id: Some(card.item().external_id),
        external_url: Some(card.page()),
        external_ref: Map::from_iter([(CARD_ID.to_owned(), card.id.clone().into())]),
        ..Receipt::default()
    }
}

fn summary(comment: Action) -> Receipt {
    Receipt {
        details: Map::from_iter([(SUMMARY.to_owned(), comment.id.into())]),
        ..Receipt::default()
    }
}

fn commented(comment: Action) -> Receipt {
    Receipt {
        external_comment_id: Some(comment.id),
        ..Receipt::default()
    }
}

fn attached(file: Attachment) -> Receipt {
    Receipt {
        external_attachment_id: Some(file.id),
        ..Receipt::default()
    }
}

// What is looked for again.
impl Trello {
    pub(super) async fn looked_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { ticket, key } => {
                let found = self.find_card(context, &ticket.title, key).await?;
                Ok(found.map(|card| bound(&card)))
            }
            Operation::Comment { ticket, key, .. } => {
                let found = self.find_comment(context, ticket, key).await?;
                Ok(found.map(commented))
            }
            // The summary is the last that a change of status does: where it is, all is done.
            Operation::Status {
                ticket,
                resolution_summary,
                key,
                ..
            } if said(*resolution_summary).is_some() => {
                let found = self.find_comment(context, ticket, key).await?;
                Ok(found.map(summary))
            }
            Operation::Attach { ticket, file, key } => {
                let found = self.find_file(context, ticket, file, key).await?;
                Ok(found.map(attached))
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
        if let Some(list) = self.list_of(context, *status).await? {
            known.found.insert(LIST.into(), list.into());
        }
        let request = self.api.get(&["cards", address(ticket)?])?;
        let request = request.query([("fields", SHOWN)]);
        let card: Card = self.api.ask(context, request, "reading the card").await?;
        let text = "not posted: no attempt is left; ticket.comment can still post it";
        Ok(self.is_at(&card, *status, &known).then(|| Receipt {
            details: Map::from_iter([(SUMMARY.to_owned(), text.into())]),
            ..Receipt::default()
        }))
    }

    /// The card whose description ends with the marker, among those that were made with this name.
    /// The board's actions show what was just made; the search does not ("Search").
    async fn find_card(
        &self,
        context: &CallContext<'_>,
        of: &str,
        key: &DedupKey<'_>,
    ) -> Result<Option<Card>, AdapterError> {
        let (name, _) = title(of, TITLE_MAX);
        let mut ids = Vec::new();
        let path = ["boards", &self.board, "actions"];
        let since = key.received_at - BEFORE;
        let seen = |action: &Action| {
            let is_named = action
                .text("/card/name")
                .is_none_or(|own| own.trim() == name.trim());
            if let Some(card) = action.card().filter(|_| is_named) {
                ids.push(card.address().to_owned());
            }
            false
        };
        self.first_action(context, &path, ("createCard", since), seen)
            .await?;
        if ids.len() > CANDIDATES_MAX {
            return Err(unproved("more new cards of this name than are read"));
        }
        let mut is_blind = false;
        for card in self.cards(context, &ids).await?.into_iter().flatten() {
            if card.marker() == Some(key.marker) {
                return Ok(Some(card));
            }
            is_blind |= card.desc.is_none();
        }
        match is_blind {
            true => Err(unproved("cards without their description")),
            false => Ok(None),
        }
    }

    async fn find_comment(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        key: &DedupKey<'_>,
    ) -> Result<Option<Action>, AdapterError> {
        let path = ["cards", address(ticket)?, "actions"];
        let since = key.received_at - BEFORE;
        let mut is_blind = false;
        let wanted = |action: &Action| match action.text("/text") {
            Some(text) => Marker::find(text) == Some(key.marker),
            None => {
                is_blind = true;
                false
            }
        };
        let filter = ("commentCard", since);
        match self.first_action(context, &path, filter, wanted).await? {
            None if is_blind => Err(unproved("comments without their text")),
            found => Ok(found),
        }
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
        let request = self.api.get(&["cards", address(ticket)?, "attachments"])?;
        let request = request.query([("fields", "id,name,bytes,date")]);
        let what = "looking for the file";
        let files: Vec<Attachment> = self
            .api
            .ask(context, request.up_to(PAGE_BYTES), what)
            .await?;
        let since: DateTime<Utc> = key.received_at - BEFORE;
        let is_it = |one: &Attachment| {
            let at = one.date.as_deref().and_then(words::moment);
            let name = one.name.as_deref();
            name.is_some_and(|name| file.is_kept_as(name)) && at.is_none_or(|at| at >= since)
        };
        let mut own = files.into_iter().filter(is_it);
        let mut is_unsized = false;
        let found = own.find(|one| {
            is_unsized |= one.bytes.is_none();
            one.bytes == Some(file.size)
        });
        match found {
            None if is_unsized => Err(unproved("a file of this name without its size")),
            found => Ok(found),
        }
    }
}

fn unproved(what: &str) -> AdapterError {
    AdapterError::unsupported(format!("Trello shows {what}, so nothing is proved by it"))
}
