//! Routes as a table: which operation a request is, and what does it.

use chrono::{DateTime, Utc};

use super::super::answer::Answer;
use super::super::call::Call;
use super::checks::Caller;

/// One line of a fake's table.
pub(crate) struct Route<F> {
    /// `*` is any.
    method: &'static str,
    pattern: &'static str,
    operation: &'static str,
    handler: Handler<F>,
    access: Access,
    when: Option<fn(&Call) -> bool>,
}

enum Handler<F> {
    View(fn(&F, &Hit<'_>) -> Answer),
    Change(fn(&mut F, &Hit<'_>) -> Answer),
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody: no credential is asked for.
    Open,
    /// Who has a credential.
    Read,
    /// Who has a credential that may write.
    Write,
}

/// A route that changes something: its caller must be one who may write.
///
/// A pattern's segments are text, texts to choose from (`2|3`), or `*` for any one; `**` at the end
/// is any number of further ones. What `*` stood for is the handler's: [`Hit::arg`].
pub(crate) const fn route<F>(
    method: &'static str,
    pattern: &'static str,
    operation: &'static str,
    handler: fn(&mut F, &Hit<'_>) -> Answer,
) -> Route<F> {
    Route {
        method,
        pattern,
        operation,
        handler: Handler::Change(handler),
        access: Access::Write,
        when: None,
    }
}

/// A route that shows something: every known caller may take it.
pub(crate) const fn view<F>(
    method: &'static str,
    pattern: &'static str,
    operation: &'static str,
    handler: fn(&F, &Hit<'_>) -> Answer,
) -> Route<F> {
    Route {
        method,
        pattern,
        operation,
        handler: Handler::View(handler),
        access: Access::Read,
        when: None,
    }
}

impl<F> Route<F> {
    /// Fits only requests of which this is true: how an update, an assignment and a comment are
    /// told apart where all are `PUT /tickets/*`. The route without a condition comes last.
    pub(crate) const fn when(mut self, condition: fn(&Call) -> bool) -> Self {
        self.when = Some(condition);
        self
    }

    /// Takes callers without a credential: token endpoints, addresses that are secrets themselves.
    pub(crate) const fn open(mut self) -> Self {
        self.access = Access::Open;
        self
    }

    /// Takes callers who may only look, although it changes something.
    pub(crate) const fn reads(mut self) -> Self {
        self.access = Access::Read;
        self
    }

    pub(crate) const fn operation(&self) -> &'static str {
        self.operation
    }

    pub(crate) const fn access(&self) -> Access {
        self.access
    }

    /// Does it.
    pub(crate) fn run(&self, fake: &mut F, hit: &Hit<'_>) -> Answer {
        match self.handler {
            Handler::View(handler) => handler(fake, hit),
            Handler::Change(handler) => handler(fake, hit),
        }
    }

    /// What the pattern's stars stand for, and the segments that `**` does; `None` where it does
    /// not fit.
    fn fit<'a>(&self, segments: &'a [String]) -> Option<(Vec<&'a str>, &'a [String])> {
        let mut stars = Vec::new();
        let mut rest = segments;
        for part in self.pattern.split('/').filter(|part| !part.is_empty()) {
            if part == "**" {
                return Some((stars, rest));
            }
            let (first, further) = rest.split_first()?;
            if part == "*" {
                stars.push(first.as_str());
            } else if !part.split('|').any(|choice| choice == first) {
                return None;
            }
            rest = further;
        }
        rest.is_empty().then_some((stars, rest))
    }
}

/// What a table has for a request.
pub(crate) enum Found<'a, F: 'static> {
    /// This route, with what its stars stand for and its tail.
    Route(&'static Route<F>, Vec<&'a str>, &'a [String]),
    /// The path is there, but not for this method; those that it takes.
    OtherMethods(Vec<&'static str>),
    Nothing,
}

/// The first route that fits a request; `segments` are those of its path below what all paths
/// begin with.
pub(crate) fn find<'a, F>(
    routes: &'static [Route<F>],
    call: &Call,
    segments: &'a [String],
) -> Found<'a, F> {
    let mut methods = Vec::new();
    let mut is_refused = false;
    for route in routes {
        let Some((stars, tail)) = route.fit(segments) else {
            continue;
        };
        if route.method != "*" && route.method != call.method.as_str() {
            methods.push(route.method);
        } else if route.when.is_none_or(|condition| condition(call)) {
            return Found::Route(route, stars, tail);
        } else {
            is_refused = true;
        }
    }
    if methods.is_empty() || is_refused {
        return Found::Nothing;
    }
    methods.sort_unstable();
    methods.dedup();
    Found::OtherMethods(methods)
}

/// A request that has its route and was let in.
pub(crate) struct Hit<'a> {
    pub(crate) call: &'a Call,
    pub(crate) now: DateTime<Utc>,
    /// Of an open route, nobody.
    pub(crate) caller: &'a Caller,
    /// The route's name.
    pub(crate) operation: &'static str,
    pub(crate) access: Access,
    stars: Vec<&'a str>,
    /// What `**` stands for.
    pub(crate) tail: &'a [String],
}

impl<'a> Hit<'a> {
    pub(crate) fn new<F>(
        call: &'a Call,
        now: DateTime<Utc>,
        caller: &'a Caller,
        route: &'static Route<F>,
        stars: Vec<&'a str>,
        tail: &'a [String],
    ) -> Self {
        Self {
            call,
            now,
            caller,
            operation: route.operation,
            access: route.access,
            stars,
            tail,
        }
    }

    /// What the pattern's n-th star stands for, from 0; empty where it has fewer.
    pub(crate) fn arg(&self, n: usize) -> &'a str {
        self.stars.get(n).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method, header};
    use bytes::Bytes;

    use super::*;

    struct Nothing;

    impl Nothing {
        fn show(&self, hit: &Hit<'_>) -> Answer {
            Answer::plain(200, &format!("{}:{}", hit.arg(0), hit.tail.join("+")))
        }

        fn change(&mut self, hit: &Hit<'_>) -> Answer {
            Answer::plain(200, &format!("{},{}", hit.arg(0), hit.arg(1))).mutated()
        }
    }

    fn comments(call: &Call) -> bool {
        !call.at("/ticket/comment").is_null()
    }

    static ROUTES: &[Route<Nothing>] = &[
        view("GET", "/v2|v3/tickets/*", "get", Nothing::show),
        route("PUT", "/v2/tickets/*", "comment", Nothing::change).when(comments),
        route("PUT", "/v2/tickets/*", "update", Nothing::change),
        route("DELETE", "/v2/tickets/*/tags/*", "untag", Nothing::change),
        view("*", "/files/*/**", "file", Nothing::show).open(),
        route("POST", "/only", "only", Nothing::change)
            .when(comments)
            .reads(),
    ];

    fn asked(method: &str, path: &str, body: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body = Bytes::from_static(body.as_bytes());
        let call = Call::new(method, path, "", headers, body, String::new());
        match find(ROUTES, &call, &call.segments) {
            Found::Nothing => "nothing".to_owned(),
            Found::OtherMethods(methods) => methods.join(" "),
            Found::Route(route, stars, tail) => {
                let caller = Caller::default();
                let hit = Hit::new(&call, Utc::now(), &caller, route, stars, tail);
                let answer = route.run(&mut Nothing, &hit);
                let access = route.access();
                format!(
                    "{} {:?} {}",
                    route.operation(),
                    access,
                    answer.body.text().unwrap()
                )
            }
        }
    }

    #[test]
    fn a_request_finds_its_route_by_path_method_and_body() {
        for (method, path, body, found) in [
            ("GET", "/v2/tickets/7", "", "get Read 7:"),
            ("GET", "/v3/tickets/a%2Fb", "", "get Read a/b:"),
            (
                "PUT",
                "/v2/tickets/7",
                r#"{"ticket": {}}"#,
                "update Write 7,",
            ),
            (
                "PUT",
                "/v2/tickets/7",
                r#"{"ticket": {"comment": {}}}"#,
                "comment Write 7,",
            ),
            ("DELETE", "/v2/tickets/7/tags/x", "", "untag Write 7,x"),
            ("PATCH", "/files/1", "", "file Open 1:"),
            ("GET", "/files/1/a/b.txt", "", "file Open 1:a+b.txt"),
            (
                "POST",
                "/only",
                r#"{"ticket": {"comment": 1}}"#,
                "only Read ,",
            ),
        ] {
            assert_eq!(asked(method, path, body), found, "{method} {path}");
        }
    }

    #[test]
    fn an_unknown_path_is_told_from_a_wrong_method() {
        for (method, path, found) in [
            ("GET", "/v4/tickets/7", "nothing"),
            ("GET", "/v2/tickets", "nothing"),
            ("GET", "/v2/tickets/7/x", "nothing"),
            ("GET", "/files", "nothing"),
            ("POST", "/v2/tickets/7", "GET PUT"),
            ("POST", "/v3/tickets/7", "GET"),
            // It takes this method, but not this body.
            ("POST", "/only", "nothing"),
        ] {
            assert_eq!(asked(method, path, "{}"), found, "{method} {path}");
        }
    }
}
