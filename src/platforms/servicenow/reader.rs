//! What is read back: an incident, what changed, what can be chosen; and the checks of an
//! integration.

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value, json};

use super::rows::{LIFE, One, Rows};
use super::words::{INCIDENT, Row, SYS_ID, is_custom, moment, written};
use super::{CANCELED, ServiceNow, is_sys_id};
use crate::platforms::{
    AdapterError, CallContext, Change, ChangePage, CheckReport, Effect, ErrorClass, ExternalItem,
    ItemRef, Order, PlatformField, Reader, SyncFrom, TestKind,
};

/// Columns of an incident that is read.
const COLUMNS: &str = "sys_id,number,state,impact,urgency,short_description,description,\
                       assigned_to,correlation_id,sys_updated_on";
/// Incidents a page (documented: 10,000 at most; 1,000 is what to stay below).
const PAGE: usize = 200;
/// How far a listing looks back beyond the last row: clocks differ, and transactions end late.
const OVERLAP: Duration = Duration::minutes(1);
/// How far a moment in a query may be read from UTC, where the user has another time zone, or none
/// that is known (unconfirmed whether queries are read in it).
const ZONES: Duration = Duration::hours(14);
/// Names of UTC among ServiceNow's time zones.
const UTC_ZONES: [&str; 3] = ["GMT", "UTC", "Etc/UTC"];
/// Roles that may work on incidents.
const ROLES: [&str; 3] = ["itil", "sn_incident_write", "admin"];
/// What the memory calls our own user.
const MYSELF: &str = "servicenow myself";

/// Our own user, as far as it may be read.
#[derive(Debug, Clone)]
struct Myself(Option<Row>);

impl Myself {
    fn text(&self, column: &str) -> Option<&str> {
        self.0.as_ref()?.says(column)
    }

    /// Whether moments in queries surely mean UTC.
    fn is_in_utc(&self) -> bool {
        let zone = self.text("time_zone");
        zone.is_some_and(|zone| UTC_ZONES.contains(&zone))
    }

    fn details(&self) -> Map<String, Value> {
        let names = [SYS_ID, "user_name", "name", "time_zone"];
        let known = names.iter().filter_map(|name| {
            let text = self.text(name)?;
            Some(((*name).to_owned(), text.into()))
        });
        known.collect()
    }
}

/// Where a page begins: at this moment, behind so many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begin {
    at: DateTime<Utc>,
    offset: usize,
}

impl Begin {
    fn read(text: &str) -> Option<Self> {
        let (at, offset) = text.split_once('|')?;
        Some(Self {
            at: moment(at)?,
            offset: offset.parse().ok()?,
        })
    }

    fn text(self) -> String {
        format!("{}|{}", written(self.at), self.offset)
    }

    /// Where the next page begins. Keyset: at the last moment of this one, so that no row slips
    /// through that changes meanwhile. Within one moment, and where moments are not read as they
    /// are written, behind the rows that were read.
    fn next(self, found: &Rows, is_utc: bool) -> Option<Self> {
        if !found.more {
            return None;
        }
        let moments: Vec<_> = found
            .rows
            .iter()
            .map(|row| row.at("sys_updated_on"))
            .collect();
        let is_sorted = moments.windows(2).all(|pair| pair[0] <= pair[1]);
        let last = moments.last().copied().flatten();
        let further = last.filter(|last| is_utc && is_sorted && *last > self.at);
        Some(match further {
            Some(at) => Self { at, offset: 0 },
            None => Self {
                offset: self.offset + PAGE,
                ..self
            },
        })
    }
}

impl ServiceNow {
    /// Our own user; none where the account may not read `sys_user`.
    async fn read_myself(&self, context: &CallContext<'_>) -> Result<Myself, AdapterError> {
        let query = "sys_id=javascript:gs.getUserID()";
        let columns = "sys_id,user_name,name,active,time_zone";
        let path = ["table", "sys_user"];
        let found = self.rows(context, &path, query, columns, (0, 2)).await?;
        // Two would say that the query was not understood, and all users were listed.
        Ok(Myself(match found.rows.as_slice() {
            [myself] if !found.more => Some(myself.clone()),
            _ => None,
        }))
    }

    /// The same, not older than an hour; unknown where it is refused.
    async fn myself(&self, context: &CallContext<'_>) -> Result<Myself, AdapterError> {
        let load = async {
            match self.read_myself(context).await {
                Err(error) if error.class == ErrorClass::Permission => Ok(Myself(None)),
                read => read,
            }
        };
        let known = context.recall(MYSELF, LIFE, load).await?;
        Ok(known.as_ref().clone())
    }

    /// The columns of an incident, with those that custom fields are mapped to.
    fn columns(&self) -> String {
        let custom = self.fields.names();
        let all: Vec<&str> = std::iter::once(COLUMNS).chain(custom).collect();
        all.join(",")
    }

