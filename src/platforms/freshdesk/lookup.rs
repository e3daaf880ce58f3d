//! What is looked up: fields, agents, tags, and what an earlier attempt may have made.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Freshdesk;
use super::item::{
    self, AGAIN, FOUND_FIELDS, FOUND_STATUS, FOUND_TYPE, address, comment_receipt, file_receipt,
    said, summary_receipt,
};
use super::words::{self, Conversation, Field, Ticket};
use crate::domain::{TicketCategory, TicketStatus, TicketView, UserRef};
use crate::platforms::api::{Page, find, next_link};
use crate::platforms::users::Users;
use crate::platforms::{
    AdapterError, CallContext, DedupKey, Effect, ErrorClass, File, Known, Operation, Receipt,
    Request,
};

/// What the memory calls the account's own things, and how long they are good.
const FIELDS: &str = "freshdesk fields";
const MYSELF: &str = "freshdesk myself";
const LIFE: Duration = Duration::from_secs(3_600);

/// Items a page, the most that a list gives.
pub(super) const PAGE: &str = "100";
/// Bytes of such a page.
pub(super) const PAGE_BYTES: usize = 16 << 20;
/// Pages of tickets that were made since a command came, and of a conversation, that are read.
const TICKET_PAGES_MAX: usize = 30;
const CONVERSATION_PAGES_MAX: usize = 100;
/// How far clocks may differ.
const CLOCKS: TimeDelta = TimeDelta::minutes(5);

/// The agent that the key belongs to.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Myself {
    pub(super) id: u64,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// 1: all tickets, 2: those of the agent's groups, 3: the agent's own (2 and 3 unconfirmed).
    ticket_scope: Option<u64>,
    #[serde(default)]
    group_ids: Vec<u64>,
    pub(super) contact: Contact,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Contact {
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) active: Option<bool>,
}

impl Myself {
    /// Whether the lists show each ticket that we make. One that the agent does not see would be
    /// made once more.
    pub(super) fn sees_ours(&self, group: Option<u64>) -> bool {
        match self.ticket_scope {
            None | Some(1) => true,
            Some(2) => group.is_some_and(|group| self.group_ids.contains(&group)),
            Some(_) => false,
        }
    }
}

