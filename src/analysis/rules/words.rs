//! Words and the phrases found among them. Whole words only: "debug" is no "bug".

use std::collections::HashMap;

/// Words that end a clause, over which no negation reaches.
const CONJUNCTIONS: [&str; 9] = [
    "and", "but", "so", "because", "since", "although", "though", "until", "unless",
];

/// A word of lower-cased text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// Counts up at punctuation: a phrase lies within one.
    pub(super) part: u32,
    /// Counts up at punctuation and conjunctions: a negation lies within one.
    pub(super) clause: u32,
}

/// Lower case, with one kind of apostrophe.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase().replace('\u{2019}', "'")
}

/// The words of folded text: runs of letters, digits and `_`, with apostrophes inside.
pub(super) fn split(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut part, mut clause) = (0, 0);
    let mut start = None;
    let mut at = text.char_indices().peekable();
    while let Some((index, c)) = at.next() {
        let next = at.peek().map(|(_, next)| *next);
        let inner = c == '\'' && start.is_some() && next.is_some_and(char::is_alphanumeric);
        if c.is_alphanumeric() || c == '_' || inner {
            start.get_or_insert(index);
            if next.is_some() {
                continue;
            }
        }
        let end = if c.is_alphanumeric() || c == '_' {
            text.len()
        } else {
            index
        };
        if let Some(text) = start.take().and_then(|start| text.get(start..end)) {
            if CONJUNCTIONS.contains(&text) {
                clause += 1;
            }
            words.push(Word { text, part, clause });
        }
        if matches!(
            c,
            '.' | '!' | '?' | ';' | ':' | ',' | '\n' | '(' | ')' | '。' | '！' | '？' | '，'
        ) {
            part += 1;
            clause += 1;
        }
    }
    words
}

/// A phrase of a table and what it stands for.
pub(super) struct Phrase<T> {
    pub(super) text: &'static str,
    pub(super) means: T,
    words: Vec<&'static str>,
}

/// The phrases of a table, by the forms of their first words.
pub(super) struct Lexicon<T> {
    phrases: Vec<Phrase<T>>,
    by_first: HashMap<String, Vec<usize>>,
}

/// A phrase found: where it begins, and its number.
pub(super) struct Hit<'l, T> {
    pub(super) at: usize,
    pub(super) number: usize,
    pub(super) phrase: &'l Phrase<T>,
}

impl<T> Lexicon<T> {
    pub(super) fn new(table: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        let mut phrases = Vec::new();
        let mut by_first: HashMap<String, Vec<usize>> = HashMap::new();
        for (text, means) in table {
            let words: Vec<&'static str> = text.split(' ').collect();
            for form in words.first().into_iter().flat_map(|first| forms(first)) {
                by_first.entry(form).or_default().push(phrases.len());
            }
            phrases.push(Phrase { text, means, words });
        }
        // The longest first: what it covers is not looked at again.
        for numbers in by_first.values_mut() {
            numbers.sort_by_key(|number| std::cmp::Reverse(phrases[*number].words.len()));
        }
        Self { phrases, by_first }
    }

    pub(super) fn len(&self) -> usize {
        self.phrases.len()
    }

    pub(super) fn phrase(&self, number: usize) -> &Phrase<T> {
        &self.phrases[number]
    }

    /// Every phrase among the words, from left to right, none within another.
    pub(super) fn find(&self, words: &[Word<'_>], mut found: impl FnMut(Hit<'_, T>)) {
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let numbers = self.by_first.get(word.text).map_or(&[][..], Vec::as_slice);
            let hit = numbers
                .iter()
                .find(|number| self.lies_at(**number, words, at));
            let Some(number) = hit else {
                at += 1;
                continue;
            };
            let phrase = &self.phrases[*number];
            found(Hit {
                at,
                number: *number,
                phrase,
            });
            at += phrase.words.len();
        }
    }

    /// Whether the words behind the first are the phrase's, on one side of any punctuation.
    fn lies_at(&self, number: usize, words: &[Word<'_>], at: usize) -> bool {
        let phrase = &self.phrases[number].words;
        let Some(there) = words.get(at..at + phrase.len()) else {
            return false;
        };
        there
            .iter()
            .zip(phrase)
            .skip(1)
            .all(|(word, wanted)| word.part == there[0].part && is_form(word.text, wanted))
    }
}

/// A word and what English makes of it: errors, crashed, charging. That some are no words harms
/// nobody.
fn forms(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_owned()];
    if word.len() >= 3 && !word.contains('\'') {
        forms.push(format!("{word}s"));
    }
    if word.len() >= 4 && !word.contains('\'') {
        let stem = word.strip_suffix('e').unwrap_or(word);
        forms.extend([
            format!("{word}es"),
            format!("{stem}ed"),
            format!("{stem}ing"),
        ]);
    }
    forms
}

/// Whether a word is one of the [`forms`] of another.
fn is_form(word: &str, of: &str) -> bool {
    if word == of || of.contains('\'') {
        return word == of;
    }
    if let Some(ending) = word.strip_prefix(of)
        && ((ending == "s" && of.len() >= 3) || (ending == "es" && of.len() >= 4))
    {
        return true;
    }
    let stem = of.strip_suffix('e').unwrap_or(of);
    of.len() >= 4
        && word
            .strip_prefix(stem)
            .is_some_and(|ending| matches!(ending, "ed" | "ing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(table: &[&'static str], text: &str) -> Vec<&'static str> {
        let lexicon = Lexicon::new(table.iter().map(|text| (*text, ())));
        let mut texts = Vec::new();
        lexicon.find(&split(&fold(text)), |hit| texts.push(hit.phrase.text));
        texts
    }

    #[test]
    fn words_are_found_whole_and_in_their_forms() {
        let table = ["bug", "crash", "charge", "can't work", "log in"];

        assert_eq!(found(&table, "I debug; a bugbear"), [""; 0]);
        assert_eq!(
            found(&table, "Bugs CRASHED, charging"),
            ["bug", "crash", "charge"]
        );
        assert_eq!(
            found(&table, "I can\u{2019}t work, cannot log-in"),
            ["can't work", "log in"]
        );
        assert_eq!(found(&table, "the log. In short"), [""; 0]);
    }

    #[test]
    fn the_longest_phrase_covers_what_is_in_it() {
        let table = ["leak", "memory leak", "memory"];

        assert_eq!(found(&table, "a memory leak"), ["memory leak"]);
        assert_eq!(found(&table, "memory, leaks"), ["memory", "leak"]);
    }

    #[test]
    fn the_forms_of_the_index_and_of_the_comparison_are_the_same() {
        for word in ["bug", "error", "charge", "sso", "it", "don't", "freeze"] {
            for form in forms(word) {
                assert!(is_form(&form, word), "{form} of {word}");
            }
        }
        assert!(!is_form("chargeed", "charge"));
    }
}
