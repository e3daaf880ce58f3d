//! What is read back: a ticket, what changed, what can be chosen; and the checks of an integration.
//!
//! Changes come from the search ("CRM search guide"): it shows 10,000 results of a query, takes
//! 3,000 characters, and lags. Each page begins at the last moment of the page before: a ticket
//! that changes meanwhile moves to the end, and the one behind it would slip onto a page that is
//! read.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::HubSpot;
use super::facts::PATHS;
use super::item::{PAGE_BYTES, Paging, is_gone, not_unique};
use super::words::{self, CHANGED, NOTE_BODY, OWNER, PIPELINE, Record, STAGE};
use crate::domain::TicketStatus;
use crate::platforms::api::{self, Page};
use crate::platforms::text::{Marker, without_tags};
use crate::platforms::{
    AdapterError, CallContext, Change, ChangePage, CheckReport, Effect, ErrorClass,
    ExternalComment, ExternalItem, Fit, ItemRef, Order, PlatformField, Reader, Request, SyncFrom,
    TestKind,
};

/// Tickets of a page, results of a query, characters of its body.
const PAGE: usize = 200;
const RESULTS_MAX: usize = 10_000;
const QUERY_MAX: usize = 3_000;
/// How far a listing looks back beyond the last one: the index lags by "a few moments".
const OVERLAP: Duration = Duration::from_secs(120);
/// Comments that come with a ticket: what one request reads.
const NOTES: usize = 100;
/// Owners a page, and pages of them.
const OWNERS: &str = "100";
const OWNER_PAGES_MAX: usize = 10;

/// A page of a search: since when, and how many results of that are read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) since: i64,
    pub(super) after: usize,
}

impl Cursor {
    fn read(text: &str) -> Option<Self> {
        let (since, after) = text.split_once('+')?;
        Some(Self {
            since: since.parse().ok()?,
            after: after.parse().ok()?,
        })
    }

    fn text(&self) -> String {
        format!("{}+{}", self.since, self.after)
    }

    /// Where the next page begins behind one that ends at `last`; `after` is where it is by
    /// HubSpot's count, and `size` what it may show.
    fn next(&self, after: &str, size: usize, last: i64) -> Result<Self, AdapterError> {
        if last > self.since {
            return Ok(Self {
                since: last,
                after: 0,
            });
        }
        let after = after.parse().ok().filter(|after| *after > self.after);
        let after = after.filter(|after| after + size <= RESULTS_MAX);
        after.map(|after| Self { after, ..*self }).ok_or_else(|| {
            let text = "more tickets changed within a millisecond than HubSpot's search shows";
            AdapterError::unsupported(text)
        })
    }
}

#[derive(Deserialize)]
struct Found<T> {
    results: Vec<T>,
    paging: Option<Paging>,
}

fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

impl HubSpot {
    /// The body of a search, and whether it shows all that is read of a ticket: too many custom
    /// fields find no room in it.
    pub(super) fn query(&self, cursor: &Cursor, size: usize) -> (Value, bool) {
        let filter = json!({
            "propertyName": CHANGED, "operator": "GTE", "value": cursor.since.to_string(),
        });
        let body = |properties: &[&str]| {
            json!({
                "filterGroups": [{ "filters": [filter] }],
                "sorts": [{ "propertyName": CHANGED, "direction": "ASCENDING" }],
                "properties": properties, "limit": size, "after": cursor.after.to_string(),
            })
        };
        let whole = body(&self.read_properties());
        if whole.to_string().len() <= QUERY_MAX {
            return (whole, true);
        }
        (body(&[CHANGED]), false)
    }

