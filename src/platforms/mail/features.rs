//! What a server says it can.

use super::reply::Reply;

/// What a server says it can (RFC 5321 §4.1.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// Largest message; `Some(0)` is without a limit (RFC 1870 §4).
    pub(super) size: Option<u64>,
    pub(super) starttls: bool,
    pub(super) utf8: bool,
    pub(super) eight_bit: bool,
    pub(super) mechanisms: Vec<String>,
}

impl Features {
    pub(super) fn of(reply: &Reply) -> Self {
        let mut found = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line.split_whitespace();
            match words.next().unwrap_or_default() {
                "SIZE" => found.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                "STARTTLS" => found.starttls = true,
                "SMTPUTF8" => found.utf8 = true,
                "8BITMIME" => found.eight_bit = true,
                "AUTH" => found.mechanisms.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        found
    }

    pub(super) fn has(&self, mechanism: &str) -> bool {
        self.mechanisms.iter().any(|offered| offered == mechanism)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_can_is_read_in_any_case_and_from_the_second_line_on() {
        let mut text =
            b"250-SIZE 5 STARTTLS\r\n250-size 1000\r\n250-Auth login XOAUTH2\r\n250 SmtpUtf8\r\n"
                .to_vec();
        let features = Features::of(&Reply::take(&mut text).unwrap().unwrap());

        assert_eq!(features.size, Some(1000));
        assert!(features.utf8 && !features.starttls && !features.eight_bit);
        assert!(features.has("LOGIN") && features.has("XOAUTH2") && !features.has("PLAIN"));
    }
}