// What is found before an operation.
impl Freshdesk {
    /// The account's ticket fields, not older than an hour; `None` where the key's agent may not
    /// see them.
    pub(super) async fn fields(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Option<Arc<Vec<Field>>>, AdapterError> {
        let load = async {
            let request = self.api.get(&["ticket_fields"])?.up_to(PAGE_BYTES);
            let what = "listing the ticket fields";
            let listed: Vec<Field> = self.api.ask(context, request, what).await?;
            Ok(listed)
        };
        match context.recall(FIELDS, LIFE, load).await {
            Ok(fields) => Ok(Some(fields)),
            Err(error) if error.class == ErrorClass::Permission => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, anew where what was known of them was refused.
    async fn fields_for(
        &self,
        context: &CallContext<'_>,
        known: &Known,
    ) -> Result<Option<Arc<Vec<Field>>>, AdapterError> {
        if known.again == Some(AGAIN) {
            context.forget(FIELDS);
        }
        self.fields(context).await
    }

    /// The agent that the key belongs to, not older than an hour.
    pub(super) async fn myself(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Myself>, AdapterError> {
        context
            .recall(MYSELF, LIFE, self.read_myself(context))
            .await
    }

    pub(super) async fn read_myself(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Myself, AdapterError> {
        let request = self.api.get(&["agents", "me"])?;
        self.api.ask(context, request, "asking who we are").await
    }

    /// The type that a category is, where the account has it.
    pub(super) async fn find_type(
        &self,
        context: &CallContext<'_>,
        category: TicketCategory,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let Some(wanted) = self.kinds.out(category) else {
            return Ok(());
        };
        let found = match self.fields_for(context, known).await? {
            Some(fields) => words::kind_of(&fields, wanted).map(Value::from),
            // Refused once already, it is left out.
            None => (known.again != Some(AGAIN)).then(|| wanted.into()),
        };
        if found.is_none() {
            let text = format!("left out: {wanted:?} is no type of ticket there; the tag says it");
            known.details.insert("category".into(), text.into());
        }
        known
            .found
            .insert(FOUND_TYPE.into(), found.unwrap_or(Value::Null));
        Ok(())
    }

    /// The type that was found for a category; `None`: it is left out.
    pub(super) fn type_of(&self, category: TicketCategory, known: &Known) -> Option<Value> {
        match known.found.get(FOUND_TYPE) {
            Some(found) => Some(found.clone()).filter(|found| !found.is_null()),
            None => self.kinds.out(category).map(Value::from),
        }
    }

    /// The number of a status that `status_map` names as agents see it.
    pub(super) async fn find_status(
        &self,
        context: &CallContext<'_>,
        status: TicketStatus,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let Some(theirs) = self
            .statuses
            .out(status)
            .filter(|word| words::is_name(word))
        else {
            return Ok(());
        };
        let setting = format!("settings.status_map.{status}");
        let fields = self.fields_for(context, known).await?.ok_or_else(|| {
            let fault = "names a status, but the key's agent may not see the ticket fields: \
                         give its number";
            AdapterError::field(&setting, fault)
        })?;
        let mut found = words::status_named(&fields, theirs);
        if found.is_none() {
            // It may be new.
            context.forget(FIELDS);
            let fields = self.fields(context).await?;
            found = fields.and_then(|fields| words::status_named(&fields, theirs));
        }
        let number = found.ok_or_else(|| {
            let names: Vec<String> = words::statuses(&fields).map(|(_, name)| name).collect();
            let fault = format!("is {theirs:?}, and Freshdesk knows {}", names.join(", "));
            AdapterError::field(&setting, fault)
        })?;
        known.found.insert(FOUND_STATUS.into(), number.into());
        Ok(())
    }

    /// Finds what custom fields are at Freshdesk. Those that have no counterpart there, or a value
    /// that does not fit, are left out and said.
    pub(super) async fn find_fields(
        &self,
        context: &CallContext<'_>,
        custom: &Map<String, Value>,
        known: &mut Known,
    ) -> Result<(), AdapterError> {
        let is_mapped = custom.keys().any(|name| self.fields.theirs(name).is_some());
        let mut chosen = match is_mapped {
            false => words::choose(&self.fields, custom, None),
            true => {
                let fields = self.fields_for(context, known).await?;
                let fields = fields.as_ref().map(|fields| fields.as_slice());
                words::choose(&self.fields, custom, fields)
            }
        };
        if !chosen.unfit.is_empty() {
            // A field or a choice may be new.
            context.forget(FIELDS);
            let fields = self.fields(context).await?;
            let fields = fields.as_ref().map(|fields| fields.as_slice());
            chosen = words::choose(&self.fields, custom, fields);
        }
        let details = &mut known.details;
        if !chosen.unmapped.is_empty() {
            details.insert("unmapped_custom_fields".into(), json!(chosen.unmapped));
        }
        if !chosen.unfit.is_empty() {
            details.insert("refused_custom_fields".into(), json!(chosen.unfit));
        }
        if is_mapped {
            known
                .found
                .insert(FOUND_FIELDS.into(), chosen.values.into());
        }
        Ok(())
    }

    /// Somebody's agent: an active one with this very address.
    pub(super) async fn agent_of(
        &self,
        context: &CallContext<'_>,
        person: &UserRef,
        known: &Known,
    ) -> Result<Option<u64>, AdapterError> {
        if known.again == Some(AGAIN) {
            Users::forget(context, person);
        }
        let search = |email| self.agent_with(context, email);
        let found = self.users.find(context, person, search).await?;
        let read = |text: String| {
            let fault = "names an account that is no id of Freshdesk: digits";
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
        struct Agent {
            id: u64,
            contact: Contact,
        }
        let request = self.api.get(&["agents"])?.query([("email", &email)]);
        let what = "looking for the agent";
        let found: Vec<Agent> = self.api.ask(context, request, what).await?;
        let is_it = |agent: &&Agent| {
            let own = agent.contact.email.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(&email))
                && agent.contact.active != Some(false)
        };
        let agent = found.iter().find(is_it);
        Ok(agent.map(|agent| agent.id.to_string()))
    }

    /// The tags that a ticket has now.
    pub(super) async fn tags_of(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
    ) -> Result<Vec<String>, AdapterError> {
        Ok(self
            .read_ticket(context, ticket)
            .await?
            .tags
            .unwrap_or_default())
    }

    async fn read_ticket(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
    ) -> Result<Ticket, AdapterError> {
        let request = self.api.get(&["tickets", address(ticket)?])?;
        self.api.ask(context, request, "reading the ticket").await
    }
}

// What is looked for again.
impl Freshdesk {
    pub(super) async fn looked_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        match operation {
            Operation::Create { key, .. } => self.find_ticket(context, key).await,
            Operation::Comment { ticket, key, .. } => {
                let found = self.find_conversation(context, ticket, key.marker, None);
                Ok(found.await?.as_ref().map(comment_receipt))
            }
            Operation::Attach { ticket, file, key } => {
                let found = self.find_conversation(context, ticket, key.marker, Some(file));
                Ok(found.await?.as_ref().map(file_receipt))
            }
            Operation::Status {
                ticket,
                resolution_summary,
                key,
                ..
            } if said(*resolution_summary).is_some() => {
                let found = self.find_conversation(context, ticket, key.marker, None);
                Ok(found.await?.as_ref().map(summary_receipt))
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
        self.find_status(context, *status, &mut known).await?;
        let wanted = known.found.get(FOUND_STATUS).and_then(Value::as_u64);
        let wanted = wanted.or_else(|| self.statuses.out(*status)?.parse().ok());
        let found = self.read_ticket(context, ticket).await?;
        let is_there = wanted.is_some() && found.status == wanted;
        Ok(is_there.then(|| item::without_summary(&found)))
    }

    /// The ticket with our marker, of several the oldest: in the list, which does not lag, among
    /// those that were made since the command came; then by the search, which does, among all
    /// others.
    async fn find_ticket(
        &self,
        context: &CallContext<'_>,
        key: &DedupKey<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let mut found = self.listed_tickets(context, key).await?;
        if found.is_empty() {
            found = self.searched_tickets(context, key.marker).await?;
        }
        found.sort_by_key(|ticket| ticket.id);
        let Some((first, others)) = found.split_first() else {
            if self.myself(context).await?.sees_ours(self.group) {
                return Ok(None);
            }
            let text = "the key's agent does not see all tickets at Freshdesk, so nothing is \
                        proved by its lists; give the agent the scope Global Access";
            return Err(AdapterError::unsupported(text));
        };
        let mut receipt = self.bound(first);
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(|ticket| ticket.id.to_string()).collect();
            receipt.details.insert("duplicates".into(), json!(others));
        }
        Ok(Some(receipt))
    }

    /// Tickets that were made since a command came, a few minutes for clocks that differ.
    async fn listed_tickets(
        &self,
        context: &CallContext<'_>,
        key: &DedupKey<'_>,
    ) -> Result<Vec<Ticket>, AdapterError> {
        let since: DateTime<Utc> = key.received_at - CLOCKS;
        let reference = self.reference.as_deref();
        let first = self.api.get(&["tickets"])?.query([
            ("updated_since", words::written(since).as_str()),
            ("order_by", "created_at"),
            ("order_type", "desc"),
            ("per_page", PAGE),
        ]);
        let mut next = Some(first.up_to(PAGE_BYTES));
        for _ in 0..TICKET_PAGES_MAX {
            let Some(request) = next else {
                return Ok(Vec::new());
            };
            let page: Page<Ticket> = self
                .page(context, request, "looking for the ticket")
                .await?;
            let tickets = page.items;
            if !tickets.iter().all(|ticket| ticket.shows_markers(reference)) {
                let text = "Freshdesk lists tickets without the field or the tags in which the \
                            marker is, so nothing is proved by it";
                return Err(AdapterError::unsupported(text));
            }
            let created = tickets
                .last()
                .and_then(|ticket| words::time(ticket.created_at.as_deref()?));
            let ours: Vec<Ticket> = tickets
                .into_iter()
                .filter(|ticket| ticket.is_of(key.marker, reference))
                .collect();
            // Newest first, as asked: then older ones cannot be it.
            if !ours.is_empty() || created.is_some_and(|at| at < since) {
                return Ok(ours);
            }
            next = page.next;
        }
        let text = "more tickets were made at Freshdesk than are looked through, so nothing is \
                    proved by them";
        Err(AdapterError::unsupported(text))
    }

    /// Tickets by the search. It refuses a field that it does not index: then there is nothing but
    /// the list.
    async fn searched_tickets(
        &self,
        context: &CallContext<'_>,
        marker: &str,
    ) -> Result<Vec<Ticket>, AdapterError> {
        #[derive(Deserialize)]
        struct Found {
            results: Vec<Ticket>,
        }
        let query = match &self.reference {
            Some(field) => format!("\"{field}:'{marker}'\""),
            None => format!("\"tag:'{}'\"", words::marker_tag(marker)),
        };
        let request = self
            .api
            .get(&["search", "tickets"])?
            .query([("query", query)]);
        let what = "searching for the ticket";
        let found: Result<Found, AdapterError> =
            self.api.ask(context, request.up_to(PAGE_BYTES), what).await;
        match found {
            Ok(found) => {
                let mut results = found.results;
                results.retain(|ticket| ticket.is_of(marker, self.reference.as_deref()));
                Ok(results)
            }
            Err(error) if matches!(error.class, ErrorClass::Validation { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// A page of a listing.
    pub(super) async fn page<T: serde::de::DeserializeOwned>(
        &self,
        context: &CallContext<'_>,
        request: Request,
        what: &str,
    ) -> Result<Page<T>, AdapterError> {
        let answer = context.send(request.clone()).await?;
        let items: Vec<T> = self.api.take(&answer, Effect::Read, what)?;
        let next = next_link(&answer).map(|link| self.api.next_page(&request, link));
        Ok(Page {
            items,
            next: next.transpose()?,
        })
    }

    /// What asks for the conversation of a ticket, the oldest first.
    pub(super) fn conversation(&self, id: &str) -> Result<Request, AdapterError> {
        let request = self.api.get(&["tickets", id, "conversations"])?;
        Ok(request.query([("per_page", PAGE)]).up_to(PAGE_BYTES))
    }

    /// What a command added to the conversation; of its files, this one. Nobody else knows a marker
    /// before it is there: what quotes ours comes behind it, whoever wrote it.
    async fn find_conversation(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
        marker: &str,
        file: Option<&File>,
    ) -> Result<Option<Conversation>, AdapterError> {
        let what = "reading the conversation";
        let read = |request: Request| async move {
            let page: Page<Conversation> = self.page(context, request, what).await?;
            let items = &page.items;
            if !items.is_empty() && items.iter().all(|one| one.text().is_none()) {
                let text = "Freshdesk lists a conversation without its text, in which the \
                            marker is, so nothing is proved by it";
                return Err(AdapterError::unsupported(text));
            }
            Ok(page)
        };
        let key = file.map(|file| file.key(marker));
        let is_it = |one: &Conversation| {
            let text = one.text().unwrap_or_default();
            one.marker() == Some(marker) && key.as_ref().is_none_or(|key| text.contains(key))
        };
        let first = self.conversation(address(ticket)?)?;
        find(CONVERSATION_PAGES_MAX, first, read, is_it).await
    }
}
