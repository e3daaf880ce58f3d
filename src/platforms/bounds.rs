//! What comes back from a platform, made fit for our columns. A platform may answer anything: what
//! it says is bounded and cleaned here, once for every adapter, so that a strange answer never
//! costs a ticket its row.
//!
//! The bounds are those of the columns (`migrations/V1__legacy_shape.sql`): an id of over 255
//! characters or an address of over 500 would be refused by PostgreSQL, as is NUL in any text and a
//! number of thousands of digits in `jsonb`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Actor, AdapterError, Change, ChangeKind, CheckReport, ErrorClass, ExternalComment,
    ExternalFile, ExternalItem, Facts, Holder, ItemRef, PlatformField, Receipt,
};

/// Characters of `tickets.external_ticket_id`.
const ID_MAX: usize = 255;
/// Characters of `tickets.external_ticket_url`.
const URL_MAX: usize = 500;
/// Characters of a message for people.
const MESSAGE_MAX: usize = 1_000;
/// Characters of a description or comment that comes back.
const BODY_MAX: usize = 64 << 10;
/// Tags of an item, at most.
const TAGS_MAX: usize = 200;
/// Fields that an error names, at most.
const FIELDS_MAX: usize = 50;
/// Of a JSON value: characters of a text and of a name, nesting, bytes of all of it.
const TEXT_MAX: usize = 2_000;
const NAME_MAX: usize = 200;
const DEPTH_MAX: usize = 8;
const REF_MAX: usize = 8 << 10;
const DETAILS_MAX: usize = 16 << 10;
/// Of `integration.fields`: fields, values of one, bytes of all of them.
const PLATFORM_FIELDS_MAX: usize = 2_000;
const ALLOWED_VALUES_MAX: usize = 500;
const PLATFORM_FIELDS_BYTES_MAX: usize = 512 << 10;

/// What is wrong with an id of the platform's, if anything is.
pub(super) fn id_fault(id: &str) -> Option<&'static str> {
    if id.trim().is_empty() {
        Some("it is empty")
    } else if id.len() > ID_MAX && id.chars().count() > ID_MAX {
        Some("it is longer than 255 characters")
    } else if id.chars().any(char::is_control) {
        Some("it has control characters in it")
    } else {
        None
    }
}

/// What is wrong with the address of an item, if anything is.
pub(super) fn url_fault(url: &str) -> Option<&'static str> {
    if url.len() > URL_MAX && url.chars().count() > URL_MAX {
        Some("it is longer than 500 characters")
    } else if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Some("it has blanks or control characters in it")
    } else if !(url.starts_with("https://") || url.starts_with("http://")) {
        Some("it does not begin with https://")
    } else {
        None
    }
}

/// The receipt of an operation that may have made something. An id that cannot be one is an answer
/// that cannot be read.
pub(super) fn receipt(mut receipt: Receipt, makes_item: bool) -> Result<Receipt, AdapterError> {
    let mut left_out = Map::new();
    if let Some(fault) = receipt.external_id.as_deref().and_then(id_fault) {
        if makes_item {
            let text =
                format!("the platform's answer cannot be read: the id it gives is none, {fault}");
            return Err(AdapterError::new(ErrorClass::Unknown, text));
        }
        receipt.external_id = None;
        note(&mut left_out, "external_ticket_id", fault);
    }
    if let Some(fault) = receipt.external_url.as_deref().and_then(url_fault) {
        receipt.external_url = None;
        note(&mut left_out, "external_ticket_url", fault);
    }
    for (name, id) in [
        ("external_comment_id", &mut receipt.external_comment_id),
        (
            "external_attachment_id",
            &mut receipt.external_attachment_id,
        ),
    ] {
        if let Some(fault) = id.as_deref().and_then(id_fault) {
            *id = None;
            note(&mut left_out, name, fault);
        }
    }
    let remembered = object(std::mem::take(&mut receipt.external_ref), REF_MAX, None);
    receipt.external_ref = remembered;
    let said = object(
        std::mem::take(&mut receipt.details),
        DETAILS_MAX,
        Some(&mut left_out),
    );
    receipt.details = said;
    receipt.details.extend(left_out);
    receipt.wrote = facts(receipt.wrote);
    Ok(receipt)
}

