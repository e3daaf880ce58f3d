//! Queries in SOQL: put together here, so that no text of anybody becomes a part of one.

use chrono::{DateTime, SecondsFormat, Utc};

/// A query: these fields of this object.
#[derive(Debug, Clone)]
pub(super) struct Soql {
    text: String,
    conditions: usize,
}

/// A value as a string literal: a quote and a backslash are escaped; what is no text of a line has
/// no place in one.
fn literal(value: &str) -> String {
    let mut made = String::with_capacity(value.len() + 2);
    made.push('\'');
    for c in value.chars() {
        if matches!(c, '\'' | '\\') {
            made.push('\\');
        }
        made.push(if c.is_control() { ' ' } else { c });
    }
    made.push('\'');
    made
}

/// A moment as a literal, which has no quotes.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Soql {
    pub(super) fn of(fields: &str, object: &str) -> Self {
        let begin = "SELECT";
        Self {
            text: format!("{begin} {fields} FROM {object}"),
            conditions: 0,
        }
    }

    fn and(mut self, condition: &str) -> Self {
        let word = if self.conditions == 0 { "WHERE" } else { "AND" };
        self.text.push_str(&format!(" {word} {condition}"));
        self.conditions += 1;
        self
    }

    /// Only where a text field is this.
    pub(super) fn is(self, field: &str, value: &str) -> Self {
        self.and(&format!("{field} = {}", literal(value)))
    }

    pub(super) fn holds(self, field: &str) -> Self {
        self.and(&format!("{field} = true"))
    }

    pub(super) fn from(self, field: &str, at: Option<DateTime<Utc>>) -> Self {
        match at {
            Some(at) => self.and(&format!("{field} >= {}", moment(at))),
            None => self,
        }
    }

    pub(super) fn before(self, field: &str, at: Option<DateTime<Utc>>) -> Self {
        match at {
            Some(at) => self.and(&format!("{field} < {}", moment(at))),
            None => self,
        }
    }

    /// In this order.
    pub(super) fn by(mut self, fields: &str) -> Self {
        self.text.push_str(&format!(" ORDER BY {fields}"));
        self
    }

    pub(super) fn first(mut self, count: usize) -> Self {
        self.text.push_str(&format!(" LIMIT {count}"));
        self
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows the first word.
    fn rest(query: &Soql) -> &str {
        query.text().split_once(' ').unwrap().1
    }

    #[test]
    fn no_value_leaves_its_quotes() {
        let hostile = "x' OR Name != '\\\n";
        let query = Soql::of("Id", "User").is("Email", hostile);
        let query = query.holds("IsActive").first(2);

        let expected =
            r"Id FROM User WHERE Email = 'x\' OR Name != \'\\ ' AND IsActive = true LIMIT 2";
        assert_eq!(rest(&query), expected);
    }

    #[test]
    fn a_moment_has_no_quotes_and_milliseconds() {
        let at = "2026-01-02T03:04:05Z".parse().ok();
        let query = Soql::of("Id", "Case").from("CreatedDate", at);
        let query = query.before("SystemModstamp", at).by("Id");

        let expected = "Id FROM Case WHERE CreatedDate >= 2026-01-02T03:04:05.000Z \
                        AND SystemModstamp < 2026-01-02T03:04:05.000Z ORDER BY Id";
        assert_eq!(rest(&query), expected);
        assert_eq!(
            rest(&Soql::of("Id", "Case").from("X", None)),
            "Id FROM Case"
        );
    }
}
