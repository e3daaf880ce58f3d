//! What a database is before `up`: recognised by its columns, with `alembic_version` as a second
//! opinion, and examined for whatever would stop a migration half-way. Looks only; changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tokio_postgres::{Client, Error};

use super::refusal::Finding;
use super::shape::{self, Made};
use super::{LEGACY, REFACTOR, STEPS, online};

/// The tables that are adopted.
const ADOPTED: [&str; 4] = ["organizations", "users", "integrations", "tickets"];

/// Where a database starts from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Start {
    /// None of the tables is there.
    Empty,
    /// The legacy application's, at its revision `a1b2c3d4e5f6`.
    Legacy,
    /// The legacy application's, refactored by its own migration `b2c3d4e5f6g7`.
    Refactored {
        /// What that migration left behind.
        leftovers: Vec<String>,
    },
    /// One of ours.
    Ours {
        /// Its version.
        version: i32,
    },
    /// None of these: see what is in the way.
    Unknown,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty database"),
            Self::Legacy => f.write_str(
                "a database of the legacy application (its revision a1b2c3d4e5f6: \
                 integration_type, is_enabled)",
            ),
            Self::Refactored { leftovers } => {
                f.write_str(
                    "a database of the legacy application, refactored by its own migration \
                     (b2c3d4e5f6g7: integration_category, platform_name, enabled)",
                )?;
                if leftovers.is_empty() {
                    return Ok(());
                }
                write!(f, ", which left {}", leftovers.join(", "))
            }
            Self::Ours { version } => write!(f, "a database of ours at version {version}"),
            Self::Unknown => f.write_str("a database that is not recognised"),
        }
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Inspection {
    pub(super) start: Start,
    /// What must be mended first.
    pub(super) findings: Vec<Finding>,
    /// What is worth knowing and stops nothing.
    pub(super) notes: Vec<String>,
}

struct Column {
    udt: String,
    not_null: bool,
    /// An insert may leave it out.
    has_default: bool,
}

/// The catalogue, as far as it matters here.
struct Facts {
    columns: BTreeMap<(String, String), Column>,
    tables: BTreeSet<String>,
    relations: BTreeSet<String>,
    enums: BTreeMap<String, Vec<String>>,
    alembic: Option<String>,
    /// Whether our own refactoring was begun and interrupted.
    begun: bool,
}

impl Facts {
    async fn read(client: &Client) -> Result<Self, Error> {
        const COLUMNS: &str = "SELECT c.relname::text, a.attname::text, t.typname::text, \
                               a.attnotnull, \
                               a.atthasdef OR a.attidentity <> '' FROM pg_class c \
                               JOIN pg_attribute a ON a.attrelid = c.oid \
                               JOIN pg_type t ON t.oid = a.atttypid WHERE c.relnamespace = \
                               current_schema()::regnamespace \
                               AND c.relname = ANY($1) AND c.relkind IN ('r', 'p') \
                               AND a.attnum > 0 \
                               AND NOT a.attisdropped";
        const RELATIONS: &str = "SELECT relname::text, relkind IN ('r', 'p') FROM pg_class \
                                 WHERE relnamespace = current_schema()::regnamespace";
        const ENUMS: &str = "SELECT t.typname::text, array_agg(e.enumlabel::text \
                             ORDER BY e.enumsortorder) FROM pg_type t \
                             JOIN pg_enum e ON e.enumtypid = t.oid WHERE t.typnamespace = \
                             current_schema()::regnamespace GROUP BY 1";
        let mut facts = Self {
            columns: BTreeMap::new(),
            tables: BTreeSet::new(),
            relations: BTreeSet::new(),
            enums: BTreeMap::new(),
            alembic: None,
            begun: online::is_begun(client).await?,
        };
        for row in client.query(COLUMNS, &[&ADOPTED.as_slice()]).await? {
            let column = Column {
                udt: row.get(2),
                not_null: row.get(3),
                has_default: row.get(4),
            };
            facts.columns.insert((row.get(0), row.get(1)), column);
        }
        for row in client.query(RELATIONS, &[]).await? {
            facts.relations.insert(row.get(0));
            if row.get(1) {
                facts.tables.insert(row.get(0));
            }
        }
        for row in client.query(ENUMS, &[]).await? {
            facts.enums.insert(row.get(0), row.get(1));
        }
        if facts.tables.contains("alembic_version") {
            let sql = "SELECT string_agg(version_num, ', ') FROM alembic_version";
            facts.alembic = client.query_one(sql, &[]).await?.get(0);
        }
        Ok(facts)
    }

