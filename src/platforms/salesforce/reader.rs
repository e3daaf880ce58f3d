//! What is read back: a case, what changed, what can be chosen; and the checks of an integration.
//!
//! Changes are listed by `SystemModstamp`, which moves on a change by the system, too. Comments are
//! records of their own that do not move their case's (unconfirmed): those of the time that a page
//! of cases covers come with it, each with its case, so that nothing has to be read one by one.

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::facts::ERRORS;
use super::soql::Soql;
use super::words::{self, Describe, Record};
use super::{AUTO_ASSIGN, Found, PAGE_BYTES, Salesforce};
use crate::domain::{Priority, TicketCategory, TicketStatus};
use crate::platforms::api::all;
use crate::platforms::text::Marker;
use crate::platforms::{
    Actor, AdapterError, CallContext, Change, ChangeKind, ChangePage, CheckReport, Effect,
    ErrorClass, ExternalComment, ExternalItem, Fit, ItemRef, Moment, Needs, Order, PlatformField,
    Reader, Request, SyncFrom, TestKind,
};

/// How far a listing looks back beyond the last one: what was being written then has an older
/// moment than what was seen.
const OVERLAP_MINUTES: i64 = 5;
/// Cases a page: the fewest that can be asked for ("Query Options Header"), as texts are long.
const BATCH: (HeaderName, HeaderValue) = (
    HeaderName::from_static("sforce-query-options"),
    HeaderValue::from_static("batchSize=200"),
);
/// How often a listing is asked for anew: what changed within one second may be more than a page.
const ANEW_MAX: usize = 20;
/// Pages of comments and of queues that are read at most.
const PAGES_MAX: usize = 50;
/// What a case is ordered and listed by.
const CHANGED: &str = "SystemModstamp";
/// What a worker sets of a case.
const NEEDED: [&str; 4] = ["Subject", "Description", "Status", "Priority"];

/// Where a listing is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Walk {
    /// Whether everything is listed, and not what changed: then what is deleted and was said is not
    /// told.
    full: bool,
    /// From when on the next page is.
    from: Option<DateTime<Utc>>,
    /// The moment of the newest that was seen, by which the next listing can begin.
    newest: Option<DateTime<Utc>>,
    /// Whether texts are left out, as a page with them was too long.
    lean: bool,
    /// Where Salesforce has the next page. It keeps it for a while.
    link: Option<String>,
    /// How often it was asked anew, as that had ended.
    anew: usize,
}

impl Walk {
    fn begin(from: &SyncFrom<'_>) -> Self {
        let mark = from.mark.and_then(words::moment).or(from.since);
        Self {
            full: mark.is_none(),
            from: mark.map(|at| at - Duration::minutes(OVERLAP_MINUTES)),
            newest: mark,
            ..Self::default()
        }
    }

    fn read(text: &str) -> Result<Self, AdapterError> {
        serde_json::from_str(text).map_err(|_| {
            let text = "a page of a sync is asked for that no page before it named";
            AdapterError::new(ErrorClass::Internal, text)
        })
    }
}

impl Salesforce {
    /// The request for a page of cases, the oldest change first.
    fn listing(&self, walk: &Walk) -> Result<Request, AdapterError> {
        // Those that were deleted too, unless everything is new to us.
        let resource = if walk.full { "query" } else { "queryAll" };
        let deleted = if walk.full { "" } else { ",IsDeleted" };
        let fields = self.fields_read("", !walk.lean) + deleted + ",LastModifiedById";
        let query = Soql::of(&fields, "Case").from(CHANGED, walk.from);
        let query = query.by("SystemModstamp ASC, Id ASC");
        let request = self.api.get(&self.at(&[resource]))?;
        let request = request.header(BATCH.0, BATCH.1).up_to(PAGE_BYTES);
        let first = request.query([("q", query.text())]);
        match &walk.link {
            Some(link) => self.api.next_page(&first, link),
            None => Ok(first),
        }
    }

