//! Tables. A pipe and `--wide` get every cell in full; a terminal gets what fits its width: the
//! beginnings of ids, ages in the place of times, long texts cut or wrapped, states in colour.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;

use chrono::{DateTime, Utc};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;
use uuid::Uuid;

use super::{Closed, on_one_line, shown, write_line};

/// What stands between two columns.
const GAP: usize = 2;
/// A text keeps this much, or an extra column goes.
const TEXT_MIN: usize = 12;
/// The least that is left of a text, and of a word where even that is not enough.
const CUT_MIN: usize = 4;
/// Where the terminal does not say how wide it is.
const WIDTH_DEFAULT: usize = 80;
/// The shortest beginning of an id.
const ID_MIN: usize = 8;
/// An id of version 7 begins with its millisecond: less of it would name what is not in the list.
const V7_ID_MIN: usize = 13;
/// Characters of an id.
const ID_LEN: usize = 36;

/// How what is printed is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Columns of the terminal; `None`: everything in full.
    width: Option<usize>,
    colour: bool,
    now: DateTime<Utc>,
}

impl Layout {
    /// That of standard output: `COLUMNS` says how wide, else the terminal. `NO_COLOR`
    /// (no-color.org) counts where it is not empty.
    #[must_use]
    pub fn of_stdout(env: &BTreeMap<String, String>, wide: bool) -> Self {
        let out = std::io::stdout();
        let is_terminal = out.is_terminal();
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
        let asked = set("COLUMNS").and_then(|text| text.parse().ok());
        // A terminal may know nothing of its size, and says 0 then.
        let size =
            || rustix::termios::tcgetwinsize(&out).map_or(0, |size| usize::from(size.ws_col));
        let width = asked.unwrap_or_else(size);
        let width = if width == 0 { WIDTH_DEFAULT } else { width };
        let is_dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self {
            width: (is_terminal && !wide).then_some(width),
            colour: is_terminal && !is_dumb && set("NO_COLOR").is_none(),
            now: Utc::now(),
        }
    }

    /// A time: when, or how far away.
    fn time(&self, at: DateTime<Utc>) -> String {
        match self.width {
            Some(_) => age(self.now, at),
            None => at.format("%F %TZ").to_string(),
        }
    }

    /// Writes a text with its first line after `head`, and further lines under it. An address
    /// stays whole, so that it can be copied.
    ///
    /// # Errors
    /// [`Closed`] when nobody reads any more.
    pub fn prose(&self, head: &str, text: &str) -> Result<(), Closed> {
        let (head, text) = (shown(head), on_one_line(&shown(text)));
        let Some(width) = self.width else {
            return write_line(&format!("{head}{text}"));
        };
        let indent = head.width();
        let mut before = head.into_owned();
        for part in wrapped(&text, width.saturating_sub(indent).max(CUT_MIN), true) {
            write_line(&format!("{before}{part}"))?;
            before = " ".repeat(indent);
        }
        Ok(())
    }

    /// A word that stands for a state, in its colour.
    fn painted(&self, word: &str, padded: String) -> String {
        match colour_of(word).filter(|_| self.colour) {
            Some(code) => format!("\x1b[{code}m{padded}\x1b[0m"),
            None => padded,
        }
    }
}

/// What stands in a cell.
#[derive(Debug, Clone)]
pub enum Cell {
    /// A text, cut where there is no room.
    Text(String),
    /// A text that is read in full: it is wrapped.
    Prose(String),
    /// A word or a number, which means nothing when it is cut.
    Word(String),
    /// A state, in colour. What follows the first word says more of it.
    State(String),
    /// An id, of which the beginning will do.
    Id(Uuid),
    /// A time, of which the age will do.
    Time(DateTime<Utc>),
    /// The same where milliseconds matter.
    Instant(DateTime<Utc>),
    /// A time to come, of which the time until then will do.
    Due(DateTime<Utc>),
}

impl Cell {
    /// A word or a number.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "names, numbers and made texts alike"
    )]
    pub fn word(value: impl ToString) -> Self {
        Self::Word(value.to_string())
    }

    /// A state.
    #[expect(clippy::needless_pass_by_value, reason = "names and made texts alike")]
    pub fn state(value: impl ToString) -> Self {
        Self::State(value.to_string())
    }

    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Word(String::new())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Uuid> for Cell {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl From<DateTime<Utc>> for Cell {
    fn from(at: DateTime<Utc>) -> Self {
        Self::Time(at)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Self::empty, Into::into)
    }
}

