//! Reading tickets for people: one in full, or those that match a search. Index-backed, bounded,
//! and on connections of their own, so that no search can hurt the pipeline (docs/search.md has
//! plans and costs).

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::indexes::words;
use super::{Store, StoreError, keep_if_sound, limited};
use crate::contract::{Position, TicketSearch, TicketSort};
use crate::domain::{OrganizationId, TicketId};

/// Longest a statement of a search may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections for searches; who finds none free waits for the pool's `wait`, then is told to ask
/// again.
pub(super) const CONNECTIONS: usize = 2;
/// Longest wait for one of them.
pub(super) const CONNECTION_WAIT: Duration = Duration::from_secs(2);
/// How a search's connections plan. Without sequential scans and partial sorts, and with rows dear
/// beside pages, what is left is to walk along an order's index and to look up what is rare; with
/// the planner's own prices it walks the legacy index on `created_at` and throws away 700,000 rows
/// to find 20.
pub(super) const SESSION: &[(&str, &str)] = &[
    ("statement_timeout", "2000"),
    ("default_transaction_read_only", "on"),
    ("enable_seqscan", "off"),
    ("enable_incremental_sort", "off"),
    ("cpu_tuple_cost", "0.5"),
    ("max_parallel_workers_per_gather", "0"),
    ("plan_cache_mode", "force_custom_plan"),
];

/// Words that so many tickets have are common: then the order is walked and the words are checked
/// on the way, else all that have them are looked up and sorted.
const CANDIDATES_MAX: usize = 5000;
/// Most bytes of tickets in one answer; a page that would be larger ends earlier.
const PAGE_BYTES_MAX: usize = 512 * 1024;
/// Most bytes of one ticket shown in full; of a larger one the long texts are cut.
const TICKET_BYTES_MAX: usize = 900 * 1024;
/// To how many characters they are cut then.
const TEXT_CUT: usize = 50_000;

/// What came of a search.
#[derive(Debug)]
pub enum Searched {
    /// A page.
    Page(TicketPage),
    /// It did not end within the time a search may take.
    TooSlow,
    /// All slots for searches were taken.
    Busy,
}

/// A page of tickets.
#[derive(Debug)]
pub struct TicketPage {
    /// The tickets, as shown.
    pub tickets: Vec<Value>,
    /// Where the next page begins; `None` after the last.
    pub next_cursor: Option<String>,
}

