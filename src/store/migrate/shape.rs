//! What the migrations make, read out of their own text: so what is expected of an adopted database
//! cannot differ from what is made in an empty one.

/// A column as a migration writes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected<'a> {
    pub(super) table: &'a str,
    pub(super) column: &'a str,
    /// As `pg_type.typname` has it.
    pub(super) udt: &'a str,
    pub(super) not_null: bool,
}

/// The columns of every `CREATE TABLE`. A column stands on a line of its own.
pub(super) fn columns(sql: &str) -> Vec<Expected<'_>> {
    let mut columns = Vec::new();
    let mut table = None;
    for line in sql.lines() {
        if let Some(rest) = line.trim().strip_prefix("CREATE TABLE ") {
            table = rest.split_whitespace().next();
            continue;
        }
        let Some(name) = table else { continue };
        if line.starts_with(')') {
            table = None;
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(column), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        if column == "CONSTRAINT" || column.starts_with("--") {
            continue;
        }
        let kind = kind.trim_end_matches(',');
        let kind = kind.split('(').next().unwrap_or(kind);
        columns.push(Expected {
            table: name,
            column,
            udt: match kind {
                "integer" => "int4",
                "bigint" => "int8",
                "boolean" => "bool",
                other => other,
            },
            not_null: line.contains("NOT NULL"),
        });
    }
    columns
}

/// Enumerations and their labels.
pub(super) fn enums(sql: &str) -> Vec<(&str, Vec<&str>)> {
    sql.split("CREATE TYPE ")
        .skip(1)
        .filter_map(|rest| {
            let (name, rest) = rest.split_once(" AS ENUM (")?;
            let (labels, _) = rest.split_once(')')?;
            let labels = labels
                .split(',')
                .map(|label| label.trim().trim_matches('\''));
            Some((name.trim(), labels.collect()))
        })
        .collect()
}

/// Something that a migration makes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Made<'a> {
    /// A table, an index, a sequence or a type of rows: one name space.
    Relation(&'a str),
    /// A column of a table.
    Column(&'a str, &'a str),
}

/// What a migration makes and cannot make where it is there already.
pub(super) fn made(sql: &str) -> Vec<Made<'_>> {
    let mut made = Vec::new();
    let code = sql.lines().filter(|line| !line.trim().starts_with("--"));
    for line in code {
        let line = line.trim();
        if line.contains("IF NOT EXISTS") {
            continue;
        }
        for word in [
            "CREATE TABLE ",
            "CREATE SEQUENCE ",
            "CREATE INDEX ",
            "CREATE UNIQUE INDEX ",
            "CREATE TYPE ",
        ] {
            if let Some(rest) = line.strip_prefix(word) {
                let name = rest.split(|c: char| c.is_whitespace() || c == '(').next();
                made.extend(name.map(Made::Relation));
            }
        }
        let Some(rest) = line.strip_prefix("ALTER TABLE ") else {
            continue;
        };
        let table = rest.split_whitespace().next().unwrap_or_default();
        let added = rest.split("ADD COLUMN ").skip(1);
        made.extend(
            added
                .filter_map(|column| column.split_whitespace().next())
                .map(|column| Made::Column(table, column)),
        );
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGACY: &str = include_str!("../../../migrations/V1__legacy_shape.sql");
    const LEDGER: &str = include_str!("../../../migrations/V3__ledger.sql");

    #[test]
    fn the_legacy_shape_is_read_out_of_its_migration() {
        let columns = columns(LEGACY);
        let of = |table| columns.iter().filter(|c| c.table == table).count();

        assert_eq!(
            [
                of("organizations"),
                of("users"),
                of("integrations"),
                of("tickets")
            ],
            [29, 31, 57, 50]
        );
        let find = |name| {
            columns
                .iter()
                .find(|c| c.table == "integrations" && c.column == name)
        };
        assert_eq!(find("default_priority").unwrap().udt, "int4");
        assert!(find("is_enabled").unwrap().not_null && !find("base_url").unwrap().not_null);
        assert_eq!(find("base_url").unwrap().udt, "varchar");
        let enums = enums(LEGACY);
        assert_eq!(enums.len(), 6);
        assert_eq!(enums[0].1.len(), 15);
        assert_eq!(
            enums[5],
            (
                "userrole",
                vec!["ADMIN", "MANAGER", "AGENT", "USER", "API_USER"]
            )
        );
    }

    #[test]
    fn what_the_ledger_makes_is_read_out_of_its_migration() {
        let made = made(LEDGER);

        for expected in [
            Made::Relation("commands"),
            Made::Relation("commands_turn"),
            Made::Relation("command_arrivals"),
            Made::Relation("workers"),
            Made::Column("integrations", "settings"),
            Made::Column("tickets", "tags"),
        ] {
            assert!(made.contains(&expected), "{expected:?}");
        }
    }
}