/// The head of a column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    name: &'static str,
    short: &'static str,
    is_extra: bool,
}

impl Column {
    /// With another name where room is short.
    #[must_use]
    pub const fn or(self, short: &'static str) -> Self {
        Self { short, ..self }
    }

    /// That goes first where room is short.
    #[must_use]
    pub const fn extra(self) -> Self {
        Self {
            is_extra: true,
            ..self
        }
    }
}

/// The head of a column.
#[must_use]
pub const fn column(name: &'static str) -> Column {
    Column {
        name,
        short: name,
        is_extra: false,
    }
}

impl From<&'static str> for Column {
    fn from(name: &'static str) -> Self {
        column(name)
    }
}

/// Writes rows as aligned columns under a heading.
///
/// # Errors
/// [`Closed`] when nobody reads any more.
pub fn table<C: Copy + Into<Column>>(
    layout: &Layout,
    heading: &[C],
    rows: &[Vec<Cell>],
) -> Result<(), Closed> {
    let heading: Vec<Column> = heading.iter().map(|name| (*name).into()).collect();
    for text in lines(layout, &heading, rows) {
        write_line(&text)?;
    }
    Ok(())
}

/// How a column gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Not at all.
    Never,
    /// When all else is not enough.
    Last,
    Cut,
    Wrapped,
}

/// A column, measured.
struct Measured {
    index: usize,
    name: &'static str,
    texts: Vec<String>,
    width: usize,
    way: Way,
    is_extra: bool,
}

fn lines(layout: &Layout, heading: &[Column], rows: &[Vec<Cell>]) -> Vec<String> {
    let mut columns: Vec<Measured> = (0..heading.len())
        .map(|index| measured(layout, heading[index], index, rows))
        .collect();
    if let Some(room) = layout.width {
        // What is empty says nothing.
        let says = |column: &Measured| {
            rows.is_empty()
                || column.name == " "
                || column.texts.iter().any(|text| !text.is_empty())
        };
        columns.retain(says);
        fit(&mut columns, room);
    }
    let mut made = vec![joined(
        columns
            .iter()
            .map(|column| (column.name.to_owned(), column.width)),
    )];
    for (number, row) in rows.iter().enumerate() {
        let parts: Vec<Vec<String>> = columns
            .iter()
            .map(|column| match column.way {
                Way::Never | Way::Last => vec![column.texts[number].clone()],
                Way::Cut => vec![cut(&column.texts[number], column.width)],
                Way::Wrapped => wrapped(&column.texts[number], column.width, false),
            })
            .collect();
        let height = parts.iter().map(Vec::len).max().unwrap_or(1);
        for line in 0..height {
            made.push(joined(columns.iter().zip(&parts).map(|(column, parts)| {
                let text = parts.get(line).cloned().unwrap_or_default();
                let missing = column.width.saturating_sub(text.width());
                match row.get(column.index) {
                    Some(Cell::State(_)) => {
                        let word = text.split(' ').next().unwrap_or_default().to_owned();
                        let painted = layout.painted(&word, text);
                        (format!("{painted}{}", " ".repeat(missing)), 0)
                    }
                    Some(_) | None => (text, column.width),
                }
            })));
        }
    }
    made
}

/// Cells side by side, each as wide as its column.
fn joined(cells: impl Iterator<Item = (String, usize)>) -> String {
    let mut line = String::new();
    for (number, (text, width)) in cells.enumerate() {
        if number > 0 {
            line.push_str(&" ".repeat(GAP));
        }
        let missing = width.saturating_sub(text.width());
        line.push_str(&text);
        line.push_str(&" ".repeat(missing));
    }
    line.truncate(line.trim_end().len());
    line
}

