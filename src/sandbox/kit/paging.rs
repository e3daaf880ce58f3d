//! Pages: by offset, by number, by cursor, and the `Link` header that leads from one to the next
//! (RFC 8288).

use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::answer::Answer;
use super::super::call::Call;

/// A part of a longer list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// How many are before it.
    pub(crate) start: usize,
    /// How many were asked for.
    pub(crate) size: usize,
    /// How many there are.
    pub(crate) total: usize,
}

/// How a platform's query asks for a page; each has the names of its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The page's number from 1, and its size.
    Number(&'static str, &'static str),
    /// How many items come before it, and its size.
    Offset(&'static str, &'static str),
    /// What the page before called it, and its size.
    Cursor(&'static str, &'static str),
}

/// Cuts a page out of a list.
pub(crate) fn page<T>(all: impl IntoIterator<Item = T>, start: usize, size: usize) -> Page<T> {
    let mut all = all.into_iter();
    let skipped = all.by_ref().take(start).count();
    let items: Vec<T> = all.by_ref().take(size).collect();
    let total = skipped + items.len() + all.count();
    Page {
        items,
        start,
        size,
        total,
    }
}

impl By {
    /// The page that a request's query asks for: at most `max` items, `usual` unless it says;
    /// `None` where its cursor is not of this query.
    pub(crate) fn page<T>(
        self,
        call: &Call,
        all: impl IntoIterator<Item = T>,
        usual: usize,
        max: usize,
    ) -> Option<Page<T>> {
        let (Self::Number(_, size) | Self::Offset(_, size) | Self::Cursor(_, size)) = self;
        let size = call.number(size, usual).clamp(1, max);
        let start = match self {
            Self::Number(number, _) => (call.number(number, 1).max(1) - 1).saturating_mul(size),
            Self::Offset(offset, _) => call.number(offset, 0),
            Self::Cursor(cursor, _) => match call.param(cursor).unwrap_or_default() {
                "" => 0,
                text => start_of(text, &self.query(call))?,
            },
        };
        Some(page(all, start, size))
    }

    /// What a request asks for apart from the page.
    fn query(self, call: &Call) -> String {
        let (Self::Number(at, size) | Self::Offset(at, size) | Self::Cursor(at, size)) = self;
        let pairs = call.query.iter();
        let own = pairs.filter(|(name, _)| name != at && name != size);
        let own: Vec<_> = own.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}?{}", call.path, own.join("&"))
    }

    /// What the parameter that names the page is for the one that starts here.
    fn value<T>(self, call: &Call, page: &Page<T>, start: usize) -> (&'static str, String) {
        match self {
            Self::Number(name, _) => (name, (start / page.size.max(1) + 1).to_string()),
            Self::Offset(name, _) => (name, start.to_string()),
            Self::Cursor(name, _) => (name, cursor(start, &self.query(call))),
        }
    }

    /// The address of the page that starts here.
    fn url<T>(self, call: &Call, page: &Page<T>, start: usize) -> String {
        let (name, value) = self.value(call, page, start);
        let kept = call.query.iter().filter(|(own, _)| own != name);
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .append_pair(name, &value)
            .finish();
        format!("{}{}?{query}", call.base, call.path)
    }
}

impl<T> Page<T> {
    /// Where the next one starts; `None` of the last.
    pub(crate) fn next(&self) -> Option<usize> {
        let end = self.start + self.items.len();
        (!self.items.is_empty() && end < self.total).then_some(end)
    }

    /// The address of the next page.
    pub(crate) fn next_url(&self, call: &Call, by: By) -> Option<String> {
        self.next().map(|start| by.url(call, self, start))
    }

    /// What the next page is called: a cursor, a number or an offset.
    pub(crate) fn next_name(&self, call: &Call, by: By) -> Option<String> {
        self.next().map(|start| by.value(call, self, start).1)
    }

    /// The answer with a `Link` header to the neighbours that there are.
    pub(crate) fn link(&self, call: &Call, by: By, answer: Answer) -> Answer {
        let previous = (self.start > 0).then(|| self.start.saturating_sub(self.size));
        let links: Vec<_> = [("prev", previous), ("next", self.next())]
            .into_iter()
            .filter_map(|(rel, start)| Some((rel, start?)))
            .map(|(rel, start)| format!("<{}>; rel=\"{rel}\"", by.url(call, self, start)))
            .collect();
        if links.is_empty() {
            answer
        } else {
            answer.header("Link", &links.join(", "))
        }
    }
}