    fn has(&self, table: &str, column: &str) -> bool {
        self.columns
            .contains_key(&(table.to_owned(), column.to_owned()))
    }

    fn revision(&self) -> String {
        self.alembic.as_ref().map_or_else(
            || "there is no alembic_version".to_owned(),
            |revision| format!("alembic_version says {revision}"),
        )
    }
}

/// Looks at a database of which `applied` versions of ours are known.
pub(super) async fn inspect(
    client: &Client,
    applied: &[(i32, String)],
) -> Result<Inspection, Error> {
    let facts = Facts::read(client).await?;
    let version = applied.last().map(|(version, _)| *version);
    let mut inspection = match version {
        Some(version) => Inspection {
            start: Start::Ours { version },
            findings: Vec::new(),
            notes: Vec::new(),
        },
        None => recognise(&facts),
    };
    if facts.begun {
        inspection.notes.push(
            "a refactoring was begun and interrupted: `migrate up` goes on with it, `migrate \
             rollback --to 0` (or 1) takes it back"
                .to_owned(),
        );
    }
    if version.is_none() && inspection.findings.is_empty() && inspection.start != Start::Empty {
        adoptable(client, &facts, &mut inspection).await?;
    }
    let refactors = version.is_none_or(|version| version < REFACTOR);
    if refactors
        && facts.has("integrations", "integration_type")
        && inspection.start != Start::Unknown
    {
        refactorable(client, &facts, &mut inspection.findings).await?;
    }
    if refactors && inspection.start != Start::Unknown {
        type_droppable(client, &mut inspection.findings).await?;
    }
    Ok(inspection)
}

fn recognise(facts: &Facts) -> Inspection {
    let (there, missing): (Vec<&str>, Vec<&str>) = ADOPTED
        .iter()
        .partition(|table| facts.tables.contains(**table));
    let of = |start, findings, notes| Inspection {
        start,
        findings,
        notes,
    };
    if there.is_empty() {
        let mut findings = Vec::new();
        for (name, _) in shape::enums(LEGACY) {
            if facts.enums.contains_key(name) {
                findings.push(Finding::new(
                    format!("none of the tables is there, but the type {name} is"),
                    format!("if nothing else uses it: DROP TYPE {name}"),
                ));
            }
        }
        findings.extend(collisions(facts, 0));
        return of(Start::Empty, findings, Vec::new());
    }
    match shape_of(facts, &missing) {
        Ok((start, revisions)) => {
            let mut notes = Vec::new();
            let agrees = facts
                .alembic
                .as_ref()
                .is_some_and(|found| revisions.contains(&found.as_str()));
            if !agrees {
                notes.push(format!(
                    "{}, which is not what the columns say: going by the columns",
                    facts.revision()
                ));
            }
            let from = if start == Start::Legacy && !facts.begun {
                REFACTOR
            } else {
                REFACTOR + 1
            };
            of(start, collisions(facts, from), notes)
        }
        Err(finding) => of(Start::Unknown, vec![finding], Vec::new()),
    }
}

