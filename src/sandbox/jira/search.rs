//! Search: the part of JQL that the sheet uses, over an index that lags.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::call::Call;
use super::super::kit::Hit;
use super::super::kit::paging::{cursor, page, start_of};
use super::super::kit::shelf::indexed_until;
use super::read::{self, Selection};
use super::settings::Lie;
use super::store::Filed;
use super::{Jira, bad_json, error, fields};

/// Longest page with fields, and of ids alone.
const PAGE_MAX: usize = 100;
const ID_PAGE_MAX: usize = 5_000;
/// Most ORDER BY fields (sheet §2).
const ORDER_MAX: usize = 7;

impl Jira {
    /// Cloud's.
    pub(super) fn search_by_token(&self, hit: &Hit<'_>) -> Answer {
        if self.version(hit.call).is_cloud {
            return self.search(hit);
        }
        error(
            404,
            &format!("null for uri: {}{}", hit.call.base, hit.call.path),
        )
    }

    /// Data Center's. Of Cloud it is removed (CHANGE-2046; the status is unconfirmed).
    pub(super) fn search_by_number(&self, hit: &Hit<'_>) -> Answer {
        if self.version(hit.call).is_cloud {
            let text = "The requested API has been removed. Please migrate to the \
                        /rest/api/3/search/jql API.";
            return error(410, text);
        }
        self.search(hit)
    }

    fn search(&self, hit: &Hit<'_>) -> Answer {
        let (call, version) = (hit.call, self.version(hit.call));
        let now = hit.now;
        let asked = (call.method == "GET").then(|| asked_by_query(call));
        let Some(body) = asked
            .as_ref()
            .or(call.json.as_ref())
            .filter(|body| body.is_object())
        else {
            return bad_json(call);
        };
        let jql = body.get("jql").and_then(Value::as_str).unwrap_or_default();
        let query = match Query::parse(jql, now) {
            Ok(query) => query,
            Err(why) => return error(400, &why),
        };
        if version.is_cloud && query.terms.is_empty() {
            return error(
                400,
                "Unbounded JQL queries are not allowed here. Please add a search restriction to \
                 your query.",
            );
        }
        let absent = |id: &&str| self.store.find(id).is_none();
        if query.issues().any(|id| absent(&id)) {
            return error(
                400,
                "Issue does not exist or you do not have permission to see it.",
            );
        }
        let indexed = indexed_until(self.common.settings.search_lag_ms, now);
        let found = |issue: &&Filed| issue.created <= indexed && query.matches(issue);
        let mut issues: Vec<&Filed> = match query.label() {
            Some(label) => self.store.shelf.tagged(label).filter(found).collect(),
            None => self.store.shelf.all().filter(found).collect(),
        };
        query.sort(&mut issues);
        if version.is_cloud {
            self.page_by_token(call, body, jql, &issues)
        } else {
            self.page_by_number(call, body, &issues)
        }
    }

    fn page_by_token(&self, call: &Call, body: &Value, jql: &str, issues: &[&Filed]) -> Answer {
        let version = self.version(call);
        let selection = selection(body, "id");
        let start = match body.get("nextPageToken").filter(|token| !token.is_null()) {
            None => 0,
            Some(token) => match token.as_str().and_then(|token| start_of(token, jql)) {
                Some(offset) => offset,
                None => return error(400, "The provided next page token is invalid or expired."),
            },
        };
        let most = if selection.is_id_only() {
            ID_PAGE_MAX
        } else {
            PAGE_MAX
        };
        let limit = number(body, "maxResults", 50).clamp(1, most);
        let lie = self.common.settings.search_lies;
        let (shown_from, limit) = match lie {
            None | Some(Lie::Circle) => (start, limit),
            Some(Lie::Same) => (0, limit),
            Some(Lie::Stale) => (start % 2 * limit, limit),
            Some(Lie::Empty) => (0, 0),
        };
        let part = page(issues.iter().copied(), shown_from, limit);
        let next = match lie {
            None => part.next(),
            Some(Lie::Circle) => Some(part.next().unwrap_or(0)),
            Some(Lie::Same | Lie::Stale | Lie::Empty) => Some(start + 1),
        };
        let shown: Vec<_> = part
            .items
            .iter()
            .map(|issue| {
                if selection.is_id_only() {
                    json!({"id": issue.id})
                } else {
                    let settings = &self.common.settings;
                    read::render(issue, version, &call.base, settings, &selection)
                }
            })
            .collect();
        let mut body = json!({"issues": shown, "isLast": next.is_none()});
        if let Some(next) = next {
            body["nextPageToken"] = cursor(next, jql).into();
        }
        Answer::json(200, body)
    }

