//! A case as Salesforce shows it, in its words and in ours.

use serde_json::Value;

use super::Salesforce;
use super::words::{self, CLOSED, Record};
use crate::domain::{TicketStatus, TicketView};
use crate::platforms::text::Marker;
use crate::platforms::{ExternalItem, Facts, Holder, ItemRef, TicketFacts};

/// What is read of every case.
const FIELDS: [&str; 9] = [
    "Id",
    "CaseNumber",
    "Subject",
    "Status",
    "Priority",
    "Type",
    "OwnerId",
    "IsClosed",
    "SystemModstamp",
];
/// The text, which is long.
const DESCRIPTION: &str = "Description";
/// The class of a status, as `IsClosed` has it.
const CLASSES: [&str; 2] = ["open", "closed"];

impl Salesforce {
    /// The fields that are read of a case, below this path; with its text, or without.
    pub(super) fn fields_read(&self, below: &str, with_text: bool) -> String {
        let own = [&self.external_id, &self.tags].into_iter().flatten();
        let own = own.map(String::as_str).chain(self.fields.names());
        let mut names: Vec<&str> = FIELDS.to_vec();
        names.extend(with_text.then_some(DESCRIPTION));
        for name in own.filter(|name| words::is_custom_field(name)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let paths = names.iter().map(|name| format!("{below}{name}"));
        paths.collect::<Vec<_>>().join(",")
    }

    /// How a case is called. Its number is what people quote.
    pub(super) fn item_ref(record: &Record) -> Option<ItemRef> {
        let id = record.id("Id")?;
        Some(ItemRef {
            external_id: record
                .text("CaseNumber")
                .map_or_else(|| id.clone(), str::to_owned),
            stable_id: Some(id),
        })
    }

    /// A case as it stands; `instance` is where the org is. `None` where it has no id.
    pub(super) fn item_of(&self, record: &Record, instance: Option<&str>) -> Option<ExternalItem> {
        let item = Self::item_ref(record)?;
        let url = instance.and_then(|instance| self.page_of(instance, item.address()));
        Some(ExternalItem {
            at: record.at("SystemModstamp"),
            facts: Facts {
                url,
                ..self.facts_of(record)
            },
            marker: self.marker_of(record),
            item,
            ..ExternalItem::default()
        })
    }

    pub(super) fn facts_of(&self, record: &Record) -> Facts {
        let text = |name: &str| record.text(name).map(str::to_owned);
        let tags = self
            .tags
            .as_deref()
            .filter(|name| record.0.contains_key(*name));
        let tags = tags.map(|name| {
            let all = record.text(name).unwrap_or_default().split(';');
            all.filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect()
        });
        let custom = self.fields.names().filter_map(|name| {
            let value = record.0.get(name)?;
            Some((name.to_owned(), value.clone()))
        });
        Facts {
            title: text("Subject"),
            description: record.lines(DESCRIPTION),
            status: text("Status"),
            status_class: record
                .flag("IsClosed")
                .map(|is| CLASSES[usize::from(is)].to_owned()),
            priority: text("Priority"),
            assignee: record.id("OwnerId").map(Holder::Account),
            tags,
            custom: custom.collect(),
            url: None,
        }
    }

    /// The mark of its create: in the field of the external id, or the last line of its text.
    pub(super) fn marker_of(&self, record: &Record) -> Option<String> {
        let found = match &self.external_id {
            Some(field) => record.text(field).and_then(|text| Marker::among([text])),
            None => record.text(DESCRIPTION).and_then(Marker::find),
        };
        found.map(str::to_owned)
    }

    pub(super) fn in_our_words(&self, facts: &Facts) -> TicketFacts {
        let by_class = || match facts.status_class.as_deref()? {
            "closed" => Some(TicketStatus::Closed),
            _ => Some(TicketStatus::Open),
        };
        let status = facts
            .status
            .as_deref()
            .and_then(|word| self.statuses.back(word));
        let priority = facts.priority.as_deref();
        let custom = facts.custom.iter().filter_map(|(theirs, value)| {
            Some((self.fields.ours(theirs)?.to_owned(), value.clone()))
        });
        TicketFacts {
            title: facts.title.clone(),
            description: facts.description.clone(),
            status: status.or_else(by_class),
            priority: priority.and_then(|word| self.priorities.back(word)),
            assignee: facts.assignee.clone(),
            tags: facts.tags.clone(),
            custom: custom.collect(),
        }
    }

    /// What is compared with what comes back.
    pub(super) fn in_their_words(&self, ticket: &TicketView) -> Facts {
        let text = |word: Option<&str>| word.map(str::to_owned);
        Facts {
            title: Some(words::subject(&ticket.title).0),
            status: text(self.statuses.out(ticket.status)),
            priority: text(self.priorities.out(ticket.priority)),
            ..Facts::default()
        }
    }

    /// Whether what was cancelled is closed like anything else.
    pub(super) fn cancels_by_closing(&self, status: TicketStatus) -> bool {
        status == TicketStatus::Cancelled && self.statuses.out(status) == Some(CLOSED)
    }
}

/// What was set, in the platform's words.
pub(super) fn written(members: &serde_json::Map<String, Value>) -> Facts {
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    Facts {
        title: text("Subject"),
        description: text(DESCRIPTION),
        status: text("Status"),
        priority: text("Priority"),
        assignee: text("OwnerId").map(Holder::Account),
        ..Facts::default()
    }
}
