//! A platform's HTTP interface as an adapter sees it: where it is, how to prove who asks, which
//! headers each request has, and what its refusals mean. Requests are built and answers read here;
//! the adapter says what they are about.

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use url::{Position, Url};

use super::classify::{ErrorTable, Judged};
use super::path::below;
use super::{
    AdapterError, Auth, CallContext, Effect, ErrorClass, Fit, HostSuffix, Request, Response,
};

/// Where an interface is.
#[derive(Debug, Clone)]
pub enum Base {
    /// Where the integration or the vendor says.
    Url(Url),
    /// Where the access token was granted for: [`Request::granted`].
    Granted,
}

/// A platform's HTTP interface.
#[derive(Debug, Clone)]
pub struct Api {
    base: Base,
    auth: Auth,
    headers: Vec<(HeaderName, HeaderValue)>,
    redirects_to: &'static [HostSuffix],
    errors: &'static ErrorTable,
}

impl Api {
    /// An interface at an address.
    #[must_use]
    pub const fn new(base: Url, auth: Auth, errors: &'static ErrorTable) -> Self {
        Self {
            base: Base::Url(base),
            auth,
            headers: Vec::new(),
            redirects_to: &[],
            errors,
        }
    }

    /// An interface whose address comes with the access token.
    #[must_use]
    pub const fn granted(errors: &'static ErrorTable) -> Self {
        Self {
            base: Base::Granted,
            auth: Auth::OAuth,
            headers: Vec::new(),
            redirects_to: &[],
            errors,
        }
    }

    /// The same, with a header on each request.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same, whose requests follow redirects to these hosts.
    #[must_use]
    pub const fn follow(mut self, hosts: &'static [HostSuffix]) -> Self {
        self.redirects_to = hosts;
        self
    }

    /// The same at another address: a platform has several interfaces.
    #[must_use]
    pub fn at(&self, base: Url) -> Self {
        Self {
            base: Base::Url(base),
            ..self.clone()
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn base(&self) -> &Base {
        &self.base
    }

    /// What its refusals mean.
    #[must_use]
    pub const fn errors(&self) -> &'static ErrorTable {
        self.errors
    }

    /// A request. Its path is built part by part, so that no stored id and no setting leads
    /// elsewhere.
    ///
    /// # Errors
    /// Class internal for a part that a path cannot hold.
    pub fn request(
        &self,
        method: Method,
        path: &[&str],
        effect: Effect,
    ) -> Result<Request, AdapterError> {
        let mut request = match &self.base {
            Base::Url(base) => Request::new(method, below(base, path)?, self.auth.clone(), effect),
            Base::Granted => Request::granted(method, path, effect)?,
        };
        request.headers.clone_from(&self.headers);
        Ok(request.follow(self.redirects_to))
    }

    /// A read.
    ///
    /// # Errors
    /// As [`Api::request`].
    pub fn get(&self, path: &[&str]) -> Result<Request, AdapterError> {
        self.request(Method::GET, path, Effect::Read)
    }

    /// A request that makes something: a lost answer is of unknown outcome.
    ///
    /// # Errors
    /// As [`Api::request`].
    pub fn make(&self, method: Method, path: &[&str]) -> Result<Request, AdapterError> {
        self.request(method, path, Effect::Create)
    }

    /// A request that sets something: a second time changes nothing more.
    ///
    /// # Errors
    /// As [`Api::request`].
    pub fn set(&self, method: Method, path: &[&str]) -> Result<Request, AdapterError> {
        self.request(method, path, Effect::Idempotent)
    }

    /// The next page of a listing, at the address that the platform names for it: absolute, or from
    /// the root. One that leads to another host is refused, as the credentials would go there.
    ///
    /// # Errors
    /// Class internal for such an address.
    pub fn next_page(&self, before: &Request, link: &str) -> Result<Request, AdapterError> {
        let url = before.url.join(link).ok();
        let url =
            url.filter(|url| url[..Position::BeforePath] == before.url[..Position::BeforePath]);
        let url = url.ok_or_else(|| {
            let text = "the platform names another host for the next page of a listing";
            AdapterError::new(ErrorClass::Internal, text)
        })?;
        let mut request = before.clone();
        request.url = url;
        request.url.set_fragment(None);
        Ok(request)
    }

    /// Sends a request and reads its answer; `what` is what was asked for, for people.
    ///
    /// # Errors
    /// As [`CallContext::send`] and [`Api::take`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        context: &CallContext<'_>,
        request: Request,
        what: &str,
    ) -> Result<T, AdapterError> {
        let effect = request.effect;
        let answer = context.send(request).await?;
        self.take(&answer, effect, what)
    }

