//! The alphabet and the segments of short messages (3GPP TS 23.038; Twilio, "What is GSM-7
//! character encoding?").

/// Septets of one message, and of one that is a part of a longer one.
pub(super) const SINGLE: usize = 160;
pub(super) const SEGMENT: usize = 153;
/// The same in UTF-16 code units, where a character is not of GSM-7.
const WIDE_SINGLE: usize = 70;
const WIDE_SEGMENT: usize = 67;

/// Characters that take one septet, beside digits and the letters of English.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
/// Characters that take two.
const EXTENDED: &str = "^{}\\[]~|€\u{c}";

/// Septets of a character; `None`: it is not of GSM-7.
fn septets(c: char) -> Option<usize> {
    if c.is_ascii_alphanumeric() || BASIC.contains(c) {
        Some(1)
    } else if EXTENDED.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// Whether a text can be sent in GSM-7. One character that cannot makes all of it UCS-2.
pub(super) fn is_gsm(text: &str) -> bool {
    text.chars().all(|c| septets(c).is_some())
}

/// How many segments a text is sent in. No character is split over two of them.
#[must_use]
pub fn segments(text: &str) -> usize {
    let septets: Option<Vec<usize>> = text.chars().map(septets).collect();
    match septets {
        Some(costs) => filled(costs.into_iter(), SINGLE, SEGMENT),
        None => filled(text.chars().map(char::len_utf16), WIDE_SINGLE, WIDE_SEGMENT),
    }
}

fn filled(costs: impl Iterator<Item = usize>, single: usize, segment: usize) -> usize {
    let (mut count, mut used, mut all) = (0, segment, 0);
    for cost in costs {
        all += cost;
        if used + cost > segment {
            (count, used) = (count + 1, 0);
        }
        used += cost;
    }
    if all <= single { count.min(1) } else { count }
}

/// A text for a short message: punctuation that is not of GSM-7 as ASCII, white space as single
/// blanks.
#[must_use]
pub fn ascii_punctuation(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '‘' | '’' | '‚' | '‛' | '′' | '`' => made.push('\''),
            '“' | '”' | '„' | '‟' | '″' | '«' | '»' => made.push('"'),
            '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => made.push('-'),
            '…' => made.push_str("..."),
            '•' | '·' | '‣' => made.push('*'),
            '☑' => made.push_str("(x)"),
            '☐' => made.push_str("( )"),
            '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => {}
            c if c.is_whitespace() || c.is_control() => {
                if !made.ends_with(' ') {
                    made.push(' ');
                }
            }
            c => made.push(c),
        }
    }
    made.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_counted_as_carriers_count_them() {
        for (text, expected) in [
            (String::new(), 0),
            ("a".repeat(160), 1),
            ("a".repeat(161), 2),
            ("a".repeat(306), 2),
            ("a".repeat(307), 3),
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            // 76 of two septets fill 152 of 153.
            ("€".repeat(153), 3),
            ("ж".repeat(70), 1),
            ("ж".repeat(71), 2),
            ("😀".repeat(35), 1),
            ("😀".repeat(36), 2),
            ("😀".repeat(67), 3),
            (format!("{}`", "a".repeat(70)), 2),
        ] {
            assert_eq!(segments(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_alphabet_has_127_characters_and_ten_more() {
        // 128 places, one of which is the escape to the others.
        assert_eq!(BASIC.chars().count() + 26 + 26 + 10, 127);
        assert_eq!(EXTENDED.chars().count(), 10);
        assert!(is_gsm("Ärger: 5 € {x}") && !is_gsm("`") && !is_gsm("ç"));
    }

    #[test]
    fn smart_punctuation_becomes_ascii() {
        assert_eq!(ascii_punctuation("“It’s”\n\t– done…"), "\"It's\" - done...");
    }
}
