//! A reply of a mail server, read as leniently as RFC 5321 §4.2 asks for: after the final dot, a
//! reply that cannot be read is a mail of unknown outcome.

/// Longest line of a reply; servers send 512 bytes (RFC 5321 §4.5.3.1.5), and some more.
const LINE_MAX: usize = 4 << 10;
/// Most bytes of a reply.
const REPLY_MAX: usize = 64 << 10;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code, 200–599.
    pub code: u16,
    /// Its lines without the code.
    pub lines: Vec<String>,
}

/// Why no reply could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A line does not begin with a code.
    NoCode,
    /// It does not end.
    TooLong,
}

impl Unreadable {
    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::NoCode => "what it sent is not an SMTP reply",
            Self::TooLong => "its reply does not end",
        }
    }
}

impl Reply {
    /// Whether it is a 2xx.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code >= 200 && self.code < 300
    }

    /// The text in one line.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ").trim().to_owned()
    }

    /// The enhanced code (RFC 3463) that the text begins with: class, subject, detail.
    #[must_use]
    pub fn enhanced(&self) -> Option<(u16, u16, u16)> {
        let word = self.lines.first()?.split_whitespace().next()?;
        let mut numbers = word.trim_start_matches('#').split('.').map(|part| {
            let fits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| part.parse::<u16>().ok()).flatten()
        });
        let found = (numbers.next()??, numbers.next()??, numbers.next()??);
        (matches!(found.0, 2 | 4 | 5) && numbers.next().is_none()).then_some(found)
    }

    /// Code and enhanced code, as people quote them: `550 5.1.1`.
    #[must_use]
    pub fn codes(&self) -> String {
        match self.enhanced_text() {
            Some(enhanced) => format!("{} {enhanced}", self.code),
            None => self.code.to_string(),
        }
    }

    /// The enhanced code as text.
    #[must_use]
    pub fn enhanced_text(&self) -> Option<String> {
        self.enhanced()
            .map(|(class, subject, detail)| format!("{class}.{subject}.{detail}"))
    }

    /// Takes a whole reply off the front of what was received; `None` where more is to come.
    pub(super) fn take(received: &mut Vec<u8>) -> Result<Option<Self>, Unreadable> {
        let (mut code, mut lines, mut at) = (0, Vec::new(), 0);
        loop {
            let rest = received.get(at..).unwrap_or_default();
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                if received.len() > REPLY_MAX || rest.len() > LINE_MAX {
                    return Err(Unreadable::TooLong);
                }
                return Ok(None);
            };
            let (this, is_last, text) = line(&rest[..end]).ok_or(Unreadable::NoCode)?;
            if code != 0 && code != this {
                return Err(Unreadable::NoCode);
            }
            code = this;
            lines.push(text);
            at += end + 1;
            if is_last {
                received.drain(..at);
                return Ok(Some(Self { code, lines }));
            }
            if at > REPLY_MAX {
                return Err(Unreadable::TooLong);
            }
        }
    }
}

/// Code, whether it is the reply's last line, and the text. The code may stand alone (RFC 5321
/// §4.2), the text may be in any encoding.
fn line(bytes: &[u8]) -> Option<(u16, bool, String)> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let (code, rest) = bytes.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    let is_last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    let text = String::from_utf8_lossy(rest.get(1..).unwrap_or_default()).into_owned();
    (200..600).contains(&code).then_some((code, is_last, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &[u8]) -> Result<Option<Reply>, Unreadable> {
        Reply::take(&mut text.to_vec())
    }

    #[test]
    fn a_reply_is_taken_whole_and_what_follows_stays() {
        let mut received =
            b"250-mail.example.com\r\n250-SIZE 100\r\n250 AUTH PLAIN\r\n220 2".to_vec();

        let reply = Reply::take(&mut received).unwrap().unwrap();

        assert_eq!(reply.code, 250);
        assert_eq!(reply.lines, ["mail.example.com", "SIZE 100", "AUTH PLAIN"]);
        assert_eq!(received, b"220 2");
        assert_eq!(Reply::take(&mut received), Ok(None));
    }

    #[test]
    fn a_code_alone_another_encoding_and_a_bare_line_feed_are_read() {
        assert_eq!(take(b"250\r\n").unwrap().unwrap().code, 250);
        let latin = take(b"250 Nachricht \xfcbernommen\r\n").unwrap().unwrap();
        assert_eq!(latin.text(), "Nachricht \u{fffd}bernommen");
        assert_eq!(take(b"550 no\n").unwrap().unwrap().text(), "no");
    }

    #[test]
    fn what_is_no_reply_or_does_not_end_is_told_apart_from_what_is_not_yet_whole() {
        assert_eq!(take(b"<!DOCTYPE html>\r\n"), Err(Unreadable::NoCode));
        assert_eq!(
            take(b"HTTP/1.1 400 Bad Request\r\n"),
            Err(Unreadable::NoCode)
        );
        assert_eq!(take(b"250-a\r\n251 b\r\n"), Err(Unreadable::NoCode));
        assert_eq!(take(b"150 wait\r\n"), Err(Unreadable::NoCode));
        assert_eq!(take(b"25"), Ok(None));
        assert_eq!(take(&vec![b'2'; 5_000]), Err(Unreadable::TooLong));
        assert_eq!(take(&b"250-x\r\n".repeat(20_000)), Err(Unreadable::TooLong));
    }

    #[test]
    fn the_enhanced_code_is_found_only_where_it_belongs() {
        let of = |text: &str| {
            let reply = take(text.as_bytes()).unwrap().unwrap();
            reply.enhanced_text()
        };

        assert_eq!(
            of("550 5.1.1 <x>: User unknown\r\n").as_deref(),
            Some("5.1.1")
        );
        assert_eq!(of("550 5.7.26-x no\r\n"), None);
        assert_eq!(
            of("550 #5.1.0 Address rejected\r\n").as_deref(),
            Some("5.1.0")
        );
        assert_eq!(of("550 see 5.1.1\r\n"), None);
        assert_eq!(of("250 10.0.0.1 says hello\r\n"), None);
        assert_eq!(of("250\r\n"), None);
    }
}
