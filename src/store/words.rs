//! The words of a ticket's text as PostgreSQL's default parser splits them, for plain prose only.
//! That parser costs PostgreSQL 0.1 µs a character at every write of a ticket; of texts in which it
//! has nothing to decide (no address, path, number with a sign or a point, nothing but ASCII), the
//! worker can split the words itself, for a tenth of that.
//!
//! `tests/it/search.rs` compares the two on thousands of texts. Whatever is not surely plain is
//! left to PostgreSQL.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// So much of a description counts, in characters (`words!` in `ticket_search.rs` cuts there, too).
const DESCRIPTION_MAX: usize = 1000;
/// Positions that PostgreSQL keeps of a word (`MAXNUMPOS` of `tsearch/ts_type.h`, less one).
const POSITIONS_MAX: usize = 255;
/// Longest word taken for one here; PostgreSQL ends at 2 KB.
const WORD_MAX: usize = 200;

/// A `tsvector` in its binary form: the organization, then the words with their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<u8>);

impl Words {
    /// The words of a ticket as
    /// `array_to_tsvector(ARRAY[organization_id::text])
    /// || to_tsvector('simple', title || ' ' || left(description, 1000))`
    /// would have them; `None` where PostgreSQL has to say.
    #[must_use]
    pub fn of(organization: Uuid, title: &str, description: &str) -> Option<Self> {
        let head = &description.as_bytes()[..description.len().min(DESCRIPTION_MAX)];
        let mut text = Vec::with_capacity(title.len() + 1 + head.len());
        text.extend_from_slice(title.as_bytes());
        text.push(b' ');
        text.extend_from_slice(head);
        text.make_ascii_lowercase();

        let mut words = Vec::with_capacity(text.len() / 5);
        let mut position: u16 = 0;
        let mut rest = text.as_slice();
        while let Some(first) = rest.first() {
            let letters = rest.iter().take_while(|b| b.is_ascii_lowercase()).count();
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let length = letters.max(digits);
            if length == 0 {
                if !ends_a_word(*first, rest.get(1)) {
                    return None;
                }
                rest = &rest[1..];
                continue;
            }
            // A run of both, or what follows without a gap, may be anything.
            let next = rest.get(length);
            if length > WORD_MAX || next.is_some_and(|b| !ends_a_word(*b, rest.get(length + 1))) {
                return None;
            }
            position += 1;
            words.push((&rest[..length], position));
            rest = &rest[length..];
        }
        words.sort_unstable();
        Some(Self(encode(organization, &words)))
    }
}

/// Whether a character, before the one that follows it, is surely none of a word's: white space,
/// and punctuation that is followed by white space or by more of its kind.
fn ends_a_word(byte: u8, next: Option<&u8>) -> bool {
    let is_space = |b: u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
    match byte {
        b if is_space(b) => true,
        b',' | b';' | b'!' | b'?' | b'(' | b')' | b'"' | b'\'' => true,
        b'.' | b':' => next.is_none_or(|b| is_space(*b)),
        _ => false,
    }
}

/// The words are sorted, those of one kind by position.
fn encode(organization: Uuid, words: &[(&[u8], u16)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48 + words.len() * 12);
    bytes.put_i32(0);
    let mut count = 1;
    bytes.extend_from_slice(
        organization
            .hyphenated()
            .encode_lower(&mut Uuid::encode_buffer())
            .as_bytes(),
    );
    bytes.put_slice(&[0, 0, 0]); // the end of the word, and no positions
    for same in words.chunk_by(|a, b| a.0 == b.0) {
        let positions = &same[..same.len().min(POSITIONS_MAX)];
        bytes.extend_from_slice(same[0].0);
        bytes.put_u8(0);
        // As there are at most POSITIONS_MAX of them, the number fits.
        bytes.put_u16(u16::try_from(positions.len()).unwrap_or(u16::MAX));
        for (_, position) in positions {
            bytes.put_u16(*position);
        }
        count += 1;
    }
    bytes[..4].copy_from_slice(&i32::to_be_bytes(count));
    bytes
}

impl ToSql for Words {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TS_VECTOR
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_postgresql_can_split_is_left_to_it() {
        let plain = |text: &str| Words::of(Uuid::nil(), "Printer on fire", text).is_some();

        assert!(plain("") && plain("It burns, again (twice); who comes?\nSince 9: nobody."));
        for text in [
            "see example.com",
            "a@b.org",
            "/var/log",
            "time-out",
            "-5",
            "1.5",
            "über",
            "x_y",
            "SUP17",
            "<b>",
            "&amp;",
            "a:b",
            "50%",
            "ends.)",
            "nul\0",
        ] {
            assert!(!plain(text), "{text}");
        }
        assert!(plain(&("word ".repeat(200) + "über")), "beyond what counts");
    }

    #[test]
    fn a_word_has_its_positions() {
        let words = Words::of(Uuid::nil(), "to be", "not to be").unwrap().0;

        assert_eq!(words[..4], [0, 0, 0, 4]);
        assert!(words.ends_with(b"be\0\0\x02\0\x02\0\x05not\0\0\x01\0\x03to\0\0\x02\0\x01\0\x04"));
    }
}