    /// Sends a request whose answer has nothing to read, and says whether it did anything.
    ///
    /// # Errors
    /// As [`CallContext::send`], and where it did not work.
    pub async fn tell(
        &self,
        context: &CallContext<'_>,
        request: Request,
        what: &str,
    ) -> Result<Settled, AdapterError> {
        let effect = request.effect;
        let answer = context.send(request).await?;
        match self.errors.judge(&answer, effect, what) {
            Judged::Good => Ok(Settled::Now),
            Judged::Done => Ok(Settled::Before),
            Judged::Exists => Ok(Settled::Exists),
            Judged::Failed(error) => Err(error),
        }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// What its refusal means; an answer that cannot be read is not to be trusted.
    pub fn take<T: DeserializeOwned>(
        &self,
        answer: &Response,
        effect: Effect,
        what: &str,
    ) -> Result<T, AdapterError> {
        self.errors.check(answer, effect, what)?;
        answer.json(effect)
    }

    /// Reads a page whose size the request says.
    ///
    /// # Errors
    /// As [`Api::take`], but not for a page that is too long.
    pub fn take_page<T: DeserializeOwned>(
        &self,
        answer: &Response,
        what: &str,
    ) -> Result<Fit<T>, AdapterError> {
        self.errors.check(answer, Effect::Read, what)?;
        answer.page(Effect::Read)
    }
}

/// The address of the next page in the header `Link` (RFC 8288).
#[must_use]
pub fn next_link(answer: &Response) -> Option<&str> {
    let links = answer.headers.get_all("link").iter();
    let links = links.filter_map(|value| value.to_str().ok());
    // A comma may be in an address; one before the next `<` is not.
    let mut links = links.flat_map(|value| value.split('<').skip(1));
    links.find_map(|link| {
        let (address, about) = link.split_once('>')?;
        let mut about = about.split([';', ',']).map(str::trim);
        let is_next = about.any(|pair| {
            let relation = pair
                .strip_prefix("rel=")
                .map(|value| value.trim_matches('"'));
            relation.is_some_and(|value| value.split_whitespace().any(|one| one == "next"))
        });
        is_next.then_some(address.trim())
    })
}

/// What a request did that sets something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// What was asked for.
    Now,
    /// Nothing: it had been done.
    Before,
    /// Nothing: it is there already.
    Exists,
}

/// A page of a listing.
#[derive(Debug)]
pub struct Page<T, Next = Request> {
    /// What is on it.
    pub items: Vec<T>,
    /// What asks for the next one; `None` on the last.
    pub next: Option<Next>,
}

/// The first item of a listing that is wanted: `read` sends a request and reads its page. At most
/// `max` pages are looked through.
///
/// # Errors
/// What `read` says; class unsupported, where there are more pages than that, as what is not on
/// these proves nothing.
pub async fn find<T, F>(
    max: usize,
    first: Request,
    mut read: impl FnMut(Request) -> F,
    mut is_wanted: impl FnMut(&T) -> bool,
) -> Result<Option<T>, AdapterError>
where
    F: Future<Output = Result<Page<T>, AdapterError>>,
{
    let mut next = Some(first);
    for _ in 0..max {
        let Some(request) = next else {
            return Ok(None);
        };
        let page = read(request).await?;
        let found = page.items.into_iter().find(|item| is_wanted(item));
        if found.is_some() {
            return Ok(found);
        }
        next = page.next;
    }
    match next {
        None => Ok(None),
        Some(_) => Err(too_many(max)),
    }
}