fn measured(layout: &Layout, head: Column, index: usize, rows: &[Vec<Cell>]) -> Measured {
    let cells = || rows.iter().filter_map(|row| row.get(index));
    let is_short = layout.width.is_some();
    let length = if is_short { id_length(cells()) } else { ID_LEN };
    let text = |cell: &Cell| match cell {
        Cell::Text(text) | Cell::Prose(text) | Cell::Word(text) | Cell::State(text) => {
            on_one_line(&shown(text)).replace('\t', " ")
        }
        Cell::Id(id) => id.to_string().chars().take(length).collect(),
        Cell::Instant(at) if !is_short => at.format("%F %T%.3fZ").to_string(),
        Cell::Due(at) if is_short && *at <= layout.now => "now".to_owned(),
        Cell::Time(at) | Cell::Instant(at) | Cell::Due(at) => layout.time(*at),
    };
    let name = if is_short { head.short } else { head.name };
    let texts: Vec<String> = rows
        .iter()
        .map(|row| row.get(index).map(text).unwrap_or_default())
        .collect();
    let widest = texts.iter().map(|text| text.width()).max().unwrap_or(0);
    let way = if !is_short || cells().any(|cell| matches!(cell, Cell::Id(_))) {
        Way::Never
    } else if cells().any(|cell| matches!(cell, Cell::Prose(_))) {
        Way::Wrapped
    } else if cells().any(|cell| matches!(cell, Cell::Text(_))) {
        Way::Cut
    } else {
        Way::Last
    };
    Measured {
        index,
        name,
        width: widest.max(name.width()),
        texts,
        way,
        is_extra: head.is_extra,
    }
}

/// Makes columns narrower until they have room: the extra ones go, then texts give way, the widest
/// first, and at last words. Ids stay, as half of one is none.
fn fit(columns: &mut Vec<Measured>, room: usize) {
    let total = |columns: &[Measured]| {
        let gaps = GAP * columns.len().saturating_sub(1);
        columns.iter().map(|column| column.width).sum::<usize>() + gaps
    };
    let least = |columns: &[Measured]| {
        let gives = |column: &Measured| match column.way {
            Way::Never | Way::Last => 0,
            Way::Cut | Way::Wrapped => column.width.saturating_sub(TEXT_MIN),
        };
        total(columns).saturating_sub(columns.iter().map(gives).sum())
    };
    while least(columns) > room {
        let Some(last) = columns.iter().rposition(|column| column.is_extra) else {
            break;
        };
        columns.remove(last);
    }
    for words_too in [false, true] {
        if words_too && total(columns) > room {
            for column in columns.iter_mut().filter(|column| column.way == Way::Last) {
                column.way = Way::Cut;
            }
        }
        while total(columns) > room {
            let widest = columns
                .iter_mut()
                .filter(|column| {
                    matches!(column.way, Way::Cut | Way::Wrapped) && column.width > CUT_MIN
                })
                .max_by_key(|column| column.width);
            let Some(widest) = widest else { break };
            widest.width -= 1;
        }
    }
}

/// The shortest beginning by which the ids of a column differ.
fn id_length<'a>(cells: impl Iterator<Item = &'a Cell>) -> usize {
    let mut least = ID_MIN;
    let ids: BTreeSet<String> = cells
        .filter_map(|cell| match cell {
            Cell::Id(id) => Some(id),
            Cell::Text(_)
            | Cell::Prose(_)
            | Cell::Word(_)
            | Cell::State(_)
            | Cell::Time(_)
            | Cell::Instant(_)
            | Cell::Due(_) => None,
        })
        .map(|id| {
            if id.get_version_num() == 7 {
                least = V7_ID_MIN;
            }
            id.to_string()
        })
        .collect();
    // Neighbours in order share the longest beginnings.
    let shared = |(one, other): (&String, &String)| {
        let pairs = one.chars().zip(other.chars());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let longest = ids.iter().zip(ids.iter().skip(1)).map(shared).max();
    let length = longest.map_or(0, |shared| shared + 1).max(least);
    // A hyphen at the end tells nothing, and looks as if something were cut.
    let ends_in_hyphen = [9, 14, 19, 24].contains(&length);
    if ends_in_hyphen { length + 1 } else { length }
}

/// The beginning of a text, with an ellipsis where it goes on.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut made = beginning(text, width.saturating_sub(1)).to_owned();
    made.truncate(made.trim_end().len());
    made.push('…');
    made
}

/// As much of a text as has room, in whole characters.
fn beginning(text: &str, width: usize) -> &str {
    let mut used = 0;
    let mut end = 0;
    for (at, character) in text.grapheme_indices(true) {
        used += character.width();
        if used > width {
            break;
        }
        end = at + character.len();
    }
    &text[..end]
}