    /// A page of cases. Where its address has ended, or it is too long, it is asked for anew from
    /// the last that was seen.
    async fn listed(
        &self,
        context: &CallContext<'_>,
        walk: &mut Walk,
    ) -> Result<Found<Record>, AdapterError> {
        let what = "listing what changed";
        loop {
            let answer = context.send(self.listing(walk)?).await?;
            let codes = ERRORS.said(&answer).codes;
            let has_ended = codes.iter().any(|code| code == "INVALID_QUERY_LOCATOR");
            if has_ended && walk.anew < ANEW_MAX && walk.link.take().is_some() {
                walk.anew += 1;
                continue;
            }
            match self.api.take_page(&answer, what)? {
                Fit::Whole(found) => return Ok(found),
                Fit::TooLong if !walk.lean => (walk.lean, walk.link) = (true, None),
                Fit::TooLong => {
                    let text = "a page of cases, even without texts, is larger than what is read";
                    return Err(AdapterError::unsupported(text));
                }
            }
        }
    }

    /// Comments that were made or changed in this time, each with its case as it stands.
    async fn commented(
        &self,
        context: &CallContext<'_>,
        from: Option<DateTime<Utc>>,
        before: Option<DateTime<Utc>>,
        instance: &str,
    ) -> Result<Vec<Change>, AdapterError> {
        let fields = self.fields_read("Parent.", false);
        let fields = format!(
            "Id,ParentId,CommentBody,IsPublished,CreatedById,CreatedDate,{CHANGED},{fields}"
        );
        let query = Soql::of(&fields, "CaseComment")
            .from(CHANGED, from)
            .before(CHANGED, before);
        let first = self
            .query(&query.by("SystemModstamp ASC, Id ASC"))?
            .up_to(PAGE_BYTES);
        let read = |request| self.page::<Record>(context, request, "listing the comments");
        let found = all(PAGES_MAX, first, read).await?;
        Ok(found
            .iter()
            .filter_map(|record| self.comment_change(record, instance))
            .collect())
    }

    fn comment_change(&self, record: &Record, instance: &str) -> Option<Change> {
        let comment = comment_of(record)?;
        let at = record.at(CHANGED);
        let parent = record.related("Parent");
        let item = parent
            .as_ref()
            .and_then(|case| self.item_of(case, Some(instance)));
        let is_new = at.map(|at| at.low) == comment.created_at;
        let kind = if is_new {
            ChangeKind::Commented
        } else {
            ChangeKind::CommentChanged
        };
        let moment = at.map_or(0, |at| at.low.timestamp_millis());
        let id = format!("comment:{}@{moment}", comment.id);
        let by = comment.author.clone();
        let change = match item {
            Some(ExternalItem {
                item,
                facts,
                marker,
                ..
            }) => Change {
                facts,
                marker,
                whole: true,
                ..Change::new(id, kind, item)
            },
            None => {
                let item = ItemRef::named(record.id("ParentId")?);
                Change {
                    needs: Needs::Item,
                    ..Change::new(id, kind, item)
                }
            }
        };
        Some(Change {
            at,
            by,
            comment: Some(comment),
            ..change
        })
    }

    /// What a page says of a case.
    fn case_change(&self, record: &Record, instance: &str) -> Option<Change> {
        let by = record.id("LastModifiedById").map(|id| Actor {
            id: Some(id),
            name: None,
        });
        if record.flag("IsDeleted") != Some(true) {
            let seen = self.item_of(record, Some(instance)).map(Change::seen)?;
            return Some(Change { by, ..seen });
        }
        let (item, at) = (Self::item_ref(record)?, record.at(CHANGED));
        let moment = at.map_or(0, |at| at.low.timestamp_millis());
        let id = format!("ix:{}@{moment}:deleted", item.address());
        let marker = self.marker_of(record);
        Some(Change {
            at,
            by,
            marker,
            ..Change::new(id, ChangeKind::Deleted, item)
        })
    }

