//! What is read back: a ticket, what changed, what can be chosen; and the checks of an integration.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Freshdesk;
use super::facts::{REFERENCE, is_id};
use super::lookup::{Myself, PAGE, PAGE_BYTES};
use super::words::{self, Conversation, Field, Ticket};
use crate::domain::TicketCategory;
use crate::platforms::text::Marker;
use crate::platforms::{
    Actor, AdapterError, CallContext, Change, ChangeKind, ChangePage, CheckReport, Effect,
    ErrorClass, ExternalComment, ExternalItem, ItemRef, Order, PlatformField, Reader, SyncFrom,
    TestKind,
};

/// How far a listing looks back beyond the last one.
const OVERLAP: TimeDelta = TimeDelta::minutes(1);
/// Pages that a list has.
const PAGES_MAX: usize = 300;
/// Pages of a conversation that are read with a ticket.
const CONVERSATION_PAGES: usize = 5;
/// Begins what names a page of tickets, and one of deleted ones.
const TICKETS: &str = "tickets";
const DELETED: &str = "deleted";
/// `type` of an agent who can do what agents do.
const AGENT: &str = "support_agent";

/// A page of a list in order of change, by the time from which it lists, and its number.
///
/// A ticket that changes while pages are read moves to the list's end, and those behind it move up:
/// by numbers alone, one of them would be missed. So the next page begins where the last one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) is_of_deleted: bool,
    pub(super) since: DateTime<Utc>,
    pub(super) number: usize,
}

impl At {
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let (kind, since, number) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            is_of_deleted: match kind {
                TICKETS => false,
                DELETED => true,
                _ => return None,
            },
            since: words::time(since)?,
            number: number.parse().ok().filter(|number| *number >= 1)?,
        })
    }

    pub(super) fn text(self) -> String {
        let kind = if self.is_of_deleted { DELETED } else { TICKETS };
        format!("{kind}|{}|{}", words::written(self.since), self.number)
    }

    /// Behind a page whose last change was then. Whether a list begins with its time or behind it
    /// is not said: a second is repeated.
    pub(super) fn next(self, last: Option<DateTime<Utc>>) -> Result<Self, AdapterError> {
        let from = last.map(|last| last - TimeDelta::seconds(1));
        match from.filter(|from| *from > self.since) {
            Some(since) => Ok(Self {
                since,
                number: 1,
                ..self
            }),
            None if self.number < PAGES_MAX => Ok(Self {
                number: self.number + 1,
                ..self
            }),
            None => {
                let text = "more tickets changed within a second than Freshdesk lists";
                Err(AdapterError::unsupported(text))
            }
        }
    }
}

