//! Where a format is written to: bounded, and whole in its markup wherever it is cut.
//!
//! A mark is opened only where there is room for its end as well, and that room is kept. So what is
//! cut is closed, the sign of the cut stands where the text ends, and our marker behind it.

use std::borrow::Cow;

use super::fit::{Max, SIGN, boundary};
use super::marker::{JOINER, Marker};

/// A character of a person's text, for those who escape it.
#[derive(Clone, Copy)]
pub(super) struct Here {
    pub(super) c: char,
    /// The characters beside it in the same text.
    pub(super) before: Option<char>,
    pub(super) after: Option<char>,
    /// Whether it is the first of its line or block.
    pub(super) is_first: bool,
}

pub(super) struct Sink {
    made: String,
    max: Max,
    used: usize,
    /// Kept for what is open, the sign of a cut, and the tail.
    reserved: usize,
    open: Vec<Option<String>>,
    /// What each line begins with: of quotes and lists.
    prefixes: Vec<Cow<'static, str>>,
    /// Line breaks before what comes next.
    pending: usize,
    at_line_start: bool,
    /// Whether nothing was written since the line or its block began.
    is_fresh: bool,
    is_cut: bool,
    is_signed: bool,
    cut_block: &'static str,
    tail: String,
}

impl Sink {
    /// Takes no more than `max`. `cut_block` says at the end that something is missing, where it
    /// could not be said before; `tail` stands behind everything.
    pub(super) fn new(max: Max, cut_block: &'static str, tail: String) -> Self {
        let max = max.additive();
        Self {
            made: String::new(),
            max,
            used: 0,
            reserved: max.cost(cut_block).max(max.cost(SIGN)) + max.cost(&tail),
            open: Vec::new(),
            prefixes: Vec::new(),
            pending: 0,
            at_line_start: true,
            is_fresh: true,
            is_cut: false,
            is_signed: false,
            cut_block,
            tail,
        }
    }

    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether nothing was written since the line or its block began.
    pub(super) const fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    pub(super) fn made(&self) -> &str {
        &self.made
    }

    fn room(&self) -> usize {
        self.max
            .limit()
            .saturating_sub(self.used)
            .saturating_sub(self.reserved)
    }

    /// At least so many line breaks before what comes next.
    pub(super) fn breaks(&mut self, count: usize) {
        if !self.made.is_empty() {
            self.pending = self.pending.max(count);
        }
    }

    /// One more line break before what comes next.
    pub(super) const fn break_line(&mut self) {
        self.pending += 1;
    }

    /// A line break and what the next line begins with.
    pub(super) fn line_start(&self) -> String {
        let mut start = String::from("\n");
        self.prefixes
            .iter()
            .for_each(|prefix| start.push_str(prefix));
        start
    }

    /// What stands before the next thing that is written.
    fn lead(&self) -> String {
        if self.pending > 0 {
            let start = self.line_start();
            let blank = if start.trim().is_empty() {
                "\n"
            } else {
                start.as_str()
            };
            let mut lead = blank.repeat(self.pending - 1);
            lead.push_str(&start);
            return lead;
        }
        if self.at_line_start {
            return self.prefixes.concat();
        }
        String::new()
    }

    /// Writes the lead and marks the line as begun, where `more` has room behind it.
    fn begin(&mut self, more: usize) -> bool {
        if self.is_cut {
            return false;
        }
        if self.pending == 0 && !self.at_line_start {
            self.is_cut = more > self.room();
            return !self.is_cut;
        }
        let lead = self.lead();
        let cost = self.max.cost(&lead);
        if cost + more > self.room() {
            self.is_cut = true;
            return false;
        }
        self.is_fresh = true;
        self.made.push_str(&lead);
        self.used += cost;
        self.pending = 0;
        self.at_line_start = false;
        true
    }

    /// Writes markup: all of it or nothing.
    pub(super) fn write(&mut self, markup: &str) -> bool {
        let cost = self.max.cost(markup);
        if markup.is_empty() || !self.begin(cost) {
            return false;
        }
        self.made.push_str(markup);
        self.used += cost;
        self.is_fresh = false;
        true
    }

    /// Opens a mark, for which there must be a [`close`](Self::close).
    pub(super) fn open(&mut self, start: &str, end: impl Into<String>) {
        let end = end.into();
        let (cost, reserved) = (self.max.cost(start), self.max.cost(&end));
        if self.begin(cost + reserved) {
            self.made.push_str(start);
            self.used += cost;
            self.reserved += reserved;
            self.is_fresh &= start.is_empty();
            self.open.push(Some(end));
        } else {
            self.open.push(None);
        }
    }

    pub(super) fn close(&mut self) {
        if let Some(Some(end)) = self.open.pop() {
            let cost = self.max.cost(&end);
            self.reserved = self.reserved.saturating_sub(cost);
            self.used += cost;
            self.made.push_str(&end);
        }
    }