    /// One case: a query that costs little, and shows whether the user sees cases at all.
    async fn probe(&self, context: &CallContext<'_>) -> Result<(), AdapterError> {
        let request = self.query(&Soql::of("Id", "Case").first(1))?;
        self.page::<Record>(context, request, "looking at the cases")
            .await
            .map(drop)
    }

    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            // Whether Salesforce is reached at all; whom it lets in is another question.
            TestKind::Connection => match self.probe(context).await {
                Ok(()) => Ok(CheckReport::new("Salesforce answers", Map::new())),
                Err(error) if error.class == ErrorClass::Authentication => Ok(CheckReport::new(
                    "Salesforce answers, but does not take the credential",
                    Map::new(),
                )),
                Err(error) => Err(error),
            },
            TestKind::Authentication => {
                self.probe(context).await?;
                let instance = self.instance(context).await?;
                let details = Map::from_iter([("instance_url".to_owned(), Value::from(instance))]);
                Ok(CheckReport::new(
                    "logged in, and cases can be read",
                    details,
                ))
            }
            TestKind::Permissions => {
                // As it stands now: somebody may be mending it.
                context.forget(super::DESCRIBE);
                self.permitted(&*self.describe(context).await?)
            }
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    /// Whether the user may do what a worker does, and the settings name what there is.
    fn permitted(&self, describe: &Describe) -> Result<CheckReport, AdapterError> {
        let refused = |text: String| Err(AdapterError::new(ErrorClass::Permission, text));
        if !describe.createable || !describe.updateable {
            return refused("the user may not create and change cases".to_owned());
        }
        let settable = |name: &&str| {
            let field = describe.field(name);
            field.is_some_and(|field| field.createable && field.updateable)
        };
        let lacking: Vec<&str> = NEEDED.into_iter().filter(|name| !settable(name)).collect();
        if !lacking.is_empty() {
            return refused(format!(
                "the user may not set {} of a case",
                lacking.join(", ")
            ));
        }
        if let Some(name) = &self.external_id {
            let field = describe
                .field(name)
                .filter(|field| field.external_id && field.unique && field.createable);
            if field.is_none() {
                let fault = format!(
                    "names {name}, which is no External ID of Case that is Unique and may be set"
                );
                return Err(AdapterError::field("settings.external_id_field", fault));
            }
        }
        if let Some(name) = self.tags.as_ref().filter(|name| !settable(&name.as_str())) {
            let fault = format!("names {name}, which is no field of Case that the user may set");
            return Err(AdapterError::field("settings.tags_field", fault));
        }
        let is_there = |id: &String| {
            let mut types = describe.record_types.iter();
            types.any(|one| one.available && words::id_of(&one.record_type_id) == words::id_of(id))
        };
        if self.record_type.as_ref().is_some_and(|id| !is_there(id)) {
            let fault = "names no record type of Case that the user may use";
            return Err(AdapterError::field("settings.record_type_id", fault));
        }
        for status in TicketStatus::ALL
            .iter()
            .filter(|status| **status != TicketStatus::New)
        {
            self.status_word(*status, Some(describe))?;
        }
        let unknown = |field: &str, word: Option<&str>| {
            let word = word?;
            let field = describe.field(field)?;
            field.choice(word).is_none().then(|| word.to_owned())
        };
        let priorities = Priority::ALL
            .iter()
            .map(|one| unknown("Priority", self.priorities.out(*one)));
        let kinds = TicketCategory::ALL
            .iter()
            .map(|one| unknown("Type", self.kinds.out(*one)));
        let mut unknown: Vec<String> = priorities.chain(kinds).flatten().collect();
        unknown.sort();
        unknown.dedup();
        let mut details = Map::new();
        if !unknown.is_empty() {
            details.insert("left_out_as_not_in_a_picklist".into(), json!(unknown));
        }
        if self.external_id.is_none() {
            let text = "settings.external_id_field would keep creates apart by a field of their \
                        own, and not by a line in the description";
            details.insert("advice".into(), text.into());
        }
        Ok(CheckReport::new(
            "the user may create and change cases",
            details,
        ))
    }

    /// Makes a case that says of itself that it is a test, and deletes it where the user may.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        #[derive(Deserialize)]
        struct Made {
            id: String,
        }
        let mut members = json!({
            "Subject": "Ticketwire connection test: may be deleted",
            "Description": "Made by integration.test. It may be deleted.",
        });
        if let Some(id) = &self.record_type {
            members["RecordTypeId"] = id.as_str().into();
        }
        let request = self.object(Method::POST, &["Case"], Effect::Create)?;
        let request = request.header(AUTO_ASSIGN, HeaderValue::from_static("FALSE"));
        let answer = context.send(request.json(&members)).await?;
        let what = "creating the test case";
        if let Some(error) = self.refusal(&answer, Effect::Create, what) {
            return Err(error);
        }
        let made: Made = answer.json(Effect::Create)?;
        let request = self.object(Method::DELETE, &["Case", &made.id], Effect::Idempotent)?;
        let removed = self.api.tell(context, request, "deleting it").await;
        let id = &made.id;
        let message = match removed {
            Ok(_) => format!("created the test case {id} and deleted it; it is in the recycle bin"),
            Err(error) => {
                let why = error.public;
                format!("created the test case {id}, which stays until somebody deletes it: {why}")
            }
        };
        let details = Map::from_iter([("case".to_owned(), Value::from(made.id))]);
        Ok(CheckReport::new(&message, details))
    }
}