    async fn search(
        &self,
        context: &CallContext<'_>,
        cursor: &Cursor,
        size: usize,
    ) -> Result<Fit<(Found<Record>, bool)>, AdapterError> {
        let (body, is_whole) = self.query(cursor, size);
        let request = self
            .api
            .request(Method::POST, &self.at(PATHS.search, &[]), Effect::Read)?;
        let answer = context.send(request.json(&body).up_to(PAGE_BYTES)).await?;
        let fit = self.api.take_page(&answer, "searching for what changed")?;
        Ok(match fit {
            Fit::Whole(found) => Fit::Whole((found, is_whole)),
            Fit::TooLong => Fit::TooLong,
        })
    }

    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            // Whether HubSpot is reached at all; whom it lets in is another question.
            TestKind::Connection => match self.read_account(context).await {
                Ok(_) => Ok(CheckReport::new("HubSpot answers", Map::new())),
                Err(error) if error.class == ErrorClass::Authentication => {
                    let text = "HubSpot answers, but does not take the credential";
                    Ok(CheckReport::new(text, Map::new()))
                }
                Err(error) => Err(error),
            },
            TestKind::Authentication => {
                let account = self.read_account(context).await?;
                let message = format!("authenticated for the account {}", account.portal_id);
                let details = json!({
                    "portal_id": account.portal_id, "account_type": account.account_type,
                    "time_zone": account.time_zone,
                });
                Ok(CheckReport::new(&message, details))
            }
            TestKind::Permissions => self.permitted(context).await,
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    /// Whether settings and account fit. That the credential may write shows only when it does.
    async fn permitted(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        Self::look_anew(context);
        let account = self.read_account(context).await?;
        if let Some(portal) = self.portal.filter(|portal| *portal != account.portal_id) {
            let fault = format!(
                "is {portal}, and the credential's account {}",
                account.portal_id
            );
            return Err(AdapterError::field("settings.portal_id", fault));
        }
        let pipelines = self.pipelines(context).await?;
        let pipeline = self.own_pipeline(&pipelines)?;
        let mut stages = Map::new();
        for status in TicketStatus::ALL {
            // What has no stage is refused when it is needed, unless a setting is why.
            match self.stage_of(pipeline, *status) {
                Ok(stage) => drop(stages.insert(status.to_string(), stage.label.clone().into())),
                Err(error) if self.statuses.out(*status).is_some() => return Err(error),
                Err(_) => drop(stages.insert(status.to_string(), Value::Null)),
            }
        }
        if !self.has_unique(&self.properties(context).await?) {
            return Err(not_unique());
        }
        let details = json!({ "pipeline": pipeline.label, "stages": stages });
        let message = "the credential reads pipelines and properties; that it may write shows \
            only when a ticket is made";
        Ok(CheckReport::new(message, details))
    }

    /// Makes a ticket that says of itself that it is a test, and removes it.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        Self::look_anew(context);
        let pipelines = self.pipelines(context).await?;
        let pipeline = self.own_pipeline(&pipelines)?;
        let stage = self.stage_of(pipeline, TicketStatus::New)?;
        let properties = json!({
            "subject": "Ticketwire connection test: may be deleted", PIPELINE: pipeline.id,
            STAGE: stage.id, "content": "Made by integration.test. It may be deleted.",
        });
        let request = self.api.make(Method::POST, &self.at(PATHS.tickets, &[]))?;
        let request = request.json(&json!({ "properties": properties }));
        let made: Record = self
            .api
            .ask(context, request, "creating the test ticket")
            .await?;
        let id = made.id;
        let request = self
            .api
            .set(Method::DELETE, &self.at(PATHS.tickets, &[&id]))?;
        let removed = self
            .api
            .tell(context, request, "removing the test ticket")
            .await;
        let message = match removed {
            Ok(_) => format!(
                "created the test ticket {id} and removed it; HubSpot keeps it among its deleted \
                    records for a time"
            ),
            Err(error) => format!(
                "created the test ticket {id}, which stays: {}",
                error.public
            ),
        };
        Ok(CheckReport::new(&message, json!({ "ticket": id })))
    }

    /// E-mail addresses of those whom tickets can be given to.
    async fn owners(&self, context: &CallContext<'_>) -> Result<Vec<String>, AdapterError> {
        #[derive(Deserialize)]
        struct Owner {
            id: String,
            email: Option<String>,
        }
        let first = self.api.get(&self.at(PATHS.owners, &[]))?;
        let first = first.query([("limit", OWNERS)]);
        let read = |request: Request| async move {
            let what = "listing the owners";
            let found: Found<Owner> = self.api.ask(context, request, what).await?;
            let next = found.paging.and_then(Paging::after).map(|after| {
                let request = self.api.get(&self.at(PATHS.owners, &[]))?;
                Ok(request.query([("limit", OWNERS), ("after", &after)]))
            });
            Ok(Page {
                items: found.results,
                next: next.transpose()?,
            })
        };
        let owners = api::all(OWNER_PAGES_MAX, first, read).await?;
        Ok(owners
            .into_iter()
            .map(|owner| owner.email.unwrap_or(owner.id))
            .collect())
    }
}

/// A note as a comment. The customer reads none of them.
fn comment(note: Record) -> ExternalComment {
    let html = note.text(NOTE_BODY).unwrap_or_default();
    let created = note.created_at.as_deref().and_then(words::moment);
    ExternalComment {
        body: without_tags(html),
        public: Some(false),
        created_at: created.map(|at| at.low),
        marker: Marker::find(html).map(str::to_owned),
        id: note.id,
        ..ExternalComment::default()
    }
}

