//! Names that mean something at every site, so that a test needs no settings: secrets that are
//! refused, and people who are there.

use serde::{Deserialize, Serialize};

/// Whether a secret is one that no platform accepts: it ends with `wrong`.
pub(crate) fn is_wrong(secret: &str) -> bool {
    secret.ends_with("wrong")
}

/// Whether a secret's owner may look but not touch: it ends with `forbidden`.
pub(crate) fn is_forbidden(secret: &str) -> bool {
    secret.ends_with("forbidden")
}

/// Begins the account id of a person who is known by name.
const KNOWN_ID: &str = "sandbox:";
/// A known person's digits: letters and figures of a name, and its end.
const DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// An account that can be found and assigned; a setting's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    pub(crate) account_id: String,
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) display_name: String,
    /// Whether items can be assigned to it.
    #[serde(default = "yes")]
    pub(crate) assignable: bool,
}

const fn yes() -> bool {
    true
}

impl Person {
    fn known(name: &str) -> Self {
        Self {
            account_id: format!("{KNOWN_ID}{name}"),
            email: format!("known+{name}@example.test"),
            display_name: name.to_owned(),
            assignable: true,
        }
    }

    /// Its number at platforms that have no other ids: its id where that is one; of a known person,
    /// one made of the name, if that is at most ten letters and figures. JSON readers without whole
    /// numbers keep it.
    pub(crate) fn number(&self) -> Option<u64> {
        match self.account_id.strip_prefix(KNOWN_ID) {
            Some(name) if (1..=10).contains(&name.len()) => {
                name.bytes().rev().try_fold(0_u64, |number, byte| {
                    let digit = DIGITS.iter().position(|own| *own == byte)?;
                    Some(number * 37 + u64::try_from(digit).ok()? + 1)
                })
            }
            Some(_) => None,
            None => self.account_id.parse().ok(),
        }
    }
}

/// Who is at a site: those listed in its settings and, if it wants, everybody of the form
/// `known+NAME@example.test`, whose id is `sandbox:NAME`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct People<'a> {
    pub(crate) listed: &'a [Person],
    pub(crate) with_known: bool,
}

impl People<'_> {
    /// The person with this account id.
    pub(crate) fn by_id(self, account_id: &str) -> Option<Person> {
        let listed = self.listed.iter().find(|p| p.account_id == account_id);
        listed.cloned().or_else(|| {
            let name = account_id.strip_prefix(KNOWN_ID)?;
            self.with_known.then(|| Person::known(name))
        })
    }

    /// The person with this number ([`Person::number`]).
    pub(crate) fn by_number(self, number: u64) -> Option<Person> {
        let listed = self.listed.iter().find(|p| p.number() == Some(number));
        listed.cloned().or_else(|| {
            let (mut name, mut rest) = (String::new(), number);
            while rest > 0 {
                let digit = usize::try_from(rest % 37).ok()?.checked_sub(1)?;
                name.push(char::from(*DIGITS.get(digit)?));
                rest /= 37;
            }
            let fits = self.with_known && (1..=10).contains(&name.len());
            fits.then(|| Person::known(&name))
        })
    }

    /// The person with this address.
    pub(crate) fn by_email(self, email: &str) -> Option<Person> {
        let is = |own: &str| own.eq_ignore_ascii_case(email);
        let listed = self.listed.iter().find(|p| is(&p.email));
        listed.cloned().or_else(|| self.known(email))
    }

    /// Those that a query finds: by the beginning of address or display name.
    pub(crate) fn like(self, query: &str) -> Vec<Person> {
        let wanted = query.to_lowercase();
        let begins = |text: &str| text.to_lowercase().starts_with(&wanted);
        let mut found: Vec<_> = self
            .listed
            .iter()
            .filter(|p| begins(&p.email) || begins(&p.display_name))
            .cloned()
            .collect();
        found.extend(self.known(&wanted));
        found
    }

    fn known(self, email: &str) -> Option<Person> {
        let email = email.to_lowercase();
        let name = email
            .strip_prefix("known+")?
            .strip_suffix("@example.test")?;
        (self.with_known && !name.is_empty()).then(|| Person::known(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Vec<Person> {
        vec![Person {
            account_id: "512".into(),
            email: "Ana@example.test".into(),
            display_name: "Ana Ortiz".into(),
            assignable: false,
        }]
    }

    #[test]
    fn a_person_is_found_by_address_id_and_number() {
        let listed = listed();
        let people = People {
            listed: &listed,
            with_known: true,
        };

        assert_eq!(people.like("ana").len(), 1);
        assert_eq!(people.by_email("ana@EXAMPLE.test").as_ref(), listed.first());
        assert_eq!(people.by_number(512).as_ref(), listed.first());
        for name in ["bo", "z9", "abcdefghij", "9999999999"] {
            let known = people.by_email(&format!("known+{name}@example.test"));
            let known = known.unwrap();
            assert_eq!(people.by_id(&known.account_id).as_ref(), Some(&known));
            let number = known.number().unwrap();
            assert!(number < 1 << 53, "{number}");
            assert_eq!(people.by_number(number), Some(known));
        }
    }

    #[test]
    fn who_is_not_there_is_not_found() {
        let listed = listed();
        let people = |with_known| People {
            listed: &listed,
            with_known,
        };

        assert_eq!(people(false).by_email("known+bo@example.test"), None);
        assert_eq!(people(false).by_id("sandbox:bo"), None);
        assert_eq!(people(false).by_number(600), None);
        for email in [
            "known+@example.test",
            "known+a@example.org",
            "a@example.test",
        ] {
            assert_eq!(people(true).by_email(email), None, "{email}");
        }
        assert_eq!(people(true).by_number(0), None);
        assert_eq!(people(true).by_number(u64::MAX), None);
        let long = people(true).by_id("sandbox:abcdefghijk").unwrap();
        assert_eq!(long.number(), None);
    }

    #[test]
    fn a_secret_says_by_its_end_what_becomes_of_it() {
        assert!(is_wrong("wrong") && is_wrong("xoxb-wrong") && !is_wrong("wrongly"));
        assert!(is_forbidden("t-forbidden") && !is_forbidden("wrong"));
    }
}
