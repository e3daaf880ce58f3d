//! `ticket.search`: its filters, its two orders, and the cursor that leads from page to page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Fields, json_text};
use crate::domain::{IntegrationId, Priority, TicketCategory, TicketId, TicketStatus, wire_enum};

wire_enum! {
    /// What a search may be sorted by. Each needs an index of its own, which every change of a
    /// ticket writes; so there are two.
    TicketSort {
        CreatedAt = "created_at",
        UpdatedAt = "updated_at",
    }
}

/// Which tickets; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TicketFilter {
    /// Words of title and description, as a web search takes them, or exactly the external id.
    pub q: Option<String>,
    /// Filter.
    pub status: Option<TicketStatus>,
    /// Filter.
    pub category: Option<TicketCategory>,
    /// Filter.
    pub priority: Option<Priority>,
    /// Filter.
    pub urgency: Option<Priority>,
    /// Exactly this.
    pub department: Option<String>,
    /// Bound to it.
    pub integration_id: Option<IntegrationId>,
    /// From this moment on.
    pub created_after: Option<DateTime<Utc>>,
    /// Up to, and without, this moment.
    pub created_before: Option<DateTime<Utc>>,
    /// From this moment on.
    pub updated_after: Option<DateTime<Utc>>,
    /// Up to, and without, this moment.
    pub updated_before: Option<DateTime<Utc>>,
}

/// `ticket.search`
#[derive(Debug, Clone, PartialEq)]
pub struct TicketSearch {
    /// Which tickets.
    pub filter: TicketFilter,
    /// In which order; equal ones by id.
    pub sort: TicketSort,
    /// Default descending.
    pub ascending: bool,
    /// 1–100, default 20.
    pub limit: i32,
    /// Where the page before ended.
    pub after: Option<Position>,
}

/// A place in the order of a search: behind this ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// What it is sorted by; exact to the microsecond, as the database is.
    pub at: DateTime<Utc>,
    /// The ticket.
    pub id: TicketId,
}

impl Default for TicketSearch {
    fn default() -> Self {
        Self {
            filter: TicketFilter::default(),
            sort: TicketSort::CreatedAt,
            ascending: false,
            limit: 20,
            after: None,
        }
    }
}

impl TicketSearch {
    /// Reads the fields; a cursor is checked against them, so that one of another search is found
    /// out here.
    pub fn parse(f: &mut Fields<'_>) -> Self {
        let q = f.text("q", 1, 255);
        if q.as_ref()
            .is_some_and(|q| !q.chars().any(char::is_alphanumeric))
        {
            f.fault("q", "must have a letter or a digit");
        }
        let filter = TicketFilter {
            q,
            status: f.choice("status"),
            category: f.choice("category"),
            priority: f.choice("priority"),
            urgency: f.choice("urgency"),
            department: f.text("department", 1, 100),
            integration_id: f.uuid("integration_id").map(IntegrationId::new),
            created_after: moment(f, "created_after"),
            created_before: moment(f, "created_before"),
            updated_after: moment(f, "updated_after"),
            updated_before: moment(f, "updated_before"),
        };
        for (from, to, name, other) in [
            (
                filter.created_after,
                filter.created_before,
                "created_before",
                "created_after",
            ),
            (
                filter.updated_after,
                filter.updated_before,
                "updated_before",
                "updated_after",
            ),
        ] {
            if from.zip(to).is_some_and(|(from, to)| from >= to) {
                f.fault(name, format!("must be later than {other}"));
            }
        }
        let sort = f
            .choice_because("sort_by", ": only these have an index")
            .unwrap_or(TicketSort::CreatedAt);
        let order = f.word("sort_order", &["asc", "desc"]);
        let mut search = Self {
            filter,
            sort,
            ascending: order == Some("asc"),
            limit: f.integer("limit", 1..=100).unwrap_or(20),
            after: None,
        };
        if let Some(cursor) = f.text("cursor", 1, 512) {
            match search.position(&cursor) {
                Ok(position) => search.after = Some(position),
                Err(fault) => f.fault("cursor", fault),
            }
        }
        search
    }