impl Myself {
    fn details(&self) -> Map<String, Value> {
        let members = json!({ "id": self.id, "name": self.contact.name, "email": self.contact.email,
            "type": self.kind });
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

// The checks.
impl Freshdesk {
    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            // Whether Freshdesk is reached at all; whom it lets in is another question.
            TestKind::Connection => match self.read_myself(context).await {
                Ok(_) => Ok(CheckReport::new("Freshdesk answers", Map::new())),
                Err(error) if error.class == ErrorClass::Authentication => {
                    let text = "Freshdesk answers, but does not take the API key";
                    Ok(CheckReport::new(text, Map::new()))
                }
                Err(error) => Err(error),
            },
            TestKind::Authentication => {
                let myself = self.read_myself(context).await?;
                let name = myself.contact.name.clone().unwrap_or_default();
                Ok(CheckReport::new(
                    &format!("logged in as {name}"),
                    myself.details(),
                ))
            }
            TestKind::Permissions => self.permitted(context).await,
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    /// Whether the key's agent may do what a worker does, and the settings fit the account.
    async fn permitted(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let myself = self.read_myself(context).await?;
        let refused = |text: &str| Err(AdapterError::new(ErrorClass::Permission, text));
        if myself.contact.active == Some(false) {
            return refused("the key's agent is not active at Freshdesk");
        }
        if myself.kind.as_deref().is_some_and(|kind| kind != AGENT) {
            return refused("the key belongs to no support agent: collaborators cannot reply");
        }
        if !myself.sees_ours(self.group) {
            return refused(
                "the key's agent does not see all tickets, so one whose answer was lost could \
                 not be found again; give the agent the scope Global Access",
            );
        }
        let request = self.api.get(&["tickets"])?.query([("per_page", "1")]);
        let _: Value = self.api.ask(context, request, "listing tickets").await?;
        let mut details = myself.details();
        match self.fields(context).await? {
            Some(fields) => self.fits(&fields, &mut details)?,
            None => {
                let text = "the agent may not see the ticket fields: types and custom fields \
                            are sent as they are";
                details.insert("ticket_fields".into(), text.into());
            }
        }
        Ok(CheckReport::new(
            "the agent may read and write tickets",
            details,
        ))
    }

    /// Whether the account has the field of our marker, and what it wants of each ticket.
    fn fits(&self, fields: &[Field], details: &mut Map<String, Value>) -> Result<(), AdapterError> {
        if let Some(name) = &self.reference {
            let field = fields.iter().find(|field| field.name == *name);
            let fault = match field.map(|field| field.kind.as_str()) {
                Some("custom_text") => None,
                Some(_) => Some("is no single-line text field of Freshdesk"),
                None => Some("is no ticket field of the account; make it in Admin → Ticket Fields"),
            };
            if let Some(fault) = fault {
                return Err(AdapterError::field(REFERENCE, fault));
            }
        }
        let is_ours = |field: &&Field| {
            let own = [
                "requester",
                "subject",
                "status",
                "priority",
                "description",
                "ticket_type",
            ];
            own.contains(&field.name.as_str()) || (field.name == "group" && self.group.is_some())
        };
        let required = fields
            .iter()
            .filter(|field| field.required_for_agents && !is_ours(field));
        let required: Vec<&str> = required.map(|field| field.name.as_str()).collect();
        if !required.is_empty() {
            details.insert("required_fields".into(), json!(required));
        }
        Ok(())
    }

    /// Makes a ticket that says of itself that it is a test, and removes it. Its requester is the
    /// key's agent, so that nobody else is notified.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let myself = self.read_myself(context).await?;
        let email = myself
            .contact
            .email
            .clone()
            .or_else(|| self.requester.clone());
        let mut ticket = json!({
            "subject": "Ticketwire connection test: may be deleted",
            "description": "<p>Made by integration.test. It may be deleted.</p>",
            "email": email, "status": 5, "priority": 1, "tags": ["ticketwire-test"],
        });
        if let Some(group) = self.group {
            ticket["group_id"] = group.into();
        }
        let wanted = self.kinds.out(TicketCategory::General);
        if let (Some(wanted), Some(fields)) = (wanted, self.fields(context).await?)
            && let Some(kind) = words::kind_of(&fields, wanted)
        {
            ticket["type"] = kind.into();
        }
        if let Some(field) = &self.reference {
            ticket["custom_fields"] = json!({ field: "ticketwire-test" });
        }
        let request = self.api.make(Method::POST, &["tickets"])?.json(&ticket);
        let what = "creating the test ticket";
        let made: Ticket = self.api.ask(context, request, what).await?;
        let id = made.id.to_string();
        let request = self.api.set(Method::DELETE, &["tickets", &id])?;
        let removed = self
            .api
            .tell(context, request, "removing the test ticket")
            .await;
        let message = match removed {
            Ok(_) => format!("created the test ticket {id} and moved it to the trash"),
            Err(error) => format!(
                "created the test ticket {id}, which stays, closed: {}",
                error.public
            ),
        };
        let details = Map::from_iter([("ticket".to_owned(), Value::from(id))]);
        Ok(CheckReport::new(&message, details))
    }
}

/// A reply or a note as a comment.
fn comment(said: &Conversation) -> ExternalComment {
    let created = said.created_at.as_deref().and_then(words::time);
    let text = said.text().unwrap_or_default();
    ExternalComment {
        body: Marker::without(text).to_owned(),
        public: said.private.map(|private| !private),
        author: said.user_id.map(|id| Actor {
            id: Some(id.to_string()),
            name: None,
        }),
        created_at: created,
        marker: said.marker().map(str::to_owned),
        id: said.id.to_string(),
        ..ExternalComment::default()
    }
}

impl Freshdesk {
    /// The account's fields, where they are needed to read a ticket.
    async fn fields_to_read(&self, context: &CallContext<'_>) -> Result<Vec<Field>, AdapterError> {
        if !self.names_statuses() {
            return Ok(Vec::new());
        }
        let fields = self.fields(context).await?;
        Ok(fields
            .map(|fields| fields.as_ref().clone())
            .unwrap_or_default())
    }

