//! The texts of an operation: cut to what the platform can show, and rendered off the threads that
//! all tenants share where they are long.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::{Map, Value};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::mail::MailAddress;
use super::text::{head, shows_nothing};
use super::{AdapterError, Operation, OperationKind};
use crate::domain::{TicketView, UserRef, has_ink};

/// Bytes of text from which on rendering is worth a thread of its own.
const LONG: usize = 4 << 10;

/// Characters of a tag (contract §3).
const TAG_MAX: usize = 100;

/// The title of a ticket whose own shows nothing.
const UNTITLED: &str = "(no title)";

/// Refuses a comment that would show nothing: platforms refuse it, or post an empty one.
pub(super) fn speaks(
    operation: &Operation<'_>,
    text_max: Option<usize>,
) -> Result<(), AdapterError> {
    match operation {
        Operation::Comment { body, .. } if shows_nothing(body, text_max.unwrap_or(usize::MAX)) => {
            let fault = "shows nothing: there is no visible character in it; give it a text";
            Err(AdapterError::field("body", fault))
        }
        _ => Ok(()),
    }
}

/// A text of an operation, cut.
pub(super) struct Texts<'a> {
    ticket: Cow<'a, TicketView>,
    body: Option<&'a str>,
    /// By field, what was cut.
    pub(super) cut: Map<String, Value>,
}

impl<'a> Texts<'a> {
    /// The texts of an operation, of at most so many characters each; `None`: whole.
    pub(super) fn of(operation: &'a Operation<'a>, text_max: Option<usize>) -> Self {
        let mut texts = Self {
            ticket: Cow::Borrowed(operation.ticket()),
            body: body_of(operation),
            cut: Map::new(),
        };
        // No command brings such a title, but a row of another application may have one.
        if !has_ink(&operation.ticket().title) {
            UNTITLED.clone_into(&mut texts.ticket.to_mut().title);
        }
        texts.keep_addresses(operation.kind());
        texts.keep_tags();
        let is_summary = operation.kind() == OperationKind::Status;
        let text_read = text_max.unwrap_or(usize::MAX);
        texts.body = (texts.body).filter(|body| !is_summary || !shows_nothing(body, text_read));
        let Some(text_max) = text_max else {
            return texts;
        };
        let description = &operation.ticket().description;
        let kept = head(description, text_max);
        if kept.len() < description.len() {
            texts.ticket.to_mut().description.truncate(kept.len());
            if shows_description(operation.kind()) {
                texts.note("description", text_max);
            }
        }
        if let Some(body) = texts.body {
            let kept = head(body, text_max);
            if kept.len() < body.len() {
                texts.body = Some(kept);
                let field = match operation.kind() {
                    OperationKind::Comment => "body",
                    _ => "resolution_summary",
                };
                texts.note(field, text_max);
            }
        }
        texts
    }
}

impl Texts<'_> {
    /// Leaves out empty tags and cuts those that no command could bring: a row of another
    /// application may have them, and platforms refuse the ticket for them.
    fn keep_tags(&mut self) {
        let is_odd = |tag: &String| !has_ink(tag) || tag.chars().nth(TAG_MAX).is_some();
        if self.ticket.tags.iter().any(is_odd) {
            let tags = &mut self.ticket.to_mut().tags;
            tags.retain(|tag| has_ink(tag));
            for tag in tags {
                *tag = head(tag, TAG_MAX).to_owned();
            }
        }
    }

    /// Leaves out e-mail addresses that are none. A row of another application may have one, and a
    /// platform that asks for its creator's address would refuse the ticket for it.
    fn keep_addresses(&mut self, kind: OperationKind) {
        let is_odd = |user: &UserRef| {
            let email = user.email.as_deref();
            email.is_some_and(|email| MailAddress::parse(email.trim()).is_err())
        };
        type Of = fn(&mut TicketView) -> &mut Option<UserRef>;
        let users: [(&str, &Option<UserRef>, Of); 2] = [
            ("created_by_id", &self.ticket.created_by, |t| {
                &mut t.created_by
            }),
            ("assigned_to_id", &self.ticket.assigned_to, |t| {
                &mut t.assigned_to
            }),
        ];
        let odd = users.map(|(field, user, of)| (field, user.as_ref().is_some_and(is_odd), of));
        for (field, _, of) in odd.into_iter().filter(|(_, is_odd, _)| *is_odd) {
            if let Some(user) = of(self.ticket.to_mut()) {
                user.email = None;
            }
            if kind == OperationKind::Create {
                let why = "the user's e-mail address is none, so it was left out";
                self.cut.insert(field.into(), why.into());
            }
        }
    }

    fn note(&mut self, field: &str, text_max: usize) {
        self.cut
            .insert(field.into(), format!("cut to {text_max} characters").into());
    }

    /// Bytes of them.
    pub(super) fn len(&self) -> usize {
        self.ticket.description.len() + self.body.map_or(0, str::len)
    }

    /// The operation with these texts.
    pub(super) fn operation<'b>(&'b self, operation: &Operation<'b>) -> Operation<'b> {
        let ticket = self.ticket.as_ref();
        match *operation {
            Operation::Create { key, .. } => Operation::Create { ticket, key },
            Operation::Update { patch, key, .. } => Operation::Update { ticket, patch, key },
            Operation::Status { status, key, .. } => Operation::Status {
                ticket,
                status,
                resolution_summary: self.body,
                key,
            },
            Operation::Assign { assignee, key, .. } => Operation::Assign {
                ticket,
                assignee,
                key,
            },
            Operation::Comment { public, key, .. } => Operation::Comment {
                ticket,
                body: self.body.unwrap_or_default(),
                public,
                key,
            },
            Operation::Attach { file, key, .. } => Operation::Attach { ticket, file, key },
            Operation::Delete { key, .. } => Operation::Delete { ticket, key },
        }
    }
}