/// The legacy application's revision by the columns, with what `alembic_version` would then say; or
/// what is wrong.
fn shape_of(facts: &Facts, missing: &[&str]) -> Result<(Start, Vec<&'static str>), Finding> {
    let upgrade =
        "bring it to revision a1b2c3d4e5f6 with the legacy application's own migrations first";
    let revision = facts.revision();
    if missing == ["organizations"] {
        return Err(Finding::new(
            format!(
                "there is no table organizations ({revision}): this is the older start of the \
                 legacy application (98111ee70178)"
            ),
            "no upgrade leads from it to a1b2c3d4e5f6; set up an empty database and carry the \
             rows over",
        ));
    }
    if !missing.is_empty() {
        return Err(Finding::new(
            format!(
                "of the legacy application's tables {} is not there ({revision})",
                missing.join(", ")
            ),
            "restore what is missing, or name an empty database",
        ));
    }
    for column in ["organization_id", "integration_id"] {
        if facts.has("tickets", column) {
            continue;
        }
        let routing = if facts.has("tickets", "integration_routing") {
            "tickets has integration_routing and"
        } else {
            "tickets has"
        };
        return Err(Finding::new(
            format!("{routing} no {column} ({revision}): it is at cbe1d08d4020 to c740f9fb4b4b"),
            format!(
                "{upgrade}; its step 685ab8cd68be stops where there are tickets, and loses \
                 integration_routing"
            ),
        ));
    }
    let has = |column| facts.has("integrations", column);
    let names = [
        "integration_type",
        "is_enabled",
        "integration_category",
        "platform_name",
        "enabled",
    ];
    match names.map(has) {
        [true, true, true, true, false] if facts.begun => Ok((Start::Legacy, vec!["a1b2c3d4e5f6"])),
        [true, true, false, false, false] => Ok((Start::Legacy, vec!["a1b2c3d4e5f6"])),
        [false, false, true, true, true] => {
            let mut leftovers = Vec::new();
            if facts.enums.contains_key("integrationtype") {
                leftovers.push("the type integrationtype".to_owned());
            }
            if facts.relations.contains("ix_integrations_is_enabled") {
                leftovers.push("the index ix_integrations_is_enabled".to_owned());
            }
            let start = Start::Refactored { leftovers };
            Ok((start, vec!["b2c3d4e5f6g7", "f1a2b3c4d5e6"]))
        }
        [true, false, false, false, false] => Err(Finding::new(
            format!("integrations has no is_enabled ({revision}): it is at 685ab8cd68be or before"),
            upgrade,
        )),
        found => {
            let of = |wanted: bool| {
                let some = names
                    .iter()
                    .zip(found)
                    .filter(|(_, there)| *there == wanted);
                some.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
            };
            Err(Finding::new(
                format!(
                    "integrations is refactored in part ({revision}): it has {}, but not {}",
                    of(true),
                    of(false)
                ),
                "make it one or the other: integration_type and is_enabled, or \
                 integration_category, platform_name and enabled",
            ))
        }
    }
}

/// What the pending migrations make from this version on, and somebody else has made already.
fn collisions(facts: &Facts, from: i32) -> Vec<Finding> {
    let mut findings = Vec::new();
    for step in STEPS.iter().filter(|step| step.version >= from.max(1)) {
        for made in shape::made(step.up) {
            let name = match made {
                Made::Relation(name) if facts.relations.contains(name) => name.to_owned(),
                Made::Column(table, column)
                    if step.version > REFACTOR && facts.has(table, column) =>
                {
                    format!("{table}.{column}")
                }
                Made::Relation(_) | Made::Column(..) => continue,
            };
            findings.push(Finding::new(
                format!(
                    "{name} is there already, which V{}__{} makes",
                    step.version, step.name
                ),
                "rename it, or name another database",
            ));
        }
    }
    findings
}