    fn page_by_number(&self, call: &Call, body: &Value, issues: &[&Filed]) -> Answer {
        let version = self.version(call);
        let selection = selection(body, "*navigable");
        let start = number(body, "startAt", 0);
        let limit = number(body, "maxResults", 50).min(1_000);
        let settings = &self.common.settings;
        let shown: Vec<_> = page(issues.iter().copied(), start, limit)
            .items
            .into_iter()
            .map(|issue| read::render(issue, version, &call.base, settings, &selection))
            .collect();
        Answer::json(
            200,
            json!({"startAt": start, "maxResults": limit, "total": issues.len(), "issues": shown}),
        )
    }
}

/// What a search asks for by its query, as its body would say it.
fn asked_by_query(call: &Call) -> Value {
    let lists = call.query.iter().filter(|(name, _)| name == "fields");
    let fields = lists.flat_map(|(_, list)| list.split(',')).map(str::trim);
    let fields: Vec<&str> = fields.filter(|name| !name.is_empty()).collect();
    let mut body = json!({
        "jql": call.param("jql"), "nextPageToken": call.param("nextPageToken"),
        "startAt": call.number("startAt", 0), "maxResults": call.number("maxResults", 50),
    });
    if !fields.is_empty() {
        body["fields"] = json!(fields);
    }
    body
}

fn selection(body: &Value, default: &str) -> Selection {
    match body.get("fields").and_then(Value::as_array) {
        Some(names) => Selection::of(names.iter().filter_map(Value::as_str)),
        None => Selection::of_list(default),
    }
}

fn number(body: &Value, name: &str, default: usize) -> usize {
    let given = body.get(name).and_then(Value::as_u64);
    given
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(default)
}

/// A parsed query: terms joined by AND, and an order.
struct Query {
    terms: Vec<Term>,
    order: Vec<(Field, bool)>,
}

/// One condition.
enum Term {
    /// A text field is one of these.
    OneOf(Field, Vec<String>),
    /// A date field compares so to this moment.
    Date(Field, Comparison, DateTime<Utc>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Project,
    Labels,
    Key,
    Id,
    Status,
    StatusCategory,
    Created,
    Updated,
}

#[derive(Clone, Copy)]
enum Comparison {
    AtLeast,
    MoreThan,
    AtMost,
    LessThan,
}

impl Field {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "project" => Self::Project,
            "labels" => Self::Labels,
            "key" | "issuekey" | "issue" => Self::Key,
            "id" => Self::Id,
            "status" => Self::Status,
            "statuscategory" => Self::StatusCategory,
            "created" | "createddate" => Self::Created,
            "updated" | "updateddate" => Self::Updated,
            _ => {
                return Err(format!(
                    "Field '{name}' does not exist or you do not have permission to view it."
                ));
            }
        })
    }

    const fn is_date(self) -> bool {
        matches!(self, Self::Created | Self::Updated)
    }
}