const fn body_of<'a>(operation: &Operation<'a>) -> Option<&'a str> {
    match operation {
        Operation::Comment { body, .. } => Some(body),
        Operation::Status {
            resolution_summary, ..
        } => *resolution_summary,
        Operation::Create { .. }
        | Operation::Update { .. }
        | Operation::Assign { .. }
        | Operation::Attach { .. }
        | Operation::Delete { .. } => None,
    }
}

const fn shows_description(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::Create | OperationKind::Update)
}

/// Runs something that takes a while for a text of so many bytes where no other tenant's work waits
/// for the thread.
pub fn off_runtime<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    // Only such a runtime has another thread to go on with.
    let shares_threads = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if bytes >= LONG && shares_threads() {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// A future whose steps run off the runtime's threads where it works on a long text.
pub(super) struct OffRuntime<F> {
    inner: F,
    bytes: usize,
}

impl<F> OffRuntime<F> {
    pub(super) const fn new(inner: F, bytes: usize) -> Self {
        Self { inner, bytes }
    }
}

impl<F: Future + Unpin> Future for OffRuntime<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let bytes = self.bytes;
        off_runtime(bytes, || Pin::new(&mut self.inner).poll(context))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn ticket() -> TicketView {
        TicketView {
            id: crate::domain::TicketId::new(uuid::Uuid::nil()),
            title: "t".into(),
            description: String::new(),
            status: crate::domain::TicketStatus::New,
            priority: crate::domain::Priority::Low,
            urgency: crate::domain::Priority::Low,
            category: crate::domain::TicketCategory::General,
            department: None,
            assigned_to: None,
            created_by: None,
            tags: Vec::new(),
            custom_fields: Map::new(),
            external_id: None,
            external_url: None,
            external_ref: Map::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn long_work_leaves_the_threads_to_others() {
        let neighbour = tokio::spawn(async {
            let mut slowest = Duration::ZERO;
            for _ in 0..20 {
                let began = Instant::now();
                tokio::time::sleep(Duration::from_millis(2)).await;
                slowest = slowest.max(began.elapsed());
            }
            slowest
        });
        let long = tokio::spawn(OffRuntime::new(
            Box::pin(async {
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(1) {
                    std::hint::spin_loop();
                }
            }),
            LONG,
        ));

        let slowest = neighbour.await.unwrap();

        assert!(
            slowest < Duration::from_millis(500),
            "a neighbour waited {slowest:?}"
        );
        long.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_on_a_long_text_leaves_the_threads_to_others() {
        let (tell, told) = std::sync::mpsc::channel();
        let work = move || {
            // On the only thread, the neighbour could not begin before this ends.
            tokio::spawn(async move { tell.send(()) });
            told.recv_timeout(Duration::from_secs(10))
        };

        let done = tokio::spawn(async move { off_runtime(LONG, work) }).await;

        assert_eq!(done.unwrap(), Ok(()), "the neighbour waited in vain");
    }

    #[test]
    fn a_text_is_cut_to_what_the_platform_shows_and_that_is_said() {
        let ticket = TicketView {
            description: "\u{e9}".repeat(30),
            ..ticket()
        };
        let key = super::super::DedupKey {
            marker: "m",
            received_at: chrono::Utc::now(),
        };
        let ticket = &ticket;
        let body = "b".repeat(30);
        let comment = Operation::Comment {
            ticket,
            body: &body,
            public: true,
            key,
        };

        let create = Operation::Create { ticket, key };
        let made = Texts::of(&create, Some(20));
        let said = Texts::of(&comment, Some(20));
        let whole = Texts::of(&comment, None);

        let Operation::Create { ticket: cut, .. } = made.operation(&create) else {
            panic!("it stays a create");
        };
        assert_eq!(cut.description, "\u{e9}".repeat(20));
        assert_eq!(made.cut["description"], "cut to 20 characters");
        assert_eq!((said.body, said.cut.len()), (Some(&body[..20]), 1));
        assert_eq!(said.cut["body"], "cut to 20 characters");
        assert_eq!((whole.body, whole.cut.len()), (Some(&body[..]), 0));
    }

    #[test]
    fn what_shows_nothing_is_no_title_no_summary_and_no_comment() {
        let ticket = TicketView {
            title: "\u{a0}\u{200b}".into(),
            ..ticket()
        };
        let ticket = &ticket;
        let key = super::super::DedupKey {
            marker: "m",
            received_at: chrono::Utc::now(),
        };
        let status = |summary| Operation::Status {
            ticket,
            status: crate::domain::TicketStatus::Resolved,
            resolution_summary: Some(summary),
            key,
        };
        let comment = |body| Operation::Comment {
            ticket,
            body,
            public: true,
            key,
        };

        let create = Operation::Create { ticket, key };
        assert_eq!(Texts::of(&create, None).ticket.title, "(no title)");
        for nothing in [
            "[]()",
            "&nbsp;",
            "\u{200b}",
            "```\n \n```",
            "> \n",
            "- \n- &#8203;",
        ] {
            assert_eq!(
                Texts::of(&status(nothing), Some(9_000)).body,
                None,
                "{nothing:?}"
            );
            let refused = speaks(&comment(nothing), Some(9_000)).unwrap_err();
            assert!(
                refused.public.starts_with("body shows nothing"),
                "{nothing:?}"
            );
        }
        for text in [
            "a",
            "[](https://x.example)",
            "![](https://x.example)",
            "---",
            "**b**",
        ] {
            assert_eq!(Texts::of(&status(text), None).body, Some(text));
            assert!(speaks(&comment(text), None).is_ok(), "{text:?}");
        }
    }
}
