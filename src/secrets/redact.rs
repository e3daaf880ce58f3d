//! Takes known secrets out of texts that others wrote: an answer of a platform, what an adapter
//! made of it, a log line.
//!
//! Whoever has a secret can write it in many ways, and only the plain one is found by a search. So
//! a secret is looked for in plain, base64 (at each of the three offsets, either alphabet) and hex;
//! the text is looked at as it is and with its escapes taken away, as often as there are any:
//! percent, JSON, HTML, line breaks. Case does not count. A long secret is found by a part of it,
//! as texts are cut.
//!
//! What is shorter than [`SHORTEST`] is not looked for: it would be found in half of all words.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::escapes::{self, Stream, decode};
use crate::domain::MASK;

/// Shortest secret that can be told from an ordinary word.
pub const SHORTEST: usize = 6;
/// So many bytes in a row of a secret that no word has give it away.
const RUN: usize = 12;
/// The same in hex, where two digits are a byte.
const RUN_HEX: usize = 16;
/// Bytes by which a form is found.
const GRAM: usize = 8;
/// A form is known by every so-manieth gram: each run of `RUN` bytes holds one of them.
const STRIDE: usize = 4;
/// Bytes of a text that are looked at in one piece, so that a long one needs no memory of its size.
const PIECE: usize = 16 << 10;
/// What a piece shares with the next: more than a run takes, however it is escaped.
const OVERLAP: usize = 1 << 10;
/// How often escapes are taken away: a form in JSON in a URL in HTML has three layers.
const LAYERS: usize = 4;

/// Which secrets are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those that cannot be an ordinary word: for an answer that a program has yet to read.
    Sure,
    /// All of them: for what people read.
    All,
}

/// The secrets to look for.
#[derive(Default)]
pub struct Redactor {
    forms: Vec<Form>,
    /// Gram, form, offset in it; sorted.
    grams: Vec<(u64, u32, u32)>,
    /// Forms too short for a gram.
    brief: Vec<u32>,
    /// A bit for each gram: most places of a text are none, which is seen at once.
    filter: Filter,
}

/// A set of grams that may say yes where it should say no.
#[derive(Clone)]
struct Filter([u64; 64]);

impl Default for Filter {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl Filter {
    /// Word and bit: twelve bits of a multiplicative hash.
    const fn place(gram: u64) -> (usize, u64) {
        let hash = gram.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
        (((hash >> 6) & 63) as usize, 1 << (hash & 63))
    }

    fn add(&mut self, gram: u64) {
        let (word, bit) = Self::place(gram);
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= bit;
        }
    }

    fn has(&self, gram: u64) -> bool {
        let (word, bit) = Self::place(gram);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

/// A way in which a secret is written.
struct Form {
    bytes: Vec<u8>,
    /// So many of them in a row are enough.
    run: usize,
    sure: bool,
    /// Characters before and behind it that hold bits of it.
    edges: (usize, usize),
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} forms)", self.forms.len())
    }
}

