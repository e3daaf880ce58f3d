//! What a person meant who misspelled a name.

/// The known name that a person most likely meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A longer name is no typo of one of ours, and comparing takes the product of the lengths.
    let given = squeezed(name);
    if given.chars().count() > 64 {
        return None;
    }
    let distances = known.map(|name| (distance(&given, &squeezed(name)), name));
    let (distance, near) = distances.min_by_key(|(distance, _)| *distance)?;
    let most = (near.len() / 4).max(1);
    (distance <= most).then_some(near)
}

/// How many characters have to be put in, left out or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, d) in other.iter().enumerate() {
            let changed = diagonal + usize::from(c != *d);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// A name in lower case, without what separates words.
#[must_use]
pub fn squeezed(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::super::CommandType;
    use super::*;

    #[test]
    fn a_name_is_suggested_where_one_is_near() {
        let names = ["project_key", "default_issue_type", "api_url"];
        let near = |name: &str| nearest(name, names.into_iter());

        assert_eq!(near("projectkey"), Some("project_key"));
        assert_eq!(near("ProjectKey"), Some("project_key"));
        assert_eq!(near("projct_key"), Some("project_key"));
        assert_eq!(near("default_issuetyp"), Some("default_issue_type"));
        assert_eq!(near("api_uri"), Some("api_url"));
        assert_eq!(near("colour"), None);
        assert_eq!(near(&"project_key".repeat(100)), None);
    }

    #[test]
    fn a_slip_of_the_fingers_in_a_type_is_known_and_another_word_is_not() {
        let near = |name: &str| nearest(name, CommandType::ALL.iter().map(|one| one.as_str()));

        assert_eq!(near("tikcet.create"), Some("ticket.create"));
        assert_eq!(near("TicketCreate"), Some("ticket.create"));
        assert_eq!(near("integration.tests"), Some("integration.test"));
        for strange in ["", "ticket.explode", "ticket.close", "issue.create"] {
            assert_eq!(near(strange), None, "{strange}");
        }
    }
}
