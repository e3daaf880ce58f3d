//! What is read back: a ticket, what changed, what can be chosen; and the checks of an integration.
//!
//! An administrator's credential reads the incremental export, whose cursor is durable. Others
//! follow the search, which shows a thousand results of a query and lags by minutes: it goes on
//! from the last change of such a thousand.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::item::PAGE_BYTES;
use super::words::{CustomStatus, Ticket, TicketField};
use super::{ERRORS, Zendesk, is_id};
use crate::platforms::{
    AdapterError, CallContext, Change, ChangeKind, ChangePage, CheckReport, Effect, ErrorClass,
    ExternalItem, ItemRef, Order, PlatformField, Reader, SyncFrom, TestKind,
};
use crate::telemetry::clock;

/// Tickets a page: of the largest, fewer bytes than an answer may have.
const EXPORTED: &str = "200";
const SEARCHED: usize = 100;
/// Results of a query that the search shows.
const SEARCHED_MAX: usize = 1_000;
/// How far a listing looks back beyond the last one: the index of the search lags, clocks differ,
/// and an export may not begin within the last minute.
const OVERLAP_MINUTES: i64 = 5;
/// Begins what the export calls its next page and its durable mark, and what the search does.
const CURSOR: &str = "cursor:";
const SEARCH: &str = "search:";
/// What the memory calls our own user, and how long it is good.
const MYSELF: &str = "zendesk myself";
const LIFE: Duration = Duration::from_secs(3_600);
/// `role_type` of an agent who cannot write public comments (unconfirmed).
const LIGHT_AGENT: u64 = 1;

/// Our own user.
#[derive(Debug, Clone, Deserialize)]
struct Myself {
    id: Option<u64>,
    name: Option<String>,
    email: Option<String>,
    role: Option<String>,
    role_type: Option<u64>,
    #[serde(default)]
    suspended: bool,
}

impl Myself {
    fn is_admin(&self) -> bool {
        self.role.as_deref() == Some("admin")
    }

    fn details(&self) -> Map<String, Value> {
        let members =
            json!({ "id": self.id, "name": self.name, "email": self.email, "role": self.role });
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

/// A page of the search, by the moment from which it lists and its number.
struct Searched<'a> {
    from: &'a str,
    number: usize,
}

impl<'a> Searched<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (from, number) = text.rsplit_once('|')?;
        let number = number.parse().ok().filter(|number| *number >= 1)?;
        DateTime::parse_from_rfc3339(from).ok()?;
        Some(Self { from, number })
    }

    fn text(from: &str, number: usize) -> String {
        format!("{SEARCH}{from}|{number}")
    }
}