impl Query {
    fn parse(jql: &str, now: DateTime<Utc>) -> Result<Self, String> {
        let mut parser = Parser {
            tokens: tokens(jql)?,
            at: 0,
        };
        let mut terms = Vec::new();
        while !parser.is_at_end() && !parser.is_word("order") {
            if !terms.is_empty() && !parser.take_word("and") {
                return Err(parser.unexpected("'AND' (the sandbox knows no other connective)"));
            }
            terms.push(parser.term(now)?);
        }
        let order = parser.order()?;
        Ok(Self { terms, order })
    }

    /// A label that every match must have, to start from.
    fn label(&self) -> Option<&str> {
        self.terms.iter().find_map(|term| match term {
            Term::OneOf(Field::Labels, values) if values.len() == 1 => {
                values.first().map(String::as_str)
            }
            _ => None,
        })
    }

    /// The issues it names: one that is not there makes the whole query invalid.
    fn issues(&self) -> impl Iterator<Item = &str> {
        let named = |term: &'_ Term| matches!(term, Term::OneOf(Field::Id | Field::Key, _));
        self.terms
            .iter()
            .filter(move |term| named(term))
            .flat_map(|term| match term {
                Term::OneOf(_, values) => values.as_slice(),
                Term::Date(..) => &[],
            })
            .map(String::as_str)
    }

    fn matches(&self, issue: &Filed) -> bool {
        self.terms.iter().all(|term| term.matches(issue))
    }

    /// Without an order, newest first, as Jira does.
    fn sort(&self, issues: &mut [&Filed]) {
        issues.sort_by(|a, b| {
            for (field, descending) in &self.order {
                let order = match field {
                    Field::Created => a.created.cmp(&b.created),
                    Field::Updated => a.updated.cmp(&b.updated),
                    Field::Key | Field::Id => a.number.cmp(&b.number),
                    Field::Project => a.project.cmp(&b.project),
                    Field::Status | Field::StatusCategory | Field::Labels => Ordering::Equal,
                };
                let order = if *descending { order.reverse() } else { order };
                if order != Ordering::Equal {
                    return order;
                }
            }
            b.number.cmp(&a.number)
        });
    }
}