/// A statement with its values.
#[derive(Default)]
struct Statement {
    sql: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Statement {
    /// Adds a value and returns its placeholder.
    fn value(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values
            .iter()
            .map(|value| -> &(dyn ToSql + Sync) { value.as_ref() })
            .collect()
    }
}

/// How the words of a search are found.
enum Words {
    /// It has none.
    None,
    /// Few tickets have them: these.
    Among(Vec<Uuid>),
    /// Many have them.
    Common,
}

/// The tickets that can have the words, whatever else is asked for, or the id. A phrase is looked
/// up as its words, as the index does not know their order and would read every ticket that has
/// them; which have the phrase is seen to later.
fn candidates(organization: Option<OrganizationId>, q: &str) -> Statement {
    let mut s = Statement::default();
    let q = s.value(q.to_owned());
    let parsed = format!("websearch_to_tsquery('simple', {q}::text)");
    let loose = format!(
        "(CASE WHEN {parsed}::text LIKE '%!%' THEN {parsed} ELSE replace({parsed}::text, '<->', \
         '&')::tsquery END)"
    );
    let (own, tenant) = match organization {
        None => (loose, String::new()),
        Some(organization) => {
            let id = s.value(organization.uuid());
            (
                format!("(quote_literal({id}::uuid::text)::tsquery && {loose})"),
                format!(" AND organization_id = {id}"),
            )
        }
    };
    let limit = CANDIDATES_MAX + 1;
    s.sql = format!(
        "(SELECT id FROM tickets WHERE NOT is_deleted \
         AND external_ticket_id = {q}::text{tenant} LIMIT 100) UNION ALL \
         (SELECT id FROM tickets WHERE NOT is_deleted AND numnode({parsed}) > 0 \
         AND {words} @@ {own} LIMIT {limit})",
        words = words!(),
    );
    s
}

/// The page itself. The texts are cut outside, where no more than a page is left of the rows.
fn page(organization: Option<OrganizationId>, search: &TicketSearch, words: Words) -> Statement {
    let mut s = Statement::default();
    let key = search.sort.as_str();
    let (order, beyond) = if search.ascending {
        ("ASC", ">")
    } else {
        ("DESC", "<")
    };
    let mut conditions = vec!["NOT t.is_deleted".to_owned()];
    let filter = &search.filter;
    let enumerations = [
        ("status", "ticketstatus", filter.status.map(|v| v.as_str())),
        (
            "priority",
            "ticketpriority",
            filter.priority.map(|v| v.as_str()),
        ),
        (
            "urgency",
            "ticketpriority",
            filter.urgency.map(|v| v.as_str()),
        ),
        (
            "category",
            "ticketcategory",
            filter.category.map(|v| v.as_str()),
        ),
    ];
    for (column, of, value) in enumerations {
        if let Some(value) = value {
            let value = s.value(value);
            conditions.push(format!("t.{column} = {value}::text::{of}"));
        }
    }
    if let Some(department) = &filter.department {
        let value = s.value(department.clone());
        conditions.push(format!("t.department = {value}"));
    }
    if let Some(id) = filter.integration_id {
        let value = s.value(id.uuid());
        conditions.push(format!("t.integration_id = {value}"));
    }
    for (column, comparison, value) in [
        ("created_at", ">=", filter.created_after),
        ("created_at", "<", filter.created_before),
        ("updated_at", ">=", filter.updated_after),
        ("updated_at", "<", filter.updated_before),
    ] {
        if let Some(value) = value {
            let value = s.value(value);
            conditions.push(format!("t.{column} {comparison} {value}"));
        }
    }
    if let Some(Position { at, id }) = search.after {
        let (at, id) = (s.value(at), s.value(id.uuid()));
        conditions.push(format!("(t.{key}, t.id) {beyond} ({at}, {id})"));
    }
    if let (Some(q), Words::Among(_) | Words::Common) = (&filter.q, &words) {
        let q = s.value(q.clone());
        // As a CASE, which the planner takes for true half of the time: of a phrase it would expect
        // to find next to nothing and read every ticket instead of walking until the page is full.
        conditions.push(format!(
            "CASE WHEN t.external_ticket_id = {q}::text THEN true \
             ELSE {words} @@ websearch_to_tsquery('simple', {q}::text) END",
            words = words!()
        ));
    }
    let conditions = conditions.join(" AND ");
    let tenant = organization.map(|organization| {
        let value = s.value(organization.uuid());
        format!(" AND t.organization_id = {value}")
    });
    let ordered = |of: &str| {
        let fetched = search.limit + 1;
        format!("ORDER BY {of}.{key} {order}, {of}.id {order} LIMIT {fetched}")
    };
    let found = match (words, tenant) {
        (Words::Among(ids), tenant) => {
            let ids = s.value(ids);
            // The same ticket may be found by its words and by its id.
            format!(
                "SELECT t.* FROM (SELECT DISTINCT id FROM unnest({ids}::uuid[]) AS u(id)) AS hit \
                 JOIN tickets t ON t.id = hit.id WHERE {conditions}{} {}",
                tenant.unwrap_or_default(),
                ordered("t")
            )
        }
        (Words::None | Words::Common, Some(tenant)) => {
            format!(
                "SELECT t.* FROM tickets t WHERE {conditions}{tenant} {}",
                ordered("t")
            )
        }
        // For the command line: the first of each organization, as every index begins with it.
        (Words::None | Words::Common, None) => format!(
            "SELECT x.* FROM organizations o CROSS JOIN LATERAL (SELECT t.* FROM tickets t \
             WHERE {conditions} AND t.organization_id = o.id {}) AS x {}",
            ordered("t"),
            ordered("x"),
        ),
    };
    s.sql = format!("SELECT {SHOWN} FROM ({found}) AS t ORDER BY t.{key} {order}, t.id {order}",);
    s
}

/// What a search shows of a ticket: of its description, the first 500 characters.
const SHOWN: &str = "t.id, t.organization_id, t.title, left(t.description, 500), \
                     length(t.description) > 500, \
                     t.status::text, t.priority::text, t.urgency::text, t.category::text, \
                     t.department, \
                     t.created_by_id, \
                     t.assigned_to_id, t.integration_id, t.external_ticket_id, \
                     t.external_ticket_url, \
                     t.tags::text, \
                     t.communication_count, t.resolved_at, t.closed_at, t.last_activity_at, \
                     t.created_at, \
                     t.updated_at";

fn shown(row: &Row) -> Value {
    json!({
        "ticket_id": row.get::<_, Uuid>(0), "organization_id": row.get::<_, Uuid>(1),
        "title": row.get::<_, String>(2),
        "description": row.get::<_, String>(3), "description_truncated": row.get::<_, bool>(4),
        "status": row.get::<_, String>(5), "priority": row.get::<_, String>(6),
        "urgency": row.get::<_, String>(7),
        "category": row.get::<_, String>(8), "department": row.get::<_, Option<String>>(9),
        "created_by_id": row.get::<_, Option<Uuid>>(10), "assigned_to_id": row.get::<_,
        Option<Uuid>>(11),
        "integration_id": row.get::<_, Option<Uuid>>(12), "external_ticket_id": row.get::<_,
        Option<String>>(13),
        "external_ticket_url": row.get::<_, Option<String>>(14), "tags": document(row.get(15)),
        "communication_count": row.get::<_, i32>(16), "resolved_at": moment(row, 17),
        "closed_at": moment(row, 18),
        "last_activity_at": moment(row, 19), "created_at": moment(row, 20),
        "updated_at": moment(row, 21),
    })
}

fn moment(row: &Row, index: usize) -> Option<DateTime<Utc>> {
    // What chrono cannot hold (infinity) is shown as nothing.
    row.try_get(index).ok().flatten()
}

/// A stored JSON document. The legacy columns are `json`, which holds text that is no JSON to
/// others (lone surrogates, numbers beyond a double): shown as the text it is.
fn document(text: Option<String>) -> Value {
    text.map_or(Value::Null, |text| {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    })
}

impl Store {
    /// A page of an organization's tickets; of all organizations' where it is `None` (the command
    /// line).
    ///
    /// # Errors
    /// As the connection's.
    pub async fn search_tickets(
        &self,
        organization: Option<OrganizationId>,
        search: &TicketSearch,
    ) -> Result<Searched, StoreError> {
        let client = match self.search.get().await {
            Ok(client) => client,
            Err(deadpool_postgres::PoolError::Timeout(deadpool_postgres::TimeoutType::Wait)) => {
                return Ok(Searched::Busy);
            }
            Err(error) => return Err(error.into()),
        };
        let result = async {
            let words = match &search.filter.q {
                None => Words::None,
                Some(q) => {
                    let statement = candidates(organization, q);
                    match ask(&client, "", &statement).await? {
                        None => return Ok(Searched::TooSlow),
                        Some(rows) => words_of(&rows),
                    }
                }
            };
            let statement = page(organization, search, words);
            Ok(match ask(&client, "", &statement).await? {
                None => Searched::TooSlow,
                Some(rows) => Searched::Page(paged(search, &rows)),
            })
        }
        .await;
        keep_if_sound(client, result)
    }