/// All items of a listing of at most `max` pages.
///
/// # Errors
/// As [`find`].
pub async fn all<T, F>(
    max: usize,
    first: Request,
    read: impl FnMut(Request) -> F,
) -> Result<Vec<T>, AdapterError>
where
    F: Future<Output = Result<Page<T>, AdapterError>>,
{
    let mut read = read;
    let (mut items, mut next) = (Vec::new(), Some(first));
    for _ in 0..max {
        let Some(request) = next else {
            return Ok(items);
        };
        let page = read(request).await?;
        items.extend(page.items);
        next = page.next;
    }
    match next {
        None => Ok(items),
        Some(_) => Err(too_many(max)),
    }
}

/// A page by its size, asked for again with half of it for as long as it is too long. `read` takes
/// the size.
///
/// # Errors
/// What `read` says; class unsupported, where one item alone is too long.
pub async fn halving<T, F>(
    size: usize,
    mut read: impl FnMut(usize) -> F,
) -> Result<(T, usize), AdapterError>
where
    F: Future<Output = Result<Fit<T>, AdapterError>>,
{
    let mut size = size.max(1);
    loop {
        match read(size).await? {
            Fit::Whole(page) => return Ok((page, size)),
            Fit::TooLong if size > 1 => size /= 2,
            Fit::TooLong => {
                let text = "one item of the platform is larger than an answer that is read may be";
                return Err(AdapterError::new(ErrorClass::Unsupported, text));
            }
        }
    }
}