impl Redactor {
    /// Looks for these.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut made = Self::default();
        for secret in secrets {
            made.add(secret);
        }
        made.grams.sort_unstable();
        made
    }

    /// Whether this one is looked for already.
    #[must_use]
    pub fn knows(&self, secret: &str) -> bool {
        let plain = folded(secret.as_bytes());
        self.forms.iter().any(|form| form.bytes == plain)
    }

    fn add(&mut self, secret: &str) {
        if secret.chars().count() < SHORTEST {
            return;
        }
        let sure = is_sure(secret);
        let run = |least: usize, length: usize| if sure { least.min(length) } else { length };
        let mut add = |bytes: Vec<u8>, least: usize, edges| {
            let run = run(least, bytes.len());
            self.insert(Form {
                bytes,
                run,
                sure,
                edges,
            });
        };
        add(folded(secret.as_bytes()), RUN, (0, 0));
        let bare = decode(secret.as_bytes(), LAYERS);
        if bare != secret.as_bytes() {
            add(folded(&bare), RUN, (0, 0));
        }
        add(hex::encode(secret).into_bytes(), RUN_HEX, (0, 0));
        for before in 0..3_usize {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(secret.as_bytes());
            let text = STANDARD_NO_PAD.encode(&bytes);
            // Characters that hold bits of what is before or behind the secret are not always the
            // same.
            let (first, last) = ([0, 2, 3][before], bytes.len() * 8 / 6);
            let inner = text.as_bytes().get(first..last).unwrap_or_default();
            let edges = (usize::from(before > 0), usize::from(text.len() > last));
            add(folded(inner), RUN, edges);
        }
    }

    fn brief_forms(&self) -> impl Iterator<Item = (u32, &Form)> {
        let found = |form: &u32| Some((*form, self.forms.get(*form as usize)?));
        self.brief.iter().filter_map(found)
    }

    fn insert(&mut self, form: Form) {
        // Far fewer than 2³² of either: a message has 1 MiB.
        let number = u32::try_from(self.forms.len()).unwrap_or(u32::MAX);
        if form.bytes.len() < GRAM {
            self.brief.push(number);
        }
        for offset in (0..form.bytes.len()).step_by(STRIDE) {
            if let Some(gram) = gram(&form.bytes, offset) {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                self.filter.add(gram);
                self.grams.push((gram, number, offset));
            }
        }
        self.forms.push(form);
    }

    fn has_gram(&self, gram: u64) -> bool {
        let first = self.grams.partition_point(|(known, ..)| *known < gram);
        self.grams
            .get(first)
            .is_some_and(|(known, ..)| *known == gram)
    }

    /// Calls `mark` for what of a secret stands around a gram of a folded text.
    fn find(
        &self,
        text: &[u8],
        at: usize,
        gram: u64,
        reach: Reach,
        mark: &mut impl FnMut(usize, usize),
    ) {
        let first = self.grams.partition_point(|(known, ..)| *known < gram);
        let rest = self.grams.get(first..).unwrap_or_default();
        for (_, form, offset) in rest.iter().take_while(|(known, ..)| *known == gram) {
            self.judge(text, at, *form, *offset as usize, reach, mark);
        }
    }

    /// How much of a form is in the text around a place where both have the same.
    fn judge(
        &self,
        text: &[u8],
        at: usize,
        form: u32,
        offset: usize,
        reach: Reach,
        mark: &mut impl FnMut(usize, usize),
    ) {
        let Some(form) = self.forms.get(form as usize) else {
            return;
        };
        if reach == Reach::Sure && !form.sure {
            return;
        }
        let same = |(a, b): &(&u8, &u8)| a == b;
        let (before, behind) = (text.get(..at), text.get(at..));
        let (head, tail) = (form.bytes.get(..offset), form.bytes.get(offset..));
        let back = before.unwrap_or_default().iter().rev();
        let back = back.zip(head.unwrap_or_default().iter().rev());
        let back = back.take_while(same).count();
        let on = behind.unwrap_or_default().iter();
        let on = on.zip(tail.unwrap_or_default().iter());
        let on = on.take_while(same).count();
        if back + on < form.run {
            return;
        }
        let (mut from, mut to) = (at - back, at + on);
        if back == offset {
            from = from.saturating_sub(form.edges.0);
        }
        if offset + on == form.bytes.len() {
            let padding = |byte: &&u8| **byte == b'=';
            to = (to + form.edges.1).min(text.len());
            to += text
                .get(to..)
                .unwrap_or_default()
                .iter()
                .take(2)
                .take_while(padding)
                .count();
        }
        mark(from, to);
    }
}

/// Several redactors that look at a text together.
#[derive(Clone, Default)]
pub struct Redactors {
    each: Vec<Arc<Redactor>>,
    /// Of all of them.
    filter: Filter,
    /// How a brief form begins. `None` where there is none.
    first: Option<Box<[bool; 256]>>,
}

impl std::fmt::Debug for Redactors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.each).finish()
    }
}

impl Redactors {
    /// Looks for what this one looks for, too.
    pub fn add(&mut self, redactor: Arc<Redactor>) {
        if redactor.forms.is_empty() {
            return;
        }
        for (all, some) in self.filter.0.iter_mut().zip(redactor.filter.0) {
            *all |= some;
        }
        for (_, form) in redactor.brief_forms() {
            let first = self.first.get_or_insert_with(|| Box::new([false; 256]));
            if let Some(byte) = form.bytes.first() {
                first[usize::from(*byte)] = true;
            }
        }
        self.each.push(redactor);
    }

    /// Whether one of them looks for this secret.
    #[must_use]
    pub fn knows(&self, secret: &str) -> bool {
        self.each.iter().any(|redactor| redactor.knows(secret))
    }

    /// The text without what these look for; `None` where there is nothing of it.
    #[must_use]
    pub fn redact(&self, text: &[u8], reach: Reach) -> Option<Vec<u8>> {
        if self.each.is_empty() || text.len() < SHORTEST || self.is_clean(text) {
            return None;
        }
        let mut marks: Vec<(usize, usize)> = Vec::new();
        let mut start = 0;
        loop {
            let end = (start + PIECE).min(text.len());
            let mut stream = Stream::of(text.get(start..end).unwrap_or_default());
            for _ in 0..=LAYERS {
                self.scan(&folded_in_place(&stream), reach, |from, to| {
                    let (from, to) = stream.source(from, to);
                    marks.push((start + from, start + to));
                });
                match stream.unescaped() {
                    Some(next) => stream = next,
                    None => break,
                }
            }
            if end == text.len() {
                break;
            }
            start = end - OVERLAP;
        }
        (!marks.is_empty()).then(|| masked(text, marks))
    }