    /// Whether the account sees any incident. An empty list says nothing.
    async fn sees_incidents(&self, context: &CallContext<'_>) -> Result<bool, AdapterError> {
        let path = ["table", INCIDENT];
        let found = self.rows(context, &path, "", SYS_ID, (0, 1)).await?;
        Ok(!found.rows.is_empty())
    }

    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            // Whether the instance is reached at all; whom it lets in is another question.
            TestKind::Connection => match self.read_myself(context).await {
                Ok(_) => Ok(CheckReport::new("ServiceNow answers", Map::new())),
                Err(error) => match error.class {
                    ErrorClass::Authentication | ErrorClass::Permission => {
                        let text = "ServiceNow answers, but does not let the account in";
                        Ok(CheckReport::new(text, Map::new()))
                    }
                    _ => Err(error),
                },
            },
            TestKind::Authentication => {
                let myself = self.read_myself(context).await?;
                let text = match myself.text("user_name") {
                    Some(name) => format!("logged in as {name}"),
                    None => "logged in; the account may not read its own user".to_owned(),
                };
                Ok(CheckReport::new(&text, myself.details()))
            }
            TestKind::Permissions => self.permitted(context).await,
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    /// Whether the account may do what a worker does, as far as that can be read.
    async fn permitted(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        self.sees_incidents(context).await?;
        self.group(context).await?;
        self.caller(context).await?;
        let myself = self.myself(context).await?;
        let mut details = myself.details();
        let has_choices = !self.choices(context).await?.0.is_empty();
        let close_code = self.lacks_close_code(context).await?;
        for (name, is_so, otherwise) in [
            (
                "choices",
                has_choices,
                "not readable: states, categories and codes are sent as they are configured",
            ),
            (
                "sync",
                myself.is_in_utc(),
                "slow: give the integration's user the time zone GMT, so that moments in \
                 queries mean UTC",
            ),
        ] {
            let said = if is_so { "as it should be" } else { otherwise };
            details.insert(name.into(), said.into());
        }
        let said = close_code.as_deref().unwrap_or("as it should be");
        details.insert("close_code".into(), said.into());
        let report = |text: &str, details: Map<String, Value>| match &close_code {
            Some(fault) => CheckReport::new(&format!("{text}; but {fault}"), details),
            None => CheckReport::new(text, details),
        };
        let query = format!(
            "user=javascript:gs.getUserID()^role.nameIN{}",
            ROLES.join(",")
        );
        let path = ["table", "sys_user_has_role"];
        let roles = self.rows(context, &path, &query, "role.name", (0, 10));
        let known = match roles.await {
            Err(error) if error.class == ErrorClass::Permission => None,
            // What is hidden may be the role.
            Ok(found) if found.hidden > 0 => None,
            found => Some(found?.rows),
        };
        let Some(rows) = known else {
            let text = "incidents can be read; which roles the account has is unknown, \
                        as it may not read them";
            details.insert("roles".into(), "unknown".into());
            return Ok(report(text, details));
        };
        let roles = rows.iter().filter_map(|row| row.says("role.name"));
        let roles: Vec<&str> = roles.filter(|role| ROLES.contains(role)).collect();
        if roles.is_empty() {
            let text = "the account has none of the roles itil, sn_incident_write and admin, \
                        one of which lets it write \
                        incidents";
            return Err(AdapterError::new(ErrorClass::Permission, text));
        }
        details.insert("roles".into(), json!(roles));
        Ok(report("the account may read and write incidents", details))
    }

