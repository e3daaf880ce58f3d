//! What ServiceNow tells by itself: deliveries of business rules that an administrator makes, as it
//! has no webhooks of incidents. So the form is ours to define: the recipe signs timestamp and
//! body. A rule that is not scripted sends the secret in a header.
//!
//! Source: `c_CertificateEncryptionScopedAPI.md` (`generateMac`). ServiceNow repeats no delivery,
//! so that a sync finds what was lost; rules that run later may come in another order.

use std::time::Duration;

use reqwest::Method;

use super::words::{Row, SYS_ID, is_sys_id};
use crate::platforms::inbound::{
    BODY_MAX, Coded, Hit, Hooks, Key, Mac, Piece, Reply, Scheme, Stamp, Unit, Value as Proof, When,
};
use crate::platforms::text::Marker;
use crate::platforms::{
    Actor, AdapterError, Change, ChangeKind, ErrorClass, ExternalComment, Facts, Inbound, ItemRef,
    Needs,
};

/// Which delivery it is.
const DELIVERY: &str = "x-sn-delivery";
/// When it was signed.
const TIMESTAMP: &str = "x-sn-timestamp";
const SIGNATURE: &str = "x-sn-signature";

pub(in crate::platforms) static HOOKS: Hooks = Hooks {
    methods: &[Method::POST],
    keep: &[DELIVERY, TIMESTAMP],
    schemes: &[
        Scheme {
            when: When::Header(SIGNATURE),
            value: Proof::Header(SIGNATURE, ""),
            mac: Mac::HmacSha256,
            key: Key::Text,
            coded: Coded::Base64,
            over: &[Piece::Header(TIMESTAMP), Piece::Text("."), Piece::Body],
            time: Some(Stamp {
                at: TIMESTAMP,
                unit: Unit::Seconds,
                window: Duration::from_secs(300),
            }),
        },
        Scheme::secret("x-sn-secret"),
    ],
    body_max: BODY_MAX,
    taken: Reply::OK,
    shake: |_, _| None,
    secrets: &[],
};

/// Deliveries of business rules.
pub(super) struct Rules;

/// The ones there are.
pub(super) static RULES: Rules = Rules;

impl Inbound for Rules {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let row: Row = hit.json()?;
        let event = row.says("event").ok_or_else(|| refused("event"))?;
        // Of other tables, and of what else a rule may tell.
        let kind = match event {
            "incident.created" => ChangeKind::Created,
            "incident.updated" => ChangeKind::Updated,
            "incident.deleted" => ChangeKind::Deleted,
            "incident.commented" => ChangeKind::Commented,
            _ => return Ok(Vec::new()),
        };
        let id = hit.change_id(DELIVERY, 0);
        let change = if kind == ChangeKind::Commented {
            commented(&row, id)?
        } else {
            changed(&row, kind, id)?
        };
        Ok(vec![change])
    }
}

fn refused(member: &str) -> AdapterError {
    let text = format!("the delivery has no {member} as the recipe of the business rule sends it");
    let fields = [(member.to_owned(), "is required".to_owned())].into();
    AdapterError::new(ErrorClass::Validation { fields }, text)
}

fn actor(row: &Row, column: &str) -> Option<Actor> {
    let name = row.says(column)?.to_owned();
    Some(Actor {
        id: Some(name.clone()),
        name: Some(name),
    })
}

/// The incident. It is thin, and rules may run out of order: it is read before anything follows.
fn changed(row: &Row, kind: ChangeKind, id: String) -> Result<Change, AdapterError> {
    let item = row.item().ok_or_else(|| refused(SYS_ID))?;
    let is_deleted = kind == ChangeKind::Deleted;
    Ok(Change {
        at: row.updated(),
        by: actor(row, "sys_updated_by"),
        facts: if is_deleted {
            Facts::default()
        } else {
            row.facts()
        },
        marker: row.marker(),
        needs: if is_deleted {
            Needs::Nothing
        } else {
            Needs::Item
        },
        ..Change::new(id, kind, item)
    })
}

/// An entry of the journal: its own id, and that of the incident as `element_id`.
fn commented(row: &Row, id: String) -> Result<Change, AdapterError> {
    let of = |column: &'static str| {
        let id = row.says(column).filter(|id| is_sys_id(id));
        id.map(str::to_owned).ok_or_else(|| refused(column))
    };
    let incident = of("element_id")?;
    let public = match row.says("element") {
        Some("comments") => Some(true),
        Some("work_notes") => Some(false),
        _ => None,
    };
    let body = row.says("value").ok_or_else(|| refused("value"))?;
    let author = actor(row, "sys_created_by");
    let at = row.at("sys_created_on");
    let item = ItemRef {
        external_id: row.says("number").unwrap_or(&incident).to_owned(),
        stable_id: Some(incident.clone()),
    };
    let marker = Marker::find(body).map(str::to_owned);
    let body = marker.as_ref().map_or(body, |marker| {
        let line = format!("[ref:{marker}]");
        body.trim_end().strip_suffix(&line).unwrap_or(body)
    });
    Ok(Change {
        at: at.map(crate::platforms::Moment::second),
        by: author.clone(),
        comment: Some(ExternalComment {
            id: of(SYS_ID)?,
            body: body.trim_end().to_owned(),
            public,
            author,
            created_at: at,
            marker,
            ..ExternalComment::default()
        }),
        ..Change::new(id, ChangeKind::Commented, item)
    })
}