    /// The plans of a search as PostgreSQL carried them out
    /// (`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)`), in the order of its statements.
    ///
    /// # Errors
    /// As the connection's; [`StoreError::Timeout`] where the search is too slow.
    pub async fn explain_search(
        &self,
        organization: Option<OrganizationId>,
        search: &TicketSearch,
    ) -> Result<Vec<Value>, StoreError> {
        const EXPLAIN: &str = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ";
        let client = self.search.get().await?;
        let result = async {
            let slow = || StoreError::Timeout(STATEMENT_TIMEOUT);
            let mut plans = Vec::new();
            let mut words = Words::None;
            if let Some(q) = &search.filter.q {
                let statement = candidates(organization, q);
                let rows = ask(&client, EXPLAIN, &statement).await?.ok_or_else(slow)?;
                plans.extend(rows.first().map(|row| row.get::<_, Value>(0)));
                words = words_of(&ask(&client, "", &statement).await?.ok_or_else(slow)?);
            }
            let statement = page(organization, search, words);
            let rows = ask(&client, EXPLAIN, &statement).await?.ok_or_else(slow)?;
            plans.extend(rows.first().map(|row| row.get::<_, Value>(0)));
            Ok(plans)
        }
        .await;
        keep_if_sound(client, result)
    }

    /// One ticket in full, with everything that may be shown of it; `None` where there is none, it
    /// was deleted, or it is another organization's. Texts are cut only where the whole would be
    /// too large for a message; `truncated` names them.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn ticket_in_full(
        &self,
        organization: Option<OrganizationId>,
        id: TicketId,
    ) -> Result<Option<Value>, StoreError> {
        let documents = DOCUMENTS.map(|name| format!("{name}::text")).join(", ");
        let sql = format!(
            "SELECT {SHOWN}, t.description, {texts}, {moments}, {numbers}, {documents} \
             FROM tickets t WHERE t.id = $1 \
             AND NOT t.is_deleted AND ($2::uuid IS NULL OR t.organization_id = $2)",
            texts = TEXTS.join(", "),
            moments = MOMENTS.join(", "),
            numbers = NUMBERS.join(", "),
        );
        let client = self.get().await?;
        let organization = organization.map(OrganizationId::uuid);
        let found = limited(client.query_opt(sql.as_str(), &[&id.uuid(), &organization])).await;
        keep_if_sound(client, found.map(|row| row.as_ref().map(in_full)))
    }
}