fn note(left_out: &mut Map<String, Value>, name: &str, fault: &str) {
    left_out.insert(
        name.into(),
        format!("left out: what the platform gave is none, {fault}").into(),
    );
}

/// An error of an adapter: texts that a row and an event can hold.
pub(super) fn error(mut error: AdapterError) -> AdapterError {
    error.public = text(&error.public, MESSAGE_MAX);
    error.internal = error.internal.map(|said| text(&said, 2 * TEXT_MAX));
    if let ErrorClass::Validation { fields } = error.class {
        let fields: BTreeMap<String, String> = fields
            .into_iter()
            .take(FIELDS_MAX)
            .map(|(name, fault)| (text(&name, NAME_MAX), text(&fault, MESSAGE_MAX)))
            .collect();
        error.class = ErrorClass::Validation { fields };
    }
    error
}

/// What a check saw.
pub(super) fn report(report: CheckReport) -> CheckReport {
    CheckReport {
        message: text(&report.message, MESSAGE_MAX),
        details: object(report.details, DETAILS_MAX, None),
    }
}

/// The fields of a platform, as many as an answer can hold.
pub(super) fn fields(fields: Vec<PlatformField>) -> Vec<PlatformField> {
    let mut bytes = 0;
    fields
        .into_iter()
        .take(PLATFORM_FIELDS_MAX)
        .map(|field| PlatformField {
            id: text(&field.id, ID_MAX),
            name: text(&field.name, ID_MAX),
            kind: field.kind.map(|kind| text(&kind, NAME_MAX)),
            allowed_values: field
                .allowed_values
                .iter()
                .take(ALLOWED_VALUES_MAX)
                .map(|value| text(value, ID_MAX))
                .collect(),
            ..field
        })
        .take_while(|field| {
            let values = field.allowed_values.iter().map(String::len);
            bytes += 64 + field.id.len() + field.name.len() + values.sum::<usize>();
            bytes <= PLATFORM_FIELDS_BYTES_MAX
        })
        .collect()
}

/// An item, if its id is one.
pub(super) fn item(item: ExternalItem) -> Option<ExternalItem> {
    Some(ExternalItem {
        item: item_ref(item.item)?,
        facts: facts(item.facts),
        comments: item.comments.into_iter().filter_map(comment).collect(),
        files: item.files.into_iter().filter_map(file).collect(),
        ..item
    })
}

/// A change, if the ids of its item are some.
pub(super) fn change(change: Change) -> Option<Change> {
    let kind = match change.kind {
        ChangeKind::Moved { to } => ChangeKind::Moved { to: item_ref(to)? },
        ChangeKind::Merged { into } => ChangeKind::Merged {
            into: item_ref(into)?,
        },
        kind @ (ChangeKind::Created
        | ChangeKind::Updated
        | ChangeKind::Commented
        | ChangeKind::CommentChanged
        | ChangeKind::CommentDeleted
        | ChangeKind::Attached
        | ChangeKind::Deleted
        | ChangeKind::Restored) => kind,
    };
    Some(Change {
        kind,
        item: item_ref(change.item)?,
        by: change.by.map(actor),
        facts: facts(change.facts),
        before: facts(change.before),
        comment: change.comment.and_then(comment),
        files: change.files.into_iter().filter_map(file).collect(),
        ..change
    })
}

fn item_ref(item: ItemRef) -> Option<ItemRef> {
    let is_sound = id_fault(&item.external_id).is_none();
    is_sound.then(|| ItemRef {
        stable_id: item.stable_id.filter(|id| id_fault(id).is_none()),
        ..item
    })
}

