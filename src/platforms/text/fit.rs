//! Cutting of texts: between characters as a person sees them, with a visible sign, and never the
//! [`Marker`].

use unicode_segmentation::GraphemeCursor;

use super::gsm;
use super::marker::{Marker, harmless};

/// Stands where a text was cut.
pub(super) const SIGN: &str = "…";
/// The same of a long text, where a reader may come to the end without noticing.
const LONG_SIGN: &str = "\n\n… (cut)";
/// Room from which on a text is a long one.
const LONG: usize = 1_000;
/// Bytes that are looked at before and behind a cut. A character as a person sees it may have any
/// number of combining marks; one with more than these is cut in two.
const LOOK_BACK: usize = 256;
const LOOK_AHEAD: usize = 32;

/// How much of a text a platform takes, and in what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Max {
    /// Unicode scalar values.
    Chars(usize),
    /// Bytes of UTF-8.
    Bytes(usize),
    /// UTF-16 code units.
    Utf16(usize),
    /// Parts of a short message: 160 or 153 characters of GSM-7, 70 or 67 UTF-16 code units.
    Segments(usize),
}

impl Max {
    /// How many units there may be.
    pub(super) const fn limit(self) -> usize {
        match self {
            Self::Chars(max) | Self::Bytes(max) | Self::Utf16(max) | Self::Segments(max) => max,
        }
    }

    /// The same in units that can be added up.
    pub(super) const fn additive(self) -> Self {
        match self {
            Self::Segments(count) => Self::Chars(count.saturating_mul(gsm::SINGLE)),
            other => other,
        }
    }

    /// How many units a text takes.
    pub(super) fn cost(self, text: &str) -> usize {
        match self {
            Self::Bytes(_) => text.len(),
            Self::Segments(_) => gsm::segments(text),
            _ if text.is_ascii() => text.len(),
            Self::Chars(_) => text.chars().count(),
            Self::Utf16(_) => text.encode_utf16().count(),
        }
    }

    /// The bytes of the longest beginning of a text that takes no more than so many units.
    fn prefix(self, text: &str, units: usize) -> usize {
        let mut left = units;
        for (at, c) in text.char_indices() {
            let cost = match self {
                Self::Bytes(_) => c.len_utf8(),
                Self::Utf16(_) => c.len_utf16(),
                Self::Chars(_) | Self::Segments(_) => 1,
            };
            if cost > left {
                return at;
            }
            left -= cost;
        }
        text.len()
    }
}

/// A text of a person, cut to what a platform takes, with our marker as its last line. The second
/// value says whether all of the text is in it. The marker is whole even where there is no room for
/// it: then it is all there is.
#[must_use]
pub fn fit(text: &str, max: Max, marker: Option<Marker<'_>>) -> (String, bool) {
    let text = harmless(text);
    let tail = marker.map(Marker::tail).unwrap_or_default();
    let with_tail = |kept: &str| {
        if kept.is_empty() {
            tail.trim_start().to_owned()
        } else {
            format!("{kept}{tail}")
        }
    };
    // Bytes bound every unit but segments from above.
    let is_short = !matches!(max, Max::Segments(_)) && text.len() + tail.len() <= max.limit();
    let whole = with_tail(&text);
    if is_short || max.cost(&whole) <= max.limit() {
        return (whole, true);
    }
    let shortened = |end: usize| {
        let kept = text[..boundary(&text, end)].trim_end();
        if kept.is_empty() {
            return with_tail("");
        }
        with_tail(&format!("{kept}{}", sign(max, kept)))
    };
    let made = if let Max::Segments(count) = max {
        // What a character costs depends on all others.
        let most = text.floor_char_boundary(count.saturating_mul(4 * gsm::SEGMENT));
        let fits = |end: usize| max.cost(&shortened(end)) <= count;
        let (mut fitting, mut least) = (0, most + 1);
        while least - fitting > 1 {
            let middle = fitting + (least - fitting) / 2;
            if fits(middle) {
                fitting = middle;
            } else {
                least = middle;
            }
        }
        shortened(fitting)
    } else {
        let taken = max.cost(&tail) + max.cost(sign(max, &text));
        shortened(max.prefix(&text, max.limit().saturating_sub(taken)))
    };
    (made, false)
}

impl Marker<'_> {
    /// A text with the marker in it, cut to what a platform takes; see [`fit`].
    #[must_use]
    pub fn put(self, text: &str, max: Max) -> (String, bool) {
        fit(text, max, Some(self))
    }
}

fn sign(max: Max, kept: &str) -> &'static str {
    match max {
        // One character that is not of GSM-7 would halve the room.
        Max::Segments(_) if gsm::is_gsm(kept) => "...",
        Max::Chars(max) | Max::Bytes(max) | Max::Utf16(max) if max >= LONG => LONG_SIGN,
        _ => SIGN,
    }
}