/// Texts of a ticket that only the full view has.
const TEXTS: [&str; 14] = [
    "resolution_summary",
    "internal_notes",
    "subcategory",
    "business_impact",
    "customer_segment",
    "estimated_effort",
    "estimated_resolution_time",
    "ai_confidence_score",
    "ai_reasoning",
    "satisfaction_feedback",
    "escalation_reason",
    "source_channel",
    "notes",
    "extra_metadata",
];
const MOMENTS: [&str; 3] = ["first_response_at", "escalated_at", "sla_due_date"];
const NUMBERS: [&str; 3] = [
    "resolution_time_minutes",
    "satisfaction_rating",
    "escalation_level",
];
/// JSON of a ticket that only the full view has.
const DOCUMENTS: [&str; 7] = [
    "integration_result",
    "custom_fields",
    "ai_tags",
    "ai_keywords",
    "ai_similar_patterns",
    "source_details",
    "related_kb_articles",
];

fn in_full(row: &Row) -> Value {
    let mut ticket = shown(row);
    let Value::Object(members) = &mut ticket else {
        return ticket;
    };
    members.remove("description_truncated");
    let mut index = 22;
    let mut next = || {
        index += 1;
        index - 1
    };
    members.insert("description".into(), json!(row.get::<_, String>(next())));
    for name in TEXTS {
        members.insert(name.into(), json!(row.get::<_, Option<String>>(next())));
    }
    for name in MOMENTS {
        members.insert(name.into(), json!(moment(row, next())));
    }
    for name in NUMBERS {
        members.insert(name.into(), json!(row.get::<_, Option<i32>>(next())));
    }
    for name in DOCUMENTS {
        members.insert(name.into(), document(row.get(next())));
    }
    let mut truncated = Vec::new();
    // The description goes last: it is what is asked for.
    let long = DOCUMENTS
        .iter()
        .chain(TEXTS.iter().rev())
        .chain(&["tags", "description"]);
    for name in long {
        if Value::Object(members.clone()).to_string().len() <= TICKET_BYTES_MAX {
            break;
        }
        match members.get_mut(*name) {
            Some(Value::String(text)) if text.len() > TEXT_CUT => {
                *text = text.chars().take(TEXT_CUT).collect();
                truncated.push(*name);
            }
            Some(value) if value.to_string().len() > TEXT_CUT => {
                *value = Value::Null;
                truncated.push(*name);
            }
            Some(_) | None => {}
        }
    }
    if !truncated.is_empty() {
        members.insert("truncated".into(), json!(truncated));
    }
    ticket
}

/// Runs a statement of a search; `None`: the server ended it, as it took too long.
async fn ask(
    client: &Client,
    before: &str,
    statement: &Statement,
) -> Result<Option<Vec<Row>>, StoreError> {
    let limit = STATEMENT_TIMEOUT + Duration::from_secs(1);
    let sql = format!("{before}{}", statement.sql);
    let values = statement.values();
    match Box::pin(tokio::time::timeout(limit, client.query(&sql, &values))).await {
        Err(_) => Err(StoreError::Timeout(limit)),
        Ok(Err(error)) if error.code() == Some(&SqlState::QUERY_CANCELED) => Ok(None),
        Ok(result) => Ok(Some(result?)),
    }
}

fn words_of(rows: &[Row]) -> Words {
    if rows.len() > CANDIDATES_MAX {
        return Words::Common;
    }
    Words::Among(rows.iter().map(|row| row.get(0)).collect())
}

fn paged(search: &TicketSearch, rows: &[Row]) -> TicketPage {
    let limit = usize::try_from(search.limit).unwrap_or(1).max(1);
    let mut tickets = Vec::with_capacity(rows.len().min(limit));
    let mut bytes = 0;
    for row in rows.iter().take(limit) {
        let ticket = shown(row);
        bytes += ticket.to_string().len();
        if bytes > PAGE_BYTES_MAX && !tickets.is_empty() {
            break;
        }
        tickets.push(ticket);
    }
    let more = tickets.len() < rows.len();
    let last = tickets.len().checked_sub(1).and_then(|last| rows.get(last));
    let next_cursor = last.filter(|_| more).map(|row| {
        search.cursor(Position {
            at: row.get(match search.sort {
                TicketSort::CreatedAt => 20,
                TicketSort::UpdatedAt => 21,
            }),
            id: TicketId::new(row.get(0)),
        })
    });
    TicketPage {
        tickets,
        next_cursor,
    }
}
