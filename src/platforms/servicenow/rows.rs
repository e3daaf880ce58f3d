//! Rows of the instance's tables: choices, people, groups, and what is looked for again.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::words::{self, Choice, Choices, INCIDENT, Row, SYS_ID, no_proof};
use super::{ServiceNow, is_sys_id};
use crate::domain::{TicketView, UserRef};
use crate::platforms::api::next_link;
use crate::platforms::text::Marker;
use crate::platforms::{AdapterError, CallContext, DedupKey, Effect, ErrorClass, File, Receipt};

/// What the memory calls the instance's own things, and how long they are good.
pub(super) const CHOICES: &str = "servicenow choices";
pub(super) const GROUP: &str = "settings.assignment_group";
pub(super) const CALLER: &str = "settings.caller_id";
pub(super) const LIFE: Duration = Duration::from_secs(3_600);
/// Tables of what has a name, and the column with it.
const USER: (&str, &str) = ("sys_user", "email");
const GROUPS: (&str, &str) = ("sys_user_group", "name");
/// Rows of a page of a look-up, and pages of it.
const ROWS: usize = 100;
const PAGES_MAX: usize = 50;
/// Bytes of a page.
const PAGE_BYTES: usize = 16 << 20;

/// The answer with one row.
#[derive(Deserialize)]
pub(super) struct One {
    pub(super) result: Row,
}

/// A page of rows.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// Whether there are more behind it. A page may be short, as an ACL hides rows after the limit.
    pub(super) more: bool,
    /// Rows on this page that an ACL hides, where that is told.
    pub(super) hidden: usize,
}

/// The incident's id, where it is remembered.
pub(super) fn sys_id_of(ticket: &TicketView) -> Option<&str> {
    let id = ticket.external_ref.get(SYS_ID).and_then(Value::as_str);
    id.or(ticket.external_id.as_deref())
        .filter(|id| is_sys_id(id))
}

/// The ticket has no item there.
pub(super) fn no_incident() -> AdapterError {
    let text = "the ticket has no incident at ServiceNow, or its number is not found";
    AdapterError::new(ErrorClass::NotFound, text)
}

impl ServiceNow {
    /// A page of what a query finds. The rows are to be checked again: ServiceNow ignores the parts
    /// of a query that it does not understand.
    pub(super) async fn rows(
        &self,
        context: &CallContext<'_>,
        path: &[&str],
        query: &str,
        columns: &str,
        (offset, limit): (usize, usize),
    ) -> Result<Rows, AdapterError> {
        #[derive(Deserialize)]
        struct Answer {
            result: Vec<Row>,
        }
        let request = self.api.get(path)?.up_to(PAGE_BYTES).query([
            ("sysparm_query", query),
            ("sysparm_fields", columns),
            ("sysparm_limit", &limit.to_string()),
            ("sysparm_offset", &offset.to_string()),
            ("sysparm_exclude_reference_link", "true"),
        ]);
        let what = format!("reading {}", path.last().unwrap_or(&"rows"));
        let answer = context.send(request).await?;
        let page: Answer = self.api.take(&answer, Effect::Read, &what)?;
        let total = answer.header("x-total-count");
        let total: Option<usize> = total.and_then(|text| text.trim().parse().ok());
        let left = total.map(|total| total.saturating_sub(offset));
        Ok(Rows {
            more: next_link(&answer).is_some() || left.is_some_and(|left| left > limit),
            hidden: left.map_or(0, |left| left.min(limit).saturating_sub(page.result.len())),
            rows: page.result,
        })
    }

    /// All rows that a query finds, of several pages too.
    pub(super) async fn all_rows(
        &self,
        context: &CallContext<'_>,
        path: &[&str],
        query: &str,
        columns: &str,
    ) -> Result<Rows, AdapterError> {
        let (mut rows, mut hidden) = (Vec::new(), 0);
        for page in 0..PAGES_MAX {
            let part = (page * ROWS, ROWS);
            let found = self.rows(context, path, query, columns, part).await?;
            rows.extend(found.rows);
            hidden += found.hidden;
            if !found.more {
                let more = false;
                return Ok(Rows { rows, more, hidden });
            }
        }
        let text = format!("there are more than {} rows of {path:?}", PAGES_MAX * ROWS);
        Err(AdapterError::unsupported(text))
    }

    /// The incident with this number.
    pub(super) async fn numbered(
        &self,
        context: &CallContext<'_>,
        number: &str,
        columns: &str,
    ) -> Result<Option<Row>, AdapterError> {
        let Some(number) = words::literal(number) else {
            return Ok(None);
        };
        let path = ["table", INCIDENT];
        let query = format!("number={number}");
        let found = self.rows(context, &path, &query, columns, (0, 1)).await?;
        let is_it = |row: &Row| row.text("number") == Some(number);
        Ok(found.rows.into_iter().find(is_it))
    }

