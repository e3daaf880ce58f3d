//! Rows by name: one list of columns makes the select list, the struct and its reader, so that a
//! number and what it stands for cannot drift apart.

use std::error::Error;

use serde_json::Value;
use tokio_postgres::types::{FromSql, Type};

/// Declares a struct of what is read of a row: a field, its type, and its column as SQL. Values are
/// read by number, in the order of the list: no name is looked up.
macro_rules! row {
    (
        $(#[$meta:meta])*
        struct $name:ident<$life:lifetime> {
            $first:ident: $first_type:ty = $first_column:literal,
            $($field:ident: $type:ty = $column:literal,)+
        }
    ) => {
        $(#[$meta])*
        struct $name<$life> {
            $first: $first_type,
            $($field: $type,)+
        }

        impl<$life> $name<$life> {
            /// The select list that [`Self::read`] reads.
            const COLUMNS: &'static str = concat!($first_column, $(", ", $column),+);

            /// Reads a row whose first columns are [`Self::COLUMNS`].
            fn read(row: &$life tokio_postgres::Row) -> Self {
                let mut columns = 0..row.len();
                // Past the last one: PostgreSQL's client says so and panics, as for a wrong type.
                let mut next = || columns.next().unwrap_or(usize::MAX);
                Self {
                    $first: row.get(next()),
                    $($field: row.get(next()),)+
                }
            }
        }
    };
}
pub(super) use row;

/// A json column. PostgreSQL keeps as json what serde_json does not take (half a surrogate pair,
/// 1e999): such a value of the legacy application says nothing to us, and must not stop its row
/// from being read.
pub(super) struct Json(pub(super) Option<Value>);

impl<'a> FromSql<'a> for Json {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Value::from_sql(of, raw).ok()))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(of: &Type) -> bool {
        <Value as FromSql>::accepts(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_only_postgresql_takes_is_nothing_and_no_error() {
        let read = |text: &str| Json::from_sql(&Type::JSON, text.as_bytes()).unwrap().0;

        assert_eq!(read(r#"{"a": 1}"#), Some(serde_json::json!({ "a": 1 })));
        assert_eq!(read(r#""\ud800""#), None);
        assert_eq!(read("1e999"), None);
        assert!(Json::accepts(&Type::JSONB) && !Json::accepts(&Type::TEXT));
    }
}