/// A cursor: good only for the query that it came from.
pub(crate) fn cursor(start: usize, query: &str) -> String {
    hex::encode(format!("{start}:{}", fingerprint(query)))
}

/// Where the page of a cursor starts; `None` where it is none, or another query's.
pub(crate) fn start_of(cursor: &str, query: &str) -> Option<usize> {
    let text = String::from_utf8(hex::decode(cursor).ok()?).ok()?;
    let (start, of) = text.split_once(':')?;
    (of == fingerprint(query).to_string()).then(|| start.parse().ok())?
}

fn fingerprint(query: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    query.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Method};
    use bytes::Bytes;

    use super::*;

    fn call(url: &str) -> Call {
        let url = url::Url::parse(url).unwrap();
        let (path, query) = (url.path(), url.query().unwrap_or_default());
        let base = "http://h".to_owned();
        Call::new(
            Method::GET,
            path,
            query,
            HeaderMap::new(),
            Bytes::new(),
            base,
        )
    }

    /// All items of a list, walked through from page to page.
    fn walked(by: By, first: &str) -> Vec<Vec<u32>> {
        let mut pages = Vec::new();
        let mut next = Some(first.to_owned());
        while let Some(url) = next {
            let call = call(&url);
            let page = by.page(&call, 1..=5, 2, 100).unwrap();
            next = page.next_url(&call, by);
            pages.push(page.items);
        }
        pages
    }

    #[test]
    fn every_way_leads_over_all_items() {
        for by in [
            By::Number("page", "per_page"),
            By::Offset("offset", "limit"),
            By::Cursor("page[after]", "page[size]"),
        ] {
            let pages = walked(by, "http://h/list?q=a%26b");
            assert_eq!(pages, [vec![1, 2], vec![3, 4], vec![5]], "{by:?}");
        }
        let all = walked(By::Offset("o", "n"), "http://h/list?n=50");
        assert_eq!(all, [vec![1, 2, 3, 4, 5]]);
    }

    #[test]
    fn sizes_are_kept_in_bounds_and_what_is_beyond_the_end_is_empty() {
        let by = By::Offset("o", "n");
        let size = |query: &str| by.page(&call(&format!("http://h/?{query}")), 0..9, 2, 3);
        let size = |query: &str| size(query).unwrap().items.len();

        assert_eq!([size("n=100"), size("n=0"), size("n=x")], [3, 1, 2]);
        let beyond = page(0..9, 20, 2);
        assert_eq!(
            (beyond.items.len(), beyond.total, beyond.next()),
            (0, 9, None)
        );
    }

    #[test]
    fn links_lead_to_both_neighbours() {
        let by = By::Number("page", "per_page");
        let link = |url: &str| {
            let call = call(url);
            let page = by.page(&call, 0..5, 2, 100).unwrap();
            let answer = page.link(&call, by, Answer::empty(200));
            let value = answer.headers.first().map(|(_, value)| value.clone());
            value.map(|value| value.to_str().unwrap().to_owned())
        };

        assert_eq!(
            link("http://h/list?page=2&state=all").unwrap(),
            "<http://h/list?state=all&page=1>; rel=\"prev\", \
             <http://h/list?state=all&page=3>; rel=\"next\""
        );
        assert_eq!(
            link("http://h/list").unwrap(),
            "<http://h/list?page=2>; rel=\"next\""
        );
        assert_eq!(link("http://h/list?per_page=9"), None);
    }

    #[test]
    fn a_cursor_is_good_for_its_query_alone() {
        let by = By::Cursor("after", "limit");
        let first = call("http://h/list?q=a");
        let page = by.page(&first, 0..5, 2, 100).unwrap();
        let name = page.next_name(&first, by).unwrap();
        let of = |query: &str| {
            let call = call(&format!("http://h/list?{query}&after={name}"));
            by.page(&call, 0..5, 2, 100).map(|page| page.start)
        };

        assert_eq!(of("q=a"), Some(2));
        assert_eq!(of("q=a&limit=1"), Some(2));
        assert_eq!(of("q=b"), None);
        assert_eq!(start_of("zz", "q"), None);
    }
}