    /// Whether a text is surely of none: it has no escapes, no brief form is looked for, and no
    /// gram of a form is in it. That is so of nearly every text, and costs no memory.
    fn is_clean(&self, text: &[u8]) -> bool {
        if self.first.is_some() {
            return false;
        }
        let mut gram = 0_u64;
        for (last, byte) in text.iter().enumerate() {
            let (folded, escapes) = FOLDED[usize::from(*byte)];
            gram = (gram << 8) | u64::from(folded);
            if escapes || (last + 1 >= GRAM && self.filter.has(gram) && self.has_gram(gram)) {
                return false;
            }
        }
        true
    }

    fn has_gram(&self, gram: u64) -> bool {
        self.each.iter().any(|redactor| redactor.has_gram(gram))
    }

    /// One pass over a text for all secrets: nearly every place of it is of none, which two looks
    /// show.
    fn scan(&self, text: &[u8], reach: Reach, mut mark: impl FnMut(usize, usize)) {
        let mut gram = 0_u64;
        for (last, byte) in text.iter().enumerate() {
            gram = (gram << 8) | u64::from(*byte);
            if last + 1 >= GRAM && self.filter.has(gram) {
                for redactor in &self.each {
                    redactor.find(text, last + 1 - GRAM, gram, reach, &mut mark);
                }
            }
            if self
                .first
                .as_ref()
                .is_some_and(|first| first[usize::from(*byte)])
            {
                for redactor in &self.each {
                    for (form, _) in redactor.brief_forms() {
                        redactor.judge(text, last, form, 0, reach, &mut mark);
                    }
                }
            }
        }
    }
}

/// Each byte folded, and whether it may begin an escape.
static FOLDED: [(u8, bool); 256] = {
    let mut table = [(0, false); 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = (fold(byte), escapes::is_special(byte));
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    table
};

fn masked(text: &[u8], mut marks: Vec<(usize, usize)>) -> Vec<u8> {
    marks.sort_unstable();
    let mut made = Vec::with_capacity(text.len());
    let mut done = 0;
    let mut open: Option<(usize, usize)> = None;
    let mut put = |(from, to): (usize, usize)| {
        // A character is masked whole.
        let inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        let from = (0..=from)
            .rev()
            .find(|at| !inside(*at))
            .unwrap_or(0)
            .max(done);
        let to = (to..text.len())
            .find(|at| !inside(*at))
            .unwrap_or(text.len());
        made.extend_from_slice(text.get(done..from).unwrap_or_default());
        made.extend_from_slice(MASK.as_bytes());
        done = to;
    };
    for (from, to) in marks {
        open = Some(match open {
            // What is left between two parts of a secret is of it too.
            Some((first, last)) if from <= last + 2 => (first, last.max(to)),
            Some(last) => {
                put(last);
                (from, to)
            }
            None => (from, to),
        });
    }
    open.into_iter().for_each(&mut put);
    made.extend_from_slice(text.get(done..).unwrap_or_default());
    made
}

/// Whether it cannot be an ordinary word: long, or letters and digits mixed.
fn is_sure(secret: &str) -> bool {
    let count = secret.chars().count();
    let has = |kind: fn(&char) -> bool| secret.chars().any(|c| kind(&c));
    count >= 20 || (count >= 8 && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic))
}

fn gram(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + GRAM)?;
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Without what makes no difference: case, the alphabet of base64, a space that forms write as
/// plus.
const fn fold(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte | 0x20,
        b'-' | b' ' => b'+',
        b'_' => b'/',
        other => other,
    }
}

fn folded(bytes: &[u8]) -> Vec<u8> {
    let breaks = |byte: &&u8| !matches!(byte, b'\r' | b'\n' | b'\t');
    bytes
        .iter()
        .filter(breaks)
        .map(|byte| fold(*byte))
        .collect()
}