/// The last place at or before this one where a text may be cut: not within a character, nor within
/// what a person sees as one (a letter with its combining marks, a family of emoji, a flag).
pub(super) fn boundary(text: &str, at: usize) -> usize {
    let at = text.floor_char_boundary(at);
    let from = text.floor_char_boundary(at.saturating_sub(LOOK_BACK));
    let to = text.floor_char_boundary(at.saturating_add(LOOK_AHEAD));
    let window = &text[from..to];
    let mut cursor = GraphemeCursor::new(at - from, window.len(), true);
    if at == to || cursor.is_boundary(window, 0).unwrap_or(true) {
        return at;
    }
    match cursor.prev_boundary(window, 0) {
        Ok(Some(before)) if before > 0 || from == 0 => from + before,
        _ => at,
    }
}

/// A text in one line: runs of white space are one blank.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A title in one line, cut; and the whole line where it was.
#[must_use]
pub fn title(text: &str, max: Max) -> (String, Option<String>) {
    let line = one_line(text);
    let (kept, whole) = fit(&line, max, None);
    (kept, (!whole).then_some(line))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAMILY: &str = "👨\u{200d}👩\u{200d}👧";

    #[test]
    fn a_text_that_fits_stays_as_it_is() {
        for max in [
            Max::Chars(4),
            Max::Bytes(6),
            Max::Utf16(4),
            Max::Segments(1),
        ] {
            assert_eq!(fit("aäöb", max, None), ("aäöb".into(), true), "{max:?}");
        }
    }

    #[test]
    fn a_cut_text_shows_it_and_is_no_longer_than_it_may() {
        assert_eq!(fit("abcdef", Max::Chars(4), None), ("abc…".into(), false));
        assert_eq!(fit("ab cdef", Max::Chars(4), None), ("ab…".into(), false));
        assert_eq!(fit("äöü", Max::Bytes(5), None), ("ä…".into(), false));
        assert_eq!(fit("a😀😀", Max::Utf16(4), None), ("a😀…".into(), false));
        assert_eq!(fit("a😀😀", Max::Utf16(3), None), ("a…".into(), false));
        let (long, whole) = fit(&"a b\n".repeat(500), Max::Chars(1_000), None);
        assert!(!whole && long.ends_with("b\n\n… (cut)"), "{long}");
    }

    #[test]
    fn what_a_person_sees_as_one_is_not_cut() {
        assert_eq!(fit(&format!("a{FAMILY}b"), Max::Chars(5), None).0, "a…");
        assert_eq!(fit("ae\u{301}\u{302}b", Max::Chars(4), None).0, "a…");
        assert_eq!(fit("a🇩🇪🇫🇷", Max::Chars(4), None).0, "a🇩🇪…");
        // Without end, it is cut all the same.
        let endless = "e".to_owned() + &"\u{301}".repeat(5_000);
        assert_eq!(fit(&endless, Max::Chars(900), None).0.chars().count(), 900);
    }

    #[test]
    fn the_marker_is_never_cut_away() {
        let line = Some(Marker::Line("tkt-1"));
        assert_eq!(
            fit("a text", Max::Chars(100), line),
            ("a text\n[ref:tkt-1]".into(), true)
        );
        assert_eq!(
            fit("a text that is long", Max::Chars(20), line),
            ("a text…\n[ref:tkt-1]".into(), false)
        );
        for max in [
            Max::Chars(3),
            Max::Bytes(0),
            Max::Utf16(11),
            Max::Segments(0),
        ] {
            assert_eq!(
                fit("long", max, line),
                ("[ref:tkt-1]".into(), false),
                "{max:?}"
            );
        }
        assert_eq!(fit("", Max::Chars(20), line), ("[ref:tkt-1]".into(), true));
    }

    #[test]
    fn a_short_message_is_cut_by_its_segments() {
        let (made, whole) = fit(
            &"word ".repeat(100),
            Max::Segments(2),
            Some(Marker::Tail("#ab0ac58d")),
        );
        assert!(!whole && made.ends_with("wor... #ab0ac58d"), "{made}");
        assert!(made.len() > 290 && gsm::segments(&made) == 2);
        let (made, whole) = fit(
            &"wörd — ".repeat(100),
            Max::Segments(2),
            Some(Marker::Tail("#ab0ac58d")),
        );
        assert!(!whole && made.ends_with("… #ab0ac58d"), "{made}");
        assert!(made.chars().count() > 120 && gsm::segments(&made) == 2);
    }

    #[test]
    fn a_title_is_one_line() {
        assert_eq!(
            title("two\nlines ", Max::Chars(20)),
            ("two lines".into(), None)
        );
        assert_eq!(
            title("two\nlines", Max::Chars(5)),
            ("two…".into(), Some("two lines".into()))
        );
    }

    proptest! {
        #[test]
        fn a_fitted_text_is_within_its_limit_and_holds_the_marker(
            text in "([a-z €\n]|[😀🇩🇪é\u{301}\u{200d}#]){0,200}", limit in 12_usize..200
        ) {
            for max in [Max::Chars(limit), Max::Bytes(limit), Max::Utf16(limit),
                Max::Segments(limit / 12)] {
                let (made, whole) = fit(&text, max, Some(Marker::Line("tkt-1")));
                prop_assert!(max.cost(&made) <= max.limit(), "{:?}: {}", max, made);
                prop_assert_eq!(Marker::find(&made), Some("tkt-1"));
                if whole {
                    prop_assert_eq!(made.strip_suffix("[ref:tkt-1]").map(str::trim),
                        Some(text.trim()));
                }
            }
        }
    }
}