#[async_trait]
impl Reader for HubSpot {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let id = item.address();
        if !words::is_id(id) {
            return Ok(None);
        }
        let request = self.api.get(&self.at(PATHS.tickets, &[id]))?;
        let properties = self.read_properties().join(",");
        let request = request.query([
            ("properties", properties.as_str()),
            ("associations", "notes"),
        ]);
        let answer = context.send(request.up_to(PAGE_BYTES)).await?;
        if is_gone(&answer) {
            return Ok(None);
        }
        let found: Record = self.api.take(&answer, Effect::Read, "reading the ticket")?;
        let notes = found.associations.get("notes");
        let links = notes.map_or(&[][..], |notes| notes.results.as_slice());
        let mut ids: Vec<String> = links.iter().map(|link| link.id.clone()).collect();
        ids.sort_by_key(|id| std::cmp::Reverse(id.parse::<u64>().ok()));
        ids.dedup();
        ids.truncate(NOTES);
        let notes = match ids.is_empty() {
            true => Vec::new(),
            false => self.notes(context, &ids).await?,
        };
        let pipelines = self.pipelines(context).await?;
        let url = self.account(context).await?.page_of(&found.id);
        Ok(Some(ExternalItem {
            comments: notes.into_iter().map(comment).collect(),
            ..self.item_of(&found, &pipelines, url)
        }))
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let first = || {
            let mark = from.mark.and_then(|mark| mark.parse().ok());
            let since = mark.or(from.since.map(millis)).unwrap_or(0);
            let overlap = i64::try_from(OVERLAP.as_millis()).unwrap_or(i64::MAX);
            Cursor {
                since: since.saturating_sub(overlap).max(0),
                after: 0,
            }
        };
        let cursor = match from.page {
            None => first(),
            Some(page) => Cursor::read(page).ok_or_else(|| {
                let text = "a page of a sync is asked for that no page before it named";
                AdapterError::new(ErrorClass::Internal, text)
            })?,
        };
        let search = |size| self.search(context, &cursor, size);
        let ((found, is_whole), size) = api::halving(PAGE, search).await?;
        let changed = found.results.iter().filter_map(|ticket| ticket.at());
        let last = changed
            .map(|at| millis(at.low))
            .max()
            .unwrap_or(cursor.since);
        let next = match found.paging.and_then(Paging::after) {
            None => None,
            Some(after) => Some(cursor.next(&after, size, last)?.text()),
        };
        let pipelines = self.pipelines(context).await?;
        let account = self.account(context).await?;
        let change = |ticket: &Record| {
            let seen = Change::seen(self.item_of(ticket, &pipelines, account.page_of(&ticket.id)));
            match is_whole {
                true => seen,
                false => Change::thin(seen.id, seen.item, seen.at),
            }
        };
        Ok(ChangePage {
            changes: found.results.iter().map(change).collect(),
            next,
            mark: Some(last.to_string()),
            order: Order::Oldest,
            unreadable: 0,
        })
    }

    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let properties = self.properties(context).await?;
        let pipelines = self.pipelines(context).await?;
        let owners = self.owners(context).await?;
        let wanted = search.map(str::to_lowercase);
        let fits = |field: &PlatformField| {
            wanted.as_ref().is_none_or(|wanted| {
                let names = [&field.id, &field.name];
                names
                    .iter()
                    .any(|name| name.to_lowercase().contains(wanted.as_str()))
            })
        };
        let shown = properties
            .iter()
            .filter(|property| property.is_shown())
            .map(|property| {
                let allowed: Option<Vec<String>> = match property.name.as_str() {
                    PIPELINE => Some(pipelines.iter().map(|one| one.label.clone()).collect()),
                    STAGE => {
                        let pipeline = self.own_pipeline(&pipelines);
                        pipeline
                            .ok()
                            .map(|one| one.stages.iter().map(|stage| stage.label.clone()).collect())
                    }
                    OWNER => Some(owners.clone()),
                    _ => None,
                };
                property.shown(allowed)
            });
        Ok(shown.filter(fits).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_goes_on_at_its_last_moment_and_never_beyond_what_it_shows() {
        let cursor = |since, after| Cursor { since, after };

        let moved = cursor(5, 0).next("200", 200, 9).unwrap();
        assert_eq!(moved, cursor(9, 0));
        // All of a page within a millisecond.
        let same = cursor(9, 9_600).next("9800", 200, 9).unwrap();
        assert_eq!(same, cursor(9, 9_800));
        assert!(same.next("10000", 200, 9).is_err());
        assert_eq!(Cursor::read(&same.text()), Some(same));
        assert_eq!(Cursor::read("x+1"), None);
    }
}