    /// Why no status can resolve or close an incident, where that is so: the instance has several
    /// resolution codes and none is chosen, or one that it lacks.
    async fn lacks_close_code(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Option<String>, AdapterError> {
        match self.find_close_code(context).await {
            Ok(_) => Ok(None),
            Err(error) if matches!(error.class, ErrorClass::Validation { .. }) => Ok(Some(
                format!("no status resolves or closes an incident: {}", error.public),
            )),
            Err(error) => Err(error),
        }
    }

    /// Makes an incident that says of itself that it is a test, and removes it, or cancels it where
    /// the account may not delete.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let mark = format!("ticketwire-test-{}", uuid::Uuid::now_v7());
        let own = self.myself(context).await?;
        let own = own.text(SYS_ID).map(str::to_owned);
        let mut incident = json!({
            "short_description": "Ticketwire connection test: may be deleted",
            "correlation_id": mark,
            "description": "Made by integration.test. It may be deleted.", "impact": "3",
            "urgency": "3",
        });
        for (column, id) in [
            ("caller_id", self.caller(context).await?.or(own)),
            ("assignment_group", self.group(context).await?),
        ] {
            if let Some(id) = id {
                incident[column] = id.into();
            }
        }
        let columns = [("sysparm_fields", "sys_id,number,correlation_id")];
        let request = self.api.make(Method::POST, &["table", INCIDENT])?;
        let request = request.query(columns).json(&incident);
        let made: One = self
            .api
            .ask(context, request, "creating the test incident")
            .await?;
        let row = made.result;
        let item = row.item().ok_or_else(|| {
            let text = "ServiceNow made a test incident and does not show its sys_id to the \
                        account, which every change needs";
            AdapterError::new(ErrorClass::Permission, text)
        })?;
        let name = item.external_id.clone();
        let removed = self.remove(context, item.address()).await;
        let left = match removed {
            Ok(how) => format!("created the test incident {name} and {how}"),
            Err(error) => format!(
                "created the test incident {name}, which stays: {}",
                error.public
            ),
        };
        if row.text("correlation_id") != Some(mark.as_str()) {
            let text = format!(
                "{left}; ServiceNow did not keep its correlation_id, by which a lost incident is \
                 found again: let the \
                 account read and write this field"
            );
            return Err(AdapterError::new(ErrorClass::Permission, text));
        }
        let details = Map::from_iter([
            ("correlation_id".to_owned(), Value::from(mark)),
            ("incident".to_owned(), Value::from(name)),
        ]);
        Ok(CheckReport::new(&left, details))
    }

    /// What became of a test incident.
    async fn remove(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<&'static str, AdapterError> {
        let path = ["table", INCIDENT, id];
        let request = self.api.set(Method::DELETE, &path)?;
        let json = HeaderValue::from_static("application/json");
        let request = request.header(CONTENT_TYPE, json);
        let what = "removing the test incident";
        match self.api.tell(context, request, what).await {
            Ok(_) => return Ok("removed it"),
            Err(error) if error.class == ErrorClass::Permission => {}
            Err(error) => return Err(error),
        }
        let cancelled = self.cancelled.as_deref().unwrap_or(CANCELED);
        let request = self.api.set(Method::PATCH, &path)?;
        let columns = [("sysparm_fields", "sys_id,state")];
        let request = request.query(columns).json(&json!({ "state": cancelled }));
        let what = "cancelling the test incident";
        let row = self.api.ask::<One>(context, request, what).await?.result;
        if row.text("state") == Some(cancelled) {
            return Ok("cancelled it; it stays there, as the account may not delete it");
        }
        let text = "the account may neither delete nor cancel it";
        Err(AdapterError::new(ErrorClass::Permission, text))
    }
}