    /// What a list of deleted tickets says.
    fn deleted(&self, ticket: &Ticket) -> Change {
        let at = ticket.at();
        let time = at.map_or(0, |at| at.low.timestamp_millis());
        let id = format!("ix:{}@{time}:deleted", ticket.id);
        Change {
            at,
            marker: ticket.marker(self.reference.as_deref()),
            ..Change::new(id, ChangeKind::Deleted, ticket.item())
        }
    }
}

#[async_trait]
impl Reader for Freshdesk {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let id = item.address();
        if !is_id(id) {
            return Ok(None);
        }
        let answer = context.send(self.api.get(&["tickets", id])?).await?;
        // It has no body. A page says that the address is wrong, not that the ticket is gone.
        let is_page = answer.body.trim_ascii_start().starts_with(b"<");
        if answer.status == 404 && !is_page {
            return Ok(None);
        }
        let found: Ticket = self.api.take(&answer, Effect::Read, "reading the ticket")?;
        if found.is_gone() {
            return Ok(None);
        }
        let (mut comments, mut next) = (Vec::new(), Some(self.conversation(id)?));
        for _ in 0..CONVERSATION_PAGES {
            let Some(request) = next else { break };
            let what = "reading the conversation";
            let page = self.page::<Conversation>(context, request, what).await?;
            comments.extend(page.items.iter().map(comment));
            next = page.next;
        }
        let fields = self.fields_to_read(context).await?;
        Ok(Some(ExternalItem {
            comments,
            ..self.item_of(&found, &fields)
        }))
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let mark = from.mark.and_then(words::time);
        let since = mark.or(from.since).map(|since| since - OVERLAP);
        let first = |is_of_deleted| At {
            is_of_deleted,
            // Without a time, the list shows a month.
            since: since.unwrap_or(DateTime::UNIX_EPOCH),
            number: 1,
        };
        let at = match from.page {
            None => first(false),
            Some(page) => At::read(page).ok_or_else(|| {
                let text = "a page of a sync is asked for that no page before it named";
                AdapterError::new(ErrorClass::Internal, text)
            })?,
        };
        let request = self.api.get(&["tickets"])?.query([
            ("updated_since", words::written(at.since)),
            ("order_by", "updated_at".to_owned()),
            ("order_type", "asc".to_owned()),
            ("per_page", PAGE.to_owned()),
            ("page", at.number.to_string()),
        ]);
        let request = match at.is_of_deleted {
            true => request.query([("filter", "deleted")]),
            false => request.query([("include", "description")]),
        };
        let what = "listing what changed";
        let page = self
            .page::<Ticket>(context, request.up_to(PAGE_BYTES), what)
            .await?;
        let times = page.items.iter().filter_map(Ticket::at);
        let last = times.map(|at| at.low).max();
        let next = match page.next {
            Some(_) => Some(at.next(last)?),
            // A sync of everything finds by itself what is gone.
            None => (!at.is_of_deleted && since.is_some()).then(|| first(true)),
        };
        let fields = self.fields_to_read(context).await?;
        let change = |ticket: &Ticket| match at.is_of_deleted || ticket.is_gone() {
            true => self.deleted(ticket),
            false => Change::seen(self.item_of(ticket, &fields)),
        };
        Ok(ChangePage {
            changes: page.items.iter().map(change).collect(),
            next: next.map(At::text),
            mark: last
                .max(mark)
                .filter(|_| !at.is_of_deleted)
                .map(words::written),
            order: Order::Oldest,
            unreadable: 0,
        })
    }

    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let fields = self.fields(context).await?.ok_or_else(|| {
            let text = "the key's agent may not see the ticket fields";
            AdapterError::new(ErrorClass::Permission, text)
        })?;
        let wanted = search.map(str::to_lowercase);
        let fits = |field: &PlatformField| {
            let names = [&field.id, &field.name];
            wanted.as_ref().is_none_or(|wanted| {
                names
                    .iter()
                    .any(|name| name.to_lowercase().contains(wanted.as_str()))
            })
        };
        Ok(fields.iter().map(Field::shown).filter(fits).collect())
    }
}
