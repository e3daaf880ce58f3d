//! Why a migration is not made: what was found, the rows, and the remedy. Nothing has been changed
//! where one is returned.

use std::fmt;

use tokio_postgres::GenericClient;

/// Rows that are listed; of more, the number is told.
const LISTED_MAX: usize = 20;

/// Something in the way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// How many rows it is about; 0 where it is not about rows.
    pub count: i64,
    /// The first of them.
    pub rows: Vec<String>,
    /// Whether `--accept-loss` goes on all the same.
    pub accept_loss: bool,
}

impl Finding {
    /// One that is not about rows.
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
            count: 0,
            rows: Vec::new(),
            accept_loss: false,
        }
    }

    /// Those rows that a statement gives: one column of text. `None` where there are none.
    pub(super) async fn of_rows(
        client: &impl GenericClient,
        sql: &str,
        what: &str,
        remedy: &str,
    ) -> Result<Option<Self>, tokio_postgres::Error> {
        let counting = format!("SELECT count(*) FROM ({sql}) AS found");
        let count: i64 = client.query_one(&counting, &[]).await?.get(0);
        if count == 0 {
            return Ok(None);
        }
        let limited = format!("{sql} LIMIT {LISTED_MAX}");
        let rows = client.query(&limited, &[]).await?;
        Ok(Some(Self {
            what: what.to_owned(),
            remedy: remedy.to_owned(),
            count,
            rows: rows
                .iter()
                .map(|row| row.get::<_, Option<String>>(0).unwrap_or_default())
                .collect(),
            accept_loss: false,
        }))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if self.count > 0 {
            write!(f, " ({})", self.count)?;
        }
        for row in &self.rows {
            write!(f, "\n    {row}")?;
        }
        let more = self.count - i64::try_from(self.rows.len()).unwrap_or(0);
        if self.count > 0 && more > 0 {
            write!(f, "\n    and {more} more")?;
        }
        write!(f, "\n    → {}", self.remedy)
    }
}

/// Everything in the way, and of what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    /// What was not done.
    pub refused: String,
    /// Why not.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; nothing was changed", self.refused)?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        if self.findings.iter().all(|finding| finding.accept_loss) {
            f.write_str("\n  --accept-loss goes on all the same")?;
        }
        Ok(())
    }
}