#[async_trait]
impl Reader for ServiceNow {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let columns = self.columns();
        let id = item.address();
        if !is_sys_id(id) {
            // By its number; an id of another kind is nobody's.
            if item.stable_id.is_some() {
                return Ok(None);
            }
            let row = self.numbered(context, id, &columns).await?;
            return Ok(row.and_then(|row| self.item_of(&row)));
        }
        let request = self.api.get(&["table", INCIDENT, id])?.query([
            ("sysparm_fields", columns.as_str()),
            ("sysparm_exclude_reference_link", "true"),
        ]);
        let answer = context.send(request).await?;
        // It is said too of what an ACL hides: an account that sees other incidents is believed.
        if answer.status == 404 && self.sees_incidents(context).await? {
            return Ok(None);
        }
        let what = "reading the incident";
        let found: One = self.api.take(&answer, Effect::Read, what)?;
        let item = self.item_of(&found.result).ok_or_else(|| {
            let text = "ServiceNow shows the incident without its sys_id: an ACL hides it from \
                        the account";
            AdapterError::new(ErrorClass::Permission, text)
        });
        item.map(Some)
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let is_utc = self.myself(context).await?.is_in_utc();
        let begin = match from.page {
            Some(page) => Begin::read(page).ok_or_else(|| {
                let text = "a page of a sync is asked for that no page before it named";
                AdapterError::new(ErrorClass::Internal, text)
            })?,
            None => {
                let since = from.mark.and_then(moment).or(from.since);
                let overlap = if is_utc { OVERLAP } else { ZONES };
                let at = since.map(|since| since - overlap);
                Begin {
                    at: at.unwrap_or(DateTime::UNIX_EPOCH),
                    offset: 0,
                }
            }
        };
        let query = format!(
            "sys_updated_on>={}^ORDERBYsys_updated_on^ORDERBYsys_id",
            written(begin.at)
        );
        let path = ["table", INCIDENT];
        let part = (begin.offset, PAGE);
        let found = self
            .rows(context, &path, &query, &self.columns(), part)
            .await?;
        // The condition may not have been understood.
        let is_asked_for = |row: &&Row| row.at("sys_updated_on").is_none_or(|at| at >= begin.at);
        let asked_for: Vec<&Row> = found.rows.iter().filter(is_asked_for).collect();
        let items: Vec<_> = asked_for
            .iter()
            .filter_map(|row| self.item_of(row))
            .collect();
        let last = found.rows.iter().filter_map(|row| row.at("sys_updated_on"));
        let mark = last.max().map(written);
        Ok(ChangePage {
            unreadable: asked_for.len() - items.len(),
            changes: items.into_iter().map(Change::seen).collect(),
            next: begin.next(&found, is_utc).map(Begin::text),
            mark: mark.or_else(|| from.mark.map(str::to_owned)),
            order: Order::Oldest,
        })
    }

    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let known = ServiceNow::choices(self, context).await?;
        let field = |id: &str, name: &str, kind: &str, values: Vec<String>| PlatformField {
            id: id.to_owned(),
            name: name.to_owned(),
            kind: Some(kind.to_owned()),
            custom: id.starts_with("u_") || id.starts_with("x_"),
            required: false,
            allowed_values: values,
        };
        let elements = [
            ("state", "State"),
            ("close_code", "Resolution code"),
            ("hold_reason", "On hold reason"),
            ("category", "Category"),
        ];
        let mut fields: Vec<PlatformField> = elements
            .iter()
            .map(|(id, name)| field(id, name, "choice", known.named(id)))
            .collect();
        let path = ["table", "sys_user_group"];
        let groups = self.readable(context, &path, "active=true", "sys_id,name,active");
        let groups = groups.await?.into_iter();
        let groups = groups.filter(|row| row.text("active") == Some("true"));
        let names = groups.filter_map(|row| row.says("name").map(str::to_owned));
        let id = "assignment_group";
        fields.push(field(id, "Assignment group", "reference", names.collect()));
        // The dictionary of columns, from general knowledge (unconfirmed); few accounts may read
        // it.
        let path = ["table", "sys_dictionary"];
        let query = "name=incident^active=true^elementSTARTSWITHu_^ORelementSTARTSWITHx_";
        let columns = "name,element,column_label,internal_type,mandatory,active";
        for row in self.readable(context, &path, query, columns).await? {
            let id = row.says("element").unwrap_or_default();
            if row.text("name") != Some(INCIDENT) || !is_custom(id) {
                continue;
            }
            let label = row.says("column_label").unwrap_or(id);
            let kind = row.says("internal_type").unwrap_or("string");
            fields.push(PlatformField {
                required: row.text("mandatory") == Some("true"),
                ..field(id, label, kind, Vec::new())
            });
        }
        if let Some(wanted) = search.map(str::to_lowercase) {
            fields.retain(|field| {
                field.id.contains(&wanted) || field.name.to_lowercase().contains(&wanted)
            });
        }
        Ok(fields)
    }
}

impl ServiceNow {
    /// Rows of a table, as far as the account may read it.
    async fn readable(
        &self,
        context: &CallContext<'_>,
        path: &[&str],
        query: &str,
        columns: &str,
    ) -> Result<Vec<Row>, AdapterError> {
        match self.all_rows(context, path, query, columns).await {
            Err(error) if error.class == ErrorClass::Permission => Ok(Vec::new()),
            found => Ok(found?.rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(moments: &[&str], more: bool) -> Rows {
        let row = |at: &&str| {
            Row(Map::from_iter([(
                "sys_updated_on".to_owned(),
                Value::from(*at),
            )]))
        };
        Rows {
            rows: moments.iter().map(row).collect(),
            more,
            hidden: 0,
        }
    }

    #[test]
    fn the_next_page_begins_at_the_last_moment_and_within_one_behind_what_was_read() {
        let begin = Begin::read("2026-01-02 03:04:05|0").unwrap();
        let next = |found: &Rows, is_utc| begin.next(found, is_utc).map(Begin::text);
        let (same, later) = ("2026-01-02 03:04:05", "2026-01-02 03:09:00");
        let behind = Some("2026-01-02 03:04:05|200".to_owned());

        let page = rows(&[same, later], true);
        assert_eq!(next(&page, true).as_deref(), Some("2026-01-02 03:09:00|0"));
        // In another time zone the moment would mean another one.
        assert_eq!(next(&page, false), behind);
        assert_eq!(next(&rows(&[same, same], true), true), behind);
        // An order that was not understood, a page whose rows are all hidden.
        assert_eq!(next(&rows(&[later, same, later], true), true), behind);
        assert_eq!(next(&rows(&[], true), true), behind);
        assert_eq!(next(&rows(&[later], false), true), None);
        for text in ["2026-01-02 03:04:05", "|0", "2026-01-02T03:04:05Z|0", "x|y"] {
            assert_eq!(Begin::read(text), None, "{text}");
        }
    }
}