fn too_many(max: usize) -> AdapterError {
    AdapterError::new(
        ErrorClass::Unsupported,
        format!("there are more than {max} pages, which are not looked through"),
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use bytes::Bytes;
    use reqwest::header::{ACCEPT, HeaderMap};
    use serde_json::{Value, json};

    use super::super::classify::{Means, rule};
    use super::super::rate::{RateHeaders, Scope};
    use super::*;

    static ERRORS: ErrorTable = ErrorTable {
        rules: &[rule(404).means(Means::Done), rule(409).means(Means::Exists)],
        ..ErrorTable::of_status(RateHeaders::retry_after(
            Duration::from_secs(10),
            Scope::Integration,
        ))
    };
    static OWN: [HostSuffix; 1] = [HostSuffix::Own];

    fn api() -> Api {
        let base = "https://acme.example/api/v2".parse().unwrap();
        Api::new(base, Auth::Bearer("t".to_owned().into()), &ERRORS)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .follow(&OWN)
    }

    fn answer(status: u16, body: &str) -> Response {
        Response {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
            truncated: false,
        }
    }

    fn at(path: &str) -> Request {
        api().get(&[path]).unwrap()
    }

    #[test]
    fn requests_have_what_all_requests_of_the_platform_have() {
        let made = api().make(Method::POST, &["tickets", "a/b"]).unwrap();
        let set = api().set(Method::PUT, &["tickets"]).unwrap();
        let read = api().get(&["tickets"]).unwrap();

        assert_eq!(
            made.url.as_str(),
            "https://acme.example/api/v2/tickets/a%2Fb"
        );
        assert_eq!(
            (made.effect, set.effect, read.effect),
            (Effect::Create, Effect::Idempotent, Effect::Read)
        );
        for request in [made, set, read] {
            assert_eq!(request.masked()["headers"]["accept"], "application/json");
            assert_eq!(request.masked()["authorization"], "Bearer ••••");
            assert_eq!(request.redirects_to, OWN);
        }
        assert!(api().get(&[".."]).is_err());
        let granted = Api::granted(&ERRORS).get(&["x"]).unwrap();
        assert_eq!(granted.masked()["url"], "{granted}/x");
    }

    #[test]
    fn an_answer_is_read_or_is_its_refusal() {
        let take = |status, body: &str| -> Result<Value, ErrorClass> {
            let taken = api().take(&answer(status, body), Effect::Create, "making");
            taken.map_err(|error| error.class)
        };

        assert_eq!(take(201, "{\"id\":1}"), Ok(json!({ "id": 1 })));
        assert_eq!(take(201, "<"), Err(ErrorClass::Unknown));
        assert_eq!(take(500, "{}"), Err(ErrorClass::Unknown));
        assert_eq!(take(404, ""), Err(ErrorClass::Conflict));
    }

    #[test]
    fn the_next_page_is_where_the_platform_says_and_never_at_another_host() {
        let with = |link: &'static str| {
            let mut answer = answer(200, "[]");
            let link = HeaderValue::from_static(link);
            answer.headers.insert("link", link);
            next_link(&answer).map(str::to_owned)
        };
        let github = "<https://acme.example/api/v2/issues?labels=a,b&page=1>; rel=\"prev\", \
                      <https://acme.example/api/v2/issues?labels=a,b&page=3>; rel=\"next\", \
                      <https://acme.example/api/v2/issues?page=9>; rel=\"last\"";
        let third = "https://acme.example/api/v2/issues?labels=a,b&page=3";
        assert_eq!(with(github).as_deref(), Some(third));
        assert_eq!(with("</x?page=2>;rel=next").as_deref(), Some("/x?page=2"));
        assert_eq!(with("<https://acme.example/x>; rel=\"last\""), None);
        assert_eq!(next_link(&answer(200, "[]")), None);

        let first = at("issues");
        let next = |link| {
            let next = api().next_page(&first, link);
            next.map(|request| request.url.to_string()).ok()
        };
        assert_eq!(next(third).as_deref(), Some(third));
        let relative = next("/services/data/query/01g-2000");
        let expected = "https://acme.example/services/data/query/01g-2000";
        assert_eq!(relative.as_deref(), Some(expected));
        for elsewhere in [
            "https://evil.example/api/v2/issues",
            "//evil.example/x",
            "http://acme.example/x",
            "https://acme.example:8443/x",
            "https://u:p@acme.example/x",
        ] {
            assert_eq!(next(elsewhere), None, "{elsewhere}");
        }
        let granted = Api::granted(&ERRORS);
        let first = granted.get(&["query"]).unwrap();
        let more = granted.next_page(&first, "/services/data/query/2").unwrap();
        assert_eq!(more.masked()["url"], "{granted}/services/data/query/2");
    }

    #[tokio::test]
    async fn a_listing_is_looked_through_until_it_is_found_or_ends_or_is_too_long() {
        let asked = RefCell::new(Vec::new());
        // Five pages, each with its own number.
        let read = async |request: Request| {
            let number: u32 = request
                .url
                .path_segments()
                .unwrap()
                .next_back()
                .unwrap()
                .parse()
                .unwrap();
            asked.borrow_mut().push(number);
            let next = (number < 5).then(|| at(&(number + 1).to_string()));
            Ok(Page {
                items: vec![number],
                next,
            })
        };
        let found = find(9, at("1"), read, |number| *number == 3).await;
        assert_eq!((found.unwrap(), asked.take().len()), (Some(3), 3));
        let none = find(5, at("1"), read, |_| false).await;
        assert_eq!((none.unwrap(), asked.take().len()), (None, 5));
        let more = find(4, at("1"), read, |_| false).await;
        assert_eq!(more.unwrap_err().class, ErrorClass::Unsupported);
        assert_eq!(all(5, at("1"), read).await.unwrap(), [1, 2, 3, 4, 5]);
        assert!(all(4, at("1"), read).await.is_err());
    }

    #[tokio::test]
    async fn a_page_that_is_too_long_is_halved_down_to_one_item() {
        let fits = async |most: usize| {
            halving(100, async |size| {
                Ok(if size <= most {
                    Fit::Whole(size)
                } else {
                    Fit::TooLong
                })
            })
            .await
        };

        assert_eq!(fits(100).await.unwrap(), (100, 100));
        assert_eq!(fits(30).await.unwrap(), (25, 25));
        assert_eq!(fits(1).await.unwrap(), (1, 1));
        assert_eq!(fits(0).await.unwrap_err().class, ErrorClass::Unsupported);
    }
}