/// A moment as Zendesk's queries have it.
fn queried(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Zendesk {
    /// Our own user. Zendesk answers a stranger with 200 and a user without an id.
    async fn read_myself(&self, context: &CallContext<'_>) -> Result<Myself, AdapterError> {
        #[derive(Deserialize)]
        struct Answer {
            user: Myself,
        }
        let request = self.api.get(&["users", "me"])?;
        let answer: Answer = self.api.ask(context, request, "asking who we are").await?;
        if answer.user.id.is_some() {
            return Ok(answer.user);
        }
        let text = "Zendesk answers as to somebody who is not logged in: the credential is not \
                    known, has expired or was revoked; renew it, then run integration.test";
        Err(AdapterError::new(ErrorClass::Authentication, text).with_status(200))
    }

    async fn is_admin(&self, context: &CallContext<'_>) -> Result<bool, AdapterError> {
        let myself = context
            .recall(MYSELF, LIFE, self.read_myself(context))
            .await?;
        Ok(myself.is_admin())
    }

    /// The account's statuses, where they are needed to read a ticket.
    async fn statuses_for(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Vec<CustomStatus>, AdapterError> {
        if !self.names_statuses() {
            return Ok(Vec::new());
        }
        Ok(self.custom_statuses(context).await?.as_ref().clone())
    }

    /// What a listing says of its tickets.
    fn listed(&self, tickets: &[Ticket], custom: &[CustomStatus]) -> Vec<Change> {
        let change = |ticket: &Ticket| {
            if !ticket.is_deleted() {
                return Change::seen(self.item_of(ticket, custom));
            }
            let at = ticket.at();
            let moment = at.map_or(0, |at| at.low.timestamp_millis());
            let id = format!("ix:{}@{moment}:deleted", ticket.id);
            Change {
                at,
                marker: ticket.marker(),
                ..Change::new(id, ChangeKind::Deleted, ticket.item())
            }
        };
        tickets.iter().map(change).collect()
    }

    /// A page of the incremental export: from its cursor, or from a moment.
    async fn exported(
        &self,
        context: &CallContext<'_>,
        cursor: Option<&str>,
        since: Option<DateTime<Utc>>,
    ) -> Result<ChangePage, AdapterError> {
        #[derive(Deserialize)]
        struct Exported {
            tickets: Vec<Ticket>,
            after_cursor: Option<String>,
            #[serde(default)]
            end_of_stream: bool,
        }
        let begin = match cursor {
            Some(cursor) => ("cursor", cursor.to_owned()),
            None => {
                let overlap = chrono::Duration::minutes(OVERLAP_MINUTES);
                let latest = clock::now() - overlap;
                let from =
                    since.map_or(1, |since| (since - overlap).min(latest).timestamp().max(1));
                ("start_time", from.to_string())
            }
        };
        let request = self.api.get(&["incremental", "tickets", "cursor"])?;
        let request = request.query([begin, ("per_page", EXPORTED.to_owned())]);
        let what = "listing what changed";
        let page: Exported = self
            .api
            .ask(context, request.up_to(PAGE_BYTES), what)
            .await?;
        let after = page.after_cursor.map(|cursor| format!("{CURSOR}{cursor}"));
        if after.is_none() && !page.end_of_stream {
            let text = "Zendesk lists a part of what changed and does not say where the rest is";
            return Err(AdapterError::new(
                ErrorClass::Transient { retry_after: None },
                text,
            ));
        }
        Ok(ChangePage {
            changes: self.listed(&page.tickets, &self.statuses_for(context).await?),
            next: after.clone().filter(|_| !page.end_of_stream),
            mark: after,
            order: Order::Oldest,
            unreadable: 0,
        })
    }

    /// A page of the search.
    async fn searched(
        &self,
        context: &CallContext<'_>,
        page: &Searched<'_>,
    ) -> Result<ChangePage, AdapterError> {
        #[derive(Deserialize)]
        struct Results {
            results: Vec<Ticket>,
            next_page: Option<String>,
        }
        let query = format!("type:ticket updated>={}", page.from);
        let request = self.api.get(&["search"])?.query([
            ("query", query),
            ("sort_by", "updated_at".to_owned()),
            ("sort_order", "asc".to_owned()),
            ("per_page", SEARCHED.to_string()),
            ("page", page.number.to_string()),
        ]);
        let what = "searching for what changed";
        let found: Results = self
            .api
            .ask(context, request.up_to(PAGE_BYTES), what)
            .await?;
        let next = match (found.next_page, found.results.last()) {
            (None, _) | (_, None) => None,
            (Some(_), Some(_)) if (page.number + 1) * SEARCHED <= SEARCHED_MAX => {
                Some(Searched::text(page.from, page.number + 1))
            }
            // The search shows no more of this query: it goes on where that ends.
            (Some(_), Some(last)) => {
                let last = last.at().map(|at| queried(at.low));
                let last = last.filter(|last| last != page.from);
                let last = last.ok_or_else(|| {
                    let text = "more tickets changed within a second than Zendesk's search \
                                shows; an administrator's credential lists them all";
                    AdapterError::unsupported(text)
                })?;
                Some(Searched::text(&last, 1))
            }
        };
        Ok(ChangePage {
            changes: self.listed(&found.results, &self.statuses_for(context).await?),
            next,
            mark: None,
            order: Order::Oldest,
            unreadable: 0,
        })
    }

    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            // Whether Zendesk is reached at all; whom it lets in is another question.
            TestKind::Connection => match self.read_myself(context).await {
                Ok(_) => Ok(CheckReport::new("Zendesk answers", Map::new())),
                Err(error) if error.class == ErrorClass::Authentication => {
                    let text = "Zendesk answers, but does not take the credential";
                    Ok(CheckReport::new(text, Map::new()))
                }
                Err(error) => Err(error),
            },
            TestKind::Authentication => {
                let myself = self.read_myself(context).await?;
                let request = self.api.get(&["tickets"])?.query([("page[size]", "1")]);
                let _: Value = self.api.ask(context, request, "listing tickets").await?;
                let name = myself.name.clone().unwrap_or_default();
                Ok(CheckReport::new(
                    &format!("logged in as {name}"),
                    myself.details(),
                ))
            }
            TestKind::Permissions => self.permitted(context).await,
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    /// Whether our user may do what a worker does.
    async fn permitted(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let myself = self.read_myself(context).await?;
        let refused = |text: &str| Err(AdapterError::new(ErrorClass::Permission, text));
        if myself.suspended {
            return refused("the user is suspended at Zendesk");
        }
        if !matches!(myself.role.as_deref(), Some("agent" | "admin")) {
            return refused(
                "the user is no agent at Zendesk: only agents and administrators can work on \
                 tickets",
            );
        }
        if myself.role_type == Some(LIGHT_AGENT) && !myself.is_admin() {
            return refused(
                "the user is a light agent at Zendesk, who cannot write comments that \
                 requesters see",
            );
        }
        let request = self.api.get(&["tickets", "count"])?;
        let _: Value = self
            .api
            .ask(context, request, "counting the tickets")
            .await?;
        let mut details = myself.details();
        let way = if myself.is_admin() {
            "the incremental export, which misses nothing"
        } else {
            "the search, which lags by minutes and shows no deletions: an administrator's \
             credential does better"
        };
        details.insert("sync_by".into(), way.into());
        Ok(CheckReport::new(
            "the user may read and write tickets",
            details,
        ))
    }

    /// Makes a ticket that says of itself that it is a test, and removes it.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        #[derive(Deserialize)]
        struct Made {
            ticket: Ticket,
        }
        let mark = format!("ticketwire-test-{}", uuid::Uuid::now_v7());
        let mut ticket = json!({
            "subject": "Ticketwire connection test: may be deleted", "external_id": mark,
            "comment": { "body": "Made by integration.test. It may be deleted.", "public": false },
        });
        if let Some(brand) = self.brand {
            ticket["brand_id"] = brand.into();
        }
        if let Some(group) = self.group {
            ticket["group_id"] = group.into();
        }
        let key = HeaderValue::from_str(&mark).map_err(|_| {
            AdapterError::new(
                ErrorClass::Internal,
                "the test's marker is no idempotency key",
            )
        })?;
        let request = self.api.make(Method::POST, &["tickets"])?;
        let request = request.header(HeaderName::from_static("idempotency-key"), key);
        let request = request.json(&json!({ "ticket": ticket }));
        let made: Made = self
            .api
            .ask(context, request, "creating the test ticket")
            .await?;
        let id = made.ticket.id.to_string();
        let request = self.api.set(Method::DELETE, &["tickets", &id])?;
        let removed = self
            .api
            .tell(context, request, "removing the test ticket")
            .await;
        let details = Map::from_iter([
            ("external_id".to_owned(), Value::from(mark)),
            ("ticket".to_owned(), Value::from(id.clone())),
        ]);
        let message = match removed {
            Ok(_) => format!("created the test ticket {id} and removed it"),
            Err(error) => format!(
                "created the test ticket {id}, which stays: {}",
                error.public
            ),
        };
        Ok(CheckReport::new(&message, details))
    }
}

#[async_trait]
impl Reader for Zendesk {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        #[derive(Deserialize)]
        struct Answer {
            ticket: Ticket,
        }
        let id = item.address();
        if !is_id(id) {
            return Ok(None);
        }
        let answer = context.send(self.api.get(&["tickets", id])?).await?;
        // Another 404 says that the address is wrong, not that the ticket is gone.
        let is_gone = || {
            ERRORS
                .said(&answer)
                .codes
                .iter()
                .any(|code| code == "RecordNotFound")
        };
        if answer.status == 404 && is_gone() {
            return Ok(None);
        }
        let found: Answer = self.api.take(&answer, Effect::Read, "reading the ticket")?;
        if found.ticket.is_deleted() {
            return Ok(None);
        }
        let custom = self.statuses_for(context).await?;
        Ok(Some(self.item_of(&found.ticket, &custom)))
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let since = from.since;
        let searched_since = || {
            let from = since.unwrap_or(DateTime::UNIX_EPOCH);
            queried(from - chrono::Duration::minutes(OVERLAP_MINUTES))
        };
        if let Some(page) = from.page {
            let unknown = || {
                let text = "a page of a sync is asked for that no page before it named";
                AdapterError::new(ErrorClass::Internal, text)
            };
            if let Some(cursor) = page.strip_prefix(CURSOR) {
                return self.exported(context, Some(cursor), since).await;
            }
            let page = page.strip_prefix(SEARCH).and_then(Searched::read);
            return self.searched(context, &page.ok_or_else(unknown)?).await;
        }
        if self.is_admin(context).await? {
            let cursor = from.mark.and_then(|mark| mark.strip_prefix(CURSOR));
            match self.exported(context, cursor, since).await {
                Err(error) if error.class == ErrorClass::Permission => context.forget(MYSELF),
                exported => return exported,
            }
        }
        let page = Searched {
            from: &searched_since(),
            number: 1,
        };
        self.searched(context, &page).await
    }

    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let fields = self.ticket_fields(context).await?;
        let wanted = search.map(str::to_lowercase);
        let fits = |field: &PlatformField| {
            wanted.as_ref().is_none_or(|wanted| {
                field.id.contains(wanted.as_str())
                    || field.name.to_lowercase().contains(wanted.as_str())
            })
        };
        let active = fields.iter().filter(|field| field.is_active());
        Ok(active.map(TicketField::shown).filter(fits).collect())
    }
}
