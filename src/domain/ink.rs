//! What of a text a person sees.

/// Whether a character leaves no ink: white space of any width, none included. Runs of them are one
/// blank to a reader.
#[must_use]
pub fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
                | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        )
        || c.is_control()
}

/// Whether anything of a text can be seen. Joiners, selectors and tags say how others are drawn,
/// and draw nothing.
#[must_use]
pub fn has_ink(text: &str) -> bool {
    let draws_nothing = |c: char| {
        matches!(c,
        '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}')
    };
    !text.chars().all(|c| is_blank(c) || draws_nothing(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_no_ink_is_no_text_to_a_person() {
        for text in [
            "",
            " \n",
            "\u{a0}",
            "\u{200b}\u{ad}",
            "\u{200d}\u{fe0f}",
            "\u{3164}",
        ] {
            assert!(!has_ink(text), "{text:?}");
        }
        for text in ["a", " . ", "\u{200b}\u{1f600}", "…"] {
            assert!(has_ink(text), "{text:?}");
        }
    }
}
