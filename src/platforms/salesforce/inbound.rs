//! What an org tells by itself. Salesforce has no webhooks: a Flow or Apex of the customer's calls
//! us, with JSON of our own design, through a Named Credential that signs it or adds a secret
//! header.
//!
//! Sources: Named Credentials reference, "Formula Functions" (`HMAC`, `HEX`); Apex
//! `Crypto.generateMac`.

use std::time::Duration;

use serde::Deserialize;

use super::Salesforce;
use super::reader::comment_of;
use super::words::{Record, id_of, moment};
use crate::platforms::inbound::{
    Coded, Hit, Hooks, Key, Mac, Piece, Scheme, Stamp, Unit, Value as Proof, When,
};
use crate::platforms::{
    Actor, AdapterError, Change, ChangeKind, ErrorClass, Facts, Inbound, ItemRef, Moment, Needs,
};

const SIGNATURE: &str = "x-webhook-signature";
const SIGNED_AT: &str = "x-webhook-timestamp";

pub(in crate::platforms) static HOOKS: Hooks = Hooks::new(&[
    Scheme {
        when: When::Header(SIGNATURE),
        value: Proof::Header(SIGNATURE, "sha256="),
        mac: Mac::HmacSha256,
        key: Key::Text,
        coded: Coded::Hex,
        over: &[Piece::Header(SIGNED_AT), Piece::Text("."), Piece::Body],
        time: Some(Stamp {
            at: SIGNED_AT,
            unit: Unit::Seconds,
            window: Duration::from_secs(300),
        }),
    },
    Scheme::secret("x-webhook-secret"),
])
.keep(&[SIGNED_AT]);

/// A delivery, as we ask customers to write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    event_id: Option<String>,
    event_type: String,
    occurred_at: Option<String>,
    case: Option<Record>,
    comment: Option<Record>,
}

fn no_case() -> AdapterError {
    let text = "the delivery names no case: it has its record in `case`, with `Id`";
    let class = ErrorClass::Validation {
        fields: std::collections::BTreeMap::new(),
    };
    AdapterError::new(class, text)
}

impl Delivery {
    fn item(&self) -> Option<ItemRef> {
        let by_comment = || Some(ItemRef::named(self.comment.as_ref()?.id("ParentId")?));
        self.case
            .as_ref()
            .and_then(Salesforce::item_ref)
            .or_else(by_comment)
    }

    fn at(&self) -> Option<Moment> {
        let of_case = || self.case.as_ref()?.at("SystemModstamp");
        let said = self.occurred_at.as_deref().and_then(moment);
        said.map(Moment::second).or_else(of_case)
    }
}

impl Inbound for Salesforce {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let delivery: Delivery = hit.json()?;
        let kind = match delivery.event_type.as_str() {
            "case.created" => ChangeKind::Created,
            "case.updated" => ChangeKind::Updated,
            "case.commented" => ChangeKind::Commented,
            "case.deleted" => ChangeKind::Deleted,
            // Events of other objects are not ours to follow.
            _ => return Ok(Vec::new()),
        };
        let item = delivery.item().ok_or_else(no_case)?;
        let id = delivery.event_id.clone().filter(|id| !id.trim().is_empty());
        let id = id.unwrap_or_else(|| format!("{}#0", hit.digest()));
        let case = delivery.case.as_ref();
        let facts = case.map_or_else(Facts::default, |case| self.facts_of(case));
        let is_comment = kind == ChangeKind::Commented;
        let comment = delivery
            .comment
            .as_ref()
            .filter(|_| is_comment)
            .and_then(comment_of);
        let by_case = || id_of(case?.text("LastModifiedById")?);
        let by = match &comment {
            Some(comment) => comment.author.clone(),
            None => by_case().map(|id| Actor {
                id: Some(id),
                name: None,
            }),
        };
        let says_all = match kind {
            ChangeKind::Deleted => true,
            ChangeKind::Commented => comment.as_ref().is_some_and(|said| !said.body.is_empty()),
            _ => facts.status.is_some(),
        };
        Ok(vec![Change {
            at: delivery.at(),
            by,
            facts: if is_comment { Facts::default() } else { facts },
            comment,
            marker: case.and_then(|case| self.marker_of(case)),
            needs: if says_all {
                Needs::Nothing
            } else {
                Needs::Item
            },
            ..Change::new(id, kind, item)
        }])
    }
}