    /// The cursor of a page that ends at a place.
    #[must_use]
    pub fn cursor(&self, end: Position) -> String {
        let mut bytes = Vec::with_capacity(CURSOR_BYTES);
        bytes.push(CURSOR_VERSION);
        bytes.extend(end.at.timestamp_micros().to_be_bytes());
        bytes.extend(end.id.uuid().as_bytes());
        bytes.extend(self.fingerprint());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place a cursor of this very search names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn position(&self, cursor: &str) -> Result<Position, &'static str> {
        const MANGLED: &str = "is not a cursor; take next_cursor of the page before as it is, \
                               or none for the first page";
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| MANGLED)?;
        let bytes: [u8; CURSOR_BYTES] = bytes.try_into().map_err(|_| MANGLED)?;
        let (version, rest) = bytes.split_first().ok_or(MANGLED)?;
        let (micros, rest) = rest.split_first_chunk::<8>().ok_or(MANGLED)?;
        let (id, fingerprint) = rest.split_first_chunk::<16>().ok_or(MANGLED)?;
        // PostgreSQL knows no moment before 4713 BC; nobody's ticket is from outside these years.
        let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))
            .filter(|at| (1..=9999).contains(&at.year()));
        let (CURSOR_VERSION, Some(at)) = (*version, at) else {
            return Err(MANGLED);
        };
        if fingerprint != self.fingerprint() {
            return Err(
                "is of another search; the filters, sort_by and sort_order must be those of the \
                 page it came with",
            );
        }
        Ok(Position {
            at,
            id: TicketId::new(Uuid::from_bytes(*id)),
        })
    }

    /// What makes it this search: its filters and its order, not how much of it is shown at once.
    fn fingerprint(&self) -> [u8; 8] {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(json_text(&self.filter, 256))
            .chain_update(self.sort.as_str())
            .chain_update([u8::from(self.ascending)])
            .finalize()
            .into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        [a, b, c, d, e, f, g, h]
    }
}

/// Version, moment, ticket, fingerprint.
const CURSOR_BYTES: usize = 1 + 8 + 16 + 8;
const CURSOR_VERSION: u8 = 1;

fn moment(f: &mut Fields<'_>, name: &str) -> Option<DateTime<Utc>> {
    let text = f.text(name, 1, 64)?;
    let parsed = DateTime::parse_from_rfc3339(&text).map(|moment| moment.with_timezone(&Utc));
    if parsed.is_err() {
        f.fault(name, "must be an RFC 3339 time, e.g. 2026-01-31T12:00:00Z");
    }
    parsed.ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::contract::Faults;

    fn parse(data: Value) -> Result<TicketSearch, Faults> {
        let Value::Object(map) = data else { panic!() };
        let mut faults = Faults::new();
        let mut fields = Fields::new(map, &mut faults);
        let search = TicketSearch::parse(&mut fields);
        fields.finish();
        if faults.is_empty() {
            Ok(search)
        } else {
            Err(faults)
        }
    }

    fn somewhere() -> Position {
        Position {
            at: DateTime::from_timestamp_micros(1_767_225_600_123_457).unwrap(),
            id: TicketId::new(Uuid::from_u128(7)),
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_place_to_the_microsecond() {
        let data = json!({ "status": "open", "q": "printer", "sort_by": "updated_at" });
        let search = parse(data.clone()).unwrap();
        let mut next = data;
        next["cursor"] = json!(search.cursor(somewhere()));
        next["limit"] = json!(100);

        let next = parse(next).unwrap();

        assert_eq!(next.after, Some(somewhere()));
    }

    #[test]
    fn a_cursor_of_another_search_is_told() {
        let cursor = parse(json!({ "status": "open" }))
            .unwrap()
            .cursor(somewhere());
        for other in [
            json!({ "status": "new" }),
            json!({}),
            json!({ "status": "open", "q": "printer" }),
            json!({ "status": "open", "sort_by": "updated_at" }),
            json!({ "status": "open", "sort_order": "asc" }),
        ] {
            let mut other = other;
            other["cursor"] = json!(cursor);
            let faults = parse(other).unwrap_err();
            assert!(faults["cursor"].contains("another search"), "{faults:#?}");
        }
    }

    #[test]
    fn rubbish_is_no_cursor() {
        let good = TicketSearch::default().cursor(somewhere());
        let far = URL_SAFE_NO_PAD.encode([&[1_u8][..], &[0x80; 8], &[0; 24]].concat());
        for rubbish in ["x", "' OR 1=1 --", "2026-01-01|1", &good[1..], &far, "AAAA"] {
            let faults = parse(json!({ "cursor": rubbish })).unwrap_err();
            assert!(faults["cursor"].contains("is not a cursor"), "{faults:#?}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faults = parse(json!({
            "q": "!?", "status": "lost", "priority": ["high"], "limit": 101, "sort_by": "title",
            "sort_order": "up",
            "created_after": "yesterday", "updated_after": "2026-02-01T00:00:00Z",
            "updated_before": "2026-02-01T00:00:00Z", "integration_name": "Jira", "stauts": "open",
        }))
        .unwrap_err();
        let named: Vec<_> = faults.keys().map(String::as_str).collect();
        assert_eq!(
            named,
            [
                "created_after",
                "integration_name",
                "limit",
                "priority",
                "q",
                "sort_by",
                "sort_order",
                "status",
                "stauts",
                "updated_before",
            ]
        );
        assert!(faults["sort_by"].contains("updated_at"), "{faults:#?}");
    }
}