/// Whether a worker can live in the tables as they are.
async fn adoptable(
    client: &Client,
    facts: &Facts,
    inspection: &mut Inspection,
) -> Result<(), Error> {
    let refactored = ["integration_type", "is_enabled"];
    let expected = shape::columns(LEGACY);
    let findings = &mut inspection.findings;
    for want in &expected {
        if want.table == "integrations" && refactored.contains(&want.column) {
            continue;
        }
        let name = format!("{}.{}", want.table, want.column);
        let key = (want.table.to_owned(), want.column.to_owned());
        let Some(found) = facts.columns.get(&key) else {
            findings.push(Finding::new(
                format!("the column {name} ({}) is not there", want.udt),
                "add it as the legacy application has it",
            ));
            continue;
        };
        // varchar and text take the same here.
        let text = ["varchar", "text"];
        let alike = text.contains(&found.udt.as_str()) && text.contains(&want.udt);
        if found.udt != want.udt && !alike {
            findings.push(Finding::new(
                format!("the column {name} is {} and not {}", found.udt, want.udt),
                "the legacy application at a1b2c3d4e5f6 has it otherwise: see alembic_version",
            ));
            continue;
        }
        if want.not_null && !found.not_null {
            let sql = format!(
                "SELECT id::text FROM {} WHERE {} IS NULL ORDER BY id",
                want.table, want.column
            );
            let what =
                format!("rows have no {name}, which the legacy application never leaves out");
            let remedy = "give them a value";
            findings.extend(Finding::of_rows(client, &sql, &what, remedy).await?);
        }
    }
    let category = ["integration_category", "platform_name", "enabled"];
    for column in category.into_iter().filter(|_| !facts.begun) {
        let key = ("integrations".to_owned(), column.to_owned());
        if facts.columns.get(&key).is_some_and(|found| !found.not_null) {
            findings.push(Finding::new(
                format!("integrations.{column} may be NULL"),
                format!(
                    "fill it everywhere, then ALTER TABLE integrations ALTER COLUMN {column} \
                     SET NOT NULL"
                ),
            ));
        }
    }
    for ((table, column), found) in &facts.columns {
        let ours = ["integration_category", "platform_name", "enabled"].contains(&column.as_str())
            || expected
                .iter()
                .any(|want| want.table == table && want.column == column);
        if !ours && found.not_null && !found.has_default {
            findings.push(Finding::new(
                format!(
                    "{table}.{column} must be given and is not known, so no row could be inserted"
                ),
                format!(
                    "give it a default: ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT …"
                ),
            ));
        }
    }
    for (name, labels) in shape::enums(LEGACY) {
        let Some(found) = facts.enums.get(name) else {
            continue;
        };
        // Of integrationtype only the labels in use matter, see below.
        let lacking: Vec<&str> = labels
            .into_iter()
            .filter(|label| name != "integrationtype" && !found.iter().any(|f| f == label))
            .collect();
        if !lacking.is_empty() {
            findings.push(Finding::new(
                format!(
                    "the type {name} has the labels {}, and not {}",
                    found.join(", "),
                    lacking.join(", ")
                ),
                "labels in upper case are of the older start of the legacy application: ALTER \
                 TYPE … RENAME VALUE",
            ));
        }
    }
    findings.extend(category_labels(facts));
    Ok(())
}

/// A type of that name that is there already is used, if it is the right one.
fn category_labels(facts: &Facts) -> Option<Finding> {
    let found = facts.enums.get("integrationcategory")?;
    let right: BTreeSet<&str> = CATEGORIES.into_iter().collect();
    let labels: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    (labels != right).then(|| {
        Finding::new(
            format!(
                "the type integrationcategory is there with the labels {}",
                found.join(", ")
            ),
            format!(
                "rename it or drop it; the right labels are {}",
                CATEGORIES.join(", ")
            ),
        )
    })
}

const CATEGORIES: [&str; 7] = [
    "ticketing",
    "crm",
    "messaging",
    "communication",
    "project_management",
    "code_repository",
    "webhook",
];