fn facts(facts: Facts) -> Facts {
    let short = |said: Option<String>| said.map(|said| text(&said, ID_MAX));
    let custom = object(facts.custom.into_iter().collect(), DETAILS_MAX, None);
    Facts {
        title: facts.title.map(|title| text(&title, URL_MAX)),
        description: facts.description.map(|said| text(&said, BODY_MAX)),
        status: short(facts.status),
        status_class: short(facts.status_class),
        priority: short(facts.priority),
        assignee: facts.assignee.filter(|holder| match holder {
            Holder::Nobody => true,
            Holder::Account(account) => id_fault(account).is_none(),
        }),
        tags: facts.tags.map(|tags| {
            let tags = tags.iter().take(TAGS_MAX);
            tags.map(|tag| text(tag, ID_MAX)).collect()
        }),
        custom: custom.into_iter().collect(),
        url: facts.url.filter(|url| url_fault(url).is_none()),
    }
}

fn comment(comment: ExternalComment) -> Option<ExternalComment> {
    id_fault(&comment.id).is_none().then(|| ExternalComment {
        body: text(&comment.body, BODY_MAX),
        before: comment.before.map(|said| text(&said, BODY_MAX)),
        author: comment.author.map(actor),
        ..comment
    })
}

fn file(file: ExternalFile) -> Option<ExternalFile> {
    id_fault(&file.id).is_none().then(|| ExternalFile {
        name: text(&file.name, ID_MAX),
        content_type: file.content_type.map(|said| text(&said, ID_MAX)),
        url: file.url.filter(|url| url_fault(url).is_none()),
        ..file
    })
}

fn actor(actor: Actor) -> Actor {
    Actor {
        id: actor.id.filter(|id| id_fault(id).is_none()),
        name: actor.name.map(|name| text(&name, ID_MAX)),
    }
}

/// A text without what PostgreSQL does not take, at most so many characters.
fn text(text: &str, characters_max: usize) -> String {
    let head = super::text::head(text, characters_max);
    // The line ends of Windows, and of forms that browsers send, are line ends.
    let lines = head.replace("\r\n", "\n").replace('\r', "\n");
    let mut kept: String = lines
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect();
    if head.len() < text.len() {
        kept.pop();
        kept.push('…');
    }
    kept
}

/// An object of at most so many bytes; what is beyond is left out by whole members, whose names are
/// noted.
fn object(
    members: Map<String, Value>,
    bytes_max: usize,
    left_out: Option<&mut Map<String, Value>>,
) -> Map<String, Value> {
    if members.is_empty() {
        return members;
    }
    let mut left = bytes_max;
    let mut missing = Vec::new();
    let mut kept = Map::new();
    for (name, value) in members {
        let name = text(&name, NAME_MAX);
        let mut size = 0;
        let value = json(value, DEPTH_MAX, left, &mut size);
        size += name.len() + 4;
        match value {
            Some(value) if size <= left => {
                left -= size;
                kept.insert(name, value);
            }
            Some(_) | None => missing.push(name),
        }
    }
    if let Some(left_out) = left_out
        && !missing.is_empty()
    {
        missing.truncate(20);
        let text = format!("left out, as they are too long: {}", missing.join(", "));
        left_out.insert("left_out".into(), text.into());
    }
    kept
}