/// A comment as a record shows it; `None` where it has no id.
pub(super) fn comment_of(record: &Record) -> Option<ExternalComment> {
    let body = record.lines("CommentBody").unwrap_or_default();
    Some(ExternalComment {
        id: record.id("Id")?,
        marker: Marker::find(&body).map(str::to_owned),
        body,
        public: record.flag("IsPublished"),
        author: record.id("CreatedById").map(|id| Actor {
            id: Some(id),
            name: None,
        }),
        created_at: record.text("CreatedDate").and_then(words::moment),
        ..ExternalComment::default()
    })
}

#[async_trait]
impl Reader for Salesforce {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let what = "reading the case";
        let fields = self.fields_read("", true);
        let instance = self.instance(context).await?;
        let Some(id) = words::case_id(item.address()) else {
            let number = &item.external_id;
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Ok(None);
            }
            // What people quote, where nothing else is known.
            let query = Soql::of(&fields, "Case").is("CaseNumber", number).first(1);
            let found = self
                .page::<Record>(context, self.query(&query)?, what)
                .await?;
            let found = found.items.first();
            return Ok(found.and_then(|record| self.item_of(record, Some(&instance))));
        };
        let request = self.object(Method::GET, &["Case", &id], Effect::Read)?;
        let answer = context.send(request.query([("fields", fields)])).await?;
        if self.is_absent(&answer) {
            return Ok(None);
        }
        let record: Record = self.api.take(&answer, Effect::Read, what)?;
        let item = self.item_of(&record, Some(&instance));
        item.map(Some).ok_or_else(|| {
            let text = "reading the case: Salesforce's answer has no id in it";
            AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
        })
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let mut walk = match from.page {
            Some(text) => Walk::read(text)?,
            None => Walk::begin(from),
        };
        let found = self.listed(context, &mut walk).await?;
        let link = found.link("listing what changed")?;
        let instance = self.instance(context).await?;
        let cases: Vec<Change> = found
            .records
            .iter()
            .filter_map(|record| self.case_change(record, &instance))
            .collect();
        let unreadable = found.records.len() - cases.len();
        let last = cases.iter().filter_map(|change| Some(change.at?.low)).max();
        let mut changes = cases;
        if !walk.full {
            // The next page has those from the last case on.
            let before = last.filter(|_| link.is_some());
            changes.extend(
                self.commented(context, walk.from, before, &instance)
                    .await?,
            );
            changes.sort_by_key(|change| change.at.map(|at: Moment| at.low));
        }
        walk.newest = walk.newest.max(last);
        walk.from = last.or(walk.from);
        walk.link = link;
        let next = walk.link.is_some().then(|| json!(walk).to_string());
        Ok(ChangePage {
            changes,
            next,
            mark: walk.newest.map(super::soql::moment),
            order: Order::Oldest,
            unreadable,
        })
    }

    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let describe = self.describe(context).await?;
        let query = Soql::of("Id, Name", "Group")
            .is("Type", "Queue")
            .by("Name ASC");
        let read = |request| self.page::<Record>(context, request, "listing the queues");
        let queues = all(PAGES_MAX, self.query(&query)?, read).await?;
        let queues: Vec<String> = queues
            .iter()
            .filter_map(|one| Some(one.text("Name")?.to_owned()))
            .collect();
        let types = describe.record_types.iter().filter(|one| one.available);
        let types: Vec<String> = types.map(|one| one.record_type_id.clone()).collect();
        let wanted = search.map(str::to_lowercase);
        let fits = |field: &PlatformField| {
            wanted.as_ref().is_none_or(|wanted| {
                let names = [field.id.to_lowercase(), field.name.to_lowercase()];
                names.iter().any(|name| name.contains(wanted.as_str()))
            })
        };
        let shown = |field: &words::Field| {
            let mut shown = field.shown();
            match shown.id.as_str() {
                "OwnerId" => shown.allowed_values.clone_from(&queues),
                "RecordTypeId" => shown.allowed_values.clone_from(&types),
                _ => {}
            }
            shown
        };
        let settable = describe
            .fields
            .iter()
            .filter(|field| field.createable || field.updateable);
        Ok(settable.map(shown).filter(fits).collect())
    }
}
