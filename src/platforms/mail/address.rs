//! Addresses of mails, and the names in front of them.

use std::fmt;

use lettre::Address;
use lettre::message::Mailbox as Written;
use url::Host;

/// Longest address that fits into a path (RFC 5321 §4.5.3.1.3, without the angle brackets).
const ADDRESS_MAX: usize = 254;

/// An address. Its domain is in ASCII (`xn--…`), so only letters before the `@` may need SMTPUTF8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MailAddress(Address);

impl MailAddress {
    /// Reads an address, without a name or angle brackets.
    ///
    /// # Errors
    /// What is wrong with it, fit to follow a field's name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const NOT_ONE: &str = "is not an e-mail address";
        let (user, domain) = text.rsplit_once('@').ok_or(NOT_ONE)?;
        // A quoted local part may hold spaces and brackets; nobody needs them, and they confuse
        // servers.
        let odd = |c: char| c.is_control() || c.is_whitespace() || "<>()[],;:\\\"".contains(c);
        if user.chars().any(odd) || text.len() > ADDRESS_MAX {
            return Err(NOT_ONE);
        }
        let Ok(Host::Domain(domain)) = Host::parse(domain) else {
            return Err(NOT_ONE);
        };
        Address::new(user, domain).map(Self).map_err(|_| NOT_ONE)
    }

    /// As it stands between angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// The part behind the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.domain()
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An address with the name that people see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    name: Option<String>,
    address: MailAddress,
}

impl Mailbox {
    /// An address with a name, whose line breaks become spaces.
    #[must_use]
    pub fn new(name: Option<&str>, address: MailAddress) -> Self {
        let name = name.map(one_line).filter(|name| !name.is_empty());
        Self { name, address }
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> &MailAddress {
        &self.address
    }

    pub(super) fn written(&self) -> Written {
        Written::new(self.name.clone(), self.address.0.clone())
    }
}

/// A text for a header: nothing in it can end the line.
pub(super) fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| {
            let ends_a_line = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            if ends_a_line { ' ' } else { c }
        })
        .collect();
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_with_letters_of_any_script_and_its_domain_becomes_ascii() {
        for (given, kept) in [
            ("ops@example.net", "ops@example.net"),
            ("ticket+ab.k3@in.example.com", "ticket+ab.k3@in.example.com"),
            ("jürgen@example.net", "jürgen@example.net"),
            ("ops@bücher.example", "ops@xn--bcher-kva.example"),
            ("root@localhost", "root@localhost"),
        ] {
            assert_eq!(MailAddress::parse(given).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn what_could_end_a_command_or_name_a_second_recipient_is_no_address() {
        for text in [
            "",
            "ops",
            "@example.net",
            "ops@",
            "ops@example.net>\r\nRCPT TO:<eve@example.net",
            "ops\r\n@example.net",
            "ops@example.net\r\nBcc: eve@example.net",
            "ops@example.net,eve@example.net",
            "a b@example.net",
            "\"a\r\nb\"@example.net",
            "\"a b\"@example.net",
            "<ops@example.net>",
            "ops@example.net SIZE=1",
            "ops@127.0.0.1",
            "a..b@example.net",
            "ops\0@example.net",
        ] {
            assert!(MailAddress::parse(text).is_err(), "{text:?}");
        }
        assert!(MailAddress::parse(&format!("{}@example.net", "a".repeat(300))).is_err());
    }

    #[test]
    fn a_name_is_one_line() {
        let address = MailAddress::parse("a@example.net").unwrap();
        let mailbox = Mailbox::new(Some("Eve\r\nBcc: x@example.net\u{2028}"), address.clone());

        assert_eq!(
            mailbox.written().name.as_deref(),
            Some("Eve  Bcc: x@example.net")
        );
        assert_eq!(Mailbox::new(Some("\r\n"), address).written().name, None);
    }
}
