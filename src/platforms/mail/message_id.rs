//! Ids of messages.

use crate::platforms::AdapterError;

/// A Message-ID with its angle brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(String);

impl MessageId {
    /// `<left@domain>`.
    ///
    /// # Errors
    /// Validation of `settings.message_id_domain`, where the two do not make one.
    pub fn new(left: &str, domain: &str) -> Result<Self, AdapterError> {
        // RFC 5322 §3.6.4: dot-atom-text on both sides. Nothing in it can end the header.
        let fits = |text: &str| {
            let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
            !text.is_empty()
                && text
                    .split('.')
                    .all(|part| !part.is_empty() && part.chars().all(is_atom))
        };
        let id = format!("<{left}@{domain}>");
        if fits(left) && fits(domain) && id.len() <= 250 {
            Ok(Self(id))
        } else {
            Err(AdapterError::field(
                "settings.message_id_domain",
                "makes no Message-ID",
            ))
        }
    }

    /// With its angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_one_word() {
        assert!(MessageId::new("tkt-9b2f", "mail.example.com").is_ok());
        for (left, domain) in [
            ("tkt 1", "example.com"),
            ("tkt-1", "example.com>\r\nBcc: x"),
            ("", "example.com"),
            ("tkt-1", ""),
            ("tkt-1", "example..com"),
            ("tkt-1", "b\u{fc}cher.example"),
        ] {
            assert!(MessageId::new(left, domain).is_err(), "{left:?} {domain:?}");
        }
    }
}
