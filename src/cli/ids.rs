//! Ids as people write them: in full, or by a beginning that only one has; integrations also by
//! name.

use uuid::Uuid;

use super::{Failed, failed};
use crate::store::{Named, Store};

/// Ids that an ambiguous beginning names.
const SHOWN_MAX: usize = 5;
/// Hexadecimal digits of an id.
const DIGITS: usize = 32;

/// The id of the one thing that is meant. An id in full is taken as it is, whether or not it is
/// there: the command that needs it says so.
///
/// # Errors
/// Nothing, or more than one thing is meant, or the text is no id at all.
pub(super) async fn find(store: &Store, named: Named, text: &str) -> Result<Uuid, Failed> {
    let found = look_up(store, named, text, None).await?;
    found.ok_or_else(|| none(named, text, ""))
}

/// The same among what belongs to one organization: names of others are none of its business.
///
/// # Errors
/// As [`find`].
pub(super) async fn find_of(
    store: &Store,
    named: Named,
    text: &str,
    organization: Uuid,
) -> Result<Uuid, Failed> {
    let found = look_up(store, named, text, Some(organization)).await?;
    found.ok_or_else(|| none(named, text, &format!(" of the organization {organization}")))
}

fn none(named: Named, text: &str, of: &str) -> Failed {
    let (what, list) = words(named);
    Failed::Operation(if named == Named::Integration {
        format!("there is no {what}{of} with the name or the id {text:?}; {list} shows all")
    } else {
        format!("there is no {what}{of} whose id begins with {text}; {list} shows them")
    })
}

/// What a thing is called, and where all of its kind are.
const fn words(named: Named) -> (&'static str, &'static str) {
    match named {
        Named::Command => ("command", "`ticketwire command list`"),
        Named::Ticket => ("ticket", "`ticketwire ticket list`"),
        Named::Integration => ("integration", "`ticketwire integration list`"),
        Named::Organization => ("organization", "`ticketwire integration list`"),
    }
}

/// The same, where nothing is meant by it is an answer, too.
///
/// # Errors
/// More than one thing is meant, or the text is no id at all.
pub(super) async fn look_up(
    store: &Store,
    named: Named,
    text: &str,
    organization: Option<Uuid>,
) -> Result<Option<Uuid>, Failed> {
    if let Ok(id) = text.parse() {
        return Ok(Some(id));
    }
    let range = range_of(text);
    let (what, _) = words(named);
    if range.is_none() && named != Named::Integration {
        return Err(Failed::Usage(format!(
            "{text:?} is no id of a {what}: give its UUID, or the beginning of it"
        )));
    }
    let limit = i64::try_from(SHOWN_MAX + 1).unwrap_or(i64::MAX);
    let mut found = store
        .ids_of(named, range, text, organization, limit)
        .await
        .map_err(failed)?;
    let count = found.len();
    match found.pop() {
        None => Ok(None),
        Some(id) if count == 1 => Ok(Some(id)),
        Some(last) => {
            found.push(last);
            let shown: Vec<String> = found.iter().take(SHOWN_MAX).map(Uuid::to_string).collect();
            let more = if count > SHOWN_MAX { ", …" } else { "" };
            Err(Failed::Operation(format!(
                "{text:?} may be more than one {what}: {}{more}; write more of the id",
                shown.join(", ")
            )))
        }
    }
}

/// The first and the last id that begin so; `None` where no id does.
fn range_of(beginning: &str) -> Option<(Uuid, Uuid)> {
    let digits: String = beginning.chars().filter(|c| *c != '-').collect();
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    if digits.is_empty() || digits.len() > DIGITS || !is_hex {
        return None;
    }
    let filled = |with: &str| {
        let rest = with.repeat(DIGITS - digits.len());
        format!("{digits}{rest}").parse().ok()
    };
    Some((filled("0")?, filled("f")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_stands_for_all_ids_that_begin_so() {
        let id: Uuid = "0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e".parse().unwrap();

        for beginning in [
            "0",
            "0198E",
            "0198e0d2-6d3",
            "0198e0d26d3a7c1e9a530a4f6c1d2b3e",
        ] {
            let (first, last) = range_of(beginning).unwrap();
            assert!(first <= id && id <= last, "{beginning}");
        }
        let (first, last) = range_of("0199").unwrap();
        assert!(id < first && first < last);
        for none in ["", "-", "xyz", "0198e0d26d3a7c1e9a530a4f6c1d2b3e0", "Jira"] {
            assert_eq!(range_of(none), None, "{none}");
        }
    }
}