/// A value as `jsonb` takes it; nothing where it is bigger than `bytes_max`. `size` counts its
/// bytes.
fn json(value: Value, depth: usize, bytes_max: usize, size: &mut usize) -> Option<Value> {
    let value = match value {
        Value::Null | Value::Bool(_) => {
            *size += 5;
            value
        }
        Value::Number(number) => {
            let digits = number.to_string();
            *size += digits.len();
            // `jsonb` has limits for numbers; one of so many digits is none to anybody.
            if digits.len() > 40 {
                Value::String(text(&digits, NAME_MAX))
            } else {
                Value::Number(number)
            }
        }
        Value::String(said) => {
            let said = text(&said, TEXT_MAX);
            *size += said.len() + 2;
            Value::String(said)
        }
        Value::Array(_) | Value::Object(_) if depth == 0 => {
            *size += 3;
            Value::String("…".into())
        }
        Value::Array(items) => {
            let mut kept = Vec::new();
            for item in items {
                *size += 1;
                kept.push(json(item, depth - 1, bytes_max, size)?);
            }
            Value::Array(kept)
        }
        Value::Object(members) => {
            let mut kept = Map::new();
            for (name, value) in members {
                let name = text(&name, NAME_MAX);
                *size += name.len() + 4;
                let value = json(value, depth - 1, bytes_max, size)?;
                kept.insert(name, value);
            }
            Value::Object(kept)
        }
    };
    (*size <= bytes_max).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn absurd() -> Vec<String> {
        vec![
            "x".repeat(256),
            "ü".repeat(300),
            "a\0b".into(),
            String::new(),
            "  ".into(),
            "a\u{1b}[2J".into(),
            "x".repeat(1 << 20),
        ]
    }

    #[test]
    fn an_id_that_is_none_makes_a_create_unknown_and_is_left_out_elsewhere() {
        for id in absurd() {
            let given = Receipt {
                external_id: Some(id.clone()),
                ..Receipt::default()
            };

            let error = receipt(given.clone(), true).unwrap_err();
            let kept = receipt(given, false).unwrap();

            assert_eq!(error.class, ErrorClass::Unknown, "{id:?}");
            assert!(
                error.public.len() < 200,
                "it does not quote: {}",
                error.public
            );
            assert_eq!(kept.external_id, None);
            assert!(
                kept.details["external_ticket_id"]
                    .as_str()
                    .unwrap()
                    .contains("left out")
            );
        }
        let good = Receipt {
            external_id: Some("ü".repeat(255)),
            external_url: Some(format!("https://x.test/{}", "ä".repeat(485))),
            ..Receipt::default()
        };
        assert_eq!(receipt(good.clone(), true).unwrap(), good);
    }

    #[test]
    fn an_address_that_is_none_is_left_out_with_a_word() {
        for url in [
            format!("https://x.test/{}", "a".repeat(500)),
            "https://x.test/\0".into(),
            "javascript:alert(1)".into(),
            "https://x.test/a b".into(),
            String::new(),
        ] {
            let kept = receipt(
                Receipt {
                    external_id: Some("K-1".into()),
                    external_url: Some(url.clone()),
                    external_comment_id: Some("\0".into()),
                    external_attachment_id: Some("y".repeat(999)),
                    ..Receipt::default()
                },
                true,
            )
            .unwrap();

            assert_eq!(kept.external_id.as_deref(), Some("K-1"));
            assert_eq!(
                (
                    &kept.external_url,
                    &kept.external_comment_id,
                    &kept.external_attachment_id
                ),
                (&None, &None, &None),
                "{url:?}"
            );
            for name in [
                "external_ticket_url",
                "external_comment_id",
                "external_attachment_id",
            ] {
                assert!(
                    kept.details[name].as_str().unwrap().starts_with("left out"),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn details_keep_what_fits_and_name_what_does_not() {
        let details = json!({
            "a": "x\0y", "b": ["z".repeat(9_000)], "c": vec!["w".repeat(1_999); 20], "d": 1,
            "n\0": { "m\0": [null, true, 1.5] },
        });
        let given = Receipt {
            details: details.as_object().unwrap().clone(),
            external_ref: Map::from_iter([("id".to_owned(), "1\u{0}".into())]),
            ..Receipt::default()
        };

        let kept = receipt(given, false).unwrap();

        assert_eq!(kept.details["a"], "x\u{fffd}y");
        assert_eq!(kept.details["d"], 1);
        assert_eq!(kept.details["n\u{fffd}"]["m\u{fffd}"][2], 1.5);
        assert!(kept.details["b"][0].as_str().unwrap().ends_with('…'));
        assert!(!kept.details.contains_key("c"));
        assert!(kept.details["left_out"].as_str().unwrap().ends_with(": c"));
        assert_eq!(kept.external_ref["id"], "1\u{fffd}");
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "(\\PC|[\\x00-\\x1f]){0,40}".prop_map(Value::from),
            Just(Value::from("\0".repeat(3_000))),
        ];
        leaf.prop_recursive(12, 256, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::hash_map("[a-c\\x00]{0,4}", inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn storable(value: &Value, depth: usize) -> bool {
        let clean = |text: &str| !text.contains('\0') && text.chars().count() <= TEXT_MAX;
        depth <= DEPTH_MAX + 1
            && match value {
                Value::String(said) => clean(said),
                Value::Array(items) => items.iter().all(|item| storable(item, depth + 1)),
                Value::Object(members) => members
                    .iter()
                    .all(|(name, value)| clean(name) && storable(value, depth + 1)),
                Value::Null | Value::Bool(_) | Value::Number(_) => true,
            }
    }

    proptest! {
        #[test]
        fn whatever_a_platform_says_can_be_stored(
            value in values(), url in "(\\PC|[\\x00-\\x1f]){0,600}",
            comment in "(\\PC|\\x00){0,300}",
        ) {
            let members = Map::from_iter([("said".to_owned(), value)]);
            let kept = receipt(Receipt {
                external_id: Some("K-1".into()),
                external_url: Some(url.clone()),
                external_ref: members.clone(),
                external_comment_id: Some(comment),
                external_attachment_id: None,
                details: members,
                ..Receipt::default()
            }, true).unwrap();

            for map in [kept.external_ref, kept.details] {
                let value = Value::Object(map);
                prop_assert!(storable(&value, 0), "{value}");
                // Escapes may take six bytes a byte.
                prop_assert!(value.to_string().len() <= 6 * DETAILS_MAX);
            }
            let error = error(AdapterError::field(&url, url.repeat(10)));
            prop_assert!(!error.public.contains('\0')
                && error.public.chars().count() <= MESSAGE_MAX);
        }
    }

    #[test]
    fn listings_keep_what_has_an_id() {
        let of = |id: &str| ExternalItem {
            item: ItemRef {
                stable_id: Some("\0".into()),
                ..ItemRef::named(id)
            },
            facts: Facts {
                url: Some("x:y".into()),
                title: Some("t\0".repeat(900)),
                assignee: Some(Holder::Account(String::new())),
                tags: Some(vec!["t".repeat(900); 900]),
                ..Facts::default()
            },
            ..ExternalItem::default()
        };
        for id in absurd() {
            assert_eq!(item(of(&id)), None);
            assert_eq!(change(Change::seen(of(&id))), None);
            let to = ItemRef::named(id);
            let moved = Change::new("c", ChangeKind::Moved { to }, ItemRef::named("K-1"));
            assert_eq!(change(moved), None);
        }
        let kept = item(of("K-1")).unwrap();
        assert_eq!(change(Change::seen(of("K-1"))).unwrap().facts, kept.facts);
        assert_eq!(kept.item, ItemRef::named("K-1"));
        assert_eq!((&kept.facts.url, &kept.facts.assignee), (&None, &None));
        assert!(!kept.facts.title.unwrap().contains('\0'));
        let tags = kept.facts.tags.unwrap();
        assert!(tags.len() == TAGS_MAX && tags[0].chars().count() == ID_MAX);

        let field = PlatformField {
            id: "f\0".into(),
            name: "n".repeat(900),
            kind: None,
            custom: true,
            required: false,
            allowed_values: vec!["v".repeat(300); 600],
        };
        let kept = fields(vec![field; 12]);
        assert!(kept.len() < 9, "{}", kept.len());
        assert!(
            kept.iter()
                .all(|field| field.name.chars().count() == ID_MAX)
        );
    }
}