    /// Writes `first`, with `rest` at the beginning of each further line, until
    /// [`dedent`](Self::dedent).
    pub(super) fn indent(&mut self, first: &str, rest: impl Into<Cow<'static, str>>) {
        self.write(first);
        self.is_fresh = true;
        self.prefixes.push(rest.into());
    }

    pub(super) fn dedent(&mut self) {
        self.prefixes.pop();
    }

    /// Writes what a person wrote, as `escape` has it, as far as there is room.
    pub(super) fn prose(&mut self, text: &str, mut escape: impl FnMut(Here, &mut String)) {
        if text.is_empty() || !self.begin(0) {
            return;
        }
        let (from, room, is_fresh) = (self.made.len(), self.room(), self.is_fresh);
        // Most texts fit, and need not be counted character by character.
        if text.len() <= room {
            self.add(text, &mut escape, None);
            let cost = self.max.cost(&self.made[from..]);
            if cost <= room {
                self.used += cost;
                return;
            }
            self.made.truncate(from);
            self.is_fresh = is_fresh;
        }
        let end = self.add(text, &mut escape, Some(room));
        if let Some(end) = end {
            self.made.truncate(from);
            self.is_fresh = is_fresh;
            self.add(text[..boundary(text, end)].trim_end(), &mut escape, None);
            self.made.push_str(SIGN);
            self.reserved = self.reserved.saturating_sub(self.max.cost(SIGN));
            self.is_signed = true;
            self.is_cut = true;
        }
        self.used += self.max.cost(&self.made[from..]);
    }

    /// Adds a text; where it had no room any more.
    fn add(
        &mut self,
        text: &str,
        escape: &mut impl FnMut(Here, &mut String),
        room: Option<usize>,
    ) -> Option<usize> {
        let (mut before, mut used) = (None, 0);
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let from = self.made.len();
            let here = Here {
                c,
                before,
                after: chars.peek().map(|(_, after)| *after),
                is_first: self.is_fresh,
            };
            escape(here, &mut self.made);
            self.is_fresh &= self.made.len() == from;
            if let Some(room) = room {
                used += self.max.cost(&self.made[from..]);
                if used > room {
                    return Some(at);
                }
            }
            before = Some(c);
        }
        None
    }

    /// The text, and whether all is in it that was to be.
    pub(super) fn finish(mut self, is_whole: bool) -> (String, bool) {
        while !self.open.is_empty() {
            self.close();
        }
        if !self.is_signed && (self.is_cut || !is_whole) {
            if self.made.is_empty() {
                self.cut_block = self.cut_block.trim_start();
            }
            self.made.push_str(self.cut_block);
        }
        // What a person wrote in parts may look like a marker as a whole.
        if self.tail.is_empty() && Marker::find(&self.made).is_some() {
            self.made.push(JOINER);
        }
        let tail = if self.made.is_empty() {
            self.tail.trim_start()
        } else {
            self.tail.as_str()
        };
        self.made.push_str(tail);
        (self.made, is_whole && !self.is_cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(here: Here, made: &mut String) {
        made.push(here.c);
    }

    fn sink(max: usize) -> Sink {
        Sink::new(Max::Chars(max), "\n\n…", "\n[ref]".into())
    }

    #[test]
    fn what_fits_is_written_with_the_prefixes_of_its_lines() {
        let mut sink = sink(100);
        sink.indent("", "> ");
        sink.prose("a", plain);
        sink.breaks(2);
        sink.indent("- ", "  ");
        sink.prose("b", plain);
        sink.break_line();
        sink.prose("c", plain);
        sink.dedent();
        sink.dedent();
        sink.breaks(1);
        sink.open("<b>", "</b>");
        sink.prose("d", plain);
        sink.close();

        assert_eq!(
            sink.finish(true),
            ("> a\n> \n> - b\n>   c\n<b>d</b>\n[ref]".into(), true)
        );
    }

    #[test]
    fn a_cut_closes_what_is_open_and_keeps_the_tail() {
        for max in 0..60 {
            let mut sink = sink(max);
            sink.open("<b>", "</b>");
            sink.open("<i>", "</i>");
            sink.prose("a text that is long enough", plain);
            sink.close();
            sink.write("<hr>");
            sink.close();
            sink.breaks(1);
            sink.prose("after", plain);
            let (made, whole) = sink.finish(true);

            assert!(made.ends_with("[ref]"), "{made}");
            assert!(made.chars().count() <= max.max(8), "{max}: {made}");
            for (start, end) in [("<b>", "</b>"), ("<i>", "</i>")] {
                assert_eq!(made.contains(start), made.contains(end), "{made}");
            }
            assert_eq!(made.contains('…'), !whole, "{max}: {made}");
            assert_eq!(whole, made.contains("after"), "{made}");
        }
    }
}