impl Term {
    fn matches(&self, issue: &Filed) -> bool {
        match self {
            Self::Date(field, comparison, moment) => {
                let own = if *field == Field::Created {
                    issue.created
                } else {
                    issue.updated
                };
                match comparison {
                    Comparison::AtLeast => own >= *moment,
                    Comparison::MoreThan => own > *moment,
                    Comparison::AtMost => own <= *moment,
                    Comparison::LessThan => own < *moment,
                }
            }
            Self::OneOf(field, values) => values.iter().any(|value| match field {
                Field::Project => issue.project.eq_ignore_ascii_case(value),
                Field::Labels => issue.labels.contains(value),
                Field::Key => issue.key.eq_ignore_ascii_case(value) || issue.id == *value,
                Field::Id => issue.id == *value,
                Field::Status => issue.status.name().eq_ignore_ascii_case(value),
                Field::StatusCategory => issue.status.category().eq_ignore_ascii_case(value),
                Field::Created | Field::Updated => false,
            }),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

fn tokens(jql: &str) -> Result<Vec<Token>, String> {
    const SIGNS: &[&str] = &[">=", "<=", "!=", "=", ">", "<", "(", ")", ","];
    let mut found = Vec::new();
    let mut rest = jql.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first == '"' || first == '\'' {
            let mut text = String::new();
            let mut escaped = false;
            let mut end = None;
            for (at, c) in rest.char_indices().skip(1) {
                match c {
                    _ if escaped => {
                        text.push(c);
                        escaped = false;
                    }
                    '\\' => escaped = true,
                    _ if c == first => {
                        end = Some(at + 1);
                        break;
                    }
                    _ => text.push(c),
                }
            }
            let Some(end) = end else {
                return Err(
                    "Error in the JQL Query: The quoted string has not been completed.".into(),
                );
            };
            found.push(Token::Quoted(text));
            rest = &rest[end..];
        } else {
            let stop = |c: char| c.is_whitespace() || "=<>!(),\"'".contains(c);
            let end = rest.find(stop).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!(
                    "Error in the JQL Query: The character '{first}' is a reserved JQL character."
                ));
            }
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Word(own)) if own.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is = self.is_word(word);
        self.at += usize::from(is);
        is
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Sign(own)) if *own == sign);
        self.at += usize::from(is);
        is
    }

    fn unexpected(&self, wanted: &str) -> String {
        let got = match self.tokens.get(self.at) {
            None => "the end".to_owned(),
            Some(Token::Word(text) | Token::Quoted(text)) => format!("'{text}'"),
            Some(Token::Sign(sign)) => format!("'{sign}'"),
        };
        format!("Error in the JQL Query: Expecting {wanted} but got {got}.")
    }

    fn value(&mut self) -> Result<String, String> {
        match self.tokens.get(self.at) {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    fn term(&mut self, now: DateTime<Utc>) -> Result<Term, String> {
        let field = Field::parse(&self.value()?)?;
        if field.is_date() {
            let comparison = if self.take_sign(">=") {
                Comparison::AtLeast
            } else if self.take_sign(">") {
                Comparison::MoreThan
            } else if self.take_sign("<=") {
                Comparison::AtMost
            } else if self.take_sign("<") {
                Comparison::LessThan
            } else {
                return Err(self.unexpected("'>=', '>', '<=' or '<'"));
            };
            return Ok(Term::Date(field, comparison, moment(&self.value()?, now)?));
        }
        let mut values = Vec::new();
        if self.take_sign("=") {
            values.push(self.value()?);
        } else if self.take_word("in") && self.take_sign("(") {
            loop {
                values.push(self.value()?);
                if self.take_sign(")") {
                    break;
                }
                if !self.take_sign(",") {
                    return Err(self.unexpected("',' or ')'"));
                }
            }
        } else {
            return Err(self.unexpected("'=' or 'IN'"));
        }
        if field == Field::Project
            && let Some(absent) = values
                .iter()
                .find(|key| !fields::project_exists(&key.to_ascii_uppercase()))
        {
            return Err(format!(
                "The value '{absent}' does not exist for the field 'project'."
            ));
        }
        Ok(Term::OneOf(field, values))
    }

    fn order(&mut self) -> Result<Vec<(Field, bool)>, String> {
        let mut order = Vec::new();
        if self.is_at_end() {
            return Ok(order);
        }
        if !(self.take_word("order") && self.take_word("by")) {
            return Err(self.unexpected("'ORDER BY'"));
        }
        loop {
            let field = Field::parse(&self.value()?)?;
            let descending = !self.take_word("asc") && self.take_word("desc");
            order.push((field, descending));
            if !self.take_sign(",") {
                break;
            }
        }
        if !self.is_at_end() {
            return Err(self.unexpected("the end"));
        }
        if order.len() > ORDER_MAX {
            return Err(format!(
                "The query has more than {ORDER_MAX} ORDER BY fields."
            ));
        }
        Ok(order)
    }
}

/// `-95m`: so long ago, cut to the minute as JQL does.
fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let wrong = || {
        format!(
            "Date value '{text}' for field is invalid. The sandbox reads '-95m' with units m, \
             h, d and w; an absolute date is read in the caller's time zone, which an adapter \
             should not depend on."
        )
    };
    let ago = text.strip_prefix('-').ok_or_else(wrong)?;
    let unit = ago.chars().next_back().ok_or_else(wrong)?;
    let minutes: i64 = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return Err(wrong()),
    };
    let count: u32 = ago[..ago.len() - 1].parse().map_err(|_| wrong())?;
    let back =
        TimeDelta::try_minutes(minutes.saturating_mul(i64::from(count))).ok_or_else(wrong)?;
    let moment = now.checked_sub_signed(back).ok_or_else(wrong)?;
    let seconds = moment.timestamp() - moment.timestamp().rem_euclid(60);
    DateTime::from_timestamp(seconds, 0).ok_or_else(wrong)
}