/// A text in lines that have room: broken between words, a long word after its punctuation, and
/// anywhere where it has none; an address too, unless it `keeps` them.
fn wrapped(text: &str, width: usize, keeps: bool) -> Vec<String> {
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let stays = keeps && (word.starts_with("https://") || word.starts_with("http://"));
        let is_long = !stays && word.width() > width;
        let parts = word.split_inclusive(|c| is_long && matches!(c, '.' | ',' | '/' | '_' | '-'));
        for (number, mut part) in parts.enumerate() {
            let space = if number == 0 && !line.is_empty() {
                " "
            } else {
                ""
            };
            if line.width() + space.len() + part.width() <= width {
                line.push_str(space);
                line.push_str(part);
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            while is_long && part.width() > width {
                let first = beginning(part, width);
                // A single character may be wider than the line.
                if first.is_empty() {
                    break;
                }
                lines.push(first.to_owned());
                part = &part[first.len()..];
            }
            line.push_str(part);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// How far a time is away, in one unit: `12s`, `3m`, `2h`, `5d`.
fn age(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    match (at - now).abs().num_seconds() {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// States by their colours: green is well, yellow waits, red needs somebody, blue is under way and
/// grey is out of use.
const COLOURS: [(&str, &[&str]); 5] = [
    (
        "32",
        &[
            "active",
            "alive",
            "applied",
            "enabled",
            "healthy",
            "resolved",
            "succeeded",
            "valid",
        ],
    ),
    (
        "33",
        &[
            "deferred", "expired", "missing", "paused", "pending", "unknown",
        ],
    ),
    (
        "31",
        &[
            "error",
            "failed",
            "invalid:",
            "rejected",
            "silent",
            "unhealthy",
        ],
    ),
    ("34", &["in_progress", "new", "open", "running"]),
    ("90", &["cancelled", "closed", "disabled", "inactive"]),
];

fn colour_of(word: &str) -> Option<&'static str> {
    let found = COLOURS.iter().find(|(_, words)| words.contains(&word));
    found.map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn layout(width: Option<usize>, colour: bool) -> Layout {
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        Layout { width, colour, now }
    }

    fn made(layout: &Layout, heading: &[Column], rows: &[Vec<Cell>]) -> Vec<String> {
        lines(layout, heading, rows)
    }

    fn texts(cells: &[&str]) -> Vec<Cell> {
        cells
            .iter()
            .map(|text| Cell::from((*text).to_owned()))
            .collect()
    }

    #[test]
    fn the_widest_text_is_cut_until_all_have_room_and_a_pipe_gets_all() {
        let heading = [column("ID"), column("NAME"), column("MESSAGE")];
        let mut row = vec![Cell::word("abcdefgh")];
        row.extend(texts(&[
            "Jira",
            "the platform failed, and says that it is closed",
        ]));

        let cut = made(
            &layout(Some(40), false),
            &heading,
            std::slice::from_ref(&row),
        );
        let whole = made(&layout(None, false), &heading, &[row]);

        assert_eq!(
            cut,
            [
                "ID        NAME  MESSAGE",
                "abcdefgh  Jira  the platform failed, an…"
            ]
        );
        assert_eq!(cut[1].width(), 40);
        assert_eq!(
            whole[1],
            "abcdefgh  Jira  the platform failed, and says that it is closed"
        );
    }

    #[test]
    fn no_row_is_wider_than_the_terminal_whatever_is_in_it() {
        let heading = [
            column("ID"),
            column("WORD"),
            column("TEXT"),
            column("MORE").extra(),
        ];
        let id = Uuid::from_u128(0x0198_e0d2_6d3a_7c1e_9a53_0a4f_6c1d_2b3e);
        let row = vec![
            Cell::from(id),
            Cell::word("integration.credentials_renew"),
            Cell::from("障害 👩‍👩‍👧 e\u{301}te\u{301} \t tabs\nand lines ".repeat(9)),
            Cell::from("more".to_owned()),
        ];
        for width in 40..200 {
            for line in made(
                &layout(Some(width), false),
                &heading,
                std::slice::from_ref(&row),
            ) {
                assert!(line.width() <= width, "{width}: {line}");
                assert!(!line.contains(['\t', '\n']), "{width}: {line:?}");
            }
        }
        // An id is never cut, as half of one names nothing.
        let narrow = made(&layout(Some(10), false), &heading, &[row]);
        assert!(narrow[1].starts_with("0198e0d2-6d3a "), "{narrow:?}");
    }

    #[test]
    fn extra_columns_go_where_texts_would_have_no_room_and_empty_ones_anyway() {
        let heading = [column("A"), column("B").extra(), column("C"), column("D")];
        let rows = [vec![
            Cell::from("a text of some length".to_owned()),
            Cell::word("0123456789"),
            Cell::empty(),
            Cell::word("d"),
        ]];

        let heads = |width| made(&layout(width, false), &heading, &rows).remove(0);

        let names = |line: String| line.split_whitespace().collect::<String>();
        assert_eq!(names(heads(Some(80))), "ABD");
        assert_eq!(names(heads(Some(20))), "AD");
        assert_eq!(names(heads(None)), "ABCD");
    }

    #[test]
    fn ids_are_as_short_as_they_differ_and_those_by_time_have_their_millisecond() {
        let length = |ids: &[&str]| {
            let cells: Vec<Cell> = ids.iter().map(|id| Cell::Id(id.parse().unwrap())).collect();
            id_length(cells.iter())
        };

        let one = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
        assert_eq!(length(&[one]), 8);
        assert_eq!(length(&[one, one]), 8);
        assert_eq!(length(&[one, "6f9619ff-8b87-4011-b42d-00c04fc964ff"]), 13);
        assert_eq!(length(&[one, "6f9619fe-8b86-4011-b42d-00c04fc964ff"]), 8);
        let seventh = "0198e0d2-6d3a-7c1e-9a53-0a4f6c1d2b3e";
        assert_eq!(length(&[seventh]), 13);
        assert_eq!(
            length(&[seventh, "0198e0d2-6d3a-7c2e-9a53-0a4f6c1d2b3e"]),
            17
        );
        // Never with a hyphen at the end.
        assert_eq!(length(&[one, "6f9619ff-9b86-4011-b42d-00c04fc964ff"]), 10);
        assert_eq!(
            length(&[seventh, "0198e0d2-6d3a-8c1e-9a53-0a4f6c1d2b3e"]),
            15
        );
    }

    #[test]
    fn times_are_ages_on_a_terminal_and_have_their_zone_in_a_pipe() {
        let short = layout(Some(80), false);
        let now = short.now;
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (180, "3m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (5 * 86_400 + 5, "5d"),
        ] {
            assert_eq!(short.time(now - TimeDelta::seconds(seconds)), text);
            assert_eq!(short.time(now + TimeDelta::seconds(seconds)), text);
        }
        let heading = [column("RECEIVED").or("AGE"), column("NEXT")];
        let row = vec![Cell::Instant(now), Cell::Due(now)];
        let of = |layout| made(&layout, &heading, std::slice::from_ref(&row)).join("|");
        assert_eq!(of(short), "AGE  NEXT|0s   now");
        let whole = of(layout(None, false));
        assert!(
            whole.ends_with("|2026-01-31 12:00:00.000Z  2026-01-31 12:00:00Z"),
            "{whole}"
        );
    }

    #[test]
    fn prose_is_wrapped_between_words_and_long_words_after_their_punctuation() {
        assert_eq!(wrapped("●  done", 7, false), ["●  done"]);
        assert_eq!(wrapped("", 7, false), [""]);
        assert_eq!(
            wrapped("with settings.external_id_field an upsert", 17, true),
            ["with settings.", "external_id_field", "an upsert"]
        );
        assert_eq!(wrapped("abcdefghij", 4, true), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("障害障害", 5, true), ["障害", "障害"]);
        let url = "SUP-1 https://example.test/browse/SUP-1";
        assert_eq!(
            wrapped(url, 12, true),
            ["SUP-1", "https://example.test/browse/SUP-1"]
        );
        assert!(
            wrapped(url, 12, false)
                .iter()
                .all(|line| line.width() <= 12)
        );
        let heading = [column("A"), column("B")];
        let row = vec![Cell::word("one"), Cell::Prose("two three four".to_owned())];
        let made = made(&layout(Some(12), false), &heading, &[row]);
        assert_eq!(made, ["A    B", "one  two", "     three", "     four"]);
    }

    #[test]
    fn states_are_coloured_where_that_is_wanted_and_nothing_moves() {
        let heading = [column("STATE"), column("WHAT")];
        let rows = [
            vec![Cell::state("failed"), Cell::word("failed")],
            vec![Cell::state("\x1b[31mpwn"), Cell::word("x")],
        ];

        let bare = made(&layout(None, false), &heading, &rows);
        let coloured = made(&layout(None, true), &heading, &rows);

        assert_eq!(bare[1], "failed         failed");
        assert_eq!(coloured[1], "\x1b[31mfailed\x1b[0m         failed");
        // A colour of somebody else's is none.
        assert_eq!(coloured[2], "\\u{1b}[31mpwn  x");
    }
}
