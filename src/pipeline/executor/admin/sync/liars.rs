//! Pages that lie: a listing that would never end, or goes in circles, is ended.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Most empty pages in a row that lead to another.
const EMPTY_MAX: u32 = 20;
/// Most pages in a row without a new item or a later time.
const STALE_MAX: i64 = 100;
/// Most times in a row that a page has what the one before had: a listing by times goes on at the
/// last time, and where all of a page has that, it comes twice.
const REPEATS_MAX: u32 = 1;
/// Most pages.
const PAGES_MAX: i32 = 100_000;

/// What shows that pages lie.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Watch {
    /// Empty pages in a row.
    empty: u32,
    /// Pages in a row without a new item or a later time; below zero after the listing was begun
    /// anew, as the same pages come again.
    stale: i64,
    /// The latest time of an item.
    latest: Option<DateTime<Utc>>,
    /// Pages in a row that have what the one before had.
    repeats: u32,
    /// Known tokens so far, and how many are borne: where a token has ended, an adapter goes over a
    /// part once more by itself, and meets the same ones.
    known: i32,
    known_max: i32,
}

/// A page, as far as it matters here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    /// Changes on it.
    pub(super) items: usize,
    /// Those that the run had not seen.
    pub(super) new: usize,
    /// The latest time of one.
    pub(super) latest: Option<DateTime<Utc>>,
    /// Whether the mark where the platform lets the next run begin has moved: a listing over parts
    /// of the time may have many that are empty.
    pub(super) is_farther: bool,
    /// Whether another follows, and whether the run has been there.
    pub(super) has_next: bool,
    pub(super) is_next_known: bool,
    /// Whether the page before had the same changes.
    pub(super) is_repeated: bool,
    /// Pages so far, with this one.
    pub(super) pages: i32,
}

impl Watch {
    /// The listing begins anew after so many pages.
    pub(super) fn restart(&mut self, pages: i32) {
        *self = Self {
            stale: -i64::from(pages),
            ..Self::default()
        };
    }

    /// Looks at a page; says what is wrong with the listing.
    pub(super) fn judge(&mut self, look: &Look) -> Option<&'static str> {
        let is_later = look.latest > self.latest;
        self.latest = self.latest.max(look.latest);
        let is_empty = look.items == 0 && !look.is_farther;
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        self.stale = match look.new > 0 || is_later || look.is_farther {
            true => self.stale.min(0),
            false => self.stale + 1,
        };
        self.repeats = match look.is_repeated && look.items > 0 {
            true => self.repeats + 1,
            false => 0,
        };
        if look.is_next_known {
            self.known += 1;
            self.known_max = if self.known == 1 {
                look.pages
            } else {
                self.known_max
            };
        }
        if !look.has_next {
            return None;
        }
        if self.known > self.known_max {
            Some("the platform leads to a page that was read before")
        } else if self.repeats > REPEATS_MAX {
            Some("the platform gives the same page again under another token")
        } else if self.empty >= EMPTY_MAX {
            Some("the platform gives empty pages without an end")
        } else if self.stale > STALE_MAX {
            Some("the platform gives pages without an end that have nothing new")
        } else if look.pages >= PAGES_MAX {
            Some("the platform gives more pages than a sync reads")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Look {
        Look {
            items: 2,
            new: 2,
            has_next: true,
            pages: 1,
            ..Look::default()
        }
    }

    fn after(watch: &mut Watch, look: &Look, times: usize) -> Option<&'static str> {
        (0..times).fold(None, |_, _| watch.judge(look))
    }

    #[test]
    fn a_listing_that_goes_on_is_believed_and_one_that_goes_in_circles_is_not() {
        let mut watch = Watch::default();
        assert_eq!(after(&mut watch, &page(), 1_000), None);
        let known = Look {
            is_next_known: true,
            ..page()
        };
        assert_eq!(watch.judge(&known), None, "an adapter may go back once");
        assert!(
            watch
                .judge(&known)
                .is_some_and(|why| why.contains("read before"))
        );
        let mut watch = Watch::default();
        let repeated = Look {
            is_repeated: true,
            ..page()
        };
        assert_eq!(watch.judge(&repeated), None, "of one time, it comes twice");
        let last = Look {
            has_next: false,
            ..repeated
        };
        assert_eq!(watch.clone().judge(&last), None, "the end is the end");
        assert!(
            watch
                .judge(&repeated)
                .is_some_and(|why| why.contains("same page"))
        );
    }

    #[test]
    fn nothing_new_is_borne_for_a_hundred_pages_and_nothing_at_all_for_twenty() {
        let stale = Look { new: 0, ..page() };
        let mut watch = Watch::default();
        assert_eq!(after(&mut watch, &stale, 100), None);
        assert!(watch.judge(&stale).is_some());

        let empty = Look {
            items: 0,
            new: 0,
            ..page()
        };
        let farther = Look {
            is_farther: true,
            ..empty
        };
        assert_eq!(after(&mut Watch::default(), &farther, 500), None);
        let mut watch = Watch::default();
        assert_eq!(after(&mut watch, &empty, 19), None);
        assert!(watch.judge(&empty).is_some());
        assert_eq!(
            Watch::default().judge(&Look {
                pages: 99_999,
                ..page()
            }),
            None
        );
        assert!(
            Watch::default()
                .judge(&Look {
                    pages: 100_000,
                    ..page()
                })
                .is_some()
        );
    }

    #[test]
    fn a_later_time_is_something_new_and_a_listing_begun_anew_may_repeat_itself() {
        let at = |second| Look {
            new: 0,
            latest: DateTime::from_timestamp(second, 0),
            ..page()
        };
        let mut watch = Watch::default();
        for second in 0..300 {
            assert_eq!(watch.judge(&at(second)), None);
        }
        watch.restart(300);
        let stale = Look { new: 0, ..page() };
        assert_eq!(after(&mut watch, &stale, 400), None);
        assert!(watch.judge(&stale).is_some());
    }
}