/// Keeps the places.
fn folded_in_place(stream: &Stream) -> Vec<u8> {
    stream.bytes().iter().map(|byte| fold(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "xoxb-17653-kT+/4\"q<Z&8~é 9";

    fn cleaned(secrets: &[&str], text: &str, reach: Reach) -> String {
        let mut redactors = Redactors::default();
        redactors.add(Arc::new(Redactor::new(secrets.iter().copied())));
        let made = redactors.redact(text.as_bytes(), reach);
        made.map_or_else(|| text.to_owned(), |made| String::from_utf8(made).unwrap())
    }

    /// Every way of writing a secret that we have seen.
    fn ways(secret: &str) -> Vec<(&'static str, String)> {
        let percent = |upper: bool| -> String {
            let bytes = secret.bytes();
            bytes
                .map(|b| {
                    if upper {
                        format!("%{b:02X}")
                    } else {
                        format!("%{b:02x}")
                    }
                })
                .collect()
        };
        let unicode: String = secret
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect();
        let html: String = secret
            .chars()
            .map(|c| format!("&#{};", u32::from(c)))
            .collect();
        let html_hex: String = secret
            .chars()
            .map(|c| format!("&#x{:X};", u32::from(c)))
            .collect();
        let json = serde_json::to_string(secret).unwrap();
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let twice: String = url::form_urlencoded::byte_serialize(form.as_bytes()).collect();
        let entities = secret
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('"', "&quot;");
        let pair = STANDARD.encode(format!("a@b.example:{secret}"));
        let wrapped: Vec<&str> = pair
            .as_bytes()
            .chunks(9)
            .map(|c| std::str::from_utf8(c).unwrap())
            .collect();
        vec![
            ("plain", secret.to_owned()),
            ("upper case", secret.to_ascii_uppercase()),
            ("percent", percent(true)),
            ("percent, lower case", percent(false)),
            ("a form's value", form),
            ("twice", twice),
            ("JSON", json.clone()),
            ("JSON in JSON", serde_json::to_string(&json).unwrap()),
            ("\\u", unicode),
            ("entities", entities),
            ("numbered entities", html),
            ("hex entities", html_hex),
            ("hex", hex::encode(secret)),
            ("HEX", hex::encode_upper(secret)),
            ("base64", STANDARD.encode(secret)),
            (
                "base64, one before",
                URL_SAFE_NO_PAD.encode(format!("a{secret}b")),
            ),
            (
                "base64, two before",
                STANDARD.encode(format!("ab{secret}cd")),
            ),
            ("a pair", pair.clone()),
            ("a pair in lines", wrapped.join("\r\n")),
            (
                "its base64 in a URL",
                pair.replace('+', "%2B")
                    .replace('/', "%2f")
                    .replace('=', "%3D"),
            ),
        ]
    }

    #[test]
    fn a_secret_is_taken_out_however_it_is_written() {
        for (way, written) in ways(TOKEN) {
            let text = format!("bad token <{written}> for é");

            let made = cleaned(&[TOKEN], &text, Reach::Sure);

            assert!(
                made.starts_with("bad token <") && made.ends_with("> for é"),
                "{way}: {made}"
            );
            let left = made.replace(MASK, "").len() - "bad token <> for é".len();
            // Of a pair, the user's name stays.
            let name = match way {
                "a pair" | "a pair in lines" | "its base64 in a URL" => 22,
                "JSON in JSON" => 6,
                // What stood beside it, and bits of that.
                "base64, one before" | "base64, two before" => 8,
                _ => 4,
            };
            assert!(left <= name, "{way}: {made}");
        }
    }

    #[test]
    fn a_part_of_a_secret_is_taken_out_too() {
        let made = cleaned(
            &["hunter2-and-a-long-tail-9"],
            "cut: hunter2-and-a-lo…",
            Reach::Sure,
        );
        assert_eq!(made, "cut: ••••…");
    }

    #[test]
    fn what_is_not_secret_stays() {
        let text =
            "ticket tkt-9b2f1c1e was refused: summary: is required, 100% of it &amp; \\n more";
        assert_eq!(cleaned(&[TOKEN, "summer", "abc12"], text, Reach::All), text);
    }

    #[test]
    fn a_word_is_taken_out_only_of_what_people_read() {
        let text = "{\"summary\":\"the password is Summary\"}";
        assert_eq!(cleaned(&["summary"], text, Reach::Sure), text);
        let made = cleaned(&["summary"], text, Reach::All);
        assert_eq!(made, "{\"••••\":\"the password is ••••\"}");
        // What is shorter is in every word.
        assert_eq!(cleaned(&["pass"], "a password", Reach::All), "a password");
    }

    proptest! {
        #[test]
        fn wherever_it_stands_it_is_found(before in 0..40_000_usize, way in 0..20_usize) {
            let (_, written) = ways(TOKEN).swap_remove(way);
            let text = format!("{}|{written}|{}", "é\\n".repeat(before / 4),
                "x".repeat(before % 4));

            let made = cleaned(&[TOKEN], &text, Reach::Sure);

            prop_assert!(made.contains(MASK));
            prop_assert!(!made.contains(&written));
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,200}", secret in "\\PC{6,40}") {
            let made = cleaned(&[&secret], &format!("{text}{secret}{text}"), Reach::All);
            prop_assert!(!made.contains(&secret), "{made}");
        }
    }
}