/// What would stop the refactoring of `integration_type`.
async fn refactorable(
    client: &Client,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    // What can be asked only of the catalogue: `v` is a view's rule, `n` what blocks, `a` what goes
    // along.
    const VIEWS: &str = "SELECT DISTINCT CASE WHEN d.classid = 'pg_rewrite'::regclass THEN \
                         (SELECT format('%s %s', CASE c.relkind \
                         WHEN 'm' THEN 'materialized view' ELSE 'view' END, c.oid::regclass) \
                         FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
                         WHERE r.oid = d.objid) \
                         ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END AS dependent \
                         FROM pg_depend d \
                         JOIN pg_attribute a ON a.attrelid = d.refobjid \
                         AND a.attnum = d.refobjsubid \
                         WHERE d.refclassid = 'pg_class'::regclass \
                         AND d.refobjid = 'integrations'::regclass \
                         AND a.attname = 'integration_type' AND d.deptype = 'n' ORDER BY 1";
    let labels: Vec<&str> = shape::enums(LEGACY)
        .into_iter()
        .find(|(name, _)| *name == "integrationtype")
        .map(|(_, labels)| labels)
        .unwrap_or_default();
    let known = labels
        .iter()
        .map(|label| format!("'{label}'"))
        .collect::<Vec<_>>()
        .join(",");
    let rows = |condition: &str| {
        format!(
            "SELECT format('%s (%s): %s', id, name, integration_type) FROM integrations \
             WHERE integration_type::text NOT IN ({known}) AND {condition} \
             ORDER BY integration_type::text, id"
        )
    };
    let spelled = format!("lower(btrim(integration_type::text)) IN ({known})");
    findings.extend(
        Finding::of_rows(
            client,
            &rows(&spelled),
            "integrations have an integration_type in another spelling than the legacy \
             application's, as databases from its older start have",
            "ALTER TYPE integrationtype RENAME VALUE 'JIRA' TO 'jira', and so on for each",
        )
        .await?,
    );
    findings.extend(
        Finding::of_rows(
            client,
            &rows(&format!("NOT {spelled}")),
            "integrations have an integration_type that is none of the fifteen platforms, so no \
             category is known",
            "change their integration_type, or delete the rows",
        )
        .await?,
    );
    findings.extend(
        Finding::of_rows(
            client,
            "SELECT format('%s (%s)', id, name) FROM integrations \
             WHERE integration_type IS NULL OR is_enabled IS NULL ORDER BY id",
            "integrations have no integration_type or no is_enabled",
            "give them a value, or delete the rows",
        )
        .await?,
    );
    findings.extend(
        Finding::of_rows(
            client,
            VIEWS,
            "objects depend on integrations.integration_type, which goes",
            "drop them and make them again on platform_name",
        )
        .await?,
    );
    if !facts.relations.contains("ix_integrations_integration_type") {
        findings.push(Finding::new(
            "the index ix_integrations_integration_type is not there",
            "CREATE INDEX ix_integrations_integration_type ON integrations (integration_type)",
        ));
    }
    if !findings
        .iter()
        .any(|finding| finding.what.contains("integrationcategory"))
    {
        findings.extend(category_labels(facts));
    }
    Ok(())
}

/// The type `integrationtype` goes, in the shape that the original left as well.
async fn type_droppable(client: &Client, findings: &mut Vec<Finding>) -> Result<(), Error> {
    const DEPENDENTS: &str = "WITH legacy AS (SELECT a.attrelid, a.attnum FROM pg_attribute a \
                              WHERE a.attrelid = to_regclass('integrations') \
                              AND a.attname = 'integration_type') \
                              SELECT DISTINCT pg_describe_object(d.classid, d.objid, \
                              d.objsubid) AS dependent \
                              FROM pg_depend d \
                              JOIN pg_type t ON t.oid = to_regtype('integrationtype') \
                              AND d.refobjid IN (t.oid, t.typarray) \
                              WHERE d.refclassid = 'pg_type'::regclass AND d.deptype IN ('n', 'a') \
                              AND NOT EXISTS (SELECT FROM legacy \
                              WHERE d.classid = 'pg_class'::regclass \
                              AND d.objid = attrelid \
                              AND d.objsubid = attnum) \
                              AND NOT EXISTS (SELECT FROM legacy \
                              JOIN pg_depend o ON o.refclassid = \
                              'pg_class'::regclass \
                              AND o.refobjid = attrelid AND o.refobjsubid = attnum \
                              WHERE o.classid = d.classid AND o.objid = d.objid) ORDER BY 1";
    findings.extend(
        Finding::of_rows(
            client,
            DEPENDENTS,
            "objects beside integrations use the type integrationtype, which goes",
            "change them to text or to a type of their own",
        )
        .await?,
    );
    Ok(())
}