    /// The incident's id. A ticket that an older application bound has its number alone.
    pub(super) async fn place(
        &self,
        context: &CallContext<'_>,
        ticket: &TicketView,
    ) -> Result<String, AdapterError> {
        if let Some(id) = sys_id_of(ticket) {
            return Ok(id.to_owned());
        }
        let number = ticket.external_id.as_deref().unwrap_or_default();
        let found = self.numbered(context, number, "sys_id,number").await?;
        let id = found.and_then(|row| row.says(SYS_ID).map(str::to_owned));
        id.ok_or_else(no_incident)
    }

    /// The choices of an incident, not older than an hour. They are none where the account may not
    /// read them: what is configured is then sent as it is.
    pub(super) async fn choices(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Choices>, AdapterError> {
        let load = async {
            // `state` may be defined for all tasks.
            let query = "nameINincident,task^elementINstate,close_code,hold_reason,category\
                         ^inactive=false^language=en";
            let columns = "name,element,inactive,language,value,label";
            let found = self.all_rows(context, &["table", "sys_choice"], query, columns);
            let rows = match found.await {
                Err(error) if error.class == ErrorClass::Permission => Vec::new(),
                // A part of the choices would make a choice that is there look wrong.
                Ok(found) if found.hidden > 0 => Vec::new(),
                found => found?.rows,
            };
            let read = |row: &Row| {
                let name = row.says("name")?;
                let is_one = matches!(name, "incident" | "task")
                    && row.text("inactive") == Some("false")
                    && row.text("language") == Some("en");
                let value = row.says("value")?.to_owned();
                is_one.then(|| Choice {
                    element: row.says("element").unwrap_or_default().to_owned(),
                    label: row.says("label").unwrap_or(&value).to_owned(),
                    own: name == INCIDENT,
                    value,
                })
            };
            Ok(Choices(rows.iter().filter_map(read).collect()))
        };
        context.recall(CHOICES, LIFE, load).await
    }

    /// The value of a choice that a setting names by value or label.
    pub(super) async fn chosen(
        &self,
        context: &CallContext<'_>,
        element: &str,
        word: &str,
        setting: &str,
    ) -> Result<String, AdapterError> {
        if let Some(value) = self.choices(context).await?.value(element, word) {
            return Ok(value);
        }
        // It may be new.
        context.forget(CHOICES);
        let choices = self.choices(context).await?;
        choices.value(element, word).ok_or_else(|| {
            let known = choices.named(element).join(", ");
            let fault = format!("is {word:?}, which is no {element} of the instance: {known}");
            AdapterError::field(setting, fault)
        })
    }

    /// The one active row of a table that is called so: a user by the address, a group by the name.
    pub(super) async fn named(
        &self,
        context: &CallContext<'_>,
        (table, column): (&str, &str),
        name: &str,
    ) -> Result<Option<String>, AdapterError> {
        let Some(name) = words::literal(name) else {
            return Ok(None);
        };
        let query = format!("{column}={name}^active=true");
        let columns = format!("sys_id,{column},active");
        let path = ["table", table];
        let found = self.rows(context, &path, &query, &columns, (0, 10)).await?;
        let is_it = |row: &&Row| {
            let own = row.says(column).map(str::to_lowercase);
            own == Some(name.to_lowercase()) && row.text("active") == Some("true")
        };
        let rows: Vec<&Row> = found.rows.iter().filter(is_it).collect();
        match rows[..] {
            [row] => Ok(row.says(SYS_ID).map(str::to_owned)),
            // Of several it is not known which.
            _ => Ok(None),
        }
    }

    /// Somebody's account.
    pub(super) async fn account_of(
        &self,
        context: &CallContext<'_>,
        person: &UserRef,
    ) -> Result<Option<String>, AdapterError> {
        let search = async |email: String| self.named(context, USER, &email).await;
        let found = self.users.find(context, person, search).await?;
        match found {
            Some(id) if !is_sys_id(&id) => {
                let fault = format!("names {id:?}, which is no sys_id: 32 hexadecimal digits");
                Err(AdapterError::field("settings.users", fault))
            }
            found => Ok(found),
        }
    }

    /// What a setting names, by its sys_id or in other words.
    pub(super) async fn fixed(
        &self,
        context: &CallContext<'_>,
        given: Option<&String>,
        kind: (&'static str, &'static str),
        setting: &'static str,
    ) -> Result<Option<String>, AdapterError> {
        let Some(given) = given else {
            return Ok(None);
        };
        if is_sys_id(given) {
            return Ok(Some(given.clone()));
        }
        let search = self.named(context, kind, given);
        let found = context.recall(setting, LIFE, search).await?;
        let found = found.as_ref().clone().ok_or_else(|| {
            let (table, column) = kind;
            let fault = format!("is neither a sys_id nor the {column} of one active {table}");
            AdapterError::field(setting, fault)
        });
        found.map(Some)
    }

    /// The caller that the settings name.
    pub(super) async fn caller(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Option<String>, AdapterError> {
        self.fixed(context, self.caller.as_ref(), USER, CALLER)
            .await
    }

    /// The group that the settings name.
    pub(super) async fn group(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Option<String>, AdapterError> {
        self.fixed(context, self.group.as_ref(), GROUPS, GROUP)
            .await
    }
}

// What is looked for again.
impl ServiceNow {
    /// The incident with our correlation id; of several the oldest, and the others are said.
    pub(super) async fn find_incident(
        &self,
        context: &CallContext<'_>,
        marker: &str,
    ) -> Result<Option<Receipt>, AdapterError> {
        let query = format!("correlation_id={marker}^ORDERBYsys_created_on");
        let columns = "sys_id,number,correlation_id,sys_created_on,sys_updated_on";
        let path = ["table", INCIDENT];
        let found = self.rows(context, &path, &query, columns, (0, 2)).await?;
        let is_ours = |row: &&Row| row.text("correlation_id") == Some(marker);
        let ours: Vec<&Row> = found.rows.iter().filter(is_ours).collect();
        let Some((first, others)) = ours.split_first() else {
            return match (found.rows.is_empty(), found.hidden) {
                (true, 0) => Ok(None),
                (true, _) => Err(no_proof("finds an incident that the account may not see")),
                (false, _) => Err(no_proof(
                    "lists incidents of other correlation ids than was asked for",
                )),
            };
        };
        let sys_id = first.says(SYS_ID);
        let sys_id = sys_id.ok_or_else(|| no_proof("lists the incident without its sys_id"))?;
        let mut receipt = self.bound(first, sys_id);
        let named = |row: &&Row| row.item().map(|item| item.external_id);
        let others: Vec<String> = others.iter().filter_map(named).collect();
        if !others.is_empty() {
            receipt.details.insert("duplicates".into(), json!(others));
        }
        Ok(Some(receipt))
    }

    /// The first row of a query that is wanted. That there is none is proved only where every row
    /// is shown, and shown to be of what was asked for.
    pub(super) async fn find_row(
        &self,
        context: &CallContext<'_>,
        path: &[&str],
        query: &str,
        columns: &str,
        is_wanted: impl Fn(&Row) -> bool,
        is_asked_for: impl Fn(&Row) -> bool,
    ) -> Result<Option<Row>, AdapterError> {
        let what = path.last().unwrap_or(&"the table");
        for page in 0..PAGES_MAX {
            let part = (page * ROWS, ROWS);
            let found = self.rows(context, path, query, columns, part).await?;
            let mut rows = found.rows;
            if let Some(at) = rows.iter().position(&is_wanted) {
                return Ok(Some(rows.swap_remove(at)));
            }
            if found.hidden > 0 {
                return Err(no_proof(&format!("hides rows of {what} from the account")));
            }
            if !rows.iter().all(&is_asked_for) {
                let why =
                    format!("lists other rows of {what} than was asked for, or only parts of them");
                return Err(no_proof(&why));
            }
            if !found.more {
                return Ok(None);
            }
        }
        Err(no_proof(&format!(
            "has more rows of {what} than are looked through"
        )))
    }

    /// The journal entry that a command made. Its marker is proof enough of that: who
    /// wrote the entry need not be readable.
    pub(super) async fn find_entry(
        &self,
        context: &CallContext<'_>,
        id: &str,
        key: &DedupKey<'_>,
    ) -> Result<Option<Row>, AdapterError> {
        let query =
            format!("element_id={id}^elementINcomments,work_notes^ORDERBYDESCsys_created_on");
        // Names of columns from general knowledge (unconfirmed).
        let columns = "sys_id,element_id,element,value,sys_created_on";
        let path = ["table", "sys_journal_field"];
        let is_ours = |row: &Row| row.text("value").and_then(Marker::find) == Some(key.marker);
        let is_of_it =
            |row: &Row| row.text("value").is_some() && row.text("element_id") == Some(id);
        self.find_row(context, &path, &query, columns, is_ours, is_of_it)
            .await
    }

    /// The file that a command attached: by name and size, as there is nothing else of ours on it.
    pub(super) async fn find_file(
        &self,
        context: &CallContext<'_>,
        id: &str,
        file: &File,
        key: &DedupKey<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        // A file of that name may have been there before; clocks differ.
        let since = key.received_at - chrono::Duration::minutes(5);
        // A name may have signs in it that no query can hold.
        let query = format!("table_name={INCIDENT}^table_sys_id={id}^ORDERBYDESCsys_created_on");
        let columns = "sys_id,table_sys_id,file_name,size_bytes,sys_created_on";
        let is_of_it = |row: &Row| row.text("table_sys_id") == Some(id);
        let is_it = |row: &Row| {
            let size = row.says("size_bytes").and_then(|size| size.parse().ok());
            is_of_it(row)
                && row.text("file_name") == Some(&file.name)
                && size == Some(file.size)
                && row.at("sys_created_on").is_none_or(|at| at >= since)
        };
        let path = ["attachment"];
        let found = self.find_row(context, &path, &query, columns, is_it, is_of_it);
        Ok(found.await?.map(|row| Receipt {
            external_attachment_id: row.says(SYS_ID).map(str::to_owned),
            ..Receipt::default()
        }))
    }
}
